/* What stands around products: biases, activations and their gradients, sums of rows.
 *
 * Invariant: chunks depend on sizes alone and their sums are added in order, so results have equal
 * bits for any number of threads. */
#include "gemm.h"

/* Each forward stands above its derivative in terms of what the rule saves. */
#define SQRT1_2 ((REAL)0.70710678118654752440)
#define ACTIVATIONS(A)                                                    \
    A(relu, t_max(z, 0), y > 0 ? d : 0)                                   \
    A(relu6, t_min(t_max(z, 0), 6), y > 0 && y < 6 ? d : 0)               \
    A(sigmoid, T_SIGMOID(z), d *y *(1 - y))                               \
    A(tanh, T_TANH(z), d *(1 - y * y))                                    \
    A(elu, t_where(z > 0, z, T_EXPM1(z)), d *t_where(y > 0, 1, y + 1))    \
    A(gelu, z *(REAL)0.5 * (1 + FN(erf)(z * SQRT1_2)),                    \
      d *                                                                 \
          ((REAL)0.5 * (1 + FN(erf)(y * SQRT1_2)) +                       \
           y * (REAL)0.39894228040143267794 * T_EXP((REAL)-0.5 * y * y))) \
    A(silu, z *T_SIGMOID(z), d *T_SIGMOID(y) * (1 + y * (1 - T_SIGMOID(y))))

enum { NARROW = 64 }; /* elements that short rows are joined to */

static inline int64_t act_grain(int64_t n, int act) {
    return TIDE_MAX(1, (act >= TIDE_ACTIVATION_sigmoid ? 8192 : 32768) / TIDE_MAX(n, 1));
}

/* By eights, where that is faster than calls of libm; 0: not for this activation. */
#ifdef TIDE_EIGHTS
static int bias_act_eights(int64_t n, REAL *y, const REAL *bias, int act) {
    if (act == TIDE_ACTIVATION_gelu && bias) tide_map8(tide_gelu_of_sum8, n, y, bias, y);
    else if (act == TIDE_ACTIVATION_gelu) tide_map8(tide_gelu_of8, n, y, y, y);
    else if (act == TIDE_ACTIVATION_tanh && bias) tide_map8(tide_tanh_of_sum8, n, y, bias, y);
    else if (act == TIDE_ACTIVATION_tanh) tide_map8(tide_tanh_of8, n, y, y, y);
    else return 0;
    return 1;
}
static int act_grad_eights(int64_t n, const REAL *dy, const REAL *y, int act, REAL *dz) {
    if (act != TIDE_ACTIVATION_gelu) return 0;
    tide_map8(tide_gelu_grad8, n, dy, y, dz);
    return 1;
}
#else
#define bias_act_eights(n, y, bias, act) 0
#define act_grad_eights(n, dy, y, act, dz) 0
#endif

/* Small calls run without a parallel region: even one of a single thread costs more than they do.
 */
void K(bias_act_rows)(int64_t lo, int64_t hi, int64_t n, REAL *c, int64_t ldc, const REAL *bias,
                      int act) {
    for (int64_t i = lo; i < hi; i++) {
        REAL *restrict y = c + i * ldc;
        if (bias_act_eights(n, y, bias, act)) continue;
        switch (act) {
#define A(name, f, df)                        \
    case TIDE_ACTIVATION_##name:              \
        if (bias)                             \
            for (int64_t j = 0; j < n; j++) { \
                REAL z = y[j] + bias[j];      \
                y[j] = f;                     \
            }                                 \
        else                                  \
            for (int64_t j = 0; j < n; j++) { \
                REAL z = y[j];                \
                y[j] = f;                     \
            }                                 \
        break;
            ACTIVATIONS(A)
#undef A
        default:
            for (int64_t j = 0; j < n; j++) y[j] += bias[j];
        }
    }
}
void K(bias_act)(int64_t rows, int64_t n, REAL *c, int64_t ldc, const REAL *bias, int act) {
    if (!bias && act == TIDE_ACTIVATION_linear) return;
    REAL repeated[NARROW];
    if (n > 0 && n <= NARROW / 2 && ldc == n &&
        rows > NARROW) { /* several short rows are one, to fill the vectors */
        const int64_t each = NARROW / n, left = rows % each;
        K(bias_act_rows)(rows - left, rows, n, c, n, bias, act);
        for (int64_t i = 0; bias && i < each * n; i++) repeated[i] = bias[i % n];
        rows /= each, n = ldc = n * each, bias = bias ? repeated : NULL;
    }
    int64_t grain = act_grain(n, act);
    if (rows <= grain) {
        K(bias_act_rows)(0, rows, n, c, ldc, bias, act);
        return;
    }
    TIDE_PARALLEL_FOR (rows, grain) { K(bias_act_rows)(lo, hi, n, c, ldc, bias, act); }
}

static void act_grad_part(int64_t lo, int64_t hi, const REAL *restrict dy, const REAL *restrict y_,
                          int act, REAL *restrict dz) {
    if (act_grad_eights(hi - lo, dy + lo, y_ + lo, act, dz + lo)) return;
    switch (act) {
#define A(name, f, df)                      \
    case TIDE_ACTIVATION_##name:            \
        for (int64_t i = lo; i < hi; i++) { \
            REAL d = dy[i], y = y_[i];      \
            dz[i] = df;                     \
        }                                   \
        break;
        ACTIVATIONS(A)
#undef A
    default: memcpy(dz + lo, dy + lo, (size_t)(hi - lo) * sizeof(REAL));
    }
}
void K(act_grad)(int64_t rows, int64_t n, const REAL *dy, const REAL *y, int act, REAL *dz) {
    int64_t all = rows * n, grain = act_grain(1, act);
    if (all <= grain) {
        act_grad_part(0, all, dy, y, act, dz);
        return;
    }
    TIDE_PARALLEL_FOR (all, grain) { act_grad_part(lo, hi, dy, y, act, dz); }
}

static void colsum_part(int64_t lo, int64_t hi, int64_t n, const REAL *x, REAL *restrict s) {
    memset(s, 0, (size_t)n * sizeof(REAL));
    if (n > 0 && n <= NARROW / 2 && hi - lo >= 4 * NARROW) {
        REAL lane[NARROW] = {0};
        const int64_t each = NARROW / n, wide = each * n;
        for (; lo + each <= hi; lo += each)
            for (int64_t j = 0; j < wide; j++) lane[j] += x[lo * n + j];
        for (int64_t j = 0; j < wide; j++) s[j % n] += lane[j];
    }
    for (int64_t i = lo; i < hi; i++) {
        const REAL *restrict r = x + i * n;
        for (int64_t j = 0; j < n; j++) s[j] += r[j];
    }
}
static void add_parts(int64_t parts, int64_t n, const REAL *work, REAL *out) {
    for (int64_t j = 0; j < n; j++) {
        double s = 0;
        for (int64_t i = 0; i < parts; i++) s += (double)work[i * n + j];
        out[j] = (REAL)s;
    }
}
static REAL *parts_of(tide_device *dev, int64_t rows, int64_t n) { /* a sum per chunk of rows */
    return tide_scratch(dev, (size_t)(TIDE_CEIL_DIV(rows, tide_colsum_rows(n)) * n) * sizeof(REAL));
}
tide_status K(colsum)(tide_device *dev, int64_t rows, int64_t n, const REAL *x, REAL *out) {
    int64_t grain = tide_colsum_rows(n);
    if (rows <= grain) {
        colsum_part(0, rows, n, x, out);
        return TIDE_OK;
    }
    REAL *work = parts_of(dev, rows, n);
    if (!work) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (rows, grain) { colsum_part(lo, hi, n, x, work + chunk * n); }
    add_parts(TIDE_CEIL_DIV(rows, grain), n, work, out);
    return TIDE_OK;
}

tide_status K(act_grad_sums)(tide_device *dev, int64_t rows, int64_t n, const REAL *dy,
                             const REAL *y, int act, REAL *dz, REAL *sums) {
    const int64_t grain = tide_colsum_rows(n);
    REAL *work = parts_of(dev, rows, n);
    if (!work) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (rows, grain) { /* the sums read what is still in the cache */
        act_grad_part(lo * n, hi * n, dy, y, act, dz);
        colsum_part(lo, hi, n, dz, work + chunk * n);
    }
    add_parts(TIDE_CEIL_DIV(rows, grain), n, work, sums);
    return TIDE_OK;
}
