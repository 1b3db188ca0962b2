/* base.h: what every C file of mlua may use: errors, threads, small helpers. */
#ifndef MLUA_BASE_H
#define MLUA_BASE_H

#include "mlua.h"

#define ML_TRY(call)           \
  do {                         \
    ml_err err_ = (call);      \
    if (err_ < 0) return err_; \
  } while (0)

#define ML_MIN(a, b) ((a) < (b) ? (a) : (b))
#define ML_MAX(a, b) ((a) > (b) ? (a) : (b))

/*
 * Loops that the compiler should build for several instruction sets: AVX2 with FMA, AVX-512. By
 * level, not "arch=haswell": that is chosen by the maker's model, and never on AMD. Sanitizers and
 * ifuncs disagree.
 */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ML_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#define ML_CLONES_V3 __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define ML_CLONES
#define ML_CLONES_V3
#endif

/*
 * Runs body(ctx, begin, end) over [0, n) in chunks of `grain`, in parallel where there is more than
 * one chunk. Chunks depend on n and grain alone, never on the number of threads: a body that sums
 * within its chunk gives the same bits on any number of threads.
 */
typedef void (*ml_body)(void *ctx, int64_t begin, int64_t end);
void ml_parallel(int64_t n, int64_t grain, ml_body body, void *ctx);

/* Bytes of memory and swap that the machine has, or that its control group (v2 or v1) allows. */
int64_t ml__machine_memory(void);

/* Philox's words as numbers in [0, 1): one as an f32 of 24 bits, two as an f64 of 53. */
static inline float ml_unit24(uint32_t x) { return (float)(x >> 8) * (1.0f / 16777216.0f); }
static inline double ml_unit53(uint32_t a, uint32_t b) {
  return (double)((((uint64_t)a << 32) | b) >> 11) * (1.0 / 9007199254740992.0);
}

#endif
