// mlops status: accepted, buffered, durable, delivered, dropped; per destination, with the last error in words and what
// to do about it.
#include <cstdio>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/text.h"

namespace mlops::cli {
namespace {

void put_status(const Status& status, JsonOut* out) {
  out->begin_object().field("code", status_code_name(status.code())).field("message", status.message()).end_object();
}

void print_json(const std::string& root, const Health& h) {
  JsonOut out;
  out.begin_object().field("root", root);
  out.field("accepted", h.accepted).field("merged", h.merged).field("buffered", h.buffered).field("durable", h.durable);
  out.key("dropped").begin_object();
  for (const auto& [reason, count] : h.dropped) out.field(reason, count);
  out.end_object().field("disk_bytes", h.disk_bytes).field("spool_bytes", h.spool_bytes);
  out.field("artifacts_waiting", h.artifacts_waiting).field("artifacts_lost", h.artifacts_lost).key("buffer");
  put_status(h.buffer, &out);
  out.key("destinations").begin_array();
  for (const DestinationHealth& d : h.destinations) {
    out.begin_object().field("name", d.name).field("uri", d.uri).field("state", level_state_text(d.state));
    out.field("delivered", d.delivered)
        .field("waiting", d.waiting)
        .field("dead_letters", d.dead_letters)
        .field("dropped", d.dropped);
    out.field("files_delivered", d.files_delivered).field("file_bytes_delivered", d.file_bytes_delivered);
    out.field("files_waiting", d.files_waiting).field("file_bytes_waiting", d.file_bytes_waiting);
    out.field("retries", d.retries).field("requests", d.requests).field("bytes_sent", d.bytes_sent);
    out.field("lag_seconds", d.lag_seconds).key("last_error");
    put_status(d.last_error, &out);
    out.field("reached", d.reached).field("advice", advice(d)).end_object();
  }
  out.end_array().end_object();
  std::printf("%s\n", out.text().c_str());
}

int print(const Common& common) {
  Result<Reader> reader = Reader::open(common.root);
  if (!reader.ok()) return fail(reader.status());
  Result<Health> health = reader->health();
  if (!health.ok()) return fail(health.status());
  std::uint64_t waiting = 0;
  for (const DestinationHealth& d : health->destinations) waiting += d.waiting + d.files_waiting;
  const int code = waiting == 0 && health->buffer.ok() ? kOk : kDifferences;
  if (common.json) {
    print_json(reader->root(), *health);
    return code;
  }
  std::printf("root      %s (%s)\n", reader->root().c_str(), bytes_text(health->disk_bytes).c_str());
  std::printf("accepted  %s points\nmerged    %s\nbuffered  %s\ndurable   %s\n", count_text(health->accepted).c_str(),
              count_text(health->merged).c_str(), count_text(health->buffered).c_str(),
              count_text(health->durable).c_str());
  std::string dropped;
  for (const auto& [reason, count] : health->dropped) {
    dropped += (dropped.empty() ? "" : ", ") + count_text(count) + " " + reason;
  }
  std::printf("dropped   %s\n", dropped.empty() ? "0" : dropped.c_str());
  if (health->spool_bytes != 0 || health->artifacts_waiting != 0 || health->artifacts_lost != 0) {
    std::printf("spool     %s of artifacts, %s not hashed yet, %s lost%s\n", bytes_text(health->spool_bytes).c_str(),
                count_text(health->artifacts_waiting).c_str(), count_text(health->artifacts_lost).c_str(),
                health->artifacts_lost == 0 ? "" : ": `mlops show` says why");
  }
  if (!health->buffer.ok()) std::printf("buffer    %s\n", health->buffer.to_string().c_str());
  if (health->destinations.empty()) {
    std::printf("\nno destination yet: the buffer is the store; `mlops sync --to URI` delivers\n");
  }
  for (const DestinationHealth& d : health->destinations) {
    std::printf("\n%s\n  state      %s\n  delivered  %s points\n  waiting    %s\n", d.uri.c_str(),
                level_state_text(d.state), count_text(d.delivered).c_str(), count_text(d.waiting).c_str());
    if (d.files_delivered != 0 || d.files_waiting != 0) {
      std::string files = counted(d.files_delivered, "file") + " delivered";
      if (d.files_delivered != 0) files += " (" + bytes_text(d.file_bytes_delivered) + ")";
      if (d.files_waiting != 0) {
        files += ", " + count_text(d.files_waiting) + " waiting (" + bytes_text(d.file_bytes_waiting) + ")";
      }
      std::printf("  files      %s\n", files.c_str());
    }
    if (d.dead_letters != 0) {
      std::printf("  refused    %s, %s of them points: `mlops stuck`\n", counted(d.dead_letters, "record").c_str(),
                  count_text(d.dropped).c_str());
    }
    if (!d.last_error.ok()) std::printf("  last error %s\n", d.last_error.to_string().c_str());
    if (const std::string todo = advice(d); !todo.empty()) std::printf("  what to do %s\n", todo.c_str());
  }
  return code;
}

}  // namespace

Command status_command() {
  Command command{"status", "Accepted, buffered, durable, delivered, dropped; per destination"};
  command.about = "Exits with 1 while points wait for a destination.";
  command.json =
      R"({"root", "accepted", "merged", "buffered", "durable", "dropped": {reason: count}, "disk_bytes", )"
      R"("spool_bytes", "artifacts_waiting", "artifacts_lost", )"
      R"("buffer": {"code", "message"}, "destinations": [{"name", "uri", "state", "delivered", "waiting", )"
      R"("dead_letters", "dropped", "files_delivered", "file_bytes_delivered", "files_waiting", "file_bytes_waiting", )"
      R"("retries", "requests", "bytes_sent", "lag_seconds", "last_error": {"code", "message"}, )"
      R"("reached", "advice"}]})";
  command.examples = {{"mlops status", "how it stands, and what to do about it"},
                      {"mlops status --json | jq .destinations", "the same, for a script"}};
  command.run = print;
  return command;
}

}  // namespace mlops::cli
