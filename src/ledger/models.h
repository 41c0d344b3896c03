// ModelState: what one destination has of one logged model. One per uid: a later frame replaces it.
#pragma once

#include <cstdint>
#include <string>

#include "base/uid.h"

namespace mlops::ledger {

struct ModelState {
  enum class State {
    creating = 1,  // logged-models/create was sent: look up mlops.uid before sending it again
    made = 2,      // the server knows it; `root` is where its files go
    ending = 3,    // its end was logged; its files are being delivered
    ready = 4,     // finalized, or recorded in its run
    failed = 5,    // finalized as UPLOAD_FAILED; nowhere recorded where there are no logged models
    refused = 6,   // the server would not make it, `reason` says why
  };
  base::Uid uid, run;
  State state = State::creating;
  std::string name;
  std::string server_id;  // "m-…"; empty: the server has no logged models
  std::string root;       // URI of the folder of its files
  std::uint64_t seq = 0, end_seq = 0, end_ticket = 0;
  bool complete = false;  // by its end
  bool open = false;      // it stays open beyond its run
  std::string history;    // without logged models: its entry in mlflow.log-model.history, JSON
  std::string reason;
  /// Something is left to do once its files are there.
  bool pending() const { return state == State::ending; }
};

}  // namespace mlops::ledger
