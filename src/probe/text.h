// Text of /proc and cgroup files: small files of numbers, read whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlops::probe {

/// The file's text; empty when it cannot be read.
std::string slurp(const std::string& path);
/// The first number of a text, after blanks; nothing when there is none ("max").
std::optional<std::uint64_t> number(std::string_view text);
/// The number of the line `name 12` or `name: 12`.
std::optional<std::uint64_t> field(std::string_view text, std::string_view name);
/// Takes the next line, or the next word of a line, off the front; empty at the end.
std::string_view next_line(std::string_view* text);
std::string_view next_word(std::string_view* line);

}  // namespace mlops::probe
