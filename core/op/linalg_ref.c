/*
 * linalg_ref: the references of linear algebra, by the textbook: elimination with pivots,
 * Householder's reflections, Jacobi's rotations. Golub & Van Loan, Matrix Computations, 4th ed.:
 * algorithms 3.4.1, 4.2.1, 5.2.1, and sections 8.5 and 8.6.3.
 */
#include <math.h>
#include <string.h>

#include "ml_ops.h"
#include "op/linalg.h"

#define AT(a, i, j) a[(int64_t)(i)*n + (j)]

static ml_err cholesky(const ml_matrices *x) {
  int n = x->n;
  memset(x->y, 0, (size_t)n * n * sizeof *x->y);
  for (int j = 0; j < n; j++) {
    for (int i = j; i < n; i++) {
      double s = (AT(x->a, i, j) + AT(x->a, j, i)) / 2;
      for (int l = 0; l < j; l++) s -= AT(x->y, i, l) * AT(x->y, j, l);
      if (i == j && !(s > 0)) return ml__bad_matrix(x, "is not positive definite");
      AT(x->y, i, j) = i == j ? sqrt(s) : s / AT(x->y, j, j);
    }
  }
  return ML_OK;
}

/* a to upper triangular form, with the rows of b [n, k]; the sign of the exchanges, or 0 where a
   column has nothing left. */
static double eliminate(double *a, double *b, int n, int k) {
  double sign = 1;
  for (int j = 0; j < n; j++) {
    int p = j;
    for (int i = j + 1; i < n; i++)
      if (fabs(AT(a, i, j)) > fabs(AT(a, p, j))) p = i;
    if (AT(a, p, j) == 0) return 0;
    if (p != j) sign = -sign;
    for (int c = 0; c < n && p != j; c++) {
      double t = AT(a, p, c);
      AT(a, p, c) = AT(a, j, c);
      AT(a, j, c) = t;
    }
    for (int c = 0; c < k && p != j; c++) {
      double t = b[p * k + c];
      b[p * k + c] = b[j * k + c];
      b[j * k + c] = t;
    }
    for (int i = j + 1; i < n; i++) {
      double f = AT(a, i, j) / AT(a, j, j);
      for (int c = j; c < n; c++) AT(a, i, c) -= f * AT(a, j, c);
      for (int c = 0; c < k; c++) b[i * k + c] -= f * b[j * k + c];
    }
  }
  return sign;
}

/* b [n, k] becomes the x of a x = b, a upper or lower triangular. */
static bool substitute(const double *a, double *b, int n, int k, bool upper) {
  for (int q = 0; q < n; q++) {
    int i = upper ? n - 1 - q : q;
    if (AT(a, i, i) == 0) return false;
    for (int c = 0; c < k; c++) {
      double s = b[i * k + c];
      for (int l = upper ? i + 1 : 0; l < (upper ? n : i); l++) s -= AT(a, i, l) * b[l * k + c];
      b[i * k + c] = s / AT(a, i, i);
    }
  }
  return true;
}

/* a, or its transpose. */
static void oriented(double *to, const double *a, int n, bool transposed) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) AT(to, i, j) = transposed ? AT(a, j, i) : AT(a, i, j);
}

static ml_err solve(const ml_matrices *x) {
  int n = x->n, k = x->k;
  oriented(x->work, x->a, n, x->transposed);
  memcpy(x->y, x->b, (size_t)n * k * sizeof *x->y);
  if (eliminate(x->work, x->y, n, k) == 0) return ml__bad_matrix(x, "is singular");
  substitute(x->work, x->y, n, k, true);
  return ML_OK;
}

static ml_err solve_triangular(const ml_matrices *x) {
  int n = x->n, k = x->k;
  oriented(x->work, x->a, n, x->transposed);
  memcpy(x->y, x->b, (size_t)n * k * sizeof *x->y);
  bool fine = substitute(x->work, x->y, n, k, x->upper != x->transposed);
  return fine ? ML_OK : ml__bad_matrix(x, "is singular");
}

static ml_err slogdet(const ml_matrices *x) {
  int n = x->n;
  memcpy(x->work, x->a, (size_t)n * n * sizeof *x->work);
  double sign = eliminate(x->work, NULL, n, 0), size = sign == 0 ? -INFINITY : 0, product = sign;
  for (int i = 0; i < n && sign != 0; i++) {
    product *= AT(x->work, i, i);
    size += log(fabs(AT(x->work, i, i)));
  }
  if (product != 0) sign = product < 0 ? -1 : 1;
  x->y[0] = x->k == 1 ? product : sign;
  if (x->k > 1) x->y[1] = size;
  return ML_OK;
}

/* Reflections, as LAPACK makes them: the diagonal of R has the sign opposite to what it replaces,
   and stays where nothing is below it. */
static ml_err qr(const ml_matrices *x) {
  int m = x->m, n = x->n, k = x->k;
  double *r = x->work, *q = r + (int64_t)m * n, *v = q + (int64_t)m * m;
  memcpy(r, x->a, (size_t)m * n * sizeof *r);
  for (int64_t i = 0; i < (int64_t)m * m; i++) q[i] = i % (m + 1) == 0;
  for (int j = 0; j < k; j++) {
    double below = 0, norm, size = 0;
    for (int i = j + 1; i < m; i++) below += AT(r, i, j) * AT(r, i, j);
    if (below == 0) continue;
    norm = sqrt(below + AT(r, j, j) * AT(r, j, j));
    for (int i = 0; i < m; i++) v[i] = i < j ? 0 : AT(r, i, j);
    v[j] += AT(r, j, j) < 0 ? -norm : norm;
    for (int i = j; i < m; i++) size += v[i] * v[i];
    for (int c = 0; c < n; c++) {
      double s = 0;
      for (int i = j; i < m; i++) s += v[i] * AT(r, i, c);
      for (int i = j; i < m; i++) AT(r, i, c) -= 2 * s / size * v[i];
    }
    for (int i = 0; i < m; i++) { /* q times the reflection */
      double s = 0;
      for (int c = j; c < m; c++) s += q[i * m + c] * v[c];
      for (int c = j; c < m; c++) q[i * m + c] -= 2 * s / size * v[c];
    }
  }
  for (int i = 0; i < m; i++)
    for (int j = 0; j < k; j++) x->y[i * k + j] = q[i * m + j];
  for (int i = 0; i < k; i++)
    for (int j = 0; j < n; j++) x->y[(int64_t)m * k + i * n + j] = j < i ? 0 : AT(r, i, j);
  return ML_OK;
}

/* The rotation that makes the off-diagonal q of [[p, q], [q, r]] vanish. */
static void rotation(double p, double q, double r, double *c, double *s) {
  double t = q == 0 ? 0 : (r - p) / (2 * q);
  double u = q == 0 ? 0 : (t < 0 ? -1 : 1) / (fabs(t) + sqrt(1 + t * t));
  *c = 1 / sqrt(1 + u * u);
  *s = u * *c;
}

/* Columns i and j of v [rows, n]. */
static void rotate(double *v, int rows, int n, int i, int j, double c, double s) {
  for (int l = 0; l < rows; l++) {
    double p = AT(v, l, i), q = AT(v, l, j);
    AT(v, l, i) = c * p - s * q;
    AT(v, l, j) = s * p + c * q;
  }
}

enum { SWEEPS = 60 };

/* order: columns by falling value. */
static int largest(const double *value, const double *used, int n) {
  int at = -1;
  for (int i = 0; i < n; i++)
    if (!used[i] && (at < 0 || value[i] > value[at])) at = i;
  return at;
}

static ml_err eigh(const ml_matrices *x) {
  int n = x->n;
  double *a = x->work, *v = a + (int64_t)n * n, *used = v + (int64_t)n * n, *value = used + n;
  for (int i = 0; i < n; i++) {
    used[i] = 0;
    for (int j = 0; j < n; j++) {
      AT(a, i, j) = (AT(x->a, i, j) + AT(x->a, j, i)) / 2;
      AT(v, i, j) = i == j;
    }
  }
  for (int q = 0; q < SWEEPS; q++) {
    for (int i = 0; i < n; i++) {
      for (int j = i + 1; j < n; j++) {
        double c, s;
        rotation(AT(a, i, i), AT(a, i, j), AT(a, j, j), &c, &s);
        rotate(a, n, n, i, j, c, s);
        for (int l = 0; l < n; l++) { /* and the rows */
          double p = AT(a, i, l), r = AT(a, j, l);
          AT(a, i, l) = c * p - s * r;
          AT(a, j, l) = s * p + c * r;
        }
        rotate(v, n, n, i, j, c, s);
      }
    }
  }
  for (int i = 0; i < n; i++) value[i] = AT(a, i, i);
  for (int j = n - 1; j >= 0; j--) {
    int from = largest(value, used, n);
    used[from] = 1;
    x->y[j] = value[from];
    for (int i = 0; i < n; i++) x->y[n + i * n + j] = AT(v, i, from);
  }
  ml__fix_signs(x->y + n, n, n, NULL, 0);
  return ML_OK;
}

/* One-sided: columns of w (a, or its transpose where it is wide) are turned until orthogonal. */
static ml_err svd(const ml_matrices *x) {
  bool wide = x->m < x->n;
  int rows = wide ? x->n : x->m, n = x->k, k = n; /* w is [rows, n] */
  double *w = x->work, *v = w + (int64_t)rows * n, *used = v + (int64_t)n * n, *size = used + n;
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < n; j++) AT(w, i, j) = wide ? x->a[j * x->n + i] : x->a[i * x->n + j];
  for (int64_t i = 0; i < (int64_t)n * n; i++) v[i] = i % (n + 1) == 0;
  for (int q = 0; q < SWEEPS; q++) {
    for (int i = 0; i < n; i++) {
      for (int j = i + 1; j < n; j++) {
        double p = 0, r = 0, both = 0, c, s;
        for (int l = 0; l < rows; l++) {
          p += AT(w, l, i) * AT(w, l, i);
          r += AT(w, l, j) * AT(w, l, j);
          both += AT(w, l, i) * AT(w, l, j);
        }
        rotation(p, both, r, &c, &s);
        rotate(w, rows, n, i, j, c, s);
        rotate(v, n, n, i, j, c, s);
      }
    }
  }
  for (int j = 0; j < n; j++) {
    double s = 0;
    for (int l = 0; l < rows; l++) s += AT(w, l, j) * AT(w, l, j);
    size[j] = sqrt(s);
    used[j] = 0;
  }
  double *u = x->y, *s = u + (int64_t)x->m * k, *vt = s + k;
  for (int j = 0; j < k; j++) {
    int from = largest(size, used, n);
    used[from] = 1;
    s[j] = size[from];
    double scale = size[from] > 0 ? 1 / size[from] : 0;
    for (int i = 0; i < rows; i++) {
      double e = AT(w, i, from) * scale;
      if (wide) vt[j * x->n + i] = e;
      else u[i * k + j] = e;
    }
    for (int i = 0; i < n; i++) {
      if (wide) u[i * k + j] = AT(v, i, from);
      else vt[j * x->n + i] = AT(v, i, from);
    }
  }
  ml__fix_signs(u, x->m, k, vt, x->n);
  return ML_OK;
}

static ml_err each(const char *op, ml_tensor *y, const ml_tensor *a, const ml_tensor *b, bool upper,
                   bool transposed, int64_t k, ml_matrices_fn fn) {
  int nd = a->info.ndim;
  int64_t m = a->info.shape[nd - 2], n = a->info.shape[nd - 1], batch = 1;
  for (int d = 0; d < nd - 2; d++) batch *= a->info.shape[d];
  ml_matrices x = {.op = op,
                   .m = (int)m,
                   .n = (int)n,
                   .k = (int)(b   ? b->info.shape[nd - 1]
                              : k ? k
                                  : ML_MIN(m, n)),
                   .upper = upper,
                   .transposed = transposed};
  int64_t room = m * n + ML_MAX(m, n) * ML_MAX(m, n) + 3 * (m + n);
  return ml__each_matrix(&x, y, batch ? y->info.count / batch : 0, a, b, NULL, NULL, room, fn);
}

ml_err ml_cholesky_ref(ml_tensor *y, const ml_tensor *a) {
  return each("cholesky", y, a, NULL, false, false, 0, cholesky);
}

ml_err ml_solve_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta) {
  return each("solve", y, a, b, false, ta, 0, solve);
}

ml_err ml_solve_triangular_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t upper,
                               int64_t ta) {
  return each("solve_triangular", y, a, b, upper, ta, 0, solve_triangular);
}

ml_err ml_det_ref(ml_tensor *y, const ml_tensor *a) {
  return each("det", y, a, NULL, false, false, 1, slogdet);
}

ml_err ml_linalg_slogdet_ref(ml_tensor *y, const ml_tensor *a) {
  return each("slogdet", y, a, NULL, false, false, 2, slogdet);
}

ml_err ml_linalg_qr_ref(ml_tensor *y, const ml_tensor *a) {
  return each("qr", y, a, NULL, false, false, 0, qr);
}

ml_err ml_linalg_eigh_ref(ml_tensor *y, const ml_tensor *a) {
  return each("eigh", y, a, NULL, false, false, 0, eigh);
}

ml_err ml_linalg_svd_ref(ml_tensor *y, const ml_tensor *a) {
  return each("svd", y, a, NULL, false, false, 0, svd);
}
