/*
 * count: one_hot, bincount, histogram, searchsorted. Ids count from 0.
 *
 * Histograms sum in double, in up to 16 pieces of x cut by its size, each with its own bins, added
 * up in order: the same bits for any number of threads.
 */
#include <stdlib.h>

#include "ml_ops.h"

enum { PIECES = 16, PIECE = 1 << 16, GRAIN = 1 << 12 };

/* ids are i64, i32 or u8, contiguous */
static int64_t id_at(const ml_tensor *ids, int64_t i) {
  switch (ids->info.dtype) {
    case ML_I64: return ((const int64_t *)ids->info.data)[i];
    case ML_I32: return ((const int32_t *)ids->info.data)[i];
    default: return ((const uint8_t *)ids->info.data)[i];
  }
}

static ml_err outside(const char *op, const char *name, int64_t id, int64_t i, int64_t n) {
  return ml_fail(ML_ERANGE,
                 "bad argument #1 to '%s' (%s: %lld at position %lld is outside 0 to %lld)", op,
                 name, (long long)id, (long long)i, (long long)n - 1);
}

/* -- ids -- */

ml_err ml__shape_one_hot(int *nd, int64_t *shape, const ml_tensor *ids, int64_t classes) {
  if (classes < 0)
    return ml_fail(ML_EARG, "bad argument #2 to 'one_hot' (classes: expected at least 0, got %lld)",
                   (long long)classes);
  if (ids->info.ndim == ML_MAX_DIM)
    return ml_fail(ML_ESHAPE, "bad argument #1 to 'one_hot' (ids: %d axes and one more)",
                   ids->info.ndim);
  ML_TRY(ml__shape_like(nd, shape, ids));
  shape[(*nd)++] = classes;
  return ML_OK;
}

ml_err ml_one_hot_ref(ml_tensor *y, const ml_tensor *ids, int64_t classes) {
  int64_t *to = y->info.data;
  ml__fill(y, 0);
  for (int64_t i = 0; i < ids->info.count; i++) {
    int64_t id = id_at(ids, i);
    if (id < 0 || id >= classes) return outside("one_hot", "ids", id, i, classes);
    to[i * classes + id] = 1;
  }
  return ML_OK;
}

ml_err ml__shape_bincount(int *nd, int64_t *shape, int64_t bins) {
  if (bins < 0)
    return ml_fail(ML_EARG, "bad argument #2 to 'bincount' (bins: expected at least 0, got %lld)",
                   (long long)bins);
  *nd = 1;
  shape[0] = bins;
  return ML_OK;
}

ml_err ml_bincount_ref(ml_tensor *y, const ml_tensor *x, int64_t bins) {
  int64_t *to = y->info.data;
  ml__fill(y, 0);
  for (int64_t i = 0; i < x->info.count; i++) {
    int64_t id = id_at(x, i);
    if (id < 0 || id >= bins) return outside("bincount", "x", id, i, bins);
    to[id]++;
  }
  return ML_OK;
}

/* -- histograms -- */

ml_err ml__shape_histogram(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *edges,
                           const ml_tensor *weights) {
  int64_t n = edges->info.count, step = edges->info.stride[0];
  if (n < 2)
    return ml_fail(ML_ESHAPE,
                   "bad argument #2 to 'histogram' (edges: expected at least 2, got %lld)",
                   (long long)n);
  for (int64_t i = 0; i + 1 < n; i++)
    if (!(ml__load(edges->info.data, edges->info.dtype, i * step) <=
          ml__load(edges->info.data, edges->info.dtype, (i + 1) * step)))
      return ml_fail(ML_EARG,
                     "bad argument #2 to 'histogram' (edges: they do not rise from position %lld)",
                     (long long)i);
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  if (weights && !ml__same_shape(weights, x))
    return ml_fail(ML_ESHAPE, "bad argument #3 to 'histogram' (weights: expected %s, got %s)",
                   ml__shape_text(a, x->info.ndim, x->info.shape),
                   ml__shape_text(b, weights->info.ndim, weights->info.shape));
  *nd = 1;
  shape[0] = n - 1;
  return ML_OK;
}

typedef struct bins {
  const ml_tensor *x, *weights;
  const double *edges;
  double *sums; /* [pieces, n] */
  int64_t n, pieces;
} bins;

/*
 * The bin of v, which is within the edges: where evenly spaced ones would put it, or else by
 * halving.
 */
static int64_t bin_of(const bins *b, double v, double scale) {
  const double *e = b->edges;
  int64_t n = b->n, lo = 0, hi = n, at = scale > 0 ? (int64_t)((v - e[0]) * scale) : -1;
  if (at >= 0 && at < n && e[at] <= v && v < e[at + 1]) return at;
  if (v >= e[n]) return n - 1;
  while (hi - lo > 1) {
    int64_t middle = lo + (hi - lo) / 2;
    if (e[middle] <= v) lo = middle;
    else hi = middle;
  }
  return lo;
}

static void count_pieces(void *ctx, int64_t begin, int64_t end) {
  const bins *b = ctx;
  const ml_info *x = &b->x->info;
  double first = b->edges[0], last = b->edges[b->n];
  double width = last - first, scale = (double)b->n / width;
  if (!(width > 1e-300 && width < 1e300)) scale = 0; /* halve instead */
  for (int64_t p = begin; p < end; p++) {
    double *sums = b->sums + p * b->n;
    for (int64_t i = x->count * p / b->pieces; i < x->count * (p + 1) / b->pieces; i++) {
      double v = x->dtype == ML_F32 ? (double)ml_f32(b->x)[i] : ml_f64(b->x)[i];
      if (!(v >= first && v <= last)) continue; /* nor NaN */
      sums[bin_of(b, v, scale)] +=
          b->weights ? ml__load(b->weights->info.data, b->weights->info.dtype, i) : 1;
    }
  }
}

ml_err ml_histogram_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *edges,
                        const ml_tensor *weights) {
  int64_t n = y->info.count;
  bins b = {.x = x, .weights = weights, .n = n};
  b.pieces = ML_MAX(1, ML_MIN((int64_t)PIECES, x->info.count / ML_MAX((int64_t)PIECE, 4 * n)));
  size_t room = (size_t)(b.pieces * n + n + 1);
  double *e = calloc(room, sizeof *e);
  if (!e) return ml_fail(ML_ENOMEM, "out of memory: a histogram of %lld bins", (long long)n);
  for (int64_t i = 0; i <= n; i++) e[i] = ml__load(edges->info.data, edges->info.dtype, i);
  b.edges = e;
  b.sums = e + n + 1;
  ml_parallel(b.pieces, 1, count_pieces, &b);
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int64_t p = 0; p < b.pieces; p++) sum += b.sums[p * n + i];
    ml__store(y->info.data, y->info.dtype, i, sum);
  }
  free(e);
  return ML_OK;
}

/* -- places among edges -- */

ml_err ml__shape_search(int *nd, int64_t *shape, const ml_tensor *edges, const ml_tensor *values) {
  int axes = edges->info.ndim;
  bool fits = axes == 1 || (axes > 1 && axes == values->info.ndim);
  for (int d = 0; fits && d + 1 < axes; d++) fits = edges->info.shape[d] == values->info.shape[d];
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  if (!fits)
    return ml_fail(ML_ESHAPE,
                   "bad argument #1 to 'searchsorted' (edges: %s is neither of one axis nor of a "
                   "row for each of %s)",
                   ml__shape_text(a, axes, edges->info.shape),
                   ml__shape_text(b, values->info.ndim, values->info.shape));
  return ml__shape_like(nd, shape, values);
}

typedef struct search {
  const ml_tensor *edges, *values;
  int64_t *y, n, per_row; /* edges, values of a row */
  bool right;
} search;

/* NaN is beyond all. */
#define SEARCH(T)                                                     \
  for (int64_t i = begin; i < end; i++) {                             \
    const T *e = (const T *)s->edges->info.data + i / s->per_row * n; \
    T v = ((const T *)s->values->info.data)[i];                       \
    int64_t lo = 0, hi = n;                                           \
    while (lo < hi) {                                                 \
      int64_t middle = lo + (hi - lo) / 2;                            \
      if (s->right ? e[middle] > v : e[middle] >= v) hi = middle;     \
      else lo = middle + 1;                                           \
    }                                                                 \
    s->y[i] = lo;                                                     \
  }                                                                   \
  break;

static void find(void *ctx, int64_t begin, int64_t end) {
  const search *s = ctx;
  int64_t n = s->n;
  switch (s->values->info.dtype) {
    case ML_F64: SEARCH(double)
    case ML_F32: SEARCH(float)
    case ML_I64: SEARCH(int64_t)
    case ML_I32: SEARCH(int32_t)
    default: SEARCH(uint8_t)
  }
}

ml_err ml_searchsorted_ref(ml_tensor *y, const ml_tensor *edges, const ml_tensor *values,
                           int64_t right) {
  int axes = edges->info.ndim, nd = values->info.ndim;
  search s = {edges, values, y->info.data, edges->info.shape[axes - 1], values->info.count, right};
  if (y->info.count == 0) return ML_OK;
  if (axes > 1) s.per_row = values->info.shape[nd - 1];
  ml_parallel(y->info.count, GRAIN, find, &s);
  return ML_OK;
}
