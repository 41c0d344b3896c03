// Remotes: the names a root gives to servers (`mlops remote`): `<root>/remotes`, a small text file, replaced whole
// under
// `<root>/remotes.lock`; docs/format.md. A name is the folder of the destination's ledgers, so whoever delivers to a
// URI that has a name goes on with the ledgers of that name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "ledger/ledger.h"
#include "mlops/status.h"

namespace mlops::ledger {

/// Letters, digits, '.', '_', '-', not a '.' or '-' in front, at most 80: invalid_argument says so.
Status check_remote_name(std::string_view name);

class Remotes {
 public:
  /// No file: no names. failed_precondition: of a newer version; data_loss: damaged, with the line.
  static Result<Remotes> load(const std::string& root);
  /// Before load, change, save. Waits up to 5 s; unavailable then.
  static Result<base::FileLock> lock(const std::string& root);
  Status save(const std::string& root) const;

  const std::vector<Destination>& all() const { return all_; }
  const Destination* named(std::string_view name) const;
  const Destination* at(std::string_view uri) const;
  void put(const Destination& destination);  // adds, or replaces the URI of that name
  void erase(std::string_view name);

  /// What a URI is called here: its remote's name, else the name made from it (with a hash at its end when a remote of
  /// another URI has that name).
  Destination resolve(const std::string& uri) const;

 private:
  std::vector<Destination> all_;  // sorted by name
};

}  // namespace mlops::ledger
