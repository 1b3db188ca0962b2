/*
 * norm: y = (sum |x|^p)^(1/p) along one axis or over all; max |x| for p = inf, min |x| for -inf,
 * the count of what is not 0 for p = 0.
 *
 *   x  f64 or f32, in row order; sums in double, in 64 parts side by side where the axis is the
 *   last, in pieces where it is long: cut by shape alone.
 *
 * Gradient: g sign(x) (|x| / y)^(p - 1), 0 where y is 0; for p = inf, elements as large share it.
 */
#include <math.h>
#include <string.h>

#include "ml_ops.h"
#include "op/groups.h"

enum { TWO, ONE, MOST, LEAST, COUNT, ANY };
enum { WIDTH = 64, PIECE = 1 << 16 };

static int kind_of(double p) {
  return p == 2 ? TWO : p == 1 ? ONE : p == 0 ? COUNT : isinf(p) ? (p > 0 ? MOST : LEAST) : ANY;
}

ml_err ml__shape_norm(int *nd, int64_t *shape, const ml_tensor *x, double p, int64_t axis,
                      int64_t keep) {
  if (p != p) return ml_fail(ML_EARG, "bad argument #2 to 'norm' (p: expected a number, got NaN)");
  return ml__shape_reduce(nd, shape, "norm", x, axis, keep, p < 0 || isinf(p));
}

static double begin_of(int kind) { return kind == LEAST ? INFINITY : 0; }

/* What two parts come to together; NaN stays. */
static inline double joined(int kind, double a, double b) {
  if (kind == MOST) return a >= b || a != a ? a : b;
  if (kind == LEAST) return a <= b || a != a ? a : b;
  return a + b;
}

static inline __attribute__((always_inline)) double part(const int kind, double p, double x) {
  double v = fabs(x);
  return kind == TWO ? v * v : kind == COUNT ? v != 0 : kind == ANY ? pow(v, p) : v;
}

static double whole(int kind, double p, double s) {
  return kind == TWO ? sqrt(s) : kind == ANY ? pow(s, 1 / p) : s;
}

typedef struct job {
  const void *x;
  void *y;
  double *parts; /* of pieces of one long group */
  ml_groups e;
  double p;
  int kind, dtype;
  int64_t blocks; /* of at most WIDTH inner elements */
} job;

/* acc[width] joined with `rows` rows of x, `step` apart. */
#define GATHER(name, real)                                                                    \
  static inline __attribute__((always_inline)) void name##_of(                                \
      const int kind, double p, double *acc, const real *x, int64_t rows, int64_t step,       \
      int64_t width) {                                                                        \
    for (int64_t r = 0; r < rows; r++, x += step)                                             \
      for (int64_t i = 0; i < width; i++) acc[i] = joined(kind, acc[i], part(kind, p, x[i])); \
  }                                                                                           \
  ML_CLONES static void name(int kind, double p, double *acc, const real *x, int64_t rows,    \
                             int64_t step, int64_t width) {                                   \
    switch (kind) {                                                                           \
      case TWO: name##_of(TWO, p, acc, x, rows, step, width); break;                          \
      case ONE: name##_of(ONE, p, acc, x, rows, step, width); break;                          \
      case MOST: name##_of(MOST, p, acc, x, rows, step, width); break;                        \
      case LEAST: name##_of(LEAST, p, acc, x, rows, step, width); break;                      \
      case COUNT: name##_of(COUNT, p, acc, x, rows, step, width); break;                      \
      default: name##_of(ANY, p, acc, x, rows, step, width);                                  \
    }                                                                                         \
  }
GATHER(gather_f64, double)
GATHER(gather_f32, float)

static void gather(const job *j, double *acc, int64_t at, int64_t rows, int64_t step,
                   int64_t width) {
  if (j->dtype == ML_F64)
    gather_f64(j->kind, j->p, acc, (const double *)j->x + at, rows, step, width);
  else gather_f32(j->kind, j->p, acc, (const float *)j->x + at, rows, step, width);
}

/* n elements side by side: rows of WIDTH, then the rest, then all columns together. */
static double run(const job *j, int64_t at, int64_t n) {
  double acc[WIDTH], s = begin_of(j->kind);
  for (int i = 0; i < WIDTH; i++) acc[i] = s;
  gather(j, acc, at, n / WIDTH, WIDTH, WIDTH);
  gather(j, acc, at + n / WIDTH * WIDTH, 1, 0, n % WIDTH);
  for (int i = 0; i < WIDTH; i++) s = joined(j->kind, s, acc[i]);
  return s;
}

static void runs(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  for (int64_t o = begin; o < end; o++)
    ml__store(j->y, j->dtype, o, whole(j->kind, j->p, run(j, o * j->e.n, j->e.n)));
}

static void pieces(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  for (int64_t i = begin; i < end; i += PIECE) {
    j->parts[i / PIECE] = run(j, i, ML_MIN(end - i, (int64_t)PIECE));
  }
}

static void blocks(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  for (int64_t u = begin; u < end; u++) {
    int64_t o = u / j->blocks, from = u % j->blocks * WIDTH;
    int64_t width = ML_MIN((int64_t)WIDTH, j->e.inner - from);
    double acc[WIDTH];
    for (int i = 0; i < WIDTH; i++) acc[i] = begin_of(j->kind);
    gather(j, acc, o * j->e.n * j->e.inner + from, j->e.n, j->e.inner, width);
    for (int64_t i = 0; i < width; i++)
      ml__store(j->y, j->dtype, o * j->e.inner + from + i, whole(j->kind, j->p, acc[i]));
  }
}

ml_err ml_norm_cpu(ml_tensor *y, const ml_tensor *x, double p, int64_t axis, int64_t keep) {
  job j = {.x = x->info.data,
           .y = y->info.data,
           .e = ml__groups(x, axis),
           .p = p,
           .kind = kind_of(p),
           .dtype = x->info.dtype};
  if (y->info.count == 0) return ML_OK;
  if (j.e.inner > 1) {
    j.blocks = (j.e.inner + WIDTH - 1) / WIDTH;
    ml_parallel(j.e.outer * j.blocks, ML_MAX(1, PIECE / (ML_MAX(1, j.e.n) * WIDTH)), blocks, &j);
    return ML_OK;
  }
  if (j.e.outer > 1 || j.e.n <= PIECE) {
    ml_parallel(j.e.outer, ML_MAX(1, PIECE / ML_MAX(1, j.e.n)), runs, &j);
    return ML_OK;
  }
  int64_t n = (j.e.n + PIECE - 1) / PIECE, bytes = n * (int64_t)sizeof *j.parts;
  double s = begin_of(j.kind);
  ML_TRY(ml__alloc((void **)&j.parts, bytes));
  ml_parallel(j.e.n, PIECE, pieces, &j);
  for (int64_t i = 0; i < n; i++) s = joined(j.kind, s, j.parts[i]);
  ml__release(j.parts, bytes);
  ml__store(y->info.data, j.dtype, 0, whole(j.kind, p, s));
  return ML_OK;
}

ml_err ml_norm_ref(ml_tensor *y, const ml_tensor *x, double p, int64_t axis, int64_t keep) {
  ml_groups e = ml__groups(x, axis);
  int kind = kind_of(p), d = x->info.dtype;
  for (int64_t g = 0; g < y->info.count; g++) {
    double s = begin_of(kind);
    for (int64_t m = 0; m < e.n; m++)
      s = joined(kind, s, part(kind, p, ml__load(x->info.data, d, ml__group_at(&e, g, m))));
    ml__store(y->info.data, d, g, whole(kind, p, s));
  }
  return ML_OK;
}

/* -- backward -- */

typedef struct back {
  const ml_tensor *x, *y, *g;
  ml_tensor *dx;
  ml_groups e;
  double p;
  int kind;
} back;

/* dx of x, where the norm is y and its gradient g; `equal`: how many are as large. */
static inline double slope(int kind, double p, double x, double y, double g, int64_t equal) {
  double sign = x > 0 ? 1 : x < 0 ? -1 : 0;
  if (kind == COUNT || (y == 0 && kind != ONE)) return 0;
  if (kind == TWO) return g * x / y;
  if (kind == ONE) return g * sign;
  if (kind == MOST || kind == LEAST) return fabs(x) == y ? g * sign / (double)equal : 0;
  return sign == 0 ? 0 : g * sign * pow(fabs(x) / y, p - 1);
}

static void slopes(void *ctx, int64_t begin, int64_t end) {
  const back *b = ctx;
  int d = b->x->info.dtype;
  for (int64_t i = begin; i < end; i++) {
    double y = ml__load(b->y->info.data, d, i), g = ml__load(b->g->info.data, d, i);
    int64_t equal = 0;
    for (int64_t m = 0; (b->kind == MOST || b->kind == LEAST) && m < b->e.n; m++)
      equal += fabs(ml__load(b->x->info.data, d, ml__group_at(&b->e, i, m))) == y;
    for (int64_t m = 0; m < b->e.n; m++) {
      int64_t at = ml__group_at(&b->e, i, m);
      ml__store(b->dx->info.data, d, at,
                slope(b->kind, b->p, ml__load(b->x->info.data, d, at), y, g, equal));
    }
  }
}

/* The hot one: g x / y, a row at a time, for groups side by side. */
ML_CLONES static void scale(float *restrict dx, const float *restrict x, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = x[i] * by;
}

static void scaled(void *ctx, int64_t begin, int64_t end) {
  const back *b = ctx;
  for (int64_t i = begin; i < end; i++) {
    float y = ml_f32(b->y)[i], by = y == 0 ? 0 : ml_f32(b->g)[i] / y;
    scale(ml_f32(b->dx) + i * b->e.n, ml_f32(b->x) + i * b->e.n, by, b->e.n);
  }
}

ml_err ml_norm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = NULL, *gc = NULL;
  if (!ml__wants(n->in[0])) return ML_OK;
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK) e = ml__contiguous(&gc, g);
  if (e == ML_OK) e = ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape);
  if (e == ML_OK) {
    back b = {.x = x,
              .y = n->saved[0],
              .g = gc,
              .dx = gin[0],
              .p = n->scalar[0].d,
              .e = ml__groups(x, n->scalar[1].i),
              .kind = kind_of(n->scalar[0].d)};
    bool hot = b.kind == TWO && x->info.dtype == ML_F32 && b.e.inner == 1;
    ml_parallel(b.y->info.count, ML_MAX(1, PIECE / 4 / ML_MAX(1, b.e.n)), hot ? scaled : slopes,
                &b);
  }
  ml__unref(x);
  ml__unref(gc);
  return e;
}
