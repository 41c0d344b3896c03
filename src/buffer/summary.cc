// Summary: the bytes of `<slot>/summary`. One envelope over counters and all runs; damaged bytes are data_loss, and no
// bytes make the decoder read past their end or allocate more than they could describe. Layout: docs/format.md.
#include <bit>

#include "buffer/buffer.h"
#include "buffer/bytes.h"
#include "buffer/envelope.h"
#include "buffer/run_bytes.h"

namespace mlops::buffer {
namespace {

constexpr std::uint64_t kAttached = 1, kLeftOpen = 2, kDeleted = 16, kLifecycle = 32;  // flags of a run

void put_signed(std::string* out, std::int64_t v) { put_varint(out, zigzag(static_cast<std::uint64_t>(v))); }
std::int64_t get_signed(ByteReader* in) { return static_cast<std::int64_t>(unzigzag(in->varint())); }
void put_double(std::string* out, double v) { put_u64(out, std::bit_cast<std::uint64_t>(v)); }
double get_double(ByteReader* in) { return std::bit_cast<double>(in->u64()); }

void put_pairs(std::string* out, const Pairs& pairs) {
  put_varint(out, pairs.size());
  for (const auto& [key, value] : pairs) {
    put_text(out, key);
    put_text(out, value);
  }
}
Pairs get_pairs(ByteReader* in) {
  Pairs pairs;
  for (std::uint64_t n = in->varint(); n > 0 && in->good(); --n) {
    std::string key(in->text());
    pairs.emplace_back(std::move(key), std::string(in->text()));
  }
  return pairs;
}

}  // namespace

void get_uid(ByteReader* in, Uid* uid) {
  const std::string_view bytes = in->take(uid->bytes.size());
  if (in->good()) std::memcpy(uid->bytes.data(), bytes.data(), bytes.size());
}

void put_row(std::string* out, const model::RunRow& row) {
  out->append(row.uid.view());
  out->append(row.parent.view());
  put_text(out, row.experiment);
  put_text(out, row.name);
  put_varint(out, static_cast<std::uint64_t>(row.status));
  const bool lifecycle = row.lifecycle_ms != 0;
  put_varint(out, (row.attached ? kAttached : 0) | (row.left_open ? kLeftOpen : 0) | (row.deleted ? kDeleted : 0) |
                      (lifecycle ? kLifecycle : 0));
  if (lifecycle) put_signed(out, row.lifecycle_ms);
  put_signed(out, row.start_ms);
  put_signed(out, row.end_ms);
  put_signed(out, row.last_ms);
  for (const std::uint64_t v : {std::uint64_t{row.starts}, row.next_seq, row.points, row.merged, row.dropped,
                                row.evicted_before, row.evicted_points})
    put_varint(out, v);
  put_pairs(out, row.params);
  put_pairs(out, row.tags);
}
model::RunRow get_row(ByteReader* in) {
  model::RunRow row;
  get_uid(in, &row.uid);
  get_uid(in, &row.parent);
  row.experiment = in->text();
  row.name = in->text();
  row.status = static_cast<RunStatus>(in->varint());
  const std::uint64_t flags = in->varint();
  row.attached = (flags & kAttached) != 0;
  row.left_open = (flags & kLeftOpen) != 0;
  row.deleted = (flags & kDeleted) != 0;
  if ((flags & kLifecycle) != 0) row.lifecycle_ms = get_signed(in);
  row.start_ms = get_signed(in);
  row.end_ms = get_signed(in);
  row.last_ms = get_signed(in);
  row.starts = static_cast<std::uint32_t>(in->varint());
  for (std::uint64_t* v :
       {&row.next_seq, &row.points, &row.merged, &row.dropped, &row.evicted_before, &row.evicted_points})
    *v = in->varint();
  row.params = get_pairs(in);
  row.tags = get_pairs(in);
  return row;
}

void put_metric(std::string* out, const MetricRow& metric) {
  const model::Summary& summary = metric.summary;
  put_varint(out, metric.metric);
  put_text(out, metric.name);
  put_varint(out, summary.count);
  put_signed(out, summary.last.step);
  put_signed(out, summary.last.time_ms);
  put_double(out, summary.last.value);
  put_double(out, summary.min);
  put_double(out, summary.max);
  put_signed(out, summary.min_step);
  put_signed(out, summary.max_step);
}
MetricRow get_metric(ByteReader* in) {
  MetricRow metric;
  model::Summary& summary = metric.summary;
  metric.metric = static_cast<std::uint32_t>(in->varint());
  metric.name = in->text();
  summary.count = in->varint();
  summary.last.step = get_signed(in);
  summary.last.time_ms = get_signed(in);
  summary.last.value = get_double(in);
  summary.min = get_double(in);
  summary.max = get_double(in);
  summary.min_step = get_signed(in);
  summary.max_step = get_signed(in);
  return metric;
}

SummaryEncoder::SummaryEncoder(const Identity& identity, const SlotCounters& counters, std::size_t runs) {
  body_.assign(kEnvelopeBytes, '\0');
  body_.append(identity.uid.view());
  put_varint(&body_, identity.generation);
  for (const std::uint64_t v : {counters.accepted, counters.merged, counters.buffered, counters.durable})
    put_varint(&body_, v);
  put_pairs(&body_, counters.dropped);
  put_varint(&body_, runs);
}

void SummaryEncoder::add(const model::RunRow& row, const std::vector<MetricRow>& metrics) {
  put_row(&body_, row);
  put_varint(&body_, metrics.size());
  for (const MetricRow& metric : metrics) put_metric(&body_, metric);
}

std::string SummaryEncoder::take() {
  seal_in_place(kSummaryMark, &body_);
  return std::move(body_);
}

std::string encode_summary(const Identity& identity, const SlotCounters& counters,
                           const std::vector<SummaryEntry>& runs) {
  SummaryEncoder encoder(identity, counters, runs.size());
  for (const SummaryEntry& run : runs) encoder.add(run.row, run.metrics);
  return encoder.take();
}

Status decode_summary(std::string_view bytes, Identity* identity, SlotCounters* counters,
                      std::vector<SummaryEntry>* runs) {
  ByteReader in{std::string_view()};
  if (Status s = unseal(kSummaryMark, bytes, &in); !s.ok()) return s;
  *identity = {};
  *counters = {};
  runs->clear();
  get_uid(&in, &identity->uid);
  identity->generation = in.varint();
  for (std::uint64_t* v : {&counters->accepted, &counters->merged, &counters->buffered, &counters->durable})
    *v = in.varint();
  counters->dropped = get_pairs(&in);
  for (std::uint64_t n = in.varint(); n > 0 && in.good(); --n) {
    SummaryEntry entry;
    entry.row = get_row(&in);
    for (std::uint64_t m = in.varint(); m > 0 && in.good(); --m) entry.metrics.push_back(get_metric(&in));
    runs->push_back(std::move(entry));
  }
  if (in.good() && in.at_end()) return {};
  runs->clear();
  return Status(StatusCode::data_loss, "a slot's summary is malformed although its checksum is right");
}

}  // namespace mlops::buffer
