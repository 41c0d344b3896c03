// The drain's part of artifacts: rows for what came in, room made for what wants in, nothing removed that is not
// delivered, and the database failing in between.
#include "drain/artifacts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/base.h"
#include "buffer/spool.h"
#include "drain/rig.h"
#include "ledger/ledger.h"

namespace mlops::drain {
namespace {

using test::Folder;
using test::Rig;
using test::RigOptions;
namespace fs = std::filesystem;

/// As the client does it: the bytes, then the record.
base::Uid put(Rig* rig, const base::Uid& run, const std::string& path, const std::string& bytes) {
  const buffer::Spool spool(rig->dir);
  fs::create_directories(spool.in());
  const base::Uid name = base::Uid::random();
  std::ofstream(spool.incoming(name), std::ios::binary) << bytes;
  rig->control->spool_bytes.fetch_add(bytes.size());
  rig->op(model::OpKind::artifact, run, path, name.hex(), static_cast<std::int64_t>(bytes.size()));
  return name;
}

TEST(Artifacts, FlushDurableCoversBytesAndName) {
  Folder root;
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("r");
  const base::Uid name = put(rig.get(), run, "a", "bytes");
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  const auto row = (*rig->drain->reader(Millis(1'000)))->file(name);
  ASSERT_TRUE(row.ok()) << row.status().to_string();
  EXPECT_LE(row->beat, rig->drain->durable_beat());
  EXPECT_EQ(row->size, 5u);
  EXPECT_EQ(row->sha256.size(), 32u);
  EXPECT_TRUE(buffer::Spool(rig->dir).find(*row).ok());
  EXPECT_EQ(rig->drain->stats().artifacts_waiting, 0u);
  ASSERT_TRUE(rig->close().ok());
  EXPECT_FALSE(fs::exists(buffer::Spool(rig->dir).incoming(name)));
}

TEST(Artifacts, WhatLiesInTheSpoolIsCountedOnceByTheNextOwner) {
  Folder root;
  {
    auto rig = Rig::open(root.path);
    const base::Uid run = rig->start_run("r");
    for (int i = 0; i < 20; ++i) put(rig.get(), run, std::to_string(i), std::string(1'000, static_cast<char>('a' + i)));
    ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
    ASSERT_TRUE(rig->close().ok());
  }
  ::usleep(20'000);  // the clock of files goes in ticks
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("again");
  put(rig.get(), run, "more", std::string(500, 'z'));  // perhaps before the drain has counted
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  EXPECT_EQ(rig->control->spool_bytes.load(), 20'500u);
  ASSERT_TRUE(rig->close().ok());
}

TEST(Artifacts, MissingAndCutBytesAreLostAndSaidSo) {
  Folder root;
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("r");
  const base::Uid cut = put(rig.get(), run, "cut", "bytes");
  const base::Uid gone = put(rig.get(), run, "gone", "bytes");
  const buffer::Spool spool(rig->dir);
  fs::resize_file(spool.incoming(cut), 3);
  fs::remove(spool.incoming(gone));
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  const auto reader = *rig->drain->reader(Millis(1'000));
  EXPECT_NE(reader->file(cut)->lost.find("3 of the 5 bytes"), std::string::npos) << reader->file(cut)->lost;
  EXPECT_NE(reader->file(gone)->lost.find("No such file"), std::string::npos) << reader->file(gone)->lost;
  EXPECT_EQ(rig->drain->stats().artifacts_lost, 2u);
  ASSERT_TRUE(rig->close().ok());
  rig = Rig::open(root.path);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  EXPECT_EQ(rig->drain->stats().artifacts_lost, 2u) << "the next process knows, too";
  ASSERT_TRUE(rig->close().ok());
}

TEST(Artifacts, LeftoversGoAndLockedOnesStay) {
  Folder root;
  auto rig = Rig::open(root.path);
  const base::Uid run = rig->start_run("r");
  put(rig.get(), run, "a", "bytes");
  rig->end_run(run);
  ASSERT_TRUE(rig->close().ok());
  const buffer::Spool spool(rig->dir);
  const base::Uid orphan = base::Uid::random(), locked = base::Uid::random();
  std::ofstream(spool.incoming(orphan)) << "never said";
  std::ofstream(spool.incoming(orphan) + ".half") << "half";
  std::ofstream(spool.content(std::string(32, 'z'))) << "no row";
  auto lock = base::FileLock::try_lock(spool.incoming(locked));  // of a process that is about to say so
  ASSERT_TRUE(lock.ok());
  rig = Rig::open(root.path);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  ASSERT_TRUE(rig->close().ok());
  EXPECT_FALSE(fs::exists(spool.incoming(orphan)));
  EXPECT_FALSE(fs::exists(spool.incoming(orphan) + ".half"));
  EXPECT_FALSE(fs::exists(spool.content(std::string(32, 'z'))));
  EXPECT_TRUE(fs::exists(spool.incoming(locked)));
  std::size_t contents = 0;
  for (const auto& entry : fs::directory_iterator(spool.dir())) contents += entry.is_regular_file();
  EXPECT_EQ(contents, 1u);
}

TEST(Artifacts, AFileThatIsBeingMadeIsNoLeftover) {
  Folder root;
  auto rig = Rig::open(root.path);
  rig->start_run("r");
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  const buffer::Spool spool(dir);
  fs::create_directories(spool.in());
  const std::string path = spool.incoming(base::Uid::random());
  std::ofstream(path) << "ha";  // made, and its maker has not come to the lock yet
  const auto slot = acquire_slot_at(dir);
  ASSERT_TRUE(slot.ok());
  const auto buffer = buffer::Buffer::open(dir);
  ASSERT_TRUE(buffer.ok());
  Artifacts artifacts(slot->get(), 0, [] {});
  ASSERT_TRUE(artifacts.opened(**buffer, true).ok());
  {
    const auto lock = base::FileLock::try_lock(path);
    ASSERT_TRUE(lock.ok());
    artifacts.recovered(**buffer, true);
  }
  artifacts.recovered(**buffer, true);
  artifacts.stop();
  EXPECT_TRUE(fs::exists(path));
}

/// What a ledger says when a destination has all records of the runs and, with `files`, their artifacts.
void deliver(const Rig& rig, const std::vector<base::Uid>& runs, bool files) {
  const auto reader = *rig.drain->reader(Millis(1'000));
  const buffer::Identity identity = reader->identity();
  auto ledger = ledger::Ledger::open(rig.dir, {"", "http://127.0.0.1:9"});
  ASSERT_TRUE(ledger.ok());
  for (const base::Uid& run : runs) {
    ledger::Lane lane;
    lane.run = run;
    lane.buffer_uid = identity.uid;
    lane.buffer_generation = identity.generation;
    lane.cursor = reader->run(run)->next_seq;
    lane.ended = true;
    ASSERT_TRUE((*ledger)->put(lane).ok());
    if (!files) continue;
    ledger::ArtifactPlace place;
    place.run = run;
    place.buffer_uid = identity.uid;
    place.buffer_generation = identity.generation;
    place.cursor = lane.cursor;
    ASSERT_TRUE((*ledger)->put(place).ok());
  }
}

void wish(Rig* rig, std::uint64_t bytes) {
  rig->control->spool_wanted.store(bytes);
  rig->control->hurry.fetch_add(1);
  rig->drain->wake();
  for (int i = 0; i < 2'000 && rig->control->spool_wanted.load() != 0; ++i) ::usleep(5'000);
  EXPECT_EQ(rig->control->spool_wanted.load(), 0u);
}

TEST(Artifacts, TheWishForRoomIsAnsweredAndUndeliveredBytesStay) {
  Folder root;
  RigOptions options;
  options.spool_mib = 1;
  auto rig = Rig::open(root.path, options);
  const base::Uid run = rig->start_run("r");
  const base::Uid name = put(rig.get(), run, "a", std::string(900'000, 'a'));
  rig->end_run(run);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  wish(rig.get(), 500'000);
  EXPECT_EQ(rig->control->spool_bytes.load(), 900'000u);
  EXPECT_TRUE((*rig->drain->reader(Millis(1'000)))->file(name)->lost.empty());
  deliver(*rig, {run}, true);
  wish(rig.get(), 100'000);
  EXPECT_EQ(rig->control->spool_bytes.load(), 900'000u) << "it fits: nothing has to go";
  wish(rig.get(), 500'000);
  EXPECT_EQ(rig->control->spool_bytes.load(), 0u);
  const auto row = (*rig->drain->reader(Millis(1'000)))->file(name);
  EXPECT_NE(row->lost.find("delivered"), std::string::npos) << row->lost;
  EXPECT_EQ(row->sha256.size(), 32u);
  ASSERT_TRUE(rig->close().ok());
}

TEST(Artifacts, ADestinationThatHasAllButTheArtifactsDoesNotMakeARunEvictable) {
  Folder root;
  auto rig = Rig::open(root.path);
  const base::Uid with = rig->start_run("with"), without = rig->start_run("without");
  const base::Uid name = put(rig.get(), with, "a", "bytes");
  rig->end_run(with);
  rig->end_run(without);
  ASSERT_TRUE(rig->drain->flush(Level::durable, Millis(20'000)).ok());
  deliver(*rig, {with, without}, false);
  const std::string dir = rig->dir;
  ASSERT_TRUE(rig->close().ok());
  DrainOptions options;
  options.root = root.path;
  options.evict = {with, without};
  auto slot = acquire_slot_at(dir);
  ASSERT_TRUE(slot.ok());
  auto drain = Drain::start(std::move(*slot), nullptr, options);
  ASSERT_TRUE(drain->flush(Level::durable, Millis(20'000)).ok());
  ASSERT_TRUE(drain->close(Millis(20'000)).ok());
  auto again = buffer::Buffer::open(dir);
  ASSERT_TRUE(again.ok());
  EXPECT_GT((*again)->run(without)->evicted_before, 1u);
  EXPECT_LE((*again)->run(with)->evicted_before, 1u);
  EXPECT_TRUE((*again)->file(name).ok());
}

}  // namespace
}  // namespace mlops::drain
