#include "probe/samples.h"

#include <cmath>

namespace mlops::probe {

Samples::Entry* Samples::find(std::string_view name) {
  for (Entry& entry : entries_) {
    if (entry.name == name) return &entry;
  }
  entries_.push_back({std::string(name)});
  return &entries_.back();
}

void Samples::mean(std::string_view name, double value) {
  Entry* entry = find(name);
  entry->sum += value;
  ++entry->count;
}

void Samples::last(std::string_view name, double value) { find(name)->sum = value; }

std::vector<Reading> Samples::take() {
  std::vector<Reading> out;
  out.reserve(entries_.size());
  for (Entry& entry : entries_) {
    const double value = entry.count == 0 ? entry.sum : std::nearbyint(entry.sum / entry.count * 10) / 10;
    out.push_back({std::move(entry.name), value});
  }
  entries_.clear();
  return out;
}

}  // namespace mlops::probe
