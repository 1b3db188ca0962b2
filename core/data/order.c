/*
 * order: parts and shuffles, row by row.
 *
 * A shuffle is a permutation computed place by place, so an epoch of any length starts at once,
 * takes no memory, and can be entered anywhere. It is an unbalanced Feistel network over the
 * smallest power of two that holds n, walked until it falls below n again.
 *
 * Black, Rogaway 2002, "Ciphers with arbitrary finite domains", section 4 (cycle walking). Round
 * keys are Philox draws of (seed, stream, counter); the round function mixes half and key.
 */
#include "order.h"

#include <stdlib.h>

enum {
  SPLIT = 0x73706c74,
  EPOCH = 0x65706f63,
  THIN = 0x7468696e
}; /* streams, apart from those of other draws */

void ml__shuffle_init(ml__shuffle *s, int64_t n, uint64_t seed, uint64_t stream, uint64_t counter) {
  int bits = 8; /* at least: narrower halves mix badly */
  while (bits < 62 && (INT64_C(1) << bits) < n) bits++;
  s->n = n;
  s->low = bits / 2;
  s->high = bits - s->low;
  for (int i = 0; i < ML__ROUNDS; i += 2) {
    uint32_t r[4];
    ml_philox(seed, stream << 32 | (uint64_t)i, counter, r);
    s->key[i] = (uint64_t)r[0] << 32 | r[1];
    s->key[i + 1] = (uint64_t)r[2] << 32 | r[3];
  }
}

static inline uint64_t mix(uint64_t x) {
  x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
  x = (x ^ x >> 29) * UINT64_C(0xD6E8FEB86659FD93);
  return x >> 32;
}

int64_t ml__shuffle_at(const ml__shuffle *s, int64_t i) {
  uint64_t x = (uint64_t)i, low = (UINT64_C(1) << s->low) - 1, high = (UINT64_C(1) << s->high) - 1;
  do {
    uint64_t a = x & low, b = x >> s->low;
    for (int r = 0; r < ML__ROUNDS; r += 2) {
      b ^= mix(a + s->key[r]) & high;
      a ^= mix(b + s->key[r + 1]) & low;
    }
    x = b << s->low | a;
  } while (x >= (uint64_t)s->n);
  return (int64_t)x;
}

void ml__order_init(ml__order *o, const ml_part *part, int64_t rows) {
  o->part = *part;
  o->count = part->count;
  o->list = NULL;
  o->shuffled = false;
  if (part->permuted) ml__shuffle_init(&o->permutation, rows, part->seed, SPLIT, 0);
}

void ml__order_epoch(ml__order *o, uint64_t seed, int64_t epoch) {
  o->shuffled = true;
  ml__shuffle_init(&o->shuffle, o->count, seed, EPOCH, (uint64_t)epoch);
}

void ml__order_rows(const ml__order *o, int64_t begin, int64_t n, int64_t *out) {
  for (int64_t i = 0; i < n; i++) {
    int64_t place = o->shuffled ? ml__shuffle_at(&o->shuffle, begin + i) : begin + i;
    if (o->list) {
      out[i] = o->list[place];
      continue;
    }
    place += o->part.first;
    out[i] = o->part.permuted ? ml__shuffle_at(&o->permutation, place) : place;
  }
}

ml_err ml__order_thin(ml__order *o, const float *label, double rate, uint64_t seed) {
  if (rate <= 0) return ML_OK;
  int64_t kept = 0, *list = malloc(((size_t)o->count + 1) * sizeof *list);
  if (!list) return ml_fail(ML_ENOMEM, "loader: no memory for %lld rows", (long long)o->count);
  for (int64_t i = 0, row; i < o->count; i++) {
    uint32_t r[4];
    ml__order_rows(o, i, 1, &row);
    ml_philox(seed, THIN, (uint64_t)row, r);
    if (label[row] > 0 || (double)ml_unit24(r[0]) >= rate) list[kept++] = row;
  }
  o->list = list;
  o->count = kept;
  return ML_OK;
}

ml_err ml__part_check(const ml_part *p, int64_t rows) {
  if (p->first < 0 || p->count < 0 || p->first > rows - p->count)
    return ml_fail(ML_EARG, "part: expected rows within 0 to %lld, got %lld rows after %lld",
                   (long long)rows, (long long)p->count, (long long)p->first);
  return ML_OK;
}
