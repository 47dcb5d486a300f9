/* What float16 and bfloat16 do not get by way of a float32 kernel: elementwise ops that depend on
 * the spacing or the range of the format itself, done on the bits. */
#include "cpu.h"
#include "half.h"

#define GRAIN 32768

/* Bits of infinity; what lies above it in magnitude is NaN, what lies just below is the largest. */
static inline uint16_t infinity(int dtype) { return dtype == TIDE_F16 ? 0x7c00 : 0x7f80; }

static void nextafter_loop(int64_t n, const void *const *in, void *out, const void *ctx) {
    const uint16_t inf = infinity(*(const int *)ctx), *a = in[0], *b = in[1];
    uint16_t *y = out;
    for (int64_t i = 0; i < n; i++) {
        const int x = a[i] & 0x7fff, to = b[i] & 0x7fff;
        /* magnitudes with their signs: in the order of the numbers */
        const int from = a[i] & 0x8000 ? -x : x, goal = b[i] & 0x8000 ? -to : to;
        if (x > inf) y[i] = a[i];
        else if (to > inf || from == goal) y[i] = b[i];
        else if (x == 0) y[i] = (uint16_t)((b[i] & 0x8000) | 1);
        else y[i] = (uint16_t)(a[i] + ((from < goal) == (from > 0) ? 1 : -1));
    }
}
void tide_convert(int from, int to, int64_t n, const void *src, void *dst) {
    tide_half->convert(from, to, n, src, dst);
}

tide_status tide_half_nextafter(tide_kcall *);
tide_status tide_half_nextafter(tide_kcall *c) {
    const int dtype = c->out[0].dtype;
    return tide_elementwise_bits(c, nextafter_loop, GRAIN, &dtype);
}

typedef struct {
    uint16_t inf, nan, above, below; /* infinity, and what stands for NaN and the infinities */
} replaced;

static void nan_to_num_loop(int64_t n, const void *const *in, void *out, const void *ctx) {
    const replaced r = *(const replaced *)ctx;
    const uint16_t *a = in[0];
    uint16_t *y = out;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t x = a[i], size = x & 0x7fff;
        y[i] = size > r.inf ? r.nan : size < r.inf ? x : x == size ? r.above : r.below;
    }
}
tide_status tide_half_nan_to_num(tide_kcall *);
tide_status tide_half_nan_to_num(tide_kcall *c) {
    const tide_nan_to_num_attrs *at = c->attrs;
    const int dtype = c->out[0].dtype;
    const double value[3] = {at->nan, at->posinf, at->neginf};
    uint16_t bits[3];
    for (int i = 0; i < 3; i++) tide_convert(TIDE_F64, dtype, 1, &value[i], &bits[i]);
    replaced r = {.inf = infinity(dtype), .nan = bits[0], .above = bits[1], .below = bits[2]};
    if (at->posinf != at->posinf) r.above = (uint16_t)(r.inf - 1);
    if (at->neginf != at->neginf) r.below = (uint16_t)((r.inf - 1) | 0x8000);
    return tide_elementwise_bits(c, nan_to_num_loop, GRAIN, &r);
}

/* -- random numbers -- */

/* The upper limit of uniform numbers is not drawn, and must not come of rounding. */
tide_status tide_half_uniform(tide_kcall *c, tide_kernel kernel) {
    const tide_status st = kernel(c);
    if (st != TIDE_OK) return st;
    const tide_random_uniform_attrs *at = c->attrs;
    const tide_buf *out = &c->out[0];
    uint16_t limit[1], below[1], *y = out->p;
    const int dtype = out->dtype;
    tide_convert(TIDE_F64, dtype, 1, &at->maxval, limit);
    const uint16_t down[1] = {(uint16_t)(infinity(dtype) | 0x8000)};
    nextafter_loop(1, (const void *const[]){limit, down}, below, &dtype);
    for (int64_t i = 0, n = tide_buf_numel(out); i < n && at->maxval > at->minval; i++)
        if (y[i] == limit[0]) y[i] = below[0];
    return TIDE_OK;
}
