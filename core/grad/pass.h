/* pass.h: a backward that runs, as backward.c and call.c share it. */
#ifndef MLUA_PASS_H
#define MLUA_PASS_H

#include "grad/tape.h"

typedef struct ml_nodes {
  ml_node **at;
  int64_t n, room;
} ml_nodes;

/* What a backward was asked for: the gradient by a leaf, or by a node's output. */
typedef struct ml_answer {
  ml_tensor *g; /* so far, or NULL */
  ml_node *node;
  ml_tensor *leaf;
  int32_t before; /* what `wanted` was: of a backward around this one */
  int32_t same;   /* the place, from 1, of an earlier question by the same; or 0 */
} ml_answer;

/* One inside another: an operation's gradient in Lua may run a backward, too. */
typedef struct ml_pass {
  ml_nodes order; /* kept between calls: no allocation in a steady loop */
  int64_t at;
  ml_tensor *loss;
  const ml_update *updates;
  int n;
  bool was_on;
  struct ml_program *recording;
  bool graph;       /* what it computes is recorded, too */
  ml_answer *asked; /* ml_gradients: the answers, by ml_node's and leaf's `wanted` */
  const ml_ref *of; /* what they are of, while it begins */
  int n_of;
  ml_tensor **claimed; /* by `updates`: the leaf updated with its gradient, or NULL; kept */
  int room;
  double event; /* of a gradient that the caller computes (mlua_profile.h) */
} ml_pass;

/* Runs a backward, how: updates and n, or asked, of and n_of. ML_CALL: it waits (call.c). */
ml_err ml__pass(ml_tensor *loss, ml_tensor *g, const ml_pass *how, bool graph);
/* Goes on with the innermost one, by the gradients that its node has in gin; or gives up. */
ml_err ml__pass_go_on(ml_node *node, ml_err e);
ml_pass *ml__pass_now(void);  /* the innermost, or NULL */
ml_pass *ml__pass_last(void); /* the one that ended last at this depth, for its answers; or NULL */
void ml__pass_pause(void);    /* while the caller computes a gradient */
void ml__pass_forget(ml_pass *p); /* answers that nobody took */

#endif
