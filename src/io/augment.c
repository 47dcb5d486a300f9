/* Random transformations of pictures, as Keras' ImageDataGenerator draws and applies them.
 *
 * Invariant: what a sample gets depends on (seed, epoch, index) only, never on which thread or in
 * what order it is made. The draws stand in Keras' order; the numbers behind them are SplitMix64's.
 */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- draws -- */

uint64_t tide_sample_next(uint64_t *s) { /* SplitMix64 (Steele, Lea, Flood 2014) */
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t tide_sample_seed(uint64_t seed, uint64_t epoch, uint64_t index) {
    uint64_t s = seed;
    s = tide_sample_next(&s) ^ epoch;
    s = tide_sample_next(&s) ^ index;
    return tide_sample_next(&s);
}

static double uniform(uint64_t *s, double lo, double hi) {
    return lo + (hi - lo) * ((double)(tide_sample_next(s) >> 11) * 0x1p-53);
}

static double shift(const tide_shift *r, int64_t size, uint64_t *s) {
    if (!r->on) return 0;
    double v;
    if (r->n > 0) {
        v = r->v[tide_sample_next(s) % (uint64_t)r->n];
        if (tide_sample_next(s) & 1) v = -v;
    } else {
        v = uniform(s, -r->v[0], r->v[0]);
    }
    return r->relative ? v * (double)size : v;
}

void tide_transform_draw(const tide_augment *a, int64_t h, int64_t w, uint64_t seed,
                         tide_transform *t) {
    uint64_t s = seed;
    *t = (tide_transform){.zx = 1, .zy = 1};
    if (a->rotation != 0) t->theta = uniform(&s, -a->rotation, a->rotation);
    t->tx = shift(&a->height_shift, h, &s);
    t->ty = shift(&a->width_shift, w, &s);
    if (a->shear != 0) t->shear = uniform(&s, -a->shear, a->shear);
    if (a->zoom[0] != 1 || a->zoom[1] != 1) {
        t->zx = uniform(&s, a->zoom[0], a->zoom[1]);
        t->zy = uniform(&s, a->zoom[0], a->zoom[1]);
    }
    t->flip_horizontal = (uniform(&s, 0, 1) < 0.5) & a->horizontal_flip;
    t->flip_vertical = (uniform(&s, 0, 1) < 0.5) & a->vertical_flip;
    if ((t->has_channel_shift = a->channel_shift != 0))
        t->channel_shift = uniform(&s, -a->channel_shift, a->channel_shift);
    if ((t->has_brightness = a->has_brightness))
        t->brightness = uniform(&s, a->brightness[0], a->brightness[1]);
}

/* -- the affine part -- */

static void product(double a[3][3], double b[3][3]) { /* a = a b */
    double c[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            c[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
    memcpy(a, c, sizeof c);
}

/* Rotation, shift, shear, zoom; about the centre; then both axes exchanged, as Keras does. False:
 * the identity. */
static bool compose(const tide_transform *t, int64_t h, int64_t w, tide_affine *out) {
    const double deg = 3.14159265358979323846 / 180;
    double m[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    bool any = false;
    if (t->theta != 0) {
        double c = cos(t->theta * deg), s = sin(t->theta * deg);
        product(m, (double[3][3]){{c, -s, 0}, {s, c, 0}, {0, 0, 1}});
        any = true;
    }
    if (t->tx != 0 || t->ty != 0)
        product(m, (double[3][3]){{1, 0, t->tx}, {0, 1, t->ty}, {0, 0, 1}}), any = true;
    if (t->shear != 0)
        product(
            m,
            (double[3][3]){{1, -sin(t->shear * deg), 0}, {0, cos(t->shear * deg), 0}, {0, 0, 1}}),
            any = true;
    if (t->zx != 1 || t->zy != 1)
        product(m, (double[3][3]){{t->zx, 0, 0}, {0, t->zy, 0}, {0, 0, 1}}), any = true;
    if (!any) return false;
    double ox = (double)h / 2 - 0.5, oy = (double)w / 2 - 0.5,
           c[3][3] = {{1, 0, ox}, {0, 1, oy}, {0, 0, 1}};
    product(c, m);
    product(c, (double[3][3]){{1, 0, -ox}, {0, 1, -oy}, {0, 0, 1}});
    *out = (tide_affine){.m = {{c[1][1], c[1][0]}, {c[0][1], c[0][0]}}, .o = {c[1][2], c[0][2]}};
    return true;
}

static void flipped(bool fh, bool fv, const float *x, int64_t h, int64_t w, int64_t c, float *y) {
    for (int64_t i = 0; i < h; i++) {
        const float *s = x + (fv ? h - 1 - i : i) * w * c;
        float *d = y + i * w * c;
        if (!fh) memcpy(d, s, (size_t)(w * c) * sizeof *d);
        else
            for (int64_t j = 0; j < w; j++)
                memcpy(d + j * c, s + (w - 1 - j) * c, (size_t)c * sizeof *d);
    }
}

static void extent(const float *x, int64_t n, float *lo, float *hi) {
    *lo = *hi = x[0];
    for (int64_t i = 1; i < n; i++) {
        if (x[i] < *lo) *lo = x[i];
        if (x[i] > *hi) *hi = x[i];
    }
}

/* Pillow's ImageEnhance.Brightness on u8: a mix of black and the picture, truncated. Values outside
 * of 0..255 are brought into that range first and back afterwards, as Keras does. Alpha is left
 * alone. */
static void brighten(float *x, int64_t pixels, int64_t c, double brightness) {
    float lo, hi, b = (float)brightness;
    extent(x, pixels * c, &lo, &hi);
    bool local = lo < 0 || hi > 255;
    float top = hi - lo;
    for (int64_t i = 0; i < pixels * c; i++) {
        float v = x[i];
        if (local) {
            v -= lo;
            if (top != 0) v /= top;
            v *= 255;
        }
        int u = (uint8_t)(int)v;
        if (c != 4 || i % 4 != 3) {
            float t = b * (float)u;
            u = t <= 0 ? 0 : t >= 255 ? 255 : (int)t;
        }
        v = (float)u;
        x[i] = local ? v / 255 * (hi - lo) + lo : v;
    }
}

tide_status tide_transform_apply(const tide_augment *a, const tide_transform *t, const float *x,
                                 int64_t h, int64_t w, int64_t c, float *y) {
    tide_affine m;
    int64_t n = h * w * c;
    if (n == 0) return TIDE_OK;
    if (!compose(t, h, w, &m)) {
        flipped(t->flip_horizontal, t->flip_vertical, x, h, w, c, y);
    } else {
        tide_status st = tide_resample(a, &m, t->flip_horizontal, t->flip_vertical, x, h, w, c, y);
        if (st != TIDE_OK) return st;
    }
    if (t->has_channel_shift) { /* clipped to the picture's own range */
        float lo, hi, by = (float)t->channel_shift;
        extent(y, n, &lo, &hi);
        for (int64_t i = 0; i < n; i++) {
            float v = y[i] + by;
            y[i] = v < lo ? lo : v > hi ? hi : v;
        }
    }
    if (t->has_brightness) {
        if (c != 1 && c != 3 && c != 4) return TIDE_ESHAPE;
        brighten(y, h * w, c, t->brightness);
    }
    return TIDE_OK;
}

void tide_standardize(const tide_augment *a, float *x, int64_t pixels, int64_t c) {
    int64_t n = pixels * c;
    if (a->rescale != 0) {
        float r = (float)a->rescale;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) x[i] *= r;
    }
    if (a->samplewise_center || a->samplewise_std) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++) sum += (double)x[i];
        double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
        float m = a->samplewise_center ? (float)mean : 0,
              s = a->samplewise_std ? (float)(sqrt(square / (double)n) + 1e-6) : 1;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) x[i] = (x[i] - m) / s;
    }
    for (int64_t k = 0; a->mean && k < c; k++)
        for (int64_t i = k; i < n; i += c) x[i] -= a->mean[k];
    for (int64_t k = 0; a->std && k < c; k++)
        for (int64_t i = k; i < n; i += c) x[i] /= a->std[k] + 1e-6f;
}
