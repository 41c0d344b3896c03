// Ops as bytes, and what the server makes of points. The layout is docs/format.md, "Op"; it only ever grows by version.
#include "model/record.h"

#include <cmath>
#include <limits>
#include <tuple>

namespace mlops::model {
namespace {

constexpr std::uint8_t kVersion = 1;

void put_int(std::string* out, std::uint64_t v, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(v >> (8 * i) & 0xFF));
}

void put_text(std::string* out, std::string_view text) {
  put_int(out, text.size(), 4);
  out->append(text);
}

// Takes from the front of `rest`; false and untouched results when too little is left.
struct Input {
  std::string_view rest;

  bool take_int(std::uint64_t* out, std::size_t bytes) {
    if (rest.size() < bytes) return false;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      v |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(rest[i])) << (8 * i);
    rest.remove_prefix(bytes);
    *out = v;
    return true;
  }
  bool take_signed(std::int64_t* out) {
    std::uint64_t v = 0;
    if (!take_int(&v, 8)) return false;
    *out = static_cast<std::int64_t>(v);
    return true;
  }
  bool take_uid(Uid* out) {
    if (rest.size() < out->bytes.size()) return false;
    std::memcpy(out->bytes.data(), rest.data(), out->bytes.size());
    rest.remove_prefix(out->bytes.size());
    return true;
  }
  bool take_text(std::string* out) {
    std::uint64_t size = 0;
    if (!take_int(&size, 4) || rest.size() < size) return false;
    out->assign(rest.substr(0, size));
    rest.remove_prefix(size);
    return true;
  }
};

Status damaged(const char* where) {
  return Status(StatusCode::data_loss, std::string("a record of the journal is damaged: ") + where);
}

}  // namespace

std::string encode_op(const Op& op) {
  std::size_t size = 2 + 3 * 8 + 2 * 16 + 3 * 4 + op.key.size() + op.value.size();
  for (const auto& [key, value] : op.pairs) size += 8 + key.size() + value.size();
  std::string out;
  out.reserve(size);
  out.push_back(static_cast<char>(kVersion));
  out.push_back(static_cast<char>(op.kind));
  put_int(&out, op.ticket, 8);
  put_int(&out, static_cast<std::uint64_t>(op.time_ms), 8);
  put_int(&out, static_cast<std::uint64_t>(op.number), 8);
  out.append(op.run.view());
  out.append(op.parent.view());
  put_text(&out, op.key);
  put_text(&out, op.value);
  put_int(&out, op.pairs.size(), 4);
  for (const auto& [key, value] : op.pairs) {
    put_text(&out, key);
    put_text(&out, value);
  }
  return out;
}

Result<Op> decode_op(std::string_view bytes) {
  Input in{bytes};
  Op op;
  std::uint64_t version = 0, kind = 0, pairs = 0;
  if (!in.take_int(&version, 1)) return damaged("no bytes");
  if (version != kVersion) return damaged("unknown version (written by a newer mlops?)");
  if (!in.take_int(&kind, 1)) return damaged("cut off before its kind");
  if (kind < static_cast<std::uint64_t>(OpKind::run_start) || kind > static_cast<std::uint64_t>(kLastOpKind)) {
    return damaged("unknown kind");
  }
  op.kind = static_cast<OpKind>(kind);
  if (!in.take_int(&op.ticket, 8) || !in.take_signed(&op.time_ms) || !in.take_signed(&op.number) ||
      !in.take_uid(&op.run) || !in.take_uid(&op.parent)) {
    return damaged("cut off in its head");
  }
  if (!in.take_text(&op.key)) return damaged("cut off in its key");
  if (!in.take_text(&op.value)) return damaged("cut off in its value");
  if (!in.take_int(&pairs, 4) || pairs > in.rest.size() / 8) return damaged("wrong count of pairs");
  op.pairs.resize(pairs);
  for (auto& [key, value] : op.pairs) {
    if (!in.take_text(&key) || !in.take_text(&value)) return damaged("cut off in a pair");
  }
  if (!in.rest.empty()) return damaged("bytes left over at its end");
  return op;
}

double server_value(double v) {
  if (std::isnan(v)) return 0;
  if (std::isinf(v)) return v > 0 ? std::numeric_limits<double>::max() : std::numeric_limits<double>::lowest();
  return v;
}

bool same_on_server(const Point& a, const Point& b) {
  return a.step == b.step && a.time_ms == b.time_ms && std::isnan(a.value) == std::isnan(b.value) &&
         server_value(a.value) == server_value(b.value);
}

void Summary::add(const Point& p) {
  if (count == 0 || std::make_tuple(p.step, p.time_ms, server_value(p.value)) >
                        std::make_tuple(last.step, last.time_ms, server_value(last.value))) {
    last = p;
  }
  ++count;
  if (std::isnan(p.value)) return;
  if (std::isnan(min) || p.value < min) {
    min = p.value;
    min_step = p.step;
  }
  if (std::isnan(max) || p.value > max) {
    max = p.value;
    max_step = p.step;
  }
}

}  // namespace mlops::model
