/* error: one message per thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base.h"

static _Thread_local char message[1024];

const char *ml_error(void) { return message; }

ml_err ml_fail(ml_err code, const char *fmt, ...) {
  char text[sizeof message]; /* apart: an argument may be ml_error() itself */
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  memcpy(message, text, strlen(text) + 1);
  return code;
}
