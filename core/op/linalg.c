/*
 * linalg: Cholesky, systems of equations, determinants, QR, eigenvalues and singular values of the
 * matrices in the last two axes, by LAPACK (lapack.c).
 *
 *   a [..., M, N]  b [..., N, K]  f64 or f32: converted, computed in double, converted back
 *
 * Matrices go through one after another, on the calling thread. Results of several parts lie in one
 * row for each matrix; mlua.linalg cuts views out of it. ML_ESTATE where LAPACK is not installed,
 * ML_EARG where a matrix is singular, not positive definite, or not finite.
 */
#include "op/linalg.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/gemm.h"
#include "op/lapack.h"

/* -- shapes -- */

static ml_err matrices(const char *op, const ml_tensor *a, bool square) {
  int nd = a->info.ndim;
  const int64_t *s = a->info.shape;
  char text[ML_SHAPE_TEXT];
  if (nd < 2 || (square && s[nd - 1] != s[nd - 2]))
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (a: expected %s, got %s)", op,
                   square ? "square matrices, [..., N, N]" : "matrices, [..., M, N]",
                   ml__shape_text(text, nd, s));
  if (s[nd - 1] > INT_MAX || s[nd - 2] > INT_MAX)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (a: too large: %s)", op,
                   ml__shape_text(text, nd, s));
  return ML_OK;
}

ml_err ml__shape_square(int *nd, int64_t *shape, const char *op, const ml_tensor *a) {
  ML_TRY(matrices(op, a, true));
  return ml__shape_like(nd, shape, a);
}

ml_err ml__shape_system(int *nd, int64_t *shape, const char *op, const ml_tensor *a,
                        const ml_tensor *b) {
  ML_TRY(matrices(op, a, true));
  int d = a->info.ndim;
  bool fits = b->info.ndim == d && b->info.shape[d - 1] <= INT_MAX;
  for (int i = 0; fits && i < d - 1; i++) fits = b->info.shape[i] == a->info.shape[i];
  if (!fits) {
    char s[ML_SHAPE_TEXT], t[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "bad argument #2 to '%s' (b: expected as many rows as a %s, got %s)",
                   op, ml__shape_text(s, d, a->info.shape),
                   ml__shape_text(t, b->info.ndim, b->info.shape));
  }
  return ml__shape_like(nd, shape, b);
}

/* Elements of the results for one matrix; -1: one number, without an axis. */
static int64_t packed_size(const char *op, int64_t m, int64_t n) {
  int64_t k = ML_MIN(m, n);
  switch (op[0]) {
    case 'q': return m * k + k * n;
    case 'e': return n + n * n;
    case 's': return op[1] == 'v' ? m * k + k + k * n : 2; /* svd, slogdet */
    default: return -1;
  }
}

ml_err ml__shape_packed(int *nd, int64_t *shape, const char *op, const ml_tensor *a) {
  ML_TRY(matrices(op, a, op[0] != 'q' && op[1] != 'v'));
  *nd = a->info.ndim - 2;
  for (int d = 0; d < *nd; d++) shape[d] = a->info.shape[d];
  int64_t m = a->info.shape[*nd], n = a->info.shape[*nd + 1];
  if ((double)m * (double)n > 0x1p40)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (a: too large)", op);
  int64_t size = packed_size(op, m, n);
  if (size >= 0) shape[(*nd)++] = size;
  return ML_OK;
}

/* -- one matrix after another -- */

ml_err ml__bad_matrix(const ml_matrices *x, const char *what) {
  if (x->batch == 1) return ml_fail(ML_EARG, "%s: the matrix %s", x->op, what);
  return ml_fail(ML_EARG, "%s: matrix %lld of %lld %s", x->op, (long long)x->which + 1,
                 (long long)x->batch, what);
}

static void load(double *to, const ml_tensor *t, int64_t from, int64_t n) {
  if (t->info.dtype == ML_F64) {
    memcpy(to, ml_f64(t) + from, (size_t)n * sizeof *to);
    return;
  }
  for (int64_t i = 0; i < n; i++) to[i] = ml_f32(t)[from + i];
}

static void store(ml_tensor *t, int64_t from, const double *v, int64_t n) {
  if (t->info.dtype == ML_F64) {
    memcpy(ml_f64(t) + from, v, (size_t)n * sizeof *v);
    return;
  }
  for (int64_t i = 0; i < n; i++) ml_f32(t)[from + i] = (float)v[i];
}

static bool all_finite(const double *v, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) s += v[i] * 0;
  return s == 0;
}

ml_err ml__each_matrix(const ml_matrices *like, ml_tensor *y, int64_t each, const ml_tensor *a,
                       const ml_tensor *b, const ml_tensor *g, const ml_tensor *saved, int64_t room,
                       ml_matrices_fn fn) {
  ml_matrices x = *like;
  x.batch = 1;
  for (int d = 0; d < a->info.ndim - 2; d++) x.batch *= a->info.shape[d];
  int64_t na = (int64_t)x.m * x.n, nb = b ? (int64_t)x.n * x.k : 0;
  int64_t ng = g ? g->info.count / ML_MAX(x.batch, 1) : 0, ns = saved ? ng : 0;
  if (y->info.count == 0 && x.batch == 0) return ML_OK;
  double *all = malloc((size_t)(na + nb + ng + ns + each + room + 1) * sizeof *all);
  if (!all) return ml_fail(ML_ENOMEM, "out of memory: the matrices of %s", x.op);
  double *va = all, *vb = va + na, *vg = vb + nb, *vs = vg + ng;
  x.a = va;
  x.b = vb;
  x.g = vg;
  x.saved = vs;
  x.y = vs + ns;
  x.work = x.y + each;
  ml_err e = ML_OK;
  for (x.which = 0; e == ML_OK && x.which < x.batch; x.which++) {
    load(va, a, x.which * na, na);
    if (b) load(vb, b, x.which * nb, nb);
    if (g) load(vg, g, x.which * ng, ng);
    if (saved) load(vs, saved, x.which * ns, ns);
    e = all_finite(va, na) ? fn(&x) : ml__bad_matrix(&x, "holds infinities or NaN");
    if (e == ML_OK) store(y, x.which * each, x.y, each);
  }
  free(all);
  return e;
}

ml_err ml__dmul(double *c, int m, int n, int k, const double *a, bool ta, const double *b,
                bool tb) {
  return ml__gemm_packed(ML_F64, m, n, k, 1, a, ta ? 1 : k, ta ? m : 1, b, tb ? 1 : n, tb ? k : 1,
                         false, c, n);
}

void ml__fix_signs(double *v, int n, int k, double *w, int l) {
  for (int j = 0; j < k; j++) {
    double most = 0;
    int at = 0;
    for (int i = 0; i < n; i++) most = fmax(most, fabs(v[i * k + j]));
    while (at < n - 1 && fabs(v[at * k + j]) < most * (1 - 1e-6)) at++;
    if (n == 0 || v[at * k + j] >= 0) continue;
    for (int i = 0; i < n; i++) v[i * k + j] = -v[i * k + j];
    for (int i = 0; w && i < l; i++) w[j * l + i] = -w[j * l + i];
  }
}

static void symmetric(double *y, const double *a, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) y[i * n + j] = (a[i * n + j] + a[j * n + i]) / 2;
}

static void transpose(double *y, const double *a, int m, int n) {
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) y[(int64_t)j * m + i] = a[(int64_t)i * n + j];
}

static ml_matrices of(const char *op, const ml_tensor *a) {
  const int64_t *s = a->info.shape + a->info.ndim - 2;
  return (ml_matrices){.op = op, .m = (int)s[0], .n = (int)s[1], .k = (int)ML_MIN(s[0], s[1])};
}

static ml_matrices system_of(const char *op, const ml_tensor *a, const ml_tensor *b) {
  ml_matrices x = of(op, a);
  x.k = (int)b->info.shape[b->info.ndim - 1];
  return x;
}

/* -- by LAPACK: a matrix in row order is its transpose to it -- */

static ml_err cholesky(const ml_matrices *x) {
  const ml_lapack *l;
  int n = x->n;
  ML_TRY(ml__lapack(&l, x->op));
  symmetric(x->y, x->a, n);
  if (l->potrf(ML_COLUMNS, 'U', n, x->y, ML_MAX(n, 1)) != 0)
    return ml__bad_matrix(x, "is not positive definite");
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++) x->y[i * n + j] = 0;
  return ML_OK;
}

static ml_err solve(const ml_matrices *x) {
  const ml_lapack *l;
  int n = x->n, k = x->k;
  ML_TRY(ml__lapack(&l, x->op));
  double *lu = x->work, *b = lu + (int64_t)n * n;
  int *pivots = (int *)(b + (int64_t)n * k);
  memcpy(lu, x->a, (size_t)n * n * sizeof *lu);
  transpose(b, x->b, n, k);
  if (l->getrf(ML_COLUMNS, n, n, lu, ML_MAX(n, 1), pivots) != 0)
    return ml__bad_matrix(x, "is singular");
  l->getrs(ML_COLUMNS, x->transposed ? 'N' : 'T', n, k, lu, ML_MAX(n, 1), pivots, b, ML_MAX(n, 1));
  transpose(x->y, b, k, n);
  return ML_OK;
}

static ml_err solve_triangular(const ml_matrices *x) {
  const ml_lapack *l;
  int n = x->n, k = x->k;
  ML_TRY(ml__lapack(&l, x->op));
  transpose(x->work, x->b, n, k);
  if (l->trtrs(ML_COLUMNS, x->upper ? 'L' : 'U', x->transposed ? 'N' : 'T', 'N', n, k, x->a,
               ML_MAX(n, 1), x->work, ML_MAX(n, 1)) != 0)
    return ml__bad_matrix(x, "is singular");
  transpose(x->y, x->work, k, n);
  return ML_OK;
}

/* The sign and the logarithm of the size of the product of the factors' diagonal. */
static ml_err slogdet(const ml_matrices *x) {
  const ml_lapack *l;
  int n = x->n;
  ML_TRY(ml__lapack(&l, x->op));
  int *pivots = (int *)(x->work + (int64_t)n * n);
  memcpy(x->work, x->a, (size_t)n * n * sizeof *x->work);
  l->getrf(ML_COLUMNS, n, n, x->work, ML_MAX(n, 1), pivots); /* singular: a zero on the diagonal */
  double sign = 1, size = 0, product = 1;
  for (int i = 0; i < n; i++) {
    double d = x->work[i * n + i];
    if (pivots[i] != i + 1) product = -product, sign = -sign;
    sign *= d > 0 ? 1 : d < 0 ? -1 : 0;
    size += log(fabs(d));
    product *= d;
  }
  x->y[0] = sign;
  x->y[x->k > 1] = size;
  if (x->k == 1) x->y[0] = product;
  return ML_OK;
}

static ml_err qr(const ml_matrices *x) {
  const ml_lapack *l;
  int m = x->m, n = x->n, k = x->k;
  ML_TRY(ml__lapack(&l, x->op));
  double *a = x->work, *tau = a + (int64_t)m * n, *r = x->y + (int64_t)m * k;
  transpose(a, x->a, m, n);
  if (k > 0) {
    l->geqrf(ML_COLUMNS, m, n, a, m, tau);
    for (int i = 0; i < k; i++)
      for (int j = 0; j < n; j++) r[i * n + j] = j >= i ? a[(int64_t)j * m + i] : 0;
    l->orgqr(ML_COLUMNS, m, k, k, a, m, tau);
  }
  transpose(x->y, a, k, m);
  return ML_OK;
}

static ml_err eigh(const ml_matrices *x) {
  const ml_lapack *l;
  int n = x->n;
  ML_TRY(ml__lapack(&l, x->op));
  symmetric(x->work, x->a, n);
  if (l->syevd(ML_COLUMNS, 'V', 'U', n, x->work, ML_MAX(n, 1), x->y) != 0)
    return ml__bad_matrix(x, "has eigenvalues that did not converge");
  transpose(x->y + n, x->work, n, n);
  ml__fix_signs(x->y + n, n, n, NULL, 0);
  return ML_OK;
}

/* a' = V S U': what LAPACK calls U is V' in row order, and what it calls V' is U. */
static ml_err svd(const ml_matrices *x) {
  const ml_lapack *l;
  int m = x->m, n = x->n, k = x->k;
  ML_TRY(ml__lapack(&l, x->op));
  double *u = x->y, *s = u + (int64_t)m * k, *v = s + k;
  memcpy(x->work, x->a, (size_t)m * n * sizeof *x->work);
  if (k == 0) return ML_OK;
  if (l->gesdd(ML_COLUMNS, 'S', n, m, x->work, n, s, v, n, u, k) != 0)
    return ml__bad_matrix(x, "has singular values that did not converge");
  ml__fix_signs(u, m, k, v, n);
  return ML_OK;
}

ml_err ml_cholesky_cpu(ml_tensor *y, const ml_tensor *a) {
  ml_matrices x = of("cholesky", a);
  return ml__each_matrix(&x, y, (int64_t)x.n * x.n, a, NULL, NULL, NULL, 0, cholesky);
}

ml_err ml_solve_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta) {
  ml_matrices x = system_of("solve", a, b);
  x.transposed = ta;
  int64_t n = x.n;
  return ml__each_matrix(&x, y, n * x.k, a, b, NULL, NULL, n * n + n * x.k + n, solve);
}

ml_err ml_solve_triangular_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t upper,
                               int64_t ta) {
  ml_matrices x = system_of("solve_triangular", a, b);
  x.upper = upper;
  x.transposed = ta;
  int64_t size = (int64_t)x.n * x.k;
  return ml__each_matrix(&x, y, size, a, b, NULL, NULL, size, solve_triangular);
}

ml_err ml_det_cpu(ml_tensor *y, const ml_tensor *a) {
  ml_matrices x = of("det", a);
  int64_t n = x.n;
  x.k = 1;
  return ml__each_matrix(&x, y, 1, a, NULL, NULL, NULL, n * n + n, slogdet);
}

ml_err ml_linalg_slogdet_cpu(ml_tensor *y, const ml_tensor *a) {
  ml_matrices x = of("slogdet", a);
  int64_t n = x.n;
  x.k = 2;
  return ml__each_matrix(&x, y, 2, a, NULL, NULL, NULL, n * n + n, slogdet);
}

static ml_err packed(ml_tensor *y, const ml_tensor *a, const char *op, ml_matrices_fn fn) {
  ml_matrices x = of(op, a);
  int64_t room = (int64_t)x.m * x.n + x.n;
  return ml__each_matrix(&x, y, packed_size(op, x.m, x.n), a, NULL, NULL, NULL, room, fn);
}

ml_err ml_linalg_qr_cpu(ml_tensor *y, const ml_tensor *a) { return packed(y, a, "qr", qr); }
ml_err ml_linalg_eigh_cpu(ml_tensor *y, const ml_tensor *a) { return packed(y, a, "eigh", eigh); }
ml_err ml_linalg_svd_cpu(ml_tensor *y, const ml_tensor *a) { return packed(y, a, "svd", svd); }
