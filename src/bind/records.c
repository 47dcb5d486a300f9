/* Records of files for Lua: lists of strings, and rows of CSV as values by column. */
#include "../point.h"
#include "bind.h"

#include "../io/blocks.h"
#include "../io/io.h"
#include "../io/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct {
    tide_records *r;
    tide_ctx *ctx;
    tide_status stopped; /* what go_on said */
    char *path;
    tide_taken taken;
    tide_block block[2];   /* one is read while the other is in use */
    int filling;           /* the one that is read, or read next */
    int64_t place[3];      /* where it begins, while it is read ahead */
    const tide_block *now; /* the one in use, of which so many cells were given, */
    int64_t given;
    int64_t origin[3]; /* and where it begins */
    tideL_workers *workers;
    tide_task *task; /* reads ahead; the reader belongs to it until it was waited for */
    int by_worker;   /* set before a task is queued, cleared when it is done */
    int quit;        /* it shall not go on */
} reader;

/* In a forked child what a worker had in hand stays as it was, half done perhaps: nobody may touch
 * it. */
static int lost(const reader *b) {
    const tide_workers *w = b->task ? tideL_workers_of(b->workers) : NULL;
    return w && !tide_workers_ours(w);
}

static void settle(reader *b) {
    __atomic_store_n(&b->quit, 1, __ATOMIC_RELAXED);
    if (b->task) tide_task_free(tideL_workers_of(b->workers), b->task);
    b->task = NULL, b->by_worker = 0;
    __atomic_store_n(&b->quit, 0, __ATOMIC_RELAXED);
    tideL_workers_release(b->workers);
    b->workers = NULL, b->now = NULL, b->given = 0;
}

static void forget(tide_taken *t) {
    free(t->kinds), free(t->column), free(t->needed), free(t->na);
    *t = (tide_taken){0};
}

static void release(void *p) {
    reader *b = p;
    if (lost(b)) return;
    settle(b);
    tide_records_close(b->r);
    for (int i = 0; i < 2; i++) tide_block_free(&b->block[i]);
    forget(&b->taken);
    free(b->path), free(b);
}

static int go_on(void *user) {
    reader *b = user;
    if (b->by_worker)
        return __atomic_load_n(&b->quit, __ATOMIC_RELAXED) ||
            __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED);
    b->stopped = tide_go_on(b->ctx);
    return b->stopped != TIDE_OK;
}

static reader *check(lua_State *L) {
    reader *b = tideL_unbox(L, 1, release);
    if (!b) tideL_error(L, "records", "takes a reader (got %s)", tideL_typename(L, 1));
    if (lost(b))
        tideL_error(L, "records",
                    "%s is read by workers of the process that this one was forked from; begin a "
                    "new pass here",
                    b->path);
    return b;
}

/* The reader at 1, with nothing read ahead: where it stood goes with what was read. */
static reader *check_idle(lua_State *L) {
    reader *b = check(L);
    if (!b->task) return b;
    settle(b);
    if (!tide_records_seek(b->r, b->place[0], b->place[1], b->place[2]))
        tideL_error(L, "records", "%s cannot be read again", b->path);
    return b;
}

tide_records *tideL_records(lua_State *L, const char **path, tide_status *stopped) {
    reader *b = check_idle(L);
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

/* -- blocks -- */

/* What records_read was told, copied: the reader's from now on. */
static void told(lua_State *L, reader *b, const char *where) {
    forget(&b->taken);
    tide_taken *t = &b->taken;
    size_t n, na_n;
    t->most = luaL_checkinteger(L, 3), t->skip = lua_toboolean(L, 4);
    t->width = luaL_optinteger(L, 8, 0);
    const char *kinds = lua_tolstring(L, 5, &n), *na = lua_tolstring(L, 9, &na_n);
    if (kinds) {
        luaL_checktype(L, 6, LUA_TTABLE);
        if ((t->kinds = malloc(n + 1))) memcpy(t->kinds, kinds, n + 1);
        t->n = (int64_t)n, t->needed = calloc(n + 1, 1);
        if (lua_istable(L, 7)) t->column = calloc(n + 1, sizeof *t->column);
        if (na && (t->na = malloc(na_n + 1))) memcpy(t->na, na, na_n + 1), t->na_n = na_n;
        if (!t->kinds || !t->needed || (na && !t->na) || (lua_istable(L, 7) && !t->column))
            tideL_error(L, where, "not enough memory");
    }
    for (int64_t i = 0; i < t->n; i++) {
        t->needed[i] = lua_rawgeti(L, 6, (lua_Integer)i + 1) == LUA_TBOOLEAN;
        lua_pop(L, 1);
        if (!t->column) continue;
        lua_rawgeti(L, 7, (lua_Integer)i + 1);
        t->column[i] = lua_tointeger(L, -1) - 1;
        if (t->column[i] < 0) tideL_error(L, where, "columns count from 1");
        lua_pop(L, 1);
    }
}

static void fill(void *user, int64_t i, int worker) {
    reader *b = user;
    (void)i, (void)worker;
    tide_block_read(&b->block[b->filling], b->r, &b->taken);
}

/* Where the next block begins. */
static void where_it_is(const reader *b, int64_t *place) {
    if (b->task) memcpy(place, b->place, sizeof b->place);
    else tide_records_place(b->r, &place[0], &place[1], &place[2]);
}

/* The next block, and the one behind it under way where there are workers at `w`. */
static const tide_block *next_block(lua_State *L, reader *b, const char *where, int w) {
    tide_block *k = &b->block[b->filling];
    if (b->task) {
        tide_workers *workers = tideL_workers_of(b->workers);
        if (!workers)
            tideL_error(L, where, "the workers that read %s are closed; begin a new pass", b->path);
        if (!tide_task_wait(workers, b->task, &tide_cancel))
            tideL_raise(L, b->ctx, tide_go_on(b->ctx));
        tide_task_free(workers, b->task);
        b->task = NULL, b->by_worker = 0;
    } else {
        told(L, b, where);
        fill(b, 0, 0);
    }
    /* who stopped it may have gone meanwhile; else that is met again, behind what came before */
    while (k->found == TIDE_RECORD_STOPPED && k->count == 0) {
        tide_status st = tide_go_on(b->ctx);
        if (st != TIDE_OK) tideL_raise(L, b->ctx, st);
        fill(b, 0, 0);
    }
    tideL_workers *ahead = k->found == TIDE_RECORD ? tideL_toworkers(L, w) : NULL;
    if (ahead && tideL_workers_of(ahead)) {
        b->filling = 1 - b->filling;
        tide_records_place(b->r, &b->place[0], &b->place[1], &b->place[2]);
        if (ahead != b->workers) {
            tideL_workers_release(b->workers);
            b->workers = tideL_workers_retain(ahead);
        }
        b->by_worker = 1;
        b->task = tide_task_new(tideL_workers_of(ahead), 1, fill, b);
        if (!b->task) b->by_worker = 0, tideL_error(L, where, "not enough memory");
    }
    return k;
}

/* Cells of the block in use that are given at a time, and the bytes of their texts: strings that
 * are made long before they are wanted grow old, and only a full collection frees what is. */
static int64_t portion(const reader *b, size_t *bytes) {
    enum { BYTES = 1 << 17 };
    int64_t n = 0;
    for (*bytes = 0; b->given + n < b->now->cells; n++) {
        const tide_cell *c = &b->now->cell[b->given + n];
        if (*bytes >= BYTES && !b->taken.kinds) break;
        *bytes += c->kind == 's' ? c->as.text.n : 0;
    }
    return n;
}

/* records_read(reader, where, most, skip, kinds = nil, defaults = nil, columns = nil, width = 0, na
 * = nil, workers = nil) -> list, how many (0: the end), how many were left out, what was wrong with
 * the last of them, or with the one behind the list where none is left out. Long texts come some at
 * a time. With kinds the rows'
 * values follow each other in the list. With workers the next block is read ahead, as it was asked
 * for now. */
static int records_read(lua_State *L) {
    reader *b = check(L);
    const char *where = luaL_checkstring(L, 2);
    lua_settop(L, 10);
    if (!b->now || b->given == b->now->cells) {
        b->now = NULL, b->given = 0;
        where_it_is(b, b->origin);
        b->now = next_block(L, b, where, 10);
    }
    const tide_block *k = b->now;
    size_t bytes;
    const int64_t n = b->taken.n, cells = portion(b, &bytes);
    tideL_passing(L, b->ctx, (int64_t)bytes);
    lua_createtable(L, cells > 1 << 16 ? 1 << 16 : (int)cells, 0);
    for (int64_t i = 0; i < cells; i++) {
        const tide_cell *c = &k->cell[b->given + i];
        switch (c->kind) {
        case 's': lua_pushlstring(L, k->bytes + c->as.text.at, c->as.text.n); break;
        case 'i': lua_pushinteger(L, c->as.i); break;
        case 'f': lua_pushnumber(L, c->as.f); break;
        default: lua_rawgeti(L, 6, (lua_Integer)(i % n) + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    b->given += cells;
    const bool last = b->given == k->cells;
    lua_pushinteger(L, b->taken.kinds ? k->count : cells);
    lua_pushinteger(L, last ? k->skipped : 0);
    lua_pushstring(L, last ? k->error : "");
    return 4;
}

/* records_fields(reader, where) -> the fields of the next row of CSV; nil: there is none */
static int records_fields(lua_State *L) {
    reader *b = check_idle(L);
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

/* records_place(reader) -> bytes, records and lines before the block that records_read gives of
 * next, and how many of its records were given */
static int records_place(lua_State *L) {
    reader *b = check(L);
    const bool within = b->now && b->given < b->now->cells;
    if (!within) where_it_is(b, b->origin);
    for (int i = 0; i < 3; i++) lua_pushinteger(L, b->origin[i]);
    lua_pushinteger(L, within ? b->given : 0);
    return 4;
}

/* records_seek(reader, bytes, records, lines) -> whether the file goes so far */
static int records_seek(lua_State *L) {
    reader *b = check(L);
    settle(b);
    lua_pushboolean(L,
                    tide_records_seek(b->r, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3),
                                      luaL_checkinteger(L, 4)));
    return 1;
}

/* records_close(reader): what is read ahead is waited for, the file closed */
static int records_close(lua_State *L) {
    tideL_box *box = luaL_checkudata(L, 1, "tide.box");
    if (!tideL_unbox(L, 1, release)) return 0;
    release(box->p);
    box->p = NULL;
    return 0;
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
    static const luaL_Reg functions[] = {
        {"records_open", records_open},     {"records_read", records_read},
        {"records_fields", records_fields}, {"records_place", records_place},
        {"records_seek", records_seek},     {"records_close", records_close},
        {"stream_open", stream_open},       {"stream_write", stream_write},
        {"stream_commit", stream_commit},   {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
