/* cat and its gradient. Bytes are copied, whatever the dtype. */
#include <string.h>

#include "ml_ops.h"

static void split(const ml_tensor *x, int axis, int64_t *outer, int64_t *inner) {
  *outer = *inner = 1;
  for (int d = 0; d < x->info.ndim; d++)
    if (d != axis) *(d < axis ? outer : inner) *= x->info.shape[d];
}

/* Copies between `one`, of rows of n bytes, and the n bytes at `at` of the rows of `whole`. */
static void part(char *whole, char *one, int64_t outer, int64_t row, int64_t at, int64_t n,
                 bool out) {
  for (int64_t o = 0; o < outer; o++) {
    char *w = whole + o * row + at, *p = one + o * n;
    if (out) memcpy(p, w, (size_t)n);
    else memcpy(w, p, (size_t)n);
  }
}

ml_err ml_cat_ref(ml_tensor *y, ml_tensor *const *xs, int64_t n, int64_t axis) {
  int a;
  int64_t outer, inner, at = 0, size = ml_dtype_size(y->info.dtype);
  ML_TRY(ml__axis(&a, "cat", 2, y, axis));
  split(y, a, &outer, &inner);
  int64_t row = y->info.shape[a] * inner * size;
  for (int64_t k = 0; k < n; k++) {
    ml_tensor *x;
    ML_TRY(ml__contiguous(&x, xs[k]));
    int64_t bytes = x->info.shape[a] * inner * size;
    part(y->info.data, x->info.data, outer, row, at, bytes, false);
    at += bytes;
    ml__unref(x);
  }
  return ML_OK;
}

ml_err ml_cat_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  int a;
  int64_t outer, inner, at = 0, size = ml_dtype_size(g->info.dtype);
  ML_TRY(ml__axis(&a, "cat", 2, g, n->scalar[0].i));
  split(g, a, &outer, &inner);
  int64_t row = g->info.shape[a] * inner * size;
  for (int k = 0; k < n->n_in; k++) {
    ml_tensor *x = n->in[k];
    int64_t bytes = x->info.shape[a] * inner * size;
    if (ml__wants(x)) {
      ML_TRY(ml__new(&gin[k], x->info.dtype, x->info.ndim, x->info.shape));
      part(g->info.data, gin[k]->info.data, outer, row, at, bytes, true);
    }
    at += bytes;
  }
  return ML_OK;
}

/* The parts of g as views on the tape. */
ml_err ml_cat_twice(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  int a;
  int64_t at = 0;
  ML_TRY(ml__axis(&a, "cat", 2, g, n->scalar[0].i));
  const int64_t *stride = g->info.stride;
  for (int k = 0; k < n->n_in; k++) {
    const ml_info *x = &n->in[k]->info;
    if (ml__wants(n->in[k]))
      ML_TRY(ml__record_view(&gin[k], g, x->ndim, x->shape, stride, at * stride[a]));
    at += x->shape[a];
  }
  return ML_OK;
}
