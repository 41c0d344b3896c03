#include "ledger/requests.h"

#include <algorithm>

#include "base/base.h"
#include "base/file.h"
#include "ledger/frames.h"

namespace mlops::ledger {
namespace {

using State = DeadLetter::State;

std::string folder(const std::string& slot_dir, const std::string& name) {
  return slot_dir + "/delivery/" + name + "/asked";
}

/// A letter leaves or joins those that count as dead. Above the cursor none is counted yet: the lane's walk does it.
void count(const DeadLetter& letter, bool dead, Lane* lane) {
  if (letter.seq >= lane->cursor || letter.dead() == dead) return;
  if (dead) {
    ++lane->dead;
    lane->dead_points += letter.points;
  } else {
    lane->dead -= std::min<std::uint64_t>(lane->dead, 1);
    lane->dead_points -= std::min(lane->dead_points, letter.points);
  }
}

Status apply_to_letter(const Request& request, DeadLetter letter, Ledger* ledger) {
  if (letter.state != State::refused && letter.state != State::retrying) return {};
  const State next = request.verb == Request::Verb::retry ? State::retrying : State::given_up;
  if (letter.artifact) {  // its bytes and path are what they are: key and value do not apply
    ArtifactPlace place = ledger->artifacts(request.run);
    const bool was_dead = letter.dead();
    letter.state = next;
    if (letter.dead() && !was_dead) ++place.dead;
    if (!letter.dead() && was_dead && place.dead > 0) --place.dead;
    return ledger->put(place, letter);
  }
  Lane lane = ledger->lane(request.run);
  count(letter, next == State::given_up, &lane);
  letter.state = next;
  if (request.key) letter.key = request.key;
  if (request.value) letter.value = request.value;
  return ledger->put(lane, letter);
}

Status give_up_run(const Request& request, Lane lane, Ledger* ledger) {
  if (request.until <= lane.cursor) return {};
  for (DeadLetter letter : ledger->dead(request.run)) {  // not counted yet: they are among what is given up now
    if (letter.artifact || letter.seq < lane.cursor || letter.seq >= request.until) continue;
    letter.state = State::delivered;
    if (Status s = ledger->add_dead(letter); !s.ok()) return s;
  }
  DeadLetter letter;
  letter.run = request.run;
  letter.seq = lane.cursor;
  letter.count = request.until - lane.cursor;
  letter.points = request.points;
  letter.what = "records from seq " + std::to_string(lane.cursor) + " to " + std::to_string(request.until - 1);
  letter.reason = "given up while the run was parked: " + lane.parked;
  letter.time_ms = base::now_ms();
  letter.state = State::given_up;
  lane.cursor = request.until;
  lane.in_flight = lane.watermark = 0;
  lane.resend = false;
  ++lane.dead;
  lane.dead_points += letter.points;
  lane.parked.clear();
  if (Status s = ledger->put(lane, letter); !s.ok()) return s;
  // Its files too.
  ArtifactPlace place = ledger->artifacts(request.run);
  place.buffer_uid = lane.buffer_uid;
  place.buffer_generation = lane.buffer_generation;
  place.cursor = std::max(place.cursor, request.until);
  place.beyond.erase(place.beyond.begin(), place.beyond.lower_bound(place.cursor));
  return ledger->put(place);
}

}  // namespace

Result<std::string> ask(const std::string& slot_dir, const std::string& name, const std::vector<Request>& requests) {
  const std::string dir = folder(slot_dir, name);
  if (Status s = base::make_dirs(dir); !s.ok()) return s;
  std::string path = dir + "/" + Uid::random().hex();
  if (Status s = base::replace_file(path, encode_requests(requests), true); !s.ok()) return s;
  return path;
}

std::vector<Asked> asked(const std::string& slot_dir, const std::string& name) {
  std::vector<Asked> out;
  const std::string dir = folder(slot_dir, name);
  if (!base::exists(dir)) return out;
  const Result<std::vector<std::string>> names = base::list_dir(dir);
  for (std::size_t i = 0; names.ok() && i < names->size(); ++i) {
    Uid uid;
    if (!Uid::parse((*names)[i], &uid)) continue;  // one that is being written
    const std::string path = dir + "/" + (*names)[i];
    const Result<std::string> bytes = base::read_file(path, kMaxFrame + 100);
    if (!bytes.ok()) continue;
    if (auto requests = decode_requests(*bytes)) out.push_back({path, std::move(*requests)});
  }
  return out;
}

Status apply(const Request& request, Ledger* ledger) {
  if (request.seq == 0) {
    Lane lane = ledger->lane(request.run);
    if (lane.parked.empty()) return {};
    if (request.verb == Request::Verb::drop) return give_up_run(request, std::move(lane), ledger);
    lane.parked.clear();
    return ledger->put(lane);
  }
  for (DeadLetter& letter : ledger->dead(request.run)) {
    if (letter.seq == request.seq) return apply_to_letter(request, std::move(letter), ledger);
  }
  return {};
}

}  // namespace mlops::ledger
