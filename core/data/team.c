/* team: threads for one job. They sleep on a condition between steps; nothing spins. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/profile.h"
#include "team.h"

struct ml__team {
  pthread_mutex_t lock;
  pthread_cond_t begin, done;
  pthread_t *thread;
  int threads; /* started, besides the calling one */
  int busy;    /* still at the current step */
  int64_t step;
  bool stop;
  /* the step */
  ml__item item;
  void *ctx;
  int64_t next, failed; /* failed: the lowest item that did, or their number */
  ml_err err;
  char message[1024];
};

static int64_t claim(ml__team *team) {
  pthread_mutex_lock(&team->lock);
  int64_t i = team->next < team->failed ? team->next++ : -1;
  pthread_mutex_unlock(&team->lock);
  return i;
}

static void work(ml__team *team, int kind) {
  for (int64_t i; (i = claim(team)) >= 0;) {
    ML_SPAN(span, kind, "data: prepare");
    ml_err err = team->item(team->ctx, i);
    if (err >= 0) continue;
    pthread_mutex_lock(&team->lock);
    if (i < team->failed) {
      team->failed = i;
      team->err = err;
      snprintf(team->message, sizeof team->message, "%s", ml_error());
    }
    pthread_mutex_unlock(&team->lock);
  }
}

static void *member(void *arg) {
  ml__team *team = arg;
  int64_t step = 0;
  ml__thread_begin("data");
  pthread_mutex_lock(&team->lock);
  for (;;) {
    while (team->step == step && !team->stop) pthread_cond_wait(&team->begin, &team->lock);
    if (team->stop) break;
    step = team->step;
    pthread_mutex_unlock(&team->lock);
    work(team, ML_EVENT_BACKGROUND);
    pthread_mutex_lock(&team->lock);
    if (--team->busy == 0) pthread_cond_signal(&team->done);
  }
  pthread_mutex_unlock(&team->lock);
  ml__thread_end();
  return NULL;
}

ml_err ml__team_new(ml__team **out, int threads) {
  *out = NULL;
  ml__team *team = calloc(1, sizeof *team);
  if (!team) return ml_fail(ML_ENOMEM, "threads: out of memory");
  pthread_mutex_init(&team->lock, NULL);
  pthread_cond_init(&team->begin, NULL);
  pthread_cond_init(&team->done, NULL);
  team->thread = calloc((size_t)ML_MAX(1, threads), sizeof *team->thread);
  if (!team->thread) return ml__team_free(team), ml_fail(ML_ENOMEM, "threads: out of memory");
  sigset_t all, old; /* signals belong to the thread that called us */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  while (team->threads < threads - 1 &&
         !pthread_create(&team->thread[team->threads], NULL, member, team))
    team->threads++;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  *out = team;
  return ML_OK;
}

void ml__team_free(ml__team *team) {
  if (!team) return;
  pthread_mutex_lock(&team->lock);
  team->stop = true;
  pthread_cond_broadcast(&team->begin);
  pthread_mutex_unlock(&team->lock);
  for (int i = 0; i < team->threads; i++) pthread_join(team->thread[i], NULL);
  pthread_cond_destroy(&team->done);
  pthread_cond_destroy(&team->begin);
  pthread_mutex_destroy(&team->lock);
  free(team->thread);
  free(team);
}

ml_err ml__team_run(ml__team *team, int64_t n, ml__item item, void *ctx) {
  pthread_mutex_lock(&team->lock);
  team->item = item;
  team->ctx = ctx;
  team->failed = n;
  team->next = 0;
  team->err = ML_OK;
  team->busy = team->threads;
  team->step++;
  if (team->threads) pthread_cond_broadcast(&team->begin);
  pthread_mutex_unlock(&team->lock);
  work(team, ML_EVENT_WAIT);
  pthread_mutex_lock(&team->lock);
  while (team->busy) pthread_cond_wait(&team->done, &team->lock);
  ml_err err = team->err;
  pthread_mutex_unlock(&team->lock);
  return err ? ml_fail(err, "%s", team->message) : ML_OK;
}
