/* Keys of 32 bits sorted by vectors of AVX2: parts are split around a pivot until a network of
 * comparisons sorts what is left (Hoare 1961; Batcher 1968; in vectors: Blacher et al. 2022).
 *
 * Invariant: both buffers have room for n keys, and a part has the same bounds in both: it is split
 * from one into the other. Keys that are equal cannot be told apart, so nothing need be stable. */
#ifndef TIDE_CPU_QUICK_H
#define TIDE_CPU_QUICK_H

#include "cpu.h"

#if defined(__AVX2__)
#include <immintrin.h>

#define QUICK_INLINE static inline __attribute__((always_inline))
enum { QUICK_LEAST = 128 }; /* keys that a network sorts: 16 vectors */

/* Smaller ones to a, larger ones to b. */
QUICK_INLINE void quick_order(__m256i *a, __m256i *b) {
    const __m256i least = _mm256_min_epu32(*a, *b);
    *b = _mm256_max_epu32(*a, *b);
    *a = least;
}
/* Eight keys that first rise, then fall, or the other way round: sorted. */
QUICK_INLINE __m256i quick_settle(__m256i v) {
    __m256i o = _mm256_permute2x128_si256(v, v, 1);
    v = _mm256_blend_epi32(_mm256_min_epu32(v, o), _mm256_max_epu32(v, o), 0xf0);
    o = _mm256_shuffle_epi32(v, 0x4e);
    v = _mm256_blend_epi32(_mm256_min_epu32(v, o), _mm256_max_epu32(v, o), 0xcc);
    o = _mm256_shuffle_epi32(v, 0xb1);
    return _mm256_blend_epi32(_mm256_min_epu32(v, o), _mm256_max_epu32(v, o), 0xaa);
}
/* Two sorted halves of v[2 * k] become one sorted sequence. */
QUICK_INLINE void quick_merge(__m256i *v, const int k) {
    const __m256i back = _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    __m256i other[8];
#pragma GCC unroll 8
    for (int i = 0; i < k; i++) other[i] = _mm256_permutevar8x32_epi32(v[2 * k - 1 - i], back);
#pragma GCC unroll 8
    for (int i = 0; i < k; i++) {
        quick_order(&v[i], &other[i]);
        v[k + i] = other[i];
    }
#pragma GCC unroll 4
    for (int d = k / 2; d > 0; d /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < 2 * k; i++)
            if (!(i & d)) quick_order(&v[i], &v[i + d]);
#pragma GCC unroll 16
    for (int i = 0; i < 2 * k; i++) v[i] = quick_settle(v[i]);
}
QUICK_INLINE void quick_turn(__m256i *v) { /* 8 x 8 */
    __m256i a[8], b[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}
/* 64 keys: columns by Batcher's network of 19 comparisons, then rows joined two by two. */
QUICK_INLINE void quick_64(__m256i *v) {
    static const unsigned char pairs[19][2] = {
        {0, 1}, {2, 3}, {4, 5}, {6, 7}, {0, 2}, {1, 3}, {4, 6}, {5, 7}, {1, 2}, {5, 6},
        {0, 4}, {1, 5}, {2, 6}, {3, 7}, {2, 4}, {3, 5}, {1, 2}, {3, 4}, {5, 6}};
#pragma GCC unroll 19
    for (int i = 0; i < 19; i++) quick_order(&v[pairs[i][0]], &v[pairs[i][1]]);
    quick_turn(v);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) quick_merge(v + i, 1);
    quick_merge(v, 2);
    quick_merge(v + 4, 2);
    quick_merge(v, 4);
}
/* n <= QUICK_LEAST keys of x, sorted, into y, which may be x. */
static void quick_least(const uint32_t *x, int64_t n, uint32_t *y) {
    _Alignas(32) uint32_t room[QUICK_LEAST];
    __m256i v[16];
    const int many = n > 64 ? 16 : 8;
    memcpy(room, x, (size_t)n * sizeof *x);
    memset(room + n, 255, ((size_t)many * 8 - (size_t)n) * sizeof *x);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) v[i] = _mm256_load_si256((const __m256i *)(void *)room + i);
    quick_64(v);
    if (n > 64) {
#pragma GCC unroll 8
        for (int i = 8; i < 16; i++) v[i] = _mm256_load_si256((const __m256i *)(void *)room + i);
        quick_64(v + 8);
        quick_merge(v, 8);
    }
    for (int i = 0; i < many; i++) _mm256_store_si256((__m256i *)(void *)room + i, v[i]);
    memcpy(y, room, (size_t)n * sizeof *x);
}

/* For each of 256 masks, the numbers of the lanes that it names, then those of the others, four
 * bits each. */
#define BELOW(m, l) __builtin_popcount((m) & ((1 << (l)) - 1))
#define LANE(m, l) \
    ((uint32_t)(l) << 4 * ((m) >> (l)&1 ? BELOW(m, l) : __builtin_popcount(m) + (l)-BELOW(m, l)))
#define LANES1(m)                                                                              \
    LANE(m, 0) | LANE(m, 1) | LANE(m, 2) | LANE(m, 3) | LANE(m, 4) | LANE(m, 5) | LANE(m, 6) | \
        LANE(m, 7)
#define LANES4(m) LANES1(m), LANES1((m) + 1), LANES1((m) + 2), LANES1((m) + 3)
#define LANES16(m) LANES4(m), LANES4((m) + 4), LANES4((m) + 8), LANES4((m) + 12)
#define LANES64(m) LANES16(m), LANES16((m) + 16), LANES16((m) + 32), LANES16((m) + 48)
static const uint32_t quick_lanes[256] = {LANES64(0), LANES64(64), LANES64(128), LANES64(192)};
#undef BELOW
#undef LANE
#undef LANES1
#undef LANES4
#undef LANES16
#undef LANES64

/* Keys up to the pivot from the left of y on, the others from its right end. Returns how many stand
 * on the left. Each vector is stored at both ends of what is still free, which is twice as long. */
static int64_t quick_split(const uint32_t *x, int64_t n, uint32_t pivot, uint32_t *y) {
    const __m256i middle = _mm256_set1_epi32((int)pivot),
                  shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    int64_t i = 0, left = 0;
    for (; n - i >= 16 && tide_look_at(i); i += 8) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(x + i)),
                      small = _mm256_cmpeq_epi32(_mm256_min_epu32(v, middle), v);
        const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(small));
        const __m256i lanes = _mm256_srlv_epi32(_mm256_set1_epi32((int)quick_lanes[mask]), shift),
                      sorted = _mm256_permutevar8x32_epi32(v, lanes);
        _mm256_storeu_si256((__m256i *)(void *)(y + left), sorted);
        _mm256_storeu_si256((__m256i *)(void *)(y + left + n - i - 8), sorted);
        left += __builtin_popcount((unsigned)mask);
    }
    for (int64_t right = left + n - i; i < n && !tide_stopped(); i++) {
        const int small = x[i] <= pivot;
        y[small ? left : right - 1] = x[i];
        left += small, right -= !small;
    }
    return left;
}

static inline uint32_t quick_middle(uint32_t a, uint32_t b, uint32_t c) {
    return TIDE_MAX(TIDE_MIN(a, b), TIDE_MIN(TIDE_MAX(a, b), c));
}
/* About the middle key: of nine, or of 64 where there are many. */
static uint32_t quick_pivot(const uint32_t *x, int64_t n) {
    uint32_t some[64];
    const int64_t step = n / (n < 2048 ? 9 : 64);
    if (n >= 2048) {
        for (int i = 0; i < 64; i++) some[i] = x[i * step + step / 2];
        quick_least(some, 64, some);
        return some[31];
    }
    for (int i = 0; i < 3; i++)
        some[i] = quick_middle(x[3 * i * step], x[(3 * i + 1) * step], x[(3 * i + 2) * step]);
    return quick_middle(some[0], some[1], some[2]);
}

/* By a heap (Williams 1964): for parts in which the pivots were bad. */
static void quick_heap(uint32_t *x, int64_t n) {
    for (int64_t begin = n / 2, end = n; end > 1;) {
        if (begin > 0) begin--;
        else {
            const uint32_t top = x[0];
            x[0] = x[--end];
            x[end] = top;
        }
        const uint32_t v = x[begin];
        int64_t i = begin;
        for (int64_t k; (k = 2 * i + 1) < end; i = k) {
            if (k + 1 < end && x[k] < x[k + 1]) k++;
            if (x[k] <= v) break;
            x[i] = x[k];
        }
        x[i] = v;
    }
}
/* Sorts n keys of x with the help of y; they end in `to`, which is one of both. Where Ctrl-C came
 * they are of no use. `depth`: splits that may still follow each other. */
static void quick_part(uint32_t *x, uint32_t *y, int64_t n, uint32_t *to, int depth) {
    if (n <= QUICK_LEAST) {
        quick_least(x, n, to);
        return;
    }
    if (tide_stopped()) return;
    if (depth == 0) {
        quick_heap(x, n);
        if (to != x) memcpy(to, x, (size_t)n * sizeof *x);
        return;
    }
    const uint32_t pivot = quick_pivot(x, n);
    int64_t m = quick_split(x, n, pivot, y);
    const int same = m == n; /* nothing is above: then those that equal it are in their places */
    if (same) m = pivot > 0 ? quick_split(x, n, pivot - 1, y) : 0;
    if (same && to == x) memcpy(x + m, y + m, (size_t)(n - m) * sizeof *x);
    quick_part(y, x, m, to, depth - 1);
    if (!same) quick_part(y + m, x + m, n - m, to + m, depth - 1);
}

/* Sorts n keys of x with the help of y; returns which of both they are in. */
static uint32_t *quick_sort(uint32_t *x, uint32_t *y, int64_t n) {
    enum { PARTS = 8, PART = 8192 };
    int64_t at[PARTS + 1] = {0, n}, middle[PARTS];
    int parts = 1, depth = 2;
    for (int64_t k = n; k > 1; k /= 2) depth += 2;
    for (; parts < PARTS && n / parts > PART && !tide_stopped(); parts *= 2) {
        TIDE_PARALLEL_FOR (parts, 1) {
            for (int64_t p = lo; p < hi; p++) {
                const uint32_t *from = x + at[p];
                const int64_t k = at[p + 1] - at[p];
                middle[p] = at[p];
                if (k) middle[p] += quick_split(from, k, quick_pivot(from, k), y + at[p]);
            }
        }
        if (tide_stopped()) return x;
        for (int p = parts; p > 0; p--) at[2 * p] = at[p], at[2 * p - 1] = middle[p - 1];
        uint32_t *const split = y;
        y = x;
        x = split;
    }
    TIDE_PARALLEL_FOR (parts, 1) {
        for (int64_t p = lo; p < hi; p++)
            quick_part(x + at[p], y + at[p], at[p + 1] - at[p], x + at[p], depth);
    }
    return x;
}
#endif
#endif
