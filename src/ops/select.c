/* Choosing between tensors, and the elementwise ops that are made of others. */
#include "../op.h"
#include "helpers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* -- select_, where -- */
static tide_status select_infer(tide_call *c) {
    if (c->in[0]->dtype != TIDE_BOOL)
        return tide_op_fail(c, TIDE_EDTYPE, "cond has the wrong dtype (expected bool, got %s)",
                            tide_dtype_name(c->in[0]->dtype));
    if (c->in[1]->dtype != c->in[2]->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "x1 and x2 differ in dtype (expected %s, got %s)",
                            tide_dtype_name(c->in[1]->dtype), tide_dtype_name(c->in[2]->dtype));
    c->meta[0].dtype = c->in[1]->dtype;
    return tide_broadcast(c, 3, c->in, &c->meta[0]);
}
static void select_grad(tide_tape *t, const tide_node *n) {
    tide_tensor *dy = tide_t_dy(t, 0), *cond = tide_t_in(t, 0), *zero = tide_t_scalar(t, 0, dy);
    (void)n;
    for (int i = 1; i <= 2; i++) {
        if (!tide_t_needs(t, i)) continue;
        const tide_meta *m = tide_t_in_meta(t, i);
        tide_tensor *g = i == 1 ? tide_t(t, OP(select_), cond, dy, zero)
                                : tide_t(t, OP(select_), cond, zero, dy);
        tide_t_give(t, i, tide_t_sum_to_meta(t, g, m, m->shape));
    }
}
TIDE_DESCRIBE(select_, .flags = TIDE_HALF | TIDE_INTERNAL, .infer = select_infer,
              .grad = select_grad, .saves = TIDE_SAVE_IN(0));

static tide_status where_infer(tide_call *c) {
    int d = tide_promote(c->in[1]->dtype, c->in[2]->dtype);
    if (d < 0)
        return tide_op_fail(c, TIDE_EDTYPE,
                            "%s and %s do not mix (expected one float dtype); cast one of them",
                            tide_dtype_name(c->in[1]->dtype), tide_dtype_name(c->in[2]->dtype));
    return TIDE_OK;
}
static tide_tensor *as(tide_tape *t, tide_tensor *x, int dtype) {
    return x->dtype == dtype ? x : tide_t(t, OP(cast, .dtype = dtype), x);
}
static void where_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    (void)attrs, (void)nin;
    int d = tide_promote(in[1]->dtype, in[2]->dtype);
    out[0] = tide_t(t, OP(select_), as(t, in[0], TIDE_BOOL), as(t, in[1], d), as(t, in[2], d));
}
TIDE_DESCRIBE(where, .masks = TIDE_SAVE_IN(0), .infer = where_infer, .compose = where_compose);

/* -- compositions -- */
/* The number of an integer dtype that lies nearest: 8-bit ones would wrap. */
static double held(double v, int dtype) {
    if (dtype == TIDE_I32 || dtype == TIDE_I64) return v;
    return dtype == TIDE_I8 ? fmin(fmax(v, INT8_MIN), INT8_MAX) : fmin(fmax(v, 0), UINT8_MAX);
}
static void clip_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_clip_attrs *a = attrs;
    (void)nin;
    int whole =
        !tide_is_float(in[0]->dtype) && floor(a->x_min) == a->x_min && floor(a->x_max) == a->x_max;
    if (whole) { /* integers stay integers */
        tide_tensor *least = tide_t_scalar(t, held(a->x_min, in[0]->dtype), in[0]);
        tide_tensor *most = tide_t_scalar(t, held(a->x_max, in[0]->dtype), in[0]);
        out[0] = tide_t(t, OP(minimum), tide_t(t, OP(maximum), in[0], least), most);
    } else out[0] = tide_t(t, OP(clip_, .x_min = a->x_min, .x_max = a->x_max), in[0]);
}
TIDE_DESCRIBE(clip, .flags = TIDE_ELEMENTWISE, .compose = clip_compose);

static void round_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_round_attrs *a = attrs;
    (void)nin;
    tide_tensor *x = in[0];
    if (a->decimals == 0 || (a->decimals > 0 && !tide_is_float(x->dtype))) {
        out[0] = tide_t(t, OP(rint), x);
        return;
    }
    const int dtype = !tide_is_float(x->dtype) ? TIDE_F64
        : x->dtype == TIDE_F64                 ? TIDE_F64
                                               : TIDE_F32;
    tide_tensor *wide = as(t, x, dtype);
    const double power = pow(
        10, fmin(fabs((double)a->decimals), dtype == TIDE_F32 ? FLT_MAX_10_EXP : DBL_MAX_10_EXP));
    tide_tensor *ten = tide_t_scalar(t, power, wide);
    if (a->decimals > 0) { /* what overflows has no such decimals */
        tide_tensor *y =
            tide_t(t, OP(divide), tide_t(t, OP(rint), tide_t(t, OP(multiply), wide, ten)), ten);
        out[0] = tide_t(t, OP(select_), tide_t(t, OP(isfinite), y), y,
                        tide_t(t, OP(stop_gradient), wide));
    } else
        out[0] =
            tide_t(t, OP(multiply), tide_t(t, OP(rint), tide_t(t, OP(divide), wide, ten)), ten);
    if (out[0]) out[0] = as(t, out[0], x->dtype);
}
TIDE_DESCRIBE(round, .compose = round_compose);

static void gelu_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_gelu_attrs *a = attrs;
    (void)nin;
    out[0] = a->approximate ? tide_t(t, OP(gelu_tanh), in[0]) : tide_t(t, OP(gelu_erf), in[0]);
}
TIDE_DESCRIBE(gelu, .compose = gelu_compose);

static tide_status glu_infer(tide_call *c) {
    tide_glu_attrs *a = c->attrs;
    char buf[160];
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    if (c->in[0]->shape[a->axis] % 2)
        return tide_op_fail(
            c, TIDE_ESHAPE, "axis %ld of %s cannot be halved (expected an even length, got %ld)",
            (long)a->axis + 1, tide_shape_str(c->in[0]->rank, c->in[0]->shape, buf, sizeof buf),
            (long)c->in[0]->shape[a->axis]);
    return TIDE_OK;
}
static void glu_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_glu_attrs *a = attrs;
    tide_tensor *x = in[0], *half[2];
    (void)nin;
    tide_index__attrs ix =
        *TIDE_ATTRS(index_, .start.n = x->rank, .size.n = x->rank, .step.n = x->rank);
    for (int i = 0; i < x->rank; i++) ix.size.v[i] = x->shape[i], ix.step.v[i] = 1;
    ix.size.v[a->axis] /= 2;
    for (int k = 0; k < 2; k++) {
        half[k] = tide_t(t, TIDE_OP_index_, &ix, x);
        ix.start.v[a->axis] = ix.size.v[a->axis];
    }
    out[0] = tide_t(t, OP(multiply), half[0], tide_t(t, OP(sigmoid), half[1]));
}
TIDE_DESCRIBE(glu, .infer = glu_infer, .compose = glu_compose);

static tide_status bitwise_not_infer(tide_call *c) {
    if (tide_is_float(c->in[0]->dtype))
        return tide_op_fail(c, TIDE_EDTYPE,
                            "x has a float dtype (expected integers or bools, got %s)",
                            tide_dtype_name(c->in[0]->dtype));
    return TIDE_OK;
}
static void bitwise_not_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                tide_tensor **out) {
    (void)attrs, (void)nin;
    if (in[0]->dtype == TIDE_BOOL) out[0] = tide_t(t, OP(logical_not), in[0]);
    else
        out[0] = tide_t(t, OP(bitwise_xor), in[0],
                        tide_t_scalar(t, in[0]->dtype == TIDE_U8 ? 255 : -1, in[0]));
}
TIDE_DESCRIBE(bitwise_not, .flags = TIDE_NOGRAD | TIDE_BITS, .infer = bitwise_not_infer,
              .compose = bitwise_not_compose);

static void isclose_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    const tide_isclose_attrs *a = attrs;
    (void)nin;
    tide_tensor *x1 = as(t, in[0], TIDE_F64), *x2 = as(t, in[1], TIDE_F64);
    if (tide_t_failed(t)) return;
    tide_tensor *far = tide_t(t, OP(abs), tide_t(t, OP(subtract), x1, x2));
    tide_tensor *room =
        tide_t(t, OP(add), tide_t_scalar(t, a->atol, x1),
               tide_t(t, OP(multiply), tide_t_scalar(t, a->rtol, x1), tide_t(t, OP(abs), x2)));
    tide_tensor *near = tide_t(t, OP(logical_and), tide_t(t, OP(less_equal), far, room),
                               tide_t(t, OP(isfinite), x2));
    near =
        tide_t(t, OP(logical_or), near, tide_t(t, OP(equal), x1, x2)); /* infinities of one sign */
    if (a->equal_nan)
        near =
            tide_t(t, OP(logical_or), near,
                   tide_t(t, OP(logical_and), tide_t(t, OP(isnan), x1), tide_t(t, OP(isnan), x2)));
    out[0] = near;
}
TIDE_DESCRIBE(isclose, .flags = TIDE_NOGRAD, .compose = isclose_compose);

static void sinc_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    (void)attrs, (void)nin;
    tide_tensor *x = tide_is_float(in[0]->dtype) ? in[0] : as(t, in[0], TIDE_F32);
    if (!x) return;
    tide_tensor *zero = tide_t(t, OP(equal), x, tide_t_scalar(t, 0, x)),
                *one = tide_t_scalar(t, 1, x);
    tide_tensor *angle = tide_t(t, OP(multiply), tide_t(t, OP(select_), zero, one, x),
                                tide_t_scalar(t, 3.14159265358979323846, x));
    out[0] =
        tide_t(t, OP(select_), zero, one, tide_t(t, OP(divide), tide_t(t, OP(sin), angle), angle));
}
static int sinc_apart(const void *attrs, const tide_tensor *x, int *to) {
    (void)attrs;
    return axis_left(x, &(tide_ints){.n = 0}, 1, to);
}
TIDE_DESCRIBE(sinc, .flags = TIDE_WIDE, .apart = sinc_apart, .saves = TIDE_SAVE_IN(0),
              .compose = sinc_compose);
