/* Pillow's resizing of u8 pictures, in fixed point as Pillow computes it; TensorFlow's is in
 * resize_tf.c.
 *
 * It is separable: per axis, each output sample has a first input sample and weights. Invariant:
 * arithmetic follows the original in type and order, so that results are equal to the last bit. */
#include "image.h"
#include "wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

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

/* Sums of one sample's channels. */
static inline void weigh(const uint8_t *s, const int32_t *k, int32_t n, int c, uint8_t *y) {
    int32_t t[4] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1),
                    1 << (PRECISION - 1)};
    for (int32_t i = 0; i < n; i++, s += c)
        for (int q = 0; q < c; q++) t[q] += s[q] * k[i];
    for (int q = 0; q < c; q++) y[q] = clip8(t[q]);
}

/* (rows, in, c) -> (rows, out, c) */
static void across_any(const uint8_t *x, int64_t rows, int64_t in, int c, const pil_axis *a,
                       int64_t out, uint8_t *y) {
    for (int64_t r = 0; r < rows; r++, x += in * c)
        for (int64_t j = 0; j < out; j++, y += c)
            weigh(x + (int64_t)a->first[j] * c, a->k + j * a->width, a->count[j], c, y);
}

#if defined(__x86_64__)
TIDE_AVX2 static void across3(const uint8_t *x, int64_t rows, int64_t in, const pil_axis *a,
                              int64_t out, uint8_t *y) {
    const uint8_t *last = x + (rows * in - 1) * 3;
    for (int64_t r = 0; r < rows; r++, x += in * 3)
        for (int64_t j = 0; j < out; j++, y += 3) {
            const uint8_t *s = x + (int64_t)a->first[j] * 3;
            const int32_t *k = a->k + j * a->width, n = a->count[j];
            if (s + (n - 1) * 3 >= last) {
                weigh(s, k, n, 3, y);
                continue;
            }
            __m128i t = _mm_set1_epi32(1 << (PRECISION - 1));
            for (int32_t i = 0; i < n; i++, s += 3) {
                int32_t four;
                memcpy(&four, s, sizeof four);
                const __m128i v = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
                t = _mm_add_epi32(t, _mm_mullo_epi32(v, _mm_set1_epi32(k[i])));
            }
            t = _mm_srai_epi32(t, PRECISION);
            t = _mm_packus_epi16(_mm_packs_epi32(t, t), t);
            const uint32_t got = (uint32_t)_mm_cvtsi128_si32(t);
            y[0] = (uint8_t)got, y[1] = (uint8_t)(got >> 8), y[2] = (uint8_t)(got >> 16);
        }
}
#endif

static void pil_across(const uint8_t *x, int64_t rows, int64_t in, int c, const pil_axis *a,
                       int64_t out, uint8_t *y) {
#if defined(__x86_64__)
    if (c == 3 && __builtin_cpu_supports("avx2")) {
        across3(x, rows, in, a, out, y);
        return;
    }
#endif
    across_any(x, rows, in, c, a, out, y);
}

/* (in, row) -> (out, row); `base` is the first row that x holds, t has room for one */
TIDE_BODY void pil_down_rows_body(const uint8_t *x, int64_t row, const pil_axis *a, int64_t base,
                                  int64_t out, int32_t *t, uint8_t *y) {
    for (int64_t j = 0; j < out; j++, y += row) {
        for (int64_t q = 0; q < row; q++) t[q] = 1 << (PRECISION - 1);
        for (int32_t i = 0; i < a->count[j]; i++) {
            const uint8_t *s = x + (a->first[j] + i - base) * row;
            const int32_t k = a->k[j * a->width + i];
#pragma omp simd
            for (int64_t q = 0; q < row; q++) t[q] += s[q] * k;
        }
#pragma omp simd
        for (int64_t q = 0; q < row; q++) y[q] = clip8(t[q]);
    }
}
TIDE_WIDE(pil_down_rows,
          (const uint8_t *x, int64_t row, const pil_axis *a, int64_t base, int64_t out, int32_t *t,
           uint8_t *y),
          (x, row, a, base, out, t, y))

static bool pil_down(const uint8_t *x, int64_t row, const pil_axis *a, int64_t base, int64_t out,
                     uint8_t *y) {
    int32_t *t = malloc((size_t)row * sizeof *t);
    if (t) pil_down_rows(x, row, a, base, out, t, y);
    free(t);
    return t != NULL;
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
