/* update: optimisers' updates by a dense gradient, and their checks. */
#include <math.h>

#include "base/profile.h"
#include "grad/tape.h"

ml_err ml__trainable(const ml_tensor *t, const char *verb) {
  if (t->info.dtype == ML_F32 || t->info.dtype == ML_F64) return ML_OK;
  return ml_fail(ML_EDTYPE, "%s: expected f32 or f64, got %s", verb, ml_dtype_name(t->info.dtype));
}

ml_err ml__check_update(const ml_update *u, ml_tensor **param, ml_tensor **state) {
  *state = NULL;
  ML_TRY(ml__get(param, &u->param));
  if (!(*param)->info.leaf || !(*param)->info.requires_grad)
    return ml_fail(ML_ESTATE, "update: the parameter does not require a gradient");
  ML_TRY(ml__trainable(*param, "update"));
  if (u->kind < ML_UPDATE_SGD || u->kind > ML_UPDATE_LION)
    return ml_fail(ML_EARG, "update: no kind %d", u->kind);
  if (u->kind > ML_UPDATE_ROWWISE_ADAGRAD) return ml__check_rule(u, *param);
  if (u->kind == ML_UPDATE_SGD) return ML_OK;
  ML_TRY(ml__get(state, &u->state));
  bool fits = u->kind == ML_UPDATE_ADAGRAD ? ml__same_shape(*param, *state)
                                           : (*state)->info.ndim == 1 && (*param)->info.ndim == 2 &&
                                                 (*state)->info.shape[0] == (*param)->info.shape[0];
  if (!fits || (*state)->info.dtype != (*param)->info.dtype || !(*state)->info.contiguous)
    return ml_fail(ML_ESHAPE, "update: the optimiser's state does not fit its parameter");
  return ML_OK;
}

typedef struct job {
  void *p, *s;
  const void *g;
  int64_t width; /* of a row */
  double lr, eps;
} job;

#define UPDATES(T, SQRT)                                                     \
  ML_CLONES static void sgd_##T(void *ctx, int64_t begin, int64_t end) {     \
    job *j = ctx;                                                            \
    T *restrict p = j->p;                                                    \
    const T *restrict g = j->g;                                              \
    T lr = (T)j->lr;                                                         \
    for (int64_t i = begin; i < end; i++) p[i] -= lr * g[i];                 \
  }                                                                          \
  ML_CLONES static void adagrad_##T(void *ctx, int64_t begin, int64_t end) { \
    job *j = ctx;                                                            \
    T *restrict p = j->p, *restrict s = j->s;                                \
    const T *restrict g = j->g;                                              \
    T lr = (T)j->lr, eps = (T)j->eps;                                        \
    for (int64_t i = begin; i < end; i++) {                                  \
      s[i] += g[i] * g[i]; /* 0 / 0 where eps is 0 and g, too */             \
      p[i] -= g[i] == 0 ? 0 : lr * g[i] / (SQRT(s[i]) + eps);                \
    }                                                                        \
  }                                                                          \
  ML_CLONES static void rowwise_##T(void *ctx, int64_t begin, int64_t end) { \
    job *j = ctx;                                                            \
    T *s = j->s;                                                             \
    for (int64_t row = begin; row < end; row++) {                            \
      T *restrict p = (T *)j->p + row * j->width;                            \
      const T *restrict g = (const T *)j->g + row * j->width;                \
      T sum = 0;                                                             \
      for (int64_t i = 0; i < j->width; i++) sum += g[i] * g[i];             \
      if (sum == 0) continue;                                                \
      s[row] += sum / (T)j->width;                                           \
      T scale = (T)j->lr / (SQRT(s[row]) + (T)j->eps);                       \
      for (int64_t i = 0; i < j->width; i++) p[i] -= scale * g[i];           \
    }                                                                        \
  }

UPDATES(float, sqrtf)
UPDATES(double, sqrt)

static const char *const names[] = {
    [ML_UPDATE_SGD] = "sgd",           [ML_UPDATE_ADAGRAD] = "adagrad",
    [ML_UPDATE_MOMENTUM] = "momentum", [ML_UPDATE_ROWWISE_ADAGRAD] = "row-wise adagrad",
    [ML_UPDATE_ADAM] = "adam",         [ML_UPDATE_ADAMW] = "adamw",
    [ML_UPDATE_RMSPROP] = "rmsprop",   [ML_UPDATE_LION] = "lion",
};

ml_err ml__update(ml_tensor *w, const ml_update *u, ml_tensor *g) {
  ml_tensor *p, *s, *own;
  ML_SPAN(span, ML_EVENT_UPDATE, names[u->kind]);
  ml__span_shape(&span, &w->info);
  ML_TRY(ml__check_update(u, &p, &s));
  ML_TRY(ml__contiguous(&own, g));
  if (u->kind > ML_UPDATE_ROWWISE_ADAGRAD) {
    ml_err e = ml__apply_rule(w, u, own);
    ml__unref(own);
    return e;
  }
  bool f = w->info.dtype == ML_F32, rows = u->kind == ML_UPDATE_ROWWISE_ADAGRAD;
  int64_t width = rows ? w->info.shape[1] : 1;
  job j = {w->info.data, s ? s->info.data : NULL, own->info.data, width, u->lr, u->eps};
  static const ml_body bodies[2][3] = {{sgd_double, adagrad_double, rowwise_double},
                                       {sgd_float, adagrad_float, rowwise_float}};
  int64_t n = rows ? w->info.shape[0] : w->info.count;
  ml_parallel(n, ML_MAX(1, 65536 / ML_MAX(width, 1)), bodies[f][u->kind - ML_UPDATE_SGD], &j);
  ml__touch(w);
  if (s) ml__touch(s);
  ml__unref(own);
  return ML_OK;
}

static ml_err apply_again(const ml_call *c) {
  return ml_apply_updates(c->scalar[0].p, (int)c->scalar[1].i);
}

ml_err ml_apply_updates(const ml_update *updates, int n) {
  ml_tensor *p, *s;
  if (ml__recording) {
    ml_scalar v[] = {{.p = updates}, {.i = n}};
    ML_TRY(ml__note("updates", apply_again, NULL, NULL, 0, NULL, 0, v, 2, NULL));
  }
  for (int i = 0; i < n; i++) ML_TRY(ml__check_update(&updates[i], &p, &s));
  for (int i = 0; i < n; i++) {
    ML_TRY(ml__get(&p, &updates[i].param));
    if (p->grad) ML_TRY(ml__update(p, &updates[i], p->grad));
  }
  return ML_OK;
}

void ml__add_into(ml_tensor *dst, const ml_tensor *src) {
  ml__touch(dst);
  int64_t n = dst->info.count;
  if (dst->info.dtype == ML_F32) {
    float *restrict d = ml_f32(dst);
    const float *restrict s = ml_f32(src);
    for (int64_t i = 0; i < n; i++) d[i] += s[i];
  } else if (dst->info.dtype == ML_F64) {
    double *restrict d = ml_f64(dst);
    const double *restrict s = ml_f64(src);
    for (int64_t i = 0; i < n; i++) d[i] += s[i];
  } else {
    void *d = dst->info.data, *s = src->info.data;
    int type = dst->info.dtype;
    for (int64_t i = 0; i < n; i++)
      ml__store(d, type, i, ml__load(d, type, i) + ml__load(s, type, i));
  }
}
