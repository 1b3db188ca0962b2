/* stop: signals that ask a program to come to an end in good order. */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>

#include "base.h"

static const int watched[] = {SIGTERM, SIGUSR1, SIGINT};
enum { N = sizeof watched / sizeof *watched };
static struct sigaction before[N];
static volatile sig_atomic_t seen, interrupts;
static int depth;

static void note(int number) {
  if (number == SIGINT && ++interrupts > 1) {
    signal(number, SIG_DFL);
    raise(number);
  }
  if (!seen) seen = number;
}

void ml_stop_watch(bool on) {
  if (on && depth++ == 0) {
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    seen = interrupts = 0;
    for (int i = 0; i < N; i++) {
      sigaction(watched[i], NULL, &before[i]);
      if (before[i].sa_handler != SIG_IGN) sigaction(watched[i], &action, NULL);
    }
  } else if (!on && depth > 0 && --depth == 0) {
    for (int i = 0; i < N; i++) sigaction(watched[i], &before[i], NULL);
  }
}

int ml_stop_signal(void) { return seen; }
