/* feed.h: where a loader's batches come from, by row numbers. */
#ifndef MLUA_FEED_H
#define MLUA_FEED_H

#include "../base/base.h"
#include "mlua_data.h"

typedef struct ml__feed {
  int64_t rows;
  int32_t n_dense, n_cat;
  int64_t lookups; /* most ids in a bag */
  bool bags;
  const float *label; /* [rows], or NULL where labels are drawn with the rows */
  /* Fills batch->dense, label, ids (and offsets, lookups if bags) with n rows. Any thread. */
  ml_err (*gather)(void *ctx, const int64_t *row, int64_t n, ml_batch *batch);
  void (*close)(void *ctx);
  void *ctx;
} ml__feed;

/* Takes over the feed, also when it fails. */
ml_err ml__loader_new(ml_loader **out, const ml__feed *feed, const ml_loader_options *options);

#endif
