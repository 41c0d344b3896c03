// mlops remote: the servers of a root and their names.
#include <algorithm>
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
  std::string name, to, uri;
  bool yes = false;
};

int said(const Status& status, const char* words, const std::string& name) {
  if (!status.ok()) return fail(status);
  std::fprintf(stderr, "%s %s\n", words, name.c_str());
  return kOk;
}

int list(const Common& common) {
  Result<std::vector<Remote>> all = remotes(common.root);
  if (!all.ok()) return fail(all.status());
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  Result<Health> health = reader->health();
  if (!health.ok()) return fail(health.status());
  JsonOut out;
  out.begin_object().field("root", reader->root()).key("remotes").begin_array();
  Table table({"NAME", "=URI", ">DELIVERED", ">WAITING", ">REFUSED"});
  for (const Remote& remote : *all) {
    const auto at = std::find_if(health->destinations.begin(), health->destinations.end(),
                                 [&remote](const DestinationHealth& d) { return d.name == remote.name; });
    const DestinationHealth d = at == health->destinations.end() ? DestinationHealth() : *at;
    out.begin_object().field("name", remote.name).field("uri", remote.uri).field("named", remote.named);
    out.field("delivered", d.delivered).field("waiting", d.waiting).field("dead_letters", d.dead_letters).end_object();
    table.add({remote.name, remote.uri, std::to_string(d.delivered), std::to_string(d.waiting),
               std::to_string(d.dead_letters)});
  }
  out.end_array().end_object();
  if (common.json) {
    std::printf("%s\n", out.text().c_str());
  } else if (all->empty()) {
    std::fprintf(stderr, "no remote yet: `mlops remote add NAME URI` names one, `mlops sync --to URI` delivers\n");
  } else {
    table.print();
  }
  return kOk;
}

int set_url(const Common& common, const Arguments& a) {
  Result<std::vector<std::string>> notes = set_remote_url(common.root, a.name, a.uri);
  if (!notes.ok()) return fail(notes.status());
  std::fprintf(stderr, "%s is at %s now; what was delivered stays known\n", a.name.c_str(), a.uri.c_str());
  for (const std::string& note : *notes) std::fprintf(stderr, "mlops: %s\n", note.c_str());
  return kOk;
}

int remove(const Common& common, const Arguments& a) {
  const Status gentle = remove_remote(common.root, a.name, false);
  if (gentle.code() != StatusCode::failed_precondition || a.yes) {
    return said(a.yes && !gentle.ok() ? remove_remote(common.root, a.name, true) : gentle, "removed", a.name);
  }
  if (!can_ask()) {
    fail(gentle);
    return kUsage;
  }
  int code = kOk;
  const std::string why = std::string(gentle.message());
  if (!confirmed(why.substr(0, why.find("; --yes")) + ". Remove it?", false, &code)) return code;
  return said(remove_remote(common.root, a.name, true), "removed", a.name);
}

}  // namespace

Command remote_command() {
  auto a = std::make_shared<Arguments>();
  const Option name{"name", "The remote's name", &a->name, true};
  const Option uri{"uri", "http(s) URI, without user and password", &a->uri, true, Takes::uri};
  Command add{"add", "Name a server"};
  add.options = {{"name", "Letters, digits, '.', '_', '-'", &a->name, true}, uri};
  add.examples = {{"mlops remote add lab http://localhost:5000", "then `mlops sync --to lab`"}};
  add.run = [a](const Common& common) { return said(add_remote(common.root, a->name, a->uri), "added", a->name); };
  Command rename{"rename", "Give a remote another name; what was delivered stays known"};
  rename.options = {name, {"to", "Its new name", &a->to, true}};
  rename.about = "Fails while somebody delivers there.";
  rename.examples = {{"mlops remote rename localhost_5000 lab", "name a server that was delivered to by its URI"}};
  rename.run = [a](const Common& common) {
    return said(rename_remote(common.root, a->name, a->to), "renamed to", a->to);
  };
  Command move{"set-url", "The same server at another address; what was delivered stays known"};
  move.options = {name, uri};
  move.about =
      "The next delivery reads a run back before it sends: when another server answers there, nothing is sent.";
  move.examples = {{"mlops remote set-url lab https://mlflow.example.org", "the server has moved"}};
  move.run = [a](const Common& common) { return set_url(common, *a); };
  Command show{"list", "The servers this root knows, and how delivery stands"};
  show.json = R"({"root", "remotes": [{"name", "uri", "named", "delivered", "waiting", "dead_letters"}]})";
  show.examples = {{"mlops remote list", "names, addresses, points delivered and waiting"}};
  show.run = list;
  Command gone{"remove", "Forget a server and what it has; what is on it stays"};
  gone.options = {name, {"-y,--yes", "Even if points wait for it, or it refused some", &a->yes}};
  gone.examples = {{"mlops remote remove lab --yes", "forget a server, whatever waits for it"}};
  gone.run = [a](const Common& common) { return remove(common, *a); };

  Command command{"remote", "The servers a root delivers to, by name"};
  command.about =
      "A remote's name stands for its URI in --to, in MLFLOW_TRACKING_URI and in Options::tracking_uri. Credentials\n"
      "are never part of it: they come from MLflow's environment variables and ~/.mlflow/credentials.";
  command.verbs = {add, rename, move, show, gone};
  return command;
}

}  // namespace mlops::cli
