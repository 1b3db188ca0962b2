/*
 * lapack: opens LAPACKE (Debian's liblapacke, on OpenBLAS or the reference BLAS) at its first use:
 * no cost at start, nothing to link, and all else works where it is not installed.
 *
 * OpenBLAS is held to one thread: a second pool that spins would take the cores from ours.
 */
#include "op/lapack.h"

#include <dlfcn.h>

static ml_lapack routines;
static bool ready;

static void *open_library(void) {
  void *lib = dlopen("liblapacke.so.3", RTLD_NOW | RTLD_LOCAL);
  return lib ? lib : dlopen("liblapacke.so", RTLD_NOW | RTLD_LOCAL);
}

static bool find(void *lib) {
  const struct {
    void *to;
    const char *name;
  } all[] = {
      {&routines.potrf, "LAPACKE_dpotrf"}, {&routines.getrf, "LAPACKE_dgetrf"},
      {&routines.getrs, "LAPACKE_dgetrs"}, {&routines.trtrs, "LAPACKE_dtrtrs"},
      {&routines.geqrf, "LAPACKE_dgeqrf"}, {&routines.orgqr, "LAPACKE_dorgqr"},
      {&routines.syevd, "LAPACKE_dsyevd"}, {&routines.gesdd, "LAPACKE_dgesdd"},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    void *f = dlsym(lib, all[i].name);
    if (!f) return false;
    *(void **)all[i].to = f;
  }
  return true;
}

ml_err ml__lapack(const ml_lapack **out, const char *op) {
  *out = &routines;
  if (ready) return ML_OK;
  void *lib = open_library();
  if (!lib || !find(lib))
    return ml_fail(ML_ESTATE,
                   "%s needs LAPACK, which is not installed (apt-get install liblapacke "
                   "libopenblas0-serial)",
                   op);
  void (*one_thread)(int);
  *(void **)&one_thread = dlsym(lib, "openblas_set_num_threads");
  if (one_thread) one_thread(1);
  ready = true;
  return ML_OK;
}
