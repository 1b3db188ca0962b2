/*
 * mlua_files.h: what the store of results needs of files: digests, facts, locks, many made durable
 * at once.
 *
 * Plain C only: tools/opgen hands this text to LuaJIT's FFI (see mlua.h). Failures are ML_EIO with
 * "path: cause".
 */
#ifndef MLUA_FILES_H
#define MLUA_FILES_H

#include "mlua_store.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/* -- SHA-256, as 64 hexadecimal digits without a zero at the end -- */

void ml_sha256(char *hex, const void *data, int64_t n);
/* Of a regular file's bytes; *size, their number, may be NULL. */
ml_err ml_sha256_file(char *hex, int64_t *size, const char *path);

/* The first 13 digits of 64: 52 bits, as a whole number that a double holds. */
double ml_digest_key(const char *hex);
/* Whether `seal`, of n bytes, is `id`, of 64, and after it the first 16 digits of the digest of the
 * id and `text` in one. */
bool ml_sealed(const char *seal, int64_t n, const char *id, const char *text, int64_t n_text);

/* -- facts -- */

enum { ML_FILE_NONE = 0, ML_FILE_REGULAR = 1, ML_FILE_FOLDER = 2, ML_FILE_OTHER = 3 };

typedef struct ml_file_facts {
  int64_t size, time; /* of the last change, in nanoseconds since 1970 */
  int64_t inode, device;
  int32_t kind, links;
} ml_file_facts;

/* Links are followed; `kind` is ML_FILE_NONE, and this no failure, where there is nothing. */
ml_err ml_file_look(ml_file_facts *out, const char *path);
/* A folder and those above it, where they are missing; for their owner alone (0700). */
ml_err ml_make_folders(const char *path);

/*
 * -- objects: files under their digests, ab/cdef… below a folder that is open as fd --
 *
 * Whether those that a text names are there with their sizes. The text has lines of fields set
 * apart by tabs: name, format, digest, bytes; lines whose digest has not 64 digits name no object,
 * nor do those of the formats "memory" and "found". ML_END: *line, from 1, names one that is not
 * there, or, with *size not -1, has this size.
 */
ml_err ml_folder_open(int *fd, const char *path);
ml_err ml_objects_look(int fd, const char *text, int64_t n, int64_t *line, int64_t *size);
/* Whether all are there, by a thread of its own while the caller goes on; the text is copied. NULL:
 * there is but one thread, or no memory. What begins must end once. */
typedef struct ml_look ml_look;
ml_look *ml_look_begin(int fd, const char *text, int64_t n);
bool ml_look_end(ml_look *look);

/*
 * -- many durable files at once --
 *
 * Files from[i], written and closed, come to be to[i] on the same file system: each is fsynced, all
 * are renamed, then each folder of to[] is fsynced once. After a failure to[i] is whole or as it
 * was before, for every i; what was not renamed stays where it was. A to[i] that is there already
 * is replaced.
 */
ml_err ml_publish(const char *const *from, const char *const *to, int64_t n);

/*
 * -- locks --
 *
 * A file whose bytes stand for what is locked; any byte may be, however small the file is. A lock
 * belongs to the open file (OFD): it goes when this process and those forked from it have closed
 * the file or ended, however they do.
 */
ml_err ml_locks_open(int *fd, const char *path);
/* Shared or alone. ML_END: another one has it, and wait is false. One that is held already changes
 * to what is asked for. */
ml_err ml_lock(int fd, int64_t at, bool shared, bool wait);
ml_err ml_unlock(int fd, int64_t at);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
