/* info: versions, and what this build and machine have. */
#include <stdio.h>
#ifndef MLUA_VERSION
#define MLUA_VERSION "0.1.0"
#endif
#include <dnnl.h>

#include "base.h"

const char *ml_version(void) { return MLUA_VERSION; }
int ml_abi(void) { return 1; }

const char *ml_build_info(void) {
  static char text[128];
  const char *isa = "";
#if defined(__x86_64__)
  __builtin_cpu_init();
  isa = __builtin_cpu_supports("avx512f") ? ", AVX-512"
        : __builtin_cpu_supports("avx2")  ? ", AVX2"
                                          : "";
#endif
  const dnnl_version_t *v = dnnl_version();
  snprintf(text, sizeof text, "oneDNN %d.%d.%d%s", v->major, v->minor, v->patch, isa);
  return text;
}
