// Registry: the model registry's endpoints, as MLflow 2.3 to 3.17 answer them; docs/protocol.md. An interface, so that
// what works on it is tested against a scripted server in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mlflow/mlflow.h"

namespace mlops::mlflow {

struct RemoteModel {
  std::string name, description;
  std::int64_t created_ms = 0, updated_ms = 0;
  Pairs tags, aliases;  // alias, version
};

struct RemoteVersion {
  std::string name, version, description;
  std::string source, run_id, model_id;
  std::string status, stage, user;
  std::int64_t created_ms = 0, updated_ms = 0;
  Pairs tags;
  std::vector<std::string> aliases;
};

struct NewVersion {
  std::string name, source, run_id, model_id, description;
  Pairs tags;
};

/// One page of a search.
struct Page {
  std::string filter, order_by;
  int most = 100;
  std::string token;  // of the page; set to the next one's, empty after the last
};

/// As Api's calls: nothing is repeated here, out parameters are set when ok, what is not there is run_gone with
/// status not_found. `found` of a read says it without a failure.
class Registry {
 public:
  virtual ~Registry() = default;

  virtual Answer get_model(std::string_view name, RemoteModel* out) = 0;
  virtual Answer search_models(Page* page, std::vector<RemoteModel>* out) = 0;  // appends
  /// exists: there is one of that name.
  virtual Answer create_model(std::string_view name, std::string_view description, const Pairs& tags) = 0;
  virtual Answer rename_model(std::string_view name, std::string_view new_name) = 0;
  virtual Answer update_model(std::string_view name, std::string_view description) = 0;
  virtual Answer delete_model(std::string_view name) = 0;
  virtual Answer set_model_tag(std::string_view name, std::string_view key, std::string_view value) = 0;
  virtual Answer delete_model_tag(std::string_view name, std::string_view key) = 0;
  virtual Answer set_alias(std::string_view name, std::string_view alias, std::string_view version) = 0;
  virtual Answer delete_alias(std::string_view name, std::string_view alias) = 0;  // absent is ok
  /// A missing alias is found = false; a missing model too.
  virtual Answer version_by_alias(std::string_view name, std::string_view alias, RemoteVersion* out, bool* found) = 0;

  virtual Answer get_version(std::string_view name, std::string_view version, RemoteVersion* out) = 0;
  virtual Answer search_versions(Page* page, std::vector<RemoteVersion>* out) = 0;  // appends
  /// The version with the tag mlops.uid; of two, the smallest number.
  virtual Answer find_version(std::string_view name, std::string_view uid, RemoteVersion* out, bool* found) = 0;
  virtual Answer latest_versions(std::string_view name, std::string_view stage, std::vector<RemoteVersion>* out) = 0;
  virtual Answer create_version(const NewVersion& version, RemoteVersion* out) = 0;  // fresh connection
  virtual Answer update_version(std::string_view name, std::string_view version, std::string_view description) = 0;
  virtual Answer delete_version(std::string_view name, std::string_view version) = 0;
  virtual Answer set_version_tag(std::string_view name, std::string_view version, std::string_view key,
                                 std::string_view value) = 0;
  virtual Answer delete_version_tag(std::string_view name, std::string_view version, std::string_view key) = 0;
  virtual Answer set_stage(std::string_view name, std::string_view version, std::string_view stage, bool archive) = 0;
  virtual Answer download_uri(std::string_view name, std::string_view version, std::string* out) = 0;
};

struct Exchange;
std::unique_ptr<Registry> registry_over(Exchange* exchange);

/// A version's filter of one model: `name = '…'`; false when no server could read it.
bool versions_filter(std::string_view name, std::string* out);

/// What a promotion or a rollback leaves on the version it chose, as the tag `mlops.promotion.<intent's uid>`.
struct Promotion {
  std::string verb, alias, from, to, who, why;
  std::int64_t time_ms = 0;
};
inline constexpr std::string_view kPromotionTag = "mlops.promotion.";
/// A model directory's mlops-manifest.json.
struct ManifestFile {
  std::string path, sha256;
  std::uint64_t size = 0;
};
inline constexpr std::string_view kManifestName = "mlops-manifest.json";
bool decode_manifest(std::string_view text, std::vector<ManifestFile>* out);

std::string encode_promotion(const Promotion& promotion);  // JSON
bool decode_promotion(std::string_view text, Promotion* out);

}  // namespace mlops::mlflow
