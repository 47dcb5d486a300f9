/* Softmax, log-softmax, sparsemax. The gradient ops have rules of their own, so derivatives of any
 * order exist. */
#include "helpers.h"

static tide_ints one_axis(int64_t axis) { return (tide_ints){.n = 1, .v = {axis}}; }
static tide_tensor *sum_along(tide_tape *t, tide_tensor *x, int64_t axis) {
    return tide_t(t, OP(sum, .axis = one_axis(axis), .keepdims = 1), x);
}

/* Over one axis or several, which then stand last and are one for the op that knows one axis. */
static tide_status over_infer(tide_call *c) {
    tide_softmax_attrs *a = c->attrs; /* log_softmax's are the same */
    TIDE_TRY(tide_axes(c, &a->axis, c->in[0]->rank));
    return a->axis.n > 0 ? TIDE_OK : tide_op_fail(c, TIDE_EARG, "needs at least one axis");
}
static tide_tensor *over(tide_tape *t, int op, tide_tensor *x, const tide_ints *axes) {
    if (axes->n == 1) return tide_t(t, op, TIDE_ATTRS(softmax_, .axis = axes->v[0]), x);
    tide_ints order = {.n = x->rank}, back = {.n = x->rank}, moved = {.n = x->rank}, flat = {0};
    unsigned joined = 0;
    int64_t k = 0, size = 1;
    for (int64_t i = 0; i < axes->n; i++) joined |= 1u << axes->v[i], size *= x->shape[axes->v[i]];
    for (unsigned pass = 0; pass < 2; pass++)
        for (int i = 0; i < x->rank; i++)
            if ((joined >> i & 1) == pass) order.v[k++] = i;
    for (int i = 0; i < x->rank; i++) {
        back.v[order.v[i]] = i, moved.v[i] = x->shape[order.v[i]];
        if (i < x->rank - axes->n) flat.v[flat.n++] = moved.v[i];
    }
    flat.v[flat.n++] = size;
    x = tide_t(t, OP(reshape, .newshape = flat), tide_t(t, OP(transpose, .axes = order), x));
    x = tide_t(t, op, TIDE_ATTRS(softmax_, .axis = flat.n - 1), x);
    return tide_t(t, OP(transpose, .axes = back), tide_t(t, OP(reshape, .newshape = moved), x));
}

static void softmax_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    (void)nin;
    out[0] = over(t, TIDE_OP_softmax_, in[0], &((const tide_softmax_attrs *)attrs)->axis);
}
TIDE_DESCRIBE(softmax, .infer = over_infer, .compose = softmax_compose);
static void log_softmax_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                tide_tensor **out) {
    (void)nin;
    out[0] = over(t, TIDE_OP_log_softmax_, in[0], &((const tide_log_softmax_attrs *)attrs)->axis);
}
TIDE_DESCRIBE(log_softmax, .infer = over_infer, .compose = log_softmax_compose);

static tide_status softmax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_softmax__attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
static void softmax_grad(tide_tape *t, const tide_node *n) {
    const tide_softmax__attrs *a = (const void *)n->attrs;
    tide_t_give(t, 0,
                tide_t(t, OP(softmax_grad_, .axis = a->axis), tide_t_dy(t, 0), tide_t_out(t, 0)));
}
TIDE_DESCRIBE(softmax_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = softmax_infer, .grad = softmax_grad, .saves = TIDE_SAVE_OUT(0));

/* dx = y (dy - s), s = sum dy y. Given g: to dy y (g - sum g y), to y g (dy - s) - dy sum g y. */
static void softmax_grad_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_softmax_grad__attrs *)(const void *)n->attrs)->axis;
    tide_tensor *g = tide_t_wide(t, tide_t_dy(t, 0)), *dy = tide_t_wide(t, tide_t_in(t, 0)),
                *y = tide_t_wide(t, tide_t_in(t, 1));
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, tide_t(t, OP(softmax_grad_, .axis = axis), g, y));
    if (tide_t_needs(t, 1)) {
        tide_tensor *s = sum_along(t, tide_t(t, OP(multiply), dy, y), axis),
                    *r = sum_along(t, tide_t(t, OP(multiply), g, y), axis);
        tide_tensor *first = tide_t(t, OP(multiply), g, tide_t(t, OP(subtract), dy, s));
        tide_t_give(t, 1, tide_t(t, OP(subtract), first, tide_t(t, OP(multiply), dy, r)));
    }
}
TIDE_DESCRIBE(softmax_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = tide_infer_same, .grad = softmax_grad_grad,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

static tide_status log_softmax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_log_softmax__attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
static void log_softmax_grad(tide_tape *t, const tide_node *n) {
    const tide_log_softmax__attrs *a = (const void *)n->attrs;
    tide_t_give(
        t, 0, tide_t(t, OP(log_softmax_grad_, .axis = a->axis), tide_t_dy(t, 0), tide_t_out(t, 0)));
}
TIDE_DESCRIBE(log_softmax_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = log_softmax_infer, .grad = log_softmax_grad, .saves = TIDE_SAVE_OUT(0));

/* dx = dy - p s, p = exp(y), s = sum dy. Given g: to dy g - sum g p, to y -g p s. */
static void log_softmax_grad_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_log_softmax_grad__attrs *)(const void *)n->attrs)->axis;
    tide_tensor *g = tide_t_wide(t, tide_t_dy(t, 0)), *dy = tide_t_wide(t, tide_t_in(t, 0)),
                *y = tide_t_wide(t, tide_t_in(t, 1)),
                *gp = tide_t(t, OP(multiply), g, tide_t(t, OP(exp), y));
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, tide_t(t, OP(subtract), g, sum_along(t, gp, axis)));
    if (tide_t_needs(t, 1))
        tide_t_give(t, 1,
                    tide_t(t, OP(negative), tide_t(t, OP(multiply), gp, sum_along(t, dy, axis))));
}
TIDE_DESCRIBE(log_softmax_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = tide_infer_same, .grad = log_softmax_grad_grad,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

static tide_status sparsemax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_sparsemax_attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
/* dx = s (dy - sum(s dy) / sum(s)), s the support: 1 where y > 0 */
static void sparsemax_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_sparsemax_attrs *)(const void *)n->attrs)->axis;
    tide_tensor *y = tide_t_wide(t, tide_t_out(t, 0)), *dy = tide_t_wide(t, tide_t_dy(t, 0));
    if (tide_t_failed(t)) return;
    tide_tensor *s =
        tide_t(t, OP(cast, .dtype = y->dtype), tide_t(t, OP(greater), y, number(t, 0, y)));
    tide_tensor *sdy = tide_t(t, OP(multiply), s, dy);
    tide_tensor *mean = tide_t(t, OP(divide), sum_along(t, sdy, axis), sum_along(t, s, axis));
    tide_t_give(t, 0, tide_t(t, OP(subtract), sdy, tide_t(t, OP(multiply), s, mean)));
}
TIDE_DESCRIBE(sparsemax, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = sparsemax_infer,
              .grad = sparsemax_grad, .saves = TIDE_SAVE_OUT(0));
