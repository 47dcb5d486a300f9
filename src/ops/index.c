/* Strided parts: a view of one, and a copy with one replaced. Each is the other's gradient, so
 * derivatives of any order exist. */
#include "helpers.h"

static tide_status part_of(tide_call *c, const tide_ints *start, const tide_ints *size,
                           const tide_ints *step, int64_t drop, tide_meta *m, int64_t *stride,
                           int64_t *offset) {
    const tide_tensor *x = c->in[0];
    char buf[160];
    if (start->n != x->rank || size->n != x->rank || step->n != x->rank)
        return tide_op_fail(
            c, TIDE_EARG,
            "start, size and step need one entry per axis (expected %d, got %ld, %ld, %ld)",
            x->rank, (long)start->n, (long)size->n, (long)step->n);
    m->rank = 0;
    m->dtype = x->dtype;
    for (int i = 0; i < x->rank; i++) {
        int64_t last = size->v[i] > 1 ? start->v[i] + (size->v[i] - 1) * step->v[i] : start->v[i];
        if (size->v[i] < 0 ||
            (size->v[i] > 0 &&
             (start->v[i] < 0 || start->v[i] >= x->shape[i] || last < 0 || last >= x->shape[i])))
            return tide_op_fail(c, TIDE_EINDEX,
                                "the part %ld..%ld of axis %d lies outside of shape %s",
                                (long)start->v[i] + 1, (long)last + 1, i + 1,
                                tide_shape_str(x->rank, x->shape, buf, sizeof buf));
        if (size->v[i] > 0) *offset += start->v[i] * x->stride[i];
        if (drop >> i & 1) continue;
        m->shape[m->rank] = size->v[i];
        stride[m->rank++] = size->v[i] > 1
            ? x->stride[i] * step->v[i]
            : x->stride[i]; /* any step may stand beside one element */
    }
    return TIDE_OK;
}

static tide_tensor *zeros(tide_tape *t, const tide_meta *m) {
    return tide_t(t, OP(fill_, .shape = shape_of(m), .dtype = m->dtype));
}

static tide_status index_infer(tide_call *c) {
    tide_index__attrs *a = c->attrs;
    return part_of(c, &a->start, &a->size, &a->step, a->drop, &c->meta[0], c->view_stride,
                   &c->view_offset);
}

/* Where the part lies in a contiguous tensor of form `m`. */
static tide_place place_of(const tide_meta *m, const tide_ints *start, const tide_ints *size,
                           const tide_ints *step, int64_t drop) {
    tide_place at = {0};
    int64_t stride = 1, strides[TIDE_MAX_RANK];
    for (int i = m->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= m->shape[i] > 0 ? m->shape[i] : 1;
    }
    for (int i = 0, k = 0; i < m->rank; i++) {
        if (size->v[i] > 0) at.offset += start->v[i] * strides[i];
        if (!(drop >> i & 1))
            at.stride[k++] = size->v[i] > 1 ? strides[i] * step->v[i] : strides[i];
    }
    return at;
}

static void index_grad(tide_tape *t, const tide_node *n) {
    const tide_index__attrs *a = (const void *)n->attrs;
    const tide_meta *m = tide_t_in_meta(t, 0);
    const tide_place at = place_of(m, &a->start, &a->size, &a->step, a->drop);
    tide_t_give_part(t, 0, &at, a, tide_t_dy(t, 0));
}

TIDE_DESCRIBE(index_, .flags = TIDE_INTERNAL | TIDE_HALF, .infer = index_infer, .grad = index_grad);

static tide_status index_put_infer(tide_call *c) {
    tide_index_put__attrs *a = c->attrs;
    tide_meta part;
    int64_t stride[TIDE_MAX_RANK], offset = 0;
    char x[160], v[160];
    TIDE_TRY(part_of(c, &a->start, &a->size, &a->step, a->drop, &part, stride, &offset));
    const tide_tensor *w = c->in[1];
    if (!tide_has_shape(w, part.rank, part.shape))
        return tide_op_fail(c, TIDE_ESHAPE, "the value does not fit the part (expected %s, got %s)",
                            tide_shape_str(part.rank, part.shape, x, sizeof x),
                            tide_shape_str(w->rank, w->shape, v, sizeof v));
    if (w->dtype != c->in[0]->dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "the value's dtype differs (expected %s, got %s)",
                            tide_dtype_name(c->in[0]->dtype), tide_dtype_name(w->dtype));
    return tide_infer_same(c);
}

/* The gradient of what stays has zeros in the part. They are written into dy itself, which is
 * handed on: assigning to all parts in turn costs as much as one pass. */
static void put_grad_in_place(tide_tape *t, const tide_index_put__attrs *a) {
    const tide_meta *m = tide_t_in_meta(t, 1);
    const tide_place at = place_of(tide_t_in_meta(t, 0), &a->start, &a->size, &a->step, a->drop);
    tide_tensor *dy = tide_t_own_dy(t, 0), *part = tide_t_part(t, dy, &at, m->rank, m->shape),
                *zero = NULL;
    if (tide_t_needs(t, 1)) tide_t_give(t, 1, tide_t(t, OP(copy), part));
    if (tide_t_failed(t)) return;
    tide_status st = tide_scalar(tide_t_ctx(t), 0, m->dtype, &zero);
    if (st == TIDE_OK) st = tide_copy_into(tide_t_ctx(t), part, zero);
    if (st != TIDE_OK) tide_t_fail(t, st);
    tide_t_give(t, 0, dy);
}

static void index_put_grad(tide_tape *t, const tide_node *n) {
    const tide_index_put__attrs *a = (const void *)n->attrs;
    if (!tide_t_recording(t) && tide_t_needs(t, 0)) {
        put_grad_in_place(t, a);
        return;
    }
    tide_tensor *dy = tide_t_dy(t, 0);
    if (tide_t_needs(t, 0))
        tide_t_give(t, 0,
                    tide_t(t,
                           OP(index_put_, .start = a->start, .size = a->size, .step = a->step,
                              .drop = a->drop),
                           dy, zeros(t, tide_t_in_meta(t, 1))));
    if (tide_t_needs(t, 1))
        tide_t_give(
            t, 1,
            tide_t(t,
                   OP(index_, .start = a->start, .size = a->size, .step = a->step, .drop = a->drop),
                   dy));
}

TIDE_DESCRIBE(index_put_, .flags = TIDE_INTERNAL | TIDE_HALF | TIDE_CONTIGUOUS,
              .infer = index_put_infer, .grad = index_put_grad);
