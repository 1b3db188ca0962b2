/*
 * profile.h: how C code notes what it does for a profile (mlua_profile.h).
 *
 *     ML_SPAN(span, ML_EVENT_OPERATION, "matmul");     to the end of the block, however it is left
 *     …
 *     ml__span_shape(&span, &y->info);
 */
#ifndef MLUA_PROFILE_INTERNAL_H
#define MLUA_PROFILE_INTERNAL_H

#include "base.h"
#include "mlua_profile.h"

extern bool ml__profiling; /* by atomic means: loaders ask, too */

typedef struct ml__span {
  int64_t begin; /* 0: no profile is on */
  int64_t inner; /* nanoseconds of events before this one, inside the same */
  const char *name;
  int32_t kind;
  uint32_t run;
  int8_t ndim, dtype;
  int32_t shape[ML_MAX_DIM];
} ml__span;

void ml__span_open(ml__span *s, int kind, const char *name);
void ml__span_close(const ml__span *s);
void ml__span_look(ml__span *s, const ml_info *info);

static inline void ml__span_begin(ml__span *s, int kind, const char *name) {
  s->begin = 0;
  if (__builtin_expect(__atomic_load_n(&ml__profiling, __ATOMIC_RELAXED), 0))
    ml__span_open(s, kind, name);
}

/* Notes the shape of what the event is about. */
static inline void ml__span_shape(ml__span *s, const ml_info *info) {
  if (__builtin_expect(s->begin != 0, 0)) ml__span_look(s, info);
}

static inline void ml__span_end(ml__span *s) {
  if (__builtin_expect(s->begin != 0, 0)) ml__span_close(s);
}

#define ML_SPAN(span, kind, name)                           \
  ml__span span __attribute__((__cleanup__(ml__span_end))); \
  ml__span_begin(&span, kind, name)

/* Names the calling thread, with the lowest number that no living thread of that name has; it says
 * when it ends. One that does neither is taken for the one that runs Lua. */
void ml__thread_begin(const char *name);
void ml__thread_end(void);

#endif
