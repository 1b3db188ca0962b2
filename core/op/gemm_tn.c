/*
 * gemm_tn: C[M,N] = alpha A' B, or C + alpha A' B, for A [K,M], B [K,N], all row-major: a weight's
 * gradient.
 *
 * oneDNN's sgemm reaches two thirds of its own best where A is transposed on AVX2 (62 against 94
 * GFLOP/s a core at 512 x 367 x 2048), since it gathers columns. Here blocks of A (256 rows by 264
 * columns) and of B (256 rows) are copied into panels of 6 and 16 columns, and 6 x 16 tiles of C
 * stay in twelve registers over a block of K. oneDNN is the faster one with AVX-512 and for narrow
 * C, and is asked there (ml__gemm_tn_wins).
 *
 * An element's sum runs over K in blocks of 256 in order, wherever the cuts of M lie: the result
 * does not depend on them, nor on the number of threads.
 *
 * Goto & van de Geijn 2008, ACM TOMS 34 (3).
 */
#include <stdlib.h>
#include <string.h>

#include "op/gemm.h"

enum { MR = 6, NR = 16, KC = 256, MC = 264 };

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

/* acc[MR][NR] = sum over k of a[k][MR] b[k][NR] */
static inline __attribute__((always_inline)) void tile_product(int64_t depth, const float *a,
                                                               const float *b, v8 acc[MR][2]) {
  for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = (v8){0};
  for (int64_t k = 0; k < depth; k++, a += MR, b += NR) {
    v8 b0 = *(const v8 *)b, b1 = *(const v8 *)(b + 8);
    for (int i = 0; i < MR; i++) {
      acc[i][0] += a[i] * b0;
      acc[i][1] += a[i] * b1;
    }
  }
}

/* Columns [0, n) of `depth` rows into panels of `width`, scaled, the last one filled up with zeros.
   Row by row: panel by panel would come back to every cache line, past what the first level
   holds. */
static inline __attribute__((always_inline)) void pack(const int width, int64_t depth, int64_t n,
                                                       float scale, const float *from, int64_t ld,
                                                       float *to) {
  int64_t whole = n / width * width;
  for (int64_t k = 0; k < depth; k++) {
    const float *row = from + k * ld;
    float *at = to + k * width;
    for (int64_t j = 0; j < whole; j += width, at += depth * width)
      for (int i = 0; i < width; i++) at[i] = scale * row[j + i];
    if (whole < n)
      for (int i = 0; i < width; i++) at[i] = whole + i < n ? scale * row[whole + i] : 0;
  }
}

ML_CLONES static void block(int64_t m, int64_t n, int64_t depth, float alpha, const float *a,
                            int64_t lda, const float *b, int64_t ldb, bool add, float *c,
                            int64_t ldc, float *pa, float *pb) {
  pack(MR, depth, m, alpha, a, lda, pa);
  pack(NR, depth, n, 1, b, ldb, pb);
  for (int64_t j = 0; j < n; j += NR, pb += depth * NR) {
    int64_t width = ML_MIN(n - j, (int64_t)NR);
    for (int64_t i = 0; i < m; i += MR) {
      int64_t height = ML_MIN(m - i, (int64_t)MR);
      v8 acc[MR][2];
      tile_product(depth, pa + i * depth, pb, acc);
      if (width == NR) {
#pragma GCC unroll 6
        for (int r = 0; r < MR; r++) {
          if (r >= height) break;
          float *to = c + (i + r) * ldc + j;
          if (add) {
            acc[r][0] += *(v8 *)to;
            acc[r][1] += *(v8 *)(to + 8);
          }
          *(v8 *)to = acc[r][0];
          *(v8 *)(to + 8) = acc[r][1];
        }
        continue;
      }
      float tile[MR][NR];
      memcpy(tile, acc, sizeof tile);
      for (int64_t r = 0; r < height; r++) {
        float *to = c + (i + r) * ldc + j;
        for (int64_t q = 0; q < width; q++) to[q] = add ? to[q] + tile[r][q] : tile[r][q];
      }
    }
  }
}

bool ml__gemm_tn_wins(int64_t m, int64_t n) {
#if defined(__x86_64__)
  return m >= 128 && n >= 64 && !__builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

ml_err ml__gemm_tn(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                   const float *b, int64_t ldb, bool add, float *c, int64_t ldc) {
  int64_t rows = (ML_MIN(m, (int64_t)MC) + MR - 1) / MR * MR, depth = ML_MIN(k, (int64_t)KC);
  int64_t columns = (n + NR - 1) / NR * NR;
  float *pa =
      aligned_alloc(64, (size_t)((rows + columns) * depth + 16) * sizeof(float) / 64 * 64 + 64);
  if (!pa) return ml_fail(ML_ENOMEM, "out of memory: panels of a matrix product");
  float *pb = pa + (rows * depth + 15) / 16 * 16;
  for (int64_t i = 0; i < m; i += MC)
    for (int64_t at = 0; at < k; at += KC)
      block(ML_MIN(m - i, (int64_t)MC), n, ML_MIN(k - at, (int64_t)KC), alpha, a + at * lda + i,
            lda, b + at * ldb, ldb, add || at > 0, c + i * ldc, ldc, pa, pb);
  free(pa);
  return ML_OK;
}
