/* spread: sum_to and expand, which undo each other's broadcasting. */
#include <string.h>

#include "ml_ops.h"

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
