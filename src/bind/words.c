/* Text for Lua: words, their numbers in a vocabulary, and their hashes. Text is lists of strings
 * here, numbers are integer tensors; results that are numbers are int64 tensors. */
#include "../core.h"
#include "../text/hash.h"
#include "../text/words.h"
#include "bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 4096 }; /* values between two looks at Ctrl-C */

static void go_on(lua_State *L, tide_ctx *ctx, int64_t i) {
    if (i % STEPS == 0) tideL_try(L, ctx, tide_go_on(ctx));
}

/* A new int64 tensor on top of the stack. */
static int64_t *new_ids(lua_State *L, tide_ctx *ctx, int rank, const int64_t *shape) {
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_I64, rank, shape, &h->t));
    return tide_host_view(h->t);
}

/* -- values: text or whole numbers -- */
typedef struct {
    const int64_t *numbers; /* NULL: strings, in the list at `at` */
    int at;
    int64_t n;
} values;

/* A list of strings, or an integer tensor, which becomes int64 of the function's own. */
static values to_values(lua_State *L, tide_ctx *ctx, int i, const char *where) {
    values v = {NULL, lua_absindex(L, i), 0};
    if (lua_type(L, i) == LUA_TTABLE) {
        v.n = (int64_t)lua_rawlen(L, i);
        return v;
    }
    tide_tensor *t = tideL_pinhost(L, v.at, where);
    if (t->dtype == TIDE_BOOL || tide_is_float(t->dtype))
        tideL_error(L, where, "takes text or whole numbers (got %s)", tide_dtype_name(t->dtype));
    tideL_handle *h = tideL_newpin(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_I64, t->rank, t->shape, &h->t));
    tideL_try(L, ctx, tide_copy_into(ctx, h->t, t));
    v.numbers = tide_host_view(h->t), v.n = tide_numel(h->t);
    return v;
}

/* String `i` of the list at `at`; it stays alive there. */
static const char *string_at(lua_State *L, int at, int64_t i, size_t *n, const char *where) {
    if (lua_rawgeti(L, at, i + 1) != LUA_TSTRING)
        tideL_error(L, where, "takes a list of strings (got %s at position %lld)",
                    tideL_typename(L, -1), (long long)i + 1);
    const char *text = lua_tolstring(L, -1, n);
    lua_pop(L, 1);
    return text;
}

/* -- hashes -- */
typedef struct {
    int strong;
    uint64_t key[2];
} salt;

static salt to_salt(lua_State *L, int i) {
    salt s = {!lua_isnoneornil(L, i), {0, 0}};
    if (s.strong)
        for (int k = 0; k < 2; k++) s.key[k] = (uint64_t)luaL_checkinteger(L, i + k);
    return s;
}

static uint64_t hash_text(const salt *s, const char *text, size_t n) {
    return s->strong ? tide_siphash64(text, n, s->key[0], s->key[1]) : tide_fingerprint64(text, n);
}

/* Whole numbers are hashed as they are written. */
static uint64_t hash_number(const salt *s, int64_t v) {
    char text[24];
    return hash_text(s, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)v));
}

static uint64_t hash_value(lua_State *L, const values *v, int64_t i, const salt *s,
                           const char *where) {
    if (v->numbers) return hash_number(s, v->numbers[i]);
    size_t n;
    const char *text = string_at(L, v->at, i, &n, where);
    return hash_text(s, text, n);
}

static int64_t check_bins(lua_State *L, int i) {
    const lua_Integer bins = luaL_checkinteger(L, i);
    luaL_argcheck(L, bins >= 1, i, "at least one bin");
    return bins;
}

/* hash_bins(values, bins, k0, k1): the bin of each, from 0; without a key by Fingerprint64 */
static int hash_bins(lua_State *L) {
    const int64_t bins = check_bins(L, 2);
    const salt s = to_salt(L, 3);
    tide_ctx *ctx = tideL_ctx(L);
    const values v = to_values(L, ctx, 1, "hash_bins");
    int64_t *out = new_ids(L, ctx, 1, &v.n);
    for (int64_t i = 0; i < v.n; i++) {
        go_on(L, ctx, i);
        out[i] = (int64_t)(hash_value(L, &v, i, &s, "hash_bins") % (uint64_t)bins);
    }
    return 1;
}

/* cross_bins(list of values, bins, key): the bin of each combination, from 0 */
static int cross_bins(lua_State *L) {
    enum { COLUMNS = 64 };
    luaL_checktype(L, 1, LUA_TTABLE);
    const uint64_t begin = (uint64_t)luaL_optinteger(L, 3, 0xDECAFCAFFE); /* TensorFlow's */
    const int64_t bins = check_bins(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    const int n = (int)lua_rawlen(L, 1);
    values column[COLUMNS];
    luaL_argcheck(L, n >= 1 && n <= COLUMNS, 1, "1 to 64 columns");
    luaL_checkstack(L, 4 * n + 8, "columns");
    for (int c = 0; c < n; c++) {
        lua_rawgeti(L, 1, c + 1);
        column[c] = to_values(L, ctx, lua_gettop(L), "cross_bins");
        luaL_argcheck(L, column[c].n == column[0].n, 1, "columns of one length");
    }
    const salt plain = {0, {0, 0}};
    int64_t *out = new_ids(L, ctx, 1, &column[0].n);
    for (int64_t i = 0; i < column[0].n; i++) {
        go_on(L, ctx, i);
        uint64_t h = begin;
        for (int c = 0; c < n; c++)
            h = tide_fingerprint_pair(h,
                                      column[c].numbers
                                          ? (uint64_t)column[c].numbers[i]
                                          : hash_value(L, &column[c], i, &plain, "cross_bins"));
        out[i] = (int64_t)(h % (uint64_t)bins);
    }
    return 1;
}

/* -- numbers in a vocabulary -- */
typedef struct {
    int table;             /* on the stack: value -> number */
    int64_t first, others; /* the numbers of what it lacks: first .. first + others - 1 */
    int divide;            /* whole numbers by their remainder, not by their hash */
    salt key;
} vocabulary;

static vocabulary to_vocabulary(lua_State *L, int i) {
    vocabulary v = {.table = i};
    luaL_checktype(L, i, LUA_TTABLE);
    v.first = luaL_checkinteger(L, i + 1), v.others = luaL_checkinteger(L, i + 2);
    v.divide = lua_toboolean(L, i + 3);
    v.key = to_salt(L, i + 4);
    return v;
}

/* The number that stands on top of the stack, popped; -1: none. */
static int64_t popped(lua_State *L) {
    const int64_t id = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
    lua_pop(L, 1);
    return id;
}

/* The number of the string on top of the stack, popped. */
static int64_t number_of(lua_State *L, const vocabulary *v) {
    lua_pushvalue(L, -1);
    lua_rawget(L, v->table);
    int64_t id = popped(L);
    if (id < 0 && v->others == 1) id = v->first;
    if (id < 0 && v->others > 1) {
        size_t n;
        const char *text = lua_tolstring(L, -1, &n);
        id = v->first + (int64_t)(hash_text(&v->key, text, n) % (uint64_t)v->others);
    }
    lua_pop(L, 1);
    return id;
}

static int64_t number_of_whole(lua_State *L, const vocabulary *v, int64_t x) {
    lua_rawgeti(L, v->table, x);
    const int64_t id = popped(L);
    if (id >= 0 || v->others < 1) return id;
    if (!v->divide) return v->first + (int64_t)(hash_number(&v->key, x) % (uint64_t)v->others);
    const int64_t rest = x % v->others;
    return v->first + (rest < 0 ? rest + v->others : rest);
}

/* vocabulary_ids(values, table, first, others, divide, k0, k1): the number of each in the table,
 * else first + its bin of `others`; with no others the first that is unknown, from 1, comes second.
 */
static int vocabulary_ids(lua_State *L) {
    const vocabulary known = to_vocabulary(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    const values v = to_values(L, ctx, 1, "vocabulary_ids");
    int64_t *out = new_ids(L, ctx, 1, &v.n);
    for (int64_t i = 0; i < v.n; i++) {
        go_on(L, ctx, i);
        if (v.numbers) out[i] = number_of_whole(L, &known, v.numbers[i]);
        else {
            size_t n;
            string_at(L, v.at, i, &n, "vocabulary_ids");
            lua_rawgeti(L, v.at, i + 1);
            out[i] = number_of(L, &known);
        }
        if (out[i] < 0) {
            lua_pushinteger(L, i + 1);
            return 2;
        }
    }
    return 1;
}

/* -- words -- */

static void free_cutter(void *p) {
    tide_cutter_free(p);
    free(p);
}

/* How texts are cut, by the arguments from i on: lower, strip, split. Leaves a box on the stack. */
static tide_cutter *to_cutter(lua_State *L, int i) {
    static const char *const splits[] = {"whitespace", "character", "none", NULL};
    const int cut = luaL_checkoption(L, i + 2, NULL, splits);
    tideL_box *box = tideL_newbox(L, free_cutter);
    tide_cutter *c = box->p = calloc(1, sizeof *c);
    if (!c) luaL_error(L, "not enough memory");
    tide_cutter_init(c, lua_toboolean(L, i), lua_toboolean(L, i + 1), (tide_cut)cut);
    return c;
}

/* text_words(texts, lower, strip, split): for each text the list of its words */
static int text_words(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const int64_t count = (int64_t)lua_rawlen(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    tide_cutter *c = to_cutter(L, 2);
    lua_createtable(L, count < 1 << 20 ? (int)count : 0, 0);
    int64_t done = 0; /* texts and words: a text may be long */
    for (int64_t i = 0; i < count; i++) {
        go_on(L, ctx, done++);
        size_t n;
        const char *text = string_at(L, 1, i, &n, "text_words"), *word;
        if (!tide_cutter_begin(c, text, n)) return luaL_error(L, "not enough memory");
        lua_newtable(L);
        for (int64_t k = 1; tide_cutter_next(c, &word, &n); k++) {
            lua_pushlstring(L, word, n);
            lua_rawseti(L, -2, k);
            go_on(L, ctx, done++);
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* -- words by threads, which see no Lua -- */

static void free_map(void *p) {
    tide_map_free(p);
    free(p);
}

/* word_numbers(table): its strings and their numbers, for text_ids */
static int word_numbers(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_map);
    tide_map *m = box->p = calloc(1, sizeof *m);
    if (!m) return luaL_error(L, "not enough memory");
    int64_t i = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        size_t n;
        go_on(L, ctx, i++);
        if (lua_type(L, -2) != LUA_TSTRING) continue;
        const char *word = lua_tolstring(L, -2, &n);
        if (!tide_map_put(m, word, n, (int32_t)lua_tointeger(L, -1), NULL))
            return luaL_error(L, "not enough memory");
    }
    return 1;
}

static void free_ids(void *p) {
    tide_ids_free(p);
    free(p);
}

/* text_ids(texts, lower, strip, split, length or nil, numbers, other, lengths or nil): the numbers
 * of the words, or of so many in a row, `other` of those that are not known, a row for each text,
 * ended by 0 up to the longest or to `length`, where longer ones are cut. */
static int text_ids(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const int64_t count = (int64_t)lua_rawlen(L, 1);
    tide_lookup look = {.most = luaL_optinteger(L, 5, -1), .other = luaL_checkinteger(L, 7)};
    luaL_argcheck(L, look.most >= -1, 5, "at least 0");
    look.known = tideL_unbox(L, 6, free_map);
    if (!look.known)
        return tideL_error(L, "text_ids", "takes numbers of words (got %s)", tideL_typename(L, 6));
    tide_ctx *ctx = tideL_ctx(L);
    if (!lua_isnoneornil(L, 8)) {
        luaL_checktype(L, 8, LUA_TTABLE);
        look.lengths = (int64_t)lua_rawlen(L, 8);
        int64_t *length = lua_newuserdatauv(L, ((size_t)look.lengths + 1) * sizeof *length, 0);
        for (int64_t i = 0; i < look.lengths; i++, lua_pop(L, 1)) {
            lua_rawgeti(L, 8, i + 1);
            length[i] = lua_tointeger(L, -1);
            luaL_argcheck(L, length[i] >= 1 && length[i] <= INT32_MAX, 8, "at least 1");
        }
        look.length = length;
    }
    look.how = to_cutter(L, 2);
    tide_passage *text = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *text, 0);
    tideL_box *box = tideL_newbox(L, free_ids);
    tide_ids *ids = box->p = calloc(1, sizeof *ids);
    if (!ids) return luaL_error(L, "not enough memory");
    for (int64_t i = 0; i < count; i++) /* no Lua runs until they are read */
        text[i].s = string_at(L, 1, i, &text[i].n, "text_ids");
    tideL_try(L, ctx, tide_ids_find(ctx, &look, text, count, ids));
    const int64_t shape[] = {count, look.most >= 0 ? look.most : ids->longest};
    tide_ids_put(ids, shape[1], new_ids(L, ctx, 2, shape));
    return 1;
}

/* text_before(a, b): whether a's bytes come first, whatever the locale says */
static int text_before(lua_State *L) {
    size_t na, nb;
    const char *a = luaL_checklstring(L, 1, &na), *b = luaL_checklstring(L, 2, &nb);
    const int order = memcmp(a, b, na < nb ? na : nb);
    lua_pushboolean(L, order ? order < 0 : na < nb);
    return 1;
}

void tideL_open_words(lua_State *L) {
    static const luaL_Reg functions[] = {{"hash_bins", hash_bins},
                                         {"cross_bins", cross_bins},
                                         {"vocabulary_ids", vocabulary_ids},
                                         {"text_words", text_words},
                                         {"text_ids", text_ids},
                                         {"word_numbers", word_numbers},
                                         {"text_before", text_before},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
