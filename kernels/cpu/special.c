/* The regularized incomplete gamma function and its slope, in double. */
#include "cpu.h"

#include <float.h>

/* x^a e^-x / Gamma(a + 1); from 20 on by Stirling's series, whose large parts cancel beforehand. */
static double density(double a, double x) {
    if (a < 20) { /* far out x^a may pass the range of numbers where the product is 0 */
        const double product = x > 700 ? exp(a * log(x) - x) : pow(x, a) * exp(-x);
        return product / tgamma(a + 1);
    }
    const double mu = (x - a) / a, r = 1 / (a * a),
                 rest = (1.0 / 12 - r * (1.0 / 360 - r * (1.0 / 1260 - r / 1680))) / a;
    const double fall = mu > -0.5 && mu < 0.5 ? log1p(mu) - mu : log(x / a) - mu;
    return exp(a * fall - rest) / sqrt(6.283185307179586 * a);
}

/* P(a, x): the series of Abramowitz and Stegun 6.5.29 below a + 1, the continued fraction 6.5.31
 * above (by Lentz's method). */
static double lower_gamma(double a, double x) {
    if (!(a >= 0) || !(x >= 0) || (a == 0 && x == 0)) return NAN;
    if (a == INFINITY) return x == INFINITY ? NAN : 0;
    if (x == 0) return 0;
    if (a == 0 || x == INFINITY) return 1;
    if (x < a + 1) {
        double term = 1, sum = 1;
        for (double n = a + 1; term > sum * DBL_EPSILON / 4 && !tide_stopped(); n++)
            sum += term *= x / n;
        return sum * density(a, x);
    }
    const double tiny = 1e-300, factor = a * density(a, x);
    if (factor == 0) return 1;
    double b = x + 1 - a, c = 1 / tiny, d = 1 / b, h = d;
    for (double i = 1; !tide_stopped(); i++) {
        const double n = -i * (i - a);
        b += 2;
        d = n * d + b, d = 1 / (fabs(d) < tiny ? tiny : d);
        c = b + n / c, c = fabs(c) < tiny ? tiny : c;
        h *= c * d;
        if (fabs(c * d - 1) <= DBL_EPSILON) break;
    }
    return 1 - h * factor;
}

static double slope(double a, double x) {
    if (!(a > 0) || !(x >= 0)) return a == 0 && x > 0 ? 0 : NAN;
    if (x == 0) return a == 1 ? 1 : a > 1 ? 0 : INFINITY;
    if (x == INFINITY || a == INFINITY) return 0;
    return density(a, x) * a / x;
}

#define EACH(name, f)                                                                     \
    TIDE_KERNEL(name) {                                                                   \
        const int64_t n = tide_buf_numel(&c->out[0]);                                     \
        const REAL *a = c->in[0].p, *x = c->in[1].p;                                      \
        REAL *y = c->out[0].p;                                                            \
        TIDE_PARALLEL_FOR (n, tide_even_grain(n, 64, 65536))                              \
            for (int64_t i = lo; i < hi; i++) y[i] = (REAL)f((double)a[i], (double)x[i]); \
        return TIDE_OK;                                                                   \
    }
EACH(gammainc_, lower_gamma)
EACH(gammainc_slope_, slope)
