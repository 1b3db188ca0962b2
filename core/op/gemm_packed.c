/*
 * gemm_packed: C[M,N] = alpha A B, or C + alpha A B, in f32 or f64, for A and B of any strides.
 *
 * Blocks of A (KC deep) and of B are copied into panels of MR rows and of two vectors' columns, and
 * tiles of C stay in twelve registers over a block of K: strides matter to the copies alone. oneDNN
 * 2.6 has no product in f64; and its sgemm on AVX2 reads its inputs where they lie, at half its own
 * best speed where they are transposed or their rows lie a power of two apart (37 against 80
 * GFLOP/s a core at 128 x 1024 x 1024; here 80 to 90 at all of these).
 *
 * An element's sum runs over K in blocks of KC in order, wherever the cuts of M and N lie: the
 * result does not depend on them, nor on the number of threads.
 *
 * Goto & van de Geijn 2008, ACM TOMS 34 (3).
 */
#include <stdlib.h>
#include <string.h>

#include "op/gemm.h"

enum {
  MR = 6,
  KC = 256,
  MC = 264,  /* rows of a block of A, in f32; half as many in f64: 270 KB, of the second level */
  NC = 2048, /* columns of a block of B */
  WIDEST = 16
};

#define INLINE static inline __attribute__((always_inline))

typedef float v8f __attribute__((vector_size(32), aligned(4), may_alias));
typedef double v4d __attribute__((vector_size(32), aligned(8), may_alias));

/* c[MR][two vectors] = alpha sum over k of a[k][MR] b[k][two vectors], added to c where `add`. */
#define TILE(name, real, vector, lanes)                                                        \
  INLINE void name(int64_t depth, const real *a, const real *b, real alpha, bool add, real *c, \
                   int64_t ldc) {                                                              \
    vector acc[MR][2];                                                                         \
    for (int i = 0; i < MR; i++) acc[i][0] = acc[i][1] = (vector){0};                          \
    for (int64_t k = 0; k < depth; k++, a += MR, b += 2 * lanes) {                             \
      vector b0 = *(const vector *)b, b1 = *(const vector *)(b + lanes);                       \
      for (int i = 0; i < MR; i++) {                                                           \
        acc[i][0] += a[i] * b0;                                                                \
        acc[i][1] += a[i] * b1;                                                                \
      }                                                                                        \
    }                                                                                          \
    for (int i = 0; i < MR; i++, c += ldc) {                                                   \
      acc[i][0] *= alpha;                                                                      \
      acc[i][1] *= alpha;                                                                      \
      if (add) {                                                                               \
        acc[i][0] += *(vector *)c;                                                             \
        acc[i][1] += *(vector *)(c + lanes);                                                   \
      }                                                                                        \
      *(vector *)c = acc[i][0];                                                                \
      *(vector *)(c + lanes) = acc[i][1];                                                      \
    }                                                                                          \
  }
TILE(tile_f32, float, v8f, 8)
TILE(tile_f64, double, v4d, 4)

/* A number of either size, as bits. */
typedef uint32_t w4 __attribute__((may_alias));
typedef uint64_t w8 __attribute__((may_alias));

/*
 * `n` rows (or columns) of `depth` elements, `step` apart with `deep` from one element to the next,
 * into panels of `width`, the last one filled up with zeros. Where they lie side by side (step 1)
 * one element of all at a time, else a panel at a time.
 */
#define PACK(name, word)                                                                      \
  INLINE void name(const int width, int64_t depth, int64_t n, const word *from, int64_t step, \
                   int64_t deep, word *to) {                                                  \
    int64_t whole = n / width * width;                                                        \
    if (step == 1) {                                                                          \
      for (int64_t k = 0; k < depth; k++) {                                                   \
        const word *row = from + k * deep;                                                    \
        word *at = to + k * width;                                                            \
        for (int64_t j = 0; j < whole; j += width, at += depth * width)                       \
          for (int i = 0; i < width; i++) at[i] = row[j + i];                                 \
      }                                                                                       \
    } else {                                                                                  \
      for (int64_t j = 0; j < whole; j += width)                                              \
        for (int64_t k = 0; k < depth; k++)                                                   \
          for (int i = 0; i < width; i++)                                                     \
            to[j * depth + k * width + i] = from[(j + i) * step + k * deep];                  \
    }                                                                                         \
    if (whole == n) return;                                                                   \
    for (int64_t k = 0; k < depth; k++)                                                       \
      for (int i = 0; i < width; i++)                                                         \
        to[whole * depth + k * width + i] =                                                   \
            whole + i < n ? from[(whole + i) * step + k * deep] : 0;                          \
  }
PACK(pack_w4, w4)
PACK(pack_w8, w8)

typedef struct matrix {
  const char *data;
  int64_t down, right; /* strides in elements */
} matrix;

INLINE void pack(const int size, const int width, int64_t depth, int64_t n, const char *from,
                 int64_t step, int64_t deep, void *to) {
  if (size == 4) pack_w4(width, depth, n, (const w4 *)from, step, deep, to);
  else pack_w8(width, depth, n, (const w8 *)from, step, deep, to);
}

INLINE void tile(const int size, int64_t depth, const char *a, const char *b, double alpha,
                 bool add, char *c, int64_t ldc) {
  if (size == 4)
    tile_f32(depth, (const float *)a, (const float *)b, (float)alpha, add, (float *)c, ldc);
  else tile_f64(depth, (const double *)a, (const double *)b, alpha, add, (double *)c, ldc);
}

/* The tiles of m rows, whose panels are `pa`, and of n columns. */
INLINE void tiles(const int size, int64_t m, int64_t n, int64_t depth, double alpha, bool add,
                  const char *pa, const char *pb, char *c, int64_t ldc) {
  const int nr = 64 / size;
  for (int64_t j = 0; j < n; j += nr, pb += depth * nr * size) {
    int64_t width = ML_MIN(n - j, (int64_t)nr);
    for (int64_t i = 0; i < m; i += MR) {
      int64_t height = ML_MIN(m - i, (int64_t)MR);
      char *to = c + (i * ldc + j) * size;
      const char *a = pa + i * depth * size;
      if (width == nr && height == MR) {
        tile(size, depth, a, pb, alpha, add, to, ldc);
        continue;
      }
      _Alignas(32) char edge[MR * WIDEST * 8] = {0};
      for (int64_t r = 0; add && r < height; r++)
        memcpy(edge + r * nr * size, to + r * ldc * size, (size_t)(width * size));
      tile(size, depth, a, pb, alpha, add, edge, nr);
      for (int64_t r = 0; r < height; r++)
        memcpy(to + r * ldc * size, edge + r * nr * size, (size_t)(width * size));
    }
  }
}

/* All of C; pa and pb hold a block of A and of B each. */
INLINE void product(const int size, int64_t m, int64_t n, int64_t k, double alpha, matrix a,
                    matrix b, bool add, char *c, int64_t ldc, char *pa, char *pb) {
  const int64_t mc = MC * 4 / size;
  for (int64_t j = 0; j < n; j += NC) {
    int64_t columns = ML_MIN(n - j, (int64_t)NC);
    for (int64_t l = 0; l < k; l += KC) {
      int64_t depth = ML_MIN(k - l, (int64_t)KC);
      pack(size, 64 / size, depth, columns, b.data + (l * b.down + j * b.right) * size, b.right,
           b.down, pb);
      for (int64_t i = 0; i < m; i += mc) {
        int64_t rows = ML_MIN(m - i, mc);
        pack(size, MR, depth, rows, a.data + (i * a.down + l * a.right) * size, a.down, a.right,
             pa);
        tiles(size, rows, columns, depth, alpha, add || l > 0, pa, pb, c + (i * ldc + j) * size,
              ldc);
      }
    }
  }
}

ML_CLONES static void product_f32(int64_t m, int64_t n, int64_t k, double alpha, matrix a, matrix b,
                                  bool add, char *c, int64_t ldc, char *pa, char *pb) {
  product(4, m, n, k, alpha, a, b, add, c, ldc, pa, pb);
}

ML_CLONES static void product_f64(int64_t m, int64_t n, int64_t k, double alpha, matrix a, matrix b,
                                  bool add, char *c, int64_t ldc, char *pa, char *pb) {
  product(8, m, n, k, alpha, a, b, add, c, ldc, pa, pb);
}

/* A thread's panels, kept for its next product: 2.4 MB at most. */
static char *panels(size_t bytes) {
  static _Thread_local char *kept;
  static _Thread_local size_t size;
  if (bytes <= size) return kept;
  free(kept);
  kept = aligned_alloc(64, bytes);
  size = kept ? bytes : 0;
  return kept;
}

ml_err ml__gemm_packed(int dtype, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                       int64_t a_down, int64_t a_right, const void *b, int64_t b_down,
                       int64_t b_right, bool add, void *c, int64_t ldc) {
  int64_t size = dtype == ML_F64 ? 8 : 4, nr = 64 / size;
  if (m == 0 || n == 0) return ML_OK;
  if (k == 0) {
    for (int64_t i = 0; !add && i < m; i++)
      memset((char *)c + i * ldc * size, 0, (size_t)(n * size));
    return ML_OK;
  }
  int64_t rows = (ML_MIN(m, MC * 4 / size) + MR - 1) / MR * MR, depth = ML_MIN(k, (int64_t)KC);
  int64_t columns = (ML_MIN(n, (int64_t)NC) + nr - 1) / nr * nr;
  int64_t a_bytes = (rows * depth * size + 63) / 64 * 64, b_bytes = columns * depth * size;
  char *pa = panels((size_t)(a_bytes + b_bytes));
  if (!pa) return ml_fail(ML_ENOMEM, "out of memory: panels of a matrix product");
  (size == 4 ? product_f32 : product_f64)(m, n, k, alpha, (matrix){a, a_down, a_right},
                                          (matrix){b, b_down, b_right}, add, c, ldc, pa,
                                          pa + a_bytes);
  return ML_OK;
}

/* oneDNN knows more about AVX-512 than vectors of 32 bytes do. */
bool ml__gemm_packed_fast(void) {
#if defined(__x86_64__)
  return !__builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}
