/*
 * pool: the largest element, or the mean, of windows that slide over one to three axes.
 *
 *   x [N, C, in…]  y [N, C, out…], f32 or f64
 *
 * Windows are tables, by axis: where each begins, how many elements of x it has, what it counts
 * for. So plain and adaptive pools are one loop. An output row takes two steps: the rows of x under
 * it become one, element by element, then each window its part of that row. Planes are cut among
 * the threads; nothing is summed across them. f64 and the reference differ in the type alone:
 * PyTorch is what both are compared with (spec/op/torch_spec.lua).
 *
 * Sizes, ceil and what counts in a mean are PyTorch's (Pool.h, AvgPoolKernel).
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/window.h"

typedef struct span {
  int64_t from, n, counts; /* elements from + k step, k < n; counts: with padding, of a mean */
} span;

typedef struct pool {
  ml_axis axis[3];
  span *span[3];
  int64_t in, out; /* elements of a plane */
  bool is_max;
} pool;

enum { MOST = 0x7fffffff, MOST_PADDING = 1 << 20 };

/* -- windows -- */

static ml_err check_axes(const char *op, const ml_tensor *x, int *axes) {
  char got[ML_SHAPE_TEXT];
  *axes = x->info.ndim - 2;
  bool some = *axes >= 1 && *axes <= 3;
  for (int d = 0; some && d < *axes; d++) some = x->info.shape[2 + d] > 0;
  if (!some)
    return ml_fail(
        ML_ESHAPE,
        "bad argument #1 to '%s' (x: expected [N, C, *] with one to three axes after the "
        "channels, none empty, got %s)",
        op, ml__shape_text(got, x->info.ndim, x->info.shape));
  return ML_OK;
}

static ml_err check_number(const char *op, int i, const char *name, int64_t v, int64_t least,
                           int64_t most) {
  if (v >= least && v <= most) return ML_OK;
  return ml_fail(ML_EARG, "bad argument #%d to '%s' (%s: expected %lld to %lld, got %lld)", i, op,
                 name, (long long)least, (long long)most, (long long)v);
}

/* How many windows there are; a is complete but for `out`. */
static ml_err slide(ml_axis *a, const char *op, int axis, bool up) {
  ML_TRY(check_number(op, 2, "kernel", a->kernel, 1, MOST));
  ML_TRY(check_number(op, 3, "stride", a->stride, 1, MOST));
  ML_TRY(check_number(op, 3, "dilation", a->dilation, 1, MOST));
  int64_t reach = a->dilation * (a->kernel - 1) + 1, most = ML_MIN(reach - 1, MOST_PADDING);
  ML_TRY(check_number(op, 3, "padding", a->before, 0, most));
  ML_TRY(check_number(op, 3, "padding", a->after, 0, most));
  int64_t room = a->in + a->before + a->after - reach;
  if (room < 0)
    return ml_fail(
        ML_ESHAPE,
        "bad argument #2 to '%s' (kernel: it reaches over %lld along axis %d of x, which "
        "has %lld with its padding)",
        op, (long long)reach, axis, (long long)(a->in + a->before + a->after));
  a->out = room / a->stride + 1;
  /* one more where it begins within x or the padding before it */
  if (up && room % a->stride != 0 && a->out * a->stride < a->in + a->before) a->out++;
  return ML_OK;
}

typedef struct by_axis {
  int64_t kernel[3], stride[3], dilation[3], before[3], after[3];
} by_axis;

static const ml_axis single = {1, 1, 1, 1, 1, 0, 0};

static ml_err sliding(pool *p, const char *op, const ml_tensor *x, const by_axis *by, bool up) {
  int axes;
  ML_TRY(check_axes(op, x, &axes));
  *p = (pool){.axis = {single, single, single}};
  for (int d = 0; d < axes; d++) {
    ml_axis *a = &p->axis[3 - axes + d];
    *a = (ml_axis){x->info.shape[2 + d], 0,           by->kernel[d], by->stride[d], by->dilation[d],
                   by->before[d],        by->after[d]};
    ML_TRY(slide(a, op, d + 3, up));
  }
  return ML_OK;
}

static ml_err adaptive(pool *p, const char *op, const ml_tensor *x, const int64_t size[3]) {
  int axes;
  ML_TRY(check_axes(op, x, &axes));
  *p = (pool){.axis = {single, single, single}};
  for (int d = 0; d < axes; d++) {
    ML_TRY(check_number(op, 2, "size", size[d], 1, MOST));
    p->axis[3 - axes + d] = (ml_axis){x->info.shape[2 + d], size[d], 0, 0, 1, 0, 0};
  }
  return ML_OK;
}

static ml_err shape_of(int *nd, int64_t *shape, const ml_tensor *x, const pool *p) {
  *nd = x->info.ndim;
  memcpy(shape, x->info.shape, sizeof *shape * 2);
  for (int d = 2; d < *nd; d++) shape[d] = p->axis[3 - *nd + d].out;
  return ML_OK;
}

#define BY_AXIS                                                                         \
  {                                                                                     \
    {ML_PASS3(kernel)}, {ML_PASS3(stride)}, {ML_PASS3(dilation)}, {ML_PASS3(before)}, { \
      ML_PASS3(after)                                                                   \
    }                                                                                   \
  }
#define BY_MEAN                                                                                \
  {                                                                                            \
    {ML_PASS3(kernel)}, {ML_PASS3(stride)}, {1, 1, 1}, {ML_PASS3(before)}, { ML_PASS3(after) } \
  }

ml_err ml__shape_pool(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                      ML_POOL_NUMBERS) {
  pool p;
  ML_TRY(sliding(&p, op, x, &(by_axis)BY_AXIS, ceil));
  return shape_of(nd, shape, x, &p);
}

ml_err ml__shape_average(int *nd, int64_t *shape, const ml_tensor *x, ML_AVERAGE_NUMBERS) {
  pool p;
  ML_TRY(sliding(&p, "avg_pool", x, &(by_axis)BY_MEAN, ceil));
  return shape_of(nd, shape, x, &p);
}

ml_err ml__shape_adaptive(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                          ML_INT3(size)) {
  pool p;
  ML_TRY(adaptive(&p, op, x, (int64_t[]){ML_PASS3(size)}));
  return shape_of(nd, shape, x, &p);
}

static span slid(const ml_axis *a, int64_t o, bool include) {
  int64_t from = o * a->stride - a->before, d = a->dilation;
  int64_t skip = from < 0 ? (-from + d - 1) / d : 0; /* what lies before x */
  int64_t inside = (a->in - 1 - (from + skip * d)) / d + 1;
  int64_t n = from + skip * d >= a->in ? 0 : ML_MIN(a->kernel - skip, inside);
  int64_t end = ML_MIN(from + a->kernel, a->in + a->after); /* a mean's: dilation 1 */
  return (span){from + skip * d, ML_MAX(0, n), include ? end - from : ML_MAX(0, n)};
}

static span cut(const ml_axis *a, int64_t o) {
  int64_t from = o * a->in / a->out, end = ((o + 1) * a->in + a->out - 1) / a->out;
  return (span){from, end - from, end - from};
}

/* The tables, in one block that span[0] begins. */
static ml_err tables(pool *p, bool is_max, bool include) {
  int64_t total = 0;
  p->in = p->out = 1;
  p->is_max = is_max;
  for (int d = 0; d < 3; d++) {
    total += p->axis[d].out;
    p->in *= p->axis[d].in;
    p->out *= p->axis[d].out;
  }
  span *s = malloc((size_t)total * sizeof *s);
  if (!s) return ml_fail(ML_ENOMEM, "out of memory: %lld windows", (long long)total);
  for (int d = 0; d < 3; d++) {
    const ml_axis *a = &p->axis[d];
    p->span[d] = s;
    for (int64_t o = 0; o < a->out; o++) *s++ = a->kernel ? slid(a, o, include) : cut(a, o);
  }
  return ML_OK;
}

/* -- loops -- */

typedef struct job {
  const pool *p;
  const char *x, *g;
  char *y;          /* or dx */
  int64_t *indices; /* of max_pool_indices */
  atomic_bool failed;
} job;

static inline int64_t row_of(const pool *p, const span *s0, const span *s1, int64_t i, int64_t j) {
  const ml_axis *a = p->axis;
  int64_t first = s0->from + i * a[0].dilation;
  return (first * a[1].in + s1->from + j * a[1].dilation) * a[2].in;
}

/*
 * largest: where a window has its largest element: the first; the last NaN before all.
 * under:   to[i] = the sum, or the largest, of x[row][i] over the window's rows.
 * forward: a plane of y.  max_back, mean_back: a plane of dx, zeros before.
 */
#define LOOPS(T)                                                                                   \
  static int64_t largest_##T(const pool *p, const T *x, const span *s0, const span *s1,            \
                             const span *s2) {                                                     \
    if (s0->n == 0 || s1->n == 0 || s2->n == 0) return -1;                                         \
    int64_t at = row_of(p, s0, s1, 0, 0) + s2->from, step = p->axis[2].dilation, is_nan = 0;       \
    T top = x[at];                                                                                 \
    for (int64_t i = 0; i < s0->n; i++) {                                                          \
      for (int64_t j = 0; j < s1->n; j++) {                                                        \
        int64_t from = row_of(p, s0, s1, i, j) + s2->from;                                         \
        for (int64_t k = 0; k < s2->n; k++) { /* without branches: they would be guessed wrong */  \
          T v = x[from + k * step];                                                                \
          at = v > top ? from + k * step : at;                                                     \
          top = v > top ? v : top;                                                                 \
          is_nan |= v != v;                                                                        \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
    for (int64_t i = 0; is_nan && i < s0->n; i++) {                                                \
      for (int64_t j = 0; j < s1->n; j++) {                                                        \
        int64_t from = row_of(p, s0, s1, i, j) + s2->from;                                         \
        for (int64_t k = 0; k < s2->n; k++)                                                        \
          if (x[from + k * step] != x[from + k * step]) at = from + k * step;                      \
      }                                                                                            \
    }                                                                                              \
    return at;                                                                                     \
  }                                                                                                \
  ML_CLONES static void under_##T(const pool *p, const T *x, const span *s0, const span *s1,       \
                                  T *restrict to) {                                                \
    int64_t n = p->axis[2].in;                                                                     \
    for (int64_t i = 0; i < n; i++) to[i] = p->is_max ? (T)-HUGE_VAL : 0;                          \
    for (int64_t i = 0; i < s0->n; i++) {                                                          \
      for (int64_t j = 0; j < s1->n; j++) {                                                        \
        const T *restrict row = x + row_of(p, s0, s1, i, j);                                       \
        if (p->is_max)                                                                             \
          for (int64_t k = 0; k < n; k++)                                                          \
            to[k] = row[k] > to[k] || row[k] != row[k] ? row[k] : to[k];                           \
        else                                                                                       \
          for (int64_t k = 0; k < n; k++) to[k] += row[k];                                         \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void forward_##T(const pool *p, const T *x, T *row, T *y) {                               \
    int64_t step = p->axis[2].dilation;                                                            \
    for (int64_t o0 = 0; o0 < p->axis[0].out; o0++) {                                              \
      for (int64_t o1 = 0; o1 < p->axis[1].out; o1++) {                                            \
        const span *s0 = &p->span[0][o0], *s1 = &p->span[1][o1];                                   \
        double counts = (double)s0->counts * (double)s1->counts;                                   \
        under_##T(p, x, s0, s1, row);                                                              \
        for (int64_t o2 = 0; o2 < p->axis[2].out; o2++) {                                          \
          const span *s2 = &p->span[2][o2];                                                        \
          const T *from = row + s2->from;                                                          \
          if (p->is_max) {                                                                         \
            T top = (T)-HUGE_VAL;                                                                  \
            for (int64_t k = 0; k < s2->n; k++)                                                    \
              top =                                                                                \
                  from[k * step] > top || from[k * step] != from[k * step] ? from[k * step] : top; \
            *y++ = top;                                                                            \
          } else {                                                                                 \
            double sum = 0;                                                                        \
            for (int64_t k = 0; k < s2->n; k++) sum += (double)from[k];                            \
            *y++ = (T)(sum / (counts * (double)s2->counts));                                       \
          }                                                                                        \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void max_back_##T(const pool *p, const T *x, const T *g, T *dx) {                         \
    for (int64_t o0 = 0; o0 < p->axis[0].out; o0++) {                                              \
      for (int64_t o1 = 0; o1 < p->axis[1].out; o1++) {                                            \
        for (int64_t o2 = 0; o2 < p->axis[2].out; o2++, g++) {                                     \
          int64_t at = largest_##T(p, x, &p->span[0][o0], &p->span[1][o1], &p->span[2][o2]);       \
          if (at >= 0) dx[at] += *g;                                                               \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void mean_back_##T(const pool *p, const T *g, T *restrict dx) {                           \
    for (int64_t o0 = 0; o0 < p->axis[0].out; o0++) {                                              \
      for (int64_t o1 = 0; o1 < p->axis[1].out; o1++) {                                            \
        const span *s0 = &p->span[0][o0], *s1 = &p->span[1][o1];                                   \
        double counts = (double)s0->counts * (double)s1->counts;                                   \
        for (int64_t o2 = 0; o2 < p->axis[2].out; o2++) {                                          \
          const span *s2 = &p->span[2][o2];                                                        \
          T each = (T)((double)*g++ / (counts * (double)s2->counts));                              \
          for (int64_t i = 0; i < s0->n; i++) {                                                    \
            for (int64_t j = 0; j < s1->n; j++) {                                                  \
              T *restrict to = dx + row_of(p, s0, s1, i, j) + s2->from;                            \
              for (int64_t k = 0; k < s2->n; k++) to[k] += each;                                   \
            }                                                                                      \
          }                                                                                        \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
  }                                                                                                \
  static void forward_planes_##T(void *ctx, int64_t begin, int64_t end) {                          \
    job *j = ctx;                                                                                  \
    T *row = malloc((size_t)j->p->axis[2].in * sizeof *row);                                       \
    if (!row) atomic_store(&j->failed, true);                                                      \
    for (int64_t i = begin; row && i < end; i++)                                                   \
      forward_##T(j->p, (const T *)j->x + i * j->p->in, row, (T *)j->y + i * j->p->out);           \
    free(row);                                                                                     \
  }                                                                                                \
  static void backward_planes_##T(void *ctx, int64_t begin, int64_t end) {                         \
    job *j = ctx;                                                                                  \
    for (int64_t i = begin; i < end; i++) {                                                        \
      const T *g = (const T *)j->g + i * j->p->out;                                                \
      T *dx = (T *)j->y + i * j->p->in;                                                            \
      memset(dx, 0, (size_t)j->p->in * sizeof *dx);                                                \
      if (j->p->is_max) max_back_##T(j->p, (const T *)j->x + i * j->p->in, g, dx);                 \
      else mean_back_##T(j->p, g, dx);                                                             \
    }                                                                                              \
  }                                                                                                \
  static void index_planes_##T(void *ctx, int64_t begin, int64_t end) {                            \
    job *j = ctx;                                                                                  \
    const pool *p = j->p;                                                                          \
    for (int64_t i = begin; i < end; i++) {                                                        \
      int64_t *to = j->indices + i * p->out;                                                       \
      const T *x = (const T *)j->x + i * p->in;                                                    \
      for (int64_t o0 = 0; o0 < p->axis[0].out; o0++)                                              \
        for (int64_t o1 = 0; o1 < p->axis[1].out; o1++)                                            \
          for (int64_t o2 = 0; o2 < p->axis[2].out; o2++)                                          \
            *to++ = largest_##T(p, x, &p->span[0][o0], &p->span[1][o1], &p->span[2][o2]);          \
    }                                                                                              \
  }

LOOPS(float)
LOOPS(double)

/* Frees the tables. */
static ml_err run(pool *p, ml_err e, const ml_tensor *x, job *j, ml_body in_f32, ml_body in_f64) {
  if (e < 0) return e;
  int64_t planes = x->info.shape[0] * x->info.shape[1];
  j->p = p;
  ml_parallel(planes, (1 << 14) / p->in + 1, x->info.dtype == ML_F32 ? in_f32 : in_f64, j);
  free(p->span[0]);
  return atomic_load(&j->failed) ? ml_fail(ML_ENOMEM, "out of memory: a row of a pool") : ML_OK;
}

static ml_err forward(pool *p, bool is_max, bool include, ml_tensor *y, const ml_tensor *x) {
  if (y->info.count == 0) return ML_OK;
  job j = {.x = x->info.data, .y = y->info.data};
  return run(p, tables(p, is_max, include), x, &j, forward_planes_float, forward_planes_double);
}

static ml_err backward(pool *p, bool is_max, bool include, ml_node *n, const ml_tensor *x,
                       const ml_tensor *g, ml_tensor **gin) {
  ML_TRY(ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape));
  if (x->info.count == 0) return ML_OK;
  job j = {.x = x->info.data, .g = g->info.data, .y = gin[0]->info.data};
  return run(p, tables(p, is_max, include), x, &j, backward_planes_float, backward_planes_double);
}

/* -- operations -- */

static ml_err max_pool(ml_tensor *y, const ml_tensor *x, const by_axis *by, bool up) {
  pool p;
  ML_TRY(sliding(&p, "max_pool", x, by, up));
  return forward(&p, true, false, y, x);
}

static ml_err max_pool_indices(ml_tensor *i, const ml_tensor *x, const by_axis *by, bool up) {
  pool p;
  ML_TRY(sliding(&p, "max_pool", x, by, up));
  if (i->info.count == 0) return ML_OK;
  job j = {.x = x->info.data, .indices = i->info.data};
  return run(&p, tables(&p, true, false), x, &j, index_planes_float, index_planes_double);
}

static ml_err avg_pool(ml_tensor *y, const ml_tensor *x, const by_axis *by, bool up, bool include) {
  pool p;
  ML_TRY(sliding(&p, "avg_pool", x, by, up));
  return forward(&p, false, include, y, x);
}

static ml_err parts(ml_tensor *y, const ml_tensor *x, const int64_t size[3], bool is_max) {
  pool p;
  ML_TRY(adaptive(&p, "adaptive_pool", x, size));
  return forward(&p, is_max, false, y, x);
}

#define BOTH(WAY)                                                                       \
  ml_err ml_max_pool_##WAY(ml_tensor *y, const ml_tensor *x, ML_POOL_NUMBERS) {         \
    return max_pool(y, x, &(by_axis)BY_AXIS, ceil);                                     \
  }                                                                                     \
  ml_err ml_max_pool_indices_##WAY(ml_tensor *i, const ml_tensor *x, ML_POOL_NUMBERS) { \
    return max_pool_indices(i, x, &(by_axis)BY_AXIS, ceil);                             \
  }                                                                                     \
  ml_err ml_avg_pool_##WAY(ml_tensor *y, const ml_tensor *x, ML_AVERAGE_NUMBERS) {      \
    return avg_pool(y, x, &(by_axis)BY_MEAN, ceil, include);                            \
  }                                                                                     \
  ml_err ml_adaptive_avg_pool_##WAY(ml_tensor *y, const ml_tensor *x, ML_INT3(size)) {  \
    return parts(y, x, (int64_t[]){ML_PASS3(size)}, false);                             \
  }                                                                                     \
  ml_err ml_adaptive_max_pool_##WAY(ml_tensor *y, const ml_tensor *x, ML_INT3(size)) {  \
    return parts(y, x, (int64_t[]){ML_PASS3(size)}, true);                              \
  }
BOTH(cpu)
BOTH(ref)

static ml_err sliding_backward(ml_node *n, ml_tensor *g, ml_tensor **gin, bool is_max) {
  ml_tensor *x;
  pool p;
  by_axis by = {.dilation = {1, 1, 1}};
  int64_t *of[] = {by.kernel, by.stride, is_max ? by.dilation : by.before,
                   is_max ? by.before : by.after, by.after};
  int at = 0;
  for (int k = 0; k < (is_max ? 5 : 4); k++)
    for (int d = 0; d < 3; d++) of[k][d] = n->scalar[at++].i;
  ML_TRY(ml__contiguous(&x, n->in[0]));
  ml_err e = sliding(&p, n->name, x, &by, n->scalar[at].i);
  if (e == ML_OK) e = backward(&p, is_max, !is_max && n->scalar[at + 1].i, n, x, g, gin);
  ml__unref(x);
  return e;
}

static ml_err adaptive_backward(ml_node *n, ml_tensor *g, ml_tensor **gin, bool is_max) {
  ml_tensor *x;
  pool p;
  ML_TRY(ml__contiguous(&x, n->in[0]));
  ml_err e = adaptive(&p, n->name, x, (int64_t[]){n->scalar[0].i, n->scalar[1].i, n->scalar[2].i});
  if (e == ML_OK) e = backward(&p, is_max, false, n, x, g, gin);
  ml__unref(x);
  return e;
}

ml_err ml_max_pool_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return sliding_backward(n, g, gin, true);
}

ml_err ml_avg_pool_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return sliding_backward(n, g, gin, false);
}

ml_err ml_adaptive_avg_pool_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return adaptive_backward(n, g, gin, false);
}

ml_err ml_adaptive_max_pool_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return adaptive_backward(n, g, gin, true);
}
