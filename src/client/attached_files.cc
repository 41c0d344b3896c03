#include "client/attached_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "base/file.h"
#include "buffer/buffer.h"
#include "client/slot_count.h"

namespace mlops::client {

const AttachedFiles::Seen& AttachedFiles::look(const std::string& slot_dir) {
  Seen& seen = seen_[slot_dir];
  struct stat st{};
  if (::stat((slot_dir + "/summary").c_str(), &st) != 0) return seen = Seen();
  const std::int64_t time_ns = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
  if (seen.time_ns == time_ns && seen.size == st.st_size) return seen;
  const Result<std::string> bytes = base::read_file(slot_dir + "/summary");
  buffer::Identity identity;
  buffer::SlotCounters counters;
  std::vector<buffer::SummaryEntry> entries;
  if (!bytes.ok() || !buffer::decode_summary(*bytes, &identity, &counters, &entries).ok()) return seen;
  seen = {time_ns, st.st_size, {}};
  for (const buffer::SummaryEntry& entry : entries) {
    if (entry.row.attached) seen.runs.insert(entry.row.uid);
  }
  return seen;
}

bool AttachedFiles::any(const std::string& slot_dir) {
  const std::lock_guard<std::mutex> lock(mu_);
  return !look(slot_dir).runs.empty();
}

bool AttachedFiles::wait_for(const std::string& slot_dir, const base::Uid& run) {
  const std::string host = slot_dir.substr(0, slot_dir.find_last_of('/'));
  const Result<std::vector<std::string>> slots = base::list_dir(host);
  if (!slots.ok()) return false;
  std::vector<std::string> attached;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    for (const std::string& name : *slots) {
      std::string other = host + "/" + name;
      if (other != slot_dir && look(other).runs.count(run) != 0) attached.push_back(std::move(other));
    }
  }
  return std::any_of(attached.begin(), attached.end(), [&](const std::string& other) {
    Count count;
    return count_files(other, destination_, &count, &run).ok() && count.files_waiting != 0;
  });
}

}  // namespace mlops::client
