/* main: the program mlua; its arguments are luajit(1)'s. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

static const char *const usage_text =
    "usage: mlua [options] [script [args]]\n"
    "       mlua [options] command [args]\n"
    "  -e chunk    run the string chunk\n"
    "  -l module   require module\n"
    "  -i          a prompt after the script\n"
    "  -v          the version\n"
    "  -E          ignore LUA_INIT, LUA_PATH, LUA_CPATH, and keep no history\n"
    "  -j cmd      control the compiler: on, off, flush, or jit.cmd's start\n"
    "  -O[opt]     the compiler's optimisations: a level 0 to 3, +flag, -flag, param=value\n"
    "  --          the end of options\n"
    "  -           a script on standard input\n"
    "  -h, --help  print this and end\n"
    "commands; each has --help:\n"
    "  train DIR   train registered parts by a configuration: --config FILE\n"
    "  new NAME    write a small project into a new folder\n"
    "  config …    show, check or describe what a recipe is configured by\n"
    "  diff A B    what two configurations say differently\n"
    "  list …      models, losses and other parts by name, with their options\n";

/* What the arguments ask for. */
typedef struct request {
  int argc;
  char **argv;
  int script; /* index of the script in argv; argc: none */
  bool interactive, version, chunks, ignore_env, help;
  bool jit_commands; /* -j */
  bool leave;        /* at the end, the Lua state as it is */
  int status;
} request;

/* -- arguments -- */

/* One pass that checks everything before anything runs. False: wrong usage, and why was printed. */
static bool read_arguments(request *r) {
  int i = 1;
  for (; i < r->argc && r->argv[i][0] == '-'; i++) {
    const char *arg = r->argv[i];
    if (strcmp(arg, "-") == 0) break;
    if (strcmp(arg, "--") == 0) {
      i++;
      break;
    }
    if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
      r->help = true;
      continue;
    }
    switch (arg[1]) {
      case 'e': r->chunks = true; /* fall through */
      case 'l':
      case 'j':
        r->jit_commands = r->jit_commands || arg[1] == 'j';
        if (!arg[2] && ++i >= r->argc) {
          fprintf(stderr, "mlua: %s: expected an argument\n%s", arg, usage_text);
          return false;
        }
        continue;
      case 'O': continue;
      case 'b':
        fprintf(stderr, "mlua: -b: bytecode is neither written nor loaded here\n");
        return false;
      default: break;
    }
    const char *flag = arg + 1; /* -i, -v, -E, alone or together */
    for (; *flag; flag++) {
      if (*flag == 'i') r->interactive = true;
      else if (*flag == 'v') r->version = true;
      else if (*flag == 'E') r->ignore_env = true;
      else break;
    }
    if (*flag) {
      fprintf(stderr, "mlua: unknown option '%s'\n%s", arg, usage_text);
      return false;
    }
  }
  r->script = i;
  return true;
}

/* The global `arg`: the script at 0, its arguments above, the program and its options below. */
static void set_arg(lua_State *L, const request *r) {
  lua_createtable(L, r->argc, r->script);
  for (int i = 0; i < r->argc; i++) {
    lua_pushstring(L, r->argv[i]);
    lua_rawseti(L, -2, i - r->script);
  }
  lua_setglobal(L, "arg");
}

/* -- options that run -- */

/* Pushes the parts of a list a,b,c and returns how many they are. */
static int push_list(lua_State *L, const char *list) {
  int n = 0;
  while (*list) {
    size_t size = strcspn(list, ",");
    luaL_checkstack(L, 1, "too many arguments");
    lua_pushlstring(L, list, size);
    n++;
    list += size + (list[size] == ',');
  }
  return n;
}

/* -j cmd[=arg,…]: jit.cmd(arg, …) if there is one, else require("jit.cmd").start(arg, …). */
static int jit_command(lua_State *L) {
  const char *text = lua_tostring(L, 1), *list = strchr(text, '=');
  lua_pushlstring(L, text, list ? (size_t)(list - text) : strlen(text));
  lua_getglobal(L, "jit");
  lua_pushvalue(L, 2);
  lua_rawget(L, 3);
  if (!lua_isfunction(L, -1)) {
    lua_getglobal(L, "require");
    lua_pushfstring(L, "jit.%s", lua_tostring(L, 2));
    if (lua_pcall(L, 1, 1, 0) || !lua_istable(L, -1)) goto unknown;
    lua_getfield(L, -1, "start");
    if (!lua_isfunction(L, -1)) goto unknown;
  }
  lua_call(L, list ? push_list(L, list + 1) : 0, 0);
  return 0;
unknown:
  lua_pushfstring(L, "-j %s: expected on, off, flush, or a jit.* module", lua_tostring(L, 2));
  return lua_error(L);
}

/* -O[opt,…] */
static int jit_optimise(lua_State *L) {
  const char *text = lua_tostring(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "jit.opt");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "start");
  lua_call(L, push_list(L, *text ? text : "3"), 0);
  return 0;
}

/* Runs one of the two above; what goes wrong there is wrong usage. */
static int control_jit(lua_State *L, lua_CFunction function, const char *argument) {
  lua_pushcfunction(L, function);
  lua_pushstring(L, argument);
  if (!lua_pcall(L, 1, 0, 0)) return 0;
  host_report(L, "mlua");
  return EXIT_USAGE;
}

static int require_module(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  return host_call(L, 1, 0) ? host_report(L, "mlua") : 0;
}

static int run_options(lua_State *L, const request *r) {
  for (int i = 1; i < r->script; i++) {
    const char *arg = r->argv[i];
    if (arg[0] != '-' || !strchr("eljO", arg[1]) || !arg[1]) continue;
    const char *value = arg[2] || arg[1] == 'O' ? arg + 2 : r->argv[++i];
    int status = arg[1] == 'e'   ? host_run_string(L, value, "=(command line)")
                 : arg[1] == 'l' ? require_module(L, value)
                 : arg[1] == 'j' ? control_jit(L, jit_command, value)
                                 : control_jit(L, jit_optimise, value);
    if (status) return status;
  }
  return 0;
}

/* -- the program -- */

static int run_init(lua_State *L) {
  const char *init = getenv("LUA_INIT");
  if (!init) return 0;
  return init[0] == '@' ? host_run_file(L, init + 1) : host_run_string(L, init, "=LUA_INIT");
}

/* What a script returned: a flow, say, has a method __main, which the arguments are for. What it
 * leaves need not be taken apart: its files are closed, or of no use to anybody. */
static int run_result(lua_State *L, request *r) {
  if (!luaL_getmetafield(L, -1, "__main")) return lua_pop(L, 1), 0;
  lua_insert(L, -2);
  lua_getglobal(L, "arg");
  r->leave = !r->jit_commands; /* a profiler reports when the state is closed */
  return host_call(L, 2, 0);
}

/* Whether a script's name may be a command: a bare word, and no file. */
static bool may_be_command(const char *name) {
  struct stat s;
  return !strpbrk(name, "/.") && *name != '-' && (stat(name, &s) || S_ISDIR(s.st_mode));
}

/* Pushes the function of a command; or text that ends the message on what was not found. */
static void push_command(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "mlua.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "find");
  lua_remove(L, -2);
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

static int run_command(lua_State *L, const request *r) {
  lua_createtable(L, r->argc - r->script - 1, 0);
  for (int i = r->script + 1; i < r->argc; i++) {
    lua_pushstring(L, r->argv[i]);
    lua_rawseti(L, -2, i - r->script);
  }
  return host_call(L, 1, 0) ? host_report(L, "mlua") : 0;
}

static int run_script(lua_State *L, request *r) {
  const char *path = r->argv[r->script];
  bool input = strcmp(path, "-") == 0 && strcmp(r->argv[r->script - 1], "--") != 0;
  lua_pushliteral(L, "");
  if (!input && may_be_command(path)) {
    push_command(L, path);
    if (lua_isfunction(L, -1)) return run_command(L, r);
  }
  int status = host_load_file(L, input ? NULL : path), n = r->argc - r->script - 1;
  if (status) {
    lua_insert(L, -2);
    lua_concat(L, 2);
  } else {
    luaL_checkstack(L, n, "too many arguments");
    for (int i = 1; i <= n; i++) lua_pushstring(L, r->argv[r->script + i]);
    status = host_call(L, n, 1);
    if (!status) status = run_result(L, r);
  }
  return status ? host_report(L, "mlua") : 0;
}

static int program(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  bool script = r->script < r->argc, terminal = isatty(STDIN_FILENO);
  bool prompt = r->interactive || (!script && !r->chunks && !r->version && terminal);
  host_environment(L, !r->ignore_env);
  set_arg(L, r);
  if (prompt) host_allow_interrupts(L);
  if (!r->ignore_env && (r->status = run_init(L))) return 0;
  if (r->version) host_version();
  else if (prompt && terminal) host_banner();
  if ((r->status = run_options(L, r))) return 0;
  if (script) r->status = run_script(L, r);
  if (prompt) r->status = host_repl(L, !r->ignore_env);
  else if (!script && !r->chunks && !r->version) r->status = host_run_file(L, NULL);
  return 0;
}

int main(int argc, char **argv) {
  request r = {.argc = argc, .argv = argv};
  if (argc < 1 || !read_arguments(&r)) return EXIT_USAGE;
  if (r.help) {
    fputs(usage_text, stdout);
    return host_flush(EXIT_SUCCESS);
  }
  lua_State *L = luaL_newstate();
  if (!L) {
    fprintf(stderr, "mlua: no memory for a Lua state\n");
    return EXIT_FAILURE;
  }
  if (lua_cpcall(L, program, &r)) r.status = host_report(L, "mlua");
#ifndef __SANITIZE_ADDRESS__
  if (r.leave) return host_flush(r.status);
#endif
  lua_close(L);
  return host_flush(r.status);
}
