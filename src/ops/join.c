/* Joining, padding and repeating tensors. Their gradients are parts of the gradient, or sums of
 * parts. */
#include "helpers.h"

#include <stdlib.h>
#include <string.h>

/* Elements [start, start + size) of one axis: a view. */
static tide_tensor *part(tide_tape *t, tide_tensor *x, int64_t axis, int64_t start, int64_t size) {
    if (!x) return NULL;
    tide_index__attrs a =
        *TIDE_ATTRS(index_, .start.n = x->rank, .size.n = x->rank, .step.n = x->rank);
    for (int i = 0; i < x->rank; i++) {
        a.size.v[i] = i == axis ? size : x->shape[i];
        a.start.v[i] = i == axis ? start : 0;
        a.step.v[i] = 1;
    }
    return tide_t(t, TIDE_OP_index_, &a, x);
}

/* -- stack -- */
static tide_status stack_infer(tide_call *c) {
    tide_stack_attrs *a = c->attrs;
    if (c->nin == 0) return tide_op_fail(c, TIDE_EARG, "the list of tensors is empty");
    char first[160], other[160];
    const tide_tensor *x = c->in[0];
    for (int k = 1; k < c->nin; k++) {
        const tide_tensor *y = c->in[k];
        if (!tide_same_shape(x, y))
            return tide_op_fail(c, TIDE_ESHAPE,
                                "tensor %d has another shape than the first (expected %s, got %s)",
                                k + 1, tide_shape_str(x->rank, x->shape, first, sizeof first),
                                tide_shape_str(y->rank, y->shape, other, sizeof other));
    }
    if (x->rank == TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    return tide_axis(c, &a->axis, x->rank + 1);
}
static void stack_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_stack_attrs *a = attrs;
    int64_t axis = a->axis;
    tide_tensor *joined = NULL, **wide = malloc((size_t)nin * sizeof *wide);
    if (!wide) {
        tide_t_fail(t, tide_fail(tide_t_ctx(t), TIDE_ENOMEM, "stack: not enough memory"));
        return;
    }
    for (int k = 0; k < nin && !tide_t_failed(t); k++)
        wide[k] = tide_t(t, OP(expand_dims, .axis = TIDE_INTS(axis)), in[k]);
    if (!tide_t_failed(t)) tide_tn(t, OP(concatenate, .axis = axis), nin, wide, &joined);
    free(wide);
    out[0] = joined;
}
TIDE_DESCRIBE(stack, .infer = stack_infer, .compose = stack_compose);

/* -- pad -- */
static tide_status pad_infer(tide_call *c) {
    tide_pad_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char buf[160];
    if (a->pad_width.n <= 1) { /* one width or pair for all axes; n = 0 holds a single number */
        for (int i = 1; i < x->rank; i++)
            memcpy(a->pad_width.v[i], a->pad_width.v[0], sizeof a->pad_width.v[0]);
        a->pad_width.n = x->rank;
    }
    if (a->pad_width.n != x->rank)
        return tide_op_fail(c, TIDE_EARG,
                            "pad_width needs one pair per axis (expected %d, got %ld)", x->rank,
                            (long)a->pad_width.n);
    if (a->mode != TIDE_MARGIN_constant && a->constant_values.is)
        return tide_op_fail(c, TIDE_EARG, "constant_values is only for mode \"constant\"");
    c->meta[0] = tide_meta_of(x);
    for (int i = 0; i < x->rank; i++) {
        int64_t before = a->pad_width.v[i][0], after = a->pad_width.v[i][1],
                *d = &c->meta[0].shape[i];
        if (before < 0 || after < 0)
            return tide_op_fail(c, TIDE_EARG, "pad_width of axis %d is negative (got {%ld, %ld})",
                                i + 1, (long)before, (long)after);
        if (a->mode != TIDE_MARGIN_constant && x->shape[i] == 0 && (before > 0 || after > 0))
            return tide_op_fail(c, TIDE_ESHAPE,
                                "axis %d of %s is empty and can only be padded with a constant",
                                i + 1, tide_shape_str(x->rank, x->shape, buf, sizeof buf));
        if (__builtin_add_overflow(*d, before, d) || __builtin_add_overflow(*d, after, d))
            return tide_op_fail(c, TIDE_ESHAPE, "the result has too many elements");
    }
    int64_t total;
    return tide_numel_of(c, x->rank, c->meta[0].shape, &total);
}
static void pad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(pad);
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_tensor *dy = tide_t_dy(t, 0);
    if (a->mode == TIDE_MARGIN_constant) {
        tide_index__attrs ix =
            *TIDE_ATTRS(index_, .start.n = m->rank, .size = shape_of(m), .step.n = m->rank);
        for (int i = 0; i < m->rank; i++) ix.start.v[i] = a->pad_width.v[i][0], ix.step.v[i] = 1;
        tide_t_give(t, 0, tide_t(t, TIDE_OP_index_, &ix, dy));
        return;
    }
    tide_t_give(
        t, 0,
        tide_t(t, OP(pad_grad_, .pad_width = a->pad_width, .mode = a->mode, .shape = shape_of(m)),
               dy));
}
TIDE_DESCRIBE(pad, .flags = TIDE_HALF | TIDE_CONTIGUOUS, .infer = pad_infer, .grad = pad_grad);

static tide_status pad_grad_infer(tide_call *c) {
    const tide_pad_grad__attrs *a = c->attrs;
    c->meta[0] = (tide_meta){.rank = (uint8_t)a->shape.n, .dtype = c->in[0]->dtype};
    for (int i = 0; i < a->shape.n; i++) c->meta[0].shape[i] = a->shape.v[i];
    return TIDE_OK;
}
static void pad_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(pad_grad_);
    tide_t_give(t, 0,
                tide_t(t, OP(pad, .pad_width = a->pad_width, .mode = a->mode), tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(pad_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = pad_grad_infer, .grad = pad_grad_grad);

/* y, or a copy where it still stands in the memory of x: what repeats and rolls gives a tensor of
 * its own, also where there is nothing to do. */
static tide_tensor *apart(tide_tape *t, tide_tensor *y, const tide_tensor *x) {
    return y && y->storage == x->storage ? tide_t(t, OP(copy), y) : y;
}

/* -- repeating: a new axis, broadcast, copied, and folded into its neighbour -- */

/* The axis' elements `copies` times, each one after the other (inside) or the whole axis again and
 * again. */
static tide_tensor *repeated(tide_tape *t, tide_tensor *x, int64_t axis, int64_t copies,
                             int inside) {
    if (!x || copies == 1) return x;
    int64_t fresh = inside ? axis + 1 : axis;
    tide_tensor *y = tide_t(t, OP(expand_dims, .axis = TIDE_INTS(fresh)), x);
    if (!y) return NULL;
    tide_ints wide = {.n = y->rank}, folded = {.n = x->rank};
    for (int i = 0; i < y->rank; i++) wide.v[i] = i == fresh ? copies : y->shape[i];
    for (int i = 0; i < x->rank; i++) /* what overflows is refused by broadcast_to */
        if (__builtin_mul_overflow(x->shape[i], i == axis ? copies : 1, &folded.v[i]))
            folded.v[i] = INT64_MAX;
    return tide_t(t, OP(reshape, .newshape = folded),
                  tide_t(t, OP(copy), tide_t(t, OP(broadcast_to, .shape = wide), y)));
}

static tide_status tile_infer(tide_call *c) {
    const tide_tile_attrs *a = c->attrs;
    for (int64_t i = 0; i < a->repeats.n; i++)
        if (a->repeats.v[i] < 0)
            return tide_op_fail(c, TIDE_EARG, "repeats must not be negative (got %ld)",
                                (long)a->repeats.v[i]);
    for (int64_t i = 0; i < a->repeats.n; i++)
        if (a->repeats.v[i] == 0) return TIDE_OK;
    int64_t n = tide_numel(c->in[0]);
    for (int64_t i = 0; i < a->repeats.n && n > 0; i++)
        if (__builtin_mul_overflow(n, a->repeats.v[i], &n) || n > TIDE_MAX_NUMEL)
            return tide_op_fail(
                c, TIDE_ESHAPE,
                "the result has too many elements (input %s, repeats %ld of axis %d)",
                TIDE_SHAPE_OF(c->in[0]), (long)a->repeats.v[i], (int)i + 1);
    return TIDE_OK;
}
static void tile_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_tile_attrs *a = attrs;
    tide_tensor *x = in[0];
    (void)nin;
    if (a->repeats.n > x->rank) {
        tide_ints shape = {.n = a->repeats.n};
        for (int64_t i = 0, lead = a->repeats.n - x->rank; i < a->repeats.n; i++)
            shape.v[i] = i < lead ? 1 : x->shape[i - lead];
        x = tide_t(t, OP(reshape, .newshape = shape), x);
    }
    for (int64_t i = a->repeats.n - 1; i >= 0 && x; i--)
        x = repeated(t, x, x->rank - a->repeats.n + i, a->repeats.v[i], 0);
    out[0] = apart(t, x, in[0]);
}
TIDE_DESCRIBE(tile, .infer = tile_infer, .compose = tile_compose);

static tide_status rep_infer(tide_call *c) {
    tide_rep_attrs *a = c->attrs;
    if (a->repeats < 0)
        return tide_op_fail(c, TIDE_EARG, "repeats must not be negative (got %ld)",
                            (long)a->repeats);
    return a->axis == TIDE_NONE ? TIDE_OK : tide_axis(c, &a->axis, c->in[0]->rank);
}
static void rep_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_rep_attrs *a = attrs;
    (void)nin;
    tide_tensor *x = a->axis == TIDE_NONE ? tide_t(t, OP(ravel), in[0]) : in[0];
    x = repeated(t, x, a->axis == TIDE_NONE ? 0 : a->axis, a->repeats, 1);
    out[0] = apart(t, x, in[0]);
}
TIDE_DESCRIBE(rep, .infer = rep_infer, .compose = rep_compose);

/* -- flip, roll -- */
static tide_status flip_infer(tide_call *c) {
    return tide_axes(c, &((tide_flip_attrs *)c->attrs)->axis, c->in[0]->rank);
}
static void flip_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_flip_attrs *a = attrs;
    const tide_tensor *x = in[0];
    (void)nin;
    unsigned back = a->axis.n < 0 ? ~0u : 0;
    for (int64_t i = 0; i < a->axis.n; i++) back |= 1u << a->axis.v[i];
    tide_index__attrs ix =
        *TIDE_ATTRS(index_, .start.n = x->rank, .size.n = x->rank, .step.n = x->rank);
    for (int i = 0; i < x->rank; i++) {
        ix.size.v[i] = x->shape[i];
        ix.step.v[i] = back >> i & 1 ? -1 : 1;
        ix.start.v[i] = back >> i & 1 && x->shape[i] ? x->shape[i] - 1 : 0;
    }
    out[0] = tide_t(t, TIDE_OP_index_, &ix, in[0]);
}
TIDE_DESCRIBE(flip, .infer = flip_infer, .compose = flip_compose);

static tide_status roll_infer(tide_call *c) {
    tide_roll_attrs *a = c->attrs;
    TIDE_TRY(tide_axes(c, &a->axis, c->in[0]->rank));
    int64_t n = a->axis.n < 0 ? 1 : a->axis.n;
    if (a->shift.n != n && a->shift.n != 1)
        return tide_op_fail(c, TIDE_EARG, "shift needs one number per axis (expected %ld, got %ld)",
                            (long)n, (long)a->shift.n);
    return TIDE_OK;
}
static tide_tensor *rolled(tide_tape *t, tide_tensor *x, int64_t axis, int64_t shift) {
    if (!x || x->shape[axis] == 0) return x;
    int64_t n = x->shape[axis], k = (shift % n + n) % n;
    if (k == 0) return x;
    tide_tensor *two[2] = {part(t, x, axis, n - k, k), part(t, x, axis, 0, n - k)}, *y;
    if (tide_t_failed(t)) return NULL;
    tide_tn(t, OP(concatenate, .axis = axis), 2, two, &y);
    return y;
}
static void roll_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_roll_attrs *a = attrs;
    (void)nin;
    if (a->axis.n < 0) {
        tide_meta m = tide_meta_of(in[0]);
        out[0] = apart(t,
                       tide_t(t, OP(reshape, .newshape = shape_of(&m)),
                              rolled(t, tide_t(t, OP(ravel), in[0]), 0, a->shift.v[0])),
                       in[0]);
        return;
    }
    tide_tensor *x = in[0];
    for (int64_t i = 0; i < a->axis.n; i++)
        x = rolled(t, x, a->axis.v[i], a->shift.v[a->shift.n == 1 ? 0 : i]);
    out[0] = apart(t, x, in[0]);
}
TIDE_DESCRIBE(roll, .infer = roll_infer, .compose = roll_compose);
