/* A host program's own timer, for spec/signals_spec.lua: SIGALRM at short intervals, with a handler
 * that knows nothing of alternate stacks and uses some stack. */
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t arrived;

static void on_alarm(int sig) {
    volatile char used[3000];
    memset((char *)used, sig, sizeof used);
    arrived++;
}

static void every(long microseconds) {
    struct itimerval t = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &t, NULL);
}

/* start(microseconds), count(), stop() */
static int start(lua_State *L) {
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGALRM, &a, NULL);
    arrived = 0;
    every((long)luaL_checkinteger(L, 1));
    return 0;
}

static int count(lua_State *L) {
    lua_pushinteger(L, arrived);
    return 1;
}

static int stop(lua_State *L) {
    (void)L;
    every(0);
    return 0;
}

int luaopen_storm(lua_State *L);
int luaopen_storm(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"start", start}, {"count", count}, {"stop", stop}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
