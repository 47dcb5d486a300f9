/* Sequences for Lua: words of a text, rows of one length, windows of series. They stand on
 * core.text. */
#include "../io/image.h"
#include "../text/text.h"
#include "bind.h"

#include <math.h>
#include <string.h>

/* -- windows of series -- */

/* A list of whole numbers, or an int64 tensor of one axis, as a block that stays on the stack. */
static int64_t *numbers(lua_State *L, int i, int64_t *n) {
    if (lua_isuserdata(L, i)) {
        const tide_tensor *t = tideL_pinhost(L, i, "windows");
        if (t->dtype != TIDE_I64 || t->rank != 1 || !tide_is_contiguous(t))
            tideL_error(L, "windows", "firsts must be int64 numbers in a row (got %s)",
                        tide_dtype_name(t->dtype));
        *n = t->shape[0];
        int64_t *p = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *p, 0);
        memcpy(p, tide_host_view(t), (size_t)*n * sizeof *p);
        return p;
    }
    luaL_checktype(L, i, LUA_TTABLE);
    *n = (int64_t)lua_rawlen(L, i);
    int64_t *p = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *p, 0);
    for (int64_t k = 0; k < *n; k++) {
        lua_rawgeti(L, i, k + 1);
        p[k] = luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    return p;
}

/* `n` whole numbers from `first` on, `step` apart, as a block that stays on the stack. */
static int64_t *stepping(lua_State *L, int64_t first, int64_t step, int64_t n) {
    luaL_argcheck(L, n >= 0 && n < INT32_MAX, 6, "is no count");
    int64_t *p = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *p, 0);
    for (int64_t k = 0; k < n; k++)
        p[k] = (int64_t)((uint64_t)first + (uint64_t)k * (uint64_t)step);
    return p;
}

/* windows(x, firsts, offsets, flat, step, count): the rows first + offset (from 1) of a tensor, as
 * (firsts, offsets, …), or without the second axis for one offset and `flat`. firsts: a list, an
 * int64 tensor, or the first of `count` that are `step` apart */
static int windows(lua_State *L) {
    int64_t n = luaL_optinteger(L, 6, 0), m, shape[TIDE_MAX_RANK + 1];
    const int64_t *first = lua_isinteger(L, 2)
        ? stepping(L, lua_tointeger(L, 2), luaL_checkinteger(L, 5), n)
        : numbers(L, 2, &n);
    const int64_t *offset = numbers(L, 3, &m);
    const bool flat = lua_toboolean(L, 4) && m == 1;
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    const tide_tensor *x = tideL_pinhost(L, 1, "windows");
    if (x->rank < 1 || x->rank >= TIDE_MAX_RANK)
        return tideL_error(L, "windows", "x must have 1 to %d axes (got %d)", TIDE_MAX_RANK - 1,
                           x->rank);
    const int rank = x->rank + !flat, skip = flat ? 1 : 2;
    int64_t row = 1, least = 0, most = 0;
    bool together = true;
    shape[0] = n, shape[1] = m;
    for (int a = 1; a < x->rank; a++) shape[a + skip - 1] = x->shape[a], row *= x->shape[a];
    for (int64_t k = 0; k < m; k++) {
        least = offset[k] < least ? offset[k] : least, most = offset[k] > most ? offset[k] : most;
        together &= offset[k] == offset[0] + k;
    }
    for (int64_t i = 0; i < n; i++)
        if (first[i] + least < 1 || first[i] + most > x->shape[0])
            return tideL_error(L, "windows",
                               "window %lld leaves the rows (expected 1 to %lld, got %lld to %lld)",
                               (long long)i + 1, (long long)x->shape[0],
                               (long long)(first[i] + least), (long long)(first[i] + most));
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, x->dtype, rank, shape, &h->t));
    const size_t bytes = (size_t)row * (size_t)tide_dtype_size(x->dtype);
    const char *from = tide_host_view(x);
    char *to = tide_host_view(h->t);
    for (int64_t i = 0; i < n && bytes; i++) {
        const char *at = from + (size_t)(first[i] - 1) * bytes;
        if (together && m) {
            memcpy(to, at + offset[0] * (int64_t)bytes, (size_t)m * bytes);
            to += (size_t)m * bytes;
            continue;
        }
        for (int64_t k = 0; k < m; k++, to += bytes)
            memcpy(to, at + offset[k] * (int64_t)bytes, bytes);
    }
    tideL_send(L, h);
    return 1;
}

/* drawn(seed, pass, draw, step, count, from, below): `count` numbers from + 0 .. from + below - 1,
 * int64, by the draws draw, draw + step, ... of a pass */
static int drawn(lua_State *L) {
    const uint64_t seed = (uint64_t)luaL_checkinteger(L, 1),
                   pass = (uint64_t)luaL_checkinteger(L, 2),
                   draw = (uint64_t)luaL_checkinteger(L, 3),
                   step = (uint64_t)luaL_checkinteger(L, 4);
    const int64_t n = luaL_checkinteger(L, 5), from = luaL_checkinteger(L, 6),
                  below = luaL_checkinteger(L, 7);
    luaL_argcheck(L, n >= 0 && n < INT32_MAX, 5, "is no count");
    luaL_argcheck(L, below > 0, 7, "must be 1 or more");
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_I64, 1, &n, &h->t));
    int64_t *to = tide_host_view(h->t);
    for (int64_t k = 0; k < n; k++) {
        const uint64_t bits = tide_sample_seed(seed, pass, draw + (uint64_t)k * step);
        to[k] = from + (int64_t)floor((double)(bits >> 11) * 0x1p-53 * (double)below);
    }
    tideL_send(L, h);
    return 1;
}

/* rows(lists, length, pad first, cut first, value, dtype): lists of numbers as (lists, length) of
 * int32, int64, float32 or float64; nil where a list holds something else */
static int rows(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const int64_t n = (int64_t)lua_rawlen(L, 1), length = luaL_checkinteger(L, 2);
    const bool pad_first = lua_toboolean(L, 3), cut_first = lua_toboolean(L, 4);
    const double value = luaL_checknumber(L, 5);
    if (!(fabs(value) < INT32_MAX)) return 0;
    const int dtype = tideL_todtype(L, 6, "pad_sequences");
    const int64_t shape[2] = {n, length};
    luaL_argcheck(L, length >= 0, 2, "must be 0 or more");
    if (dtype != TIDE_I32 && dtype != TIDE_I64 && dtype != TIDE_F32 && dtype != TIDE_F64) return 0;
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, dtype, 2, shape, &h->t));
    char *to = tide_host_view(h->t);
#define PUT(type, at, v) (((type *)to)[at] = (type)(v))
#define PUT_ANY(at, v)                                   \
    (dtype == TIDE_I32       ? (void)PUT(int32_t, at, v) \
         : dtype == TIDE_I64 ? (void)PUT(int64_t, at, v) \
         : dtype == TIDE_F32 ? (void)PUT(float, at, v)   \
                             : (void)PUT(double, at, v))
    for (int64_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, 1, i + 1) != LUA_TTABLE) return 0;
        const int64_t size = (int64_t)lua_rawlen(L, -1), kept = size < length ? size : length;
        const int64_t first = cut_first ? size - kept : 0,
                      at = i * length + (pad_first ? length - kept : 0);
        for (int64_t k = 0; k < length - kept; k++)
            PUT_ANY(pad_first ? i * length + k : at + kept + k, value);
        for (int64_t k = 0; k < kept; k++) {
            if (lua_rawgeti(L, -1, first + k + 1) != LUA_TNUMBER) return 0;
            const lua_Integer whole = lua_tointeger(L, -1);
            if (dtype == TIDE_I32 && whole != (int32_t)whole) return 0;
            if (lua_isinteger(L, -1)) PUT_ANY(at + k, whole);
            else if (dtype == TIDE_F32 || dtype == TIDE_F64) PUT_ANY(at + k, lua_tonumber(L, -1));
            else return 0;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    tideL_send(L, h);
    return 1;
}

/* -- words -- */

/* words(text, separators): what stands between separators, which are characters of ASCII; broken
 * UTF-8 stays as it is */
static int words(lua_State *L) {
    size_t n, m;
    const unsigned char *s = (const unsigned char *)luaL_checklstring(L, 1, &n);
    const unsigned char *set = (const unsigned char *)luaL_checklstring(L, 2, &m);
    bool cuts[256] = {false};
    for (size_t i = 0; i < m; i++) cuts[set[i]] = true;
    lua_newtable(L);
    lua_Integer k = 0;
    for (size_t i = 0, from = 0; i <= n; i++) {
        if (i < n && !cuts[s[i]]) continue;
        if (i > from) {
            lua_pushlstring(L, (const char *)s + from, i - from);
            lua_rawseti(L, 3, ++k);
        }
        from = i + 1;
    }
    return 1;
}

void tideL_open_sequences(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"windows", windows}, {"drawn", drawn}, {"rows", rows}, {"words", words}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
