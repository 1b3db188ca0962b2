/*
 * host.h: the program `mlua`: a LuaJIT host.
 *
 *   main.c       arguments in luajit(1)'s way, LUA_INIT, the script
 *   call.c       protected calls, tracebacks, what an error prints
 *   interrupt.c  Ctrl-C while Lua runs
 *   env.c        the Lua environment: where modules are, text-only loading, os.exit
 *   compiled.c   mlua's own modules, as bytecode
 *   repl.c       the interactive prompt; what a line means is Lua's business (mlua.repl)
 *   line.c       lines from a terminal or a stream, with history and completion
 *   banner.c     what this program and machine are
 *
 * It links LuaJIT and the C library only, so that it starts in milliseconds: libmlua.so comes in
 * with `require "mlua"`, readline with the first prompt.
 */
#ifndef MLUA_HOST_H
#define MLUA_HOST_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>

enum { EXIT_USAGE = 2 };

/* -- call.c -- */

/* lua_pcall with a traceback; with Ctrl-C as the error "interrupted!", where that is allowed. */
int host_call(lua_State *L, int arguments, int results);
/* Sets `trace`, an error handler for mlua.repl, in the table on top. */
void host_trace(lua_State *L);
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

/* -- compiled.c -- */

/* Takes modules from there, if it was made for this LuaJIT; else from their sources. */
void host_open_compiled(const char *path);
/* Pushes the module's chunk, if it is there and its source, at `path`, is still the same. name: the
 * path below its root. */
bool host_load_compiled(lua_State *L, const char *name, const char *path);

/* -- interrupt.c -- */

/* From now on, Ctrl-C is an error in what runs; before, it ends the process. */
void host_allow_interrupts(lua_State *L);
/* Sets `watch` in the table on top. */
void host_watch(lua_State *L);
/* Around a call: catches the signal, unless that is done already; and lets go of it. */
bool host_catch(lua_State *L, struct sigaction *before);
void host_release(lua_State *L, const struct sigaction *before);
bool host_is_interrupt(lua_State *L); /* whether the error on top is Ctrl-C's */

/* -- line.c -- */

typedef enum { HOST_LINE, HOST_CLEARED, HOST_END } host_outcome; /* CLEARED: by Ctrl-C */

/* Opens readline where input is a terminal, and its history, if one is to be kept. */
void host_open_lines(bool keep_history);
/* LINE: pushes it. */
host_outcome host_read_line(lua_State *L, const char *prompt);

/* -- repl.c, banner.c -- */

int host_repl(lua_State *L, bool keep_history); /* exit status */
void host_version(void);
void host_banner(void);

#endif
