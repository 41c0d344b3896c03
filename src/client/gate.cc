// Gates: rules over the metrics of a version's run and of an alias's run, from the buffer when the run is in it.
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>

#include "base/base.h"
#include "client/registry_impl.h"
#include "mlops/registry.h"
#include "view/view.h"

MLOPS_NAMESPACE_BEGIN

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Rule {
  std::string metric, compare;
  std::string alias;  // empty: a number
  char change = 0;    // '+', '-', '*', or none
  double number = 0;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<double> read_double(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return out;
}

Status no_rule(std::string_view text, const char* why) {
  return Status(StatusCode::invalid_argument, "'" + std::string(text.substr(0, 120)) + "' is no rule: " + why +
                                                  ". One is like: val/auc >= champion + 0.002, or latency_ms < 20");
}

Result<Rule> read_rule(std::string_view text) {
  Rule rule;
  const std::size_t at = text.find_first_of("<>=!");
  if (at == text.npos) return no_rule(text, "it compares nothing");
  rule.metric = trimmed(text.substr(0, at));
  if (rule.metric.empty()) return no_rule(text, "no metric stands on its left");
  std::size_t after = text.find_first_not_of("<>=!", at);
  if (after == text.npos) return no_rule(text, "nothing stands on its right");
  rule.compare = text.substr(at, after - at);
  if (rule.compare != "<" && rule.compare != "<=" && rule.compare != ">" && rule.compare != ">=" &&
      rule.compare != "==" && rule.compare != "!=") {
    return no_rule(text, "it compares with none of < <= > >= == !=");
  }
  const std::string_view right = trimmed(text.substr(after));
  if (const std::optional<double> number = read_double(right)) {
    rule.number = *number;
    return rule;
  }
  // An alias may hold '-': a change stands behind a blank.
  const std::size_t blank = right.find_first_of(" \t");
  rule.alias = right.substr(0, blank);
  if (!model::check_alias(rule.alias).ok()) return no_rule(text, "neither a number nor an alias stands on its right");
  if (blank == right.npos) return rule;
  std::string_view rest = trimmed(right.substr(blank));
  rule.change = rest.front();
  if (rule.change != '+' && rule.change != '-' && rule.change != '*')
    return no_rule(text, "behind an alias stands + - or * and a number");
  const std::optional<double> number = read_double(trimmed(rest.substr(1)));
  if (!number) return no_rule(text, "behind an alias stands + - or * and a number");
  rule.number = *number;
  return rule;
}

bool holds(double value, const std::string& compare, double limit) {
  if (compare == "<") return value < limit;
  if (compare == "<=") return value <= limit;
  if (compare == ">") return value > limit;
  if (compare == ">=") return value >= limit;
  if (std::isnan(value) || std::isnan(limit)) return false;
  return compare == "==" ? value == limit : value != limit;
}

using Metrics = std::map<std::string, double>;

}  // namespace

Result<GateReport> Registry::gate(const std::vector<std::string>& rules, std::string_view name, std::string_view number,
                                  const GateOptions& options) const {
  if (rules.empty()) return Status(StatusCode::invalid_argument, "a gate needs at least one rule");
  std::vector<Rule> read;
  for (const std::string& text : rules) {
    Result<Rule> rule = read_rule(text);
    if (!rule.ok()) return rule.status();
    read.push_back(std::move(*rule));
  }
  Result<ModelVersion> candidate = version(name, number);
  if (!candidate.ok()) return candidate.status();

  std::unique_ptr<view::View> view;
  if (base::exists(impl_->root)) {
    if (Result<std::unique_ptr<view::View>> opened = view::View::open(impl_->root); opened.ok()) {
      view = std::move(*opened);
    }
  }
  const auto metrics_of = [&](const ModelVersion& v) -> Result<Metrics> {
    Metrics out;
    if (v.run_id.empty()) {
      return Status(StatusCode::failed_precondition, "version " + v.version + " was made without a run");
    }
    if (view != nullptr) {
      if (Result<RunSummary> local = view->run(v.run_id); local.ok()) {
        for (const MetricSummary& m : local->metrics) out[m.name] = m.last;
        return out;
      }
    }
    mlflow::RemoteRun run;
    Status s = impl_->with_server([&](mlflow::Api& api) { return api.get_run(v.run_id, &run); });
    if (!s.ok()) return s;
    for (const auto& [key, value] : run.last_values) out[key] = value;
    return out;
  };
  Result<Metrics> own = metrics_of(*candidate);
  if (!own.ok()) return own.status();

  std::map<std::string, Result<Metrics>> others;
  GateReport report;
  report.model = name;
  report.version = candidate->version;
  report.passed = true;
  for (std::size_t i = 0; i < read.size(); ++i) {
    const Rule& rule = read[i];
    GateCheck& check = report.checks.emplace_back();
    check.rule = rules[i];
    const auto value = own->find(rule.metric);
    check.value = value == own->end() ? kNone : value->second;
    check.limit = rule.number;
    bool first = false;
    if (!rule.alias.empty()) {
      auto known = others.find(rule.alias);
      if (known == others.end()) {
        Result<ModelVersion> baseline = version_by_alias(name, rule.alias);
        if (!baseline.ok() && baseline.status().code() != StatusCode::not_found) return baseline.status();
        known = others.emplace(rule.alias, baseline.ok() ? metrics_of(*baseline) : Result<Metrics>(baseline.status()))
                    .first;
        if (!known->second.ok() && known->second.status().code() == StatusCode::unavailable) {
          return known->second.status();
        }
      }
      check.limit = kNone;
      if (!known->second.ok()) {
        first = known->second.status().code() == StatusCode::not_found;
        check.words = std::string(known->second.status().message());
      } else if (const auto other = known->second->find(rule.metric); other == known->second->end()) {
        check.words = "the run of '" + rule.alias + "' has no metric " + rule.metric;
      } else {
        check.limit = rule.change == '+'   ? other->second + rule.number
                      : rule.change == '-' ? other->second - rule.number
                      : rule.change == '*' ? other->second * rule.number
                                           : other->second;
      }
    }
    if (value == own->end()) check.words = "the version's run has no metric " + rule.metric;
    check.passed = holds(check.value, rule.compare, check.limit);
    if (first && options.allow_first && value != own->end()) check.passed = true;
    report.passed = report.passed && check.passed;
  }
  return report;
}

MLOPS_NAMESPACE_END
