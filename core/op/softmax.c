/*
 * softmax, log_softmax, logsumexp, cumsum and var along an axis, and their gradients.
 *
 * Groups along the axis are copied into a row where they are strided. f32 rows are computed in f32
 * with sums in double; f64, and the reference, in double. Exponents are taken of x - max x: none
 * overflows.
 */
#include "op/math.h"

#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/exp.h"
#include "op/groups.h"

/* A row of n results from up to two rows of n operands; p: a scalar. */
typedef void (*row_f32)(int64_t n, const float *a, const float *b, float *y, double p);
typedef void (*row_f64)(int64_t n, const double *a, const double *b, double *y, double p);

typedef struct job {
  ml_groups e, ye; /* of the operands; of y, where n may be 1 */
  const ml_tensor *a, *b;
  ml_tensor *y;
  row_f32 f32;
  row_f64 f64;
  double p;
  bool failed;
} job;

static void groups(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t n = j->e.n, m = j->ye.n, inner = j->e.inner;
  bool single = j->y->info.dtype == ML_F32 && !ml__reference_on;
  size_t size = single ? sizeof(float) : sizeof(double);
  char *rows = malloc(((size_t)n * 2 + (size_t)m) * size + 64);
  if (!rows) {
    j->failed = true;
    return;
  }
  char *ra = rows, *rb = ra + (size_t)n * size, *ry = rb + (size_t)n * size;
  for (int64_t g = begin; g < end; g++) {
    if (single && inner == 1) {
      j->f32(n, ml_f32(j->a) + g * n, j->b ? ml_f32(j->b) + g * n : NULL, ml_f32(j->y) + g * m,
             j->p);
      continue;
    }
    for (int64_t i = 0; i < n; i++) {
      int64_t at = ml__group_at(&j->e, g, i);
      double a = ml__load(j->a->info.data, j->a->info.dtype, at);
      double b = j->b ? ml__load(j->b->info.data, j->b->info.dtype, at) : 0;
      if (single) ((float *)ra)[i] = (float)a, ((float *)rb)[i] = (float)b;
      else ((double *)ra)[i] = a, ((double *)rb)[i] = b;
    }
    if (single) j->f32(n, (float *)ra, (float *)rb, (float *)ry, j->p);
    else j->f64(n, (double *)ra, (double *)rb, (double *)ry, j->p);
    for (int64_t i = 0; i < m; i++)
      ml__store(j->y->info.data, j->y->info.dtype, ml__group_at(&j->ye, g, i),
                single ? (double)((float *)ry)[i] : ((double *)ry)[i]);
  }
  free(rows);
}

static ml_err along(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t axis, bool to_one,
                    row_f32 f32, row_f64 f64, double p) {
  job j = {.e = ml__groups(a, axis), .a = a, .b = b, .y = y, .f32 = f32, .f64 = f64, .p = p};
  j.ye = j.e;
  if (to_one) j.ye.n = 1;
  int64_t n = j.e.outer * j.e.inner;
  if (y->info.count == 0) return ML_OK;
  ml_parallel(n, ML_MAX(1, 16384 / ML_MAX(1, j.e.n)), groups, &j);
  return j.failed ? ml_fail(ML_ENOMEM, "out of memory: rows along an axis") : ML_OK;
}

/* What a row's exponents are summed by: e^(x - top) into y; f32 by ml__exp32, f64 by libm. */
ML_INLINE double exps_f32(int64_t n, const float *restrict x, float top, float *restrict y) {
  return ml__exps32(n, x, top, 1, y);
}
ML_INLINE double sum_of_exps_f32(int64_t n, const float *restrict x, float top, float *soon) {
  return ml__exps32(n, x, top, 0, soon);
}
ML_INLINE float largest_f32(int64_t n, const float *x) { return ml__largest32(n, x); }
ML_INLINE float exp_f32(float x) { return ml__exp32(x); }

ML_INLINE double exps_f64(int64_t n, const double *restrict x, double top, double *restrict y) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += y[i] = exp(x[i] - top);
  return sum;
}
ML_INLINE double sum_of_exps_f64(int64_t n, const double *restrict x, double top, double *soon) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += exp(x[i] - top);
  return sum;
}
ML_INLINE double largest_f64(int64_t n, const double *x) {
  double top = -HUGE_VAL;
  for (int64_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
  return top;
}
ML_INLINE double exp_f64(double x) { return exp(x); }

/* Sums of a, of a b, and of (a - mean)^2, in lanes of double. */
#define SUMS(T, D)                                                                 \
  ML_INLINE double total_##D(int64_t n, const T *restrict a) {                     \
    double lane[16] = {0}, sum = 0;                                                \
    int64_t i = 0;                                                                 \
    for (; i + 16 <= n; i += 16)                                                   \
      for (int k = 0; k < 16; k++) lane[k] += (double)a[i + k];                    \
    for (; i < n; i++) sum += (double)a[i];                                        \
    for (int k = 0; k < 16; k++) sum += lane[k];                                   \
    return sum;                                                                    \
  }                                                                                \
  ML_INLINE double dot_##D(int64_t n, const T *restrict a, const T *restrict b) {  \
    double lane[16] = {0}, sum = 0;                                                \
    int64_t i = 0;                                                                 \
    for (; i + 16 <= n; i += 16)                                                   \
      for (int k = 0; k < 16; k++) lane[k] += (double)a[i + k] * (double)b[i + k]; \
    for (; i < n; i++) sum += (double)a[i] * (double)b[i];                         \
    for (int k = 0; k < 16; k++) sum += lane[k];                                   \
    return sum;                                                                    \
  }                                                                                \
  ML_INLINE double apart_##D(int64_t n, const T *restrict a, double mean) {        \
    double lane[16] = {0}, sum = 0;                                                \
    int64_t i = 0;                                                                 \
    for (; i + 16 <= n; i += 16) {                                                 \
      for (int k = 0; k < 16; k++) {                                               \
        double v = (double)a[i + k] - mean;                                        \
        lane[k] += v * v;                                                          \
      }                                                                            \
    }                                                                              \
    for (; i < n; i++) sum += ((double)a[i] - mean) * ((double)a[i] - mean);       \
    for (int k = 0; k < 16; k++) sum += lane[k];                                   \
    return sum;                                                                    \
  }

#define ROWS(T, D)                                                                                \
  ML_CLONES static void softmax_##D(int64_t n, const T *x, const T *b, T *restrict y, double p) { \
    T scale = (T)(1 / exps_##D(n, x, largest_##D(n, x), y));                                      \
    for (int64_t i = 0; i < n; i++) y[i] *= scale;                                                \
  }                                                                                               \
  ML_INLINE double logsum_##D(int64_t n, const T *x, T *soon) {                                   \
    T top = largest_##D(n, x);                                                                    \
    if (isinf((double)top)) return (double)top; /* all -inf, or one +inf */                       \
    return (double)top + log(sum_of_exps_##D(n, x, top, soon));                                   \
  }                                                                                               \
  ML_CLONES static void log_softmax_##D(int64_t n, const T *x, const T *b, T *restrict y,         \
                                        double p) {                                               \
    T z = (T)logsum_##D(n, x, y);                                                                 \
    for (int64_t i = 0; i < n; i++) y[i] = x[i] - z;                                              \
  }                                                                                               \
  ML_CLONES static void logsumexp_##D(int64_t n, const T *x, const T *b, T *y, double p) {        \
    *y = (T)logsum_##D(n, x, NULL);                                                               \
  }                                                                                               \
  ML_CLONES static void softmax_dx_##D(int64_t n, const T *restrict g, const T *restrict y,       \
                                       T *restrict dx, double p) {                                \
    T c = (T)dot_##D(n, g, y);                                                                    \
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] * (g[i] - c);                                    \
  }                                                                                               \
  ML_CLONES static void log_softmax_dx_##D(int64_t n, const T *restrict g, const T *restrict y,   \
                                           T *restrict dx, double p) {                            \
    T sum = (T)total_##D(n, g);                                                                   \
    for (int64_t i = 0; i < n; i++) dx[i] = g[i] - exp_##D(y[i]) * sum;                           \
  }                                                                                               \
  static void cumsum_##D(int64_t n, const T *x, const T *b, T *y, double p) {                     \
    double sum = 0;                                                                               \
    if (p > 0)                                                                                    \
      for (int64_t i = 0; i < n; i++) y[i] = (T)(sum += (double)x[i]);                            \
    else /* from the end */                                                                       \
      for (int64_t i = n; i-- > 0;) y[i] = (T)(sum += (double)x[i]);                              \
  }                                                                                               \
  ML_CLONES static void var_##D(int64_t n, const T *x, const T *b, T *y, double p) {              \
    *y = (T)(apart_##D(n, x, total_##D(n, x) / (double)n) / ((double)n - p));                     \
  }

SUMS(float, f32)
SUMS(double, f64)
ROWS(float, f32)
ROWS(double, f64)

#define ALONG(NAME, ONE, P, PARAMS)                                               \
  ml_err ml_##NAME##_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis PARAMS) { \
    return along(y, x, NULL, axis, ONE, NAME##_f32, NAME##_f64, P);               \
  }                                                                               \
  ml_err ml_##NAME##_ref(ml_tensor *y, const ml_tensor *x, int64_t axis PARAMS) { \
    return along(y, x, NULL, axis, ONE, NAME##_f32, NAME##_f64, P);               \
  }
#define COMMA ,
#define NONE
ALONG(softmax, false, 0, NONE)
ALONG(log_softmax, false, 0, NONE)
ALONG(cumsum, false, 1, NONE)
ALONG(logsumexp, true, 0, COMMA int64_t keep)
ALONG(var, true, correction, COMMA int64_t keep COMMA double correction)

/* dx along the axis from g and another operand, both of x's shape. */
static ml_err dx_along(ml_node *n, ml_tensor **dx, ml_tensor *g, ml_tensor *b, row_f32 f32,
                       row_f64 f64, double p) {
  ml_tensor *x = n->in[0];
  ML_TRY(ml__new_like(dx, x));
  return along(*dx, g, b, n->scalar[0].i, false, f32, f64, p);
}

ml_err ml_softmax_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return dx_along(n, &gin[0], g, n->saved[0], softmax_dx_f32, softmax_dx_f64, 0);
}

ml_err ml_log_softmax_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return dx_along(n, &gin[0], g, n->saved[0], log_softmax_dx_f32, log_softmax_dx_f64, 0);
}

ml_err ml_cumsum_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return dx_along(n, &gin[0], g, NULL, cumsum_f32, cumsum_f64, -1);
}

/* g exp(x - y) and 2 g (x - mean) / (n - correction): by group, in double. */
static ml_err by_group(ml_node *n, ml_tensor *g, ml_tensor **gin, bool variance) {
  ml_tensor *x, *y = n->saved[0];
  ML_TRY(ml__contiguous(&x, n->in[0]));
  int d = x->info.dtype;
  ml_err err = ml__new(&gin[0], d, x->info.ndim, x->info.shape);
  ml_groups e = ml__groups(x, n->scalar[0].i);
  for (int64_t i = 0; err == ML_OK && i < e.outer * e.inner; i++) {
    double gi = ml__load(g->info.data, d, i), yi = y ? ml__load(y->info.data, d, i) : 0, mean = 0;
    for (int64_t m = 0; variance && m < e.n; m++)
      mean += ml__load(x->info.data, d, ml__group_at(&e, i, m)) / (double)e.n;
    for (int64_t m = 0; m < e.n; m++) {
      int64_t at = ml__group_at(&e, i, m);
      double v = ml__load(x->info.data, d, at);
      ml__store(gin[0]->info.data, d, at,
                variance ? 2 * gi * (v - mean) / ((double)e.n - n->scalar[2].d) : gi * exp(v - yi));
    }
  }
  ml__unref(x);
  return err;
}

ml_err ml_logsumexp_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_group(n, g, gin, false);
}

ml_err ml_var_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_group(n, g, gin, true);
}
