/* Names of folders for Lua: as lists of strings, or in one block, for folders of a million files.
 *
 * Invariant: entry i of `at` is where its name begins in `bytes`; names end with NUL. */
#define _GNU_SOURCE /* qsort_r */
#include "bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    char *bytes, *kinds, *line; /* kinds: a letter of each; line: prefix and room for a name */
    uint32_t *at;               /* [n] */
    size_t n, prefix;
} names;

static void release(void *p) {
    names *l = p;
    free(l->bytes), free(l->kinds), free(l->at), free(l->line), free(l);
}

static int by_name(const void *a, const void *b, void *bytes) {
    return strcmp((char *)bytes + *(const uint32_t *)a, (char *)bytes + *(const uint32_t *)b);
}

/* What an open folder holds; false: no memory. */
static bool read_names(names *l, DIR *d) {
    size_t used = 0, room = 0, places = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        const size_t length = strlen(e->d_name) + 1;
        if (room - used < length) {
            room = room + room / 2 + length + 1024;
            char *more = room < UINT32_MAX ? realloc(l->bytes, room) : NULL;
            if (!more) return false;
            l->bytes = more;
        }
        if (l->n == places) {
            places = places + places / 2 + 64;
            uint32_t *more = realloc(l->at, places * sizeof *more);
            if (!more) return false;
            l->at = more;
        }
        memcpy(l->bytes + used, e->d_name, length);
        l->at[l->n++] = (uint32_t)used, used += length;
    }
    l->kinds = malloc(l->n + 1);
    if (l->kinds && l->n) qsort_r(l->at, l->n, sizeof *l->at, by_name, l->bytes);
    return l->kinds != NULL;
}

static void find_kinds(names *l, int fd) {
    for (size_t i = 0; i < l->n; i++) {
        const char *name = l->bytes + l->at[i];
        struct stat s, own;
        char kind = fstatat(fd, name, &s, 0) != 0 ? 'o'
            : S_ISREG(s.st_mode)                  ? 'f'
            : S_ISDIR(s.st_mode)                  ? 'd'
                                                  : 'o';
        if (kind == 'd' && fstatat(fd, name, &own, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(own.st_mode))
            kind = 'l';
        l->kinds[i] = kind;
    }
}

/* The sorted names of the folder at 1, for what asks at 2, behind the prefix at 3; their box is
 * pushed. */
static names *list(lua_State *L) {
    const char *path = tideL_checkpath(L, 1), *where = luaL_optstring(L, 2, "listdir");
    size_t prefix = 0;
    const char *before = luaL_optlstring(L, 3, "", &prefix);
    tideL_box *box = tideL_newbox(L, release);
    names *l = box->p = calloc(1, sizeof *l);
    if (l) l->line = malloc(prefix + NAME_MAX + 1), l->prefix = prefix;
    DIR *d = l && l->line ? opendir(path) : NULL;
    if (!d && l && l->line)
        tideL_error(L, where, "%.300s: cannot be listed: %s", path, strerror(errno));
    const bool ok = d && read_names(l, d);
    if (ok) find_kinds(l, dirfd(d));
    if (d) closedir(d);
    if (!ok) tideL_error(L, where, "not enough memory to list %.300s", path);
    memcpy(l->line, before, prefix);
    return l;
}

static void push_name(lua_State *L, const names *l, size_t i) {
    const char *name = l->bytes + l->at[i];
    const size_t n = strnlen(name, NAME_MAX);
    memcpy(l->line + l->prefix, name, n);
    lua_pushlstring(L, l->line, l->prefix + n);
}

/* listdir(path, what, prefix = nil) -> sorted names, and for each "directory", "link" (to a
 * directory), "file" or "other"; with a prefix it stands before the names, and their kinds are the
 * letters of one string */
static int listdir(lua_State *L) {
    lua_settop(L, 3);
    const names *l = list(L);
    const bool letters = !lua_isnil(L, 3);
    lua_createtable(L, (int)l->n, 0);
    if (letters) lua_pushlstring(L, l->kinds, l->n);
    else lua_createtable(L, (int)l->n, 0);
    for (size_t i = 0; i < l->n; i++) {
        push_name(L, l, i);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        if (letters) continue;
        const char kind = l->kinds[i];
        lua_pushstring(L,
                       kind == 'd'       ? "directory"
                           : kind == 'l' ? "link"
                           : kind == 'f' ? "file"
                                         : "other");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

static names *check(lua_State *L) {
    names *l = tideL_unbox(L, 1, release);
    if (!l) tideL_error(L, "names", "takes names of a folder (got %s)", tideL_typename(L, 1));
    return l;
}

/* names_list(path, what, prefix) -> handle of the sorted names, in one block */
static int names_list(lua_State *L) {
    lua_settop(L, 3);
    list(L);
    return 1;
}

/* names_keep(handle, f) -> how many are left: those for which f(name, letter) is true */
static int names_keep(lua_State *L) {
    names *l = check(L);
    const size_t had = l->n;
    size_t kept = 0;
    for (size_t i = 0; i < had && i < l->n; i++) {
        lua_pushvalue(L, 2);
        push_name(L, l, i);
        lua_pushlstring(L, &l->kinds[i], 1);
        lua_call(L, 2, 1);
        if (lua_toboolean(L, -1)) l->at[kept] = l->at[i], l->kinds[kept] = l->kinds[i], kept++;
        lua_pop(L, 1);
    }
    l->n = kept;
    lua_pushinteger(L, (lua_Integer)kept);
    return 1;
}

/* names_at(handle, i) -> name i, from 1, behind its prefix */
static int names_at(lua_State *L) {
    const names *l = check(L);
    const lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 1 || (size_t)i > l->n)
        return tideL_error(L, "names", "there is no name %lld (1 to %zu)", (long long)i, l->n);
    push_name(L, l, (size_t)i - 1);
    return 1;
}

void tideL_open_names(lua_State *L) {
    static const luaL_Reg functions[] = {{"listdir", listdir},
                                         {"names_list", names_list},
                                         {"names_keep", names_keep},
                                         {"names_at", names_at},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
