// The shared mapping behind Tally. Stays mapped until the process ends.
#include "tally.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace digits {
namespace {

constexpr std::size_t kNames = 128, kNameBytes = 64, kPoints = 1'000'000;
constexpr char kMagic[8] = {'M', 'L', 'O', 'P', 'S', 'T', 'L', 'Y'};

[[noreturn]] void full(const char* what) {
  std::fprintf(stderr, "digits: the tally has no room for more %s\n", what);
  std::abort();
}

}  // namespace

struct Tally::Header {
  char magic[8];
  std::atomic<std::uint64_t> accepted;
  std::atomic<std::uint64_t> begun;
  std::uint32_t names;
  char reserved[36];
};

struct Tally::Record {
  std::uint16_t run, metric;
  std::atomic<std::uint32_t> state;
  std::int64_t step;
  double value;
};

bool Tally::open(const std::string& path, std::string* error) {
  static_assert(sizeof(Header) == 64 && sizeof(Record) == 24, "the layout in tally.h");
  if (path.empty()) return true;
  const std::size_t bytes = sizeof(Header) + kNames * kNameBytes + kPoints * sizeof(Record);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void* at = MAP_FAILED;
  if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0) {
    at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  const int failure = errno;
  if (fd >= 0) ::close(fd);
  if (at == MAP_FAILED) {
    *error = "cannot map the counter " + path + ": " + std::strerror(failure);
    return false;
  }
  header_ = static_cast<Header*>(at);
  names_ = static_cast<char*>(at) + sizeof(Header);
  records_ = reinterpret_cast<Record*>(names_ + kNames * kNameBytes);
  std::memcpy(header_->magic, kMagic, sizeof kMagic);
  return true;
}

std::uint16_t Tally::name(std::string_view text) {
  if (header_ == nullptr) return 0;
  for (std::uint32_t i = 0; i < header_->names; ++i) {
    if (text == names_ + i * kNameBytes) return static_cast<std::uint16_t>(i);
  }
  if (header_->names == kNames || text.size() >= kNameBytes) full("names");
  std::memcpy(names_ + header_->names * kNameBytes, text.data(), text.size());
  return static_cast<std::uint16_t>(header_->names++);
}

void Tally::begin(std::uint16_t run, std::uint16_t metric, std::int64_t step, double value) {
  if (header_ == nullptr) return;
  const std::uint64_t at = header_->begun.load(std::memory_order_relaxed);
  if (at == kPoints) full("points");
  Record& record = records_[at];
  record.run = run;
  record.metric = metric;
  record.step = step;
  record.value = value;
  record.state.store(1, std::memory_order_release);
  header_->begun.store(at + 1, std::memory_order_release);
}

void Tally::accepted() {
  if (header_ == nullptr) return;
  const std::uint64_t last = header_->begun.load(std::memory_order_relaxed) - 1;
  records_[last].state.store(2, std::memory_order_release);
  header_->accepted.fetch_add(1, std::memory_order_release);
}

}  // namespace digits
