/* Products of bfloat16 by the CPU's own instructions (AVX-512 BF16): two steps of the sum at once,
 * summed in float32. They flush subnormal numbers to zero and round sums to nearest even.
 *
 * c is cut into blocks, each on one thread: a slice of a's rows and of b's columns is packed as
 * pairs of neighbours along k, and a register tile of MR x NR runs over them. Blocks depend on
 * sizes alone and k is walked in order, so results have equal bits for any number of threads. */
#include "gemm.h"
#include "half.h"

#if REAL_IS_FLOAT && defined __AVX512F__ && defined __AVX512BW__ && defined __AVX512VL__
#include <immintrin.h>

#define BF16 __attribute__((target("avx512bf16")))
enum {
    MR = 12, /* rows of a tile: 24 sums, 2 loads, 1 broadcast of 32 registers */
    VL = 16,
    NR = 2 * VL,
    KC = 1024,    /* slice of k */
    MB = 16 * MR, /* rows and columns of a block: its slices stay in the second-level cache */
    NB = 8 * NR
};
#define LEAST_WORK 65536.0 /* multiplications below which float32 is as fast */
#define CHUNK_WORK 2e6     /* of a chunk, some 30 microseconds */

int K(bf16_units)(void) {
    static _Atomic int known; /* 1: no, 2: yes */
    if (!known) known = __builtin_cpu_supports("avx512bf16") ? 2 : 1;
    return known == 2;
}

int K(bf16_serves)(const tide_gemm *g) {
    return g->a_half == TIDE_BF16 && g->b_half == TIDE_BF16 && g->c_half != TIDE_F16 &&
        !g->accumulate && g->m >= 8 && g->n >= VL && g->k >= VL &&
        (double)g->m * (double)g->n * (double)g->k >= LEAST_WORK && K(bf16_units)();
}

/* -- packing: words of two neighbours along k, zeros beyond the edges -- */

static inline uint32_t pair_of(const uint16_t *p, int64_t step, int both) {
    return p[0] | (both ? (uint32_t)p[step] << 16 : 0);
}

/* Two lines of `n` <= VL elements as words. */
static inline __m512i weave(const uint16_t *lo, const uint16_t *hi, int n) {
    const __mmask16 m = (__mmask16)((1u << n) - 1);
    const __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, lo));
    if (!hi) return a;
    const __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, hi));
    return _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
}

/* `lines` <= width lines of k elements that lie `across` apart (elements of a line: `along`), as
 * (pairs of k, width) words. */
static void pack(const uint16_t *x, int64_t lines, int64_t across, int64_t k, int64_t along,
                 int width, uint32_t *to) {
    const int64_t pairs = (k + 1) / 2;
    if (across == 1) {
        for (int64_t p = 0; p < pairs; p++, x += 2 * along, to += width)
            for (int j = 0; j < width; j += VL) {
                const int n = (int)TIDE_MAX(0, TIDE_MIN(lines - j, VL)),
                          w = TIDE_MIN(width - j, VL);
                const uint16_t *hi = 2 * p + 1 < k ? x + along + j : NULL;
                _mm512_mask_storeu_epi32(to + j, (__mmask16)((1u << w) - 1),
                                         n ? weave(x + j, hi, n) : _mm512_setzero_si512());
            }
        return;
    }
    if (lines < width) memset(to, 0, (size_t)(pairs * width) * sizeof *to);
    enum { SOME = 16 }; /* pairs: what is written stays in the first-level cache */
    for (int64_t p0 = 0; p0 < pairs; p0 += SOME)
        for (int64_t j = 0; j < lines; j++) {
            const uint16_t *line = x + j * across + 2 * p0 * along;
            const int64_t end = TIDE_MIN(p0 + SOME, pairs), whole = TIDE_MIN(end, k / 2);
            uint32_t *at = to + p0 * width + j;
            int64_t p = p0;
            if (along == 1)
                for (; p < whole; p++, line += 2, at += width) memcpy(at, line, sizeof *at);
            for (; p < end; p++, line += 2 * along, at += width)
                *at = pair_of(line, along, 2 * p + 1 < k);
        }
}

/* -- the block -- */

static inline __attribute__((always_inline)) BF16 void tile_of(int mr, int64_t pairs,
                                                               const uint32_t *a, const uint32_t *b,
                                                               float *c, int64_t ldc, int add) {
    __m512 s[MR][2];
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < 2; v++)
            s[i][v] = add ? _mm512_loadu_ps(c + i * ldc + v * VL) : _mm512_setzero_ps();
    for (int64_t p = 0; p < pairs; p++, a += MR, b += NR) {
        const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b),
                       b1 = (__m512bh)_mm512_loadu_si512(b + VL);
#pragma GCC unroll 12
        for (int i = 0; i < mr; i++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[i]);
            s[i][0] = _mm512_dpbf16_ps(s[i][0], x, b0);
            s[i][1] = _mm512_dpbf16_ps(s[i][1], x, b1);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < 2; v++) _mm512_storeu_ps(c + i * ldc + v * VL, s[i][v]);
}
static BF16 void tile(int64_t rows, int64_t pairs, const uint32_t *a, const uint32_t *b, float *c,
                      int64_t ldc, int add) {
    if (rows > 8) tile_of(12, pairs, a, b, c, ldc, add);
    else if (rows > 4) tile_of(8, pairs, a, b, c, ldc, add);
    else tile_of(4, pairs, a, b, c, ldc, add);
}

static int64_t up(int64_t n, int64_t to) { return TIDE_CEIL_DIV(n, to) * to; }

/* How c is cut, and the work space of a block. */
typedef struct {
    int64_t mb, nb, rows, cols; /* a block's extents; blocks */
    size_t a, b, all;           /* bytes of a's slice, of b's, of all */
} plan;
static plan plan_of(const tide_gemm *g, int64_t batch) {
    const double work = (double)g->m * (double)g->n * (double)g->k;
    const int64_t kc = TIDE_MIN(KC, g->k + 1) / 2 * 2;
    plan p = {.rows = TIDE_CEIL_DIV(g->m, MB), .cols = TIDE_CEIL_DIV(g->n, NB)};
    if (p.rows * p.cols * batch < 2 && work >= 2 * CHUNK_WORK / 4) { /* a second thread pays */
        if (g->n >= 2 * NR) p.cols = 2;
        else if (g->m >= 2 * MR) p.rows = 2;
    }
    if (p.rows * p.cols % 2 && p.rows * p.cols > 1) p.cols++; /* two threads end together */
    p.mb = up(TIDE_CEIL_DIV(g->m, p.rows), MR), p.rows = TIDE_CEIL_DIV(g->m, p.mb);
    p.nb = up(TIDE_CEIL_DIV(g->n, p.cols), NR), p.cols = TIDE_CEIL_DIV(g->n, p.nb);
    p.a = (size_t)(p.mb * kc) * sizeof(uint16_t);
    p.b = (size_t)(NR * kc) * sizeof(uint16_t);
    p.all = p.a + p.b + (size_t)(p.mb * p.nb) * sizeof(float);
    return p;
}

static void block(const tide_gemm *g, const plan *q, int64_t i0, int64_t j0, const float *bias,
                  int act, char *room) {
    const int64_t m = TIDE_MIN(q->mb, g->m - i0), n = TIDE_MIN(q->nb, g->n - j0), ld = q->nb;
    uint32_t *pa = (uint32_t *)(void *)room, *pb = (uint32_t *)(void *)(room + q->a);
    float *sums = (float *)(void *)(room + q->a + q->b);
    for (int64_t p0 = 0; p0 < g->k && !tide_stopped(); p0 += KC) {
        const int64_t k = TIDE_MIN(KC, g->k - p0), pairs = (k + 1) / 2;
        for (int64_t i = 0; i < m; i += MR)
            pack((const uint16_t *)g->a + (i0 + i) * g->ars + p0 * g->acs, TIDE_MIN(MR, m - i),
                 g->ars, k, g->acs, MR, pa + i * pairs);
        for (int64_t j = 0; j < n; j += NR) {
            pack((const uint16_t *)g->b + p0 * g->brs + (j0 + j) * g->bcs, TIDE_MIN(NR, n - j),
                 g->bcs, k, g->brs, NR, pb);
            for (int64_t i = 0; i < m; i += MR)
                tile(TIDE_MIN(MR, m - i), pairs, pa + i * pairs, pb, sums + i * ld + j, ld, p0 > 0);
        }
    }
    if (bias || act != TIDE_ACTIVATION_linear)
        K(bias_act)(m, n, sums, ld, bias ? bias + j0 : NULL, act);
    for (int64_t i = 0; i < m; i++) {
        const int64_t at = (i0 + i) * g->ldc + j0;
        if (g->c_half) K(narrow)(g->c_half, n, sums + i * ld, (uint16_t *)g->c + at);
        else memcpy((float *)g->c + at, sums + i * ld, (size_t)n * sizeof(float));
    }
}

tide_status K(bf16_product)(tide_device *dev, const tide_gemm *g, const float *bias, int act,
                            int64_t batch, tide_gemm (*one)(const tide_gemm *, int64_t)) {
    const plan q = plan_of(g, batch);
    const int64_t each = q.rows * q.cols;
    const double work = (double)q.mb * (double)q.nb * (double)g->k;
    const int64_t grain = TIDE_MAX(1, (int64_t)(CHUNK_WORK / (4 * work)));
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(dev, batch * each, grain, q.all, &lanes));
    TIDE_PARALLEL_FOR (batch *each, grain) {
        for (int64_t i = lo; i < hi; i++) {
            const tide_gemm part = g->batch ? one(g, i / each) : *g;
            block(&part, &q, i % each / q.cols * q.mb, i % each % q.cols * q.nb, bias, act,
                  tide_lane(&lanes, share_->slot));
        }
    }
    return TIDE_OK;
}

#else

int K(bf16_units)(void) { return 0; }
int K(bf16_serves)(const tide_gemm *g) { return (void)g, 0; }
tide_status K(bf16_product)(tide_device *dev, const tide_gemm *g, const REAL *bias, int act,
                            int64_t batch, tide_gemm (*one)(const tide_gemm *, int64_t)) {
    (void)dev, (void)g, (void)bias, (void)act, (void)batch, (void)one;
    return TIDE_DECLINE;
}

#endif
