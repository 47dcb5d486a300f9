/* Orders of data sets for Lua: a shuffle buffer of positions, fed and drawn in blocks, so that
 * shuffled batches cost no call per element.
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
    lua_pushvalue(L, 5);
    tideL_send(L, out);
    return 1;
}

void tideL_open_data(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"data_shuffler", shuffler_new}, {"data_feed", feed}, {"data_draw", draw}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
