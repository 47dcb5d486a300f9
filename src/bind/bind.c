/* Handles, errors and the pacing of Lua's collector.
 *
 * The collector sees a handle of 16 bytes, not the storage behind it. So before an op, when live
 * bytes have grown by a step since it last looked and it is running, it is made to work: a young
 * collection in generational mode, else a full one. */
#include "../point.h"
#include "bind.h"

#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char ctx_key, meta_key, scopes_key;

tide_ctx *tideL_ctx(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key);
    tide_ctx **box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!*box) tideL_error(L, "tide", "the Lua state is being closed");
    return tideL_here(L, *box);
}

void tideL_push_ctx(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key); }

/* -- scopes: while one is open, every handle that its coroutine makes is noted in the innermost
 * one's list --
 *
 * registry[&scopes_key], weak in its keys: coroutine -> its innermost scope. A scope is a list of
 * handles with the field `outer`. A coroutine that is given up takes its scopes with it. */

static _Atomic int64_t
    open_scopes; /* of all states, those given up too: whether it is worth looking */

static int push_scope(
    lua_State *L) { /* the running coroutine's innermost scope, and whether there is one */
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        return 0;
    }
    lua_pushthread(L);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_istable(L, -1)) return 1;
    lua_pop(L, 1);
    return 0;
}

static void set_scope(lua_State *L, int i) { /* the value at i is the innermost one now */
    i = lua_absindex(L, i);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key);
    lua_pushthread(L);
    lua_pushvalue(L, i);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Whether the value at i is a scope that notes, not a pause. */
static int notes(lua_State *L, int i) {
    if (!lua_istable(L, i)) return 0;
    i = lua_absindex(L, i);
    lua_pushliteral(L, "pause");
    int pause = lua_rawget(L, i) != LUA_TNIL;
    lua_pop(L, 1);
    return !pause;
}

/* Notes the handle on top of the stack. */
static void note_in_scope(lua_State *L) {
    if (!push_scope(L)) return;
    if (notes(L, -1)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_pop(L, 1);
}

/* core.scope_note(tensor): as if it were made now */
static int scope_note_(lua_State *L) {
    lua_settop(L, 1);
    if (open_scopes && tideL_tohandle(L, 1)) note_in_scope(L);
    return 0;
}

/* core.scope_begin() -> scope */
static int scope_begin(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scopes_key) != LUA_TTABLE) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &scopes_key);
    }
    lua_newtable(L);
    if (push_scope(L)) lua_setfield(L, -2, "outer");
    set_scope(L, -1);
    open_scopes++;
    return 1;
}

static int scope_end(lua_State *L);

/* core.scope_pause() -> pause: until it is closed the coroutine's scopes note nothing but what
 * scopes opened inside do; for calls that run many batches, whose tensors live on in what they
 * train. Nothing where no scope is open. */
static int scope_pause(lua_State *L) {
    if (!open_scopes || !push_scope(L)) return 0;
    lua_createtable(L, 0, 2); /* whole before it is the innermost one: memory may be short */
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "pause");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "outer");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, scope_end);
    lua_setfield(L, -2, "__close");
    lua_setmetatable(L, -2);
    set_scope(L, -1);
    open_scopes++;
    return 1;
}

/* core.scope_keep(scope, tensor): moves it to the scope outside */
static int scope_keep(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, 1); i <= n; i++) {
        lua_rawgeti(L, 1, i);
        if (lua_rawequal(L, -1, 2)) {
            lua_pushboolean(L, 0);
            lua_rawseti(L, 1, i);
            lua_pushliteral(L, "outer");
            lua_rawget(L, 1);
            if (notes(L, -1)) {
                lua_pushvalue(L, 2);
                lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
            }
            return 0;
        }
        lua_pop(L, 1);
    }
    return 0;
}

/* core.scope_leave(tensor): takes it out of all scopes of the coroutine, for what the library
 * itself keeps for later calls */
static int scope_leave(lua_State *L) {
    lua_settop(L, 1);
    if (!open_scopes || !push_scope(L)) return 0;
    while (lua_istable(L, 2)) {
        for (lua_Integer i = (lua_Integer)lua_rawlen(L, 2); i >= 1; i--) {
            lua_rawgeti(L, 2, i);
            int found = lua_rawequal(L, -1, 1);
            lua_pop(L, 1);
            if (found) {
                lua_pushboolean(L, 0);
                lua_rawseti(L, 2, i);
                return 0;
            }
        }
        lua_pushliteral(L, "outer");
        lua_rawget(L, 2);
        lua_replace(L, 2);
    }
    return 0;
}

static void release(lua_State *L, int i) {
    tideL_handle *h = tideL_tohandle(L, i);
    tide_tensor *t = h ? h->t : NULL;
    if (!t) return;
    h->t = NULL;
    tide_release(t);
}

static void release_noted(lua_State *L, int i) {
    for (lua_Integer k = 1, n = (lua_Integer)lua_rawlen(L, i); k <= n; k++) {
        lua_rawgeti(L, i, k);
        release(L, -1);
        lua_pop(L, 1);
        lua_pushboolean(L, 0); /* ending it twice releases nothing */
        lua_rawseti(L, i, k);
    }
}

/* core.scope_end(scope): releases what the scope noted, and what those noted that were left open
 * inside of it */
static int scope_end(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int inside = 0;
    if (push_scope(L)) {
        lua_pushvalue(L, 2); /* is it one of this coroutine's? */
        while (!inside && lua_istable(L, -1)) {
            inside = lua_rawequal(L, -1, 1);
            lua_pushliteral(L, "outer");
            lua_rawget(L, -2);
            lua_remove(L, -2);
        }
        lua_pop(L, 1);
    }
    if (!inside) {
        release_noted(L, 1);
        return 0;
    }
    for (int last = 0; !last;) {
        last = lua_rawequal(L, 2, 1);
        release_noted(L, 2);
        lua_pushliteral(L, "outer");
        lua_rawget(L, 2);
        lua_replace(L, 2);
        open_scopes--;
    }
    set_scope(L, 2); /* the one outside, or nil */
    return 0;
}

/* -- handles -- */

tideL_handle *tideL_newpin(lua_State *L) {
    tideL_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->magic = TIDEL_MAGIC;
    h->t = NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
    lua_setmetatable(L, -2);
    return h;
}

tideL_handle *tideL_new(lua_State *L) {
    tideL_handle *h = tideL_newpin(L);
    if (open_scopes) note_in_scope(L);
    return h;
}

void tideL_push_metatable(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key); }

tideL_handle *tideL_newof(lua_State *L, int meta) {
    tideL_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->magic = TIDEL_MAGIC;
    h->t = NULL;
    lua_pushvalue(L, meta);
    lua_setmetatable(L, -2);
    if (open_scopes) note_in_scope(L);
    return h;
}

tideL_handle *tideL_tohandle(lua_State *L, int i) {
    tideL_handle *h = lua_touserdata(L, i); /* a light one has no length */
    return h && lua_rawlen(L, i) == sizeof *h && h->magic == TIDEL_MAGIC ? h : NULL;
}

void tideL_released(lua_State *L) {
    tideL_error(L, "tensor", "was released; it cannot be used any more");
}

tide_tensor *tideL_totensor(lua_State *L, int i) {
    tideL_handle *h = tideL_tohandle(L, i);
    if (!h) return NULL;
    if (!h->t) tideL_released(L);
    return h->t;
}

const char *tideL_typename(lua_State *L, int i) {
    switch (lua_type(L, i)) {
    case LUA_TNONE:
    case LUA_TNIL: return "nothing";
    case LUA_TBOOLEAN: return "a boolean";
    case LUA_TNUMBER: return "a number";
    case LUA_TSTRING: return "a string";
    case LUA_TTABLE: return "a table";
    case LUA_TFUNCTION: return "a function";
    case LUA_TUSERDATA: return tideL_tohandle(L, i) ? "a tensor" : "a userdata";
    default: return luaL_typename(L, i);
    }
}

void tideL_refuse_colon(lua_State *L, const char *where) {
    if (lua_type(L, 1) != LUA_TTABLE || luaL_getmetafield(L, 1, "__names") == LUA_TNIL) return;
    luaL_getmetafield(L, 1, "__name");
    const char *space = luaL_tolstring(L, -1, NULL);
    tideL_error(L, where, "is a function and no method: write %.40s.%s(...) with a dot", space,
                where);
}

tide_tensor *tideL_checktensor(lua_State *L, int i, const char *where) {
    tide_tensor *t = tideL_totensor(L, i);
    if (!t)
        tideL_error(L, where, "takes a tensor (got %s)%s", tideL_typename(L, i),
                    i == 1 && lua_isnone(L, i) ? "; methods are called with a colon, x:name()"
                                               : "");
    if (tide_is_sparse(t))
        tideL_error(L, where,
                    "a sparse gradient is for the optimizer's step only; ask tide.grad without "
                    "sparse = true");
    return t;
}

tide_tensor *tideL_pin(lua_State *L, int i, const char *where) {
    i = lua_absindex(L, i);
    tideL_handle *h = tideL_newpin(L);
    return h->t = tide_retain(tideL_checktensor(L, i, where));
}

tide_tensor *tideL_pinhost(lua_State *L, int i, const char *where) {
    i = lua_absindex(L, i);
    tideL_handle *h = tideL_newpin(L);
    tide_tensor *t = tideL_checktensor(L, i, where);
    tideL_try(L, t->ctx, tide_need_elements(t->ctx, t, where));
    tideL_try(L, t->ctx, tide_to_host(t->ctx, t, &h->t));
    return h->t;
}

void tideL_send_to(lua_State *L, tideL_handle *h, tide_device *dev) {
    tide_tensor *t = h->t, *there = NULL;
    if (tide_device_of(t) == dev) return;
    tideL_try(L, t->ctx, tide_to(t->ctx, t, dev, &there));
    h->t = there;
    tide_release(t);
}

void tideL_send(lua_State *L, tideL_handle *h) {
    tideL_send_to(L, h, tideL_here(L, h->t->ctx)->device);
}

tide_device *tideL_todevice(lua_State *L, int i, const char *where) {
    const char *name = lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) : NULL;
    tide_device *dev = name ? tide_device_find(name) : NULL;
    int dtype = 0;
    for (int k = 0; k < TIDE_DTYPE_COUNT && name; k++) dtype |= !strcmp(name, tide_dtype_name(k));
    if (!dev)
        tideL_error(L, where, "no device '%.40s' here (expected cpu)%s%.40s%s",
                    name ? name : tideL_typename(L, i), dtype ? "; dtypes change by x:cast \"" : "",
                    dtype ? name : "", dtype ? "\"" : "");
    return dev;
}

tide_tensor *tideL_pinvalue(lua_State *L, int i, int like, const char *where) {
    i = lua_absindex(L, i);
    if (!tideL_tohandle(L, i)) {
        tideL_literal(L, i, -1, like, NULL, where);
        i = lua_gettop(L);
    }
    return tideL_pin(L, i, where);
}

void tideL_push_item(lua_State *L, const tide_tensor *t, int64_t flat, const char *where) {
    tideL_try(L, t->ctx, tide_need_elements(t->ctx, t, where));
    if (t->dtype == TIDE_BOOL) lua_pushboolean(L, tide_item_int(t, flat) != 0);
    else if (tide_is_float(t->dtype)) {
        double v = tide_item(t, flat);
        lua_pushnumber(L, v == v ? v : (double)NAN); /* printed as nan, not as -nan */
    } else lua_pushinteger(L, tide_item_int(t, flat));
    if (tide_file_lost) tideL_try(L, t->ctx, tide_go_on(t->ctx));
}

static int handle_release(lua_State *L) {
    release(L, 1);
    return 0;
}

static int handle_gc(lua_State *L) {
    tideL_handle *h = tideL_tohandle(L, 1);
    tide_tensor *t = h ? h->t : NULL;
    if (!t) return 0;
    if (tideL_comes_back(h)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key); /* it will be collected again */
        lua_setmetatable(L, 1);
        return 0;
    }
    h->t = NULL;
    tide_release(t);
    return 0;
}

/* -- errors -- */

/* Calls tide.errors.new(op, message, status) where it is loaded; a plain string otherwise. Does not
 * return. */
static int raise(lua_State *L, const char *op, const char *message, const char *status) {
    lua_settop(L, lua_gettop(L) > 200 ? 200 : lua_gettop(L));
    luaL_checkstack(L, 8, "tide");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "tide.errors") == LUA_TTABLE &&
        lua_getfield(L, -1, "new") == LUA_TFUNCTION) {
        lua_pushstring(L, op);
        lua_pushstring(L, message);
        lua_pushstring(L, status);
        lua_call(L, 3, 1);
        return lua_error(L);
    }
    luaL_where(L, 1);
    lua_pushfstring(L, "%s: ", op);
    luaL_Buffer b; /* names out of files are printed without control characters */
    luaL_buffinit(L, &b);
    for (const char *p = message; *p; p++)
        luaL_addchar(&b, ((unsigned char)*p < 32 && *p != '\n') || *p == 127 ? '?' : *p);
    luaL_pushresult(&b);
    lua_concat(L, 3);
    return lua_error(L);
}

int tideL_raise(lua_State *L, tide_ctx *ctx, tide_status st) {
    if (st == TIDE_EINTERRUPT) { /* the hook that would say the same at the next instruction has
                                    nothing left to do */
        __atomic_store_n(&tide_cancel, 0, __ATOMIC_RELAXED);
        if (lua_gethookcount(L) == 1) lua_sethook(L, NULL, 0, 0);
        if (!atomic_exchange(&tide_file_lost, 0)) return luaL_error(L, "interrupted!");
        tide_fail(ctx, st = TIDE_EIO,
                  "load: a file was cut while it was mapped, and its end is lost; load it without "
                  "mmap, or write a new file beside it and rename that");
    }
    char op[64] = "tide";
    const char *message = ctx->message, *colon = strstr(message, ": ");
    if (colon && colon - message < (ptrdiff_t)sizeof op &&
        !memchr(message, ' ', (size_t)(colon - message))) {
        memcpy(op, message, (size_t)(colon - message));
        op[colon - message] = 0;
        message = colon + 2;
    }
    return raise(L, op, message, tide_status_name(st));
}

void tideL_name(tide_ctx *ctx, const char *name) {
    char was[TIDE_MESSAGE];
    const size_t n = strlen(name), inner = strcspn(ctx->message, ": ");
    const char *rest = ctx->message;
    if (!strncmp(rest, name, n) && rest[n] == ':') return;
    if (inner > 0 && rest[inner - 1] == '_' && rest[inner] == ':') rest += inner + 2;
    snprintf(was, sizeof was, "%s", rest);
    tide_fail(ctx, TIDE_EARG, "%s: %.*s", name, (int)(sizeof was - n - 3), was);
}

int tideL_error(lua_State *L, const char *op, const char *fmt, ...) {
    char message[TIDE_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    tide_point point = tide_point_begin();
    vsnprintf(message, sizeof message, fmt, ap);
    tide_point_end(point);
    va_end(ap);
    return raise(L, op, message, "argument");
}

/* -- pacing -- */

#define PACE_YOUNG ((int64_t)256 << 10) /* bytes that may come before the collector looks, */
#define PACE_NEAR ((int64_t)4 << 20)   /* or so many, which a core has in its own cache at least, */
#define PACE_FULL ((int64_t)32 << 20)  /* and before it looks at all that there is, */
#define PACE_MOST ((int64_t)256 << 20) /* at most */
#define LAZY_BYTES ((int64_t)1 << 20)  /* and at boundaries that come every few microseconds */
#define LAZY_TENSORS 256
#define HANDLE_COST 512 /* what a small tensor counts beside its bytes */

static int64_t weight(void) { return tide_live_bytes() + tide_live_tensors() * HANDLE_COST; }

static int nothing(lua_State *L) {
    (void)L;
    return 0;
}

/* Lua calls a finalizer once: one that is refused the room of a call is passed over, and its tensor
 * stays for good. So that room is taken before, and kept by Lua through the collection. Where the
 * call is the one that a hook of Ctrl-C ends, the op that runs or the next one ends in its place.
 */
int tideL_can_collect(lua_State *L) {
    if (!lua_checkstack(L, 2 * LUA_MINSTACK)) return 0;
    lua_pushcfunction(L, nothing);
    const int status = lua_pcall(L, 0, 0, 0);
    if (status == LUA_OK) return 1;
    if (status == LUA_ERRRUN) __atomic_store_n(&tide_cancel, 1, __ATOMIC_RELAXED);
    lua_pop(L, 1);
    return 0;
}

static void collect(lua_State *L, int full) {
    if (!tideL_can_collect(L)) return;
    if (full) lua_gc(L, LUA_GCCOLLECT);
    else lua_gc(L, LUA_GCSTEP, 0);
}

/* What is left behind a full collection may be held in a circle through the core: worth a search
 * where half as much again lives as behind the last one. */
static void search(lua_State *L, tide_ctx *ctx) {
    if (weight() <= ctx->searched + ctx->searched / 2) return;
    tideL_search(L, ctx);
    ctx->searched = weight();
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* So many more bytes, or half of what a limit leaves. */
static int64_t within_limit(const tide_ctx *ctx, int64_t more) {
    const tide_memstat s = tide_memory(ctx->device);
    return s.limit_bytes ? TIDE_MIN(more, TIDE_MAX(s.limit_bytes - s.live_bytes, LAZY_BYTES) / 2)
                         : more;
}

/* The next look comes after a step of bytes, behind a full collection or one that found little when
 * what lives has grown by an eighth as well. Young collections that find much cost a microsecond or
 * two and keep the memory of the next results in the processor's cache (10,000 floats added in a
 * loop: 3.4 us, and 7 with steps of 4 MB), so the step shrinks to PACE_YOUNG. It doubles up to
 * PACE_FULL where they find little, as within a recorded step, and up to PACE_MOST where
 * collections (full ones in a state of many objects) would take more than a sixteenth of the time,
 * an eighth of it up to PACE_NEAR. Below a limit they come when half of what is left is new. */
static void set_pace(tide_ctx *ctx, double begun, double ended, int found) {
    const int64_t least = ctx->generational ? PACE_YOUNG : PACE_FULL;
    const double took = ended - begun, between = begun - ctx->pace_ended,
                 most = between / (ctx->pace_step < PACE_NEAR ? 8 : 16);
    if ((between > 0 && took > most) || (!found && ctx->pace_step < PACE_FULL))
        ctx->pace_step *= ctx->pace_step < PACE_MOST ? 2 : 1;
    else if (took < most / 2.5) ctx->pace_step /= 2;
    ctx->pace_step = TIDE_MAX(ctx->pace_step, least);
    ctx->pace_ended = ended;
    ctx->pace_live = weight();
    int64_t more = ctx->pace_step;
    if (!ctx->generational || !found) more = TIDE_MAX(ctx->pace_live / 8, more);
    ctx->pace_limit = ctx->pace_live + within_limit(ctx, more);
}

/* Has so much come since the last full collection that another is due? */
static int full_due(const tide_ctx *ctx) {
    return weight() > ctx->pace_full + TIDE_MAX(ctx->pace_full / 8, PACE_FULL);
}

void tideL_pace(lua_State *L, tide_ctx *ctx) {
    const int64_t before = weight();
    if (before <= ctx->pace_limit || ctx->pacing) return;
    if (!lua_gc(L, LUA_GCISRUNNING)) return; /* the host stopped it: its affair */
    ctx->pacing = 1;
    const double begun = seconds_now();
    collect(L, !ctx->generational);
    const int64_t little = before - (before - ctx->pace_live) / 2;
    const int found = weight() <= little;
    if (!found && (!ctx->generational || full_due(ctx))) {
        if (ctx->generational) collect(L, 1);
        if (weight() > little) search(L, ctx);
        ctx->pace_full = weight();
    }
    ctx->pacing = 0;
    set_pace(ctx, begun, seconds_now(), found);
}

/* What is garbage already shall not fill a limit: the collector looks when half of what it leaves
 * is new, at once where it leaves nothing; loaders set one for each file. */
void tideL_pace_below(tide_ctx *ctx, int64_t limit) {
    const int64_t room = TIDE_MAX(limit - tide_live_bytes(), 0);
    ctx->pace_limit = TIDE_MIN(ctx->pace_limit, weight() + room / 2 - 1);
}

int tideL_make_room(lua_State *L, tide_ctx *ctx) {
    const int64_t refused = ctx->refused, before = tide_live_bytes(),
                  limit = tide_memory(ctx->device).limit_bytes;
    ctx->refused = 0;
    if (!refused || ctx->pacing || ctx->walking || !lua_gc(L, LUA_GCISRUNNING)) return 0;
    if (limit && refused > limit) return 0;
    ctx->pacing = 1;
    const double begun = seconds_now();
    collect(L, 1);
    tideL_search(L, ctx);
    ctx->searched = ctx->pace_full = weight();
    ctx->pacing = 0;
    set_pace(ctx, begun, seconds_now(), 1);
    return tide_live_bytes() < before;
}

/* Explicit young collections never turn into a major one (Lua sets the debt to 0 first), so what
 * grew old and then died, about a hundred bytes a training step and a tensor an epoch, would stay
 * for good. When Lua's memory has grown by a quarter since the last full collection, or the tensors
 * by half, there is another. */
#define OLD_LUA_BYTES ((int64_t)64 << 10)
#define OLD_TENSOR_BYTES ((int64_t)4 << 20)
static void collect_old(lua_State *L, tide_ctx *ctx) {
    int64_t lua = (int64_t)lua_gc(L, LUA_GCCOUNT) << 10, tensors = weight();
    if (lua <= ctx->old_lua + ctx->old_lua / 4 + OLD_LUA_BYTES &&
        tensors <= ctx->old_tensors + ctx->old_tensors / 2 + OLD_TENSOR_BYTES)
        return;
    collect(L, 1);
    search(L, ctx);
    ctx->old_lua = (int64_t)lua_gc(L, LUA_GCCOUNT) << 10;
    ctx->old_tensors = weight();
}

/* core.step_end(lazy): one young collection at a boundary where a batch's tensors are dead. `lazy`
 * waits until there is something to gain: for boundaries that come every few microseconds, as
 * single predictions. */
static int step_end(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    if (!lua_gc(L, LUA_GCISRUNNING)) return 0;
    if (!ctx->generational) {
        tideL_pace(L, ctx);
        return 0;
    }
    if (lua_toboolean(L, 1) && tide_live_bytes() < ctx->lazy_bytes + LAZY_BYTES &&
        tide_live_tensors() < ctx->lazy_tensors + LAZY_TENSORS)
        return 0;
    collect(L, 0);
    collect_old(L, ctx);
    /* what is left is alive: the batch that is begun next should not pay for another look */
    const int64_t later = weight() + within_limit(ctx, TIDE_MAX(ctx->pace_step, PACE_FULL));
    ctx->pace_limit = TIDE_MAX(ctx->pace_limit, later);
    ctx->lazy_bytes = tide_live_bytes();
    ctx->lazy_tensors = tide_live_tensors();
    return 0;
}

void tideL_passing(lua_State *L, tide_ctx *ctx, int64_t bytes) {
    enum { OFTEN = 4 << 20 };
    if (!ctx->generational || !lua_gc(L, LUA_GCISRUNNING)) return;
    ctx->passing += bytes;
    if (ctx->passing >= OFTEN) {
        ctx->passing = 0;
        collect(L, 0);
    }
    lua_gc(L, LUA_GCSTEP, -(int)TIDE_MIN(bytes >> 10, INT32_MAX)); /* so much less is owed */
}

/* core.collect(): a full collection, of circles through the core too */
static int collect_all(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    if (!lua_gc(L, LUA_GCISRUNNING)) return 0;
    collect(L, 1);
    tideL_search(L, ctx);
    return 0;
}

/* core.gc_mode("generational"): sets the mode of this Lua state; only the owner of the state calls
 * it. */
static int gc_mode(lua_State *L) {
    static const char *const names[] = {"generational", "incremental", NULL};
    int want = luaL_checkoption(L, 1, NULL, names);
    tideL_ctx(L)->generational = want == 0;
    lua_gc(L, want == 0 ? LUA_GCGEN : LUA_GCINC, 0, 0, 0);
    return 0;
}

/* -- module -- */

static int ctx_gc(lua_State *L) {
    tide_ctx **box = lua_touserdata(L, 1);
    tide_ctx *ctx = *box;
    if (ctx) {
        *box = NULL;
        ctx->free_ref = NULL; /* tensors that outlive the state must not reach into it */
        ctx->call_hook = NULL;
        ctx->call_ready = NULL;
        ctx->call_custom = NULL;
        ctx->where = NULL;
        ctx->running = NULL;
        tide_ctx_free(ctx);
    }
    return 0;
}

/* From the environment of Tide's modules (tide.env), since the globals may have lost it since. */
static void keep_require(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "tide.env") == LUA_TTABLE) lua_getfield(L, -1, "require");
    else lua_getglobal(L, "require");
    if (lua_isfunction(L, -1)) lua_setfield(L, LUA_REGISTRYINDEX, "tide.require");
    lua_settop(L, 0);
}

void tideL_pushrequire(lua_State *L) { lua_getfield(L, LUA_REGISTRYINDEX, "tide.require"); }

__attribute__((visibility("default"))) int luaopen_tide_core(lua_State *L);
int luaopen_tide_core(lua_State *L) {
    char fault[160];
    if (!tide_environment_check(fault, sizeof fault)) return luaL_error(L, "tide: %s", fault);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key) == LUA_TNIL) {
        tide_ctx **box = lua_newuserdatauv(L, sizeof *box, 0);
        *box = NULL;
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, ctx_gc);
        lua_setfield(L, -2, "__gc");
        lua_setmetatable(L, -2);
        if (!(*box = tide_ctx_new())) return luaL_error(L, "tide: not enough memory");
        (*box)->pace_limit = (*box)->pace_step = PACE_FULL;
        lua_rawsetp(L, LUA_REGISTRYINDEX, &ctx_key);
        lua_newtable(L);
        lua_pushcfunction(L, handle_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, handle_release);
        lua_setfield(L, -2, "__close");
        lua_pushliteral(L, "tide.Tensor");
        lua_setfield(L, -2, "__name");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
    }
    lua_settop(L, 0);
    keep_require(L);
    tideL_pushrequire(L); /* shapes are lists that print, compare and take negative indices */
    lua_pushliteral(L, "tide.list");
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_istable(L, -1)) {
        lua_getfield(L, -1, "meta");
        lua_setfield(L, LUA_REGISTRYINDEX, "tide.list");
    }
    /* a program that has Ctrl-C to itself (tide) is told what stops an op */
    if (lua_getfield(L, LUA_REGISTRYINDEX, "tide.cancels") == LUA_TFUNCTION) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)&tide_cancel);
        lua_call(L, 1, 0);
    }
    lua_settop(L, 0);
    /* asks for the mode once: setting it tells what it was */
    int mode = lua_gc(L, LUA_GCGEN, 0, 0);
    if (mode == LUA_GCINC) lua_gc(L, LUA_GCINC, 0, 0, 0);
    tideL_ctx(L)->generational = mode == LUA_GCGEN;
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
    lua_setfield(L, -2, "Tensor");
    lua_pushcfunction(L, handle_release);
    lua_setfield(L, -2, "release");
    lua_pushcfunction(L, step_end);
    lua_setfield(L, -2, "step_end");
    static const luaL_Reg functions[] = {
        {"gc_mode", gc_mode},         {"collect", collect_all},    {"scope_begin", scope_begin},
        {"scope_pause", scope_pause}, {"scope_note", scope_note_}, {"scope_keep", scope_keep},
        {"scope_leave", scope_leave}, {"scope_end", scope_end},    {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_pushliteral(L, TIDE_VERSION);
    lua_setfield(L, -2, "version");
    tideL_open_metafields(L);
    tideL_open_modes(L);
    tideL_open_ops(L);
    tideL_open_tensor(L);
    tideL_open_hooks(L);
    tideL_open_grad(L);
    tideL_open_runtime(L);
    tideL_open_steps(L);
    tideL_open_plan(L);
    tideL_open_data(L);
    tideL_open_records(L);
    tideL_open_ahead(L);
    tideL_open_columns(L);
    tideL_open_process(L);
    tideL_open_image(L);
    tideL_open_sound(L);
    tideL_open_io(L);
    tideL_open_names(L);
    tideL_open_archives(L);
    tideL_open_words(L);
    tideL_open_text(L);
    return 1;
}
