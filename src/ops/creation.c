/* Tensors made from numbers. */
#include "helpers.h"

static tide_status arange_infer(tide_call *c) {
    const tide_arange__attrs *a = c->attrs;
    return result_of(c, &(tide_ints){.n = 1, .v = {a->n}}, a->dtype);
}
TIDE_DESCRIBE(arange_, .flags = TIDE_NOGRAD, .infer = arange_infer);
