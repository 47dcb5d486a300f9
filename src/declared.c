/* What an op's entry declares and tide_apply sees to, for every caller and for every op that
 * declares it: channels that stand first (data_format), a dtype to work in (dtype, where the op has
 * the flag TIDE_CASTS), a value that counts as one more element (initial).
 *
 * Invariant: rules and kernels know channels last, the dtype of x, and the elements of x. Of these
 * attributes `infer` reads whether there is an initial value, since it makes up for elements. */
#include "op.h"

#include <stdio.h>
#include <string.h>

/* Where the attributes lie, from 1; 0: the op declares none. */
static struct { uint16_t format, dtype, initial; } place[TIDE_OP_COUNT];

void tide_declared_fill(const tide_op *op) {
    const tide_arg *a = op->args();
    for (int i = 0; i < op->nargs; i++) {
        const uint16_t at = (uint16_t)(a[i].offset + 1);
        if (a[i].kind == TIDE_ARG_ENUM && !strcmp(a[i].name, "data_format"))
            place[op->id].format = at;
        if (a[i].kind == TIDE_ARG_DTYPE && op->flags & TIDE_CASTS) place[op->id].dtype = at;
        if (a[i].kind == TIDE_ARG_VALUE && op->joins) place[op->id].initial = at;
    }
}

/* The attribute at `from`; NULL: the op has none. */
static const int32_t *word(const void *attrs, uint16_t from) {
    return from ? (const void *)((const char *)attrs + from - 1) : NULL;
}
static const tide_value *value(const void *attrs, uint16_t from) {
    return from ? (const void *)((const char *)attrs + from - 1) : NULL;
}

int tide_declares(const tide_op *op) {
    return place[op->id].format || place[op->id].dtype || place[op->id].initial;
}

int tide_asks(const tide_op *op, const void *attrs) {
    const int32_t *format = word(attrs, place[op->id].format),
                  *dtype = word(attrs, place[op->id].dtype);
    const tide_value *initial = value(attrs, place[op->id].initial);
    return (format && *format == TIDE_CHANNELS_channels_first) || (dtype && *dtype >= 0) ||
        (initial && initial->is);
}

/* What an op makes of the tensor, in its place. */
static tide_status become(tide_ctx *ctx, tide_tensor **x, const tide_op *op, const void *attrs) {
    tide_tensor *was = *x;
    const tide_status st = tide_apply(ctx, op, attrs, 1, &was, x);
    tide_release(was);
    return st;
}

static tide_status channels_last(tide_ctx *ctx, tide_tensor **x) {
    const int n = (*x)->rank;
    tide_transpose_attrs a = *TIDE_ATTRS(transpose, .axes.n = n);
    for (int i = 1; i < n; i++) a.axes.v[i] = i == n - 1 ? 1 : i + 1;
    return become(ctx, x, &tide_op_transpose, &a);
}

static tide_status channels_first(tide_ctx *ctx, tide_tensor **y) {
    const int n = (*y)->rank;
    tide_transpose_attrs a = *TIDE_ATTRS(transpose, .axes.n = n);
    for (int i = 1; i < n; i++) a.axes.v[i] = i == 1 ? n - 1 : i - 1;
    return become(ctx, y, &tide_op_transpose, &a);
}

static tide_status in_dtype(tide_ctx *ctx, tide_tensor **x, int dtype) {
    return (*x)->dtype == dtype ? TIDE_OK
                                : become(ctx, x, &tide_op_cast, TIDE_ATTRS(cast, .dtype = dtype));
}

/* An initial value must be one of the dtype: 2.5, 2^40 and NaN are no int32. */
static tide_status check_value(tide_ctx *ctx, const tide_op *op, const tide_value *v, int dtype) {
    if (tide_is_float(dtype)) return TIDE_OK;
    uint64_t there = 0;
    tide_value back = {.is = v->is};
    tide_value_as(v, dtype, &there);
    tide_convert(dtype, v->is == TIDE_VALUE_WHOLE ? TIDE_I64 : TIDE_F64, 1, &there, &back.whole);
    if (v->is == TIDE_VALUE_WHOLE ? back.whole == v->whole /* 2^63 - 1 as a double is 2^63 */
                                  : back.real == v->real && v->real < 0x1p63)
        return TIDE_OK;
    char text[40];
    if (v->is == TIDE_VALUE_WHOLE) snprintf(text, sizeof text, "%lld", (long long)v->whole);
    else if (v->real != v->real) snprintf(text, sizeof text, "NaN");
    else snprintf(text, sizeof text, "%.14g", v->real);
    return tide_fail(ctx, TIDE_EDTYPE, "%s: initial is %s, which no %s is", op->name, text,
                     tide_dtype_name(dtype));
}

/* The result and the value, as a number that is on every device, joined. */
static tide_status join(tide_ctx *ctx, const tide_op *op, const tide_value *v, tide_tensor **y) {
    tide_tensor *pair[2] = {*y}, *both = NULL;
    tide_status st = check_value(ctx, op, v, (*y)->dtype);
    if (st == TIDE_OK) st = tide_number_of(ctx, v, (*y)->dtype, &pair[1]);
    if (st == TIDE_OK)
        st = tide_apply(ctx, op->joins, tide_default_attrs(op->joins), 2, pair, &both);
    tide_release(pair[1]);
    tide_release(*y);
    *y = both;
    return st;
}

/* The message is about channels last, which is not what was given: it says so. */
static void say_turned(tide_ctx *ctx, tide_status st, const tide_tensor *given) {
    char was[TIDE_MESSAGE];
    snprintf(was, sizeof was, "%.900s", ctx->message);
    tide_fail(ctx, st, "%s; shapes here have channels last (x is given as %s, channels first)", was,
              TIDE_SHAPE_OF(given));
}

tide_status tide_apply_asked(tide_ctx *ctx, const tide_op *op, const void *attrs, int nlist,
                             int nin, tide_tensor **in, tide_tensor **out) {
    _Alignas(16) unsigned char a[TIDE_MAX_ATTRS];
    memcpy(a, attrs, op->attrs_size);
    int32_t *format = (int32_t *)(uintptr_t)word(a, place[op->id].format),
            *dtype = (int32_t *)(uintptr_t)word(a, place[op->id].dtype);
    const tide_value *initial = value(a, place[op->id].initial);
    const int first = format && *format == TIDE_CHANNELS_channels_first,
              casts = dtype && *dtype >= 0 ? *dtype : -1;
    if (first) *format = TIDE_CHANNELS_channels_last;
    if (casts >= 0) *dtype = -1;

    tide_tensor *use[TIDE_MAX_IN] = {tide_retain(in[0])}, **x = &use[0], **y = &out[0];
    for (int i = 1; i < nin; i++) use[i] = in[i];
    tide_status st = first ? channels_last(ctx, x) : TIDE_OK;
    if (st == TIDE_OK && casts >= 0) st = in_dtype(ctx, x, casts);
    if (st == TIDE_OK) {
        st = tide_apply_bare(ctx, op, a, nlist, nin, use, out);
        if (first && st == TIDE_ESHAPE) say_turned(ctx, st, in[0]);
    }
    tide_release(*x);
    if (st == TIDE_OK && casts >= 0) st = in_dtype(ctx, y, casts);
    if (st == TIDE_OK && initial && initial->is) st = join(ctx, op, initial, y);
    if (st == TIDE_OK && first) st = channels_first(ctx, y);
    return st;
}
