// Keys: (run, metric name) -> key, read without a lock. Entries and tables are never freed. Writers take turns by a
// lock of the caller's. Whole at any instant, so that a forked child can read what its parent had.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/uid.h"

namespace mlops::journal {

class Keys {
 public:
  struct Entry {
    std::uint64_t hash;
    std::uint32_t key;
    base::Uid run;
    std::string name;
  };

  Keys() : table_(new Table(64, nullptr)) {}
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  static std::uint64_t hash(const base::Uid& run, std::string_view name) {
    std::uint64_t h;
    std::memcpy(&h, run.bytes.data(), sizeof h);
    h ^= name.size() * 0x9E3779B97F4A7C15ull;
    const char* p = name.data();
    std::size_t n = name.size();
    for (; n >= 8; p += 8, n -= 8) h = mix(h, load(p, 8));
    if (n > 0) h = mix(h, load(p, n));
    return h ^ (h >> 29);
  }

  /// 0 when it is not there.
  std::uint32_t find(std::uint64_t hash, const base::Uid& run, std::string_view name) const {
    const Table* t = table_.load(std::memory_order_acquire);
    for (std::size_t i = hash & t->mask;; i = (i + 1) & t->mask) {
      const Entry* e = t->slots[i].load(std::memory_order_acquire);
      if (e == nullptr) return 0;
      if (e->hash == hash && e->name == name && e->run == run) return e->key;
    }
  }

  /// The caller holds its lock and knows that the entry is new.
  void add(std::uint64_t hash, const base::Uid& run, std::string_view name, std::uint32_t key);
  /// By key, 1.. ; for a forked child.
  std::vector<const Entry*> all() const;

 private:
  struct Table {
    Table(std::size_t size, Table* old) : mask(size - 1), older(old), slots(new std::atomic<Entry*>[size]()) {}
    std::size_t mask;
    Table* older;
    std::atomic<Entry*>* slots;
  };
  static std::uint64_t load(const char* p, std::size_t n) {
    std::uint64_t v = 0;
    std::memcpy(&v, p, n);
    return v;
  }
  static std::uint64_t mix(std::uint64_t h, std::uint64_t v) {
    h = (h ^ v) * 0xD6E8FEB86659FD93ull;
    return h ^ (h >> 32);
  }
  static void insert(Table* t, Entry* e);

  std::atomic<Table*> table_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace mlops::journal
