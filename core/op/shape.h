/* shape.h: output shapes that a card's symbols cannot say. One function per rule. */
#ifndef MLUA_OP_SHAPE_H
#define MLUA_OP_SHAPE_H

#include "tensor/tensor.h"

/* n tensors broadcast together */
ml_err ml__shape_each(int *nd, int64_t *shape, const char *op, int n, const ml_tensor *const *in);
ml_err ml__shape_like(int *nd, int64_t *shape, const ml_tensor *a);
ml_err ml__shape_affine(int *nd, int64_t *shape, const ml_tensor *x, double scale, double shift);
/* a single element, or p's where the reduction is 2 (none); q: of p's last axes */
ml_err ml__shape_loss(int *nd, int64_t *shape, const char *op, const ml_tensor *p,
                      const ml_tensor *y, const ml_tensor *w, const ml_tensor *q,
                      int64_t reduction);
/* in cross_entropy.c: a loss by class, p [C] or [N, C, …]; one number a position */
ml_err ml__shape_classes(int *nd, int64_t *shape, const char *op, const ml_tensor *p,
                         const ml_tensor *y, const ml_tensor *w, int64_t reduction);
ml_err ml__shape_positions(int *nd, int64_t *shape, const ml_tensor *p);
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

ml_err ml__shape_norm(int *nd, int64_t *shape, const ml_tensor *x, double p, int64_t axis,
                      int64_t keep);
/* linear algebra (linalg.c): a of square matrices; b of as many rows; several results in a row */
ml_err ml__shape_square(int *nd, int64_t *shape, const char *op, const ml_tensor *a);
ml_err ml__shape_system(int *nd, int64_t *shape, const char *op, const ml_tensor *a,
                        const ml_tensor *b);
ml_err ml__shape_packed(int *nd, int64_t *shape, const char *op, const ml_tensor *a);
/* -- in normalise.c -- */
/* x's own, checked: parameters of its last `axes` axes (argument `at`), or by channel */
ml_err ml__shape_norm_last(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                           const ml_tensor *w, const ml_tensor *b, int64_t axes, int at);
ml_err ml__shape_group_norm(int *nd, int64_t *shape, const ml_tensor *x, int64_t groups,
                            const ml_tensor *w, const ml_tensor *b);
ml_err ml__shape_batch_norm(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                            const ml_tensor *b, const ml_tensor *mean, const ml_tensor *var);
ml_err ml__shape_batch_norm_fixed(int *nd, int64_t *shape, const ml_tensor *x,
                                  const ml_tensor *mean, const ml_tensor *var, const ml_tensor *w,
                                  const ml_tensor *b);
/* [groups, 2]: what is kept for the backward */
ml_err ml__shape_stats(int *nd, int64_t *shape, int64_t groups);
ml_err ml__shape_row_stats(int *nd, int64_t *shape, const ml_tensor *x, int64_t axes);

/* -- in attention.c -- */
ml_err ml__shape_attention(int *nd, int64_t *shape, const ml_tensor *q, const ml_tensor *k,
                           const ml_tensor *v, const ml_tensor *mask);
ml_err ml__shape_attention_rows(int *nd, int64_t *shape, const ml_tensor *q);

/* -- in recurrent.c; gates 1, 3 or 4 -- */
ml_err ml__shape_recurrent(int *nd, int64_t *shape, const char *op, const ml_tensor *z,
                           const ml_tensor *w, const ml_tensor *b, const ml_tensor *h0,
                           const ml_tensor *c0, int64_t gates);
ml_err ml__shape_recurrent_kept(int *nd, int64_t *shape, const ml_tensor *z);
ml_err ml__shape_gru_kept(int *nd, int64_t *shape, const ml_tensor *z);

/* An int for each of three axes, of which those that x has count. */
#define ML_INT3(name) int64_t name##_1, int64_t name##_2, int64_t name##_3
#define ML_PASS3(name) name##_1, name##_2, name##_3
#define ML_CONV_NUMBERS \
  ML_INT3(stride), ML_INT3(dilation), ML_INT3(before), ML_INT3(after), int64_t groups
ml_err ml__shape_conv(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                      const ml_tensor *b, ML_CONV_NUMBERS);
ml_err ml__shape_conv_transpose(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                                const ml_tensor *b, ML_CONV_NUMBERS);
#define ML_POOL_NUMBERS \
  ML_INT3(kernel), ML_INT3(stride), ML_INT3(dilation), ML_INT3(before), ML_INT3(after), int64_t ceil
#define ML_AVERAGE_NUMBERS \
  ML_INT3(kernel), ML_INT3(stride), ML_INT3(before), ML_INT3(after), int64_t ceil, int64_t include
ml_err ml__shape_pool(int *nd, int64_t *shape, const char *op, const ml_tensor *x, ML_POOL_NUMBERS);
ml_err ml__shape_average(int *nd, int64_t *shape, const ml_tensor *x, ML_AVERAGE_NUMBERS);
ml_err ml__shape_adaptive(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                          ML_INT3(size));
ml_err ml__shape_resample(int *nd, int64_t *shape, const ml_tensor *x, int64_t axis, int64_t size,
                          double step);
/* The axis as 0..ndim-1. */
ml_err ml__axis(int *out, const char *op, int i, const ml_tensor *x, int64_t axis);

#endif
