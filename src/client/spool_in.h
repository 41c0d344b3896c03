// SpoolIn: how an artifact's bytes come into the spool and its record into the journal. The one way for everybody:
// files, media, the files of logged models.
//
// The bytes come first, under a name nobody knows, in a file that is locked until the record is published: whoever
// sweeps the spool passes over a locked file, and knows every published record when it removes one that was not
// locked. What is killed between leaves no record, and its source as it was.
#pragma once

#include <string>
#include <string_view>

#include "client/core.h"

namespace mlops::client {

/// Something to log. `file` or, when that is empty, `bytes`.
struct ArtifactIn {
  std::string path{};  // below the artifact root of the run or, with a parent, of that logged model
  std::string file{};
  std::string_view bytes{};
  base::Uid parent{};           // uid of a logged model; zero: an artifact of the run
  Pairs pairs{};                // of the record (model/artifact.h)
  bool move = false;            // the file is ours: renamed into the spool where that can be, removed elsewhere
  bool later = false;           // the drain reads the file, if it is then still what it is now
  std::string* name = nullptr;  // set: what the record calls the bytes
  bool checked = false;         // the path was made here and not by a user: it is not checked
};

/// Accepted when it returns OK; else nothing is kept, and a file that was to be moved is where it was. Blocks as long
/// as the copy takes (not with `later`); failed_precondition (the run has ended; no regular file; it changed while it
/// was copied), not_found, permission_denied, invalid_argument (the path), resource_exhausted (disk, quota, journal).
/// Thread-safe, also in a forked child.
Status put_artifact(RunState* run, const ArtifactIn& in);

}  // namespace mlops::client
