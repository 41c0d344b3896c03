// DeliverySlot: one slot of a root on its way to a destination, while `deliver` works. Its dead owner's slot is taken
// over (what it left is collected first); a living owner's is read beside it, another node's by what is published
// there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/base.h"
#include "base/place.h"
#include "buffer/buffer.h"
#include "client/attached_files.h"
#include "client/delivery_target.h"
#include "drain/drain.h"
#include "mlops/delivery.h"
#include "sync/engine.h"
#include "sync/turnstile.h"

namespace mlops::client {

/// What all slots of one delivery share. Outlives them.
struct DeliveryShare {
  DeliveryShare(const DeliverOptions& o, Target t)
      : options(o), target(std::move(t)), started(base::steady_ms()), attached(target.destination.name) {}

  /// Somebody wants an end, or its time is over.
  bool stopped() const;

  static constexpr int kAtOnce = 8;       // requests to the server, over all slots
  static constexpr int kFilesAtOnce = 4;  // artifacts on their way, over all slots

  const DeliverOptions& options;
  const Target target;
  const std::int64_t started;
  base::Placing placing;
  const std::shared_ptr<sync::Turnstile> turnstile = std::make_shared<sync::Turnstile>(kAtOnce);
  const std::shared_ptr<sync::Turnstile> upload_turnstile = std::make_shared<sync::Turnstile>(kFilesAtOnce);
  AttachedFiles attached;
};

/// When somebody last took the slot (its lock file is written then), or changed what is to be delivered of it.
std::int64_t changed_at(const std::string& dir, const std::string& destination);

/// One thread at a time.
class DeliverySlot {
 public:
  DeliverySlot(DeliveryShare* share, std::string dir) : share_(share), dir_(std::move(dir)) {}
  ~DeliverySlot() { close(Millis(2'000)); }
  DeliverySlot(const DeliverySlot&) = delete;
  DeliverySlot& operator=(const DeliverySlot&) = delete;

  /// Begins. `alive`: it has an owner, as far as is known; one that comes in between is read beside. not_found: nothing
  /// is buffered there yet. May block for some seconds, while a database opens.
  Status open(bool alive, int max_connections);
  /// Ends within the deadline, and gives an owned slot back; what `changed_at` said just before it did.
  std::int64_t close(Millis deadline);

  /// Taken over, not read beside its owner.
  bool owned() const { return drain_ != nullptr; }
  /// Owned, and nothing will come any more.
  bool settled() const { return owned() && drain_->settled(); }
  /// Where the owner's control page is; empty: owned by us, or on another node.
  const std::string& owners_place() const { return place_; }
  /// What could not be collected of an owned slot's journals.
  Status journals() const { return owned() ? drain_->stats().journals : Status(); }
  /// There was no ledger of this destination when we came, and we are the ones who write it.
  bool made_ledger() const { return makes_ledger_ && engine_->is_deliverer(); }

  /// Everything durable is delivered, as far as can be. Asks the engine after a new beat, and once a second.
  bool is_done();
  /// Done only because what is left is not published: whoever has the slot may deliver it, if we let it.
  bool lacks() const { return lacks_; }
  /// The whole destination has waited for a person (credentials, another server) for three seconds.
  bool needs_somebody();

  const sync::Engine* engine() const { return engine_.get(); }
  sync::Engine* engine() { return engine_.get(); }
  /// Adds what was done here since `open`, and what waits. `intents`: registry writes that wait.
  void add_to(DeliverReport* report, std::uint64_t* intents) const;

 private:
  Status own();
  Status read_beside();
  Status read_outbox();
  Status start_engine(int max_connections);

  DeliveryShare* const share_;
  const std::string dir_;
  std::unique_ptr<drain::Drain> drain_;
  std::string place_;
  base::Mapping control_;
  std::shared_ptr<buffer::Reader> reader_;
  std::unique_ptr<sync::Engine> engine_;
  std::function<std::uint64_t()> durable_beat_;
  std::uint64_t asked_beat_ = 0;  // when the engine was last asked what is new
  std::int64_t asked_at_ = 0;
  bool idle_ = false;                  // it had nothing left of that beat
  bool makes_ledger_ = false;          // there was none when we came
  std::uint64_t points_at_start_ = 0;  // delivered before we came
  std::uint64_t files_at_start_ = 0, file_bytes_at_start_ = 0;
  std::int64_t blocked_since_ = 0;
  std::int64_t lacking_since_ = 0;  // all that is published is delivered, and more is said to be there
  bool lacks_ = false;
};

}  // namespace mlops::client
