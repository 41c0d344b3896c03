// Settings: the precedence of env.cc told in words. Values pass through the same code that a Client uses; this file
// only adds where they come from.
#include "mlops/settings.h"

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/lease.h"
#include "client/env.h"
#include "client/masked.h"
#include "http/http.h"

MLOPS_NAMESPACE_BEGIN

const char* origin_name(Origin origin) noexcept {
  switch (origin) {
    case Origin::code:
      return "option";
    case Origin::environment:
      return "environment";
    case Origin::file:
      return "file";
    case Origin::found:
      return "found";
    case Origin::standard:
      return "default";
  }
  return "default";
}

namespace {

namespace fs = std::filesystem;
using client::Environment;
using client::environment_variable;

std::string variable(const char* name) {
  const char* value = environment_variable(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string yes_no(bool flag) { return flag ? "true" : "false"; }

std::string millis(Millis time) { return std::to_string(time.count()) + " ms"; }

class Teller {
 public:
  explicit Teller(const Options& given) : given_(given), environment_(client::read_environment()) {}

  Result<std::vector<Setting>> tell() {
    Result<std::string> root = client::resolve_root(given_.root, environment_);
    if (!root.ok()) return root.status();
    // A URI that cannot be used is told by itself and does not hide another fault.
    Options rest = given_;
    Environment environment = environment_;
    if (!client::resolve_uri(rest.tracking_uri, environment, *root).ok()) {
      rest.tracking_uri.clear();
      environment.tracking_uri.clear();
    }
    const Result<Options> completed = client::complete_options(rest, environment);
    // Of options that cannot be used the rest is told all the same.
    in_force_ = completed.ok() ? *completed : given_;
    in_force_.root = *root;
    if (!completed.ok()) problem_ = std::string(completed.status().message());
    tell_places();
    tell_options();
    tell_credentials();
    tell_run();
    blame();
    return std::move(out_);
  }

 private:
  void add(const char* name, std::string value, Origin origin, std::string source) {
    out_.push_back({name, std::move(value), origin, std::move(source), ""});
  }

  /// `set`: by the code. `raw`: what the environment says; shown as it is while the options cannot be completed.
  void add(const char* name, bool set, const char* name_of_variable, const std::string& raw, std::string value) {
    const bool from_environment = !set && !raw.empty();
    if (from_environment && !problem_.empty()) value = raw;
    add(name, std::move(value),
        set                ? Origin::code
        : from_environment ? Origin::environment
                           : Origin::standard,
        set ? "" : name_of_variable);
  }

  void tell_places() {
    if (!given_.root.empty()) {
      add("root", in_force_.root, Origin::code, "");
    } else if (!environment_.home.empty()) {
      add("root", in_force_.root, Origin::environment, environment_.home_from);
    } else {
      std::error_code error;
      const bool there = fs::is_directory(in_force_.root, error);
      add("root", in_force_.root, there ? Origin::found : Origin::standard,
          there ? fs::path(in_force_.root).parent_path().native() : "MLOPS_HOME");
    }
    add("host", !given_.host.empty(), "MLOPS_HOST", environment_.host,
        in_force_.host.empty() ? "of the machine" : in_force_.host);
    const std::string uri = given_.tracking_uri.empty() ? environment_.tracking_uri : given_.tracking_uri;
    add("tracking_uri", client::masked_uri(uri),
        !given_.tracking_uri.empty() ? Origin::code
        : uri.empty()                ? Origin::standard
                                     : Origin::environment,
        given_.tracking_uri.empty() ? "MLFLOW_TRACKING_URI" : "");
    if (const Result<std::string> checked = client::resolve_uri(given_.tracking_uri, environment_, in_force_.root);
        !checked.ok()) {
      out_.back().problem = std::string(checked.status().message());
    }
    const Result<base::Placing> placing = client::place_root(in_force_.root, environment_);
    std::string journal = "in the root", network = yes_no(base::is_network_root(in_force_.root));
    if (placing.ok()) {
      if (!placing->folder.empty()) journal = placing->folder;
      network = yes_no(placing->network);
    }
    add("journal", false, "MLOPS_JOURNAL", environment_.journal, journal);
    if (!placing.ok()) out_.back().problem = std::string(placing.status().message());
    add("network_fs", false, "MLOPS_NETWORK_FS", environment_.network_fs, network);
    add("lease", false, "MLOPS_LEASE_MS", environment_.lease_ms, millis(base::lease_silence()));
    add("deliver", !given_.deliver, "MLOPS_DELIVER", environment_.deliver, yes_no(in_force_.deliver));
  }

  void tell_options() {
    const Options defaults;
    const Options& o = in_force_;
    add("when_full", given_.when_full != defaults.when_full, "", "", o.when_full == WhenFull::wait ? "wait" : "drop");
    add("full_wait", given_.full_wait != defaults.full_wait, "", "", millis(o.full_wait));
    add("journal_mib", given_.journal_mib != defaults.journal_mib, "MLOPS_JOURNAL_MIB", environment_.journal_mib,
        std::to_string(o.journal_mib));
    add("beat", given_.beat != defaults.beat, "", "", millis(o.beat));
    add("retention_mib", given_.retention_mib != defaults.retention_mib, "", "", std::to_string(o.retention_mib));
    add("retention_days", given_.retention_days != defaults.retention_days, "", "", std::to_string(o.retention_days));
    add("quota_mib", given_.quota_mib != defaults.quota_mib, "", "",
        o.quota_mib == 0 ? "none" : std::to_string(o.quota_mib));
    add("spool_mib", given_.spool_mib != defaults.spool_mib, "MLOPS_SPOOL_MIB", environment_.spool_mib,
        o.spool_mib == 0 ? "none" : std::to_string(o.spool_mib));
    add("exit_deadline", given_.exit_deadline != defaults.exit_deadline, "MLOPS_EXIT_DEADLINE_MS",
        environment_.exit_deadline_ms, millis(o.exit_deadline));
    const SystemMetrics& given = given_.system_metrics;
    add("system_metrics.enabled", given.enabled.has_value(), "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
        environment_.system_metrics, yes_no(o.system_metrics.enabled.value_or(false)));
    add("system_metrics.interval", given.interval != defaults.system_metrics.interval,
        "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", environment_.system_interval, millis(o.system_metrics.interval));
    add("system_metrics.samples_before_logging",
        given.samples_before_logging != defaults.system_metrics.samples_before_logging,
        "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", environment_.system_samples,
        std::to_string(o.system_metrics.samples_before_logging));
    add("system_metrics.node_id", !given.node_id.empty(), "MLFLOW_SYSTEM_METRICS_NODE_ID", environment_.system_node_id,
        o.system_metrics.node_id);
    add("artifact_hosts", false, "MLOPS_ARTIFACT_HOSTS", variable("MLOPS_ARTIFACT_HOSTS"),
        variable("MLOPS_ARTIFACT_HOSTS"));
    add("log", false, "MLOPS_LOG", variable("MLOPS_LOG"),
        variable("MLOPS_LOG").empty() ? "warn" : variable("MLOPS_LOG"));
  }

  /// One text of the credentials: by the code, else by the first variable that has it, else by the file.
  void add_credential(const char* name, const std::string& given, const std::string& in_force, bool secret,
                      std::initializer_list<const char*> variables, bool in_file) {
    Setting setting{name, secret && !in_force.empty() ? "***" : in_force, Origin::standard, *variables.begin(), ""};
    if (!given.empty()) {
      setting.origin = Origin::code;
      setting.source.clear();
    } else if (!in_force.empty()) {
      setting.origin = in_file ? Origin::file : Origin::standard;
      if (in_file) setting.source = "~/.mlflow/credentials";
      for (const char* one : variables) {
        if (variable(one) != in_force) continue;
        setting.origin = Origin::environment;
        setting.source = one;
        break;
      }
    }
    out_.push_back(std::move(setting));
  }

  void tell_credentials() {
    const Credentials c = client::credentials_from_environment(given_.credentials);
    const Credentials& given = given_.credentials;
    const bool aws = c.aws_sigv4;
    add_credential("credentials.username", given.username, c.username, aws,
                   {aws ? "AWS_ACCESS_KEY_ID" : "MLFLOW_TRACKING_USERNAME"}, !aws);
    add_credential("credentials.password", given.password, c.password, true,
                   {aws ? "AWS_SECRET_ACCESS_KEY" : "MLFLOW_TRACKING_PASSWORD"}, !aws);
    add_credential("credentials.token", given.token, c.token, true,
                   {aws ? "AWS_SESSION_TOKEN" : "MLFLOW_TRACKING_TOKEN"}, false);
    add("credentials.token_callback", static_cast<bool>(given.token_callback), "", "",
        yes_no(static_cast<bool>(given.token_callback)));
    add("credentials.aws_sigv4", given.aws_sigv4, "MLFLOW_TRACKING_AWS_SIGV4", variable("MLFLOW_TRACKING_AWS_SIGV4"),
        yes_no(aws));
    add_credential("credentials.aws_region", given.aws_region, c.aws_region, false,
                   {"AWS_REGION", "AWS_DEFAULT_REGION"}, false);
    add_credential("credentials.ca_file", given.ca_file, c.ca_file, false,
                   {"MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"},
                   false);
    add_credential("credentials.client_cert", given.client_cert, c.client_cert, false,
                   {"MLFLOW_TRACKING_CLIENT_CERT_PATH"}, false);
    add("credentials.insecure_tls", given.insecure_tls, "MLFLOW_TRACKING_INSECURE_TLS",
        variable("MLFLOW_TRACKING_INSECURE_TLS"), yes_no(c.insecure_tls));
    add("credentials.allow_plain_http", given.allow_plain_http, "", "", yes_no(c.allow_plain_http));
    add("credentials.proxy", client::masked_proxy(c.proxy),
        !given.proxy.empty() ? Origin::code
        : c.proxy.empty()    ? Origin::standard
                             : Origin::environment,
        given.proxy.empty() ? "https_proxy, http_proxy, no_proxy" : "");
  }

  void tell_run() {
    const Environment& e = environment_;
    add("experiment", false, "MLFLOW_EXPERIMENT_NAME", e.experiment, e.experiment.empty() ? "Default" : e.experiment);
    add("run_name", false, "MLFLOW_RUN_NAME", e.run_name, e.run_name);
    add("run_id", false, "MLFLOW_RUN_ID", e.run_id, e.run_id);
    add("attach_run", false, "MLOPS_RUN", e.attach_run, e.attach_run);
  }

  /// The one problem that the options had stands beside the setting that its words name.
  void blame() {
    if (problem_.empty()) return;
    for (Setting& setting : out_) {
      const bool by_variable = !setting.source.empty() && problem_.rfind(setting.source + " ", 0) == 0;
      const bool by_field = problem_.rfind("Options::" + setting.name + " ", 0) == 0;
      if (by_variable || by_field) {
        setting.problem = problem_;
        return;
      }
    }
    out_.front().problem = problem_;
  }

  const Options& given_;
  const Environment environment_;
  Options in_force_;
  std::string problem_;
  std::vector<Setting> out_;
};

}  // namespace

Result<std::vector<Setting>> settings(const Options& given) { return Teller(given).tell(); }

MLOPS_NAMESPACE_END
