// End: how a run ends here: by its Run object, left open for others, or by id.
//
// A run that is open nowhere is ended by one record, the run_end of its newest start, in a journal of the slot that
// holds it: through the slot's own writer when nobody has the slot, else as a guest. A guest's journal is what a forked
// child's is: tickets from the slot's control page, a folder of its own, collected by whoever owns the slot now or
// next.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/base.h"
#include "base/place.h"
#include "client/core.h"
#include "client/start.h"
#include "client/system_metrics.h"
#include "drain/slot.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr std::uint32_t kGuestMib = 2;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Status ended_already(const std::string& name) {
  return Status(StatusCode::failed_precondition, "run \"" + name + "\" has ended already");
}

// This object's part in the run is over. False: it was before.
bool shut(const std::shared_ptr<RunState>& run) {
  Core* core = run->core;
  {
    const std::lock_guard<std::mutex> lock(core->mutex);
    if (std::exchange(run->ended, true)) return false;
    journal::close_gate(run->gate);
    auto& open = core->open_runs;
    open.erase(std::remove(open.begin(), open.end(), run), open.end());
  }
  stop_system_metrics(run.get());
  return true;
}

// Appends within the time, though the journal be full; then waits for durable, when asked to.
Status say(Core* core, model::Op op, std::int64_t until, bool wait) {
  Status appended;
  do {
    const std::lock_guard<std::mutex> lock(core->mutex);
    if (op.time_ms == 0) op.time_ms = base::now_ms();
    appended = core->writer->append(&op);
  } while (appended.code() == StatusCode::resource_exhausted && millis_left(until) > 0);
  if (!appended.ok() || !wait || core->in_child.load() || core->drain == nullptr) return appended;
  if (core->drain->stats().buffer.ok()) {
    core->drain->flush(Level::durable, Millis(millis_left(until))).ignore();  // accepted it is already
  }
  return {};
}

// What the object's going means to the run, when it means anything.
Status finish(const std::shared_ptr<RunState>& run, model::OpKind kind, RunStatus status, Millis deadline, bool wait,
              std::int64_t end_ms = 0) {
  const std::int64_t until = base::steady_ms() + deadline.count();
  if (!shut(run)) return ended_already(run->name());
  if (run->pid != ::getpid() || run->role == Role::joined) return {};
  model::Op op;
  op.run = run->uid;
  op.time_ms = end_ms;
  op.kind = run->role == Role::owner ? kind : model::OpKind::run_detach;
  if (run->role == Role::owner) {
    if (kind == model::OpKind::run_end) op.number = static_cast<std::int64_t>(status);
    op.key = std::to_string(run->start_number);
  }
  return say(run->core, std::move(op), until, wait);
}

model::Op end_of(const model::RunRow& row, RunStatus status, std::int64_t end_ms) {
  model::Op op;
  op.run = row.uid;
  op.kind = model::OpKind::run_end;
  op.number = static_cast<std::int64_t>(status);
  op.key = std::to_string(row.starts);
  op.time_ms = end_ms > 0 ? end_ms : base::now_ms();
  return op;
}

Status say_as_guest(const std::string& slot_dir, model::Op op) {
  Result<std::string> local = base::local_half(slot_dir);
  if (!local.ok()) return local.status();
  Result<base::Mapping> control = drain::join_control(slot_dir);
  if (!control.ok()) return control.status();
  auto core = std::make_unique<Core>();
  core->pid = ::getpid();
  core->slot_dir = slot_dir;
  core->control = reinterpret_cast<journal::Control*>(control->data());
  journal::WriterOptions options;
  options.slot_dir = *local;
  options.journal_mib = kGuestMib;
  Result<std::unique_ptr<journal::Writer>> writer = journal::Writer::create(options, core->control, core.get());
  if (!writer.ok()) return writer.status();
  control->leak();
  core->writer = writer->release();
  Status said = core->writer->append(&op);
  core->writer->close();
  // Whoever has the slot may be leaving right now: a journal that came after its last look is where nobody looks.
  if (said.ok() && base::local_half(slot_dir).value_or("") != *local) {
    said = Status(StatusCode::unavailable, slot_dir + " was given up at this moment: try again");
  }
  const std::lock_guard<std::mutex> lock(registry().mutex);
  registry().guests.push_back(core.release());  // writers and cores are never destroyed
  return said;
}

// The core of this process that has the slot, or takes it now. unavailable: another process has it.
Result<Core*> core_at(Root* root, const std::string& slot_dir) {
  for (Core* core : cores_of(root)) {
    if (core->slot_dir == slot_dir) return core;
  }
  return add_core(root, slot_dir);
}

// `starts`: the start that is to end; a later one is not ended by it.
Status wait_until_seen(Root* root, const std::string& id, std::uint32_t starts, std::int64_t until) {
  while (millis_left(until) > 0) {
    Result<std::unique_ptr<view::View>> view = view::View::open(root->path);
    if (!view.ok()) return {};
    Result<std::vector<view::Part>> parts = (*view)->parts(id);
    if (!parts.ok() || parts->front().row.status != RunStatus::running) return {};
    if (parts->front().row.starts > starts) {
      return Status(StatusCode::failed_precondition,
                    "run " + id + " was resumed by another process at this moment: end it again when that is done");
    }
    ::usleep(20'000);
  }
  return {};  // accepted it is; whoever has the slot is slow
}

}  // namespace

Status end_run(const std::shared_ptr<RunState>& run, RunStatus status, Millis deadline, bool wait,
               std::int64_t end_ms) {
  return finish(run, model::OpKind::run_end, status, deadline, wait, end_ms);
}

Status leave_run(const std::shared_ptr<RunState>& run, Millis deadline) {
  return finish(run, model::OpKind::run_leave, RunStatus::running, deadline, true);
}

Status check_time(const char* what, std::int64_t ms) {
  if (ms >= 0) return {};
  return Status(StatusCode::invalid_argument, std::string(what) + " is milliseconds since 1970, at least 0");
}

Status end_run_by_id(Root* root, std::string_view id, RunStatus status, std::int64_t end_ms, Millis deadline) {
  if (Status s = check_time("end_ms", end_ms); !s.ok()) return s;
  if (status == RunStatus::running || status == RunStatus::scheduled) {
    return Status(StatusCode::invalid_argument, "a run ends finished, failed or killed");
  }
  if (root->main_core->in_child.load()) {
    return Status(StatusCode::failed_precondition, "end_run in a forked child: end it in the process that opened");
  }
  const std::int64_t until = base::steady_ms() + deadline.count();
  Result<std::unique_ptr<view::View>> view = view::View::open(root->path);
  if (!view.ok()) return view.status();
  Result<std::vector<view::Part>> parts = (*view)->parts(id);
  if (!parts.ok()) return parts.status();
  const view::Part& part = parts->front();  // its owner's, when this root has it
  const std::string hex = part.row.uid.hex();
  if (auto open = open_run(root, part.row.uid)) return end_run(open, status, deadline, true, end_ms);
  const bool this_host = folder_of(part.slot_dir) == folder_of(root->main_core->slot_dir);
  if (part.row.attached || !this_host) {
    return Status(StatusCode::failed_precondition,
                  "run " + hex + " was started " + (part.row.attached ? "in another root" : "on host " + part.host) +
                      ": end it there");
  }
  Result<Core*> core = core_at(root, part.slot_dir);
  if (core.ok()) {
    Result<model::RunRow> row = local_row(*core, part.row.uid);
    if (!row.ok()) return row.status();
    if (row->status != RunStatus::running) return ended_already(row->name);
    return say(*core, end_of(*row, status, end_ms), until, true);
  }
  if (core.status().code() != StatusCode::unavailable) return core.status();
  if (part.row.status != RunStatus::running) return ended_already(part.row.name);
  if (!part.row.left_open) {
    return Status(StatusCode::failed_precondition, "run " + hex + " belongs to a living process, which ends it: " +
                                                       std::string(core.status().message()));
  }
  if (Status s = say_as_guest(part.slot_dir, end_of(part.row, status, end_ms)); !s.ok()) return s;
  return wait_until_seen(root, hex, part.row.starts, until);
}

}  // namespace mlops::client
