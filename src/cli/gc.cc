// mlops gc: what is delivered and old leaves the buffer; what would go is shown first.
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string older_than = "30d", experiment;
  std::uint64_t keep = 0;
  bool deleted = false, dry_run = false, yes = false;
};

/// "30d", "12h", "90m", "0s".
Result<Millis> span_of(const std::string& text) {
  const Status wrong(StatusCode::invalid_argument,
                     "--older-than is a number and d, h, m or s (like 30d), not \"" + text.substr(0, 40) + "\"");
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop + 1 != end || number > 1'000'000) return wrong;
  const auto unit = std::string("smhd").find(*stop);
  if (unit == std::string::npos) return wrong;
  constexpr std::int64_t kMs[] = {1'000, 60'000, 3'600'000, 86'400'000};
  return Millis(static_cast<std::int64_t>(number) * kMs[unit]);
}

void print_json(const GcReport& report, bool removed) {
  JsonOut out;
  out.begin_object().field("removed", removed).field("points", report.points).field("bytes", report.bytes);
  out.key("runs").begin_array();
  for (const GcRun& run : report.runs) {
    out.begin_object().field("id", run.id).field("name", run.name).field("experiment", run.experiment);
    out.field("end_ms", run.end_ms).field("points", run.points).field("bytes", run.bytes);
    out.field("deleted", run.deleted).field("delivered", run.delivered).end_object();
  }
  out.end_array().key("notes").begin_array();
  for (const std::string& note : report.notes) out.value(note);
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

std::string sum_of(const GcReport& report) {
  return counted(report.runs.size(), "run") + ", " + counted(report.points, "point") + ", about " +
         bytes_text(report.bytes);
}

int collect(const Common& common, const Arguments& a) {
  Result<Millis> older = span_of(a.older_than);
  if (!older.ok()) return fail(older.status());
  GcOptions options;
  options.root = common.root;
  options.older_than = *older;
  options.experiment = a.experiment;
  options.keep = a.keep;
  options.deleted = a.deleted;
  Result<GcReport> plan = gc(options);
  if (!plan.ok()) return fail(plan.status());
  const bool go = !a.dry_run && !plan->runs.empty();
  if (!common.json) {
    Table table({"RUN", "NAME", "EXPERIMENT", "ENDED", ">POINTS", ">BYTES", "STATE"});
    for (const GcRun& run : plan->runs) {
      table.add({run.id, one_line(run.name, 30), one_line(run.experiment, 30), time_text(run.end_ms),
                 std::to_string(run.points), std::to_string(run.bytes),
                 std::string(run.delivered ? "delivered" : "not delivered") + (run.deleted ? ", deleted" : "")});
    }
    if (!plan->runs.empty()) table.print();
    for (const std::string& note : plan->notes) std::fprintf(stderr, "mlops: %s\n", note.c_str());
    if (!go) std::fprintf(stderr, "%s would go\n", plan->runs.empty() ? "nothing" : sum_of(*plan).c_str());
  }
  int code = kOk;
  if (go) {
    std::fflush(stdout);
    if (!confirmed(sum_of(*plan) + " go, summaries stay. Remove them?", a.yes, &code)) return code;
    options.dry_run = false;
    plan = gc(options);
    if (!plan.ok()) return fail(plan.status());
    if (!common.json) std::fprintf(stderr, "%s are gone\n", sum_of(*plan).c_str());
  }
  if (common.json) print_json(*plan, go);
  return code;
}

}  // namespace

Command gc_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"gc", "Free space: remove what every server has, and is old, from the buffer"};
  command.options = {
      {"--older-than", "Only runs that ended so long ago, like 30d, 12h, 0s [30d]", &a->older_than},
      {"--experiment", "Only runs of this experiment", &a->experiment, false, Takes::experiment},
      {"--keep", "The newest so many runs of each experiment stay [0]", &a->keep},
      {"--deleted", "Deleted runs, too, that were never delivered: their points are lost then", &a->deleted},
      {"--dry-run", "Only say what would go", &a->dry_run},
      {"-y,--yes", "Do not ask", &a->yes},
  };
  command.about =
      "Summaries stay: params, tags, last, min, max and counts. What some server this root knows does not have stays,\n"
      "and so does everything while no server is known. Slots of living processes are left alone.";
  command.json =
      R"({"removed", "points", "bytes", "runs": [{"id", "name", "experiment", "end_ms", "points", "bytes", "deleted", )"
      R"("delivered"}], "notes": [words]})";
  command.examples = {{"mlops gc --older-than 7d --dry-run", "what would go"},
                      {"mlops gc --older-than 0s --keep 10 --yes", "all that is delivered, but for the newest ten"}};
  command.run = [a](const Common& common) { return collect(common, *a); };
  return command;
}

}  // namespace mlops::cli
