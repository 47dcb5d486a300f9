/* Tokenizers for Lua, and their encodings. Lists and tensors of ids are made
 * here; `base` is what is added to an id of the file, 0 or 1. */
#include "../text/text.h"
#include "../io/workers.h"
#include "bind.h"

#include <stdlib.h>
#include <string.h>

/* -- tokenizers -- */

enum { WORKERS = 64 };

typedef struct {
    int refs; /* the handle's and those of texts that workers encode */
    tide_tokenizer *t;
    tide_encoder *e, *own[WORKERS]; /* own: of each worker, made by it */
} tokenizer;

static void free_tokenizer(void *p) {
    tokenizer *k = p;
    if (--k->refs > 0) return;
    tide_tokenizer_free(k->t), tide_encoder_free(k->e);
    for (int i = 0; i < WORKERS; i++) tide_encoder_free(k->own[i]);
    free(k);
}

static void free_encoding(void *p) {
    tide_encoding_free(p);
    free(p);
}

static tokenizer *check_tokenizer(lua_State *L, int i) {
    tokenizer *k = tideL_unbox(L, i, free_tokenizer);
    if (!k) tideL_error(L, "tokenizer", "takes a tokenizer (got %s)", tideL_typename(L, i));
    return k;
}

static tide_encoding *new_encoding(lua_State *L) {
    tideL_box *box = tideL_newbox(L, free_encoding);
    if (!(box->p = calloc(1, sizeof(tide_encoding)))) luaL_error(L, "not enough memory");
    return box->p;
}

/* tokenizer(json, what) */
static int new_tokenizer(lua_State *L) {
    size_t n;
    const char *json = luaL_checklstring(L, 1, &n), *what = luaL_optstring(L, 2, "tokenizer");
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_tokenizer);
    tokenizer *k = calloc(1, sizeof *k);
    if (!(box->p = k)) return luaL_error(L, "not enough memory");
    k->refs = 1;
    if (!(k->e = tide_encoder_new())) return luaL_error(L, "not enough memory");
    tideL_try(L, ctx, tide_tokenizer_parse(ctx, what, json, n, &k->t));
    return 1;
}

static void free_text(void *p) {
    free(((tide_string *)p)->p);
    free(p);
}

/* to_json(tokenizer) */
static int to_json(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_text);
    tide_string *s = box->p = calloc(1, sizeof *s);
    if (!s) return luaL_error(L, "not enough memory");
    tideL_try(L, ctx, tide_tokenizer_write(ctx, k->t, s));
    lua_pushlstring(L, s->p, s->n);
    return 1;
}

/* encode(tokenizer, text, pair or nil, flags): an encoding */
static int encode(lua_State *L) {
    size_t n, m = 0;
    tokenizer *k = check_tokenizer(L, 1);
    const char *s = luaL_checklstring(L, 2, &n), *pair = luaL_optlstring(L, 3, NULL, &m);
    const int flags = (int)luaL_checkinteger(L, 4);
    tide_ctx *ctx = tideL_ctx(L);
    tide_encoding *e = new_encoding(L);
    tideL_try(L, ctx, tide_tokenizer_encode(ctx, k->t, k->e, s, n, pair, m, flags, e));
    return 1;
}

static tide_encoding *check_encoding(lua_State *L, int i) {
    tide_encoding *e = tideL_unbox(L, i, free_encoding);
    if (!e) tideL_error(L, "encoding", "takes an encoding (got %s)", tideL_typename(L, i));
    return e;
}

/* pad(encoding, length, id, type, left) */
static int pad(lua_State *L) {
    tide_encoding *e = check_encoding(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    const lua_Integer length = luaL_checkinteger(L, 2);
    luaL_argcheck(L, length >= 0 && length <= 1 << 24, 2, "from 0 to 16777216");
    tideL_try(L, ctx,
              tide_encoding_pad(ctx, e, (size_t)length, (int32_t)luaL_checkinteger(L, 3),
                                (int)luaL_checkinteger(L, 4), lua_toboolean(L, 5)));
    return 0;
}

/* lengths(encoding): of its parts */
static int lengths(lua_State *L) {
    const tide_encoding *e = check_encoding(L, 1);
    lua_createtable(L, (int)e->parts, 0);
    for (size_t i = 0; i < e->parts; i++) {
        lua_pushinteger(L, (lua_Integer)(e->ends[i] - (i ? e->ends[i - 1] : 0)));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* field(encoding, name, part, base): a list with one value per token */
static int field(lua_State *L) {
    enum { IDS, TYPES, WORDS, SPECIAL, ATTENTION, OFFSETS, SEQUENCES };
    static const char *const names[] = {
        "ids",     "type_ids",     "word_ids", "special_tokens_mask", "attention_mask",
        "offsets", "sequence_ids", NULL};
    const tide_encoding *e = check_encoding(L, 1);
    const int what = luaL_checkoption(L, 2, NULL, names);
    const lua_Integer part = luaL_checkinteger(L, 3), base = luaL_checkinteger(L, 4);
    luaL_argcheck(L, part >= 1 && (size_t)part <= e->parts, 3, "no such part");
    const size_t first = part > 1 ? e->ends[part - 2] : 0, n = e->ends[part - 1] - first;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const tide_token *t = &e->p[first + i];
        switch (what) {
        case IDS: lua_pushinteger(L, t->id + (t->pad ? 0 : base)); break;
        case TYPES: lua_pushinteger(L, t->type); break;
        case WORDS: t->word < 0 ? lua_pushboolean(L, 0) : lua_pushinteger(L, t->word + 1); break;
        case SPECIAL: lua_pushinteger(L, t->special); break;
        case ATTENTION: lua_pushinteger(L, !t->pad); break;
        case SEQUENCES:
            t->sequence < 0 ? lua_pushboolean(L, 0) : lua_pushinteger(L, t->sequence + 1);
            break;
        default:
            lua_createtable(L, 2, 0);
            lua_pushinteger(L, t->sequence < 0 ? 0 : (lua_Integer)t->from + 1);
            lua_rawseti(L, -2, 1);
            lua_pushinteger(L, t->to);
            lua_rawseti(L, -2, 2);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ids(tokenizer, texts, flags, base): a list of lists of ids, without padding */
static int ids(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    const int flags = (int)luaL_checkinteger(L, 3);
    const lua_Integer base = luaL_checkinteger(L, 4), n = (lua_Integer)lua_rawlen(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    tide_encoding *e = new_encoding(L);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        size_t m;
        if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
            return tideL_error(L, "encode", "text %lld is %s (expected a string)", (long long)i,
                               tideL_typename(L, -1));
        const char *s = lua_tolstring(L, -1, &m);
        tideL_try(L, ctx, tide_tokenizer_encode(ctx, k->t, k->e, s, m, NULL, 0, flags, e));
        const size_t end = e->parts ? e->ends[0] : 0;
        lua_createtable(L, (int)end, 0);
        for (size_t j = 0; j < end; j++) {
            lua_pushinteger(L, e->p[j].id + base);
            lua_rawseti(L, -2, (lua_Integer)j + 1);
        }
        lua_rawseti(L, -3, i);
        lua_pop(L, 1);
    }
    return 1;
}

/* -- texts that workers encode ahead of the step: copies, so that Lua may forget them -- */

typedef struct {
    tokenizer *k; /* one reference */
    tideL_workers *workers;
    tide_task *task;
    int64_t n, pieces;
    size_t *at; /* [n + 1] where each text begins */
    char *bytes;
    int64_t *begin; /* [pieces + 1] the first text of each piece */
    int32_t **ids;  /* [n] */
    int64_t *count; /* [n]; -1: could not be encoded */
    int flags;
} texts;

static void drop_texts(void *p) {
    texts *j = p;
    tide_task_free(tideL_workers_of(j->workers), j->task);
    tideL_workers_release(j->workers);
    for (int64_t i = 0; j->ids && i < j->n; i++) free(j->ids[i]);
    if (j->k) free_tokenizer(j->k);
    free(j->at), free(j->bytes), free(j->begin), free(j->ids), free(j->count), free(j);
}

static void encode_piece(void *user, int64_t piece, int worker) {
    texts *j = user;
    tide_encoder **e = &j->k->own[worker % WORKERS];
    tide_ctx *ctx = calloc(1, sizeof *ctx); /* for a message that nobody reads */
    tide_encoding got = {0};
    if (!*e) *e = tide_encoder_new();
    for (int64_t i = j->begin[piece]; i < j->begin[piece + 1]; i++) {
        j->count[i] = -1;
        if (!ctx || !*e ||
            tide_tokenizer_encode(ctx, j->k->t, *e, j->bytes + j->at[i], j->at[i + 1] - j->at[i],
                                  NULL, 0, j->flags, &got) != TIDE_OK)
            continue;
        const size_t n = got.parts ? got.ends[0] : 0;
        if (!(j->ids[i] = malloc((n + 1) * sizeof **j->ids))) continue;
        for (size_t t = 0; t < n; t++) j->ids[i][t] = got.p[t].id;
        j->count[i] = (int64_t)n;
    }
    tide_encoding_free(&got);
    free(ctx);
}

/* ids_begin(workers, tokenizer, texts, flags) -> what ids_take takes; the workers encode them */
static int ids_begin(lua_State *L) {
    enum { PIECE = 1 << 14 }; /* bytes that a worker takes at a time */
    tideL_workers *w = tideL_toworkers(L, 1);
    tokenizer *k = check_tokenizer(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    const int flags = (int)luaL_checkinteger(L, 4);
    const int64_t n = (int64_t)lua_rawlen(L, 3);
    size_t bytes = 0;
    for (int64_t i = 0; i < n; i++, lua_pop(L, 1)) {
        if (lua_rawgeti(L, 3, i + 1) != LUA_TSTRING)
            return tideL_error(L, "encode", "text %lld is %s (expected a string)", (long long)i + 1,
                               tideL_typename(L, -1));
        bytes += lua_rawlen(L, -1);
    }
    tideL_box *box = tideL_newbox(L, drop_texts);
    texts *j = box->p = calloc(1, sizeof *j);
    if (!j) return luaL_error(L, "not enough memory");
    j->k = k, k->refs++, j->n = n, j->flags = flags;
    j->at = malloc(((size_t)n + 1) * sizeof *j->at), j->bytes = malloc(bytes + 1);
    j->begin = malloc(((size_t)n + 2) * sizeof *j->begin);
    j->ids = calloc((size_t)n + 1, sizeof *j->ids);
    j->count = malloc(((size_t)n + 1) * sizeof *j->count);
    if (!j->at || !j->bytes || !j->begin || !j->ids || !j->count)
        return luaL_error(L, "not enough memory");
    size_t at = 0, from = 0;
    j->begin[0] = 0;
    for (int64_t i = 0; i < n; i++, lua_pop(L, 1)) {
        size_t m;
        lua_rawgeti(L, 3, i + 1);
        const char *s = lua_tolstring(L, -1, &m);
        memcpy(j->bytes + at, s, m);
        j->at[i] = at, at += m;
        if (at - from >= PIECE || i == n - 1) j->begin[++j->pieces] = i + 1, from = at;
    }
    j->at[n] = at;
    if (!w || !tideL_workers_of(w) || !tide_workers_ours(tideL_workers_of(w)))
        return tideL_error(L, "encode", "the workers are closed");
    j->workers = tideL_workers_retain(w);
    if (!(j->task = tide_task_new(tideL_workers_of(w), j->pieces, encode_piece, j)))
        return luaL_error(L, "not enough memory");
    return 1;
}

/* ids_take(texts, base) -> a list of lists of ids */
static int ids_take(lua_State *L) {
    texts *j = tideL_unbox(L, 1, drop_texts);
    if (!j) return tideL_error(L, "encode", "the texts were taken already");
    const lua_Integer base = luaL_checkinteger(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    tide_workers *w = tideL_workers_of(j->workers);
    if (!w || !tide_workers_ours(w))
        return tideL_error(L, "encode",
                           "the workers belong to the process that this one was forked "
                           "from; begin a new pass here");
    if (!tide_task_wait(w, j->task, &tide_cancel)) return tideL_raise(L, ctx, tide_go_on(ctx));
    lua_createtable(L, (int)j->n, 0);
    for (int64_t i = 0; i < j->n; i++) {
        if (j->count[i] < 0) { /* says why */
            tide_encoding *e = new_encoding(L);
            tideL_try(L, ctx,
                      tide_tokenizer_encode(ctx, j->k->t, j->k->e, j->bytes + j->at[i],
                                            j->at[i + 1] - j->at[i], NULL, 0, j->flags, e));
            return tideL_error(L, "encode", "not enough memory");
        }
        lua_createtable(L, (int)j->count[i], 0);
        for (int64_t t = 0; t < j->count[i]; t++) {
            lua_pushinteger(L, j->ids[i][t] + base);
            lua_rawseti(L, -2, (lua_Integer)t + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* tensor(encodings, "ids" | "type_ids" | "attention_mask" | "special_tokens_mask", base): the first
 * parts, which are of one length, as (texts, tokens) int32 */
static int tensor(lua_State *L) {
    static const char *const names[] = {"ids", "type_ids", "attention_mask", "special_tokens_mask",
                                        NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    const int what = luaL_checkoption(L, 2, NULL, names);
    const lua_Integer base = luaL_checkinteger(L, 3), n = (lua_Integer)lua_rawlen(L, 1);
    int64_t shape[2] = {n, 0};
    for (lua_Integer i = 1; i <= n; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, 1, i);
        const tide_encoding *e = check_encoding(L, -1);
        const int64_t length = e->parts ? (int64_t)e->ends[0] : 0;
        if (i > 1 && length != shape[1])
            return tideL_error(L, "encode_batch",
                               "text %lld has %lld tokens, those before have %lld; a tensor needs "
                               "padding, see enable_padding",
                               (long long)i, (long long)length, (long long)shape[1]);
        shape[1] = length;
    }
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, TIDE_I32, 2, shape, &h->t));
    int32_t *to = tide_host_view(h->t);
    for (lua_Integer i = 1; i <= n; i++, lua_pop(L, 1)) {
        lua_rawgeti(L, 1, i);
        const tide_encoding *e = check_encoding(L, -1);
        if ((e->parts ? (int64_t)e->ends[0] : 0) != shape[1]) /* a finalizer may have been here */
            return tideL_error(L, "encode_batch", "text %lld has changed", (long long)i);
        for (int64_t j = 0; j < shape[1]; j++) {
            const tide_token *t = &e->p[j];
            *to++ = what == 0 ? t->id + (t->pad ? 0 : (int32_t)base)
                : what == 1   ? t->type
                : what == 2   ? !t->pad
                              : t->special;
        }
    }
    tideL_send(L, h);
    return 1;
}

/* decode(tokenizer, ids, skip_special, base) */
static void free_ids(void *p) { free(p); }
static int decode(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    const bool skip = lua_toboolean(L, 3);
    const lua_Integer base = luaL_checkinteger(L, 4), n = (lua_Integer)lua_rawlen(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_ids);
    int32_t *id = box->p = malloc(((size_t)n + 1) * sizeof *id);
    if (!id) return luaL_error(L, "not enough memory");
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        int whole;
        const lua_Integer v = lua_tointegerx(L, -1, &whole);
        if (!whole)
            return tideL_error(L, "decode", "id %lld is %s (expected a whole number)",
                               (long long)i + 1, tideL_typename(L, -1));
        id[i] = v - base < 0 || v - base >= TIDE_TOKENIZER_IDS ? -1 : (int32_t)(v - base);
        lua_pop(L, 1);
    }
    tide_bytes *b = tideL_newbytes(L);
    tideL_try(L, ctx, tide_tokenizer_decode(ctx, k->t, id, (size_t)n, skip, b));
    return tideL_pushbytes(L, b);
}

/* token(tokenizer, id): nil where there is none */
static int token(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    const lua_Integer id = luaL_checkinteger(L, 2);
    size_t n;
    const char *s = id < 0 || id > INT32_MAX ? NULL : tide_tokenizer_token(k->t, (int32_t)id, &n);
    if (s) lua_pushlstring(L, s, n);
    else lua_pushnil(L);
    return 1;
}

/* id(tokenizer, token): nil where there is none */
static int id(lua_State *L) {
    size_t n;
    tokenizer *k = check_tokenizer(L, 1);
    const char *s = luaL_checklstring(L, 2, &n);
    const int32_t i = tide_tokenizer_id(k->t, s, n);
    if (i < 0) lua_pushnil(L);
    else lua_pushinteger(L, i);
    return 1;
}

/* info(tokenizer): the kind of its model, the largest id + 1 with added tokens, and without */
static int info(lua_State *L) {
    static const char *const kinds[] = {"BPE", "WordPiece", "WordLevel", "Unigram"};
    tokenizer *k = check_tokenizer(L, 1);
    lua_pushstring(L, kinds[tide_tokenizer_kind(k->t)]);
    lua_pushinteger(L, tide_tokenizer_ids(k->t, true));
    lua_pushinteger(L, tide_tokenizer_ids(k->t, false));
    return 3;
}

/* is_special(tokenizer, id) */
static int is_special(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    lua_pushboolean(L, tide_tokenizer_is_special(k->t, (int32_t)luaL_checkinteger(L, 2)));
    return 1;
}

static void piece(void *to, const char *s, size_t n, uint32_t from, uint32_t end) {
    (void)from, (void)end;
    tide_bytes *b = to;
    tide_bytes_add(b, (const char *)&n, sizeof n);
    tide_bytes_add(b, s, n);
}

/* pieces(tokenizer, text): normalized and cut, as the model would see them */
static int pieces(lua_State *L) {
    size_t n;
    tokenizer *k = check_tokenizer(L, 1);
    const char *s = luaL_checklstring(L, 2, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tide_bytes *b = tideL_newbytes(L);
    tideL_try(L, ctx, tide_tokenizer_pieces(ctx, k->t, k->e, s, n, piece, b));
    if (b->failed) return luaL_error(L, "not enough memory");
    lua_newtable(L);
    lua_Integer i = 0;
    for (size_t at = 0; at < b->n; at += n) {
        memcpy(&n, b->p + at, sizeof n), at += sizeof n;
        lua_pushlstring(L, b->p + at, n);
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

/* value(json, key): the first and last byte of the value of a key of the outermost object */
static int value(lua_State *L) {
    size_t n;
    const char *json = luaL_checklstring(L, 1, &n), *key = luaL_checkstring(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    tide_json j;
    tideL_try(L, ctx, tide_json_begin(&j, ctx, "tokenizer", json, n, TIDE_TOKENIZER_BYTES));
    tide_json_kind k = tide_json_next(&j);
    const size_t length = strlen(key);
    while (k == TIDE_JSON_OBJECT && tide_json_next(&j) == TIDE_JSON_KEY) {
        const bool found = j.length == length && !memcmp(j.string, key, length);
        j.at += strspn(j.at, " \n\t\r");
        const char *first = j.at;
        const int depth = j.depth;
        tide_json_kind v = tide_json_next(&j);
        while (v != TIDE_JSON_ERROR && j.depth > depth) v = tide_json_next(&j);
        if (v == TIDE_JSON_ERROR) break;
        if (found) {
            lua_pushinteger(L, first - json + 1);
            lua_pushinteger(L, j.at - json);
            return 2;
        }
    }
    tideL_try(L, ctx, j.status);
    return tideL_error(L, "tokenizer", "the JSON has no '%.40s'", key);
}

/* merges(tokenizer): a list of "a b" */
static int merges(lua_State *L) {
    tokenizer *k = check_tokenizer(L, 1);
    int32_t a, b;
    lua_newtable(L);
    for (int64_t i = 0; tide_tokenizer_merge(k->t, i, &a, &b); i++) {
        size_t n, m;
        const char *s = tide_tokenizer_token(k->t, a, &n), *t = tide_tokenizer_token(k->t, b, &m);
        luaL_Buffer two;
        char *to = luaL_buffinitsize(L, &two, n + m + 1);
        memcpy(to, s, n), to[n] = ' ', memcpy(to + n + 1, t, m);
        luaL_pushresultsize(&two, n + m + 1);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* Truncates: (tokenizer, length or nil, stride, strategy, left) */
static int shorten(lua_State *L) {
    tide_truncation *u = tide_tokenizer_truncation(check_tokenizer(L, 1)->t);
    if (lua_isnoneornil(L, 2)) {
        u->on = false;
        return 0;
    }
    const lua_Integer length = luaL_checkinteger(L, 2), stride = luaL_checkinteger(L, 3);
    *u = (tide_truncation){true, lua_toboolean(L, 5), (size_t)length, (size_t)stride,
                           (int)luaL_checkinteger(L, 4)};
    return 0;
}

/* padding(tokenizer, token or nil, id, type, length or nil, multiple or nil, left): what is written
 * to JSON; encodings are padded by `pad` */
static int padding(lua_State *L) {
    tide_padding *p = tide_tokenizer_padding(check_tokenizer(L, 1)->t);
    if (lua_isnoneornil(L, 2)) {
        p->on = false;
        return 0;
    }
    const char *name = luaL_checkstring(L, 2);
    const lua_Integer number = luaL_checkinteger(L, 3), type = luaL_checkinteger(L, 4);
    const lua_Integer length = luaL_optinteger(L, 5, 0), multiple = luaL_optinteger(L, 6, 0);
    char *copy = strdup(name);
    if (!copy) return luaL_error(L, "not enough memory");
    free(p->token);
    *p = (tide_padding){true,
                        lua_toboolean(L, 7),
                        !lua_isnil(L, 5),
                        (size_t)length,
                        (size_t)multiple,
                        (int32_t)number,
                        (int32_t)type,
                        copy};
    return 0;
}

/* -- training -- */

static void free_counts(void *p) { tide_counts_free(p); }

/* counts(): words that are counted */
static int new_counts(lua_State *L) {
    tideL_box *box = tideL_newbox(L, free_counts);
    if (!(box->p = tide_counts_new())) return luaL_error(L, "not enough memory");
    return 1;
}

/* count(counts, tokenizer, text) */
static int count(lua_State *L) {
    tide_counts *c = tideL_unbox(L, 1, free_counts);
    if (!c) return tideL_error(L, "train", "takes counts (got %s)", tideL_typename(L, 1));
    tokenizer *k = check_tokenizer(L, 2);
    size_t n;
    const char *s = luaL_checklstring(L, 3, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_counts_add(ctx, c, k->t, k->e, s, n));
    return 0;
}

static int64_t whole(lua_State *L, int i, const char *key, int64_t def) {
    const int type = tideL_field(L, i, key);
    const int64_t v = type == LUA_TNUMBER ? (int64_t)lua_tonumber(L, -1) : def;
    lua_pop(L, 1);
    return v;
}

/* A list of strings at a key, as pointers that live as long as the list and the block pushed here.
 */
static const char **words(lua_State *L, int i, const char *key, size_t *n) {
    *n = 0;
    const char **p = NULL;
    if (tideL_field(L, i, key) == LUA_TTABLE) {
        *n = (size_t)lua_rawlen(L, -1);
        p = lua_newuserdatauv(L, (*n + 1) * sizeof *p, 0);
        lua_insert(L, -2);
        for (size_t k = 0; k < *n; k++) {
            if (lua_rawgeti(L, -1, (lua_Integer)k + 1) != LUA_TSTRING)
                tideL_error(L, "train", "%s must hold strings (got %s)", key,
                            tideL_typename(L, -1));
            p[k] = lua_tostring(L, -1);
            lua_pop(L, 1);
        }
    }
    return p; /* the block and the list stay on the stack */
}

/* train(counts, tokenizer, options): the model's JSON, and whether it sees bytes */
static int train(lua_State *L) {
    tide_counts *c = tideL_unbox(L, 1, free_counts);
    if (!c) return tideL_error(L, "train", "takes counts (got %s)", tideL_typename(L, 1));
    tokenizer *k = check_tokenizer(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_text);
    tide_string *s = box->p = calloc(1, sizeof *s);
    if (!s) return luaL_error(L, "not enough memory");
    tide_training o = {.vocab_size = whole(L, 3, "vocab_size", 30000),
                       .min_frequency = whole(L, 3, "min_frequency", 0),
                       .limit_alphabet = whole(L, 3, "limit_alphabet", -1),
                       .max_token_length = whole(L, 3, "max_token_length", 0),
                       .max_piece_length = whole(L, 3, "max_piece_length", 16),
                       .n_sub_iterations = whole(L, 3, "n_sub_iterations", 2)};
    tideL_field(L, 3, "shrinking_factor");
    o.shrinking_factor = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : 0.75;
    bool bytes;
    tide_tokenizer_marks(k->t, &o.unk, &o.prefix, &o.suffix, &bytes);
    if (tideL_field(L, 3, "unk_token") == LUA_TSTRING) o.unk = lua_tostring(L, -1);
    o.special = words(L, 3, "special_tokens", &o.nspecial);
    o.alphabet = words(L, 3, "initial_alphabet", &o.nalphabet);
    tideL_try(L, ctx, tide_tokenizer_options(ctx, k->t, s));
    tideL_try(L, ctx, tide_train(ctx, tide_tokenizer_kind(k->t), c, &o, s));
    tide_text_add(s, "}");
    if (s->status != TIDE_OK) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, s->p, s->n);
    return 1;
}

/* sees_bytes(tokenizer) */
static int sees_bytes(lua_State *L) {
    const char *unk, *prefix, *suffix;
    bool bytes;
    tide_tokenizer_marks(check_tokenizer(L, 1)->t, &unk, &prefix, &suffix, &bytes);
    lua_pushboolean(L, bytes);
    return 1;
}

void tideL_open_text(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"tokenizer", new_tokenizer},
        {"to_json", to_json},
        {"encode", encode},
        {"pad", pad},
        {"lengths", lengths},
        {"field", field},
        {"ids", ids},
        {"ids_begin", ids_begin},
        {"ids_take", ids_take},
        {"tensor", tensor},
        {"decode", decode},
        {"token", token},
        {"id", id},
        {"info", info},
        {"is_special", is_special},
        {"counts", new_counts},
        {"count", count},
        {"train", train},
        {"sees_bytes", sees_bytes},
        {"pieces", pieces},
        {"value", value},
        {"merges", merges},
        {"truncate", shorten},
        {"padding", padding},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    tideL_open_characters(L);
    tideL_open_sequences(L);
    lua_setfield(L, -2, "text");
}
