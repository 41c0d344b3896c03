// Shared: what all lanes of one engine have in common: the ledger, what the server can, the experiments found, the body
// cap that 413 answers taught. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/uid.h"
#include "buffer/buffer.h"
#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "mlops/options.h"
#include "model/limits.h"
#include "sync/turnstile.h"

namespace mlops::sync {

/// Where another run stands, for those nested below it.
struct ParentState {
  bool known = false;     // this slot holds it
  std::string server_id;  // empty until resolved
  std::string parked;     // why it will not be
};

/// Where the files of a model are on the server, for a version that is to be made of them.
struct ModelPlace {
  enum class State { waiting, ready, refused } state = State::waiting;
  std::string source;            // ready: what a version's source is
  std::string run_id, model_id;  // of the server; empty: none
  std::string why;               // waiting, refused: in words
};

struct Shared {
  buffer::Reader* reader = nullptr;
  ledger::Ledger* ledger = nullptr;
  std::function<std::uint64_t()> durable_beat;
  std::function<ParentState(const base::Uid&)> parent_of;
  /// Whether every artifact record of the run, or of a logged model of it, with a ticket up to `ticket` is delivered.
  /// Empty: nobody delivers artifacts here, and who has some waits.
  std::function<bool(const base::Uid& run, const base::Uid& model, std::uint64_t ticket)> artifacts_delivered;
  /// A logged model by its uid: ready once it is finalized. Empty: nobody makes them here.
  std::function<ModelPlace(const base::Uid& model)> model_place;
  /// The artifact root of a logged model of the run, where its files go. not_found, unavailable: not known yet, ask
  /// again; anything else: it will never be. Empty: nobody makes logged models here, and their files wait.
  std::function<Result<std::string>(const base::Uid& run, const base::Uid& model)> model_root;
  /// EngineOptions::experiment_of.
  std::function<std::string(const base::Uid&)> experiment_of;
  /// EngineOptions::files_elsewhere.
  std::function<bool(const base::Uid&)> files_elsewhere;
  /// Asked before each request: false when stopping, or the lease is lost. Nothing is sent then.
  std::function<bool()> may_send;
  std::shared_ptr<Turnstile> turnstile;  // null: none
  /// A request that carried `records` points came back well.
  std::function<void(std::uint64_t records, double seconds)> on_done;
  std::string watermark_key, slot_dir;
  Millis backoff_first{1'000}, backoff_most{300'000};

  std::atomic<std::size_t> body_cap{model::kBodyBytes};
  std::atomic<std::uint64_t> requests{0}, retries{0};
  std::atomic<std::uint64_t> good{0};  // requests that came back well, but for the handshake's
  /// Whether the server has logged models, as it answered: 0 not asked yet, 1 yes, -1 no. Asked again after each probe.
  std::atomic<int> logged_models{0};

  mlflow::Server server() const {
    std::lock_guard<std::mutex> lock(mu);
    return server_;
  }
  void set_server(const mlflow::Server& s) {
    std::lock_guard<std::mutex> lock(mu);
    server_ = s;
    logged_models = 0;
  }
  std::string experiment(const std::string& name) const {
    std::lock_guard<std::mutex> lock(mu);
    auto it = experiments_.find(name);
    return it == experiments_.end() ? std::string() : it->second;
  }
  void set_experiment(const std::string& name, const std::string& id) {
    std::lock_guard<std::mutex> lock(mu);
    if (id.empty()) {
      experiments_.erase(name);
    } else {
      experiments_[name] = id;
    }
  }
  /// After a 413 for a body of `bytes`: what is sent from now on is at most half of that.
  void halve_body(std::size_t bytes) {
    std::size_t cap = body_cap.load();
    const std::size_t half = bytes / 2 < 1 ? 1 : bytes / 2;
    while (half < cap && !body_cap.compare_exchange_weak(cap, half)) {
    }
  }

 private:
  mutable std::mutex mu;
  mlflow::Server server_;
  std::unordered_map<std::string, std::string> experiments_;
};

/// The watermark tag of a slot: `mlops.sync.<8 hex of the hash of its host and slot folder>`, so that several slots
/// that write to one run do not share it, and a slot keeps its own wherever the root is mounted.
std::string watermark_key(const std::string& slot_dir);
/// `<8 hex of the buffer uid>.<generation>.<seq>`: every point with a smaller seq is on the server or dead.
std::string watermark_value(const buffer::Identity& identity, std::uint64_t seq);
/// 0 when the value is not one of this buffer and generation.
std::uint64_t parse_watermark(std::string_view value, const buffer::Identity& identity);

}  // namespace mlops::sync
