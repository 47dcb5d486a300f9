/* Sorting and searching. Gradients go to the places that the elements came from. */
#include "../op.h"

static tide_status sort_infer(tide_call *c) {
    tide_sort_attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    return tide_infer_same(c);
}
static void sort_grad(tide_tape *t, const tide_node *n) {
    const tide_sort_attrs *a = (const void *)n->attrs;
    tide_tensor *from = tide_t(t, OP(argsort, .axis = a->axis, .base = 0), tide_t_in(t, 0));
    tide_t_give(t, 0,
                tide_t(t,
                       OP(take_along_grad_, .n = tide_t_in_meta(t, 0)->shape[a->axis],
                          .axis = a->axis, .base = 0),
                       tide_t_dy(t, 0), from));
}
TIDE_DESCRIBE(sort, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = sort_infer, .grad = sort_grad,
              .saves = TIDE_SAVE_IN(0));

static tide_status argsort_infer(tide_call *c) {
    tide_argsort_attrs *a = c->attrs;
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    c->meta[0] = tide_meta_of(c->in[0]);
    c->meta[0].dtype = TIDE_I64;
    return TIDE_OK;
}
TIDE_DESCRIBE(argsort, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD | TIDE_HALF, .infer = argsort_infer);

static tide_status top_k_infer(tide_call *c) {
    const tide_top_k_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0];
    char s[160];
    if (x->rank == 0) return tide_op_fail(c, TIDE_ESHAPE, "x needs an axis");
    if (a->k < 0 || a->k > x->shape[x->rank - 1])
        return tide_op_fail(c, TIDE_EARG, "k is out of range for %s (expected 0..%ld, got %ld)",
                            tide_shape_str(x->rank, x->shape, s, sizeof s),
                            (long)x->shape[x->rank - 1], (long)a->k);
    for (int i = 0; i < 2; i++) {
        c->meta[i] = tide_meta_of(x);
        c->meta[i].shape[x->rank - 1] = a->k;
    }
    c->meta[1].dtype = TIDE_I64;
    return TIDE_OK;
}
static void top_k_grad(tide_tape *t, const tide_node *n) {
    const tide_top_k_attrs *a = (const void *)n->attrs;
    const tide_meta *m = tide_t_in_meta(t, 0);
    tide_t_give(
        t, 0,
        tide_t(t, OP(take_along_grad_, .n = m->shape[m->rank - 1], .axis = -1, .base = a->base),
               tide_t_dy(t, 0), tide_t_out(t, 1)));
}
TIDE_DESCRIBE(top_k, .flags = TIDE_CONTIGUOUS | TIDE_HALF, .infer = top_k_infer, .grad = top_k_grad,
              .saves = TIDE_SAVE_OUT(1));

static tide_status searchsorted_infer(tide_call *c) {
    const tide_tensor *s = c->in[0];
    if (s->rank != 1)
        return tide_op_fail(c, TIDE_ESHAPE, "sorted_sequence must have one axis (got %d)", s->rank);
    c->meta[0] = tide_meta_of(c->in[1]);
    c->meta[0].dtype = TIDE_I64;
    return TIDE_OK;
}
TIDE_DESCRIBE(searchsorted, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD | TIDE_PROMOTE | TIDE_HALF,
              .infer = searchsorted_infer);

static void digitize_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                             tide_tensor **out) {
    const tide_digitize_attrs *a = attrs;
    (void)nin;
    out[0] = tide_t(t, OP(searchsorted, .side = TIDE_SIDE_right, .base = a->base), in[1], in[0]);
}
TIDE_DESCRIBE(digitize, .flags = TIDE_NOGRAD, .compose = digitize_compose);
