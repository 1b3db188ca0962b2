/* matmul.h: a batch of matrix products, and how they are cut into pieces of work. */
#ifndef MLUA_OP_MATMUL_H
#define MLUA_OP_MATMUL_H

#include "tensor/tensor.h"

typedef struct ml_matrix {
  const void *data;
  int64_t down, right; /* from a row to the next, from a column to the next; in elements */
} ml_matrix;

typedef struct ml_batch_axis {
  int64_t size, a, b; /* a, b: strides in elements */
} ml_batch_axis;

/* c[batch, m, n] = a[m, k] b[k, n] for each of the batch; c in row order without gaps. */
typedef struct ml_products {
  int dtype; /* ML_F64, ML_F32 or one of ml__native_dtypes */
  int64_t m, n, k;
  ml_matrix a, b;
  void *c;
  int64_t batch;
  int n_axes; /* of the batch, the innermost first */
  ml_batch_axis axes[ML_MAX_DIM];
} ml_products;

/* *done: false where a 16-bit dtype has no way here, by these strides. May rewrite *p. */
ml_err ml__products(ml_products *p, bool *done);
/* Where the matrices of one of the batch begin, in elements. */
void ml__products_at(const ml_products *p, int64_t q, int64_t *a, int64_t *b);

#endif
