/*
 * scaled_dot_product_attention: y = dropout(softmax(scale q k' + mask)) v
 *
 *   q [.., L, E]  k [.., S, E]  v [.., S, V]  y [.., L, V]; leading axes alike
 *   mask   broadcasts to [.., L, S]: added; or bool, true where a row sees a column
 *   causal row l sees columns up to l     scale  0: 1 / sqrt(E)
 *
 * A row that sees nothing gives zeros. Vaswani et al. 2017, eq. 1. In f32 the L x S matrix is
 * never there (attention_blocks.c); kept for the backward is z, the logarithm of a row's sum of
 * exponents. Here: shapes, the reference, in double, which takes f64 too, and who computes.
 */
#include "op/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"

/* -- shapes -- */

ml_err ml__shape_attention(int *nd, int64_t *shape, const ml_tensor *q, const ml_tensor *k,
                           const ml_tensor *v, const ml_tensor *mask) {
  int n = q->info.ndim;
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  const char *op = "scaled_dot_product_attention";
  if (n < 2)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (q: expected [.., L, E], got %s)", op,
                   ml__shape_text(a, n, q->info.shape));
  size_t lead = sizeof(int64_t) * (size_t)(n - 2);
  const ml_tensor *of[] = {k, v};
  for (int i = 0; i < 2; i++) {
    const ml_tensor *t = of[i];
    bool fits = t->info.ndim == n && memcmp(t->info.shape, q->info.shape, lead) == 0;
    if (fits)
      fits = i ? t->info.shape[n - 2] == k->info.shape[n - 2]
               : t->info.shape[n - 1] == q->info.shape[n - 1];
    if (!fits)
      return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: %s does not fit %s %s)", i + 2, op,
                     i ? "v" : "k", ml__shape_text(a, t->info.ndim, t->info.shape), i ? "k" : "q",
                     ml__shape_text(b, of[0]->info.ndim, i ? k->info.shape : q->info.shape));
  }
  ML_TRY(ml__shape_like(nd, shape, q));
  shape[n - 1] = k->info.shape[n - 2];
  int shift = mask ? n - mask->info.ndim : 0;
  bool fits = shift >= 0;
  for (int d = 0; mask && fits && d < mask->info.ndim; d++)
    fits = mask->info.shape[d] == 1 || mask->info.shape[d] == shape[d + shift];
  if (mask && !fits)
    return ml_fail(ML_ESHAPE, "bad argument #4 to '%s' (mask: %s does not broadcast to %s)", op,
                   ml__shape_text(a, mask->info.ndim, mask->info.shape),
                   ml__shape_text(b, n, shape));
  shape[n - 1] = v->info.shape[n - 1];
  return ML_OK;
}

ml_err ml__shape_attention_rows(int *nd, int64_t *shape, const ml_tensor *q) {
  *nd = 1;
  shape[0] = 1;
  for (int d = 0; d < q->info.ndim - 1; d++) shape[0] *= q->info.shape[d];
  return ML_OK;
}

/* -- masks -- */

void ml__attention_mask(const ml_attention *a, int64_t head, int64_t *at, int64_t *row,
                        int64_t *column) {
  const ml_info *m = &a->mask->info, *q = &a->q->info;
  int shift = q->ndim - m->ndim;
  int64_t rest = head, stride[ML_MAX_DIM] = {0};
  for (int d = 0; d < m->ndim; d++) stride[d + shift] = m->shape[d] == 1 ? 0 : m->stride[d];
  *at = 0;
  for (int d = q->ndim - 3; d >= 0; d--) {
    *at += rest % q->shape[d] * stride[d];
    rest /= q->shape[d];
  }
  *row = stride[q->ndim - 2];
  *column = stride[q->ndim - 1];
}

void ml__attention_hide(const ml_attention *a, int64_t head, int64_t row, int64_t s0, int64_t n,
                        float *score) {
  if (a->mask) {
    int64_t at, down, across;
    ml__attention_mask(a, head, &at, &down, &across);
    at += row * down + s0 * across;
    if (a->mask->info.dtype == ML_BOOL) {
      const uint8_t *m = (const uint8_t *)a->mask->info.data + at;
      for (int64_t i = 0; i < n; i++) score[i] = m[i * across] ? score[i] : -INFINITY;
    } else if (a->mask->info.dtype == ML_F32) {
      const float *m = ml_f32(a->mask) + at;
      for (int64_t i = 0; i < n; i++) score[i] += m[i * across];
    } else {
      const ml_info *m = &a->mask->info;
      for (int64_t i = 0; i < n; i++)
        score[i] += (float)ml__load(m->data, m->dtype, at + i * across);
    }
  }
  for (int64_t i = ML_MAX(0, row + 1 - s0); a->causal && i < n; i++) score[i] = -INFINITY;
}

/* -- reference -- */

static double load(const ml_tensor *t, int64_t i) {
  return ml__load(t->info.data, t->info.dtype, i);
}
static void add(ml_tensor *t, int64_t i, double v) {
  if (t) ml__store(t->info.data, t->info.dtype, i, load(t, i) + v);
}

/* The row's probabilities before dropout; returns the logarithm of its sum of exponents. */
static double row_of(const ml_attention *a, int64_t head, int64_t row, double *p) {
  double top = -INFINITY, sum = 0;
  int64_t at = 0, down = 0, across = 0;
  if (a->mask) ml__attention_mask(a, head, &at, &down, &across);
  for (int64_t s = 0; s < a->s; s++) {
    double dot = 0;
    for (int64_t e = 0; e < a->e; e++)
      dot += load(a->q, (head * a->l + row) * a->e + e) * load(a->k, (head * a->s + s) * a->e + e);
    p[s] = a->scale * dot;
    double m = a->mask ? load(a->mask, at + row * down + s * across) : 0;
    if (a->mask && a->mask->info.dtype == ML_BOOL) p[s] = m != 0 ? p[s] : -INFINITY;
    else p[s] += m;
    if (a->causal && s > row) p[s] = -INFINITY;
    top = p[s] > top ? p[s] : top;
  }
  if (top == -INFINITY) {
    for (int64_t s = 0; s < a->s; s++) p[s] = p[s] == p[s] ? 0 : p[s]; /* NaN stays */
    return 0;
  }
  for (int64_t s = 0; s < a->s; s++) sum += p[s] = exp(p[s] - top);
  for (int64_t s = 0; s < a->s; s++) p[s] /= sum;
  return top + log(sum);
}

static ml_err reference(ml_attention *a) {
  double *p = malloc((size_t)(a->s + 1) * sizeof *p);
  float *f = malloc((size_t)(a->s + 1) * sizeof *f);
  for (int64_t r = 0; p && f && r < a->heads * a->l; r++) {
    double z = row_of(a, r / a->l, r % a->l, p);
    if (a->z) ml__store(a->z, a->q->info.dtype, r, z);
    ml__drop_factors(&a->drop, r * a->s, a->s, f);
    for (int64_t v = 0; v < a->ev; v++) {
      double sum = 0;
      for (int64_t s = 0; s < a->s; s++) {
        double w = f[s] == 0 ? 0 : p[s] / (a->drop.p > 0 ? 1 - a->drop.p : 1);
        if (w != 0) sum += w * load(a->v, (r / a->l * a->s + s) * a->ev + v);
      }
      ml__store(a->y->info.data, a->y->info.dtype, r * a->ev + v, sum);
    }
  }
  bool ok = p && f;
  free(p);
  free(f);
  return ok ? ML_OK : ml_fail(ML_ENOMEM, "out of memory: a row of attention");
}

static ml_err reference_backward(ml_attention *a) {
  double *p = malloc((size_t)(a->s + 1) * 2 * sizeof *p), *dp = p + a->s;
  float *f = malloc((size_t)(a->s + 1) * sizeof *f);
  for (int64_t r = 0; p && f && r < a->heads * a->l; r++) {
    int64_t head = r / a->l;
    double delta = 0;
    row_of(a, head, r % a->l, p);
    ml__drop_factors(&a->drop, r * a->s, a->s, f);
    for (int64_t s = 0; s < a->s; s++) {
      double w = f[s] == 0 ? 0 : 1 / (a->drop.p > 0 ? 1 - a->drop.p : 1);
      dp[s] = 0;
      for (int64_t v = 0; v < a->ev; v++) {
        double g = load(a->g, r * a->ev + v);
        dp[s] += w * g * load(a->v, (head * a->s + s) * a->ev + v);
        add(a->dv, (head * a->s + s) * a->ev + v, p[s] * w * g);
      }
      delta += p[s] * dp[s];
    }
    for (int64_t s = 0; s < a->s; s++) {
      double ds = a->scale * p[s] * (dp[s] - delta);
      for (int64_t e = 0; e < a->e; e++) {
        add(a->dq, r * a->e + e, ds * load(a->k, (head * a->s + s) * a->e + e));
        add(a->dk, (head * a->s + s) * a->e + e, ds * load(a->q, r * a->e + e));
      }
    }
  }
  bool ok = p && f;
  free(p);
  free(f);
  return ok ? ML_OK : ml_fail(ML_ENOMEM, "out of memory: a row of attention");
}

/* -- who computes -- */

static ml_attention describe(const ml_tensor *q, const ml_tensor *k, const ml_tensor *v,
                             const ml_tensor *mask, int64_t causal, double scale) {
  int n = q->info.ndim;
  ml_attention a = {.heads = 1,
                    .l = q->info.shape[n - 2],
                    .s = k->info.shape[n - 2],
                    .e = q->info.shape[n - 1],
                    .ev = v->info.shape[n - 1],
                    .q = q,
                    .k = k,
                    .v = v,
                    .mask = mask,
                    .causal = causal != 0};
  for (int d = 0; d < n - 2; d++) a.heads *= q->info.shape[d];
  a.scale = scale != 0 ? scale : 1 / sqrt((double)ML_MAX(1, a.e));
  return a;
}

static bool slow(const ml_attention *a) { return ml__reference_on || a->q->info.dtype != ML_F32; }

ml_err ml_scaled_dot_product_attention_ref(ml_tensor *y, ml_tensor *kept, const ml_tensor *q,
                                           const ml_tensor *k, const ml_tensor *v,
                                           const ml_tensor *mask, int64_t causal, double scale,
                                           double p, int64_t seed, int64_t stream,
                                           const ml_tensor *draw) {
  ml_tensor *own[3] = {0}, *given[3] = {(ml_tensor *)q, (ml_tensor *)k, (ml_tensor *)v};
  ml_drop drop;
  ML_TRY(ml__drop(&drop, "scaled_dot_product_attention", 7, p, seed, stream, draw));
  ml_err e = ML_OK;
  for (int i = 0; i < 3 && e == ML_OK; i++) e = ml__contiguous(&own[i], given[i]);
  if (e == ML_OK) {
    ml_attention a = describe(own[0], own[1], own[2], mask, causal, scale);
    a.drop = drop;
    a.y = y;
    a.z = kept ? kept->info.data : NULL;
    if (y->info.count == 0) {
      if (kept) ml__fill(kept, 0);
    } else {
      e = slow(&a) ? reference(&a) : ml__attention_forward(&a);
    }
  }
  for (int i = 0; i < 3; i++) ml__unref(own[i]);
  return e;
}

/* Inputs q, k, v, mask, draw; numbers causal, scale, p, seed, stream. */
ml_err ml_attention_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *own[3] = {0};
  ml_drop drop;
  if (ml__wants(n->in[3]))
    return ml_fail(ML_ESTATE, "scaled_dot_product_attention: no gradient by the mask");
  ML_TRY(ml__drop(&drop, n->name, 7, n->scalar[2].d, n->scalar[3].i, n->scalar[4].i, n->in[4]));
  ml_err e = ML_OK;
  for (int i = 0; i < 3 && e == ML_OK; i++) e = ml__contiguous(&own[i], n->in[i]);
  for (int i = 0; i < 3 && e == ML_OK; i++) {
    if (!ml__wants(n->in[i])) continue;
    e = ml__new(&gin[i], g->info.dtype, own[i]->info.ndim, own[i]->info.shape);
    if (e == ML_OK) ml__fill(gin[i], 0);
  }
  if (e == ML_OK && g->info.count > 0) {
    ml_attention a = describe(own[0], own[1], own[2], n->in[3], n->scalar[0].i, n->scalar[1].d);
    a.drop = drop;
    a.y = n->saved[0];
    a.z = n->saved[1]->info.data;
    a.g = g, a.dq = gin[0], a.dk = gin[1], a.dv = gin[2];
    e = slow(&a) ? reference_backward(&a) : ml__attention_backward(&a);
  }
  for (int i = 0; i < 3; i++) ml__unref(own[i]);
  return e;
}
