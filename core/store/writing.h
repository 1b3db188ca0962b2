/* writing: what durable.c lends to others that write (snapshot.c, append.c). */
#ifndef ML_WRITING_H
#define ML_WRITING_H

#include "mlua_store.h"

/* "path: cause (what)"; a full disk, fd's, also gives bytes needed and free. */
ml_err ml__failed_at(const char *path, int fd, int err, const char *what, int64_t needed);
/* Writes all at an offset, retrying what is short or interrupted. 0, or an errno and bytes left. */
int ml__write_all(int fd, const char *data, int64_t n, int64_t at, int64_t *left);
/* Asks the kernel to begin writing these bytes to the disk, and waits for nothing. */
void ml__file_push(const ml_file *f, int64_t offset, int64_t n);
/* Makes a regular file's contents durable. */
ml_err ml__sync_path(const char *path);

#endif
