/* onednn: opens oneDNN's library at its first use. */
#include "onednn.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#define TEXT_OF(x) #x
#define NAME(major) "libdnnl.so." TEXT_OF(major)

ml_onednn ml__dnnl;

static int (*max_threads)(void);
static void (*set_threads)(int);
static char problem[256]; /* empty: it is there */

static void *library;

static void find(const char *name, void *slot) {
  void *f = dlsym(library, name); /* or in the libraries that it needs */
  if (!f && !*problem) snprintf(problem, sizeof problem, "%s", dlerror());
  *(void **)slot = f;
}

static void open_library(void) {
  library = dlopen(NAME(DNNL_VERSION_MAJOR), RTLD_LAZY | RTLD_LOCAL);
  if (!library) {
    snprintf(problem, sizeof problem, "%s", dlerror());
    return;
  }
#define FIND(name) find("dnnl_" #name, &ml__dnnl.name);
  ML_ONEDNN(FIND)
  find("omp_get_max_threads", &max_threads);
  find("omp_set_num_threads", &set_threads);
  if (*problem) return;
  int threads = ml__onednn_alone();
  dnnl_status_t s = ml__dnnl.engine_create(&ml__dnnl.engine, dnnl_cpu, 0);
  if (!s) s = ml__dnnl.stream_create(&ml__dnnl.stream, ml__dnnl.engine, dnnl_stream_default_flags);
  if (s) snprintf(problem, sizeof problem, "no engine, status %d", (int)s);
  ml__onednn_done(threads);
}

ml_err ml__open_onednn(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return *problem ? ml_fail(ML_ESTATE, "oneDNN: %s", problem) : ML_OK;
}

int ml__onednn_alone(void) {
  int threads = max_threads();
  set_threads(1);
  return threads;
}

void ml__onednn_done(int threads) { set_threads(threads); }
