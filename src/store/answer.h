// Answers: what an exchange with each kind of store means. The tables; docs/protocol.md shows them in words. Private to
// store.
#pragma once

#include <string>
#include <string_view>

#include "http/http.h"
#include "store/store.h"

namespace mlops::store {

Answer good(const http::Response& response);
Answer make(Verdict verdict, StatusCode code, std::string words, const http::Response& response = {});

/// Of MLflow's server. `what` names the object in messages.
Answer of_mlflow(const http::Response& response, std::string_view what);
/// Of an S3 server asked with our keys.
Answer of_s3(const http::Response& response, std::string_view what);
/// Of whoever stands behind a presigned URL: what is wrong with its signature or its upload is `expired`.
Answer of_presigned(const http::Response& response, std::string_view what);
/// A bad path, before anything is asked.
Answer refuse(const Status& status);

}  // namespace mlops::store
