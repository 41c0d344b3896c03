// The outbox's files as bytes.
#include "buffer/outbox.h"

#include <algorithm>
#include <cstdio>

#include "buffer/bytes.h"
#include "buffer/envelope.h"
#include "buffer/run_bytes.h"

namespace mlops::buffer {
namespace {

constexpr std::size_t kNameDigits = 20;

Status malformed() {
  return Status(StatusCode::data_loss, "an outbox file is malformed although its checksum is right");
}

}  // namespace

std::string outbox_name(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "%020llu", static_cast<unsigned long long>(number));
  return name;
}

bool parse_outbox_name(std::string_view name, std::uint64_t* number) {
  *number = 0;
  if (name.size() != kNameDigits) return false;
  for (const char c : name) {
    if (c < '0' || c > '9') return false;
    *number = *number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

std::string encode_outbox(const OutboxFile& file) {
  std::string body;
  body.append(file.identity.uid.view());
  put_varint(&body, file.identity.generation);
  put_varint(&body, file.experiments.size());
  for (const model::Op& op : file.experiments) put_text(&body, model::encode_op(op));
  put_varint(&body, file.parts.size());
  for (const OutboxPart& part : file.parts) {
    put_row(&body, part.row);
    put_varint(&body, part.from);
    put_varint(&body, part.until);
    put_varint(&body, part.metrics.size());
    for (const MetricRow& metric : part.metrics) put_metric(&body, metric);
    put_varint(&body, part.records.size());
    for (const OutboxRecord& record : part.records) {
      put_varint(&body, record.seq);
      put_varint(&body, record.count);
      put_text(&body, record.bytes);
    }
  }
  put_varint(&body, file.files.size());
  for (const FileRow& row : file.files) {
    body.append(row.name.view());
    body.append(row.run.view());
    for (const std::uint64_t v : {row.seq, row.beat, row.size}) put_varint(&body, v);
    put_text(&body, row.sha256);
    put_text(&body, row.lost);
  }
  return seal(kOutboxMark, body);
}

Status decode_outbox(std::string_view bytes, OutboxFile* out) {
  *out = {};
  ByteReader in{std::string_view()};
  if (Status s = unseal(kOutboxMark, bytes, &in); !s.ok()) return s;
  get_uid(&in, &out->identity.uid);
  out->identity.generation = in.varint();
  for (std::uint64_t n = in.varint(); n > 0 && in.good(); --n) {
    Result<model::Op> op = model::decode_op(in.text());
    if (!op.ok()) return in.good() ? op.status() : malformed();
    out->experiments.push_back(std::move(*op));
  }
  for (std::uint64_t n = in.varint(); n > 0 && in.good(); --n) {
    OutboxPart part;
    part.row = get_row(&in);
    part.from = in.varint();
    part.until = in.varint();
    for (std::uint64_t m = in.varint(); m > 0 && in.good(); --m) part.metrics.push_back(get_metric(&in));
    std::uint64_t next = 0;
    for (std::uint64_t r = in.varint(); r > 0 && in.good(); --r) {
      OutboxRecord record;
      record.seq = in.varint();
      record.count = in.varint();
      record.bytes = in.text();
      if (record.count == 0 || record.seq < next || record.seq + record.count < record.seq) return malformed();
      next = record.seq + record.count;
      part.records.push_back(record);
    }
    if (part.from > part.until || (!part.records.empty() && next > part.until)) return malformed();
    out->parts.push_back(std::move(part));
  }
  for (std::uint64_t n = in.varint(); n > 0 && in.good(); --n) {
    FileRow row;
    get_uid(&in, &row.name);
    get_uid(&in, &row.run);
    for (std::uint64_t* v : {&row.seq, &row.beat, &row.size}) *v = in.varint();
    row.sha256 = in.text();
    row.lost = in.text();
    out->files.push_back(std::move(row));
  }
  return in.good() && in.at_end() ? Status() : malformed();
}

}  // namespace mlops::buffer
