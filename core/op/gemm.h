/* gemm.h: matrix products in f32, by oneDNN and our own (gemm_tn.c). */
#ifndef MLUA_OP_GEMM_H
#define MLUA_OP_GEMM_H

#include "base.h"

/*
 * C[M,N] = alpha op(A) op(B) + beta C, row-major, leading dimensions in elements; op transposes
 * where ta or tb. By oneDNN, on the calling thread: callers cut by ml_parallel, chunks, and so
 * the order of every sum, by shapes alone.
 */
ml_err ml__gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/* C[M,N] = alpha A' B, added to C where `add`; A [K,M], B [K,N]; on the calling thread. */
ml_err ml__gemm_tn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                   const float *b, int64_t ldb, bool add, float *c, int64_t ldc);
/* Whether that is faster than ml__gemm on this machine, for the whole C. Its sums do not depend on
   cuts of M. */
bool ml__gemm_tn_wins(int64_t m, int64_t n);

enum { ML_ACT_NONE, ML_ACT_RELU, ML_ACT_SIGMOID };

/* y[M,N] = act(x[M,K] w[N,K]' + b[N]) by the primitive that was prepared; b may be NULL. */
ml_err ml__gemm_bias_act(int64_t m, int64_t n, int64_t k, const float *x, const float *w,
                         const float *b, int act, float *y);

/* Makes the primitives of a shape ahead, for m and for the last `rest` rows (0: none), so that
   chunks running at once only read the cache. */
ml_err ml__gemm_prepare(int64_t m, int64_t rest, int64_t n, int64_t k, bool bias, int act);

#endif
