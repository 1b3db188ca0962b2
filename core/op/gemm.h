/* gemm.h: matrix products in f32, by oneDNN and our own (gemm_packed.c). */
#ifndef MLUA_OP_GEMM_H
#define MLUA_OP_GEMM_H

#include "base.h"

/*
 * C[M,N] = alpha op(A) op(B) + beta C, row-major, leading dimensions in elements; op transposes
 * where ta or tb. By oneDNN, small ones by our own loops, on the calling thread: callers cut by
 * ml_parallel, chunks, and so the order of every sum, by shapes alone.
 */
ml_err ml__gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/*
 * C[M,N] = alpha A B, added to C where `add`, in f32 or f64, on the calling thread: by our own
 * loops (gemm_packed.c). A's and B's rows lie `down` apart, their columns `right`, in elements; any
 * strides do. Its sums do not depend on cuts of M and N.
 */
ml_err ml__gemm_packed(int dtype, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                       int64_t a_down, int64_t a_right, const void *b, int64_t b_down,
                       int64_t b_right, bool add, void *c, int64_t ldc);
bool ml__gemm_packed_fast(void); /* whether it can be the faster one in f32 on this machine */
/* Whether a product is too small to be worth the start of sgemm: its first call makes its code. */
bool ml__gemm_packed_small(int64_t m, int64_t n, int64_t k);

enum { ML_ACT_NONE, ML_ACT_RELU, ML_ACT_SIGMOID };

/* y[M,N] = act(x[M,K] w[N,K]' + b[N]) by the primitive that was prepared; b may be NULL. */
ml_err ml__gemm_bias_act(int64_t m, int64_t n, int64_t k, const float *x, const float *w,
                         const float *b, int act, float *y);

/* Makes the primitives of a shape ahead, for m and for the last `rest` rows (0: none), so that
   chunks running at once only read the cache. */
ml_err ml__gemm_prepare(int64_t m, int64_t rest, int64_t n, int64_t k, bool bias, int act);

#endif
