// Outbox: what the owner of a slot publishes for other nodes, which must not open its living database: `<slot>/outbox`
// with sealed, checksummed files, each renamed into place whole. docs/format.md has the bytes.
//
// A file holds *parts*: of one run its row, the metrics that are new, and all records with numbers in [from, until), as
// they lie in the database; and rows of artifact bytes, which come with their record or after it. Everything in it is
// durable. Its name is its number, 20 digits, above the beat of every record in it. Files may go at any time; parts of
// one run may overlap; a hole between them is no loss but something that is not published (any more): only the owner's
// database has it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "buffer/buffer.h"

namespace mlops::buffer {

struct OutboxRecord {
  std::uint64_t seq = 0, count = 1;
  std::string_view bytes;  // in the file's, when decoded
};
struct OutboxPart {
  model::RunRow row;
  std::uint64_t from = 0, until = 0;
  std::vector<MetricRow> metrics;
  std::vector<OutboxRecord> records;
};
struct OutboxFile {
  Identity identity;
  std::vector<model::Op> experiments;  // all there are
  std::vector<OutboxPart> parts;
  std::vector<FileRow> files;  // artifact bytes that have a name by content now, or are lost
};
std::string encode_outbox(const OutboxFile& file);
/// `out` points into `bytes`. data_loss, or failed_precondition when of a newer format.
Status decode_outbox(std::string_view bytes, OutboxFile* out);
std::string outbox_name(std::uint64_t number);
/// False for a name that is none of a file.
bool parse_outbox_name(std::string_view name, std::uint64_t* number);

/// The read side on another node: rows by the newest of outbox and summary, records by the outbox.
class OutboxReader : public Reader {
 public:
  /// The newest file's number: grows with everything that is published; 0 while nothing is. Records of all beats up to
  /// it are durable.
  virtual std::uint64_t newest() const = 0;
};
/// not_found while nothing is published. A scan that comes to a hole ends there, and is unavailable when it begins in
/// one. `gaps_are_damage`: for people, who rather see what there is: a hole is told as damage and passed.
Result<std::unique_ptr<OutboxReader>> open_outbox(const std::string& slot_dir, bool gaps_are_damage);

}  // namespace mlops::buffer
