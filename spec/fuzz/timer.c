/* A time limit for each call of arguments.lua: `arm(flag, soft, hard)` writes 1 to the flag after
 * `soft` seconds and every second from then on, as Ctrl-C would; after `hard` seconds it says so,
 * shows where the call is, and ends the process. `arm(flag, 0)`: no more. */
#define _GNU_SOURCE
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

void __sanitizer_print_stack_trace(void) __attribute__((weak));

static int *flag;
static volatile int left; /* seconds to the hard limit */

static void on_alarm(int sig) {
    (void)sig;
    __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
    if (--left > 0) return;
    static const char text[] = "the call does not heed its interruption\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(97);
    if (__sanitizer_print_stack_trace) __sanitizer_print_stack_trace();
    _exit(98);
}

static int arm(lua_State *L) {
    const int soft = (int)luaL_checkinteger(L, 2);
    left = (int)luaL_optinteger(L, 3, 0) - soft;
    flag = lua_touserdata(L, 1);
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGALRM, &a, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{soft ? 1 : 0, 0}, {soft, 0}}, NULL);
    __atomic_store_n(flag, 0, __ATOMIC_RELAXED);
    return 0;
}

int luaopen_timer(lua_State *L);
int luaopen_timer(lua_State *L) {
    lua_pushcfunction(L, arm);
    return 1;
}
