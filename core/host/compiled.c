/*
 * compiled: mlua's own modules as bytecode, made when it was built (tools/compile.lua).
 *
 * Parsing them is most of what a flow's start takes (`tools/bench startup`, with and without this
 * file). The sources stay what counts: a module whose file has another size or time than when it
 * was compiled is read from there, and so are all where LuaJIT is another file than it was. What
 * users write is text only (env.c).
 *
 * The file: "mlua bytecode 1\n", the size and time of LuaJIT's library, then each module's path
 * below its root, size and time of its source, and bytes of bytecode, in lines of text with tabs,
 * each of which is followed by the bytecode. Chunks are named "@" there; here "@PATH", as the trees
 * can be moved.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

static const char FIRST[] = "mlua bytecode 1\n";
static const char *archive, *end;

typedef struct facts {
  long long size, time; /* of the last change, in nanoseconds since 1970 */
} facts;

/* The digits at *at, which moves on behind them and what follows them. */
static long long number(const char **at) {
  long long v = 0;
  while (**at >= '0' && **at <= '9') v = v * 10 + (*(*at)++ - '0');
  ++*at;
  return v;
}

static facts read_facts(const char **at) {
  facts f = {.size = number(at)};
  f.time = number(at);
  return f;
}

/* Times may have lost their fractions of a second: cmake --install and tar keep none. */
static bool is_same(const facts *f, const char *path) {
  struct stat st;
  long long second = 1000000000;
  if (stat(path, &st) || st.st_size != f->size) return false;
  long long time = (long long)st.st_mtim.tv_sec * second + st.st_mtim.tv_nsec;
  return time == f->time || (st.st_mtim.tv_nsec == 0 && time == f->time / second * second);
}

void host_open_compiled(const char *path) {
  struct stat st;
  Dl_info luajit;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof FIRST) {
    const char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    bool is = p != MAP_FAILED && memcmp(p, FIRST, strlen(FIRST)) == 0 &&
              p[st.st_size - 1] == '\n' && dladdr((void *)(uintptr_t)lua_newstate, &luajit);
    const char *at = p + strlen(FIRST);
    facts f = is ? read_facts(&at) : (facts){0};
    if (is && is_same(&f, luajit.dli_fname)) {
      archive = at;
      end = p + st.st_size;
    } else if (p != MAP_FAILED) {
      munmap((void *)(uintptr_t)p, (size_t)st.st_size);
    }
  }
  close(fd);
}

/* The bytecode of a module whose source is still the same, and its size; NULL for none. */
static const char *find(const char *name, const char *path, size_t *size) {
  size_t length = strlen(name);
  for (const char *at = archive; at && at < end;) {
    bool is = strncmp(at, name, length) == 0 && at[length] == '\t';
    at = memchr(at, '\t', (size_t)(end - at));
    if (!at++) break;
    facts f = read_facts(&at);
    *size = (size_t)number(&at); /* behind the line, now */
    if (at > end || *size >= (size_t)(end - at)) break;
    if (is) return is_same(&f, path) ? at : NULL;
    at += *size + 1;
  }
  return NULL;
}

typedef struct pieces {
  const char *piece[2];
  size_t size[2];
  int next;
} pieces;

static const char *next_piece(lua_State *L, void *data, size_t *size) {
  pieces *p = data;
  if (p->next == 2) return NULL;
  *size = p->size[p->next];
  return p->piece[p->next++];
}

bool host_load_compiled(lua_State *L, const char *name, const char *path) {
  /* ESC "LJ", version, flags (below 128), length of the name, the name: "@" */
  enum { FIXED = 5, HEAD = FIXED + 2 };
  size_t size = 0, length = strlen(path) + 1;
  const char *code = find(name, path, &size);
  if (!code || size < HEAD || code[FIXED] != 1 || code[FIXED + 1] != '@') return false;
  char head[FIXED + 3 + 4096 + 1], *to = head + FIXED;
  if (length > 4096) return false;
  memcpy(head, code, FIXED);
  size_t rest = length; /* in sevens of bits, the lowest first */
  for (; rest >= 128; rest >>= 7) *to++ = (char)(rest | 128);
  *to++ = (char)rest;
  *to++ = '@';
  memcpy(to, path, length - 1);
  to += length - 1;
  pieces p = {{head, code + HEAD}, {(size_t)(to - head), size - HEAD}, 0};
  if (lua_loadx(L, next_piece, &p, path, "b") == 0) return true;
  lua_pop(L, 1);
  return false;
}
