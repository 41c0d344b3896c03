// The promise: at-least-once on the wire, exactly-once in effect. A short program's records are delivered with one
// fault at each request index in turn, for each kind of fault and age of server; what the server holds in the end is
// what it holds after an undisturbed delivery.
#include <gtest/gtest.h>

#include "rig.h"

namespace mlops::sync::fake {
namespace {

struct Case {
  Server::Age age;
  Fault fault;
  bool power = false;  // of a kill: the ledger's unsynced frames are lost, too
};

std::string words(const testing::TestParamInfo<Case>& info) {
  static const char* const faults[] = {"None",    "Offline",   "RequestLost",  "ResponseLost", "Http500",  "HalfDone",
                                       "Html200", "Throttled", "Unauthorized", "KillBefore",   "KillAfter"};
  static const char* const ages[] = {"V2_22", "V3_10", "V3_17"};
  return std::string(faults[static_cast<int>(info.param.fault)]) + (info.param.power ? "Power" : "") + "On" +
         ages[static_cast<int>(info.param.age)];
}

class AtEachRequest : public testing::TestWithParam<Case> {};

TEST_P(AtEachRequest, TheServerHoldsTheSame) {
  const Case c = GetParam();
  std::string expected;
  std::uint64_t requests = 0;
  {
    Rig rig(c.age);
    const std::uint64_t points = write_scenario(rig.buffer.get());
    ASSERT_TRUE(rig.deliver().ok());
    expected = rig.server.dump();
    requests = rig.server.requests();
    EXPECT_EQ(rig.last.delivered, points);
    EXPECT_EQ(rig.last.waiting, 0u);
    EXPECT_EQ(rig.last.dead_letters, 0u);
    EXPECT_EQ(rig.server.runs.size(), 2u);
    std::size_t stored = 0;
    for (const auto& [id, run] : rig.server.runs) stored += run.points.size();
    EXPECT_EQ(stored, points);
  }
  ASSERT_GE(requests, 15u);
  for (std::uint64_t index = 0; index < requests; ++index) {
    Rig rig(c.age);
    const std::uint64_t points = write_scenario(rig.buffer.get());
    rig.fault_at(index, c.fault, c.power);
    Status status = rig.deliver();
    ASSERT_TRUE(status.ok()) << "fault at request " << index << ": " << status.to_string();
    ASSERT_EQ(rig.server.dump(), expected) << "fault at request " << index;
    ASSERT_EQ(rig.last.delivered, points) << "fault at request " << index;
    ASSERT_EQ(rig.last.dead_letters, 0u) << "fault at request " << index;
    ASSERT_EQ(rig.server.refused_batches, 0u) << "fault at request " << index;
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (Server::Age age : {Server::Age::v2_22, Server::Age::v3_10, Server::Age::v3_17}) {
    for (Fault fault :
         {Fault::offline, Fault::request_lost, Fault::response_lost, Fault::http_500, Fault::half_done, Fault::html_200,
          Fault::throttled, Fault::unauthorized, Fault::kill_before, Fault::kill_after}) {
      out.push_back({age, fault});
    }
    out.push_back({age, Fault::kill_before, true});
    out.push_back({age, Fault::kill_after, true});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Faults, AtEachRequest, testing::ValuesIn(cases()), words);

// A server that appends what is repeated gets nothing twice: the histories are read back first.
TEST(FileStore, GetsNoPointTwiceWhateverFails) {
  std::uint64_t requests = 1;  // as many as an undisturbed delivery takes
  for (const Fault fault :
       {Fault::none, Fault::response_lost, Fault::half_done, Fault::kill_before, Fault::kill_after}) {
    for (std::uint64_t index = 0; index < requests; ++index) {
      SCOPED_TRACE("fault " + std::to_string(static_cast<int>(fault)) + " at request " + std::to_string(index));
      Rig rig(Server::Age::v3_17);
      rig.server.file_store = true;
      const std::uint64_t points = write_scenario(rig.buffer.get());
      rig.fault_at(index, fault);
      ASSERT_TRUE(rig.deliver().ok());
      std::size_t stored = 0;
      for (const auto& [id, run] : rig.server.runs) stored += run.points.size();
      ASSERT_EQ(stored, points);
      ASSERT_EQ(rig.server.repeated, 0u);
      ASSERT_EQ(rig.last.delivered, points);
      if (fault == Fault::none) {
        requests = rig.server.requests();
        break;
      }
    }
  }
}

}  // namespace
}  // namespace mlops::sync::fake
