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

namespace mlops::client {

Status check_files_here(const LoggedModel::Impl& model) {
  if (model.made_here || model.run->role != Role::attached) return {};
  return Status(StatusCode::failed_precondition,
                "model \"" + model.name +
                    "\" was made by another process that has its run: its files and its end are " +
                    "that one's; params, tags and metrics can be logged here");
}

}  // namespace mlops::client

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

/// The record that a model begins, with `history`: see logged_model.h.
Status put_begin(RunState* run, std::string_view name, const ModelInfo& info, model::Op begin, std::string history) {
  begin.kind = model::OpKind::model;
  begin.key = name;
  begin.value = info.model_type;
  begin.number = info.step;
  if (Status s = model::add_model_pairs(model::kParamPrefix, info.params, &begin.pairs); !s.ok()) return s;
  if (Status s = model::add_model_pairs(model::kModelTagPrefix, info.tags, &begin.pairs); !s.ok()) return s;
  begin.pairs.emplace_back(std::string(model::kHistory), std::move(history));
  std::size_t bytes = 0;
  for (const auto& [key, value] : begin.pairs) bytes += key.size() + value.size() + 16;
  if (bytes > kInRecord) {
    return Status(StatusCode::invalid_argument, "params and tags of model \"" + std::string(name) +
                                                    "\" are more than a record takes (44,000 bytes): shorten them");
  }
  return client::append_op(run, &begin);
}

LoggedModel made(std::shared_ptr<RunState> run, const base::Uid& uid, std::string_view name, bool here) {
  auto impl = std::make_shared<LoggedModel::Impl>();
  impl->run = std::move(run);
  impl->uid = uid;
  impl->id = uid.hex();
  impl->name = name;
  impl->made_here = here;
  return LoggedModel(std::move(impl));
}

Status check_open(const RunState& run) {
  const std::lock_guard<std::mutex> lock(run.core->mutex);
  return run.ended ? client::ended_status(run) : Status();
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
  if (Status s = check_open(*run); !s.ok()) return s;
  const base::Uid uid = base::Uid::random();
  model::Op begin;
  begin.parent = uid;
  begin.time_ms = base::now_ms();
  Result<client::ModelDir> dir = client::make_model_dir(files, info, uid, begin.time_ms);
  if (!dir.ok()) return dir.status();
  if (Status s = put_begin(run, name, info, std::move(begin), dir->history); !s.ok()) return s;
  MLOPS_POINT("model.begun");
  if (Status s = put_files(run, uid, *dir); !s.ok()) {
    put_end(run, uid, false).ignore();  // without one it is given up when the run ends
    return s;
  }
  MLOPS_POINT("model.files");
  if (Status s = put_end(run, uid, true); !s.ok()) return s;
  return made(impl_->state, uid, name, true);
}

Result<LoggedModel> Run::start_model(std::string_view name, const ModelInfo& info) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  if (Status s = model::check_logged_model_name(name); !s.ok()) return s;
  if (Status s = client::check_model_info(info); !s.ok()) return s;
  RunState* run = impl_->state.get();
  model::Op begin;
  begin.parent = base::Uid::random();
  begin.time_ms = base::now_ms();
  begin.pairs.emplace_back(std::string(model::kOpen), "1");
  const base::Uid uid = begin.parent;
  std::string history = client::history_without_flavors(uid, begin.time_ms);
  if (Status s = put_begin(run, name, info, std::move(begin), std::move(history)); !s.ok()) return s;
  return made(impl_->state, uid, name, true);
}

Result<LoggedModel> Run::logged_model(std::string_view id, std::string_view name) const noexcept {
  if (impl_ == nullptr) return client::moved_from();
  base::Uid uid;
  if (!base::Uid::parse(id, &uid)) {
    return Status(StatusCode::invalid_argument, "\"" + std::string(model::cut_chars(id, 60)) +
                                                    "\" is no id of a logged model of ours: 32 hex digits");
  }
  return made(impl_->state, uid, name, false);
}

Status Run::log_model_output(const LoggedModel& model, std::int64_t step) noexcept {
  if (impl_ == nullptr) return client::moved_from();
  if (!model.impl()) return no_model();
  if (step < 0) return Status(StatusCode::invalid_argument, "the step of a model is at least 0");
  model::Op op;
  op.kind = model::OpKind::output;
  op.parent = model.impl()->uid;
  op.number = step;
  return client::append_op(impl_->state.get(), &op);
}

Status LoggedModel::finalize(bool ready) noexcept {
  if (!impl_) return no_model();
  if (Status s = client::check_files_here(*impl_); !s.ok()) return s;
  return put_end(impl_->run.get(), impl_->uid, ready);
}

namespace {

Status put_change(const LoggedModel::Impl* impl, Pairs pairs, bool deleted) {
  if (impl == nullptr) return no_model();
  if (pairs.empty() && !deleted) return {};
  model::Op op;
  op.kind = model::OpKind::model_change;
  op.parent = impl->uid;
  op.number = deleted ? 1 : 0;
  std::size_t bytes = 0;
  for (const auto& [key, value] : pairs) bytes += key.size() + value.size() + 16;
  if (bytes > kInRecord) {
    return Status(StatusCode::invalid_argument,
                  "params or tags of one call are more than a record takes (44,000 bytes): log them in several calls");
  }
  op.pairs = std::move(pairs);
  return client::append_op(impl->run.get(), &op);
}

}  // namespace

Status LoggedModel::log_params(const Pairs& params) noexcept {
  if (params.size() > model::kModelParams) {
    return Status(StatusCode::invalid_argument, "a model has at most 100 params");
  }
  Pairs pairs;
  if (Status s = model::add_model_pairs(model::kParamPrefix, params, &pairs); !s.ok()) return s;
  return put_change(impl_.get(), std::move(pairs), false);
}

Status LoggedModel::set_tags(const Pairs& tags) noexcept {
  Pairs pairs;
  if (Status s = model::add_model_pairs(model::kModelTagPrefix, tags, &pairs); !s.ok()) return s;
  return put_change(impl_.get(), std::move(pairs), false);
}

Status LoggedModel::delete_tag(std::string_view key) noexcept {
  Pairs pairs;
  if (Status s = model::add_model_pairs(model::kUntagPrefix, {{std::string(key), ""}}, &pairs); !s.ok()) return s;
  return put_change(impl_.get(), std::move(pairs), false);
}

Status LoggedModel::remove() noexcept { return put_change(impl_.get(), {}, true); }

MLOPS_NAMESPACE_END
