/* error: one message per thread. */
#include <stdarg.h>
#include <stdio.h>

#include "base.h"

static _Thread_local char message[1024];

const char *ml_error(void) { return message; }

ml_err ml_fail(ml_err code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(message, sizeof message, fmt, ap);
  va_end(ap);
  return code;
}
