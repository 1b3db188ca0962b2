/*
 * philox.h: Philox 4x32-10 for many counters at once, in loops that the compiler vectorises.
 *
 * The same words as ml_philox (philox.c), lane by lane. Include it in functions marked
 * ML_CLONES_V3: for AVX-512 gcc 12 takes its slow 64-bit product.
 */
#ifndef MLUA_PHILOX_H
#define MLUA_PHILOX_H

#include "base.h"

enum { ML_PHILOX_LANES = 16 };

/* One round of one lane: two 32 x 32 -> 64 products, halves crossed, keys added. */
#define ML_PHILOX_ROUND(c0, c1, c2, c3, k0, k1)                                      \
  do {                                                                               \
    uint64_t p0_ = (uint64_t)0xD2511F53u * (c0), p1_ = (uint64_t)0xCD9E8D57u * (c2); \
    uint32_t n0_ = (uint32_t)(p1_ >> 32) ^ (c1) ^ (k0);                              \
    uint32_t n2_ = (uint32_t)(p0_ >> 32) ^ (c3) ^ (k1);                              \
    (c1) = (uint32_t)p1_;                                                            \
    (c3) = (uint32_t)p0_;                                                            \
    (c0) = n0_;                                                                      \
    (c2) = n2_;                                                                      \
  } while (0)

enum { ML_PHILOX_W0 = (int)0x9E3779B9, ML_PHILOX_W1 = (int)0xBB67AE85, ML_PHILOX_ROUNDS = 10 };

/* Words of counters first … first + LANES - 1: w[k][lane]. */
static inline __attribute__((always_inline)) void ml__philox_block(uint64_t seed, uint64_t stream,
                                                                   uint64_t first,
                                                                   uint32_t w[4][ML_PHILOX_LANES]) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int l = 0; l < ML_PHILOX_LANES; l++) {
    w[0][l] = (uint32_t)(first + (uint64_t)l);
    w[1][l] = (uint32_t)((first + (uint64_t)l) >> 32);
    w[2][l] = (uint32_t)stream;
    w[3][l] = (uint32_t)(stream >> 32);
  }
  for (int round = 0; round < ML_PHILOX_ROUNDS; round++) {
    for (int l = 0; l < ML_PHILOX_LANES; l++)
      ML_PHILOX_ROUND(w[0][l], w[1][l], w[2][l], w[3][l], k0, k1);
    k0 += (uint32_t)ML_PHILOX_W0;
    k1 += (uint32_t)ML_PHILOX_W1;
  }
}

#endif
