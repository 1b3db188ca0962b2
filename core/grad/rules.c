/*
 * rules: optimisers' updates of every element, momentum to Lion (mlua_grad.h has the formulas).
 *
 * One pass over weight, gradient and states, in the parameter's dtype; factors are worked out in
 * double and rounded to it once, as PyTorch has it. Rows that no sample touched move as well: their
 * gradient is zero, their momentum is not.
 */
#include <math.h>

#include "grad/tape.h"

enum { GRAIN = 65536, OPTIONAL = 1, REQUIRED = 2 };

static bool fits(const ml_tensor *t, const ml_tensor *param) {
  return t->info.contiguous && t->info.dtype == param->info.dtype && ml__same_shape(t, param);
}

ml_err ml__check_rule(const ml_update *u, const ml_tensor *param) {
  static const char wanted[][4] = {
      [ML_UPDATE_MOMENTUM] = {OPTIONAL, 0, 0, OPTIONAL},
      [ML_UPDATE_ADAM] = {REQUIRED, REQUIRED, OPTIONAL, REQUIRED},
      [ML_UPDATE_ADAMW] = {REQUIRED, REQUIRED, OPTIONAL, REQUIRED},
      [ML_UPDATE_RMSPROP] = {REQUIRED, OPTIONAL, OPTIONAL, 0},
      [ML_UPDATE_LION] = {REQUIRED, 0, 0, 0},
  };
  const ml_ref *refs[] = {&u->state, &u->state2, &u->state3, &u->step};
  for (int i = 0; i < 4; i++) {
    ml_tensor *t;
    if (!wanted[u->kind][i] || (wanted[u->kind][i] == OPTIONAL && refs[i]->slot == 0)) continue;
    ML_TRY(ml__get(&t, refs[i]));
    if (i < 3 ? !fits(t, param) : t->info.dtype != ML_I64 || t->info.count != 1)
      return ml_fail(ML_ESHAPE, "update: the optimiser's state does not fit its parameter");
  }
  return ML_OK;
}

typedef struct job {
  void *p, *s, *s2, *s3; /* a state that was left out: NULL */
  const void *g;
  bool nesterov;
  double lr, eps, beta1, beta2, gain, decay, shrink, scale;
} job;

#define INLINE static inline __attribute__((always_inline))

/* What a job's flags say is constant in each copy of a loop, so that the loop has no branches. */
#define RULES(T, SQRT)                                                                      \
  INLINE void momentum_of_##T(const job *j, int64_t begin, int64_t end, const bool kept,    \
                              const bool nesterov) {                                        \
    T *restrict p = j->p, *restrict m = j->s;                                               \
    const T *restrict g = j->g;                                                             \
    const T lr = (T)j->lr, beta = (T)j->beta1, gain = (T)j->gain, decay = (T)j->decay;      \
    for (int64_t i = begin; i < end; i++) {                                                 \
      T d = decay != 0 ? g[i] + decay * p[i] : g[i];                                        \
      if (kept) {                                                                           \
        m[i] = beta * m[i] + gain * d;                                                      \
        d = nesterov ? d + beta * m[i] : m[i];                                              \
      }                                                                                     \
      p[i] -= lr * d;                                                                       \
    }                                                                                       \
  }                                                                                         \
  ML_CLONES static void momentum_##T(void *ctx, int64_t begin, int64_t end) {               \
    const job *j = ctx;                                                                     \
    if (!j->s) momentum_of_##T(j, begin, end, false, false);                                \
    else if (j->nesterov) momentum_of_##T(j, begin, end, true, true);                       \
    else momentum_of_##T(j, begin, end, true, false);                                       \
  }                                                                                         \
  INLINE void adam_of_##T(const job *j, int64_t begin, int64_t end, const bool most) {      \
    T *restrict p = j->p, *restrict m = j->s, *restrict v = j->s2, *restrict x = j->s3;     \
    const T *restrict g = j->g;                                                             \
    const T lr = (T)j->lr, eps = (T)j->eps, decay = (T)j->decay, shrink = (T)j->shrink;     \
    const T b1 = (T)j->beta1, b2 = (T)j->beta2, scale = (T)j->scale;                        \
    const T c1 = (T)(1 - j->beta1), c2 = (T)(1 - j->beta2);                                 \
    for (int64_t i = begin; i < end; i++) {                                                 \
      T d = decay != 0 ? g[i] + decay * p[i] : g[i];                                        \
      m[i] = b1 * m[i] + c1 * d;                                                            \
      T square = v[i] = b2 * v[i] + c2 * (d * d);                                           \
      if (most) square = x[i] = x[i] > square ? x[i] : square;                              \
      p[i] = shrink * p[i] - lr * m[i] / (SQRT(square) * scale + eps);                      \
    }                                                                                       \
  }                                                                                         \
  ML_CLONES static void adam_##T(void *ctx, int64_t begin, int64_t end) {                   \
    const job *j = ctx;                                                                     \
    if (j->s3) adam_of_##T(j, begin, end, true);                                            \
    else adam_of_##T(j, begin, end, false);                                                 \
  }                                                                                         \
  INLINE void rmsprop_of_##T(const job *j, int64_t begin, int64_t end, const bool centered, \
                             const bool kept) {                                             \
    T *restrict p = j->p, *restrict s = j->s, *restrict a = j->s2, *restrict m = j->s3;     \
    const T *restrict g = j->g;                                                             \
    const T lr = (T)j->lr, eps = (T)j->eps, decay = (T)j->decay;                            \
    const T alpha = (T)j->beta2, rest = (T)(1 - j->beta2), beta = (T)j->beta1;              \
    for (int64_t i = begin; i < end; i++) {                                                 \
      T d = decay != 0 ? g[i] + decay * p[i] : g[i];                                        \
      T square = s[i] = alpha * s[i] + rest * (d * d);                                      \
      if (centered) {                                                                       \
        a[i] = alpha * a[i] + rest * d;                                                     \
        square -= a[i] * a[i];                                                              \
        square = square < 0 ? 0 : square; /* by rounding alone */                           \
      }                                                                                     \
      d /= SQRT(square) + eps;                                                              \
      if (kept) d = m[i] = beta * m[i] + d;                                                 \
      p[i] -= lr * d;                                                                       \
    }                                                                                       \
  }                                                                                         \
  ML_CLONES static void rmsprop_##T(void *ctx, int64_t begin, int64_t end) {                \
    const job *j = ctx;                                                                     \
    if (j->s2 && j->s3) rmsprop_of_##T(j, begin, end, true, true);                          \
    else if (j->s2) rmsprop_of_##T(j, begin, end, true, false);                             \
    else if (j->s3) rmsprop_of_##T(j, begin, end, false, true);                             \
    else rmsprop_of_##T(j, begin, end, false, false);                                       \
  }                                                                                         \
  ML_CLONES static void lion_##T(void *ctx, int64_t begin, int64_t end) {                   \
    const job *j = ctx;                                                                     \
    T *restrict p = j->p, *restrict m = j->s;                                               \
    const T *restrict g = j->g;                                                             \
    const T lr = (T)j->lr, shrink = (T)j->shrink, b1 = (T)j->beta1, b2 = (T)j->beta2;       \
    const T c1 = (T)(1 - j->beta1), c2 = (T)(1 - j->beta2);                                 \
    for (int64_t i = begin; i < end; i++) {                                                 \
      T d = b1 * m[i] + c1 * g[i];                                                          \
      T step = d > 0 ? lr : 0;                                                              \
      p[i] = shrink * p[i] - (d < 0 ? -lr : step);                                          \
      m[i] = b2 * m[i] + c2 * g[i];                                                         \
    }                                                                                       \
  }

RULES(float, sqrtf)
RULES(double, sqrt)

static void *state_of(const ml_ref *ref) {
  ml_tensor *t;
  if (ref->slot == 0 || ml__get(&t, ref) < 0) return NULL;
  ml__touch(t);
  return t->info.data;
}

ml_err ml__apply_rule(ml_tensor *w, const ml_update *u, const ml_tensor *g) {
  static const ml_body bodies[2][5] = {
      {momentum_double, adam_double, adam_double, rmsprop_double, lion_double},
      {momentum_float, adam_float, adam_float, rmsprop_float, lion_float}};
  bool adam = u->kind == ML_UPDATE_ADAM || u->kind == ML_UPDATE_ADAMW;
  bool decoupled = u->kind == ML_UPDATE_ADAMW || u->kind == ML_UPDATE_LION;
  job j = {.p = w->info.data,
           .s = state_of(&u->state),
           .s2 = state_of(&u->state2),
           .s3 = state_of(&u->state3),
           .g = g->info.data,
           .nesterov = u->nesterov,
           .lr = u->lr,
           .eps = u->eps,
           .beta1 = u->beta1,
           .beta2 = u->beta2,
           .gain = 1 - u->dampening,
           .decay = decoupled ? 0 : u->weight_decay,
           .shrink = decoupled ? 1 - u->lr * u->weight_decay : 1};
  int64_t *step = state_of(&u->step), t = step ? ++*step : 0;
  if (t == 1 && u->kind == ML_UPDATE_MOMENTUM) j.gain = 1;
  if (adam) {
    j.lr = u->lr / (1 - pow(u->beta1, (double)t));
    j.scale = 1 / sqrt(1 - pow(u->beta2, (double)t));
  }
  ml_parallel(w->info.count, GRAIN, bodies[w->info.dtype == ML_F32][u->kind - ML_UPDATE_MOMENTUM],
              &j);
  ml__touch(w);
  return ML_OK;
}
