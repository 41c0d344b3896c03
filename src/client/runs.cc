// delete_runs, restore_runs: a lifecycle record for each run, written through a journal like everything else: into the
// slot that has the run, taken over when it is free, else beside its living owner as an attached process.
#include <algorithm>
#include <memory>

#include "base/base.h"
#include "client/core.h"
#include "client/env.h"
#include "mlops/manage.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr Millis kPatience{10'000};

struct Chosen {
  Uid uid;
  std::string experiment, name;
  std::string slot_dir;  // the owner's, else the first that has a part of it
  bool same_host = false;
};

Result<std::vector<Chosen>> choose(const Options& options, const std::vector<std::string>& ids, bool deleted) {
  Result<std::unique_ptr<view::View>> view = view::View::open(options.root);
  if (!view.ok()) return view.status();
  std::vector<Chosen> out;
  for (const std::string& id : ids) {
    Result<RunSummary> summary = (*view)->run(id);
    if (!summary.ok()) return summary.status();
    if (summary->deleted == deleted) continue;
    Result<std::vector<view::Part>> parts = (*view)->parts(id);
    if (!parts.ok()) return parts.status();
    const view::Part& part = parts->front();
    const auto same = [&part](const Chosen& c) { return c.uid == part.row.uid; };
    if (std::any_of(out.begin(), out.end(), same)) continue;
    out.push_back({part.row.uid, summary->experiment, summary->name, part.slot_dir, part.host == options.host});
  }
  return out;
}

model::Op op_of(model::OpKind kind, const Chosen& run) {
  model::Op op;
  op.kind = kind;
  op.run = run.uid;
  op.time_ms = base::now_ms();
  return op;
}

Status write_records(Root* root, const Chosen& run, bool deleted) {
  Core* core = nullptr;
  for (Core* c : cores_of(root)) {
    if (c->slot_dir == run.slot_dir) core = c;
  }
  if (core == nullptr && run.same_host) {  // another host's slots are its own to take over
    Result<Core*> taken = add_core(root, run.slot_dir);
    if (taken.ok()) {
      core = *taken;
    } else if (taken.status().code() != StatusCode::unavailable) {
      return taken.status();
    }
  }
  const bool beside = core == nullptr;
  if (beside) core = root->main_core;
  std::vector<model::Op> ops;
  if (beside) {
    model::Op attach = op_of(model::OpKind::run_attach, run);
    attach.key = run.experiment;
    attach.value = run.name;
    ops.push_back(std::move(attach));
  }
  ops.push_back(op_of(model::OpKind::lifecycle, run));
  ops.back().number = deleted ? 1 : 0;
  if (beside) ops.push_back(op_of(model::OpKind::run_detach, run));
  const std::lock_guard<std::mutex> lock(core->mutex);
  for (model::Op& op : ops) {
    if (Status s = core->writer->append(&op); !s.ok()) return s;
  }
  return {};
}

Result<std::uint64_t> set_deleted(const std::string& given_root, const std::vector<std::string>& ids, bool deleted) {
  if (ids.empty()) return Status(StatusCode::invalid_argument, "name at least one run");
  if (registry().forked()) {
    return Status(StatusCode::failed_precondition, "not in a forked child: its parent has a client open; exec instead");
  }
  Options given;
  given.root = given_root;
  given.deliver = false;
  Result<Options> options = complete_options(std::move(given), read_environment());
  if (!options.ok()) return options.status();
  Result<std::vector<Chosen>> chosen = choose(*options, ids, deleted);
  if (!chosen.ok()) return chosen.status();
  if (chosen->empty()) return std::uint64_t{0};
  Result<Root*> root = open_root(*options, drain::SlotWish{chosen->front().uid, {}, false});
  if (!root.ok()) return root.status();
  Status status;
  for (const Chosen& run : *chosen) {
    if (status.ok()) status = write_records(*root, run, deleted);
  }
  for (Core* core : cores_of(*root)) {
    if (status.ok()) status = core->drain->flush(Level::durable, kPatience);
  }
  bool last = false;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    last = --(*root)->clients == 0;
  }
  if (last) {
    const Status closed = close_root(*root, kPatience);
    if (status.ok()) status = closed;
  }
  if (!status.ok()) return status;
  return static_cast<std::uint64_t>(chosen->size());
}

}  // namespace
}  // namespace mlops::client

MLOPS_NAMESPACE_BEGIN

Result<std::uint64_t> delete_runs(const std::string& root, const std::vector<std::string>& ids) {
  return client::set_deleted(root, ids, true);
}

Result<std::uint64_t> restore_runs(const std::string& root, const std::vector<std::string>& ids) {
  return client::set_deleted(root, ids, false);
}

MLOPS_NAMESPACE_END
