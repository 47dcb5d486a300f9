/* Normalization: batch, layer, group, RMS, moments and norms of vectors.
 *
 * The fused ops' rules call one gradient op for all their inputs; second derivatives come from
 * `compose`, which is also their definition. */
#include "../op.h"
#include "activations.h"
#include "helpers.h"

/* -- the same thing with smaller ops -- */

static tide_ints all_but(int rank, int64_t axis) {
    tide_ints a = {.n = 0};
    for (int i = 0; i < rank; i++)
        if (i != axis) a.v[a.n++] = i;
    return a;
}

/* Mean and variance with reduced axes kept, and the deviations. */
static void moments_of(tide_tape *t, tide_tensor *x, tide_ints axes, tide_tensor **mean,
                       tide_tensor **var, tide_tensor **dev) {
    *mean = mean_of(t, x, axes);
    *dev = tide_t(t, OP(subtract), x, *mean);
    *var = mean_of(t, tide_t(t, OP(square), *dev), axes);
}

static tide_tensor *rsqrt_of(tide_tape *t, tide_tensor *x, double epsilon) {
    return tide_t(t, OP(rsqrt), plus(t, x, epsilon));
}

/* v (C) as a tensor that broadcasts along `axis` of x. */
static tide_tensor *along(tide_tape *t, tide_tensor *v, int rank, int64_t axis) {
    if (tide_t_failed(t) || !v || axis == rank - 1) return v;
    tide_reshape_attrs a = *TIDE_ATTRS(reshape, .newshape.n = rank);
    for (int i = 0; i < rank; i++) a.newshape.v[i] = i == axis ? v->shape[0] : 1;
    return tide_t(t, TIDE_OP_reshape, &a, v);
}

static tide_tensor *scaled(tide_tape *t, tide_tensor *y, tide_tensor *scale, tide_tensor *offset) {
    if (scale) y = tide_t(t, OP(multiply), y, scale);
    return offset ? tide_t(t, OP(add), y, offset) : y;
}

/* -- batch -- */

/* Statistics, scales and offsets are vectors of the feature axis' length and of x's dtype. */
static tide_status features(tide_call *c, int first, int last, int64_t axis) {
    const tide_tensor *x = c->in[0];
    char buf[160];
    for (int i = first; i <= last; i++) {
        const tide_tensor *v = c->in[i];
        if (!v) continue;
        if (v->rank != 1 || v->shape[0] != x->shape[axis])
            return tide_op_fail(c, TIDE_ESHAPE,
                                "%s does not fit axis %ld of the input (expected [%ld], got %s)",
                                c->op->args()[i].name, (long)axis + 1, (long)x->shape[axis],
                                tide_shape_str(v->rank, v->shape, buf, sizeof buf));
        if (tide_wide(v->dtype) != tide_wide(x->dtype))
            return tide_op_fail(
                c, TIDE_EDTYPE, "%s has another dtype than the input (expected %s, got %s)",
                c->op->args()[i].name, tide_dtype_name(x->dtype), tide_dtype_name(v->dtype));
    }
    return TIDE_OK;
}

static tide_status batch_infer(tide_call *c) {
    tide_batch_normalization_attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    TIDE_TRY(features(c, 1, 4, a->axis));
    return tide_infer_same(c);
}

static void batch_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_batch_normalization_attrs *a = attrs;
    (void)nin;
    const int rank = in[0]->rank;
    tide_tensor *inv = rsqrt_of(t, in[2], a->epsilon);
    if (in[4]) inv = tide_t(t, OP(multiply), inv, in[4]);
    tide_tensor *dev = tide_t(t, OP(subtract), in[0], along(t, in[1], rank, a->axis));
    tide_tensor *y = scaled(t, dev, along(t, inv, rank, a->axis), along(t, in[3], rank, a->axis));
    out[0] = a->relu ? tide_t(t, OP(relu), y) : y;
}

static void batch_grad(tide_tape *t, const tide_node *n) { /* x, mean, variance, offset, scale */
    const tide_batch_normalization_attrs *a = (const void *)n->attrs;
    tide_tensor *dy = tide_t_wide(t, tide_t_dy(t, 0)), *scale = tide_t_wide(t, tide_t_in(t, 4)),
                *var = tide_t_wide(t, tide_t_in(t, 2)), *x = tide_t_wide(t, tide_t_in(t, 0)),
                *mean = tide_t_wide(t, tide_t_in(t, 1));
    if (a->relu) {
        tide_tensor *g[2], *of[2] = {dy, tide_t_wide(t, tide_t_out(t, 0))};
        tide_tn(t, OP(activation_grad, .activation = TIDE_ACTIVATION_relu), 2, of, g);
        dy = g[0];
    }
    const int rank = tide_t_in_meta(t, 0)->rank;
    const tide_ints others = all_but(rank, a->axis);
    tide_tensor *inv = rsqrt_of(t, var, a->epsilon),
                *slope = scale ? tide_t(t, OP(multiply), inv, scale) : inv;
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0, tide_t(t, OP(multiply), dy, along(t, slope, rank, a->axis)));
    if (!tide_t_needs(t, 1) && !tide_t_needs(t, 2) && !tide_t_needs(t, 3) && !tide_t_needs(t, 4))
        return;
    tide_tensor *sum = tide_t(t, OP(sum, .axis = others), dy);
    if (tide_t_needs(t, 1))
        tide_t_give(t, 1, tide_t(t, OP(negative), tide_t(t, OP(multiply), sum, slope)));
    tide_t_give(t, 3, sum);
    if (!tide_t_needs(t, 2) && !tide_t_needs(t, 4)) return;
    tide_tensor *dev = tide_t(t, OP(subtract), x, along(t, mean, rank, a->axis));
    tide_tensor *dot = tide_t(t, OP(sum, .axis = others), tide_t(t, OP(multiply), dy, dev));
    tide_tensor *unit = tide_t(t, OP(multiply), dot, inv); /* sum dy x^ */
    tide_t_give(t, 4, unit);
    if (tide_t_needs(t, 2)) { /* d slope / d var = -slope inv^2 / 2 */
        tide_tensor *half = times(t, tide_t(t, OP(multiply), slope, inv), -0.5);
        tide_t_give(t, 2, tide_t(t, OP(multiply), unit, half));
    }
}

TIDE_DESCRIBE(batch_normalization, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = batch_infer,
              .grad = batch_grad, .compose = batch_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_IN(4) |
                  TIDE_SAVE_OUT(0));

static tide_status train_infer(tide_call *c) { /* x, scale, offset, moving_mean, moving_variance */
    tide_batch_norm_train__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    TIDE_TRY(features(c, 1, 4, a->axis));
    if (a->activation != TIDE_ACTIVATION_linear && a->activation != TIDE_ACTIVATION_relu &&
        a->activation != TIDE_ACTIVATION_relu6)
        return tide_op_fail(c, TIDE_EARG, "activation must be linear, relu or relu6");
    for (int i = 3; i <= 4; i++)
        if (tide_is_half(c->in[i]->dtype))
            return tide_op_fail(c, TIDE_EDTYPE,
                                "writes in place, and not into %s (expected float32 or float64)",
                                tide_dtype_name(c->in[i]->dtype));
    TIDE_TRY(tide_infer_same(c));
    c->meta[1] = c->meta[2] = (tide_meta){.rank = 1,
                                          .dtype = (uint8_t)tide_wide(c->in[0]->dtype),
                                          .shape = {c->in[0]->shape[a->axis]}};
    return TIDE_OK;
}

static void train_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_batch_norm_train__attrs *a = attrs;
    (void)nin;
    const int rank = in[0]->rank;
    tide_tensor *mean, *var, *dev;
    moments_of(t, in[0], all_but(rank, a->axis), &mean, &var, &dev);
    tide_tensor *y = tide_t(t, OP(multiply), dev, rsqrt_of(t, var, a->epsilon));
    y = scaled(t, y, along(t, in[1], rank, a->axis), along(t, in[2], rank, a->axis));
    out[0] = tide_t_activate(t, y, a->activation);
    tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape = TIDE_INTS(in[0]->shape[a->axis]));
    out[1] = tide_t(t, TIDE_OP_reshape, &r, mean);
    out[2] = tide_t(t, TIDE_OP_reshape, &r, var);
}

static void train_grad(tide_tape *t, const tide_node *n) {
    const tide_batch_norm_train__attrs *a = (const void *)n->attrs;
    tide_tensor *x = tide_t_in(t, 0), *mean = tide_t_out(t, 1), *d[3];
    tide_tensor *in[6] = {tide_t_dy(t, 0), x, mean, tide_t_out(t, 2), tide_t_in(t, 1),
                          tide_t_in(t, 2)};
    tide_tn(
        t,
        OP(batch_norm_grad_, .axis = a->axis, .epsilon = a->epsilon, .activation = a->activation),
        6, in, d);
    if (tide_t_failed(t)) return;
    if (tide_t_has_dy(t, 1) ||
        tide_t_has_dy(t, 2)) { /* d mean = 1 / m, d variance = 2 (x - mean) / m */
        const double m = (double)tide_numel(x) / (double)x->shape[a->axis];
        tide_tensor *dev =
            tide_t(t, OP(subtract), tide_t_wide(t, x), along(t, mean, x->rank, a->axis));
        tide_tensor *v = tide_t(t, OP(multiply), dev,
                                along(t, times(t, tide_t_dy(t, 2), 2 / m), x->rank, a->axis));
        v = tide_t(t, OP(add), v, along(t, times(t, tide_t_dy(t, 1), 1 / m), x->rank, a->axis));
        d[0] = tide_t(t, OP(add), tide_t_wide(t, d[0]), v);
    }
    for (int i = 0; i < 3; i++) tide_t_give(t, i, d[i]);
}

TIDE_DESCRIBE(batch_norm_train_, .flags = TIDE_CONTIGUOUS | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = train_infer, .grad = train_grad, .compose = train_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(1) |
                  TIDE_SAVE_OUT(2));

static tide_status train_grad_infer(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[1]);
    c->meta[1] = c->meta[2] = tide_meta_of(c->in[2]);
    return TIDE_OK;
}
TIDE_DESCRIBE(batch_norm_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = train_grad_infer);

/* -- layer -- */

static tide_status layer_infer(tide_call *c) {
    const tide_layer_norm__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char got[160], want[160];
    if (a->axes < 1 || a->axes > x->rank)
        return tide_op_fail(c, TIDE_EARG,
                            "axes is the number of last axes (expected 1..%d, got %ld)", x->rank,
                            (long)a->axes);
    const int lead = x->rank - (int)a->axes;
    for (int i = 1; i <= 2; i++) {
        const tide_tensor *v = c->in[i];
        if (!v) continue;
        int same = v->rank == a->axes;
        for (int k = 0; k < a->axes && same; k++) same = v->shape[k] == x->shape[lead + k];
        if (!same)
            return tide_op_fail(c, TIDE_ESHAPE,
                                "%s does not fit the normalized axes (expected %s, got %s)",
                                c->op->args()[i].name,
                                tide_shape_str((int)a->axes, x->shape + lead, want, sizeof want),
                                tide_shape_str(v->rank, v->shape, got, sizeof got));
    }
    TIDE_TRY(tide_infer_same(c));
    c->meta[1] = c->meta[0];
    c->meta[1].rank = (uint8_t)lead;
    c->meta[1].dtype = (uint8_t)tide_wide(x->dtype);
    c->meta[2] = c->meta[1];
    return TIDE_OK;
}

static tide_ints last_axes(int rank, int64_t n) {
    tide_ints a = {.n = n};
    for (int64_t i = 0; i < n; i++) a.v[i] = rank - n + i;
    return a;
}

static void layer_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_layer_norm__attrs *a = attrs;
    (void)nin;
    const tide_ints axes = last_axes(in[0]->rank, a->axes);
    tide_tensor *mean = NULL, *var, *dev = in[0];
    if (a->rms) var = mean_of(t, tide_t(t, OP(square), in[0]), axes);
    else moments_of(t, in[0], axes, &mean, &var, &dev);
    tide_tensor *rstd = rsqrt_of(t, var, a->epsilon);
    out[0] = scaled(t, tide_t(t, OP(multiply), dev, rstd), in[1], in[2]);
    tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = in[0]->rank - a->axes);
    for (int i = 0; i < r.newshape.n; i++) r.newshape.v[i] = in[0]->shape[i];
    out[2] = tide_t(t, TIDE_OP_reshape, &r, rstd);
    out[1] = a->rms ? times(t, out[2], 0) : tide_t(t, TIDE_OP_reshape, &r, mean);
}

static void layer_grad(tide_tape *t, const tide_node *n) {
    const tide_layer_norm__attrs *a = (const void *)n->attrs;
    tide_tensor *d[3],
        *in[5] = {tide_t_dy(t, 0), tide_t_in(t, 0), tide_t_out(t, 1), tide_t_out(t, 2),
                  tide_t_in(t, 1)};
    tide_tn(t, OP(layer_norm_grad_, .axes = a->axes, .rms = a->rms), 5, in, d);
    for (int i = 0; i < 3; i++) tide_t_give(t, i, d[i]);
}

TIDE_DESCRIBE(layer_norm_,
              .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE | TIDE_FIRST_ORDER | TIDE_INTERNAL |
                  TIDE_HALF,
              .infer = layer_infer, .grad = layer_grad, .compose = layer_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(1) |
                  TIDE_SAVE_OUT(2));

static tide_status layer_grad_infer(tide_call *c) {
    const tide_layer_norm_grad__attrs *a = c->attrs;
    c->meta[0] = tide_meta_of(c->in[1]);
    c->meta[1] = (tide_meta){.rank = (uint8_t)a->axes, .dtype = c->in[1]->dtype};
    for (int i = 0; i < a->axes; i++)
        c->meta[1].shape[i] = c->in[1]->shape[c->in[1]->rank - a->axes + i];
    c->meta[2] = c->meta[1];
    return TIDE_OK;
}
TIDE_DESCRIBE(layer_norm_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = layer_grad_infer);

/* The fused op takes the last axes in order; others are brought there and back. */
static int trailing(const tide_ints *axes, int rank) {
    for (int64_t i = 0; i < axes->n; i++)
        if (axes->v[i] != rank - axes->n + i) return 0;
    return 1;
}

static tide_tensor *over_axes(tide_tape *t, tide_tensor *x, tide_tensor *gamma, tide_tensor *beta,
                              tide_ints axes, double epsilon, int rms) {
    const int rank = x->rank;
    tide_tensor *y[3], *in[3] = {x, gamma, beta};
    for (int64_t i = 1; i < axes.n;
         i++) /* ascending: gamma's axes are in the input's order, as in Keras */
        for (int64_t k = i; k > 0 && axes.v[k - 1] > axes.v[k]; k--) {
            const int64_t v = axes.v[k];
            axes.v[k] = axes.v[k - 1], axes.v[k - 1] = v;
        }
    if (trailing(&axes, rank)) {
        tide_tn(t, OP(layer_norm_, .axes = axes.n, .epsilon = epsilon, .rms = rms), 3, in, y);
        return y[0];
    }
    tide_transpose_attrs there = *TIDE_ATTRS(transpose, .axes.n = rank), back = there;
    int64_t k = 0;
    for (int i = 0; i < rank; i++) {
        int is = 0;
        for (int64_t j = 0; j < axes.n; j++) is |= axes.v[j] == i;
        if (!is) there.axes.v[k++] = i;
    }
    for (int64_t j = 0; j < axes.n; j++) there.axes.v[k++] = axes.v[j];
    for (int i = 0; i < rank; i++) back.axes.v[there.axes.v[i]] = i;
    in[0] = tide_t(t, TIDE_OP_transpose, &there, x);
    tide_tn(t, OP(layer_norm_, .axes = axes.n, .epsilon = epsilon, .rms = rms), 3, in, y);
    return tide_t(t, TIDE_OP_transpose, &back, y[0]);
}

static tide_status axes_given(tide_call *c, tide_ints *axes) {
    if (axes->n < 0) {
        axes->n = c->in[0]->rank;
        for (int i = 0; i < c->in[0]->rank; i++) axes->v[i] = i;
    }
    TIDE_TRY(tide_axes(c, axes, c->in[0]->rank));
    return axes->n ? TIDE_OK : tide_op_fail(c, TIDE_EARG, "needs at least one axis");
}

static tide_status layer_normalization_infer(tide_call *c) {
    return axes_given(c, &((tide_layer_normalization_attrs *)c->attrs)->axis);
}
static void layer_normalization_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                        tide_tensor **out) {
    const tide_layer_normalization_attrs *a = attrs;
    (void)nin;
    out[0] = over_axes(t, in[0], in[1], in[2], a->axis, a->epsilon, 0);
}
TIDE_DESCRIBE(layer_normalization, .infer = layer_normalization_infer,
              .compose = layer_normalization_compose);

static tide_status rms_infer(tide_call *c) {
    return axes_given(c, &((tide_rms_normalization_attrs *)c->attrs)->axis);
}
static void rms_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_rms_normalization_attrs *a = attrs;
    (void)nin;
    out[0] = over_axes(t, in[0], in[1], NULL, a->axis, a->epsilon, 1);
}
TIDE_DESCRIBE(rms_normalization, .infer = rms_infer, .compose = rms_compose);

/* -- group -- */

static tide_status group_infer(tide_call *c) {
    tide_group_normalization_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    TIDE_TRY(tide_axis(c, &a->axis, x->rank));
    const int64_t C = x->shape[a->axis];
    if (a->axis == 0)
        return tide_op_fail(c, TIDE_EARG, "the channel axis cannot be the batch axis 1");
    if (x->rank + 1 > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK - 1);
    if (a->groups == -1) a->groups = C;
    if (a->groups < 1 || C % a->groups)
        return tide_op_fail(c, TIDE_EARG,
                            "groups must divide the channels (got %ld groups and %ld channels)",
                            (long)a->groups, (long)C);
    return features(c, 1, 2, a->axis);
}

static void group_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_group_normalization_attrs *a = attrs;
    (void)nin;
    const int rank = in[0]->rank;
    tide_reshape_attrs split = *TIDE_ATTRS(reshape, .newshape.n = rank + 1),
                       join = *TIDE_ATTRS(reshape, .newshape.n = rank);
    tide_ints axes = {.n = 0};
    for (int i = 0; i <= rank; i++) {
        const int64_t size = i < a->axis ? in[0]->shape[i]
            : i == a->axis               ? a->groups
            : i == a->axis + 1           ? in[0]->shape[a->axis] / a->groups
                                         : in[0]->shape[i - 1];
        split.newshape.v[i] = size;
        if (i && i != a->axis) axes.v[axes.n++] = i;
        if (i < rank) join.newshape.v[i] = in[0]->shape[i];
    }
    tide_tensor *mean, *var, *dev;
    moments_of(t, tide_t(t, TIDE_OP_reshape, &split, in[0]), axes, &mean, &var, &dev);
    tide_tensor *y = tide_t(t, OP(multiply), dev, rsqrt_of(t, var, a->epsilon));
    y = tide_t(t, TIDE_OP_reshape, &join, y);
    out[0] = scaled(t, y, along(t, in[1], rank, a->axis), along(t, in[2], rank, a->axis));
}
static int group_apart(const void *attrs, const tide_tensor *x, int *to) { /* each of the batch */
    (void)attrs, (void)x;
    return *to = 0;
}
TIDE_DESCRIBE(group_normalization, .flags = TIDE_WIDE, .apart = group_apart,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2), .infer = group_infer,
              .compose = group_compose);

/* -- moments and norms -- */

static tide_status moments_infer(tide_call *c) {
    return axes_given(c, &((tide_moments_attrs *)c->attrs)->axes);
}
static void moments_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    const tide_moments_attrs *a = attrs;
    (void)nin;
    tide_tensor *x = widened(t, in[0]);
    if (!x) return;
    out[0] = tide_t(t, OP(sum_of_, .axis = a->axes, .keepdims = 1, .mean = 1), x, NULL);
    out[1] = tide_t(
        t,
        OP(sum_of_, .of = TIDE_SUMMED_square, .axis = a->axes, .keepdims = a->keepdims, .mean = 1),
        x, out[0]);
    if (!a->keepdims && out[1]) out[0] = shaped(t, out[0], out[1]->rank, out[1]->shape);
    for (int i = 0; i < 2; i++) out[i] = narrowed(t, out[i], x->dtype);
}
TIDE_DESCRIBE(moments, .infer = moments_infer, .compose = moments_compose);

/* The vector norm of an order. Where it is 0 its gradient is 0, one of the subgradients, and so is
 * that of an element that is 0: the inner functions have no slope there, or an infinite one. */
static tide_tensor *norm_of(tide_tape *t, tide_tensor *x, double order, tide_ints axes,
                            int keepdims) {
#define SUM_OF(what) \
    tide_t(t, OP(sum_of_, .of = TIDE_SUMMED_##what, .axis = axes, .keepdims = keepdims), x, NULL)
    if (order == 2) return tide_t(t, OP(root_), SUM_OF(square));
    if (order == INFINITY)
        return tide_t(t, OP(max, .axis = axes, .keepdims = keepdims), tide_t(t, OP(abs), x));
    if (order == -INFINITY)
        return tide_t(t, OP(min, .axis = axes, .keepdims = keepdims), tide_t(t, OP(abs), x));
    if (order == 1) return SUM_OF(abs);
    if (order == 0) return SUM_OF(count); /* how many differ from 0, NaN too */
#undef SUM_OF
    tide_tensor *p = tide_t(
        t, OP(sum_of_, .of = TIDE_SUMMED_power, .order = order, .axis = axes, .keepdims = keepdims),
        x, NULL);
    tide_tensor *zero = /* the norm is 0 */
        tide_t(t, OP(equal), p, number(t, order > 0 ? 0 : INFINITY, p));
    p = tide_t(t, OP(select_), zero, number(t, 1, p), p);
    p = tide_t(t, OP(power), p, number(t, 1 / order, p));
    return tide_t(t, OP(select_), zero, number(t, 0, p), p);
}

static tide_status vector_norm_infer(tide_call *c) {
    return tide_axes(c, &((tide_vector_norm__attrs *)c->attrs)->axis, c->in[0]->rank);
}
static void vector_norm_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                tide_tensor **out) {
    const tide_vector_norm__attrs *a = attrs;
    (void)nin;
    tide_tensor *x = widened(t, in[0]);
    if (!x) return;
    out[0] = narrowed(t, norm_of(t, x, a->ord, a->axis, (int)a->keepdims), x->dtype);
}
TIDE_DESCRIBE(vector_norm_, .infer = vector_norm_infer, .compose = vector_norm_compose);

static tide_status normalize_infer(tide_call *c) {
    tide_normalize_attrs *a = c->attrs;
    if (!(a->order >= 1))
        return tide_op_fail(c, TIDE_EARG, "order must be at least 1 (got %g)", a->order);
    return axes_given(c, &a->axis);
}
static void normalize_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    const tide_normalize_attrs *a = attrs;
    (void)nin;
    tide_tensor *x = widened(t, in[0]), *scale;
    if (a->order == 2) { /* rsqrt(max(sum x^2, epsilon^2)): at 0 the root's slope is infinite */
        scale = tide_t(t, OP(square), x);
        scale = tide_t(t, OP(sum, .axis = a->axis, .keepdims = 1), scale);
        scale = tide_t(t, OP(maximum), scale, number(t, a->epsilon * a->epsilon, scale));
        scale = tide_t(t, OP(rsqrt), scale);
        out[0] = tide_t(t, OP(multiply), x, scale);
        return;
    }
    scale = norm_of(t, x, a->order, a->axis, 1);
    scale = tide_t(t, OP(maximum), scale, number(t, a->epsilon, scale));
    out[0] = tide_t(t, OP(divide), x, scale);
}
static int normalize_apart(const void *attrs, const tide_tensor *x, int *to) {
    const tide_normalize_attrs *a = attrs;
    return axis_left(x, &a->axis, 1, to);
}
TIDE_DESCRIBE(normalize, .flags = TIDE_WIDE, .apart = normalize_apart, .saves = TIDE_SAVE_IN(0),
              .infer = normalize_infer, .compose = normalize_compose);
