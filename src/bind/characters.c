/* Characters for Lua: texts in small letters, in normal forms, mended, taken apart. */
#include "../text/text.h"
#include "bind.h"

#include <stdlib.h>

static void free_bytes(void *p) {
    tide_bytes *b = p;
    free(b->p);
    free(b);
}

tide_bytes *tideL_newbytes(lua_State *L) {
    tideL_box *box = tideL_newbox(L, free_bytes);
    if (!(box->p = calloc(1, sizeof(tide_bytes)))) luaL_error(L, "not enough memory");
    return box->p;
}

int tideL_pushbytes(lua_State *L, const tide_bytes *b) {
    lua_pushlstring(L, b->p ? b->p : "", b->n);
    return 1;
}

/* lower(s): as Python's str.lower */
static int lower(lua_State *L) {
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    tide_bytes *b = tideL_newbytes(L);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_text_lower(ctx, s, n, b));
    return tideL_pushbytes(L, b);
}

/* normalize(s, "NFC" | "NFD" | "NFKC" | "NFKD") */
static int normalize(lua_State *L) {
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD", NULL};
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    const int form = luaL_checkoption(L, 2, NULL, forms);
    tide_bytes *b = tideL_newbytes(L);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_text_normal(ctx, s, n, (tide_form)form, b));
    return tideL_pushbytes(L, b);
}

/* mend(s): broken UTF-8 as U+FFFD */
static int mend(lua_State *L) {
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    lua_settop(L, 1);
    if (tide_utf8_valid(s, n)) return 1;
    tide_bytes *b = tideL_newbytes(L);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_text_mend(ctx, s, n, b));
    return tideL_pushbytes(L, b);
}

/* chars(s): the list of its characters; broken bytes are U+FFFD */
static int chars(lua_State *L) {
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n), *end = s + n;
    lua_Integer i = 0;
    lua_settop(L, 1);
    lua_newtable(L);
    while (s < end) {
        int32_t c;
        const int k = tide_utf8_get(s, end, &c);
        if (c == TIDE_BROKEN) lua_pushliteral(L, "\xef\xbf\xbd");
        else lua_pushlstring(L, s, (size_t)k);
        lua_rawseti(L, 2, ++i);
        s += k;
    }
    return 1;
}

void tideL_open_characters(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"lower", lower}, {"normalize", normalize}, {"mend", mend}, {"chars", chars}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
