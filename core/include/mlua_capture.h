/*
 * mlua_capture.h: a training step recorded once and repeated without Lua, checks or allocation.
 *
 *     ml_capture_begin();
 *     ml_capture_input(&i, &batch);      tensors whose values the next step brings
 *     …                                  operations, backward, updates, as ever: they run, too
 *     ml_capture_end(&program, &copy, &loss, 1);
 *     ml_replay(program, &next_batch, 1, &copy, 1);
 *
 * A program holds every tensor of its step, and repeats what was done to them, in order, in the
 * same memory. Inputs are copied into tensors of its own; results are copied out. All other tensors
 * (weights, states) are used where they are. What reads values into the host program is refused
 * while capturing: it would be read once only.
 */
#ifndef MLUA_CAPTURE_H
#define MLUA_CAPTURE_H

#include "mlua_grad.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

typedef struct ml_program ml_program;

/* Records from now on, until ml_capture_end or _abort; inside a scope. ML_ESTATE if it does. */
ml_err ml_capture_begin(void);
/* Takes t as an input: until the end its handle stands for the program's own copy. index counts
 * from 0; that of an earlier input where t is one already. ML_ESTATE if t is on the tape. */
ml_err ml_capture_input(int *index, const ml_ref *t);
/* The elements of t, made since the beginning, were written by the host: they are constants. */
ml_err ml_capture_constant(const ml_ref *t);
/* Ends the recording: the program, and a copy of each result, off the tape. */
ml_err ml_capture_end(ml_program **out, ml_ref *copies, const ml_ref *results, int n);
void ml_capture_abort(void);
bool ml_capturing(void);

/* Repeats a step. ML_END: these inputs, or the flags of a tensor in use, are not those of this
 * program, and nothing was done. ML_EHANDLE: a tensor in use was freed. */
ml_err ml_replay(ml_program *p, const ml_ref *inputs, int n_inputs, ml_ref *copies, int n);
void ml_program_free(ml_program *p);
int64_t ml_program_calls(const ml_program *p); /* how many calls it repeats */

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
