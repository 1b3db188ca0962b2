/*
 * math.h: <tgmath.h>, with glibc's vector forms (libmvec, errors up to 4 ulp) declared for loops
 * that the compiler vectorises. glibc itself declares them under -ffast-math only.
 */
#ifndef MLUA_OP_MATH_H
#define MLUA_OP_MATH_H

#include <math.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 35)
#define SIMD __attribute__((simd("notinbranch")))
#define SIMD1(name)                \
  SIMD extern double name(double); \
  SIMD extern float name##f(float);
#define SIMD2(name)                        \
  SIMD extern double name(double, double); \
  SIMD extern float name##f(float, float);
SIMD1(exp)
SIMD1(exp2)
SIMD1(expm1)
SIMD1(log)
SIMD1(log2)
SIMD1(log10)
SIMD1(log1p)
SIMD1(sin)
SIMD1(cos)
SIMD1(tan)
SIMD1(asin)
SIMD1(acos)
SIMD1(atan)
SIMD1(sinh)
SIMD1(cosh)
SIMD1(tanh)
SIMD1(asinh)
SIMD1(acosh)
SIMD1(atanh)
SIMD1(erf)
SIMD1(erfc)
SIMD2(pow)
SIMD2(atan2)
SIMD2(hypot)
#undef SIMD1
#undef SIMD2
#undef SIMD
#endif

#include <tgmath.h>

#endif
