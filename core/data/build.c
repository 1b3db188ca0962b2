/*
 * build: from a source of rows to a data set, in rounds of a few chunks.
 *
 * Each round has three steps, each done by all threads: chunks are filled; every table's words are
 * given ids, a table by one thread, chunk after chunk; the rows are written where they belong. So
 * ids count by first appearance whatever the number of threads, and memory is a few blocks and the
 * vocabularies.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clicks.h"

enum { CHUNKS_PER_THREAD = 4, TILE = 16 };

typedef struct build {
  ml__source *source;
  ml__header *header;
  ml_file *file; /* or */
  char *memory;
  ml__block *block;      /* [blocks] */
  int64_t blocks, first; /* first: chunk in block 0 */
  ml__vocab *vocab;      /* [n_cat], or NULL where ids are hashed */
  int64_t *row;          /* [blocks] first row of each block */
  uint32_t modulo;
  uint64_t magic; /* 2^64 / modulo, rounded up */
} build;

/*
 * x mod d by two products. Lemire, Kaser, Kurz 2019, "Faster remainder by direct computation",
 * section 3.2, with 64-bit magic = ceil(2^64 / d).
 */
static inline uint32_t fast_mod(uint32_t x, uint64_t magic, uint32_t d) {
  return (uint32_t)(((unsigned __int128)(magic * x) * d) >> 64);
}

static ml_err fill_block(void *ctx, int64_t i) {
  build *b = ctx;
  ml__block *block = &b->block[i];
  ML_TRY(b->source->fill(b->source->ctx, b->first + i, block));
  for (int32_t t = 0; t < b->source->n_cat && b->modulo; t++) {
    uint32_t *words = block->words + t * block->cap;
    for (int64_t r = 0; r < block->rows; r++) words[r] = fast_mod(words[r], b->magic, b->modulo);
  }
  return ML_OK;
}

static ml_err assign_table(void *ctx, int64_t t) {
  build *b = ctx;
  for (int64_t i = 0; i < b->blocks && b->first + i < b->source->chunks; i++) {
    ml__block *block = &b->block[i];
    ML_TRY(ml__vocab_assign(&b->vocab[t], block->words + t * block->cap, block->rows));
  }
  return ML_OK;
}

/* Writes n 4-byte words at word `at` of a section, and adds to its sum. */
static ml_err put(build *b, int section, const void *data, int64_t n, int64_t at) {
  ml__section *s = &b->header->section[section];
  __atomic_add_fetch(&s->sum, ml__section_sum(data, n, at), __ATOMIC_RELAXED);
  if (b->file) return ml_file_pwrite(b->file, data, 4 * n, s->offset + 4 * at);
  memcpy(b->memory + s->offset + 4 * at, data, (size_t)(4 * n));
  return ML_OK;
}

/* [n_cat, cap] to [rows, n_cat], a few rows at a time: those lines stay in the nearest cache. */
static void by_row(const ml__block *block, int32_t n_cat) {
  for (int64_t r = 0; r < block->rows; r += TILE) {
    int64_t end = ML_MIN(block->rows, r + TILE);
    for (int32_t t = 0; t < n_cat; t++)
      for (int64_t i = r; i < end; i++)
        block->ids[i * n_cat + t] = (int32_t)block->words[t * block->cap + i];
  }
}

static ml_err put_block(void *ctx, int64_t i) {
  build *b = ctx;
  ml__block *block = &b->block[i];
  int64_t rows = block->rows, row = b->row[i];
  int32_t n_dense = b->source->n_dense, n_cat = b->source->n_cat;
  if (!rows) return ML_OK;
  by_row(block, n_cat);
  ML_TRY(put(b, ML__LABEL, block->label, rows, row));
  ML_TRY(put(b, ML__DENSE, block->dense, rows * n_dense, row * n_dense));
  ML_TRY(put(b, ML__IDS, block->ids, rows * n_cat, row * n_cat));
  return block->planted ? put(b, ML__PLANTED, block->planted, rows, row) : ML_OK;
}

static ml_err rounds(build *b, ml__team *team) {
  const ml__source *s = b->source;
  for (b->first = 0; b->first < s->chunks; b->first += b->blocks) {
    int64_t n = ML_MIN(b->blocks, s->chunks - b->first);
    for (int64_t i = 0; i < n; i++)
      b->row[i] = s->row ? s->row[b->first + i] : (b->first + i) * s->most_rows;
    ML_TRY(ml__team_run(team, n, fill_block, b));
    if (b->vocab) ML_TRY(ml__team_run(team, s->n_cat, assign_table, b));
    ML_TRY(ml__team_run(team, n, put_block, b));
  }
  return ML_OK;
}

static ml_err blocks_new(build *b, int threads) {
  const ml__source *s = b->source;
  int64_t cap = s->most_rows;
  b->blocks = ML_MIN(s->chunks, (int64_t)CHUNKS_PER_THREAD * ML_MAX(2, threads));
  b->block = calloc((size_t)b->blocks, sizeof *b->block);
  b->row = calloc((size_t)b->blocks, sizeof *b->row);
  if (!b->block || !b->row) return ml_fail(ML_ENOMEM, "click data: out of memory");
  for (int64_t i = 0; i < b->blocks; i++) {
    ml__block *k = &b->block[i];
    k->cap = cap;
    k->label = malloc((size_t)cap * 4);
    k->dense = malloc((size_t)(cap * s->n_dense + 1) * 4);
    k->planted = s->planted ? malloc((size_t)cap * 4) : NULL;
    k->words = malloc((size_t)(cap * s->n_cat + 1) * 4);
    k->ids = malloc((size_t)(cap * s->n_cat + 1) * 4);
    if (!k->label || !k->dense || (s->planted && !k->planted) || !k->words || !k->ids)
      return ml_fail(ML_ENOMEM, "click data: no memory for blocks of %lld rows", (long long)cap);
  }
  return ML_OK;
}

static void build_free(build *b, int32_t n_cat) {
  for (int64_t i = 0; b->block && i < b->blocks; i++) {
    ml__block *k = &b->block[i];
    free(k->label), free(k->dense), free(k->planted), free(k->words), free(k->ids);
  }
  for (int32_t t = 0; b->vocab && t < n_cat; t++) ml__vocab_free(&b->vocab[t]);
  free(b->block), free(b->row), free(b->vocab);
}

/* Room for h->file_size bytes, in the file or in memory. */
static ml_err reserve(build *b, ml_clicks *c) {
  int64_t size = b->header->file_size;
  if (b->file) return ml_file_resize(b->file, size);
  void *p = c->memory ? mremap(c->memory, (size_t)c->memory_size, (size_t)size, MREMAP_MAYMOVE)
                      : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return ml_fail(ML_ENOMEM, "%s: no memory for %lld bytes", c->name, (long long)size);
  c->memory = b->memory = p;
  c->memory_size = size;
  return ML_OK;
}

static ml_err fill_all(build *b, ml_clicks *c, ml__team *team, const ml_clicks_options *o) {
  ml__header *h = b->header;
  ML_TRY(blocks_new(b, o->threads));
  if (!h->hashed && !(b->vocab = calloc((size_t)h->n_cat + 1, sizeof *b->vocab)))
    return ml_fail(ML_ENOMEM, "click data: out of memory");
  ml__header_layout(h); /* with no words yet: they come last */
  ML_TRY(reserve(b, c));
  ML_TRY(rounds(b, team));
  if (b->source->finish) ML_TRY(b->source->finish(b->source->ctx));
  for (int32_t t = 0; t < h->n_cat; t++) h->tables[t] = h->hashed ? o->modulo : b->vocab[t].n;
  ml__header_layout(h);
  ML_TRY(reserve(b, c));
  for (int64_t t = 0, at = 0; t < h->n_cat && b->vocab; at += b->vocab[t++].n)
    ML_TRY(put(b, ML__WORDS, b->vocab[t].words, b->vocab[t].n, at));
  h->sum = ml__header_sum(h);
  return b->file ? ml_file_pwrite(b->file, h, ml__header_size(h->n_cat), 0) : ML_OK;
}

ml_err ml__build(ml_clicks *c, ml__source *source, const uint64_t key[2],
                 const ml_clicks_options *o, ml__team *team) {
  build b = {.source = source};
  b.header = c->header = calloc(1, (size_t)ml__header_size(source->n_cat));
  if (!b.header) return ml_fail(ML_ENOMEM, "click data: out of memory");
  ml__header *h = b.header;
  h->rows = source->rows;
  h->n_dense = source->n_dense;
  h->n_cat = source->n_cat;
  h->hashed = o->hash;
  h->planted = source->planted;
  h->key[0] = key[0];
  h->key[1] = key[1];
  if (o->modulo && o->modulo <= UINT32_MAX) {
    b.modulo = (uint32_t)o->modulo;
    b.magic = UINT64_MAX / b.modulo + 1;
  }
  if (*c->cache && ml_file_create(&b.file, c->cache)) {
    snprintf(c->note, sizeof c->note, "%s; kept in memory", ml_error());
    *c->cache = 0;
  }
  ml_err err = fill_all(&b, c, team, o);
  build_free(&b, source->n_cat);
  if (b.file && err) ml_file_abort(b.file);
  if (b.file && !err) err = ml_file_commit(b.file);
  if (err || !*c->cache) {
    if (!err) ml__clicks_point(c, h, c->memory);
    return err;
  }
  c->header = NULL;
  free(h);
  return ml__cache_open(c, key, false, team) ? ml_fail(ML_EIO, "%s: lost: %s", c->cache, c->note)
                                             : ML_OK;
}
