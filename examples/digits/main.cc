// Trains a small network on handwritten digits, once per learning rate, and logs all of it.
//
// One parent run, one nested run per learning rate; the loss of every mini-batch and the scores of every epoch. Kill
// it whenever you like and start it again with the same --session: it resumes its runs by name, asks each metric for
// its next step, and trains on from there (the training is deterministic, so it computes the lost weights again
// without logging). Learning rates that are finished are left alone.
#include <mlops/mlops.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dataset.h"
#include "network.h"
#include "tally.h"

namespace digits {
namespace {

constexpr float kRates[] = {0.003f, 0.01f, 0.03f, 0.1f};
constexpr std::size_t kBatch = 16;
constexpr float kMomentum = 0.9f, kDecay = 0.9f;  // the rate is multiplied by kDecay after each epoch
constexpr std::uint64_t kSeed = 20240229;

struct Arguments {
  std::string data = DIGITS_CSV;
  std::string session = "digits";
  std::string counter;
  int epochs = 12;
  int pace_us = 0;
};

int usage() {
  std::fprintf(stderr,
               "usage: example_digits [--data digits.csv] [--session NAME] [--epochs N] [--pace US] [--counter FILE]\n"
               "  --session  name of the parent run (digits); the same name again resumes\n"
               "  --pace     microseconds of rest after each logged mini-batch, to watch it learn (0)\n"
               "  --counter  file that counts the accepted points outside the SDK (tally.h)\n"
               "environment: MLFLOW_TRACKING_URI (none: local only), MLOPS_HOME (default ./.mlops)\n");
  return 2;
}

bool parse(int argc, char** argv, Arguments* out) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    const std::string_view option = argv[i];
    const char* value = argv[i + 1];
    if (option == "--data") {
      out->data = value;
    } else if (option == "--session") {
      out->session = value;
    } else if (option == "--counter") {
      out->counter = value;
    } else if (option == "--epochs") {
      out->epochs = std::atoi(value);
      if (out->epochs < 1) return false;
    } else if (option == "--pace") {
      out->pace_us = std::atoi(value);
    } else {
      return false;
    }
  }
  return true;
}

int fail(const mlops::Status& status) {
  std::fprintf(stderr, "digits: %s\n", status.to_string().c_str());
  return 1;
}

// One metric of a run, from the step on that it has not logged yet: a resumed trainer logs nothing twice.
class Curve {
 public:
  Curve(const mlops::Run& run, Tally* tally, std::string_view name)
      : metric_(run.metric(name)),
        next_(run.auto_step(name).next_step()),
        tally_(tally),
        run_number_(tally->name(run.name())),
        metric_number_(tally->name(name)) {}

  void log(float value, std::int64_t step) {
    if (step < next_) return;
    tally_->begin(run_number_, metric_number_, step, static_cast<double>(value));
    metric_.log(value, step);
    tally_->accepted();
  }
  std::int64_t next_step() const { return next_; }

 private:
  mlops::Metric metric_;
  std::int64_t next_;
  Tally* tally_;
  std::uint16_t run_number_, metric_number_;
};

mlops::Result<mlops::Run> resume_or_start(const mlops::Client& client, std::string name, std::string parent_id) {
  mlops::RunOptions options;
  options.resume_name = name;
  options.name = std::move(name);
  options.parent_id = std::move(parent_id);
  return client.start_run("digits", std::move(options));
}

// Trains with one learning rate and returns the validation accuracy of the last epoch.
mlops::Result<float> train(const mlops::Client& client, const mlops::Run& parent, const Arguments& arguments,
                           const Dataset& data, Tally* tally, float rate) {
  const std::string rate_text = mlops::Value(rate).text();
  auto started = resume_or_start(client, arguments.session + " lr=" + rate_text, parent.id());
  if (!started.ok()) return started.status();
  mlops::Run& run = *started;
  mlops::Status s = run.log_params({{"learning_rate", rate},
                                    {"momentum", kMomentum},
                                    {"decay", kDecay},
                                    {"batch_size", kBatch},
                                    {"epochs", arguments.epochs},
                                    {"hidden", kHidden},
                                    {"seed", kSeed}});
  if (s.ok()) s = run.set_tags({{"dataset", "UCI handwritten digits"}, {"model", "mlp 64-32-10"}});
  if (!s.ok()) return s;

  Curve loss(run, tally, "loss"), learning_rate(run, tally, "learning_rate");
  Curve train_loss(run, tally, "train/loss"), train_accuracy(run, tally, "train/accuracy");
  Curve val_loss(run, tally, "val/loss"), val_accuracy(run, tally, "val/accuracy");
  if (loss.next_step() > 0)
    std::printf("digits: %s goes on at step %lld\n", run.name().c_str(), static_cast<long long>(loss.next_step()));

  Network network(kSeed);
  std::mt19937_64 random(kSeed);
  std::vector<const Sample*> order;
  for (const Sample& sample : data.train) order.push_back(&sample);
  std::int64_t step = 0;
  Score validation;
  float current = rate;
  for (int epoch = 0; epoch < arguments.epochs; ++epoch, current *= kDecay) {
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t at = 0; at < order.size(); at += kBatch) {
      const std::size_t count = std::min(kBatch, order.size() - at);
      loss.log(network.train(&order[at], count, current, kMomentum), step++);
      if (arguments.pace_us > 0 && step > loss.next_step()) {
        std::this_thread::sleep_for(std::chrono::microseconds(arguments.pace_us));
      }
    }
    const Score training = network.evaluate(data.train);
    validation = network.evaluate(data.validation);
    learning_rate.log(current, epoch);
    train_loss.log(training.loss, epoch);
    train_accuracy.log(training.accuracy, epoch);
    val_loss.log(validation.loss, epoch);
    val_accuracy.log(validation.accuracy, epoch);
  }
  if (s = run.end(); !s.ok()) return s;
  std::printf("digits: learning rate %s: validation loss %.4f, accuracy %.4f\n", rate_text.c_str(),
              static_cast<double>(validation.loss), static_cast<double>(validation.accuracy));
  std::fflush(stdout);
  return validation.accuracy;
}

// The learning rates of this session whose runs ended FINISHED: read from the root, without a server.
std::vector<std::string> finished_runs(const mlops::Client& client) {
  std::vector<std::string> names;
  auto reader = mlops::Reader::open(client.root());
  if (!reader.ok()) return names;
  auto runs = reader->runs();
  if (!runs.ok()) return names;
  for (const auto& run : *runs) {
    if (run.experiment == "digits" && run.status == mlops::RunStatus::finished) names.push_back(run.name);
  }
  return names;
}

int run(const Arguments& arguments) {
  Dataset data;
  Tally tally;
  std::string error;
  if (!load(arguments.data, &data, &error) || !tally.open(arguments.counter, &error)) {
    std::fprintf(stderr, "digits: %s\n", error.c_str());
    return 1;
  }
  auto client = mlops::Client::open();
  if (!client.ok()) return fail(client.status());
  const std::vector<std::string> finished = finished_runs(*client);
  auto parent = resume_or_start(*client, arguments.session, {});
  if (!parent.ok()) return fail(parent.status());
  if (auto s = parent->set_note("One nested run per learning rate, on the UCI handwritten digits."); !s.ok())
    return fail(s);

  Curve best(*parent, &tally, "val/accuracy");
  std::int64_t number = 0;
  for (const float rate : kRates) {
    const std::int64_t at = number++;
    const std::string name = arguments.session + " lr=" + mlops::Value(rate).text();
    if (at < best.next_step() && std::find(finished.begin(), finished.end(), name) != finished.end()) {
      std::printf("digits: %s is finished\n", name.c_str());
      continue;
    }
    auto accuracy = train(*client, *parent, arguments, data, &tally, rate);
    if (!accuracy.ok()) return fail(accuracy.status());
    best.log(*accuracy, at);
  }
  if (auto s = parent->end(); !s.ok()) return fail(s);
  if (auto s = client->close(); !s.ok()) {
    std::fprintf(stderr, "digits: %s\n", s.to_string().c_str());  // what waits is in the buffer: no failure of ours
  }
  return 0;
}

}  // namespace
}  // namespace digits

int main(int argc, char** argv) {
  digits::Arguments arguments;
  if (!digits::parse(argc, argv, &arguments)) return digits::usage();
  return digits::run(arguments);
}
