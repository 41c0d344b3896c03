#include "ledger/artifacts.h"

namespace mlops::ledger {
namespace {

constexpr std::size_t kFinishedBytes = 10;  // of one more number in a place

}  // namespace

void ArtifactBook::take(const ArtifactPlace& place, std::size_t bytes) {
  std::size_t& old = place_bytes_[place.run];
  live_bytes_ += bytes - old;
  old = bytes;
  places_[place.run] = place;
}

void ArtifactBook::take(const Finished& finished) {
  ArtifactPlace& place = places_[finished.run];
  place.run = finished.run;
  if (finished.seq >= place.cursor && place.beyond.insert(finished.seq).second) {
    place_bytes_[finished.run] += kFinishedBytes;
    live_bytes_ += kFinishedBytes;
  }
  if (finished.dead) {
    ++place.dead;
  } else {
    ++place.files;
    place.bytes += finished.bytes;
  }
  forget({finished.run, finished.seq});
}

void ArtifactBook::forget(const Key& key) {
  const auto it = uploads_.find(key);
  if (it == uploads_.end()) return;
  live_bytes_ -= it->second.bytes;
  uploads_.erase(it);
}

void ArtifactBook::take(const Upload& part, const std::vector<std::uint32_t>& numbers, std::size_t bytes) {
  const Key key{part.run, part.seq};
  const auto it = uploads_.find(key);
  if (it != uploads_.end() && it->second.upload.id != part.id) forget(key);
  if (part.id.empty()) return;
  Kept& kept = uploads_[key];
  Upload& upload = kept.upload;
  upload.run = part.run;
  upload.seq = part.seq;
  upload.id = part.id;
  if (part.part_size != 0) upload.part_size = part.part_size;
  if (part.size != 0) upload.size = part.size;
  for (std::size_t i = 0; i < numbers.size() && i < part.parts.size(); ++i) {
    const std::uint32_t number = numbers[i];
    if (number == 0 || number > 10'000) continue;  // no store has more
    if (upload.parts.size() < number) upload.parts.resize(number);
    Upload::Part& there = upload.parts[number - 1];
    if (!part.parts[i].etag.empty()) there.etag = part.parts[i].etag;
    if (!part.parts[i].url.empty()) {
      there.url = part.parts[i].url;
      there.headers = part.parts[i].headers;
    }
  }
  kept.bytes += bytes;
  live_bytes_ += bytes;
}

ArtifactPlace ArtifactBook::place(const base::Uid& run) const {
  const auto it = places_.find(run);
  if (it != places_.end()) return it->second;
  ArtifactPlace fresh;
  fresh.run = run;
  return fresh;
}

const Upload* ArtifactBook::upload(const base::Uid& run, std::uint64_t seq) const {
  const auto it = uploads_.find({run, seq});
  return it == uploads_.end() ? nullptr : &it->second.upload;
}

std::vector<Upload> ArtifactBook::uploads() const {
  std::vector<Upload> all;
  for (const auto& [key, kept] : uploads_) all.push_back(kept.upload);
  return all;
}

}  // namespace mlops::ledger
