/*
 * reduce: sum, and the pair sum_to and expand that undo each other's broadcasting.
 *
 * f32 sums run in double: a long sum keeps its digits, and the order is fixed by shape alone.
 */
#include <string.h>

#include "ml_ops.h"

/* x as [outer, middle, inner], of which the middle is summed. */
static void extents(const ml_tensor *x, int64_t axis, int64_t e[3]) {
  e[0] = e[1] = e[2] = 1;
  if (axis == 0) {
    e[1] = x->info.count;
    return;
  }
  int a = (int)(axis < 0 ? axis + x->info.ndim : axis - 1);
  for (int d = 0; d < x->info.ndim; d++) e[d < a ? 0 : d == a ? 1 : 2] *= x->info.shape[d];
}

ml_err ml_sum_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  int64_t e[3];
  extents(x, axis, e);
  for (int64_t o = 0; o < e[0]; o++) {
    for (int64_t i = 0; i < e[2]; i++) {
      double s = 0;
      uint64_t whole = 0; /* wraps around */
      for (int64_t m = 0; m < e[1]; m++) {
        int64_t at = (o * e[1] + m) * e[2] + i;
        if (x->info.dtype == ML_I64) whole += ((const uint64_t *)x->info.data)[at];
        else s += ml__load(x->info.data, x->info.dtype, at);
      }
      if (x->info.dtype == ML_I64) ((uint64_t *)y->info.data)[o * e[2] + i] = whole;
      else ml__store(y->info.data, y->info.dtype, o * e[2] + i, s);
    }
  }
  return ML_OK;
}

ML_CLONES static double sum_run(const float *x, int64_t n) {
  double part[8] = {0}; /* eight sums side by side, then together: the same on every machine */
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++) part[k] += (double)x[i + k];
  for (; i < n; i++) part[i & 7] += (double)x[i];
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

ml_err ml_sum_cpu(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t keep) {
  int64_t e[3];
  extents(x, axis, e);
  if (e[2] != 1) return ml_sum_ref(y, x, axis, keep);
  for (int64_t o = 0; o < e[0]; o++) ml_f32(y)[o] = (float)sum_run(ml_f32(x) + o * e[1], e[1]);
  return ML_OK;
}

ml_err ml_sum_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = n->in[0], *kept = NULL;
  int64_t shape[ML_MAX_DIM], axis = n->scalar[0].i;
  int a = (int)(axis < 0 ? axis + x->info.ndim : axis - 1);
  for (int d = 0; d < x->info.ndim; d++) shape[d] = axis == 0 || d == a ? 1 : x->info.shape[d];
  ML_TRY(ml__reshape(&kept, g, x->info.ndim, shape));
  ml_err e = ml__op_expand(&gin[0], kept, x);
  ml__unref(kept);
  return e;
}

static ml_err check_spread(const char *op, const ml_tensor *small, const ml_tensor *large) {
  int nd;
  int64_t shape[ML_MAX_DIM];
  ML_TRY(ml__broadcast(&nd, shape, small, large));
  if (nd == large->info.ndim && memcmp(shape, large->info.shape, sizeof(int64_t) * (size_t)nd) == 0)
    return ML_OK;
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "%s: %s does not broadcast to %s", op,
                 ml__shape_text(a, small->info.ndim, small->info.shape),
                 ml__shape_text(b, large->info.ndim, large->info.shape));
}

ml_err ml_sum_to_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *like) {
  ML_TRY(check_spread("sum_to", like, x));
  ml_tensor *sum;
  ML_TRY(ml__new(&sum, ML_F64, y->info.ndim, y->info.shape));
  ml__fill(sum, 0);
  if (x->info.count) {
    ml_walk w;
    const ml_tensor *ts[] = {sum, x};
    ml__walk(&w, x->info.ndim, x->info.shape, 2, ts);
    do ml_f64(sum)[w.offset[0]] += ml__load(x->info.data, x->info.dtype, w.offset[1]);
    while (ml__walk_next(&w));
  }
  ml_err e = ml__copy(y, sum);
  ml__unref(sum);
  return e;
}

ml_err ml_sum_to_cpu(ml_tensor *y, const ml_tensor *x, const ml_tensor *like) {
  if (x->info.count == y->info.count && x->info.contiguous) {
    ML_TRY(check_spread("sum_to", like, x));
    memcpy(y->info.data, x->info.data, (size_t)y->info.count * sizeof(float));
    return ML_OK;
  }
  return ml_sum_to_ref(y, x, like);
}

ml_err ml_expand_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *like) {
  ML_TRY(check_spread("expand", x, like));
  return ml__copy(y, x);
}
