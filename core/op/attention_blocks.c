/*
 * attention_blocks: attention in f32 by blocks of ROWS rows and COLUMNS columns, whose scores stay
 * in cache; the L x S matrix is never there.
 *
 * Forward (Dao et al. 2022, arXiv:2205.14135; Milakov & Gimelshein 2018): a row keeps the largest
 * score m so far, the sum of exponents and the weighed values by it; where a block raises m, both
 * are scaled by e^(old m - m). Backward: p = e^(score - z) again, and with D = sum(g y) of a row
 *   dv = p' g,  ds = p (g v' - D),  dq = scale ds k,  dk = scale ds' q.
 *
 * Cut by heads and blocks of rows; the backward by heads where there are MANY, else twice, by rows
 * for dq and by columns for dk and dv: five products a block, or seven. All by shape.
 */
#include <math.h>
#include <stdlib.h>

#include "op/attention.h"
#include "op/exp.h"
#include "op/gemm.h"

enum { ROWS = 64, COLUMNS = 256, MANY = 8 };

ML_CLONES static float largest(int64_t n, const float *x) { return ml__largest32(n, x); }

ML_CLONES static double exponents(int64_t n, const float *x, float top, float *p) {
  return ml__exps32(n, x, top, 1, p);
}

ML_CLONES static void scale_row(int64_t n, float f, float *restrict x) {
  for (int64_t i = 0; i < n; i++) x[i] *= f;
}

ML_CLONES static void multiply(int64_t n, const float *restrict f, float *restrict x) {
  for (int64_t i = 0; i < n; i++) x[i] = f[i] == 0 ? 0 : x[i] * f[i];
}

/* Masked scores [rows, columns] of a block. */
static ml_err scores(const ml_attention *a, int64_t head, int64_t l0, int64_t rows, int64_t s0,
                     int64_t columns, float *score) {
  ML_TRY(ml__gemm(false, true, rows, columns, a->e, (float)a->scale,
                  ml_f32(a->q) + (head * a->l + l0) * a->e, a->e,
                  ml_f32(a->k) + (head * a->s + s0) * a->e, a->e, 0, score, columns));
  if (a->mask || (a->causal && s0 + columns > l0 + 1))
    for (int64_t r = 0; r < rows; r++)
      ml__attention_hide(a, head, l0 + r, s0, columns, score + r * columns);
  return ML_OK;
}

/* Columns that any of the rows up to l0 + rows may see. */
static int64_t columns_seen(const ml_attention *a, int64_t l0, int64_t rows) {
  return a->causal ? ML_MIN(a->s, l0 + rows) : a->s;
}

static ml_err forward_block(ml_attention *a, int64_t head, int64_t l0, int64_t rows, float *room) {
  float *score = room, *p = room + ROWS * COLUMNS, *factor = p + ROWS * COLUMNS;
  float *y = ml_f32(a->y) + (head * a->l + l0) * a->ev, top[ROWS];
  double sum[ROWS];
  int64_t seen = columns_seen(a, l0, rows);
  for (int64_t i = 0; i < rows * a->ev; i++) y[i] = 0;
  for (int64_t r = 0; r < rows; r++) top[r] = -INFINITY, sum[r] = 0;
  for (int64_t s0 = 0; s0 < seen; s0 += COLUMNS) {
    int64_t n = ML_MIN(seen - s0, COLUMNS);
    ML_TRY(scores(a, head, l0, rows, s0, n, score));
    for (int64_t r = 0; r < rows; r++) {
      float now = ML_MAX(top[r], largest(n, score + r * n));
      float base = now == -INFINITY ? 0 : now; /* nothing seen: e^-inf is 0; NaN goes on */
      double part = exponents(n, score + r * n, base, p + r * n);
      if (now > top[r] && sum[r] != 0) {
        float f = ml__exp32(top[r] - now);
        scale_row(a->ev, f, y + r * a->ev);
        sum[r] *= (double)f;
      }
      sum[r] += part;
      top[r] = now;
      if (a->drop.p > 0) {
        ml__drop_factors(&a->drop, (head * a->l + l0 + r) * a->s + s0, n, factor);
        multiply(n, factor, p + r * n);
      }
    }
    ML_TRY(ml__gemm(false, false, rows, a->ev, n, 1, p, n,
                    ml_f32(a->v) + (head * a->s + s0) * a->ev, a->ev, 1, y, a->ev));
  }
  for (int64_t r = 0; r < rows; r++) {
    if (sum[r] != 0) scale_row(a->ev, (float)(1 / sum[r]), y + r * a->ev);
    if (a->z)
      ((float *)a->z)[head * a->l + l0 + r] =
          sum[r] != 0 ? (float)((top[r] == -INFINITY ? 0 : (double)top[r]) + log(sum[r])) : 0;
  }
  return ML_OK;
}

static void forward(void *ctx, int64_t begin, int64_t end) {
  ml_attention *a = ctx;
  int64_t blocks = (a->l + ROWS - 1) / ROWS;
  float *room = malloc((2 * ROWS * COLUMNS + COLUMNS) * sizeof *room);
  ml_err e = room ? ML_OK : ML_ENOMEM;
  for (int64_t i = begin; i < end && e == ML_OK; i++) {
    int64_t l0 = i % blocks * ROWS;
    e = forward_block(a, i / blocks, l0, ML_MIN(a->l - l0, ROWS), room);
  }
  if (e < 0) a->err = e;
  free(room);
}

static ml_err outcome(const ml_attention *a) {
  if (a->err == ML_ENOMEM) return ml_fail(ML_ENOMEM, "out of memory: blocks of attention");
  return a->err < 0 ? ml_fail(a->err, "scaled_dot_product_attention: oneDNN failed") : ML_OK;
}

/* Blocks to a chunk, for a million multiplications or so. */
static int64_t grain(const ml_attention *a) {
  int64_t work = ROWS * a->s * (a->e + a->ev);
  return ML_MAX(1, (1 << 20) / ML_MAX(1, work));
}

ml_err ml__attention_forward(ml_attention *a) {
  ml_parallel(a->heads * ((a->l + ROWS - 1) / ROWS), grain(a), forward, a);
  return outcome(a);
}

/* -- backward -- */

ML_CLONES static void probabilities(int64_t n, const float *restrict x, float z,
                                    float *restrict p) {
  for (int64_t i = 0; i < n; i++) p[i] = ml__exp32(x[i] - z);
}

ML_CLONES static void slopes(int64_t n, const float *restrict p, float d, float *restrict dp) {
  for (int64_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - d);
}

ML_CLONES static double dot(int64_t n, const float *restrict a, const float *restrict b) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* What one block of scores gives to dq, or to dk and dv. */
static ml_err backward_block(ml_attention *a, int64_t head, int64_t l0, int64_t rows, int64_t s0,
                             int64_t n, bool by_rows, bool by_columns, float *room) {
  float *score = room, *p = room + ROWS * COLUMNS, *factor = p + ROWS * COLUMNS;
  float *dp = factor + COLUMNS;
  int64_t row = head * a->l + l0, column = head * a->s + s0;
  const float *g = ml_f32(a->g) + row * a->ev, *y = ml_f32(a->y) + row * a->ev;
  by_rows = by_rows && a->dq;
  bool dk = by_columns && a->dk, dv = by_columns && a->dv, dropped = a->drop.p > 0;
  if (!by_rows && !dk && !dv) return ML_OK;
  ML_TRY(scores(a, head, l0, rows, s0, n, score));
  for (int64_t r = 0; r < rows; r++)
    probabilities(n, score + r * n, ((float *)a->z)[row + r], p + r * n);
  if (by_rows || dk)
    ML_TRY(ml__gemm(false, true, rows, n, a->ev, 1, g, a->ev, ml_f32(a->v) + column * a->ev, a->ev,
                    0, dp, n));
  for (int64_t r = 0; r < rows; r++) { /* score: from here on p with dropout */
    float *pr = p + r * n, *dropped_p = score + r * n;
    if (dropped) {
      ml__drop_factors(&a->drop, (row + r) * a->s + s0, n, factor);
      for (int64_t i = 0; i < n; i++) dropped_p[i] = pr[i] * factor[i];
      if (by_rows || dk) multiply(n, factor, dp + r * n);
    }
    if (by_rows || dk) slopes(n, pr, (float)dot(a->ev, g + r * a->ev, y + r * a->ev), dp + r * n);
  }
  float scale = (float)a->scale;
  if (by_rows)
    ML_TRY(ml__gemm(false, false, rows, a->e, n, scale, dp, n, ml_f32(a->k) + column * a->e, a->e,
                    1, ml_f32(a->dq) + row * a->e, a->e));
  if (dk)
    ML_TRY(ml__gemm(true, false, n, a->e, rows, scale, dp, n, ml_f32(a->q) + row * a->e, a->e, 1,
                    ml_f32(a->dk) + column * a->e, a->e));
  if (dv)
    ML_TRY(ml__gemm(true, false, n, a->ev, rows, 1, dropped ? score : p, n, g, a->ev, 1,
                    ml_f32(a->dv) + column * a->ev, a->ev));
  return ML_OK;
}

/* Blocks of one head: rows from l0 to l1, columns from s0 to s1. */
static ml_err blocks(ml_attention *a, int64_t head, int64_t l0, int64_t l1, int64_t s0, int64_t s1,
                     bool by_rows, bool by_columns, float *room) {
  for (int64_t l = l0; l < l1; l += ROWS) {
    int64_t rows = ML_MIN(l1 - l, ROWS), seen = ML_MIN(s1, columns_seen(a, l, rows));
    for (int64_t s = s0; s < seen; s += COLUMNS)
      ML_TRY(backward_block(a, head, l, rows, s, ML_MIN(seen - s, COLUMNS), by_rows, by_columns,
                            room));
  }
  return ML_OK;
}

static void run(ml_attention *a, int64_t begin, int64_t end, int part) {
  int64_t by_l = (a->l + ROWS - 1) / ROWS, by_s = (a->s + COLUMNS - 1) / COLUMNS;
  float *room = malloc((3 * ROWS * COLUMNS + COLUMNS) * sizeof *room);
  ml_err e = room ? ML_OK : ML_ENOMEM;
  for (int64_t i = begin; i < end && e == ML_OK; i++) {
    if (part == 0) e = blocks(a, i, 0, a->l, 0, a->s, true, true, room);
    int64_t l0 = i % by_l * ROWS, s0 = i % by_s * COLUMNS;
    if (part == 1) e = blocks(a, i / by_l, l0, ML_MIN(a->l, l0 + ROWS), 0, a->s, true, false, room);
    if (part == 2)
      e = blocks(a, i / by_s, 0, a->l, s0, ML_MIN(a->s, s0 + COLUMNS), false, true, room);
  }
  if (e < 0) a->err = e;
  free(room);
}

static void by_head(void *ctx, int64_t begin, int64_t end) { run(ctx, begin, end, 0); }
static void by_row(void *ctx, int64_t begin, int64_t end) { run(ctx, begin, end, 1); }
static void by_column(void *ctx, int64_t begin, int64_t end) { run(ctx, begin, end, 2); }

ml_err ml__attention_backward(ml_attention *a) {
  if (a->heads >= MANY) {
    ml_parallel(a->heads, 1, by_head, a);
  } else {
    ml_parallel(a->heads * ((a->l + ROWS - 1) / ROWS), grain(a), by_row, a);
    ml_parallel(a->heads * ((a->s + COLUMNS - 1) / COLUMNS), 1, by_column, a);
  }
  return outcome(a);
}
