/* matmul: y = op(a) op(b) for two matrices, each transposed first where asked. */
#include "ml_ops.h"
#include "op/gemm.h"
#include "op/linear.h"

ml_err ml_matmul_ref(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta, int64_t tb) {
  int64_t m = y->info.shape[0], n = y->info.shape[1], k = a->info.shape[ta ? 0 : 1];
  int d = y->info.dtype;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double s = 0;
      for (int64_t l = 0; l < k; l++)
        s += ml__load(a->info.data, d, ta ? l * m + i : i * k + l) *
             ml__load(b->info.data, d, tb ? j * k + l : l * n + j);
      ml__store(y->info.data, d, i * n + j, s);
    }
  }
  return ML_OK;
}

typedef struct job {
  ml_tensor *y;
  const ml_tensor *a, *b;
  bool ta, tb;
  ml_err err;
} job;

static void rows(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t m = j->y->info.shape[0], n = j->y->info.shape[1], k = j->a->info.shape[j->ta ? 0 : 1];
  ml_err e =
      ml__gemm(j->ta, j->tb, end - begin, n, k, 1, ml_f32(j->a) + (j->ta ? begin : begin * k),
               j->ta ? m : k, ml_f32(j->b), j->tb ? k : n, 0, ml_f32(j->y) + begin * n, n);
  if (e < 0) j->err = e;
}

ml_err ml_matmul_cpu(ml_tensor *y, const ml_tensor *a, const ml_tensor *b, int64_t ta, int64_t tb) {
  job j = {y, a, b, ta != 0, tb != 0, ML_OK};
  int64_t work = y->info.shape[1] * a->info.shape[ta ? 0 : 1];
  ml_parallel(y->info.shape[0], ml__row_grain(y->info.shape[0], work), rows, &j);
  return j.err < 0 ? ml_fail(j.err, "matmul: oneDNN failed") : ML_OK;
}

/* With A = op(a), B = op(b): dA = g B', dB = A' g; transposed back where op did. */
ml_err ml_matmul_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *a = n->in[0], *b = n->in[1];
  int64_t ta = n->scalar[0].i, tb = n->scalar[1].i;
  if (ml__wants(a))
    ML_TRY(ta ? ml__op_matmul(&gin[0], b, g, tb, 1) : ml__op_matmul(&gin[0], g, b, 0, !tb));
  if (ml__wants(b))
    ML_TRY(tb ? ml__op_matmul(&gin[1], g, a, 1, ta) : ml__op_matmul(&gin[1], a, g, !ta, 0));
  return ML_OK;
}
