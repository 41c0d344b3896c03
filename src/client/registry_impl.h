// Registry::Impl: what a Registry holds on to: the core that takes its writes, and one connection for its reads.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "client/core.h"
#include "mlflow/mlflow.h"
#include "mlflow/registry.h"
#include "mlops/registry.h"
#include "model/intent.h"

namespace mlops::client {
struct Session;
}

MLOPS_NAMESPACE_BEGIN

struct Pending::Impl {
  std::string id, root, destination;  // destination: whose word comes first
  base::Uid uid;
  client::Core* core = nullptr;  // that took it, if it was this process
};

struct Registry::Impl {
  std::shared_ptr<void> client;  // keeps the session alive; null: reads only
  client::Session* session = nullptr;
  std::string root, uri, destination;
  Credentials credentials;
  Millis deadline{30'000};

  std::mutex mutex;  // one call at a time over the connection
  std::unique_ptr<mlflow::Api> api;

  /// Runs `ask` with the connection, at most `deadline` long. What `ask` returns, or why there is no connection.
  Status with_server(const std::function<mlflow::Answer(mlflow::Api&)>& ask);
};

MLOPS_NAMESPACE_END

namespace mlops::client {

/// Over a client's session; `hold` keeps it.
::mlops::Registry registry_of(std::shared_ptr<void> hold, Session* session);
/// Appends the intent to the core's stream, once it is checked.
Result<Pending> accept(Core* core, model::Intent intent, const std::string& destination);
RegisteredModel public_model(mlflow::RemoteModel&& remote);
ModelVersion public_version(mlflow::RemoteVersion&& remote);

}  // namespace mlops::client
