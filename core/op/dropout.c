/*
 * dropout: y = x / (1 - p) where it is kept, 0 where it is dropped, with probability p.
 *
 *   x, y  any shape    draw  one i32 or i64, absent: 0    span  elements that go together, in a row
 *
 * Whether element i is kept is named by (seed, stream, draw, i / span): word i % 64 / 16 of
 * Philox's counter draw 2^36 + i / 64 * 16 + i % 16, in a half of the streams that nothing else
 * draws from; kept where its upper 31 bits are at least p (2^31 - 1). Nothing is stored: the
 * backward is the same on g.
 * Srivastava et al. 2014; inverted, as PyTorch's.
 */
#include "op/dropout.h"

#include "ml_ops.h"
#include "philox.h"

enum { BLOCK = 64, ROOM = 1024, GRAIN = 1 << 15 };
#define APART (UINT64_C(1) << 63)

ml_err ml__drop(ml_drop *d, const char *op, int at, double p, int64_t seed, int64_t stream,
                const ml_tensor *draw) {
  if (!(p >= 0 && p <= 1))
    return ml_fail(ML_EARG, "bad argument #%d to '%s' (p: expected 0 to 1, got %.14g)", at, op, p);
  if (draw && draw->info.count != 1)
    return ml_fail(ML_ESHAPE, "%s: draw: expected one element, got %lld", op,
                   (long long)draw->info.count);
  int64_t now = !draw                        ? 0
                : draw->info.dtype == ML_I64 ? *(const int64_t *)draw->info.data
                                             : *(const int32_t *)draw->info.data;
  *d = (ml_drop){(uint64_t)seed, (uint64_t)stream | APART, (uint64_t)now << 36, p,
                 p < 1 ? (float)(1 / (1 - p)) : 0};
  return ML_OK;
}

/* Factors of the blocks of 64 that begin at elements 64 b, 64 (b + 1), … below 64 end. */
ML_CLONES_V3 static void blocks(const ml_drop *d, int64_t b, int64_t end, float *factor) {
  uint32_t w[4][ML_PHILOX_LANES];
  int32_t limit = (int32_t)(d->p * 2147483647.0);
  float scale = d->scale;
  for (; b < end; b++, factor += BLOCK) {
    ml__philox_block(d->seed, d->stream, d->draw + (uint64_t)b * ML_PHILOX_LANES, w);
    const uint32_t *word = &w[0][0];
    for (int i = 0; i < BLOCK; i++) factor[i] = (int32_t)(word[i] >> 1) >= limit ? scale : 0;
  }
}

/* Part of a block: n factors from element i on. */
static void rest(const ml_drop *d, int64_t i, int64_t n, float *factor) {
  float one[BLOCK];
  blocks(d, i / BLOCK, i / BLOCK + 1, one);
  for (int64_t k = 0; k < n; k++) factor[k] = one[i % BLOCK + k];
}

static void factors(const ml_drop *d, int64_t first, int64_t n, float *factor) {
  int64_t head = ML_MIN(n, (BLOCK - first % BLOCK) % BLOCK), whole = (n - head) / BLOCK;
  if (head > 0) rest(d, first, head, factor);
  blocks(d, (first + head) / BLOCK, (first + head) / BLOCK + whole, factor + head);
  head += whole * BLOCK;
  if (head < n) rest(d, first + head, n - head, factor + head);
}

void ml__drop_factors(const ml_drop *d, int64_t first, int64_t n, float *factor) {
  if (d->p > 0) {
    factors(d, first, n, factor);
    return;
  }
  for (int64_t i = 0; i < n; i++) factor[i] = 1;
}

typedef struct job {
  const ml_tensor *x;
  ml_tensor *y;
  ml_drop d;
  int64_t span;
} job;

/* Spans, or elements where the span is 1. */
ML_CLONES static void each_f32(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  float factor[ROOM];
  for (int64_t i = begin; i < end; i += ROOM) {
    int64_t n = ML_MIN(end - i, (int64_t)ROOM);
    const float *restrict x = ml_f32(j->x) + i * j->span;
    float *restrict y = ml_f32(j->y) + i * j->span;
    ml__drop_factors(&j->d, i, n, factor);
    if (j->span == 1) {
      for (int64_t k = 0; k < n; k++) y[k] = factor[k] == 0 ? 0 : x[k] * factor[k];
      continue;
    }
    for (int64_t k = 0; k < n * j->span; k += j->span)
      for (int64_t m = k; m < k + j->span; m++)
        y[m] = factor[k / j->span] == 0 ? 0 : x[m] * factor[k / j->span];
  }
}

static ml_err start(job *j, int64_t *spans, ml_tensor *y, const ml_tensor *x, double p,
                    int64_t seed, int64_t stream, const ml_tensor *draw, int64_t span) {
  if (span < 1 || x->info.count % span != 0)
    return ml_fail(ML_EARG,
                   "bad argument #6 to 'dropout' (span: %lld does not divide %lld "
                   "elements)",
                   (long long)span, (long long)x->info.count);
  *j = (job){.x = x, .y = y, .span = span};
  *spans = x->info.count / span;
  return ml__drop(&j->d, "dropout", 2, p, seed, stream, draw);
}

ml_err ml_dropout_cpu(ml_tensor *y, const ml_tensor *x, double p, int64_t seed, int64_t stream,
                      const ml_tensor *draw, int64_t span) {
  job j;
  int64_t spans = 0;
  ML_TRY(start(&j, &spans, y, x, p, seed, stream, draw, span));
  ml_parallel(spans, ML_MAX(1, GRAIN / span / BLOCK) * BLOCK, each_f32, &j);
  return ML_OK;
}

ml_err ml_dropout_ref(ml_tensor *y, const ml_tensor *x, double p, int64_t seed, int64_t stream,
                      const ml_tensor *draw, int64_t span) {
  job j;
  int64_t spans = 0;
  ML_TRY(start(&j, &spans, y, x, p, seed, stream, draw, span));
  for (int64_t i = 0; i < x->info.count; i++) {
    float factor;
    ml__drop_factors(&j.d, i / span, 1, &factor);
    double v = factor == 0 ? 0 : ml__load(x->info.data, x->info.dtype, i) / (p > 0 ? 1 - p : 1);
    ml__store(y->info.data, y->info.dtype, i, v);
  }
  return ML_OK;
}

/* y = the count so far; then one more. */
ml_err ml_count_up_ref(ml_tensor *y, ml_tensor *count) {
  for (int64_t i = 0; i < count->info.count; i++) {
    if (count->info.dtype == ML_I64) {
      int64_t *c = (int64_t *)count->info.data + i;
      ((int64_t *)y->info.data)[i] = *c;
      *c = (int64_t)((uint64_t)*c + 1);
    } else {
      int32_t *c = (int32_t *)count->info.data + i;
      ((int32_t *)y->info.data)[i] = *c;
      *c = (int32_t)((uint32_t)*c + 1);
    }
  }
  ml__touch(count);
  return ML_OK;
}
