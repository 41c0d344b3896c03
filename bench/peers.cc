// The peers of the hot path: what else one would log a number with. Each does one record per call, on a file system.
#include <rocksdb/c.h>
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <cstring>
#include <memory>

#include "pacing.h"

#if defined(MLOPS_BENCH_SQLITE)
#include <sqlite3.h>
#endif

namespace mlops::bench {

bool pace_spdlog(const Pacing& p, int rounds, Paced* out, std::string*) {
  const TempFolder folder;
  {
    auto pool = std::make_shared<spdlog::details::thread_pool>(1 << 17, 1);
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(folder.path() + "/log");
    auto logger = std::make_shared<spdlog::async_logger>("bench", sink, pool, spdlog::async_overflow_policy::block);
    *out = pace(p, rounds, {}, [&](std::int64_t i) { logger->info("loss {} {}", noise(i), i); })[0];
  }
  return true;
}

bool pace_rocksdb(const Pacing& p, int rounds, Paced* out, std::string* why) {
  const TempFolder folder;
  rocksdb_options_t* options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(options, 1);
  char* error = nullptr;
  rocksdb_t* db = rocksdb_open(options, (folder.path() + "/db").c_str(), &error);
  if (error != nullptr) {
    *why = error;
    rocksdb_free(error);
    rocksdb_options_destroy(options);
    return false;
  }
  rocksdb_writeoptions_t* write = rocksdb_writeoptions_create();  // WAL, no sync
  *out = pace(p, rounds, {}, [&](std::int64_t i) {
    char key[16], value[24];
    std::memcpy(key, "loss....", 8);
    std::memcpy(key + 8, &i, 8);
    const double v = noise(i);
    std::memcpy(value, &v, 8);
    std::memcpy(value + 8, &i, 8);
    std::memcpy(value + 16, &i, 8);
    char* failed = nullptr;
    rocksdb_put(db, write, key, sizeof key, value, sizeof value, &failed);
    rocksdb_free(failed);
  })[0];
  rocksdb_writeoptions_destroy(write);
  rocksdb_close(db);
  rocksdb_options_destroy(options);
  return true;
}

#if defined(MLOPS_BENCH_SQLITE)
bool pace_sqlite(const Pacing& p, int rounds, Paced* out, std::string* why) {
  const TempFolder folder;
  sqlite3* db = nullptr;
  if (sqlite3_open((folder.path() + "/log.db").c_str(), &db) != SQLITE_OK) {
    *why = sqlite3_errmsg(db);
    sqlite3_close(db);
    return false;
  }
  sqlite3_exec(db, "pragma journal_mode=wal; pragma synchronous=normal; create table m(step, time, value)", nullptr,
               nullptr, nullptr);
  sqlite3_stmt* insert = nullptr;
  if (sqlite3_prepare_v2(db, "insert into m values(?, ?, ?)", -1, &insert, nullptr) != SQLITE_OK) {
    *why = sqlite3_errmsg(db);
    sqlite3_close(db);
    return false;
  }
  *out = pace(p, rounds, {}, [&](std::int64_t i) {
    sqlite3_bind_int64(insert, 1, i);
    sqlite3_bind_int64(insert, 2, i);
    sqlite3_bind_double(insert, 3, noise(i));
    sqlite3_step(insert);
    sqlite3_reset(insert);
  })[0];
  sqlite3_finalize(insert);
  sqlite3_close(db);
  return true;
}
#else
bool pace_sqlite(const Pacing&, int, Paced*, std::string* why) {
  *why = "built without SQLite (libsqlite3-dev)";
  return false;
}
#endif

#if !defined(MLOPS_BENCH_HAS_QUILL)
bool pace_quill(const Pacing&, int, Paced*, std::string* why) {
  *why = "set MLOPS_BENCH_QUILL to a folder with Quill's headers to compare";
  return false;
}
#endif

}  // namespace mlops::bench
