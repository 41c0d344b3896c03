#include "client/start.h"

#include <unistd.h>

#include <algorithm>

#include "base/base.h"
#include "client/lookup.h"
#include "client/names.h"
#include "client/system_metrics.h"
#include "mlflow/mlflow.h"
#include "model/limits.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr Millis kServerPatience{5'000};
constexpr Millis kLocalPatience{10'000};
constexpr const char* kNoteTag = "mlflow.note.content";
constexpr const char* kParentTag = "mlflow.parentRunId";
constexpr std::int64_t kTaggedRanks = 64;

Status closed_status() {
  return Status(StatusCode::failed_precondition, "the client is closed: open one before starting runs");
}

// A host's name as a part of metric names.
std::string node_id(const std::string& host) {
  std::string id = host.substr(0, 100);
  for (char& c : id) {
    if (!model::check_key("metric", std::string(1, c)).ok() || c == '/') c = '_';
  }
  return id;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

class Starter {
 public:
  Starter(Session* session, const std::string& experiment, RunOptions options)
      : session_(session), root_(session->root), experiment_(experiment), options_(std::move(options)) {}

  Result<std::shared_ptr<RunState>> start() {
    if (Status s = prepare(); !s.ok()) return s;
    if (options_.per_job) return start_in_job();
    if (!options_.attach_id.empty()) return attach(options_.attach_id, true);
    if (!options_.resume_id.empty()) return resume(options_.resume_id);
    if (!options_.resume_name.empty()) return resume_by_name(options_.resume_name);
    return begin(root_->main_core, Uid::random(), 1, Role::owner, options_.name, {}, true);
  }

  /// System metrics, if they are wanted. Of the processes of one machine in one run, the first samples.
  void watch(const std::shared_ptr<RunState>& run) const {
    SystemMetrics metrics = session_->system_metrics;
    if (!options_.log_system_metrics.value_or(metrics.enabled.value_or(false))) return;
    const Job& job = session_->environment.job;
    if (options_.per_job || run->role == Role::attached) {
      if (!job.speaks_for_machine()) return;
      if (job.many_machines && metrics.node_id.empty()) metrics.node_id = node_id(root_->options.host);
    }
    log_system_metrics(run, metrics, session_->environment.nvml);
  }

 private:
  Status prepare() {
    if (Status s = session_->check_open(); !s.ok()) return s;
    const Environment& env = session_->environment;
    const int ways =
        !options_.resume_id.empty() + !options_.resume_name.empty() + !options_.attach_id.empty() + options_.per_job;
    if (ways > 1) {
      return Status(StatusCode::invalid_argument,
                    "RunOptions: at most one of resume_id, resume_name, attach_id and per_job may be set");
    }
    const bool named = env.attach_run.empty() && !env.run_id.empty() && options_.resume_id == env.run_id;
    if (named) session_->env_run_taken = true;  // by its id
    if (ways == 0 && options_.parent_id.empty() && !(env.run_id.empty() && env.attach_run.empty()) &&
        !session_->env_run_taken.exchange(true)) {
      if (env.attach_run == "job") {
        options_.per_job = true;
      } else {
        asked_experiment_ = experiment_;
        asked_name_ = options_.name;
        (env.attach_run.empty() ? options_.resume_id : options_.attach_id) =
            env.attach_run.empty() ? env.run_id : env.attach_run;
      }
    }
    if (experiment_.empty()) experiment_ = env.experiment;
    if (experiment_.empty()) experiment_ = "Default";
    if (options_.name.empty()) options_.name = env.run_name;
    if (Status s = check_time("RunOptions::start_ms", options_.start_ms); !s.ok()) return s;
    if (Status s = model::check_text("experiment name", experiment_, model::kExperimentChars, false); !s.ok()) return s;
    for (const std::string* name : {&options_.name, &options_.resume_name}) {
      if (Status s = model::check_text("run name", *name, model::kRunNameChars, true); !s.ok()) return s;
    }
    if (Status s = model::check_text("note", options_.note, SIZE_MAX, true); !s.ok()) return s;
    for (auto& [key, value] : options_.tags) {
      if (Status s = model::check_key("tag", key); !s.ok()) return s;
      if (Status s = model::check_text("tag value", value, SIZE_MAX, true); !s.ok()) return s;
      value = std::string(model::cut_chars(value, model::kTagChars));
    }
    return {};
  }

  // Of a program inside `mlops exec`, say: the run it joins has an experiment and a name already.
  void say_what_is_ignored(const model::RunRow& row) const {
    std::string words;
    if (!asked_experiment_.empty() && asked_experiment_ != row.experiment) words = "experiment " + asked_experiment_;
    if (!asked_name_.empty() && asked_name_ != row.name)
      words += (words.empty() ? "name " : " and name ") + asked_name_;
    if (words.empty()) return;
    base::log(base::LogLevel::info, words + " are ignored: the environment names run " + row.uid.hex() + ", which is " +
                                        row.name + " in " + row.experiment);
  }

  Status forked_status() const {
    return Status(StatusCode::failed_precondition,
                  "a forked child can start new runs and log to inherited ones; resume and attach before the fork");
  }

  // The run of the job: its id is made of what all ranks know, so that none has to ask another.
  Result<std::shared_ptr<RunState>> start_in_job() {
    const Job& job = session_->environment.job;
    if (job.rank < 0 && job.key.empty()) {
      return begin(root_->main_core, Uid::random(), 1, Role::owner, options_.name, {}, true);
    }
    if (job.rank < 0 || job.key.empty()) {
      return Status(StatusCode::failed_precondition,
                    job.rank < 0
                        ? "MLOPS_JOB is set, but no launcher says which rank this is: set MLOPS_RANK to 0, 1, …"
                        : "rank " + std::to_string(job.rank) + " was started by " + job.launcher +
                              ", which gives its jobs no name: set MLOPS_JOB to the same text for all ranks");
    }
    const Uid uid = job_run(job, experiment_, options_.name);
    if (auto open = open_run(root_, uid)) return join(open);
    if (root_->main_core->in_child.load()) return forked_status();
    if (job.rank > 0) return attach(uid.hex(), false);
    for (Core* core : cores_of(root_)) {
      Result<model::RunRow> row = local_row(core, uid);
      if (row.ok() && !row->attached) return resume_here(core, *row);
      if (!row.ok() && row.status().code() != StatusCode::not_found) return row.status();
    }
    Result<std::unique_ptr<view::View>> view = view::View::open(root_->path);
    if (view.ok()) {
      Result<std::vector<view::Part>> parts = (*view)->parts(uid.hex());
      if (parts.ok() && !parts->front().row.attached) return resume_part(parts->front());
    }
    // Before its first record: whoever finds it after our death finds the mark.
    if (Status s = drain::mark_slot(root_->main_core->slot_dir, job.key); !s.ok()) {
      base::log(base::LogLevel::warn, "a restarted rank 0 may not find its run: " + s.to_string());
    }
    MLOPS_POINT("client.job.marked");
    return begin(root_->main_core, uid, 1, Role::owner, options_.name, {}, true);
  }

  // Continues a run of this root as its owner (if its process is gone) or beside it.
  Result<std::shared_ptr<RunState>> resume(const std::string& id) {
    Uid uid;
    const bool is_uid = Uid::parse(id, &uid);
    if (is_uid) {
      if (auto open = open_run(root_, uid)) return join(open);
    }
    if (root_->main_core->in_child.load()) return forked_status();
    if (is_uid) {
      for (Core* core : cores_of(root_)) {
        Result<model::RunRow> row = local_row(core, uid);
        if (row.ok()) return resume_here(core, *row);
        if (row.status().code() != StatusCode::not_found) return row.status();
      }
    }
    Result<std::unique_ptr<view::View>> view = view::View::open(root_->path);
    if (!view.ok()) return view.status();
    Result<std::vector<view::Part>> parts = (*view)->parts(id);
    if (!parts.ok()) {
      if (parts.status().code() != StatusCode::not_found) return parts.status();
      return resume_from_server(id);
    }
    const view::Part& owner = parts->front();
    if (auto open = open_run(root_, owner.row.uid)) return join(open);
    return resume_part(owner);
  }

  Result<std::shared_ptr<RunState>> resume_part(const view::Part& part) {
    for (Core* core : cores_of(root_)) {
      if (core->slot_dir != part.slot_dir) continue;
      Result<model::RunRow> row = local_row(core, part.row.uid);
      if (!row.ok()) return row.status();
      return resume_here(core, *row);
    }
    // Another host's slots are its own to take over.
    const bool this_host = folder_of(part.slot_dir) == folder_of(root_->main_core->slot_dir);
    if (part.row.attached || !this_host) return attach_row(part.row);
    Result<Core*> core = add_core(root_, part.slot_dir);
    if (!core.ok()) {
      if (core.status().code() == StatusCode::unavailable) return attach_row(part.row);
      return core.status();
    }
    Result<model::RunRow> row = local_row(*core, part.row.uid);
    if (!row.ok()) return row.status();
    return resume_here(*core, *row);
  }

  Result<std::shared_ptr<RunState>> resume_here(Core* core, const model::RunRow& row) {
    if (row.deleted) {
      return Status(StatusCode::failed_precondition,
                    "run " + row.uid.hex() + " is deleted: `mlops restore` brings it back");
    }
    experiment_ = row.experiment;
    take_tables(row);
    const Role role = row.attached ? Role::attached : Role::owner;
    return begin(core, row.uid, static_cast<std::int64_t>(row.starts) + 1, role, row.name, row.params, false);
  }

  Result<std::shared_ptr<RunState>> attach_row(const model::RunRow& row) {
    say_what_is_ignored(row);
    experiment_ = row.experiment;
    take_tables(row);
    return begin(root_->main_core, row.uid, 1, Role::attached, row.name, row.params, false);
  }

  Result<std::shared_ptr<RunState>> resume_from_server(const std::string& id) {
    if (session_->uri.empty()) {
      return Status(StatusCode::not_found, "no run \"" + id.substr(0, 80) + "\" in " + root_->path +
                                               ", and no tracking URI to ask; `mlops runs` lists what there is");
    }
    Result<ServerRun> run =
        find_on_server_by_id(session_->uri, session_->credentials, experiment_, id, kServerPatience);
    if (!run.ok()) {
      return Status(run.status().code(), "run \"" + id.substr(0, 80) + "\" is not in " + root_->path +
                                             "; on the server: " + std::string(run.status().message()));
    }
    return adopt(*run);
  }

  // A run that only the server knows: from here on this slot is its owner.
  Result<std::shared_ptr<RunState>> adopt(const ServerRun& run) {
    if (auto open = open_run(root_, run.uid)) return join(open);
    for (Core* core : cores_of(root_)) {
      Result<model::RunRow> row = local_row(core, run.uid);
      if (row.ok()) return resume_here(core, *row);
    }
    steps_before_ = run.last_steps;
    return begin(root_->main_core, run.uid, 1, Role::owner, run.name, run.params, false);
  }

  Result<std::shared_ptr<RunState>> resume_by_name(const std::string& name) {
    for (Core* core : cores_of(root_)) {
      std::shared_ptr<RunState> open;
      {
        const std::lock_guard<std::mutex> lock(core->mutex);
        for (const auto& state : core->open_runs) {
          if (state->name() == name && state->experiment == experiment_ && state->role != Role::joined) open = state;
        }
      }
      if (open != nullptr) return join(open);
    }
    if (root_->main_core->in_child.load()) return forked_status();
    for (Core* core : cores_of(root_)) {  // so that the summaries show what this process did
      if (Status s = core->drain->flush(Level::durable, kLocalPatience); !s.ok()) return s;
    }
    Result<Uid> local = newest_here(name);
    if (local.ok()) return resume(local->hex());
    if (local.status().code() != StatusCode::not_found) return local.status();
    if (!session_->uri.empty()) {
      Result<ServerRun> run =
          find_on_server_by_name(session_->uri, session_->credentials, experiment_, name, kServerPatience);
      if (run.ok()) return adopt(*run);
      if (run.status().code() != StatusCode::not_found) {
        base::log(base::LogLevel::warn, "run \"" + name + "\" is started anew: " + std::string(run.status().message()));
      }
    }
    return begin(root_->main_core, Uid::random(), 1, Role::owner, name, {}, true);
  }

  // Own databases first (exact), then the other slots' summaries.
  Result<Uid> newest_here(const std::string& name) {
    Uid best;
    std::int64_t start = -1;
    for (Core* core : cores_of(root_)) {
      Result<std::shared_ptr<buffer::Reader>> reader = core->drain->reader(kLocalPatience);
      if (!reader.ok()) return reader.status();
      Result<std::vector<model::RunRow>> rows = (*reader)->runs();
      if (!rows.ok()) return rows.status();
      for (const model::RunRow& row : *rows) {
        if (row.attached || row.deleted || row.name != name || row.experiment != experiment_ || row.start_ms <= start)
          continue;
        best = row.uid;
        start = row.start_ms;
      }
    }
    Result<std::unique_ptr<view::View>> view = view::View::open(root_->path);
    if (view.ok()) {
      Result<Uid> other = (*view)->newest_named(experiment_, name);
      if (other.ok()) {
        Result<std::vector<view::Part>> parts = (*view)->parts(other->hex());
        if (parts.ok() && parts->front().row.start_ms > start) return *other;
      }
    }
    if (start < 0) return Status(StatusCode::not_found, "no run of that name in this root");
    return best;
  }

  Result<std::shared_ptr<RunState>> attach(const std::string& id, bool ask_server) {
    Uid uid;
    const bool is_uid = Uid::parse(id, &uid);
    if (is_uid) {
      if (auto open = open_run(root_, uid)) return join(open);
    }
    if (root_->main_core->in_child.load()) return forked_status();
    Result<std::unique_ptr<view::View>> view = view::View::open(root_->path);
    if (view.ok()) {
      Result<std::vector<view::Part>> parts = (*view)->parts(id);
      if (parts.ok()) {
        if (auto open = open_run(root_, parts->front().row.uid)) return join(open);
        for (const view::Part& part : *parts) {  // this very slot's run: the slot was taken over from its dead owner
          for (Core* core : cores_of(root_)) {
            if (core->slot_dir == part.slot_dir && !part.row.attached) return begin_joined(core, part.row);
          }
        }
        return attach_row(parts->front().row);
      }
    }
    if (!is_uid)
      return Status(StatusCode::not_found, "attach_id \"" + id.substr(0, 80) + "\" is no run id (32 hex digits)");
    // Another machine's run, or one whose first beat is still to come. Ask the server whose it is; else it is our uid.
    std::string name = options_.name;
    Pairs params;
    if (ask_server && !session_->uri.empty()) {
      Result<ServerRun> run =
          find_on_server_by_id(session_->uri, session_->credentials, experiment_, id, kServerPatience);
      if (run.ok()) {
        uid = run->uid;
        name = run->name;
        params = run->params;
        steps_before_ = run->last_steps;
      } else if (run.status().code() == StatusCode::failed_precondition) {
        return run.status();
      }
    }
    return begin(root_->main_core, uid, 1, Role::attached, name, params, false);
  }

  Result<std::shared_ptr<RunState>> begin_joined(Core* core, const model::RunRow& row) {
    experiment_ = row.experiment;
    take_tables(row);
    return begin(core, row.uid, row.starts, Role::joined, row.name, row.params, false);
  }

  // One more object for a run that is open in this process.
  Result<std::shared_ptr<RunState>> join(const std::shared_ptr<RunState>& open) {
    Pairs params;
    std::string name;
    {
      const std::lock_guard<std::mutex> lock(open->core->mutex);
      params.assign(open->params.begin(), open->params.end());
      name = open->name();
    }
    experiment_ = open->experiment;
    return begin(open->core, open->uid, open->start_number, Role::joined, name, params, false);
  }

  // MLflow's tag for the parent is the option in other words; the option wins.
  void take_parent_tag() {
    for (auto tag = options_.tags.begin(); tag != options_.tags.end();) {
      if (tag->first != kParentTag) {
        ++tag;
        continue;
      }
      if (options_.parent_id.empty()) options_.parent_id = std::move(tag->second);
      tag = options_.tags.erase(tag);
    }
  }

  // The parent as our uid, or, for a run this root does not know, as the tag MLflow's user interface reads.
  void find_parent(Uid* parent, Pairs* tags) const {
    const std::string& id = options_.parent_id;
    if (id.empty()) return;
    Uid uid;
    if (Uid::parse(id, &uid)) {
      for (Core* core : cores_of(root_)) {
        const std::lock_guard<std::mutex> lock(core->mutex);
        if (std::find(core->touched.begin(), core->touched.end(), uid) != core->touched.end()) {
          *parent = uid;
          return;
        }
      }
    }
    Result<std::unique_ptr<view::View>> view = view::View::open(root_->path);
    if (view.ok()) {
      Result<std::vector<view::Part>> parts = (*view)->parts(id);
      if (parts.ok()) {
        *parent = parts->front().row.uid;
        return;
      }
    }
    tags->emplace_back(kParentTag, id);
  }

  // Tables that were logged to the run before.
  void take_tables(const model::RunRow& row) {
    for (const auto& [key, value] : row.tags) {
      if (key == kTablesTag) tables_before_ = value;
    }
  }

  // Who and what started the run is said once, at its creation.
  Pairs start_tags(bool fresh) const {
    Pairs tags;
    if (fresh && options_.source_tags) tags = mlflow::source_tags(environment_variable);
    const auto put = [&tags](const std::string& key, const std::string& value) {
      const auto same = [&key](const auto& tag) { return tag.first == key; };
      tags.erase(std::remove_if(tags.begin(), tags.end(), same), tags.end());
      tags.emplace_back(key, value);
    };
    if (!options_.note.empty()) put(kNoteTag, std::string(model::cut_chars(options_.note, model::kTagChars)));
    for (const auto& [key, value] : options_.tags) put(key, value);
    return tags;
  }

  // Who takes part in a run of many: the first ranks by host and process, so that a large job stays readable.
  void add_rank_tags(Role role, bool fresh, Pairs* tags) const {
    const Job& job = session_->environment.job;
    if (job.rank < 0) return;
    const bool many = options_.per_job || role == Role::attached;
    const std::string rank = std::to_string(job.rank);
    if (many && job.rank < kTaggedRanks) {
      tags->emplace_back("mlops.rank." + rank, root_->options.host + "/" + std::to_string(::getpid()));
    }
    if (!options_.source_tags || role != Role::owner || job.ranks < 2) return;
    if (!many && fresh) tags->emplace_back("mlops.rank", rank);
    tags->emplace_back("mlops.ranks", std::to_string(job.ranks));
  }

  Result<std::shared_ptr<RunState>> begin(Core* core, const Uid& uid, std::int64_t start_number, Role role,
                                          const std::string& name, const Pairs& params, bool fresh) {
    auto state = std::make_shared<RunState>();
    state->core = core;
    state->uid = uid;
    state->id = uid.hex();
    state->names_given.push_back(name.empty() ? make_run_name(uid) : name);
    state->experiment = experiment_;
    state->role = role;
    state->start_number = start_number;
    state->pid = ::getpid();
    state->client = session_->number;
    state->end_deadline = options_.end_deadline;
    state->steps_before = std::move(steps_before_);
    state->fresh = fresh;
    for (const auto& [key, value] : params) state->params.emplace(key, value);

    model::Op op;
    op.run = uid;
    op.time_ms = fresh && options_.start_ms > 0 ? options_.start_ms : base::now_ms();
    op.key = experiment_;
    op.value = state->name();
    if (role == Role::owner) {
      if (fresh) take_parent_tag();
      op.kind = model::OpKind::run_start;
      op.number = start_number;
      op.pairs = start_tags(fresh);
      find_parent(&op.parent, &op.pairs);
    } else {
      op.kind = model::OpKind::run_attach;
    }
    if (role != Role::joined) add_rank_tags(role, fresh, &op.pairs);
    // The creation record has room for what fits into one journal record; longer tag lists follow one by one, and so
    // do the tags of a run that was created before.
    Pairs later;
    if (!fresh) later.swap(op.pairs);
    while (model::encode_op(op).size() > journal::kMaxRecord && !op.pairs.empty()) {
      later.push_back(std::move(op.pairs.back()));
      op.pairs.pop_back();
    }
    const std::lock_guard<std::mutex> lock(core->mutex);
    if (core->closing.load()) return closed_status();
    if (role != Role::joined) {
      if (Status s = core->writer->append(&op); !s.ok()) return s;
      for (auto& [key, value] : later) {
        if (Status s = append_tag(core, uid, key, value); !s.ok()) return s;
      }
    }
    state->gate = journal::open_gate(core);
    state->generation = state->gate->generation.load(std::memory_order_relaxed);
    core->open_runs.push_back(state);
    if (!tables_before_.empty()) core->tables.try_emplace(uid, tables_before_);
    if (std::find(core->touched.begin(), core->touched.end(), uid) == core->touched.end()) core->touched.push_back(uid);
    return state;
  }

  static Status append_tag(Core* core, const Uid& uid, const std::string& key, const std::string& value) {
    model::Op op;
    op.run = uid;
    op.time_ms = base::now_ms();
    op.kind = model::OpKind::set_tag;
    op.key = key;
    op.value = value;
    return core->writer->append(&op);
  }

  Session* session_;
  Root* root_;
  std::string experiment_;
  std::string asked_experiment_, asked_name_;  // by the program, where the environment names the run
  RunOptions options_;
  std::vector<std::pair<std::string, std::int64_t>> steps_before_;
  std::string tables_before_;
};

}  // namespace

Status Session::check_open() const {
  if (closed.load() || root->closed.load()) return closed_status();
  return {};
}

Session::~Session() {
  if (closed.exchange(true)) return;
  const std::lock_guard<std::mutex> lock(registry().mutex);
  --root->clients;
}

Result<model::RunRow> local_row(Core* core, const Uid& uid) {
  const std::int64_t until = base::steady_ms() + kLocalPatience.count();
  Result<std::shared_ptr<buffer::Reader>> reader = core->drain->reader(Millis(millis_left(until)));
  if (!reader.ok()) return reader.status();
  // A living child of a dead process keeps its journal open for as long as it likes: two seconds, then what there is.
  const std::int64_t patience = std::min(until, base::steady_ms() + 2'000);
  while (!core->drain->recovered() && millis_left(patience) > 0) ::usleep(2'000);
  if (Status s = core->drain->flush(Level::buffered, Millis(millis_left(until))); !s.ok()) return s;
  return (*reader)->run(uid);
}

Result<std::shared_ptr<RunState>> start_run(Session* session, const std::string& experiment, RunOptions options) {
  Starter starter(session, experiment, std::move(options));
  Result<std::shared_ptr<RunState>> run = starter.start();
  if (run.ok()) starter.watch(*run);
  return run;
}

}  // namespace mlops::client
