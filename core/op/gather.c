/*
 * gather: by numbers from 0 along an axis: index_select (whole slices), gather and scatter (single
 * elements), scatter_add, and their gradients. Bytes are copied, whatever the dtype; only sums add.
 *
 * Where several numbers are equal, scatter keeps the last element, and sums run in the order of the
 * elements, what they add to in one thread: the same bits always.
 */
#include <string.h>

#include "ml_ops.h"
#include "op/groups.h"

enum { GRAIN = 1 << 14 };

static ml_err position(int64_t *p, const char *op, const ml_tensor *indices, int64_t i, int64_t n) {
  *p = indices->info.dtype == ML_I64 ? ((const int64_t *)indices->info.data)[i]
                                     : ((const int32_t *)indices->info.data)[i];
  if (*p >= 0 && *p < n) return ML_OK;
  return ml_fail(ML_ERANGE,
                 "bad argument #2 to '%s' (indices: %lld at position %lld is outside 0 to %lld)",
                 op, (long long)*p, (long long)i, (long long)n - 1);
}

/* dst[to + i] += src[from + i], i < n; of any floating-point dtype. */
static void add(ml_tensor *dst, int64_t to, const ml_tensor *src, int64_t from, int64_t n) {
  if (dst->info.dtype == ML_F32)
    for (int64_t i = 0; i < n; i++) ml_f32(dst)[to + i] += ml_f32(src)[from + i];
  else
    for (int64_t i = 0; i < n; i++) {
      double sum = ml__load(dst->info.data, dst->info.dtype, to + i) +
                   ml__load(src->info.data, dst->info.dtype, from + i);
      ml__store(dst->info.data, dst->info.dtype, to + i, sum);
    }
}

ml_err ml_index_select_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *indices,
                           int64_t axis) {
  ml_groups e = ml__groups(x, axis);
  int64_t n = indices->info.count, p, bytes = e.inner * ml_dtype_size(x->info.dtype);
  for (int64_t i = 0; i < n; i++) {
    ML_TRY(position(&p, "index_select", indices, i, e.n));
    for (int64_t o = 0; o < e.outer; o++)
      memcpy((char *)y->info.data + (o * n + i) * bytes,
             (const char *)x->info.data + (o * e.n + p) * bytes, (size_t)bytes);
  }
  return ML_OK;
}

ml_err ml_index_select_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = n->in[0], *indices;
  ML_TRY(ml__zeros_like(&gin[0], x));
  ML_TRY(ml__contiguous(&indices, n->in[1]));
  ml_groups e = ml__groups(x, n->scalar[0].i);
  int64_t count = indices->info.count, p;
  ml_err err = ML_OK;
  for (int64_t i = 0; i < count && err == ML_OK; i++) {
    err = position(&p, "index_select", indices, i, e.n);
    for (int64_t o = 0; err == ML_OK && o < e.outer; o++)
      add(gin[0], (o * e.n + p) * e.inner, g, (o * count + i) * e.inner, e.inner);
  }
  ml__unref(indices);
  return err;
}

/*
 * Calls f for each element of indices: its place there, and that in x it names along the axis. The
 * other axes of indices may be shorter than x's.
 */
typedef void (*pair_fn)(void *ctx, int64_t in_indices, int64_t in_x);

static ml_err pairs(const char *op, const ml_tensor *x, const ml_tensor *indices, int64_t axis,
                    pair_fn f, void *ctx) {
  int nd = x->info.ndim, a = (int)(axis < 0 ? axis + nd : axis - 1);
  int64_t index[ML_MAX_DIM] = {0}, stride[ML_MAX_DIM], step = 1, p;
  for (int d = nd - 1; d >= 0; d--) {
    stride[d] = step;
    step *= x->info.shape[d];
  }
  for (int64_t i = 0; i < indices->info.count; i++) {
    ML_TRY(position(&p, op, indices, i, x->info.shape[a]));
    int64_t at = p * stride[a];
    for (int d = 0; d < nd; d++)
      if (d != a) at += index[d] * stride[d];
    f(ctx, i, at);
    for (int d = nd - 1; d >= 0 && ++index[d] == indices->info.shape[d]; d--) index[d] = 0;
  }
  return ML_OK;
}

typedef struct two {
  ml_tensor *to;
  const ml_tensor *from;
} two;

static void copy_one(const two *c, int64_t to, int64_t from) {
  int64_t size = ml_dtype_size(c->to->info.dtype);
  memcpy((char *)c->to->info.data + to * size, (const char *)c->from->info.data + from * size,
         (size_t)size);
}

static void take(void *ctx, int64_t i, int64_t x) { copy_one(ctx, i, x); }
static void put(void *ctx, int64_t i, int64_t x) { copy_one(ctx, x, i); }

static void put_sum(void *ctx, int64_t i, int64_t x) {
  two *c = ctx;
  add(c->to, x, c->from, i, 1);
}

static void put_zero(void *ctx, int64_t i, int64_t x) {
  two *c = ctx;
  ml__store(c->to->info.data, c->to->info.dtype, x, 0);
}

/* -- gather where indices are as large as x but along the axis: by rows of the axes after it -- */

typedef struct along {
  ml_tensor *y; /* for gather: of indices' shape; else the sums, of x's */
  const ml_tensor *from, *indices;
  ml_groups e, of; /* of x; of indices */
  bool failed;     /* an id is outside */
} along;

static bool is_along(along *j, const ml_tensor *x, const ml_tensor *indices, int64_t axis) {
  j->e = ml__groups(x, axis);
  j->of = ml__groups(indices, axis);
  j->indices = indices;
  for (int d = 0; d < x->info.ndim; d++) /* the axis itself may differ */
    if (x->info.shape[d] != indices->info.shape[d] && d + 1 != axis && d - x->info.ndim != axis)
      return false;
  return true;
}

#define TAKE(T, I)                                                             \
  for (int64_t r = begin; r < end; r++) {                                      \
    const T *x = (const T *)j->from->info.data + r / j->of.n * j->e.n * inner; \
    const I *id = (const I *)j->indices->info.data + r * inner;                \
    T *y = (T *)j->y->info.data + r * inner;                                   \
    for (int64_t k = 0; k < inner; k++) {                                      \
      bool in = id[k] >= 0 && id[k] < j->e.n;                                  \
      bad |= !in;                                                              \
      y[k] = x[(in ? id[k] : 0) * inner + k];                                  \
    }                                                                          \
  }
#define TAKE_BY(I)                           \
  switch (ml_dtype_size(j->y->info.dtype)) { \
    case 8: TAKE(uint64_t, I) break;         \
    case 4: TAKE(uint32_t, I) break;         \
    case 2: TAKE(uint16_t, I) break;         \
    default: TAKE(uint8_t, I)                \
  }

/* Rows [begin, end) of outer times indices' size along the axis. */
static void take_rows(void *ctx, int64_t begin, int64_t end) {
  along *j = ctx;
  int64_t inner = j->e.inner;
  bool bad = false;
  if (j->indices->info.dtype == ML_I64) {
    TAKE_BY(int64_t)
  } else {
    TAKE_BY(int32_t)
  }
  if (bad) __atomic_store_n(&j->failed, true, __ATOMIC_RELAXED);
}

ml_err ml_gather_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *indices, int64_t axis) {
  along j = {.y = y, .from = x};
  if (y->info.count > 0 && x->info.count > 0 && is_along(&j, x, indices, axis)) {
    ml_parallel(j.of.outer * j.of.n, ML_MAX(1, GRAIN / j.of.inner), take_rows, &j);
    if (!j.failed) return ML_OK;
  }
  return pairs("gather", x, indices, axis, take, &(two){y, x});
}

ml_err ml_scatter_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *indices,
                      const ml_tensor *src, int64_t axis) {
  ML_TRY(ml__copy(y, x));
  return pairs("scatter", x, indices, axis, put, &(two){y, src});
}

ml_err ml_scatter_add_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *indices,
                          const ml_tensor *src, int64_t axis) {
  ML_TRY(ml__copy(y, x));
  return pairs("scatter_add", x, indices, axis, put_sum, &(two){y, src});
}

/* -- gradients -- */

static ml_err by_pairs(ml_node *n, ml_tensor *out, const ml_tensor *from, pair_fn f) {
  ml_tensor *indices;
  ML_TRY(ml__contiguous(&indices, n->in[1]));
  ml_err err = pairs(n->name, n->in[0], indices, n->scalar[0].i, f, &(two){out, from});
  ml__unref(indices);
  return err;
}

#define SUM(T, I)                                                         \
  for (int64_t o = begin; o < end; o++) {                                 \
    T *to = (T *)j->y->info.data + o * j->e.n * inner;                    \
    const I *id = (const I *)j->indices->info.data + o * j->of.n * inner; \
    const T *g = (const T *)j->from->info.data + o * j->of.n * inner;     \
    for (int64_t i = 0; i < j->of.n; i++)                                 \
      for (int64_t k = 0; k < inner; k++) {                               \
        I p = id[i * inner + k];                                          \
        if (p >= 0 && p < j->e.n) to[p * inner + k] += g[i * inner + k];  \
        else bad = true;                                                  \
      }                                                                   \
  }

static void sum_outer(void *ctx, int64_t begin, int64_t end) {
  along *j = ctx;
  int64_t inner = j->e.inner;
  bool bad = false, single = j->y->info.dtype == ML_F32;
  if (j->indices->info.dtype == ML_I64) {
    if (single) {
      SUM(float, int64_t)
    } else {
      SUM(double, int64_t)
    }
  } else if (single) {
    SUM(float, int32_t)
  } else {
    SUM(double, int32_t)
  }
  if (bad) __atomic_store_n(&j->failed, true, __ATOMIC_RELAXED);
}

ml_err ml_gather_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  along j = {.from = g};
  ML_TRY(ml__zeros_like(&gin[0], n->in[0]));
  j.y = gin[0];
  bool fast = g->info.dtype == ML_F32 || g->info.dtype == ML_F64;
  if (!fast || g->info.count == 0 || !n->in[1]->info.contiguous ||
      !is_along(&j, gin[0], n->in[1], n->scalar[0].i))
    return by_pairs(n, gin[0], g, put_sum);
  ml_parallel(j.e.outer, ML_MAX(1, GRAIN / (j.of.n * j.of.inner)), sum_outer, &j);
  return j.failed ? by_pairs(n, gin[0], g, put_sum) : ML_OK; /* which names the id */
}

ml_err ml_scatter_add_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  if (ml__wants(n->in[0])) ML_TRY(ml__copy_of(&gin[0], g));
  if (!ml__wants(n->in[2])) return ML_OK;
  return ml__op_gather(&gin[2], g, n->in[1], n->scalar[0].i);
}

ml_err ml_scatter_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  if (ml__wants(n->in[0])) {
    ML_TRY(ml__copy_of(&gin[0], g));
    ML_TRY(by_pairs(n, gin[0], g, put_zero));
  }
  if (!ml__wants(n->in[2])) return ML_OK;
  return ml__op_gather(&gin[2], g, n->in[1], n->scalar[0].i);
}
