/* A program at a terminal of its own, as a Lua module for the specs: the master's end of a pty.
 *
 * Owns the child and the descriptor. Invariant: after close() neither is left. */
#define _GNU_SOURCE
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
    int fd;
    pid_t pid;
} pty;

static pty *to_pty(lua_State *L) {
    pty *p = luaL_checkudata(L, 1, "pty");
    luaL_argcheck(L, p->fd >= 0, 1, "closed");
    return p;
}

/* open(columns, rows, environment, program, arguments ...): environment is a list of "NAME=value"
 * added to the process' own */
static int l_open(lua_State *L) {
    struct winsize size = {.ws_col = (unsigned short)luaL_checkinteger(L, 1),
                           .ws_row = (unsigned short)luaL_checkinteger(L, 2)};
    luaL_checktype(L, 3, LUA_TTABLE);
    int n = lua_gettop(L) - 3;
    char **argv = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *argv, 0);
    for (int i = 0; i < n; i++) argv[i] = (char *)luaL_checkstring(L, 4 + i);
    argv[n] = NULL;
    pty *p = lua_newuserdatauv(L, sizeof *p, 0);
    p->fd = -1, p->pid = -1;
    luaL_setmetatable(L, "pty");
    p->pid = forkpty(&p->fd, NULL, NULL, &size);
    if (p->pid < 0) return luaL_error(L, "forkpty: %s", strerror(errno));
    if (p->pid == 0) {
        for (lua_Integer i = 1, m = (lua_Integer)lua_rawlen(L, 3); i <= m; i++) {
            lua_rawgeti(L, 3, i);
            putenv(strdup(lua_tostring(L, -1)));
        }
        unsetenv("LD_PRELOAD");
        execvp(argv[0], argv);
        _exit(127);
    }
    return 1;
}

/* read(milliseconds): what came by then, "" if nothing did; nil when the program has closed its
 * side */
static int l_read(lua_State *L) {
    pty *p = to_pty(L);
    char buffer[65536];
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    if (poll(&fd, 1, (int)luaL_checkinteger(L, 2)) <= 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    ssize_t n = read(p->fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) n = 0;
    else if (n <= 0) return 0; /* EIO: the last descriptor of the other side is closed */
    lua_pushlstring(L, buffer, (size_t)n);
    return 1;
}

/* write(text) */
static int l_write(lua_State *L) {
    pty *p = to_pty(L);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    while (n > 0) {
        ssize_t wrote = write(p->fd, text, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return luaL_error(L, "write: %s", strerror(errno));
        text += wrote, n -= (size_t)wrote;
    }
    return 0;
}

/* raw(): whether the program reads single keys now, which it does a moment after its prompt is seen
 */
static int l_raw(lua_State *L) {
    struct termios t;
    lua_pushboolean(L, tcgetattr(to_pty(L)->fd, &t) == 0 && !(t.c_lflag & (ECHO | ICANON)));
    return 1;
}

/* signal(number): to the program */
static int l_signal(lua_State *L) {
    pty *p = to_pty(L);
    lua_pushboolean(L, kill(p->pid, (int)luaL_checkinteger(L, 2)) == 0);
    return 1;
}

/* close(): ends the program; returns its exit status, or minus the signal that ended it */
static int l_close(lua_State *L) {
    pty *p = luaL_checkudata(L, 1, "pty");
    int status = 0;
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    if (p->pid <= 0) return 0;
    for (int i = 0; i < 200 && waitpid(p->pid, &status, WNOHANG) == 0; i++) {
        if (i == 150) kill(p->pid, SIGKILL);
        usleep(20000);
    }
    p->pid = -1;
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return 1;
}

int luaopen_pty(lua_State *L);
int luaopen_pty(lua_State *L) {
    static const luaL_Reg methods[] = {{"read", l_read},     {"write", l_write}, {"raw", l_raw},
                                       {"signal", l_signal}, {"close", l_close}, {"__gc", l_close},
                                       {"__close", l_close}, {NULL, NULL}};
    luaL_newmetatable(L, "pty");
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, l_open);
    lua_setfield(L, -2, "open");
    return 1;
}
