/* Pooling: shapes and gradients; blocks of pixels as channels and back.
 *
 * max_pool_grad and max_pool_pick are each other's transposes at fixed (x, y), as are average_pool
 * and its gradient: so derivatives of any order exist. Places of maxima are piecewise constant: x
 * and y get no gradient through them. */
#include "helpers.h"

#include <string.h>

/* Makes size and strides explicit and finds the result's extents. */
static tide_status pool_infer(tide_call *c, tide_ints *size, tide_ints *strides, int same,
                              const tide_ints *adaptive) {
    const tide_tensor *x = c->in[0];
    int nd = x->rank - 2;
    if (nd < 1 || nd > 3)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, ..., C) with 1 to 3 "
                            "spatial axes, got %s)",
                            TIDE_SHAPE_OF(x));
    tide_meta *m = &c->meta[0];
    *m = tide_meta_of(x);
    if (adaptive->n > 0) {
        if (adaptive->n != 1 && adaptive->n != nd)
            return tide_op_fail(
                c, TIDE_EARG,
                "output_size has the wrong number of entries (expected 1 or %d, got %ld)", nd,
                (long)adaptive->n);
        for (int i = 0; i < nd; i++) {
            m->shape[1 + i] = adaptive->v[adaptive->n == 1 ? 0 : i];
            if (m->shape[1 + i] < 1)
                return tide_op_fail(c, TIDE_EARG, "output_size must be 1 or more (got %ld)",
                                    (long)m->shape[1 + i]);
            if (x->shape[1 + i] < 1)
                return tide_op_fail(c, TIDE_ESHAPE, "nothing to pool in spatial axis %d (input %s)",
                                    i + 1, TIDE_SHAPE_OF(x));
        }
        return TIDE_OK;
    }
    if (strides->n < 1) *strides = *size;
    tide_ints *lists[] = {size, strides};
    for (int k = 0; k < 2; k++) {
        tide_ints *l = lists[k];
        const char *what = k ? "strides" : "pool_size";
        if (l->n != 1 && l->n != nd)
            return tide_op_fail(c, TIDE_EARG,
                                "%s has the wrong number of entries (expected 1 or %d, got %ld)",
                                what, nd, (long)l->n);
        for (int i = 0; i < nd; i++) {
            if (l->n == 1) l->v[i] = l->v[0];
            if (l->v[i] < 1 || l->v[i] > INT32_MAX)
                return tide_op_fail(c, TIDE_EARG, "%s must be %s (got %ld)", what,
                                    bound_of(l->v[i]), (long)l->v[i]);
        }
        l->n = nd;
    }
    for (int i = 0; i < nd; i++) {
        int64_t in = x->shape[1 + i];
        if (!same && in < size->v[i])
            return tide_op_fail(c, TIDE_ESHAPE,
                                "spatial axis %d is shorter than the window (expected %ld or more, "
                                "got %ld; input %s)",
                                i + 1, (long)size->v[i], (long)in, TIDE_SHAPE_OF(x));
        m->shape[1 + i] =
            same ? (in + strides->v[i] - 1) / strides->v[i] : (in - size->v[i]) / strides->v[i] + 1;
    }
    return TIDE_OK;
}

#define WINDOW(a)                                                                  \
    .pool_size = (a)->pool_size, .strides = (a)->strides, .padding = (a)->padding, \
    .output_size_ = (a)->output_size_

/* -- max -- */

static tide_status max_pool_infer(tide_call *c) {
    tide_max_pool_attrs *a = c->attrs;
    return pool_infer(c, &a->pool_size, &a->strides, a->padding, &a->output_size_);
}
static void max_pool_grad(tide_tape *t, const tide_node *n) {
    const tide_max_pool_attrs *a = (const void *)n->attrs;
    tide_t_give(t, 0,
                tide_t(t, OP(max_pool_grad, WINDOW(a)), tide_t_dy(t, 0), tide_t_in(t, 0),
                       tide_t_out(t, 0)));
}
TIDE_DESCRIBE(max_pool, .flags = TIDE_CONTIGUOUS | TIDE_HALF,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_OUT(0), .infer = max_pool_infer,
              .grad = max_pool_grad);

static tide_status like_second(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[1]);
    return TIDE_OK;
}
static tide_status like_third(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[2]);
    return TIDE_OK;
}
static void max_pool_grad_grad(tide_tape *t, const tide_node *n) {
    const tide_max_pool_grad_attrs *a = (const void *)n->attrs;
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t, OP(max_pool_pick, WINDOW(a)), tide_t_dy(t, 0), tide_t_in(t, 1),
                           tide_t_in(t, 2)));
}
TIDE_DESCRIBE(max_pool_grad, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .saves = TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2), .infer = like_second,
              .grad = max_pool_grad_grad);

static void max_pool_pick_grad(tide_tape *t, const tide_node *n) {
    const tide_max_pool_pick_attrs *a = (const void *)n->attrs;
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t, OP(max_pool_grad, WINDOW(a)), tide_t_dy(t, 0), tide_t_in(t, 1),
                           tide_t_in(t, 2)));
}
TIDE_DESCRIBE(max_pool_pick, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .saves = TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2), .infer = like_third,
              .grad = max_pool_pick_grad);

/* -- average -- */

static tide_status average_pool_infer(tide_call *c) {
    tide_average_pool_attrs *a = c->attrs;
    return pool_infer(c, &a->pool_size, &a->strides, a->padding, &a->output_size_);
}
static void average_pool_grad(tide_tape *t, const tide_node *n) {
    const tide_average_pool_attrs *a = (const void *)n->attrs;
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_average_pool_grad_attrs g =
        *TIDE_ATTRS(average_pool_grad, WINDOW(a), .x_shape.n = m->rank);
    memcpy(g.x_shape.v, m->shape, sizeof m->shape);
    tide_t_give(t, 0, tide_t(t, TIDE_OP_average_pool_grad, &g, tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(average_pool, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = average_pool_infer,
              .grad = average_pool_grad);

static tide_status average_pool_grad_infer(tide_call *c) {
    const tide_average_pool_grad_attrs *a = c->attrs;
    c->meta[0] = (tide_meta){.rank = (uint8_t)a->x_shape.n, .dtype = c->in[0]->dtype};
    memcpy(c->meta[0].shape, a->x_shape.v, sizeof c->meta[0].shape);
    return TIDE_OK;
}
static void average_pool_grad_grad(tide_tape *t, const tide_node *n) {
    const tide_average_pool_grad_attrs *a = (const void *)n->attrs;
    tide_t_give(t, 0, tide_t(t, OP(average_pool, WINDOW(a)), tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(average_pool_grad, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = average_pool_grad_infer, .grad = average_pool_grad_grad);

/* -- adaptive -- */

static void adaptive_max_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                 tide_tensor **out) {
    (void)nin;
    out[0] = tide_t(
        t, OP(max_pool, .output_size_ = ((const tide_adaptive_max_pool_attrs *)attrs)->output_size),
        in[0]);
}
static void adaptive_average_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                     tide_tensor **out) {
    (void)nin;
    out[0] =
        tide_t(t,
               OP(average_pool,
                  .output_size_ = ((const tide_adaptive_average_pool_attrs *)attrs)->output_size),
               in[0]);
}
TIDE_DESCRIBE(adaptive_max_pool, .compose = adaptive_max_compose);
TIDE_DESCRIBE(adaptive_average_pool, .compose = adaptive_average_compose);

/* -- blocks: (N, H, W, b b C) and (N, H b, W b, C) hold the same elements in another order -- */

static tide_status block_infer(tide_call *c) {
    const tide_tensor *x = c->in[0];
    int64_t b = ((const tide_depth_to_space_attrs *)c->attrs)->block_size;
    int deep = c->op->id == TIDE_OP_depth_to_space;
    if (x->rank != 4)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, H, W, C), got %s)",
                            TIDE_SHAPE_OF(x));
    if (b < 1 || b > INT32_MAX)
        return tide_op_fail(c, TIDE_EARG, "block_size must be %s (got %ld)", bound_of(b), (long)b);
    int64_t most;
    if (deep &&
        (__builtin_mul_overflow(x->shape[1], b, &most) ||
         __builtin_mul_overflow(x->shape[2], b, &most)))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the result has too many elements (input %s, block_size %ld)",
                            TIDE_SHAPE_OF(x), (long)b);
    if (!deep && __builtin_mul_overflow(x->shape[3], b * b, &most))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the result has too many elements (input %s, block_size %ld)",
                            TIDE_SHAPE_OF(x), (long)b);
    if (deep ? x->shape[3] % (b * b) : x->shape[1] % b || x->shape[2] % b)
        return tide_op_fail(c, TIDE_ESHAPE, "%s not divisible by %s %ld (input %s)",
                            deep ? "channels are" : "height and width are",
                            deep ? "the square of block_size" : "block_size", (long)b,
                            TIDE_SHAPE_OF(x));
    return TIDE_OK;
}

static tide_tensor *regroup(tide_tape *t, tide_tensor *x, const int64_t *split,
                            const int64_t *joined) {
    tide_reshape_attrs a = *TIDE_ATTRS(reshape, .newshape.n = 6),
                       b = *TIDE_ATTRS(reshape, .newshape.n = 4);
    memcpy(a.newshape.v, split, 6 * sizeof *split);
    memcpy(b.newshape.v, joined, 4 * sizeof *joined);
    tide_tensor *y = tide_t(t, TIDE_OP_reshape, &a, x);
    y = tide_t(t, OP(transpose, .axes = TIDE_INTS(0, 1, 3, 2, 4, 5)), y);
    return tide_t(t, TIDE_OP_reshape, &b, y);
}

static void depth_to_space_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                   tide_tensor **out) {
    (void)nin;
    const int64_t b = ((const tide_depth_to_space_attrs *)attrs)->block_size, *s = in[0]->shape,
                  c = s[3] / (b * b);
    out[0] = regroup(t, in[0], (int64_t[]){s[0], s[1], s[2], b, b, c},
                     (int64_t[]){s[0], s[1] * b, s[2] * b, c});
}
static void space_to_depth_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                                   tide_tensor **out) {
    (void)nin;
    const int64_t b = ((const tide_space_to_depth_attrs *)attrs)->block_size, *s = in[0]->shape;
    out[0] = regroup(t, in[0], (int64_t[]){s[0], s[1] / b, b, s[2] / b, b, s[3]},
                     (int64_t[]){s[0], s[1] / b, s[2] / b, b * b * s[3]});
}
TIDE_DESCRIBE(depth_to_space, .infer = block_infer, .compose = depth_to_space_compose);
TIDE_DESCRIBE(space_to_depth, .infer = block_infer, .compose = space_to_depth_compose);
