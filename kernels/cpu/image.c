/* Pictures in another size, under projections, sampled at coordinates, and in another colour space.
 *
 * What is read is a weighted sum of few neighbours, so each gradient is the same loop with reading
 * and writing exchanged. Threads share out rows where a row is written once, and whole pictures
 * where rows are added to. */
#include "cpu.h"

static inline int64_t grain_of(int64_t each) { return TIDE_MAX(1, 32768 / TIDE_MAX(each, 1)); }

/* ---- resampling along one axis ---- */

static double triangle(double x) { return x < 1 ? 1 - x : 0; }
static double cubic(double x) { /* Keys 1981, a = -0.5 */
    if (x >= 2) return 0;
    return x >= 1 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : (1.5 * x - 2.5) * x * x + 1;
}
static double lanczos(double x, double radius) {
    const double pi = 3.141592653589793;
    if (x > radius) return 0;
    return x <= 1e-3 ? 1 : radius * sin(pi * x) * sin(pi * x / radius) / (pi * pi * x * x);
}

/* The weights of each of `m` places of the shorter or longer axis in the `n` elements of the other:
 * w[o * width + k] belongs to element first[o] + k. Both ends of the windows rise with o. */
typedef struct {
    int64_t n, m, width, *first, *count;
    REAL *w;
} bands;

static double weight_of(int method, double x) {
    switch (method) {
    case TIDE_RESAMPLING_cubic: return cubic(x);
    case TIDE_RESAMPLING_lanczos3: return lanczos(x, 3);
    case TIDE_RESAMPLING_lanczos5: return lanczos(x, 5);
    default: return triangle(x);
    }
}

static tide_status bands_new(tide_device *dev, int64_t n, int64_t m, double scale, double shift,
                             int method, int antialias, bands *b) {
    static const double radius[] = {[TIDE_RESAMPLING_linear] = 1,
                                    [TIDE_RESAMPLING_cubic] = 2,
                                    [TIDE_RESAMPLING_lanczos3] = 3,
                                    [TIDE_RESAMPLING_lanczos5] = 5,
                                    [TIDE_RESAMPLING_area] = 0.5};
    const int area = method == TIDE_RESAMPLING_area;
    const double step = 1 / scale, wide = (antialias || area) && step > 1 ? step : 1,
                 reach = area ? step / 2 + 0.5 : radius[method] * wide;
    b->n = n, b->m = m;
    b->width = reach < (double)n / 2 ? 2 * (int64_t)ceil(reach) + 1 : n;
    b->width = TIDE_MAX(1, TIDE_MIN(b->width, n));
    int64_t cells;
    if (__builtin_mul_overflow(m, b->width, &cells) || cells > INT64_MAX / 16) return TIDE_ENOMEM;
    b->first = tide_scratch(dev, (size_t)TIDE_MAX(m, 1) * sizeof(int64_t));
    b->count = tide_scratch(dev, (size_t)TIDE_MAX(m, 1) * sizeof(int64_t));
    b->w = tide_scratch(dev, (size_t)TIDE_MAX(cells, 1) * sizeof(REAL));
    if (!b->first || !b->count || !b->w) return TIDE_ENOMEM;
    int64_t before = 0;
    for (int64_t o = 0; o < m && tide_look_at(o); o++) {
        const double at = ((double)o + 0.5) * step - shift * step - 0.5;
        REAL *w = b->w + o * b->width;
        b->first[o] = before, b->count[o] = 0;
        if (!(at >= -0.5 && at <= (double)n - 0.5)) continue; /* outside, or NaN */
        const double from = ceil(at - reach), to = floor(at + reach);
        int64_t f = from > 0 ? (int64_t)from : 0, l = to < (double)(n - 1) ? (int64_t)to : n - 1;
        l = TIDE_MIN(l, f + b->width - 1);
        double total = 0;
        for (int64_t i = f; i <= l && tide_look_at(i - f); i++) {
            const double d = fabs(at - (double)i),
                         v = area ? fmax(0, fmin(step / 2, d + 0.5) - fmax(-step / 2, d - 0.5))
                                  : weight_of(method, d / wide);
            total += v, w[i - f] = (REAL)v;
        }
        before = b->first[o] = f, b->count[o] = l - f + 1;
        for (int64_t i = 0; i <= l - f; i++) /* a total near 0 is one of rounding alone */
            w[i] = fabs(total) > 1.2e-4 ? (REAL)((double)w[i] / total) : 0;
    }
    return TIDE_OK;
}

/* y (inner) += w x: a few channels, or many. */
static inline void add_line(int64_t inner, REAL w, const REAL *x, REAL *y) {
    if (inner == 1) y[0] += w * x[0];
    else if (inner == 3) y[0] += w * x[0], y[1] += w * x[1], y[2] += w * x[2];
    else
#pragma omp simd
        for (int64_t i = 0; i < inner; i++) y[i] += w * x[i];
}

#define BANDS_OF(at, n, m) \
    bands b;               \
    TIDE_DO(bands_new(c->dev, n, m, (at)->scale, (at)->shift, (at)->method, (at)->antialias, &b))

TIDE_KERNEL(resample_) {
    const tide_resample__attrs *a = c->attrs;
    const tide_along from = tide_along_axis(&c->in[0], a->axis),
                     to = tide_along_axis(&c->out[0], a->axis);
    const REAL *x = c->in[0].p;
    REAL *y = c->out[0].p;
    BANDS_OF(a, from.n, to.n);
    TIDE_PARALLEL_FOR (to.outer *to.n, grain_of(b.width * to.inner)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t o = r % to.n;
            const REAL *w = b.w + o * b.width,
                       *line = x + (r / to.n * from.n + b.first[o]) * to.inner;
            REAL *into = y + r * to.inner;
            memset(into, 0, (size_t)to.inner * sizeof(REAL));
            for (int64_t k = 0; k < b.count[o]; k++)
                add_line(to.inner, w[k], line + k * to.inner, into);
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(resample_grad_) {
    const tide_resample_grad__attrs *a = c->attrs;
    const tide_along from = tide_along_axis(&c->in[0], a->axis),
                     to = tide_along_axis(&c->out[0], a->axis);
    const REAL *dy = c->in[0].p;
    REAL *dx = c->out[0].p;
    BANDS_OF(a, to.n, from.n);
    /* starts[i]: the first place whose window does not end before element i */
    int64_t *starts = tide_scratch(c->dev, (size_t)TIDE_MAX(to.n, 1) * sizeof *starts);
    if (!starts) return TIDE_ENOMEM;
    for (int64_t i = 0, o = 0; i < to.n; i++) {
        while (o < b.m && b.first[o] + b.count[o] <= i) o++;
        starts[i] = o;
    }
    TIDE_PARALLEL_FOR (to.outer *to.n, grain_of(b.width * to.inner)) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t i = r % to.n;
            const REAL *part = dy + r / to.n * from.n * to.inner;
            REAL *into = dx + r * to.inner;
            memset(into, 0, (size_t)to.inner * sizeof(REAL));
            for (int64_t o = starts[i]; o < b.m && b.first[o] <= i; o++)
                if (i < b.first[o] + b.count[o])
                    add_line(to.inner, b.w[o * b.width + i - b.first[o]], part + o * to.inner,
                             into);
        }
    }
    return TIDE_OK;
}

/* ---- projections ---- */

/* A coordinate beyond an axis of n positions as one on it. */
static inline REAL within(REAL v, int64_t n, int mode) {
    const REAL last = (REAL)(n - 1), len = (REAL)n;
    if (mode == TIDE_OUTSIDE_constant || (v >= 0 && v <= last)) return v;
    if (mode == TIDE_OUTSIDE_nearest || n <= 1) return v < 0 || n <= 1 ? 0 : last;
    if (mode == TIDE_OUTSIDE_reflect) { /* dcba|abcd|dcba */
        const REAL twice = 2 * len;
        if (v < 0) {
            v += twice * FN(trunc)(-v / twice);
            v = v < -len ? v + twice : -v - 1;
        } else {
            v -= twice * FN(trunc)(v / twice);
            if (v >= len) v = twice - v - 1;
        }
    } else if (v < 0) { /* abcd|abcd|abcd */
        v += len * (FN(trunc)(-v / last) + 1);
    } else {
        v -= len * FN(trunc)(v / last);
    }
    return v < 0 ? 0 : v > last ? last : v;
}

/* The pixels that make up one of the result, and their weights; -1: the fill value. */
typedef struct {
    int64_t at[4];
    REAL w[4];
    int n;
} taps;

static inline taps taps_of(const REAL *t, REAL px, REAL py, int64_t height, int64_t width,
                           int nearest, int mode) {
    const REAL over = t[6] * px + t[7] * py + 1;
    REAL x = (t[0] * px + t[1] * py + t[2]) / over, y = (t[3] * px + t[4] * py + t[5]) / over;
    taps s = {.at = {-1}, .w = {1}, .n = 1};
    if (over == 0 || !(FN(fabs)(x) < (REAL)1e9 && FN(fabs)(y) < (REAL)1e9)) return s;
    x = within(x, width, mode), y = within(y, height, mode);
    if (nearest) {
        const int64_t i = (int64_t)FN(round)(y), j = (int64_t)FN(round)(x);
        if (i >= 0 && i < height && j >= 0 && j < width) s.at[0] = i * width + j;
        return s;
    }
    const REAL x0 = FN(floor)(x), y0 = FN(floor)(y), dx = x - x0, dy = y - y0;
    s.n = 4;
    for (int k = 0; k < 4; k++) {
        const int64_t i = (int64_t)y0 + k / 2, j = (int64_t)x0 + k % 2;
        s.w[k] = (k / 2 ? dy : 1 - dy) * (k % 2 ? dx : 1 - dx);
        s.at[k] = i >= 0 && i < height && j >= 0 && j < width ? i * width + j : -1;
    }
    return s;
}

TIDE_KERNEL(project_) {
    const tide_project__attrs *a = c->attrs;
    const int64_t *in = c->in[0].shape, *to = c->out[0].shape, nc = in[3];
    const REAL *x = c->in[0].p, *t = c->in[1].p, fill = (REAL)a->fill_value;
    const int64_t shared = c->in[1].shape[0] == 1;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (in[0] * to[1], grain_of(to[2] * (nc * 4 + 16))) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t image = r / to[1];
            const REAL *from = x + image * in[1] * in[2] * nc, *of = t + (shared ? 0 : image * 8);
            REAL *into = y + r * to[2] * nc;
            for (int64_t j = 0; j < to[2]; j++, into += nc) {
                const taps s =
                    taps_of(of, (REAL)j, (REAL)(r % to[1]), in[1], in[2],
                            a->interpolation == TIDE_INTERPOLATION_nearest, a->fill_mode);
                memset(into, 0, (size_t)nc * sizeof(REAL));
                for (int k = 0; k < s.n; k++)
                    if (s.at[k] >= 0) add_line(nc, s.w[k], from + s.at[k] * nc, into);
                    else
                        for (int64_t i = 0; i < nc; i++) into[i] += s.w[k] * fill;
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(project_grad_) {
    const tide_project_grad__attrs *a = c->attrs;
    const int64_t *from = c->in[0].shape, *to = c->out[0].shape, nc = from[3],
                  shared = c->in[1].shape[0] == 1;
    const REAL *dy = c->in[0].p, *t = c->in[1].p;
    REAL *dx = c->out[0].p;
    TIDE_PARALLEL_FOR (to[0], 1) {
        for (int64_t image = lo; image < hi; image++) {
            REAL *into = dx + image * to[1] * to[2] * nc;
            const REAL *line = dy + image * from[1] * from[2] * nc,
                       *of = t + (shared ? 0 : image * 8);
            tide_zero(into, (size_t)(to[1] * to[2] * nc) * sizeof(REAL));
            TIDE_IN_BLOCKS(p, from[1] * from[2]) {
                const taps s =
                    taps_of(of, (REAL)(p % from[2]), (REAL)(p / from[2]), to[1], to[2],
                            a->interpolation == TIDE_INTERPOLATION_nearest, a->fill_mode);
                for (int k = 0; k < s.n; k++)
                    if (s.at[k] >= 0) add_line(nc, s.w[k], line + p * nc, into + s.at[k] * nc);
            }
        }
    }
    return TIDE_OK;
}

/* ---- sampling at coordinates ---- */

/* A position beyond an axis of n as one on it; -1: the fill value. */
static inline int64_t onto(int64_t i, int64_t n, int mode) {
    if (i >= 0 && i < n) return i;
    switch (mode) {
    case TIDE_OUTSIDE_nearest: return i < 0 ? 0 : n - 1;
    case TIDE_OUTSIDE_wrap: return (i % n + n) % n;
    case TIDE_OUTSIDE_reflect: /* dcba|abcd|dcba */
        i = (i % (2 * n) + 2 * n) % (2 * n);
        return i < n ? i : 2 * n - 1 - i;
    case TIDE_OUTSIDE_mirror: { /* dcb|abcd|cba */
        if (n == 1) return 0;
        const int64_t period = 2 * (n - 1);
        i = (i % period + period) % period;
        return i < n ? i : period - i;
    }
    default: return -1;
    }
}

enum { AXES = TIDE_MAX_RANK - 2 };

/* The two neighbours of a point along each axis, and how far it is from the first. */
typedef struct {
    int64_t low[AXES], high[AXES];
    REAL part[AXES];
    int lost; /* a coordinate is no number */
} place;

static inline place place_of(const REAL *at, int64_t points, int k, const int64_t *extent,
                             int nearest, int mode) {
    place p = {.lost = 0};
    for (int d = 0; d < k; d++) {
        REAL v = at[d * points];
        if (v != v) p.lost = 1, v = 0;
        v = v > (REAL)1e15 ? (REAL)1e15 : v < (REAL)-1e15 ? (REAL)-1e15 : v;
        const REAL base = nearest ? FN(round)(v) : FN(floor)(v);
        p.part[d] = nearest ? 0 : v - base;
        p.low[d] = onto((int64_t)base, extent[d], mode);
        p.high[d] = nearest ? p.low[d] : onto((int64_t)base + 1, extent[d], mode);
    }
    return p;
}

/* Corner `bits` of a place: its position (-1: the fill value) and weight; `but`: the axis whose
 * weight is left out, -1 for none. */
static inline int64_t corner(const place *p, int k, const int64_t *extent, int bits, int but,
                             REAL *w) {
    int64_t at = 0;
    *w = 1;
    for (int d = 0; d < k; d++) {
        const int upper = bits >> d & 1;
        const int64_t i = upper ? p->high[d] : p->low[d];
        if (d != but) *w *= upper ? p->part[d] : 1 - p->part[d];
        at = i < 0 || at < 0 ? -1 : at * extent[d] + i;
    }
    return at;
}

static inline int64_t cells(int k, const int64_t *extent) {
    int64_t n = 1;
    for (int d = 0; d < k; d++) n *= extent[d];
    return n;
}

TIDE_KERNEL(sample_) {
    const tide_sample__attrs *a = c->attrs;
    const tide_buf *x = &c->in[0], *at = &c->in[1];
    const int k = x->rank - 2, nearest = a->interpolation == TIDE_INTERPOLATION_nearest,
              corners = nearest ? 1 : 1 << k;
    const int64_t points = at->shape[2], nc = x->shape[x->rank - 1], *extent = x->shape + 1,
                  whole = cells(k, extent);
    const REAL *from = x->p, *where = at->p, fill = (REAL)a->fill_value;
    REAL *y = c->out[0].p;
    TIDE_PARALLEL_FOR (x->shape[0] * points, grain_of(corners * (nc + 8))) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t n = r / points;
            const place p = place_of(where + n * k * points + r % points, points, k, extent,
                                     nearest, a->fill_mode);
            REAL *into = y + r * nc;
            for (int64_t i = 0; i < nc; i++) into[i] = p.lost ? (REAL)NAN : 0;
            for (int q = 0; q < corners; q++) {
                REAL w;
                const int64_t i = corner(&p, k, extent, q, -1, &w);
                if (i >= 0) add_line(nc, w, from + (n * whole + i) * nc, into);
                else
                    for (int64_t j = 0; j < nc; j++) into[j] += w * fill;
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(sample_grad_) {
    const tide_sample_grad__attrs *a = c->attrs;
    const tide_buf *at = &c->in[1], *x = &c->out[0];
    const int k = x->rank - 2, nearest = a->interpolation == TIDE_INTERPOLATION_nearest,
              corners = nearest ? 1 : 1 << k;
    const int64_t points = at->shape[2], nc = x->shape[x->rank - 1], *extent = x->shape + 1,
                  whole = cells(k, extent);
    const REAL *dy = c->in[0].p, *where = at->p;
    REAL *dx = x->p;
    TIDE_PARALLEL_FOR (x->shape[0], 1) {
        for (int64_t n = lo; n < hi; n++) {
            tide_zero(dx + n * whole * nc, (size_t)(whole * nc) * sizeof(REAL));
            TIDE_IN_BLOCKS(r, points) {
                const place p =
                    place_of(where + n * k * points + r, points, k, extent, nearest, a->fill_mode);
                for (int q = 0; q < corners; q++) {
                    REAL w;
                    const int64_t i = corner(&p, k, extent, q, -1, &w);
                    if (i >= 0)
                        add_line(nc, p.lost ? (REAL)NAN : w, dy + (n * points + r) * nc,
                                 dx + (n * whole + i) * nc);
                }
            }
        }
    }
    return TIDE_OK;
}

TIDE_KERNEL(sample_slope_) {
    const tide_sample_slope__attrs *a = c->attrs;
    const tide_buf *x = &c->in[1], *at = &c->in[2];
    const int k = x->rank - 2, corners = 1 << k;
    const int64_t points = at->shape[2], nc = x->shape[x->rank - 1], *extent = x->shape + 1,
                  whole = cells(k, extent);
    const REAL *dy = c->in[0].p, *from = x->p, *where = at->p, fill = (REAL)a->fill_value;
    REAL *out = c->out[0].p;
    TIDE_PARALLEL_FOR (x->shape[0] * points, grain_of(corners * k * (nc + 8))) {
        for (int64_t r = lo; r < hi; r++) {
            const int64_t n = r / points;
            const place p =
                place_of(where + n * k * points + r % points, points, k, extent, 0, a->fill_mode);
            const REAL *g = dy + r * nc;
            for (int d = 0; d < k; d++) {
                REAL sum = p.lost ? (REAL)NAN : 0;
                for (int q = 0; q < corners; q++) {
                    REAL w, dot = 0;
                    const int64_t i = corner(&p, k, extent, q, d, &w);
                    const REAL *v = i < 0 ? NULL : from + (n * whole + i) * nc;
                    for (int64_t j = 0; j < nc; j++) dot += g[j] * (v ? v[j] : fill);
                    sum += (q >> d & 1 ? w : -w) * dot;
                }
                out[(n * k + d) * points + r % points] = sum;
            }
        }
    }
    return TIDE_OK;
}

/* ---- colours ---- */

static inline void to_hsv(const REAL *x, REAL *y) {
    const REAL r = x[0], g = x[1], b = x[2], v = t_max(t_max(r, g), b),
               range = v - t_min(t_min(r, g), b), sixth = range > 0 ? 1 / (6 * range) : 0;
    REAL h = v == r ? sixth * (g - b)
        : v == g    ? sixth * (b - r) + (REAL)(2.0 / 6)
                    : sixth * (r - g) + (REAL)(4.0 / 6);
    if (!(range > 0)) h = range == range ? 0 : range;
    y[0] = h < 0 ? h + 1 : h, y[1] = v > 0 ? range / v : v == v ? 0 : v, y[2] = v;
}

static inline REAL ramp(REAL v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
static inline void to_rgb(const REAL *x, REAL *y) {
    const REAL h = (x[0] - FN(floor)(x[0])) * 6, s = x[1], v = x[2];
    y[0] = v * (1 - s + s * ramp(FN(fabs)(h - 3) - 1));
    y[1] = v * (1 - s + s * ramp(2 - FN(fabs)(h - 2)));
    y[2] = v * (1 - s + s * ramp(2 - FN(fabs)(h - 4)));
}

#define COLOURS(name, f)                                               \
    TIDE_KERNEL(name) {                                                \
        const REAL *x = c->in[0].p;                                    \
        REAL *y = c->out[0].p;                                         \
        TIDE_PARALLEL_FOR (tide_buf_numel(&c->out[0]) / 3, 8192)       \
            for (int64_t i = lo; i < hi; i++) f(x + 3 * i, y + 3 * i); \
        return TIDE_OK;                                                \
    }
COLOURS(rgb_to_hsv_, to_hsv)
COLOURS(hsv_to_rgb_, to_rgb)
