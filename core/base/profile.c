/*
 * profile: events and totals of what runs, from all threads.
 *
 * One lock guards the record: threads note whole batches and writes, the training thread all else,
 * so that it is free nearly always. A thread knows how much of the event it is in was spent inside
 * others: an event's own time needs no tree.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "profile.h"

enum { CHUNK = 8192, MOST_FRAMES = 512, MOST_THREADS = 512, MOST_CHUNKS = 1 << 14 };
enum { OPERATIONS, LAYERS, PARTS, SORTS }; /* what own time is without */

typedef struct record {
  ml_profile seen;
  ml_event *chunk[MOST_CHUNKS];
  int64_t most, room; /* of events; of totals */
  ml_total *total;
  int32_t *place; /* a hash table of totals, from 1; 2 * room */
} record;

bool ml__profiling;
static uint32_t run; /* the number of the profile; what began in another is dropped */
static record *now;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static _Thread_local struct {
  int64_t inner[SORTS];
  uint32_t run;
  int32_t thread; /* -1: one too many */
} me;

static int64_t clock_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int sort_of(int kind) {
  return kind <= ML_EVENT_UPDATE ? OPERATIONS : kind == ML_EVENT_LAYER ? LAYERS : PARTS;
}

/* -- threads -- */

static struct {
  char text[32];
  const char *name;
  bool busy;
} thread[MOST_THREADS] = {{"training", "training", true}};

void ml__thread_begin(const char *name) {
  int i = 1, number = 1;
  pthread_mutex_lock(&lock);
  for (; i < MOST_THREADS && thread[i].name; i++) {
    bool same = strcmp(thread[i].name, name) == 0;
    if (same && !thread[i].busy) break;
    number += same;
  }
  if (i < MOST_THREADS) {
    if (!thread[i].name) snprintf(thread[i].text, sizeof thread[i].text, "%s %d", name, number);
    thread[i].name = name;
    thread[i].busy = true;
  }
  me.thread = i < MOST_THREADS ? i : -1;
  pthread_mutex_unlock(&lock);
}

void ml__thread_end(void) {
  pthread_mutex_lock(&lock);
  if (me.thread > 0) thread[me.thread].busy = false;
  pthread_mutex_unlock(&lock);
}

const char *ml_profile_thread(int i) {
  return i >= 0 && i < MOST_THREADS && thread[i].name ? thread[i].text : "";
}

/* -- the record, under the lock -- */

static uint32_t hash_of(int kind, const char *name) {
  uint32_t h = 2166136261u + (uint32_t)kind;
  for (; *name; name++) h = (h ^ (uint8_t)*name) * 16777619u;
  return h ^ h >> 15;
}

static bool grow(record *r) {
  int64_t room = 2 * r->room;
  ml_total *total = realloc(r->total, (size_t)room * sizeof *total);
  if (!total) return false;
  r->total = total;
  int32_t *place = calloc((size_t)(2 * room), sizeof *place);
  if (!place) return false;
  free(r->place);
  r->place = place;
  r->room = room;
  for (int32_t i = 0; i < r->seen.n_totals; i++) {
    uint32_t at = hash_of(total[i].kind, total[i].name);
    while (place[at % (uint32_t)(2 * room)]) at++;
    place[at % (uint32_t)(2 * room)] = i + 1;
  }
  return true;
}

/* The place of a total, which is made where it is missing; -1: no memory. */
static int32_t find(record *r, int kind, const char *name) {
  uint32_t at = hash_of(kind, name);
  for (;; at++) {
    int32_t i = r->place[at % (uint32_t)(2 * r->room)];
    if (!i) break;
    if (r->total[i - 1].kind == kind && strcmp(r->total[i - 1].name, name) == 0) return i - 1;
  }
  if (r->seen.n_totals == r->room) return grow(r) ? find(r, kind, name) : -1;
  char *own = strdup(name); /* names may be the host program's, and go before the record does */
  if (!own) return -1;
  int32_t i = (int32_t)r->seen.n_totals++;
  r->total[i] = (ml_total){.name = own, .kind = kind};
  r->place[at % (uint32_t)(2 * r->room)] = i + 1;
  return i;
}

static void add_event(record *r, const ml__span *s, int32_t name, int64_t end) {
  int64_t i = r->seen.n_events;
  ml_event **chunk = &r->chunk[i / CHUNK];
  if (i < r->most && me.thread >= 0 && !*chunk) *chunk = malloc(CHUNK * sizeof **chunk);
  if (i >= r->most || me.thread < 0 || !*chunk) {
    r->seen.left_out++;
    return;
  }
  ml_event *e = &(*chunk)[i % CHUNK];
  e->begin = s->begin;
  e->end = end;
  e->name = name;
  e->thread = (int16_t)me.thread;
  e->ndim = s->ndim;
  e->dtype = s->dtype;
  for (int d = 0; d < s->ndim; d++) e->shape[d] = s->shape[d];
  r->seen.n_events++;
}

/* An event that ends. */
static void note(const ml__span *s, int32_t name, int64_t end) {
  int64_t *inner = &me.inner[sort_of(s->kind)], time = end - s->begin, own = time - *inner;
  *inner = s->inner + time;
  if (name < 0) {
    now->seen.left_out++;
    return;
  }
  ml_total *t = &now->total[name];
  t->calls++;
  t->time += time;
  t->own += own;
  t->longest = ML_MAX(t->longest, time);
  add_event(now, s, name, end);
}

/* -- spans -- */

void ml__span_open(ml__span *s, int kind, const char *name) {
  uint32_t current = __atomic_load_n(&run, __ATOMIC_RELAXED);
  if (me.run != current) {
    me.run = current;
    memset(me.inner, 0, sizeof me.inner);
  }
  s->kind = kind;
  s->name = name;
  s->run = current;
  s->ndim = -1;
  s->inner = me.inner[sort_of(kind)];
  me.inner[sort_of(kind)] = 0;
  s->begin = clock_now();
}

void ml__span_look(ml__span *s, const ml_info *info) {
  s->ndim = (int8_t)info->ndim;
  s->dtype = (int8_t)info->dtype;
  for (int d = 0; d < info->ndim; d++) s->shape[d] = (int32_t)ML_MIN(info->shape[d], INT32_MAX);
}

void ml__span_close(const ml__span *s) {
  int64_t end = clock_now();
  pthread_mutex_lock(&lock);
  if (now && s->run == run) note(s, find(now, s->kind, s->name), end);
  pthread_mutex_unlock(&lock);
}

/* -- events of the host program -- */

static struct frame {
  ml__span span;
  int32_t name;
  double id;
} frames[MOST_FRAMES];
static int depth;
static double last_id;

double ml_profile_begin(int kind, const char *name) {
  if (!now || kind < 0 || kind >= ML_EVENTS) return 0;
  if (depth == MOST_FRAMES) {
    pthread_mutex_lock(&lock);
    now->seen.left_out++;
    pthread_mutex_unlock(&lock);
    return 0;
  }
  struct frame *f = &frames[depth++];
  pthread_mutex_lock(&lock);
  f->name = find(now, kind, name);
  pthread_mutex_unlock(&lock);
  f->id = ++last_id;
  ml__span_open(&f->span, kind, NULL);
  return f->id;
}

static void end_frames(int from) {
  int64_t end = clock_now();
  pthread_mutex_lock(&lock);
  while (depth > from) {
    depth--;
    note(&frames[depth].span, frames[depth].name, end);
  }
  pthread_mutex_unlock(&lock);
}

void ml_profile_end(double id) {
  int i = depth;
  while (i > 0 && frames[i - 1].id > id) i--;
  if (now && i > 0 && frames[i - 1].id == id) end_frames(i - 1);
}

/* -- beginning and end -- */

bool ml_profile_on(void) { return now != NULL; }

/* A child of fork is another program: what its parent notes is not its own. */
static void forget(void) {
  pthread_mutex_init(&lock, NULL);
  __atomic_store_n(&ml__profiling, false, __ATOMIC_RELAXED);
  now = NULL;
  depth = 0;
}

ml_err ml_profile_start(int64_t most) {
  static bool watches_forks;
  if (now) return ml_fail(ML_ESTATE, "profile: one is on already");
  if (most < 0 || most > (int64_t)CHUNK * MOST_CHUNKS)
    return ml_fail(ML_EARG, "profile: expected 0 to %lld events, got %lld",
                   (long long)CHUNK * MOST_CHUNKS, (long long)most);
  record *r = calloc(1, sizeof *r);
  if (r) {
    r->most = most;
    r->room = 64;
    r->total = malloc((size_t)r->room * sizeof *r->total);
    r->place = calloc((size_t)(2 * r->room), sizeof *r->place);
  }
  if (!r || !r->total || !r->place) {
    ml_profile_free(r ? &r->seen : NULL);
    return ml_fail(ML_ENOMEM, "out of memory: a profile");
  }
  if (!watches_forks) pthread_atfork(NULL, NULL, forget);
  watches_forks = true;
  pthread_mutex_lock(&lock);
  __atomic_store_n(&run, run + 1, __ATOMIC_RELAXED);
  depth = 0;
  r->seen.begin = clock_now();
  now = r;
  pthread_mutex_unlock(&lock);
  __atomic_store_n(&ml__profiling, true, __ATOMIC_RELAXED);
  return ML_OK;
}

ml_profile *ml_profile_stop(void) {
  if (!now) return NULL;
  __atomic_store_n(&ml__profiling, false, __ATOMIC_RELAXED);
  end_frames(0);
  pthread_mutex_lock(&lock);
  record *r = now;
  now = NULL;
  r->seen.end = clock_now();
  r->seen.total = r->total;
  pthread_mutex_unlock(&lock);
  return &r->seen;
}

const ml_event *ml_profile_event(const ml_profile *p, int64_t i) {
  const record *r = (const record *)p;
  return i >= 0 && i < p->n_events ? &r->chunk[i / CHUNK][i % CHUNK] : NULL;
}

void ml_profile_free(ml_profile *p) {
  record *r = (record *)p;
  if (!r) return;
  for (int i = 0; i < MOST_CHUNKS; i++) free(r->chunk[i]);
  for (int64_t i = 0; i < r->seen.n_totals; i++) free((char *)r->total[i].name);
  free(r->total);
  free(r->place);
  free(r);
}
