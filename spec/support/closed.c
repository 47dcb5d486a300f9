/* A state that watches for Ctrl-C and is closed in another thread: the program's own handler is
 * back, and the thread that watched keeps nothing of the state. */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t presses;
static void on_interrupt(int sig) {
    (void)sig;
    presses++;
}

static lua_State *watching_state(void) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (luaL_dostring(L, "kept = require('tide.core').watch_interrupts()"))
        puts(lua_tostring(L, -1));
    return L;
}
static void *closes(void *L) {
    lua_close(L);
    return NULL;
}

int main(void) {
    pthread_t thread;
    signal(SIGINT, on_interrupt);
    lua_State *first = watching_state(), *second = watching_state();
    raise(SIGINT);
    printf("watched %d\n", (int)presses);
    pthread_create(&thread, NULL, closes, first);
    pthread_join(thread, NULL);
    lua_State *third = watching_state();
    pthread_create(&thread, NULL, closes, second);
    pthread_join(thread, NULL);
    lua_close(third);
    raise(SIGINT);
    printf("closed %d\n", (int)presses);
    return 0;
}
