/* Walking a contiguous tensor as (outer, n, inner) around an axis: helpers of softmax.c and loss.c.
 */
#ifndef TIDE_ROWS_H
#define TIDE_ROWS_H

#include "cpu.h"

enum {
    PIECE = 4096,
    TILE = 64
}; /* elements handled at once along the last axis; columns at once along others */

typedef struct {
    int64_t outer, n, inner, tiles;
} rows;
static inline rows rows_around(const tide_buf *x, int64_t axis) {
    rows a = {1, x->shape[axis], 1, 0};
    for (int i = 0; i < axis; i++) a.outer *= x->shape[i];
    for (int i = (int)axis + 1; i < x->rank; i++) a.inner *= x->shape[i];
    a.tiles = TIDE_CEIL_DIV(a.inner, TILE);
    return a;
}
static inline int64_t rows_grain(rows a) { return TIDE_MAX(1, PIECE / a.n); }
static inline int64_t tile_base(rows a, int64_t t) {
    return t / a.tiles * a.n * a.inner + t % a.tiles * TILE;
}
static inline int64_t tile_width(rows a, int64_t t) {
    return TIDE_MIN(TILE, a.inner - t % a.tiles * TILE);
}

#ifdef REAL
/* y = exp(x - base); y may be x. libm's exp of vectors takes what a mask hides (-inf, -1e9) number
 * by number. */
static inline void exp_less(int64_t n, const REAL *x, REAL base, REAL *y) {
    TIDE_BLOCKS_(n) {
#ifdef TIDE_EIGHTS
        int64_t i = from_;
        for (; i + 8 <= to_; i += 8) tide_f8_store(y + i, tide_exp8(tide_f8_load(x + i) - base));
        if (i < to_) {
            REAL last[8] = {0};
            const size_t rest = (size_t)(to_ - i) * sizeof *last;
            memcpy(last, x + i, rest);
            tide_f8_store(last, tide_exp8(tide_f8_load(last) - base));
            memcpy(y + i, last, rest);
        }
#else
#pragma omp simd
        for (int64_t i = from_; i < to_; i++) y[i] = T_EXP(x[i] - base);
#endif
    }
}
/* The largest element, NaN if there is one; 0 where every element is -inf, so that log(sum(exp)) is
 * -inf. */
static inline REAL row_max(int64_t n, const REAL *x) {
    REAL m = x[0];
    int nan = 0;
    TIDE_SIMD_IN_BLOCKS(i, n, reduction(max : m) reduction(| : nan)) {
        m = x[i] > m ? x[i] : m;
        nan |= x[i] != x[i];
    }
    return nan ? (REAL)NAN : m == -(REAL)INFINITY ? 0 : m;
}
static inline REAL row_total(int64_t n, const REAL *x) {
    double total = 0;
    for (int64_t i0 = 0; i0 < n && tide_look_at(i0); i0 += 1024) {
        REAL s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = i0; i < TIDE_MIN(i0 + 1024, n); i++) s += x[i];
        total += (double)s;
    }
    return (REAL)total;
}

/* log(sum(exp(x[r]))) = m[r] + z[r] for rows lo..hi of x, m[r] the largest element: apart, since z
 * would lose its digits beside a large m. */
static inline void rows_lse(int64_t n, int64_t lo, int64_t hi, const REAL *x, REAL *m, REAL *z) {
    REAL e[PIECE];
    const int64_t step = TIDE_MAX(1, PIECE / n);
    for (int64_t r0 = lo; r0 < hi; r0 += step) {
        const int64_t r1 = TIDE_MIN(hi, r0 + step);
        if (n > PIECE) {
            const REAL *xr = x + r0 * n, top = m[r0] = row_max(n, xr);
            double total = 0;
            for (int64_t i0 = 0; i0 < n && tide_look_at(i0); i0 += PIECE) {
                const int64_t w = TIDE_MIN(PIECE, n - i0);
                exp_less(w, xr + i0, top, e);
                total += (double)row_total(w, e);
            }
            z[r0] = (REAL)log(total);
            continue;
        }
        for (int64_t r = r0; r < r1; r++) {
            const REAL *xr = x + r * n, top = m[r] = row_max(n, xr);
            for (int64_t i = 0; i < n; i++) e[(r - r0) * n + i] = xr[i] - top;
        }
        exp_less((r1 - r0) * n, e, 0, e);
        for (int64_t r = r0; r < r1; r++) z[r] = T_LOG(row_total(n, e + (r - r0) * n));
    }
}

static inline void tile_max(rows a, const REAL *x, int64_t w, REAL *m) {
    for (int64_t l = 0; l < w; l++) m[l] = x[l];
    TIDE_IN_BLOCKS(i, a.n)
    for (int64_t l = 0; l < w; l++) m[l] = t_max(x[i * a.inner + l], m[l]);
    for (int64_t l = 0; l < w; l++) m[l] = m[l] == -(REAL)INFINITY ? 0 : m[l];
}
/* log(sum(exp(x[:, l]))) = m[l] + z[l] */
static inline void tile_lse(rows a, const REAL *x, int64_t w, REAL *m, REAL *z) {
    REAL s[TILE] = {0};
    tile_max(a, x, w, m);
    TIDE_IN_BLOCKS(i, a.n) {
#pragma omp simd
        for (int64_t l = 0; l < w; l++) s[l] += T_EXP(x[i * a.inner + l] - m[l]);
    }
    for (int64_t l = 0; l < w; l++) z[l] = T_LOG(s[l]);
}
#endif
#endif
