/*
 * resample: y[.., o, ..] = (1 - t) x[.., i, ..] + t x[.., i + 1, ..] along one axis.
 *
 *   nearest  i = floor(o step), t = 0
 *   linear   i + t = max(0, (o + 1/2) step - 1/2): elements are areas, their middles are met
 *   corners  i + t = o step: elements are points, first and last are kept where the step is
 *            (n - 1) / (size - 1)
 *
 * Beyond the last element there is the last one. Places are tables, in double; x f32 or f64 in its
 * own type. Two axes one after the other are PyTorch's bilinear, three its trilinear.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/groups.h"

typedef struct place {
  int64_t i, next;
  double t;
} place;

ml_err ml__shape_resample(int *nd, int64_t *shape, const ml_tensor *x, int64_t axis, int64_t size,
                          double step) {
  int a;
  ML_TRY(ml__axis(&a, "resample", 2, x, axis));
  if (size < 1)
    return ml_fail(ML_EARG, "bad argument #3 to 'resample' (size: expected at least 1, got %lld)",
                   (long long)size);
  if (!(step >= 0) || isinf(step))
    return ml_fail(ML_EARG, "bad argument #4 to 'resample' (step: expected at least 0, got %.14g)",
                   step);
  if (x->info.shape[a] < 1)
    return ml_fail(ML_ESHAPE, "bad argument #1 to 'resample' (x: axis %d is empty)", a + 1);
  ML_TRY(ml__shape_like(nd, shape, x));
  shape[a] = size;
  return ML_OK;
}

static place *places(int64_t n, int64_t size, double step, int64_t mode) {
  place *p = malloc((size_t)size * sizeof *p);
  for (int64_t o = 0; p && o < size; o++) {
    double at = mode == ML_RESAMPLE_MODE_LINEAR ? ((double)o + 0.5) * step - 0.5 : (double)o * step;
    at = fmin(fmax(at, 0), (double)(n - 1));
    p[o].i = (int64_t)at;
    p[o].next = ML_MIN(p[o].i + 1, n - 1);
    p[o].t = mode == ML_RESAMPLE_MODE_NEAREST ? 0 : at - (double)p[o].i;
  }
  return p;
}

typedef struct job {
  const void *from;
  void *to;
  const place *place;
  int64_t n, size, inner;
} job;

#define LOOPS(T)                                                                            \
  ML_CLONES static void forward_##T(void *ctx, int64_t begin, int64_t end) {                \
    const job *j = ctx;                                                                     \
    int64_t inner = j->inner;                                                               \
    for (int64_t g = begin; g < end; g++) {                                                 \
      const T *x = (const T *)j->from + g * j->n * inner;                                   \
      T *restrict y = (T *)j->to + g * j->size * inner;                                     \
      for (int64_t o = 0; inner == 1 && o < j->size; o++) {                                 \
        const place *p = &j->place[o];                                                      \
        T t = (T)p->t;                                                                      \
        y[o] = t == 0 ? x[p->i] : (1 - t) * x[p->i] + t * x[p->next];                       \
      }                                                                                     \
      if (inner == 1) continue;                                                             \
      for (int64_t o = 0; o < j->size; o++) {                                               \
        const T *restrict a = x + j->place[o].i * inner;                                    \
        const T *restrict b = x + j->place[o].next * inner;                                 \
        T t = (T)j->place[o].t;                                                             \
        if (t == 0) memcpy(y + o * inner, a, (size_t)inner * sizeof(T));                    \
        else                                                                                \
          for (int64_t k = 0; k < inner; k++) y[o * inner + k] = (1 - t) * a[k] + t * b[k]; \
      }                                                                                     \
    }                                                                                       \
  }                                                                                         \
  ML_CLONES static void backward_##T(void *ctx, int64_t begin, int64_t end) {               \
    const job *j = ctx;                                                                     \
    int64_t inner = j->inner;                                                               \
    for (int64_t g = begin; g < end; g++) {                                                 \
      const T *restrict dy = (const T *)j->from + g * j->size * inner;                      \
      T *dx = (T *)j->to + g * j->n * inner;                                                \
      memset(dx, 0, (size_t)(j->n * inner) * sizeof(T));                                    \
      for (int64_t o = 0; o < j->size; o++) {                                               \
        T *restrict a = dx + j->place[o].i * inner;                                         \
        T t = (T)j->place[o].t;                                                             \
        for (int64_t k = 0; k < inner; k++) a[k] += (1 - t) * dy[o * inner + k];            \
        T *restrict b = dx + j->place[o].next * inner;                                      \
        for (int64_t k = 0; t != 0 && k < inner; k++) b[k] += t * dy[o * inner + k];        \
      }                                                                                     \
    }                                                                                       \
  }

LOOPS(float)
LOOPS(double)

/* x's axis is `e`'s; goes from x to y, or back. */
static ml_err run(ml_groups e, const ml_tensor *from, ml_tensor *to, int64_t size, double step,
                  int64_t mode, ml_body in_f32, ml_body in_f64) {
  if (to->info.count == 0) return ML_OK;
  place *p = places(e.n, size, step, mode);
  if (!p) return ml_fail(ML_ENOMEM, "out of memory: %lld places", (long long)size);
  job j = {from->info.data, to->info.data, p, e.n, size, e.inner};
  int64_t each = ML_MAX(e.n, size) * e.inner;
  ml_parallel(e.outer, (1 << 14) / each + 1, to->info.dtype == ML_F32 ? in_f32 : in_f64, &j);
  free(p);
  return ML_OK;
}

ml_err ml_resample_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t size, double step,
                       int64_t mode) {
  return run(ml__groups(x, axis), x, y, size, step, mode, forward_float, forward_double);
}

ml_err ml_resample_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t size, double step,
                       int64_t mode) {
  return ml_resample_cpu(y, x, axis, size, step, mode);
}

ml_err ml_resample_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  const ml_tensor *x = n->in[0];
  ML_TRY(ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape));
  return run(ml__groups(x, n->scalar[0].i), g, gin[0], n->scalar[1].i, n->scalar[2].d,
             n->scalar[3].i, backward_float, backward_double);
}
