#include "registry.h"

#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "hot.h"
#include "mlops/mlops.h"
#include "waiting.h"

namespace mlops_python {
namespace {

using py::literals::operator""_a;

using mlops::Pending;
using mlops::Registry;
using Text = const std::string&;

py::dict row_of(const mlops::RegisteredModel& model) {
  return py::dict("name"_a = model.name, "description"_a = model.description, "creation_timestamp"_a = model.created_ms,
                  "last_updated_timestamp"_a = model.updated_ms, "tags"_a = model.tags, "aliases"_a = model.aliases);
}

py::dict row_of(const mlops::ModelVersion& version) {
  return py::dict("name"_a = version.name, "version"_a = version.version, "description"_a = version.description,
                  "source"_a = version.source, "run_id"_a = version.run_id, "model_id"_a = version.model_id,
                  "status"_a = version.status, "current_stage"_a = version.stage, "user_id"_a = version.user,
                  "creation_timestamp"_a = version.created_ms, "last_updated_timestamp"_a = version.updated_ms,
                  "tags"_a = version.tags, "aliases"_a = version.aliases);
}

template <typename T>
py::list rows_of(const std::vector<T>& found) {
  py::list all;
  for (const T& one : found) all.append(row_of(one));
  return all;
}

template <typename Call>
auto asked(Call call) {
  return take(without_gil(call));
}

py::dict settled(const mlops::PendingStatus& status) {
  return py::dict("id"_a = status.id, "verb"_a = status.verb, "model"_a = status.model,
                  "state"_a = std::string(mlops::pending_state_name(status.state)), "version"_a = status.version,
                  "code"_a = static_cast<int>(status.status.code()), "message"_a = std::string(status.status.message()),
                  "destination"_a = status.destination);
}

// A version is a number, or "uid:" and the id of the write that makes it: what VersionRef::text says.
mlops::VersionRef ref(Text version) { return mlops::VersionRef(version); }

void add_reads(py::class_<Registry>& registry) {
  registry.def("model", [](const Registry& self, Text name) { return row_of(asked([&] { return self.model(name); })); })
      .def("models",
           [](const Registry& self, Text filter, Text order, std::uint64_t limit) {
             return rows_of(asked([&] { return self.models({filter, order, limit}); }));
           })
      .def("version", [](const Registry& self, Text name,
                         Text number) { return row_of(asked([&] { return self.version(name, number); })); })
      .def("version_by_alias",
           [](const Registry& self, Text name, Text alias) {
             return row_of(asked([&] { return self.version_by_alias(name, alias); }));
           })
      .def("versions",
           [](const Registry& self, Text filter, Text order, std::uint64_t limit) {
             return rows_of(asked([&] { return self.versions({filter, order, limit}); }));
           })
      .def("download_uri", [](const Registry& self, Text name,
                              Text number) { return asked([&] { return self.download_uri(name, number); }); })
      .def("resolve", [](const Registry& self, Text uri) { return row_of(asked([&] { return self.resolve(uri); })); });
}

void add_writes(py::class_<Registry>& registry) {
  registry
      .def("create_model",
           [](const Registry& self, Text name, Text description, const mlops::Pairs& tags) {
             mlops::ModelOptions options;
             options.description = description;
             options.tags = tags;
             options.condition = mlops::Condition::if_absent();
             return asked([&] { return self.create_model(name, options); });
           })
      .def("rename_model",
           [](const Registry& self, Text name, Text to) { return asked([&] { return self.rename_model(name, to); }); })
      .def("update_model", [](const Registry& self, Text name,
                              Text description) { return asked([&] { return self.update_model(name, description); }); })
      .def("delete_model",
           [](const Registry& self, Text name) { return asked([&] { return self.delete_model(name); }); })
      .def("set_model_tag", [](const Registry& self, Text name, Text key,
                               Text value) { return asked([&] { return self.set_model_tag(name, key, value); }); })
      .def("delete_model_tag", [](const Registry& self, Text name,
                                  Text key) { return asked([&] { return self.delete_model_tag(name, key); }); })
      .def("set_alias", [](const Registry& self, Text name, Text alias,
                           Text version) { return asked([&] { return self.set_alias(name, alias, ref(version)); }); })
      .def("delete_alias", [](const Registry& self, Text name,
                              Text alias) { return asked([&] { return self.delete_alias(name, alias); }); })
      .def("create_version",
           [](const Registry& self, Text name, Text source, Text description, const mlops::Pairs& tags) {
             mlops::VersionOptions options;
             options.description = description;
             options.tags = tags;
             return asked([&] { return self.create_version(name, source, options); });
           })
      .def("update_version",
           [](const Registry& self, Text name, Text version, Text description) {
             return asked([&] { return self.update_version(name, ref(version), description); });
           })
      .def("delete_version",
           [](const Registry& self, Text name, Text version) {
             return asked([&] { return self.delete_version(name, ref(version)); });
           })
      .def("set_version_tag",
           [](const Registry& self, Text name, Text version, Text key, Text value) {
             return asked([&] { return self.set_version_tag(name, ref(version), key, value); });
           })
      .def("delete_version_tag",
           [](const Registry& self, Text name, Text version, Text key) {
             return asked([&] { return self.delete_version_tag(name, ref(version), key); });
           })
      .def("set_stage",
           [](const Registry& self, Text name, Text version, Text stage, bool archive_existing) {
             return asked([&] { return self.set_stage(name, ref(version), stage, archive_existing); });
           })
      .def("copy_version", [](const Registry& self, Text name, Text version, Text to) {
        return asked([&] { return self.copy_version(name, ref(version), to); });
      });
}

}  // namespace

void add_registry(py::module_& module) {
  py::class_<Pending>(module, "Pending")
      .def_property_readonly("id", [](const Pending& self) { return self.id(); })
      .def("status", [](const Pending& self) { return settled(asked([&] { return self.status(); })); })
      .def("wait", [](const Pending& self, double seconds) {
        mlops::PendingStatus status;
        in_slices(seconds, [&](mlops::Millis slice) {
          mlops::Result<mlops::PendingStatus> found = self.wait(slice);
          if (found.ok()) status = *found;
          return found.status();
        });
        return settled(status);
      });
  py::class_<Registry> registry(module, "Registry");
  registry.def(py::init([](const mlops::Client& client) { return client.registry(); }), py::arg("client"));
  add_reads(registry);
  add_writes(registry);
  module.def(
      "register_model",
      [](RunHandle& run, Text path, Text name, Text description, const mlops::Pairs& tags, Text logged_model) {
        mlops::RegisterOptions options;
        options.description = description;
        options.tags = tags;
        options.logged_model = logged_model;
        return asked([&] { return run.run().register_model(path, name, options); });
      },
      py::arg("run"), py::arg("path"), py::arg("name"), py::arg("description"), py::arg("tags"),
      py::arg("logged_model"));
}

}  // namespace mlops_python
