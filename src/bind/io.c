/* Files for Lua: JSON, safetensors, IDX, atomic writes, folders. Loading never runs code: what
 * comes back are plain tables, strings, numbers and tensors.
 *
 * C resources stand in userdata with a __gc before anything can raise. */
#include "../point.h"
#include "../io/digest.h"
#include "files.h"

#include <limits.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- boxes: userdata that own one C object -- */

static int box_gc(lua_State *L) {
    tideL_box *b = lua_touserdata(L, 1);
    if (b->p) b->free(b->p);
    b->p = NULL;
    return 0;
}

tideL_box *tideL_newbox(lua_State *L, void (*release)(void *)) {
    tideL_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->p = NULL, b->free = release;
    if (luaL_newmetatable(L, "tide.box")) {
        lua_pushcfunction(L, box_gc);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "__gc");
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    return b;
}

void *tideL_unbox(lua_State *L, int i, void (*release)(void *)) {
    tideL_box *b = luaL_testudata(L, i, "tide.box");
    return b && b->free == release ? b->p : NULL;
}

const char *tideL_checkpath(lua_State *L, int i) {
    size_t n;
    const char *path = luaL_checklstring(L, i, &n), *zero = memchr(path, 0, n);
    if (zero)
        tideL_error(L, "path", "'%s' has a zero byte behind it, which no file's name has", path);
    return path;
}

static void free_st(void *p) { tide_st_close(p); }

/* -- JSON -- */

/* What the values of a text may take, beside the bytes of a file that made it. */
#define JSON_MEMORY ((int64_t)32 << 20)

typedef struct {
    tide_json j;
    int null;      /* stack index of what null becomes */
    int64_t least; /* bytes of Lua's memory when it began, */
    int64_t most;  /* and how many more it may be */
    unsigned values;
} json_input;

static int64_t lua_bytes(lua_State *L) {
    return (int64_t)lua_gc(L, LUA_GCCOUNT) * 1024 + lua_gc(L, LUA_GCCOUNTB);
}

static void push_json_text(lua_State *L, const tide_json *j) {
    if (j->escaped) {
        luaL_Buffer b;
        char *to = luaL_buffinitsize(L, &b, j->length);
        luaL_pushresultsize(&b, tide_json_text(j, to));
    } else {
        lua_pushlstring(L, j->string, j->length);
    }
}

/* Pushes the value that begins with the token `kind`. */
static void push_json(lua_State *L, json_input *in, tide_json_kind kind) {
    tide_json *j = &in->j;
    luaL_checkstack(L, 8, "json");
    if ((++in->values & 63) == 0 && lua_bytes(L) - in->least > in->most)
        tideL_error(L, j->what, "the values of the JSON take more than the %d MB allowed",
                    (int)(in->most >> 20));
    switch (kind) {
    case TIDE_JSON_OBJECT:
        lua_newtable(L);
        while ((kind = tide_json_next(j)) == TIDE_JSON_KEY) {
            push_json_text(L, j);
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -3) != LUA_TNIL) tideL_try(L, tideL_ctx(L), tide_json_duplicate(j));
            lua_pop(L, 1);
            push_json(L, in, tide_json_next(j));
            lua_rawset(L, -3);
        }
        break;
    case TIDE_JSON_ARRAY:
        lua_newtable(L);
        for (lua_Integer i = 1; (kind = tide_json_next(j)) > TIDE_JSON_KEY; i++) {
            push_json(L, in, kind);
            lua_rawseti(L, -2, i);
        }
        break;
    case TIDE_JSON_STRING: push_json_text(L, j); break;
    case TIDE_JSON_INTEGER: lua_pushinteger(L, j->integer); break;
    case TIDE_JSON_REAL: lua_pushnumber(L, j->real); break;
    case TIDE_JSON_TRUE: lua_pushboolean(L, 1); break;
    case TIDE_JSON_FALSE: lua_pushboolean(L, 0); break;
    default: lua_pushvalue(L, in->null); break;
    }
    if (j->status != TIDE_OK) tideL_raise(L, j->ctx, j->status);
}

/* json_decode(text, null = false, what = "json", stored = #text): strict; null becomes the second
 * argument. `stored` is how many bytes of a file make the text: the more they are, the more memory
 * its values may take. */
static int json_decode(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n), *what = luaL_optstring(L, 3, "json");
    int64_t stored = luaL_optinteger(L, 4, (lua_Integer)n);
    tide_ctx *ctx = tideL_ctx(L);
    lua_settop(L, 3);
    if (lua_isnil(L, 2)) {
        lua_pushboolean(L, 0);
        lua_replace(L, 2);
    }
    json_input in = {.null = 2, .least = lua_bytes(L), .most = JSON_MEMORY + stored};
    tideL_try(L, ctx, tide_json_begin(&in.j, ctx, what, text, n, TIDE_JSON_BYTES));
    push_json(L, &in, tide_json_next(&in.j));
    tide_json_next(&in.j); /* the end, or an error */
    tideL_try(L, ctx, in.j.status);
    return 1;
}

static int key_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void encode_string(lua_State *L, FILE *f, int i) {
    size_t n;
    const char *s = lua_tolstring(L, i, &n);
    fputc('"', f);
    for (size_t k = 0; k < n; k++) {
        unsigned char c = (unsigned char)s[k];
        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 0x20) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

#define LONGEST ((long)1 << 30) /* a table that is held many times over is written as often */
static const char interrupted[] = "interrupted!";

/* Writes the value on top; returns a message (a literal) on failure. Nothing in here raises but
 * lack of memory. */
static const char *encode(lua_State *L, FILE *f, int depth, const void *null) {
    if (lua_type(L, -1) == LUA_TTABLE) {
        if (__atomic_load_n(&tide_cancel, __ATOMIC_RELAXED)) return interrupted;
        if (ftell(f) > LONGEST) return "is longer than 1 GiB as JSON";
    }
    if (depth > TIDE_JSON_DEPTH) return "is nested deeper than JSON here may be (a cycle?)";
    if (!lua_checkstack(L, 8)) return "needs too much stack";
    if (null && lua_topointer(L, -1) == null) {
        fputs("null", f);
        return NULL;
    }
    switch (lua_type(L, -1)) {
    case LUA_TNIL: fputs("null", f); return NULL;
    case LUA_TBOOLEAN: fputs(lua_toboolean(L, -1) ? "true" : "false", f); return NULL;
    case LUA_TSTRING: encode_string(L, f, lua_gettop(L)); return NULL;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            fprintf(f, "%lld", (long long)lua_tointeger(L, -1));
        } else {
            char text[40];
            double v = lua_tonumber(L, -1);
            if (!isfinite(v)) return "holds a number that JSON does not have (inf or nan)";
            tide_point point = tide_point_begin();
            snprintf(text, sizeof text, "%.17g", v);
            tide_point_end(point);
            fputs(text, f);
            if (!strpbrk(text, ".e")) fputs(".0", f);
        }
        return NULL;
    case LUA_TTABLE: break;
    default: return "holds a value that JSON does not have";
    }
    int t = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, t);
    if (n > 0) {
        lua_Integer all = 0;
        for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) all++;
        if (all != n) return "is a table with holes, or with both positions and names";
        fputc('[', f);
        for (lua_Integer i = 1; i <= n; i++) {
            if (i > 1) fputc(',', f);
            lua_rawgeti(L, t, i);
            const char *wrong = encode(L, f, depth + 1, null);
            if (wrong) return wrong;
            lua_pop(L, 1);
        }
        fputc(']', f);
        return NULL;
    }
    size_t keys = 0;
    lua_pushnil(L);
    while (lua_next(L, t)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) return "has keys that are neither 1..n nor strings";
        keys++;
    }
    if (keys == 0 && lua_getmetatable(L, t)) { /* an empty list of Tide's */
        lua_pop(L, 1);
        fputs("[]", f);
        return NULL;
    }
    const char **sorted = lua_newuserdatauv(L, (keys + 1) * sizeof *sorted, 0);
    size_t k = 0;
    lua_pushnil(L);
    while (lua_next(L, t)) {
        lua_pop(L, 1);
        sorted[k++] = lua_tostring(L, -1);
    }
    qsort(sorted, keys, sizeof *sorted, key_order);
    fputc('{', f);
    for (k = 0; k < keys; k++) {
        if (k) fputc(',', f);
        lua_pushstring(L, sorted[k]);
        encode_string(L, f, lua_gettop(L));
        fputc(':', f);
        lua_rawget(L, t);
        const char *wrong = encode(L, f, depth + 1, null);
        if (wrong) return wrong;
        lua_pop(L, 1);
    }
    fputc('}', f);
    lua_settop(L, t);
    return NULL;
}

typedef struct {
    char *text;
    size_t n;
    FILE *f;
} stream;
static void free_stream(void *p) {
    stream *s = p;
    if (s->f) fclose(s->f);
    free(s->text);
    free(s);
}

/* json_encode(value, null): keys sorted; a table with elements 1..n is an array; `null` and nil
 * become null. */
static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 2);
    const void *null = lua_isnil(L, 2) ? NULL : lua_topointer(L, 2);
    tideL_box *b = tideL_newbox(L, free_stream);
    stream *s = calloc(1, sizeof *s);
    if (!s) return luaL_error(L, "not enough memory");
    b->p = s;
    s->f = open_memstream(&s->text, &s->n);
    if (!s->f) return luaL_error(L, "not enough memory");
    lua_pushvalue(L, 1);
    const char *wrong = encode(L, s->f, 1, null);
    if (wrong == interrupted) tideL_try(L, tideL_ctx(L), tide_go_on(tideL_ctx(L)));
    if (wrong) return tideL_error(L, "json_encode", "the value %s", wrong);
    int failed = fflush(s->f) != 0 || ferror(s->f);
    failed |= fclose(s->f) != 0;
    s->f = NULL;
    /* glibc's fclose gives no text and no error where it cannot allocate */
    if (failed || !s->text) return luaL_error(L, "not enough memory");
    lua_pushlstring(L, s->text, s->n);
    return 1;
}

/* -- files -- */

/* read_file(path, max = 1 GiB, most = all): the file, or its first `most` bytes; one of more than
 * `max` is refused */
static int read_file(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    int64_t max = luaL_optinteger(L, 2, (lua_Integer)1 << 30);
    int64_t most = luaL_optinteger(L, 3, INT64_MAX);
    luaL_argcheck(L, most >= 0, 3, "must be 0 or more");
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *b = tideL_newbox(L, free);
    char *data = NULL;
    size_t n = 0;
    tideL_try(L, ctx, tide_file_read(ctx, path, max, most, &data, &n));
    b->p = data;
    lua_pushlstring(L, data, n);
    return 1;
}

/* write_file(path, text): atomically */
static int write_file(lua_State *L) {
    size_t n;
    const char *path = tideL_checkpath(L, 1), *text = luaL_checklstring(L, 2, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_file_replace(ctx, path, text, n));
    return 0;
}

/* append_file(path, text, at = its end): cuts the file to its first `at` bytes, then adds the text,
 * all of it or nothing; the file's length then, nil for a pipe or a device */
static int append_file(lua_State *L) {
    size_t n;
    const char *path = tideL_checkpath(L, 1), *text = luaL_checklstring(L, 2, &n);
    int64_t at = luaL_optinteger(L, 3, -1), size = 0;
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_file_append(ctx, path, at, text, n, &size));
    if (size < 0) lua_pushnil(L);
    else lua_pushinteger(L, size);
    return 1;
}

/* crc32c(text): its CRC-32C */
static int crc32c(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    lua_pushinteger(L, tide_crc32c(text, n));
    return 1;
}

/* http(host, port, text, seconds): sends it; the first line of the answer */
static int http(lua_State *L) {
    size_t n;
    const char *host = luaL_checkstring(L, 1), *port = luaL_checkstring(L, 2);
    const char *text = luaL_checklstring(L, 3, &n);
    const double seconds = luaL_checknumber(L, 4);
    luaL_argcheck(L, seconds > 0 && seconds <= 3600, 4, "seconds from 0 to 3600");
    char line[512];
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx,
              tide_http(ctx, host, port, text, n, (int)(seconds * 1000), line, sizeof line));
    lua_pushstring(L, line);
    return 1;
}

static int mkdirs(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_mkdirs(ctx, path));
    return 0;
}

/* file_exists(path): readable? */
static int file_exists(lua_State *L) {
    lua_pushboolean(L, access(tideL_checkpath(L, 1), R_OK) == 0);
    return 1;
}

/* file_digest(path, "md5" or "sha256") -> hexadecimal digits */
static int file_digest(lua_State *L) {
    const char *path = tideL_checkpath(L, 1), *kind = luaL_checkstring(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    char hex[65];
    tideL_try(L, ctx, tide_file_digest(ctx, path, *kind == 'm' ? TIDE_MD5 : TIDE_SHA256, hex));
    lua_pushstring(L, hex);
    return 1;
}

/* file_size(path) -> bytes of a regular file, nil where it is none */
static int file_size(lua_State *L) {
    struct stat st;
    if (stat(tideL_checkpath(L, 1), &st) == 0 && S_ISREG(st.st_mode))
        lua_pushinteger(L, (lua_Integer)st.st_size);
    else lua_pushnil(L);
    return 1;
}

/* io_fault(point, n, "io" | "nospace" | "short" | "kill"): for tests; the n-th call there fails, is
 * cut short, or is the last */
static int io_fault(lua_State *L) {
    const char *point = luaL_checkstring(L, 1);
    int64_t n = luaL_optinteger(L, 2, 0);
    int err = EIO;
    if (lua_type(L, 3) == LUA_TSTRING && !strcmp(lua_tostring(L, 3), "nospace")) err = ENOSPC;
    if (lua_type(L, 3) == LUA_TSTRING && !strcmp(lua_tostring(L, 3), "kill")) err = -1;
    if (lua_type(L, 3) == LUA_TSTRING && !strcmp(lua_tostring(L, 3), "short")) err = -2;
    if (!tide_io_fault(point, n, err))
        return tideL_error(L, "io_fault", "unknown point '%.40s'", point);
    return 0;
}

static int idx_read(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_idx_read(ctx, path, &h->t));
    tideL_send(L, h);
    return 1;
}

/* map_file(path, dtype, shape, offset = 0): a tensor whose memory is the file's, on the CPU */
static int map_file(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    const int dtype = tideL_todtype(L, 2, "map_file");
    tide_ints shape;
    tideL_toshape(L, 3, "map_file", &shape);
    const lua_Integer offset = luaL_optinteger(L, 4, 0);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_handle *h = tideL_new(L);
    tideL_own_stack();
    tideL_try(L, ctx, tide_file_map(ctx, path, offset, dtype, (int)shape.n, shape.v, &h->t));
    return 1;
}

/* -- lists of tensors -- */

void tideL_push_entry(lua_State *L, const tide_st_entry *e) {
    lua_createtable(L, 0, 4);
    lua_pushstring(L, e->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, e->dtype < 0 ? e->dtype_name : tide_dtype_name(e->dtype));
    lua_setfield(L, -2, "dtype");
    lua_createtable(L, e->rank, 0);
    for (int a = 0; a < e->rank; a++) {
        lua_pushinteger(L, e->shape[a]);
        lua_rawseti(L, -2, a + 1);
    }
    lua_setfield(L, -2, "shape");
}

tideL_named tideL_tonamed(lua_State *L, int i, const char *where) {
    tideL_named x = {.n = (int64_t)lua_rawlen(L, i)};
    tide_ctx *ctx = tideL_ctx(L);
    i = lua_absindex(L, i);
    x.names = lua_newuserdatauv(L, (size_t)(x.n + 1) * sizeof *x.names, 0);
    x.tensors = lua_newuserdatauv(L, (size_t)(x.n + 1) * sizeof *x.tensors, 0);
    lua_createtable(L, x.n < 1 << 20 ? (int)x.n : 0, 0);
    for (int64_t k = 0; k < x.n; k++) {
        if (lua_rawgeti(L, i, k + 1) != LUA_TTABLE)
            tideL_error(L, where, "entry %lld is not { name, tensor }", (long long)k + 1);
        if (lua_rawgeti(L, -1, 1) != LUA_TSTRING)
            tideL_error(L, where, "entry %lld has no name", (long long)k + 1);
        x.names[k] = lua_tostring(L, -1);
        lua_rawgeti(L, -2, 2);
        tideL_handle *h = tideL_newpin(L);
        tide_tensor *t = tideL_checktensor(L, -2, where);
        tideL_try(L, ctx, tide_to_host(ctx, t, &h->t));
        x.tensors[k] = h->t;
        lua_rawseti(L, -5, k + 1);
        lua_pop(L, 3);
    }
    return x;
}

/* -- safetensors -- */

static tide_st_file *check_st(lua_State *L) {
    tideL_box *b = luaL_checkudata(L, 1, "tide.box");
    if (!b->p || b->free != free_st) tideL_error(L, "safetensors", "the file was closed");
    return b->p;
}

/* safetensors_open(path): file object, list of { name, dtype, shape }, metadata (strings by name)
 */
static int st_open(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    lua_settop(L, 1);
    tideL_box *b = tideL_newbox(L, free_st);
    tide_st_file *f = NULL;
    tideL_try(L, ctx, tide_st_open(ctx, path, &f));
    b->p = f;
    int64_t n = tide_st_count(f);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        tideL_push_entry(L, tide_st_entry_at(f, i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_newtable(L);
    const char *key, *value;
    for (int64_t i = 0; tide_st_metadata(f, i, &key, &value); i++) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, key);
    }
    return 3;
}

/* safetensors_read(file, i): the i-th tensor of the list */
static int st_read(lua_State *L) {
    tide_st_file *f = check_st(L);
    lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 1 || i > tide_st_count(f))
        return tideL_error(L, "safetensors_read", "no tensor %lld", (long long)i);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_st_read(ctx, f, i - 1, &h->t));
    tideL_send(L, h);
    return 1;
}

/* safetensors_write(path, list of { name, tensor }, metadata): atomically, with checksums */
static int st_write(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    int64_t nmeta = 0;
    lua_pushnil(L);
    while (lua_next(L, 3)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            return tideL_error(L, "safetensors_write", "metadata must be strings by name");
        nmeta++;
        lua_pop(L, 1);
    }
    const tideL_named x = tideL_tonamed(L, 2, "safetensors_write");
    const char **keys = lua_newuserdatauv(L, (size_t)(nmeta + 1) * 2 * sizeof *keys, 0),
               **values = keys + nmeta;
    lua_pushnil(L);
    for (int64_t k = 0; lua_next(L, 3); k++) { /* sorted: equal models make equal files */
        const char *key = lua_tostring(L, -2);
        int64_t at = k;
        for (; at > 0 && strcmp(keys[at - 1], key) > 0; at--)
            keys[at] = keys[at - 1], values[at] = values[at - 1];
        keys[at] = key, values[at] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    tideL_try(L, ctx, tide_st_write(ctx, path, x.n, x.names, x.tensors, nmeta, keys, values));
    return 0;
}

void tideL_open_io(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"json_decode", json_decode},
        {"json_encode", json_encode},
        {"read_file", read_file},
        {"write_file", write_file},
        {"append_file", append_file},
        {"crc32c", crc32c},
        {"http", http},
        {"mkdirs", mkdirs},
        {"file_exists", file_exists},
        {"file_digest", file_digest},
        {"file_size", file_size},
        {"io_fault", io_fault},
        {"idx_read", idx_read},
        {"map_file", map_file},
        {"safetensors_open", st_open},
        {"safetensors_read", st_read},
        {"safetensors_write", st_write},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
