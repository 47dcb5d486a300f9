/* Loaded before the tide program (LD_PRELOAD) by `make coverage`: the program opens its own Lua
 * state and reads no LUA_INIT, so the counting of lines is started where it opens the libraries. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

void luaL_openlibs(lua_State *L) {
    void (*real)(lua_State *) = (void (*)(lua_State *))dlsym(RTLD_NEXT, "luaL_openlibs");
    const char *init = getenv("LUA_INIT");
    int top = lua_gettop(L);
    real(L);
    if (init && init[0] == '@' && luaL_dofile(L, init + 1)) abort();
    lua_settop(L, top);
}
