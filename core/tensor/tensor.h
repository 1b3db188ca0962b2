/* tensor.h: what operations see of a tensor. Not thread-safe but for the elements themselves. */
#ifndef MLUA_TENSOR_H
#define MLUA_TENSOR_H

#include <stdatomic.h>
#include <string.h>

#include "base.h"

struct ml_tensor;

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
  struct ml_tensor *home;       /* the tensor whose block this struct is in */
} ml_storage;

struct ml_node;
struct ml_update;

typedef struct ml_tensor {
  ml_info info; /* first: ml_tensor_info casts */
  ml_storage *storage;
  int32_t refs;                   /* the handle, nodes and C callers count one each */
  uint32_t slot;                  /* its handle's, or 0 */
  struct ml_node *node;           /* what computed it, if that is on the tape */
  int32_t uses;                   /* by nodes of the running backward */
  int32_t wanted;                 /* a leaf's place, from 1, among those a backward was asked for */
  uint64_t pass;                  /* the backward that `uses` belongs to */
  struct ml_tensor *grad;         /* of a leaf */
  const struct ml_update *update; /* set while a fused optimiser step runs */
  ml_storage own;                 /* what a tensor that is no view has for storage */
  _Alignas(64) char room[64];     /* and its elements, where they are few */
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
/* Counts elements and records that came, or went. */
void ml__used(int64_t live, int64_t record);
extern int64_t ml__deny_at; /* see ml_memory_fail_at */
static inline bool ml__denied(void) { return ml__deny_at > 0 && --ml__deny_at == 0; }

/* -- tensors by pointer; each out owns one reference -- */
ml_err ml__new(ml_tensor **out, int dtype, int ndim, const int64_t *shape);
ml_err ml__new_view(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape,
                    const int64_t *stride, int64_t offset);
/* Gapless tensors of t's dtype and shape: of any content, of zeros, of t's elements. */
ml_err ml__new_like(ml_tensor **out, const ml_tensor *t);
ml_err ml__zeros_like(ml_tensor **out, const ml_tensor *t);
ml_err ml__copy_of(ml_tensor **out, const ml_tensor *t);
ml_err ml__alias(ml_tensor **out, ml_tensor *t);      /* same elements, off the tape */
ml_err ml__contiguous(ml_tensor **out, ml_tensor *t); /* t itself where it already is */
ml_err ml__reshape(ml_tensor **out, ml_tensor *t, int ndim,
                   const int64_t *shape); /* contiguous t */
/* Whether such a view stays within t's storage: ML_ESHAPE. An empty one may start anywhere. */
ml_err ml__check_view(const ml_tensor *t, int ndim, const int64_t *shape, const int64_t *stride,
                      int64_t offset);
ml_err ml__copy(ml_tensor *dst, const ml_tensor *src);
struct ml_call;
ml_err ml__copy_again(const struct ml_call *c);
ml_err ml__fill_again(const struct ml_call *c);
void ml__fill(ml_tensor *t, double value);
/* ML_ESTATE if it is computed and on the tape, or broadcast. */
ml_err ml__writable(const ml_tensor *t, const char *verb);
static inline ml_tensor *ml__ref(ml_tensor *t) {
  if (t) t->refs++;
  return t;
}
void ml__unref(ml_tensor *t); /* NULL is fine */
static inline void ml__touch(ml_tensor *t) { t->storage->version++; }
static inline bool ml__same_shape(const ml_tensor *a, const ml_tensor *b) {
  return a->info.ndim == b->info.ndim &&
         memcmp(a->info.shape, b->info.shape, sizeof(int64_t) * (size_t)a->info.ndim) == 0;
}

/* -- what core/grad provides -- */
extern bool ml__grad_on;
void ml__node_unref(struct ml_node *n);

/* -- what core/grad/capture.c provides: calls that a captured step repeats -- */
typedef union ml_scalar {
  int64_t i;
  double d;
  int64_t *list; /* owned by the node; its length in the next scalar */
  const void *p;
} ml_scalar;

typedef struct ml_call {
  const char *name;                       /* of the operation */
  ml_err (*run)(const struct ml_call *c); /* writes into out's elements again */
  ml_tensor *out;
  ml_tensor **in; /* NULL where an optional argument was absent */
  int64_t n_list; /* the first of `in` are a list of that many */
  ml_scalar *scalar;
  void *own; /* of this call, or NULL */
  void (*drop)(void *own);
  int64_t n_in;
} ml_call;

extern struct ml_program *ml__recording; /* NULL: no step is being captured */
extern int ml__recording_depth;          /* of the scope that the step runs in */
/* Notes a call that has been made. `loose`: an operand whose count may differ the next time. */
ml_err ml__note(const char *name, ml_err (*run)(const ml_call *), ml_tensor *out,
                ml_tensor *const *list, int64_t n_list, ml_tensor *const *in, int64_t n_in,
                const ml_scalar *scalar, int n, const ml_tensor *loose);
void ml__pin(const ml_tensor *t);          /* an input is seen by what depends on its shape */
ml_err ml__note_state(const ml_tensor *t); /* an operand that the call writes into, too */
ml_err ml__no_capture(const char *what);   /* ML_ESTATE while a step is being captured */
/* For calls that write into t by scalars, or by src (or NULL), too. */
static inline ml_err ml__note_write(const char *name, ml_err (*run)(const ml_call *), ml_tensor *t,
                                    ml_tensor *src, const ml_scalar *scalar, int n) {
  return ml__recording ? ml__note(name, run, t, NULL, 0, &src, 1, scalar, n, NULL) : ML_OK;
}

/* -- handles -- */
typedef struct ml_slot {
  ml_tensor *tensor; /* NULL: free */
  uint32_t gen, next_free;
  int32_t scope; /* the depth that will free it, 0: none */
} ml_slot;
extern ml_slot *ml__slots; /* slot 0 is never used */
extern uint32_t ml__slots_n;
/*
 * What operations take for ml__slots_n. An interrupt makes it 0, so that the next operation finds
 * no tensor and only then, off the hot path, asks why.
 */
extern _Atomic uint32_t ml__slots_limit;
extern bool ml__interrupted; /* whether the last ml__get that failed did so for an interrupt */

static inline ml_slot *ml__slot_below(const ml_ref *ref, uint32_t limit) {
  if (!ref || ref->slot == 0 || ref->slot >= limit) return NULL;
  ml_slot *s = &ml__slots[ref->slot];
  return s->gen == ref->gen && s->tensor ? s : NULL;
}
/* NULL: no longer there. Interrupts are left for others. */
static inline ml_slot *ml__slot(const ml_ref *ref) { return ml__slot_below(ref, ml__slots_n); }
static inline ml_tensor *ml__peek(const ml_ref *ref) {
  ml_slot *s = ml__slot(ref);
  return s ? s->tensor : NULL;
}

ml_err ml__missing(void);
/* Borrowed; ML_EHANDLE, ML_EINTERRUPT. */
static inline ml_err ml__get(ml_tensor **out, const ml_ref *ref) {
  ml_slot *s = ml__slot_below(ref, atomic_load_explicit(&ml__slots_limit, memory_order_relaxed));
  *out = s ? s->tensor : NULL;
  return s ? ML_OK : ml__missing();
}
ml_err ml__handle(ml_ref *out, ml_tensor *t); /* takes the reference over */
/* Lets the handle stand for another tensor; the reference of the one before goes to the caller. */
ml_tensor *ml__exchange(const ml_ref *ref, ml_tensor *t);
int ml__scope_of(const ml_tensor *t, ml_ref *ref); /* of its handle; -1: it has none */

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

/* Mixed precision (promote.c): the 16-bit dtype, or -1. Whether tensors of these dtypes are lowered
   to it, or raised to f32, first. */
extern int ml__mixed;
bool ml__mixed_low(uint32_t bits);
bool ml__mixed_wide(uint32_t bits);

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
