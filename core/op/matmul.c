/*
 * matmul: y[…, m, n] = sum_k a[…, m, k] b[…, k, n], batch axes broadcast, each matrix transposed
 * first where asked; f64 and f32, any strides, no copies of the inputs; bf16 where the CPU has it.
 *
 * Batch axes over which b stays the same become rows of one product. What is left is cut into
 * products of blocks of rows and columns (matmul_cut.c).
 */
#include <stdio.h>
#include <string.h>

#include "ml_ops.h"
#include "op/matmul.h"

/* A tensor as matrices: a vector as a row (left) or as a column. */
typedef struct side {
  int64_t rows, columns, down, right;
  int batch; /* axes before those of the matrix */
} side;

static side side_of(const ml_tensor *t, bool left, bool transposed) {
  const ml_info *i = &t->info;
  if (i->ndim == 1) {
    int64_t n = i->shape[0], step = i->stride[0];
    return left ? (side){1, n, 0, step, 0} : (side){n, 1, step, 0, 0};
  }
  int r = i->ndim - 2, c = i->ndim - 1;
  if (transposed) {
    r = c;
    c = i->ndim - 2;
  }
  return (side){i->shape[r], i->shape[c], i->stride[r], i->stride[c], i->ndim - 2};
}

static ml_err misfit(const ml_tensor *b, int64_t k, bool transposed) {
  char got[ML_SHAPE_TEXT], want[64];
  const char *many = b->info.ndim > 2 ? "*, " : "";
  if (b->info.ndim == 1) snprintf(want, sizeof want, "[%lld]", (long long)k);
  else if (transposed) snprintf(want, sizeof want, "[%s*, %lld]", many, (long long)k);
  else snprintf(want, sizeof want, "[%s%lld, *]", many, (long long)k);
  return ml_fail(ML_ESHAPE, "bad argument #2 to 'matmul' (b: expected %s, got %s)", want,
                 ml__shape_text(got, b->info.ndim, b->info.shape));
}

/* The batch axes of both, broadcast. */
static ml_err batch_shape(int *nd, int64_t *shape, const ml_tensor *a, int na, const ml_tensor *b,
                          int nb) {
  *nd = ML_MAX(na, nb);
  for (int d = 0; d < *nd; d++) {
    int da = d - (*nd - na), db = d - (*nd - nb);
    int64_t p = da < 0 ? 1 : a->info.shape[da], q = db < 0 ? 1 : b->info.shape[db];
    if (p != q && p != 1 && q != 1) {
      char s[ML_SHAPE_TEXT], t[ML_SHAPE_TEXT];
      return ml_fail(
          ML_ESHAPE,
          "bad argument #2 to 'matmul' (b: axes before the matrix of %s do not broadcast "
          "with those of %s)",
          ml__shape_text(t, b->info.ndim, b->info.shape),
          ml__shape_text(s, a->info.ndim, a->info.shape));
    }
    shape[d] = p == 1 ? q : p;
  }
  return ML_OK;
}

ml_err ml__shape_matmul(int *nd, int64_t *shape, const ml_tensor *a, const ml_tensor *b, int64_t ta,
                        int64_t tb) {
  for (int i = 0; i < 2; i++)
    if ((i ? b : a)->info.ndim == 0)
      return ml_fail(ML_ESHAPE,
                     "bad argument #%d to 'matmul' (%s: expected at least one axis, got [])", i + 1,
                     i ? "b" : "a");
  side l = side_of(a, true, ta), r = side_of(b, false, tb);
  if (l.columns != r.rows) return misfit(b, l.columns, tb);
  ML_TRY(batch_shape(nd, shape, a, l.batch, b, r.batch));
  if (a->info.ndim > 1) shape[(*nd)++] = l.rows;
  if (b->info.ndim > 1) shape[(*nd)++] = r.columns;
  return ML_OK;
}

/* -- batches -- */

/* One batch axis of each side, aligned from the last; its stride, 0 where broadcast. */
static int64_t batch_stride(const ml_tensor *t, int own, int all, int d) {
  int at = d - (all - own);
  return at < 0 || t->info.shape[at] == 1 ? 0 : t->info.stride[at];
}

static ml_products products_of(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, bool ta,
                               bool tb) {
  side l = side_of(a, true, ta), r = side_of(b, false, tb);
  ml_products p; /* axes as many as n_axes: zeros in the rest would cost more than the rest */
  p.dtype = a->info.dtype;
  p.m = l.rows, p.n = r.columns, p.k = l.columns;
  p.a = (ml_matrix){a->info.data, l.down, l.right};
  p.b = (ml_matrix){b->info.data, r.down, r.right};
  p.c = y->info.data;
  p.batch = 1, p.n_axes = 0;
  int64_t shape[ML_MAX_DIM];
  int nd = 0;
  (void)batch_shape(&nd, shape, a, l.batch, b, r.batch); /* checked by the shape's rule */
  bool inner = true; /* all axes inside were folded into the rows */
  for (int d = nd - 1; d >= 0; d--) {
    int64_t size = shape[d];
    int64_t sa = batch_stride(a, l.batch, nd, d), sb = batch_stride(b, r.batch, nd, d);
    if (size == 1) continue;
    if (inner && sb == 0 && (p.m == 1 || sa == p.m * p.a.down)) {
      if (p.m == 1) p.a.down = sa;
      p.m *= size;
      continue;
    }
    inner = false;
    p.axes[p.n_axes++] = (ml_batch_axis){size, sa, sb};
    p.batch *= size;
  }
  return p;
}

/* What oneDNN has no primitive for: converted, computed and converted back. */
static ml_err through_f32(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, bool ta, bool tb) {
  const ml_tensor *given[3] = {y, a, b};
  ml_tensor *wide[3] = {0};
  ml_err e = ML_OK;
  for (int i = 0; i < 3 && e == ML_OK; i++) {
    e = ml__new(&wide[i], ML_F32, given[i]->info.ndim, given[i]->info.shape);
    if (e == ML_OK && i > 0) e = ml__copy(wide[i], given[i]);
  }
  if (e == ML_OK) e = ml_matmul_cpu(wide[0], wide[1], wide[2], ta, tb);
  if (e == ML_OK) e = ml__copy(y, wide[0]);
  for (int i = 0; i < 3; i++) ml__unref(wide[i]);
  return e;
}

ml_err ml_matmul_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta, int64_t tb) {
  bool narrow = y->info.dtype == ML_BF16, done = false;
  if (y->info.count == 0) return ML_OK;
  ml_products p = products_of(y, a, b, ta, tb);
  if (!narrow || p.k > 0) ML_TRY(ml__products(&p, &done));
  return done ? ML_OK : through_f32(y, a, b, ta, tb);
}

ml_err ml_matmul_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta, int64_t tb) {
  ml_products p = products_of(y, a, b, ta, tb);
  for (int64_t q = 0; y->info.count > 0 && q < p.batch; q++) {
    int64_t from_a, from_b;
    ml__products_at(&p, q, &from_a, &from_b);
    for (int64_t i = 0; i < p.m; i++) {
      for (int64_t j = 0; j < p.n; j++) {
        double s = 0;
        for (int64_t l = 0; l < p.k; l++)
          s += ml__load(p.a.data, p.dtype, from_a + i * p.a.down + l * p.a.right) *
               ml__load(p.b.data, p.dtype, from_b + l * p.b.down + j * p.b.right);
        ml__store(p.c, p.dtype, (q * p.m + i) * p.n + j, s);
      }
    }
  }
  return ML_OK;
}

/* -- backward -- */

/* -- all on the tape, where gradients of gradients are wanted -- */

/* t with an axis of size 1 put in before axis `at`; t itself where at < 0. */
static ml_err with_axis(ml_tensor **out, ml_tensor *t, int at) {
  int64_t shape[ML_MAX_DIM + 1], stride[ML_MAX_DIM + 1];
  int n = t->info.ndim;
  if (at < 0) {
    *out = ml__ref(t);
    return ML_OK;
  }
  for (int d = 0; d <= n; d++) {
    shape[d] = d == at ? 1 : t->info.shape[d - (d > at)];
    stride[d] = d == at ? 1 : t->info.stride[d - (d > at)];
  }
  return ml__record_view(out, t, n + 1, shape, stride, 0);
}

/* [..., M, K] as [..., * M, K]. */
static ml_err as_rows(ml_tensor **out, ml_tensor *t) {
  ml_tensor *c = NULL;
  ML_TRY(ml__gapless(&c, t));
  int64_t shape[2] = {1, c->info.shape[c->info.ndim - 1]};
  for (int d = 0; d < c->info.ndim - 1; d++) shape[0] *= c->info.shape[d];
  ml_err e = ml__record_view(out, c, 2, shape, NULL, 0);
  ml__unref(c);
  return e;
}

static bool same_batch(const ml_tensor *x, const ml_tensor *z) {
  return x->info.ndim == z->info.ndim &&
         memcmp(x->info.shape, z->info.shape, sizeof(int64_t) * (size_t)(x->info.ndim - 2)) == 0;
}

/* x z, summed over the axes along which `like` was broadcast, in the shape of `of`. */
static ml_err gradient(ml_tensor **out, ml_tensor *x, bool tx, ml_tensor *z, bool tz,
                       ml_tensor *like, ml_tensor *of) {
  ml_tensor *rows[2] = {0}, *product = NULL, *sum = NULL;
  ml_err e = ML_OK;
  if (like->info.ndim == 2 && x->info.ndim > 2 && tx && !tz && same_batch(x, z)) {
    e = as_rows(&rows[0], x); /* a matrix that met a whole batch: one product over all rows */
    if (e == ML_OK) e = as_rows(&rows[1], z);
    if (e == ML_OK) e = ml__op_matmul(&product, rows[0], rows[1], 1, 0);
  } else {
    e = ml__op_matmul(&product, x, z, tx, tz);
  }
  if (e == ML_OK && product->info.count == of->info.count) sum = ml__ref(product);
  else if (e == ML_OK) e = ml__op_sum_to(&sum, product, like);
  if (e == ML_OK) e = ml__record_view(out, sum, of->info.ndim, of->info.shape, NULL, 0);
  ml__unref(rows[0]);
  ml__unref(rows[1]);
  ml__unref(product);
  ml__unref(sum);
  return e;
}

/* With A = op(a), B = op(b): dA = g B', dB = A' g; transposed back where op did. */
ml_err ml_matmul_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *in[2] = {n->in[0], n->in[1]}, *a = NULL, *b = NULL, *g1 = NULL, *g2 = NULL;
  bool row = in[0]->info.ndim == 1, column = in[1]->info.ndim == 1;
  bool ta = n->scalar[0].i && !row, tb = n->scalar[1].i && !column;
  ml_err e = with_axis(&a, in[0], row ? 0 : -1);
  if (e == ML_OK) e = with_axis(&b, in[1], column ? 1 : -1);
  if (e == ML_OK) e = with_axis(&g1, g, column ? g->info.ndim : -1);
  if (e == ML_OK) e = with_axis(&g2, g1, row ? g1->info.ndim - 1 : -1);
  if (e == ML_OK && ml__wants(in[0]))
    e = ta ? gradient(&gin[0], b, tb, g2, true, a, in[0])
           : gradient(&gin[0], g2, false, b, !tb, a, in[0]);
  if (e == ML_OK && ml__wants(in[1]))
    e = tb ? gradient(&gin[1], g2, true, a, ta, b, in[1])
           : gradient(&gin[1], a, !ta, g2, false, b, in[1]);
  ml__unref(a);
  ml__unref(b);
  ml__unref(g1);
  ml__unref(g2);
  return e;
}
