// Golden control page: whoever takes a slot over keeps the counters of a page of version 1, readers see them, and
// today's page has the same bytes. The file holds what is used of the page; the rest is zero.
#include "support/golden.h"

#include <stdlib.h>

#include <cstring>
#include <fstream>

#include "base/file.h"
#include "drain/slot.h"

namespace mlops::drain {
namespace {

constexpr std::uint64_t kTicket = 0x7172737475767778;  // above every clock: opening a slot never lowers it

struct GoldenControl : testing::Test {
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mlops-control-XXXXXX";
    slot = ::mkdtemp(pattern.data());
  }
  void TearDown() override { base::remove_tree(slot).ignore(); }
  std::string page() const { return base::read_file(slot + "/control").value(); }
  std::string slot;
};

std::string stored() {
  std::ifstream in(golden_path("drain", "control.v1"), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(GoldenControl, WritesTheSameBytes) {
  {
    auto made = acquire_slot_at(slot);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    journal::Control* control = (*made)->control();
    control->ticket = kTicket;
    control->durable_beat = 0x0102030405060708;
    for (std::size_t i = 0; i < 16; ++i) control->buffer_uid[i] = static_cast<std::uint8_t>(0x80 + i);
    control->beat = 0x0102030405060709;
    control->hurry = 3;
  }
  const std::string now = page();
  ASSERT_EQ(now.size(), 4096u);
  EXPECT_EQ(now.substr(0, 64), golden_bytes("drain", "control.v1", now.substr(0, 64)));
  EXPECT_EQ(now.find_first_not_of('\0', 64), std::string::npos);
}

TEST_F(GoldenControl, IsTakenOver) {
  std::string bytes = stored();
  ASSERT_EQ(bytes.size(), 64u);
  bytes.resize(4096, '\0');
  ASSERT_TRUE(base::replace_file(slot + "/control", bytes, false).ok());
  {
    const auto map = open_control(slot);
    ASSERT_TRUE(map.ok()) << map.status().to_string();
    const auto* control = reinterpret_cast<const journal::Control*>(map->data());
    EXPECT_EQ(control->ticket.load(), kTicket);
    EXPECT_EQ(control->durable_beat.load(), 0x0102030405060708u);
    EXPECT_EQ(control->buffer_uid[15], 0x8F);
    EXPECT_EQ(control->beat.load(), 0x0102030405060709u);
    EXPECT_EQ(control->hurry.load(), 3u);
  }
  auto taken = acquire_slot_at(slot);
  ASSERT_TRUE(taken.ok()) << taken.status().to_string();
  EXPECT_EQ(page(), bytes);
}

}  // namespace
}  // namespace mlops::drain
