/* log.h: how C code says something; see log.c. */
#ifndef MLUA_LOG_H
#define MLUA_LOG_H

#include "base.h"

/* Whether a line of this level would be kept: before what is costly to say. */
bool ml__log_wants(int level);

/* A line, of a level (ML_LOG_…) and a module ("data.loader"). Any thread; never fails. */
void ml__log(int level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What this thread is called in its lines: "worker 2". */
void ml__log_name(const char *name, int number);

#endif
