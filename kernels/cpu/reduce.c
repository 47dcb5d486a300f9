/* Float reductions: sum, mean, prod, max, min, cumulative sums and products.
 *
 * Sums run in lanes of the element type over at most 32 elements each and add up in double, which
 * keeps ten million float32 elements exact to 1e-6. */
#include "reduce.h"

#if REAL_IS_FLOAT
#define REDUCE_WIDEN(dtype, n, from, to) K(widen)(dtype, n, (const void *)(from), to)
#else
#define REDUCE_WIDEN(dtype, n, from, to) (void)(to)
#endif
#define STEP_ADD(a, x) ((a) + (x))
#define STEP_MUL(a, x) ((a) * (x))
#define STEP_MAX(a, x) t_max(a, x)
#define STEP_MIN(a, x) t_min(a, x)
#define KEEP(a, n) (a)
#define DIVIDE(a, n) ((a) / (double)(n))

DEFINE_REDUCTION(sum, REAL, REAL, double, REAL, 0, STEP_ADD, STEP_ADD, KEEP)
DEFINE_REDUCTION(mean, REAL, REAL, double, REAL, 0, STEP_ADD, STEP_ADD, DIVIDE)
DEFINE_REDUCTION(prod, REAL, REAL, double, REAL, 1, STEP_MUL, STEP_MUL, KEEP)
DEFINE_REDUCTION(max, REAL, REAL, REAL, REAL, (REAL)-INFINITY, STEP_MAX, STEP_MAX, KEEP)
DEFINE_REDUCTION(min, REAL, REAL, REAL, REAL, (REAL)INFINITY, STEP_MIN, STEP_MIN, KEEP)

#define KERNEL(name)                                                \
    tide_status K(name)(tide_kcall * c);                            \
    tide_status K(name)(tide_kcall * c) {                           \
        const tide_##name##_attrs *a = c->attrs;                    \
        return name##_run(&c->in[0], &a->axis, &c->out[0], c->dev); \
    }
KERNEL(sum)
KERNEL(mean)
KERNEL(prod)
KERNEL(max)
KERNEL(min)

/* Running sums and products along one axis of a contiguous (outer, n, inner) array, accumulated in
 * double, several neighbouring lines together. */
#define CUMULATIVE(name, start, step)                                                          \
    tide_status K(name)(tide_kcall * c);                                                       \
    tide_status K(name)(tide_kcall * c) {                                                      \
        enum { WIDTH = 256 };                                                                  \
        const tide_##name##_attrs *a = c->attrs;                                               \
        const REAL *x = c->in[0].p;                                                            \
        REAL *y = c->out[0].p;                                                                 \
        tide_along s = tide_along_axis(&c->in[0], a->axis);                                    \
        int64_t blocks = TIDE_CEIL_DIV(s.inner, WIDTH), work = TIDE_MIN(s.inner, WIDTH) * s.n; \
        TIDE_PARALLEL_FOR (s.outer *blocks, TIDE_MAX(1, 16384 / TIDE_MAX(work, 1))) {          \
            for (int64_t i = lo; i < hi; i++) {                                                \
                double acc[WIDTH];                                                             \
                int64_t c0 = i % blocks * WIDTH, w = TIDE_MIN(s.inner - c0, WIDTH);            \
                int64_t first = i / blocks * s.n * s.inner + c0;                               \
                if (w == 1) { /* one line: its sum stays in a register */                      \
                    int64_t at = first + (a->reverse_ ? (s.n - 1) * s.inner : 0);              \
                    int64_t go = a->reverse_ ? -s.inner : s.inner;                             \
                    double sum = start;                                                        \
                    for (int64_t j = 0; j < s.n; j++, at += go) {                              \
                        sum = step(sum, x[at]);                                                \
                        y[at] = (REAL)sum;                                                     \
                    }                                                                          \
                    continue;                                                                  \
                }                                                                              \
                for (int64_t k = 0; k < w; k++) acc[k] = start;                                \
                for (int64_t j = 0; j < s.n; j++) {                                            \
                    int64_t at = first + (a->reverse_ ? s.n - 1 - j : j) * s.inner;            \
                    _Pragma("omp simd") for (int64_t k = 0; k < w; k++) {                      \
                        acc[k] = step(acc[k], x[at + k]);                                      \
                        y[at + k] = (REAL)acc[k];                                              \
                    }                                                                          \
                }                                                                              \
            }                                                                                  \
        }                                                                                      \
        return TIDE_OK;                                                                        \
    }
CUMULATIVE(cumsum, 0, STEP_ADD)
CUMULATIVE(cumprod, 1, STEP_MUL)

TIDE_KERNEL(recur_) { /* a, b */
    enum { WIDTH = 256 };
    const tide_recur__attrs *at = c->attrs;
    const REAL *a = c->in[0].p, *b = c->in[1].p;
    REAL *y = c->out[0].p;
    tide_along s = tide_along_axis(&c->in[0], at->axis);
    int64_t blocks = TIDE_CEIL_DIV(s.inner, WIDTH), work = TIDE_MIN(s.inner, WIDTH) * s.n;
    TIDE_PARALLEL_FOR (s.outer *blocks, TIDE_MAX(1, 16384 / TIDE_MAX(work, 1))) {
        for (int64_t i = lo; i < hi; i++) {
            double h[WIDTH] = {0};
            int64_t c0 = i % blocks * WIDTH, w = TIDE_MIN(s.inner - c0, WIDTH);
            for (int64_t j = 0; j < s.n; j++) {
                int64_t p =
                    i / blocks * s.n * s.inner + c0 + (at->reverse_ ? s.n - 1 - j : j) * s.inner;
                for (int64_t k = 0; k < w; k++) {
                    h[k] = a[p + k] * h[k] + b[p + k];
                    y[p + k] = (REAL)h[k];
                }
            }
        }
    }
    return TIDE_OK;
}
