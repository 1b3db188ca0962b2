/* fault: counts the system calls of core/store and makes a chosen one fail. */
#define _GNU_SOURCE
#include "fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const names[ML_FAULT_OPS] = {"any",   "open",   "write", "resize",
                                                "fsync", "rename", "map"};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_llong calls[ML_FAULT_OPS];
static atomic_llong target; /* 0: nothing is to fail */
static atomic_int target_op, target_err;

static void arm(int op, int64_t n, int err) {
  atomic_store(&target, 0);
  for (int i = 0; i < ML_FAULT_OPS; i++) atomic_store(&calls[i], 0);
  if (op < 0 || op >= ML_FAULT_OPS) return;
  atomic_store(&target_op, op);
  atomic_store(&target_err, err);
  atomic_store(&target, n);
}

static int code_of(const char *word) {
  if (!strcmp(word, "KILL")) return ML_FAULT_KILL;
  return strcmp(word, "SLOW") ? atoi(word) : ML_FAULT_SLOW;
}

static void from_environment(void) {
  const char *text = getenv("MLUA_STORE_FAULT");
  char op[16], err[16];
  long long n;
  if (!text || sscanf(text, "%15[a-z]:%lld:%15[A-Z0-9]", op, &n, err) != 3) return;
  for (int i = 0; i < ML_FAULT_OPS; i++)
    if (!strcmp(op, names[i])) arm(i, n, code_of(err));
}

void ml_store_fail_at(int op, int64_t n, int err) {
  pthread_once(&once, from_environment); /* or it would overwrite this later */
  arm(op, n, err);
}

int64_t ml_store_calls(int op) {
  return op >= 0 && op < ML_FAULT_OPS ? (int64_t)atomic_load(&calls[op]) : 0;
}

int ml__fault(int op) {
  pthread_once(&once, from_environment);
  long long of_op = atomic_fetch_add(&calls[op], 1) + 1;
  long long of_any = atomic_fetch_add(&calls[ML_FAULT_ANY], 1) + 1;
  long long n = atomic_load(&target);
  if (!n) return 0;
  int on = atomic_load(&target_op);
  if ((on == ML_FAULT_ANY ? of_any : on == op ? of_op : 0) != n) return 0;
  int err = atomic_load(&target_err);
  if (err == ML_FAULT_KILL) raise(SIGKILL);
  if (err == ML_FAULT_SLOW) {
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    return 0;
  }
  return err > 0 ? err : -1;
}
