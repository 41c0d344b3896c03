// The buffer's read side for others, standing still while the drain closes and reopens the database behind it. Between
// the two every call is unavailable with the reason. A call in progress is waited for before the database closes.
#pragma once

#include <memory>
#include <shared_mutex>

#include "buffer/buffer.h"

namespace mlops::drain {

class Facade final : public buffer::Reader {
 public:
  /// Null: closed, for this reason. Waits for the calls in progress.
  void set(buffer::Reader* reader, Status why);

  buffer::Identity identity() const override;
  Status refresh() override;
  Result<std::vector<model::RunRow>> runs() const override;
  Result<model::RunRow> run(const buffer::Uid& run) const override;
  Result<std::vector<buffer::MetricRow>> metrics(const buffer::Uid& run) const override;
  Status scan(const buffer::Uid& run, std::uint64_t from_seq, const std::function<bool(const buffer::Record&)>& take,
              const std::function<void(std::uint64_t, std::uint64_t, const Status&)>& damaged) const override;
  Result<std::vector<model::Op>> experiments() const override;
  Result<std::vector<model::JournalCursor>> cursors() const override;
  Result<buffer::FileRow> file(const buffer::Uid& name) const override;
  Result<std::vector<buffer::ArtifactRow>> artifacts(const buffer::Uid& run) const override;
  Result<std::vector<buffer::Record>> models() const override;

 private:
  mutable std::shared_mutex mutex_;
  buffer::Reader* reader_ = nullptr;
  buffer::Identity identity_;  // of the database last open
  Status why_ = Status(StatusCode::unavailable, "the buffer is not open yet; try again");
};

}  // namespace mlops::drain
