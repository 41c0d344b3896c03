// mlops gate: rules that a version must pass, for a person, for a program, and for CI systems.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>

#include "cli/commands.h"
#include "cli/models.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string to, model, version, promote, why, who, rules_file, junit, markdown;
  std::vector<std::string> rules;
  double wait = 10;
  bool allow_first = false;
};

std::string number(double value) { return std::isnan(value) ? "-" : number_text(value); }

std::string xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) out += c;
    }
  }
  return out;
}

std::string words_of(const GateCheck& check) {
  return check.words.empty() ? number(check.value) + " against " + number(check.limit) : check.words;
}

std::string junit_text(const GateReport& report) {
  std::size_t failed = 0;
  for (const GateCheck& check : report.checks) failed += check.passed ? 0 : 1;
  const std::string subject = xml(report.model + " " + report.version);
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"gate of " + subject + "\" tests=\"" +
                    std::to_string(report.checks.size()) + "\" failures=\"" + std::to_string(failed) + "\">\n";
  for (const GateCheck& check : report.checks) {
    out += "  <testcase classname=\"" + subject + "\" name=\"" + xml(check.rule) + "\"";
    out += check.passed ? "/>\n" : ">\n    <failure message=\"" + xml(words_of(check)) + "\"/>\n  </testcase>\n";
  }
  return out + "</testsuite>\n";
}

std::string markdown_text(const GateReport& report) {
  std::string out = "### " + report.model + " version " + report.version + ": " +
                    (report.passed ? "passed" : "did not pass") + "\n\n| rule | value | limit | |\n|---|---|---|---|\n";
  for (const GateCheck& check : report.checks) {
    std::string rule;
    for (const char c : check.rule) rule += c == '|' ? std::string("\\|") : std::string(1, c);
    out += "| `" + rule + "` | " + number(check.value) + " | " + number(check.limit) + " | " +
           (check.passed ? "passed" : "**failed**" + (check.words.empty() ? "" : ": " + check.words)) + " |\n";
  }
  return out;
}

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::app);  // a CI system's summary may hold more already
  file << text;
  file.close();
  return file.good();
}

Status read_rules(const std::string& path, std::vector<std::string>* out) {
  std::ifstream file(path);
  if (!file) return Status(StatusCode::not_found, "the rules cannot be read: " + path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos || line[first] == '#') continue;
    out->push_back(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  return {};
}

int gate(const Common& common, const Arguments& a) {
  std::vector<std::string> rules = a.rules;
  if (!a.rules_file.empty()) {
    if (Status s = read_rules(a.rules_file, &rules); !s.ok()) return fail(s);
  }
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  GateOptions options;
  options.allow_first = a.allow_first;
  Result<GateReport> report = registry->gate(rules, a.model, a.version, options);
  if (!report.ok()) return fail(report.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("model", report->model).field("version", report->version);
    out.field("passed", report->passed).key("checks").begin_array();
    for (const GateCheck& check : report->checks) {
      out.begin_object().field("rule", check.rule).field("passed", check.passed).field("value", check.value);
      out.field("limit", check.limit).field("message", check.words).end_object();
    }
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    Table table({"=RULE", ">VALUE", ">LIMIT", "=RESULT"});
    for (const GateCheck& check : report->checks) {
      table.add({check.rule, number(check.value), number(check.limit),
                 check.passed ? "passed" : "failed" + (check.words.empty() ? "" : ": " + check.words)});
    }
    table.print();
  }
  if (!a.junit.empty()) {
    std::remove(a.junit.c_str());
    if (!write_file(a.junit, junit_text(*report))) {
      return fail(Status(StatusCode::permission_denied, "cannot write " + a.junit));
    }
  }
  if (!a.markdown.empty() && !write_file(a.markdown, markdown_text(*report))) {
    return fail(Status(StatusCode::permission_denied, "cannot write " + a.markdown));
  }
  if (!report->passed) return kDifferences;
  if (a.promote.empty()) return kOk;
  PromoteOptions promotion;
  promotion.who = a.who;
  promotion.why = a.why;
  if (promotion.why.empty()) {
    for (const std::string& rule : rules) promotion.why += (promotion.why.empty() ? "passed: " : "; ") + rule;
    promotion.why.resize(std::min<std::size_t>(promotion.why.size(), 900));
  }
  Common quiet = common;
  quiet.json = false;
  return write_model(quiet, a.to, a.wait,
                     [&](const Registry& r) { return r.promote(a.model, a.version, a.promote, promotion); });
}

}  // namespace

Command model_gate(const std::string& name) {
  auto a = std::make_shared<Arguments>();
  Command command{name, "Rules that a version's metrics must pass, also against an alias's"};
  command.options = {
      {"rule", "Such as 'val/auc >= champion + 0.002' or 'latency_ms < 20'", &a->rules},
      {"--rules", "More of them from a file, one a line, # begins a remark", &a->rules_file, false, Takes::file},
      {"--model", "Registered model", &a->model, true},
      {"--version", "Its version", &a->version, true},
      {"--promote", "When all pass, this alias stands for the version", &a->promote},
      {"--who", "[this user]", &a->who},
      {"--why", "[the rules]", &a->why},
      {"--allow-first", "Rules against an alias that is not there pass", &a->allow_first},
      {"--junit", "Write JUnit XML", &a->junit, false, Takes::file},
      {"--markdown", "Append a summary in Markdown", &a->markdown, false, Takes::file},
      {"--wait", "Seconds to wait for the promotion [10]; 0: accepted is enough", &a->wait},
      to_option(&a->to)};
  command.about =
      "A rule compares the last value of a metric of the version's run (< <= > >= == !=) with a number, or with an\n"
      "alias: the same metric of the run of the version it stands for, and + 0.002, - 0.1 or * 0.98 of it behind.\n"
      "Exits with 0 when all pass, with 1 when one does not.";
  command.json = R"({"model", "version", "passed", "checks": [{"rule", "passed", "value", "limit", "message"}]})";
  const std::string typed = name == "gate" ? "mlops models gate" : "mlops gate";
  command.examples = {{typed + " 'loss <= champion + 0.1' 'acc > 0.5' --model digits --version 2",
                       "is version 2 good enough to serve?"}};
  command.run = [a](const Common& common) { return gate(common, *a); };
  return command;
}

Command gate_command() {
  Command command = model_gate("gate ");
  command.name = "gate";
  return command;
}

}  // namespace mlops::cli
