/* Gradients from Lua: backward, grad, modes, hooks, ops that Lua defines.
 *
 * A hook or a custom rule runs in the middle of a walk, where the core holds references: all that
 * may raise, running out of memory too, happens inside of one lua_pcall. The error waits in a slot
 * of the door's stack frame, which needs no memory, while the core unwinds by its statuses, and is
 * raised again at the door. */
#include "../tape.h"
#include "bind.h"

#include <stdio.h>
#include <string.h>

/* Runs `f` with `p`; its Lua error becomes a status. What it does to the modes, it does to its
 * own. */
static tide_status protected(tide_ctx *ctx, lua_CFunction f, void *p) {
    lua_State *L = ctx->running;
    if (!lua_checkstack(L, LUA_MINSTACK))
        return tide_fail(ctx, TIDE_ENOMEM, "backward: the Lua stack is full");
    const int recording = ctx->grad_mode;
    tide_device *device = ctx->device; /* the walk's */
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, p);
    const int status = lua_pcall(L, 1, 0, 0);
    tideL_here(L, ctx)->grad_mode = recording;
    ctx->device = device;
    if (status == LUA_OK) return TIDE_OK;
    lua_replace(L, ctx->error_slot);
    ctx->has_error = 1;
    return tide_fail(ctx, TIDE_EARG, "a Lua function raised an error during backward");
}

typedef struct {
    tide_ctx *ctx;
    void *ref;
    tide_tensor *grad, *next; /* next: new, or NULL */
    tide_status status;
} hook_call;

static int hook_body(lua_State *L) {
    hook_call *c = lua_touserdata(L, 1);
    tideL_handle *h = tideL_new(L);
    c->status = tide_densify(c->ctx, c->grad, &h->t);
    if (c->status != TIDE_OK || !tideL_push_numbered(L, c->ref)) return 0;
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    tideL_handle *got = tideL_tohandle(L, -1);
    if (!got && !tideL_isnone(L, -1))
        return tideL_error(L, "backward", "a hook must return a gradient or nothing (got %s)",
                           tideL_typename(L, -1));
    if (got && got->t && !tide_is_sparse(got->t))
        c->next = tide_retain(got->t); /* the last thing: nothing raises behind it */
    return 0;
}

static tide_status call_hook(tide_ctx *ctx, void *ref, tide_tensor *grad, tide_tensor **out) {
    hook_call c = {.ctx = ctx, .ref = ref, .grad = grad};
    tide_status st = protected(ctx, hook_body, &c);
    *out = c.next;
    return st != TIDE_OK ? st : c.status;
}

typedef struct {
    void *ref;
    tide_tensor *leaf, *grad;
} ready_call;

static int ready_body(lua_State *L) {
    ready_call *c = lua_touserdata(L, 1);
    if (!tideL_push_numbered(L, c->ref)) return 0;
    tideL_new(L)->t = tide_retain(c->leaf);
    tideL_new(L)->t = tide_retain(c->grad);
    lua_call(L, 2, 0);
    return 0;
}

static tide_status call_ready(tide_ctx *ctx, void *ref, tide_tensor *leaf, tide_tensor *grad) {
    return protected(ctx, ready_body, &(ready_call){.ref = ref, .leaf = leaf, .grad = grad});
}

typedef struct {
    tide_tape *tape;
    void *ref;
    int nout, nin;
    tide_status status;
} custom_call;

static int custom_body(lua_State *L) {
    custom_call *c = lua_touserdata(L, 1);
    luaL_checkstack(L, c->nout + c->nin + 8, "tide");
    if (!tideL_push_numbered(L, c->ref))
        return tideL_error(L, "custom_gradient", "the rule of this op is gone");
    for (int i = 0; i < c->nout; i++) {
        tideL_handle *h = tideL_new(L);
        h->t = tide_retain(tide_t_dy(c->tape, i));
        if (!h->t) {
            c->status = TIDE_EGRAD; /* the tape has the message */
            return 0;
        }
    }
    lua_call(L, c->nout, LUA_MULTRET);
    for (int i = 0, got = lua_gettop(L) - 1; i < c->nin && c->status == TIDE_OK; i++) {
        if (!tide_t_needs(c->tape, i)) continue;
        tideL_handle *h = i < got ? tideL_tohandle(L, 2 + i) : NULL;
        if (h && h->t && c->tape->whole) { /* it is the walk's alone */
            tide_t_give(c->tape, i, h->t);
            tide_release(h->t);
            h->t = NULL;
        } else if (h && h->t && !tide_is_sparse(h->t)) tide_t_give(c->tape, i, h->t);
        else if (i < got && !tideL_isnone(L, 2 + i))
            c->status = tide_fail(tide_t_ctx(c->tape), TIDE_EGRAD,
                                  "custom_gradient: gradient %d must be a tensor or nil (got %s)",
                                  i + 1, tideL_typename(L, 2 + i));
    }
    return 0;
}

static tide_status call_custom(tide_tape *t, void *ref, int nout, int nin) {
    custom_call c = {.tape = t, .ref = ref, .nout = nout, .nin = nin};
    tide_ctx *ctx = tide_t_ctx(t);
    tide_tape *was = ctx->rule;
    ctx->rule = t;
    tide_status st = protected(ctx, custom_body, &c);
    ctx->rule = was;
    return st != TIDE_OK ? st : c.status;
}

/* What a walk needs of its door: the coroutine, and a slot for an error. */
typedef struct {
    void *running;
    int error_slot, has_error;
} door;

static door door_open(lua_State *L, tide_ctx *ctx) {
    door was = {ctx->running, ctx->error_slot, ctx->has_error};
    luaL_checkstack(L, LUA_MINSTACK, "tide");
    lua_pushnil(L);
    ctx->running = L;
    ctx->error_slot = lua_gettop(L);
    ctx->has_error = 0;
    tideL_here(L, ctx);
    return was;
}

/* Restores what was; raises what Lua raised. */
static void door_close(lua_State *L, tide_ctx *ctx, door was, tide_status st) {
    const int slot = ctx->error_slot, raised = ctx->has_error;
    ctx->running = was.running;
    ctx->error_slot = was.error_slot;
    ctx->has_error = was.has_error;
    if (raised && st != TIDE_OK) {
        lua_pushvalue(L, slot);
        lua_error(L);
    }
    tideL_try(L, ctx, st);
}

/* Notes the Lua line that runs an op, for errors about it later. Runs for every node: no formatting
 * here. */
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
    tideL_field(L, i, name);
    int on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* The field `gradient` of the options at i, or NULL; it stays on the stack. */
static tide_tensor *seed_option(lua_State *L, int i, const char *where) {
    tideL_field(L, i, "gradient");
    return tideL_isnone(L, -1) ? NULL : tideL_pin(L, -1, where);
}

/* loss:backward(gradient, { retain_graph = true }) adds into .grad of the leaves. */
static int backward(lua_State *L) {
    tide_ctx *ctx = tideL_checktensor(L, 1, "backward")->ctx;
    const int given = tideL_tohandle(L, 2) != NULL, o = given || lua_isnil(L, 2) ? 3 : 2;
    lua_settop(L, 3);
    if (flag(L, o, "create_graph"))
        tideL_error(L, "backward",
                    "a graph of gradients cannot live in .grad (it would hold itself); use "
                    "tide.grad(loss, vars, {create_graph = true})");
    const int retain = flag(L, o, "retain_graph");
    tideL_pace(L, ctx);
    tide_tensor *seed = given ? tideL_pin(L, 2, "backward") : seed_option(L, o, "backward");
    tide_tensor *loss = tideL_pin(L, 1, "backward");
    door was = door_open(L, ctx);
    door_close(L, ctx, was, tide_backward(ctx, loss, seed, retain));
    return 0;
}

/* core.rule_inputs(n), in the rule of a custom op: for each of its first n inputs false where no
 * gradient is needed, true where nothing has arrived for it yet, or what has. What the rule returns
 * is added to nothing then, and is nobody else's. */
static int rule_inputs(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    const lua_Integer n = luaL_checkinteger(L, 1);
    if (!ctx->rule || n < 0 || n > ctx->rule->node->nin)
        tideL_error(L, "rule_inputs", "there is no rule of so many inputs under way");
    lua_createtable(L, (int)n, 0);
    for (int i = 0; i < n; i++) {
        tideL_handle *h = tideL_newpin(L);
        const int needed = tide_t_take(ctx->rule, i, &h->t);
        if (!h->t) {
            lua_pushboolean(L, needed);
            lua_replace(L, -2);
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* core.rule_results(): for each result of the op whether a gradient has come for it */
static int rule_results(lua_State *L) {
    const tide_tape *t = tideL_ctx(L)->rule;
    const tide_node *n = t ? t->node : NULL;
    if (!n) tideL_error(L, "rule_results", "there is no rule under way");
    lua_createtable(L, n->nout, 0);
    for (int i = 0; i < n->nout; i++) {
        lua_pushboolean(L, n->gout[i] != NULL);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* core.gradients(loss, vars, { gradient, create_graph, retain_graph, onto }): a list, false where
 * nothing depends on it. `sparse = true` leaves gradients of embeddings sparse, for the optimizers;
 * `onto`, in a rule: tensors by the places of `vars` that gradients are added to, and taken. */
static int gradients(lua_State *L) {
    tide_ctx *ctx = tideL_checktensor(L, 1, "grad")->ctx;
    if (lua_type(L, 2) != LUA_TTABLE)
        tideL_error(L, "grad", "takes a list of tensors (got %s)", tideL_typename(L, 2));
    lua_settop(L, 3);
    const int sparse = flag(L, 3, "sparse"), create = flag(L, 3, "create_graph"),
              retain = flag(L, 3, "retain_graph");
    tideL_pace(L, ctx);
    tide_tensor *seed = seed_option(L, 3, "grad"), *loss = tideL_pin(L, 1, "grad");
    const int64_t count = (int64_t)lua_rawlen(L, 2);
    if (count > 1 << 24) tideL_error(L, "grad", "a list of %ld tensors is too long", (long)count);
    const int n = (int)count;
    tide_tensor **wrt = lua_newuserdatauv(L, (size_t)(n ? n : 1) * 2 * sizeof *wrt, 0),
                **out = wrt + n;
    const int onto = tideL_field(L, 3, "onto") == LUA_TTABLE ? lua_gettop(L) : 0;
    lua_createtable(L, n, 0);
    const int result = lua_gettop(L);
    for (int i = 0; i < n; i++) {
        tideL_new(L);
        lua_rawseti(L, result, i + 1);
    }
    door was = door_open(L, ctx);
    for (int i = 0; i < n;
         i++) { /* borrowed until the walk retains them: nothing allocates in between */
        lua_rawgeti(L, 2, i + 1);
        tideL_handle *h = tideL_tohandle(L, -1);
        lua_pop(L, 1);
        wrt[i] = h ? h->t : NULL;
        if (wrt[i] && tide_needs_grad(wrt[i])) continue;
        ctx->running = was.running, ctx->error_slot = was.error_slot,
        ctx->has_error = was.has_error;
        lua_rawgeti(L, 2, i + 1);
        tideL_checktensor(L, -1, "grad");
        tideL_error(L, "grad", "tensor %d does not require a gradient", i + 1);
    }
    for (int i = 0; i < n; i++) {
        out[i] = NULL;
        if (!onto) continue;
        lua_rawgeti(L, onto, i + 1);
        tideL_handle *h = tideL_tohandle(L, -1);
        lua_pop(L, 1);
        if (h) out[i] = h->t, h->t = NULL;
    }
    tide_status st =
        (onto ? tide_grad_onto : tide_grad)(ctx, loss, seed, n, wrt, create, retain, out);
    for (int i = 0; i < n && st == TIDE_OK && !sparse; i++)
        if (out[i] && tide_is_sparse(out[i])) {
            tide_tensor *dense = NULL;
            st = tide_densify(ctx, out[i], &dense);
            tide_release(out[i]);
            out[i] = dense;
        }
    for (int i = 0; i < n && st != TIDE_OK; i++) tide_release(out[i]);
    door_close(L, ctx, was, st);
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

/* Why no hook can hang there; NULL: it can. */
static const char *unhookable(const tideL_handle *h, int ready) {
    return !h->t                 ? "the tensor was released"
        : !tide_needs_grad(h->t) ? "the tensor does not require a gradient"
        : ready && h->t->node    ? "the tensor is no leaf; use register_hook"
                                 : NULL;
}

/* x:register_hook(f): f(gradient) may return another. x:register_post_accumulate_grad_hook(f):
 * f(x, gradient) once per walk, when the gradient of the leaf is whole and in its place. Both
 * return what takes the hook away. upvalues: the method's name, whether the second */
static int register_hook(lua_State *L) {
    const char *where = lua_tostring(L, lua_upvalueindex(1));
    const int ready = lua_toboolean(L, lua_upvalueindex(2));
    tide_ctx *ctx = tideL_checktensor(L, 1, where)->ctx;
    if (!lua_isfunction(L, 2))
        tideL_error(L, where, "takes a function of the gradient (got %s)", tideL_typename(L, 2));
    lua_settop(L, 2);
    const char *why = unhookable(tideL_tohandle(L, 1), ready);
    if (why) tideL_error(L, where, "%s", why);
    void *ref = tideL_number(L, ctx, 2);
    tideL_push_remover(L, 1, ref);
    tideL_handle *h = tideL_tohandle(L, 1);
    if ((why = unhookable(h, ready))) { /* finalizers ran */
        tideL_forget(ctx, ref);
        tideL_error(L, where, "%s", why);
    }
    tideL_try(L, ctx, tide_add_hook(ctx, h->t, ref, ready));
    return 1;
}

/* core.record_custom(inputs, outputs, rule): new tensors with the outputs' values, whose gradient
 * is rule(dy...) -> dx... */
static int record_custom(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    tide_ctx *ctx = tideL_ctx(L);
    const int64_t count = (int64_t)lua_rawlen(L, 1);
    int nin = (int)count, nout = (int)lua_rawlen(L, 2), any = 0;
    if (nout < 1 || nout > 1024)
        tideL_error(L, "custom_gradient", "a function must return 1 to 1024 tensors (got %d)",
                    nout);
    if (count > 1024)
        tideL_error(L, "custom_gradient", "a function of %ld tensors has too many", (long)count);
    luaL_checkstack(L, 2 * nin + 3 * nout + 8, "tide"); /* each input as it is and pinned */
    tide_tensor **in = lua_newuserdatauv(L, (size_t)(nin + nout + 1) * sizeof *in, 0),
                **out = in + nin;
    for (int i = 0; i < nin; i++) {
        lua_rawgeti(L, 1, i + 1);
        in[i] = tideL_pin(L, -1, "custom_gradient");
        any |= tide_needs_grad(in[i]);
    }
    int base = lua_gettop(L);
    for (int i = 0; i < nout; i++) tideL_new(L);
    void *ref = any && tideL_here(L, ctx)->grad_mode ? tideL_number(L, ctx, 3) : NULL;
    tide_status st = TIDE_OK;
    for (int i = 0; i < nout && st == TIDE_OK; i++) {
        tideL_handle *h = tideL_tohandle(L, base + 1 + i), *y;
        lua_rawgeti(L, 2, i + 1);
        y = tideL_tohandle(L, -1);
        lua_pop(L, 1);
        if (!y || !y->t || tide_is_sparse(y->t))
            st = tide_fail(ctx, TIDE_EARG, "custom_gradient: result %d must be a tensor", i + 1);
        else st = tide_custom_result(ctx, y->t, nin, in, &h->t);
        out[i] = h->t;
    }
    if (ref && st == TIDE_OK) st = tide_record_custom(ctx, ref, nin, in, nout, out);
    else if (ref) tideL_forget(ctx, ref);
    tideL_try(L, ctx, st);
    lua_settop(L, base + nout);
    return nout;
}

/* core.tape_position(): the number of the next node. */
static int tape_position(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)tideL_ctx(L)->seq);
    return 1;
}

/* The tensors of the list at i, pinned, in a block that stays on the stack with them. */
static tide_tensor **pinned_list(lua_State *L, int i, int *n) {
    luaL_checktype(L, i, LUA_TTABLE);
    const int64_t count = (int64_t)lua_rawlen(L, i);
    if (count > 1 << 16) tideL_error(L, "checkpoint", "%ld tensors are too many", (long)count);
    *n = (int)count;
    luaL_checkstack(L, 2 * *n + 8, "tide");
    tide_tensor **out = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *out, 0);
    for (int k = 0; k < *n; k++) {
        lua_rawgeti(L, i, k + 1);
        out[k] = tideL_pin(L, -1, "checkpoint");
    }
    return out;
}

/* core.leaves(ys, position, others): the leaves, but for the others, of which the tensors were made
 * by nodes from that number on. */
static int leaves(lua_State *L) {
    const uint64_t since = (uint64_t)luaL_checkinteger(L, 2);
    tide_ctx *ctx = tideL_ctx(L);
    int ny, nother, n = 0;
    tide_tensor **y = pinned_list(L, 1, &ny), **other = pinned_list(L, 3, &nother);
    tideL_try(L, ctx, tide_leaves(ctx, ny, y, since, nother, other, &n, NULL));
    tide_tensor **out = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *out, 0);
    lua_createtable(L, n, 0);
    const int result = lua_gettop(L);
    for (int i = 0; i < n; i++) {
        tideL_new(L);
        lua_rawseti(L, result, i + 1);
    }
    int found = 0;
    tideL_try(L, ctx, tide_leaves(ctx, ny, y, since, nother, other, &found, out));
    for (int i = 0; i < found; i++) {
        lua_rawgeti(L, result, i + 1);
        tideL_tohandle(L, -1)->t = out[i];
        lua_pop(L, 1);
    }
    return 1;
}

void tideL_open_grad(lua_State *L) {
    tide_ctx *ctx = tideL_ctx(L);
    ctx->call_hook = call_hook;
    ctx->call_ready = call_ready;
    ctx->call_custom = call_custom;
    ctx->free_ref = tideL_forget;
    ctx->where = where;
    static const luaL_Reg functions[] = {{"gradients", gradients},
                                         {"record_custom", record_custom},
                                         {"rule_inputs", rule_inputs},
                                         {"rule_results", rule_results},
                                         {"tape_position", tape_position},
                                         {"leaves", leaves},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "Tensor");
    lua_getfield(L, -1, "methods");
    lua_pushcfunction(L, backward), lua_setfield(L, -2, "backward");
    static const char *const hooks[] = {"register_hook", "register_post_accumulate_grad_hook"};
    for (int i = 0; i < 2; i++) {
        lua_pushstring(L, hooks[i]);
        lua_pushboolean(L, i);
        lua_pushcclosure(L, register_hook, 2);
        lua_setfield(L, -2, hooks[i]);
    }
    lua_pop(L, 2);
}
