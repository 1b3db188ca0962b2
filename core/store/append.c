/*
 * append: files that grow by whole lines and stay open: logs, metrics.
 *
 * What could not be written whole is cut off again: no line is ever torn by a full disk. Nothing is
 * synced; who needs that syncs the path (snapshot.c does, with a checkpoint).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/base.h"
#include "fault.h"
#include "writing.h"

struct ml_append {
  char *path;
  int fd;
  int64_t size;
};

void ml_append_close(ml_append *a) {
  if (!a) return;
  if (a->fd >= 0) close(a->fd);
  free(a->path);
  free(a);
}

static int open_end(ml_append *a) {
  struct stat st;
  int err;
  do {
    err = ml__fault(ML_FAULT_OPEN);
    if (err <= 0) err = (a->fd = open(a->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0 ? errno : 0;
  } while (err == EINTR);
  if (err || fstat(a->fd, &st)) return err ? err : errno;
  a->size = st.st_size;
  return 0;
}

ml_err ml_append_open(ml_append **out, const char *path) {
  *out = NULL;
  ml_append *a = path ? calloc(1, sizeof *a) : NULL;
  if (!path) return ml_fail(ML_EARG, "path: expected a string, got NULL");
  if (!a || !(a->path = strdup(path)))
    return free(a), ml_fail(ML_ENOMEM, "%s: out of memory", path);
  a->fd = -1;
  int err = open_end(a);
  if (err) {
    ml_append_close(a);
    return ml_fail(ML_EIO, "%s: %s (open)", path, strerror(err));
  }
  *out = a;
  return ML_OK;
}

ml_err ml_append_write(ml_append *a, const char *data, int64_t n) {
  int64_t left;
  if (!a) return ml_fail(ML_EHANDLE, "append: expected an open file, got NULL");
  int err = ml__write_all(a->fd, data, n, a->size, &left);
  if (err) {
    while (ftruncate(a->fd, a->size) && errno == EINTR) continue;
    return ml__failed_at(a->path, a->fd, err, "write", left);
  }
  a->size += n;
  return ML_OK;
}

int64_t ml_append_size(const ml_append *a) { return a ? a->size : 0; }
