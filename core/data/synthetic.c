/*
 * synthetic: click logs whose labels follow a planted model: training has something to find.
 *
 *   x_j    dense: a count floor(8 u / (1 - u)): z_j = log(x_j + 1) - log(9) is about logistic
 *   v_t    the t-th category: one of its words, the k commonest with P = (k / words)^(1/skew)
 *   logit  BIAS + sum_j a_j z_j + sum_t e_t[v_t] + sum_pairs c p_s[v_s] q_t[v_t]
 *   label  1 with P = 1 / (1 + exp(-logit)); this P is kept as "planted"
 *
 * Effects e, p, q are uniform with mean 0, for the RANKED commonest words; rarer ones have none.
 * The logit's variance is SPREAD^2, shared as the constants say. Every draw is named, so that any
 * thread may make any row: effects by (seed, kind, table and word), rows by (seed, 0, row).
 */
#include <math.h>
#include <stdlib.h>

#include "clicks.h"

enum { CHUNK_ROWS = 4096, RANKED = 4096, MAX_PAIRS = 6 };
enum { DENSE = 1, SINGLE, LEFT, RIGHT }; /* kinds of effect: streams */

static const double BIAS = -0.5, SPREAD = 2.4;
static const double BY_DENSE = 0.35, BY_SINGLE = 0.55, BY_PAIR = 0.1; /* of the variance */
static const double LOGISTIC_SD = 1.8137993642342178;                 /* pi / sqrt(3) */

struct ml__planted {
  ml_synthetic what;
  int32_t n_dense, n_cat, pairs, calls; /* calls: of Philox, for a row */
  int64_t *tables, *step; /* [n_cat] words, and the stride through them where skew = 0 */
  float *weight;          /* [n_dense] a_j */
  float *effect;          /* [n_cat, RANKED] e_t */
  float *left, *right;    /* [pairs, RANKED] c p, q of tables 2i and 2i + 1 */
};

/* Uniform with mean 0 and standard deviation 1. */
static float effect(const ml__planted *p, int kind, int64_t which, int64_t word) {
  uint32_t r[4];
  ml_philox(p->what.seed, (uint64_t)kind, (uint64_t)(which * RANKED + word), r);
  return 3.4641016f * (ml_unit24(r[0]) - 0.5f);
}

static int64_t gcd(int64_t a, int64_t b) {
  for (int64_t t; b; a = b, b = t) t = a % b;
  return a;
}

void ml__planted_close(ml__planted *p) {
  if (!p) return;
  free(p->tables), free(p->step), free(p->weight), free(p->effect), free(p->left), free(p->right);
  free(p);
}

ml_err ml__planted_open(ml__planted **out, const ml_synthetic *what, const ml_clicks_options *o) {
  *out = NULL;
  ml__planted *p = calloc(1, sizeof *p);
  if (!p) return ml_fail(ML_ENOMEM, "synthetic: out of memory");
  p->what = *what;
  p->n_dense = o->n_dense;
  p->n_cat = o->n_cat;
  p->pairs = ML_MIN(o->n_cat / 2, MAX_PAIRS);
  p->calls = (o->n_dense + o->n_cat + 1 + 3) / 4;
  p->tables = calloc((size_t)o->n_cat + 1, sizeof *p->tables);
  p->step = calloc((size_t)o->n_cat + 1, sizeof *p->step);
  p->weight = calloc((size_t)o->n_dense + 1, sizeof *p->weight);
  p->effect = calloc((size_t)o->n_cat * RANKED + 1, sizeof *p->effect);
  p->left = calloc((size_t)p->pairs * RANKED + 1, sizeof *p->left);
  p->right = calloc((size_t)p->pairs * RANKED + 1, sizeof *p->right);
  if (!p->tables || !p->step || !p->weight || !p->effect || !p->left || !p->right)
    return ml__planted_close(p), ml_fail(ML_ENOMEM, "synthetic: out of memory");
  float dense_sd = (float)(SPREAD * sqrt(BY_DENSE / ML_MAX(1, o->n_dense)) / LOGISTIC_SD);
  float single_sd = (float)(SPREAD * sqrt(BY_SINGLE / ML_MAX(1, o->n_cat)));
  float pair_sd = (float)(SPREAD * sqrt(BY_PAIR / ML_MAX(1, p->pairs)));
  for (int32_t j = 0; j < o->n_dense; j++) p->weight[j] = dense_sd * effect(p, DENSE, j, 0);
  for (int32_t t = 0; t < o->n_cat; t++) {
    int64_t n = p->tables[t] = what->tables[t];
    for (int64_t v = 0; v < ML_MIN(n, RANKED); v++) {
      p->effect[t * RANKED + v] = single_sd * effect(p, SINGLE, t, v);
      if (t >= 2 * p->pairs) continue;
      float e = effect(p, t % 2 ? RIGHT : LEFT, t / 2, v);
      if (t % 2) p->right[t / 2 * RANKED + v] = e;
      else p->left[t / 2 * RANKED + v] = pair_sd * e;
    }
    for (p->step[t] = (int64_t)(0.618 * (double)n) | 1; gcd(p->step[t], n) != 1;) p->step[t]++;
  }
  *out = p;
  return ML_OK;
}

/* The word as it stands in a text: one to one; the commonest word of every fifth table is empty. */
static inline uint32_t word_of(int32_t t, int64_t v) {
  uint32_t x = (uint32_t)v ^ (t % 5 == 4 ? 0 : (uint32_t)(t + 1) * 0x9E3779B9u);
  x = (x ^ x >> 16) * 0x85EBCA6Bu;
  x = (x ^ x >> 13) * 0xC2B2AE35u;
  return x ^ x >> 16;
}

static inline int64_t draw_word(const ml__planted *p, int32_t t, int64_t row, uint32_t r) {
  int64_t n = p->tables[t];
  if (!p->what.skew) return (row % n * p->step[t] + t) % n;
  double u = (double)r * (1.0 / 4294967296.0), power = u;
  for (int i = 1; i < p->what.skew; i++) power *= u;
  return (int64_t)(power * (double)n);
}

static ml_err fill(void *ctx, int64_t chunk, ml__block *b) {
  const ml__planted *p = ctx;
  int64_t first = chunk * CHUNK_ROWS;
  uint32_t draw[2 * ML__MAX_COLUMNS + 8];
  b->rows = ML_MIN(CHUNK_ROWS, p->what.rows - first);
  for (int64_t i = 0; i < b->rows; i++) {
    uint64_t counter = (uint64_t)(first + i) * (uint64_t)p->calls;
    for (int32_t k = 0; k < p->calls; k++)
      ml_philox(p->what.seed, 0, counter + (uint64_t)k, draw + 4 * k);
    const uint32_t *r = draw;
    double logit = BIAS;
    for (int32_t j = 0; j < p->n_dense; j++) {
      double u = (double)ml_unit24(*r++), x = floor(8 * u / (1 - u));
      float value = (float)log1p(x);
      b->dense[i * p->n_dense + j] = value;
      logit += (double)p->weight[j] * ((double)value - 2.1972245773362196); /* log 9 */
    }
    float left = 0;
    for (int32_t t = 0; t < p->n_cat; t++) {
      int64_t v = draw_word(p, t, first + i, *r++), at = t / 2 * RANKED + v;
      b->words[t * b->cap + i] = word_of(t, v);
      if (v < RANKED) logit += (double)p->effect[t * RANKED + v];
      if (t >= 2 * p->pairs) continue;
      if (t % 2) logit += v < RANKED ? (double)(left * p->right[at]) : 0;
      else left = v < RANKED ? p->left[at] : 0;
    }
    double planted = 1 / (1 + exp(-logit));
    b->planted[i] = (float)planted;
    b->label[i] = (double)ml_unit24(*r) < planted;
  }
  return ML_OK;
}

void ml__planted_source(ml__planted *p, ml__source *source) {
  *source = (ml__source){
      .rows = p->what.rows,
      .chunks = (p->what.rows + CHUNK_ROWS - 1) / CHUNK_ROWS,
      .most_rows = CHUNK_ROWS,
      .n_dense = p->n_dense,
      .n_cat = p->n_cat,
      .planted = true,
      .fill = fill,
      .ctx = p,
  };
}
