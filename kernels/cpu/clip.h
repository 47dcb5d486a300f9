/* relu and relu6 of vectors in registers, for what makes sums of products. Includers have `vec`. */
#ifndef TIDE_CLIP_H
#define TIDE_CLIP_H

#include "cpu.h"

#ifdef __AVX__
#include <immintrin.h>
#endif

/* Bounds of an activation; NaN: none above. */
typedef struct {
    int on;
    REAL most;
} clip;
/* Whether `act` is done here; 0: by rows, behind the sums. */
static inline int clip_of(int act, clip *to) {
    *to = (clip){act == TIDE_ACTIVATION_relu || act == TIDE_ACTIVATION_relu6,
                 act == TIDE_ACTIVATION_relu6 ? 6 : (REAL)NAN};
    return to->on || act == TIDE_ACTIVATION_linear;
}
/* NaN stays: where one operand is NaN, the instructions give the second one. */
#if defined __AVX512F__ && REAL_IS_F32
#define CLIPPED(vec, x, most) \
    ((vec)_mm512_min_ps(_mm512_set1_ps(most), _mm512_max_ps(_mm512_setzero_ps(), (__m512)(x))))
#elif defined __AVX512F__
#define CLIPPED(vec, x, most) \
    ((vec)_mm512_min_pd(_mm512_set1_pd(most), _mm512_max_pd(_mm512_setzero_pd(), (__m512d)(x))))
#elif defined __AVX__ && REAL_IS_F32
#define CLIPPED(vec, x, most) \
    ((vec)_mm256_min_ps(_mm256_set1_ps(most), _mm256_max_ps(_mm256_setzero_ps(), (__m256)(x))))
#elif defined __AVX__
#define CLIPPED(vec, x, most) \
    ((vec)_mm256_min_pd(_mm256_set1_pd(most), _mm256_max_pd(_mm256_setzero_pd(), (__m256d)(x))))
#else
#define CLIPPED(vec, x, most)                                  \
    ({                                                         \
        const vec x_ = (x), most_ = (most) - (vec){0};         \
        typedef __typeof__(x_ < x_) mask_;                     \
        const vec up_ = (vec)((mask_)x_ & ~(x_ < 0));          \
        const mask_ over_ = up_ > most_;                       \
        (vec)(((mask_)up_ & ~over_) | ((mask_)most_ & over_)); \
    })
#endif

#endif
