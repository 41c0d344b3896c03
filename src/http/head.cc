// Head: names in any case, values as they are; a number that is none counts as not said.
#include "http/head.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/base.h"

namespace mlops::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::int64_t number(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

std::int64_t retry_after(std::string_view text, HeadReader::DateReader date) {
  std::int64_t seconds = 0;
  if (text.empty()) return -1;
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    for (char c : text) seconds = std::min<std::int64_t>(seconds * 10 + (c - '0'), 1'000'000);
  } else {
    const std::time_t when = date(std::string(text).c_str());
    if (when == -1) return -1;
    seconds = static_cast<std::int64_t>(when) - base::now_ms() / 1000;
  }
  return std::clamp<std::int64_t>(seconds, 1, 3600) * 1000;
}

}  // namespace

std::string_view strip(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r\n");
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1);
}

void HeadReader::line(std::string_view line) {
  if (same(line.substr(0, 5), "HTTP/")) {
    out_->retry_after_ms = out_->date_ms = out_->content_length = out_->range_start = out_->range_total = -1;
    out_->location.clear();
    out_->etag.clear();
    out_->last_modified.clear();
    out_->accepts_ranges = out_->length_known = whole_ = false;
    const auto blank = line.find(' ');
    out_->status =
        blank == line.npos ? 0 : static_cast<int>(std::max<std::int64_t>(0, number(line.substr(blank + 1, 3))));
    return;
  }
  if (strip(line).empty()) {
    whole_ = true;
    return;
  }
  const auto colon = line.find(':');
  if (colon != line.npos) field(line.substr(0, colon), strip(line.substr(colon + 1)));
}

void HeadReader::field(std::string_view name, std::string_view value) {
  if (same(name, "retry-after")) {
    out_->retry_after_ms = retry_after(value, date_);
  } else if (same(name, "date")) {
    const std::time_t when = date_(std::string(value).c_str());
    out_->date_ms = when == -1 ? -1 : static_cast<std::int64_t>(when) * 1000;
  } else if (same(name, "location")) {
    out_->location = redact_uri(value);
  } else if (same(name, "content-length")) {
    out_->content_length = number(value);
    out_->length_known = true;
  } else if (same(name, "transfer-encoding")) {
    out_->length_known = true;
  } else if (same(name, "etag")) {
    out_->etag = value;
  } else if (same(name, "last-modified")) {
    out_->last_modified = value;
  } else if (same(name, "accept-ranges")) {
    out_->accepts_ranges = same(value, "bytes");
  } else if (same(name, "content-range") && same(value.substr(0, 6), "bytes ")) {
    const std::string_view range = strip(value.substr(6));  // 5-9/10, 5-9/*, */10
    const auto slash = range.find('/');
    if (slash == range.npos) return;
    out_->range_total = number(range.substr(slash + 1));
    out_->range_start = number(range.substr(0, std::min(range.find('-'), slash)));
  }
}

}  // namespace mlops::http
