// The one file that knows RE2 (docs/adr/0013).
#include "cli/pattern.h"

#include <re2/re2.h>

#include <utility>

namespace mlops::cli {

struct Pattern::Impl {
  explicit Impl(const std::string& expression, const RE2::Options& options) : re(expression, options) {}
  RE2 re;
  std::vector<std::string> names;
  std::vector<int> numbers;  // of the groups, beside their names
};

Pattern::Pattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::compile(const std::string& expression) {
  RE2::Options options;
  options.set_log_errors(false);
  auto impl = std::make_unique<Impl>(expression, options);
  if (!impl->re.ok()) {
    return Status(StatusCode::invalid_argument, "regex \"" + expression + "\": " + impl->re.error());
  }
  for (const auto& [number, name] : impl->re.CapturingGroupNames()) {
    impl->numbers.push_back(number);
    impl->names.push_back(name);
  }
  if (impl->names.empty()) {
    return Status(
        StatusCode::invalid_argument,
        "regex \"" + expression + "\" names no group: write the metric's name into it, as in loss=(?P<loss>\\S+)");
  }
  return Pattern(std::move(impl));
}

const std::vector<std::string>& Pattern::names() const { return impl_->names; }

bool Pattern::match(std::string_view line, std::vector<std::optional<std::string_view>>* groups) const {
  groups->assign(impl_->names.size(), std::nullopt);
  std::vector<re2::StringPiece> found(static_cast<std::size_t>(impl_->re.NumberOfCapturingGroups()) + 1);
  const re2::StringPiece text(line.data(), line.size());
  if (!impl_->re.Match(text, 0, text.size(), RE2::UNANCHORED, found.data(), static_cast<int>(found.size())))
    return false;
  for (std::size_t i = 0; i < impl_->numbers.size(); ++i) {
    const re2::StringPiece& piece = found[static_cast<std::size_t>(impl_->numbers[i])];
    if (piece.data() != nullptr) (*groups)[i] = std::string_view(piece.data(), piece.size());
  }
  return true;
}

}  // namespace mlops::cli
