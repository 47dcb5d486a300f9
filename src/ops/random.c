/* Dropout and random numbers. An op with a `seed` draws from stream 1 of that seed and is the same
 * at every call; without, tide_apply reserves counters of the context's generator. Both stay in the
 * attributes, so backward draws them again. */
#include "helpers.h"

static tide_status dropout_checks(tide_call *c, double rate, const tide_ints *noise) {
    const tide_tensor *x = c->in[0];
    char a[160], b[160];
    if (!(rate >= 0 && rate <= 1))
        return tide_op_fail(c, TIDE_EARG, "rate is a probability (expected 0..1, got %g)", rate);
    if (noise->n >= 0) {
        int fits = noise->n == x->rank;
        for (int i = 0; i < x->rank && fits; i++)
            fits = noise->v[i] == 1 || noise->v[i] == x->shape[i] || noise->v[i] == -1;
        if (!fits)
            return tide_op_fail(
                c, TIDE_ESHAPE,
                "noise_shape does not broadcast to the input (expected extents of %s or 1, got %s)",
                tide_shape_str(x->rank, x->shape, a, sizeof a),
                tide_shape_str((int)noise->n, noise->v, b, sizeof b));
    }
    return tide_infer_same(c);
}

static tide_status dropout_infer(tide_call *c) {
    tide_dropout_attrs *a = c->attrs;
    own_stream(a->seed, &a->rng);
    return dropout_checks(c, a->rate, &a->noise_shape);
}
static void dropout_grad(tide_tape *t, const tide_node *n) {
    tide_dropout_attrs a = *(const tide_dropout_attrs *)(const void *)n->attrs;
    a.seed = TIDE_NONE; /* the counters say all */
    tide_t_give(t, 0, tide_t(t, TIDE_OP_dropout, &a, tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(dropout, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = dropout_infer,
              .grad = dropout_grad);

static tide_status alpha_dropout_infer(tide_call *c) {
    tide_alpha_dropout_attrs *a = c->attrs;
    own_stream(a->seed, &a->rng);
    return dropout_checks(c, a->rate, &a->noise_shape);
}
static void alpha_dropout_grad(tide_tape *t,
                               const tide_node *n) { /* a dy where the element stayed */
    const tide_alpha_dropout_attrs *a = (const void *)n->attrs;
    const double p = 1.6732632423543772848170429916717 * 1.0507009873554804934193349852946;
    const double slope = a->rate >= 1 ? 0 : 1 / sqrt((1 - a->rate) * (1 + a->rate * p * p));
    tide_tensor *kept = tide_t(t,
                               OP(dropout, .rate = a->rate, .noise_shape = a->noise_shape,
                                  .seed = TIDE_NONE, .rng = a->rng),
                               tide_t_wide(t, tide_t_dy(t, 0)));
    tide_t_give(t, 0, times(t, kept, slope * (1 - a->rate)));
}
TIDE_DESCRIBE(alpha_dropout, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = alpha_dropout_infer,
              .grad = alpha_dropout_grad);

/* -- numbers of a shape -- */

static tide_status numbers(tide_call *c, const tide_ints *shape, int dtype) {
    if (shape->n < 0 || shape->n > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "shape has more than %d axes", TIDE_MAX_RANK);
    return result_of(c, shape, dtype);
}
static tide_status floats(tide_call *c, const tide_ints *shape, int dtype) {
    if (!tide_is_float(dtype))
        return tide_op_fail(c, TIDE_EDTYPE, "draws floats (got %s)", tide_dtype_name(dtype));
    return numbers(c, shape, dtype);
}

#define DRAW(op, check)                           \
    static tide_status op##_infer(tide_call *c) { \
        tide_##op##_attrs *a = c->attrs;          \
        own_stream(a->seed, &a->rng);             \
        return check;                             \
    }                                             \
    TIDE_DESCRIBE(op, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS, .infer = op##_infer)

DRAW(random_uniform, floats(c, &a->shape, a->dtype));
DRAW(random_normal, floats(c, &a->shape, a->dtype));
DRAW(random_truncated_normal, floats(c, &a->shape, a->dtype));

static tide_status randint_checks(tide_call *c, const tide_random_randint_attrs *a) {
    static const struct {
        int64_t lo, hi;
    } range[] = {[TIDE_I64] = {INT64_MIN, INT64_MAX},
                 [TIDE_I32] = {INT32_MIN, INT32_MAX},
                 [TIDE_U8] = {0, UINT8_MAX},
                 [TIDE_I8] = {INT8_MIN, INT8_MAX},
                 [TIDE_BOOL] = {0, 1}};
    const int64_t least = a->minval;
    if (a->maxval <= least)
        return tide_op_fail(c, TIDE_EARG, "no whole number in [%ld, %ld)", (long)least,
                            (long)a->maxval);
    if (!tide_is_float(a->dtype)) {
        const int64_t lo = range[a->dtype].lo, hi = range[a->dtype].hi, most = a->maxval - 1;
        if (least < lo || most > hi)
            return tide_op_fail(
                c, TIDE_EARG, "%s holds %ld..%ld (asked for %ld..%ld); name a wider dtype",
                tide_dtype_name(a->dtype), (long)lo, (long)hi, (long)least, (long)most);
    }
    return numbers(c, &a->shape, a->dtype);
}
DRAW(random_randint, randint_checks(c, a));

/* Parameters broadcast to the shape; the kernel walks them by strides. */
static tide_status parameters(tide_call *c, const tide_ints *shape) {
    char a[160], b[160];
    TIDE_TRY(numbers(c, shape, c->in[0]->dtype));
    for (int k = 0; k < c->nin; k++) {
        const tide_tensor *x = c->in[k];
        int fits = x->rank <= shape->n;
        for (int i = 0; i < x->rank && fits; i++) {
            const int64_t want = shape->v[shape->n - x->rank + i];
            fits = x->shape[i] == 1 || x->shape[i] == want;
        }
        if (!fits)
            return tide_op_fail(
                c, TIDE_ESHAPE, "%s does not broadcast to the shape (expected %s, got %s)",
                c->op->args()[k].name, tide_shape_str((int)shape->n, shape->v, a, sizeof a),
                tide_shape_str(x->rank, x->shape, b, sizeof b));
    }
    return TIDE_OK;
}
#define DRAW_WITH(op)                             \
    static tide_status op##_infer(tide_call *c) { \
        tide_##op##_attrs *a = c->attrs;          \
        own_stream(a->seed, &a->rng);             \
        return parameters(c, &a->shape);          \
    }                                             \
    TIDE_DESCRIBE(op, .flags = TIDE_NOGRAD | TIDE_PROMOTE | TIDE_CONTIGUOUS, .infer = op##_infer)

DRAW_WITH(random_gamma_);
DRAW_WITH(random_beta_);
DRAW_WITH(random_binomial_);

static tide_status categorical_checks(tide_call *c, const tide_random_categorical_attrs *a) {
    const tide_tensor *x = c->in[0];
    if (x->rank != 2)
        return tide_op_fail(c, TIDE_ESHAPE, "logits have two axes (expected (N, C), got %d axes)",
                            x->rank);
    if (x->shape[1] == 0) return tide_op_fail(c, TIDE_ESHAPE, "logits have no class to draw");
    if (a->num_samples < 0)
        return tide_op_fail(c, TIDE_EARG, "num_samples cannot be negative (got %ld)",
                            (long)a->num_samples);
    const tide_ints shape = {.n = 2, .v = {x->shape[0], a->num_samples}};
    return numbers(c, &shape, a->dtype);
}
DRAW(random_categorical, categorical_checks(c, a));

static tide_status permutation_checks(tide_call *c, const tide_random_permutation__attrs *a) {
    if (a->n < 0) return tide_op_fail(c, TIDE_EARG, "n cannot be negative (got %ld)", (long)a->n);
    if (a->dtype != TIDE_I32 && a->dtype != TIDE_I64)
        return tide_op_fail(c, TIDE_EDTYPE, "positions are int32 or int64 (got %s)",
                            tide_dtype_name(a->dtype));
    const tide_ints shape = {.n = 1, .v = {a->n}};
    return numbers(c, &shape, a->dtype);
}
DRAW(random_permutation_, permutation_checks(c, a));

static tide_status shuffle_infer(tide_call *c) {
    return tide_axis(c, &((tide_random_shuffle_attrs *)c->attrs)->axis, c->in[0]->rank);
}
/* The axis first, the rows in random order, and back. */
static void shuffle_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                            tide_tensor **out) {
    const tide_random_shuffle_attrs *a = attrs;
    tide_tensor *x = in[0];
    (void)nin;
    const int64_t n = x->shape[a->axis];
    tide_tensor *order =
        tide_t(t, OP(random_permutation_, .n = n, .dtype = TIDE_I64, .base = 0, .seed = a->seed));
    tide_transpose_attrs swap = *TIDE_ATTRS(transpose, .axes.n = x->rank);
    for (int i = 0; i < x->rank; i++) swap.axes.v[i] = i;
    swap.axes.v[0] = a->axis, swap.axes.v[a->axis] = 0;
    tide_tensor *rows = tide_t(t, TIDE_OP_transpose, &swap, x);
    out[0] = tide_t(t, TIDE_OP_transpose, &swap, tide_t(t, OP(embedding, .base = 0), rows, order));
}
TIDE_DESCRIBE(random_shuffle, .infer = shuffle_infer, .compose = shuffle_compose);
