// A model registry in memory, with MLflow's rules: a version create makes a new version every time, aliases are set
// again without a word, a missing alias is no failure of the reader. Each call goes through an exchange that may lose
// it.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/base.h"
#include "mlflow/registry.h"

namespace mlops::sync::fake {

struct FakeVersion {
  std::string source, run_id, model_id, description, stage = "None";
  std::map<std::string, std::string> tags;
};

struct FakeModel {
  std::string description;
  std::map<std::string, std::string> tags, aliases;
  std::map<int, FakeVersion> versions;
  int newest = 0;
};

struct FakeModels {
  std::map<std::string, FakeModel> all;
  bool forbidden = false;             // this user may not write here: 403
  std::string sick;                   // a model whose versions cannot be made,
  int sick_status = 500;              // and what is said instead
  std::int64_t commits_after_ms = 0;  // the next version is made so much later, without an answer
  std::vector<std::pair<std::int64_t, mlflow::NewVersion>> late;  // those, and when
  std::map<std::string, std::function<void()>> after;  // once, when a write of that name is done: somebody else's

  std::string dump() const {
    std::string out;
    for (const auto& [name, m] : all) {
      out += "model " + name + " " + m.description + "\n";
      for (const auto& [k, v] : m.tags) out += "  tag " + k + "=" + v + "\n";
      for (const auto& [k, v] : m.aliases) out += "  alias " + k + "=" + v + "\n";
      for (const auto& [n, v] : m.versions) {
        out += "  version " + std::to_string(n) + " " + v.source + " " + v.run_id + " " + v.stage + " " +
               v.description + "\n";
        for (const auto& [key, value] : v.tags) out += "    tag " + key + "=" + value + "\n";
      }
    }
    return out;
  }
};

class FakeRegistry final : public mlflow::Registry {
 public:
  using Answer = mlflow::Answer;
  using Verdict = mlflow::Verdict;
  using Exchange = std::function<Answer(const char* what, const std::function<Answer()>& run)>;
  FakeRegistry(FakeModels* models, Exchange exchange) : m_(models), exchange_(std::move(exchange)) {}

  Answer get_model(std::string_view name, mlflow::RemoteModel* out) override {
    return exchange_("get_model", [&] {
      const FakeModel* m = model(name);
      if (m == nullptr) return gone();
      *out = {};
      out->name = name;
      out->description = m->description;
      out->tags.assign(m->tags.begin(), m->tags.end());
      out->aliases.assign(m->aliases.begin(), m->aliases.end());
      return Answer();
    });
  }
  Answer search_models(mlflow::Page*, std::vector<mlflow::RemoteModel>*) override { return gone(); }
  Answer create_model(std::string_view name, std::string_view description, const Pairs& tags) override {
    return write("create_model", [&] {
      if (model(name) != nullptr) return say(Verdict::exists, StatusCode::already_exists, 400, "exists");
      FakeModel& m = m_->all[std::string(name)];
      m.description = description;
      for (const auto& [k, v] : tags) m.tags[k] = v;
      return Answer();
    });
  }
  Answer rename_model(std::string_view name, std::string_view to) override {
    return write("rename_model", [&] {
      if (model(name) == nullptr) return gone();
      if (model(to) != nullptr) return say(Verdict::exists, StatusCode::already_exists, 400, "exists");
      m_->all[std::string(to)] = std::move(*model(name));
      m_->all.erase(std::string(name));
      return Answer();
    });
  }
  Answer update_model(std::string_view name, std::string_view description) override {
    return on_model("update_model", name, [&](FakeModel& m) { m.description = description; });
  }
  Answer delete_model(std::string_view name) override {
    return write("delete_model", [&] { return m_->all.erase(std::string(name)) == 0 ? gone() : Answer(); });
  }
  Answer set_model_tag(std::string_view name, std::string_view key, std::string_view value) override {
    return on_model("set_model_tag", name, [&](FakeModel& m) { m.tags[std::string(key)] = value; });
  }
  Answer delete_model_tag(std::string_view name, std::string_view key) override {
    return on_model("delete_model_tag", name, [&](FakeModel& m) { m.tags.erase(std::string(key)); });
  }
  Answer set_alias(std::string_view name, std::string_view alias, std::string_view number) override {
    return write("set_alias", [&] {
      if (version(name, number) == nullptr) return gone();
      model(name)->aliases[std::string(alias)] = number;
      return Answer();
    });
  }
  Answer delete_alias(std::string_view name, std::string_view alias) override {
    return on_model("delete_alias", name, [&](FakeModel& m) { m.aliases.erase(std::string(alias)); });
  }
  Answer version_by_alias(std::string_view name, std::string_view alias, mlflow::RemoteVersion* out,
                          bool* found) override {
    return exchange_("version_by_alias", [&] {
      *found = false;
      FakeModel* m = model(name);
      if (m == nullptr || m->aliases.count(std::string(alias)) == 0) return Answer();
      show(name, std::stoi(m->aliases[std::string(alias)]), out);
      *found = true;
      return Answer();
    });
  }
  Answer get_version(std::string_view name, std::string_view number, mlflow::RemoteVersion* out) override {
    return exchange_("get_version", [&] {
      if (version(name, number) == nullptr) return gone();
      show(name, std::stoi(std::string(number)), out);
      return Answer();
    });
  }
  Answer search_versions(mlflow::Page*, std::vector<mlflow::RemoteVersion>*) override { return gone(); }
  Answer find_version(std::string_view name, std::string_view uid, mlflow::RemoteVersion* out, bool* found) override {
    return exchange_("find_version", [&] {
      *found = false;
      std::erase_if(m_->late, [&](const auto& late) {
        return late.first <= base::steady_ms() && create(late.second, out).verdict == Verdict::ok;
      });
      FakeModel* m = model(name);
      if (m == nullptr) return Answer();
      for (const auto& [n, v] : m->versions) {
        const auto tag = v.tags.find("mlops.uid");
        if (tag == v.tags.end() || tag->second != uid) continue;
        show(name, n, out);
        *found = true;
        break;
      }
      return Answer();
    });
  }
  Answer latest_versions(std::string_view, std::string_view, std::vector<mlflow::RemoteVersion>*) override {
    return gone();
  }
  Answer create_version(const mlflow::NewVersion& v, mlflow::RemoteVersion* out) override {
    return write("create_version", [&] {
      if (v.name == m_->sick) return say(Verdict::ambiguous, StatusCode::unavailable, m_->sick_status, "sick");
      if (m_->commits_after_ms == 0) return create(v, out);
      m_->late.emplace_back(base::steady_ms() + std::exchange(m_->commits_after_ms, 0), v);
      return say(Verdict::ambiguous, StatusCode::unavailable, 0, "connection reset");
    });
  }
  Answer update_version(std::string_view name, std::string_view number, std::string_view description) override {
    return on_version("update_version", name, number, [&](FakeVersion& v) { v.description = description; });
  }
  Answer delete_version(std::string_view name, std::string_view number) override {
    return write("delete_version", [&] {
      if (version(name, number) == nullptr) return gone();
      model(name)->versions.erase(std::stoi(std::string(number)));
      return Answer();
    });
  }
  Answer set_version_tag(std::string_view name, std::string_view number, std::string_view key,
                         std::string_view value) override {
    return on_version("set_version_tag", name, number, [&](FakeVersion& v) { v.tags[std::string(key)] = value; });
  }
  Answer delete_version_tag(std::string_view name, std::string_view number, std::string_view key) override {
    return on_version("delete_version_tag", name, number, [&](FakeVersion& v) { v.tags.erase(std::string(key)); });
  }
  Answer set_stage(std::string_view name, std::string_view number, std::string_view stage, bool) override {
    return on_version("set_stage", name, number, [&](FakeVersion& v) { v.stage = stage; });
  }
  Answer download_uri(std::string_view, std::string_view, std::string*) override { return gone(); }

 private:
  Answer create(const mlflow::NewVersion& v, mlflow::RemoteVersion* out) {
    FakeModel* m = model(v.name);
    if (m == nullptr) return gone();
    const int n = ++m->newest;
    FakeVersion& made = m->versions[n];
    made.source = v.source;
    made.run_id = v.run_id;
    made.model_id = v.model_id;
    made.description = v.description;
    for (const auto& [key, value] : v.tags) made.tags[key] = value;
    show(v.name, n, out);
    return Answer();
  }
  static Answer say(Verdict verdict, StatusCode code, int http, std::string words) {
    Answer a;
    a.verdict = verdict;
    a.http_status = http;
    a.status = Status(code, std::move(words));
    return a;
  }
  static Answer gone() { return say(Verdict::run_gone, StatusCode::not_found, 404, "RESOURCE_DOES_NOT_EXIST"); }
  FakeModel* model(std::string_view name) {
    const auto it = m_->all.find(std::string(name));
    return it == m_->all.end() ? nullptr : &it->second;
  }
  FakeVersion* version(std::string_view name, std::string_view number) {
    FakeModel* m = model(name);
    if (m == nullptr) return nullptr;
    const auto it = m->versions.find(std::stoi(std::string(number)));
    return it == m->versions.end() ? nullptr : &it->second;
  }
  void show(std::string_view name, int n, mlflow::RemoteVersion* out) {
    const FakeVersion& v = model(name)->versions[n];
    *out = {};
    out->name = name;
    out->version = std::to_string(n);
    out->source = v.source;
    out->run_id = v.run_id;
    out->description = v.description;
    out->tags.assign(v.tags.begin(), v.tags.end());
  }
  template <typename Do>
  Answer write(const char* what, Do&& run) {
    return exchange_(what, [&]() -> Answer {
      if (m_->forbidden) return say(Verdict::auth, StatusCode::permission_denied, 403, "Permission denied");
      Answer answer = run();
      if (const auto other = m_->after.extract(what); !other.empty()) other.mapped()();
      return answer;
    });
  }
  template <typename Do>
  Answer on_model(const char* what, std::string_view name, Do&& change) {
    return write(what, [&] {
      FakeModel* m = model(name);
      if (m == nullptr) return gone();
      change(*m);
      return Answer();
    });
  }
  template <typename Do>
  Answer on_version(const char* what, std::string_view name, std::string_view number, Do&& change) {
    return write(what, [&] {
      FakeVersion* v = version(name, number);
      if (v == nullptr) return gone();
      change(*v);
      return Answer();
    });
  }

  FakeModels* m_;
  Exchange exchange_;
};

}  // namespace mlops::sync::fake
