/*
 * alloc: CPU memory for tensors, cached by size class.
 *
 * A freed block goes to its class's list and serves the next request of that class: the sizes of a
 * training step repeat, and malloc's trimming costs microseconds a step. Classes are 64 bytes times
 * 2^k in quarter steps, so at most a fifth of a block is slack. Blocks from 2 MiB on are aligned to
 * huge pages and ask for them: random rows of a large table miss the TLB otherwise.
 *
 * Lua's collector does not see these bytes. `collect_at` is the mark past which Lua should collect.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "tensor/tensor.h"

enum { CLASSES = 4 * 48, CACHE_LIMIT = 512 << 20 };
static const int64_t HUGE = 2 << 20;

typedef struct block {
  struct block *next;
} block;

static block *lists[CLASSES];
enum { COLLECT_LEAST = 32 << 20 };
static ml_memory stats = {.collect_at = COLLECT_LEAST};
int64_t ml__deny_at;

static int64_t limit_set;

static int64_t limit(void) { return limit_set > 0 ? limit_set : ml__machine_memory(); }

int64_t ml_memory_limit(int64_t bytes) {
  if (bytes >= 0) limit_set = bytes;
  return limit();
}

ml_memory *ml_memory_stats(void) { return &stats; }
void ml_memory_fail_at(int64_t n) { ml__deny_at = n; }

/* The class of a size and the class's own size. */
static int class_of(int64_t bytes, int64_t *size) {
  uint64_t units = bytes <= 64 ? 1 : ((uint64_t)bytes + 63) / 64;
  int k = 63 - __builtin_clzll(units);
  if (k < 2) {
    *size = (int64_t)units * 64;
    return (int)units; /* 1, 2, 3 units; 4 is k = 2 */
  }
  uint64_t step = 1ull << (k - 2), quarters = (units + step - 1) / step; /* 4 to 8 */
  *size = (int64_t)(quarters * step * 64);
  return 4 * (k - 1) + (int)(quarters - 4);
}

void ml_memory_trim(void) {
  for (int c = 0; c < CLASSES; c++) {
    while (lists[c]) {
      block *b = lists[c];
      lists[c] = b->next;
      free(b);
    }
  }
  stats.cached = 0;
}

static ml_err refuse(int64_t bytes) {
  return ml_fail(
      ML_ENOMEM, "out of memory on cpu: %lld bytes asked, %lld in use, %lld cached, %lld allowed",
      (long long)bytes, (long long)stats.live, (long long)stats.cached, (long long)limit());
}

/* More than the machine has is refused here: the system might promise it, and end the program when
 * it is used. */
ml_err ml__alloc(void **out, int64_t bytes) {
  *out = NULL;
  if (bytes < 0 || bytes > limit() - stats.live || ml__denied()) return refuse(bytes);
  int64_t size;
  int c = class_of(bytes, &size);
  if (lists[c]) {
    block *b = lists[c];
    lists[c] = b->next;
    stats.cached -= size;
    *out = b;
  } else {
    size_t align = size >= HUGE ? (size_t)HUGE : 64;
    size_t padded = ((size_t)size + align - 1) / align * align;
    void *p = aligned_alloc(align, padded);
    if (!p) {
      ml_memory_trim();
      p = aligned_alloc(align, padded);
    }
    if (!p) return refuse(size);
    if (size >= HUGE) madvise(p, padded, MADV_HUGEPAGE);
    *out = p;
  }
  ml__used(size, 0);
  return ML_OK;
}

void ml__used(int64_t live, int64_t record) {
  stats.live += live;
  stats.held += live + record;
  if (live > 0) stats.peak = ML_MAX(stats.peak, stats.live);
  else if (stats.held < stats.collect_at / 4) /* the mark follows back down after a peak */
    stats.collect_at = ML_MAX(COLLECT_LEAST, 2 * stats.held);
}

void ml__release(void *data, int64_t bytes) {
  if (!data) return;
  int64_t size;
  int c = class_of(bytes, &size);
  ml__used(-size, 0);
  if (stats.cached + size > CACHE_LIMIT) {
    free(data);
    return;
  }
  block *b = data;
  b->next = lists[c];
  lists[c] = b;
  stats.cached += size;
}
