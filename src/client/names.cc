#include "client/names.h"

#include "base/base.h"

namespace mlops::client {
namespace {

constexpr const char* kAdjectives[64] = {
    "able",   "amber",  "ample",  "bold",   "brave",  "breezy", "bright", "calm",   "candid", "clever",  "cool",
    "crisp",  "daring", "deft",   "eager",  "early",  "fair",   "fine",   "fleet",  "fond",   "frank",   "fresh",
    "gentle", "glad",   "golden", "grand",  "hardy",  "honest", "humble", "jolly",  "keen",   "kind",    "lively",
    "loyal",  "lucid",  "mellow", "merry",  "mild",   "modest", "neat",   "nimble", "noble",  "patient", "placid",
    "plucky", "polite", "prime",  "proud",  "quick",  "quiet",  "rapid",  "ready",  "robust", "serene",  "sharp",
    "silent", "sleek",  "smooth", "steady", "sturdy", "sunny",  "swift",  "warm",   "wise"};

constexpr const char* kNouns[64] = {
    "ant",    "badger", "bat",    "bear",  "beaver", "bee",    "bison",  "boar",  "carp",   "cat",   "cod",
    "colt",   "crab",   "crane",  "crow",  "deer",   "dove",   "duck",   "eagle", "eel",    "elk",   "falcon",
    "ferret", "finch",  "fox",    "frog",  "goat",   "goose",  "grouse", "gull",  "hare",   "hawk",  "heron",
    "horse",  "ibex",   "jay",    "koala", "lark",   "lemur",  "lion",   "lynx",  "mole",   "moose", "mouse",
    "newt",   "otter",  "owl",    "panda", "perch",  "pigeon", "puffin", "quail", "rabbit", "raven", "robin",
    "salmon", "seal",   "shrike", "shrew", "snail",  "stork",  "swan",   "trout", "wren"};

}  // namespace

std::string make_run_name(const base::Uid& uid) {
  const std::uint64_t bits = base::hash64(uid.view());
  return std::string(kAdjectives[bits & 63]) + "-" + kNouns[(bits >> 6) & 63] + "-" +
         std::to_string((bits >> 12) % 1000);
}

}  // namespace mlops::client
