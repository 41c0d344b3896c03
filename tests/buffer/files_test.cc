// Rows of artifact bytes: made with their record, named later, counted by content, gone with their run; and where the
// spool finds the bytes.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/base.h"
#include "buffer/buffer.h"
#include "buffer/spool.h"

namespace mlops::buffer {
namespace {

namespace fs = std::filesystem;

struct Files : testing::Test {
  void SetUp() override {
    dir = testing::TempDir() + "mlops-files-XXXXXX";
    ASSERT_NE(::mkdtemp(dir.data()), nullptr);
    auto opened = Buffer::open(dir);
    ASSERT_TRUE(opened.ok());
    buffer = std::move(*opened);
  }
  void TearDown() override {
    buffer.reset();
    fs::remove_all(dir);
  }
  /// A beat with one artifact record of the run.
  Uid artifact(const Uid& run, const std::string& path, std::uint64_t size) {
    const Uid name = Uid::random();
    Beat beat;
    beat.beat = ++number;
    Beat::RunPart& part = beat.runs.emplace_back();
    part.row.uid = run;
    Record record;
    record.seq = ++seq;
    record.op.kind = model::OpKind::artifact;
    record.op.run = run;
    record.op.key = path;
    record.op.value = name.hex();
    record.op.number = static_cast<std::int64_t>(size);
    part.row.next_seq = seq + 1;
    part.ops.push_back(record);
    EXPECT_TRUE(buffer->write(beat).ok());
    return name;
  }
  FileRow row(const Uid& run, const Uid& name, const std::string& bytes) {
    FileRow file;
    file.name = name;
    file.run = run;
    const std::vector<ArtifactRow> rows = buffer->artifacts(run).value();
    for (const ArtifactRow& a : rows) {
      if (a.file.name == name) file.seq = a.seq;
    }
    file.sha256 = std::string(32, bytes[0]);
    file.size = bytes.size();
    return file;
  }
  void name_them(std::vector<FileRow> rows) {
    Beat beat;
    beat.beat = ++number;
    for (FileRow& r : rows) r.beat = number;
    beat.files = std::move(rows);
    EXPECT_TRUE(buffer->write(beat).ok());
  }
  std::uint64_t refs(char c) {
    const std::vector<BlobRow> rows = buffer->blobs().value();
    for (const BlobRow& blob : rows) {
      if (blob.sha256 == std::string(32, c)) return blob.refs;
    }
    return 0;
  }
  std::vector<ArtifactRow> unnamed() {
    std::uint64_t lost = 0;
    return buffer->unnamed(&lost).value();
  }
  std::string dir;
  std::unique_ptr<Buffer> buffer;
  std::uint64_t number = 0, seq = 0;
};

TEST_F(Files, AreNamedCountedAndDropped) {
  const Uid a = Uid::random(), b = Uid::random();
  const Uid one = artifact(a, "one", 3), two = artifact(a, "two", 3), other = artifact(b, "other", 3);
  EXPECT_EQ(unnamed().size(), 3u);
  EXPECT_EQ(buffer->file(one).status().code(), StatusCode::not_found);
  ASSERT_EQ(buffer->artifacts(a)->size(), 2u);
  EXPECT_EQ(buffer->artifacts(a)->at(0).file.beat, 0u);
  EXPECT_EQ(buffer->artifacts(a)->at(1).op.key, "two");

  name_them({row(a, one, "xxx"), row(a, two, "xxx"), row(b, other, "xxx")});  // three of one content in one batch
  EXPECT_EQ(refs('x'), 3u);
  EXPECT_TRUE(unnamed().empty());
  name_them({row(a, one, "xxx")});  // a beat that is written once more after a failure
  EXPECT_EQ(refs('x'), 3u);
  EXPECT_EQ(buffer->file(one)->beat, number);

  Freed freed;
  ASSERT_TRUE(buffer->evict(a, seq + 1, &freed).ok());
  EXPECT_TRUE(freed.empty());
  EXPECT_EQ(refs('x'), 1u);
  EXPECT_TRUE(buffer->artifacts(a)->empty());
  EXPECT_EQ(buffer->file(one).status().code(), StatusCode::not_found);
  name_them({row(a, two, "yyy")});  // hashed while its run went: no row is made
  EXPECT_EQ(refs('y'), 0u);
  ASSERT_TRUE(buffer->evict(b, seq + 1, &freed).ok());
  EXPECT_EQ(freed.contents, std::vector<std::string>{std::string(32, 'x')});
  EXPECT_TRUE(buffer->blobs()->empty());
}

TEST_F(Files, LostAndLetGo) {
  const Uid run = Uid::random();
  const Uid good = artifact(run, "good", 3), gone = artifact(run, "gone", 3), late = artifact(run, "late", 3);
  FileRow lost = row(run, gone, "zzz");
  lost.sha256.clear();
  lost.lost = "it changed";
  name_them({row(run, good, "ggg"), lost});
  std::uint64_t never_read = 0;
  EXPECT_EQ(buffer->unnamed(&never_read)->size(), 1u);
  EXPECT_EQ(never_read, 1u);
  EXPECT_EQ(buffer->file(gone)->lost, "it changed");
  EXPECT_EQ(refs('z'), 0u);
  Freed freed;
  ASSERT_TRUE(buffer->let_go(run, "made room", ++number, &freed).ok());
  EXPECT_EQ(freed.contents, std::vector<std::string>{std::string(32, 'g')});
  EXPECT_EQ(buffer->file(good)->lost, "made room");
  EXPECT_EQ(buffer->file(good)->sha256, std::string(32, 'g'));
  EXPECT_EQ(buffer->file(gone)->lost, "it changed");
  EXPECT_EQ(buffer->file(late).status().code(), StatusCode::not_found) << "it is not hashed yet, and stays";
  EXPECT_EQ(buffer->artifacts(run)->size(), 3u);
  freed = {};
  ASSERT_TRUE(buffer->evict(run, seq + 1, &freed).ok());
  EXPECT_TRUE(freed.contents.empty());
  EXPECT_EQ(freed.incoming, std::vector<Uid>{late});
}

TEST_F(Files, SecondaryAndReopenedSeeThem) {
  const Uid run = Uid::random();
  const Uid one = artifact(run, "one", 3);
  name_them({row(run, one, "xxx")});
  ASSERT_TRUE(buffer->sync().ok());
  auto secondary = open_secondary(dir, dir + "/scratch");
  ASSERT_TRUE(secondary.ok());
  EXPECT_EQ((*secondary)->file(one)->size, 3u);
  EXPECT_EQ((*secondary)->artifacts(run)->at(0).op.key, "one");
  secondary->reset();
  ASSERT_TRUE(buffer->flush_and_close().ok());
  buffer = Buffer::open(dir).value();
  EXPECT_EQ(refs('x'), 1u);
  EXPECT_EQ(buffer->file(one)->run, run);
}

TEST_F(Files, SpoolFindsThemUnderEitherName) {
  const Spool spool(dir);
  fs::create_directories(spool.in());
  FileRow file = {};
  file.name = Uid::random();
  file.sha256 = std::string(32, 's');
  file.size = 3;
  EXPECT_EQ(spool.find(file).status().code(), StatusCode::not_found);
  std::ofstream(spool.incoming(file.name)) << "abc";
  EXPECT_EQ(spool.find(file).value(), spool.incoming(file.name));
  auto fd = spool.open(file);
  ASSERT_TRUE(fd.ok());
  fs::rename(spool.incoming(file.name), spool.content(file.sha256));
  EXPECT_EQ(spool.find(file).value(), spool.content(file.sha256));
  EXPECT_TRUE(spool.open(file).ok());
  file.size = 4;
  EXPECT_EQ(spool.find(file).status().code(), StatusCode::data_loss);
  file.size = 3;
  file.lost = "it changed";
  EXPECT_EQ(spool.find(file).status().message(), "it changed");
}

}  // namespace
}  // namespace mlops::buffer
