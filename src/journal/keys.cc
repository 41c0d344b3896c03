#include "journal/keys.h"

#include <algorithm>

namespace mlops::journal {

void Keys::insert(Table* t, Entry* e) {
  std::size_t i = e->hash & t->mask;
  while (t->slots[i].load(std::memory_order_relaxed) != nullptr) i = (i + 1) & t->mask;
  t->slots[i].store(e, std::memory_order_release);
}

void Keys::add(std::uint64_t hash, const base::Uid& run, std::string_view name, std::uint32_t key) {
  Table* t = table_.load(std::memory_order_relaxed);
  const std::size_t count = count_.load(std::memory_order_relaxed) + 1;
  if (count * 2 > t->mask) {
    Table* bigger = new Table((t->mask + 1) * 2, t);
    for (std::size_t i = 0; i <= t->mask; ++i) {
      if (Entry* e = t->slots[i].load(std::memory_order_relaxed); e != nullptr) insert(bigger, e);
    }
    table_.store(bigger, std::memory_order_release);
    t = bigger;
  }
  insert(t, new Entry{hash, key, run, std::string(name)});
  count_.store(count, std::memory_order_relaxed);
}

std::vector<const Keys::Entry*> Keys::all() const {
  std::vector<const Entry*> entries;
  const Table* t = table_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i <= t->mask; ++i) {
    if (const Entry* e = t->slots[i].load(std::memory_order_acquire); e != nullptr) entries.push_back(e);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry* a, const Entry* b) { return a->key < b->key; });
  return entries;
}

}  // namespace mlops::journal
