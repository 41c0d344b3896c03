// Artifacts: files, texts, tables and pictures of a run. What Run::log_artifact and its kin take and say.
//
// A path of an artifact is relative, plain ('/' between names, no empty name, no "." or ".."), UTF-8 without control
// characters, at most 900 bytes and 255 in a name, without '#', '\' and '%' before two hexadecimal digits; spaces, '%'
// and all scripts are fine. A second artifact of the same path replaces the first one on the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "mlops/config.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// When a file is read: before the call returns, so that what is logged is what it was then; or in the background, at
/// once: then it must not be touched until it was read, and one whose inode, size or times have moved is lost, with the
/// reason in Reader::artifacts, Health::artifacts_lost and `mlops show`.
enum class ReadWhen { now, later };

struct ArtifactOptions {
  bool move = false;  ///< the file is handed over: it is gone when the call has returned OK. Not with ReadWhen::later
  ReadWhen when = ReadWhen::now;
};

/// Raw pixels: rows from the top, channels interleaved, nothing between pixels. One of `bytes` and `floats`.
struct Image {
  const std::uint8_t* bytes = nullptr;
  const float* floats = nullptr;        ///< 0 to 1; beyond is cut there, NaN is 0
  std::uint32_t width = 0, height = 0;  ///< 1..65,535 each, at most 2^28 values in all
  std::uint32_t channels = 3;           ///< 1 grey, 3 red green blue, 4 with alpha
};

struct TableColumn {
  std::string name;
  /// NaN and infinities become null, as pandas writes them; texts are UTF-8.
  std::variant<std::vector<double>, std::vector<std::int64_t>, std::vector<std::string>, std::vector<bool>> values;
};

/// How many values lie between each edge and the next one.
struct MLOPS_API Histogram {
  std::vector<double> edges;   ///< ascending, one more than counts
  std::vector<double> counts;  ///< not negative
  /// Equally wide bins from the least to the greatest finite value; others are not counted. No finite value: no bins.
  static Histogram of(const double* values, std::size_t count, std::size_t bins = 64);
};

/// A JSON value that is built up: Json::object().set("lr", 0.1).set("layers", Json::array().add(64).add(32)).
class MLOPS_API Json {
 public:
  // NOLINTBEGIN(google-explicit-constructor): set("lr", 0.1) is the point of it
  Json(std::nullptr_t) : text_("null") {}
  Json(bool flag) : text_(flag ? "true" : "false") {}
  Json(double number);  ///< shortest digits that read back the same; "NaN", "Infinity", "-Infinity" as texts
  Json(std::int64_t number) : text_(std::to_string(number)) {}
  Json(std::uint64_t number) : text_(std::to_string(number)) {}
  Json(int number) : text_(std::to_string(number)) {}
  Json(const char* text) : Json(std::string(text)) {}
  Json(const std::string& text);
  // NOLINTEND(google-explicit-constructor)
  static Json object() { return Json(Kind::object); }
  static Json array() { return Json(Kind::array); }
  /// Any JSON text, as it is; invalid_argument says where it is none.
  static Result<Json> parse(const std::string& text);

  Json& set(const std::string& key, const Json& value);  ///< of an object; nothing else changes
  Json& add(const Json& value);                          ///< of an array; nothing else changes
  std::string text() const;

 private:
  enum class Kind { scalar, object, array };
  explicit Json(Kind kind) : kind_(kind) {}
  Kind kind_ = Kind::scalar;
  std::string text_;
};

MLOPS_NAMESPACE_END
