/* The modes of a coroutine: whether ops are recorded, whether a function runs whose gradient is
 * asked for, whether a layer's call runs, and whether it trains; where it makes tensors, if
 * elsewhere than the state does (`home`); and whether it draws no number that no seed was given
 * for, also where the state does (`determined`).
 *
 * The context holds those of the coroutine that runs, `ctx->thread`; whoever enters the door from
 * another one finds its own first (tideL_here: one comparison). A coroutine begins with the
 * defaults: it records and no call runs. One that has left them keeps a record in
 * registry[&records_key], weak in its keys, so that a coroutine that is given up takes its modes
 * with it; while it runs, registry[&thread_key] holds it, so that `ctx->thread` is never the
 * address of one that is gone.
 *
 * To be closed are values that bring modes back, one for each combination, made once, and one for
 * each device: closing allocates nothing. */
#include "bind.h"

enum { RECORDS = 1, CALLS = 2, TRAINS = 4, DIFFERENTIATES = 8, DETERMINES = 16, COMBINATIONS = 32 };

typedef struct {
    int bits;
    int64_t call;        /* the number of the call that runs */
    tide_device *placed; /* where tensors are made; NULL: where the state makes them */
} record;

static const char records_key, thread_key;

static int bits_of(const tide_ctx *ctx) {
    return (ctx->grad_mode ? RECORDS : 0) | ctx->calling |
        (ctx->differentiating ? DIFFERENTIATES : 0) | (ctx->strict ? DETERMINES : 0);
}

static record taken(const tide_ctx *ctx) {
    return (record){.bits = bits_of(ctx), .call = ctx->call, .placed = ctx->placed};
}

static void load(tide_ctx *ctx, record r) {
    ctx->grad_mode = (r.bits & RECORDS) != 0;
    ctx->calling = r.bits & (CALLS | TRAINS);
    ctx->differentiating = (r.bits & DIFFERENTIATES) != 0;
    ctx->strict = (r.bits & DETERMINES) != 0;
    ctx->call = r.call;
    ctx->placed = r.placed;
    ctx->device = r.placed ? r.placed : ctx->home;
}

/* The record of the coroutine L, or NULL. */
static record *find(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key) != LUA_TTABLE) { /* not open yet */
        lua_pop(L, 1);
        return NULL;
    }
    lua_pushthread(L);
    lua_rawget(L, -2);
    record *r = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return r;
}

static void hold(lua_State *L, int on) {
    if (on) lua_pushthread(L);
    else lua_pushboolean(L, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &thread_key);
}

void tideL_switch(lua_State *L, tide_ctx *ctx) {
    luaL_checkstack(L, 4, "tide");
    record *was = ctx->modes, *r = find(L);
    if (was) *was = taken(ctx);
    if (was || r) hold(L, r != NULL);
    ctx->thread = L;
    ctx->modes = r;
    load(ctx, r ? *r : (record){.bits = RECORDS});
}

static void become(lua_State *L, tide_ctx *ctx, record next) {
    const int left = next.bits != RECORDS || next.placed;
    if (left && !ctx->modes) {
        record *r = find(L);
        if (!r) {
            lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
            lua_pushthread(L);
            r = lua_newuserdatauv(L, sizeof *r, 0);
            *r = (record){.bits = RECORDS};
            lua_rawset(L, -3);
            lua_pop(L, 1);
            tideL_here(L, ctx);
        }
        hold(L, 1);
        ctx->modes = r;
    }
    load(ctx, next);
    if (!left && ctx->modes && L != ctx->lua) {
        *(record *)ctx->modes = (record){.bits = RECORDS};
        ctx->modes = NULL;
        hold(L, 0);
    }
}

static void set(lua_State *L, tide_ctx *ctx, int bits, int64_t call) {
    become(L, ctx, (record){.bits = bits, .call = call, .placed = ctx->placed});
}

/* upvalue 1 of all that follow: the userdata with the context */
static tide_ctx *here(lua_State *L) {
    tide_ctx *ctx = *(tide_ctx **)lua_touserdata(L, lua_upvalueindex(1));
    if (!ctx) tideL_error(L, "tide", "the Lua state is being closed");
    tideL_here(L, ctx);
    return ctx;
}

static int close_guard(lua_State *L) {
    tide_ctx *ctx = here(L);
    set(L, ctx, *(const int *)lua_touserdata(L, 1), ctx->call);
    return 0;
}

/* grad_mode(): whether ops are recorded in this coroutine */
static int grad_mode(lua_State *L) {
    lua_pushboolean(L, here(L)->grad_mode);
    return 1;
}

/* recording(on): ops are recorded or not until the value returned is closed. upvalue 2: the values
 * to be closed */
static int recording(lua_State *L) {
    tide_ctx *ctx = here(L);
    const int was = bits_of(ctx);
    set(L, ctx, (was & ~RECORDS) | (lua_toboolean(L, 1) ? RECORDS : 0), ctx->call);
    lua_rawgeti(L, lua_upvalueindex(2), was);
    return 1;
}

/* deterministic(): this coroutine draws nothing before a seed was given, until the value returned
 * is closed. upvalue 2: the values to be closed */
static int deterministic(lua_State *L) {
    tide_ctx *ctx = here(L);
    const int was = bits_of(ctx);
    set(L, ctx, was | DETERMINES, ctx->call);
    lua_rawgeti(L, lua_upvalueindex(2), was);
    return 1;
}

/* determined(): whether the coroutine that asks is in deterministic mode; determined(on): whether
 * all of the state are, from now on; returns whether they were */
static int determined(lua_State *L) {
    tide_ctx *ctx = here(L);
    const int given = !lua_isnoneornil(L, 1), was = ctx->determined;
    if (given) ctx->determined = lua_toboolean(L, 1);
    lua_pushboolean(L, given ? was : was || ctx->strict);
    return 1;
}

static int close_device(lua_State *L) {
    tide_ctx *ctx = here(L);
    record next = taken(ctx);
    next.placed = *(tide_device **)lua_touserdata(L, 1);
    become(L, ctx, next);
    return 0;
}

/* The value that brings `dev` back (NULL: the state's), at the top; made where it is first asked
 * for. upvalue 2: those values by their devices, and their metatable */
static void push_place(lua_State *L, tide_device *dev) {
    if (lua_rawgetp(L, lua_upvalueindex(2), dev ? (void *)dev : (void *)&records_key) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    *(tide_device **)lua_newuserdatauv(L, sizeof dev, 0) = dev;
    lua_rawgetp(L, lua_upvalueindex(2), &thread_key);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, lua_upvalueindex(2), dev ? (void *)dev : (void *)&records_key);
}

/* device(name): this coroutine makes tensors there until the value returned is closed. */
static int device(lua_State *L) {
    tide_ctx *ctx = here(L);
    tide_device *dev = tideL_todevice(L, 1, "device");
    push_place(L, ctx->placed);
    here(L); /* finalizers ran */
    record next = taken(ctx);
    next.placed = dev;
    become(L, ctx, next);
    return 1;
}

/* default_device(): the name of where this coroutine makes tensors; default_device(name): where the
 * state makes them from now on, but for coroutines that say otherwise (device); the name of the one
 * before. */
static int default_device(lua_State *L) {
    tide_ctx *ctx = here(L);
    tide_device *was = ctx->device;
    if (!lua_isnoneornil(L, 1)) {
        tide_device *next = tideL_todevice(L, 1, "set_default_device");
        was = ctx->home;
        ctx->home = next;
        if (!ctx->placed) ctx->device = next;
    }
    lua_pushstring(L, tide_device_name(was));
    return 1;
}

/* differentiating(): whether a function runs, recorded, whose gradient is asked for */
static int differentiating(lua_State *L) {
    const tide_ctx *ctx = here(L);
    lua_pushboolean(L, ctx->differentiating && ctx->grad_mode);
    return 1;
}

/* no_grad(f, ...), enable_grad(f, ...), and differentiate(f, ...), which records a function whose
 * gradient is asked for: the mode comes back however f ends, and f may yield. upvalue 2: the mode
 */
static int mode_end(lua_State *L, int st, lua_KContext was) {
    tide_ctx *ctx = here(L);
    set(L, ctx, (int)was, ctx->call);
    return st == LUA_OK || st == LUA_YIELD ? lua_gettop(L) : lua_error(L);
}

static int with_mode(lua_State *L) {
    tide_ctx *ctx = here(L);
    const int n = lua_gettop(L);
    if (lua_type(L, 1) != LUA_TFUNCTION && luaL_getmetafield(L, 1, "__call") == LUA_TNIL) {
        const lua_Integer mode = lua_tointeger(L, lua_upvalueindex(2));
        const char *where = !mode ? "no_grad" : mode == RECORDS ? "enable_grad" : "grad";
        tideL_error(L, where, "takes a function (got %s): tide.%s(function() ... end)",
                    tideL_typename(L, 1), where);
    }
    lua_settop(L, n);
    const int was = bits_of(ctx);
    set(L, ctx, (was & ~RECORDS) | (int)lua_tointeger(L, lua_upvalueindex(2)), ctx->call);
    return mode_end(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, was, mode_end), was);
}

/* enter_call(trains): a layer's call runs until the first value returned is closed; the second is
 * the number of the outermost call. upvalue 2: the values to be closed */
static int enter_call(lua_State *L) {
    tide_ctx *ctx = here(L);
    const int was = bits_of(ctx);
    if (!ctx->calling) ctx->calls++;
    set(L, ctx, (was & ~TRAINS) | CALLS | (lua_toboolean(L, 1) ? TRAINS : 0),
        ctx->calling ? ctx->call : ctx->calls);
    lua_rawgeti(L, lua_upvalueindex(2), was);
    lua_pushinteger(L, ctx->call);
    return 2;
}

/* call_count(): how many outermost calls there were; call_count(n): the next ones have the numbers
 * from n + 1 on, as when they ran before; returns what it was */
static int call_count(lua_State *L) {
    tide_ctx *ctx = here(L);
    lua_pushinteger(L, ctx->calls);
    if (!lua_isnoneornil(L, 1)) ctx->calls = luaL_checkinteger(L, 1);
    return 1;
}

/* call_number(): that of the outermost call under way in this coroutine; nil where none is */
static int call_number(lua_State *L) {
    tide_ctx *ctx = here(L);
    if (ctx->calling) lua_pushinteger(L, ctx->call);
    else lua_pushnil(L);
    return 1;
}

static int push_mode(lua_State *L, const tide_ctx *ctx) {
    if (ctx->calling) lua_pushvalue(L, lua_upvalueindex(ctx->calling & TRAINS ? 2 : 3));
    else lua_pushnil(L);
    return 1;
}

/* upvalues 2 and 3: what stands for a call that trains, and for one that does not; nil: none runs
 */
static int call_mode(lua_State *L) { return push_mode(L, here(L)); }

/* ready(x, dtype): the mode of the call under way if x is a tensor without a mark and needs no cast
 * to the dtype of this number (nil: never); false if it is not. Where no call is under way, nil
 * for a tensor without a mark and false for others, and while a profile tells layers apart, for
 * each. upvalues as of call_mode */
static int ready(lua_State *L) {
    tide_ctx *ctx = here(L);
    const tideL_handle *h = tideL_tohandle(L, 1);
    const int apart = ctx->profile && ctx->profile->parts;
    if (h && h->t && !h->t->marked && !apart) {
        if (!ctx->calling) return 0;
        if (lua_isnil(L, 2) || h->t->dtype == lua_tointeger(L, 2) || !tide_is_float(h->t->dtype))
            return push_mode(L, ctx);
    }
    lua_pushboolean(L, 0);
    return 1;
}

/* call_modes(trains, does_not) -> call_mode, ready */
static int call_modes(lua_State *L) {
    lua_settop(L, 2);
    for (int i = 0; i < 2; i++) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, i ? ready : call_mode, 3);
    }
    return 2;
}

/* mark(x): something hangs on this tensor, such as a mask; marked(x) */
static int mark(lua_State *L) {
    tideL_checktensor(L, 1, "mark")->marked = 1;
    return 0;
}
static int marked(lua_State *L) {
    const tideL_handle *h = tideL_tohandle(L, 1);
    lua_pushboolean(L, h && h->t && h->t->marked);
    return 1;
}

/* needs_cast(x, dtype): whether x is a tensor of another float dtype than that of this number */
static int needs_cast(lua_State *L) {
    const tideL_handle *h = tideL_tohandle(L, 1);
    lua_pushboolean(L,
                    h && h->t && h->t->dtype != lua_tointeger(L, 2) && tide_is_float(h->t->dtype));
    return 1;
}

static int dtype_number(lua_State *L) {
    lua_pushinteger(L, tideL_todtype(L, 1, "dtype"));
    return 1;
}

/* The main coroutine has its record from the start. */
static void open_records(lua_State *L, tide_ctx *ctx) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    ctx->lua = lua_tothread(L, -1);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key) == LUA_TNIL) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -3);
        record *r = lua_newuserdatauv(L, sizeof *r, 0);
        *r = (record){.bits = RECORDS};
        lua_rawset(L, -3);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &records_key);
        hold(L, 0);
        ctx->thread = ctx->modes = NULL;
    }
    lua_pop(L, 2);
}

void tideL_open_modes(lua_State *L) {
    const int core = lua_gettop(L);
    open_records(L, tideL_ctx(L));
    lua_createtable(L, COMBINATIONS, 0);
    const int guards = lua_gettop(L);
    lua_createtable(L, 0, 1);
    tideL_push_ctx(L);
    lua_pushcclosure(L, close_guard, 1);
    lua_setfield(L, -2, "__close");
    for (int i = 0; i < COMBINATIONS; i++) {
        *(int *)lua_newuserdatauv(L, sizeof(int), 0) = i;
        lua_pushvalue(L, -2);
        lua_setmetatable(L, -2);
        lua_rawseti(L, guards, i);
    }
    lua_settop(L, guards);
    static const struct {
        const char *name;
        lua_CFunction f;
        int bits; /* upvalue 2: a mode; -1: the values to be closed */
    } functions[] = {{"grad_mode", grad_mode, 0},
                     {"default_device", default_device, 0},
                     {"recording", recording, -1},
                     {"deterministic", deterministic, -1},
                     {"determined", determined, 0},
                     {"no_grad", with_mode, 0},
                     {"enable_grad", with_mode, RECORDS},
                     {"differentiate", with_mode, RECORDS | DIFFERENTIATES},
                     {"differentiating", differentiating, 0},
                     {"enter_call", enter_call, -1},
                     {"call_number", call_number, 0},
                     {"call_count", call_count, 0},
                     {"call_modes", call_modes, 0},
                     {"mark", mark, 0},
                     {"marked", marked, 0},
                     {"needs_cast", needs_cast, 0},
                     {"dtype_number", dtype_number, 0}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        tideL_push_ctx(L);
        if (functions[i].bits < 0) lua_pushvalue(L, guards);
        else lua_pushinteger(L, functions[i].bits);
        lua_pushcclosure(L, functions[i].f, 2);
        lua_setfield(L, core, functions[i].name);
    }
    lua_newtable(L); /* of device: the metatable of its values */
    lua_createtable(L, 0, 1);
    tideL_push_ctx(L);
    lua_pushcclosure(L, close_device, 1);
    lua_setfield(L, -2, "__close");
    lua_rawsetp(L, -2, &thread_key);
    tideL_push_ctx(L);
    lua_insert(L, -2);
    lua_pushcclosure(L, device, 2);
    lua_setfield(L, core, "device");
    lua_settop(L, core);
}
