/*
 * index: elements by number, masks, and writing into parts of a tensor.
 *
 * Ids name rows of a tensor: what its last axes hold at one place of its first `axes` axes, which
 * are counted together in row order. Tensors may have any strides, nothing is copied to flatten
 * them. All ids are checked before an element moves.
 */
#include <string.h>

#include "base/profile.h"
#include "tensor/tensor.h"

static const char NO_IDS[] =
    "indexing by tensors is not repeated; use index_select, gather or "
    "scatter";

static inline int64_t id_at(const ml_tensor *ids, int64_t i) {
  return ids->info.dtype == ML_I64 ? ((const int64_t *)ids->info.data)[i]
                                   : ((const int32_t *)ids->info.data)[i];
}

static ml_err outside(int64_t id, int64_t i, int64_t n) {
  return ml_fail(ML_ERANGE, "index: id %lld at position %lld is outside 0 to %lld", (long long)id,
                 (long long)i, (long long)n - 1);
}

static ml_err check_dtype(const ml_tensor *ids) {
  if (ids->info.dtype == ML_I64 || ids->info.dtype == ML_I32) return ML_OK;
  return ml_fail(ML_EDTYPE, "index: expected ids of i64 or i32, or a bool mask, got %s",
                 ml_dtype_name(ids->info.dtype));
}

/* -- ids -- */

ml_err ml_mask_ids(ml_ref *out, const ml_ref *ref) {
  ml_tensor *m, *mask, *ids = NULL;
  ML_TRY(ml__no_capture("a mask's count depends on values; use where, or masked products"));
  ML_TRY(ml__get(&m, ref));
  if (m->info.dtype != ML_BOOL)
    return ml_fail(ML_EDTYPE, "index: expected a bool mask, got %s", ml_dtype_name(m->info.dtype));
  ML_TRY(ml__contiguous(&mask, m));
  const uint8_t *in = mask->info.data;
  int64_t n = 0, count = mask->info.count;
  for (int64_t i = 0; i < count; i++) n += in[i] != 0;
  ml_err e = ml__new(&ids, ML_I64, 1, &n);
  if (e == ML_OK) {
    int64_t *to = ids->info.data, k = 0;
    for (int64_t i = 0; k < n; i++) { /* no branch on what the mask holds */
      to[k] = i;
      k += in[i] != 0;
    }
  }
  ml__unref(mask);
  return e < 0 ? e : ml__handle(out, ids);
}

/* sum = sum * size + ids, element by element */
static ml_err join(ml_tensor *sum, const ml_tensor *ids, int64_t size) {
  ml_walk w;
  const ml_tensor *ts[] = {sum, ids};
  int64_t *to = sum->info.data;
  if (sum->info.count == 0) return ML_OK;
  ml__walk(&w, sum->info.ndim, sum->info.shape, 2, ts);
  do {
    int64_t id = id_at(ids, w.offset[1]);
    if (id < 0 || id >= size) return outside(id, w.offset[0], size);
    to[w.offset[0]] = to[w.offset[0]] * size + id;
  } while (ml__walk_next(&w));
  return ML_OK;
}

ml_err ml_join_ids(ml_ref *out, const ml_ref *refs, int n, const int64_t *sizes) {
  ML_TRY(ml__no_capture(NO_IDS));
  ml_tensor *ids[ML_MAX_DIM], shape = {.info = {.ndim = 0}}, *sum;
  if (n < 1 || n > ML_MAX_DIM) return ml_fail(ML_EARG, "index: ids along %d axes", n);
  for (int k = 0; k < n; k++) {
    ML_TRY(ml__get(&ids[k], &refs[k]));
    ML_TRY(check_dtype(ids[k]));
    ml_err e = ml__broadcast(&shape.info.ndim, shape.info.shape, &shape, ids[k]);
    if (e < 0) return ml_fail(e, "index: ids: %s", ml_error());
  }
  ML_TRY(ml__new(&sum, ML_I64, shape.info.ndim, shape.info.shape));
  ml__fill(sum, 0);
  for (int k = 0; k < n; k++) {
    ml_err e = join(sum, ids[k], sizes[k]);
    if (e < 0) {
      ml__unref(sum);
      return e;
    }
  }
  return ml__handle(out, sum);
}

/* -- rows by ids -- */

typedef struct rows {
  const ml_tensor *x;
  ml_tensor *ids; /* without gaps; owned */
  int axes, ndim; /* x's that the ids count; of all that is selected */
  int64_t shape[ML_MAX_DIM];
  ml_tensor row; /* the layout of one: x's last axes */
  int64_t bytes; /* of one */
} rows;

static ml_err rows_init(rows *r, const ml_tensor *x, int axes, ml_tensor *ids) {
  int n = ids->info.ndim, inner = x->info.ndim - axes;
  int64_t total = 1, element = ml_dtype_size(x->info.dtype);
  memset(r, 0, sizeof *r);
  ML_TRY(check_dtype(ids));
  if (axes < 1 || inner < 0 || n + inner > ML_MAX_DIM)
    return ml_fail(ML_ESHAPE, "index: ids of %d axes for %d of a tensor of %d", n, axes,
                   x->info.ndim);
  for (int d = 0; d < axes; d++) total *= x->info.shape[d];
  ML_TRY(ml__contiguous(&r->ids, ids));
  for (int64_t i = 0; i < r->ids->info.count; i++) {
    int64_t id = id_at(r->ids, i);
    if (id >= 0 && id < total) continue;
    ml__unref(r->ids);
    return outside(id, i, total);
  }
  r->x = x;
  r->axes = axes;
  r->ndim = n + inner;
  memcpy(r->shape, ids->info.shape, sizeof(int64_t) * (size_t)n);
  memcpy(r->shape + n, x->info.shape + axes, sizeof(int64_t) * (size_t)inner);
  r->row.info.ndim = inner;
  r->row.info.count = ml__count(inner, r->shape + n);
  int64_t gapless = 1;
  r->row.info.contiguous = true;
  for (int d = inner - 1; d >= 0; d--) {
    int64_t size = x->info.shape[axes + d], stride = x->info.stride[axes + d];
    r->row.info.shape[d] = size;
    r->row.info.stride[d] = stride;
    r->row.info.contiguous = r->row.info.contiguous && (size == 1 || stride == gapless);
    gapless *= size;
  }
  r->bytes = r->row.info.count * element;
  return ML_OK;
}

/* The first element of the i-th row that is asked for. */
static char *row_at(const rows *r, int64_t i) {
  const ml_info *x = &r->x->info;
  int64_t id = id_at(r->ids, i), at = 0;
  if (r->x->info.contiguous) return (char *)r->x->info.data + id * r->bytes;
  for (int d = r->axes - 1; d > 0; d--) {
    at += id % x->shape[d] * x->stride[d];
    id /= x->shape[d];
  }
  return (char *)x->data + (at + id * x->stride[0]) * ml_dtype_size(x->dtype);
}

/* Copies one row's elements between layouts. */
static inline void copy_row(char *to, const ml_tensor *to_row, const char *from,
                            const ml_tensor *from_row, int64_t size) {
  if (to_row->info.contiguous && from_row->info.contiguous) {
    int64_t bytes = to_row->info.count * size;
    if (bytes == 4) memcpy(to, from, 4); /* single elements, mostly: worth no call */
    else if (bytes == 8) memcpy(to, from, 8);
    else memcpy(to, from, (size_t)bytes);
    return;
  }
  ml_walk w;
  const ml_tensor *ts[] = {to_row, from_row};
  ml__walk(&w, to_row->info.ndim, to_row->info.shape, 2, ts);
  do {
    memcpy(to + w.offset[0] * size, from + w.offset[1] * size, (size_t)size);
  } while (ml__walk_next(&w));
}

typedef struct get_job {
  const rows *r;
  char *to;
  ml_tensor row; /* of what is made */
} get_job;

static void get_part(void *ctx, int64_t begin, int64_t end) {
  get_job *j = ctx;
  int64_t size = ml_dtype_size(j->r->x->info.dtype);
  for (int64_t i = begin; i < end; i++)
    copy_row(j->to + i * j->r->bytes, &j->row, row_at(j->r, i), &j->r->row, size);
}

ml_err ml_index_get(ml_ref *out, const ml_ref *xref, int axes, const ml_ref *ids_ref) {
  ML_SPAN(span, ML_EVENT_OPERATION, "index_get");
  ml_tensor *x, *ids, *y;
  rows r;
  ML_TRY(ml__no_capture(NO_IDS));
  ML_TRY(ml__get(&x, xref));
  ML_TRY(ml__get(&ids, ids_ref));
  ML_TRY(rows_init(&r, x, axes, ids));
  ml_err e = ml__new(&y, x->info.dtype, r.ndim, r.shape);
  if (e == ML_OK && y->info.count > 0) {
    get_job j = {&r, y->info.data, r.row};
    j.row.info.contiguous = true;
    int64_t gapless = 1;
    for (int d = j.row.info.ndim - 1; d >= 0; d--) {
      j.row.info.stride[d] = gapless;
      gapless *= j.row.info.shape[d];
    }
    ml_parallel(r.ids->info.count, ML_MAX(1, (1 << 16) / r.bytes), get_part, &j);
  }
  ml__unref(r.ids);
  return e < 0 ? e : ml__handle(out, y);
}

/* -- writing -- */

static ml_err misfit(int ndim, const int64_t *shape, const ml_tensor *src) {
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "index: a value of shape %s does not broadcast to %s",
                 ml__shape_text(a, src->info.ndim, src->info.shape),
                 ml__shape_text(b, ndim, shape));
}

/* The strides that make src, broadcast, of this shape. */
static ml_err spread(int64_t *stride, int ndim, const int64_t *shape, const ml_tensor *src) {
  int shift = ndim - src->info.ndim;
  if (shift < 0) return misfit(ndim, shape, src);
  for (int d = 0; d < ndim; d++) {
    int64_t size = d < shift ? 1 : src->info.shape[d - shift];
    if (size != 1 && size != shape[d]) return misfit(ndim, shape, src);
    stride[d] = size == 1 ? 0 : src->info.stride[d - shift];
  }
  return ML_OK;
}

/* All rows from src, whose strides are given; src has x's dtype and none of its elements. */
static void put_rows(const rows *r, const ml_tensor *src, const int64_t *stride) {
  int outer = r->ids->info.ndim;
  int64_t size = ml_dtype_size(src->info.dtype), i = 0, gapless = 1;
  ml_tensor row = r->row, all = {.info = {.ndim = outer}};
  row.info.contiguous = true;
  for (int d = row.info.ndim - 1; d >= 0; d--) {
    row.info.stride[d] = stride[outer + d];
    row.info.contiguous =
        row.info.contiguous && (row.info.shape[d] == 1 || row.info.stride[d] == gapless);
    gapless *= row.info.shape[d];
  }
  memcpy(all.info.shape, r->shape, sizeof(int64_t) * (size_t)outer);
  memcpy(all.info.stride, stride, sizeof(int64_t) * (size_t)outer);
  ml_walk w;
  const ml_tensor *ts[] = {&all};
  ml__walk(&w, outer, r->shape, 1, ts);
  do {
    copy_row(row_at(r, i++), &r->row, (const char *)src->info.data + w.offset[0] * size, &row,
             size);
  } while (ml__walk_next(&w));
}

ml_err ml_index_put(const ml_ref *xref, int axes, const ml_ref *ids_ref, const ml_ref *src_ref) {
  ML_SPAN(span, ML_EVENT_OPERATION, "index_put");
  ml_tensor *x, *ids, *given, *src = NULL;
  ML_TRY(ml__no_capture(NO_IDS));
  int64_t stride[ML_MAX_DIM];
  rows r;
  ML_TRY(ml__get(&x, xref));
  ML_TRY(ml__get(&ids, ids_ref));
  ML_TRY(ml__get(&given, src_ref));
  ML_TRY(ml__writable(x, "index"));
  ML_TRY(rows_init(&r, x, axes, ids));
  ml_err e = spread(stride, r.ndim, r.shape, given);
  if (e == ML_OK && r.ids->storage == x->storage) { /* they are read while x is written */
    ml__unref(r.ids);
    e = ml__copy_of(&r.ids, ids);
  }
  if (e == ML_OK) {
    if (given->info.dtype == x->info.dtype && given->storage != x->storage) {
      src = ml__ref(given);
    } else {
      e = ml__new(&src, x->info.dtype, given->info.ndim, given->info.shape);
      if (e == ML_OK) e = ml__copy(src, given);
      if (e == ML_OK) e = spread(stride, r.ndim, r.shape, src);
    }
  }
  if (e == ML_OK) {
    ml__touch(x);
    if (ml__count(r.ndim, r.shape) > 0) put_rows(&r, src, stride);
  }
  ml__unref(src);
  ml__unref(r.ids);
  return e;
}

ml_err ml_tensor_assign(const ml_ref *ref, int ndim, const int64_t *shape, const int64_t *stride,
                        int64_t offset, const ml_ref *src_ref, double value) {
  ML_SPAN(span, ML_EVENT_OPERATION, "assign");
  ml_tensor *t, *v, *src = NULL;
  int64_t unused[ML_MAX_DIM];
  ML_TRY(ml__get(&t, ref));
  if (src_ref) ML_TRY(ml__get(&src, src_ref));
  ML_TRY(ml__writable(t, "index"));
  ML_TRY(ml__check_view(t, ndim, shape, stride, offset));
  if (src) ML_TRY(spread(unused, ndim, shape, src));
  ML_TRY(ml__new_view(&v, t, ndim, shape, stride, ml__count(ndim, shape) ? offset : 0));
  ml_err e =
      src ? ml__note_write("assign", ml__copy_again, v, src, NULL, 0)
          : ml__note_write("assign", ml__fill_again, v, NULL, (ml_scalar[]){{.d = value}}, 1);
  if (e < 0) {
    ml__unref(v);
    return e;
  }
  if (src) e = ml__copy(v, src);
  else ml__fill(v, value);
  ml__unref(v);
  return e;
}

ml_err ml_tensor_writable(const ml_ref *ref) {
  ml_tensor *t;
  ML_TRY(ml__get(&t, ref));
  return ml__writable(t, "index");
}
