// Kv over RocksDB's C API: the same source compiles with 7.8 and 11. See kv.h.
//
// RocksDB's own threads are started by the opening thread with all signals blocked: the host's handlers run on the
// host's threads.
#include "buffer/kv.h"

#include <dlfcn.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <rocksdb/version.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/file.h"

namespace mlops::buffer {
namespace {

constexpr std::size_t kMemtable = std::size_t{4} << 20, kCache = std::size_t{2} << 20, kBlock = std::size_t{8} << 10;
constexpr std::uint64_t kWal = std::uint64_t{16} << 20;
// rocksdb::InfoLogLevel. FATAL (4) lets header lines through, 70 KB of them at each open, and a build with assertions
// aborts at the one after a write that failed; 6 stops them. From 8 on it would also stop the open itself.
constexpr int kLogLevel = ROCKSDB_MAJOR < 8 ? 6 : 4;

rocksdb_writebatch_t* batch_of(void* rep) { return static_cast<rocksdb_writebatch_t*>(rep); }

// RocksDB's words for what went wrong as a Status; takes the C string.
Status take_error(char* error, std::string_view doing) {
  if (error == nullptr) return {};
  const std::string text = error;
  rocksdb_free(error);
  const auto has = [&text](const char* part) { return text.find(part) != std::string::npos; };
  std::string message = "the buffer's database cannot " + std::string(doing) + ": " + text;
  if (has("No space left") || has("NoSpace") || has("Disk quota") || has("Space limit") || has("File too large"))
    return Status(StatusCode::resource_exhausted, message + "; free disk space, what the journal holds is kept");
  if (has("Permission denied") || has("Read-only file system") || has("Operation not permitted"))
    return Status(StatusCode::permission_denied, message + "; make the folder writable for this user");
  if (has("lock hold by current process") || has("/LOCK: Resource temporarily unavailable") || has("While lock file"))
    return Status(StatusCode::unavailable, message + "; another process has it open");
  if (text.rfind("Corruption", 0) == 0 || has("does not exist (create_if_missing is false)"))
    return Status(StatusCode::data_loss, message);
  return Status(StatusCode::unavailable, std::move(message));
}

struct BlockSignals {
  sigset_t before;
  BlockSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
};

rocksdb_options_t* make_options(bool secondary) {
  rocksdb_options_t* o = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(o, secondary ? 0 : 1);
  // As good as silent, always: 7.8 aborts the process when a line of its log meets a full disk.
  rocksdb_options_set_info_log_level(o, kLogLevel);
  rocksdb_options_set_keep_log_file_num(o, 1);
  rocksdb_options_set_max_log_file_size(o, std::size_t{1} << 20);
  rocksdb_options_set_stats_dump_period_sec(o, 0);
  rocksdb_options_set_stats_persist_period_sec(o, 0);
  rocksdb_options_set_write_buffer_size(o, kMemtable);
  rocksdb_options_set_db_write_buffer_size(o, 2 * kMemtable);
  rocksdb_options_set_max_write_buffer_number(o, 2);
  rocksdb_options_set_max_total_wal_size(o, kWal);
  rocksdb_options_set_recycle_log_file_num(o, 0);
  rocksdb_options_set_manual_wal_flush(o, 0);  // accepted data would sit in process memory otherwise
  rocksdb_options_set_max_manifest_file_size(o, std::size_t{1} << 20);
  rocksdb_options_set_manifest_preallocation_size(o, std::size_t{64} << 10);
  rocksdb_options_set_max_background_jobs(o, 2);
  rocksdb_options_set_max_file_opening_threads(o, 1);
  rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
  // A secondary keeps every file open: the owner may delete one at any time.
  rocksdb_options_set_max_open_files(o, secondary ? -1 : 64);
  rocksdb_options_set_compression(o, rocksdb_no_compression);  // blocks come compressed

  rocksdb_block_based_table_options_t* table = rocksdb_block_based_options_create();
  rocksdb_cache_t* cache = rocksdb_cache_create_lru(kCache);
  rocksdb_block_based_options_set_format_version(table, 5);  // readable from 6.6 on
  rocksdb_block_based_options_set_block_size(table, kBlock);
  rocksdb_block_based_options_set_block_cache(table, cache);
  rocksdb_options_set_block_based_table_factory(o, table);
  rocksdb_cache_destroy(cache);
  rocksdb_block_based_options_destroy(table);
  return o;
}

pid_t library_pid = 0;  // of the process whose threads the library's background work runs on

// A forked child has the library's tables without their threads: a store opened there would wait for them for ever.
Status check_process() {
  Kv::prepare_library();
  if (library_pid == ::getpid()) return {};
  return Status(
      StatusCode::failed_precondition,
      "a forked child cannot open a database: its parent used one before the fork; exec, or read in the parent");
}

// A store whose CURRENT is gone must not be made anew over its files.
Status check_whole(const std::string& dir) {
  if (base::exists(dir + "/CURRENT")) return {};
  Result<std::vector<std::string>> names = base::list_dir(dir);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (name.ends_with(".sst") || name.ends_with(".log"))
      return Status(StatusCode::data_loss, "the buffer's database " + dir +
                                               " has data but no CURRENT file; restore it, or move the folder away "
                                               "(what the journal holds is kept)");
  }
  return {};
}

// The copy of the options that 7.8 cannot finish for kLogLevel; nobody reads it, and each open leaves one.
void remove_unfinished_options(const std::string& dir) {
  const Result<std::vector<std::string>> names = base::list_dir(dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with("OPTIONS-") && name.ends_with(".dbtmp")) ::unlink((dir + "/" + name).c_str());
  }
}

}  // namespace

Batch::Batch() : rep_(rocksdb_writebatch_create()) {}
Batch::~Batch() { rocksdb_writebatch_destroy(batch_of(rep_)); }
void Batch::put(std::string_view key, std::string_view value) {
  rocksdb_writebatch_put(batch_of(rep_), key.data(), key.size(), value.data(), value.size());
}
void Batch::erase(std::string_view key) { rocksdb_writebatch_delete(batch_of(rep_), key.data(), key.size()); }
void Batch::erase_range(std::string_view from, std::string_view until) {
  rocksdb_writebatch_delete_range(batch_of(rep_), from.data(), from.size(), until.data(), until.size());
}

struct Kv::Rep {
  rocksdb_t* db = nullptr;
  rocksdb_options_t* options = nullptr;
  rocksdb_writeoptions_t* write = nullptr;
  rocksdb_readoptions_t* read = nullptr;

  mutable std::mutex mutex;
  mutable std::condition_variable idle;
  mutable int uses = 0;
  bool closed = false;

  ~Rep() {
    if (db != nullptr) rocksdb_close(db);
    if (read != nullptr) rocksdb_readoptions_destroy(read);
    if (write != nullptr) rocksdb_writeoptions_destroy(write);
    if (options != nullptr) rocksdb_options_destroy(options);
  }
  bool is_closed() const {
    std::lock_guard<std::mutex> hold(mutex);
    return closed;
  }
};

class Kv::Use {
 public:
  explicit Use(const Rep* rep) : rep_(rep) {
    std::lock_guard<std::mutex> hold(rep_->mutex);
    open_ = !rep_->closed;
    if (open_) ++rep_->uses;
  }
  ~Use() {
    if (!open_) return;
    std::lock_guard<std::mutex> hold(rep_->mutex);
    if (--rep_->uses == 0) rep_->idle.notify_all();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const { return open_; }
  static Status refused() { return Status(StatusCode::failed_precondition, "the buffer's database is closed"); }

 private:
  const Rep* rep_;
  bool open_;
};

Kv::Kv(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Kv::~Kv() { close(); }

std::string Kv::built_with() {
  return std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." + std::to_string(ROCKSDB_PATCH);
}

std::string Kv::loaded_from() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&rocksdb_open), &info) == 0 || info.dli_fname == nullptr) return {};
  char* resolved = ::realpath(info.dli_fname, nullptr);
  std::string out = resolved != nullptr ? resolved : info.dli_fname;
  ::free(resolved);  // NOLINT(cppcoreguidelines-no-malloc): realpath's
  return out;
}

void Kv::prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    const BlockSignals blocked;
    rocksdb_env_t* memory = rocksdb_create_mem_env();
    rocksdb_options_t* options = make_options(false);
    rocksdb_options_set_env(options, memory);
    rocksdb_writeoptions_t* write = rocksdb_writeoptions_create();
    rocksdb_flushoptions_t* flush = rocksdb_flushoptions_create();
    char* error = nullptr;
    rocksdb_t* db = rocksdb_open(options, "/prepare", &error);
    if (db != nullptr) {
      rocksdb_put(db, write, "k", 1, "v", 1, &error);
      if (error == nullptr) rocksdb_flush(db, flush, &error);
      rocksdb_close(db);
    }
    if (error != nullptr) rocksdb_free(error);  // the real store will say what is wrong
    rocksdb_flushoptions_destroy(flush);
    rocksdb_writeoptions_destroy(write);
    rocksdb_options_destroy(options);
    rocksdb_env_destroy(memory);
    library_pid = ::getpid();
  });
}

Result<std::unique_ptr<Kv>> Kv::open(const std::string& dir) {
  if (Status s = check_process(); !s.ok()) return s;
  if (Status s = base::make_dirs(dir); !s.ok()) return s;
  if (Status s = check_whole(dir); !s.ok()) return s;
  auto rep = std::make_unique<Rep>();
  rep->options = make_options(false);
  rep->write = rocksdb_writeoptions_create();
  rep->read = rocksdb_readoptions_create();
  const BlockSignals blocked;
  char* error = nullptr;
  rep->db = rocksdb_open(rep->options, dir.c_str(), &error);
  remove_unfinished_options(dir);
  if (error != nullptr) return take_error(error, "be opened");
  return std::unique_ptr<Kv>(new Kv(std::move(rep)));
}

Result<std::unique_ptr<Kv>> Kv::open_secondary(const std::string& dir, const std::string& scratch) {
  if (!base::exists(dir + "/CURRENT")) return Status(StatusCode::not_found, "no database in " + dir + " yet");
  if (Status s = check_process(); !s.ok()) return s;
  if (Status s = base::make_dirs(scratch); !s.ok()) return s;
  auto rep = std::make_unique<Rep>();
  rep->options = make_options(true);
  rep->write = rocksdb_writeoptions_create();
  rep->read = rocksdb_readoptions_create();
  const BlockSignals blocked;
  char* error = nullptr;
  rep->db = rocksdb_open_as_secondary(rep->options, dir.c_str(), scratch.c_str(), &error);
  if (error != nullptr) return take_error(error, "be opened for reading");
  return std::unique_ptr<Kv>(new Kv(std::move(rep)));
}

Status Kv::get(std::string_view key, std::string* value) const {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  char* error = nullptr;
  rocksdb_pinnableslice_t* slice = rocksdb_get_pinned(rep_->db, rep_->read, key.data(), key.size(), &error);
  if (error != nullptr) return take_error(error, "be read");
  if (slice == nullptr) return Status(StatusCode::not_found, "no such row in the buffer");
  std::size_t size = 0;
  const char* bytes = rocksdb_pinnableslice_value(slice, &size);
  value->assign(bytes, size);
  rocksdb_pinnableslice_destroy(slice);
  return {};
}

Status Kv::each(std::string_view from, std::string_view until,
                const std::function<bool(std::string_view key, std::string_view value)>& take) const {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  rocksdb_readoptions_t* options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_iterate_upper_bound(options, until.data(), until.size());
  rocksdb_iterator_t* it = rocksdb_create_iterator(rep_->db, options);
  Status result;
  for (rocksdb_iter_seek(it, from.data(), from.size()); rocksdb_iter_valid(it) != 0; rocksdb_iter_next(it)) {
    if (rep_->is_closed()) {
      result = Use::refused();
      break;
    }
    std::size_t key_size = 0, value_size = 0;
    const char* key = rocksdb_iter_key(it, &key_size);
    const char* value = rocksdb_iter_value(it, &value_size);
    if (!take({key, key_size}, {value, value_size})) break;
  }
  char* error = nullptr;
  rocksdb_iter_get_error(it, &error);
  rocksdb_iter_destroy(it);
  rocksdb_readoptions_destroy(options);
  if (error != nullptr) return take_error(error, "be read");
  return result;
}

Status Kv::last(std::string_view from, std::string_view until, std::string* key) const {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  rocksdb_readoptions_t* options = rocksdb_readoptions_create();
  rocksdb_readoptions_set_iterate_upper_bound(options, until.data(), until.size());
  rocksdb_iterator_t* it = rocksdb_create_iterator(rep_->db, options);
  rocksdb_iter_seek_for_prev(it, until.data(), until.size());
  if (rocksdb_iter_valid(it) != 0) {
    std::size_t size = 0;
    const char* found = rocksdb_iter_key(it, &size);
    if (std::string_view(found, size) == until) rocksdb_iter_prev(it);
  }
  bool found = false;
  if (rocksdb_iter_valid(it) != 0) {
    std::size_t size = 0;
    const char* bytes = rocksdb_iter_key(it, &size);
    found = std::string_view(bytes, size) >= from;
    if (found) key->assign(bytes, size);
  }
  char* error = nullptr;
  rocksdb_iter_get_error(it, &error);
  rocksdb_iter_destroy(it);
  rocksdb_readoptions_destroy(options);
  if (error != nullptr) return take_error(error, "be read");
  return found ? Status() : Status(StatusCode::not_found, "no key in the range");
}

Status Kv::write(const Batch& batch) {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  char* error = nullptr;
  rocksdb_write(rep_->db, rep_->write, batch_of(batch.rep_), &error);
  return take_error(error, "be written");
}

Status Kv::sync() {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  char* error = nullptr;
  rocksdb_flush_wal(rep_->db, 1, &error);
  return take_error(error, "be made durable");
}

Status Kv::flush() {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  rocksdb_flushoptions_t* options = rocksdb_flushoptions_create();
  rocksdb_flushoptions_set_wait(options, 1);
  char* error = nullptr;
  rocksdb_flush(rep_->db, options, &error);
  rocksdb_flushoptions_destroy(options);
  return take_error(error, "be flushed");
}

Status Kv::refresh() {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  char* error = nullptr;
  rocksdb_try_catch_up_with_primary(rep_->db, &error);
  return take_error(error, "be refreshed");
}

Status Kv::drop_files(std::string_view from, std::string_view until) {
  const Use use(rep_.get());
  if (!use) return Use::refused();
  char* error = nullptr;
  rocksdb_delete_file_in_range(rep_->db, from.data(), from.size(), until.data(), until.size(), &error);
  if (error != nullptr) return take_error(error, "drop evicted files");
  // What shares a file with other keys, or lies in level 0, goes by rewriting those few files.
  rocksdb_compactoptions_t* options = rocksdb_compactoptions_create();
  rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
  rocksdb_compact_range_opt(rep_->db, options, from.data(), from.size(), until.data(), until.size());
  rocksdb_compactoptions_destroy(options);
  return {};
}

void Kv::close() {
  rocksdb_t* db = nullptr;
  {
    std::unique_lock<std::mutex> hold(rep_->mutex);
    rep_->closed = true;
    rep_->idle.wait(hold, [this] { return rep_->uses == 0; });
    db = rep_->db;
    rep_->db = nullptr;
  }
  if (db != nullptr) rocksdb_close(db);
}

}  // namespace mlops::buffer
