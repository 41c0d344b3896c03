// Zstd: small one-shot frames without content size or checksum; the caller knows the size and has a checksum.
// Contexts are kept for reuse and never freed, so no destructor runs at exit. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mlops::buffer {

/// Appends the frame only if it is shorter than `raw`; returns its length, or 0 when nothing was appended.
std::size_t zstd_append(std::string* out, std::string_view raw);
/// Fills exactly `size` bytes of `to`; false for a frame that is damaged or holds another size.
bool zstd_expand(std::string_view frame, char* to, std::size_t size);

}  // namespace mlops::buffer
