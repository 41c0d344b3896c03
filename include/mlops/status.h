// Status and Result<T>: how every fallible call of the SDK answers.
//
// The SDK throws nothing. A Status is cheap to copy when OK (one null pointer). Its message names what is wrong
// and what to do. Thread-safe for concurrent reads, like an int.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "mlops/config.h"

MLOPS_NAMESPACE_BEGIN

/// Why a call failed. Stable numbers; new codes are appended.
enum class StatusCode : int {
  ok = 0,
  invalid_argument = 1,     ///< the caller's value is outside its documented range
  not_found = 2,            ///< no such run, experiment, root
  already_exists = 3,       ///< a conflicting value is already there
  permission_denied = 4,    ///< file permissions, or HTTP 401/403
  failed_precondition = 5,  ///< wrong state: closed, ended, another server behind the URI
  resource_exhausted = 6,   ///< disk, quota, memory, HTTP 413/429
  deadline_exceeded = 7,    ///< the time given ran out; work goes on in the background
  unavailable = 8,          ///< network or server away; a retry may help
  data_loss = 9,            ///< bytes on disk are damaged
  unimplemented = 10,       ///< this server or build cannot do it
  internal = 11,            ///< a bug of ours
};

/// Stable lower-case name of a code, e.g. "invalid_argument".
MLOPS_API const char* status_code_name(StatusCode code) noexcept;

/// OK, or a code with a message in words. Copying shares the message.
class [[nodiscard, gnu::visibility("default")]] Status {
 public:
  Status() noexcept = default;
  Status(StatusCode code, std::string message);

  bool ok() const noexcept { return rep_ == nullptr; }
  explicit operator bool() const noexcept { return ok(); }
  StatusCode code() const noexcept { return rep_ ? rep_->code : StatusCode::ok; }
  /// What is wrong and what to do; empty when ok. Valid as long as this Status.
  std::string_view message() const noexcept { return rep_ ? std::string_view(rep_->message) : std::string_view(); }
  /// "code: message", or "ok".
  std::string to_string() const;
  /// Says that a failure is deliberately not handled here.
  void ignore() const noexcept {}

 private:
  struct Rep {
    StatusCode code;
    std::string message;
  };
  std::shared_ptr<const Rep> rep_;
};

/// A T or the Status that says why there is none. `value()` on a failure prints the status to stderr and aborts;
/// `*r` on a failure is undefined.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor): a T is a good Result
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = Status(StatusCode::internal, "Result made of an OK status without a value");
  }
  bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  const Status& status() const noexcept { return status_; }
  T& value() & { return check(), *value_; }
  const T& value() const& { return check(), *value_; }
  T&& value() && { return check(), std::move(*value_); }
  T value_or(T other) const& {
    if (ok()) return *value_;
    return other;
  }
  T& operator*() & noexcept { return *value_; }
  const T& operator*() const& noexcept { return *value_; }
  T&& operator*() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }
  const T* operator->() const noexcept { return &*value_; }

 private:
  void check() const {
    if (!ok()) {
      std::fprintf(stderr, "mlops: Result::value() without a value: %s\n", status_.to_string().c_str());
      std::abort();
    }
  }
  std::optional<T> value_;
  Status status_;
};

MLOPS_NAMESPACE_END
