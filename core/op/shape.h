/* shape.h: output shapes that a card's symbols cannot say. One function per rule. */
#ifndef MLUA_OP_SHAPE_H
#define MLUA_OP_SHAPE_H

#include "tensor/tensor.h"

/* n tensors broadcast together */
ml_err ml__shape_each(int *nd, int64_t *shape, const char *op, int n, const ml_tensor *const *in);
ml_err ml__shape_like(int *nd, int64_t *shape, const ml_tensor *a);
ml_err ml__shape_affine(int *nd, int64_t *shape, const ml_tensor *x, double scale, double shift);
ml_err ml__shape_loss(int *nd, int64_t *shape, const char *op, const ml_tensor *p,
                      const ml_tensor *y, const ml_tensor *w);
/* axis: from 1, negative from the end, 0 all; kept as size 1 where keep; of `least` elements */
ml_err ml__shape_reduce(int *nd, int64_t *shape, const char *op, const ml_tensor *x, int64_t axis,
                        int64_t keep, int64_t least);
/* x's own, for what goes along an axis */
ml_err ml__shape_along(int *nd, int64_t *shape, const char *op, const ml_tensor *x, int64_t axis);
ml_err ml__shape_matmul(int *nd, int64_t *shape, const ml_tensor *a, const ml_tensor *b, int64_t ta,
                        int64_t tb);
ml_err ml__shape_cat(int *nd, int64_t *shape, ml_tensor *const *xs, int64_t n, int64_t axis);
ml_err ml__shape_bags(int *nd, int64_t *shape, ml_tensor *const *tables, int64_t n,
                      const ml_tensor *indices, const ml_tensor *offsets, const ml_tensor *weights);
ml_err ml__shape_select(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *indices,
                        int64_t axis);
/* that of indices, whose sizes are at most x's but along the axis; with src, as large as indices,
   that of x */
ml_err ml__shape_gather(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                        const ml_tensor *indices, const ml_tensor *src, int64_t axis);
ml_err ml__shape_interaction(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *e,
                             int64_t itself);
/* -- in arrange.c -- */
ml_err ml__shape_pad(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *pads,
                     int64_t mode);
ml_err ml__shape_flip(int *nd, int64_t *shape, const ml_tensor *x, int64_t axes);
/* x's own, of at least two axes */
ml_err ml__shape_matrices(int *nd, int64_t *shape, const char *op, const ml_tensor *x);
/* -- in sort.c -- */
ml_err ml__shape_topk(int *nd, int64_t *shape, const ml_tensor *x, int64_t k, int64_t axis);
/* -- in count.c -- */
ml_err ml__shape_one_hot(int *nd, int64_t *shape, const ml_tensor *ids, int64_t classes);
ml_err ml__shape_bincount(int *nd, int64_t *shape, int64_t bins);
ml_err ml__shape_histogram(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *edges,
                           const ml_tensor *weights);
/* values' own; edges of one axis, or values' but for the last */
ml_err ml__shape_search(int *nd, int64_t *shape, const ml_tensor *edges, const ml_tensor *values);
/* -- in draw.c -- */
ml_err ml__shape_multinomial(int *nd, int64_t *shape, const ml_tensor *weights, int64_t n);

/* The axis as 0..ndim-1. */
ml_err ml__axis(int *out, const char *op, int i, const ml_tensor *x, int64_t axis);

#endif
