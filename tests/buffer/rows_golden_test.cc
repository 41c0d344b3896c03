// Golden rows: the database's keys and small rows of format 1, in hex as docs/format.md shows them.
#include <cmath>

#include "base/hex.h"
#include "buffer/rows.h"
#include "data.h"

namespace mlops::buffer {
namespace {

std::string hex(std::string_view bytes) {
  return base::to_hex(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}
Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}
const std::string kRunHex = "101112131415161718191a1b1c1d1e1f";

TEST(GoldenRows, Keys) {
  const Uid run = uid_of(0x10);
  EXPECT_EQ(kIdentityKey, "i");
  EXPECT_EQ(kDropsKey, "n");
  EXPECT_EQ(hex(uid_key('r', run)), "722f" + kRunHex);
  EXPECT_EQ(hex(metric_key(run, 258)), "732f" + kRunHex + "00000102");
  EXPECT_EQ(hex(record_key(run, 41)), "642f" + kRunHex + "0000000000000029");
  EXPECT_EQ(hex(cursor_key(run, 7)), "632f" + kRunHex + "00000007");
  EXPECT_EQ(hex(experiment_key("digits")), "782f646967697473");
  EXPECT_EQ(hex(artifact_key(run, 41)), "612f" + kRunHex + "0000000000000029");
  EXPECT_EQ(hex(model_key(run, 41)), "6d2f" + kRunHex + "0000000000000029");
  EXPECT_EQ(hex(uid_key('f', run)), "662f" + kRunHex);
  EXPECT_EQ(hex(blob_key(std::string(32, '\x11'))), "622f" + hex(std::string(32, '\x11')));
}

TEST(GoldenRows, Rows) {
  EXPECT_EQ(hex(encode_identity({uid_of(0x80), 2})), "08011210808182838485868788898a8b8c8d8e8f1802");
  model::RunRow run;
  run.parent = uid_of(0x20);
  run.experiment = "digits";
  run.name = "first";
  run.status = RunStatus::finished;
  run.attached = true;
  run.start_ms = 1'790'000'000'000;
  run.end_ms = -1;
  run.last_ms = 1'790'000'000'030;
  run.starts = 2;
  run.next_seq = 300;
  run.points = 290;
  run.merged = 3;
  run.dropped = 4;
  run.params = {{"lr", "0.001"}};
  run.tags = {{"note", "a"}, {"who", ""}};
  EXPECT_EQ(hex(encode_run(run)),
            "0a10202122232425262728292a2b2c2d2e2f12066469676974731a056669727374200328013080b083c59868380140bcb083c59868"
            "480250ac0258a20260036804");
  const std::string closed = hex(encode_run(run));
  run.left_open = true;
  EXPECT_EQ(hex(encode_run(run)), closed + "7001");
  model::RunRow deleted;
  deleted.deleted = true;
  deleted.lifecycle_ms = 1'790'000'000'000;
  EXPECT_EQ(hex(encode_run(deleted)), "20015001a00101a80180b083c59868");
  EXPECT_EQ(hex(encode_pairs(run)), "0a0b0a026c721205302e30303112090a046e6f746512016112050a0377686f");
  EXPECT_EQ(hex(encode_evicted(48, 46)), "0830102e");
  EXPECT_EQ(hex(encode_metric(metric_row(1))),
            "0a086d65747269632f31100218082094b083c5986829000000000000d03f31000000000000d03f39000000000000e03f40084806");
  EXPECT_EQ(hex(encode_cursor({uid_of(0x40), 7, 1, 300})), "080110ac02");
  EXPECT_EQ(hex(encode_drops({{"closed", 300}, {"invalid", 2}})),
            "0a0b0a06636c6f73656410ac020a0b0a07696e76616c69641002");
  FileRow file;
  file.sha256 = std::string(32, '\x11');
  file.size = 300;
  file.beat = 8;
  file.lost = "gone";
  file.run = uid_of(0x20);
  file.seq = 41;
  EXPECT_EQ(hex(encode_file(file)),
            "0a20" + hex(file.sha256) + "10ac0218082204676f6e652a10202122232425262728292a2b2c2d2e2f3029");
  EXPECT_EQ(hex(encode_blob({"", 300, 2})), "08ac021002");
}

}  // namespace
}  // namespace mlops::buffer
