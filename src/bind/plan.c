/* Plans from Lua: recording a step (plan.h), and sets of plans with what they hang on.
 *
 * A set holds the plans of one step of a model, one for each form of its tensors. What Lua did
 * between the launches when the step was recorded hangs on fields of objects: the set watches them,
 * each with the value that it had, and runs no plan once one has another. A tensor among them must
 * be the same, on the same memory, and want a gradient as it did.
 *
 * Owners and keys lie on the stack of a thread that never runs, where looking costs least: half of
 * a small prediction is to look whether all is as it was.
 *
 * A set's user values: 1 the owners of what is watched, 2 the keys, 3 the values, which keep the
 * addresses from being given again, 4 the table whose field `called` numbers the calls of a model,
 * 5 the one whose field `ran` tells which plan ran last, 6 the block of `watch`, 7 that thread.
 */
#include "../device.h"
#include "../plan.h"
#include "bind.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST = 8,
    MANY = 256,
    COPIED_MOST = 4,
    NUMBERS = 1024,
    SOME = 16 /* values that are read together */
};

typedef struct {
    int owner, key; /* where they lie on the watch's stack; key 0: the owner's length is meant */
    int type;
    union {
        const void *p;
        lua_Integer i;
        lua_Number n;
    } is;
    const tide_tensor *t; /* of a tensor */
    const tide_storage *storage;
    int needs;
} watched;

typedef struct {
    tide_plan *plan[MOST];
    int n;
    watched *watch;
    int nwatch;
    lua_State *stack;
} set;

static const char set_name[] = "tide.plans";

static void release_recorder(void *p) { tide_recorder_free(p); }

static tide_recorder *recorder(lua_State *L) {
    tide_recorder *r = tideL_unbox(L, 1, release_recorder);
    if (!r) tideL_error(L, "record", "takes a recorder (got %s)", tideL_typename(L, 1));
    return r;
}

/* The tensors of the list at i, `false` as NULL, in a block on the stack; -1: one of them is no
 * tensor that a plan can take. */
static int read_list(lua_State *L, int i, tide_tensor ***out) {
    const int n = (int)lua_rawlen(L, i);
    tide_tensor **all = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *all, 0);
    *out = all;
    for (int k = 0; k < n; k++) {
        lua_rawgeti(L, i, k + 1);
        const tideL_handle *h = tideL_tohandle(L, -1);
        all[k] = h ? h->t : NULL;
        if (!all[k] && (h || lua_toboolean(L, -1))) return -1;
        lua_pop(L, 1);
    }
    return n;
}

/* Is it a plain tensor with elements, without gradient or mask? */
static int is_plain(const tide_tensor *t) {
    return t && t->storage && !tide_is_number(t) && !t->marked && !t->node && !t->requires_grad &&
        tide_has_elements(t);
}

/* record(tensors): notes from now on what runs; nil where one is recorded already, or where such
 * tensors can be no inputs. */
static int record(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    tideL_box *b = tideL_newbox(L, release_recorder);
    tide_tensor **in;
    const int n = read_list(L, 1, &in);
    for (int i = 0; i < n; i++)
        if (!is_plain(in[i])) return 0;
    if (n < 0 || tide_recorder_busy(ctx) || ctx->profile || ctx->steps) return 0;
    b->p = tide_recorder_new(tideL_here(L, ctx), n, in);
    if (!b->p) return 0;
    lua_pushvalue(L, 2);
    return 1;
}

/* record_copy(tensor): the same numbers on memory of their own, laid out as they are, for kernels
 * may add up in the order of the memory; nil where there is no memory, or it would take far more
 * than they do. */
static int record_copy(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    const tideL_handle *h = tideL_tohandle(L, 1);
    if (!h || !is_plain(h->t)) return 0;
    tide_tensor *t = h->t, *all = NULL, *own = NULL, *out = NULL;
    int64_t low = 0, high = 0;
    for (int i = 0; i < t->rank; i++) {
        const int64_t far = (t->shape[i] - 1) * t->stride[i];
        if (far < 0) low += far;
        else high += far;
    }
    const int64_t numel = tide_numel(t), n = numel ? high - low + 1 : 0, one = 1;
    if (n > COPIED_MOST * numel) return 0;
    tideL_handle *to = tideL_new(L);
    tideL_here(L, ctx);
    tide_status st = tide_view(ctx, t, 1, &n, &one, n ? t->offset + low : 0, &all);
    if (st == TIDE_OK) st = tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &all, &own);
    if (st == TIDE_OK) st = tide_view(ctx, own, t->rank, t->shape, t->stride, n ? -low : 0, &out);
    if (st == TIDE_OK) out->is_view = t->is_view, out->shares = t->shares, to->t = out;
    tide_release(all);
    tide_release(own);
    return st == TIDE_OK;
}

/* record_end(recorder, results, together): the step is over and gave these; false: no tensor.
 * `together`: they are used up together before the next step */
static int record_end(lua_State *L) {
    tide_recorder *r = recorder(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    tide_tensor **out;
    const int n = read_list(L, 2, &out);
    for (int i = 0; i < n; i++)
        if (out[i] && out[i]->marked) tide_recorder_refuse(tideL_ctx(L), "a result has a mask");
    if (n < 0) tide_recorder_refuse(tideL_ctx(L), "a result is no tensor");
    tide_recorder_end(r, n < 0 ? 0 : n, out, lua_toboolean(L, 3));
    return 0;
}

/* record_refuse(why): the step under way can be no plan. */
static int record_refuse(lua_State *L) {
    tide_recorder_refuse(tideL_ctx(L), "%s", luaL_checkstring(L, 1));
    return 0;
}

static int record_close(lua_State *L) {
    tide_recorder_close(recorder(L));
    return 0;
}

static int record_why(lua_State *L) {
    lua_pushstring(L, tide_recorder_why(recorder(L)));
    return 1;
}

/* record_same(a, b): whether both made the same calls */
static int record_same(lua_State *L) {
    tide_recorder *a = recorder(L), *b = tideL_unbox(L, 2, release_recorder);
    if (!b) return tideL_error(L, "record_same", "takes two recorders");
    lua_pushboolean(L, tide_recorder_same(a, b));
    return 1;
}

/* -- sets -- */

static int set_gc(lua_State *L) {
    set *s = lua_touserdata(L, 1);
    for (int i = 0; i < s->n; i++) tide_plan_free(s->plan[i]);
    s->n = 0;
    s->nwatch = 0;
    return 0;
}

/* plans(own, room): an empty set; `own.called` gets the number of each call, `room.ran` that of the
 * plan. */
static int plans(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE), luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    set *s = lua_newuserdatauv(L, sizeof *s, 7);
    *s = (set){0};
    if (luaL_newmetatable(L, set_name)) {
        lua_pushcfunction(L, set_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 4);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 5);
    return 1;
}

/* record_clear(recorder, known): whether all that the step made has gone but its results, and it
 * read nothing but its inputs and the known tensors */
static int record_clear(lua_State *L) {
    tide_recorder *r = recorder(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    tide_tensor **known;
    const int n = read_list(L, 2, &known);
    for (int i = 0; i < n; i++)
        if (!known[i]) return 0;
    lua_pushboolean(L, n >= 0 && tide_recorder_clear(r, n, known));
    return 1;
}

/* plans_add(set, recorder, known): the recorded step becomes a plan of the set; returns whether it
 * does. `known`: tensors from outside that may be read and written. */
static int plans_add(lua_State *L) {
    set *s = luaL_checkudata(L, 1, set_name);
    lua_settop(L, 3);
    lua_rotate(L, 1, -1); /* recorder, known, set */
    tide_recorder *r = recorder(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    tide_tensor **known;
    tide_plan *p = NULL;
    const int n = read_list(L, 2, &known);
    for (int i = 0; i < n; i++)
        if (!known[i] || !known[i]->storage) return 0;
    if (n < 0 || s->n == MOST) return 0;
    tideL_try(L, tideL_ctx(L), tide_plan_new(r, n, known, &p));
    if (p) s->plan[s->n++] = p;
    lua_pushboolean(L, p != NULL);
    return 1;
}

/* The value at the top of the stack, as it is now. */
static watched look(lua_State *L, int owner, int key) {
    watched w = {.owner = owner, .key = key, .type = lua_type(L, -1)};
    const tideL_handle *h = NULL;
    switch (w.type) {
    case LUA_TNIL:
    case LUA_TNONE: break;
    case LUA_TBOOLEAN: w.is.i = lua_toboolean(L, -1); break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) w.is.i = lua_tointeger(L, -1);
        else w.is.n = lua_tonumber(L, -1), w.type = -LUA_TNUMBER;
        break;
    case LUA_TUSERDATA: h = tideL_tohandle(L, -1); /* fall through */
    default: w.is.p = lua_topointer(L, -1);
    }
    if (h && h->t) w.t = h->t, w.storage = h->t->storage, w.needs = h->t->requires_grad;
    return w;
}

static int holds(lua_State *L, const watched *w) {
    const int type = lua_type(L, -1);
    const tideL_handle *h;
    switch (w->type) {
    case LUA_TNIL:
    case LUA_TNONE: return type <= 0;
    case LUA_TBOOLEAN: return type == LUA_TBOOLEAN && lua_toboolean(L, -1) == w->is.i;
    case LUA_TNUMBER: return lua_isinteger(L, -1) && lua_tointeger(L, -1) == w->is.i;
    case -LUA_TNUMBER: {
        const lua_Number n = lua_tonumber(L, -1);
        return type == LUA_TNUMBER && !lua_isinteger(L, -1) && !memcmp(&n, &w->is.n, sizeof n);
    }
    default:
        if (lua_topointer(L, -1) != w->is.p) return 0;
        if (!w->t) return 1;
        h = lua_touserdata(L, -1);
        return h->t == w->t && h->t->storage == w->storage && h->t->requires_grad == w->needs &&
            !h->t->node && !h->t->hooks;
    }
}

/* The field, as it is now, onto the watch's own stack. */
static void read_field(lua_State *stack, int owner, int key) {
    if (!key) {
        lua_pushinteger(stack, (lua_Integer)lua_rawlen(stack, owner));
        return;
    }
    lua_pushvalue(stack, key);
    lua_rawget(stack, owner);
}

/* plans_watch(set, owners, keys): notes what stands in these fields now; a key of false is the
 * length of its owner. Owners that follow one another are best the same. */
static int plans_watch(lua_State *L) {
    set *s = luaL_checkudata(L, 1, set_name);
    luaL_checktype(L, 2, LUA_TTABLE), luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    const int n = (int)lua_rawlen(L, 3);
    watched *all = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *all, 0);
    lua_createtable(L, n, 0); /* 5: values */
    lua_State *stack = lua_newthread(L);
    if (!lua_checkstack(stack, 2 * n + SOME + LUA_MINSTACK))
        return tideL_error(L, "plans_watch", "too many fields are watched (%d)", n);
    for (int i = 0, owner = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        lua_xmove(L, stack, 1);
        if (owner && lua_rawequal(stack, -1, owner)) lua_pop(stack, 1);
        else owner = lua_gettop(stack);
        lua_rawgeti(L, 3, i + 1);
        const int named = !lua_isboolean(L, -1);
        lua_xmove(L, stack, 1);
        const int key = lua_gettop(stack);
        read_field(stack, owner, named ? key : 0);
        all[i] = look(stack, owner, named ? key : 0);
        lua_xmove(stack, L, 1);
        lua_rawseti(L, 5, i + 1);
    }
    lua_setiuservalue(L, 1, 7);
    lua_setiuservalue(L, 1, 3);
    lua_setiuservalue(L, 1, 6);
    lua_setiuservalue(L, 1, 2);
    lua_setiuservalue(L, 1, 1);
    s->watch = all, s->nwatch = n, s->stack = stack;
    return 0;
}

/* The number of the first field of the set that does not hold what it held; -1: all do. Allocates
 * nothing. */
static int first_changed(const set *s) {
    lua_State *stack = s->stack;
    const int top = s->nwatch ? lua_gettop(stack) : 0;
    int i = 0;
    for (; i < s->nwatch; i++) {
        const watched *w = &s->watch[i];
        read_field(stack, w->owner, w->key);
        if (!holds(stack, w)) break;
        if (i % SOME == SOME - 1) lua_settop(stack, top);
    }
    if (s->nwatch) lua_settop(stack, top);
    return i < s->nwatch ? i : -1;
}

/* plans_changed(set): nil where all that is watched is as it was, or the key of what is not (false:
 * a list has another length), and its owner */
static int plans_changed(lua_State *L) {
    const set *s = luaL_checkudata(L, 1, set_name);
    lua_settop(L, 1);
    const int i = first_changed(s);
    if (i < 0) return 0;
    lua_getiuservalue(L, 1, 2);
    lua_rawgeti(L, -1, i + 1);
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, i + 1);
    lua_replace(L, -2);
    return 2;
}

/* The tensors from argument 2 on; 0: some cannot be a plan's. */
static int read_inputs(lua_State *L, int n, tide_tensor **in) {
    for (int i = 0; i < n; i++) {
        const tideL_handle *h = tideL_tohandle(L, 2 + i);
        if (!h || !is_plain(h->t)) return 0;
        in[i] = h->t;
    }
    return 1;
}

/* The number of the plan for these; -1: there is none. */
static int plan_for(const set *s, int n, tide_tensor *const *in) {
    for (int i = 0; i < s->n; i++)
        if (tide_plan_fits(s->plan[i], n, in)) return i;
    return -1;
}

/* plans_run(set, tensor ..., number ...): runs the plan for such tensors with these numbers.
 * Returns its results, false where the step gave none, or true where it has none at all. Nothing:
 * there is no plan for them, or it failed and the eager step can say why. nil, true: a field that
 * is watched has changed. */
static int plans_run(lua_State *L) {
    set *s = luaL_checkudata(L, 1, set_name);
    int n = lua_gettop(L) - 1;
    const int all = n;
    while (n > 0 && lua_type(L, n + 1) == LUA_TNUMBER) n--;
    tide_ctx *ctx = tideL_ctx(L);
    if (!s->n || n > MANY || all - n > NUMBERS || ctx->calling || ctx->walking || ctx->rule ||
        ctx->differentiating || ctx->profile || ctx->recorder || ctx->steps)
        return 0;
    tide_tensor *few[16], **in = few;
    luaL_checkstack(L, 16, "tide");
    if (n > 16) in = lua_newuserdatauv(L, (size_t)n * sizeof *in, 0);
    const int k = read_inputs(L, n, in) ? plan_for(s, n, in) : -1;
    if (k < 0) return 0;
    tide_plan *p = s->plan[k];
    if (tide_plan_ask(p).numbers != all - n) return 0;
    if (first_changed(s) >= 0 || !tide_plan_holds(p)) {
        lua_pushnil(L);
        lua_pushboolean(L, 1);
        return 2;
    }
    const int nout = tide_plan_ask(p).nout, first = lua_gettop(L) + 2;
    tideL_pace(L, ctx);
    luaL_checkstack(L, nout + 8, "tide");
    tide_tensor **out = lua_newuserdatauv(L, (size_t)(nout + 1) * sizeof *out, 0);
    for (int i = 0; i < nout; i++) tideL_new(L);
    tideL_here(L, ctx); /* finalizers may have run other coroutines, or released tensors */
    if (!read_inputs(L, n, in) || plan_for(s, n, in) != k) return 0;
    double numbers[NUMBERS];
    for (int i = n; i < all; i++) numbers[i - n] = lua_tonumber(L, 2 + i);
    int undone;
    const tide_status st = tide_plan_run(p, in, numbers, out, &undone);
    if (st == TIDE_EINTERRUPT || (st != TIDE_OK && !undone)) return tideL_raise(L, ctx, st);
    if (st != TIDE_OK) return 0;
    for (int i = 0; i < nout; i++) {
        tideL_handle *h = lua_touserdata(L, first + i);
        h->t = out[i];
        if (out[i]) continue;
        lua_pushboolean(L, 0);
        lua_replace(L, first + i);
    }
    lua_getiuservalue(L, 1, 4);
    lua_pushliteral(L, "called");
    lua_pushinteger(L, ++ctx->calls);
    lua_rawset(L, -3);
    lua_getiuservalue(L, 1, 5);
    lua_pushliteral(L, "ran");
    lua_pushinteger(L, k + 1);
    lua_rawset(L, -3);
    lua_settop(L, first + nout - 1);
    if (nout == 0) lua_pushboolean(L, 1);
    return nout ? nout : 1;
}

/* plans_facts(set): a list of { inputs, outputs, launches, fused, arena, temporaries }, bytes the
 * last */
static int plans_facts(lua_State *L) {
    const set *s = luaL_checkudata(L, 1, set_name);
    lua_createtable(L, s->n, 0);
    for (int i = 0; i < s->n; i++) {
        const tide_plan_facts f = tide_plan_ask(s->plan[i]);
        lua_createtable(L, 0, 6);
        lua_pushinteger(L, f.nin), lua_setfield(L, -2, "inputs");
        lua_pushinteger(L, f.nout), lua_setfield(L, -2, "outputs");
        lua_pushinteger(L, f.launches), lua_setfield(L, -2, "launches");
        lua_pushinteger(L, f.fused), lua_setfield(L, -2, "fused");
        lua_pushinteger(L, f.arena), lua_setfield(L, -2, "arena");
        lua_pushinteger(L, f.temporaries), lua_setfield(L, -2, "temporaries");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* own_products(): whether every product of float32 is Tide's own, which fusions trust */
static int own_products(lua_State *L) {
    lua_pushboolean(L, tide_own_products());
    return 1;
}

void tideL_open_plan(lua_State *L) {
    static const luaL_Reg functions[] = {{"record", record},
                                         {"record_copy", record_copy},
                                         {"record_end", record_end},
                                         {"record_refuse", record_refuse},
                                         {"record_close", record_close},
                                         {"record_why", record_why},
                                         {"record_same", record_same},
                                         {"record_clear", record_clear},
                                         {"plans", plans},
                                         {"plans_add", plans_add},
                                         {"plans_watch", plans_watch},
                                         {"plans_changed", plans_changed},
                                         {"plans_run", plans_run},
                                         {"plans_facts", plans_facts},
                                         {"own_products", own_products},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
