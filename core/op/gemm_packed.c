/*
 * gemm_packed: C[M,N] = alpha A B, or C + alpha A B, in f32 or f64, for A and B of any strides.
 *
 * Blocks of A (KC deep) and of B are copied into panels of MR rows and of two vectors' columns, and
 * tiles of C stay in twelve registers over a block of K: strides matter to the copies alone. Small
 * ones are read where they lie. oneDNN 2.6 has no product in f64; and its sgemm on AVX2 reads its
 * inputs where they lie, at half its own best speed where they are transposed or their rows lie a
 * power of two apart (37 against 80 GFLOP/s a core at 128 x 1024 x 1024; here 80 to 90 at all of
 * these). Its first call also takes 16 to 30 ms, to make its code.
 *
 * An element's sum runs over K in blocks of KC in order, wherever the cuts of M and N lie: the
 * result does not depend on them, nor on the number of threads.
 *
 * Goto & van de Geijn 2008, ACM TOMS 34 (3).
 */
#include <stdlib.h>
#include <string.h>

#include "op/gemm.h"

enum {
  MR = 6,
  KC = 256,
  MC = 264,    /* rows of a block of A, in f32; half as many in f64: 270 KB, of the second level */
  NC = 2048,   /* columns of a block of B */
  WORTH = 192, /* uses of an element of A or of B from which a copy of it pays */
  WIDEST = 16
};

#define INLINE static inline __attribute__((always_inline))

typedef float v8f __attribute__((vector_size(32), aligned(4), may_alias));
typedef double v4d __attribute__((vector_size(32), aligned(8), may_alias));

/*
 * sum += a b in vectors of 32 bytes, for functions compiled for AVX2: gcc 12 would rename
 * accumulators by copying them, 11 copies to 12 products, or keep some in memory, and either costs
 * up to a third of the speed as soon as the core's other half is busy.
 */
#if defined(__x86_64__) && defined(__OPTIMIZE__)
#define FMA(ps, sum, a, b) __asm__("vfmadd231" ps " %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b))
#else
#define FMA(ps, sum, a, b) (sum) += (a) * (b)
#endif

/*
 * c[H][W vectors] = alpha sum over k of a[H][k] b[k][W vectors], added to c where `add`: rows of a
 * `ad` apart and its columns `ar`, rows of b `bd`. Rows of a are reached from two pointers, so that
 * all of them fit into registers; eight steps at a time, for the front end's sake.
 */
#define STEP(vector, lanes, ps)                                           \
  {                                                                       \
    vector bv[2];                                                         \
    for (int w = 0; w < W; w++) bv[w] = *(const vector *)(b + w * lanes); \
    for (int i = 0; i < H; i++) {                                         \
      const vector x = (i < 3 ? low : high)[i % 3 * ad] - (vector){0};    \
      for (int w = 0; w < W; w++) {                                       \
        if (v3) FMA(ps, acc[i][w], x, bv[w]);                             \
        else acc[i][w] += x * bv[w];                                      \
      }                                                                   \
    }                                                                     \
    b += bd, low += ar, high += ar;                                       \
  }
#define TILE(name, real, vector, lanes, ps)                                                       \
  INLINE void name(const bool v3, const int H, const int W, int64_t depth, const real *a,         \
                   int64_t ad, const int64_t ar, const real *b, int64_t bd, real alpha, bool add, \
                   real *c, int64_t ldc) {                                                        \
    vector acc[MR][2];                                                                            \
    const real *low = a, *high = H > 3 ? a + 3 * ad : a;                                          \
    for (int i = 0; i < H; i++) {                                                                 \
      for (int w = 0; w < W; w++) acc[i][w] = (vector){0};                                        \
      __builtin_prefetch(c + i * ldc, 1);                                                         \
    }                                                                                             \
    int64_t k = 0;                                                                                \
    for (; v3 && k + 8 <= depth; k += 8) {                                                        \
      _Pragma("GCC unroll 8") for (int u = 0; u < 8; u++) STEP(vector, lanes, ps)                 \
    }                                                                                             \
    for (; k < depth; k++) STEP(vector, lanes, ps)                                                \
    for (int i = 0; i < H; i++, c += ldc) {                                                       \
      for (int w = 0; w < W; w++) {                                                               \
        vector *to = (vector *)(c + w * lanes);                                                   \
        acc[i][w] *= alpha;                                                                       \
        if (add) acc[i][w] += *to;                                                                \
        *to = acc[i][w];                                                                          \
      }                                                                                           \
    }                                                                                             \
  }
TILE(tile_f32, float, v8f, 8, "ps")
TILE(tile_f64, double, v4d, 4, "pd")

/* A number of either size, as bits. */
typedef uint32_t w4 __attribute__((may_alias));
typedef uint64_t w8 __attribute__((may_alias));

typedef float v4f __attribute__((vector_size(16), aligned(4), may_alias));

/* Eight numbers of each of eight rows, of which `n` are there, the others zeros, transposed. */
INLINE void transpose(const float *from, int64_t step, int64_t n, v8f *out) {
  typedef int32_t v8i __attribute__((vector_size(32)));
  for (int h = 0; h < 2; h++, from += 4) { /* four columns */
    v8f r[4], t[4];
    for (int i = 0; i < 4; i++) {
      v4f low = i < n ? *(const v4f *)(from + i * step) : (v4f){0};
      v4f high = i + 4 < n ? *(const v4f *)(from + (i + 4) * step) : (v4f){0};
      r[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    for (int i = 0; i < 2; i++) {
      t[i] = __builtin_shuffle(r[2 * i], r[2 * i + 1], (v8i){0, 8, 1, 9, 4, 12, 5, 13});
      t[i + 2] = __builtin_shuffle(r[2 * i], r[2 * i + 1], (v8i){2, 10, 3, 11, 6, 14, 7, 15});
    }
    for (int i = 0; i < 2; i++) {
      const v8f *p = t + 2 * i;
      out[4 * h + 2 * i] = __builtin_shuffle(p[0], p[1], (v8i){0, 1, 8, 9, 4, 5, 12, 13});
      out[4 * h + 2 * i + 1] = __builtin_shuffle(p[0], p[1], (v8i){2, 3, 10, 11, 6, 7, 14, 15});
    }
  }
}

/*
 * A panel of `width` (6 or 16) rows of `depth` f32 that lie side by side, `step` apart; those from
 * n on are zeros. Of six, eight are written: the next six (or the next panel) go over the two more.
 */
INLINE void pack_rows(const int width, int64_t depth, int64_t n, const float *restrict from,
                      int64_t step, float *restrict to) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    for (int i = 0; i < width; i += 8) {
      v8f r[8];
      transpose(from + i * step + k, step, ML_MIN(n, (int64_t)width) - i, r);
      for (int q = 0; q < 8; q++) *(v8f *)(to + (k + q) * width + i) = r[q];
    }
  }
  for (; k < depth; k++)
    for (int i = 0; i < width; i++) to[k * width + i] = i < n ? from[i * step + k] : 0;
}

/*
 * `n` rows (or columns) of `depth` elements, `step` apart with `deep` from one element to the next,
 * into panels of `width`, the last one filled up with zeros.
 */
#define PACK(name, word)                                                                        \
  INLINE void name(const int width, int64_t depth, int64_t n, const word *restrict from,        \
                   int64_t step, int64_t deep, word *restrict to) {                             \
    for (; n > 0; n -= width, from += width * step, to += depth * width) {                      \
      if (deep == 1 && sizeof(word) == 4) {                                                     \
        if (n >= width) pack_rows(width, depth, width, (const float *)from, step, (float *)to); \
        else pack_rows(width, depth, n, (const float *)from, step, (float *)to);                \
        continue;                                                                               \
      }                                                                                         \
      for (int64_t k = 0; k < depth; k++) {                                                     \
        const word *at = from + k * deep;                                                       \
        if (n >= width && step == 1)                                                            \
          for (int i = 0; i < width; i++) to[k * width + i] = at[i];                            \
        else if (n >= width)                                                                    \
          for (int i = 0; i < width; i++) to[k * width + i] = at[i * step];                     \
        else                                                                                    \
          for (int i = 0; i < width; i++) to[k * width + i] = i < n ? at[i * step] : 0;         \
      }                                                                                         \
    }                                                                                           \
  }
PACK(pack_w4, w4)
PACK(pack_w8, w8)

typedef struct matrix {
  const char *data;
  int64_t down, right; /* strides in elements */
} matrix;

INLINE void pack(const int size, const int width, int64_t depth, int64_t n, const char *from,
                 int64_t step, int64_t deep, void *to) {
  if (size == 4) pack_w4(width, depth, n, (const w4 *)from, step, deep, to);
  else pack_w8(width, depth, n, (const w8 *)from, step, deep, to);
}

/* What the compiler makes code of its own for: the size of an element, the CPU, A's panels or A. */
typedef struct kind {
  int size;
  bool v3, packed;
} kind;

/* What all tiles of a strip have in common; a and c are the next tile's. */
typedef struct block {
  int64_t depth, ad, bd, ldc;
  const char *b;
  double alpha;
  bool add;
} block;

INLINE void tile(const kind q, const int H, const int W, const block *t, const char *a, char *c,
                 int64_t ldc) {
  const int64_t ad = q.packed ? 1 : t->ad, ar = q.packed ? MR : 1;
  if (q.size == 4)
    tile_f32(q.v3, H, W, t->depth, (const float *)a, ad, ar, (const float *)t->b, t->bd,
             (float)t->alpha, t->add, (float *)c, ldc);
  else
    tile_f64(q.v3, H, W, t->depth, (const double *)a, ad, ar, (const double *)t->b, t->bd, t->alpha,
             t->add, (double *)c, ldc);
}

/* A tile of 1 to MR rows. */
INLINE void tile_of(const kind q, const int W, int64_t height, const block *t, const char *a,
                    char *c, int64_t ldc) {
  switch (height) {
    case 1: tile(q, 1, W, t, a, c, ldc); break;
    case 2: tile(q, 2, W, t, a, c, ldc); break;
    case 3: tile(q, 3, W, t, a, c, ldc); break;
    case 4: tile(q, 4, W, t, a, c, ldc); break;
    case 5: tile(q, 5, W, t, a, c, ldc); break;
    default: tile(q, MR, W, t, a, c, ldc);
  }
}

/* The tiles of m rows and of a strip of `width` columns, at most two vectors. */
INLINE void strip(const kind q, int64_t m, int64_t width, const block *t, const char *a, char *c) {
  const int nr = 64 / q.size;
  const bool whole = width == nr || width == nr / 2;
  _Alignas(32) char edge[MR * WIDEST * 8];
  /* in sixes, as panels are; else of even heights */
  int64_t many = (m + MR - 1) / MR, i = 0;
  for (int64_t n = 0; n < many; n++) {
    int64_t height = q.packed ? ML_MIN(MR, m - i) : m * (n + 1) / many - i;
    const char *from = a + (q.packed ? i * t->depth : i * t->ad) * q.size;
    char *to = c + i * t->ldc * q.size, *out = whole ? to : edge;
    int64_t step = whole ? t->ldc : nr;
    i += height;
    for (int64_t r = 0; !whole && t->add && r < height; r++)
      memcpy(edge + r * nr * q.size, to + r * t->ldc * q.size, (size_t)(width * q.size));
    if (width <= nr / 2) tile_of(q, 1, height, t, from, out, step);
    else tile_of(q, 2, height, t, from, out, step);
    for (int64_t r = 0; !whole && r < height; r++)
      memcpy(to + r * t->ldc * q.size, edge + r * nr * q.size, (size_t)(width * q.size));
  }
}

/* The operands of a product, and a block of A's and of B's panels. */
typedef struct job {
  int64_t m, n, k;
  double alpha;
  matrix a, b;
  bool add, b_stays;
  char *c;
  int64_t ldc;
  char *pa, *pb;
} job;

/*
 * All of C. A is read where it lies (its rows' elements side by side; pa NULL) or copied, B where
 * `b_stays` but for the last columns.
 */
INLINE void product(const int size, const bool v3, const job *p) {
  const int64_t mc = p->pa ? MC * 4 / size : p->m, nr = 64 / size;
  const matrix a = p->a, b = p->b;
  for (int64_t j = 0; j < p->n; j += NC) {
    int64_t columns = ML_MIN(p->n - j, (int64_t)NC);
    int64_t tail = columns % nr, stay = p->b_stays ? columns - (tail == nr / 2 ? 0 : tail) : 0;
    for (int64_t l = 0; l < p->k; l += KC) {
      int64_t depth = ML_MIN(p->k - l, (int64_t)KC);
      block t = {depth, a.down, nr, p->ldc, NULL, p->alpha, p->add || l > 0};
      const char *from = b.data + (l * b.down + j * b.right) * size;
      pack(size, 64 / size, depth, columns - stay, from + stay * b.right * size, b.right, b.down,
           p->pb);
      for (int64_t i = 0; i < p->m; i += mc) {
        int64_t rows = ML_MIN(p->m - i, mc);
        const char *as = a.data + (i * a.down + l * a.right) * size;
        if (p->pa) pack(size, MR, depth, rows, as, a.down, a.right, p->pa);
        for (int64_t s = 0; s < columns; s += nr) {
          char *to = p->c + (i * p->ldc + j + s) * size;
          int64_t width = ML_MIN(nr, columns - s);
          t.b = s < stay ? from + s * size : p->pb + (s - stay) * depth * size;
          t.bd = s < stay ? b.down : nr;
          if (p->pa) strip((kind){size, v3, true}, rows, width, &t, p->pa, to);
          else strip((kind){size, v3, false}, rows, width, &t, as, to);
        }
      }
    }
  }
}

/* Not by ML_CLONES: what is held in AVX2's registers compiles for nothing less. */
static void product_f32(const job *p) { product(4, false, p); }
static void product_f64(const job *p) { product(8, false, p); }
#if defined(__x86_64__)
#define V3 __attribute__((target("arch=x86-64-v3")))
V3 static void product_f32_v3(const job *p) { product(4, true, p); }
V3 static void product_f64_v3(const job *p) { product(8, true, p); }
static bool has_v3(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
#define product_f32_v3 product_f32
#define product_f64_v3 product_f64
static bool has_v3(void) { return false; }
#endif

/* A thread's panels, kept for its next product: 2.4 MB at most. */
static char *panels(size_t bytes) {
  static _Thread_local char *kept;
  static _Thread_local size_t size;
  if (bytes <= size) return kept;
  free(kept);
  kept = aligned_alloc(64, bytes);
  size = kept ? bytes : 0;
  return kept;
}

ml_err ml__gemm_packed(int dtype, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                       int64_t a_down, int64_t a_right, const void *b, int64_t b_down,
                       int64_t b_right, bool add, void *c, int64_t ldc) {
  int64_t size = dtype == ML_F64 ? 8 : 4, nr = 64 / size;
  if (m == 0 || n == 0) return ML_OK;
  if (k == 0) {
    for (int64_t i = 0; !add && i < m; i++)
      memset((char *)c + i * ldc * size, 0, (size_t)(n * size));
    return ML_OK;
  }
  int64_t rows = (ML_MIN(m, MC * 4 / size) + MR - 1) / MR * MR, depth = ML_MIN(k, (int64_t)KC);
  int64_t columns = (ML_MIN(n, (int64_t)NC) + nr - 1) / nr * nr;
  /* Copies pay where they are read often, or where rows would be gathered element by element. */
  bool b_stays = b_right == 1 && m < WORTH, a_stays = a_right == 1 && n < WORTH;
  int64_t a_bytes = a_stays ? 0 : rows * depth * size / 64 * 64 + 128; /* see pack_rows */
  int64_t b_bytes = columns * depth * size;
  char *pa = panels((size_t)(a_bytes + b_bytes));
  if (!pa) return ml_fail(ML_ENOMEM, "out of memory: panels of a matrix product");
  const job p = {.m = m,
                 .n = n,
                 .k = k,
                 .alpha = alpha,
                 .a = {a, a_down, a_right},
                 .b = {b, b_down, b_right},
                 .add = add,
                 .b_stays = b_stays,
                 .c = c,
                 .ldc = ldc,
                 .pa = a_stays ? NULL : pa,
                 .pb = pa + a_bytes};
  if (has_v3()) (size == 4 ? product_f32_v3 : product_f64_v3)(&p);
  else (size == 4 ? product_f32 : product_f64)(&p);
  return ML_OK;
}

/* oneDNN knows more about AVX-512 than vectors of 32 bytes do. */
bool ml__gemm_packed_fast(void) {
#if defined(__x86_64__)
  return !__builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

bool ml__gemm_packed_small(int64_t m, int64_t n, int64_t k) {
  return (double)m * (double)n * (double)k <= (ml__gemm_packed_fast() ? 1 << 21 : 1 << 18);
}
