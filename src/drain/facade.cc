#include "drain/facade.h"

#include <mutex>

namespace mlops::drain {

void Facade::set(buffer::Reader* reader, Status why) {
  const std::unique_lock lock(mutex_);
  reader_ = reader;
  if (reader != nullptr) identity_ = reader->identity();
  why_ = why.ok() ? Status(StatusCode::unavailable, "the buffer is closed") : std::move(why);
}

buffer::Identity Facade::identity() const {
  const std::shared_lock lock(mutex_);
  return reader_ != nullptr ? reader_->identity() : identity_;
}
Status Facade::refresh() {
  const std::shared_lock lock(mutex_);
  return reader_ != nullptr ? reader_->refresh() : why_;
}
Result<std::vector<model::RunRow>> Facade::runs() const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->runs();
}
Result<model::RunRow> Facade::run(const buffer::Uid& run) const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->run(run);
}
Result<std::vector<buffer::MetricRow>> Facade::metrics(const buffer::Uid& run) const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->metrics(run);
}
Status Facade::scan(const buffer::Uid& run, std::uint64_t from_seq,
                    const std::function<bool(const buffer::Record&)>& take,
                    const std::function<void(std::uint64_t, std::uint64_t, const Status&)>& damaged) const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->scan(run, from_seq, take, damaged);
}
Result<std::vector<model::Op>> Facade::experiments() const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->experiments();
}
Result<std::vector<model::JournalCursor>> Facade::cursors() const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->cursors();
}
Result<buffer::FileRow> Facade::file(const buffer::Uid& name) const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->file(name);
}
Result<std::vector<buffer::ArtifactRow>> Facade::artifacts(const buffer::Uid& run) const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->artifacts(run);
}
Result<std::vector<buffer::Record>> Facade::models() const {
  const std::shared_lock lock(mutex_);
  if (reader_ == nullptr) return why_;
  return reader_->models();
}

}  // namespace mlops::drain
