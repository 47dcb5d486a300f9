/* index_put_: a contiguous copy with one strided part replaced. Moves bytes, whatever they mean. */
#include "cpu.h"

static void put(char *dst, const char *src, int axis, int rank, const int64_t *size,
                const int64_t *dst_step, const int64_t *src_step, size_t item) {
    if (axis == rank) {
        memcpy(dst, src, item);
        return;
    }
    if (axis == rank - 1 && dst_step[axis] == (int64_t)item && src_step[axis] == (int64_t)item) {
        memcpy(dst, src, (size_t)size[axis] * item);
        return;
    }
    for (int64_t i = 0; i < size[axis]; i++)
        put(dst + i * dst_step[axis], src + i * src_step[axis], axis + 1, rank, size, dst_step,
            src_step, item);
}

TIDE_ANY_KERNEL(index_put_) {
    const tide_index_put__attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *v = &c->in[1], *y = &c->out[0];
    size_t item = tide_dtype_size(x->dtype);
    int64_t n = tide_buf_numel(x);
    if (n == 0) return TIDE_OK;
    memcpy(y->p, x->p, (size_t)n * item);
    int64_t dst_step[TIDE_MAX_RANK], src_step[TIDE_MAX_RANK];
    char *dst = y->p;
    for (int i = 0, k = 0; i < x->rank; i++) {
        if (a->size.v[i] == 0) return TIDE_OK;
        dst += a->start.v[i] * y->stride[i] * (int64_t)item;
        dst_step[i] = a->step.v[i] * y->stride[i] * (int64_t)item;
        src_step[i] = a->drop >> i & 1 ? 0 : v->stride[k++] * (int64_t)item;
    }
    put(dst, v->p, 0, x->rank, a->size.v, dst_step, src_step, item);
    return TIDE_OK;
}
