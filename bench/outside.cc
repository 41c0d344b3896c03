// mlops_bench_outside: what a program's life takes, measured from outside.
//
//   mlops_bench_outside TIMES PROGRAM [ARGUMENT]...
//
// One line per life: wall ms, CPU ms (user and system), peak resident MB (1e6 bytes), wait status. A program of its
// own, and a small one: a process's peak begins with that of whoever spawned it.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>

namespace {

double now_ms() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_nsec);
}

double ms(const timeval& t) { return 1e3 * static_cast<double>(t.tv_sec) + 1e-3 * static_cast<double>(t.tv_usec); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (int times = std::atoi(argv[1]); times > 0; --times) {
    pid_t pid = 0;
    int status = 0;
    rusage used{};
    const double begin = now_ms();
    if (::posix_spawn(&pid, argv[2], &actions, nullptr, argv + 2, environ) != 0) return 1;
    if (::wait4(pid, &status, 0, &used) != pid) return 1;
    const double end = now_ms();
    std::printf("%.3f %.3f %.3f %d\n", end - begin, ms(used.ru_utime) + ms(used.ru_stime),
                static_cast<double>(used.ru_maxrss) * 1024e-6, status);
    std::fflush(stdout);
  }
  return 0;
}
