/* Spectra in bands of the mel scale in one pass: frames, window, transform, powers and the sums of
 * bands of LANES frames at a time, which stay in the cache. Of each band only the frequencies from
 * its first to its last are read. */
#include "fourier.h"

typedef struct {
    int64_t n, count;          /* bands; numbers in w */
    int64_t *first, *end, *at; /* [n] frequencies, place in w */
    REAL *w;
} bands;

static tide_status bands_new(tide_device *dev, const REAL *m, int64_t bins, int64_t n, bands *b) {
    const size_t bytes = (size_t)TIDE_MAX(n, 1) * sizeof(int64_t);
    *b = (bands){.n = n};
    b->first = tide_scratch(dev, bytes), b->end = tide_scratch(dev, bytes);
    b->at = tide_scratch(dev, bytes);
    if (!b->first || !b->end || !b->at) return TIDE_ENOMEM;
    memset(b->first, 0, bytes), memset(b->end, 0, bytes);
    for (int64_t k = 0; k < bins; k++)
        for (int64_t i = 0; i < n; i++)
            if (m[k * n + i] != 0) {
                if (b->end[i] == 0) b->first[i] = k;
                b->end[i] = k + 1;
            }
    for (int64_t i = 0; i < n; i++) b->at[i] = b->count, b->count += b->end[i] - b->first[i];
    b->w = reals(dev, b->count);
    if (!b->w) return TIDE_ENOMEM;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = b->first[i]; k < b->end[i]; k++)
            b->w[b->at[i] + k - b->first[i]] = m[k * n + i];
    return TIDE_OK;
}

/* Where a frame of n samples lies; at the ends, which are mirrored, a copy of it. */
static const REAL *frame(const REAL *x, int64_t time, int64_t start, int64_t n, REAL *copy) {
    if (start >= 0 && start + n <= time) return x + start;
    for (int64_t j = 0; j < n; j++) {
        const int64_t i = start + j;
        copy[j] = x[i < 0 ? -i : i >= time ? 2 * (time - 1) - i : i];
    }
    return copy;
}

/* Powers [h + 1][s] of n = 2 h real samples from the transform z of their pairs (see fourier.c). */
static void powers(const REAL *zr, const REAL *zi, int64_t h, int64_t s, const REAL *wr,
                   const REAL *wi, REAL *y) {
    for (int64_t l = 0; l < s; l++) {
        const REAL even = zr[l], odd = zi[l];
        y[l] = (even + odd) * (even + odd), y[h * s + l] = (even - odd) * (even - odd);
    }
    for (int64_t k = 1; k <= h / 2; k++) {
        const REAL *ar = zr + k * s, *ai = zi + k * s, *br = zr + (h - k) * s,
                   *bi = zi + (h - k) * s;
        const number w = {wr[k] / 2, wi[k] / 2};
        REAL *to = y + k * s, *back = y + (h - k) * s;
#pragma omp simd
        for (int64_t l = 0; l < s; l++) {
            const REAL er = (ar[l] + br[l]) / 2, ei = (ai[l] - bi[l]) / 2, pr = ai[l] + bi[l],
                       pi = br[l] - ar[l], qr = pr * w.r - pi * w.i, qi = pr * w.i + pi * w.r;
            to[l] = (er + qr) * (er + qr) + (ei + qi) * (ei + qi);
            back[l] = (er - qr) * (er - qr) + (ei - qi) * (ei - qi);
        }
    }
}

TIDE_KERNEL(mel_) {
    const tide_mel__attrs *a = c->attrs;
    const int64_t n = c->in[1].shape[0], h = n / 2, bins = h + 1,
                  frames = c->out[0].shape[c->out[0].rank - 1],
                  blocks = TIDE_CEIL_DIV(frames, LANES);
    const tide_along s = tide_along_axis(&c->in[0], c->in[0].rank - 1);
    const REAL *x = c->in[0].p, *window = c->in[1].p;
    REAL *y = c->out[0].p;
    bands b;
    plan p = {.n = h};
    tide_lanes edges;
    factors(h, p.radix, &p.count);
    TIDE_DO(bands_new(c->dev, c->in[2].p, bins, c->in[2].shape[1], &b));
    TIDE_DO(plan_passes(c->dev, &p));
    TIDE_DO(
        tide_lanes_new(c->dev, s.outer * blocks, 1, (size_t)(LANES * n) * sizeof(REAL), &edges));
    REAL *wr = reals(c->dev, h / 2 + 1), *wi = reals(c->dev, h / 2 + 1);
    if (!wr || !wi) return TIDE_ENOMEM;
    waves(n, h / 2 + 1, wr, wi);
    TIDE_PARALLEL_FOR (s.outer *blocks, 1) {
        const pair z = room_of(&p, share_->slot, 0), other = room_of(&p, share_->slot, 1);
        REAL *edge = tide_lane(&edges, share_->slot);
        for (int64_t i = lo; i < hi; i++) {
            const int64_t row = i / blocks, first = i % blocks * LANES,
                          some = TIDE_MIN(LANES, frames - first);
            const REAL *from[LANES];
            for (int64_t l = 0; l < some; l++)
                from[l] = frame(x + row * s.n, s.n, (first + l) * a->step - h, n, edge + l * n);
            for (int64_t j = 0; j < h; j++)
                for (int64_t l = 0; l < some; l++) {
                    z.re[j * some + l] = from[l][2 * j] * window[2 * j];
                    z.im[j * some + l] = from[l][2 * j + 1] * window[2 * j + 1];
                }
            const pair got = passes(&p, some, z, other);
            REAL *power = got.re == z.re ? other.re : z.re;
            powers(got.re, got.im, h, some, wr, wi, power);
            if (a->exponent != 2)
                for (int64_t k = 0; k < bins * some; k++)
                    power[k] = T_POW(T_SQRT(power[k]), (REAL)a->exponent);
            for (int64_t k = 0; k < b.n; k++) {
                REAL sum[LANES] = {0}, *to = y + (row * b.n + k) * frames + first;
                const REAL *w = b.w + b.at[k] - b.first[k];
                for (int64_t q = b.first[k]; q < b.end[k]; q++)
                    for (int64_t l = 0; l < some; l++) sum[l] += w[q] * power[q * some + l];
                for (int64_t l = 0; l < some; l++) to[l] = sum[l];
            }
        }
    }
    return TIDE_OK;
}
