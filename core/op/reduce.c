/*
 * reduce: sum, prod, max, min, argmax, argmin, any, all, count_nonzero along one axis or over all.
 *
 * x is seen as [outer, n, inner], of which the middle is reduced. Work is cut into blocks of a
 * group's inner elements, and long runs into pieces of PIECE elements: by shape alone. Sums and
 * products of floats run in double: a long sum keeps its digits. Contiguous runs go by 32
 * accumulators side by side, then together: the same on every machine. A core reads four places of
 * memory in turn faster than one (`tools/bench ops`): the quarters of a long run, or four rows.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/groups.h"

enum {
  LANES = 32,
  STREAM = LANES / 4,
  LONG = 1 << 14,
  MANY = 16, /* rows from which four at once pay, though some are left over */
  BLOCK = 1024,
  PIECE = 1 << 16,
  AHEAD = 1024 /* bytes: the hardware alone reads memory at four fifths of its speed */
};

typedef struct job {
  const void *x;
  void *y;
  ml_groups e;
  int64_t blocks, pieces; /* of inner elements; of a run */
  void *part;             /* accumulators of pieces, [outer, pieces] */
} job;

typedef void (*run_fn)(const void *x, int64_t n, void *acc);
typedef void (*rows_fn)(const void *x, int64_t n, int64_t apart, void *acc);
typedef void (*block_fn)(const job *j, int64_t o, int64_t from, int64_t to);
typedef void (*join_fn)(const void *parts, int64_t n, void *y, int64_t at);

typedef struct kernel {
  run_fn run;     /* one run into an accumulator */
  rows_fn rows;   /* four of n elements, so many rows apart, into accumulators as far apart */
  block_fn block; /* inner elements [from, to) of group o */
  join_fn join;   /* accumulators, in order, into an element of y */
  int64_t x_size, acc_size;
} kernel;

typedef struct call {
  job j;
  const kernel *k;
} call;

static void runs(void *ctx, int64_t begin, int64_t end) {
  call *c = ctx;
  const job *j = &c->j;
  for (int64_t i = begin; i < end; i++) {
    int64_t o = i / j->pieces, from = i % j->pieces * PIECE;
    c->k->run((const char *)j->x + (o * j->e.n + from) * c->k->x_size,
              ML_MIN(j->e.n - from, (int64_t)PIECE), (char *)j->part + i * c->k->acc_size);
  }
}

/* Four rows at once, far apart: of those left over, some a second time. One row has one result,
 * whichever rows go with it. */
static void rows(void *ctx, int64_t begin, int64_t end) {
  call *c = ctx;
  int64_t row = c->j.e.n * c->k->x_size, quarter = (end - begin) / 4;
  const char *x = c->j.x;
  char *part = c->j.part;
  for (int64_t i = begin; i < begin + quarter; i++)
    c->k->rows(x + i * row, c->j.e.n, quarter, part + i * c->k->acc_size);
  int64_t left = begin + 4 * quarter;
  if (left < end && quarter > 0)
    c->k->rows(x + (end - 4) * row, c->j.e.n, 1, part + (end - 4) * c->k->acc_size);
  for (; quarter == 0 && left < end; left++) /* one row, as four */
    c->k->rows(x + left * row, c->j.e.n, 0, part + left * c->k->acc_size);
}

static void blocks(void *ctx, int64_t begin, int64_t end) {
  call *c = ctx;
  for (int64_t i = begin; i < end; i++) {
    int64_t o = i / c->j.blocks, from = i % c->j.blocks * BLOCK;
    c->k->block(&c->j, o, from, ML_MIN(c->j.e.inner, from + BLOCK));
  }
}

static ml_err reduce(ml_tensor *y, const ml_tensor *x, int64_t axis, const kernel *k) {
  call c = {.j = {.x = x->info.data, .y = y->info.data, .e = ml__groups(x, axis)}, .k = k};
  job *j = &c.j;
  if (y->info.count == 0) return ML_OK;
  if (j->e.inner > 1) {
    j->blocks = (j->e.inner + BLOCK - 1) / BLOCK;
    int64_t work = ML_MAX(j->e.n, 1) * ML_MIN(j->e.inner, (int64_t)BLOCK);
    ml_parallel(j->e.outer * j->blocks, ML_MAX(1, PIECE / work), blocks, &c);
    return ML_OK;
  }
  _Alignas(16) char few[16 * 64];
  j->pieces = ML_MAX(1, (j->e.n + PIECE - 1) / PIECE);
  int64_t n = j->e.outer * j->pieces;
  j->part = n <= 64 ? few : malloc((size_t)(n * k->acc_size));
  if (!j->part) return ml_fail(ML_ENOMEM, "out of memory: parts of a reduction");
  int64_t grain = ML_MAX(1, PIECE / ML_MAX(1, ML_MIN(j->e.n, (int64_t)PIECE)));
  if (j->e.n < LONG && j->e.outer >= MANY && k->x_size > 1)
    ml_parallel(n, (grain + 3) / 4 * 4, rows, &c);
  else ml_parallel(n, grain, runs, &c);
  for (int64_t o = 0; o < j->e.outer; o++)
    k->join((char *)j->part + o * j->pieces * k->acc_size, j->pieces, j->y, o);
  if (j->part != few) free(j->part);
  return ML_OK;
}

/* acc: the accumulator, v: an element, or another accumulator in JOIN. Halves go together, as a
 * chain would cost short runs. */
#define KERNEL(NAME, T, A, Y, INIT, STEP, JOIN)                                            \
  static inline A NAME##_step(A a, T v) { return STEP; }                                   \
  static inline A NAME##_halves(A *lane, int n) {                                          \
    for (int w = n / 2; w > 0; w /= 2) {                                                   \
      for (int k = 0; k < w; k++) {                                                        \
        A a = lane[k], v = lane[k + w];                                                    \
        lane[k] = JOIN;                                                                    \
      }                                                                                    \
    }                                                                                      \
    return lane[0];                                                                        \
  }                                                                                        \
  static inline __attribute__((always_inline)) void NAME##_streams(                        \
      const T *x, int64_t steps, int64_t apart, int64_t ahead, A *lane) {                  \
    for (; steps > 0; steps--, x += ahead) {                                               \
      __builtin_prefetch((const char *)x + AHEAD);                                         \
      __builtin_prefetch((const char *)(x + 2 * apart) + AHEAD);                           \
      _Pragma("GCC unroll 1") for (int k = 0; k < STREAM; k++) {                           \
        lane[k] = NAME##_step(lane[k], x[k]);                                              \
        lane[STREAM + k] = NAME##_step(lane[STREAM + k], x[apart + k]);                    \
        lane[2 * STREAM + k] = NAME##_step(lane[2 * STREAM + k], x[2 * apart + k]);        \
        lane[3 * STREAM + k] = NAME##_step(lane[3 * STREAM + k], x[3 * apart + k]);        \
      }                                                                                    \
    }                                                                                      \
  }                                                                                        \
  ML_CLONES static void NAME##_run(const void *px, int64_t n, void *out) {                 \
    const T *x = px;                                                                       \
    A lane[LANES];                                                                         \
    for (int k = 0; k < LANES; k++) lane[k] = INIT;                                        \
    int64_t steps = n / LANES;                                                             \
    if (sizeof(T) == 1) { /* bound by the sums: side by side they go faster */             \
      for (int64_t s = 0; s < steps; s++)                                                  \
        for (int k = 0; k < LANES; k++) lane[k] = NAME##_step(lane[k], x[s * LANES + k]);  \
    } else if (n < LONG) {                                                                 \
      NAME##_streams(x, steps, STREAM, LANES, lane);                                       \
    } else {                                                                               \
      NAME##_streams(x, steps, steps *STREAM, STREAM, lane);                               \
    }                                                                                      \
    for (int64_t i = steps * LANES; i < n; i++)                                            \
      lane[i % LANES] = NAME##_step(lane[i % LANES], x[i]);                                \
    *(A *)out = NAME##_halves(lane, LANES);                                                \
  }                                                                                        \
  ML_CLONES static void NAME##_rows(const void *px, int64_t n, int64_t apart, void *out) { \
    const T *x = px;                                                                       \
    A lane[LANES];                                                                         \
    for (int k = 0; k < LANES; k++) lane[k] = INIT;                                        \
    int64_t steps = n / STREAM;                                                            \
    NAME##_streams(x, steps, apart *n, STREAM, lane);                                      \
    for (int64_t r = 0; r < 4; r++) {                                                      \
      A *own = lane + r * STREAM;                                                          \
      for (int64_t i = steps * STREAM; i < n; i++)                                         \
        own[i % STREAM] = NAME##_step(own[i % STREAM], x[r * apart * n + i]);              \
      ((A *)out)[r * apart] = NAME##_halves(own, STREAM);                                  \
    }                                                                                      \
  }                                                                                        \
  ML_CLONES static void NAME##_block(const job *j, int64_t o, int64_t from, int64_t to) {  \
    A acc[BLOCK];                                                                          \
    int64_t n = to - from;                                                                 \
    for (int64_t i = 0; i < n; i++) acc[i] = INIT;                                         \
    for (int64_t m = 0; m < j->e.n; m++) {                                                 \
      const T *restrict x = (const T *)j->x + (o * j->e.n + m) * j->e.inner + from;        \
      for (int64_t i = 0; i < n; i++) {                                                    \
        A a = acc[i];                                                                      \
        T v = x[i];                                                                        \
        acc[i] = STEP;                                                                     \
      }                                                                                    \
    }                                                                                      \
    for (int64_t i = 0; i < n; i++) ((Y *)j->y)[o * j->e.inner + from + i] = (Y)acc[i];    \
  }                                                                                        \
  static void NAME##_join(const void *parts, int64_t n, void *y, int64_t at) {             \
    A acc = INIT;                                                                          \
    for (int64_t i = 0; i < n; i++) {                                                      \
      A a = acc, v = ((const A *)parts)[i];                                                \
      acc = JOIN;                                                                          \
    }                                                                                      \
    ((Y *)y)[at] = (Y)acc;                                                                 \
  }                                                                                        \
  static const kernel NAME = {NAME##_run,  NAME##_rows, NAME##_block,                      \
                              NAME##_join, sizeof(T),   sizeof(A)};

#define INTEGERS(NAME, INIT64, INIT32, INIT8, STEP)                 \
  KERNEL(NAME##_i64, int64_t, int64_t, int64_t, INIT64, STEP, STEP) \
  KERNEL(NAME##_i32, int32_t, int64_t, int32_t, INIT32, STEP, STEP) \
  KERNEL(NAME##_u8, uint8_t, int64_t, uint8_t, INIT8, STEP, STEP)

#define BY_DTYPE(NAME)                                                        \
  static const kernel *const NAME##_kernels[ML_DTYPES] = {                    \
      [ML_F64] = &NAME##_f64, [ML_F32] = &NAME##_f32, [ML_I64] = &NAME##_i64, \
      [ML_I32] = &NAME##_i32, [ML_U8] = &NAME##_u8,   [ML_BOOL] = &NAME##_u8};

#define SUMS(NAME)                                         \
  static const kernel *const NAME##_kernels[ML_DTYPES] = { \
      [ML_F64] = &NAME##_f64, [ML_F32] = &NAME##_f32, [ML_I64] = &NAME##_i64};

KERNEL(sum_f64, double, double, double, 0, a + v, a + v)
KERNEL(sum_f32, float, double, float, 0, a + (double)v, a + v)
KERNEL(sum_i64, int64_t, int64_t, int64_t, 0, a + v, a + v)
SUMS(sum)

KERNEL(prod_f64, double, double, double, 1, a *v, a *v)
KERNEL(prod_f32, float, double, float, 1, a *(double)v, a *v)
KERNEL(prod_i64, int64_t, int64_t, int64_t, 1, a *v, a *v)
SUMS(prod)

#define LARGER (v > a) | (v != v) ? v : a
#define SMALLER (v < a) | (v != v) ? v : a
KERNEL(max_f64, double, double, double, -HUGE_VAL, LARGER, LARGER)
KERNEL(max_f32, float, float, float, -HUGE_VALF, LARGER, LARGER)
INTEGERS(max, INT64_MIN, INT32_MIN, 0, v > a ? v : a)
BY_DTYPE(max)
KERNEL(min_f64, double, double, double, HUGE_VAL, SMALLER, SMALLER)
KERNEL(min_f32, float, float, float, HUGE_VALF, SMALLER, SMALLER)
INTEGERS(min, INT64_MAX, INT32_MAX, 255, v < a ? v : a)
BY_DTYPE(min)

KERNEL(any_bool, uint8_t, uint8_t, uint8_t, 0, a | (v != 0), a | v)
KERNEL(all_bool, uint8_t, uint8_t, uint8_t, 1, a &(v != 0), a &v)

KERNEL(count_f64, double, int64_t, int64_t, 0, a + (v != 0), a + v)
KERNEL(count_f32, float, int64_t, int64_t, 0, a + (v != 0), a + v)
KERNEL(count_i64, int64_t, int64_t, int64_t, 0, a + (v != 0), a + v)
KERNEL(count_i32, int32_t, int64_t, int64_t, 0, a + (v != 0), a + v)
KERNEL(count_u8, uint8_t, int64_t, int64_t, 0, a + (v != 0), a + v)
BY_DTYPE(count)

/* The reference, one element after the other; long double holds any int64_t. */
typedef long double (*step_fn)(long double a, long double v);

static long double load(const ml_tensor *t, int64_t i) {
  if (t->info.dtype == ML_I64) return (long double)((const int64_t *)t->info.data)[i];
  return (long double)ml__load(t->info.data, t->info.dtype, i);
}

static ml_err plain(ml_tensor *y, const ml_tensor *x, int64_t axis, long double init, step_fn f) {
  ml_groups e = ml__groups(x, axis);
  for (int64_t g = 0; g < e.outer * e.inner; g++) {
    long double a = init;
    for (int64_t m = 0; m < e.n; m++) a = f(a, load(x, ml__group_at(&e, g, m)));
    if (y->info.dtype == ML_I64)
      ((int64_t *)y->info.data)[g] =
          a < 0x1p63L ? a >= -0x1p63L ? (int64_t)a : INT64_MIN : INT64_MAX;
    else ml__store(y->info.data, y->info.dtype, g, (double)a);
  }
  return ML_OK;
}

static long double plus(long double a, long double v) { return a + v; }
static long double times(long double a, long double v) { return a * v; }
static long double larger(long double a, long double v) { return v > a || v != v ? v : a; }
static long double smaller(long double a, long double v) { return v < a || v != v ? v : a; }
static long double either(long double a, long double v) { return a != 0 || v != 0; }
static long double both(long double a, long double v) { return a != 0 && v != 0; }
static long double another(long double a, long double v) { return a + (v != 0); }

#define REDUCTION(NAME, KERNELS, INIT, STEP)                                             \
  ml_err ml_##NAME##_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) { \
    return reduce(y, x, axis, KERNELS);                                                  \
  }                                                                                      \
  ml_err ml_##NAME##_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) { \
    return plain(y, x, axis, INIT, STEP);                                                \
  }

REDUCTION(sum, sum_kernels[x->info.dtype], 0, plus)
REDUCTION(prod, prod_kernels[x->info.dtype], 1, times)
REDUCTION(max, max_kernels[x->info.dtype], -(long double)HUGE_VAL, larger)
REDUCTION(min, min_kernels[x->info.dtype], (long double)HUGE_VAL, smaller)
REDUCTION(any, &any_bool, 0, either)
REDUCTION(all, &all_bool, 1, both)
REDUCTION(count_nonzero, count_kernels[x->info.dtype], 0, another)

/* The first position of the largest (sign 1) or smallest (-1); of a NaN where there is one. */
static ml_err position(ml_tensor *y, const ml_tensor *x, int64_t axis, int sign) {
  ml_groups e = ml__groups(x, axis);
  for (int64_t g = 0; g < e.outer * e.inner; g++) {
    int64_t best = 0;
    long double top = sign * load(x, ml__group_at(&e, g, 0));
    for (int64_t m = 1; m < e.n && top == top; m++) {
      long double v = sign * load(x, ml__group_at(&e, g, m));
      if (v > top || v != v) top = v, best = m;
    }
    ((int64_t *)y->info.data)[g] = best;
  }
  return ML_OK;
}

/* Along contiguous rows of f32: the extreme, then where it is first, or the first NaN. */
ML_CLONES static int64_t first_of(const float *x, int64_t n, float v) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    int found = 0;
    for (int k = 0; k < 64; k++) found |= (x[i + k] == v) | ((x[i + k] != x[i + k]) & (v != v));
    if (found) break;
  }
  while (i < n && !(x[i] == v || (v != v && x[i] != x[i]))) i++;
  return i;
}

typedef struct positions {
  const float *x;
  int64_t *y, n;
  run_fn extreme;
} positions;

static void rows_positions(void *ctx, int64_t begin, int64_t end) {
  positions *p = ctx;
  for (int64_t r = begin; r < end; r++) {
    float v;
    p->extreme(p->x + r * p->n, p->n, &v);
    p->y[r] = first_of(p->x + r * p->n, p->n, v);
  }
}

static ml_err position_f32(ml_tensor *y, const ml_tensor *x, int64_t axis, int sign) {
  ml_groups e = ml__groups(x, axis);
  if (e.inner > 1) return position(y, x, axis, sign);
  positions p = {ml_f32(x), y->info.data, e.n, sign > 0 ? max_f32_run : min_f32_run};
  ml_parallel(e.outer, ML_MAX(1, PIECE / ML_MAX(1, e.n)), rows_positions, &p);
  return ML_OK;
}

ml_err ml_argmax_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  return position_f32(y, x, axis, 1);
}

ml_err ml_argmin_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  return position_f32(y, x, axis, -1);
}

ml_err ml_argmax_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  return position(y, x, axis, 1);
}

ml_err ml_argmin_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  return position(y, x, axis, -1);
}

/* -- gradients -- */

ml_err ml_sum_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = n->in[0], *kept = NULL;
  int64_t shape[ML_MAX_DIM], axis = n->scalar[0].i;
  int a = (int)(axis < 0 ? axis + x->info.ndim : axis - 1);
  for (int d = 0; d < x->info.ndim; d++) shape[d] = axis == 0 || d == a ? 1 : x->info.shape[d];
  ML_TRY(ml__record_view(&kept, g, x->info.ndim, shape, NULL, 0));
  ml_err e = ml__op_expand(&gin[0], kept, x);
  ml__unref(kept);
  return e;
}

/* dx[m] = g times the product of all others: of those before and those after. */
static void prod_group(const ml_groups *e, int64_t i, const ml_tensor *x, double g, ml_tensor *dx) {
  int d = x->info.dtype;
  double before = 1;
  for (int64_t m = 0; m < e->n; m++) {
    int64_t at = ml__group_at(e, i, m);
    ml__store(dx->info.data, d, at, g * before);
    before *= ml__load(x->info.data, d, at);
  }
  double after = 1;
  for (int64_t m = e->n; m-- > 0;) {
    int64_t at = ml__group_at(e, i, m);
    ml__store(dx->info.data, d, at, ml__load(dx->info.data, d, at) * after);
    after *= ml__load(x->info.data, d, at);
  }
}

/* Each of several largest has an equal share, as of several smallest. */
static void extreme_group(const ml_groups *e, int64_t i, const ml_tensor *x, double g, double y,
                          ml_tensor *dx) {
  int d = x->info.dtype;
  int64_t equal = 0;
  for (int64_t m = 0; m < e->n; m++) equal += ml__load(x->info.data, d, ml__group_at(e, i, m)) == y;
  for (int64_t m = 0; m < e->n; m++) {
    int64_t at = ml__group_at(e, i, m);
    bool is = ml__load(x->info.data, d, at) == y;
    ml__store(dx->info.data, d, at, is ? g / (double)equal : 0);
  }
}

static ml_err by_group(ml_node *n, ml_tensor *g, ml_tensor **gin, bool extreme) {
  ml_tensor *x, *y = n->saved[0];
  ML_TRY(ml__contiguous(&x, n->in[0]));
  ml_err err = ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape);
  if (err == ML_OK) {
    ml_groups e = ml__groups(x, n->scalar[0].i);
    for (int64_t i = 0; i < e.outer * e.inner; i++) {
      double gi = ml__load(g->info.data, g->info.dtype, i);
      if (extreme) extreme_group(&e, i, x, gi, ml__load(y->info.data, y->info.dtype, i), gin[0]);
      else prod_group(&e, i, x, gi, gin[0]);
    }
  }
  ml__unref(x);
  return err;
}

ml_err ml_prod_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_group(n, g, gin, false);
}

ml_err ml_extreme_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_group(n, g, gin, true);
}
