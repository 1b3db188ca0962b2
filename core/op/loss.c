/*
 * loss: binary cross-entropy on probabilities and on logits, and squared error, mean or summed.
 *
 *   input, target, weight?  one shape, contiguous;  y a single element
 *
 * Losses are summed in double in the order of the elements: batches are short, and the figure that
 * people compare should not depend on how it was cut up. Probabilities follow PyTorch's BCELoss:
 * logarithms are held at -100, and the gradient's p (1 - p) at 1e-12. A probability outside 0 to 1
 * is a mistake; NaN gives NaN.
 */
#include <math.h>

#include "ml_ops.h"

enum { BCE, LOGITS, MSE };

static double value(int kind, double x, double t) {
  switch (kind) {
    case BCE:
      if (x != x) return x; /* fmax would take the other one */
      return -(t * fmax(log(x), -100) + (1 - t) * fmax(log1p(-x), -100));
    case LOGITS: return fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
    default: return (x - t) * (x - t);
  }
}

static double slope(int kind, double x, double t) {
  switch (kind) {
    case BCE: return (x - t) / fmax((1 - x) * x, 1e-12);
    case LOGITS: return 1 / (1 + exp(-x)) - t;
    default: return 2 * (x - t);
  }
}

static ml_err forward(ml_tensor *y, const ml_tensor *x, const ml_tensor *t, const ml_tensor *w,
                      int64_t summed, int kind) {
  int64_t n = x->info.count;
  int dtype = x->info.dtype;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double p = ml__load(x->info.data, dtype, i);
    if (kind == BCE && (p < 0 || p > 1))
      return ml_fail(ML_ERANGE,
                     "bad argument #1 to 'bce' (input: %.9g at position %lld is outside 0 to 1)", p,
                     (long long)i);
    double v = value(kind, p, ml__load(t->info.data, dtype, i));
    sum += w ? v * ml__load(w->info.data, dtype, i) : v;
  }
  ml__store(y->info.data, dtype, 0, summed ? sum : sum / (double)n);
  return ML_OK;
}

static ml_err backward(ml_node *n, ml_tensor *g, ml_tensor **gin, int kind) {
  ml_tensor *x = NULL, *t = NULL, *w = NULL;
  if (n->in[2] && ml__wants(n->in[2]))
    return ml_fail(ML_ESTATE, "%s: no gradient by the weight", n->name);
  if (ml__wants(n->in[1])) return ml_fail(ML_ESTATE, "%s: no gradient by the target", n->name);
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK) e = ml__contiguous(&t, n->in[1]);
  if (e == ML_OK && n->in[2]) e = ml__contiguous(&w, n->in[2]);
  if (e == ML_OK) e = ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape);
  if (e == ML_OK) {
    int dtype = x->info.dtype;
    int64_t count = x->info.count;
    double scale = ml__load(g->info.data, dtype, 0) / (n->scalar[0].i ? 1 : (double)count);
    for (int64_t i = 0; i < count; i++) {
      double s = slope(kind, ml__load(x->info.data, dtype, i), ml__load(t->info.data, dtype, i));
      if (w) s *= ml__load(w->info.data, dtype, i);
      ml__store(gin[0]->info.data, dtype, i, scale * s);
    }
  }
  ml__unref(x);
  ml__unref(t);
  ml__unref(w);
  return e;
}

#define LOSS(NAME, KIND)                                                                           \
  ml_err ml_##NAME##_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *t, const ml_tensor *w, \
                         int64_t summed) {                                                         \
    return forward(y, x, t, w, summed, KIND);                                                      \
  }                                                                                                \
  ml_err ml_##NAME##_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {                         \
    return backward(n, g, gin, KIND);                                                              \
  }

LOSS(bce, BCE)
LOSS(bce_logits, LOGITS)
LOSS(mse, MSE)
