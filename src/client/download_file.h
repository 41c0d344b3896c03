// FileDownload: one file on its way into a folder: its part, which version of the file that is, and its end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/base.h"
#include "base/beneath.h"
#include "client/download.h"
#include "store/store.h"

namespace mlops::client {

class FileDownload {
 public:
  FileDownload(const base::Beneath& folder, const WantedFile& file, const std::atomic<bool>* over);

  struct Outcome {
    bool done = false;
    bool again = false;  // another try may do
    Status status;       // of what is not done
    std::int64_t retry_after_ms = -1;
    std::uint64_t resumed = 0;
  };
  /// One try. `moved` is told by how many bytes the file has grown (less when it begins anew).
  Outcome attempt(store::Store* store, const std::function<void(std::int64_t)>& moved);
  /// Bytes that came over the wire in all tries.
  std::uint64_t arrived() const { return arrived_; }

 private:
  Status prepare();
  bool is_there() const;
  bool take(std::uint64_t where, std::string_view bytes, const std::function<void(std::int64_t)>& moved);
  Status digest_part(std::uint64_t size);
  Status write_version();
  void read_version();
  Status settle();
  void drop_part();

  const base::Beneath& folder_;
  const WantedFile& file_;
  const std::atomic<bool>* over_;
  std::string part_, of_;
  base::Fd fd_;
  store::Version version_;
  std::uint64_t at_ = 0;  // bytes in the part
  std::uint64_t arrived_ = 0, resumed_ = 0;
  std::int64_t shown_ = 0;  // what `moved` was told in sum
  bool version_written_ = false;
  int mismatches_ = 0;
  std::unique_ptr<base::Digest> digest_;  // of the first at_ bytes; none when nothing is known to compare it with
  Status trouble_;                        // of our own disk
};

}  // namespace mlops::client
