/* Small steps that several families' rules and compositions take. */
#ifndef TIDE_OPS_HELPERS_H
#define TIDE_OPS_HELPERS_H

#include "../op.h"

#include <math.h>

/* A number beside x, float32 where x holds integers. */
static inline tide_tensor *number(tide_tape *t, double v, const tide_tensor *x) {
    if (!x) return NULL;
    return tide_t(t, OP(fill_, .shape = {.n = 0}, .value = v, .dtype = tide_is_float(x->dtype) ? x->dtype : TIDE_F32));
}
static inline tide_tensor *times(tide_tape *t, tide_tensor *x, double v) { return tide_t(t, OP(multiply), x, number(t, v, x)); }
static inline tide_tensor *plus(tide_tape *t, tide_tensor *x, double v) { return tide_t(t, OP(add), x, number(t, v, x)); }

/* Mean over axes, which stay as length 1; integers become float32. */
static inline tide_tensor *mean_of(tide_tape *t, tide_tensor *x, tide_ints axes) {
    if (tide_t_failed(t) || !x) return NULL;
    double n = 1;
    for (int64_t i = 0; i < axes.n; i++) n *= (double)x->shape[axes.v[i]];
    tide_tensor *s = tide_t(t, OP(sum, .axis = axes, .keepdims = 1), x);
    return tide_t(t, OP(divide), s, number(t, n, x));
}

#endif
