/*
 * backward: back through the tape from a loss.
 *
 * The nodes that the loss reaches are visited in falling order of their number, which is an order
 * in which every gradient is complete before it is passed on, and the same in every run.
 */
#include <stdlib.h>

#include "base/profile.h"
#include "grad/pass.h"
#include "ml_ops.h"

static uint64_t next_pass = 1;
static bool fusing;          /* a backward with updates is running */
static const ml_pass *asked; /* a running one that gathers for ml_gradients, or NULL */

static ml_err push(ml_nodes *l, ml_node *n) {
  if (l->n == l->room) {
    int64_t room = l->room ? 2 * l->room : 256;
    ml_node **at = realloc(l->at, (size_t)room * sizeof *at);
    if (!at)
      return ml_fail(ML_ENOMEM, "out of memory: backward over %lld operations", (long long)l->n);
    l->at = at;
    l->room = room;
  }
  l->at[l->n++] = n;
  return ML_OK;
}

static int later_first(const void *a, const void *b) {
  uint64_t x = (*(ml_node *const *)a)->id, y = (*(ml_node *const *)b)->id;
  return x < y ? 1 : x > y ? -1 : 0;
}

/* Notes whether several tensors of this pass see one storage. */
static void see(const ml_tensor *t, uint64_t pass) {
  ml_storage *s = t->storage;
  if (s->pass != pass) {
    s->pass = pass;
    s->user = t;
    s->shared = false;
  } else if (s->user != t) {
    s->shared = true;
  }
}

static ml_err free_of_others(const ml_node *n) {
  if (!n->g) return ML_OK;
  return ml_fail(ML_ESTATE, "backward: %s is part of the backward that this one runs in", n->name);
}

/* All nodes that the root reaches, latest first; counts the uses of every tensor on the way. */
static ml_err collect(ml_nodes *l, ml_node *root, uint64_t pass) {
  root->pass = pass;
  ML_TRY(push(l, root));
  for (int64_t i = 0; i < l->n; i++) {
    ml_node *n = l->at[i];
    if (n->spent)
      return ml_fail(ML_ESTATE, "backward: %s was already used up by an optimiser's step", n->name);
    for (int k = 0; k < n->n_in; k++) {
      ml_tensor *t = n->in[k];
      if (t) see(t, pass);
      if (!ml__wants(t)) continue;
      if (t->pass != pass) {
        t->pass = pass;
        t->uses = 0;
      }
      t->uses++;
      if (t->node && t->node->pass != pass) {
        ML_TRY(free_of_others(t->node));
        t->node->pass = pass;
        ML_TRY(push(l, t->node));
      }
    }
  }
  qsort(l->at, (size_t)l->n, sizeof *l->at, later_first);
  return ML_OK;
}

/*
 * The update of a leaf goes with its gradient, at once, only where no other operation of this
 * backward still needs the old values, under any name.
 */
static ml_err claim(ml_pass *p, uint64_t pass) {
  if (p->n > p->room) {
    ml_tensor **more = realloc(p->claimed, (size_t)p->n * sizeof *more);
    if (!more) return ml_fail(ML_ENOMEM, "out of memory: %d updates", p->n);
    p->claimed = more;
    p->room = p->n;
  }
  for (int i = 0; i < p->n; i++) {
    ml_tensor *w = ml__peek(&p->updates[i].param);
    bool at_once = w && w->pass == pass && w->uses == 1 && !w->storage->shared && !w->grad;
    p->claimed[i] = at_once ? w : NULL; /* alive as long as the record that reached it */
    if (at_once) w->update = &p->updates[i];
  }
  return ML_OK;
}

const ml_update *ml__fused(const ml_tensor *w) {
  const ml_update *u = w && fusing ? w->update : NULL;
  return u && u->kind <= ML_UPDATE_ROWWISE_ADAGRAD ? u : NULL;
}

/* Adds g (whose reference is taken over) to *sum. */
static ml_err accumulate(ml_tensor **sum, ml_tensor *g) {
  if (!*sum) {
    *sum = g;
    return ML_OK;
  }
  ml_tensor *s = *sum;
  if (ml__grad_on) { /* recorded */
    ml_err e = ml__op_add(sum, s, g);
    ml__unref(s);
    ml__unref(g);
    return e;
  }
  if (s->refs > 1 || s->storage->refs > 1 || s->slot) { /* seen by others: add into a copy */
    ml_tensor *own;
    ml_err e = ml__copy_of(&own, s);
    if (e < 0) {
      ml__unref(g);
      return e;
    }
    ml__unref(s);
    *sum = s = own;
  }
  ml__add_into(s, g);
  ml__unref(g);
  return ML_OK;
}

/* A leaf's gradient has come: keep it, or use it for the update at once if it is all there is. */
static ml_err deliver(ml_tensor *leaf, ml_tensor *g) {
  if (leaf->update && fusing) {
    ml_err e = ml__update(leaf, leaf->update, g);
    ml__unref(g);
    return e;
  }
  if (!leaf->grad && (g->refs > 1 || g->storage->refs > 1)) { /* the leaf's own is never shared */
    ml_tensor *own;
    ml_err e = ml__copy_of(&own, g);
    ml__unref(g);
    if (e < 0) return e;
    g = own;
  }
  if (leaf->grad) { /* in place: handles on the gradient see the sum */
    ml__add_into(leaf->grad, g);
    ml__unref(g);
    return ML_OK;
  }
  leaf->grad = g;
  return ML_OK;
}

static ml_err check_versions(const ml_node *n) {
  for (int k = 0; k < n->n_in && !n->shape_only; k++)
    if (n->in[k] && n->version[k] != n->in[k]->storage->version)
      return ml_fail(ML_ESTATE, "backward of %s: its input #%d was changed in place since", n->name,
                     k + 1);
  for (int k = 0; k < ML_MAX_SAVED && !n->shape_only; k++)
    if (n->saved[k] && n->saved_version[k] != n->saved[k]->storage->version)
      return ml_fail(ML_ESTATE, "backward of %s: its output was changed in place since", n->name);
  return ML_OK;
}

/* Where the gradient by `of`, a node's output or a leaf, is gathered; NULL: nobody asked. */
static ml_answer *place_of(int32_t wanted, const ml_node *node, const ml_tensor *leaf) {
  if (wanted == 0 || wanted > asked->n_of) return NULL;
  ml_answer *a = &asked->asked[wanted - 1]; /* another backward's `wanted` fits none of this one */
  return a->node == node && a->leaf == leaf ? a : NULL;
}

static ml_err pass_to(ml_tensor *t, ml_tensor *g) {
  if (t->node) return accumulate(&t->node->g, g);
  if (!asked) return deliver(t, g);
  ml_answer *a = place_of(t->wanted, NULL, t);
  if (a) return accumulate(&a->g, g);
  ml__unref(g);
  return ML_OK;
}

/* Passes the gradients by a node's inputs on, or drops them after a failure. All that rules of
 * gradients are given lies in row order. */
static ml_err pass_on(ml_node *n, ml_err e) {
  ml_tensor **gin = n->gin;
  for (int k = 0; k < n->n_in; k++) {
    ml_tensor *t = n->in[k], *got = gin[k], *g = got;
    if (!got) continue;
    gin[k] = NULL;
    bool goes_on = e >= 0 && ml__wants(t);
    if (goes_on && !got->info.contiguous) e = ml__gapless(&g, got);
    if (!goes_on || g != got) ml__unref(got);
    if (goes_on && e >= 0) e = pass_to(t, g);
  }
  return e;
}

static ml_err run_node(ml_node *n) {
  ml_tensor *g = n->g;
  ML_SPAN(span, ML_EVENT_BACKWARD, n->name);
  ml__span_shape(&span, &g->info);
  n->g = NULL;
  n->spent = fusing;
  if (ml__grad_on && !n->twice) {
    ml__unref(g);
    return ml_fail(ML_ESTATE, "gradients of gradients: %s has none", n->name);
  }
  int mixed = ml_mixed(-1);
  ml_err e = (ml__grad_on ? n->twice : n->backward)(n, g, n->gin);
  ml__unref(g);
  e = pass_on(n, e);
  ml_mixed(mixed);
  return e;
}

static ml_err start(ml_tensor *loss, ml_tensor *g) {
  if (!loss->node)
    return ml_fail(ML_ESTATE,
                   loss->info.requires_grad
                       ? "backward: the loss is a leaf, nothing computed it"
                       : "backward: the loss does not depend on anything that requires a gradient");
  ML_TRY(free_of_others(loss->node));
  if (g) {
    if (g->info.dtype != loss->info.dtype || !ml__same_shape(g, loss)) {
      char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
      return ml_fail(ML_ESHAPE, "backward: gradient: expected %s %s, got %s %s",
                     ml_dtype_name(loss->info.dtype),
                     ml__shape_text(a, loss->info.ndim, loss->info.shape),
                     ml_dtype_name(g->info.dtype), ml__shape_text(b, g->info.ndim, g->info.shape));
    }
    return ml__gapless(&loss->node->g, g);
  }
  if (loss->info.count != 1) {
    char s[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE,
                   "backward: the loss has shape %s: expected one element, or a gradient",
                   ml__shape_text(s, loss->info.ndim, loss->info.shape));
  }
  ML_TRY(ml__new(&loss->node->g, loss->info.dtype, loss->info.ndim, loss->info.shape));
  ml__fill(loss->node->g, 1);
  return ML_OK;
}

static ml_err answer(ml_node *n);

/*
 * Back through all nodes from the i-th on, whose order is known, unless e says that something
 * failed before. ML_CALL: stopped before a node whose gradient the caller computes.
 */
static ml_err walk(ml_node *const *at, int64_t n, int64_t *i, ml_tensor *loss, bool again,
                   ml_err e) {
  for (; *i < n; ++*i) {
    ml_node *node = at[*i];
    if (e == ML_OK && node->g && !again) e = check_versions(node);
    if (e == ML_OK && node->g && asked) e = answer(node);
    if (e == ML_OK && node->g && node->backward == ml__call_out) {
      if (!ml__grad_on || node->twice) return ML_CALL;
      e = ml_fail(ML_ESTATE, "gradients of gradients: %s keeps more than its inputs", node->name);
    }
    if (e == ML_OK && node->g) e = run_node(node);
    if (node->g) {
      ml__unref(node->g);
      node->g = NULL;
    }
  }
  ml__unref(loss->node->g); /* left where the list of nodes could not be made */
  loss->node->g = NULL;
  return e;
}

/* After a step's backward: parameters used more than once have a gradient by now. */
static ml_err settle(const ml_update *updates, int n, ml_tensor *const *claimed, ml_err e) {
  ml_tensor *p;
  for (int i = 0; i < n; i++) {
    if (claimed[i]) claimed[i]->update = NULL;
    p = ml__peek(&updates[i].param);
    if (!p || !p->grad || e < 0) continue; /* what was gathered before a failure stays */
    e = ml__update(p, &updates[i], p->grad);
    ml__unref(p->grad);
    p->grad = NULL;
  }
  return e;
}

static ml_err check_updates(const ml_update *updates, int n) {
  ml_tensor *p, *s;
  for (int i = 0; i < n; i++) ML_TRY(ml__check_update(&updates[i], &p, &s));
  return ML_OK;
}

/* -- backward, captured -- */

typedef struct trace {
  int64_t n;
  int n_updates;
  const ml_update *updates; /* the optimiser's own: rates are read at every replay */
  ml_node **at;
  ml_tensor **claimed; /* as a pass has it; the record keeps them */
} trace;

static void drop_trace(void *own) {
  trace *t = own;
  for (int64_t i = 0; i < t->n; i++) ml__node_unref(t->at[i]);
  free(t);
}

static ml_err back_again(const ml_call *c) {
  const trace *t = c->own;
  ml_tensor *loss = c->in[0];
  ML_TRY(check_updates(t->updates, t->n_updates));
  ML_TRY(start(loss, c->in[1]));
  for (int i = 0; i < t->n_updates; i++)
    if (t->claimed[i] && !t->claimed[i]->grad) t->claimed[i]->update = &t->updates[i];
  bool was_on = ml__grad_on;
  ml__grad_on = false;
  fusing = t->updates != NULL;
  int64_t i = 0;
  ml_err e = walk(t->at, t->n, &i, loss, true, ML_OK);
  e = settle(t->updates, t->n_updates, t->claimed, e);
  fusing = false;
  ml__grad_on = was_on;
  return e;
}

static ml_err note_back(const ml_pass *p, ml_tensor *grad) {
  const ml_nodes *order = &p->order;
  trace *t = malloc(sizeof *t + ((size_t)order->n + (size_t)p->n) * sizeof *t->at);
  if (!t) return ml_fail(ML_ENOMEM, "out of memory: a captured step");
  *t = (trace){.n_updates = p->n, .updates = p->updates, .at = (ml_node **)(t + 1)};
  t->claimed = (ml_tensor **)(t->at + order->n);
  ml_tensor *in[] = {p->loss, grad};
  ml_err e = ml__note("backward", back_again, NULL, NULL, 0, in, 2, NULL, 0, NULL);
  if (e < 0) {
    free(t);
    return e;
  }
  for (int i = 0; i < p->n; i++) t->claimed[i] = p->claimed[i];
  for (; t->n < order->n; t->n++) {
    t->at[t->n] = order->at[t->n];
    t->at[t->n]->refs++;
  }
  ml_call *c = ml__noted();
  c->own = t;
  c->drop = drop_trace;
  return ML_OK;
}

/* -- backward -- */

enum { DEEPEST = 16 };
static ml_pass passes[DEEPEST];
static int running; /* how many */

/* The gradient of a node's output is complete, and was asked for. */
static ml_err answer(ml_node *n) {
  ml_answer *a = place_of(n->wanted, n, NULL);
  return a ? accumulate(&a->g, ml__ref(n->g)) : ML_OK;
}

void ml__pass_forget(ml_pass *p) {
  for (int i = 0; p->asked && i < p->n_of; i++) ml__unref(p->asked[i].g);
  free(p->asked);
  p->asked = NULL;
}

ml_pass *ml__pass_now(void) { return running ? &passes[running - 1] : NULL; }
ml_pass *ml__pass_last(void) { return running < DEEPEST ? &passes[running] : NULL; }

void ml__pass_pause(void) {
  ml__grad_on = passes[running - 1].graph;
  fusing = false; /* what the caller computes is its own */
  asked = NULL;
}

/* Marks what is asked for, whose handles were there a moment ago; later they may not be. */
static void ask(ml_pass *p) {
  for (int i = 0; i < p->n_of; i++) {
    ml_answer *a = &p->asked[i];
    ml_tensor *t = ml__peek(&p->of[i]);
    ml_node *n = t->node; /* what hooks leave of the gradient */
    while (n && n->backward == ml__call_out && n->shape_only && n->in[0]->node) n = n->in[0]->node;
    if ((a->node = n)) n->refs++;
    else a->leaf = ml__ref(t);
    int32_t *wanted = a->node ? &a->node->wanted : &a->leaf->wanted;
    const ml_answer *first = *wanted && *wanted <= i ? &p->asked[*wanted - 1] : NULL;
    if (first && first->node == a->node && first->leaf == a->leaf) a->same = *wanted;
    a->before = *wanted;
    if (!a->same) *wanted = i + 1;
  }
}

static void unask(ml_pass *p) {
  for (int i = p->n_of; i-- > 0;) {
    ml_answer *a = &p->asked[i];
    if (a->node) {
      a->node->wanted = a->before;
      ml__node_unref(a->node);
    } else {
      a->leaf->wanted = a->before;
      ml__unref(a->leaf);
    }
    a->node = NULL;
    a->leaf = NULL;
  }
}

static void enter(const ml_pass *p, bool graph) {
  ml__grad_on = graph;
  ml__recording = NULL; /* what it calls belongs to it */
  fusing = p->updates != NULL;
  asked = p->asked ? p : NULL;
}

static ml_err leave(ml_pass *p, ml_err e) {
  e = settle(p->updates, p->n, p->claimed, e);
  unask(p);
  ml__unref(p->loss);
  ml__recording = p->recording;
  ml__grad_on = p->was_on;
  running--;
  fusing = running && passes[running - 1].updates;
  asked = running && passes[running - 1].asked ? &passes[running - 1] : NULL;
  return e;
}

static ml_err go_on(ml_pass *p, bool graph, ml_err e) {
  enter(p, graph);
  e = walk(p->order.at, p->order.n, &p->at, p->loss, false, e);
  if (e != ML_CALL) return leave(p, e);
  p->event = ml_profile_begin(ML_EVENT_BACKWARD, p->order.at[p->at]->name);
  return e;
}

ml_err ml__pass_go_on(ml_node *node, ml_err e) {
  ml_pass *p = &passes[running - 1];
  enter(p, p->graph);
  ml_profile_end(p->event);
  node->spent = fusing;
  ml__unref(node->g);
  node->g = NULL;
  return go_on(p, p->graph, pass_on(node, e));
}

ml_err ml__pass(ml_tensor *loss, ml_tensor *g, const ml_pass *how, bool graph) {
  if (running == DEEPEST)
    return ml_fail(ML_ESTATE, "backward: nested deeper than %d", (int)DEEPEST);
  ML_TRY(check_updates(how->updates, how->n));
  ML_TRY(start(loss, g));
  ml_pass *p = &passes[running++];
  ml__pass_forget(p);
  ml_pass kept = *p;
  *p = *how;
  p->order = kept.order;
  p->order.n = p->at = 0;
  p->claimed = kept.claimed;
  p->room = kept.room;
  p->loss = ml__ref(loss);
  p->was_on = ml__grad_on;
  p->recording = ml__recording;
  p->graph = graph;
  uint64_t number = next_pass++;
  ask(p);
  ml_err e = collect(&p->order, loss->node, number);
  if (e < 0) p->order.n = 0; /* what it reached may be another's */
  if (e == ML_OK) e = claim(p, number);
  if (e < 0) p->n = 0; /* no update was promised */
  if (e == ML_OK && p->recording) e = note_back(p, g);
  return go_on(p, graph, e);
}

ml_err ml_backward(const ml_ref *loss, const ml_ref *grad) {
  ml_tensor *l, *g = NULL;
  ML_TRY(ml__get(&l, loss));
  if (grad) ML_TRY(ml__get(&g, grad));
  return ml__pass(l, g, &(ml_pass){0}, false);
}

ml_err ml_backward_update(const ml_ref *loss, const ml_update *updates, int n) {
  ml_tensor *l;
  ML_TRY(ml__get(&l, loss));
  return ml__pass(l, NULL, &(ml_pass){.updates = updates, .n = n}, false);
}

/* -- gradients of gradients -- */

ml_err ml__number(ml_tensor **out, double value, const ml_tensor *g) {
  ML_TRY(ml__new(out, g->info.dtype, 0, NULL));
  ml__fill(*out, value);
  return ML_OK;
}

ml_err ml__gapless(ml_tensor **out, ml_tensor *t) {
  if (ml__grad_on && ml__wants(t) && !t->info.contiguous) return ml__op_affine(out, t, 1, -0.0);
  return ml__contiguous(out, t);
}

ml_err ml__summed(ml_tensor **out, ml_tensor *v, ml_tensor *of) {
  if (!ml__same_shape(v, of)) return ml__op_sum_to(out, v, of);
  *out = ml__ref(v);
  return ML_OK;
}
