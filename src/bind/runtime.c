/* What the process offers beside tensors: memory, threads, seeds, configuration, profile,
 * interrupts, clocks. */
#include "../io/image.h"
#include "../point.h"
#include "bind.h"

#include "../../kernels/engines.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void set_int(lua_State *L, const char *name, int64_t v) {
    lua_pushinteger(L, v);
    lua_setfield(L, -2, name);
}
static void set_string(lua_State *L, const char *name, const char *v) {
    lua_pushstring(L, v);
    lua_setfield(L, -2, name);
}

static tide_device *device_at(lua_State *L, int i, const char *who) {
    return lua_isnoneornil(L, i) ? tideL_ctx(L)->device : tideL_todevice(L, i, who);
}

/* memory(device): bytes and counts of the allocator of a device, the default one when left out;
 * live_tensors and live_nodes of this process and state */
static int memory(lua_State *L) {
    tide_memstat s = tide_memory(device_at(L, 1, "memory"));
    lua_newtable(L);
    set_int(L, "live_bytes", s.live_bytes);
    set_int(L, "peak_bytes", s.peak_bytes);
    set_int(L, "cached_bytes", s.cached_bytes);
    set_int(L, "kept_bytes", s.kept_bytes);
    set_int(L, "limit_bytes", s.limit_bytes);
    set_int(L, "live_storages", s.live_storages);
    set_int(L, "live_tensors", tide_live_tensors());
    set_int(L, "live_nodes", tideL_ctx(L)->live_nodes);
    set_int(L, "system_allocs", s.system_allocs);
    set_int(L, "cache_hits", s.cache_hits);
    return 1;
}

static int memory_limit(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        tide_memory_limit(tideL_ctx(L)->device, 0);
        return 0;
    }
    int64_t n = tideL_toint(L, 1, "memory_limit", "bytes");
    if (n < 0)
        tideL_error(L, "memory_limit", "bytes must be 0 (no limit) or more (got %lld)",
                    (long long)n);
    tide_ctx *ctx = tideL_ctx(L);
    tide_memory_limit(ctx->device, n);
    if (n) tideL_pace_below(ctx, n);
    return 0;
}

static int memory_trim(lua_State *L) {
    tide_memory_trim(tideL_ctx(L)->device);
    return 0;
}

/* memory_reset_peak(device) */
static int memory_reset_peak(lua_State *L) {
    tide_memory_reset_peak(device_at(L, 1, "memory_reset_peak"));
    return 0;
}

/* count_shapes(on): tensors on meta are counted as if they had memory, until as many calls with
 * false as with true */
static int count_shapes(lua_State *L) {
    tide_meta_count(lua_toboolean(L, 1));
    return 0;
}

/* device_info(name): free bytes, and copies from and to the host where the device counts them */
static int device_info(lua_State *L) {
    const tide_device_info i = tide_device_ask(tideL_todevice(L, 1, "device_info"));
    lua_newtable(L);
    set_int(L, "free_bytes", i.free_bytes);
    set_int(L, "copies_in", i.copies_in);
    set_int(L, "copies_out", i.copies_out);
    set_int(L, "bytes_in", i.bytes_in);
    set_int(L, "bytes_out", i.bytes_out);
    return 1;
}

/* set_threads(n): how many it is now and, where these are fewer, why */
static int set_threads(lua_State *L) {
    int64_t n = tideL_toint(L, 1, "set_threads", "n");
    if (n < 1 || n > 1024)
        tideL_error(L, "set_threads", "n must be 1..1024 (got %lld)", (long long)n);
    const int have = tide_set_threads((int)n), why = errno;
    lua_pushinteger(L, have);
    if (have == n) return 1;
    lua_pushstring(L, why ? strerror(why) : "a child of fork computes on one thread");
    return 2;
}

static int get_threads(lua_State *L) {
    lua_pushinteger(L, tide_get_threads());
    return 1;
}

static int seed(lua_State *L) {
    tide_seed(tideL_ctx(L), (uint64_t)tideL_toint(L, 1, "seed", "seed"));
    return 0;
}

/* generator(): seed, stream, offset of the state's generator, and whether somebody set it;
 * generator(seed, stream, offset, set) sets it; set: true where it is left out */
static int generator(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    const tide_rng was = ctx->rng;
    const int seeded = ctx->seeded;
    if (lua_gettop(L) >= 3) {
        ctx->rng = (tide_rng){(uint64_t)luaL_checkinteger(L, 1), (uint64_t)luaL_checkinteger(L, 2),
                              (uint64_t)luaL_checkinteger(L, 3)};
        ctx->seeded = lua_isnoneornil(L, 4) || lua_toboolean(L, 4);
    }
    lua_pushinteger(L, (lua_Integer)was.seed);
    lua_pushinteger(L, (lua_Integer)was.stream);
    lua_pushinteger(L, (lua_Integer)was.offset);
    lua_pushboolean(L, seeded);
    return 4;
}

/* draw_seed(what): 64 bits from the state's generator */
static int draw_seed(lua_State *L) {
    tide_ctx *ctx = tideL_here(L, tideL_ctx(L));
    const tide_rng r = ctx->rng;
    tideL_try(L, ctx, tide_may_draw(ctx, luaL_checkstring(L, 1)));
    ctx->rng.offset++;
    lua_pushinteger(L, (lua_Integer)tide_sample_seed(r.seed, r.stream, r.offset));
    return 1;
}

/* -- profile: core.profile_start(most, whether parts are told apart), core.profile_part(n) enters a
 * part of the program and returns the one before, core.profile_stop() -> list of { name, calls,
 * seconds, bytes, flops }. Its field `parts` holds likewise what part n took forward at 2n + 1, its
 * gradients at 2n + 2; `spans`, of each of the first `most` launches, name, beginning, seconds,
 * bytes, flops and place in `parts`, one behind the other -- */

static int profile_start(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    if (ctx->profile) tideL_error(L, "profile", "is running already");
    ctx->profile = tide_profile_new(luaL_optinteger(L, 1, 0));
    if (!ctx->profile) tideL_error(L, "profile", "not enough memory");
    if (lua_toboolean(L, 2)) tide_profile_enter(ctx->profile, 0, 0);
    return 0;
}

static int profile_part(lua_State *L) {
    struct tide_profile *p = tideL_ctx(L)->profile;
    lua_pushinteger(L, p ? p->part : 0);
    if (p) tide_profile_enter(p, (int)luaL_checkinteger(L, 1), p->backward);
    return 1;
}

/* profile_work(): multiplications and additions of matrix products so far, and launches */
static int profile_work(lua_State *L) {
    const struct tide_profile *p = tideL_ctx(L)->profile;
    double work = 0;
    int64_t calls = 0;
    for (int i = 0; p && i < TIDE_OP_COUNT; i++) work += p->op[i].flops, calls += p->op[i].calls;
    lua_pushnumber(L, work);
    lua_pushinteger(L, calls);
    return 2;
}

static void free_profile(void *p) { tide_profile_free(p); }

static void push_tally(lua_State *L, const tide_tally *s) {
    lua_createtable(L, 0, 5);
    set_int(L, "calls", s->calls);
    set_int(L, "bytes", s->bytes);
    lua_pushnumber(L, s->seconds), lua_setfield(L, -2, "seconds");
    lua_pushnumber(L, s->flops), lua_setfield(L, -2, "flops");
}

static int profile_stop(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    tideL_box *box = tideL_newbox(L, free_profile); /* the list may not find memory */
    struct tide_profile *p = box->p = ctx->profile;
    ctx->profile = NULL;
    lua_newtable(L);
    for (int i = 0, n = 0; p && i < TIDE_OP_COUNT; i++) {
        if (!p->op[i].calls) continue;
        push_tally(L, &p->op[i]);
        set_string(L, "name", tide_ops[i]->name);
        lua_rawseti(L, -2, ++n);
    }
    if (p && p->parts) {
        lua_newtable(L);
        for (int i = 0; i < 2 * p->nparts; i++) {
            if (!p->parts[i].calls) continue;
            push_tally(L, &p->parts[i]);
            lua_rawseti(L, -2, i + 1);
        }
        lua_setfield(L, -2, "parts");
    }
    if (p && p->most > 0) {
        lua_newtable(L);
        for (int64_t i = 0; i < p->nspans; i++) {
            const tide_span *s = &p->spans[i];
            lua_pushstring(L, tide_ops[s->op]->name), lua_rawseti(L, -2, 6 * i + 1);
            lua_pushnumber(L, s->start), lua_rawseti(L, -2, 6 * i + 2);
            lua_pushnumber(L, s->seconds), lua_rawseti(L, -2, 6 * i + 3);
            lua_pushinteger(L, s->bytes), lua_rawseti(L, -2, 6 * i + 4);
            lua_pushnumber(L, s->flops), lua_rawseti(L, -2, 6 * i + 5);
            lua_pushinteger(L, s->part + 1), lua_rawseti(L, -2, 6 * i + 6);
        }
        lua_setfield(L, -2, "spans");
    }
    box->p = NULL;
    tide_profile_free(p);
    return 1;
}

/* -- interrupts: while watched, the first Ctrl-C sets a flag, a second one goes where it went
 * before -- */

static _Atomic int interrupts;
static volatile time_t second_press;
static struct sigaction previous;
static pthread_mutex_t watch = PTHREAD_MUTEX_INITIALIZER;
static int watchers; /* that are on, of several states and threads */
/* In the list of its thread, and held by a value of its state, which another thread may close: that
 * turns it off, and its own thread takes it out of the list. All but looking is done under `watch`.
 */
typedef struct watcher {
    lua_State *L; /* the coroutine that watches, held by the value */
    struct watcher *next;
    _Atomic int on;
    int holders;
} watcher;
static _Thread_local watcher *volatile watching; /* of this thread, the innermost first */
static void cancel(int v) { __atomic_store_n(&tide_cancel, v, __ATOMIC_RELAXED); }

/* Whether some coroutine that watches runs: one that waits, or died without being closed, does not
 * look at the flag. */
static int heeded(void) {
    const watcher *w = watching;
    if (!w) return 1; /* another thread's */
    while (w && (!w->on || lua_status(w->L) != LUA_OK)) w = w->next;
    return w != NULL;
}

/* A third one within two seconds means that the second is not heeded: then the default action. */
static void on_interrupt(int sig, siginfo_t *info, void *context) {
    const int nobody = !heeded();
    if ((++interrupts < 2 && !nobody) || previous.sa_handler == SIG_IGN) return;
    const time_t at = time(NULL);
    if (nobody || interrupts == 2 || at - second_press > 2) {
        interrupts = nobody ? 0 : 2;
        second_press = at;
        if (previous.sa_handler != SIG_DFL) {
            cancel(1);
            if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(sig, info, context);
            else previous.sa_handler(sig);
            return;
        }
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

/* The handler's stack on this thread, unless the host has given it one: a library may have pointed
 * the stack register into the heap. Where one is known to, signals are held (kernels/signals.h).
 */
enum { HANDLER_STACK = 128 * 1024 };
static pthread_key_t handler_stack;
static void drop_stack(void *p) {
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    free(p);
}
static void make_key(void) { pthread_key_create(&handler_stack, drop_stack); }
void tideL_own_stack(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    stack_t there;
    if (sigaltstack(NULL, &there) != 0 || !(there.ss_flags & SS_DISABLE)) return;
    pthread_once(&once, make_key);
    void *p = malloc(HANDLER_STACK);
    if (p && pthread_setspecific(handler_stack, p) == 0)
        sigaltstack(&(stack_t){.ss_sp = p, .ss_size = HANDLER_STACK}, NULL);
    else free(p);
}

/* A forked child has the thread that forked alone. */
static void before_fork(void) { pthread_mutex_lock(&watch); }
static void after_fork(void) { pthread_mutex_unlock(&watch); }
static int own_watchers(void) {
    int n = 0;
    for (const watcher *w = watching; w; w = w->next) n += w->on;
    return n;
}
static void forked(void) {
    const int own = own_watchers();
    if (watchers > 0 && !own) sigaction(SIGINT, &previous, NULL);
    watchers = own;
    after_fork();
}
static void mind_forks(void) { pthread_atfork(before_fork, after_fork, forked); }

static void watch_begins(watcher *w) {
    pthread_mutex_lock(&watch);
    tideL_own_stack();
    if (watchers++ == 0) {
        struct sigaction a = {.sa_sigaction = on_interrupt,
                              .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
        sigemptyset(&a.sa_mask);
        interrupts = 0;
        cancel(0);
        sigaction(SIGINT, &a, &previous);
    }
    watching = w;
    pthread_mutex_unlock(&watch);
}

/* The three below under `watch`. */
static void turn_off(watcher *w) {
    if (!w->on) return;
    w->on = 0;
    if (--watchers == 0) {
        sigaction(SIGINT, &previous, NULL);
        interrupts = 0;
        cancel(0);
    }
}
static void let_go(watcher *w) {
    if (--w->holders == 0) free(w);
}
static void sweep(void) {
    for (watcher *w = watching, *outer = NULL, *next; w; w = next) {
        next = w->next;
        if (w->on) {
            outer = w;
            continue;
        }
        if (outer) outer->next = next;
        else watching = next;
        let_go(w);
    }
}

static int end_watch(lua_State *L) {
    watcher **at = lua_touserdata(L, 1), *w = *at;
    if (!w) return 0;
    *at = NULL;
    pthread_mutex_lock(&watch);
    turn_off(w);
    let_go(w);
    sweep();
    pthread_mutex_unlock(&watch);
    return 0;
}

/* watch_interrupts(): Ctrl-C is noted until the value returned is closed, or is collected with a
 * coroutine that was given up; nests. watch_interrupts("end"): whoever watches has been left */
static int watch_interrupts(lua_State *L) {
    if (lua_type(L, 1) == LUA_TSTRING) {
        pthread_mutex_lock(&watch);
        for (watcher *w = watching; w; w = w->next) turn_off(w);
        sweep();
        pthread_mutex_unlock(&watch);
        return 0;
    }
    watcher **at = lua_newuserdatauv(L, sizeof *at, 1);
    *at = NULL;
    lua_pushthread(L);
    lua_setiuservalue(L, -2, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, end_watch);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, end_watch);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    watcher *w = malloc(sizeof *w);
    if (!w) tideL_error(L, "watch_interrupts", "not enough memory");
    *w = (watcher){.L = L, .next = watching, .on = 1, .holders = 2};
    *at = w;
    watch_begins(w);
    return 1;
}

/* -- SIGTERM: while somebody asks, it counts as a first Ctrl-C -- */

static _Atomic int terminated;
static struct sigaction before_termination;
static int termination_watchers;
static void on_termination(int sig) {
    (void)sig;
    terminated = 1;
    if (interrupts == 0) interrupts = 1;
}

static int end_termination(lua_State *L) {
    int *on = lua_touserdata(L, 1);
    if (!*on) return 0;
    *on = 0;
    pthread_mutex_lock(&watch);
    if (--termination_watchers == 0) {
        sigaction(SIGTERM, &before_termination, NULL);
        terminated = 0;
    }
    pthread_mutex_unlock(&watch);
    return 0;
}

/* watch_termination(): SIGTERM is noted, as Ctrl-C is, until the value returned is closed or
 * collected */
static int watch_termination(lua_State *L) {
    int *on = lua_newuserdatauv(L, sizeof *on, 0);
    *on = 0;
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, end_termination);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, end_termination);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    pthread_mutex_lock(&watch);
    tideL_own_stack();
    if (termination_watchers++ == 0) {
        struct sigaction a = {.sa_handler = on_termination, .sa_flags = SA_RESTART | SA_ONSTACK};
        sigemptyset(&a.sa_mask);
        terminated = 0;
        sigaction(SIGTERM, &a, &before_termination);
    }
    *on = 1;
    pthread_mutex_unlock(&watch);
    return 1;
}

/* cancel_flag(): where a program's own handler writes 1, so that the op that runs, or the next one,
 * raises "interrupted!" */
static int cancel_flag(lua_State *L) {
    lua_pushlightuserdata(L, (void *)&tide_cancel);
    return 1;
}

/* interrupted(): whether Ctrl-C came since, whether this thread watches for it, and whether it was
 * SIGTERM; interrupted(true | false) sets the first */
static int interrupted(lua_State *L) {
    const int given = lua_gettop(L) > 0;
    lua_pushboolean(L, interrupts > 0);
    lua_pushboolean(L, own_watchers() > 0);
    lua_pushboolean(L, terminated);
    if (given) interrupts = lua_toboolean(L, 1);
    return 3;
}

/* -- clocks, terminal, process -- */

static int now(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (double)t.tv_sec + 1e-9 * (double)t.tv_nsec);
    return 1;
}

/* isatty(fd = 1), columns, rows */
static int terminal(lua_State *L) {
    int fd = (int)luaL_optinteger(L, 1, 1);
    struct winsize w = {0};
    int known = ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0;
    lua_pushboolean(L, isatty(fd));
    lua_pushinteger(L, known ? w.ws_col : 80);
    lua_pushinteger(L, known && w.ws_row > 0 ? w.ws_row : 24);
    return 3;
}

/* resident(): resident set and its peak, in bytes */
static int resident(lua_State *L) {
    int64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
        fclose(f);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    lua_pushinteger(L, pages * sysconf(_SC_PAGESIZE));
    lua_pushinteger(L, (int64_t)u.ru_maxrss * 1024);
    return 2;
}

/* engines(): the names of the CPU's engines in order; engines("plain") lets only these serve,
 * engines(false) all */
static int engine_order(lua_State *L) {
    if (lua_gettop(L) > 0) tide_limit_engines(lua_toboolean(L, 1) ? luaL_checkstring(L, 1) : NULL);
    lua_newtable(L);
    for (int i = 0; i < 4; i++) {
        const char *name = tide_engine_name(i);
        if (!name) break;
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* blas_info(), onednn_info(): what is there (they open it); engine_stats(): counts since the
 * process began */
static int blas_info(lua_State *L) {
    tide_engines_open();
    lua_pushstring(L, tide_blas_info());
    return 1;
}
static int onednn_info(lua_State *L) {
    tide_engines_open();
    lua_pushstring(L, tide_onednn_info());
    return 1;
}
static int engine_stats(lua_State *L) {
    tide_engine_stats s = tide_engines_stats();
    lua_newtable(L);
    set_int(L, "primitives", s.primitives);
    set_int(L, "weight_reorders", s.weight_reorders);
    set_int(L, "gemm_convolutions", s.gemm_convolutions);
    set_int(L, "refused_ref", s.refused_ref);
    set_int(L, "parallel_regions", tide_parallel_regions());
    return 1;
}

#ifdef TIDE_HARD
/* hard_fail(k, lua, f): runs f() while the k-th allocation of Tide fails, or with `lua` the state's
 * k-th and some behind it. Returns whether it fell due, whether f returned, and else its error. */
static struct {
    lua_Alloc f;
    void *ud;
    int64_t left;
} states;
static void *failing(void *ud, void *p, size_t osize, size_t nsize) {
    (void)ud;
    enum {
        ROW = 8
    }; /* Lua asks each time again behind a collection; then memory is to be had, or nobody could
          call it off */
    if (states.left > -ROW && states.left != 0 && nsize > (p ? osize : 0) &&
        (states.left < 0 || states.left == 1)) {
        states.left = states.left < 0 ? states.left - 1 : -1;
        return NULL;
    }
    if (states.left > 1 && nsize > (p ? osize : 0)) states.left--;
    return states.f(states.ud, p, osize, nsize);
}
static int hard_fail(lua_State *L) {
    const int64_t k = luaL_checkinteger(L, 1);
    const int lua = lua_toboolean(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    if (!states.f) {
        states.f = lua_getallocf(L, &states.ud);
        lua_setallocf(L, failing, NULL);
    }
    tide_hard_fail(lua ? 0 : k);
    states.left = lua ? k : 0;
    const int ok = lua_pcall(L, 0, 0, 0) == LUA_OK;
    const int fired = states.left < 0;
    states.left = 0; /* from here on there is memory */
    lua_pushboolean(L, tide_hard_fail(0) || fired);
    lua_pushboolean(L, ok);
    if (ok) lua_pushnil(L);
    else lua_pushvalue(L, -3);
    return 3;
}
#endif

/* -- numbers in every locale -- */

#define POINT "tide.point"

static int point_close(lua_State *L) {
    tide_point *p = luaL_checkudata(L, 1, POINT);
    tide_point_end(*p);
    *p = (tide_point){0};
    return 0;
}

/* decimal_point() -> a value to close: until then this thread writes numbers with a point. Nothing
 * where the locale has a point. */
static int decimal_point(lua_State *L) {
    if (!strcmp(localeconv()->decimal_point, ".")) return 0;
    tide_point *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (tide_point){0};
    luaL_setmetatable(L, POINT);
    *p = tide_point_begin();
    return 1;
}

void tideL_open_runtime(lua_State *L) {
    static const luaL_Reg point[] = {{"__close", point_close}, {"__gc", point_close}, {NULL, NULL}};
    luaL_newmetatable(L, POINT);
    luaL_setfuncs(L, point, 0);
    lua_pop(L, 1);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, mind_forks);
    static const luaL_Reg functions[] = {
        {"memory", memory},
        {"memory_limit", memory_limit},
        {"memory_trim", memory_trim},
        {"memory_reset_peak", memory_reset_peak},
        {"count_shapes", count_shapes},
        {"device_info", device_info},
        {"set_threads", set_threads},
        {"get_threads", get_threads},
        {"seed", seed},
        {"draw_seed", draw_seed},
        {"generator", generator},
        {"profile_start", profile_start},
        {"profile_stop", profile_stop},
        {"profile_part", profile_part},
        {"profile_work", profile_work},
        {"watch_interrupts", watch_interrupts},
        {"watch_termination", watch_termination},
        {"interrupted", interrupted},
        {"cancel_flag", cancel_flag},
        {"now", now},
        {"terminal", terminal},
        {"decimal_point", decimal_point},
        {"resident", resident},
        {"engines", engine_order},
        {"blas_info", blas_info},
        {"onednn_info", onednn_info},
        {"engine_stats", engine_stats},
#ifdef TIDE_HARD
        {"hard_fail", hard_fail},
#endif
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    set_string(L, "cpu_level", tide_cpu_level());
    set_string(L, "bf16_products", tide_bf16_products());
}
