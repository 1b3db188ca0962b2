/* groups.h: a tensor as [outer, n, inner] around one axis; axis 0 takes all as one group. */
#ifndef MLUA_OP_GROUPS_H
#define MLUA_OP_GROUPS_H

#include "tensor/tensor.h"

typedef struct ml_groups {
  int64_t outer, n, inner;
} ml_groups;

/* x contiguous; axis from 1, or from the end where negative (checked by the shape's rule). */
static inline ml_groups ml__groups(const ml_tensor *x, int64_t axis) {
  if (axis == 0) return (ml_groups){1, x->info.count, 1};
  ml_groups e = {1, 1, 1};
  int a = (int)(axis < 0 ? axis + x->info.ndim : axis - 1);
  for (int d = 0; d < x->info.ndim; d++)
    *(d < a ? &e.outer : d == a ? &e.n : &e.inner) *= x->info.shape[d];
  return e;
}

/* The place of element m of group g, groups counted as the elements of the reduced tensor. */
static inline int64_t ml__group_at(const ml_groups *e, int64_t g, int64_t m) {
  return (g / e->inner * e->n + m) * e->inner + g % e->inner;
}

#endif
