/* tensor: creation, views, and the public functions on handles. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

static const struct {
  const char *name;
  int size;
} dtypes[ML_DTYPES] = {
    [ML_F64] = {"f64", 8}, [ML_F32] = {"f32", 4}, [ML_BF16] = {"bf16", 2}, [ML_F16] = {"f16", 2},
    [ML_I64] = {"i64", 8}, [ML_I32] = {"i32", 4}, [ML_U8] = {"u8", 1},     [ML_BOOL] = {"bool", 1},
};

int64_t ml_dtype_size(int dtype) {
  return dtype >= 0 && dtype < ML_DTYPES ? dtypes[dtype].size : 0;
}
const char *ml_dtype_name(int dtype) {
  return dtype >= 0 && dtype < ML_DTYPES ? dtypes[dtype].name : "?";
}

/*
 * -- blocks --
 *
 * A tensor, its storage and up to 64 bytes of elements are one block, recycled: a step makes and
 * frees the same few hundred. A block goes when neither its tensor nor a view of its elements is
 * left.
 */

static ml_tensor *spare;

/* A tensor with one reference and all zero but for shape and strides. */
static ml_tensor *take(void) {
  ml_tensor *t = spare;
  if (ml__denied()) return NULL;
  if (t) spare = (ml_tensor *)t->storage;
  else t = aligned_alloc(64, sizeof *t);
  if (!t) return NULL;
  enum { FROM = offsetof(ml_info, count) };
  memset((char *)t + FROM, 0, offsetof(ml_tensor, own) - FROM);
  t->refs = 1;
  ml__used(0, sizeof *t);
  return t;
}

static inline void give(ml_tensor *t) {
  t->storage = (ml_storage *)spare;
  spare = t;
  ml__used(0, -(int64_t)sizeof *t);
}

static void drop_storage(ml_storage *s) {
  if (--s->refs > 0) return;
  if (s->release) s->release(s->arg);
  else if (s->data == s->home->room) ml__used(-(int64_t)sizeof s->home->room, 0);
  else ml__release(s->data, s->bytes);
  if (s->home->refs == 0) give(s->home);
}

void ml__unref(ml_tensor *t) {
  if (!t || --t->refs > 0) return;
  if (t->grad) ml__unref(t->grad);
  if (t->node) ml__node_unref(t->node);
  ml_storage *s = t->storage;
  if (s == &t->own) drop_storage(s); /* which gives t back, unless a view is left */
  else {
    if (s) drop_storage(s);
    give(t);
  }
}

static void set_layout(ml_tensor *t, int dtype, int ndim, const int64_t *shape, int64_t count) {
  t->info.dtype = dtype;
  t->info.ndim = ndim;
  t->info.contiguous = true;
  t->info.leaf = true;
  int64_t n = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    t->info.shape[i] = shape[i];
    t->info.stride[i] = n;
    n *= shape[i] > 0 ? shape[i] : 1;
  }
  t->info.count = count;
}

ml_err ml__check_shape(int dtype, int ndim, const int64_t *shape) {
  if (dtype < 0 || dtype >= ML_DTYPES) return ml_fail(ML_EDTYPE, "no dtype number %d", dtype);
  if (ndim < 0 || ndim > ML_MAX_DIM)
    return ml_fail(ML_ESHAPE, "%d axes: expected 0 to %d", ndim, ML_MAX_DIM);
  int64_t n = ml__count(ndim, shape), bytes = 0;
  if (n < 0 || __builtin_mul_overflow(n, ml_dtype_size(dtype), &bytes)) {
    char s[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "no tensor of shape %s", ml__shape_text(s, ndim, shape));
  }
  return ML_OK;
}

/* A tensor over `data`, or over fresh memory where release is NULL. */
static ml_err make(ml_tensor **out, void *data, int dtype, int ndim, const int64_t *shape,
                   void (*release)(void *), void *arg) {
  int64_t count = (unsigned)ndim <= ML_MAX_DIM ? ml__count(ndim, shape) : -1;
  *out = NULL;
  if (count < 0 || count >> 50) ML_TRY(ml__check_shape(dtype, ndim, shape));
  if ((unsigned)dtype >= ML_DTYPES) return ml__check_shape(dtype, ndim, shape);
  ml_tensor *t = take();
  if (!t) return ml_fail(ML_ENOMEM, "out of memory: a tensor's header");
  int64_t bytes = count * dtypes[dtype].size;
  if (release) {
  } else if (bytes <= (int64_t)sizeof t->room) {
    data = t->room;
    ml__used(sizeof t->room, 0);
  } else {
    ml_err e = ml__alloc(&data, bytes);
    if (e < 0) {
      ml__unref(t);
      return e;
    }
  }
  t->own = (ml_storage){
      .data = data, .bytes = bytes, .refs = 1, .release = release, .arg = arg, .home = t};
  t->storage = &t->own;
  set_layout(t, dtype, ndim, shape, count);
  t->info.data = data;
  *out = t;
  return ML_OK;
}

ml_err ml__new(ml_tensor **out, int dtype, int ndim, const int64_t *shape) {
  return make(out, NULL, dtype, ndim, shape, NULL, NULL);
}

static bool is_contiguous(const ml_info *i) {
  int64_t n = 1;
  for (int d = i->ndim - 1; d >= 0; d--) {
    if (i->shape[d] == 0) return true;
    if (i->shape[d] != 1 && i->stride[d] != n) return false;
    n *= i->shape[d];
  }
  return true;
}

ml_err ml__check_view(const ml_tensor *t, int ndim, const int64_t *shape, const int64_t *stride,
                      int64_t offset) {
  ML_TRY(ml__check_shape(t->info.dtype, ndim, shape));
  if (ml__count(ndim, shape) == 0) return ML_OK;
  int64_t size = ml_dtype_size(t->info.dtype);
  int64_t base = ((char *)t->info.data - (char *)t->storage->data) / size;
  if (__builtin_add_overflow(base, offset, &base))
    return ml_fail(ML_ESHAPE, "view: offset overflows");
  int64_t lo = base, hi = base;
  for (int d = 0; d < ndim; d++) {
    int64_t reach;
    if (__builtin_mul_overflow(shape[d] - 1, stride[d], &reach) ||
        __builtin_add_overflow(reach < 0 ? lo : hi, reach, reach < 0 ? &lo : &hi))
      return ml_fail(ML_ESHAPE, "view: strides overflow");
  }
  if (lo < 0 || hi >= t->storage->bytes / size)
    return ml_fail(ML_ESHAPE, "view: elements %lld to %lld of a tensor of %lld", (long long)lo,
                   (long long)hi, (long long)(t->storage->bytes / size));
  return ML_OK;
}

/* The caller has checked that every element lies inside t's storage. */
ml_err ml__new_view(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape,
                    const int64_t *stride, int64_t offset) {
  *out = NULL;
  if (ml__recording) ml__pin(t);
  ml_tensor *v = take();
  if (!v) return ml_fail(ML_ENOMEM, "out of memory: a view's header");
  set_layout(v, t->info.dtype, ndim, shape, ml__count(ndim, shape));
  if (stride)
    for (int d = 0; d < ndim; d++) v->info.stride[d] = stride[d];
  v->info.contiguous = is_contiguous(&v->info);
  v->info.device = t->info.device;
  v->info.data = (char *)t->info.data + offset * ml_dtype_size(t->info.dtype);
  v->storage = t->storage;
  v->storage->refs++;
  *out = v;
  return ML_OK;
}

ml_err ml__alias(ml_tensor **out, ml_tensor *t) {
  return ml__new_view(out, t, t->info.ndim, t->info.shape, t->info.stride, 0);
}

ml_err ml__reshape(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape) {
  return ml__new_view(out, t, ndim, shape, NULL, 0);
}

ml_err ml__new_like(ml_tensor **out, const ml_tensor *t) {
  return ml__new(out, t->info.dtype, t->info.ndim, t->info.shape);
}

ml_err ml__zeros_like(ml_tensor **out, const ml_tensor *t) {
  ML_TRY(ml__new_like(out, t));
  ml__fill(*out, 0);
  return ML_OK;
}

ml_err ml__copy_of(ml_tensor **out, const ml_tensor *t) {
  ML_TRY(ml__new_like(out, t));
  ml_err e = ml__copy(*out, t);
  if (e == ML_OK) return ML_OK;
  ml__unref(*out);
  *out = NULL;
  return e;
}

ml_err ml__contiguous(ml_tensor **out, ml_tensor *t) {
  if (t->info.contiguous) {
    *out = ml__ref(t);
    return ML_OK;
  }
  ML_TRY(ml__new_like(out, t));
  ml_err e = ml__note_write("copy", ml__copy_again, *out, t, NULL, 0);
  if (e == ML_OK) e = ml__copy(*out, t);
  if (e < 0) {
    ml__unref(*out);
    *out = NULL;
  }
  return e;
}

/* -- by handle -- */

ml_err ml_tensor_new(ml_ref *out, int dtype, int ndim, const int64_t *shape) {
  ml_tensor *t;
  ML_TRY(ml__new(&t, dtype, ndim, shape));
  return ml__handle(out, t);
}

static void owned_elsewhere(void *arg) { (void)arg; }

ml_err ml_tensor_wrap(ml_ref *out, void *data, int dtype, int ndim, const int64_t *shape) {
  return ml_tensor_adopt(out, data, dtype, ndim, shape, owned_elsewhere, NULL);
}

ml_err ml_tensor_adopt(ml_ref *out, void *data, int dtype, int ndim, const int64_t *shape,
                       void (*release)(void *), void *arg) {
  static int64_t nothing; /* an empty tensor has an address, too */
  if (!release) return ml_fail(ML_EARG, "adopt: no release function");
  if (!data && ndim >= 0 && ndim <= ML_MAX_DIM && ml__count(ndim, shape) > 0)
    return ml_fail(ML_EARG, "adopt: no data");
  ml_tensor *t;
  ML_TRY(make(&t, data ? data : &nothing, dtype, ndim, shape, owned_elsewhere, arg));
  ml_storage *s = t->storage;
  ML_TRY(ml__handle(out, t));
  s->release = release; /* only now: a failure leaves the data with the caller */
  return ML_OK;
}
