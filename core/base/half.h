/*
 * half.h: the two 16-bit floating-point formats, stored as uint16_t, to and from f32 and f64.
 *
 *   bf16  1 sign, 8 exponent, 7 fraction bits: the upper half of an f32
 *   f16   1 sign, 5 exponent, 10 fraction bits: IEEE 754 binary16
 *
 * Rounded to nearest, ties to even; subnormals kept; NaN stays NaN, made quiet. In plain integers,
 * so that the bits are the same on every machine and gcc vectorises loops over those of f32.
 */
#ifndef MLUA_HALF_H
#define MLUA_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ml_bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static inline float ml_float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static inline float ml_bf16_to_f32(uint16_t h) { return ml_float_of((uint32_t)h << 16); }

static inline uint16_t ml_f32_to_bf16(float x) {
  uint32_t u = ml_bits_of(x), rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
  return (uint16_t)((u & 0x7FFFFFFF) > 0x7F800000 ? u >> 16 | 0x40 : rounded);
}

/* A subnormal is its fraction times 2^-24. */
static inline float ml_f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7FFF;
  uint32_t normal = (rest << 13) + (112u << 23), special = rest << 13 | 0x7F800000;
  uint32_t small = ml_bits_of((float)(int32_t)rest * 0x1p-24f);
  return ml_float_of(sign | (rest >= 0x7C00 ? special : rest >= 0x400 ? normal : small));
}

/* Below 2^-14 the spacing is 2^-24, which is that of f32 from 1/2 on: an addition rounds. */
static inline uint16_t ml_f32_to_f16(float x) {
  uint32_t u = ml_bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
  uint32_t normal = (a - (112u << 23) + 0xFFF + (a >> 13 & 1)) >> 13;
  uint32_t small = ml_bits_of(ml_float_of(a) + 0.5f) - 0x3F000000;
  uint32_t large = a > 0x7F800000 ? 0x7E00 | (a >> 13 & 0x3FF) : 0x7C00;
  /* from 65520 on, halfway beyond the largest number 65504, to infinity */
  return (uint16_t)(sign | (a >= 0x477FF000 ? large : a >= 0x38800000 ? normal : small));
}

/*
 * x itself where it is an f32, else its neighbour among them whose last bit is 1: rounded again to
 * at least two bits less, that gives what rounding x once would (Boldo & Melquiond 2008, thm. 3).
 */
static inline float ml_f64_to_odd(double x) {
  float f = (float)x;
  uint32_t u = ml_bits_of(f);
  double size = x < 0 ? -x : x, got = (double)(f < 0 ? -f : f);
  if (x != x || got == size || u & 1) return f;
  return ml_float_of(got > size ? u - 1 : u + 1);
}

static inline uint16_t ml_f64_to_bf16(double x) { return ml_f32_to_bf16(ml_f64_to_odd(x)); }
static inline uint16_t ml_f64_to_f16(double x) { return ml_f32_to_f16(ml_f64_to_odd(x)); }

#endif
