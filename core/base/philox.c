/*
 * philox: the counter-based generator Philox 4x32-10.
 *
 * Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
 * Key: the seed's two halves. Counter: (counter low, counter high, stream low, stream high).
 */
#include "philox.h"

void ml_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
  uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
  for (int round = 0; round < ML_PHILOX_ROUNDS; round++) {
    ML_PHILOX_ROUND(c0, c1, c2, c3, k0, k1);
    k0 += (uint32_t)ML_PHILOX_W0;
    k1 += (uint32_t)ML_PHILOX_W1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

void ml_permutation(int64_t *out, int64_t n, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < n; i++) out[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    uint32_t r[4];
    ml_philox(seed, stream, (uint64_t)i, r);
    /* 64 random bits scaled to i + 1 values: bias below n / 2^64 */
    unsigned __int128 x = (unsigned __int128)(((uint64_t)r[0] << 32) | r[1]) * (uint64_t)(i + 1);
    int64_t j = (int64_t)(x >> 64), t = out[i];
    out[i] = out[j];
    out[j] = t;
  }
}
