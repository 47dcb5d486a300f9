/* Dropout: the mask is made from counters where it is used, forward and backward, and never stored.
 */
#include "cpu.h"
#include "philox.h"

/* An element stays if its word is below keep * 2^32. */
static uint64_t limit_of(double rate) { return (uint64_t)((1 - rate) * 4294967296.0 + 0.5); }

/* y = x * scale + shift where the element stays, else `zero`. */
typedef struct {
    REAL scale, shift, zero;
    uint64_t limit;
} rule;

static void masked_group(const rule *k, const uint32_t *w, int64_t n, const REAL *x, REAL *y) {
    const uint32_t last = (uint32_t)(k->limit - 1); /* limit is at least 1 here */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = w[i] <= last ? x[i] * k->scale + k->shift : k->zero;
}

static tide_status masked(tide_kcall *c, const tide_ints *noise, tide_rng rng, rule k) {
    const tide_buf *b = &c->in[0];
    const REAL *x = b->p;
    REAL *y = c->out[0].p;
    const int64_t n = tide_buf_numel(b);
    if (k.limit == 0) {
        TIDE_PARALLEL_FOR (n, 65536) {
            for (int64_t i = lo; i < hi; i++) y[i] = k.zero;
        }
        return TIDE_OK;
    }
    if (noise->n < 0) {
        TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(n, TIDE_PHILOX_GROUP), 256) {
            for (int64_t g = lo; g < hi; g++) {
                uint32_t w[TIDE_PHILOX_GROUP];
                tide_philox_group(rng, (uint64_t)g, w);
                const int64_t i = g * TIDE_PHILOX_GROUP;
                if (n - i >= TIDE_PHILOX_GROUP)
                    masked_group(&k, w, TIDE_PHILOX_GROUP, x + i, y + i);
                else masked_group(&k, w, n - i, x + i, y + i);
            }
        }
        return TIDE_OK;
    }
    int64_t step[TIDE_MAX_RANK], size = 1; /* of the mask, 0 along axes it repeats over */
    for (int i = b->rank - 1; i >= 0; i--) {
        const int64_t d = noise->v[i] < 0 ? b->shape[i] : noise->v[i];
        step[i] = d == 1 ? 0 : size;
        size *= d;
    }
    const int64_t inner = b->rank ? b->shape[b->rank - 1] : 1;
    TIDE_PARALLEL_FOR (inner ? n / inner : 0, TIDE_MAX(1, 8192 / (inner + 1))) {
        int64_t have = -1;
        uint32_t w[TIDE_PHILOX_GROUP];
        for (int64_t r = lo; r < hi; r++) {
            int64_t at = 0, rest = r;
            for (int i = b->rank - 2; i >= 0; i--)
                at += rest % b->shape[i] * step[i], rest /= b->shape[i];
            for (int64_t j = 0; j < inner; j++) {
                const int64_t m = at + (b->rank ? j * step[b->rank - 1] : 0),
                              group = m / TIDE_PHILOX_GROUP;
                if (group != have) tide_philox_group(rng, (uint64_t)group, w), have = group;
                masked_group(&k, w + m % TIDE_PHILOX_GROUP, 1, x + r * inner + j,
                             y + r * inner + j);
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(dropout) {
    const tide_dropout_attrs *at = c->attrs;
    return masked(c, &at->noise_shape, at->rng,
                  (rule){.scale = (REAL)(1 / (1 - at->rate)),
                         .zero = 0,
                         .limit = at->rate >= 1 ? 0 : limit_of(at->rate)});
}

/* a (x or -alpha scale) + b: mean and variance of standardized inputs stay what they are. */
TIDE_KERNEL(alpha_dropout) {
    const tide_alpha_dropout_attrs *at = c->attrs;
    const double p = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946,
                 rate = at->rate;
    const double a = rate >= 1 ? 0 : 1 / sqrt((1 - rate) * (1 + rate * p * p)), b = -a * p * rate;
    const rule k = {.scale = (REAL)a,
                    .shift = (REAL)b,
                    .zero = (REAL)(a * p + b),
                    .limit = rate >= 1 ? 0 : limit_of(rate)};
    return masked(c, &at->noise_shape, at->rng, k);
}
