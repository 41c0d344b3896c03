#include "cli/words.h"

#include <cctype>

#include "cli/text.h"

namespace mlops::cli {

const std::vector<ExitWords>& exit_codes() {
  static const auto* const kCodes = new std::vector<ExitWords>{
      {kOk, "ok"},
      {kDifferences, "differences found, points left undelivered, or something needs mending"},
      {kUsage, "wrong usage"},
      {kNotFound, "not found"},
      {kUnavailable, "server or network out of reach"},
      {kOther, "anything else"},
  };
  return *kCodes;
}

std::string exit_codes_text() {
  std::string out;
  for (const ExitWords& exit : exit_codes()) {
    out += "  " + std::to_string(exit.code) + "  " + exit.means + "\n";
  }
  return out;
}

const std::vector<Variable>& environment_variables() {
  static const auto* const kVariables = new std::vector<Variable>{
      {"MLOPS_HOME", "the root, instead of `.mlops` found upwards from the current folder"},
      {"MLOPS_RUN", "the run that `mlops log` and a program join: its id, or `job`"},
      {"MLOPS_DELIVER", "0, false, no or off: buffer only"},
      {"MLOPS_HOST", "this machine's folder below the root"},
      {"MLOPS_JOURNAL_MIB", "journal of one process, 2 to 1024 MiB"},
      {"MLOPS_SPOOL_MIB", "artifacts kept in one process's slot, in MiB; 0 no limit"},
      {"MLOPS_JOURNAL",
       "a folder of this node for journals, instead of the root (or, on network file systems, of TMPDIR)"},
      {"MLOPS_NETWORK_FS", "1: the root is on a network file system, 0: it is not; else its kind decides"},
      {"MLOPS_ARTIFACT_HOSTS",
       "hosts that get the tracking server's credentials for artifacts, too: host or host:port, with commas"},
      {"MLOPS_LEASE_MS", "how long another node may be silent before it is given up, 60000 unless set"},
      {"MLOPS_EXIT_DEADLINE_MS", "longest time a process's exit waits for delivery"},
      {"MLOPS_LOG", "off, error, warn, info or debug: what the library says on stderr"},
      {"MLFLOW_TRACKING_URI", "where to deliver"},
      {"MLFLOW_EXPERIMENT_NAME", "experiment of new runs"},
      {"MLFLOW_RUN_NAME", "name of new runs"},
      {"MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD", "Basic authentication"},
      {"MLFLOW_TRACKING_TOKEN", "Bearer authentication"},
      {"MLFLOW_TRACKING_SERVER_CERT_PATH", "PEM bundle of authorities instead of the system's"},
      {"REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE", "the same, for who sets these already"},
      {"MLFLOW_TRACKING_CLIENT_CERT_PATH", "PEM with client certificate and key"},
      {"MLFLOW_TRACKING_INSECURE_TLS", "true: certificates are not verified"},
      {"MLFLOW_TRACKING_AWS_SIGV4", "true: requests are signed with AWS keys"},
      {"https_proxy, http_proxy, all_proxy, no_proxy", "as curl reads them"},
  };
  return *kVariables;
}

Spelling spelling(const Option& option) {
  Spelling out;
  for (std::size_t at = 0; at < option.names.size();) {
    std::size_t end = option.names.find(',', at);
    if (end == std::string::npos) end = option.names.size();
    const std::string name = option.names.substr(at, end - at);
    at = end + 1;
    (name.rfind("--", 0) == 0 ? out.full : name.rfind('-', 0) == 0 ? out.brief : out.positional) = name;
  }
  return out;
}

bool is_flag(const Option& option) { return std::holds_alternative<bool*>(option.into); }

bool is_list(const Option& option) { return std::holds_alternative<std::vector<std::string>*>(option.into); }

std::string placeholder(const Option& option) {
  if (!option.choices.empty()) {
    std::string out;
    for (const std::string& choice : option.choices) out += (out.empty() ? "" : "|") + choice;
    return out;
  }
  const Spelling names = spelling(option);
  if (!names.positional.empty()) {
    std::string out = names.positional;
    for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return out;
  }
  if (std::holds_alternative<double*>(option.into)) return "NUMBER";
  if (!std::holds_alternative<std::string*>(option.into) && !is_list(option)) return "N";
  switch (option.takes) {
    case Takes::text:
      break;
    case Takes::run:
      return "RUN";
    case Takes::experiment:
      return "EXPERIMENT";
    case Takes::metric:
      return "METRIC";
    case Takes::file:
      return "FILE";
    case Takes::folder:
      return "FOLDER";
    case Takes::uri:
      return "URI";
  }
  return "TEXT";
}

std::vector<Option> options_of_all(const Command& command) {
  static bool flag = false;
  static auto* const kText = new std::string;
  std::vector<Option> out;
  if (command.run && command.has_root) out.push_back({"--root", kRootHelp, kText, false, Takes::folder});
  if (command.run && !command.json.empty()) out.push_back({"--json", kJsonHelp, &flag});
  out.push_back({"-h,--help", "Print this help message and exit", &flag});
  return out;
}

std::string synopsis(const std::string& parents, const Command& command) {
  std::string out = parents + " " + command.name;
  if (!command.verbs.empty()) {
    std::string verbs;
    for (const Command& verb : command.verbs) verbs += (verbs.empty() ? "" : "|") + verb.name;
    return out + " " + verbs;
  }
  std::string positionals;
  for (const Option& option : command.options) {
    if (spelling(option).positional.empty()) continue;
    const std::string word = placeholder(option) + (is_list(option) ? "..." : "");
    positionals += " " + (option.required ? word : "[" + word + "]");
  }
  return out + " [options]" + positionals;
}

}  // namespace mlops::cli
