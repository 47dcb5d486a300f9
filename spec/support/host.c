/* A program that uses Tide in several threads, each with a Lua state of its own: `host THREADS
 * SCRIPT`. All begin at the same moment. The script has its thread's number (`number`) and what
 * only C can do:
 *
 *   hear()           installs a handler of SIGINT that wants to know who sent it
 *   heard()          how often it was called, and whether each call said that this process had
 *   press()          SIGINT to this process
 *   cancel(flag, t)  writes 1 there after t seconds, as its own handler would; t = 0: no more
 *   forked(f)        runs f in a forked child; how that ended: its exit status, or the signal's
 *                    name where the child died or had not ended after ten seconds
 *   masks()          for each of the process's threads, the cores on which it may run
 *
 * Prints "ok" when every script has returned. */
#define _GNU_SOURCE
#include <dirent.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *script;
static _Atomic int failed;
static pthread_barrier_t begin;
static volatile sig_atomic_t calls, known;

static void on_interrupt(int sig, siginfo_t *info, void *context) {
    (void)sig;
    calls++;
    known += info && context && info->si_pid == getpid();
}
static int hear(lua_State *L) {
    (void)L;
    struct sigaction a = {.sa_sigaction = on_interrupt, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    return 0;
}
static int heard(lua_State *L) {
    lua_pushinteger(L, calls);
    lua_pushboolean(L, known == calls);
    return 2;
}

static int press(lua_State *L) {
    (void)L;
    kill(getpid(), SIGINT);
    return 0;
}

static int *flag;
static void write_flag(int sig) {
    (void)sig;
    __atomic_store_n(flag, 1, __ATOMIC_RELAXED);
}
static int cancel(lua_State *L) {
    const long us = (long)(1e6 * luaL_checknumber(L, 2));
    flag = lua_touserdata(L, 1);
    signal(SIGALRM, write_flag);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, us}}, NULL);
    if (us == 0) __atomic_store_n(flag, 0, __ATOMIC_RELAXED);
    return 0;
}

static int forked(lua_State *L) {
    int status = 0;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(10);
        if (lua_pcall(L, 0, 0, 0) == LUA_OK) _exit(0);
        fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
        _exit(1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return luaL_error(L, "no child");
    if (WIFSIGNALED(status)) lua_pushstring(L, strsignal(WTERMSIG(status)));
    else lua_pushinteger(L, WEXITSTATUS(status));
    return 1;
}

static int masks(lua_State *L) {
    DIR *d = opendir("/proc/self/task");
    lua_newtable(L);
    for (const struct dirent *e; d && (e = readdir(d));) {
        cpu_set_t set;
        if (e->d_name[0] == '.' || sched_getaffinity(atoi(e->d_name), sizeof set, &set) != 0)
            continue;
        lua_pushinteger(L, CPU_COUNT(&set));
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    if (d) closedir(d);
    return 1;
}

static void *run(void *number) {
    static const luaL_Reg functions[] = {{"hear", hear},     {"heard", heard},   {"press", press},
                                         {"cancel", cancel}, {"forked", forked}, {"masks", masks},
                                         {NULL, NULL}};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_pushglobaltable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushinteger(L, *(int *)number);
    lua_setfield(L, -2, "number");
    lua_settop(L, 0);
    pthread_barrier_wait(&begin);
    if (luaL_dofile(L, script)) {
        fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
        failed = 1;
    }
    lua_close(L);
    return NULL;
}

int main(int argc, char **argv) {
    enum { MOST = 16 };
    pthread_t thread[MOST];
    int number[MOST];
    const int n = argc == 3 ? atoi(argv[1]) : 0;
    if (n < 1 || n > MOST) return 2;
    script = argv[2];
    pthread_barrier_init(&begin, NULL, (unsigned)n);
    for (int i = 1; i < n; i++) {
        number[i] = i + 1;
        pthread_create(&thread[i], NULL, run, &number[i]);
    }
    number[0] = 1;
    run(&number[0]);
    for (int i = 1; i < n; i++) pthread_join(thread[i], NULL);
    if (!failed) puts("ok");
    return failed;
}
