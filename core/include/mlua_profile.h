/*
 * mlua_profile.h: where the time goes: events with begin and end, and totals by name.
 *
 *     ml_profile_start(1000000);
 *     …                                  operations, backward, updates, loaders note themselves
 *     double id = ml_profile_begin(ML_EVENT_PART, "step"); … ml_profile_end(id);
 *     ml_profile *p = ml_profile_stop();
 *
 * While none is on, an operation tests one flag and no more.
 */
#ifndef MLUA_PROFILE_H
#define MLUA_PROFILE_H

#include "mlua.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

enum {
  ML_EVENT_OPERATION,
  ML_EVENT_BACKWARD, /* of the operation that is named */
  ML_EVENT_UPDATE,
  ML_EVENT_LAYER,
  ML_EVENT_PART,       /* of a program: a step, a test */
  ML_EVENT_WAIT,       /* the training thread waits, or does what others might */
  ML_EVENT_BACKGROUND, /* in a thread of its own */
  ML_EVENTS
};

typedef struct ml_event {
  int64_t begin, end; /* nanoseconds of ml_clock's clock */
  int32_t name;       /* place of its total */
  int16_t thread;     /* 0: the one that runs Lua */
  int8_t ndim, dtype; /* of the result, or the gradient that came; ndim -1: of none */
  int32_t shape[8];
} ml_event;

/* By name and kind. Own time is without events inside of the same sort: operations, backward and
 * updates are one, layers another, all else the third. */
typedef struct ml_total {
  const char *name;
  int32_t kind;
  int64_t calls, time, own, longest; /* nanoseconds */
} ml_total;

typedef struct ml_profile {
  int64_t begin, end;
  int64_t n_events, left_out; /* events kept, in the order of their ends; and those beyond */
  int64_t n_totals;
  const ml_total *total;
} ml_profile;

/* Notes from now on, at most so many events; totals count all. ML_ESTATE: one is on. */
ml_err ml_profile_start(int64_t most);
ml_profile *ml_profile_stop(void); /* ends what has begun; NULL: none was on */
bool ml_profile_on(void);
const ml_event *ml_profile_event(const ml_profile *p, int64_t i);
void ml_profile_free(ml_profile *p); /* NULL is fine */
const char *ml_profile_thread(int i);

/* Events of the thread that runs Lua. An end also ends what began after it and did not. 0: none is
 * on, or too many have begun; it may be ended. */
double ml_profile_begin(int kind, const char *name);
void ml_profile_end(double id);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
