#include "buffer/files.h"

#include <cstring>

#include "buffer/rows.h"

namespace mlops::buffer {
namespace {

bool has_bytes(const FileRow& row) { return row.beat != 0 && row.lost.empty() && !row.sha256.empty(); }

}  // namespace

void FileRows::came(const Uid& run, std::uint64_t seq, const model::Op& op) {
  FileRow row;
  if (!Uid::parse(op.value, &row.name)) return;  // a newer library's way to say where bytes are
  row.run = run;
  row.seq = seq;
  row.size = static_cast<std::uint64_t>(op.number);
  batch_->put(artifact_key(run, seq), row.name.view());
  batch_->put(uid_key('f', row.name), encode_file(row));
}

Status FileRows::count(const FileRow& row, int by) {
  auto [it, fresh] = blobs_.try_emplace(row.sha256);
  BlobRow& blob = it->second;
  if (fresh) {
    blob.sha256 = row.sha256;
    blob.size = row.size;
    std::string bytes;
    Status s = kv_->get(blob_key(row.sha256), &bytes);
    if (s.ok()) s = decode_blob(bytes, &blob);
    if (!s.ok() && s.code() != StatusCode::not_found) return s;
  }
  blob.refs += static_cast<std::uint64_t>(by > 0 ? 1 : 0);
  if (by < 0 && blob.refs > 0) --blob.refs;
  return {};
}

Status FileRows::set(const FileRow& row) {
  std::string bytes;
  FileRow old;
  Status s = kv_->get(uid_key('f', row.name), &bytes);
  if (s.code() == StatusCode::not_found) return {};
  if (s.ok()) s = decode_file(bytes, &old);
  if (s.ok() && has_bytes(old)) s = count(old, -1);
  if (s.ok() && has_bytes(row)) s = count(row, +1);
  if (!s.ok()) return s;
  batch_->put(uid_key('f', row.name), encode_file(row));
  return {};
}

Status FileRows::drop(const Uid& run, std::uint64_t until) {
  Status row;
  const std::string from = artifact_key(run, 0), end = artifact_key(run, until);
  Status s = kv_->each(from, end, [&](std::string_view, std::string_view value) {
    FileRow old;
    if (value.size() != old.name.bytes.size()) return true;
    std::memcpy(old.name.bytes.data(), value.data(), value.size());
    const std::string key = uid_key('f', old.name);
    std::string bytes;
    row = kv_->get(key, &bytes);
    if (row.code() == StatusCode::not_found) {
      row = Status();
      return true;
    }
    if (row.ok()) row = decode_file(bytes, &old);
    if (row.ok() && has_bytes(old)) row = count(old, -1);
    if (row.ok() && old.beat == 0) incoming_.push_back(old.name);
    batch_->erase(key);
    return row.ok();
  });
  batch_->erase_range(from, end);
  return s.ok() ? row : s;
}

void FileRows::finish(Freed* freed) {
  for (auto& [sha256, blob] : blobs_) {
    if (blob.refs > 0) {
      batch_->put(blob_key(sha256), encode_blob(blob));
      continue;
    }
    batch_->erase(blob_key(sha256));
    if (freed != nullptr) freed->contents.push_back(sha256);
  }
  if (freed != nullptr) freed->incoming.insert(freed->incoming.end(), incoming_.begin(), incoming_.end());
}

}  // namespace mlops::buffer
