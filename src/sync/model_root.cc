#include "sync/model_root.h"

namespace mlops::sync {

using State = ledger::ModelState::State;

Result<std::string> model_root(const ledger::Ledger& ledger, const base::Uid& model) {
  const std::optional<ledger::ModelState> state = ledger.model(model);
  if (!state || state->state == State::creating) {
    return Status(StatusCode::not_found, "its model is not on the server yet");
  }
  if (state->state == State::refused) {
    return Status(StatusCode::failed_precondition, "its model was refused: " + state->reason);
  }
  if (state->root.empty()) {
    return Status(StatusCode::unimplemented, "the server does not say where the model's files belong");
  }
  return state->root;
}

ModelPlace model_place(const ledger::Ledger& ledger, const base::Uid& model) {
  ModelPlace place;
  const std::optional<ledger::ModelState> state = ledger.model(model);
  if (!state || state->state == State::creating || state->state == State::made || state->state == State::ending) {
    place.why = "the model is not all on the server yet";
    return place;
  }
  if (state->state != State::ready) {
    place.state = ModelPlace::State::refused;
    place.why = state->reason.empty() ? "not all files of the model were delivered" : state->reason;
    return place;
  }
  place.state = ModelPlace::State::ready;
  place.source = state->server_id.empty() ? state->root : "models:/" + state->server_id;
  place.run_id = ledger.lane(state->run).server_id;
  place.model_id = state->server_id;
  return place;
}

}  // namespace mlops::sync
