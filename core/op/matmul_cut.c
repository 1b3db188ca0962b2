/*
 * matmul_cut: a batch of matrix products on all threads.
 *
 * Four ways to a product, chosen by dtype, shape and strides (and the machine's instructions):
 *   loops   vectors and products of few multiplications
 *   packed  our own blocked product (gemm_packed.c): f64; f32 of odd strides, small, or faster
 *   sgemm   oneDNN's, on one thread, for the rest of f32
 *   native  oneDNN's primitive: bf16 where the CPU multiplies it (gemm_native.c)
 * The first two sum the same way wherever C is cut, and are cut into as many blocks as there are
 * threads; oneDNN may not, and is cut by shape alone. So no result depends on their number.
 */
#include <stdatomic.h>
#include <string.h>

#include "op/gemm.h"
#include "op/gemm_native.h"
#include "op/linear.h"
#include "op/matmul.h"

enum { LOOPS, PACKED, SGEMM, NATIVE };
enum {
  FEW = 1 << 9, /* multiplications up to which loops are the fastest */
  LARGE =
      1 << 12,    /* times ML__CUT: multiplications of a cut for sgemm, which copies anew in each */
  STRIP = 1 << 11 /* columns of C that loops keep at hand */
};

/* -- loops -- */

typedef float v_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double v_f64 __attribute__((vector_size(32), aligned(8), may_alias));

/* c[0, R) = products of `a` with R rows that lie `step` apart, each in two vectors of parts. */
#define DOTS(name, real, vector)                                                                 \
  static inline __attribute__((always_inline)) void name(const int R, int64_t k, const real *a,  \
                                                         const real *b, int64_t step, real *c) { \
    enum { LANES = 32 / sizeof(real) };                                                          \
    vector part[4][2];                                                                           \
    for (int r = 0; r < R; r++) part[r][0] = part[r][1] = (vector){0};                           \
    int64_t l = 0;                                                                               \
    for (; l + 2 * LANES <= k; l += 2 * LANES) {                                                 \
      vector a0 = *(const vector *)(a + l), a1 = *(const vector *)(a + l + LANES);               \
      for (int r = 0; r < R; r++) {                                                              \
        part[r][0] += a0 * *(const vector *)(b + r * step + l);                                  \
        part[r][1] += a1 * *(const vector *)(b + r * step + l + LANES);                          \
      }                                                                                          \
    }                                                                                            \
    for (int r = 0; r < R; r++) {                                                                \
      vector v = part[r][0] + part[r][1];                                                        \
      real s = 0;                                                                                \
      for (int q = 0; q < LANES / 4; q++)                                                        \
        s += (v[4 * q] + v[4 * q + 2]) + (v[4 * q + 1] + v[4 * q + 3]);                          \
      for (int64_t q = l; q < k; q++) s += a[q] * b[r * step + q];                               \
      c[r] = s;                                                                                  \
    }                                                                                            \
  }
DOTS(dots_f32, float, v_f32)
DOTS(dots_f64, double, v_f64)

/*
 * Where b's rows lie side by side: rows of C gather rows of b. Else each element is a product of
 * two vectors, four of them at once where both lie side by side.
 */
#define PRODUCT(name, real, dots)                                                                 \
  ML_CLONES static void name(int64_t m, int64_t n, int64_t k, const real *restrict a, int64_t ad, \
                             int64_t ar, const real *restrict b, int64_t bd, int64_t br,          \
                             real *restrict c, int64_t ldc) {                                     \
    for (int64_t i = 0; i < m; i++, a += ad, c += ldc) {                                          \
      for (int64_t from = 0; br == 1 && from < n; from += STRIP) {                                \
        int64_t to = ML_MIN(n, from + STRIP);                                                     \
        memset(c + from, 0, (size_t)(to - from) * sizeof *c);                                     \
        int64_t l = 0;                                                                            \
        for (; l + 4 <= k; l += 4) { /* four at once: c is read and written once */               \
          const real *b0 = b + l * bd, *b1 = b0 + bd, *b2 = b1 + bd, *b3 = b2 + bd;               \
          real a0 = a[l * ar], a1 = a[(l + 1) * ar], a2 = a[(l + 2) * ar], a3 = a[(l + 3) * ar];  \
          for (int64_t j = from; j < to; j++)                                                     \
            c[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];                            \
        }                                                                                         \
        for (; l < k; l++)                                                                        \
          for (int64_t j = from; j < to; j++) c[j] += a[l * ar] * b[l * bd + j];                  \
      }                                                                                           \
      if (br == 1) continue;                                                                      \
      int64_t j = 0;                                                                              \
      if (ar == 1 && bd == 1) {                                                                   \
        for (; j + 4 <= n; j += 4) dots(4, k, a, b + j * br, br, c + j);                          \
        for (; j < n; j++) dots(1, k, a, b + j * br, br, c + j);                                  \
      }                                                                                           \
      for (; j < n; j++) {                                                                        \
        real s = 0;                                                                               \
        for (int64_t l = 0; l < k; l++) s += a[l * ar] * b[j * br + l * bd];                      \
        c[j] = s;                                                                                 \
      }                                                                                           \
    }                                                                                             \
  }
PRODUCT(product_f32, float, dots_f32)
PRODUCT(product_f64, double, dots_f64)

/* -- which way -- */

/* Whether sgemm reads a matrix of these strides: transposed (its columns side by side) or not. */
static bool leads(int64_t rows, int64_t columns, int64_t down, int64_t right) {
  return (right == 1 || columns == 1) && (down >= columns || rows == 1);
}

typedef struct work {
  const ml_products *p;
  int way;
  bool ta, tb, read; /* read: sgemm takes both as they lie */
  int64_t lda, ldb;
  int64_t rows, columns, down, across; /* of a block, and how many of them */
  _Atomic int err;
} work;

/* As sgemm wants it: leading dimension, and whether it reads a transpose. */
static bool readable(const ml_matrix *x, int64_t rows, int64_t columns, bool *t, int64_t *ld) {
  if (leads(rows, columns, x->down, x->right)) {
    *t = false;
    *ld = rows == 1 ? columns : x->down;
    return true;
  }
  *t = true;
  *ld = columns == 1 ? rows : x->right;
  return leads(columns, rows, x->right, x->down);
}

/* oneDNN on AVX2 copies nothing while C has few rows, and pays for rows a power of two apart. */
static bool packed_wins(const work *w) {
  if (ml__gemm_packed_small(w->p->m, w->p->n, w->p->k)) return true;
  if (w->p->m < 24 || w->p->n < 32 || !ml__gemm_packed_fast()) return false;
  return (w->ta && w->lda % 256 == 0) || (!w->tb && w->ldb % 256 == 0);
}

/* native: oneDNN's primitive is among the ways. */
static void choose(work *w, bool native) {
  const ml_products *p = w->p;
  bool vector = p->m == 1 || p->n == 1;
  bool read = w->read =
      readable(&p->a, p->m, p->k, &w->ta, &w->lda) && readable(&p->b, p->k, p->n, &w->tb, &w->ldb);
  bool forced = native && p->dtype == ML_F32 && p->k > 0 && ml__native_forced();
  if (p->dtype == ML_BF16 || forced) w->way = NATIVE;
  else if (vector || (double)p->m * (double)p->n * (double)p->k <= FEW) w->way = LOOPS;
  else if (p->dtype == ML_F64 || !read) w->way = PACKED;
  else w->way = packed_wins(w) ? PACKED : SGEMM;
}

/* -- cuts -- */

/* Blocks of C, of ML__CUT multiplications at least: of shapes alone for sgemm, some LARGE;
   else as many as threads. Between more rows and more columns, the squarer. */
static void cut(work *w) {
  const ml_products *p = w->p;
  int64_t step_m = w->way == LOOPS ? 1 : 6, step_n = w->way == LOOPS ? 64 : 16;
  int64_t most = (int64_t)((double)p->m * (double)p->n * (double)p->k / ML__CUT), parts;
  w->rows = p->m, w->columns = p->n;
  w->down = w->across = 1;
  if (most <= 1) return;
  if (w->way >= SGEMM) {
    parts = ML_MAX(2, most / LARGE & ~1);
  } else {
    parts = (ml_threads() + p->batch - 1) / p->batch;
  }
  parts = ML_MAX(1, ML_MIN(parts, most));
  while (w->down * w->across < parts) {
    bool by_rows = p->m * w->across >= p->n * w->down;
    if (by_rows && p->m >= 2 * step_m * w->down) w->down++;
    else if (p->n >= 2 * step_n * w->across) w->across++;
    else if (p->m >= 2 * step_m * w->down) w->down++;
    else break;
  }
  w->rows = ((p->m + w->down - 1) / w->down + step_m - 1) / step_m * step_m;
  w->columns = ((p->n + w->across - 1) / w->across + step_n - 1) / step_n * step_n;
  w->down = (p->m + w->rows - 1) / w->rows;
  w->across = (p->n + w->columns - 1) / w->columns;
}

/* -- the work -- */

void ml__products_at(const ml_products *p, int64_t q, int64_t *a, int64_t *b) {
  *a = *b = 0;
  for (int d = 0; d < p->n_axes; d++) {
    int64_t i = q % p->axes[d].size;
    q /= p->axes[d].size;
    *a += i * p->axes[d].a;
    *b += i * p->axes[d].b;
  }
}

static ml_native native_of(const work *w, int64_t m, int64_t n) {
  const ml_products *p = w->p;
  return (ml_native){p->dtype, m, n, p->k, p->a.down, p->a.right, p->b.down, p->b.right, p->n};
}

/* Makes the primitives of all blocks: those of the last rows and columns may be smaller. */
static ml_err prepare_native(const work *w, bool *able) {
  int64_t m[2] = {w->rows, w->p->m - (w->down - 1) * w->rows};
  int64_t n[2] = {w->columns, w->p->n - (w->across - 1) * w->columns};
  ml__gemm_native_room();
  *able = w->read;
  for (int i = 0; i < 4 && *able; i++) {
    ml_native key = native_of(w, ML_MIN(m[i / 2], w->p->m), ML_MIN(n[i % 2], w->p->n));
    ML_TRY(ml__gemm_native_prepare(&key, able));
  }
  return ML_OK;
}

static ml_err block(const work *w, int64_t m, int64_t n, const void *a, const void *b, void *c) {
  const ml_products *p = w->p;
  if (w->way == NATIVE) {
    ml_native key = native_of(w, m, n);
    return ml__gemm_native(&key, a, b, c);
  }
  if (w->way == SGEMM)
    return ml__gemm(w->ta, w->tb, m, n, p->k, 1, a, w->lda, b, w->ldb, 0, c, p->n);
  if (w->way == PACKED)
    return ml__gemm_packed(p->dtype, m, n, p->k, 1, a, p->a.down, p->a.right, b, p->b.down,
                           p->b.right, false, c, p->n);
  if (p->dtype == ML_F64)
    product_f64(m, n, p->k, a, p->a.down, p->a.right, b, p->b.down, p->b.right, c, p->n);
  else product_f32(m, n, p->k, a, p->a.down, p->a.right, b, p->b.down, p->b.right, c, p->n);
  return ML_OK;
}

static void blocks(void *ctx, int64_t begin, int64_t end) {
  work *w = ctx;
  const ml_products *p = w->p;
  int64_t size = ml_dtype_size(p->dtype), each = w->down * w->across;
  for (int64_t u = begin; u < end; u++) {
    int64_t q = u, i = 0, j = 0;
    if (each > 1) q = u / each, i = u % each / w->across * w->rows, j = u % w->across * w->columns;
    int64_t a, b;
    ml__products_at(p, q, &a, &b);
    a += i * p->a.down;
    b += j * p->b.right;
    ml_err e = block(w, ML_MIN(w->rows, p->m - i), ML_MIN(w->columns, p->n - j),
                     (const char *)p->a.data + a * size, (const char *)p->b.data + b * size,
                     (char *)p->c + ((q * p->m + i) * p->n + j) * size);
    if (e < 0) w->err = e;
  }
}

/* A column is computed as a row: y' = b' a', whose elements lie side by side as well. */
static void lay_down(ml_products *p) {
  ml_matrix a = p->a;
  p->a = (ml_matrix){p->b.data, p->b.right, p->b.down};
  p->b = (ml_matrix){a.data, a.right, a.down};
  p->n = p->m;
  p->m = 1;
  for (int d = 0; d < p->n_axes; d++) {
    ml_batch_axis x = p->axes[d];
    p->axes[d] = (ml_batch_axis){x.size, x.b, x.a};
  }
}

ml_err ml__products(ml_products *p, bool *done) {
  work w = {.p = p};
  *done = true;
  if (p->n == 1 && p->m > 1) lay_down(p);
  choose(&w, true);
  cut(&w);
  if (w.way == NATIVE) ML_TRY(prepare_native(&w, done));
  if (!*done && p->dtype == ML_BF16) return ML_OK;
  if (!*done) {
    choose(&w, false);
    cut(&w);
    *done = true;
  }
  double each = (double)w.rows * (double)w.columns * (double)ML_MAX(p->k, 1);
  ml_parallel(p->batch * w.down * w.across, ML_MAX(1, (int64_t)(ML__CUT / each)), blocks, &w);
  if (w.err == ML_ENOMEM) return ml_fail(ML_ENOMEM, "out of memory: panels of a matrix product");
  return w.err < 0 ? ml_fail(w.err, "matmul: oneDNN failed") : ML_OK;
}
