/* Matrix products, and what follows on their results.
 *
 * The product cuts c into blocks of rows and columns; each block walks k in slices, packs a slice
 * of b into panels on the stack and runs a register tile of MR x NR over it. Blocks depend on sizes
 * alone and k is walked in order, so results have equal bits for any number of threads. */
#include "gemm.h"

#include "half.h"

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
    NR = 2 * VL,    /* columns of a tile: two vectors */
    MR = 6,         /* rows: 12 accumulators, 2 loads, 1 broadcast of 16 registers */
    KC = 256,       /* slice of k: a panel of b stays in the first-level cache */
    KA = 64,        /* slice of k where rows of a are brought together */
    MB = 16 * MR,   /* rows of a block */
    NB = 8 * NR,    /* columns of a block */
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
            REAL x = a[i * ars];
            s0[i] += x * b0;
            s1[i] += x * b1;
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

static void tile_rows(int mr, int64_t k, const REAL *a, int64_t ars, int64_t acs, const REAL *b,
                      int64_t ldb, REAL *c, int64_t ldc, int add) {
    switch (mr) {
    case 1: tile(1, k, a, ars, acs, b, ldb, c, ldc, add); break;
    case 2: tile(2, k, a, ars, acs, b, ldb, c, ldc, add); break;
    case 3: tile(3, k, a, ars, acs, b, ldb, c, ldc, add); break;
    case 4: tile(4, k, a, ars, acs, b, ldb, c, ldc, add); break;
    case 5: tile(5, k, a, ars, acs, b, ldb, c, ldc, add); break;
    default: tile(6, k, a, ars, acs, b, ldb, c, ldc, add); break;
    }
}

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

/* k x NR elements of b side by side, zeros beyond column n. */
static void pack(int64_t k, int64_t n, const REAL *b, int64_t brs, int64_t bcs, REAL *panel) {
    if (n == NR && bcs == 1) {
        for (int64_t p = 0; p < k; p++, b += brs, panel += NR) memcpy(panel, b, NR * sizeof(REAL));
    } else if (n == NR && brs == 1) {
        for (int64_t p = 0; p < k; p++, panel += NR)
            for (int64_t j = 0; j < NR; j++) panel[j] = b[p + j * bcs];
    } else {
        for (int64_t p = 0; p < k; p++, panel += NR)
            for (int64_t j = 0; j < NR; j++) panel[j] = j < n ? b[p * brs + j * bcs] : 0;
    }
}

/* Where a's columns lie apart (x^T of a gradient) a slice of the block's rows is brought together
 * first. */
static const REAL *gather_rows(const REAL *a, int64_t acs, int64_t rows, int64_t k, REAL *to) {
    for (int64_t p = 0; p < k; p++) memcpy(to + p * rows, a + p * acs, (size_t)rows * sizeof(REAL));
    return to;
}

static void block(const tide_gemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    _Alignas(64) REAL panel[KC * NR], edge[MR * NR], near[MB * KA];
    const REAL *b = g->b;
    REAL *c = g->c;
    int64_t rows = i1 - i0, tiles = TIDE_CEIL_DIV(rows, MR);
    int direct = rows <= 2 * MR && g->bcs == 1 && !g->b_half; /* few rows do not pay for packing */
    int apart = g->ars == 1 && g->acs > MB && rows <= MB && j1 - j0 > NR; /* read more than once */
    for (int64_t p0 = 0, kc = apart ? KA : KC; p0 < g->k && !tide_stopped(); p0 += kc) {
        int64_t k = TIDE_MIN(kc, g->k - p0), ars = g->ars, acs = g->acs;
        int add = g->accumulate || p0 > 0;
        const REAL *a = (const REAL *)g->a + i0 * ars + p0 * acs;
        if (apart) a = gather_rows(a, acs, rows, k, near), acs = rows;
        for (int64_t j = j0; j < j1; j += NR) {
            int64_t n = TIDE_MIN(NR, j1 - j), ldb = NR;
            const int64_t bj = p0 * g->brs + j * g->bcs;
            const REAL *from = panel;
            if (direct && n == NR) from = b + bj, ldb = g->brs;
            else if (g->b_half)
                pack_halves(g->b_half, k, n, (const uint16_t *)g->b + bj, g->brs, g->bcs, panel);
            else pack(k, n, b + bj, g->brs, g->bcs, panel);
            for (int64_t t = 0, i = 0, next; t < tiles;
                 t++, i = next) { /* tiles of nearly equal height */
                next = rows * (t + 1) / tiles;
                int mr = (int)(next - i);
                REAL *ci = c + (i0 + i) * g->ldc + j;
                if (n == NR) {
                    tile_rows(mr, k, a + i * ars, ars, acs, from, ldb, ci, g->ldc, add);
                } else {
                    tile_rows(mr, k, a + i * ars, ars, acs, from, ldb, edge, NR, 0);
                    for (int r = 0; r < mr; r++)
                        for (int64_t x = 0; x < n; x++)
                            ci[r * g->ldc + x] = edge[r * NR + x] + (add ? ci[r * g->ldc + x] : 0);
                }
            }
        }
    }
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
static int is_thin(const tide_gemm *g) {
    enum { LONGEST = 1 << 19 };
    return g->m <= 3 && g->bcs == 1 && (g->n >= VL || !g->b_half) && !g->accumulate &&
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

static void own_product(const tide_gemm *g, finish_piece finish, const void *arg) {
    int64_t m = g->m, n = g->n;
    double work = (double)m * (double)n * (double)g->k;
    if (is_thin(g)) {
        int64_t width =
            work < THIN_SECOND || n < 16 * VL ? n : 8 * VL; /* bound by the reading of b */
        if (width == n) { /* even a region of one thread costs half a microsecond */
            thin(g, 0, n);
            if (finish) finish(arg, g, 0, m, 0, n);
            return;
        }
        TIDE_PARALLEL_FOR (n / width, 1) {
            int64_t end = hi == n / width ? n : hi * width;
            thin(g, lo * width, end);
            if (finish) finish(arg, g, 0, m, lo * width, end);
        }
        return;
    }
    int small = work < SECOND_THREAD;
    int64_t mb = MB, nb = NB;
    if (!small && m <= MB && n <= NB && n >= 2 * NR)
        nb = TIDE_CEIL_DIV(TIDE_CEIL_DIV(n, 2), NR) * NR;
    if (!small && m > MB && m <= 20 * MB)
        mb = TIDE_CEIL_DIV(TIDE_CEIL_DIV(m, 2 * TIDE_CEIL_DIV(m, 2 * MB)), MR) * MR; /* evenly */
    int64_t rows = TIDE_CEIL_DIV(m, mb), cols = TIDE_CEIL_DIV(n, nb);
    if (small) {
        some_blocks(g, mb, nb, 0, rows * cols, finish, arg);
        return;
    }
    TIDE_PARALLEL_FOR (rows *cols, 1) { some_blocks(g, mb, nb, lo, hi, finish, arg); }
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
    if (!tide_gemm_now || work <= 512 || g->b_half) return 0;
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
    if (!served(g)) own_product(g, NULL, NULL);
}

/* -- activations: each forward above its derivative in terms of what the rule saves -- */
#define SQRT1_2 ((REAL)0.70710678118654752440)
#define ACTIVATIONS(A)                                                    \
    A(relu, t_max(z, 0), y > 0 ? d : 0)                                   \
    A(relu6, t_min(t_max(z, 0), 6), y > 0 && y < 6 ? d : 0)               \
    A(sigmoid, T_SIGMOID(z), d *y *(1 - y))                               \
    A(tanh, T_TANH(z), d *(1 - y * y))                                    \
    A(elu, t_where(z > 0, z, T_EXPM1(z)), d *t_where(y > 0, 1, y + 1))    \
    A(gelu, z *(REAL)0.5 * (1 + FN(erf)(z * SQRT1_2)),                    \
      d *                                                                 \
          ((REAL)0.5 * (1 + FN(erf)(y * SQRT1_2)) +                       \
           y * (REAL)0.39894228040143267794 * T_EXP((REAL)-0.5 * y * y))) \
    A(silu, z *T_SIGMOID(z), d *T_SIGMOID(y) * (1 + y * (1 - T_SIGMOID(y))))

enum { NARROW = 64 }; /* elements that short rows are joined to */

static inline int64_t act_grain(int64_t n, int act) {
    return TIDE_MAX(1, (act >= TIDE_ACTIVATION_sigmoid ? 8192 : 32768) / TIDE_MAX(n, 1));
}

/* Small calls run without a parallel region: even one of a single thread costs more than they do.
 */
static void bias_act_rows(int64_t lo, int64_t hi, int64_t n, REAL *c, int64_t ldc, const REAL *bias,
                          int act) {
    for (int64_t i = lo; i < hi; i++) {
        REAL *restrict y = c + i * ldc;
        switch (act) {
#define A(name, f, df)                        \
    case TIDE_ACTIVATION_##name:              \
        if (bias)                             \
            for (int64_t j = 0; j < n; j++) { \
                REAL z = y[j] + bias[j];      \
                y[j] = f;                     \
            }                                 \
        else                                  \
            for (int64_t j = 0; j < n; j++) { \
                REAL z = y[j];                \
                y[j] = f;                     \
            }                                 \
        break;
            ACTIVATIONS(A)
#undef A
        default:
            for (int64_t j = 0; j < n; j++) y[j] += bias[j];
        }
    }
}
void K(bias_act)(int64_t rows, int64_t n, REAL *c, int64_t ldc, const REAL *bias, int act) {
    if (!bias && act == TIDE_ACTIVATION_linear) return;
    REAL repeated[NARROW];
    if (n > 0 && n <= NARROW / 2 && ldc == n &&
        rows > NARROW) { /* several short rows are one, to fill the vectors */
        const int64_t each = NARROW / n, left = rows % each;
        bias_act_rows(rows - left, rows, n, c, n, bias, act);
        for (int64_t i = 0; bias && i < each * n; i++) repeated[i] = bias[i % n];
        rows /= each, n = ldc = n * each, bias = bias ? repeated : NULL;
    }
    int64_t grain = act_grain(n, act);
    if (rows <= grain) {
        bias_act_rows(0, rows, n, c, ldc, bias, act);
        return;
    }
    TIDE_PARALLEL_FOR (rows, grain) { bias_act_rows(lo, hi, n, c, ldc, bias, act); }
}

static void act_grad_part(int64_t lo, int64_t hi, const REAL *restrict dy, const REAL *restrict y_,
                          int act, REAL *restrict dz) {
    switch (act) {
#define A(name, f, df)                      \
    case TIDE_ACTIVATION_##name:            \
        for (int64_t i = lo; i < hi; i++) { \
            REAL d = dy[i], y = y_[i];      \
            dz[i] = df;                     \
        }                                   \
        break;
        ACTIVATIONS(A)
#undef A
    default: memcpy(dz + lo, dy + lo, (size_t)(hi - lo) * sizeof(REAL));
    }
}
void K(act_grad)(int64_t rows, int64_t n, const REAL *dy, const REAL *y, int act, REAL *dz) {
    int64_t all = rows * n, grain = act_grain(1, act);
    if (all <= grain) {
        act_grad_part(0, all, dy, y, act, dz);
        return;
    }
    TIDE_PARALLEL_FOR (all, grain) { act_grad_part(lo, hi, dy, y, act, dz); }
}

static void colsum_part(int64_t lo, int64_t hi, int64_t n, const REAL *x, REAL *restrict s) {
    memset(s, 0, (size_t)n * sizeof(REAL));
    if (n > 0 && n <= NARROW / 2 && hi - lo >= 4 * NARROW) {
        REAL lane[NARROW] = {0};
        const int64_t each = NARROW / n, wide = each * n;
        for (; lo + each <= hi; lo += each)
            for (int64_t j = 0; j < wide; j++) lane[j] += x[lo * n + j];
        for (int64_t j = 0; j < wide; j++) s[j % n] += lane[j];
    }
    for (int64_t i = lo; i < hi; i++) {
        const REAL *restrict r = x + i * n;
        for (int64_t j = 0; j < n; j++) s[j] += r[j];
    }
}
static void add_parts(int64_t parts, int64_t n, const REAL *work, REAL *out) {
    for (int64_t j = 0; j < n; j++) {
        double s = 0;
        for (int64_t i = 0; i < parts; i++) s += (double)work[i * n + j];
        out[j] = (REAL)s;
    }
}
static REAL *parts_of(tide_device *dev, int64_t rows, int64_t n) { /* a sum per chunk of rows */
    return tide_scratch(dev, (size_t)(TIDE_CEIL_DIV(rows, tide_colsum_rows(n)) * n) * sizeof(REAL));
}
tide_status K(colsum)(tide_device *dev, int64_t rows, int64_t n, const REAL *x, REAL *out) {
    int64_t grain = tide_colsum_rows(n);
    if (rows <= grain) {
        colsum_part(0, rows, n, x, out);
        return TIDE_OK;
    }
    REAL *work = parts_of(dev, rows, n);
    if (!work) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (rows, grain) { colsum_part(lo, hi, n, x, work + chunk * n); }
    add_parts(TIDE_CEIL_DIV(rows, grain), n, work, out);
    return TIDE_OK;
}

/* -- a product with bias and activation -- */
typedef struct {
    const REAL *bias;
    int act;
} epilogue;
static void bias_act_piece(const void *arg, const tide_gemm *g, int64_t i0, int64_t i1, int64_t j0,
                           int64_t j1) {
    const epilogue *e = arg;
    if (e->bias || e->act != TIDE_ACTIVATION_linear)
        bias_act_rows(i0, i1, j1 - j0, (REAL *)g->c + j0, g->ldc, e->bias ? e->bias + j0 : NULL,
                      e->act);
}

void K(gemm_act)(const tide_gemm *g, const REAL *bias, int act) {
    if (g->m > 0 && g->n > 0 && g->k > 0 && !served(g)) {
        own_product(g, bias_act_piece, &(epilogue){bias, act});
        return;
    }
    if (g->k == 0) K(gemm)(g);
    K(bias_act)(g->m, g->n, g->c, g->ldc, bias, act);
}

tide_status K(act_grad_sums)(tide_device *dev, int64_t rows, int64_t n, const REAL *dy,
                             const REAL *y, int act, REAL *dz, REAL *sums) {
    const int64_t grain = tide_colsum_rows(n);
    REAL *work = parts_of(dev, rows, n);
    if (!work) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (rows, grain) { /* the sums read what is still in the cache */
        act_grad_part(lo * n, hi * n, dy, y, act, dz);
        colsum_part(lo, hi, n, dz, work + chunk * n);
    }
    add_parts(TIDE_CEIL_DIV(rows, grain), n, work, sums);
    return TIDE_OK;
}
