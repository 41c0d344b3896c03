// A small network for the digits: 64 inputs, one hidden layer of 32 rectified units, 10 softmax outputs; stochastic
// gradient descent with momentum on the cross entropy. The same seed and batches give the same numbers again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataset.h"

namespace digits {

inline constexpr std::size_t kHidden = 32;

struct Score {
  float loss = 0;      // mean cross entropy
  float accuracy = 0;  // 0..1
};

class Network {
 public:
  explicit Network(std::uint64_t seed);

  /// One step down the gradient of `count` samples; returns their mean loss before it.
  float train(const Sample* const* batch, std::size_t count, float learning_rate, float momentum);
  Score evaluate(const std::vector<Sample>& samples) const;

 private:
  struct Weights {
    Weights() : w1(kHidden * kPixels), b1(kHidden), w2(kClasses * kHidden), b2(kClasses) {}
    std::vector<float> w1, b1, w2, b2;
  };
  struct Activations {
    float hidden[kHidden];
    float probability[kClasses];
  };
  void forward(const Sample& sample, Activations* out) const;

  Weights weights_, velocity_;
};

}  // namespace digits
