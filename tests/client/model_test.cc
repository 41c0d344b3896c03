// Datasets and models as a program logs them: what is refused, and what lies in the buffer and in MLflow's own words.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/base.h"
#include "base/file.h"
#include "client/model_dir.h"
#include "client/support.h"

namespace mlops::test {
namespace {

std::string write(const TempDir& dir, const std::string& name, const std::string& bytes) {
  std::ofstream(dir / name, std::ios::binary) << bytes;
  return dir / name;
}

TEST(Schema, AsMlflowWritesIt) {
  Schema columns;
  columns.column<double>("x").column<std::int64_t>("n", false).column<std::string>("who \"q\"").column<bool>("b");
  EXPECT_TRUE(columns.check().ok());
  EXPECT_EQ(columns.dataset_json(), R"({"mlflow_colspec": [{"type": "double", "name": "x", "required": true}, )"
                                    R"({"type": "long", "name": "n", "required": false}, )"
                                    R"({"type": "string", "name": "who \"q\"", "required": true}, )"
                                    R"({"type": "boolean", "name": "b", "required": true}]})");
  Schema tensors;
  tensors.tensor<float>("image", {-1, 28, 28}).tensor("label", DataType::uint8, {-1});
  EXPECT_EQ(tensors.json(),
            R"([{"type": "tensor", "name": "image", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}}, )"
            R"({"type": "tensor", "name": "label", "tensor-spec": {"dtype": "uint8", "shape": [-1]}}])");
  EXPECT_NE(tensors.dataset_json().find(R"({"mlflow_tensorspec": {"features": "[{\"type\": \"tensor\")"),
            std::string::npos);
  EXPECT_EQ(Schema().column<std::uint8_t>("x").check().code(), StatusCode::invalid_argument);
  EXPECT_EQ(Schema().column<double>("").check().code(), StatusCode::invalid_argument);
  EXPECT_EQ(Schema().column<double>("x").tensor<float>("y", {1}).check().code(), StatusCode::invalid_argument);
  EXPECT_EQ(Schema().tensor<float>("y", {1}).column<double>("x").check().code(), StatusCode::invalid_argument);
}

TEST(Digest, ByTheFormulaThatIsDocumented) {
  TempDir dir;
  const std::string file = write(dir, "f", "hello");
  EXPECT_EQ(digest_of_file(file).value(), base::sha256_hex("hello").substr(0, 16));
  EXPECT_EQ(digest_of_file(dir / "none").status().code(), StatusCode::not_found);
  EXPECT_EQ(digest_of_file(dir.path()).status().code(), StatusCode::failed_precondition);
  const float x[] = {1.0F, 2.0F};
  std::uint64_t h = base::hash64("x", 0);
  h = base::hash64("float32", h);
  h = base::hash64({reinterpret_cast<const char*>(x), sizeof x}, h);
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(h));
  EXPECT_EQ(digest_of_columns({column("x", x, 2)}), hex);
  EXPECT_NE(digest_of_columns({column("y", x, 2)}), hex);
  EXPECT_EQ(columns_dataset("d", {column("x", x, 2), column("y", x, 1)}).status().code(), StatusCode::invalid_argument);
}

TEST(Dataset, LimitsAreCheckedBeforeThePromise) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("e").value();
  const auto code = [&](const std::function<void(Dataset*)>& change, std::string_view context = "training") {
    Dataset d;
    d.name = "digits";
    d.digest = "0123";
    change(&d);
    return run.log_input(d, context).code();
  };
  EXPECT_EQ(code([](Dataset*) {}), StatusCode::ok);
  EXPECT_EQ(code([](Dataset* d) { d->name.clear(); }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->name = std::string(501, 'n'); }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->digest = std::string(37, '0'); }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->digest.clear(); }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->source = std::string(65'536, '1'); }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->source = "{not json"; }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->schema = "\"" + std::string(1'048'574, 's') + "\""; }),
            StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset* d) { d->profile = "\"" + std::string(100'000, 'p') + "\""; }), StatusCode::ok);
  EXPECT_EQ(code([](Dataset* d) { d->tags = {{"k", std::string(501, 'v')}}; }), StatusCode::invalid_argument);
  EXPECT_EQ(code([](Dataset*) {}, std::string(501, 'c')), StatusCode::invalid_argument);
  ASSERT_TRUE(run.end().ok());
  EXPECT_EQ(code([](Dataset*) {}), StatusCode::failed_precondition);
  EXPECT_TRUE(client.close().ok());
}

TEST(Model, BadInputIsNamedAndPromisesNothing) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("e").value();
  const std::string file = write(dir, "m.onnx", "onnx");
  const auto code = [&](std::string_view name, const std::vector<ModelFile>& files, const ModelInfo& info = {}) {
    return run.log_model(name, files, info).status().code();
  };
  for (const char* name : {"", "a/b", "a:b", "a.b", "a%b", "a\"b", "a'b", "a\nb", " a"}) {
    EXPECT_EQ(code(name, {{file}}), StatusCode::invalid_argument) << name;
  }
  EXPECT_EQ(code("m", {}), StatusCode::invalid_argument);
  EXPECT_EQ(code("m", {{dir / "none"}}), StatusCode::not_found);
  EXPECT_EQ(code("m", {{dir.path(), "d"}}), StatusCode::failed_precondition);
  EXPECT_EQ(code("m", {{file, "../up"}}), StatusCode::invalid_argument);
  EXPECT_EQ(code("m", {{file, "x"}, {file, "x"}}), StatusCode::invalid_argument);
  EXPECT_EQ(code("m", {{file, "x"}, {file, "x-1"}, {file, "x/y"}}), StatusCode::invalid_argument);
  EXPECT_EQ(code("m", {{file, "MLmodel"}}), StatusCode::invalid_argument);
  EXPECT_EQ(code("m", {{file, "mlops-manifest.json"}}), StatusCode::invalid_argument);
  ModelInfo info;
  info.data = "other";
  EXPECT_EQ(code("m", {{file}}, info), StatusCode::invalid_argument);
  info = {};
  info.params.resize(101, {"k", "v"});
  EXPECT_EQ(code("m", {{file}}, info), StatusCode::invalid_argument);
  info = {};
  info.flavor = Flavor::onnx;
  EXPECT_EQ(code("m", {{file, "deep/m.onnx"}}, info), StatusCode::invalid_argument);
  info = {};
  info.step = -1;
  EXPECT_EQ(code("m", {{file}}, info), StatusCode::invalid_argument);
  info = {};
  info.input_example = "{";
  EXPECT_EQ(code("m", {{file}}, info), StatusCode::invalid_argument);
  info = {};
  info.tags = {{"k", std::string(8'000, 'v')}, {"l", std::string(8'000, 'v')}, {"m", std::string(8'000, 'v')},
               {"n", std::string(8'000, 'v')}, {"o", std::string(8'000, 'v')}, {"p", std::string(8'000, 'v')}};
  EXPECT_EQ(code("m", {{file}}, info), StatusCode::invalid_argument);
  EXPECT_EQ(LoggedModel().log_metric("m", 1).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.log_model_input(LoggedModel()).code(), StatusCode::failed_precondition);
  EXPECT_EQ(run.log_model_input("").code(), StatusCode::invalid_argument);

  const Result<LoggedModel> model = run.log_model("net v1", {{file}});
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  EXPECT_EQ(model->id().size(), 32u);
  EXPECT_EQ(model->name(), "net v1");
  EXPECT_EQ(model->run_id(), run.id());
  LoggedModel copy = *model;
  EXPECT_TRUE(copy.log_metric("acc", 0.5, 3).ok());
  EXPECT_EQ(copy.log_metric("bad#key", 0.5, 3).code(), StatusCode::invalid_argument);
  EXPECT_TRUE(run.log_model_input(copy).ok());
  EXPECT_EQ(copy.server_id().status().code(), StatusCode::failed_precondition);  // nothing delivers
  ASSERT_TRUE(run.end().ok());
  EXPECT_EQ(copy.log_metric("acc", 0.5, 4).code(), StatusCode::failed_precondition);
  EXPECT_TRUE(client.close().ok());
  const auto runs = settled_runs(dir / "root");
  ASSERT_EQ(runs.size(), 1u);
  ASSERT_EQ(settled_points(dir / "root"), 1u);  // the model's point is one of the run
}

TEST(Model, ThatIsOpenedIsReadAsItIs) {
  TempDir dir;
  Client client = Client::open(offline(dir / "root")).value();
  mlops::Run run = client.start_run("e").value();
  ModelInfo info;
  info.model_type = "net";
  info.params = {{"depth", "3"}};
  info.tags = {{"stage", "new"}, {"gone", "1"}};
  LoggedModel model = run.start_model("opened", info).value();
  EXPECT_EQ(run.start_model("a/b").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.logged_model("no id").status().code(), StatusCode::invalid_argument);
  EXPECT_EQ(LoggedModel().finalize().code(), StatusCode::failed_precondition);
  EXPECT_EQ(model.log_params({{"", "v"}}).code(), StatusCode::invalid_argument);
  EXPECT_EQ(model.set_tags({{"k", std::string(8'001, 'v')}}).code(), StatusCode::invalid_argument);
  EXPECT_EQ(run.log_model_output(model, -1).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(model.log_params({{"width", "4"}, {"depth", "9"}}).ok());  // depth is logged already: the first counts
  ASSERT_TRUE(model.set_tags({{"stage", "old"}}).ok());
  ASSERT_TRUE(run.logged_model(model.id()).value().delete_tag("gone").ok());
  ASSERT_TRUE(model.log_artifact(write(dir, "w.bin", "weights"), "deep").ok());
  std::filesystem::create_directory(dir / "folder");
  write(dir, "folder/x", "x");
  ASSERT_TRUE(model.log_artifacts(dir / "folder").ok());
  EXPECT_FALSE(model.log_artifact(dir / "none").ok());
  Dataset data;
  data.name = "digits";
  data.digest = "0123";
  ASSERT_TRUE(model.log_metric("acc", 0.5, 3, &data, 7'000).ok());
  ASSERT_TRUE(run.log_model_output(model, 3).ok());
  LoggedModel whole = run.log_model("whole", {{dir / "w.bin"}}).value();
  ASSERT_TRUE(run.start_model("removed").value().remove().ok());
  ASSERT_TRUE(client.flush(Level::buffered, Millis(10'000)).ok());
  const auto find = [&](std::string_view name) {
    const Reader reader = Reader::open(dir / "root").value();
    const std::vector<ModelSummary> all = reader.models().value();
    for (const ModelSummary& one : all) {
      if (one.name == name) return one;
    }
    ADD_FAILURE() << name;
    return ModelSummary();
  };
  EXPECT_EQ(find("opened").status, "PENDING");
  EXPECT_EQ(find("whole").status, "READY");
  EXPECT_TRUE(find("removed").deleted);
  ASSERT_TRUE(model.finalize().ok());
  ASSERT_TRUE(model.finalize(false).ok());  // the first one counts
  ASSERT_TRUE(run.end().ok());
  EXPECT_EQ(model.set_tags({{"k", "v"}}).code(), StatusCode::failed_precondition);
  EXPECT_TRUE(client.close().ok());
  const ModelSummary opened = find("opened");
  EXPECT_EQ(opened.id, model.id());
  EXPECT_EQ(opened.type, "net");
  EXPECT_EQ(opened.run_id, run.id());
  EXPECT_EQ(opened.experiment, "e");
  EXPECT_EQ(opened.status, "READY");
  EXPECT_EQ(opened.params, (Pairs{{"depth", "3"}, {"width", "4"}}));
  EXPECT_EQ(opened.tags, (Pairs{{"stage", "old"}}));
  ASSERT_EQ(opened.metrics.size(), 1u);
  EXPECT_EQ(opened.metrics[0].dataset, "digits");
  EXPECT_EQ(opened.metrics[0].time_ms, 7'000);
  std::vector<std::string> files;
  const Reader reader = Reader::open(dir / "root").value();
  const std::vector<ArtifactInfo> artifacts = reader.artifacts(run.id()).value();
  for (const ArtifactInfo& one : artifacts) {
    if (one.model_id == model.id()) files.push_back(one.path);
  }
  EXPECT_EQ(files, (std::vector<std::string>{"deep/w.bin", "x"}));
}

std::string bytes_of(const client::ModelDir& dir, const std::string& path) {
  for (const client::ModelEntry& entry : dir.entries) {
    if (entry.path == path) return entry.bytes;
  }
  return "absent";
}

TEST(ModelDir, SaysNothingThatAServerDecides) {
  TempDir dir;
  const std::string file = write(dir, "m.onnx", "onnx");
  ModelInfo info;
  info.flavor = Flavor::onnx;
  info.requirements = {"onnx==1.17.0", "onnxruntime"};
  info.inputs.tensor<float>("x", {-1, 2});
  info.metadata = {{"k", "v\x7f\xc2\x85\xef\xbf\xbf"}};
  base::Uid uid;
  uid.bytes.fill(0x11);
  const auto made = client::make_model_dir({{file}}, info, uid, 1'790'000'000'123);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  EXPECT_EQ(bytes_of(*made, "MLmodel"),
            R"(flavors:
  onnx:
    data: "m.onnx"
    onnx_version: "1.17.0"
    code: null
  python_function:
    loader_module: "mlflow.onnx"
    data: "m.onnx"
    env: {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    python_version: "3.11"
metadata:
  "k": "v\u007f\u0085\uffff"
model_size_bytes: )" +
                std::to_string(4 + bytes_of(*made, "requirements.txt").size() + bytes_of(*made, "conda.yaml").size() +
                               bytes_of(*made, "python_env.yaml").size()) +
                R"(
model_uuid: "11111111111111111111111111111111"
signature:
  inputs: "[{\"type\": \"tensor\", \"name\": \"x\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 2]}}]"
  outputs: null
  params: null
utc_time_created: "2026-09-21 14:13:20.123000"
)");
  EXPECT_EQ(bytes_of(*made, "requirements.txt"), "mlflow\nonnx==1.17.0\nonnxruntime\n");
  EXPECT_NE(bytes_of(*made, "mlops-manifest.json")
                .find("{\"path\": \"m.onnx\", \"size\": 4, \"sha256\": \"" + base::sha256_hex("onnx") + "\"}"),
            std::string::npos);
  EXPECT_EQ(made->entries.back().path, "mlops-manifest.json");
  EXPECT_NE(made->history.find("\"model_uuid\": \"11111111111111111111111111111111\""), std::string::npos);
}

TEST(ModelDir, AGenericModelNeedsNoPython) {
  TempDir dir;
  const std::string file = write(dir, "w.bin", "w");
  const auto made = client::make_model_dir({{file, "deep/w.bin"}}, {}, base::Uid::random(), 1);
  ASSERT_TRUE(made.ok());
  std::vector<std::string> paths;
  for (const auto& entry : made->entries) paths.push_back(entry.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"deep/w.bin", "MLmodel", "mlops-manifest.json"}));
  ModelInfo torch;
  torch.flavor = Flavor::torchscript;
  const auto script = client::make_model_dir({{file}}, torch, base::Uid::random(), 1);
  ASSERT_TRUE(script.ok());
  EXPECT_EQ(script->entries.front().path, "data/model.pth");
  EXPECT_EQ(bytes_of(*script, "data/pickle_module_info.txt"), "mlflow.pytorch.pickle_module");
}

}  // namespace
}  // namespace mlops::test
