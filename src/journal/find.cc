// Journals of a slot: who left one, and removing what is finished.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <string>

#include "base/base.h"
#include "base/file.h"
#include "journal/journal.h"

namespace mlops::journal {
namespace {

constexpr std::int64_t kUnnamedSeconds = 60;

// A journal that died before it got its name holds nothing; one that is being made is a moment old.
void sweep_unnamed(const std::string& dir) {
  struct stat st{};
  if (::lstat(dir.c_str(), &st) != 0 || st.st_mtime + kUnnamedSeconds > ::time(nullptr)) return;
  if (!base::FileLock::is_held(dir + "/lock")) base::remove_tree(dir).ignore();
}

}  // namespace

Result<std::vector<Found>> find_journals(const std::string& slot_dir) {
  const std::string parent = slot_dir + "/journal";
  std::vector<Found> found;
  if (!base::exists(parent)) return found;
  auto names = base::list_dir(parent);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string dir = parent + "/" + name;
    base::Uid uid;
    if (base::Uid::parse(name, &uid)) {
      found.push_back({dir, uid, base::FileLock::is_held(dir + "/lock")});
    } else if (name.rfind(".new-", 0) == 0) {
      sweep_unnamed(dir);
    }
  }
  return found;
}

Status remove_journal(const std::string& journal_dir) {
  MLOPS_POINT("journal.remove");
  if (Status s = base::remove_tree(journal_dir); !s.ok()) return s;
  MLOPS_POINT("journal.removed");
  // Else a power cut could bring the folder back after its cursors were deleted, and everything in it a second time.
  const std::string parent = journal_dir.substr(0, journal_dir.find_last_of('/'));
  const base::Fd fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return base::errno_status(errno, "open", parent);
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return base::errno_status(errno, "sync", parent);
  return Status();
}

}  // namespace mlops::journal
