/*
 * interrupt: Ctrl-C while Lua runs at a prompt, as the error "interrupted!".
 *
 * The handler sets a hook, and the interpreter raises at its next instruction. Compiled code does
 * not look at hooks. What it can be made to look at is the profiler's flag: while LuaJIT's profiler
 * is on in line mode, every trace tests it at its start and at each new line (one test, one branch
 * that is never taken). So the profiler is on while there is a prompt, with a callback that does
 * nothing and no timer. The handler starts the timer; its signal sets the flag, the trace leaves
 * for the interpreter, and that sees the hook. It ticks until then: a tick in a finaliser is lost.
 *
 * A function of C that runs long is not interrupted. The third Ctrl-C that nobody has served ends
 * the process.
 */
#include <luajit.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "host.h"

#define INTERRUPTED "interrupted!"
enum { PATIENCE = 3, TICK_MICROSECONDS = 2000 };

static bool enabled;
static lua_State *running; /* what the signal is to stop; NULL: nothing */
static volatile sig_atomic_t unserved, interrupted;
static void (*stop_operations)(bool); /* libmlua's ml_interrupt, once that is loaded */

/* -- the clock that makes compiled code look -- */

static void tick(int microseconds) {
  const struct itimerval every = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_PROF, &every, NULL);
}

static void ignore_profile(void *data, lua_State *L, int samples, int state) {
  (void)data, (void)L, (void)samples, (void)state;
}

/* Whether a profiler takes its signal, ours or a script's; without one, it ends the process. */
static bool has_profiler(void) {
  struct sigaction now;
  return !sigaction(SIGPROF, NULL, &now) && now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN;
}

static void start_profiler(lua_State *L) {
  luaJIT_profile_start(L, "li1000000000", ignore_profile, NULL); /* flushes what is compiled */
  tick(0);
}

/* -- the signal -- */

static void stop(lua_State *L, lua_Debug *where) {
  (void)where;
  lua_sethook(L, NULL, 0, 0);
  tick(0);
  unserved = 0;
  interrupted = 1;
  if (stop_operations) stop_operations(false);
  luaL_error(L, INTERRUPTED);
}

static void on_interrupt(int number) {
  if (++unserved >= PATIENCE) {
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  if (stop_operations) stop_operations(true);
  if (has_profiler()) tick(TICK_MICROSECONDS);
}

/* mlua.host.watch(address): where libmlua's ml_interrupt is (lua/mlua/ffi/init.lua). */
static int watch(lua_State *L) {
  uintptr_t address = (uintptr_t)luaL_checknumber(L, 1);
  memcpy(&stop_operations, &address, sizeof stop_operations);
  return 0;
}

/* -- for calls -- */

void host_allow_interrupts(lua_State *L) {
  if (enabled) return;
  enabled = true;
  start_profiler(L);
}

void host_watch(lua_State *L) {
  lua_pushcfunction(L, watch);
  lua_setfield(L, -2, "watch");
}

bool host_catch(lua_State *L, struct sigaction *before) {
  struct sigaction action = {.sa_handler = on_interrupt};
  if (!enabled || running) return false;
  if (!has_profiler()) start_profiler(L); /* a script had its own, and has stopped it */
  unserved = interrupted = 0;
  running = L;
  if (stop_operations) stop_operations(false);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, before); /* no SA_RESTART: a blocked read ends as well */
  return true;
}

void host_release(lua_State *L, const struct sigaction *before) {
  sigaction(SIGINT, before, NULL);
  running = NULL;
  if (!unserved) return;
  lua_sethook(L, NULL, 0, 0); /* it came too late to stop anything */
  if (stop_operations) stop_operations(false);
  tick(0);
}

/* Whether the error on top is that of `stop`: a script may have caught it and raised another. */
bool host_is_interrupt(lua_State *L) {
  return interrupted && lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), INTERRUPTED);
}
