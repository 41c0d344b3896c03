#include "base/place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <sstream>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/uid.h"

namespace mlops::base {
namespace {

constexpr const char* kHead = "mlops-place 1\n";
constexpr const char* kMark = "/network";
constexpr std::int64_t kUnlistedSeconds = 60;

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

std::string one_word(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c <= ' '; }, '_');
  return text.empty() ? "-" : text;
}

std::string folder_of_user(const Placing& placing) { return placing.folder + "/mlops-" + std::to_string(::geteuid()); }

/// The token in a half's own folder, and the slot it says it belongs to.
std::pair<std::string, std::string> owner_of(const std::string& path) {
  const std::string text = read_file(path + "/slot", 8192).value_or("");
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) return {};
  std::string slot = text.substr(end + 1);
  while (!slot.empty() && slot.back() == '\n') slot.pop_back();
  return {text.substr(0, end), slot};
}

/// Halves of dead makers that no slot lists. One whose slot cannot be read from here is left alone.
void sweep(const std::string& folder) {
  const Result<std::vector<std::string>> names = list_dir(folder);
  for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
    Half half;
    half.path = folder + "/" + (*names)[i];
    struct stat st{};
    if (::stat(half.path.c_str(), &st) != 0 || st.st_mtime + kUnlistedSeconds > ::time(nullptr)) continue;
    std::string slot;
    std::tie(half.token, slot) = owner_of(half.path);
    if (half.token.empty() || !exists(slot)) continue;
    const Result<std::vector<Half>> listed = read_place(slot);
    if (!listed.ok()) continue;
    const bool known =
        std::any_of(listed->begin(), listed->end(), [&](const Half& h) { return h.token == half.token; });
    if (!known) remove_half(half);
  }
}

}  // namespace

bool Half::here() const { return owner_of(path).first == token; }
bool Half::in(const Placing& placing) const {
  return !placing.folder.empty() && parent_of(path) == folder_of_user(placing);
}

bool is_network_root(const std::string& root) { return exists(root + kMark); }
Status mark_network_root(const std::string& root) {
  if (is_network_root(root)) return {};
  return replace_file(root + kMark, "mlops-network 1\n", true);
}
std::string root_of_slot(const std::string& slot_dir) { return parent_of(parent_of(slot_dir)); }

Result<std::vector<Half>> read_place(const std::string& slot_dir) {
  std::vector<Half> halves;
  const std::string path = slot_dir + "/place";
  const Result<std::string> bytes = read_file(path, 1u << 20);
  if (!bytes.ok()) {
    if (bytes.status().code() == StatusCode::not_found) return halves;
    return bytes.status();
  }
  if (bytes->rfind(kHead, 0) != 0) {
    return Status(bytes->rfind("mlops-place ", 0) == 0 ? StatusCode::failed_precondition : StatusCode::data_loss,
                  path + " is not of this version of mlops: use a newer one");
  }
  std::istringstream in(bytes->substr(std::string(kHead).size()));
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Half half;
    if (!(words >> half.token >> half.boot >> half.host) || words.get() != ' ' || !std::getline(words, half.path)) {
      return Status(StatusCode::data_loss, path + " is damaged: a line of it names no folder");
    }
    halves.push_back(std::move(half));
  }
  return halves;
}

Status write_place(const std::string& slot_dir, const std::vector<Half>& halves) {
  std::string bytes = kHead;
  for (const Half& h : halves) bytes += h.token + " " + h.boot + " " + h.host + " " + h.path + "\n";
  return replace_file(slot_dir + "/place", bytes, true);
}

std::vector<Half> find_halves(const Placing& placing, const std::string& slot_dir) {
  std::vector<Half> found;
  if (placing.folder.empty()) return found;
  const std::string folder = folder_of_user(placing);
  const Result<std::vector<std::string>> names = list_dir(folder);
  for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
    const std::string path = folder + "/" + (*names)[i];
    const auto [token, slot] = owner_of(path);
    if (!token.empty() && slot == slot_dir) found.push_back({token, one_word(boot_id()), one_word(host_name()), path});
  }
  return found;
}

Result<Half> make_half(const Placing& placing, const std::string& slot_dir) {
  if (placing.folder.empty() || placing.folder.front() != '/' || placing.folder.find('\n') != std::string::npos) {
    return Status(StatusCode::invalid_argument, "MLOPS_JOURNAL must be the absolute path of a folder of this node");
  }
  const std::string folder = folder_of_user(placing);
  // Refuses another user's: the folder above may be everybody's.
  if (Status s = make_dirs(folder); !s.ok()) return s;
  sweep(folder);
  Half half;
  half.token = Uid::random().hex();
  half.boot = one_word(boot_id());
  half.host = one_word(host_name());
  char suffix[16];
  std::snprintf(suffix, sizeof suffix, "-%08x", static_cast<unsigned>(random_u64()));
  half.path = folder + slot_dir.substr(slot_dir.rfind('/')) + suffix;
  if (Status s = make_dirs(half.path + "/journal"); !s.ok()) return s;
  MLOPS_POINT("base.half_made");
  if (Status s = replace_file(half.path + "/slot", half.token + "\n" + slot_dir + "\n", false); !s.ok()) return s;
  return half;
}

Result<Half> slot_as_half(const std::string& slot_dir) {
  Half half{Uid::random().hex(), one_word(boot_id()), one_word(host_name()), slot_dir};
  if (Status s = replace_file(half.path + "/slot", half.token + "\n" + slot_dir + "\n", false); !s.ok()) return s;
  return half;
}

bool remove_half(const Half& half) {
  if (::rmdir((half.path + "/journal").c_str()) != 0 && exists(half.path + "/journal")) return false;
  MLOPS_POINT("base.half_emptied");
  if (owner_of(half.path).first == half.token) remove_tree(half.path).ignore();
  return true;
}

Result<std::string> local_half(const std::string& slot_dir) {
  const Result<std::vector<Half>> halves = read_place(slot_dir);
  if (!halves.ok()) return halves.status();
  if (!halves->empty()) {
    const Half& half = halves->front();
    if (half.here()) return half.path;
    return Status(StatusCode::unavailable,
                  slot_dir + " is worked on from another node: its journal is in " + half.path + " on " + half.host);
  }
  if (is_network_root(root_of_slot(slot_dir)) && lease_alive_elsewhere(slot_dir + "/lease")) {
    return Status(StatusCode::unavailable,
                  slot_dir + " is worked on from another node, by " + lease_holder(slot_dir + "/lease"));
  }
  return slot_dir;
}

bool is_slot_alive(const std::string& slot_dir) {
  if (FileLock::is_held(slot_dir + "/lock")) return true;
  return is_network_root(root_of_slot(slot_dir)) && lease_alive_elsewhere(slot_dir + "/lease");
}

}  // namespace mlops::base
