/* Float reductions: sum, mean, prod, max, min, cumulative sums and products.
 *
 * Sums run in lanes of the element type over at most 32 elements each and add up in double, which
 * keeps ten million float32 elements exact to 1e-6. */
#include "reduce.h"

#include "pieces.h"

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

#pragma GCC diagnostic ignored "-Wpsabi" /* vectors do not leave this file */

/* Short rows in registers: lanes add up at most 32 elements each, and join in double. */
typedef REAL vector __attribute__((vector_size(32)));
typedef double doubles __attribute__((vector_size(32)));
enum { LANES = 32 / sizeof(REAL) };
static inline vector loaded(const REAL *x) {
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}
static inline double lanes_total(const vector *of) {
    const vector v = *of;
#if REAL_IS_FLOAT
    const doubles d = __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), doubles) +
        __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), doubles);
#else
    const doubles d = v;
#endif
    return (d[0] + d[2]) + (d[1] + d[3]);
}
static double short_sum(const REAL *x, int64_t n) {
    double sum = 0;
    int64_t i = 0;
    while (n - i >= LANES) {
        vector a = {0}, b = {0};
        int64_t end = i + TIDE_MIN((n - i) / LANES, 32) * LANES;
        for (; end - i >= 2 * LANES; i += 2 * LANES) a += loaded(x + i), b += loaded(x + i + LANES);
        if (i < end) a += loaded(x + i), i += LANES;
        a += b;
        sum += lanes_total(&a);
    }
    double rest = 0;
    for (; i < n; i++) rest += (double)x[i];
    return sum + rest;
}
#define SHORT_EXTREME(name, before, BEFORE)                             \
    static REAL name(const REAL *x, int64_t n) {                        \
        REAL m = x[0];                                                  \
        int nan = 0;                                                    \
        TIDE_PRAGMA_(omp simd reduction(| : nan) reduction(before : m)) \
        for (int64_t i = 0; i < n; i++) {                               \
            m = x[i] BEFORE m ? x[i] : m;                               \
            nan |= x[i] != x[i];                                        \
        }                                                               \
        return nan ? (REAL)NAN : m;                                     \
    }
SHORT_EXTREME(short_max, max, >)
SHORT_EXTREME(short_min, min, <)

DEFINE_REDUCTION_BY(short_sum, sum, REAL, REAL, double, REAL, 0, STEP_ADD, STEP_ADD, KEEP)
DEFINE_REDUCTION_BY(short_sum, mean, REAL, REAL, double, REAL, 0, STEP_ADD, STEP_ADD, DIVIDE)
DEFINE_REDUCTION(prod, REAL, REAL, double, REAL, 1, STEP_MUL, STEP_MUL, KEEP)
DEFINE_REDUCTION_BY(short_max, max, REAL, REAL, REAL, REAL, (REAL)-INFINITY, STEP_MAX, STEP_MAX,
                    KEEP)
DEFINE_REDUCTION_BY(short_min, min, REAL, REAL, REAL, REAL, (REAL)INFINITY, STEP_MIN, STEP_MIN,
                    KEEP)

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

/* -- sums of a function of x - centre -- */

enum { CUBE = -1 }; /* a power that needs no logarithm */
static inline int function_of(int64_t of, double order) {
    return of == TIDE_SUMMED_power && order == 3 ? CUBE : (int)of;
}
#define EACH_OF(CENTRE, expression)                       \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { \
        const REAL d = x[i] - (CENTRE);                   \
        x[i] = (expression);                              \
    }                                                     \
    break
#define FUNCTIONS(CENTRE)                                                                   \
    switch (function_of(at->of, at->order)) {                                               \
    case TIDE_SUMMED_square: EACH_OF(CENTRE, (d) * (d));                                    \
    case TIDE_SUMMED_abs: EACH_OF(CENTRE, T_ABS(d));                                        \
    case TIDE_SUMMED_power: EACH_OF(CENTRE, t_where(d == 0, none, T_POW(T_ABS(d), order))); \
    case TIDE_SUMMED_exp: EACH_OF(CENTRE, T_EXP(d));                                        \
    case TIDE_SUMMED_count: EACH_OF(CENTRE, (REAL)(d != 0));                                \
    case CUBE: EACH_OF(CENTRE, T_ABS((d) * (d) * (d)));                                     \
    default: EACH_OF(CENTRE, d);                                                            \
    }
static void apply_function(const void *ctx, int64_t n, void *in, const void *centre, int step) {
    const tide_sum_of__attrs *at = ctx;
    const REAL order = (REAL)at->order, none = at->order > 0 ? 0 : (REAL)INFINITY; /* of 0 */
    const REAL *restrict c = centre;
    REAL *restrict x = in;
    if (c && step) {
        FUNCTIONS(c[i])
    } else {
        const REAL one = c ? *c : 0;
        FUNCTIONS(one)
    }
}
#undef FUNCTIONS
#undef EACH_OF
TIDE_KERNEL(sum_of_) { /* x, centre */
    const tide_sum_of__attrs *a = c->attrs;
    const reduce_map map = {apply_function, a, c->in[1].p},
                     *used = a->of == TIDE_SUMMED_itself && !map.centres ? NULL : &map;
    return (a->mean ? mean_mapped : sum_mapped)(&c->in[0], &a->axis, &c->out[0], c->dev, used);
}

#define SLOPE(name, expression)                                                              \
    static void name##_slope(int64_t n, const void *const *in, void *out, const void *ctx) { \
        const REAL *x = in[0], *c = in[1], *dy = in[2];                                      \
        REAL *dx = out;                                                                      \
        const REAL order = (REAL)((const tide_sum_of_grad__attrs *)ctx)->order;              \
        (void)x, (void)c, (void)order;                                                       \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] = (expression);            \
    }
#define D (x[i] - c[i])
#define SIGN_OF(d) ((REAL)((d) > 0) - (REAL)((d) < 0))
SLOPE(itself, dy[i])
SLOPE(square, 2 * D * dy[i])
SLOPE(abs, (D != D ? D : SIGN_OF(D)) * dy[i])
SLOPE(power, D == 0 ? 0 : order * T_POW(T_ABS(D), order - 1) * SIGN_OF(D) * dy[i])
SLOPE(cube, 3 * D * T_ABS(D) * dy[i])
SLOPE(exp, T_EXP(D) * dy[i])
SLOPE(count, 0 * dy[i])
#undef D
TIDE_KERNEL(sum_of_grad_) { /* x, centre, dy */
    static const tide_loop loops[] = {
        [TIDE_SUMMED_itself] = itself_slope, [TIDE_SUMMED_square] = square_slope,
        [TIDE_SUMMED_abs] = abs_slope,       [TIDE_SUMMED_power] = power_slope,
        [TIDE_SUMMED_exp] = exp_slope,       [TIDE_SUMMED_count] = count_slope};
    const tide_sum_of_grad__attrs *a = c->attrs;
    static REAL none;
    tide_buf in[3] = {c->in[0], c->in[1], c->in[2]};
    if (!in[1].p) in[1] = (tide_buf){.p = &none, .dtype = in[2].dtype};
    tide_kcall k = *c;
    k.in = in;
    const int of = function_of(a->of, a->order);
    return tide_elementwise(&k, of == CUBE ? cube_slope : loops[of], 16384);
}

/* Running sums and products along one axis of a contiguous (outer, n, inner) array, accumulated in
 * double, several neighbouring lines together. */
enum { WIDTH = 256 };
/* Four elements at a time: what comes of them alone is joined with what came before, so that no
 * step waits for the one before it but in one addition of eight. (Of float32 in double: none of
 * these sums can pass the range of doubles where the line's own do not.) */
typedef REAL four __attribute__((vector_size(4 * sizeof(REAL))));
#define JOINED(v, step, x, none)                                   \
    {                                                              \
        four v##_;                                                 \
        memcpy(&v##_, x, sizeof v##_);                             \
        v = __builtin_convertvector(v##_, doubles);                \
        v = step(v, __builtin_shufflevector(v, none, 4, 0, 1, 2)); \
        v = step(v, __builtin_shufflevector(v, none, 4, 5, 0, 1)); \
    }
#define NARROWED(y, d)                                    \
    {                                                     \
        const four n_ = __builtin_convertvector(d, four); \
        memcpy(y, &n_, sizeof n_);                        \
    }
#define CUMULATIVE(name, start, step)                                                             \
    static void name##_line(const tide_buf *x, const tide_buf *y, int64_t first, int64_t n,       \
                            int64_t apart, int back) { /* its sum stays in a register */          \
        REAL in[WIDTH], out[WIDTH];                                                               \
        double sum = start;                                                                       \
        const int64_t most = apart == 1 ? WIDTH : 1;                                              \
        for (int64_t j = 0; j < n && (j % TIDE_LOOK || !tide_stopped()); j += most) {             \
            const int64_t m = TIDE_MIN(most, n - j), at = first + (back ? n - j - m : j) * apart; \
            const REAL *v = piece_read(x, at, m, in);                                             \
            REAL *to = piece_room(y, at, out);                                                    \
            int64_t k = 0;                                                                        \
            if (REAL_IS_FLOAT && !back)                                                           \
                for (const doubles none = {start, start, start, start}; k + 8 <= m; k += 8) {     \
                    doubles a, b;                                                                 \
                    JOINED(a, step, v + k, none)                                                  \
                    JOINED(b, step, v + k + 4, none)                                              \
                    const double half = a[3], all = step(half, b[3]);                             \
                    b = step(half - (doubles){0}, b);                                             \
                    a = step(sum - (doubles){0}, a);                                              \
                    b = step(sum - (doubles){0}, b);                                              \
                    NARROWED(to + k, a)                                                           \
                    NARROWED(to + k + 4, b)                                                       \
                    sum = step(sum, all);                                                         \
                }                                                                                 \
            for (int64_t i = back ? m - 1 - k : k; k < m; k++, i += back ? -1 : 1) {              \
                sum = step(sum, v[i]);                                                            \
                to[i] = (REAL)sum;                                                                \
            }                                                                                     \
            piece_write(y, at, m, to);                                                            \
        }                                                                                         \
    }                                                                                             \
    tide_status K(name)(tide_kcall * c);                                                          \
    tide_status K(name)(tide_kcall * c) {                                                         \
        const tide_##name##_attrs *a = c->attrs;                                                  \
        const tide_buf *x = &c->in[0], *y = &c->out[0];                                           \
        tide_along s = tide_along_axis(x, a->axis);                                               \
        int64_t blocks = TIDE_CEIL_DIV(s.inner, WIDTH), work = TIDE_MIN(s.inner, WIDTH) * s.n;    \
        TIDE_PARALLEL_FOR (s.outer *blocks, TIDE_MAX(1, 16384 / TIDE_MAX(work, 1))) {             \
            for (int64_t i = lo; i < hi; i++) {                                                   \
                double acc[WIDTH];                                                                \
                REAL in[WIDTH], out[WIDTH];                                                       \
                int64_t c0 = i % blocks * WIDTH, w = TIDE_MIN(s.inner - c0, WIDTH);               \
                int64_t first = i / blocks * s.n * s.inner + c0;                                  \
                if (w == 1) {                                                                     \
                    name##_line(x, y, first, s.n, s.inner, a->reverse_ != 0);                     \
                    continue;                                                                     \
                }                                                                                 \
                for (int64_t k = 0; k < w; k++) acc[k] = start;                                   \
                for (int64_t j = 0; j < s.n && (j & 1023 || !tide_stopped()); j++) {              \
                    int64_t at = first + (a->reverse_ ? s.n - 1 - j : j) * s.inner;               \
                    const REAL *v = piece_read(x, at, w, in);                                     \
                    REAL *to = piece_room(y, at, out);                                            \
                    _Pragma("omp simd") for (int64_t k = 0; k < w; k++) {                         \
                        acc[k] = step(acc[k], v[k]);                                              \
                        to[k] = (REAL)acc[k];                                                     \
                    }                                                                             \
                    piece_write(y, at, w, to);                                                    \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        return TIDE_OK;                                                                           \
    }
CUMULATIVE(cumsum, 0, STEP_ADD)
CUMULATIVE(cumprod, 1, STEP_MUL)

TIDE_KERNEL(recur_) { /* a, b */
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
