// The one file that knows the ledger's protobuf messages.
#include "ledger/frames.h"

#include <cstring>

#include "base/base.h"
#include "ledger/ledger.pb.h"

namespace mlops::ledger {
namespace {

namespace pb = mlops::internal::ledger;

void put_uid(const Uid& uid, std::string* out) { out->assign(uid.view()); }

Uid get_uid(const std::string& bytes) {
  Uid uid;
  if (bytes.size() == uid.bytes.size()) std::memcpy(uid.bytes.data(), bytes.data(), bytes.size());
  return uid;
}

std::string cut(const std::string& text) { return text.size() <= kMaxText ? text : text.substr(0, kMaxText); }

std::string frame(const google::protobuf::MessageLite& message, std::uint64_t seed) {
  const std::string payload = message.SerializeAsString();
  const auto length = static_cast<std::uint32_t>(payload.size());
  const std::uint64_t sum = base::hash64(payload, seed);
  std::string out(kFrameHeader, '\0');
  for (int i = 0; i < 4; ++i) out[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
  for (int i = 0; i < 8; ++i) out[static_cast<std::size_t>(i) + 4] = static_cast<char>(sum >> (8 * i));
  return out + payload;
}

std::uint64_t little(std::string_view bytes) {
  std::uint64_t v = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) v = (v << 8) | static_cast<unsigned char>(bytes[i]);
  return v;
}

/// The payload of the frame at `at`, or nothing when it does not verify.
std::optional<std::string_view> payload_at(std::string_view file, std::size_t at) {
  if (file.size() < at + kFrameHeader) return std::nullopt;
  const std::uint64_t length = little(file.substr(at, 4));
  if (length > kMaxFrame || file.size() - at - kFrameHeader < length) return std::nullopt;
  const std::string_view payload = file.substr(at + kFrameHeader, length);
  if (base::hash64(payload, at) != little(file.substr(at + 4, 8))) return std::nullopt;
  return payload;
}

Lane lane_of(const pb::Lane& m) {
  Lane lane;
  lane.run = get_uid(m.run());
  lane.server_id = m.server_id();
  lane.experiment_id = m.experiment_id();
  lane.buffer_uid = get_uid(m.buffer_uid());
  lane.buffer_generation = m.buffer_generation();
  lane.cursor = m.cursor();
  lane.in_flight = m.in_flight();
  lane.creating = m.creating();
  lane.resend = m.resend();
  lane.delivered = m.delivered();
  lane.dead = m.dead();
  lane.ended = m.ended();
  lane.parked = m.parked();
  lane.watermark = m.watermark();
  lane.dead_points = m.dead_points();
  lane.parked_ms = m.parked_ms();
  lane.deleted = m.deleted();
  return lane;
}

DeadLetter letter_of(const pb::DeadLetter& m) {
  DeadLetter letter{get_uid(m.run()), m.seq(), m.count(), m.what(), m.reason(), m.time_ms(), m.points()};
  if (letter.points == 0 && letter.what.rfind("metric ", 0) == 0) letter.points = letter.count;  // an older one
  if (m.state() <= static_cast<std::uint32_t>(DeadLetter::State::given_up)) {
    letter.state = static_cast<DeadLetter::State>(m.state());
  }
  if (m.has_key()) letter.key = m.key();
  if (m.has_value()) letter.value = m.value();
  letter.artifact = m.artifact();
  return letter;
}

ArtifactPlace place_of(const pb::Artifacts& m) {
  ArtifactPlace place;
  place.run = get_uid(m.run());
  place.buffer_uid = get_uid(m.buffer_uid());
  place.buffer_generation = m.buffer_generation();
  place.cursor = m.cursor();
  place.beyond.insert(m.beyond().begin(), m.beyond().end());
  place.files = m.files();
  place.bytes = m.bytes();
  place.dead = m.dead();
  place.root = m.root();
  return place;
}

Upload upload_of(const pb::Upload& m, std::vector<std::uint32_t>* numbers) {
  Upload upload;
  upload.run = get_uid(m.run());
  upload.seq = m.seq();
  upload.id = m.id();
  upload.part_size = m.part_size();
  upload.size = m.size();
  for (const pb::Upload::Part& p : m.parts()) {
    numbers->push_back(p.number());
    Upload::Part& part = upload.parts.emplace_back();
    part.etag = p.etag();
    part.url = p.url();
    for (const pb::Upload::Header& h : p.headers()) part.headers.emplace_back(h.name(), h.value());
  }
  return upload;
}

IntentResult intent_of(const pb::Intent& m) {
  IntentResult result;
  result.uid = get_uid(m.uid());
  if (m.state() >= 1 && m.state() <= static_cast<std::uint32_t>(IntentResult::State::condition_failed)) {
    result.state = static_cast<IntentResult::State>(m.state());
  }
  result.verb = m.verb();
  result.model = m.model();
  result.version = m.version();
  result.from = m.from();
  result.code = static_cast<int>(m.code());
  result.words = m.words();
  result.time_ms = m.time_ms();
  result.seq = m.seq();
  return result;
}

ModelState model_of(const pb::Model& m) {
  ModelState model;
  model.uid = get_uid(m.uid());
  model.run = get_uid(m.run());
  if (m.state() >= 1 && m.state() <= static_cast<std::uint32_t>(ModelState::State::refused)) {
    model.state = static_cast<ModelState::State>(m.state());
  }
  model.name = m.name();
  model.server_id = m.server_id();
  model.root = m.root();
  model.seq = m.seq();
  model.end_seq = m.end_seq();
  model.end_ticket = m.end_ticket();
  model.complete = m.complete();
  model.history = m.history();
  model.open = m.open();
  model.reason = m.reason();
  return model;
}

}  // namespace

std::string destination_frame(const Destination& destination, std::uint64_t offset) {
  pb::Frame f;
  f.mutable_destination()->set_name(destination.name);
  f.mutable_destination()->set_uri(destination.uri);
  return frame(f, offset);
}

std::string lane_frame(const Lane& lane, std::uint64_t offset) {
  pb::Frame f;
  pb::Lane* m = f.mutable_lane();
  put_uid(lane.run, m->mutable_run());
  m->set_server_id(lane.server_id);
  m->set_experiment_id(lane.experiment_id);
  put_uid(lane.buffer_uid, m->mutable_buffer_uid());
  m->set_buffer_generation(lane.buffer_generation);
  m->set_cursor(lane.cursor);
  m->set_in_flight(lane.in_flight);
  m->set_creating(lane.creating);
  m->set_resend(lane.resend);
  m->set_delivered(lane.delivered);
  m->set_dead(lane.dead);
  m->set_ended(lane.ended);
  m->set_parked(cut(lane.parked));
  m->set_watermark(lane.watermark);
  m->set_dead_points(lane.dead_points);
  m->set_parked_ms(lane.parked_ms);
  m->set_deleted(lane.deleted);
  return frame(f, offset);
}

std::string dead_frame(const DeadLetter& letter, std::uint64_t offset) {
  pb::Frame f;
  pb::DeadLetter* m = f.mutable_dead();
  put_uid(letter.run, m->mutable_run());
  m->set_seq(letter.seq);
  m->set_count(letter.count);
  m->set_what(cut(letter.what));
  m->set_reason(cut(letter.reason));
  m->set_time_ms(letter.time_ms);
  m->set_points(letter.points);
  m->set_state(static_cast<std::uint32_t>(letter.state));
  if (letter.key) m->set_key(*letter.key);
  if (letter.value) m->set_value(*letter.value);
  m->set_artifact(letter.artifact);
  return frame(f, offset);
}

std::string artifacts_frame(const ArtifactPlace& place, std::uint64_t offset) {
  pb::Frame f;
  pb::Artifacts* m = f.mutable_artifacts();
  put_uid(place.run, m->mutable_run());
  put_uid(place.buffer_uid, m->mutable_buffer_uid());
  m->set_buffer_generation(place.buffer_generation);
  m->set_cursor(place.cursor);
  for (const std::uint64_t seq : place.beyond) m->add_beyond(seq);
  m->set_files(place.files);
  m->set_bytes(place.bytes);
  m->set_dead(place.dead);
  m->set_root(cut(place.root));
  return frame(f, offset);
}

std::string finished_frame(const Finished& finished, std::uint64_t offset) {
  pb::Frame f;
  pb::Finished* m = f.mutable_finished();
  put_uid(finished.run, m->mutable_run());
  m->set_seq(finished.seq);
  m->set_bytes(finished.bytes);
  m->set_dead(finished.dead);
  return frame(f, offset);
}

std::string upload_frames(const Upload& upload, std::uint64_t offset) {
  std::string out;
  std::size_t at = 0;
  do {
    pb::Frame f;
    pb::Upload* m = f.mutable_upload();
    put_uid(upload.run, m->mutable_run());
    m->set_seq(upload.seq);
    m->set_id(upload.id);
    m->set_part_size(upload.part_size);
    m->set_size(upload.size);
    for (std::size_t n = 0; n < kPartsInFrame && at < upload.parts.size(); ++n, ++at) {
      pb::Upload::Part* part = m->add_parts();
      part->set_number(static_cast<std::uint32_t>(at + 1));
      part->set_etag(upload.parts[at].etag);
      part->set_url(upload.parts[at].url);
      for (const auto& [name, value] : upload.parts[at].headers) {
        pb::Upload::Header* header = part->add_headers();
        header->set_name(name);
        header->set_value(value);
      }
    }
    out += frame(f, offset + out.size());
  } while (at < upload.parts.size());
  return out;
}

std::string part_frame(const Upload& upload, std::size_t index, std::uint64_t offset) {
  pb::Frame f;
  pb::Upload* m = f.mutable_upload();
  put_uid(upload.run, m->mutable_run());
  m->set_seq(upload.seq);
  m->set_id(upload.id);
  pb::Upload::Part* part = m->add_parts();
  part->set_number(static_cast<std::uint32_t>(index + 1));
  part->set_etag(upload.parts[index].etag);
  return frame(f, offset);
}

std::string no_upload_frame(const Uid& run, std::uint64_t seq, std::uint64_t offset) {
  pb::Frame f;
  put_uid(run, f.mutable_upload()->mutable_run());
  f.mutable_upload()->set_seq(seq);
  return frame(f, offset);
}

std::string intent_frame(const IntentResult& result, std::uint64_t offset) {
  pb::Frame f;
  pb::Intent* m = f.mutable_intent();
  put_uid(result.uid, m->mutable_uid());
  m->set_state(static_cast<std::uint32_t>(result.state));
  m->set_verb(result.verb);
  m->set_model(result.model);
  m->set_version(result.version);
  m->set_from(result.from);
  m->set_code(static_cast<std::uint32_t>(result.code));
  m->set_words(cut(result.words));
  m->set_time_ms(result.time_ms);
  m->set_seq(result.seq);
  return frame(f, offset);
}

std::string model_frame(const ModelState& model, std::uint64_t offset) {
  pb::Frame f;
  pb::Model* m = f.mutable_model();
  put_uid(model.uid, m->mutable_uid());
  put_uid(model.run, m->mutable_run());
  m->set_state(static_cast<std::uint32_t>(model.state));
  m->set_name(model.name);
  m->set_server_id(model.server_id);
  m->set_root(model.root);
  m->set_seq(model.seq);
  m->set_end_seq(model.end_seq);
  m->set_end_ticket(model.end_ticket);
  m->set_complete(model.complete);
  m->set_history(model.history);
  m->set_open(model.open);
  m->set_reason(cut(model.reason));
  return frame(f, offset);
}

std::size_t parse_frames(std::string_view file, const FrameSink& sink) {
  if (file.substr(0, kMagic.size()) != kMagic) return 0;
  std::size_t at = kMagic.size();
  while (auto payload = payload_at(file, at)) {
    const std::size_t bytes = kFrameHeader + payload->size();
    pb::Frame f;
    if (!f.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) break;
    if (f.has_destination() && sink.destination) sink.destination({f.destination().name(), f.destination().uri()});
    if (f.has_lane() && sink.lane) sink.lane(lane_of(f.lane()), bytes);
    if (f.has_dead() && sink.dead) sink.dead(letter_of(f.dead()), bytes);
    if (f.has_model() && sink.model) sink.model(model_of(f.model()), bytes);
    if (f.has_intent() && sink.intent) sink.intent(intent_of(f.intent()), bytes);
    if (f.has_artifacts() && sink.artifacts) sink.artifacts(place_of(f.artifacts()), bytes);
    if (f.has_finished() && sink.finished) {
      sink.finished({get_uid(f.finished().run()), f.finished().seq(), f.finished().bytes(), f.finished().dead()});
    }
    if (f.has_upload() && sink.upload) {
      std::vector<std::uint32_t> numbers;
      Upload upload = upload_of(f.upload(), &numbers);
      sink.upload(std::move(upload), std::move(numbers), bytes);
    }
    at += bytes;
  }
  return at;
}

std::string encode_requests(const std::vector<Request>& requests) {
  pb::Requests all;
  for (const Request& r : requests) {
    pb::Request* m = all.add_request();
    m->set_verb(static_cast<std::uint32_t>(r.verb));
    put_uid(r.run, m->mutable_run());
    m->set_seq(r.seq);
    if (r.key) m->set_key(*r.key);
    if (r.value) m->set_value(*r.value);
    m->set_until(r.until);
    m->set_points(r.points);
  }
  return std::string(kRequestMagic) + frame(all, kRequestMagic.size());
}

std::optional<std::vector<Request>> decode_requests(std::string_view bytes) {
  if (bytes.substr(0, kRequestMagic.size()) != kRequestMagic) return std::nullopt;
  const auto payload = payload_at(bytes, kRequestMagic.size());
  pb::Requests all;
  if (!payload || !all.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) return std::nullopt;
  std::vector<Request> out;
  for (const pb::Request& m : all.request()) {
    if (m.verb() != 1 && m.verb() != 2) continue;  // of a newer version: not understood
    Request& r = out.emplace_back();
    r.verb = static_cast<Request::Verb>(m.verb());
    r.run = get_uid(m.run());
    r.seq = m.seq();
    if (m.has_key()) r.key = m.key();
    if (m.has_value()) r.value = m.value();
    r.until = m.until();
    r.points = m.points();
  }
  return out;
}

std::string encode_live(const LiveState& live) {
  pb::Live m;
  m.set_state(live.state);
  m.set_retries(live.retries);
  m.set_requests(live.requests);
  m.set_bytes_sent(live.bytes_sent);
  m.set_lag_seconds(live.lag_seconds);
  m.set_error_code(live.error_code);
  m.set_error(cut(live.error));
  m.set_points_per_second(live.points_per_second);
  m.set_files_waiting(live.files_waiting);
  m.set_file_bytes_waiting(live.file_bytes_waiting);
  return std::string(kLiveMagic) + frame(m, kLiveMagic.size());
}

std::optional<LiveState> decode_live(std::string_view bytes) {
  if (bytes.substr(0, kLiveMagic.size()) != kLiveMagic) return std::nullopt;
  const auto payload = payload_at(bytes, kLiveMagic.size());
  pb::Live m;
  if (!payload || !m.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) return std::nullopt;
  LiveState live;
  live.state = m.state();
  live.retries = m.retries();
  live.requests = m.requests();
  live.bytes_sent = m.bytes_sent();
  live.lag_seconds = m.lag_seconds();
  live.error_code = m.error_code();
  live.error = m.error();
  live.points_per_second = m.points_per_second();
  live.files_waiting = m.files_waiting();
  live.file_bytes_waiting = m.file_bytes_waiting();
  return live;
}

}  // namespace mlops::ledger
