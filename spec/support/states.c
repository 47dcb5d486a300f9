/* Two Lua states in two threads, both training, while Ctrl-C and the flag behind it come from a
 * third: `states SCRIPT SECONDS`. Meant for ThreadSanitizer (make tsan). Prints "ok". */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *script;
static _Atomic int over, failed, ready;
static int *_Atomic flag;

/* over(): whether to end; flag(pointer): this one is ready to be interrupted, and by what */
static int is_over(lua_State *L) {
    lua_pushboolean(L, over);
    return 1;
}
static int take_flag(lua_State *L) {
    flag = lua_touserdata(L, 1);
    ready++;
    return 0;
}

static void *train(void *number) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_register(L, "over", is_over);
    lua_register(L, "flag", take_flag);
    lua_pushinteger(L, *(int *)number);
    lua_setglobal(L, "number");
    if (luaL_dofile(L, script)) {
        fprintf(stderr, "state %d: %s\n", *(int *)number, lua_tostring(L, -1));
        failed = 1;
    }
    lua_close(L);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread[2];
    int number[2] = {1, 2};
    if (argc < 3) return 2;
    script = argv[1];
    signal(SIGINT, SIG_IGN); /* where a second press goes */
    for (int i = 0; i < 2; i++) pthread_create(&thread[i], NULL, train, &number[i]);
    const time_t end = time(NULL) + atol(argv[2]);
    for (int i = 0; time(NULL) < end && !failed; i++) {
        usleep(20000);
        if (ready < 2) continue;
        if (i % 3 == 0) kill(getpid(), SIGINT);
        else __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
    }
    over = 1;
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    if (!failed) puts("ok");
    return failed;
}
