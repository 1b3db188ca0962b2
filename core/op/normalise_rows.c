/*
 * norm_rows: normalisation of rows in cache, f32, with parameters by element of a row: layer_norm,
 * rms_norm, and group_norm where a channel has few elements in a sample.
 *
 * A row of group_norm is a group; its parameters, by channel, are laid out by element first, and
 * repeat every `groups` rows. One pass over memory each way; sums by parameter are gathered in f32
 * over BLOCK rows, in double over a chunk, and added up over the chunks in their order.
 */
#include <stdlib.h>
#include <string.h>

#include "op/normalise.h"

enum { BLOCK = 32, LANES = 16 };

typedef struct job {
  const ml_normalise *of;
  int64_t rows, d, period; /* rows of d elements; parameters repeat every `period` rows */
  const float *w, *b;      /* [period d], or NULL */
  float *by_element;       /* what w and b were laid out in, or NULL */
  int64_t chunk;           /* rows, a multiple of the period */
  double *part;            /* [chunks][2][period d]: sums of g h, of g */
  bool failed;
} job;

/* Sums of x - k and of its squares. */
ML_CLONES static void moments(int64_t n, const float *restrict x, double k, double *sum,
                              double *squares) {
  double s[LANES] = {0}, q[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    for (int l = 0; l < LANES; l++) {
      double v = (double)x[i + l] - k;
      s[l] += v;
      q[l] += v * v;
    }
  }
  for (int l = 0; i < n; i++, l++) {
    double v = (double)x[i] - k;
    s[l] += v;
    q[l] += v * v;
  }
  *sum = *squares = 0;
  for (int l = 0; l < LANES; l++) *sum += s[l], *squares += q[l];
}

ML_CLONES static void affine_row(int64_t n, const float *restrict x, ml_line t,
                                 const float *restrict w, const float *restrict b,
                                 float *restrict y) {
  float middle = t.middle, scale = t.scale, shift = t.shift;
  if (w && b)
    for (int64_t i = 0; i < n; i++) y[i] = ((x[i] - middle) * scale + shift) * w[i] + b[i];
  else if (w)
    for (int64_t i = 0; i < n; i++) y[i] = ((x[i] - middle) * scale + shift) * w[i];
  else if (b)
    for (int64_t i = 0; i < n; i++) y[i] = ((x[i] - middle) * scale + shift) + b[i];
  else
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale + shift;
}

static void forward(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  const ml_normalise *o = j->of;
  for (int64_t r = begin; r < end; r++) {
    const float *x = ml_f32(o->x) + r * j->d;
    double k = o->rms ? 0 : (double)x[0], sum, squares, var, *stats = o->stats + 2 * r;
    int64_t at = r % j->period * j->d;
    moments(j->d, x, k, &sum, &squares);
    ml__norm_finish(o, stats, (double)j->d, k, sum, squares, &var);
    affine_row(j->d, x, ml__line(stats[0], stats[1], 0), j->w ? j->w + at : NULL,
               j->b ? j->b + at : NULL, ml_f32(o->y) + r * j->d);
  }
}

/* Parameters by channel laid out by element, s to each. */
static ml_err prepare(job *j, const ml_normalise *o) {
  *j = (job){.of = o, .rows = o->n * o->groups, .d = o->c / o->groups * o->s, .period = o->groups};
  if (o->s == 1 || (!o->w && !o->b)) {
    j->w = o->w ? ml_f32(o->w) : NULL;
    j->b = o->b ? ml_f32(o->b) : NULL;
    return ML_OK;
  }
  int64_t n = o->c * o->s;
  float *t = j->by_element = malloc((size_t)n * 2 * sizeof *t);
  if (!t) return ml_fail(ML_ENOMEM, "out of memory: parameters by element");
  for (int64_t i = 0; i < n; i++) {
    if (o->w) t[i] = ml_f32(o->w)[i / o->s];
    if (o->b) t[n + i] = ml_f32(o->b)[i / o->s];
  }
  j->w = o->w ? t : NULL;
  j->b = o->b ? t + n : NULL;
  return ML_OK;
}

ml_err ml__norm_rows(ml_normalise *o) {
  job j;
  ML_TRY(prepare(&j, o));
  ml_parallel(j.rows, ML_MAX(1, 16384 / ML_MAX(1, j.d)), forward, &j);
  free(j.by_element);
  return ML_OK;
}

/* -- backward -- */

/* Sums of g w and of g w h. */
ML_CLONES static void products(int64_t n, const float *restrict x, const float *restrict g,
                               const float *restrict w, ml_line t, double *a, double *b) {
  double s[LANES] = {0}, q[LANES] = {0};
  float middle = t.middle, scale = t.scale, shift = t.shift;
  int64_t i = 0;
  if (w) {
    for (; i + LANES <= n; i += LANES) {
      for (int l = 0; l < LANES; l++) {
        float h = (x[i + l] - middle) * scale + shift, v = g[i + l] * w[i + l];
        s[l] += (double)v;
        q[l] += (double)v * (double)h;
      }
    }
  } else {
    for (; i + LANES <= n; i += LANES) {
      for (int l = 0; l < LANES; l++) {
        float h = (x[i + l] - middle) * scale + shift;
        s[l] += (double)g[i + l];
        q[l] += (double)g[i + l] * (double)h;
      }
    }
  }
  for (int l = 0; i < n; i++, l++) {
    float h = (x[i] - middle) * scale + shift, v = w ? g[i] * w[i] : g[i];
    s[l] += (double)v;
    q[l] += (double)v * (double)h;
  }
  *a = *b = 0;
  for (int l = 0; l < LANES; l++) *a += s[l], *b += q[l];
}

/* dx = r (g w - a - h b), and sums by parameter where sw is not NULL. */
ML_CLONES static void slope_row(int64_t n, const float *restrict x, const float *restrict g,
                                const float *restrict w, ml_line t, float a, float b,
                                float *restrict dx, float *restrict sw, float *restrict sb) {
  float middle = t.middle, r = t.scale, shift = t.shift;
  if (dx && w) {
    for (int64_t i = 0; i < n; i++) {
      float h = (x[i] - middle) * r + shift;
      dx[i] = r * (g[i] * w[i] - a - h * b);
    }
  } else if (dx) {
    for (int64_t i = 0; i < n; i++) {
      float h = (x[i] - middle) * r + shift;
      dx[i] = r * (g[i] - a - h * b);
    }
  }
  if (!sw) return;
  for (int64_t i = 0; i < n; i++) {
    sw[i] += g[i] * ((x[i] - middle) * r + shift);
    sb[i] += g[i];
  }
}

static void flush(float *block, double *part, int64_t n) {
  for (int64_t i = 0; i < n; i++) part[i] += (double)block[i];
  memset(block, 0, (size_t)n * sizeof *block);
}

static void backward(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  const ml_normalise *o = j->of;
  bool sums = j->part != NULL;
  int64_t n = j->period * j->d;
  float *block = sums ? calloc((size_t)n * 2, sizeof *block) : NULL;
  double *part = sums ? j->part + begin / j->chunk * 2 * n : NULL;
  if (sums && !block) {
    j->failed = true;
    return;
  }
  if (sums) memset(part, 0, (size_t)n * 2 * sizeof *part);
  for (int64_t r = begin; r < end; r++) {
    const float *x = ml_f32(o->x) + r * j->d, *g = ml_f32(o->g) + r * j->d;
    const double *stats = o->stats + 2 * r;
    int64_t at = r % j->period * j->d;
    const float *w = j->w ? j->w + at : NULL;
    ml_line t = ml__line(stats[0], stats[1], 0);
    double a = 0, b = 0;
    if (o->dx) products(j->d, x, g, w, t, &a, &b);
    slope_row(j->d, x, g, w, t, o->rms ? 0 : (float)(a / (double)j->d), (float)(b / (double)j->d),
              o->dx ? ml_f32(o->dx) + r * j->d : NULL, sums ? block + at : NULL,
              sums ? block + n + at : NULL);
    if (sums && ((r - begin + 1) % (BLOCK * j->period) == 0 || r + 1 == end))
      flush(block, part, 2 * n);
  }
  free(block);
}

/* The chunks' sums in their order, and over the s elements of a channel. */
ML_CLONES static void gather(const job *j, int64_t chunks) {
  const ml_normalise *o = j->of;
  int64_t n = j->period * j->d;
  double *restrict sum = j->part;
  for (int64_t k = 1; k < chunks; k++) {
    const double *restrict part = j->part + k * 2 * n;
    for (int64_t i = 0; i < 2 * n; i++) sum[i] += part[i];
  }
  for (int64_t c = 0; c < o->c; c++) {
    double gh = 0, g = 0;
    for (int64_t i = c * o->s; i < (c + 1) * o->s; i++) gh += sum[i], g += sum[n + i];
    if (o->dw) ml_f32(o->dw)[c] = (float)gh;
    if (o->db) ml_f32(o->db)[c] = (float)g;
  }
}

ml_err ml__norm_rows_backward(ml_normalise *o) {
  job j;
  ML_TRY(prepare(&j, o));
  int64_t n = j.period * j.d, most = ML_MAX(16384 / ML_MAX(1, n), (o->n + 127) / 128);
  j.chunk = ML_MAX(ML_MAX(most, (int64_t)1), ML_MIN((int64_t)BLOCK, o->n)) * j.period;
  int64_t chunks = (j.rows + j.chunk - 1) / j.chunk,
          bytes = chunks * 2 * n * (int64_t)sizeof(double);
  ml_err e = o->dw || o->db ? ml__alloc((void **)&j.part, bytes) : ML_OK;
  if (e == ML_OK) {
    ml_parallel(j.rows, j.chunk, backward, &j);
    if (j.failed) e = ml_fail(ML_ENOMEM, "out of memory: sums by parameter");
    else if (j.part) gather(&j, chunks);
  }
  if (j.part) ml__release(j.part, bytes);
  free(j.by_element);
  return e;
}
