/*
 * repl: the prompt. Expressions print their values, open blocks go on in the next line, Ctrl-C
 * clears the line or stops what runs, Ctrl-D leaves.
 *
 * readline is opened by name at the first prompt on a terminal: the program neither links it nor
 * waits for it at start. Without it, or when input is piped, lines come from getline.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <luajit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

enum { HISTORY_LINES = 1000 };

/* -- readline -- */

static struct {
  void *library;
  void (*install)(const char *prompt, void (*on_line)(char *));
  void (*read_char)(void);
  void (*remove)(void);
  void (*free_line_state)(void);
  void (*signal_cleanup)(void);
  void (*after_signal)(void);
  void (*using_history)(void);
  void (*add_history)(const char *line);
  int (*read_history)(const char *path);
  int (*append_history)(int lines, const char *path);
  int (*truncate_history)(const char *path, int lines);
} rl;

static char *history_path; /* NULL: none is kept */
static int history_added;

static bool open_readline(void) {
  static const char *const names[] = {"rl_callback_handler_install",
                                      "rl_callback_read_char",
                                      "rl_callback_handler_remove",
                                      "rl_free_line_state",
                                      "rl_callback_sigcleanup",
                                      "rl_cleanup_after_signal",
                                      "using_history",
                                      "add_history",
                                      "read_history",
                                      "append_history",
                                      "history_truncate_file"};
  void **slots[] = {
      (void **)&rl.install,         (void **)&rl.read_char,       (void **)&rl.remove,
      (void **)&rl.free_line_state, (void **)&rl.signal_cleanup,  (void **)&rl.after_signal,
      (void **)&rl.using_history,   (void **)&rl.add_history,     (void **)&rl.read_history,
      (void **)&rl.append_history,  (void **)&rl.truncate_history};
  rl.library = dlopen("libreadline.so.8", RTLD_NOW | RTLD_LOCAL);
  if (!rl.library) return false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!(*slots[i] = dlsym(rl.library, names[i]))) {
      rl.library = NULL;
      return false;
    }
  }
  int *catch_signals = dlsym(rl.library, "rl_catch_signals");
  const char **name = dlsym(rl.library, "rl_readline_name");
  if (catch_signals) *catch_signals = 0; /* Ctrl-C is ours, below */
  if (name) *name = "mlua";
  return true;
}

/* At exit, os.exit included: this session's lines go to the end of the file, which stays short. */
static void save_history(void) {
  if (!history_path || !history_added) return;
  int file = open(history_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return;
  close(file);
  rl.append_history(history_added, history_path);
  rl.truncate_history(history_path, HISTORY_LINES);
}

static void load_history(bool keep) {
  const char *home = getenv("HOME");
  rl.using_history();
  if (!keep || !home || !*home) return;
  if (asprintf(&history_path, "%s/.mlua_history", home) < 0) history_path = NULL;
  if (!history_path) return;
  rl.read_history(history_path);
  atexit(save_history);
}

/* -- a line of input -- */

typedef enum { LINE, CLEARED, END } outcome;

static volatile sig_atomic_t interrupted;
static char *typed; /* what readline hands to on_line */
static bool complete;

static void on_interrupt(int number) {
  (void)number;
  interrupted = 1;
}

static void on_line(char *line) {
  typed = line;
  complete = true;
  rl.remove(); /* the terminal is itself again before anything runs */
}

static outcome from_readline(const char *prompt, char **line) {
  complete = false;
  rl.install(prompt, on_line);
  while (!complete) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (interrupted) {
      rl.free_line_state();
      rl.signal_cleanup();
      rl.after_signal();
      rl.remove();
      return CLEARED;
    }
    if (poll(&input, 1, -1) > 0) rl.read_char();
    else if (errno != EINTR) return rl.remove(), END;
  }
  *line = typed;
  return typed ? LINE : END;
}

static outcome from_stream(const char *prompt, char **line) {
  size_t size = 0;
  if (isatty(STDIN_FILENO)) {
    fputs(prompt, stdout);
    fflush(stdout);
  }
  *line = NULL;
  ssize_t n = getline(line, &size, stdin);
  if (n >= 0) {
    if (n > 0 && (*line)[n - 1] == '\n') (*line)[n - 1] = 0;
    return LINE;
  }
  free(*line);
  clearerr(stdin);
  return interrupted ? CLEARED : END;
}

/* Pushes the next line, if there is one. _PROMPT and _PROMPT2 replace the prompts. */
static outcome read_line(lua_State *L, bool first) {
  struct sigaction action = {.sa_handler = on_interrupt}, before;
  char *line = NULL;
  lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2");
  const char *prompt = lua_isstring(L, -1) ? lua_tostring(L, -1) : first ? "> " : ">> ";
  interrupted = 0;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before); /* no SA_RESTART: the wait for input is to end */
  outcome got = rl.library ? from_readline(prompt, &line) : from_stream(prompt, &line);
  sigaction(SIGINT, &before, NULL);
  lua_pop(L, 1);
  if (got == LINE) {
    lua_pushstring(L, line);
    if (rl.library && *line) {
      rl.add_history(line);
      history_added++;
    }
    free(line);
  } else if (got == CLEARED || isatty(STDIN_FILENO)) {
    putchar('\n');
  }
  return got;
}

/* -- read, evaluate, print -- */

/*
 * Compiles the text on top, as an expression if it is one; replaces it by function or message. An
 * expression's values come after a nil, which keeps a call in it from being a tail call: its error
 * is then placed, and its frame in the traceback.
 */
static int compile(lua_State *L, bool *expression) {
  size_t size;
  const char *text = lua_tolstring(L, -1, &size), *body = *text == '=' ? text + 1 : text;
  const char *as_value = lua_pushfstring(L, "return nil, %s", body);
  int status = host_load_string(L, as_value, strlen(as_value), "=stdin");
  *expression = !status || *text == '=';
  if (!*expression) {
    lua_pop(L, 1);
    status = host_load_string(L, text, size, "=stdin");
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  return status;
}

/* True for a message that more lines could cure. */
static bool is_incomplete(lua_State *L) {
  size_t size;
  static const char mark[] = "'<eof>'";
  const char *message = lua_tolstring(L, -1, &size);
  return size >= sizeof mark - 1 && strcmp(message + size - (sizeof mark - 1), mark) == 0;
}

/* Reads until there is a chunk. LINE: its function, or what is wrong with it, is on top. */
static outcome read_chunk(lua_State *L, int *status, bool *expression) {
  outcome got = read_line(L, true);
  if (got != LINE) return got;
  for (;;) {
    lua_pushvalue(L, -1);
    *status = compile(L, expression);
    if (*status != LUA_ERRSYNTAX || !is_incomplete(L)) break;
    lua_pop(L, 1);
    lua_pushliteral(L, "\n");
    if ((got = read_line(L, false)) != LINE) return got;
    lua_concat(L, 3);
  }
  lua_remove(L, -2);
  return LINE;
}

static void print_values(lua_State *L, int n) {
  luaL_checkstack(L, 2, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, -n - 1);
  if (host_call(L, n, 0)) host_report(L, NULL);
}

void host_repl(lua_State *L, bool keep_history) {
  if (isatty(STDIN_FILENO) && !rl.library && open_readline()) load_history(keep_history);
  for (;;) {
    int status;
    bool expression;
    lua_settop(L, 0);
    outcome got = read_chunk(L, &status, &expression);
    if (got == END) break;
    if (got == CLEARED) continue;
    if (!status) status = host_call(L, 0, LUA_MULTRET);
    if (status) {
      host_report(L, NULL);
    } else {
      if (expression) lua_remove(L, 1);
      if (lua_gettop(L)) print_values(L, lua_gettop(L));
    }
    fflush(stdout);
  }
  lua_settop(L, 0);
}

void host_banner(void) {
  printf("mlua %s · %s", MLUA_VERSION, LUAJIT_VERSION);
  puts(isatty(STDIN_FILENO) ? "          (Ctrl-C interrupts, Ctrl-D leaves)" : "");
  fflush(stdout);
}
