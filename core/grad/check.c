/* check: the messages of generated argument checks. Arguments are counted from 1, as Lua does. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "grad/tape.h"

static int put(char *text, size_t room, int at, const char *s, size_t n) {
  if ((size_t)at + n + 1 < room) {
    memcpy(text + at, s, n);
    text[at + (int)n] = 0;
    return at + (int)n;
  }
  return at;
}

/* A pattern such as "B,D" with the sizes that are bound by now; the others as '*'. */
static void expected(char *text, size_t room, const char *pattern, const ml_symbol *symbols) {
  int at = put(text, room, 0, "[", 1);
  for (const char *p = pattern; *p;) {
    size_t n = strcspn(p, ",");
    char one[32];
    snprintf(one, sizeof one, "%.*s", (int)ML_MIN(n, sizeof one - 1), p);
    for (const ml_symbol *s = symbols; isalpha((unsigned char)p[0]) && s->name; s++) {
      if (strlen(s->name) != n || strncmp(s->name, p, n) != 0) continue;
      if (s->size >= 0) snprintf(one, sizeof one, "%lld", (long long)s->size);
      else snprintf(one, sizeof one, "*");
    }
    at = put(text, room, at, one, strlen(one));
    p += n;
    if (*p == ',') {
      at = put(text, room, at, ", ", 2);
      p++;
    }
  }
  put(text, room, at, "]", 1);
}

static ml_err bad(ml_err code, const char *op, int i, const char *name, const char *want,
                  const char *got) {
  return ml_fail(code, "bad argument #%d to '%s' (%s: expected %s, got %s)", i, op, name, want,
                 got);
}

ml_err ml__bad_shape(const char *op, int i, const char *name, const char *pattern,
                     const ml_symbol *symbols, const ml_tensor *t) {
  char want[256], got[ML_SHAPE_TEXT];
  expected(want, sizeof want, pattern, symbols);
  return bad(ML_ESHAPE, op, i, name, want, ml__shape_text(got, t->info.ndim, t->info.shape));
}

ml_err ml__bad_dtype(const char *op, int i, const char *name, uint32_t mask, const ml_tensor *t) {
  char want[96];
  int at = 0;
  want[0] = 0;
  for (int d = 0; d < ML_DTYPES; d++) {
    if (!(mask & 1u << d)) continue;
    const char *s = ml_dtype_name(d);
    if (at) at = put(want, sizeof want, at, " or ", 4);
    at = put(want, sizeof want, at, s, strlen(s));
  }
  return bad(ML_EDTYPE, op, i, name, want, ml_dtype_name(t->info.dtype));
}

ml_err ml__bad_handle(const char *op, int i, const char *name) {
  if (ml__interrupted) return ML_EINTERRUPT; /* with its message */
  return bad(ML_EHANDLE, op, i, name, "a tensor",
             "one that is no longer there (its scope ended, or it was freed)");
}
