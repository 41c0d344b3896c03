// Artifacts on their way in: how long the call takes beside cp, what hashing costs beside sha256sum, memory meanwhile.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "mlops/mlops.h"
#include "support.h"

namespace mlops::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kGiB = std::size_t{1} << 30;

double seconds_since(std::uint64_t start) { return static_cast<double>(now_ns() - start) * 1e-9; }

double shell(const std::string& command) {
  const std::uint64_t start = now_ns();
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);  // NOLINT(cert-env33-c)
  return seconds_since(start);
}

void make_file(const std::string& path, std::size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  std::mt19937_64 random(7);
  std::string block(std::size_t{1} << 20, '\0');
  for (std::size_t i = 0; i < block.size(); i += 8) {
    const std::uint64_t word = random();
    std::memcpy(block.data() + i, &word, 8);
  }
  for (std::size_t done = 0; done < bytes; done += block.size()) out << block;
  out.close();
  shell("sync '" + path + "'");
}

/// Private memory of this process in MB: what it has, or the most it had since `reset_peak`.
double status_mb(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    if (word == field) return in >> word ? std::stod(word) / 1024 : 0;
  }
  return 0;
}
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

Client open(const std::string& root) {
  Options options;
  options.root = root;
  options.deliver = false;
  return Client::open(options).value();
}

void must(const Status& s) {
  if (!s.ok()) throw std::runtime_error(s.to_string());
}

void one_big_file(Report& report) {
  const TempFolder folder;
  const std::string file = folder.path() + "/file", copy = folder.path() + "/copy";
  make_file(file, kGiB);
  Client client = open(folder.path() + "/root");
  Run run = client.start_run("bench").value();
  must(run.log_text("warm", "warm.txt"));
  must(client.flush(Level::durable));
  std::vector<double> ours, theirs, hashing, hash_peer;
  reset_peak();
  const double idle = status_mb("VmRSS:");
  double peak = 0;
  for (int i = 0; i < 3; ++i) {
    theirs.push_back(shell("cp '" + file + "' '" + copy + "'"));
    hash_peer.push_back(shell("sync -d '" + copy + "' && sha256sum '" + copy + "' > /dev/null"));
    fs::remove(copy);
    reset_peak();
    std::uint64_t start = now_ns();
    must(run.log_artifact(file, std::to_string(i)));
    ours.push_back(seconds_since(start));
    start = now_ns();
    must(client.flush(Level::durable, Millis(120'000)));
    hashing.push_back(seconds_since(start));
    peak = std::max(peak, status_mb("VmHWM:"));
  }
  report.add({"log_artifact of 1 GiB until it returns", median(ours), "s", "cp", median(theirs), Better::less, 1.2,
              Goal::ratio});
  report.add({"hashed, fsynced and named afterwards, in the background", median(hashing), "s", "sync -d, sha256sum",
              median(hash_peer), Better::less, 1.2, Goal::ratio});
  report.add({"memory above idle during both", peak - idle, "MB", "", 0, Better::less, 20});
  must(client.close());
}

void many_small_files(Report& report) {
  constexpr int kFiles = 10'000;
  const TempFolder folder;
  fs::create_directory(folder.path() + "/in");
  const std::string kib(1024, 'x');
  for (int i = 0; i < kFiles; ++i) {
    std::ofstream(folder.path() + "/in/" + std::to_string(i)) << i << kib.substr(0, 1016);
  }
  Client client = open(folder.path() + "/root");
  Run run = client.start_run("bench").value();
  const double peer = shell("cp -r '" + folder.path() + "/in' '" + folder.path() + "/copy'");
  std::uint64_t start = now_ns();
  must(run.log_artifacts(folder.path() + "/in"));
  report.add({"log_artifacts of 10,000 files of 1 KiB until it returns", seconds_since(start), "s", "cp -r", peer});
  start = now_ns();
  must(client.flush(Level::durable, Millis(300'000)));
  report.add({"hashed, fsynced and named afterwards, in the background", seconds_since(start), "s"});
  must(client.close());
}

/// A file system that can share blocks, in a file.
void reflink(Report& report) {
  const TempFolder folder;
  const std::string image = folder.path() + "/image", at = folder.path() + "/xfs";
  fs::create_directory(at);
  const std::string make = "truncate -s 4G '" + image + "' && mkfs.xfs -q -m reflink=1 '" + image +
                           "' 2> /dev/null && mount -o loop '" + image + "' '" + at + "' 2> /dev/null";
  if (std::system(make.c_str()) != 0) {  // NOLINT(cert-env33-c)
    report.note("no loop-mounted XFS here (mkfs.xfs, root and loop devices are needed): the clone is not measured");
    return;
  }
  {
    make_file(at + "/file", kGiB);
    Client client = open(at + "/root");
    Run run = client.start_run("bench").value();
    must(run.log_text("warm", "warm.txt"));
    std::vector<double> ours;
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t start = now_ns();
      must(run.log_artifact(at + "/file", std::to_string(i)));
      ours.push_back(seconds_since(start) * 1e3);
    }
    report.add(
        {"log_artifact of 1 GiB on XFS with reflinks until it returns", median(ours), "ms", "", 0, Better::less, 10});
    client.close().ignore();  // what is not hashed yet goes with the folder
  }
  ::umount2(at.c_str(), MNT_DETACH);
}

const Group big("artifacts.big", one_big_file);
const Group small("artifacts.small", many_small_files);
const Group clone("artifacts.reflink", reflink);

}  // namespace
}  // namespace mlops::bench
