/*
 * mlua_data.h: click logs, and loaders that turn rows into batches.
 *
 * Plain C only: tools/opgen hands this text to LuaJIT's FFI (see mlua.h). Failures carry one line:
 * "clicks.tsv:17: expected 40 columns, got 39".
 */
#ifndef MLUA_DATA_H
#define MLUA_DATA_H

#include "mlua.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/*
 * -- data sets of clicks --
 *
 * Rows in memory-mapped form, ready to train: made from a text in the Criteo format, or synthetic,
 * and kept in a cache file so that the next start maps it and reads no text.
 */
typedef struct ml_clicks ml_clicks;

typedef struct ml_clicks_options {
  int32_t n_dense, n_cat; /* columns after the label: integers, then categories */
  int64_t rows;           /* at most this many, from the top; 0: all */
  int64_t modulo;         /* > 0: words modulo this, as the public DLRM's --max-ind-range */
  bool hash;              /* with modulo: that is the id; no vocabulary, tables of `modulo` rows */
  bool verify;            /* check the whole cache, not its header alone */
  int32_t threads;        /* to read with; 0: ml_threads() */
  const char *cache;      /* folder for the cache file, made if need be; NULL: keep in memory */
} ml_clicks_options;

/* A synthetic click log; its labels follow a planted model (core/data/synthetic.c). */
typedef struct ml_synthetic {
  int64_t rows;
  uint64_t seed;
  const int64_t *tables; /* [n_cat] words each category may take, >= 1 */
  int32_t skew;          /* P(one of the k commonest words) = (k / words)^(1/skew); 1: uniform;
                   0: each word in turn, so that as many rows as words show them all */
} ml_synthetic;

/* What one may read of a data set; valid until ml_clicks_close. */
typedef struct ml_clicks_info {
  int64_t rows;
  int32_t n_dense, n_cat;
  const float *label;    /* [rows] 0 or 1 */
  const float *dense;    /* [rows, n_dense] log(x + 1); 0 for an empty or a negative x */
  const int32_t *ids;    /* [rows, n_cat] */
  const float *planted;  /* [rows] probability that drew the label; NULL unless synthetic */
  const int64_t *tables; /* [n_cat] ids in each table */
  const uint32_t *words; /* word of each id, table after table; NULL where ids are hashed */
  const char *name;      /* the path as given, or "synthetic" */
  const char *cache;     /* the cache file, or "" */
  const char *note;      /* why a cache was not used or not written, or "" */
  bool warm;             /* mapped from the cache: nothing was read or made */
} ml_clicks_info;

/*
 * Opens a click log: label TAB n_dense integers TAB n_cat hexadecimal words of up to 8 digits, no
 * header; fields may be empty (0), lines end in LF or CRLF. Ids count from 0 by first appearance in
 * the file, the same for any number of threads.
 */
ml_err ml_clicks_open(ml_clicks **out, const char *path, const ml_clicks_options *options);
ml_err ml_clicks_synthetic(ml_clicks **out, const ml_synthetic *what,
                           const ml_clicks_options *options);
const ml_clicks_info *ml_clicks_view(const ml_clicks *clicks);
/* Ends the caller's hold; loaders keep their own. NULL is fine. */
void ml_clicks_close(ml_clicks *clicks);
/* Writes rows [first, first + count) as text, durably. Dense values become round(exp(x) - 1). */
ml_err ml_clicks_write(const ml_clicks *clicks, const char *path, int64_t first, int64_t count);

/*
 * -- parts and orders --
 *
 * A part is `count` positions from `first`. In a permuted one, position p is row perm(p) of all
 * rows, by `seed`; otherwise it is row p.
 */
typedef struct ml_part {
  int64_t first, count;
  bool permuted;
  uint64_t seed;
} ml_part;

/* The probabilities that drew the labels of a part, in its order: out[part->count]. */
ml_err ml_clicks_planted(float *out, const ml_clicks *clicks, const ml_part *part);

/*
 * -- loaders --
 *
 * Batches of a part, by worker threads that read ahead. Batch number `step` of `epoch` has the same
 * rows in the same order whatever the number of workers.
 */
typedef struct ml_loader ml_loader;

typedef struct ml_loader_options {
  int64_t batch; /* rows in a batch; the last one of an epoch may be shorter */
  ml_part part;
  bool shuffle;      /* another order each epoch, by (seed, epoch) */
  bool drop_last;    /* leave out a last batch that is short */
  double sub_sample; /* leave out this share of the rows labelled 0, by (seed, row); 0 <= it < 1 */
  uint64_t seed;
  int32_t workers; /* threads that read ahead; 0: the calling thread gathers */
} ml_loader_options;

/* Rows that the caller keeps in memory for as long as the loader lives. */
typedef struct ml_rows {
  int64_t rows;
  int32_t n_dense, n_cat;
  const float *label;    /* [rows] */
  const float *dense;    /* [rows, n_dense] */
  const int32_t *ids;    /* [rows, n_cat] */
  const int64_t *tables; /* [n_cat] ids must be below; copied */
} ml_rows;

/* Random rows with bags of ids, as the public DLRM's: made on the fly, row r the same each time. */
typedef struct ml_random_rows {
  int64_t rows;
  uint64_t seed;
  int32_t n_dense, n_cat; /* dense uniform in [0, 1) */
  int32_t lookups;        /* ids in a bag: this many, or 1 to this many; uniform over the table */
  bool fixed;
  bool round_labels;     /* 0 or 1 rather than uniform in [0, 1) */
  const int64_t *tables; /* [n_cat]; copied */
} ml_random_rows;

/* The arrays stay where they are for the life of a loader; their contents, until the next call. */
typedef struct ml_batch {
  float *dense;     /* [rows, n_dense] */
  float *label;     /* [rows] */
  int32_t *ids;     /* [n_cat, rows] table by table; with bags [lookups], by table, then row */
  int32_t *offsets; /* [n_cat * rows + 1] where bags begin; NULL where a row has one id per table */
  int64_t rows, lookups;
  int64_t epoch, step;
} ml_batch;

ml_err ml_loader_clicks(ml_loader **out, ml_clicks *clicks, const ml_loader_options *options);
ml_err ml_loader_rows(ml_loader **out, const ml_rows *rows, const ml_loader_options *options);
ml_err ml_loader_random(ml_loader **out, const ml_random_rows *rows,
                        const ml_loader_options *options);
/* Goes to a position: ml_loader_next gives batch `step` (from 0) of `epoch` next. */
ml_err ml_loader_seek(ml_loader *loader, int64_t epoch, int64_t step);
/* ML_END after the last batch of the epoch, until the next seek. */
ml_err ml_loader_next(ml_loader *loader);
/* The batch that ml_loader_next fills; its epoch and step say which it holds (step -1: none). */
const ml_batch *ml_loader_batch(const ml_loader *loader);
/*
 * Tensors over the arrays of a batch of `rows` rows: dense [rows, n_dense], label [rows, 1], ids
 * [n_cat, rows]; with bags offsets as a fourth, and ids [lookups] fit the batch at hand alone. Made
 * once, they show every batch. They outlive scopes, and keep the arrays when the loader goes.
 */
ml_err ml_loader_tensors(ml_ref out[4], ml_loader *loader, int64_t rows);
/* With bags: the ids of the batch at hand, [lookups]. */
ml_err ml_loader_ids(ml_ref *out, ml_loader *loader);
int64_t ml_loader_steps(const ml_loader *loader); /* batches in an epoch */
int64_t ml_loader_count(const ml_loader *loader); /* rows in its batches */
/* The rows of batches in order: out[n] = rows at places begin … begin + n - 1 of an epoch. */
ml_err ml_loader_order(int64_t *out, const ml_loader *loader, int64_t epoch, int64_t begin,
                       int64_t n);
void ml_loader_close(ml_loader *loader); /* joins its threads; NULL is fine */

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
