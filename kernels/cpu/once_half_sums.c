/* Several contributions to one place of a tensor of halves. They are brought together by place
 * first, so that each place is combined in float32, in the order of its contributions, and rounded
 * once, without a float32 copy of the tensor. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"

enum { WIDTH = 256 };

/* The contributions by place, each place's in order: sorted by the digits of their places, the last
 * one first. The work space is that of the contributions, however many places there are. */
static tide_status by_place(tide_device *dev, int64_t places, const int64_t *at, int64_t m,
                            int64_t **out) {
    enum { BITS = 11, DIGITS = 1 << BITS };
    int64_t *order = tide_scratch(dev, (size_t)(2 * m + 1) * sizeof *order);
    if (!order) return TIDE_ENOMEM;
    int64_t *next = order + m;
    for (int64_t k = 0; k < m; k++) order[k] = k;
    for (int shift = 0; (places - 1) >> shift > 0; shift += BITS) {
        int64_t from[DIGITS + 1] = {0};
        for (int64_t k = 0; k < m; k++) from[(at[order[k]] >> shift & (DIGITS - 1)) + 1]++;
        for (int d = 0; d < DIGITS; d++) from[d + 1] += from[d];
        for (int64_t k = 0; k < m; k++)
            next[from[at[order[k]] >> shift & (DIGITS - 1)]++] = order[k];
        int64_t *swap = order;
        order = next, next = swap;
        if (tide_stopped()) return TIDE_EINTERRUPT;
    }
    *out = order;
    return TIDE_OK;
}

static void combine(int how, int64_t n, const float *x, float *y) {
    switch (how) {
    case TIDE_REDUCTION_mul:
        for (int64_t i = 0; i < n; i++) y[i] *= x[i];
        break;
    case TIDE_REDUCTION_max:
        for (int64_t i = 0; i < n; i++) y[i] = x[i] != x[i] || x[i] > y[i] ? x[i] : y[i];
        break;
    case TIDE_REDUCTION_min:
        for (int64_t i = 0; i < n; i++) y[i] = x[i] != x[i] || x[i] < y[i] ? x[i] : y[i];
        break;
    default:
        for (int64_t i = 0; i < n; i++) y[i] += x[i];
    }
}

tide_status tide_half_combine(tide_device *dev, int how, const tide_along *s, const int64_t *at,
                              int64_t m, int dtype, const uint16_t *x, uint16_t *y) {
    int64_t *order;
    TIDE_DO(by_place(dev, s->n, at, m, &order));
    const int64_t blocks = TIDE_CEIL_DIV(s->inner, WIDTH);
    TIDE_PARALLEL_FOR (s->outer *blocks,
                       TIDE_MAX(1, 65536 / TIDE_MAX(m * TIDE_MIN(s->inner, WIDTH), 1))) {
        float sum[WIDTH], one[WIDTH];
        for (int64_t i = lo; i < hi; i++) {
            const int64_t o = i / blocks, j = i % blocks * WIDTH, w = TIDE_MIN(s->inner - j, WIDTH);
            for (int64_t k = 0; k < m;) {
                const int64_t place = at[order[k]];
                uint16_t *to = y + (o * s->n + place) * s->inner + j;
                tide_half->widen(dtype, w, to, sum);
                for (; k < m && at[order[k]] == place; k++) {
                    tide_half->widen(dtype, w, x + (o * m + order[k]) * s->inner + j, one);
                    combine(how, w, one, sum);
                }
                tide_half->narrow(dtype, w, sum, to);
            }
        }
    }
    return TIDE_OK;
}

tide_status tide_half_add_along(tide_device *dev, const tide_along *s, const int64_t *at, int64_t m,
                                int dtype, const uint16_t *dy, uint16_t *dx) {
    enum { COLUMNS = 16 };
    const int64_t tiles = TIDE_CEIL_DIV(s->inner, COLUMNS), most = TIDE_MIN(s->inner, COLUMNS),
                  grain = TIDE_MAX(1, 16384 / TIDE_MAX((s->n + m) * most, 1));
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(dev, s->outer * tiles, grain, (size_t)(s->n * most + 1) * sizeof(float),
                           &lanes));
    TIDE_PARALLEL_FOR (s->outer *tiles, grain) {
        float *sum = tide_lane(&lanes, share_->slot);
        for (int64_t t = lo; t < hi; t++) {
            const int64_t o = t / tiles, j = t % tiles * COLUMNS,
                          w = TIDE_MIN(s->inner - j, COLUMNS);
            memset(sum, 0, (size_t)(s->n * w) * sizeof *sum);
            for (int64_t k = 0; k < m; k++)
                for (int64_t i = 0, from = (o * m + k) * s->inner + j; i < w; i++, from++)
                    sum[at[from] * w + i] += tide_from_half(dtype, dy[from]);
            for (int64_t p = 0; p < (w == s->inner ? 1 : s->n); p++)
                tide_half->narrow(dtype, w == s->inner ? s->n * w : w, sum + p * w,
                                  dx + (o * s->n + p) * s->inner + j);
        }
    }
    return TIDE_OK;
}
