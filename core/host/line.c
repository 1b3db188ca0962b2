/*
 * line: lines of input.
 *
 * readline is opened by name at the first prompt on a terminal: the program neither links it nor
 * waits for it at start. Without it, or when input is piped, lines come from getline.
 *
 * History is a file of at most HISTORY_LINES lines at a session's start. Every line goes to its end
 * at once, under a lock on its folder: sessions that run side by side lose none of each other's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

enum { HISTORY_LINES = 2000 };

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
  char **line_buffer;
  int *point, *attempted_over, *append_character;
} rl;

static const struct {
  const char *name;
  void *slot;
} symbols[] = {
    {"rl_callback_handler_install", &rl.install},
    {"rl_callback_read_char", &rl.read_char},
    {"rl_callback_handler_remove", &rl.remove},
    {"rl_free_line_state", &rl.free_line_state},
    {"rl_callback_sigcleanup", &rl.signal_cleanup},
    {"rl_cleanup_after_signal", &rl.after_signal},
    {"using_history", &rl.using_history},
    {"add_history", &rl.add_history},
    {"read_history", &rl.read_history},
    {"append_history", &rl.append_history},
    {"history_truncate_file", &rl.truncate_history},
    {"rl_line_buffer", &rl.line_buffer},
    {"rl_point", &rl.point},
    {"rl_attempted_completion_over", &rl.attempted_over},
    {"rl_completion_append_character", &rl.append_character},
};

/* Sets a variable of readline's that holds a pointer. */
static bool set_pointer(const char *name, const void *value) {
  void *variable = dlsym(rl.library, name);
  if (variable) memcpy(variable, value, sizeof(void *));
  return variable;
}

/* -- completion -- */

static lua_State *completing;

/* The strings of the list on top as readline takes them: their common beginning first. */
static char **as_matches(lua_State *L) {
  size_t n = lua_objlen(L, -1);
  char **matches = n ? calloc(n + 2, sizeof *matches) : NULL;
  if (!matches) return NULL;
  size_t common = 0, k = 1;
  for (; k <= n; k++) {
    lua_rawgeti(L, -1, (int)k);
    const char *text = lua_tostring(L, -1);
    matches[k] = text ? strdup(text) : NULL;
    lua_pop(L, 1);
    if (!matches[k]) break;
    if (k == 1) common = strlen(matches[1]);
    while (strncmp(matches[k], matches[1], common) != 0) common--;
  }
  if (k > 1) matches[0] = strndup(matches[1], common);
  if (k > n && matches[0]) {
    if (n == 1) { /* the one match is the common beginning */
      free(matches[1]);
      matches[1] = NULL;
    }
    return matches;
  }
  for (size_t i = 0; i < k; i++) free(matches[i]);
  free(matches);
  return NULL;
}

/*
 * Asks mlua.repl's complete(line, start) for names; where it answers true, readline's own
 * completion of file names follows.
 */
static char **complete(const char *word, int start, int end) {
  lua_State *L = completing;
  int top = lua_gettop(L);
  char **matches = NULL;
  (void)word;
  *rl.attempted_over = 1;
  *rl.append_character = 0;
  if (!lua_checkstack(L, 8)) return NULL;
  lua_getfield(L, LUA_REGISTRYINDEX, "mlua.repl");
  lua_getfield(L, -1, "complete");
  lua_pushlstring(L, *rl.line_buffer, (size_t)end);
  lua_pushinteger(L, start + 1);
  if (!lua_pcall(L, 2, 1, 0)) {
    if (lua_istable(L, -1)) matches = as_matches(L);
    else *rl.attempted_over = !lua_toboolean(L, -1);
  }
  lua_settop(L, top);
  return matches;
}

/* Whether a string is open at the cursor. */
static bool in_string(const char *line, const char *end) {
  char quote = 0;
  for (; line < end; line++) {
    if (quote && *line == '\\') line++;
    else if (quote) quote = *line == quote ? 0 : quote;
    else if (*line == '"' || *line == '\'') quote = *line;
  }
  return quote;
}

/* What ends a word: names end at any sign, the names of files at blanks. */
static char *word_breaks(void) {
  static char names[] = " \t\n\"'`@$><=;|&{}()[]+-*/%^~#!?,.:", files[] = " \t\n";
  const char *line = *rl.line_buffer;
  bool is_file = strncmp(line, "%load", 5) == 0 || in_string(line, line + *rl.point);
  return is_file ? files : names;
}

static bool open_readline(void) {
  static const char *const name = "mlua", *const quotes = "\"'";
  char **(*const on_tab)(const char *, int, int) = complete;
  char *(*const breaks)(void) = word_breaks;
  rl.library = dlopen("libreadline.so.8", RTLD_NOW | RTLD_LOCAL);
  if (!rl.library) return false;
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *found = dlsym(rl.library, symbols[i].name);
    if (!found) {
      rl.library = NULL;
      return false;
    }
    memcpy(symbols[i].slot, &found, sizeof found);
  }
  int *catch_signals = dlsym(rl.library, "rl_catch_signals");
  if (catch_signals) *catch_signals = 0; /* Ctrl-C is ours, below */
  set_pointer("rl_readline_name", &name);
  set_pointer("rl_completer_quote_characters", &quotes);
  set_pointer("rl_completion_word_break_hook", &breaks);
  set_pointer("rl_attempted_completion_function", &on_tab);
  return true;
}

/* -- history -- */

static char *history_folder, *history_path; /* NULL: none is kept */

/* Makes a folder and those above it, for this user alone. */
static bool make_folders(char *path) {
  for (char *at = path + 1; (at = strchr(at, '/')); at++) {
    *at = 0;
    int failed = mkdir(path, 0700) && errno != EEXIST;
    *at = '/';
    if (failed) return false;
  }
  return !mkdir(path, 0700) || errno == EEXIST;
}

/* The folder, locked until it is closed; -1 where it cannot be had. */
static int lock_history(void) {
  int folder = open(history_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0 && flock(folder, LOCK_EX)) {
    close(folder);
    folder = -1;
  }
  return folder;
}

static void load_history(void) {
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  int n = -1, file;
  rl.using_history();
  if (state && *state == '/') n = asprintf(&history_folder, "%s/mlua", state);
  else if (home && *home == '/') n = asprintf(&history_folder, "%s/.local/state/mlua", home);
  if (n < 0 || !make_folders(history_folder)) return;
  if (asprintf(&history_path, "%s/history", history_folder) < 0) history_path = NULL;
  int lock = history_path ? lock_history() : -1;
  file = lock < 0 ? -1 : open(history_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) {
    close(file);
    rl.truncate_history(history_path, HISTORY_LINES);
    rl.read_history(history_path);
  } else {
    history_path = NULL;
  }
  if (lock >= 0) close(lock);
}

/* A line that is not the one before again. */
static void remember(const char *line) {
  static char *last;
  if (!*line || (last && strcmp(last, line) == 0)) return;
  free(last);
  last = strdup(line);
  rl.add_history(line);
  int lock = history_path ? lock_history() : -1;
  if (lock < 0) return;
  rl.append_history(1, history_path);
  close(lock);
}

/* -- a line of input -- */

static volatile sig_atomic_t interrupted;
static char *typed; /* what readline hands to on_line */
static bool finished;

static void on_interrupt(int number) {
  (void)number;
  interrupted = 1;
}

static void on_line(char *line) {
  typed = line;
  finished = true;
  rl.remove(); /* the terminal is itself again before anything runs */
}

/* The signal is let in during the wait for a key alone, so that none is missed. */
static host_outcome from_readline(const char *prompt, char **line) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigset_t block, before;
  host_outcome got = HOST_LINE;
  sigemptyset(&block);
  sigaddset(&block, SIGINT);
  sigprocmask(SIG_BLOCK, &block, &before);
  finished = false;
  rl.install(prompt, on_line);
  while (!finished && got == HOST_LINE) {
    if (ppoll(&input, 1, NULL, &before) > 0) rl.read_char();
    else if (errno != EINTR) got = HOST_END;
    if (interrupted && !finished) got = HOST_CLEARED;
  }
  if (got == HOST_CLEARED) {
    rl.free_line_state();
    rl.signal_cleanup();
    rl.after_signal();
  }
  if (got != HOST_LINE) rl.remove();
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (got == HOST_LINE && !typed) got = HOST_END;
  if (got == HOST_LINE) *line = typed;
  return got;
}

static host_outcome from_stream(const char *prompt, char **line) {
  size_t size = 0;
  if (isatty(STDIN_FILENO)) {
    fputs(prompt, stdout);
    fflush(stdout);
  }
  *line = NULL;
  ssize_t n = getline(line, &size, stdin);
  if (n >= 0) {
    if (n > 0 && (*line)[n - 1] == '\n') (*line)[n - 1] = 0;
    return HOST_LINE;
  }
  free(*line);
  clearerr(stdin);
  return interrupted ? HOST_CLEARED : HOST_END;
}

host_outcome host_read_line(lua_State *L, const char *prompt) {
  struct sigaction action = {.sa_handler = on_interrupt}, before;
  char *line = NULL;
  interrupted = 0;
  completing = L;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &before); /* no SA_RESTART: the wait for input is to end */
  host_outcome got = rl.library ? from_readline(prompt, &line) : from_stream(prompt, &line);
  sigaction(SIGINT, &before, NULL);
  if (got == HOST_LINE) {
    lua_pushstring(L, line);
    if (rl.library) remember(line);
    free(line);
  } else if (isatty(STDIN_FILENO)) {
    putchar('\n');
  }
  return got;
}

void host_open_lines(bool keep_history) {
  if (rl.library || !isatty(STDIN_FILENO) || !open_readline()) return;
  if (keep_history) load_history();
  else rl.using_history();
}
