// Uploads: brings the files of artifact records to where a run's artifacts are, in order of age, beside the lanes and
// never in their way: threads of its own (`mlops-put-N`), made when there is something to bring and let go when not,
// with a connection each, up to four at once. Many small files of a run go in parallel, large ones in parts.
//
// Only what is durable is sent. A file that is sent again replaces itself, so nothing needs to be proved before it is
// repeated; but a good answer is believed only where it deserves it: on servers before 3.0 (a cut PUT leaves a short
// file that is listed as whole), and after an answer that was none, the size is read. Of two records with one path, the
// newer one's bytes are sent. Finished parts are in the ledger before the next ones begin.
//
// Gates: trouble that concerns a whole store (one bucket, the tracking server) holds back what goes there, and nothing
// else. No limit on tries while data is on disk.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "ledger/ledger.h"
#include "mlops/health.h"
#include "store/store.h"
#include "sync/concurrency.h"
#include "sync/remote.h"
#include "sync/shared.h"
#include "sync/upload_files.h"

namespace mlops::sync {

struct UploadParts {
  MakeRemote make_remote;
  std::function<Result<std::unique_ptr<store::Store>>(const store::Place&)> make_store;
  std::function<Result<base::Fd>(const buffer::FileRow&)> open_file;
  std::function<std::string(const base::Uid& run)> server_id;  // empty: not created yet
  std::function<void(const base::Uid& run)> done;              // what somebody asked for is delivered now
  std::string tracking_uri;
  Credentials credentials;
  std::shared_ptr<Turnstile> turnstile;  // null: none
  int max_connections = 4;
};

struct UploadCounts {
  std::uint64_t files = 0, bytes = 0;                  // delivered
  std::uint64_t waiting_files = 0, waiting_bytes = 0;  // not yet
  std::uint64_t dead = 0;
  std::uint64_t bytes_sent = 0;
  LaneState state = LaneState::idle;
  std::int64_t oldest_ms = 0;  // time of the oldest record that waits
  Status error;
};

/// Thread-safe.
class Uploads {
 public:
  Uploads(Shared* shared, UploadParts parts);
  ~Uploads();

  /// From here on it delivers.
  void take_over(ledger::Ledger* ledger);
  /// What another deliverer has done, for the counts; nothing is sent.
  void stand_by(const ledger::Ledger::Snapshot& snapshot);
  /// Runs as they are now: those with something new are looked at.
  void see(const std::vector<model::RunRow>& rows);
  void wake();       // a run has got its server id
  void retry_now();  // skips all waiting
  /// Its items are made anew from the ledger: a person decided something.
  void reload(const base::Uid& run);
  /// While it is held nothing is written to the ledger from here.
  std::unique_lock<std::mutex> hold() const { return std::unique_lock<std::mutex>(mu_); }

  /// Shared::artifacts_delivered.
  bool delivered(const base::Uid& run, const base::Uid& model, std::uint64_t ticket);
  /// Every artifact record of the run with a smaller seq is delivered or dead, of what was seen.
  bool delivered_below(const base::Uid& run, std::uint64_t seq) const;
  bool waiting(const base::Uid& run) const;
  UploadCounts counts() const;

  void ask_stop();  // nothing new begins
  void cancel();    // ends the requests in flight
  void let_go();    // the ledger is not ours any more: ends what is under way, and stands by
  void stop();      // waits for the threads; the ledger is not touched any more

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Gate {
    LaneState state = LaneState::idle;  // idle: open
    std::int64_t until = 0;
    bool tried = false;
    int doubtful = 0;  // answers of unknown fate in a row
    Backoff backoff;
    Status error;
    Gate(std::int64_t first, std::int64_t most) : backoff(first, most) {}
  };
  struct Worker {
    std::thread thread;
    std::unique_ptr<store::Store> store;
    std::string store_of;  // which place it was made for
    std::unique_ptr<Remote> remote;
    bool gone = false, busy = false;
    int index = 0;
  };
  struct Job {
    enum class Kind { none, resolve, whole, begin, part, finish, prove, abort } kind = Kind::none;
    base::Uid run, model;
    std::uint64_t seq = 0;
    std::size_t part = 0;
    std::string server_id, root, path, gate;
    std::string key;     // of the busy path
    std::string folder;  // prove
    buffer::FileRow file;
    bool doubtful = false, rewrites = false;
    std::shared_ptr<ledger::Upload> upload;  // of a part: not changed meanwhile but for this part's etag
    std::vector<std::pair<std::uint64_t, std::string>> proving;  // seq, path
    int tries = 0;                                               // abort: before this one
    std::int64_t due = 0;                                        // abort: not before
    // What came of it:
    store::Answer answer;
    std::uint64_t wakes = 0;  // resolve: as of its begin
    bool may_part = true;     // in parts, where the store likes that
    bool is_done = false;     // its size was read, and is right
    bool no_parts = false;    // the store takes none
    bool proves = false;      // a good answer is no proof here
    bool waits = false;       // its place is not known yet
    Status local;             // of the spool
    std::string etag;
    std::shared_ptr<ledger::Upload> begun;
    std::map<std::string, std::uint64_t> sizes;  // prove: by path
    std::set<std::string> folders;               // prove: paths that are folders there
    double seconds = 0;
  };

  static std::string gate_name(const std::string& root);
  // upload.cc: what there is to do
  void look(Lock& lock, const base::Uid& run, std::uint64_t next_seq);
  void merge(const base::Uid& run, const std::vector<buffer::ArtifactRow>& rows, std::uint64_t next_seq);
  Status place_of(const base::Uid& run, ledger::ArtifactPlace* place);
  std::map<std::uint64_t, ledger::DeadLetter> letters_of(const base::Uid& run) const;
  void make_ready(RunFiles* files, UploadItem* item, const buffer::ArtifactRow& row);
  void leave(UploadItem* item, std::uint64_t bytes);
  bool any_before(const RunFiles& files, const base::Uid& model, std::uint64_t ticket) const;
  Status settle_place(RunFiles* files, bool now);
  void drop_if_done(const base::Uid& run);
  void forget(RunFiles* files, std::uint64_t seq);
  // upload_turns.cc: whose turn it is
  Job next_job(std::int64_t now, std::int64_t* until, std::vector<base::Uid>* told);
  bool job_of(RunFiles* files, std::int64_t now, std::int64_t* until, Job* job, std::vector<base::Uid>* told);
  bool gate_open(const std::string& gate, std::int64_t now, std::int64_t* until);
  Gate& gate_of(const std::string& name);
  void start_worker();
  void work(Worker* worker);
  // upload_work.cc: a request
  void perform(Worker* worker, Job* job);
  void perform_resolve(Worker* worker, Job* job);
  store::Answer perform_on(store::Store* store, Job* job);
  Result<store::Store*> store_for(Worker* worker, const Job& job);
  // upload_settle.cc: what its answer means
  void settle(Job* job, Worker* worker, std::vector<base::Uid>* told);
  void settle_good(RunFiles* files, UploadItem* item, Job* job, std::vector<base::Uid>* told);
  void settle_proof(RunFiles* files, Job* job, std::vector<base::Uid>* told);
  void settle_resolve(RunFiles* files, Job* job);
  void settle_abort(Job* job);
  void settle_trouble(RunFiles* files, UploadItem* item, Job* job, std::vector<base::Uid>* told);
  void finish(RunFiles* files, std::uint64_t seq, std::vector<base::Uid>* told);
  void bury(RunFiles* files, std::uint64_t seq, const std::string& reason, std::vector<base::Uid>* told);
  void written(RunFiles* files, std::uint64_t seq, const Status& status, std::vector<base::Uid>* told);
  void begin_again(RunFiles* files, UploadItem* item, const std::string& why);
  void abort(const RunFiles& files, const UploadItem& item);
  void again(RunFiles* files, UploadItem* item, std::int64_t delay_ms);
  void close_gate(const std::string& gate, LaneState state, const store::Answer& answer);
  void untried(const std::string& gate);  // what was its trial told nothing of it
  void open_gate(const std::string& gate);

  Shared* const shared_;
  const UploadParts parts_;

  mutable std::mutex mu_;
  std::condition_variable work_cv_, left_cv_;
  ledger::Ledger* ledger_ = nullptr;
  bool stopping_ = false, leaving_ = false;
  std::uint64_t wakes_ = 0;
  std::map<base::Uid, ledger::ArtifactPlace> standby_;
  std::map<base::Uid, std::map<std::uint64_t, ledger::DeadLetter>> standby_letters_;
  std::unordered_map<base::Uid, std::uint64_t, base::UidHash> looked_;  // next_seq at the last look
  std::unordered_map<base::Uid, std::unique_ptr<RunFiles>, base::UidHash> runs_;
  std::set<std::pair<std::int64_t, base::Uid>> order_;                     // of runs_, by age
  std::map<std::pair<base::Uid, std::uint64_t>, ledger::Upload> resumed_;  // from the ledger, until looked at
  std::map<std::string, Gate> gates_;
  std::set<std::string> no_parts_;  // stores that take no uploads in parts
  std::vector<Job> aborts_;
  std::vector<std::unique_ptr<Worker>> workers_;
  int working_ = 0, made_ = 0;
  Concurrency concurrency_;
  UploadCounts counts_;
  Status local_error_;
};

}  // namespace mlops::sync
