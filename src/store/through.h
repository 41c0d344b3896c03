// Through: a store that MLflow's server reads for us: its lists, sizes and bytes. Private to store.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/store.h"
#include "store/wire.h"

namespace mlops::store {

class Through : public Store {
 public:
  Answer stat(std::string_view path, std::uint64_t* size) override;  // by the list of its folder
  Answer list(std::string_view dir, std::vector<Entry>* out) override;
  Answer get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
             const Progress& progress) override;
  void cancel() override { wire_.cancel(); }

 protected:
  /// Why a server that keeps folders can never take the file: rejected. Ok: nothing is known against it.
  Answer in_the_way(std::string_view path);
  /// `stranger`: host and port of a server that is not the tracking server and so gets none of its credentials.
  explicit Through(std::unique_ptr<http::Connection> connection, std::string stranger = {})
      : wire_(std::move(connection)), stranger_(std::move(stranger)) {}
  /// of_mlflow, and of a stranger who asks for credentials: why it gets none.
  Answer understand(const http::Response& response, std::string_view what) const;
  /// What is asked for a list, with a query; its paths are names in the folder, or as they are below the root.
  virtual std::string list_request(std::string_view dir) const = 0;
  virtual bool lists_names() const = 0;
  virtual std::string file_request(std::string_view path) const = 0;

  Wire wire_;

 private:
  const std::string stranger_;
};

}  // namespace mlops::store
