/* Tensors made from numbers. */
#include "../op.h"

static tide_status shaped(tide_call *c, const tide_ints *shape, int dtype) {
    int64_t total;
    c->meta[0] = (tide_meta){.rank = (uint8_t)shape->n, .dtype = (uint8_t)dtype};
    for (int64_t i = 0; i < shape->n; i++) c->meta[0].shape[i] = shape->v[i];
    return tide_numel_of(c, (int)shape->n, shape->v, &total);
}

static tide_status arange_infer(tide_call *c) {
    const tide_arange__attrs *a = c->attrs;
    return shaped(c, &(tide_ints){.n = 1, .v = {a->n}}, a->dtype);
}
TIDE_DESCRIBE(arange_, .flags = TIDE_NOGRAD | TIDE_PRIVATE, .infer = arange_infer);
