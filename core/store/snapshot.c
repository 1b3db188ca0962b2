/*
 * snapshot: memory copied at once, hashed and written by a thread of its own.
 *
 * The copy is what training waits for; the buffer stays, so that later ones touch no new pages. The
 * thread asks the kernel to begin with the disk at each chunk, and another one hashes meanwhile.
 * Order makes the record the commit: the pieces are durable before it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/profile.h"
#include "mlua_files.h"
#include "writing.h"

enum { CHUNK = 8 << 20, COPY_GRAIN = 1 << 20 };

struct ml_snapshot {
  pthread_t thread;
  pthread_mutex_t lock; /* of busy, and of what came of it */
  pthread_cond_t done;
  bool busy, started; /* started: a thread is to be joined */
  char *data;
  int64_t size, room;
  char *path, *record, *head, *tail, *also;
  ml_err code;
  char cause[512];
};

/* -- the copy -- */

typedef struct copy {
  const void *const *data;
  const int64_t *bytes;
  int64_t n;
  char *to;
} copy;

/* Bytes [begin, end) of all pieces in one. */
static void copy_part(void *ctx, int64_t begin, int64_t end) {
  const copy *c = ctx;
  int64_t at = 0;
  for (int64_t i = 0; i < c->n && at < end; at += c->bytes[i++]) {
    int64_t from = ML_MAX(begin - at, 0), to = ML_MIN(end - at, c->bytes[i]);
    if (from < to) memcpy(c->to + at + from, (const char *)c->data[i] + from, (size_t)(to - from));
  }
}

static ml_err make_room(ml_snapshot *s, int64_t size) {
  if (size <= s->room) return ML_OK;
  free(s->data);
  s->room = 0;
  s->data = malloc((size_t)size);
  if (!s->data) return ml_fail(ML_ENOMEM, "out of memory: snapshot of %lld bytes", (long long)size);
  s->room = size;
  return ML_OK;
}

/* -- the write -- */

static int told = -1;
static int64_t told_at;

void ml_snapshot_tell(int fd, int64_t at) { told = fd, told_at = at; }

static void tell(char stage) {
  if (told >= 0 && pwrite(told, &stage, 1, told_at) < 0) told = -1;
}

typedef struct digest {
  const ml_snapshot *s;
  char hex[64];
} digest;

static void *hash_pieces(void *ctx) {
  digest *d = ctx;
  ML_SPAN(span, ML_EVENT_BACKGROUND, "checkpoint: hash");
  ml_sha256(d->hex, d->s->data, d->s->size);
  return NULL;
}

static void *hash_beside(void *ctx) {
  ml__thread_begin("checkpoint hash");
  hash_pieces(ctx);
  ml__thread_end();
  return NULL;
}

static ml_err write_chunks(const ml_snapshot *s, ml_file *f) {
  ML_SPAN(span, ML_EVENT_BACKGROUND, "checkpoint: write");
  ml_err e = ml_file_resize(f, s->size);
  for (int64_t at = 0; e == ML_OK && at < s->size; at += CHUNK) {
    int64_t n = ML_MIN(CHUNK, s->size - at);
    e = ml_file_pwrite(f, s->data + at, n, at);
    ml__file_push(f, at, n);
  }
  return e;
}

static ml_err sync_file(ml_file *f) {
  ML_SPAN(span, ML_EVENT_BACKGROUND, "checkpoint: sync");
  return ml_file_commit(f);
}

/* The digest is computed beside the writing: by this thread, where there is none more. */
static ml_err write_pieces(const ml_snapshot *s, char *hex) {
  ml_file *f;
  ML_TRY(ml_file_create(&f, s->path));
  digest d = {.s = s};
  pthread_t thread;
  bool beside = s->size > CHUNK && !pthread_create(&thread, NULL, hash_beside, &d);
  ml_err e = write_chunks(s, f);
  tell('n');
  if (e == ML_OK) e = sync_file(f);
  else ml_file_abort(f);
  if (beside) pthread_join(thread, NULL);
  else if (e == ML_OK) hash_pieces(&d);
  memcpy(hex, d.hex, sizeof d.hex);
  return e;
}

static ml_err write_record(const ml_snapshot *s, const char *hex) {
  ML_SPAN(span, ML_EVENT_BACKGROUND, "checkpoint: record");
  size_t head = strlen(s->head), tail = strlen(s->tail), n = head + 64 + tail + 1;
  char *text = malloc(n + 65);
  if (!text) return ml_fail(ML_ENOMEM, "out of memory: snapshot");
  memcpy(text, s->head, head);
  memcpy(text + head, hex, 64);
  memcpy(text + head + 64, s->tail, tail);
  text[n - 1] = '\n';
  ml_sha256(text + n, text, (int64_t)n);
  text[n + 64] = '\n';
  ml_err e = ml_store_put(s->record, text, (int64_t)n + 65);
  free(text);
  return e;
}

static ml_err write_all(const ml_snapshot *s) {
  char hex[64];
  tell('w');
  ML_TRY(write_pieces(s, hex));
  tell('m');
  if (s->also) ML_TRY(ml__sync_path(s->also));
  return write_record(s, hex);
}

static void *run(void *ctx) {
  ml_snapshot *s = ctx;
  ml__thread_begin("checkpoint");
  ml__log_name("writer", 1);
  double began = ml_clock();
  ml_err e = write_all(s);
  tell('-');
  if (e == ML_OK)
    ml__log(ML_LOG_DEBUG, "checkpoint", "%s: %lld bytes durable in %.3f s", s->path,
            (long long)s->size, ml_clock() - began);
  ml__thread_end();
  pthread_mutex_lock(&s->lock);
  s->code = e;
  snprintf(s->cause, sizeof s->cause, "%s", e == ML_OK ? "" : ml_error());
  s->busy = false;
  pthread_cond_broadcast(&s->done);
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* Signals are for the threads that have been there before. */
static int start(ml_snapshot *s) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  s->busy = true;
  int err = pthread_create(&s->thread, NULL, run, s);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  s->started = !err;
  if (err) s->busy = false;
  return err;
}

/* -- the interface -- */

ml_err ml_snapshot_new(ml_snapshot **out) {
  ml_snapshot *s = calloc(1, sizeof *s);
  if (!s) return ml_fail(ML_ENOMEM, "out of memory: snapshot");
  pthread_condattr_t steady;
  pthread_condattr_init(&steady);
  pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->done, &steady);
  pthread_condattr_destroy(&steady);
  *out = s;
  return ML_OK;
}

static void forget(ml_snapshot *s) {
  char **texts[] = {&s->path, &s->record, &s->head, &s->tail, &s->also};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    free(*texts[i]);
    *texts[i] = NULL;
  }
}

ml_err ml_snapshot_write(ml_snapshot *s, const void *const *data, const int64_t *bytes, int64_t n,
                         const char *path, const char *record, const char *head, const char *tail,
                         const char *also) {
  ML_SPAN(span, ML_EVENT_WAIT, "checkpoint: copy");
  if (s->started) return ml_fail(ML_EARG, "snapshot: the one before has not been waited for");
  int64_t size = 0;
  for (int64_t i = 0; i < n; i++) size += bytes[i];
  ML_TRY(make_room(s, size));
  s->size = size;
  forget(s);
  s->path = strdup(path), s->record = strdup(record);
  s->head = strdup(head), s->tail = strdup(tail), s->also = also ? strdup(also) : NULL;
  if (!s->path || !s->record || !s->head || !s->tail || (also && !s->also))
    return ml_fail(ML_ENOMEM, "out of memory: snapshot");
  copy c = {data, bytes, n, s->data};
  ml_parallel(size, COPY_GRAIN, copy_part, &c);
  int err = start(s);
  return err ? ml_fail(ML_EIO, "%s: no thread to write it: %s", path, strerror(err)) : ML_OK;
}

bool ml_snapshot_busy(const ml_snapshot *s) {
  ml_snapshot *w = (ml_snapshot *)s;
  pthread_mutex_lock(&w->lock);
  bool busy = w->busy;
  pthread_mutex_unlock(&w->lock);
  return busy;
}

ml_err ml_snapshot_wait(ml_snapshot *s, double seconds) {
  if (!s->started) return ML_OK;
  ML_SPAN(span, ML_EVENT_WAIT, "checkpoint: wait");
  struct timespec till;
  clock_gettime(CLOCK_MONOTONIC, &till);
  double whole = (double)till.tv_nsec * 1e-9 + ML_MAX(seconds, 0);
  till.tv_sec += (time_t)whole;
  till.tv_nsec = (long)((whole - (double)(time_t)whole) * 1e9);
  pthread_mutex_lock(&s->lock);
  int err = 0;
  while (s->busy && err != ETIMEDOUT)
    err = seconds < 0 ? pthread_cond_wait(&s->done, &s->lock)
                      : pthread_cond_timedwait(&s->done, &s->lock, &till);
  bool busy = s->busy;
  pthread_mutex_unlock(&s->lock);
  if (busy) return ML_END;
  pthread_join(s->thread, NULL);
  s->started = false;
  return s->code == ML_OK ? ML_OK : ml_fail(s->code, "%s", s->cause);
}

void ml_snapshot_free(ml_snapshot *s) {
  if (!s) return;
  ml_snapshot_wait(s, -1);
  forget(s);
  free(s->data);
  pthread_cond_destroy(&s->done);
  pthread_mutex_destroy(&s->lock);
  free(s);
}
