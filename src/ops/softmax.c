/* Softmax, log-softmax, sparsemax. The gradient ops have rules of their own, so derivatives of any
 * order exist. */
#include "helpers.h"

static tide_ints one_axis(int64_t axis) { return (tide_ints){.n = 1, .v = {axis}}; }
static tide_tensor *sum_along(tide_tape *t, tide_tensor *x, int64_t axis) {
    return tide_t(t, OP(sum, .axis = one_axis(axis), .keepdims = 1), x);
}

static tide_status softmax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_softmax_attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
static void softmax_grad(tide_tape *t, const tide_node *n) {
    const tide_softmax_attrs *a = (const void *)n->attrs;
    tide_t_give(t, 0,
                tide_t(t, OP(softmax_grad_, .axis = a->axis), tide_t_dy(t, 0), tide_t_out(t, 0)));
}
TIDE_DESCRIBE(softmax, .flags = TIDE_CONTIGUOUS, .infer = softmax_infer, .grad = softmax_grad,
              .saves = TIDE_SAVE_OUT(0));

/* dx = y (dy - s), s = sum dy y. Given g: to dy y (g - sum g y), to y g (dy - s) - dy sum g y. */
static void softmax_grad_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_softmax_grad__attrs *)(const void *)n->attrs)->axis;
    tide_tensor *g = tide_t_dy(t, 0), *dy = tide_t_in(t, 0), *y = tide_t_in(t, 1);
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, tide_t(t, OP(softmax_grad_, .axis = axis), g, y));
    if (tide_t_needs(t, 1)) {
        tide_tensor *s = sum_along(t, tide_t(t, OP(multiply), dy, y), axis),
                    *r = sum_along(t, tide_t(t, OP(multiply), g, y), axis);
        tide_tensor *first = tide_t(t, OP(multiply), g, tide_t(t, OP(subtract), dy, s));
        tide_t_give(t, 1, tide_t(t, OP(subtract), first, tide_t(t, OP(multiply), dy, r)));
    }
}
TIDE_DESCRIBE(softmax_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = tide_infer_same,
              .grad = softmax_grad_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

static tide_status log_softmax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_log_softmax_attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
static void log_softmax_grad(tide_tape *t, const tide_node *n) {
    const tide_log_softmax_attrs *a = (const void *)n->attrs;
    tide_t_give(
        t, 0, tide_t(t, OP(log_softmax_grad_, .axis = a->axis), tide_t_dy(t, 0), tide_t_out(t, 0)));
}
TIDE_DESCRIBE(log_softmax, .flags = TIDE_CONTIGUOUS, .infer = log_softmax_infer,
              .grad = log_softmax_grad, .saves = TIDE_SAVE_OUT(0));

/* dx = dy - p s, p = exp(y), s = sum dy. Given g: to dy g - sum g p, to y -g p s. */
static void log_softmax_grad_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_log_softmax_grad__attrs *)(const void *)n->attrs)->axis;
    tide_tensor *g = tide_t_dy(t, 0),
                *gp = tide_t(t, OP(multiply), g, tide_t(t, OP(exp), tide_t_in(t, 1)));
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, tide_t(t, OP(subtract), g, sum_along(t, gp, axis)));
    if (tide_t_needs(t, 1))
        tide_t_give(t, 1,
                    tide_t(t, OP(negative),
                           tide_t(t, OP(multiply), gp, sum_along(t, tide_t_in(t, 0), axis))));
}
TIDE_DESCRIBE(log_softmax_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = tide_infer_same,
              .grad = log_softmax_grad_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

static tide_status sparsemax_infer(tide_call *c) {
    TIDE_TRY(tide_axis(c, &((tide_sparsemax_attrs *)c->attrs)->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
/* dx = s (dy - sum(s dy) / sum(s)), s the support: 1 where y > 0 */
static void sparsemax_grad(tide_tape *t, const tide_node *n) {
    const int64_t axis = ((const tide_sparsemax_attrs *)(const void *)n->attrs)->axis;
    tide_tensor *y = tide_t_out(t, 0), *dy = tide_t_dy(t, 0);
    if (tide_t_failed(t)) return;
    tide_tensor *s =
        tide_t(t, OP(cast, .dtype = y->dtype), tide_t(t, OP(greater), y, number(t, 0, y)));
    tide_tensor *sdy = tide_t(t, OP(multiply), s, dy);
    tide_tensor *mean = tide_t(t, OP(divide), sum_along(t, sdy, axis), sum_along(t, s, axis));
    tide_t_give(t, 0, tide_t(t, OP(subtract), sdy, tide_t(t, OP(multiply), s, mean)));
}
TIDE_DESCRIBE(sparsemax, .flags = TIDE_CONTIGUOUS, .infer = sparsemax_infer, .grad = sparsemax_grad,
              .saves = TIDE_SAVE_OUT(0));
