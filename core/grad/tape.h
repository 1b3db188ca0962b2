/* tape.h: what generated code and operations see of the record of operations. */
#ifndef MLUA_TAPE_H
#define MLUA_TAPE_H

#include "mlua_grad.h"
#include "tensor/tensor.h"

enum { ML_MAX_SAVED = 4, ML_MAX_SCALAR = 16 };

enum { ML__HOOKS = 64 }; /* numbers from one node to the next: hooks have those between */

struct ml_node;
/* g: the output's gradient, owned by the caller. gin: one per input, NULL or a reference each. */
typedef ml_err (*ml_backward_fn)(struct ml_node *n, ml_tensor *g, ml_tensor **gin);

typedef struct ml_node {
  const char *name;
  ml_backward_fn backward;
  int32_t refs, n_in;
  uint64_t id, pass;
  bool spent;           /* an optimiser's step used it up */
  ml_backward_fn twice; /* the backward as recorded operations, or NULL */
  int32_t wanted;       /* its output's place, from 1, among what the backward was asked for */
  bool shape_only;      /* backward reads no values: a view, whose base may have changed since */
  struct ml_node *next; /* of lists, while freeing */
  ml_tensor *saved[ML_MAX_SAVED];
  uint32_t saved_version[ML_MAX_SAVED];
  ml_scalar scalar[ML_MAX_SCALAR];
  ml_tensor *g;      /* the running backward's gradient of the output */
  ml_tensor **in;    /* NULL where an optional argument was absent */
  ml_tensor **gin;   /* the running backward's gradients of the inputs, else NULLs */
  uint32_t *version; /* of each input's storage at the time */
} ml_node;

extern bool ml__reference_on;
uint64_t ml__next_node(void); /* the id that the next node will have */

static inline bool ml__wants(const ml_tensor *t) { return t && t->info.requires_grad; }
bool ml__any_wants(ml_tensor *const *in, int n);

/* The backward of operations whose gradient the caller of ml_backward computes (call.c). */
ml_err ml__call_out(ml_node *n, ml_tensor *g, ml_tensor **gin);
void ml__forget_call(int64_t id);

/* Puts `out` on the tape as computed from `in`. On failure nothing is recorded. */
ml_err ml__record(ml_node **node, const char *name, ml_backward_fn backward, ml_tensor *out,
                  ml_tensor *const *in, int n_in);
/* Keeps what t holds now for the backward, which refuses if it is changed in place. */
ml_err ml__save(ml_node *n, int i, ml_tensor *t);
ml_err ml__record_view(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape,
                       const int64_t *stride, int64_t offset);

/* The update to fuse into a backward that computes all of leaf w's gradient; NULL: return it. SGD
 * or Adagrad: an operation may leave alone what its gradient does not touch. */
const ml_update *ml__fused(const ml_tensor *w);
/* Applies an update by a dense gradient of the parameter's shape (core/grad/update.c). */
ml_err ml__update(ml_tensor *w, const ml_update *u, ml_tensor *g);
ml_err ml__check_update(const ml_update *u, ml_tensor **param, ml_tensor **state);
/* The kinds that update every element, momentum to Lion, checked and by a contiguous gradient
 * (core/grad/rules.c). */
ml_err ml__check_rule(const ml_update *u, const ml_tensor *param);
ml_err ml__apply_rule(ml_tensor *w, const ml_update *u, const ml_tensor *g);

ml_call *ml__noted(void); /* the call noted last, for what it owns */
/* t itself where it has the dtype, else converted, on the tape (core/op/cast.c). */
ml_err ml__cast(ml_tensor **out, ml_tensor *t, int dtype);

/*
 * ml_into (core/grad/into.c): the tensor that the next result goes into, or NULL. Its operation
 * first checks what it is computed from, then takes the memory in place of a new tensor.
 */
extern ml_tensor *ml__into;
ml_err ml__into_from(ml_tensor *const *in, int64_t n, bool element_wise);
ml_err ml__take_into(ml_tensor **out, int dtype, int ndim, const int64_t *shape);
static inline ml_err ml__result(ml_tensor **out, int dtype, int ndim, const int64_t *shape) {
  return __builtin_expect(ml__into != NULL, 0) ? ml__take_into(out, dtype, ndim, shape)
                                               : ml__new(out, dtype, ndim, shape);
}

/* For rules of gradients: t itself where its elements lie in row order, else a copy, on the tape
 * where t is; a number as a tensor, on g's dtype; v summed to the shape of `of`. */
ml_err ml__gapless(ml_tensor **out, ml_tensor *t);
ml_err ml__number(ml_tensor **out, double value, const ml_tensor *g);
ml_err ml__summed(ml_tensor **out, ml_tensor *v, ml_tensor *of);

/* ML_EDTYPE unless t is f32 or f64, what optimisers and clipping work on. */
ml_err ml__trainable(const ml_tensor *t, const char *verb);

/* dst += src, same shape and dtype, both contiguous. */
void ml__add_into(ml_tensor *dst, const ml_tensor *src);

/* -- messages of generated checks: "op: argument #i (name: expected …, got …)" -- */
typedef struct ml_symbol {
  const char *name;
  int64_t size; /* -1: not yet bound */
} ml_symbol;
ml_err ml__bad_shape(const char *op, int i, const char *name, const char *pattern,
                     const ml_symbol *symbols, const ml_tensor *t);
ml_err ml__bad_dtype(const char *op, int i, const char *name, uint32_t mask, const ml_tensor *t);
ml_err ml__bad_handle(const char *op, int i, const char *name);

#endif
