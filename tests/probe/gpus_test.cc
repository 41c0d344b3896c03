// GPUs through libraries made for the purpose (tests/nvml): what is there is read, what fails is left out.
#include <string>

#include "probe/fixture.h"

namespace mlops::probe {
namespace {

std::string library(const std::string& kind) { return std::string(MLOPS_NVML_DIR) + "/libnvml_" + kind + ".so"; }

std::map<std::string, double> gpu_readings(const std::string& kind, int samples) {
  Fixture files;
  Probe probe(files.sources(library(kind)));
  for (int i = 0; i < samples; ++i) probe.collect();
  std::map<std::string, double> out;
  for (const auto& [name, value] : by_name(probe.take())) {
    if (name.substr(0, 4) == "gpu_") out.emplace(name, value);
  }
  return out;
}

TEST(Gpus, TwoOfThemAndAReadingThatFails) {
  ASSERT_TRUE(load_gpu_library(library("two_gpus")));
  const std::map<std::string, double> wanted{
      {"gpu_0_memory_usage_percentage", 25.0}, {"gpu_0_memory_usage_megabytes", 20'001.5},
      {"gpu_0_utilization_percentage", 55.0},  // the mean of 50 and 60
      {"gpu_0_power_usage_watts", 350.5},      {"gpu_0_power_usage_percentage", 50.0},
      {"gpu_1_memory_usage_percentage", 50.0}, {"gpu_1_memory_usage_megabytes", 40'001.5},
      {"gpu_1_power_usage_watts", 701.0},      {"gpu_1_power_usage_percentage", 100.0}};
  EXPECT_EQ(gpu_readings("two_gpus", 2), wanted);
}

TEST(Gpus, WithoutPower) {
  const std::map<std::string, double> wanted{{"gpu_0_memory_usage_percentage", 25.0},
                                             {"gpu_0_memory_usage_megabytes", 20'001.0},
                                             {"gpu_0_utilization_percentage", 50.0}};
  EXPECT_EQ(gpu_readings("no_power", 1), wanted);
}

TEST(Gpus, WithoutDriverOrLibraryThereAreNone) {
  EXPECT_TRUE(load_gpu_library(library("no_driver")));
  EXPECT_TRUE(gpu_readings("no_driver", 2).empty());
  EXPECT_FALSE(load_gpu_library(library("no such kind")));
  EXPECT_TRUE(gpu_readings("no such kind", 1).empty());
  EXPECT_FALSE(load_gpu_library("libm.so.6"));  // a library, but not that one
  EXPECT_FALSE(load_gpu_library(""));
}

}  // namespace
}  // namespace mlops::probe
