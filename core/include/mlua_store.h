/*
 * mlua_store.h: files that must not be lost, files mapped into memory, safetensors.
 *
 * Plain C only: tools/opgen hands this text to LuaJIT's FFI (see mlua.h). Failures are ML_EIO with
 * "path: cause", or ML_EARG.
 */
#ifndef MLUA_STORE_H
#define MLUA_STORE_H

#include "mlua.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/*
 * -- durable files: the old contents or the new, whole, whatever happens --
 *
 * ml_file_create opens a temporary beside `path`; ml_file_commit writes all, fsyncs, renames it to
 * `path` and fsyncs the directory. Commit, finish and abort end the handle, whatever they return.
 * A write, resize or fsync that failed is remembered: the commit then refuses, removes the
 * temporary and leaves `path` as it was. Only short writes and EINTR are retried.
 *
 * A symbolic link is followed; an existing file gives its permissions to the new one; anything at
 * `path` but a regular file is refused.
 */
typedef struct ml_file ml_file;

ml_err ml_file_create(ml_file **out, const char *path);
/* Appends, through a buffer. */
ml_err ml_file_write(ml_file *f, const void *data, int64_t n);
/* Writes at an offset and does not move the end that ml_file_write appends to. Threads may call it
 * at once; bytes appended before are written first. */
ml_err ml_file_pwrite(ml_file *f, const void *data, int64_t n, int64_t offset);
/* Sets the file's size: grows with disk space reserved (a full disk is known at once), or cuts. */
ml_err ml_file_resize(ml_file *f, int64_t size);
int64_t ml_file_tell(const ml_file *f); /* where ml_file_write appends next */
ml_err ml_file_commit(ml_file *f);
/* As commit, but syncs nothing: whole or not at all for other processes and after a kill, not after
 * a crash of the machine. For who makes many files durable together, later. */
ml_err ml_file_finish(ml_file *f);
void ml_file_abort(ml_file *f); /* NULL is fine */

/* All of the above for bytes at hand. */
ml_err ml_store_put(const char *path, const void *data, int64_t n);
/* Removes temporaries in `dir` whose writers are dead; *removed may be NULL. */
ml_err ml_store_sweep(const char *dir, int64_t *removed);

/*
 * -- files that grow by lines: one writer, each line whole or not there; nothing is synced --
 */
typedef struct ml_append ml_append;

ml_err ml_append_open(ml_append **out, const char *path); /* made where it is missing */
ml_err ml_append_write(ml_append *a, const char *data, int64_t n);
int64_t ml_append_size(const ml_append *a);
void ml_append_close(ml_append *a); /* NULL is fine */

/*
 * -- mapped files --
 *
 * The whole file, never empty-handed: data is not NULL even if size is 0. Counted: made with one
 * reference, unmapped when the last is released. Safe against a file being replaced by rename (as
 * durable files are); one that is cut short in place while mapped ends in SIGBUS, as any map does.
 */
enum {
  ML_MAP_READ = 0,      /* pages are read-only and shared */
  ML_MAP_COPY = 1,      /* pages may be written; what is written stays in this process */
  ML_MAP_SEQUENTIAL = 2 /* will be read from start to end */
};

typedef struct ml_map {
  void *data;
  int64_t size;
  int64_t refs; /* private */
} ml_map;

ml_err ml_map_open(ml_map **out, const char *path, int flags);
void ml_map_retain(ml_map *map);
void ml_map_release(void *map); /* of the type that ml_tensor_adopt takes; NULL is fine */

/* A tensor over bytes of the map: no copy, unless `offset` is not aligned for the dtype. It holds
 * the map as long as it needs it. ML_EFORMAT if the bytes are not there or a bool is not 0 or 1. */
ml_err ml_map_tensor(ml_ref *out, ml_map *map, int64_t offset, int dtype, int ndim,
                     const int64_t *shape);

/*
 * -- safetensors files: https://github.com/huggingface/safetensors#format --
 *
 * Opening maps the file and checks all of its header; nothing in it is believed, and what is
 * allocated is smaller than the header. Messages are "path: offset N: …", ML_EFORMAT.
 */
typedef struct ml_safetensors ml_safetensors;

typedef struct ml_safetensor {
  const char *name; /* UTF-8, not ended by a zero; valid until the next call with this file */
  int64_t name_len;
  int64_t shape[8];
  int64_t offset, bytes; /* in the file */
  int32_t dtype, ndim;
} ml_safetensor;

ml_err ml_safetensors_open(ml_safetensors **out, const char *path);
int64_t ml_safetensors_count(const ml_safetensors *s);
/* The i-th tensor, from 0, in the order of the data. */
ml_err ml_safetensors_entry(ml_safetensors *s, int64_t i, ml_safetensor *out);
/* Its values, writable: what is written stays in this process. Lives on after the close. */
ml_err ml_safetensors_tensor(ml_safetensors *s, int64_t i, ml_ref *out);
/* The next pair of __metadata__; *at is 0 at first. ML_END when there are no more. */
ml_err ml_safetensors_metadata(ml_safetensors *s, int64_t *at, const char **key, int64_t *key_len,
                               const char **value, int64_t *value_len);
void ml_safetensors_close(ml_safetensors *s); /* NULL is fine */
/* The dtype's name in such files, or NULL. */
const char *ml_safetensors_dtype(int dtype);

/*
 * -- snapshots: a consistent copy of memory, written in the background --
 *
 * ml_snapshot_write copies n pieces of memory into a buffer of its own, which is kept for the next
 * one, and returns. A thread then writes them, one behind the other, to the durable file `path`;
 * syncs the file `also`, where there is one; and writes the durable file `record`: head, the
 * SHA-256 of the pieces as 64 digits, tail, a line end, and a line with the SHA-256 of all before
 * it. Who finds a whole record finds the pieces whole, too. One snapshot has one write at a time.
 */
typedef struct ml_snapshot ml_snapshot;

ml_err ml_snapshot_new(ml_snapshot **out);
ml_err ml_snapshot_write(ml_snapshot *s, const void *const *data, const int64_t *bytes, int64_t n,
                         const char *path, const char *record, const char *head, const char *tail,
                         const char *also);
bool ml_snapshot_busy(const ml_snapshot *s);
/* Waits for the write that is under way, for at most so many seconds (negative: however long), and
 * returns what came of it, once; ML_END: it is under way still. ML_OK where there is none. */
ml_err ml_snapshot_wait(ml_snapshot *s, double seconds);
void ml_snapshot_free(ml_snapshot *s); /* waits; NULL is fine */
/* For tests: the byte at `at` of an open file says what threads of snapshots are at: w (writing),
 * n (syncing, renaming), m (the record) or - (nothing). fd -1: no more. */
void ml_snapshot_tell(int fd, int64_t at);

/*
 * -- faults, for tests --
 *
 * ml_store_fail_at(op, n, err) makes the n-th call of `op` from now on (n >= 1; once) fail with
 * errno `err`; 0 as err makes that write a short one; ML_FAULT_KILL ends the process with SIGKILL
 * just before the call; ML_FAULT_SLOW makes it two seconds late. ML_FAULT_ANY counts all calls.
 * n = 0 disarms; calls are counted either way. The environment says the same before the first call:
 * MLUA_STORE_FAULT=write:3:28 (op:n:errno, op:n:KILL or op:n:SLOW).
 */
enum {
  ML_FAULT_ANY,
  ML_FAULT_OPEN,
  ML_FAULT_WRITE,
  ML_FAULT_RESIZE,
  ML_FAULT_FSYNC,
  ML_FAULT_RENAME,
  ML_FAULT_MAP,
  ML_FAULT_OPS,
  ML_FAULT_KILL = -9,
  ML_FAULT_SLOW = -10
};

void ml_store_fail_at(int op, int64_t n, int err); /* also sets all counts to 0 */
int64_t ml_store_calls(int op);                    /* since the last ml_store_fail_at */

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
