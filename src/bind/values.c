/* Values that Lua offers where an argument is due: numbers, lists, dtypes, axes, literal data. */
#include "bind.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int tideL_field(lua_State *L, int i, const char *key) {
    i = lua_absindex(L, i);
    lua_pushstring(L, key);
    if (lua_type(L, i) == LUA_TTABLE) return lua_rawget(L, i);
    lua_pop(L, 1);
    lua_pushnil(L);
    return LUA_TNIL;
}

/* Their names as Lua strings, which the registry keeps: to make one may run a finalizer. */
static const char *const metafields[TIDEL_METAFIELDS] = {
    [TIDEL_NAME] = "__name", [TIDEL_LIST] = "__tide_list", [TIDEL_OP] = "__tide_op"};

void tideL_open_metafields(lua_State *L) {
    for (int k = 0; k < TIDEL_METAFIELDS; k++) {
        lua_pushstring(L, metafields[k]);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &metafields[k]);
    }
}

int tideL_pushmeta(lua_State *L, int i, tideL_metafield k) {
    if (!lua_getmetatable(L, i)) return 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &metafields[k]);
    const int type = lua_rawget(L, -2);
    lua_remove(L, -2);
    if (type == LUA_TNIL) lua_pop(L, 1);
    return type != LUA_TNIL;
}

int tideL_isnone(lua_State *L, int i) {
    int type = lua_type(L, i);
    if (type == LUA_TNIL || type == LUA_TNONE) return 1;
    if (type == LUA_TBOOLEAN) return !lua_toboolean(L, i);
    if (type != LUA_TTABLE || !tideL_pushmeta(L, i, TIDEL_NAME)) return 0;
    int is = lua_type(L, -1) == LUA_TSTRING && !strcmp(lua_tostring(L, -1), "tide.none");
    lua_pop(L, 1);
    return is;
}

int tideL_isplain(lua_State *L, int i) {
    if (lua_type(L, i) != LUA_TTABLE) return 0;
    if (!lua_getmetatable(L, i)) return 1;
    lua_pop(L, 1);
    if (!tideL_pushmeta(L, i, TIDEL_LIST)) return 0;
    int is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

int tideL_has_string_key(lua_State *L, int i) {
    i = lua_absindex(L, i);
    lua_pushnil(L);
    while (lua_next(L, i)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            lua_pop(L, 1);
            return 1;
        }
    }
    return 0;
}

int64_t tideL_toint(lua_State *L, int i, const char *where, const char *name) {
    int ok;
    int64_t v = lua_tointegerx(L, i, &ok);
    if (ok && lua_type(L, i) == LUA_TNUMBER) return v;
    if (lua_type(L, i) == LUA_TNUMBER)
        tideL_error(L, where, "%s must be a whole number (got %.14g)", name, lua_tonumber(L, i));
    tide_tensor *t = tideL_totensor(L, i);
    if (t && tide_numel(t) == 1 && !tide_is_float(t->dtype) && !tide_is_sparse(t) &&
        tide_has_elements(t))
        return tide_item_int(t, 0);
    tideL_error(L, where, "%s must be a whole number (got %s)%s", name, tideL_typename(L, i),
                t ? "; a call in the middle of arguments needs parentheses" : "");
    return 0;
}

double tideL_tofloat(lua_State *L, int i, const char *where, const char *name) {
    if (lua_type(L, i) == LUA_TNUMBER) return lua_tonumber(L, i);
    tide_tensor *t = tideL_totensor(L, i);
    if (t && tide_numel(t) == 1 && !tide_is_sparse(t) && tide_has_elements(t))
        return tide_item(t, 0);
    tideL_error(L, where, "%s must be a number (got %s)", name, tideL_typename(L, i));
    return 0;
}

tide_value tideL_tovalue(lua_State *L, int i, const char *where, const char *name) {
    if (lua_isinteger(L, i)) return TIDE_WHOLE(lua_tointeger(L, i));
    return TIDE_REAL(tideL_tofloat(L, i, where, name));
}

int tideL_todtype(lua_State *L, int i, const char *where) {
    static const struct {
        const char *name;
        int dtype;
    } names[] = {
#define X(id, name, ctype, size, cls) {name, TIDE_##id},
        TIDE_DTYPES(X)
#undef X
            {"f32", TIDE_F32},
        {"f64", TIDE_F64},
        {"i64", TIDE_I64},
        {"i32", TIDE_I32},
        {"u8", TIDE_U8},
        {"i8", TIDE_I8},
        {"f16", TIDE_F16},
        {"bf16", TIDE_BF16},
        {"float", TIDE_F32},
        {"double", TIDE_F64},
        {"int", TIDE_I32},
    };
    if (lua_type(L, i) == LUA_TSTRING) {
        const char *s = lua_tostring(L, i);
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (!strcmp(s, names[k].name)) return names[k].dtype;
        tideL_error(L, where,
                    "unknown dtype '%.40s' (expected float32, float64, int64, int32, uint8, int8, "
                    "bool, float16 or bfloat16)",
                    s);
    }
    tideL_error(L, where, "dtype must be a name such as \"float32\" (got %s)",
                tideL_typename(L, i));
    return 0;
}

void tideL_toints(lua_State *L, int i, const char *where, const char *name, tide_ints *out) {
    i = lua_absindex(L, i);
    if (lua_type(L, i) == LUA_TNUMBER) {
        out->n = 1;
        out->v[0] = tideL_toint(L, i, where, name);
        return;
    }
    if (lua_type(L, i) != LUA_TTABLE)
        tideL_error(L, where, "%s must be a number or a list of numbers (got %s)", name,
                    tideL_typename(L, i));
    int64_t n = (int64_t)lua_rawlen(L, i);
    if (n > TIDE_MAX_RANK)
        tideL_error(L, where, "%s has too many entries (expected at most %d, got %ld)", name,
                    TIDE_MAX_RANK, (long)n);
    out->n = n;
    for (int64_t k = 0; k < n; k++) {
        lua_rawgeti(L, i, k + 1);
        out->v[k] = tideL_toint(L, -1, where, name);
        lua_pop(L, 1);
    }
}

void tideL_toshape(lua_State *L, int i, const char *where, tide_ints *out) {
    tideL_toints(L, i, where, "shape", out);
}

int64_t tideL_toaxis(lua_State *L, int i, const char *where, const char *name) {
    int64_t v = tideL_toint(L, i, where, name);
    if (v == 0)
        tideL_error(L, where, "%s counts from 1 (expected 1.. or -1.. from the end, got 0)", name);
    return v > 0 ? v - 1 : v;
}

/* -- literal data -- */

typedef struct {
    int rank;
    int64_t shape[TIDE_MAX_RANK];
    int booleans, numbers;
    int trusts; /* of lists of values only the first value is looked at: fill_numbers sees the rest
                 */
    const char *where;
} form;

static tide_tensor *one_element(lua_State *L, int i) {
    tide_tensor *t = tideL_totensor(L, i);
    return t && !tide_is_sparse(t) && tide_numel(t) == 1 ? t : NULL;
}

/* Measures a nested table; every sister must have the same form. */
static void measure(lua_State *L, int i, int depth, form *f, int first) {
    i = lua_absindex(L, i);
    int type = lua_type(L, i);
    if (type == LUA_TTABLE) {
        if (depth >= TIDE_MAX_RANK)
            tideL_error(L, f->where, "the data are nested deeper than %d levels", TIDE_MAX_RANK);
        if (!first && depth >= f->rank)
            tideL_error(L, f->where, "the data are ragged: a list stands where a number is due");
        int64_t n = (int64_t)lua_rawlen(L, i);
        if (first) {
            f->shape[depth] = n;
            if (depth + 1 > f->rank) f->rank = depth + 1;
        } else if (f->shape[depth] != n) {
            tideL_error(L, f->where,
                        "the data are ragged (expected lists of %ld at level %d, got %ld)",
                        (long)f->shape[depth], depth + 1, (long)n);
        }
        luaL_checkstack(L, 4, "tide");
        for (int64_t k = 0; k < n; k++) {
            if (f->trusts && depth + 1 == f->rank && !(first && k == 0)) return;
            lua_rawgeti(L, i, k + 1);
            measure(L, -1, depth + 1, f, first && k == 0);
            lua_pop(L, 1);
        }
        return;
    }
    if (!first && depth != f->rank)
        tideL_error(L, f->where, "the data are ragged: a value stands where a list is due");
    if (type == LUA_TNUMBER) f->numbers++;
    else if (type == LUA_TBOOLEAN) f->booleans++;
    else if (one_element(L, i)) f->numbers++;
    else if (tideL_tohandle(L, i)) {
        char shape[160];
        const tide_tensor *t = tideL_totensor(L, i);
        tideL_error(L, f->where,
                    "a list of data holds a tensor of %s (expected numbers or booleans); one "
                    "tensor stands without braces, several are joined by ops.stack",
                    tide_shape_str(t->rank, t->shape, shape, sizeof shape));
    } else
        tideL_error(L, f->where, "data must be numbers or booleans (got %s)",
                    type == LUA_TNIL ? "nil; lists have no holes" : tideL_typename(L, i));
    if (f->numbers && f->booleans) tideL_error(L, f->where, "the data mix numbers and booleans");
}

static void store(lua_State *L, int i, void *p, int dtype, int64_t at, const char *where) {
    double x = 0;
    int64_t n = 0;
    int whole = 1;
    if (lua_type(L, i) == LUA_TBOOLEAN) {
        x = (double)(n = lua_toboolean(L, i));
    } else if (lua_type(L, i) == LUA_TNUMBER) {
        x = lua_tonumber(L, i);
        int ok;
        n = lua_tointegerx(L, i, &ok);
        whole = ok;
    } else {
        tide_tensor *t = tideL_totensor(L, i);
        if (t) tideL_try(L, t->ctx, tide_need_elements(t->ctx, t, where));
        if (!t || tide_numel(t) != 1)
            tideL_error(L, where, "the data changed while they were read");
        x = tide_item(t, 0);
        n = tide_is_float(t->dtype) ? 0 : tide_item_int(t, 0);
        if (tide_is_float(t->dtype)) whole = lua_numbertointeger(x, &n);
    }
    if (dtype != TIDE_F32 && dtype != TIDE_F64 && dtype != TIDE_BOOL && dtype != TIDE_F16 &&
        dtype != TIDE_BF16) {
        static const int64_t lo[] = {
            [TIDE_I64] = INT64_MIN, [TIDE_I32] = INT32_MIN, [TIDE_U8] = 0, [TIDE_I8] = -128};
        static const int64_t hi[] = {
            [TIDE_I64] = INT64_MAX, [TIDE_I32] = INT32_MAX, [TIDE_U8] = 255, [TIDE_I8] = 127};
        if (!whole) tideL_error(L, where, "%s cannot hold %.14g", tide_dtype_name(dtype), x);
        if (n < lo[dtype] || n > hi[dtype])
            tideL_error(L, where, "%s cannot hold %lld", tide_dtype_name(dtype), (long long)n);
    }
    switch (dtype) {
    case TIDE_F32: {
        float f = (float)x;
        if (lua_isinteger(L, i) && (double)f != x)
            tideL_error(L, where,
                        "float32 cannot hold %lld exactly; use dtype = \"int64\" or \"float64\"",
                        (long long)n);
        ((float *)p)[at] = f;
        break;
    }
    case TIDE_F64: ((double *)p)[at] = x; break;
    case TIDE_I64: ((int64_t *)p)[at] = n; break;
    case TIDE_I32: ((int32_t *)p)[at] = (int32_t)n; break;
    case TIDE_U8: ((uint8_t *)p)[at] = (uint8_t)n; break;
    case TIDE_I8: ((int8_t *)p)[at] = (int8_t)n; break;
    case TIDE_BOOL: ((uint8_t *)p)[at] = x != 0; break;
    default: break;
    }
}

/* Measured once, the table may have changed: making the tensor may have run finalizers. */
static int64_t fill(lua_State *L, int i, const tide_tensor *t, void *p, int axis, int64_t at,
                    const char *where) {
    i = lua_absindex(L, i);
    int list = lua_type(L, i) == LUA_TTABLE;
    if (list != (axis < t->rank) || (list && (int64_t)lua_rawlen(L, i) != t->shape[axis]))
        tideL_error(L, where, "the data changed while they were read");
    if (!list) {
        store(L, i, p, t->dtype, at, where);
        return at + 1;
    }
    for (int64_t k = 0; k < t->shape[axis]; k++) {
        lua_rawgeti(L, i, k + 1);
        at = fill(L, -1, t, p, axis + 1, at, where);
        lua_pop(L, 1);
    }
    return at;
}

/* A list of n numbers as float32 or float64, some of them on the stack at a time. 0: something else
 * stands among them, or a whole number that float32 does not hold. */
static int fill_row(lua_State *L, int i, float *narrow, double *wide, int64_t n) {
    enum { SOME = 16 };
    luaL_checkstack(L, SOME, "tide");
    for (int64_t k = 0; k < n;) {
        const int top = lua_gettop(L);
        for (const int64_t end = TIDE_MIN(n, k + SOME); k < end; k++) {
            if (lua_rawgeti(L, i, k + 1) != LUA_TNUMBER) return 0;
            const double x = lua_tonumber(L, -1);
            if (wide) wide[k] = x;
            else if ((narrow[k] = (float)x) != x && lua_isinteger(L, -1)) return 0;
        }
        lua_settop(L, top);
    }
    return 1;
}

/* Nested lists of them likewise; leaves the stack as it is. 0: they are to be read one by one,
 * which says what is wrong. */
static int fill_numbers(lua_State *L, int i, const tide_tensor *t, char *p, int axis) {
    const int64_t n = t->shape[axis];
    const int top = lua_gettop(L), f32 = t->dtype == TIDE_F32;
    if (lua_type(L, i) != LUA_TTABLE || (int64_t)lua_rawlen(L, i) != n) return 0;
    if (axis + 1 == t->rank) {
        const int good =
            fill_row(L, i, f32 ? (float *)(void *)p : NULL, f32 ? NULL : (double *)(void *)p, n);
        lua_settop(L, top);
        return good;
    }
    int good = 1;
    for (int64_t k = 0; k < n && good; k++) {
        lua_rawgeti(L, i, k + 1);
        good = fill_numbers(L, top + 1, t, p + k * t->stride[axis] * (f32 ? 4 : 8), axis + 1);
        lua_settop(L, top);
    }
    return good;
}

tide_tensor *tideL_literal(lua_State *L, int i, int dtype, int like, tide_device *dev,
                           const char *where) {
    i = lua_absindex(L, i);
    tide_ctx *ctx = tideL_ctx(L);
    form f = {.where = where, .trusts = dtype == -1 || (dtype >= 0 && tide_is_float(dtype))};
    measure(L, i, 0, &f, 1);
    if (f.trusts && (!f.rank || !f.numbers)) {
        f = (form){.where = where};
        measure(L, i, 0, &f, 1);
    }
    if (dtype < 0) {
        const int single = like < 0 && lua_isinteger(L, i);
        const int bits = dtype == TIDE_WHOLE_LITERAL && (f.rank > 0 || single);
        const int integer = like >= 0 && like != TIDE_BOOL && !tide_is_float(like);
        dtype = bits ? integer ? like : TIDE_I32 : TIDE_F32;
        if (f.booleans) dtype = TIDE_BOOL;
        if (like >= 0 && f.rank == 0 && f.numbers) { /* a weak scalar */
            int whole = lua_isinteger(L, i);
            if (tide_is_float(like)) dtype = like;
            else if (whole) dtype = like == TIDE_BOOL ? TIDE_I32 : like;
        }
        if (f.booleans && f.rank == 0 && tide_is_float(like)) dtype = like;
    }
    if (like >= 0 && !tide_is_float(dtype) &&
        lua_isinteger(L, i)) { /* an integer its dtype cannot hold widens */
        int64_t v = lua_tointeger(L, i);
        if ((dtype == TIDE_U8 && (v < 0 || v > 255)) || (dtype == TIDE_I8 && (v < -128 || v > 127)))
            dtype = TIDE_I32;
        if (dtype == TIDE_I32 && (v < INT32_MIN || v > INT32_MAX)) dtype = TIDE_I64;
    }
    int store_dtype = dtype == TIDE_F16 || dtype == TIDE_BF16 ? TIDE_F32 : dtype;
    tideL_handle *h = tideL_new(L);
    tideL_try(L, ctx, tide_new_host(ctx, store_dtype, f.rank, f.shape, &h->t));
    void *p = tide_host_view(h->t);
    if (like >= 0 && f.rank == 0 && store_dtype == TIDE_F32 && lua_type(L, i) != LUA_TUSERDATA)
        ((float *)p)[0] =
            (float)lua_tonumber(L, i) + (float)(lua_isboolean(L, i) && lua_toboolean(L, i));
    else if (!f.trusts || !fill_numbers(L, i, h->t, p, 0)) {
        if (f.trusts) measure(L, i, 0, &(form){.where = where}, 1);
        fill(L, i, h->t, p, 0, 0, where);
    }
    if (store_dtype != dtype) {
        tide_tensor *half = NULL;
        tideL_try(
            L, ctx,
            tide_apply(ctx, &tide_op_cast, TIDE_ATTRS(cast, .dtype = dtype), 1, &h->t, &half));
        tide_release(h->t);
        h->t = half;
    }
    tideL_send_to(L, h, dev ? dev : tideL_here(L, ctx)->device);
    return h->t;
}

void tideL_pushshape(lua_State *L, const tide_tensor *t) {
    const int rank = t->rank;
    int64_t shape[TIDE_MAX_RANK];
    memcpy(shape, t->shape, sizeof shape);
    lua_createtable(L, rank, 0);
    for (int i = 0; i < rank; i++) {
        lua_pushinteger(L, shape[i]);
        lua_rawseti(L, -2, i + 1);
    }
    if (lua_getfield(L, LUA_REGISTRYINDEX, "tide.list") == LUA_TTABLE) lua_setmetatable(L, -2);
    else lua_pop(L, 1);
}
