/* linalg.h: what forward, backward and references of linear algebra share. In double throughout. */
#ifndef MLUA_OP_LINALG_H
#define MLUA_OP_LINALG_H

#include "tensor/tensor.h"

/* One of a batch: matrices in row order. */
typedef struct ml_matrices {
  const char *op;
  int m, n, k;          /* a is [m, n]; k: columns of b, or min(m, n) */
  int64_t which, batch; /* from 0; of how many */
  const double *a, *b;
  double *y;
  double *work;            /* `room` elements */
  bool upper, transposed;  /* of triangular systems; whether a system is one by a' */
  const double *g, *saved; /* backward: the output's gradient, and the output */
} ml_matrices;

typedef ml_err (*ml_matrices_fn)(const ml_matrices *x);

/* y for every matrix of the batch; all tensors contiguous, of the same batch axes, b may be NULL.
   `each`: elements of one y. */
ml_err ml__each_matrix(const ml_matrices *like, ml_tensor *y, int64_t each, const ml_tensor *a,
                       const ml_tensor *b, const ml_tensor *g, const ml_tensor *saved, int64_t room,
                       ml_matrices_fn fn);

/* A failure of one of the batch: "op: the matrix …", or "op: matrix 3 of 5 …" */
ml_err ml__bad_matrix(const ml_matrices *x, const char *what);

/* c[m, n] = op(a) op(b), in row order without gaps; op(a) is [m, k]. */
ml_err ml__dmul(double *c, int m, int n, int k, const double *a, bool ta, const double *b, bool tb);

/* Columns of v [n, k] (and rows of w [k, l], which may be NULL) with the sign that makes the first
   of the largest elements of v's column positive: one choice everywhere. */
void ml__fix_signs(double *v, int n, int k, double *w, int l);

#endif
