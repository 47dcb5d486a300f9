/* Two resizers: Pillow's, of u8 pictures, in fixed point as Pillow computes it, and TensorFlow's,
 * of floats.
 *
 * Both are separable: per axis, each output sample has a first input sample and weights. Invariant:
 * arithmetic follows the original in type and order, so results are equal to the last bit (Pillow)
 * or the last float rounding (TensorFlow). */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

/* -- Pillow -- */

static const char *const pil_names[] = {"nearest", "bilinear", "bicubic",
                                        "box",     "hamming",  "lanczos"};
static const double pil_support[] = {0, 1, 2, 0.5, 1, 3};

int tide_pil_filter_of(const char *name) {
    for (int i = 0; i < 6; i++)
        if (!strcmp(name, pil_names[i])) return i;
    return -1;
}

static double sinc(double x) {
    if (x == 0) return 1;
    x *= PI;
    return sin(x) / x;
}

static double pil_weight(tide_pil_filter f, double x) {
    switch (f) {
    case TIDE_PIL_BOX: return x > -0.5 && x <= 0.5 ? 1 : 0;
    case TIDE_PIL_BILINEAR: x = fabs(x); return x < 1 ? 1 - x : 0;
    case TIDE_PIL_HAMMING:
        x = fabs(x);
        if (x == 0) return 1;
        if (x >= 1) return 0;
        x *= PI;
        return sin(x) / x * (0.54 + 0.46 * cos(x));
    case TIDE_PIL_BICUBIC: /* Keys, a = -0.5 */
        x = fabs(x);
        if (x < 1) return ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1;
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    case TIDE_PIL_LANCZOS: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    default: return 0;
    }
}

#define PRECISION 22 /* 32 bits less 8 of the sample and 2 of overshoot */

typedef struct {
    int64_t width; /* weights per output sample */
    int32_t *first, *count, *k;
} pil_axis;

static void pil_free(pil_axis *a) { free(a->first), free(a->count), free(a->k); }

static bool pil_make(pil_axis *a, int64_t in, double lo, double hi, int64_t out,
                     tide_pil_filter f) {
    double scale = (hi - lo) / (double)out, filter = scale < 1 ? 1 : scale,
           support = pil_support[f] * filter, ss = 1 / filter;
    a->width = (int64_t)ceil(support) * 2 + 1;
    a->first = malloc((size_t)out * sizeof *a->first);
    a->count = malloc((size_t)out * sizeof *a->count);
    a->k = calloc((size_t)(out * a->width), sizeof *a->k);
    double *w = malloc((size_t)a->width * sizeof *w);
    bool ok = a->first && a->count && a->k && w;
    for (int64_t x = 0; ok && x < out; x++) {
        double center = lo + ((double)x + 0.5) * scale, sum = 0;
        int64_t from = (int64_t)(center - support + 0.5), to = (int64_t)(center + support + 0.5);
        if (from < 0) from = 0;
        if (to > in) to = in;
        for (int64_t i = 0; i < to - from; i++)
            sum += w[i] = pil_weight(f, ((double)(i + from) - center + 0.5) * ss);
        for (int64_t i = 0; i < to - from; i++) {
            double v = (sum != 0 ? w[i] / sum : w[i]) * (1 << PRECISION);
            a->k[x * a->width + i] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
        }
        a->first[x] = (int32_t)from, a->count[x] = (int32_t)(to - from);
    }
    free(w);
    return ok;
}

static inline uint8_t clip8(int32_t v) {
    v >>= PRECISION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* (rows, in, c) -> (rows, out, c) */
static void pil_across(const uint8_t *x, int64_t rows, int64_t in, int c, const pil_axis *a,
                       int64_t out, uint8_t *y) {
    for (int64_t r = 0; r < rows; r++, x += in * c)
        for (int64_t j = 0; j < out; j++, y += c) {
            const uint8_t *s = x + (int64_t)a->first[j] * c;
            const int32_t *k = a->k + j * a->width;
            int32_t t[4] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1),
                            1 << (PRECISION - 1)};
            for (int32_t i = 0; i < a->count[j]; i++, s += c)
                for (int q = 0; q < c; q++) t[q] += s[q] * k[i];
            for (int q = 0; q < c; q++) y[q] = clip8(t[q]);
        }
}

/* (in, row) -> (out, row); `base` is the first row that x holds */
static bool pil_down(const uint8_t *x, int64_t row, const pil_axis *a, int64_t base, int64_t out,
                     uint8_t *y) {
    int32_t *t = malloc((size_t)row * sizeof *t);
    if (!t) return false;
    for (int64_t j = 0; j < out; j++, y += row) {
        for (int64_t q = 0; q < row; q++) t[q] = 1 << (PRECISION - 1);
        for (int32_t i = 0; i < a->count[j]; i++) {
            const uint8_t *s = x + (a->first[j] + i - base) * row;
            int32_t k = a->k[j * a->width + i];
            for (int64_t q = 0; q < row; q++) t[q] += s[q] * k;
        }
        for (int64_t q = 0; q < row; q++) y[q] = clip8(t[q]);
    }
    free(t);
    return true;
}

static tide_status no_memory(int64_t h, int64_t w, tide_image_error *e) {
    return tide_image_fail(e, TIDE_ENOMEM, "not enough memory to resize to %lld x %lld",
                           (long long)h, (long long)w);
}

static tide_status pil_nearest(const tide_image *p, const int64_t box[4], tide_image *out,
                               tide_image_error *e) {
    int c = p->channels * (p->wide ? 2 : 1);
    int32_t *at = malloc((size_t)out->width * sizeof *at);
    if (!at) return no_memory(out->height, out->width, e);
    double sx = (double)(box[2] - box[0]) / (double)out->width,
           sy = (double)(box[3] - box[1]) / (double)out->height;
    double x = (double)box[0] + sx * 0.5, y = (double)box[1] + sy * 0.5;
    int64_t inside = 0;
    for (; inside < out->width && x < (double)p->width; inside++, x += sx) at[inside] = (int32_t)x;
    for (int64_t i = 0; i < out->height; i++, y += sy) {
        uint8_t *d = out->data + i * out->width * c;
        const uint8_t *s = p->data + (int64_t)y * p->width * c;
        if (y >= (double)p->height) {
            memset(d, 0, (size_t)(out->width * c));
        } else if (c == 3) {
            for (int64_t j = 0; j < inside; j++, d += 3) {
                const uint8_t *q = s + (int64_t)at[j] * 3;
                d[0] = q[0], d[1] = q[1], d[2] = q[2];
            }
            memset(d, 0, (size_t)((out->width - inside) * 3));
        } else {
            for (int64_t j = 0; j < inside; j++, d += c)
                for (int k = 0; k < c; k++) d[k] = s[(int64_t)at[j] * c + k];
            memset(d, 0, (size_t)((out->width - inside) * c));
        }
    }
    free(at);
    return TIDE_OK;
}

/* Pillow resizes colours multiplied by alpha. */
static void premultiply(uint8_t *d, int64_t n, int c) {
    for (int64_t i = 0; i < n; i++, d += c)
        for (int q = 0; q < c - 1; q++) {
            int t = d[q] * d[c - 1] + 128;
            d[q] = (uint8_t)(((t >> 8) + t) >> 8);
        }
}
static void unpremultiply(uint8_t *d, int64_t n, int c) {
    for (int64_t i = 0; i < n; i++, d += c) {
        int a = d[c - 1];
        if (a == 0 || a == 255) continue;
        for (int q = 0; q < c - 1; q++) {
            int t = 255 * d[q] / a;
            d[q] = (uint8_t)(t > 255 ? 255 : t);
        }
    }
}

/* Grey of 16 bits by a filter, across and then down, each rounded to 16 bits. */
static tide_status wide_resize(const tide_image *p, const int64_t box[4], tide_pil_filter f,
                               tide_image *out, tide_image_error *e) {
    int64_t h = out->height, w = out->width;
    const uint16_t *x = (const void *)p->data;
    uint16_t *y = (void *)out->data, *mid = malloc((size_t)(p->height * w) * sizeof *mid);
    pil_axis ax = {0}, ay = {0};
    bool ok = mid && pil_make(&ax, p->width, (double)box[0], (double)box[2], w, f) &&
        pil_make(&ay, p->height, (double)box[1], (double)box[3], h, f);
    for (int pass = 0; ok && pass < 2; pass++) {
        const pil_axis *a = pass ? &ay : &ax;
        const uint16_t *from = pass ? mid : x;
        int64_t step = pass ? w : 1; /* between the samples that one sum takes */
        for (int64_t i = 0; i < (pass ? h : p->height); i++)
            for (int64_t j = 0; j < w; j++) {
                int64_t at = pass ? i : j, t = 1 << (PRECISION - 1);
                const uint16_t *s =
                    pass ? from + a->first[at] * w + j : from + i * p->width + a->first[at];
                for (int32_t k = 0; k < a->count[at]; k++)
                    t += (int64_t)s[k * step] * a->k[at * a->width + k];
                t >>= PRECISION;
                (pass ? y : mid)[i * w + j] = (uint16_t)(t < 0 ? 0 : t > 65535 ? 65535 : t);
            }
    }
    pil_free(&ax), pil_free(&ay), free(mid);
    return ok ? TIDE_OK : no_memory(h, w, e);
}

tide_status tide_image_resize(const tide_image *p, const int64_t box[4], int64_t h, int64_t w,
                              tide_pil_filter f, tide_image *out, tide_image_error *e) {
    int c = p->channels;
    int64_t bw = box[2] - box[0], bh = box[3] - box[1];
    pil_axis ax = {0}, ay = {0};
    uint8_t *copy = NULL, *mid = NULL;
    const uint8_t *src = p->data;
    bool alpha = (c == 2 || c == 4) && f != TIDE_PIL_NEAREST, ok = true;
    *out = (tide_image){.height = h, .width = w, .channels = c, .wide = p->wide};
    out->data = malloc((size_t)(h * w * c) * (p->wide ? 2 : 1));
    if (!out->data) return no_memory(h, w, e);
    if (p->wide && f != TIDE_PIL_NEAREST) {
        tide_status st = wide_resize(p, box, f, out, e);
        if (st != TIDE_OK) tide_image_free(out);
        return st;
    }
    if (f == TIDE_PIL_NEAREST) {
        tide_status st = pil_nearest(p, box, out, e);
        if (st != TIDE_OK) tide_image_free(out);
        return st;
    }
    if (alpha) {
        if (!(copy = malloc((size_t)(p->height * p->width * c)))) goto fail;
        memcpy(copy, p->data, (size_t)(p->height * p->width * c));
        premultiply(copy, p->height * p->width, c);
        src = copy;
    }
    bool across = w != p->width || box[0] || bw != w, down = h != p->height || box[1] || bh != h;
    if (!pil_make(&ax, p->width, (double)box[0], (double)box[2], w, f) ||
        !pil_make(&ay, p->height, (double)box[1], (double)box[3], h, f))
        goto fail;
    int64_t base = ay.first[0], last = ay.first[h - 1] + ay.count[h - 1];
    if (across) {
        uint8_t *to = out->data;
        if (down) {
            if (!(mid = malloc((size_t)((last - base) * w * c)))) goto fail;
            to = mid;
        } else {
            base = 0, last = h;
        }
        pil_across(src + base * p->width * c, last - base, p->width, c, &ax, w, to);
        if (down) ok = pil_down(mid, w * c, &ay, base, h, out->data);
    } else if (down) {
        ok = pil_down(src, w * c, &ay, 0, h, out->data);
    } else {
        memcpy(out->data, src, (size_t)(h * w * c));
    }
    if (!ok) goto fail;
    if (alpha) unpremultiply(out->data, h * w, c);
    pil_free(&ax), pil_free(&ay), free(copy), free(mid);
    return TIDE_OK;
fail:
    pil_free(&ax), pil_free(&ay), free(copy), free(mid);
    tide_image_free(out);
    return no_memory(h, w, e);
}

tide_status tide_image_fit(const tide_image *p, int64_t h, int64_t w, tide_pil_filter f, bool keep,
                           tide_image *out, tide_image_error *e) {
    int64_t box[4] = {0, 0, p->width, p->height};
    if (keep) {
        int64_t ch = p->width * h / w, cw = p->height * w / h;
        if (ch > p->height) ch = p->height;
        if (cw > p->width) cw = p->width;
        if (ch < 1) ch = 1;
        if (cw < 1) cw = 1;
        box[0] = (p->width - cw) / 2, box[1] = (p->height - ch) / 2;
        box[2] = box[0] + cw, box[3] = box[1] + ch;
    }
    return tide_image_resize(p, box, h, w, f, out, e);
}

/* -- TensorFlow -- */

static const char *const tf_names[] = {"nearest",  "bilinear", "bicubic",  "area",
                                       "lanczos3", "lanczos5", "gaussian", "mitchellcubic"};

int tide_tf_method_of(const char *name) {
    for (int i = 0; i < 8; i++)
        if (!strcmp(name, tf_names[i])) return i;
    return -1;
}

static float tf_radius(tide_tf_method m) {
    switch (m) {
    case TIDE_TF_BILINEAR: return 1;
    case TIDE_TF_LANCZOS3: return 3;
    case TIDE_TF_LANCZOS5: return 5;
    case TIDE_TF_GAUSSIAN: return 1.5f;
    default: return 2;
    }
}

static float tf_weight(tide_tf_method m, float x) {
    float r = tf_radius(m);
    switch (m) {
    case TIDE_TF_BILINEAR: return x < 1 ? 1 - x : 0;
    case TIDE_TF_LANCZOS3:
    case TIDE_TF_LANCZOS5:
        if (x > r) return 0;
        if (x <= 1e-3f) return 1;
        return (float)((double)r * sin(PI * (double)x) * sin(PI * (double)x / (double)r) /
                       (PI * PI * (double)x * (double)x));
    case TIDE_TF_GAUSSIAN: { /* sigma is a third of the radius */
        if (x >= r) return 0;
        float s = r / 3;
        return expf(-x * x / (2 * s * s));
    }
    case TIDE_TF_BICUBIC: /* Keys */
        if (x >= 2) return 0;
        return x >= 1 ? ((-0.5f * x + 2.5f) * x - 4) * x + 2 : ((1.5f * x - 2.5f) * x) * x + 1;
    default: /* Mitchell and Netravali, B = C = 1/3 */
        if (x >= 2) return 0;
        return x >= 1 ? (((-7.0f / 18) * x + 2) * x - 10.0f / 3) * x + 16.0f / 9
                      : (((7.0f / 6) * x - 2) * x) * x + 8.0f / 9;
    }
}

typedef struct {
    int64_t width; /* room per output sample */
    int64_t *first, *count;
    float *w;
} tf_axis;

static void tf_free(tf_axis *a) { free(a->first), free(a->count), free(a->w); }

static bool tf_room(tf_axis *a, int64_t out, int64_t width) {
    a->width = width;
    a->first = calloc((size_t)out, sizeof *a->first);
    a->count = calloc((size_t)out, sizeof *a->count);
    a->w = calloc((size_t)(out * width), sizeof *a->w);
    return a->first && a->count && a->w;
}

static int64_t within(int64_t v, int64_t n) { return v < 0 ? 0 : v >= n ? n - 1 : v; }

/* Weights of ScaleAndTranslate: what antialias uses, and every method without a kernel of its own.
 */
static bool tf_spans(tf_axis *a, int64_t in, int64_t out, tide_tf_method m, bool antialias) {
    float scale = (float)out / (float)in, inverse = (float)(1.0 / (double)scale);
    float kernel = antialias && inverse > 1 ? inverse : 1, r = tf_radius(m),
          one_over = 1.0f / kernel;
    int64_t width = 2 * (int64_t)ceilf(r * kernel) + 1;
    if (!tf_room(a, out, width < in ? width : in)) return false;
    for (int64_t x = 0; x < out; x++) {
        float at = ((float)x + 0.5f) * inverse;
        if (at < 0 || at > (float)in) continue;
        int64_t from = within((int64_t)ceilf(at - r * kernel - 0.5f), in),
                to = within((int64_t)floorf(at + r * kernel - 0.5f), in) + 1;
        float sum = 0, *w = a->w + x * a->width;
        for (int64_t i = from; i < to && i - from < a->width; i++)
            sum += w[i - from] = tf_weight(m, fabsf(((float)i + 0.5f - at) * one_over));
        if (fabsf(sum) >= 1000.0f * 1.17549435e-38f)
            for (int64_t i = 0; i < to - from && i < a->width; i++) w[i] *= 1.0f / sum;
        else memset(w, 0, (size_t)a->width * sizeof *w);
        a->first[x] = from, a->count[x] = to - from < a->width ? to - from : a->width;
    }
    return true;
}

/* Keys' cubic from a table of 1024 steps, samples outside left out and the rest normalized. */
static bool tf_cubic(tf_axis *a, int64_t in, int64_t out) {
    if (!tf_room(a, out, 4)) return false;
    float scale = (float)in / (float)out;
    for (int64_t x = 0; x < out; x++) {
        float at = ((float)x + 0.5f) * scale - 0.5f, sum = 0, *w = a->w + x * 4;
        int64_t base = (int64_t)floorf(at), offset = lrintf((at - (float)base) * 1024);
        int64_t from = base - 1 < 0 ? 0 : base - 1, to = base + 3 > in ? in : base + 3;
        for (int64_t i = from; i < to; i++) {
            int64_t k = i - base; /* -1, 0, 1, 2 */
            int64_t step = k <= 0 ? offset : 1024 - offset;
            float t = (float)((double)step / 1024), v;
            if (k == 0 || k == 1) {
                v = (float)(((-0.5 + 2) * (double)t - (-0.5 + 3)) * (double)t * (double)t + 1);
            } else {
                t = (float)((double)t + 1.0);
                v = (float)(((-0.5 * (double)t + 2.5) * (double)t - 4) * (double)t + 2);
            }
            sum += w[i - from] = v;
        }
        for (int64_t i = 0; i < to - from; i++) w[i] *= 1.0f / sum;
        a->first[x] = from, a->count[x] = to - from;
    }
    return true;
}

static bool tf_linear(tf_axis *a, int64_t in, int64_t out) {
    if (!tf_room(a, out, 2)) return false;
    float scale = (float)in / (float)out;
    for (int64_t x = 0; x < out; x++) {
        float at = ((float)x + 0.5f) * scale - 0.5f, base = floorf(at);
        int64_t lo = within((int64_t)base, in), hi = within((int64_t)ceilf(at), in);
        a->first[x] = lo, a->count[x] = hi == lo ? 1 : 2;
        a->w[2 * x + 1] = at - base;
        a->w[2 * x] = 1;
    }
    return true;
}

static bool tf_area(tf_axis *a, int64_t in, int64_t out) {
    float scale = (float)in / (float)out;
    if (!tf_room(a, out, (int64_t)ceilf(scale) + 2)) return false;
    for (int64_t x = 0; x < out; x++) {
        float lo = (float)x * scale, hi = (float)(x + 1) * scale;
        int64_t from = (int64_t)floorf(lo), to = (int64_t)ceilf(hi);
        if (to > in) to = in;
        for (int64_t i = from; i < to && i - from < a->width; i++) {
            float at = (float)i, next = (float)(i + 1);
            float part = at < lo ? (next > hi ? scale : next - lo) : next > hi ? hi - at : 1;
            a->w[x * a->width + i - from] = part / scale;
        }
        a->first[x] = from, a->count[x] = to - from;
    }
    return true;
}

static bool tf_nearest(tf_axis *a, int64_t in, int64_t out) {
    if (!tf_room(a, out, 1)) return false;
    float scale = (float)in / (float)out;
    for (int64_t x = 0; x < out; x++) {
        a->first[x] = within((int64_t)floorf(((float)x + 0.5f) * scale), in);
        a->count[x] = 1, a->w[x] = 1;
    }
    return true;
}

static bool tf_make(tf_axis *a, int64_t in, int64_t out, tide_tf_method m, bool antialias) {
    if (m == TIDE_TF_NEAREST) return tf_nearest(a, in, out);
    if (m == TIDE_TF_AREA) return tf_area(a, in, out);
    if (m == TIDE_TF_BILINEAR && !antialias) return tf_linear(a, in, out);
    if (m == TIDE_TF_BICUBIC && !antialias) return tf_cubic(a, in, out);
    return tf_spans(a, in, out, m, antialias);
}

/* One output row's mix of input rows (`n` floats each); `lerp`: bilinear as TensorFlow writes it, a
 * + (b - a) t. */
static void mix(const float *x, int64_t n, const float *w, int64_t count, bool lerp, float *y) {
    if (lerp) {
        const float *b = count > 1 ? x + n : x;
        for (int64_t i = 0; i < n; i++) y[i] = x[i] + (b[i] - x[i]) * w[1];
        return;
    }
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * w[0];
    for (int64_t k = 1; k < count; k++)
        for (int64_t i = 0; i < n; i++) y[i] += x[k * n + i] * w[k];
    if (count == 0) memset(y, 0, (size_t)n * sizeof *y);
}

static bool stopped(const volatile int *stop) {
    return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

tide_status tide_resize_tf(const float *x, int64_t n, int64_t h, int64_t w, int64_t c, int64_t oh,
                           int64_t ow, tide_tf_method m, bool antialias, const volatile int *stop,
                           float *y) {
    tf_axis ay = {0}, ax = {0};
    bool lerp = m == TIDE_TF_BILINEAR && !antialias;
    /* bilinear mixes columns first, the others rows first */
    float *mid = malloc((size_t)(lerp ? h * ow * c : oh * w * c) * sizeof *mid);
    tide_status st = TIDE_ENOMEM;
    if (!mid || !tf_make(&ay, h, oh, m, antialias) || !tf_make(&ax, w, ow, m, antialias)) goto done;
    for (int64_t k = 0; k < n; k++, x += h * w * c, y += oh * ow * c) {
        const float *from = lerp ? mid : x;
        float *to = lerp ? y : mid;
        int64_t row = lerp ? ow * c : w * c;
        for (int pass = 0; pass < 2; pass++) {
            if ((pass == 0) == lerp) { /* across */
                const float *s = lerp ? x : mid;
                float *d = lerp ? mid : y;
                for (int64_t i = 0; i < (lerp ? h : oh) && !stopped(stop); i++, s += w * c)
                    for (int64_t j = 0; j < ow; j++, d += c)
                        mix(s + ax.first[j] * c, c, ax.w + j * ax.width, ax.count[j], lerp, d);
            } else { /* down */
                for (int64_t i = 0; i < oh && !stopped(stop); i++)
                    mix(from + ay.first[i] * row, row, ay.w + i * ay.width, ay.count[i], lerp,
                        to + i * row);
            }
        }
    }
    st = stopped(stop) ? TIDE_EINTERRUPT : TIDE_OK;
done:
    tf_free(&ay), tf_free(&ax), free(mid);
    return st;
}

tide_status tide_image_fit_tf(const tide_image *p, int64_t oh, int64_t ow, tide_tf_method m,
                              tide_aspect aspect, float *y) {
    int64_t top = 0, left = 0, h = p->height, w = p->width, c = p->channels, th = oh, tw = ow,
            down = 0, right = 0;
    if (aspect == TIDE_ASPECT_CROP) { /* in float, as Keras computes it */
        int64_t ch = (int64_t)((float)(w * oh) / (float)ow),
                cw = (int64_t)((float)(h * ow) / (float)oh);
        ch = ch > h ? h : ch < 1 ? 1 : ch;
        cw = cw > w ? w : cw < 1 ? 1 : cw;
        top = (h - ch) / 2, left = (w - cw) / 2, h = ch, w = cw;
    } else if (aspect == TIDE_ASPECT_PAD) {
        float down_by = (float)h / (float)oh, right_by = (float)w / (float)ow;
        float ratio = down_by > right_by ? down_by : right_by, fh = (float)h / ratio,
              fw = (float)w / ratio;
        th = (int64_t)fh, tw = (int64_t)fw;
        th = th < 1 ? 1 : th > oh ? oh : th;
        tw = tw < 1 ? 1 : tw > ow ? ow : tw;
        down = (int64_t)(((float)oh - fh) / 2), right = (int64_t)(((float)ow - fw) / 2);
        if (down < 0 || down > oh - th) down = 0;
        if (right < 0 || right > ow - tw) right = 0;
    }
    bool padded = th != oh || tw != ow;
    float *x = calloc((size_t)(h * w * c), sizeof *x);
    float *z = padded ? malloc((size_t)(th * tw * c) * sizeof *z) : y;
    tide_status st = x && z ? TIDE_OK : TIDE_ENOMEM;
    if (st == TIDE_OK) {
        for (int64_t i = 0; i < h; i++) {
            const uint8_t *s = p->data + ((top + i) * p->width + left) * c;
            for (int64_t j = 0; j < w * c; j++) x[i * w * c + j] = s[j];
        }
        st = tide_resize_tf(x, 1, h, w, c, th, tw, m, false, NULL, z);
    }
    if (st == TIDE_OK && padded) {
        memset(y, 0, (size_t)(oh * ow * c) * sizeof *y);
        for (int64_t i = 0; i < th; i++)
            memcpy(y + ((down + i) * ow + right) * c, z + i * tw * c, (size_t)(tw * c) * sizeof *y);
    }
    if (padded) free(z);
    free(x);
    return st;
}
