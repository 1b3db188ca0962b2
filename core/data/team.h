/* team.h: threads for one job, blocked between its steps. */
#ifndef MLUA_TEAM_H
#define MLUA_TEAM_H

#include "../base/base.h"

typedef struct ml__team ml__team;
/* Does item i of a step. Items are claimed in order, by any thread. */
typedef ml_err (*ml__item)(void *ctx, int64_t i);

/* The calling thread and up to threads - 1 others; fewer if the system has no more. */
ml_err ml__team_new(ml__team **out, int threads);
void ml__team_free(ml__team *team); /* NULL is fine */
/*
 * Does items 0..n-1 and waits for all. Where items fail, the code and the message are those of the
 * lowest one; items above a failed one may be left out.
 */
ml_err ml__team_run(ml__team *team, int64_t n, ml__item item, void *ctx);

#endif
