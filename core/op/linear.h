/* linear.h: loops for batches of a few rows, and the cuts of products of more. */
#ifndef MLUA_OP_LINEAR_H
#define MLUA_OP_LINEAR_H

#include "base.h"

/* y[:, begin:end); b may be NULL. */
void ml__linear_small(int64_t rows, int64_t width, int64_t begin, int64_t end, const float *x,
                      const float *w, const float *b, int act, float *y, int64_t out);

/*
 * One pass over w[begin:end): dx += dz w (dx NULL: skipped), dw = alpha dz' x + beta dw (NULL:
 * skipped), for `rows` <= 8. dw may be w itself (beta 1): an element is read before it is written.
 */
void ml__linear_small_backward(int64_t rows, int64_t width, int64_t begin, int64_t end,
                               const float *x, const float *dz, int64_t out, const float *w,
                               float *dx, float *dw, float alpha, float beta);

enum { ML__CUT = 1 << 18 }; /* multiplications of a cut at least: 3 us or more on one core */

/*
 * Batch rows per cut of a matrix product, given the multiplications of a row: an even number of
 * cuts of at most 256 rows; fewer and larger ones where a cut would have less than ML__CUT. In
 * sixteens.
 */
static inline int64_t ml__row_grain(int64_t rows, int64_t work) {
  int64_t most = rows * work / ML__CUT, cuts = (rows + 255) / 256;
  if (cuts < 2) cuts = 2;
  cuts += cuts & 1;
  cuts = ML_MAX(1, ML_MIN(cuts, most));
  int64_t grain = (rows + cuts - 1) / cuts;
  return ML_MAX(16, (grain + 15) / 16 * 16);
}

#endif
