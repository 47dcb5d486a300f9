/* The sums that metrics and the loss keep over an epoch, in double whatever the values are. */
#include "cpu.h"

#include <math.h>

enum { PIECE = 16384 };

#define SUM(T, tag)                                                  \
    static double sum_##tag(const void *p, int64_t lo, int64_t hi) { \
        const T *x = p;                                              \
        double s = 0;                                                \
        for (int64_t i = lo; i < hi; i++) s += (double)x[i];         \
        return s;                                                    \
    }
SUM(float, f32)
SUM(double, f64)
SUM(int64_t, i64)
SUM(int32_t, i32)
SUM(int8_t, i8)
SUM(uint8_t, u8)

/* Pieces are of one size whoever sums them, and are added in order. */
static tide_status sum_all(tide_kcall *c, const tide_buf *x, double *out) {
    const int64_t n = tide_buf_numel(x);
    double (*sum)(const void *, int64_t, int64_t) = x->dtype == TIDE_F64 ? sum_f64
        : x->dtype == TIDE_I64                                           ? sum_i64
        : x->dtype == TIDE_I32                                           ? sum_i32
        : x->dtype == TIDE_I8                                            ? sum_i8
        : x->dtype == TIDE_F32                                           ? sum_f32
                                                                         : sum_u8;
    *out = 0;
    if (n <= PIECE) {
        *out = sum(x->p, 0, n);
        return TIDE_OK;
    }
    double *part = tide_scratch(c->dev, (size_t)TIDE_CEIL_DIV(n, PIECE) * sizeof *part);
    if (!part) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (n, PIECE) part[chunk] = sum(x->p, lo, hi);
    for (int64_t i = 0; i < TIDE_CEIL_DIV(n, PIECE); i++) *out += part[i];
    return TIDE_OK;
}

TIDE_ANY_KERNEL(tally_) {
    double *state = c->in[0].p, values, counts = 0;
    TIDE_DO(sum_all(c, &c->in[1], &values));
    if (c->in[2].p) TIDE_DO(sum_all(c, &c->in[2], &counts));
    state[0] += ((const tide_tally__attrs *)c->attrs)->factor * values;
    state[1] += counts;
    return TIDE_OK;
}

TIDE_ANY_KERNEL(tally_loss_) {
    double *state = c->in[0].p, loss;
    TIDE_DO(sum_all(c, &c->in[2], &loss));
    state[0] += ((const tide_tally_loss__attrs *)c->attrs)->factor * loss;
    const double bad = isfinite(loss) ? 0 : 1;
    if (c->in[1].dtype == TIDE_F64) {
        double *guard = c->in[1].p;
        guard[1] = bad;
        if (bad != 0) guard[0] += 1, guard[2] = loss;
    } else {
        float *guard = c->in[1].p;
        guard[1] = (float)bad;
        if (bad != 0) guard[0] += 1, guard[2] = (float)loss;
    }
    return TIDE_OK;
}
