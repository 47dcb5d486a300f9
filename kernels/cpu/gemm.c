/* Matrix products.
 *
 * The product cuts c into blocks of rows and columns; each block walks k in slices, packs a slice
 * of b into panels on the stack and runs a register tile of MR x NR over it. Blocks depend on sizes
 * alone and k is walked in order, so results have equal bits for any number of threads. */
#include "gemm.h"

#include "half.h"
#include "registers.h"

#if REAL_IS_FLOAT && defined __F16C__
#include <immintrin.h>
#endif

/* Vectors as wide as the level's registers; gcc lowers them to what there is. */
#if defined(__AVX512F__)
#define VB 64
#elif defined(__AVX__)
#define VB 32
#else
#define VB 16
#endif
typedef REAL vec __attribute__((vector_size(VB), aligned(sizeof(REAL)), may_alias));

enum {
    VL = VB / sizeof(REAL),
    NR = 2 * VL,              /* columns of a tile: two vectors */
    MR = 6,                   /* rows: 12 accumulators, 2 loads, 1 broadcast of 16 registers */
    KC = 1024 / sizeof(REAL), /* slice of k: a panel of b stays in the first-level cache */
    MB = 24 * MR,             /* rows of a block at most, of which a slice stays in the second */
    NB = 16 * NR,             /* columns of a block at most */
    LINE = KC + 8,            /* between rows that were brought together: no power of two, of which
                                 all would lie in a few sets of the cache */
    AHEAD = 12,               /* rows of b that are asked for before they are read */
    PANELS = 4,               /* of b that are packed at once */
    NEAR = 512,               /* elements between rows that lie close to each other */
    LYING = 4096,             /* elements of a b that is read as it lies */
    LONG = 1 << 20, /* steps along k between two looks for Ctrl-C; any of the sums divides it */
};
#define SECOND_THREAD 5e5 /* multiplications from which a second thread pays */
#define THIN_SECOND 1.3e5 /* and where every element of b is read for one to three rows alone */

/* A tile: mr x NR elements of c, b with row stride ldb. `mr` is constant at every call, so the
 * loops unroll. */
static inline __attribute__((always_inline)) void tile(int mr, int64_t k, const REAL *a,
                                                       int64_t ars, int64_t acs, const REAL *b,
                                                       int64_t ldb, REAL *c, int64_t ldc, int add) {
    vec s0[MR], s1[MR];
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++) s0[i] = s1[i] = (vec){0};
    for (int64_t p = 0; p < k; p++, a += acs, b += ldb) {
        vec b0 = *(const vec *)b, b1 = *(const vec *)(b + VL);
#pragma GCC unroll 6
        for (int i = 0; i < mr; i++) {
            const vec x = a[i * ars] - (vec){0}; /* in all elements */
            TIDE_ADD_PRODUCT(s0[i], x, b0);
            TIDE_ADD_PRODUCT(s1[i], x, b1);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < mr; i++) {
        vec *y = (vec *)(c + i * ldc);
        if (add) s0[i] += y[0], s1[i] += y[1];
        y[0] = s0[i];
        y[1] = s1[i];
    }
}

/* Where rows were brought together their distances are constants. */
#define TILE_ROWS(name, ars, acs)                                                             \
    static void name(int mr, int64_t k, const REAL *a, int64_t rs, int64_t cs, const REAL *b, \
                     int64_t ldb, REAL *c, int64_t ldc, int add) {                            \
        (void)rs, (void)cs;                                                                   \
        switch (mr) {                                                                         \
        case 1: tile(1, k, a, ars, acs, b, ldb, c, ldc, add); break;                          \
        case 2: tile(2, k, a, ars, acs, b, ldb, c, ldc, add); break;                          \
        case 3: tile(3, k, a, ars, acs, b, ldb, c, ldc, add); break;                          \
        case 4: tile(4, k, a, ars, acs, b, ldb, c, ldc, add); break;                          \
        case 5: tile(5, k, a, ars, acs, b, ldb, c, ldc, add); break;                          \
        default: tile(6, k, a, ars, acs, b, ldb, c, ldc, add); break;                         \
        }                                                                                     \
    }
TILE_ROWS(rows_as_they_lie, rs, cs)
TILE_ROWS(rows_in_lines, LINE, 1)
TILE_ROWS(rows_side_by_side, 1, MR)

#if REAL_IS_FLOAT
/* VL halves as floats. */
typedef uint16_t halves __attribute__((vector_size(VB / 2), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(VB), may_alias));
static inline __attribute__((always_inline)) vec widened(int dtype, const uint16_t *p) {
    if (dtype == TIDE_BF16) return (vec)(__builtin_convertvector(*(const halves *)p, words) << 16);
#if defined __AVX512F__
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined __F16C__
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    vec v;
    for (int i = 0; i < VL; i++) v[i] = tide_from_f16(p[i]);
    return v;
#endif
}

/* pack() of a b that is stored in halves. */
static void pack_halves(int dtype, int64_t k, int64_t n, const uint16_t *b, int64_t brs,
                        int64_t bcs, REAL *panel) {
    if (n == NR && bcs == 1) {
        for (int64_t p = 0; p < k; p++, b += brs, panel += NR) {
            ((vec *)panel)[0] = widened(dtype, b);
            ((vec *)panel)[1] = widened(dtype, b + VL);
        }
        return;
    }
    if (bcs == 1) {
        for (int64_t p = 0; p < k; p++, b += brs, panel += NR) {
            K(widen)(dtype, n, b, panel);
            for (int64_t j = n; j < NR; j++) panel[j] = 0;
        }
        return;
    }
    if (brs == 1) { /* columns lie side by side: each is widened, then spread */
        REAL column[KC];
        if (n < NR) memset(panel, 0, (size_t)(k * NR) * sizeof(REAL));
        for (int64_t j = 0; j < n; j++) {
            K(widen)(dtype, k, b + j * bcs, column);
            for (int64_t p = 0; p < k; p++) panel[p * NR + j] = column[p];
        }
        return;
    }
    for (int64_t p = 0; p < k; p++, panel += NR)
        for (int64_t j = 0; j < NR; j++)
            panel[j] = j < n ? tide_from_half(dtype, b[p * brs + j * bcs]) : 0;
}
#else
static inline vec widened(int dtype, const uint16_t *p) {
    (void)dtype, (void)p;
    return (vec){0};
}
#define pack_halves(dtype, k, n, b, brs, bcs, panel) (void)(b)
#endif

#if REAL_IS_FLOAT && defined __AVX__
typedef int32_t order __attribute__((vector_size(32)));
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
/* Eight columns of eight floats, `apart`, as rows of a panel. */
static inline __attribute__((always_inline)) void turn(const float *b, int64_t apart, float *to) {
    eight r[8], s[8];
#define PAIR(out, x, y, ...) out = __builtin_shuffle(x, y, (order){__VA_ARGS__})
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) r[i] = *(const eight *)(b + i * apart);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        PAIR(s[i], r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        PAIR(s[i + 1], r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        PAIR(r[i], s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        PAIR(r[i + 1], s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        PAIR(r[i + 2], s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        PAIR(r[i + 3], s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        PAIR(s[i], r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        PAIR(s[i + 4], r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#undef PAIR
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) *(eight *)(to + i * NR) = s[i];
}
static void pack_turned(int64_t k, const float *b, int64_t apart, float *panel) {
    int64_t p = 0;
    for (; p + 8 <= k; p += 8)
        for (int64_t j = 0; j < NR; j += 8) turn(b + p + j * apart, apart, panel + p * NR + j);
    for (; p < k; p++)
        for (int64_t j = 0; j < NR; j++) panel[p * NR + j] = b[p + j * apart];
}
#else
static void pack_turned(int64_t k, const REAL *b, int64_t apart, REAL *panel) {
    for (int64_t p = 0; p < k; p++, panel += NR)
        for (int64_t j = 0; j < NR; j++) panel[j] = b[p + j * apart];
}
#endif

/* k x NR elements of b side by side, zeros beyond column n. */
static void pack(int64_t k, int64_t n, const REAL *b, int64_t brs, int64_t bcs, REAL *panel) {
    if (n == NR && bcs == 1) {
        for (int64_t p = 0; p < k; p++, b += brs, panel += NR) memcpy(panel, b, NR * sizeof(REAL));
    } else if (n == NR && brs == 1) {
        pack_turned(k, b, bcs, panel);
    } else {
        for (int64_t p = 0; p < k; p++, panel += NR)
            for (int64_t j = 0; j < NR; j++) panel[j] = j < n ? b[p * brs + j * bcs] : 0;
    }
}

/* How tiles find the rows of a: where they are read more than once they are brought together first,
 * in lines, tile by tile as they are come to, or, of a transposed a, a slice of all tiles at once,
 * the rows of each side by side. */
enum { AS_THEY_LIE, IN_LINES, SIDE_BY_SIDE };

/* The rows of one tile, and `next` rows behind them are asked for. */
static void bring_lines(const REAL *a, int64_t ars, int mr, int64_t next, int64_t k, REAL *to) {
    for (int64_t i = 0; i < mr; i++) memcpy(to + i * LINE, a + i * ars, (size_t)k * sizeof(REAL));
    for (int64_t i = mr; i < mr + next; i++)
        for (int64_t p = 0; p < k; p += 64 / sizeof(REAL)) __builtin_prefetch(a + i * ars + p);
}

/* Some columns at a time, so that what is written to each tile fills lines of the cache. */
static void bring_columns(const REAL *a, int64_t acs, int64_t rows, int64_t tiles, int64_t k,
                          REAL *to) {
    enum { SOME = 8 };
    const int64_t low = rows / tiles;
    for (int64_t p0 = 0; p0 < k; p0 += SOME) {
        const int64_t p1 = TIDE_MIN(k, p0 + SOME);
        for (int64_t p = p1; p < TIDE_MIN(k, p1 + SOME); p++)
            for (int64_t i = 0; i < rows; i += 64 / sizeof(REAL))
                __builtin_prefetch(a + p * acs + i);
        for (int64_t t = 0, i = 0; t < tiles; t++) {
            const int64_t mr = low + (t < rows % tiles);
            REAL *tile_ = to + (t * k + p0) * MR;
            if (i + MR <= rows)
                for (int64_t p = p0; p < p1; p++, tile_ += MR)
                    memcpy(tile_, a + p * acs + i, MR * sizeof(REAL));
            else
                for (int64_t p = p0; p < p1; p++, tile_ += MR)
                    for (int64_t r = 0; r < mr; r++) tile_[r] = a[p * acs + i + r];
            i += mr;
        }
    }
}

/* Steps of a slice of k: nearly equal slices. */
static int64_t slice_of(int64_t k) {
    return TIDE_CEIL_DIV(TIDE_CEIL_DIV(k, TIDE_MAX(1, TIDE_CEIL_DIV(k, KC))), 8) * 8;
}

/* Some panels of b, n columns: rows are read along as far as they go, and asked for before. */
static void pack_panels(const tide_gemm *g, int64_t p0, int64_t k, int64_t j, int64_t n,
                        REAL *panels) {
    const int64_t at = p0 * g->brs + j * g->bcs;
    int64_t q = 0;
    if (g->bcs == 1 && !g->b_half && n >= 2 * NR) {
        const REAL *b = (const REAL *)g->b + at;
        for (int64_t p = 0; p < k; p++, b += g->brs)
            for (q = 0; q + NR <= n; q += NR) {
                if (p + AHEAD < k) __builtin_prefetch(b + AHEAD * g->brs + q);
                memcpy(panels + q * k + p * NR, b + q, NR * sizeof(REAL));
            }
    }
    for (; q < n; q += NR) {
        const int64_t some = TIDE_MIN(NR, n - q);
        if (g->b_half)
            pack_halves(g->b_half, k, some, (const uint16_t *)g->b + at + q * g->bcs, g->brs,
                        g->bcs, panels + q * k);
        else pack(k, some, (const REAL *)g->b + at + q * g->bcs, g->brs, g->bcs, panels + q * k);
    }
}

static void block(const tide_gemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    _Alignas(64) REAL panels[KC * NR * PANELS], edge[MR * NR], near[MB * LINE];
    REAL *c = g->c;
    const int64_t rows = i1 - i0, tiles = TIDE_CEIL_DIV(rows, MR), low = rows / tiles,
                  step = slice_of(g->k), width = TIDE_CEIL_DIV(g->n, NR) * NR;
    /* few rows do not pay for packing, nor does a b that stays in the cache */
    const int lies = g->bcs == 1 && !g->b_half && !g->packed &&
        (rows <= (g->brs <= NEAR ? 4 : 2) * MR || g->k * g->brs <= LYING);
    const int how = j1 - j0 < 4 * NR || rows <= MR ? AS_THEY_LIE
        : g->acs == 1 && g->ars > KC / 2           ? IN_LINES
        : g->ars == 1 && g->acs > MB               ? SIDE_BY_SIDE
                                                   : AS_THEY_LIE;
    for (int64_t p0 = 0; p0 < g->k && !tide_stopped(); p0 += step) {
        const int64_t k = TIDE_MIN(step, g->k - p0);
        const int add = g->accumulate || p0 > 0;
        const REAL *a = (const REAL *)g->a + i0 * g->ars + p0 * g->acs;
        if (how == SIDE_BY_SIDE) bring_columns(a, g->acs, rows, tiles, k, near);
        for (int64_t j = j0, ready = j0; j < j1; j += NR) {
            const int64_t n = TIDE_MIN(NR, j1 - j);
            const int whole = n == NR, lying = lies && whole;
            if (!lying && !g->packed && j >= ready) {
                ready = lies ? j1 : TIDE_MIN(j1, j + PANELS * NR);
                pack_panels(g, p0, k, j, ready - j, panels);
            }
            const REAL *b = g->packed ? (const REAL *)g->packed + p0 * width + j * k
                : lying               ? (const REAL *)g->b + p0 * g->brs + j
                                      : panels + (lies ? 0 : (j - j0) / NR % PANELS * NR * k);
            const int64_t ldb = lying ? g->brs : NR;
            for (int64_t t = 0, i = 0; t < tiles; t++) { /* of nearly equal height */
                const int mr = (int)(low + (t < rows % tiles)), on = add && whole;
                const REAL *ai = a + i * g->ars;
                REAL *ci = c + (i0 + i) * g->ldc + j, *to = whole ? ci : edge;
                const int64_t ldc = whole ? g->ldc : NR;
                if (how == IN_LINES && j == j0)
                    bring_lines(ai, g->ars, mr, TIDE_MIN(mr, rows - i - mr), k, near + i * LINE);
                for (int r = 0; r < mr && on; r++) __builtin_prefetch(to + r * ldc);
                if (how == IN_LINES)
                    rows_in_lines(mr, k, near + i * LINE, 0, 0, b, ldb, to, ldc, on);
                else if (how == SIDE_BY_SIDE)
                    rows_side_by_side(mr, k, near + t * k * MR, 0, 0, b, ldb, to, ldc, on);
                else rows_as_they_lie(mr, k, ai, g->ars, g->acs, b, ldb, to, ldc, on);
                for (int r = 0; r < mr && !whole; r++)
                    for (int64_t x = 0; x < n; x++)
                        ci[r * g->ldc + x] = edge[r * NR + x] + (add ? ci[r * g->ldc + x] : 0);
                i += mr;
            }
        }
    }
}

/* With AVX2 no library is faster (spec/bench/products.lua); with AVX-512 they were not compared. */
#define OWN_LEADS (REAL_IS_F32 && VB == 32)

int64_t K(packed_size)(int64_t k, int64_t n) { return k * TIDE_CEIL_DIV(n, NR) * NR; }
void K(pack_b)(const tide_gemm *g, REAL *to) {
    enum { WORTH = 1 << 16 }; /* elements for which a second thread pays */
    const int64_t step = slice_of(g->k), width = TIDE_CEIL_DIV(g->n, NR) * NR;
    const int64_t groups = TIDE_CEIL_DIV(g->n, PANELS * NR),
                  grain = TIDE_MAX(1, WORTH / TIDE_MAX(1, step * PANELS * NR));
    TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(g->k, TIDE_MAX(1, step)) * groups, grain) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t p0 = t / groups * step, j = t % groups * PANELS * NR,
                          k = TIDE_MIN(step, g->k - p0);
            pack_panels(g, p0, k, j, TIDE_MIN(PANELS * NR, g->n - j), to + p0 * width + j * k);
        }
    }
}

/* Only rows of several blocks read a packed b more than once; a large one takes too much room. */
int K(pack_pays)(const tide_gemm *g) {
    return (!tide_gemm_now || (OWN_LEADS && tide_own_first)) && !g->b_half && g->m > MB &&
        g->n >= NR && g->k >= NR && g->k * g->n > LYING && g->k * g->n <= 1 << 22;
}

/* An engine's product in parts along k, 2^33 multiplications or 768 steps each, so that Ctrl-C ends
 * it; engines walk k in such parts themselves. 0: refused. */
static int parts(const tide_gemm *g, double work, int (*serve)(const tide_gemm *)) {
    const double most = 8.6e9;
    if (work <= most) return serve(g);
    const int64_t steps = TIDE_MAX(1, (int64_t)((double)g->k * (most / work)) / 768) * 768;
    for (int64_t p = 0; p < g->k && !tide_stopped(); p += steps) {
        tide_gemm part = *g;
        part.k = TIDE_MIN(steps, g->k - p);
        part.a = (const REAL *)g->a + p * g->acs;
        part.b = (const REAL *)g->b + p * g->brs;
        part.accumulate = g->accumulate || p > 0;
        if (!serve(&part)) return 0;
    }
    return 1;
}

/* -- one to three rows: b is read once as it lies -- */

/* `nv` vectors of columns side by side, `nk` sums of each along k: an addition waits for the one
 * before it, so that it takes about eight sums to keep the adders busy. */
static inline __attribute__((always_inline)) void strip(int mr, int nv, int nk, int half,
                                                        const tide_gemm *g, int64_t j) {
    vec s[3][8];
    const REAL *a = g->a, *b = g->b;
    const uint16_t *h = g->b;
    const int64_t whole = g->k - g->k % nk;
#define STEP(p, q)                                                               \
    _Pragma("GCC unroll 8") for (int v = 0; v < nv; v++) {                       \
        const int64_t at = (p)*g->brs + j + v * VL;                              \
        const vec x = half ? widened(half, h + at) : *(const vec *)(b + at);     \
        _Pragma("GCC unroll 3") for (int i = 0; i < mr; i++) s[i][(q)*nv + v] += \
            a[i * g->ars + (p)*g->acs] * x;                                      \
    }
#pragma GCC unroll 3
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv * nk; v++) s[i][v] = (vec){0};
    for (int64_t p0 = 0; p0 < whole && !tide_stopped(); p0 += LONG) {
        for (int64_t p = p0; p < TIDE_MIN(p0 + LONG, whole); p += nk) {
#pragma GCC unroll 8
            for (int q = 0; q < nk; q++) STEP(p + q, q)
        }
    }
    for (int64_t p = whole; p < g->k; p++) STEP(p, 0)
#undef STEP
#pragma GCC unroll 3
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            vec sum = s[i][v];
#pragma GCC unroll 8
            for (int q = 1; q < nk; q++) sum += s[i][q * nv + v];
            ((vec *)((REAL *)g->c + i * g->ldc + j))[v] = sum;
        }
}

/* Columns j0..j1-1, at least VL of them; the last ones in a vector that reaches back over columns
 * done before. */
static inline __attribute__((always_inline)) void strips(int mr, int half, const tide_gemm *g,
                                                         int64_t j0, int64_t j1) {
    const int most = mr == 1 ? 8 : 4; /* sums of a row in registers */
    int64_t j = j0;
    for (; j + most * VL <= j1; j += most * VL) strip(mr, most, 1, half, g, j);
    if (mr == 1 && j + 4 * VL <= j1) strip(mr, 4, 2, half, g, j), j += 4 * VL;
    if (j + 2 * VL <= j1) strip(mr, 2, most / 2, half, g, j), j += 2 * VL;
    if (j + VL <= j1) strip(mr, 1, most, half, g, j), j += VL;
    if (j < j1) strip(mr, 1, most, half, g, j1 - VL);
}

/* Fewer columns than a vector has. */
static void sliver(const tide_gemm *g) {
    enum { SUMS = 4 };
    for (int64_t i = 0; i < g->m; i++) {
        const REAL *a = (const REAL *)g->a + i * g->ars, *b = g->b;
        REAL s[SUMS][VL] = {{0}};
        const int n = (int)g->n, nk = n < SUMS ? SUMS : 1;
        const int64_t whole = g->k - g->k % nk;
        for (int64_t p0 = 0; p0 < whole && !tide_stopped(); p0 += LONG)
            for (int64_t p = p0; p < TIDE_MIN(p0 + LONG, whole); p += nk)
                for (int q = 0; q < nk; q++)
                    for (int j = 0; j < n; j++)
                        s[q][j] += a[(p + q) * g->acs] * b[(p + q) * g->brs + j];
        for (int64_t p = whole; p < g->k; p++)
            for (int j = 0; j < n; j++) s[0][j] += a[p * g->acs] * b[p * g->brs + j];
        for (int j = 0; j < n; j++)
            ((REAL *)g->c)[i * g->ldc + j] = (s[0][j] + s[1][j]) + (s[2][j] + s[3][j]);
    }
}

static inline __attribute__((always_inline)) void thin_of(int half, const tide_gemm *g, int64_t j0,
                                                          int64_t j1) {
    switch (g->m) {
    case 1: strips(1, half, g, j0, j1); break;
    case 2: strips(2, half, g, j0, j1); break;
    default: strips(3, half, g, j0, j1); break;
    }
}
static void thin(const tide_gemm *g, int64_t j0, int64_t j1) {
    if (g->n < VL) sliver(g);
    else if (!g->b_half) thin_of(0, g, j0, j1);
#if REAL_IS_FLOAT
    else if (g->b_half == TIDE_F16) thin_of(TIDE_F16, g, j0, j1);
    else thin_of(TIDE_BF16, g, j0, j1);
#endif
}
/* The overlapping vector would add twice; Ctrl-C is heard between blocks, so that a thin product is
 * no longer than a few of them. */
enum { LONGEST = 1 << 19 };
static int is_thin(const tide_gemm *g) {
    return g->m <= 3 && g->bcs == 1 && (g->n >= VL || !g->b_half) && !g->accumulate &&
        g->k <= LONGEST;
}

/* -- one to three rows beside columns of b that lie along k -- */

static inline __attribute__((always_inline)) void some_dots(int mr, int nj, const tide_gemm *g,
                                                            int64_t j) {
    const REAL *a = g->a, *b = (const REAL *)g->b + j * g->bcs;
    const int64_t whole = g->k - g->k % VL;
    vec s[3][8];
#pragma GCC unroll 3
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int q = 0; q < nj; q++) s[i][q] = (vec){0};
    for (int64_t p = 0; p < whole; p += VL) {
#pragma GCC unroll 8
        for (int q = 0; q < nj; q++) {
            const vec y = *(const vec *)(b + q * g->bcs + p);
#pragma GCC unroll 3
            for (int i = 0; i < mr; i++) s[i][q] += *(const vec *)(a + i * g->ars + p) * y;
        }
    }
    for (int i = 0; i < mr; i++)
        for (int q = 0; q < nj; q++) {
            REAL sum = 0, *c = (REAL *)g->c + i * g->ldc + j + q;
            for (int l = 0; l < VL; l++) sum += s[i][q][l];
            for (int64_t p = whole; p < g->k; p++) sum += a[i * g->ars + p] * b[q * g->bcs + p];
            *c = g->accumulate ? *c + sum : sum;
        }
}
static inline __attribute__((always_inline)) void dots_of(int mr, const tide_gemm *g, int64_t j,
                                                          int64_t j1) {
    const int most = mr == 1 ? 8 : 4;
    for (; j + most <= j1; j += most) some_dots(mr, most, g, j);
    for (; j < j1; j++) some_dots(mr, 1, g, j);
}
static void dots(const tide_gemm *g, int64_t j0, int64_t j1) {
    switch (g->m) {
    case 1: dots_of(1, g, j0, j1); break;
    case 2: dots_of(2, g, j0, j1); break;
    default: dots_of(3, g, j0, j1); break;
    }
}
static int is_dotted(const tide_gemm *g) {
    return g->m <= 3 && g->brs == 1 && g->bcs != 1 && g->acs == 1 && !g->b_half && g->k >= 2 * VL &&
        g->k <= LONGEST;
}

/* The product and, for `finish`, what follows on each piece of c while it is in the cache. Pieces
 * depend on sizes alone; a second thread is asked for from some 20 microseconds of work on. */
typedef void (*finish_piece)(const void *arg, const tide_gemm *g, int64_t i0, int64_t i1,
                             int64_t j0, int64_t j1);
static void some_blocks(const tide_gemm *g, int64_t mb, int64_t nb, int64_t lo, int64_t hi,
                        finish_piece finish, const void *arg) {
    int64_t m = g->m, n = g->n, cols = TIDE_CEIL_DIV(n, nb);
    for (int64_t t = lo; t < hi; t++) {
        int64_t i = t / cols * mb, j = t % cols * nb, i1 = TIDE_MIN(i + mb, m),
                j1 = TIDE_MIN(j + nb, n);
        block(g, i, i1, j, j1);
        if (finish) finish(arg, g, i, i1, j, j1);
    }
}

/* The parts of n, some of `least` each: as many as leave none longer than `most`, or twice as many.
 */
static int64_t part_of(int64_t n, int64_t parts, int64_t least) {
    return TIDE_CEIL_DIV(TIDE_CEIL_DIV(n, parts), least) * least;
}

/* Blocks of nearly equal size, an even number of them for two threads. */
static void blocks_of(int64_t m, int64_t n, int small, int64_t *mb, int64_t *nb) {
    int64_t rows = TIDE_CEIL_DIV(m, MB), cols = TIDE_CEIL_DIV(n, NB);
    if (!small && rows * cols % 2) {
        if (n / cols >= m / rows && n >= 2 * NR) cols++;
        else rows++;
    }
    *mb = part_of(m, rows, MR), *nb = part_of(n, cols, NR);
}

static void own_product(const tide_gemm *g, finish_piece finish, const void *arg) {
    int64_t m = g->m, n = g->n;
    double work = (double)m * (double)n * (double)g->k;
    void (*few)(const tide_gemm *, int64_t, int64_t) = is_thin(g) ? thin
        : is_dotted(g)                                            ? dots
                                                                  : NULL;
    if (few) {
        int64_t width =
            work < THIN_SECOND || n < 16 * VL ? n : 8 * VL; /* bound by the reading of b */
        if (width == n) { /* even a region of one thread costs half a microsecond */
            few(g, 0, n);
            if (finish) finish(arg, g, 0, m, 0, n);
            return;
        }
        TIDE_PARALLEL_FOR (n / width, 1) {
            int64_t end = hi == n / width ? n : hi * width;
            few(g, lo * width, end);
            if (finish) finish(arg, g, 0, m, lo * width, end);
        }
        return;
    }
    const int small = work < SECOND_THREAD;
    int64_t mb, nb;
    blocks_of(m, n, small, &mb, &nb);
    int64_t rows = TIDE_CEIL_DIV(m, mb), cols = TIDE_CEIL_DIV(n, nb);
    if (small) {
        some_blocks(g, mb, nb, 0, rows * cols, finish, arg);
        return;
    }
    TIDE_PARALLEL_FOR (rows *cols, 1) { some_blocks(g, mb, nb, lo, hi, finish, arg); }
}

/* Pieces of whole rows, as far as they go: what is read with them lies in one stretch then, and
 * stays in the second cache with them. */
void K(gemm_take)(const tide_gemm *g, K(take_piece) * take, const void *arg) {
    enum { TAKEN = 96 * 1024 / sizeof(REAL) };
    const int64_t nb = TIDE_MIN(TIDE_CEIL_DIV(g->n, NR) * NR, TAKEN / MR / NR * NR),
                  mb = TIDE_MIN(TAKEN / nb / MR * MR, MB), cols = TIDE_CEIL_DIV(g->n, nb);
    TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(g->m, mb) * cols, 1) {
        for (int64_t q = lo; q < hi; q++) {
            _Alignas(64) REAL c[TAKEN];
            const int64_t i = q / cols * mb, j = q % cols * nb, i1 = TIDE_MIN(i + mb, g->m),
                          j1 = TIDE_MIN(j + nb, g->n);
            tide_gemm own = *g;
            own.ldc = nb; /* the block finds its place in c behind those of others */
            own.c = (void *)((uintptr_t)c - (uintptr_t)(i * nb + j) * sizeof(REAL));
            block(&own, i, i1, j, j1);
            take(arg, i, i1, j, j1, c, nb);
        }
    }
}

/* An engine's product in blocks of c, each on one thread: blocks of some 160 microseconds, since
 * each packs its operands anew, and no slimmer than the engines can use. */
#define BLOCK_WORK 8e6
static void cut(const tide_gemm *g, double work, int64_t *mb, int64_t *nb) {
    const int64_t least_rows = work < 4 * BLOCK_WORK ? 16 : 96,
                  least_cols = work < 4 * BLOCK_WORK ? 32 : 128;
    const double pieces = TIDE_MIN(work / BLOCK_WORK, 1024);
    int64_t rows = 1, cols = 1;
    for (double now = 1; now < 2 || now < pieces; now *= 2) {
        const int by_rows = g->m / (2 * rows) >= least_rows,
                  by_cols = g->n / (2 * cols) >= least_cols;
        if (by_rows && (!by_cols || g->m / rows >= g->n / cols)) rows *= 2;
        else if (by_cols) cols *= 2;
        else break;
    }
    *mb = rows == 1 ? g->m : TIDE_CEIL_DIV(TIDE_CEIL_DIV(g->m, rows), 8) * 8;
    *nb = cols == 1 ? g->n : TIDE_CEIL_DIV(TIDE_CEIL_DIV(g->n, cols), 16) * 16;
}

static int served(const tide_gemm *g) {
    double work =
        (double)g->m * (double)g->n * (double)g->k; /* a repeated view may be longer than memory */
    if (!tide_gemm_now || work <= 512 || g->b_half || (OWN_LEADS && tide_own_first)) return 0;
    int (*serve)(const tide_gemm *) = REAL_IS_F32 ? tide_gemm_now->f32 : tide_gemm_now->f64;
    if (!serve) return 0;
    int64_t mb = g->m, nb = g->n, ld;
    int trans;
    if (work >= SECOND_THREAD && g->m > 3) cut(g, work, &mb, &nb);
    if (mb == g->m && nb == g->n) return parts(g, work, serve);
    if (!tide_gemm_layout(g->m, g->k, g->ars, g->acs, &trans, &ld) ||
        !tide_gemm_layout(g->k, g->n, g->brs, g->bcs, &trans, &ld))
        return 0;
    const int64_t cols = TIDE_CEIL_DIV(g->n, nb);
    TIDE_PARALLEL_FOR (TIDE_CEIL_DIV(g->m, mb) * cols, 1) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t i = t / cols * mb, j = t % cols * nb;
            tide_gemm part = *g;
            part.m = TIDE_MIN(mb, g->m - i), part.n = TIDE_MIN(nb, g->n - j);
            part.a = (const REAL *)g->a + i * g->ars;
            part.b = (const REAL *)g->b + j * g->bcs;
            part.c = (REAL *)g->c + i * g->ldc + j;
            if (!parts(&part, (double)part.m * (double)part.n * (double)part.k, serve))
                own_product(&part, NULL, NULL);
        }
    }
    return 1;
}

void K(gemm)(const tide_gemm *g) {
    if (g->m == 0 || g->n == 0) return;
    if (g->k == 0) {
        if (!g->accumulate)
            for (int64_t i = 0; i < g->m; i++)
                memset((REAL *)g->c + i * g->ldc, 0, (size_t)g->n * sizeof(REAL));
        return;
    }
    tide_gemm turned = {.m = 1,
                        .n = g->m,
                        .k = g->k,
                        .a = g->b,
                        .acs = g->brs,
                        .b = g->a,
                        .brs = g->acs,
                        .bcs = g->ars,
                        .c = g->c,
                        .ldc = g->m,
                        .accumulate = g->accumulate};
    const int column = g->n == 1 && g->ldc == 1 && !g->b_half; /* is a row of what is turned */
    if (!served(g)) own_product(column ? &turned : g, NULL, NULL);
}

/* -- a product with bias and activation -- */
typedef struct {
    const REAL *bias;
    int act;
} epilogue;
static void bias_act_piece(const void *arg, const tide_gemm *g, int64_t i0, int64_t i1, int64_t j0,
                           int64_t j1) {
    const epilogue *e = arg;
    if (e->bias || e->act != TIDE_ACTIVATION_linear) K(bias_act_rows)
    (i0, i1, j1 - j0, (REAL *)g->c + j0, g->ldc, e->bias ? e->bias + j0 : NULL, e->act);
}

void K(gemm_act)(const tide_gemm *g, const REAL *bias, int act) {
    if (g->m > 0 && g->n > 1 && g->k > 0 && !served(g)) {
        own_product(g, bias_act_piece, &(epilogue){bias, act});
        return;
    }
    if (g->k == 0 || g->n == 1) K(gemm)(g);
    K(bias_act)(g->m, g->n, g->c, g->ldc, bias, act);
}
