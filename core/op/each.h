/* each.h: what the element-wise operations that tools/opgen writes from their cards stand on. */
#ifndef MLUA_OP_EACH_H
#define MLUA_OP_EACH_H

#include "grad/tape.h"

enum { ML_EACH_MOST = 6 }; /* operands, the result among them */

/* y[0:n) from inputs: p[0] is y, contiguous; p[k] is input k, with stride st[k] in elements;
   s: the scalar arguments. */
typedef void (*ml_each_row)(int64_t n, char *const *p, const int64_t *st, const double *s);

typedef struct ml_each {
  ml_each_row row[ML_DTYPES];                          /* by the main tensor's dtype */
  double (*one)(const double *v, const double *s);     /* reference: floats */
  int64_t (*whole)(const int64_t *v, const double *s); /* reference: integers, bool */
} ml_each;

/* y = f(in...), in broadcast to y's shape; any strides. */
ml_err ml__each_cpu(ml_tensor *y, int n, const ml_tensor *const *in, const ml_each *f, int dtype,
                    const double *s);
ml_err ml__each_ref(ml_tensor *y, int n, const ml_tensor *const *in, const ml_each *f, int dtype,
                    const double *s);
/* A gradient by `of`: f(in...) in g's shape, summed to that of `of`. */
ml_err ml__each_grad(ml_tensor **out, ml_tensor *of, ml_tensor *g, int n,
                     const ml_tensor *const *in, const ml_each *f, const double *s);

#endif
