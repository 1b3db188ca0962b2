/*
 * durable: the one way to write a file that must not be lost.
 *
 * Temporary in the same directory, write all, fsync, rename, fsync the directory. A failed fsync
 * means that the kernel may have dropped the pages: the file is lost, the previous one is kept,
 * nothing is retried (https://wiki.postgresql.org/wiki/Fsync_Errors).
 *
 * A temporary is .NAME.mlua-PID-N.tmp, and its writer holds a lock on it (OFD: it dies with the
 * process, and is seen from other containers). ml_store_sweep removes those whose lock is free.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../base/base.h"
#include "fault.h"
#include "mlua_files.h"
#include "writing.h"

enum { BUFFER = 1 << 16 };

struct ml_file {
  char *path; /* as the caller gave it: for messages */
  char *name; /* the name to rename to, within dir */
  char temp[NAME_MAX + 1];
  int fd, dir;
  int64_t end;          /* where ml_file_write appends, buffered bytes included */
  int64_t size;         /* asked for by ml_file_resize, or 0: bytes needed, for messages */
  int buffered;         /* bytes in buffer; they belong at end - buffered */
  pthread_mutex_t lock; /* of end, buffered, buffer, cause */
  atomic_int failed;    /* the first failure's code, or 0 */
  char cause[512];
  char buffer[BUFFER];
};

/* -- errors -- */

ml_err ml__failed_at(const char *path, int fd, int err, const char *what, int64_t needed) {
  struct statvfs fs;
  if ((err == ENOSPC || err == EDQUOT) && needed > 0 && !fstatvfs(fd, &fs))
    return ml_fail(ML_EIO, "%s: %s (%s; %lld bytes needed, %lld free)", path, strerror(err), what,
                   (long long)needed, (long long)fs.f_bavail * (long long)fs.f_frsize);
  return ml_fail(ML_EIO, "%s: %s (%s)", path, strerror(err), what);
}

static ml_err os_error(const ml_file *f, int err, const char *what, int64_t needed) {
  return ml__failed_at(f->path, f->dir, err, what, needed);
}

/* Remembers the first failure, with its message, for the commit. Holds no lock. */
static ml_err spoil(ml_file *f, ml_err code) {
  int none = 0;
  pthread_mutex_lock(&f->lock);
  if (atomic_compare_exchange_strong(&f->failed, &none, code))
    snprintf(f->cause, sizeof f->cause, "%s", ml_error());
  pthread_mutex_unlock(&f->lock);
  return code;
}

static ml_err recall(ml_file *f) {
  pthread_mutex_lock(&f->lock);
  ml_err code = ml_fail(f->failed, "%s", f->cause);
  pthread_mutex_unlock(&f->lock);
  return code;
}

/* -- writing -- */

int ml__write_all(int fd, const char *data, int64_t n, int64_t at, int64_t *left) {
  while (n > 0) {
    *left = n;
    int fault = ml__fault(ML_FAULT_WRITE);
    size_t want = (size_t)ML_MIN(n, (int64_t)1 << 30);
    if (fault < 0) want = (want + 1) / 2;
    ssize_t did = fault > 0 ? (errno = fault, -1) : pwrite(fd, data, want, at);
    if (did < 0 && errno == EINTR) continue;
    if (did < 0) return errno;
    if (did == 0) return EIO;
    data += did, n -= did, at += did;
  }
  *left = 0;
  return 0;
}

/* Bytes still needed when `left` of a write at `at` did not fit. */
static int64_t needed(const ml_file *f, int64_t at, int64_t n, int64_t left) {
  return ML_MAX(f->size - (at + n - left), left);
}

static ml_err write_at(ml_file *f, const void *data, int64_t n, int64_t at) {
  int64_t left;
  int err = ml__write_all(f->fd, data, n, at, &left);
  return err ? os_error(f, err, "write", needed(f, at, n, left)) : ML_OK;
}

static ml_err flush_locked(ml_file *f) {
  int n = f->buffered;
  f->buffered = 0;
  return n ? write_at(f, f->buffer, n, f->end - n) : ML_OK;
}

static ml_err append_locked(ml_file *f, const char *data, int64_t n) {
  if (f->buffered + n > BUFFER) ML_TRY(flush_locked(f));
  if (n >= BUFFER) {
    ML_TRY(write_at(f, data, n, f->end));
  } else {
    memcpy(f->buffer + f->buffered, data, (size_t)n);
    f->buffered += (int)n;
  }
  f->end += n;
  return ML_OK;
}

static ml_err usable(ml_file *f, const void *data, int64_t n, int64_t offset) {
  if (!f) return ml_fail(ML_EARG, "file: expected an open file, got NULL");
  if (n < 0 || offset < 0 || n > INT64_MAX - offset || (n && !data))
    return ml_fail(ML_EARG, "%s: cannot write %lld bytes at %lld", f->path, (long long)n,
                   (long long)offset);
  return atomic_load(&f->failed) ? recall(f) : ML_OK;
}

ml_err ml_file_write(ml_file *f, const void *data, int64_t n) {
  ML_TRY(usable(f, data, n, f ? f->end : 0));
  if (!n) return ML_OK;
  pthread_mutex_lock(&f->lock);
  ml_err code = append_locked(f, data, n);
  pthread_mutex_unlock(&f->lock);
  return code ? spoil(f, code) : ML_OK;
}

ml_err ml_file_pwrite(ml_file *f, const void *data, int64_t n, int64_t offset) {
  ML_TRY(usable(f, data, n, offset));
  pthread_mutex_lock(&f->lock);
  ml_err code = flush_locked(f);
  pthread_mutex_unlock(&f->lock);
  if (!code) code = write_at(f, data, n, offset);
  return code ? spoil(f, code) : ML_OK;
}

static int resize(int fd, int64_t size) {
  struct stat st;
  int err;
  do err = ml__fault(ML_FAULT_RESIZE);
  while (err == EINTR);
  if (err > 0) return err;
  if (fstat(fd, &st)) return errno;
  if (size > st.st_size) {
    do err = fallocate(fd, 0, st.st_size, size - st.st_size) ? errno : 0;
    while (err == EINTR);
    if (err != EOPNOTSUPP && err != ENOSYS) return err; /* else this file system cannot reserve */
  }
  do err = ftruncate(fd, size) ? errno : 0;
  while (err == EINTR);
  return err;
}

ml_err ml_file_resize(ml_file *f, int64_t size) {
  ML_TRY(usable(f, f, 0, size));
  pthread_mutex_lock(&f->lock);
  ml_err code = flush_locked(f);
  pthread_mutex_unlock(&f->lock);
  int err = code ? 0 : resize(f->fd, size);
  if (err) code = os_error(f, err, "resize", size);
  if (!code) f->size = size, f->end = ML_MIN(f->end, size);
  return code ? spoil(f, code) : ML_OK;
}

int64_t ml_file_tell(const ml_file *f) { return f ? f->end : 0; }

/* -- opening -- */

static void destroy(ml_file *f) {
  if (!f) return;
  if (f->fd >= 0) close(f->fd);
  if (f->dir >= 0) close(f->dir);
  pthread_mutex_destroy(&f->lock);
  free(f->path);
  free(f->name);
  free(f);
}

static int lock_whole(int fd, int command) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int err;
  do err = fcntl(fd, command, &lock) ? errno : 0;
  while (err == EINTR);
  return err;
}

/* Opens and locks the temporary in f->dir, under a name that nobody has. A sweep may have come
 * between the two and removed it: then once more. */
static int open_temp(ml_file *f, mode_t mode) {
  static atomic_uint serial;
  for (int tries = 0; tries < 1000; tries++) {
    int err = ml__fault(ML_FAULT_OPEN);
    if (err > 0 && err != EINTR) return err;
    if (err > 0) continue;
    snprintf(f->temp, sizeof f->temp, ".%.200s.mlua-%ld-%u.tmp", f->name, (long)getpid(),
             atomic_fetch_add(&serial, 1));
    f->fd = openat(f->dir, f->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (f->fd < 0 && errno != EEXIST && errno != EINTR) return errno;
    if (f->fd < 0) continue;
    lock_whole(f->fd, F_OFD_SETLKW); /* where there are no locks, the sweep goes by the pid */
    struct stat st;
    if (!fstat(f->fd, &st) && st.st_nlink > 0) return 0;
    close(f->fd);
    f->fd = -1;
  }
  return EEXIST;
}

/* Opens the directory of `target` as f->dir and keeps the rest as f->name. */
static ml_err open_directory(ml_file *f, const char *target) {
  const char *slash = strrchr(target, '/');
  char *dir = !slash            ? strdup(".")
              : slash == target ? strdup("/")
                                : strndup(target, (size_t)(slash - target));
  f->name = strdup(slash ? slash + 1 : target);
  if (!dir || !f->name) return free(dir), ml_fail(ML_ENOMEM, "%s: out of memory", f->path);
  int err;
  do {
    err = ml__fault(ML_FAULT_OPEN);
    if (err <= 0) err = (f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ? errno : 0;
  } while (err == EINTR);
  free(dir);
  return err ? ml_fail(ML_EIO, "%s: %s (open its directory)", f->path, strerror(err)) : ML_OK;
}

static ml_err create(ml_file *f, const char *path) {
  struct stat st;
  size_t n = strlen(path);
  if (!n || path[n - 1] == '/') return ml_fail(ML_EIO, "%s: not the name of a file", path);
  bool exists = !stat(path, &st);
  if (exists && !S_ISREG(st.st_mode))
    return ml_fail(ML_EIO, "%s: %s", path,
                   S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a regular file");
  /* Through links; a dangling one is replaced. */
  char *target = exists ? realpath(path, NULL) : NULL;
  ml_err code = open_directory(f, target ? target : path);
  free(target);
  ML_TRY(code);
  int err = open_temp(f, exists ? st.st_mode & 0700 : 0666);
  if (err) return os_error(f, err, "create a temporary beside it", 1);
  if (exists && fchmod(f->fd, st.st_mode & 0777)) err = errno;
  if (err) {
    unlinkat(f->dir, f->temp, 0);
    return os_error(f, err, "set permissions", 0);
  }
  return ML_OK;
}

ml_err ml_file_create(ml_file **out, const char *path) {
  *out = NULL;
  if (!path) return ml_fail(ML_EARG, "path: expected a string, got NULL");
  ml_file *f = malloc(sizeof *f);
  if (!f) return ml_fail(ML_ENOMEM, "%s: out of memory", path);
  memset(f, 0, offsetof(ml_file, buffer));
  f->fd = f->dir = -1;
  pthread_mutex_init(&f->lock, NULL);
  f->path = strdup(path);
  ml_err code = f->path ? create(f, path) : ml_fail(ML_ENOMEM, "%s: out of memory", path);
  if (code) return destroy(f), code;
  *out = f;
  return ML_OK;
}

/* -- closing -- */

void ml_file_abort(ml_file *f) {
  if (!f) return;
  unlinkat(f->dir, f->temp, 0);
  destroy(f);
}

static int sync_fd(int fd) {
  int err;
  do {
    err = ml__fault(ML_FAULT_FSYNC);
    if (err <= 0) err = fsync(fd) ? errno : 0;
  } while (err == EINTR); /* no error has been reported yet: the one case to ask again */
  return err;
}

static ml_err publish(ml_file *f, bool durable) {
  if (atomic_load(&f->failed)) return recall(f);
  ML_TRY(flush_locked(f));
  int err = durable ? sync_fd(f->fd) : 0;
  if (err) return os_error(f, err, "fsync; this file is lost, the previous one is kept", f->end);
  do { /* the descriptor stays open, and so its lock held, until the name has changed */
    err = ml__fault(ML_FAULT_RENAME);
    if (err <= 0) err = renameat(f->dir, f->temp, f->dir, f->name) ? errno : 0;
  } while (err == EINTR);
  return err ? os_error(f, err, "rename", f->end) : ML_OK;
}

static ml_err end_file(ml_file *f, bool durable) {
  if (!f) return ml_fail(ML_EARG, "file: expected an open file, got NULL");
  ml_err code = publish(f, durable);
  if (code) return ml_file_abort(f), code;
  int err = durable ? sync_fd(f->dir) : 0;
  if (err == EINVAL || err == ENOTSUP) err = 0; /* some file systems have no fsync of directories */
  if (err) code = os_error(f, err, "fsync of its directory; written, but a crash may undo it", 0);
  destroy(f);
  return code;
}

ml_err ml_file_commit(ml_file *f) { return end_file(f, true); }

ml_err ml_file_finish(ml_file *f) { return end_file(f, false); }

ml_err ml_store_put(const char *path, const void *data, int64_t n) {
  ml_file *f;
  ML_TRY(ml_file_create(&f, path));
  ml_err code = ml_file_write(f, data, n);
  if (code) return ml_file_abort(f), code;
  return ml_file_commit(f);
}

/* -- many at once -- */

static ml_err failed_on(const char *path, int err, const char *what) {
  return ml_fail(ML_EIO, "%s: %s (%s)", path, strerror(err), what);
}

static int open_retrying(const char *path, int flags) {
  int fd, err;
  do {
    err = ml__fault(ML_FAULT_OPEN);
    fd = err > 0 ? -1 : open(path, flags | O_CLOEXEC);
    if (err <= 0) err = fd < 0 ? errno : 0;
  } while (err == EINTR);
  errno = err > 0 ? err : 0;
  return fd;
}

static ml_err sync_path(const char *path, int flags) {
  int fd = open_retrying(path, flags);
  if (fd < 0) return failed_on(path, errno, "open");
  int err = sync_fd(fd);
  close(fd);
  if (err && (flags & O_DIRECTORY) && (err == EINVAL || err == ENOTSUP)) err = 0;
  return err ? failed_on(path, err, "fsync") : ML_OK;
}

ml_err ml__sync_path(const char *path) { return sync_path(path, O_RDONLY); }

void ml__file_push(const ml_file *f, int64_t offset, int64_t n) {
  sync_file_range(f->fd, offset, n, SYNC_FILE_RANGE_WRITE);
}

/* Asks for the writing of all, so that the first fsync does not wait for itself alone. */
static void begin_writing(const char *const *path, int64_t n) {
  for (int64_t i = 0; n > 1 && i < n; i++) {
    int fd = open(path[i], O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    close(fd);
  }
}

/* The folder of a path, into `dir`. */
static ml_err folder_of(char dir[PATH_MAX], const char *path) {
  const char *slash = strrchr(path, '/');
  size_t n = slash ? (size_t)(slash - path) : 0;
  if (n >= PATH_MAX) return failed_on(path, ENAMETOOLONG, "folder");
  if (!slash) strcpy(dir, ".");
  else if (n == 0) strcpy(dir, "/");
  else memcpy(dir, path, n), dir[n] = 0;
  return ML_OK;
}

ml_err ml_publish(const char *const *from, const char *const *to, int64_t n) {
  char dir[PATH_MAX], earlier[PATH_MAX];
  begin_writing(from, n);
  for (int64_t i = 0; i < n; i++) ML_TRY(sync_path(from[i], O_RDONLY));
  for (int64_t i = 0; i < n; i++) {
    int err;
    do {
      err = ml__fault(ML_FAULT_RENAME);
      if (err <= 0) err = rename(from[i], to[i]) ? errno : 0;
    } while (err == EINTR);
    if (err) return failed_on(to[i], err, "rename");
  }
  for (int64_t i = 0; i < n; i++) {
    bool seen = false;
    ML_TRY(folder_of(dir, to[i]));
    for (int64_t k = 0; k < i && !seen; k++) {
      ML_TRY(folder_of(earlier, to[k]));
      seen = strcmp(dir, earlier) == 0;
    }
    if (!seen) ML_TRY(sync_path(dir, O_RDONLY | O_DIRECTORY));
  }
  return ML_OK;
}

/* -- left-overs -- */

/* .NAME.mlua-PID-N.tmp: true, with the pid. */
static bool temp_name(const char *name, long *pid) {
  const char *mark = NULL, *at = name;
  while ((at = strstr(at, ".mlua-"))) mark = at++;
  unsigned serial;
  int end = 0;
  return name[0] == '.' && mark && sscanf(mark, ".mlua-%ld-%u.tmp%n", pid, &serial, &end) == 2 &&
         end > 0 && !mark[end] && *pid > 0;
}

/* Removes a temporary that nobody writes: whoever holds its lock may decide. */
static bool remove_left_over(int dir, const char *name, long pid) {
  struct stat locked, named;
  int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  int err = lock_whole(fd, F_OFD_SETLK);
  bool busy = err == EAGAIN || err == EACCES || (err && !(kill((pid_t)pid, 0) && errno == ESRCH));
  bool same = !fstat(fd, &locked) && !fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) &&
              S_ISREG(locked.st_mode) && locked.st_ino == named.st_ino;
  bool gone = !busy && same && !unlinkat(dir, name, 0);
  close(fd);
  return gone;
}

ml_err ml_store_sweep(const char *dir, int64_t *removed) {
  int64_t count = 0;
  long pid;
  DIR *d = dir ? opendir(dir) : NULL;
  if (removed) *removed = 0;
  if (!d) return ml_fail(dir ? ML_EIO : ML_EARG, "%s: %s", dir ? dir : "dir", strerror(errno));
  for (struct dirent *e; (e = readdir(d));)
    if (temp_name(e->d_name, &pid)) count += remove_left_over(dirfd(d), e->d_name, pid);
  closedir(d);
  if (removed) *removed = count;
  return ML_OK;
}
