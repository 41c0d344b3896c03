// Models: a model is logged as a record, its files as artifacts of it, and a record that says that these are all.
#include "mlops/model.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/base.h"
#include "client/dataset.h"
#include "client/model_dir.h"
#include "client/model_files.h"
#include "client/model_impl.h"
#include "client/run_impl.h"
#include "client/spool_in.h"
#include "model/dataset.h"
#include "model/limits.h"
#include "model/logged_model.h"

MLOPS_NAMESPACE_BEGIN

namespace {

using client::RunState;

constexpr std::size_t kInRecord = 44'000;  // of a model's texts; an op takes 48 KiB

const std::string& nothing() {
  static const std::string* const empty = new std::string;
  return *empty;
}

Status no_model() {
  return Status(StatusCode::failed_precondition, "this LoggedModel is of no model: log_model makes one");
}

Status put_end(RunState* run, const base::Uid& uid, bool complete) {
  model::Op end;
  end.kind = model::OpKind::model_end;
  end.parent = uid;
  end.number = complete ? 1 : 0;
  return client::append_op(run, &end);
}

Status put_files(RunState* run, const base::Uid& uid, const client::ModelDir& dir) {
  for (const client::ModelEntry& entry : dir.entries) {
    client::ArtifactIn in;
    in.path = entry.path;
    in.file = entry.file;
    in.bytes = entry.bytes;
    in.parent = uid;
    in.checked = true;
    if (Status s = client::put_artifact(run, in); !s.ok()) return s;
    if (entry.file.empty()) continue;
    if (Status s = client::unchanged(entry); !s.ok()) return s;  // what its digest says is what was copied
  }
  return {};
}

}  // namespace

const std::string& LoggedModel::id() const noexcept { return impl_ ? impl_->id : nothing(); }
const std::string& LoggedModel::name() const noexcept { return impl_ ? impl_->name : nothing(); }
const std::string& LoggedModel::run_id() const noexcept { return impl_ ? impl_->run->id : nothing(); }

Status LoggedModel::log_metric(std::string_view name, double value, std::int64_t step, const Dataset* dataset,
                               std::int64_t time_ms) noexcept {
  if (!impl_) return no_model();
  model::Op op;
  op.kind = model::OpKind::model_metric;
  op.parent = impl_->uid;
  op.key = name;
  op.value = model::format_double(value);
  op.number = step;
  op.time_ms = time_ms < 0 ? base::now_ms() : time_ms;
  if (dataset != nullptr) {
    if (Status s = model::check_dataset(*dataset, {}); !s.ok()) return s;
    op.pairs = {{std::string(model::kDatasetName), dataset->name},
                {std::string(model::kDatasetDigest), dataset->digest}};
  }
  RunState* run = impl_->run.get();
  if (Status s = client::log_point(run, name, value, step, op.time_ms); !s.ok()) return s;
  return client::append_op(run, &op);
}

Result<std::string> LoggedModel::server_id(Millis deadline) const {
  if (!impl_) return no_model();
  client::Core* core = impl_->run->core;
  if (core->in_child.load()) {
    return Status(StatusCode::failed_precondition, "server_id in a forked child: ask in the process that delivers");
  }
  using State = ledger::ModelState::State;
  const std::int64_t until = base::steady_ms() + deadline.count();
  for (;;) {
    bool any = false;
    {
      const std::lock_guard<std::mutex> lock(core->engines_mutex);
      any = !core->engine_names.empty();
    }
    if (!any) {
      return Status(StatusCode::failed_precondition, "nothing is delivered from here: no tracking URI is set");
    }
    for (const auto& engine : core->current_engines()) {
      const std::optional<ledger::ModelState> state = engine->logged_model(impl_->uid);
      if (!state || state->state == State::creating) continue;
      if (state->state == State::refused) {
        return Status(StatusCode::failed_precondition, "the server refused the model: " + state->reason);
      }
      if (!state->server_id.empty()) return state->server_id;
      return Status(StatusCode::unimplemented,
                    "the server has no logged models: the model's files are artifacts of its run");
    }
    if (client::millis_left(until) == 0) {
      return Status(deadline.count() == 0 ? StatusCode::not_found : StatusCode::deadline_exceeded,
                    "the model is not on the server yet");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min<std::int64_t>(10, client::millis_left(until))));
  }
}

Status Run::log_model_input(const LoggedModel& model) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  if (!model.impl()) return no_model();
  model::Op op;
  op.kind = model::OpKind::input;
  op.parent = model.impl()->uid;
  return client::append_op(impl_->state.get(), &op);
}

Status Run::log_model_input(std::string_view model_id) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  if (Status s = model::check_text("model id", model_id, model::kKeyChars, false); !s.ok()) return s;
  model::Op op;
  op.kind = model::OpKind::input;
  op.value = model_id;
  return client::append_op(impl_->state.get(), &op);
}

Result<LoggedModel> Run::log_model(std::string_view name, const std::vector<ModelFile>& files,
                                   const ModelInfo& info) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  if (Status s = model::check_logged_model_name(name); !s.ok()) return s;
  RunState* run = impl_->state.get();
  {
    const std::lock_guard<std::mutex> lock(run->core->mutex);
    if (run->ended) return client::ended_status(*run);
  }
  const base::Uid uid = base::Uid::random();
  model::Op begin;
  begin.kind = model::OpKind::model;
  begin.parent = uid;
  begin.key = name;
  begin.value = info.model_type;
  begin.number = info.step;
  begin.time_ms = base::now_ms();
  Result<client::ModelDir> dir = client::make_model_dir(files, info, uid, begin.time_ms);
  if (!dir.ok()) return dir.status();
  for (const auto& [key, value] : info.params) {
    begin.pairs.emplace_back(std::string(model::kParamPrefix) + key, value);
  }
  for (const auto& [key, value] : info.tags) begin.pairs.emplace_back(std::string(model::kModelTagPrefix) + key, value);
  begin.pairs.emplace_back(std::string(model::kHistory), dir->history);
  std::size_t bytes = 0;
  for (const auto& [key, value] : begin.pairs) bytes += key.size() + value.size() + 16;
  if (bytes > kInRecord) {
    return Status(StatusCode::invalid_argument, "params and tags of model \"" + std::string(name) +
                                                    "\" are more than a record takes (44,000 bytes): shorten them");
  }
  if (Status s = client::append_op(run, &begin); !s.ok()) return s;
  MLOPS_POINT("model.begun");
  if (Status s = put_files(run, uid, *dir); !s.ok()) {
    put_end(run, uid, false).ignore();  // without one it is given up when the run ends
    return s;
  }
  MLOPS_POINT("model.files");
  if (Status s = put_end(run, uid, true); !s.ok()) return s;
  auto impl = std::make_shared<LoggedModel::Impl>();
  impl->run = impl_->state;
  impl->uid = uid;
  impl->id = uid.hex();
  impl->name = name;
  return LoggedModel(std::move(impl));
}

MLOPS_NAMESPACE_END
