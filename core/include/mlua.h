/*
 * mlua.h: the C ABI of libmlua, base and tensors.
 *
 * The headers in core/include are the only list of public functions. tools/opgen reads them, drops
 * comments and preprocessor lines, and hands the rest to LuaJIT's FFI: keep them plain C (no macros
 * in declarations, enum constants written out). Operations are declared by cards (core/op) instead.
 *
 * Every function that can fail returns an ml_err; the message is ml_error(), per thread, one line.
 */
#ifndef MLUA_H
#define MLUA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/* -- errors -- */

typedef int ml_err;

enum {
  ML_OK = 0,
  ML_ENOMEM = -1,      /* memory: message has bytes asked, live, cached */
  ML_ESHAPE = -2,      /* shapes do not fit */
  ML_EDTYPE = -3,      /* dtype not taken here */
  ML_EARG = -4,        /* any other wrong argument */
  ML_EHANDLE = -5,     /* stale, foreign or freed handle */
  ML_EIO = -6,         /* the operating system said no: message has path and cause */
  ML_EFORMAT = -7,     /* a file's contents are wrong: message has file and line or offset */
  ML_ERANGE = -8,      /* an id or index outside its table */
  ML_ESTATE = -9,      /* called at the wrong time */
  ML_EINTERRUPT = -10, /* ml_interrupt said so */
  ML_END = 1,          /* not an error: a sequence is over */
  ML_CALL = 2          /* not an error: a backward waits for a gradient its caller computes */
};

const char *ml_error(void);
/* Set the message and return code. For C callers; `return ml_fail(ML_EARG, "n: expected > 0")`. */
ml_err ml_fail(ml_err code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next operation on a tensor fails with "interrupted!"; or it does not, after all. A signal
 * handler may call it. An operation that runs goes on to its end. */
void ml_interrupt(bool on);
/* What SIGINT, SIGTERM and SIGUSR1 write to standard error before they end the process, at most 255
 * bytes; the latter two with status 75. NULL: they are the system's business again. */
void ml_last_words(const char *text);

/* Signals that ask for an end in good order: from `on` until `off`, SIGTERM, SIGUSR1 and SIGINT are
 * noted and no more; a second SIGINT ends the process at once. ml_stop_signal is the first that
 * came, or 0. `off` puts back what was there before. Calls nest. */
void ml_stop_watch(bool on);
int ml_stop_signal(void);

/* Lines that C says, from any thread: kept, some hundred, until they are taken. */
enum { ML_LOG_ERROR = 1, ML_LOG_WARN, ML_LOG_INFO, ML_LOG_DEBUG, ML_LOG_TRACE };
typedef struct ml_log_line {
  double time; /* seconds since 1970 */
  int32_t level;
  char module[32], origin[32]; /* "data.loader"; the thread: "worker 2", "" for the program's own */
  char text[440];
  int64_t lost; /* lines that found no room since the one taken before */
} ml_log_line;
void ml_log_level(int most);        /* those of higher levels are not made; at first ML_LOG_WARN */
int64_t ml_log_waiting(void);       /* lines to be taken */
bool ml_log_take(ml_log_line *out); /* the oldest; false: there is none */

const char *ml_version(void);
int ml_abi(void);
/* "oneDNN 2.6.3, AVX2": what this build and machine have; for the banner. */
const char *ml_build_info(void);

/* -- threads -- */

int ml_threads(void);
ml_err ml_set_threads(int n); /* n >= 1 */
double ml_clock(void);        /* seconds, monotonic */
int64_t ml_resident(void);    /* bytes of this process resident in memory */

/* -- random numbers: Philox 4x32-10; a draw is named by (seed, stream, counter) -- */

void ml_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);
/* A permutation of 0..n-1 by (seed, stream): Fisher-Yates, the same everywhere. */
void ml_permutation(int64_t *out, int64_t n, uint64_t seed, uint64_t stream);

/* -- tensors -- */

/* Mixed precision from now on: products are computed of this 16-bit dtype, losses in f32 (see
 * core/tensor/promote.c); -1: no more. What it was before. A backward is outside of it. */
int ml_mixed(int dtype);

typedef struct ml_ref {
  uint32_t slot, gen;
} ml_ref;

enum { ML_F64, ML_F32, ML_BF16, ML_F16, ML_I64, ML_I32, ML_U8, ML_BOOL, ML_DTYPES };
enum { ML_MAX_DIM = 8 };

/* What Lua may read of a tensor without a call; valid while the handle is. */
typedef struct ml_info {
  void *data;                  /* first element, offset applied */
  int64_t shape[8], stride[8]; /* strides in elements */
  int64_t count;
  int32_t dtype, ndim;
  int32_t device; /* 0 the CPU */
  bool requires_grad, contiguous, leaf;
} ml_info;

ml_err ml_tensor_new(ml_ref *out, int dtype, int ndim, const int64_t *shape); /* not initialised */
/* Memory that another owns and keeps alive (loader buffers, mapped files). */
ml_err ml_tensor_wrap(ml_ref *out, void *data, int dtype, int ndim, const int64_t *shape);
/* With an owner to release: release(arg) runs when the last view goes; on failure, never. */
ml_err ml_tensor_adopt(ml_ref *out, void *data, int dtype, int ndim, const int64_t *shape,
                       void (*release)(void *), void *arg);
const ml_info *ml_tensor_info(const ml_ref *t); /* NULL if stale */
void ml_tensor_free(const ml_ref *t);           /* stale is fine */
int64_t ml_dtype_size(int dtype);
const char *ml_dtype_name(int dtype);
double ml_dtype_round(int dtype, double value); /* the value as an element of dtype holds it */
ml_err ml_tensor_fill(const ml_ref *t, double value);
/* Says that t's elements were written by other means: a backward that needs the old refuses. */
void ml_tensor_touch(const ml_ref *t);
ml_err ml_tensor_copy(const ml_ref *dst, const ml_ref *src); /* broadcasts, converts */
/* Draws that name no seed or stream of their own (ML_NEXT): the seed given here, and the next of
 * the streams from 0. A replayed step takes the next one, too (mlua_capture.h). */
void ml_seed(uint64_t seed);
uint64_t ml_seed_set(void);
uint64_t ml_next_stream(void);
uint64_t ml_set_stream(uint64_t stream); /* the next one; returns what it was */
enum { ML_NEXT = -1 };
ml_err ml_tensor_uniform(const ml_ref *t, double lo, double hi, uint64_t seed, uint64_t stream);
ml_err ml_tensor_normal(const ml_ref *t, double mean, double sd, uint64_t seed, uint64_t stream);
/* Uniform values of [0, 1) become normal ones within [lo, hi], in place: by the inverse of their
 * distribution. f32 or f64, contiguous. */
ml_err ml_tensor_truncated_normal(const ml_ref *t, double mean, double sd, double lo, double hi);
/* Whole numbers of [lo, hi). */
ml_err ml_tensor_integers(const ml_ref *t, int64_t lo, int64_t hi, uint64_t seed, uint64_t stream);
/* offset in elements. A NaN is always the same: others would pass for other values in Lua. */
ml_err ml_tensor_get(const ml_ref *t, int64_t offset, double *out);
/* All elements as f64 in row order without gaps, for Lua to read: every NaN is the same. */
ml_err ml_tensor_numbers(ml_ref *out, const ml_ref *t);
ml_err ml_tensor_set(const ml_ref *t, int64_t offset, double value);
/* A view with its own shape, strides and offset (elements, from t's first). */
ml_err ml_tensor_view(ml_ref *out, const ml_ref *t, int ndim, const int64_t *shape,
                      const int64_t *stride, int64_t offset);
/* Writes src (broadcast, converted; NULL: the value) into such a view of t. */
ml_err ml_tensor_assign(const ml_ref *t, int ndim, const int64_t *shape, const int64_t *stride,
                        int64_t offset, const ml_ref *src, double value);

/* -- elements by number -- */

/* ML_ESTATE where t must not be written into: it is computed and on the tape, or broadcast. */
ml_err ml_tensor_writable(const ml_ref *t);
/* i64 [n]: the numbers, in row order from 0, of a bool tensor's true elements. */
ml_err ml_mask_ids(ml_ref *out, const ml_ref *mask);
/* Ids (i64 or i32, broadcast) along n axes of these sizes as i64 numbers of their elements. */
ml_err ml_join_ids(ml_ref *out, const ml_ref *ids, int n, const int64_t *sizes);
/* y[i…, r…] = x[ids[i…], r…], the first `axes` axes of x counted as one; off the tape. */
ml_err ml_index_get(ml_ref *out, const ml_ref *x, int axes, const ml_ref *ids);
/* x[ids[i…], r…] = src[i…, r…], broadcast and converted; of an id given twice, the last. Nothing
 * is written where an id is outside. */
ml_err ml_index_put(const ml_ref *x, int axes, const ml_ref *ids, const ml_ref *src);

/* -- scopes: tensors made inside are freed at its end, unless kept -- */

int ml_scope_begin(void); /* its depth, from 1 */
int ml_scope_depth(void);
void ml_scope_end(int depth); /* ends this one and all inside it */
/* Lets t outlive the scopes inside the one at depth (0: all). ML_END: it did so already. */
ml_err ml_scope_keep(const ml_ref *t, int depth);

/* -- memory -- */

typedef struct ml_memory {
  int64_t live, peak, cached; /* bytes */
  int64_t tensors;            /* live handles */
  int64_t held;               /* live bytes, and those of tensors' own records */
  int64_t collect_at;         /* held bytes at which Lua's collector should be run */
} ml_memory;

ml_memory *ml_memory_stats(void);
void ml_memory_trim(void); /* gives cached blocks back */
/* Sets and returns the bytes that tensors may take. 0: what the machine has, or its control group
 * allows, as at first; negative: as before. What asks for more gets ML_ENOMEM at once. */
int64_t ml_memory_limit(int64_t bytes);
/* For tests: the nth allocation from now (elements, headers, records, handles) fails. 0: none. */
void ml_memory_fail_at(int64_t n);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
