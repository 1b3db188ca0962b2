/*
 * call: gradients asked for by tensor, and gradients that the caller computes.
 *
 * C never calls Lua: a backward that comes to an operation whose gradient is the caller's returns
 * ML_CALL, with its place kept (pass.h), and ml_backward_resume goes on from there.
 */
#include <stdlib.h>

#include "grad/pass.h"

/* -- gradients by some tensors alone -- */

ml_err ml_gradients(const ml_ref *loss, const ml_ref *grad, const ml_ref *of, int n, bool graph) {
  ml_tensor *l, *g = NULL, *t;
  ML_TRY(ml__no_capture("gradients: the step cannot look at its gradients; an optimiser can"));
  ML_TRY(ml__get(&l, loss));
  if (grad) ML_TRY(ml__get(&g, grad));
  for (int i = 0; i < n; i++) {
    ML_TRY(ml__get(&t, &of[i]));
    if (!ml__wants(t))
      return ml_fail(ML_EARG, "gradients: tensor #%d does not require a gradient", i + 1);
  }
  ml_pass p = {.of = of, .n_of = n, .asked = calloc((size_t)n + 1, sizeof *p.asked)};
  if (!p.asked) return ml_fail(ML_ENOMEM, "out of memory: %d gradients", n);
  ml_err e = ml__pass(l, g, &p, graph);
  if (e < 0 && (!ml__pass_last() || p.asked != ml__pass_last()->asked))
    free(p.asked); /* it did not begin */
  return e;
}

ml_err ml_gradients_take(ml_ref *out, int n) {
  ml_pass *p = ml__pass_last();
  ml_err e = ML_OK;
  for (int i = 0; i < n; i++) {
    out[i] = (ml_ref){0, 0};
    if (e < 0 || !p || i >= p->n_of || !p->asked) continue;
    int32_t same = p->asked[i].same;
    ml_tensor *t = p->asked[same ? same - 1 : i].g, *own = t;
    if (!t) continue;
    if (!t->slot) ml__ref(own);
    else e = ml__record_view(&own, t, t->info.ndim, t->info.shape, t->info.stride, 0);
    if (e == ML_OK) e = ml__handle(&out[i], own);
  }
  if (p) ml__pass_forget(p);
  return e;
}

/* -- gradients that the caller computes -- */

ml_err ml__call_out(ml_node *n, ml_tensor *g, ml_tensor **gin) { return ML_OK; }

static int64_t *forgotten;
static int64_t n_forgotten, room_forgotten;

void ml__forget_call(int64_t id) {
  if (n_forgotten == room_forgotten) {
    int64_t room = room_forgotten ? 2 * room_forgotten : 64;
    int64_t *more = realloc(forgotten, (size_t)room * sizeof *more);
    if (!more) return; /* its number stays taken */
    forgotten = more;
    room_forgotten = room;
  }
  forgotten[n_forgotten++] = id;
}

int64_t ml_call_forgotten(void) { return n_forgotten ? forgotten[--n_forgotten] : 0; }

static ml_err record_call(ml_tensor *out, ml_tensor *const *in, int n, const char *name,
                          int64_t id) {
  ml_node *node;
  ML_TRY(ml__record(&node, name, ml__call_out, out, in, n));
  node->scalar[0].i = id;
  return ML_OK;
}

ml_err ml_call_record(ml_ref *out, const ml_ref *result, const ml_ref *in, int n, int n_saved,
                      const char *name, int64_t id) {
  ml_tensor *r, *y = NULL, **all = calloc((size_t)n + 1, sizeof *all);
  ml_err e = all ? ml__no_capture("an operation whose gradient is in Lua")
                 : ml_fail(ML_ENOMEM, "out of memory: the record of %s", name);
  if (e == ML_OK) e = ml__get(&r, result);
  for (int i = 0; i < n && e == ML_OK; i++) {
    ml_tensor *t;
    e = ml__get(&t, &in[i]);
    if (e == ML_OK && i >= n - n_saved) e = ml__alias(&all[i], t); /* off the tape */
    else if (e == ML_OK) all[i] = ml__ref(t);
  }
  if (e == ML_OK && !ml__is_float(r->info.dtype))
    e = ml_fail(ML_EDTYPE, "%s: a gradient needs a floating-point result, got %s", name,
                ml_dtype_name(r->info.dtype));
  if (e == ML_OK) e = ml__contiguous(&y, r);
  if (e == ML_OK && y == r) {
    ml__unref(y);
    e = ml__alias(&y, r);
  }
  if (e == ML_OK && ml__any_wants(all, n)) {
    e = record_call(y, all, n, name, id);
    if (e == ML_OK) y->node->twice = n_saved ? NULL : ml__call_out; /* saved: off the tape */
  } else ml__forget_call(id);
  for (int i = 0; all && i < n; i++) ml__unref(all[i]);
  free(all);
  if (e < 0) {
    ml__unref(y);
    return e;
  }
  return ml__handle(out, y);
}

/* t's own place on the tape goes to an alias, and t is computed from that. */
ml_err ml_call_hook(const ml_ref *ref, int64_t id) {
  ml_tensor *t, *before;
  ML_TRY(ml__no_capture("a hook"));
  ML_TRY(ml__get(&t, ref));
  if (!t->node) return ml_fail(ML_ESTATE, "hook: the tensor is not computed on the tape");
  ML_TRY(ml__alias(&before, t));
  uint64_t id_of = t->node->id + 1; /* after all that use t, before what computed it */
  if (id_of % ML__HOOKS == 0) {
    ml__unref(before);
    return ml_fail(ML_ESTATE, "hook: more than %d on one tensor", ML__HOOKS - 1);
  }
  before->node = t->node;
  before->info.requires_grad = true;
  before->info.leaf = false;
  t->node = NULL;
  ml_err e = record_call(t, &before, 1, "hook", id);
  if (e < 0) {
    t->node = before->node;
    before->node = NULL;
  } else {
    t->node->id = id_of;
    t->node->shape_only = true;
    t->node->twice = ml__call_out;
  }
  ml__unref(before);
  return e;
}

static ml_err stopped(ml_node **n) {
  ml_pass *p = ml__pass_now();
  if (!p || p->at >= p->order.n || p->order.at[p->at]->backward != ml__call_out)
    return ml_fail(ML_ESTATE, "backward: it did not stop for a gradient");
  *n = p->order.at[p->at];
  return ML_OK;
}

ml_err ml_backward_call(int64_t *id, ml_ref *g) {
  ml_node *n = NULL;
  ml_tensor *own;
  ML_TRY(stopped(&n));
  *id = n->scalar[0].i;
  const ml_info *x = &n->g->info; /* a handle of its own; on the tape, where g is */
  ML_TRY(ml__record_view(&own, n->g, x->ndim, x->shape, x->stride, 0));
  ml__pass_pause();
  return ml__handle(g, own);
}

ml_err ml_backward_saved(ml_ref *out, int i) {
  ml_node *n = NULL;
  ml_tensor *t;
  ML_TRY(stopped(&n));
  if (i < 0 || i >= n->n_in) return ml_fail(ML_EARG, "backward: no tensor #%d", i + 1);
  const ml_info *x = &n->in[i]->info; /* on the tape, where gradients of gradients are wanted */
  ML_TRY(ml__record_view(&t, n->in[i], x->ndim, x->shape, x->stride, 0));
  return ml__handle(out, t);
}

ml_err ml_backward_resume(const ml_ref *gin, int n, bool failed) {
  ml_node *node = NULL;
  ml_tensor *t;
  ML_TRY(stopped(&node));
  ml_err e = failed ? ML_ESTATE : ML_OK;
  for (int i = 0; i < n && i < node->n_in && e == ML_OK; i++) {
    if (!gin[i].slot || !ml__wants(node->in[i])) continue;
    e = ml__get(&t, &gin[i]);
    if (e < 0) break;
    const ml_info *x = &node->in[i]->info;
    if (t->info.dtype != x->dtype || !ml__same_shape(t, node->in[i])) {
      char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
      e = ml_fail(ML_ESHAPE, "backward of %s: gradient #%d: expected %s %s, got %s %s", node->name,
                  i + 1, ml_dtype_name(x->dtype), ml__shape_text(a, x->ndim, x->shape),
                  ml_dtype_name(t->info.dtype), ml__shape_text(b, t->info.ndim, t->info.shape));
      break;
    }
    node->gin[i] = ml__ref(t);
  }
  return ml__pass_go_on(node, e);
}
