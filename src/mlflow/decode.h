// Decode: what a server answered, read without trusting it: any bytes are fine, missing fields are said. Private to
// mlflow.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "http/http.h"
#include "mlflow/classify.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {

struct Reply {
  Form form = Form::empty;
  std::string error_code, message;             // of an error body; message also holds plain text
  std::shared_ptr<const nlohmann::json> json;  // set when form is object
};

Reply read_reply(const http::Response& response);

// Each returns false when the reply is not of that shape.
bool read_text_field(const Reply& reply, const char* field, std::string* out);
std::optional<bool> read_flag(const Reply& reply, const char* field);  // unset: not there
bool read_experiment(const Reply& reply, std::string* id, bool* deleted);
bool read_run(const Reply& reply, RemoteRun* out);
bool read_runs(const Reply& reply, std::vector<RemoteRun>* out);  // none is well-formed
/// Appends the points of a page; `next` is the token of the next one, empty at the end.
bool read_metrics(const Reply& reply, std::vector<model::Point>* out, std::string* next);

}  // namespace mlops::mlflow
