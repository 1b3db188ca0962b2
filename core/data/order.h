/* order.h: which row stands at a place: parts and shuffles without a list of rows. */
#ifndef MLUA_ORDER_H
#define MLUA_ORDER_H

#include "../base/base.h"
#include "mlua_data.h"

enum { ML__ROUNDS = 8 };

/* A one-to-one map of 0..n-1 to itself, by (seed, stream, counter). */
typedef struct ml__shuffle {
  int64_t n;
  int low, high; /* bits of the two halves */
  uint64_t key[ML__ROUNDS];
} ml__shuffle;

void ml__shuffle_init(ml__shuffle *s, int64_t n, uint64_t seed, uint64_t stream, uint64_t counter);
int64_t ml__shuffle_at(const ml__shuffle *s, int64_t i);

/* The rows of a part in the order of an epoch; with a list, those rows alone. */
typedef struct ml__order {
  ml_part part;
  int64_t count; /* of the part, or of the list */
  int64_t *list; /* its owner's; or NULL */
  bool shuffled;
  ml__shuffle permutation, shuffle;
} ml__order;

void ml__order_init(ml__order *o, const ml_part *part, int64_t rows);
/* Sets the order of an epoch. */
void ml__order_epoch(ml__order *o, uint64_t seed, int64_t epoch);
void ml__order_rows(const ml__order *o, int64_t begin, int64_t n, int64_t *out);
/*
 * Lists the rows of the part without a share `rate` of those labelled 0, drawn by (seed, row). The
 * list is malloc'd; without one (rate 0) nothing changes.
 */
ml_err ml__order_thin(ml__order *o, const float *label, double rate, uint64_t seed);
/* That a part lies within the rows. */
ml_err ml__part_check(const ml_part *part, int64_t rows);

#endif
