// Remote over mlflow::Api.
#include "sync/remote.h"

#include <utility>

namespace mlops::sync {
namespace {

using mlflow::Answer;

class RemoteApi : public Remote {
 public:
  explicit RemoteApi(std::unique_ptr<mlflow::Api> api) : api_(std::move(api)) {}

  Answer probe(mlflow::Server* out) override { return api_->probe(out); }
  Answer experiment_by_name(std::string_view name, std::string* id) override {
    return api_->experiment_by_name(name, id);
  }
  Answer create_experiment(const model::Op& spec, std::string* id) override {
    return api_->create_experiment(spec, id);
  }
  Answer find_run(std::string_view experiment_id, std::string_view uid, mlflow::RemoteRun* out, bool* found) override {
    return api_->find_run(experiment_id, uid, out, found);
  }
  Answer create_run(std::string_view experiment_id, const model::Op& start, const Pairs& tags,
                    std::string* run_id) override {
    return api_->create_run(experiment_id, start, tags, run_id);
  }
  Answer get_run(std::string_view run_id, mlflow::RemoteRun* out) override { return api_->get_run(run_id, out); }
  Answer log_metrics(std::string_view run_id, const mlflow::MetricPoint* points, std::size_t count,
                     std::string_view tag_key, std::string_view tag_value) override {
    return api_->log_metrics(run_id, points, count, tag_key, tag_value);
  }
  Answer log_params(std::string_view run_id, const Pairs& params) override { return api_->log_params(run_id, params); }
  Answer set_tags(std::string_view run_id, const Pairs& tags) override { return api_->set_tags(run_id, tags); }
  Answer delete_tag(std::string_view run_id, std::string_view key) override { return api_->delete_tag(run_id, key); }
  Answer update_run(std::string_view run_id, RunStatus status, std::int64_t end_ms, std::string_view name) override {
    return api_->update_run(run_id, status, end_ms, name);
  }
  Answer set_deleted(std::string_view run_id, bool deleted) override { return api_->set_deleted(run_id, deleted); }
  Answer metric_history(std::string_view run_id, std::string_view key, std::vector<model::Point>* out) override {
    return api_->metric_history(run_id, key, out);
  }
  mlflow::Registry& registry() override { return api_->registry(); }
  mlflow::Models& models() override { return api_->models(); }
  void cancel() override { api_->cancel(); }
  std::uint64_t bytes_sent() const override { return api_->bytes_sent(); }

 private:
  std::unique_ptr<mlflow::Api> api_;
};

}  // namespace

MakeRemote remote_to(std::string uri, Credentials credentials) {
  return [uri = std::move(uri), credentials = std::move(credentials)]() -> Result<std::unique_ptr<Remote>> {
    Result<std::unique_ptr<mlflow::Api>> api = mlflow::Api::connect(uri, credentials);
    if (!api.ok()) return api.status();
    return std::unique_ptr<Remote>(new RemoteApi(std::move(*api)));
  };
}

}  // namespace mlops::sync
