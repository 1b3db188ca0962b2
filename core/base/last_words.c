/* last_words: a line that a signal leaves before it ends the process. Those that a scheduler sends
 * end it with the status that says: start it again. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base.h"

enum { STOPPED = 75 }; /* as an engine's (lua/mlua/engine.lua) */

static char words[256];
static volatile sig_atomic_t length;
static bool ended; /* by these signals, with words */
static const int ended_by[] = {SIGINT, SIGTERM, SIGUSR1};
enum { N = sizeof ended_by / sizeof *ended_by };
static struct sigaction before[N];

static void end(int signal_number) {
  if (length > 0 && write(STDERR_FILENO, words, (size_t)length) < 0) length = 0;
  if (signal_number != SIGINT) _exit(STOPPED);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void ml_last_words(const char *text) {
  length = 0; /* a signal in between says nothing */
  size_t n = text ? strnlen(text, sizeof words - 1) : 0;
  if (n) memcpy(words, text, n);
  length = (sig_atomic_t)n;
  if (ended == (text != NULL)) return; /* others may watch meanwhile (stop.c) */
  ended = text != NULL;
  struct sigaction action = {.sa_handler = end};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < N; i++) {
    if (ended) sigaction(ended_by[i], NULL, &before[i]);
    if (before[i].sa_handler == SIG_IGN) continue; /* as nohup wants it */
    sigaction(ended_by[i], ended ? &action : &before[i], NULL);
  }
}
