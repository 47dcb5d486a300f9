/* Discrete Fourier transforms along one axis, of any length.
 *
 * Lines are transformed side by side, LANES of them at a time: every step of the loops below is one
 * vector over neighbouring lines. Short lengths go by Stockham's passes of the factors 4, 2, 3, 5
 * and other small primes; longer ones, and single lines, are cut in two lengths (Bailey 1990);
 * lengths with a larger prime factor become a convolution (Bluestein 1970). Inverse transforms
 * exchange the real and the imaginary parts. A plan owns all work space, so that threads need none.
 */
#ifndef TIDE_FOURIER_H
#define TIDE_FOURIER_H

#include "cpu.h"

enum {
    LANES = 64 / sizeof(REAL),
    DIRECT = 2048, /* points that passes transform at most */
    PRIME = 31,    /* the largest factor of a pass */
    SINGLE = 64,   /* points from which a few lines are cut in two lengths */
    FACTORS = 64,
    TOGETHER = 1 << 18 /* points of lines that are cut in two lengths at a time */
};

/* Where lines lie: line (o, i) begins at o * outer + i * line; its points are `point` apart. */
typedef struct {
    REAL *re, *im; /* im NULL: zeros, of what is read */
    int64_t outer, line, point;
} lines;

static inline lines turned(lines x) { return (lines){x.im, x.re, x.outer, x.line, x.point}; }

typedef struct plan plan;
struct plan {
    enum { PASSES, HALVES, CHIRP } kind;
    int64_t n;
    /* PASSES */
    int count, radix[FACTORS];
    REAL *wr, *wi; /* [n] exp(-2 pi i j / n) */
    char *room;    /* per thread: four times room_points(p) LANES numbers; CHIRP: may be NULL */
    size_t each;
    /* HALVES: n = a->n * b->n; CHIRP: a->n >= 2 n - 1 */
    plan *a, *b;
    int64_t together; /* lines at a time */
    REAL *tr, *ti;    /* [together][n], CHIRP: [together][a->n] */
    double *coarse, *fine;
    int64_t step; /* HALVES: w^k = coarse[k / step] fine[k % step], pairs */
    REAL *lane;   /* [a->n][2][LANES] w^(k l) */
    REAL *cr, *ci, *br,
        *bi; /* CHIRP: [n] exp(-i pi j^2 / n), [a->n] the transform of its inverse */
};

/* -- passes -- */

typedef struct {
    REAL r, i;
} number;
static inline number wave(const plan *p, int64_t k) { return (number){p->wr[k], p->wi[k]}; }

#define TIMES(yr, yi, ar, ai, w) \
    ((yr) = (ar) * (w).r - (ai) * (w).i, (yi) = (ar) * (w).i + (ai) * (w).r)
#define GET(k) ar##k = xr[q + (k)*s * m], ai##k = xi[q + (k)*s * m]
#define PUT(k, re, im, w)                               \
    do {                                                \
        const REAL r_ = (re), i_ = (im);                \
        TIMES(yr[q + (k)*s], yi[q + (k)*s], r_, i_, w); \
    } while (0)
#define EACH_POINT(r) for (int64_t k = 0; k < m; k++, xr += s, xi += s, yr += (r)*s, yi += (r)*s)

#define INLINE static inline __attribute__((always_inline)) void
#define PASS(name)                                                                   \
    INLINE name(const plan *p, int64_t m, int64_t s, int64_t stride, const REAL *xr, \
                const REAL *xi, REAL *yr, REAL *yi)

PASS(pass2) {
    EACH_POINT(2) {
        const number w1 = wave(p, k * stride);
#pragma omp simd
        for (int64_t q = 0; q < s; q++) {
            const REAL GET(0), GET(1);
            yr[q] = ar0 + ar1, yi[q] = ai0 + ai1;
            PUT(1, ar0 - ar1, ai0 - ai1, w1);
        }
    }
}

PASS(pass3) {
    const REAL h = (REAL)0.86602540378443864676;
    EACH_POINT(3) {
        const number w1 = wave(p, k * stride), w2 = wave(p, 2 * k * stride);
#pragma omp simd
        for (int64_t q = 0; q < s; q++) {
            const REAL GET(0), GET(1), GET(2);
            const REAL sr = ar1 + ar2, si = ai1 + ai2, tr = ar0 - sr / 2, ti = ai0 - si / 2,
                       ur = h * (ar1 - ar2), ui = h * (ai1 - ai2);
            yr[q] = ar0 + sr, yi[q] = ai0 + si;
            PUT(1, tr + ui, ti - ur, w1);
            PUT(2, tr - ui, ti + ur, w2);
        }
    }
}

PASS(pass4) {
    EACH_POINT(4) {
        const number w1 = wave(p, k * stride), w2 = wave(p, 2 * k * stride),
                     w3 = wave(p, 3 * k * stride);
#pragma omp simd
        for (int64_t q = 0; q < s; q++) {
            const REAL GET(0), GET(1), GET(2), GET(3);
            const REAL er = ar0 + ar2, ei = ai0 + ai2, fr = ar0 - ar2, fi = ai0 - ai2,
                       gr = ar1 + ar3, gi = ai1 + ai3, hr = ar1 - ar3, hi = ai1 - ai3;
            yr[q] = er + gr, yi[q] = ei + gi;
            PUT(1, fr + hi, fi - hr, w1);
            PUT(2, er - gr, ei - gi, w2);
            PUT(3, fr - hi, fi + hr, w3);
        }
    }
}

PASS(pass5) {
    const REAL c1 = (REAL)0.30901699437494742410, c2 = (REAL)-0.80901699437494742410,
               s1 = (REAL)0.95105651629515357212, s2 = (REAL)0.58778525229247312917;
    EACH_POINT(5) {
        const number w1 = wave(p, k * stride), w2 = wave(p, 2 * k * stride),
                     w3 = wave(p, 3 * k * stride), w4 = wave(p, 4 * k * stride);
#pragma omp simd
        for (int64_t q = 0; q < s; q++) {
            const REAL GET(0), GET(1), GET(2), GET(3), GET(4);
            const REAL er = ar1 + ar4, ei = ai1 + ai4, fr = ar2 + ar3, fi = ai2 + ai3,
                       gr = ar1 - ar4, gi = ai1 - ai4, hr = ar2 - ar3, hi = ai2 - ai3;
            const REAL tr = ar0 + c1 * er + c2 * fr, ti = ai0 + c1 * ei + c2 * fi,
                       ur = ar0 + c2 * er + c1 * fr, ui = ai0 + c2 * ei + c1 * fi,
                       vr = s1 * gr + s2 * hr, vi = s1 * gi + s2 * hi, zr = s2 * gr - s1 * hr,
                       zi = s2 * gi - s1 * hi;
            yr[q] = ar0 + er + fr, yi[q] = ai0 + ei + fi;
            PUT(1, tr + vi, ti - vr, w1);
            PUT(2, ur + zi, ui - zr, w2);
            PUT(3, ur - zi, ui + zr, w3);
            PUT(4, tr - vi, ti + vr, w4);
        }
    }
}

/* Any factor, by its definition. */
static inline void pass_of(const plan *p, int r, int64_t m, int64_t s, int64_t stride,
                           const REAL *xr, const REAL *xi, REAL *yr, REAL *yi) {
    EACH_POINT(r) {
        for (int j = 0; j < r; j++) {
            REAL *restrict to = yr + j * s, *restrict ti = yi + j * s;
            for (int64_t q = 0; q < s; q++) to[q] = xr[q], ti[q] = xi[q];
            for (int l = 1; l < r; l++) {
                const number w = wave(p, j * l % r * (p->n / r));
                const REAL *restrict xs = xr + l * s * m, *restrict ys = xi + l * s * m;
#pragma omp simd
                for (int64_t q = 0; q < s; q++) {
                    to[q] += xs[q] * w.r - ys[q] * w.i;
                    ti[q] += xs[q] * w.i + ys[q] * w.r;
                }
            }
            const number w = wave(p, j * k * stride);
#pragma omp simd
            for (int64_t q = 0; q < s; q++) {
                const REAL re = to[q], im = ti[q];
                TIMES(to[q], ti[q], re, im, w);
            }
        }
    }
}

/* Lines side by side, point by point: [n][s]. */
typedef struct {
    REAL *re, *im;
} pair;
static inline pair exchanged(pair x) { return (pair){x.im, x.re}; }

/* Transforms s lines of n points in x; the result is in the one that is returned of x and y. */
static inline pair passes(const plan *p, int64_t s, pair x, pair y) {
    int64_t n = p->n, side = s;
    for (int i = 0; i < p->count; i++) {
        const int r = p->radix[i];
        const int64_t m = n / r, stride = p->n / n;
#define CALL(f)                                                            \
    do {                                                                   \
        if (side == LANES) f(p, m, LANES, stride, x.re, x.im, y.re, y.im); \
        else f(p, m, side, stride, x.re, x.im, y.re, y.im);                \
    } while (0)
        if (r == 4) CALL(pass4);
        else if (r == 2) CALL(pass2);
        else if (r == 3) CALL(pass3);
        else if (r == 5) CALL(pass5);
        else pass_of(p, r, m, side, stride, x.re, x.im, y.re, y.im);
#undef CALL
        const pair t = x;
        x = y, y = t;
        n = m, side *= r;
    }
    return x;
}

/* Squares of SIDE lines by SIDE points are transposed in registers. */
typedef REAL points_of __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
enum { SIDE = 32 / sizeof(REAL) };
_Static_assert(LANES % SIDE == 0, "lanes are whole squares");

INLINE square(points_of *r) {
#if REAL_IS_FLOAT
    points_of t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            const points_of x = t[i + k], y = t[i + k + 2];
            u[i + 2 * k] = __builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13);
            u[i + 2 * k + 1] = __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
#else
    points_of t[4];
    for (int i = 0; i < 4; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 4, 2, 6);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 5, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 4, 5);
        r[i + 2] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 6, 7);
    }
#endif
}

/* Where points lie whose even ones and odd ones have a place of their own, s lines side by side:
 * point j at (j odd ? odd : even) + j / 2 * step. */
typedef struct {
    REAL *even, *odd;
    int64_t step;
} places;
static inline places each_of(REAL *x, int64_t s) { return (places){x, x + s, 2 * s}; }
static inline REAL *place_of(const places *t, int64_t j) {
    return (j & 1 ? t->odd : t->even) + j / 2 * t->step;
}

/* n points of s lines, which stand one behind the other in a line: to places, and back. */
static inline void load_points(const REAL *x, int64_t line, int64_t n, int64_t s, places to) {
    const int64_t whole = s == LANES ? n - n % SIDE : 0;
    for (int64_t j = 0; j < whole; j += SIDE)
        for (int64_t l = 0; l < LANES; l += SIDE) {
            points_of r[SIDE];
            for (int64_t i = 0; i < SIDE; i++) r[i] = *(const points_of *)(x + (l + i) * line + j);
            square(r);
            for (int64_t i = 0; i < SIDE; i++) *(points_of *)(place_of(&to, j + i) + l) = r[i];
        }
    for (int64_t j = whole; j < n; j++)
        for (int64_t l = 0; l < s; l++) place_of(&to, j)[l] = x[l * line + j];
}
static inline void store_points(REAL *x, int64_t line, int64_t n, int64_t s, REAL scale,
                                places from) {
    const int64_t whole = s == LANES ? n - n % SIDE : 0;
    for (int64_t j = 0; j < whole; j += SIDE)
        for (int64_t l = 0; l < LANES; l += SIDE) {
            points_of r[SIDE];
            for (int64_t i = 0; i < SIDE; i++)
                r[i] = scale * *(const points_of *)(place_of(&from, j + i) + l);
            square(r);
            for (int64_t i = 0; i < SIDE; i++) *(points_of *)(x + (l + i) * line + j) = r[i];
        }
    for (int64_t j = whole; j < n; j++)
        for (int64_t l = 0; l < s; l++) x[l * line + j] = scale * place_of(&from, j)[l];
}

/* n points of s lines, point by point. */
static inline void load(const REAL *x, int64_t line, int64_t point, int64_t n, int64_t s,
                        REAL *to) {
    if (!x) memset(to, 0, (size_t)(n * s) * sizeof(REAL));
    else if (point == 1 && line != 1) load_points(x, line, n, s, each_of(to, s));
    else if (line == 1)
        for (int64_t j = 0; j < n; j++, to += s, x += point)
            for (int64_t l = 0; l < s; l++) to[l] = x[l];
    else
        for (int64_t j = 0; j < n; j++, to += s, x += point)
            for (int64_t l = 0; l < s; l++) to[l] = x[l * line];
}
static inline void store(REAL *x, int64_t line, int64_t point, int64_t n, int64_t s, REAL scale,
                         REAL *from) {
    if (point == 1 && line != 1) store_points(x, line, n, s, scale, each_of(from, s));
    else if (line == 1)
        for (int64_t j = 0; j < n; j++, from += s, x += point)
            for (int64_t l = 0; l < s; l++) x[l] = scale * from[l];
    else
        for (int64_t j = 0; j < n; j++, from += s, x += point)
            for (int64_t l = 0; l < s; l++) x[l * line] = scale * from[l];
}

/* Of lines `first` on of n = a b points, line j of the first step: times w^(j k). */
static inline void turn(const plan *p, int64_t first, int64_t s, REAL *re, REAL *im) {
    for (int64_t k = 0; k < p->a->n; k++) {
        const int64_t at = first * k;
        const double *c = p->coarse + 2 * (at / p->step), *f = p->fine + 2 * (at % p->step);
        const REAL wr = (REAL)(c[0] * f[0] - c[1] * f[1]), wi = (REAL)(c[0] * f[1] + c[1] * f[0]);
        const REAL *lr = p->lane + 2 * LANES * k, *li = lr + LANES;
        REAL *xr = re + k * s, *xi = im + k * s;
        for (int64_t l = 0; l < s; l++) {
            const REAL tr = wr * lr[l] - wi * li[l], ti = wr * li[l] + wi * lr[l], r = xr[l],
                       i = xi[l];
            xr[l] = r * tr - i * ti, xi[l] = r * ti + i * tr;
        }
    }
}

/* Points of a line that a thread's room holds, one more than are transformed: n + 1, of a
 * convolution those of its length. */
static inline int64_t room_points(const plan *p) { return (p->kind == CHIRP ? p->a->n : p->n) + 1; }
/* Whether lines are transformed in a thread's room, LANES at a time. */
static inline int in_lanes(const plan *p) {
    return p->kind == PASSES || (p->kind == CHIRP && p->room);
}
static inline pair room_of(const plan *p, int slot, int which) {
    REAL *room = (REAL *)(void *)(p->room + (size_t)slot * p->each);
    const int64_t size = room_points(p) * LANES;
    return (pair){room + (2 * which) * size, room + (2 * which + 1) * size};
}

/* x times c, element j for all lines of point j; in x. */
static inline void times_each(pair x, const REAL *cr, const REAL *ci, int64_t n, int64_t s) {
    for (int64_t j = 0; j < n; j++) {
        const number w = {cr[j], ci[j]};
        REAL *re = x.re + j * s, *im = x.im + j * s;
#pragma omp simd
        for (int64_t l = 0; l < s; l++) {
            const REAL r = re[l], i = im[l];
            TIMES(re[l], im[l], r, i, w);
        }
    }
}

/* As passes, for what is in_lanes: 2 j k = j^2 + k^2 - (k - j)^2, so that X[k] = c[k] sum of
 * (x[j] c[j]) / c[k - j]. */
static inline pair in_room(const plan *p, int64_t s, pair x, pair y) {
    if (p->kind == PASSES) return passes(p, s, x, y);
    const int64_t n = p->n, m = p->a->n;
    times_each(x, p->cr, p->ci, n, s);
    memset(x.re + n * s, 0, (size_t)((m - n) * s) * sizeof(REAL));
    memset(x.im + n * s, 0, (size_t)((m - n) * s) * sizeof(REAL));
    pair t = passes(p->a, s, x, y);
    times_each(t, p->br, p->bi, m, s);
    t = exchanged(passes(p->a, s, exchanged(t), exchanged(t.re == x.re ? y : x)));
    times_each(t, p->cr, p->ci, n, s);
    return t;
}

/* `halves`: the plan of which this is the first step, NULL for none. */
static inline void by_lanes(const plan *p, const plan *halves, lines x, lines y, int64_t outer,
                            int64_t inner, REAL scale) {
    const int64_t n = p->n, blocks = TIDE_CEIL_DIV(inner, LANES), of = n * LANES;
    TIDE_PARALLEL_FOR (outer *blocks, TIDE_CEIL_DIV(16384, of)) {
        const pair room = room_of(p, share_->slot, 0), other = room_of(p, share_->slot, 1);
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            const int64_t o = i / blocks, first = i % blocks * LANES,
                          s = TIDE_MIN(LANES, inner - first), from = o * x.outer + first * x.line,
                          to = o * y.outer + first * y.line;
            load(x.re + from, x.line, x.point, n, s, room.re);
            load(x.im ? x.im + from : NULL, x.line, x.point, n, s, room.im);
            const pair got = in_room(p, s, room, other);
            if (halves) turn(halves, first, s, got.re, got.im);
            store(y.re + to, y.line, y.point, n, s, scale, got.re);
            store(y.im + to, y.line, y.point, n, s, scale, got.im);
        }
    }
}

/* -- lengths cut in two, and convolutions -- */

static inline void run(const plan *p, lines x, lines y, int64_t outer, int64_t inner, REAL scale);

static inline lines moved(lines x, int64_t o, int64_t i) {
    const int64_t at = o * x.outer + i * x.line;
    x.re += at;
    if (x.im) x.im += at;
    return x;
}

/* Point j = b ja + jb becomes ka + a kb: first over ja, then over jb. */
static inline void by_halves(const plan *p, lines x, lines y, int64_t outer, int64_t inner,
                             REAL scale) {
    const int64_t n = p->n, a = p->a->n, b = p->b->n;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner && !tide_stopped(); i += p->together) {
            const int64_t c = TIDE_MIN(p->together, inner - i);
            lines from = moved(x, o, i), to = moved(y, o, i);
            from.outer = x.line, from.line = x.point, from.point = b * x.point;
            to.outer = y.line, to.line = y.point, to.point = a * y.point;
            by_lanes(p->a, p, from, (lines){p->tr, p->ti, n, 1, b}, c, b, 1);
            run(p->b, (lines){p->tr, p->ti, n, b, 1}, to, c, a, scale);
        }
}

/* As in_room, of few lines or long ones. */
static inline void by_chirp(const plan *p, lines x, lines y, int64_t outer, int64_t inner,
                            REAL scale) {
    enum { PIECE = 8192 };
    const int64_t n = p->n, m = p->a->n, pieces = TIDE_CEIL_DIV(m, PIECE);
    const lines t = {p->tr, p->ti, 0, m, 1};
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner && !tide_stopped(); i += p->together) {
            const int64_t c = TIDE_MIN(p->together, inner - i);
            const lines from = moved(x, o, i), to = moved(y, o, i);
            TIDE_PARALLEL_FOR (c *pieces, 1) {
                for (int64_t k = lo; k < hi; k++) {
                    const int64_t l = k / pieces, first = k % pieces * PIECE,
                                  end = TIDE_MIN(first + PIECE, m), some = TIDE_MIN(end, n);
                    REAL *tr = p->tr + l * m, *ti = p->ti + l * m;
                    for (int64_t j = first; j < some; j++) {
                        const int64_t at = l * x.line + j * x.point;
                        const number w = {p->cr[j], p->ci[j]};
                        TIMES(tr[j], ti[j], from.re[at], from.im ? from.im[at] : 0, w);
                    }
                    for (int64_t j = TIDE_MAX(first, n); j < end; j++) tr[j] = ti[j] = 0;
                }
            }
            run(p->a, t, t, 1, c, 1);
            TIDE_PARALLEL_FOR (c *pieces, 1) {
                for (int64_t k = lo; k < hi; k++) {
                    const int64_t l = k / pieces, first = k % pieces * PIECE,
                                  end = TIDE_MIN(first + PIECE, m);
                    REAL *tr = p->tr + l * m, *ti = p->ti + l * m;
                    for (int64_t j = first; j < end; j++) {
                        const REAL r = tr[j], s = ti[j];
                        const number w = {p->br[j], p->bi[j]};
                        TIMES(tr[j], ti[j], r, s, w);
                    }
                }
            }
            run(p->a, turned(t), turned(t), 1, c, 1);
            TIDE_PARALLEL_FOR (c *pieces, 1) {
                for (int64_t k = lo; k < hi; k++) {
                    const int64_t l = k / pieces, first = k % pieces * PIECE,
                                  end = TIDE_MIN(first + PIECE, n);
                    const REAL *tr = p->tr + l * m, *ti = p->ti + l * m;
                    for (int64_t j = first; j < end; j++) {
                        const int64_t at = l * y.line + j * y.point;
                        const number w = {scale * p->cr[j], scale * p->ci[j]};
                        TIMES(to.re[at], to.im[at], tr[j], ti[j], w);
                    }
                }
            }
        }
}

/* Transforms outer * inner lines; x and y may be the same lines. */
static inline void run(const plan *p, lines x, lines y, int64_t outer, int64_t inner, REAL scale) {
    if (in_lanes(p)) by_lanes(p, NULL, x, y, outer, inner, scale);
    else if (p->kind == HALVES) by_halves(p, x, y, outer, inner, scale);
    else by_chirp(p, x, y, outer, inner, scale);
}

/* -- plans -- */

static inline REAL *reals(tide_device *dev, int64_t n) {
    return tide_scratch(dev, (size_t)TIDE_MAX(n, 1) * sizeof(REAL));
}

/* exp(-2 pi i k / n) for k < m <= n. */
static inline void waves(int64_t n, int64_t m, REAL *re, REAL *im) {
    const double unit = 6.283185307179586476925 / (double)n;
    const int64_t quarter = n % 4 == 0 ? n / 4 : n / 2 + 1, some = TIDE_MIN(m, quarter);
    TIDE_SIMD_IN_BLOCKS(k, some, ) {
        re[k] = (REAL)cos(unit * (double)k), im[k] = (REAL)-sin(unit * (double)k);
    }
    if (n % 4 == 0)
        for (int64_t k = quarter; k < m; k++) re[k] = im[k - quarter], im[k] = -re[k - quarter];
    else
        for (int64_t k = quarter; k < m; k++) re[k] = re[n - k], im[k] = -im[n - k];
}

/* The factors of n that passes know, 4 before 2; what is left of n. */
static inline int64_t factors(int64_t n, int *radix, int *count) {
    *count = 0;
    for (; n % 4 == 0; n /= 4) radix[(*count)++] = 4;
    for (int f = 2; f <= PRIME; f++)
        for (; n % f == 0; n /= f) radix[(*count)++] = f;
    return n;
}

/* The least m >= n whose only factors are 2, 3 and 5. */
static inline int64_t smooth(int64_t n) {
    int64_t best = INT64_MAX;
    for (int64_t five = 1; five < 2 * n; five *= 5)
        for (int64_t three = five; three < 2 * n; three *= 3) {
            int64_t m = three;
            while (m < n) m *= 2;
            best = TIDE_MIN(best, m);
        }
    return best;
}

static inline tide_status plan_new(tide_device *dev, int64_t n, int64_t side, plan **out);

static inline tide_status plan_room(tide_device *dev, plan *p) {
    p->each = (size_t)room_points(p) * 4 * LANES * sizeof(REAL);
    p->room = tide_scratch(dev, (size_t)tide_num_threads() * p->each);
    return p->room ? TIDE_OK : TIDE_ENOMEM;
}

static inline tide_status plan_passes(tide_device *dev, plan *p) {
    p->kind = PASSES;
    p->wr = reals(dev, p->n), p->wi = reals(dev, p->n);
    if (!p->wr || !p->wi) return TIDE_ENOMEM;
    waves(p->n, p->n, p->wr, p->wi);
    return plan_room(dev, p);
}

/* A factor of n near its root that passes can transform. */
static inline int64_t half_of(const plan *p) {
    const double most = TIDE_MIN(sqrt((double)p->n) + 0.5, DIRECT);
    int64_t a = 1;
    for (int i = p->count; i-- > 0;) {
        int r = p->radix[i];
        if ((double)(a * r) > most && r == 4) r = 2;
        if ((double)(a * r) <= most) a *= r;
    }
    return a;
}

static inline tide_status plan_halves(tide_device *dev, plan *p, int64_t side) {
    const int64_t n = p->n, a = half_of(p);
    plan *first = tide_scratch(dev, sizeof *first);
    if (!first) return TIDE_ENOMEM;
    *first = (plan){.n = a};
    factors(a, first->radix, &first->count);
    p->kind = HALVES, p->a = first;
    p->together = TIDE_MAX(1, TIDE_MIN(side, TOGETHER / n));
    p->step = (int64_t)sqrt((double)n) + 1;
    const int64_t coarse = n / p->step + 1;
    p->tr = reals(dev, p->together * n), p->ti = reals(dev, p->together * n);
    p->coarse = tide_scratch(dev, (size_t)coarse * 2 * sizeof(double));
    p->fine = tide_scratch(dev, (size_t)p->step * 2 * sizeof(double));
    p->lane = reals(dev, a * 2 * LANES);
    if (!p->tr || !p->ti || !p->coarse || !p->fine || !p->lane) return TIDE_ENOMEM;
    const double unit = -6.283185307179586476925 / (double)n;
    const int64_t step = p->step;
    double *c = p->coarse, *f = p->fine;
    TIDE_SIMD_IN_BLOCKS(k, coarse, ) {
        const double angle = unit * (double)(k * step);
        c[2 * k] = cos(angle), c[2 * k + 1] = sin(angle);
    }
    TIDE_SIMD_IN_BLOCKS(k, step, ) {
        f[2 * k] = cos(unit * (double)k), f[2 * k + 1] = sin(unit * (double)k);
    }
    for (int64_t k = 0; k < a; k++) {
        REAL *lr = p->lane + 2 * k * LANES, *li = lr + LANES;
        double angle[LANES];
        for (int64_t l = 0; l < LANES; l++) angle[l] = unit * (double)(k * l % n);
#pragma omp simd
        for (int64_t l = 0; l < LANES; l++)
            lr[l] = (REAL)cos(angle[l]), li[l] = (REAL)sin(angle[l]);
    }
    TIDE_DO(plan_passes(dev, first));
    return plan_new(dev, n / a, a, &p->b);
}

static inline tide_status plan_chirp(tide_device *dev, plan *p, int64_t side) {
    const int64_t n = p->n, m = smooth(2 * n - 1);
    p->kind = CHIRP, p->together = TIDE_MAX(1, TIDE_MIN(side, TOGETHER / m));
    TIDE_DO(plan_new(dev, m, p->together, &p->a));
    p->cr = reals(dev, n), p->ci = reals(dev, n), p->br = reals(dev, m), p->bi = reals(dev, m);
    double *angle = tide_scratch(dev, (size_t)n * sizeof *angle);
    if (!p->cr || !p->ci || !p->br || !p->bi || !angle) return TIDE_ENOMEM;
    const double unit = 3.141592653589793238463 / (double)n;
    for (int64_t j = 0, square = 0; j < n; j++) { /* j^2 of 2 n, exactly */
        angle[j] = unit * (double)square;
        square += 2 * j + 1;
        if (square >= 2 * n) square -= 2 * n;
        if (square >= 2 * n) square -= 2 * n;
    }
    TIDE_SIMD_IN_BLOCKS(k, n, ) { p->cr[k] = (REAL)cos(angle[k]), p->ci[k] = (REAL)-sin(angle[k]); }
    for (int64_t j = 0; j < m; j++) {
        const int64_t k = j < n ? j : m - j < n ? m - j : -1;
        p->br[j] = k < 0 ? 0 : p->cr[k], p->bi[j] = k < 0 ? 0 : -p->ci[k];
    }
    const lines b = {p->br, p->bi, 0, m, 1};
    run(p->a, b, b, 1, 1, (REAL)1 / (REAL)m);
    if (p->a->kind == PASSES) return plan_room(dev, p);
    p->tr = reals(dev, p->together * m), p->ti = reals(dev, p->together * m);
    return p->tr && p->ti ? TIDE_OK : TIDE_ENOMEM;
}

/* A plan for n points of lines of which `side` lie side by side, or may be taken together. */
static inline tide_status plan_new(tide_device *dev, int64_t n, int64_t side, plan **out) {
    plan *p = *out = tide_scratch(dev, sizeof *p);
    if (!p) return TIDE_ENOMEM;
    *p = (plan){.n = n};
    if (factors(n, p->radix, &p->count) > 1) return plan_chirp(dev, p, side);
    const int few = side < LANES / 2 && n >= SINGLE;
    return n > DIRECT || few ? plan_halves(dev, p, side) : plan_passes(dev, p);
}

#endif
