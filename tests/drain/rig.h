// Rig: slot, writer and drain put together as src/client does it; programs of their own process for the crash tests;
// and what the database holds afterwards, read with nothing of the drain's.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "buffer/buffer.h"
#include "drain/drain.h"
#include "journal/journal.h"

namespace mlops::drain::test {

/// A temporary folder, removed at the end.
struct Folder {
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

struct Rig;
struct RigOptions {
  Millis beat{20};
  std::uint32_t journal_mib = 64;
  Millis full_wait{10'000};
  std::uint64_t quota_mib = 0;
  std::uint64_t spool_mib = 0;
  bool with_writer = true;
  bool end_dead_runs = true;
  base::Placing placing{};
  std::function<void(Rig*)> before_drain{};  // the writer is there already
};

struct Rig {
  /// Takes any slot of the root, or exactly `slot_dir`.
  static std::unique_ptr<Rig> open(const std::string& root, const RigOptions& options = {},
                                   const std::string& slot_dir = {});
  ~Rig();

  base::Uid start_run(const std::string& name, const base::Uid& uid = base::Uid::random(), std::int64_t number = 1);
  void op(model::OpKind kind, const base::Uid& run, const std::string& key = {}, const std::string& value = {},
          std::int64_t number = 0);
  void end_run(const base::Uid& run, std::int64_t start = 1);
  std::uint32_t key(const base::Uid& run, const std::string& metric);
  void log(std::uint32_t key, double value, std::int64_t step, std::int64_t time_ms = -1) {
    detail::log_point({gate, generation, key}, value, step, time_ms);
  }
  /// As the composition root does it: no more records, last beat, lock released.
  Status close();
  /// In a forked child.
  void in_child();

  std::string dir;
  journal::Control* control = nullptr;
  journal::Writer* writer = nullptr;  // leaked, as the contract says
  std::unique_ptr<Drain> drain;
  detail::Core* core = nullptr;
  detail::Gate* gate = nullptr;
  std::uint32_t generation = 0;
};

/// (run, metric, step, value as bits): times are the journal's own.
using Seen = std::multimap<std::tuple<std::string, std::string, std::int64_t>, double>;
struct Contents {
  Seen points;
  std::map<base::Uid, model::RunRow> rows;
  std::vector<model::Op> ops;  // of all runs, by run and seq
  std::vector<model::JournalCursor> cursors;
  buffer::Identity identity;
  bool gapless = true;  // every run's records follow each other from 1 (or the first there is) to next_seq
};
Contents contents_of(const std::string& slot_dir);
std::string only_slot(const std::string& root);

/// Runs `program` (see programs.cc) in a process of its own: this very binary, exec'ed.
pid_t spawn(const std::string& program, const std::map<std::string, std::string>& environment);
int wait_for(pid_t pid);
std::string env(const char* name);

/// Shared words that survive the death of who writes them: a mapped file.
std::atomic<std::uint64_t>* shared_words(const std::string& path, std::size_t count);

}  // namespace mlops::drain::test
