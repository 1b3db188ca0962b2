/* gemm_native.h: products by oneDNN's primitive, in dtypes that the CPU multiplies itself. */
#ifndef MLUA_OP_GEMM_NATIVE_H
#define MLUA_OP_GEMM_NATIVE_H

#include "base.h"

/* c[m,n] = a[m,k] b[k,n]: sizes, and distances in elements; c's columns lie side by side. */
typedef struct ml_native { /* int64_t alone: compared as bytes */
  int64_t dtype, m, n, k, a_down, a_right, b_down, b_right, c_down;
} ml_native;

/* The 16-bit dtypes, as bits, that matmul takes as they are on this machine. */
uint32_t ml__native_dtypes(void);
/* Whether MLUA_PRODUCTS=primitive asks for the primitive where another way would do. */
bool ml__native_forced(void);

/*
 * Makes the primitive of a product; *able: whether oneDNN has one here. By one thread, before
 * others execute it. ml__gemm_native_room comes before those of a call (four at most): it may
 * forget all.
 */
void ml__gemm_native_room(void);
ml_err ml__gemm_native_prepare(const ml_native *key, bool *able);

/* The product, on the calling thread. */
ml_err ml__gemm_native(const ml_native *key, const void *a, const void *b, void *c);

#endif
