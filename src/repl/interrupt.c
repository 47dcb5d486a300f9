/* Ctrl-C while Lua runs.
 *
 * A debug hook belongs to one coroutine, so the handler must know which one runs:
 * `coroutine.resume` and `coroutine.wrap` are replaced by versions that keep `running`. Invariants:
 * `running` is the coroutine whose instructions are executed, or NULL while none are and the signal
 * has its default action; an interrupt is raised only while `armed`, so that the prompt's own code
 * is never cut short. */
#include "repl.h"

#include <lauxlib.h>
#include <signal.h>
#include <time.h>

static lua_State *volatile running;
static volatile sig_atomic_t presses, armed, pending;
static volatile time_t first_press;
static volatile int *cancel; /* of the tensor core, once it is known */

static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    presses = pending = 0;
    if (cancel) *cancel = 0;
    luaL_error(L, "interrupted!");
}

static void set_hook(lua_State *L) {
    lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* The hook is the one thing of Lua that a signal handler may call. A third press within two seconds
 * means that no Lua instruction is reached (a long call into C that does not look at `cancel`):
 * then the default action. */
static void on_sigint(int sig) {
    time_t now = time(NULL);
    if (presses == 0 || now - first_press > 2) {
        presses = 0;
        first_press = now;
    }
    presses++;
    if (presses >= 3 || !running) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    if (!armed) return;
    pending = 1;
    if (cancel) *cancel = 1;
    set_hook(running);
}

static void take_sigint(void) {
    struct sigaction action = {.sa_handler = on_sigint, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

static void disarm(lua_State *L) {
    armed = 0;
    if (lua_gethook(L) == stop) lua_sethook(L, NULL, 0, 0);
    presses = pending = 0;
    if (cancel) *cancel = 0;
}

void tide_interrupt_begin(lua_State *L) {
    static char stack[128 * 1024]; /* of handlers: libraries may have this thread's elsewhere */
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    presses = pending = 0;
    running = L;
    armed = 1;
    take_sigint();
}

void tide_interrupt_end(lua_State *L) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    disarm(L);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    running = NULL;
}

/* guarded(f, handler, ...): xpcall in which alone, of all the prompt does, Ctrl-C raises; it has
 * its handler afterwards, whatever f left behind */
static int guarded(lua_State *L) {
    int n = lua_gettop(L) - 2;
    luaL_argcheck(L, n >= 0, 2, "a function is missing");
    lua_pushvalue(L, 1);
    lua_copy(L, 2, 1);
    lua_replace(L, 2); /* the handler under the function */
    presses = pending = 0;
    running = L;
    armed = 1;
    int status = lua_pcall(L, n, LUA_MULTRET, 1);
    running = L;
    disarm(L);
    take_sigint();
    lua_pushboolean(L, status == LUA_OK);
    lua_replace(L, 1);
    return lua_gettop(L);
}

/* unguarded(): from here on only what `guarded` runs is interrupted */
static int unguarded(lua_State *L) {
    disarm(L);
    return 0;
}

/* The tensor core calls it when it is loaded, with where it looks for an interrupt. */
static int cancels(lua_State *L) {
    luaL_checktype(L, 1, LUA_TLIGHTUSERDATA);
    cancel = lua_touserdata(L, 1);
    return 0;
}

void tide_interrupt_ops(lua_State *L) {
    lua_pushcfunction(L, cancels);
    lua_setfield(L, LUA_REGISTRYINDEX, "tide.cancels");
}

void tide_interrupt_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"guarded", guarded}, {"unguarded", unguarded}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

/* Moves n arguments into `co`, runs it, moves its results back. Returns their number, or -1 with
 * the error on top. */
static int resume(lua_State *L, lua_State *co, int n) {
    if (!lua_checkstack(co, n)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    lua_State *outer = running;
    int results;
    running = co;
    int status = lua_resume(co, L, n, &results);
    running = outer;
    if (pending &&
        lua_gethook(co) ==
            stop) { /* it left before its hook was heeded: the one that goes on heeds it */
        lua_sethook(co, NULL, 0, 0);
        if (outer) set_hook(outer);
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(co, results);
            lua_pushliteral(L, "too many results to resume");
            return -1;
        }
        lua_xmove(co, L, results);
        return results;
    }
    lua_xmove(co, L, 1);
    return -1;
}

static lua_State *to_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    if (!co) luaL_typeerror(L, 1, "coroutine");
    return co;
}

static int co_resume(lua_State *L) {
    lua_State *co = to_coroutine(L);
    int n = resume(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, n >= 0);
    if (n < 0) {
        lua_insert(L, -2);
        return 2;
    }
    lua_insert(L, -(n + 1));
    return n + 1;
}

static int co_wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, co, lua_gettop(L));
    if (n >= 0) return n;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* dead with an error: close what it held open */
        status = lua_resetthread(co);
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) { /* say where */
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int co_wrap(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, co_wrapped, 1);
    return 1;
}

void tide_interrupt_coroutines(lua_State *L) {
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, co_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, co_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
}
