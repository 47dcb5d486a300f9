/* Columns of files for Lua: tensors of one axis, and lists of strings. */
#include "../point.h"
#include "bind.h"

#include "../io/columns.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void release(void *p) { tide_columns_free(p); }

/* The strings of the list at i; the list keeps them. */
static const char **texts(lua_State *L, int i, int64_t *n) {
    *n = lua_istable(L, i) ? (int64_t)lua_rawlen(L, i) : 0;
    const char **out = lua_newuserdatauv(L, ((size_t)*n + 1) * sizeof *out, 0);
    for (int64_t k = 0; k < *n; k++) {
        lua_rawgeti(L, i, (lua_Integer)k + 1);
        out[k] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    return out;
}

static int64_t whole(lua_State *L, const char *key, int64_t otherwise) {
    int64_t v = tideL_field(L, 3, key) == LUA_TNIL ? otherwise : (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

enum { SEEN = 1 << 15 }; /* texts that are remembered, a power of two */

static unsigned mixed(const char *p, size_t n) {
    uint64_t v = n * 0x9E3779B97F4A7C15u, part = 0;
    memcpy(&part, p, n < 8 ? n : 8);
    v = (v ^ part) * 0xFF51AFD7ED558CCDu;
    if (n > 8) memcpy(&part, p + n - 8, 8), v = (v ^ part ^ v >> 29) * 0xC4CEB9FE1A85EC53u;
    return (unsigned)(v >> 32) & (SEEN - 1);
}

/* texts(column, context, value that stands for missing ones) -> list. What came before is taken
 * from the list: Lua would hash it and look for it among all its strings. */
static int list_texts(lua_State *L) {
    const tide_column *c = lua_touserdata(L, 1);
    tide_ctx *ctx = lua_touserdata(L, 2);
    int64_t from = 0, *seen = lua_newuserdatauv(L, SEEN * sizeof *seen, 0);
    memset(seen, 0, SEEN * sizeof *seen);
    lua_createtable(L, c->n > INT_MAX ? INT_MAX : (int)c->n, 0);
    for (int64_t i = 0; i < c->n; i++) {
        int64_t end = c->as.end[i], stop = end < 0 ? ~end : end;
        const char *p = c->bytes + from;
        size_t n = (size_t)(stop - from);
        if ((i & 0xFFFF) == 0xFFFF) tideL_try(L, ctx, tide_go_on(ctx));
        if (end < 0) {
            lua_pushvalue(L, 3);
        } else {
            int64_t *place = &seen[n ? mixed(p, n) : 0], k = *place - 1;
            int64_t other = k > 0 ? c->as.end[k - 1] : 0, last = k >= 0 ? c->as.end[k] : 0;
            if (other < 0) other = ~other;
            if (k >= 0 && last - other == (int64_t)n && n > 0 && !memcmp(c->bytes + other, p, n)) {
                lua_rawgeti(L, -1, (lua_Integer)k + 1);
            } else {
                lua_pushlstring(L, p, n);
                *place = i + 1;
            }
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        from = stop;
    }
    return 1;
}

/* A list of strings; a missing one is the value at `blank`. The collector waits meanwhile: there is
 * nothing to collect among what is made, and it would go through all of it again and again. */
static void push_texts(lua_State *L, tide_ctx *ctx, const tide_column *c, int blank) {
    int running = lua_gc(L, LUA_GCISRUNNING);
    lua_pushcfunction(L, list_texts);
    lua_pushlightuserdata(L, (void *)(uintptr_t)c);
    lua_pushlightuserdata(L, ctx);
    lua_pushvalue(L, blank);
    if (running) lua_gc(L, LUA_GCSTOP);
    int st = lua_pcall(L, 3, 1, 0);
    if (running) lua_gc(L, LUA_GCRESTART);
    if (st != LUA_OK) lua_error(L);
}

static void push_numbers(lua_State *L, tide_ctx *ctx, const tide_column *c, const char *where) {
    tide_dtype dtype = c->kind == TIDE_COLUMN_INT ? TIDE_I64
        : c->kind == TIDE_COLUMN_BOOL             ? TIDE_BOOL
                                                  : TIDE_F64;
    tideL_pace(L, ctx);
    tideL_handle *out = tideL_new(L);
    tideL_try_named(L, ctx, where, tide_new_host(ctx, dtype, 1, &c->n, &out->t));
    void *to = tide_host_view(out->t);
    if (c->kind == TIDE_COLUMN_ANY) /* all are missing */
        for (int64_t i = 0; i < c->n; i++) ((double *)to)[i] = NAN;
    else if (c->n > 0) memcpy(to, c->as.i, (size_t)c->n * tide_dtype_size(dtype));
    tideL_send(L, out);
}

/* columns_read(reader, where, { kinds = "?ifbtsx", names, missing, rows, bytes, skip, blank }) ->
 * list of columns (false: left out), rows, kinds as they were found ("S": texts that have to be
 * read once more as "s"), rows left out, what was wrong with the last of them, whether the file
 * ended */
static int columns_read(lua_State *L) {
    const char *path, *where = luaL_checkstring(L, 2);
    tide_status stopped;
    tide_records *r = tideL_records(L, &path, &stopped);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    tide_ctx *ctx = tideL_ctx(L);
    int64_t rows = whole(L, "rows", INT64_MAX / 2), bytes = whole(L, "bytes", INT64_MAX / 2), n,
            missing_n, names_n, skipped = 0;
    int skip = tideL_field(L, 3, "skip") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    tideL_field(L, 3, "kinds"), tideL_field(L, 3, "names");
    tideL_field(L, 3, "missing"), tideL_field(L, 3, "blank"); /* at 5, 6, 7, 8 */
    size_t kinds_n;
    const char *kinds = luaL_checklstring(L, 5, &kinds_n);
    n = (int64_t)kinds_n;
    if (lua_isnil(L, 8)) lua_pushboolean(L, 0), lua_replace(L, 8);
    const char **names = texts(L, 6, &names_n), **missing = texts(L, 7, &missing_n);
    tideL_box *box = tideL_newbox(L, release);
    tide_columns *t = tide_columns_new(kinds, n, missing, missing_n, names_n >= n ? names : NULL);
    if (!t) return tideL_error(L, where, "not enough memory");
    box->p = t;
    tide_found k;
    while ((k = tide_columns_read(t, r, rows - tide_columns_rows(t), bytes)) == TIDE_RECORD_BAD &&
           skip)
        skipped++;
    if (k == TIDE_RECORD_STOPPED) {
        tideL_records(L, &path, &stopped);
        return tideL_raise(L, ctx, stopped);
    }
    if (k == TIDE_RECORD_LOST && skip) skipped++;
    if (!skip && (k == TIDE_RECORD_BAD || k == TIDE_RECORD_LOST))
        return tideL_error(L, where, "%s: %s; on_error = \"skip\" leaves such rows out", path,
                           tide_columns_error(t));
    lua_createtable(L, (int)n, 0);
    char *found = lua_newuserdatauv(L, (size_t)n + 1, 0);
    for (int64_t i = 0; i < n; i++) {
        tide_column *c = tide_columns_at(t, i);
        found[i] = c->again ? 'S' : c->kind;
        if (c->kind == TIDE_COLUMN_OUT) lua_pushboolean(L, 0);
        else if (c->kind == TIDE_COLUMN_TEXT) push_texts(L, ctx, c, 8);
        else push_numbers(L, ctx, c, where);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        free(c->as.i), free(c->bytes); /* Lua has them now */
        c->as.i = NULL, c->bytes = NULL;
    }
    lua_pushvalue(L, -2);
    lua_pushinteger(L, tide_columns_rows(t));
    lua_pushlstring(L, found, (size_t)n);
    lua_pushinteger(L, skipped);
    lua_pushstring(L, skipped ? tide_columns_error(t) : "");
    lua_pushboolean(L, k == TIDE_RECORD_END || k == TIDE_RECORD_LOST);
    tide_columns_free(t);
    box->p = NULL;
    return 6;
}

void tideL_open_columns(lua_State *L) {
    static const luaL_Reg functions[] = {{"columns_read", columns_read}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
