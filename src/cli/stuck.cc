// mlops stuck: what servers refused, and runs whose delivery stopped: shown, tried again, corrected, given up.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> ids;
  std::string id, key, value;
  bool all = false, yes = false;
};

constexpr const char* kItem =
    R"({"id", "kind", "state", "run_id", "run_name", "experiment", "destination", "uri", "what", "reason", )"
    R"("since_ms", "records", "points", "key", "value"})";

void put(const Stuck& item, JsonOut* out) {
  out->begin_object().field("id", item.id).field("kind", item.kind).field("state", item.state);
  out->field("run_id", item.run_id).field("run_name", item.run_name).field("experiment", item.experiment);
  out->field("destination", item.destination).field("uri", item.uri).field("what", item.what);
  out->field("reason", item.reason).field("since_ms", item.since_ms).field("records", item.records);
  out->field("points", item.points).field("key", item.key).field("value", item.value).end_object();
}

int list(const Common& common, bool settled_too) {
  Result<std::vector<Stuck>> items = stuck(common.root, settled_too);
  if (!items.ok()) return fail(items.status());
  const bool on_terminal = is_terminal(1);
  JsonOut out;
  out.begin_object().key("stuck").begin_array();
  // 80 columns hold what and why; where and since when are in `stuck show`, and in a pipe.
  Table table(on_terminal ? std::vector<std::string>{"=ID", "=STATE", "=RUN", "=WHAT", "WHY"}
                          : std::vector<std::string>{"ID", "STATE", "RUN", "DESTINATION", "SINCE", "WHAT", "WHY"});
  for (const Stuck& item : *items) {
    put(item, &out);
    if (on_terminal) {
      table.add({item.id, item.state, item.run_id.substr(0, 8), one_line(item.what, 32), item.reason});
    } else {
      table.add({item.id, item.state, item.run_id, item.destination, time_text(item.since_ms), item.what, item.reason});
    }
  }
  out.end_array().end_object();
  if (common.json) {
    std::printf("%s\n", out.text().c_str());
  } else if (items->empty()) {
    std::fprintf(stderr, "nothing is stuck\n");
  } else {
    table.print();
  }
  return kOk;
}

/// One JSON object a line, for a file.
int export_lines(const Common& common) {
  Result<std::vector<Stuck>> items = stuck(common.root, true);
  if (!items.ok()) return fail(items.status());
  for (const Stuck& item : *items) {
    JsonOut out;
    put(item, &out);
    std::printf("%s\n", out.text().c_str());
  }
  return kOk;
}

int show(const Common& common, const std::string& id) {
  Result<std::vector<Stuck>> items = stuck(common.root, true);
  if (!items.ok()) return fail(items.status());
  const Stuck* found = nullptr;
  for (const Stuck& item : *items) {
    if (id.empty() || item.id.compare(0, id.size(), id) != 0) continue;
    if (found != nullptr)
      return fail(Status(StatusCode::invalid_argument, "\"" + id + "\" is the start of several ids"));
    found = &item;
  }
  if (found == nullptr) {
    return fail(Status(StatusCode::not_found, "nothing stuck has the id \"" + id + "\"; `mlops stuck` lists it"));
  }
  if (common.json) {
    JsonOut out;
    put(*found, &out);
    std::printf("%s\n", out.text().c_str());
    return kOk;
  }
  std::printf("id          %s\nstate       %s\nrun         %s  %s  (%s)\n", found->id.c_str(), found->state.c_str(),
              found->run_id.c_str(), found->run_name.c_str(), found->experiment.c_str());
  std::printf("server      %s  %s\nsince       %s\nwhat        %s\n", found->destination.c_str(), found->uri.c_str(),
              time_text(found->since_ms).c_str(), one_line(found->what, 400).c_str());
  std::printf("records     %s, %s of them points\nwhy         %s\n", count_text(found->records).c_str(),
              count_text(found->points).c_str(), one_line(found->reason, 4'000).c_str());
  if (!found->key.empty()) std::printf("corrected   key %s\n", found->key.c_str());
  if (!found->value.empty()) std::printf("corrected   value %s\n", one_line(found->value, 400).c_str());
  return kOk;
}

int change(const Common& common, const StuckChange& wanted, const char* words) {
  Result<StuckReport> report = change_stuck(common.root, wanted);
  if (!report.ok()) return fail(report.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("changed", report->changed).key("notes").begin_array();
    for (const std::string& note : report->notes) out.value(note);
    out.end_array().end_object();
    std::printf("%s\n", out.text().c_str());
  } else {
    std::fprintf(stderr, "%s %s\n", count_text(report->changed).c_str(), words);
  }
  for (const std::string& note : report->notes) std::fprintf(stderr, "mlops: %s\n", note.c_str());
  return report->notes.empty() ? kOk : kDifferences;
}

int chosen(const Arguments& a, StuckChange* out) {
  if (a.all != a.ids.empty()) return fail(Status(StatusCode::invalid_argument, "give ids, or --all"));
  out->ids = a.ids;
  return kOk;
}

int retry(const Common& common, const Arguments& a) {
  StuckChange wanted;
  if (const int code = chosen(a, &wanted); code != kOk) return code;
  return change(common, wanted, "put back: delivered by who delivers now, or by `mlops sync`");
}

int edit(const Common& common, const Arguments& a) {
  StuckChange wanted;
  wanted.ids = {a.id};
  if (!a.key.empty()) wanted.key = a.key;
  if (!a.value.empty()) wanted.value = a.value;
  if (!wanted.key && !wanted.value) return fail(Status(StatusCode::invalid_argument, "give --key or --value"));
  return change(common, wanted, "corrected and put back: delivered by who delivers now, or by `mlops sync`");
}

int drop(const Common& common, const Arguments& a) {
  StuckChange wanted;
  wanted.verb = StuckVerb::drop;
  if (const int code = chosen(a, &wanted); code != kOk) return code;
  const std::string what = a.all ? "everything that is stuck" : std::to_string(a.ids.size()) + " of what is stuck";
  int code = kOk;
  if (!confirmed("Give up " + what + ", for good?", a.yes, &code)) return code;
  return change(common, wanted, "given up: counted as dropped");
}

}  // namespace

Command stuck_command() {
  auto a = std::make_shared<Arguments>();
  const Option ids{"id", "Ids of `mlops stuck`, or unique starts of them", &a->ids};
  const Option one{"id", "An id of `mlops stuck`, or a unique start of it", &a->id, true};
  const char* changed = R"({"changed", "notes": [words]})";
  Command all{"list", "What is stuck: which run, which server, why, since when"};
  all.options = {{"--all", "Also what was corrected or dropped", &a->all}};
  all.json = std::string(R"({"stuck": [)") + kItem + "]}";
  all.examples = {{"mlops stuck list", "what servers refused, and runs that wait for somebody"}};
  all.run = [a](const Common& common) { return list(common, a->all); };
  Command detail{"show", "One of them, in full"};
  detail.options = {one};
  detail.json = kItem;
  detail.examples = {{"mlops stuck show 3f0c21aa", "the server's own words"}};
  detail.run = [a](const Common& common) { return show(common, a->id); };
  Command again{"retry", "Put back into delivery: a refused record once more, a parked run goes on"};
  again.options = {ids, {"--all", "Everything that is stuck", &a->all}};
  again.json = changed;
  again.examples = {{"mlops stuck retry --all", "after the server was mended"}};
  again.run = [a](const Common& common) { return retry(common, *a); };
  Command correct{"edit", "Correct a refused param, tag or metric's name, and put it back"};
  correct.options = {
      one, {"--key", "Its key instead", &a->key}, {"--value", "Its value instead (params and tags)", &a->value}};
  correct.about = "The buffer keeps what was logged; the server gets what is given here.";
  correct.json = changed;
  correct.examples = {{"mlops stuck edit 3f0c21aa --key lr_2", "a param that the server has with another value"}};
  correct.run = [a](const Common& common) { return edit(common, *a); };
  Command give_up{"drop", "Give up for good: counted as dropped, with its reason"};
  give_up.options = {ids, {"--all", "Everything that is stuck", &a->all}, {"-y,--yes", "Do not ask", &a->yes}};
  give_up.about = "Of a parked run everything that waits in it is given up.";
  give_up.json = changed;
  give_up.examples = {{"mlops stuck drop 3f0c21aa --yes", "it is not worth it"}};
  give_up.run = [a](const Common& common) { return drop(common, *a); };
  Command lines{"export", "All of it as JSON Lines, settled ones too"};
  lines.about = std::string("Each line: ") + kItem;
  lines.examples = {{"mlops stuck export > stuck.jsonl", "keep what was refused, with its reasons"}};
  lines.run = [](const Common& common) { return export_lines(common); };

  Command command{"stuck", "What servers refused, and runs whose delivery stopped"};
  command.about =
      "A refused record is counted as dropped until it is put back; then it waits again. Beside a process that\n"
      "delivers right now, that process does what is asked. Exits with 1 when it has not looked within 5 s.";
  command.run = [](const Common& common) { return list(common, false); };
  command.json = all.json;
  command.examples = {{"mlops stuck", "what needs somebody; nothing: all is well"}};
  command.verbs = {all, detail, again, correct, give_up, lines};
  return command;
}

}  // namespace mlops::cli
