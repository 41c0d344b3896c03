// Build-wide facts of the public headers: version, export mark, ABI namespace.
//
// Every public name lives in mlops::v0 (an inline namespace named after the ABI), so that two copies of the
// library in one process can be told apart by the linker. C++17, std only, no exceptions and no RTTI needed.
#pragma once

#define MLOPS_VERSION_MAJOR 0
#define MLOPS_VERSION_MINOR 1
#define MLOPS_VERSION_PATCH 0
#define MLOPS_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define MLOPS_API __attribute__((visibility("default")))
#define MLOPS_COLD __attribute__((cold, noinline))
#define MLOPS_LIKELY(x) __builtin_expect(!!(x), 1)
#else
#define MLOPS_API
#define MLOPS_COLD
#define MLOPS_LIKELY(x) (x)
#endif

#define MLOPS_NAMESPACE_BEGIN \
  namespace mlops {           \
  inline namespace v0 {
#define MLOPS_NAMESPACE_END \
  }                         \
  }
