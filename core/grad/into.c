/* into: the next operation's result goes into memory that is already there. */
#include <string.h>

#include "grad/tape.h"

ml_tensor *ml__into;

ml_err ml_into(const ml_ref *ref) {
  ml__into = NULL;
  if (!ref) return ML_OK;
  ml_tensor *t;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__writable(t, "into"));
  if (!t->info.contiguous)
    return ml_fail(ML_EARG, "into: expected a contiguous tensor; assign with t[…] = value instead");
  ml__into = t;
  return ML_OK;
}

static bool same_layout(const ml_info *a, const ml_info *b) {
  size_t bytes = sizeof(int64_t) * (size_t)a->ndim;
  return a->data == b->data && a->dtype == b->dtype && a->ndim == b->ndim &&
         memcmp(a->shape, b->shape, bytes) == 0 && memcmp(a->stride, b->stride, bytes) == 0;
}

ml_err ml__into_from(ml_tensor *const *in, int64_t n, bool element_wise) {
  ml_tensor *t = ml__into;
  for (int64_t i = 0; i < n; i++) {
    if (!in[i]) continue;
    if (ml__grad_on && ml__wants(in[i]))
      return ml_fail(ML_ESTATE, "into: the result would be on the tape; compute it in ml.no_grad");
    if (in[i]->storage == t->storage && !(element_wise && same_layout(&in[i]->info, &t->info)))
      return ml_fail(ML_EARG, "into: the result would overwrite what it is computed from");
  }
  return ML_OK;
}

ml_err ml__take_into(ml_tensor **out, int dtype, int ndim, const int64_t *shape) {
  ml_tensor *t = ml__into;
  ml__into = NULL;
  if (t->info.dtype != dtype || t->info.ndim != ndim ||
      memcmp(t->info.shape, shape, sizeof(int64_t) * (size_t)ndim) != 0) {
    char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "into: the result is %s %s, the tensor %s %s", ml_dtype_name(dtype),
                   ml__shape_text(a, ndim, shape), ml_dtype_name(t->info.dtype),
                   ml__shape_text(b, t->info.ndim, t->info.shape));
  }
  ml__touch(t);
  return ml__alias(out, t);
}
