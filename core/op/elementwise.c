/*
 * elementwise: operations on one or two elements at a time.
 *
 * With two arguments the launcher hands rows to a loop, stepping over all axes but the last, or
 * chunks of the whole where nothing is strided; with one, it hands out chunks. The loops are
 * written so that gcc vectorises them where strides are 0 or 1. References work in double; of two
 * integers, in integers that wrap around.
 */
#include <math.h>

#include "ml_ops.h"

typedef double (*binary_fn)(double a, double b);
typedef void (*binary_row)(float *y, const float *a, const float *b, int64_t n, int64_t sa,
                           int64_t sb);

static bool whole(int dtype) { return dtype == ML_I64 || dtype == ML_I32 || dtype == ML_U8; }

static int64_t load_int(const ml_tensor *t, int64_t i) {
  if (t->info.dtype == ML_I64) return ((const int64_t *)t->info.data)[i];
  return (int64_t)ml__load(t->info.data, t->info.dtype, i);
}

/* Integers wrap around, as C's unsigned do; through doubles 64 bits would not fit. */
static void store_int(ml_tensor *t, int64_t i, uint64_t v) {
  if (t->info.dtype == ML_I64) ((int64_t *)t->info.data)[i] = (int64_t)v;
  else if (t->info.dtype == ML_I32) ((int32_t *)t->info.data)[i] = (int32_t)(uint32_t)v;
  else ((uint8_t *)t->info.data)[i] = (uint8_t)v;
}

static ml_err binary_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, binary_fn f,
                         char op) {
  if (y->info.count == 0) return ML_OK;
  ml_walk w;
  const ml_tensor *ts[] = {y, a, b};
  ml__walk(&w, y->info.ndim, y->info.shape, 3, ts);
  do {
    if (whole(y->info.dtype)) {
      uint64_t p = (uint64_t)load_int(a, w.offset[1]), q = (uint64_t)load_int(b, w.offset[2]);
      store_int(y, w.offset[0], op == '+' ? p + q : op == '-' ? p - q : p * q);
    } else {
      ml__store(y->info.data, y->info.dtype, w.offset[0],
                f(ml__load(a->info.data, a->info.dtype, w.offset[1]),
                  ml__load(b->info.data, b->info.dtype, w.offset[2])));
    }
  } while (ml__walk_next(&w));
  return ML_OK;
}

typedef struct binary_job {
  float *y;
  const float *a, *b;
  binary_row row;
} binary_job;

static void flat_chunk(void *ctx, int64_t begin, int64_t end) {
  binary_job *j = ctx;
  j->row(j->y + begin, j->a + begin, j->b + begin, end - begin, 1, 1);
}

static ml_err binary_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, binary_row row) {
  if (y->info.count == 0) return ML_OK;
  if (a->info.contiguous && b->info.contiguous && a->info.count == y->info.count &&
      b->info.count == y->info.count) {
    if (y->info.count <= 32768) {
      row(ml_f32(y), ml_f32(a), ml_f32(b), y->info.count, 1, 1);
      return ML_OK;
    }
    binary_job j = {ml_f32(y), ml_f32(a), ml_f32(b), row};
    ml_parallel(y->info.count, 32768, flat_chunk, &j);
    return ML_OK;
  }
  ml_walk w;
  const ml_tensor *ts[] = {y, a, b};
  int outer = y->info.ndim - 1;
  if (outer < 0) {
    row(ml_f32(y), ml_f32(a), ml_f32(b), 1, 0, 0);
    return ML_OK;
  }
  ml__walk(&w, y->info.ndim, y->info.shape, 3, ts);
  int64_t n = w.shape[outer], sa = w.stride[1][outer], sb = w.stride[2][outer];
  w.ndim = outer;
  do row(ml_f32(y) + w.offset[0], ml_f32(a) + w.offset[1], ml_f32(b) + w.offset[2], n, sa, sb);
  while (ml__walk_next(&w));
  return ML_OK;
}

#define BINARY(NAME, OP, EXPR)                                                                    \
  static double NAME##_one(double a, double b) { return EXPR; }                                   \
  ML_CLONES static void NAME##_row(float *restrict y, const float *restrict pa,                   \
                                   const float *restrict pb, int64_t n, int64_t sa, int64_t sb) { \
    if (sa == 1 && sb == 1) {                                                                     \
      for (int64_t i = 0; i < n; i++) {                                                           \
        float a = pa[i], b = pb[i];                                                               \
        y[i] = EXPR;                                                                              \
      }                                                                                           \
    } else if (sa == 1 && sb == 0) {                                                              \
      float b = pb[0];                                                                            \
      for (int64_t i = 0; i < n; i++) {                                                           \
        float a = pa[i];                                                                          \
        y[i] = EXPR;                                                                              \
      }                                                                                           \
    } else {                                                                                      \
      for (int64_t i = 0; i < n; i++) {                                                           \
        float a = pa[i * sa], b = pb[i * sb];                                                     \
        y[i] = EXPR;                                                                              \
      }                                                                                           \
    }                                                                                             \
  }                                                                                               \
  ml_err ml_##NAME##_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b) {                  \
    return binary_ref(y, a, b, NAME##_one, OP);                                                   \
  }                                                                                               \
  ml_err ml_##NAME##_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b) {                  \
    return binary_cpu(y, a, b, NAME##_row);                                                       \
  }

BINARY(add, '+', a + b)
BINARY(sub, '-', a - b)
BINARY(mul, '*', (a * b))
BINARY(div, '/', a / b)
BINARY(relu_dx, ' ', b > 0 ? a : 0)

/* -- one argument, contiguous -- */

typedef struct unary_job {
  float *y;
  const float *x;
  double p, q;
} unary_job;

#define UNARY(NAME, PARAMS, P, Q, EXPR, FEXPR)                                \
  ML_CLONES static void NAME##_chunk(void *ctx, int64_t begin, int64_t end) { \
    unary_job *j = ctx;                                                       \
    float *restrict y = j->y;                                                 \
    const float *restrict px = j->x;                                          \
    float p = (float)j->p, q = (float)j->q;                                   \
    (void)p, (void)q;                                                         \
    for (int64_t i = begin; i < end; i++) {                                   \
      float x = px[i];                                                        \
      y[i] = FEXPR;                                                           \
    }                                                                         \
  }                                                                           \
  ml_err ml_##NAME##_cpu(ml_tensor *y, const ml_tensor *x PARAMS) {           \
    unary_job j = {ml_f32(y), ml_f32(x), P, Q};                               \
    ml_parallel(y->info.count, 32768, NAME##_chunk, &j);                      \
    return ML_OK;                                                             \
  }                                                                           \
  ml_err ml_##NAME##_ref(ml_tensor *y, const ml_tensor *t PARAMS) {           \
    double p = P, q = Q;                                                      \
    (void)p, (void)q;                                                         \
    for (int64_t i = 0; i < y->info.count; i++) {                             \
      double x = ml__load(t->info.data, t->info.dtype, i);                    \
      ml__store(y->info.data, y->info.dtype, i, EXPR);                        \
    }                                                                         \
    return ML_OK;                                                             \
  }

#define NONE
#define COMMA ,
UNARY(exp, NONE, 0, 0, exp(x), expf(x))
UNARY(log, NONE, 0, 0, log(x), logf(x))
UNARY(sqrt, NONE, 0, 0, sqrt(x), sqrtf(x))
UNARY(tanh, NONE, 0, 0, tanh(x), tanhf(x))
UNARY(sigmoid, NONE, 0, 0, 1 / (1 + exp(-x)), 1 / (1 + expf(-x)))
UNARY(relu, NONE, 0, 0, x < 0 ? 0 : x, x < 0 ? 0 : x) /* NaN stays NaN */
UNARY(affine, COMMA double scale COMMA double shift, scale, shift, q + x * p, q + x * p)

ml_err ml_clamp_ref(ml_tensor *y, const ml_tensor *x, double lo, double hi) {
  for (int64_t i = 0; i < y->info.count; i++) {
    double v = ml__load(x->info.data, x->info.dtype, i);
    ml__store(y->info.data, y->info.dtype, i, v < lo ? lo : v > hi ? hi : v);
  }
  return ML_OK;
}

ml_err ml_clamp_dx_ref(ml_tensor *dx, const ml_tensor *g, const ml_tensor *x, double lo,
                       double hi) {
  for (int64_t i = 0; i < dx->info.count; i++) {
    double v = ml__load(x->info.data, x->info.dtype, i);
    bool in = v >= lo && v <= hi;
    ml__store(dx->info.data, dx->info.dtype, i, in ? ml__load(g->info.data, g->info.dtype, i) : 0);
  }
  return ML_OK;
}
