// A slot of its own for each test: folder, control page, a core's address, and the handle of a metric as the client
// makes it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "journal/journal.h"
#include "mlops/detail/hot.h"

namespace mlops::journal {

/// What one handle of a metric holds.
struct Handle : detail::Handle {
  using detail::Handle::Handle;
  void log(double value, std::int64_t step, std::int64_t time_ms = detail::kNow) const {
    detail::log_point(*this, value, step, time_ms);
  }
};

class Room {
 public:
  Room() {
    std::string pattern = testing::TempDir() + "/mlops-journal-XXXXXX";
    dir = ::mkdtemp(pattern.data());
    map = std::move(base::Mapping::create(dir + "/control", 4096, 4096).value());
    control = new (map.data()) Control{};
    static auto* const cores = new std::vector<void*>;  // never given back, as a core
    cores->push_back(::operator new(64));
    core = static_cast<detail::Core*>(cores->back());
  }
  ~Room() {
    writer.reset();
    base::remove_tree(dir).ignore();
  }
  Writer* open(WriterOptions options = {}) {
    options.slot_dir = dir;
    auto made = Writer::create(options, control, core);
    EXPECT_TRUE(made.ok()) << made.status().to_string();
    writer = std::move(*made);
    bind_core(core, writer.get());
    return writer.get();
  }
  Handle handle(const base::Uid& run, std::string_view name) {
    auto key = writer->key(run, name);
    EXPECT_TRUE(key.ok()) << key.status().to_string();
    detail::Gate* gate = open_gate(core);
    return {gate, gate->generation.load(), key.value()};
  }
  std::string journal() const { return dir + "/journal/" + writer->uid().hex(); }

  std::string dir;
  base::Mapping map;
  Control* control;
  detail::Core* core;
  std::unique_ptr<Writer> writer;
};

/// Everything a collector gives until it gives nothing, checked for what a batch promises.
struct Taken {
  std::map<std::uint32_t, KeyDef> keys;
  std::vector<KeyedPoint> points;
  std::vector<model::Op> ops;
  std::uint64_t damaged = 0;

  bool pass(Collector* c, std::size_t max_points = 1'000'000) {
    Batch b;
    const bool any = c->collect(&b, max_points);
    for (const KeyDef& k : b.keys) {
      EXPECT_TRUE(keys.emplace(k.key, k).second) << "key " << k.key << " defined twice";
    }
    for (const KeyedPoint& p : b.points) EXPECT_TRUE(keys.contains(p.key)) << "a point of unknown key " << p.key;
    points.insert(points.end(), b.points.begin(), b.points.end());
    ops.insert(ops.end(), b.ops.begin(), b.ops.end());
    damaged += b.damaged;
    return any;
  }
  void all(Collector* c, std::size_t max_points = 1'000'000) {
    while (pass(c, max_points)) {
    }
  }
  /// Steps of a metric, in the order taken.
  std::vector<std::int64_t> steps(std::string_view name) const {
    std::vector<std::int64_t> out;
    for (const KeyedPoint& p : points) {
      if (keys.at(p.key).name == name) out.push_back(p.point.step);
    }
    return out;
  }
};

inline model::Op tag(const base::Uid& run, std::string key, std::string value) {
  model::Op op;
  op.run = run;
  op.kind = model::OpKind::set_tag;
  op.key = std::move(key);
  op.value = std::move(value);
  return op;
}

}  // namespace mlops::journal
