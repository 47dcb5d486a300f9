/* Kept steps from Lua: what a function ran, run once more. The specs' door to launch.h. */
#include "../launch.h"
#include "bind.h"

#include <stdlib.h>

static void release(void *p) {
    tide_steps_clear(p);
    free(p);
}

/* keep_steps(f): calls f and keeps every kernel that it ran, with its tensors. */
static int keep_steps(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    tideL_box *b = tideL_newbox(L, release);
    lua_insert(L, 1);
    tide_steps *steps = calloc(1, sizeof *steps), *was = ctx->steps;
    if (!steps) return tideL_error(L, "keep_steps", "not enough memory");
    b->p = ctx->steps = steps;
    const int st = lua_pcall(L, 0, 0, 0);
    ctx->steps = was;
    if (st != LUA_OK) return lua_error(L);
    return 1;
}

/* run_steps(kept, { name = value }): runs them in order with these values of attributes that change
 * from step to step. Returns how many ran, and how many values were set. */
static int run_steps(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    tide_steps *steps = tideL_unbox(L, 1, release);
    lua_Integer set = 0;
    if (!steps) tideL_error(L, "run_steps", "takes kept steps (got %s)", tideL_typename(L, 1));
    for (lua_settop(L, 2), lua_pushnil(L); lua_istable(L, 2) && lua_next(L, 2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) continue;
        for (int64_t i = 0; i < steps->n; i++)
            set += tide_step_set(steps->step[i], lua_tostring(L, -2),
                                 tideL_tofloat(L, -1, "run_steps", lua_tostring(L, -2)));
    }
    for (int64_t i = 0; i < steps->n; i++) tideL_try(L, ctx, tide_step_again(ctx, steps->step[i]));
    lua_pushinteger(L, (lua_Integer)steps->n);
    lua_pushinteger(L, set);
    return 2;
}

void tideL_open_steps(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"keep_steps", keep_steps}, {"run_steps", run_steps}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
