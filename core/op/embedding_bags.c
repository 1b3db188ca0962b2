/*
 * embedding_bags: y[b,t,:] = sum over ids i of the bag (t, b) of weight_i table_t[id_i,:]; for the
 * mean divided by the number of its ids; or the largest of each element
 *
 *   tables T x [R_t, D]   indices [L], table by table, in each sample by sample
 *   offsets [T B + 1]: the bags' starts, and L; absent: L = T B, one id each
 *   weights [L] or absent (1)   y [B, T, D]; an empty bag gives zeros, in all modes
 *   padding: an id whose row gets no gradient and, in bags, is left out; -1: none
 *
 * Cost: L random rows of 4 D bytes. Rows are prefetched 16 ids ahead, across bags and tables, which
 * is what hides memory's latency; a table of a model rarely fits in cache.
 */
#include "op/embedding_bags.h"

#include <math.h>
#include <string.h>

#include "ml_ops.h"

enum { AHEAD = 16 };

ml_bags ml__bags(ml_tensor *const *tables, int64_t n, const ml_tensor *indices,
                 const ml_tensor *offsets, const ml_tensor *weights, int64_t mode,
                 int64_t padding) {
  return (ml_bags){
      .tables = n,
      .samples = (offsets ? offsets->info.count - 1 : indices->info.count) / n,
      .width = tables[0]->info.shape[1],
      .count = indices->info.count,
      .indices = indices->info.data,
      .offsets = offsets ? offsets->info.data : NULL,
      .weights = weights && weights->info.dtype == ML_F32 ? ml_f32(weights) : NULL,
      .wide = indices->info.dtype == ML_I64,
      .wide_offsets = offsets && offsets->info.dtype == ML_I64,
      .mean = mode == ML_EMBEDDING_BAGS_MODE_MEAN,
      .max = mode == ML_EMBEDDING_BAGS_MODE_MAX,
      .padding = padding < 0 ? -1 : padding,
  };
}

void ml__bag_best(const ml_bags *s, const ml_tensor *table, int64_t from, int64_t to,
                  int64_t *best) {
  int dtype = table->info.dtype;
  for (int64_t d = 0; d < s->width; d++) best[d] = -1;
  for (int64_t i = from; i < to; i++) {
    int64_t id = ml__bag_id(s, i);
    if (id == s->padding && s->offsets) continue;
    for (int64_t d = 0; d < s->width; d++) {
      double v = ml__load(table->info.data, dtype, id * s->width + d);
      double top = best[d] < 0 ? 0 : ml__load(table->info.data, dtype, best[d] * s->width + d);
      if (best[d] < 0 || v > top || (v != v && top == top)) best[d] = id;
    }
  }
}

static ml_err check_offsets(const ml_bags *s, const ml_tensor *weights) {
  if (s->max && weights)
    return ml_fail(ML_EARG, "bad argument #4 to 'embedding_bags' (weights: not with mode max)");
  if (!s->offsets) return ML_OK;
  int64_t bags = s->tables * s->samples, before = 0;
  for (int64_t i = 0; i <= bags; i++) {
    int64_t o = ml__bag_start(s, i);
    if (o < before || o > s->count || (i == 0 && o != 0))
      return ml_fail(ML_ERANGE,
                     "bad argument #3 to 'embedding_bags' (offsets: %lld at position %lld, "
                     "expected %lld to %lld)",
                     (long long)o, (long long)i, (long long)before, (long long)(i ? s->count : 0));
    before = o;
  }
  if (before != s->count)
    return ml_fail(ML_ERANGE,
                   "bad argument #3 to 'embedding_bags' (offsets end at %lld, but there are "
                   "%lld ids)",
                   (long long)before, (long long)s->count);
  return ML_OK;
}

static ml_err bad_id(const ml_bags *s, ml_tensor *const *tables, int64_t i) {
  int64_t table = 0;
  while (ml__bag_start(s, (table + 1) * s->samples) <= i) table++;
  return ml_fail(ML_ERANGE,
                 "bad argument #2 to 'embedding_bags' (indices: id %lld at position %lld is "
                 "outside table %lld's 0 to %lld)",
                 (long long)ml__bag_id(s, i), (long long)i, (long long)table + 1,
                 (long long)tables[table]->info.shape[0] - 1);
}

ml_err ml_embedding_bags_ref(ml_tensor *y, ml_tensor *const *tables, int64_t n,
                             const ml_tensor *indices, const ml_tensor *offsets,
                             const ml_tensor *weights, int64_t mode, int64_t padding) {
  ml_bags s = ml__bags(tables, n, indices, offsets, weights, mode, padding);
  int dtype = y->info.dtype;
  ML_TRY(check_offsets(&s, weights));
  ml__fill(y, 0);
  for (int64_t t = 0; t < n; t++) {
    for (int64_t b = 0; b < s.samples; b++) {
      int64_t from = ml__bag_start(&s, t * s.samples + b),
              to = ml__bag_start(&s, t * s.samples + b + 1);
      int64_t count = s.offsets ? ml__bag_count(&s, from, to) : 1;
      for (int64_t d = 0; d < s.width; d++) {
        double sum = s.max && count > 0 ? -INFINITY : 0;
        for (int64_t i = from; i < to; i++) {
          int64_t id = ml__bag_id(&s, i);
          if (id < 0 || id >= tables[t]->info.shape[0]) return bad_id(&s, tables, i);
          if (s.offsets && id == s.padding) continue;
          if (s.max) {
            double v = ml__load(tables[t]->info.data, dtype, id * s.width + d);
            sum = v > sum || v != v ? v : sum;
            continue;
          }
          double w = weights ? ml__load(weights->info.data, weights->info.dtype, i) : 1;
          sum += w * ml__load(tables[t]->info.data, dtype, id * s.width + d);
        }
        if (s.mean && count > 0) sum /= (double)count;
        ml__store(y->info.data, dtype, (b * n + t) * s.width + d, sum);
      }
    }
  }
  return ML_OK;
}

typedef struct job {
  ml_bags s;
  ml_tensor *const *tables;
  float *y;
  int64_t bad; /* the position of an id out of range + 1, or 0; any chunk's will do */
} job;

#define INLINE static inline __attribute__((always_inline))

INLINE void fetch(const float *row, int64_t width) {
  for (int64_t d = 0; d < width; d += 16) __builtin_prefetch(row + d, 0, 3);
}

/* Bags [begin, end) counted over tables and samples. */
INLINE void bags(job *j, const int64_t width, const bool max, int64_t begin, int64_t end) {
  const ml_bags *s = &j->s;
  uint64_t skip = s->offsets ? (uint64_t)s->padding : UINT64_MAX;
  int64_t last = ml__bag_start(s, end);
  int64_t ahead = ml__bag_start(s, begin), ahead_table = begin / s->samples; /* of the prefetch */
  int64_t ahead_end = ml__bag_start(s, ML_MIN(end, (ahead_table + 1) * s->samples));
  for (int64_t bag = begin; bag < end; bag++) {
    int64_t t = bag / s->samples, b = bag - t * s->samples;
    const float *table = ml_f32(j->tables[t]);
    uint64_t rows = (uint64_t)j->tables[t]->info.shape[0];
    int64_t from = ml__bag_start(s, bag), to = ml__bag_start(s, bag + 1);
    float *restrict y = j->y + (b * s->tables + t) * width;
    float sum[64], *restrict acc = width <= 64 ? sum : y;
    int64_t left = 0; /* ids of the bag that count */
    for (int64_t d = 0; d < width; d++) acc[d] = 0;
    for (int64_t i = from; i < to; i++) {
      for (; ahead < last && ahead <= i + AHEAD; ahead++) {
        while (ahead >= ahead_end) {
          ahead_table++;
          ahead_end = ml__bag_start(s, ML_MIN(end, (ahead_table + 1) * s->samples));
        }
        uint64_t next = (uint64_t)ml__bag_id(s, ahead);
        if (next < (uint64_t)j->tables[ahead_table]->info.shape[0])
          fetch(ml_f32(j->tables[ahead_table]) + next * (uint64_t)width, width);
      }
      uint64_t id = (uint64_t)ml__bag_id(s, i);
      if (id >= rows) {
        __atomic_store_n(&j->bad, i + 1, __ATOMIC_RELAXED);
        continue;
      }
      const float *restrict row = table + id * (uint64_t)width;
      if (id == skip) continue;
      if (max) {
        bool first = left == 0; /* NaN stays */
        for (int64_t d = 0; d < width; d++)
          acc[d] = first || row[d] > acc[d] || row[d] != row[d] ? row[d] : acc[d];
        left++;
        continue;
      }
      left++;
      if (s->weights) {
        float w = s->weights[i];
        for (int64_t d = 0; d < width; d++) acc[d] += w * row[d];
      } else {
        for (int64_t d = 0; d < width; d++) acc[d] += row[d];
      }
    }
    float scale = s->mean && left > 0 ? 1 / (float)left : 1;
    if (width <= 64 || scale != 1)
      for (int64_t d = 0; d < width; d++) y[d] = acc[d] * scale;
  }
}

ML_CLONES static void chunk(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  if (j->s.max) {
    bags(j, j->s.width, true, begin, end);
    return;
  }
  switch (j->s.width) {
    case 8: bags(j, 8, false, begin, end); break;
    case 16: bags(j, 16, false, begin, end); break;
    case 32: bags(j, 32, false, begin, end); break;
    case 64: bags(j, 64, false, begin, end); break;
    default: bags(j, j->s.width, false, begin, end);
  }
}

ml_err ml_embedding_bags_cpu(ml_tensor *y, ml_tensor *const *tables, int64_t n,
                             const ml_tensor *indices, const ml_tensor *offsets,
                             const ml_tensor *weights, int64_t mode, int64_t padding) {
  job j = {.s = ml__bags(tables, n, indices, offsets, weights, mode, padding),
           .tables = tables,
           .y = ml_f32(y)};
  ML_TRY(check_offsets(&j.s, weights));
  int64_t total = n * j.s.samples, per = j.s.count / ML_MAX(total, 1) + 1;
  ml_parallel(total, ML_MAX(1, 8192 / (per * ML_MAX(j.s.width, 1))) * 8, chunk, &j);
  return j.bad ? bad_id(&j.s, tables, j.bad - 1) : ML_OK;
}
