/*
 * host.h: the program `mlua`: a LuaJIT host.
 *
 *   main.c   arguments in luajit(1)'s way, LUA_INIT, the script
 *   call.c   protected calls, tracebacks, what an error prints, Ctrl-C
 *   env.c    the Lua environment: where modules are, text-only loading, os.exit
 *   repl.c   the interactive prompt
 *
 * It links LuaJIT and the C library only, so that it starts in milliseconds: libmlua.so comes in
 * with `require "mlua"`, readline with the first prompt.
 */
#ifndef MLUA_HOST_H
#define MLUA_HOST_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>

enum { EXIT_USAGE = 2 };

/* -- call.c -- */

/* lua_pcall with a traceback, and with Ctrl-C as the error "interrupted!". */
int host_call(lua_State *L, int arguments, int results);
/* Prints and pops the error value on top; returns the exit status that it stands for. */
int host_report(lua_State *L, const char *program);
/* Loads text and runs it; an error is reported. Return exit statuses. */
int host_run_string(lua_State *L, const char *chunk, const char *name);
int host_run_file(lua_State *L, const char *path); /* NULL: standard input */

/* -- env.c -- */

/* Opens the libraries, with mlua's own modules first on package.path and package.cpath. */
void host_environment(lua_State *L, bool use_variables);
/* luaL_loadfilex and luaL_loadbufferx, for source text only. */
int host_load_file(lua_State *L, const char *path);
int host_load_string(lua_State *L, const char *chunk, size_t size, const char *name);
/* Flushes standard output: what could not be written turns status 0 into 1. */
int host_flush(int status);

/* -- repl.c -- */

void host_repl(lua_State *L, bool keep_history);
void host_banner(void);

#endif
