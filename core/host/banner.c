/* banner: what this program and machine are, on one line, without opening libmlua. */
#define _GNU_SOURCE
#include <luajit.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"

#define HINT "(Ctrl-C interrupts, Ctrl-D leaves)"

/* Processors that this process may use: as many threads compute, unless told otherwise. */
static int threads(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* The vector instructions that count, as ", AVX-512, AMX". */
static const char *vectors(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    return __builtin_cpu_supports("amx-bf16") ? ", AVX-512, AMX" : ", AVX-512";
  if (__builtin_cpu_supports("avx2")) return ", AVX2";
#endif
  return "";
}

/* A driver's device file tells of a GPU; what would use it is a plugin, not in this build. */
static const char *gpu(void) {
  return access("/dev/nvidiactl", F_OK) ? "no GPU" : "GPU unused (no plugin)";
}

/* "0.1.0" and "LuaJIT 2.1.0-beta3" up to the second point. */
static int shorter(const char *version) {
  const char *first = strchr(version, '.'), *second = first ? strchr(first + 1, '.') : NULL;
  return second ? (int)(second - version) : (int)strlen(version);
}

void host_version(void) {
  printf("mlua %s · %s\n", MLUA_VERSION, LUAJIT_VERSION);
  fflush(stdout);
}

void host_banner(void) {
  struct winsize window = {0};
  char text[160];
  int n = threads();
  snprintf(text, sizeof text, "mlua %.*s · %.*s · cpu %d thread%s%s · %s", shorter(MLUA_VERSION),
           MLUA_VERSION, shorter(LUAJIT_VERSION), LUAJIT_VERSION, n, n == 1 ? "" : "s", vectors(),
           gpu());
  ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
  size_t width = strlen(text) - 3 + 3 + strlen(HINT); /* each · is two bytes */
  bool fits = window.ws_col == 0 || width <= window.ws_col;
  printf("%s%s%s\n", text, fits ? "   " : "\n", HINT);
  fflush(stdout);
}
