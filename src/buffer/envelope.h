// Envelope: what stands before the bytes of every record and file of this room: a mark (what it is), a version byte
// and a checksum of all that follows, so that damage is data_loss and a newer format is failed_precondition.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "buffer/buffer.h"
#include "buffer/bytes.h"

namespace mlops::buffer {

inline constexpr char kBlockMark = 'B', kOpMark = 'O', kSummaryMark = 'S', kOutboxMark = 'X';
inline constexpr std::uint8_t kFormat = 1;  // of blocks, ops, summaries and outbox files
/// mark, version, checksum.
inline constexpr std::size_t kEnvelopeBytes = 10;

std::string seal(char mark, std::string_view body);
/// The same of a body behind the first kEnvelopeBytes of `bytes`, which are written over.
void seal_in_place(char mark, std::string* bytes);
/// Checks mark, version and checksum; `body` then reads what follows.
Status unseal(char mark, std::string_view bytes, ByteReader* body);

/// An op as a value of `d/`: envelope, seq, beat, model::encode_op.
std::string encode_op_record(const Record& record);
/// A value of `d/`, block or op. `seq` is the key's: a record under another key is data_loss.
Status decode_record(std::string_view bytes, std::uint64_t seq, Record* out);
/// Only what stands first: seq, beat and count, without checking the columns (the checksum is checked).
Status peek_record(std::string_view bytes, std::uint64_t seq, Record* out);

}  // namespace mlops::buffer
