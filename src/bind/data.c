/* Orders and elements of data sets for Lua: a shuffle buffer of positions, fed and drawn in blocks,
 * so that shuffled batches cost no call per element; what batches of elements are.
 *
 * Invariant: the i-th draw of a pass depends on (seed, pass, i) and on how full the buffer is; the
 * Lua stage that shuffles elements draws by the same rule (lua/tide/data/stages/shuffle.lua). */
#include "bind.h"

#include "../io/image.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t seed, pass, drawn;
    int64_t *at, n, room;
} shuffler;

static void release(void *p) {
    free(((shuffler *)p)->at);
    free(p);
}

static shuffler *check(lua_State *L) {
    shuffler *s = tideL_unbox(L, 1, release);
    if (!s) tideL_error(L, "shuffle", "takes a shuffler (got %s)", tideL_typename(L, 1));
    return s;
}

/* data_shuffler(seed, pass) */
static int shuffler_new(lua_State *L) {
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 1), pass = (uint64_t)luaL_checkinteger(L, 2);
    tideL_box *b = tideL_newbox(L, release);
    shuffler *s = calloc(1, sizeof *s);
    if (!s) return tideL_error(L, "shuffle", "not enough memory");
    s->seed = seed, s->pass = pass, b->p = s;
    return 1;
}

/* What comes in: positions of an int64 tensor at i, or `count` from the number at i on. */
typedef struct {
    const int64_t *from;
    int64_t first, count;
} incoming;

static incoming positions(lua_State *L, int i) {
    incoming in = {.first = 0};
    if (lua_isnoneornil(L, i)) return in;
    if (lua_isinteger(L, i)) {
        in.first = lua_tointeger(L, i), in.count = luaL_checkinteger(L, i + 1);
        return in;
    }
    tide_tensor *t = tideL_pinhost(L, i, "shuffle");
    if (t->dtype != TIDE_I64) tideL_error(L, "shuffle", "positions are int64");
    in.from = tide_host_view(t), in.count = tide_numel(t);
    return in;
}

static int64_t taken(const incoming *in, int64_t i) {
    return in->from ? in->from[i] : in->first + i;
}

/* data_feed(shuffler, first, count) or (shuffler, tensor): into the buffer */
static int feed(lua_State *L) {
    shuffler *s = check(L);
    incoming in = positions(L, 2);
    if (in.count > s->room - s->n) {
        int64_t room = s->n + in.count, *at;
        if (room > INT64_MAX / 16 || !(at = realloc(s->at, (size_t)room * sizeof *at)))
            return tideL_error(L, "shuffle", "not enough memory for a buffer of %lld positions",
                               (long long)room);
        s->at = at, s->room = room;
    }
    for (int64_t i = 0; i < in.count; i++) s->at[s->n++] = taken(&in, i);
    return 0;
}

/* data_draw(shuffler, n, first | tensor | nil, count) -> int64 tensor of up to n positions, nil
 * where there are none. Each draw is replaced by the next that comes in, or by the last. */
static int draw(lua_State *L) {
    shuffler *s = check(L);
    int64_t n = luaL_checkinteger(L, 2), next = 0;
    tide_ctx *ctx = tideL_ctx(L);
    lua_settop(L, 4);
    tideL_pace(L, ctx);
    tideL_handle *out = tideL_new(L);
    incoming in = positions(L, 3);
    if (n > s->n + in.count) n = s->n + in.count;
    if (s->n == 0 || n <= 0) {
        lua_pushnil(L);
        return 1;
    }
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_I64, 1, &n, &out->t));
    int64_t *to = tide_host_view(out->t);
    for (int64_t i = 0; i < n; i++) {
        uint64_t h = tide_sample_seed(s->seed, s->pass, s->drawn++) >> 1;
        int64_t k = (int64_t)(h % (uint64_t)s->n);
        to[i] = s->at[k];
        s->at[k] = next < in.count ? taken(&in, next++) : s->at[--s->n];
    }
    if (s->n == 0) { /* the collector does not see these bytes */
        free(s->at);
        s->at = NULL, s->room = 0;
    }
    lua_pushvalue(L, 5);
    tideL_send(L, out);
    return 1;
}

/* -- padding -- */

/* A block of `from` extents into one of `to` extents, both row-major. */
static void place(const char *from, const int64_t *have, char *to, const int64_t *room, int rank,
                  size_t size) {
    if (rank == 1) {
        memcpy(to, from, (size_t)have[0] * size);
        return;
    }
    size_t a = size, b = size;
    for (int k = 1; k < rank; k++) a *= (size_t)have[k], b *= (size_t)room[k];
    for (int64_t i = 0; i < have[0]; i++)
        place(from + (size_t)i * a, have + 1, to + (size_t)i * b, room + 1, rank - 1, size);
}

/* data_pad(tensors, shape, value): tensors of one dtype and rank, none larger than `shape`, as one
 * with an axis in front; `value`, a tensor of one element, stands behind the smaller ones. */
static int pad(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    int64_t n = (int64_t)lua_rawlen(L, 1), shape[9] = {n}, rank = (int64_t)lua_rawlen(L, 2);
    if (rank < 1 || rank > 7) return tideL_error(L, "padded_batch", "takes tensors of 1 to 7 axes");
    for (int64_t k = 1; k <= rank; k++) {
        lua_rawgeti(L, 2, k);
        shape[k] = lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    lua_settop(L, 3);
    tideL_pace(L, ctx);
    tide_tensor *value = tideL_pinhost(L, 3, "padded_batch");
    tideL_handle *out = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, value->dtype, (int)rank + 1, shape, &out->t));
    size_t size = tide_dtype_size(value->dtype), each = 1;
    for (int64_t k = 1; k <= rank; k++) each *= (size_t)shape[k];
    char *to = tide_host_view(out->t);
    const char *v = tide_host_view(value);
    for (size_t i = 0; i < (size_t)n * each; i++) memcpy(to + i * size, v, size);
    int top = lua_gettop(L);
    for (int64_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        tide_tensor *t = tideL_pinhost(L, -1, "padded_batch");
        int fits = t->dtype == value->dtype && t->rank == rank;
        for (int64_t k = 0; fits && k < rank; k++) fits = t->shape[k] <= shape[k + 1];
        if (!fits)
            return tideL_error(L, "padded_batch", "tensor %lld does not fit", (long long)i + 1);
        if (tide_numel(t) > 0)
            place(tide_host_view(t), t->shape, to + (size_t)i * each * size, shape + 1, (int)rank,
                  size);
        lua_settop(L, top);
    }
    tideL_send(L, out);
    return 1;
}

/* -- kinds -- */

/* data_kind(values, n): the dtype that n numbers or booleans make: "int64" of whole ones,
 * "float32", "bool"; where they differ in type from the first, the place of one that does comes
 * second. */
static int kind(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const lua_Integer n = luaL_checkinteger(L, 2);
    bool whole = true;
    const int first = lua_rawgeti(L, 1, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_settop(L, 2);
        if (lua_rawgeti(L, 1, i) != first) {
            lua_pushnil(L), lua_pushinteger(L, i);
            return 2;
        }
        whole = whole && lua_isinteger(L, 3);
    }
    lua_pushstring(L, first == LUA_TBOOLEAN ? "bool" : whole ? "int64" : "float32");
    return 1;
}

void tideL_open_data(lua_State *L) {
    static const luaL_Reg functions[] = {{"data_shuffler", shuffler_new},
                                         {"data_feed", feed},
                                         {"data_draw", draw},
                                         {"data_pad", pad},
                                         {"data_kind", kind},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
