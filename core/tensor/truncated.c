/*
 * truncated: normal values within bounds, from uniform ones.
 *
 *   y = mean + sd q(P(a) + u (P(b) - P(a))),  a, b = (lo - mean) / sd, (hi - mean) / sd
 *
 * P is the normal distribution, q its inverse: Abramowitz & Stegun 26.2.23, good to 4.5e-4, and two
 * of Halley's steps, which cube the error. In double; bounds above the mean are mirrored to below
 * it, where P keeps its digits.
 */
#include <math.h>

#include "tensor/tensor.h"

enum { GRAIN = 1 << 12 };

static const double ROOT_2PI = 2.506628274631000502;

static double distribution(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

static double quantile(double p) {
  double tail = p < 0.5 ? p : 1 - p;
  if (tail <= 0) return p < 0.5 ? -INFINITY : INFINITY;
  double t = sqrt(-2 * log(tail));
  double x = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                     (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  if (p < 0.5) x = -x;
  for (int i = 0; i < 2; i++) {
    double e = (distribution(x) - p) * ROOT_2PI * exp(0.5 * x * x);
    x -= e / (1 + 0.5 * x * e);
  }
  return x;
}

typedef struct job {
  ml_tensor *t;
  double mean, sd, lo, hi, from, width;
} job;

static void run(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  void *data = j->t->info.data;
  int dtype = j->t->info.dtype;
  for (int64_t i = begin; i < end; i++) {
    double y = j->mean + j->sd * quantile(j->from + j->width * ml__load(data, dtype, i));
    ml__store(data, dtype, i, fmin(fmax(y, j->lo), j->hi));
  }
}

ml_err ml_tensor_truncated_normal(const ml_ref *ref, double mean, double sd, double lo, double hi) {
  job j = {.mean = mean, .sd = sd, .lo = lo, .hi = hi};
  ML_TRY(ml__no_capture("truncated_normal: draw such values outside the step"));
  ML_TRY(ml__get(&j.t, ref));
  ML_TRY(ml__writable(j.t, "truncated_normal"));
  const ml_info *t = &j.t->info;
  if ((t->dtype != ML_F32 && t->dtype != ML_F64) || !t->contiguous)
    return ml_fail(ML_EDTYPE, "truncated_normal: expected a contiguous tensor of f32 or f64");
  if (!(sd > 0) || !(lo <= hi))
    return ml_fail(ML_EARG, "truncated_normal: expected sd above 0 and lo at most hi");
  double a = (lo - mean) / sd, b = (hi - mean) / sd;
  if (a > 0) { /* the mirror image */
    double swap = a;
    a = -b;
    b = -swap;
    j.sd = -sd;
  }
  j.from = distribution(a);
  j.width = distribution(b) - j.from;
  ml__touch(j.t);
  ml_parallel(t->count, GRAIN, run, &j);
  return ML_OK;
}
