/* Views: the same storage under other shapes and strides. Gradients are views too, or sums where a
 * view repeats. */
#include "helpers.h"

#define TEXT_OF(shape_) tide_shape_str((int)(shape_).n, (shape_).v, (char[160]){0}, 160)

/* -- broadcast_to -- */

static tide_status broadcast_infer(tide_call *c) {
    tide_broadcast_to_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    tide_meta *m = &c->meta[0];
    int64_t lead = a->shape.n - x->rank, n;
    TIDE_TRY(tide_numel_of(c, (int)a->shape.n, a->shape.v, &n));
    m->rank = (uint8_t)a->shape.n;
    m->dtype = x->dtype;
    int ok = lead >= 0;
    for (int i = 0; i < m->rank && ok; i++) {
        int64_t have = i < lead ? 1 : x->shape[i - lead];
        m->shape[i] = a->shape.v[i];
        c->view_stride[i] = i < lead || have == 1 ? 0 : x->stride[i - lead];
        ok = have == 1 || have == m->shape[i];
    }
    if (!ok)
        return tide_op_fail(c, TIDE_ESHAPE, "%s does not broadcast to %s", TIDE_SHAPE_OF(x),
                            TEXT_OF(a->shape));
    return TIDE_OK;
}

static void broadcast_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_t_give(t, 0, tide_t_sum_to_meta(t, tide_t_dy(t, 0), m, m->shape));
}

TIDE_DESCRIBE(broadcast_to, .flags = TIDE_HALF, .infer = broadcast_infer, .grad = broadcast_grad);

/* -- transpose -- */

static tide_status transpose_infer(tide_call *c) {
    tide_transpose_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    tide_meta *m = &c->meta[0];
    if (a->axes.n < 0) {
        a->axes.n = x->rank;
        for (int i = 0; i < x->rank; i++) a->axes.v[i] = x->rank - 1 - i;
    }
    if (a->axes.n != x->rank)
        return tide_op_fail(c, TIDE_EARG, "axes must name every axis once (expected %d, got %ld)",
                            x->rank, (long)a->axes.n);
    TIDE_TRY(tide_axes(c, &a->axes, x->rank));
    m->rank = x->rank;
    m->dtype = x->dtype;
    for (int i = 0; i < x->rank; i++) {
        m->shape[i] = x->shape[a->axes.v[i]];
        c->view_stride[i] = x->stride[a->axes.v[i]];
    }
    return TIDE_OK;
}

static void transpose_grad(tide_tape *t, const tide_node *n) {
    const tide_transpose_attrs *a = (const void *)n->attrs;
    tide_transpose_attrs back = *TIDE_ATTRS(transpose, .axes.n = a->axes.n);
    for (int64_t i = 0; i < a->axes.n; i++) back.axes.v[a->axes.v[i]] = i;
    tide_t_give(t, 0, tide_t(t, TIDE_OP_transpose, &back, tide_t_dy(t, 0)));
}

TIDE_DESCRIBE(transpose, .flags = TIDE_HALF, .infer = transpose_infer, .grad = transpose_grad);

/* -- reshape: a view where the strides allow it, else of a copy -- */

/* Strides of x seen in another shape of as many elements; 0: impossible without a copy. */
static int restride(const tide_tensor *x, int rank, const int64_t *shape, int64_t *stride) {
    int64_t old_shape[TIDE_MAX_RANK], old_stride[TIDE_MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->rank; i++)
        if (x->shape[i] != 1) old_shape[n] = x->shape[i], old_stride[n++] = x->stride[i];
    int i = 0, j = 0;
    while (i < n && j < rank) { /* groups of axes with equal products */
        int64_t a = old_shape[i], b = shape[j];
        int i1 = i + 1, j1 = j + 1;
        while (a != b) {
            if (a < b) a *= old_shape[i1++];
            else b *= shape[j1++];
        }
        for (int k = i; k + 1 < i1; k++)
            if (old_stride[k] != old_shape[k + 1] * old_stride[k + 1]) return 0;
        stride[j1 - 1] = old_stride[i1 - 1];
        for (int k = j1 - 1; k > j; k--) stride[k - 1] = stride[k] * shape[k];
        i = i1;
        j = j1;
    }
    for (; j < rank; j++) stride[j] = 1; /* axes of length 1 */
    return 1;
}

/* The result is x in this shape, which holds as many elements. */
static void seen_as(tide_call *c, const tide_ints *shape) {
    const tide_tensor *x = c->in[0];
    tide_meta *m = &c->meta[0];
    m->rank = (uint8_t)shape->n;
    m->dtype = x->dtype;
    for (int i = 0; i < m->rank; i++) m->shape[i] = shape->v[i], c->view_stride[i] = 1;
    c->view_copy = tide_numel(x) > 0 && !restride(x, m->rank, m->shape, c->view_stride);
}

/* Resolves -1 and checks the number of elements. */
static tide_status reshape_infer(tide_call *c) {
    tide_reshape_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    int64_t n = tide_numel(x), known = 1;
    int unknown = -1;
    for (int i = 0; i < a->newshape.n; i++) {
        int64_t d = a->newshape.v[i];
        if (d == -1 && unknown < 0) unknown = i;
        else if (d < 0)
            return tide_op_fail(c, TIDE_ESHAPE,
                                "shape %s is not one (one extent may be -1, the others 0 or more)",
                                TEXT_OF(a->newshape));
        else if (__builtin_mul_overflow(known, d, &known))
            return tide_op_fail(c, TIDE_ESHAPE, "shape %s has too many elements",
                                TEXT_OF(a->newshape));
    }
    if (unknown >= 0) {
        if (known == 0 || n % known)
            return tide_op_fail(c, TIDE_ESHAPE, "%s has %ld elements, which %s cannot hold",
                                TIDE_SHAPE_OF(x), (long)n, TEXT_OF(a->newshape));
        a->newshape.v[unknown] = n / known;
    } else if (known != n) {
        return tide_op_fail(c, TIDE_ESHAPE, "%s has %ld elements, %s holds %ld", TIDE_SHAPE_OF(x),
                            (long)n, TEXT_OF(a->newshape), (long)known);
    }
    seen_as(c, &a->newshape);
    return TIDE_OK;
}

static tide_status ravel_infer(tide_call *c) {
    seen_as(c, &(tide_ints){.n = 1, .v = {tide_numel(c->in[0])}});
    return TIDE_OK;
}

static void reshape_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_t_give(t, 0, shaped(t, tide_t_dy(t, 0), m->rank, m->shape));
}

TIDE_DESCRIBE(reshape, .flags = TIDE_HALF, .infer = reshape_infer, .grad = reshape_grad);
TIDE_DESCRIBE(ravel, .flags = TIDE_HALF, .infer = ravel_infer, .grad = reshape_grad);
