// Registry over a connection. What differs from the rest of MLflow: DELETE and PATCH carry JSON bodies (a query is not
// read), a missing alias is 400 and not 404, deleting an alias or a tag that is not there is 200.
#include "mlflow/registry.h"

#include <charconv>

#include "mlflow/exchange.h"
#include "mlflow/registry_json.h"

namespace mlops::mlflow {
namespace {

using http::Method;

std::int64_t number_of(std::string_view version) {
  std::int64_t out = 0;
  std::from_chars(version.data(), version.data() + version.size(), out);
  return out;
}

bool missing(const Answer& answer) { return answer.status.code() == StatusCode::not_found; }

std::string query(const char* endpoint, const std::vector<std::pair<const char*, std::string_view>>& parameters) {
  std::string path = std::string(kPrefix) + endpoint;
  char mark = '?';
  for (const auto& [name, value] : parameters) {
    if (value.empty()) continue;
    path += mark + std::string(name) + '=' + http::escape(value);
    mark = '&';
  }
  return path;
}

class RegistryApi final : public Registry {
 public:
  explicit RegistryApi(Exchange* exchange) : x_(exchange) {}

  Answer get_model(std::string_view name, RemoteModel* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object, query("registered-models/get", {{"name", name}}), &reply);
    if (answer.verdict == Verdict::ok && !read_model(reply, out)) return unexpected(answer, "registered_model");
    return answer;
  }

  Answer search_models(Page* page, std::vector<RemoteModel>* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object, page_query("registered-models/search", *page), &reply);
    if (answer.verdict != Verdict::ok) return answer;
    const std::string before = page->token;
    if (!read_models(reply, out, &page->token)) return unexpected(answer, "registered_models");
    return moved_on(answer, before, *page);
  }

  Answer create_model(std::string_view name, std::string_view description, const Pairs& tags) override {
    Reply reply;
    Answer answer =
        x_->post(Expect::object, "registered-models/create", encode_new_model(name, description, tags), &reply, true);
    RemoteModel made;
    if (answer.verdict == Verdict::ok && !read_model(reply, &made)) return unexpected(answer, "registered_model");
    return answer;
  }

  Answer rename_model(std::string_view name, std::string_view new_name) override {
    Reply reply;
    return x_->post(Expect::done, "registered-models/rename", encode_fields({{"name", name}, {"new_name", new_name}}),
                    &reply, true);
  }
  Answer update_model(std::string_view name, std::string_view description) override {
    return change(Method::patch, "registered-models/update", {{"name", name}, {"description", description}});
  }
  Answer delete_model(std::string_view name) override {
    return change(Method::del, "registered-models/delete", {{"name", name}});
  }
  Answer set_model_tag(std::string_view name, std::string_view key, std::string_view value) override {
    return change(Method::post, "registered-models/set-tag", {{"name", name}, {"key", key}, {"value", value}});
  }
  Answer delete_model_tag(std::string_view name, std::string_view key) override {
    return change(Method::del, "registered-models/delete-tag", {{"name", name}, {"key", key}});
  }
  Answer set_alias(std::string_view name, std::string_view alias, std::string_view version) override {
    return change(Method::post, "registered-models/alias", {{"name", name}, {"alias", alias}, {"version", version}});
  }
  Answer delete_alias(std::string_view name, std::string_view alias) override {
    Answer answer = change(Method::del, "registered-models/alias", {{"name", name}, {"alias", alias}});
    return no_alias(answer) ? Answer() : answer;
  }

  Answer version_by_alias(std::string_view name, std::string_view alias, RemoteVersion* out, bool* found) override {
    *found = false;
    Reply reply;
    Answer answer =
        x_->get(Expect::object, query("registered-models/alias", {{"name", name}, {"alias", alias}}), &reply);
    if (missing(answer) || no_alias(answer)) return Answer();
    if (answer.verdict != Verdict::ok) return answer;
    if (!read_version(reply, out)) return unexpected(answer, "model_version");
    *found = true;
    return answer;
  }

  Answer get_version(std::string_view name, std::string_view version, RemoteVersion* out) override {
    Reply reply;
    Answer answer =
        x_->get(Expect::object, query("model-versions/get", {{"name", name}, {"version", version}}), &reply);
    if (answer.verdict == Verdict::ok && !read_version(reply, out)) return unexpected(answer, "model_version");
    return answer;
  }

  Answer search_versions(Page* page, std::vector<RemoteVersion>* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object, page_query("model-versions/search", *page), &reply);
    if (answer.verdict != Verdict::ok) return answer;
    const std::string before = page->token;
    if (!read_versions(reply, out, &page->token)) return unexpected(answer, "model_versions");
    return moved_on(answer, before, *page);
  }

  Answer find_version(std::string_view name, std::string_view uid, RemoteVersion* out, bool* found) override {
    *found = false;
    Page page;
    std::string value;
    const bool named = versions_filter(name, &page.filter);
    if (!quote(uid, &value)) value = "''";
    page.filter += (named ? " AND " : "") + std::string("tags.`mlops.uid` = ") + value;
    do {
      std::vector<RemoteVersion> versions;
      Answer answer = search_versions(&page, &versions);
      if (answer.verdict != Verdict::ok) return answer;
      for (RemoteVersion& v : versions) {  // the filter is checked: a server may ignore it
        if (v.name != name) continue;
        for (const auto& [key, tag] : v.tags) {
          if (key != "mlops.uid" || tag != uid) continue;
          if (*found && number_of(out->version) <= number_of(v.version)) break;
          *out = std::move(v);
          *found = true;
          break;
        }
      }
    } while (!page.token.empty());
    return Answer();
  }

  Answer latest_versions(std::string_view name, std::string_view stage, std::vector<RemoteVersion>* out) override {
    out->clear();
    Reply reply;
    Answer answer = x_->get(
        Expect::object, query("registered-models/get-latest-versions", {{"name", name}, {"stages", stage}}), &reply);
    if (answer.verdict == Verdict::ok && !read_versions(reply, out, nullptr))
      return unexpected(answer, "model_versions");
    return answer;
  }

  Answer create_version(const NewVersion& version, RemoteVersion* out) override {
    Reply reply;
    Answer answer = x_->post(Expect::object, "model-versions/create", encode_new_version(version), &reply, true);
    if (answer.verdict == Verdict::ok && !read_version(reply, out)) return unexpected(answer, "model_version");
    return answer;
  }

  Answer update_version(std::string_view name, std::string_view version, std::string_view description) override {
    return change(Method::patch, "model-versions/update",
                  {{"name", name}, {"version", version}, {"description", description}});
  }
  Answer delete_version(std::string_view name, std::string_view version) override {
    return change(Method::del, "model-versions/delete", {{"name", name}, {"version", version}});
  }
  Answer set_version_tag(std::string_view name, std::string_view version, std::string_view key,
                         std::string_view value) override {
    return change(Method::post, "model-versions/set-tag",
                  {{"name", name}, {"version", version}, {"key", key}, {"value", value}});
  }
  Answer delete_version_tag(std::string_view name, std::string_view version, std::string_view key) override {
    return change(Method::del, "model-versions/delete-tag", {{"name", name}, {"version", version}, {"key", key}});
  }
  Answer set_stage(std::string_view name, std::string_view version, std::string_view stage, bool archive) override {
    return x_->change("model-versions/transition-stage", encode_stage(name, version, stage, archive));
  }

  Answer download_uri(std::string_view name, std::string_view version, std::string* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object,
                            query("model-versions/get-download-uri", {{"name", name}, {"version", version}}), &reply);
    if (answer.verdict == Verdict::ok && !read_text_field(reply, "artifact_uri", out))
      return unexpected(answer, "artifact_uri");
    return answer;
  }

 private:
  Answer change(Method method, const char* endpoint,
                const std::vector<std::pair<const char*, std::string_view>>& fields) {
    Reply reply;
    return x_->send(method, Expect::done, endpoint, encode_fields(fields), &reply);
  }

  /// 400 INVALID_PARAMETER_VALUE "Registered model alias nix not found."
  static bool no_alias(const Answer& answer) {
    const std::string_view words = answer.status.message();
    return answer.http_status == 400 && words.find("alias") != words.npos && words.find("not found") != words.npos;
  }

  static std::string page_query(const char* endpoint, const Page& page) {
    return query(endpoint, {{"filter", page.filter},
                            {"max_results", std::to_string(page.most)},
                            {"order_by", page.order_by},
                            {"page_token", page.token}});
  }

  static Answer moved_on(const Answer& answer, const std::string& before, const Page& page) {
    if (!page.token.empty() && page.token == before) return unexpected(answer, "next page (its token repeats)");
    return answer;
  }

  Exchange* x_;
};

}  // namespace

std::unique_ptr<Registry> registry_over(Exchange* exchange) { return std::make_unique<RegistryApi>(exchange); }

bool versions_filter(std::string_view name, std::string* out) {
  std::string value;
  if (!quote(name, &value)) return false;
  *out = "name = " + value;
  return true;
}

}  // namespace mlops::mlflow
