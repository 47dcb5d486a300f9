/* Rules of shapes and dtypes that all families share. Pure: no memory, no kernels. */
#include "op.h"
#include "point.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *tide_dtype_name(int d) {
    static const char *const names[] = {
#define X(id, name, ctype, size, cls) name,
        TIDE_DTYPES(X)
#undef X
    };
    return d >= 0 && d < TIDE_DTYPE_COUNT ? names[d] : "?";
}

const char *tide_shape_str(int rank, const int64_t *shape, char *buf, size_t n) {
    size_t at = (size_t)snprintf(buf, n, "[");
    for (int i = 0; i < rank && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, i ? ", %ld" : "%ld", (long)shape[i]);
    if (at < n) snprintf(buf + at, n - at, "]");
    return buf;
}

tide_status tide_op_fail(tide_call *c, tide_status status, const char *fmt, ...) {
    char what[TIDE_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    tide_point point = tide_point_begin();
    vsnprintf(what, sizeof what, fmt, ap);
    tide_point_end(point);
    va_end(ap);
    return tide_fail(c->ctx, status, "%s: %.900s", c->op->name, what);
}

tide_status tide_axis(tide_call *c, int64_t *axis, int rank) {
    if (rank == 0)
        return tide_op_fail(c, TIDE_EARG, "no axis %ld in a tensor without axes",
                            (long)(*axis < 0 ? *axis : *axis + 1));
    if (*axis < -(int64_t)rank || *axis >= rank)
        return tide_op_fail(
            c, TIDE_EARG,
            "no axis %ld in a tensor of %d axes (expected 1..%d, or -1..%d from the end)",
            (long)(*axis < 0 ? *axis : *axis + 1), rank, rank, -rank);
    if (*axis < 0) *axis += rank;
    return TIDE_OK;
}

tide_status tide_axes(tide_call *c, tide_ints *axes, int rank) {
    unsigned seen = 0;
    for (int64_t i = 0; i < axes->n; i++) {
        TIDE_TRY(tide_axis(c, &axes->v[i], rank));
        if (seen >> axes->v[i] & 1)
            return tide_op_fail(c, TIDE_EARG, "axis %ld is named twice", (long)axes->v[i] + 1);
        seen |= 1u << axes->v[i];
    }
    return TIDE_OK;
}

tide_status tide_numel_of(tide_call *c, int rank, const int64_t *shape, int64_t *out) {
    int64_t n = 1;
    int empty = 0;
    char buf[160];
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return tide_op_fail(c, TIDE_ESHAPE, "shape %s has a negative extent",
                                tide_shape_str(rank, shape, buf, sizeof buf));
        if (shape[i] == 0) empty = 1; /* the other extents still make strides */
        else if (__builtin_mul_overflow(n, shape[i], &n) || n > TIDE_MAX_NUMEL)
            return tide_op_fail(c, TIDE_ESHAPE, "shape %s has too many elements",
                                tide_shape_str(rank, shape, buf, sizeof buf));
    }
    *out = empty ? 0 : n;
    return TIDE_OK;
}

/* Whether all have the first one's shape, as most operands do. */
static int are_alike(int n, tide_tensor *const *in) {
    for (int k = 1; k < n; k++) {
        if (!in[0] || !in[k] || in[k]->rank != in[0]->rank) return 0;
        if (memcmp(in[k]->shape, in[0]->shape, sizeof in[0]->shape) != 0) return 0;
    }
    return n > 0 && in[0];
}

tide_status tide_broadcast(tide_call *c, int n, tide_tensor **in, tide_meta *out) {
    int rank = 0;
    if (are_alike(n, in)) {
        out->rank = in[0]->rank;
        memcpy(out->shape, in[0]->shape, sizeof out->shape);
        return TIDE_OK;
    }
    for (int k = 0; k < n; k++)
        if (in[k] && in[k]->rank > rank) rank = in[k]->rank;
    out->rank = (uint8_t)rank;
    for (int i = 0; i < rank; i++) out->shape[i] = 1;
    for (int k = 0; k < n; k++) {
        if (!in[k]) continue;
        for (int i = 0; i < in[k]->rank; i++) {
            int64_t *o = &out->shape[rank - in[k]->rank + i], d = in[k]->shape[i];
            if (*o == 1) {
                *o = d;
            } else if (d != 1 && d != *o) {
                char all[400] = "", one[160];
                for (int j = 0; j < n; j++)
                    if (in[j]) {
                        size_t at = strlen(all);
                        snprintf(all + at, sizeof all - at, "%s%s", at ? " and " : "",
                                 tide_shape_str(in[j]->rank, in[j]->shape, one, sizeof one));
                    }
                return tide_op_fail(c, TIDE_ESHAPE,
                                    "shapes %s do not broadcast (extents %ld and %ld meet)", all,
                                    (long)*o, (long)d);
            }
        }
    }
    return TIDE_OK;
}

/* Keras' promotion: bool < u8, i8 < i32 < i64 < floats; u8 with i8 gives... the next signed type
 * that holds both. */
int tide_promote(int a, int b) {
    static const int8_t order[] = {
        [TIDE_BOOL] = 0, [TIDE_U8] = 1, [TIDE_I8] = 1, [TIDE_I32] = 2, [TIDE_I64] = 3};
    if (a == b) return a;
    int fa = tide_is_float(a), fb = tide_is_float(b);
    if (fa && fb) return -1;
    if (fa) return a;
    if (fb) return b;
    if (order[a] == 1 && order[b] == 1)
        return TIDE_I32; /* Keras: int16, which Tide does not have */
    return order[a] > order[b] ? a : b;
}

tide_status tide_infer_same(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[0]);
    return TIDE_OK;
}
