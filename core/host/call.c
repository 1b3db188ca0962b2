/* call: protected calls, tracebacks, what an error prints. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

/* -- calls -- */

/*
 * Whether the message is one that mlua's modules have raised at the user's own line (they leave it
 * in package.loaded["mlua.host"].mistake): file, line and what was meant are all there is to say.
 */
static bool is_mistake(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "mlua.host");
  bool found = false;
  if (lua_istable(L, -1)) {
    size_t all, part;
    lua_getfield(L, -1, "mistake");
    const char *message = lua_tolstring(L, 1, &all), *mistake = lua_tolstring(L, -1, &part);
    found = mistake && part > 0 && part <= all && strcmp(message + all - part, mistake) == 0;
  }
  lua_settop(L, 1);
  return found;
}

/* The error value with a traceback; values that are not strings go through as they are. */
static int traceback(lua_State *L) {
  if (!lua_isstring(L, 1)) {
    if (lua_isnoneornil(L, 1)) return 1;
    if (lua_istable(L, 1)) {
      lua_getfield(L, 1, "user_error");
      if (lua_isstring(L, -1)) return lua_settop(L, 1), 1;
    }
    if (!luaL_callmeta(L, 1, "__tostring") || !lua_isstring(L, -1)) return lua_settop(L, 1), 1;
    lua_replace(L, 1);
  }
  lua_settop(L, 1);
  if (host_is_interrupt(L) || is_mistake(L)) return 1;
  luaL_traceback(L, L, lua_tostring(L, 1), 1);
  /* The last line is this program's own C frame, which tells nobody anything. */
  size_t size;
  const char *text = lua_tolstring(L, -1, &size), *last = strrchr(text, '\n');
  if (last && strncmp(last, "\n\t[C]: at 0x", 12) == 0)
    lua_pushlstring(L, text, (size_t)(last - text));
  return 1;
}

/* The level of the outermost function, by doubling and halving as luaL_traceback does. */
static int last_level(lua_State *L) {
  lua_Debug where;
  int low = 1, high = 2;
  for (; lua_getstack(L, high, &where); high *= 2) low = high;
  while (low + 1 < high) {
    int middle = (low + high) / 2;
    if (lua_getstack(L, middle, &where)) low = middle;
    else high = middle;
  }
  return low;
}

static void set_string(lua_State *L, const char *field, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

/*
 * mlua.host.trace, an error handler: the error as `value`, and in the list the calls that led to
 * it, as debug.getinfo has them; of very many the first and the last FRAMES. In C: where the stack
 * has overflown, a handler in Lua has none to run on, and crashes LuaJIT 2.1.0-beta3.
 */
static int trace(lua_State *L) {
  enum { FRAMES = 64 };
  lua_Debug where;
  int last = last_level(L), n = 0;
  lua_settop(L, 1);
  lua_createtable(L, 8, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, 2, "value");
  for (int level = 1; level <= last && lua_getstack(L, level, &where); level++) {
    if (level == FRAMES && last > 2 * FRAMES) level = last - FRAMES;
    lua_createtable(L, 0, 8);
    lua_getinfo(L, "Slnf", &where);
    lua_insert(L, -2);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "func");
    lua_remove(L, -2);
    set_string(L, "source", where.source);
    set_string(L, "short_src", where.short_src);
    set_string(L, "what", where.what);
    set_string(L, "name", where.name);
    lua_pushinteger(L, where.currentline);
    lua_setfield(L, -2, "currentline");
    lua_pushinteger(L, where.linedefined);
    lua_setfield(L, -2, "linedefined");
    lua_rawseti(L, 2, ++n);
  }
  return 1;
}

void host_trace(lua_State *L) {
  lua_pushcfunction(L, trace);
  lua_setfield(L, -2, "trace");
}

int host_call(lua_State *L, int arguments, int results) {
  struct sigaction before;
  int function = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traceback);
  lua_insert(L, function);
  bool catching = host_catch(L, &before);
  int status = lua_pcall(L, arguments, results, function);
  if (catching) host_release(L, &before);
  lua_remove(L, function);
  if (status) lua_gc(L, LUA_GCCOLLECT, 0); /* an error may have been about memory */
  return status;
}

int host_report(lua_State *L, const char *program) {
  int status = 1;
  if (host_is_interrupt(L)) { /* on a line of its own, below what was under way */
    fflush(stdout);
    if (isatty(STDERR_FILENO)) fputc('\n', stderr);
    fprintf(stderr, "%sinterrupted\n", program ? "mlua: " : "");
    lua_pop(L, 1);
    return 128 + SIGINT;
  }
  if (lua_istable(L, -1)) { /* a user's mistake: one line, and its own status */
    lua_getfield(L, -1, "status");
    if (lua_isnumber(L, -1)) status = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "user_error");
    lua_remove(L, lua_isstring(L, -1) ? -2 : -1);
  }
  if (!lua_isnil(L, -1)) {
    const char *message = lua_tostring(L, -1);
    fflush(stdout);
    if (program) fprintf(stderr, "%s: ", program);
    if (message) fprintf(stderr, "%s\n", message);
    else fprintf(stderr, "(error object is a %s value)\n", luaL_typename(L, -1));
    fflush(stderr);
  }
  lua_pop(L, 1);
  return status;
}

/* -- chunks -- */

int host_run_string(lua_State *L, const char *chunk, const char *name) {
  int status = host_load_string(L, chunk, strlen(chunk), name);
  if (!status) status = host_call(L, 0, 0);
  return status ? host_report(L, "mlua") : 0;
}

int host_run_file(lua_State *L, const char *path) {
  int status = host_load_file(L, path);
  if (!status) status = host_call(L, 0, 0);
  return status ? host_report(L, "mlua") : 0;
}
