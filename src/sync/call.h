// call_server: one request of a lane: waits for its place, asks whether it may be sent, counts it, reports its time.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/base.h"
#include "sync/shared.h"
#include "sync/turnstile.h"

namespace mlops::sync {

template <typename Call>
mlflow::Answer call_server(Shared* shared, std::uint64_t records, Call&& make) {
  const Pass pass(shared->turnstile.get(), shared->may_send);
  if (!pass.given()) {
    mlflow::Answer stopped;
    stopped.verdict = mlflow::Verdict::offline;
    stopped.status = Status(StatusCode::unavailable, "delivery is stopping");
    return stopped;
  }
  shared->requests.fetch_add(1, std::memory_order_relaxed);
  const std::int64_t start = base::steady_ms();
  mlflow::Answer answer = make();
  if (answer.verdict == mlflow::Verdict::ok) shared->good.fetch_add(1, std::memory_order_relaxed);
  if (answer.verdict == mlflow::Verdict::ok && shared->on_done) {
    shared->on_done(records, static_cast<double>(base::steady_ms() - start) / 1000.0);
  }
  return answer;
}

}  // namespace mlops::sync
