/*
 * draw: bernoulli and multinomial, by Philox. A draw is named by (seed, stream, its number).
 *
 *   bernoulli    element i is word i % 4 of counter i / 4, as a fraction of 2^32, below p
 *   multinomial  draw or weight i is words 2 (i % 2) and 2 (i % 2) + 1 of counter i / 2, as 53 bits
 *
 * With replacement: the first id whose running sum of weights, in double, is above u times the sum.
 * Without: the n smallest of -ln(1 - u) / weight, the times at which exponential clocks of these
 * rates ring (Efraimidis & Spirakis 2006).
 */
#include <math.h>
#include <stdlib.h>

#include "ml_ops.h"
#include "philox.h"

enum { GRAIN = 1 << 15, RING = 1 << 12, LANES = 4 * ML_PHILOX_LANES };

/* -- bernoulli -- */

typedef struct coin {
  ml_tensor *y;
  const ml_tensor *p;
  uint64_t seed, stream;
} coin;

/* Chunks begin at multiples of LANES. */
#define TOSS(T)                     \
  for (int64_t k = 0; k < n; k++)   \
    ((T *)c->y->info.data)[i + k] = \
        u[k] * 0x1p-32 < (double)((const T *)c->p->info.data)[i + k] ? 1 : 0;

ML_CLONES_V3 static void toss(void *ctx, int64_t begin, int64_t end) {
  const coin *c = ctx;
  uint32_t w[4][ML_PHILOX_LANES];
  double u[LANES];
  for (int64_t i = begin; i < end; i += LANES) {
    int64_t n = ML_MIN(end - i, (int64_t)LANES);
    ml__philox_block(c->seed, c->stream, (uint64_t)i / 4, w);
    for (int l = 0; l < ML_PHILOX_LANES; l++)
      for (int k = 0; k < 4; k++) u[4 * l + k] = w[k][l];
    if (c->y->info.dtype == ML_F32) {
      TOSS(float)
    } else {
      TOSS(double)
    }
  }
}

static ml_err check_probabilities(const ml_tensor *p) {
  for (int64_t i = 0; i < p->info.count; i++) {
    double v = p->info.dtype == ML_F32 ? (double)ml_f32(p)[i] : ml_f64(p)[i];
    if (!(v >= 0 && v <= 1))
      return ml_fail(ML_EARG,
                     "bad argument #1 to 'bernoulli' (probs: expected probabilities of 0 to 1, got "
                     "%.6g at position %lld)",
                     v, (long long)i);
  }
  return ML_OK;
}

ml_err ml_bernoulli_ref(ml_tensor *y, const ml_tensor *p, int64_t seed, int64_t stream) {
  coin c = {y, p, (uint64_t)seed, (uint64_t)stream};
  ML_TRY(check_probabilities(p));
  ml_parallel(y->info.count, GRAIN, toss, &c);
  return ML_OK;
}

/* -- multinomial -- */

ml_err ml__shape_multinomial(int *nd, int64_t *shape, const ml_tensor *weights, int64_t n) {
  if (weights->info.ndim < 1)
    return ml_fail(ML_ESHAPE, "bad argument #1 to 'multinomial' (weights: expected an axis)");
  if (n < 0)
    return ml_fail(ML_EARG, "bad argument #2 to 'multinomial' (n: expected at least 0, got %lld)",
                   (long long)n);
  ML_TRY(ml__shape_like(nd, shape, weights));
  shape[*nd - 1] = n;
  return ML_OK;
}

static double unit(uint64_t seed, uint64_t stream, int64_t i) {
  uint32_t r[4];
  ml_philox(seed, stream, (uint64_t)i / 2, r);
  return i % 2 ? ml_unit53(r[2], r[3]) : ml_unit53(r[0], r[1]);
}

typedef struct urn {
  const ml_tensor *weights;
  int64_t *y, n, many; /* draws, weights of a row */
  uint64_t seed, stream;
} urn;

/* Running sums of row r; the number of weights above 0, or -1 where one cannot be. */
static int64_t running(const urn *u, int64_t r, double *sums) {
  double sum = 0;
  int64_t possible = 0;
  for (int64_t i = 0; i < u->many; i++) {
    double w = ml__load(u->weights->info.data, u->weights->info.dtype, r * u->many + i);
    if (!(w >= 0 && w < INFINITY)) return -1;
    possible += w > 0;
    sums[i] = sum += w;
  }
  return sum < INFINITY ? possible : -1;
}

/* The first place whose sum is above v; the sums rise to the last. */
static int64_t above(const double *sums, int64_t n, double v) {
  int64_t lo = 0, hi = n - 1;
  while (lo < hi) {
    int64_t middle = lo + (hi - lo) / 2;
    if (sums[middle] > v) hi = middle;
    else lo = middle + 1;
  }
  return lo;
}

static void draw_again(const urn *u, int64_t r, const double *sums) {
  int64_t last = u->many - 1, *y = u->y + r * u->n;
  while (last > 0 && sums[last] == sums[last - 1]) last--; /* weights of 0 at the end */
  for (int64_t i = 0; i < u->n; i++)
    y[i] = above(sums, last + 1, unit(u->seed, u->stream, r * u->n + i) * sums[last]);
}

typedef struct clocks {
  const urn *u;
  int64_t row;
  double *times;
} clocks;

/* The times of ids [begin, end) of a row, of which the smallest are taken. */
static void ring(void *ctx, int64_t begin, int64_t end) {
  const clocks *c = ctx;
  const urn *u = c->u;
  for (int64_t i = begin; i < end; i++) {
    int64_t at = c->row * u->many + i;
    double w = ml__load(u->weights->info.data, u->weights->info.dtype, at);
    c->times[i] = w > 0 ? -log1p(-unit(u->seed, u->stream, at)) / w : INFINITY;
  }
}

static ml_err check_row(int64_t possible, int64_t r, const urn *u, bool replacement) {
  if (possible < 0)
    return ml_fail(ML_EARG,
                   "bad argument #1 to 'multinomial' (weights: expected finite ones of at least 0 "
                   "in row %lld)",
                   (long long)r);
  int64_t needed = replacement ? ML_MIN(u->n, (int64_t)1) : u->n;
  if (possible < needed)
    return ml_fail(ML_EARG,
                   "bad argument #2 to 'multinomial' (n: %lld of %lld weights above 0 in row %lld)",
                   (long long)u->n, (long long)possible, (long long)r);
  return ML_OK;
}

ml_err ml_multinomial_ref(ml_tensor *y, const ml_tensor *weights, int64_t n, int64_t replacement,
                          int64_t seed, int64_t stream) {
  urn u = {weights,        y->info.data,    n, weights->info.shape[weights->info.ndim - 1],
           (uint64_t)seed, (uint64_t)stream};
  int64_t rows = n ? y->info.count / n : 0;
  ml_tensor *times, *ids = NULL;
  if (rows == 0) return ML_OK;
  ML_TRY(ml__new(&times, ML_F64, 1, &u.many));
  ml_err err = ML_OK;
  for (int64_t r = 0; err == ML_OK && r < rows; r++) {
    err = check_row(running(&u, r, ml_f64(times)), r, &u, replacement);
    if (err < 0) break;
    if (replacement) {
      draw_again(&u, r, ml_f64(times));
      continue;
    }
    ml_parallel(u.many, RING, ring, &(clocks){&u, r, ml_f64(times)});
    err = ml__op_topk_ids(&ids, times, n, 1, true);
    if (err == ML_OK) {
      const int64_t *from = ids->info.data;
      for (int64_t i = 0; i < n; i++) u.y[r * n + i] = from[i];
    }
    ml__unref(ids);
    ids = NULL;
  }
  ml__unref(times);
  return err;
}
