// mlops models: the verbs that change a registry, each one write through a client of this process.
#include <cstdio>
#include <memory>

#include "cli/confirm.h"
#include "cli/input.h"
#include "cli/models.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::string to, name, other, source, alias, version, description, who, why, only_if, stage;
  std::vector<std::string> tags, shares;
  double wait = 10;
  bool if_absent = false, remove = false, archive = false, yes = false, keep_model = false;
};
using Shared = std::shared_ptr<Arguments>;

Condition condition_of(const Arguments& a) {
  Condition condition;
  condition.absent = a.if_absent;
  condition.version = a.only_if;
  return condition;
}

/// A number, or the id of a write that makes one ("pending:3f0c…").
Result<std::string> version_of(const Registry& registry, const std::string& text) {
  constexpr const char* kPending = "pending:";
  if (text.compare(0, 8, kPending) != 0) return text;
  Result<Pending> pending = registry.pending(text.substr(8));
  if (!pending.ok()) return pending.status();
  return VersionRef(*pending).text();
}

int create(const Common& common, const Arguments& a) {
  Result<Pairs> tags = read_pairs(a.tags, "tag");
  if (!tags.ok()) return fail(tags.status());
  ModelOptions options{a.description, *tags, condition_of(a)};
  return write_model(common, a.to, a.wait, [&](const Registry& r) { return r.create_model(a.name, options); });
}

int add(const Common& common, const Arguments& a) {
  Result<Pairs> tags = read_pairs(a.tags, "tag");
  if (!tags.ok()) return fail(tags.status());
  VersionOptions options{a.description, *tags, !a.keep_model};
  return write_model(common, a.to, a.wait,
                     [&](const Registry& r) { return r.create_version(a.name, a.source, options); });
}

int alias(const Common& common, const Arguments& a) {
  if (a.remove != a.version.empty()) {
    return fail(Status(StatusCode::invalid_argument, "give the version that the alias shall stand for, or --delete"));
  }
  return write_model(common, a.to, a.wait, [&](const Registry& r) -> Result<Pending> {
    if (a.remove) return r.delete_alias(a.name, a.alias, condition_of(a));
    Result<std::string> version = version_of(r, a.version);
    if (!version.ok()) return version.status();
    return r.set_alias(a.name, a.alias, *version, condition_of(a));
  });
}

int promote(const Common& common, const Arguments& a) {
  PromoteOptions options{a.who, a.why, condition_of(a)};
  return write_model(common, a.to, a.wait, [&](const Registry& r) -> Result<Pending> {
    Result<std::string> version = version_of(r, a.version);
    if (!version.ok()) return version.status();
    return r.promote(a.name, *version, a.alias, options);
  });
}

int rollback(const Common& common, const Arguments& a) {
  PromoteOptions options{a.who, a.why, condition_of(a)};
  return write_model(common, a.to, a.wait, [&](const Registry& r) { return r.rollback(a.name, a.alias, options); });
}

int describe(const Common& common, const Arguments& a) {
  return write_model(common, a.to, a.wait, [&](const Registry& r) {
    return a.version.empty() ? r.update_model(a.name, a.description)
                             : r.update_version(a.name, a.version, a.description);
  });
}

int tag(const Common& common, const Arguments& a) {
  if (a.tags.size() != 1)
    return fail(Status(StatusCode::invalid_argument, "give one key=value, or a key and --delete"));
  if (a.remove) {
    return write_model(common, a.to, a.wait, [&](const Registry& r) {
      return a.version.empty() ? r.delete_model_tag(a.name, a.tags.front())
                               : r.delete_version_tag(a.name, a.version, a.tags.front());
    });
  }
  Result<Pairs> tags = read_pairs(a.tags, "tag");
  if (!tags.ok()) return fail(tags.status());
  const auto& [key, value] = tags->front();
  return write_model(common, a.to, a.wait, [&, key = key, value = value](const Registry& r) {
    return a.version.empty() ? r.set_model_tag(a.name, key, value) : r.set_version_tag(a.name, a.version, key, value);
  });
}

int rename(const Common& common, const Arguments& a) {
  return write_model(common, a.to, a.wait, [&](const Registry& r) { return r.rename_model(a.name, a.other); });
}

int copy(const Common& common, const Arguments& a) {
  return write_model(common, a.to, a.wait,
                     [&](const Registry& r) { return r.copy_version(a.name, a.version, a.other); });
}

int stage(const Common& common, const Arguments& a) {
  return write_model(common, a.to, a.wait,
                     [&](const Registry& r) { return r.set_stage(a.name, a.version, a.stage, a.archive); });
}

int shares(const Common& common, const Arguments& a) {
  Result<Pairs> given = read_pairs(a.shares, "share");
  if (!given.ok()) return fail(given.status());
  std::vector<Share> all;
  for (const auto& [name, text] : *given) {
    const std::optional<std::int64_t> share = read_whole(text);
    if (!share || *share < 0 || *share > 1'000'000) {
      return fail(Status(
          StatusCode::invalid_argument,
          "share \"" + name + "=" + text + "\": a share is a whole number up to 1,000,000, as in " + name + "=90"));
    }
    all.push_back({name, static_cast<std::uint32_t>(*share)});
  }
  return write_model(common, a.to, a.wait, [&](const Registry& r) { return r.set_shares(a.name, all); });
}

int remove(const Common& common, const Arguments& a) {
  int code = kOk;
  const std::string what =
      a.version.empty() ? "the model " + a.name + " with all its versions" : "version " + a.version + " of " + a.name;
  if (!confirmed("Delete " + what + " on the server?", a.yes, &code)) return code;
  return write_model(common, a.to, a.wait, [&](const Registry& r) {
    return a.version.empty() ? r.delete_model(a.name) : r.delete_version(a.name, a.version);
  });
}

Command verb(const char* name, const char* summary, const Shared& a, std::vector<Option> options, const char* example,
             const char* says, int (*run)(const Common&, const Arguments&)) {
  Command command{name, summary};
  command.options = std::move(options);
  command.options.push_back({"--wait", "Seconds to wait for the server's word [10]; 0: accepted is enough", &a->wait});
  command.options.push_back(to_option(&a->to));
  command.json = kPendingJson;
  command.examples = {{example, says}};
  command.run = [a, run](const Common& common) { return run(common, *a); };
  return command;
}

}  // namespace

int write_model(const Common& common, const std::string& to, double seconds,
                const std::function<Result<Pending>(const Registry&)>& write) {
  if (seconds < 0 || seconds > 86'400) {
    return fail(Status(StatusCode::invalid_argument, "--wait takes 0 to 86400 seconds"));
  }
  Options options;
  options.root = common.root;
  options.tracking_uri = to;
  Result<Client> client = Client::open(options);
  if (!client.ok()) return fail(client.status());
  Result<Pending> pending = write(client->registry());
  if (!pending.ok()) return fail(pending.status());
  if (Status s = client->flush(Level::durable); !s.ok()) return fail(s);
  PendingStatus status;
  status.id = pending->id();
  const bool server = !client->tracking_uri().empty() && !client->health().destinations.empty();
  if (server && seconds > 0) {
    Result<PendingStatus> settled = pending->wait(Millis(static_cast<std::int64_t>(seconds * 1'000)));
    if (settled.ok()) {
      status = *settled;
    } else if (settled.status().code() != StatusCode::deadline_exceeded) {
      return fail(settled.status());
    }
  }
  if (common.json) {
    JsonOut out;
    put(status, &out);
    std::printf("%s\n", out.text().c_str());
  }
  if (status.state == PendingState::refused || status.state == PendingState::condition_failed) {
    const std::string why(status.status.message());
    if (status.state == PendingState::refused) {
      std::fprintf(stderr, "mlops: the write was refused: %s\n", why.c_str());
    } else {
      std::fprintf(stderr, "mlops: nothing was changed, the condition did not hold: %s\n", why.c_str());
    }
    return status.state == PendingState::refused ? exit_code(status.status) : kDifferences;
  }
  if (common.json) return kOk;
  if (status.state == PendingState::waiting) {
    std::printf("pending:%s\n", status.id.c_str());
    std::fprintf(stderr, "accepted; delivered by the next delivery (`mlops sync`)\n");
    return kOk;
  }
  std::string words = status.model;
  if (!status.version.empty()) words += " " + status.version;
  if (!status.from.empty() && status.from != status.version) words += " (from " + status.from + ")";
  std::printf("%s\n", words.c_str());
  return kOk;
}

std::vector<Command> model_writes() {
  auto a = std::make_shared<Arguments>();
  const Option name{"name", "The model's name", &a->name, true};
  const Option number{"version", "Its number, or pending:ID of the write that makes it", &a->version, true};
  const Option number_option{"--version", "Of this version, not of the model", &a->version};
  const Option an_alias{"alias", "The alias", &a->alias, true};
  const Option absent{"--if-absent", "Only when there is none yet", &a->if_absent};
  const Option still{"--if-still", "Only when the alias still stands for this version", &a->only_if};
  const Option text{"--description", "In words", &a->description};
  const Option tags{"--tag", "key=value; may be repeated", &a->tags};
  const Option who{"--who", "[this user]", &a->who}, why{"--why", "In words; kept with the version", &a->why};
  std::vector<Command> all;
  all.push_back(verb("create", "A new registered model", a, {name, text, tags, absent},
                     "mlops models create digits-draft --description 'handwritten digits'", "one with no version yet",
                     create));
  all.push_back(verb("register", "A new version of a model, of files that are on a server", a,
                     {name,
                      {"source", "s3://…, mlflow-artifacts:/…, runs:/RUN/path, models:/m-…", &a->source, true},
                      text,
                      tags,
                      {"--no-create", "Not when there is no such model", &a->keep_model}},
                     "mlops models register digits s3://models/digits/3", "what somebody uploaded", add));
  all.push_back(verb("alias", "What an alias stands for, from now on", a,
                     {name,
                      an_alias,
                      {"version", "Its number, or pending:ID of the write that makes it", &a->version},
                      {"--delete", "The alias goes away", &a->remove},
                      absent,
                      still},
                     "mlops models alias digits challenger 2", "version 2 is the challenger", alias));
  all.push_back(verb("promote", "An alias stands for another version; who, when and why are kept", a,
                     {name, number, an_alias, who, why, absent, still},
                     "mlops models promote digits 2 champion --why 'better on the new data' --who ann",
                     "version 2 serves from now on", promote));
  all.push_back(verb("rollback", "An alias stands for what it stood for before its last promotion", a,
                     {name, an_alias, who, why, still},
                     "mlops models rollback digits champion --why 'slow in production' --who ann",
                     "the one before serves again", rollback));
  all.push_back(verb("describe", "The description of a model, or of a version", a,
                     {name, {"text", "In words", &a->description, true}, number_option},
                     "mlops models describe digits 'reads handwritten digits'", "what it is for", describe));
  all.push_back(verb("tag", "A tag of a model, or of a version", a,
                     {name,
                      {"tag", "key=value; with --delete the key", &a->tags, true},
                      number_option,
                      {"--delete", "The tag goes away", &a->remove}},
                     "mlops models tag digits checked=yes --version 2", "a mark on version 2", tag));
  all.push_back(verb("rename", "Another name for a model", a, {name, {"new", "The new name", &a->other, true}},
                     "mlops models rename draft draft-old", "out of the way", rename));
  all.push_back(verb("copy", "A version of one model as a new version of another", a,
                     {name, number, {"to_model", "The other model; made when it is not there", &a->other, true}},
                     "mlops models copy digits 1 digits-production", "the same files, under another name", copy));
  all.push_back(verb("stage", "The stage of a version, on servers that have stages", a,
                     {name,
                      number,
                      {"stage", "Which", &a->stage, true, Takes::text, {"None", "Staging", "Production", "Archived"}},
                      {"--archive", "Others of that stage are archived", &a->archive}},
                     "mlops models stage digits 1 Staging", "as older tools expect it", stage));
  all.push_back(verb("shares", "What share of the requests each alias gets", a,
                     {name, {"share", "alias=weight; none: no shares", &a->shares}},
                     "mlops models shares digits champion=90 challenger=10", "every tenth request tries the challenger",
                     shares));
  all.push_back(verb("delete", "Delete a model, or a version of it, on the server", a,
                     {name, number_option, {"-y,--yes", "Do not ask", &a->yes}}, "mlops models delete draft --yes",
                     "with all its versions", remove));
  return all;
}

}  // namespace mlops::cli
