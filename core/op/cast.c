/* cast: a tensor converted to another dtype (core/tensor/copy.c), on the tape. */
#include "ml_ops.h"

ml_err ml_cast_ref(ml_tensor *y, const ml_tensor *x, int64_t dtype) { return ml__copy(y, x); }

ml_err ml_cast_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return ml__op_cast(&gin[0], g, n->in[0]->info.dtype);
}

ml_err ml__cast(ml_tensor **out, ml_tensor *t, int dtype) {
  if (t->info.dtype != dtype) return ml__op_cast(out, t, dtype);
  *out = ml__ref(t);
  return ML_OK;
}
