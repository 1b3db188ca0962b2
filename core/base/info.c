/* info: versions, and what this build and machine have. */
#include <stdio.h>
#include <sys/sysinfo.h>
#ifndef MLUA_VERSION
#define MLUA_VERSION "0.1.0"
#endif
#include "base.h"
#include "onednn.h"

const char *ml_version(void) { return MLUA_VERSION; }
int ml_abi(void) { return 1; }

const char *ml_build_info(void) {
  static char text[128];
  const char *isa = "";
#if defined(__x86_64__)
  __builtin_cpu_init();
  isa = __builtin_cpu_supports("amx-bf16")     ? ", AVX-512, AMX"
        : __builtin_cpu_supports("avx512bf16") ? ", AVX-512, BF16"
        : __builtin_cpu_supports("avx512f")    ? ", AVX-512"
        : __builtin_cpu_supports("avx2")       ? ", AVX2"
                                               : "";
#endif
  if (ml__open_onednn() < 0) {
    snprintf(text, sizeof text, "no oneDNN%s", isa);
    return text;
  }
  const dnnl_version_t *v = dnnl->version();
  snprintf(text, sizeof text, "oneDNN %d.%d.%d%s", v->major, v->minor, v->patch, isa);
  return text;
}

/* A control group's limit in a file, INT64_MAX where there is none. */
static int64_t limit_in(const char *path) {
  long long bytes = 0;
  FILE *f = fopen(path, "r");
  bool read = f && fscanf(f, "%lld", &bytes) == 1 && bytes > 0; /* the file may say "max" */
  if (f) fclose(f);
  return read ? bytes : INT64_MAX;
}

int64_t ml__machine_memory(void) {
  static int64_t known;
  struct sysinfo s;
  if (known) return known;
  int64_t total = INT64_MAX;
  if (sysinfo(&s) == 0) total = (int64_t)(((uint64_t)s.totalram + s.totalswap) * s.mem_unit);
  total = ML_MIN(total, limit_in("/sys/fs/cgroup/memory.max"));
  total = ML_MIN(total, limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  return known = total;
}
