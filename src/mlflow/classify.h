// Classify: one table that says what an exchange with the server means. Private to mlflow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "http/http.h"
#include "mlflow/mlflow.h"

namespace mlops::mlflow {

/// What the caller expects of a good answer.
enum class Expect {
  object,    // a JSON object (reads, creates)
  done,      // a mutation: `{}`, but also nothing or "OK" from a server that answers so (Databricks)
  optional,  // an endpoint that older servers do not have
};

/// The body, as far as its form matters.
enum class Form { empty, object, json, html, text };

/// Meaning of an exchange. `error_code` and `message` are those of an MLflow error body, else empty.
Answer classify(Expect expect, const http::Response& response, Form form, std::string_view error_code,
                std::string_view message);

}  // namespace mlops::mlflow
