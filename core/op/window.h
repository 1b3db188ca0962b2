/*
 * window.h: windows that slide over one to three spatial axes, of convolutions and pools.
 *
 * Along an axis: out = floor((in + before + after - dilation (kernel - 1) - 1) / stride) + 1, and
 * element k of window o is at o stride - before + k dilation. Three axes are kept always, the last
 * ones used; the others have size 1.
 */
#ifndef MLUA_OP_WINDOW_H
#define MLUA_OP_WINDOW_H

#include "tensor/tensor.h"

typedef struct ml_axis {
  int64_t in, out, kernel, stride, dilation, before, after;
} ml_axis;

typedef struct ml_geometry {
  int64_t axes;            /* 1 to 3; those used are axis[3 - axes] … axis[2] */
  int64_t n, c, o, groups; /* images; channels of the convolution's input and output */
  ml_axis axis[3];
} ml_geometry;

/* Which operand of y[n,o] = sum x[n,c] w[o,c] is computed from the other two. */
enum { ML_CONV_Y, ML_CONV_X, ML_CONV_W };

/* x [n, c, in…], w [o, c/groups, kernel…], y [n, o, out…]. By oneDNN; the bias [o] goes into y and
   may be NULL. */
ml_err ml__conv_dnnl(const ml_geometry *v, int what, float *x, float *w, float *y, const float *b);
/* Whether oneDNN is to be asked at all: its kernels count in int. */
bool ml__conv_dnnl_takes(const ml_geometry *v);

#endif
