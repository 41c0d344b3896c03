// Artifacts from the caller's side: what was accepted is there with the bytes it had, what failed left nothing behind,
// whatever dies when; counted outside the library, by files the programs leave and by an independent look at the spool.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/base.h"
#include "client/support.h"

namespace mlops::test {
namespace {

namespace fs = std::filesystem;

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
std::string text_of(int i, std::size_t size) {
  std::string out = std::to_string(i) + ":";
  std::mt19937_64 random(static_cast<std::uint64_t>(i));
  while (out.size() < size) out += static_cast<char>(random());
  return out;
}

/// Once all of them have their last name: a path that is asked for before may be renamed away the moment after.
std::vector<ArtifactInfo> artifacts_of(const std::string& root, const std::string& run) {
  std::vector<ArtifactInfo> list;
  const auto settled = [&] {
    Result<Reader> reader = Reader::open(root);
    if (!reader.ok()) return false;
    Result<std::vector<ArtifactInfo>> now = reader->artifacts(run);
    EXPECT_TRUE(now.ok()) << now.status().to_string();
    list = now.value_or({});
    return std::none_of(list.begin(), list.end(), [](const ArtifactInfo& a) {
      return a.lost.empty() && (a.file.empty() || a.file.find("/spool/in/") != std::string::npos);
    });
  };
  EXPECT_TRUE(wait_until(settled, 10'000));
  return list;
}

/// Files below every slot's spool, by path below it.
std::vector<std::string> spool_files(const std::string& root) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().string();
    const std::size_t at = path.find("/spool/");
    if (at != std::string::npos && entry.is_regular_file()) out.push_back(path.substr(at + 7));
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// One client and one run over a folder.
struct Open {
  explicit Open(const std::string& root, Options options) : client(make(root, std::move(options))) {}
  explicit Open(const std::string& root) : Open(root, offline(root)) {}
  static Client make(const std::string& root, Options options) {
    options.root = root;
    return Client::open(std::move(options)).value();
  }
  Client client;
  mlops::Run run = client.start_run("e").value();
  Status settle() { return client.flush(Level::durable, Millis(60'000)); }
};

TEST(Artifact, IsWhatTheFileWasAtTheCall) {
  TempDir dir;
  Open open(dir / "root");
  write(dir / "model.bin", "first");
  ASSERT_TRUE(open.run.log_artifact(dir / "model.bin").ok());
  write(dir / "model.bin", "second");
  ASSERT_TRUE(open.run.log_artifact(dir / "model.bin", "sub/folder").ok());
  fs::remove(dir / "model.bin");
  ASSERT_TRUE(open.settle().ok());
  const auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].path, "model.bin");
  EXPECT_EQ(list[1].path, "sub/folder/model.bin");
  EXPECT_EQ(list[0].sha256, base::sha256_hex("first"));
  EXPECT_EQ(list[1].sha256, base::sha256_hex("second"));
  EXPECT_EQ(list[1].size, 6u);
  EXPECT_EQ(read(list[0].file), "first");
  EXPECT_EQ(read(list[1].file), "second");
  const Health health = open.client.health();
  EXPECT_EQ(health.artifacts_waiting, 0u);
  EXPECT_EQ(health.artifacts_lost, 0u);
  EXPECT_EQ(health.spool_bytes, 11u);
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, SameBytesAreStoredOnce) {
  TempDir dir;
  Open open(dir / "root");
  const std::string bytes = text_of(1, 100'000);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(open.run.log_bytes(bytes, "same" + std::to_string(i)).ok());
  ASSERT_TRUE(open.run.log_bytes("", "empty").ok());
  ASSERT_TRUE(open.settle().ok());
  ASSERT_TRUE(wait_until([&] { return spool_files(dir / "root").size() == 2; }, 10'000));
  EXPECT_TRUE(wait_until([&] { return open.client.health().spool_bytes == bytes.size(); }, 5'000));
  const auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 21u);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(read(list[i].file), bytes);
  EXPECT_EQ(list[20].size, 0u);
  EXPECT_EQ(list[20].sha256, base::sha256_hex(""));
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, MovedFileIsGoneAndLogged) {
  TempDir dir;
  Open open(dir / "root");
  write(dir / "big", text_of(2, 1 << 20));
  struct stat before{};
  ASSERT_EQ(::stat((dir / "big").c_str(), &before), 0);
  ASSERT_TRUE(open.run.log_artifact(dir / "big", "", {.move = true}).ok());
  EXPECT_FALSE(fs::exists(dir / "big"));
  ASSERT_TRUE(open.settle().ok());
  auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(read(list[0].file), text_of(2, 1 << 20));
  struct stat after{};
  ASSERT_EQ(::stat(list[0].file.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "the same file system: nothing was copied";
  // One with a second name may be written to through it: it is copied.
  write(dir / "two", "names");
  fs::create_hard_link(dir / "two", dir / "other");
  ASSERT_TRUE(open.run.log_artifact(dir / "two", "", {.move = true}).ok());
  write(dir / "other", "changed");
  EXPECT_FALSE(fs::exists(dir / "two"));
  ASSERT_TRUE(open.settle().ok());
  list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(read(list[1].file), "names");
  // What cannot be accepted stays where it was.
  write(dir / "kept", "kept");
  EXPECT_EQ(open.run.log_artifact(dir / "kept", "a/../b", {.move = true}).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(open.run.end().ok());
  EXPECT_EQ(open.run.log_artifact(dir / "kept", "", {.move = true}).code(), StatusCode::failed_precondition);
  EXPECT_EQ(read(dir / "kept"), "kept");
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, ReadLaterUnlessItChanged) {
  TempDir dir;
  Options options = offline(dir / "root");
  options.beat = Millis(2'000);  // so that the file can change before it is read
  Open open(dir / "root", options);
  const ArtifactOptions later{.move = false, .when = ReadWhen::later};
  write(dir / "same", "same");
  write(dir / "touched", "touched");
  write(dir / "gone", "gone");
  write(dir / "replaced", "replaced");
  for (const char* name : {"same", "touched", "gone", "replaced"}) {
    ASSERT_TRUE(open.run.log_artifact(dir / name, "", later).ok());
  }
  write(dir / "touched", "TOUCHED");
  fs::remove(dir / "gone");
  write(dir / "new", "replaced");
  fs::rename(dir / "new", dir / "replaced");
  EXPECT_EQ(open.run.log_artifact(dir / "same", "", {.move = true, .when = ReadWhen::later}).code(),
            StatusCode::invalid_argument);
  ASSERT_TRUE(open.settle().ok());
  const auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 4u);
  EXPECT_TRUE(list[0].lost.empty());
  EXPECT_EQ(read(list[0].file), "same");
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_NE(list[i].lost.find(dir.path()), std::string::npos) << list[i].path << ": " << list[i].lost;
    EXPECT_TRUE(list[i].file.empty());
  }
  EXPECT_NE(list[1].lost.find("changed"), std::string::npos) << list[1].lost;
  EXPECT_EQ(open.client.health().artifacts_lost, 3u);
  EXPECT_TRUE(wait_until([&] { return spool_files(dir / "root").size() == 1; }, 5'000));
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, FileThatChangesWhileItIsCopiedIsNoticed) {
  TempDir dir;
  Open open(dir / "root");
  write(dir / "log", text_of(3, 8 << 20));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    const int fd = ::open((dir / "log").c_str(), O_WRONLY);
    for (std::uint64_t i = 0; !stop; ++i) {
      if (::pwrite(fd, &i, sizeof i, static_cast<off_t>(i * 4096 % (8 << 20))) < 0) std::abort();
    }
    ::close(fd);
  });
  int noticed = 0, whole = 0, other = 0;
  for (int i = 0; i < 200 && noticed < 3; ++i) {  // on a busy machine the writer may not get to write meanwhile
    const Status s = open.run.log_artifact(dir / "log");
    if (s.code() == StatusCode::failed_precondition && s.message().find("changed") != std::string_view::npos) {
      ++noticed;
    } else {
      ++(s.ok() ? whole : other);
    }
  }
  stop = true;
  writer.join();
  EXPECT_EQ(other, 0);
  EXPECT_GT(noticed, 0);  // no reflinks where tests run; there every copy is of one moment
  EXPECT_TRUE(open.run.log_artifact(dir / "log").ok());
  ASSERT_TRUE(open.settle().ok());
  EXPECT_EQ(artifacts_of(dir / "root", open.run.id()).size(), static_cast<std::size_t>(whole) + 1);
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, BadInputIsNamedAndKeepsNothing) {
  TempDir dir;
  Open open(dir / "root");
  fs::create_directory(dir / "folder");
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  fs::create_symlink(dir / "loop", dir / "loop");
  write(dir / "file", "x");
  const auto expect = [&](const std::string& file, const std::string& path, StatusCode code, const std::string& words) {
    const Status s = open.run.log_artifact(file, path);
    EXPECT_EQ(s.code(), code) << file << " " << path << ": " << s.to_string();
    EXPECT_NE(s.message().find(words), std::string_view::npos) << s.to_string();
    EXPECT_EQ(s.message().find('\n'), std::string_view::npos);
  };
  expect(dir / "missing", "", StatusCode::not_found, dir / "missing");
  expect(dir / "folder", "", StatusCode::failed_precondition, "a folder");
  expect(dir / "fifo", "", StatusCode::failed_precondition, "a FIFO");
  expect("/dev/zero", "", StatusCode::failed_precondition, "a device");
  expect(dir / "loop", "", StatusCode::failed_precondition, "loop");
  expect("", "", StatusCode::invalid_argument, "needs a file");
  for (const char* path :
       {"/absolute", "a//b", "a/../b", "..", "./a", "a/", "a#b", "a\\b", "%41", "s3:x", "tab\there"}) {
    expect(dir / "file", path, StatusCode::invalid_argument, "artifact path");
  }
  expect(dir / "file", std::string(300, 'n'), StatusCode::invalid_argument, "255 bytes");
  EXPECT_EQ(open.run.log_bytes("x", "").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_bytes("x", std::string(1000, 'a')).code(), StatusCode::invalid_argument);
  EXPECT_TRUE(spool_files(dir / "root").empty());
  // These are fine.
  write(dir / "with space 100% Ünï ☃?.txt", "x");
  EXPECT_TRUE(open.run.log_artifact(dir / "with space 100% Ünï ☃?.txt", "ä b/c").ok());
  EXPECT_TRUE(open.run.log_bytes("x", std::string(255, 'n')).ok());
  ASSERT_TRUE(open.settle().ok());
  const auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].path, "ä b/c/with space 100% Ünï ☃?.txt");
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, FolderGoesOnAfterWhatCannotBeLogged) {
  TempDir dir;
  Open open(dir / "root");
  fs::create_directories(dir / "in/a/b");
  fs::create_directories(dir / "elsewhere");
  write(dir / "in/one", "1");
  write(dir / "in/a/two", "2");
  write(dir / "in/a/b/three", "3");
  write(dir / "elsewhere/four", "4");
  fs::create_symlink("../../elsewhere/four", dir / "in/a/linked");
  fs::create_directory_symlink(dir / "elsewhere", dir / "in/other");
  fs::create_directory_symlink("..", dir / "in/a/up");
  ASSERT_EQ(::mkfifo((dir / "in/fifo").c_str(), 0600), 0);
  write(dir / "in/bad#name", "5");
  const Status s = open.run.log_artifacts(dir / "in", "out");
  EXPECT_EQ(s.code(), StatusCode::failed_precondition) << s.to_string();
  EXPECT_NE(s.message().find("a/up"), std::string_view::npos) << s.to_string();
  EXPECT_EQ(open.run.log_artifacts(dir / "in/one").code(), StatusCode::failed_precondition);
  EXPECT_EQ(open.run.log_artifacts(dir / "nowhere").code(), StatusCode::not_found);
  ASSERT_TRUE(open.settle().ok());
  std::set<std::string> paths;
  for (const ArtifactInfo& a : artifacts_of(dir / "root", open.run.id())) paths.insert(a.path);
  EXPECT_EQ(paths, (std::set<std::string>{"out/one", "out/a/two", "out/a/b/three", "out/a/linked", "out/other/four"}));
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Artifact, QuotaOfItsOwn) {
  TempDir dir;
  Options options = offline(dir / "root");
  options.spool_mib = 1;
  Open open(dir / "root", options);
  ASSERT_TRUE(open.run.log_bytes(text_of(1, 700'000), "first").ok());
  const Status s = open.run.log_bytes(text_of(2, 700'000), "second");
  EXPECT_EQ(s.code(), StatusCode::resource_exhausted);
  EXPECT_NE(s.message().find("spool_mib"), std::string_view::npos) << s.to_string();
  EXPECT_TRUE(open.run.log_metric("m", 1.0, 0).ok()) << "points have a quota of their own";
  ASSERT_TRUE(open.run.log_bytes(text_of(3, 100'000), "third").ok());
  ASSERT_TRUE(open.settle().ok());
  EXPECT_EQ(spool_files(dir / "root").size(), 2u);
  EXPECT_EQ(open.client.health().spool_bytes, 800'000u);
  ASSERT_TRUE(open.client.close().ok());
}

// args: root, source folder, count: forks; both sides log artifacts
MLOPS_PROGRAM(fork_with_artifacts) {
  Open open(args[0]);
  if (!open.run.log_artifact(args[1] + "/parent").ok()) return 2;
  const int child = ::fork();
  if (child == 0) {
    if (!open.run.log_artifact(args[1] + "/child", "of").ok()) ::_exit(3);
    if (!open.run.log_text("by the child", "note.txt").ok()) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return 5;
  if (!open.run.end().ok()) return 6;
  return open.client.close().ok() ? 0 : 7;
}

TEST(Artifact, ForkedChildLogsThemToo) {
  TempDir dir;
  write(dir / "parent", "of the parent");
  write(dir / "child", "of the child");
  ASSERT_EQ(run_program("fork_with_artifacts", {dir / "root", dir.path()}), 0);
  const auto runs = settled_runs(dir / "root");
  ASSERT_EQ(runs.size(), 1u);
  std::map<std::string, std::string> found;
  for (const ArtifactInfo& a : artifacts_of(dir / "root", runs[0].id)) found[a.path] = read(a.file);
  EXPECT_EQ(found, (std::map<std::string, std::string>{
                       {"parent", "of the parent"}, {"of/child", "of the child"}, {"note.txt", "by the child"}}));
}

// args: root, run, folder for proofs, seed, kill point or "-": logs artifacts for ever; after each call that returned
// OK it leaves a file with the artifact's path as its name (the oracle), made before the next call.
MLOPS_PROGRAM(artifacts_for_ever) {
  if (args[4] != "-") ::setenv("MLOPS_KILL_AT", args[4].c_str(), 1);
  Options options = offline(args[0]);
  options.beat = Millis(10);
  Client client = Client::open(options).value();
  mlops::Run run = client.start_run("e", {.resume_name = "storm"}).value();
  const int seed = std::stoi(args[3]);
  for (int i = 0;; ++i) {
    const int id = seed * 1'000'000 + i;
    const std::string name = std::to_string(id), bytes = text_of(i % 7 == 0 ? 42 : id, 1000 + 5'000 * (i % 5));
    Status s;
    if (i % 4 == 3) {
      s = run.log_bytes(bytes, name);
    } else {
      const std::string source = args[2] + "/../source." + name;
      write(source, bytes);
      const std::string as = args[2] + "/../" + name;
      fs::rename(source, as);
      ArtifactOptions how;
      how.move = i % 4 == 1;
      if (i % 4 == 2) how.when = ReadWhen::later;
      s = run.log_artifact(as, "", how);
      if (s.ok() && how.move && fs::exists(as)) return 11;
    }
    if (!s.ok()) return 12;
    write(args[2] + "/" + name, i % 7 == 0 ? "42" : name);
    if (i % 16 == 15 && !client.flush(Level::durable, Millis(20'000)).ok()) return 13;
    if (i == 400) return 0;
  }
}

/// Everything the oracle has is there once with its bytes; what else is there was logged, too; and the spool has no
/// file that nothing names.
void expect_storm_survived(const std::string& root, const std::string& proofs) {
  {
    Client next = Client::open(offline(root)).value();  // takes over what the last one left, and hashes it
    ASSERT_TRUE(next.flush(Level::durable, Millis(60'000)).ok());
    ASSERT_TRUE(next.close().ok());
  }
  const auto runs = settled_runs(root);
  ASSERT_EQ(runs.size(), 1u);
  std::map<std::string, int> seen;
  std::set<std::string> contents;
  for (const ArtifactInfo& a : artifacts_of(root, runs[0].id)) {
    ++seen[a.path];
    ASSERT_EQ(a.lost, "") << a.path;
    ASSERT_NE(a.file, "") << a.path;
    EXPECT_EQ(base::sha256_hex(read(a.file)), a.sha256) << a.path;
    contents.insert(a.sha256);
  }
  std::size_t accepted = 0;
  for (const auto& proof : fs::directory_iterator(proofs)) {
    const std::string name = proof.path().filename();
    EXPECT_EQ(seen[name], 1) << name;
    ++accepted;
  }
  for (const auto& [name, count] : seen) EXPECT_EQ(count, 1) << name;
  EXPECT_LE(seen.size(), accepted + 100);  // accepted, and killed before the proof was made: one a kill
  std::set<std::string> files;
  for (const std::string& file : spool_files(root)) files.insert(file);
  for (const std::string& file : files) EXPECT_TRUE(contents.count(file)) << file << " is named by nothing";
  for (const std::string& content : contents) EXPECT_TRUE(files.count(content)) << content << " has no file";
  std::fprintf(stderr, "accepted=%zu listed=%zu contents=%zu\n", accepted, seen.size(), contents.size());
  EXPECT_GT(accepted, 0u);
}

TEST(ArtifactStorm, SigkillAtRandomMoments) {
  TempDir dir;
  fs::create_directory(dir / "proofs");
  const auto seed = static_cast<std::uint64_t>(base::now_ms());
  std::fprintf(stderr, "seed=%llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (int i = 1; i <= 12; ++i) {
    const int pid = spawn("artifacts_for_ever", {dir / "root", "-", dir / "proofs", std::to_string(i), "-"});
    ::usleep(static_cast<useconds_t>(100'000 + random() % 500'000));
    ::kill(pid, SIGKILL);
    const int end = wait_for(pid);
    ASSERT_TRUE(end == 1000 + SIGKILL || end == 0) << end;
  }
  expect_storm_survived(dir / "root", dir / "proofs");
}

TEST(ArtifactStorm, SigkillAtEveryPointOfTheWay) {
  TempDir dir;
  fs::create_directory(dir / "proofs");
  int i = 0, killed = 0;
  for (const char* point :
       {"spool.begin", "spool.copying", "spool.copied", "spool.appended", "spool.read", "spool.hashed", "spool.settled",
        "spool.named", "spool.same", "drain.written", "buffer.written", "drain.durable", "spool.removed"}) {
    for (const int pass : {1, 9}) {
      ++i;
      const std::string at = std::string(point) + ":" + std::to_string(pass);
      const int pid = spawn("artifacts_for_ever", {dir / "root", "-", dir / "proofs", std::to_string(i), at});
      const int end = wait_for(pid);
      ASSERT_TRUE(end == 1000 + SIGKILL || end == 0) << at << ": " << end;
      killed += end != 0;
    }
  }
  EXPECT_GE(killed, 20);
  expect_storm_survived(dir / "root", dir / "proofs");
}

// args: root, folder of a small file system: fills it, and goes on
MLOPS_PROGRAM(full_disk) {
  Options options = offline(args[0]);
  options.journal_mib = 2;
  Open open(args[0], options);
  int refused = 0, accepted = 0;
  for (int i = 0; i < 40; ++i) {
    const Status s = open.run.log_bytes(text_of(i, 1 << 20), "f" + std::to_string(i));
    if (s.ok()) {
      ++accepted;
    } else if (s.code() == StatusCode::resource_exhausted && s.message().find("No space") != std::string_view::npos) {
      ++refused;
    } else {
      std::fprintf(stderr, "%s\n", s.to_string().c_str());
      return 2;
    }
  }
  std::fprintf(stderr, "accepted=%d refused=%d\n", accepted, refused);
  if (accepted == 0 || refused == 0) return 3;
  if (!open.run.log_metric("alive", 1.0, 0).ok()) return 4;
  std::ofstream(args[1]) << accepted;
  open.run.end().ignore();
  open.client.close().ignore();
  return 0;
}

TEST(Artifact, FullDiskKeepsNothingByHalves) {
  TempDir dir;
  fs::create_directory(dir / "small");
  if (::mount("none", (dir / "small").c_str(), "tmpfs", 0, "size=32m") != 0) GTEST_SKIP() << "no mount here";
  const int end = run_program("full_disk", {dir / "small/root", dir / "accepted"}, 120);
  EXPECT_EQ(end, 0);
  std::size_t files = 0;
  for (const std::string& file : spool_files(dir / "small/root")) {
    struct stat st{};
    for (const auto& entry : fs::recursive_directory_iterator(dir / "small/root")) {
      if (entry.path().filename() == fs::path(file).filename()) ::stat(entry.path().c_str(), &st);
    }
    EXPECT_EQ(st.st_size, text_of(0, 1 << 20).size()) << file;
    ++files;
  }
  EXPECT_EQ(std::to_string(files), read(dir / "accepted"));
  ::umount2((dir / "small").c_str(), MNT_DETACH);
}

TEST(Media, TableJsonFigureHistogram) {
  TempDir dir;
  Open open(dir / "root");
  const std::vector<TableColumn> columns = {{"x", std::vector<double>{0.5, NAN, -1e300}},
                                            {"n", std::vector<std::int64_t>{1, 2, INT64_MIN}},
                                            {"te\"xt", std::vector<std::string>{"a", "", "ü\n"}},
                                            {"ok", std::vector<bool>{true, false, true}}};
  ASSERT_TRUE(open.run.log_table(columns, "tables/t.json").ok());
  ASSERT_TRUE(open.run.log_table(columns, "tables/t.json").ok());
  ASSERT_TRUE(open.run.log_table({columns[0]}, "u.json").ok());
  EXPECT_EQ(open.run.log_table({columns[0]}, "u.csv").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_table({columns[0]}, "u[1].json").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_table({columns[0], {"short", std::vector<bool>{true}}}, "u.json").code(),
            StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_table({columns[0], columns[0]}, "u.json").code(), StatusCode::invalid_argument);
  ASSERT_TRUE(open.run
                  .log_json(Json::object()
                                .set("a", 0.1)
                                .set("b", Json::array().add(1).add(true).add(nullptr))
                                .set("n", std::nan(""))
                                .set("s", "q\"\x01"),
                            "j.json")
                  .ok());
  ASSERT_TRUE(open.run.log_json("{\"k\": [1, 2.5e-3, \"x\\u0041\"]}", "k.json").ok());
  for (const char* bad : {"", "{", "{\"a\":}", "[1,]", "01", "\"\\x\"", "nul", "1 2", "NaN"}) {
    EXPECT_EQ(open.run.log_json(bad, "bad.json").code(), StatusCode::invalid_argument) << bad;
  }
  EXPECT_EQ(open.run.log_json(std::string(100'000, '['), "bad.json").code(), StatusCode::invalid_argument);
  ASSERT_TRUE(open.run.log_figure("<svg xmlns='http://www.w3.org/2000/svg'/>", "f.svg").ok());
  EXPECT_EQ(open.run.log_figure("<svg/>", "f.png").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_figure("GIF89a", "f.gif").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_text("\xff", "t.txt").code(), StatusCode::invalid_argument);
  std::vector<double> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i % 10);
  values.push_back(INFINITY);
  const Histogram h = Histogram::of(values.data(), values.size(), 10);
  EXPECT_EQ(h.counts, std::vector<double>(10, 100.0));
  EXPECT_TRUE(Histogram::of(nullptr, 0).counts.empty());
  const double one[] = {1e300, 1e300};
  EXPECT_EQ(Histogram::of(one, 2, 1).counts, std::vector<double>{2});
  ASSERT_TRUE(open.run.log_histogram(h, "h.svg").ok());
  ASSERT_TRUE(open.run.log_histogram(h, "h.json").ok());
  EXPECT_EQ(open.run.log_histogram({{1, 1}, {3}}, "h.json").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_histogram(h, "h.txt").code(), StatusCode::invalid_argument);
  ASSERT_TRUE(open.settle().ok());
  std::map<std::string, std::string> found;
  for (const ArtifactInfo& a : artifacts_of(dir / "root", open.run.id())) found[a.path] = read(a.file);
  EXPECT_EQ(found["tables/t.json"],
            "{\"columns\":[\"x\",\"n\",\"te\\\"xt\",\"ok\"],\"data\":[[0.5,1,\"a\",true],[null,2,\"\",false],"
            "[-1e+300,-9223372036854775808,\"ü\\u000a\",true]]}");
  EXPECT_EQ(found["j.json"], "{\"a\": 0.1, \"b\": [1, true, null], \"n\": \"NaN\", \"s\": \"q\\\"\\u0001\"}");
  EXPECT_EQ(found["h.json"].substr(0, 24), "{\"edges\": [0, 0.9, 1.8, ");
  EXPECT_EQ(found["h.svg"].substr(0, 4), "<svg");
  EXPECT_FALSE(found.count("bad.json"));
  const RunSummary run = Reader::open(dir / "root")->run(open.run.id()).value();
  const auto tag =
      std::find_if(run.tags.begin(), run.tags.end(), [](const auto& t) { return t.first == "mlflow.loggedArtifacts"; });
  ASSERT_NE(tag, run.tags.end());
  EXPECT_EQ(tag->second, R"([{"path": "tables/t.json", "type": "table"}, {"path": "u.json", "type": "table"}])");
  ASSERT_TRUE(open.client.close().ok());
}

TEST(Media, Images) {
  TempDir dir;
  Open open(dir / "root");
  std::vector<std::uint8_t> bytes(600 * 300 * 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  const std::vector<float> grey = {0.0F, 0.5F, 1.0F, NAN};
  Image image;
  image.bytes = bytes.data();
  image.width = 600;
  image.height = 300;
  ASSERT_TRUE(open.run.log_image(image, "pictures/a.png").ok());
  ASSERT_TRUE(open.run.log_image(image, "val/dogs", 3).ok());
  Image small;
  small.floats = grey.data();
  small.width = small.height = 2;
  small.channels = 1;
  ASSERT_TRUE(open.run.log_image(small, "grey.png").ok());
  ASSERT_TRUE(open.run.log_image(small, "grey", 0).ok());
  small.channels = 2;
  EXPECT_EQ(open.run.log_image(small, "grey.png").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_image(Image{}, "grey.png").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_image(image, "a.jpg").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_image(image, "images/a.png").code(), StatusCode::invalid_argument);
  EXPECT_EQ(open.run.log_image(image, "bad+key", 1).code(), StatusCode::invalid_argument);
  ASSERT_TRUE(open.settle().ok());
  const auto list = artifacts_of(dir / "root", open.run.id());
  ASSERT_EQ(list.size(), 6u);
  EXPECT_EQ(list[1].path.substr(0, 32), "images/val~dogs+step+3+timestamp");
  EXPECT_EQ(list[2].path, list[1].path.substr(0, list[1].path.size() - 4) + "+compressed.webp");
  EXPECT_EQ(read(list[0].file).substr(1, 3), "PNG");
  EXPECT_EQ(list[0].sha256, list[1].sha256);
  EXPECT_EQ(read(list[2].file).substr(8, 4), "WEBP");
  ASSERT_TRUE(open.client.close().ok());
}

}  // namespace
}  // namespace mlops::test
