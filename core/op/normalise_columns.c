/*
 * norm_columns: batch_norm in f32 where a channel has few elements in a sample, [N, C] among them.
 *
 * A sample is a row of width c s. Rows are cut in chunks that sum each column in double; the
 * chunks' sums are added in their order, then the s columns of a channel. Two passes over memory.
 */
#include <stdlib.h>
#include <string.h>

#include "op/normalise.h"

typedef struct job {
  const ml_normalise *of;
  bool back;
  int64_t width, chunk; /* rows */
  const double *k;      /* [width]: the shift of a column; backward: NULL */
  double *part;         /* [chunks][2][width] */
  ml_line *line;        /* [width]: y; backward: dx, less p g */
  ml_line *norm;        /* [width], backward: h */
  float *p;
} job;

ML_CLONES static void moments(int64_t n, const float *restrict x, const double *restrict k,
                              double *restrict s, double *restrict q) {
  for (int64_t i = 0; i < n; i++) {
    double v = (double)x[i] - k[i];
    s[i] += v;
    q[i] += v * v;
  }
}

ML_CLONES static void products(int64_t n, const float *restrict x, const float *restrict g,
                               const ml_line *restrict t, double *restrict s, double *restrict q) {
  for (int64_t i = 0; i < n; i++) {
    float h = (x[i] - t[i].middle) * t[i].scale + t[i].shift;
    s[i] += (double)g[i];
    q[i] += (double)g[i] * (double)h;
  }
}

ML_CLONES static void affine(int64_t n, const float *restrict x, const ml_line *restrict t,
                             float *restrict y) {
  for (int64_t i = 0; i < n; i++) y[i] = (x[i] - t[i].middle) * t[i].scale + t[i].shift;
}

ML_CLONES static void slope(int64_t n, const float *restrict x, const float *restrict g,
                            const float *restrict p, const ml_line *restrict t,
                            float *restrict dx) {
  for (int64_t i = 0; i < n; i++)
    dx[i] = p[i] * g[i] + ((x[i] - t[i].middle) * t[i].scale + t[i].shift);
}

static void sum_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  const ml_normalise *o = j->of;
  int64_t n = j->width;
  double *s = j->part + begin / j->chunk * 2 * n, *q = s + n;
  memset(s, 0, (size_t)n * 2 * sizeof *s);
  for (int64_t r = begin; r < end; r++) {
    const float *x = ml_f32(o->x) + r * n;
    if (j->back) products(n, x, ml_f32(o->g) + r * n, j->norm, s, q);
    else moments(n, x, j->k, s, q);
  }
}

static void apply_rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  const ml_normalise *o = j->of;
  int64_t n = j->width;
  for (int64_t r = begin; r < end; r++) {
    const float *x = ml_f32(o->x) + r * n;
    if (j->back) slope(n, x, ml_f32(o->g) + r * n, j->p, j->line, ml_f32(o->dx) + r * n);
    else affine(n, x, j->line, ml_f32(o->y) + r * n);
  }
}

/* Sums by column into part[0:2 width), by channel into its first 2 c. */
static void add_up(job *j, int64_t chunks) {
  const ml_normalise *o = j->of;
  int64_t n = j->width;
  double *sum = j->part;
  for (int64_t k = 1; k < chunks; k++)
    for (int64_t i = 0; i < 2 * n; i++) sum[i] += j->part[k * 2 * n + i];
  for (int64_t c = 0; c < o->c; c++) {
    double a = 0, b = 0;
    for (int64_t i = c * o->s; i < (c + 1) * o->s; i++) a += sum[i], b += sum[n + i];
    sum[c] = a; /* column c has been read: c s >= c */
    sum[n + c] = b;
  }
}

static ml_err run(job *j, ml_normalise *o) {
  int64_t n = o->c * o->s, rows = o->n;
  j->of = o;
  j->width = n;
  j->chunk = ML_MAX(ML_MAX(1, 16384 / n), (rows + 63) / 64);
  int64_t chunks = (rows + j->chunk - 1) / j->chunk;
  int64_t bytes = (chunks * 2 + 1) * n * (int64_t)sizeof(double);
  int64_t lines = n * (int64_t)(2 * sizeof(ml_line) + sizeof(float));
  ML_TRY(ml__alloc((void **)&j->part, bytes));
  ml_err e = ml__alloc((void **)&j->line, lines);
  if (e < 0) {
    ml__release(j->part, bytes);
    return e;
  }
  j->norm = j->line + n;
  j->p = (float *)(j->norm + n);
  double *k = j->part + chunks * 2 * n, m = (double)ml__norm_members(o), var;
  for (int64_t i = 0; i < n; i++) {
    const double *stats = o->stats + 2 * (i / o->s);
    k[i] = (double)ml_f32(o->x)[i / o->s * o->s];
    if (j->back) j->norm[i] = ml__line(stats[0], stats[1], 0);
  }
  j->k = k;
  if (j->back || !o->fixed) {
    ml_parallel(rows, j->chunk, sum_rows, j);
    add_up(j, chunks);
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t c = i / o->s;
    double *stats = o->stats + 2 * c, w = o->w ? (double)ml_f32(o->w)[c] : 1;
    if (!j->back && !o->fixed && i % o->s == 0)
      ml__norm_finish(o, stats, m, k[i], j->part[c], j->part[n + c], &var);
    double a = o->fixed ? 0 : j->part[c] * w / m, b = o->fixed ? 0 : j->part[n + c] * w / m;
    double r = stats[1], shift = o->b ? (double)ml_f32(o->b)[c] : 0;
    j->line[i] =
        j->back ? ml__line(stats[0], -r * r * b, -r * a) : ml__line(stats[0], r * w, shift);
    j->p[i] = (float)(r * w);
  }
  if (!j->back || o->dx) ml_parallel(rows, j->chunk, apply_rows, j);
  for (int64_t c = 0; j->back && c < o->c; c++) {
    if (o->db) ml_f32(o->db)[c] = (float)j->part[c];
    if (o->dw) ml_f32(o->dw)[c] = (float)j->part[n + c];
  }
  ml__release(j->part, bytes);
  ml__release(j->line, lines);
  return ML_OK;
}

ml_err ml__norm_columns(ml_normalise *o) {
  job j = {.back = false};
  return run(&j, o);
}

ml_err ml__norm_columns_backward(ml_normalise *o) {
  job j = {.back = true};
  return run(&j, o);
}
