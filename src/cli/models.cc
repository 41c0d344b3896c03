// mlops models: the model registry from the command line: what is there, and the story of it.
#include "cli/models.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string to, name, filter, alias, key;
  std::uint64_t limit = 0;
  bool all = false;
};

constexpr const char* kModel =
    R"({"name", "description", "created_ms", "updated_ms", "aliases": {alias: version}, "tags": {key: value}})";
constexpr const char* kVersion =
    R"({"name", "version", "description", "source", "run_id", "model_id", "status", "stage", "user", "created_ms", )"
    R"("updated_ms", "aliases": [alias], "tags": {key: value}})";

void put_pairs(const char* name, const Pairs& pairs, JsonOut* out) {
  out->key(name).begin_object();
  for (const auto& [key, value] : pairs) out->field(key, value);
  out->end_object();
}

void put(const RegisteredModel& m, JsonOut* out) {
  out->begin_object().field("name", m.name).field("description", m.description);
  out->field("created_ms", m.created_ms).field("updated_ms", m.updated_ms);
  put_pairs("aliases", m.aliases, out);
  put_pairs("tags", m.tags, out);
  out->end_object();
}

void put(const ModelVersion& v, JsonOut* out) {
  out->begin_object().field("name", v.name).field("version", v.version).field("description", v.description);
  out->field("source", v.source).field("run_id", v.run_id).field("model_id", v.model_id).field("status", v.status);
  out->field("stage", v.stage).field("user", v.user).field("created_ms", v.created_ms);
  out->field("updated_ms", v.updated_ms).key("aliases").begin_array();
  for (const std::string& alias : v.aliases) out->value(alias);
  out->end_array();
  put_pairs("tags", v.tags, out);
  out->end_object();
}

std::string aliases_text(const Pairs& aliases) {
  std::string out;
  for (const auto& [alias, version] : aliases) out += (out.empty() ? "" : " ") + alias + "=" + version;
  return out;
}

std::string quoted(const std::string& name) {
  return name.find('\'') == std::string::npos ? "'" + name + "'" : "\"" + name + "\"";
}

int print_json(const JsonOut& out) {
  std::printf("%s\n", out.text().c_str());
  return kOk;
}

int list(const Common& common, const Arguments& a) {
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  ModelQuery query;
  query.filter = a.filter;
  query.limit = a.limit;
  Result<std::vector<RegisteredModel>> models = registry->models(query);
  if (!models.ok()) return fail(models.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().key("models").begin_array();
    for (const RegisteredModel& m : *models) put(m, &out);
    out.end_array().end_object();
    return print_json(out);
  }
  if (models->empty()) {
    std::fprintf(stderr, "no models\n");
    return kOk;
  }
  Table table({"=NAME", "ALIASES", "UPDATED", "DESCRIPTION"});
  for (const RegisteredModel& m : *models) {
    table.add({m.name, aliases_text(m.aliases), time_text(m.updated_ms), one_line(m.description, 80)});
  }
  table.print();
  return kOk;
}

int show(const Common& common, const Arguments& a) {
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  if (a.name.compare(0, 8, "models:/") == 0) {  // one version
    Result<ModelVersion> v = registry->resolve(a.name);
    if (!v.ok()) return fail(v.status());
    if (common.json) {
      JsonOut out;
      put(*v, &out);
      return print_json(out);
    }
    std::printf("name        %s\nversion     %s\nstatus      %s\nsource      %s\n", v->name.c_str(), v->version.c_str(),
                v->status.c_str(), v->source.c_str());
    std::printf("run         %s\ncreated     %s\n", v->run_id.c_str(), time_text(v->created_ms).c_str());
    if (!v->description.empty()) std::printf("description %s\n", one_line(v->description, 400).c_str());
    for (const std::string& alias : v->aliases) std::printf("alias       %s\n", alias.c_str());
    for (const auto& [key, value] : v->tags)
      std::printf("tag         %s=%s\n", key.c_str(), one_line(value, 400).c_str());
    return kOk;
  }
  Result<RegisteredModel> model = registry->model(a.name);
  if (!model.ok()) return fail(model.status());
  ModelQuery query;
  query.filter = "name = " + quoted(a.name);
  Result<std::vector<ModelVersion>> versions = registry->versions(query);
  if (!versions.ok()) return fail(versions.status());
  std::sort(versions->begin(), versions->end(), [](const ModelVersion& x, const ModelVersion& y) {
    return x.version.size() != y.version.size() ? x.version.size() > y.version.size() : x.version > y.version;
  });
  for (ModelVersion& v : *versions) {  // older servers tell the model's aliases only
    for (const auto& [alias, number] : model->aliases) {
      if (number == v.version && std::find(v.aliases.begin(), v.aliases.end(), alias) == v.aliases.end()) {
        v.aliases.push_back(alias);
      }
    }
  }
  if (common.json) {
    JsonOut out;
    out.begin_object().key("model");
    put(*model, &out);
    out.key("versions").begin_array();
    for (const ModelVersion& v : *versions) put(v, &out);
    out.end_array().end_object();
    return print_json(out);
  }
  std::printf("name        %s\n", model->name.c_str());
  if (!model->description.empty()) std::printf("description %s\n", one_line(model->description, 400).c_str());
  for (const auto& [key, value] : model->tags)
    std::printf("tag         %s=%s\n", key.c_str(), one_line(value, 400).c_str());
  Table table({">VERSION", "ALIASES", "STAGE", "CREATED", "RUN", "SOURCE"});
  for (const ModelVersion& v : *versions) {
    std::string aliases;
    for (const std::string& alias : v.aliases) aliases += (aliases.empty() ? "" : " ") + alias;
    table.add({v.version, aliases, v.stage == "None" ? "" : v.stage, time_text(v.created_ms), v.run_id, v.source});
  }
  table.print();
  return kOk;
}

int history(const Common& common, const Arguments& a) {
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  Result<std::vector<PromotionRecord>> records = registry->history(a.name, a.alias);
  if (!records.ok()) return fail(records.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().key("history").begin_array();
    for (const PromotionRecord& r : *records) {
      out.begin_object().field("verb", r.verb).field("alias", r.alias).field("from", r.from).field("to", r.to);
      out.field("who", r.who).field("why", r.why).field("time_ms", r.time_ms).end_object();
    }
    out.end_array().end_object();
    return print_json(out);
  }
  if (records->empty()) {
    std::fprintf(stderr, "no promotion is known\n");
    return kOk;
  }
  Table table({"WHEN", "VERB", "ALIAS", ">FROM", ">TO", "WHO", "WHY"});
  for (const PromotionRecord& r : *records) {
    table.add({time_text(r.time_ms), r.verb, r.alias, r.from.empty() ? "-" : r.from, r.to, r.who, r.why});
  }
  table.print();
  return kOk;
}

int pick(const Common& common, const Arguments& a) {
  Result<Registry> registry = open_registry(common, a.to);
  if (!registry.ok()) return fail(registry.status());
  Result<ModelVersion> v = registry->pick(a.name, a.key);
  if (!v.ok()) return fail(v.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().field("model", v->name).field("version", v->version).field("alias", v->aliases.front());
    out.end_object();
    return print_json(out);
  }
  std::printf("models:/%s/%s\n", v->name.c_str(), v->version.c_str());
  return kOk;
}

int pending(const Common& common, bool all) {
  Result<Registry> registry = open_registry(common, {});
  if (!registry.ok()) return fail(registry.status());
  Result<std::vector<PendingStatus>> found = registry->pendings(all);
  if (!found.ok()) return fail(found.status());
  if (common.json) {
    JsonOut out;
    out.begin_object().key("pending").begin_array();
    for (const PendingStatus& s : *found) put(s, &out);
    out.end_array().end_object();
    return print_json(out);
  }
  if (found->empty()) {
    std::fprintf(stderr, "nothing is pending\n");
    return kOk;
  }
  Table table({"=ID", "STATE", "VERB", "MODEL", "VERSION", "SINCE", "SERVER", "WHY"});
  for (const PendingStatus& s : *found) {
    table.add({is_terminal(1) ? s.id.substr(0, 8) : s.id, pending_state_name(s.state), s.verb, s.model, s.version,
               time_text(s.time_ms), s.destination, std::string(s.status.message())});
  }
  table.print();
  return kOk;
}

}  // namespace

const char* const kPendingJson =
    R"({"id", "verb", "model", "state": "waiting|done|refused|condition_failed", "version", "from", "code", "message", )"
    R"("destination", "time_ms"})";

void put(const PendingStatus& s, JsonOut* out) {
  out->begin_object().field("id", s.id).field("verb", s.verb).field("model", s.model);
  out->field("state", pending_state_name(s.state)).field("version", s.version).field("from", s.from);
  out->field("code", status_code_name(s.status.code())).field("message", s.status.message());
  out->field("destination", s.destination).field("time_ms", s.time_ms).end_object();
}

Option to_option(std::string* into) {
  return {"--to", "Server: a tracking URI, or a remote's name [MLFLOW_TRACKING_URI; the root's only one]", into, false,
          Takes::uri};
}

Result<Registry> open_registry(const Common& common, const std::string& to) {
  RegistryOptions options;
  options.root = common.root;
  options.to = to;
  return Registry::open(options);
}

std::vector<Command> model_reads() {
  auto a = std::make_shared<Arguments>();
  const Option to = to_option(&a->to);
  const Option name{"name", "The model's name", &a->name, true};
  Command ls{"ls", "The registered models of a server"};
  ls.options = {{"--filter", "MLflow's search language: name LIKE 'dig%', tags.team = 'vision'", &a->filter},
                {"-n,--limit", "At most so many [0: all]", &a->limit},
                to};
  ls.json = std::string(R"({"models": [)") + kModel + "]}";
  ls.examples = {{"mlops models ls --filter \"name = 'digits'\"", "one of them, and what its aliases stand for"}};
  ls.run = [a](const Common& common) { return list(common, *a); };
  Command one{"show", "A model with its versions, or one version"};
  one.options = {{"name", "A model's name, or models:/NAME/3, models:/NAME@ALIAS", &a->name, true}, to};
  one.json =
      std::string(R"({"model": )") + kModel + R"(, "versions": [)" + kVersion + "]}; of one version: " + kVersion;
  one.examples = {{"mlops models show models:/digits@champion", "the version that serves"}};
  one.run = [a](const Common& common) { return show(common, *a); };
  Command story{"history", "Who promoted what, when, why, and from which version"};
  story.options = {name, {"--alias", "Of this one only", &a->alias}, to};
  story.json = R"({"history": [{"verb", "alias", "from", "to", "who", "why", "time_ms"}]})";
  story.examples = {{"mlops models history digits", "the story of its aliases"}};
  story.run = [a](const Common& common) { return history(common, *a); };
  Command choose{"pick", "A version by the shares of its aliases, as a serving program picks it"};
  choose.options = {name, {"--key", "The same key gets the same one [by chance]", &a->key}, to};
  choose.json = R"({"model", "version", "alias"})";
  choose.examples = {{"mlops models pick digits --key user-7", "which version this user gets"}};
  choose.run = [a](const Common& common) { return pick(common, *a); };
  Command waits{"pending", "Writes that wait for their delivery"};
  waits.options = {{"--all", "Also what became of the others", &a->all}};
  waits.json = std::string(R"({"pending": [)") + kPendingJson + "]}";
  waits.examples = {{"mlops models pending --all --json", "what became of every write"}};
  waits.run = [a](const Common& common) { return pending(common, a->all); };
  return {ls, one, story, choose, waits};
}

Command models_command() {
  Command command{"models", "The model registry: versions, aliases, promotion, gates, pulling"};
  command.about =
      "Writes are accepted at once, also without a server, and delivered in order and exactly once: by this command\n"
      "when it finds a server, else by the next delivery. `mlops models pending` tells which wait.";
  command.verbs = model_reads();
  for (Command& verb : model_writes()) command.verbs.push_back(std::move(verb));
  command.verbs.push_back(model_pull());
  command.verbs.push_back(model_gate("gate"));
  return command;
}

}  // namespace mlops::cli
