/*
 * capture: a step recorded once and repeated (mlua_capture.h).
 *
 * While a program records, every call of an operation, of what writes into tensors, and of
 * backward notes itself (ml__note): a function, and the very tensors it read and wrote. The program
 * holds them, so their memory is where it was, and a replay is those functions in order: no
 * handles, no checks of arguments, no allocation of results, no tape. Backward is such a call, too:
 * it walks the nodes of the recorded step again (tape.c), by the code that a plain step runs. Hence
 * the same bits.
 *
 * An input's handle stands, while recording, for a tensor of the program's own, which each replay
 * copies the caller's elements into; so views and saved tensors may point into it for good. One
 * whose count may change (the ids of bags, ml__note's `loose`) is not copied but takes over the
 * caller's memory each time; anything that looks at such an input in another way pins its shape.
 */
#include <stdlib.h>
#include <string.h>

#include "base/profile.h"
#include "grad/tape.h"
#include "mlua_capture.h"

enum { MOST_INPUTS = 1024 };

typedef struct input {
  ml_tensor *own;    /* what the program computes with */
  ml_tensor *theirs; /* while recording: what the handle stood for */
  ml_ref ref;
  bool loose, pinned;
} input;

typedef struct outside { /* a tensor that the step uses and did not make */
  ml_ref ref;
  bool requires_grad;
} outside;

struct ml_program {
  ml_call *calls;
  int64_t n_calls, room;
  input *inputs;
  int n_inputs;
  outside *used;
  int64_t n_used;
  ml_tensor **results;
  int n_results;
  bool grad_on, reference_on;
  uint64_t first_node;
};

struct ml_program *ml__recording;
int ml__recording_depth;

bool ml_capturing(void) { return ml__recording != NULL; }
int64_t ml_program_calls(const ml_program *p) { return p->n_calls; }

ml_err ml__no_capture(const char *what) {
  return ml__recording ? ml_fail(ML_ESTATE, "capture: %s", what) : ML_OK;
}

static ml_err no_memory(void) { return ml_fail(ML_ENOMEM, "out of memory: a captured step"); }

static void drop_call(ml_call *c) {
  if (c->drop) c->drop(c->own);
  ml__unref(c->out);
  for (int64_t k = 0; k < c->n_in; k++) ml__unref(c->in[k]);
  free(c->in);
}

void ml_program_free(ml_program *p) {
  if (!p) return;
  for (int64_t i = 0; i < p->n_calls; i++) drop_call(&p->calls[i]);
  for (int i = 0; i < p->n_results; i++) ml__unref(p->results[i]);
  for (int i = 0; i < p->n_inputs; i++) ml__unref(p->inputs[i].own);
  free(p->calls);
  free(p->inputs);
  free(p->used);
  free(p->results);
  free(p);
}

/* -- recording -- */

ml_err ml_capture_begin(void) {
  if (ml__recording) return ml_fail(ML_ESTATE, "capture: a step is being captured already");
  ml_program *p = calloc(1, sizeof *p);
  if (!p) return no_memory();
  p->grad_on = ml__grad_on;
  p->reference_on = ml__reference_on;
  p->first_node = ml__next_node();
  ml__recording = p;
  ml__recording_depth = ml_scope_depth();
  return ML_OK;
}

ml_err ml_capture_input(int *index, const ml_ref *ref) {
  ml_program *p = ml__recording;
  ml_tensor *t, *own;
  if (!p) return ml_fail(ML_ESTATE, "capture: nothing is being captured");
  ML_TRY(ml__get(&t, ref));
  for (int i = 0; i < p->n_inputs; i++) {
    if (p->inputs[i].own != t) continue;
    *index = i;
    return ML_OK;
  }
  if (t->info.requires_grad)
    return ml_fail(ML_ESTATE,
                   "capture: an argument that requires a gradient; use it from outside, "
                   "or hand in its detach()");
  if (p->n_inputs == MOST_INPUTS)
    return ml_fail(ML_EARG, "capture: more than %d tensors as arguments", MOST_INPUTS);
  input *in = realloc(p->inputs, (size_t)(p->n_inputs + 1) * sizeof *in);
  if (!in) return no_memory();
  p->inputs = in;
  in += p->n_inputs;
  *in = (input){.ref = *ref};
  ml__recording = NULL; /* the copy is not of the step */
  ml_err e = ml__copy_of(&own, t);
  ml__recording = p;
  if (e < 0) return e;
  in->own = own;
  in->theirs = ml__exchange(ref, ml__ref(own));
  *index = p->n_inputs++;
  return ML_OK;
}

static input *input_of(const ml_program *p, const ml_tensor *t) {
  for (int i = 0; i < p->n_inputs; i++)
    if (p->inputs[i].own->storage == t->storage) return &p->inputs[i];
  return NULL;
}

void ml__pin(const ml_tensor *t) {
  input *in = input_of(ml__recording, t);
  if (in) in->pinned = true;
}

ml_err ml__note_state(const ml_tensor *t) {
  if (!input_of(ml__recording, t)) return ML_OK;
  return ml_fail(ML_ESTATE, "capture: the step writes into one of its arguments");
}

static ml_err add_call(ml_program *p, const ml_call *c) {
  if (p->n_calls == p->room) {
    int64_t room = p->room ? 2 * p->room : 32;
    ml_call *calls = ml__denied() ? NULL : realloc(p->calls, (size_t)room * sizeof *calls);
    if (!calls) return no_memory();
    p->calls = calls;
    p->room = room;
  }
  p->calls[p->n_calls++] = *c;
  return ML_OK;
}

ml_err ml__note(const char *name, ml_err (*run)(const ml_call *), ml_tensor *out,
                ml_tensor *const *list, int64_t n_list, ml_tensor *const *in, int64_t n_in,
                const ml_scalar *scalar, int n, const ml_tensor *loose) {
  ml_program *p = ml__recording;
  if (!p) return ML_OK;
  int64_t all = n_list + n_in;
  if (out) ML_TRY(ml__note_state(out));
  for (int64_t k = 0; k < all; k++) {
    const ml_tensor *t = k < n_list ? list[k] : in[k - n_list];
    if (!t) continue;
    if (t->node && t->node->id < p->first_node)
      return ml_fail(ML_ESTATE,
                     "capture: the step uses a tensor that was computed outside it and "
                     "is on the tape; detach it first");
    input *i = input_of(p, t);
    if (i && t == loose && t == i->own) i->loose = true;
    else if (i) i->pinned = true;
  }
  size_t bytes = (size_t)all * sizeof(ml_tensor *) + (size_t)n * sizeof(ml_scalar);
  ml_tensor **at = ml__denied() ? NULL : malloc(bytes + 1);
  if (!at) return no_memory();
  ml_call c = {.name = name, .run = run, .in = at, .n_list = n_list, .n_in = all};
  c.scalar = (ml_scalar *)(at + all);
  for (int64_t k = 0; k < all; k++) at[k] = ml__ref(k < n_list ? list[k] : in[k - n_list]);
  if (n) memcpy(c.scalar, scalar, (size_t)n * sizeof *scalar);
  c.out = ml__ref(out);
  ml_err e = add_call(p, &c);
  if (e < 0) drop_call(&c);
  return e;
}

ml_call *ml__noted(void) { return &ml__recording->calls[ml__recording->n_calls - 1]; }

ml_err ml_capture_constant(const ml_ref *ref) {
  ml_program *p = ml__recording;
  ml_tensor *t, *kept;
  if (!p) return ML_OK;
  ML_TRY(ml__get(&t, ref));
  ML_TRY(ml__copy_of(&kept, t));
  ml_err e = ml__note("constant", ml__copy_again, t, NULL, 0, &kept, 1, NULL, 0, NULL);
  ml__unref(kept);
  return e;
}

/* The handles of inputs stand for the caller's tensors again. */
static void give_back(ml_program *p) {
  for (int i = 0; i < p->n_inputs; i++) {
    ml_tensor *own = ml__exchange(&p->inputs[i].ref, p->inputs[i].theirs);
    ml__unref(own ? own : p->inputs[i].theirs); /* freed inside the step: then ours to free */
    p->inputs[i].theirs = NULL;
  }
  ml__recording = NULL;
}

void ml_capture_abort(void) {
  ml_program *p = ml__recording;
  if (!p) return;
  give_back(p);
  ml_program_free(p);
}

static int by_slot(const void *a, const void *b) {
  const outside *x = a, *y = b;
  return x->ref.slot < y->ref.slot ? -1 : x->ref.slot > y->ref.slot;
}

/* What the step uses of others: their handles must be there, as they are, at every replay. */
static ml_err find_outside(ml_program *p) {
  int64_t room = 0;
  for (int64_t i = 0; i < p->n_calls; i++) room += p->calls[i].n_in + 1;
  p->used = malloc((size_t)(room + 1) * sizeof *p->used);
  if (!p->used) return no_memory();
  for (int64_t i = 0; i < p->n_calls; i++) {
    for (int64_t k = -1; k < p->calls[i].n_in; k++) {
      ml_tensor *t = k < 0 ? p->calls[i].out : p->calls[i].in[k];
      outside *o = &p->used[p->n_used];
      if (!t || input_of(p, t)) continue;
      int scope = ml__scope_of(t, &o->ref);
      if (scope < 0 || scope >= ml__recording_depth) continue;
      o->requires_grad = t->info.requires_grad;
      p->n_used++;
    }
  }
  qsort(p->used, (size_t)p->n_used, sizeof *p->used, by_slot);
  int64_t n = 0;
  for (int64_t i = 0; i < p->n_used; i++)
    if (n == 0 || p->used[n - 1].ref.slot != p->used[i].ref.slot) p->used[n++] = p->used[i];
  p->n_used = n;
  return ML_OK;
}

/* Copies of the results, off the tape, owned by the scope at hand. */
static ml_err copy_results(const ml_program *p, ml_ref *copies) {
  for (int i = 0; i < p->n_results; i++) {
    ml_tensor *t = p->results[i], *copy;
    ML_TRY(ml__copy_of(&copy, t));
    ML_TRY(ml__handle(&copies[i], copy));
  }
  return ML_OK;
}

ml_err ml_capture_end(ml_program **out, ml_ref *copies, const ml_ref *results, int n) {
  ml_program *p = ml__recording;
  ml_err e = ML_OK;
  *out = NULL;
  if (!p) return ml_fail(ML_ESTATE, "capture: nothing is being captured");
  p->results = calloc((size_t)n + 1, sizeof *p->results);
  if (!p->results) e = no_memory();
  for (int i = 0; i < n && e == ML_OK; i++) {
    ml_tensor *t;
    e = ml__get(&t, &results[i]);
    if (e < 0) break;
    if (input_of(p, t)) ml__pin(t);
    p->results[p->n_results++] = ml__ref(t);
  }
  if (e == ML_OK) e = find_outside(p);
  if (e == ML_OK) {
    ml__recording = NULL;
    e = copy_results(p, copies);
    ml__recording = p;
  }
  if (e < 0) {
    ml_capture_abort();
    return e;
  }
  give_back(p);
  *out = p;
  return ML_OK;
}

/* -- replay -- */

static bool same_layout(const ml_info *a, const ml_info *b) {
  if (a->dtype != b->dtype || a->ndim != b->ndim) return false;
  for (int d = 0; d < a->ndim; d++)
    if (a->shape[d] != b->shape[d]) return false;
  return true;
}

static bool fits(const input *in, const ml_tensor *t) {
  if (t->info.requires_grad) return false;
  if (!in->loose || in->pinned) return same_layout(&in->own->info, &t->info);
  return in->own->info.dtype == t->info.dtype && t->info.ndim == in->own->info.ndim &&
         t->info.ndim == 1 && t->info.contiguous;
}

/* `own` sees the elements of t from now on. */
static ml_err take_over(ml_tensor *own, ml_tensor *t) {
  ml_tensor *view;
  if (own->info.data == t->info.data && own->info.count == t->info.count &&
      own->storage == t->storage)
    return ML_OK;
  ML_TRY(ml__alias(&view, t));
  ml_storage *before = own->storage;
  own->info = view->info;
  own->storage = view->storage;
  view->storage = before;
  ml__unref(view);
  return ML_OK;
}

static ml_err check_outside(const ml_program *p) {
  for (int64_t i = 0; i < p->n_used; i++) {
    const ml_info *info = ml_tensor_info(&p->used[i].ref);
    if (!info)
      return ml_fail(ML_EHANDLE,
                     "capture: a tensor that the step uses was freed since it was "
                     "captured; forget() the captures, or make a new one");
    if (info->requires_grad != p->used[i].requires_grad) return ML_END;
  }
  return ML_OK;
}

ml_err ml_replay(ml_program *p, const ml_ref *inputs, int n_inputs, ml_ref *copies, int n) {
  ml_tensor *few[16], **t = few;
  ML_SPAN(whole, ML_EVENT_OPERATION, "replay");
  if (ml__recording) return ml_fail(ML_ESTATE, "capture: a captured step inside another");
  if (n_inputs != p->n_inputs || n != p->n_results || p->grad_on != ml__grad_on ||
      p->reference_on != ml__reference_on)
    return ML_END;
  if (n_inputs > 16) t = malloc((size_t)n_inputs * sizeof *t);
  if (!t) return no_memory();
  ml_err e = check_outside(p);
  for (int i = 0; i < n_inputs && e == ML_OK; i++) {
    e = ml__get(&t[i], &inputs[i]);
    if (e == ML_OK && !fits(&p->inputs[i], t[i])) e = ML_END;
  }
  for (int i = 0; i < n_inputs && e == ML_OK; i++) {
    input *in = &p->inputs[i];
    e = in->loose && !in->pinned ? take_over(in->own, t[i]) : ml__copy(in->own, t[i]);
  }
  if (t != few) free(t);
  for (int64_t i = 0; i < p->n_calls && e == ML_OK; i++) {
    const ml_call *c = &p->calls[i];
    ML_SPAN(span, ML_EVENT_OPERATION, c->name);
    if (c->out) ml__span_shape(&span, &c->out->info);
    e = c->run(c);
    if (c->out) ml__touch(c->out); /* it may be of others, whose records elsewhere must know */
  }
  return e == ML_OK ? copy_results(p, copies) : e;
}
