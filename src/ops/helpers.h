/* Small steps that several families' rules and compositions take. */
#ifndef TIDE_OPS_HELPERS_H
#define TIDE_OPS_HELPERS_H

#include "../op.h"

#include <math.h>

/* `a`: the attributes of the node whose rule this is. */
#define ATTRS(name) const tide_##name##_attrs *a = (const void *)n->attrs

static inline tide_ints shape_of(const tide_meta *m) {
    tide_ints s = {.n = m->rank};
    for (int i = 0; i < m->rank; i++) s.v[i] = m->shape[i];
    return s;
}

/* For `infer`: one result of this shape, which is checked. */
static inline tide_status result_of(tide_call *c, const tide_ints *shape, int dtype) {
    int64_t total;
    c->meta[0] = (tide_meta){.rank = (uint8_t)shape->n, .dtype = (uint8_t)dtype};
    for (int64_t i = 0; i < shape->n; i++) c->meta[0].shape[i] = shape->v[i];
    return tide_numel_of(c, (int)shape->n, shape->v, &total);
}

/* What a length from 1 to INT32_MAX that is `v` should be, for the message. */
static inline const char *bound_of(int64_t v) { return v < 1 ? "1 or more" : "2147483647 or less"; }

static inline tide_tensor *shaped(tide_tape *t, tide_tensor *x, int n, const int64_t *shape) {
    if (!x) return NULL;
    tide_reshape_attrs a = *TIDE_ATTRS(reshape, .newshape.n = n);
    for (int i = 0; i < n; i++) a.newshape.v[i] = shape[i];
    return tide_t(t, TIDE_OP_reshape, &a, x);
}

/* A number beside x, float32 where x holds integers. */
static inline tide_tensor *number(tide_tape *t, double v, const tide_tensor *x) {
    return x ? tide_t_number(t, v, tide_is_float(x->dtype) ? x->dtype : TIDE_F32) : NULL;
}
/* The stream of an op with a seed; see random.c. */
static inline void own_stream(int64_t seed, tide_rng *rng) {
    if (seed != TIDE_NONE) *rng = (tide_rng){.seed = (uint64_t)seed, .stream = 1, .offset = 0};
}

static inline tide_tensor *times(tide_tape *t, tide_tensor *x, double v) {
    return tide_t(t, OP(multiply), x, number(t, v, x));
}
static inline tide_tensor *plus(tide_tape *t, tide_tensor *x, double v) {
    return tide_t(t, OP(add), x, number(t, v, x));
}

/* x as a composition sums it: integers in float32. */
static inline tide_tensor *widened(tide_tape *t, tide_tensor *x) {
    return !x || tide_is_float(x->dtype) ? x : tide_t(t, OP(cast, .dtype = TIDE_F32), x);
}

/* What was computed in float32, in the dtype of a half. */
static inline tide_tensor *narrowed(tide_tape *t, tide_tensor *x, int dtype) {
    return x && x->dtype != dtype ? tide_t(t, OP(cast, .dtype = dtype), x) : x;
}

/* Mean over axes, which stay as length 1; integers become float32. */
static inline tide_tensor *mean_of(tide_tape *t, tide_tensor *x, tide_ints axes) {
    if (tide_t_failed(t) || !x) return NULL;
    double n = 1;
    for (int64_t i = 0; i < axes.n; i++) n *= (double)x->shape[axes.v[i]];
    tide_tensor *s = tide_t(t, OP(sum, .axis = axes, .keepdims = 1), x);
    return tide_t(t, OP(divide), s, number(t, n, x));
}

/* The longest axis that a reduction leaves, -1 where it leaves none; *to: the result's. */
static inline int axis_left(const tide_tensor *x, const tide_ints *gone, int keepdims, int *to) {
    unsigned is = gone->n < 0 ? ~0u : 0;
    int best = -1, left = 0;
    for (int64_t i = 0; i < gone->n; i++) is |= 1u << gone->v[i];
    for (int i = 0; i < x->rank; i++) {
        if (is >> i & 1) continue;
        if (best < 0 || x->shape[i] > x->shape[best]) best = i, *to = keepdims ? i : left;
        left++;
    }
    return best;
}

/* The largest elements over axes, which stay as length 1; -inf where there is none. */
static inline tide_tensor *largest_of(tide_tape *t, tide_tensor *x, tide_ints axes) {
    if (!x) return NULL;
    return tide_numel(x)
        ? tide_t(t, OP(max, .axis = axes, .keepdims = 1), x)
        : tide_t(t, OP(max, .axis = axes, .keepdims = 1, .initial = TIDE_REAL(-INFINITY)), x);
}

#endif
