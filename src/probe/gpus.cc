#include "probe/gpus.h"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <vector>

namespace mlops::probe {
namespace {

// What nvml.h declares of these: every function returns 0 for success.
using Device = void*;
struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned int gpu, memory;  // percent
};

template <typename F>
bool find(void* library, const char* name, F** out) {
  *out = reinterpret_cast<F*>(::dlsym(library, name));
  return *out != nullptr;
}

}  // namespace

struct Gpus::Functions {
  int (*init)() = nullptr;
  int (*count)(unsigned int*) = nullptr;
  int (*device)(unsigned int, Device*) = nullptr;
  int (*memory)(Device, Memory*) = nullptr;
  int (*utilization)(Device, Utilization*) = nullptr;
  int (*power)(Device, unsigned int*) = nullptr;        // milliwatts
  int (*power_limit)(Device, unsigned int*) = nullptr;  // the same

  std::mutex mutex;
  bool initialised = false;
  std::vector<Device> devices;

  void initialise() {
    initialised = true;
    unsigned int n = 0;
    if (init() != 0 || count(&n) != 0) return;
    for (unsigned int i = 0; i < n; ++i) {
      Device handle = nullptr;
      devices.push_back(device(i, &handle) == 0 ? handle : nullptr);  // a lost one keeps its number
    }
  }
};

Gpus* Gpus::load(const std::string& library) {
  static auto* const mutex = new std::mutex;
  static auto* const loaded = new std::map<std::string, Gpus*>;
  const std::lock_guard<std::mutex> lock(*mutex);
  const auto [known, fresh] = loaded->try_emplace(library, nullptr);
  if (!fresh) return known->second;
  void* handle = library.empty() ? nullptr : ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return nullptr;
  auto* f = new Functions;
  if ((!find(handle, "nvmlInit_v2", &f->init) && !find(handle, "nvmlInit", &f->init)) ||
      (!find(handle, "nvmlDeviceGetCount_v2", &f->count) && !find(handle, "nvmlDeviceGetCount", &f->count)) ||
      (!find(handle, "nvmlDeviceGetHandleByIndex_v2", &f->device) &&
       !find(handle, "nvmlDeviceGetHandleByIndex", &f->device))) {
    delete f;
    return nullptr;  // some other library; it stays loaded
  }
  find(handle, "nvmlDeviceGetMemoryInfo", &f->memory);
  find(handle, "nvmlDeviceGetUtilizationRates", &f->utilization);
  find(handle, "nvmlDeviceGetPowerUsage", &f->power);
  find(handle, "nvmlDeviceGetEnforcedPowerLimit", &f->power_limit);
  return known->second = new Gpus(f);
}

void Gpus::collect(Samples* out) {
  const std::lock_guard<std::mutex> lock(f_->mutex);
  if (!f_->initialised) f_->initialise();
  for (std::size_t i = 0; i < f_->devices.size(); ++i) {
    Device device = f_->devices[i];
    if (device == nullptr) continue;
    const std::string gpu = "gpu_" + std::to_string(i) + "_";
    Memory memory{};
    if (f_->memory != nullptr && f_->memory(device, &memory) == 0 && memory.total != 0) {
      out->mean(gpu + "memory_usage_percentage",
                100 * static_cast<double>(memory.used) / static_cast<double>(memory.total));
      out->mean(gpu + "memory_usage_megabytes", static_cast<double>(memory.used) / 1e6);
    }
    Utilization utilization{};
    if (f_->utilization != nullptr && f_->utilization(device, &utilization) == 0) {
      out->mean(gpu + "utilization_percentage", utilization.gpu);
    }
    unsigned int power = 0, limit = 0;  // both or neither, as MLflow does
    if (f_->power != nullptr && f_->power_limit != nullptr && f_->power(device, &power) == 0 &&
        f_->power_limit(device, &limit) == 0 && limit != 0) {
      out->mean(gpu + "power_usage_watts", power / 1000.0);
      out->mean(gpu + "power_usage_percentage", 100.0 * power / limit);
    }
  }
}

}  // namespace mlops::probe
