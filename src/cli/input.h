// Input: what people type, read strictly: nothing is guessed, and what is wrong is named together with the word it is
// in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "mlops/mlops.h"

namespace mlops::cli {

/// "key=value", cut at the first '=': a value may hold more of them, and may be empty. `what` for the message.
Result<std::pair<std::string, std::string>> read_pair(std::string_view word, const char* what);
Result<Pairs> read_pairs(const std::vector<std::string>& words, const char* what);

/// A decimal number, "nan", "inf", "infinity" (any case, with a sign), all of the text; none when it is something else
/// or beyond a double.
std::optional<double> read_number(std::string_view text);
std::optional<std::int64_t> read_whole(std::string_view text);
/// Milliseconds since the epoch from seconds since the epoch (with decimals), milliseconds (from 100,000,000,000 on) or
/// "2024-05-01 12:00:00" (also with T, a fraction after '.' or ',', Z or +hh:mm; local time when it says none).
std::optional<std::int64_t> read_time_ms(std::string_view text);

/// The full id of a run of this root: as given (ours, the server's, a prefix), else MLOPS_RUN.
Result<std::string> find_run(const Common& common, const std::string& given);
/// The first run that this process starts and names no other will be that one, attached to, in its own slot if nobody
/// has it. Before Client::open.
void attach_to(const std::string& run_id);
/// The runs that this process starts are new ones, whatever the environment says. Before Client::open.
void start_afresh();

/// As bash would read it back; never with a control character or bytes that are no UTF-8.
std::string shell_quoted(const std::vector<std::string>& words);

}  // namespace mlops::cli
