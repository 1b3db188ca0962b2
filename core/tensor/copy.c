/* copy: filling, converting, single elements. */
#include <math.h>
#include <string.h>

#include "base/profile.h"
#include "half.h"
#include "tensor/tensor.h"

double ml__load(const void *data, int dtype, int64_t i) {
  switch (dtype) {
    case ML_F64: return ((const double *)data)[i];
    case ML_F32: return (double)((const float *)data)[i];
    case ML_BF16: return (double)ml_bf16_to_f32(((const uint16_t *)data)[i]);
    case ML_F16: return (double)ml_f16_to_f32(((const uint16_t *)data)[i]);
    case ML_I64: return (double)((const int64_t *)data)[i];
    case ML_I32: return (double)((const int32_t *)data)[i];
    default: return (double)((const uint8_t *)data)[i];
  }
}

/* Doubles outside the target's range go to its nearest end, NaN to 0: a cast would be undefined. */
static int64_t to_int(double v, double lo, double hi) {
  if (v != v) return 0;
  if (v <= lo) return (int64_t)lo;
  return v >= hi ? (hi >= 0x1p63 ? INT64_MAX : (int64_t)hi) : (int64_t)v;
}

void ml__store(void *data, int dtype, int64_t i, double v) {
  switch (dtype) {
    case ML_F64: ((double *)data)[i] = v; break;
    case ML_F32: ((float *)data)[i] = (float)v; break;
    case ML_BF16: ((uint16_t *)data)[i] = ml_f64_to_bf16(v); break;
    case ML_F16: ((uint16_t *)data)[i] = ml_f64_to_f16(v); break;
    case ML_I64: ((int64_t *)data)[i] = to_int(v, -0x1p63, 0x1p63); break;
    case ML_I32: ((int32_t *)data)[i] = (int32_t)to_int(v, INT32_MIN, INT32_MAX); break;
    case ML_BOOL: ((uint8_t *)data)[i] = v != 0; break;
    default: ((uint8_t *)data)[i] = (uint8_t)to_int(v, 0, 255);
  }
}

void ml__fill(ml_tensor *t, double value) {
  ml__touch(t);
  if (t->info.count == 0) return;
  if (t->info.contiguous) { /* one element, and then copies of what is there */
    char *data = t->info.data;
    size_t have = (size_t)ml_dtype_size(t->info.dtype), total = (size_t)t->info.count * have;
    if (value == 0 && !signbit(value)) have = total, memset(data, 0, total);
    else ml__store(data, t->info.dtype, 0, value);
    for (size_t n; have < total; have += n) {
      n = ML_MIN(ML_MIN(have, total - have), (size_t)1 << 15);
      memcpy(data + have, data, n);
    }
    return;
  }
  ml_walk w;
  const ml_tensor *ts[] = {t};
  ml__walk(&w, t->info.ndim, t->info.shape, 1, ts);
  do {
    ml__store(t->info.data, t->info.dtype, w.offset[0], value);
  } while (ml__walk_next(&w));
}

double ml_dtype_round(int dtype, double v) {
  switch (dtype) {
    case ML_F32: return (double)(float)v;
    case ML_BF16: return (double)ml_bf16_to_f32(ml_f64_to_bf16(v));
    case ML_F16: return (double)ml_f16_to_f32(ml_f64_to_f16(v));
    case ML_I64: return (double)to_int(v, -0x1p63, 0x1p63);
    case ML_I32: return (double)to_int(v, INT32_MIN, INT32_MAX);
    case ML_U8: return (double)to_int(v, 0, 255);
    case ML_BOOL: return v != 0;
    default: return v;
  }
}

/* -- conversions of rows without gaps, between floating-point formats -- */

#define CONVERT(name, from, to, expression)                                         \
  ML_CLONES static void name(void *restrict y, const void *restrict x, int64_t n) { \
    const from *in = x;                                                             \
    to *out = y;                                                                    \
    for (int64_t i = 0; i < n; i++) out[i] = expression;                            \
  }
CONVERT(bf16_to_f32, uint16_t, float, ml_bf16_to_f32(in[i]))
CONVERT(f16_to_f32, uint16_t, float, ml_f16_to_f32(in[i]))
CONVERT(f32_to_bf16, float, uint16_t, ml_f32_to_bf16(in[i]))
CONVERT(f32_to_f16, float, uint16_t, ml_f32_to_f16(in[i]))
CONVERT(f32_to_f64, float, double, (double)in[i])
CONVERT(f64_to_f32, double, float, (float)in[i])

static void (*const convert[ML_F16 + 1][ML_F16 + 1])(void *, const void *, int64_t) = {
    [ML_BF16][ML_F32] = bf16_to_f32, [ML_F16][ML_F32] = f16_to_f32, [ML_F32][ML_BF16] = f32_to_bf16,
    [ML_F32][ML_F16] = f32_to_f16,   [ML_F32][ML_F64] = f32_to_f64, [ML_F64][ML_F32] = f64_to_f32,
};

typedef struct convert_job {
  void (*f)(void *, const void *, int64_t);
  char *to;
  const char *from;
  int64_t to_size, from_size;
} convert_job;

static void convert_part(void *ctx, int64_t begin, int64_t end) {
  convert_job *j = ctx;
  j->f(j->to + begin * j->to_size, j->from + begin * j->from_size, end - begin);
}

/* Whether it did: both without gaps, of one count, and formats that have a loop. */
static bool converted(ml_tensor *dst, const ml_tensor *src) {
  int to = dst->info.dtype, from = src->info.dtype;
  if (to > ML_F16 || from > ML_F16 || !convert[from][to] || dst->info.count != src->info.count ||
      !dst->info.contiguous || !src->info.contiguous)
    return false;
  convert_job j = {convert[from][to], dst->info.data, src->info.data, ml_dtype_size(to),
                   ml_dtype_size(from)};
  ml_parallel(dst->info.count, 1 << 16, convert_part, &j);
  return true;
}

static bool same_elements(const ml_tensor *a, const ml_tensor *b) {
  size_t bytes = sizeof(int64_t) * (size_t)a->info.ndim;
  return a->info.data == b->info.data && a->info.ndim == b->info.ndim &&
         memcmp(a->info.shape, b->info.shape, bytes) == 0 &&
         memcmp(a->info.stride, b->info.stride, bytes) == 0;
}

ml_err ml__copy(ml_tensor *dst, const ml_tensor *src) {
  int ndim;
  int64_t shape[ML_MAX_DIM];
  if (ml__broadcast(&ndim, shape, dst, src) < 0 || ndim != dst->info.ndim ||
      ml__count(ndim, shape) != dst->info.count) {
    char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "copy: expected %s, got %s",
                   ml__shape_text(a, dst->info.ndim, dst->info.shape),
                   ml__shape_text(b, src->info.ndim, src->info.shape));
  }
  if (src->storage == dst->storage && !same_elements(dst, src)) { /* they may overlap */
    ml_tensor *own;
    ML_TRY(ml__copy_of(&own, src));
    ml_err e = ml__copy(dst, own);
    ml__unref(own);
    return e;
  }
  ml__touch(dst);
  if (dst->info.count == 0) return ML_OK;
  size_t size = (size_t)ml_dtype_size(dst->info.dtype);
  bool same = src->info.dtype == dst->info.dtype;
  if (same && src->info.contiguous && dst->info.contiguous && src->info.count == dst->info.count) {
    memmove(dst->info.data, src->info.data, (size_t)dst->info.count * size);
    return ML_OK;
  }
  if (converted(dst, src)) return ML_OK;
  ml_walk w;
  const ml_tensor *ts[] = {dst, src};
  ml__walk(&w, ndim, shape, 2, ts);
  char *to = dst->info.data;
  const char *from = src->info.data;
  bool whole = (src->info.dtype == ML_I64 || src->info.dtype == ML_I32) &&
               (dst->info.dtype == ML_I64 || dst->info.dtype == ML_I32);
  do {
    int64_t i = w.offset[0], j = w.offset[1];
    if (same) {
      memcpy(to + i * (int64_t)size, from + j * (int64_t)size, size);
    } else if (whole) { /* by way of integers: a double holds 53 bits */
      if (dst->info.dtype == ML_I64)
        ((int64_t *)dst->info.data)[i] = ((const int32_t *)src->info.data)[j];
      else
        ((int32_t *)dst->info.data)[i] =
            (int32_t)ML_MAX(INT32_MIN, ML_MIN(INT32_MAX, ((const int64_t *)src->info.data)[j]));
    } else {
      ml__store(to, dst->info.dtype, i, ml__load(from, src->info.dtype, j));
    }
  } while (ml__walk_next(&w));
  return ML_OK;
}

/*
 * A computed tensor's gradient is that of the operation that made it: writing over it would make
 * the gradient wrong without a word. Leaves may be set: operations that used one then refuse their
 * backward. Of a broadcast view several elements are one, and there may be more of them than any
 * loop could visit.
 */
ml_err ml__writable(const ml_tensor *t, const char *verb) {
  for (int d = 0; d < t->info.ndim; d++)
    if (t->info.stride[d] == 0 && t->info.shape[d] > 1)
      return ml_fail(ML_ESTATE,
                     "%s: the tensor is broadcast, several of its elements are one; clone it first",
                     verb);
  if (t->node && ml__grad_on)
    return ml_fail(ML_ESTATE,
                   "%s: the tensor is computed and on the tape; detach or clone it first", verb);
  return ML_OK;
}

ml_err ml__copy_again(const ml_call *c) { return ml__copy(c->out, c->in[0]); }

ml_err ml_tensor_copy(const ml_ref *dst, const ml_ref *src) {
  ML_SPAN(span, ML_EVENT_OPERATION, "copy");
  ml_tensor *d, *s;
  ML_TRY(ml__get(&d, dst));
  ML_TRY(ml__get(&s, src));
  ML_TRY(ml__writable(d, "copy"));
  ML_TRY(ml__note_write("copy", ml__copy_again, d, s, NULL, 0));
  return ml__copy(d, s);
}

void ml_tensor_touch(const ml_ref *ref) {
  ml_tensor *t;
  if (ml__get(&t, ref) == ML_OK) ml__touch(t);
}

ml_err ml__fill_again(const ml_call *c) {
  ml__fill(c->out, c->scalar[0].d);
  return ML_OK;
}

ml_err ml_tensor_fill(const ml_ref *ref, double value) {
  ML_SPAN(span, ML_EVENT_OPERATION, "fill");
  ml_tensor *t;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__writable(t, "fill"));
  ML_TRY(ml__note_write("fill", ml__fill_again, t, NULL, (ml_scalar[]){{.d = value}}, 1));
  ml__fill(t, value);
  return ML_OK;
}

static ml_err element(ml_tensor **t, const ml_ref *ref, int64_t offset) {
  ML_TRY(ml__get(t, ref));
  int64_t size = ml_dtype_size((*t)->info.dtype);
  int64_t at = ((char *)(*t)->info.data - (char *)(*t)->storage->data) / size;
  if (__builtin_add_overflow(at, offset, &at) || at < 0 || at >= (*t)->storage->bytes / size)
    return ml_fail(ML_ERANGE, "element %lld of a tensor of %lld", (long long)at,
                   (long long)((*t)->storage->bytes / size));
  return ML_OK;
}

/*
 * LuaJIT keeps other types in the bits of NaNs: one read as it stands in memory, from a damaged or
 * hostile file, would become a nil or a pointer.
 */
static const char NO_READING[] =
    "the step reads values (item, at, totable, printing); they would be read once only: return "
    "the tensor, and read it outside";

static double number(double v) { return v == v ? v : (double)NAN; }

ml_err ml_tensor_get(const ml_ref *ref, int64_t offset, double *out) {
  ml_tensor *t;
  ML_TRY(ml__no_capture(NO_READING));
  ML_TRY(element(&t, ref, offset));
  *out = number(ml__load(t->info.data, t->info.dtype, offset));
  return ML_OK;
}

ml_err ml_tensor_numbers(ml_ref *out, const ml_ref *ref) {
  ml_tensor *t, *y;
  ML_TRY(ml__no_capture(NO_READING));
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__new(&y, ML_F64, t->info.ndim, t->info.shape));
  ml_err e = ml__copy(y, t);
  if (e < 0) {
    ml__unref(y);
    return e;
  }
  for (int64_t i = 0; i < y->info.count; i++) ml_f64(y)[i] = number(ml_f64(y)[i]);
  return ml__handle(out, y);
}

static ml_err set_again(const ml_call *c) {
  ml__touch(c->out);
  ml__store(c->out->info.data, c->out->info.dtype, c->scalar[0].i, c->scalar[1].d);
  return ML_OK;
}

ml_err ml_tensor_set(const ml_ref *ref, int64_t offset, double value) {
  ml_tensor *t;
  ML_TRY(element(&t, ref, offset));
  ML_TRY(ml__writable(t, "put"));
  ML_TRY(ml__note_write("set", set_again, t, NULL, (ml_scalar[]){{.i = offset}, {.d = value}}, 2));
  ml__touch(t);
  ml__store(t->info.data, t->info.dtype, offset, value);
  return ML_OK;
}
