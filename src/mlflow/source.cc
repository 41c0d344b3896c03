// Source: where a run comes from, as tags. Git facts are read from .git's own files (a few small reads, no process, no
// lock): HEAD, the ref or packed-refs, and the URL of origin without user and password. Whatever is unreadable is left
// out.
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {
namespace {

constexpr std::size_t kSmall = 64 * 1024, kPackedRefs = 8u << 20;

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r\n");
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1);
}

std::string read(const std::string& path, std::size_t most = kSmall) {
  auto text = base::read_file(path, most);
  return text.ok() ? *text : std::string();
}

bool is_commit(std::string_view hex) {
  if (hex.size() != 40 && hex.size() != 64) return false;
  for (char c : hex)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  return true;
}

std::string join(const std::string& base, std::string_view path) {
  return !path.empty() && path[0] == '/' ? std::string(path) : base + "/" + std::string(path);
}

std::string packed_ref(const std::string& common, std::string_view ref) {
  const std::string text = read(common + "/packed-refs", kPackedRefs);
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const std::string_view line = trim(rest.substr(0, end));
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    const auto blank = line.find(' ');
    if (blank != line.npos && line.substr(blank + 1) == ref) return std::string(line.substr(0, blank));
  }
  return {};
}

/// `url` of [remote "origin"], without what stands before the '@' of an http(s) or ssh URL's host.
std::string origin_url(const std::string& common) {
  const std::string text = read(common + "/config");
  std::string_view rest = text;
  bool inside = false;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const std::string_view line = trim(rest.substr(0, end));
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    if (!line.empty() && line[0] == '[') inside = line == "[remote \"origin\"]";
    if (!inside || line.substr(0, 3) != "url") continue;
    const auto equals = line.find('=');
    if (equals == line.npos || trim(line.substr(0, equals)) != "url") continue;
    std::string url(trim(line.substr(equals + 1)));
    if (const auto scheme = url.find("://"); scheme != url.npos) {
      const auto host_end = url.find('/', scheme + 3);
      const auto at = url.rfind('@', host_end);
      if (at != url.npos && at > scheme) url.erase(scheme + 3, at - scheme - 2);
    }
    return url;
  }
  return {};
}

void add_git(std::string folder, Pairs* tags) {
  for (int depth = 0; depth < 64 && !folder.empty(); ++depth) {
    const std::string dot = folder + "/.git";
    if (base::exists(dot)) {
      std::string git = dot;
      if (!base::exists(dot + "/HEAD")) {  // a worktree or submodule: a file that points elsewhere
        const std::string pointer = read(dot);
        const std::string_view line = trim(pointer);
        if (line.substr(0, 8) != "gitdir: ") return;
        git = join(folder, line.substr(8));
      }
      const std::string common_file = read(git + "/commondir");
      const std::string common = common_file.empty() ? git : join(git, trim(common_file));
      const std::string head_text = read(git + "/HEAD");
      const std::string_view head = trim(head_text);
      std::string commit, branch;
      if (head.substr(0, 5) == "ref: ") {
        const std::string ref(trim(head.substr(5)));
        if (ref.find("..") != ref.npos || ref.rfind("refs/", 0) != 0) return;
        if (ref.rfind("refs/heads/", 0) == 0) branch = ref.substr(11);
        commit = trim(read(git + "/" + ref));
        if (commit.empty()) commit = trim(read(common + "/" + ref));
        if (commit.empty()) commit = packed_ref(common, ref);
      } else {
        commit = head;
      }
      if (!is_commit(commit)) return;  // no commit yet
      tags->emplace_back("mlflow.source.git.commit", commit);
      if (!branch.empty()) tags->emplace_back("mlflow.source.git.branch", branch);
      if (std::string url = origin_url(common); !url.empty()) tags->emplace_back("mlflow.source.git.repoURL", url);
      return;
    }
    const auto slash = folder.rfind('/');
    folder.resize(slash == folder.npos ? 0 : slash);
  }
}

/// No name service is asked: it might be on a network.
std::string user_from_passwd() {
  const std::string text = read("/etc/passwd", 1u << 20);
  const std::string uid = std::to_string(geteuid());
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    const auto name = line.find(':');
    if (name == line.npos) continue;
    const auto password = line.find(':', name + 1);
    if (password == line.npos) continue;
    if (line.substr(password + 1, line.find(':', password + 1) - password - 1) == uid)
      return std::string(line.substr(0, name));
  }
  return {};
}

}  // namespace

std::string user_name(const http::Env& env) {
  for (const char* name : {"LOGNAME", "USER", "LNAME", "USERNAME"}) {
    const char* value = env ? env(name) : nullptr;
    if (value != nullptr && *value != '\0') return value;
  }
  return user_from_passwd();
}

Pairs source_tags(const http::Env& env) {
  Pairs tags;
  const std::string user = user_name(env);
  if (!user.empty()) tags.emplace_back("mlflow.user", user);
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size > 0) tags.emplace_back("mlflow.source.name", std::string(path, static_cast<std::size_t>(size)));
  tags.emplace_back("mlflow.source.type", "LOCAL");
  if (getcwd(path, sizeof path)) add_git(path, &tags);
  return tags;
}

}  // namespace mlops::mlflow
