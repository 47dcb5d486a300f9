/* Reductions over axes, positions of extremes, running sums, and the statistics made of them. */
#include "helpers.h"

#include <math.h>

/* -- shapes -- */
static tide_status reduced(tide_call *c, tide_ints *axis, int keepdims, int dtype) {
    const tide_tensor *x = c->in[0];
    TIDE_TRY(tide_axes(c, axis, x->rank));
    unsigned gone = axis->n < 0 ? ~0u : 0;
    for (int64_t i = 0; i < axis->n; i++) gone |= 1u << axis->v[i];
    c->meta[0] = (tide_meta){.dtype = (uint8_t)dtype};
    for (int i = 0; i < x->rank; i++) {
        if (gone >> i & 1 && !keepdims) continue;
        c->meta[0].shape[c->meta[0].rank++] = gone >> i & 1 ? 1 : x->shape[i];
    }
    return TIDE_OK;
}
/* Keras: sums of bools and narrow integers are int32. */
static int summed_dtype(int d) {
    return d == TIDE_BOOL || d == TIDE_U8 || d == TIDE_I8 ? TIDE_I32 : d;
}

static tide_status no_empty(tide_call *c, const tide_ints *axis) {
    const tide_tensor *x = c->in[0];
    char buf[160];
    int64_t n = 1;
    for (int i = 0; i < x->rank; i++) {
        int gone = axis->n < 0;
        for (int64_t k = 0; k < axis->n; k++) gone |= axis->v[k] == i;
        if (gone) n *= x->shape[i];
    }
    if (n == 0)
        return tide_op_fail(c, TIDE_ESHAPE, "no element to choose from in %s",
                            tide_shape_str(x->rank, x->shape, buf, sizeof buf));
    return TIDE_OK;
}

#define REDUCED(name, dtype_of, check)                                          \
    static tide_status name##_infer(tide_call *c) {                             \
        tide_##name##_attrs *a = c->attrs;                                      \
        TIDE_TRY(reduced(c, &a->axis, a->keepdims, dtype_of(c->in[0]->dtype))); \
        check return TIDE_OK;                                                   \
    }
#define SAME(d) (d)
#define BOOLEAN(d) TIDE_BOOL
REDUCED(sum, summed_dtype, )
REDUCED(prod, summed_dtype, )
REDUCED(mean, SAME, )
REDUCED(max, SAME, if (!a->initial.is) TIDE_TRY(no_empty(c, &a->axis));)
REDUCED(min, SAME, if (!a->initial.is) TIDE_TRY(no_empty(c, &a->axis));)

/* -- gradients -- */

/* dy, or y, with the reduced axes back as length 1. */
static tide_tensor *restored(tide_tape *t, tide_tensor *g, const tide_ints *axis, int keepdims,
                             int rank) {
    if (keepdims || !g) return g;
    tide_ints all = *axis;
    if (axis->n < 0) {
        all.n = rank;
        for (int i = 0; i < rank; i++) all.v[i] = i;
    }
    return all.n == 0 ? g : tide_t(t, OP(expand_dims, .axis = all), g);
}
static tide_tensor *spread(tide_tape *t, tide_tensor *g, const tide_meta *m) {
    return tide_t(t, OP(broadcast_to, .shape = shape_of(m)), g);
}
static int64_t count_of(const tide_meta *m, const tide_ints *axis) {
    int64_t n = 1;
    if (axis->n < 0)
        for (int i = 0; i < m->rank; i++) n *= m->shape[i];
    for (int64_t i = 0; i < axis->n; i++) n *= m->shape[axis->v[i]];
    return n;
}

static void sum_grad(tide_tape *t, const tide_node *n) {
    ATTRS(sum);
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_t_give(t, 0, spread(t, restored(t, tide_t_dy(t, 0), &a->axis, a->keepdims, m->rank), m));
}
TIDE_DESCRIBE(sum, .flags = TIDE_CASTS | TIDE_HALF, .infer = sum_infer, .grad = sum_grad);

static void mean_grad(tide_tape *t, const tide_node *n) {
    ATTRS(mean);
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_tensor *g = times(t, tide_t_wide(t, tide_t_dy(t, 0)), 1.0 / (double)count_of(m, &a->axis));
    g = restored(t, narrowed(t, g, m->dtype), &a->axis, a->keepdims, m->rank);
    tide_t_give(t, 0, spread(t, g, m));
}
TIDE_DESCRIBE(mean, .flags = TIDE_CASTS | TIDE_HALF, .infer = mean_infer, .grad = mean_grad);

/* -- sums of a function, which make no tensor of its values -- */

static tide_status sum_of__infer(tide_call *c) {
    tide_sum_of__attrs *a = c->attrs;
    return reduced(c, &a->axis, a->keepdims != 0, tide_wide(c->in[0]->dtype));
}
/* None passes to the centre: where that is the mean, the sum of squares has no slope there, and the
 * largest element of logsumexp carries none. */
static void sum_of__grad(tide_tape *t, const tide_node *n) {
    ATTRS(sum_of_);
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_tensor *dy = tide_t_dy(t, 0);
    if (a->mean) dy = times(t, dy, 1.0 / (double)count_of(m, &a->axis));
    dy = restored(t, dy, &a->axis, a->keepdims != 0, m->rank);
    tide_t_give(t, 0,
                tide_t(t, OP(sum_of_grad_, .of = a->of, .order = a->order), tide_t_in(t, 0),
                       n->in[1].saved ? tide_t_in(t, 1) : NULL, dy));
}
static void sum_of__compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    const tide_sum_of__attrs *a = attrs;
    (void)nin;
    tide_tensor *d = in[1] ? tide_t(t, OP(subtract), in[0], in[1]) : in[0];
    if (!d) return;
    tide_tensor *zero = tide_t(t, OP(equal), d, number(t, 0, d)), *one = number(t, 1, d);
    switch (a->of) {
    case TIDE_SUMMED_square: d = tide_t(t, OP(square), d); break;
    case TIDE_SUMMED_abs: d = tide_t(t, OP(abs), d); break;
    case TIDE_SUMMED_exp: d = tide_t(t, OP(exp), d); break;
    case TIDE_SUMMED_count: d = tide_t(t, OP(select_), zero, number(t, 0, d), one); break;
    case TIDE_SUMMED_power: /* 0 has no slope, and with a negative order an infinite power */
        d = tide_t(t, OP(select_), zero, one, tide_t(t, OP(abs), d));
        d = tide_t(t, OP(power), d, number(t, a->order, d));
        d = tide_t(t, OP(select_), zero, number(t, a->order > 0 ? 0 : INFINITY, d), d);
        break;
    default: break;
    }
    out[0] = a->mean ? tide_t(t, OP(mean, .axis = a->axis, .keepdims = a->keepdims), d)
                     : tide_t(t, OP(sum, .axis = a->axis, .keepdims = a->keepdims), d);
}
TIDE_DESCRIBE(sum_of_, .flags = TIDE_INTERNAL | TIDE_HALF | TIDE_FIRST_ORDER,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1), .infer = sum_of__infer,
              .grad = sum_of__grad, .compose = sum_of__compose);
TIDE_DESCRIBE(sum_of_grad_, .flags = TIDE_INTERNAL | TIDE_HALF | TIDE_NOGRAD,
              .infer = tide_infer_same);

/* A product of products may pass float32's range on its way to a number inside it. */
static tide_tensor *in_doubles(tide_tape *t, tide_tensor *x) {
    return x && x->dtype != TIDE_F64 ? tide_t(t, OP(cast, .dtype = TIDE_F64), x) : x;
}

/* d prod / d x_i = product of the others: exclusive running products from both ends, exact where
 * some x_i is 0. */
static void prod_grad(tide_tape *t, const tide_node *n) {
    ATTRS(prod);
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_tensor *x = in_doubles(t, tide_t_in(t, 0)), *dy = in_doubles(t, tide_t_dy(t, 0));
    dy = spread(t, restored(t, dy, &a->axis, a->keepdims, m->rank), m);
    if (tide_t_failed(t)) return;
    /* reduced axes last, flattened: (kept, n) */
    tide_ints order = {.n = m->rank}, flat = {.n = 2}, moved = {.n = m->rank},
              back = {.n = m->rank};
    unsigned gone = a->axis.n < 0 ? ~0u : 0;
    for (int64_t i = 0; i < a->axis.n; i++) gone |= 1u << a->axis.v[i];
    int k = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->rank; i++)
            if ((int)(gone >> i & 1) == pass) order.v[k++] = i;
    int64_t len = count_of(m, &a->axis), total = tide_numel(x);
    if (total == 0) {
        tide_t_give(t, 0, dy);
        return;
    }
    flat.v[0] = total / len, flat.v[1] = len;
    for (int i = 0; i < m->rank; i++) moved.v[i] = m->shape[order.v[i]], back.v[order.v[i]] = i;
    tide_tensor *rows =
        tide_t(t, OP(reshape, .newshape = flat), tide_t(t, OP(transpose, .axes = order), x));
    tide_tensor *ones = tide_t(
        t, OP(fill_, .shape = TIDE_INTS(flat.v[0], 1), .value = TIDE_WHOLE(1), .dtype = x->dtype));
    if (tide_t_failed(t)) return;
    tide_tensor *before, *after, *pair[2];
    tide_index__attrs head = *TIDE_ATTRS(index_, .start = TIDE_INTS(0, 0),
                                         .size = TIDE_INTS(flat.v[0], len - 1),
                                         .step = TIDE_INTS(1, 1)),
                      rest = head;
    rest.start.v[1] = len > 1;
    pair[0] = ones, pair[1] = tide_t(t, TIDE_OP_index_, &head, rows);
    if (tide_t_failed(t)) return;
    tide_tn(t, OP(concatenate, .axis = 1), 2, pair, &before);
    pair[0] = tide_t(t, TIDE_OP_index_, &rest, rows), pair[1] = ones;
    if (tide_t_failed(t)) return;
    tide_tn(t, OP(concatenate, .axis = 1), 2, pair, &after);
    tide_tensor *others = tide_t(t, OP(multiply), tide_t(t, OP(cumprod, .axis = 1), before),
                                 tide_t(t, OP(cumprod, .axis = 1, .reverse_ = 1), after));
    others =
        tide_t(t, OP(transpose, .axes = back), tide_t(t, OP(reshape, .newshape = moved), others));
    tide_t_give(t, 0, tide_t(t, OP(multiply), dy, others));
}
TIDE_DESCRIBE(prod, .flags = TIDE_CASTS | TIDE_HALF, .infer = prod_infer, .grad = prod_grad,
              .saves = TIDE_SAVE_IN(0));

/* The gradient goes to every element that equals the extreme, in equal parts. */
static void extreme_grad(tide_tape *t, const tide_ints *axis, int keepdims) {
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_tensor *x = tide_t_in(t, 0), *y = restored(t, tide_t_out(t, 0), axis, keepdims, m->rank);
    tide_tensor *hit = tide_t(t, OP(equal), x, y);
    tide_tensor *count = tide_t(t, OP(sum, .axis = *axis, .keepdims = 1), hit);
    tide_tensor *dy = tide_t_wide(t, restored(t, tide_t_dy(t, 0), axis, keepdims, m->rank));
    if (tide_t_failed(t)) return;
    count = tide_t(t, OP(cast, .dtype = dy->dtype), count);
    tide_tensor *share = narrowed(t, tide_t(t, OP(divide), dy, count), m->dtype);
    hit = tide_t(t, OP(cast, .dtype = m->dtype), hit);
    tide_t_give(t, 0, tide_t(t, OP(multiply), hit, share));
}
static void max_grad(tide_tape *t, const tide_node *n) {
    ATTRS(max);
    extreme_grad(t, &a->axis, a->keepdims);
}
TIDE_DESCRIBE(max, .flags = TIDE_HALF, .infer = max_infer, .grad = max_grad,
              .joins = &tide_op_maximum, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0));
static void min_grad(tide_tape *t, const tide_node *n) {
    ATTRS(min);
    extreme_grad(t, &a->axis, a->keepdims);
}
TIDE_DESCRIBE(min, .flags = TIDE_HALF, .infer = min_infer, .grad = min_grad,
              .joins = &tide_op_minimum, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0));

/* -- truth and positions -- */
REDUCED(any, BOOLEAN, )
REDUCED(all, BOOLEAN, )
TIDE_DESCRIBE(any, .flags = TIDE_NOGRAD | TIDE_HALF, .infer = any_infer);
TIDE_DESCRIBE(all, .flags = TIDE_NOGRAD | TIDE_HALF, .infer = all_infer);

static tide_status position_infer(tide_call *c) {
    tide_argmax_attrs *a = c->attrs; /* argmin's are the same */
    const tide_tensor *x = c->in[0];
    tide_ints axis = {.n = -1};
    if (a->axis != TIDE_NONE) {
        TIDE_TRY(tide_axis(c, &a->axis, x->rank));
        axis = (tide_ints){.n = 1, .v = {a->axis}};
    }
    TIDE_TRY(no_empty(c, &axis));
    return reduced(c, &axis, a->keepdims, TIDE_I64);
}
TIDE_DESCRIBE(argmax, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS | TIDE_HALF, .infer = position_infer);
TIDE_DESCRIBE(argmin, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS | TIDE_HALF, .infer = position_infer);

/* -- running sums and products -- */
static tide_status running_infer(tide_call *c) {
    tide_cumsum_attrs *a = c->attrs; /* cumprod's are the same */
    const tide_tensor *x = c->in[0];
    c->meta[0] = tide_meta_of(x);
    c->meta[0].dtype = (uint8_t)summed_dtype(x->dtype);
    if (a->axis != TIDE_NONE) return tide_axis(c, &a->axis, x->rank);
    if (x->rank != 1)
        c->meta[0] = (tide_meta){.rank = 1, .dtype = c->meta[0].dtype, .shape = {tide_numel(x)}};
    return TIDE_OK;
}
static tide_tensor *like_input(tide_tape *t, tide_tensor *g) {
    const tide_meta *m = tide_t_in_meta(t, 0);
    return shaped(t, g, m->rank, m->shape);
}
static void cumsum_grad(tide_tape *t, const tide_node *n) {
    ATTRS(cumsum);
    tide_t_give(
        t, 0,
        like_input(
            t, tide_t(t, OP(cumsum, .axis = a->axis, .reverse_ = !a->reverse_), tide_t_dy(t, 0))));
}
TIDE_DESCRIBE(cumsum, .flags = TIDE_CONTIGUOUS | TIDE_CASTS | TIDE_HALF, .infer = running_infer,
              .grad = cumsum_grad);

/* x moved by one along an axis, towards the end or the start; `fill` in the place that becomes
 * free. */
static tide_tensor *moved(tide_tape *t, tide_tensor *x, int64_t axis, int to_end, double fill) {
    if (tide_t_failed(t)) return NULL;
    const tide_meta m = tide_meta_of(x);
    tide_ints one = shape_of(&m);
    tide_index__attrs rest =
        *TIDE_ATTRS(index_, .start.n = x->rank, .size = one, .step.n = x->rank);
    for (int i = 0; i < x->rank; i++) rest.step.v[i] = 1;
    rest.size.v[axis]--;
    rest.start.v[axis] = !to_end && x->shape[axis] > 1;
    one.v[axis] = 1;
    tide_tensor *pair[2], *y = NULL;
    pair[!to_end] = tide_t(t, OP(fill_, .shape = one, .value = TIDE_REAL(fill), .dtype = x->dtype));
    pair[to_end] = tide_t(t, TIDE_OP_index_, &rest, x);
    if (!tide_t_failed(t)) tide_tn(t, OP(concatenate, .axis = axis), 2, pair, &y);
    return y;
}

static tide_status recur_infer(tide_call *c) {
    tide_recur__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *b = c->in[1];
    if (x->dtype != b->dtype || !tide_same_shape(x, b))
        return tide_op_fail(c, TIDE_ESHAPE, "a and b differ in shape or dtype");
    c->meta[0] = tide_meta_of(x);
    return tide_axis(c, &a->axis, x->rank);
}
/* The cotangent of h runs back: s_j = dh_j + a_(j+1) s_(j+1);  db = s,  da_j = s_j h_(j-1). */
static void recur_grad(tide_tape *t, const tide_node *n) {
    ATTRS(recur_);
    tide_tensor *x = tide_t_in(t, 0), *h = tide_t_out(t, 0), *dy = tide_t_dy(t, 0);
    if (tide_t_failed(t)) return;
    if (tide_numel(x) == 0) {
        for (int i = 0; i < 2; i++) tide_t_give(t, i, dy);
        return;
    }
    tide_tensor *s = tide_t(t, OP(recur_, .axis = a->axis, .reverse_ = !a->reverse_),
                            moved(t, x, a->axis, a->reverse_, 0), dy);
    tide_t_give(t, 1, s);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0, tide_t(t, OP(multiply), s, moved(t, h, a->axis, !a->reverse_, 0)));
}
TIDE_DESCRIBE(recur_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = recur_infer,
              .grad = recur_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0));

/* dx_i = y_(i-1) s_i with s_i = dy_i + x_(i+1) s_(i+1): no division, exact where an x is 0. */
static void cumprod_grad(tide_tape *t, const tide_node *n) {
    ATTRS(cumprod);
    const int64_t axis = a->axis == TIDE_NONE ? 0 : a->axis;
    tide_tensor *x = in_doubles(t, tide_t_in(t, 0)), *y = in_doubles(t, tide_t_out(t, 0)),
                *dy = in_doubles(t, tide_t_dy(t, 0));
    if (tide_t_failed(t)) return;
    if (a->axis == TIDE_NONE) x = tide_t(t, OP(reshape, .newshape = TIDE_INTS(-1)), x);
    if (tide_t_failed(t)) return;
    if (tide_numel(x) == 0) {
        tide_t_give(t, 0, like_input(t, dy));
        return;
    }
    tide_tensor *next = moved(t, x, axis, a->reverse_, 0);
    tide_tensor *before = moved(t, y, axis, !a->reverse_, 1);
    tide_tensor *s = tide_t(t, OP(recur_, .axis = axis, .reverse_ = !a->reverse_), next, dy);
    tide_t_give(t, 0, like_input(t, tide_t(t, OP(multiply), s, before)));
}
TIDE_DESCRIBE(cumprod, .flags = TIDE_CONTIGUOUS | TIDE_CASTS | TIDE_HALF, .infer = running_infer,
              .grad = cumprod_grad, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0));

/* -- compositions -- */
static tide_status over_axes(tide_call *c) {
    return tide_axes(c, &((tide_var_attrs *)c->attrs)->axis, c->in[0]->rank);
}

/* What statistics of halves add is float32 and is rounded once, at the end. */
static int rounds_to(const tide_tensor *x) { return tide_is_float(x->dtype) ? x->dtype : TIDE_F32; }

/* The largest element is taken out first; it carries no gradient, since the result does not depend
 * on it. */
static void logsumexp_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    const tide_logsumexp_attrs *a = attrs;
    (void)nin;
    tide_tensor *x = widened(t, in[0]), *m = largest_of(t, x, a->axis);
    m = tide_t_wide(t, tide_t(t, OP(stop_gradient), m));
    if (!m) return;
    tide_tensor *top =
        tide_t(t, OP(select_), tide_t(t, OP(isfinite), m), m, tide_t_scalar(t, 0, m));
    tide_tensor *y =
        tide_t(t, OP(sum_of_, .of = TIDE_SUMMED_exp, .axis = a->axis, .keepdims = 1), x, top);
    y = tide_t(t, OP(add), tide_t(t, OP(log), y), top);
    if (y && !a->keepdims) {
        tide_ints all = a->axis;
        if (all.n < 0)
            for (all.n = 0; all.n < x->rank; all.n++) all.v[all.n] = all.n;
        y = tide_t(t, OP(squeeze, .axis = all), y);
    }
    out[0] = narrowed(t, y, rounds_to(in[0]));
}
TIDE_DESCRIBE(logsumexp, .infer = over_axes, .compose = logsumexp_compose);

static tide_tensor *variance(tide_tape *t, tide_tensor *x, tide_ints axis, int keepdims) {
    tide_tensor *m = tide_t(t, OP(sum_of_, .axis = axis, .keepdims = 1, .mean = 1), x, NULL);
    return tide_t(
        t, OP(sum_of_, .of = TIDE_SUMMED_square, .axis = axis, .keepdims = keepdims, .mean = 1), x,
        m);
}
static void var_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_var_attrs *a = attrs;
    (void)nin;
    out[0] = narrowed(t, variance(t, widened(t, in[0]), a->axis, a->keepdims), rounds_to(in[0]));
}
TIDE_DESCRIBE(var, .infer = over_axes, .compose = var_compose);

/* The gradient of equal elements is 0. */
static void std_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_std_attrs *a = attrs;
    (void)nin;
    tide_tensor *v = variance(t, widened(t, in[0]), a->axis, a->keepdims);
    out[0] = narrowed(t, tide_t(t, OP(root_), v), rounds_to(in[0]));
}
TIDE_DESCRIBE(std, .infer = over_axes, .compose = std_compose);

static void count_nonzero_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                  tide_tensor **out) {
    const tide_count_nonzero_attrs *a = attrs;
    (void)nin;
    tide_tensor *zero = tide_t_scalar(t, 0, in[0]);
    out[0] = tide_t(t, OP(sum, .axis = a->axis, .keepdims = a->keepdims),
                    tide_t(t, OP(not_equal), in[0], zero));
}
TIDE_DESCRIBE(count_nonzero, .flags = TIDE_NOGRAD, .infer = over_axes,
              .compose = count_nonzero_compose);
