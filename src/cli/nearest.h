// Nearest: the word that somebody meant, when what was typed is none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlops::cli {

/// The candidate at most two slips away (a character too much, too few, another one, two swapped), the first of the
/// nearest; empty: none is, or more of the word would be slips than not.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace mlops::cli
