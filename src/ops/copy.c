/* Copies, casts, fills, joins: ops that move elements and give them no other meaning. */
#include "../op.h"

#include <stdio.h>

static void copy_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    tide_t_give(t, 0, tide_t_dy(t, 0));
}

TIDE_DESCRIBE(copy, .flags = TIDE_HALF, .infer = tide_infer_same, .grad = copy_grad);

static tide_status cast_infer(tide_call *c) {
    const tide_cast_attrs *a = c->attrs;
    TIDE_TRY(tide_infer_same(c));
    c->meta[0].dtype = (uint8_t)a->dtype;
    return TIDE_OK;
}

static void cast_grad(tide_tape *t, const tide_node *n) {
    (void)n;
    if (tide_is_float(tide_t_in_meta(t, 0)->dtype))
        tide_t_give(t, 0,
                    tide_t(t, OP(cast, .dtype = tide_t_in_meta(t, 0)->dtype), tide_t_dy(t, 0)));
}

TIDE_DESCRIBE(cast, .flags = TIDE_HALF, .infer = cast_infer, .grad = cast_grad);

static tide_status fill_infer(tide_call *c) {
    const tide_fill__attrs *a = c->attrs;
    c->meta[0].rank = (uint8_t)a->shape.n;
    c->meta[0].dtype = (uint8_t)a->dtype;
    for (int64_t i = 0; i < a->shape.n; i++) c->meta[0].shape[i] = a->shape.v[i];
    return TIDE_OK;
}

TIDE_DESCRIBE(fill_, .flags = TIDE_NOGRAD | TIDE_HALF, .infer = fill_infer);

static tide_status concatenate_infer(tide_call *c) {
    tide_concatenate_attrs *a = c->attrs;
    tide_meta *m = &c->meta[0];
    char s[160], t[160];
    if (c->nlist == 0) return tide_op_fail(c, TIDE_EARG, "needs at least one tensor");
    *m = tide_meta_of(c->in[0]);
    if (m->rank == 0)
        return tide_op_fail(c, TIDE_ESHAPE, "tensors without axes cannot be joined; use stack");
    TIDE_TRY(tide_axis(c, &a->axis, m->rank));
    for (int k = 1; k < c->nlist; k++) {
        const tide_tensor *x = c->in[k];
        int same = x->rank == m->rank;
        for (int i = 0; i < m->rank && same; i++) same = i == a->axis || x->shape[i] == m->shape[i];
        if (!same)
            return tide_op_fail(
                c, TIDE_ESHAPE, "tensor %d does not fit along axis %ld (expected %s, got %s)",
                k + 1, (long)a->axis + 1, tide_shape_str(m->rank, m->shape, s, sizeof s),
                tide_shape_str(x->rank, x->shape, t, sizeof t));
        m->shape[a->axis] += x->shape[a->axis];
    }
    return TIDE_OK;
}

static void concatenate_grad(tide_tape *t, const tide_node *n) {
    const tide_concatenate_attrs *a = (const void *)n->attrs;
    tide_tensor *dy = tide_t_dy(t, 0);
    int64_t at = 0;
    for (int k = 0; k < n->nin; k++) {
        const tide_meta *m = tide_t_in_meta(t, k);
        if (tide_t_needs(t, k)) {
            tide_index__attrs part =
                *TIDE_ATTRS(index_, .start.n = m->rank, .size.n = m->rank, .step.n = m->rank);
            for (int i = 0; i < m->rank; i++) part.size.v[i] = m->shape[i], part.step.v[i] = 1;
            part.start.v[a->axis] = at;
            tide_t_give(t, k, tide_t(t, TIDE_OP_index_, &part, dy));
        }
        at += m->shape[a->axis];
    }
}

TIDE_DESCRIBE(concatenate, .flags = TIDE_PROMOTE | TIDE_HALF, .infer = concatenate_infer,
              .grad = concatenate_grad);
