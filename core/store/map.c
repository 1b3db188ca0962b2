/* map: a whole file as memory, counted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/base.h"
#include "fault.h"
#include "map.h"

static ml_err os_error(const char *path, int err, const char *what) {
  return ml_fail(ML_EIO, "%s: %s%s", path, strerror(err), what);
}

static ml_err map_fd(ml_map *map, int fd, const char *path, int flags) {
  struct stat st;
  static char nothing[64] __attribute__((aligned(64)));
  if (fstat(fd, &st)) return os_error(path, errno, "");
  if (S_ISDIR(st.st_mode)) return os_error(path, EISDIR, "");
  if (!S_ISREG(st.st_mode)) return ml_fail(ML_EIO, "%s: not a regular file", path);
  map->size = st.st_size;
  map->data = nothing;
  if (!map->size) return ML_OK;
  bool copy = flags & ML_MAP_COPY;
  int err = ml__fault(ML_FAULT_MAP);
  if (err > 0) return os_error(path, err, " (map)");
  map->data = mmap(NULL, (size_t)map->size, copy ? PROT_READ | PROT_WRITE : PROT_READ,
                   copy ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED, fd, 0);
  if (map->data == MAP_FAILED) return os_error(path, errno, " (map)");
  if (flags & ML_MAP_SEQUENTIAL) madvise(map->data, (size_t)map->size, MADV_SEQUENTIAL);
  return ML_OK;
}

ml_err ml_map_open(ml_map **out, const char *path, int flags) {
  *out = NULL;
  if (!path) return ml_fail(ML_EARG, "path: expected a string, got NULL");
  int fd = -1, err;
  do { /* O_NONBLOCK: a pipe must not make us wait for a writer */
    err = ml__fault(ML_FAULT_OPEN);
    if (err <= 0) err = (fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 ? errno : 0;
  } while (err == EINTR);
  if (err) return os_error(path, err, "");
  ml_map *map = malloc(sizeof *map);
  ml_err code = map ? map_fd(map, fd, path, flags) : ml_fail(ML_ENOMEM, "%s: out of memory", path);
  close(fd);
  if (code) return free(map), code;
  map->refs = 1;
  *out = map;
  return ML_OK;
}

void ml_map_retain(ml_map *map) { __atomic_add_fetch(&map->refs, 1, __ATOMIC_RELAXED); }

void ml_map_release(void *arg) {
  ml_map *map = arg;
  if (!map || __atomic_sub_fetch(&map->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
  if (map->size) munmap(map->data, (size_t)map->size);
  free(map);
}

bool ml__tensor_bytes(int64_t *out, int dtype, int ndim, const int64_t *shape) {
  bool empty = false;
  *out = ml_dtype_size(dtype);
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0 || (shape[i] && __builtin_mul_overflow(*out, shape[i], out))) return false;
    empty |= !shape[i];
  }
  if (empty) *out = 0;
  return true;
}

ml_err ml_map_tensor(ml_ref *out, ml_map *map, int64_t offset, int dtype, int ndim,
                     const int64_t *shape) {
  int64_t size = ml_dtype_size(dtype), bytes;
  if (size <= 0 || ndim < 0 || ndim > ML_MAX_DIM)
    return ml_fail(ML_EFORMAT, "a tensor of dtype %d with %d dimensions", dtype, ndim);
  if (!ml__tensor_bytes(&bytes, dtype, ndim, shape))
    return ml_fail(ML_EFORMAT, "offset %lld: a tensor too large", (long long)offset);
  if (offset < 0 || offset > map->size || bytes > map->size - offset)
    return ml_fail(ML_EFORMAT, "offset %lld: %lld bytes wanted, the file has %lld",
                   (long long)offset, (long long)bytes, (long long)map->size);
  char *data = (char *)map->data + offset;
  if (dtype == ML_BOOL)
    for (int64_t i = 0; i < bytes; i++)
      if ((unsigned char)data[i] > 1)
        return ml_fail(ML_EFORMAT, "offset %lld: expected a bool, 0 or 1, got %d",
                       (long long)(offset + i), (unsigned char)data[i]);
  if (!bytes || (uintptr_t)data % (uintptr_t)size) {
    ML_TRY(ml_tensor_new(out, dtype, ndim, shape));
    if (bytes) memcpy(ml_tensor_info(out)->data, data, (size_t)bytes);
    return ML_OK;
  }
  ml_map_retain(map);
  ml_err code = ml_tensor_adopt(out, data, dtype, ndim, shape, ml_map_release, map);
  if (code) ml_map_release(map);
  return code;
}
