/* rows: feeds for loaders: rows in memory (user arrays, data sets of clicks), and random ones. */
#include <stdlib.h>
#include <string.h>

#include "clicks.h"
#include "feed.h"
#include "order.h"

/* -- rows in memory -- */

enum { TILE = 16 }; /* rows gathered together, while the next ones are prefetched */

typedef struct memory_feed {
  ml_rows rows;
  int64_t *tables;
  ml_clicks *clicks; /* held, or NULL */
} memory_feed;

static inline void prefetch(const void *p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i);
}

static ml_err bad_id(const memory_feed *m, int64_t row, int32_t t) {
  const ml_clicks_info *set = m->clicks ? &m->clicks->info : NULL;
  bool cached = set && set->cache[0]; /* a source was checked when it was read */
  return ml_fail(ML_ERANGE, "%s%srow %lld: id %d of table %d: expected 0 to %lld%s%s%s",
                 set ? set->name : "", set ? ": " : "", (long long)row + 1,
                 m->rows.ids[row * m->rows.n_cat + t], t + 1, (long long)m->rows.tables[t] - 1,
                 cached ? " (its cache is damaged: delete " : "", cached ? set->cache : "",
                 cached ? ")" : "");
}

/*
 * n <= TILE rows into place `at` of each table's column. Columns a power of two apart share lines
 * of the nearest cache, so ids are turned in a tile and every line is written whole.
 */
static ml_err gather_ids(const memory_feed *m, const int64_t *row, int64_t n, int64_t at,
                         int64_t column, int32_t *out) {
  int32_t n_cat = m->rows.n_cat;
  const int32_t *from[TILE];
  for (int64_t i = 0; i < n; i++) from[i] = m->rows.ids + row[i] * n_cat;
  for (int32_t t = 0; t < n_cat; t++) {
    int32_t *to = out + t * column + at;
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
      uint32_t id = (uint32_t)from[i][t];
      most = ML_MAX(most, id);
      to[i] = (int32_t)id;
    }
    if (most < m->rows.tables[t]) continue;
    for (int64_t i = 0; i < n; i++)
      if ((uint32_t)from[i][t] >= m->rows.tables[t]) return bad_id(m, row[i], t);
  }
  return ML_OK;
}

static ml_err memory_gather(void *ctx, const int64_t *row, int64_t n, ml_batch *b) {
  const memory_feed *m = ctx;
  int64_t d = m->rows.n_dense, c = m->rows.n_cat;
  for (int64_t at = 0; at < n; at += TILE) {
    int64_t end = ML_MIN(n, at + TILE);
    for (int64_t i = at + TILE; i < ML_MIN(n, end + TILE); i++) {
      prefetch(m->rows.ids + row[i] * c, c * 4);
      prefetch(m->rows.dense + row[i] * d, d * 4);
      __builtin_prefetch(m->rows.label + row[i]);
    }
    for (int64_t i = at; i < end; i++) {
      memcpy(b->dense + i * d, m->rows.dense + row[i] * d, (size_t)d * 4);
      b->label[i] = m->rows.label[row[i]];
    }
    ML_TRY(gather_ids(m, row + at, end - at, at, n, b->ids));
  }
  return ML_OK;
}

static void memory_close(void *ctx) {
  memory_feed *m = ctx;
  ml_clicks_close(m->clicks);
  free(m->tables);
  free(m);
}

static ml_err memory_loader(ml_loader **out, const ml_rows *rows, ml_clicks *clicks,
                            const ml_loader_options *o) {
  *out = NULL;
  if (rows->rows < 1 || rows->n_dense < 0 || rows->n_cat < 0)
    return ml_fail(ML_EARG, "rows: expected 1 or more, got %lld", (long long)rows->rows);
  memory_feed *m = calloc(1, sizeof *m);
  int64_t *tables = m ? malloc(((size_t)rows->n_cat + 1) * sizeof *tables) : NULL;
  if (!tables) return free(m), ml_fail(ML_ENOMEM, "loader: out of memory");
  if (rows->n_cat) memcpy(tables, rows->tables, (size_t)rows->n_cat * sizeof *tables);
  m->rows = *rows;
  m->rows.tables = m->tables = tables;
  m->clicks = clicks;
  if (clicks) ml__clicks_retain(clicks);
  ml__feed feed = {.rows = rows->rows,
                   .n_dense = rows->n_dense,
                   .n_cat = rows->n_cat,
                   .lookups = 1,
                   .label = rows->label,
                   .gather = memory_gather,
                   .close = memory_close,
                   .ctx = m};
  return ml__loader_new(out, &feed, o);
}

ml_err ml_loader_rows(ml_loader **out, const ml_rows *rows, const ml_loader_options *o) {
  return memory_loader(out, rows, NULL, o);
}

ml_err ml_loader_clicks(ml_loader **out, ml_clicks *clicks, const ml_loader_options *o) {
  const ml_clicks_info *c = ml_clicks_view(clicks);
  if (!c) return *out = NULL, ml_fail(ML_EHANDLE, "loader: expected click data, got NULL");
  ml_rows rows = {c->rows, c->n_dense, c->n_cat, c->label, c->dense, c->ids, c->tables};
  return memory_loader(out, &rows, clicks, o);
}

ml_err ml_clicks_planted(float *out, const ml_clicks *clicks, const ml_part *part) {
  const ml_clicks_info *c = &clicks->info;
  if (!c->planted) return ml_fail(ML_EARG, "%s: has no planted probabilities", c->name);
  ML_TRY(ml__part_check(part, c->rows));
  ml__order order;
  ml__order_init(&order, part, c->rows);
  for (int64_t i = 0, row; i < part->count; i++) {
    ml__order_rows(&order, i, 1, &row);
    out[i] = c->planted[row];
  }
  return ML_OK;
}

/* -- random rows: draws named by (seed, stream, row): dense and label, lengths, and each bag -- */

enum { DENSE = 0x72646e73, LENGTH = 0x726c656e, BAG = 0x72626167 };

typedef struct random_feed {
  ml_random_rows rows;
  int64_t *tables;
} random_feed;

static void random_close(void *ctx) {
  random_feed *f = ctx;
  free(f->tables);
  free(f);
}

static uint64_t stream(uint32_t kind, int64_t which) {
  return (uint64_t)kind << 32 | (uint64_t)which;
}

static void random_bag(const random_feed *f, int32_t t, int64_t row, int64_t n, int32_t *out) {
  uint64_t size = (uint64_t)f->tables[t], calls = (uint64_t)(f->rows.lookups + 3) / 4;
  uint32_t r[4];
  for (int64_t i = 0; i < n; i++) {
    if (i % 4 == 0)
      ml_philox(f->rows.seed, stream(BAG, t), (uint64_t)row * calls + (uint64_t)i / 4, r);
    out[i] = (int32_t)((r[i % 4] * size) >> 32);
  }
}

static ml_err random_gather(void *ctx, const int64_t *row, int64_t n, ml_batch *b) {
  const random_feed *f = ctx;
  int32_t d = f->rows.n_dense;
  uint32_t r[4];
  for (int64_t i = 0; i < n; i++) {
    for (int32_t j = 0; j <= d; j++) { /* the label is draw d */
      if (j % 4 == 0) ml_philox(f->rows.seed, stream(DENSE, j / 4), (uint64_t)row[i], r);
      float u = ml_unit24(r[j % 4]);
      if (j < d) b->dense[i * d + j] = u;
      else b->label[i] = f->rows.round_labels ? u >= 0.5f : u;
    }
  }
  int64_t at = 0;
  for (int32_t t = 0; t < f->rows.n_cat; t++) {
    for (int64_t i = 0; i < n; i++) {
      int64_t length = f->rows.lookups;
      if (!f->rows.fixed) {
        ml_philox(f->rows.seed, stream(LENGTH, t), (uint64_t)row[i], r);
        length = 1 + (int64_t)(((uint64_t)r[0] * (uint64_t)length) >> 32);
      }
      b->offsets[t * n + i] = (int32_t)at;
      random_bag(f, t, row[i], length, b->ids + at);
      at += length;
    }
  }
  b->offsets[f->rows.n_cat * n] = (int32_t)at;
  b->lookups = at;
  return ML_OK;
}

ml_err ml_loader_random(ml_loader **out, const ml_random_rows *rows, const ml_loader_options *o) {
  *out = NULL;
  if (rows->rows < 1 || rows->n_dense < 0 || rows->n_cat < 0)
    return ml_fail(ML_EARG, "rows: expected 1 or more, got %lld", (long long)rows->rows);
  if (rows->lookups < 1 || rows->lookups > 1 << 20)
    return ml_fail(ML_EARG, "lookups: expected 1 to %d, got %d", 1 << 20, rows->lookups);
  for (int32_t t = 0; t < rows->n_cat; t++)
    if (rows->tables[t] < 1 || rows->tables[t] > INT32_MAX)
      return ml_fail(ML_EARG, "table %d: expected 1 to %d rows, got %lld", t + 1, INT32_MAX,
                     (long long)rows->tables[t]);
  random_feed *f = calloc(1, sizeof *f);
  int64_t *tables = f ? malloc(((size_t)rows->n_cat + 1) * sizeof *tables) : NULL;
  if (!tables) return free(f), ml_fail(ML_ENOMEM, "loader: out of memory");
  if (rows->n_cat) memcpy(tables, rows->tables, (size_t)rows->n_cat * sizeof *tables);
  f->rows = *rows;
  f->rows.tables = f->tables = tables;
  ml__feed feed = {.rows = rows->rows,
                   .n_dense = rows->n_dense,
                   .n_cat = rows->n_cat,
                   .lookups = rows->lookups,
                   .bags = true,
                   .gather = random_gather,
                   .close = random_close,
                   .ctx = f};
  return ml__loader_new(out, &feed, o);
}
