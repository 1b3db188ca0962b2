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

enum {
  ML_UPDATE_SGD = 1,
  ML_UPDATE_ADAGRAD,
  ML_UPDATE_ROWWISE_ADAGRAD,
  ML_UPDATE_MOMENTUM,
  ML_UPDATE_ADAM,
  ML_UPDATE_ADAMW,
  ML_UPDATE_RMSPROP,
  ML_UPDATE_LION
};

/*
 * One parameter's update by its gradient g:
 *   SGD               p -= lr g                                       state: none
 *   Adagrad           s += g^2;               p -= lr g / (sqrt(s) + eps)   state: p's shape
 *   row-wise Adagrad  s[row] += mean(g[row]^2); p[row] -= lr g / (sqrt(s[row]) + eps) state: [rows]
 * Rows of an embedding table that no sample touched are left alone.
 * Duchi, Hazan, Singer 2011; row-wise: facebookresearch/dlrm, optim/rwsadagrad.py.
 *
 * The others update every element. Their states have p's shape; one in brackets may be left out (a
 * ref of slot 0), which leaves out what it is for. wd is weight_decay, t what step counts. All but
 * AdamW and Lion begin with g += wd p; those two with p *= 1 - lr wd.
 *   momentum  m = beta1 m + (1 - dampening) g, m = g where t = 1; p -= lr m, or with Nesterov
 *             lr (g + beta1 m)                                        [state: m]; [step]
 *   Adam, AdamW  m += (1 - beta1)(g - m); v += (1 - beta2)(g^2 - v); x = max(x, v);
 *             p -= lr m / (1 - beta1^t) / (sqrt(x / (1 - beta2^t)) + eps), x = v where it is left
 *             out                                      state: m; state2: v; [state3: x]; step
 *   RMSprop   s += (1 - beta2)(g^2 - s); a += (1 - beta2)(g - a); d = sqrt(s - a^2) + eps;
 *             m = beta1 m + g / d; p -= lr m          state: s; [state2: a]; [state3: m]
 *   Lion      p -= lr sign(beta1 m + (1 - beta1) g); m += (1 - beta2)(g - m)      state: m
 * Kingma & Ba 2015; Reddi et al. 2018 (x); Loshchilov & Hutter 2019; Tieleman & Hinton 2012;
 * Graves 2013 (a); Chen et al. 2023, arXiv:2302.06675.
 */
typedef struct ml_update {
  ml_ref param, state, state2, state3;
  ml_ref step; /* i64, one element: the updates so far */
  int32_t kind;
  bool nesterov;
  double lr, eps, beta1, beta2, dampening, weight_decay;
} ml_update;

ml_err ml_set_requires_grad(const ml_ref *t, bool on); /* floating-point leaves only */
bool ml_grad_enabled(void);
void ml_set_grad_enabled(bool on);
/* The next operation's result goes into t's memory, of its shape and dtype, contiguous; nothing is
 * recorded. NULL: a new tensor again. */
ml_err ml_into(const ml_ref *t);
ml_err ml_detach(ml_ref *out, const ml_ref *t); /* the same elements, off the tape */

/* loss: one element, or any shape with grad of that shape. After a failure part of the gradients,
 * or of the updates, may have been delivered. */
ml_err ml_backward(const ml_ref *loss, const ml_ref *grad);
ml_err ml_backward_update(const ml_ref *loss, const ml_update *updates, int n);

/*
 * Gradients that the caller computes. Where a backward (or ml_gradients) comes to such an operation
 * it returns ML_CALL: ml_backward_call has the operation's id and the gradient of its output,
 * ml_backward_saved what was saved with it, and ml_backward_resume takes the gradients by its
 * inputs (slot 0: none) and goes on, to ML_OK, the next ML_CALL, or an error; with failed it gives
 * up.
 */
ml_err ml_backward_call(int64_t *id, ml_ref *g);
ml_err ml_backward_saved(ml_ref *out, int i); /* the i-th tensor of the record, from 0, off tape */
ml_err ml_backward_resume(const ml_ref *gin, int n, bool failed);
/* out: the result, recorded as computed from in[0, n), of which the last n_saved are only kept. */
ml_err ml_call_record(ml_ref *out, const ml_ref *result, const ml_ref *in, int n, int n_saved,
                      const char *name, int64_t id);
/* t's gradient goes through the caller, as one of an operation of one input. */
ml_err ml_call_hook(const ml_ref *t, int64_t id);
/* An id whose operation is no longer there, each once; 0: no more. */
int64_t ml_call_forgotten(void);

/* The gradients of the loss by tensors of[0, n) alone, leaves or computed; those of leaves are left
 * as they are. With graph what is computed is recorded. Then ml_gradients_take: slot 0 where the
 * loss does not depend on the tensor. */
ml_err ml_gradients(const ml_ref *loss, const ml_ref *grad, const ml_ref *of, int n, bool graph);
ml_err ml_gradients_take(ml_ref *out, int n);
ml_err ml_set_grad(const ml_ref *t, const ml_ref *grad); /* a copy of it, in place of t's own */

/* Updates by the gradients that the parameters hold; those without are left. */
ml_err ml_apply_updates(const ml_update *updates, int n);

/* The p-norm of all gradients as one vector, infinity included; those that are not there count as
 * none. Sums in double, the same for any number of threads. */
ml_err ml_grad_norm(double *out, const ml_ref *params, int n, double p);
ml_err ml_scale_grads(const ml_ref *params, int n, double factor);
ml_err ml_clamp_grads(const ml_ref *params, int n, double limit); /* into [-limit, limit] */

/* average += weight (t - average); and t and average exchanged. Of one shape and dtype, contiguous,
 * f32 or f64. */
ml_err ml_average(const ml_ref *average, const ml_ref *t, double weight);
ml_err ml_swap(const ml_ref *average, const ml_ref *t);

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
