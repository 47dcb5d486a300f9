/* Taking elements from positions and putting them there. Taking and adding are each other's
 * gradient, so derivatives of any order exist. */
#include "helpers.h"

static tide_status whole_numbers(tide_call *c, const tide_tensor *x, const char *name) {
    if (tide_is_float(x->dtype))
        return tide_op_fail(c, TIDE_EDTYPE,
                            "%s must hold whole numbers (expected an integer dtype, got %s); cast "
                            "it, e.g. to int32",
                            name, tide_dtype_name(x->dtype));
    return TIDE_OK;
}

/* -- take -- */
static tide_status take_infer(tide_call *c) {
    tide_take_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *ix = c->in[1];
    TIDE_TRY(whole_numbers(c, ix, "indices"));
    tide_ints shape = {.n = 0};
    int rank = a->axis == TIDE_NONE ? 1 : x->rank;
    if (rank + ix->rank - 1 > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "the result would have more than %d axes",
                            TIDE_MAX_RANK);
    if (a->axis != TIDE_NONE) TIDE_TRY(tide_axis(c, &a->axis, rank));
    int64_t axis = a->axis == TIDE_NONE ? 0 : a->axis;
    for (int i = 0; i < rank; i++) {
        if (i != axis) shape.v[shape.n++] = x->shape[i];
        for (int k = 0; k < ix->rank && i == axis; k++) shape.v[shape.n++] = ix->shape[k];
    }
    return result_of(c, &shape, x->dtype);
}
static void take_grad(tide_tape *t, const tide_node *n) {
    ATTRS(take);
    tide_t_give(t, 0,
                tide_t(t,
                       OP(take_grad_, .shape = shape_of(tide_t_in_meta(t, 0)), .axis = a->axis,
                          .base = a->base),
                       tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(take, .whole = TIDE_SAVE_IN(1), .flags = TIDE_HALF | TIDE_CONTIGUOUS,
              .infer = take_infer, .grad = take_grad, .saves = TIDE_SAVE_IN(1));

static tide_status take_grad_infer(tide_call *c) {
    const tide_take_grad__attrs *a = c->attrs;
    return result_of(c, &a->shape, c->in[0]->dtype);
}
static void take_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(take_grad_);
    tide_t_give(
        t, 0,
        tide_t(t, OP(take, .axis = a->axis, .base = a->base), tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(take_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = take_grad_infer, .grad = take_grad_grad, .saves = TIDE_SAVE_IN(1));

/* -- take_along_axis -- */
static tide_status take_along_infer(tide_call *c) {
    tide_take_along__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *ix = c->in[1];
    char s[160], r[160];
    TIDE_TRY(whole_numbers(c, ix, "indices"));
    int fits = x->rank == ix->rank;
    if (fits) TIDE_TRY(tide_axis(c, &a->axis, x->rank));
    for (int i = 0; i < x->rank && fits; i++) fits = i == a->axis || x->shape[i] == ix->shape[i];
    if (!fits)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "indices do not fit x outside of the axis (expected %s, got %s)",
                            tide_shape_str(x->rank, x->shape, s, sizeof s),
                            tide_shape_str(ix->rank, ix->shape, r, sizeof r));
    c->meta[0] = tide_meta_of(ix);
    c->meta[0].dtype = x->dtype;
    return TIDE_OK;
}
static void take_along_grad(tide_tape *t, const tide_node *n) {
    ATTRS(take_along_);
    tide_t_give(t, 0,
                tide_t(t,
                       OP(take_along_grad_, .n = tide_t_in_meta(t, 0)->shape[a->axis],
                          .axis = a->axis, .base = a->base),
                       tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(take_along_, .flags = TIDE_HALF | TIDE_CONTIGUOUS | TIDE_INTERNAL,
              .infer = take_along_infer, .grad = take_along_grad, .saves = TIDE_SAVE_IN(1));

static tide_status take_along_grad_infer(tide_call *c) {
    tide_take_along_grad__attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    c->meta[0] = tide_meta_of(c->in[0]);
    c->meta[0].shape[a->axis] = a->n;
    return TIDE_OK;
}
static void take_along_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(take_along_grad_);
    tide_t_give(t, 0,
                tide_t(t, OP(take_along_, .axis = a->axis, .base = a->base), tide_t_dy(t, 0),
                       tide_t_in(t, 1)));
}
TIDE_DESCRIBE(take_along_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = take_along_grad_infer, .grad = take_along_grad_grad,
              .saves = TIDE_SAVE_IN(1));

static tide_status take_along_axis_infer(tide_call *c) {
    tide_take_along_axis_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *ix = c->in[1];
    char s[160], r[160];
    TIDE_TRY(whole_numbers(c, ix, "indices"));
    if (a->axis == TIDE_NONE) return TIDE_OK;
    TIDE_TRY(tide_axis(c, &a->axis, x->rank));
    int fits = x->rank == ix->rank;
    for (int i = 0; i < x->rank && fits; i++)
        fits = i == a->axis || x->shape[i] == ix->shape[i] || x->shape[i] == 1 || ix->shape[i] == 1;
    if (fits) return TIDE_OK;
    return tide_op_fail(c, TIDE_ESHAPE,
                        "indices do not fit x outside of axis %ld (expected %s, got %s)",
                        (long)a->axis + 1, tide_shape_str(x->rank, x->shape, s, sizeof s),
                        tide_shape_str(ix->rank, ix->shape, r, sizeof r));
}
static void take_along_axis_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                    tide_tensor **out) {
    const tide_take_along_axis_attrs *a = attrs;
    tide_tensor *x = in[0], *ix = in[1];
    (void)nin;
    int64_t axis = a->axis;
    if (axis == TIDE_NONE) {
        x = tide_t(t, OP(ravel), x), ix = tide_t(t, OP(ravel), ix), axis = 0;
        if (tide_t_failed(t)) return;
    }
    tide_ints xs = {.n = x->rank}, is = {.n = x->rank};
    int same = 1;
    for (int i = 0; i < x->rank; i++) {
        xs.v[i] = x->shape[i], is.v[i] = ix->shape[i];
        if (i == axis || xs.v[i] == is.v[i]) continue;
        same = 0;
        if (xs.v[i] == 1) xs.v[i] = is.v[i];
        else is.v[i] = xs.v[i];
    }
    if (!same)
        x = tide_t(t, OP(broadcast_to, .shape = xs), x),
        ix = tide_t(t, OP(broadcast_to, .shape = is), ix);
    out[0] = tide_t(t, OP(take_along_, .axis = axis, .base = a->base), x, ix);
}
TIDE_DESCRIBE(take_along_axis, .whole = TIDE_SAVE_IN(1), .infer = take_along_axis_infer,
              .compose = take_along_axis_compose);

/* -- gather_nd, scatter, scatter_update -- */

/* k: how many leading axes a row of indices names. `rest` gets the shape of a part of x. */
static tide_status indexed(tide_call *c, const tide_tensor *ix, const char *of, int rank,
                           const int64_t *shape, int *k, tide_ints *values) {
    char s[160], r[160];
    TIDE_TRY(whole_numbers(c, ix, "indices"));
    if (ix->rank < 1 || ix->shape[ix->rank - 1] > rank)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "rows of indices name more axes than %s has (expected at most %d in "
                            "%s, got indices %s)",
                            of, rank, tide_shape_str(rank, shape, s, sizeof s),
                            tide_shape_str(ix->rank, ix->shape, r, sizeof r));
    *k = (int)ix->shape[ix->rank - 1];
    values->n = 0;
    if (ix->rank - 1 + rank - *k > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    for (int i = 0; i + 1 < ix->rank; i++) values->v[values->n++] = ix->shape[i];
    for (int i = *k; i < rank; i++) values->v[values->n++] = shape[i];
    return TIDE_OK;
}
static tide_status fits_values(tide_call *c, const tide_tensor *v, const char *name,
                               const tide_ints *want) {
    char s[160], r[160];
    if (tide_has_shape(v, (int)want->n, want->v)) return TIDE_OK;
    return tide_op_fail(c, TIDE_ESHAPE, "%s has the wrong shape (expected %s, got %s)", name,
                        tide_shape_str((int)want->n, want->v, s, sizeof s),
                        tide_shape_str(v->rank, v->shape, r, sizeof r));
}

static tide_status gather_nd_infer(tide_call *c) {
    int k;
    tide_ints shape;
    TIDE_TRY(indexed(c, c->in[1], "x", c->in[0]->rank, c->in[0]->shape, &k, &shape));
    return result_of(c, &shape, c->in[0]->dtype);
}
static void gather_nd_grad(tide_tape *t, const tide_node *n) {
    ATTRS(gather_nd);
    tide_t_give(t, 0,
                tide_t(t, OP(scatter, .shape = shape_of(tide_t_in_meta(t, 0)), .base = a->base),
                       tide_t_in(t, 1), tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(gather_nd, .whole = TIDE_SAVE_IN(1), .flags = TIDE_HALF | TIDE_CONTIGUOUS,
              .infer = gather_nd_infer, .grad = gather_nd_grad, .saves = TIDE_SAVE_IN(1));

static tide_status scatter_infer(tide_call *c) {
    const tide_scatter_attrs *a = c->attrs;
    int k;
    tide_ints want;
    TIDE_TRY(indexed(c, c->in[0], "the result", (int)a->shape.n, a->shape.v, &k, &want));
    TIDE_TRY(fits_values(c, c->in[1], "values", &want));
    return result_of(c, &a->shape, c->in[1]->dtype);
}
static void scatter_grad(tide_tape *t, const tide_node *n) {
    ATTRS(scatter);
    tide_t_give(t, 1, tide_t(t, OP(gather_nd, .base = a->base), tide_t_dy(t, 0), tide_t_in(t, 0)));
}
TIDE_DESCRIBE(scatter, .whole = TIDE_SAVE_IN(0), .flags = TIDE_CONTIGUOUS | TIDE_HALF,
              .infer = scatter_infer, .grad = scatter_grad, .saves = TIDE_SAVE_IN(0));

static tide_status scatter_update_infer(tide_call *c) {
    int k;
    tide_ints want;
    TIDE_TRY(indexed(c, c->in[1], "inputs", c->in[0]->rank, c->in[0]->shape, &k, &want));
    TIDE_TRY(fits_values(c, c->in[2], "updates", &want));
    if (c->in[2]->dtype != c->in[0]->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "updates have another dtype (expected %s, got %s)",
                            tide_dtype_name(c->in[0]->dtype), tide_dtype_name(c->in[2]->dtype));
    return tide_infer_same(c);
}
/* With a reduction: add passes dy to both; max and min in equal parts to whatever equals the result
 * in its place; mul to each factor of a place dy times the product of the others, made without the
 * factors that are 0: with one other of them the product is 0. */
static void reduced_update_grad(tide_tape *t, const tide_scatter_update_attrs *a) {
    tide_tensor *dy = tide_t_dy(t, 0), *x = tide_t_in(t, 0), *ix = tide_t_in(t, 1);
    tide_tensor *u = tide_t_in(t, 2), *y = tide_t_out(t, 0);
    if (a->reduction != TIDE_REDUCTION_add) /* several ops: in float32 */
        dy = tide_t_wide(t, dy), x = tide_t_wide(t, x), u = tide_t_wide(t, u),
        y = tide_t_wide(t, y);
    if (tide_t_failed(t)) return;
    const tide_gather_nd_attrs at = *TIDE_ATTRS(gather_nd, .base = a->base);
    const tide_ints shape = shape_of(tide_t_in_meta(t, 0));
    tide_tensor *dx = dy, *du = NULL;
    if (a->reduction == TIDE_REDUCTION_mul) {
        tide_tensor *zero = tide_t(t, OP(equal), u, tide_t_scalar(t, 0, dy));
        tide_tensor *is_0 = tide_t(t, OP(cast, .dtype = dy->dtype), zero);
        tide_tensor *factor = tide_t(t, OP(select_), zero, tide_t_scalar(t, 1, dy), u);
        tide_tensor *ones =
            tide_t(t, OP(fill_, .shape = shape, .value = TIDE_WHOLE(1), .dtype = dy->dtype));
        dx = tide_t(t, OP(multiply), dy, tide_t(t, TIDE_OP_scatter_update, a, ones, ix, u));
        tide_tensor *all =
            tide_t(t, OP(multiply), dy, tide_t(t, TIDE_OP_scatter_update, a, x, ix, factor));
        tide_tensor *others = tide_t(t, OP(scatter, .shape = shape, .base = a->base), ix,
                                     is_0); /* zeros at a place */
        others = tide_t(t, OP(subtract), tide_t(t, TIDE_OP_gather_nd, &at, others, ix), is_0);
        du = tide_t(t, OP(divide), tide_t(t, TIDE_OP_gather_nd, &at, all, ix), factor);
        du = tide_t(t, OP(select_), tide_t(t, OP(equal), others, tide_t_scalar(t, 0, dy)), du,
                    tide_t_scalar(t, 0, dy));
    } else if (a->reduction != TIDE_REDUCTION_add) {
        tide_tensor *kept = tide_t(t, OP(cast, .dtype = dy->dtype), tide_t(t, OP(equal), x, y));
        tide_tensor *taken = tide_t(t, OP(equal), u, tide_t(t, TIDE_OP_gather_nd, &at, y, ix));
        taken = tide_t(t, OP(cast, .dtype = dy->dtype), taken);
        tide_tensor *hits = tide_t(t, OP(scatter, .shape = shape, .base = a->base), ix, taken);
        tide_tensor *part = tide_t(t, OP(divide), dy, tide_t(t, OP(add), kept, hits));
        dx = tide_t(t, OP(multiply), kept, part);
        du = tide_t(t, OP(multiply), taken, tide_t(t, TIDE_OP_gather_nd, &at, part, ix));
    } else du = tide_t(t, TIDE_OP_gather_nd, &at, dy, ix);
    if (tide_t_needs(t, 0)) tide_t_give(t, 0, dx);
    if (tide_t_needs(t, 2)) tide_t_give(t, 2, du);
}
/* Of several updates of one place the last stays: only it gets the gradient. Each place is stamped
 * with the number of its last update, and an update whose stamp is not its own gets 0. */
static void scatter_update_grad(tide_tape *t, const tide_node *n) {
    ATTRS(scatter_update);
    tide_tensor *dy = tide_t_dy(t, 0), *ix = tide_t_in(t, 1), *zero = tide_t_scalar(t, 0, dy);
    const tide_meta *m = tide_t_in_meta(t, 0), *u = tide_t_in_meta(t, 2);
    if (tide_t_failed(t)) return;
    if (a->reduction) {
        reduced_update_grad(t, a);
        return;
    }
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t, OP(scatter_update, .base = a->base), dy, ix,
                           tide_t(t, OP(broadcast_to, .shape = shape_of(u)), zero)));
    if (!tide_t_needs(t, 2)) return;
    int64_t k = ix->shape[ix->rank - 1], rows = 1;
    tide_ints row_shape = {.n = ix->rank - 1}, places = {.n = k}, wide = {.n = u->rank};
    for (int i = 0; i < ix->rank - 1; i++) rows *= row_shape.v[i] = ix->shape[i];
    for (int64_t i = 0; i < k; i++) places.v[i] = m->shape[i];
    for (int i = 0; i < u->rank; i++) wide.v[i] = i < row_shape.n ? u->shape[i] : 1;
    tide_tensor *number =
        tide_t(t, OP(reshape, .newshape = row_shape),
               tide_t(t, OP(arange_, .n = rows, .start = 0, .step = 1, .dtype = TIDE_I64)));
    tide_tensor *stamps =
        tide_t(t, OP(fill_, .shape = places, .value = TIDE_WHOLE(-1), .dtype = TIDE_I64));
    stamps = tide_t(t, OP(scatter_update, .base = a->base), stamps, ix, number);
    tide_tensor *last =
        tide_t(t, OP(equal), tide_t(t, OP(gather_nd, .base = a->base), stamps, ix), number);
    last = tide_t(t, OP(reshape, .newshape = wide), last);
    tide_t_give(
        t, 2,
        tide_t(t, OP(select_), last, tide_t(t, OP(gather_nd, .base = a->base), dy, ix), zero));
}
TIDE_DESCRIBE(scatter_update, .whole = TIDE_SAVE_IN(1), .flags = TIDE_HALF | TIDE_CONTIGUOUS,
              .infer = scatter_update_infer, .grad = scatter_update_grad,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_OUT(0));

static void put_rows_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                             tide_tensor **out) {
    (void)attrs, (void)nin;
    tide_tensor *ix = tide_t(t, OP(reshape, .newshape = TIDE_INTS(tide_numel(in[1]), 1)), in[1]);
    out[0] = tide_t(t, OP(scatter_update), in[0], ix, in[2]);
}
TIDE_DESCRIBE(put_rows, .compose = put_rows_compose);

/* -- slice, slice_update: blocks at a position -- */
static tide_status block(tide_call *c, const tide_ints *start, tide_ints *shape, int64_t base) {
    const tide_tensor *x = c->in[0];
    char s[160];
    if (start->n != x->rank || shape->n != x->rank)
        return tide_op_fail(
            c, TIDE_EARG,
            "start_indices and shape need one number per axis (expected %d, got %ld and %ld)",
            x->rank, (long)start->n, (long)shape->n);
    for (int i = 0; i < x->rank; i++) {
        int64_t from = (int64_t)((uint64_t)start->v[i] -
                                 (uint64_t)base); /* wraps where it is out of range anyway */
        if (shape->v[i] == -1 && from >= 0 && from <= x->shape[i]) shape->v[i] = x->shape[i] - from;
        if (from < 0 || shape->v[i] < 0 || from > x->shape[i] || shape->v[i] > x->shape[i] - from)
            return tide_op_fail(
                c, TIDE_EINDEX,
                "a block of %ld from %ld lies outside of axis %d of %s (expected %ld..%ld)",
                (long)shape->v[i], (long)start->v[i], i + 1,
                tide_shape_str(x->rank, x->shape, s, sizeof s), (long)base,
                (long)((uint64_t)x->shape[i] - 1 + (uint64_t)base));
    }
    return TIDE_OK;
}
static tide_ints from_zero(const tide_ints *start, int64_t base) {
    tide_ints s = *start;
    for (int64_t i = 0; i < s.n; i++) s.v[i] -= base;
    return s;
}
static tide_ints ones(int64_t n) {
    tide_ints s = {.n = n};
    for (int64_t i = 0; i < n; i++) s.v[i] = 1;
    return s;
}
static tide_status slice_infer(tide_call *c) {
    tide_slice_attrs *a = c->attrs;
    return block(c, &a->start_indices, &a->shape, a->base);
}
static void slice_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    const tide_slice_attrs *a = attrs;
    (void)nin;
    out[0] = tide_t(t,
                    OP(index_, .start = from_zero(&a->start_indices, a->base), .size = a->shape,
                       .step = ones(a->shape.n)),
                    in[0]);
}
TIDE_DESCRIBE(slice, .infer = slice_infer, .compose = slice_compose);

static tide_status slice_update_infer(tide_call *c) {
    tide_slice_update_attrs *a = c->attrs;
    tide_ints shape = {.n = c->in[1]->rank};
    for (int i = 0; i < c->in[1]->rank; i++) shape.v[i] = c->in[1]->shape[i];
    return block(c, &a->start_indices, &shape, a->base);
}
static void slice_update_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                 tide_tensor **out) {
    const tide_slice_update_attrs *a = attrs;
    tide_meta u = tide_meta_of(in[1]);
    (void)nin;
    tide_tensor *v =
        in[1]->dtype == in[0]->dtype ? in[1] : tide_t(t, OP(cast, .dtype = in[0]->dtype), in[1]);
    out[0] = tide_t(t,
                    OP(index_put_, .start = from_zero(&a->start_indices, a->base),
                       .size = shape_of(&u), .step = ones(u.rank)),
                    in[0], v);
}
TIDE_DESCRIBE(slice_update, .infer = slice_update_infer, .compose = slice_update_compose);

/* -- masks: how long their results are depends on the elements, which other ops count -- */

/* The number that an op makes of x. */
static tide_status number_of(tide_call *c, const tide_op *op, const void *attrs, tide_tensor *x,
                             int64_t *out) {
    tide_tensor *y = NULL;
    TIDE_TRY(tide_apply(c->ctx, op, attrs, 1, &x, &y));
    *out = tide_item_int(y, 0);
    tide_release(y);
    return TIDE_OK;
}
static tide_status count_true(tide_call *c, int64_t *count) {
    const int64_t n = tide_numel(c->in[0]), one = 1;
    *count = 0;
    for (int64_t at = 0, m, k; at < n; at += m) { /* in parts, since counts are int32 */
        tide_tensor *part;
        m = n - at < INT32_MAX ? n - at : INT32_MAX;
        TIDE_TRY(tide_view(c->ctx, c->in[0], 1, &m, &one, c->in[0]->offset + at, &part));
        const tide_count_nonzero_attrs all = *TIDE_ATTRS(count_nonzero);
        const tide_status st = number_of(c, &tide_op_count_nonzero, &all, part, &k);
        tide_release(part);
        TIDE_TRY(st);
        *count += k;
    }
    return TIDE_OK;
}
static tide_status flatnonzero_measure(tide_call *c) {
    int64_t n;
    TIDE_TRY(count_true(c, &n));
    return result_of(c, &(tide_ints){.n = 1, .v = {n}}, TIDE_I64);
}
TIDE_DESCRIBE(flatnonzero, .flags = TIDE_NOGRAD | TIDE_HALF | TIDE_CONTIGUOUS,
              .measure = flatnonzero_measure);
static tide_status nonzero_measure(tide_call *c) {
    int64_t n;
    TIDE_TRY(count_true(c, &n));
    return result_of(c, &(tide_ints){.n = 2, .v = {n, c->in[0]->rank}}, TIDE_I64);
}
TIDE_DESCRIBE(nonzero_, .flags = TIDE_NOGRAD | TIDE_HALF | TIDE_CONTIGUOUS,
              .measure = nonzero_measure);

static tide_status boolean_mask_infer(tide_call *c) {
    const tide_tensor *x = c->in[0], *m = c->in[1];
    char s[160], r[160];
    int fits = m->rank <= x->rank;
    for (int i = 0; i < m->rank && fits; i++) fits = m->shape[i] == x->shape[i];
    if (!fits)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "the mask does not cover the leading axes of x (expected the beginning of %s, got %s)",
            tide_shape_str(x->rank, x->shape, s, sizeof s),
            tide_shape_str(m->rank, m->shape, r, sizeof r));
    if (1 + x->rank - m->rank > TIDE_MAX_RANK)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "a mask without axes gives x one axis more (expected at most %d in all, got %d)",
            TIDE_MAX_RANK, 1 + x->rank);
    return TIDE_OK;
}
static void boolean_mask_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                 tide_tensor **out) {
    const tide_tensor *x = in[0];
    (void)attrs, (void)nin;
    tide_ints flat = {.n = 1 + x->rank - in[1]->rank, .v = {tide_numel(in[1])}};
    for (int i = in[1]->rank; i < x->rank; i++) flat.v[1 + i - in[1]->rank] = x->shape[i];
    tide_tensor *rows = tide_t(t, OP(reshape, .newshape = flat), in[0]);
    out[0] = tide_t(t, OP(take, .axis = 0, .base = 0), rows,
                    tide_t(t, OP(flatnonzero, .base = 0), in[1]));
}
TIDE_DESCRIBE(boolean_mask, .infer = boolean_mask_infer, .compose = boolean_mask_compose);

/* -- one_hot, bincount -- */
static tide_status one_hot_infer(tide_call *c) {
    tide_one_hot_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    TIDE_TRY(whole_numbers(c, x, "x"));
    if (x->rank == TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    if (a->sparse)
        return tide_op_fail(c, TIDE_EARG, "sparse must be false (got true): results are dense");
    if (a->num_classes < 0)
        return tide_op_fail(c, TIDE_EARG, "num_classes must not be negative (got %ld)",
                            (long)a->num_classes);
    TIDE_TRY(tide_axis(c, &a->axis, x->rank + 1));
    tide_ints shape = {.n = x->rank + 1};
    for (int i = 0; i <= x->rank; i++)
        shape.v[i] = i < a->axis ? x->shape[i] : i == a->axis ? a->num_classes : x->shape[i - 1];
    return result_of(c, &shape, a->dtype);
}
TIDE_DESCRIBE(one_hot, .whole = TIDE_SAVE_IN(0), .flags = TIDE_NOGRAD | TIDE_HALF | TIDE_CONTIGUOUS,
              .infer = one_hot_infer);

static tide_status bincount_infer(tide_call *c) {
    const tide_bincount_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *w = c->in[1];
    TIDE_TRY(whole_numbers(c, x, "x"));
    if (a->sparse)
        return tide_op_fail(c, TIDE_EARG, "sparse must be false (got true): results are dense");
    if (w && tide_numel(w) != tide_numel(x))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "weights differ from x in number (expected %ld, got %ld)",
                            (long)tide_numel(x), (long)tide_numel(w));
    int dtype = !w || w->dtype == TIDE_BOOL || w->dtype == TIDE_U8 || w->dtype == TIDE_I8
        ? TIDE_I32
        : w->dtype;
    return result_of(c, &(tide_ints){.n = 1}, dtype);
}
static tide_status bincount_measure(tide_call *c) {
    const tide_bincount_attrs *a = c->attrs;
    int64_t most = a->minlength < 0 ? 0 : a->minlength;
    if (tide_numel(c->in[0]) > 0) { /* what overflows or is below the base, the kernel refuses */
        int64_t largest, v;
        TIDE_TRY(number_of(c, &tide_op_max, TIDE_ATTRS(max), c->in[0], &largest));
        if (__builtin_sub_overflow(largest, a->base, &v)) v = -1;
        if (v == INT64_MAX)
            return tide_op_fail(c, TIDE_EINDEX, "an id of x is too large (got %ld)", (long)largest);
        if (v >= most) most = v + 1;
    }
    return result_of(c, &(tide_ints){.n = 1, .v = {most}}, c->meta[0].dtype);
}
TIDE_DESCRIBE(bincount, .whole = TIDE_SAVE_IN(0),
              .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS | TIDE_HALF, .infer = bincount_infer,
              .measure = bincount_measure);
