// bad_input: a program on the public API that logs everything that is wrong, beside good records that must survive it.
//
//   bad_input ROOT ANSWERS [URI]
// Writes one line per call to ANSWERS: what was tried, the status code's name, the message, divided by tabs. The
// experiment and the run are named "bad_input"; the run's id is the first line. Exit status 0, whatever was refused;
// 3 when the client or the run could not be had.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "mlops/mlops.h"

namespace {

FILE* answers = nullptr;

void answer(const std::string& tried, const mlops::Status& status) {
  std::fprintf(answers, "%s\t%s\t%.*s\n", tried.c_str(), std::string(mlops::status_code_name(status.code())).c_str(),
               static_cast<int>(status.message().size()), status.message().data());
}

void try_keys(mlops::Run& run) {
  const std::vector<std::pair<std::string, std::string>> keys = {
      {"empty", ""},
      {"251", std::string(251, 'k')},
      {"300", std::string(300, 'k')},
      {"nul", std::string("a\0b", 3)},
      {"utf8", "\xff\xfe"},
      {"half-char", "caf\xc3"},
      {"surrogate", "\xed\xa0\x80"},
      {"newline", "a\nb"},
      {"dots", "../up"},
      {"250", std::string(250, 'k')},
  };
  for (const auto& [label, key] : keys) {
    answer("metric key " + label, run.log_metric(key, 1.0, 1));
    answer("param key " + label, run.log_param(key, "value"));
    answer("tag key " + label, run.set_tag(key, "value"));
    run.metric(key).log(2.0, 2);  // a handle of a bad name drops and counts
  }
}

void try_values(mlops::Run& run) {
  answer("param once", run.log_param("once", "first"));
  answer("param once again", run.log_param("once", "first"));
  answer("param once other", run.log_param("once", "second"));
  answer("param 6001", run.log_param("long", std::string(6001, 'x')));
  answer("param 6001 of 2 bytes", run.log_param("wide", [] {
    std::string text;
    for (int i = 0; i < 6001; ++i) text += "ü";
    return text;
  }()));
  answer("param nul", run.log_param("nul", mlops::Value(std::string("a\0b", 3))));
  answer("param utf8", run.log_param("utf8", mlops::Value(std::string("\xc3("))));
  answer("param empty", run.log_param("empty", ""));
  answer("tag 8001", run.set_tag("longtag", std::string(8001, 'y')));
  answer("tag utf8", run.set_tag("utf8", mlops::Value(std::string("\x80"))));
  answer("tag nul", run.set_tag("nul", mlops::Value(std::string("a\0b", 3))));
  answer("name 251", run.set_name(std::string(251, 'n')));
  answer("name empty", run.set_name(""));
  answer("name utf8", run.set_name("\xff"));
  answer("time before 1970", run.log_metric("early", 1, 0, std::chrono::system_clock::from_time_t(-5)));
}

void try_numbers(mlops::Run& run) {
  using D = std::numeric_limits<double>;
  const double values[] = {D::quiet_NaN(),  D::infinity(),    -D::infinity(), -0.0,
                           D::denorm_min(), -D::denorm_min(), D::min() / 2};
  std::int64_t step = 0;
  for (const double value : values) {
    answer("value " + std::to_string(step), run.log_metric("odd", value, step));
    ++step;
  }
  answer("step max", run.log_metric("odd", 8, std::numeric_limits<std::int64_t>::max()));
  answer("step min", run.log_metric("odd", 9, std::numeric_limits<std::int64_t>::min()));
}

void try_many(mlops::Run& run) {
  mlops::Pairs many;
  for (int i = 0; i < 5'000; ++i) many.emplace_back("p" + std::to_string(i), "v" + std::to_string(i));
  many[1'234].first = std::string(300, 'q');  // one bad one among them
  answer("5000 params", run.log_params(many));
  answer("metrics with a bad one", run.log_metrics({{"good1", 1}, {"", 2}, {"good2", 3}}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  mlops::Options options;
  options.root = argv[1];
  if (argc > 3) options.tracking_uri = argv[3];
  options.full_wait = mlops::Millis(10'000);
  options.exit_deadline = mlops::Millis(60'000);
  answers = std::fopen(argv[2], "w");
  mlops::Result<mlops::Client> client = mlops::Client::open(options);
  if (answers == nullptr || !client.ok()) return 3;
  mlops::Result<mlops::Run> run = client->start_run("bad_input", {.name = "bad_input"});
  if (!run.ok()) return 3;
  std::fprintf(answers, "%s\n", run->id().c_str());
  answer("experiment 257", client->start_run(std::string(257, 'e')).status());
  answer("experiment utf8", client->start_run("\xff").status());
  try_keys(*run);
  try_values(*run);
  try_numbers(*run);
  try_many(*run);
  answer("end", run->end());
  const mlops::Health health = client->health();
  for (const auto& [reason, count] : health.dropped) answer("dropped " + reason + " " + std::to_string(count), {});
  return std::fclose(answers) == 0 ? 0 : 3;
}
