/* Records of files for Lua: lists of strings, and rows of CSV as values by column. */
#include "../point.h"
#include "bind.h"

#include "../io/io.h"
#include "../io/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct {
    tide_records *r;
    tide_ctx *ctx;
    tide_status stopped; /* what go_on said */
    char *path;
} reader;

static void release(void *p) {
    reader *b = p;
    tide_records_close(b->r);
    free(b->path), free(b);
}

static int go_on(void *user) {
    reader *b = user;
    b->stopped = tide_go_on(b->ctx);
    return b->stopped != TIDE_OK;
}

static reader *check(lua_State *L) {
    reader *b = tideL_unbox(L, 1, release);
    if (!b) tideL_error(L, "records", "takes a reader (got %s)", tideL_typename(L, 1));
    return b;
}

tide_records *tideL_records(lua_State *L, const char **path, tide_status *stopped) {
    reader *b = check(L);
    *path = b->path, *stopped = b->stopped;
    return b->r;
}

static int64_t whole(lua_State *L, int i, const char *key, int64_t otherwise) {
    int64_t v = tideL_field(L, i, key) == LUA_TNIL ? otherwise : (int64_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

static char character(lua_State *L, int i, const char *key, char otherwise) {
    size_t n = 0;
    const char *s = tideL_field(L, i, key) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    char c = s ? (n == 1 ? *s : '\0') : otherwise;
    lua_pop(L, 1);
    return c;
}

/* records_open(where, path, { format = 0..3, packed = 0..2, encoding = 0..5, most, header_bytes,
 * footer_bytes, record_bytes, delimiter, quote ("": none), comment, strict, blank_rows,
 * keep_returns }) */
static int records_open(lua_State *L) {
    const char *where = luaL_checkstring(L, 1), *path = tideL_checkpath(L, 2), *why;
    luaL_checktype(L, 3, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, release);
    reader *b = calloc(1, sizeof *b);
    if (!b) return tideL_error(L, where, "not enough memory");
    box->p = b, b->ctx = ctx, b->path = strdup(path);
    tide_records_config c = {
        .format = (tide_records_format)whole(L, 3, "format", 0),
        .packed = (tide_packed)whole(L, 3, "packed", 0),
        .encoding = (tide_charset)whole(L, 3, "encoding", 0),
        .most = whole(L, 3, "most", 0),
        .header_bytes = whole(L, 3, "header_bytes", 0),
        .footer_bytes = whole(L, 3, "footer_bytes", 0),
        .record_bytes = whole(L, 3, "record_bytes", 1),
        .keep_returns = (int)whole(L, 3, "keep_returns", 0),
        .csv = {.delimiter = character(L, 3, "delimiter", ','),
                .quote = character(L, 3, "quote", '"'),
                .comment = character(L, 3, "comment", '\0'),
                .strict = (int)whole(L, 3, "strict", 0),
                .blank_rows = (int)whole(L, 3, "blank_rows", 0)},
        .go_on = go_on,
        .user = b,
    };
    if (!b->path) return tideL_error(L, where, "not enough memory");
    if (!(b->r = tide_records_open(path, &c, &why)))
        return tideL_error(L, where, "%s: cannot be opened: %s", path, why);
    return 1;
}

enum { BYTES = 8 << 20 }; /* of the records that are handed out at a time */

typedef struct {
    const char *kinds; /* s text, f number, of `integers`; as many as columns are taken */
    size_t n;
    const int64_t *column; /* from 0, [n]; NULL: all in order */
    int64_t width;         /* fields that a row must have; 0: as many as it has */
    const char *na;        /* a field that counts as empty; NULL: none */
    size_t na_n;
    int defaults; /* stack index of a list: what an empty field is, false: an error */
} columns;

/* Whole numbers by their kind: what the dtype of a column holds. */
static const struct {
    char kind;
    const char *name;
    int64_t least, most;
} integers[] = {{'i', "int64", INT64_MIN, INT64_MAX}, {'w', "int32", INT32_MIN, INT32_MAX},
                {'c', "int8", INT8_MIN, INT8_MAX},    {'u', "uint8", 0, UINT8_MAX},
                {'b', "bool (0 or 1)", 0, 1},         {'f', "number", 0, 0}};

/* The place of a kind there. */
static int integer_kind(char kind) {
    int i = 0;
    while (integers[i].kind != kind && integers[i].kind != 'f') i++;
    return i;
}

/* Pushes the values of a row; 0, and the message in `error`, where a field is not what it should
 * be, and nothing is pushed. */
static int push_row(lua_State *L, const tide_records *r, const columns *c, char *error,
                    size_t room) {
    int64_t n;
    const tide_csv_field *f = tide_records_fields(r, &n);
    int64_t offset, records, lines;
    tide_records_place(r, &offset, &records, &lines);
    if (c->width && n != c->width) {
        snprintf(error, room, "line %lld: the row has %lld fields (expected %lld)",
                 (long long)lines, (long long)n, (long long)c->width);
        return 0;
    }
    for (size_t i = 0; i < c->n; i++) {
        int64_t k = c->column ? c->column[i] : (int64_t)i, whole_value;
        const tide_csv_field none = {"", 0, 0, 0}, *x = k < n ? &f[k] : &none;
        double number;
        if ((x->n == 0 && !(x->quoted && c->kinds[i] == 's')) ||
            (c->na_n > 0 && x->n == c->na_n && !memcmp(x->p, c->na, x->n))) {
            if (lua_rawgeti(L, c->defaults, (lua_Integer)i + 1) != LUA_TBOOLEAN) continue;
            lua_pop(L, (int)i + 1);
            snprintf(error, room, "line %lld: field %lld is empty (expected a value)",
                     (long long)lines, (long long)k + 1);
            return 0;
        }
        if (c->kinds[i] == 's') {
            lua_pushlstring(L, x->p, x->n);
        } else if (c->kinds[i] != 'f' && tide_csv_integer(x->p, x->n, &whole_value) &&
                   whole_value >= integers[integer_kind(c->kinds[i])].least &&
                   whole_value <= integers[integer_kind(c->kinds[i])].most) {
            lua_pushinteger(L, whole_value);
        } else if (c->kinds[i] == 'f' && tide_csv_number(x->p, x->n, &number)) {
            lua_pushnumber(L, number);
        } else {
            lua_pop(L, (int)i);
            snprintf(error, room, "line %lld: field %lld is no %s (got '%.*s')", (long long)lines,
                     (long long)k + 1, integers[integer_kind(c->kinds[i])].name,
                     x->n > 40 ? 40 : (int)x->n, x->p);
            return 0;
        }
    }
    return 1;
}

static tide_found rows(lua_State *L, reader *b, const columns *c, int64_t most, int list,
                       int64_t *got, int skip, int64_t *skipped, char *error, size_t room) {
    const char *p;
    size_t n;
    int64_t at = 0, bytes = 0, values = 0;
    tide_found k = TIDE_RECORD;
    while (at < most && bytes < BYTES) {
        k = tide_records_next(b->r, &p, &n);
        if (k == TIDE_RECORD && c) {
            if (!push_row(L, b->r, c, error, room)) k = TIDE_RECORD_BAD;
            for (size_t i = c->n; k == TIDE_RECORD && i > 0; i--)
                lua_rawseti(L, list, (lua_Integer)(values + (int64_t)i));
            if (k == TIDE_RECORD) values += (int64_t)c->n, bytes += 64, at++;
        } else if (k == TIDE_RECORD) {
            lua_pushlstring(L, p, n);
            lua_rawseti(L, list, (lua_Integer)++at);
            bytes += (int64_t)n;
        } else if (k == TIDE_RECORD_BAD || k == TIDE_RECORD_LOST) {
            snprintf(error, room, "%s", tide_records_error(b->r));
        }
        if (k == TIDE_RECORD_END || k == TIDE_RECORD_STOPPED) break;
        if (k != TIDE_RECORD && !skip) break;
        if (k != TIDE_RECORD) ++*skipped;
    }
    *got = at;
    return k;
}

/* records_read(reader, where, most, skip, kinds = nil, defaults = nil, columns = nil, width = 0, na
 * = nil) -> list, how many (0: the end), how many were left out, what was wrong with the last of
 * them, or with the one behind the list where none is left out. With kinds the rows' values follow
 * each other in the list. */
static int records_read(lua_State *L) {
    reader *b = check(L);
    const char *where = luaL_checkstring(L, 2);
    int64_t most = luaL_checkinteger(L, 3), got = 0, skipped = 0;
    int skip = lua_toboolean(L, 4);
    char error[300] = "";
    columns c = {.kinds = lua_tolstring(L, 5, &c.n), .width = luaL_optinteger(L, 8, 0)};
    if (!lua_isnoneornil(L, 9)) c.na = luaL_checklstring(L, 9, &c.na_n);
    lua_settop(L, 9);
    c.defaults = 6;
    if (c.kinds) luaL_checktype(L, 6, LUA_TTABLE);
    if (c.kinds && lua_istable(L, 7)) {
        int64_t *column = lua_newuserdatauv(L, (c.n + 1) * sizeof *column, 0);
        for (size_t i = 0; i < c.n; i++) {
            lua_rawgeti(L, 7, (lua_Integer)i + 1);
            column[i] = lua_tointeger(L, -1) - 1;
            if (column[i] < 0) return tideL_error(L, where, "columns count from 1");
            lua_pop(L, 1);
        }
        c.column = column;
    }
    luaL_checkstack(L, (int)(c.kinds ? c.n : 0) + 8, "records");
    lua_createtable(L, most > 4096 ? 4096 : (int)most, 0);
    int list = lua_gettop(L);
    tide_found k =
        rows(L, b, c.kinds ? &c : NULL, most, list, &got, skip, &skipped, error, sizeof error);
    /* what came before it, first: who stopped it is met again */
    if (k == TIDE_RECORD_STOPPED && got == 0) return tideL_raise(L, b->ctx, b->stopped);
    lua_pushvalue(L, list);
    lua_pushinteger(L, got), lua_pushinteger(L, skipped);
    lua_pushstring(L, error);
    return 4;
}

/* records_fields(reader, where) -> the fields of the next row of CSV; nil: there is none */
static int records_fields(lua_State *L) {
    reader *b = check(L);
    const char *where = luaL_checkstring(L, 2), *p;
    size_t length;
    tide_found k = tide_records_next(b->r, &p, &length);
    if (k == TIDE_RECORD_END) return 0;
    if (k == TIDE_RECORD_STOPPED) return tideL_raise(L, b->ctx, b->stopped);
    if (k != TIDE_RECORD) return tideL_error(L, where, "%s: %s", b->path, tide_records_error(b->r));
    int64_t n;
    const tide_csv_field *f = tide_records_fields(b->r, &n);
    lua_createtable(L, n > 4096 ? 4096 : (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushlstring(L, f[i].p, f[i].n);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* records_place(reader) -> bytes, records and lines before the next record */
static int records_place(lua_State *L) {
    int64_t offset, records, lines;
    tide_records_place(check(L)->r, &offset, &records, &lines);
    lua_pushinteger(L, offset), lua_pushinteger(L, records), lua_pushinteger(L, lines);
    return 3;
}

/* records_seek(reader, bytes, records, lines) -> whether the file goes so far */
static int records_seek(lua_State *L) {
    reader *b = check(L);
    lua_pushboolean(L,
                    tide_records_seek(b->r, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3),
                                      luaL_checkinteger(L, 4)));
    return 1;
}

/* -- a file that is written piece by piece, and is there when it is whole -- */

typedef struct {
    tide_writer *w;
    z_stream z;
    int packed; /* 0, or zlib's state is open */
} stream;

static void drop(void *p) {
    stream *s = p;
    tide_writer_close(s->w);
    if (s->packed) deflateEnd(&s->z);
    free(s);
}

static stream *check_stream(lua_State *L) {
    stream *s = tideL_unbox(L, 1, drop);
    if (!s) tideL_error(L, "write", "the file was closed");
    return s;
}

/* stream_open(path, packed = 0): 1 gzip, 2 zlib */
static int stream_open(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    int packed = (int)luaL_optinteger(L, 2, 0);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, drop);
    stream *s = calloc(1, sizeof *s);
    if (!s) return tideL_error(L, "write", "not enough memory");
    box->p = s;
    tideL_try(L, ctx, tide_writer_open(ctx, path, &s->w));
    if (packed &&
        deflateInit2(&s->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, packed == 1 ? 31 : 15, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return tideL_error(L, "write", "not enough memory");
    s->packed = packed;
    return 1;
}

static tide_status put(tide_ctx *ctx, stream *s, const char *p, size_t n, int flush) {
    unsigned char out[1 << 14];
    if (!s->packed) return n ? tide_writer_write(ctx, s->w, p, n) : TIDE_OK;
    do {
        uInt now = n > 1 << 30 ? 1 << 30 : (uInt)n;
        s->z.next_in = (Bytef *)(uintptr_t)p, s->z.avail_in = now;
        p += now, n -= now;
        do {
            s->z.next_out = out, s->z.avail_out = sizeof out;
            deflate(&s->z, n == 0 ? flush : Z_NO_FLUSH);
            TIDE_TRY(tide_writer_write(ctx, s->w, out, sizeof out - s->z.avail_out));
        } while (s->z.avail_out == 0);
    } while (n > 0);
    return TIDE_OK;
}

/* stream_write(stream, text) */
static int stream_write(lua_State *L) {
    size_t n;
    stream *s = check_stream(L);
    const char *p = luaL_checklstring(L, 2, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, put(ctx, s, p, n, Z_NO_FLUSH));
    return 0;
}

/* stream_commit(stream): the file is there now */
static int stream_commit(lua_State *L) {
    stream *s = check_stream(L);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, put(ctx, s, NULL, 0, Z_FINISH));
    tideL_try(L, ctx, tide_writer_commit(ctx, s->w));
    return 0;
}

void tideL_open_records(lua_State *L) {
    static const luaL_Reg functions[] = {{"records_open", records_open},
                                         {"records_read", records_read},
                                         {"records_fields", records_fields},
                                         {"records_place", records_place},
                                         {"records_seek", records_seek},
                                         {"stream_open", stream_open},
                                         {"stream_write", stream_write},
                                         {"stream_commit", stream_commit},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
