#include "journal/chain.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

MLOPS_NAMESPACE_BEGIN
namespace detail {
__thread Lane* tls_lane __attribute__((tls_model(MLOPS_TLS_MODEL))) = nullptr;
}  // namespace detail
MLOPS_NAMESPACE_END

namespace mlops::journal {

using detail::Lane;
using detail::tls_lane;

namespace {

pthread_key_t g_exit_key;

// A wake is a system call: once for what fills a block of the drain, and never for more than half of the smallest
// journal.
constexpr std::uint32_t kWakeEach = 16;

constexpr std::int64_t kFastMs = 50;       // a thread that fills a segment in less takes some ahead
constexpr std::size_t kFetched = 12 * 64;  // the header and what a burst of 20 points fills

void enter(Chain* chain, SegmentHeader* h) {
  chain->current = h;
  chain->seed = lane_seed(h);
  chain->cursor = cells_of(h);
  chain->limit = cells_of(h) + kCellsPerSegment;
}

bool enter_ahead(Chain* chain) {
  if (chain->ahead_used == chain->ahead_end) return false;
  enter(chain, chain->ahead[chain->ahead_used++]);
  if (chain->ahead_used < chain->ahead_end) {
    // The next one was freed by another thread and lies in that one's cache: its beginning is fetched by the time it
    // is needed.
    const char* next = reinterpret_cast<const char*>(chain->ahead[chain->ahead_used]);
    for (std::size_t at = 0; at < kFetched; at += 64) __builtin_prefetch(next + at, 1);
  }
  return true;
}

// Word by word: an estimate (Collector::pending) may look at a word that is payload in the making.
void copy_payload(Cell* to, std::string_view payload) {
  auto* words = reinterpret_cast<std::uint64_t*>(to);
  for (std::size_t at = 0; at < payload.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, payload.data() + at, std::min(sizeof word, payload.size() - at));
    __atomic_store_n(words + at / sizeof word, word, __ATOMIC_RELAXED);
  }
}

}  // namespace

void give_back(Chain* chain) {
  Chains* home = chain->home;
  const std::lock_guard<std::mutex> lock(home->mutex_);
  chain->next = nullptr;
  chain->idle = true;
  if (chain->cursor == chain->limit) enter_ahead(chain);  // retire_idle gives up what comes after a current segment
  if (home->closer_ == chain) home->closer_ = nullptr;
  home->idle_.push_back(chain);
}

namespace {

void thread_exits(void*) {
  Lane* lane = tls_lane;
  tls_lane = nullptr;  // a later destructor of this thread that logs gets a chain anew, and this one runs again
  while (lane != nullptr) {
    Lane* next = lane->next;
    give_back(static_cast<Chain*>(lane));
    lane = next;
  }
}

}  // namespace

bool step_ahead(const detail::Core* core) noexcept {
  for (Lane* lane = tls_lane; lane != nullptr; lane = lane->next) {
    if (lane->core == core) return lane->cursor == lane->limit && enter_ahead(static_cast<Chain*>(lane));
  }
  return false;
}

void prepare_threads() {
  static const int made = ::pthread_key_create(&g_exit_key, thread_exits);
  (void)made;
}

void forget_thread() {
  tls_lane = nullptr;
  ::pthread_setspecific(g_exit_key, nullptr);
}

Chains::Chains(std::string dir, const base::Uid& uid, base::FileLock lock, std::uint32_t cap_mib, bool collected_here,
               std::function<void()> wake)
    : uid_(uid),
      pid_(::getpid()),
      dir_(std::move(dir)),
      lock_(std::move(lock)),
      pool_(dir_, uid, cap_mib, collected_here),
      wake_(std::move(wake)) {
  dictionary_.home = this;
  dictionary_.thread = kDictionaryThread;
}

Result<std::unique_ptr<Chains>> Chains::create(const std::string& slot_dir, std::uint32_t cap_mib, bool collected_here,
                                               std::function<void()> wake) {
  const base::Uid uid = base::Uid::random();
  const std::string parent = slot_dir + "/journal";
  const std::string fresh = parent + "/.new-" + uid.hex();
  const std::string dir = parent + "/" + uid.hex();
  if (Status s = base::make_dirs(fresh); !s.ok()) return s;
  MLOPS_POINT("journal.made_dir");
  Result<base::FileLock> lock = base::FileLock::try_lock(fresh + "/lock");
  if (!lock.ok()) return lock.status();
  MLOPS_POINT("journal.locked");
  std::unique_ptr<Chains> chains(new (std::nothrow)
                                     Chains(fresh, uid, std::move(*lock), cap_mib, collected_here, std::move(wake)));
  if (chains == nullptr) return Status(StatusCode::resource_exhausted, "no memory for a journal");
  chains->pool_.prepare();
  if (chains->pool_.chunk_count() == 0) {
    Status s = chains->pool_.grow_error();
    base::remove_tree(fresh).ignore();
    return s;
  }
  if (::rename(fresh.c_str(), dir.c_str()) != 0) {
    Status s = base::errno_status(errno, "name", dir);
    base::remove_tree(fresh).ignore();
    return s;
  }
  MLOPS_POINT("journal.named");
  chains->dir_ = dir;
  chains->pool_.moved_to(dir);
  return chains;
}

Chain* Chains::mine(detail::Core* core) {
  Lane** link = &tls_lane;
  for (Lane* lane = tls_lane; lane != nullptr; lane = *link) {
    Chain* chain = static_cast<Chain*>(lane);
    if (chain->home == this) return chain;
    if (chain->home->closed()) {  // of a client that was closed: not walked past for ever
      *link = lane->next;
      give_back(chain);
    } else {
      link = &lane->next;
    }
  }
  Chain* chain = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      chain = idle_.back();
      idle_.pop_back();
    } else {
      chain = new (std::nothrow) Chain();
      if (chain == nullptr) return nullptr;
      chain->home = this;
      chain->core = core;
      chain->thread = static_cast<std::uint32_t>(chains_.size());
      chains_.emplace_back(chain);
    }
    chain->idle = false;
  }
  chain->next = tls_lane;
  tls_lane = chain;
  ::pthread_setspecific(g_exit_key, chain);
  return chain;
}

bool Chains::advance(Chain* chain, std::chrono::milliseconds wait) {
  const bool beyond_cap = chain->current == nullptr || chain->thread == kDictionaryThread;
  if (enter_ahead(chain)) return true;
  SegmentHeader* h = pool_.take(chain->thread, chain->next_position, beyond_cap, wait, wake_);
  if (h == nullptr) return false;
  ++chain->next_position;
  const bool fast = chain->taken_ms != 0 && chain->last_ms - chain->taken_ms < kFastMs * (1 + chain->ahead_end);
  chain->taken_ms = chain->last_ms;
  chain->ahead_used = chain->ahead_end = 0;
  if (fast && chain->thread != kDictionaryThread) {
    chain->ahead_end = pool_.take_ahead(chain->thread, chain->next_position, Chain::kAhead, chain->ahead.data());
    chain->next_position += chain->ahead_end;
  }
  enter(chain, h);
  const std::uint32_t taken = 1 + chain->ahead_end;
  if (taken_since_wake_.fetch_add(taken, std::memory_order_relaxed) % kWakeEach + taken >= kWakeEach && wake_) wake_();
  return true;
}

bool Chains::put(Chain* chain, std::uint8_t kind, std::uint32_t key, std::uint64_t ticket, std::string_view payload,
                 std::chrono::milliseconds wait) {
  const std::size_t cells = record_cells(payload.size());
  if (static_cast<std::size_t>(chain->limit - chain->cursor) < cells) {
    Cell* rest = chain->cursor == chain->limit ? nullptr : chain->cursor;
    const std::uint64_t old_seed = chain->seed;
    if (!advance(chain, wait)) return false;  // the rest of the old segment stays usable
    MLOPS_POINT("journal.skip");
    if (rest != nullptr) detail::put_cell(rest, old_seed, detail::kCellSkip, 0, 0, 0);
  }
  Cell* head = chain->cursor;
  copy_payload(head + 1, payload);
  MLOPS_POINT("journal.payload");
  const auto hash = static_cast<std::int64_t>(base::hash64(payload, chain->current->seed));
  detail::put_cell(head, chain->seed, (key << 8) | kind, static_cast<std::int64_t>(payload.size()), hash,
                   ticket_bits(ticket));
  MLOPS_POINT("journal.published");
  chain->cursor = head + cells;
  return true;
}

std::vector<Cursor> Chains::retire_idle(const std::vector<Cursor>& upto) {
  std::vector<Cursor> moved;
  std::size_t freed = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Chain* chain : idle_) {
    if (chain->current == nullptr || chain->cursor == chain->limit) continue;
    const auto used = static_cast<std::uint32_t>(chain->cursor - cells_of(chain->current));
    for (const Cursor& c : upto) {
      if (c.thread != chain->thread || c.segment != chain->current->position || c.cell != used) continue;
      free_segment(chain->current);
      ++freed;
      for (; chain->ahead_used < chain->ahead_end; ++chain->ahead_used, ++freed) {
        free_segment(chain->ahead[chain->ahead_used]);
      }
      chain->current = nullptr;
      chain->cursor = chain->limit = nullptr;
      Cursor next = c;
      next.segment = chain->next_position;
      next.cell = 0;
      moved.push_back(next);
      break;
    }
  }
  pool_.note_freed(freed);
  return moved;
}

bool Chains::other_threads_live() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(chains_.begin(), chains_.end(),
                     [&](const std::unique_ptr<Chain>& c) { return !c->idle && c.get() != closer_; });
}

void Chains::close() {
  if (closed_.exchange(true, std::memory_order_acq_rel)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const Lane* lane = tls_lane; lane != nullptr; lane = lane->next) {
    if (static_cast<const Chain*>(lane)->home == this) closer_ = static_cast<const Chain*>(lane);
  }
  lock_.unlock();
}

}  // namespace mlops::journal
