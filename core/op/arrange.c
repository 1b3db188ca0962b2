/*
 * arrange: pad (roll and tile are circular pads), flip, tril, triu. Any dtype.
 *
 * pad and flip treat each axis by itself: place i of y's axis holds place s(i) of x's, or the value
 * padded with. s goes in runs that step by 1, -1 or 0, each copied at once. The axes before the
 * first that changes are counted as one, `outer`; those after the last are one block, `inner`.
 *
 * Moves 2 bytes for each byte of y. The gradient adds in y's order within each of the outer parts,
 * which go in parallel: the same bits for any number of threads.
 */
#include <string.h>

#include "ml_ops.h"

enum { GRAIN = 1 << 16 }; /* bytes that are worth a thread */
enum { FLIP = ML_PAD_MODE_CIRCULAR + 1 };

typedef struct map {
  int nd;                 /* axes from the first that changes to the last; at least 1 */
  int mode[ML_MAX_DIM];   /* ML_PAD_MODE_* or FLIP */
  int64_t n[ML_MAX_DIM];  /* of x */
  int64_t to[ML_MAX_DIM]; /* of y */
  int64_t at[ML_MAX_DIM]; /* y's place of x's first element */
  int64_t outer, inner;
} map;

static int64_t pads_at(const ml_tensor *pads, int64_t i) {
  int64_t at = i * pads->info.stride[0];
  return pads->info.dtype == ML_I64 ? ((const int64_t *)pads->info.data)[at]
                                    : ((const int32_t *)pads->info.data)[at];
}

/* Counts of elements before and after axis d (from 0). */
static void pads_of(const ml_tensor *x, const ml_tensor *pads, int d, int64_t *before,
                    int64_t *after) {
  int64_t k = 2 * (x->info.ndim - 1 - d);
  bool named = k + 1 < pads->info.count;
  *before = named ? pads_at(pads, k) : 0;
  *after = named ? pads_at(pads, k + 1) : 0;
}

ml_err ml__shape_pad(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *pads,
                     int64_t mode) {
  int64_t count = pads->info.count, most = (int64_t)1 << 53;
  if (count % 2 || count > 2 * x->info.ndim)
    return ml_fail(ML_ESHAPE,
                   "bad argument #2 to 'pad' (pads: expected a pair for each of at most %d axes, "
                   "got %lld numbers)",
                   x->info.ndim, (long long)count);
  *nd = x->info.ndim;
  for (int d = 0; d < *nd; d++) {
    int64_t before, after, n = x->info.shape[d];
    pads_of(x, pads, d, &before, &after);
    if (before < -most || before > most || after < -most || after > most || n + before + after < 0)
      return ml_fail(ML_ESHAPE,
                     "bad argument #2 to 'pad' (pads: %lld and %lld along axis %d, of size %lld)",
                     (long long)before, (long long)after, d + 1, (long long)n);
    shape[d] = n + before + after;
    if (n == 0 && shape[d] > 0 && mode != ML_PAD_MODE_CONSTANT)
      return ml_fail(ML_ESHAPE,
                     "bad argument #1 to 'pad' (x: axis %d is empty: nothing to pad it with)",
                     d + 1);
  }
  return ML_OK;
}

ml_err ml__shape_flip(int *nd, int64_t *shape, const ml_tensor *x, int64_t axes) {
  if (axes < 0 || axes >= (int64_t)1 << x->info.ndim)
    return ml_fail(ML_EARG, "bad argument #2 to 'flip' (axes: expected bits of %d axes, got %lld)",
                   x->info.ndim, (long long)axes);
  return ml__shape_like(nd, shape, x);
}

ml_err ml__shape_matrices(int *nd, int64_t *shape, const char *op, const ml_tensor *x) {
  if (x->info.ndim < 2)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (x: expected at least 2 axes, got %d)", op,
                   x->info.ndim);
  return ml__shape_like(nd, shape, x);
}

/* Drops the axes around those that change: mode, n, to and at of all nd axes are set. */
static void narrow_map(map *m) {
  int first = 0, last = m->nd - 1;
  while (first < m->nd && m->mode[first] != FLIP && !m->at[first] && m->n[first] == m->to[first])
    first++;
  while (last > first && m->mode[last] != FLIP && !m->at[last] && m->n[last] == m->to[last]) last--;
  m->outer = m->inner = 1;
  for (int d = 0; d < first; d++) m->outer *= m->n[d];
  for (int d = last + 1; d < m->nd; d++) m->inner *= m->n[d];
  m->nd = last - first + 1;
  if (m->nd < 1) { /* none changes: one run */
    *m = (map){.nd = 1, .n = {m->outer}, .to = {m->outer}, .outer = 1, .inner = 1};
    return;
  }
  size_t bytes = sizeof(int64_t) * (size_t)m->nd;
  memmove(m->mode, m->mode + first, sizeof(int) * (size_t)m->nd);
  memmove(m->n, m->n + first, bytes);
  memmove(m->to, m->to + first, bytes);
  memmove(m->at, m->at + first, bytes);
}

static map pad_map(const ml_tensor *x, const ml_tensor *pads, int64_t mode) {
  map m = {.nd = x->info.ndim};
  for (int d = 0; d < m.nd; d++) {
    int64_t after;
    pads_of(x, pads, d, &m.at[d], &after);
    m.mode[d] = (int)mode;
    m.n[d] = x->info.shape[d];
    m.to[d] = m.n[d] + m.at[d] + after;
  }
  narrow_map(&m);
  return m;
}

static map flip_map(const ml_tensor *x, int64_t axes) {
  map m = {.nd = x->info.ndim};
  for (int d = 0; d < m.nd; d++) {
    m.mode[d] = axes >> d & 1 ? FLIP : ML_PAD_MODE_CONSTANT;
    m.n[d] = m.to[d] = x->info.shape[d];
  }
  narrow_map(&m);
  return m;
}

/*
 * The run that begins at place i of y's axis a: its length. *s is its place in x's axis, -1 for the
 * value; from there it goes by *step.
 */
static int64_t run(const map *m, int a, int64_t i, int64_t *s, int *step) {
  int64_t n = m->n[a], left = m->to[a] - i, k = i - m->at[a], period;
  *step = 1;
  *s = k;
  switch (m->mode[a]) {
    case FLIP: *step = -1, *s = n - 1 - i; return left;
    case ML_PAD_MODE_CIRCULAR: *s = (k % n + n) % n; return ML_MIN(left, n - *s);
    case ML_PAD_MODE_REFLECT:
      if (n == 1) {
        *step = 0, *s = 0;
        return left;
      }
      period = 2 * (n - 1);
      k = (k % period + period) % period;
      *s = k;
      if (k < n - 1) return ML_MIN(left, n - 1 - k);
      *step = -1, *s = period - k;
      return ML_MIN(left, *s);
    default: break;
  }
  if (k >= 0 && k < n) return ML_MIN(left, n - k);
  bool value = m->mode[a] == ML_PAD_MODE_CONSTANT;
  *step = 0;
  *s = value ? -1 : k < 0 ? 0 : n - 1;
  return k < 0 ? ML_MIN(left, -k) : left;
}

/* The row of x (along the last axis of the map) that row r of y holds; -1: the value. */
static int64_t row_of(const map *m, int64_t r) {
  int64_t row = 0, stride = 1, s;
  int step;
  for (int a = m->nd - 2; a >= 0; a--) {
    run(m, a, r % m->to[a], &s, &step);
    if (s < 0) return -1;
    row += s * stride;
    stride *= m->n[a];
    r /= m->to[a];
  }
  return row + r * stride;
}

typedef struct job {
  const map *m;
  char *y;
  const char *x;
  int64_t size; /* of an element */
  char value[8];
} job;

#define MOVE(T)                                            \
  if (step == 0)                                           \
    for (int64_t i = 0; i < n; i++) ((T *)y)[i] = *(T *)x; \
  else                                                     \
    for (int64_t i = 0; i < n; i++) ((T *)y)[i] = ((const T *)x)[-i];

/* n blocks of some bytes, x stepping by 0 or -1 blocks. */
static void move(char *restrict y, const char *restrict x, int64_t n, int step, int64_t bytes) {
  if (bytes == 1) {
    MOVE(uint8_t)
  } else if (bytes == 2) {
    MOVE(uint16_t)
  } else if (bytes == 4) {
    MOVE(uint32_t)
  } else if (bytes == 8) {
    MOVE(uint64_t)
  } else {
    for (int64_t i = 0; i < n; i++) memcpy(y + i * bytes, x + i * step * bytes, (size_t)bytes);
  }
}

/* Places [begin, end) of y, counted along the last axis of the map. */
static void arrange(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  const map *m = j->m;
  int last = m->nd - 1, step;
  int64_t length = m->to[last], bytes = m->inner * j->size, s, n;
  for (int64_t at = begin; at < end; at += n) {
    int64_t r = at / length, row = row_of(m, r);
    n = run(m, last, at % length, &s, &step);
    if (row < 0) s = -1, n = length - at % length;
    n = ML_MIN(n, end - at);
    char *to = j->y + at * bytes;
    if (s < 0) {
      move(to, j->value, n * m->inner, 0, j->size);
      continue;
    }
    const char *from = j->x + (row * m->n[last] + s) * bytes;
    if (step == 1) memcpy(to, from, (size_t)(n * bytes));
    else move(to, from, n, step, bytes);
  }
}

static int64_t places(const map *m) {
  int64_t n = m->outer;
  for (int a = 0; a < m->nd; a++) n *= m->to[a];
  return n;
}

static ml_err arranged(ml_tensor *y, const ml_tensor *x, const map *m, double value) {
  job j = {.m = m, .y = y->info.data, .x = x->info.data, .size = ml_dtype_size(y->info.dtype)};
  if (y->info.count == 0) return ML_OK;
  ml__store(j.value, y->info.dtype, 0, value);
  ml_parallel(places(m), ML_MAX(1, GRAIN / (m->inner * j.size)), arrange, &j);
  return ML_OK;
}

ml_err ml_pad_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *pads, int64_t mode,
                  double value) {
  map m = pad_map(x, pads, mode);
  return arranged(y, x, &m, value);
}

ml_err ml_flip_ref(ml_tensor *y, const ml_tensor *x, int64_t axes) {
  map m = flip_map(x, axes);
  return arranged(y, x, &m, 0);
}

/* -- the gradient of pad -- */

#define ADD(T)                                                                \
  if (step == 1)                                                              \
    for (int64_t i = 0; i < n * inner; i++) ((T *)x)[i] += ((const T *)g)[i]; \
  else                                                                        \
    for (int64_t i = 0; i < n; i++)                                           \
      for (int64_t k = 0; k < inner; k++)                                     \
        ((T *)x)[i * step * inner + k] += ((const T *)g)[i * inner + k];

static void add(char *restrict x, const char *restrict g, int64_t n, int64_t step, int64_t inner,
                int64_t size) {
  if (size == sizeof(float)) {
    ADD(float)
  } else {
    ADD(double)
  }
}

/* The outer parts [begin, end); here j->y is the gradient of x and j->x that of y. */
static void add_back(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  const map *m = j->m;
  int last = m->nd - 1, step;
  int64_t length = m->to[last], bytes = m->inner * j->size, part = places(m) / m->outer, s, n;
  for (int64_t at = begin * part; at < end * part; at += n) {
    int64_t row = row_of(m, at / length);
    n = run(m, last, at % length, &s, &step);
    if (row < 0) n = length - at % length;
    else if (s >= 0)
      add(j->y + (row * m->n[last] + s) * bytes, j->x + at * bytes, n, step, m->inner, j->size);
  }
}

/* dx of g's dtype, f32 or f64 */
static ml_err pad_dx(ml_tensor **dx, ml_node *n, const ml_tensor *g) {
  ml_tensor *x = n->in[0];
  map m = pad_map(x, n->in[1], n->scalar[0].i);
  ML_TRY(ml__new(dx, g->info.dtype, x->info.ndim, x->info.shape));
  ml__fill(*dx, 0);
  if (g->info.count == 0) return ML_OK;
  job j = {.m = &m, .y = (*dx)->info.data, .x = g->info.data, .size = ml_dtype_size(g->info.dtype)};
  int64_t part = g->info.count / m.outer * j.size;
  ml_parallel(m.outer, ML_MAX(1, GRAIN / part), add_back, &j);
  return ML_OK;
}

ml_err ml_pad_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  int dtype = g->info.dtype;
  if (dtype == ML_F32 || dtype == ML_F64) return pad_dx(&gin[0], n, g);
  ml_tensor *wide = NULL, *dx = NULL; /* sums of 16-bit elements in f32 */
  ml_err err = ml__cast(&wide, g, ML_F32);
  if (err == ML_OK) err = pad_dx(&dx, n, wide);
  if (err == ML_OK) err = ml__cast(&gin[0], dx, dtype);
  ml__unref(wide);
  ml__unref(dx);
  return err;
}

/* -- triangles -- */

typedef struct triangle {
  char *y;
  const char *x;
  int64_t rows, row, size, diagonal; /* of a matrix; bytes of a row, of an element */
  bool lower;
} triangle;

static void rows_of(void *ctx, int64_t begin, int64_t end) {
  const triangle *t = ctx;
  for (int64_t r = begin; r < end; r++) {
    /* the first place that is not below the diagonal's next (lower), or the diagonal (upper) */
    int64_t cut = r % t->rows + t->diagonal + t->lower;
    cut = ML_MAX(0, ML_MIN(cut, t->row / t->size)) * t->size;
    char *y = t->y + r * t->row;
    const char *x = t->x + r * t->row;
    if (t->lower) {
      memcpy(y, x, (size_t)cut);
      memset(y + cut, 0, (size_t)(t->row - cut));
    } else {
      memset(y, 0, (size_t)cut);
      memcpy(y + cut, x + cut, (size_t)(t->row - cut));
    }
  }
}

static ml_err triangles(ml_tensor *y, const ml_tensor *x, int64_t diagonal, bool lower) {
  const int64_t most = (int64_t)1 << 53, *shape = x->info.shape + x->info.ndim - 2;
  triangle t = {.y = y->info.data, .x = x->info.data, .rows = shape[0], .lower = lower};
  t.size = ml_dtype_size(y->info.dtype);
  t.row = shape[1] * t.size;
  t.diagonal = ML_MAX(-most, ML_MIN(diagonal, most));
  if (y->info.count == 0) return ML_OK;
  ml_parallel(y->info.count / shape[1], ML_MAX(1, GRAIN / t.row), rows_of, &t);
  return ML_OK;
}

ml_err ml_tril_ref(ml_tensor *y, const ml_tensor *x, int64_t diagonal) {
  return triangles(y, x, diagonal, true);
}

ml_err ml_triu_ref(ml_tensor *y, const ml_tensor *x, int64_t diagonal) {
  return triangles(y, x, diagonal, false);
}
