/* shape: output shapes that a card's symbols cannot say. */
#include "op/shape.h"

#include <math.h>
#include <string.h>

ml_err ml__axis(int *out, const char *op, int i, const ml_tensor *x, int64_t axis) {
  int64_t n = x->info.ndim, a = axis < 0 ? axis + n : axis - 1;
  if (n == 0)
    return ml_fail(ML_EARG, "bad argument #%d to '%s' (axis: %lld, but the tensor has no axes)", i,
                   op, (long long)axis);
  if (axis == 0 || a < 0 || a >= n)
    return ml_fail(ML_EARG,
                   "bad argument #%d to '%s' (axis: expected 1 to %lld or negative, got %lld)", i,
                   op, (long long)n, (long long)axis);
  *out = (int)a;
  return ML_OK;
}

static ml_err misfit(const char *op, int i, const char *name, const ml_tensor *want,
                     const ml_tensor *got) {
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name,
                 ml__shape_text(a, want->info.ndim, want->info.shape),
                 ml__shape_text(b, got->info.ndim, got->info.shape));
}

ml_err ml__shape_each(int *nd, int64_t *shape, const char *op, int n, const ml_tensor *const *in) {
  *nd = 0;
  for (int k = 0; k < n; k++) *nd = ML_MAX(*nd, in[k]->info.ndim);
  for (int d = 0; d < *nd; d++) shape[d] = 1;
  for (int k = 0; k < n; k++) {
    int shift = *nd - in[k]->info.ndim;
    for (int d = shift; d < *nd; d++) {
      int64_t size = in[k]->info.shape[d - shift];
      if (size != shape[d] && size != 1 && shape[d] != 1) {
        char s[ML_SHAPE_TEXT], t[ML_SHAPE_TEXT];
        const ml_tensor *first = in[k - 1];
        for (int m = 0; m < k; m++) { /* the one that set this size */
          int at = d - (*nd - in[m]->info.ndim);
          if (at >= 0 && in[m]->info.shape[at] == shape[d]) first = in[m];
        }
        return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (shapes %s and %s do not broadcast)",
                       k + 1, op, ml__shape_text(s, first->info.ndim, first->info.shape),
                       ml__shape_text(t, in[k]->info.ndim, in[k]->info.shape));
      }
      if (size != 1) shape[d] = size;
    }
  }
  return ML_OK;
}

ml_err ml__shape_like(int *nd, int64_t *shape, const ml_tensor *a) {
  *nd = a->info.ndim;
  memcpy(shape, a->info.shape, sizeof(int64_t) * (size_t)*nd);
  return ML_OK;
}

ml_err ml__shape_affine(int *nd, int64_t *shape, const ml_tensor *x, double scale, double shift) {
  bool whole = x->info.dtype == ML_I64 || x->info.dtype == ML_I32 || x->info.dtype == ML_U8;
  if (whole && (scale != floor(scale) || shift != floor(shift)))
    return ml_fail(ML_EARG,
                   "bad argument #%d to 'affine' (expected a whole number for %s, got %.14g)",
                   scale != floor(scale) ? 2 : 3, ml_dtype_name(x->info.dtype),
                   scale != floor(scale) ? scale : shift);
  for (int k = 0; k < 2 && whole; k++) { /* u8 - 1 is fine */
    double v = fabs(k ? shift : scale);
    if (ml_dtype_round(x->info.dtype, v) != v || v >= 0x1p63)
      return ml_fail(ML_ERANGE, "%.14g is not in the range of %s; convert the tensor first",
                     k ? shift : scale, ml_dtype_name(x->info.dtype));
  }
  return ml__shape_like(nd, shape, x);
}

ml_err ml__shape_loss(int *nd, int64_t *shape, const char *op, const ml_tensor *p,
                      const ml_tensor *y, const ml_tensor *w, const ml_tensor *q,
                      int64_t reduction) {
  int shift = q ? p->info.ndim - q->info.ndim : 0;
  *nd = 0;
  if (!ml__same_shape(p, y)) return misfit(op, 2, "target", p, y);
  if (w && !ml__same_shape(p, w)) return misfit(op, 3, "weight", p, w);
  if (q && (shift < 0 || memcmp(p->info.shape + shift, q->info.shape,
                                sizeof(int64_t) * (size_t)q->info.ndim) != 0))
    return misfit(op, 5, "pos_weight", p, q);
  return reduction == 2 ? ml__shape_like(nd, shape, p) : ML_OK;
}

ml_err ml__shape_reduce(int *nd, int64_t *shape, const char *op, const ml_tensor *x, int64_t axis,
                        int64_t keep, int64_t least) {
  int a = -1;
  if (axis != 0) ML_TRY(ml__axis(&a, op, 2, x, axis));
  int64_t n = a < 0 ? x->info.count : x->info.shape[a];
  if (n < least)
    return ml_fail(ML_ESHAPE,
                   "bad argument #1 to '%s' (x: expected at least one element, got none)", op);
  *nd = 0;
  for (int d = 0; d < x->info.ndim; d++) {
    if (a >= 0 && d != a) shape[(*nd)++] = x->info.shape[d];
    else if (keep) shape[(*nd)++] = 1;
  }
  return ML_OK;
}

ml_err ml__shape_along(int *nd, int64_t *shape, const char *op, const ml_tensor *x, int64_t axis) {
  int a;
  ML_TRY(ml__axis(&a, op, 2, x, axis));
  return ml__shape_like(nd, shape, x);
}

ml_err ml__shape_cat(int *nd, int64_t *shape, ml_tensor *const *xs, int64_t n, int64_t axis) {
  int a = 0;
  ML_TRY(ml__axis(&a, "cat", 2, xs[0], axis));
  ML_TRY(ml__shape_like(nd, shape, xs[0]));
  for (int64_t k = 1; k < n; k++) {
    bool fits = xs[k]->info.ndim == *nd;
    for (int d = 0; fits && d < *nd; d++) fits = d == a || xs[k]->info.shape[d] == shape[d];
    if (!fits) {
      char s[ML_SHAPE_TEXT], t[ML_SHAPE_TEXT];
      return ml_fail(ML_ESHAPE,
                     "bad argument #1 to 'cat' (xs[%lld]: expected %s but for axis %d, got %s)",
                     (long long)k + 1, ml__shape_text(s, *nd, xs[0]->info.shape), a + 1,
                     ml__shape_text(t, xs[k]->info.ndim, xs[k]->info.shape));
    }
    if (__builtin_add_overflow(shape[a], xs[k]->info.shape[a], &shape[a]))
      return ml_fail(ML_ESHAPE, "bad argument #1 to 'cat' (xs: too large together)");
  }
  return ML_OK;
}

/* [B, T, D]: samples, tables, width. */
ml_err ml__shape_bags(int *nd, int64_t *shape, ml_tensor *const *tables, int64_t n,
                      const ml_tensor *indices, const ml_tensor *offsets,
                      const ml_tensor *weights) {
  int64_t bags = offsets ? offsets->info.count - 1 : indices->info.count;
  if (bags < 0 || bags % n != 0)
    return ml_fail(ML_ESHAPE,
                   "bad argument #%d to 'embedding_bags' (%s: expected a multiple of %lld "
                   "tables%s, got %lld)",
                   offsets ? 3 : 2, offsets ? "offsets" : "indices", (long long)n,
                   offsets ? " and one more" : "", (long long)(offsets ? bags + 1 : bags));
  for (int64_t t = 0; t < n; t++)
    if (!tables[t]->info.contiguous)
      return ml_fail(ML_EARG,
                     "bad argument #1 to 'embedding_bags' (tables[%lld]: expected contiguous)",
                     (long long)t + 1);
  if (weights && weights->info.count != indices->info.count)
    return misfit("embedding_bags", 4, "weights", indices, weights);
  *nd = 3;
  shape[0] = bags / n;
  shape[1] = n;
  shape[2] = tables[0]->info.shape[1];
  return ML_OK;
}

ml_err ml__shape_select(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *indices,
                        int64_t axis) {
  int a = 0, axes = x->info.ndim - 1 + indices->info.ndim, at = 0;
  ML_TRY(ml__axis(&a, "index_select", 3, x, axis));
  if (axes > ML_MAX_DIM)
    return ml_fail(ML_ESHAPE, "bad argument #1 to 'index_select' (x: %d axes and %d of indices)",
                   x->info.ndim, indices->info.ndim);
  for (int d = 0; d < a; d++) shape[at++] = x->info.shape[d];
  for (int d = 0; d < indices->info.ndim; d++) shape[at++] = indices->info.shape[d];
  for (int d = a + 1; d < x->info.ndim; d++) shape[at++] = x->info.shape[d];
  *nd = axes;
  return ML_OK;
}

ml_err ml__shape_gather(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                        const ml_tensor *indices, const ml_tensor *src, int64_t axis) {
  int a = 0;
  ML_TRY(ml__axis(&a, op, src ? 4 : 3, x, axis));
  bool fits = x->info.ndim == indices->info.ndim;
  for (int d = 0; fits && d < x->info.ndim; d++)
    fits = d == a || indices->info.shape[d] <= x->info.shape[d];
  if (!fits) return misfit(op, 2, "indices", x, indices);
  if (src && !ml__same_shape(indices, src)) return misfit(op, 3, "src", indices, src);
  return ml__shape_like(nd, shape, src ? x : indices);
}

ml_err ml__shape_interaction(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *e,
                             int64_t itself) {
  int64_t f = e->info.shape[1] + 1;
  if (f > 1 << 24)
    return ml_fail(ML_ESHAPE, "bad argument #2 to 'dot_interaction' (e: %lld tables)",
                   (long long)f - 1);
  *nd = 2;
  shape[0] = x->info.shape[0];
  shape[1] = x->info.shape[1] + (itself ? f * (f + 1) / 2 : f * (f - 1) / 2);
  return ML_OK;
}
