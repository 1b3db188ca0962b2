/* embedding_bags.h: what the forward and backward of embedding bags share. */
#ifndef MLUA_OP_EMBEDDING_BAGS_H
#define MLUA_OP_EMBEDDING_BAGS_H

#include "tensor/tensor.h"

/* The ids of one call. Bag t B + b has those from its start to the next's; without offsets one. */
typedef struct ml_bags {
  int64_t tables, samples, width, count; /* count: ids */
  const void *indices, *offsets;         /* offsets NULL: one id per bag */
  const float *weights;                  /* NULL: all 1 */
  bool wide, wide_offsets, mean, max;    /* 64-bit ids, 64-bit offsets */
  int64_t padding;                       /* the id that counts for nothing, or -1 */
} ml_bags;

static inline int64_t ml__bag_id(const ml_bags *s, int64_t i) {
  return s->wide ? ((const int64_t *)s->indices)[i] : ((const int32_t *)s->indices)[i];
}

static inline int64_t ml__bag_start(const ml_bags *s, int64_t bag) {
  if (!s->offsets) return bag;
  return s->wide_offsets ? ((const int64_t *)s->offsets)[bag] : ((const int32_t *)s->offsets)[bag];
}

/* The ids of [from, to) that count. */
static inline int64_t ml__bag_count(const ml_bags *s, int64_t from, int64_t to) {
  int64_t n = to - from;
  for (int64_t i = from; s->padding >= 0 && i < to; i++) n -= ml__bag_id(s, i) == s->padding;
  return n;
}

ml_bags ml__bags(ml_tensor *const *tables, int64_t n, const ml_tensor *indices,
                 const ml_tensor *offsets, const ml_tensor *weights, int64_t mode, int64_t padding);
/* best[d]: the id of the bag [from, to) whose row has the largest element d, the first of equal
   ones, NaN above all; -1 where no id counts. Ids in range. */
void ml__bag_best(const ml_bags *s, const ml_tensor *table, int64_t from, int64_t to,
                  int64_t *best);

#endif
