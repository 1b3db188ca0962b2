/*
 * conv_dnnl: convolutions in f32 by oneDNN, forward and both gradients.
 *
 * Tensors are plain (N, C, rows, columns); oneDNN's kernels want channels in blocks of 8 or 16. The
 * work is cut into images times channels, a cut for a thread: it copies its part of the operands
 * into oneDNN's order, where that differs, computes, and copies the result back, all in its cache.
 * Kernels are reordered once, ahead of the cuts that share them.
 *
 * Cuts depend on shapes alone. The kernels' gradient sums over images: where those are cut, each
 * cut has a part of its own, and the parts are added up in order.
 *
 * Primitives cost milliseconds to make, so they are kept by shape, up to a bound. oneDNN always
 * runs on one thread, see onednn.h.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"
#include "op/window.h"

enum { X = ML_CONV_X, W = ML_CONV_W, Y = ML_CONV_Y };

/* -- kernels: a primitive with the reorders around it -- */

typedef struct key { /* int64_t alone: compared as bytes */
  ml_geometry v;     /* of a cut */
  int64_t what, bias;
  int64_t x_channels, y_channels, w_channels; /* of whole tensors: distances between images, rows */
} key;

typedef struct part { /* of an operand */
  dnnl_memory_desc_t plain, own;
  dnnl_primitive_t reorder; /* NULL: the primitive takes it as it is */
  size_t bytes;             /* in oneDNN's order; 0: as it is */
} part;

typedef struct kernel {
  key key;
  dnnl_primitive_t primitive;
  part part[3];
  dnnl_memory_desc_t bias, pad;
  size_t pad_bytes;
  struct kernel *next;
} kernel;

enum { BUCKETS = 64, MOST_KERNELS = 512 };
static kernel *cache[BUCKETS];
static int cached;

static const int argument[3][3] = {
    /* [what][operand] */
    [Y] = {[X] = DNNL_ARG_SRC, [W] = DNNL_ARG_WEIGHTS, [Y] = DNNL_ARG_DST},
    [X] = {[X] = DNNL_ARG_DIFF_SRC, [W] = DNNL_ARG_WEIGHTS, [Y] = DNNL_ARG_DIFF_DST},
    [W] = {[X] = DNNL_ARG_SRC, [W] = DNNL_ARG_DIFF_WEIGHTS, [Y] = DNNL_ARG_DIFF_DST},
};

static unsigned bucket_of(const key *k) {
  uint64_t words[sizeof *k / 8], h = 0;
  memcpy(words, k, sizeof *k);
  for (size_t i = 0; i < sizeof *k / 8; i++) h = (h ^ words[i]) * 0x9E3779B97F4A7C15u;
  return (unsigned)(h >> 40) % BUCKETS;
}

static void drop(kernel *k) {
  for (int i = 0; i < 3; i++)
    if (k->part[i].reorder) dnnl->primitive_destroy(k->part[i].reorder);
  if (k->primitive) dnnl->primitive_destroy(k->primitive);
  free(k);
}

/* Ever new shapes would make ever more of them: past a bound, all go. */
static void forget_all(void) {
  for (int i = 0; i < BUCKETS; i++) {
    while (cache[i]) {
      kernel *k = cache[i];
      cache[i] = k->next;
      drop(k);
    }
  }
  cached = 0;
}

/* Plain descriptions, of a part of a larger tensor; `any` order in *own. */
static dnnl_status_t describe(kernel *k) {
  const ml_geometry *v = &k->key.v;
  int axes = (int)v->axes, g = v->groups > 1;
  const ml_axis *a = v->axis + (3 - axes);
  dnnl_dims_t dx = {v->n, v->c}, dy = {v->n, v->o}, dw = {v->groups, v->o / v->groups};
  dnnl_dims_t sx, sy, sw;
  dw[1 + g] = v->c / v->groups;
  if (!g) dw[0] = v->o;
  int64_t x = 1, y = 1, w = 1;
  for (int d = axes - 1; d >= 0; d--) {
    dx[2 + d] = a[d].in, dy[2 + d] = a[d].out, dw[2 + g + d] = a[d].kernel;
    sx[2 + d] = x, sy[2 + d] = y, sw[2 + g + d] = w;
    x *= a[d].in, y *= a[d].out, w *= a[d].kernel;
  }
  sx[1] = x, sx[0] = x * k->key.x_channels;
  sy[1] = y, sy[0] = y * k->key.y_channels;
  sw[1 + g] = w, sw[g] = w * k->key.w_channels;
  if (g) sw[0] = sw[1] * dw[1];
  dnnl_dim_t *dims[3] = {[X] = dx, [Y] = dy, [W] = dw},
             *strides[3] = {[X] = sx, [Y] = sy, [W] = sw};
  dnnl_status_t s = dnnl_success;
  for (int i = 0; i < 3 && !s; i++) {
    int n = axes + 2 + (i == W ? g : 0);
    s = dnnl->memory_desc_init_by_strides(&k->part[i].plain, n, dims[i], dnnl_f32, strides[i]);
    if (!s)
      s = dnnl->memory_desc_init_by_tag(&k->part[i].own, n, dims[i], dnnl_f32, dnnl_format_tag_any);
  }
  dnnl_dims_t db = {v->o};
  if (!s) s = dnnl->memory_desc_init_by_tag(&k->bias, 1, db, dnnl_f32, dnnl_a);
  return s;
}

static dnnl_status_t describe_conv(dnnl_convolution_desc_t *d, const kernel *k) {
  const ml_geometry *v = &k->key.v;
  const ml_axis *a = v->axis + (3 - v->axes);
  const dnnl_memory_desc_t *x = &k->part[X].own, *w = &k->part[W].own, *y = &k->part[Y].own;
  const dnnl_memory_desc_t *b = k->key.bias ? &k->bias : NULL;
  dnnl_dims_t stride, dilation, before, after;
  for (int i = 0; i < v->axes; i++) {
    stride[i] = a[i].stride, dilation[i] = a[i].dilation - 1;
    before[i] = a[i].before, after[i] = a[i].after;
  }
  if (k->key.what == Y)
    return dnnl->dilated_convolution_forward_desc_init(d, dnnl_forward_training,
                                                       dnnl_convolution_direct, x, w, b, y, stride,
                                                       dilation, before, after);
  if (k->key.what == X)
    return dnnl->dilated_convolution_backward_data_desc_init(d, dnnl_convolution_direct, x, w, y,
                                                             stride, dilation, before, after);
  return dnnl->dilated_convolution_backward_weights_desc_init(
      d, dnnl_convolution_direct, x, w, NULL, y, stride, dilation, before, after);
}

static dnnl_status_t make_reorder(part *p, bool in, const_dnnl_primitive_attr_t attr) {
  if (dnnl->memory_desc_equal(&p->plain, &p->own)) return dnnl_success;
  p->bytes = dnnl->memory_desc_get_size(&p->own);
  dnnl_primitive_desc_t pd = NULL;
  dnnl_status_t s = dnnl->reorder_primitive_desc_create(
      &pd, in ? &p->plain : &p->own, dnnl->engine, in ? &p->own : &p->plain, dnnl->engine, attr);
  if (!s) s = dnnl->primitive_create(&p->reorder, pd);
  if (pd) dnnl->primitive_desc_destroy(pd);
  return s;
}

static size_t up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static dnnl_status_t build(kernel *k) {
  dnnl_status_t s = dnnl_success;
  dnnl_convolution_desc_t desc;
  dnnl_primitive_desc_t pd = NULL;
  dnnl_primitive_attr_t attr = NULL;
  if (!s) s = describe(k);
  if (!s) s = describe_conv(&desc, k);
  if (!s) s = dnnl->primitive_attr_create(&attr);
  if (!s) s = dnnl->primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  if (!s) s = dnnl->primitive_desc_create(&pd, &desc, attr, dnnl->engine, NULL);
  if (!s) {
    for (int i = 0; i < 3; i++)
      k->part[i].own =
          *dnnl->primitive_desc_query_md(pd, dnnl_query_exec_arg_md, argument[k->key.what][i]);
    k->pad = *dnnl->primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    k->pad_bytes = dnnl->memory_desc_get_size(&k->pad);
    s = dnnl->primitive_create(&k->primitive, pd);
  }
  for (int i = 0; i < 3 && !s; i++) s = make_reorder(&k->part[i], i != k->key.what, attr);
  if (attr) dnnl->primitive_attr_destroy(attr);
  if (pd) dnnl->primitive_desc_destroy(pd);
  return s;
}

static ml_err find(kernel **out, const key *wanted) {
  unsigned at = bucket_of(wanted);
  for (kernel *k = cache[at]; k; k = k->next) {
    if (memcmp(&k->key, wanted, sizeof *wanted) == 0) {
      *out = k;
      return ML_OK;
    }
  }
  kernel *k = calloc(1, sizeof *k);
  if (!k) return ml_fail(ML_ENOMEM, "out of memory: a oneDNN primitive");
  k->key = *wanted;
  int threads = ml__onednn_alone();
  dnnl_status_t s = build(k);
  ml__onednn_done(threads);
  if (s) {
    drop(k);
    return ml_fail(s == dnnl_out_of_memory ? ML_ENOMEM : ML_EARG,
                   "oneDNN: no convolution of this shape: status %d", (int)s);
  }
  k->next = cache[at];
  cache[at] = k;
  cached++;
  *out = k;
  return ML_OK;
}

/* -- execution -- */

static dnnl_status_t copy(const part *p, bool in, const void *from, void *to) {
  dnnl_memory_t a = NULL, b = NULL;
  dnnl_status_t s =
      dnnl->memory_create(&a, in ? &p->plain : &p->own, dnnl->engine, (void *)(uintptr_t)from);
  if (!s) s = dnnl->memory_create(&b, in ? &p->own : &p->plain, dnnl->engine, to);
  dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}};
  if (!s) s = dnnl->primitive_execute(p->reorder, dnnl->stream, 2, args);
  if (a) dnnl->memory_destroy(a);
  if (b) dnnl->memory_destroy(b);
  return s;
}

/* Operands by their plain place; `ready`: the kernels in oneDNN's order, or NULL. */
static dnnl_status_t run(const kernel *k, float *const plain[3], void *ready, const float *bias,
                         char *scratch) {
  dnnl_memory_t mem[5] = {NULL};
  dnnl_exec_arg_t args[5];
  void *at[3];
  int what = (int)k->key.what, n = 0;
  dnnl_status_t s = dnnl_success;
  for (int i = 0; i < 3 && !s; i++) {
    const part *p = &k->part[i];
    at[i] = !p->bytes ? (void *)plain[i] : i == W && ready ? ready : scratch;
    if (at[i] == scratch) scratch += up(p->bytes);
    if (p->bytes && i != what && at[i] != ready) s = copy(p, true, plain[i], at[i]);
    if (!s) s = dnnl->memory_create(&mem[n], &p->own, dnnl->engine, at[i]);
    args[n] = (dnnl_exec_arg_t){argument[what][i], mem[n]};
    n++;
  }
  if (!s && bias) {
    s = dnnl->memory_create(&mem[n], &k->bias, dnnl->engine, (void *)(uintptr_t)bias);
    args[n] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, mem[n]};
    n++;
  }
  if (!s && k->pad_bytes) {
    s = dnnl->memory_create(&mem[n], &k->pad, dnnl->engine, scratch);
    args[n] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, mem[n]};
    n++;
  }
  if (!s) s = dnnl->primitive_execute(k->primitive, dnnl->stream, n, args);
  if (!s && k->part[what].bytes) s = copy(&k->part[what], false, at[what], plain[what]);
  for (int i = 0; i < 5; i++)
    if (mem[i]) dnnl->memory_destroy(mem[i]);
  return s;
}

/* -- cuts -- */

typedef struct job {
  const ml_geometry *v;
  int what;
  float *plain[3];
  const float *bias;
  int64_t image_parts, channel_parts;
  int64_t units, unit;       /* channels are cut in units: of groups, or of what they are cut by */
  kernel *kernel[2][2];      /* cuts differ by at most one image and one unit: [images][units] */
  int64_t images, cut_units; /* of the smaller ones */
  size_t ready_bytes;        /* of a channel part's kernels */
  char *ready;
  char *scratch;
  size_t slot_bytes;
  int slots;
  atomic_flag taken[1024];
  float *sums; /* of image parts but the first: each a gradient of the kernels */
  atomic_int status;
} job;

static int64_t cut(int64_t i, int64_t parts, int64_t total) { return i * total / parts; }

static int64_t planes(const ml_geometry *v, bool in) {
  int64_t n = 1;
  for (int d = 0; d < 3; d++) n *= in ? v->axis[d].in : v->axis[d].out;
  return n;
}

static int64_t kernel_size(const ml_geometry *v) {
  int64_t n = 1;
  for (int d = 0; d < 3; d++) n *= v->axis[d].kernel;
  return n;
}

static int64_t smallest_divisor(int64_t n, int64_t least) {
  for (int64_t d = least; d < n; d++)
    if (n % d == 0) return d;
  return n;
}

/* By shape alone. */
static void choose_cuts(job *j) {
  const ml_geometry *v = j->v;
  int64_t cut_by = v->groups > 1 ? v->groups : j->what == X ? v->c : v->o;
  int64_t block = 16;
  if (v->groups > 1) {
    int64_t narrow = ML_MIN(v->c, v->o) / v->groups;
    for (block = 1; block * narrow < 16; block *= 2) continue;
  }
  j->unit = cut_by % block == 0 ? block : cut_by;
  j->units = cut_by / j->unit;
  int64_t kernels = v->o * (v->c / v->groups) * kernel_size(v);
  double work = (double)kernels * (double)planes(v, false) * (double)v->n;
  int64_t wanted = (int64_t)ML_MAX(1, ML_MIN(16, work / (4 << 20)));
  if (j->what == W) {
    j->image_parts = ML_MIN(ML_MIN(v->n, wanted), ML_MAX(1, (1 << 20) / kernels));
    j->channel_parts = ML_MIN(j->units, (wanted + j->image_parts - 1) / j->image_parts);
    return;
  }
  j->image_parts = smallest_divisor(v->n, ML_MIN(v->n, wanted));
  j->channel_parts = ML_MIN(j->units, (wanted + j->image_parts - 1) / j->image_parts);
}

static ml_err prepare(job *j) {
  const ml_geometry *v = j->v;
  ML_TRY(ml__open_onednn());
  choose_cuts(j);
  j->images = v->n / j->image_parts;
  j->cut_units = j->units / j->channel_parts;
  if (cached > MOST_KERNELS - 4) forget_all();
  for (int a = 0; a < 2; a++) {
    for (int b = 0; b < 2; b++) {
      if ((a && v->n % j->image_parts == 0) || (b && j->units % j->channel_parts == 0)) continue;
      key k = {.v = *v, .what = j->what, .bias = j->bias != NULL};
      int64_t n = (j->cut_units + b) * j->unit;
      k.x_channels = v->c, k.y_channels = v->o, k.w_channels = v->c / v->groups;
      k.v.n = j->images + a;
      if (v->groups > 1) {
        k.v.c = v->c / v->groups * n, k.v.o = v->o / v->groups * n;
        k.v.groups = n;
      } else if (j->what == X) {
        k.v.c = n;
      } else {
        k.v.o = n;
      }
      ML_TRY(find(&j->kernel[a][b], &k));
      const kernel *made = j->kernel[a][b];
      size_t bytes = up(made->pad_bytes);
      for (int i = 0; i < 3; i++)
        if (i != W || j->what == W) bytes += up(made->part[i].bytes);
      j->slot_bytes = ML_MAX(j->slot_bytes, bytes);
      if (j->what != W) j->ready_bytes = ML_MAX(j->ready_bytes, up(made->part[W].bytes));
    }
  }
  return ML_OK;
}

/* Where the operands of a channel part begin, of image 0; returns its kernel. */
static kernel *at_channels(const job *j, int64_t images, int64_t piece, float *at[3],
                           const float **bias) {
  const ml_geometry *v = j->v;
  int64_t from = cut(piece, j->channel_parts, j->units) * j->unit;
  int64_t units = cut(piece + 1, j->channel_parts, j->units) - from / j->unit;
  int64_t c = 0, o = 0, row = v->c / v->groups * kernel_size(v);
  if (v->groups > 1) c = from * (v->c / v->groups), o = from * (v->o / v->groups);
  else if (j->what == X) c = from;
  else o = from;
  memcpy(at, j->plain, sizeof j->plain);
  at[X] += c * planes(v, true);
  at[Y] += o * planes(v, false);
  at[W] += o * row + (v->groups > 1 ? 0 : c * kernel_size(v));
  *bias = j->bias ? j->bias + o : NULL;
  return j->kernel[images - j->images][units - j->cut_units];
}

static void reorder_kernels(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int threads = ml__onednn_alone();
  for (int64_t c = begin; c < end; c++) {
    float *at[3];
    const float *bias;
    const kernel *k = at_channels(j, j->images, c, at, &bias);
    dnnl_status_t s = copy(&k->part[W], true, at[W], j->ready + (size_t)c * j->ready_bytes);
    if (s) atomic_store(&j->status, (int)s);
  }
  ml__onednn_done(threads);
}

static void run_cuts(void *ctx, int64_t begin, int64_t end) {
  job *j = ctx;
  int slot = 0, threads = ml__onednn_alone();
  while (atomic_flag_test_and_set(&j->taken[slot])) slot = (slot + 1) % j->slots;
  char *scratch = j->scratch + (size_t)slot * j->slot_bytes;
  for (int64_t i = begin; i < end; i++) {
    int64_t n = i / j->channel_parts, c = i % j->channel_parts;
    int64_t first = cut(n, j->image_parts, j->v->n);
    int64_t images = cut(n + 1, j->image_parts, j->v->n) - first;
    float *at[3];
    const float *bias;
    const kernel *k = at_channels(j, images, c, at, &bias);
    at[X] += first * j->v->c * planes(j->v, true);
    at[Y] += first * j->v->o * planes(j->v, false);
    if (j->what == W && n > 0) {
      int64_t size = j->v->o * (j->v->c / j->v->groups) * kernel_size(j->v);
      at[W] = j->sums + (n - 1) * size + (at[W] - j->plain[W]);
    }
    void *ready = j->ready ? j->ready + (size_t)c * j->ready_bytes : NULL;
    dnnl_status_t s = run(k, at, ready, bias, scratch);
    if (s) atomic_store(&j->status, (int)s);
  }
  atomic_flag_clear(&j->taken[slot]);
  ml__onednn_done(threads);
}

ML_CLONES static void add_parts(void *ctx, int64_t begin, int64_t end) {
  const job *j = ctx;
  int64_t size = j->v->o * (j->v->c / j->v->groups) * kernel_size(j->v);
  float *restrict w = j->plain[W];
  for (int64_t p = 0; p + 1 < j->image_parts; p++) {
    const float *restrict s = j->sums + p * size;
    for (int64_t i = begin; i < end; i++) w[i] += s[i];
  }
}

ml_err ml__conv_dnnl(const ml_geometry *v, int what, float *x, float *w, float *y, const float *b) {
  job j = {.v = v, .what = what, .plain = {[X] = x, [W] = w, [Y] = y}, .bias = b};
  ML_TRY(prepare(&j));
  int64_t cuts = j.image_parts * j.channel_parts;
  int64_t size = v->o * (v->c / v->groups) * kernel_size(v);
  j.slots = (int)ML_MIN(cuts, (int64_t)ml_threads());
  int64_t ready = (int64_t)j.ready_bytes * j.channel_parts;
  int64_t scratch = (int64_t)j.slot_bytes * j.slots;
  int64_t sums = what == W ? (j.image_parts - 1) * size * (int64_t)sizeof(float) : 0;
  ml_err e = ML_OK;
  if (ready) e = ml__alloc((void **)&j.ready, ready);
  if (e == ML_OK && scratch) e = ml__alloc((void **)&j.scratch, scratch);
  if (e == ML_OK && sums) e = ml__alloc((void **)&j.sums, sums);
  if (e == ML_OK) {
    if (j.ready) ml_parallel(j.channel_parts, 1, reorder_kernels, &j);
    ml_parallel(cuts, 1, run_cuts, &j);
    if (j.sums) ml_parallel(size, 1 << 14, add_parts, &j);
    if (atomic_load(&j.status))
      e = ml_fail(ML_EARG, "oneDNN: convolution failed with status %d", atomic_load(&j.status));
  }
  if (j.ready) ml__release(j.ready, ready);
  if (j.scratch) ml__release(j.scratch, scratch);
  if (j.sums) ml__release(j.sums, sums);
  return e;
}

bool ml__conv_dnnl_takes(const ml_geometry *v) {
  for (int d = 0; d < 3; d++) {
    const ml_axis *a = &v->axis[d];
    if (a->in >= 1 << 24 || a->out >= 1 << 24 || a->kernel > 1 << 10 || a->stride > 1 << 10 ||
        a->dilation > 1 << 10)
      return false;
    int64_t reach = a->dilation * (a->kernel - 1) + 1;
    if (a->before >= reach || a->after >= reach || a->after <= -a->stride) return false;
  }
  return true;
}
