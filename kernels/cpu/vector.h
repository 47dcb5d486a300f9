/* exp, tanh and the normal distribution of float32, eight at a time, as arithmetic alone.
 *
 * The vector versions of libm are calls: a loop around one keeps nothing in registers, and erfc's
 * takes three times as long as this. Left to itself gcc turns the limits below into selections
 * between whole results, so the functions are written with vectors. NaN stays NaN. The coefficients
 * are those of spec/ref/vector_fit.py, the errors some units of the last place. */
#ifndef TIDE_VECTOR_H
#define TIDE_VECTOR_H

#include <stdint.h>
#include <string.h>

typedef float tide_f8 __attribute__((vector_size(32)));
typedef int32_t tide_i8 __attribute__((vector_size(32)));

static inline tide_f8 tide_f8_of(float x) { return x - (tide_f8){0}; }
static inline tide_f8 tide_f8_load(const float *p) {
    tide_f8 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void tide_f8_store(float *p, tide_f8 v) { memcpy(p, &v, sizeof v); }
static inline tide_f8 tide_f8_limited(tide_f8 x, float least, float most) {
    x = __builtin_ia32_maxps256(tide_f8_of(least), x);
    return __builtin_ia32_minps256(tide_f8_of(most), x);
}
static inline tide_f8 tide_two_to(tide_i8 n) { return (tide_f8)((n + 127) << 23); }

/* exp(x) = 2^n exp(r) with |r| at most half of log 2. 2^n is made in two steps, for the results
 * below the normal numbers; the limits lie where the results are 0 and inf. */
static inline tide_f8 tide_exp8(tide_f8 x) {
    const float whole = 12582912; /* 1.5 * 2^23: a sum with it is a whole number */
    x = tide_f8_limited(x, -104, 89);
    const tide_f8 sum = x * 1.44269504f + whole, n = sum - whole;
    const tide_f8 r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    const tide_f8 s = r * r; /* terms in pairs, so that few wait for each other */
    const tide_f8 p = ((r * 0.166665211f + 0.49999994f) +
                       (r * 0.00836874545f + 0.041668389f + s * 0.00138145406f) * s) *
            s +
        (r + 1);
    const tide_i8 k = (tide_i8)sum - (tide_i8)tide_f8_of(whole), half = k >> 1;
    return p * tide_two_to(half) * tide_two_to(k - half);
}

/* A quotient of polynomials; beyond 9.01 tanh is 1 in float32. */
static inline tide_f8 tide_tanh8(tide_f8 x) {
    x = tide_f8_limited(x, -9.01f, 9.01f);
    const tide_f8 y = x * x;
    const tide_f8 s = y * y,
                  p = (y * 0.129179761f + 0.99999994f) +
        ((y * 9.25517179e-6f + 0.00291941618f) + (y * 1.81627369e-11f - 1.27439392e-8f) * s) * s;
    const tide_f8 q = (y * 0.462512583f + 1) + (y * 0.000227914366f + 0.023757657f) * s;
    return tide_f8_limited(x * p / q, -1, 1);
}

/* The normal distribution up to x, and its density there: with a = |x| the part beyond a is
 * exp(-a^2 / 2) times a polynomial in 1 / (1 + 0.35 a). */
static inline tide_f8 tide_normal8(tide_f8 x, tide_f8 *density) {
    const tide_f8 a = (tide_f8)((tide_i8)x & INT32_MAX), e = tide_exp8(a * a * -0.5f),
                  t = 1 / (a * 0.35f + 1);
    const tide_f8 s = t * t,
                  low = (t * 0.139861867f + 0.139621407f) + (t * 0.10550791f + 0.119832888f) * s,
                  high = (t * 0.159173757f - 0.0231095832f) +
        (t * 0.143971503f - 0.25571388f - s * 0.0291458853f) * s,
                  p = low + high * (s * s);
    const tide_f8 beyond = e * (p * t);
    *density = e * 0.398942280f;
    return __builtin_ia32_blendvps256(1 - beyond, beyond, x);
}

/* What loops below make of two operands. */
static inline tide_f8 tide_gelu_of8(tide_f8 x, tide_f8 y) {
    (void)y;
    tide_f8 density;
    return x * tide_normal8(x, &density);
}
static inline tide_f8 tide_gelu_of_sum8(tide_f8 x, tide_f8 y) { return tide_gelu_of8(x + y, y); }
static inline tide_f8 tide_gelu_grad8(tide_f8 dy, tide_f8 x) {
    tide_f8 density;
    const tide_f8 p = tide_normal8(x, &density);
    return dy * (x * density + p);
}
static inline tide_f8 tide_tanh_of8(tide_f8 x, tide_f8 y) {
    (void)y;
    return tide_tanh8(x);
}
static inline tide_f8 tide_tanh_of_sum8(tide_f8 x, tide_f8 y) { return tide_tanh8(x + y); }

/* out = f(x, y), element by element; out may be x or y. */
typedef tide_f8 (*tide_map_of_two)(tide_f8, tide_f8);
static inline __attribute__((always_inline)) void tide_map8(tide_map_of_two f, int64_t n,
                                                            const float *x, const float *y,
                                                            float *out) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) tide_f8_store(out + i, f(tide_f8_load(x + i), tide_f8_load(y + i)));
    if (i == n) return;
    const size_t rest = (size_t)(n - i) * sizeof(float);
    float a[8] = {0}, b[8] = {0};
    memcpy(a, x + i, rest), memcpy(b, y + i, rest);
    tide_f8_store(a, f(tide_f8_load(a), tide_f8_load(b)));
    memcpy(out + i, a, rest);
}

#endif
