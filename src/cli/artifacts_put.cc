// mlops artifacts put: files to a run that another process started, or one that was left open. Its 0 says: accepted; a
// snapshot of each file is in the buffer, and the next delivery uploads it.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

struct Arguments {
  std::vector<std::string> files;
  std::string run, path;
};

int put(const Common& common, const Arguments& a) {
  for (const std::string& file : a.files) {  // nothing is begun when a name is wrong
    struct stat info{};
    if (::stat(file.c_str(), &info) != 0)
      return fail(Status(StatusCode::not_found, "cannot read " + file + ": " + std::strerror(errno)));
  }
  Result<std::string> id = find_run(common, a.run);
  if (!id.ok()) return fail(id.status());
  attach_to(*id);
  Options options;
  options.root = common.root;
  options.system_metrics.enabled = false;
  options.deliver = false;
  Result<Client> client = Client::open(options);
  if (!client.ok()) return fail(client.status());
  Result<mlops::Run> run = client->start_run();
  if (!run.ok()) return fail(run.status());
  Status first;
  std::uint64_t taken = 0;
  for (const std::string& file : a.files) {
    struct stat info{};
    const bool folder = ::stat(file.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    Status accepted = folder ? run->log_artifacts(file, a.path) : run->log_artifact(file, a.path);
    if (accepted.ok()) {
      ++taken;
    } else if (first.ok()) {
      first = std::move(accepted);
    }
  }
  if (common.json) {
    JsonOut out;
    out.begin_object().field("run", *id).field("accepted", taken).end_object();
    std::printf("%s\n", out.text().c_str());
    std::fflush(stdout);
  }
  run->end().ignore();  // detaches
  const Status closed = client->close();
  if (!first.ok()) return fail(first);
  if (!closed.ok()) return fail(closed);
  return kOk;
}

}  // namespace

Command artifacts_put_command() {
  auto a = std::make_shared<Arguments>();
  Command command{"put", "Log files to a run from a shell script"};
  command.options = {
      {"files", "Files, and folders with all that is below them", &a->files, true, Takes::file},
      {"--run", "Run id: ours, the server's, or a prefix [MLOPS_RUN]", &a->run, false, Takes::run},
      {"-p,--path", "Below this folder of the run's artifacts [none]", &a->path},
  };
  command.about =
      "Exits with 0 once all is accepted: each file as it is now is in the buffer, and the next `mlops sync` uploads "
      "it. Sends nothing itself. A file keeps its name; of a folder, what is in it goes to --path.";
  command.json = R"({"run", "accepted"}: files and folders that were named)";
  command.examples = {{"mlops artifacts put train.log --run $RUN --path logs", "a file, for the next delivery"}};
  command.run = [a](const Common& common) { return put(common, *a); };
  return command;
}

}  // namespace mlops::cli
