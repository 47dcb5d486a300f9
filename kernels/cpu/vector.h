/* exp, tanh and the normal distribution of float32 as arithmetic alone.
 *
 * The vector versions of libm are calls: a loop around one keeps nothing in registers, and calling
 * costs as much as the function. These are inlined, so that what stands before and behind them is
 * one loop with them. Each is within some units of the last place of its value; NaN stays NaN. The
 * coefficients are those of spec/ref/vector_fit.py. */
#ifndef TIDE_VECTOR_H
#define TIDE_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define TIDE_ROUNDER 12582912.0f /* 1.5 * 2^23: a sum with it is a whole number */

static inline float tide_float_of(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline int32_t tide_bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float tide_two_to(int32_t n) { return tide_float_of((n + 127) << 23); }

/* exp(x) = 2^n exp(r) with |r| at most half of log 2. 2^n is made in two steps, for the results
 * below the normal numbers; n goes from where they are 0 to where they are inf. */
static inline float tide_exp(float x) {
    const float least = TIDE_ROUNDER - 150, most = TIDE_ROUNDER + 129;
    float sum = x * 1.44269504f + TIDE_ROUNDER;
    sum = least > sum ? least : sum;
    sum = most < sum ? most : sum;
    const float n = sum - TIDE_ROUNDER, r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
    float p = 0.00138145406f;
    p = p * r + 0.00836874545f;
    p = p * r + 0.041668389f;
    p = p * r + 0.166665211f;
    p = p * r + 0.49999994f;
    p = (p * r) * r + r + 1;
    const int32_t k = tide_bits_of(sum) - tide_bits_of(TIDE_ROUNDER), half = k >> 1;
    const float y = p * tide_two_to(half) * tide_two_to(k - half);
    return x < -104.0f ? 0 : y;
}

/* A quotient of polynomials; beyond 9.01 tanh is 1 in float32. */
static inline float tide_tanh(float x) {
    x = -9.01f > x ? -9.01f : x;
    x = 9.01f < x ? 9.01f : x;
    const float y = x * x;
    float p = 1.81627265e-11f, q = 0.000227914337f;
    p = p * y - 1.27439348e-8f;
    p = p * y + 9.25516997e-6f;
    p = p * y + 0.00291941594f;
    p = p * y + 0.129179761f;
    p = p * y + 0.99999994f;
    q = q * y + 0.023757657f;
    q = q * y + 0.462512583f;
    q = q * y + 1;
    float t = x * p / q;
    t = -1.0f > t ? -1.0f : t;
    return 1.0f < t ? 1.0f : t;
}

/* The normal distribution up to x, and its density there: with a = |x| the part beyond a is density
 * times a polynomial in 1 / (1 + 0.35 a). */
static inline float tide_normal(float x, float *density) {
    const float a = fabsf(x), e = tide_exp(-0.5f * (a * a)), t = 1 / (1 + 0.35f * a);
    float p = -0.0291458853f;
    p = p * t + 0.143971503f;
    p = p * t - 0.25571388f;
    p = p * t + 0.159173757f;
    p = p * t - 0.0231095832f;
    p = p * t + 0.10550791f;
    p = p * t + 0.119832888f;
    p = p * t + 0.139861867f;
    p = p * t + 0.139621407f;
    const float beyond = e * (p * t);
    *density = 0.398942280f * e;
    return x < 0 ? beyond : 1 - beyond;
}

#endif
