/*
 * repl: the prompt. Lines go to mlua.repl, which runs them and prints values; Ctrl-C clears the
 * line or stops what runs, Ctrl-D leaves.
 */
#include <stdio.h>
#include <unistd.h>

#include "host.h"

/* Calls mlua.repl's function of this name with n arguments; an error is printed. */
static bool ask(lua_State *L, const char *name, int arguments, int results) {
  lua_getfield(L, LUA_REGISTRYINDEX, "mlua.repl");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
  lua_insert(L, -arguments - 1);
  if (!host_call(L, arguments, results)) return true;
  host_report(L, NULL);
  return false;
}

/* _PROMPT and _PROMPT2 replace the prompts; the string is left on the stack. */
static const char *prompt_of(lua_State *L, bool more) {
  lua_pushstring(L, more ? "_PROMPT2" : "_PROMPT");
  lua_rawget(L, LUA_GLOBALSINDEX);
  if (lua_isstring(L, -1)) return lua_tostring(L, -1);
  return more ? ">> " : "> ";
}

int host_repl(lua_State *L, bool keep_history) {
  bool more = false;
  lua_settop(L, 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mlua.repl");
  if (host_call(L, 1, 1)) return host_report(L, "mlua");
  lua_setfield(L, LUA_REGISTRYINDEX, "mlua.repl");
  lua_pushboolean(L, isatty(STDIN_FILENO));
  ask(L, "start", 1, 0);
  host_open_lines(keep_history);
  for (;;) {
    lua_settop(L, 0);
    host_outcome got = host_read_line(L, prompt_of(L, more));
    if (got == HOST_END) break;
    if (got == HOST_CLEARED) {
      ask(L, "clear", 0, 0);
      more = false;
      continue;
    }
    more = ask(L, "feed", 1, 1) && lua_toboolean(L, -1);
    fflush(stdout);
  }
  lua_settop(L, 0);
  return 0;
}
