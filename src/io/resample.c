/* Resampling of pictures by an affine map, as SciPy's ndimage.affine_transform: splines of order 0
 * to 5.
 *
 * Invariant: reads stay inside of the picture, whatever the map is: every position goes through
 * mapped() or neighbour(). */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* SciPy's map_coordinate: where outside the picture [0, n-1] a coordinate reads; -1: nowhere
 * (constant). */
static double mapped(double v, int64_t n, tide_fill_mode mode) {
    if (v >= 0 && v <= (double)(n - 1)) return v;
    if (!(fabs(v) < 1e15)) return mode == TIDE_FILL_CONSTANT ? -1 : 0; /* not a number, too */
    bool low = v < 0;
    switch (mode) {
    case TIDE_FILL_NEAREST: return low ? 0 : (double)(n - 1);
    case TIDE_FILL_CONSTANT: return -1;
    case TIDE_FILL_REFLECT: {
        if (n <= 1) return 0;
        double twice = 2 * (double)n;
        if (low) {
            if (v < -twice) v = twice * (double)(int64_t)(-v / twice) + v;
            return v < -(double)n ? v + twice : (v > -1e-15 ? 1e-15 : -v) - 1;
        }
        v -= twice * (double)(int64_t)(v / twice);
        return v >= (double)n ? twice - v - 1 : v;
    }
    default: {
        if (n <= 1) return 0;
        double size = (double)(n - 1); /* SciPy's "wrap": the last sample lies on the first */
        if (low) return v + size * ((double)(int64_t)(-v / size) + 1);
        return v - size * (double)(int64_t)(v / size);
    }
    }
}

/* Neighbours outside mirror at the edge for constant and wrap (their weight is 0 or the edge's),
 * else by the mode itself. */
static int64_t neighbour(int64_t i, int64_t n, tide_fill_mode mode) {
    if (i >= 0 && i < n) return i;
    if (n <= 1) return 0;
    if (mode == TIDE_FILL_CONSTANT || mode == TIDE_FILL_WRAP) return i < 0 ? -i : 2 * n - 2 - i;
    return (int64_t)mapped((double)i, n, mode);
}

typedef struct {
    int64_t at[2];
    double w[2];
} taps;

static inline bool place(double v, int64_t n, tide_fill_mode mode, int order, taps *t) {
    v = mapped(v, n, mode);
    if (v <= -1) return false;
    if (order == 0) {
        t->at[0] = neighbour((int64_t)floor(v + 0.5), n, mode);
        return true;
    }
    double f = floor(v);
    int64_t i = (int64_t)f;
    t->at[0] = neighbour(i, n, mode), t->at[1] = neighbour(i + 1, n, mode);
    t->w[1] = v - f, t->w[0] = 1 - t->w[1];
    return true;
}

/* Between four samples that all lie inside. SciPy's order of products and sums. */
static inline void between(const float *x, int64_t w, int64_t c, int64_t i, int64_t j, double fr,
                           double fq, float *d) {
    const float *p0 = x + (i * w + j) * c, *p1 = p0 + w * c;
    double r0 = 1 - fr, q0 = 1 - fq;
    for (int64_t k = 0; k < c; k++) {
        double t = (double)p0[k] * r0 * q0;
        t += (double)p0[k + c] * r0 * fq;
        t += (double)p1[k] * fr * q0;
        t += (double)p1[k + c] * fr * fq;
        d[k] = (float)t;
    }
}

/* `flip` of the result is done on the way out. */
static void linear(const tide_augment *a, const tide_affine *m, bool fh, bool fv, const float *x,
                   int64_t h, int64_t w, int64_t c, float *y) {
    float fill = (float)a->cval;
    for (int64_t i = 0; i < h; i++) {
        float *row = y + (fv ? h - 1 - i : i) * w * c;
        for (int64_t j = 0; j < w; j++) {
            float *d = row + (fh ? w - 1 - j : j) * c;
            double v0 = m->o[0], v1 = m->o[1];
            v0 += (double)i * m->m[0][0], v0 += (double)j * m->m[0][1];
            v1 += (double)i * m->m[1][0], v1 += (double)j * m->m[1][1];
            if (a->order == 1 && v0 >= 0 && v0 < (double)(h - 1) && v1 >= 0 &&
                v1 < (double)(w - 1)) {
                int64_t p = (int64_t)v0, q = (int64_t)v1;
                if (c == 3) between(x, w, 3, p, q, v0 - (double)p, v1 - (double)q, d);
                else between(x, w, c, p, q, v0 - (double)p, v1 - (double)q, d);
                continue;
            }
            taps r, q;
            if (!place(v0, h, a->fill, a->order, &r) || !place(v1, w, a->fill, a->order, &q)) {
                for (int64_t k = 0; k < c; k++) d[k] = fill;
                continue;
            }
            const float *p00 = x + (r.at[0] * w + q.at[0]) * c;
            if (a->order == 0) {
                for (int64_t k = 0; k < c; k++) d[k] = p00[k];
                continue;
            }
            const float *p01 = x + (r.at[0] * w + q.at[1]) * c;
            const float *p10 = x + (r.at[1] * w + q.at[0]) * c,
                        *p11 = x + (r.at[1] * w + q.at[1]) * c;
            for (int64_t k = 0; k < c; k++) {
                double t = (double)p00[k] * r.w[0] * q.w[0];
                t += (double)p01[k] * r.w[0] * q.w[1];
                t += (double)p10[k] * r.w[1] * q.w[0];
                t += (double)p11[k] * r.w[1] * q.w[1];
                d[k] = (float)t;
            }
        }
    }
}

/* -- orders 2 to 5: the picture becomes coefficients of B-splines first (Unser, Aldroubi, Eden
 * 1993) -- */

#define PAD 12 /* fill "nearest": SciPy repeats the edge this often before it filters */
#define MOST 5

static int poles_of(int order, double p[2]) {
    switch (order) {
    case 2: p[0] = sqrt(8.0) - 3; return 1;
    case 3: p[0] = sqrt(3.0) - 2; return 1;
    case 4:
        p[0] = sqrt(664.0 - sqrt(438976.0)) + sqrt(304.0) - 19;
        p[1] = sqrt(664.0 + sqrt(438976.0)) - sqrt(304.0) - 19;
        return 2;
    default:
        p[0] = sqrt(67.5 - sqrt(4436.25)) + sqrt(26.25) - 6.5;
        p[1] = sqrt(67.5 + sqrt(4436.25)) - sqrt(26.25) - 6.5;
        return 2;
    }
}

/* One line of n > 1 samples, `s` apart. The recursion runs over a line without end: mirrored at the
 * outermost samples, or
 * (`half`) half a sample outside of them. */
static void filter(double *x, int64_t n, int64_t s, int order, bool half) {
    double p[2], gain = 1;
    int count = poles_of(order, p);
    for (int k = 0; k < count; k++) gain *= (1 - p[k]) * (1 - 1 / p[k]);
    for (int64_t i = 0; i < n; i++) x[i * s] *= gain;
    for (int k = 0; k < count; k++) {
        double z = p[k], zi = z, zn = pow(z, (double)(half ? n : n - 1)), first = x[0];
        x[0] += zn * x[(n - 1) * s];
        for (int64_t i = 1; i < (half ? n : n - 1);
             i++) { /* reads the sum itself at the end, as SciPy */
            x[0] += zi * (x[i * s] + zn * x[(n - 1 - i) * s]);
            zi *= z;
        }
        x[0] = half ? x[0] * (z / (1 - zn * zn)) + first : x[0] / (1 - zn * zn);
        for (int64_t i = 1; i < n; i++) x[i * s] += z * x[(i - 1) * s];
        double *last = x + (n - 1) * s;
        *last = half ? *last * (z / (z - 1)) : (z * x[(n - 2) * s] + *last) * z / (z * z - 1);
        for (int64_t i = n - 2; i >= 0; i--) x[i * s] = z * (x[(i + 1) * s] - x[i * s]);
    }
}

/* Values of the order + 1 B-splines that reach v; returns the position of the first. They sum to 1.
 */
static int64_t spline_weights(double v, int order, double *w) {
    double near = floor(order & 1 ? v : v + 0.5), x = v - near, y = x, z = 1 - x, t;
    switch (order) {
    case 2:
        w[1] = 0.75 - x * x;
        y = 0.5 - x;
        w[0] = 0.5 * y * y;
        break;
    case 3:
        w[1] = (y * y * (y - 2) * 3 + 4) / 6;
        w[2] = (z * z * (z - 2) * 3 + 4) / 6;
        w[0] = z * z * z / 6;
        break;
    case 4:
        t = x * x;
        w[2] = t * (t * 0.25 - 0.625) + 115.0 / 192;
        y = 1 + x;
        w[1] = y * (y * (y * (5 - y) / 6 - 1.25) + 5.0 / 24) + 55.0 / 96;
        w[3] = z * (z * (z * (5 - z) / 6 - 1.25) + 5.0 / 24) + 55.0 / 96;
        y = 0.5 - x, t = y * y;
        w[0] = t * t / 24;
        break;
    default:
        t = y * y;
        w[2] = t * (t * (0.25 - y / 12) - 0.5) + 0.55;
        t = z * z;
        w[3] = t * (t * (0.25 - z / 12) - 0.5) + 0.55;
        y += 1;
        w[1] = y * (y * (y * (y * (y / 24 - 0.375) + 1.25) - 1.75) + 0.625) + 0.425;
        y = z + 1;
        w[4] = y * (y * (y * (y * (y / 24 - 0.375) + 1.25) - 1.75) + 0.625) + 0.425;
        t = z * z;
        w[0] = z * t * t / 120;
    }
    w[order] = 1;
    for (int k = 0; k < order; k++) w[order] -= w[k];
    return (int64_t)near - order / 2;
}

/* Where spline k of a line of n is read: mirrored for constant and wrap, else by the mode itself.
 */
static int64_t knot(int64_t i, int64_t n, tide_fill_mode mode) {
    if (i >= 0 && i < n) return i;
    if (n <= 1) return 0;
    if (mode == TIDE_FILL_NEAREST || mode == TIDE_FILL_REFLECT)
        return (int64_t)mapped((double)i, n, mode);
    int64_t s = 2 * n - 2, k = i % s;
    if (k < 0) k += s;
    return k < n ? k : s - k;
}

/* As mapped(); with "nearest" not the position but its knots are kept inside, so that far outside
 * one coefficient shows. */
static double knots(double v, int64_t n, tide_fill_mode mode) {
    if (mode != TIDE_FILL_NEAREST || !(fabs(v) < 1e15)) return mapped(v, n, mode);
    return v < -2 * MOST ? -2 * MOST : v > (double)(n + 2 * MOST) ? (double)(n + 2 * MOST) : v;
}

static tide_status spline(const tide_augment *a, const tide_affine *m, bool fh, bool fv,
                          const float *x, int64_t h, int64_t w, int64_t c, float *y) {
    int order = a->order;
    int64_t pad = a->fill == TIDE_FILL_NEAREST ? PAD : 0, ph = h + 2 * pad, pw = w + 2 * pad;
    bool half = a->fill == TIDE_FILL_REFLECT || a->fill == TIDE_FILL_NEAREST;
    double *q = malloc((size_t)(ph * pw * c) * sizeof *q);
    if (!q) return TIDE_ENOMEM;
    for (int64_t i = 0; i < ph; i++)
        for (int64_t j = 0; j < pw; j++) {
            int64_t r = i - pad, s = j - pad;
            r = r < 0 ? 0 : r >= h ? h - 1 : r, s = s < 0 ? 0 : s >= w ? w - 1 : s;
            for (int64_t k = 0; k < c; k++)
                q[(i * pw + j) * c + k] = (double)x[(r * w + s) * c + k];
        }
    for (int64_t j = 0; ph > 1 && j < pw * c; j++) filter(q + j, ph, pw * c, order, half);
    for (int64_t i = 0; pw > 1 && i < ph; i++)
        for (int64_t k = 0; k < c; k++) filter(q + i * pw * c + k, pw, c, order, half);
    for (int64_t i = 0; i < h; i++) {
        float *row = y + (fv ? h - 1 - i : i) * w * c;
        for (int64_t j = 0; j < w; j++) {
            float *d = row + (fh ? w - 1 - j : j) * c;
            double v0 = m->o[0], v1 = m->o[1], wr[MOST + 1], wq[MOST + 1];
            v0 += (double)i * m->m[0][0], v0 += (double)j * m->m[0][1];
            v1 += (double)i * m->m[1][0], v1 += (double)j * m->m[1][1];
            v0 = knots(v0 + (double)pad, ph, a->fill), v1 = knots(v1 + (double)pad, pw, a->fill);
            if (a->fill == TIDE_FILL_CONSTANT && (v0 <= -1 || v1 <= -1)) {
                for (int64_t k = 0; k < c; k++) d[k] = (float)a->cval;
                continue;
            }
            int64_t r0 = spline_weights(v0, order, wr), q0 = spline_weights(v1, order, wq),
                    at[MOST + 1];
            for (int b = 0; b <= order; b++) at[b] = knot(q0 + b, pw, a->fill) * c;
            for (int64_t k = 0; k < c; k++) {
                double t = 0;
                for (int u = 0; u <= order; u++) {
                    const double *line = q + knot(r0 + u, ph, a->fill) * pw * c + k;
                    for (int b = 0; b <= order; b++) t += line[at[b]] * wr[u] * wq[b];
                }
                d[k] = (float)t;
            }
        }
    }
    free(q);
    return TIDE_OK;
}

tide_status tide_resample(const tide_augment *a, const tide_affine *m, bool fh, bool fv,
                          const float *x, int64_t h, int64_t w, int64_t c, float *y) {
    if (a->order > 1) return spline(a, m, fh, fv, x, h, w, c, y);
    linear(a, m, fh, fv, x, h, w, c, y);
    return TIDE_OK;
}
