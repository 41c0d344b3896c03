// Connection: one easy handle driven through a multi handle of its own, so that the wait is ours: TCP_QUICKACK is set
// again before each (45 ms per request on a 3.17 server with several workers), and another thread can end it.
//
// What libcurl says is turned into a Fate by one question: had anything of the request left? A connection that dies
// while reused is repeated by libcurl itself; `fresh` forbids that, and what is counted as sent covers both attempts.
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <tuple>

#include "base/base.h"
#include "http/auth.h"
#include "http/head.h"
#include "http/http.h"
#include "http/sigv4.h"
#include "http/transfer.h"
#include "http/trust.h"
#include "http/uri.h"

namespace mlops::http {
namespace {

/// curl's words less " after 12 ms": the same trouble says the same each time.
std::string untimed(std::string words) {
  const std::size_t from = words.find(" after ");
  if (from == std::string::npos) return words;
  const std::size_t digits = words.find_first_not_of("0123456789", from + 7);
  if (digits != std::string::npos && digits > from + 7 && words.compare(digits, 3, " ms") == 0) {
    words.erase(from, digits + 3 - from);
  }
  return words;
}

constexpr std::int64_t kMaxIdleMs = 4'000;
constexpr std::size_t kMaxBody = 512u << 20;

CURLcode global_init() {
  static std::once_flag once;
  static CURLcode code = CURLE_OK;
  std::call_once(once, [] { code = curl_global_init(CURL_GLOBAL_DEFAULT); });
  return code;
}

struct SlistFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct EasyFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiFree {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

void append(std::unique_ptr<curl_slist, SlistFree>* list, const std::string& line) {
  if (curl_slist* grown = curl_slist_append(list->get(), line.c_str())) {
    std::ignore = list->release();  // the list grew in place
    list->reset(grown);
  }
}

std::time_t read_date(const char* text) { return curl_getdate(text, nullptr); }

constexpr const char* kWantsOne =
    ", or does it want a client certificate that it trusts (MLFLOW_TRACKING_CLIENT_CERT_PATH)?";

class CurlConnection final : public Connection {
 public:
  CurlConnection(Uri uri, Credentials credentials) : uri_(std::move(uri)), credentials_(std::move(credentials)) {}

  Status open() {
    if (global_init() != CURLE_OK) return {StatusCode::internal, "libcurl cannot be initialised in this process"};
    easy_.reset(curl_easy_init());
    multi_.reset(curl_multi_init());
    if (!easy_ || !multi_) return {StatusCode::resource_exhausted, "no memory for an HTTP connection"};
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, 2L);  // ours, and one elsewhere
    auth_ = choose_auth(credentials_, uri_);
    if (credentials_.insecure_tls && uri_.scheme == "https")
      base::log(base::LogLevel::warn, "TLS certificates of " + uri_.host + " are NOT verified (insecure_tls is set)");
    return {};
  }

  Response send(const Request& request) override {
    if (request.elsewhere) return exchange(request);
    if (!auth_.unusable.ok()) return refusal(auth_.unusable);
    const bool use_callback = auth_.kind == Auth::Kind::callback;
    if (use_callback && auth_.token.empty()) auth_.token = ask_token(credentials_);
    Response response = exchange(request);
    if (use_callback && response.fate == Fate::answered && response.status == 401) {
      std::string again = ask_token(credentials_);  // a 401 was not executed: repeating is safe
      if (!again.empty() && again != auth_.token) {
        auth_.token = std::move(again);
        response = exchange(request);
      }
    }
    return response;
  }

  void cancel() override {
    cancelled_.store(true, std::memory_order_release);
    curl_multi_wakeup(multi_.get());
  }

  std::uint64_t bytes_sent() const override { return bytes_sent_.load(std::memory_order_relaxed); }

 private:
  static Response refusal(Status why) {
    Response response;
    response.fate = Fate::refused;
    response.error = std::move(why);
    return response;
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    auto* connection = static_cast<CurlConnection*>(self);
    auto* response = connection->response_;
    const Request& request = *connection->request_;
    connection->received_ += size;
    if (request.progress) request.progress(connection->file_.at(), connection->received_);
    if (request.sink && (response->status == 200 || response->status == 206)) {
      if (request.sink(*response, {data, size})) return size;
      response->stopped = true;
      return 0;
    }
    if (response->body.size() + size > kMaxBody) return 0;
    response->body.append(data, size);
    return size;
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    static_cast<CurlConnection*>(self)->head_->line({data, size});
    return size;
  }

  static std::size_t on_read(char* to, std::size_t, std::size_t most, void* self) {
    auto* connection = static_cast<CurlConnection*>(self);
    const std::uint64_t at = connection->file_.at();
    const long got = connection->file_.read(to, most);
    if (got < 0) return CURL_READFUNC_ABORT;
    const Request& request = *connection->request_;
    if (request.sees && got > 0) request.sees(at, {to, static_cast<std::size_t>(got)});
    if (request.progress) request.progress(connection->file_.at(), connection->received_);
    return static_cast<std::size_t>(got);
  }

  /// Connected, shaken hands, about to send.
  static int on_connected(void* self, char*, char*, int, int) {
    static_cast<CurlConnection*>(self)->connected_ = true;
    return CURL_PREREQFUNC_OK;
  }

  static int on_seek(void* self, curl_off_t offset, int origin) {
    auto& file = static_cast<CurlConnection*>(self)->file_;
    return origin == SEEK_SET && offset >= 0 && file.seek(static_cast<std::uint64_t>(offset)) ? CURL_SEEKFUNC_OK
                                                                                              : CURL_SEEKFUNC_FAIL;
  }

  void set_proxy(CURL* easy, bool https, bool loopback) {
    std::string proxy = credentials_.proxy, except;
    constexpr std::string_view mark = "environment:\n";
    if (std::string_view(proxy).substr(0, mark.size()) == mark) {
      const std::string lines = proxy.substr(mark.size());
      const auto first = lines.find('\n');
      const auto second = lines.find('\n', first + 1);
      proxy = https ? lines.substr(0, first) : lines.substr(first + 1, second - first - 1);
      except = lines.substr(second + 1);
      if (loopback) proxy.clear();
    }
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy.c_str());  // "": none, and libcurl reads no environment
    curl_easy_setopt(easy, CURLOPT_NOPROXY, except.c_str());
  }

  void set_credentials(CURL* easy, const Request& request, std::unique_ptr<curl_slist, SlistFree>* headers) {
    const Credentials& c = credentials_;
    switch (auth_.kind) {
      case Auth::Kind::none:
        break;
      case Auth::Kind::basic:
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
        curl_easy_setopt(easy, CURLOPT_USERNAME, c.username.c_str());
        curl_easy_setopt(easy, CURLOPT_PASSWORD, c.password.c_str());
        break;
      case Auth::Kind::bearer:
      case Auth::Kind::callback:
        if (!auth_.token.empty()) append(headers, "Authorization: Bearer " + auth_.token);
        break;
      case Auth::Kind::sigv4:
        sign({c.username, c.password, auth_.token, c.aws_region, c.aws_service.empty() ? "execute-api" : c.aws_service},
             uri_, uri_.path + request.path, request, headers);
        break;
    }
    if (!c.client_cert.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERT, c.client_cert.c_str());
      curl_easy_setopt(easy, CURLOPT_SSLKEY, c.client_cert.c_str());
    }
    set_tls(easy, c.ca_file, c.insecure_tls);
  }

  /// Host and request line as libcurl writes them.
  static void sign(const AwsKeys& keys, const Uri& uri, std::string_view target, const Request& request,
                   std::unique_ptr<curl_slist, SlistFree>* headers) {
    const bool usual_port = uri.port == (uri.scheme == "https" ? "443" : "80");
    const auto mark = std::min(target.find('?'), target.size());
    for (const auto& [name, value] :
         sign_v4(keys, method_name(request.method), usual_port ? uri.host : uri.authority(), target.substr(0, mark),
                 target.substr(std::min(mark + 1, target.size())), request.headers, request.body, base::now_ms()))
      append(headers, name + ": " + value);
  }

  static std::string_view method_name(Method method) {
    switch (method) {
      case Method::get:
        return "GET";
      case Method::post:
        return "POST";
      case Method::put:
        return "PUT";
      case Method::patch:
        return "PATCH";
      case Method::del:
        return "DELETE";
      case Method::head:
        return "HEAD";
    }
    return "GET";
  }

  void set_tls(CURL* easy, const std::string& ca_file, bool insecure) {
    if (!insecure) {
      const Trust trust = find_trust(ca_file, curl_version_info(CURLVERSION_NOW)->cainfo, credentials_.ca_fallback);
      no_authorities_ = trust.none;
      if (!trust.file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, trust.file.c_str());
      if (!trust.folder.empty()) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, trust.folder.c_str());
        curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
      }
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
  }

  void set_method(CURL* easy, const Request& request) {
    const bool body =
        !request.file && ((request.method != Method::get && request.method != Method::head) || !request.body.empty());
    if (request.file) {
      curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.file->size));
      curl_easy_setopt(easy, CURLOPT_READFUNCTION, &on_read);
      curl_easy_setopt(easy, CURLOPT_READDATA, this);
      curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &on_seek);
      curl_easy_setopt(easy, CURLOPT_SEEKDATA, this);
    }
    if (body) {
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.c_str());
    }
    switch (request.method) {
      case Method::get:
        body ? curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "GET") : CURLE_OK;
        break;
      case Method::head:
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        break;
      case Method::post:
        request.file ? curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "POST") : CURLE_OK;
        break;
      case Method::put:
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
        break;
      case Method::patch:
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
        break;
      case Method::del:
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    }
  }

  Response exchange(const Request& request) {
    Response response;
    CURL* easy = easy_.get();
    const std::string url = request.elsewhere ? request.elsewhere->url : uri_.text() + request.path;
    std::unique_ptr<curl_slist, SlistFree> headers;
    append(&headers, "Expect:");
    if (!request.elsewhere && !request.sink) append(&headers, "Accept: application/json");
    for (const auto& [name, value] : request.headers)
      if (!has_control(name) && !has_control(value)) append(&headers, name + ": " + value);
    char why[CURL_ERROR_SIZE] = "";
    HeadReader head(&response, &read_date);
    StallWatch watch(request.stall, request.timeout);
    request_ = &request;
    response_ = &response;
    head_ = &head;
    watch_ = &watch;
    file_ = FileReader(request.file.value_or(FileRange{}));
    received_ = 0;
    stalled_ms_ = 0;
    curl_easy_reset(easy);  // keeps the connection, drops the options
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "mlops/" MLOPS_VERSION_STRING);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (request.sink ? 256L : 64L) * 1024);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(std::max<std::int64_t>(1, request.connect_timeout.count())));
    if (!watch.on())
      curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, request.timeout.count())));
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, 3L);  // whole seconds: idle for 4.0 s and more is closed
    const bool stale = base::steady_ms() - last_used_ms_ >= kMaxIdleMs;
    if (request.fresh || stale) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
    connected_ = false;
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &on_connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, &on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, this);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
    set_method(easy, request);
    if (const auto& other = request.elsewhere) {
      const Result<Uri> there = parse_uri(url.substr(0, url.find('?')));
      if (other->sign && there.ok()) {
        const auto path = url.find('/', url.find("://") + 3);
        sign(*other->sign, *there, path == url.npos ? "" : url.substr(path), request, &headers);
      }
      set_tls(easy, other->ca_file, other->insecure_tls);
      set_proxy(easy, url.compare(0, 6, "https:") == 0, there.ok() && is_loopback(there->host));
    } else {
      set_credentials(easy, request, &headers);
      set_proxy(easy, uri_.scheme == "https", is_loopback(uri_.host));
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());

    bool was_cancelled = false;
    const CURLcode code = drive(easy, &was_cancelled);
    finish(easy, code, was_cancelled, why, request, &response);
    request_ = nullptr;
    response_ = nullptr;
    head_ = nullptr;
    watch_ = nullptr;
    last_used_ms_ = base::steady_ms();
    return response;
  }

  /// Runs the transfer to its end or to a cancel.
  CURLcode drive(CURL* easy, bool* was_cancelled) {
    CURLM* multi = multi_.get();
    if (cancelled_.exchange(false, std::memory_order_acquire)) {
      *was_cancelled = true;
      return CURLE_ABORTED_BY_CALLBACK;
    }
    if (curl_multi_add_handle(multi, easy) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    CURLcode code = CURLE_OK;
    for (;;) {
      int running = 0;
      if (curl_multi_perform(multi, &running) != CURLM_OK) {
        code = CURLE_OUT_OF_MEMORY;
        break;
      }
      if (running == 0) {
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi, &left))
          if (message->msg == CURLMSG_DONE) code = message->data.result;
        break;
      }
      if (cancelled_.exchange(false, std::memory_order_acquire)) {
        *was_cancelled = true;
        code = CURLE_ABORTED_BY_CALLBACK;
        break;
      }
      if (watch_->on()) {
        const bool waiting = file_.done() && received_ == 0 && !head_->whole();
        stalled_ms_ = watch_->check(file_.at(), received_, waiting, sockets_);
        if (stalled_ms_ > 0) {
          code = CURLE_OPERATION_TIMEDOUT;
          break;
        }
      }
      if (received_ == 0) acknowledge_quickly();  // a stream of data needs no such help
      curl_multi_poll(multi, nullptr, 0, static_cast<int>(std::clamp<std::int64_t>(poll_ms(), 10, 1'000)), nullptr);
      if (received_ == 0) acknowledge_quickly();
    }
    // Read before the handle leaves: what was sent decides the fate.
    long head = 0;
    curl_off_t body = 0;
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &head);
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &body);
    curl_off_t ready = 0;  // libcurl 8 has a time for transfers that never got there, too
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
    // Of a small body libcurl counts the bytes twice: sent together with the head, they are in both figures.
    sent_ = static_cast<std::uint64_t>(head) + (body > head ? static_cast<std::uint64_t>(body) : 0);
    nothing_sent_ = sent_ == 0 && (ready == 0 || !connected_);
    curl_multi_remove_handle(multi, easy);
    return code;
  }

  std::int64_t poll_ms() const {
    if (!watch_->on()) return 1'000;
    return std::min(request_->stall.count(), request_->timeout.count()) / 4;
  }

  // libcurl names the socket of a transfer only after its end, so the sockets are noted as they come and go. A
  // descriptor is forgotten before it is closed: it may be the host program's a moment later.
  static int on_socket(void* self, curl_socket_t fd, curlsocktype purpose) {
    if (purpose == CURLSOCKTYPE_IPCXN) static_cast<CurlConnection*>(self)->sockets_.push_back(fd);
    return CURL_SOCKOPT_OK;
  }

  static int on_close(void* self, curl_socket_t fd) {
    auto& sockets = static_cast<CurlConnection*>(self)->sockets_;
    sockets.erase(std::remove(sockets.begin(), sockets.end(), fd), sockets.end());
    return ::close(fd);
  }

  void acknowledge_quickly() {
#ifdef TCP_QUICKACK
    const int on = 1;
    for (const curl_socket_t fd : sockets_) (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
#endif
  }

  void finish(CURL* easy, CURLcode code, bool was_cancelled, const char* why, const Request& request, Response* out) {
    bytes_sent_.fetch_add(sent_, std::memory_order_relaxed);
    const bool nothing_sent = nothing_sent_ || (was_cancelled && sent_ == 0);
    sent_ = 0;
    nothing_sent_ = true;
    curl_off_t micros = 0;
    curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &micros);
    out->seconds = static_cast<double>(micros) / 1e6;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    out->status = static_cast<int>(status);
    const char* type = nullptr;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    out->content_type = type ? type : "";
    // A server that refuses a large body answers before it has read it and resets: its word stands.
    const bool refused_early = (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) && head_->whole() &&
                               (status == 413 || (request.file && status >= 400));
    // libcurl takes headers that end with the connection for whole, and with no length an empty body too.
    const bool whole = head_->whole() && (out->length_known || received_ > 0 || status == 204 || status >= 300 ||
                                          request.method == Method::head);
    const bool all_sent = status >= 300 || file_.done();
    if ((code == CURLE_OK && status >= 200 && whole && all_sent) || refused_early) {
      out->fate = Fate::answered;
      answered_ = true;
      return;
    }
    if (code == CURLE_OK && !all_sent) code = CURLE_SEND_ERROR;
    if (code == CURLE_OK) code = CURLE_PARTIAL_FILE;
    out->body.clear();
    out->retry_after_ms = -1;
    if (nothing_sent && needs_a_person(code)) {
      *out = refusal(request.elsewhere ? elsewhere_status(code, why, request) : tls_status(code, why));
      return;
    }
    if (!request.elsewhere &&
        refuses_client_certificate(why)) {  // said within the handshake, of TLS 1.3 only when the request is on its way
      *out = refusal({StatusCode::failed_precondition,
                      uri_.text() + ": the server wants a client certificate that it trusts (" + scrub(why, request) +
                          "); it executed nothing. Name a PEM file with certificate and key in "
                          "MLFLOW_TRACKING_CLIENT_CERT_PATH" +
                          (credentials_.client_cert.empty() ? "" : " instead of '" + credentials_.client_cert + "'")});
      return;
    }
    out->fate = nothing_sent ? Fate::not_sent : Fate::ambiguous;
    if (!file_.error().ok()) {
      out->file_changed = true;
      out->error = file_.error();
    } else if (out->stopped) {
      out->error = {StatusCode::failed_precondition, where(request) + "the reader of the answer stopped it"};
    } else {
      out->error = {StatusCode::unavailable, explain(code, was_cancelled, why, request, nothing_sent)};
    }
  }

  /// OpenSSL's words for an alert of the server's that is about our certificate, or that there is none.
  static bool refuses_client_certificate(std::string_view why) {
    if (why.find(" alert ") == why.npos) return false;
    return why.find("certificate") != why.npos || why.find("unknown ca") != why.npos ||
           why.find("access denied") != why.npos;
  }

  static bool needs_a_person(CURLcode code) {
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CERTPROBLEM:
      case CURLE_SSL_ISSUER_ERROR:
      case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      case CURLE_SSL_INVALIDCERTSTATUS:
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
        return true;
      default:
        return false;
    }
  }

  Status tls_status(CURLcode code, const char* why) const {
    const std::string where = uri_.text() + ": ";
    const std::string cause = scrub(*why ? why : curl_easy_strerror(code), {});
    if (code == CURLE_SSL_CACERT_BADFILE && credentials_.ca_file.empty())
      return {StatusCode::failed_precondition,
              where + "the server's TLS certificate cannot be checked (" + cause +
                  "); this machine has no CA bundle: install ca-certificates, or name a PEM file in "
                  "MLFLOW_TRACKING_SERVER_CERT_PATH"};
    if (code == CURLE_SSL_CACERT_BADFILE)
      return {StatusCode::failed_precondition,
              where + "the CA file '" + credentials_.ca_file + "' cannot be used (" + cause +
                  "). Check Credentials::ca_file, MLFLOW_TRACKING_SERVER_CERT_PATH and REQUESTS_CA_BUNDLE"};
    if (code == CURLE_SSL_CERTPROBLEM)
      return {StatusCode::failed_precondition,
              where + "the client certificate '" + credentials_.client_cert + "' cannot be used (" + cause +
                  "). It must be a PEM file with certificate and key; see MLFLOW_TRACKING_CLIENT_CERT_PATH"};
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
      return {StatusCode::failed_precondition, where + "this URI or proxy cannot be used (" + cause + ")"};
    return {StatusCode::failed_precondition,
            where + "the server's TLS certificate was not accepted (" + cause +
                (no_authorities_ ? "; this machine has no CA bundle: install ca-certificates" : "") +
                "); nothing was sent. If it is signed by a private CA, name the CA's PEM file in "
                "MLFLOW_TRACKING_SERVER_CERT_PATH; if not, somebody else may be answering in the server's place"};
  }

  std::string where(const Request& request) const {
    return (request.elsewhere ? redact_uri(request.elsewhere->url) : uri_.text()) + ": ";
  }

  Status elsewhere_status(CURLcode code, const char* why, const Request& request) const {
    const std::string cause = scrub(*why ? why : curl_easy_strerror(code), request);
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
      return {StatusCode::failed_precondition, where(request) + "this address or proxy cannot be used (" + cause + ")"};
    return {StatusCode::failed_precondition,
            where(request) + "the TLS certificate of the artifact store was not accepted (" + cause +
                "); nothing was sent. If it is signed by a private CA, name the CA's PEM file in AWS_CA_BUNDLE"};
  }

  std::string explain(CURLcode code, bool was_cancelled, const char* why, const Request& request,
                      bool nothing_sent) const {
    const std::string where = this->where(request);
    if (was_cancelled) return where + "the request was cancelled";
    if (stalled_ms_ > 0)
      return where + "no byte moved for " + std::to_string(stalled_ms_ / 1000) + " s (" + std::to_string(file_.at()) +
             " bytes were sent, " + std::to_string(received_) + " received)";
    const std::string cause = untimed(scrub(*why ? why : curl_easy_strerror(code), request));
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
        return where + "the host name is not known (" + cause + "). Check the tracking URI and the network";
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_PROXY:
        return where + "the proxy cannot be used (" + cause + "). Check Credentials::proxy and HTTPS_PROXY";
      case CURLE_COULDNT_CONNECT:
        return where + "cannot connect (" + cause + "). Is the server running? Data waits on disk";
      case CURLE_SSL_CONNECT_ERROR:
        return where + "no TLS connection (" + cause + "). Does the server speak https on this port" + kWantsOne;
      case CURLE_OPERATION_TIMEDOUT:
        if (nothing_sent)
          return where + "no connection within " + std::to_string(request.connect_timeout.count()) + " ms";
        return where + "no answer within " + std::to_string(request.timeout.count()) + " ms";
      case CURLE_GOT_NOTHING:
      case CURLE_RECV_ERROR:
        return where + "the connection was cut before the answer (" + cause + ")";
      case CURLE_SEND_ERROR:
        return where + "the connection was cut while sending (" + cause + ")" +
               (uri_.scheme == "https" && !answered_ && !request.elsewhere
                    ? std::string(". Is this the right port") + kWantsOne
                    : "");
      case CURLE_PARTIAL_FILE:
        return where + "the answer was cut short (" + cause + ")";
      default:
        return where + cause;
    }
  }

  std::string scrub(const char* text, const Request& request) const {
    return http::scrub(text, credentials_, auth_.token, request);
  }

  const Uri uri_;
  const Credentials credentials_;
  Auth auth_;
  std::vector<curl_socket_t> sockets_;  // open ones; outlives the handles, which close theirs through on_close
  std::unique_ptr<CURLM, MultiFree> multi_;
  std::unique_ptr<CURL, EasyFree> easy_;  // destroyed before the multi
  // Of the exchange in progress.
  const Request* request_ = nullptr;
  Response* response_ = nullptr;
  HeadReader* head_ = nullptr;
  StallWatch* watch_ = nullptr;
  FileReader file_;
  std::uint64_t received_ = 0;  // bytes of the answer's body
  std::int64_t stalled_ms_ = 0;
  std::int64_t last_used_ms_ = -kMaxIdleMs;
  std::uint64_t sent_ = 0;
  bool connected_ = false;
  bool nothing_sent_ = true;
  bool answered_ = false;  // ever
  bool no_authorities_ = false;
  std::atomic<bool> cancelled_{false};
  std::atomic<std::uint64_t> bytes_sent_{0};
};

}  // namespace

Result<std::unique_ptr<Connection>> Connection::create(const std::string& base_uri, const Credentials& credentials) {
  auto uri = parse_uri(base_uri);
  if (!uri.ok()) return uri.status();
  auto connection = std::make_unique<CurlConnection>(std::move(*uri), credentials);
  if (Status status = connection->open(); !status.ok()) return status;
  return std::unique_ptr<Connection>(std::move(connection));
}

void prepare_library() { (void)global_init(); }

}  // namespace mlops::http
