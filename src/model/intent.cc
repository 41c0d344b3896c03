#include "model/intent.h"

#include <algorithm>
#include <cstring>

#include "model/limits.h"

namespace mlops::model {
namespace {

// PostgreSQL's columns, and what servers before 3.1.1 take of a tag's value: what fits here fits everywhere.
constexpr std::size_t kNameChars = 256, kAliasChars = 255, kDescriptionChars = 5'000, kTagValueChars = 5'000,
                      kSourceChars = 500, kWhyChars = 1'000, kWhoChars = 200;
constexpr std::size_t kRecordBytes = 48 * 1'024;  // of a record in the journal
constexpr std::string_view kTag = "tag.", kUid = "uid:";

Status invalid(std::string words) { return Status(StatusCode::invalid_argument, std::move(words)); }

std::string quoted(std::string_view text) { return "'" + std::string(cut_chars(text, 40)) + "'"; }

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_latest(std::string_view alias) {
  static constexpr std::string_view kLatest = "latest";
  return alias.size() == kLatest.size() && std::equal(alias.begin(), alias.end(), kLatest.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

bool needs_version(Verb verb) {
  switch (verb) {
    case Verb::set_alias:
    case Verb::update_version:
    case Verb::delete_version:
    case Verb::set_version_tag:
    case Verb::delete_version_tag:
    case Verb::set_stage:
    case Verb::copy_version:
    case Verb::promote:
      return true;
    default:
      return false;
  }
}

bool has_alias(Verb verb) {
  return verb == Verb::set_alias || verb == Verb::delete_alias || verb == Verb::promote || verb == Verb::rollback;
}

bool has_tag_key(Verb verb) {
  return verb == Verb::set_model_tag || verb == Verb::delete_model_tag || verb == Verb::set_version_tag ||
         verb == Verb::delete_version_tag;
}

Status check_version(std::string_view version) {
  Uid uid;
  if (is_version(version) || (version.substr(0, kUid.size()) == kUid && Uid::parse(version.substr(kUid.size()), &uid)))
    return {};
  return invalid("the version " + quoted(version) + " is no number: give one (7), or the handle of a version to come");
}

/// A name that a server already has: older ones took '/' and ':' too.
Status check_known_name(std::string_view name) { return check_text("model name", name, kNameChars, false); }

Status check_source(const Intent& intent) {
  const int places = !intent.source.empty() + !intent.run.zero() + !intent.logged_model.zero();
  if (places == 0) return invalid("a version needs a source: where its files are");
  if (intent.source.empty()) {
    const std::string_view path = intent.path;
    if (!path.empty() && (path.front() == '/' || path.back() == '/' || path == ".." || path.substr(0, 3) == "../" ||
                          path.find("/../") != path.npos || path.find("//") != path.npos ||
                          (path.size() > 2 && path.substr(path.size() - 3) == "/.."))) {
      return invalid("the artifact path " + quoted(path) + " must be a plain path below the run's artifacts");
    }
    return check_text("artifact path", path, kKeyChars, true);
  }
  const std::string_view source = intent.source;
  if (Status s = check_text("source", source, kSourceChars, false); !s.ok()) return s;
  if (source.find("..") != source.npos || source.find("%2e") != source.npos || source.find("%2E") != source.npos) {
    return invalid("the source " + quoted(source) + " has '..' in it, which servers refuse: give the plain URI");
  }
  if (source.find(':') == source.npos) {
    return invalid("the source " + quoted(source) +
                   " is no URI: give one (s3://…, mlflow-artifacts:/…, runs:/…), or register files of a run with "
                   "Run::register_model");
  }
  return {};
}

}  // namespace

const char* verb_name(Verb verb) {
  switch (verb) {
    case Verb::create_model:
      return "create_model";
    case Verb::rename_model:
      return "rename_model";
    case Verb::update_model:
      return "update_model";
    case Verb::delete_model:
      return "delete_model";
    case Verb::set_model_tag:
      return "set_model_tag";
    case Verb::delete_model_tag:
      return "delete_model_tag";
    case Verb::set_alias:
      return "set_alias";
    case Verb::delete_alias:
      return "delete_alias";
    case Verb::create_version:
      return "create_version";
    case Verb::update_version:
      return "update_version";
    case Verb::delete_version:
      return "delete_version";
    case Verb::set_version_tag:
      return "set_version_tag";
    case Verb::delete_version_tag:
      return "delete_version_tag";
    case Verb::set_stage:
      return "set_stage";
    case Verb::copy_version:
      return "copy_version";
    case Verb::promote:
      return "promote";
    case Verb::rollback:
      return "rollback";
  }
  return "unknown";
}

bool is_version(std::string_view text) { return is_digits(text) && text.size() <= 18 && text.front() != '0'; }

Op op_of(const Intent& intent) {
  Op op;
  op.kind = OpKind::registry;
  op.run = kRegistry;
  op.parent = intent.uid;
  op.number = static_cast<std::int64_t>(intent.verb);
  op.key = intent.model;
  op.value = intent.value;
  const auto put = [&op](const char* name, std::string_view value) {
    if (!value.empty()) op.pairs.emplace_back(name, value);
  };
  put("key", intent.key);
  put("version", intent.version);
  put("description", intent.description);
  put("source", intent.source);
  put("run", intent.run.zero() ? std::string() : intent.run.hex());
  put("path", intent.path);
  put("logged_model", intent.logged_model.zero() ? std::string() : intent.logged_model.hex());
  put("create_model", intent.create_model ? "1" : "");
  put("from_model", intent.from_model);
  put("archive", intent.archive ? "1" : "");
  put("only_if_absent", intent.only_if_absent ? "1" : "");
  put("only_if_version", intent.only_if_version);
  put("who", intent.who);
  put("why", intent.why);
  for (const auto& [key, value] : intent.tags) op.pairs.emplace_back(std::string(kTag) + key, value);
  return op;
}

Result<Intent> intent_of(const Op& op) {
  if (op.kind != OpKind::registry) return Status(StatusCode::data_loss, "a record of the registry is none of its kind");
  if (op.number < 1 || op.number > static_cast<std::int64_t>(kLastVerb)) {
    return Status(StatusCode::failed_precondition, "an intent of a newer version of mlops (verb " +
                                                       std::to_string(op.number) + "): deliver it with that version");
  }
  Intent out;
  out.uid = op.parent;
  out.verb = static_cast<Verb>(op.number);
  out.model = op.key;
  out.value = op.value;
  out.ticket = op.ticket;
  out.time_ms = op.time_ms;
  for (const auto& [key, value] : op.pairs) {
    if (key.compare(0, kTag.size(), kTag) == 0) {
      out.tags.emplace_back(key.substr(kTag.size()), value);
    } else if (key == "key") {
      out.key = value;
    } else if (key == "version") {
      out.version = value;
    } else if (key == "description") {
      out.description = value;
    } else if (key == "source") {
      out.source = value;
    } else if (key == "run") {
      if (!Uid::parse(value, &out.run)) return Status(StatusCode::data_loss, "an intent's run is no uid");
    } else if (key == "path") {
      out.path = value;
    } else if (key == "logged_model") {
      if (!Uid::parse(value, &out.logged_model)) return Status(StatusCode::data_loss, "an intent's model is no uid");
    } else if (key == "create_model") {
      out.create_model = true;
    } else if (key == "from_model") {
      out.from_model = value;
    } else if (key == "archive") {
      out.archive = true;
    } else if (key == "only_if_absent") {
      out.only_if_absent = true;
    } else if (key == "only_if_version") {
      out.only_if_version = value;
    } else if (key == "who") {
      out.who = value;
    } else if (key == "why") {
      out.why = value;
    }
  }
  return out;
}

Status check_model_name(std::string_view name) {
  if (Status s = check_text("model name", name, kNameChars, false); !s.ok()) return s;
  if (name.find('/') != name.npos || name.find(':') != name.npos) {
    return invalid("the model name " + quoted(name) + " has '/' or ':' in it, which servers refuse: use '-' or '.'");
  }
  if (name.find_first_not_of(" \t\r\n\f\v") == name.npos || name == "." || name == "..") {
    return invalid("the model name " + quoted(name) + " is none: use letters, digits, '-', '_', '.'");
  }
  return {};
}

Status check_alias(std::string_view alias) {
  if (Status s = check_text("alias", alias, kAliasChars, false); !s.ok()) return s;
  if (is_latest(alias) || ((alias.front() == 'v' || alias.front() == 'V') && is_digits(alias.substr(1)))) {
    return invalid("the alias " + quoted(alias) +
                   " is reserved by MLflow ('latest', and versions as 'v7'): use another");
  }
  for (const char c : alias) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                      c == '-' || static_cast<unsigned char>(c) >= 0x80;
    if (!word) return invalid("the alias " + quoted(alias) + " may hold letters, digits, '_' and '-' only");
  }
  return {};
}

Status check_intent(const Intent& intent) {
  const Verb verb = intent.verb;
  const bool makes_name = verb == Verb::create_model || verb == Verb::create_version || verb == Verb::copy_version;
  if (Status s = makes_name ? check_model_name(intent.model) : check_known_name(intent.model); !s.ok()) return s;
  if (verb == Verb::rename_model) {
    if (Status s = check_model_name(intent.value); !s.ok()) return s;
  }
  if (verb == Verb::copy_version) {
    if (Status s = check_known_name(intent.from_model); !s.ok()) return s;
  }
  if (needs_version(verb)) {
    if (Status s = check_version(intent.version); !s.ok()) return s;
  }
  if (has_alias(verb)) {
    if (Status s = check_alias(intent.key); !s.ok()) return s;
  }
  if (has_tag_key(verb)) {
    if (Status s = check_key("registry tag", intent.key); !s.ok()) return s;
  }
  if (verb == Verb::set_model_tag || verb == Verb::set_version_tag) {
    if (Status s = check_text("registry tag value", intent.value, kTagValueChars, true); !s.ok()) return s;
  }
  if (verb == Verb::update_model || verb == Verb::update_version) {
    if (Status s = check_text("description", intent.value, kDescriptionChars, true); !s.ok()) return s;
  }
  if (verb == Verb::set_stage) {
    static constexpr const char* kStages[] = {"None", "Staging", "Production", "Archived"};
    if (std::none_of(std::begin(kStages), std::end(kStages), [&](const char* s) { return intent.value == s; }))
      return invalid("the stage " + quoted(intent.value) + " is none of None, Staging, Production, Archived");
  }
  if (Status s = check_text("description", intent.description, kDescriptionChars, true); !s.ok()) return s;
  for (const auto& [key, value] : intent.tags) {
    if (Status s = check_key("registry tag", key); !s.ok()) return s;
    if (Status s = check_text("registry tag value", value, kTagValueChars, true); !s.ok()) return s;
  }
  if (verb == Verb::create_version) {
    if (Status s = check_source(intent); !s.ok()) return s;
  }
  if (intent.only_if_absent && !intent.only_if_version.empty()) {
    return invalid("a condition is one: either absent, or still that version");
  }
  if (!intent.only_if_version.empty() && !is_version(intent.only_if_version)) {
    return invalid("the condition's version " + quoted(intent.only_if_version) + " is no number");
  }
  if (Status s = check_text("who", intent.who, kWhoChars, true); !s.ok()) return s;
  if (Status s = check_text("why", intent.why, kWhyChars, true); !s.ok()) return s;
  if (encode_op(op_of(intent)).size() > kRecordBytes) {
    return invalid("the texts of this write are more than 48 KiB: shorten its tags or description");
  }
  return {};
}

}  // namespace mlops::model
