/*
 * linear_small: linear for 1 to 8 rows, where the time is reading the weights once.
 *
 * Bytes: 4 N K forward; 8 N K backward with the update in place (read and write), and no more.
 * The inner loops run along K in vectors of 8, for a number of rows known to the compiler. Forward,
 * rows go by fours, so that the sums stay in registers; a cut's weights stay in cache between them.
 */
#include <math.h>
#include <string.h>

#include "op/gemm.h"
#include "op/linear.h"

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE float total(v8 a) {
  return ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7]));
}

INLINE float activate(float s, int act) {
  if (act == ML_ACT_RELU) return s < 0 ? 0 : s; /* NaN stays */
  return act == ML_ACT_SIGMOID ? 1 / (1 + expf(-s)) : s;
}

/* s[r,o]: R rows of x against O rows of w, up to 4 of each. */
INLINE void dots(const int R, const int O, int64_t width, const float *x, const float *w,
                 float *s) {
  /* of fixed size: with a length that is a parameter, even a constant one, it would be in memory */
  v8 acc[4][4];
  for (int r = 0; r < R; r++)
    for (int o = 0; o < O; o++) acc[r][o] = (v8){0};
  int64_t k = 0;
  for (; k + 8 <= width; k += 8) {
    v8 wv[4];
    for (int o = 0; o < O; o++) wv[o] = *(const v8 *)(w + o * width + k);
    for (int r = 0; r < R; r++) {
      v8 xv = *(const v8 *)(x + r * width + k);
      for (int o = 0; o < O; o++) acc[r][o] += xv * wv[o];
    }
  }
  for (int r = 0; r < R; r++) {
    for (int o = 0; o < O; o++) {
      float t = total(acc[r][o]);
      for (int64_t i = k; i < width; i++) t += x[r * width + i] * w[o * width + i];
      s[r * O + o] = t;
    }
  }
}

INLINE void forward(const int R, int64_t width, int64_t begin, int64_t end, const float *x,
                    const float *w, const float *b, int act, float *y, int64_t out) {
  float s[4 * 4];
  int64_t n = begin;
  const int O = R <= 2 ? 4 : 2;
  for (; n + O <= end; n += O) {
    dots(R, O, width, x, w + n * width, s);
    for (int r = 0; r < R; r++)
      for (int o = 0; o < O; o++)
        y[r * out + n + o] = activate(s[r * O + o] + (b ? b[n + o] : 0), act);
  }
  for (; n < end; n++) {
    dots(R, 1, width, x, w + n * width, s);
    for (int r = 0; r < R; r++) y[r * out + n] = activate(s[r] + (b ? b[n] : 0), act);
  }
}

ML_CLONES void ml__linear_small(int64_t rows, int64_t width, int64_t begin, int64_t end,
                                const float *x, const float *w, const float *b, int act, float *y,
                                int64_t out) {
  for (int64_t r = 0; r < rows; r += 4) {
    const float *xr = x + r * width;
    float *yr = y + r * out;
    switch (ML_MIN(rows - r, 4)) {
      case 1: forward(1, width, begin, end, xr, w, b, act, yr, out); break;
      case 2: forward(2, width, begin, end, xr, w, b, act, yr, out); break;
      case 3: forward(3, width, begin, end, xr, w, b, act, yr, out); break;
      default: forward(4, width, begin, end, xr, w, b, act, yr, out);
    }
  }
}

/* O rows of w at once: dx is loaded and stored once for all of them. */
INLINE void backward(const int R, const int O, int64_t width, int64_t n, const float *x,
                     const float *dz, int64_t out, const float *w, float *dx, float *dw,
                     float alpha, float beta) {
  float g[8 * 4];
  for (int r = 0; r < R; r++)
    for (int o = 0; o < O; o++) g[r * O + o] = dz[r * out + n + o];
  const float *wn = w + n * width;
  float *dn = dw ? dw + n * width : NULL;
  int64_t k = 0;
  for (; k + 8 <= width; k += 8) {
    v8 wv[4], dv[4], xv[8];
    for (int r = 0; r < R; r++) xv[r] = *(const v8 *)(x + r * width + k);
    for (int o = 0; o < O; o++) wv[o] = *(const v8 *)(wn + o * width + k);
    if (dx) {
      for (int r = 0; r < R; r++) {
        v8 d = *(v8 *)(dx + r * width + k);
        for (int o = 0; o < O; o++) d += g[r * O + o] * wv[o];
        *(v8 *)(dx + r * width + k) = d;
      }
    }
    if (!dw) continue;
    for (int o = 0; o < O; o++) {
      dv[o] = g[o] * xv[0];
      for (int r = 1; r < R; r++) dv[o] += g[r * O + o] * xv[r];
      dv[o] *= alpha;
      if (beta != 0) dv[o] += *(v8 *)(dn + o * width + k);
      *(v8 *)(dn + o * width + k) = dv[o];
    }
  }
  for (; k < width; k++) {
    for (int o = 0; o < O; o++) {
      float wk = wn[o * width + k], d = 0;
      for (int r = 0; r < R; r++) {
        if (dx) dx[r * width + k] += g[r * O + o] * wk;
        d += g[r * O + o] * x[r * width + k];
      }
      if (dw) dn[o * width + k] = alpha * d + (beta != 0 ? dn[o * width + k] : 0);
    }
  }
}

INLINE void backward_all(const int R, int64_t width, int64_t begin, int64_t end, const float *x,
                         const float *dz, int64_t out, const float *w, float *dx, float *dw,
                         float alpha, float beta) {
  int64_t n = begin;
  for (; n + 4 <= end; n += 4) backward(R, 4, width, n, x, dz, out, w, dx, dw, alpha, beta);
  for (; n < end; n++) backward(R, 1, width, n, x, dz, out, w, dx, dw, alpha, beta);
}

ML_CLONES void ml__linear_small_backward(int64_t rows, int64_t width, int64_t begin, int64_t end,
                                         const float *x, const float *dz, int64_t out,
                                         const float *w, float *dx, float *dw, float alpha,
                                         float beta) {
  switch (rows) {
    case 1: backward_all(1, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 2: backward_all(2, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 3: backward_all(3, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 4: backward_all(4, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 5: backward_all(5, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 6: backward_all(6, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    case 7: backward_all(7, width, begin, end, x, dz, out, w, dx, dw, alpha, beta); break;
    default: backward_all(8, width, begin, end, x, dz, out, w, dx, dw, alpha, beta);
  }
}
