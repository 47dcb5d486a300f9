/* Permuted, inserted and dropped axes, diagonals and triangles. The gradient of each is the
 * opposite movement.
 *
 * Invariant: a VIEW_OP's infer fills shape, strides and offset, and touches no element. */
#include "helpers.h"

#include <string.h>

/* -- permutations of axes -- */
static void permute(tide_call *c, const int64_t *order) {
    const tide_tensor *x = c->in[0];
    c->meta[0] = (tide_meta){.rank = x->rank, .dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        c->meta[0].shape[i] = x->shape[order[i]];
        c->view_stride[i] = x->stride[order[i]];
    }
}
static tide_status swapaxes_infer(tide_call *c) {
    tide_swapaxes_attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis1, c->in[0]->rank));
    TIDE_TRY(tide_axis(c, &a->axis2, c->in[0]->rank));
    int64_t order[TIDE_MAX_RANK];
    for (int i = 0; i < c->in[0]->rank; i++)
        order[i] = i == a->axis1 ? a->axis2 : i == a->axis2 ? a->axis1 : i;
    permute(c, order);
    return TIDE_OK;
}
static void swapaxes_grad(tide_tape *t, const tide_node *n) {
    ATTRS(swapaxes);
    tide_t_give(t, 0,
                tide_t(t, OP(swapaxes, .axis1 = a->axis1, .axis2 = a->axis2), tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(swapaxes, .flags = TIDE_HALF, .infer = swapaxes_infer, .grad = swapaxes_grad);

static tide_status moveaxis_infer(tide_call *c) {
    tide_moveaxis_attrs *a = c->attrs;
    int rank = c->in[0]->rank;
    if (a->source.n != a->destination.n)
        return tide_op_fail(c, TIDE_EARG,
                            "source and destination differ in length (expected %ld, got %ld)",
                            (long)a->source.n, (long)a->destination.n);
    TIDE_TRY(tide_axes(c, &a->source, rank));
    TIDE_TRY(tide_axes(c, &a->destination, rank));
    int64_t order[TIDE_MAX_RANK];
    unsigned moved = 0;
    for (int i = 0; i < rank; i++) order[i] = -1;
    for (int64_t i = 0; i < a->source.n; i++)
        order[a->destination.v[i]] = a->source.v[i], moved |= 1u << a->source.v[i];
    for (int i = 0, next = 0; i < rank; i++) {
        if (order[i] >= 0) continue;
        while (moved >> next & 1) next++;
        order[i] = next++;
    }
    permute(c, order);
    return TIDE_OK;
}
static void moveaxis_grad(tide_tape *t, const tide_node *n) {
    ATTRS(moveaxis);
    tide_t_give(t, 0,
                tide_t(t, OP(moveaxis, .source = a->destination, .destination = a->source),
                       tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(moveaxis, .flags = TIDE_HALF, .infer = moveaxis_infer, .grad = moveaxis_grad);

/* -- axes of length 1, one axis for all -- */
static void to_input_shape(tide_tape *t, const tide_node *n) {
    (void)n;
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_t_give(t, 0, shaped(t, tide_t_dy(t, 0), m->rank, m->shape));
}
static tide_status expand_dims_infer(tide_call *c) {
    tide_expand_dims_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    int rank = x->rank + (int)a->axis.n;
    if (rank > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    TIDE_TRY(tide_axes(c, &a->axis, rank));
    unsigned fresh = 0;
    for (int64_t i = 0; i < a->axis.n; i++) fresh |= 1u << a->axis.v[i];
    c->meta[0] = (tide_meta){.rank = (uint8_t)rank, .dtype = x->dtype};
    for (int i = 0, k = 0; i < rank; i++) {
        int is_new = fresh >> i & 1;
        c->meta[0].shape[i] = is_new ? 1 : x->shape[k];
        c->view_stride[i] = is_new ? 1 : x->stride[k];
        k += !is_new;
    }
    return TIDE_OK;
}
TIDE_DESCRIBE(expand_dims, .flags = TIDE_HALF, .infer = expand_dims_infer, .grad = to_input_shape);

static tide_status squeeze_infer(tide_call *c) {
    tide_squeeze_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char buf[160];
    TIDE_TRY(tide_axes(c, &a->axis, x->rank));
    unsigned gone = 0;
    for (int64_t i = 0; i < a->axis.n; i++) {
        if (x->shape[a->axis.v[i]] != 1)
            return tide_op_fail(
                c, TIDE_ESHAPE, "axis %ld of %s cannot be dropped (expected length 1, got %ld)",
                (long)a->axis.v[i] + 1, tide_shape_str(x->rank, x->shape, buf, sizeof buf),
                (long)x->shape[a->axis.v[i]]);
        gone |= 1u << a->axis.v[i];
    }
    c->meta[0] = (tide_meta){.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        if (a->axis.n < 0 ? x->shape[i] == 1 : gone >> i & 1) continue;
        c->meta[0].shape[c->meta[0].rank] = x->shape[i];
        c->view_stride[c->meta[0].rank++] = x->stride[i];
    }
    return TIDE_OK;
}
TIDE_DESCRIBE(squeeze, .flags = TIDE_HALF, .infer = squeeze_infer, .grad = to_input_shape);

static tide_status same_view(tide_call *c) {
    int64_t order[TIDE_MAX_RANK];
    for (int i = 0; i < TIDE_MAX_RANK; i++) order[i] = i;
    permute(c, order);
    return TIDE_OK;
}
TIDE_DESCRIBE(stop_gradient, .flags = TIDE_HALF | TIDE_NOGRAD, .infer = same_view);

/* -- diagonals -- */
static tide_status diagonal_infer(tide_call *c) {
    tide_diagonal_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    if (x->rank < 2) return tide_op_fail(c, TIDE_ESHAPE, "x needs two axes (got %d)", x->rank);
    TIDE_TRY(tide_axis(c, &a->axis1, x->rank));
    TIDE_TRY(tide_axis(c, &a->axis2, x->rank));
    if (a->axis1 == a->axis2)
        return tide_op_fail(c, TIDE_EARG, "axis1 and axis2 are both %ld", (long)a->axis1 + 1);
    int64_t rows = x->shape[a->axis1], cols = x->shape[a->axis2];
    int64_t off = a->offset < -rows ? -rows : a->offset > cols ? cols : a->offset;
    int64_t r = off < 0 ? -off : 0, k = off > 0 ? off : 0;
    int64_t len = rows - r < cols - k ? rows - r : cols - k;
    if (a->offset <= -rows || a->offset >= cols) len = 0;
    c->meta[0] = (tide_meta){.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        if (i == a->axis1 || i == a->axis2) continue;
        c->meta[0].shape[c->meta[0].rank] = x->shape[i];
        c->view_stride[c->meta[0].rank++] = x->stride[i];
    }
    c->meta[0].shape[c->meta[0].rank] = len < 0 ? 0 : len;
    c->view_stride[c->meta[0].rank++] = x->stride[a->axis1] + x->stride[a->axis2];
    if (len > 0) c->view_offset += r * x->stride[a->axis1] + k * x->stride[a->axis2];
    return TIDE_OK;
}
static void diagonal_grad(tide_tape *t, const tide_node *n) {
    ATTRS(diagonal);
    const tide_meta *m = tide_t_in_meta(t, 0);
    if (!tide_t_recording(t)) {
        int64_t stride[TIDE_MAX_RANK], next = 1;
        tide_place at = {0};
        for (int i = m->rank - 1; i >= 0; i--) {
            stride[i] = next;
            next *= m->shape[i] > 0 ? m->shape[i] : 1;
        }
        int k = 0;
        for (int i = 0; i < m->rank; i++)
            if (i != a->axis1 && i != a->axis2) at.stride[k++] = stride[i];
        at.stride[k] = stride[a->axis1] + stride[a->axis2];
        if (n->out_meta[0].shape[k] > 0)
            at.offset =
                a->offset < 0 ? -a->offset * stride[a->axis1] : a->offset * stride[a->axis2];
        tide_t_give_part(t, 0, &at, NULL, tide_t_dy(t, 0));
        return;
    }
    tide_tensor *planes = tide_t(t,
                                 OP(diag_embed_, .offset = a->offset, .rows = m->shape[a->axis1],
                                    .cols = m->shape[a->axis2]),
                                 tide_t_dy(t, 0));
    tide_t_give(t, 0,
                tide_t(t,
                       OP(moveaxis, .source = TIDE_INTS(-2, -1),
                          .destination = TIDE_INTS(a->axis1, a->axis2)),
                       planes));
}
TIDE_DESCRIBE(diagonal, .flags = TIDE_HALF, .infer = diagonal_infer, .grad = diagonal_grad);

static tide_status diag_embed_infer(tide_call *c) {
    const tide_diag_embed__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    int64_t total;
    if (x->rank < 1 || x->rank == TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "x needs 1 to %d axes (got %d)", TIDE_MAX_RANK - 1,
                            x->rank);
    c->meta[0] = tide_meta_of(x);
    c->meta[0].shape[x->rank - 1] = a->rows;
    c->meta[0].shape[c->meta[0].rank++] = a->cols;
    return tide_numel_of(c, c->meta[0].rank, c->meta[0].shape, &total);
}
static void diag_embed_grad(tide_tape *t, const tide_node *n) {
    ATTRS(diag_embed_);
    tide_t_give(
        t, 0,
        tide_t(t, OP(diagonal, .offset = a->offset, .axis1 = -2, .axis2 = -1), tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(diag_embed_, .flags = TIDE_HALF | TIDE_INTERNAL | TIDE_CONTIGUOUS,
              .infer = diag_embed_infer, .grad = diag_embed_grad);

static tide_status diag_infer(tide_call *c) {
    const tide_diag_attrs *a = c->attrs;
    if (c->in[0]->rank != 1 && c->in[0]->rank != 2)
        return tide_op_fail(c, TIDE_ESHAPE, "x must have one or two axes (got %d)", c->in[0]->rank);
    if (c->in[0]->rank == 1 && (a->k > INT32_MAX || a->k < -(int64_t)INT32_MAX))
        return tide_op_fail(c, TIDE_ESHAPE, "a matrix with the diagonal %ld has too many elements",
                            (long)a->k);
    return TIDE_OK;
}
static void diag_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out) {
    const tide_diag_attrs *a = attrs;
    (void)nin;
    if (in[0]->rank == 2) {
        out[0] = tide_t(t, OP(diagonal, .offset = a->k), in[0]);
        return;
    }
    int64_t side = in[0]->shape[0] + (a->k < 0 ? -a->k : a->k); /* infer keeps k in bounds */
    out[0] = tide_t(t, OP(diag_embed_, .offset = a->k, .rows = side, .cols = side), in[0]);
}
TIDE_DESCRIBE(diag, .infer = diag_infer, .compose = diag_compose);

static tide_status triangle_infer(tide_call *c) {
    if (c->in[0]->rank < 2)
        return tide_op_fail(c, TIDE_ESHAPE, "x needs two axes (got %d)", c->in[0]->rank);
    return tide_infer_same(c);
}
static void tril_grad(tide_tape *t, const tide_node *n) {
    ATTRS(tril);
    tide_t_give(t, 0, tide_t(t, TIDE_OP_tril, a, tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(tril, .flags = TIDE_HALF | TIDE_CONTIGUOUS, .infer = triangle_infer,
              .grad = tril_grad);
static void triu_grad(tide_tape *t, const tide_node *n) {
    ATTRS(triu);
    tide_t_give(t, 0, tide_t(t, TIDE_OP_triu, a, tide_t_dy(t, 0)));
}
TIDE_DESCRIBE(triu, .flags = TIDE_HALF | TIDE_CONTIGUOUS, .infer = triangle_infer,
              .grad = triu_grad);
