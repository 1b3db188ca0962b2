/*
 * layer_norm, rms_norm, group_norm, batch_norm: y = (x - mean) / sqrt(var + eps) w + b over groups
 * of elements (normalise.h); rms_norm without the mean and b.
 *
 *   x, y  f32|f64, contiguous    w, b  by channel (or element of a row), or absent
 *   var   over the number of elements, as Ba et al. 2016, Ioffe & Szegedy 2015 and Wu & He 2018
 *         have it; batch_norm's running variance takes n / (n - 1) of it, as PyTorch's does
 *
 * With r = 1 / sqrt(var + eps), h = (x - mean) r, and means over a group of m elements,
 *   dx = r (g w - mean(g w) - h mean(g w h)),  dw = sum g h,  db = sum g.
 * Mean and r are kept for the backward, as doubles: f32 and f64 go the same way.
 *
 * Here: the reference, in double, which takes f64 too; shapes; who computes what. Sums in double,
 * cut by shape alone. Cost: x read once from memory by rows or where a group fits into cache, else
 * twice, and y written; the backward reads x and g as often and writes dx.
 */
#include "op/normalise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"

/* Elements of a channel in a sample from which loops over them pay. */
enum { LONG = 32 };

/* -- shapes -- */

static ml_err misfit(const char *op, int i, const char *name, int nd, const int64_t *want,
                     const ml_tensor *got) {
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name,
                 ml__shape_text(a, nd, want), ml__shape_text(b, got->info.ndim, got->info.shape));
}

static bool fits(const ml_tensor *t, int nd, const int64_t *shape) {
  return !t ||
         (t->info.ndim == nd && memcmp(t->info.shape, shape, sizeof(int64_t) * (size_t)nd) == 0);
}

ml_err ml__shape_norm_last(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                           const ml_tensor *w, const ml_tensor *b, int64_t axes, int at) {
  int n = x->info.ndim;
  if (axes < 1 || axes > n)
    return ml_fail(ML_EARG, "bad argument #%d to '%s' (axes: expected 1 to the %d of x, got %lld)",
                   at, op, n, (long long)axes);
  const int64_t *last = x->info.shape + n - axes;
  if (!fits(w, (int)axes, last)) return misfit(op, 2, "weight", (int)axes, last, w);
  if (!fits(b, (int)axes, last)) return misfit(op, 3, "bias", (int)axes, last, b);
  return ml__shape_like(nd, shape, x);
}

ml_err ml__shape_norm_channels(int *nd, int64_t *shape, const char *op, const ml_tensor *x, int n,
                               const ml_tensor *const *by_channel, const char *const *names,
                               const int *at) {
  if (x->info.ndim < 2) {
    char s[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (x: expected [N, C, …], got %s)", op,
                   ml__shape_text(s, x->info.ndim, x->info.shape));
  }
  for (int i = 0; i < n; i++)
    if (!fits(by_channel[i], 1, x->info.shape + 1))
      return misfit(op, at[i], names[i], 1, x->info.shape + 1, by_channel[i]);
  return ml__shape_like(nd, shape, x);
}

ml_err ml__shape_group_norm(int *nd, int64_t *shape, const ml_tensor *x, int64_t groups,
                            const ml_tensor *w, const ml_tensor *b) {
  const ml_tensor *of[] = {w, b};
  const char *names[] = {"weight", "bias"};
  int at[] = {3, 4};
  ML_TRY(ml__shape_norm_channels(nd, shape, "group_norm", x, 2, of, names, at));
  if (groups < 1 || x->info.shape[1] % groups != 0)
    return ml_fail(ML_EARG,
                   "bad argument #2 to 'group_norm' (groups: expected a divisor of the %lld "
                   "channels, got %lld)",
                   (long long)x->info.shape[1], (long long)groups);
  return ML_OK;
}

ml_err ml__shape_batch_norm(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                            const ml_tensor *b, const ml_tensor *mean, const ml_tensor *var) {
  const ml_tensor *of[] = {w, b, mean, var};
  const char *names[] = {"weight", "bias", "mean", "var"};
  int at[] = {2, 3, 4, 5};
  ML_TRY(ml__shape_norm_channels(nd, shape, "batch_norm", x, 4, of, names, at));
  if (x->info.count > 0 && x->info.count == x->info.shape[1])
    return ml_fail(ML_ESHAPE,
                   "bad argument #1 to 'batch_norm' (x: expected more than one value per channel "
                   "when training)");
  return ML_OK;
}

ml_err ml__shape_batch_norm_fixed(int *nd, int64_t *shape, const ml_tensor *x,
                                  const ml_tensor *mean, const ml_tensor *var, const ml_tensor *w,
                                  const ml_tensor *b) {
  const ml_tensor *of[] = {mean, var, w, b};
  const char *names[] = {"mean", "var", "weight", "bias"};
  int at[] = {2, 3, 4, 5};
  return ml__shape_norm_channels(nd, shape, "batch_norm_fixed", x, 4, of, names, at);
}

/* [groups, 2], the kept statistics. */
ml_err ml__shape_stats(int *nd, int64_t *shape, int64_t groups) {
  *nd = 2;
  shape[0] = groups;
  shape[1] = 2;
  return ML_OK;
}

static int64_t product(const ml_tensor *x, int from, int to) {
  int64_t n = 1;
  for (int d = from; d < to; d++) n *= x->info.shape[d];
  return n;
}

ml_err ml__shape_row_stats(int *nd, int64_t *shape, const ml_tensor *x, int64_t axes) {
  return ml__shape_stats(nd, shape, product(x, 0, x->info.ndim - (int)axes));
}

/* -- reference -- */

/* The group and the parameter of element i. */
static inline int64_t group_of(const ml_normalise *j, int64_t i) {
  int64_t c = i / j->s % j->c;
  return j->across ? c : i / (j->s * j->c) * j->groups + c / (j->c / j->groups);
}
static inline int64_t param_of(const ml_normalise *j, int64_t i) { return i / j->s % j->c; }

static double load(const ml_tensor *t, int64_t i, double otherwise) {
  return t ? ml__load(t->info.data, t->info.dtype, i) : otherwise;
}

static ml_err reference(ml_normalise *j) {
  int64_t groups = ml__norm_groups(j), count = j->x->info.count;
  double m = (double)ml__norm_members(j), *sums = calloc((size_t)(2 * groups + 1), sizeof *sums);
  if (!sums)
    return ml_fail(ML_ENOMEM, "out of memory: statistics of %lld groups", (long long)groups);
  for (int64_t i = 0; !j->fixed && i < count; i++) sums[2 * group_of(j, i)] += load(j->x, i, 0) / m;
  for (int64_t i = 0; !j->fixed && i < count; i++) {
    double *s = sums + 2 * group_of(j, i), d = load(j->x, i, 0) - (j->rms ? 0 : s[0]);
    s[1] += d * d / m;
  }
  for (int64_t k = 0; !j->fixed && k < groups; k++) {
    j->stats[2 * k] = j->rms ? 0 : sums[2 * k];
    j->stats[2 * k + 1] = 1 / sqrt(sums[2 * k + 1] + j->eps);
  }
  for (int64_t i = 0; i < count; i++) {
    const double *s = j->stats + 2 * group_of(j, i);
    int64_t p = param_of(j, i);
    ml__store(j->y->info.data, j->y->info.dtype, i,
              (load(j->x, i, 0) - s[0]) * s[1] * load(j->w, p, 1) + load(j->b, p, 0));
  }
  free(sums);
  return ML_OK;
}

static ml_err reference_backward(ml_normalise *j) {
  int64_t groups = ml__norm_groups(j), count = j->x->info.count;
  double m = (double)ml__norm_members(j);
  double *sums = calloc((size_t)(2 * (groups + j->c) + 1), sizeof *sums);
  if (!sums) return ml_fail(ML_ENOMEM, "out of memory: sums of %lld groups", (long long)groups);
  double *by_param = sums + 2 * groups;
  for (int64_t i = 0; i < count; i++) {
    int64_t k = group_of(j, i), p = param_of(j, i);
    double g = load(j->g, i, 0), h = (load(j->x, i, 0) - j->stats[2 * k]) * j->stats[2 * k + 1];
    sums[2 * k] += g * load(j->w, p, 1) / m;
    sums[2 * k + 1] += g * load(j->w, p, 1) * h / m;
    by_param[2 * p] += g;
    by_param[2 * p + 1] += g * h;
  }
  for (int64_t i = 0; j->dx && i < count; i++) {
    int64_t k = group_of(j, i);
    double r = j->stats[2 * k + 1], h = (load(j->x, i, 0) - j->stats[2 * k]) * r;
    double d = load(j->g, i, 0) * load(j->w, param_of(j, i), 1);
    if (!j->fixed) d -= (j->rms ? 0 : sums[2 * k]) + h * sums[2 * k + 1];
    ml__store(j->dx->info.data, j->dx->info.dtype, i, r * d);
  }
  for (int64_t p = 0; p < j->c; p++) {
    if (j->db) ml__store(j->db->info.data, j->db->info.dtype, p, by_param[2 * p]);
    if (j->dw) ml__store(j->dw->info.data, j->dw->info.dtype, p, by_param[2 * p + 1]);
  }
  free(sums);
  return ML_OK;
}

/* -- who computes -- */

static bool slow(const ml_normalise *j) { return ml__reference_on || j->x->info.dtype != ML_F32; }

/* kept: the statistics for the backward, or NULL. */
static ml_err forward(ml_normalise *j, ml_tensor *kept) {
  double *own = NULL;
  int64_t groups = ml__norm_groups(j);
  if (j->x->info.count == 0) {
    if (kept) ml__fill(kept, 0);
    return ML_OK;
  }
  if (!j->stats) {
    j->stats = kept ? ml_f64(kept) : (own = malloc((size_t)groups * 2 * sizeof *own));
    if (!j->stats)
      return ml_fail(ML_ENOMEM, "out of memory: statistics of %lld groups", (long long)groups);
  }
  ml_err e = slow(j)                     ? reference(j)
             : !j->across && j->s < LONG ? ml__norm_rows(j)
             : j->s >= LONG              ? ml__norm_channels(j)
                                         : ml__norm_columns(j);
  free(own);
  return e;
}

static ml_normalise by_last(const ml_tensor *x, int64_t axes) {
  int at = x->info.ndim - (int)axes;
  return (ml_normalise){
      .n = product(x, 0, at), .c = product(x, at, x->info.ndim), .s = 1, .groups = 1, .x = x};
}

static ml_normalise by_channel(const ml_tensor *x, int64_t groups) {
  return (ml_normalise){.n = x->info.shape[0],
                        .c = x->info.shape[1],
                        .s = product(x, 2, x->info.ndim),
                        .groups = groups ? groups : 1,
                        .across = groups == 0,
                        .x = x};
}

static ml_err layer_norm(ml_tensor *y, ml_tensor *stats, const ml_tensor *x, const ml_tensor *w,
                         const ml_tensor *b, int64_t axes, double eps) {
  ml_normalise j = by_last(x, axes);
  j.y = y, j.w = w, j.b = b, j.eps = eps;
  return forward(&j, stats);
}

static ml_err rms_norm(ml_tensor *y, ml_tensor *stats, const ml_tensor *x, const ml_tensor *w,
                       int64_t axes, double eps) {
  ml_normalise j = by_last(x, axes);
  j.y = y, j.w = w, j.eps = eps, j.rms = true;
  return forward(&j, stats);
}

static ml_err group_norm(ml_tensor *y, ml_tensor *stats, const ml_tensor *x, int64_t groups,
                         const ml_tensor *w, const ml_tensor *b, double eps) {
  ml_normalise j = by_channel(x, groups);
  j.y = y, j.w = w, j.b = b, j.eps = eps;
  return forward(&j, stats);
}

/* running = (1 - momentum) running + momentum now */
static void run_on(ml_tensor *running, int64_t c, double momentum, double now) {
  double before = ml__load(running->info.data, running->info.dtype, c);
  ml__store(running->info.data, running->info.dtype, c, (1 - momentum) * before + momentum * now);
}

static ml_err batch_norm(ml_tensor *y, ml_tensor *stats, const ml_tensor *x, const ml_tensor *w,
                         const ml_tensor *b, ml_tensor *mean, ml_tensor *var, double momentum,
                         double eps) {
  ml_normalise j = by_channel(x, 0);
  j.y = y, j.w = w, j.b = b, j.eps = eps;
  double m = (double)ml__norm_members(&j), *own = NULL;
  if (!stats) {
    own = j.stats = malloc((size_t)(j.c + 1) * 2 * sizeof *own);
    if (!own)
      return ml_fail(ML_ENOMEM, "out of memory: statistics of %lld channels", (long long)j.c);
  }
  ml_err e = forward(&j, stats);
  for (int64_t c = 0; e == ML_OK && x->info.count > 0 && c < j.c; c++) {
    const double *s = j.stats + 2 * c;
    if (mean) run_on(mean, c, momentum, s[0]);
    if (var) run_on(var, c, momentum, (1 / (s[1] * s[1]) - eps) * m / (m - 1));
  }
  if (mean) ml__touch(mean);
  if (var) ml__touch(var);
  free(own);
  return e;
}

static ml_err batch_norm_fixed(ml_tensor *y, ml_tensor *stats, const ml_tensor *x,
                               const ml_tensor *mean, const ml_tensor *var, const ml_tensor *w,
                               const ml_tensor *b, double eps) {
  ml_normalise j = by_channel(x, 0);
  double *own = stats ? NULL : malloc((size_t)(j.c + 1) * 2 * sizeof *own);
  j.y = y, j.w = w, j.b = b, j.eps = eps, j.fixed = true;
  j.stats = stats ? ml_f64(stats) : own;
  if (!j.stats)
    return ml_fail(ML_ENOMEM, "out of memory: statistics of %lld channels", (long long)j.c);
  for (int64_t c = 0; c < j.c; c++) {
    j.stats[2 * c] = ml__load(mean->info.data, mean->info.dtype, c);
    j.stats[2 * c + 1] = 1 / sqrt(ml__load(var->info.data, var->info.dtype, c) + eps);
  }
  ml_err e = forward(&j, NULL);
  free(own);
  return e;
}

#define BOTH(NAME, PARAMS, ...)                                    \
  ml_err ml_##NAME##_ref(ml_tensor *y, ml_tensor *stats, PARAMS) { \
    return NAME(y, stats, __VA_ARGS__);                            \
  }                                                                \
  ml_err ml_##NAME##_cpu(ml_tensor *y, ml_tensor *stats, PARAMS) { \
    return NAME(y, stats, __VA_ARGS__);                            \
  }
#define T const ml_tensor *
#define AND ,
BOTH(layer_norm, T x AND T w AND T b AND int64_t axes AND double eps, x, w, b, axes, eps)
BOTH(rms_norm, T x AND T w AND int64_t axes AND double eps, x, w, axes, eps)
BOTH(group_norm, T x AND int64_t groups AND T w AND T b AND double eps, x, groups, w, b, eps)
BOTH(batch_norm,
     T x AND T w AND T b AND ml_tensor *mean AND ml_tensor *var AND double momentum AND double eps,
     x, w, b, mean, var, momentum, eps)
BOTH(batch_norm_fixed, T x AND T mean AND T var AND T w AND T b AND double eps, x, mean, var, w, b,
     eps)

/* -- backward -- */

/* w and b are inputs `at` and at + 1 of the node, bias only where has_bias. */
static ml_err backward(ml_normalise j, ml_node *n, ml_tensor *g, ml_tensor **gin, int at,
                       bool has_bias) {
  ml_tensor *x = NULL, *w = n->in[at], *b = has_bias ? n->in[at + 1] : NULL, *cw = NULL;
  j.stats = ml_f64(n->saved[1]);
  j.g = g;
  j.b = b;
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK && w) e = ml__contiguous(&cw, w);
  j.x = x;
  j.w = cw;
  if (e == ML_OK && ml__wants(n->in[0]))
    e = ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape);
  if (e == ML_OK && ml__wants(w)) e = ml__new(&gin[at], w->info.dtype, w->info.ndim, w->info.shape);
  if (e == ML_OK && ml__wants(b))
    e = ml__new(&gin[at + 1], b->info.dtype, b->info.ndim, b->info.shape);
  j.dx = gin[0];
  j.dw = gin[at];
  j.db = has_bias ? gin[at + 1] : NULL;
  if (e == ML_OK && x->info.count == 0) {
    if (j.dw) ml__fill(j.dw, 0);
    if (j.db) ml__fill(j.db, 0);
  } else if (e == ML_OK) {
    e = slow(&j)                  ? reference_backward(&j)
        : !j.across && j.s < LONG ? ml__norm_rows_backward(&j)
        : j.s >= LONG             ? ml__norm_channels_backward(&j)
                                  : ml__norm_columns_backward(&j);
  }
  ml__unref(x);
  ml__unref(cw);
  return e;
}

ml_err ml_layer_norm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(by_last(n->in[0], n->scalar[0].i), n, g, gin, 1, true);
}

ml_err ml_rms_norm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_normalise j = by_last(n->in[0], n->scalar[0].i);
  j.rms = true;
  return backward(j, n, g, gin, 1, false);
}

ml_err ml_group_norm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(by_channel(n->in[0], n->scalar[0].i), n, g, gin, 1, true);
}

ml_err ml_batch_norm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(by_channel(n->in[0], 0), n, g, gin, 1, true);
}

/* Mean and variance are constants. */
ml_err ml_batch_norm_fixed_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_normalise j = by_channel(n->in[0], 0);
  j.fixed = true;
  if (ml__wants(n->in[1]) || ml__wants(n->in[2]))
    return ml_fail(ML_ESTATE, "batch_norm_fixed: no gradient by the mean or the variance");
  return backward(j, n, g, gin, 3, true);
}
