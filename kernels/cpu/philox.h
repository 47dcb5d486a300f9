/* Philox4x32-10 (Salmon et al. 2011): random words as a pure function of (seed, stream, block
 * number).
 *
 * Invariant: the word of an element depends on its position only, never on threads or on the
 * instruction set. Element i of a call takes word (i / 16) % 4 of block offset + (i / 64) * 16 + i
 * % 16, so that sixteen blocks side by side fill 64 neighbours. A 64-bit draw joins words 0, 1
 * (elements 0-15 of a group of 32) or 2, 3 (16-31) of its block. Rejection methods take block
 * offset + i with the attempt's number in the upper half of the stream. */
#ifndef TIDE_PHILOX_H
#define TIDE_PHILOX_H

#include "../kernel.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define TIDE_PHILOX_M0 0xD2511F53u
#define TIDE_PHILOX_M1 0xCD9E8D57u
#define TIDE_PHILOX_W0 0x9E3779B9u
#define TIDE_PHILOX_W1 0xBB67AE85u
enum { TIDE_PHILOX_LANES = 16, TIDE_PHILOX_GROUP = 64 };

/* One block: out gets four words. */
static inline void tide_philox_block(tide_rng r, uint64_t block, uint32_t attempt,
                                     uint32_t out[4]) {
    uint64_t b = r.offset + block;
    uint32_t c0 = (uint32_t)b, c1 = (uint32_t)(b >> 32), c2 = (uint32_t)r.stream,
             c3 = (uint32_t)(r.stream >> 32) + attempt;
    uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)TIDE_PHILOX_M0 * c0, p1 = (uint64_t)TIDE_PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c3 = (uint32_t)p0;
        k0 += TIDE_PHILOX_W0, k1 += TIDE_PHILOX_W1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Sixteen blocks: w[64 words], word k of block l at w[16 k + l]. The vector forms hold each 32-bit
 * word in the lower half of a 64-bit lane; what the products leave in the upper halves is never
 * read. */
#if defined(__SSE2__)
#if defined(__AVX512F__)
#define TIDE_PV(name) _mm512_##name
typedef __m512i tide_pv;
enum { TIDE_PV_LANES = 8 };
#define TIDE_PV_XOR(a, b) _mm512_xor_si512(a, b)
#define TIDE_PV_FROM(b) \
    _mm512_add_epi64(_mm512_set1_epi64(b), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0))
#define TIDE_PV_SET(v) _mm512_set1_epi64(v)
static inline void tide_pv_store(uint32_t *w, tide_pv a, tide_pv b) { /* the lower halves of both */
    _mm256_storeu_si256((__m256i *)w, _mm512_cvtepi64_epi32(a));
    _mm256_storeu_si256((__m256i *)(w + 8), _mm512_cvtepi64_epi32(b));
}
#elif defined(__AVX2__)
#define TIDE_PV(name) _mm256_##name
typedef __m256i tide_pv;
enum { TIDE_PV_LANES = 4 };
#define TIDE_PV_XOR(a, b) _mm256_xor_si256(a, b)
#define TIDE_PV_FROM(b) _mm256_add_epi64(_mm256_set1_epi64x(b), _mm256_set_epi64x(3, 2, 1, 0))
#define TIDE_PV_SET(v) _mm256_set1_epi64x(v)
static inline void tide_pv_store(uint32_t *w, tide_pv a, tide_pv b) {
    __m256i both = _mm256_castps_si256(
        _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
    _mm256_storeu_si256((__m256i *)w, _mm256_permute4x64_epi64(both, 0xD8));
}
#else
#define TIDE_PV(name) _mm_##name
typedef __m128i tide_pv;
enum { TIDE_PV_LANES = 2 };
#define TIDE_PV_XOR(a, b) _mm_xor_si128(a, b)
#define TIDE_PV_FROM(b) _mm_add_epi64(_mm_set1_epi64x(b), _mm_set_epi64x(1, 0))
#define TIDE_PV_SET(v) _mm_set1_epi64x(v)
static inline void tide_pv_store(uint32_t *w, tide_pv a, tide_pv b) {
    _mm_storeu_si128(
        (__m128i *)w,
        _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88)));
}
#endif

static inline void tide_philox_group(tide_rng r, uint64_t group, uint32_t *restrict w) {
    const tide_pv m0 = TIDE_PV_SET(TIDE_PHILOX_M0), m1 = TIDE_PV_SET(TIDE_PHILOX_M1);
    for (int l = 0; l < TIDE_PHILOX_LANES; l += 2 * TIDE_PV_LANES) { /* two vectors side by side */
        const uint64_t b = r.offset + group * TIDE_PHILOX_LANES + (uint64_t)l;
        uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32);
        tide_pv a0 = TIDE_PV_FROM((long long)b), a1 = TIDE_PV(srli_epi64)(a0, 32);
        tide_pv b0 = TIDE_PV_FROM((long long)(b + TIDE_PV_LANES)), b1 = TIDE_PV(srli_epi64)(b0, 32);
        tide_pv a2 = TIDE_PV_SET((uint32_t)r.stream), a3 = TIDE_PV_SET((uint32_t)(r.stream >> 32)),
                b2 = a2, b3 = a3;
        for (int round = 0; round < 10; round++) {
            const tide_pv x0 = TIDE_PV_SET(k0), x1 = TIDE_PV_SET(k1);
            const tide_pv pa = TIDE_PV(mul_epu32)(a0, m0), qa = TIDE_PV(mul_epu32)(a2, m1);
            const tide_pv pb = TIDE_PV(mul_epu32)(b0, m0), qb = TIDE_PV(mul_epu32)(b2, m1);
            a0 = TIDE_PV_XOR(TIDE_PV_XOR(TIDE_PV(srli_epi64)(qa, 32), a1), x0), a1 = qa;
            a2 = TIDE_PV_XOR(TIDE_PV_XOR(TIDE_PV(srli_epi64)(pa, 32), a3), x1), a3 = pa;
            b0 = TIDE_PV_XOR(TIDE_PV_XOR(TIDE_PV(srli_epi64)(qb, 32), b1), x0), b1 = qb;
            b2 = TIDE_PV_XOR(TIDE_PV_XOR(TIDE_PV(srli_epi64)(pb, 32), b3), x1), b3 = pb;
            k0 += TIDE_PHILOX_W0, k1 += TIDE_PHILOX_W1;
        }
        tide_pv_store(w + l, a0, b0);
        tide_pv_store(w + 16 + l, a1, b1);
        tide_pv_store(w + 32 + l, a2, b2);
        tide_pv_store(w + 48 + l, a3, b3);
    }
}
#else
static inline void tide_philox_group(tide_rng r, uint64_t group, uint32_t *restrict w) {
    for (int l = 0; l < TIDE_PHILOX_LANES; l++) {
        uint32_t word[4];
        tide_philox_block(r, group * TIDE_PHILOX_LANES + (uint64_t)l, 0, word);
        for (int k = 0; k < 4; k++) w[16 * k + l] = word[k];
    }
}
#endif

static inline double tide_unit53(uint32_t hi, uint32_t lo) { /* [0, 1) */
    return (double)(((uint64_t)hi << 21) ^ (lo >> 11)) * 0x1p-53;
}

#endif
