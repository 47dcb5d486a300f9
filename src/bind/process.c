/* Processes that answer messages, for Lua: the workers of `map`. */
#define _GNU_SOURCE
#include "bind.h"

#include "../io/process.h"

#include <stdlib.h>
#include <unistd.h>

static void release(void *p) { tide_process_close(p); }

static tide_process *check(lua_State *L) {
    tide_process *p = tideL_unbox(L, 1, release);
    if (!p) tideL_error(L, "map", "its worker processes were ended");
    return p;
}

/* process_start(what, arguments): the program that runs now, once more */
static int process_start(lua_State *L) {
    const char *what = luaL_checkstring(L, 1);
    char program[4096];
    luaL_checktype(L, 2, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return tideL_error(L, what, "the path of this program is not known");
    program[n] = '\0';
    int64_t count = (int64_t)lua_rawlen(L, 2);
    char **argv = lua_newuserdatauv(L, (size_t)(count + 2) * sizeof *argv, 0);
    argv[0] = program;
    for (int64_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, i);
        argv[i] = (char *)(uintptr_t)luaL_checkstring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
    }
    argv[count + 1] = NULL;
    tideL_box *box = tideL_newbox(L, release);
    tide_process *p = NULL;
    tideL_try(L, ctx, tide_process_start(ctx, what, program, argv, &p));
    box->p = p;
    return 1;
}

/* process_send(process, text) */
static int process_send(lua_State *L) {
    tide_process *p = check(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_process_send(ctx, p, data, n));
    return 0;
}

/* process_receive(process) -> text */
static int process_receive(lua_State *L) {
    tide_process *p = check(L);
    const char *data;
    size_t n;
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_process_receive(ctx, p, &data, &n));
    lua_pushlstring(L, data, n);
    return 1;
}

/* process_close(process) */
static int process_close(lua_State *L) {
    tideL_box *box = luaL_testudata(L, 1, "tide.box");
    if (box && box->free == release && box->p) {
        void *p = box->p;
        box->p = NULL;
        tide_process_close(p);
    }
    return 0;
}

void tideL_open_process(lua_State *L) {
    static const luaL_Reg functions[] = {{"process_start", process_start},
                                         {"process_send", process_send},
                                         {"process_receive", process_receive},
                                         {"process_close", process_close},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
