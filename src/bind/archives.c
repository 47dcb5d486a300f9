/* HDF5 files and zip archives for Lua: plain tables, strings and tensors in and out. */
#define _GNU_SOURCE
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void free_zip(void *p) { tide_zip_close(p); }
static void free_h5(void *p) { tide_h5_close(p); }
static void free_blob(void *p) {
    tide_blob_free(p);
    free(p);
}
static void free_fd(void *p) {
    close(*(int *)p);
    free(p);
}

/* What all tensors of a file may take where the caller does not say: most of the machine's memory.
 */
static uint64_t budget(lua_State *L, int i) {
    if (!lua_isnoneornil(L, i)) return (uint64_t)luaL_checkinteger(L, i);
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 5 * 4;
}

static tide_zip *check_zip(lua_State *L, int i) {
    tide_zip *z = tideL_unbox(L, i, free_zip);
    if (!z) tideL_error(L, "zip", "takes an open archive (got %s)", tideL_typename(L, i));
    return z;
}

static int64_t check_member(lua_State *L, tide_zip *z, int i) {
    const char *name = luaL_checkstring(L, i);
    int64_t at = tide_zip_find(z, name);
    if (at < 0) tideL_error(L, "zip", "the archive has no member '%.200s'", name);
    return at;
}

/* A box with an empty place for a descriptor. */
static int *new_fd(lua_State *L) {
    tideL_box *b = tideL_newbox(L, free_fd);
    int *fd = malloc(sizeof *fd);
    if (!fd) luaL_error(L, "not enough memory");
    *fd = -1;
    b->p = fd;
    return fd;
}

/* -- zip -- */

/* zip_open(path): the archive, list of { name, size, stored } */
static int zip_open_(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *b = tideL_newbox(L, free_zip);
    tide_zip *z = NULL;
    tideL_try(L, ctx, tide_zip_open(ctx, path, &z));
    b->p = z;
    int64_t n = tide_zip_count(z);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        const char *name;
        uint64_t size;
        tide_zip_member(z, i, &name, &size);
        lua_createtable(L, 0, 3);
        lua_pushstring(L, name);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, (lua_Integer)size);
        lua_setfield(L, -2, "size");
        lua_pushinteger(L, (lua_Integer)tide_zip_stored(z, i));
        lua_setfield(L, -2, "stored");
        lua_rawseti(L, -2, i + 1);
    }
    return 2;
}

/* zip_read(archive, name, max = 16 MB): the member as a string, and how many bytes of the file make
 * it */
static int zip_read(lua_State *L) {
    tide_zip *z = check_zip(L, 1);
    int64_t at = check_member(L, z, 2), max = luaL_optinteger(L, 3, TIDE_JSON_BYTES);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *b = tideL_newbox(L, free);
    char *data = NULL;
    size_t n = 0;
    tideL_try(L, ctx, tide_zip_read(ctx, z, at, (uint64_t)max, &data, &n));
    b->p = data;
    lua_pushlstring(L, data, n);
    b->p = NULL; /* at once: it may be large */
    free(data);
    lua_pushinteger(L, (lua_Integer)tide_zip_stored(z, at));
    return 2;
}

/* zip_head(archive, name, n): the member's first n bytes, or all where it has fewer */
static int zip_head(lua_State *L) {
    tide_zip *z = check_zip(L, 1);
    int64_t at = check_member(L, z, 2), n = luaL_checkinteger(L, 3);
    if (n < 1 || n > (int64_t)TIDE_JSON_BYTES)
        return tideL_error(L, "zip_head", "n must be in 1..%zu (got %lld)", TIDE_JSON_BYTES,
                           (long long)n);
    size_t got = (size_t)n;
    char *data = lua_newuserdatauv(L, got, 0);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_zip_head(ctx, z, at, data, &got));
    lua_pushlstring(L, data, got);
    return 1;
}

/* zip_write(path, list of { name, string or blob }): atomically */
static int zip_write(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    int64_t n = (int64_t)lua_rawlen(L, 2);
    const char **names = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *names, 0);
    tide_blob *members = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *members, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        if (lua_rawgeti(L, -1, 1) != LUA_TSTRING)
            return tideL_error(L, "zip_write", "member %lld has no name", (long long)i + 1);
        names[i] = lua_tostring(L, -1); /* the list keeps both alive */
        lua_rawgeti(L, -2, 2);
        tide_blob *blob = tideL_unbox(L, -1, free_blob);
        if (blob) members[i] = *blob;
        else if (lua_type(L, -1) == LUA_TSTRING)
            members[i].data = lua_tolstring(L, -1, &members[i].size);
        else
            return tideL_error(L, "zip_write", "member '%.200s' is %s, not a string or a blob",
                               names[i], tideL_typename(L, -1));
        lua_pop(L, 3);
    }
    tideL_try(L, ctx, tide_zip_write(ctx, path, n, names, members));
    return 0;
}

/* -- HDF5 -- */

static tide_h5 *check_h5(lua_State *L) {
    tide_h5 *h = tideL_unbox(L, 1, free_h5);
    if (!h) tideL_error(L, "hdf5_fetch", "takes an open file (got %s)", tideL_typename(L, 1));
    return h;
}

/* hdf5_open(path or archive, member or nil, max): file, list of { name, dtype, shape }, attributes
 * as JSON, how many bytes on the disk hold all that */
static int hdf5_open(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    uint64_t max = budget(L, 3);
    const char *what;
    lua_settop(L, 3);
    int *fd = new_fd(L);
    int64_t size;
    if (lua_type(L, 1) == LUA_TSTRING) {
        what = tideL_checkpath(L, 1);
        tideL_try(L, ctx, tide_file_open(ctx, what, fd, &size));
    } else {
        tide_zip *z = check_zip(L, 1);
        int64_t at = check_member(L, z, 2);
        what = lua_tostring(L, 2);
        tideL_try(L, ctx, tide_zip_unpack(ctx, z, at, max, fd));
        size = (int64_t)tide_zip_stored(z, at);
    }
    tideL_pace(L, ctx);
    tideL_box *b = tideL_newbox(L, free_h5);
    tide_h5 *h = NULL;
    tideL_try(L, ctx, tide_h5_open(ctx, what, *fd, max, &h));
    b->p = h;
    lua_createtable(L, (int)tide_h5_count(h), 0);
    for (int64_t i = 0; i < tide_h5_count(h); i++) {
        tideL_push_entry(L, tide_h5_entry_at(h, i));
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushstring(L, tide_h5_attributes(h));
    lua_pushinteger(L, size);
    return 4;
}

/* hdf5_fetch(file, list of different positions): the tensors */
static int hdf5_fetch(lua_State *L) {
    tide_h5 *h = check_h5(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    tide_ctx *ctx = tideL_ctx(L);
    const lua_Unsigned n = lua_rawlen(L, 2);
    if (n > (lua_Unsigned)tide_h5_count(h))
        return tideL_error(L, "hdf5_fetch", "more positions than datasets");
    uint64_t *at = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *at, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        const lua_Integer k = lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (k < 1 || k > tide_h5_count(h))
            return tideL_error(L, "hdf5_fetch", "no dataset %lld", (long long)k);
        at[i] = (uint64_t)k - 1;
    }
    tideL_pace(L, ctx);
    tideL_try(L, ctx, tide_h5_fetch(ctx, h, n, at));
    lua_createtable(L, (int)n, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        tideL_handle *tensor = tideL_new(L);
        tensor->t = tide_h5_take(h, (int64_t)at[i]);
        if (!tensor->t)
            return tideL_error(L, "hdf5_fetch", "dataset %llu stands twice in the list",
                               (unsigned long long)at[i] + 1);
        tideL_send(L, tensor);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* hdf5_encode(list of { path, tensor }, attributes as JSON, what = "HDF5"): the file as a blob */
static int hdf5_encode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *attributes = luaL_checkstring(L, 2), *what = luaL_optstring(L, 3, "HDF5");
    tide_ctx *ctx = tideL_ctx(L);
    const tideL_named x = tideL_tonamed(L, 1, "hdf5_encode");
    tideL_box *b = tideL_newbox(L, free_blob);
    tide_blob *blob = calloc(1, sizeof *blob);
    if (!blob) return luaL_error(L, "not enough memory");
    b->p = blob;
    tideL_try(L, ctx, tide_h5_write(ctx, what, x.n, x.names, x.tensors, attributes, blob));
    return 1;
}

/* blob_write(path, blob): atomically */
static int blob_write(lua_State *L) {
    const char *path = tideL_checkpath(L, 1);
    tide_blob *blob = tideL_unbox(L, 2, free_blob);
    if (!blob) return tideL_error(L, "blob_write", "takes a blob (got %s)", tideL_typename(L, 2));
    tide_ctx *ctx = tideL_ctx(L);
    tideL_try(L, ctx, tide_file_replace(ctx, path, blob->data, blob->size));
    return 0;
}

/* hdf5_program(path or nil, milliseconds or nil): for tests */
static int hdf5_program(lua_State *L) {
    tide_h5_program(luaL_optstring(L, 1, NULL), (int)luaL_optinteger(L, 2, 0));
    return 0;
}

/* When the module is loaded: the path by which it was may be relative. */
static void prepare(void) {
    tide_h5_program(NULL, 0);
    tide_writes_fail();
}

void tideL_open_archives(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"zip_open", zip_open_},        {"zip_read", zip_read},
        {"zip_head", zip_head},         {"zip_write", zip_write},
        {"hdf5_open", hdf5_open},       {"hdf5_fetch", hdf5_fetch},
        {"hdf5_encode", hdf5_encode},   {"blob_write", blob_write},
        {"hdf5_program", hdf5_program}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
}
