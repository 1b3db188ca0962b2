/*
 * mlua_grad.h: the tape, backward, and optimiser updates.
 *
 * An operation on a tensor that requires a gradient records itself. ml_backward walks the record
 * and adds to the gradients of the leaves; ml_backward_update walks it and updates parameters at
 * once: where a parameter is used by one operation that knows how (linear, embedding bags), its
 * gradient is never stored.
 */
#ifndef MLUA_GRAD_H
#define MLUA_GRAD_H

#include "mlua.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

enum { ML_UPDATE_SGD = 1, ML_UPDATE_ADAGRAD, ML_UPDATE_ROWWISE_ADAGRAD };

/*
 * One parameter's update by its gradient g:
 *   SGD               p -= lr g                                       state: none
 *   Adagrad           s += g^2;               p -= lr g / (sqrt(s) + eps)   state: p's shape
 *   row-wise Adagrad  s[row] += mean(g[row]^2); p[row] -= lr g / (sqrt(s[row]) + eps) state: [rows]
 * Rows of an embedding table that no sample touched are left alone.
 * Duchi, Hazan, Singer 2011; row-wise: facebookresearch/dlrm, optim/rwsadagrad.py.
 */
typedef struct ml_update {
  ml_ref param, state;
  int32_t kind;
  double lr, eps;
} ml_update;

ml_err ml_set_requires_grad(const ml_ref *t, bool on); /* leaves only, f32 or f64 */
bool ml_grad_enabled(void);
void ml_set_grad_enabled(bool on);
ml_err ml_detach(ml_ref *out, const ml_ref *t); /* the same elements, off the tape */

/* loss: one element, or any shape with grad of that shape. After a failure part of the gradients,
 * or of the updates, may have been delivered. */
ml_err ml_backward(const ml_ref *loss, const ml_ref *grad);
ml_err ml_backward_update(const ml_ref *loss, const ml_update *updates, int n);
/* Updates by the gradients that the parameters hold; those without are left. */
ml_err ml_apply_updates(const ml_update *updates, int n);

ml_err ml_grad(ml_ref *out,
               const ml_ref *t); /* a handle on t's gradient; ML_END if there is none */
ml_err ml_clear_grad(const ml_ref *t);

/* All operations by their references: slow, and the truth that the others are tested against. */
bool ml_use_reference(bool on); /* the setting before */

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
