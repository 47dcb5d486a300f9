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
