/*
 * loss: element-wise losses of an input and a target, averaged, summed or as they are.
 *
 *   input, target, weight?, pos_weight?  one shape, contiguous; pos_weight that of the last axes
 *   y  a single element, or the shape of input where nothing is reduced
 *
 *   bce         -w (t ln p + (1 - t) ln(1 - p)), logarithms held at -100, as PyTorch's BCELoss has
 *               it, and p (1 - p) in its gradient at 1e-12
 *   bce_logits  -w (q t ln s + (1 - t) ln(1 - s)), s = sigmoid(x), q = pos_weight
 *   mse         w (x - t)^2                          l1  |x - t|
 *   huber       d^2 / 2 up to d = |x - t| = a, then a (d - a / 2)       Huber 1964
 *   smooth_l1   huber over a                                            Girshick 2015
 *   hinge       max(0, a - t x), t of -1 or 1
 *   hinge_embedding  x where t is 1, max(0, a - x) where it is -1
 *   kl_div      t (ln t - x), 0 where t is; of ln t: e^t (t - x)
 *   focal       bce_logits (1 - q)^b, q the probability given to the target; times a t + (1 - a)(1
 *               - t) where a >= 0                                       Lin et al. 2017, eq. 5
 *
 * Computed and summed in double, in chunks by shape alone. A probability outside 0 to 1 is a
 * mistake; NaN gives NaN.
 */
#include "op/math.h"

#include <stdlib.h>

#include "ml_ops.h"

enum { BCE, LOGITS, MSE, L1, HUBER, SMOOTH, HINGE, HINGE_EMBEDDING, KL, KL_LOG, FOCAL };
enum { MEAN, SUM, NONE, BATCH_MEAN };
enum { BLOCK = 256, CHUNK = 16384 };

#define INLINE static inline __attribute__((always_inline))

INLINE double most(double a, double b) { return a > b ? a : b; }
INLINE double sigmoid(double x) { return 1 / (1 + exp(-x)); }
/* ln(1 + e^-|x|) */
INLINE double soft(double x) { return log1p(exp(-fabs(x))); }
/* ln p, not below -100; NaN stays */
INLINE double log_held(double l) { return l < -100 ? -100 : l; }

/* q: LOGITS' weight of positives. */
INLINE double value(const int kind, double x, double t, double q, double a, double b) {
  double d = fabs(x - t);
  switch (kind) {
    case BCE: return -(t * log_held(log(x)) + (1 - t) * log_held(log1p(-x)));
    case LOGITS: return (1 - t) * x + (1 + (q - 1) * t) * (soft(x) + most(-x, 0));
    case MSE: return d * d;
    case L1: return d;
    case HUBER: return d <= a ? 0.5 * d * d : a * (d - 0.5 * a);
    case SMOOTH: return d < a ? 0.5 * d * d / a : d - 0.5 * a;
    case HINGE: return most(a - t * x, 0);
    case HINGE_EMBEDDING: return t == 1 ? x : most(a - x, 0);
    case KL: return t == 0 ? 0 * x : t * (log(t) - x);
    case KL_LOG: return t == -INFINITY ? 0 * x : exp(t) * (t - x);
    default: {
      double p = sigmoid(x), of = p * t + (1 - p) * (1 - t);
      double ce = most(x, 0) - x * t + soft(x);
      return ce * pow(1 - of, b) * (a < 0 ? 1 : a * t + (1 - a) * (1 - t));
    }
  }
}

INLINE double slope(const int kind, double x, double t, double q, double a, double b) {
  double d = x - t, sign = d > 0 ? 1 : d < 0 ? -1 : d;
  switch (kind) {
    case BCE: return d / most((1 - x) * x, 1e-12);
    case LOGITS: return sigmoid(x) * (1 + (q - 1) * t) - q * t;
    case MSE: return 2 * d;
    case L1: return sign;
    case HUBER: return fabs(d) <= a ? d : a * sign;
    case SMOOTH: return fabs(d) < a ? d / a : sign;
    case HINGE: return t * x < a ? -t : 0;
    case HINGE_EMBEDDING: return t == 1 ? 1 : x < a ? -1 : 0;
    case KL: return -t;
    case KL_LOG: return -exp(t);
    default: {
      double p = sigmoid(x), of = p * t + (1 - p) * (1 - t);
      double ce = most(x, 0) - x * t + soft(x), rest = 1 - of;
      double s = pow(rest, b) * (p - t);
      if (b != 0 && rest > 0) s -= b * pow(rest, b - 1) * p * (1 - p) * (2 * t - 1) * ce;
      return s * (a < 0 ? 1 : a * t + (1 - a) * (1 - t));
    }
  }
}

typedef struct job {
  int kind;
  int64_t reduction, positives; /* pos_weight's elements */
  const ml_tensor *x, *t, *w, *q;
  double a, b;
  ml_tensor *y, *dx; /* y: where nothing is reduced */
  const ml_tensor *g;
  double scale; /* backward: of every slope */
  double *part; /* sums by chunk */
} job;

INLINE void load(double *to, const ml_tensor *t, int64_t at, int64_t n) {
  if (t->info.dtype == ML_F32)
    for (int64_t i = 0; i < n; i++) to[i] = (double)ml_f32(t)[at + i];
  else
    for (int64_t i = 0; i < n; i++) to[i] = ml_f64(t)[at + i];
}

INLINE void store(ml_tensor *t, int64_t at, int64_t n, const double *from) {
  if (t->info.dtype == ML_F32)
    for (int64_t i = 0; i < n; i++) ml_f32(t)[at + i] = (float)from[i];
  else
    for (int64_t i = 0; i < n; i++) ml_f64(t)[at + i] = from[i];
}

/* Elements [at, at + n) of one kind, at most BLOCK: values to be summed, or slopes to dx. */
INLINE double block(const int kind, const job *j, int64_t at, int64_t n) {
  double x[BLOCK], t[BLOCK], f[BLOCK], v[BLOCK], sum = 0, a = j->a, b = j->b;
  load(x, j->x, at, n);
  load(t, j->t, at, n);
  for (int64_t i = 0; i < n; i++) f[i] = 1;
  if (kind == LOGITS && j->q)
    for (int64_t i = 0; i < n; i++)
      f[i] = ml__load(j->q->info.data, j->q->info.dtype, (at + i) % j->positives);
  if (j->dx)
    for (int64_t i = 0; i < n; i++) v[i] = j->scale * slope(kind, x[i], t[i], f[i], a, b);
  else
    for (int64_t i = 0; i < n; i++) v[i] = value(kind, x[i], t[i], f[i], a, b);
  if (j->w) {
    load(f, j->w, at, n);
    for (int64_t i = 0; i < n; i++) v[i] *= f[i];
  }
  if (j->g) {
    load(f, j->g, at, n);
    for (int64_t i = 0; i < n; i++) v[i] *= f[i];
  }
  if (j->dx) store(j->dx, at, n, v);
  else if (j->y) store(j->y, at, n, v);
  else
    for (int64_t i = 0; i < n; i++) sum += v[i];
  return sum;
}

#define RUN(KIND)                                                                \
  ML_CLONES static double run_##KIND(const job *j, int64_t begin, int64_t end) { \
    double sum = 0;                                                              \
    for (int64_t i = begin; i < end; i += BLOCK)                                 \
      sum += block(KIND, j, i, ML_MIN(end - i, (int64_t)BLOCK));                 \
    return sum;                                                                  \
  }
RUN(BCE)
RUN(LOGITS)
RUN(MSE)
RUN(L1)
RUN(HUBER)
RUN(SMOOTH)
RUN(HINGE)
RUN(HINGE_EMBEDDING)
RUN(KL)
RUN(KL_LOG)
RUN(FOCAL)

static void chunk(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  static double (*const run[])(const job *, int64_t, int64_t) = {
      run_BCE,   run_LOGITS,          run_MSE, run_L1,     run_HUBER, run_SMOOTH,
      run_HINGE, run_HINGE_EMBEDDING, run_KL,  run_KL_LOG, run_FOCAL};
  double sum = run[j->kind](j, begin, end);
  if (j->part) j->part[begin / CHUNK] = sum;
}

/* What the sum of a reduction is divided by. */
static double divisor(const job *j) {
  if (j->reduction == MEAN) return (double)j->x->info.count;
  return j->reduction == BATCH_MEAN ? (double)j->x->info.shape[0] : 1;
}

static ml_err check_probabilities(const ml_tensor *x) {
  for (int64_t i = 0; i < x->info.count; i++) {
    double p = ml__load(x->info.data, x->info.dtype, i);
    if (p < 0 || p > 1)
      return ml_fail(ML_ERANGE,
                     "bad argument #1 to 'bce' (input: %.9g at position %lld is outside 0 to 1)", p,
                     (long long)i);
  }
  return ML_OK;
}

static ml_err forward(ml_tensor *y, job j) {
  int64_t n = j.x->info.count, chunks = (n + CHUNK - 1) / CHUNK;
  if (j.kind == BCE) ML_TRY(check_probabilities(j.x));
  j.positives = j.q ? ML_MAX(1, j.q->info.count) : 1;
  if (j.reduction == NONE) {
    j.y = y;
    ml_parallel(n, CHUNK, chunk, &j);
    return ML_OK;
  }
  double one = 0, sum = 0;
  j.part = chunks > 1 ? malloc((size_t)chunks * sizeof *j.part) : &one;
  if (!j.part) return ml_fail(ML_ENOMEM, "out of memory: sums of a loss");
  ml_parallel(n, CHUNK, chunk, &j);
  for (int64_t k = 0; k < chunks; k++) sum += j.part[k];
  if (j.part != &one) free(j.part);
  ml__store(y->info.data, y->info.dtype, 0, sum / divisor(&j));
  return ML_OK;
}

/* Inputs of the node: input, target, then weight and pos_weight as far as there are any. */
static ml_err backward(ml_node *n, ml_tensor *g, ml_tensor **gin, job j) {
  static const char *const names[] = {"input", "target", "weight", "pos_weight"};
  ml_tensor *in[4] = {0};
  ml_err e = ML_OK;
  bool symmetric = j.kind >= MSE && j.kind <= SMOOTH; /* of x - t */
  for (int k = symmetric ? 2 : 1; k < n->n_in; k++)
    if (ml__wants(n->in[k]))
      return ml_fail(ML_ESTATE, "%s: no gradient by the %s", n->name, names[k]);
  for (int k = 0; k < n->n_in && e == ML_OK; k++)
    if (n->in[k]) e = ml__contiguous(&in[k], n->in[k]);
  for (int k = 0; k < 2 && e == ML_OK; k++)
    if (ml__wants(n->in[k]))
      e = ml__new(&gin[k], in[0]->info.dtype, in[0]->info.ndim, in[0]->info.shape);
  if (e == ML_OK) {
    j.x = in[0], j.t = in[1], j.w = in[2], j.q = in[3];
    j.reduction = n->scalar[0].i;
    j.positives = j.q ? ML_MAX(1, j.q->info.count) : 1;
    j.g = j.reduction == NONE ? g : NULL;
    j.scale = j.g ? 1 : ml__load(g->info.data, g->info.dtype, 0) / divisor(&j);
    for (int k = 0; k < 2; k++, j.scale = -j.scale) {
      j.dx = gin[k];
      if (j.dx) ml_parallel(j.x->info.count, CHUNK, chunk, &j);
    }
  }
  for (int k = 0; k < 4; k++) ml__unref(in[k]);
  return e;
}

#define T const ml_tensor *
#define WEIGHTED(NAME, KIND)                                                                \
  ml_err ml_##NAME##_ref(ml_tensor *y, T x, T t, T w, int64_t reduction) {                  \
    return forward(y, (job){.kind = KIND, .x = x, .t = t, .w = w, .reduction = reduction}); \
  }                                                                                         \
  ml_err ml_##NAME##_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {                  \
    return backward(n, g, gin, (job){.kind = KIND});                                        \
  }
/* With one number. */
#define NUMBER(NAME, KIND)                                                                  \
  ml_err ml_##NAME##_ref(ml_tensor *y, T x, T t, int64_t reduction, double a) {             \
    return forward(y, (job){.kind = KIND, .x = x, .t = t, .reduction = reduction, .a = a}); \
  }                                                                                         \
  ml_err ml_##NAME##_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {                  \
    return backward(n, g, gin, (job){.kind = KIND, .a = n->scalar[1].d});                   \
  }

WEIGHTED(bce, BCE)
WEIGHTED(mse, MSE)
NUMBER(huber, HUBER)
NUMBER(smooth_l1, SMOOTH)
NUMBER(hinge, HINGE)
NUMBER(hinge_embedding, HINGE_EMBEDDING)

ml_err ml_bce_logits_ref(ml_tensor *y, T x, T t, T w, int64_t reduction, T q) {
  return forward(y, (job){.kind = LOGITS, .x = x, .t = t, .w = w, .q = q, .reduction = reduction});
}
ml_err ml_bce_logits_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, (job){.kind = LOGITS});
}

ml_err ml_l1_ref(ml_tensor *y, T x, T t, int64_t reduction) {
  return forward(y, (job){.kind = L1, .x = x, .t = t, .reduction = reduction});
}
ml_err ml_l1_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, (job){.kind = L1});
}

ml_err ml_kl_div_ref(ml_tensor *y, T x, T t, int64_t reduction, int64_t log_target) {
  return forward(y,
                 (job){.kind = log_target ? KL_LOG : KL, .x = x, .t = t, .reduction = reduction});
}
ml_err ml_kl_div_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, (job){.kind = n->scalar[1].i ? KL_LOG : KL});
}

ml_err ml_focal_ref(ml_tensor *y, T x, T t, int64_t reduction, double alpha, double gamma) {
  return forward(
      y, (job){.kind = FOCAL, .x = x, .t = t, .reduction = reduction, .a = alpha, .b = gamma});
}
ml_err ml_focal_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, (job){.kind = FOCAL, .a = n->scalar[1].d, .b = n->scalar[2].d});
}
