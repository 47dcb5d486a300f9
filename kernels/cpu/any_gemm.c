/* Products of integers. */
#define TIDE_POLLED
#include "cpu.h"

#define INT_LOAD(T) \
    sum += (uint64_t)(int64_t)((const T *)a)[k * as] * (uint64_t)(int64_t)((const T *)b)[k * bs]
/* Sums wrap around, as NumPy's do. */
static int64_t int_dot(int dtype, const char *a, int64_t as, const char *b, int64_t bs, int64_t n) {
    uint64_t sum = 0;
    switch (dtype) {
    case TIDE_I64:
        for (int64_t k = 0; k < n; k++) INT_LOAD(int64_t);
        break;
    case TIDE_I32:
        for (int64_t k = 0; k < n; k++) INT_LOAD(int32_t);
        break;
    case TIDE_I8:
        for (int64_t k = 0; k < n; k++) INT_LOAD(int8_t);
        break;
    default:
        for (int64_t k = 0; k < n; k++) INT_LOAD(uint8_t);
        break;
    }
    return (int64_t)sum;
}

TIDE_INT_KERNEL(matmul) {
    const tide_buf *a = &c->in[0], *b = &c->in[1], *o = &c->out[0];
    int dt = a->dtype, size = (int)tide_dtype_size(dt);
    int va = a->rank == 1, vb = b->rank == 1, nbatch = TIDE_MAX(a->rank, b->rank) - 2;
    int64_t k = a->shape[a->rank - 1], m = va ? 1 : a->shape[a->rank - 2],
            n = vb ? 1 : b->shape[b->rank - 1];
    int64_t ars = va ? 0 : a->stride[a->rank - 2], acs = a->stride[a->rank - 1];
    int64_t brs = b->stride[vb ? 0 : b->rank - 2], bcs = vb ? 0 : b->stride[b->rank - 1];
    int64_t total = tide_buf_numel(o);
    TIDE_PARALLEL_FOR (total, TIDE_MAX(1, 65536 / (k + 1))) {
        for (int64_t i = lo; i < hi; i++) {
            int64_t col = i % n, row = i / n % m, rest = i / n / m, ao = row * ars, bo = col * bcs;
            for (int d = nbatch - 1; d >= 0; d--) {
                int64_t extent = o->shape[d], at = rest % extent;
                int da = d - (nbatch - (a->rank - 2)), db = d - (nbatch - (b->rank - 2));
                rest /= extent;
                if (!va && da >= 0 && a->shape[da] != 1) ao += at * a->stride[da];
                if (!vb && db >= 0 && b->shape[db] != 1) bo += at * b->stride[db];
            }
            int64_t v = int_dot(dt, (const char *)a->p + ao * size, acs,
                                (const char *)b->p + bo * size, brs, k);
            switch (dt) {
            case TIDE_I64: ((int64_t *)o->p)[i] = v; break;
            case TIDE_I32: ((int32_t *)o->p)[i] = (int32_t)v; break;
            case TIDE_BOOL: ((uint8_t *)o->p)[i] = v != 0; break;
            default: ((uint8_t *)o->p)[i] = (uint8_t)v; break;
            }
        }
    }
    return TIDE_OK;
}
