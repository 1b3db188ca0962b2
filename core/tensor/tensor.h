/* tensor.h: what operations see of a tensor. Not thread-safe but for the elements themselves. */
#ifndef MLUA_TENSOR_H
#define MLUA_TENSOR_H

#include "base.h"

typedef struct ml_storage {
  void *data;
  int64_t bytes;
  int32_t refs;
  uint32_t version;        /* counts writes in place, so that backward can refuse changed inputs */
  void (*release)(void *); /* NULL: the allocator's */
  void *arg;
  uint64_t pass;                /* the backward that the next two belong to */
  const struct ml_tensor *user; /* the one through which its operations see it */
  bool shared;                  /* seen through several */
} ml_storage;

struct ml_node;
struct ml_update;

typedef struct ml_tensor {
  ml_info info; /* first: ml_tensor_info casts */
  ml_storage *storage;
  int32_t refs;         /* the handle, nodes and C callers count one each */
  uint32_t slot;        /* its handle's, or 0 */
  struct ml_node *node; /* what computed it, if that is on the tape */
  int32_t node_output;
  int32_t uses;                   /* by nodes of the running backward */
  uint64_t pass;                  /* the backward that `uses` belongs to */
  struct ml_tensor *grad;         /* of a leaf */
  const struct ml_update *update; /* set while a fused optimiser step runs */
} ml_tensor;

enum {
  ML_BIT_F64 = 1 << ML_F64,
  ML_BIT_F32 = 1 << ML_F32,
  ML_BIT_BF16 = 1 << ML_BF16,
  ML_BIT_F16 = 1 << ML_F16,
  ML_BIT_I64 = 1 << ML_I64,
  ML_BIT_I32 = 1 << ML_I32,
  ML_BIT_U8 = 1 << ML_U8,
  ML_BIT_BOOL = 1 << ML_BOOL,
};

/* -- memory: blocks of 64-byte alignment, cached by size class -- */
ml_err ml__alloc(void **out, int64_t bytes);
void ml__release(void *data, int64_t bytes);
extern int64_t ml__deny_at; /* see ml_memory_fail_at */
static inline bool ml__denied(void) { return ml__deny_at > 0 && --ml__deny_at == 0; }

/* -- tensors by pointer; each out owns one reference -- */
ml_err ml__new(ml_tensor **out, int dtype, int ndim, const int64_t *shape);
ml_err ml__new_view(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape,
                    const int64_t *stride, int64_t offset);
ml_err ml__alias(ml_tensor **out, ml_tensor *t);      /* same elements, off the tape */
ml_err ml__contiguous(ml_tensor **out, ml_tensor *t); /* t itself where it already is */
ml_err ml__reshape(ml_tensor **out, ml_tensor *t, int ndim,
                   const int64_t *shape); /* contiguous t */
/* Whether such a view stays within t's storage: ML_ESHAPE. An empty one may start anywhere. */
ml_err ml__check_view(const ml_tensor *t, int ndim, const int64_t *shape, const int64_t *stride,
                      int64_t offset);
ml_err ml__copy(ml_tensor *dst, const ml_tensor *src);
void ml__fill(ml_tensor *t, double value);
/* ML_ESTATE if it is computed and on the tape, or broadcast. */
ml_err ml__writable(const ml_tensor *t, const char *verb);
static inline ml_tensor *ml__ref(ml_tensor *t) {
  if (t) t->refs++;
  return t;
}
void ml__unref(ml_tensor *t); /* NULL is fine */
static inline void ml__touch(ml_tensor *t) { t->storage->version++; }

/* -- what core/grad provides -- */
extern bool ml__grad_on;
void ml__node_unref(struct ml_node *n);

/* -- handles -- */
ml_err ml__get(ml_tensor **out, const ml_ref *ref); /* borrowed; ML_EHANDLE, ML_EINTERRUPT */
extern bool ml__interrupted; /* whether the last ml__get that failed did so for an interrupt */
ml_err ml__handle(ml_ref *out, ml_tensor *t); /* takes the reference over */

/* -- shapes -- */
#define ML_SHAPE_TEXT 192 /* 8 sizes of 20 characters, with ", " and brackets */
const char *ml__shape_text(char text[ML_SHAPE_TEXT], int ndim, const int64_t *shape);
ml_err ml__broadcast(int *ndim, int64_t *shape, const ml_tensor *a, const ml_tensor *b);
ml_err ml__check_shape(int dtype, int ndim, const int64_t *shape);
int64_t ml__count(int ndim, const int64_t *shape); /* -1 on overflow or a negative size */

/* What tensors of these dtypes (bits) compute in, where the operation takes `takes`, and what the
   result is stored in; compute -1: there is none. */
typedef struct ml_promotion {
  int compute, result;
} ml_promotion;
ml_promotion ml__promote(uint32_t bits, uint32_t takes, bool whole_to_float);

static inline bool ml__is_float(int dtype) { return dtype <= ML_F16; }

/* One element as double, for references and conversions. */
double ml__load(const void *data, int dtype, int64_t i);
void ml__store(void *data, int dtype, int64_t i, double value);

/* Steps through the elements of up to 4 tensors broadcast to one shape. */
typedef struct ml_walk {
  int ndim, n;
  int64_t shape[ML_MAX_DIM], stride[4][ML_MAX_DIM], index[ML_MAX_DIM], offset[4];
} ml_walk;
void ml__walk(ml_walk *w, int ndim, const int64_t *shape, int n, const ml_tensor *const *t);
bool ml__walk_next(ml_walk *w);

#define ml_f32(t) ((float *)(t)->info.data)
#define ml_f64(t) ((double *)(t)->info.data)

#endif
