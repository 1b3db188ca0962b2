/*
 * cross_entropy: how badly logits predict classes, and nll_loss: the same of log-probabilities.
 *
 *   input   [C], or [N, C, …]: x at N … positions
 *   target  ids from 0, one a position, or probabilities of input's shape
 *   weight  [C] or absent (1)
 *
 * At one position, with z = ln sum_c e^x_c and q_c what the class weighs there,
 *   loss = sum_c q_c (z - x_c),  d loss / d x_c = sum(q) e^(x_c - z) - q_c
 *   q_c = w_c ((1 - s) t_c + s / C), t_c = 1 for the id's class alone, s = label_smoothing.
 * Positions whose id is ignore_index count as 0. The mean is over sum of w of the ids, or over the
 * positions where targets are probabilities, as in PyTorch.
 *
 * z is kept for the backward, no probabilities are: x is read once each way (twice where a position
 * does not fit into cache), dx written. f32 sums in double. Rows where the classes lie side by
 * side, else tiles of positions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/exp.h"

enum { MEAN, SUM, NONE };
enum { TILE = 64, WORK = 16384 };

typedef struct job {
  const char *name;
  const ml_tensor *x, *t, *w;
  int64_t n, c, s; /* x as [n, c, s] */
  int64_t reduction, ignore;
  double smooth, weights; /* of labels; sum of w */
  bool ids, logits;       /* of target; of input */
  double *loss;           /* forward, [n s] */
  void *z;                /* [n s], x's dtype; NULL: not kept */
  const ml_tensor *g;     /* backward */
  double scale;           /* backward: of all positions */
  ml_tensor *dx;
  float *ones; /* [c] where there is no weight */
} job;

/* -- shapes -- */

static ml_err misfit(const char *op, int i, const char *name, int nd, const int64_t *want,
                     const ml_tensor *got) {
  char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name,
                 ml__shape_text(a, nd, want), ml__shape_text(b, got->info.ndim, got->info.shape));
}

static bool whole(const ml_tensor *t) { return t->info.dtype == ML_I32 || t->info.dtype == ML_I64; }

ml_err ml__shape_classes(int *nd, int64_t *shape, const char *op, const ml_tensor *p,
                         const ml_tensor *y, const ml_tensor *w, int64_t reduction) {
  int n = p->info.ndim, at = n == 1 ? 0 : 1;
  int64_t positions[ML_MAX_DIM];
  if (n == 0)
    return ml_fail(ML_ESHAPE, "bad argument #1 to '%s' (input: expected [C] or [N, C, …], got [])",
                   op);
  for (int d = 0, k = 0; d < n; d++)
    if (d != at) positions[k++] = p->info.shape[d];
  const int64_t *want = whole(y) ? positions : p->info.shape;
  int want_n = whole(y) ? n - 1 : n;
  if (y->info.ndim != want_n || memcmp(y->info.shape, want, sizeof(int64_t) * (size_t)want_n) != 0)
    return misfit(op, 2, "target", want_n, want, y);
  if (w && (w->info.ndim != 1 || w->info.shape[0] != p->info.shape[at]))
    return misfit(op, 3, "weight", 1, p->info.shape + at, w);
  *nd = reduction == NONE ? n - 1 : 0;
  memcpy(shape, positions, sizeof(int64_t) * (size_t)*nd);
  return ML_OK;
}

ml_err ml__shape_positions(int *nd, int64_t *shape, const ml_tensor *p) {
  *nd = 1;
  shape[0] = 1;
  for (int d = 0; d < p->info.ndim; d++)
    if (d != (p->info.ndim == 1 ? 0 : 1)) shape[0] *= p->info.shape[d];
  return ML_OK;
}

/* Ids as they are, probabilities in x's dtype; in row order. */
static ml_err as_target(ml_tensor **out, ml_tensor *t, const ml_tensor *x) {
  if (whole(t) || t->info.dtype == x->info.dtype) return ml__contiguous(out, t);
  ML_TRY(ml__new(out, x->info.dtype, t->info.ndim, t->info.shape));
  ml_err e = ml__copy(*out, t);
  if (e == ML_OK) return e;
  ml__unref(*out);
  *out = NULL;
  return e;
}

static job describe(const char *name, const ml_tensor *x, const ml_tensor *t, const ml_tensor *w) {
  job j = {.name = name, .x = x, .t = t, .w = w, .n = 1, .c = x->info.shape[0], .s = 1};
  j.ids = whole(t);
  if (x->info.ndim > 1) {
    j.n = x->info.shape[0];
    j.c = x->info.shape[1];
    for (int d = 2; d < x->info.ndim; d++) j.s *= x->info.shape[d];
  }
  for (int64_t c = 0; c < j.c; c++) j.weights += w ? ml__load(w->info.data, w->info.dtype, c) : 1;
  return j;
}

static int64_t id_at(const job *j, int64_t position) {
  return j->t->info.dtype == ML_I64 ? ((const int64_t *)j->t->info.data)[position]
                                    : ((const int32_t *)j->t->info.data)[position];
}

static double weight(const job *j, int64_t c) {
  return j->w ? ml__load(j->w->info.data, j->w->info.dtype, c) : 1;
}

static ml_err check_ids(const job *j) {
  for (int64_t i = 0; j->ids && i < j->n * j->s; i++) {
    int64_t id = id_at(j, i);
    if (id != j->ignore && (id < 0 || id >= j->c))
      return ml_fail(ML_ERANGE,
                     "bad argument #2 to '%s' (target: id %lld at position %lld is outside 0 to "
                     "%lld)",
                     j->name, (long long)id, (long long)i, (long long)j->c - 1);
  }
  return ML_OK;
}

/* What the sum of all positions is divided by. */
static double divisor(const job *j) {
  if (j->reduction != MEAN) return 1;
  if (!j->ids) return (double)(j->n * j->s);
  double sum = 0;
  for (int64_t i = 0; i < j->n * j->s; i++)
    if (id_at(j, i) != j->ignore) sum += weight(j, id_at(j, i));
  return sum;
}

/* -- reference -- */

/* q_c at a position (of sample n, place s). */
static double share(const job *j, int64_t position, int64_t at, int64_t c) {
  double t =
      j->ids ? (id_at(j, position) == c ? 1 : 0) : ml__load(j->t->info.data, j->t->info.dtype, at);
  return weight(j, c) * ((1 - j->smooth) * t + j->smooth / (double)j->c);
}

static void reference(job *j, int64_t position) {
  int64_t first = position / j->s * j->c * j->s + position % j->s;
  int d = j->x->info.dtype;
  double top = -INFINITY, sum = 0, z = 0, loss = 0;
  if (j->ids && id_at(j, position) == j->ignore) {
    j->loss[position] = 0;
    if (j->z) ml__store(j->z, d, position, 0);
    return;
  }
  for (int64_t c = 0; c < j->c; c++)
    top = fmax(top, ml__load(j->x->info.data, d, first + c * j->s));
  for (int64_t c = 0; c < j->c; c++)
    sum += exp(ml__load(j->x->info.data, d, first + c * j->s) - top);
  if (j->logits) z = top + log(sum);
  for (int64_t c = 0; c < j->c; c++) {
    double q = share(j, position, first + c * j->s, c);
    if (q != 0) loss += q * (z - ml__load(j->x->info.data, d, first + c * j->s));
  }
  j->loss[position] = loss;
  if (j->z) ml__store(j->z, d, position, z);
}

static double scale_at(const job *j, int64_t position) {
  if (j->ids && id_at(j, position) == j->ignore) return 0;
  return j->scale * (j->g ? ml__load(j->g->info.data, j->g->info.dtype, position) : 1);
}

static void reference_backward(job *j, int64_t position) {
  int64_t first = position / j->s * j->c * j->s + position % j->s;
  int d = j->x->info.dtype;
  double scale = scale_at(j, position), sum = 0, z = ml__load(j->z, d, position);
  for (int64_t c = 0; c < j->c; c++) sum += share(j, position, first + c * j->s, c);
  for (int64_t c = 0; c < j->c; c++) {
    int64_t at = first + c * j->s;
    double p = j->logits ? exp(ml__load(j->x->info.data, d, at) - z) : 0;
    double v = scale == 0 ? 0 : scale * (sum * p - share(j, position, at, c));
    ml__store(j->dx->info.data, d, at, v);
  }
}

/* -- rows, f32 -- */

ML_CLONES static double row_z(int64_t n, const float *x) {
  float top = ml__largest32(n, x);
  if (isinf(top)) return (double)top;
  return (double)top + log(ml__exps32(n, x, top, 0, NULL));
}

/* What has no share adds nothing, even where its logit is -inf. */
static inline double shared(double q, float x) { return q != 0 ? q * (double)x : 0; }

ML_CLONES static double dot(int64_t n, const float *restrict a, const float *restrict b) {
  double lane[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int k = 0; k < 16; k++) lane[k] += shared((double)a[i + k], b[i + k]);
  for (; i < n; i++) sum += shared((double)a[i], b[i]);
  for (int k = 0; k < 16; k++) sum += lane[k];
  return sum;
}

ML_CLONES static double dot3(int64_t n, const float *restrict a, const float *restrict b,
                             const float *restrict c) {
  double lane[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int k = 0; k < 16; k++) lane[k] += shared((double)a[i + k] * (double)b[i + k], c[i + k]);
  for (; i < n; i++) sum += shared((double)a[i] * (double)b[i], c[i]);
  for (int k = 0; k < 16; k++) sum += lane[k];
  return sum;
}

/* sum_c q_c, and sum_c q_c x_c where x is not NULL, at a row. */
static double row_shares(const job *j, int64_t r, const float *x, double *weighed) {
  double even = j->smooth / (double)j->c, sum = even * j->weights, of_x = 0;
  if (even > 0 && x) of_x = even * dot(j->c, j->ones, x);
  if (j->ids) {
    int64_t id = id_at(j, r);
    double q = (1 - j->smooth) * (double)j->ones[id];
    sum += q;
    if (x && q != 0) of_x += q * (double)x[id];
  } else {
    const float *t = ml_f32(j->t) + r * j->c;
    sum += (1 - j->smooth) * dot(j->c, j->ones, t);
    if (x) of_x += (1 - j->smooth) * dot3(j->c, j->ones, t, x);
  }
  if (x) *weighed = of_x;
  return sum;
}

static void forward_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t r = begin; r < end; r++) {
    const float *x = ml_f32(j->x) + r * j->c;
    double z = 0, weighed = 0;
    j->loss[r] = 0;
    if (!j->ids || id_at(j, r) != j->ignore) {
      z = row_z(j->c, x);
      double sum = row_shares(j, r, x, &weighed);
      j->loss[r] = sum * z - weighed;
    }
    if (j->z) ((float *)j->z)[r] = (float)z;
  }
}

/* dx = a e^(x - z) - even w - (rest w t), the last where t is not NULL. */
ML_CLONES static void slope_row(int64_t n, const float *restrict x, float a, float z, float even,
                                float rest, const float *restrict w, const float *restrict t,
                                float *restrict dx) {
  if (t)
    for (int64_t c = 0; c < n; c++) dx[c] = a * ml__exp32(x[c] - z) - w[c] * (even + rest * t[c]);
  else if (even != 0)
    for (int64_t c = 0; c < n; c++) dx[c] = a * ml__exp32(x[c] - z) - w[c] * even;
  else
    for (int64_t c = 0; c < n; c++) dx[c] = a * ml__exp32(x[c] - z);
}

static void backward_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t r = begin; r < end; r++) {
    float *dx = ml_f32(j->dx) + r * j->c;
    double scale = scale_at(j, r);
    if (scale == 0) {
      memset(dx, 0, (size_t)j->c * sizeof *dx);
      continue;
    }
    double sum = row_shares(j, r, NULL, NULL), rest = scale * (1 - j->smooth);
    slope_row(j->c, ml_f32(j->x) + r * j->c, (float)(scale * sum), ((float *)j->z)[r],
              (float)(scale * j->smooth / (double)j->c), (float)rest, j->ones,
              j->ids ? NULL : ml_f32(j->t) + r * j->c, dx);
    if (j->ids) dx[id_at(j, r)] -= (float)(rest * (double)j->ones[id_at(j, r)]);
  }
}

/* -- tiles of positions, f32: classes s elements apart -- */

ML_CLONES static void tile_z(int64_t c, int64_t s, int64_t n, const float *restrict x, double *z) {
  float top[TILE];
  double sum[TILE] = {0};
  for (int i = 0; i < n; i++) top[i] = -INFINITY;
  for (int64_t k = 0; k < c; k++)
    for (int i = 0; i < n; i++) top[i] = x[k * s + i] > top[i] ? x[k * s + i] : top[i];
  for (int64_t k = 0; k < c; k++)
    for (int i = 0; i < n; i++) sum[i] += (double)ml__exp32(x[k * s + i] - top[i]);
  for (int i = 0; i < n; i++) z[i] = isinf(top[i]) ? (double)top[i] : (double)top[i] + log(sum[i]);
}

/* sum_c q_c and, where x is not NULL, sum_c q_c x_c, at n positions from `at` on. */
static void tile_shares(const job *j, int64_t at, int64_t n, const float *x, const float *t,
                        double *sum, double *weighed) {
  double even = j->smooth / (double)j->c;
  for (int i = 0; i < n; i++) {
    int64_t id = j->ids ? id_at(j, at + i) : 0;
    bool counts = j->ids && id != j->ignore;
    double q = counts ? (1 - j->smooth) * (double)j->ones[id] : 0;
    sum[i] = even * j->weights + q;
    weighed[i] = x && q != 0 ? q * (double)x[id * j->s + i] : 0;
  }
  if (j->ids && (even == 0 || !x)) return;
  for (int64_t c = 0; c < j->c; c++) {
    double w = (double)j->ones[c], first = even * w, rest = (1 - j->smooth) * w;
    for (int i = 0; i < n; i++) {
      double p = t ? rest * (double)t[c * j->s + i] : 0;
      sum[i] += p;
      if (x) weighed[i] += shared(first + p, x[c * j->s + i]);
    }
  }
}

static void forward_tiles(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t tiles = (j->s + TILE - 1) / TILE;
  for (int64_t k = begin; k < end; k++) {
    int64_t from = k % tiles * TILE, n = ML_MIN(j->s - from, TILE), at = k / tiles * j->s + from;
    int64_t first = k / tiles * j->c * j->s + from;
    double z[TILE], sum[TILE], weighed[TILE];
    tile_z(j->c, j->s, n, ml_f32(j->x) + first, z);
    tile_shares(j, at, n, ml_f32(j->x) + first, j->ids ? NULL : ml_f32(j->t) + first, sum, weighed);
    for (int i = 0; i < n; i++) {
      bool ignored = j->ids && id_at(j, at + i) == j->ignore;
      j->loss[at + i] = ignored ? 0 : sum[i] * z[i] - weighed[i];
      if (j->z) ((float *)j->z)[at + i] = ignored ? 0 : (float)z[i];
    }
  }
}

ML_CLONES static void tile_slope(const job *j, int64_t n, const float *restrict x,
                                 const float *restrict t, const float *restrict a,
                                 const float *restrict z, const float *restrict scale,
                                 float *restrict dx) {
  float even = (float)(j->smooth / (double)j->c), rest = (float)(1 - j->smooth);
  int64_t s = j->s;
  for (int64_t c = 0; c < j->c; c++) {
    float w = j->ones[c], first = even * w;
    if (t)
      for (int i = 0; i < n; i++)
        dx[c * s + i] =
            a[i] * ml__exp32(x[c * s + i] - z[i]) - scale[i] * (first + rest * w * t[c * s + i]);
    else
      for (int i = 0; i < n; i++)
        dx[c * s + i] = a[i] * ml__exp32(x[c * s + i] - z[i]) - scale[i] * first;
  }
}

static void backward_tiles(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t tiles = (j->s + TILE - 1) / TILE;
  for (int64_t k = begin; k < end; k++) {
    int64_t from = k % tiles * TILE, n = ML_MIN(j->s - from, TILE), at = k / tiles * j->s + from;
    int64_t first = k / tiles * j->c * j->s + from;
    const float *t = j->ids ? NULL : ml_f32(j->t) + first;
    double sum[TILE], weighed[TILE];
    float scale[TILE], a[TILE], *dx = ml_f32(j->dx) + first;
    tile_shares(j, at, n, NULL, t, sum, weighed);
    for (int i = 0; i < n; i++) {
      double v = scale_at(j, at + i);
      scale[i] = (float)v;
      a[i] = (float)(v * sum[i]);
    }
    tile_slope(j, n, ml_f32(j->x) + first, t, a, (float *)j->z + at, scale, dx);
    for (int i = 0; j->ids && i < n; i++) {
      int64_t id = id_at(j, at + i);
      if (id != j->ignore)
        dx[id * j->s + i] -= (float)((1 - j->smooth) * (double)j->ones[id] * (double)scale[i]);
    }
    for (int i = 0; i < n; i++) /* also where e^x was no number */
      for (int64_t c = 0; scale[i] == 0 && c < j->c; c++) dx[c * j->s + i] = 0;
  }
}

/* -- who computes -- */

static bool slow(const job *j) { return ml__reference_on || j->x->info.dtype != ML_F32; }

/* By rows or tiles; w as an array, ones where there is none. */
static ml_err fast(job *j, ml_body rows, ml_body tiles) {
  float *own = NULL;
  if (j->w) {
    j->ones = ml_f32(j->w);
  } else {
    own = j->ones = malloc((size_t)(j->c + 1) * sizeof *own);
    if (!own) return ml_fail(ML_ENOMEM, "out of memory: weights of %lld classes", (long long)j->c);
    for (int64_t c = 0; c < j->c; c++) own[c] = 1;
  }
  if (j->s == 1) ml_parallel(j->n, ML_MAX(1, WORK / ML_MAX(1, j->c)), rows, j);
  else
    ml_parallel(j->n * ((j->s + TILE - 1) / TILE), ML_MAX(1, WORK / ML_MAX(1, TILE * j->c)), tiles,
                j);
  free(own);
  return ML_OK;
}

static ml_err forward(job *j, ml_tensor *y) {
  int64_t positions = j->n * j->s;
  double sum = 0;
  ML_TRY(check_ids(j));
  j->loss = malloc((size_t)(positions + 1) * sizeof *j->loss);
  if (!j->loss)
    return ml_fail(ML_ENOMEM, "out of memory: %s at %lld positions", j->name, (long long)positions);
  ml_err e = ML_OK;
  if (slow(j) || !j->logits)
    for (int64_t i = 0; i < positions; i++) reference(j, i);
  else if (positions > 0) e = fast(j, forward_rows, forward_tiles);
  for (int64_t i = 0; i < positions; i++) {
    if (j->reduction == NONE) ml__store(y->info.data, y->info.dtype, i, j->loss[i]);
    sum += j->loss[i];
  }
  if (j->reduction != NONE) ml__store(y->info.data, y->info.dtype, 0, sum / divisor(j));
  free(j->loss);
  return e;
}

ml_err ml_cross_entropy_ref(ml_tensor *y, ml_tensor *kept, const ml_tensor *x, const ml_tensor *t,
                            const ml_tensor *w, int64_t reduction, int64_t ignore, double smooth) {
  ml_tensor *own;
  if (!(smooth >= 0 && smooth <= 1))
    return ml_fail(ML_EARG,
                   "bad argument #6 to 'cross_entropy' (label_smoothing: expected 0 to 1, got %g)",
                   smooth);
  ML_TRY(as_target(&own, (ml_tensor *)t, x));
  job j = describe("cross_entropy", x, own, w);
  j.reduction = reduction, j.ignore = ignore, j.smooth = smooth, j.logits = true;
  j.z = kept ? kept->info.data : NULL;
  ml_err e = forward(&j, y);
  ml__unref(own);
  return e;
}

/* One element of a row at each position, and no others: -w x at the id. */
ml_err ml_nll_loss_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *t, const ml_tensor *w,
                       int64_t reduction, int64_t ignore) {
  job j = describe("nll_loss", x, t, w);
  j.reduction = reduction, j.ignore = ignore;
  ML_TRY(check_ids(&j));
  double sum = 0;
  for (int64_t i = 0; i < j.n * j.s; i++) {
    int64_t id = id_at(&j, i), at = (i / j.s * j.c + id) * j.s + i % j.s;
    double v = id == ignore ? 0 : -weight(&j, id) * ml__load(x->info.data, x->info.dtype, at);
    if (reduction == NONE) ml__store(y->info.data, y->info.dtype, i, v);
    sum += v;
  }
  if (reduction != NONE) ml__store(y->info.data, y->info.dtype, 0, sum / divisor(&j));
  return ML_OK;
}

static void nll_slopes(job *j) {
  ml__fill(j->dx, 0);
  for (int64_t i = 0; i < j->n * j->s; i++) {
    int64_t id = id_at(j, i);
    if (id == j->ignore) continue;
    ml__store(j->dx->info.data, j->dx->info.dtype, (i / j->s * j->c + id) * j->s + i % j->s,
              -scale_at(j, i) * weight(j, id));
  }
}

static ml_err backward(ml_node *n, ml_tensor *g, ml_tensor **gin, bool logits) {
  ml_tensor *x = NULL, *t = NULL, *w = NULL;
  if (ml__wants(n->in[1])) return ml_fail(ML_ESTATE, "%s: no gradient by the target", n->name);
  if (ml__wants(n->in[2])) return ml_fail(ML_ESTATE, "%s: no gradient by the weight", n->name);
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK) e = as_target(&t, n->in[1], x);
  if (e == ML_OK && n->in[2]) e = ml__contiguous(&w, n->in[2]);
  if (e == ML_OK) e = ml__new(&gin[0], x->info.dtype, x->info.ndim, x->info.shape);
  if (e == ML_OK && x->info.count > 0) {
    job j = describe(n->name, x, t, w);
    j.reduction = n->scalar[0].i, j.ignore = n->scalar[1].i, j.logits = logits;
    j.smooth = logits ? n->scalar[2].d : 0;
    j.z = logits ? n->saved[1]->info.data : NULL;
    j.dx = gin[0];
    j.g = j.reduction == NONE ? g : NULL;
    j.scale = j.g ? 1 : ml__load(g->info.data, g->info.dtype, 0) / divisor(&j);
    if (!logits) nll_slopes(&j);
    else if (slow(&j))
      for (int64_t i = 0; i < j.n * j.s; i++) reference_backward(&j, i);
    else e = fast(&j, backward_rows, backward_tiles);
  }
  ml__unref(x);
  ml__unref(t);
  ml__unref(w);
  return e;
}

ml_err ml_cross_entropy_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, true);
}

ml_err ml_nll_loss_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return backward(n, g, gin, false);
}
