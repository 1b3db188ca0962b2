/* env: the Lua environment of mlua: where modules are, text-only loading, os.exit. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

/* -- where modules are -- */

static char *roots[2]; /* folders of mlua's own modules */

/* Puts the folder's modules before those that package.path has. */
static void prepend(lua_State *L, const char *folder) {
  char **root = roots[0] ? &roots[1] : &roots[0];
  *root = strdup(folder);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", folder, folder, lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_pop(L, 2);
}

/*
 * Relative to this executable, so that either tree can be moved:
 *   a build tree   DIR/mlua, DIR/libmlua.so, DIR/lua (generated), DIR/source -> the source tree
 *   an installed   PREFIX/bin/mlua, PREFIX/lib/libmlua.so, PREFIX/share/mlua/lua
 * Compiled modules are in DIR/compiled or PREFIX/share/mlua/compiled. The library is found by
 * mlua.ffi, relative to itself.
 */
static void find_modules(lua_State *L) {
  char dir[PATH_MAX], path[PATH_MAX + 32], source[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
  if (n < 0) return; /* no /proc: package.path is what LUA_PATH says */
  dir[n] = 0;
  char *slash = strrchr(dir, '/');
  if (!slash) return;
  *slash = 0;
  snprintf(path, sizeof path, "%s/source", dir);
  if (realpath(path, source)) {
    prepend(L, lua_pushfstring(L, "%s/lua", dir));
    prepend(L, lua_pushfstring(L, "%s/lua", source));
    host_open_compiled(lua_pushfstring(L, "%s/compiled", dir));
    lua_pop(L, 3);
    return;
  }
  slash = strrchr(dir, '/');
  if (!slash) return;
  *slash = 0;
  prepend(L, lua_pushfstring(L, "%s/share/mlua/lua", dir));
  host_open_compiled(lua_pushfstring(L, "%s/share/mlua/compiled", dir));
  lua_pop(L, 2);
}

/* -- loading: source text only, bytecode could do anything -- */

/* A load that failed over bytecode says so; other messages stay. The message is on top. */
static int refuse(lua_State *L, int status, const char *name) {
  const char *why = status ? lua_tostring(L, -1) : "";
  if (strstr(why, "chunk with wrong mode") || strstr(why, "cannot load malformed bytecode")) {
    lua_pop(L, 1);
    lua_pushfstring(L, "%s: bytecode refused, mlua loads Lua source only", name);
  }
  return status;
}

int host_load_file(lua_State *L, const char *path) {
  return refuse(L, luaL_loadfilex(L, path, "t"), path ? path : "stdin");
}

int host_load_string(lua_State *L, const char *chunk, size_t size, const char *name) {
  return refuse(L, luaL_loadbufferx(L, chunk, size, name, "t"),
                *name == '=' || *name == '@' ? name + 1 : "chunk");
}

/* What load and loadfile return: the function, in env if there is one at index env; or nil, why. */
static int loaded(lua_State *L, int status, int env) {
  if (status) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (!lua_isnone(L, env) && lua_istable(L, env)) {
    lua_pushvalue(L, env);
    lua_setfenv(L, -2);
  }
  return 1;
}

/* True and pushes why, if mode (a string or nil at index) asks for anything but text. */
static bool wrong_mode(lua_State *L, int index) {
  const char *mode = luaL_optstring(L, index, "bt");
  if (strchr(mode, 't')) return false;
  lua_pushfstring(L, "mode '%s' refused, mlua loads Lua source only", mode);
  return true;
}

/* One piece of a chunk that a function at index 1 hands out; index 5 keeps it alive. */
static const char *next_piece(lua_State *L, void *unused, size_t *size) {
  (void)unused;
  luaL_checkstack(L, 2, "load");
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  if (!lua_isnil(L, -1) && !lua_isstring(L, -1))
    luaL_error(L, "reader function must return a string");
  lua_replace(L, 5);
  *size = 0;
  return lua_tolstring(L, 5, size);
}

/* load(string | function [, name [, mode [, env]]]) */
static int lua_load_(lua_State *L) {
  size_t size;
  const char *chunk = lua_tolstring(L, 1, &size);
  const char *name = luaL_optstring(L, 2, chunk ? chunk : "=(load)");
  if (!chunk) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 5);
  if (wrong_mode(L, 3)) return loaded(L, LUA_ERRSYNTAX, 4);
  if (chunk) return loaded(L, host_load_string(L, chunk, size, name), 4);
  return loaded(L, refuse(L, lua_loadx(L, next_piece, NULL, name, "t"), "chunk"), 4);
}

/* loadfile([path [, mode [, env]]]) */
static int lua_loadfile_(lua_State *L) {
  const char *path = luaL_optstring(L, 1, NULL);
  lua_settop(L, 3);
  if (wrong_mode(L, 2)) return loaded(L, LUA_ERRSYNTAX, 3);
  return loaded(L, host_load_file(L, path), 3);
}

/* dofile([path]) */
static int lua_dofile_(lua_State *L) {
  const char *path = luaL_optstring(L, 1, NULL);
  lua_settop(L, 1);
  if (host_load_file(L, path)) return lua_error(L);
  lua_call(L, 0, LUA_MULTRET);
  return lua_gettop(L) - 1;
}

/* One of mlua's own modules, if it is compiled. */
static bool load_own(lua_State *L, const char *path) {
  for (int i = 0; i < 2 && roots[i]; i++) {
    size_t n = strlen(roots[i]);
    if (strncmp(path, roots[i], n) == 0 && path[n] == '/')
      return host_load_compiled(L, path + n + 1, path);
  }
  return false;
}

/* require's searcher along package.path (upvalue 1 is `package`). */
static int search_lua(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "searchpath");
  lua_pushvalue(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "path");
  if (!lua_isstring(L, -1)) return luaL_error(L, "'package.path' must be a string");
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2)) return 1; /* the files that were tried */
  lua_pop(L, 1);
  const char *path = lua_tostring(L, -1);
  if (load_own(L, path) || !host_load_file(L, path)) return 1;
  return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, path,
                    lua_tostring(L, -1));
}

/* -- leaving -- */

int host_flush(int status) {
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return status;
  fprintf(stderr, "mlua: standard output: %s\n", errno ? strerror(errno) : "a write failed");
  return status ? status : 1;
}

/* os.exit([status | bool [, close]]): closes the state first, unless close is false. */
static int lua_exit(lua_State *L) {
  int status = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
  if (lua_isnoneornil(L, 2) || lua_toboolean(L, 2)) lua_close(L);
  exit(host_flush(status));
}

void host_environment(lua_State *L, bool use_variables) {
  if (!use_variables) {
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* read by the package library */
  }
  lua_gc(L, LUA_GCSTOP, 0);
  luaL_openlibs(L);
  find_modules(L);

  lua_register(L, "load", lua_load_);
  lua_register(L, "loadstring", lua_load_);
  lua_register(L, "loadfile", lua_loadfile_);
  lua_register(L, "dofile", lua_dofile_);
  lua_getglobal(L, "os");
  lua_pushcfunction(L, lua_exit);
  lua_setfield(L, -2, "exit");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_newtable(L); /* for lua/mlua/fail.lua: user_error tables are understood here; see call.c */
  host_watch(L);
  host_trace(L);
  lua_setfield(L, -2, "mlua.host");
  lua_pop(L, 1);
  lua_getfield(L, -1, "loaders");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, search_lua, 1);
  lua_rawseti(L, -2, 2); /* 1: preload, 2: Lua files, 3 and 4: C libraries */
  lua_pop(L, 3);
  lua_gc(L, LUA_GCRESTART, -1);
}
