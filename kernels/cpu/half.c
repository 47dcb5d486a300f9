/* Runs of float16 and bfloat16 widened to float32 and narrowed again, as wide as the level's
 * registers allow. Compiled for float alone.
 *
 * Invariant: every level gives the bits of half.h's functions, which are the hardware's. */
#include "cpu.h"

#include "half.h"

#if REAL_IS_FLOAT

#ifdef __F16C__
#include <immintrin.h>
#endif

static void widen_f16(int64_t n, const uint16_t *restrict src, float *restrict dst) {
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(src + i))));
#endif
#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
#endif
    for (; i < n; i++) dst[i] = tide_from_f16(src[i]);
}

static void narrow_f16(int64_t n, const float *restrict src, uint16_t *restrict dst) {
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(dst + i),
                            _mm512_cvtps_ph(_mm512_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
#ifdef __F16C__
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < n; i++) dst[i] = tide_to_f16(src[i]);
}

static void widen_bf16(int64_t n, const uint16_t *restrict src, float *restrict dst) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dst[i] = tide_from_bf16(src[i]);
}

static void narrow_bf16(int64_t n, const float *restrict src, uint16_t *restrict dst) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dst[i] = tide_to_bf16(src[i]);
}

void K(widen)(int dtype, int64_t n, const uint16_t *src, float *dst) {
    (dtype == TIDE_F16 ? widen_f16 : widen_bf16)(n, src, dst);
}

void K(narrow)(int dtype, int64_t n, const float *src, uint16_t *dst) {
    (dtype == TIDE_F16 ? narrow_f16 : narrow_bf16)(n, src, dst);
}

const tide_half_loops TIDE_CAT(tide_half_, TIDE_LEVEL) = {
    .widen = K(widen), .narrow = K(narrow), .convert = KANY(convert), .bf16_units = K(bf16_units)};

#else
typedef int tide_half_is_empty; /* ISO C has no empty file */
#endif
