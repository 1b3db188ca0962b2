/*
 * sort: argsort and topk_ids along an axis.
 *
 * Every element becomes an unsigned key that orders as the elements do, together with its place:
 * 32 bits of both in one word (f32, i32, u8, bool, of fewer than 2^32 elements), else 64 bits of
 * each. Falling order is that of the keys' complements. Keys are sorted by radix of 8 bits from the
 * lowest digit (Knuth, The Art of Computer Programming 3, 5.2.5, algorithm R), which is stable;
 * digits that are the same in all are passed over. Few keys go by insertion.
 *
 *   argsort    reads n elements, 4 (or 8) passes over 8 (or 16) bytes each
 *   topk_ids   one pass; keys below the k-th so far are gathered, and sorted when there are enough
 *
 * Parallel over rows. -0 equals 0; a NaN of any bits has the largest key.
 */
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"
#include "op/groups.h"

enum { FEW = 48, BLOCK = 512, GRAIN = 1 << 15 };

typedef struct wide {
  uint64_t key;
  int64_t id;
} wide;

/* -- keys -- */

static inline uint32_t key_f32(float v) {
  union {
    float f;
    uint32_t u;
  } x = {v + 0.0f}; /* -0 + 0 = 0 */
  uint32_t key = x.u ^ ((uint32_t)((int32_t)x.u >> 31) | 0x80000000u);
  return v != v ? UINT32_MAX : key;
}

static inline uint64_t key_f64(double v) {
  union {
    double f;
    uint64_t u;
  } x = {v + 0.0};
  uint64_t key = x.u ^ ((uint64_t)((int64_t)x.u >> 63) | 0x8000000000000000u);
  return v != v ? UINT64_MAX : key;
}

static inline uint32_t key_i32(int32_t v) { return (uint32_t)v ^ 0x80000000u; }
static inline uint64_t key_i64(int64_t v) { return (uint64_t)v ^ 0x8000000000000000u; }
static inline uint32_t key_u8(uint8_t v) { return v; }

#define EACH(T, OUT)                         \
  for (int64_t i = 0; i < n; i++) {          \
    T v = ((const T *)x)[(from + i) * step]; \
    OUT;                                     \
  }                                          \
  break;
#define NARROW(key) to[i] = (uint64_t)((key)(v) ^ flip) << 32 | (uint64_t)(from + i)
#define WIDE(key) \
  to[i] = (wide) { (key)(v) ^ flip, from + i }

/* Keys of places [from, from + n) of a row that begins at x and goes by `step`. */
ML_CLONES static void narrow_keys(uint64_t *restrict to, const void *x, int dtype, int64_t from,
                                  int64_t n, int64_t step, bool falling) {
  uint32_t flip = falling ? UINT32_MAX : 0;
  switch (dtype) {
    case ML_F32: EACH(float, NARROW(key_f32))
    case ML_I32: EACH(int32_t, NARROW(key_i32))
    default: EACH(uint8_t, NARROW(key_u8))
  }
}

static void wide_keys(wide *restrict to, const void *x, int dtype, int64_t from, int64_t n,
                      int64_t step, bool falling) {
  uint64_t flip = falling ? UINT64_MAX : 0;
  switch (dtype) {
    case ML_F64: EACH(double, WIDE(key_f64))
    case ML_F32: EACH(float, WIDE(key_f32))
    case ML_I64: EACH(int64_t, WIDE(key_i64))
    case ML_I32: EACH(int32_t, WIDE(key_i32))
    default: EACH(uint8_t, WIDE(key_u8))
  }
}

/* -- sorting n of them, with room for n more at b: where they then are, a or b -- */

#define SORT(NAME, T, KEY, DIGITS)                                              \
  static T *sort_##NAME(T *a, T *b, int64_t n) {                                \
    if (n <= FEW) {                                                             \
      for (int64_t i = 1; i < n; i++) {                                         \
        T v = a[i];                                                             \
        int64_t k = i;                                                          \
        for (; k > 0 && KEY(a[k - 1]) > KEY(v); k--) a[k] = a[k - 1];           \
        a[k] = v;                                                               \
      }                                                                         \
      return a;                                                                 \
    }                                                                           \
    int64_t count[DIGITS][256];                                                 \
    memset(count, 0, sizeof count);                                             \
    for (int64_t i = 0; i < n; i++)                                             \
      for (int d = 0; d < DIGITS; d++) count[d][KEY(a[i]) >> 8 * d & 255]++;    \
    for (int d = 0; d < DIGITS; d++) {                                          \
      int64_t *at = count[d], sum = 0;                                          \
      if (at[KEY(a[0]) >> 8 * d & 255] == n) continue; /* the same in all */    \
      for (int k = 0; k < 256; k++) {                                           \
        int64_t c = at[k];                                                      \
        at[k] = sum;                                                            \
        sum += c;                                                               \
      }                                                                         \
      for (int64_t i = 0; i < n; i++) b[at[KEY(a[i]) >> 8 * d & 255]++] = a[i]; \
      T *swap = a;                                                              \
      a = b;                                                                    \
      b = swap;                                                                 \
    }                                                                           \
    return a;                                                                   \
  }

#define NARROW_KEY(v) ((v) >> 32)
#define WIDE_KEY(v) ((v).key)
#define NARROW_ID(v) ((v)&UINT32_MAX)
#define WIDE_ID(v) ((v).id)
SORT(narrow, uint64_t, NARROW_KEY, 4)
SORT(wide, wide, WIDE_KEY, 8)

/* -- the first k of a row of n, in order; room for what room_for says at `a` -- */

static int64_t room_for(int64_t n, int64_t k) { return 2 * ML_MIN(n, 2 * k + BLOCK) + BLOCK; }

/*
 * Where the first k are all, or many, the whole row is sorted. Else those below `bar`, the k-th so
 * far, are kept until there are k more of them: what comes later and equals it is not before it.
 */
#define FIRST(NAME, T, KEY, LAST)                                                                  \
  static const T *first_##NAME(T *a, const void *x, int dtype, int64_t n, int64_t k, int64_t step, \
                               bool falling) {                                                     \
    int64_t most = ML_MIN(n, 2 * k + BLOCK), m = 0;                                                \
    T *b = a + most, *block = b + most;                                                            \
    if (most == n) {                                                                               \
      NAME##_keys(a, x, dtype, 0, n, step, falling);                                               \
      return sort_##NAME(a, b, n);                                                                 \
    }                                                                                              \
    bool full = false;                                                                             \
    uint64_t bar = LAST;                                                                           \
    for (int64_t i = 0; i < n; i += BLOCK) {                                                       \
      int64_t count = ML_MIN(n - i, (int64_t)BLOCK);                                               \
      NAME##_keys(block, x, dtype, i, count, step, falling);                                       \
      for (int64_t e = 0; e < count; e++) {                                                        \
        a[m] = block[e];                                                                           \
        m += !full || KEY(block[e]) < bar;                                                         \
      }                                                                                            \
      if (m < most - BLOCK && i + BLOCK < n) continue;                                             \
      T *sorted = sort_##NAME(a, b, m);                                                            \
      m = ML_MIN(m, k);                                                                            \
      if (sorted != a) memcpy(a, sorted, (size_t)m * sizeof(T));                                   \
      full = m == k;                                                                               \
      if (full && k > 0) bar = KEY(a[k - 1]);                                                      \
    }                                                                                              \
    return a;                                                                                      \
  }
FIRST(narrow, uint64_t, NARROW_KEY, UINT32_MAX)
FIRST(wide, wide, WIDE_KEY, UINT64_MAX)

typedef struct job {
  const ml_tensor *x;
  ml_tensor *y;
  ml_groups e, ye;
  bool falling, narrow, failed;
} job;

static void rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t n = j->e.n, k = j->ye.n, inner = j->e.inner, *y = j->y->info.data;
  int dtype = j->x->info.dtype;
  size_t size = j->narrow ? sizeof(uint64_t) : sizeof(wide);
  void *room = malloc((size_t)room_for(n, k) * size);
  if (!room) {
    __atomic_store_n(&j->failed, true, __ATOMIC_RELAXED);
    return;
  }
  for (int64_t g = begin; g < end; g++) {
    const char *x = j->x->info.data;
    x += ml__group_at(&j->e, g, 0) * ml_dtype_size(dtype);
    int64_t *to = y + ml__group_at(&j->ye, g, 0);
    if (j->narrow) {
      const uint64_t *s = first_narrow(room, x, dtype, n, k, inner, j->falling);
      for (int64_t i = 0; i < k; i++) to[i * inner] = (int64_t)NARROW_ID(s[i]);
    } else {
      const wide *s = first_wide(room, x, dtype, n, k, inner, j->falling);
      for (int64_t i = 0; i < k; i++) to[i * inner] = WIDE_ID(s[i]);
    }
  }
  free(room);
}

static ml_err ordered(ml_tensor *y, const ml_tensor *x, int64_t axis, bool falling) {
  job j = {.x = x, .y = y, .e = ml__groups(x, axis), .ye = ml__groups(y, axis), .falling = falling};
  int dtype = x->info.dtype;
  if (y->info.count == 0) return ML_OK;
  j.narrow = dtype != ML_F64 && dtype != ML_I64 && j.e.n <= (int64_t)UINT32_MAX;
  ml_parallel(j.e.outer * j.e.inner, ML_MAX(1, GRAIN / j.e.n), rows, &j);
  return j.failed ? ml_fail(ML_ENOMEM, "out of memory: keys to sort") : ML_OK;
}

ml_err ml_argsort_ref(ml_tensor *y, const ml_tensor *x, int64_t axis, int64_t descending) {
  return ordered(y, x, axis, descending);
}

ml_err ml__shape_topk(int *nd, int64_t *shape, const ml_tensor *x, int64_t k, int64_t axis) {
  int a;
  ML_TRY(ml__axis(&a, "topk_ids", 3, x, axis));
  ML_TRY(ml__shape_like(nd, shape, x));
  if (k < 0 || k > shape[a])
    return ml_fail(ML_EARG, "bad argument #2 to 'topk_ids' (k: expected 0 to %lld, got %lld)",
                   (long long)shape[a], (long long)k);
  shape[a] = k;
  return ML_OK;
}

ml_err ml_topk_ids_ref(ml_tensor *y, const ml_tensor *x, int64_t k, int64_t axis,
                       int64_t smallest) {
  return ordered(y, x, axis, !smallest);
}
