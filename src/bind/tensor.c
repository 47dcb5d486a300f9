/* The Tensor metatable: creation, operators, fields, conversion to Lua and to bytes. */
#include "../plan.h"
#include "../point.h"
#include "decode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- creation -- */

typedef struct {
    int dtype, requires_grad;
    tide_device *device; /* NULL: not given */
} creation;

static creation options(lua_State *L, int i, const char *where, const char *extra) {
    creation c = {.dtype = -1};
    if (lua_type(L, i) == LUA_TSTRING) {
        c.dtype = tideL_todtype(L, i, where);
        return c;
    }
    if (lua_type(L, i) != LUA_TTABLE) {
        if (!tideL_isnone(L, i))
            tideL_error(L, where, "options must be a table or a dtype's name (got %s)%s",
                        tideL_typename(L, i),
                        lua_type(L, i) == LUA_TNUMBER
                            ? "; several sizes or numbers are one list, { 2, 3 }"
                            : "");
        return c;
    }
    i = lua_absindex(L, i);
    lua_pushnil(L);
    while (lua_next(L, i)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            const char *key = lua_tostring(L, -2);
            if (!strcmp(key, "dtype")) {
                if (!tideL_isnone(L, -1)) c.dtype = tideL_todtype(L, -1, where);
            } else if (!strcmp(key, "requires_grad")) {
                c.requires_grad = lua_toboolean(L, -1);
            } else if (!strcmp(key, "device")) {
                c.device = tideL_todevice(L, -1, where);
            } else if (!extra || strcmp(key, extra)) {
                tideL_error(L, where,
                            "unknown option '%.40s' (expected dtype, device%s%s or requires_grad)",
                            key, extra ? ", " : "", extra ? extra : "");
            }
        }
        lua_pop(L, 1);
    }
    return c;
}

static int finish(lua_State *L, tideL_handle *h, creation c, const char *where) {
    if (c.device && c.device != tide_device_of(h->t)) {
        tide_tensor *there = NULL, *here = h->t;
        tideL_try(L, here->ctx, tide_to(tideL_here(L, here->ctx), here, c.device, &there));
        h->t = there;
        tide_release(here);
    }
    if (c.requires_grad) {
        if (!tide_is_float(h->t->dtype))
            tideL_error(L, where, "only float tensors have gradients (got %s)",
                        tide_dtype_name(h->t->dtype));
        h->t->requires_grad = 1;
    }
    return 1;
}

/* tensor(data, { dtype, device, requires_grad }): nested tables, numbers, booleans or a tensor
 * (copied) */
static int new_tensor(lua_State *L) {
    if (lua_gettop(L) < 1)
        tideL_error(L, "tensor",
                    "data are missing (expected a number, a nested table or a tensor)");
    tideL_refuse_colon(L, "tensor");
    creation c = options(L, 2, "tensor", NULL);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    if (tideL_tohandle(L, 1)) {
        tideL_handle *h = tideL_new(L);
        tide_tensor *src = tideL_checktensor(L, 1, "tensor");
        int was = tide_grad_mode(ctx, 0);
        tide_status st = c.dtype >= 0 && c.dtype != src->dtype
            ? tide_apply(ctx, &tide_op_cast, TIDE_ATTRS(cast, .dtype = c.dtype), 1, &src, &h->t)
            : tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &src, &h->t);
        tide_grad_mode(ctx, was);
        tideL_try(L, ctx, st);
        return finish(L, h, c, "tensor");
    }
    int type = lua_type(L, 1);
    if (type != LUA_TTABLE && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        tideL_error(L, "tensor", "data must be numbers, booleans or nested tables of them (got %s)",
                    tideL_typename(L, 1));
    if (type == LUA_TTABLE && lua_rawlen(L, 1) == 0 && tideL_has_string_key(L, 1))
        tideL_error(L, "tensor", "the first argument must be the data; options come after it");
    tideL_literal(L, 1, c.dtype, -1, NULL, "tensor");
    return finish(L, tideL_tohandle(L, -1), c, "tensor");
}

/* upvalue 1: the name, upvalue 2: the value. zeros(shape, options), full(shape, value, options),
 * zeros_like(x, options) */
static int filled(lua_State *L) {
    const char *where = lua_tostring(L, lua_upvalueindex(1));
    tideL_refuse_colon(L, where);
    int takes_value = lua_isnil(L, lua_upvalueindex(2)), like = strstr(where, "_like") != NULL;
    tide_ctx *ctx = tideL_ctx(L);
    tide_fill__attrs a = *TIDE_ATTRS(fill_, .dtype = -1);
    int next = 2;
    if (like && tideL_is_symbolic(L, 1)) return tideL_call_symbolic(L, where, 1, lua_gettop(L));
    if (like) {
        tide_tensor *x = tideL_checktensor(L, 1, where);
        a.shape.n = x->rank;
        for (int i = 0; i < x->rank; i++) a.shape.v[i] = x->shape[i];
        a.dtype = x->dtype;
        if (takes_value && lua_gettop(L) == 2 && lua_type(L, 2) == LUA_TTABLE &&
            tideL_has_string_key(L, 2)) { /* full_like(x, { fill_value = 4 }) */
            lua_pushvalue(L, 2);
            tideL_field(L, 2, "fill_value");
            lua_replace(L, 2);
        }
    } else if (lua_type(L, 1) == LUA_TTABLE || lua_type(L, 1) == LUA_TNUMBER) {
        tideL_toshape(L, 1, where, &a.shape);
        if (lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TTABLE &&
            tideL_has_string_key(L, 1)) { /* zeros{2, 3, dtype = "int32"} */
            lua_pushvalue(L, 1);
            if (takes_value) {
                tideL_field(L, 1, "fill_value");
                lua_insert(L, -2);
            }
        }
    } else {
        tideL_error(L, where, "shape must be a list of whole numbers (got %s)",
                    tideL_typename(L, 1));
    }
    int bool_value = 0;
    if (takes_value) {
        if (lua_type(L, next) == LUA_TBOOLEAN) {
            a.value = TIDE_WHOLE(lua_toboolean(L, next));
            bool_value = 1;
        } else {
            a.value = tideL_tovalue(L, next, where, "fill_value");
        }
        next++;
    } else {
        a.value = TIDE_REAL(lua_tonumber(L, lua_upvalueindex(2)));
    }
    creation c = options(L, next, where, takes_value ? "fill_value" : NULL);
    if (c.dtype >= 0) a.dtype = c.dtype;
    if (a.dtype < 0) a.dtype = bool_value ? TIDE_BOOL : TIDE_F32;
    if (a.value.is == TIDE_VALUE_WHOLE && !bool_value && !tide_is_float(a.dtype)) {
        lua_pushinteger(L, a.value.whole); /* what the dtype cannot hold is refused */
        tideL_literal(L, -1, a.dtype, -1, NULL, where);
    }
    tideL_pace(L, ctx);
    tideL_handle *h = tideL_new(L);
    tide_status st = TIDE_OK;
    for (int again = 0; again < 2; again++) {
        tideL_here(L, ctx); /* finalizers may have run other coroutines */
        if (!c.device)
            c.device = like ? tide_device_of(tideL_checktensor(L, 1, where)) : ctx->device;
        tide_device *was = tide_default_device(ctx, c.device);
        st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, &h->t);
        tide_default_device(ctx, was);
        if (st != TIDE_ENOMEM || again || !tideL_make_room(L, ctx)) break;
    }
    tideL_try_named(L, ctx, where, st);
    return finish(L, h, c, where);
}

/* from_bytes(dtype, shape, bytes): little-endian, row-major */
static int from_bytes(lua_State *L) {
    int dtype = tideL_todtype(L, 1, "from_bytes");
    tide_ints shape;
    size_t n;
    tideL_toshape(L, 2, "from_bytes", &shape);
    if (lua_type(L, 3) != LUA_TSTRING)
        tideL_error(L, "from_bytes", "bytes must be a string (got %s)", luaL_typename(L, 3));
    const char *bytes = lua_tolstring(L, 3, &n);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new(ctx, dtype, (int)shape.n, shape.v, &h->t));
    if (n != h->t->storage->bytes)
        tideL_error(L, "from_bytes", "the bytes do not fit (expected %zu, got %zu)",
                    h->t->storage->bytes, n);
    tideL_try(L, ctx, tide_write(ctx, h->t, bytes));
    return 1;
}

static int to_bytes(lua_State *L) {
    tide_tensor *t = tideL_pinhost(L, 1, "tobytes");
    lua_toclose(L, -1); /* the pin ends with the call, not with the next collection */
    lua_pushlstring(L, tide_host_view(t), (size_t)tide_numel(t) * tide_dtype_size(t->dtype));
    if (tide_file_lost) tideL_try(L, tideL_ctx(L), tide_go_on(tideL_ctx(L)));
    return 1;
}

/* -- to Lua -- */

enum { MOST_EMPTY = 1 << 20 };

/* A list of floats: most numbers are in one. */
static void push_floats(lua_State *L, const tide_tensor *t, int64_t n, int64_t from) {
    const void *p = tide_host_view(t);
    for (int64_t i = 0; i < n; i++) {
        const double x = t->dtype == TIDE_F32 ? (double)((const float *)p)[from + i]
                                              : ((const double *)p)[from + i];
        if (((from + i) & 0xffff) == 0) tideL_try(L, t->ctx, tide_go_on(t->ctx));
        lua_pushnumber(L, x == x ? x : (double)NAN); /* printed as nan, not as -nan */
        lua_rawseti(L, -2, i + 1);
    }
}

static void push_nested(lua_State *L, const tide_tensor *t /* pinned */, int axis, int64_t *flat) {
    luaL_checkstack(L, 4, "tide");
    if (axis == t->rank) {
        if ((*flat & 0xffff) == 0) tideL_try(L, t->ctx, tide_go_on(t->ctx));
        tideL_push_item(L, t, (*flat)++, "tolist");
        return;
    }
    const int64_t n = t->shape[axis];
    lua_createtable(L, n < 1 << 20 ? (int)n : 0, 0);
    if (axis + 1 == t->rank && (t->dtype == TIDE_F32 || t->dtype == TIDE_F64)) {
        push_floats(L, t, n, *flat);
        *flat += n;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        push_nested(L, t, axis + 1, flat);
        lua_rawseti(L, -2, i + 1);
    }
}

/* A few floats that the host sees, as the sums of metrics are: read before a list is made, so that
 * nothing need hold the tensor meanwhile. */
static int short_list(lua_State *L, const tide_tensor *t) {
    enum { SHORT = 8 };
    double v[SHORT];
    const int64_t n = t && t->storage && t->rank == 1 ? t->shape[0] : SHORT + 1;
    if (n > SHORT || (t->dtype != TIDE_F32 && t->dtype != TIDE_F64) || !tide_is_contiguous(t) ||
        !tide_host_view(t))
        return 0;
    for (int64_t i = 0; i < n; i++) v[i] = tide_item(t, i);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushnumber(L, v[i] == v[i] ? v[i] : (double)NAN);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int tolist(lua_State *L) {
    int64_t flat = 0, lists = 1;
    if (short_list(L, tideL_totensor(L, 1))) return 1;
    const tide_tensor *t = tideL_pinhost(L, 1, "tolist");
    lua_toclose(L, -1);
    for (int i = 0; i < t->rank && t->shape[i]; i++) lists *= t->shape[i];
    if (tide_numel(t) == 0 && lists > MOST_EMPTY)
        tideL_error(L, "tolist", "a tensor without elements has %lld lists (expected at most %d)",
                    (long long)lists, MOST_EMPTY);
    push_nested(L, t, 0, &flat);
    return 1;
}

static int item(lua_State *L) {
    tide_tensor *t = tideL_checktensor(L, 1, "item");
    char buf[160];
    if (tide_numel(t) != 1)
        tideL_error(L, "item", "needs a tensor of one element (got %s)",
                    tide_shape_str(t->rank, t->shape, buf, sizeof buf));
    tideL_push_item(L, t, 0, "item");
    return 1;
}

static int to_string(lua_State *L) {
    tideL_handle *h = tideL_tohandle(L, 1);
    if (!h || !h->t) {
        lua_pushliteral(L, "tensor (released)");
        return 1;
    }
    char buf[160];
    tideL_pushrequire(L);
    lua_pushliteral(L, "tide.tensor.format");
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_istable(L, -1)) {
        lua_getfield(L, -1, "tensor");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return 1;
    }
    if (!(h = tideL_tohandle(L, 1))->t) return lua_pushliteral(L, "tensor (released)"), 1;
    lua_pushfstring(L, "tensor %s %s", tide_dtype_name(h->t->dtype),
                    tide_shape_str(h->t->rank, h->t->shape, buf, sizeof buf));
    return 1;
}

/* pairs(x) goes over the rows, as ipairs does. */
static int next_row(lua_State *L) {
    const lua_Integer i = luaL_checkinteger(L, 2) + 1;
    lua_settop(L, 1);
    lua_pushinteger(L, i);
    if (tideL_index(L) == 0 || lua_isnil(L, -1)) return 0; /* behind the last */
    lua_pushinteger(L, i);
    lua_insert(L, -2);
    return 2;
}

static int rows(lua_State *L) {
    tideL_checktensor(L, 1, "pairs");
    lua_pushcfunction(L, next_row);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

static int length(lua_State *L) {
    tide_tensor *t = tideL_checktensor(L, 1, "#");
    if (t->rank == 0) tideL_error(L, "#", "a tensor without axes has no length");
    lua_pushinteger(L, t->shape[0]);
    return 1;
}

static int concat(lua_State *L) {
    for (int i = 1; i <= 2; i++) {
        char buf[160];
        if (!tideL_tohandle(L, i)) {
            luaL_tolstring(L, i, NULL);
            continue;
        }
        tide_tensor *t = tideL_checktensor(L, i, "..");
        if (tide_numel(t) != 1)
            tideL_error(L, "..",
                        "joins text with a tensor of one element only (got %s); use tostring(x)",
                        tide_shape_str(t->rank, t->shape, buf, sizeof buf));
        tideL_push_item(L, t, 0, "..");
        if (lua_type(L, -1) == LUA_TNUMBER && !lua_isinteger(L, -1)) { /* as Lua, with a point */
            tide_point point = tide_point_begin();
            int n = snprintf(buf, sizeof buf - 2, "%.14g", lua_tonumber(L, -1));
            tide_point_end(point);
            lua_pop(L, 1);
            lua_pushfstring(L, "%s%s", buf, (int)strspn(buf, "-0123456789") == n ? ".0" : "");
        }
    }
    lua_concat(L, 2);
    return 1;
}

/* One side of a comparison as a Lua number: an integer stays one, which a double may not hold. */
static void push_one(lua_State *L, int i, const char *sign, const char *instead) {
    if (!tideL_tohandle(L, i)) {
        if (lua_isinteger(L, i)) lua_pushvalue(L, i);
        else lua_pushnumber(L, tideL_tofloat(L, i, sign, "the other side"));
        return;
    }
    tide_tensor *t = tideL_checktensor(L, i, sign);
    char buf[160];
    if (tide_numel(t) != 1)
        tideL_error(L, sign,
                    "compares tensors of one element only, since Lua makes it a boolean (got %s); "
                    "use %s",
                    tide_shape_str(t->rank, t->shape, buf, sizeof buf), instead);
    tideL_try(L, t->ctx, tide_need_elements(t->ctx, t, sign));
    if (tide_is_float(t->dtype)) lua_pushnumber(L, tide_item(t, 0));
    else lua_pushinteger(L, tide_item_int(t, 0));
}
static int compared(lua_State *L, int how, const char *sign, const char *instead) {
    push_one(L, 1, sign, instead);
    push_one(L, 2, sign, instead);
    lua_pushboolean(L, lua_compare(L, -2, -1, how));
    return 1;
}
static int less(lua_State *L) {
    return compared(L, LUA_OPLT, "<", "x:less(y), or x:greater(y) for x > y");
}
static int less_equal(lua_State *L) {
    return compared(L, LUA_OPLE, "<=", "x:less_equal(y), or x:greater_equal(y) for x >= y");
}
static int same(lua_State *L) {
    tideL_handle *a = tideL_tohandle(L, 1), *b = tideL_tohandle(L, 2);
    lua_pushboolean(L, a && b && a->t && a->t == b->t);
    return 1;
}

/* -- in place -- */

static int copy_(lua_State *L) {
    tide_tensor *t = tideL_pin(L, 1, "copy_"), *src = tideL_pinvalue(L, 2, t->dtype, "copy_");
    tideL_try_named(L, t->ctx, "copy_", tide_assign(tideL_here(L, t->ctx), t, src, "copy_"));
    lua_settop(L, 1);
    return 1;
}

/* x:fill_(v), x:zero_(): every element becomes one number; as copy_ of it. */
static int fill_(lua_State *L) {
    tide_tensor *t = tideL_pin(L, 1, "fill_");
    if (lua_type(L, 2) != LUA_TNUMBER && lua_type(L, 2) != LUA_TBOOLEAN)
        return tideL_error(L, "fill_", "the value must be a number or a boolean (got %s)",
                           tideL_typename(L, 2));
    tide_tensor *src = tideL_pinvalue(L, 2, t->dtype, "fill_");
    tideL_try_named(L, t->ctx, "fill_", tide_assign(tideL_here(L, t->ctx), t, src, "fill_"));
    lua_settop(L, 1);
    return 1;
}
static int zero_(lua_State *L) {
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    return fill_(L);
}

/* Keras' variable.assign: the value is written and not recorded; shapes must agree. */
static int assign(lua_State *L) {
    tide_tensor *t = tideL_pin(L, 1, "assign"), *src = tideL_pinvalue(L, 2, t->dtype, "assign");
    char a[160], b[160];
    if (!tide_same_shape(src, t))
        tideL_error(L, "assign",
                    "the value has another shape than the variable (expected %s, got %s)",
                    tide_shape_str(t->rank, t->shape, a, sizeof a),
                    tide_shape_str(src->rank, src->shape, b, sizeof b));
    tideL_try_named(L, t->ctx, "assign", tide_copy_into(tideL_here(L, t->ctx), t, src));
    lua_settop(L, 1);
    return 1;
}

static int requires_grad_(lua_State *L) {
    tide_tensor *t = tideL_checktensor(L, 1, "requires_grad_");
    int on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    tideL_try(L, t->ctx, tide_require_grad(tideL_here(L, t->ctx), t, on, "requires_grad_"));
    lua_settop(L, 1);
    return 1;
}

static int detach(lua_State *L) {
    tideL_handle *h = tideL_new(L);
    tide_tensor *t = tideL_checktensor(L, 1, "detach");
    tideL_try(L, t->ctx, tide_detach(t->ctx, t, &h->t));
    return 1;
}

/* What caches of a tensor may ask: the number of its storage and of writes into it. A step that is
 * recorded hangs on the answer, but for version(true), which only notes it. */
static int storage_version(lua_State *L) {
    tide_tensor *t = tideL_checktensor(L, 1, "version");
    if (!lua_toboolean(L, 2)) tide_recorder_pin(t->ctx, t->storage);
    lua_pushinteger(L, (lua_Integer)t->storage->version);
    lua_pushinteger(L, (lua_Integer)t->storage->id);
    return 2;
}

/* to(device): on a device by its name; the tensor itself if it is there */
static int to(lua_State *L) {
    tide_device *dev = tideL_todevice(L, 2, "to");
    tideL_handle *h = tideL_new(L);
    tide_tensor *t = tideL_checktensor(L, 1, "to");
    if (tide_device_of(t) == dev) {
        lua_settop(L, 1);
        return 1;
    }
    tideL_try(L, t->ctx, tide_to(tideL_here(L, t->ctx), t, dev, &h->t));
    return 1;
}

static int is_tensor(lua_State *L) {
    tideL_handle *h = tideL_tohandle(L, 1);
    lua_pushboolean(L, h && h->t);
    return 1;
}

static int is_contiguous(lua_State *L) {
    lua_pushboolean(L, tide_is_contiguous(tideL_checktensor(L, 1, "is_contiguous")));
    return 1;
}

static const struct {
    const char *event, *op;
} operators[] = {
    {"__add", "add"},        {"__sub", "subtract"},      {"__mul", "multiply"},
    {"__div", "divide"},     {"__idiv", "floor_divide"}, {"__mod", "mod"},
    {"__pow", "power"},      {"__unm", "negative"},      {"__band", "bitwise_and"},
    {"__bor", "bitwise_or"}, {"__bxor", "bitwise_xor"},  {"__bnot", "bitwise_not"},
    {"__shl", "left_shift"}, {"__shr", "right_shift"},
};

static int unary_minus(lua_State *L) { /* Lua passes the operand twice */
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static const luaL_Reg methods[] = {
    {"tolist", tolist},
    {"item", item},
    {"tobytes", to_bytes},
    {"copy_", copy_},
    {"fill_", fill_},
    {"zero_", zero_},
    {"assign", assign},
    {"requires_grad_", requires_grad_},
    {"detach", detach},
    {"to", to},
    {"version", storage_version},
    {"is_contiguous", is_contiguous},
    {NULL, NULL},
};
static const luaL_Reg events[] = {
    {"__tostring", to_string}, {"__len", length}, {"__concat", concat}, {"__lt", less},
    {"__le", less_equal},      {"__eq", same},    {"__pairs", rows},    {NULL, NULL},
};
static const luaL_Reg functions[] = {
    {"tensor", new_tensor},
    {"from_bytes", from_bytes},
    {"is_tensor", is_tensor},
    {"overwrite", tideL_overwrite},
    {NULL, NULL},
};
static const struct {
    const char *name;
    double value;
    int takes_value;
} fills[] = {
    {"zeros", 0, 0},     {"ones", 1, 0},      {"full", 0, 1},  {"zeros_like", 0, 0},
    {"ones_like", 1, 0}, {"full_like", 0, 1}, {"empty", 0, 0}, {"empty_like", 0, 0},
};

void tideL_open_tensor(lua_State *L) {
    int core = lua_gettop(L);
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, core, "ops");
    int ops = lua_gettop(L);
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        lua_pushstring(L, fills[i].name);
        if (fills[i].takes_value) lua_pushnil(L);
        else lua_pushnumber(L, fills[i].value);
        lua_pushcclosure(L, filled, 2);
        lua_pushvalue(L, -1);
        lua_setfield(L, core, fills[i].name);
        lua_setfield(L, ops, fills[i].name);
    }
    lua_getfield(L, core, "Tensor");
    int meta = lua_gettop(L);
    luaL_setfuncs(L, events, 0);
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (lua_getfield(L, ops, operators[i].op) == LUA_TNIL) {
            lua_pop(L, 1);
            continue;
        }
        if (!strcmp(operators[i].event, "__unm") || !strcmp(operators[i].event, "__bnot"))
            lua_pushcclosure(L, unary_minus, 1);
        lua_setfield(L, meta, operators[i].event);
    }
    lua_getfield(L, meta, "methods");
    int m = lua_gettop(L);
    luaL_setfuncs(L, methods, 0);
    lua_getfield(L, core, "release");
    lua_setfield(L, m, "release");
    for (int i = 0; i < TIDE_OP_COUNT; i++) { /* x:add_(y), x:exp_(), x:clip_(0, 1) */
        const tide_op *op = tide_ops[i];
        if (!(op->flags & TIDE_ELEMENTWISE) || op->flags & TIDE_INTERNAL) continue;
        lua_pushfstring(L, "%s_", op->name);
        lua_getfield(L, m, op->name);
        lua_pushfstring(L, "%s_", op->name);
        lua_pushcclosure(L, tideL_inplace, 2);
        lua_settable(L, m);
    }
    lua_pushvalue(L, m);
    lua_pushcclosure(L, tideL_index, 1);
    lua_setfield(L, meta, "__index");
    lua_pushcfunction(L, tideL_newindex);
    lua_setfield(L, meta, "__newindex");
    lua_settop(L, core);
}
