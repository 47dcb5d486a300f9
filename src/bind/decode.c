/* Arguments of ops: positional ones and a final table of named ones, read into the op's struct of
 * attributes and its inputs. Knows no op by name: what differs is in the descriptors.
 *
 * Names map through an upvalue table, and calls without an option table skip that altogether. */
#include "decode.h"

#include "../launch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(tideL_opbind *) binds[TIDE_OP_COUNT];

int tideL_private_name(const char *name) { return name[strlen(name) - 1] == '_'; }

int tideL_private_arg(const tide_arg *a) {
    return a->kind == TIDE_ARG_RNG || tideL_private_name(a->name);
}

static tideL_opbind *make_bind(const tide_op *op) {
    tideL_opbind *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->op = op;
    b->args = op->args();
    int in = 0, list = 0;
    for (int i = 0; i < op->nargs; i++) {
        const tide_arg *a = &b->args[i];
        if (a->kind == TIDE_ARG_IN) b->slot[i] = in++;
        else if (a->kind == TIDE_ARG_INS) b->slot[i] = list++;
        if (tideL_private_arg(a)) continue;
        b->positional[b->npositional++] = i;
        if (a->kind > TIDE_ARG_INS && !strcmp(a->def, "!")) b->required |= 1u << i;
    }
    b->nargs = op->nargs;
    for (int k = 0; k < in && !list && !b->required && b->positional[k] == k; k++) {
        if (b->args[k].kind != TIDE_ARG_IN) break;
        b->most = k + 1;
        if (b->args[k].need != OPTIONAL) b->least = k + 1;
    }
    if (b->most < in || op->nout != 1 || op->flags & TIDE_INPLACE || tide_inout(op)) b->most = 0;
    return b;
}

const tideL_opbind *tideL_opbind_of(const tide_op *op) {
    tideL_opbind *there = atomic_load(&binds[op->id]), *made = there ? NULL : make_bind(op);
    /* Several states may load the module at once, and a fork may come between: no lock is held. */
    if (!made || atomic_compare_exchange_strong(&binds[op->id], &there, made))
        return made ? made : there;
    free(made);
    return there;
}

/* -- values -- */

static int enum_index(const char *alternatives, const char *s, size_t n) {
    int k = 0;
    for (const char *p = alternatives;; k++) {
        const char *bar = strchr(p, '|');
        size_t len = bar ? (size_t)(bar - p) : strlen(p);
        if (len == n && !memcmp(p, s, n)) return k;
        if (!bar) return -1;
        p = bar + 1;
    }
}

int tideL_is_symbolic(lua_State *L, int i) {
    if (lua_type(L, i) != LUA_TTABLE || !tideL_pushmeta(L, i, TIDEL_OP)) return 0;
    lua_pop(L, 1);
    return 1;
}

static void decode_enum(tideL_decoding *d, const tide_arg *a, int i) {
    lua_State *L = d->L;
    size_t n;
    const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &n) : NULL;
    int k = s ? enum_index(a->def, s, n) : -1;
    if (k < 0)
        tideL_error(L, d->b->op->name, "%s must be one of %s (got %s%s%s)", a->name, a->def,
                    s ? "\"" : "", s ? s : tideL_typename(L, i), s ? "\"" : "");
    *(int32_t *)(d->attrs + a->offset) = k;
}

static void decode_pairs(tideL_decoding *d, const tide_arg *a, int i) {
    lua_State *L = d->L;
    tide_pairs *out = (tide_pairs *)(d->attrs + a->offset);
    const char *op = d->b->op->name;
    i = lua_absindex(L, i);
    if (lua_type(L, i) == LUA_TNUMBER) { /* one width for every side of every axis */
        out->n = 0;
        out->v[0][0] = out->v[0][1] = tideL_toint(L, i, op, a->name);
        return;
    }
    if (lua_type(L, i) != LUA_TTABLE)
        tideL_error(L, op, "%s must be a number or a list of {before, after} (got %s)", a->name,
                    tideL_typename(L, i));
    int64_t n = (int64_t)lua_rawlen(L, i);
    if (n > TIDE_MAX_RANK)
        tideL_error(L, op, "%s has too many entries (got %ld)", a->name, (long)n);
    out->n = n;
    for (int64_t k = 0; k < n; k++) {
        tide_ints pair;
        lua_rawgeti(L, i, k + 1);
        tideL_toints(L, -1, op, a->name, &pair);
        if (pair.n != 1 && pair.n != 2)
            tideL_error(L, op, "%s needs {before, after} per axis (got %ld numbers)", a->name,
                        (long)pair.n);
        out->v[k][0] = pair.v[0];
        out->v[k][1] = pair.v[pair.n - 1];
        lua_pop(L, 1);
    }
}

static void decode(tideL_decoding *d, int arg, int i) {
    lua_State *L = d->L;
    const tide_arg *a = &d->b->args[arg];
    const char *op = d->b->op->name;
    void *p = d->attrs + a->offset;
    d->given |= 1u << arg;
    if (a->kind == TIDE_ARG_IN) {
        const int k = d->b->slot[arg];
        if ((d->at[k] = tideL_tohandle(L, i))) {
            if (!d->at[k]->t) tideL_released(L);
        } else if (!tideL_isnone(L, i) || (lua_isboolean(L, i) && a->need != OPTIONAL)) {
            d->literals = d->pending[k] = i;
        }
        return;
    }
    if (a->kind == TIDE_ARG_INS) {
        if (lua_type(L, i) != LUA_TTABLE)
            tideL_error(L, op, "%s must be a list of tensors (got %s)", a->name,
                        tideL_typename(L, i));
        d->list[d->b->slot[arg]] = i;
        return;
    }
    if (strcmp(a->def, "!") && tideL_isnone(L, i) && a->kind != TIDE_ARG_BOOL)
        return; /* the default */
    switch (a->kind) {
    case TIDE_ARG_INT: *(int64_t *)p = tideL_toint(L, i, op, a->name); break;
    case TIDE_ARG_FLOAT: *(double *)p = tideL_tofloat(L, i, op, a->name); break;
    case TIDE_ARG_VALUE: *(tide_value *)p = tideL_tovalue(L, i, op, a->name); break;
    case TIDE_ARG_BOOL:
        if (lua_type(L, i) != LUA_TBOOLEAN && !lua_isnil(L, i))
            tideL_error(L, op, "%s must be true or false (got %s)", a->name, tideL_typename(L, i));
        *(int32_t *)p = lua_toboolean(L, i);
        break;
    case TIDE_ARG_ENUM: decode_enum(d, a, i); break;
    case TIDE_ARG_DTYPE: *(int32_t *)p = tideL_todtype(L, i, op); break;
    case TIDE_ARG_AXIS: *(int64_t *)p = tideL_toaxis(L, i, op, a->name); break;
    case TIDE_ARG_AXES: {
        tide_ints *l = p;
        tideL_toints(L, i, op, a->name, l);
        for (int64_t k = 0; k < l->n; k++) {
            if (l->v[k] == 0) tideL_error(L, op, "%s counts from 1 (got 0)", a->name);
            l->v[k] -= l->v[k] > 0;
        }
        break;
    }
    case TIDE_ARG_INTS:
    case TIDE_ARG_SHAPE: tideL_toints(L, i, op, a->name, p); break;
    case TIDE_ARG_PAIRS: decode_pairs(d, a, i); break;
    case TIDE_ARG_TEXT:
        if (lua_type(L, i) != LUA_TSTRING)
            tideL_error(L, op, "%s must be a string (got %s)", a->name, tideL_typename(L, i));
        if (lua_rawlen(L, i) >= sizeof(tide_text))
            tideL_error(L, op, "%s is too long (at most %d characters)", a->name,
                        (int)sizeof(tide_text) - 1);
        snprintf(((tide_text *)p)->s, sizeof(tide_text), "%s", lua_tostring(L, i));
        break;
    default: break;
    }
}

/* The k-th (0-based) argument that may stand without a name; -1: none. */
static int positional(const tideL_opbind *b, int k) {
    return k < b->npositional ? b->positional[k] : -1;
}

static int takes_table(int kind) {
    return kind == TIDE_ARG_INS || kind == TIDE_ARG_AXES || kind == TIDE_ARG_INTS ||
        kind == TIDE_ARG_SHAPE || kind == TIDE_ARG_PAIRS || kind == TIDE_ARG_IN;
}

static void unknown_option(tideL_decoding *d, const char *key) {
    char known[400] = "";
    for (int i = 0; i < d->b->nargs; i++) {
        size_t at = strlen(known);
        if (!tideL_private_arg(&d->b->args[i]))
            snprintf(known + at, sizeof known - at, "%s%s%s%s%s", at ? ", " : "",
                     d->b->args[i].name, TIDE_ALSO(&d->b->args[i]));
    }
    lua_State *L = d->L;
    luaL_getsubtable(L, LUA_REGISTRYINDEX,
                     LUA_LOADED_TABLE); /* "; did you mean ...": the words are tide.check's */
    const char *hint = "";
    if (lua_getfield(L, -1, "tide.check") == LUA_TTABLE &&
        lua_getfield(L, -1, "did_you_mean") == LUA_TFUNCTION) {
        lua_pushstring(L, key);
        lua_newtable(L);
        for (int i = 0, n = 0; i < d->b->nargs; i++)
            if (!tideL_private_arg(&d->b->args[i])) {
                lua_pushstring(L, d->b->args[i].name);
                lua_rawseti(L, -2, ++n);
                if (d->b->args[i].also) {
                    lua_pushstring(L, d->b->args[i].also);
                    lua_rawseti(L, -2, ++n);
                }
            }
        lua_call(L, 2, 1);
        hint = lua_tostring(L, -1) ? lua_tostring(L, -1) : "";
    }
    tideL_error(L, d->b->op->name, "unknown option '%.60s'%s (expected %s)", key, hint, known);
}

/* The argument whose other name this is; -1: none. */
static int other_name(const tideL_opbind *b, const char *key) {
    for (int k = 0; k < b->nargs; k++)
        if (b->args[k].also && !strcmp(b->args[k].also, key)) return k;
    return -1;
}

/* The final table of named arguments, at index i; `next` is the next positional argument. */
static void decode_options(tideL_decoding *d, int i, int next) {
    lua_State *L = d->L;
    int64_t n = (int64_t)lua_rawlen(L, i);
    luaL_checkstack(L, 2 * TIDE_MAX_ARGS, "tide");
    if (n > 0) {
        int arg = positional(d->b, next);
        int is_value =
            arg >= 0 && takes_table(d->b->args[arg].kind) && d->b->args[arg].kind != TIDE_ARG_IN;
        if (arg >= 0 && d->b->args[arg].kind == TIDE_ARG_IN) {
            lua_rawgeti(L, i, 1);
            is_value = !tideL_tohandle(L, -1) && !tideL_is_symbolic(L, -1);
            lua_pop(L, 1);
        }
        if (is_value) { /* the array part is the value of the next argument */
            lua_createtable(L, (int)TIDE_MIN(n, 1 << 20), 0);
            for (int64_t k = 1; k <= n; k++) {
                if (lua_rawgeti(L, i, k) == LUA_TNIL)
                    tideL_error(L, d->b->op->name, "%s has no entry %lld (lists have no holes)",
                                d->b->args[arg].name, (long long)k);
                lua_rawseti(L, -2, k);
            }
            decode(d, arg, lua_gettop(L));
        } else {
            for (int64_t k = 1; k <= n; k++, next++) {
                arg = positional(d->b, next);
                if (arg < 0) tideL_error(L, d->b->op->name, "too many arguments");
                lua_rawgeti(L, i, k);
                decode(d, arg, lua_gettop(L));
            }
        }
    }
    lua_pushnil(L);
    while (lua_next(L, i)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            lua_pushvalue(L, -2);
            lua_rawget(L, lua_upvalueindex(3));
            int arg = lua_isnil(L, -1) ? -1 : (int)lua_tointeger(L, -1);
            lua_pop(L, 1);
            if (arg < 0) arg = other_name(d->b, lua_tostring(L, -2));
            if (arg < 0) unknown_option(d, lua_tostring(L, -2));
            if (d->given >> arg & 1)
                tideL_error(L, d->b->op->name, "%s%s%s%s is given twice", d->b->args[arg].name,
                            TIDE_ALSO(&d->b->args[arg]));
            lua_insert(L, -2); /* value below its key: it stays on the stack, where the decoding
                                  refers to it */
            decode(d, arg, lua_gettop(L) - 1);
            luaL_checkstack(L, 8, "tide");
        } else {
            lua_pop(L, 1);
        }
    }
}

/* -- inputs -- */

/* Where literals belong: beside the first tensor of the call. NULL: there is none. */
static tide_device *device_beside(const tideL_decoding *d) {
    for (int k = 0; k < d->b->op->nin; k++) {
        const tide_tensor *t = d->at[k] ? d->at[k]->t : NULL;
        if (t && tide_device_of(t)) return tide_device_of(t);
    }
    tide_device *dev = NULL;
    for (int k = 0; k < d->b->op->lists && !dev; k++) {
        const lua_Integer n = d->list[k] ? (lua_Integer)lua_rawlen(d->L, d->list[k]) : 0;
        for (lua_Integer i = 1; i <= n && !dev; i++) {
            lua_rawgeti(d->L, d->list[k], i);
            const tideL_handle *h = tideL_tohandle(d->L, -1);
            if (h && h->t) dev = tide_device_of(h->t);
            lua_pop(d->L, 1);
        }
    }
    return dev;
}

/* The inputs for which a Lua boolean is no mask, beside a first tensor of several elements. */
static unsigned masks_beside(const tide_op *op, const tide_tensor *first) {
    if (tide_numel(first) == 1) return 0;
    const int bits =
        first->dtype == TIDE_BOOL && op->flags & TIDE_ELEMENTWISE && op->kind != TIDE_FLOAT_OP;
    return op->masks ? op->masks : bits ? ~0u : 0;
}

/* The literal that waits at input k becomes a tensor on the stack, or one from the context's cache.
 * `like`: dtype of the tensor that it stands beside, or -1. */
static void make_input(tideL_decoding *d, int k, const tide_arg *a, int like, unsigned masks) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    const int at = d->pending[k], type = lua_type(L, at), whole = op->whole >> k & 1;
    if (type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TTABLE)
        tideL_error(L, op->name, "%s%s%s%s must be a tensor (got %s)", a->name, TIDE_ALSO(a),
                    tideL_typename(L, at));
    if (type == LUA_TBOOLEAN && masks >> k & 1)
        tideL_error(L, op->name,
                    "%s is a Lua boolean where a mask of several elements is due; compare "
                    "tensors with x:equal(y)",
                    a->name);
    if (type == LUA_TNUMBER && !d->cached && !whole && (like == TIDE_F32 || like == TIDE_F64)) {
        d->cached = k + 1; /* one only: the next one may push it out of the cache */
        d->number = lua_tonumber(L, at);
        d->number_dtype = like;
        return;
    }
    const int dtype = whole ? TIDE_I64 : op->flags & TIDE_BITS ? TIDE_WHOLE_LITERAL : -1;
    tideL_literal(L, at, dtype, whole ? -1 : like, device_beside(d), op->name);
    d->at[k] = tideL_tohandle(L, -1);
}

/* Literals become tensors. What is missing is refused. */
static void finish_inputs(tideL_decoding *d) {
    const tide_op *op = d->b->op;
    const tide_tensor *first = NULL, *beside = NULL; /* of the tensors; of those that are no mask */
    for (int k = 0; k < op->nin && d->literals; k++) {
        const tide_tensor *t = d->at[k] ? d->at[k]->t : NULL;
        if (!first) first = t;
        if (!beside && !(op->masks >> k & 1)) beside = t;
    }
    const int like = beside ? beside->dtype : first ? first->dtype : -1;
    const unsigned masks = first ? masks_beside(op, first) : 0;
    for (int arg = 0; arg < d->b->nargs; arg++) {
        const tide_arg *a = &d->b->args[arg];
        if (a->kind != TIDE_ARG_IN) continue;
        const int k = d->b->slot[arg];
        if (d->pending[k]) make_input(d, k, a, like, masks);
        else if (!d->at[k] && a->need != OPTIONAL)
            tideL_error(d->L, op->name, "%s%s%s%s is missing (expected a tensor%s%s)", a->name,
                        TIDE_ALSO(a), strcmp(a->def, "(...)") ? " " : "",
                        strcmp(a->def, "(...)") ? a->def : "");
    }
}

/* The inputs of an op with lists: literals of theirs become tensors on the stack, whose indices
 * `at` keeps. */
static void make_lists(tideL_decoding *d) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    int64_t n = -1;
    for (int arg = 0; arg < d->b->nargs; arg++)
        if (d->b->args[arg].kind == TIDE_ARG_INS)
            d->name_of[d->b->slot[arg]] = d->b->args[arg].name;
    for (int k = 0; k < op->lists; k++) {
        if (!d->list[k])
            tideL_error(L, op->name, "%s is missing (expected a list of tensors)", d->name_of[k]);
        int64_t len = (int64_t)lua_rawlen(L, d->list[k]);
        if (n < 0) n = len;
        if (len != n)
            tideL_error(L, op->name,
                        "%s has another length than the first list (expected %ld, got %ld)",
                        d->name_of[k], (long)n, (long)len);
    }
    if (n > 100000) tideL_error(L, op->name, "a list of %ld tensors is too long", (long)n);
    d->nin = op->nin + op->lists * (int)n;
    const size_t each = sizeof *d->all + sizeof *d->all_at;
    d->all = lua_newuserdatauv(L, (size_t)(d->nin + 1) * each, 0);
    d->all_at = (int *)(d->all + d->nin + 1);
    luaL_checkstack(L, op->lists * (int)n + 8, "tide");
    for (int k = 0; k < op->lists; k++)
        for (int i = 0; i < n; i++) {
            int type = lua_rawgeti(L, d->list[k], i + 1),
                *where = &d->all_at[op->nin + k * (int)n + i];
            *where = 0;
            if (type == LUA_TNUMBER || type == LUA_TTABLE ||
                (type == LUA_TBOOLEAN && lua_toboolean(L, -1))) {
                tideL_literal(L, lua_gettop(L), -1, -1, device_beside(d), op->name);
                lua_remove(L, -2);
                *where = lua_gettop(L);
            } else {
                lua_pop(L, 1);
            }
        }
}

void tideL_read_inputs(tideL_decoding *d, tide_ctx *ctx) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    tide_tensor **in = d->all;
    const int nin = d->nin, *at = d->all_at;
    for (int k = 0; k < op->nin; k++) {
        in[k] = d->at[k] ? d->at[k]->t : NULL;
        if (d->at[k] && !in[k]) tideL_released(L);
    }
    if (d->cached)
        tideL_try(L, ctx, tide_scalar(ctx, d->number, d->number_dtype, &in[d->cached - 1]));
    for (int j = op->nin, n = op->lists ? (nin - op->nin) / op->lists : 0; j < nin; j++) {
        const int list = (j - op->nin) / n, i = (j - op->nin) % n;
        if (at[j]) {
            in[j] = tideL_totensor(L, at[j]);
            continue;
        }
        int type = lua_rawgeti(L, d->list[list], i + 1);
        in[j] = tideL_totensor(L, -1);      /* the list keeps it */
        if (!in[j] && type != LUA_TBOOLEAN) /* a missing gradient is false */
            tideL_error(L, op->name, "%s[%d] must be a tensor (got %s)", d->name_of[list], i + 1,
                        tideL_typename(L, -1));
        lua_pop(L, 1);
    }
}

/* -- all of a call -- */

/* x:reshape(3, 2): where one list is due, several numbers are a list that lacks its braces. */
static void too_many(lua_State *L, const tideL_opbind *b, int n) {
    const int last = positional(b, b->npositional - 1), from = b->npositional;
    char list[200] = "";
    int numbers = last >= 0 && takes_table(b->args[last].kind) &&
        b->args[last].kind != TIDE_ARG_IN && b->args[last].kind != TIDE_ARG_INS;
    for (int i = from; i <= n && numbers; i++) {
        size_t at = strlen(list);
        numbers = lua_isinteger(L, i);
        snprintf(list + at, sizeof list - at, i > from ? ", %lld" : "%lld",
                 (long long)lua_tointeger(L, i));
    }
    if (numbers)
        tideL_error(L, b->op->name, "%s is one list (got %d numbers); write { %s }",
                    b->args[last].name, n - from + 1, list);
    tideL_error(L, b->op->name, "too many arguments (expected at most %d, got %d)", b->npositional,
                n);
}

/* Is the last of n arguments the table of named ones? */
static int has_options(const tideL_decoding *d, int n) {
    lua_State *L = d->L;
    if (n == 0 || lua_type(L, n) != LUA_TTABLE) return 0;
    if (lua_getmetatable(L, n)) {
        lua_pop(L, 1);
        return 0;
    }
    if (tideL_has_string_key(L, n)) return 1;
    if (lua_rawlen(L, n) > 0) return 0;
    const int arg = positional(d->b, n - 1); /* an empty table may be its value */
    return arg < 0 || d->b->args[arg].kind == TIDE_ARG_IN || !takes_table(d->b->args[arg].kind);
}

void tideL_decode(tideL_decoding *d, int nargs) {
    const tide_op *op = d->b->op;
    if (nargs > 0) tideL_refuse_colon(d->L, op->name);
    const int options = has_options(d, nargs) ? nargs-- : 0;
    for (int k = 0; k < nargs; k++) {
        const int arg = positional(d->b, k);
        if (arg < 0) too_many(d->L, d->b, nargs);
        if (lua_type(d->L, k + 1) != LUA_TNIL) decode(d, arg, k + 1);
    }
    if (options) decode_options(d, options, nargs);
    finish_inputs(d);
    const unsigned missing = d->b->required & ~d->given;
    if (missing) {
        const tide_arg *a = &d->b->args[__builtin_ctz(missing)];
        tideL_error(d->L, op->name, "%s is missing%s%s%s", a->name, *a->doc ? " (" : "", a->doc,
                    *a->doc ? ")" : "");
    }
    d->nin = op->nin;
    d->all = d->in;
    if (op->lists) make_lists(d);
}
