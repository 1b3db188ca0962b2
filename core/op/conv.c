/*
 * conv: y[n,o,p] = b[o] + sum_{c,k} x[n,c, p stride - before + k dilation] w[o,c,k], over one to
 * three spatial axes, and conv_transpose, whose value is conv's gradient by x.
 *
 *   x [N,C,in…]  w [O,C/groups,kernel…]  b [O] or absent  y [N,O,out…]
 *   transposed: x [N,C,in…]  w [C,O/groups,kernel…]  y [N,O,out…]
 *
 * Three computations serve both and all their gradients: each of x, w and y from the other two.
 * f32 by oneDNN (conv_dnnl.c); f64, the reference, and what oneDNN is not asked (windows that lie
 * in the padding alone, absurd strides) by the loops here, in double.
 */
#include <stdio.h>

#include "ml_ops.h"
#include "op/window.h"

/* -- geometry -- */

typedef struct by_axis {
  int64_t stride[3], dilation[3], before[3], after[3], groups;
} by_axis;

/* Of a kernel, stride or dilation, so that sums stay within 64 bits; of a padding. */
enum { MOST = 0x7fffffff, MOST_PADDING = 1 << 20 };

static ml_err check_numbers(const char *op, const by_axis *by, int64_t axes, bool transposed) {
  static const char *const names[] = {"stride", "dilation", "padding", "padding"};
  const int64_t *of[] = {by->stride, by->dilation, by->before, by->after};
  for (int k = 0; k < 4; k++) {
    int64_t least = k < 2 ? 1 : k == 3 && transposed ? -MOST_PADDING : 0;
    int64_t most = k < 2 ? MOST : MOST_PADDING;
    for (int64_t d = 0; d < axes; d++)
      if (of[k][d] < least || of[k][d] > most)
        return ml_fail(ML_EARG, "bad argument #4 to '%s' (%s: expected %lld to %lld, got %lld)", op,
                       names[k], (long long)least, (long long)most, (long long)of[k][d]);
  }
  if (by->groups < 1)
    return ml_fail(ML_EARG, "bad argument #4 to '%s' (groups: expected at least 1, got %lld)", op,
                   (long long)by->groups);
  return ML_OK;
}

static ml_err misfit(const char *op, int i, const char *name, const char *want,
                     const ml_tensor *t) {
  char got[ML_SHAPE_TEXT];
  return ml_fail(ML_ESHAPE, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name, want,
                 ml__shape_text(got, t->info.ndim, t->info.shape));
}

/* [O, C / groups, kernel…] with what is known, '*' for the rest. */
static ml_err bad_weight(const char *op, int axes, const char *first, const char *second,
                         const ml_tensor *w) {
  char want[96];
  int at = snprintf(want, sizeof want, "[%s, %s", first, second);
  for (int d = 0; d < axes; d++) at += snprintf(want + at, sizeof want - (size_t)at, ", *");
  snprintf(want + at, sizeof want - (size_t)at, "]");
  return misfit(op, 2, "w", want, w);
}

static ml_err check_channels(ml_geometry *v, const char *op, const ml_tensor *x, const ml_tensor *w,
                             bool transposed) {
  char number[32];
  int64_t c = x->info.shape[1], g = v->groups;
  v->n = x->info.shape[0];
  if (c % g != 0)
    return ml_fail(ML_ESHAPE,
                   "bad argument #1 to '%s' (x: %lld channels do not divide into %lld groups)", op,
                   (long long)c, (long long)g);
  v->c = c, v->o = w->info.shape[0];
  snprintf(number, sizeof number, "%lld", (long long)(transposed ? c : c / g));
  if (w->info.ndim != x->info.ndim || w->info.shape[transposed ? 0 : 1] != (transposed ? c : c / g))
    return bad_weight(op, (int)v->axes, transposed ? number : "*", transposed ? "*" : number, w);
  if (!transposed && v->o % g != 0)
    return ml_fail(ML_ESHAPE,
                   "bad argument #2 to '%s' (w: %lld channels do not divide into %lld groups)", op,
                   (long long)v->o, (long long)g);
  if (transposed) {
    v->o = c;
    if (__builtin_mul_overflow(w->info.shape[1], g, &v->c))
      return ml_fail(ML_ESHAPE, "bad argument #2 to '%s' (w: too many channels)", op);
  }
  return ML_OK;
}

/* Fills in the window along an axis whose numbers are there, and whose in (or out) is known. */
static ml_err slide(ml_axis *a, const char *op, int axis, bool transposed) {
  int64_t reach = a->dilation * (a->kernel - 1) + 1; /* below 2^62 */
  if (!transposed) {
    int64_t room = a->in + a->before + a->after - reach;
    if (room < 0)
      return ml_fail(ML_ESHAPE,
                     "bad argument #2 to '%s' (w: the kernel reaches over %lld along axis %d of x, "
                     "which has %lld with its padding)",
                     op, (long long)reach, axis, (long long)(a->in + a->before + a->after));
    a->out = room / a->stride + 1;
    return ML_OK;
  }
  int64_t steps;
  if (a->out == 0 || __builtin_mul_overflow(a->out - 1, a->stride, &steps) ||
      __builtin_add_overflow(steps, reach - a->before - a->after, &a->in) || a->in < 1)
    return ml_fail(ML_ESHAPE, "bad argument #4 to '%s' (padding: nothing is left along axis %d)",
                   op, axis);
  return ML_OK;
}

static ml_err geometry(ml_geometry *v, const char *op, const ml_tensor *x, const ml_tensor *w,
                       const ml_tensor *b, const by_axis *by, bool transposed) {
  int axes = x->info.ndim - 2;
  if (axes < 1 || axes > 3)
    return misfit(op, 1, "x", "[N, C, *] with one to three axes after the channels", x);
  *v = (ml_geometry){.axes = axes, .groups = by->groups};
  ML_TRY(check_numbers(op, by, axes, transposed));
  ML_TRY(check_channels(v, op, x, w, transposed));
  for (int d = 0; d < 3; d++) {
    int at = d - (3 - axes);
    ml_axis *a = &v->axis[d];
    *a = (ml_axis){1, 1, 1, 1, 1, 0, 0};
    if (at < 0) continue;
    *a = (ml_axis){.kernel = w->info.shape[2 + at],
                   .stride = by->stride[at],
                   .dilation = by->dilation[at],
                   .before = by->before[at],
                   .after = by->after[at]};
    if (a->kernel < 1 || a->kernel > MOST)
      return ml_fail(ML_ESHAPE, "bad argument #2 to '%s' (w: a kernel of %lld along axis %d)", op,
                     (long long)a->kernel, at + 3);
    *(transposed ? &a->out : &a->in) = x->info.shape[2 + at];
    ML_TRY(slide(a, op, at + 3, transposed));
  }
  int64_t out = transposed ? v->c : v->o;
  if (b && (b->info.ndim != 1 || b->info.shape[0] != out)) {
    char want[32];
    snprintf(want, sizeof want, "[%lld]", (long long)out);
    return misfit(op, 3, "b", want, b);
  }
  return ML_OK;
}

static ml_err shape_of(int *nd, int64_t *shape, const char *op, const ml_tensor *x,
                       const ml_tensor *w, const ml_tensor *b, const by_axis *by, bool transposed) {
  ml_geometry v;
  ML_TRY(geometry(&v, op, x, w, b, by, transposed));
  *nd = (int)v.axes + 2;
  shape[0] = v.n;
  shape[1] = transposed ? v.c : v.o;
  for (int d = 0; d < v.axes; d++) {
    const ml_axis *a = &v.axis[3 - v.axes + d];
    shape[2 + d] = transposed ? a->in : a->out;
  }
  return ML_OK;
}

#define NUMBERS \
  { {ML_PASS3(stride)}, {ML_PASS3(dilation)}, {ML_PASS3(before)}, {ML_PASS3(after)}, groups }

ml_err ml__shape_conv(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                      const ml_tensor *b, ML_CONV_NUMBERS) {
  return shape_of(nd, shape, "conv", x, w, b, &(by_axis)NUMBERS, false);
}

ml_err ml__shape_conv_transpose(int *nd, int64_t *shape, const ml_tensor *x, const ml_tensor *w,
                                const ml_tensor *b, ML_CONV_NUMBERS) {
  return shape_of(nd, shape, "conv_transpose", x, w, b, &(by_axis)NUMBERS, true);
}

/* -- loops, in double -- */

static int64_t size_of(const ml_geometry *v, bool in) {
  int64_t n = 1;
  for (int d = 0; d < 3; d++) n *= in ? v->axis[d].in : v->axis[d].out;
  return n;
}

typedef struct loop {
  const ml_geometry *v;
  double *x, *w, *y; /* one image's x and y, and the kernels of one pair of channels */
  int what;
} loop;

/* Adds one pair of channels at one place of y. */
static void add_window(const loop *l, const int64_t p[3], int64_t at) {
  const ml_axis *a = l->v->axis;
  int64_t k[3], i[3];
  const double *restrict x = l->x, *restrict w = l->w;
  double sum = 0, y = l->y[at];
  for (k[0] = 0; k[0] < a[0].kernel; k[0]++) {
    i[0] = p[0] * a[0].stride - a[0].before + k[0] * a[0].dilation;
    if (i[0] < 0 || i[0] >= a[0].in) continue;
    for (k[1] = 0; k[1] < a[1].kernel; k[1]++) {
      i[1] = p[1] * a[1].stride - a[1].before + k[1] * a[1].dilation;
      if (i[1] < 0 || i[1] >= a[1].in) continue;
      for (k[2] = 0; k[2] < a[2].kernel; k[2]++) {
        i[2] = p[2] * a[2].stride - a[2].before + k[2] * a[2].dilation;
        if (i[2] < 0 || i[2] >= a[2].in) continue;
        int64_t xi = (i[0] * a[1].in + i[1]) * a[2].in + i[2];
        int64_t wi = (k[0] * a[1].kernel + k[1]) * a[2].kernel + k[2];
        if (l->what == ML_CONV_Y) sum += x[xi] * w[wi];
        else if (l->what == ML_CONV_X) l->x[xi] += y * w[wi];
        else l->w[wi] += y * x[xi];
      }
    }
  }
  if (l->what == ML_CONV_Y) l->y[at] += sum;
}

static void add_all(const ml_geometry *v, int what, double *x, double *w, double *y) {
  int64_t in = size_of(v, true), out = size_of(v, false), kernel = 1, p[3];
  int64_t cg = v->c / v->groups, og = v->o / v->groups;
  for (int d = 0; d < 3; d++) kernel *= v->axis[d].kernel;
  for (int64_t n = 0; n < v->n; n++) {
    for (int64_t o = 0; o < v->o; o++) {
      for (int64_t c = 0; c < cg; c++) {
        loop l = {v, x + (n * v->c + o / og * cg + c) * in, w + (o * cg + c) * kernel,
                  y + (n * v->o + o) * out, what};
        int64_t at = 0;
        for (p[0] = 0; p[0] < v->axis[0].out; p[0]++)
          for (p[1] = 0; p[1] < v->axis[1].out; p[1]++)
            for (p[2] = 0; p[2] < v->axis[2].out; p[2]++) add_window(&l, p, at++);
      }
    }
  }
}

static ml_err in_double(ml_tensor **out, const ml_tensor *t, bool copied) {
  ML_TRY(ml__new(out, ML_F64, t->info.ndim, t->info.shape));
  if (copied) ML_TRY(ml__copy(*out, t));
  else ml__fill(*out, 0);
  return ML_OK;
}

static void add_bias(ml_tensor *y, const ml_tensor *b) {
  int64_t channels = y->info.shape[1], size = 1;
  for (int d = 2; d < y->info.ndim; d++) size *= y->info.shape[d];
  for (int64_t i = 0; i < y->info.shape[0] * channels; i++) {
    double add = ml__load(b->info.data, b->info.dtype, i % channels);
    for (int64_t k = i * size; k < (i + 1) * size; k++)
      ml__store(y->info.data, y->info.dtype, k, ml__load(y->info.data, y->info.dtype, k) + add);
  }
}

static ml_err by_loops(const ml_geometry *v, int what, ml_tensor *x, ml_tensor *w, ml_tensor *y,
                       const ml_tensor *b) {
  ml_tensor *t[3] = {NULL}, *of[3] = {[ML_CONV_X] = x, [ML_CONV_W] = w, [ML_CONV_Y] = y};
  ml_err e = ML_OK;
  for (int i = 0; i < 3 && e == ML_OK; i++) e = in_double(&t[i], of[i], i != what);
  if (e == ML_OK) {
    add_all(v, what, ml_f64(t[ML_CONV_X]), ml_f64(t[ML_CONV_W]), ml_f64(t[ML_CONV_Y]));
    if (b) add_bias(t[what], b);
    e = ml__copy(of[what], t[what]);
  }
  for (int i = 0; i < 3; i++) ml__unref(t[i]);
  return e;
}

/* -- both -- */

/* db[c] = the sum of g over all but the channels: in double, by channel. */
typedef struct sums_job {
  const ml_tensor *g;
  ml_tensor *db;
  int64_t size; /* of a plane */
} sums_job;

ML_CLONES static double plane_sum(const float *restrict p, int64_t n) {
  double lane[8] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++) lane[k] += (double)p[i + k];
  for (; i < n; i++) sum += (double)p[i];
  for (int k = 0; k < 8; k++) sum += lane[k];
  return sum;
}

static void sum_channels(void *ctx, int64_t begin, int64_t end) {
  const sums_job *j = ctx;
  int64_t channels = j->db->info.count, size = j->size;
  int d = j->g->info.dtype;
  for (int64_t c = begin; c < end; c++) {
    double sum = 0;
    for (int64_t n = 0; n < j->g->info.shape[0]; n++) {
      int64_t at = (n * channels + c) * size;
      if (d == ML_F32) sum += plane_sum(ml_f32(j->g) + at, size);
      else
        for (int64_t i = 0; i < size; i++) sum += ml__load(j->g->info.data, d, at + i);
    }
    ml__store(j->db->info.data, d, c, sum);
  }
}

typedef struct bias_job {
  float *y;
  const float *b;
  int64_t channels, size;
} bias_job;

ML_CLONES static void add_to_planes(void *ctx, int64_t begin, int64_t end) {
  const bias_job *j = ctx;
  for (int64_t i = begin; i < end; i++) {
    float *restrict y = j->y + i * j->size, add = j->b[i % j->channels];
    for (int64_t k = 0; k < j->size; k++) y[k] += add;
  }
}

static int64_t plane_size(const ml_tensor *t) {
  int64_t n = 1;
  for (int d = 2; d < t->info.ndim; d++) n *= t->info.shape[d];
  return n;
}

/* One of x, w and y from the others; the bias goes to what is computed, x or y. */
static ml_err compute(const ml_geometry *v, int what, ml_tensor *x, ml_tensor *w, ml_tensor *y,
                      const ml_tensor *b) {
  bool some = x->info.count > 0 && w->info.count > 0 && y->info.count > 0;
  if (ml__reference_on || x->info.dtype != ML_F32 || !some || !ml__conv_dnnl_takes(v))
    return by_loops(v, what, x, w, y, b);
  ML_TRY(ml__conv_dnnl(v, what, ml_f32(x), ml_f32(w), ml_f32(y),
                       b && what == ML_CONV_Y ? ml_f32(b) : NULL));
  if (b && what == ML_CONV_X) {
    bias_job j = {ml_f32(x), ml_f32(b), v->c, plane_size(x)};
    ml_parallel(v->n * v->c, (1 << 15) / j.size + 1, add_to_planes, &j);
  }
  return ML_OK;
}

static ml_err gradients(ml_node *n, ml_tensor *g, ml_tensor **gin, bool transposed) {
  ml_tensor *x = NULL, *w = NULL;
  ml_geometry v;
  by_axis by;
  for (size_t i = 0; i < sizeof by / sizeof(int64_t); i++) /* they lie in the same order */
    ((int64_t *)&by)[i] = n->scalar[i].i;
  ml_err e = ml__contiguous(&x, n->in[0]);
  if (e == ML_OK) e = ml__contiguous(&w, n->in[1]);
  if (e == ML_OK) e = geometry(&v, n->name, x, w, NULL, &by, transposed);
  ml_tensor *in = transposed ? g : x, *out = transposed ? x : g; /* of the convolution */
  if (e == ML_OK && ml__wants(n->in[0])) {
    e = ml__new_like(&gin[0], x);
    if (e == ML_OK)
      e = transposed ? compute(&v, ML_CONV_Y, in, w, gin[0], NULL)
                     : compute(&v, ML_CONV_X, gin[0], w, out, NULL);
  }
  if (e == ML_OK && ml__wants(n->in[1])) {
    e = ml__new_like(&gin[1], w);
    if (e == ML_OK) e = compute(&v, ML_CONV_W, in, gin[1], out, NULL);
  }
  if (e == ML_OK && ml__wants(n->in[2])) {
    e = ml__new_like(&gin[2], n->in[2]);
    sums_job j = {g, gin[2], plane_size(g)};
    if (e == ML_OK)
      ml_parallel(gin[2]->info.count, (1 << 15) / ML_MAX(1, v.n * j.size) + 1, sum_channels, &j);
  }
  ml__unref(x);
  ml__unref(w);
  return e;
}

/* -- operations -- */

#define IN (ml_tensor *)(uintptr_t) /* compute writes into none but what it computes */

static ml_err conv(ml_tensor *y, const ml_tensor *x, const ml_tensor *w, const ml_tensor *b,
                   const by_axis *by) {
  ml_geometry v;
  ML_TRY(geometry(&v, "conv", x, w, b, by, false));
  return compute(&v, ML_CONV_Y, IN x, IN w, y, b);
}

static ml_err conv_transpose(ml_tensor *y, const ml_tensor *x, const ml_tensor *w,
                             const ml_tensor *b, const by_axis *by) {
  ml_geometry v;
  ML_TRY(geometry(&v, "conv_transpose", x, w, b, by, true));
  return compute(&v, ML_CONV_X, y, IN w, IN x, b);
}

#define OPERATION(NAME, WAY)                                                     \
  ml_err ml_##NAME##_##WAY(ml_tensor *y, const ml_tensor *x, const ml_tensor *w, \
                           const ml_tensor *b, ML_CONV_NUMBERS) {                \
    return NAME(y, x, w, b, &(by_axis)NUMBERS);                                  \
  }
OPERATION(conv, cpu)
OPERATION(conv, ref)
OPERATION(conv_transpose, cpu)
OPERATION(conv_transpose, ref)

ml_err ml_conv_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return gradients(n, g, gin, false);
}

ml_err ml_conv_transpose_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  return gradients(n, g, gin, true);
}
