/*
 * gemm_native: products by oneDNN's matmul primitive, in a dtype that the CPU multiplies itself.
 *
 * That is bf16 where the CPU has AVX512-BF16 or AMX: products of bf16, sums in f32, results rounded
 * to bf16 once, up to the order of sums what converting to f32 and back gives. The primitive knows
 * sizes and strides, of whatever dtype, so f32 goes the same way where MLUA_PRODUCTS=primitive asks
 * for that: tests do.
 *
 * Primitives take a millisecond to make, so they are kept, by shape and strides. They are made
 * ahead, by one thread; executing one from several at once is safe with a scratchpad per call.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"
#include "op/gemm_native.h"
#include "tensor/tensor.h"

typedef struct made {
  ml_native key;
  bool able;
  dnnl_primitive_t primitive;
  dnnl_memory_desc_t a, b, c, pad;
  size_t pad_bytes;
  struct made *next;
} made;

enum { BUCKETS = 64, MOST = 512 };
static made *cache[BUCKETS];
static int cached;

/* -- whether -- */

bool ml__native_forced(void) {
  static _Atomic int known; /* 1: no, 2: yes */
  if (!known) {
    const char *how = getenv("MLUA_PRODUCTS");
    known = how && strcmp(how, "primitive") == 0 ? 2 : 1;
  }
  return known == 2;
}

static bool cpu_has_bf16(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") || __builtin_cpu_supports("amx-bf16");
#else
  return false;
#endif
}

uint32_t ml__native_dtypes(void) {
  static _Atomic int known;
  if (!known) known = cpu_has_bf16() || ml__native_forced() ? 2 : 1;
  return known == 2 ? ML_BIT_BF16 : 0;
}

/* -- making -- */

static unsigned bucket_of(const ml_native *key) {
  uint64_t words[sizeof *key / 8], h = 0;
  memcpy(words, key, sizeof *key);
  for (size_t i = 0; i < sizeof *key / 8; i++) h = (h ^ words[i]) * 0x9E3779B97F4A7C15u;
  return (unsigned)(h >> 40) % BUCKETS;
}

static made *find(const ml_native *key) {
  made *p = cache[bucket_of(key)];
  while (p && memcmp(&p->key, key, sizeof *key) != 0) p = p->next;
  return p;
}

/* Ever new shapes would make ever more of them: past a bound, all go. */
static void forget_all(void) {
  for (int i = 0; i < BUCKETS; i++) {
    while (cache[i]) {
      made *p = cache[i];
      cache[i] = p->next;
      if (p->primitive) dnnl->primitive_destroy(p->primitive);
      free(p);
    }
  }
  cached = 0;
}

/* Of an axis of one element, too, oneDNN wants a stride that fits the other one's. */
static dnnl_status_t describe(dnnl_memory_desc_t *d, dnnl_data_type_t type, int64_t rows,
                              int64_t columns, int64_t down, int64_t right) {
  dnnl_dims_t size = {rows, columns}, stride = {down, right};
  if (rows == 1 && columns == 1) stride[0] = stride[1] = 1;
  else if (columns == 1) stride[1] = down == 1 ? rows : 1;
  else if (rows == 1) stride[0] = right == 1 ? columns : 1;
  return dnnl->memory_desc_init_by_strides(d, 2, size, type, stride);
}

static dnnl_status_t build(made *p) {
  const ml_native *k = &p->key;
  dnnl_data_type_t type = k->dtype == ML_BF16 ? dnnl_bf16 : dnnl_f32;
  dnnl_matmul_desc_t desc;
  dnnl_primitive_desc_t pd = NULL;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_status_t s = describe(&p->a, type, k->m, k->k, k->a_down, k->a_right);
  if (!s) s = describe(&p->b, type, k->k, k->n, k->b_down, k->b_right);
  if (!s) s = describe(&p->c, type, k->m, k->n, k->c_down, 1);
  if (!s) s = dnnl->matmul_desc_init(&desc, &p->a, &p->b, NULL, &p->c);
  if (!s) s = dnnl->primitive_attr_create(&attr);
  if (!s) s = dnnl->primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (!s) s = dnnl->primitive_desc_create(&pd, &desc, attr, dnnl->engine, NULL);
  if (!s) {
    p->pad = *dnnl->primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    p->pad_bytes = dnnl->memory_desc_get_size(&p->pad);
    s = dnnl->primitive_create(&p->primitive, pd);
  }
  if (attr) dnnl->primitive_attr_destroy(attr);
  if (pd) dnnl->primitive_desc_destroy(pd);
  return s;
}

ml_err ml__gemm_native_prepare(const ml_native *key, bool *able) {
  ML_TRY(ml__open_onednn());
  made *p = find(key);
  if (!p) {
    p = calloc(1, sizeof *p);
    if (!p) return ml_fail(ML_ENOMEM, "out of memory: a oneDNN primitive");
    p->key = *key;
    int threads = ml__onednn_alone();
    p->able = build(p) == dnnl_success; /* else it is remembered as one that cannot be made */
    ml__onednn_done(threads);
    unsigned at = bucket_of(key);
    p->next = cache[at];
    cache[at] = p;
    cached++;
  }
  *able = p->able;
  return ML_OK;
}

void ml__gemm_native_room(void) {
  if (cached > MOST - 4) forget_all();
}

/* -- execution -- */

ml_err ml__gemm_native(const ml_native *key, const void *a, const void *b, void *c) {
  const made *p = find(key);
  if (!p || !p->able) return ml_fail(ML_ESTATE, "oneDNN: matmul was not prepared");
  void *pad = p->pad_bytes ? aligned_alloc(64, (p->pad_bytes + 63) / 64 * 64) : NULL;
  if (p->pad_bytes && !pad) return ml_fail(ML_ENOMEM, "out of memory: oneDNN's scratchpad");
  dnnl_memory_t mem[4] = {0};
  dnnl_status_t s = dnnl->memory_create(&mem[0], &p->a, dnnl->engine, (void *)(uintptr_t)a);
  if (!s) s = dnnl->memory_create(&mem[1], &p->b, dnnl->engine, (void *)(uintptr_t)b);
  if (!s) s = dnnl->memory_create(&mem[2], &p->c, dnnl->engine, c);
  if (!s && pad) s = dnnl->memory_create(&mem[3], &p->pad, dnnl->engine, pad);
  dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, mem[0]},
                             {DNNL_ARG_WEIGHTS, mem[1]},
                             {DNNL_ARG_DST, mem[2]},
                             {DNNL_ARG_SCRATCHPAD, mem[3]}};
  int threads = ml__onednn_alone();
  if (!s) s = dnnl->primitive_execute(p->primitive, dnnl->stream, pad ? 4 : 3, args);
  ml__onednn_done(threads);
  for (int i = 0; i < 4; i++)
    if (mem[i]) dnnl->memory_destroy(mem[i]);
  free(pad);
  return s ? ml_fail(ML_EARG, "oneDNN: matmul failed with status %d", (int)s) : ML_OK;
}
