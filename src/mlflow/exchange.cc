#include "mlflow/exchange.h"

#include "base/base.h"

namespace mlops::mlflow {

Answer unexpected(const Answer& from, const char* missing) {
  Answer answer = from;
  answer.verdict = Verdict::ambiguous;
  answer.status = Status(StatusCode::unavailable,
                         "HTTP " + std::to_string(from.http_status) + ": the answer has no " + missing +
                             ": not MLflow's, or cut on the way. Check what stands behind the tracking URI");
  return answer;
}

bool quote(std::string_view text, std::string* out) {
  const char mark = text.find('\'') == text.npos ? '\'' : '"';
  if (text.find(mark) != text.npos || text.find('\\') != text.npos) return false;
  *out = mark + std::string(text) + mark;
  return true;
}

Answer Exchange::call(Expect expect, http::Request request, Reply* reply) {
  if (request.method != http::Method::get) request.headers.emplace_back("Content-Type", "application/json");
  MLOPS_POINT("mlflow.request");
  const http::Response response = connection->send(request);
  MLOPS_POINT("mlflow.answered");
  requests.fetch_add(1, std::memory_order_relaxed);
  *reply = read_reply(response);
  return classify(expect, response, reply->form, reply->error_code, reply->message);
}

Answer Exchange::get(Expect expect, std::string path, Reply* reply) {
  http::Request request;
  request.path = std::move(path);
  return call(expect, std::move(request), reply);
}

Answer Exchange::send(http::Method method, Expect expect, const char* endpoint, std::string text, Reply* reply,
                      bool fresh) {
  http::Request request;
  request.method = method;
  request.path = std::string(kPrefix) + endpoint;
  request.body = std::move(text);
  request.fresh = fresh;
  return call(expect, std::move(request), reply);
}

}  // namespace mlops::mlflow
