/* gather: cat and index_select, and their gradients. Bytes are copied, whatever the dtype; only the
   gradient of index_select adds. */
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

static ml_err row_of(int64_t *row, const ml_tensor *x, const ml_tensor *indices, int64_t i) {
  *row = indices->info.dtype == ML_I64 ? ((const int64_t *)indices->info.data)[i]
                                       : ((const int32_t *)indices->info.data)[i];
  if (*row >= 0 && *row < x->info.shape[0]) return ML_OK;
  return ml_fail(ML_ERANGE,
                 "bad argument #2 to 'index_select' (indices: %lld at position %lld is "
                 "outside 0 to %lld)",
                 (long long)*row, (long long)i, (long long)x->info.shape[0] - 1);
}

ml_err ml_index_select_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *indices) {
  int64_t n = indices->info.count, row;
  int64_t bytes = n ? y->info.count / n * ml_dtype_size(x->info.dtype) : 0;
  for (int64_t i = 0; i < n; i++) {
    ML_TRY(row_of(&row, x, indices, i));
    memcpy((char *)y->info.data + i * bytes, (const char *)x->info.data + row * bytes,
           (size_t)bytes);
  }
  return ML_OK;
}

ml_err ml_index_select_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = n->in[0], *indices;
  ML_TRY(ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape));
  ml__fill(gin[0], 0);
  ML_TRY(ml__contiguous(&indices, n->in[1]));
  int64_t count = indices->info.count, width = count ? g->info.count / count : 0, row;
  ml_err e = ML_OK;
  for (int64_t i = 0; i < count; i++) {
    e = row_of(&row, x, indices, i);
    if (e < 0) break;
    for (int64_t d = 0; d < width; d++) {
      if (x->info.dtype == ML_F32) ml_f32(gin[0])[row * width + d] += ml_f32(g)[i * width + d];
      else ml_f64(gin[0])[row * width + d] += ml_f64(g)[i * width + d];
    }
  }
  ml__unref(indices);
  return e;
}
