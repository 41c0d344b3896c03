// Answers: first what happened to the exchange, then the status, the error's code, and where codes are vague the words.
#include "store/answer.h"

#include <algorithm>
#include <array>

#include "store/json.h"
#include "store/xml.h"

namespace mlops::store {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

bool is_html(const http::Response& response) {
  return contains(response.content_type, "html") || contains(std::string_view(response.body).substr(0, 100), "<html");
}

/// The server's own words, short and on one line.
std::string excerpt(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 300)) {
    const bool blank = static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
    if (!blank) out += c;
    if (blank && !out.empty() && out.back() != ' ') out += ' ';
  }
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
  if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0) out.pop_back();
  return out;
}

Answer said(Verdict verdict, StatusCode code, const http::Response& response, std::string_view what,
            std::string_view words, std::string_view theirs) {
  std::string text = std::string(what) + ": HTTP " + std::to_string(response.status) + ": " + std::string(words);
  if (!response.location.empty()) text += ". It points to " + response.location;
  if (const std::string quoted = excerpt(theirs); !quoted.empty()) text += " (it said: " + quoted + ")";
  return make(verdict, code, std::move(text), response);
}

/// What is the same for all: no whole answer, good ones, limits. False: look closer.
bool common(const http::Response& response, std::string_view what, Answer* out) {
  const std::string words = std::string(what) + ": " + std::string(response.error.message());
  switch (response.fate) {
    case http::Fate::answered:
      break;
    case http::Fate::refused:
      *out = make(Verdict::auth, response.error.code(), words, response);
      return true;
    default:
      if (response.file_changed) {
        *out = make(Verdict::rejected, response.error.code(), words, response);
      } else {
        *out = make(response.fate == http::Fate::not_sent ? Verdict::offline : Verdict::ambiguous,
                    response.error.code(), words, response);
      }
      return true;
  }
  if (response.status >= 200 && response.status < 300) {
    *out = good(response);
    return true;
  }
  if (response.status == 429) {
    *out = said(Verdict::throttled, StatusCode::resource_exhausted, response, what,
                "the rate of requests is limited; it slows down", {});
    return true;
  }
  if (response.status == 407) {
    *out = said(Verdict::auth, StatusCode::permission_denied, response, what,
                "the proxy asks for credentials. Name them in Credentials::proxy (http://user:password@host:port)", {});
    return true;
  }
  if (response.status == 413) {
    *out = said(Verdict::rejected, StatusCode::resource_exhausted, response, what,
                "the file is larger than something in front of the server allows (nginx: client_max_body_size). Raise "
                "the limit there",
                {});
    return true;
  }
  if (response.status == 416) {
    *out = said(Verdict::ambiguous, StatusCode::unavailable, response, what, "it has no such range any more", {});
    return true;
  }
  return false;
}

struct S3Row {
  std::string_view code;
  Verdict verdict;
  StatusCode status;
  std::string_view words;
};

constexpr auto kS3 = std::to_array<S3Row>({
    {"NoSuchKey", Verdict::not_found, StatusCode::not_found, "it is not in the bucket"},
    {"NoSuchBucket", Verdict::rejected, StatusCode::not_found,
     "the bucket does not exist. Create it, or correct the experiment's artifact location"},
    {"NoSuchUpload", Verdict::expired, StatusCode::failed_precondition, "the multipart upload is finished or gone"},
    {"InvalidPart", Verdict::expired, StatusCode::failed_precondition, "a part is not there; the upload begins again"},
    {"InvalidPartOrder", Verdict::expired, StatusCode::failed_precondition, "the parts do not fit"},
    {"EntityTooSmall", Verdict::expired, StatusCode::failed_precondition, "a part is smaller than 5 MiB"},
    {"BadDigest", Verdict::ambiguous, StatusCode::data_loss, "the bytes were altered on their way"},
    {"InvalidDigest", Verdict::ambiguous, StatusCode::data_loss, "the bytes were altered on their way"},
    {"XAmzContentSHA256Mismatch", Verdict::ambiguous, StatusCode::data_loss, "the bytes were altered on their way"},
    {"IncompleteBody", Verdict::ambiguous, StatusCode::unavailable, "the body was cut"},
    {"RequestTimeout", Verdict::ambiguous, StatusCode::unavailable, "the body came too slowly"},
    {"OperationAborted", Verdict::ambiguous, StatusCode::unavailable, "it collides with another writer"},
    {"SlowDown", Verdict::throttled, StatusCode::resource_exhausted, "the rate of requests is limited"},
    {"ServiceUnavailable", Verdict::throttled, StatusCode::unavailable, "the store is overloaded"},
    {"ExpiredToken", Verdict::auth, StatusCode::permission_denied,
     "the session token has expired. Renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"},
    {"InvalidToken", Verdict::auth, StatusCode::permission_denied,
     "the session token is not accepted. Renew AWS_SESSION_TOKEN, or unset it if the keys need none"},
    {"TokenRefreshRequired", Verdict::auth, StatusCode::permission_denied, "renew AWS_SESSION_TOKEN"},
    {"InvalidAccessKeyId", Verdict::auth, StatusCode::permission_denied,
     "the store does not know this key. Check AWS_ACCESS_KEY_ID (and MLFLOW_S3_ENDPOINT_URL)"},
    {"XAdminUserNotFound", Verdict::auth, StatusCode::permission_denied,
     "the store does not know this key. Check AWS_ACCESS_KEY_ID (and MLFLOW_S3_ENDPOINT_URL)"},  // versitygw
    {"SignatureDoesNotMatch", Verdict::auth, StatusCode::permission_denied,
     "the signature does not fit. Check AWS_SECRET_ACCESS_KEY"},
    {"AccessDenied", Verdict::auth, StatusCode::permission_denied,
     "these keys may not do that. Ask for s3:PutObject, s3:GetObject and s3:ListBucket on the bucket"},
    {"AllAccessDisabled", Verdict::auth, StatusCode::permission_denied, "all access to the bucket is switched off"},
    {"AccountProblem", Verdict::auth, StatusCode::permission_denied, "there is a problem with the AWS account"},
    {"RequestTimeTooSkewed", Verdict::auth, StatusCode::failed_precondition,
     "this machine's clock is wrong by more than 15 minutes. Set it"},
    {"AuthorizationHeaderMalformed", Verdict::auth, StatusCode::failed_precondition,
     "the region does not fit. Set AWS_REGION to the bucket's"},
    {"PermanentRedirect", Verdict::auth, StatusCode::failed_precondition,
     "the bucket is in another region. Set AWS_REGION to it"},
    {"TemporaryRedirect", Verdict::auth, StatusCode::failed_precondition,
     "the bucket is in another region. Set AWS_REGION to it"},
    {"IllegalLocationConstraintException", Verdict::auth, StatusCode::failed_precondition,
     "the bucket is in another region. Set AWS_REGION to it"},
    {"PreconditionFailed", Verdict::ambiguous, StatusCode::failed_precondition, "the object has changed"},
    {"NotImplemented", Verdict::unsupported, StatusCode::unimplemented, "the store cannot do it"},
    {"QuotaExceeded", Verdict::auth, StatusCode::resource_exhausted, "the bucket's quota is used up. Make room"},
});

const S3Row* s3_row(std::string_view code) {
  const auto* found = std::find_if(kS3.begin(), kS3.end(), [&](const S3Row& row) { return row.code == code; });
  return found == kS3.end() ? nullptr : found;
}

}  // namespace

Answer good(const http::Response& response) {
  Answer answer;
  answer.http_status = response.status;
  return answer;
}

Answer make(Verdict verdict, StatusCode code, std::string words, const http::Response& response) {
  return {verdict, Status(code, std::move(words)), response.retry_after_ms, response.status};
}

Answer refuse(const Status& status) { return {Verdict::rejected, status, -1, 0}; }

Answer of_mlflow(const http::Response& response, std::string_view what) {
  Answer answer;
  if (common(response, what, &answer)) return answer;
  std::string code, message;
  read_error(response.body, &code, &message);
  const bool html = is_html(response);
  const std::string_view theirs = !message.empty() ? std::string_view(message)
                                  : html           ? std::string_view()
                                                   : std::string_view(response.body);
  auto is = [&](Verdict verdict, StatusCode status, std::string_view words) {
    return said(verdict, status, response, what, words, theirs);
  };
  const int status = response.status;
  if (status >= 300 && status < 400)
    return is(Verdict::auth, StatusCode::failed_precondition,
              "the server redirects, and redirects are not followed. Use the final address as tracking URI");
  if (status == 401 || code == "UNAUTHENTICATED")
    return is(
        Verdict::auth, StatusCode::permission_denied,
        "the server asks for credentials, or does not accept these. Set MLFLOW_TRACKING_USERNAME and _PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN");
  if (status == 403 && contains(theirs, "Invalid Host header"))
    return is(Verdict::auth, StatusCode::failed_precondition,
              "the server refuses this host name. Start it with --allowed-hosts naming the host of the tracking URI");
  if (status == 403 || code == "PERMISSION_DENIED")
    return is(Verdict::auth, StatusCode::permission_denied, "this user may not do that. Ask for the permission");
  if (status == 501)
    return is(Verdict::unsupported, StatusCode::unimplemented, "the server's artifact store cannot do it");
  if (status == 503 && contains(theirs, "disabled"))
    return is(
        Verdict::unsupported, StatusCode::unimplemented,
        "the server does not serve artifacts. Start it with --serve-artifacts, or give the experiment an artifact "
        "location that can be reached from here");
  if (status == 404 && code == "RESOURCE_DOES_NOT_EXIST")
    return is(Verdict::not_found, StatusCode::not_found, "the server does not have it");
  if (status == 404 || status == 405)
    return is(Verdict::unsupported, StatusCode::unimplemented, "this server has no such call");
  // The server's own store fails: MLflow says 500 with the library's words in it.
  if (contains(theirs, "NoSuchBucket"))
    return is(Verdict::rejected, StatusCode::not_found,
              "the server's artifact bucket does not exist. Create it, or correct --artifacts-destination");
  if (contains(theirs, "NoSuchUpload"))
    return is(Verdict::expired, StatusCode::failed_precondition, "the multipart upload is finished or gone");
  if (contains(theirs, "InvalidPart") || contains(theirs, "EntityTooSmall"))
    return is(Verdict::expired, StatusCode::failed_precondition, "a part is not there; the upload begins again");
  if (contains(theirs, "AccessDenied") || contains(theirs, "InvalidAccessKeyId") || contains(theirs, "ExpiredToken") ||
      contains(theirs, "SignatureDoesNotMatch") || contains(theirs, "NoCredentials") ||
      contains(theirs, "Unable to locate credentials"))
    return is(Verdict::auth, StatusCode::permission_denied,
              "the server's own credentials for its artifact store are not accepted. Renew them there");
  if (contains(theirs, "File name too long"))
    return is(Verdict::rejected, StatusCode::invalid_argument, "the server's disk takes no name as long; shorten it");
  if (status == 400 && contains(theirs, "refers to a directory"))
    return is(Verdict::not_found, StatusCode::not_found, "it is a folder");
  if (status == 503) return is(Verdict::throttled, StatusCode::unavailable, "the server is overloaded or restarts");
  if (status == 408 || status == 409 || status == 425 || status >= 500)
    return is(Verdict::ambiguous, StatusCode::unavailable, "the server could not finish it");
  return is(Verdict::rejected, StatusCode::invalid_argument, "the server refuses it");
}

Answer of_s3(const http::Response& response, std::string_view what) {
  Answer answer;
  const bool body_may_be_an_error =
      response.status == 200 && contains(std::string_view(response.body).substr(0, 200), "<Error>");
  if (!body_may_be_an_error && common(response, what, &answer)) return answer;  // a finish can fail with 200
  const std::string code = xml_text(response.body, "Code");
  const std::string message = xml_text(response.body, "Message");
  std::string theirs = code;
  if (!message.empty()) theirs += (code.empty() ? "" : ": ") + message;
  if (const std::string region = xml_text(response.body, "Region"); !region.empty()) theirs += "; region " + region;
  if (const S3Row* row = s3_row(code)) return said(row->verdict, row->status, response, what, row->words, theirs);
  auto is = [&](Verdict verdict, StatusCode status, std::string_view words) {
    return said(verdict, status, response, what, words, theirs);
  };
  const int status = response.status;
  if (status >= 300 && status < 400)
    return is(Verdict::auth, StatusCode::failed_precondition,
              "the store redirects. Set AWS_REGION or MLFLOW_S3_ENDPOINT_URL to the bucket's");
  if (status == 401 || status == 403)
    return is(Verdict::auth, StatusCode::permission_denied,
              "the store does not accept these keys, or they may not do that. Check AWS_ACCESS_KEY_ID, "
              "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the bucket's policy");
  if (status == 404) return is(Verdict::not_found, StatusCode::not_found, "it is not in the bucket");
  if (status == 412) return is(Verdict::ambiguous, StatusCode::failed_precondition, "the object has changed");
  if (status == 501) return is(Verdict::unsupported, StatusCode::unimplemented, "the store cannot do it");
  if (status == 503) return is(Verdict::throttled, StatusCode::unavailable, "the store is overloaded");
  if (status == 408 || status == 409 || status >= 500 || status == 200)
    return is(Verdict::ambiguous, StatusCode::unavailable, "the store could not finish it");
  return is(Verdict::rejected, StatusCode::invalid_argument, "the store refuses it");
}

Answer of_presigned(const http::Response& response, std::string_view what) {
  Answer answer = of_s3(response, what);
  // What is wrong with the signature is not for somebody here to mend: another URL may do.
  if (answer.verdict == Verdict::auth && response.fate == http::Fate::answered && response.status != 407) {
    answer.verdict = Verdict::expired;
    answer.status =
        Status(StatusCode::failed_precondition, std::string(what) + ": HTTP " + std::to_string(response.status) +
                                                    ": the presigned URL has expired or is not accepted (it said: " +
                                                    excerpt(xml_text(response.body, "Code")) + ")");
  }
  return answer;
}

}  // namespace mlops::store
