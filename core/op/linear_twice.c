/* linear's gradients as recorded operations, for gradients of gradients. */
#include "ml_ops.h"

/* dz, the gradient before the activation, by its output computed again, on the tape. */
static ml_err before_activation(ml_tensor **dz, ml_node *n, ml_tensor *g) {
  ml_tensor *y = NULL, *p = NULL, *q = NULL;
  int64_t act = n->scalar[0].i;
  if (act == ML_LINEAR_ACT_NONE) {
    *dz = ml__ref(g);
    return ML_OK;
  }
  ml_err e = ml__op_linear(&y, n->in[0], n->in[1], n->in[2], act);
  if (act == ML_LINEAR_ACT_RELU) { /* g where y > 0 */
    if (e == ML_OK) e = ml__number(&p, 0, g);
    if (e == ML_OK) e = ml__op_gt(&q, y, p);
    if (e == ML_OK) e = ml__op_where(dz, q, g, p);
  } else { /* g y (1 - y) */
    if (e == ML_OK) e = ml__op_affine(&p, y, -1, 1);
    if (e == ML_OK) e = ml__op_mul(&q, y, p);
    if (e == ML_OK) e = ml__op_mul(dz, g, q);
  }
  ml__unref(y);
  ml__unref(p);
  ml__unref(q);
  return e;
}

ml_err ml_linear_twice(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = n->in[0], *w = n->in[1], *dz;
  ML_TRY(before_activation(&dz, n, g));
  ml_err e = ML_OK;
  if (ml__wants(x)) e = ml__op_matmul(&gin[0], dz, w, 0, 0);
  if (e == ML_OK && ml__wants(w)) e = ml__op_matmul(&gin[1], dz, x, 1, 0);
  if (e == ML_OK && ml__wants(n->in[2])) e = ml__op_sum(&gin[2], dz, 1, 0);
  ml__unref(dz);
  return e;
}
