/* Gradients from Lua: backward, grad, modes, hooks, ops that Lua defines.
 *
 * A Lua error inside a hook or a custom rule is caught here, kept in the registry while the core unwinds by its statuses, and
 * raised again at the door. */
#include "bind.h"

#include <stdio.h>
#include <string.h>

static tide_status keep_error(lua_State *L, tide_ctx *ctx) {
    if (ctx->pending_error) luaL_unref(L, LUA_REGISTRYINDEX, ctx->pending_error);
    ctx->pending_error = luaL_ref(L, LUA_REGISTRYINDEX);
    return tide_fail(ctx, TIDE_EARG, "a Lua function raised an error during backward");
}

static void free_ref(tide_ctx *ctx, void *ref) {
    lua_State *L = ctx->lua;
    luaL_unref(L, LUA_REGISTRYINDEX, (int)(intptr_t)ref);
}

static tide_status call_hook(tide_ctx *ctx, void *ref, tide_tensor *grad, tide_tensor **out) {
    lua_State *L = ctx->running;
    luaL_checkstack(L, 8, "tide");
    lua_rawgeti(L, LUA_REGISTRYINDEX, (int)(intptr_t)ref);
    tide_tensor *dense = NULL;
    TIDE_TRY(tide_densify(ctx, grad, &dense));
    tideL_push(L, dense);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) return keep_error(L, ctx);
    tideL_handle *h = tideL_tohandle(L, -1);
    *out = h && h->t ? tide_retain(h->t) : NULL;
    lua_pop(L, 1);
    return TIDE_OK;
}

static tide_status call_custom(tide_tape *t, void *ref, int nout, int nin) {
    tide_ctx *ctx = tide_t_ctx(t);
    lua_State *L = ctx->running;
    int top = lua_gettop(L);
    luaL_checkstack(L, nout + nin + 8, "tide");
    lua_rawgeti(L, LUA_REGISTRYINDEX, (int)(intptr_t)ref);
    for (int i = 0; i < nout; i++) {
        tide_tensor *dy = tide_t_dy(t, i);
        if (!dy) {
            lua_settop(L, top);
            return TIDE_EGRAD;
        }
        tideL_push(L, tide_retain(dy));
    }
    if (lua_pcall(L, nout, LUA_MULTRET, 0) != LUA_OK) return keep_error(L, ctx);
    int got = lua_gettop(L) - top;
    tide_status st = TIDE_OK;
    for (int i = 0; i < nin && st == TIDE_OK; i++) {
        if (!tide_t_needs(t, i)) continue;
        tideL_handle *h = i < got ? tideL_tohandle(L, top + 1 + i) : NULL;
        if (h && h->t) tide_t_give(t, i, h->t);
        else if (i < got && !tideL_isnone(L, top + 1 + i))
            st = tide_fail(ctx, TIDE_EGRAD, "custom_gradient: gradient %d must be a tensor or nil (got %s)", i + 1, tideL_typename(L, top + 1 + i));
    }
    lua_settop(L, top);
    return st;
}

/* Notes the Lua line that runs an op, for errors about it later. Runs for every node: no formatting here. */
static void where(tide_ctx *ctx, tide_node *n) {
    lua_State *L = ctx->running;
    lua_Debug ar;
    if (!L || !lua_getstack(L, 1, &ar)) return;
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0) return;
    n->line = ar.currentline;
    _Static_assert(sizeof ar.short_src <= sizeof n->source, "a source's name fits");
    memcpy(n->source, ar.short_src, sizeof ar.short_src);
}

static int flag(lua_State *L, int i, const char *name) {
    if (lua_type(L, i) != LUA_TTABLE) return 0;
    lua_getfield(L, i, name);
    int on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* loss:backward(gradient, { retain_graph = true }) adds into .grad of the leaves. */
static int backward(lua_State *L) {
    tide_tensor *loss = tideL_checktensor(L, 1, "backward");
    tide_ctx *ctx = loss->ctx;
    tide_tensor *seed = tideL_totensor(L, 2);
    int o = seed || lua_isnil(L, 2) ? 3 : 2;
    if (lua_type(L, o) == LUA_TTABLE && !seed) {
        lua_getfield(L, o, "gradient");
        seed = tideL_totensor(L, -1);
    }
    if (flag(L, o, "create_graph"))
        tideL_error(L, "backward", "a graph of gradients cannot live in .grad (it would hold itself); use tide.grad(loss, vars, {create_graph = true})");
    lua_State *was = ctx->running;
    ctx->running = L;
    tide_status st = tide_backward(ctx, loss, seed, flag(L, o, "retain_graph"));
    ctx->running = was;
    tideL_try(L, ctx, st);
    return 0;
}

/* core.gradients(loss, vars, { gradient, create_graph, retain_graph }): a list, false where nothing depends on it.
 * `sparse = true` leaves gradients of embeddings sparse, for the optimizers. */
static int gradients(lua_State *L) {
    tide_tensor *loss = tideL_checktensor(L, 1, "grad");
    tide_ctx *ctx = loss->ctx;
    luaL_checktype(L, 2, LUA_TTABLE);
    int n = (int)lua_rawlen(L, 2);
    tide_tensor *seed = NULL;
    if (lua_type(L, 3) == LUA_TTABLE) {
        lua_getfield(L, 3, "gradient");
        seed = tideL_totensor(L, -1);
    }
    int sparse = flag(L, 3, "sparse");
    tide_tensor **wrt = lua_newuserdatauv(L, (size_t)(n ? n : 1) * 2 * sizeof *wrt, 0), **out = wrt + n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 2, i + 1);
        wrt[i] = tideL_checktensor(L, -1, "grad");
        if (!tide_needs_grad(wrt[i])) tideL_error(L, "grad", "tensor %d does not require a gradient", i + 1);
        lua_pop(L, 1);
    }
    lua_createtable(L, n, 0);
    int result = lua_gettop(L);
    for (int i = 0; i < n; i++) {
        tideL_new(L);
        lua_rawseti(L, result, i + 1);
    }
    lua_State *was = ctx->running;
    ctx->running = L;
    tide_status st = tide_grad(ctx, loss, seed, n, wrt, flag(L, 3, "create_graph"), flag(L, 3, "retain_graph"), out);
    for (int i = 0; i < n && st == TIDE_OK && !sparse; i++)
        if (out[i] && tide_is_sparse(out[i])) {
            tide_tensor *dense = NULL;
            st = tide_densify(ctx, out[i], &dense);
            tide_release(out[i]);
            out[i] = dense;
        }
    ctx->running = was;
    if (st != TIDE_OK)
        for (int i = 0; i < n; i++) tide_release(out[i]);
    tideL_try(L, ctx, st);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, result, i + 1);
        tideL_tohandle(L, -1)->t = out[i];
        lua_pop(L, 1);
        if (!out[i]) {
            lua_pushboolean(L, 0);
            lua_rawseti(L, result, i + 1);
        }
    }
    lua_settop(L, result);
    return 1;
}

/* no_grad(f, ...) and enable_grad(f, ...): the mode comes back however f ends. It cannot yield. upvalue 1: the mode */
static int with_mode(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    luaL_checkany(L, 1);
    int was = tide_grad_mode(ctx, lua_toboolean(L, lua_upvalueindex(1)));
    int st = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    tide_grad_mode(ctx, was);
    return st == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static int set_grad_mode(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    lua_pushboolean(L, lua_isnone(L, 1) ? ctx->grad_mode : tide_grad_mode(ctx, lua_toboolean(L, 1)));
    return 1;
}

static int register_hook(lua_State *L) {
    tide_tensor *t = tideL_checktensor(L, 1, "register_hook");
    if (!lua_isfunction(L, 2)) tideL_error(L, "register_hook", "expected a function of the gradient (got %s)", luaL_typename(L, 2));
    if (!tide_needs_grad(t)) tideL_error(L, "register_hook", "the tensor does not require a gradient");
    lua_settop(L, 2);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    tideL_try(L, t->ctx, tide_add_hook(t->ctx, t, (void *)(intptr_t)ref));
    return 0;
}

/* core.record_custom(inputs, outputs, rule): new tensors with the outputs' values, whose gradient is rule(dy...) -> dx... */
static int record_custom(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    tide_ctx *ctx = tideL_ctx(L);
    int nin = (int)lua_rawlen(L, 1), nout = (int)lua_rawlen(L, 2), any = 0;
    if (nout < 1 || nout > 8) tideL_error(L, "custom_gradient", "a function must return 1 to 8 tensors (got %d)", nout);
    tide_tensor **in = lua_newuserdatauv(L, (size_t)(nin + nout + 1) * sizeof *in, 0), **out = in + nin;
    for (int i = 0; i < nin; i++) {
        lua_rawgeti(L, 1, i + 1);
        in[i] = tideL_checktensor(L, -1, "custom_gradient");
        any |= tide_needs_grad(in[i]);
        lua_pop(L, 1);
    }
    luaL_checkstack(L, nout + 4, "tide");
    int base = lua_gettop(L);
    for (int i = 0; i < nout; i++) {
        tideL_handle *h = tideL_new(L);
        lua_rawgeti(L, 2, i + 1);
        tide_tensor *y = tideL_checktensor(L, -1, "custom_gradient");
        lua_pop(L, 1);
        tideL_try(L, ctx, tide_detach(ctx, y, &h->t));
        h->t->is_view = 0;
        out[i] = h->t;
    }
    if (any && ctx->grad_mode) {
        lua_pushvalue(L, 3);
        int ref = luaL_ref(L, LUA_REGISTRYINDEX);
        tideL_try(L, ctx, tide_record_custom(ctx, (void *)(intptr_t)ref, nin, in, nout, out));
    }
    return lua_gettop(L) - base;
}

void tideL_open_grad(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    ctx->lua = lua_tothread(L, -1);
    lua_pop(L, 1);
    ctx->call_hook = call_hook;
    ctx->call_custom = call_custom;
    ctx->free_ref = free_ref;
    ctx->where = where;
    static const luaL_Reg functions[] = {{"gradients", gradients}, {"grad_mode", set_grad_mode}, {"record_custom", record_custom}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_pushboolean(L, 0), lua_pushcclosure(L, with_mode, 1), lua_setfield(L, -2, "no_grad");
    lua_pushboolean(L, 1), lua_pushcclosure(L, with_mode, 1), lua_setfield(L, -2, "enable_grad");
    lua_getfield(L, -1, "Tensor");
    lua_getfield(L, -1, "methods");
    static const luaL_Reg methods[] = {{"backward", backward}, {"register_hook", register_hook}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
    lua_pop(L, 2);
}
