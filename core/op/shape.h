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
