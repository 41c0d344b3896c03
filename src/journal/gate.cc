#include "journal/gate.h"

#include <atomic>
#include <new>

#include "journal/chain.h"

namespace mlops::journal {
namespace {

using detail::Core;
using detail::Gate;

struct GateNode {
  Gate gate;
  std::atomic<bool> busy{true};
  GateNode* next = nullptr;
};

// A gate keeps its core for ever: a stale handle may read it at any time.
struct CoreNode {
  Core* core = nullptr;
  std::atomic<Writer*> writer{nullptr};
  std::atomic<GateNode*> gates{nullptr};
  std::atomic<std::uint32_t> gate_count{0};
  CoreNode* next = nullptr;
};

std::atomic<CoreNode*> g_cores{nullptr};

CoreNode* find(const Core* core) {
  for (CoreNode* n = g_cores.load(std::memory_order_acquire); n != nullptr; n = n->next) {
    if (n->core == core) return n;
  }
  return nullptr;
}

CoreNode* find_or_add(Core* core) {
  CoreNode* fresh = nullptr;
  for (;;) {
    CoreNode* head = g_cores.load(std::memory_order_acquire);
    if (CoreNode* n = find(core); n != nullptr) {
      delete fresh;
      return n;
    }
    if (fresh == nullptr) fresh = new CoreNode();
    fresh->core = core;
    fresh->next = head;
    if (g_cores.compare_exchange_weak(head, fresh, std::memory_order_acq_rel)) return fresh;
  }
}

GateNode* node_of(Gate* gate) {
  static_assert(std::is_standard_layout_v<GateNode>);
  return reinterpret_cast<GateNode*>(gate);  // the gate is its first member
}

}  // namespace

Gate* open_gate(Core* core) {
  CoreNode* node = find_or_add(core);
  for (GateNode* g = node->gates.load(std::memory_order_acquire); g != nullptr; g = g->next) {
    bool free = false;
    if (g->busy.compare_exchange_strong(free, true, std::memory_order_acq_rel)) return &g->gate;
  }
  auto* g = new GateNode();
  g->gate.core = core;
  g->gate.generation.store(1, std::memory_order_relaxed);
  g->gate.index = node->gate_count.fetch_add(1, std::memory_order_relaxed);
  GateNode* head = node->gates.load(std::memory_order_relaxed);
  do {
    g->next = head;
  } while (!node->gates.compare_exchange_weak(head, g, std::memory_order_acq_rel));
  return &g->gate;
}

void close_gate(Gate* gate) {
  std::uint32_t next = gate->generation.load(std::memory_order_relaxed) + 1;
  if (next == 0) next = 1;  // 0 is never open
  gate->generation.store(next, std::memory_order_seq_cst);
  node_of(gate)->busy.store(false, std::memory_order_release);
}

void bind_core(Core* core, Writer* writer) { find_or_add(core)->writer.store(writer, std::memory_order_release); }

void unbind_writer(const Writer* writer) {
  for (CoreNode* n = g_cores.load(std::memory_order_acquire); n != nullptr; n = n->next) {
    if (n->writer.load(std::memory_order_relaxed) == writer) n->writer.store(nullptr, std::memory_order_release);
  }
}

std::uint64_t closed_drops(const Core* core) {
  const CoreNode* node = find(core);
  if (node == nullptr) return 0;
  std::uint64_t sum = 0;
  for (const GateNode* g = node->gates.load(std::memory_order_acquire); g != nullptr; g = g->next) {
    sum += g->gate.closed_drops.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace mlops::journal

MLOPS_NAMESPACE_BEGIN
namespace detail {

void log_slow(Handle handle, double value, std::int64_t step, std::int64_t time_ms) noexcept {
  Gate* gate = handle.gate;
  if (gate->core == nullptr) return;  // a handle that was never made
  // First, and by itself: to a thread that comes here once in 2,046 calls all code and data below are cold.
  if (time_ms >= kNow && journal::step_ahead(gate->core)) return log_point(handle, value, step, time_ms);
  journal::CoreNode* node = journal::find(gate->core);
  journal::Writer* writer = node == nullptr ? nullptr : node->writer.load(std::memory_order_acquire);
  if (writer == nullptr) {
    gate->closed_drops.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  writer->log_slow(handle, value, step, time_ms);
}

}  // namespace detail
MLOPS_NAMESPACE_END
