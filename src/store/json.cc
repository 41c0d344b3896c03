// Json: the one file here that knows the JSON library.
#include "store/json.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace mlops::store {
namespace {

using nlohmann::json;

json parse(std::string_view body) { return json::parse(body.begin(), body.end(), nullptr, false); }

std::string text(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// A number, or a string of digits as some servers write an int64; -1 else.
std::int64_t number(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return -1;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (!found->is_string()) return -1;
  const auto& digits = found->get_ref<const std::string&>();
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size() ? value : -1;
}

void read_headers(const json& object, std::vector<std::pair<std::string, std::string>>* out) {
  const auto headers = object.find("headers");
  if (headers == object.end() || !headers->is_object()) return;
  for (const auto& [name, value] : headers->items())
    if (value.is_string()) out->emplace_back(name, value.get<std::string>());
}

// Text that is no UTF-8 cannot come here (check_path), and would be replaced, not thrown at the caller.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

void read_error(std::string_view body, std::string* code, std::string* message) {
  const json parsed = parse(body);
  if (!parsed.is_object()) return;
  *code = text(parsed, "error_code");
  *message = text(parsed, "message");
  if (message->empty()) *message = text(parsed, "detail");  // FastAPI's own
}

bool read_files(std::string_view body, std::vector<Entry>* out, std::string* next_page) {
  const json parsed = parse(body);
  if (!parsed.is_object()) return false;
  next_page->assign(text(parsed, "next_page_token"));
  const auto files = parsed.find("files");
  if (files == parsed.end()) return true;
  if (!files->is_array()) return false;
  for (const json& file : *files) {
    if (!file.is_object()) return false;
    const auto dir = file.find("is_dir");
    Entry entry{text(file, "path"), dir != file.end() && dir->is_boolean() && dir->get<bool>(),
                static_cast<std::uint64_t>(std::max<std::int64_t>(0, number(file, "file_size")))};
    if (entry.path.empty()) return false;
    out->push_back(std::move(entry));
  }
  return true;
}

bool read_upload(std::string_view body, Upload* out) {
  const json parsed = parse(body);
  if (!parsed.is_object()) return false;
  out->id = text(parsed, "upload_id");
  const auto credentials = parsed.find("credentials");
  if (credentials == parsed.end() || !credentials->is_array()) return false;
  for (const json& one : *credentials) {
    if (!one.is_object()) return false;
    PartUrl url;
    const std::int64_t part = number(one, "part_number");
    url.url = text(one, "url");
    if (part < 1 || part > 10'000 || url.url.empty()) return false;
    url.number = static_cast<std::uint32_t>(part);
    read_headers(one, &url.headers);
    out->urls.push_back(std::move(url));
  }
  return true;
}

bool read_presigned(std::string_view body, PartUrl* out, std::int64_t* size) {
  const json parsed = parse(body);
  if (!parsed.is_object()) return false;
  out->url = text(parsed, "url");
  if (out->url.empty()) out->url = text(parsed, "presigned_url");
  read_headers(parsed, &out->headers);
  *size = number(parsed, "file_size");
  return !out->url.empty();
}

std::string write_create(std::string_view name, std::size_t parts) {
  return dump({{"path", name}, {"num_parts", parts}});
}

std::string write_complete(std::string_view name, const Upload& upload) {
  json parts = json::array();
  for (const Part& part : upload.parts) {
    json one{{"part_number", part.number}, {"etag", part.etag}};
    const auto url =
        std::find_if(upload.urls.begin(), upload.urls.end(), [&](const PartUrl& u) { return u.number == part.number; });
    if (url != upload.urls.end()) one["url"] = url->url;
    parts.push_back(std::move(one));
  }
  json body{{"path", name}, {"parts", std::move(parts)}};
  if (!upload.id.empty()) body["upload_id"] = upload.id;
  return dump(body);
}

std::string write_abort(std::string_view name, const Upload& upload) {
  json body{{"path", name}};
  if (!upload.id.empty()) body["upload_id"] = upload.id;
  return dump(body);
}

std::string write_presign(std::string_view run_id, std::string_view model_id, std::string_view path, int seconds) {
  json body{{"path", path}, {"expiration", seconds}};
  if (!run_id.empty()) {
    body["run_id"] = run_id;
  } else {
    body["model_id"] = model_id;
  }
  return dump(body);
}

}  // namespace mlops::store
