// Buffer: the write side, one WriteBatch per beat. See buffer.h.
#include "buffer/buffer.h"

#include <algorithm>
#include <unordered_map>

#include "base/base.h"
#include "base/file.h"
#include "buffer/envelope.h"
#include "buffer/files.h"
#include "buffer/kv.h"
#include "buffer/rows.h"
#include "buffer/store.h"

namespace mlops::buffer {
namespace {

Block cut(const Block& block, std::size_t from, std::size_t until) {
  Block part;
  part.first_seq = block.first_seq + from;
  part.beat = block.beat;
  const auto a = static_cast<std::ptrdiff_t>(from), b = static_cast<std::ptrdiff_t>(until);
  part.metric.assign(block.metric.begin() + a, block.metric.begin() + b);
  part.step.assign(block.step.begin() + a, block.step.begin() + b);
  part.time_ms.assign(block.time_ms.begin() + a, block.time_ms.begin() + b);
  part.value.assign(block.value.begin() + a, block.value.begin() + b);
  return part;
}

class OwnBuffer final : public StoreFace<Buffer> {
 public:
  OwnBuffer(std::string dir, std::shared_ptr<Kv> kv, const Identity& identity) : dir_(std::move(dir)) {
    store_.set(std::move(kv), identity);
  }

  Status refresh() override { return {}; }
  Result<std::vector<ArtifactRow>> unnamed(std::uint64_t* lost) const override { return store_.unnamed(lost); }
  Result<std::vector<BlobRow>> blobs() const override { return store_.blobs(); }

  Status write(const Beat& beat) override {
    const std::shared_ptr<Kv> kv = store_.kv();
    Batch batch;
    FileRows files(kv.get(), &batch);
    std::unordered_map<Uid, std::uint64_t, base::UidHash> written_pairs;
    for (const Beat::RunPart& part : beat.runs) {
      const Uid& uid = part.row.uid;
      batch.put(uid_key('r', uid), encode_run(part.row));
      if (!part.texts_unchanged) {
        const std::string pairs = encode_pairs(part.row);
        const std::uint64_t sum = base::hash64(pairs);
        if (sum != pairs_sum(*kv, uid)) {
          batch.put(uid_key('p', uid), pairs);
          written_pairs[uid] = sum;
        }
      }
      for (const MetricRow& metric : part.metrics) batch.put(metric_key(uid, metric.metric), encode_metric(metric));
      if (Status s = put_block(&batch, uid, part.block, beat.beat); !s.ok()) return s;
      for (const Record& op : part.ops) {
        Record record;
        record.seq = op.seq;
        record.beat = beat.beat;
        record.op = op.op;
        const std::string bytes = encode_op_record(record);
        batch.put(record_key(uid, op.seq), bytes);
        if (tells_of_model(op.op.kind)) batch.put(model_key(uid, op.seq), bytes);
        if (op.op.kind == model::OpKind::artifact) files.came(uid, op.seq, op.op);
      }
    }
    for (const FileRow& file : beat.files) {
      if (Status s = files.set(file); !s.ok()) return s;
    }
    files.finish(nullptr);
    for (const model::Op& op : beat.experiments) {
      Record record;
      record.beat = beat.beat;
      record.op = op;
      batch.put(experiment_key(op.key), encode_op_record(record));
    }
    for (const model::JournalCursor& cursor : beat.cursors)
      batch.put(cursor_key(cursor.writer, cursor.thread), encode_cursor(cursor));
    for (const Uid& writer : beat.writers_gone) {
      const std::string prefix = uid_key('c', writer);
      // Numbers of threads are four bytes: the last key of this writer is prefix and four 0xFF.
      batch.erase_range(prefix, prefix + std::string(5, '\xFF'));
    }
    if (!beat.drops.empty()) batch.put(kDropsKey, encode_drops(beat.drops));
    batch.put(kBeatKey, encode_beat(beat.beat));
    MLOPS_POINT("buffer.write");
    if (Status s = kv->write(batch); !s.ok()) return s;
    MLOPS_POINT("buffer.written");
    for (const auto& [uid, sum] : written_pairs) pairs_[uid] = sum;
    return {};
  }

  Status sync() override {
    MLOPS_POINT("buffer.sync");
    Status s = store_.kv()->sync();
    MLOPS_POINT("buffer.synced");
    return s;
  }

  Result<std::uint64_t> newest_beat() const override {
    std::string bytes;
    std::uint64_t beat = 0;
    Status s = store_.kv()->get(kBeatKey, &bytes);
    if (s.code() == StatusCode::not_found) return beat;
    if (s.ok()) s = decode_beat(bytes, &beat);
    if (!s.ok()) return s;
    return beat;
  }

  Result<Drops> drops() const override {
    std::string bytes;
    Drops drops;
    Status s = store_.kv()->get(kDropsKey, &bytes);
    if (s.code() == StatusCode::not_found) return drops;
    if (s.ok()) s = decode_drops(bytes, &drops);
    if (!s.ok()) return s;
    return drops;
  }

  Status bump_generation() override {
    const std::shared_ptr<Kv> kv = store_.kv();
    Identity next = identity();
    ++next.generation;
    Batch batch;
    batch.put(kIdentityKey, encode_identity(next));
    MLOPS_POINT("buffer.generation");
    if (Status s = kv->write(batch); !s.ok()) return s;
    if (Status s = kv->sync(); !s.ok()) return s;
    store_.set(kv, next);
    return {};
  }

  Status copy(const Uid& run, std::uint64_t from_seq,
              const std::function<bool(std::uint64_t, std::uint64_t, std::string_view)>& take) const override {
    const std::shared_ptr<Kv> kv = store_.kv();
    std::string start = record_key(run, from_seq), before;
    Status s = kv->last(record_key(run, 0), start, &before);  // the record before may reach past from_seq
    if (s.ok()) start = before;
    if (!s.ok() && s.code() != StatusCode::not_found) return s;
    std::string bad;  // of a damaged one, until its end is known
    std::uint64_t bad_seq = 0;
    bool more = true;
    s = kv->each(start, after_prefix(uid_key('d', run)), [&](std::string_view key, std::string_view value) {
      Uid uid;
      std::uint64_t seq = 0;
      if (!split_key(key, &uid, &seq)) return true;
      if (!bad.empty()) {
        more = seq <= from_seq || take(bad_seq, seq - bad_seq, bad);
        bad.clear();
        if (!more) return false;
      }
      Record record;
      if (!peek_record(value, seq, &record).ok()) {
        bad.assign(value.empty() ? std::string_view("?") : value);
        bad_seq = seq;
        return true;
      }
      if (seq < from_seq && record.count <= from_seq - seq) return true;
      more = take(seq, record.count, value);
      return more;
    });
    if (s.ok() && more && !bad.empty()) take(bad_seq, 1, bad);
    return s;
  }

  Status evict(const Uid& run, std::uint64_t seq, Freed* freed) override {
    const std::shared_ptr<Kv> kv = store_.kv();
    Result<model::RunRow> row = this->run(run);
    if (!row.ok()) return row.status();
    std::uint64_t until = row->evicted_before, points = row->evicted_points;
    // Records end where they say, damaged ones where the next begins (or the run ends).
    std::uint64_t bad_seq = 0;
    bool bad = false;
    const auto take = [&](std::string_view key, std::string_view value) {
      Uid uid;
      std::uint64_t at = 0;
      if (!split_key(key, &uid, &at)) return true;
      if (bad) {
        if (at > seq) return false;
        points += at - bad_seq;
        until = at;
        bad = false;
      }
      if (at >= seq) return false;
      Record record;
      if (!peek_record(value, at, &record).ok()) {
        bad = true;
        bad_seq = at;
        return true;
      }
      if (record.count > seq - at) return false;
      until = at + record.count;
      if (record.is_block) points += record.count;
      return true;
    };
    Status s = kv->each(record_key(run, until), after_prefix(uid_key('d', run)), take);
    if (!s.ok()) return s;
    if (bad && row->next_seq > bad_seq && row->next_seq <= seq) {
      points += row->next_seq - bad_seq;
      until = row->next_seq;
    }
    if (until <= row->evicted_before) return {};
    const std::string from = record_key(run, 0), end = record_key(run, until);
    Batch batch;
    batch.erase_range(from, end);
    batch.put(uid_key('e', run), encode_evicted(until, points));
    FileRows files(kv.get(), &batch);
    if (s = files.drop(run, until); !s.ok()) return s;
    files.finish(freed);
    MLOPS_POINT("buffer.evict");
    if (s = kv->write(batch); !s.ok()) return s;
    MLOPS_POINT("buffer.evicted");
    return kv->drop_files(from, end);
  }

  Status let_go(const Uid& run, const std::string& why, std::uint64_t beat, Freed* freed) override {
    const std::shared_ptr<Kv> kv = store_.kv();
    const Result<std::vector<ArtifactRow>> artifacts = this->artifacts(run);
    if (!artifacts.ok()) return artifacts.status();
    Batch batch;
    FileRows files(kv.get(), &batch);
    for (const ArtifactRow& artifact : *artifacts) {
      if (artifact.file.beat == 0 || !artifact.file.lost.empty()) continue;
      FileRow row = artifact.file;
      row.lost = why;
      row.beat = beat;
      if (Status s = files.set(row); !s.ok()) return s;
    }
    files.finish(freed);
    MLOPS_POINT("buffer.let_go");
    return kv->write(batch);
  }

  Status flush_and_close() override {
    const std::shared_ptr<Kv> kv = store_.kv();
    MLOPS_POINT("buffer.flush");
    Status s = kv->flush();
    kv->close();
    MLOPS_POINT("buffer.closed");
    return s;
  }

  std::uint64_t disk_bytes() const override { return base::disk_usage(dir_); }

 private:
  // Checksum of the run's pairs row as it is on disk; 0 when there is none.
  std::uint64_t pairs_sum(const Kv& kv, const Uid& uid) {
    const auto known = pairs_.find(uid);
    if (known != pairs_.end()) return known->second;
    std::string bytes;
    const std::uint64_t sum = kv.get(uid_key('p', uid), &bytes).ok() ? base::hash64(bytes) : 0;
    pairs_[uid] = sum;
    return sum;
  }

  static Status put_block(Batch* batch, const Uid& uid, const Block& block, std::uint64_t beat) {
    const std::size_t n = block.size();
    if (n == 0) return {};
    if (block.step.size() != n || block.time_ms.size() != n || block.value.size() != n)
      return Status(StatusCode::internal, "a block's columns differ in length");
    if (n <= kCutPoints && block.beat == beat) {
      batch->put(record_key(uid, block.first_seq), encode_block(block));
      return {};
    }
    for (std::size_t at = 0; at < n; at += kCutPoints) {
      Block part = cut(block, at, std::min(n, at + kCutPoints));
      part.beat = beat;
      batch->put(record_key(uid, part.first_seq), encode_block(part));
    }
    return {};
  }

  std::string dir_;
  std::unordered_map<Uid, std::uint64_t, base::UidHash> pairs_;  // the writer's thread only
};

}  // namespace

void prepare_library() { Kv::prepare_library(); }

Library library() { return {Kv::built_with(), Kv::loaded_from()}; }

Result<std::unique_ptr<Buffer>> Buffer::open(const std::string& slot_dir) {
  const std::string dir = slot_dir + "/db";
  MLOPS_POINT("buffer.open");
  Result<std::unique_ptr<Kv>> opened = Kv::open(dir);
  if (!opened.ok()) return opened.status();
  std::shared_ptr<Kv> kv = std::move(*opened);
  Identity identity;
  Status s = read_identity(*kv, &identity);
  if (s.code() == StatusCode::not_found) {
    std::string key;
    if (kv->last("", "\xFF", &key).ok())
      return Status(StatusCode::data_loss, "the buffer's database " + dir + " has rows but no identity; move it away");
    identity.uid = Uid::random();
    Batch batch;
    batch.put(kIdentityKey, encode_identity(identity));
    s = kv->write(batch);
    if (s.ok()) s = kv->sync();
  }
  if (!s.ok()) return s;
  MLOPS_POINT("buffer.opened");
  return std::unique_ptr<Buffer>(new OwnBuffer(dir, std::move(kv), identity));
}

}  // namespace mlops::buffer
