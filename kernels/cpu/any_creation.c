/* Tensors made from numbers. */
#define TIDE_POLLED
#include "cpu.h"

/* start + i step, in whole numbers where all are: a double does not hold every int64. */
static void run(const tide_arange__attrs *a, int dtype, int64_t lo, int64_t hi, char *y) {
    enum { BLOCK = 512 };
    const int whole = a->start == floor(a->start) && a->step == floor(a->step);
    const int exact = whole && dtype == TIDE_I64 && fmax(fabs(a->start), fabs(a->step)) < 0x1p63;
    const uint64_t step = exact ? (uint64_t)(int64_t)a->step : 0;
    for (int64_t i0 = lo, n; i0 < hi; i0 += n) {
        double v[BLOCK];
        int64_t w[BLOCK];
        n = TIDE_MIN(BLOCK, hi - i0);
        for (int64_t i = 0; i < n && !exact; i++) v[i] = a->start + (double)(i0 + i) * a->step;
        for (int64_t i = 0; i < n && exact; i++)
            w[i] = (int64_t)((uint64_t)(int64_t)a->start + (uint64_t)(i0 + i) * step);
        void *to = y + i0 * (int64_t)tide_dtype_size(dtype);
        if (exact) tide_convert(TIDE_I64, dtype, n, w, to);
        else tide_convert(TIDE_F64, dtype, n, v, to);
    }
}

TIDE_ANY_KERNEL(arange_) {
    const tide_buf *y = &c->out[0];
    TIDE_PARALLEL_FOR (tide_buf_numel(y), 32768) { run(c->attrs, y->dtype, lo, hi, y->p); }
    return TIDE_OK;
}
