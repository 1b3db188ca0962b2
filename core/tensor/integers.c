/*
 * integers: whole numbers of [lo, hi), by Philox.
 *
 * Element i is words 2 (i % 2) and 2 (i % 2) + 1 of counter i / 2, as 64 bits scaled to hi - lo
 * values (bias below (hi - lo) / 2^64): the same numbers in any dtype.
 */
#include "tensor/tensor.h"

enum { GRAIN = 1 << 14 };

typedef struct job {
  ml_tensor *t;
  int64_t lo;
  uint64_t width, seed, stream;
} job;

static void run(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  const ml_info *t = &j->t->info;
  uint32_t r[4];
  for (int64_t i = begin; i < end; i++) {
    if (i % 2 == 0 || i == begin) ml_philox(j->seed, j->stream, (uint64_t)i / 2, r);
    uint64_t x = i % 2 ? (uint64_t)r[2] << 32 | r[3] : (uint64_t)r[0] << 32 | r[1];
    int64_t v = j->lo + (int64_t)((unsigned __int128)x * j->width >> 64);
    if (t->dtype == ML_I64) ((int64_t *)t->data)[i] = v;
    else ml__store(t->data, t->dtype, i, (double)v);
  }
}

ml_err ml_tensor_integers(const ml_ref *ref, int64_t lo, int64_t hi, uint64_t seed,
                          uint64_t stream) {
  job j = {.lo = lo, .width = (uint64_t)hi - (uint64_t)lo, .seed = seed, .stream = stream};
  ML_TRY(ml__get(&j.t, ref));
  ML_TRY(ml__writable(j.t, "integers"));
  if (!j.t->info.contiguous)
    return ml_fail(ML_EARG, "random values go into contiguous tensors only");
  if (lo >= hi)
    return ml_fail(ML_EARG, "integers: expected lo below hi, got %lld and %lld", (long long)lo,
                   (long long)hi);
  ml__touch(j.t);
  ml_parallel(j.t->info.count, GRAIN, run, &j);
  return ML_OK;
}
