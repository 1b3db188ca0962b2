/*
 * thread: the one pool of compute threads (OpenMP's) and the clock.
 *
 * One pool only: two pools that spin at once fight for the cores. Loader threads are pthreads that
 * block (core/data). Without OpenMP (the tsan build) everything runs on the calling thread.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "base.h"

static int threads; /* 0: not yet asked */

int ml_threads(void) {
#ifdef _OPENMP
  if (!threads) threads = omp_get_max_threads();
#else
  threads = 1;
#endif
  return threads;
}

ml_err ml_set_threads(int n) {
  if (n < 1 || n > 1024) return ml_fail(ML_EARG, "threads: expected 1 to 1024, got %d", n);
#ifdef _OPENMP
  omp_set_num_threads(n); /* oneDNN reads the same setting */
  threads = n;
#endif
  return ML_OK;
}

/* Bodies may call oneDNN, which reads the same setting: outside a region it would start one of its
   own, with sums cut by the number of threads. */
static void alone(int64_t n, int64_t grain, int64_t chunks, ml_body body, void *ctx) {
#ifdef _OPENMP
  bool held = ml_threads() > 1 && !omp_in_parallel();
  if (held) omp_set_num_threads(1);
#endif
  for (int64_t c = 0; c < chunks; c++) body(ctx, c * grain, ML_MIN(n, (c + 1) * grain));
#ifdef _OPENMP
  if (held) omp_set_num_threads(threads);
#endif
}

void ml_parallel(int64_t n, int64_t grain, ml_body body, void *ctx) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  int64_t chunks = (n + grain - 1) / grain;
#ifdef _OPENMP
  int want = (int)ML_MIN(chunks, (int64_t)ml_threads());
  if (want > 1 && !omp_in_parallel()) {
    if (chunks > 2 * want) { /* a core that others use, too, takes fewer */
#pragma omp parallel for schedule(dynamic, 1) num_threads(want)
      for (int64_t c = 0; c < chunks; c++) body(ctx, c * grain, ML_MIN(n, (c + 1) * grain));
    } else { /* the same thread for the same data, step after step */
#pragma omp parallel for schedule(static) num_threads(want)
      for (int64_t c = 0; c < chunks; c++) body(ctx, c * grain, ML_MIN(n, (c + 1) * grain));
    }
    return;
  }
#endif
  alone(n, grain, chunks, body, ctx);
}

double ml_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t ml_resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (!f) return 0;
  if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
  fclose(f);
  return (int64_t)pages * sysconf(_SC_PAGESIZE);
}
