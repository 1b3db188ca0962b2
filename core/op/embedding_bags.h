/* embedding_bags.h: what the forward and backward of embedding bags share. */
#ifndef MLUA_OP_EMBEDDING_BAGS_H
#define MLUA_OP_EMBEDDING_BAGS_H

#include "tensor/tensor.h"

/* The ids of one call. Bag t B + b has those from its start to the next's; without offsets one. */
typedef struct ml_bags {
  int64_t tables, samples, width, count; /* count: ids */
  const void *indices, *offsets;         /* offsets NULL: one id per bag */
  const float *weights;                  /* NULL: all 1 */
  bool wide, wide_offsets, mean;         /* 64-bit ids, 64-bit offsets */
} ml_bags;

static inline int64_t ml__bag_id(const ml_bags *s, int64_t i) {
  return s->wide ? ((const int64_t *)s->indices)[i] : ((const int32_t *)s->indices)[i];
}

static inline int64_t ml__bag_start(const ml_bags *s, int64_t bag) {
  if (!s->offsets) return bag;
  return s->wide_offsets ? ((const int64_t *)s->offsets)[bag] : ((const int32_t *)s->offsets)[bag];
}

ml_bags ml__bags(ml_tensor *const *tables, int64_t n, const ml_tensor *indices,
                 const ml_tensor *offsets, const ml_tensor *weights, int64_t mode);

#endif
