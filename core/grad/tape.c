/*
 * tape: the record of operations, and backward.
 *
 * A node holds references to its inputs; a tensor holds one to the node that made it; no output is
 * held by its own node, so there are no cycles and reference counts free everything. Backward
 * visits the nodes that the loss reaches in falling order of their number, which is an order in
 * which every gradient is complete before it is passed on, and the same in every run.
 */
#include <stdlib.h>
#include <string.h>

#include "grad/tape.h"
#include "ml_ops.h"

bool ml__grad_on = true, ml__reference_on = false;
enum { HOOKS = 64 }; /* numbers from one node to the next: hooks have those between */
static uint64_t next_id = HOOKS, next_pass = 1;
static bool fusing;        /* a backward with updates is running */
static ml_tensor **asked; /* where a running ml_gradients gathers, by ml_node's and leaf's `wanted` */

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
  next_id += HOOKS;
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

/* -- backward -- */

typedef struct nodes {
  ml_node **at;
  int64_t n, room;
} nodes;

static ml_err push(nodes *l, ml_node *n) {
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

/* All nodes that the root reaches, latest first; counts the uses of every tensor on the way. */
static ml_err collect(nodes *l, ml_node *root, uint64_t pass) {
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
static void claim(const ml_update *updates, int n, uint64_t pass) {
  ml_tensor *w;
  for (int i = 0; i < n; i++)
    if ((w = ml__peek(&updates[i].param)) && w->pass == pass && w->uses == 1 &&
        !w->storage->shared && !w->grad)
      w->update = &updates[i];
}

const ml_update *ml__fused(const ml_tensor *w) {
  const ml_update *u = w ? w->update : NULL;
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
    ml_err e = ml__new(&own, s->info.dtype, s->info.ndim, s->info.shape);
    if (e == ML_OK) e = ml__copy(own, s);
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
  if (leaf->update) {
    ml_err e = ml__update(leaf, leaf->update, g);
    ml__unref(g);
    return e;
  }
  if (!leaf->grad && (g->refs > 1 || g->storage->refs > 1)) { /* the leaf's own is never shared */
    ml_tensor *own;
    ml_err e = ml__new(&own, g->info.dtype, g->info.ndim, g->info.shape);
    if (e == ML_OK) e = ml__copy(own, g);
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

/* Passes the gradients by a node's inputs on, or drops them after a failure. */
static ml_err pass_on(ml_node *n, ml_err e) {
  ml_tensor **gin = n->gin;
  for (int k = 0; k < n->n_in; k++) {
    ml_tensor *t = n->in[k], *got = gin[k];
    if (!got) continue;
    gin[k] = NULL;
    if (e < 0 || !ml__wants(t)) ml__unref(got);
    else if (t->node) e = accumulate(&t->node->g, got);
    else if (!asked) e = deliver(t, got);
    else if (t->wanted) e = accumulate(&asked[t->wanted - 1], got);
    else ml__unref(got);
  }
  return e;
}

static ml_err run_node(ml_node *n) {
  ml_tensor *g = n->g;
  n->g = NULL;
  n->spent = fusing;
  if (ml__grad_on && !n->twice) {
    ml__unref(g);
    return ml_fail(ML_ESTATE, "gradients of gradients: %s has none", n->name);
  }
  ml_err e = (ml__grad_on ? n->twice : n->backward)(n, g, n->gin);
  ml__unref(g);
  return pass_on(n, e);
}

static ml_err start(ml_tensor *loss, ml_tensor *g) {
  if (!loss->node)
    return ml_fail(ML_ESTATE,
                   loss->info.requires_grad
                       ? "backward: the loss is a leaf, nothing computed it"
                       : "backward: the loss does not depend on anything that requires a gradient");
  if (g) {
    ml_tensor *own;
    if (g->info.ndim != loss->info.ndim || g->info.dtype != loss->info.dtype ||
        memcmp(g->info.shape, loss->info.shape, sizeof(int64_t) * (size_t)g->info.ndim) != 0) {
      char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
      return ml_fail(ML_ESHAPE, "backward: gradient: expected %s %s, got %s %s",
                     ml_dtype_name(loss->info.dtype),
                     ml__shape_text(a, loss->info.ndim, loss->info.shape),
                     ml_dtype_name(g->info.dtype), ml__shape_text(b, g->info.ndim, g->info.shape));
    }
    ML_TRY(ml__contiguous(&own, g));
    loss->node->g = own;
    return ML_OK;
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
    if (e == ML_OK && node->g && asked && node->wanted) e = answer(node);
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
static ml_err settle(const ml_update *updates, int n, ml_err e) {
  ml_tensor *p;
  for (int i = 0; i < n; i++) {
    if (!(p = ml__peek(&updates[i].param))) continue;
    p->update = NULL;
    if (!p->grad || e < 0) continue; /* what was gathered before a failure stays */
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
  bool *claimed;
} trace;

static void drop_trace(void *own) {
  trace *t = own;
  for (int64_t i = 0; i < t->n; i++) ml__node_unref(t->at[i]);
  free(t);
}

static ml_err back_again(const ml_call *c) {
  const trace *t = c->own;
  ml_tensor *loss = c->in[0], *p;
  ML_TRY(check_updates(t->updates, t->n_updates));
  ML_TRY(start(loss, c->in[1]));
  for (int i = 0; i < t->n_updates; i++)
    if (t->claimed[i] && (p = ml__peek(&t->updates[i].param)) && !p->grad)
      p->update = &t->updates[i];
  bool was_on = ml__grad_on;
  ml__grad_on = false;
  fusing = t->updates != NULL;
  int64_t i = 0;
  ml_err e = settle(t->updates, t->n_updates, walk(t->at, t->n, &i, loss, true, ML_OK));
  fusing = false;
  ml__grad_on = was_on;
  return e;
}

static ml_err note_back(ml_tensor *loss, ml_tensor *grad, const nodes *order,
                        const ml_update *updates, int n) {
  trace *t = malloc(sizeof *t + (size_t)order->n * sizeof *t->at + (size_t)n);
  if (!t) return ml_fail(ML_ENOMEM, "out of memory: a captured step");
  *t = (trace){.n_updates = n, .updates = updates, .at = (ml_node **)(t + 1)};
  t->claimed = (bool *)(t->at + order->n);
  ml_tensor *in[] = {loss, grad}, *p;
  ml_err e = ml__note(back_again, NULL, NULL, 0, in, 2, NULL, 0, NULL);
  if (e < 0) {
    free(t);
    return e;
  }
  for (int i = 0; i < n; i++)
    t->claimed[i] = (p = ml__peek(&updates[i].param)) && p->update == &updates[i];
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

/* A backward that runs. One inside another: what an operation's gradient in Lua may call. */
enum { DEEPEST = 16 };
typedef struct pass {
  nodes order; /* kept between calls: no allocation in a steady loop */
  int64_t at;
  ml_tensor *loss;
  const ml_update *updates;
  int n;
  bool was_on;
  struct ml_program *recording;
  bool graph; /* what it computes is recorded, too */
  ml_tensor **asked;
  const ml_ref *of; /* asked for, and how many */
  int n_of;
} pass;
static pass passes[DEEPEST];
static int running; /* how many */

/* The gradient of a node's output is complete, and was asked for. */
static ml_err answer(ml_node *n) {
  ml_tensor *g = ml__ref(n->g);
  return accumulate(&asked[n->wanted - 1], g);
}

static void drop_answers(pass *p);

static void ask(const pass *p, bool on) {
  ml_tensor *t;
  for (int i = 0; i < p->n_of; i++) {
    if (ml__get(&t, &p->of[i]) < 0) continue;
    ml_node *n = t->node; /* what hooks leave of the gradient */
    while (n && n->backward == ml__call_out && n->shape_only && n->in[0]->node) n = n->in[0]->node;
    if (n) n->wanted = on ? i + 1 : 0;
    else t->wanted = on ? i + 1 : 0;
  }
}

static void enter(const pass *p, bool graph) {
  ml__grad_on = graph;
  ml__recording = NULL; /* what it calls belongs to it */
  fusing = p->updates != NULL;
  asked = p->asked;
}

static ml_err leave(pass *p, ml_err e) {
  e = settle(p->updates, p->n, e);
  ask(p, false);
  ml__unref(p->loss);
  ml__recording = p->recording;
  ml__grad_on = p->was_on;
  running--;
  fusing = running && passes[running - 1].updates;
  asked = running ? passes[running - 1].asked : NULL;
  return e;
}

static ml_err go_on(pass *p, bool graph, ml_err e) {
  enter(p, graph);
  e = walk(p->order.at, p->order.n, &p->at, p->loss, false, e);
  return e == ML_CALL ? e : leave(p, e);
}

static ml_err run(ml_tensor *loss, ml_tensor *g, const pass *how, bool graph) {
  if (running == DEEPEST)
    return ml_fail(ML_ESTATE, "backward: nested deeper than %d", (int)DEEPEST);
  ML_TRY(check_updates(how->updates, how->n));
  ML_TRY(start(loss, g));
  pass *p = &passes[running++];
  drop_answers(p);
  nodes order = p->order;
  *p = *how;
  p->order = order;
  p->order.n = p->at = 0;
  p->loss = ml__ref(loss);
  p->was_on = ml__grad_on;
  p->recording = ml__recording;
  p->graph = graph;
  uint64_t number = next_pass++;
  ask(p, true);
  ml_err e = collect(&p->order, loss->node, number);
  if (e == ML_OK) claim(p->updates, p->n, number);
  if (e == ML_OK && p->recording) e = note_back(loss, g, &p->order, p->updates, p->n);
  return go_on(p, graph, e);
}

ml_err ml_backward(const ml_ref *loss, const ml_ref *grad) {
  ml_tensor *l, *g = NULL;
  ML_TRY(ml__get(&l, loss));
  if (grad) ML_TRY(ml__get(&g, grad));
  return run(l, g, &(pass){0}, false);
}

ml_err ml_backward_update(const ml_ref *loss, const ml_update *updates, int n) {
  ml_tensor *l;
  ML_TRY(ml__get(&l, loss));
  return run(l, NULL, &(pass){.updates = updates, .n = n}, false);
}

/* -- gradients of gradients -- */

ml_err ml__number(ml_tensor **out, double value, const ml_tensor *g) {
  ML_TRY(ml__new(out, g->info.dtype, 0, NULL));
  ml__fill(*out, value);
  return ML_OK;
}

ml_err ml__summed(ml_tensor **out, ml_tensor *v, ml_tensor *of) {
  if (v->info.ndim != of->info.ndim ||
      memcmp(v->info.shape, of->info.shape, sizeof(int64_t) * (size_t)of->info.ndim) != 0)
    return ml__op_sum_to(out, v, of);
  *out = ml__ref(v);
  return ML_OK;
}

/* -- gradients by some tensors alone -- */

static void drop_answers(pass *p) {
  for (int i = 0; p->asked && i < p->n_of; i++) ml__unref(p->asked[i]);
  free(p->asked);
  p->asked = NULL;
}

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
  pass p = {.of = of, .n_of = n, .asked = calloc((size_t)n + 1, sizeof *p.asked)};
  if (!p.asked) return ml_fail(ML_ENOMEM, "out of memory: %d gradients", n);
  ml_err e = run(l, g, &p, graph);
  if (e < 0 && p.asked != passes[running].asked) free(p.asked); /* it did not begin */
  return e;
}

ml_err ml_gradients_take(ml_ref *out, int n) {
  pass *p = &passes[running];
  ml_err e = ML_OK;
  for (int i = 0; i < n; i++) {
    out[i] = (ml_ref){0, 0};
    if (e < 0 || running == DEEPEST || i >= p->n_of || !p->asked || !p->asked[i]) continue;
    ml_tensor *t = p->asked[i], *own = t;
    p->asked[i] = NULL;
    if (t->slot) { /* another handle's */
      e = ml__record_view(&own, t, t->info.ndim, t->info.shape, t->info.stride, 0);
      ml__unref(t);
    }
    if (e == ML_OK) e = ml__handle(&out[i], own);
  }
  drop_answers(p);
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
  }
  else ml__forget_call(id);
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
  if (id_of % HOOKS == 0) {
    ml__unref(before);
    return ml_fail(ML_ESTATE, "hook: more than %d on one tensor", HOOKS - 1);
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
  pass *p = running ? &passes[running - 1] : NULL;
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
  ml__grad_on = passes[running - 1].graph;
  fusing = false; /* what the caller computes is its own */
  asked = NULL;
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
  ml_tensor *t, *own;
  ML_TRY(stopped(&node));
  pass *p = &passes[running - 1];
  ml_err e = failed ? ML_ESTATE : ML_OK;
  for (int i = 0; i < n && i < node->n_in && e == ML_OK; i++) {
    if (!gin[i].slot || !ml__wants(node->in[i])) continue;
    e = ml__get(&t, &gin[i]);
    if (e < 0) break;
    const ml_info *x = &node->in[i]->info;
    if (t->info.dtype != x->dtype || t->info.ndim != x->ndim ||
        memcmp(t->info.shape, x->shape, sizeof(int64_t) * (size_t)x->ndim) != 0) {
      char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
      e = ml_fail(ML_ESHAPE, "backward of %s: gradient #%d: expected %s %s, got %s %s", node->name,
                  i + 1, ml_dtype_name(x->dtype), ml__shape_text(a, x->ndim, x->shape),
                  ml_dtype_name(t->info.dtype), ml__shape_text(b, t->info.ndim, t->info.shape));
      break;
    }
    e = ml__contiguous(&own, t);
    if (e == ML_OK) node->gin[i] = own;
  }
  enter(p, p->graph);
  node->spent = fusing;
  ml__unref(node->g);
  node->g = NULL;
  e = pass_on(node, e);
  return go_on(p, p->graph, e);
}

/* -- leaves -- */

ml_err ml_set_grad(const ml_ref *ref, const ml_ref *grad) {
  ml_tensor *t, *g, *own;
  ML_TRY(ml__no_capture("set_grad: gradients are the optimiser's"));
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__get(&g, grad));
  if (!t->info.leaf || !t->info.requires_grad)
    return ml_fail(ML_ESTATE, "set_grad: expected a leaf that requires a gradient");
  if (g->info.dtype != t->info.dtype || g->info.ndim != t->info.ndim ||
      memcmp(g->info.shape, t->info.shape, sizeof(int64_t) * (size_t)t->info.ndim) != 0) {
    char a[ML_SHAPE_TEXT], b[ML_SHAPE_TEXT];
    return ml_fail(ML_ESHAPE, "set_grad: expected %s %s, got %s %s", ml_dtype_name(t->info.dtype),
                   ml__shape_text(a, t->info.ndim, t->info.shape), ml_dtype_name(g->info.dtype),
                   ml__shape_text(b, g->info.ndim, g->info.shape));
  }
  ML_TRY(ml__new(&own, g->info.dtype, g->info.ndim, g->info.shape));
  ml_err e = ml__copy(own, g);
  if (e < 0) {
    ml__unref(own);
    return e;
  }
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
  ML_TRY(ml__note(clear_again, t, NULL, 0, NULL, 0, NULL, 0, NULL));
  return clear_again(&(ml_call){.out = t});
}
