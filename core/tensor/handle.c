/*
 * handle: what Lua holds of a tensor, and the scopes that free them.
 *
 * A handle is a slot and the slot's generation. Freeing bumps the generation, so a stale or foreign
 * handle is found out and is an error. Scopes are a stack of lists of handles: a training step
 * opens one and its end frees what the step made, with no finaliser and no collector.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

typedef struct list {
  ml_ref *refs;
  int64_t n, room;
} list;

enum { MAX_DEPTH = 256 };
ml_slot *ml__slots;
uint32_t ml__slots_n = 1;
static uint32_t slots_room, first_free;
static list scopes[MAX_DEPTH + 1]; /* by depth, from 1 */
static int depth;

_Atomic uint32_t ml__slots_limit = 1;
bool ml__interrupted;

void ml_interrupt(bool on) {
  uint32_t none = 0;
  if (on) atomic_store(&ml__slots_limit, 0);
  else atomic_compare_exchange_strong(&ml__slots_limit, &none, ml__slots_n);
}

ml_err ml__missing(void) {
  ml__interrupted = atomic_load(&ml__slots_limit) == 0;
  if (!ml__interrupted)
    return ml_fail(ML_EHANDLE,
                   "a tensor that is no longer there (its scope ended, or it was freed)");
  ml_interrupt(false);
  return ml_fail(ML_EINTERRUPT, "interrupted!");
}

static ml_err push(int d, ml_ref ref) {
  list *l = &scopes[d];
  if (l->n == l->room) {
    int64_t room = l->room ? 2 * l->room : 64;
    ml_ref *refs = ml__denied() ? NULL : realloc(l->refs, (size_t)room * sizeof *refs);
    if (!refs) return ml_fail(ML_ENOMEM, "out of memory: a scope of %lld tensors", (long long)l->n);
    l->refs = refs;
    l->room = room;
  }
  l->refs[l->n++] = ref;
  return ML_OK;
}

ml_err ml__handle(ml_ref *out, ml_tensor *t) {
  uint32_t i = first_free;
  *out = (ml_ref){0, 0}; /* refers to nothing, also after a failure */
  if (i) {
    first_free = ml__slots[i].next_free;
  } else {
    if (ml__slots_n >= slots_room) {
      uint32_t room = slots_room ? 2 * slots_room : 256;
      ml_slot *grown = ml__denied() ? NULL : realloc(ml__slots, (size_t)room * sizeof *grown);
      if (!grown) {
        ml__unref(t);
        return ml_fail(ML_ENOMEM, "out of memory: %u tensor handles", ml__slots_n);
      }
      ml__slots = grown;
      slots_room = room;
    }
    i = ml__slots_n++;
    ml__slots[i].gen = 1;
    uint32_t before = i;
    /* unless there is an interrupt */
    atomic_compare_exchange_strong(&ml__slots_limit, &before, ml__slots_n);
  }
  ml_slot *s = &ml__slots[i];
  s->tensor = t;
  s->scope = depth;
  t->slot = i;
  out->slot = i;
  out->gen = s->gen;
  ml_memory_stats()->tensors++;
  if (depth) {
    ml_err e = push(depth, *out);
    if (e < 0) {
      ml_tensor_free(out);
      *out = (ml_ref){0, 0};
      return e;
    }
  }
  return ML_OK;
}

ml_tensor *ml__exchange(const ml_ref *ref, ml_tensor *t) {
  ml_slot *s = ml__slot(ref);
  if (!s) return NULL;
  ml_tensor *before = s->tensor;
  before->slot = 0;
  t->slot = ref->slot;
  s->tensor = t;
  return before;
}

int ml__scope_of(const ml_tensor *t, ml_ref *ref) {
  if (!t->slot) return -1;
  *ref = (ml_ref){t->slot, ml__slots[t->slot].gen};
  return ml__slots[t->slot].scope;
}

const ml_info *ml_tensor_info(const ml_ref *ref) {
  ml_slot *s = ml__slot(ref);
  return s ? &s->tensor->info : NULL;
}

void ml_tensor_free(const ml_ref *ref) {
  ml_slot *s = ml__slot(ref);
  if (!s) return;
  ml_tensor *t = s->tensor;
  s->tensor = NULL;
  s->gen++;
  s->next_free = first_free;
  first_free = ref->slot;
  t->slot = 0;
  ml_memory_stats()->tensors--;
  ml__unref(t);
}

int ml_scope_depth(void) { return depth; }

int ml_scope_begin(void) {
  if (depth == MAX_DEPTH) return ml_fail(ML_ESTATE, "scopes nested deeper than %d", MAX_DEPTH);
  scopes[++depth].n = 0;
  return depth;
}

void ml_scope_end(int d) {
  if (d < 1) return;
  for (; depth >= d; depth--) {
    list *l = &scopes[depth];
    for (int64_t i = l->n; i-- > 0;) {
      ml_slot *s = ml__slot(&l->refs[i]);
      if (s && s->scope == depth) ml_tensor_free(&l->refs[i]);
    }
    l->n = 0;
  }
}

ml_err ml_scope_keep(const ml_ref *ref, int d) {
  ml_slot *s = ml__slot(ref);
  if (!s) return ml_fail(ML_EHANDLE, "keep: a tensor that is no longer there");
  if (d < 0 || d > depth) return ml_fail(ML_EARG, "keep: no scope at depth %d", d);
  if (s->scope <= d) return ML_END;
  if (ml__recording && d < ml__recording_depth)
    return ml__no_capture("keep: a tensor of the step cannot outlive it; return it instead");
  if (d) ML_TRY(push(d, *ref));
  s->scope = d;
  return ML_OK;
}
