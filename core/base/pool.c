/*
 * pool: the one pool of compute threads. Loader threads block and are apart (core/data/team.c).
 *
 * Why not OpenMP's: its threads either spin, and then keep the core from the very thread they wait
 * for as soon as another program wants one, too (steps took 40 times longer beside a second mlua),
 * or sleep, and then every region pays for a wake-up (steps took twice as long). Here who waits
 * yields: alone on its core it goes on at once, else the core goes to who has work. And nobody is
 * waited for who has not begun: the caller takes the chunks of a thread that comes too late.
 *
 * A region is a job behind a gate. Chunks are claimed from one run per thread, first from one's own
 * (the same thread for the same data, step after step), then from the others'.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base.h"

enum { MOST = 1024 };
static const double linger = 300e-6; /* seconds that a thread without work waits awake */

typedef struct worker {
  /* chunks of the current region that are this thread's own: [next, end) */
  _Alignas(64) _Atomic int64_t next;
  int64_t end;
  _Alignas(64) atomic_bool asleep;
  sem_t wake;
} worker;

static struct {
  /* The gate: number of the region << 32 | threads wanted << 16 | OPEN | threads inside. */
  _Alignas(64) _Atomic uint64_t gate;
  _Alignas(64) worker *worker; /* [0] stands for the thread that calls */
  int started;                 /* workers with a thread: 1 … started */
  int64_t n, grain, chunks;
  ml_body body;
  void *ctx;
} pool;

enum { OPEN = 1 << 15 };
#define WANT(gate) ((int)((gate) >> 16 & 0xffff))
#define INSIDE(gate) ((gate) & (OPEN - 1))
#define REGION(gate) ((gate) >> 32)

static atomic_int threads; /* 0: not yet asked */
static atomic_flag taken = ATOMIC_FLAG_INIT;
static _Thread_local bool inside;

static inline void pause_cpu(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* All chunks that nobody has begun, from `me`'s own run on. */
static void work(int me, int want) {
  for (int i = 0; i < want; i++) {
    worker *w = &pool.worker[(me + i) % want];
    while (atomic_load_explicit(&w->next, memory_order_relaxed) < w->end) {
      int64_t c = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
      if (c >= w->end) break;
      pool.body(pool.ctx, c * pool.grain, ML_MIN(pool.n, (c + 1) * pool.grain));
    }
  }
}

/* Whether `me` came in by this gate: it is open for it, and still was when its count rose. */
static bool enter(uint64_t gate, int me) {
  if (!(gate & OPEN) || me >= WANT(gate)) return false;
  return atomic_compare_exchange_strong(&pool.gate, &gate, gate + 1);
}

static void sleep_until_called(worker *w, uint64_t seen) {
  atomic_store(&w->asleep, true);
  if (REGION(atomic_load(&pool.gate)) != seen && atomic_exchange(&w->asleep, false)) return;
  while (sem_wait(&w->wake)) continue; /* interrupted by a signal */
}

static void *member(void *arg) {
  int me = (int)(intptr_t)arg;
  worker *w = &pool.worker[me];
  uint64_t seen = 0; /* the last region looked at */
  inside = true;
  for (;;) {
    double until = 0;
    for (int tries = 0;; tries++) {
      uint64_t gate = atomic_load_explicit(&pool.gate, memory_order_acquire);
      if (REGION(gate) != seen) {
        if (enter(gate, me)) {
          work(me, WANT(gate));
          atomic_fetch_sub_explicit(&pool.gate, 1, memory_order_release);
          until = 0;
          seen = REGION(gate);
        } else if (!(gate & OPEN) || me >= WANT(gate)) {
          seen = REGION(gate);
        }
        tries = 0;
      } else if (tries < 64) {
        pause_cpu();
      } else {
        sched_yield();
        if (tries % 16) continue;
        double now = ml_clock();
        if (until == 0) until = now + linger;
        if (now > until) break;
      }
    }
    sleep_until_called(w, seen);
  }
  return NULL;
}

/* After a fork the child has none of the threads: it starts its own with its first region. */
static void forget_threads(void) {
  pool.started = 0;
  atomic_store(&pool.gate, REGION(atomic_load(&pool.gate)) << 32);
  atomic_flag_clear(&taken);
}

/* Threads up to n in all, as far as the system gives them. */
static void start(int n) {
  if (!pool.worker) {
    pool.worker = aligned_alloc(64, MOST * sizeof(worker));
    if (!pool.worker) return;
    pthread_atfork(NULL, NULL, forget_threads);
  }
  sigset_t all, before;
  sigfillset(&all); /* signals are for the thread that runs Lua */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (; pool.started + 1 < n; pool.started++) {
    pthread_t thread;
    worker *w = &pool.worker[pool.started + 1];
    atomic_init(&w->asleep, false);
    if (sem_init(&w->wake, 0, 0)) break;
    if (pthread_create(&thread, NULL, member, (void *)(intptr_t)(pool.started + 1))) break;
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void region(int want) {
  for (int i = 0; i < want; i++) {
    worker *w = &pool.worker[i];
    atomic_store_explicit(&w->next, pool.chunks * i / want, memory_order_relaxed);
    w->end = pool.chunks * (i + 1) / want;
  }
  uint64_t gate = (REGION(atomic_load(&pool.gate)) + 1) << 32 | (uint64_t)want << 16 | OPEN;
  atomic_store(&pool.gate, gate);
  for (int i = 1; i < want; i++) {
    worker *w = &pool.worker[i];
    if (atomic_load(&w->asleep) && atomic_exchange(&w->asleep, false)) sem_post(&w->wake);
  }
  work(0, want);
  gate = atomic_fetch_and(&pool.gate, ~(uint64_t)OPEN);
  for (int tries = 0; INSIDE(gate); tries++) {
    if (tries < 64) pause_cpu();
    else sched_yield();
    gate = atomic_load_explicit(&pool.gate, memory_order_acquire);
  }
}

/* As other programs that compute: what OMP_NUM_THREADS says, or the cores that this one may use. */
static int default_threads(void) {
  const char *wanted = getenv("OMP_NUM_THREADS");
  cpu_set_t set;
  long n = wanted ? strtol(wanted, NULL, 10) : 0;
  if (n < 1) n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
  return (int)ML_MAX(1, ML_MIN(MOST, n));
}

int ml_threads(void) {
  int n = atomic_load(&threads);
  if (!n) {
    n = default_threads();
    atomic_store(&threads, n);
  }
  return n;
}

ml_err ml_set_threads(int n) {
  if (n < 1 || n > MOST) return ml_fail(ML_EARG, "threads: expected 1 to %d, got %d", MOST, n);
  atomic_store(&threads, n);
  return ML_OK;
}

void ml_parallel(int64_t n, int64_t grain, ml_body body, void *ctx) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  int64_t chunks = (n + grain - 1) / grain;
  int want = (int)ML_MIN(chunks, (int64_t)ml_threads());
  if (want > 1 && !inside && !atomic_flag_test_and_set(&taken)) {
    if (pool.started + 1 < want) start(want);
    want = ML_MIN(want, pool.started + 1);
    if (want > 1) {
      pool.n = n, pool.grain = grain, pool.chunks = chunks, pool.body = body, pool.ctx = ctx;
      inside = true;
      region(want);
      inside = false;
      atomic_flag_clear(&taken);
      return;
    }
    atomic_flag_clear(&taken);
  }
  for (int64_t c = 0; c < chunks; c++) body(ctx, c * grain, ML_MIN(n, (c + 1) * grain));
}
