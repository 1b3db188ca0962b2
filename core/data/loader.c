/*
 * loader: batches in order, read ahead by threads.
 *
 * Work is handed out in blocks of consecutive batches: one, or so many small ones that they make
 * BLOCK_ROWS rows, to share the cost of a hand-over. Block k goes into slot k mod slots. Workers
 * claim blocks in order while their slot is free; the caller takes them in order and copies one
 * batch at a time to arrays that never move. What a batch holds depends on (epoch, step) alone.
 *
 * All that threads share is under one lock: counters, each slot's state, and the order, which only
 * changes while no worker is at work. Threads wait on conditions; none spins.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/profile.h"
#include "feed.h"
#include "order.h"

enum { BLOCK_ROWS = 512, MAX_WORKERS = 256 };

typedef struct slot {
  ml_batch *batch; /* [per_block] */
  char *memory;    /* of all their arrays */
  int64_t *row;    /* [batch] scratch: rows of the batch being gathered */
  int64_t filled;  /* block that it holds, or -1 */
  int64_t good;    /* batches of it that could be gathered */
  ml_err err;      /* of the next one */
  char message[512];
} slot;

/* Memory that the caller's batch is in: the loader and the tensors over it each hold it. */
typedef struct held {
  int refs;
  char data[] __attribute__((aligned(64)));
} held;

struct ml_loader {
  ml__feed feed;
  ml_loader_options options;
  ml__order order;
  int64_t steps, per_block;
  ml_batch out;
  held *out_memory;
  int64_t epoch, step; /* next batch */
  bool sought;
  /* shared with workers */
  pthread_mutex_t lock;
  pthread_cond_t space, filled;
  pthread_t *thread;
  int threads, active; /* started; now gathering */
  int named;           /* threads that have a number */
  bool stop, paused;
  slot *slot;
  int64_t slots, claimed, taken; /* blocks: first not claimed, first not yet given out whole */
};

/* -- memory of a batch -- */

static int64_t round_up(int64_t n) { return (n + 63) / 64 * 64; }

/* Bytes of each array of a batch: dense, label, ids, offsets. */
static int64_t array_sizes(const ml_loader *l, int64_t size[4]) {
  int64_t rows = l->options.batch, bags = l->feed.n_cat * rows;
  size[0] = round_up(rows * l->feed.n_dense * 4);
  size[1] = round_up(rows * 4);
  size[2] = round_up(bags * l->feed.lookups * 4);
  size[3] = l->feed.bags ? round_up((bags + 1) * 4) : 0;
  return size[0] + size[1] + size[2] + size[3];
}

static char *place_arrays(const ml_loader *l, ml_batch *b, char *at) {
  int64_t size[4];
  array_sizes(l, size);
  b->dense = (float *)at;
  b->label = (float *)(at += size[0]);
  b->ids = (int32_t *)(at += size[1]);
  b->offsets = l->feed.bags ? (int32_t *)(at + size[2]) : NULL;
  return at + size[2] + size[3];
}

static void copy_batch(const ml_loader *l, ml_batch *to, const ml_batch *from) {
  size_t rows = (size_t)from->rows, bags = rows * (size_t)l->feed.n_cat;
  memcpy(to->dense, from->dense, rows * (size_t)l->feed.n_dense * 4);
  memcpy(to->label, from->label, rows * 4);
  memcpy(to->ids, from->ids, (size_t)from->lookups * 4);
  if (from->offsets) memcpy(to->offsets, from->offsets, (bags + 1) * 4);
  to->rows = from->rows;
  to->lookups = from->lookups;
}

static void release(void *arg) {
  held *memory = arg;
  if (memory && __atomic_sub_fetch(&memory->refs, 1, __ATOMIC_ACQ_REL) == 0) free(memory);
}

/* -- gathering -- */

/* kind: of its event. */
static ml_err gather(const ml_loader *l, int64_t step, int64_t *row, ml_batch *b, int kind) {
  int64_t begin = step * l->options.batch;
  b->rows = ML_MIN(l->options.batch, l->order.count - begin);
  b->lookups = b->rows * l->feed.n_cat;
  ML_SPAN(span, kind, "loader: gather");
  ml__order_rows(&l->order, begin, b->rows, row);
  return l->feed.gather(l->feed.ctx, row, b->rows, b);
}

static void fill_slot(const ml_loader *l, slot *s, int64_t block) {
  int64_t first = block * l->per_block, n = ML_MIN(l->per_block, l->steps - first);
  s->err = ML_OK;
  for (s->good = 0; s->good < n; s->good++) {
    s->err = gather(l, first + s->good, s->row, &s->batch[s->good], ML_EVENT_BACKGROUND);
    if (s->err >= 0) continue;
    snprintf(s->message, sizeof s->message, "%s", ml_error());
    return;
  }
}

static bool may_claim(const ml_loader *l) {
  return !l->paused && l->claimed < l->taken + l->slots && l->claimed * l->per_block < l->steps;
}

/* What a worker did in an epoch, for the log. */
typedef struct work_done {
  int64_t blocks;
  double seconds;
} work_done;

static void say(const ml_loader *l, work_done *d) {
  if (d->blocks)
    ml__log(ML_LOG_DEBUG, "data.loader", "epoch %lld: %lld blocks of %lld batches in %.3f s",
            (long long)l->epoch, (long long)d->blocks, (long long)l->per_block, d->seconds);
  *d = (work_done){0};
}

static void *worker(void *arg) {
  ml_loader *l = arg;
  work_done d = {0};
  ml__thread_begin("loader");
  pthread_mutex_lock(&l->lock);
  ml__log_name("worker", ++l->named);
  for (;;) {
    while (!l->stop && !may_claim(l)) {
      if (l->claimed * l->per_block >= l->steps) say(l, &d);
      pthread_cond_wait(&l->space, &l->lock);
    }
    if (l->stop) break;
    int64_t block = l->claimed++;
    slot *s = &l->slot[block % l->slots];
    s->filled = -1;
    l->active++;
    pthread_mutex_unlock(&l->lock);
    double began = ml_clock();
    fill_slot(l, s, block);
    d.blocks++;
    d.seconds += ml_clock() - began;
    pthread_mutex_lock(&l->lock);
    s->filled = block;
    l->active--;
    pthread_cond_signal(&l->filled); /* only the caller waits for it */
  }
  pthread_mutex_unlock(&l->lock);
  ml__thread_end();
  return NULL;
}

/* -- positions -- */

ml_err ml_loader_seek(ml_loader *l, int64_t epoch, int64_t step) {
  if (!l) return ml_fail(ML_EHANDLE, "loader: expected a loader, got NULL");
  if (epoch < 0) return ml_fail(ML_EARG, "epoch: expected 0 or more, got %lld", (long long)epoch);
  if (step < 0 || step > l->steps)
    return ml_fail(ML_EARG, "step: expected 0 to %lld, got %lld", (long long)l->steps,
                   (long long)step);
  pthread_mutex_lock(&l->lock);
  l->paused = true;
  while (l->active) pthread_cond_wait(&l->filled, &l->lock);
  if (l->options.shuffle) ml__order_epoch(&l->order, l->options.seed, epoch);
  for (int64_t i = 0; i < l->slots; i++) l->slot[i].filled = -1;
  l->claimed = l->taken = step / l->per_block;
  l->epoch = epoch;
  l->paused = false;
  pthread_cond_broadcast(&l->space);
  pthread_mutex_unlock(&l->lock);
  l->step = step;
  l->sought = true;
  l->out.rows = l->out.lookups = 0;
  l->out.epoch = epoch;
  l->out.step = -1;
  return ML_OK;
}

static void await(ml_loader *l, const slot *s, int64_t block) {
  ML_SPAN(span, ML_EVENT_WAIT, "loader: wait");
  pthread_mutex_lock(&l->lock);
  while (s->filled != block) pthread_cond_wait(&l->filled, &l->lock);
  pthread_mutex_unlock(&l->lock);
}

/* The next batch from the slot that a worker fills. */
static ml_err take(ml_loader *l) {
  int64_t block = l->step / l->per_block, within = l->step % l->per_block;
  slot *s = &l->slot[block % l->slots];
  await(l, s, block);
  if (within >= s->good) return ml_fail(s->err, "%s", s->message);
  ML_SPAN(span, ML_EVENT_WAIT, "loader: copy");
  copy_batch(l, &l->out, &s->batch[within]);
  if (within == l->per_block - 1 || l->step == l->steps - 1) {
    pthread_mutex_lock(&l->lock);
    l->taken = block + 1;
    pthread_cond_signal(&l->space);
    pthread_mutex_unlock(&l->lock);
  }
  return ML_OK;
}

ml_err ml_loader_next(ml_loader *l) {
  if (!l) return ml_fail(ML_EHANDLE, "loader: expected a loader, got NULL");
  if (!l->sought) ML_TRY(ml_loader_seek(l, 0, 0));
  if (l->step >= l->steps) return ML_END;
  l->out.step = -1; /* stays so if the batch cannot be had */
  ML_TRY(l->threads ? take(l) : gather(l, l->step, l->slot[0].row, &l->out, ML_EVENT_WAIT));
  l->out.epoch = l->epoch;
  l->out.step = l->step++;
  return ML_OK;
}

const ml_batch *ml_loader_batch(const ml_loader *l) { return l ? &l->out : NULL; }

static ml_err wrap(ml_ref *out, ml_loader *l, void *data, int dtype, int64_t a, int64_t b) {
  int64_t shape[2] = {a, b};
  __atomic_add_fetch(&l->out_memory->refs, 1, __ATOMIC_RELAXED);
  ml_err err = ml_tensor_adopt(out, data, dtype, b < 0 ? 1 : 2, shape, release, l->out_memory);
  if (err) release(l->out_memory);
  return err;
}

ml_err ml_loader_tensors(ml_ref out[4], ml_loader *l, int64_t rows) {
  if (!l) return ml_fail(ML_EHANDLE, "loader: expected a loader, got NULL");
  if (rows < 0 || rows > l->options.batch)
    return ml_fail(ML_EARG, "rows: expected 0 to %lld, got %lld", (long long)l->options.batch,
                   (long long)rows);
  int64_t n_cat = l->feed.n_cat, bags = n_cat * rows;
  ml_err err = wrap(&out[0], l, l->out.dense, ML_F32, rows, l->feed.n_dense);
  int made = !err;
  if (!err) made += !(err = wrap(&out[1], l, l->out.label, ML_F32, rows, 1));
  if (!err && l->feed.bags) {
    made += !(err = wrap(&out[2], l, l->out.ids, ML_I32, l->out.lookups, -1));
    if (!err) made += !(err = wrap(&out[3], l, l->out.offsets, ML_I32, bags + 1, -1));
  } else if (!err) {
    made += !(err = wrap(&out[2], l, l->out.ids, ML_I32, n_cat, rows));
  }
  for (int i = 0; i < made && err; i++) ml_tensor_free(&out[i]);
  for (int i = 0; i < made && !err; i++) ml_scope_keep(&out[i], 0);
  return err;
}

ml_err ml_loader_ids(ml_ref *out, ml_loader *l) {
  if (!l) return ml_fail(ML_EHANDLE, "loader: expected a loader, got NULL");
  ML_TRY(wrap(out, l, l->out.ids, ML_I32, l->out.lookups, -1));
  return ML_MIN(ml_scope_keep(out, 0), ML_OK);
}

int64_t ml_loader_steps(const ml_loader *l) { return l ? l->steps : 0; }

int64_t ml_loader_count(const ml_loader *l) {
  if (!l) return 0;
  return l->options.drop_last ? l->steps * l->options.batch : l->order.count;
}

ml_err ml_loader_order(int64_t *out, const ml_loader *l, int64_t epoch, int64_t begin, int64_t n) {
  if (begin < 0 || n < 0 || begin > l->order.count - n)
    return ml_fail(ML_EARG, "order: expected places within 0 to %lld, got %lld from %lld",
                   (long long)l->order.count, (long long)n, (long long)begin);
  ml__order order = l->order; /* its part and list; the epoch may differ */
  order.shuffled = false;
  if (l->options.shuffle) ml__order_epoch(&order, l->options.seed, epoch);
  ml__order_rows(&order, begin, n, out);
  return ML_OK;
}

/* -- beginning and end -- */

void ml_loader_close(ml_loader *l) {
  if (!l) return;
  pthread_mutex_lock(&l->lock);
  l->stop = true;
  pthread_cond_broadcast(&l->space);
  pthread_mutex_unlock(&l->lock);
  for (int i = 0; i < l->threads; i++) pthread_join(l->thread[i], NULL);
  for (int64_t i = 0; l->slot && i < l->slots; i++) {
    free(l->slot[i].batch), free(l->slot[i].memory), free(l->slot[i].row);
  }
  pthread_cond_destroy(&l->space);
  pthread_cond_destroy(&l->filled);
  pthread_mutex_destroy(&l->lock);
  l->feed.close(l->feed.ctx);
  release(l->out_memory);
  free(l->order.list);
  free(l->slot), free(l->thread);
  free(l);
}

static ml_err check(const ml__feed *feed, const ml_loader_options *o) {
  int64_t ids = feed->n_cat * feed->lookups; /* of a row: places are 32 bits */
  int64_t most = INT32_MAX / ML_MAX(1, ML_MAX(feed->n_dense, ids)) - 1;
  if (o->batch < 1 || o->batch > most)
    return ml_fail(ML_EARG, "batch: expected 1 to %lld, got %lld", (long long)most,
                   (long long)o->batch);
  if (o->workers < 0 || o->workers > MAX_WORKERS)
    return ml_fail(ML_EARG, "workers: expected 0 to %d, got %d", MAX_WORKERS, o->workers);
  if (!(o->sub_sample >= 0 && o->sub_sample < 1))
    return ml_fail(ML_EARG, "sub_sample: expected 0 or more, below 1, got %g", o->sub_sample);
  if (o->sub_sample > 0 && !feed->label)
    return ml_fail(ML_EARG, "sub_sample: these rows have no labels before they are drawn");
  return ml__part_check(&o->part, feed->rows);
}

static ml_err slots_new(ml_loader *l) {
  int64_t size[4], bytes = array_sizes(l, size);
  for (int64_t i = 0; i < l->slots; i++) {
    slot *s = &l->slot[i];
    s->filled = -1;
    s->row = malloc((size_t)l->options.batch * sizeof *s->row);
    if (!s->row) return ML_ENOMEM;
    if (!l->options.workers) continue;
    s->batch = calloc((size_t)l->per_block, sizeof *s->batch);
    s->memory = aligned_alloc(64, (size_t)(bytes * l->per_block));
    if (!s->batch || !s->memory) return ML_ENOMEM;
    char *at = s->memory;
    for (int64_t k = 0; k < l->per_block; k++) at = place_arrays(l, &s->batch[k], at);
  }
  l->out_memory = aligned_alloc(64, sizeof(held) + (size_t)bytes);
  if (!l->out_memory) return ML_ENOMEM;
  l->out_memory->refs = 1;
  place_arrays(l, &l->out, l->out_memory->data);
  return ML_OK;
}

static void start_threads(ml_loader *l) {
  sigset_t all, old; /* signals belong to the thread that called us */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  while (l->threads < l->options.workers &&
         !pthread_create(&l->thread[l->threads], NULL, worker, l))
    l->threads++;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

ml_err ml__loader_new(ml_loader **out, const ml__feed *feed, const ml_loader_options *o) {
  *out = NULL;
  ml_err err = check(feed, o);
  ml_loader *l = err ? NULL : calloc(1, sizeof *l);
  if (!l) {
    feed->close(feed->ctx);
    return err ? err : ml_fail(ML_ENOMEM, "loader: out of memory");
  }
  l->feed = *feed;
  l->options = *o;
  ml__order_init(&l->order, &o->part, feed->rows);
  if (o->sub_sample > 0) err = ml__order_thin(&l->order, feed->label, o->sub_sample, o->seed);
  int64_t count = l->order.count;
  l->steps = count / o->batch + (!o->drop_last && count % o->batch != 0);
  l->options.batch = ML_MAX(1, ML_MIN(o->batch, count));
  l->per_block = ML_MAX(1, BLOCK_ROWS / l->options.batch);
  l->slots = o->workers ? o->workers + 1 : 1;
  l->paused = true; /* until the first seek */
  l->out.step = -1;
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->space, NULL);
  pthread_cond_init(&l->filled, NULL);
  l->slot = calloc((size_t)l->slots, sizeof *l->slot);
  l->thread = calloc((size_t)o->workers + 1, sizeof *l->thread);
  if (err || !l->slot || !l->thread || slots_new(l)) {
    ml_loader_close(l);
    return err ? err
               : ml_fail(ML_ENOMEM, "loader: no memory for %lld batches of %lld rows",
                         (long long)(l->slots * l->per_block), (long long)o->batch);
  }
  start_threads(l);
  *out = l;
  return ML_OK;
}
