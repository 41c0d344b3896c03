/* What another node is like, for a program that is loaded with this: built by nodes.py, by what is defined.
 *
 * LOCAL_FLOCK: locks do not reach beyond this node, as on NFS with local_lock, or Lustre with localflock: flock(fd) locks a
 * file of the node's own /tmp with the inode's name.
 * CLOCK_AHEAD_S: the clock of this node is so many seconds ahead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifdef LOCAL_FLOCK
static int shadow[65536]; /* descriptor + 1 */

int flock(int fd, int how) {
  static int (*real)(int, int);
  if (!real) real = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  struct stat st;
  if (fd < 0 || fd >= 65536 || fstat(fd, &st) != 0) return real(fd, how);
  if (!shadow[fd]) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/flock-%lx-%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    const int other = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (other < 0) return -1;
    shadow[fd] = other + 1;
  }
  return real(shadow[fd] - 1, how);
}

int close(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
  if (fd >= 0 && fd < 65536 && shadow[fd]) {
    const int saved = errno;
    real(shadow[fd] - 1);
    shadow[fd] = 0;
    errno = saved;
  }
  return real(fd);
}
#endif

#ifdef CLOCK_AHEAD_S
int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  const int got = real(clock, now);
  if (got == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += CLOCK_AHEAD_S;
  return got;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval* restrict out, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
#endif
