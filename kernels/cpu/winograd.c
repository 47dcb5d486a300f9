/* 3x3 convolutions of stride 1 by Winograd's minimal filtering (Lavin and Gray 2016): F(2x2, 3x3),
 * where 16 products give the four results of a tile for which the plain sum needs 36, and
 * F(4x4, 3x3), where 36 give the sixteen that need 144, for results of images and gradients of x;
 * for those of the kernel F(2x2, 3x3) alone.
 *
 *   y = A' [ (G w G') * (B' x B) ] A    for each 4x4 tile of x, * elementwise and summed over
 * channels dw = G' [ sum over tiles (B' x B) * (A dy A') ] G so each is 16 matrix products between
 * small transforms. Tiles are numbered (image, row, column) and go block by block through buffers
 * that stay in the second-level cache. In F(2x2) only halves and sums occur in the transforms:
 * results differ from the plain sum by a few roundings of the largest values under a tile. F(4x4)
 * interpolates at 0, +-11/16, +-3/2: with these errors are about twice those of the plain sum,
 * where the usual +-1 and +-2 make them 3 to 8 times as large. Blocks and the pieces of dw depend
 * on sizes alone, so results have equal bits for any number of threads.
 */
#include "winograd.h"

#include "../keep.h"
#include "registers.h"

#if REAL_IS_F32 && defined(__AVX2__)

typedef REAL vec __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
enum {
    VL = 8,
    MR = 6, /* rows of a product's register tile: 12 accumulators, 2 loads, 1 broadcast */
    BLOCK_BYTES = 192 << 10,
    PLANE = 64 * 64, /* elements of a plane of the kernel up to which F(4x4) pays */
    PIECES = 16,     /* partial sums of dw */
    PIECE_TILES = 256,
    PIECE_ELEMENTS = 1 << 22,
    GAP = 16, /* keeps the 16 planes of a block apart in the cache's sets */
};
#define INLINE static inline __attribute__((always_inline))
#define AT(p) (*(const vec *)(p))
#define PUT(p) (*(vec *)(p))

/* One side of the tiling: images of h x w positions with `c` channels; tile (i, j) begins at 2i -
 * top, 2j - left. */
typedef struct {
    int64_t h, w, c, top, left;
} side;
typedef struct {
    int64_t tiles, across, per; /* in all, in a row, in an image */
    int64_t block;              /* tiles at once */
    int edge, planes;           /* results along a side of a tile, products of one */
} tiling;

/* Tiles of 4x4 results where they leave less work, and the kernel's planes stay in the cache. */
static int edge_of(const tide_geometry *g, int64_t h, int64_t w) {
    const int64_t small = (h + 1) / 2 * ((w + 1) / 2) * 16,
                  large = (h + 3) / 4 * ((w + 3) / 4) * 36;
    return g->c * g->f <= PLANE && large * 8 <= small * 7 ? 4 : 2;
}

static tiling tiling_of(const tide_geometry *g, int64_t h, int64_t w, int edge) {
    tiling t = {.across = (w + edge - 1) / edge, .edge = edge, .planes = (edge + 2) * (edge + 2)};
    t.per = t.across * ((h + edge - 1) / edge);
    t.tiles = g->n * t.per;
    const int64_t fit = BLOCK_BYTES / (t.planes * (int64_t)sizeof(REAL) * (g->c + g->f));
    t.block = TIDE_MAX(24, fit) / MR * MR;
    t.block = TIDE_MIN(t.block, TIDE_CEIL_DIV(t.tiles, 2 * MR) * MR); /* two threads share few */
    return t;
}

int K(winograd_serves)(const tide_geometry *g) { return tide_winograd_fits(g); }

/* -- transforms -- */

/* A run of tiles that lie side by side: the image, the row of tiles, the first one in it, how many.
 */
typedef struct {
    int64_t n, i, j, count;
} run;
static run run_at(const tiling *t, int64_t k, int64_t end) {
    const int64_t in_image = k % t->per, j = in_image % t->across;
    return (run){k / t->per, in_image / t->across, j, TIDE_MIN(t->across - j, end - k)};
}

/* B' d of one column of pixels: four rows, `step` elements apart from column to column; zeros where
 * there is no column. */
INLINE void column(const REAL *const *rows, const int64_t *steps, int64_t x, int64_t w, vec *to) {
    if (x < 0 || x >= w) {
        to[0] = to[1] = to[2] = to[3] = (vec){0};
        return;
    }
    const vec a = AT(rows[0] + x * steps[0]), b = AT(rows[1] + x * steps[1]),
              d = AT(rows[2] + x * steps[2]), e = AT(rows[3] + x * steps[3]);
    to[0] = a - d, to[1] = b + d, to[2] = d - b, to[3] = b - e;
}

/* B' d B of the 4x4 tiles [t0, t1) of x as planes (tile, channel), `step` elements apart.
 * Neighbours share two columns. */
static void gather(const tiling *t, const side *s, const REAL *x, int64_t t0, int64_t t1,
                   const REAL *zeros, REAL *to, int64_t step) {
    const int64_t C = s->c;
    for (int64_t k = t0; k < t1;) {
        const run r = run_at(t, k, t1);
        const int64_t first = 2 * r.j - s->left;
        for (int64_t l = 0; l < C; l += VL) {
            const REAL *rows[4];
            int64_t steps[4];
            for (int i = 0; i < 4; i++) {
                const int64_t y = 2 * r.i - s->top + i;
                const int in = y >= 0 && y < s->h;
                rows[i] = in ? x + (r.n * s->h + y) * s->w * C + l : zeros;
                steps[i] = in ? C : 0;
            }
            vec a[4], b[4], d[4], e[4];
            column(rows, steps, first, s->w, a);
            column(rows, steps, first + 1, s->w, b);
            REAL *o = to + l;
            for (int64_t j = 0; j < r.count; j++, o += C) {
                column(rows, steps, first + 2 * j + 2, s->w, d);
                column(rows, steps, first + 2 * j + 3, s->w, e);
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    REAL *p = o + 4 * i * step;
                    PUT(p) = a[i] - d[i], PUT(p + step) = b[i] + d[i],
                    PUT(p + 2 * step) = d[i] - b[i], PUT(p + 3 * step) = b[i] - e[i];
                    a[i] = d[i], b[i] = e[i];
                }
            }
        }
        k += r.count, to += r.count * C;
    }
}

INLINE vec not_negative(vec x) { /* NaN stays */
    typedef int32_t bits __attribute__((vector_size(32)));
    return (vec)((bits)x & ~(bits)(x < 0));
}

/* A' m A, then bias and relu: the 2x2 tiles [t0, t1) of y from planes (tile, channel). */
static void results(const tiling *t, const side *s, const REAL *from, int64_t step, int64_t t0,
                    int64_t t1, const REAL *bias, int relu, REAL *y) {
    run r = {0};
    for (int64_t k = t0; k < t1; k++, r.j++, r.count--, from += s->c) {
        if (r.count == 0) r = run_at(t, k, t1);
        REAL *first = y + ((r.n * s->h + 2 * r.i) * s->w + 2 * r.j) * s->c;
        const int right = 2 * r.j + 1 < s->w, below = 2 * r.i + 1 < s->h;
        for (int64_t l = 0; l < s->c; l += VL) {
            vec m[2][4];
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++) {
                const vec a = AT(from + q * step + l), b = AT(from + (4 + q) * step + l),
                          d = AT(from + (8 + q) * step + l);
                m[0][q] = a + b + d, m[1][q] = b - d - AT(from + (12 + q) * step + l);
            }
            const vec add = bias ? AT(bias + l) : (vec){0};
#pragma GCC unroll 2
            for (int a = 0; a < 2; a++) {
                if (a && !below) break;
                vec u = m[a][0] + m[a][1] + m[a][2] + add, v = m[a][1] - m[a][2] - m[a][3] + add;
                if (relu) u = not_negative(u), v = not_negative(v);
                PUT(first + a * s->w * s->c + l) = u;
                if (right) PUT(first + (a * s->w + 1) * s->c + l) = v;
            }
        }
    }
}

/* A d A': the 2x2 tiles [t0, t1) of dy as planes (tile, channel); zeros beyond the borders. */
static void spread(const tiling *t, const side *s, const REAL *dy, int64_t t0, int64_t t1, REAL *to,
                   int64_t step) {
    run r = {0};
    for (int64_t k = t0; k < t1; k++, r.j++, r.count--, to += s->c) {
        if (r.count == 0) r = run_at(t, k, t1);
        const REAL *first = dy + ((r.n * s->h + 2 * r.i) * s->w + 2 * r.j) * s->c;
        const int right = 2 * r.j + 1 < s->w, below = 2 * r.i + 1 < s->h;
        for (int64_t l = 0; l < s->c; l += VL) {
            const REAL *p = first + l, *q = p + s->w * s->c;
            const vec zero = {0}, a = AT(p), b = right ? AT(p + s->c) : zero,
                      d = below ? AT(q) : zero, e = right && below ? AT(q + s->c) : zero;
            const vec left[4] = {a, a + d, a - d, -d}, other[4] = {b, b + e, b - e, -e};
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                REAL *o = to + 4 * i * step + l;
                PUT(o) = left[i], PUT(o + step) = left[i] + other[i],
                PUT(o + 2 * step) = left[i] - other[i], PUT(o + 3 * step) = -other[i];
            }
        }
    }
}

/* G w G' of eight channels' kernels, taps in order; plane i at to + i * step. `turned`: of the
 * kernel turned by 180 degrees, which exchanges the first and the last row and column. */
INLINE void kernel_planes(const vec *w, int turned, REAL *to, int64_t step) {
    vec r[4][3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
        const vec even = (w[j] + w[6 + j]) * (REAL)0.5, odd = w[3 + j] * (REAL)0.5;
        r[0][j] = w[j], r[1][j] = even + odd, r[2][j] = even - odd, r[3][j] = w[6 + j];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const vec even = (r[i][0] + r[i][2]) * (REAL)0.5, odd = r[i][1] * (REAL)0.5;
        REAL *o = to + 4 * (turned && i % 3 == 0 ? 3 - i : i) * step;
        PUT(o + (turned ? 3 * step : 0)) = r[i][0], PUT(o + (turned ? 0 : 3 * step)) = r[i][2];
        PUT(o + step) = even + odd, PUT(o + 2 * step) = even - odd;
    }
}

/* -- the transforms of F(4x4, 3x3) -- */

#define PA ((REAL)0.6875) /* the points: 0, PA, -PA, PB, -PB and infinity */
#define PB ((REAL)1.5)

/* B' d of six elements. */
INLINE void six_of(const vec *d, vec *to) {
    const REAL a2 = PA * PA, b2 = PB * PB;
    const vec e = d[4] - b2 * d[2], f = PA * (d[3] - b2 * d[1]), g = d[4] - a2 * d[2],
              h = PB * (d[3] - a2 * d[1]);
    to[0] = a2 * b2 * d[0] - (a2 + b2) * d[2] + d[4];
    to[1] = e + f, to[2] = e - f, to[3] = g + h, to[4] = g - h;
    to[5] = a2 * b2 * d[1] - (a2 + b2) * d[3] + d[5];
}
/* A' m of six elements. */
INLINE void four_of(const vec *m, vec *to) {
    const vec s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
    to[0] = m[0] + s + t, to[1] = PA * d + PB * e;
    to[2] = (PA * PA) * s + (PB * PB) * t;
    to[3] = (PA * PA * PA) * d + (PB * PB * PB) * e + m[5];
}
/* G w of three elements. */
INLINE void six_of_kernel(vec w0, vec w1, vec w2, vec *to) {
    const REAL a2 = PA * PA, b2 = PB * PB, na = 1 / (2 * a2 * (a2 - b2)),
               nb = 1 / (2 * b2 * (b2 - a2));
    const vec e = na * (w0 + a2 * w2), f = (na * PA) * w1, g = nb * (w0 + b2 * w2),
              h = (nb * PB) * w1;
    to[0] = w0 * (1 / (a2 * b2)), to[1] = e + f, to[2] = e - f, to[3] = g + h, to[4] = g - h,
    to[5] = w2;
}

/* B' d B of the 6x6 tiles [t0, t1) of x, as gather(). */
static void gather6(const tiling *t, const side *s, const REAL *x, int64_t t0, int64_t t1,
                    const REAL *zeros, REAL *to, int64_t step) {
    const int64_t C = s->c;
    for (int64_t k = t0; k < t1;) {
        const run r = run_at(t, k, t1);
        for (int64_t l = 0; l < C; l += VL) {
            const REAL *rows[6];
            int64_t steps[6];
            for (int i = 0; i < 6; i++) {
                const int64_t y = 4 * r.i - s->top + i;
                const int in = y >= 0 && y < s->h;
                rows[i] = in ? x + (r.n * s->h + y) * s->w * C + l : zeros;
                steps[i] = in ? C : 0;
            }
            vec columns[6][6];
            REAL *o = to + l;
            for (int64_t j = 0; j < r.count; j++, o += C) {
                const int64_t first = 4 * (r.j + j) - s->left;
                const int known = j > 0 ? 2 : 0; /* neighbours share two columns */
                for (int c = 0; c < known; c++)
                    for (int i = 0; i < 6; i++) columns[c][i] = columns[c + 4][i];
                for (int c = known; c < 6; c++) {
                    const int64_t at = first + c;
                    vec d[6];
                    for (int i = 0; i < 6; i++)
                        d[i] = at >= 0 && at < s->w ? AT(rows[i] + at * steps[i]) : (vec){0};
                    six_of(d, columns[c]);
                }
                for (int i = 0; i < 6; i++) {
                    const vec d[6] = {columns[0][i], columns[1][i], columns[2][i],
                                      columns[3][i], columns[4][i], columns[5][i]};
                    vec v[6];
                    six_of(d, v);
                    for (int c = 0; c < 6; c++) PUT(o + (6 * i + c) * step) = v[c];
                }
            }
        }
        k += r.count, to += r.count * C;
    }
}

/* A' m A, then bias and relu, of 4x4 tiles, as results(). */
static void results4(const tiling *t, const side *s, const REAL *from, int64_t step, int64_t t0,
                     int64_t t1, const REAL *bias, int relu, REAL *y) {
    run r = {0};
    for (int64_t k = t0; k < t1; k++, r.j++, r.count--, from += s->c) {
        if (r.count == 0) r = run_at(t, k, t1);
        REAL *first = y + ((r.n * s->h + 4 * r.i) * s->w + 4 * r.j) * s->c;
        const int64_t right = TIDE_MIN(4, s->w - 4 * r.j), below = TIDE_MIN(4, s->h - 4 * r.i);
        for (int64_t l = 0; l < s->c; l += VL) {
            vec columns[6][4];
            for (int q = 0; q < 6; q++) {
                vec m[6];
                for (int i = 0; i < 6; i++) m[i] = AT(from + (6 * i + q) * step + l);
                four_of(m, columns[q]);
            }
            const vec add = bias ? AT(bias + l) : (vec){0};
            for (int64_t a = 0; a < below; a++) {
                const vec m[6] = {columns[0][a], columns[1][a], columns[2][a],
                                  columns[3][a], columns[4][a], columns[5][a]};
                vec v[4];
                four_of(m, v);
                for (int64_t b = 0; b < right; b++) {
                    const vec u = v[b] + add;
                    PUT(first + (a * s->w + b) * s->c + l) = relu ? not_negative(u) : u;
                }
            }
        }
    }
}

/* G w G' of eight channels' kernels, taps in order. */
INLINE void kernel_planes6(const vec *w, REAL *to, int64_t step) {
    vec columns[3][6];
    for (int j = 0; j < 3; j++) six_of_kernel(w[j], w[3 + j], w[6 + j], columns[j]);
    for (int i = 0; i < 6; i++) {
        vec v[6];
        six_of_kernel(columns[0][i], columns[1][i], columns[2][i], v);
        for (int j = 0; j < 6; j++) PUT(to + (6 * i + j) * step) = v[j];
    }
}

/* Planes (C, F), or with `turned` (F, C). */
static void kernels(const tide_geometry *g, int edge, const REAL *w, int turned, REAL *to) {
    const int64_t C = g->c, F = g->f, size = C * F;
    TIDE_PARALLEL_FOR (C / VL, TIDE_MAX(1, 2048 / F)) {
        for (int64_t c = lo * VL; c < hi * VL; c++)
            for (int64_t f = 0; f < F && !turned; f += VL) {
                vec k[9];
                for (int i = 0; i < 9; i++) k[i] = AT(w + i * size + c * F + f);
                if (edge == 4) kernel_planes6(k, to + c * F + f, size);
                else kernel_planes(k, 0, to + c * F + f, size);
            }
        for (int64_t c = lo * VL; c < hi * VL && turned; c += VL)
            for (int64_t f = 0; f < F; f++) {
                vec k[9];
                for (int i = 0; i < 9; i++) {
                    const REAL *p = w + i * size + c * F + f;
                    k[edge == 4 ? 8 - i : i] = (vec){p[0],     p[F],     p[2 * F], p[3 * F],
                                                     p[4 * F], p[5 * F], p[6 * F], p[7 * F]};
                }
                if (edge == 4) kernel_planes6(k, to + f * C + c, size);
                else kernel_planes(k, 1, to + f * C + c, size);
            }
    }
}

/* -- products -- */

/* Vectors of a product: as wide as the level's registers where the columns fill them. */
#if defined(__AVX512F__)
enum { WL = 16, ROWS = 2 * MR }; /* 24 accumulators, 2 loads, 1 broadcast of 32 registers */
#else
enum { WL = VL, ROWS = MR };
#endif
typedef REAL wide __attribute__((vector_size(WL * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
#define WIDE_AT(p) (*(const wide *)(p))
#define WIDE_PUT(p) (*(wide *)(p))

/* `rows` rows of c (., n) = a (., k) b (k, n), `vecs` vectors of columns. */
#define ROWS_TIMES(name, vector, length)                                                         \
    INLINE void name(int rows, int vecs, int64_t k, const REAL *a, const REAL *b, int64_t n,     \
                     REAL *c) {                                                                  \
        vector s[ROWS][2];                                                                       \
        _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) s[i][0] = s[i][1] = (vector){0}; \
        for (int64_t p = 0; p < k; p++, b += n) {                                                \
            const vector b0 = *(const vector *)b,                                                \
                         b1 = vecs > 1 ? *(const vector *)(b + length) : (vector){0};            \
            _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) {                            \
                const vector x = a[i * k + p] - (vector){0};                                     \
                TIDE_ADD_PRODUCT(s[i][0], x, b0);                                                \
                if (vecs > 1) TIDE_ADD_PRODUCT(s[i][1], x, b1);                                  \
            }                                                                                    \
        }                                                                                        \
        _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) {                                \
            *(vector *)(c + i * n) = s[i][0];                                                    \
            if (vecs > 1) *(vector *)(c + i * n + length) = s[i][1];                             \
        }                                                                                        \
    }
ROWS_TIMES(rows_times, wide, WL)
#if defined(__AVX512F__)
ROWS_TIMES(narrow_times, vec, VL)
#else
#define narrow_times rows_times
#endif

INLINE void band_times(int rows, int64_t k, int64_t n, const REAL *a, const REAL *b, REAL *c) {
    int64_t j = 0;
    for (; j + 2 * WL <= n; j += 2 * WL) rows_times(rows, 2, k, a, b + j, n, c + j);
    for (; j + WL <= n; j += WL) rows_times(rows, 1, k, a, b + j, n, c + j);
    if (j < n) narrow_times(rows, 1, k, a, b + j, n, c + j);
}

/* c (m, n) = a (m, k) b (k, n); m is a multiple of MR, n of VL. */
static void product(int64_t m, int64_t k, int64_t n, const REAL *a, const REAL *b, REAL *c) {
    int64_t i = 0;
    for (; i + ROWS <= m; i += ROWS) band_times(ROWS, k, n, a + i * k, b, c + i * n);
    if (i < m) band_times(MR, k, n, a + i * k, b, c + i * n);
}

/* `rows` rows of c (., n) += columns of a (t, k) times b (t, n). */
#define COLUMNS_TIMES(name, vector, length)                                                      \
    INLINE void name(int rows, int vecs, int64_t t, const REAL *a, int64_t k, const REAL *b,     \
                     int64_t n, REAL *c) {                                                       \
        vector s[ROWS][2];                                                                       \
        _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) s[i][0] = s[i][1] = (vector){0}; \
        for (int64_t p = 0; p < t; p++, a += k, b += n) {                                        \
            const vector b0 = *(const vector *)b,                                                \
                         b1 = vecs > 1 ? *(const vector *)(b + length) : (vector){0};            \
            _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) {                            \
                const vector x = a[i] - (vector){0};                                             \
                TIDE_ADD_PRODUCT(s[i][0], x, b0);                                                \
                if (vecs > 1) TIDE_ADD_PRODUCT(s[i][1], x, b1);                                  \
            }                                                                                    \
        }                                                                                        \
        _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++) {                                \
            *(vector *)(c + i * n) += s[i][0];                                                   \
            if (vecs > 1) *(vector *)(c + i * n + length) += s[i][1];                            \
        }                                                                                        \
    }
COLUMNS_TIMES(columns_times, wide, WL)
#if defined(__AVX512F__)
COLUMNS_TIMES(narrow_columns, vec, VL)
#else
#define narrow_columns columns_times
#endif

INLINE void band_added(int rows, int64_t t, const REAL *a, int64_t k, const REAL *b, int64_t n,
                       REAL *c) {
    int64_t j = 0;
    for (; j + 2 * WL <= n; j += 2 * WL) columns_times(rows, 2, t, a, k, b + j, n, c + j);
    for (; j + WL <= n; j += WL) columns_times(rows, 1, t, a, k, b + j, n, c + j);
    if (j < n) narrow_columns(rows, 1, t, a, k, b + j, n, c + j);
}

/* c (k, n) += a (t, k)' b (t, n); k and n are multiples of VL: rows go by as many as the registers
 * hold, then by eight or by six and four. */
static void add_products(int64_t t, const REAL *a, int64_t k, const REAL *b, int64_t n, REAL *c) {
    for (int64_t i = 0, left; (left = k - i) > 0;) {
        const REAL *x = a + i;
        REAL *to = c + i * n;
        if (ROWS == 12 && (left % 12 == 0 || left > 16)) band_added(12, t, x, k, b, n, to), i += 12;
        else if (ROWS == 12) band_added(8, t, x, k, b, n, to), i += 8;
        else if (left % 6 && (left == 4 || left == 8)) band_added(4, t, x, k, b, n, to), i += 4;
        else band_added(6, t, x, k, b, n, to), i += 6;
    }
}

/* -- the convolution and its gradients -- */

/* `u`: the kernel's planes, or NULL: made here from `w`. */
static tide_status convolve(tide_device *dev, const tide_geometry *g, const side *in,
                            const side *out, const REAL *x, const REAL *u, const REAL *w,
                            int turned, const REAL *bias, int relu, REAL *y) {
    const tiling t = tiling_of(g, out->h, out->w, edge_of(g, out->h, out->w));
    const int64_t size = g->c * g->f, vstep = t.block * in->c + GAP, mstep = t.block * out->c + GAP;
    REAL *zeros = tide_scratch(dev, (size_t)in->c * sizeof *zeros),
         *made = u ? NULL : tide_scratch(dev, (size_t)(t.planes * size) * sizeof *made);
    tide_lanes lanes;
    if (!zeros || (!u && !made)) return TIDE_ENOMEM;
    TIDE_DO(tide_lanes_new(dev, t.tiles, t.block,
                           (size_t)(t.planes * (vstep + mstep)) * sizeof(REAL), &lanes));
    memset(zeros, 0, (size_t)in->c * sizeof(REAL));
    if (!u) kernels(g, t.edge, w, turned, made), u = made;
    TIDE_PARALLEL_FOR (t.tiles, t.block) {
        REAL *v = tide_lane(&lanes, share_->slot), *m = v + t.planes * vstep;
        const int64_t rows = TIDE_CEIL_DIV(hi - lo, MR) * MR;
        (t.edge == 4 ? gather6 : gather)(&t, in, x, lo, hi, zeros, v, vstep);
        for (int i = 0; i < t.planes; i++)
            product(rows, in->c, out->c, v + i * vstep, u + i * size, m + i * mstep);
        (t.edge == 4 ? results4 : results)(&t, out, m, mstep, lo, hi, bias, relu, y);
    }
    return TIDE_OK;
}

tide_status K(winograd)(tide_device *dev, const tide_geometry *g, const REAL *x, const tide_buf *w,
                        const REAL *bias, int relu, REAL *y) {
    static const char forms[2][16] = {"winograd 2x2", "winograd 4x4"};
    const side in = {g->in[1], g->in[2], g->c, g->lo[1], g->lo[2]},
               out = {g->out[1], g->out[2], g->f, 0, 0};
    const int edge = edge_of(g, out.h, out.w), planes = (edge + 2) * (edge + 2);
    tide_kept *kept = tide_keep(dev, w, forms[edge == 4], sizeof forms[0],
                                (size_t)(planes * g->c * g->f) * sizeof(REAL));
    if (kept && kept->version != w->version) {
        kernels(g, edge, w->p, 0, kept->data);
        if (!tide_stopped()) kept->version = w->version;
    }
    const REAL *u = kept ? kept->data : NULL;
    const tide_status s = convolve(dev, g, &in, &out, x, u, w->p, 0, bias, relu, y);
    tide_keep_done(kept);
    return s;
}

tide_status K(winograd_grad_x)(tide_device *dev, const tide_geometry *g, const REAL *dy,
                               const REAL *w, REAL *dx) {
    const side in = {g->out[1], g->out[2], g->f, 2 - g->lo[1], 2 - g->lo[2]},
               out = {g->in[1], g->in[2], g->c, 0, 0};
    return convolve(dev, g, &in, &out, dy, NULL, w, 1, NULL, 0, dx);
}

/* G' (sum of the pieces) G for rows of C. */
static void join(const tide_geometry *g, const REAL *part, int64_t pieces, REAL *dw) {
    const int64_t F = g->f, size = g->c * F;
    TIDE_PARALLEL_FOR (g->c, TIDE_MAX(1, 4096 / F)) {
        for (int64_t at = lo * F; at < hi * F; at += VL) {
            vec m[4][4], r[3][4];
            for (int i = 0; i < 16; i++) {
                vec s = AT(part + i * size + at);
                for (int64_t p = 1; p < pieces; p++) s += AT(part + (16 * p + i) * size + at);
                m[i / 4][i % 4] = s;
            }
            for (int j = 0; j < 4; j++) {
                const vec even = (m[1][j] + m[2][j]) * (REAL)0.5;
                r[0][j] = m[0][j] + even, r[1][j] = (m[1][j] - m[2][j]) * (REAL)0.5,
                r[2][j] = even + m[3][j];
            }
            for (int i = 0; i < 3; i++) {
                const vec even = (r[i][1] + r[i][2]) * (REAL)0.5;
                REAL *o = dw + 3 * i * size + at;
                PUT(o) = r[i][0] + even, PUT(o + size) = (r[i][1] - r[i][2]) * (REAL)0.5,
                PUT(o + 2 * size) = even + r[i][3];
            }
        }
    }
}

tide_status K(winograd_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                    const REAL *dy, REAL *dw) {
    const side in = {g->in[1], g->in[2], g->c, g->lo[1], g->lo[2]},
               out = {g->out[1], g->out[2], g->f, 0, 0};
    const tiling t = tiling_of(g, out.h, out.w, 2);
    const int64_t size = g->c * g->f, vstep = t.block * in.c + GAP, dstep = t.block * out.c + GAP;
    int64_t pieces = TIDE_MIN(PIECES, PIECE_ELEMENTS / (16 * size)),
            piece = TIDE_MAX(PIECE_TILES, TIDE_CEIL_DIV(t.tiles, pieces));
    pieces = TIDE_CEIL_DIV(t.tiles, piece);
    REAL *part = tide_scratch(dev, (size_t)(16 * size * pieces) * sizeof *part),
         *zeros = tide_scratch(dev, (size_t)in.c * sizeof *zeros);
    tide_lanes lanes;
    if (!part || !zeros) return TIDE_ENOMEM;
    TIDE_DO(
        tide_lanes_new(dev, t.tiles, piece, (size_t)(16 * (vstep + dstep)) * sizeof(REAL), &lanes));
    memset(zeros, 0, (size_t)in.c * sizeof(REAL));
    TIDE_PARALLEL_FOR (t.tiles, piece) {
        REAL *v = tide_lane(&lanes, share_->slot), *d = v + 16 * vstep,
             *sum = part + chunk * 16 * size;
        memset(sum, 0, (size_t)(16 * size) * sizeof(REAL));
        for (int64_t t0 = lo; t0 < hi && !tide_stopped(); t0 += t.block) {
            const int64_t t1 = TIDE_MIN(t0 + t.block, hi);
            gather(&t, &in, x, t0, t1, zeros, v, vstep);
            spread(&t, &out, dy, t0, t1, d, dstep);
            for (int i = 0; i < 16; i++)
                add_products(t1 - t0, v + i * vstep, in.c, d + i * dstep, out.c, sum + i * size);
        }
    }
    join(g, part, pieces, dw);
    return TIDE_OK;
}

#else /* double, and levels without fused multiply-add: the plain sums, which the others are \
         compared with */

int K(winograd_serves)(const tide_geometry *g) { return (void)g, 0; }
tide_status K(winograd)(tide_device *dev, const tide_geometry *g, const REAL *x, const tide_buf *w,
                        const REAL *bias, int relu, REAL *y) {
    return (void)dev, (void)g, (void)x, (void)w, (void)bias, (void)relu, (void)y, TIDE_DECLINE;
}
tide_status K(winograd_grad_x)(tide_device *dev, const tide_geometry *g, const REAL *dy,
                               const REAL *w, REAL *dx) {
    return (void)dev, (void)g, (void)dy, (void)w, (void)dx, TIDE_DECLINE;
}
tide_status K(winograd_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                    const REAL *dy, REAL *dw) {
    return (void)dev, (void)g, (void)x, (void)dy, (void)dw, TIDE_DECLINE;
}

#endif
