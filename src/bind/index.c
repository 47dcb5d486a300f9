/* t[...] and t[...] = v: numbers, ranges, "...", "new" as views; masks and tensors of positions
 * through tide.tensor.indexing. */
#include "bind.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    tide_ints start, size, step;
    int64_t drop;
    int newaxis[TIDE_MAX_RANK], nnew; /* positions of new axes in the result */
    int scalars;                      /* axes addressed by one number */
} part;

static int64_t resolve(lua_State *L, int64_t i, int64_t n, int axis, const tide_tensor *t) {
    int64_t k = i < 0 ? n + i : i - 1;
    if (i == 0 || k < 0 || k >= n) {
        char buf[160];
        tideL_error(
            L, "index",
            "position %lld is outside of axis %d (expected 1..%lld or -1..-%lld, shape %s)%s",
            (long long)i, axis + 1, (long long)n, (long long)n,
            tide_shape_str(t->rank, t->shape, buf, sizeof buf),
            i == 0 ? "; positions count from 1" : "");
    }
    return k;
}

static void whole(part *p, int axis, int64_t n) {
    p->start.v[axis] = 0, p->size.v[axis] = n, p->step.v[axis] = 1;
}

/* {}, {i}, {first, last}, {first, last, step} */
static void range(lua_State *L, int i, part *p, int axis, int64_t n, const tide_tensor *t) {
    tide_ints r;
    tideL_toints(L, i, "index", "a range", &r);
    if (r.n == 0) {
        whole(p, axis, n);
    } else if (r.n == 1) {
        p->start.v[axis] = resolve(L, r.v[0], n, axis, t);
        p->size.v[axis] = p->step.v[axis] = 1;
    } else if (r.n <= 3) {
        int64_t step = r.n == 3 ? r.v[2] : 1, first = r.v[0] < 0 ? n + 1 + r.v[0] : r.v[0],
                last = r.v[1] < 0 ? n + 1 + r.v[1] : r.v[1];
        if (step == 0) tideL_error(L, "index", "a range cannot have step 0");
        if (step > 0) {
            if (first < 1) first = 1;
            if (last > n) last = n;
            p->size.v[axis] = last >= first ? (last - first) / step + 1 : 0;
        } else {
            if (step == INT64_MIN) step++;
            if (first > n) first = n;
            if (last < 1) last = 1;
            p->size.v[axis] = first >= last ? (first - last) / -step + 1 : 0;
        }
        p->start.v[axis] = p->size.v[axis] ? first - 1 : 0;
        p->step.v[axis] = step;
    } else {
        tideL_error(L, "index", "a range has at most 3 numbers {first, last, step} (got %ld)",
                    (long)r.n);
    }
}

/* Fills `p` from the key at index i; 0: the key holds masks or tensors, which
 * tide.tensor.indexing serves.
 */
static int parse(lua_State *L, int i, const tide_tensor *t, part *p) {
    *p = (part){.start.n = t->rank, .size.n = t->rank, .step.n = t->rank};
    for (int a = 0; a < t->rank; a++) whole(p, a, t->shape[a]);
    if (lua_type(L, i) == LUA_TNUMBER) {
        if (t->rank == 0)
            tideL_error(L, "index", "a tensor without axes cannot be indexed; use t:item()");
        p->start.v[0] = resolve(L, tideL_toint(L, i, "index", "a position"), t->shape[0], 0, t);
        p->size.v[0] = 1;
        p->drop = 1;
        p->scalars = 1;
        return 1;
    }
    if (!tideL_isplain(L, i)) return 0;
    int64_t n = (int64_t)lua_rawlen(L, i), axes = 0, rest = 0;
    for (int64_t k = 1; k <= n; k++) {
        int type = lua_rawgeti(L, i, k);
        if (type == LUA_TSTRING) {
            const char *s = lua_tostring(L, -1);
            if (!strcmp(s, "...")) rest++;
            else if (strcmp(s, "new"))
                tideL_error(L, "index", "unknown entry \"%.20s\" (expected \"...\" or \"new\")", s);
        } else if (type == LUA_TUSERDATA) {
            lua_pop(L, 1);
            return 0;
        } else if (type == LUA_TNIL) {
            tideL_error(L, "index", "the index has no entry %lld (lists have no holes)",
                        (long long)k);
        } else {
            axes++;
        }
        lua_pop(L, 1);
    }
    char buf[160];
    if (axes > t->rank)
        tideL_error(L, "index", "more entries than axes (expected at most %d, got %ld, shape %s)",
                    t->rank, (long)axes, tide_shape_str(t->rank, t->shape, buf, sizeof buf));
    if (rest > 1) tideL_error(L, "index", "\"...\" may stand once only");
    int axis = 0, result = 0;
    for (int64_t k = 1; k <= n; k++) {
        int type = lua_rawgeti(L, i, k), top = lua_gettop(L);
        if (type == LUA_TSTRING && !strcmp(lua_tostring(L, -1), "...")) {
            axis += t->rank - (int)axes;
            result += t->rank - (int)axes;
        } else if (type == LUA_TSTRING) {
            if (p->nnew == TIDE_MAX_RANK) tideL_error(L, "index", "too many new axes");
            p->newaxis[p->nnew++] = result++;
        } else if (type == LUA_TNUMBER) {
            p->start.v[axis] =
                resolve(L, tideL_toint(L, top, "index", "a position"), t->shape[axis], axis, t);
            p->size.v[axis] = 1;
            p->drop |= 1 << axis;
            p->scalars++;
            axis++;
        } else if (type == LUA_TTABLE) {
            range(L, top, p, axis, t->shape[axis], t);
            axis++;
            result++;
        } else {
            tideL_error(
                L, "index",
                "entry %ld must be a number, a range, \"...\", \"new\" or a tensor (got %s)",
                (long)k, tideL_typename(L, top));
        }
        lua_pop(L, 1);
    }
    return 1;
}

static int through_lua(lua_State *L, const char *module, const char *what, int nargs) {
    tideL_pushrequire(L);
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, what);
    lua_remove(L, -2);
    lua_insert(L, -nargs - 1);
    lua_call(L, nargs, 1);
    return 1;
}

static int get(lua_State *L, tide_tensor *t) {
    tide_ctx *ctx = tideL_here(L, t->ctx);
    part p;
    if (lua_isinteger(L, 2) && t->rank > 0 && lua_tointeger(L, 2) == t->shape[0] + 1)
        return 0; /* ipairs ends here */
    int recorded = ctx->grad_mode && tide_needs_grad(t);
    if (!parse(L, 2, t, &p)) {
        lua_settop(L, 2);
        return through_lua(L, "tide.tensor.indexing", "get", 2);
    }
    if (p.scalars == t->rank && p.nnew == 0 && !recorded) {
        int64_t flat = 0;
        for (int a = 0; a < t->rank; a++) flat = flat * t->shape[a] + p.start.v[a];
        tideL_push_item(L, t, flat, "index");
        return 1;
    }
    tideL_handle *h = tideL_new(L);
    t = tideL_checktensor(L, 1, "index");
    tideL_here(L, ctx);
    tide_index__attrs attrs =
        *TIDE_ATTRS(index_, .start = p.start, .size = p.size, .step = p.step, .drop = p.drop);
    tideL_try(L, ctx, tide_apply(ctx, &tide_op_index_, &attrs, 1, &t, &h->t));
    if (p.nnew) {
        tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = h->t->rank + p.nnew);
        if (r.newshape.n > TIDE_MAX_RANK)
            tideL_error(L, "index", "a tensor has at most %d axes", TIDE_MAX_RANK);
        for (int k = 0, from = 0, next = 0; k < r.newshape.n; k++) {
            if (next < p.nnew && p.newaxis[next] == k) r.newshape.v[k] = 1, next++;
            else r.newshape.v[k] = h->t->shape[from++];
        }
        tide_tensor *wide = NULL, *narrow = h->t;
        tide_status st = tide_apply(ctx, &tide_op_reshape, &r, 1, &narrow, &wide);
        if (st == TIDE_OK) h->t = wide, tide_release(narrow);
        else tideL_raise(L, ctx, st);
    }
    return 1;
}

/* -- fields: what Keras and NumPy have as properties -- */

static int push_grad(lua_State *L, tide_tensor *t) {
    tideL_handle *h = t->grad ? tideL_new(L) : NULL;
    t = tideL_totensor(L, 1);
    if (!h || !t->grad) lua_pushnil(L);
    else
        tideL_try(L, t->ctx,
                  tide_dense_grad(t->ctx, t, &h->t)); /* whoever reads it sees it dense */
    return 1;
}

static int field(lua_State *L, tide_tensor *t, const char *key) {
    const char *text = NULL;
    if (!strcmp(key, "ndim")) lua_pushinteger(L, t->rank);
    else if (!strcmp(key, "size")) lua_pushinteger(L, tide_numel(t));
    else if (!strcmp(key, "requires_grad")) lua_pushboolean(L, tide_needs_grad(t));
    else if (!strcmp(key, "is_leaf")) lua_pushboolean(L, t->node == NULL);
    else if (!strcmp(key, "nbytes"))
        lua_pushinteger(L, tide_numel(t) * (int64_t)tide_dtype_size(t->dtype));
    else if (!strcmp(key, "dtype")) text = tide_dtype_name(t->dtype);
    else if (!strcmp(key, "device")) text = tide_device_name(tide_device_of(t));
    else if (!strcmp(key, "grad")) return push_grad(L, t);
    else if (!strcmp(key, "shape")) tideL_pushshape(L, t);
    else return 0;
    if (text) lua_pushstring(L, text);
    return 1;
}

/* The key as a function of tide.ops that is written in Lua; found once, it stays among the methods.
 */
static int method_in_lua(lua_State *L) {
    int top = lua_gettop(L);
    tideL_pushrequire(L);
    lua_pushliteral(L, "tide.ops");
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_istable(L, -1) &&
        lua_getfield(L, -1, "method") == LUA_TFUNCTION) {
        lua_pushvalue(L, 2);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_isfunction(L, -1)) {
            lua_pushvalue(L, 2);
            lua_pushvalue(L, -2);
            lua_rawset(L, lua_upvalueindex(1));
            return 1;
        }
    }
    lua_settop(L, top);
    return 0;
}

static const char *const fields[] = {"shape", "ndim", "size", "dtype", "device",
                                     "grad",  "name", "path", NULL};

/* upvalue 1: the methods */
int tideL_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
        const char *key = lua_tostring(L, 2);
        tide_tensor *t = tideL_totensor(L, 1); /* may be a sparse gradient */
        if (!t) t = tideL_checktensor(L, 1, "tensor");
        if (field(L, t, key)) return 1;
        if (!strcmp(key, "name") || !strcmp(key, "path")) {
            lua_settop(L, 2);
            return through_lua(L, "tide.tensor.names", "get", 2);
        }
        size_t n = strlen(key);
        if (n > 2 && key[0] == '_' && key[1] == '_') return 0; /* protocols that ask */
        if (method_in_lua(L)) return 1;
        tideL_pushrequire(L);
        lua_pushliteral(L, "tide.foreign");
        const char *hint = "";
        if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_istable(L, -1) &&
            lua_getfield(L, -1, "hint") == LUA_TFUNCTION) {
            lua_pushliteral(L, "tensor");
            lua_pushvalue(L, 2);
            lua_newtable(L);
            int k = 1;
            for (const char *const *f = fields; *f; f++, k++) {
                lua_pushstring(L, *f);
                lua_rawseti(L, -2, k);
            }
            for (lua_pushnil(L); lua_next(L, lua_upvalueindex(1)); k++) {
                lua_pop(L, 1);
                lua_pushvalue(L, -1);
                lua_rawseti(L, -3, k);
            }
            if (lua_pcall(L, 3, 1, 0) == LUA_OK && lua_isstring(L, -1)) hint = lua_tostring(L, -1);
        }
        return tideL_error(L, "tensor", "no method or field '%.60s'%s", key, hint);
    }
    return get(L, tideL_checktensor(L, 1, "index"));
}

/* overwrite(t, from): `from` is written with its gradient, or refused where it would be lost */
int tideL_overwrite(lua_State *L) {
    tide_tensor *t = tideL_pin(L, 1, "index"), *from = tideL_pin(L, 2, "index");
    tideL_try_named(L, t->ctx, "index", tide_assign(tideL_here(L, t->ctx), t, from, "index"));
    return 0;
}

int tideL_newindex(lua_State *L) {
    tide_tensor *t = tideL_pin(L, 1, "index");
    tide_ctx *ctx = tideL_here(L, t->ctx);
    if (lua_type(L, 2) == LUA_TSTRING) {
        const char *key = lua_tostring(L, 2);
        if (!strcmp(key, "grad")) {
            tide_tensor *g = tideL_isnone(L, 3) ? NULL : tideL_pin(L, 3, "grad");
            tideL_try(L, ctx, tide_set_grad(ctx, t, g));
        } else if (!strcmp(key, "requires_grad")) {
            tideL_try(L, ctx, tide_require_grad(ctx, t, lua_toboolean(L, 3), "requires_grad"));
        } else {
            tideL_error(L, "tensor", "field '%.60s' cannot be set", key);
        }
        return 0;
    }
    tideL_try(L, ctx, tide_may_write(ctx, t, "index"));
    part p;
    if (!parse(L, 2, t, &p)) {
        lua_settop(L, 3);
        through_lua(L, "tide.tensor.indexing", "set", 3);
        return 0;
    }
    if (p.nnew)
        tideL_error(L, "index",
                    "\"new\" has no place where a part is assigned to; give the value the shape of "
                    "the part");
    tide_tensor *v = tideL_pinvalue(L, 3, t->dtype, "index");
    const tide_index__attrs a =
        *TIDE_ATTRS(index_, .start = p.start, .size = p.size, .step = p.step, .drop = p.drop);
    tideL_try_named(L, ctx, "index", tide_assign_part(tideL_here(L, ctx), t, &a, v, "index"));
    return 0;
}

/* x:add_(y): the op, then its result written into x. upvalues: the op's function, the method's
 * name */
int tideL_inplace(lua_State *L) {
    int n = lua_gettop(L);
    const char *where = lua_tostring(L, lua_upvalueindex(2));
    tide_tensor *t = tideL_pin(L, 1, where);
    tideL_try(L, t->ctx, tide_may_write(tideL_here(L, t->ctx), t, where));
    luaL_checkstack(L, n + 8, "tide");
    lua_pushvalue(L, lua_upvalueindex(1));
    for (int i = 1; i <= n; i++) lua_pushvalue(L, i);
    lua_call(L, n, 1);
    tide_tensor *y = tideL_pinvalue(L, -1, t->dtype, where);
    char a[160], b[160];
    if (!tide_same_shape(y, t))
        tideL_error(L, where, "the result does not fit (expected %s, got %s)",
                    tide_shape_str(t->rank, t->shape, a, sizeof a),
                    tide_shape_str(y->rank, y->shape, b, sizeof b));
    if (y->dtype != t->dtype && tide_is_float(y->dtype) && !tide_is_float(t->dtype))
        tideL_error(L, where, "a %s tensor cannot hold a %s result", tide_dtype_name(t->dtype),
                    tide_dtype_name(y->dtype));
    tideL_try_named(L, t->ctx, where, tide_assign(tideL_here(L, t->ctx), t, y, where));
    lua_settop(L, 1);
    return 1;
}
