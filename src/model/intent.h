// Intent: a write to the registry as it waits in the stream kRegistry: what is to be done, and on what condition. One
// op each; docs/format.md. What no server would take is refused here, before anything is promised.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/record.h"

namespace mlops::model {

/// Bytes on disk: append only.
enum class Verb : std::int64_t {
  create_model = 1,
  rename_model = 2,  // value: the new name
  update_model = 3,  // value: description
  delete_model = 4,
  set_model_tag = 5,  // key, value
  delete_model_tag = 6,
  set_alias = 7,  // key: the alias; version
  delete_alias = 8,
  create_version = 9,
  update_version = 10,  // version; value: description
  delete_version = 11,
  set_version_tag = 12,  // version; key, value
  delete_version_tag = 13,
  set_stage = 14,     // version; value: the stage; archive
  copy_version = 15,  // version of `from_model`
  promote = 16,       // version becomes what `key`, an alias, stands for
  rollback = 17,      // the alias `key` goes back to what it was before its last promotion
};
inline constexpr Verb kLastVerb = Verb::rollback;
const char* verb_name(Verb verb);  // "create_version", …

struct Intent {
  Uid uid;
  Verb verb = Verb::create_model;
  std::string model;
  std::string key, value;
  std::string version;      // its number, or "uid:" and 32 hex: the version that another intent makes
  std::string description;  // create_model, create_version
  Pairs tags{};             // create_model, create_version
  // create_version: where the files are. A URI as the server takes it, or what is resolved at delivery: a path below
  // the artifacts of a run of this slot, or a logged model of this slot.
  std::string source, path;
  Uid run, logged_model;
  bool create_model = false;  // the registered model too, when it is not there
  std::string from_model;     // copy_version
  bool archive = false;       // set_stage: the others of that stage are archived
  // Evaluated against the server at delivery.
  bool only_if_absent = false;  // create_model: no such model; alias verbs: no such alias
  std::string only_if_version;  // alias verbs: the alias stands for it; a number
  std::string who, why;         // promote, rollback
  // Of its record.
  std::uint64_t ticket = 0;
  std::int64_t time_ms = 0;
};

/// The record, without ticket and time.
Op op_of(const Intent& intent);
/// data_loss: not an intent; failed_precondition: of a newer version, by its verb.
Result<Intent> intent_of(const Op& op);
/// invalid_argument names what is wrong and what to do.
Status check_intent(const Intent& intent);

/// Model names: 1..256 characters without '/' and ':', not blank, not "." or "..".
Status check_model_name(std::string_view name);
/// 1..255 letters, digits, '_', '-'; not "latest", not a version as "v7".
Status check_alias(std::string_view alias);
/// A version's number: digits, not 0.
bool is_version(std::string_view text);

}  // namespace mlops::model
