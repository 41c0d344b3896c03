// A library that answers as NVIDIA's NVML does, in kinds:
//   two_gpus   two GPUs; readings change with each round, the second one's utilisation fails with an error
//   no_driver  nvmlInit fails: the library is there, the driver is not
//   no_power   one GPU, and a library too old to know of power
// Numbers are checked in tests/probe/gpus_test.cc, tests/client/system_metrics_test.cc and
// tests/servers/test_system.py.
#include <cstdint>

namespace {

struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned int gpu, memory;
};
constexpr int kSuccess = 0, kUninitialized = 1, kInvalidArgument = 2, kDriverNotLoaded = 9, kGpuIsLost = 15;

#if defined(NVML_two_gpus)
constexpr unsigned int kGpus = 2;
#else
constexpr unsigned int kGpus = 1;
#endif
bool initialised = false;
unsigned int rounds[kGpus] = {};

unsigned int index_of(void* device) { return static_cast<unsigned int>(reinterpret_cast<std::uintptr_t>(device)) - 1; }

}  // namespace

#define NVML extern "C" __attribute__((visibility("default"))) int

NVML nvmlInit_v2() {
#if defined(NVML_no_driver)
  return kDriverNotLoaded;
#else
  initialised = true;
  return kSuccess;
#endif
}

NVML nvmlDeviceGetCount_v2(unsigned int* count) {
  if (!initialised) return kUninitialized;
  *count = kGpus;
  return kSuccess;
}

NVML nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
  if (!initialised) return kUninitialized;
  if (index >= kGpus) return kInvalidArgument;
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index + 1));
  return kSuccess;
}

NVML nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  const unsigned int i = index_of(device);
  ++rounds[i];  // asked once per sample
  memory->total = 80'000'000'000ull;
  memory->used = 20'000'000'000ull * (i + 1) + 1'000'000ull * rounds[i];
  memory->free = memory->total - memory->used;
  return kSuccess;
}

NVML nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
  if (index_of(device) == 1) return kGpuIsLost;
  utilization->gpu = 40 + 10 * rounds[0];
  utilization->memory = 7;
  return kSuccess;
}

#if !defined(NVML_no_power)
NVML nvmlDeviceGetPowerUsage(void* device, unsigned int* milliwatts) {
  *milliwatts = 350'500 * (index_of(device) + 1);
  return kSuccess;
}

NVML nvmlDeviceGetEnforcedPowerLimit(void*, unsigned int* milliwatts) {
  *milliwatts = 701'000;
  return kSuccess;
}
#endif
