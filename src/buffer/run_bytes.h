// Run bytes: a run's row with its texts, and a metric's row, as the summary and the outbox write them (docs/format.md,
// "of a run"). Written by summary.cc.
#pragma once

#include <string>

#include "buffer/buffer.h"
#include "buffer/bytes.h"

namespace mlops::buffer {

void put_row(std::string* out, const model::RunRow& row);
model::RunRow get_row(ByteReader* in);
void put_metric(std::string* out, const MetricRow& metric);
MetricRow get_metric(ByteReader* in);
void get_uid(ByteReader* in, Uid* uid);

}  // namespace mlops::buffer
