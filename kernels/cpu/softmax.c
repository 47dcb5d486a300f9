/* Softmax, log-softmax and sparsemax along any axis.
 *
 * A tensor is (outer, n, inner) around the axis. Along the last axis rows are taken a few thousand
 * elements at a time and the exponentials of all of them computed in one loop, so that ten classes
 * fill the vectors as well as a thousand. */
#include "cpu.h"
#include "rows.h"

/* One row that is longer than what is computed between two looks at Ctrl-C. */
static void long_row(int64_t n, const REAL *x, REAL *y) {
    const REAL m = row_max(n, x);
    exp_less(n, x, m, y);
    const REAL f = 1 / row_total(n, y);
    TIDE_IN_BLOCKS(i, n) y[i] *= f;
}

TIDE_KERNEL(softmax_) {
    const tide_softmax__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    if (!a.outer || !a.n || !a.inner) return TIDE_OK;
    if (a.inner == 1) {
        TIDE_PARALLEL_FOR (a.outer, rows_grain(a)) {
            for (int64_t r = lo; r < hi && a.n > TIDE_LOOK; r++)
                long_row(a.n, x + r * a.n, y + r * a.n);
            for (int64_t r0 = lo; r0 < hi && a.n <= TIDE_LOOK;) {
                const int64_t r1 = TIDE_MIN(hi, r0 + TIDE_MAX(1, PIECE / a.n));
                for (int64_t r = r0; r < r1; r++) {
                    const REAL *xr = x + r * a.n, m = row_max(a.n, xr);
                    for (int64_t i = 0; i < a.n; i++) y[r * a.n + i] = xr[i] - m;
                }
                exp_less((r1 - r0) * a.n, y + r0 * a.n, 0, y + r0 * a.n);
                for (int64_t r = r0; r < r1; r++) {
                    REAL *yr = y + r * a.n, f = 1 / row_total(a.n, yr);
                    for (int64_t i = 0; i < a.n; i++) yr[i] *= f;
                }
                r0 = r1;
            }
        }
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (a.outer *a.tiles, TIDE_MAX(1, PIECE / (a.n * TILE))) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t base = tile_base(a, t), w = tile_width(a, t);
            REAL m[TILE], s[TILE];
            tile_max(a, x + base, w, m);
            for (int64_t l = 0; l < w; l++) s[l] = 0;
            TIDE_IN_BLOCKS(i, a.n) {
                const REAL *xr = x + base + i * a.inner;
                REAL *yr = y + base + i * a.inner;
#pragma omp simd
                for (int64_t l = 0; l < w; l++) {
                    yr[l] = T_EXP(xr[l] - m[l]);
                    s[l] += yr[l];
                }
            }
            for (int64_t l = 0; l < w; l++) s[l] = 1 / s[l];
            TIDE_IN_BLOCKS(i, a.n)
            for (int64_t l = 0; l < w; l++) y[base + i * a.inner + l] *= s[l];
        }
    }
    return TIDE_OK;
}

/* dx = y (dy - sum dy y) */
TIDE_KERNEL(softmax_grad_) { /* dy, y */
    const tide_softmax_grad__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *dy = c->in[0].p, *y = c->in[1].p;
    REAL *dx = c->out[0].p;
    if (!a.outer || !a.n || !a.inner) return TIDE_OK;
    TIDE_PARALLEL_FOR (a.outer *a.tiles, TIDE_MAX(1, 4 * PIECE / (a.n * TIDE_MIN(a.inner, TILE)))) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t base = tile_base(a, t), w = tile_width(a, t);
            if (w == 1 && a.inner == 1) {
                REAL s = 0;
                TIDE_SIMD_IN_BLOCKS(i, a.n, reduction(+ : s)) s += dy[base + i] * y[base + i];
                TIDE_IN_BLOCKS(i, a.n) dx[base + i] = y[base + i] * (dy[base + i] - s);
                continue;
            }
            REAL s[TILE] = {0};
            TIDE_IN_BLOCKS(i, a.n)
            for (int64_t l = 0; l < w; l++)
                s[l] += dy[base + i * a.inner + l] * y[base + i * a.inner + l];
            TIDE_IN_BLOCKS(i, a.n)
            for (int64_t l = 0; l < w; l++) {
                const int64_t k = base + i * a.inner + l;
                dx[k] = y[k] * (dy[k] - s[l]);
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(log_softmax_) {
    const tide_log_softmax__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    if (!a.outer || !a.n || !a.inner) return TIDE_OK;
    if (a.inner == 1) {
        TIDE_PARALLEL_FOR (a.outer, rows_grain(a)) {
            REAL m[PIECE], z[PIECE];
            for (int64_t r0 = lo; r0 < hi; r0 += PIECE) {
                const int64_t r1 = TIDE_MIN(hi, r0 + PIECE);
                rows_lse(a.n, 0, r1 - r0, x + r0 * a.n, m, z);
                for (int64_t r = r0; r < r1; r++) TIDE_IN_BLOCKS(i, a.n)
                y[r * a.n + i] = (x[r * a.n + i] - m[r - r0]) - z[r - r0];
            }
        }
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (a.outer *a.tiles, TIDE_MAX(1, PIECE / (a.n * TILE))) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t base = tile_base(a, t), w = tile_width(a, t);
            REAL m[TILE], z[TILE];
            tile_lse(a, x + base, w, m, z);
            TIDE_IN_BLOCKS(i, a.n)
            for (int64_t l = 0; l < w; l++)
                y[base + i * a.inner + l] = (x[base + i * a.inner + l] - m[l]) - z[l];
        }
    }
    return TIDE_OK;
}

/* dx = dy - exp(y) sum dy */
TIDE_KERNEL(log_softmax_grad_) { /* dy, y */
    const tide_log_softmax_grad__attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *dy = c->in[0].p, *y = c->in[1].p;
    REAL *dx = c->out[0].p;
    if (!a.outer || !a.n || !a.inner) return TIDE_OK;
    TIDE_PARALLEL_FOR (a.outer *a.tiles, TIDE_MAX(1, PIECE / (a.n * TIDE_MIN(a.inner, TILE)))) {
        for (int64_t t = lo; t < hi; t++) {
            const int64_t base = tile_base(a, t), w = tile_width(a, t);
            REAL s[TILE] = {0};
            if (a.inner == 1) {
                s[0] = row_total(a.n, dy + base);
                TIDE_SIMD_IN_BLOCKS(i, a.n, )
                dx[base + i] = dy[base + i] - T_EXP(y[base + i]) * s[0];
                continue;
            }
            TIDE_IN_BLOCKS(i, a.n)
            for (int64_t l = 0; l < w; l++) s[l] += dy[base + i * a.inner + l];
            TIDE_IN_BLOCKS(i, a.n) {
                const int64_t k = base + i * a.inner;
#pragma omp simd
                for (int64_t l = 0; l < w; l++) dx[k + l] = dy[k + l] - T_EXP(y[k + l]) * s[l];
            }
        }
    }
    return TIDE_OK;
}

/* The threshold tau with sum max(x - tau, 0) = 1, by Michelot's iteration: the mean of the support
 * less 1 / its size, until the support no longer shrinks; at most n rounds. */
TIDE_KERNEL(sparsemax) {
    const tide_sparsemax_attrs *at = c->attrs;
    const rows a = rows_around(&c->in[0], at->axis);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    if (!a.n) return TIDE_OK;
    TIDE_PARALLEL_FOR (a.outer *a.inner, TIDE_MAX(1, PIECE / a.n)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t base = r / a.inner * a.n * a.inner + r % a.inner, step = a.inner;
            double tau = -INFINITY;
            for (int64_t size = a.n + 1;;) {
                double sum = 0;
                int64_t k = 0;
                TIDE_IN_BLOCKS(i, a.n) {
                    const double v = (double)x[base + i * step];
                    if (v > tau) sum += v, k++;
                }
                if (k == 0 || k >= size || (a.n > TIDE_LOOK && tide_stopped())) break;
                tau = (sum - 1) / (double)k, size = k;
            }
            TIDE_IN_BLOCKS(i, a.n) {
                const double v = (double)x[base + i * step] - tau;
                y[base + i * step] = (REAL)(v < 0 ? 0 : v);
            }
        }
    }
    return TIDE_OK;
}
