// Plain structs with defaults. Precedence everywhere: what the code sets, then the environment (read once, in
// Client::open), then the default named here. Empty string or unset optional = not set by the code.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mlops/config.h"

MLOPS_NAMESPACE_BEGIN

using Millis = std::chrono::milliseconds;
using Pairs = std::vector<std::pair<std::string, std::string>>;

/// How to prove who we are to a server. Never written to disk, never logged. Username and password win over the
/// token, the token over the callback (MLflow's order). Credentials over plain http are refused except to loopback,
/// unless allow_plain_http.
struct Credentials {
  std::string username{};  ///< MLFLOW_TRACKING_USERNAME, else ~/.mlflow/credentials
  std::string password{};  ///< MLFLOW_TRACKING_PASSWORD, else ~/.mlflow/credentials
  std::string token{};     ///< MLFLOW_TRACKING_TOKEN: sent as `Authorization: Bearer`
  /// Asked before the first request and after each 401; returns a bearer token, empty for none. Called on a
  /// background thread, must not call back into the client; may block up to a request's deadline.
  std::function<std::string()> token_callback{};
  /// PEM bundle, or a folder of PEM files under OpenSSL's hashed names; MLFLOW_TRACKING_SERVER_CERT_PATH,
  /// REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE; default the system's, wherever it keeps them
  std::string ca_file{};
  std::string ca_fallback{};  ///< PEM bundle for a system that has none; the Python package names certifi's
  std::string client_cert{};  ///< PEM with certificate and key; MLFLOW_TRACKING_CLIENT_CERT_PATH
  std::string proxy{};        ///< e.g. http://proxy:3128; default HTTPS_PROXY, HTTP_PROXY, NO_PROXY as curl reads them
  bool insecure_tls = false;  ///< MLFLOW_TRACKING_INSECURE_TLS=true: no verification, warned once per open
  bool allow_plain_http = false;  ///< send credentials over http to other hosts
  /// MLFLOW_TRACKING_AWS_SIGV4=true; keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
  bool aws_sigv4 = false;
  std::string aws_region{};   ///< AWS_REGION, AWS_DEFAULT_REGION
  std::string aws_service{};  ///< default "execute-api"
};

/// What a full journal does to the caller of log(): wait for the drain up to full_wait and then drop the point
/// (counted, reason `journal_full`), or drop at once.
enum class WhenFull { wait, drop };

/// What machine, process and GPUs do while a run goes on, logged to it as metrics under MLflow's names
/// (system/cpu_utilization_percentage, …; docs/system-metrics.md has all). One background thread per process takes the
/// samples; not in a forked child. Steps count 0, 1, 2, …; a resumed run's go on.
struct SystemMetrics {
  std::optional<bool> enabled{};  ///< for runs that do not say; MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING, default off
  Millis interval{10'000};        ///< of samples, 10 ms..1 day; MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL, in seconds
  /// Averaged into one point, 1..1,000,000; MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.
  std::uint32_t samples_before_logging = 1;
  /// Machines of one run told apart: `system/<node_id>/…`, letters, digits, `_ - . :` and space, at most 100;
  /// MLFLOW_SYSTEM_METRICS_NODE_ID. Default none, or the host where ranks of several machines share a run.
  std::string node_id{};
};

/// Clients that share a root share the options of the first one that opened it; tracking URI, deliver, credentials and
/// system metrics are each client's own.
struct Options {
  std::string root{};  ///< the buffer's folder; MLOPS_HOME, else `.mlops` found upwards from here, else ./.mlops
  /// http(s) URI without credentials, or the name of a remote of this root; MLFLOW_TRACKING_URI; none = local only
  std::string tracking_uri{};
  bool deliver = true;  ///< false: buffer only, even with a tracking URI (MLOPS_DELIVER=0)
  Credentials credentials{};
  std::string host{};  ///< folder name of this machine below the root; MLOPS_HOST, default the host name
  WhenFull when_full = WhenFull::wait;
  Millis full_wait{100};               ///< longest wait of one log() on a full journal
  std::uint32_t journal_mib = 64;      ///< journal cap of this process, 2..1024 MiB; MLOPS_JOURNAL_MIB
  Millis beat{500};                    ///< longest time from accepted to buffered, 10 ms..10 s
  std::uint64_t retention_mib = 2048;  ///< delivered data kept per root; oldest ended runs go first
  std::uint32_t retention_days = 30;
  std::uint64_t quota_mib = 0;  ///< the root's hard limit: above it new points are dropped, reason `quota`; 0 = none
  /// Artifacts kept in this process's slot, in MiB; MLOPS_SPOOL_MIB. When it is full, delivered artifacts of ended runs
  /// go, and then calls that log one are resource_exhausted. 0 = no limit but the disk's.
  std::uint64_t spool_mib = 0;
  /// Bound of close and of process exit: drain, then try to deliver what waits; MLOPS_EXIT_DEADLINE_MS. An exit that
  /// finds the disk stuck ends at most two seconds later.
  Millis exit_deadline{10'000};
  SystemMetrics system_metrics{};
};

struct ExperimentOptions {
  Pairs tags{};                     ///< used when the experiment is created on the server
  std::string artifact_location{};  ///< the same; server's default when empty
};

/// How Client::start_run finds or makes a run. At most one of resume_id, resume_name, attach_id, per_job.
struct RunOptions {
  std::string name{};         ///< MLFLOW_RUN_NAME; default made of two words and a number, 1..250 characters
  std::string resume_id{};    ///< continue the run with this id (ours, 32 hex, or the server's); MLFLOW_RUN_ID
  std::string resume_name{};  ///< continue the newest run of that name in the experiment: in this root, else on the
                              ///< server (≤ 5 s), else a new one
  std::string attach_id{};    ///< join a run another process owns: logs, but sends no status; MLOPS_RUN
  /// One run for all ranks of a job (mpirun, srun, torchrun): rank 0 starts it, or goes on with it after a restart, and
  /// ends it; the others join it as by attach_id. All ranks give the same experiment and name; MLOPS_RUN=job says it
  /// for the first run. Started by no launcher, it is an ordinary run. docs/clusters.md has which launchers are known.
  bool per_job = false;
  std::string parent_id{};    ///< nested below this run (tag mlflow.parentRunId)
  std::int64_t start_ms = 0;  ///< of a new run that began before: milliseconds since the epoch; 0: now
  std::string note{};         ///< Markdown, tag mlflow.note.content
  Pairs tags{};
  bool source_tags = true;                   ///< user, source name and type, git commit, as MLflow's client sets them
  std::optional<bool> log_system_metrics{};  ///< default SystemMetrics::enabled
  Millis end_deadline{5'000};                ///< longest block of the scoped end in ~Run
};

MLOPS_NAMESPACE_END
