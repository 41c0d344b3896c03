// Models over a connection. What differs from the rest of MLflow: ids stand in the path and once more in the body, and
// the endpoints are absent before 3.0 and on some managed servers (HTML or empty 404).
#include "mlflow/models.h"

#include <algorithm>

#include "mlflow/exchange.h"
#include "mlflow/models_json.h"

namespace mlops::mlflow {
namespace {

using http::Method;

class ModelsApi final : public Models {
 public:
  explicit ModelsApi(Exchange* exchange) : x_(exchange) {}

  Answer run_links(std::string_view run_id, RunLinks* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object, std::string(kPrefix) + "runs/get?run_id=" + http::escape(run_id), &reply);
    if (answer.verdict == Verdict::ok && !read_links(reply, out)) return unexpected(answer, "run");
    return answer;
  }

  Answer log_dataset(std::string_view run_id, const DatasetInput& input) override {
    return change_if_there("runs/log-inputs", encode_log_dataset(run_id, input));
  }

  Answer log_model_input(std::string_view run_id, std::string_view model_id) override {
    return change_if_there("runs/log-inputs", encode_log_model_input(run_id, model_id));
  }

  Answer log_model_output(std::string_view run_id, std::string_view model_id, std::int64_t step) override {
    return change_if_there("runs/outputs", encode_log_model_output(run_id, model_id, step));
  }

  Answer find_logged_model(std::string_view experiment_id, std::string_view uid, RemoteLoggedModel* out,
                           bool* found) override {
    *found = false;
    Reply reply;
    std::vector<RemoteLoggedModel> models;
    const std::string filter = "tags.`mlops.uid` = '" + std::string(uid) + "'";
    Answer answer =
        x_->post(Expect::optional, "logged-models/search", encode_find_logged_model(experiment_id, filter), &reply);
    if (answer.verdict != Verdict::ok) return answer;
    if (!read_logged_models(reply, &models)) return unexpected(answer, "list of models");
    const auto least = std::min_element(models.begin(), models.end(),
                                        [](const auto& a, const auto& b) { return a.model_id < b.model_id; });
    if (least == models.end()) return answer;
    *out = *least;
    *found = true;
    return answer;
  }

  Answer create_logged_model(const NewLoggedModel& model, RemoteLoggedModel* out) override {
    Reply reply;
    Answer answer = x_->post(Expect::optional, "logged-models", encode_new_logged_model(model), &reply, true);
    if (answer.verdict == Verdict::ok && !read_logged_model(reply, out)) return unexpected(answer, "model");
    return answer;
  }

  Answer finalize_logged_model(std::string_view model_id, bool ready) override {
    Reply reply;
    return x_->send(Method::patch, Expect::done, endpoint(model_id).c_str(),
                    encode_finalize(model_id, ready ? "LOGGED_MODEL_READY" : "LOGGED_MODEL_UPLOAD_FAILED"), &reply);
  }

  Answer get_logged_model(std::string_view model_id, RemoteLoggedModel* out) override {
    Reply reply;
    Answer answer = x_->get(Expect::object, kPrefix + endpoint(model_id), &reply);
    if (answer.verdict == Verdict::ok && !read_logged_model(reply, out)) return unexpected(answer, "model");
    return answer;
  }

  Answer log_model_params(std::string_view model_id, const Pairs& params) override {
    return x_->change(endpoint(model_id, "/params").c_str(), encode_model_pairs(model_id, "params", params));
  }

  Answer set_model_tags(std::string_view model_id, const Pairs& tags) override {
    Reply reply;
    return x_->send(Method::patch, Expect::done, endpoint(model_id, "/tags").c_str(),
                    encode_model_pairs(model_id, "tags", tags), &reply);
  }

  Answer delete_model_tag(std::string_view model_id, std::string_view key) override {
    Reply reply;
    return x_->send(Method::del, Expect::done, endpoint(model_id, "/tags/" + http::escape(key)).c_str(), "", &reply);
  }

  Answer delete_logged_model(std::string_view model_id) override {
    Reply reply;
    return x_->send(Method::del, Expect::done, endpoint(model_id).c_str(), "", &reply);
  }

  Answer log_model_metrics(std::string_view run_id, const std::vector<ModelPoint>& points) override {
    return x_->change("runs/log-batch", encode_model_metrics(run_id, points));
  }

  Answer record_model(std::string_view run_id, std::string_view artifact_path, std::string_view entry) override {
    return x_->change("runs/log-model", encode_record_model(run_id, artifact_path, entry));
  }

 private:
  static std::string endpoint(std::string_view model_id, const std::string& below = {}) {
    return "logged-models/" + http::escape(model_id) + below;
  }

  /// A mutation that older servers do not have. What answers `{}` is done; an empty good answer too.
  Answer change_if_there(const char* endpoint, std::string body) {
    Reply reply;
    Answer answer = x_->post(Expect::done, endpoint, std::move(body), &reply);
    const bool absent = (answer.http_status == 404 && reply.error_code.empty()) || answer.http_status == 405;
    if (!absent) return answer;
    answer.verdict = Verdict::unsupported;
    answer.status = Status(StatusCode::unimplemented, std::string(answer.status.message()));
    return answer;
  }

  Exchange* x_;
};

}  // namespace

std::unique_ptr<Models> models_over(Exchange* exchange) { return std::make_unique<ModelsApi>(exchange); }

}  // namespace mlops::mlflow
