/* attention.h: scaled dot-product attention as its forward and backward see it. */
#ifndef MLUA_OP_ATTENTION_H
#define MLUA_OP_ATTENTION_H

#include "grad/tape.h"
#include "op/dropout.h"

typedef struct ml_attention {
  int64_t heads, l, s, e, ev; /* q [heads, l, e], k [heads, s, e], v [heads, s, ev] */
  const ml_tensor *q, *k, *v; /* contiguous */
  const ml_tensor *mask;      /* broadcast to [.., l, s], any strides; or NULL */
  bool causal;
  double scale;
  ml_drop drop;
  ml_tensor *y;
  void *z; /* [heads, l], q's dtype: log of the sum of exponents; 0 where a row sees nothing */
  /* backward: */
  const ml_tensor *g;
  ml_tensor *dq, *dk, *dv; /* NULL where not wanted */
  ml_err err;              /* of a chunk */
} ml_attention;

/* Where the mask of one head begins, in elements, and its strides by row and column. */
void ml__attention_mask(const ml_attention *a, int64_t head, int64_t *at, int64_t *row,
                        int64_t *column);
/* One row's scores from s0 on, n of them, masked: f32, in place. */
void ml__attention_hide(const ml_attention *a, int64_t head, int64_t row, int64_t s0, int64_t n,
                        float *score);

ml_err ml__attention_forward(ml_attention *a);  /* f32 */
ml_err ml__attention_backward(ml_attention *a); /* f32 */

#endif
