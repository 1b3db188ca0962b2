/*
 * each: runs element-wise operations, whose loops tools/opgen writes from their cards.
 *
 * Where every input is as large as the result and without gaps, or has one element, chunks of the
 * whole are handed out; else rows, stepping over all axes but the last. References go element by
 * element in double, or of integers in int64_t, which wraps around.
 */
#include "op/each.h"
#include "ml_ops.h"

enum { CHUNK = 32768 }; /* elements */

typedef struct job {
  ml_each_row row;
  const double *s;
  int n; /* operands */
  char *p[ML_EACH_MOST];
  int64_t size[ML_EACH_MOST], st[ML_EACH_MOST]; /* bytes of an element; strides within a row */
  /* rows: */
  int outer;
  int64_t length, shape[ML_MAX_DIM], step[ML_EACH_MOST][ML_MAX_DIM];
} job;

static void flat(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  char *p[ML_EACH_MOST];
  for (int k = 0; k < j->n; k++) p[k] = j->p[k] + begin * j->st[k] * j->size[k];
  j->row(end - begin, p, j->st, j->s);
}

static void rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t index[ML_MAX_DIM], rest = begin, at[ML_EACH_MOST] = {0};
  for (int d = j->outer - 1; d >= 0; d--) {
    index[d] = rest % j->shape[d];
    rest /= j->shape[d];
    for (int k = 0; k < j->n; k++) at[k] += index[d] * j->step[k][d];
  }
  for (int64_t r = begin; r < end; r++) {
    char *p[ML_EACH_MOST];
    for (int k = 0; k < j->n; k++) p[k] = j->p[k] + at[k] * j->size[k];
    j->row(j->length, p, j->st, j->s);
    for (int d = j->outer - 1; d >= 0; d--) {
      for (int k = 0; k < j->n; k++) at[k] += j->step[k][d];
      if (++index[d] < j->shape[d]) break;
      for (int k = 0; k < j->n; k++) at[k] -= index[d] * j->step[k][d];
      index[d] = 0;
    }
  }
}

/* Strides of t broadcast to y's shape; y itself as it is. */
static void spread(int64_t *stride, const ml_tensor *t, const ml_tensor *y) {
  int shift = y->info.ndim - t->info.ndim;
  for (int d = 0; d < y->info.ndim; d++) {
    bool one = d < shift || t->info.shape[d - shift] == 1;
    stride[d] = one ? 0 : t->info.stride[d - shift];
  }
}

ml_err ml__each_cpu(ml_tensor *y, int n, const ml_tensor *const *in, const ml_each *f, int dtype,
                    const double *s) {
  int64_t count = y->info.count;
  if (count == 0) return ML_OK;
  job j = {.row = f->row[dtype], .s = s, .n = n + 1};
  bool is_flat = true;
  for (int k = 0; k <= n; k++) {
    const ml_tensor *t = k ? in[k - 1] : y;
    j.p[k] = t->info.data;
    j.size[k] = ml_dtype_size(t->info.dtype);
    j.st[k] = t->info.count == 1 && count != 1 ? 0 : 1;
    is_flat = is_flat && (t->info.count == 1 || (t->info.count == count && t->info.contiguous));
  }
  if (is_flat) {
    if (count <= CHUNK) j.row(count, j.p, j.st, s);
    else ml_parallel(count, CHUNK, flat, &j);
    return ML_OK;
  }
  j.outer = y->info.ndim - 1; /* at least 0: a result without axes is flat */
  j.length = y->info.shape[j.outer];
  for (int k = 0; k <= n; k++) {
    spread(j.step[k], k ? in[k - 1] : y, y);
    j.st[k] = k ? j.step[k][j.outer] : 1;
  }
  for (int d = 0; d < j.outer; d++) j.shape[d] = y->info.shape[d];
  ml_parallel(count / j.length, ML_MAX(1, CHUNK / j.length), rows, &j);
  return ML_OK;
}

static bool floating(int dtype) { return dtype == ML_F32 || dtype == ML_F64; }

static int64_t load_whole(const ml_tensor *t, int64_t i) {
  if (t->info.dtype == ML_I64) return ((const int64_t *)t->info.data)[i];
  return (int64_t)ml__load(t->info.data, t->info.dtype, i); /* double would not hold 64 bits */
}

static void store_whole(ml_tensor *t, int64_t i, int64_t v) {
  if (t->info.dtype == ML_I64) ((int64_t *)t->info.data)[i] = v;
  else if (t->info.dtype == ML_I32) ((int32_t *)t->info.data)[i] = (int32_t)(uint32_t)v;
  else ((uint8_t *)t->info.data)[i] = (uint8_t)v;
}

ml_err ml__each_ref(ml_tensor *y, int n, const ml_tensor *const *in, const ml_each *f, int dtype,
                    const double *s) {
  int64_t stride[ML_EACH_MOST][ML_MAX_DIM];
  for (int k = 0; k < n; k++) spread(stride[k], in[k], y);
  for (int64_t i = 0; i < y->info.count; i++) {
    int64_t at[ML_EACH_MOST] = {0}, rest = i;
    for (int d = y->info.ndim - 1; d >= 0; d--) {
      int64_t index = rest % y->info.shape[d];
      rest /= y->info.shape[d];
      for (int k = 0; k < n; k++) at[k] += index * stride[k][d];
    }
    if (floating(dtype)) {
      double v[ML_EACH_MOST];
      for (int k = 0; k < n; k++) v[k] = ml__load(in[k]->info.data, in[k]->info.dtype, at[k]);
      ml__store(y->info.data, y->info.dtype, i, f->one(v, s));
    } else {
      int64_t v[ML_EACH_MOST];
      for (int k = 0; k < n; k++) v[k] = load_whole(in[k], at[k]);
      store_whole(y, i, f->whole(v, s));
    }
  }
  return ML_OK;
}

ml_err ml__each_grad(ml_tensor **out, ml_tensor *of, ml_tensor *g, int n,
                     const ml_tensor *const *in, const ml_each *f, const double *s) {
  ml_tensor *dx;
  ML_TRY(ml__new(&dx, of->info.dtype, g->info.ndim, g->info.shape));
  int dtype = of->info.dtype;
  ml_err e = (ml__reference_on ? ml__each_ref : ml__each_cpu)(dx, n, in, f, dtype, s);
  if (e == ML_OK && !ml__same_shape(of, g)) {
    ml_tensor *sum;
    e = ml__op_sum_to(&sum, dx, of);
    ml__unref(dx);
    dx = sum;
  }
  if (e < 0) {
    ml__unref(dx);
    return e;
  }
  *out = dx;
  return ML_OK;
}
