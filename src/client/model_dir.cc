#include "client/model_dir.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <set>
#include <string_view>

#include "base/base.h"
#include "base/file.h"
#include "client/json_text.h"
#include "client/model_files.h"
#include "model/artifact.h"
#include "model/limits.h"
#include "model/logged_model.h"

namespace mlops::client {
namespace {

constexpr const char* kMlModel = "MLmodel";
constexpr const char* kExample = "input_example.json";
constexpr const char* kTorchData = "data/model.pth";

using Fields = std::vector<std::pair<std::string, std::string>>;  // name, JSON

struct FlavorPlan {
  std::vector<std::pair<std::string, Fields>> flavors;
  std::vector<std::string> packages;  // empty: nothing of it is Python
};

Status bad(std::string what) { return Status(StatusCode::invalid_argument, std::move(what)); }

/// As a JSON string that is a YAML one, too: YAML's readers refuse control characters beyond ASCII, and DEL.
std::string yaml_string(std::string_view text) {
  const std::string json = json_string(text);
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const auto byte = static_cast<unsigned char>(json[i]);
    char escaped[8] = "";
    if (byte == 0x7F) {
      std::snprintf(escaped, sizeof escaped, "\\u007f");
    } else if (byte == 0xC2 && i + 1 < json.size() && static_cast<unsigned char>(json[i + 1]) < 0xA0) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(json[++i]));
    } else if (byte == 0xEF && json.compare(i, 2, "\xEF\xBF") == 0 && i + 2 < json.size() &&
               static_cast<unsigned char>(json[i + 2]) >= 0xBE) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", 0xFFC0 + (static_cast<unsigned char>(json[i + 2]) & 0x3F));
      i += 2;
    }
    if (escaped[0] != '\0') {
      out += escaped;
    } else {
      out += json[i];
    }
  }
  return out;
}

std::string name_in(const std::string& file) { return file.substr(file.rfind('/') + 1); }

std::string ending(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(dot + 1);
}

/// The version in "package==1.2", JSON; null when the requirements do not say.
std::string version_of(const std::vector<std::string>& requirements, std::initializer_list<const char*> names) {
  for (const std::string& line : requirements) {
    for (const char* name : names) {
      const std::string start = std::string(name) + "==";
      if (line.compare(0, start.size(), start) == 0) return yaml_string(line.substr(start.size()));
    }
  }
  return "null";
}

FlavorPlan plan(const ModelInfo& info, const std::string& data) {
  FlavorPlan out;
  const std::string where = yaml_string(data);
  Fields python = {{"loader_module", ""},
                   {"data", where},
                   {"env", "{\"conda\": \"conda.yaml\", \"virtualenv\": \"python_env.yaml\"}"},
                   {"python_version", yaml_string(info.python)}};
  const auto with_python = [&](const char* flavor, Fields fields, std::vector<std::string> packages) {
    python[0].second = yaml_string(std::string("mlflow.") + flavor);
    out.flavors = {{flavor, std::move(fields)}, {"python_function", python}};
    out.packages = std::move(packages);
  };
  switch (info.flavor) {
    case Flavor::cpp:
      out.flavors = {{"cpp", {{"data", where}}}};
      break;
    case Flavor::onnx:
      with_python("onnx",
                  {{"data", where}, {"onnx_version", version_of(info.requirements, {"onnx"})}, {"code", "null"}},
                  {"mlflow", "onnx", "onnxruntime"});
      break;
    case Flavor::xgboost:
      with_python("xgboost",
                  {{"data", where},
                   {"model_class", "\"xgboost.core.Booster\""},
                   {"model_format", yaml_string(ending(data))},
                   {"xgb_version", version_of(info.requirements, {"xgboost", "xgboost-cpu"})},
                   {"code", "null"}},
                  {"mlflow", "xgboost"});
      break;
    case Flavor::lightgbm:
      with_python("lightgbm",
                  {{"data", where},
                   {"model_class", "\"lightgbm.basic.Booster\""},
                   {"lgb_version", version_of(info.requirements, {"lightgbm"})},
                   {"code", "null"}},
                  {"mlflow", "lightgbm"});
      break;
    case Flavor::torchscript: {
      const std::string version = version_of(info.requirements, {"torch"});
      python[1].second = "\"data\"";
      with_python("pytorch",
                  {{"model_data", "\"data\""},
                   {"pytorch_version", version == "null" ? "\"unknown\"" : version},
                   {"code", "null"}},
                  {"mlflow", "torch"});
      break;
    }
  }
  return out;
}

std::string time_text(std::int64_t ms) {  // MLflow's: UTC, microseconds
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[48];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  std::snprintf(text + size, sizeof text - size, ".%06d", static_cast<int>(ms % 1000) * 1000);
  return text;
}

void add(ModelDir* dir, std::string path, std::string bytes) {
  ModelEntry entry;
  entry.path = std::move(path);
  entry.size = bytes.size();
  entry.sha256 = base::sha256_hex(bytes);
  entry.bytes = std::move(bytes);
  dir->entries.push_back(std::move(entry));
}

void add_environment(const ModelInfo& info, std::vector<std::string> packages, ModelDir* dir) {
  if (!info.requirements.empty()) {
    packages = info.requirements;
    const auto is_mlflow = [](const std::string& line) { return line.compare(0, 6, "mlflow") == 0; };
    if (std::none_of(packages.begin(), packages.end(), is_mlflow)) packages.insert(packages.begin(), "mlflow");
  }
  std::string lines, list;
  for (const std::string& package : packages) {
    lines += package + "\n";
    list += "    - " + yaml_string(package) + "\n";
  }
  add(dir, "requirements.txt", lines);
  add(dir, "conda.yaml",
      "name: mlflow-env\nchannels:\n- conda-forge\ndependencies:\n- " + yaml_string("python=" + info.python) +
          "\n- pip\n- pip:\n" + list);
  add(dir, "python_env.yaml",
      "python: " + yaml_string(info.python) +
          "\nbuild_dependencies:\n- pip\n- setuptools\n- wheel\ndependencies:\n- -r "
          "requirements.txt\n");
}

/// "" or what MLmodel says of the example, which becomes a file.
std::string add_example(const ModelInfo& info, ModelDir* dir) {
  const std::size_t first = info.input_example.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  if (info.input_example[first] == '[') {
    add(dir, kExample, "{\"inputs\": " + info.input_example + "}");
    return "saved_input_example_info:\n  artifact_path: \"input_example.json\"\n  format: \"tf-serving\"\n"
           "  type: \"ndarray\"\n";
  }
  add(dir, kExample, info.input_example);
  return "saved_input_example_info:\n  artifact_path: \"input_example.json\"\n  pandas_orient: \"split\"\n"
         "  type: \"dataframe\"\n";
}

Status check_info(const ModelInfo& info) {
  if (Status s = info.inputs.check(); !s.ok()) return s;
  if (Status s = info.outputs.check(); !s.ok()) return s;
  if (info.outputs.empty() ? false : info.inputs.empty()) return bad("a signature with outputs needs inputs, too");
  if (info.step < 0) return bad("the step of a model is at least 0");
  if (Status s = model::check_text("model type", info.model_type, model::kModelTypeChars, true); !s.ok()) return s;
  if (info.params.size() > model::kModelParams) {
    return bad("a model has at most 100 params, not " + std::to_string(info.params.size()));
  }
  for (const auto& [key, value] : info.metadata) {
    if (Status s = model::check_text("metadata key", key, model::kKeyChars, false); !s.ok()) return s;
    if (Status s = model::check_text("metadata value", value, SIZE_MAX, true); !s.ok()) return s;
  }
  for (const std::string& line : info.requirements) {
    if (Status s = model::check_text("requirement", line, 1000, false); !s.ok()) return s;
    if (line.find('\n') != std::string::npos) return bad("a requirement is one line");
  }
  if (Status s = model::check_text("Python version", info.python, 20, false); !s.ok()) return s;
  if (!info.input_example.empty()) {
    if (Status s = check_json(info.input_example); !s.ok()) {
      return bad("the input example is no JSON text: " + std::string(s.message()));
    }
  }
  return {};
}

std::string created_text(std::int64_t time_ms) { return yaml_string(time_text(time_ms)); }

/// What stands behind the flavors.
std::string history_end(const base::Uid& uid, std::int64_t time_ms) {
  return "}, \"model_uuid\": \"" + uid.hex() + "\", \"utc_time_created\": " + created_text(time_ms) + "}";
}

}  // namespace

Status check_model_info(const ModelInfo& info) { return check_info(info); }

std::string history_without_flavors(const base::Uid& uid, std::int64_t time_ms) {
  return "{\"flavors\": {" + history_end(uid, time_ms);
}

Result<ModelDir> make_model_dir(const std::vector<ModelFile>& files, const ModelInfo& info, const base::Uid& uid,
                                std::int64_t time_ms) {
  if (Status s = check_info(info); !s.ok()) return s;
  if (files.empty()) return bad("a model has at least one file");
  ModelDir dir;
  std::string data = info.data;
  for (const ModelFile& file : files) {
    ModelEntry entry;
    entry.file = file.file;
    entry.path = file.path.empty() ? name_in(file.file) : file.path;
    if (data.empty()) data = entry.path;
    dir.entries.push_back(std::move(entry));
  }
  const auto main_file =
      std::find_if(dir.entries.begin(), dir.entries.end(), [&](const ModelEntry& e) { return e.path == data; });
  if (main_file == dir.entries.end()) return bad("the model's main file \"" + data + "\" is not among its files");
  if (info.flavor != Flavor::cpp && info.flavor != Flavor::torchscript && data.find('/') != std::string::npos) {
    return bad("the model's main file \"" + data +
               "\" must be at the top of its folder: MLflow's loaders of this flavor "
               "look for MLmodel beside it");
  }
  if (info.flavor == Flavor::torchscript) {
    main_file->path = data = kTorchData;
    add(&dir, "data/pickle_module_info.txt", "mlflow.pytorch.pickle_module");
  }
  const FlavorPlan what = plan(info, data);
  if (!what.packages.empty()) add_environment(info, what.packages, &dir);
  const std::string example = add_example(info, &dir);

  std::uint64_t bytes = 0;
  for (ModelEntry& entry : dir.entries) {
    if (Status s = model::check_artifact_path(entry.path); !s.ok()) return s;
    if (!entry.file.empty()) {
      if (Status s = digest_file(&entry); !s.ok()) return s;
    }
    bytes += entry.size;
  }

  std::string yaml = "flavors:\n", history = "{\"flavors\": {";
  for (std::size_t f = 0; f < what.flavors.size(); ++f) {
    yaml += "  " + what.flavors[f].first + ":\n";
    history += (f == 0 ? "" : ", ") + json_string(what.flavors[f].first) + ": {";
    for (std::size_t i = 0; i < what.flavors[f].second.size(); ++i) {
      const auto& [name, value] = what.flavors[f].second[i];
      yaml += "    " + name + ": " + value + "\n";
      history += (i == 0 ? "" : ", ") + json_string(name) + ": " + value;
    }
    history += "}";
  }
  if (!info.metadata.empty()) {
    yaml += "metadata:\n";
    for (const auto& [key, value] : info.metadata) yaml += "  " + yaml_string(key) + ": " + yaml_string(value) + "\n";
  }
  yaml += "model_size_bytes: " + std::to_string(bytes) + "\nmodel_uuid: \"" + uid.hex() + "\"\n" + example;
  if (!info.inputs.empty()) {
    yaml += "signature:\n  inputs: " + yaml_string(info.inputs.json()) +
            "\n  outputs: " + (info.outputs.empty() ? "null" : yaml_string(info.outputs.json())) + "\n  params: null\n";
  }
  yaml += "utc_time_created: " + created_text(time_ms) + "\n";
  dir.history = history + history_end(uid, time_ms);
  add(&dir, kMlModel, std::move(yaml));

  std::vector<const ModelEntry*> sorted;
  for (const ModelEntry& entry : dir.entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->path < b->path; });
  std::set<std::string_view> paths;
  for (const auto* entry : sorted) paths.insert(entry->path);
  for (const std::string_view path : paths) {
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      if (paths.count(path.substr(0, slash)) == 0) continue;
      return bad("the model has a file \"" + std::string(path.substr(0, slash)) + "\" and one below it, \"" +
                 std::string(path) + "\": give one of them another path");
    }
  }
  std::string manifest = "{\"version\": 1, \"files\": [";
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i]->path == sorted[i - 1]->path) {
      return bad("the model has two files \"" + sorted[i]->path + "\": give one of them another path");
    }
    manifest += (i == 0 ? "\n" : ",\n");
    manifest += "{\"path\": " + json_string(sorted[i]->path) + ", \"size\": " + std::to_string(sorted[i]->size) +
                ", \"sha256\": \"" + sorted[i]->sha256 + "\"}";
  }
  const auto is_ours = [](const ModelEntry& e) { return e.path == model::kManifestFile; };
  if (std::any_of(dir.entries.begin(), dir.entries.end(), is_ours)) {
    return bad("\"mlops-manifest.json\" is made for the model: give that file another path");
  }
  add(&dir, std::string(model::kManifestFile), manifest + "\n]}\n");
  return dir;
}

}  // namespace mlops::client
