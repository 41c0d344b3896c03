// store_tool: the room `store` on the command line, for tests/servers/test_store.py: one call, its answer as a line.
//
//   store_tool [--tracking URI] [--run ID] [--reading] [--mpu yes|no] [--presigned yes|no] ROOT VERB ARGUMENTS
//     put PATH FILE          multipart PATH FILE [PART-SIZE]        stat PATH       list DIR
//     get PATH FILE [OFFSET]  create PATH SIZE   abort PATH ID       twice PATH FILE (finishes an upload two times)
//
// Prints "<verdict> <http status> <what it learned>", then the status in words on the next line. Exit code 0 when ok.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "store/store.h"

namespace {

using namespace mlops;
using store::Answer;

const char* name_of(store::Verdict verdict) {
  static constexpr const char* kNames[] = {"ok",      "offline",  "ambiguous",   "throttled", "auth",
                                           "expired", "rejected", "unsupported", "not_found"};
  return kNames[static_cast<int>(verdict)];
}

int say(const Answer& answer, const std::string& learned = {}) {
  std::printf("%s %d %s\n%s\n", name_of(answer.verdict), answer.http_status, learned.c_str(),
              std::string(answer.status.message()).c_str());
  return answer.ok() ? 0 : 1;
}

struct File {
  int fd;
  std::uint64_t size = 0;
  explicit File(const char* path) : fd(::open(path, O_RDONLY | O_CLOEXEC)) {
    struct stat info{};
    if (fd < 0 || ::fstat(fd, &info) != 0) {
      std::perror(path);
      std::exit(3);
    }
    size = static_cast<std::uint64_t>(info.st_size);
  }
};

int multipart(store::Store* to, const std::string& path, const char* name, bool finish_twice) {
  const File file(name);
  store::Upload upload;
  if (Answer a = to->begin(path, file.size, &upload); !a.ok()) return say(a, "begin");
  for (store::Part& part : upload.parts) {
    if (Answer a = to->put_part(path, upload, &part, {file.fd, part.offset, part.size, {}}, {}); !a.ok()) {
      to->abort(path, upload);
      return say(a, "part " + std::to_string(part.number));
    }
  }
  if (Answer a = to->finish(path, upload); !a.ok() || !finish_twice)
    return say(a, "parts " + std::to_string(upload.parts.size()));
  return say(to->finish(path, upload), "twice");
}

}  // namespace

int main(int argc, char** argv) {
  store::Place place;
  int at = 1;
  for (; at + 1 < argc && std::string(argv[at]).rfind("--", 0) == 0; ++at) {
    const std::string option = argv[at];
    if (option == "--reading") {
      place.writing = false;
      continue;
    }
    const std::string value = argv[++at];
    if (option == "--tracking") place.tracking_uri = value;
    if (option == "--run") place.run_id = value;
    if (option == "--mpu") place.abilities.multipart_upload = value == "yes";
    if (option == "--presigned") place.abilities.presigned_download = value == "yes";
  }
  const std::vector<std::string> words(argv + at, argv + argc);
  if (words.size() < 3) return 2;
  place.artifact_uri = words[0];
  auto env = [](const char* name) -> const char* { return std::getenv(name); };
  place.credentials = http::complete_credentials({}, env);
  auto opened = store::open(place, env);
  if (!opened.ok()) {
    std::printf("unopened 0 %s\n%s\n", status_code_name(opened.status().code()), opened.status().to_string().c_str());
    return 1;
  }
  store::Store& to = **opened;
  const std::string& verb = words[1];
  const std::string& path = words[2];
  if (verb == "put") {
    const File file(words.at(3).c_str());
    return say(to.put(path, {file.fd, 0, file.size, {}}, {}));
  }
  if (verb == "multipart" || verb == "twice") return multipart(&to, path, words.at(3).c_str(), verb == "twice");
  if (verb == "create") {
    store::Upload upload;
    const Answer a = to.begin(path, std::stoull(words.at(3)), &upload);
    return say(a, upload.id + " " + std::to_string(upload.parts.size()) + " " + std::to_string(upload.urls.size()));
  }
  if (verb == "abort") {
    store::Upload upload;
    upload.id = words.at(3);
    return say(to.abort(path, upload));
  }
  if (verb == "stat") {
    std::uint64_t size = 0;
    const Answer a = to.stat(path, &size);
    return say(a, std::to_string(size));
  }
  if (verb == "list") {
    std::vector<store::Entry> entries;
    const Answer a = to.list(path == "." ? "" : path, &entries);
    const int code = say(a, std::to_string(entries.size()));
    for (const store::Entry& e : entries)
      std::printf("%s %llu %s\n", e.is_dir ? "d" : "f", static_cast<unsigned long long>(e.size), e.path.c_str());
    return code;
  }
  if (verb == "get") {
    const int fd = ::open(words.at(3).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::uint64_t offset = words.size() > 4 ? std::stoull(words[4]) : 0;
    store::Version version;
    std::uint64_t first = UINT64_MAX, got = 0;
    if (offset > 0) {  // the version as a first, broken-off read learns it
      to.get(path, 0, &version, [](std::uint64_t, std::string_view) { return false; }, {});
    }
    const Answer a = to.get(path, offset, &version,
                            [&](std::uint64_t where, std::string_view bytes) {
                              if (first == UINT64_MAX) first = where;
                              got += bytes.size();
                              return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(where)) ==
                                     static_cast<ssize_t>(bytes.size());
                            },
                            {});
    ::close(fd);
    return say(a, "from " + std::to_string(first == UINT64_MAX ? 0 : first) + " got " + std::to_string(got) + " of " +
                      (version.size ? std::to_string(*version.size) : "?") + " etag " + version.etag);
  }
  return 2;
}
