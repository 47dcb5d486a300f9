/* What every file of kernels/cpu includes: names per level and element type, parallel loops, vector
 * libm, float helpers.
 *
 * A level file is compiled once per (level, element type): -DTIDE_LEVEL=v3 -DREAL=float
 * -DREAL_NAME=f32, with -O3 -fopenmp -fno-math-errno -fno-trapping-math. Files named any_*.c serve
 * every element type and are compiled once per level; they use neither REAL nor K. Files named
 * once_*.c are compiled once, for any machine. */
#ifndef TIDE_CPU_H
#define TIDE_CPU_H

#include "../attrs.h"
#include "../parallel.h"

#include <math.h>
#include <string.h>

#define TIDE_CAT_(a, b) a##b
#define TIDE_CAT(a, b) TIDE_CAT_(a, b)
#define TIDE_KNAME_(name, real, level) name##_##real##_##level
#define TIDE_KNAME(name, real, level) TIDE_KNAME_(name, real, level)

/* A loop over one line that may be long, with a look every quarter of a million steps whether
 * Ctrl-C came: then the rest is left out, and what it would have written must not be used. */
enum { TIDE_LOOK = 1 << 18 };
#define TIDE_BLOCKS_(n)          \
    for (int64_t from_ = 0, to_; \
         from_ < (n) && !tide_stopped() && (to_ = TIDE_MIN(n, from_ + TIDE_LOOK), 1); from_ = to_)
#define TIDE_IN_BLOCKS(i, n) TIDE_BLOCKS_(n) for (int64_t i = from_; i < to_; i++)
/* The same with vectors; `more` stands behind `omp simd`. */
#define TIDE_SIMD_IN_BLOCKS(i, n, more) \
    TIDE_BLOCKS_(n) TIDE_PRAGMA_(omp simd more) for (int64_t i = from_; i < to_; i++)
#define TIDE_PRAGMA_(words) _Pragma(#words)
/* Whether a loop by steps that divide TIDE_LOOK goes on at `at`: it looks as often. */
static inline int tide_look_at(int64_t at) { return at % TIDE_LOOK != 0 || !tide_stopped(); }
/* Zeros, likewise. */
static inline void tide_zero(void *p, size_t bytes) {
    const size_t most = (size_t)16 << 20;
    for (size_t at = 0; at < bytes && !tide_stopped(); at += most)
        memset((char *)p + at, 0, TIDE_MIN(most, bytes - at));
}

#define TIDE_DO(expr)                   \
    do {                                \
        tide_status do_ = (expr);       \
        if (do_ != TIDE_OK) return do_; \
    } while (0)

/* Work space for each thread that a TIDE_PARALLEL_FOR over n and grain may run on: no more than it
 * has chunks. */
typedef struct {
    char *at;
    size_t each;
} tide_lanes;
static inline tide_status tide_lanes_new(tide_device *dev, int64_t n, int64_t grain, size_t each,
                                         tide_lanes *out) {
    const int64_t chunks = n > 0 ? TIDE_CEIL_DIV(n, grain) : 1;
    out->each = (each + 63) & ~(size_t)63;
    out->at = tide_scratch(dev, (size_t)TIDE_MIN(chunks, tide_num_threads()) * out->each);
    return out->at ? TIDE_OK : TIDE_ENOMEM;
}
static inline void *tide_lane(const tide_lanes *l, int slot) { /* slot: share_->slot */
    return l->at + (size_t)slot * l->each;
}

/* A grain of about `size` units of work for n rows of `each`, one chunk or an even number of them:
 * two threads end together. */
static inline int64_t tide_even_grain(int64_t n, int64_t each, int64_t size) {
    const double work = (double)n * (double)each;
    if (n < 2 || work <= (double)size) return n > 0 ? n : 1;
    const double pairs = work / (2.0 * (double)size) + 1;
    return pairs * 2 >= (double)n ? 1 : TIDE_CEIL_DIV(n, 2 * (int64_t)pairs);
}

/* -- elementwise driver (once_elementwise.c): calls `loop` with unit-stride pieces of every operand
 * -- */
/* in[k] and out hold n elements one after the other; attrs is the call's. */
typedef void (*tide_loop)(int64_t n, const void *const *in, void *out, const void *attrs);
/* Inputs broadcast to out[0]'s shape, any strides; strided operands are packed through small
 * buffers, and the loop sees float32 where an operand is float16 or bfloat16. `grain`: elements
 * below which no second thread is worth its start (8192 for a transcendental function, 32768 for an
 * addition). */
tide_status tide_elementwise(tide_kcall *c, tide_loop loop, int64_t grain);
/* The same; the loop is given `ctx` for the call's attributes. */
tide_status tide_elementwise_ctx(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx);
/* The same; the loop is given every element as it is stored. */
tide_status tide_elementwise_bits(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx);

/* Element i of a contiguous tensor of positions, labels or ids: an integer or bool dtype. */
static inline int64_t tide_int_at(const tide_buf *b, int64_t i) {
    switch (b->dtype) {
    case TIDE_I64: return ((const int64_t *)b->p)[i];
    case TIDE_I32: return ((const int32_t *)b->p)[i];
    case TIDE_I8: return ((const int8_t *)b->p)[i];
    default: return ((const uint8_t *)b->p)[i];
    }
}

/* Sums that wrap: a base from outside may be any number. */
static inline int64_t tide_wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t tide_wrap_sub(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

/* A contiguous tensor as (outer, n, inner) around one axis; TIDE_NONE: its flattened form. */
typedef struct {
    int64_t outer, n, inner;
} tide_along;
static inline tide_along tide_along_axis(const tide_buf *x, int64_t axis) {
    tide_along s = {1, 1, 1};
    if (axis == TIDE_NONE) s.n = tide_buf_numel(x);
    else
        for (int i = 0; i < x->rank; i++)
            *(i < axis ? &s.outer : i == axis ? &s.n : &s.inner) *= x->shape[i];
    return s;
}

#ifdef TIDE_LEVEL
/* Names of kernels for every element type, e.g. take_any_v3, and for integers (any_*.c), which
 * some levels share. */
#define KANY(name) TIDE_KNAME(name, any, TIDE_ANY_LEVEL)
#define KINT(name) TIDE_KNAME(name, int, TIDE_ANY_LEVEL)
#define TIDE_ANY_KERNEL(name)             \
    tide_status KANY(name)(tide_kcall *); \
    tide_status KANY(name)(tide_kcall * c)
#define TIDE_INT_KERNEL(name)             \
    tide_status KINT(name)(tide_kcall *); \
    tide_status KINT(name)(tide_kcall * c)
#endif

#ifdef REAL

/* K(name): the kernel's name in this compilation, e.g. tanh_f32_v3. */
#define K(name) TIDE_KNAME(name, REAL_NAME, TIDE_LEVEL)
/* Begins the definition of an op's kernel: TIDE_KERNEL(tanh) { ... c->in[0] ... } */
#define TIDE_KERNEL(name)              \
    tide_status K(name)(tide_kcall *); \
    tide_status K(name)(tide_kcall * c)

/* FN(exp): expf or exp. */
#define TIDE_FN_f32(name) name##f
#define TIDE_FN_f64(name) name
#define FN(name) TIDE_CAT(TIDE_FN_, REAL_NAME)(name)
#define TIDE_IS_f32_f32 1
#define TIDE_IS_f32_f64 0
#define REAL_IS_F32 TIDE_CAT(TIDE_IS_f32_, REAL_NAME)

/* glibc offers the vector variants of libm only under -ffast-math; declaring them here gets them
 * with ordinary NaN and infinity behaviour. Plain C (no SSE4.1) keeps the scalar functions and
 * serves as the oracle of the others. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__SSE4_1__)
#if __GLIBC_PREREQ(2, 35)
#define TIDE_SIMD1(name)                                                 \
    _Pragma("omp declare simd notinbranch") extern float name##f(float); \
    _Pragma("omp declare simd notinbranch") extern double name(double);
#define TIDE_SIMD2(name)                                                        \
    _Pragma("omp declare simd notinbranch") extern float name##f(float, float); \
    _Pragma("omp declare simd notinbranch") extern double name(double, double);
TIDE_SIMD1(exp)
TIDE_SIMD1(log)
TIDE_SIMD1(sin)
TIDE_SIMD1(cos)
TIDE_SIMD1(tan)
TIDE_SIMD1(asin)
TIDE_SIMD1(acos)
TIDE_SIMD1(atan)
TIDE_SIMD1(sinh)
TIDE_SIMD1(cosh)
TIDE_SIMD1(tanh)
TIDE_SIMD1(asinh)
TIDE_SIMD1(acosh)
TIDE_SIMD1(atanh)
TIDE_SIMD1(exp2)
TIDE_SIMD1(expm1)
TIDE_SIMD1(log2)
TIDE_SIMD1(log10)
TIDE_SIMD1(log1p)
TIDE_SIMD1(cbrt)
TIDE_SIMD1(erf)
TIDE_SIMD1(erfc)
TIDE_SIMD2(pow)
TIDE_SIMD2(atan2)
TIDE_SIMD2(hypot)
#undef TIDE_SIMD1
#undef TIDE_SIMD2
#endif
#endif

#if REAL_IS_F32 && defined __AVX2__ && defined __FMA__
#define TIDE_EIGHTS /* the functions of vector.h */
#include "vector.h"
#endif

#define T_EXP(x) FN(exp)(x)
#define T_LOG(x) FN(log)(x)
#define T_LOG1P(x) FN(log1p)(x)
#define T_EXPM1(x) FN(expm1)(x)
#define T_TANH(x) FN(tanh)(x)
#define T_SQRT(x) FN(sqrt)(x)
#define T_POW(x, y) FN(pow)(x, y)
#define T_ABS(x) FN(fabs)(x)
#define T_SIGMOID(x) ((REAL)1 / ((REAL)1 + T_EXP(-(x))))

/* Larger and smaller of two, NaN if either is; plain comparisons, since fmax neither propagates NaN
 * nor vectorises. */
static inline REAL t_max(REAL a, REAL b) {
    const REAL m = a > b
        ? a
        : b; /* two selections in a row: gcc makes branches of a joint condition where calls nest */
    return a != a ? a : m;
}
static inline REAL t_min(REAL a, REAL b) {
    const REAL m = a < b ? a : b;
    return a != a ? a : m;
}
/* Both values are computed whatever `c` says: a call inside a branch would not vectorise. */
static inline REAL t_where(int c, REAL a, REAL b) { return c ? a : b; }

#endif
#endif
