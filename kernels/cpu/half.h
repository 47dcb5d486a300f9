/* float16 and bfloat16, which Tide stores and converts: widening is exact, narrowing rounds to
 * nearest even. */
#ifndef TIDE_CPU_HALF_H
#define TIDE_CPU_HALF_H

#include <stdint.h>
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
    if (e == 31) return tide_bits_float(sign | 0x7f800000 | m << 13);
    if (e != 0) return tide_bits_float(sign | (e + 112) << 23 | m << 13);
    float tiny = (float)m * 5.9604644775390625e-8f; /* subnormal: m * 2^-24 */
    return sign ? -tiny : tiny;
}

static inline uint16_t tide_to_f16(float f) {
    uint32_t u = tide_float_bits(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);  /* NaN */
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
    uint32_t u = tide_float_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
