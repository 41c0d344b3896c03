// Rows: the one file of this room that names protobuf. See rows.h.
#include "buffer/rows.h"

#include <bit>
#include <cstring>

#include "buffer/rows.pb.h"

namespace mlops::buffer {
namespace {

namespace pb = mlops::internal::buffer;

// A row of a newer library may say more, never something else: unknown fields are kept out of the way by protobuf.
template <typename Row>
Status parse(std::string_view bytes, Row* row, const char* what) {
  if (bytes.size() < (1u << 30) && row->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return Status(StatusCode::data_loss, std::string("the database holds a damaged ") + what + " row");
}

void append_big_endian(std::string* out, std::uint64_t v, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(v >> (8 * i)));
}

std::string bytes_of(const Uid& uid) { return std::string(uid.view()); }
bool take_uid(const std::string& bytes, Uid* uid) {
  if (bytes.size() != uid->bytes.size()) return false;
  std::memcpy(uid->bytes.data(), bytes.data(), bytes.size());
  return true;
}

template <typename Repeated>
void put_pairs(const Pairs& pairs, Repeated* rows) {
  rows->Reserve(static_cast<int>(pairs.size()));
  for (const auto& [key, value] : pairs) {
    pb::Pair* pair = rows->Add();
    pair->set_key(key);
    pair->set_value(value);
  }
}
template <typename Repeated>
Pairs get_pairs(const Repeated& rows) {
  Pairs pairs;
  pairs.reserve(static_cast<std::size_t>(rows.size()));
  for (const pb::Pair& pair : rows) pairs.emplace_back(pair.key(), pair.value());
  return pairs;
}

}  // namespace

std::string uid_key(char room, const Uid& uid) {
  std::string key{room, '/'};
  key.append(uid.view());
  return key;
}
std::string metric_key(const Uid& run, std::uint32_t metric) {
  std::string key = uid_key('s', run);
  append_big_endian(&key, metric, 4);
  return key;
}
std::string cursor_key(const Uid& writer, std::uint32_t thread) {
  std::string key = uid_key('c', writer);
  append_big_endian(&key, thread, 4);
  return key;
}
std::string record_key(const Uid& run, std::uint64_t seq) {
  std::string key = uid_key('d', run);
  append_big_endian(&key, seq, 8);
  return key;
}
std::string artifact_key(const Uid& run, std::uint64_t seq) {
  std::string key = uid_key('a', run);
  append_big_endian(&key, seq, 8);
  return key;
}
std::string model_key(const Uid& run, std::uint64_t seq) {
  std::string key = uid_key('m', run);
  append_big_endian(&key, seq, 8);
  return key;
}
std::string blob_key(std::string_view sha256) { return "b/" + std::string(sha256); }
std::string experiment_key(std::string_view name) { return std::string("x/").append(name); }

std::string after_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xFF) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

bool split_key(std::string_view key, Uid* uid, std::uint64_t* number) {
  if (key.size() < 2 + uid->bytes.size() || key.size() > 2 + uid->bytes.size() + 8) return false;
  std::memcpy(uid->bytes.data(), key.data() + 2, uid->bytes.size());
  *number = 0;
  for (const char c : key.substr(2 + uid->bytes.size())) *number = *number << 8 | static_cast<unsigned char>(c);
  return true;
}

std::string encode_identity(const Identity& identity) {
  pb::IdentityRow row;
  row.set_format(kDatabaseFormat);
  row.set_uid(bytes_of(identity.uid));
  row.set_generation(identity.generation);
  return row.SerializeAsString();
}
Status decode_identity(std::string_view bytes, Identity* identity, std::uint32_t* format) {
  pb::IdentityRow row;
  if (Status s = parse(bytes, &row, "identity"); !s.ok()) return s;
  *format = row.format();
  identity->generation = row.generation();
  if (*format == 0 || !take_uid(row.uid(), &identity->uid))
    return Status(StatusCode::data_loss, "the database's identity row is damaged");
  return {};
}

std::string encode_run(const model::RunRow& run) {
  pb::RunRow row;
  if (!run.parent.zero()) row.set_parent(bytes_of(run.parent));
  row.set_experiment(run.experiment);
  row.set_name(run.name);
  row.set_status(static_cast<std::uint32_t>(run.status));
  row.set_attached(run.attached);
  row.set_start_ms(run.start_ms);
  row.set_end_ms(run.end_ms);
  row.set_last_ms(run.last_ms);
  row.set_starts(run.starts);
  row.set_next_seq(run.next_seq);
  row.set_points(run.points);
  row.set_merged(run.merged);
  row.set_dropped(run.dropped);
  row.set_left_open(run.left_open);
  row.set_deleted(run.deleted);
  row.set_lifecycle_ms(run.lifecycle_ms);
  return row.SerializeAsString();
}
Status decode_run(std::string_view bytes, model::RunRow* run) {
  pb::RunRow row;
  if (Status s = parse(bytes, &row, "run"); !s.ok()) return s;
  if (!row.parent().empty() && !take_uid(row.parent(), &run->parent))
    return Status(StatusCode::data_loss, "the database holds a run row with a damaged parent");
  run->experiment = row.experiment();
  run->name = row.name();
  run->status = static_cast<RunStatus>(row.status());
  run->attached = row.attached();
  run->start_ms = row.start_ms();
  run->end_ms = row.end_ms();
  run->last_ms = row.last_ms();
  run->starts = row.starts();
  run->next_seq = row.next_seq();
  run->points = row.points();
  run->merged = row.merged();
  run->dropped = row.dropped();
  run->left_open = row.left_open();
  run->deleted = row.deleted();
  run->lifecycle_ms = row.lifecycle_ms();
  return {};
}

std::string encode_pairs(const model::RunRow& run) {
  pb::PairsRow row;
  put_pairs(run.params, row.mutable_params());
  put_pairs(run.tags, row.mutable_tags());
  return row.SerializeAsString();
}
Status decode_pairs(std::string_view bytes, model::RunRow* run) {
  pb::PairsRow row;
  if (Status s = parse(bytes, &row, "params and tags"); !s.ok()) return s;
  run->params = get_pairs(row.params());
  run->tags = get_pairs(row.tags());
  return {};
}

std::string encode_evicted(std::uint64_t before, std::uint64_t points) {
  pb::EvictedRow row;
  row.set_before(before);
  row.set_points(points);
  return row.SerializeAsString();
}
Status decode_evicted(std::string_view bytes, std::uint64_t* before, std::uint64_t* points) {
  pb::EvictedRow row;
  if (Status s = parse(bytes, &row, "retention"); !s.ok()) return s;
  *before = row.before();
  *points = row.points();
  return {};
}

std::string encode_metric(const MetricRow& metric) {
  pb::MetricRow row;
  const model::Summary& summary = metric.summary;
  row.set_name(metric.name);
  row.set_count(summary.count);
  row.set_last_step(summary.last.step);
  row.set_last_time_ms(summary.last.time_ms);
  row.set_last_value(std::bit_cast<std::uint64_t>(summary.last.value));
  row.set_min(std::bit_cast<std::uint64_t>(summary.min));
  row.set_max(std::bit_cast<std::uint64_t>(summary.max));
  row.set_min_step(summary.min_step);
  row.set_max_step(summary.max_step);
  return row.SerializeAsString();
}
Status decode_metric(std::string_view bytes, MetricRow* metric) {
  pb::MetricRow row;
  if (Status s = parse(bytes, &row, "metric"); !s.ok()) return s;
  model::Summary& summary = metric->summary;
  metric->name = row.name();
  summary.count = row.count();
  summary.last.step = row.last_step();
  summary.last.time_ms = row.last_time_ms();
  summary.last.value = std::bit_cast<double>(row.last_value());
  summary.min = std::bit_cast<double>(row.min());
  summary.max = std::bit_cast<double>(row.max());
  summary.min_step = row.min_step();
  summary.max_step = row.max_step();
  return {};
}

std::string encode_beat(std::uint64_t beat) {
  std::string bytes;
  append_big_endian(&bytes, beat, 8);
  return bytes;
}
Status decode_beat(std::string_view bytes, std::uint64_t* beat) {
  *beat = 0;
  if (bytes.size() != 8) return Status(StatusCode::data_loss, "the database's newest beat is damaged");
  for (const char c : bytes) *beat = *beat << 8 | static_cast<unsigned char>(c);
  return {};
}

std::string encode_drops(const Drops& drops) {
  pb::DropsRow row;
  for (const auto& [reason, count] : drops) {
    pb::DropsRow::Drop* drop = row.add_drops();
    drop->set_reason(reason);
    drop->set_count(count);
  }
  return row.SerializeAsString();
}
Status decode_drops(std::string_view bytes, Drops* drops) {
  pb::DropsRow row;
  if (Status s = parse(bytes, &row, "drops"); !s.ok()) return s;
  drops->clear();
  for (const pb::DropsRow::Drop& drop : row.drops()) (*drops)[drop.reason()] += drop.count();
  return {};
}

std::string encode_cursor(const model::JournalCursor& cursor) {
  pb::CursorRow row;
  row.set_segment(cursor.segment);
  row.set_cell(cursor.cell);
  return row.SerializeAsString();
}
Status decode_cursor(std::string_view bytes, model::JournalCursor* cursor) {
  pb::CursorRow row;
  if (Status s = parse(bytes, &row, "cursor"); !s.ok()) return s;
  cursor->segment = row.segment();
  cursor->cell = row.cell();
  return {};
}

std::string encode_file(const FileRow& file) {
  pb::FileRow row;
  row.set_sha256(file.sha256);
  row.set_size(file.size);
  row.set_beat(file.beat);
  row.set_lost(file.lost);
  row.set_run(bytes_of(file.run));
  row.set_seq(file.seq);
  return row.SerializeAsString();
}
Status decode_file(std::string_view bytes, FileRow* file) {
  pb::FileRow row;
  if (Status s = parse(bytes, &row, "file"); !s.ok()) return s;
  if (!take_uid(row.run(), &file->run) || (!row.sha256().empty() && row.sha256().size() != 32))
    return Status(StatusCode::data_loss, "the database holds a damaged file row");
  file->sha256 = row.sha256();
  file->size = row.size();
  file->beat = row.beat();
  file->lost = row.lost();
  file->seq = row.seq();
  return {};
}

std::string encode_blob(const BlobRow& blob) {
  pb::BlobRow row;
  row.set_size(blob.size);
  row.set_refs(blob.refs);
  return row.SerializeAsString();
}
Status decode_blob(std::string_view bytes, BlobRow* blob) {
  pb::BlobRow row;
  if (Status s = parse(bytes, &row, "blob"); !s.ok()) return s;
  blob->size = row.size();
  blob->refs = row.refs();
  return {};
}

}  // namespace mlops::buffer
