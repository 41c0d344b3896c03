#include "drain/rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/base.h"
#include "base/file.h"

extern char** environ;

namespace mlops::drain::test {

Folder::Folder() {
  std::string pattern = testing::TempDir() + "/mlops-drain-XXXXXX";
  path = ::mkdtemp(pattern.data());
}
Folder::~Folder() { base::remove_tree(path).ignore(); }

std::unique_ptr<Rig> Rig::open(const std::string& root, const RigOptions& options, const std::string& slot_dir) {
  auto slot =
      slot_dir.empty() ? acquire_slot(root, "host", {}, options.placing) : acquire_slot_at(slot_dir, options.placing);
  if (!slot.ok()) {
    ADD_FAILURE() << slot.status().to_string();
    return nullptr;
  }
  auto rig = std::make_unique<Rig>();
  rig->dir = (*slot)->dir;
  rig->control = (*slot)->control();
  (*slot)->control_map.leak();  // rig->control is used after the drain, too
  auto map = base::Mapping::open((*slot)->local + "/control", true, 4096);
  (*slot)->control_map = std::move(*map);
  const auto bell = std::make_shared<std::atomic<Drain*>>(nullptr);
  if (options.with_writer) {
    rig->core = reinterpret_cast<detail::Core*>(new std::uint64_t[8]);
    journal::WriterOptions w;
    w.slot_dir = (*slot)->local;
    w.journal_mib = options.journal_mib;
    w.full_wait = options.full_wait;
    w.wake = [bell] {
      if (Drain* d = bell->load()) d->wake();
    };
    auto writer = journal::Writer::create(w, rig->control, rig->core);
    if (!writer.ok()) {
      ADD_FAILURE() << writer.status().to_string();
      return nullptr;
    }
    rig->writer = writer->release();
    journal::bind_core(rig->core, rig->writer);
    rig->gate = journal::open_gate(rig->core);
    rig->generation = rig->gate->generation.load();
  }
  if (options.before_drain) options.before_drain(rig.get());
  DrainOptions d;
  d.root = root;
  d.client.beat = options.beat;
  d.client.quota_mib = options.quota_mib;
  d.client.spool_mib = options.spool_mib;
  d.end_dead_runs = options.end_dead_runs;
  rig->drain = Drain::start(std::move(*slot), rig->writer, d);
  bell->store(rig->drain.get());
  return rig;
}

Rig::~Rig() {
  if (drain) close().ignore();
}

base::Uid Rig::start_run(const std::string& name, const base::Uid& uid, std::int64_t number) {
  model::Op start;
  start.run = uid;
  start.kind = model::OpKind::run_start;
  start.time_ms = base::now_ms();
  start.number = number;
  start.key = "experiment";
  start.value = name;
  start.pairs = {{"mlflow.user", "somebody"}};
  EXPECT_TRUE(writer->append(&start).ok());
  return uid;
}

void Rig::op(model::OpKind kind, const base::Uid& run, const std::string& key, const std::string& value,
             std::int64_t number) {
  model::Op o;
  o.run = run;
  o.kind = kind;
  o.time_ms = base::now_ms();
  o.key = key;
  o.value = value;
  o.number = number;
  const Status s = writer->append(&o);
  EXPECT_TRUE(s.ok()) << s.to_string();
}

void Rig::end_run(const base::Uid& run, std::int64_t start) {
  op(model::OpKind::run_end, run, std::to_string(start), {}, static_cast<std::int64_t>(RunStatus::finished));
}

std::uint32_t Rig::key(const base::Uid& run, const std::string& metric) {
  auto k = writer->key(run, metric);
  EXPECT_TRUE(k.ok()) << k.status().to_string();
  return k.ok() ? *k : 0;
}

Status Rig::close() {
  if (writer != nullptr) {
    journal::close_gate(gate);
    writer->close();
  }
  Status s = drain->close(Millis(30'000));
  drain.reset();
  return s;
}

void Rig::in_child() {
  if (drain) drain->after_fork_in_child();
  writer->after_fork_in_child();
}

Contents contents_of(const std::string& slot_dir) {
  Contents out;
  auto opened = buffer::Buffer::open(slot_dir);
  if (!opened.ok()) {
    ADD_FAILURE() << opened.status().to_string();
    return out;
  }
  buffer::Buffer& b = **opened;
  out.identity = b.identity();
  const auto rows = b.runs();
  EXPECT_TRUE(rows.ok());
  for (const model::RunRow& row : *rows) {
    out.rows[row.uid] = row;
    std::map<std::uint32_t, std::string> names;
    const auto metrics = b.metrics(row.uid);
    EXPECT_TRUE(metrics.ok());
    for (const auto& m : *metrics) names[m.metric] = m.name;
    std::uint64_t next = 0;
    const Status s = b.scan(
        row.uid, 1,
        [&](const buffer::Record& r) {
          if (next != 0 && r.seq != next) out.gapless = false;
          next = r.seq + r.count;
          if (!r.is_block) {
            out.ops.push_back(r.op);
            return true;
          }
          for (std::size_t i = 0; i < r.block.size(); ++i) {
            EXPECT_TRUE(names.contains(r.block.metric[i])) << "a block names a metric that has no row";
            out.points.insert({{row.uid.hex(), names[r.block.metric[i]], r.block.step[i]}, r.block.value[i]});
          }
          return true;
        },
        [&](std::uint64_t, std::uint64_t, const Status& why) { ADD_FAILURE() << why.to_string(); });
    EXPECT_TRUE(s.ok()) << s.to_string();
    if (next != 0 && next != row.next_seq) out.gapless = false;
  }
  auto cursors = b.cursors();
  EXPECT_TRUE(cursors.ok());
  out.cursors = *cursors;
  EXPECT_TRUE(b.flush_and_close().ok());
  return out;
}

std::string only_slot(const std::string& root) {
  const auto slots = find_slots(root);
  if (!slots.ok() || slots->size() != 1) {
    ADD_FAILURE() << "expected one slot in " << root;
    return {};
  }
  return slots->front().dir;
}

std::string env(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

pid_t spawn(const std::string& program, const std::map<std::string, std::string>& environment) {
  std::vector<std::string> words;
  for (char** e = environ; *e != nullptr; ++e) {
    if (std::string_view(*e).rfind("GTEST_", 0) != 0) words.emplace_back(*e);
  }
  for (const auto& [key, value] : environment) words.push_back(key + "=" + value);
  std::vector<char*> envp;
  for (std::string& w : words) envp.push_back(w.data());
  envp.push_back(nullptr);
  std::string filter = "--gtest_filter=Program.DISABLED_" + program, also = "--gtest_also_run_disabled_tests",
              self = "/proc/self/exe", brief = "--gtest_brief=1";
  char* argv[] = {self.data(), filter.data(), also.data(), brief.data(), nullptr};
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 1);
    ::execve(argv[0], argv, envp.data());
    ::_exit(127);
  }
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::atomic<std::uint64_t>* shared_words(const std::string& path, std::size_t count) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  EXPECT_EQ(::ftruncate(fd, static_cast<off_t>(count * 8)), 0);
  void* at = ::mmap(nullptr, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return static_cast<std::atomic<std::uint64_t>*>(at);
}

}  // namespace mlops::drain::test
