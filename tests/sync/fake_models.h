// Datasets, inputs, outputs and logged models in memory, with MLflow's rules: a create makes a new model every time, an
// output twice is refused, log-model appends every time, a dataset's second tags are ignored. Each call goes through an
// exchange that may lose it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mlflow/models.h"

namespace mlops::sync::fake {

struct FakeLoggedModel {
  std::string id, experiment, name, type, run, uid, status = "LOGGED_MODEL_PENDING";
  Pairs params, tags;
  std::set<std::string> points;
  bool deleted = false;
};

struct FakeRunLinks {
  std::map<std::pair<std::string, std::string>, mlflow::DatasetInput> datasets;
  std::set<std::string> inputs;
  std::map<std::string, std::int64_t> outputs;
  std::vector<std::pair<std::string, std::string>> recorded;  // path, entry
};

struct FakeLogged {
  bool has_models = true;
  std::string refused_name;                    // no model of this name is made
  std::map<std::string, FakeLoggedModel> all;  // by id
  std::map<std::string, FakeRunLinks> runs;

  std::string name_of(const std::string& id) const {
    const auto it = all.find(id);
    return it == all.end() ? id : it->second.uid;
  }
  std::string dump() const {
    std::map<std::string, std::string> by_uid;
    for (const auto& [id, m] : all) {
      std::string text = m.uid + " " + m.name + " " + m.type + " " + m.status + (m.deleted ? " deleted\n" : "\n");
      for (const auto& [k, v] : m.params) text += "    param " + k + "=" + v + "\n";
      for (const auto& [k, v] : m.tags) text += "    tag " + k + "=" + v + "\n";
      for (const std::string& p : m.points) text += "    point " + p + "\n";
      by_uid[m.uid] += text;  // two of one uid would show
    }
    std::string out;
    for (const auto& [uid, text] : by_uid) out += "logged model " + text;
    for (const auto& [run, links] : runs) {
      for (const auto& [key, d] : links.datasets) {
        out += "dataset " + d.name + " " + d.digest + " " + d.source + " " + d.schema.substr(0, 40) +
               std::to_string(d.profile.size());
        for (const auto& [k, v] : d.tags) out += " " + k + "=" + v;
        out += "\n";
      }
      for (const std::string& id : links.inputs) out += "model input " + name_of(id) + "\n";
      for (const auto& [id, step] : links.outputs) out += "output " + name_of(id) + " " + std::to_string(step) + "\n";
      for (const auto& [path, entry] : links.recorded) out += "recorded " + path + " " + entry + "\n";
    }
    return out;
  }
};

class FakeModelsApi final : public mlflow::Models {
 public:
  using Answer = mlflow::Answer;
  using Verdict = mlflow::Verdict;
  using Exchange = std::function<Answer(const char* what, const std::function<Answer()>& run)>;
  /// A point into the run's own metrics: duplicate or ok.
  using Insert = std::function<Answer(std::string_view run_id, const std::vector<mlflow::MetricPoint>& points)>;
  FakeModelsApi(FakeLogged* logged, Exchange exchange, Insert insert)
      : l_(logged), exchange_(std::move(exchange)), insert_(std::move(insert)) {}

  Answer run_links(std::string_view run_id, mlflow::RunLinks* out) override {
    return exchange_("run_links", [&] {
      *out = {};
      out->artifact_uri = "fake:/" + std::string(run_id) + "/artifacts";
      for (const auto& [key, d] : links(run_id).datasets) out->datasets.push_back(key);
      for (const std::string& id : links(run_id).inputs) out->inputs.push_back(id);
      for (const auto& output : links(run_id).outputs) out->outputs.push_back(output);
      for (const auto& [path, entry] : links(run_id).recorded) out->recorded.push_back(uid_in(entry));
      return Answer();
    });
  }
  Answer log_dataset(std::string_view run_id, const mlflow::DatasetInput& input) override {
    return exchange_("log_dataset", [&] {
      links(run_id).datasets.emplace(std::make_pair(input.name, input.digest), input);
      return Answer();
    });
  }
  Answer log_model_input(std::string_view run_id, std::string_view model_id) override {
    return exchange_("log_model_input", [&] {
      if (!l_->has_models) return absent();
      links(run_id).inputs.insert(std::string(model_id));
      return Answer();
    });
  }
  Answer log_model_output(std::string_view run_id, std::string_view model_id, std::int64_t step) override {
    return exchange_("log_model_output", [&] {
      if (!l_->has_models) return absent();
      return links(run_id).outputs.emplace(std::string(model_id), step).second ? Answer() : there();
    });
  }
  Answer find_logged_model(std::string_view experiment_id, std::string_view uid, mlflow::RemoteLoggedModel* out,
                           bool* found) override {
    return exchange_("find_logged_model", [&] {
      *found = false;
      if (!l_->has_models) return absent();
      for (const auto& [id, m] : l_->all) {
        if (m.experiment != experiment_id || m.uid != uid || *found) continue;
        *out = {m.id, m.name, "fake:/models/" + m.id, m.status, m.params};
        *found = true;
      }
      return Answer();
    });
  }
  Answer create_logged_model(const mlflow::NewLoggedModel& model, mlflow::RemoteLoggedModel* out) override {
    return exchange_("create_logged_model", [&] {
      if (!l_->has_models) return absent();
      if (model.name == l_->refused_name) {
        Answer no;
        no.verdict = Verdict::rejected;
        no.http_status = 400;
        no.status = Status(StatusCode::invalid_argument, "no such names here");
        return no;
      }
      FakeLoggedModel m;
      m.id = "m-" + std::to_string(l_->all.size() + 1);
      m.experiment = model.experiment_id;
      m.name = model.name;
      m.type = model.type;
      m.run = model.run_id;
      m.params = model.params;
      for (const auto& [key, value] : model.tags) {
        if (key == "mlops.uid") m.uid = value;
        m.tags.emplace_back(key, value);
      }
      *out = {m.id, m.name, "fake:/models/" + m.id, m.status, m.params};
      l_->all[m.id] = m;
      return Answer();
    });
  }
  Answer finalize_logged_model(std::string_view model_id, bool ready) override {
    return exchange_("finalize_logged_model", [&] {
      l_->all.at(std::string(model_id)).status = ready ? "LOGGED_MODEL_READY" : "LOGGED_MODEL_UPLOAD_FAILED";
      return Answer();
    });
  }
  Answer get_logged_model(std::string_view model_id, mlflow::RemoteLoggedModel* out) override {
    return on_model("get_logged_model", model_id, [&](FakeLoggedModel* m) {
      *out = {m->id, m->name, "fake:/models/" + m->id, m->status, m->params};
      return Answer();
    });
  }
  Answer log_model_params(std::string_view model_id, const Pairs& params) override {
    return on_model("log_model_params", model_id, [&](FakeLoggedModel* m) {
      for (const auto& param : params) {
        for (const auto& have : m->params) {
          if (have.first == param.first) return there();
        }
      }
      m->params.insert(m->params.end(), params.begin(), params.end());
      return Answer();
    });
  }
  Answer set_model_tags(std::string_view model_id, const Pairs& tags) override {
    return on_model("set_model_tags", model_id, [&](FakeLoggedModel* m) {
      for (const auto& tag : tags) {
        std::erase_if(m->tags, [&](const auto& have) { return have.first == tag.first; });
        m->tags.push_back(tag);
      }
      return Answer();
    });
  }
  Answer delete_model_tag(std::string_view model_id, std::string_view key) override {
    return on_model("delete_model_tag", model_id, [&](FakeLoggedModel* m) {
      return std::erase_if(m->tags, [&](const auto& have) { return have.first == key; }) > 0 ? Answer() : gone();
    });
  }
  Answer delete_logged_model(std::string_view model_id) override {
    return on_model("delete_logged_model", model_id, [&](FakeLoggedModel* m) {
      m->deleted = true;
      return Answer();
    });
  }
  Answer log_model_metrics(std::string_view run_id, const std::vector<mlflow::ModelPoint>& points) override {
    return exchange_("log_model_metrics", [&] {
      std::vector<mlflow::MetricPoint> plain;
      for (const mlflow::ModelPoint& p : points) plain.push_back({p.key, p.point});
      Answer done = insert_(run_id, plain);
      if (done.verdict != Verdict::ok) return done;
      for (const mlflow::ModelPoint& p : points) {
        l_->all.at(std::string(p.model_id))
            .points.insert(std::string(p.key) + " " + std::to_string(p.point.step) + " " +
                           std::to_string(p.point.time_ms) + " " + std::to_string(p.point.value) + " " +
                           std::string(p.dataset_name) + " " + std::string(p.dataset_digest));
      }
      return Answer();
    });
  }
  Answer record_model(std::string_view run_id, std::string_view artifact_path, std::string_view entry) override {
    return exchange_("record_model", [&] {
      links(run_id).recorded.emplace_back(artifact_path, entry);
      return Answer();
    });
  }

 private:
  FakeRunLinks& links(std::string_view run_id) { return l_->runs[std::string(run_id)]; }
  static std::string uid_in(const std::string& entry) {
    const std::size_t at = entry.find("\"model_uuid\": \"");
    return at == std::string::npos ? std::string() : entry.substr(at + 15, 32);
  }
  Answer on_model(const char* what, std::string_view id, const std::function<Answer(FakeLoggedModel*)>& then) {
    return exchange_(what, [&] {
      if (!l_->has_models) return absent();
      const auto model = l_->all.find(std::string(id));
      return model == l_->all.end() || model->second.deleted ? gone() : then(&model->second);
    });
  }
  static Answer gone() {
    Answer a;
    a.verdict = Verdict::run_gone;
    a.http_status = 404;
    a.status = Status(StatusCode::not_found, "there is none");
    return a;
  }
  static Answer absent() {
    Answer a;
    a.verdict = Verdict::unsupported;
    a.http_status = 404;
    a.status = Status(StatusCode::unimplemented, "no such endpoint");
    return a;
  }
  static Answer there() {
    Answer a;
    a.verdict = Verdict::duplicate;
    a.http_status = 400;
    a.status = Status(StatusCode::already_exists, "UNIQUE constraint failed: inputs");
    return a;
  }
  FakeLogged* l_;
  Exchange exchange_;
  Insert insert_;
};

}  // namespace mlops::sync::fake
