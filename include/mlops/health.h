// Health: what the SDK is doing, by poll (Client::health) or by callback (Client::on_health).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mlops/options.h"
#include "mlops/status.h"

MLOPS_NAMESPACE_BEGIN

/// The levels of the promise; each includes the ones before it.
enum class Level { buffered, durable, delivered };

enum class LaneState { idle, sending, waiting, auth_blocked, parked, offline };

/// One server this root delivers to. Counts are points and other records since the ledger began.
struct DestinationHealth {
  std::string name;
  std::string uri;  ///< without credentials
  LaneState state = LaneState::idle;
  bool deliverer_here = false;     ///< this process delivers; else another one does, or none
  std::uint64_t delivered = 0;     ///< points
  std::uint64_t waiting = 0;       ///< points buffered and not delivered
  std::uint64_t dead_letters = 0;  ///< records the server refused for good, or that were given up
  std::uint64_t dropped = 0;       ///< points among them
  std::uint64_t retries = 0;
  std::uint64_t requests = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t files_delivered = 0, file_bytes_delivered = 0;  ///< artifacts
  std::uint64_t files_waiting = 0, file_bytes_waiting = 0;      ///< artifacts logged and not delivered
  double lag_seconds = 0;                                       ///< age of the oldest record that waits
  Status last_error;                                            ///< in words, with what to do
  bool reached = false;  ///< it has once answered as an MLflow server; else its address may be mistyped
};

/// Counts are those of all processes that had this slot. Always, per destination: accepted = delivered + merged +
/// dropped["quota"] + its own dropped + waiting. Under the other reasons are points that were never accepted: on a run
/// that has ended (`closed`), of an invalid name or time (`invalid`), above a full journal (`journal_full`), or not
/// readable in a dead process's journal (`damaged`). They are counted by the beat: what SIGKILL leaves uncounted of
/// them is of the last half second.
struct Health {
  Status buffer;               ///< failed while the database cannot be written; the journal holds on meanwhile
  std::uint64_t accepted = 0;  ///< points taken into the journal and collected by the drain
  std::uint64_t merged = 0;    ///< points the server's key (name, ms, step, value, is-NaN) cannot tell apart
  std::uint64_t buffered = 0;  ///< points in RocksDB
  std::uint64_t durable = 0;   ///< points fsynced
  std::map<std::string, std::uint64_t> dropped;  ///< by reason: closed, journal_full, quota, invalid, damaged, rejected
  std::uint64_t journal_bytes = 0;               ///< segments in use
  std::uint64_t journal_cap_bytes = 0;
  std::uint64_t disk_bytes = 0;   ///< of this slot
  std::uint64_t spool_bytes = 0;  ///< of artifacts: what came in, and what is kept until it is delivered or evicted
  std::uint64_t artifacts_waiting = 0;  ///< accepted, and not hashed, named and fsynced yet
  std::uint64_t artifacts_lost = 0;     ///< accepted, and never to be had: Reader::artifacts says why
  std::vector<DestinationHealth> destinations;
};

MLOPS_NAMESPACE_END
