/*
 * recurrent: LSTM, GRU and plain recurrent layers over a whole sequence, forward and backward
 *
 *   z [T,B,GH]  the input's part of the pre-activations, its bias in it;  w [GH,H]  b [GH]
 *   h0, c0 [B,H];  a step: q = h w' + b (G gates of H units, gate by gate), then
 *
 *   lstm  i, f, o = sigmoid(z + q), g = tanh(z + q);  c = f c + i g,  h = o tanh(c)
 *   gru   r, s = sigmoid(z + q);  n = tanh(z_n + r q_n),  h = (1 - s) n + s h
 *   rnn   h = act(z + q)
 *
 * What the backward needs of a step is kept in a [T,B,4H] (i f g o, or r s q_n n); rnn needs h.
 * The backward makes d, the gradient by q of every step, and with all of d at once dw = d' h.
 *
 * A batch of many rows is cut by rows, each cut going through all steps by itself; one of up to
 * SMALL rows is cut by units at every step. Cuts depend on shapes alone; sums do not cross them.
 */
#include <stdlib.h>

#include "ml_ops.h"
#include "op/gemm.h"
#include "op/linear.h"
#include "op/math.h"

enum { RNN_TANH, RNN_RELU, GRU, LSTM, SMALL = 8 };

/* -- shapes -- */

static ml_err expect(const char *op, int i, const char *name, const ml_tensor *t, int nd, int64_t a,
                     int64_t b) {
  int64_t want[] = {a, b};
  char s[ML_SHAPE_TEXT], got[ML_SHAPE_TEXT];
  if (t->info.ndim == nd && t->info.shape[0] == a && (nd < 2 || t->info.shape[1] == b))
    return ML_OK;
  return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name,
                 ml__shape_text(s, nd, want), ml__shape_text(got, t->info.ndim, t->info.shape));
}

ml_err ml__shape_recurrent(int *nd, int64_t *shape, const char *op, const ml_tensor *z,
                           const ml_tensor *w, const ml_tensor *b, const ml_tensor *h0,
                           const ml_tensor *c0, int64_t gates) {
  char got[ML_SHAPE_TEXT];
  if (z->info.ndim != 3 || z->info.shape[2] % gates)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (z: expected [T, B, %lld H], got %s)", op,
                   (long long)gates, ml__shape_text(got, z->info.ndim, z->info.shape));
  int64_t wide = z->info.shape[2], rows = z->info.shape[1], units = wide / gates;
  ML_TRY(expect(op, 2, "w", w, 2, wide, units));
  if (b) ML_TRY(expect(op, 3, "b", b, 1, wide, 0));
  if (h0) ML_TRY(expect(op, 4, "h0", h0, 2, rows, units));
  if (c0) ML_TRY(expect(op, 5, "c0", c0, 2, rows, units));
  *nd = 0;
  if (gates == 4) shape[(*nd)++] = 2;
  shape[(*nd)++] = z->info.shape[0];
  shape[(*nd)++] = rows;
  shape[(*nd)++] = units;
  return ML_OK;
}

ml_err ml__shape_recurrent_kept(int *nd, int64_t *shape, const ml_tensor *z) {
  return ml__shape_like(nd, shape, z);
}

ml_err ml__shape_gru_kept(int *nd, int64_t *shape, const ml_tensor *z) {
  ML_TRY(ml__shape_like(nd, shape, z));
  shape[2] = shape[2] / 3 * 4;
  return ML_OK;
}

/* -- a sequence -- */

typedef struct job {
  int kind, dtype;
  bool fast;                  /* f32, and not the reference */
  int64_t steps, rows, units; /* T, B, H */
  int64_t gates, kept;        /* G; what a unit keeps of a step: 4, or for rnn 1, its h */
  int64_t first, way;         /* step k is at time first + way k */
  int64_t k;                  /* the running step, where cuts are by units */
  const void *z, *w, *b, *h0, *c0;
  void *y, *a;
  int64_t a_step; /* elements of a from a time to the next; 0: one room for all */
  /* backward: */
  const void *g;
  void *dz, *d, *dh, *dc; /* d may be dz; dh, dc [B,H]: by the state before the running step */
  bool first_state;       /* whether the gradient by h0 is wanted */
  ml_err err;
} job;

typedef struct part { /* of a batch */
  int64_t r0, r1, u0, u1;
} part;

static void *at(const job *j, const void *p, int64_t i) {
  return (char *)p + i * (j->dtype == ML_F64 ? 8 : 4);
}

static int64_t time_of(const job *j, int64_t k) { return j->first + j->way * k; }

/* The states before step k: those after the one before, or the first. */
static const void *h_before(const job *j, int64_t k) {
  return k ? at(j, j->y, time_of(j, k - 1) * j->rows * j->units) : j->h0;
}

static const void *c_of(const job *j, int64_t k) {
  return k < 0 ? j->c0 : at(j, j->y, (j->steps + time_of(j, k)) * j->rows * j->units);
}

/* -- cells: n units of a row; gates lie `H` apart -- */

#define SIGMOID(v) (1 / (1 + exp(-(v))))
#define CELLS(T, D)                                                                                \
  ML_CLONES static void lstm_##D(int64_t n, int64_t H, const T *restrict z, const T *restrict b,   \
                                 const T *restrict cp, T *restrict a, T *restrict h,               \
                                 T *restrict c) {                                                  \
    for (int64_t u = 0; u < n; u++) {                                                              \
      T i = SIGMOID(z[u] + a[u] + b[u]), f = SIGMOID(z[H + u] + a[H + u] + b[H + u]);              \
      T g = tanh(z[2 * H + u] + a[2 * H + u] + b[2 * H + u]);                                      \
      T o = SIGMOID(z[3 * H + u] + a[3 * H + u] + b[3 * H + u]);                                   \
      a[u] = i, a[H + u] = f, a[2 * H + u] = g, a[3 * H + u] = o;                                  \
      c[u] = f * cp[u] + i * g;                                                                    \
      h[u] = o * tanh(c[u]);                                                                       \
    }                                                                                              \
  }                                                                                                \
  ML_CLONES static void gru_##D(int64_t n, int64_t H, const T *restrict z, const T *restrict b,    \
                                const T *restrict hp, T *restrict a, T *restrict h) {              \
    for (int64_t u = 0; u < n; u++) {                                                              \
      T r = SIGMOID(z[u] + a[u] + b[u]), s = SIGMOID(z[H + u] + a[H + u] + b[H + u]);              \
      T q = a[2 * H + u] + b[2 * H + u], m = tanh(z[2 * H + u] + r * q);                           \
      a[u] = r, a[H + u] = s, a[2 * H + u] = q, a[3 * H + u] = m;                                  \
      h[u] = m + s * (hp[u] - m);                                                                  \
    }                                                                                              \
  }                                                                                                \
  ML_CLONES static void rnn_##D(int64_t n, const T *restrict z, const T *restrict b, bool relu,    \
                                T *restrict h) {                                                   \
    if (relu)                                                                                      \
      for (int64_t u = 0; u < n; u++) h[u] = z[u] + h[u] + b[u] < 0 ? 0 : z[u] + h[u] + b[u];      \
    else                                                                                           \
      for (int64_t u = 0; u < n; u++) h[u] = tanh(z[u] + h[u] + b[u]);                             \
  }                                                                                                \
  ML_CLONES static void lstm_back_##D(                                                             \
      int64_t n, int64_t H, const T *restrict a, const T *restrict cp, const T *restrict c,        \
      const T *restrict gh, const T *restrict gc, T *restrict dh, T *restrict dc, T *restrict d) { \
    for (int64_t u = 0; u < n; u++) {                                                              \
      T i = a[u], f = a[H + u], g = a[2 * H + u], o = a[3 * H + u], t = tanh(c[u]);                \
      T by_h = dh[u] + gh[u], by_c = dc[u] + gc[u] + by_h * o * (1 - t * t);                       \
      d[u] = by_c * g * i * (1 - i);                                                               \
      d[H + u] = by_c * cp[u] * f * (1 - f);                                                       \
      d[2 * H + u] = by_c * i * (1 - g * g);                                                       \
      d[3 * H + u] = by_h * t * o * (1 - o);                                                       \
      dc[u] = by_c * f;                                                                            \
      dh[u] = 0;                                                                                   \
    }                                                                                              \
  }                                                                                                \
  ML_CLONES static void gru_back_##D(int64_t n, int64_t H, const T *restrict a,                    \
                                     const T *restrict hp, const T *restrict gh, T *restrict dh,   \
                                     T *restrict dz, T *restrict d) {                              \
    for (int64_t u = 0; u < n; u++) {                                                              \
      T r = a[u], s = a[H + u], q = a[2 * H + u], m = a[3 * H + u], by_h = dh[u] + gh[u];          \
      T by_m = by_h * (1 - s) * (1 - m * m);                                                       \
      dz[u] = d[u] = by_m * q * r * (1 - r);                                                       \
      dz[H + u] = d[H + u] = by_h * (hp[u] - m) * s * (1 - s);                                     \
      dz[2 * H + u] = by_m;                                                                        \
      d[2 * H + u] = by_m * r;                                                                     \
      dh[u] = by_h * s;                                                                            \
    }                                                                                              \
  }                                                                                                \
  ML_CLONES static void rnn_back_##D(int64_t n, const T *restrict h, const T *restrict gh,         \
                                     bool relu, T *restrict dh, T *restrict d) {                   \
    for (int64_t u = 0; u < n; u++) {                                                              \
      T by_h = dh[u] + gh[u];                                                                      \
      d[u] = relu ? (h[u] > 0 ? by_h : 0) : by_h * (1 - h[u] * h[u]);                              \
      dh[u] = 0;                                                                                   \
    }                                                                                              \
  }

CELLS(float, f32)
CELLS(double, f64)

#define BOTH(FN, ...) (j->dtype == ML_F64 ? FN##_f64(__VA_ARGS__) : FN##_f32(__VA_ARGS__))

static void cells(const job *j, int64_t k, part p, void *acts) {
  int64_t n = p.u1 - p.u0, H = j->units, t = time_of(j, k), plane = j->rows * H;
  const void *hp = h_before(j, k), *cp = j->kind == LSTM ? c_of(j, k - 1) : NULL;
  for (int64_t r = p.r0; r < p.r1; r++) {
    const void *z = at(j, j->z, (t * j->rows + r) * j->gates * H + p.u0), *b = at(j, j->b, p.u0);
    void *a = at(j, acts, r * j->kept * H + p.u0), *h = at(j, j->y, t * plane + r * H + p.u0);
    if (j->kind == LSTM)
      BOTH(lstm, n, H, z, b, at(j, cp, r * H + p.u0), a, h, at(j, c_of(j, k), r * H + p.u0));
    else if (j->kind == GRU) BOTH(gru, n, H, z, b, at(j, hp, r * H + p.u0), a, h);
    else BOTH(rnn, n, z, b, j->kind == RNN_RELU, h);
  }
}

static void cells_back(const job *j, int64_t k, part p) {
  int64_t n = p.u1 - p.u0, H = j->units, t = time_of(j, k), plane = j->rows * H, T = j->steps;
  const void *hp = h_before(j, k), *cp = j->kind == LSTM ? c_of(j, k - 1) : NULL;
  for (int64_t r = p.r0; r < p.r1; r++) {
    int64_t i = r * H + p.u0, wide = (t * j->rows + r) * j->gates * H + p.u0;
    const void *a = at(j, j->a, (t * j->rows + r) * j->kept * H + p.u0);
    const void *gh = at(j, j->g, t * plane + i);
    void *dh = at(j, j->dh, i), *d = at(j, j->d, wide);
    if (j->kind == LSTM)
      BOTH(lstm_back, n, H, a, at(j, cp, i), at(j, c_of(j, k), i), gh,
           at(j, j->g, (T + t) * plane + i), dh, at(j, j->dc, i), d);
    else if (j->kind == GRU) BOTH(gru_back, n, H, a, at(j, hp, i), gh, dh, at(j, j->dz, wide), d);
    else BOTH(rnn_back, n, a, gh, j->kind == RNN_RELU, dh, d);
  }
}

/* -- products -- */

/* c[m,n] = a[m,k] b, added to where `add`, in double: b by its strides. */
static void slow_product(int d, int64_t m, int64_t n, int64_t k, const void *a, int64_t a_down,
                         int64_t a_right, const void *b, int64_t b_down, int64_t b_right, bool add,
                         void *c, int64_t ldc) {
  for (int64_t i = 0; i < m; i++) {
    for (int64_t l = 0; l < n; l++) {
      double s = add ? ml__load(c, d, i * ldc + l) : 0;
      for (int64_t q = 0; q < k; q++)
        s += ml__load(a, d, i * a_down + q * a_right) * ml__load(b, d, q * b_down + l * b_right);
      ml__store(c, d, i * ldc + l, s);
    }
  }
}

/* acts[r, gate H + u] = h[r] . w[gate H + u], gate by gate. */
static void hidden_part(job *j, part p, const void *h, void *acts) {
  int64_t m = p.r1 - p.r0, H = j->units, ld = j->kept * H;
  h = at(j, h, p.r0 * H);
  acts = at(j, acts, p.r0 * ld);
  if (!j->fast) {
    slow_product(j->dtype, m, j->gates * H, H, h, H, 1, j->w, 1, H, false, acts, ld);
  } else if (m > SMALL) {
    ml_err e = ml__gemm(false, true, m, j->gates * H, H, 1, h, H, j->w, H, 0, acts, ld);
    if (e < 0) j->err = e;
  } else {
    for (int64_t g = 0; g < j->gates; g++)
      ml__linear_small(m, H, g * H + p.u0, g * H + p.u1, h, j->w, NULL, ML_ACT_NONE, acts, ld);
  }
}

/* dh[r,u] += d[r] . w[:,u] of few rows: four rows of w at a time. */
ML_CLONES static void small_back(int64_t m, int64_t n, int64_t wide, int64_t H,
                                 const float *restrict d, const float *restrict w,
                                 float *restrict dh) {
  int64_t q = 0;
  for (; q + 4 <= wide; q += 4) {
    const float *w0 = w + q * H, *w1 = w0 + H, *w2 = w1 + H, *w3 = w2 + H;
    for (int64_t r = 0; r < m; r++) {
      const float *c = d + r * wide + q;
      float c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], *restrict to = dh + r * H;
      for (int64_t u = 0; u < n; u++)
        to[u] += (c0 * w0[u] + c1 * w1[u]) + (c2 * w2[u] + c3 * w3[u]);
    }
  }
  for (; q < wide; q++)
    for (int64_t r = 0; r < m; r++)
      for (int64_t u = 0; u < n; u++) dh[r * H + u] += d[r * wide + q] * w[q * H + u];
}

static void hidden_back(job *j, part p, const void *d) {
  int64_t m = p.r1 - p.r0, H = j->units, wide = j->gates * H;
  void *dh = at(j, j->dh, p.r0 * H);
  d = at(j, d, p.r0 * wide);
  if (!j->fast) {
    slow_product(j->dtype, m, H, wide, d, wide, 1, j->w, H, 1, true, dh, H);
  } else if (m > SMALL) {
    ml_err e = ml__gemm(false, false, m, H, wide, 1, d, wide, j->w, H, 1, dh, H);
    if (e < 0) j->err = e;
  } else {
    small_back(m, p.u1 - p.u0, wide, H, d, (const float *)j->w + p.u0, (float *)dh + p.u0);
  }
}

/* -- steps -- */

static void forward_step(job *j, int64_t k, part p) {
  int64_t t = time_of(j, k);
  void *acts = j->kind < GRU ? at(j, j->y, t * j->rows * j->units) : at(j, j->a, t * j->a_step);
  hidden_part(j, p, h_before(j, k), acts);
  cells(j, k, p, acts);
}

/* From what step k + 1 left to what step k leaves; k = -1: the gradient by the first state. */
static void backward_step(job *j, int64_t k, part p) {
  if (k + 1 < j->steps)
    hidden_back(j, p, at(j, j->d, time_of(j, k + 1) * j->rows * j->gates * j->units));
  if (k >= 0) cells_back(j, k, p);
}

static void forward_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t k = 0; k < j->steps; k++) forward_step(j, k, (part){begin, end, 0, j->units});
}

static void forward_units(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  forward_step(j, j->k, (part){0, j->rows, begin, end});
}

static void backward_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t k = j->steps; k-- > (j->first_state ? -1 : 0);)
    backward_step(j, k, (part){begin, end, 0, j->units});
}

static void backward_units(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  backward_step(j, j->k, (part){0, j->rows, begin, end});
}

/* Goes through all steps, forward or backward. */
static ml_err run(job *j, bool back) {
  int64_t work = j->gates * j->units * j->units;
  if (j->rows * j->units == 0) return ML_OK;
  if (!j->fast) {
    (back ? backward_rows : forward_rows)(j, 0, j->rows);
  } else if (j->rows > SMALL) {
    ml_parallel(j->rows, ml__row_grain(j->rows, work * j->steps),
                back ? backward_rows : forward_rows, j);
  } else {
    int64_t grain = ML_MAX(16, ML__CUT / ML_MAX(1, j->rows * j->gates * j->units) / 16 * 16);
    for (int64_t k = 0; !back && k < j->steps; k++) {
      j->k = k;
      ml_parallel(j->units, grain, forward_units, j);
    }
    for (int64_t k = j->steps; back && k-- > (j->first_state ? -1 : 0);) {
      j->k = k;
      ml_parallel(j->units, grain, backward_units, j);
    }
  }
  return j->err < 0 ? ml_fail(j->err, "recurrent: oneDNN failed") : ML_OK;
}

/* -- forward -- */

/* What is absent, as zeros: a reference each. */
static ml_err zeros_or(ml_tensor **out, ml_tensor *t, int dtype, int nd, int64_t a, int64_t b) {
  if (t) return ml__contiguous(out, t);
  ML_TRY(ml__new(out, dtype, nd, (int64_t[]){a, b}));
  ml__fill(*out, 0);
  return ML_OK;
}

static job sequence(int kind, const ml_tensor *z, bool reverse) {
  int64_t gates = kind == LSTM ? 4 : kind == GRU ? 3 : 1, steps = z->info.shape[0];
  return (job){.kind = kind,
               .dtype = z->info.dtype,
               .fast = !ml__reference_on && z->info.dtype == ML_F32,
               .steps = steps,
               .rows = z->info.shape[1],
               .units = z->info.shape[2] / gates,
               .gates = gates,
               .kept = kind < GRU ? 1 : 4,
               .first = reverse ? steps - 1 : 0,
               .way = reverse ? -1 : 1};
}

static ml_err forward(int kind, ml_tensor *y, ml_tensor *a, const ml_tensor *z, const ml_tensor *w,
                      const ml_tensor *b, const ml_tensor *h0, const ml_tensor *c0, bool reverse) {
  job j = sequence(kind, z, reverse);
  ml_tensor *bias = NULL, *h = NULL, *c = NULL, *room = NULL;
  int64_t wide = j.gates * j.units;
  ml_err e = zeros_or(&bias, (ml_tensor *)b, j.dtype, 1, wide, 0);
  if (e == ML_OK) e = zeros_or(&h, (ml_tensor *)h0, j.dtype, 2, j.rows, j.units);
  if (e == ML_OK && kind == LSTM) e = zeros_or(&c, (ml_tensor *)c0, j.dtype, 2, j.rows, j.units);
  if (e == ML_OK && !a && kind >= GRU)
    e = ml__new(&room, j.dtype, 2, (int64_t[]){j.rows, 4 * j.units});
  if (e == ML_OK) {
    j.z = z->info.data, j.w = w->info.data, j.b = bias->info.data, j.h0 = h->info.data;
    j.c0 = c ? c->info.data : NULL;
    j.y = y->info.data;
    j.a = a ? a->info.data : room ? room->info.data : NULL;
    j.a_step = a ? j.rows * 4 * j.units : 0;
    e = run(&j, false);
  }
  ml__unref(bias);
  ml__unref(h);
  ml__unref(c);
  ml__unref(room);
  return e;
}

#define FORWARD(WAY)                                                                            \
  ml_err ml_lstm_##WAY(ml_tensor *y, ml_tensor *a, const ml_tensor *z, const ml_tensor *w,      \
                       const ml_tensor *b, const ml_tensor *h0, const ml_tensor *c0,            \
                       int64_t reverse) {                                                       \
    return forward(LSTM, y, a, z, w, b, h0, c0, reverse != 0);                                  \
  }                                                                                             \
  ml_err ml_gru_##WAY(ml_tensor *y, ml_tensor *a, const ml_tensor *z, const ml_tensor *w,       \
                      const ml_tensor *b, const ml_tensor *h0, int64_t reverse) {               \
    return forward(GRU, y, a, z, w, b, h0, NULL, reverse != 0);                                 \
  }                                                                                             \
  ml_err ml_rnn_##WAY(ml_tensor *y, const ml_tensor *z, const ml_tensor *w, const ml_tensor *b, \
                      const ml_tensor *h0, int64_t act, int64_t reverse) {                      \
    return forward(act ? RNN_RELU : RNN_TANH, y, NULL, z, w, b, h0, NULL, reverse != 0);        \
  }

FORWARD(cpu)
FORWARD(ref)

/* -- backward -- */

typedef struct weights_job {
  const job *j;
  ml_tensor *dw, *db; /* NULL where not wanted */
  ml_err err;
} weights_job;

/* rows begin..end of dw = sum of d' h over all steps, the first one's h apart; db = sum of d. */
static void weight_rows(void *ctx, int64_t begin, int64_t end) {
  weights_job *s = ctx;
  const job *j = s->j;
  int64_t H = j->units, wide = j->gates * H, block = j->rows * wide, later = j->steps - 1;
  int64_t n = end - begin, rows = later * j->rows;
  /* later steps: d's times from `way` on, h's from the other end */
  const void *d = at(j, j->d, (j->way > 0 ? block : 0) + begin);
  const void *h = at(j, j->y, j->way > 0 ? 0 : j->rows * H);
  const void *d0 = at(j, j->d, time_of(j, 0) * block + begin);
  if (s->dw && j->fast) {
    float *to = ml_f32(s->dw) + begin * H;
    ml_err e = ml__gemm(true, false, n, H, j->rows, 1, d0, wide, j->h0, H, 0, to, H);
    if (e == ML_OK && rows) e = ml__gemm(true, false, n, H, rows, 1, d, wide, h, H, 1, to, H);
    if (e < 0) s->err = e;
  } else if (s->dw) {
    void *to = at(j, s->dw->info.data, begin * H);
    slow_product(j->dtype, n, H, j->rows, d0, 1, wide, j->h0, H, 1, false, to, H);
    slow_product(j->dtype, n, H, rows, d, 1, wide, h, H, 1, true, to, H);
  }
  if (!s->db) return;
  for (int64_t i = begin; i < end; i += 64) {
    double sum[64] = {0};
    int64_t m = ML_MIN(end - i, (int64_t)64);
    for (int64_t r = 0; r < j->steps * j->rows; r++)
      for (int64_t q = 0; q < m; q++) sum[q] += ml__load(j->d, j->dtype, r * wide + i + q);
    for (int64_t q = 0; q < m; q++) ml__store(s->db->info.data, j->dtype, i + q, sum[q]);
  }
}

static ml_err backward(int kind, ml_node *n, ml_tensor *g, ml_tensor **gin, bool reverse) {
  ml_tensor *z = n->in[0], *b = n->in[2], *y = n->saved[0], *a = kind < GRU ? y : n->saved[1];
  ml_tensor *w = NULL, *h0 = NULL, *c0 = NULL, *d = NULL, *dh = NULL, *dc = NULL;
  job j = sequence(kind, z, reverse);
  weights_job s = {&j, NULL, NULL, ML_OK};
  ml_err e = ml__contiguous(&w, n->in[1]);
  if (e == ML_OK) e = zeros_or(&h0, n->in[3], j.dtype, 2, j.rows, j.units);
  if (e == ML_OK && kind == LSTM) e = zeros_or(&c0, n->in[4], j.dtype, 2, j.rows, j.units);
  if (e == ML_OK) e = ml__zeros_like(&dh, h0);
  if (e == ML_OK && kind == LSTM) e = ml__zeros_like(&dc, c0);
  if (e == ML_OK) e = ml__new(&gin[0], j.dtype, 3, z->info.shape);
  if (e == ML_OK && kind == GRU) e = ml__new(&d, j.dtype, 3, z->info.shape);
  if (e == ML_OK && ml__wants(n->in[1])) e = ml__zeros_like(&gin[1], w);
  if (e == ML_OK && ml__wants(b)) e = ml__zeros_like(&gin[2], b);
  if (e == ML_OK) {
    j.w = w->info.data, j.h0 = h0->info.data, j.c0 = c0 ? c0->info.data : NULL;
    j.y = y->info.data, j.a = a->info.data, j.g = g->info.data;
    j.dz = gin[0]->info.data, j.d = d ? d->info.data : j.dz;
    j.dh = dh->info.data, j.dc = dc ? dc->info.data : NULL;
    j.first_state = ml__wants(n->in[3]);
    e = run(&j, true);
  }
  s.dw = gin[1], s.db = gin[2];
  if (e == ML_OK && (s.dw || s.db) && z->info.count) {
    int64_t wide = j.gates * j.units, work = j.steps * j.rows * j.units;
    ml_parallel(wide, j.fast ? ML_MAX(ML_MIN(128, (wide + 1) / 2), ML__CUT / work) : wide,
                weight_rows, &s);
    if (s.err < 0) e = ml_fail(s.err, "%s: oneDNN failed", n->name);
  }
  if (e == ML_OK && ml__wants(n->in[3])) gin[3] = ml__ref(dh);
  if (e == ML_OK && kind == LSTM && ml__wants(n->in[4])) gin[4] = ml__ref(dc);
  ml__unref(w);
  ml__unref(h0);
  ml__unref(c0);
  ml__unref(d);
  ml__unref(dh);
  ml__unref(dc);
  return e;
}

ml_err ml_lstm_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(LSTM, n, g, gin, n->scalar[0].i != 0);
}

ml_err ml_gru_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(GRU, n, g, gin, n->scalar[0].i != 0);
}

ml_err ml_rnn_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n->scalar[0].i ? RNN_RELU : RNN_TANH, n, g, gin, n->scalar[1].i != 0);
}
