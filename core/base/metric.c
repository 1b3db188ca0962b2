/*
 * metric: accuracy, AUC, log loss, normalised entropy and calibration of binary predictions.
 *
 * The exact AUC needs all scores in order. They are kept per class as 64-bit keys that order as the
 * numbers do, sorted by radix (O(n), no comparisons), then merged once:
 *
 *   auc = sum over ones of (zeros below + zeros equal / 2) / (ones * zeros)
 *
 * The sum is of half-integers and is kept as an integer of halves: exact below 2^32 rows, the most
 * taken.
 */
#include "mlua_metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

enum { DIGIT = 11, DIGITS = 6, RADIX = 1 << DIGIT }; /* 66 bits cover the 64 */

typedef struct {
  uint64_t *key;
  int64_t n, capacity;
} keys;

struct ml_binary {
  keys side[2]; /* scores of the zeros, of the ones */
  double threshold;
  double loss, predicted; /* sums */
  int64_t correct;
};

/* -- reading -- */

static double as_number(const void *data, int dtype, int64_t i) {
  switch (dtype) {
    case ML_F64: return ((const double *)data)[i];
    case ML_F32: return (double)((const float *)data)[i];
    case ML_I64: return (double)((const int64_t *)data)[i];
    case ML_I32: return (double)((const int32_t *)data)[i];
    default: return (double)((const uint8_t *)data)[i];
  }
}

/* Checks all rows before any is used; counts the ones. lo, hi: what a prediction may be. */
static ml_err check_rows(const void *score, int score_dtype, const void *label, int label_dtype,
                         int64_t n, double lo, double hi, int64_t *ones) {
  *ones = 0;
  if (n < 0 || (n && (!score || !label)))
    return ml_fail(ML_EARG, "rows: expected arrays of %lld, got NULL", (long long)n);
  if (score_dtype != ML_F32 && score_dtype != ML_F64)
    return ml_fail(ML_EDTYPE, "predictions: expected f32 or f64, got %s",
                   ml_dtype_name(score_dtype));
  if (label_dtype < 0 || label_dtype >= ML_DTYPES || label_dtype == ML_BF16 ||
      label_dtype == ML_F16)
    return ml_fail(ML_EDTYPE, "labels: got %s", ml_dtype_name(label_dtype));
  for (int64_t i = 0; i < n; i++) {
    double p = as_number(score, score_dtype, i), y = as_number(label, label_dtype, i);
    if (!(p >= lo && p <= hi))
      return ml_fail(ML_ERANGE, "prediction %lld is %g; expected %s", (long long)i + 1,
                     isnan(p) ? NAN : p, isinf(lo) ? "a number" : "0 to 1");
    if (y != 0 && y != 1)
      return ml_fail(ML_ERANGE, "label %lld is %g; expected 0 or 1", (long long)i + 1, y);
    *ones += y == 1;
  }
  return ML_OK;
}

/* -- keys: unsigned integers in the order of the doubles; -0 is 0 -- */

static uint64_t key_of(double x) {
  uint64_t bits;
  x += 0.0; /* -0 becomes 0 */
  memcpy(&bits, &x, sizeof bits);
  return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

static ml_err reserve(keys *k, int64_t more) {
  if (k->n + more <= k->capacity) return ML_OK;
  int64_t capacity = ML_MAX(k->n + more, k->capacity + k->capacity / 2);
  uint64_t *grown = realloc(k->key, (size_t)capacity * sizeof *grown);
  if (!grown) return ml_fail(ML_ENOMEM, "metric: out of memory for %lld rows", (long long)capacity);
  k->key = grown;
  k->capacity = capacity;
  return ML_OK;
}

static ml_err gather(keys side[2], const void *score, int score_dtype, const void *label,
                     int label_dtype, int64_t n, int64_t ones) {
  ML_TRY(reserve(&side[0], n - ones));
  ML_TRY(reserve(&side[1], ones));
  for (int64_t i = 0; i < n; i++) {
    keys *k = &side[as_number(label, label_dtype, i) == 1];
    k->key[k->n++] = key_of(as_number(score, score_dtype, i));
  }
  return ML_OK;
}

/* Least digit first; a digit that all keys share (as the low ones of f32 scores) is passed over. */
static void radix_sort(uint64_t *key, uint64_t *other, int64_t n) {
  static _Thread_local uint32_t count[DIGITS][RADIX];
  uint64_t *from = key, *to = other;
  memset(count, 0, sizeof count);
  for (int64_t i = 0; i < n; i++)
    for (int d = 0; d < DIGITS; d++) count[d][key[i] >> d * DIGIT & (RADIX - 1)]++;
  for (int d = 0; d < DIGITS && n; d++) {
    uint32_t *start = count[d], sum = 0;
    if (start[key[0] >> d * DIGIT & (RADIX - 1)] == n) continue;
    for (int b = 0; b < RADIX; b++) {
      uint32_t here = start[b];
      start[b] = sum;
      sum += here;
    }
    for (int64_t i = 0; i < n; i++) to[start[from[i] >> d * DIGIT & (RADIX - 1)]++] = from[i];
    uint64_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != key) memcpy(key, from, (size_t)n * sizeof *key);
}

static ml_err area(double *out, keys side[2]) {
  const keys *zeros = &side[0], *ones = &side[1];
  *out = NAN;
  if (!zeros->n || !ones->n) return ML_OK;
  if (zeros->n + ones->n > UINT32_MAX) return ml_fail(ML_EARG, "metric: more than 2^32 rows");
  int64_t most = ML_MAX(zeros->n, ones->n);
  uint64_t *other = malloc((size_t)most * sizeof *other);
  if (!other) return ml_fail(ML_ENOMEM, "metric: out of memory for %lld rows", (long long)most);
  for (int s = 0; s < 2; s++) radix_sort(side[s].key, other, side[s].n);
  free(other);
  uint64_t halves = 0;
  for (int64_t i = 0, below = 0, upto = 0; i < ones->n; i++) {
    uint64_t x = ones->key[i];
    while (below < zeros->n && zeros->key[below] < x) below++;
    upto = ML_MAX(upto, below);
    while (upto < zeros->n && zeros->key[upto] == x) upto++;
    halves += (uint64_t)(below + upto);
  }
  *out = (double)halves / 2 / (double)zeros->n / (double)ones->n;
  return ML_OK;
}

/* -- public -- */

ml_err ml_auc(double *out, const void *score, int score_dtype, const void *label, int label_dtype,
              int64_t n) {
  int64_t ones;
  keys side[2] = {{0}};
  ML_TRY(check_rows(score, score_dtype, label, label_dtype, n, -INFINITY, INFINITY, &ones));
  ml_err code = gather(side, score, score_dtype, label, label_dtype, n, ones);
  if (!code) code = area(out, side);
  free(side[0].key);
  free(side[1].key);
  return code;
}

ml_err ml_binary_new(ml_binary **out, double threshold) {
  *out = NULL;
  if (isnan(threshold)) return ml_fail(ML_EARG, "threshold: expected a number, got nan");
  ml_binary *m = calloc(1, sizeof *m);
  if (!m) return ml_fail(ML_ENOMEM, "metric: out of memory");
  m->threshold = threshold;
  *out = m;
  return ML_OK;
}

void ml_binary_clear(ml_binary *m) {
  m->side[0].n = m->side[1].n = m->correct = 0;
  m->loss = m->predicted = 0;
}

void ml_binary_free(ml_binary *m) {
  if (!m) return;
  free(m->side[0].key);
  free(m->side[1].key);
  free(m);
}

ml_err ml_binary_add(ml_binary *m, const void *prediction, int prediction_dtype, const void *label,
                     int label_dtype, int64_t n) {
  int64_t ones;
  ML_TRY(check_rows(prediction, prediction_dtype, label, label_dtype, n, 0, 1, &ones));
  ML_TRY(gather(m->side, prediction, prediction_dtype, label, label_dtype, n, ones));
  double eps = prediction_dtype == ML_F32 ? 0x1p-23 : 0x1p-52, loss = 0, predicted = 0;
  for (int64_t i = 0; i < n; i++) {
    double p = as_number(prediction, prediction_dtype, i);
    bool one = as_number(label, label_dtype, i) == 1;
    double right = ML_MIN(ML_MAX(p, eps), 1 - eps); /* the probability given to what came */
    loss -= one ? log(right) : log1p(-right);
    predicted += p;
    m->correct += (p >= m->threshold) == one;
  }
  m->loss += loss; /* sums of batches: n rows in any number of batches lose few digits */
  m->predicted += predicted;
  return ML_OK;
}

ml_err ml_binary_get(ml_binary *m, ml_binary_result *out, bool auc) {
  int64_t ones = m->side[1].n, count = m->side[0].n + ones;
  double n = (double)count, q = (double)ones / n;    /* 0 / 0 is NaN, as documented */
  double base = -(q * log(q) + (1 - q) * log1p(-q)); /* NaN of one class: 0 * -inf */
  out->count = count;
  out->accuracy = (double)m->correct / n;
  out->log_loss = m->loss / n;
  out->normalised_entropy = out->log_loss / base;
  out->predicted = m->predicted / n;
  out->observed = q;
  out->calibration = ones ? out->predicted / q : NAN;
  out->auc = NAN;
  return auc ? area(&out->auc, m->side) : ML_OK;
}
