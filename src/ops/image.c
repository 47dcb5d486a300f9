/* Pictures in another size, under projections, sampled at coordinates, and in another colour space:
 * shapes and gradients.
 *
 * resample_, project_ and sample_ are linear in the picture, and each has its transpose beside it:
 * the gradient of one is the other. Coordinates have a first derivative, projections none. */
#include "helpers.h"

/* -- one axis in another length -- */

static tide_status resample_infer(tide_call *c) {
    tide_resample__attrs *a = c->attrs; /* resample_grad_ has the same */
    const tide_tensor *x = c->in[0];
    TIDE_TRY(tide_axis(c, &a->axis, x->rank));
    if (a->size < 0 || a->size > INT32_MAX)
        return tide_op_fail(c, TIDE_EARG, "size must be 0 to 2147483647 (got %ld)", (long)a->size);
    if (!(a->scale > 0) || a->scale == INFINITY || a->shift != a->shift)
        return tide_op_fail(c, TIDE_EARG, "scale must be above 0 (got %g, shift %g)", a->scale,
                            a->shift);
    tide_meta m = tide_meta_of(x);
    tide_ints shape = shape_of(&m);
    shape.v[a->axis] = a->size;
    return result_of(c, &shape, x->dtype);
}
_Static_assert(sizeof(tide_resample__attrs) == sizeof(tide_resample_grad__attrs), "one rule");

#define RESAMPLING(a)                                                                   \
    .axis = (a)->axis, .scale = (a)->scale, .shift = (a)->shift, .method = (a)->method, \
    .antialias = (a)->antialias

static void resample_grad(tide_tape *t, const tide_node *n) {
    ATTRS(resample_);
    tide_t_give(
        t, 0,
        tide_t(t, OP(resample_grad_, RESAMPLING(a), .size = tide_t_in_meta(t, 0)->shape[a->axis]),
               tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(resample_, .flags = TIDE_CONTIGUOUS, .infer = resample_infer, .grad = resample_grad);

static void resample_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(resample_grad_);
    tide_t_give(t, 0,
                tide_t(t,
                       OP(resample_, RESAMPLING(a), .size = tide_t_in_meta(t, 0)->shape[a->axis]),
                       tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(resample_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = resample_infer,
              .grad = resample_grad_grad);

/* -- projections -- */

static tide_status project_infer(tide_call *c) {
    tide_project__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *of = c->in[1];
    if (x->rank != 4)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, H, W, C), got %s)",
                            TIDE_SHAPE_OF(x));
    if (of->rank != 2 || of->shape[1] != 8 || (of->shape[0] != 1 && of->shape[0] != x->shape[0]))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "transforms have the wrong shape (expected [1, 8] or [%ld, 8], got %s)",
                            (long)x->shape[0], TIDE_SHAPE_OF(of));
    if (a->size.n != 2 || a->size.v[0] < 0 || a->size.v[1] < 0 || a->size.v[0] > INT32_MAX ||
        a->size.v[1] > INT32_MAX)
        return tide_op_fail(c, TIDE_EARG, "size must be a height and a width");
    return result_of(c, &TIDE_INTS(x->shape[0], a->size.v[0], a->size.v[1], x->shape[3]), x->dtype);
}

#define PROJECTION(a) .interpolation = (a)->interpolation, .fill_mode = (a)->fill_mode

static int no_projection(tide_tape *t) {
    if (tide_t_needs(t, 1))
        tide_t_fail(t,
                    tide_fail(tide_t_ctx(t), TIDE_EGRAD,
                              "affine_transform: has a gradient for the pictures alone, none for "
                              "the transforms; transforms:detach() goes without"));
    return !tide_t_failed(t);
}

static void project_grad(tide_tape *t, const tide_node *n) {
    ATTRS(project_);
    const tide_meta *x = tide_t_in_meta(t, 0);
    if (!no_projection(t)) return;
    tide_t_give(
        t, 0,
        tide_t(t, OP(project_grad_, PROJECTION(a), .size = TIDE_INTS(x->shape[1], x->shape[2])),
               tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(project_, .flags = TIDE_CONTIGUOUS, .saves = TIDE_SAVE_IN(1), .infer = project_infer,
              .grad = project_grad);

static tide_status project_grad_infer(tide_call *c) {
    const tide_project_grad__attrs *a = c->attrs;
    const int64_t *dy = c->in[0]->shape;
    return result_of(c, &TIDE_INTS(dy[0], a->size.v[0], a->size.v[1], dy[3]), c->in[0]->dtype);
}
static void project_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(project_grad_);
    const tide_meta *dy = tide_t_in_meta(t, 0);
    if (!no_projection(t)) return;
    tide_t_give(t, 0,
                tide_t(t,
                       OP(project_, PROJECTION(a), .size = TIDE_INTS(dy->shape[1], dy->shape[2]),
                          .fill_value = 0),
                       tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(project_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .saves = TIDE_SAVE_IN(1),
              .infer = project_grad_infer, .grad = project_grad_grad);

/* -- sampling at coordinates -- */

static tide_status sample_infer(tide_call *c) {
    const tide_tensor *x = c->in[0], *at = c->in[1];
    if (x->rank < 3)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has too few axes (expected (N, d1, ..., dk, C), got %s)",
                            TIDE_SHAPE_OF(x));
    if (at->rank != 3 || at->shape[0] != x->shape[0] || at->shape[1] != x->rank - 2)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "coordinates have the wrong shape (expected [%ld, %d, points], got %s)",
                            (long)x->shape[0], x->rank - 2, TIDE_SHAPE_OF(at));
    for (int i = 1; i < x->rank - 1; i++)
        if (x->shape[i] == 0 && at->shape[2] > 0)
            return tide_op_fail(c, TIDE_ESHAPE, "x has no elements to sample (got %s)",
                                TIDE_SHAPE_OF(x));
    return result_of(c, &TIDE_INTS(x->shape[0], at->shape[2], x->shape[x->rank - 1]), x->dtype);
}
static void sample_grad(tide_tape *t, const tide_node *n) {
    ATTRS(sample_);
    const tide_meta *x = tide_t_in_meta(t, 0);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t, OP(sample_grad_, PROJECTION(a), .shape = shape_of(x)),
                           tide_t_dy(t, 0), tide_t_in(t, 1)));
    if (!tide_t_needs(t, 1)) return;
    if (a->interpolation == TIDE_INTERPOLATION_nearest) {
        tide_t_give(t, 1, times(t, tide_t_in(t, 1), 0));
        return;
    }
    tide_t_give(t, 1,
                tide_t(t, OP(sample_slope_, .fill_mode = a->fill_mode, .fill_value = a->fill_value),
                       tide_t_dy(t, 0), tide_t_in(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(sample_, .flags = TIDE_CONTIGUOUS, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1),
              .infer = sample_infer, .grad = sample_grad);

static tide_status sample_grad_infer(tide_call *c) {
    const tide_sample_grad__attrs *a = c->attrs;
    return result_of(c, &a->shape, c->in[0]->dtype);
}
static void sample_grad_grad(tide_tape *t, const tide_node *n) {
    ATTRS(sample_grad_);
    tide_tensor *d = tide_t_dy(t, 0);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0, tide_t(t, OP(sample_, PROJECTION(a)), d, tide_t_in(t, 1)));
    if (tide_t_needs(t, 1) && a->interpolation != TIDE_INTERPOLATION_nearest)
        tide_t_give(t, 1,
                    tide_t(t, OP(sample_slope_, .fill_mode = a->fill_mode), tide_t_in(t, 0), d,
                           tide_t_in(t, 1)));
}
TIDE_DESCRIBE(sample_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1), .infer = sample_grad_infer,
              .grad = sample_grad_grad);

static tide_status sample_slope_infer(tide_call *c) {
    c->meta[0] = tide_meta_of(c->in[2]);
    c->meta[0].dtype = c->in[0]->dtype;
    return TIDE_OK;
}
static void sample_slope_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_t_fail(t,
                tide_fail(tide_t_ctx(t), TIDE_EGRAD,
                          "map_coordinates: has no second derivative for the coordinates"));
}
TIDE_DESCRIBE(sample_slope_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL, .infer = sample_slope_infer,
              .grad = sample_slope_grad);

/* -- colours: the derivative is that of the composition -- */

static tide_status colours_infer(tide_call *c) {
    const tide_tensor *x = c->in[0];
    if (x->rank < 1 || x->shape[x->rank - 1] != 3)
        return tide_op_fail(c, TIDE_ESHAPE, "images must have 3 channels (got %s)",
                            TIDE_SHAPE_OF(x));
    return tide_infer_same(c);
}

/* Channel i as (..., 1). */
static tide_tensor *channel(tide_tape *t, tide_tensor *x, int i) {
    if (!x) return NULL;
    tide_index__attrs a =
        *TIDE_ATTRS(index_, .start.n = x->rank, .size.n = x->rank, .step.n = x->rank);
    for (int d = 0; d < x->rank; d++) a.start.v[d] = 0, a.size.v[d] = x->shape[d], a.step.v[d] = 1;
    a.start.v[x->rank - 1] = i, a.size.v[x->rank - 1] = 1;
    return tide_t(t, TIDE_OP_index_, &a, x);
}
static tide_tensor *joined(tide_tape *t, tide_tensor *a, tide_tensor *b, tide_tensor *c) {
    tide_tensor *all[] = {a, b, c}, *out = NULL;
    if (!tide_t_failed(t)) tide_tn(t, OP(concatenate, .axis = a->rank - 1), 3, all, &out);
    return out;
}
static tide_tensor *pick(tide_tape *t, tide_tensor *mask, tide_tensor *a, tide_tensor *b) {
    return tide_t(t, OP(where), mask, a, b);
}
#define TWO(op, a, b) tide_t(t, OP(op), a, b)

static void rgb_to_hsv_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                               tide_tensor **out) {
    (void)nin, (void)attrs;
    tide_tensor *r = channel(t, in[0], 0), *g = channel(t, in[0], 1), *b = channel(t, in[0], 2);
    tide_tensor *v = TWO(maximum, TWO(maximum, r, g), b),
                *range = TWO(subtract, v, TWO(minimum, TWO(minimum, r, g), b)),
                *some = TWO(greater, range, number(t, 0, in[0])),
                *sixth = TWO(divide, number(t, 1.0 / 6, in[0]),
                             pick(t, some, range, number(t, 1, in[0])));
    tide_tensor *of_r = TWO(multiply, sixth, TWO(subtract, g, b)),
                *of_g = plus(t, TWO(multiply, sixth, TWO(subtract, b, r)), 2.0 / 6),
                *of_b = plus(t, TWO(multiply, sixth, TWO(subtract, r, g)), 4.0 / 6);
    tide_tensor *h = pick(t, TWO(equal, v, r), of_r, pick(t, TWO(equal, v, g), of_g, of_b));
    h = pick(t, some, h, number(t, 0, in[0]));
    h = pick(t, TWO(less, h, number(t, 0, in[0])), plus(t, h, 1), h);
    tide_tensor *lit = TWO(greater, v, number(t, 0, in[0])),
                *s = pick(t, lit, TWO(divide, range, pick(t, lit, v, number(t, 1, in[0]))),
                          number(t, 0, in[0]));
    out[0] = joined(t, h, s, v);
}
TIDE_DESCRIBE(rgb_to_hsv_, .flags = TIDE_CONTIGUOUS, .saves = TIDE_SAVE_IN(0),
              .infer = colours_infer, .compose = rgb_to_hsv_compose);

static tide_tensor *limited(tide_tape *t, tide_tensor *x) {
    return tide_t(t, OP(clip, .x_min = 0, .x_max = 1), x);
}
static void hsv_to_rgb_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                               tide_tensor **out) {
    (void)nin, (void)attrs;
    tide_tensor *h = channel(t, in[0], 0), *s = channel(t, in[0], 1), *v = channel(t, in[0], 2),
                *part[3];
    h = times(t, TWO(subtract, h, tide_t(t, OP(floor), h)), 6);
    for (int i = 0; i < 3; i++) {
        tide_tensor *d = tide_t(t, OP(abs), plus(t, h, i ? -2 * i : -3));
        d = limited(t, i ? plus(t, times(t, d, -1), 2) : plus(t, d, -1));
        part[i] = TWO(multiply, v, plus(t, TWO(multiply, s, plus(t, d, -1)), 1));
    }
    out[0] = joined(t, part[0], part[1], part[2]);
}
TIDE_DESCRIBE(hsv_to_rgb_, .flags = TIDE_CONTIGUOUS, .saves = TIDE_SAVE_IN(0),
              .infer = colours_infer, .compose = hsv_to_rgb_compose);
