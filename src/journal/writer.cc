// Writer: what a process logs into. Its journal is the one it was made with; after a fork, the child's own, made by the
// child's first record with every key the child inherited.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "base/base.h"
#include "base/file.h"
#include "journal/clock.h"
#include "journal/gate.h"
#include "journal/keys.h"
#include "journal/local.h"

namespace mlops::journal {
namespace {

using detail::Core;

std::atomic<LocalWriter*> g_writers{nullptr};

void fork_child() {
  forget_thread();
  forget_ticker();
  for (LocalWriter* w = g_writers.load(std::memory_order_acquire); w != nullptr; w = w->next_writer) {
    w->after_fork_in_child();
  }
}

void install_once() {
  static const bool done = [] {
    prepare_threads();
    ::pthread_atfork(nullptr, nullptr, fork_child);
    return true;
  }();
  (void)done;
}

}  // namespace

Result<std::unique_ptr<Writer>> Writer::create(const WriterOptions& options, Control* control, Core* core) {
  install_once();
  auto chains = Chains::create(options.slot_dir, options.journal_mib, true, options.wake);
  if (!chains.ok()) return chains.status();
  auto* writer = new LocalWriter(options, control, core, std::move(*chains));
  writer->next_writer = g_writers.load(std::memory_order_relaxed);
  while (!g_writers.compare_exchange_weak(writer->next_writer, writer, std::memory_order_acq_rel)) {
  }
  return std::unique_ptr<Writer>(new WriterHandle(writer));
}

LocalWriter::LocalWriter(const WriterOptions& options, Control* control, Core* core, std::unique_ptr<Chains> chains)
    : options_(options), control_(control), core_(core), chains_(chains.release()) {}

Chains* LocalWriter::chains() {
  Chains* c = chains_.load(std::memory_order_acquire);
  return c != nullptr ? c : make_in_child();
}

Chains* LocalWriter::make_in_child() {
  const std::lock_guard<std::mutex> lock(make_mutex_);
  if (Chains* c = chains_.load(std::memory_order_acquire); c != nullptr) return c;
  const std::int64_t now = base::steady_ms();
  if (now < make_again_ || closed_.load(std::memory_order_acquire)) return nullptr;
  Status failed;
  const auto make = [this]() -> Result<std::unique_ptr<Chains>> {
    if (!base::exists(options_.slot_dir + "/journal")) {
      return Status(StatusCode::failed_precondition,
                    options_.slot_dir + " is gone: who took the slot over was done with it");
    }
    return Chains::create(options_.slot_dir, options_.journal_mib, false,
                          [control = control_] { control->hurry.fetch_add(1, std::memory_order_relaxed); });
  };
  auto made = make();
  if (made.ok()) {
    // Handles that came over the fork carry their keys: all of them are defined before the first point.
    std::uint32_t last = 0;
    for (const Keys::Entry* e : keys_.all()) {
      if (!define((*made).get(), e->key, e->run, e->name)) {
        failed = Status(StatusCode::resource_exhausted, "no room for the keys of a forked child");
        break;
      }
      last = e->key;
    }
    if (failed.ok()) {
      next_key_ = last + 1;
      Chains* c = made->release();
      chains_.store(c, std::memory_order_release);
      return c;
    }
    (*made)->close();
  } else {
    failed = made.status();
  }
  make_again_ = now + 1000;
  base::log(base::LogLevel::warn, "a forked child cannot log: " + failed.to_string());
  return nullptr;
}

bool LocalWriter::define(Chains* chains, std::uint32_t key, const base::Uid& run, std::string_view name) {
  std::string payload(run.view());
  payload.append(name);
  return chains->put(&chains->dictionary(), detail::kCellKey, key, next_ticket(), payload, wait());
}

Result<std::uint32_t> LocalWriter::key(const base::Uid& run, std::string_view name) {
  const std::uint64_t hash = Keys::hash(run, name);
  Chains* c = chains();
  if (const std::uint32_t found = keys_.find(hash, run, name); MLOPS_LIKELY(found != 0 && c != nullptr)) return found;
  return define_key(c, hash, run, name);
}

Result<std::uint32_t> LocalWriter::define_key(Chains* c, std::uint64_t hash, const base::Uid& run,
                                              std::string_view name) {
  if (closed_.load(std::memory_order_acquire)) {
    return Status(StatusCode::failed_precondition, "the client is closed; open another one to log");
  }
  if (c == nullptr) {
    return Status(StatusCode::resource_exhausted, "this forked process cannot make a journal in " + options_.slot_dir);
  }
  if (name.size() + 16 > kMaxRecord) return Status(StatusCode::invalid_argument, "a metric name of more than 48 KiB");
  const std::lock_guard<std::mutex> lock(keys_mutex_);
  if (const std::uint32_t found = keys_.find(hash, run, name); found != 0) return found;
  if (next_key_ > kMaxKey) {
    return Status(StatusCode::resource_exhausted,
                  "16,777,215 metrics were named by this process, which is all there are; restart it");
  }
  if (!define(c, next_key_, run, name)) return full();
  MLOPS_POINT("journal.keyed");
  keys_.add(hash, run, name, next_key_);
  return next_key_++;
}

Status LocalWriter::append(model::Op* op) {
  if (closed_.load(std::memory_order_acquire)) {
    return Status(StatusCode::failed_precondition, "the client is closed; open another one to log");
  }
  Chains* c = chains();
  Chain* chain = c == nullptr ? nullptr : c->mine(core_);
  if (chain == nullptr) return full();
  op->ticket = next_ticket();
  const std::string bytes = model::encode_op(*op);
  if (bytes.size() > kMaxRecord) {
    return Status(StatusCode::invalid_argument,
                  "a record of " + std::to_string(bytes.size()) + " bytes; at most 49,152 fit: split it");
  }
  if (!c->put(chain, detail::kCellRecord, 1, op->ticket, bytes, wait())) return full();
  return Status();
}

Status LocalWriter::full() const {
  return Status(StatusCode::resource_exhausted,
                "the journal is full because the buffer cannot be written fast enough; see Health, free disk space, or "
                "raise Options::journal_mib");
}

void LocalWriter::dropped(std::atomic<std::uint64_t>* here, std::atomic<std::uint64_t>* of_children) const {
  here->fetch_add(1, std::memory_order_relaxed);
  if (in_child_) of_children->fetch_add(1, std::memory_order_relaxed);
}

void LocalWriter::log_slow(detail::Handle handle, double value, std::int64_t step, std::int64_t time_ms) {
  if (handle.key() == 0 || time_ms < detail::kNow) return dropped(&dropped_invalid_, &control_->child_invalid);
  if (handle.gate->generation.load(std::memory_order_acquire) != handle.generation ||
      closed_.load(std::memory_order_acquire)) {
    return dropped(&handle.gate->closed_drops, &control_->child_closed);
  }
  Chains* c = chains();
  Chain* chain = c == nullptr ? nullptr : c->mine(core_);
  if (chain == nullptr) return dropped(&dropped_full_, &control_->child_full);
  if (time_ms == detail::kNow) {  // before the wait: the time of the call
    check_ticker();
    time_ms = detail::the_clock.word.load(std::memory_order_relaxed);
    if (time_ms == 0) time_ms = detail::coarse_now_ms();
    time_ms = chain->last_ms = std::max(time_ms, chain->last_ms);
  }
  if (chain->cursor == chain->limit && !c->advance(chain, wait())) {
    return dropped(&dropped_full_, &control_->child_full);
  }
  detail::put_cell(chain->cursor, chain->seed, handle.low, step, time_ms, value);
  ++chain->cursor;
}

WriterStats LocalWriter::stats() const {
  WriterStats s;
  if (Chains* c = chains_.load(std::memory_order_acquire); c != nullptr) {
    const Pool::Counts counts = c->pool().counts();
    s.segments_in_use = counts.in_use;
    s.segments_free = counts.free;
    s.segments_cap = counts.cap;
  }
  s.dropped_closed = closed_drops(core_);
  s.dropped_full = dropped_full_.load(std::memory_order_relaxed);
  s.dropped_invalid = dropped_invalid_.load(std::memory_order_relaxed);
  s.accepted_points = collected_.load(std::memory_order_relaxed);
  return s;
}

void LocalWriter::prepare() {
  check_ticker();
  if (Chains* c = chains_.load(std::memory_order_acquire); c != nullptr) c->pool().prepare();
}

void LocalWriter::close() {
  closed_.store(true, std::memory_order_release);
  if (Chains* c = chains_.load(std::memory_order_acquire); c != nullptr) c->close();
}

void LocalWriter::after_fork_in_child() {
  Chains* c = chains_.load(std::memory_order_acquire);
  if (c != nullptr && c->pid() == ::getpid()) return;  // already done
  if (c != nullptr) c->pool().drop_in_child();
  forget_thread();
  chains_.store(nullptr, std::memory_order_release);
  // Another thread of the parent may have held them; it does not exist here.
  new (&make_mutex_) std::mutex;
  new (&keys_mutex_) std::mutex;
  make_again_ = 0;
  in_child_ = true;
}

const base::Uid& LocalWriter::uid() const {
  static const base::Uid none{};
  const Chains* c = chains_.load(std::memory_order_acquire);
  return c == nullptr ? none : c->uid();
}

}  // namespace mlops::journal
