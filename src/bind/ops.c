/* One generic function bound to every op's descriptor: it reads its arguments (decode.c), runs the
 * op and hands out the results.
 *
 * Budget of a small op from Lua: 170 ns here, 130 ns in tide_apply. */
#include "decode.h"

#include <string.h>

int tideL_call_symbolic(lua_State *L, const char *op, int symbol, int nargs) {
    int base = lua_gettop(L);
    luaL_checkstack(L, nargs + 4, "tide");
    tideL_pushmeta(L, symbol, TIDEL_OP);
    lua_pushstring(L, op);
    for (int i = 1; i <= nargs; i++) lua_pushvalue(L, i);
    lua_call(L, nargs + 1, LUA_MULTRET);
    return lua_gettop(L) - base;
}

/* Stack index of a symbolic argument, or of one inside a list or the named arguments (pushed); 0:
 * none. */
static int find_symbolic(lua_State *L, int nargs) {
    for (int i = 1; i <= nargs; i++) {
        if (lua_type(L, i) != LUA_TTABLE) continue;
        if (tideL_is_symbolic(L, i)) return i;
        lua_pushnil(L);
        while (lua_next(L, i)) {
            if (tideL_is_symbolic(L, -1)) {
                lua_remove(L, -2);
                return lua_gettop(L);
            }
            if (lua_type(L, -1) != LUA_TTABLE && lua_type(L, -1) != LUA_TUSERDATA &&
                lua_type(L, -2) == LUA_TNUMBER) { /* literal data */
                lua_pop(L, 2);
                break;
            }
            lua_pop(L, 1);
        }
    }
    return 0;
}

/* A method called with a dot has no tensor first. */
static void check_method(lua_State *L, const tide_op *op) {
    if (!lua_toboolean(L, lua_upvalueindex(4)) || tideL_tohandle(L, 1)) return;
    tideL_error(L, op->name,
                "is a method and needs its tensor first (got %s): write x:%s(...), with a colon",
                tideL_typename(L, 1), op->name);
}

/* Runs the op; its results stand on top of the stack. The handles are first. Where memory was
 * refused, it runs once again behind a collection. */
static void run(tideL_decoding *d, tide_ctx *ctx, tideL_handle **h, int again) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    const int top = lua_gettop(L);
    tideL_pace(L, ctx);
    tide_tensor *out[TIDE_MAX_OUT];
    luaL_checkstack(L, TIDE_MAX_OUT + 4, "tide");
    for (int i = 0; i < op->nout; i++) h[i] = tideL_newof(L, lua_upvalueindex(5));
    tideL_read_inputs(d, ctx);
    tideL_here(L, ctx); /* finalizers may have run other coroutines */
    void *was = ctx->running;
    const tide_rng rng = ctx->rng;
    ctx->running = L;
    tide_status st = tide_apply(ctx, op, d->attrs, d->nin, d->all, out);
    ctx->running = was; /* a coroutine may be gone when the next op is recorded */
    if (st == TIDE_ENOMEM && !again && !(op->flags & TIDE_INPLACE)) {
        ctx->rng = rng;
        if (tideL_make_room(L, ctx)) {
            lua_settop(L, top);
            run(d, ctx, h, 1);
            return;
        }
    }
    tideL_try_named(L, ctx, op->name, st);
    for (int i = 0; i < op->nout; i++) h[i]->t = out[i];
    for (int i = 0; i < op->nout; i++)
        if (tide_is_number(out[i])) tideL_try(L, ctx, tide_settle(ctx, &h[i]->t));
}

/* One whole number or truth value is Lua's. */
static void push_items(lua_State *L, tideL_handle **h, const tide_op *op) {
    const int n = op->nout;
    const int first = lua_gettop(L) - n + 1;
    for (int i = 0; i < n; i++) {
        tide_tensor *t = h[i]->t;
        if (t->rank > 0 || tide_is_float(t->dtype)) continue;
        tideL_push_item(L, t, 0, op->name);
        h[i]->t = NULL;
        tide_release(t);
        lua_replace(L, first + i);
    }
}

/* The everyday call: tensors alone, in the order of the inputs, or one of two operands a number
 * beside a tensor of floats; one result, all attributes as they are by default. 0: it is none, or
 * memory is short, and nothing has happened. */
static int call_everyday(lua_State *L, const tideL_opbind *b, tide_ctx *ctx, int nargs) {
    const tide_op *op = b->op;
    tideL_handle *at[TIDE_MAX_IN] = {0};
    tide_tensor *in[TIDE_MAX_IN], *out;
    const tide_tensor *beside = NULL;
    int number = -1;
    if (nargs < b->least || nargs > b->most || !ctx) return 0;
    for (int k = 0; k < nargs; k++) {
        at[k] = tideL_tohandle(L, k + 1);
        if (at[k] && at[k]->t) beside = at[k]->t;
        else if (at[k] || nargs != 2 || lua_type(L, k + 1) != LUA_TNUMBER) return 0;
        else number = k;
    }
    if (!beside ||
        (number >= 0 &&
         ((beside->dtype != TIDE_F32 && beside->dtype != TIDE_F64) || op->whole || op->masks)))
        return 0;
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_newof(L, lua_upvalueindex(5));
    for (int k = 0; k < op->nin; k++) { /* again: finalizers may have released them */
        in[k] = at[k] ? at[k]->t : NULL;
        if (at[k] && !in[k]) tideL_released(L);
    }
    if (number >= 0)
        tideL_try(
            L, ctx,
            tide_scalar(ctx, lua_tonumber(L, number + 1), in[1 - number]->dtype, &in[number]));
    tideL_here(L, ctx); /* finalizers may have run other coroutines */
    void *was = ctx->running;
    const tide_rng rng = ctx->rng;
    ctx->running = L;
    const tide_status st = tide_apply(ctx, op, tide_default_attrs(op), op->nin, in, &out);
    ctx->running = was; /* a coroutine may be gone when the next op is recorded */
    if (st == TIDE_ENOMEM) {
        ctx->rng = rng;
        lua_settop(L, nargs);
        return 0;
    }
    tideL_try_named(L, ctx, op->name, st);
    h->t = out;
    if (tide_is_number(out)) tideL_try(L, ctx, tide_settle(ctx, &h->t));
    push_items(L, &h, op);
    return 1;
}

/* upvalues: 1 the tideL_opbind, 2 the userdata with the context, 3 names -> argument numbers, 4
 * whether it is a tensor's method, 5 the tensors' metatable */
static int call(lua_State *L) {
    const tideL_opbind *b = lua_touserdata(L, lua_upvalueindex(1));
    tide_ctx *ctx = *(tide_ctx **)lua_touserdata(L, lua_upvalueindex(2));
    const tide_op *op = b->op;
    int nargs = lua_gettop(L);
    if (call_everyday(L, b, ctx, nargs)) return 1;
    while (nargs > 1 && lua_isnil(L, nargs)) nargs--; /* a trailing nil is no argument */
    lua_settop(L, nargs);
    const int symbol = find_symbolic(L, nargs);
    if (symbol) return tideL_call_symbolic(L, b->op->name, symbol, nargs);
    check_method(L, op);

    _Alignas(16) unsigned char attrs[TIDE_MAX_ATTRS];
    memcpy(attrs, tide_default_attrs(op), op->attrs_size);
    tideL_decoding d = {.L = L, .b = b, .attrs = attrs};
    tideL_decode(&d, nargs);
    if (!ctx) tideL_error(L, op->name, "the Lua state is being closed");
    tideL_handle *h[TIDE_MAX_OUT];
    run(&d, ctx, h, 0);
    push_items(L, h, op);
    return op->nout;
}

static void push_call(lua_State *L, const tide_op *op, int method) {
    const tideL_opbind *b = tideL_opbind_of(op);
    if (!b) luaL_error(L, "tide: not enough memory");
    lua_pushlightuserdata(L, (void *)(uintptr_t)b);
    tideL_push_ctx(L);
    lua_createtable(L, 0, b->nargs);
    for (int i = 0; i < b->nargs; i++) {
        if (tideL_private_arg(&b->args[i])) continue;
        lua_pushinteger(L, i);
        lua_setfield(L, -2, b->args[i].name);
    }
    lua_pushboolean(L, method);
    tideL_push_metatable(L);
    lua_pushcclosure(L, call, 5);
}

/* -- what help, specs and completion read -- */

static const char *const kind_names[] = {"tensor", "tensors", "int",  "float",  "number", "bool",
                                         "enum",   "dtype",   "axis", "axes",   "ints",   "shape",
                                         "pairs",  "text",    "rng",  "numbers"};

/* core.op_info(name): { name, doc, kind, args = { { name, also, kind, required, default, doc } },
 * outputs, differentiable, private, internal }; private: no name for users; internal: not bound */
static int op_info(lua_State *L) {
    const tide_op *op = tide_op_find(luaL_checkstring(L, 1));
    if (!op) return 0;
    static const char *const kinds[] = {"float", "number", "any", "view", "compose", "compare"};
    lua_newtable(L);
    lua_pushstring(L, op->name), lua_setfield(L, -2, "name");
    lua_pushstring(L, op->doc), lua_setfield(L, -2, "doc");
    lua_pushstring(L, kinds[op->kind]), lua_setfield(L, -2, "kind");
    lua_pushinteger(L, op->nout), lua_setfield(L, -2, "outputs");
    lua_pushboolean(L, !(op->flags & TIDE_NOGRAD)), lua_setfield(L, -2, "differentiable");
    lua_pushboolean(L, op->flags & TIDE_INTERNAL), lua_setfield(L, -2, "internal");
    lua_pushboolean(L, op->flags & TIDE_INTERNAL || tideL_private_name(op->name)),
        lua_setfield(L, -2, "private");
    lua_pushboolean(L, op->compose != NULL && op->kind != TIDE_COMPOSE_OP),
        lua_setfield(L, -2, "fused");
    lua_newtable(L);
    const tide_arg *a = op->args();
    for (int i = 0, n = 0; i < op->nargs; i++) {
        if (tideL_private_arg(&a[i])) continue;
        lua_newtable(L);
        lua_pushstring(L, a[i].name), lua_setfield(L, -2, "name");
        if (a[i].also) lua_pushstring(L, a[i].also), lua_setfield(L, -2, "also");
        lua_pushstring(L, kind_names[a[i].kind]), lua_setfield(L, -2, "kind");
        int is_in = a[i].kind <= TIDE_ARG_INS;
        lua_pushboolean(L, is_in ? a[i].need != OPTIONAL : !strcmp(a[i].def, "!")),
            lua_setfield(L, -2, "required");
        if (is_in) lua_pushstring(L, a[i].def), lua_setfield(L, -2, "shape");
        else lua_pushstring(L, a[i].def), lua_setfield(L, -2, "default");
        lua_pushstring(L, a[i].doc ? a[i].doc : ""), lua_setfield(L, -2, "doc");
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "args");
    return 1;
}

/* core.op_names(): every op, private ones too, in the order of the definition files */
static int op_names(lua_State *L) {
    lua_createtable(L, TIDE_OP_COUNT, 0);
    for (int i = 0; i < TIDE_OP_COUNT; i++) {
        lua_pushstring(L, tide_ops[i]->name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* An op is a method if its first argument is a tensor and its name is for users. */
void tideL_open_ops(lua_State *L) {
    lua_getfield(L, -1, "Tensor");
    lua_newtable(L); /* methods */
    lua_newtable(L); /* ops */
    for (int i = 0; i < TIDE_OP_COUNT; i++) {
        const tide_op *op = tide_ops[i];
        if (op->flags & TIDE_INTERNAL) continue;
        push_call(L, op, 0);
        lua_setfield(L, -2, op->name);
        if (tideL_private_name(op->name) || op->nargs == 0 || op->args()[0].kind != TIDE_ARG_IN)
            continue;
        push_call(L, op, 1);
        lua_setfield(L, -3, op->name);
    }
    lua_setfield(L, -4, "ops");
    lua_setfield(L, -2, "methods");
    lua_pop(L, 1);
    lua_pushcfunction(L, op_info), lua_setfield(L, -2, "op_info");
    lua_pushcfunction(L, op_names), lua_setfield(L, -2, "op_names");
}
