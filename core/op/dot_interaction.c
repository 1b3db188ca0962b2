/*
 * dot_interaction: y[b] = [x[b], t_i . t_j], pairs row by row of the triangle
 *
 *   t = [x[b]; e[b,1..T]]  [F,D], F = T + 1;  j < i, with itself j <= i
 *   y [B, D + F(F-1)/2], with itself [B, D + F(F+1)/2]
 *
 * Naumov et al. 2019, arXiv:1906.00091. The f32 forward keeps t transposed, [D, F up to a multiple
 * of 8], and makes a row of the triangle eight products at a time, each eight in D scaled additions
 * of vectors; the square is never stored.
 */
#include <stdlib.h>
#include <string.h>

#include "ml_ops.h"

enum { STACK = 16384 }; /* bytes of scratch kept on the stack */

static double at(const ml_tensor *x, const ml_tensor *e, int64_t b, int64_t i, int64_t d) {
  int64_t width = x->info.shape[1], tables = e->info.shape[1];
  return i == 0 ? ml__load(x->info.data, x->info.dtype, b * width + d)
                : ml__load(e->info.data, e->info.dtype, (b * tables + i - 1) * width + d);
}

ml_err ml_dot_interaction_ref(ml_tensor *y, const ml_tensor *x, const ml_tensor *e,
                              int64_t itself) {
  int64_t width = x->info.shape[1], f = e->info.shape[1] + 1, row = y->info.shape[1];
  for (int64_t b = 0; b < x->info.shape[0]; b++) {
    int64_t o = b * row;
    for (int64_t d = 0; d < width; d++)
      ml__store(y->info.data, y->info.dtype, o++, at(x, e, b, 0, d));
    for (int64_t i = 0; i < f; i++) {
      for (int64_t j = 0; j < i + (itself != 0); j++) {
        double s = 0;
        for (int64_t d = 0; d < width; d++) s += at(x, e, b, i, d) * at(x, e, b, j, d);
        ml__store(y->info.data, y->info.dtype, o++, s);
      }
    }
  }
  return ML_OK;
}

typedef struct job {
  const float *x, *e, *g;
  float *y, *dx, *de;
  int64_t width, f, row;
  bool itself, failed;
} job;

static const float *vector(const job *j, int64_t b, int64_t i) {
  return i == 0 ? j->x + b * j->width : j->e + (b * (j->f - 1) + i - 1) * j->width;
}

ML_CLONES static void forward(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t width = j->width, f = j->f, pad = (f + 7) / 8 * 8;
  float stack[STACK / sizeof(float)], *t = stack;
  size_t need = (size_t)((width + 1) * pad);
  if (need > STACK / sizeof(float)) t = malloc(need * sizeof(float));
  if (!t) {
    j->failed = true;
    return;
  }
  float *restrict acc = t + width * pad;
  memset(t, 0, need * sizeof(float));
  for (int64_t b = begin; b < end; b++) {
    for (int64_t i = 0; i < f; i++) {
      const float *restrict v = vector(j, b, i);
      for (int64_t d = 0; d < width; d++) t[d * pad + i] = v[d];
    }
    float *restrict out = j->y + b * j->row;
    memcpy(out, vector(j, b, 0), (size_t)width * sizeof(float));
    out += width;
    for (int64_t i = 0; i < f; i++) {
      int64_t n = i + j->itself, upto = (n + 7) / 8 * 8;
      const float *restrict v = vector(j, b, i);
      for (int64_t k = 0; k < upto; k += 8) {
        float s[8] = {0};
        for (int64_t d = 0; d < width; d++)
          for (int q = 0; q < 8; q++) s[q] += v[d] * t[d * pad + k + q];
        for (int q = 0; q < 8; q++) acc[k + q] = s[q];
      }
      memcpy(out, acc, (size_t)n * sizeof(float));
      out += n;
    }
  }
  if (t != stack) free(t);
}

ml_err ml_dot_interaction_cpu(ml_tensor *y, const ml_tensor *x, const ml_tensor *e,
                              int64_t itself) {
  job j = {.x = ml_f32(x),
           .e = ml_f32(e),
           .y = ml_f32(y),
           .width = x->info.shape[1],
           .f = e->info.shape[1] + 1,
           .row = y->info.shape[1],
           .itself = itself != 0};
  ml_parallel(x->info.shape[0], 32, forward, &j);
  return j.failed ? ml_fail(ML_ENOMEM, "out of memory: dot_interaction") : ML_OK;
}

/* dt_i = sum_j G[i,j] t_j with G symmetric, its diagonal twice; then x's own part of y. */
ML_CLONES static void backward(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int64_t width = j->width, f = j->f;
  float stack[STACK / sizeof(float)], *square = stack;
  if ((size_t)(f * f) > STACK / sizeof(float)) square = malloc((size_t)(f * f) * sizeof(float));
  if (!square) {
    j->failed = true;
    return;
  }
  for (int64_t b = begin; b < end; b++) {
    const float *g = j->g + b * j->row + width;
    for (int64_t i = 0; i < f; i++) {
      for (int64_t k = 0; k < i; k++) square[i * f + k] = square[k * f + i] = *g++;
      square[i * f + i] = j->itself ? 2 * *g++ : 0;
    }
    for (int64_t i = 0; i < f; i++) {
      float *restrict d = i == 0 ? j->dx + b * width : j->de + (b * (f - 1) + i - 1) * width;
      const float *restrict own = j->g + b * j->row;
      if (width == 16) { /* in registers */
        float s[16] = {0};
        for (int64_t k = 0; k < f; k++) {
          const float *restrict v = vector(j, b, k);
          float c = square[i * f + k];
          for (int q = 0; q < 16; q++) s[q] += c * v[q];
        }
        for (int q = 0; q < 16; q++) d[q] = i == 0 ? s[q] + own[q] : s[q];
        continue;
      }
      for (int64_t q = 0; q < width; q++) d[q] = i == 0 ? own[q] : 0;
      for (int64_t k = 0; k < f; k++) {
        const float *restrict v = vector(j, b, k);
        float c = square[i * f + k];
        for (int64_t q = 0; q < width; q++) d[q] += c * v[q];
      }
    }
  }
  if (square != stack) free(square);
}

static void backward_reference(const ml_tensor *x, const ml_tensor *e, const ml_tensor *g,
                               bool itself, ml_tensor *dx, ml_tensor *de) {
  int64_t width = x->info.shape[1], f = e->info.shape[1] + 1, row = g->info.shape[1];
  int t = x->info.dtype;
  for (int64_t b = 0; b < x->info.shape[0]; b++) {
    for (int64_t d = 0; d < width; d++) {
      int64_t o = b * row + width;
      ml__store(dx->info.data, t, b * width + d, ml__load(g->info.data, t, b * row + d));
      for (int64_t i = 0; i < f; i++) {
        for (int64_t k = 0; k < i + itself; k++, o++) {
          double s = ml__load(g->info.data, t, o);
          for (int side = 0; side < 2; side++) {
            int64_t to = side ? k : i, from = side ? i : k;
            ml_tensor *into = to == 0 ? dx : de;
            int64_t p = to == 0 ? b * width + d : (b * (f - 1) + to - 1) * width + d;
            ml__store(into->info.data, t, p,
                      ml__load(into->info.data, t, p) + s * at(x, e, b, from, d));
          }
        }
      }
    }
  }
}

ml_err ml_dot_interaction_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *x = NULL, *e = NULL;
  ml_err err = ml__contiguous(&x, n->in[0]);
  if (err == ML_OK) err = ml__contiguous(&e, n->in[1]);
  if (err == ML_OK) err = ml__new(&gin[0], x->info.dtype, 2, x->info.shape);
  if (err == ML_OK) err = ml__new(&gin[1], e->info.dtype, 3, e->info.shape);
  bool itself = n->scalar[0].i != 0;
  if (err == ML_OK && (ml__reference_on || x->info.dtype != ML_F32)) {
    ml__fill(gin[1], 0);
    backward_reference(x, e, g, itself, gin[0], gin[1]);
  } else if (err == ML_OK) {
    job j = {.x = ml_f32(x),
             .e = ml_f32(e),
             .g = ml_f32(g),
             .dx = ml_f32(gin[0]),
             .de = ml_f32(gin[1]),
             .width = x->info.shape[1],
             .f = e->info.shape[1] + 1,
             .row = g->info.shape[1],
             .itself = itself};
    ml_parallel(x->info.shape[0], 32, backward, &j);
    if (j.failed) err = ml_fail(ML_ENOMEM, "out of memory: dot_interaction");
  }
  ml__unref(x);
  ml__unref(e);
  return err;
}
