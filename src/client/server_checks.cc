// check_server, check_waiting: one server, asked as delivery would ask it, and nothing changed there.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/base.h"
#include "client/checks.h"
#include "client/masked.h"
#include "client/remotes.h"
#include "client/within.h"
#include "drain/slot.h"
#include "http/http.h"
#include "ledger/ledger.h"
#include "mlflow/mlflow.h"
#include "view/view.h"

namespace mlops::client {
namespace {

constexpr std::int64_t kClockSlackMs = 5'000;  // Date has whole seconds, and the way takes some of one
constexpr double kUsualPace = 12'000;          // points per second, docs/figures.md

std::string seconds_text(double seconds) {
  return seconds < 10 ? std::to_string(std::lround(seconds * 1'000)) + " ms" : time_words(seconds);
}

bool is_https(const std::string& uri) { return uri.compare(0, 8, "https://") == 0; }

std::string as_whom(const Credentials& c) {
  if (c.aws_sigv4) return "AWS SigV4, region " + (c.aws_region.empty() ? "unknown" : c.aws_region);
  if (!c.username.empty()) return "as " + c.username + " (Basic)";
  if (!c.token.empty()) return "by token (Bearer)";
  if (c.token_callback) return "by the program's token callback";
  return "nobody: no credentials are set, and none are asked for";
}

void check_proxy(const Credentials& credentials, Findings* findings) {
  const std::string proxy = masked_proxy(credentials.proxy);
  findings->ok("server.proxy", proxy.empty() ? "none" : proxy);
}

// True when the server was reached at all.
bool check_reached(const std::string& uri, const Credentials& credentials, Millis deadline, Findings* findings) {
  Result<std::unique_ptr<http::Connection>> connection = http::Connection::create(uri, credentials);
  if (!connection.ok()) {
    findings->mend("server.reached", "not tried", std::string(connection.status().message()));
    return false;
  }
  http::Request request;
  request.path = "/version";
  request.fresh = true;
  request.connect_timeout = request.timeout = deadline;
  const std::int64_t before = base::now_ms();
  const http::Response response = (*connection)->send(request);
  const std::int64_t after = base::now_ms();
  if (response.fate == http::Fate::refused) {
    findings->mend(is_https(uri) ? "server.tls" : "server.auth", "nothing was sent",
                   std::string(response.error.message()));
    return false;
  }
  if (response.fate != http::Fate::answered) {
    findings->mend("server.reached", std::string(response.error.message()),
                   "start the server, or check host, port, proxy and network; nothing is lost meanwhile");
    return false;
  }
  findings->ok("server.reached", "answers in " + seconds_text(response.seconds));
  if (is_https(uri)) {
    if (credentials.insecure_tls) {
      findings->mend("server.tls", "certificates are not verified",
                     "unset MLFLOW_TRACKING_INSECURE_TLS, and name a private CA's PEM file in "
                     "MLFLOW_TRACKING_SERVER_CERT_PATH");
    } else {
      findings->ok("server.tls",
                   "its certificate is verified against " +
                       (credentials.ca_file.empty() ? std::string("the system's authorities") : credentials.ca_file));
    }
  } else {
    findings->ok("server.tls", "none: plain http");
  }
  if (response.date_ms >= 0) {
    const std::int64_t ahead = response.date_ms < before - kClockSlackMs  ? before - response.date_ms
                               : response.date_ms > after + kClockSlackMs ? response.date_ms - after
                                                                          : 0;
    if (ahead != 0) {
      findings->mend("server.clock",
                     "the server's clock and this one are " + time_words(static_cast<double>(ahead) / 1'000) + " apart",
                     "set both by NTP: points carry this machine's time");
    } else {
      findings->ok("server.clock", "as this machine's, within 5 s");
    }
  }
  return true;
}

void check_api(const std::string& uri, const Credentials& credentials, Millis deadline, Findings* findings) {
  Result<std::unique_ptr<mlflow::Api>> api = mlflow::Api::connect(uri, credentials);
  if (!api.ok()) {
    findings->mend("server.api", "not tried", std::string(api.status().message()));
    return;
  }
  mlflow::Server server;
  mlflow::Answer probe, read;
  std::string id;
  const bool in_time = within(deadline, api->get(), [&] {
    probe = (*api)->probe(&server);
    read = (*api)->experiment_by_name("Default", &id);
  });
  if (!in_time) {
    findings->mend("server.api", "no answer within " + seconds_text(static_cast<double>(deadline.count()) / 1'000),
                   "look at the server's log and load, or allow more time; nothing is lost meanwhile");
    return;
  }
  const bool absent = read.verdict == mlflow::Verdict::run_gone;
  if (read.verdict == mlflow::Verdict::auth) {
    findings->mend("server.auth", "HTTP " + std::to_string(read.http_status), std::string(read.status.message()));
    return;
  }
  if (read.verdict != mlflow::Verdict::ok && !absent) {
    findings->mend("server.api", "what answers there is not MLflow's REST API, or is out of order",
                   std::string(read.status.message()));
    return;
  }
  findings->ok("server.auth", as_whom(credentials));
  if (probe.verdict != mlflow::Verdict::ok || server.version.empty()) {
    findings->ok("server.version", "not told: batches of unknown fate are read back before they are sent again");
    return;
  }
  std::string words = "MLflow " + server.version;
  if (!server.store_type.empty()) words += " on " + server.store_type;
  words += server.whole_resend_ok ? "; a batch can be sent twice" : "; a batch of unknown fate is read back first";
  if (server.whole_resend_ok && !server.nan_resend_ok) words += ", but for NaN";
  if (server.major < 2) {
    findings->mend("server.version", words, "use MLflow 2.0 or later");
  } else {
    findings->ok("server.version", words);
  }
}

// The pace at which a deliverer worked off a backlog for this server; 0: nobody did yet.
double measured_pace(const std::string& root, const std::string& name) {
  double pace = 0;
  const Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(root);
  for (std::size_t i = 0; slots.ok() && i < slots->size(); ++i) {
    const Result<ledger::Ledger::Snapshot> snapshot = ledger::Ledger::read((*slots)[i].dir, name);
    if (snapshot.ok()) pace = std::max(pace, snapshot->live.points_per_second);
  }
  return pace;
}

}  // namespace

bool check_server(const std::string& uri, const Credentials& credentials, Millis deadline, Findings* findings) {
  check_proxy(credentials, findings);
  const bool reached = check_reached(uri, credentials, deadline, findings);
  if (reached) check_api(uri, credentials, deadline, findings);
  return reached;
}

void check_waiting(const std::string& root, const std::string& uri, bool reached, Findings* findings) {
  Result<std::unique_ptr<view::View>> view = view::View::open(root);
  if (!view.ok()) return;  // no root, nothing waits; or said already
  const Result<Health> health = (*view)->health();
  if (!health.ok()) return;
  const std::string name = destination_of(root, uri).name;
  std::uint64_t waiting = health->buffered;  // a server nobody delivered to yet wants everything
  const DestinationHealth* known = nullptr;
  for (const DestinationHealth& destination : health->destinations) {
    if (destination.name == name) known = &destination;
  }
  if (known != nullptr) {
    waiting = known->waiting;
    if (known->dead_letters != 0) {
      findings->mend("delivery.refused", std::to_string(known->dead_letters) + " records were refused for good",
                     "`mlops status` says why");
    }
    if (known->state == LaneState::parked) {
      findings->mend("delivery.parked", "runs wait for somebody to act", std::string(known->last_error.message()));
    }
  }
  if (waiting == 0) {
    findings->ok("delivery", "nothing waits");
    return;
  }
  const std::string words = std::to_string(waiting) + " points wait";
  if (!reached) {
    if (known == nullptr || known->reached) {
      findings->ok("delivery", words + " until it is there");
    } else {
      findings->mend("delivery", words + " for a server that was never reached",
                     "a typo? `mlops remote remove " + name + "` forgets it");
    }
    return;
  }
  const double pace = measured_pace(root, known != nullptr ? known->name : name);
  const double seconds = static_cast<double>(waiting) / (pace > 0 ? pace : kUsualPace);
  const std::string at =
      std::to_string(std::llround(pace > 0 ? pace : kUsualPace)) + " points/s, " +
      (pace > 0 ? "as measured when a backlog of this root was delivered" : "a usual pace, not measured here yet");
  findings->ok("delivery", words + "; about " + time_words(seconds) + " at " + at);
}

}  // namespace mlops::client
