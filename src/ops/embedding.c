/* Embedding tables, with sparse gradients for leaves, and the gather of batches. */
#include "../lag.h"

static tide_status embedding_infer(tide_call *c) { /* table, ids */
    const tide_tensor *table = c->in[0], *ids = c->in[1];
    if (table->rank < 1) return tide_op_fail(c, TIDE_ESHAPE, "the table needs an axis of rows");
    if (ids->dtype == TIDE_BOOL)
        return tide_op_fail(c, TIDE_EDTYPE, "ids are whole numbers (got bool)");
    if (ids->rank + table->rank - 1 > TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "more than %d axes", TIDE_MAX_RANK);
    c->meta[0] = (tide_meta){.rank = (uint8_t)(ids->rank + table->rank - 1), .dtype = table->dtype};
    for (int i = 0; i < ids->rank; i++) c->meta[0].shape[i] = ids->shape[i];
    for (int i = 1; i < table->rank; i++) c->meta[0].shape[ids->rank + i - 1] = table->shape[i];
    return TIDE_OK;
}

/* A leaf table gets (ids, values); anything else, and a gradient that is itself differentiated, the
 * dense sum. */
static void embedding_grad(tide_tape *t, const tide_node *n) {
    const tide_embedding_attrs *a = (const void *)n->attrs;
    const tide_meta *table = tide_t_in_meta(t, 0);
    tide_tensor *dy = tide_t_dy(t, 0), *ids = tide_t_in(t, 1);
    if (tide_t_failed(t)) return;
    if (!n->in[0].leaf || tide_t_recording(t)) {
        tide_tensor *g =
            tide_t(t, OP(embedding_grad_, .rows = table->shape[0], .base = a->base), dy, ids);
        tide_t_give(t, 0, g);
        return;
    }
    tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = table->rank);
    r.newshape.v[0] = tide_numel(ids);
    for (int i = 1; i < table->rank; i++) r.newshape.v[i] = table->shape[i];
    tide_tensor *values = tide_t(t, OP(copy), tide_t(t, TIDE_OP_reshape, &r, dy));
    tide_tensor *flat = tide_t(t, OP(embedding_ids_, .base = a->base), ids);
    if (tide_t_failed(t)) return;
    tide_tensor *g = tide_sparse_new(tide_t_ctx(t), table->rank, table->shape, flat, values);
    if (!g) {
        tide_t_fail(
            t,
            tide_fail(tide_t_ctx(t), TIDE_ENOMEM, "embedding: not enough memory for the gradient"));
        return;
    }
    tide_t_keep(t, g);
    tide_t_give(t, 0, g);
}
TIDE_DESCRIBE(embedding, .flags = TIDE_CONTIGUOUS | TIDE_LAGS | TIDE_HALF, .infer = embedding_infer,
              .before = tide_lag_lookup, .grad = embedding_grad, .saves = TIDE_SAVE_IN(1),
              .zero = "; ids count from 1: add 1 to ids that count from 0, or give 0 a row by "
                      "mask_zero = true (padding) or zero_row = true");

static tide_status ids_infer(tide_call *c) {
    c->meta[0] = (tide_meta){.rank = 1, .dtype = TIDE_I64, .shape = {tide_numel(c->in[0])}};
    return TIDE_OK;
}
TIDE_DESCRIBE(embedding_ids_, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD | TIDE_INTERNAL,
              .infer = ids_infer);

static tide_status embedding_grad_infer(tide_call *c) { /* dy, ids */
    const tide_embedding_grad__attrs *a = c->attrs;
    const tide_tensor *dy = c->in[0];
    const int lead = c->in[1]->rank;
    c->meta[0] =
        (tide_meta){.rank = (uint8_t)(dy->rank - lead + 1), .dtype = dy->dtype, .shape = {a->rows}};
    for (int i = lead; i < dy->rank; i++) c->meta[0].shape[i - lead + 1] = dy->shape[i];
    return TIDE_OK;
}
static void embedding_grad_grad(tide_tape *t, const tide_node *n) {
    const tide_embedding_grad__attrs *a = (const void *)n->attrs;
    tide_t_give(t, 0, tide_t(t, OP(embedding, .base = a->base), tide_t_dy(t, 0), tide_t_in(t, 1)));
}
TIDE_DESCRIBE(embedding_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_HALF,
              .infer = embedding_grad_infer, .grad = embedding_grad_grad, .saves = TIDE_SAVE_IN(1));

TIDE_DESCRIBE(densify_, .flags = TIDE_SPARSE | TIDE_NOGRAD | TIDE_INTERNAL | TIDE_HALF,
              .infer = tide_infer_same);

static tide_status batch_infer(tide_call *c) { /* x, order */
    const tide_batch_gather_attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *order = c->in[1];
    if (x->rank < 1) return tide_op_fail(c, TIDE_ESHAPE, "x needs an axis of rows");
    if (order->rank != 1)
        return tide_op_fail(c, TIDE_ESHAPE, "order is a list of positions (got %d axes)",
                            order->rank);
    int64_t first;
    if (__builtin_sub_overflow(a->first, a->base, &first)) first = -1;
    if (a->count < 0 || first < 0 || a->count > order->shape[0] ||
        first > order->shape[0] - a->count)
        return tide_op_fail(c, TIDE_EINDEX,
                            "order has %ld entries (asked for %ld from entry %ld on)",
                            (long)order->shape[0], (long)a->count, (long)a->first);
    int dtype = a->dtype;
    const int plain = a->scale != a->scale && a->offset != a->offset;
    if (dtype < 0) dtype = plain || tide_is_float(x->dtype) ? x->dtype : TIDE_F32;
    if (dtype != x->dtype && dtype != TIDE_F32 && dtype != TIDE_F64)
        return tide_op_fail(c, TIDE_EDTYPE, "rows become float32 or float64 (got %s)",
                            tide_dtype_name(dtype));
    c->meta[0] = tide_meta_of(x);
    c->meta[0].shape[0] = a->count;
    c->meta[0].dtype = (uint8_t)dtype;
    return TIDE_OK;
}
TIDE_DESCRIBE(batch_gather, .flags = TIDE_CONTIGUOUS | TIDE_NOGRAD | TIDE_HALF,
              .infer = batch_infer);
