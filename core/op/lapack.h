/* lapack.h: LAPACK's routines in double, by LAPACKE, opened when first asked for. */
#ifndef MLUA_OP_LAPACK_H
#define MLUA_OP_LAPACK_H

#include "base.h"

enum { ML_COLUMNS = 102 }; /* the layout: columns one after another */

typedef struct ml_lapack {
  int (*potrf)(int layout, char half, int n, double *a, int lda);
  int (*getrf)(int layout, int m, int n, double *a, int lda, int *pivots);
  int (*getrs)(int layout, char trans, int n, int k, const double *a, int lda, const int *pivots,
               double *b, int ldb);
  int (*trtrs)(int layout, char half, char trans, char unit, int n, int k, const double *a, int lda,
               double *b, int ldb);
  int (*geqrf)(int layout, int m, int n, double *a, int lda, double *tau);
  int (*orgqr)(int layout, int m, int n, int k, double *a, int lda, const double *tau);
  int (*syevd)(int layout, char job, char half, int n, double *a, int lda, double *w);
  int (*gesdd)(int layout, char job, int m, int n, double *a, int lda, double *s, double *u,
               int ldu, double *vt, int ldvt);
} ml_lapack;

/* ML_ESTATE, with the package to install, where there is none. `op` is named in the message. */
ml_err ml__lapack(const ml_lapack **out, const char *op);

#endif
