/* Resampling of pictures by an affine map, as SciPy's ndimage.affine_transform: splines of order 0
 * to 5.
 *
 * Invariant: reads stay inside of the picture, whatever the map is: every position goes through
 * mapped() or neighbour(). */
#include "image.h"
#include "wide.h"

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

typedef struct {
    const tide_augment *a;
    const tide_affine *m;
    bool fh, fv; /* flips of the result, done on the way out */
    const float *x;
    int64_t h, w, c;
    float *y;
} job;

/* Between four samples: left and right of a row, left and right of the next. SciPy's order of
 * products and sums. */
static inline void between(const float *p, int64_t across, int64_t down, int64_t c, double r0,
                           double r1, double q0, double q1, float *d) {
    for (int64_t k = 0; k < c; k++) {
        double t = (double)p[k] * r0 * q0;
        t += (double)p[k + across] * r0 * q1;
        t += (double)p[k + down] * r1 * q0;
        t += (double)p[k + down + across] * r1 * q1;
        d[k] = (float)t;
    }
}

/* A pixel anywhere; order 0: the nearest sample. */
static void anywhere(const job *o, double v0, double v1, float *d) {
    const int64_t w = o->w, c = o->c;
    const tide_augment *a = o->a;
    taps r, q;
    if (!place(v0, o->h, a->fill, a->order, &r) || !place(v1, w, a->fill, a->order, &q)) {
        for (int64_t k = 0; k < c; k++) d[k] = (float)a->cval;
        return;
    }
    const float *from = o->x + (r.at[0] * w + q.at[0]) * c;
    if (a->order == 0)
        for (int64_t k = 0; k < c; k++) d[k] = from[k];
    else
        between(from, (q.at[1] - q.at[0]) * c, (r.at[1] - r.at[0]) * w * c, c, r.w[0], r.w[1],
                q.w[0], q.w[1], d);
}

/* Of one row of the result: where its pixels lie in the picture, how they stand in memory. */
typedef struct {
    double base[2], step[2];
    float *d;
    int64_t by;
} track;

static inline double along(const track *l, int axis, int64_t j) {
    return l->base[axis] + (double)j * l->step[axis];
}

/* Where a line lies in [0, most) on an axis: narrows lo and hi, exactly as positions are computed,
 * for they only grow or only fall. */
static void narrow(const track *l, int axis, double most, int64_t *lo, int64_t *hi) {
    const bool grows = l->step[axis] >= 0;
    int64_t edge[2];
    for (int e = 0; e < 2; e++) { /* the first j that is inside, and the first that is beyond */
        int64_t a = *lo, b = *hi;
        while (a < b) {
            const int64_t mid = (a + b) / 2;
            const double v = along(l, axis, mid);
            if (grows ? v >= (e ? most : 0) : e ? !(v >= 0) : v < most) b = mid;
            else a = mid + 1;
        }
        edge[e] = a;
    }
    *lo = edge[0], *hi = TIDE_MAX(edge[0], edge[1]);
}

/* Pixels lo to hi - 1, which lie inside, or are brought there: to the nearest that does. */
static void inside(const job *o, const track *l, int64_t lo, int64_t hi) {
    const int64_t h = o->h, w = o->w, c = o->c;
    const double bottom = (double)(h - 1), right = (double)(w - 1);
    float *d = l->d + lo * l->by;
    for (int64_t j = lo; j < hi; j++, d += l->by) {
        double v0 = along(l, 0, j), v1 = along(l, 1, j);
        v0 = v0 < 0 ? 0 : v0 > bottom ? bottom : v0, v1 = v1 < 0 ? 0 : v1 > right ? right : v1;
        const int64_t r = (int64_t)v0, q = (int64_t)v1;
        const double r1 = v0 - (double)r, q1 = v1 - (double)q;
        const int64_t across = q < w - 1 ? c : 0, down = r < h - 1 ? w * c : 0;
        between(o->x + (r * w + q) * c, across, down, c, 1 - r1, r1, 1 - q1, q1, d);
    }
}

#if defined(__x86_64__)
TIDE_AVX2 static void inside3(const job *o, const track *l, int64_t lo, int64_t hi) {
    const int64_t h = o->h, w = o->w;
    const __m128d zero = _mm_setzero_pd(), most = _mm_set_pd((double)(w - 1), (double)(h - 1));
    const __m128d base = _mm_loadu_pd(l->base), step = _mm_loadu_pd(l->step);
    const __m256d one = _mm256_set1_pd(1);
    const float *last = o->x + (h * w - 1) * 3;
    for (int64_t j = lo; j < hi; j++) {
        __m128d v = _mm_add_pd(base, _mm_mul_pd(_mm_set1_pd((double)j), step));
        v = _mm_min_pd(_mm_max_pd(v, zero), most);
        const __m128i at = _mm_cvttpd_epi32(v);
        v = _mm_sub_pd(v, _mm_cvtepi32_pd(at));
        const int64_t r = _mm_cvtsi128_si32(at), q = _mm_extract_epi32(at, 1);
        const int64_t across = q < w - 1 ? 3 : 0, down = r < h - 1 ? w * 3 : 0;
        const float *p = o->x + (r * w + q) * 3, *p3 = p + down + across;
        const __m256d r1 = _mm256_broadcastsd_pd(v),
                      q1 = _mm256_broadcastsd_pd(_mm_unpackhi_pd(v, v)),
                      r0 = _mm256_sub_pd(one, r1), q0 = _mm256_sub_pd(one, q1);
        float *d = l->d + j * l->by;
        if (p3 >= last) { /* nothing is read behind the last pixel */
            between(p, across, down, 3, _mm256_cvtsd_f64(r0), _mm256_cvtsd_f64(r1),
                    _mm256_cvtsd_f64(q0), _mm256_cvtsd_f64(q1), d);
            continue;
        }
#define TERM(p, r, q) _mm256_mul_pd(_mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(p)), r), q)
        __m256d t = TERM(p, r0, q0);
        t = _mm256_add_pd(t, TERM(p + across, r0, q1));
        t = _mm256_add_pd(t, TERM(p + down, r1, q0));
        t = _mm256_add_pd(t, TERM(p3, r1, q1));
#undef TERM
        const __m128 f = _mm256_cvtpd_ps(t);
        _mm_storel_pi((__m64 *)(void *)d, f);
        _mm_store_ss(d + 2, _mm_movehl_ps(f, f));
    }
}
#endif

static void linear(const job *o) {
    const int64_t h = o->h, w = o->w, c = o->c;
    const tide_affine *m = o->m;
    void (*run)(const job *, const track *, int64_t, int64_t) = inside;
#if defined(__x86_64__)
    if (c == 3 && __builtin_cpu_supports("avx2")) run = inside3;
#endif
    for (int64_t i = 0; i < h; i++) {
        float *row = o->y + (o->fv ? h - 1 - i : i) * w * c;
        track l = {.step = {m->m[0][1], m->m[1][1]}, .d = row, .by = c};
        if (o->fh) l.d = row + (w - 1) * c, l.by = -c;
        for (int k = 0; k < 2; k++) l.base[k] = m->o[k], l.base[k] += (double)i * m->m[k][0];
        int64_t lo = 0, hi = o->a->order == 1 ? w : 0;
        bool near = o->a->fill == TIDE_FILL_NEAREST; /* positions that mapped() clamps */
        for (int k = 0; k < 2; k++)
            near &= fabs(along(&l, k, 0)) < 1e9 && fabs(along(&l, k, w - 1)) < 1e9;
        if (!near && hi > 0) {
            narrow(&l, 0, (double)(h - 1), &lo, &hi);
            narrow(&l, 1, (double)(w - 1), &lo, &hi);
        }
        for (int64_t j = 0; j < lo; j++)
            anywhere(o, along(&l, 0, j), along(&l, 1, j), l.d + j * l.by);
        run(o, &l, lo, hi);
        for (int64_t j = TIDE_MAX(lo, hi); j < w; j++)
            anywhere(o, along(&l, 0, j), along(&l, 1, j), l.d + j * l.by);
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
    linear(&(job){a, m, fh, fv, x, h, w, c, y});
    return TIDE_OK;
}
