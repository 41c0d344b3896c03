#include "ledger/remotes.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/base.h"
#include "ledger/destination.h"

namespace mlops::ledger {
namespace {

constexpr std::string_view kHead = "mlops-remotes ";
constexpr std::string_view kVersion = "1";
constexpr std::size_t kNameChars = 80;
constexpr std::int64_t kPatienceMs = 5'000;

std::string path_of(const std::string& root) { return root + "/remotes"; }

}  // namespace

Status check_remote_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kNameChars && name.front() != '.' && name.front() != '-' &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
                    });
  if (good) return {};
  return Status(
      StatusCode::invalid_argument,
      "a remote's name is 1 to 80 letters, digits, '.', '_' or '-', the first one a letter, digit or '_'; \"" +
          std::string(name.substr(0, kNameChars)) + "\" is none");
}

Result<Remotes> Remotes::load(const std::string& root) {
  Remotes remotes;
  Result<std::string> bytes = base::read_file(path_of(root), 1u << 20);
  if (!bytes.ok()) {
    // Not there, or below a root that is no folder: whoever needs the root says so.
    return base::exists(path_of(root)) ? Result<Remotes>(bytes.status()) : Result<Remotes>(std::move(remotes));
  }
  std::string_view rest = *bytes;
  for (int line = 1; !rest.empty(); ++line) {
    const std::size_t end = rest.find('\n');
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line == 1) {
      if (text.substr(0, kHead.size()) == kHead && text.substr(kHead.size()) == kVersion) continue;
      return Status(text.substr(0, kHead.size()) == kHead ? StatusCode::failed_precondition : StatusCode::data_loss,
                    path_of(root) + " is not a list of remotes of this version (its first line is not \"" +
                        std::string(kHead) + std::string(kVersion) +
                        "\"); move it away, or use the mlops that wrote it");
    }
    const std::size_t blank = text.find(' ');
    const std::string name(text.substr(0, blank));
    const std::string uri(blank == std::string_view::npos ? std::string_view() : text.substr(blank + 1));
    const bool is_uri = uri.find("://") != std::string::npos && uri.find(' ') == std::string::npos;
    if (end == std::string_view::npos || !check_remote_name(name).ok() || !is_uri) {
      return Status(StatusCode::data_loss, path_of(root) + " is damaged in line " + std::to_string(line) +
                                               ": \"NAME URI\" is expected; mend it, or remove it and add them again");
    }
    remotes.put({name, uri});
  }
  return remotes;
}

Result<base::FileLock> Remotes::lock(const std::string& root) {
  const std::int64_t until = base::steady_ms() + kPatienceMs;
  for (;;) {
    Result<base::FileLock> lock = base::FileLock::try_lock(root + "/remotes.lock");
    if (lock.ok() || lock.status().code() != StatusCode::unavailable || base::steady_ms() >= until) return lock;
    ::usleep(10'000);
  }
}

Status Remotes::save(const std::string& root) const {
  std::string bytes = std::string(kHead) + std::string(kVersion) + "\n";
  for (const Destination& d : all_) bytes += d.name + " " + d.uri + "\n";
  MLOPS_POINT("ledger.remotes");
  return base::replace_file(path_of(root), bytes, true);
}

const Destination* Remotes::named(std::string_view name) const {
  const auto it = std::find_if(all_.begin(), all_.end(), [name](const Destination& d) { return d.name == name; });
  return it == all_.end() ? nullptr : &*it;
}

const Destination* Remotes::at(std::string_view uri) const {
  const std::string clean = clean_uri(uri);
  const auto it = std::find_if(all_.begin(), all_.end(), [&clean](const Destination& d) { return d.uri == clean; });
  return it == all_.end() ? nullptr : &*it;
}

void Remotes::put(const Destination& destination) {
  erase(destination.name);
  const auto before = [](const Destination& a, const Destination& b) { return a.name < b.name; };
  all_.insert(std::upper_bound(all_.begin(), all_.end(), destination, before),
              {destination.name, clean_uri(destination.uri)});
}

void Remotes::erase(std::string_view name) {
  std::erase_if(all_, [name](const Destination& d) { return d.name == name; });
}

Destination Remotes::resolve(const std::string& uri) const {
  if (const Destination* known = at(uri)) return *known;
  Destination made{destination_name(uri), clean_uri(uri)};
  if (named(made.name) != nullptr) {
    char tail[20];
    std::snprintf(tail, sizeof tail, "-%08x", static_cast<unsigned>(base::hash64(made.uri)));
    made.name += tail;
  }
  return made;
}

}  // namespace mlops::ledger
