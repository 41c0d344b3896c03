// What may be logged: the strictest server's limits (PostgreSQL's columns), checked before anything is accepted.
// Source: MLflow's validation and schema as measured (docs/protocol.md).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mlops/status.h"

namespace mlops::model {

inline constexpr std::size_t kKeyChars = 250, kParamChars = 6000, kTagChars = 8000, kRunNameChars = 250,
                             kExperimentChars = 256;  // Unicode code points
inline constexpr std::size_t kBatchPoints = 999;      // beside one watermark tag: 1,000 entities in all
inline constexpr std::size_t kBatchParams = 100, kBatchTags = 100, kResendPoints = 100;
inline constexpr std::size_t kBodyBytes = 900'000;

/// Metric, param and tag keys. The Status names the key (start of it), the rule and the mend.
Status check_key(std::string_view what, std::string_view key);
/// UTF-8 without NUL, at most `chars` code points; what = "param value", ….
Status check_text(std::string_view what, std::string_view text, std::size_t chars, bool may_be_empty);
bool is_utf8(std::string_view text);
std::size_t count_chars(std::string_view utf8);
/// The first `chars` code points.
std::string_view cut_chars(std::string_view utf8, std::size_t chars);
/// As Python's str(): shortest digits that read back the same ("0.001", "1.0", "1e-05"); "nan", "inf", "-inf".
std::string format_double(double v);
std::string format_float(float v);  // the same for a float32: 0.1f is "0.1"

}  // namespace mlops::model
