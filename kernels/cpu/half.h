/* float16 and bfloat16, which Tide stores and converts: widening is exact, narrowing rounds to
 * nearest even, and a NaN stays one with its sign and the upper bits of its payload. */
#ifndef TIDE_CPU_HALF_H
#define TIDE_CPU_HALF_H

#include "../kernel.h"

#include <string.h>

static inline float tide_bits_float(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint32_t tide_float_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float tide_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
    if (e == 31) return tide_bits_float(sign | (m ? 0x7fc00000 : 0x7f800000) | m << 13);
    if (e != 0) return tide_bits_float(sign | (e + 112) << 23 | m << 13);
    float tiny = (float)m * 5.9604644775390625e-8f; /* subnormal: m * 2^-24 */
    return sign ? -tiny : tiny;
}

static inline uint16_t tide_to_f16(float f) {
    uint32_t u = tide_float_bits(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x1ff)); /* NaN */
    if (u >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds past 65504: infinity */
    if (u < 0x38800000) { /* subnormal: adding 0.5 aligns and rounds the mantissa */
        float a = tide_bits_float(u) + 0.5f;
        return (uint16_t)(sign | (tide_float_bits(a) - 0x3f000000));
    }
    u += 0xc8000fff + (u >> 13 & 1);
    return (uint16_t)(sign | u >> 13);
}

static inline float tide_from_bf16(uint16_t h) { return tide_bits_float((uint32_t)h << 16); }

static inline uint16_t tide_to_bf16(float f) {
    uint32_t u = tide_float_bits(f), near = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : near);
}

/* One element of either. */
static inline float tide_from_half(int dtype, uint16_t h) {
    return dtype == TIDE_F16 ? tide_from_f16(h) : tide_from_bf16(h);
}

static inline uint16_t tide_to_half(int dtype, float f) {
    return dtype == TIDE_F16 ? tide_to_f16(f) : tide_to_bf16(f);
}

/* Runs of n elements at the chosen level (half.c). */
typedef struct {
    void (*widen)(int dtype, int64_t n, const uint16_t *src, float *dst);
    void (*narrow)(int dtype, int64_t n, const float *src, uint16_t *dst);
    void (*convert)(int from, int to, int64_t n, const void *src, void *dst); /* tide_convert */
    int (*bf16_units)(void); /* whether bfloat16 is multiplied by instructions of the CPU */
} tide_half_loops;
extern const tide_half_loops *tide_half;

/* Runs `kernel`, which draws uniform numbers, for a result in half. */
tide_status tide_half_uniform(tide_kcall *c, tide_kernel kernel);

/* Runs `kernel`, which knows float32 alone and treats rows one by one, for a call with halves
 * (once_half_rows.c). Rows are the first `lead` axes of every operand but the inputs whose bit is
 * in `shared`; the kernel sees them as one axis. Where the attributes, of `attrs_size` bytes, name
 * at `axis_at` the axis behind those, it is named anew. */
tide_status tide_half_rows(tide_kcall *c, tide_kernel kernel, int64_t lead, unsigned shared,
                           size_t attrs_size, size_t axis_at);

#ifdef TIDE_CPU_H
/* Adds, or combines by a reduction of scatter_update, the m rows of `x` (outer, m, inner) to what
 * stands at the places `at` of y (outer, n, inner), in order (once_half_sums.c). */
tide_status tide_half_combine(tide_device *dev, int how, const tide_along *y_is, const int64_t *at,
                              int64_t m, int dtype, const uint16_t *x, uint16_t *y);
/* dx (outer, n, inner) = sums of dy (outer, m, inner), each element of which goes to the place
 * along the axis that `at` has for it. */
tide_status tide_half_add_along(tide_device *dev, const tide_along *dx_is, const int64_t *at,
                                int64_t m, int dtype, const uint16_t *dy, uint16_t *dx);
#endif

#ifdef KANY /* the same, inside a level */
void KANY(convert)(int from, int to, int64_t n, const void *src, void *dst);
#endif
#if defined K && REAL_IS_FLOAT
void K(widen)(int dtype, int64_t n, const uint16_t *src, float *dst);
void K(narrow)(int dtype, int64_t n, const float *src, uint16_t *dst);
int K(bf16_units)(void);
#endif

#endif
