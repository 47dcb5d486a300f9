/* Counts that metrics accumulate: one pass over a batch for any number of thresholds. */
#include "../op.h"

static tide_status threshold_counts_infer(tide_call *c) {
    const tide_tensor *y_true = c->in[0], *y_pred = c->in[1], *thresholds = c->in[2],
                      *weight = c->nin > 3 ? c->in[3] : NULL;
    char a[160], b[160];
    int same = y_true->rank == 2 && y_pred->rank == 2;
    for (int i = 0; i < 2 && same; i++)
        same = y_true->shape[i] == y_pred->shape[i] &&
            (!weight || (weight->rank == 2 && weight->shape[i] == y_pred->shape[i]));
    if (!same)
        return tide_op_fail(
            c, TIDE_ESHAPE,
            "targets, predictions and weights need one shape (expected [n, labels], got %s and %s)",
            tide_shape_str(y_true->rank, y_true->shape, a, sizeof a),
            tide_shape_str(y_pred->rank, y_pred->shape, b, sizeof b));
    if (thresholds->rank != 1)
        return tide_op_fail(c, TIDE_ESHAPE, "thresholds must be a vector (got %s)",
                            tide_shape_str(thresholds->rank, thresholds->shape, a, sizeof a));
    c->meta[0] = (tide_meta){.rank = 3,
                             .dtype = (uint8_t)tide_wide(y_pred->dtype), /* counts */
                             .shape = {4, thresholds->shape[0], y_pred->shape[1]}};
    return TIDE_OK;
}

TIDE_DESCRIBE(threshold_counts, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS | TIDE_PROMOTE,
              .infer = threshold_counts_infer);

/* -- sums over the batches of an epoch -- */

static tide_status sums(tide_call *c) {
    const tide_tensor *state = c->in[0];
    char a[160];
    if (state->dtype != TIDE_F64 || state->rank != 1 || state->shape[0] != 2)
        return tide_op_fail(c, TIDE_ESHAPE, "state does not fit (expected float64 (2), got %s %s)",
                            tide_dtype_name(state->dtype),
                            tide_shape_str(state->rank, state->shape, a, sizeof a));
    return TIDE_OK;
}
static tide_status tally__infer(tide_call *c) { return sums(c); }
TIDE_DESCRIBE(tally_, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS, .infer = tally__infer);

static tide_status tally_loss__infer(tide_call *c) {
    const tide_tensor *guard = c->in[1], *loss = c->in[2];
    char a[160];
    TIDE_TRY(sums(c));
    if ((guard->dtype != TIDE_F32 && guard->dtype != TIDE_F64) || guard->rank != 1 ||
        guard->shape[0] != 3)
        return tide_op_fail(
            c, TIDE_ESHAPE, "guard does not fit (expected float32 or float64 (3), got %s %s)",
            tide_dtype_name(guard->dtype), tide_shape_str(guard->rank, guard->shape, a, sizeof a));
    if (tide_numel(loss) != 1)
        return tide_op_fail(c, TIDE_ESHAPE, "the loss must have one element (got %s)",
                            tide_shape_str(loss->rank, loss->shape, a, sizeof a));
    return TIDE_OK;
}
TIDE_DESCRIBE(tally_loss_, .flags = TIDE_NOGRAD | TIDE_CONTIGUOUS, .infer = tally_loss__infer);
