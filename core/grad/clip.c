/* clip: the norm of gradients, their scaling and clamping; averages of weights. */
#include <math.h>
#include <stdlib.h>

#include "base/profile.h"
#include "grad/tape.h"

enum { GRAIN = 65536, LANES = 8 };

typedef struct job {
  void *x, *y;
  double factor, p;
  double *part; /* of each chunk */
} job;

/* -- the norm: sums of |x|^p, or the largest |x|, side by side in eight lanes -- */

#define NORMS(T)                                                                      \
  ML_CLONES static double squares_##T(const T *x, int64_t n) {                        \
    double part[LANES] = {0};                                                         \
    int64_t i = 0;                                                                    \
    for (; i + LANES <= n; i += LANES)                                                \
      for (int k = 0; k < LANES; k++) part[k] += (double)x[i + k] * (double)x[i + k]; \
    for (; i < n; i++) part[i % LANES] += (double)x[i] * (double)x[i];                \
    return ((part[0] + part[4]) + (part[1] + part[5])) +                              \
           ((part[2] + part[6]) + (part[3] + part[7]));                               \
  }                                                                                   \
  static double powers_##T(const T *x, int64_t n, double p) {                         \
    double sum = 0;                                                                   \
    for (int64_t i = 0; i < n; i++)                                                   \
      sum += p == 1 ? fabs((double)x[i]) : pow(fabs((double)x[i]), p);                \
    return sum;                                                                       \
  }                                                                                   \
  static double largest_##T(const T *x, int64_t n) {                                  \
    double most = 0;                                                                  \
    for (int64_t i = 0; i < n; i++) {                                                 \
      double a = fabs((double)x[i]);                                                  \
      if (!(a <= most)) most = a; /* a NaN stays: nothing is larger */                \
      if (isnan(most)) break;                                                         \
    }                                                                                 \
    return most;                                                                      \
  }                                                                                   \
  static void norm_##T(void *ctx, int64_t begin, int64_t end) {                       \
    job *j = ctx;                                                                     \
    const T *x = (const T *)j->x + begin;                                             \
    int64_t n = end - begin;                                                          \
    j->part[begin / GRAIN] = j->p == 2     ? squares_##T(x, n)                        \
                             : isinf(j->p) ? largest_##T(x, n)                        \
                                           : powers_##T(x, n, j->p);                  \
  }

NORMS(float)
NORMS(double)

/* -- in place -- */

#define CHANGES(T)                                                           \
  ML_CLONES static void scale_##T(void *ctx, int64_t begin, int64_t end) {   \
    job *j = ctx;                                                            \
    T *restrict x = j->x;                                                    \
    const T f = (T)j->factor;                                                \
    for (int64_t i = begin; i < end; i++) x[i] *= f;                         \
  }                                                                          \
  ML_CLONES static void clamp_##T(void *ctx, int64_t begin, int64_t end) {   \
    job *j = ctx;                                                            \
    T *restrict x = j->x;                                                    \
    const T most = (T)j->factor;                                             \
    for (int64_t i = begin; i < end; i++) {                                  \
      T v = x[i] > most ? most : x[i];                                       \
      x[i] = v < -most ? -most : v;                                          \
    }                                                                        \
  }                                                                          \
  ML_CLONES static void average_##T(void *ctx, int64_t begin, int64_t end) { \
    job *j = ctx;                                                            \
    T *restrict x = j->x;                                                    \
    const T *restrict y = j->y;                                              \
    const T f = (T)j->factor;                                                \
    for (int64_t i = begin; i < end; i++) x[i] += f * (y[i] - x[i]);         \
  }                                                                          \
  ML_CLONES static void swap_##T(void *ctx, int64_t begin, int64_t end) {    \
    job *j = ctx;                                                            \
    T *restrict x = j->x, *restrict y = j->y;                                \
    for (int64_t i = begin; i < end; i++) {                                  \
      T v = x[i];                                                            \
      x[i] = y[i];                                                           \
      y[i] = v;                                                              \
    }                                                                        \
  }

CHANGES(float)
CHANGES(double)

static void run(ml_tensor *t, ml_body f32, ml_body f64, job *j) {
  ml_parallel(t->info.count, GRAIN, t->info.dtype == ML_F32 ? f32 : f64, j);
}

ml_err ml_grad_norm(double *out, const ml_ref *params, int n, double p) {
  ml_tensor *t;
  ML_SPAN(span, ML_EVENT_OPERATION, "grad_norm");
  ML_TRY(ml__no_capture("the norm of gradients is a value that Lua reads; clip by value instead"));
  int64_t room = 1;
  double total = 0;
  if (!(p > 0)) return ml_fail(ML_EARG, "grad_norm: p: expected above 0, got %g", p);
  for (int i = 0; i < n; i++) {
    ML_TRY(ml__get(&t, &params[i]));
    ML_TRY(ml__trainable(t, "grad_norm"));
    room = ML_MAX(room, t->info.count / GRAIN + 1);
  }
  double *part = ml__denied() ? NULL : malloc((size_t)room * sizeof *part);
  if (!part) return ml_fail(ML_ENOMEM, "out of memory: grad_norm");
  for (int i = 0; i < n; i++) {
    t = ml__peek(&params[i]);
    if (!t->grad) continue;
    job j = {.x = t->grad->info.data, .p = p, .part = part};
    run(t->grad, norm_float, norm_double, &j);
    for (int64_t k = 0; k * GRAIN < t->info.count; k++) {
      if (!isinf(p)) total += part[k];
      else if (!(part[k] <= total) && !isnan(total)) total = part[k];
    }
  }
  free(part);
  *out = p == 2 ? sqrt(total) : isinf(p) || p == 1 ? total : pow(total, 1 / p);
  return ML_OK;
}

static void change(ml_tensor *t, double factor, bool clamp) {
  if (!t->grad) return;
  job j = {.x = t->grad->info.data, .factor = factor};
  if (clamp) run(t->grad, clamp_float, clamp_double, &j);
  else run(t->grad, scale_float, scale_double, &j);
  ml__touch(t->grad);
}

static ml_err change_again(const ml_call *c) {
  change(c->out, c->scalar[0].d, c->scalar[1].i);
  return ML_OK;
}

static ml_err change_all(const ml_ref *params, int n, double factor, bool clamp) {
  ml_tensor *t;
  ML_SPAN(span, ML_EVENT_OPERATION, "scale_grads");
  for (int i = 0; i < n; i++) {
    ML_TRY(ml__get(&t, &params[i]));
    ML_TRY(ml__trainable(t, "clip"));
  }
  for (int i = 0; i < n; i++) {
    t = ml__peek(&params[i]);
    ML_TRY(ml__note_write("scale_grads", change_again, t, NULL,
                          (ml_scalar[]){{.d = factor}, {.i = clamp}}, 2));
    change(t, factor, clamp);
  }
  return ML_OK;
}

ml_err ml_scale_grads(const ml_ref *params, int n, double factor) {
  return change_all(params, n, factor, false);
}

ml_err ml_clamp_grads(const ml_ref *params, int n, double limit) {
  return change_all(params, n, limit, true);
}

/* -- averages -- */

static ml_err pair(ml_tensor **a, ml_tensor **b, const ml_ref *x, const ml_ref *y) {
  ML_TRY(ml__get(a, x));
  ML_TRY(ml__get(b, y));
  const ml_info *i = &(*a)->info, *k = &(*b)->info;
  ML_TRY(ml__trainable(*a, "average"));
  if (i->dtype != k->dtype || !i->contiguous || !k->contiguous || !ml__same_shape(*a, *b))
    return ml_fail(ML_ESHAPE, "average: the two tensors are not alike");
  return ML_OK;
}

static void take_in(ml_tensor *average, ml_tensor *t, double weight) {
  job j = {.x = average->info.data, .y = t->info.data, .factor = weight};
  run(average, average_float, average_double, &j);
  ml__touch(average);
}

static ml_err average_again(const ml_call *c) {
  take_in(c->out, c->in[0], c->scalar[0].d);
  return ML_OK;
}

ml_err ml_average(const ml_ref *average, const ml_ref *t, double weight) {
  ml_tensor *a, *b;
  ML_SPAN(span, ML_EVENT_UPDATE, "average");
  ML_TRY(pair(&a, &b, average, t));
  if (a->storage == b->storage) return ml_fail(ML_EARG, "average: the two tensors share elements");
  ML_TRY(ml__note_write("average", average_again, a, b, (ml_scalar[]){{.d = weight}}, 1));
  take_in(a, b, weight);
  return ML_OK;
}

ml_err ml_swap(const ml_ref *average, const ml_ref *t) {
  ml_tensor *a, *b;
  ML_TRY(ml__no_capture("averages are swapped outside the step"));
  ML_TRY(pair(&a, &b, average, t));
  if (a->storage == b->storage) return ml_fail(ML_EARG, "swap: the two tensors share elements");
  job j = {.x = a->info.data, .y = b->info.data};
  run(a, swap_float, swap_double, &j);
  ml__touch(a);
  ml__touch(b);
  return ML_OK;
}
