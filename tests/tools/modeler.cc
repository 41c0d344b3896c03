// modeler: a program on the public API that logs datasets and models.
//
//   modeler ROOT MODELS EXPERIMENT [URI]
// MODELS: a folder with model.onnx, model.ubj (XGBoost) and model.txt (LightGBM). Prints the run's id, then one line
// per model: its name and our id. With a URI it delivers, and waits for that. Exit status 1 when a call fails.
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "mlops/mlops.h"

namespace {

int failed = 0;

void want(const char* what, const mlops::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what, status.to_string().c_str());
  failed = 1;
}

mlops::ModelInfo table_model(mlops::Flavor flavor, const char* type) {
  mlops::ModelInfo info;
  info.flavor = flavor;
  info.model_type = type;
  for (const char* name : {"c0", "c1", "c2", "c3"}) info.inputs.column<double>(name);
  info.outputs.tensor<float>("", {-1});
  info.input_example = R"({"columns": ["c0", "c1", "c2", "c3"], "data": [[0.5, -1.0, 2.0, 0.25]]})";
  return info;
}

void log_datasets(mlops::Run& run, const std::string& folder) {
  const double x[] = {0.5, 1.5, 2.5};
  const std::int32_t y[] = {1, 0, 1};
  auto train = mlops::columns_dataset("train set", {mlops::column("x", x, 3), mlops::column("y", y, 3)});
  want("columns_dataset", train.status());
  if (train.ok()) want("log_input", run.log_input(*train, "training"));
  auto file = mlops::file_dataset("onnx file", folder + "/model.onnx");
  want("file_dataset", file.status());
  if (file.ok()) want("log_input", run.log_input(*file, "eval"));
  mlops::Dataset wide;  // more than a record takes
  wide.name = "wide — ümläut";
  wide.digest = "0123456789abcdef0123456789abcdef0123";
  wide.source_type = "http";
  wide.source = R"({"url": "http://example.invalid/)" + std::string(60'000, 'u') + "\"}";
  mlops::Schema columns;
  for (int i = 0; i < 10'000; ++i) columns.column<double>("column_" + std::to_string(i));
  wide.schema = columns.dataset_json();
  wide.profile = R"({"note": ")" + std::string(300'000, 'p') + "\"}";
  wide.tags = {{"shard", "7"}};
  want("log_input", run.log_input(wide, "test"));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string folder = argv[2];
  mlops::Options options;
  options.root = argv[1];
  if (argc > 4) options.tracking_uri = argv[4];
  auto client = mlops::Client::open(options);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().to_string().c_str());
    return 1;
  }
  auto started = client->start_run(argv[3]);
  if (!started.ok()) {
    std::fprintf(stderr, "%s\n", started.status().to_string().c_str());
    return 1;
  }
  mlops::Run& run = *started;
  std::printf("%s\n", run.id().c_str());
  log_datasets(run, folder);
  run.log_metric("loss", 0.25, 10).ignore();

  mlops::ModelInfo onnx;
  onnx.flavor = mlops::Flavor::onnx;
  onnx.model_type = "linear";
  onnx.step = 10;
  onnx.params = {{"depth", "2"}, {"units", "4"}};
  onnx.tags = {{"stage", "candidate"}, {"mlflow.note.content", "From *C++*"}};
  onnx.inputs.tensor<float>("x", {-1, 4});
  onnx.outputs.tensor<float>("y", {-1, 2});
  onnx.input_example = "[[0.5, -1.0, 2.0, 0.25]]";
  onnx.requirements = {"onnx==1.23.2", "onnxruntime==1.32.0"};
  onnx.metadata = {{"who: \"quoted\"", "tab\there, caf\xc3\xa9, del \x7f"}};
  auto linear = run.log_model("linear", {{folder + "/model.onnx"}}, onnx);
  want("log_model onnx", linear.status());

  auto boosted = run.log_model("boosted", {{folder + "/model.ubj"}}, table_model(mlops::Flavor::xgboost, "xgboost"));
  want("log_model xgboost", boosted.status());
  auto light = run.log_model("light", {{folder + "/model.txt"}, {folder + "/model.onnx", "deep/er/extra.bin"}},
                             table_model(mlops::Flavor::lightgbm, "lightgbm"));
  want("log_model lightgbm", light.status());
  auto engine = run.log_model("engine v1", {{folder + "/model.onnx", "weights/a b%+é.bin"}, {folder + "/model.txt"}});
  want("log_model cpp", engine.status());
  const auto missing = run.log_model("missing", {{folder + "/nothing"}});
  if (missing.ok() || missing.status().code() != mlops::StatusCode::not_found) failed = 1;

  if (linear.ok()) {
    auto train = mlops::file_dataset("onnx file", folder + "/model.onnx");
    want("model metric", linear->log_metric("accuracy", 0.75, 10, train.ok() ? &*train : nullptr));
    want("model metric", linear->log_metric("accuracy", 0.8125, 11));
    want("model metric", linear->log_metric("odd", std::numeric_limits<double>::quiet_NaN(), 11));
    want("model input", run.log_model_input(*linear));
  }
  for (auto* model : {&linear, &boosted, &light, &engine}) {
    if (model->ok()) std::printf("%s %s\n", (*model)->name().c_str(), (*model)->id().c_str());
  }
  want("end", run.end());
  if (argc > 4) want("flush", run.flush(mlops::Level::delivered, mlops::Millis(120'000)));
  want("close", client->close());
  return failed;
}
