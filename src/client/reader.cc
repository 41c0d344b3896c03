// Reader: the public face of view.
#include "mlops/reader.h"

#include <mutex>

#include "client/env.h"
#include "client/lifecycle.h"
#include "drain/slot.h"
#include "view/view.h"

MLOPS_NAMESPACE_BEGIN

struct Reader::Impl {
  std::string root;
  std::mutex mutex;  // a View serves one caller at a time
  std::unique_ptr<view::View> view;
};

Reader::Reader(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Result<Reader> Reader::open(std::string given) {  // NOLINT(performance-unnecessary-value-param): the header says so
  Result<std::string> root = client::resolve_root(given, client::read_environment());
  if (!root.ok()) return root.status();
  Result<std::unique_ptr<view::View>> view = view::View::open(*root);
  if (!view.ok()) return view.status();
  auto impl = std::make_shared<Impl>();
  impl->root = *root;
  impl->view = std::move(*view);
  return Reader(std::move(impl));
}

Result<std::vector<RunSummary>> Reader::runs(const RunQuery& query) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->runs(query);
}

Result<RunSummary> Reader::run(std::string_view id) const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->run(id);
}

Result<Series> Reader::series(std::string_view run_id, std::string_view metric) const {
  client::install_lifecycle();  // columns are read from the database; summaries are not
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->series(run_id, metric);
}

Result<Damage> Reader::scan(std::string_view run_id, const std::function<bool(const PointBatch&)>& take) const {
  client::install_lifecycle();
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->scan(run_id, take);
}

Result<std::vector<Curve>> Reader::curves(std::string_view run_id, const CurveOptions& options, Damage* damage) const {
  client::install_lifecycle();
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->curves(run_id, options, damage);
}

Result<std::vector<ArtifactInfo>> Reader::artifacts(std::string_view run_id) const {
  client::install_lifecycle();
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->artifacts(run_id);
}

Result<std::vector<ModelSummary>> Reader::models() const {
  client::install_lifecycle();
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->models();
}

std::vector<Status> Reader::problems() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->view->problems();
}

Result<Health> Reader::health() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  Result<Health> health = impl_->view->health();
  const Result<std::vector<drain::SlotInfo>> slots = drain::find_slots(impl_->root);
  if (!health.ok() || !slots.ok()) return health;
  for (const drain::SlotInfo& slot : *slots) {
    const drain::SpoolState spool = drain::spool_state(slot.dir);
    health->spool_bytes += spool.bytes;
    health->artifacts_waiting += spool.waiting;
    health->artifacts_lost += spool.lost;
    // What a process says whose disk is full: its summary file is as old as its last write.
    if (health->buffer.ok()) health->buffer = drain::buffer_trouble(slot);
  }
  return health;
}

const std::string& Reader::root() const noexcept { return impl_->root; }

MLOPS_NAMESPACE_END
