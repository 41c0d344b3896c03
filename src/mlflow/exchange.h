// Exchange: one request and what its answer means, for the endpoints of Api and Registry. Private to mlflow.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/http.h"
#include "mlflow/decode.h"

namespace mlops::mlflow {

inline constexpr const char* kPrefix = "/api/2.0/mlflow/";

/// A good status with a body of another shape is ambiguous, never ok.
Answer unexpected(const Answer& from, const char* missing);
/// The text in quotes for a search filter; false when both kinds of quotes are in it.
bool quote(std::string_view text, std::string* out);

struct Exchange {
  std::unique_ptr<http::Connection> connection;
  std::atomic<std::uint64_t> requests{0};

  Answer call(Expect expect, http::Request request, Reply* reply);
  Answer get(Expect expect, std::string path, Reply* reply);  // `path` whole
  /// `endpoint` below kPrefix.
  Answer send(http::Method method, Expect expect, const char* endpoint, std::string text, Reply* reply,
              bool fresh = false);
  Answer post(Expect expect, const char* endpoint, std::string text, Reply* reply, bool fresh = false) {
    return send(http::Method::post, expect, endpoint, std::move(text), reply, fresh);
  }
  Answer change(const char* endpoint, std::string text) {
    Reply reply;
    return post(Expect::done, endpoint, std::move(text), &reply);
  }
};

}  // namespace mlops::mlflow
