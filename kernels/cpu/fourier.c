/* Discrete Fourier transforms of complex and of real numbers: the transforms themselves are in
 * fourier.h. */
#include "fourier.h"

/* -- complex numbers -- */

TIDE_KERNEL(fft_) {
    const tide_fft__attrs *a = c->attrs;
    const tide_along s = tide_along_axis(&c->in[0], a->axis);
    const int rows = s.inner == 1;
    const int64_t outer = rows ? 1 : s.outer, inner = rows ? s.outer : s.inner;
    if (outer * inner == 0) return TIDE_OK;
    lines x = {c->in[0].p, c->in[1].p, s.n * s.inner, rows ? s.n : 1, s.inner}, y = x;
    y.re = c->out[0].p, y.im = c->out[1].p;
    plan *p;
    TIDE_DO(plan_new(c->dev, s.n, inner, &p));
    if (a->inverse) x = turned(x), y = turned(y);
    run(p, x, y, outer, inner, (REAL)a->scale);
    return TIDE_OK;
}

/* -- real numbers: those at even places are the real, those at odd places the imaginary parts of
 * half as many (Sorensen et al. 1987). With Z their transform, w = exp(-2 pi i / n) and h = n / 2,
 * X[k] = E[k] + w^k O[k], X[h - k] = conj(E[k] - w^k O[k]), where E[k] = (Z[k] + conj Z[h - k]) / 2
 * and O[k] = (Z[k] - conj Z[h - k]) / 2i -- */

enum { PAIRS = 4096 }; /* that a thread takes at a time */

typedef struct {
    int64_t n, half, kept, rows; /* half: of an even n, 0 of an odd one */
    REAL ends, inner;            /* factors of frequencies 0 and n / 2, of the others */
    REAL *wr, *wi;
    plan *p;
} reals_of;

static tide_status reals_new(tide_kcall *c, int64_t n, int64_t rows, int twice, double scale,
                             int halved, reals_of *r) {
    *r = (reals_of){.n = n, .half = n % 2 ? 0 : n / 2, .kept = n / 2 + 1, .rows = rows};
    r->ends = (REAL)scale,
    r->inner = (REAL)(twice == halved ? scale
                          : twice     ? 2 * scale
                                      : scale / 2);
    if (r->half) {
        const int64_t m = r->half / 2 + 1;
        r->wr = reals(c->dev, m), r->wi = reals(c->dev, m);
        if (!r->wr || !r->wi) return TIDE_ENOMEM;
        waves(n, m, r->wr, r->wi);
    }
    return plan_new(c->dev, r->half ? r->half : n, rows, &r->p);
}

/* In lanes: of the transform of s lines' pairs, rows 0 to h, in place. `back`: the pairs of the
 * spectrum in rows 0 to h, as they are transformed back: Z[k] = S + i conj(w)^k D, S = X[k] +
 * conj X[h - k], D = X[k] - conj X[h - k]. */
static void unfold(const reals_of *r, pair z, int64_t s) {
    const int64_t h = r->half;
    for (int64_t l = 0; l < s; l++) {
        const REAL even = z.re[l], odd = z.im[l];
        z.re[l] = r->ends * (even + odd), z.re[h * s + l] = r->ends * (even - odd);
        z.im[l] = z.im[h * s + l] = 0;
    }
    for (int64_t k = 1; k <= h / 2; k++) {
        REAL *ar = z.re + k * s, *ai = z.im + k * s, *br = z.re + (h - k) * s,
             *bi = z.im + (h - k) * s;
        const number w = {r->wr[k], r->wi[k]};
        const REAL f = r->inner / 2;
#pragma omp simd
        for (int64_t l = 0; l < s; l++) {
            const REAL er = ar[l] + br[l], ei = ai[l] - bi[l], pr = ai[l] + bi[l],
                       pi = br[l] - ar[l];
            REAL qr, qi;
            TIMES(qr, qi, pr, pi, w);
            ar[l] = f * (er + qr), ai[l] = f * (ei + qi);
            br[l] = f * (er - qr), bi[l] = f * (qi - ei);
        }
    }
}

static void fold(const reals_of *r, pair z, int64_t s) {
    const int64_t h = r->half;
    for (int64_t l = 0; l < s; l++) {
        const REAL first = z.re[l], last = z.re[h * s + l];
        z.re[l] = r->ends * (first + last), z.im[l] = r->ends * (first - last);
    }
    for (int64_t k = 1; k <= h / 2; k++) {
        REAL *ar = z.re + k * s, *ai = z.im + k * s, *br = z.re + (h - k) * s,
             *bi = z.im + (h - k) * s;
        const number w = {r->wr[k], -r->wi[k]};
        const REAL f = r->inner;
#pragma omp simd
        for (int64_t l = 0; l < s; l++) {
            const REAL sr = ar[l] + br[l], si = ai[l] - bi[l], dr = ar[l] - br[l],
                       di = ai[l] + bi[l];
            REAL pr, pi;
            TIMES(pr, pi, dr, di, w);
            ar[l] = f * (sr - pi), ai[l] = f * (si + pr);
            br[l] = f * (sr + pi), bi[l] = f * (pr - si);
        }
    }
}

/* Real lines there or back, LANES at a time in a thread's room. */
static void reals_in_lanes(const reals_of *r, REAL *re, REAL *im, REAL *x, int back) {
    const int64_t n = r->n, h = r->half, kept = r->kept, blocks = TIDE_CEIL_DIV(r->rows, LANES);
    TIDE_PARALLEL_FOR (blocks, TIDE_CEIL_DIV(16384, n * LANES)) {
        const pair room = room_of(r->p, share_->slot, 0), other = room_of(r->p, share_->slot, 1);
        for (int64_t i = lo; i < hi && !tide_stopped(); i++) {
            const int64_t first = i * LANES, s = TIDE_MIN(LANES, r->rows - first);
            REAL *const line = x + first * n, *const xr = re + first * kept,
                        *const xi = im + first * kept;
            const places pairs = {room.re, room.im, s};
            if (!back) {
                load_points(line, n, n, s, h ? pairs : each_of(room.re, s));
                if (!h) memset(room.im, 0, (size_t)(n * s) * sizeof(REAL));
                const pair z = in_room(r->p, s, room, other);
                if (h) unfold(r, z, s);
                else {
                    for (int64_t l = 0; l < s; l++) z.re[l] *= r->ends, z.im[l] = 0;
                    for (int64_t l = s; l < kept * s; l++) z.re[l] *= r->inner, z.im[l] *= r->inner;
                }
                store(xr, kept, 1, kept, s, 1, z.re);
                store(xi, kept, 1, kept, s, 1, z.im);
                continue;
            }
            load(xr, kept, 1, kept, s, room.re);
            load(xi, kept, 1, kept, s, room.im);
            if (h) fold(r, room, s);
            else
                for (int64_t k = 0; k < kept; k++) {
                    const REAL f = k ? r->inner : r->ends;
                    REAL *zr = room.re + k * s, *zi = room.im + k * s;
                    for (int64_t l = 0; l < s; l++) zr[l] *= f, zi[l] *= k ? f : 0;
                    for (int64_t l = 0; k && l < s; l++)
                        room.re[(n - k) * s + l] = zr[l], room.im[(n - k) * s + l] = -zi[l];
                }
            const pair z = exchanged(in_room(r->p, s, exchanged(room), exchanged(other)));
            const places made = {z.re, z.im, s};
            store_points(line, n, n, s, 1, h ? made : each_of(z.re, s));
        }
    }
}

TIDE_KERNEL(rfft_) {
    const tide_rfft__attrs *a = c->attrs;
    const tide_along s = tide_along_axis(&c->in[0], c->in[0].rank - 1);
    REAL *x = c->in[0].p, *re = c->out[0].p, *im = c->out[1].p;
    reals_of r;
    if (s.outer == 0) return TIDE_OK;
    TIDE_DO(reals_new(c, s.n, s.outer, a->twice, a->scale, 0, &r));
    if (in_lanes(r.p)) {
        reals_in_lanes(&r, re, im, x, 0);
        return TIDE_OK;
    }
    const int64_t h = r.half, kept = r.kept;
    if (!h) {
        const int64_t most = TIDE_MAX(1, TIDE_MIN(s.outer, TOGETHER / s.n));
        REAL *tr = reals(c->dev, most * s.n), *ti = reals(c->dev, most * s.n);
        if (!tr || !ti) return TIDE_ENOMEM;
        for (int64_t i = 0; i < s.outer && !tide_stopped(); i += most) {
            const int64_t some = TIDE_MIN(most, s.outer - i);
            run(r.p, (lines){x + i * s.n, NULL, 0, s.n, 1}, (lines){tr, ti, 0, s.n, 1}, 1, some, 1);
            for (int64_t l = 0; l < some; l++)
                for (int64_t k = 0; k < kept; k++) {
                    const REAL f = k ? r.inner : r.ends;
                    re[(i + l) * kept + k] = f * tr[l * s.n + k];
                    im[(i + l) * kept + k] = k ? f * ti[l * s.n + k] : 0;
                }
        }
        return TIDE_OK;
    }
    run(r.p, (lines){x, x + 1, 0, s.n, 2}, (lines){re, im, 0, kept, 1}, 1, s.outer, 1);
    const int64_t pieces = TIDE_CEIL_DIV(h / 2 + 1, PAIRS);
    TIDE_PARALLEL_FOR (s.outer *pieces, TIDE_CEIL_DIV(PAIRS, h)) {
        for (int64_t i = lo; i < hi; i++) {
            REAL *xr = re + i / pieces * kept, *xi = im + i / pieces * kept;
            const int64_t first = i % pieces * PAIRS, end = TIDE_MIN(first + PAIRS, h / 2 + 1);
            if (first == 0) {
                const REAL even = xr[0], odd = xi[0];
                xr[0] = r.ends * (even + odd), xr[h] = r.ends * (even - odd), xi[0] = xi[h] = 0;
            }
#pragma omp simd
            for (int64_t k = TIDE_MAX(first, 1); k < end; k++) {
                const REAL f = r.inner / 2, er = xr[k] + xr[h - k], ei = xi[k] - xi[h - k],
                           pr = xi[k] + xi[h - k], pi = xr[h - k] - xr[k];
                const number w = {r.wr[k], r.wi[k]};
                REAL qr, qi;
                TIMES(qr, qi, pr, pi, w);
                xr[k] = f * (er + qr), xi[k] = f * (ei + qi);
                xr[h - k] = f * (er - qr), xi[h - k] = f * (qi - ei);
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(irfft_) {
    const tide_irfft__attrs *a = c->attrs;
    const tide_along s = tide_along_axis(&c->in[0], c->in[0].rank - 1);
    REAL *re = c->in[0].p, *im = c->in[1].p, *y = c->out[0].p;
    reals_of r;
    if (s.outer == 0) return TIDE_OK;
    TIDE_DO(reals_new(c, a->size, s.outer, a->twice, a->scale, 1, &r));
    if (in_lanes(r.p)) {
        reals_in_lanes(&r, re, im, y, 1);
        return TIDE_OK;
    }
    const int64_t h = r.half, kept = r.kept, n = r.n, points = h ? h : n,
                  most = TIDE_MAX(1, TIDE_MIN(s.outer, TOGETHER / points));
    REAL *tr = reals(c->dev, most * points), *ti = reals(c->dev, most * points);
    if (!tr || !ti) return TIDE_ENOMEM;
    const int64_t pieces = TIDE_CEIL_DIV(kept, PAIRS);
    for (int64_t i = 0; i < s.outer && !tide_stopped(); i += most) {
        const int64_t some = TIDE_MIN(most, s.outer - i);
        TIDE_PARALLEL_FOR (some *pieces, TIDE_CEIL_DIV(PAIRS, points)) {
            for (int64_t l = lo; l < hi; l++) {
                const REAL *xr = re + (i + l / pieces) * kept, *xi = im + (i + l / pieces) * kept;
                REAL *zr = tr + l / pieces * points, *zi = ti + l / pieces * points;
                const int64_t first = l % pieces * PAIRS,
                              end = TIDE_MIN(first + PAIRS, h ? h / 2 + 1 : kept);
                if (first == 0 && h)
                    zr[0] = r.ends * (xr[0] + xr[h]), zi[0] = r.ends * (xr[0] - xr[h]);
                else if (first == 0) zr[0] = r.ends * xr[0], zi[0] = 0;
                const REAL f = r.inner;
                for (int64_t k = TIDE_MAX(first, 1); !h && k < end; k++)
                    zr[k] = zr[n - k] = f * xr[k], zi[k] = f * xi[k], zi[n - k] = -f * xi[k];
                if (!h) continue;
#pragma omp simd
                for (int64_t k = TIDE_MAX(first, 1); k < end; k++) {
                    const REAL sr = xr[k] + xr[h - k], si = xi[k] - xi[h - k],
                               dr = xr[k] - xr[h - k], di = xi[k] + xi[h - k];
                    const number w = {r.wr[k], -r.wi[k]};
                    REAL pr, pi;
                    TIMES(pr, pi, dr, di, w);
                    zr[k] = f * (sr - pi), zi[k] = f * (si + pr);
                    zr[h - k] = f * (sr + pi), zi[h - k] = f * (pr - si);
                }
            }
        }
        const lines z = turned((lines){tr, ti, 0, points, 1});
        if (h) run(r.p, z, turned((lines){y + i * n, y + i * n + 1, 0, n, 2}), 1, some, 1);
        else {
            run(r.p, z, z, 1, some, 1);
            memcpy(y + i * n, tr, (size_t)(some * n) * sizeof(REAL));
        }
    }
    return TIDE_OK;
}
