/*
 * linear: y[b,n] = act(sum_k x[b,k] w[n,k] + bias[n])
 *
 *   x [B,K]  w [N,K]  bias [N] or absent  y [B,N]; act none, relu or sigmoid
 *
 * Batches of up to SMALL rows read every weight once and are bound by that: own loops
 * (linear_small.c), cut by output rows; the cuts' parts of dx are added up in order. So goes the
 * backward of up to SMALL outputs, with w and x exchanged. The rest are matrix products, cut by
 * batch rows (forward, dx) and by output rows (dw, db): oneDNN's, but for dw where our own is
 * faster (gemm_packed.c).
 *
 * Results do not depend on the number of threads: the cuts depend on shapes alone, but for those of
 * gemm_packed, whose sums do not depend on the cuts. Where the weight's gradient is wanted for an
 * SGD update only, dw is added to the weights with alpha = -lr and never stored.
 */
#include "op/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/gemm.h"

enum {
  SMALL = 8,
  /* Multiplications from which a fused primitive is worth its making, some 5 ms for each new
     shape; smaller products take oneDNN's sgemm and a pass over y. By shape alone: the bits must
     not depend on what ran before. */
  FUSED = 16 << 20
};

ml_err ml_linear_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *w, const ml_tensor *b,
                     int64_t act) {
  int64_t rows = x->info.shape[0], width = x->info.shape[1], out = w->info.shape[0];
  int d = x->info.dtype;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t n = 0; n < out; n++) {
      double s = b ? ml__load(b->info.data, d, n) : 0;
      for (int64_t k = 0; k < width; k++)
        s += ml__load(x->info.data, d, r * width + k) * ml__load(w->info.data, d, n * width + k);
      if (act == ML_ACT_RELU) s = s < 0 ? 0 : s; /* NaN stays */
      if (act == ML_ACT_SIGMOID) s = 1 / (1 + exp(-s));
      ml__store(y->info.data, d, r * out + n, s);
    }
  }
  return ML_OK;
}

/* -- forward -- */

typedef struct forward_job {
  const float *x, *w, *b;
  float *y;
  int64_t rows, width, out;
  int act;
  ml_err err;
} forward_job;

/* y = act(y + b), row by row, fresh from a product. */
ML_CLONES static void finish_rows(const forward_job *j, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; r++) {
    float *restrict y = j->y + r * j->out;
    const float *restrict b = j->b;
    if (b)
      for (int64_t n = 0; n < j->out; n++) y[n] += b[n];
    if (j->act == ML_ACT_RELU)
      for (int64_t n = 0; n < j->out; n++) y[n] = y[n] < 0 ? 0 : y[n];
    if (j->act == ML_ACT_SIGMOID)
      for (int64_t n = 0; n < j->out; n++) y[n] = 1 / (1 + expf(-y[n]));
  }
}

static void plain_rows(void *ctx, int64_t begin, int64_t end) {
  forward_job *j = ctx;
  ml_err e = ml__gemm(false, true, end - begin, j->out, j->width, 1, j->x + begin * j->width,
                      j->width, j->w, j->width, 0, j->y + begin * j->out, j->out);
  if (e < 0) j->err = e;
  else finish_rows(j, begin, end);
}

static void forward_rows(void *ctx, int64_t begin, int64_t end) {
  forward_job *j = ctx;
  ml_err e = ml__gemm_bias_act(end - begin, j->out, j->width, j->x + begin * j->width, j->w, j->b,
                               j->act, j->y + begin * j->out);
  if (e < 0) j->err = e;
}

static void forward_outputs(void *ctx, int64_t begin, int64_t end) {
  forward_job *j = ctx;
  ml__linear_small(j->rows, j->width, begin, end, j->x, j->w, j->b, j->act, j->y, j->out);
}

/* Output rows that make about half a million multiplications, in fours. */
static int64_t small_grain(int64_t rows, int64_t width) {
  int64_t n = (1 << 19) / ML_MAX(1, rows * width);
  return ML_MAX(4, n / 4 * 4);
}

ml_err ml_linear_cpu(ml_tensor *y, const ml_tensor *x, const ml_tensor *w, const ml_tensor *b,
                     int64_t act) {
  forward_job j = {ml_f32(x),        ml_f32(w),        b ? ml_f32(b) : NULL,
                   ml_f32(y),        x->info.shape[0], x->info.shape[1],
                   w->info.shape[0], (int)act,         ML_OK};
  if (y->info.count == 0) return ML_OK;
  if (j.rows <= SMALL || j.width == 0) {
    ml_parallel(j.out, small_grain(j.rows, j.width), forward_outputs, &j);
    return ML_OK;
  }
  int64_t grain = ml__row_grain(j.rows, j.width * j.out);
  if (j.rows * j.width * j.out < FUSED) {
    ml_parallel(j.rows, grain, plain_rows, &j);
    return j.err < 0 ? ml_fail(j.err, "linear: oneDNN failed") : ML_OK;
  }
  ML_TRY(ml__gemm_prepare(ML_MIN(grain, j.rows), j.rows % grain, j.out, j.width, b != NULL, j.act));
  ml_parallel(j.rows, grain, forward_rows, &j);
  return j.err < 0 ? ml_fail(j.err, "linear: oneDNN failed") : ML_OK;
}

/* -- backward -- */

typedef struct backward_job {
  const float *x, *y, *g;
  float *w, *dx, *dz; /* dz: g through the activation; g itself where there is none */
  const float *far;   /* w with its rows `far_width` apart: itself or `spread` */
  float *spread;
  int64_t far_width;
  float *dw, *db;
  float alpha, beta; /* dw = alpha dz' x + beta dw */
  int64_t rows, width, out;
  int act;
  ml_err err;
} backward_job;

ML_CLONES static void through_activation(const backward_job *j, int64_t begin, int64_t end) {
  const float *restrict y = j->y, *restrict g = j->g;
  float *restrict dz = j->dz;
  if (j->act == ML_ACT_RELU)
    for (int64_t i = begin; i < end; i++) dz[i] = y[i] > 0 ? g[i] : 0;
  else
    for (int64_t i = begin; i < end; i++) dz[i] = g[i] * y[i] * (1 - y[i]);
}

static void backward_rows(void *ctx, int64_t begin, int64_t end) {
  backward_job *j = ctx;
  if (j->act != ML_ACT_NONE) through_activation(j, begin * j->out, end * j->out);
  if (!j->dx) return;
  ml_err e = ml__gemm(false, false, end - begin, j->width, j->out, 1, j->dz + begin * j->out,
                      j->out, j->far, j->far_width, 0, j->dx + begin * j->width, j->width);
  if (e < 0) j->err = e;
}

/* db[n] = alpha sum_b dz[b,n] + beta db[n]: column sums, in the order of the batch. */
ML_CLONES static void bias_gradient(const backward_job *j, int64_t begin, int64_t end) {
  float sum[64];
  for (int64_t at = begin; at < end; at += 64) {
    int64_t n = ML_MIN(end - at, 64);
    memset(sum, 0, sizeof sum);
    for (int64_t r = 0; r < j->rows; r++) {
      const float *restrict row = j->dz + r * j->out + at;
      for (int64_t i = 0; i < n; i++) sum[i] += row[i];
    }
    for (int64_t i = 0; i < n; i++)
      j->db[at + i] = j->alpha * sum[i] + (j->beta == 0 ? 0 : j->db[at + i]);
  }
}

static bool packed_wins(int64_t out, int64_t width) {
  return out >= 128 && width >= 64 && ml__gemm_packed_fast();
}

static void backward_outputs(void *ctx, int64_t begin, int64_t end) {
  backward_job *j = ctx;
  if (j->db) bias_gradient(j, begin, end);
  if (!j->dw) return;
  int64_t n = end - begin, k = j->width;
  const float *a = j->dz + begin;
  float *c = j->dw + begin * k;
  ml_err e = packed_wins(j->out, k) ? ml__gemm_packed(ML_F32, n, k, j->rows, j->alpha, a, 1, j->out,
                                                      j->x, k, 1, j->beta != 0, c, k)
                                    : ml__gemm(true, false, n, k, j->rows, j->alpha, a, j->out,
                                               j->x, k, j->beta, c, k);
  if (e < 0) j->err = e;
}

/*
 * Rows of w that lie a multiple of 1 KiB apart fall into few sets of the cache, and oneDNN takes
 * half as long again over dx (64 against 96 GFLOP/s a core at 256 x 512): it is given a copy with
 * rows further apart, which costs one pass over w.
 */
static void copy_rows(void *ctx, int64_t begin, int64_t end) {
  backward_job *j = ctx;
  for (int64_t n = begin; n < end; n++)
    memcpy(j->spread + n * j->far_width, j->w + n * j->width, (size_t)j->width * sizeof(float));
}

static ml_err spread_rows(backward_job *j, int64_t *bytes) {
  j->far = j->w;
  j->far_width = j->width;
  *bytes = 0;
  if (!j->dx || j->width % 256 != 0 || j->rows < 32) return ML_OK;
  j->far_width = j->width + 16;
  *bytes = j->out * j->far_width * (int64_t)sizeof(float);
  ML_TRY(ml__alloc((void **)&j->spread, *bytes));
  ml_parallel(j->out, (1 << 16) / j->width + 1, copy_rows, j);
  j->far = j->spread;
  return ML_OK;
}

static ml_err backward_large(backward_job *j) {
  int64_t work = j->rows * j->width, bytes;
  ML_TRY(spread_rows(j, &bytes));
  ml_parallel(j->rows, ml__row_grain(j->rows, j->width * j->out), backward_rows, j);
  if (bytes) ml__release(j->spread, bytes);
  /* Output rows per cut: at least ML__CUT multiplications; a thread's share where sums do
     not depend on it, else 64 or 128; in sixes, the height of gemm_packed's tiles. */
  int64_t least = ML__CUT / ML_MAX(work, 1), share = (j->out + ml_threads() - 1) / ml_threads();
  int64_t grain = packed_wins(j->out, j->width) ? share
                  : j->out >= 256               ? 128
                                                : ML_MIN(64, (j->out + 1) / 2);
  grain = (ML_MAX(grain, least) + 5) / 6 * 6;
  if (j->dw || j->db) ml_parallel(j->out, grain, backward_outputs, j);
  return j->err < 0 ? ml_fail(j->err, "linear: oneDNN failed") : ML_OK;
}

typedef struct small_job {
  backward_job *j;
  float *parts; /* dx of each cut, [cuts, rows, width] */
  int64_t grain;
} small_job;

static void small_outputs(void *ctx, int64_t begin, int64_t end) {
  small_job *s = ctx;
  backward_job *j = s->j;
  int64_t cut = begin / s->grain;
  float *dx = j->dx ? s->parts + cut * j->rows * j->width : NULL;
  if (dx) memset(dx, 0, (size_t)(j->rows * j->width) * sizeof *dx);
  ml__linear_small_backward(j->rows, j->width, begin, end, j->x, j->dz, j->out, j->w, dx, j->dw,
                            j->alpha, j->beta);
  if (j->db) bias_gradient(j, begin, end);
}

static ml_err backward_small(backward_job *j) {
  if (j->act != ML_ACT_NONE) through_activation(j, 0, j->rows * j->out);
  small_job s = {j, NULL, small_grain(j->rows, j->width)};
  int64_t cuts = (j->out + s.grain - 1) / s.grain, size = j->rows * j->width;
  if (j->dx) ML_TRY(ml__alloc((void **)&s.parts, cuts * size * (int64_t)sizeof(float)));
  ml_parallel(j->out, s.grain, small_outputs, &s);
  if (j->dx) {
    memcpy(j->dx, s.parts, (size_t)size * sizeof(float));
    for (int64_t c = 1; c < cuts; c++)
      for (int64_t i = 0; i < size; i++) j->dx[i] += s.parts[c * size + i];
    ml__release(s.parts, cuts * size * (int64_t)sizeof(float));
  }
  return ML_OK;
}

/*
 * Few outputs for many rows (a network's last layer): x is read and dx written once, in one pass,
 * by the loops for small batches with the parts of w and x exchanged. dw is what they call dx, so
 * each cut of the batch has a part of its own, added up in order.
 */
typedef struct narrow_job {
  backward_job *j;
  float *dz;    /* [out, rows] */
  float *parts; /* dw of each cut, [cuts, out, width] */
  int64_t grain;
} narrow_job;

static void narrow_rows(void *ctx, int64_t begin, int64_t end) {
  narrow_job *s = ctx;
  backward_job *j = s->j;
  if (j->act != ML_ACT_NONE) through_activation(j, begin * j->out, end * j->out);
  for (int64_t n = 0; n < j->out; n++)
    for (int64_t r = begin; r < end; r++) s->dz[n * j->rows + r] = j->dz[r * j->out + n];
  float *dw = s->parts + begin / s->grain * j->out * j->width;
  memset(dw, 0, (size_t)(j->out * j->width) * sizeof *dw);
  ml__linear_small_backward(j->out, j->width, begin, end, j->w, s->dz, j->rows, j->x, dw, j->dx, 1,
                            0);
}

static ml_err backward_narrow(backward_job *j) {
  /* a pass over some 256 KiB of x and as much of dx for each cut */
  narrow_job s = {.j = j, .grain = ML_MAX(8, (1 << 16) / (j->width * j->out))};
  int64_t cuts = (j->rows + s.grain - 1) / s.grain, size = j->out * j->width;
  int64_t dz_bytes = j->out * j->rows * (int64_t)sizeof(float);
  int64_t part_bytes = cuts * size * (int64_t)sizeof(float);
  ML_TRY(ml__alloc((void **)&s.dz, dz_bytes));
  ml_err e = ml__alloc((void **)&s.parts, part_bytes);
  if (e == ML_OK) {
    ml_parallel(j->rows, s.grain, narrow_rows, &s);
    for (int64_t c = 1; c < cuts; c++)
      for (int64_t i = 0; i < size; i++) s.parts[i] += s.parts[c * size + i];
    if (j->dw)
      for (int64_t i = 0; i < size; i++)
        j->dw[i] = j->alpha * s.parts[i] + (j->beta == 0 ? 0 : j->dw[i]);
    if (j->db) bias_gradient(j, 0, j->out);
    ml__release(s.parts, part_bytes);
  }
  ml__release(s.dz, dz_bytes);
  return e;
}

/* In double, for f64 and for the reference. */
static void backward_reference(ml_tensor *x, ml_tensor *w, ml_tensor *y, ml_tensor *g, int act,
                               ml_tensor *dx, ml_tensor *dw, ml_tensor *db) {
  int64_t rows = x->info.shape[0], width = x->info.shape[1], out = w->info.shape[0];
  int d = x->info.dtype;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t n = 0; n < out; n++) {
      double v = ml__load(y->info.data, d, r * out + n), z = ml__load(g->info.data, d, r * out + n);
      if (act == ML_ACT_RELU) z = v > 0 ? z : 0;
      if (act == ML_ACT_SIGMOID) z *= v * (1 - v);
      if (db) ml__store(db->info.data, d, n, ml__load(db->info.data, d, n) + z);
      for (int64_t k = 0; k < width; k++) {
        int64_t i = r * width + k, o = n * width + k;
        double xv = ml__load(x->info.data, d, i), wv = ml__load(w->info.data, d, o);
        if (dx) ml__store(dx->info.data, d, i, ml__load(dx->info.data, d, i) + z * wv);
        if (dw) ml__store(dw->info.data, d, o, ml__load(dw->info.data, d, o) + z * xv);
      }
    }
  }
}

static ml_err new_like(ml_tensor **out, const ml_tensor *like, bool zero) {
  return zero ? ml__zeros_like(out, like) : ml__new_like(out, like);
}

/* Gradients by x, w and b; with SGD to be fused, those of w and b go straight into them. */
static ml_err gradients(ml_node *n, ml_tensor *x, ml_tensor *w, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *b = n->in[2], *y = n->saved[0], *dz = NULL;
  int act = (int)n->scalar[0].i;
  bool slow = ml__reference_on || x->info.dtype != ML_F32;
  const ml_update *uw = slow ? NULL : ml__fused(n->in[1]), *ub = slow ? NULL : ml__fused(b);
  bool sgd = uw && uw->kind == ML_UPDATE_SGD &&
             (!b || (ub && ub->kind == ML_UPDATE_SGD && ub->lr == uw->lr));
  ml_err e = ML_OK;
  if (ml__wants(n->in[0])) e = new_like(&gin[0], x, slow || w->info.shape[0] == 0);
  if (e == ML_OK && !sgd && ml__wants(w)) e = new_like(&gin[1], w, slow || x->info.shape[0] == 0);
  if (e == ML_OK && !sgd && ml__wants(b)) e = new_like(&gin[2], b, slow || x->info.shape[0] == 0);
  if (e < 0) return e;
  if (slow) {
    backward_reference(x, w, y, g, act, gin[0], gin[1], gin[2]);
    return ML_OK;
  }
  if (y->info.count == 0) return ML_OK;
  if (act != ML_ACT_NONE) ML_TRY(ml__new(&dz, ML_F32, 2, y->info.shape));
  backward_job j = {.x = ml_f32(x),
                    .y = ml_f32(y),
                    .g = ml_f32(g),
                    .w = ml_f32(w),
                    .dx = gin[0] ? ml_f32(gin[0]) : NULL,
                    .dz = ml_f32(dz ? dz : g),
                    .alpha = 1,
                    .rows = x->info.shape[0],
                    .width = x->info.shape[1],
                    .out = w->info.shape[0],
                    .act = act};
  if (sgd) {
    j.dw = j.w;
    j.db = b ? ml_f32(b) : NULL;
    j.alpha = (float)-uw->lr;
    j.beta = 1;
  } else {
    j.dw = gin[1] ? ml_f32(gin[1]) : NULL;
    j.db = gin[2] ? ml_f32(gin[2]) : NULL;
  }
  e = j.rows <= SMALL || j.width == 0 ? backward_small(&j)
      : j.out <= SMALL                ? backward_narrow(&j)
                                      : backward_large(&j);
  if (sgd) {
    ml__touch(w);
    if (b) ml__touch(b);
  }
  ml__unref(dz);
  return e;
}

ml_err ml_linear_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = NULL, *w = NULL;
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK) e = ml__contiguous(&w, n->in[1]);
  if (e == ML_OK) {
    if (w != n->in[1]) w->info.requires_grad = n->in[1]->info.requires_grad;
    e = gradients(n, x, w, g, gin);
  }
  ml__unref(x);
  ml__unref(w);
  return e;
}
