/* One generic function bound to every op's descriptor: it decodes positional arguments and a final
 * table of named ones into the op's struct of attributes, and runs the op.
 *
 * Budget of a small op from Lua: 170 ns here, 130 ns in tide_apply. So names map through an upvalue
 * table, and calls without an option table skip that altogether. */
#include "bind.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 24, MAX_ATTRS = 1024, MAX_OUT = 8, MAX_IN = 8 };

/* Every op fits, which the compiler sees. */
#define EACH(name, ...)                                                                          \
    _Static_assert((int)TIDE_NARGS_##name <= MAX_ARGS && (int)TIDE_NIN_##name <= MAX_IN &&       \
                       (int)TIDE_LISTS_##name <= MAX_IN,                                         \
                   #name " has too many arguments");                                             \
    _Static_assert((int)TIDE_NOUT_##name <= MAX_OUT && sizeof(tide_##name##_attrs) <= MAX_ATTRS, \
                   #name " has too many results or attributes");
#include "../../kernels/each_op.h"

/* What the binder knows of one op; made once, lives as long as the process. */
typedef struct {
    const tide_op *op;
    const tide_arg *args;
    int nargs;
    int slot[MAX_ARGS];                    /* argument -> input number or list number */
    int positional[MAX_ARGS], npositional; /* arguments that may stand without a name, in order */
    int format;                            /* offset of the attribute data_format; -1: none */
    int cast, initial;                     /* offsets of a dtype to cast to, and of initial; -1 */
    unsigned required;                     /* bits of attributes without a default */
} opbind;

static opbind *binds[TIDE_OP_COUNT];

static int private_name(const char *name) { return name[strlen(name) - 1] == '_'; }

/* Is it an attribute that only C sets? */
static int private_arg(const tide_arg *a) {
    return a->kind == TIDE_ARG_RNG || private_name(a->name);
}

static opbind *make_bind(const tide_op *op) {
    opbind *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->op = op;
    b->args = op->args();
    int in = 0, list = 0;
    b->format = b->cast = b->initial = -1;
    for (int i = 0; i < op->nargs; i++) {
        const tide_arg *a = &b->args[i];
        if (a->kind == TIDE_ARG_IN) b->slot[i] = in++;
        else if (a->kind == TIDE_ARG_INS) b->slot[i] = list++;
        if (private_arg(a)) continue;
        if (!strcmp(a->name, "data_format")) b->format = (int)a->offset;
        if (op->flags & TIDE_CASTS && a->kind == TIDE_ARG_DTYPE) b->cast = (int)a->offset;
        if (a->kind == TIDE_ARG_FLOAT && !strcmp(a->name, "initial")) b->initial = (int)a->offset;
        b->positional[b->npositional++] = i;
        if (a->kind > TIDE_ARG_INS && !strcmp(a->def, "!")) b->required |= 1u << i;
    }
    b->nargs = op->nargs;
    return b;
}

static opbind *bind_of(const tide_op *op) {
    static pthread_mutex_t lock =
        PTHREAD_MUTEX_INITIALIZER; /* several states may load the module at once */
    pthread_mutex_lock(&lock);
    if (!binds[op->id]) binds[op->id] = make_bind(op);
    opbind *b = binds[op->id];
    pthread_mutex_unlock(&lock);
    return b;
}

/* -- one call being decoded -- */

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

typedef struct {
    lua_State *L;
    opbind *b;
    unsigned char *attrs;
    tide_tensor *in[MAX_IN]; /* borrowed from the stack; read again behind the last allocation */
    int at[MAX_IN];          /* stack index of each input's handle; 0: none */
    int pending[MAX_IN];     /* stack index of a literal that waits for its dtype; 0: none */
    double number;           /* a number from the context's cache is input `cached` - 1 */
    int cached, number_dtype;
    int list[MAX_IN]; /* stack index of each list of tensors */
    const char *name_of[MAX_IN];
    unsigned given; /* bits of arguments */
} decoding;

static int is_symbolic(lua_State *L, int i) {
    if (lua_type(L, i) != LUA_TTABLE || !luaL_getmetafield(L, i, "__tide_op")) return 0;
    lua_pop(L, 1);
    return 1;
}

static void decode_enum(decoding *d, const tide_arg *a, int i) {
    lua_State *L = d->L;
    size_t n;
    const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &n) : NULL;
    int k = s ? enum_index(a->def, s, n) : -1;
    if (k < 0)
        tideL_error(L, d->b->op->name, "%s must be one of %s (got %s%s%s)", a->name, a->def,
                    s ? "\"" : "", s ? s : tideL_typename(L, i), s ? "\"" : "");
    *(int32_t *)(d->attrs + a->offset) = k;
}

static void decode_pairs(decoding *d, const tide_arg *a, int i) {
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

static void decode(decoding *d, int arg, int i) {
    lua_State *L = d->L;
    const tide_arg *a = &d->b->args[arg];
    const char *op = d->b->op->name;
    void *p = d->attrs + a->offset;
    d->given |= 1u << arg;
    if (a->kind == TIDE_ARG_IN) {
        tide_tensor *t = tideL_totensor(L, i);
        if (t) d->in[d->b->slot[arg]] = t, d->at[d->b->slot[arg]] = i;
        else if (tideL_isnone(L, i) && !(lua_type(L, i) == LUA_TBOOLEAN && a->need != OPTIONAL))
            d->in[d->b->slot[arg]] = NULL;
        else d->pending[d->b->slot[arg]] = i;
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
    case TIDE_ARG_FLOAT: {
        const double v = tideL_tofloat(L, i, op, a->name);
        *(double *)p = v == v ? v : TIDE_GIVEN_NAN;
        break;
    }
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
static int positional(const opbind *b, int k) { return k < b->npositional ? b->positional[k] : -1; }

static int takes_table(int kind) {
    return kind == TIDE_ARG_INS || kind == TIDE_ARG_AXES || kind == TIDE_ARG_INTS ||
        kind == TIDE_ARG_SHAPE || kind == TIDE_ARG_PAIRS || kind == TIDE_ARG_IN;
}

static void unknown_option(decoding *d, const char *key) {
    char known[400] = "";
    for (int i = 0; i < d->b->nargs; i++) {
        const char *name = d->b->args[i].name;
        size_t at = strlen(known);
        if (!private_arg(&d->b->args[i]))
            snprintf(known + at, sizeof known - at, at ? ", %s" : "%s", name);
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
            if (!private_arg(&d->b->args[i])) {
                lua_pushstring(L, d->b->args[i].name);
                lua_rawseti(L, -2, ++n);
            }
        lua_call(L, 2, 1);
        hint = lua_tostring(L, -1) ? lua_tostring(L, -1) : "";
    }
    tideL_error(L, d->b->op->name, "unknown option '%.60s'%s (expected %s)", key, hint, known);
}

/* Keras names some first arguments otherwise. */
static int other_name(const opbind *b, const char *key) {
    static const char *const names[][2] = {
        {"inputs", "x"}, {"variable", "x"}, {"x", "x1"}, {"y", "x2"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int k = 0; k < b->nargs && !strcmp(key, names[i][0]); k++)
            if (!strcmp(b->args[k].name, names[i][1])) return k;
    return -1;
}

/* The final table of named arguments, at index i; `next` is the next positional argument. */
static void decode_options(decoding *d, int i, int next) {
    lua_State *L = d->L;
    int64_t n = (int64_t)lua_rawlen(L, i);
    luaL_checkstack(L, 2 * MAX_ARGS, "tide");
    if (n > 0) {
        int arg = positional(d->b, next);
        int is_value =
            arg >= 0 && takes_table(d->b->args[arg].kind) && d->b->args[arg].kind != TIDE_ARG_IN;
        if (arg >= 0 && d->b->args[arg].kind == TIDE_ARG_IN) {
            lua_rawgeti(L, i, 1);
            is_value = !tideL_tohandle(L, -1) && !is_symbolic(L, -1);
            lua_pop(L, 1);
        }
        if (is_value) { /* the array part is the value of the next argument */
            lua_createtable(L, (int)n, 0);
            for (int64_t k = 1; k <= n; k++) {
                lua_rawgeti(L, i, k);
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
                tideL_error(L, d->b->op->name, "%s is given twice", d->b->args[arg].name);
            lua_insert(L, -2); /* value below its key: it stays on the stack, where the decoding
                                  refers to it */
            decode(d, arg, lua_gettop(L) - 1);
            luaL_checkstack(L, 8, "tide");
        } else {
            lua_pop(L, 1);
        }
    }
}

static int dispatch_symbolic(lua_State *L, const opbind *b, int symbol, int nargs) {
    int base = lua_gettop(L);
    luaL_checkstack(L, nargs + 4, "tide");
    luaL_getmetafield(L, symbol, "__tide_op");
    lua_pushstring(L, b->op->name);
    for (int i = 1; i <= nargs; i++) lua_pushvalue(L, i);
    lua_call(L, nargs + 1, LUA_MULTRET);
    return lua_gettop(L) - base;
}

/* Stack index of a symbolic argument, or of one inside a list or the named arguments (pushed); 0:
 * none. */
static int find_symbolic(lua_State *L, int nargs) {
    for (int i = 1; i <= nargs; i++) {
        if (lua_type(L, i) != LUA_TTABLE) continue;
        if (is_symbolic(L, i)) return i;
        lua_pushnil(L);
        while (lua_next(L, i)) {
            if (is_symbolic(L, -1)) {
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

/* Where literals belong: beside the first tensor of the call. NULL: there is none. */
static tide_device *device_beside(const decoding *d) {
    for (int k = 0; k < d->b->op->nin; k++)
        if (d->in[k] && tide_device_of(d->in[k])) return tide_device_of(d->in[k]);
    tide_device *dev = NULL;
    for (int k = 0; k < d->b->op->lists && !dev; k++)
        for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(d->L, d->list[k]); i <= n && !dev;
             i++) {
            lua_rawgeti(d->L, d->list[k], i);
            const tideL_handle *h = tideL_tohandle(d->L, -1);
            if (h && h->t) dev = tide_device_of(h->t);
            lua_pop(d->L, 1);
        }
    return dev;
}

/* Literals become tensors, one number may come from the context's cache. What is missing is
 * refused. */
static void finish_inputs(decoding *d) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    int like = -1,
        mask = 0; /* of the first tensor: its dtype, and whether it is a mask of several elements */
    for (int k = 0; k < op->nin && like < 0; k++)
        if (d->in[k]) {
            like = d->in[k]->dtype;
            mask = (op == &tide_op_where ||
                    (like == TIDE_BOOL && op->flags & TIDE_ELEMENTWISE &&
                     op->kind != TIDE_FLOAT_OP)) &&
                tide_numel(d->in[k]) != 1;
        }
    for (int k = 2; k > 0 && op == &tide_op_where; k--) /* numbers beside x1 or x2, not the mask */
        if (d->in[k]) like = d->in[k]->dtype;
    for (int arg = 0; arg < d->b->nargs; arg++) {
        const tide_arg *a = &d->b->args[arg];
        if (a->kind != TIDE_ARG_IN) continue;
        int k = d->b->slot[arg], at = d->pending[k];
        if (at) {
            int type = lua_type(L, at);
            if (type != LUA_TNUMBER && type != LUA_TBOOLEAN && type != LUA_TTABLE)
                tideL_error(L, op->name, "%s must be a tensor (got %s)", a->name,
                            tideL_typename(L, at));
            if (type == LUA_TBOOLEAN && mask && (op != &tide_op_where || k == 0))
                tideL_error(L, op->name,
                            "%s is a Lua boolean where a mask of several elements is due; compare "
                            "tensors with x:equal(y)",
                            a->name);
            const int turned = k == 0 && d->b->format >= 0; /* a handle will be needed */
            if (type == LUA_TNUMBER && !d->cached && !turned && !(op->whole >> k & 1) &&
                (like == TIDE_F32 || like == TIDE_F64)) {
                d->cached = k + 1; /* one only: the next one may push it out of the cache */
                d->number = lua_tonumber(L, at);
                d->number_dtype = like;
            } else {
                const int dtype = op->flags & TIDE_BITS ? TIDE_WHOLE_LITERAL : -1;
                const int whole = op->whole >> k & 1;
                d->in[k] = tideL_literal(L, at, whole ? TIDE_I64 : dtype, whole ? -1 : like,
                                         device_beside(d), op->name);
                d->at[k] = lua_gettop(L);
            }
        } else if (!d->in[k] && a->need != OPTIONAL) {
            tideL_error(L, op->name, "%s is missing (expected a tensor %s)", a->name, a->def);
        }
    }
}

/* The inputs of an op with lists: literals of theirs become tensors on the stack, whose indices
 * `at` keeps. */
static tide_tensor **make_lists(decoding *d, int *nin, int **at) {
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
    *nin = op->nin + op->lists * (int)n;
    tide_tensor **all = lua_newuserdatauv(L, (size_t)(*nin + 1) * (sizeof *all + sizeof **at), 0);
    *at = (int *)(all + *nin + 1);
    luaL_checkstack(L, op->lists * (int)n + 8, "tide");
    for (int k = 0; k < op->lists; k++)
        for (int i = 0; i < n; i++) {
            int type = lua_rawgeti(L, d->list[k], i + 1), *where = &(*at)[op->nin + k * (int)n + i];
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
    return all;
}

/* Behind the last allocation: finalizers may have released what was decoded. Nothing here allocates
 * Lua's memory. */
static void read_again(decoding *d, tide_ctx *ctx, int nin, tide_tensor **in, const int *at) {
    lua_State *L = d->L;
    const tide_op *op = d->b->op;
    for (int k = 0; k < op->nin; k++) in[k] = d->at[k] ? tideL_totensor(L, d->at[k]) : NULL;
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

/* x:reshape(3, 2): where one list is due, several numbers are a list that lacks its braces. */
static void too_many(lua_State *L, const opbind *b, int n) {
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

/* Pushes the tensor at `at` with its channels, axis 1, put last, or back. */
static void turn(lua_State *L, const char *op, int at, int to_last) {
    tideL_handle *h = tideL_new(L);
    tide_tensor *x = tideL_checktensor(L, at, op);
    tide_transpose_attrs a = *TIDE_ATTRS(transpose, .axes.n = x->rank);
    for (int i = 0; i < x->rank; i++) a.axes.v[i] = i;
    for (int i = 1; i < x->rank; i++)
        a.axes.v[i] = to_last ? (i == x->rank - 1 ? 1 : i + 1) : (i == 1 ? x->rank - 1 : i - 1);
    tideL_try(L, x->ctx, tide_apply(x->ctx, &tide_op_transpose, &a, 1, &x, &h->t));
}

/* x in another dtype in its handle's place. */
static void recast(lua_State *L, tideL_handle *h, int dtype) {
    tide_tensor *y = NULL, *x = h->t;
    if (x->dtype == dtype) return;
    const tide_cast_attrs a = *TIDE_ATTRS(cast, .dtype = dtype);
    tideL_try(L, x->ctx, tide_apply(x->ctx, &tide_op_cast, &a, 1, &x, &y));
    h->t = y;
    tide_release(x);
}

/* The larger or smaller of a result and `initial`, in the result's handle. */
static void meet_initial(lua_State *L, tideL_handle *h, double initial, int largest) {
    tide_tensor *pair[2] = {h->t}, *y = NULL;
    tide_ctx *ctx = pair[0]->ctx;
    const tide_fill__attrs a =
        *TIDE_ATTRS(fill_, .shape.n = 0, .value = initial, .dtype = pair[0]->dtype);
    if (isnan(initial) && !tide_is_float(a.dtype))
        tideL_error(L, largest ? "max" : "min", "initial is NaN, which no %s is",
                    tide_dtype_name(a.dtype));
    tideL_handle *second = tideL_newpin(L);
    tide_device *was = tide_default_device(ctx, tide_device_of(h->t));
    const tide_status st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, &second->t);
    tide_default_device(ctx, was);
    tideL_try(L, ctx, st);
    pair[1] = second->t;
    const tide_op *op = largest ? &tide_op_maximum : &tide_op_minimum;
    tideL_try(L, ctx, tide_apply(ctx, op, tide_default_attrs(op), 2, pair, &y));
    h->t = y;
    tide_release(pair[0]);
}

/* upvalues: 1 the opbind, 2 the userdata with the context, 3 names -> argument numbers, 4 whether
 * it is a tensor's method */
static int call(lua_State *L) {
    opbind *b = lua_touserdata(L, lua_upvalueindex(1));
    const tide_op *op = b->op;
    int nargs = lua_gettop(L);
    while (nargs > 1 && lua_isnil(L, nargs)) nargs--; /* a trailing nil is no argument */
    lua_settop(L, nargs);
    int n = nargs;
    _Alignas(16) unsigned char attrs[MAX_ATTRS];
    memcpy(attrs, tide_default_attrs(op), op->attrs_size);
    decoding d = {.L = L, .b = b, .attrs = attrs};
    for (int i = 1; i <= nargs; i++)
        if (lua_type(L, i) == LUA_TTABLE) {
            int s = find_symbolic(L, nargs);
            if (s) return dispatch_symbolic(L, b, s, nargs);
            break;
        }
    if (lua_toboolean(L, lua_upvalueindex(4)) && !tideL_tohandle(L, 1))
        tideL_error(
            L, op->name,
            "is a method and needs its tensor first (got %s): write x:%s(...), with a colon",
            tideL_typename(L, 1), op->name);
    int options = 0;
    if (n > 0 && lua_type(L, n) == LUA_TTABLE && !lua_getmetatable(L, n)) {
        if (tideL_has_string_key(L, n) ||
            (lua_rawlen(L, n) == 0 &&
             !(positional(b, n - 1) >= 0 && b->args[positional(b, n - 1)].kind != TIDE_ARG_IN &&
               takes_table(b->args[positional(b, n - 1)].kind))))
            options = n--;
    } else if (n > 0 && lua_type(L, n) == LUA_TTABLE) {
        lua_pop(L, 1);
    }
    for (int k = 0; k < n; k++) {
        int arg = positional(b, k);
        if (arg < 0) too_many(L, b, n);
        if (lua_type(L, k + 1) != LUA_TNIL) decode(&d, arg, k + 1);
    }
    if (options) decode_options(&d, options, n);
    finish_inputs(&d);
    unsigned missing = b->required & ~d.given;
    if (missing) {
        const tide_arg *a = &b->args[__builtin_ctz(missing)];
        tideL_error(L, op->name, "%s is missing%s%s%s", a->name, *a->doc ? " (" : "", a->doc,
                    *a->doc ? ")" : "");
    }
    int nin = op->nin;
    tide_tensor **in = d.in;
    int *at = NULL;
    if (op->lists) in = make_lists(&d, &nin, &at);
    tide_ctx *ctx = *(tide_ctx **)lua_touserdata(L, lua_upvalueindex(2));
    if (!ctx) tideL_error(L, op->name, "the Lua state is being closed");
    int first =
        b->format >= 0 && *(int32_t *)(attrs + b->format); /* the core knows channels last only */
    if (first) {
        *(int32_t *)(attrs + b->format) = 0;
        turn(L, op->name, d.at[0], 1);
        d.at[0] = lua_gettop(L);
    }
    const int dtype = b->cast < 0 ? -1 : *(int32_t *)(attrs + b->cast);
    if (dtype >= 0) {
        tideL_handle *cast = tideL_newpin(L);
        cast->t = tide_retain(tideL_totensor(L, d.at[0]));
        d.at[0] = lua_gettop(L);
        recast(L, cast, dtype);
    }
    tideL_pace(L, ctx);
    tide_tensor *out[MAX_OUT];
    luaL_checkstack(L, MAX_OUT + 4, "tide");
    tideL_handle *h[MAX_OUT];
    for (int i = 0; i < op->nout; i++) h[i] = tideL_new(L); /* the handles first */
    int top = lua_gettop(L);
    read_again(&d, ctx, nin, in, at);
    void *was = ctx->running;
    ctx->running = L;
    tide_status st = tide_apply(ctx, op, attrs, nin, in, out);
    ctx->running = was; /* a coroutine may be gone when the next op is recorded */
    tideL_try_named(L, ctx, op->name, st);
    for (int i = 0; i < op->nout; i++) h[i]->t = out[i];
    for (int i = 0; i < op->nout; i++) tideL_try(L, ctx, tide_settle(ctx, &h[i]->t));
    if (dtype >= 0) recast(L, h[0], dtype);
    if (b->initial >= 0) {
        const double initial = *(double *)(attrs + b->initial);
        if (tide_given(initial)) meet_initial(L, h[0], initial, op == &tide_op_max);
        lua_settop(L, top);
    }
    for (int i = 0; i < op->nout; i++) out[i] = h[i]->t;
    if (first) {
        turn(L, op->name, top, 0);
        return 1;
    }
    for (int i = 0; i < op->nout; i++)
        if (out[i]->rank == 0 && !tide_is_float(out[i]->dtype)) {
            tideL_push_item(L, out[i], 0);
            h[i]->t = NULL;
            tide_release(out[i]);
            lua_replace(L, top - op->nout + 1 + i);
        }
    return op->nout;
}

static void push_call(lua_State *L, const tide_op *op, int method) {
    opbind *b = bind_of(op);
    if (!b) luaL_error(L, "tide: not enough memory");
    lua_pushlightuserdata(L, b);
    tideL_push_ctx(L);
    lua_createtable(L, 0, b->nargs);
    for (int i = 0; i < b->nargs; i++) {
        if (private_arg(&b->args[i])) continue;
        lua_pushinteger(L, i);
        lua_setfield(L, -2, b->args[i].name);
    }
    lua_pushboolean(L, method);
    lua_pushcclosure(L, call, 4);
}

/* -- what help, specs and completion read -- */

static const char *const kind_names[] = {"tensor", "tensors", "int",  "float", "bool",
                                         "enum",   "dtype",   "axis", "axes",  "ints",
                                         "shape",  "pairs",   "text", "rng",   "numbers"};

/* core.op_info(name): { name, doc, kind, args = { { name, kind, required, default, doc } },
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
    lua_pushboolean(L, op->flags & TIDE_INTERNAL || private_name(op->name)),
        lua_setfield(L, -2, "private");
    lua_pushboolean(L, op->compose != NULL && op->kind != TIDE_COMPOSE_OP),
        lua_setfield(L, -2, "fused");
    lua_newtable(L);
    const tide_arg *a = op->args();
    for (int i = 0, n = 0; i < op->nargs; i++) {
        if (private_arg(&a[i])) continue;
        lua_newtable(L);
        lua_pushstring(L, a[i].name), lua_setfield(L, -2, "name");
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
        if (private_name(op->name) || op->nargs == 0 || op->args()[0].kind != TIDE_ARG_IN) continue;
        push_call(L, op, 1);
        lua_setfield(L, -3, op->name);
    }
    lua_setfield(L, -4, "ops");
    lua_setfield(L, -2, "methods");
    lua_pop(L, 1);
    lua_pushcfunction(L, op_info), lua_setfield(L, -2, "op_info");
    lua_pushcfunction(L, op_names), lua_setfield(L, -2, "op_names");
}
