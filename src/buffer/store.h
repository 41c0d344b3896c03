// Store: the read side over one Kv, shared by the owner's Buffer and by secondaries.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "buffer/buffer.h"
#include "buffer/kv.h"

namespace mlops::buffer {

/// The identity row of an open database. not_found: none yet; failed_precondition: a newer format.
Status read_identity(const Kv& kv, Identity* identity);

/// The reads of `Reader`, over whatever Kv it was set to last.
class Store {
 public:
  Identity identity() const;
  Result<std::vector<model::RunRow>> runs() const;
  Result<model::RunRow> run(const Uid& run) const;
  Result<std::vector<MetricRow>> metrics(const Uid& run) const;
  Status scan(const Uid& run, std::uint64_t from_seq, const std::function<bool(const Record&)>& take,
              const std::function<void(std::uint64_t seq, std::uint64_t count, const Status&)>& damaged) const;
  Result<std::vector<model::Op>> experiments() const;
  Result<std::vector<model::JournalCursor>> cursors() const;
  Result<FileRow> file(const Uid& name) const;
  Result<std::vector<ArtifactRow>> artifacts(const Uid& run) const;
  Result<std::vector<Record>> models() const;
  Result<std::vector<ArtifactRow>> unnamed(std::uint64_t* lost) const;
  Result<std::vector<BlobRow>> blobs() const;

  std::shared_ptr<Kv> kv() const;
  void set(std::shared_ptr<Kv> kv, const Identity& identity);

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Kv> kv_;
  Identity identity_;
};

/// A Reader (or Buffer) whose reads are a Store's.
template <typename Face>
class StoreFace : public Face {
 public:
  Identity identity() const override { return store_.identity(); }
  Result<std::vector<model::RunRow>> runs() const override { return store_.runs(); }
  Result<model::RunRow> run(const Uid& run) const override { return store_.run(run); }
  Result<std::vector<MetricRow>> metrics(const Uid& run) const override { return store_.metrics(run); }
  Status scan(const Uid& run, std::uint64_t from_seq, const std::function<bool(const Record&)>& take,
              const std::function<void(std::uint64_t, std::uint64_t, const Status&)>& damaged) const override {
    return store_.scan(run, from_seq, take, damaged);
  }
  Result<std::vector<model::Op>> experiments() const override { return store_.experiments(); }
  Result<std::vector<model::JournalCursor>> cursors() const override { return store_.cursors(); }
  Result<FileRow> file(const Uid& name) const override { return store_.file(name); }
  Result<std::vector<ArtifactRow>> artifacts(const Uid& run) const override { return store_.artifacts(run); }
  Result<std::vector<Record>> models() const override { return store_.models(); }

 protected:
  Store store_;
};

}  // namespace mlops::buffer
