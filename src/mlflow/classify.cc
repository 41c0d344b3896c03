// Classify: the table, first row that fits wins. Sources: MLflow 2.22 to 3.17 as measured, and what proxies and managed
// servers say; docs/protocol.md shows it in words. A row may be too careful (ambiguous costs a read), never too sure.
#include "mlflow/classify.h"

#include <algorithm>
#include <array>

namespace mlops::mlflow {
namespace {

// Which forms of body a row is about.
enum : unsigned { kJson = 1, kHtml = 2, kText = 4, kEmpty = 8, kAny = 15, kNotJson = kHtml | kText | kEmpty };

struct Row {
  int first, last;  // HTTP status
  unsigned forms;
  std::string_view error_code;  // "" any
  std::string_view needle;      // in the message or text; "" any
  Verdict verdict;
  StatusCode code;
  std::string_view words;  // what it means and what to do
};

constexpr std::string_view kDeletedRun =
    "the run or its experiment was deleted on the server. Restore it there (mlflow runs restore), and delivery goes "
    "on; "
    "the data waits on disk";
constexpr std::string_view kAlready =
    "a record with this key is already there, or two writers raced; it is compared and sent again";
constexpr std::string_view kBusy =
    "the server could not finish it; what it stored is read back before it is sent again";
constexpr std::string_view kWrongPath =
    "no MLflow REST API at this address. Check the path of the tracking URI (and the server's --static-prefix)";

constexpr auto kTable = std::to_array<Row>({
    // Codes that mean the same whatever the status beside them.
    {400, 599, kJson, "RESOURCE_ALREADY_EXISTS", "", Verdict::exists, StatusCode::already_exists, "it exists already"},
    {400, 599, kJson, "ALREADY_EXISTS", "", Verdict::exists, StatusCode::already_exists, "it exists already"},
    {400, 599, kJson, "UNAUTHENTICATED", "", Verdict::auth, StatusCode::permission_denied,
     "the server does not accept these credentials. Set MLFLOW_TRACKING_USERNAME and _PASSWORD, or "
     "MLFLOW_TRACKING_TOKEN"},
    {400, 599, kJson, "PERMISSION_DENIED", "", Verdict::auth, StatusCode::permission_denied,
     "this user may not do that. Ask for the permission on the experiment, or use another user"},
    {400, 599, kJson, "REQUEST_LIMIT_EXCEEDED", "", Verdict::throttled, StatusCode::resource_exhausted,
     "the server limits the rate of requests; delivery slows down"},
    {400, 599, kJson, "RESOURCE_EXHAUSTED", "", Verdict::throttled, StatusCode::resource_exhausted,
     "the server limits the rate of requests; delivery slows down"},
    {400, 599, kJson, "TEMPORARILY_UNAVAILABLE", "", Verdict::ambiguous, StatusCode::unavailable, kBusy},
    {400, 599, kJson, "FEATURE_DISABLED", "", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server has this feature switched off. Enable it there, or change the tracking URI"},
    {400, 599, kJson, "", "must be in the 'active' state", Verdict::run_gone, StatusCode::failed_precondition,
     kDeletedRun},

    {300, 399, kAny, "", "", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server redirects, and redirects are not followed (they would turn a POST into a GET). Use the final address "
     "as "
     "tracking URI"},

    // 400: what was sent is the matter, unless the database says that it is there already.
    {400, 400, kJson, "", "UNIQUE constraint failed", Verdict::duplicate, StatusCode::already_exists, kAlready},
    {400, 400, kJson, "", "UniqueViolation", Verdict::duplicate, StatusCode::already_exists, kAlready},
    {400, 400, kJson, "", "duplicate key value violates unique constraint", Verdict::duplicate,
     StatusCode::already_exists, kAlready},
    {400, 400, kJson, "", "Duplicate entry", Verdict::duplicate, StatusCode::already_exists, kAlready},  // MySQL
    {400, 400, kJson, "", "Cannot insert duplicate key", Verdict::duplicate, StatusCode::already_exists,
     kAlready},  // SQL Server
    {400, 400, kJson, "BAD_REQUEST", "FOREIGN KEY", Verdict::ambiguous, StatusCode::unavailable,
     "the run or experiment was changing while this was written; it is read back and sent again"},
    {400, 400, kJson, "BAD_REQUEST", "ForeignKeyViolation", Verdict::ambiguous, StatusCode::unavailable,
     "the run or experiment was changing while this was written; it is read back and sent again"},
    {400, 400, kJson, "BAD_REQUEST", "deadlock", Verdict::ambiguous, StatusCode::unavailable, kBusy},
    {400, 400, kJson, "BAD_REQUEST", "QueuePool limit", Verdict::ambiguous, StatusCode::unavailable,
     "the server has too few database connections for its requests; what it stored is read back before it is sent "
     "again"},
    {400, 400, kJson, "BAD_REQUEST", "invalid transaction is rolled back", Verdict::ambiguous, StatusCode::unavailable,
     kBusy},
    {400, 400, kJson, "RESOURCE_DOES_NOT_EXIST", "", Verdict::run_gone, StatusCode::not_found,
     "the server does not know it. It was removed there, or another server answers at this address"},
    {400, 400, kJson, "", "Changing param values is not allowed", Verdict::rejected, StatusCode::already_exists,
     "a param is on the server with another value; params are written once"},
    {400, 400, kJson, "", "", Verdict::rejected, StatusCode::invalid_argument, "the server refuses this record"},
    {400, 400, kNotJson, "", "", Verdict::misconfigured, StatusCode::failed_precondition,
     "something in front of MLflow refuses the request (plain http on an https port?). Check the tracking URI and the "
     "proxy"},

    {401, 401, kAny, "", "", Verdict::auth, StatusCode::permission_denied,
     "the server asks for credentials, or does not accept these. Set MLFLOW_TRACKING_USERNAME and _PASSWORD, or "
     "MLFLOW_TRACKING_TOKEN"},
    {403, 403, kAny, "", "Invalid Host header", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server refuses this host name. Start it with --allowed-hosts naming the host of the tracking URI, or use its "
     "IP "
     "address"},
    {403, 403, kAny, "", "Cross-origin request blocked", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server took this for a browser's cross-origin request: a proxy adds an Origin header. Remove it there"},
    {403, 403, kAny, "", "", Verdict::auth, StatusCode::permission_denied,
     "this user may not do that (or, with basic-auth, the run is not there). Ask for the permission, or use another "
     "user"},
    {407, 407, kAny, "", "", Verdict::auth, StatusCode::permission_denied,
     "the proxy asks for credentials. Name them in Credentials::proxy (http://user:password@host:port)"},

    // 404 and 405 in JSON are about the record; anything else means that the address has no such endpoint.
    {404, 404, kJson, "RESOURCE_DOES_NOT_EXIST", "", Verdict::run_gone, StatusCode::not_found,
     "the server does not know it. It was removed there, or another server answers at this address"},
    {404, 405, kAny, "", "", Verdict::misconfigured, StatusCode::failed_precondition, kWrongPath},

    {408, 408, kAny, "", "", Verdict::ambiguous, StatusCode::unavailable, kBusy},
    {409, 409, kAny, "", "", Verdict::ambiguous, StatusCode::unavailable,
     "it collides with another writer; it is read back and sent again"},
    {411, 411, kAny, "", "", Verdict::misconfigured, StatusCode::failed_precondition,
     "a proxy takes the Content-Length away; mend the proxy"},
    {413, 413, kAny, "", "", Verdict::too_large, StatusCode::resource_exhausted,
     "the request is larger than a proxy allows (nginx: client_max_body_size); smaller ones are sent"},
    {425, 425, kAny, "", "", Verdict::ambiguous, StatusCode::unavailable, kBusy},
    {429, 429, kAny, "", "", Verdict::throttled, StatusCode::resource_exhausted,
     "the server limits the rate of requests; delivery slows down"},
    {422, 422, kJson, "", "", Verdict::rejected, StatusCode::invalid_argument, "the server refuses this record"},
    {400, 499, kAny, "", "", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server or something in front of it refuses the request. Check the tracking URI and the proxy"},

    // 5xx: some are for good, the others may or may not have been executed.
    {500, 500, kJson, "", "cannot contain NUL", Verdict::rejected, StatusCode::invalid_argument,
     "the server's database takes no NUL character"},
    {500, 500, kJson, "", "Changing param values is not allowed", Verdict::rejected, StatusCode::already_exists,
     "a param is on the server with another value; params are written once"},
    {501, 501, kAny, "", "", Verdict::unsupported, StatusCode::unimplemented, "this server cannot do it"},
    {503, 503, kText, "", "disabled", Verdict::misconfigured, StatusCode::failed_precondition,
     "the server has this endpoint switched off. Start it without --artifacts-only, or change the tracking URI"},
    {500, 599, kAny, "", "", Verdict::ambiguous, StatusCode::unavailable, kBusy},
});

unsigned mask(Form form) {
  switch (form) {
    case Form::empty:
      return kEmpty;
    case Form::object:
    case Form::json:
      return kJson;
    case Form::html:
      return kHtml;
    case Form::text:
      return kText;
  }
  return kText;
}

/// The server's own words, short and on one line.
std::string excerpt(std::string_view text) {
  std::string out;
  bool blank = false;
  for (char c : text) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) {
      blank = !out.empty();
      continue;
    }
    if (blank) out += ' ';
    blank = false;
    out += c;
    if (out.size() >= 240) {
      while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80)
        out.pop_back();  // whole characters
      if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0) out.pop_back();
      return out + "…";
    }
  }
  return out;
}

Answer answer(Verdict verdict, StatusCode code, std::string message, const http::Response& response) {
  Answer a;
  a.verdict = verdict;
  a.status = Status(code, std::move(message));
  a.http_status = response.status;
  a.retry_after_ms = response.retry_after_ms;
  return a;
}

std::string describe(const http::Response& response, std::string_view words, Form form, std::string_view error_code,
                     std::string_view message) {
  std::string text = "HTTP " + std::to_string(response.status);
  if (!error_code.empty()) text += " " + excerpt(error_code);
  text += ": " + std::string(words);
  if (!response.location.empty()) text += ". It points to " + response.location;
  if (form == Form::html) {
    text += " (it answered with an HTML page)";
  } else if (const std::string said = excerpt(message); !said.empty()) {
    text += " (it said: " + said + ")";
  }
  return text;
}

}  // namespace

Answer classify(Expect expect, const http::Response& response, Form form, std::string_view error_code,
                std::string_view message) {
  switch (response.fate) {
    case http::Fate::not_sent:
      return answer(Verdict::offline, StatusCode::unavailable, std::string(response.error.message()), response);
    case http::Fate::ambiguous:
      return answer(Verdict::ambiguous, StatusCode::unavailable, std::string(response.error.message()), response);
    case http::Fate::refused:
      return answer(Verdict::misconfigured, response.error.code(), std::string(response.error.message()), response);
    case http::Fate::answered:
      break;
  }
  const int status = response.status;
  if (status >= 200 && status < 300) {
    const bool json_type = response.content_type.empty() || response.content_type.find("json") != std::string::npos;
    const bool bare_ok = expect == Expect::done && json_type && (form == Form::empty || message == "OK");
    if (form == Form::object || bare_ok) {
      Answer ok;
      ok.http_status = status;
      return ok;
    }
    return answer(
        Verdict::ambiguous, StatusCode::unavailable,
        describe(response,
                 "this is not MLflow's answer: a login page or proxy may stand in between, or the answer was cut. "
                 "Nothing is taken as stored that cannot be read back",
                 form, error_code, message),
        response);
  }
  // A text 503 is a switched-off endpoint only where MLflow says so; a proxy's "Service Unavailable" is a bad moment,
  // and an ability given up for it would stay given up.
  const bool switched_off = status == 503 && form == Form::text && message.find("disabled") != message.npos;
  const bool missing = (status == 404 && error_code != "RESOURCE_DOES_NOT_EXIST") || status == 405 || status == 501;
  if (expect == Expect::optional && (missing || switched_off))
    return answer(Verdict::unsupported, StatusCode::unimplemented,
                  describe(response, "this server does not have that endpoint", form, error_code, message), response);
  if (status == 503 && response.retry_after_ms >= 0)
    return answer(
        Verdict::throttled, StatusCode::resource_exhausted,
        describe(response, "the server is away for a moment and says when to come back", form, error_code, message),
        response);
  for (const Row& row : kTable) {
    if (status < row.first || status > row.last || !(row.forms & mask(form))) continue;
    if (!row.error_code.empty() && row.error_code != error_code) continue;
    if (!row.needle.empty() && message.find(row.needle) == message.npos) continue;
    return answer(row.verdict, row.code, describe(response, row.words, form, error_code, message), response);
  }
  return answer(Verdict::ambiguous, StatusCode::unavailable, describe(response, kBusy, form, error_code, message),
                response);
}

}  // namespace mlops::mlflow
