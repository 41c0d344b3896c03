// Place: which roots are on a network file system, and where the node-local half of a slot is.
//
// What is mapped (journals, control page) must not be on a network file system, and MLOPS_JOURNAL may name a better
// disk. So a slot may have a *half* elsewhere: `<folder>/mlops-<uid>/<slot>-<8 hex>/{slot,control,journal/}`. The
// slot's file `place` lists its halves, newest first, with their host: a half that is listed may hold records that are
// not in the slot's database yet. Its file `slot` has the same token: who reads that is on the half's node, whatever it
// is called. No file `place`: everything is in the slot's own folder.
//
// place: "mlops-place 1", then a line "token boot-id host path" for each half.
#pragma once

#include <string>
#include <vector>

#include "mlops/status.h"

namespace mlops::base {

/// Where a process puts the halves it makes, and whether it treats its root as a network one.
struct Placing {
  bool network = false;
  std::string folder{};  // empty: in the slot itself
};

struct Half {
  std::string token, boot, host, path;
  bool here() const;  // this is its node, and it is there
  bool in(const Placing& placing) const;
};

/// `<root>/network` is there: whoever opened this root found it on a network file system, or was told so. It holds for
/// all nodes from then on, also for the one on which the folder is a local one.
bool is_network_root(const std::string& root);
Status mark_network_root(const std::string& root);
/// Two folders up.
std::string root_of_slot(const std::string& slot_dir);

Result<std::vector<Half>> read_place(const std::string& slot_dir);  // none when there is no such file
Status write_place(const std::string& slot_dir, const std::vector<Half>& halves);
/// Those of the slot in this folder, listed or not: a death may have come between a journal and the list.
std::vector<Half> find_halves(const Placing& placing, const std::string& slot_dir);
/// A new one; in no `place` yet. Those that died before they got there are swept.
Result<Half> make_half(const Placing& placing, const std::string& slot_dir);
/// The slot's own folder, to stand in a list before halves that are not empty yet. Not to be removed.
Result<Half> slot_as_half(const std::string& slot_dir);
/// Its folder goes, unless a journal is in it. True when it is gone.
bool remove_half(const Half& half);

/// The folder with the slot's control page and journals. unavailable when that is on another node, which is named.
Result<std::string> local_half(const std::string& slot_dir);
/// Somebody has the slot: on this node by its lock, on another one by its lock or its lease.
bool is_slot_alive(const std::string& slot_dir);

}  // namespace mlops::base
