/* files: facts, folders and locks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/base.h"
#include "mlua_files.h"

static ml_err os_error(const char *path, int err) {
  return ml_fail(ML_EIO, "%s: %s", path, strerror(err));
}

ml_err ml_file_look(ml_file_facts *out, const char *path) {
  struct stat st;
  memset(out, 0, sizeof *out);
  if (stat(path, &st)) return errno == ENOENT || errno == ENOTDIR ? ML_OK : os_error(path, errno);
  *out = (ml_file_facts){
      .size = st.st_size,
      .time = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
      .inode = (int64_t)st.st_ino,
      .device = (int64_t)st.st_dev,
      .kind = S_ISREG(st.st_mode)   ? ML_FILE_REGULAR
              : S_ISDIR(st.st_mode) ? ML_FILE_FOLDER
                                    : ML_FILE_OTHER,
      .links = (int32_t)st.st_nlink,
  };
  return ML_OK;
}

ml_err ml_make_folders(const char *path) {
  char part[PATH_MAX];
  size_t n = strlen(path);
  if (n == 0 || n >= sizeof part) return os_error(path, n ? ENAMETOOLONG : ENOENT);
  memcpy(part, path, n + 1);
  for (size_t i = 1; i <= n; i++) {
    if (part[i] != '/' && part[i]) continue;
    char end = part[i];
    part[i] = 0;
    if (mkdir(part, 0700) && errno != EEXIST) return os_error(part, errno);
    part[i] = end;
  }
  struct stat st;
  if (stat(path, &st)) return os_error(path, errno);
  return S_ISDIR(st.st_mode) ? ML_OK : os_error(path, ENOTDIR);
}

/* -- objects -- */

ml_err ml_folder_open(int *fd, const char *path) {
  *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return *fd < 0 ? os_error(path, errno) : ML_OK;
}

/* The field at *at, up to a tab or the line's end; moves on behind it. */
static const char *field(const char **at, const char *end, int64_t *n) {
  const char *from = *at, *p = from;
  while (p < end && *p != '\t' && *p != '\n') p++;
  *n = p - from;
  *at = p < end ? p + 1 : p;
  return from;
}

static bool is(const char *text, int64_t n, const char *word) {
  return (size_t)n == strlen(word) && memcmp(text, word, (size_t)n) == 0;
}

/* Whether the object of the line at *at is there, with its size in *size; moves on to the next. */
static bool look(int fd, const char **at, const char *end, int64_t *size) {
  int64_t length, n_format, n_bytes, bytes = 0;
  char path[66];
  struct stat st;
  field(at, end, &length);
  const char *format = field(at, end, &n_format), *digest = field(at, end, &length);
  const char *digits = field(at, end, &n_bytes);
  if (length != 64 || is(format, n_format, "memory") || is(format, n_format, "found")) return true;
  for (int64_t i = 0; i < n_bytes; i++) bytes = bytes * 10 + (digits[i] - '0');
  memcpy(path, digest, 2);
  path[2] = '/';
  memcpy(path + 3, digest + 2, 62);
  path[65] = 0;
  bool there = !fstatat(fd, path, &st, 0) && S_ISREG(st.st_mode);
  *size = there ? st.st_size : -1;
  return *size == bytes;
}

ml_err ml_objects_look(int fd, const char *text, int64_t n, int64_t *line, int64_t *size) {
  const char *at = text, *end = text + n;
  for (*line = 1; at < end; ++*line)
    if (!look(fd, &at, end, size)) return ML_END;
  return ML_OK;
}

struct ml_look {
  int fd;
  int64_t n;
  bool there;
  pthread_t thread;
  char text[];
};

static void *look_aside(void *arg) {
  ml_look *l = arg;
  int64_t line, size;
  l->there = ml_objects_look(l->fd, l->text, l->n, &line, &size) == ML_OK;
  return NULL;
}

ml_look *ml_look_begin(int fd, const char *text, int64_t n) {
  ml_look *l = ml_threads() > 1 ? malloc(sizeof *l + (size_t)n) : NULL;
  if (!l) return NULL;
  memcpy(l->text, text, (size_t)n);
  l->fd = fd;
  l->n = n;
  sigset_t all, before; /* signals are the main thread's */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int err = pthread_create(&l->thread, NULL, look_aside, l);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!err) return l;
  free(l);
  return NULL;
}

bool ml_look_end(ml_look *l) {
  pthread_join(l->thread, NULL);
  bool there = l->there;
  free(l);
  return there;
}

/* -- locks -- */

ml_err ml_locks_open(int *fd, const char *path) {
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  return *fd < 0 ? os_error(path, errno) : ML_OK;
}

static int range(int fd, int64_t at, short type, int command) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
  int err;
  do err = fcntl(fd, command, &lock) ? errno : 0;
  while (err == EINTR);
  return err;
}

ml_err ml_lock(int fd, int64_t at, bool shared, bool wait) {
  int err = range(fd, at, shared ? F_RDLCK : F_WRLCK, wait ? F_OFD_SETLKW : F_OFD_SETLK);
  if (!err) return ML_OK;
  if (!wait && (err == EAGAIN || err == EACCES)) return ML_END;
  return ml_fail(ML_EIO, "lock: %s", strerror(err));
}

ml_err ml_unlock(int fd, int64_t at) {
  int err = range(fd, at, F_UNLCK, F_OFD_SETLK);
  return err ? ml_fail(ML_EIO, "unlock: %s", strerror(err)) : ML_OK;
}
