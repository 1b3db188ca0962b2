/*
 * norm_channels: normalisation in f32 where a channel has many elements in a sample: group_norm and
 * batch_norm over images and the like.
 *
 * A segment is one channel of one sample, s elements in a row; its parameters are two numbers, so
 * that every pass is y = a x + b or dx = p g + q x + r. Segments are cut in pieces, which are
 * summed in double. Where there are groups enough, a group is one chunk: its second pass finds it
 * in cache if it fits there.
 */
#include <stdlib.h>

#include "op/normalise.h"

enum { PIECE = 16384, LANES = 16, MANY = 16 };

typedef struct job {
  ml_normalise *of;
  bool back;
  int64_t cuts;      /* pieces of a segment */
  double (*sum)[2];  /* by piece: of x - k and its squares; backward: of g, and of g h */
  double (*mean)[2]; /* by group, backward: of g w, and of g w h */
} job;

ML_CLONES static void moments(int64_t n, const float *restrict x, double k, double out[2]) {
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
  out[0] = out[1] = 0;
  for (int l = 0; l < LANES; l++) out[0] += s[l], out[1] += q[l];
}

ML_CLONES static void products(int64_t n, const float *restrict x, const float *restrict g,
                               ml_line t, double out[2]) {
  double s[LANES] = {0}, q[LANES] = {0};
  float middle = t.middle, scale = t.scale, shift = t.shift;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    for (int l = 0; l < LANES; l++) {
      float h = (x[i + l] - middle) * scale + shift;
      s[l] += (double)g[i + l];
      q[l] += (double)g[i + l] * (double)h;
    }
  }
  for (int l = 0; i < n; i++, l++) {
    float h = (x[i] - middle) * scale + shift;
    s[l] += (double)g[i];
    q[l] += (double)g[i] * (double)h;
  }
  out[0] = out[1] = 0;
  for (int l = 0; l < LANES; l++) out[0] += s[l], out[1] += q[l];
}

ML_CLONES static void affine(int64_t n, const float *restrict x, ml_line t, float *restrict y) {
  float middle = t.middle, scale = t.scale, shift = t.shift;
  for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale + shift;
}

/* dx = p g + (x - middle) scale + shift */
ML_CLONES static void slope(int64_t n, const float *restrict x, const float *restrict g, float p,
                            ml_line t, float *restrict dx) {
  float middle = t.middle, scale = t.scale, shift = t.shift;
  for (int64_t i = 0; i < n; i++) dx[i] = p * g[i] + ((x[i] - middle) * scale + shift);
}

/* Segments of a group: first + i step, i < count. */
typedef struct run {
  int64_t first, step, count;
} run;

static run segments_of(const ml_normalise *o, int64_t group) {
  if (o->across) return (run){group, o->c, o->n};
  int64_t per = o->c / o->groups;
  return (run){group * per, 1, per};
}

static int64_t group_of(const ml_normalise *o, int64_t segment) {
  return o->across ? segment % o->c : segment / (o->c / o->groups);
}

static double weight(const ml_normalise *o, int64_t segment) {
  return o->w ? (double)ml_f32(o->w)[segment % o->c] : 1;
}

static void sum_pieces(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  ml_normalise *o = j->of;
  for (int64_t p = begin; p < end; p++) {
    int64_t segment = p / j->cuts, from = p % j->cuts * PIECE, n = ML_MIN(o->s - from, PIECE);
    int64_t group = group_of(o, segment), at = segment * o->s + from;
    const float *x = ml_f32(o->x);
    if (j->back) {
      const double *stats = o->stats + 2 * group;
      products(n, x + at, ml_f32(o->g) + at, ml__line(stats[0], stats[1], 0), j->sum[p]);
    } else {
      double k = (double)x[segments_of(o, group).first * o->s];
      moments(n, x + at, k, j->sum[p]);
    }
  }
}

/* A group's statistics, or its means for dx, from the sums of its pieces. */
static void combine(job *j, int64_t group) {
  ml_normalise *o = j->of;
  run r = segments_of(o, group);
  double a = 0, b = 0, m = (double)ml__norm_members(o), var;
  for (int64_t i = 0; i < r.count; i++) {
    int64_t segment = r.first + i * r.step;
    double w = j->back ? weight(o, segment) : 1;
    for (int64_t p = segment * j->cuts; p < (segment + 1) * j->cuts; p++)
      a += w * j->sum[p][0], b += w * j->sum[p][1];
  }
  if (!j->back) {
    double k = (double)ml_f32(o->x)[r.first * o->s];
    ml__norm_finish(o, o->stats + 2 * group, m, k, a, b, &var);
  } else {
    j->mean[group][0] = o->fixed ? 0 : a / m;
    j->mean[group][1] = o->fixed ? 0 : b / m;
  }
}

static void apply_pieces(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  ml_normalise *o = j->of;
  for (int64_t p = begin; p < end; p++) {
    int64_t segment = p / j->cuts, from = p % j->cuts * PIECE, n = ML_MIN(o->s - from, PIECE);
    int64_t group = group_of(o, segment), at = segment * o->s + from;
    const double *stats = o->stats + 2 * group;
    double w = weight(o, segment), r = stats[1];
    if (j->back) {
      double a = j->mean[group][0], b = j->mean[group][1];
      slope(n, ml_f32(o->x) + at, ml_f32(o->g) + at, (float)(r * w),
            ml__line(stats[0], -r * r * b, -r * a), ml_f32(o->dx) + at);
    } else {
      double shift = o->b ? (double)ml_f32(o->b)[segment % o->c] : 0;
      affine(n, ml_f32(o->x) + at, ml__line(stats[0], r * w, shift), ml_f32(o->y) + at);
    }
  }
}

static void whole_groups(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  ml_normalise *o = j->of;
  for (int64_t group = begin; group < end; group++) {
    run r = segments_of(o, group);
    for (int64_t i = 0; i < r.count && (j->back || !o->fixed); i++) {
      int64_t p = (r.first + i * r.step) * j->cuts;
      sum_pieces(j, p, p + j->cuts);
    }
    if (j->back || !o->fixed) combine(j, group);
    for (int64_t i = 0; i < r.count && (!j->back || o->dx); i++) {
      int64_t p = (r.first + i * r.step) * j->cuts;
      apply_pieces(j, p, p + j->cuts);
    }
  }
}

static void all(job *j) {
  ml_normalise *o = j->of;
  int64_t groups = ml__norm_groups(o), pieces = o->n * o->c * j->cuts;
  int64_t few = ML_MAX(1, PIECE / ML_MIN(o->s, PIECE)); /* pieces to a chunk */
  if (groups >= MANY) {
    ml_parallel(groups, ML_MAX(1, PIECE / ml__norm_members(o)), whole_groups, j);
    return;
  }
  if (j->back || !o->fixed) {
    ml_parallel(pieces, few, sum_pieces, j);
    for (int64_t group = 0; group < groups; group++) combine(j, group);
  }
  if (!j->back || o->dx) ml_parallel(pieces, few, apply_pieces, j);
}

ml_err ml__norm_channels(ml_normalise *o) {
  job j = {.of = o, .cuts = (o->s + PIECE - 1) / PIECE};
  j.sum = malloc((size_t)(o->n * o->c * j.cuts) * sizeof *j.sum);
  if (!j.sum) return ml_fail(ML_ENOMEM, "out of memory: sums by channel");
  all(&j);
  free(j.sum);
  return ML_OK;
}

ml_err ml__norm_channels_backward(ml_normalise *o) {
  job j = {.of = o, .back = true, .cuts = (o->s + PIECE - 1) / PIECE};
  j.sum = malloc((size_t)(o->n * o->c * j.cuts) * sizeof *j.sum);
  j.mean = malloc((size_t)ml__norm_groups(o) * sizeof *j.mean);
  if (!j.sum || !j.mean) {
    free(j.sum);
    free(j.mean);
    return ml_fail(ML_ENOMEM, "out of memory: sums by channel");
  }
  all(&j);
  for (int64_t c = 0; c < o->c && (o->dw || o->db); c++) {
    double g = 0, gh = 0;
    for (int64_t n = 0; n < o->n; n++) {
      int64_t first = (n * o->c + c) * j.cuts;
      for (int64_t p = first; p < first + j.cuts; p++) g += j.sum[p][0], gh += j.sum[p][1];
    }
    if (o->dw) ml_f32(o->dw)[c] = (float)gh;
    if (o->db) ml_f32(o->db)[c] = (float)g;
  }
  free(j.sum);
  free(j.mean);
  return ML_OK;
}
