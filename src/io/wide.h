/* Loops in two widths: a body that is written once is compiled for every processor and for those
 * with AVX2, and which of both runs is asked of the processor. AVX2 alone has no fused products, so
 * that both give the same bits. Pixels of three channels are loops of their own there, whose
 * vectors hold a fourth number: that behind the pixel, or of no meaning. */
#ifndef TIDE_WIDE_H
#define TIDE_WIDE_H

#define TIDE_BODY static inline __attribute__((always_inline))

/* Defines `name`, a function without a result, by TIDE_BODY void name_body. */
#if defined(__x86_64__)
#include <immintrin.h>
#define TIDE_AVX2 __attribute__((target("avx2")))
#define TIDE_WIDE(name, params, args)                              \
    TIDE_AVX2 static void name##_wide params { name##_body args; } \
    static void name params {                                      \
        if (__builtin_cpu_supports("avx2")) name##_wide args;      \
        else name##_body args;                                     \
    }
#else
#define TIDE_WIDE(name, params, args) \
    static void name params { name##_body args; }
#endif

#endif
