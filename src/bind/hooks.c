/* The Lua functions that hang on gradients: hooks, and rules of ops that Lua defines.
 *
 * The core holds numbers; calls[number] is the function, for as long as the core knows the number:
 * what a function needs is there when the gradient comes, whoever else let go of it.
 *
 * Lua's collector cannot see through the core, so a function that holds its own tensor, or one
 * computed from it, would never go. A search (tideL_search) finds those. It takes the functions
 * from the collector's sight and collects; handles that are given up meanwhile come back, and are
 * counted as references of nobody's. Functions that only such references hold are suspects, all
 * others are put back. What those hold was not given up after all: so this is done again for the
 * suspects alone, until none is put back, and then what came back is released.
 *
 * Functions taken away stand in boxes, of which the finalizers put them back at once: made last,
 * they are called before all others, so that nothing that runs finds a function missing. */
#include "bind.h"

#include <stdlib.h>

static const char calls_key, handles_key;

static void push(lua_State *L, const char *key) { lua_rawgetp(L, LUA_REGISTRYINDEX, key); }

/* table[n] = the value on top of the stack, popped; nothing where nil is to be put where nothing
 * is. */
static void put(lua_State *L, const char *key, lua_Integer n) {
    push(L, key);
    lua_insert(L, -2);
    lua_rawseti(L, -2, n);
    lua_pop(L, 1);
}

/* -- numbers -- */

void *tideL_number(lua_State *L, tide_ctx *ctx, int f) {
    const lua_Integer number = ++ctx->numbered;
    lua_pushvalue(L, f);
    put(L, &calls_key, number);
    ctx->functions++;
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
    void *ref = (void *)(intptr_t)*number;
    lua_settop(L, 1);
    push(L, &handles_key);
    lua_rawgeti(L, -1, *number);
    const tideL_handle *h = tideL_tohandle(L, -1);
    if (h && h->t) tide_remove_hook(h->t->ctx, h->t, ref);
    if (tideL_push_numbered(L, ref)) { /* the tensor has no handle: the core passes over the hook */
        lua_pushnil(L);
        put(L, &calls_key, *number);
    }
    *number = 0;
    return 0;
}

void tideL_push_remover(lua_State *L, int i, const void *number) {
    *(lua_Integer *)lua_newuserdatauv(L, sizeof(lua_Integer), 0) = (lua_Integer)(intptr_t)number;
    luaL_setmetatable(L, REMOVER);
    lua_pushvalue(L, i);
    put(L, &handles_key, (lua_Integer)(intptr_t)number);
}

/* -- searches -- */

enum { ROUNDS = 16 }; /* more, one within the other, are for the next search */

typedef struct {
    lua_Integer number;
    int unheld;
} suspect;

typedef struct tide_search {
    suspect *suspects; /* by number */
    int64_t n;
    tideL_handle **given; /* handles that came back */
    int64_t ngiven, cap;
    int failed; /* not all of them could be noted */
} tide_search;

int tideL_comes_back(tideL_handle *h) {
    tide_search *s = h->t->ctx->search;
    if (!s) return 0;
    if (s->ngiven == s->cap) {
        const int64_t cap = s->cap ? s->cap * 2 : 1024;
        tideL_handle **more = realloc(s->given, (size_t)cap * sizeof *more);
        if (!more) return s->failed = 1;
        s->given = more;
        s->cap = cap;
    }
    s->given[s->ngiven++] = h;
    return 1;
}

static int put_back(lua_State *L) { /* a box's finalizer */
    const lua_Integer number = *(lua_Integer *)lua_touserdata(L, 1);
    push(L, &calls_key);
    if (lua_rawgeti(L, -1, number) != LUA_TNIL) { /* not forgotten meanwhile */
        lua_getiuservalue(L, 1, 1);
        lua_rawseti(L, 2, number);
    }
    return 0;
}

/* Boxes for the suspects' functions, in a table on top of the stack: all of them first, since this
 * takes memory. */
static void make_boxes(lua_State *L, const tide_search *s) {
    push(L, &calls_key);
    const int calls = lua_gettop(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, put_back);
    lua_setfield(L, -2, "__gc");
    lua_createtable(L, (int)s->n, 0);
    for (int64_t i = 0; i < s->n; i++) {
        *(lua_Integer *)lua_newuserdatauv(L, sizeof(lua_Integer), 1) = s->suspects[i].number;
        if (lua_rawgeti(L, calls, s->suspects[i].number) == LUA_TFUNCTION) {
            lua_setiuservalue(L, -2, 1);
            lua_pushvalue(L, calls + 1);
            lua_setmetatable(L, -2);
            lua_rawseti(L, calls + 2, i + 1);
        } else lua_pop(L, 2);
    }
    for (int64_t i = 0; i < s->n; i++) {
        if (lua_rawgeti(L, calls + 2, i + 1) != LUA_TNIL) {
            lua_pushboolean(L, 0);
            lua_rawseti(L, calls, s->suspects[i].number);
        }
        lua_pop(L, 1);
    }
    lua_settop(L, calls - 1);
}

static int by_number(const void *a, const void *b) {
    const lua_Integer x = ((const suspect *)a)->number, y = ((const suspect *)b)->number;
    return (x > y) - (x < y);
}

static int by_address(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t) * (tideL_handle *const *)a,
                    y = (uintptr_t) * (tideL_handle *const *)b;
    return (x > y) - (x < y);
}

static void unheld(void *ref, void *arg) {
    tide_search *s = arg;
    const suspect key = {.number = (lua_Integer)(intptr_t)ref};
    suspect *found = bsearch(&key, s->suspects, (size_t)s->n, sizeof key, by_number);
    if (found) found->unheld = 1;
}

/* One collection without the suspects in sight; keeps those of them that nobody holds, and returns
 * whether these are all. */
static int round_of(lua_State *L, tide_ctx *ctx, tide_search *s) {
    if (!tideL_can_collect(L)) return luaL_error(L, "not enough memory");
    make_boxes(L, s);
    s->ngiven = 0;
    ctx->search = s;
    lua_gc(L, LUA_GCCOLLECT);
    ctx->search = NULL;
    tide_tensor **tensors = malloc((size_t)(s->ngiven + 1) * sizeof *tensors);
    int64_t n = 0, left = 0;
    if (s->ngiven) qsort(s->given, (size_t)s->ngiven, sizeof *s->given, by_address);
    for (int64_t i = 0; i < s->ngiven && tensors; i++) /* a cycle under way may give one up first */
        if (s->given[i]->t && (i == 0 || s->given[i] != s->given[i - 1]))
            tensors[n++] = s->given[i]->t;
    if (!tensors || s->failed || tide_each_unheld(ctx, n, tensors, unheld, s) != TIDE_OK) s->n = 0;
    free(tensors);
    const int64_t all = s->n;
    for (int64_t i = 0; i < all; i++)
        if (s->suspects[i].unheld) s->suspects[left++] = (suspect){s->suspects[i].number, 0};
    s->n = left;
    return left == all;
}

static int search_body(lua_State *L) {
    tide_search *s = lua_touserdata(L, 1);
    tide_ctx *ctx = lua_touserdata(L, 2);
    int found = 0;
    for (int i = 0; i < ROUNDS && s->n && !found; i++) found = round_of(L, ctx, s);
    for (int64_t i = 0; i < s->ngiven && found && s->n; i++) {
        tide_tensor *t = s->given[i]->t;
        s->given[i]->t = NULL;
        tide_release(t);
    }
    return 0;
}

void tideL_search(lua_State *L, tide_ctx *ctx) {
    if (!ctx->functions || ctx->walking || ctx->search || !lua_gc(L, LUA_GCISRUNNING)) return;
    if (!lua_checkstack(L, LUA_MINSTACK)) return;
    tide_search s = {.suspects = malloc((size_t)ctx->functions * sizeof *s.suspects)};
    if (!s.suspects) return;
    push(L, &calls_key);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (s.n < ctx->functions && lua_isfunction(L, -1))
            s.suspects[s.n++] = (suspect){lua_tointeger(L, -2), 0};
    lua_pop(L, 1);
    qsort(s.suspects, (size_t)s.n, sizeof *s.suspects, by_number);
    lua_pushcfunction(L, search_body);
    lua_pushlightuserdata(L, &s);
    lua_pushlightuserdata(L, ctx);
    const int status = lua_pcall(L, 2, 0, 0);
    /* not enough memory: another time; Ctrl-C: the op that runs ends (tideL_can_collect) */
    if (status == LUA_ERRRUN) __atomic_store_n(&tide_cancel, 1, __ATOMIC_RELAXED);
    if (status != LUA_OK) lua_pop(L, 1);
    ctx->search = NULL;
    free(s.suspects);
    free(s.given);
    if (tideL_can_collect(L)) lua_gc(L, LUA_GCCOLLECT); /* of what came back, what nobody holds */
}

void tideL_open_hooks(lua_State *L) {
    push(L, &calls_key);
    const int open = lua_istable(L, -1);
    lua_pop(L, 1);
    if (open) return;
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &calls_key);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handles_key);
    luaL_newmetatable(L, REMOVER);
    lua_pushcfunction(L, remove_hook);
    lua_setfield(L, -2, "__call");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, remove_hook);
    lua_setfield(L, -2, "remove");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
