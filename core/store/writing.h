/* writing: what durable.c lends to others that write (snapshot.c). */
#ifndef ML_WRITING_H
#define ML_WRITING_H

#include "mlua_store.h"

/* Asks the kernel to begin writing these bytes to the disk, and waits for nothing. */
void ml__file_push(const ml_file *f, int64_t offset, int64_t n);
/* Makes a regular file's contents durable. */
ml_err ml__sync_path(const char *path);

#endif
