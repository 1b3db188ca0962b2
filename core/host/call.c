/* call: protected calls, tracebacks, what an error prints, Ctrl-C. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host.h"

/* -- Ctrl-C -- */

static lua_State *running; /* what the signal is to stop */

static void stop(lua_State *L, lua_Debug *where) {
  (void)where;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

/*
 * A handler may do nothing but set the hook; the interpreter raises at its next instruction. Code
 * that is compiled and loops does not look at hooks: for it, the second Ctrl-C ends the process.
 */
static void on_interrupt(int number) {
  signal(number, SIG_DFL);
  lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* -- calls -- */

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
  luaL_traceback(L, L, lua_tostring(L, 1), 1);
  /* The last line is this program's own C frame, which tells nobody anything. */
  size_t size;
  const char *text = lua_tolstring(L, -1, &size), *last = strrchr(text, '\n');
  if (last && strncmp(last, "\n\t[C]: at 0x", 12) == 0)
    lua_pushlstring(L, text, (size_t)(last - text));
  return 1;
}

int host_call(lua_State *L, int arguments, int results) {
  struct sigaction action = {.sa_handler = on_interrupt}, before;
  int function = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traceback);
  lua_insert(L, function);
  sigemptyset(&action.sa_mask);
  running = L;
  sigaction(SIGINT, &action, &before); /* no SA_RESTART: a blocked read ends as well */
  int status = lua_pcall(L, arguments, results, function);
  sigaction(SIGINT, &before, NULL);
  lua_remove(L, function);
  if (status) lua_gc(L, LUA_GCCOLLECT, 0); /* an error may have been about memory */
  return status;
}

int host_report(lua_State *L, const char *program) {
  int status = 1;
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
