// Forward, backward, step. Written to be read: 2,410 weights need no library.
#include "network.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace digits {
namespace {

void initialise(std::vector<float>* weights, std::size_t inputs, std::mt19937_64* random) {
  std::normal_distribution<float> normal(0.0f, std::sqrt(2.0f / static_cast<float>(inputs)));
  for (float& w : *weights) w = normal(*random);
}

void step(std::vector<float>* weights, std::vector<float>* velocity, const std::vector<float>& gradient, float rate,
          float momentum) {
  for (std::size_t i = 0; i < weights->size(); ++i) {
    (*velocity)[i] = momentum * (*velocity)[i] - rate * gradient[i];
    (*weights)[i] += (*velocity)[i];
  }
}

float cross_entropy(float probability) { return -std::log(std::max(probability, 1e-12f)); }

}  // namespace

Network::Network(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  initialise(&weights_.w1, kPixels, &random);
  initialise(&weights_.w2, kHidden, &random);
}

void Network::forward(const Sample& sample, Activations* out) const {
  for (std::size_t h = 0; h < kHidden; ++h) {
    float sum = weights_.b1[h];
    const float* row = &weights_.w1[h * kPixels];
    for (std::size_t i = 0; i < kPixels; ++i) sum += row[i] * sample.pixels[i];
    out->hidden[h] = std::max(sum, 0.0f);
  }
  float logits[kClasses];
  for (std::size_t c = 0; c < kClasses; ++c) {
    logits[c] = weights_.b2[c];
    const float* row = &weights_.w2[c * kHidden];
    for (std::size_t h = 0; h < kHidden; ++h) logits[c] += row[h] * out->hidden[h];
  }
  const float greatest = *std::max_element(logits, logits + kClasses);
  float total = 0;
  for (std::size_t c = 0; c < kClasses; ++c) total += out->probability[c] = std::exp(logits[c] - greatest);
  for (float& p : out->probability) p /= total;
}

float Network::train(const Sample* const* batch, std::size_t count, float learning_rate, float momentum) {
  Weights gradient;
  float loss = 0;
  const float share = 1.0f / static_cast<float>(count);
  for (std::size_t n = 0; n < count; ++n) {
    const Sample& sample = *batch[n];
    Activations at;
    forward(sample, &at);
    loss += cross_entropy(at.probability[sample.label]) * share;

    float to_hidden[kHidden] = {};
    for (std::size_t c = 0; c < kClasses; ++c) {
      const float error = (at.probability[c] - (c == sample.label ? 1.0f : 0.0f)) * share;
      gradient.b2[c] += error;
      for (std::size_t h = 0; h < kHidden; ++h) {
        gradient.w2[c * kHidden + h] += error * at.hidden[h];
        to_hidden[h] += error * weights_.w2[c * kHidden + h];
      }
    }
    for (std::size_t h = 0; h < kHidden; ++h) {
      if (at.hidden[h] <= 0) continue;
      gradient.b1[h] += to_hidden[h];
      for (std::size_t i = 0; i < kPixels; ++i) gradient.w1[h * kPixels + i] += to_hidden[h] * sample.pixels[i];
    }
  }
  step(&weights_.w1, &velocity_.w1, gradient.w1, learning_rate, momentum);
  step(&weights_.b1, &velocity_.b1, gradient.b1, learning_rate, momentum);
  step(&weights_.w2, &velocity_.w2, gradient.w2, learning_rate, momentum);
  step(&weights_.b2, &velocity_.b2, gradient.b2, learning_rate, momentum);
  return loss;
}

Score Network::evaluate(const std::vector<Sample>& samples) const {
  double loss = 0;
  std::size_t right = 0;
  for (const Sample& sample : samples) {
    Activations at;
    forward(sample, &at);
    loss += cross_entropy(at.probability[sample.label]);
    const auto best = std::max_element(at.probability, at.probability + kClasses) - at.probability;
    right += best == sample.label ? 1 : 0;
  }
  const auto count = static_cast<double>(samples.size());
  return {static_cast<float>(loss / count), static_cast<float>(static_cast<double>(right) / count)};
}

}  // namespace digits
