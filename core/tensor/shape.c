/* shape: element counts, broadcasting, the text of a shape, and stepping through elements. */
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

int64_t ml__count(int ndim, const int64_t *shape) {
  int64_t n = 1;
  bool empty = false;
  for (int i = 0; i < ndim; i++) {
    if (shape[i] < 0) return -1;
    if (shape[i] == 0) empty = true;
    else if (__builtin_mul_overflow(n, shape[i], &n)) return -1;
  }
  return empty ? 0 : n;
}

const char *ml__shape_text(char text[ML_SHAPE_TEXT], int ndim, const int64_t *shape) {
  int at = snprintf(text, ML_SHAPE_TEXT, "[");
  for (int i = 0; i < ndim; i++)
    at += snprintf(text + at, (size_t)(ML_SHAPE_TEXT - at), "%s%lld", i ? ", " : "",
                   (long long)shape[i]);
  snprintf(text + at, (size_t)(ML_SHAPE_TEXT - at), "]");
  return text;
}

/* NumPy's rule: aligned at the last axis, sizes equal or one of them 1. */
ml_err ml__broadcast(int *ndim, int64_t *shape, const ml_tensor *a, const ml_tensor *b) {
  int na = a->info.ndim, nb = b->info.ndim, n = ML_MAX(na, nb);
  for (int i = 1; i <= n; i++) {
    int64_t x = i <= na ? a->info.shape[na - i] : 1, y = i <= nb ? b->info.shape[nb - i] : 1;
    if (x != y && x != 1 && y != 1) {
      char s[ML_SHAPE_TEXT], t[ML_SHAPE_TEXT];
      return ml_fail(ML_ESHAPE, "shapes %s and %s do not broadcast",
                     ml__shape_text(s, na, a->info.shape), ml__shape_text(t, nb, b->info.shape));
    }
    shape[n - i] = x == 1 ? y : x;
  }
  *ndim = n;
  return ML_OK;
}

void ml__walk(ml_walk *w, int ndim, const int64_t *shape, int n, const ml_tensor *const *t) {
  w->ndim = ndim;
  w->n = n;
  memset(w->index, 0, sizeof w->index);
  for (int d = 0; d < ndim; d++) w->shape[d] = shape[d];
  for (int k = 0; k < n; k++) {
    w->offset[k] = 0;
    int shift = ndim - t[k]->info.ndim;
    for (int d = 0; d < ndim; d++) {
      bool spread = d < shift || t[k]->info.shape[d - shift] == 1;
      w->stride[k][d] = spread ? 0 : t[k]->info.stride[d - shift];
    }
  }
}

bool ml__walk_next(ml_walk *w) {
  for (int d = w->ndim - 1; d >= 0; d--) {
    w->index[d]++;
    for (int k = 0; k < w->n; k++) w->offset[k] += w->stride[k][d];
    if (w->index[d] < w->shape[d]) return true;
    for (int k = 0; k < w->n; k++) w->offset[k] -= w->stride[k][d] * w->shape[d];
    w->index[d] = 0;
  }
  return false;
}
