/*
 * vocab: ids of words by first appearance.
 *
 * Open addressing with linear probing. A word's place is the top bits of a product, so that growing
 * moves slots in order. Big tables live in huge pages, and lookups are prefetched: the memory of a
 * table with ten million words is 16 times the cache.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "clicks.h"

enum { FIRST_BITS = 8, AHEAD = 16, HUGE = 1 << 21 };

static inline uint64_t place(uint32_t word, int bits) {
  return (word * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - bits);
}

static void *slots_new(int bits) {
  size_t size = sizeof(uint64_t) << bits;
  if (size < HUGE) return calloc(1, size);
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  madvise(p, size, MADV_HUGEPAGE);
  return p;
}

static void slots_free(uint64_t *slot, int bits) {
  size_t size = sizeof(uint64_t) << bits;
  if (!slot) return;
  if (size < HUGE) free(slot);
  else munmap(slot, size);
}

static ml_err grow(ml__vocab *v) {
  int bits = v->slot ? v->bits + 1 : FIRST_BITS;
  uint64_t *slot = slots_new(bits), mask = (UINT64_C(1) << bits) - 1;
  int64_t cap = (INT64_C(1) << bits) / 2;
  uint32_t *words = realloc(v->words, (size_t)cap * sizeof *words);
  if (words) v->words = words;
  if (!slot || !words) {
    slots_free(slot, bits);
    return ml_fail(ML_ENOMEM, "vocabulary: no memory for %lld words", (long long)cap);
  }
  int64_t old = v->slot ? INT64_C(1) << v->bits : 0;
  for (int64_t i = 0; i < old; i++) {
    if (!v->slot[i]) continue;
    uint64_t at = place((uint32_t)(v->slot[i] >> 32), bits);
    while (slot[at]) at = (at + 1) & mask;
    slot[at] = v->slot[i];
  }
  slots_free(v->slot, v->bits);
  v->slot = slot;
  v->bits = bits;
  v->cap = cap;
  return ML_OK;
}

ml_err ml__vocab_assign(ml__vocab *v, uint32_t *words, int64_t n) {
  if (!v->slot) ML_TRY(grow(v));
  for (int64_t i = 0; i < n; i++) {
    if (i + AHEAD < n) __builtin_prefetch(&v->slot[place(words[i + AHEAD], v->bits)]);
    uint64_t mask = (UINT64_C(1) << v->bits) - 1, at = place(words[i], v->bits);
    while (v->slot[at] && v->slot[at] >> 32 != words[i]) at = (at + 1) & mask;
    if (!v->slot[at]) {
      if (v->n == v->cap) {
        if (v->n >= INT32_MAX / 2) return ml_fail(ML_ERANGE, "vocabulary: too many words");
        ML_TRY(grow(v));
        i--;
        continue;
      }
      v->words[v->n++] = words[i];
      v->slot[at] = (uint64_t)words[i] << 32 | (uint64_t)v->n;
    }
    words[i] = (uint32_t)v->slot[at] - 1;
  }
  return ML_OK;
}

void ml__vocab_free(ml__vocab *v) {
  slots_free(v->slot, v->bits);
  free(v->words);
}
