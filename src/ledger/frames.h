// Frames: the bytes of the ledger's files. A file is `MLOPSLG1` and then frames: length (u32), XXH3-64 of the payload
// seeded with the frame's offset (u64), payload (protobuf-lite, ledger.proto). The first frame that does not verify is
// the end: a torn tail, or the place where another process is appending right now.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/ledger.h"
#include "ledger/requests.h"

namespace mlops::ledger {

inline constexpr std::string_view kMagic = "MLOPSLG1";
inline constexpr std::string_view kLiveMagic = "MLOPSLV1";
inline constexpr std::string_view kRequestMagic = "MLOPSRQ1";
inline constexpr std::size_t kFrameHeader = 12;
inline constexpr std::size_t kMaxFrame = 1u << 20;
inline constexpr std::size_t kMaxText = 4096;  // of a parked reason, a dead letter's words: longer ones are cut

struct FrameSink {
  std::function<void(Destination)> destination;
  std::function<void(Lane, std::size_t frame_bytes)> lane;
  std::function<void(DeadLetter, std::size_t frame_bytes)> dead;
  std::function<void(IntentResult, std::size_t frame_bytes)> intent;
  std::function<void(ArtifactPlace, std::size_t frame_bytes)> artifacts;
  std::function<void(Finished)> finished;
  std::function<void(Upload, std::vector<std::uint32_t> numbers, std::size_t frame_bytes)> upload;
  std::function<void(ModelState, std::size_t frame_bytes)> model;
};

/// The frame as it stands at `offset` of the file.
std::string destination_frame(const Destination& destination, std::uint64_t offset);
std::string lane_frame(const Lane& lane, std::uint64_t offset);
std::string dead_frame(const DeadLetter& letter, std::uint64_t offset);
std::string intent_frame(const IntentResult& result, std::uint64_t offset);
std::string artifacts_frame(const ArtifactPlace& place, std::uint64_t offset);
std::string finished_frame(const Finished& finished, std::uint64_t offset);
/// All of an upload, in as many frames as it takes.
std::string upload_frames(const Upload& upload, std::uint64_t offset);
/// That a part is there: upload.parts[index].
std::string part_frame(const Upload& upload, std::size_t index, std::uint64_t offset);
/// That no upload of this record is under way any more.
std::string no_upload_frame(const Uid& run, std::uint64_t seq, std::uint64_t offset);
std::string model_frame(const ModelState& model, std::uint64_t offset);

/// Calls the sink for each frame of a whole file; returns where the last good frame ends (0: no ledger at all).
/// Frames of a kind this version does not know are passed over.
std::size_t parse_frames(std::string_view file, const FrameSink& sink);

std::string encode_requests(const std::vector<Request>& requests);  // at most kMaxRequests
std::optional<std::vector<Request>> decode_requests(std::string_view bytes);

std::string encode_live(const LiveState& live);
std::optional<LiveState> decode_live(std::string_view bytes);

}  // namespace mlops::ledger
