/*
 * log: lines that C says, from any thread, kept until the program's own thread takes them.
 *
 * C prints nothing itself: what is done with a line, by its level and module, is decided in Lua
 * (lua/mlua/log.lua). The ring is small; what finds no room is counted and told.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"

enum { LINES = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ml_log_line ring[LINES];
static int64_t first, lost; /* the oldest line kept; how many found no room */
static _Atomic int64_t n;   /* kept: read without the lock, too */
static atomic_int level = ML_LOG_WARN;
static _Thread_local char thread[sizeof ring->origin];

/* A child that is forked while a thread says something would wait for ever. */
static void begin_in_child(void) {
  pthread_mutex_init(&lock, NULL);
  n = first = lost = 0; /* the parent says them */
}
__attribute__((constructor)) static void watch_forks(void) {
  pthread_atfork(NULL, NULL, begin_in_child);
}

void ml_log_level(int most) { atomic_store(&level, most); }

bool ml__log_wants(int of) { return of <= atomic_load_explicit(&level, memory_order_relaxed); }

void ml__log_name(const char *name, int number) {
  snprintf(thread, sizeof thread, "%s %d", name, number);
}

void ml__log(int of, const char *module, const char *fmt, ...) {
  if (!ml__log_wants(of)) return;
  ml_log_line line = {.level = of};
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  line.time = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
  snprintf(line.module, sizeof line.module, "%s", module);
  snprintf(line.origin, sizeof line.origin, "%s", thread);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line.text, sizeof line.text, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&lock);
  if (n < LINES) ring[(first + n++) % LINES] = line;
  else lost++;
  pthread_mutex_unlock(&lock);
}

int64_t ml_log_waiting(void) { return atomic_load_explicit(&n, memory_order_relaxed); }

bool ml_log_take(ml_log_line *out) {
  pthread_mutex_lock(&lock);
  bool any = n > 0;
  if (any) {
    *out = ring[first];
    first = (first + 1) % LINES;
    n--;
    out->lost = lost;
    lost = 0;
  }
  pthread_mutex_unlock(&lock);
  return any;
}
