/* Colours of pictures (N, H, W, C), which preprocessing layers change by numbers of each picture.
 *
 * The kernels are whole; what they do is written with smaller ops too, from which gradients come.
 * Histograms have none. */
#include "helpers.h"

static tide_status picture_checks(tide_call *c, double low, double high) {
    const tide_tensor *x = c->in[0];
    char s[160];
    if (x->rank != 4)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "x has the wrong number of axes (expected (N, H, W, C), got %s)",
                            tide_shape_str(x->rank, x->shape, s, sizeof s));
    if (!(low < high) || !isfinite(high - low))
        return tide_op_fail(c, TIDE_EARG, "the range of colours is empty (got %g to %g)", low,
                            high);
    return tide_infer_same(c);
}

/* Floats beside x are of its dtype. */
static tide_status beside(tide_call *c, int i, int rank, const int64_t *want) {
    const tide_tensor *x = c->in[0], *v = c->in[i];
    char a[160], b[160];
    if (!v) return TIDE_OK;
    int fits = v->rank == rank;
    for (int k = 0; k < rank && fits; k++) fits = v->shape[k] == want[k];
    if (!fits)
        return tide_op_fail(c, TIDE_ESHAPE, "%s has the wrong shape (expected %s, got %s)",
                            c->op->args()[i].name, tide_shape_str(rank, want, a, sizeof a),
                            tide_shape_str(v->rank, v->shape, b, sizeof b));
    if (v->dtype != x->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "%s has another dtype than x (expected %s, got %s)",
                            c->op->args()[i].name, tide_dtype_name(x->dtype),
                            tide_dtype_name(v->dtype));
    return TIDE_OK;
}

/* -- recolor_ -- */

static tide_status recolor_infer(tide_call *c) {
    const tide_recolor__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    const int how = a->how;
    TIDE_TRY(picture_checks(c, a->low, a->high));
    const int64_t want[2] = {x->shape[0], how == TIDE_RECOLOR_solarize ? 2 : 1};
    if (how != TIDE_RECOLOR_autocontrast) {
        if (!c->in[1])
            return tide_op_fail(c, TIDE_EARG, "amounts are missing (expected a tensor (N, k))");
        TIDE_TRY(beside(c, 1, 2, want));
    }
    const int rgb = how == TIDE_RECOLOR_degenerate || how == TIDE_RECOLOR_grayscale ||
        how == TIDE_RECOLOR_hue || how == TIDE_RECOLOR_saturation;
    if (rgb && x->shape[3] != 3)
        return tide_op_fail(c, TIDE_ESHAPE, "x has no three channels (expected RGB, got %ld)",
                            (long)x->shape[3]);
    return TIDE_OK;
}

/* Steps of a composition. */
#define DO(op, ...) tide_t(t, OP(op), __VA_ARGS__)
#define CUT(x, low, high) tide_t(t, OP(clip_, .x_min = (low), .x_max = (high)), x)
#define IF(condition, a, b) tide_t(t, OP(where), condition, a, b)
#define NUM(v) number(t, v, x)

/* Column k of the amounts, (N, 1, 1, 1). */
static tide_tensor *amount(tide_tape *t, tide_tensor *amounts, int64_t k) {
    const int64_t n = amounts->shape[0];
    return shaped(t,
                  tide_t(t,
                         OP(index_, .start = TIDE_INTS(0, k), .size = TIDE_INTS(n, 1),
                            .step = TIDE_INTS(1, 1)),
                         amounts),
                  4, (int64_t[]){n, 1, 1, 1});
}
/* A part of x: the channel k, or what lies `dy` down and `dx` across in a picture that has a margin
 * of 1. */
static tide_tensor *channel(tide_tape *t, tide_tensor *x, int64_t k) {
    if (!x) return NULL;
    return tide_t(t,
                  OP(index_, .start = TIDE_INTS(0, 0, 0, k),
                     .size = TIDE_INTS(x->shape[0], x->shape[1], x->shape[2], 1),
                     .step = TIDE_INTS(1, 1, 1, 1)),
                  x);
}
static tide_tensor *shifted(tide_tape *t, tide_tensor *x, int64_t dy, int64_t dx, int64_t h,
                            int64_t w) {
    if (!x) return NULL;
    return tide_t(t,
                  OP(index_, .start = TIDE_INTS(0, dy, dx, 0),
                     .size = TIDE_INTS(x->shape[0], h, w, x->shape[3]),
                     .step = TIDE_INTS(1, 1, 1, 1)),
                  x);
}
static tide_tensor *joined(tide_tape *t, tide_tensor *r, tide_tensor *g, tide_tensor *b) {
    tide_tensor *parts[3] = {r, g, b}, *all = NULL;
    if (!tide_t_failed(t)) tide_tn(t, OP(concatenate, .axis = 3), 3, parts, &all);
    return all;
}

static tide_tensor *grey_of(tide_tape *t, tide_tensor *x) {
    tide_tensor *r = times(t, channel(t, x, 0), 0.2989), *g = times(t, channel(t, x, 1), 0.5870),
                *b = times(t, channel(t, x, 2), 0.1140);
    return DO(add, DO(add, r, g), b);
}

/* x + by (to - x) */
static tide_tensor *toward(tide_tape *t, tide_tensor *x, tide_tensor *to, tide_tensor *by) {
    return DO(add, x, DO(multiply, by, DO(subtract, to, x)));
}

static tide_tensor *to_bytes(tide_tape *t, const tide_recolor__attrs *a, tide_tensor *x) {
    return times(t, plus(t, x, -a->low), 255 / (a->high - a->low));
}
static tide_tensor *from_bytes(tide_tape *t, const tide_recolor__attrs *a, tide_tensor *x) {
    return plus(t, times(t, x, (a->high - a->low) / 255), a->low);
}

/* 5/13 of each pixel and 1/13 of each of its neighbours. */
static tide_tensor *smoothed(tide_tape *t, tide_tensor *x) {
    const int64_t h = x->shape[1], w = x->shape[2];
    const tide_pairs margin = {4, {{0, 0}, {1, 1}, {1, 1}, {0, 0}}};
    tide_tensor *wide = tide_t(t, OP(pad, .pad_width = margin), x);
    tide_tensor *sum = NULL;
    for (int k = 0; k < 9; k++) {
        tide_tensor *part = shifted(t, wide, k / 3, k % 3, h, w);
        sum = sum ? DO(add, sum, part) : part;
    }
    return DO(add, times(t, sum, 1.0 / 13), times(t, x, 4.0 / 13));
}

/* Through hue, saturation and value, of which one is changed by `by`. */
static tide_tensor *through_hsv(tide_tape *t, const tide_recolor__attrs *a, tide_tensor *x,
                                tide_tensor *by) {
    tide_tensor *hsv = tide_t(t, OP(rgb_to_hsv_), x), *hue = channel(t, hsv, 0),
                *full = channel(t, hsv, 1);
    if (a->how == TIDE_RECOLOR_hue) {
        hue = DO(add, hue, by);
        hue = IF(DO(greater, hue, NUM(1)), plus(t, hue, -1), hue);
        hue = IF(DO(less, hue, NUM(0)), plus(t, hue, 1), hue);
    } else full = CUT(DO(multiply, full, by), a->low, a->high);
    return tide_t(t, OP(hsv_to_rgb_), joined(t, hue, full, channel(t, hsv, 2)));
}

static void recolor_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    (void)nin;
    const tide_recolor__attrs *a = attrs;
    const double low = a->low, high = a->high;
    const tide_ints picture = TIDE_INTS(1, 2);
    tide_tensor *x = in[0], *by = in[1] ? amount(t, in[1], 0) : NULL, *y = NULL, *u, *k;
    switch (a->how) {
    case TIDE_RECOLOR_brightness: y = CUT(DO(add, x, by), low, high); break;
    case TIDE_RECOLOR_contrast:
        u = mean_of(t, x, picture);
        y = CUT(DO(add, DO(multiply, DO(subtract, x, u), by), u), low, high);
        break;
    case TIDE_RECOLOR_autocontrast:
        u = tide_t(t, OP(min, .axis = picture, .keepdims = 1), x);
        k = DO(subtract, tide_t(t, OP(max, .axis = picture, .keepdims = 1), x), u);
        y = DO(divide, DO(subtract, x, u), IF(DO(greater, k, NUM(0)), k, NUM(1)));
        y = CUT(times(t, y, 255), 0, 255);
        y = IF(DO(greater, k, NUM(0)), from_bytes(t, a, y), x);
        break;
    case TIDE_RECOLOR_degenerate: y = CUT(toward(t, x, grey_of(t, x), by), low, high); break;
    case TIDE_RECOLOR_grayscale: y = IF(DO(equal, by, NUM(0)), x, grey_of(t, x)); break;
    case TIDE_RECOLOR_invert: y = IF(DO(equal, by, NUM(0)), x, DO(subtract, NUM(high), x)); break;
    case TIDE_RECOLOR_solarize:
        u = CUT(DO(add, to_bytes(t, a, x), by), 0, 255);
        u = IF(DO(less, u, amount(t, in[1], 1)), u, DO(subtract, NUM(255), u));
        y = from_bytes(t, a, u);
        break;
    case TIDE_RECOLOR_posterize:
        u = DO(floor, CUT(to_bytes(t, a, x), 0, 255));
        k = DO(power, NUM(2), CUT(DO(floor, by), 0, 8));
        y = from_bytes(t, a, DO(multiply, DO(floor, DO(divide, u, k)), k));
        break;
    case TIDE_RECOLOR_hue:
        u = times(t, plus(t, x, -low), 1 / (high - low));
        y = CUT(through_hsv(t, a, u, by), 0, 1);
        y = plus(t, times(t, y, high - low), low);
        break;
    case TIDE_RECOLOR_saturation: y = through_hsv(t, a, x, by); break;
    default: /* sharpen */
        y = CUT(toward(t, x, smoothed(t, x), DO(subtract, NUM(1), by)), low, high);
    }
    out[0] = y;
}
TIDE_DESCRIBE(recolor_, .flags = TIDE_CONTIGUOUS, .infer = recolor_infer,
              .compose = recolor_compose, .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1));

/* -- histograms -- */

/* Numbers of tables that fit into memory at all. */
static tide_status tables_fit(tide_call *c, const int64_t *shape, int rank) {
    int64_t n;
    return tide_numel_of(c, rank, shape, &n);
}

static tide_status equalize_infer(tide_call *c) {
    const tide_equalize__attrs *a = c->attrs;
    TIDE_TRY(picture_checks(c, a->low, a->high));
    if (a->bins < 1 || a->bins > 1 << 20)
        return tide_op_fail(c, TIDE_EARG, "bins is out of range (expected 1 to 1048576, got %ld)",
                            (long)a->bins);
    return tables_fit(c, (int64_t[]){a->bins, c->in[0]->shape[3]}, 2);
}
TIDE_DESCRIBE(equalize_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD, .infer = equalize_infer);

static tide_status equalize_tiles_infer(tide_call *c) {
    const tide_equalize_tiles__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    TIDE_TRY(picture_checks(c, a->low, a->high));
    if (a->tiles.n != 2)
        return tide_op_fail(c, TIDE_EARG, "tiles must be two numbers, down and across (got %ld)",
                            (long)a->tiles.n);
    for (int i = 0; i < 2; i++)
        if (a->tiles.v[i] < 1 || a->tiles.v[i] > 4096)
            return tide_op_fail(c, TIDE_EARG, "tiles must be 1 to 4096 (got %ld)",
                                (long)a->tiles.v[i]);
    if (isnan(a->clip_limit))
        return tide_op_fail(c, TIDE_EARG, "clip_limit must be a number (got nan)");
    return tables_fit(c, (int64_t[]){x->shape[0], a->tiles.v[0], a->tiles.v[1], x->shape[3], 256},
                      5);
}
TIDE_DESCRIBE(equalize_tiles_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD,
              .infer = equalize_tiles_infer);

/* -- blend_ -- */

static tide_status blend_infer(tide_call *c) { /* x, other, order, weights, boxes */
    const tide_tensor *x = c->in[0], *o = c->in[1], *order = c->in[2];
    char a[160], b[160];
    TIDE_TRY(picture_checks(c, 0, 1));
    const int64_t n = x->shape[0], boxes[2] = {n, 4};
    const int fits = o->rank == 4 && (o->shape[1] == 1 || o->shape[1] == x->shape[1]) &&
        o->shape[2] == x->shape[2] && o->shape[3] == x->shape[3] &&
        (order || o->shape[0] == 1 || o->shape[0] == n);
    if (!fits)
        return tide_op_fail(c, TIDE_ESHAPE, "other does not fit x (expected %s, got %s)",
                            tide_shape_str(x->rank, x->shape, a, sizeof a),
                            tide_shape_str(o->rank, o->shape, b, sizeof b));
    if (o->dtype != x->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "other has another dtype than x (expected %s, got %s)",
                            tide_dtype_name(x->dtype), tide_dtype_name(o->dtype));
    if (order && (order->rank != 1 || order->shape[0] != n))
        return tide_op_fail(c, TIDE_ESHAPE, "order has the wrong shape (expected [%ld], got %s)",
                            (long)n, tide_shape_str(order->rank, order->shape, a, sizeof a));
    if (order && tide_is_float(order->dtype))
        return tide_op_fail(c, TIDE_EDTYPE,
                            "order must hold whole numbers (expected an integer dtype, got %s)",
                            tide_dtype_name(order->dtype));
    TIDE_TRY(beside(c, 3, 1, &n));
    return beside(c, 4, 2, boxes);
}

/* Whether positions along an axis of length n are at least `from` and below `to`, each (N, 1, 1,
 * 1). */
static tide_tensor *within(tide_tape *t, int64_t n, int axis, tide_tensor *from, tide_tensor *to) {
    if (tide_t_failed(t)) return NULL;
    tide_tensor *at = tide_t(t, OP(arange_, .n = n, .start = 0, .step = 1, .dtype = from->dtype));
    at = shaped(t, at, 4, (int64_t[]){1, axis == 1 ? n : 1, axis == 2 ? n : 1, 1});
    return DO(logical_and, DO(greater_equal, at, from), DO(less, at, to));
}

static void blend_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                          tide_tensor **out) {
    (void)nin;
    const tide_blend__attrs *a = attrs;
    tide_tensor *x = in[0], *o = in[1], *y;
    if (in[2]) o = tide_t(t, OP(take, .axis = 0, .base = a->base), o, in[2]);
    if (in[3]) {
        tide_tensor *w = shaped(t, in[3], 4, (int64_t[]){x->shape[0], 1, 1, 1});
        y = DO(add, DO(multiply, w, x), DO(multiply, DO(subtract, NUM(1), w), o));
    } else y = DO(add, o, times(t, x, 0));
    if (in[4]) {
        tide_tensor *in_x = within(t, x->shape[2], 2, amount(t, in[4], 0), amount(t, in[4], 2)),
                    *in_y = within(t, x->shape[1], 1, amount(t, in[4], 1), amount(t, in[4], 3));
        y = IF(DO(logical_and, in_x, in_y), y, x);
    }
    out[0] = y;
}
TIDE_DESCRIBE(blend_, .flags = TIDE_CONTIGUOUS, .whole = TIDE_SAVE_IN(2), .infer = blend_infer,
              .compose = blend_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_IN(3) |
                  TIDE_SAVE_IN(4));
