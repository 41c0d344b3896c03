#include "cli/direction.h"

#include <algorithm>
#include <array>

namespace mlops::cli {
namespace {

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter(char c) { return is_upper(c) || (c >= 'a' && c <= 'z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "val/F1-score", and with `camel` also "valF1Score": val, f1, score. A digit belongs to the word in front of it.
std::vector<std::string> words_of(std::string_view name, bool camel) {
  std::vector<std::string> words;
  char before = 0;
  for (const char c : name) {
    const bool inside = is_letter(c) || is_digit(c);
    const bool begins = !(is_letter(before) || is_digit(before)) ||
                        (camel && is_letter(c) && (is_digit(before) || (is_upper(c) && !is_upper(before))));
    if (inside && begins) words.emplace_back();
    if (inside) words.back() += is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
    before = c;
  }
  return words;
}

// Long ones also where they end or begin a word: "logloss", "mse_val", "errors".
constexpr std::array kLowerParts = {"loss",       "error",   "mse",     "mae",      "mape",
                                    "perplexity", "entropy", "latency", "duration", "seconds"};
constexpr std::array kLowerWords = {"err", "ppl", "nll", "time", "ms", "cost", "wer", "cer", "fid", "bpb", "regret"};
constexpr std::array kHigherParts = {"accuracy", "precision", "recall", "reward", "score", "throughput"};
constexpr std::array kHigherWords = {"acc", "auc",  "auroc", "f1",   "map", "iou",  "dice",
                                     "r2",  "bleu", "rouge", "ndcg", "mrr", "psnr", "ssim"};

template <typename Parts, typename Words>
bool has(const std::vector<std::string>& name, const Parts& parts, const Words& whole) {
  return std::any_of(name.begin(), name.end(), [&](const std::string& word) {
    return std::find(whole.begin(), whole.end(), word) != whole.end() ||
           std::any_of(parts.begin(), parts.end(),
                       [&](const char* part) { return word.find(part) != std::string::npos; });
  });
}

}  // namespace

const char* const kDirectionWords =
    "Less is better of a metric whose name has loss, error, mse, mae, mape, perplexity, entropy, latency, duration or "
    "seconds in it, or err, ppl, nll, time, ms, cost, wer, cer, fid, bpb or regret as a word; more is better with "
    "accuracy, precision, recall, reward, score or throughput in it, or acc, auc, auroc, f1, map, iou, dice, r2, bleu, "
    "rouge, ndcg, mrr, psnr or ssim as a word. Of others nothing is known unless --lower or --higher name them.";

Direction direction_of(std::string_view metric) {
  std::vector<std::string> words = words_of(metric, true);
  for (std::string& word : words_of(metric, false)) words.push_back(std::move(word));  // "mAP"
  if (has(words, kLowerParts, kLowerWords)) return Direction::lower;
  return has(words, kHigherParts, kHigherWords) ? Direction::higher : Direction::unknown;
}

Direction Told::of(const std::string& metric) const {
  const auto named = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), metric) != names.end();
  };
  return named(lower) ? Direction::lower : named(higher) ? Direction::higher : direction_of(metric);
}

std::vector<Option> direction_options(Told* into) {
  return {{"--lower", "Of this metric less is better; may be given again", &into->lower, false, Takes::metric},
          {"--higher", "Of this metric more is better; may be given again", &into->higher, false, Takes::metric}};
}

std::optional<Best> best_of(const MetricSummary& metric, Direction direction) {
  if (direction == Direction::unknown) return std::nullopt;
  return direction == Direction::lower ? Best{metric.min, metric.min_step} : Best{metric.max, metric.max_step};
}

}  // namespace mlops::cli
