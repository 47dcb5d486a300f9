/* The Lua functions that hang on gradients: hooks, and rules of ops that Lua defines.
 *
 * Lua's collector must see what a function holds, its own tensor among it, or the two keep each
 * other for ever. So the functions of a handle stand in owners[handle], an ephemeron table: they
 * live while the handle does. The core holds numbers; calls[number], weak in its values, is the
 * function.
 *
 * But a node outlives its handles where other nodes or tensors hold it. So when the collector gives
 * a handle up whose tensor the core holds, its functions go into `kept`, and the handle comes back
 * once: what none of them holds is given up again and released, what one of them holds lives on,
 * until a look behind a collection finds that the core holds the tensor no more.
 *
 * Invariant: to keep a list and to let it go writes into fields that there are, so that a finalizer
 * needs no memory. */
#include "bind.h"

/* A list of functions, owners[handle]: [number] = function, [SLOT] = its place in `kept`, [OUTS] =
 * results of the node that have lists of their own, [KEPT] = it is there, [LOOSE] = a look has let
 * it go. */
enum { SLOT = 0, OUTS = -1, KEPT = -2, LOOSE = -3 };

static const char owners_key, calls_key, handles_key, kept_key;

static void push(lua_State *L, const char *key) { lua_rawgetp(L, LUA_REGISTRYINDEX, key); }

/* table[n] = the value on top of the stack, popped; nothing where nil is to be put where nothing
 * is. */
static void put(lua_State *L, const char *key, lua_Integer n) {
    push(L, key);
    lua_insert(L, -2);
    lua_rawseti(L, -2, n);
    lua_pop(L, 1);
}

/* Pushes the list of the handle at i, or pushes nothing and returns 0. */
static int push_list(lua_State *L, int i) {
    i = lua_absindex(L, i);
    push(L, &owners_key);
    lua_pushvalue(L, i);
    const int found = lua_rawget(L, -2) == LUA_TTABLE;
    lua_remove(L, -2);
    if (!found) lua_pop(L, 1);
    return found;
}

static lua_Integer entry(lua_State *L, int list, lua_Integer k) {
    lua_rawgeti(L, list, k);
    const lua_Integer v = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

static void set_entry(lua_State *L, int list, lua_Integer k, lua_Integer v) {
    list = lua_absindex(L, list);
    lua_pushinteger(L, v);
    lua_rawseti(L, list, k);
}

/* -- looks -- */

/* Does the core hold the tensor beside its handle? */
static int held(const tide_tensor *t /* pinned */, lua_Integer outs) {
    return t->refs > 1 || (t->node && t->node->refs > outs);
}

/* Has the core let go of every function of the list on top of the stack? */
static int forgotten(lua_State *L) {
    int any = 0;
    push(L, &calls_key);
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1))
        if (lua_isfunction(L, -1)) {
            any |= lua_rawgeti(L, -3, lua_tointeger(L, -2)) != LUA_TNIL;
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
    return !any;
}

static int look(lua_State *L);

static void look_again(lua_State *L, tide_ctx *ctx) { /* behind the next collection */
    if (ctx->looks || !ctx->functions) return;
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, look);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    ctx->looks = 1;
}

/* The handle of the list on top of the stack, while it has a tensor. */
static tideL_handle *owner(lua_State *L) {
    tideL_handle *h = NULL;
    push(L, &handles_key);
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1))
        if (lua_isfunction(L, -1) && !h) {
            lua_rawgeti(L, -3, lua_tointeger(L, -2));
            h = tideL_tohandle(L, -1);
            lua_pop(L, 1);
        }
    lua_pop(L, 1);
    return h && h->t ? h : NULL;
}

static int look(lua_State *L) {
    tideL_push_ctx(L);
    tide_ctx *ctx = *(tide_ctx **)lua_touserdata(L, -1);
    if (!ctx) return 0;
    ctx->looks = 0;
    push(L, &kept_key);
    const int kept = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, kept); lua_settop(L, kept + 1)) {
        if (!lua_istable(L, -1)) continue;
        const tideL_handle *h = owner(L);
        if (h && held(h->t, entry(L, -1, OUTS))) continue;
        if (!h && !forgotten(L)) continue;
        set_entry(L, -1, KEPT, 0);
        set_entry(L, -1, LOOSE, 1);
        if (h) lua_pushboolean(L, 0);
        else lua_pushnil(L);
        lua_rawseti(L, kept, lua_tointeger(L, kept + 1));
    }
    look_again(L, ctx);
    return 0;
}

/* Keeps the list on top of the stack, of the handle at i, and gives the functions their numbers
 * back, which the collector took from the weak tables. */
static void keep(lua_State *L, int i) {
    const int list = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, list); lua_settop(L, list + 1)) {
        if (!lua_isfunction(L, -1)) continue;
        const lua_Integer number = lua_tointeger(L, -2);
        put(L, &calls_key, number);
        lua_pushvalue(L, i);
        put(L, &handles_key, number);
    }
    set_entry(L, list, KEPT, 1);
    set_entry(L, list, LOOSE, 0);
    lua_pushvalue(L, list);
    put(L, &kept_key, entry(L, list, SLOT));
}

int tideL_keep_hooked(lua_State *L, int i, int collected) {
    i = lua_absindex(L, i);
    const tideL_handle *h = tideL_tohandle(L, i);
    if (!push_list(L, i)) return 0;
    const lua_Integer outs = entry(L, -1, OUTS), kept = entry(L, -1, KEPT),
                      loose = entry(L, -1, LOOSE);
    const int holds = h->t && held(h->t, collected && !loose ? 1 : outs);
    if (holds && !kept) keep(L, i);
    else if (!kept) {
        lua_pushnil(L);
        put(L, &kept_key, entry(L, -2, SLOT));
    }
    lua_pop(L, 1);
    return holds && !kept;
}

void tideL_release_kept(lua_State *L) {
    push(L, &kept_key);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        tideL_handle *h = lua_istable(L, -1) ? owner(L) : NULL;
        tide_tensor *t = h ? h->t : NULL;
        if (t) h->t = NULL, tide_release(t);
    }
    lua_pop(L, 1);
}

/* -- numbers -- */

/* A list for the handle at i, on the stack. */
static void new_list(lua_State *L, tide_ctx *ctx, int i, lua_Integer outs) {
    const lua_Integer slot = ++ctx->numbered;
    lua_newtable(L);
    set_entry(L, -1, SLOT, slot);
    set_entry(L, -1, OUTS, outs);
    set_entry(L, -1, KEPT, 0);
    set_entry(L, -1, LOOSE, 0);
    lua_pushboolean(L, 0);
    put(L, &kept_key, slot);
    push(L, &owners_key);
    lua_pushvalue(L, i);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    tideL_tohandle(L, i)->magic |= TIDEL_HOOKED;
}

void *tideL_number(lua_State *L, tide_ctx *ctx, int first, int outs, int f) {
    const lua_Integer number = ++ctx->numbered;
    for (int i = first; i < first + outs; i++) {
        if (!push_list(L, i)) new_list(L, ctx, i, outs);
        lua_pushvalue(L, f);
        lua_rawseti(L, -2, number);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, first);
    put(L, &handles_key, number);
    lua_pushvalue(L, f);
    put(L, &calls_key, number);
    ctx->functions++;
    look_again(L, ctx);
    return (void *)(intptr_t)number;
}

int tideL_push_numbered(lua_State *L, const void *number) {
    push(L, &calls_key);
    const int found = lua_rawgeti(L, -1, (lua_Integer)(intptr_t)number) == LUA_TFUNCTION;
    lua_remove(L, -2);
    if (!found) lua_pop(L, 1);
    return found;
}

void tideL_forget(tide_ctx *ctx, void *number) {
    lua_State *L = ctx->lua;
    const lua_Integer n = (lua_Integer)(intptr_t)number;
    ctx->functions--;
    push(L, &calls_key);
    if (lua_rawgeti(L, -1, n) != LUA_TNIL) {
        lua_pushnil(L);
        lua_rawseti(L, -3, n);
    }
    lua_pop(L, 2);
}

/* -- what register_hook returns: remover(), remover:remove() -- */

#define REMOVER "tide.hook"

static int remove_hook(lua_State *L) {
    lua_Integer *number = luaL_checkudata(L, 1, REMOVER);
    lua_settop(L, 1);
    push(L, &handles_key);
    if (*number && lua_rawgeti(L, -1, *number) == LUA_TUSERDATA && push_list(L, -1)) {
        lua_pushnil(L);
        lua_rawseti(L, -2, *number);
        const tideL_handle *h = tideL_tohandle(L, -2);
        if (h->t) tide_remove_hook(h->t->ctx, h->t, (void *)(intptr_t)*number);
    }
    if (tideL_push_numbered(L, (void *)(intptr_t)*number)) { /* the core passes over it */
        lua_pushnil(L);
        put(L, &calls_key, *number);
    }
    *number = 0;
    return 0;
}

void tideL_push_remover(lua_State *L, const void *number) {
    *(lua_Integer *)lua_newuserdatauv(L, sizeof(lua_Integer), 0) = (lua_Integer)(intptr_t)number;
    luaL_setmetatable(L, REMOVER);
}

static void weak(lua_State *L, const char *key, const char *mode) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void tideL_open_hooks(lua_State *L) {
    push(L, &kept_key);
    const int open = lua_istable(L, -1);
    lua_pop(L, 1);
    if (open) return;
    weak(L, &owners_key, "k");
    weak(L, &calls_key, "v");
    weak(L, &handles_key, "v");
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
    luaL_newmetatable(L, REMOVER);
    lua_pushcfunction(L, remove_hook);
    lua_setfield(L, -2, "__call");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, remove_hook);
    lua_setfield(L, -2, "remove");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
