// Registry's reads: questions to the server, over one connection, each within its deadline.
#include <charconv>

#include "base/base.h"
#include "client/registry_impl.h"
#include "client/within.h"
#include "mlops/registry.h"

namespace mlops::client {

RegisteredModel public_model(mlflow::RemoteModel&& remote) {
  return {std::move(remote.name), std::move(remote.description), remote.created_ms,
          remote.updated_ms,      std::move(remote.tags),        std::move(remote.aliases)};
}

ModelVersion public_version(mlflow::RemoteVersion&& remote) {
  ModelVersion out;
  out.name = std::move(remote.name);
  out.version = std::move(remote.version);
  out.description = std::move(remote.description);
  out.source = std::move(remote.source);
  out.run_id = std::move(remote.run_id);
  out.model_id = std::move(remote.model_id);
  out.status = std::move(remote.status);
  out.stage = std::move(remote.stage);
  out.user = std::move(remote.user);
  out.created_ms = remote.created_ms;
  out.updated_ms = remote.updated_ms;
  out.tags = std::move(remote.tags);
  out.aliases = std::move(remote.aliases);
  return out;
}

}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

namespace {

using mlflow::Answer;
using mlflow::Verdict;

constexpr int kPage = 200;

std::int64_t number_of(const std::string& version) {
  std::int64_t out = 0;
  std::from_chars(version.data(), version.data() + version.size(), out);
  return out;
}

Status no_model(std::string_view name, std::string_view what) {
  return Status(StatusCode::not_found, "model '" + std::string(name.substr(0, 80)) + "' has no " + std::string(what) +
                                           " on the server (or there is no such model)");
}

/// All pages, or as many entries as were asked for.
template <typename T, typename Ask>
Answer all_pages(const ModelQuery& query, std::vector<T>* out, Ask&& ask) {
  mlflow::Page page{query.filter, query.order_by, kPage, {}};
  Answer answer;
  do {
    answer = ask(&page, out);
  } while (answer.verdict == Verdict::ok && !page.token.empty() && (query.limit == 0 || out->size() < query.limit));
  if (query.limit != 0 && out->size() > query.limit) out->resize(query.limit);
  return answer;
}

std::vector<Share> read_shares(const Pairs& tags) {
  std::vector<Share> out;
  for (const auto& [key, value] : tags) {
    if (key != "mlops.shares") continue;
    for (std::size_t at = 0; at < value.size();) {
      const std::size_t end = std::min(value.find(',', at), value.size());
      const std::size_t equal = value.find('=', at);
      if (equal == std::string::npos || equal >= end) return {};
      Share share;
      share.alias = value.substr(at, equal - at);
      const auto [rest, error] = std::from_chars(value.data() + equal + 1, value.data() + end, share.share);
      if (error != std::errc() || rest != value.data() + end || share.alias.empty()) return {};
      out.push_back(std::move(share));
      at = end + 1;
    }
  }
  return out;
}

}  // namespace

Status Registry::Impl::with_server(const std::function<Answer(mlflow::Api&)>& ask) {
  if (uri.empty()) {
    return Status(StatusCode::failed_precondition,
                  "the registry is on a server, and no tracking URI is set: set MLFLOW_TRACKING_URI, or give one");
  }
  const std::lock_guard<std::mutex> lock(mutex);
  if (api == nullptr) {
    Result<std::unique_ptr<mlflow::Api>> made = mlflow::Api::connect(uri, credentials);
    if (!made.ok()) return made.status();
    api = std::move(*made);
  }
  Answer answer;
  const bool in_time = client::within(deadline, api.get(), [&] { answer = ask(*api); });
  if (answer.verdict == Verdict::ok) return {};
  if (!in_time) {
    return Status(StatusCode::unavailable, uri + " did not answer within " + std::to_string(deadline.count()) + " ms");
  }
  const Status why = answer.status.ok() ? Status(StatusCode::unavailable, "no reason given") : answer.status;
  return why.code() == StatusCode::not_found ? why : Status(why.code(), uri + ": " + std::string(why.message()));
}

Result<RegisteredModel> Registry::model(std::string_view name) const {
  mlflow::RemoteModel remote;
  Status s = impl_->with_server([&](mlflow::Api& api) { return api.registry().get_model(name, &remote); });
  if (s.code() == StatusCode::not_found) {
    return Status(StatusCode::not_found, "there is no model '" + std::string(name.substr(0, 80)) + "' on the server");
  }
  if (!s.ok()) return s;
  return client::public_model(std::move(remote));
}

Result<std::vector<RegisteredModel>> Registry::models(const ModelQuery& query) const {
  std::vector<mlflow::RemoteModel> remote;
  Status s = impl_->with_server([&](mlflow::Api& api) {
    return all_pages(query, &remote, [&](auto* page, auto* out) { return api.registry().search_models(page, out); });
  });
  if (!s.ok()) return s;
  std::vector<RegisteredModel> out;
  for (mlflow::RemoteModel& m : remote) out.push_back(client::public_model(std::move(m)));
  return out;
}

Result<ModelVersion> Registry::version(std::string_view name, std::string_view number) const {
  mlflow::RemoteVersion remote;
  Status s = impl_->with_server([&](mlflow::Api& api) { return api.registry().get_version(name, number, &remote); });
  if (s.code() == StatusCode::not_found) return no_model(name, "version " + std::string(number.substr(0, 20)));
  if (!s.ok()) return s;
  return client::public_version(std::move(remote));
}

Result<ModelVersion> Registry::version_by_alias(std::string_view name, std::string_view alias) const {
  mlflow::RemoteVersion remote;
  bool found = false;
  Status s = impl_->with_server(
      [&](mlflow::Api& api) { return api.registry().version_by_alias(name, alias, &remote, &found); });
  if (!s.ok()) return s;
  if (!found) return no_model(name, "alias '" + std::string(alias.substr(0, 80)) + "'");
  return client::public_version(std::move(remote));
}

Result<std::vector<ModelVersion>> Registry::versions(const ModelQuery& query) const {
  std::vector<mlflow::RemoteVersion> remote;
  Status s = impl_->with_server([&](mlflow::Api& api) {
    return all_pages(query, &remote, [&](auto* page, auto* out) { return api.registry().search_versions(page, out); });
  });
  if (!s.ok()) return s;
  std::vector<ModelVersion> out;
  for (mlflow::RemoteVersion& v : remote) out.push_back(client::public_version(std::move(v)));
  return out;
}

Result<std::string> Registry::download_uri(std::string_view name, std::string_view number) const {
  std::string uri;
  Status s = impl_->with_server([&](mlflow::Api& api) { return api.registry().download_uri(name, number, &uri); });
  if (s.code() == StatusCode::not_found) return no_model(name, "version " + std::string(number.substr(0, 20)));
  if (!s.ok()) return s;
  return uri;
}

Result<ModelVersion> Registry::resolve(std::string_view uri) const {
  constexpr std::string_view kScheme = "models:/";
  const Status bad(StatusCode::invalid_argument,
                   "'" + std::string(uri.substr(0, 80)) +
                       "' names no version: models:/NAME@ALIAS, models:/NAME/3, models:/NAME/latest");
  if (uri.substr(0, kScheme.size()) != kScheme) return bad;
  std::string_view rest = uri.substr(kScheme.size());
  while (!rest.empty() && rest.front() == '/') rest.remove_prefix(1);
  if (const std::size_t at = rest.rfind('@'); at != rest.npos && at > 0 && rest.find('/', at) == rest.npos) {
    return version_by_alias(rest.substr(0, at), rest.substr(at + 1));
  }
  const std::size_t slash = rest.rfind('/');
  if (slash == rest.npos || slash == 0 || slash + 1 == rest.size()) return bad;
  const std::string name(rest.substr(0, slash)), what(rest.substr(slash + 1));
  if (model::is_version(what)) return version(name, what);
  std::vector<mlflow::RemoteVersion> found;
  const bool latest = what == "latest";
  Status s = impl_->with_server(
      [&](mlflow::Api& api) { return api.registry().latest_versions(name, latest ? "" : what, &found); });
  if (!s.ok()) return s.code() == StatusCode::not_found ? no_model(name, "version") : s;
  mlflow::RemoteVersion* newest = nullptr;
  for (mlflow::RemoteVersion& v : found) {
    if (newest == nullptr || number_of(v.version) > number_of(newest->version)) newest = &v;
  }
  if (newest == nullptr) return no_model(name, latest ? "version" : "version of the stage '" + what + "'");
  return client::public_version(std::move(*newest));
}

Result<std::vector<PromotionRecord>> Registry::history(std::string_view name, std::string_view alias) const {
  ModelQuery query;
  if (!mlflow::versions_filter(name, &query.filter)) {
    return Status(StatusCode::invalid_argument, "no server can be asked for a name with both kinds of quotes");
  }
  Result<std::vector<ModelVersion>> all = versions(query);
  if (!all.ok()) return all.status();
  std::vector<PromotionRecord> out;
  for (const ModelVersion& v : *all) {
    for (const auto& [key, value] : v.tags) {
      mlflow::Promotion p;
      if (key.compare(0, mlflow::kPromotionTag.size(), mlflow::kPromotionTag) != 0) continue;
      if (!mlflow::decode_promotion(value, &p) || (!alias.empty() && p.alias != alias)) continue;
      out.push_back({p.verb, p.alias, p.from, p.to, p.who, p.why, p.time_ms});
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.time_ms < b.time_ms; });
  return out;
}

Result<std::vector<Share>> Registry::shares(std::string_view name) const {
  Result<RegisteredModel> found = model(name);
  if (!found.ok()) return found.status();
  return read_shares(found->tags);
}

Result<ModelVersion> Registry::pick(std::string_view name, std::string_view key) const {
  Result<RegisteredModel> found = model(name);
  if (!found.ok()) return found.status();
  std::vector<Share> all = read_shares(found->tags);
  if (all.empty()) all.push_back({"champion", 1});
  std::uint64_t sum = 0;
  for (const Share& share : all) sum += share.share;
  if (sum == 0) return no_model(name, "share that is more than 0");
  const std::uint64_t chance = key.empty() ? base::random_u64() : base::hash64(key, 0);
  std::uint64_t at = chance % sum;
  const Share* chosen = nullptr;
  for (const Share& share : all) {
    chosen = &share;
    if (at < share.share) break;
    at -= share.share;
  }
  for (const auto& [alias, number] : found->aliases) {
    if (alias != chosen->alias) continue;
    ModelVersion out;  // what one request tells
    out.name = found->name;
    out.version = number;
    out.aliases = {alias};
    return out;
  }
  return no_model(name, "alias '" + chosen->alias + "'");
}

MLOPS_NAMESPACE_END
