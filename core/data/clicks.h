/* clicks.h: how a data set of clicks is made (source → build → store) and kept (cache). */
#ifndef MLUA_CLICKS_H
#define MLUA_CLICKS_H

#include "../base/base.h"
#include "mlua_data.h"
#include "mlua_store.h"
#include "team.h"

enum { ML__MAX_COLUMNS = 1024 }; /* of either kind */

/* -- a block of rows on its way: columns of words, all else by row -- */

typedef struct ml__block {
  int64_t rows, cap; /* cap: rows that there is room for */
  float *label;      /* [cap] */
  float *dense;      /* [cap, n_dense] */
  float *planted;    /* [cap] or NULL */
  uint32_t *words;   /* [n_cat, cap] words, replaced by ids */
  int32_t *ids;      /* [cap, n_cat] room for the ids by row */
} ml__block;

/* Where rows come from: numbered chunks, each filled into a block by any thread. */
typedef struct ml__source {
  int64_t rows, chunks;
  int64_t most_rows;  /* in any chunk */
  const int64_t *row; /* [chunks + 1] first row of each chunk; NULL: all but the last are full */
  int32_t n_dense, n_cat;
  bool planted;
  ml_err (*fill)(void *ctx, int64_t chunk, ml__block *block);
  ml_err (*finish)(void *ctx); /* after all chunks: is what was read still true? or NULL */
  void *ctx;
} ml__source;

/* -- ids by first appearance -- */

typedef struct ml__vocab {
  uint64_t *slot; /* word << 32 | id + 1; 0 is free */
  int bits;       /* 1 << bits slots */
  uint32_t *words;
  int64_t n, cap;
} ml__vocab;

/* Replaces n words by their ids, in order. */
ml_err ml__vocab_assign(ml__vocab *v, uint32_t *words, int64_t n);
void ml__vocab_free(ml__vocab *v);

/* -- the file, or memory of the same layout -- */

enum { ML__LABEL, ML__DENSE, ML__IDS, ML__PLANTED, ML__WORDS, ML__SECTIONS };

typedef struct ml__section {
  int64_t offset, size; /* bytes */
  uint64_t sum;
} ml__section;

typedef struct ml__header {
  char magic[8];           /* "mlclicks" */
  uint32_t version, order; /* order: 0x01020304 as this machine writes it */
  uint64_t key[2];         /* digest of what the data are made from, and how */
  int64_t rows, file_size;
  int32_t n_dense, n_cat;
  int32_t hashed, planted;
  ml__section section[ML__SECTIONS];
  uint64_t sum;     /* of all the rest of the header, tables included */
  int64_t tables[]; /* [n_cat] ids in each table */
} ml__header;

struct ml_clicks {
  int refs;
  ml_clicks_info info;
  ml__header *header; /* the start of the map, or where there is none: malloc'd */
  char *memory;       /* sections, where there is no map */
  int64_t memory_size;
  ml_map *map;
  char *name, *cache;
  char note[600];
};

void ml__clicks_retain(ml_clicks *c);
/* Bytes that the header and the tables take in the file. */
int64_t ml__header_size(int32_t n_cat);
/* Sets magic, offsets and sizes from rows, n_dense, n_cat, planted, hashed and tables. */
void ml__header_layout(ml__header *h);
uint64_t ml__header_sum(const ml__header *h);
/* Sum of n 4-byte words that begin at word `at` of a section. Sums of pieces add up. */
uint64_t ml__section_sum(const void *data, int64_t n, int64_t at);
/* Digest of a text; two seeds give 128 bits. */
uint64_t ml__digest(const char *text, uint64_t seed);

/* Opens the cache of `key` in c->cache. ML_END: there is none, or a damaged one: see c->note. */
ml_err ml__cache_open(ml_clicks *c, const uint64_t key[2], bool verify, ml__team *team);
/* Points info at a header and at the sections that lie at their offsets from `base`. */
void ml__clicks_point(ml_clicks *c, ml__header *header, const char *base);

/* Reads all of a source, into the cache file c->cache or, if that is "", into memory. */
ml_err ml__build(ml_clicks *c, ml__source *source, const uint64_t key[2],
                 const ml_clicks_options *o, ml__team *team);

/* -- sources -- */

/* A text in the Criteo format. */
typedef struct ml__text ml__text;
ml_err ml__text_open(ml__text **out, const char *path, const ml_clicks_options *o);
ml_err ml__text_source(ml__text *t, ml__source *source, ml__team *team);
void ml__text_close(ml__text *t);
/* What names the file: absolute path, size, inode, time of change. */
ml_err ml__text_identity(const char *path, char *out, size_t size);

typedef struct ml__planted ml__planted;
ml_err ml__planted_open(ml__planted **out, const ml_synthetic *what, const ml_clicks_options *o);
void ml__planted_source(ml__planted *p, ml__source *source);
void ml__planted_close(ml__planted *p);

#endif
