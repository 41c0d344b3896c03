// The drain's face to the other threads: asking, waiting within a deadline, fork. The work is Worker's.
#include "drain/drain.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/base.h"
#include "drain/shared.h"
#include "drain/worker.h"

namespace mlops::drain {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point deadline_of(Millis wait) { return Clock::now() + std::clamp(wait, Millis(0), Millis(1'000'000'000)); }

Status in_child() {
  return Status(StatusCode::failed_precondition,
                "a forked child has no buffer of its own: its journal is collected by the parent");
}

class ThreadDrain final : public Drain {
 public:
  ThreadDrain(std::unique_ptr<Slot> slot, journal::Writer* writer, DrainOptions options)
      : shared_(std::make_shared<Shared>()) {
    shared_->slot = std::move(slot);
    shared_->writer = writer;
    shared_->options = std::move(options);
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no signal of the host is ever handled on our thread
    try {
      thread_ = new std::thread([shared = shared_] {
        base::begin_own_thread("mlops-drain");
        Worker(shared).run();
      });
    } catch (const std::system_error& e) {
      const Status why(StatusCode::resource_exhausted, std::string("no thread for the drain: ") + e.what());
      base::log(base::LogLevel::error, why.to_string());
      shared_->finished = true;
      shared_->end = shared_->failure = shared_->stats.buffer = why;
      shared_->slot->lease.reset();
      shared_->slot->lock.unlock();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~ThreadDrain() override {
    if (in_child_) return;  // the thread is the parent's
    close(Millis(10'000)).ignore();
    if (thread_ == nullptr) return;
    thread_->detach();  // it ends by itself; Shared lives as long
    delete thread_;
  }
  ThreadDrain(const ThreadDrain&) = delete;
  ThreadDrain& operator=(const ThreadDrain&) = delete;

  Result<std::shared_ptr<buffer::Reader>> reader(Millis deadline) override {
    if (in_child_) return in_child();
    std::unique_lock lock(shared_->mutex);
    const bool there =
        shared_->changed.wait_until(lock, deadline_of(deadline), [&] { return shared_->opened || shared_->finished; });
    if (shared_->opened) return std::shared_ptr<buffer::Reader>(shared_->facade);
    if (there) return shared_->end.ok() ? Status(StatusCode::failed_precondition, "the drain is closed") : shared_->end;
    if (!shared_->failure.ok()) return shared_->failure;
    return Status(StatusCode::deadline_exceeded, "the buffer is not open yet; opening goes on");
  }

  Status flush(Level level, Millis deadline) override {
    if (in_child_) return in_child();
    const bool durable = level != Level::buffered;
    std::unique_lock lock(shared_->mutex);
    if (shared_->finished || shared_->closing) {
      return Status(StatusCode::failed_precondition, "the drain is closed");
    }
    const std::uint64_t number = ++shared_->flushes;
    if (durable) shared_->durable_flushes = number;
    shared_->ring();
    const auto done = [&] { return (durable ? shared_->durable_flush : shared_->buffered_flush) >= number; };
    shared_->changed.wait_until(lock, deadline_of(deadline),
                                [&] { return done() || shared_->failed_flush >= number || shared_->finished; });
    if (done()) return {};
    if (shared_->failed_flush >= number) return shared_->failure;
    if (shared_->finished) return shared_->end.ok() ? Status() : shared_->end;
    return Status(StatusCode::deadline_exceeded, "the flush is not done yet; it goes on in the background");
  }

  void wake() override {
    if (!in_child_ && !shared_->polling.load(std::memory_order_relaxed)) shared_->ring();
  }

  DrainStats stats() const override {
    const std::lock_guard lock(shared_->mutex);
    return shared_->stats;
  }

  std::uint64_t durable_beat() const override {
    return shared_->slot->control()->durable_beat.load(std::memory_order_acquire);
  }

  void on_beat(std::function<void()> callback) override {
    const std::lock_guard lock(shared_->callback_mutex);
    shared_->on_beat = std::move(callback);
  }

  const Slot& slot() const override { return *shared_->slot; }

  bool recovered() const override {
    const std::lock_guard lock(shared_->mutex);
    return shared_->recovered;
  }

  bool settled() const override {
    const std::lock_guard lock(shared_->mutex);
    return shared_->settled;
  }

  Status close(Millis deadline) override {
    if (in_child_) return in_child();
    std::unique_lock lock(shared_->mutex);
    shared_->closing = true;
    shared_->ring();
    if (!shared_->changed.wait_until(lock, deadline_of(deadline), [&] { return shared_->finished; })) {
      return Status(StatusCode::deadline_exceeded,
                    "the last beat is not written yet; what waits is safe in the journal");
    }
    const std::unique_ptr<std::thread> ended(std::exchange(thread_, nullptr));
    const Status end = shared_->end;
    lock.unlock();
    if (ended != nullptr) ended->join();  // it has nothing left to do
    return end;
  }

  void before_fork() override {
    shared_->callback_mutex.lock();
    shared_->mutex.lock();
  }
  void after_fork_in_parent() override {
    shared_->mutex.unlock();
    shared_->callback_mutex.unlock();
    shared_->forked.store(true, std::memory_order_relaxed);
    shared_->ring();
  }
  void after_fork_in_child() override {
    in_child_ = true;
    shared_->mutex.unlock();
    shared_->callback_mutex.unlock();
  }

 private:
  const std::shared_ptr<Shared> shared_;
  std::thread* thread_ = nullptr;  // guarded by Shared::mutex; leaked in a child
  bool in_child_ = false;
};

}  // namespace

std::unique_ptr<Drain> Drain::start(std::unique_ptr<Slot> slot, journal::Writer* writer, DrainOptions options) {
  return std::make_unique<ThreadDrain>(std::move(slot), writer, std::move(options));
}

}  // namespace mlops::drain
