/*
 * tape: the record of operations.
 *
 * A node holds references to its inputs; a tensor holds one to the node that made it; no output is
 * held by its own node, so there are no cycles and reference counts free everything.
 */
#include <stdlib.h>
#include <string.h>

#include "grad/tape.h"

bool ml__grad_on = true, ml__reference_on = false;
static uint64_t next_id = ML__HOOKS;

bool ml_grad_enabled(void) { return ml__grad_on; }
void ml_set_grad_enabled(bool on) { ml__grad_on = on; }
bool ml_use_reference(bool on) {
  bool before = ml__reference_on;
  ml__reference_on = on;
  return before;
}

uint64_t ml__next_node(void) { return next_id; }

bool ml__any_wants(ml_tensor *const *in, int n) {
  if (!ml__grad_on) return false;
  for (int i = 0; i < n; i++)
    if (ml__wants(in[i])) return true;
  return false;
}

/* -- nodes: those of up to FEW inputs are recycled -- */

enum { FEW = 4 };
static ml_node *spare;

ml_err ml__record(ml_node **node, const char *name, ml_backward_fn backward, ml_tensor *out,
                  ml_tensor *const *in, int n_in) {
  size_t each = 2 * sizeof(ml_tensor *) + sizeof(uint32_t);
  size_t bytes = sizeof(ml_node) + (size_t)ML_MAX(n_in, FEW) * each;
  ml_node *n = n_in <= FEW ? spare : NULL;
  if (ml__denied()) n = NULL;
  else if (n) spare = n->next;
  else n = malloc(bytes);
  *node = n;
  if (n) memset(n, 0, bytes);
  if (!n) return ml_fail(ML_ENOMEM, "out of memory: the record of %s", name);
  n->name = name;
  n->backward = backward;
  n->refs = 1;
  n->id = next_id;
  next_id += ML__HOOKS;
  n->n_in = n_in;
  n->in = (ml_tensor **)(n + 1);
  n->gin = n->in + n_in;
  n->version = (uint32_t *)(n->gin + n_in);
  for (int i = 0; i < n_in; i++) {
    n->in[i] = ml__ref(in[i]);
    if (in[i]) n->version[i] = in[i]->storage->version;
  }
  out->node = n;
  out->info.requires_grad = true;
  out->info.leaf = false;
  return ML_OK;
}

ml_err ml__save(ml_node *n, int i, ml_tensor *t) {
  ML_TRY(ml__alias(&n->saved[i], t));
  n->saved_version[i] = t->storage->version;
  return ML_OK;
}

/* Frees without recursion: a long chain of nodes must not use up the stack. */
void ml__node_unref(ml_node *n) {
  static ml_node *pending;
  static bool running;
  if (--n->refs > 0) return;
  n->next = pending;
  pending = n;
  if (running) return;
  running = true;
  while (pending) {
    ml_node *p = pending;
    pending = p->next;
    for (int i = 0; i < p->n_in; i++) ml__unref(p->in[i]);
    for (int i = 0; i < ML_MAX_SAVED; i++) ml__unref(p->saved[i]);
    if (p->backward == ml__call_out) ml__forget_call(p->scalar[0].i);
    ml__unref(p->g);
    if (p->n_in > FEW) {
      free(p);
    } else {
      p->next = spare;
      spare = p;
    }
  }
  running = false;
}

/* -- leaves -- */

ml_err ml_set_grad(const ml_ref *ref, const ml_ref *grad) {
  ml_tensor *t, *g, *own;
  ML_TRY(ml__no_capture("set_grad: gradients are the optimiser's"));
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__get(&g, grad));
  if (!t->info.leaf || !t->info.requires_grad)
    return ml_fail(ML_ESTATE, "set_grad: expected a leaf that requires a gradient");
  if (g->info.dtype != t->info.dtype || !ml__same_shape(g, t)) {
    char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "set_grad: expected %s %s, got %s %s", ml_dtype_name(t->info.dtype),
                   ml__shape_text(a, t->info.ndim, t->info.shape), ml_dtype_name(g->info.dtype),
                   ml__shape_text(b, g->info.ndim, g->info.shape));
  }
  ML_TRY(ml__copy_of(&own, g));
  ml__unref(t->grad);
  t->grad = own;
  return ML_OK;
}

ml_err ml_set_requires_grad(const ml_ref *ref, bool on) {
  ml_tensor *t;
  ML_TRY(ml__no_capture("requires_grad: set it outside the step"));
  ML_TRY(ml__get(&t, ref));
  if (t->node) return ml_fail(ML_ESTATE, "requires_grad: the tensor is computed; detach it first");
  if (on && !ml__is_float(t->info.dtype))
    return ml_fail(ML_EDTYPE, "requires_grad: expected a floating-point tensor, got %s",
                   ml_dtype_name(t->info.dtype));
  if (on && !t->info.contiguous)
    return ml_fail(ML_EARG, "requires_grad: a leaf must be contiguous; copy it first");
  t->info.requires_grad = on;
  return ML_OK;
}

ml_err ml_detach(ml_ref *out, const ml_ref *ref) {
  ml_tensor *t, *a;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__alias(&a, t));
  return ml__handle(out, a);
}

ml_err ml_grad(ml_ref *out, const ml_ref *ref) {
  ml_tensor *t, *a;
  ML_TRY(ml__no_capture("grad: the step cannot look at its gradients; an optimiser can"));
  ML_TRY(ml__get(&t, ref));
  if (!t->grad) return ML_END;
  ML_TRY(ml__alias(&a, t->grad));
  return ml__handle(out, a);
}

static ml_err clear_again(const ml_call *c) {
  ml_tensor *t = c->out;
  ml__unref(t->grad);
  t->grad = NULL;
  return ML_OK;
}

ml_err ml_clear_grad(const ml_ref *ref) {
  ml_tensor *t;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__note("clear_grad", clear_again, t, NULL, 0, NULL, 0, NULL, 0, NULL));
  return clear_again(&(ml_call){.out = t});
}
