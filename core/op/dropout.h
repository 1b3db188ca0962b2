/* dropout.h: which elements dropout keeps. */
#ifndef MLUA_OP_DROPOUT_H
#define MLUA_OP_DROPOUT_H

#include "tensor/tensor.h"

typedef struct ml_drop {
  uint64_t seed, stream, draw;
  double p;    /* of being dropped, 0 to 1 */
  float scale; /* of what is kept: 1 / (1 - p) */
} ml_drop;

/* draw: i32 or i64, one element; NULL: 0. ML_EARG where a number is out of range. */
ml_err ml__drop(ml_drop *d, const char *op, int at, double p, int64_t seed, int64_t stream,
                const ml_tensor *draw);
/* The factors, scale or 0, of elements [first, first + n): any cut gives the same. */
void ml__drop_factors(const ml_drop *d, int64_t first, int64_t n, float *factor);

#endif
