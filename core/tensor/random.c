/*
 * random: uniform and normal values, by Philox.
 *
 * An element's value is named by (seed, stream, its number), so that any chunking gives the same:
 *   f32     element i is word i % 4 of counter i / 4; of normals, words 2k and 2k + 1 make two
 *   others  element i is words 2 (i % 2) and 2 (i % 2) + 1 of counter i / 2, as 53 bits
 * Built without contraction of a * b + c (CMakeLists.txt), and with polynomials in place of libm's
 * functions for f32: the bits are the same on every machine.
 */
#include <math.h>

#include "philox.h"
#include "tensor/tensor.h"

enum { BLOCK = 4 * ML_PHILOX_LANES, GRAIN = 1 << 16 };

typedef struct fill_job {
  ml_tensor *t;
  double a, b; /* lo, hi - lo; or mean, standard deviation */
  uint64_t seed, stream;
} fill_job;

#define INLINE static inline __attribute__((always_inline))

/* -- f32 -- */

/* 64 values of 16 counters, each of its own 24 bits: lo + width u, below hi where that rounds. */
INLINE void uniform_block(uint32_t w[4][ML_PHILOX_LANES], float lo, float width, float most,
                          float *y) {
  for (int l = 0; l < ML_PHILOX_LANES; l++) {
    for (int k = 0; k < 4; k++) {
      float v = lo + width * ((float)(int32_t)(w[k][l] >> 8) * 0x1p-24f);
      y[4 * l + k] = v < most ? v : most;
    }
  }
}

/* ln u for u in (0, 1], to 1e-7 of it: u = 2^e m, m in [sqrt(1/2), sqrt 2); ln m = 2 atanh s. */
INLINE float log_of(float u) {
  union {
    float f;
    int32_t i;
  } x = {u};
  int32_t e = (x.i - 0x3F3504F3) >> 23;
  x.i -= e * (1 << 23);
  float s = (x.f - 1) / (x.f + 1), q = s * s;
  float series = 1 + q * (1 / 3.f + q * (1 / 5.f + q * (1 / 7.f + q * (1 / 9.f))));
  return (float)e * 0.693147181f + 2 * s * series;
}

/*
 * Box & Muller 1958: sqrt(-2 ln u) times cos and sin of 2 pi v. u is of 31 bits and never 0, so the
 * largest value is 6.6; v, of 32 bits, is a quadrant and a rest within an eighth of a turn of it.
 */
INLINE void pair_of(uint32_t a, uint32_t b, float mean, float sd, float *y) {
  float radius = sqrtf(-2 * log_of((float)(int32_t)(a >> 1 | 1) * 0x1p-31f)) * sd;
  uint32_t quadrant = (b + 0x20000000u) >> 30;
  float r = (float)(int32_t)(b - (quadrant << 30)) * (0x1p-32f * 6.28318531f), q = r * r;
  float s = r * (1 + q * (-1 / 6.f + q * (1 / 120.f + q * (-1 / 5040.f + q * (1 / 362880.f)))));
  float c = 1 + q * (-1 / 2.f + q * (1 / 24.f + q * (-1 / 720.f + q * (1 / 40320.f))));
  float x0 = quadrant & 1 ? s : c, x1 = quadrant & 1 ? c : s;
  x0 = (quadrant + 1) & 2 ? -x0 : x0;
  x1 = quadrant & 2 ? -x1 : x1;
  y[0] = mean + radius * x0;
  y[1] = mean + radius * x1;
}

INLINE void normal_block(uint32_t w[4][ML_PHILOX_LANES], float mean, float sd, float *y) {
  for (int l = 0; l < ML_PHILOX_LANES; l++) {
    pair_of(w[0][l], w[1][l], mean, sd, y + 4 * l);
    pair_of(w[2][l], w[3][l], mean, sd, y + 4 * l + 2);
  }
}

/* Chunks begin at multiples of 4, and so at a counter; all that is left over is at the end. */
INLINE void fill_f32(const fill_job *j, const bool normal, int64_t begin, int64_t end) {
  float a = (float)j->a, b = (float)j->b, most = nextafterf((float)(j->a + j->b), a), rest[BLOCK];
  if (b == 0) most = a;
  float *y = ml_f32(j->t);
  uint32_t w[4][ML_PHILOX_LANES];
  for (int64_t i = begin; i < end; i += BLOCK) {
    float *to = end - i < BLOCK ? rest : y + i;
    ml__philox_block(j->seed, j->stream, (uint64_t)i / 4, w);
    if (normal) normal_block(w, a, b, to);
    else uniform_block(w, a, b, most, to);
    for (int64_t k = 0; to == rest && k < end - i; k++) y[i + k] = rest[k];
  }
}

ML_CLONES_V3 static void uniform_f32(void *ctx, int64_t begin, int64_t end) {
  fill_f32(ctx, false, begin, end);
}

ML_CLONES_V3 static void normal_f32(void *ctx, int64_t begin, int64_t end) {
  fill_f32(ctx, true, begin, end);
}

/* -- the others, by way of double -- */

static void store_two(const fill_job *j, int64_t i, double first, double second) {
  const ml_info *t = &j->t->info;
  ml__store(t->data, t->dtype, i, first);
  if (i + 1 < t->count) ml__store(t->data, t->dtype, i + 1, second);
}

static void uniform_any(void *ctx, int64_t begin, int64_t end) {
  fill_job *j = ctx;
  for (int64_t i = begin; i < end; i += 2) {
    uint32_t r[4];
    ml_philox(j->seed, j->stream, (uint64_t)i / 2, r);
    store_two(j, i, j->a + j->b * ml_unit53(r[0], r[1]), j->a + j->b * ml_unit53(r[2], r[3]));
  }
}

static void normal_any(void *ctx, int64_t begin, int64_t end) {
  fill_job *j = ctx;
  for (int64_t i = begin; i < end; i += 2) {
    uint32_t r[4];
    ml_philox(j->seed, j->stream, (uint64_t)i / 2, r);
    double radius = sqrt(-2 * log(1 - ml_unit53(r[0], r[1])));
    double angle = 6.283185307179586477 * ml_unit53(r[2], r[3]);
    store_two(j, i, j->a + j->b * radius * cos(angle), j->a + j->b * radius * sin(angle));
  }
}

/* -- draws without names of their own -- */

static uint64_t next_seed, next_stream;

void ml_seed(uint64_t seed) {
  next_seed = seed;
  next_stream = 0;
}

uint64_t ml_seed_set(void) { return next_seed; }
uint64_t ml_next_stream(void) { return next_stream++; }
uint64_t ml_set_stream(uint64_t stream) {
  uint64_t before = next_stream;
  next_stream = stream;
  return before;
}

static void name(uint64_t *seed, uint64_t *stream) {
  if (*seed == (uint64_t)ML_NEXT) *seed = next_seed;
  if (*stream == (uint64_t)ML_NEXT) *stream = next_stream++;
}

static void draw(fill_job j, bool normal) {
  name(&j.seed, &j.stream);
  ml_body fast = normal ? normal_f32 : uniform_f32, any = normal ? normal_any : uniform_any;
  ml__touch(j.t);
  ml_parallel(j.t->info.count, GRAIN, j.t->info.dtype == ML_F32 ? fast : any, &j);
}

static ml_err draw_again(const ml_call *c) {
  const ml_scalar *s = c->scalar;
  draw((fill_job){c->out, s[0].d, s[1].d, (uint64_t)s[2].i, (uint64_t)s[3].i}, s[4].i);
  return ML_OK;
}

static ml_err draw_into(const ml_ref *ref, fill_job j, bool normal) {
  ML_TRY(ml__get(&j.t, ref));
  ML_TRY(ml__writable(j.t, normal ? "normal" : "uniform"));
  if (!j.t->info.contiguous)
    return ml_fail(ML_EARG, "random values go into contiguous tensors only");
  ml_scalar s[] = {
      {.d = j.a}, {.d = j.b}, {.i = (int64_t)j.seed}, {.i = (int64_t)j.stream}, {.i = normal}};
  ML_TRY(ml__note_write(normal ? "normal" : "uniform", draw_again, j.t, NULL, s, 5));
  draw(j, normal);
  return ML_OK;
}

ml_err ml_tensor_uniform(const ml_ref *t, double lo, double hi, uint64_t seed, uint64_t stream) {
  return draw_into(t, (fill_job){NULL, lo, hi - lo, seed, stream}, false);
}

ml_err ml_tensor_normal(const ml_ref *t, double mean, double sd, uint64_t seed, uint64_t stream) {
  return draw_into(t, (fill_job){NULL, mean, sd, seed, stream}, true);
}
