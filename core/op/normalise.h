/*
 * norm.h: what the normalisations share. x is seen as [n, c, s] with parameters by c; a group of
 * elements that is normalised together is a part of one sample, or one c in all samples:
 *
 *   layer_norm, rms_norm   n rows, c the elements of a row, s 1; one group a row
 *   group_norm             per sample `groups` groups of c / groups channels each
 *   batch_norm             across: a group per channel
 */
#ifndef MLUA_OP_NORMALISE_H
#define MLUA_OP_NORMALISE_H

#include "grad/tape.h"

typedef struct ml_normalise {
  int64_t n, c, s, groups; /* groups of a sample */
  bool across, rms, fixed; /* fixed: statistics are given, and constants to the backward */
  double eps;
  const ml_tensor *x, *w, *b; /* w, b: NULL where absent */
  ml_tensor *y;
  double *stats; /* [groups in all][2]: mean, 1 / sqrt(var + eps) */
  /* backward: */
  const ml_tensor *g;
  ml_tensor *dx, *dw, *db; /* NULL where not wanted */
} ml_normalise;

static inline int64_t ml__norm_groups(const ml_normalise *j) {
  return j->across ? j->c : j->n * j->groups;
}
static inline int64_t ml__norm_members(const ml_normalise *j) { /* elements of a group */
  return j->across ? j->n * j->s : j->c / j->groups * j->s;
}

/* f32. Those with few elements to a channel of a sample go by rows, or columns. */
ml_err ml__norm_rows(ml_normalise *j);
ml_err ml__norm_rows_backward(ml_normalise *j);
ml_err ml__norm_channels(ml_normalise *j);
ml_err ml__norm_channels_backward(ml_normalise *j);
ml_err ml__norm_columns(ml_normalise *j);
ml_err ml__norm_columns_backward(ml_normalise *j);

/*
 * y = (x - middle) scale + shift in f32 where the mean is a double: the rest of the mean beyond the
 * middle, an f32, goes into the shift.
 */
typedef struct ml_line {
  float middle, scale, shift;
} ml_line;

static inline ml_line ml__line(double mean, double scale, double shift) {
  float middle = (float)mean;
  return (ml_line){middle, (float)scale, (float)(shift + ((double)middle - mean) * scale)};
}

/* Mean and 1 / sqrt(var + eps) of m elements from the sums of x - k and of its squares; the sums in
   double, so the shift k, any of the elements, keeps what is lost below 1e-8 of the variance. */
static inline void ml__norm_finish(const ml_normalise *j, double *stats, double m, double k,
                                   double sum, double squares, double *var) {
  double d = sum / m, v = squares / m - (j->rms ? 0 : d * d);
  stats[0] = j->rms ? 0 : k + d;
  *var = v < 0 ? 0 : v; /* NaN stays */
  stats[1] = 1 / __builtin_sqrt(*var + j->eps);
}

#endif
