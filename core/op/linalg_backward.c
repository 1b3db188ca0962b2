/*
 * linalg_backward: gradients of linear algebra, in double, matrix by matrix.
 *
 * Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic
 * differentiation"; Murray 2016, arXiv:1602.07527 (Cholesky); Walter & Lehmann 2010 (QR); Townsend
 * 2016, "Differentiating the singular value decomposition". Eigenvalues (singular values) that are
 * equal have no gradient by their vectors: it is infinite.
 */
#include <string.h>

#include "ml_ops.h"
#include "op/linalg.h"

/* The gradient by a of an operation on a alone. */
static ml_err by_a(ml_node *node, ml_tensor *g, ml_tensor **gin, const char *op, int64_t room,
                   ml_matrices_fn fn) {
  ml_tensor *a = NULL, *gc = NULL, *saved = NULL, *grad = NULL;
  if (!ml__wants(node->in[0])) return ML_OK;
  ml_err e = ml__contiguous(&a, node->in[0]);
  if (e == ML_OK) e = ml__contiguous(&gc, g);
  if (e == ML_OK) e = ml__contiguous(&saved, node->saved[0]);
  if (e == ML_OK) e = ml__new(&grad, a->info.dtype, a->info.ndim, a->info.shape);
  if (e == ML_OK) {
    const int64_t *s = a->info.shape + a->info.ndim - 2;
    ml_matrices x = {.op = op, .m = (int)s[0], .n = (int)s[1], .k = (int)ML_MIN(s[0], s[1])};
    e = ml__each_matrix(&x, grad, s[0] * s[1], a, NULL, gc, saved, room, fn);
  }
  if (e == ML_OK) gin[0] = ml__ref(grad);
  ml__unref(a);
  ml__unref(gc);
  ml__unref(saved);
  ml__unref(grad);
  return e;
}

static int64_t area(const ml_node *node) {
  const ml_info *i = &node->in[0]->info;
  return i->shape[i->ndim - 1] * i->shape[i->ndim - 2];
}

static int64_t larger(const ml_node *node) {
  const ml_info *i = &node->in[0]->info;
  int64_t n = ML_MAX(i->shape[i->ndim - 1], i->shape[i->ndim - 2]);
  return n * n;
}

static void symmetric(double *y, const double *a, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) y[i * n + j] = (a[i * n + j] + a[j * n + i]) / 2;
}

/* y [n, k] = b [n, k] times the inverse of the transpose of a lower triangle, from the left:
   l' y = b. In place. */
static void back_substitute(const double *l, double *b, int n, int k) {
  for (int i = n - 1; i >= 0; i--) {
    for (int c = 0; c < k; c++) b[i * k + c] /= l[i * n + i];
    for (int r = 0; r < i; r++)
      for (int c = 0; c < k; c++) b[r * k + c] -= l[i * n + r] * b[i * k + c];
  }
}

static void transpose(double *y, const double *a, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) y[j * n + i] = a[i * n + j];
}

/* -- Cholesky: L^-T P L^-1, P the lower triangle of L' g with half its diagonal; its symmetric
   part -- */

static ml_err cholesky(const ml_matrices *x) {
  int n = x->n;
  double *p = x->work, *t = p + (int64_t)n * n;
  memcpy(t, x->g, (size_t)n * n * sizeof *t);
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++) t[i * n + j] = 0; /* what is no part of L */
  ML_TRY(ml__dmul(p, n, n, n, x->saved, true, t, false));
  for (int i = 0; i < n; i++)
    for (int j = i; j < n; j++) p[i * n + j] *= i == j ? 0.5 : 0;
  back_substitute(x->saved, p, n, n);
  transpose(t, p, n);
  back_substitute(x->saved, t, n, n);
  symmetric(x->y, t, n);
  return ML_OK;
}

ml_err ml_cholesky_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_a(n, g, gin, "cholesky", 2 * area(n), cholesky);
}

/* -- systems: db = a^-T g; da = -db y', or its transpose where the system was one by a' -- */

static ml_err minus(ml_tensor **out, ml_tensor *x, ml_tensor *z) {
  ml_tensor *product = NULL;
  ML_TRY(ml__op_matmul(&product, x, z, 0, 1));
  ml_err e = ml__op_affine(out, product, -1, 0);
  ml__unref(product);
  return e;
}

ml_err ml_solve_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *db = NULL, *y = n->saved[0];
  bool ta = n->scalar[0].i;
  ml_err e = ml__op_solve(&db, n->in[0], g, !ta);
  if (e == ML_OK && ml__wants(n->in[0])) e = minus(&gin[0], ta ? y : db, ta ? db : y);
  if (e == ML_OK && ml__wants(n->in[1])) gin[1] = ml__ref(db);
  ml__unref(db);
  return e;
}

/* The other triangle has no part in it. */
static void cut_triangle(ml_tensor *t, bool upper) {
  int64_t n = t->info.shape[t->info.ndim - 1];
  for (int64_t i = 0; i < t->info.count; i++) {
    int64_t row = i / n % n, column = i % n;
    if (upper ? column < row : column > row) ml__store(t->info.data, t->info.dtype, i, 0);
  }
}

ml_err ml_solve_triangular_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *db = NULL, *y = n->saved[0];
  bool upper = n->scalar[0].i, ta = n->scalar[1].i;
  ml_err e = ml__op_solve_triangular(&db, n->in[0], g, upper, !ta);
  if (e == ML_OK && ml__wants(n->in[0])) e = minus(&gin[0], ta ? y : db, ta ? db : y);
  if (e == ML_OK && gin[0]) cut_triangle(gin[0], upper);
  if (e == ML_OK && ml__wants(n->in[1])) gin[1] = ml__ref(db);
  ml__unref(db);
  return e;
}

/* -- determinants: g a^-T, times the determinant where it was not its logarithm -- */

static ml_err by_determinant(ml_node *n, ml_tensor *g, ml_tensor **gin, bool log) {
  ml_tensor *a = n->in[0], *one = NULL, *inverse = NULL, *by = NULL, *scale = NULL;
  int nd = a->info.ndim;
  int64_t last = a->info.shape[nd - 1], shape[ML_MAX_DIM], stride[ML_MAX_DIM];
  if (!ml__wants(a)) return ML_OK;
  ml_err e = ml__new(&one, a->info.dtype, nd, a->info.shape);
  if (e == ML_OK) ml__fill(one, 0);
  for (int64_t i = 0; e == ML_OK && last && i < one->info.count / last; i++)
    ml__store(one->info.data, one->info.dtype, i * last + i % last, 1);
  if (e == ML_OK) e = ml__op_solve(&inverse, a, one, 1);
  if (e == ML_OK && !log) e = ml__op_mul(&scale, g, n->saved[0]);
  else if (e == ML_OK) scale = ml__ref(g);
  for (int d = 0; e == ML_OK && d < nd; d++) {
    shape[d] = d < nd - 2 ? a->info.shape[d] : 1;
    stride[d] = d < nd - 2 ? scale->info.stride[d] : 0;
  }
  if (e == ML_OK) /* of a logarithm: the second of two */
    e = ml__new_view(&by, scale, nd, shape, stride, log ? scale->info.stride[nd - 2] : 0);
  if (e == ML_OK) e = ml__op_mul(&gin[0], inverse, by);
  ml__unref(one);
  ml__unref(inverse);
  ml__unref(by);
  ml__unref(scale);
  return e;
}

ml_err ml_det_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_determinant(n, g, gin, false);
}

ml_err ml_slogdet_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_determinant(n, g, gin, true);
}

/* -- QR: (gQ + Q C) R^-T, C the lower triangle of R gR' - gQ' Q made symmetric -- */

static ml_err qr(const ml_matrices *x) {
  int m = x->m, n = x->n;
  const double *q = x->saved, *r = q + (int64_t)m * n, *gq = x->g, *gr = gq + (int64_t)m * n;
  double *c = x->work, *t = c + (int64_t)n * n, *upper = t + (int64_t)m * n;
  if (m < n) return ml__bad_matrix(x, "has more columns than rows: no gradient");
  memcpy(upper, gr, (size_t)n * n * sizeof *upper);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++) upper[i * n + j] = 0; /* what is no part of R */
  ML_TRY(ml__dmul(c, n, n, n, r, false, upper, true));
  ML_TRY(ml__dmul(upper, n, n, m, gq, true, q, false));
  for (int64_t i = 0; i < (int64_t)n * n; i++) c[i] -= upper[i];
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++) c[i * n + j] = c[j * n + i];
  ML_TRY(ml__dmul(t, m, n, n, q, false, c, false));
  for (int64_t i = 0; i < (int64_t)m * n; i++) t[i] += gq[i];
  for (int64_t i = 0; i < m; i++) { /* y r' = t, a row at a time, from the last column */
    for (int j = n - 1; j >= 0; j--) {
      double s = t[i * n + j];
      for (int l = j + 1; l < n; l++) s -= x->y[i * n + l] * r[j * n + l];
      if (r[j * n + j] == 0) return ml__bad_matrix(x, "has dependent columns: no gradient");
      x->y[i * n + j] = s / r[j * n + j];
    }
  }
  return ML_OK;
}

ml_err ml_qr_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_a(n, g, gin, "qr", area(n) + 2 * larger(n), qr);
}

/* -- eigenvalues: V (diag(gw) + F o V' gV) V', F[i,j] = 1 / (w[j] - w[i]); its symmetric part -- */

static ml_err eigh(const ml_matrices *x) {
  int n = x->n;
  const double *w = x->saved, *v = w + n;
  double *c = x->work, *t = c + (int64_t)n * n;
  ML_TRY(ml__dmul(c, n, n, n, v, true, x->g + n, false));
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++)
      c[i * n + j] = i == j ? x->g[i] : c[i * n + j] == 0 ? 0 : c[i * n + j] / (w[j] - w[i]);
  ML_TRY(ml__dmul(t, n, n, n, v, false, c, false));
  ML_TRY(ml__dmul(c, n, n, n, t, false, v, true));
  symmetric(x->y, c, n);
  return ML_OK;
}

ml_err ml_eigh_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_a(n, g, gin, "eigh", 2 * area(n), eigh);
}

/*
 * -- singular values: with F[i,j] = 1 / (s[j]^2 - s[i]^2), P = F o (U' gU - gU' U) and
 *    Q = F o (V' gV - gV' V),
 *
 *      da = U (P S + S Q + diag(gs)) V' + (I - U U') gU S^-1 V' + U S^-1 gV' (I - V V')
 *
 *    where the last two vanish for square a. --
 */

/* t[k, k] = F o (x' z - z' x), for x, z [n, k] or, transposed, [k, n]. */
static ml_err turning(double *t, double *d, int n, int k, const double *x, const double *z,
                      bool transposed, const double *s) {
  ML_TRY(ml__dmul(d, k, k, n, x, !transposed, z, transposed));
  for (int i = 0; i < k; i++) {
    for (int j = 0; j < k; j++) {
      double e = d[i * k + j] - d[j * k + i];
      t[i * k + j] = e == 0 ? 0 : e / (s[j] * s[j] - s[i] * s[i]);
    }
  }
  return ML_OK;
}

static ml_err svd(const ml_matrices *x) {
  int m = x->m, n = x->n, k = x->k;
  int64_t mk = (int64_t)m * k, kn = (int64_t)k * n, kk = (int64_t)k * k, mn = (int64_t)m * n;
  const double *u = x->saved, *s = u + mk, *vt = s + k, *gu = x->g, *gs = gu + mk, *gvt = gs + k;
  double *p = x->work, *q = p + kk, *d = q + kk, *t = d + kk, *more = t + mk + kn;
  ML_TRY(turning(p, d, m, k, u, gu, false, s));
  ML_TRY(turning(q, d, n, k, vt, gvt, true, s));
  for (int i = 0; i < k; i++)
    for (int j = 0; j < k; j++)
      p[i * k + j] = p[i * k + j] * s[j] + s[i] * q[i * k + j] + (i == j ? gs[i] : 0);
  ML_TRY(ml__dmul(t, m, k, k, u, false, p, false));
  ML_TRY(ml__dmul(x->y, m, n, k, t, false, vt, false));
  if (m > k) { /* (gU - U U' gU) S^-1 V' */
    ML_TRY(ml__dmul(d, k, k, m, u, true, gu, false));
    ML_TRY(ml__dmul(t, m, k, k, u, false, d, false));
    for (int64_t i = 0; i < mk; i++) t[i] = (gu[i] - t[i]) / s[i % k];
    ML_TRY(ml__dmul(more, m, n, k, t, false, vt, false));
    for (int64_t i = 0; i < mn; i++) x->y[i] += more[i];
  }
  if (n > k) { /* U S^-1 (gV' - gV' V V') */
    ML_TRY(ml__dmul(d, k, k, n, gvt, false, vt, true));
    ML_TRY(ml__dmul(t, k, n, k, d, false, vt, false));
    for (int64_t i = 0; i < kn; i++) t[i] = (gvt[i] - t[i]) / s[i / n];
    ML_TRY(ml__dmul(more, m, n, k, u, false, t, false));
    for (int64_t i = 0; i < mn; i++) x->y[i] += more[i];
  }
  return ML_OK;
}

ml_err ml_svd_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return by_a(n, g, gin, "svd", 6 * larger(n), svd);
}
