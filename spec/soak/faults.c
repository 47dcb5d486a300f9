/* What fails on purpose, as a library to preload that is a Lua module too: the n-th allocation,
 * once or from then on, whoever makes it; the n-th call of the system that writes, opens, renames
 * or closes a file; processes that are forked and killed.
 *
 * Nothing fails until Lua arms it, and only calls of the arming process count. tide-hdf5 arms
 * itself by what TIDE_FAULT names, since no Lua runs there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* -- allocations -- */

static atomic_long allocations, failed;
static atomic_long at = -1; /* which one fails; -1: none */
static atomic_int sticky;

static int refused(void) {
    const long n = atomic_fetch_add(&allocations, 1) + 1, first = atomic_load(&at);
    if (first < 0 || (n != first && !(atomic_load(&sticky) && n > first))) return 0;
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return 1;
}

/* The next library's functions by dlsym, so that valgrind, which replaces those of libc, sees each
 * block. dlsym may allocate itself: from here. */
static char early[1 << 16];
static size_t used;
static void *from_early(size_t n) {
    void *p = early + used;
    used += (n + 15) & ~(size_t)15;
    return used <= sizeof early ? p : NULL;
}
static int is_early(const void *p) {
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static _Thread_local int looking __attribute__((tls_model("initial-exec")));
static void *next(const char *name, void **kept) {
    if (!*kept && !looking) {
        looking = 1;
        *kept = dlsym(RTLD_NEXT, name);
        looking = 0;
    }
    return *kept;
}
#define NEXT(result, name, ...)          \
    static void *kept_##name;            \
    result (*next_##name)(__VA_ARGS__) = \
        (result(*)(__VA_ARGS__))(uintptr_t)next(#name, &kept_##name)

void *malloc(size_t n) {
    NEXT(void *, malloc, size_t);
    if (!next_malloc) return from_early(n);
    return refused() ? NULL : next_malloc(n);
}
void *calloc(size_t n, size_t size) {
    NEXT(void *, calloc, size_t, size_t);
    if (!next_calloc) return from_early(n * size);
    return refused() ? NULL : next_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    NEXT(void *, realloc, void *, size_t);
    if (is_early(p)) {
        void *q = malloc(n);
        if (q) memcpy(q, p, n);
        return q;
    }
    return refused() ? NULL : next_realloc(p, n);
}
void free(void *p) {
    NEXT(void, free, void *);
    if (!is_early(p) && next_free) next_free(p);
}
int posix_memalign(void **p, size_t alignment, size_t n) {
    NEXT(int, posix_memalign, void **, size_t, size_t);
    return refused() ? ENOMEM : next_posix_memalign(p, alignment, n);
}
void *aligned_alloc(size_t alignment, size_t n) {
    NEXT(void *, aligned_alloc, size_t, size_t);
    return refused() ? NULL : next_aligned_alloc(alignment, n);
}

/* -- calls of the system -- */

enum { WRITE, PWRITE, FSYNC, RENAME, CLOSE, OPEN, TRUNCATE, CHMOD, MEMFD, CALLS };
static const char *const call_names[] = {"write", "pwrite",    "fsync",  "rename",       "close",
                                         "open",  "ftruncate", "fchmod", "memfd_create", NULL};
enum { HALF = -1, KILL = -2, ONCE = -3 }; /* beside error numbers; ONCE: EINTR and then as usual */

static int which = -1, how;
static long countdown, hits;
static pid_t armed_by;

/* 0: as usual; 1: fails with errno set; 2: by half */
static int struck(int call) {
    if (call != which || getpid() != armed_by || --countdown != 0) return 0;
    hits++;
    if (how == KILL) kill(getpid(), SIGKILL);
    if (how == HALF) return 2;
    errno = how == ONCE ? EINTR : how;
    return 1;
}

ssize_t write(int fd, const void *p, size_t n) {
    NEXT(ssize_t, write, int, const void *, size_t);
    const int s = fd > 2 ? struck(WRITE) : 0;
    return s == 1 ? -1 : next_write(fd, p, s == 2 && n > 1 ? n / 2 : n);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t where) {
    NEXT(ssize_t, pwrite, int, const void *, size_t, off_t);
    const int s = struck(PWRITE);
    return s == 1 ? -1 : next_pwrite(fd, p, s == 2 && n > 1 ? n / 2 : n, where);
}
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t where) { return pwrite(fd, p, n, where); }
int fsync(int fd) {
    NEXT(int, fsync, int);
    return struck(FSYNC) == 1 ? -1 : next_fsync(fd);
}
int rename(const char *from, const char *to) {
    NEXT(int, rename, const char *, const char *);
    return struck(RENAME) == 1 ? -1 : next_rename(from, to);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    NEXT(int, renameat, int, const char *, int, const char *);
    return struck(RENAME) == 1 ? -1 : next_renameat(from_folder, from, to_folder, to);
}
int close(int fd) { /* closed all the same, as Linux does */
    NEXT(int, close, int);
    const int s = fd > 2 ? struck(CLOSE) : 0, r = next_close(fd);
    if (s == 1) errno = how == ONCE ? EINTR : how;
    return s == 1 ? -1 : r;
}
#define OPENS(name)                                                     \
    int name(const char *path, int flags, ...) {                        \
        NEXT(int, name, const char *, int, ...);                        \
        va_list l;                                                      \
        va_start(l, flags);                                             \
        const mode_t mode = va_arg(l, mode_t);                          \
        va_end(l);                                                      \
        return struck(OPEN) == 1 ? -1 : next_##name(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
int openat(int folder, const char *path, int flags, ...) {
    NEXT(int, openat, int, const char *, int, ...);
    va_list l;
    va_start(l, flags);
    const mode_t mode = va_arg(l, mode_t);
    va_end(l);
    return struck(OPEN) == 1 ? -1 : next_openat(folder, path, flags, mode);
}
int ftruncate(int fd, off_t n) {
    NEXT(int, ftruncate, int, off_t);
    return struck(TRUNCATE) == 1 ? -1 : next_ftruncate(fd, n);
}
int ftruncate64(int fd, off64_t n) { return ftruncate(fd, n); }
int fchmod(int fd, mode_t mode) {
    NEXT(int, fchmod, int, mode_t);
    return struck(CHMOD) == 1 ? -1 : next_fchmod(fd, mode);
}
int memfd_create(const char *name, unsigned flags) {
    NEXT(int, memfd_create, const char *, unsigned);
    return struck(MEMFD) == 1 ? -1 : next_memfd_create(name, flags);
}

static int arm(const char *call, long n, const char *kind) {
    static const struct {
        const char *name;
        int value;
    } kinds[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EDQUOT", EDQUOT},
                 {"EROFS", EROFS},   {"EACCES", EACCES}, {"EMFILE", EMFILE},
                 {"EINTR", ONCE},    {"half", HALF},     {"kill", KILL}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kind, kinds[i].name)) how = kinds[i].value;
    which = -1;
    for (int i = 0; i < CALLS; i++)
        if (!strcmp(call, call_names[i])) which = i;
    countdown = n, hits = 0, armed_by = getpid();
    return which;
}

__attribute__((constructor)) static void in_hdf5(void) {
    char call[32], kind[32];
    long n;
    const char *told = getenv("TIDE_FAULT");
    if (told && !strcmp(program_invocation_short_name, "tide-hdf5") &&
        sscanf(told, "%31s %ld %31s", call, &n, kind) == 3)
        arm(call, n, kind);
}

/* -- the module -- */

/* memory(n, sticky): the n-th allocation from now on fails, with `sticky` all later ones too */
static int l_memory(lua_State *L) {
    const long n = (long)luaL_checkinteger(L, 1);
    atomic_store(&sticky, lua_toboolean(L, 2));
    atomic_store(&allocations, 0);
    atomic_store(&failed, 0);
    atomic_store(&at, n);
    return 0;
}
/* enough(): none fails any more; how many were made, how many failed */
static int l_enough(lua_State *L) {
    atomic_store(&at, -1);
    lua_pushinteger(L, atomic_load(&allocations));
    lua_pushinteger(L, atomic_load(&failed));
    return 2;
}
/* call(name, n, kind): the n-th call of the system of that name */
static int l_call(lua_State *L) {
    if (arm(luaL_checkstring(L, 1), (long)luaL_checkinteger(L, 2), luaL_checkstring(L, 3)) < 0)
        return luaL_error(L, "no call of that name");
    return 0;
}
/* calm(): none fails any more; whether one did */
static int l_calm(lua_State *L) {
    which = -1;
    lua_pushboolean(L, hits > 0);
    return 1;
}
/* setenv(name, value or nil) */
static int l_setenv(lua_State *L) {
    if (lua_isnil(L, 2)) unsetenv(luaL_checkstring(L, 1));
    else setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1);
    return 0;
}
/* fork(): 0 in the child */
static int l_fork(lua_State *L) {
    fflush(NULL);
    lua_pushinteger(L, fork());
    return 1;
}
static int l_kill(lua_State *L) {
    lua_pushboolean(L,
                    kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_optinteger(L, 2, SIGKILL)) == 0);
    return 1;
}
/* wait(pid): its exit status, or minus the signal */
static int l_wait(lua_State *L) {
    int status = 0;
    while (waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0) < 0 && errno == EINTR) {}
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return 1;
}
static int l_sleep(lua_State *L) {
    const double s = luaL_checknumber(L, 1);
    nanosleep(&(struct timespec){(time_t)s, (long)((s - (double)(time_t)s) * 1e9)}, NULL);
    return 0;
}
static int l_leave(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); }

int luaopen_faults(lua_State *L);
int luaopen_faults(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"memory", l_memory}, {"enough", l_enough}, {"call", l_call}, {"calm", l_calm},
        {"setenv", l_setenv}, {"fork", l_fork},     {"kill", l_kill}, {"wait", l_wait},
        {"sleep", l_sleep},   {"leave", l_leave},   {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
