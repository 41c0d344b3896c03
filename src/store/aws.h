// Aws: keys, region and endpoint as AWS's own tools find them: environment, then the shared files. Private to store.
#pragma once

#include <string>

#include "http/http.h"
#include "mlops/status.h"

namespace mlops::store {

struct Aws {
  http::AwsKeys keys;        // service "s3"; key_id empty: none found
  std::string endpoint;      // scheme://host[:port], empty: AWS's own
  bool virtual_host = true;  // the bucket as part of the host name
  std::string ca_file;
  bool insecure_tls = false;
  bool has_keys() const { return !keys.key_id.empty(); }
};

/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, else ~/.aws/credentials (AWS_SHARED_CREDENTIALS_FILE)
/// of AWS_PROFILE; AWS_REGION, AWS_DEFAULT_REGION, else ~/.aws/config, else us-east-1; MLFLOW_S3_ENDPOINT_URL,
/// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE; AWS_CA_BUNDLE; MLFLOW_S3_IGNORE_TLS.
/// invalid_argument: an endpoint that is no URL, half a pair of keys.
Result<Aws> read_aws(const http::Env& env);

/// AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE.
std::string ca_bundle(const http::Env& env);
/// Where a bucket is: the URL in front of "/key".
std::string bucket_url(const Aws& aws, const std::string& bucket);

}  // namespace mlops::store
