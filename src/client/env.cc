#include "client/env.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/base.h"
#include "base/file.h"
#include "base/lease.h"
#include "client/remotes.h"
#include "http/http.h"
#include "ledger/remotes.h"
#include "model/limits.h"

namespace mlops::client {
namespace fs = std::filesystem;
namespace {

std::string text(const char* name) {
  const char* value = environment_variable(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string lower(std::string value) {
  for (char& c : value) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return value;
}

bool is_no(const std::string& word) {
  const std::string value = lower(word);
  return value == "0" || value == "false" || value == "no" || value == "off";
}

Status out_of_range(const std::string& field, const std::string& range, const std::string& got) {
  return Status(StatusCode::invalid_argument, field + " must be " + range + ", not " + got);
}

Status read_number(const char* name, const std::string& value, std::uint64_t low, std::uint64_t high,
                   std::uint64_t* out) {
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, *out);
  if (error == std::errc() && stop == end && *out >= low && *out <= high) return {};
  return out_of_range(name, "a whole number from " + std::to_string(low) + " to " + std::to_string(high),
                      "\"" + value.substr(0, 40) + "\"");
}

// A host is one folder's name.
bool is_folder_name(const std::string& name) {
  return !name.empty() && name.size() <= 200 && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// MLflow reads seconds, with a fraction.
Status read_seconds(const char* name, const std::string& value, Millis* out) {
  double seconds = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, seconds);
  if (error == std::errc() && stop == end && seconds >= 0.01 && seconds <= 86'400) {
    *out = Millis(std::llround(seconds * 1'000));
    return {};
  }
  return out_of_range(name, "seconds from 0.01 to 86400", "\"" + value.substr(0, 40) + "\"");
}

Status check_system_metrics(const SystemMetrics& options) {
  if (options.interval < Millis(10) || options.interval > Millis(86'400'000)) {
    return out_of_range("SystemMetrics::interval", "10 ms..1 day", std::to_string(options.interval.count()) + " ms");
  }
  if (options.samples_before_logging < 1 || options.samples_before_logging > 1'000'000) {
    return out_of_range("SystemMetrics::samples_before_logging", "1..1,000,000",
                        std::to_string(options.samples_before_logging));
  }
  const std::string& node = options.node_id;
  if (node.empty()) return {};
  if (node.size() > 100 || node.find('/') != std::string::npos ||
      !model::check_key("metric", "system/" + node + "/x")) {
    return out_of_range("SystemMetrics::node_id", "at most 100 letters, digits, '_', '-', '.', ':' and spaces",
                        "\"" + node.substr(0, 100) + "\"");
  }
  return {};
}

// What the code left as it was comes from the environment.
Status complete_system_metrics(const Environment& environment, SystemMetrics* o) {
  const SystemMetrics defaults;
  if (!o->enabled && !environment.system_metrics.empty()) {
    const std::string word = lower(environment.system_metrics);
    if (word != "true" && word != "1" && word != "false" && word != "0") {
      return out_of_range("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true, 1, false or 0",
                          "\"" + environment.system_metrics.substr(0, 40) + "\"");
    }
    o->enabled = word == "true" || word == "1";
  }
  if (o->interval == defaults.interval && !environment.system_interval.empty()) {
    if (Status s = read_seconds("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", environment.system_interval, &o->interval);
        !s.ok()) {
      return s;
    }
  }
  if (o->samples_before_logging == defaults.samples_before_logging && !environment.system_samples.empty()) {
    std::uint64_t number = 0;
    if (Status s = read_number("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", environment.system_samples, 1, 1'000'000,
                               &number);
        !s.ok()) {
      return s;
    }
    o->samples_before_logging = static_cast<std::uint32_t>(number);
  }
  if (o->node_id.empty()) o->node_id = environment.system_node_id;
  return check_system_metrics(*o);
}

Status check_options(const Options& options) {
  if (!is_folder_name(options.host)) {
    return out_of_range("Options::host", "a folder name of 1..200 bytes without '/'", "\"" + options.host + "\"");
  }
  if (options.journal_mib < 2 || options.journal_mib > 1024) {
    return out_of_range("Options::journal_mib", "2..1024", std::to_string(options.journal_mib));
  }
  if (options.beat < Millis(10) || options.beat > Millis(10'000)) {
    return out_of_range("Options::beat", "10 ms..10 s", std::to_string(options.beat.count()) + " ms");
  }
  if (options.full_wait < Millis(0) || options.full_wait > Millis(60'000)) {
    return out_of_range("Options::full_wait", "0..60 s", std::to_string(options.full_wait.count()) + " ms");
  }
  if (options.exit_deadline < Millis(0) || options.exit_deadline > Millis(3'600'000)) {
    return out_of_range("Options::exit_deadline", "0..1 h", std::to_string(options.exit_deadline.count()) + " ms");
  }
  return {};
}

// In MLflow's own client our plug-in serves two kinds of URIs more: mlops:///folder, a root without a server, and
// mlops+http://host, a root that is delivered there. Programs and commands beside it take them for what they say.
void take_plugin_uri(Environment* e) {
  const std::string uri = e->tracking_uri;
  if (uri.rfind("mlops+http", 0) == 0) e->tracking_uri = uri.substr(6);
  if (uri.rfind("mlops:", 0) != 0) return;
  e->tracking_uri.clear();
  std::string folder;
  for (std::size_t i = uri.compare(6, 2, "//") == 0 ? 8 : 6; i < uri.size(); ++i) {
    int byte = 0;
    const char* digits = uri.data() + i + 1;
    if (uri[i] == '%' && i + 2 < uri.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      folder.push_back(static_cast<char>(byte));
      i += 2;
    } else {
      folder.push_back(uri[i]);
    }
  }
  if (folder.empty() || folder == "/") return;
  e->home = folder;
  e->home_from = "MLFLOW_TRACKING_URI";
}

}  // namespace

const char* environment_variable(const char* name) { return std::getenv(name); }

Environment read_environment() {
  Environment e;
  e.home = text("MLOPS_HOME");
  e.host = text("MLOPS_HOST");
  e.attach_run = text("MLOPS_RUN");
  e.deliver = text("MLOPS_DELIVER");
  e.journal_mib = text("MLOPS_JOURNAL_MIB");
  e.spool_mib = text("MLOPS_SPOOL_MIB");
  e.exit_deadline_ms = text("MLOPS_EXIT_DEADLINE_MS");
  e.journal = text("MLOPS_JOURNAL");
  e.network_fs = text("MLOPS_NETWORK_FS");
  e.lease_ms = text("MLOPS_LEASE_MS");
  e.tmpdir = text("TMPDIR");
  e.tracking_uri = text("MLFLOW_TRACKING_URI");
  e.experiment = text("MLFLOW_EXPERIMENT_NAME");
  e.run_id = text("MLFLOW_RUN_ID");
  e.run_name = text("MLFLOW_RUN_NAME");
  e.system_metrics = text("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING");
  e.system_interval = text("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL");
  e.system_samples = text("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING");
  e.system_node_id = text("MLFLOW_SYSTEM_METRICS_NODE_ID");
  e.nvml = text("MLOPS_NVML");
  e.job = read_job(environment_variable);
  take_plugin_uri(&e);
  return e;
}

Credentials credentials_from_environment(Credentials given) {
  return http::complete_credentials(std::move(given), environment_variable);
}

Result<std::string> resolve_root(const std::string& given, const Environment& environment) {
  std::error_code error;
  fs::path path(!given.empty() ? given : environment.home);
  if (path.native().find('\0') != std::string::npos) {
    return Status(StatusCode::invalid_argument, "Options::root holds a NUL byte");
  }
  if (path.empty()) {
    const fs::path here = fs::current_path(error);
    if (error) return Status(StatusCode::failed_precondition, "the current folder cannot be read: " + error.message());
    path = here / ".mlops";
    for (fs::path up = here;; up = up.parent_path()) {
      if (fs::is_directory(up / ".mlops", error)) {
        path = up / ".mlops";
        break;
      }
      if (up == up.parent_path()) break;
    }
  }
  path = fs::absolute(path, error);
  if (error) return Status(StatusCode::failed_precondition, "the root cannot be made absolute: " + error.message());
  fs::path resolved = fs::weakly_canonical(path, error);
  if (error) resolved = path.lexically_normal();
  std::string out = resolved.native();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

namespace {

std::string where_names_are(const std::string& root) {
  const Status names = ledger::Remotes::load(root).status();
  return names.ok() ? "`mlops remote list`" : std::string(names.message());
}

}  // namespace

Result<base::Placing> place_root(const std::string& root, const Environment& e) {
  base::Placing placing;
  if (!e.network_fs.empty() && e.network_fs != "1" && !is_no(e.network_fs)) {
    return out_of_range("MLOPS_NETWORK_FS", "1 or 0", "\"" + e.network_fs.substr(0, 40) + "\"");
  }
  if (!e.lease_ms.empty()) {
    std::uint64_t number = 0;
    if (Status s = read_number("MLOPS_LEASE_MS", e.lease_ms, 600, 3'600'000, &number); !s.ok()) return s;
    base::set_lease_silence(Millis(static_cast<std::int64_t>(number)));
  }
  placing.network =
      base::is_network_root(root) || (e.network_fs.empty() ? base::is_network_fs(root) : !is_no(e.network_fs));
  std::vector<std::string> folders;
  if (!e.journal.empty()) {
    folders = {e.journal};
  } else if (placing.network) {
    if (!e.tmpdir.empty()) folders.push_back(e.tmpdir);
    folders.insert(folders.end(), {"/tmp", "/var/tmp"});
  }
  for (const std::string& folder : folders) {
    const bool good = folder.front() == '/' && folder.find('\n') == std::string::npos;
    if (!good && !e.journal.empty()) return out_of_range("MLOPS_JOURNAL", "an absolute path", "\"" + folder + "\"");
    if (!good || base::is_network_fs(folder) || (e.journal.empty() && !base::exists(folder))) continue;
    placing.folder = folder;
    while (placing.folder.size() > 1 && placing.folder.back() == '/') placing.folder.pop_back();
    return placing;
  }
  if (folders.empty()) return placing;
  return Status(StatusCode::failed_precondition,
                (e.journal.empty() ? "TMPDIR, /tmp and /var/tmp are" : "MLOPS_JOURNAL (" + e.journal + ") is") +
                    std::string(" on a network file system, where journals cannot be mapped: set MLOPS_JOURNAL to a "
                                "folder on a disk of this node"));
}

Result<std::string> resolve_uri(const std::string& given, const Environment& environment, const std::string& root) {
  const std::string& uri = given.empty() ? environment.tracking_uri : given;
  if (uri.empty()) return std::string();
  if (uri.find("://") == std::string::npos) {
    if (const std::string named = uri_of_name(root, uri); !named.empty()) return named;
  }
  Result<std::string> checked = http::check_uri(uri);
  if (checked.ok()) return checked;
  const bool word = ledger::check_remote_name(uri).ok();
  std::string wrong(checked.status().message());  // "tracking URI '…': …"
  if (given.empty() && wrong.compare(0, 12, "tracking URI") == 0) wrong.replace(0, 12, "MLFLOW_TRACKING_URI");
  return Status(
      checked.status().code(),
      wrong + (word ? "; nor is it the name of a remote here (" + where_names_are(root) + ")" : std::string()));
}

Result<Options> complete_options(Options o, const Environment& environment) {
  const Options defaults;
  Result<std::string> root = resolve_root(o.root, environment);
  if (!root.ok()) return root.status();
  o.root = *root;
  Result<std::string> uri = resolve_uri(o.tracking_uri, environment, o.root);
  // A variable that names no server of ours is no matter to a client that delivers nowhere.
  if (!uri.ok() && (o.deliver || !o.tracking_uri.empty())) return uri.status();
  o.tracking_uri = uri.ok() ? *uri : std::string();
  if (o.deliver && is_no(environment.deliver)) o.deliver = false;
  if (o.host.empty()) o.host = environment.host;
  if (o.host.empty()) o.host = base::host_name();
  std::uint64_t number = 0;
  if (o.journal_mib == defaults.journal_mib && !environment.journal_mib.empty()) {
    if (Status s = read_number("MLOPS_JOURNAL_MIB", environment.journal_mib, 2, 1024, &number); !s.ok()) return s;
    o.journal_mib = static_cast<std::uint32_t>(number);
  }
  if (o.spool_mib == defaults.spool_mib && !environment.spool_mib.empty()) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
    if (Status s = read_number("MLOPS_SPOOL_MIB", environment.spool_mib, 0, kMost, &number); !s.ok()) return s;
    o.spool_mib = number;
  }
  if (o.exit_deadline == defaults.exit_deadline && !environment.exit_deadline_ms.empty()) {
    if (Status s = read_number("MLOPS_EXIT_DEADLINE_MS", environment.exit_deadline_ms, 0, 3'600'000, &number);
        !s.ok()) {
      return s;
    }
    o.exit_deadline = Millis(static_cast<std::int64_t>(number));
  }
  if (Status s = complete_system_metrics(environment, &o.system_metrics); !s.ok()) return s;
  if (Status s = check_options(o); !s.ok()) return s;
  o.credentials = credentials_from_environment(std::move(o.credentials));
  return o;
}

}  // namespace mlops::client
