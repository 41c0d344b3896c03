// LocalWriter: the Writer of this process, and the handle that the rest of the house holds. Never destroyed: threads
// may log at any time. The handle's destructor closes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "journal/chain.h"
#include "journal/gate.h"
#include "journal/journal.h"
#include "journal/keys.h"

namespace mlops::journal {

class LocalWriter final : public Writer {
 public:
  LocalWriter(const WriterOptions& options, Control* control, detail::Core* core, std::unique_ptr<Chains> chains);

  const base::Uid& uid() const override;
  Result<std::uint32_t> key(const base::Uid& run, std::string_view name) override;
  Status append(model::Op* op) override;
  void log_slow(detail::Handle handle, double value, std::int64_t step, std::int64_t time_ms) override;
  void prepare() override;
  WriterStats stats() const override;
  void close() override;
  void after_fork_in_child() override;

  /// The open journal; null in a child that has not logged and cannot.
  Chains* open_chains() const { return chains_.load(std::memory_order_acquire); }
  void add_collected(std::uint64_t points) { collected_.fetch_add(points, std::memory_order_relaxed); }

  LocalWriter* next_writer = nullptr;  // of the process's list

 private:
  Chains* chains();
  Chains* make_in_child();
  bool define(Chains* chains, std::uint32_t key, const base::Uid& run, std::string_view name);
  Result<std::uint32_t> define_key(Chains* c, std::uint64_t hash, const base::Uid& run, std::string_view name);
  Status full() const;
  /// Counts a dropped point: here, and from a forked child also for its parent, to whom it is nothing else.
  void dropped(std::atomic<std::uint64_t>* here, std::atomic<std::uint64_t>* of_children) const;
  std::uint64_t next_ticket() { return control_->ticket.fetch_add(1, std::memory_order_acq_rel) + 1; }
  Millis wait() const { return options_.when_full == WhenFull::wait ? options_.full_wait : Millis(0); }

  const WriterOptions options_;
  Control* const control_;
  detail::Core* const core_;
  std::atomic<Chains*> chains_;
  std::atomic<bool> closed_{false};
  std::mutex make_mutex_;
  std::int64_t make_again_ = 0;  // steady ms; guarded by make_mutex_

  Keys keys_;
  std::mutex keys_mutex_;
  std::uint32_t next_key_ = 1;  // guarded by keys_mutex_
  bool in_child_ = false;

  std::atomic<std::uint64_t> dropped_full_{0}, dropped_invalid_{0}, collected_{0};
};

class WriterHandle final : public Writer {
 public:
  explicit WriterHandle(LocalWriter* writer) : writer_(writer) {}
  ~WriterHandle() override {
    writer_->close();
    unbind_writer(this);
  }
  const base::Uid& uid() const override { return writer_->uid(); }
  Result<std::uint32_t> key(const base::Uid& run, std::string_view name) override { return writer_->key(run, name); }
  Status append(model::Op* op) override { return writer_->append(op); }
  void log_slow(detail::Handle handle, double value, std::int64_t step, std::int64_t time_ms) override {
    writer_->log_slow(handle, value, step, time_ms);
  }
  void prepare() override { writer_->prepare(); }
  WriterStats stats() const override { return writer_->stats(); }
  void close() override { writer_->close(); }
  void after_fork_in_child() override { writer_->after_fork_in_child(); }
  LocalWriter* local() const { return writer_; }

 private:
  LocalWriter* const writer_;
};

}  // namespace mlops::journal
