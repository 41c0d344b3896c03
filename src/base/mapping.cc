// Mapping: shared file memory. Every byte is allocated on disk before it is mapped.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/file.h"

namespace mlops::base {
namespace {

std::size_t page_round(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Maps `bytes` of fd at an address that is a multiple of align; nullptr and errno on failure.
char* map_aligned(int fd, std::size_t bytes, std::size_t align, bool writable) {
  const std::size_t length = page_round(bytes);
  const std::size_t room = length + align;
  void* reserved = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(reserved);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  char* const at = begin + ((address + align - 1) / align * align - address);
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  if (::mmap(at, length, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int error = errno;
    ::munmap(begin, room);
    errno = error;
    return nullptr;
  }
  if (at > begin) ::munmap(begin, static_cast<std::size_t>(at - begin));
  char* const end = at + length;
  if (end < begin + room) ::munmap(end, static_cast<std::size_t>(begin + room - end));
  return at;
}

bool good_align(std::size_t align) { return align > 0 && (align & (align - 1)) == 0; }

}  // namespace

Result<Mapping> Mapping::create(const std::string& path, std::size_t bytes, std::size_t align) {
  if (bytes == 0 || !good_align(align))
    return Status(StatusCode::invalid_argument, path + ": no mapping of this shape");
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur) {
    return errno_status(EFBIG, "allocate", path);  // fallocate would raise SIGXFSZ in the host
  }
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_status(errno, "make", path);
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (error != 0) {
    ::unlink(path.c_str());
    return errno_status(error, "allocate " + std::to_string(bytes) + " bytes for", path);
  }
  Mapping mapping;
  mapping.data_ = map_aligned(fd.get(), bytes, align, true);
  if (mapping.data_ == nullptr) {
    error = errno;
    ::unlink(path.c_str());
    return errno_status(error, "map", path);
  }
  mapping.size_ = bytes;
  return mapping;
}

Result<Mapping> Mapping::open(const std::string& path, bool writable, std::size_t align) {
  if (!good_align(align)) return Status(StatusCode::invalid_argument, path + ": no mapping of this shape");
  const Fd fd(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return errno_status(errno, "open", path);
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_status(errno, "stat", path);
  if (!S_ISREG(st.st_mode)) return Status(StatusCode::failed_precondition, path + " is not a regular file");
  if (st.st_size == 0) return Status(StatusCode::data_loss, path + " is empty");
  Mapping mapping;
  mapping.data_ = map_aligned(fd.get(), static_cast<std::size_t>(st.st_size), align, writable);
  if (mapping.data_ == nullptr) return errno_status(errno, "map", path);
  mapping.size_ = static_cast<std::size_t>(st.st_size);
  return mapping;
}

Mapping& Mapping::operator=(Mapping&& o) noexcept {
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, page_round(size_));
}

}  // namespace mlops::base
