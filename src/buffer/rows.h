// Rows: the small values of the database as bytes (protobuf-lite, rows.proto), and the keys they stand under.
// Readers ignore fields they do not know; bytes that are no row are data_loss.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "buffer/buffer.h"

namespace mlops::buffer {

inline constexpr std::uint32_t kDatabaseFormat = 1;
inline constexpr std::string_view kIdentityKey = "i", kBeatKey = "b", kDropsKey = "n";

/// "<room>/<uid>": room is one of r p e s c d f a m.
std::string uid_key(char room, const Uid& uid);
/// uid_key and four or eight big-endian bytes.
std::string metric_key(const Uid& run, std::uint32_t metric);
std::string cursor_key(const Uid& writer, std::uint32_t thread);
std::string record_key(const Uid& run, std::uint64_t seq);
std::string artifact_key(const Uid& run, std::uint64_t seq);  // its value is the name of the bytes, 16 bytes
std::string model_key(const Uid& run, std::uint64_t seq);     // its value is the record once more
std::string blob_key(std::string_view sha256);
std::string experiment_key(std::string_view name);
/// First key after all that start with `prefix` (whose last byte is not 0xFF: rooms end in '/').
std::string after_prefix(std::string prefix);
/// The uid and the number of a key; false when the key is too short.
bool split_key(std::string_view key, Uid* uid, std::uint64_t* number);

std::string encode_identity(const Identity& identity);
/// `format` is the database's.
Status decode_identity(std::string_view bytes, Identity* identity, std::uint32_t* format);
std::string encode_run(const model::RunRow& row);  // without pairs and evicted counts
Status decode_run(std::string_view bytes, model::RunRow* row);
std::string encode_pairs(const model::RunRow& row);
Status decode_pairs(std::string_view bytes, model::RunRow* row);
std::string encode_evicted(std::uint64_t before, std::uint64_t points);
Status decode_evicted(std::string_view bytes, std::uint64_t* before, std::uint64_t* points);
std::string encode_metric(const MetricRow& row);  // without its number
Status decode_metric(std::string_view bytes, MetricRow* row);
std::string encode_beat(std::uint64_t beat);  // 8 bytes, big-endian
Status decode_beat(std::string_view bytes, std::uint64_t* beat);
std::string encode_drops(const Drops& drops);
Status decode_drops(std::string_view bytes, Drops* drops);
std::string encode_cursor(const model::JournalCursor& cursor);  // without writer and thread
Status decode_cursor(std::string_view bytes, model::JournalCursor* cursor);
std::string encode_file(const FileRow& row);  // without its name
Status decode_file(std::string_view bytes, FileRow* row);
std::string encode_blob(const BlobRow& row);  // without its digest
Status decode_blob(std::string_view bytes, BlobRow* row);

}  // namespace mlops::buffer
