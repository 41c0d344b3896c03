#include "probe/text.h"

#include <charconv>

#include "base/file.h"

namespace mlops::probe {

std::string slurp(const std::string& path) { return base::read_file(path, 4u << 20).value_or({}); }

std::string_view next_line(std::string_view* text) {
  const std::size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return line;
}

std::string_view next_word(std::string_view* line) {
  while (!line->empty() && (line->front() == ' ' || line->front() == '\t')) line->remove_prefix(1);
  std::size_t end = 0;
  while (end < line->size() && (*line)[end] != ' ' && (*line)[end] != '\t' && (*line)[end] != '\n') ++end;
  const std::string_view word = line->substr(0, end);
  line->remove_prefix(end);
  return word;
}

std::optional<std::uint64_t> number(std::string_view text) {
  const std::string_view word = next_word(&text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end == word.data()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    std::string_view line = next_line(&text);
    if (line.substr(0, name.size()) != name) continue;
    line.remove_prefix(name.size());
    if (!line.empty() && line.front() == ':') line.remove_prefix(1);
    if (!line.empty() && (line.front() == ' ' || line.front() == '\t')) return number(line);
  }
  return std::nullopt;
}

}  // namespace mlops::probe
