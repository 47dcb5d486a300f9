/* The incomplete gamma function: P(a, x), dP/dx = x^(a - 1) e^-x / Gamma(a), whose own derivative
 * is itself times (a - 1) / x - 1. */
#include "helpers.h"

static tide_status same_infer(tide_call *c) {
    if (!tide_same_shape(c->in[0], c->in[1]))
        return tide_op_fail(c, TIDE_ESHAPE, "a and x differ in shape (a %s, x %s)",
                            TIDE_SHAPE_OF(c->in[0]), TIDE_SHAPE_OF(c->in[1]));
    return tide_infer_same(c);
}

/* 0 and a message where a gradient for a is asked for. */
static int for_x_alone(tide_tape *t) {
    if (tide_t_needs(t, 0))
        tide_t_fail(t,
                    tide_fail(tide_t_ctx(t), TIDE_EGRAD,
                              "gammainc: has a gradient for x alone, none for a; a:detach() goes "
                              "without"));
    return !tide_t_failed(t);
}

static void gammainc_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    if (!for_x_alone(t)) return;
    tide_tensor *a = tide_t_in(t, 0), *x = tide_t_in(t, 1);
    tide_t_give(t, 1,
                tide_t(t, OP(multiply), tide_t_dy(t, 0), tide_t(t, OP(gammainc_slope_), a, x)));
}
TIDE_DESCRIBE(gammainc_, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = same_infer,
              .grad = gammainc_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

static void gammainc_slope_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    if (!for_x_alone(t)) return;
    tide_tensor *a = tide_t_in(t, 0), *x = tide_t_in(t, 1);
    tide_tensor *f = plus(t, tide_t(t, OP(divide), plus(t, a, -1), x), -1);
    tide_t_give(
        t, 1,
        tide_t(t, OP(multiply), tide_t_dy(t, 0), tide_t(t, OP(multiply), tide_t_out(t, 0), f)));
}
TIDE_DESCRIBE(gammainc_slope_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = same_infer,
              .grad = gammainc_slope_grad,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_OUT(0));
