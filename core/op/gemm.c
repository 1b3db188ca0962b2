/*
 * gemm: the adapter to oneDNN's matrix products.
 *
 * dnnl_sgemm serves where no bias or activation is fused. The fused form is a matmul primitive with
 * a bias and an eltwise post-op; primitives cost about a millisecond to make, so they are kept, by
 * shape, bias and activation. Executing one from several threads at once is safe with a scratchpad
 * per call; making one is not.
 *
 * oneDNN always runs on one thread (onednn.h), and ml_parallel cuts the work.
 */
#include "op/gemm.h"

#include <stdlib.h>

#include "onednn.h"

ml_err ml__gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  if (m == 0 || n == 0) return ML_OK;
  if (k == 0) { /* oneDNN leaves C alone here */
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
    return ML_OK;
  }
  if ((beta == 0 || beta == 1) && ml__gemm_packed_small(m, n, k))
    return ml__gemm_packed(ML_F32, m, n, k, alpha, a, ta ? 1 : lda, ta ? lda : 1, b, tb ? 1 : ldb,
                           tb ? ldb : 1, beta == 1, c, ldc);
  ML_TRY(ml__open_onednn());
  int threads = ml__onednn_alone();
  dnnl_status_t s =
      dnnl->sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  ml__onednn_done(threads);
  if (s != dnnl_success)
    return ml_fail(ML_EARG, "oneDNN: sgemm of %lld x %lld x %lld failed with status %d",
                   (long long)m, (long long)n, (long long)k, (int)s);
  return ML_OK;
}

/* -- fused primitives -- */

typedef struct fused {
  int64_t m, n, k;
  int act;
  bool bias;
  dnnl_primitive_t primitive;
  size_t scratch;
  dnnl_memory_desc_t x, w, b, y, pad;
  struct fused *next;
} fused;

enum { BUCKETS = 64, MOST = 1024 };
static fused *cache[BUCKETS];
static int cached;

static unsigned bucket_of(int64_t m, int64_t n, int64_t k, bool bias, int act) {
  uint64_t h = (uint64_t)m * 0x9E3779B97F4A7C15u ^ (uint64_t)n * 0xC2B2AE3D27D4EB4Fu ^
               (uint64_t)k * 0x165667B19E3779F9u ^ (uint64_t)(act * 2 + bias);
  return (unsigned)(h >> 40) % BUCKETS;
}

static fused *find(int64_t m, int64_t n, int64_t k, bool bias, int act) {
  fused *f = cache[bucket_of(m, n, k, bias, act)];
  while (f && !(f->m == m && f->n == n && f->k == k && f->act == act && f->bias == bias))
    f = f->next;
  return f;
}

/* Batches of ever new sizes would make ever more of them: past a bound, all go. */
static void forget_all(void) {
  for (int i = 0; i < BUCKETS; i++) {
    while (cache[i]) {
      fused *f = cache[i];
      cache[i] = f->next;
      dnnl->primitive_destroy(f->primitive);
      free(f);
    }
  }
  cached = 0;
}

static ml_err make(int64_t m, int64_t n, int64_t k, bool bias, int act) {
  if (m == 0 || n == 0 || k == 0 || find(m, n, k, bias, act)) return ML_OK;
  ML_TRY(ml__open_onednn());
  fused *f = calloc(1, sizeof *f);
  if (!f) return ml_fail(ML_ENOMEM, "out of memory: a oneDNN primitive");
  *f = (fused){.m = m, .n = n, .k = k, .act = act, .bias = bias};
  int threads = ml__onednn_alone();
  dnnl_status_t s = dnnl_success;
  dnnl_dims_t dx = {m, k}, sx = {k, 1}, dw = {k, n}, sw = {1, k};
  dnnl_dims_t db = {1, n}, sb = {n, 1}, dy = {m, n}, sy = {n, 1};
  if (!s) s = dnnl->memory_desc_init_by_strides(&f->x, 2, dx, dnnl_f32, sx);
  if (!s) s = dnnl->memory_desc_init_by_strides(&f->w, 2, dw, dnnl_f32, sw);
  if (!s) s = dnnl->memory_desc_init_by_strides(&f->b, 2, db, dnnl_f32, sb);
  if (!s) s = dnnl->memory_desc_init_by_strides(&f->y, 2, dy, dnnl_f32, sy);
  dnnl_matmul_desc_t desc;
  dnnl_primitive_desc_t pd = NULL;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_post_ops_t ops = NULL;
  if (!s) s = dnnl->matmul_desc_init(&desc, &f->x, &f->w, bias ? &f->b : NULL, &f->y);
  if (!s) s = dnnl->primitive_attr_create(&attr);
  if (!s) s = dnnl->primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (!s && act != ML_ACT_NONE) {
    s = dnnl->post_ops_create(&ops);
    dnnl_alg_kind_t kind = act == ML_ACT_RELU ? dnnl_eltwise_relu : dnnl_eltwise_logistic;
    if (!s) s = dnnl->post_ops_append_eltwise(ops, 1, kind, 0, 0);
    if (!s) s = dnnl->primitive_attr_set_post_ops(attr, ops);
  }
  if (!s) s = dnnl->primitive_desc_create(&pd, &desc, attr, dnnl->engine, NULL);
  if (!s) {
    const dnnl_memory_desc_t *pad = dnnl->primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    f->pad = *pad;
    f->scratch = dnnl->memory_desc_get_size(pad);
    s = dnnl->primitive_create(&f->primitive, pd);
  }
  if (ops) dnnl->post_ops_destroy(ops);
  if (attr) dnnl->primitive_attr_destroy(attr);
  if (pd) dnnl->primitive_desc_destroy(pd);
  ml__onednn_done(threads);
  if (s) {
    free(f);
    return ml_fail(ML_EARG, "oneDNN: no matmul of %lld x %lld x %lld: status %d", (long long)m,
                   (long long)n, (long long)k, (int)s);
  }
  unsigned at = bucket_of(m, n, k, bias, act);
  f->next = cache[at];
  cache[at] = f;
  cached++;
  return ML_OK;
}

ml_err ml__gemm_prepare(int64_t m, int64_t rest, int64_t n, int64_t k, bool bias, int act) {
  if (cached > MOST - 2) forget_all();
  ML_TRY(make(m, n, k, bias, act));
  return make(rest, n, k, bias, act);
}

ml_err ml__gemm_bias_act(int64_t m, int64_t n, int64_t k, const float *x, const float *w,
                         const float *b, int act, float *y) {
  if (m == 0 || n == 0) return ML_OK;
  fused *f = find(m, n, k, b != NULL, act);
  if (!f) return ml_fail(ML_ESTATE, "oneDNN: matmul was not prepared");
  void *pad = f->scratch ? aligned_alloc(64, (f->scratch + 63) / 64 * 64) : NULL;
  if (f->scratch && !pad) return ml_fail(ML_ENOMEM, "out of memory: oneDNN's scratchpad");
  dnnl_memory_t mem[5] = {0};
  dnnl_status_t s = dnnl->memory_create(&mem[0], &f->x, dnnl->engine, (void *)(uintptr_t)x);
  if (!s) s = dnnl->memory_create(&mem[1], &f->w, dnnl->engine, (void *)(uintptr_t)w);
  if (!s) s = dnnl->memory_create(&mem[2], &f->y, dnnl->engine, y);
  if (!s && b) s = dnnl->memory_create(&mem[3], &f->b, dnnl->engine, (void *)(uintptr_t)b);
  if (!s && pad) s = dnnl->memory_create(&mem[4], &f->pad, dnnl->engine, pad);
  dnnl_exec_arg_t args[5] = {
      {DNNL_ARG_SRC, mem[0]}, {DNNL_ARG_WEIGHTS, mem[1]}, {DNNL_ARG_DST, mem[2]}};
  int n_args = 3;
  if (b) args[n_args++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, mem[3]};
  if (pad) args[n_args++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, mem[4]};
  int threads = ml__onednn_alone();
  if (!s) s = dnnl->primitive_execute(f->primitive, dnnl->stream, n_args, args);
  ml__onednn_done(threads);
  for (int i = 0; i < 5; i++)
    if (mem[i]) dnnl->memory_destroy(mem[i]);
  free(pad);
  if (s) return ml_fail(ML_EARG, "oneDNN: matmul failed with status %d", (int)s);
  return ML_OK;
}
