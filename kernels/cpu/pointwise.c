/* Float kernels of the elementwise ops, expanded from pointwise.def: one loop per op and one per
 * derivative, over unit-stride pieces that tide_elementwise cuts and packs.
 *
 * Invariant: an expression reads only element i of each operand, so a result may be written over an
 * input. */
#include "cpu.h"
#include "half.h"

/* Elements below which no second thread is worth its start. */
#define HEAVY 16384 /* a transcendental function */
#define LIGHT 32768 /* an addition */

#define TIDE_BIG_f32 3.4028234663852886e38f
#define TIDE_BIG_f64 1.7976931348623157e308
#define TIDE_BIG TIDE_CAT(TIDE_BIG_, REAL_NAME)

/* -- functions that libm lacks or defines otherwise -- */
static inline REAL sign(REAL x) {
    return x > 0 ? (REAL)1 : x < 0 ? (REAL)-1 : x == 0 ? (REAL)0 : x;
}

/* Quotient and remainder as NumPy defines them: q = floor(a / b) with a = q b + r and r of b's
 * sign. */
static inline REAL mod(REAL a, REAL b) {
    REAL r = FN(fmod)(a, b);
    if (b == 0) return r;
    if (r == 0) return FN(copysign)(0, b);
    return (b < 0) != (r < 0) ? r + b : r;
}
static inline REAL floor_div(REAL a, REAL b) {
    if (b == 0) return a / b;
    REAL r = FN(fmod)(a, b), q = (a - r) / b;
    if (r != 0 && (b < 0) != (r < 0)) q -= 1;
    if (q == 0) return FN(copysign)(0, a / b);
    REAL f = FN(floor)(q);
    return q - f > (REAL)0.5 ? f + 1 : f;
}

/* tanh(log(1 + e^x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1), scaled by e^(-2x) above 0 so that
 * nothing overflows. */
static inline REAL tanh_softplus(REAL x) {
    REAL e = FN(exp)(-FN(fabs)(x));
    REAL num = t_where(x < 0, e * (e + 2), 1 + 2 * e), more = t_where(x < 0, 2, 2 * e * e);
    return num / (num + more);
}

/* Inverse error function from Wichura's normal quantile, algorithm AS 241 (PPND16): erfinv(x) =
 * quantile((1 + x)/2)/sqrt 2. */
static inline double erfinv(double x) {
    static const double a[] = {3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427,
                               13731.693765509461125, 45921.953931549871457, 67265.770927008700853,
                               33430.575583588128105, 2509.0809287301226727};
    static const double b[] = {1.0,
                               42.313330701600911252,
                               687.18700749205790830,
                               5394.1960214247511077,
                               21213.794301586595867,
                               39307.895800092710610,
                               28729.085735721942674,
                               5226.4952788528545610};
    static const double c[] = {1.42343711074968357734,   4.63033784615654529590,
                               5.76949722146069140550,   3.64784832476320460504,
                               1.27045825245236838258,   0.241780725177450611770,
                               0.0227238449892691845833, 7.74545014278341407640e-4};
    static const double d[] = {1.0,
                               2.05319162663775882187,
                               1.67638483018380384940,
                               0.689767334985100004550,
                               0.148103976427480074590,
                               0.0151986665636164571966,
                               5.47593808499534494600e-4,
                               1.05075007164441684324e-9};
    static const double e[] = {6.65790464350110377720,    5.46378491116411436990,
                               1.78482653991729133580,    0.296560571828504891230,
                               0.0265321895265761230930,  0.00124266094738807843860,
                               2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[] = {1.0,
                               0.599832206555887937690,
                               0.136929880922735805310,
                               0.0148753612908506148525,
                               7.86869131145613259100e-4,
                               1.84631831751005468180e-5,
                               1.42151175831644588870e-7,
                               2.04426310338993978564e-15};
    const double *num, *den;
    double q = 0.5 * x, r, scale;
    if (!(fabs(x) <= 1)) return NAN;
    if (fabs(x) == 1) return x * INFINITY;
    if (fabs(q) <= 0.425) {
        num = a, den = b, r = 0.180625 - q * q, scale = q;
    } else {
        r = sqrt(-log(0.5 * (1 - fabs(x)))), scale = x < 0 ? -1 : 1;
        if (r <= 5) num = c, den = d, r -= 1.6;
        else num = e, den = f, r -= 5;
    }
    double p = num[7], s = den[7];
    for (int i = 6; i >= 0; i--) p = p * r + num[i], s = s * r + den[i];
    return scale * p / s * 0.70710678118654752440;
}

/* -- the vocabulary of pointwise.def -- */
#define C(v) ((REAL)(v))
#define ZERO C(0)
#define ONE C(1)
#define P(name) ((REAL)a_.name)
#define P_OR(name, v) (a_.name != a_.name ? C(v) : P(name))
#define NOGRAD C(0)
#define NEG(a) (-(a))
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define ABS(a) FN(fabs)(a)
#define SIGN(a) sign(a)
#define SQRT(a) FN(sqrt)(a)
#define CBRT(a) FN(cbrt)(a)
#define FLOOR(a) FN(floor)(a)
#define CEIL(a) FN(ceil)(a)
#define RINT(a) FN(rint)(a)
#define TRUNC(a) FN(trunc)(a)
#define EXP(a) FN(exp)(a)
#define EXP2(a) FN(exp2)(a)
#define EXPM1(a) FN(expm1)(a)
#define LOG(a) FN(log)(a)
#define LOG2(a) FN(log2)(a)
#define LOG10(a) FN(log10)(a)
#define LOG1P(a) FN(log1p)(a)
#define SIN(a) FN(sin)(a)
#define COS(a) FN(cos)(a)
#define TAN(a) FN(tan)(a)
#define ASIN(a) FN(asin)(a)
#define ACOS(a) FN(acos)(a)
#define ATAN(a) FN(atan)(a)
#define SINH(a) FN(sinh)(a)
#define COSH(a) FN(cosh)(a)
#define TANH(a) FN(tanh)(a)
#define ASINH(a) FN(asinh)(a)
#define ACOSH(a) FN(acosh)(a)
#define ATANH(a) FN(atanh)(a)
#define ERF(a) FN(erf)(a)
#define ERFC(a) FN(erfc)(a)
#define ERFINV(a) ((REAL)erfinv((double)(a)))
#define SIGMOID(a) T_SIGMOID(a)
#define SOFTPLUS(a) (t_max(a, 0) + LOG1P(EXP(-ABS(a))))
#define TANH_SOFTPLUS(a) tanh_softplus(a)
#define MAX(a, b) t_max(a, b)
#define MIN(a, b) t_min(a, b)
#define FDIV(a, b) floor_div(a, b)
#define MOD(a, b) mod(a, b)
#define FMOD(a, b) FN(fmod)(a, b)
#define POW(a, b) FN(pow)(a, b)
#define ATAN2(a, b) FN(atan2)(a, b)
#define HYPOT(a, b) FN(hypot)(a, b)
#define COPYSIGN(a, b) FN(copysign)(a, b)
#define NEXTAFTER(a, b) FN(nextafter)(a, b)
#define LDEXP(a, b) FN(ldexp)(a, (int)t_min(t_max(b, -4096), 4096))
#define SIGNBIT(a) (signbit(a) != 0)
#define WHERE(c, a, b) t_where(c, a, b)
#define EQ(a, b) ((a) == (b))
#define NE(a, b) ((a) != (b))
#define LT(a, b) ((a) < (b))
#define LE(a, b) ((a) <= (b))
#define GT(a, b) ((a) > (b))
#define GE(a, b) ((a) >= (b))
#define NOT_0(v) t_where((v) == 0, 1, v)
#define AND(a, b) ((a) & (b))
#define OR(a, b) ((a) | (b))
#define XOR(a, b) ((a) ^ (b))

/* -- loops -- */
/* -- powers with a small whole exponent need no logarithm -- */
#define POWER(name, expr)                                                              \
    static void name(int64_t n, const void *const *in, void *out, const void *attrs) { \
        const REAL *p0 = in[0];                                                        \
        REAL *o = out;                                                                 \
        (void)attrs;                                                                   \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                          \
            const REAL x = p0[i];                                                      \
            o[i] = expr;                                                               \
        }                                                                              \
    }
POWER(power_1, x)
POWER(power_2, x *x)
POWER(power_3, x *x *x)
POWER(power_inverse, 1 / x)
static tide_loop choose_power(const tide_kcall *c, tide_loop general) {
    if (tide_buf_numel(&c->in[1]) != 1) return general;
    const tide_buf *b = &c->in[1];
    const REAL e = tide_is_half(b->dtype) ? (REAL)tide_from_half(b->dtype, *(const uint16_t *)b->p)
                                          : *(const REAL *)b->p;
    return e == 2 ? power_2
        : e == 1  ? power_1
        : e == 3  ? power_3
        : e == -1 ? power_inverse
                  : general;
}
static inline tide_loop choose_general(const tide_kcall *c, tide_loop general) {
    (void)c;
    return general;
}
/* -- loops by eights -- */
#ifdef TIDE_EIGHTS
#define EIGHTS(name, f, x, y)                                                                   \
    static void name##_eights(int64_t n, const void *const *in, void *out, const void *attrs) { \
        (void)attrs;                                                                            \
        tide_map8(f, n, x, y, out);                                                             \
    }                                                                                           \
    static tide_loop choose_##name(const tide_kcall *c, tide_loop general) {                    \
        (void)c, (void)general;                                                                 \
        return name##_eights;                                                                   \
    }
EIGHTS(tanh, tide_tanh_of8, in[0], in[0])
EIGHTS(gelu_erf, tide_gelu_of8, in[0], in[0])
EIGHTS(gelu_erf_grad, tide_gelu_grad8, in[0], in[1])
#define CHOSEN_tanh ~, choose_tanh
#define CHOSEN_gelu_erf ~, choose_gelu_erf
#define CHOSEN_gelu_erf_grad ~, choose_gelu_erf_grad
#endif

/* The loop that serves a call of an op: choose_power for power, its own for every other. */
#define CHOSEN_power ~, choose_power
#define CHOOSE_(a, b, ...) b
#define CHOOSE__(...) CHOOSE_(__VA_ARGS__)
#define CHOOSE(fn) CHOOSE__(CHOSEN_##fn, choose_general, ~)

/* Operands are read through local pointers: a store of bytes could otherwise change `in` itself. */
#define LOOP(name, operands, grain, OUT, expr)                                                  \
    static void name##_loop(int64_t n, const void *const *in, void *out, const void *attrs) {   \
        const tide_##name##_attrs a_ = *(const tide_##name##_attrs *)attrs;                     \
        enum { count = NIN_##operands };                                                        \
        const REAL *p0 = in[0], *p1 = count > 1 ? in[1] : NULL, *p2 = count > 2 ? in[2] : NULL; \
        OUT *o = out;                                                                           \
        (void)a_, (void)p0, (void)p1, (void)p2;                                                 \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                   \
            READ_##operands o[i] = (OUT)(expr);                                                 \
        }                                                                                       \
    }                                                                                           \
    tide_status K(name)(tide_kcall * c);                                                        \
    tide_status K(name)(tide_kcall * c) {                                                       \
        return tide_elementwise(c, CHOOSE(name)(c, name##_loop), grain);                        \
    }

/* What an expression names of each kind of operands, how many they are, and their grain. */
#define OPERAND(var, k)       \
    const REAL var = p##k[i]; \
    (void)var;
#define READ_X OPERAND(X, 0)
#define READ_X12 OPERAND(X1, 0) OPERAND(X2, 1)
#define READ_X123 OPERAND(X1, 0) OPERAND(X2, 1) OPERAND(X3, 2)
#define READ_DY_NONE OPERAND(DY, 0)
#define READ_DY_X OPERAND(DY, 0) OPERAND(X, 1)
#define READ_DY_Y OPERAND(DY, 0) OPERAND(Y, 1)
#define READ_DY_XY OPERAND(DY, 0) OPERAND(X, 1) OPERAND(Y, 2)
enum { NIN_X = 1, NIN_X12, NIN_X123, NIN_DY_NONE = 1, NIN_DY_X, NIN_DY_Y = 2, NIN_DY_XY };
enum { GRAIN_X = HEAVY, GRAIN_X12 = LIGHT, GRAIN_X123 = LIGHT };
enum { GRAIN_DY_NONE = HEAVY, GRAIN_DY_X = HEAVY, GRAIN_DY_Y = HEAVY, GRAIN_DY_XY = HEAVY };

#define LOOP_SAME(name, operands, expr) LOOP(name, operands, GRAIN_##operands, REAL, expr)
#define LOOP_BOOL(name, operands, expr) LOOP(name, operands, LIGHT, uint8_t, (expr) ? 1 : 0)
#define LOOP_BITS(name, operands, expr)
#define ELEMENT(name, kind, doc, operands, result, real, ...) LOOP_##result(name, operands, real)
#include "../each_elementwise.h"
