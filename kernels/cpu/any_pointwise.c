/* Elementwise ops on integers and bools, and comparisons of every dtype, expanded from
 * pointwise.def.
 *
 * Invariant: no operation is undefined. Arithmetic is done in 64 bits and wraps; a division by zero
 * gives 0; a shift past the width gives what infinitely many single shifts would. A bool result is
 * 0 or 1. */
#include "cpu.h"
#include "half.h"

#define GRAIN 32768

/* -- arithmetic on int64_t -- */
static inline int64_t wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t wrap_sub(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static inline int64_t wrap_mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
static inline int64_t rem_trunc(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static inline int64_t rem_floor(int64_t a, int64_t b) {
    int64_t r = rem_trunc(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline int64_t div_floor(int64_t a, int64_t b) {
    if (b == 0) return 0;
    if (b == -1) return wrap_sub(0, a);
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
/* Negative exponents: the truncated reciprocal, 0 but for bases 1 and -1. */
static inline int64_t int_pow(int64_t a, int64_t b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
    int64_t y = 1;
    for (; b > 0; b >>= 1, a = wrap_mul(a, a))
        if (b & 1) y = wrap_mul(y, a);
    return y;
}
static inline int64_t shift_left(int64_t a, int64_t b) {
    return b < 0 || b > 63 ? 0 : (int64_t)((uint64_t)a << b);
}
static inline int64_t shift_right(int64_t a, int64_t b) {
    return b < 0 || b > 63 ? (a < 0 ? -1 : 0) : a >> b;
}
static inline uint64_t magnitude(int64_t a) { return a < 0 ? 0 - (uint64_t)a : (uint64_t)a; }
static inline int64_t int_gcd(int64_t a, int64_t b) {
    uint64_t x = magnitude(a), y = magnitude(b);
    while (y != 0) {
        uint64_t r = x % y;
        x = y, y = r;
    }
    return (int64_t)x;
}
static inline int64_t int_lcm(int64_t a, int64_t b) {
    int64_t g = int_gcd(a, b);
    return g == 0 ? 0 : (int64_t)(magnitude(a) / (uint64_t)g * magnitude(b));
}

/* -- the vocabulary of pointwise.def's integer forms -- */
#define ZERO 0
#define ONE 1
#define NEG(a) wrap_sub(0, a)
#define ADD(a, b) wrap_add(a, b)
#define SUB(a, b) wrap_sub(a, b)
#define MUL(a, b) wrap_mul(a, b)
#define ABS(a) ((a) < 0 ? wrap_sub(0, a) : (a))
#define SIGN(a) (((a) > 0) - ((a) < 0))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define FDIV(a, b) div_floor(a, b)
#define MOD(a, b) rem_floor(a, b)
#define FMOD(a, b) rem_trunc(a, b)
#define POW(a, b) int_pow(a, b)
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))
#define XOR(a, b) ((a) ^ (b))
#define SHL(a, b) shift_left(a, b)
#define SHR(a, b) shift_right(a, b)
#define GCD(a, b) int_gcd(a, b)
#define LCM(a, b) int_lcm(a, b)
#define EQ(a, b) ((a) == (b))
#define NE(a, b) ((a) != (b))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define GT(a, b) ((a) > (b))
#define GE(a, b) ((a) >= (b))

/* -- what a call is refused for -- */
static int always(const tide_kcall *c) {
    (void)c;
    return 1;
}
/* No exponent lies below 0. */
static int whole_power(const tide_kcall *c) {
    const tide_buf *b = &c->in[1];
    const int64_t n = tide_buf_numel(b);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0, rest = i;
        for (int k = b->rank - 1; k >= 0; k--)
            at += rest % b->shape[k] * b->stride[k], rest /= b->shape[k];
        if ((b->dtype == TIDE_I64 && ((const int64_t *)b->p)[at] < 0) ||
            (b->dtype == TIDE_I32 && ((const int32_t *)b->p)[at] < 0) ||
            (b->dtype == TIDE_I8 && ((const int8_t *)b->p)[at] < 0))
            return 0;
    }
    return 1;
}
#define ALLOWED_power ~, whole_power
#define ALLOWED_(a, b, ...) b
#define ALLOWED__(...) ALLOWED_(__VA_ARGS__)
#define ALLOWED(name) ALLOWED__(ALLOWED_##name, always, ~)

/* -- loops -- */

/* Operands are read through local pointers: a store of bytes could otherwise change `in` itself. */
#define LOOP(fn, nin, T, OUT, store, bind, expr)                                         \
    static void fn(int64_t n, const void *const *in, void *out, const void *attrs) {     \
        const T *p0 = in[0], *p1 = nin > 1 ? in[1] : NULL;                               \
        OUT *o = out;                                                                    \
        (void)attrs, (void)p1;                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { bind o[i] = store(expr); } \
    }
#define NIN_X 1
#define NIN_X12 2
#define BIND_X               \
    const int64_t X = p0[i]; \
    (void)X;
#define BIND_X12              \
    const int64_t X1 = p0[i]; \
    const int64_t X2 = p1[i];
#define KERNEL(fn, name, pick)                                         \
    tide_status fn(tide_kcall *c);                                     \
    tide_status fn(tide_kcall *c) {                                    \
        tide_loop loop = NULL;                                         \
        if (!ALLOWED(name)(c)) return TIDE_EARG;                       \
        switch (c->in[0].dtype) { pick }                               \
        return loop ? tide_elementwise(c, loop, GRAIN) : TIDE_DECLINE; \
    }
#define PICK_INTS(name)                      \
    case TIDE_I64: loop = name##_i64; break; \
    case TIDE_I32: loop = name##_i32; break; \
    case TIDE_U8: loop = name##_u8; break;   \
    case TIDE_I8: loop = name##_i8; break;   \
    case TIDE_BOOL:                          \
        loop = name##_bool;                  \
        break;
#define INT_FORMS(name, operands, expr, fn)                                              \
    LOOP(name##_i64, NIN_##operands, int64_t, int64_t, (int64_t), BIND_##operands, expr) \
    LOOP(name##_i32, NIN_##operands, int32_t, int32_t, (int32_t), BIND_##operands, expr) \
    LOOP(name##_u8, NIN_##operands, uint8_t, uint8_t, (uint8_t), BIND_##operands, expr)  \
    LOOP(name##_i8, NIN_##operands, int8_t, int8_t, (int8_t), BIND_##operands, expr)     \
    LOOP(name##_bool, NIN_##operands, uint8_t, uint8_t, 0 !=, BIND_##operands, expr)     \
    KERNEL(fn, name, PICK_INTS(name))
#define BOOL_FORMS(name, operands, expr, fn)                                         \
    LOOP(name##_i64, NIN_##operands, int64_t, uint8_t, 0 !=, BIND_##operands, expr)  \
    LOOP(name##_i32, NIN_##operands, int32_t, uint8_t, 0 !=, BIND_##operands, expr)  \
    LOOP(name##_u8, NIN_##operands, uint8_t, uint8_t, 0 !=, BIND_##operands, expr)   \
    LOOP(name##_i8, NIN_##operands, int8_t, uint8_t, 0 !=, BIND_##operands, expr)    \
    LOOP(name##_bool, NIN_##operands, uint8_t, uint8_t, 0 !=, BIND_##operands, expr) \
    KERNEL(fn, name, PICK_INTS(name))

/* -- comparisons (two float32 are the level files' affair): operands of one dtype directly, others
 * through double, or int64 where both are whole -- */
typedef struct {
    int dtype[2];
    tide_loop f64, i64;
} mixed;

static void widen(int64_t n, int dtype, const void *src, double *f, int64_t *i64) {
#define WIDEN(T, convert)                      \
    for (int64_t i = 0; i < n; i++) {          \
        T v = ((const T *)src)[i];             \
        if (i64) i64[i] = (int64_t)convert(v); \
        else f[i] = (double)convert(v);        \
    }                                          \
    break
    switch (dtype) {
    case TIDE_F32: WIDEN(float, );
    case TIDE_F64: WIDEN(double, );
    case TIDE_I64: WIDEN(int64_t, );
    case TIDE_I32: WIDEN(int32_t, );
    case TIDE_I8: WIDEN(int8_t, );
    default: WIDEN(uint8_t, );
    }
#undef WIDEN
}
static int is_whole(int dtype) { return dtype != TIDE_F32 && dtype != TIDE_F64; }
static void mixed_loop(int64_t n, const void *const *in, void *out, const void *ctx) {
    const mixed *m = ctx;
    int whole = is_whole(m->dtype[0]) && is_whole(m->dtype[1]);
    double f[2][256];
    int64_t w[2][256];
    for (int64_t at = 0; at < n; at += 256) {
        int64_t k = TIDE_MIN(n - at, 256);
        const void *packed[2];
        for (int j = 0; j < 2; j++) {
            widen(k, m->dtype[j], (const char *)in[j] + at * (int64_t)tide_dtype_size(m->dtype[j]),
                  f[j], whole ? w[j] : NULL);
            packed[j] = whole ? (const void *)w[j] : (const void *)f[j];
        }
        (whole ? m->i64 : m->f64)(k, packed, (uint8_t *)out + at, NULL);
    }
}
static tide_status compare(tide_kcall *c, tide_loop same, tide_loop f64, tide_loop i64) {
    if (same && c->in[0].dtype == c->in[1].dtype) return tide_elementwise(c, same, GRAIN);
    mixed m = {.f64 = f64, .i64 = i64};
    for (int k = 0; k < 2; k++)
        m.dtype[k] = tide_is_half(c->in[k].dtype) ? TIDE_F32 : c->in[k].dtype;
    return tide_elementwise_ctx(c, mixed_loop, GRAIN, &m);
}

#define SAME_2(T)       \
    const T X1 = p0[i]; \
    const T X2 = p1[i];
#define COMPARISON(name, expr)                                                         \
    LOOP(name##_f64, 2, double, uint8_t, 0 !=, SAME_2(double), expr)                   \
    LOOP(name##_i64, 2, int64_t, uint8_t, 0 !=, SAME_2(int64_t), expr)                 \
    LOOP(name##_i32, 2, int32_t, uint8_t, 0 !=, SAME_2(int32_t), expr)                 \
    LOOP(name##_u8, 2, uint8_t, uint8_t, 0 !=, SAME_2(uint8_t), expr)                  \
    LOOP(name##_i8, 2, int8_t, uint8_t, 0 !=, SAME_2(int8_t), expr)                    \
    TIDE_ANY_KERNEL(name) {                                                            \
        static const tide_loop same[TIDE_DTYPE_COUNT] = {                              \
            [TIDE_F64] = name##_f64, [TIDE_I64] = name##_i64, [TIDE_I32] = name##_i32, \
            [TIDE_U8] = name##_u8,   [TIDE_I8] = name##_i8,   [TIDE_BOOL] = name##_u8, \
        };                                                                             \
        return compare(c, same[c->in[0].dtype], name##_f64, name##_i64);               \
    }

/* -- which of them a line has, by its kind and its result -- */
#define WHOLE_FLOAT_SAME(name, operands, expr)
#define WHOLE_NUM_SAME(name, operands, expr) INT_FORMS(name, operands, expr, KINT(name))
#define WHOLE_NUM_BOOL(name, operands, expr) BOOL_FORMS(name, operands, expr, KINT(name))
#define WHOLE_COMPARE_BOOL(name, operands, expr) COMPARISON(name, expr)
#define WHOLE_ANY_BITS(name, operands, expr) INT_FORMS(name, operands, expr, KANY(name))
#define ELEMENT(name, kind, doc, operands, result, real, whole, ...) \
    WHOLE_##kind##_##result(name, operands, whole)
#include "../each_elementwise.h"
