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

typedef struct slot {
  ml_tensor *tensor; /* NULL: free */
  uint32_t gen, next_free;
  int32_t scope; /* the depth that will free it, 0: none */
} slot;

typedef struct list {
  ml_ref *refs;
  int64_t n, room;
} list;

enum { MAX_DEPTH = 256 };
static slot *slots; /* slot 0 is never used */
static uint32_t slots_n = 1, slots_room, first_free;
static list scopes[MAX_DEPTH + 1]; /* by depth, from 1 */
static int depth;

static slot *find_below(const ml_ref *ref, uint32_t limit) {
  if (!ref || ref->slot == 0 || ref->slot >= limit) return NULL;
  slot *s = &slots[ref->slot];
  return s->gen == ref->gen && s->tensor ? s : NULL;
}

static slot *find(const ml_ref *ref) { return find_below(ref, slots_n); }

/*
 * What operations take for slots_n. An interrupt makes it 0, so that the next operation finds no
 * tensor and only then, off the hot path, asks why.
 */
static _Atomic uint32_t limit = 1;
bool ml__interrupted;

void ml_interrupt(bool on) {
  uint32_t none = 0;
  if (on) atomic_store(&limit, 0);
  else atomic_compare_exchange_strong(&limit, &none, slots_n);
}

static ml_err missing(void) {
  ml__interrupted = atomic_load(&limit) == 0;
  if (!ml__interrupted)
    return ml_fail(ML_EHANDLE,
                   "a tensor that is no longer there (its scope ended, or it was freed)");
  ml_interrupt(false);
  return ml_fail(ML_EINTERRUPT, "interrupted!");
}

ml_err ml__get(ml_tensor **out, const ml_ref *ref) {
  slot *s = find_below(ref, atomic_load_explicit(&limit, memory_order_relaxed));
  *out = s ? s->tensor : NULL;
  return s ? ML_OK : missing();
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
    first_free = slots[i].next_free;
  } else {
    if (slots_n >= slots_room) {
      uint32_t room = slots_room ? 2 * slots_room : 256;
      slot *grown = ml__denied() ? NULL : realloc(slots, (size_t)room * sizeof *grown);
      if (!grown) {
        ml__unref(t);
        return ml_fail(ML_ENOMEM, "out of memory: %u tensor handles", slots_n);
      }
      slots = grown;
      slots_room = room;
    }
    i = slots_n++;
    slots[i].gen = 1;
    uint32_t before = i;
    atomic_compare_exchange_strong(&limit, &before, slots_n); /* unless there is an interrupt */
  }
  slot *s = &slots[i];
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

const ml_info *ml_tensor_info(const ml_ref *ref) {
  slot *s = find(ref);
  return s ? &s->tensor->info : NULL;
}

void ml_tensor_free(const ml_ref *ref) {
  slot *s = find(ref);
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
      slot *s = find(&l->refs[i]);
      if (s && s->scope == depth) ml_tensor_free(&l->refs[i]);
    }
    l->n = 0;
  }
}

ml_err ml_scope_keep(const ml_ref *ref, int d) {
  slot *s = find(ref);
  if (!s) return ml_fail(ML_EHANDLE, "keep: a tensor that is no longer there");
  if (d < 0 || d > depth) return ml_fail(ML_EARG, "keep: no scope at depth %d", d);
  if (s->scope <= d) return ML_END;
  if (d) ML_TRY(push(d, *ref));
  s->scope = d;
  return ML_OK;
}
