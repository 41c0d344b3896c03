#include "cli/input.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "cli/text.h"

namespace mlops::cli {
namespace {

constexpr std::int64_t kFirstMillis = 100'000'000'000;  // as seconds: the year 5138; as milliseconds: 1973

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `count` digits at the front; -1 when there are fewer.
int take_digits(std::string_view* rest, std::size_t count) {
  if (rest->size() < count || !std::all_of(rest->begin(), rest->begin() + static_cast<std::ptrdiff_t>(count), is_digit))
    return -1;
  int out = 0;
  for (const char c : rest->substr(0, count)) out = out * 10 + (c - '0');
  rest->remove_prefix(count);
  return out;
}

bool take(std::string_view* rest, std::string_view any_of) {
  if (rest->empty() || any_of.find(rest->front()) == std::string_view::npos) return false;
  rest->remove_prefix(1);
  return true;
}

std::optional<std::int64_t> read_calendar(std::string_view rest) {
  std::tm t{};
  t.tm_isdst = -1;
  t.tm_year = take_digits(&rest, 4) - 1900;
  if (t.tm_year < 70 || !take(&rest, "-/")) return std::nullopt;
  t.tm_mon = take_digits(&rest, 2) - 1;
  if (t.tm_mon < 0 || t.tm_mon > 11 || !take(&rest, "-/")) return std::nullopt;
  t.tm_mday = take_digits(&rest, 2);
  if (t.tm_mday < 1 || t.tm_mday > 31 || !take(&rest, "T ")) return std::nullopt;
  t.tm_hour = take_digits(&rest, 2);
  if (t.tm_hour < 0 || t.tm_hour > 23 || !take(&rest, ":")) return std::nullopt;
  t.tm_min = take_digits(&rest, 2);
  if (t.tm_min < 0 || t.tm_min > 59) return std::nullopt;
  if (take(&rest, ":")) {
    t.tm_sec = take_digits(&rest, 2);
    if (t.tm_sec < 0 || t.tm_sec > 60) return std::nullopt;
  }
  std::int64_t ms = 0;
  if (take(&rest, ".,")) {
    if (rest.empty() || !is_digit(rest.front())) return std::nullopt;
    for (std::int64_t unit = 100; !rest.empty() && is_digit(rest.front()); unit /= 10, rest.remove_prefix(1)) {
      ms += (rest.front() - '0') * unit;
    }
  }
  if (rest.empty()) return std::int64_t{std::mktime(&t)} * 1000 + ms;
  std::int64_t offset = 0;
  if (!take(&rest, "Z")) {
    const int sign = rest.front() == '-' ? -1 : 1;
    if (!take(&rest, "+-")) return std::nullopt;
    const int hours = take_digits(&rest, 2);
    take(&rest, ":");
    const int minutes = rest.empty() ? 0 : take_digits(&rest, 2);
    if (hours < 0 || minutes < 0) return std::nullopt;
    offset = std::int64_t{sign} * (hours * 60 + minutes) * 60'000;
  }
  if (!rest.empty()) return std::nullopt;
  return std::int64_t{::timegm(&t)} * 1000 + ms - offset;
}

// Length of the UTF-8 character at the front; 0 when it is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const std::size_t size = first < 0x80                    ? 1
                           : first >= 0xC2 && first < 0xE0 ? 2
                           : first >= 0xE0 && first < 0xF0 ? 3
                           : first >= 0xF0 && first < 0xF5 ? 4
                                                           : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && at(1) < 0xA0) return 0;  // longer than need be
  if (first == 0xED && at(1) > 0x9F) return 0;  // surrogates
  if ((first == 0xF0 && at(1) < 0x90) || (first == 0xF4 && at(1) > 0x8F)) return 0;
  return size;
}

// Plain text: no control characters, and UTF-8.
bool is_plain(std::string_view text) {
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t size = utf8_length(text);
    if (size == 0 || first < 0x20 || first == 0x7f) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kSafe = "_-./:=,+@%";
  const bool safe = !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kSafe.find(c) != std::string_view::npos;
  });
  if (safe) return word;
  const bool plain = is_plain(word);
  std::string out = plain ? "'" : "$'";
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      out += c == '\'' ? "'\\''" : std::string(1, c);
    } else if (c == '\'' || c == '\\') {
      out += std::string("\\") + c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

Result<std::pair<std::string, std::string>> read_pair(std::string_view word, const char* what) {
  const std::size_t equals = word.find('=');
  if (equals != std::string_view::npos && equals != 0) {
    return std::pair<std::string, std::string>(word.substr(0, equals), word.substr(equals + 1));
  }
  return Status(StatusCode::invalid_argument,
                std::string(what) + " \"" + one_line(word, 60) + "\" is not of the form key=value");
}

Result<Pairs> read_pairs(const std::vector<std::string>& words, const char* what) {
  Pairs out;
  for (const std::string& word : words) {
    Result<std::pair<std::string, std::string>> pair = read_pair(word, what);
    if (!pair.ok()) return pair.status();
    out.push_back(std::move(*pair));
  }
  return out;
}

std::optional<double> read_number(std::string_view text) {
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  double out = 0;
  const char* const end = text.end();
  const auto [stop, error] = std::from_chars(text.begin(), end, out);
  // "nan(...)" is C's, nobody else's.
  if (error == std::errc() && stop == end && text.find('(') == std::string_view::npos) return out;
  if (error != std::errc::result_out_of_range || stop != end) return std::nullopt;
  // Too small for a double is 0 for everybody; too large is not infinity.
  const std::string copy(text);
  const double rounded = std::strtod(copy.c_str(), nullptr);
  return std::abs(rounded) < 1 ? std::optional<double>(rounded) : std::nullopt;
}

std::optional<std::int64_t> read_whole(std::string_view text) {
  if (text.size() > 1 && text.front() == '+' && is_digit(text[1])) text.remove_prefix(1);
  std::int64_t out = 0;
  const char* const end = text.end();
  const auto [stop, error] = std::from_chars(text.begin(), end, out);
  if (error != std::errc() || stop != end) return std::nullopt;
  return out;
}

std::optional<std::int64_t> read_time_ms(std::string_view text) {
  if (const std::optional<std::int64_t> whole = read_whole(text)) {
    if (*whole < 0) return std::nullopt;
    return *whole >= kFirstMillis ? *whole : *whole * 1000;
  }
  if (text.size() > 4 && is_digit(text.front())) {
    const std::optional<double> seconds = read_number(text);
    if (seconds && std::isfinite(*seconds) && *seconds < static_cast<double>(kFirstMillis)) {
      return static_cast<std::int64_t>(std::llround(*seconds * 1000));
    }
  }
  return read_calendar(text);
}

Result<std::string> find_run(const Common& common, const std::string& given) {
  std::string id = given;
  if (id.empty()) {
    const char* of_environment = std::getenv("MLOPS_RUN");
    if (of_environment != nullptr) id = of_environment;
  }
  if (id.empty() || id == "job") {
    return Status(StatusCode::invalid_argument, "which run? Give --run, or set MLOPS_RUN: RUN=$(mlops run start)");
  }
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return reader.status();
  Result<RunSummary> run = reader->run(id);
  if (!run.ok()) return run.status();
  return run->id;
}

void attach_to(const std::string& run_id) { ::setenv("MLOPS_RUN", run_id.c_str(), 1); }

void start_afresh() {
  ::unsetenv("MLOPS_RUN");
  ::unsetenv("MLFLOW_RUN_ID");
}

std::string shell_quoted(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + quoted(word);
  return out;
}

}  // namespace mlops::cli
