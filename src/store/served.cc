// Served: a place that only the tracking server can reach. It lists and reads it for us; where it hands out presigned
// URLs (MLflow 3.12 and later, S3), files are put, too.
#include <utility>

#include "store/answer.h"
#include "store/json.h"
#include "store/kinds.h"
#include "store/through.h"

namespace mlops::store {
namespace {

constexpr int kUrlSeconds = 3'600;

class Served final : public Through {
 public:
  Served(std::unique_ptr<http::Connection> connection, const Place& place, std::string why_not)
      : Through(std::move(connection)), run_id_(place.run_id), model_id_(place.model_id), why_not_(std::move(why_not)) {
    const bool old =
        place.abilities.major > 0 && std::pair(place.abilities.major, place.abilities.minor) < std::pair(3, 12);
    hands_out_ = !old && place.artifact_uri.compare(0, 3, "s3:") == 0;
  }

  Answer put(std::string_view path, const Body& body, const Progress& progress) override {
    if (Status s = check_mlflow_path(path); !s.ok()) return refuse(s);
    if (!hands_out_) return nobody(path, {});
    http::Request ask;
    ask.method = http::Method::post;
    ask.path = "/api/2.0/mlflow/artifacts/presigned-upload-url";
    ask.body = write_presign(run_id_, model_id_, path, kUrlSeconds);
    ask.headers = {{"Content-Type", "application/json"}};
    const http::Response response = wire_.send(ask);
    Answer answer = of_mlflow(response, path);
    PartUrl url;
    std::int64_t size = 0;
    if (answer.verdict == Verdict::unsupported || answer.verdict == Verdict::rejected ||
        (answer.ok() && !read_presigned(response.body, &url, &size))) {
      hands_out_ = false;
      return nobody(path, answer);
    }
    if (!answer.ok()) return answer;
    http::Request request;
    request.method = http::Method::put;
    request.elsewhere = http::Elsewhere{url.url, {}, {}, false};
    request.headers = url.headers;
    return of_presigned(wire_.upload_presigned(request, body, progress), path);
  }

  bool can_multipart(std::uint64_t) const override { return false; }
  Answer begin(std::string_view path, std::uint64_t, Upload*) override { return nobody(path, {}); }
  Answer put_part(std::string_view path, const Upload&, Part*, const Body&, const Progress&) override {
    return nobody(path, {});
  }
  Answer finish(std::string_view path, const Upload&) override { return nobody(path, {}); }
  Answer abort(std::string_view, const Upload&) override { return {}; }

 private:
  std::string list_request(std::string_view dir) const override {
    if (run_id_.empty())
      return "/api/2.0/mlflow/logged-models/" + http::escape(model_id_) +
             "/artifacts/directories?artifact_directory_path=" + http::escape(dir);
    return "/api/2.0/mlflow/artifacts/list?run_id=" + http::escape(run_id_) +
           (dir.empty() ? "" : "&path=" + http::escape(dir));
  }
  bool lists_names() const override { return false; }
  std::string file_request(std::string_view path) const override {
    if (run_id_.empty())
      return "/ajax-api/2.0/mlflow/logged-models/" + http::escape(model_id_) +
             "/artifacts/files?artifact_file_path=" + http::escape(path);
    return "/get-artifact?run_id=" + http::escape(run_id_) + "&path=" + http::escape(path);
  }

  Answer nobody(std::string_view path, const Answer& said) const {
    std::string words = std::string(path) + ": " + why_not_;
    if (!said.status.ok()) words += " (asked for a presigned URL, " + std::string(said.status.message()) + ")";
    return {Verdict::unsupported, Status(StatusCode::unimplemented, std::move(words)), -1, said.http_status};
  }

  const std::string run_id_, model_id_, why_not_;
  bool hands_out_ = false;
};

}  // namespace

Result<std::unique_ptr<Store>> open_served(const Place& place, std::string why_not) {
  auto connection = http::Connection::create(place.tracking_uri, place.credentials);
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<Store>(std::make_unique<Served>(std::move(*connection), place, std::move(why_not)));
}

}  // namespace mlops::store
