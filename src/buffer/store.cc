// Store: see store.h.
#include "buffer/store.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "buffer/envelope.h"
#include "buffer/rows.h"

namespace mlops::buffer {
namespace {

Status bad_key() { return Status(StatusCode::data_loss, "the buffer's database holds a malformed key"); }

// Calls `take(uid, number, value)` for each row that starts with `prefix`; stops at its first failure.
template <typename Take>
Status each_row(const Kv& kv, const std::string& prefix, Take&& take) {
  Status row;
  Status s = kv.each(prefix, after_prefix(prefix), [&](std::string_view key, std::string_view value) {
    Uid uid;
    std::uint64_t number = 0;
    row = split_key(key, &uid, &number) ? take(uid, number, value) : bad_key();
    return row.ok();
  });
  return s.ok() ? row : s;
}

// The record of row->file.run and .seq; not there when it was evicted meanwhile or is damaged, which scan reports.
Status read_artifact(const Kv& kv, ArtifactRow* row, bool* there) {
  std::string bytes;
  Record record;
  row->seq = row->file.seq;
  Status s = kv.get(record_key(row->file.run, row->seq), &bytes);
  if (s.ok()) s = decode_record(bytes, row->seq, &record);
  if (s.code() == StatusCode::not_found || s.code() == StatusCode::data_loss) return {};
  if (!s.ok()) return s;
  *there = true;
  row->beat = record.beat;
  row->op = std::move(record.op);
  return {};
}

void join_evicted(std::uint64_t before, std::uint64_t points, model::RunRow* row) {
  row->evicted_before = before;
  row->evicted_points = points;
}

}  // namespace

Status read_identity(const Kv& kv, Identity* identity) {
  std::string bytes;
  if (Status s = kv.get(kIdentityKey, &bytes); !s.ok()) return s;
  std::uint32_t format = 0;
  if (Status s = decode_identity(bytes, identity, &format); !s.ok()) return s;
  if (format > kDatabaseFormat) {
    return Status(StatusCode::failed_precondition, "the buffer's database has format " + std::to_string(format) +
                                                       ", this library reads up to " + std::to_string(kDatabaseFormat) +
                                                       ": use a newer mlops");
  }
  return {};
}

std::shared_ptr<Kv> Store::kv() const {
  std::lock_guard<std::mutex> hold(mutex_);
  return kv_;
}
void Store::set(std::shared_ptr<Kv> kv, const Identity& identity) {
  std::lock_guard<std::mutex> hold(mutex_);
  kv_.swap(kv);
  identity_ = identity;
}
Identity Store::identity() const {
  std::lock_guard<std::mutex> hold(mutex_);
  return identity_;
}

Result<std::vector<model::RunRow>> Store::runs() const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<model::RunRow> rows;
  std::map<Uid, std::size_t> places;
  Status s = each_row(*kv, "r/", [&](const Uid& uid, std::uint64_t, std::string_view value) {
    model::RunRow row;
    row.uid = uid;
    Status decoded = decode_run(value, &row);
    places[uid] = rows.size();
    rows.push_back(std::move(row));
    return decoded;
  });
  if (s.ok()) {
    s = each_row(*kv, "p/", [&](const Uid& uid, std::uint64_t, std::string_view value) {
      const auto place = places.find(uid);
      return place == places.end() ? Status() : decode_pairs(value, &rows[place->second]);
    });
  }
  if (s.ok()) {
    s = each_row(*kv, "e/", [&](const Uid& uid, std::uint64_t, std::string_view value) {
      const auto place = places.find(uid);
      if (place == places.end()) return Status();
      std::uint64_t before = 0, points = 0;
      Status decoded = decode_evicted(value, &before, &points);
      if (decoded.ok()) join_evicted(before, points, &rows[place->second]);
      return decoded;
    });
  }
  if (!s.ok()) return s;
  return rows;
}

Result<model::RunRow> Store::run(const Uid& run) const {
  const std::shared_ptr<Kv> kv = this->kv();
  model::RunRow row;
  row.uid = run;
  std::string bytes;
  Status s = kv->get(uid_key('r', run), &bytes);
  if (s.code() == StatusCode::not_found)
    return Status(StatusCode::not_found, "no run " + run.hex() + " in this buffer");
  if (!s.ok()) return s;
  if (s = decode_run(bytes, &row); !s.ok()) return s;
  s = kv->get(uid_key('p', run), &bytes);
  if (s.ok()) s = decode_pairs(bytes, &row);
  if (!s.ok() && s.code() != StatusCode::not_found) return s;
  s = kv->get(uid_key('e', run), &bytes);
  if (s.ok()) {
    std::uint64_t before = 0, points = 0;
    s = decode_evicted(bytes, &before, &points);
    if (s.ok()) join_evicted(before, points, &row);
  }
  if (!s.ok() && s.code() != StatusCode::not_found) return s;
  return row;
}

Result<std::vector<MetricRow>> Store::metrics(const Uid& run) const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<MetricRow> rows;
  Status s = each_row(*kv, uid_key('s', run), [&](const Uid&, std::uint64_t number, std::string_view value) {
    MetricRow row;
    row.metric = static_cast<std::uint32_t>(number);
    Status decoded = decode_metric(value, &row);
    rows.push_back(std::move(row));
    return decoded;
  });
  if (!s.ok()) return s;
  return rows;
}

Status Store::scan(const Uid& run, std::uint64_t from_seq, const std::function<bool(const Record&)>& take,
                   const std::function<void(std::uint64_t seq, std::uint64_t count, const Status&)>& damaged) const {
  const std::shared_ptr<Kv> kv = this->kv();
  const std::string first = record_key(run, 0);
  std::string start = record_key(run, from_seq);
  // The record before may reach past from_seq.
  std::string before;
  Status s = kv->last(first, start, &before);
  if (s.ok()) start = before;
  if (!s.ok() && s.code() != StatusCode::not_found) return s;

  // A damaged record ends where the next one begins; its own count cannot be trusted.
  std::uint64_t bad_seq = 0;
  Status bad;
  const auto report_bad = [&](std::uint64_t end) {
    if (!bad.ok() && end > from_seq && damaged) damaged(bad_seq, end - bad_seq, bad);
    bad = Status();
  };
  Record record;
  s = kv->each(start, after_prefix(uid_key('d', run)), [&](std::string_view key, std::string_view value) {
    Uid uid;
    std::uint64_t seq = 0;
    if (!split_key(key, &uid, &seq)) return true;
    report_bad(seq);
    if (seq < from_seq) {
      Status peeked = peek_record(value, seq, &record);
      if (peeked.ok() && record.count <= from_seq - seq) return true;
    }
    Status decoded = decode_record(value, seq, &record);
    if (decoded.ok()) return take(record);
    bad = std::move(decoded);
    bad_seq = seq;
    return true;
  });
  if (!bad.ok()) {
    Result<model::RunRow> row = this->run(run);
    report_bad(row.ok() && row->next_seq > bad_seq ? row->next_seq : bad_seq + 1);
  }
  return s;
}

Result<std::vector<model::Op>> Store::experiments() const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<model::Op> ops;
  Status row;
  Status s = kv->each("x/", after_prefix("x/"), [&](std::string_view, std::string_view value) {
    Record record;
    row = decode_record(value, 0, &record);
    if (row.ok()) ops.push_back(std::move(record.op));
    return row.ok();
  });
  if (!s.ok()) return s;
  if (!row.ok()) return row;
  return ops;
}

Result<std::vector<model::JournalCursor>> Store::cursors() const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<model::JournalCursor> cursors;
  Status s = each_row(*kv, "c/", [&](const Uid& writer, std::uint64_t thread, std::string_view value) {
    model::JournalCursor cursor;
    cursor.writer = writer;
    cursor.thread = static_cast<std::uint32_t>(thread);
    Status decoded = decode_cursor(value, &cursor);
    cursors.push_back(cursor);
    return decoded;
  });
  if (!s.ok()) return s;
  return cursors;
}

Result<FileRow> Store::file(const Uid& name) const {
  FileRow row;
  row.name = name;
  std::string bytes;
  Status s = kv()->get(uid_key('f', name), &bytes);
  if (s.ok()) s = decode_file(bytes, &row);
  if (s.code() == StatusCode::not_found || (s.ok() && row.beat == 0))
    return Status(StatusCode::not_found, "the bytes " + name.hex() + " have no name by their content yet");
  if (!s.ok()) return s;
  return row;
}

Result<std::vector<ArtifactRow>> Store::artifacts(const Uid& run) const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<ArtifactRow> rows;
  Status s = each_row(*kv, uid_key('a', run), [&](const Uid&, std::uint64_t seq, std::string_view value) {
    ArtifactRow row;
    row.file.run = run;
    row.file.seq = seq;
    if (value.size() != row.file.name.bytes.size()) return bad_key();
    std::memcpy(row.file.name.bytes.data(), value.data(), value.size());
    bool there = false;
    Status read = read_artifact(*kv, &row, &there);
    std::string bytes;
    if (read.ok()) read = kv->get(uid_key('f', row.file.name), &bytes);
    if (read.ok()) read = decode_file(bytes, &row.file);
    if (!read.ok() && read.code() != StatusCode::not_found) return read;
    if (there) rows.push_back(std::move(row));
    return Status();
  });
  if (!s.ok()) return s;
  return rows;
}

Result<std::vector<ArtifactRow>> Store::unnamed(std::uint64_t* lost) const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<ArtifactRow> rows;
  Status s = each_row(*kv, "f/", [&](const Uid& name, std::uint64_t, std::string_view value) {
    ArtifactRow row;
    row.file.name = name;
    Status decoded = decode_file(value, &row.file);
    *lost += static_cast<std::uint64_t>(!row.file.lost.empty() && row.file.sha256.empty());
    if (!decoded.ok() || row.file.beat != 0) return decoded;
    row.seq = row.file.seq;
    bool there = false;
    Status read = read_artifact(*kv, &row, &there);
    if (there) rows.push_back(std::move(row));
    return read;
  });
  if (!s.ok()) return s;
  std::sort(rows.begin(), rows.end(), [](const ArtifactRow& a, const ArtifactRow& b) {
    return std::tie(a.file.run, a.seq) < std::tie(b.file.run, b.seq);
  });
  return rows;
}

bool tells_of_model(model::OpKind kind) {
  return kind == model::OpKind::model || kind == model::OpKind::model_end || kind == model::OpKind::model_metric ||
         kind == model::OpKind::model_change;
}

Result<std::vector<Record>> Store::models() const {
  std::vector<Record> out;
  Status s = each_row(*kv(), "m/", [&](const Uid&, std::uint64_t seq, std::string_view value) {
    Record record;
    if (decode_record(value, seq, &record).ok()) out.push_back(std::move(record));  // one that is damaged says nothing
    return Status();
  });
  if (!s.ok()) return s;
  return out;
}

Result<std::vector<BlobRow>> Store::blobs() const {
  const std::shared_ptr<Kv> kv = this->kv();
  std::vector<BlobRow> rows;
  Status row;
  Status s = kv->each("b/", after_prefix("b/"), [&](std::string_view key, std::string_view value) {
    BlobRow& blob = rows.emplace_back();
    blob.sha256 = key.substr(2);
    row = blob.sha256.size() == 32 ? decode_blob(value, &blob) : bad_key();
    return row.ok();
  });
  if (!s.ok()) return s;
  if (!row.ok()) return row;
  return rows;
}

}  // namespace mlops::buffer
