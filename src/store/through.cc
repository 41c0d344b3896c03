#include "store/through.h"

#include <algorithm>

#include "store/answer.h"
#include "store/json.h"
#include "store/kinds.h"

namespace mlops::store {

Answer Through::understand(const http::Response& response, std::string_view what) const {
  Answer answer = of_mlflow(response, what);
  if (stranger_.empty() || (response.status != 401 && response.status != 403)) return answer;
  answer.status =
      Status(answer.status.code(),
             std::string(what) + ": HTTP " + std::to_string(response.status) + ": " + stranger_ +
                 " asks for credentials, and these are only sent to the tracking server. Give the "
                 "experiment an artifact root that is served there (mlflow-artifacts:/), or name the host in "
                 "MLOPS_ARTIFACT_HOSTS");
  return answer;
}

Answer Through::stat(std::string_view path, std::uint64_t* size) {
  if (Status s = check_mlflow_path(path); !s.ok()) return refuse(s);
  const auto slash = path.rfind('/');
  std::vector<Entry> entries;
  Answer answer = list(slash == path.npos ? std::string_view() : path.substr(0, slash), &entries);
  if (!answer.ok()) return answer;
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return !e.is_dir && e.path == path; });
  if (found == entries.end())
    return make(Verdict::not_found, StatusCode::not_found, std::string(path) + " is not on the server");
  *size = found->size;
  return answer;
}

Answer Through::list(std::string_view dir, std::vector<Entry>* out) {
  if (!dir.empty())
    if (Status s = check_mlflow_path(dir); !s.ok()) return refuse(s);
  const std::string where = list_request(dir);
  const std::string above = lists_names() && !dir.empty() ? std::string(dir) + "/" : std::string();
  std::string token;
  std::vector<Entry> entries;
  for (;;) {
    http::Request request;
    request.path = where + (token.empty() ? "" : "&page_token=" + http::escape(token));
    const http::Response response = wire_.send(request);
    Answer answer = understand(response, dir.empty() ? "artifacts" : dir);
    if (!answer.ok()) return answer;
    std::string next;
    if (!read_files(response.body, &entries, &next))
      return make(Verdict::ambiguous, StatusCode::unavailable,
                  "the list of artifacts cannot be read: not MLflow's answer", response);
    if (next.empty() || next == token) break;
    token = next;
  }
  for (Entry& entry : entries) out->push_back({above + entry.path, entry.is_dir, entry.size});
  return {};
}

Answer Through::in_the_way(std::string_view path) {
  for (std::size_t end = 0; end != path.npos;) {
    end = path.find('/', end + 1);
    const std::string_view part = path.substr(0, end);
    const auto slash = part.rfind('/');
    std::vector<Entry> entries;
    if (!list(slash == part.npos ? std::string_view() : part.substr(0, slash), &entries).ok()) return {};
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.path == part; });
    if (found == entries.end()) return {};
    const bool whole = end == path.npos;
    if (found->is_dir != whole) continue;
    return make(Verdict::rejected, StatusCode::failed_precondition,
                std::string(path) + ": on the server '" + std::string(part) + "' is a " +
                    (whole ? "folder: no file can have its name" : "file: nothing can be below it") +
                    ". Log it under another path");
  }
  return {};
}

Answer Through::get(std::string_view path, std::uint64_t offset, Version* version, const Sink& sink,
                    const Progress& progress) {
  if (Status s = check_mlflow_path(path); !s.ok()) return refuse(s);
  Version mine;
  if (!version) version = &mine;
  http::Request request;
  request.path = file_request(path);
  ask_range(offset, version, "If-Range", &request);
  std::uint64_t end = 0;
  http::Response response = wire_.download(request, version, sink, progress, &end);
  if (response.fate == http::Fate::answered && response.status == 416) {  // shorter than it was
    request.headers.clear();
    response = wire_.download(std::move(request), version, sink, progress, &end);
  }
  Answer answer = understand(response, path);
  if (!answer.ok() && response.status == 500) {  // up to 3.10 a file that is not there is a 500 of many words
    std::uint64_t size = 0;
    Answer there = stat(path, &size);
    if (there.verdict == Verdict::not_found) return there;
  }
  return check_whole(response, answer, end, *version, path);
}

}  // namespace mlops::store
