/* exp.h: e^x in f32 within loops that the compiler vectorises, without a call; and rows of it. */
#ifndef MLUA_OP_EXP_H
#define MLUA_OP_EXP_H

#include <stdint.h>
#include <string.h>

#define ML_INLINE static inline __attribute__((always_inline))

/*
 * e^x for x up to 88, to 2e-7 of it; 0 below -87.7, where f32 has no normal numbers; NaN stays.
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its series up to r^6, whose rest is below 1.7e-7. At n =
 * -127 the exponent's bits are all 0, and so is 2^n.
 */
ML_INLINE float ml__exp32(float x) {
  float held = x < -88.02f ? -88.02f : x;
  float shifted = held * 1.44269504f + 0x1.8p23f, n = shifted - 0x1.8p23f;
  float r = held - n * 0.693145752f;
  r -= n * 1.42860677e-6f;
  float y =
      1 + r * (1 + r * (0.5f + r * (1 / 6.f + r * (1 / 24.f + r * (1 / 120.f + r * (1 / 720.f))))));
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (int32_t)((uint32_t)(bits + 127) << 23);
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  return y * scale;
}

/* The largest of n elements, -inf of none; NaN are passed over. */
ML_INLINE float ml__largest32(int64_t n, const float *restrict x) {
  float lane[32], top = -__builtin_inff();
  int64_t i = 0;
  for (int k = 0; k < 32; k++) lane[k] = top;
  for (; i + 32 <= n; i += 32)
    for (int k = 0; k < 32; k++) lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
  for (; i < n; i++) top = x[i] > top ? x[i] : top;
  for (int k = 0; k < 32; k++) top = lane[k] > top ? lane[k] : top;
  return top;
}

/* sum e^(x - top): eight terms in f32, those sums in double; the terms into y where keep. Memory
 * rests meanwhile: the row after x, and y where it is there, are fetched. */
ML_INLINE double ml__exps32(int64_t n, const float *restrict x, float top, const int keep,
                            float *restrict y) {
  double lane[16] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 128 <= n; i += 128) {
    float part[16] = {0};
    for (int m = 0; m < 128; m += 16) {
      __builtin_prefetch(x + n + i + m);
      if (!keep && y) __builtin_prefetch(y + i + m, 1);
      for (int k = 0; k < 16; k++) {
        float e = ml__exp32(x[i + m + k] - top);
        if (keep) y[i + m + k] = e;
        part[k] += e;
      }
    }
    for (int k = 0; k < 16; k++) lane[k] += (double)part[k];
  }
  for (; i < n; i++) {
    float e = ml__exp32(x[i] - top);
    if (keep) y[i] = e;
    sum += (double)e;
  }
  for (int k = 0; k < 16; k++) sum += lane[k];
  return sum;
}

#endif
