// Which destination is meant when nobody says, and those that were made in vain.
#include "client/remotes.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "client/support.h"
#include "ledger/remotes.h"

namespace mlops::client {
namespace {

using ledger::Ledger;

class RemotesOfARoot : public ::testing::Test {
 protected:
  std::unique_ptr<Ledger> made(const std::string& name, const std::string& uri, bool answered) {
    std::unique_ptr<Ledger> ledger = Ledger::open(slot(name), {"", uri}).value();
    if (answered) {
      ledger::Lane lane = ledger->lane(base::Uid::random());
      lane.experiment_id = "1";
      EXPECT_TRUE(ledger->put(lane).ok());
    }
    return ledger;
  }
  std::string slot(const std::string& name) const { return root + "/host/s-0000000" + name; }
  bool has(const std::string& slot_name) const {
    return std::filesystem::exists(slot(slot_name) + "/delivery/typo_80");
  }

  test::TempDir dir;
  const std::string root = dir / "root";
};

TEST_F(RemotesOfARoot, WhatWasMadeInVainIsForgotten) {
  made("0", "http://typo", false);
  made("1", "http://typo", false);
  made("2", "http://typo", false);  // by somebody else
  EXPECT_TRUE(forget_unreached(root, "typo_80", {slot("0"), slot("1")}));
  EXPECT_FALSE(has("0") || has("1"));
  EXPECT_TRUE(has("2"));
}

TEST_F(RemotesOfARoot, WhatAnsweredOrWasTakenStays) {
  made("0", "http://typo", true);
  made("1", "http://typo", false);
  const std::unique_ptr<Ledger> held = made("2", "http://typo", false);
  EXPECT_FALSE(forget_unreached(root, "typo_80", {slot("0"), slot("1"), slot("2")}));
  EXPECT_TRUE(has("0") && !has("1") && has("2"));
}

TEST_F(RemotesOfARoot, WhatHasANameStays) {
  made("0", "http://typo", false);
  ledger::Remotes names;
  names.put({"typo_80", "http://typo"});
  ASSERT_TRUE(names.save(root).ok());
  EXPECT_FALSE(forget_unreached(root, "typo_80", {slot("0")}));
  EXPECT_TRUE(has("0"));
}

TEST_F(RemotesOfARoot, TheOnlyOneThatAnsweredIsMeant) {
  std::string words;
  const auto destination = [](const char* name, bool named, bool reached) {
    return KnownDestination{{name, std::string("http://") + name}, named, reached, {}};
  };
  EXPECT_EQ(only_one({}, false, &words), nullptr);
  EXPECT_NE(words.find("nobody has said"), std::string::npos);
  std::vector<KnownDestination> known = {destination("a", false, false)};
  EXPECT_EQ(only_one(known, true, &words), &known[0]) << "the only one, whatever it is";
  known.push_back(destination("b", false, true));
  EXPECT_EQ(only_one(known, false, &words), &known[1]);
  EXPECT_EQ(only_one(known, true, &words), nullptr) << "to deliver somewhere else is not undone";
  EXPECT_EQ(words, "this root delivers to 2 servers: a (http://a; never reached), b (http://b)");
  known[0].named = true;
  EXPECT_EQ(only_one(known, false, &words), nullptr) << "who named it means it";
  known[0].reached = true;
  EXPECT_EQ(only_one(known, false, &words), nullptr);
}

TEST_F(RemotesOfARoot, OneAnswerInAnySlotCounts) {
  made("0", "http://one", false);
  made("1", "http://one", true);
  made("0", "http://typo", false);
  const std::vector<KnownDestination> known = known_destinations(root).value();
  ASSERT_EQ(known.size(), 2U);
  EXPECT_TRUE(known[0].reached) << known[0].destination.name;
  EXPECT_FALSE(known[1].reached) << known[1].destination.name;
}

}  // namespace
}  // namespace mlops::client
