// Secondary: another process's database, read without any lock. refresh() follows the owner through reopens, deletes
// and a database made anew.
#include <mutex>

#include "base/file.h"
#include "buffer/buffer.h"
#include "buffer/store.h"

namespace mlops::buffer {
namespace {

class Secondary final : public StoreFace<Reader> {
 public:
  Secondary(std::string dir, std::string scratch) : dir_(std::move(dir)), scratch_(std::move(scratch)) {}
  ~Secondary() override {
    if (std::shared_ptr<Kv> last = store_.kv()) {
      store_.set(nullptr, {});
      last->close();
    }
    base::remove_tree(scratch_).ignore();
  }

  Status open() {
    const std::string database = database_id();
    Result<std::unique_ptr<Kv>> opened =
        Kv::open_secondary(dir_, scratch_ + "/" + std::to_string(opens_++));  // one folder each: two may overlap
    if (!opened.ok()) return opened.status();
    std::shared_ptr<Kv> fresh = std::move(*opened);
    Identity identity;
    Status s = read_identity(*fresh, &identity);
    if (s.code() == StatusCode::not_found)
      return Status(StatusCode::unavailable, "the database in " + dir_ + " is being made; try again");
    if (!s.ok()) return s;
    store_.set(std::move(fresh), identity);
    followed_ = database;
    return {};
  }

  Status refresh() override {
    std::lock_guard<std::mutex> one_at_a_time(refresh_);
    const std::shared_ptr<Kv> now = store_.kv();
    Identity identity;
    // Another database in the same place must not be caught up with: a RocksDB with assertions (Debian's) aborts.
    if (database_id() == followed_) {
      Status s = now->refresh();
      if (s.ok()) s = read_identity(*now, &identity);
      if (s.ok()) {
        store_.set(now, identity);
        return {};
      }
    }
    // What it followed is gone (a new database, or files removed between two looks): start over.
    const int before = opens_ - 1;
    Status s = open();
    if (s.ok()) base::remove_tree(scratch_ + "/" + std::to_string(before)).ignore();
    return s;
  }

 private:
  // RocksDB's own name of the database, written before anything else when one is made.
  std::string database_id() const { return base::read_file(dir_ + "/IDENTITY", 4096).value_or(""); }

  const std::string dir_, scratch_;
  std::string followed_;
  std::mutex refresh_;
  int opens_ = 0;
};

}  // namespace

Result<std::unique_ptr<Reader>> open_secondary(const std::string& slot_dir, const std::string& scratch) {
  auto reader = std::make_unique<Secondary>(slot_dir + "/db", scratch);
  if (Status s = reader->open(); !s.ok()) return s;
  return std::unique_ptr<Reader>(std::move(reader));
}

}  // namespace mlops::buffer
