// Zstd: the one file that names the compression library. See zstd.h.
#include "buffer/zstd.h"

#include <zstd.h>

#include <mutex>
#include <vector>

namespace mlops::buffer {
namespace {

constexpr std::size_t kKept = 4;

// Free contexts. Leaked on purpose: a thread may still encode while static destructors run.
template <typename Context>
class Pool {
 public:
  Context* take() {
    std::lock_guard<std::mutex> hold(mutex_);
    if (free_.empty()) return nullptr;
    Context* context = free_.back();
    free_.pop_back();
    return context;
  }
  bool give(Context* context) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (free_.size() >= kKept) return false;
    free_.push_back(context);
    return true;
  }

 private:
  std::mutex mutex_;
  std::vector<Context*> free_;
};

Pool<ZSTD_CCtx>& packers() {
  static auto* pool = new Pool<ZSTD_CCtx>;
  return *pool;
}
Pool<ZSTD_DCtx>& unpackers() {
  static auto* pool = new Pool<ZSTD_DCtx>;
  return *pool;
}

ZSTD_CCtx* new_packer() {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  if (context == nullptr) return nullptr;
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
  return context;
}

}  // namespace

std::size_t zstd_append(std::string* out, std::string_view raw) {
  if (raw.size() < 16) return 0;
  ZSTD_CCtx* context = packers().take();
  if (context == nullptr) context = new_packer();
  if (context == nullptr) return 0;
  const std::size_t start = out->size();
  out->resize(start + raw.size());
  // The bound is the raw size: a frame that does not fit is not wanted.
  const std::size_t size = ZSTD_compress2(context, out->data() + start, raw.size() - 1, raw.data(), raw.size());
  if (!packers().give(context)) ZSTD_freeCCtx(context);
  const bool useful = !ZSTD_isError(size);
  out->resize(start + (useful ? size : 0));
  return useful ? size : 0;
}

bool zstd_expand(std::string_view frame, char* to, std::size_t size) {
  ZSTD_DCtx* context = unpackers().take();
  if (context == nullptr) context = ZSTD_createDCtx();
  if (context == nullptr) return false;
  const std::size_t got = ZSTD_decompressDCtx(context, to, size, frame.data(), frame.size());
  if (!unpackers().give(context)) ZSTD_freeDCtx(context);
  return !ZSTD_isError(got) && got == size;
}

}  // namespace mlops::buffer
