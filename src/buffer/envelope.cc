// Envelope: see envelope.h.
#include "buffer/envelope.h"

#include "base/base.h"

namespace mlops::buffer {
namespace {

Status damaged(const char* what) { return Status(StatusCode::data_loss, what); }

std::uint64_t sum_of(char mark, std::uint8_t version, std::string_view body) {
  return base::hash64(body, static_cast<std::uint64_t>(static_cast<std::uint8_t>(mark)) | std::uint64_t{version} << 8);
}

}  // namespace

std::string seal(char mark, std::string_view body) {
  std::string out;
  out.reserve(kEnvelopeBytes + body.size());
  out.push_back(mark);
  out.push_back(static_cast<char>(kFormat));
  put_u64(&out, sum_of(mark, kFormat, body));
  out.append(body);
  return out;
}

void seal_in_place(char mark, std::string* bytes) {
  const std::string head = seal(mark, {});
  bytes->replace(0, kEnvelopeBytes, head);
  std::string sum;
  put_u64(&sum, sum_of(mark, kFormat, std::string_view(*bytes).substr(kEnvelopeBytes)));
  bytes->replace(kEnvelopeBytes - sum.size(), sum.size(), sum);
}

Status unseal(char mark, std::string_view bytes, ByteReader* body) {
  ByteReader in(bytes);
  const auto got_mark = static_cast<char>(in.u8());
  const std::uint8_t version = in.u8();
  const std::uint64_t sum = in.u64();
  if (!in.good()) return damaged("a record is shorter than its header");
  if (got_mark != mark) return damaged("a record is of another kind than its place says");
  // The checksum comes first: a damaged version byte must not look like a newer format.
  if (sum != sum_of(mark, version, in.rest())) return damaged("a record's checksum does not match its bytes");
  if (version != kFormat) {
    return Status(StatusCode::failed_precondition, "a record has format version " + std::to_string(version) +
                                                       ", this library reads " + std::to_string(kFormat) +
                                                       ": use a newer mlops");
  }
  *body = in;
  return {};
}

std::string encode_op_record(const Record& record) {
  std::string body;
  put_varint(&body, record.seq);
  put_varint(&body, record.beat);
  body += model::encode_op(record.op);
  return seal(kOpMark, body);
}

Status peek_record(std::string_view bytes, std::uint64_t seq, Record* out) {
  const bool block = !bytes.empty() && bytes[0] == kBlockMark;
  ByteReader in{std::string_view()};
  if (Status s = unseal(block ? kBlockMark : kOpMark, bytes, &in); !s.ok()) return s;
  out->is_block = block;
  out->seq = in.varint();
  out->beat = in.varint();
  out->count = block ? in.varint() : 1;
  if (!in.good() || out->seq != seq || out->count == 0) return damaged("a record does not belong to its key");
  return {};
}

Status decode_record(std::string_view bytes, std::uint64_t seq, Record* out) {
  out->block = Block{};
  out->op = model::Op{};
  if (!bytes.empty() && bytes[0] == kBlockMark) {
    if (Status s = decode_block(bytes, &out->block); !s.ok()) return s;
    out->is_block = true;
    out->seq = out->block.first_seq;
    out->beat = out->block.beat;
    out->count = out->block.size();
    if (out->seq != seq || out->count == 0) return damaged("a block does not belong to its key");
    return {};
  }
  ByteReader in{std::string_view()};
  if (Status s = unseal(kOpMark, bytes, &in); !s.ok()) return s;
  out->is_block = false;
  out->seq = in.varint();
  out->beat = in.varint();
  out->count = 1;
  if (!in.good() || out->seq != seq) return damaged("an op does not belong to its key");
  Result<model::Op> op = model::decode_op(in.rest());
  if (!op.ok()) return op.status();
  out->op = std::move(*op);
  return {};
}

}  // namespace mlops::buffer
