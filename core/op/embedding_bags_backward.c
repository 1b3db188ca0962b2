/*
 * embedding_bags_backward: gradients of embedding bags, or their update in the same pass.
 *
 * With an update to fuse (core/grad), no gradient of a table is built. SGD subtracts lr w g from
 * every row in the order of the ids. Adagrad needs a row's whole gradient first: a table's ids are
 * sorted by row, stably, and each row's segment is summed first, then applied once.
 *
 * Parallel by owner: one thread per table, or, where there are few tables, per part of its rows. A
 * row belongs to one owner, who takes its ids in order: any number of threads gives the same bits.
 * Cost: L rows read and written, 8 D L bytes, prefetched 4 ids ahead; with Adagrad each distinct
 * row once, and its state.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/embedding_bags.h"

enum { AHEAD = 4, WIDEST = 1024 };

typedef struct entry {
  uint32_t row, bag; /* bag: t B + b */
  float weight;      /* with the mean's 1 / length in it */
} entry;

typedef struct job {
  ml_bags s;
  ml_node *n;
  const float *g; /* [B, T, D] */
  float *dw;      /* by weights [L], or NULL */
  ml_tensor **gin;
  const ml_update **update; /* per table, NULL: build the gradient */
  float **state;
  entry *entries, *other; /* L per part, for sorting */
  int64_t parts;
} job;

/* Which part of a table's rows a row belongs to. */
static inline int64_t part_of(uint64_t row, int64_t parts) {
  return (int64_t)(((uint64_t)(uint32_t)(row * 2654435761u) * (uint64_t)parts) >> 32);
}

static inline const float *gradient_of(const job *j, uint64_t bag) {
  int64_t t = (int64_t)bag / j->s.samples, b = (int64_t)bag - t * j->s.samples;
  return j->g + (b * j->s.tables + t) * j->s.width;
}

static inline float scale_of(const ml_bags *s, int64_t from, int64_t to) {
  if (!s->mean) return 1;
  int64_t n = s->offsets ? ml__bag_count(s, from, to) : 1;
  return n > 0 ? 1 / (float)n : 1;
}

#define INLINE static inline __attribute__((always_inline))

INLINE void fetch(const float *row, int64_t width) {
  for (int64_t d = 0; d < width; d += 16) __builtin_prefetch(row + d, 1, 3);
}

/* into[id,:] += factor weight g: SGD's update with factor -lr, the plain gradient with 1. */
INLINE void add_rows(job *j, const int64_t width, int64_t t, int64_t part, float *into,
                     float factor) {
  const ml_bags *s = &j->s;
  int64_t end = ml__bag_start(s, (t + 1) * s->samples);
  for (int64_t b = 0; b < s->samples; b++) {
    int64_t from = ml__bag_start(s, t * s->samples + b),
            to = ml__bag_start(s, t * s->samples + b + 1);
    const float *restrict g = j->g + (b * s->tables + t) * width;
    float scale = factor * scale_of(s, from, to);
    for (int64_t i = from; i < to; i++) {
      if (i + AHEAD < end) fetch(into + ml__bag_id(s, i + AHEAD) * width, width);
      int64_t id = ml__bag_id(s, i);
      if (j->parts > 1 && part_of((uint64_t)id, j->parts) != part) continue;
      if (id == s->padding) continue;
      float *restrict row = into + id * width;
      float v = s->weights ? scale * s->weights[i] : scale;
      for (int64_t d = 0; d < width; d++) row[d] += v * g[d];
    }
  }
}

ML_CLONES static void add_all(job *j, int64_t t, int64_t part, float *into, float factor) {
  switch (j->s.width) {
    case 8: add_rows(j, 8, t, part, into, factor); break;
    case 16: add_rows(j, 16, t, part, into, factor); break;
    case 32: add_rows(j, 32, t, part, into, factor); break;
    case 64: add_rows(j, 64, t, part, into, factor); break;
    default: add_rows(j, j->s.width, t, part, into, factor);
  }
}

/* dw[i] = scale g . row, before any row changes. */
ML_CLONES static void weight_gradient(job *j, int64_t t, const float *table) {
  const ml_bags *s = &j->s;
  for (int64_t b = 0; b < s->samples; b++) {
    int64_t from = ml__bag_start(s, t * s->samples + b),
            to = ml__bag_start(s, t * s->samples + b + 1);
    const float *g = j->g + (b * s->tables + t) * s->width;
    for (int64_t i = from; i < to; i++) {
      const float *row = table + ml__bag_id(s, i) * s->width;
      float sum = 0;
      if (s->offsets && ml__bag_id(s, i) == s->padding) {
        j->dw[i] = 0;
        continue;
      }
      for (int64_t d = 0; d < s->width; d++) sum += g[d] * row[d];
      j->dw[i] = sum * scale_of(s, from, to);
    }
  }
}

/* Stable, by row: insertion for a few, else by counting 11 bits at a time. */
static entry *sort(entry *a, entry *b, int64_t n, uint64_t rows) {
  if (n <= 32) {
    for (int64_t i = 1; i < n; i++) {
      entry e = a[i];
      int64_t k = i;
      for (; k > 0 && a[k - 1].row > e.row; k--) a[k] = a[k - 1];
      a[k] = e;
    }
    return a;
  }
  for (int shift = 0; shift < 32 && rows >> shift; shift += 11) {
    uint32_t count[2049] = {0};
    for (int64_t i = 0; i < n; i++) count[(a[i].row >> shift & 2047) + 1]++;
    for (int k = 0; k < 2048; k++) count[k + 1] += count[k];
    for (int64_t i = 0; i < n; i++) b[count[a[i].row >> shift & 2047]++] = a[i];
    entry *swap = a;
    a = b;
    b = swap;
  }
  return a;
}

ML_CLONES static void adagrad_segments(job *j, int64_t t, const entry *e, int64_t n) {
  const ml_update *u = j->update[t];
  int64_t width = j->s.width;
  float *table = ml_f32(j->n->in[t]), *state = j->state[t];
  float lr = (float)u->lr, eps = (float)u->eps, sum[WIDEST];
  bool rowwise = u->kind == ML_UPDATE_ROWWISE_ADAGRAD;
  for (int64_t i = 0; i < n;) {
    uint32_t row = e[i].row;
    if (i + AHEAD < n) {
      fetch(table + (int64_t)e[i + AHEAD].row * width, width);
      fetch(state + (int64_t)e[i + AHEAD].row * (rowwise ? 1 : width), rowwise ? 1 : width);
    }
    for (int64_t d = 0; d < width; d++) sum[d] = 0;
    for (; i < n && e[i].row == row; i++) {
      const float *restrict g = gradient_of(j, e[i].bag);
      float w = e[i].weight;
      for (int64_t d = 0; d < width; d++) sum[d] += w * g[d];
    }
    float *restrict p = table + (int64_t)row * width;
    if (rowwise) {
      float square = 0;
      for (int64_t d = 0; d < width; d++) square += sum[d] * sum[d];
      if (square == 0) continue;
      state[row] += square / (float)width;
      float scale = lr / (sqrtf(state[row]) + eps);
      for (int64_t d = 0; d < width; d++) p[d] -= scale * sum[d];
    } else {
      float *restrict s = state + (int64_t)row * width;
      for (int64_t d = 0; d < width; d++) {
        s[d] += sum[d] * sum[d]; /* 0 / 0 where eps is 0 and the gradient, too */
        p[d] -= sum[d] == 0 ? 0 : lr * sum[d] / (sqrtf(s[d]) + eps);
      }
    }
  }
}

static void adagrad(job *j, int64_t t, int64_t part) {
  const ml_bags *s = &j->s;
  int64_t start = ml__bag_start(s, t * s->samples), n = 0;
  entry *a = j->entries + part * s->count + start, *b = j->other + part * s->count + start;
  for (int64_t k = 0; k < s->samples; k++) {
    int64_t bag = t * s->samples + k, from = ml__bag_start(s, bag), to = ml__bag_start(s, bag + 1);
    float scale = scale_of(s, from, to);
    for (int64_t i = from; i < to; i++) {
      uint64_t id = (uint64_t)ml__bag_id(s, i);
      if (j->parts > 1 && part_of(id, j->parts) != part) continue;
      if ((int64_t)id == s->padding) continue;
      a[n++] = (entry){(uint32_t)id, (uint32_t)bag, s->weights ? scale * s->weights[i] : scale};
    }
  }
  adagrad_segments(j, t, sort(a, b, n, (uint64_t)j->n->in[t]->info.shape[0]), n);
}

/* The gradient of a largest element goes to the row that it is from. */
static void max_gradient(const ml_bags *s, ml_node *n, ml_tensor *g, int64_t t, ml_tensor *into,
                         int64_t *best) {
  int dtype = g->info.dtype;
  for (int64_t b = 0; b < s->samples; b++) {
    int64_t bag = t * s->samples + b;
    ml__bag_best(s, n->in[t], ml__bag_start(s, bag), ml__bag_start(s, bag + 1), best);
    for (int64_t d = 0; d < s->width; d++) {
      if (best[d] < 0 || best[d] == s->padding) continue;
      int64_t at = best[d] * s->width + d;
      double v = ml__load(g->info.data, dtype, (b * s->tables + t) * s->width + d);
      ml__store(into->info.data, dtype, at, ml__load(into->info.data, dtype, at) + v);
    }
  }
}

static ml_err max_gradients(const ml_bags *s, ml_node *n, ml_tensor *g, ml_tensor **gin) {
  int64_t *best = malloc((size_t)(s->width + 1) * sizeof *best);
  if (!best) return ml_fail(ML_ENOMEM, "out of memory: embedding_bags");
  for (int64_t t = 0; t < s->tables; t++)
    if (gin[t]) max_gradient(s, n, g, t, gin[t], best);
  free(best);
  return ML_OK;
}

/* Item i: part i / T of table i % T. */
static void owner(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t i = begin; i < end; i++) {
    int64_t t = i % j->s.tables, part = i / j->s.tables;
    const ml_update *u = j->update[t];
    if (u && u->kind != ML_UPDATE_SGD) adagrad(j, t, part);
    else if (u) add_all(j, t, part, ml_f32(j->n->in[t]), (float)-u->lr);
    else if (j->gin[t]) add_all(j, t, part, ml_f32(j->gin[t]), 1);
  }
}

static void weights_owner(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  for (int64_t t = begin; t < end; t++) weight_gradient(j, t, ml_f32(j->n->in[t]));
}

/* In double, for f64 and for the reference. */
static void reference(ml_node *n, const ml_bags *s, ml_tensor *g, ml_tensor *weights,
                      ml_tensor **gin) {
  int dtype = g->info.dtype;
  for (int64_t bag = 0; bag < s->tables * s->samples; bag++) {
    int64_t t = bag / s->samples, b = bag % s->samples;
    int64_t from = ml__bag_start(s, bag), to = ml__bag_start(s, bag + 1);
    int64_t count = s->offsets ? ml__bag_count(s, from, to) : 1;
    double scale = s->mean && count > 0 ? 1 / (double)count : 1;
    for (int64_t i = from; i < to; i++) {
      bool padding = ml__bag_id(s, i) == s->padding;
      double w = weights ? ml__load(weights->info.data, dtype, i) : 1, dot = 0;
      for (int64_t d = 0; d < s->width; d++) {
        int64_t at = ml__bag_id(s, i) * s->width + d;
        double v = ml__load(g->info.data, dtype, (b * s->tables + t) * s->width + d);
        dot += v * ml__load(n->in[t]->info.data, dtype, at);
        if (gin[t] && !padding)
          ml__store(gin[t]->info.data, dtype, at,
                    ml__load(gin[t]->info.data, dtype, at) + scale * w * v);
      }
      if (gin[s->tables + 2])
        ml__store(gin[s->tables + 2]->info.data, dtype, i, padding && s->offsets ? 0 : scale * dot);
    }
  }
}

static ml_err prepare(job *j, bool slow) {
  ml_node *n = j->n;
  int64_t tables = j->s.tables;
  bool sorted = false;
  if (tables * j->s.samples > UINT32_MAX)
    return ml_fail(ML_ESHAPE, "embedding_bags: backward of more than 2^32 bags");
  j->update = calloc((size_t)tables, sizeof *j->update);
  j->state = calloc((size_t)tables, sizeof *j->state);
  if (!j->update || !j->state) return ml_fail(ML_ENOMEM, "out of memory: embedding_bags");
  for (int64_t t = 0; t < tables; t++) {
    ml_tensor *p, *state, *table = n->in[t];
    const ml_update *u =
        slow || j->s.max || j->s.width > WIDEST || table->info.shape[0] > UINT32_MAX
            ? NULL
            : ml__fused(table);
    if (u) {
      ML_TRY(ml__check_update(u, &p, &state));
      j->update[t] = u;
      j->state[t] = state ? ml_f32(state) : NULL;
      sorted = sorted || u->kind != ML_UPDATE_SGD;
    } else if (ml__wants(table)) {
      ML_TRY(ml__new(&j->gin[t], table->info.dtype, 2, table->info.shape));
      ml__fill(j->gin[t], 0);
    }
  }
  int threads = ml_threads();
  j->parts = tables >= 2 * threads || j->s.count < 4096 ? 1 : threads;
  if (sorted) {
    int64_t bytes = j->parts * j->s.count * (int64_t)sizeof(entry);
    ML_TRY(ml__alloc((void **)&j->entries, bytes));
    ML_TRY(ml__alloc((void **)&j->other, bytes));
  }
  return ML_OK;
}

static void finish(job *j) {
  int64_t bytes = j->parts * j->s.count * (int64_t)sizeof(entry);
  for (int64_t t = 0; j->update && t < j->s.tables; t++) {
    if (!j->update[t]) continue;
    ml_tensor *state;
    ml__touch(j->n->in[t]);
    if (j->state[t] && ml__get(&state, &j->update[t]->state) == ML_OK) ml__touch(state);
  }
  ml__release(j->entries, bytes);
  ml__release(j->other, bytes);
  free(j->update);
  free(j->state);
}

ml_err ml_embedding_bags_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  int64_t tables = n->n_in - 3;
  ml_tensor *indices = NULL, *offsets = NULL, *weights = NULL;
  job j = {.n = n, .gin = gin, .g = ml_f32(g), .parts = 1};
  bool slow = ml__reference_on || g->info.dtype != ML_F32;
  ml_err e = ml__contiguous(&indices, n->in[tables]);
  if (e == ML_OK && n->in[tables + 1]) e = ml__contiguous(&offsets, n->in[tables + 1]);
  if (e == ML_OK && n->in[tables + 2]) e = ml__contiguous(&weights, n->in[tables + 2]);
  if (e == ML_OK) {
    j.s = ml__bags(n->in, tables, indices, offsets, weights, n->scalar[0].i, n->scalar[1].i);
    e = prepare(&j, slow);
  }
  if (e == ML_OK && ml__wants(n->in[tables + 2])) {
    e = ml__new(&gin[tables + 2], g->info.dtype, weights->info.ndim, weights->info.shape);
    if (e == ML_OK) j.dw = slow ? NULL : ml_f32(gin[tables + 2]);
  }
  if (e == ML_OK && j.s.max) {
    e = max_gradients(&j.s, n, g, gin);
  } else if (e == ML_OK && slow) {
    reference(n, &j.s, g, weights, gin);
  } else if (e == ML_OK) {
    if (j.dw) ml_parallel(tables, 1, weights_owner, &j);
    if (j.s.count * j.s.width < 16384) owner(&j, 0, tables * j.parts);
    else ml_parallel(tables * j.parts, 1, owner, &j);
  }
  finish(&j);
  ml__unref(indices);
  ml__unref(offsets);
  ml__unref(weights);
  return e;
}
