/*
 * onednn.h: oneDNN's functions, from a library that is opened when the first of them is needed.
 *
 * Opening it (40 MB, with libraries of its own) takes 2 to 3 ms, more than all the rest of libmlua;
 * much of what people run never needs it.
 */
#ifndef MLUA_BASE_ONEDNN_H
#define MLUA_BASE_ONEDNN_H

#include <dnnl.h>

#include "base.h"

/* clang-format off */
#define ML_ONEDNN(X)                                                                             \
  X(dilated_convolution_backward_data_desc_init)                                                 \
  X(dilated_convolution_backward_weights_desc_init) X(dilated_convolution_forward_desc_init)     \
  X(engine_create) X(matmul_desc_init) X(memory_create) X(memory_desc_equal)                     \
  X(memory_desc_get_size) X(memory_desc_init_by_strides) X(memory_desc_init_by_tag)              \
  X(memory_destroy) X(post_ops_append_eltwise) X(post_ops_create) X(post_ops_destroy)            \
  X(primitive_attr_create) X(primitive_attr_destroy) X(primitive_attr_set_post_ops)              \
  X(primitive_attr_set_scratchpad_mode) X(primitive_create) X(primitive_desc_create)             \
  X(primitive_desc_destroy) X(primitive_desc_query_md) X(primitive_destroy)                      \
  X(primitive_execute) X(reorder_primitive_desc_create) X(sgemm) X(stream_create) X(version)
/* clang-format on */

typedef struct ml_onednn {
#define ML_ONEDNN_FIELD(name) __typeof__(dnnl_##name) *name;
  ML_ONEDNN(ML_ONEDNN_FIELD)
#undef ML_ONEDNN_FIELD
  dnnl_engine_t engine; /* the CPU, and its stream */
  dnnl_stream_t stream;
} ml_onednn;

extern ml_onednn ml__dnnl; /* filled in by ml__open_onednn */
static const ml_onednn *const dnnl = &ml__dnnl;

/* Opens it, once, whichever thread comes first. ML_OK, or ML_ESTATE where it is not there. */
ml_err ml__open_onednn(void);

/*
 * oneDNN would start threads of its own (OpenMP's) and cut sums by their number: between these two
 * calls it has one, the caller. The setting belongs to the calling thread; it costs nanoseconds.
 */
int ml__onednn_alone(void);
void ml__onednn_done(int threads);

#endif
