/*
 * view: views on the tape, with one backward for all of them.
 *
 * A view of a view is recorded against the first tensor, which is contiguous (a leaf or an
 * operation's output), so the gradient is scattered with the view's own strides into zeros laid out
 * like that tensor; elements seen twice (broadcast views) add up.
 */
#include <string.h>

#include "grad/tape.h"

/* to += g, a row of the last axis at a time. */
static void scatter(ml_tensor *to, const ml_tensor *g) {
  int last = g->info.ndim - 1, d = g->info.dtype;
  if (g->info.count == 0) return;
  ml_walk w;
  ml_tensor rows = *to, g_rows = *g; /* without their last axis */
  int64_t n = 1, step = 0, g_step = 0;
  if (last >= 0) {
    n = g->info.shape[last], step = to->info.stride[last], g_step = g->info.stride[last];
    rows.info.ndim = g_rows.info.ndim = last;
  }
  ml__walk(&w, rows.info.ndim, g->info.shape, 2, (const ml_tensor *[]){&rows, &g_rows});
  do {
    int64_t at = w.offset[0], from = w.offset[1];
    if (d == ML_F32) {
      float *p = ml_f32(to) + at;
      const float *q = ml_f32(g) + from;
      for (int64_t i = 0; i < n; i++) p[i * step] += q[i * g_step];
      continue;
    }
    for (int64_t i = 0; i < n; i++, at += step, from += g_step)
      ml__store(to->info.data, d, at,
                ml__load(to->info.data, d, at) + ml__load(g->info.data, d, from));
  } while (ml__walk_next(&w));
}

/* scalar[0]: the offset; saved[0]: the view itself, for its strides. */
static ml_err view_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ml_tensor *base = n->in[0], *view = n->saved[0], *part = NULL;
  if (view->info.contiguous && view->info.count == base->info.count)
    return ml__reshape(&gin[0], g, base->info.ndim, base->info.shape);
  ml_tensor *sum;
  ML_TRY(ml__new(&sum, base->info.dtype, base->info.ndim, base->info.shape));
  ml__fill(sum, 0);
  ml_err e = ml__new_view(&part, sum, view->info.ndim, view->info.shape, view->info.stride,
                          n->scalar[0].i);
  if (e == ML_OK) {
    scatter(part, g);
    ml__unref(part);
  }
  if (e < 0) ml__unref(sum);
  else gin[0] = sum;
  return e;
}

/* Of the gradient of a view: its own gradient is that view of g. */
static ml_err unview_backward(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  const ml_info *v = &n->saved[0]->info;
  return ml__record_view(&gin[0], g, v->ndim, v->shape, v->stride, n->scalar[0].i);
}

static ml_err view_twice(ml_node *n, ml_tensor *g, ml_tensor **gin) {
  ML_TRY(view_backward(n, g, gin));
  if (!ml__wants(g)) return ML_OK;
  ml_node *r;
  ML_TRY(ml__record(&r, "view", unview_backward, gin[0], &g, 1));
  r->twice = unview_backward;
  r->shape_only = true;
  r->scalar[0] = n->scalar[0];
  return ml__alias(&r->saved[0], n->saved[0]);
}

/* Whether all elements of v, the first at `from`, are among the base's: scatter relies on it. */
static bool within(const ml_tensor *v, int64_t from, int64_t count) {
  int64_t lo = from, hi = from;
  if (v->info.count == 0) return true;
  for (int d = 0; d < v->info.ndim; d++)
    *(v->info.stride[d] < 0 ? &lo : &hi) += (v->info.shape[d] - 1) * v->info.stride[d];
  return lo >= 0 && hi < count;
}

ml_err ml__record_view(ml_tensor **out, ml_tensor *t, int ndim, const int64_t *shape,
                       const int64_t *stride, int64_t offset) {
  ML_TRY(ml__new_view(out, t, ndim, shape, stride, offset));
  if (!ml__grad_on || !ml__wants(t)) return ML_OK;
  ml_tensor *base = t;
  while (base->node && base->node->backward == view_backward) base = base->node->in[0];
  ml_node *n = NULL;
  int64_t from =
      ((char *)(*out)->info.data - (char *)base->info.data) / ml_dtype_size(t->info.dtype);
  ml_err e =
      within(*out, from, base->info.count)
          ? ml__record(&n, "view", view_backward, *out, &base, 1)
          : ml_fail(ML_ESHAPE, "view: it reaches outside the tensor that its gradient belongs to");
  if (e == ML_OK) e = ml__alias(&n->saved[0], *out);
  if (e == ML_OK) {
    n->scalar[0].i = from;
    n->shape_only = true;
    n->twice = view_twice;
  }
  if (e < 0) {
    ml__unref(*out);
    *out = NULL;
  }
  return e;
}

ml_err ml_tensor_view(ml_ref *out, const ml_ref *ref, int ndim, const int64_t *shape,
                      const int64_t *stride, int64_t offset) {
  ml_tensor *t, *v;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__check_view(t, ndim, shape, stride, offset));
  ML_TRY(ml__record_view(&v, t, ndim, shape, stride, ml__count(ndim, shape) ? offset : 0));
  return ml__handle(out, v);
}
