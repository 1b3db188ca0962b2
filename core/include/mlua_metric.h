/*
 * mlua_metric.h: how good binary predictions are. Plain C only (see mlua.h).
 *
 * With n rows, predictions p_i in [0, 1] and labels y_i of 0 or 1:
 *
 *   accuracy            share of rows with (p_i >= threshold) == y_i
 *   auc                 the share of pairs of a 1 and a 0 with p_1 > p_0, a tie counting a half;
 *                       exact: Mann & Whitney 1947; ties by midranks
 *   log_loss            -mean(y_i ln p_i + (1 - y_i) ln(1 - p_i)), p_i kept within [eps, 1 - eps],
 *                       eps = 2^-23 for f32 predictions, 2^-52 for f64
 *   normalised_entropy  log_loss / -(q ln q + (1 - q) ln(1 - q)), q = mean(y_i): 1 is no better
 *                       than the base rate (He et al. 2014)
 *   calibration         mean(p_i) / mean(y_i): 1 is right on average, above it too high
 *
 * What is not defined is NaN: everything of no rows; auc and normalised_entropy of one class alone;
 * calibration without a 1.
 */
#ifndef MLUA_METRIC_H
#define MLUA_METRIC_H

#include "mlua.h"

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

typedef struct ml_binary ml_binary;

typedef struct ml_binary_result {
  double auc, log_loss, accuracy, normalised_entropy, calibration;
  double predicted, observed; /* the means */
  int64_t count;
} ml_binary_result;

/* Gathers rows batch by batch; 8 bytes a row. */
ml_err ml_binary_new(ml_binary **out, double threshold);
/* n contiguous predictions (f32 or f64) and labels (any dtype but bf16 and f16). A prediction that
 * is NaN or outside [0, 1] or a label not 0 or 1 is ML_ERANGE, and none of the n is added. */
ml_err ml_binary_add(ml_binary *m, const void *prediction, int prediction_dtype, const void *label,
                     int label_dtype, int64_t n);
/* May be asked at any time; what was added stays. Without `auc`, which sorts, that is NaN. */
ml_err ml_binary_get(ml_binary *m, ml_binary_result *out, bool auc);
void ml_binary_clear(ml_binary *m);
void ml_binary_free(ml_binary *m); /* NULL is fine */

/* The AUC alone, of scores that need not be probabilities (logits, infinities; not NaN). */
ml_err ml_auc(double *out, const void *score, int score_dtype, const void *label, int label_dtype,
              int64_t n);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop
#endif
