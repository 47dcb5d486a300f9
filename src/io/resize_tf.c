/* TensorFlow's resizing of floats, and of u8 pictures to floats; Pillow's is in resize.c.
 *
 * It is separable: per axis, each output sample has a first input sample and weights. Invariant:
 * arithmetic follows the original in type and order, so that results are equal to the last rounding
 * of a float. */
#include "image.h"
#include "wide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

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

/* One output row's mix of input rows of n floats each. */
TIDE_BODY void mix_body(const float *x, int64_t n, const float *w, int64_t count, float *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * w[0];
    for (int64_t k = 1; k < count; k++) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] += x[k * n + i] * w[k];
    }
    if (count == 0) memset(y, 0, (size_t)n * sizeof *y);
}
TIDE_WIDE(mix, (const float *x, int64_t n, const float *w, int64_t count, float *y),
          (x, n, w, count, y))

/* All pixels of a row of w pixels. */
static void columns_any(const float *x, int64_t c, const tf_axis *a, int64_t first, int64_t ow,
                        float *y) {
    for (int64_t j = first; j < ow; j++)
        mix_body(x + a->first[j] * c, c, a->w + j * a->width, a->count[j], y + j * c);
}

#if defined(__x86_64__)
/* Those in front of which the whole row lies; how many they are. What is written behind a pixel the
 * next one overwrites. */
TIDE_AVX2 static int64_t columns3(const float *x, int64_t w, const tf_axis *a, int64_t ow,
                                  float *y) {
    int64_t j = 0;
    for (; j < ow - 1; j++) {
        const float *from = x + a->first[j] * 3, *k = a->w + j * a->width;
        const int64_t n = a->count[j];
        if (n == 0 || a->first[j] + n >= w) break;
        __m128 t = _mm_mul_ps(_mm_loadu_ps(from), _mm_set1_ps(k[0]));
        for (int64_t i = 1; i < n; i++)
            t = _mm_add_ps(t, _mm_mul_ps(_mm_loadu_ps(from + 3 * i), _mm_set1_ps(k[i])));
        _mm_storeu_ps(y + j * 3, t);
    }
    return j;
}
#endif

static void columns(const float *x, int64_t w, int64_t c, const tf_axis *a, int64_t ow, float *y) {
    int64_t done = 0;
#if defined(__x86_64__)
    if (c == 3 && __builtin_cpu_supports("avx2")) done = columns3(x, w, a, ow, y);
#endif
    (void)w;
    columns_any(x, c, a, done, ow, y);
}

static bool stopped(const volatile int *stop) {
    return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
}

/* -- bilinear, without antialiasing: a + (b - a) t as TensorFlow writes it, columns first. A row
 * that two rows of the result are made of is mixed across once, one that none is made of never --
 */

typedef struct {
    const void *x; /* (h, w, c) of a picture whose rows are `pitch` numbers apart */
    bool bytes;    /* u8 instead of floats */
    int64_t pitch, w, c;
} rows_of;

static void across_from(const rows_of *r, int64_t at, const tf_axis *ax, int64_t first, int64_t ow,
                        float *y) {
    const int64_t c = r->c;
    const uint8_t *u = r->bytes ? (const uint8_t *)r->x + at : NULL;
    const float *f = u ? NULL : (const float *)r->x + at;
    for (int64_t j = first; j < ow; j++) {
        const int64_t from = ax->first[j] * c, next = from + (ax->count[j] > 1 ? c : 0);
        const float t = ax->w[2 * j + 1];
        float *to = y + j * c;
        if (u)
            for (int64_t k = 0; k < c; k++) {
                const float a = u[from + k], b = u[next + k];
                to[k] = a + (b - a) * t;
            }
        else {
#pragma omp simd
            for (int64_t k = 0; k < c; k++) to[k] = f[from + k] + (f[next + k] - f[from + k]) * t;
        }
    }
}

#if defined(__x86_64__)
/* Those in front of which the whole row lies; how many they are. */
TIDE_AVX2 static int64_t across_from3(const rows_of *r, int64_t at, const tf_axis *ax, int64_t ow,
                                      float *y) {
    const int64_t end = (r->w - 1) * 3;
    const uint8_t *u = (const uint8_t *)r->x + at;
    const float *f = (const float *)r->x + at;
    int64_t j = 0;
    for (; j < ow - 1; j++) {
        const int64_t from = ax->first[j] * 3, next = from + (ax->count[j] > 1 ? 3 : 0);
        if (next >= end) break;
        __m128 a, b;
        if (r->bytes) {
            int32_t p, q;
            memcpy(&p, u + from, sizeof p), memcpy(&q, u + next, sizeof q);
            a = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(p)));
            b = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(q)));
        } else a = _mm_loadu_ps(f + from), b = _mm_loadu_ps(f + next);
        const __m128 t = _mm_set1_ps(ax->w[2 * j + 1]);
        _mm_storeu_ps(y + j * 3, _mm_add_ps(a, _mm_mul_ps(_mm_sub_ps(b, a), t)));
    }
    return j;
}
#endif

/* Row i, mixed across. */
static void across(const rows_of *r, int64_t i, const tf_axis *ax, int64_t ow, float *y) {
    int64_t done = 0;
#if defined(__x86_64__)
    if (r->c == 3 && __builtin_cpu_supports("avx2"))
        done = across_from3(r, i * r->pitch, ax, ow, y);
#endif
    across_from(r, i * r->pitch, ax, done, ow, y);
}

TIDE_BODY void between_rows_body(const float *a, const float *b, float t, int64_t n, float *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + (b[i] - a[i]) * t;
}
TIDE_WIDE(between_rows, (const float *a, const float *b, float t, int64_t n, float *y),
          (a, b, t, n, y))

/* One picture; `room` holds two rows of the result. */
static void bilinear(const rows_of *r, const tf_axis *ay, const tf_axis *ax, int64_t oh, int64_t ow,
                     const volatile int *stop, float *room, float *y) {
    const int64_t row = ow * r->c;
    int64_t held[2] = {-1, -1}; /* row i of the picture is mixed in room i % 2, if it is there */
    for (int64_t i = 0; i < oh && !stopped(stop); i++, y += row) {
        const int64_t first = ay->first[i], second = first + (ay->count[i] > 1);
        for (int64_t k = first; k <= second; k++) {
            if (held[k % 2] == k) continue;
            across(r, k, ax, ow, room + k % 2 * row);
            held[k % 2] = k;
        }
        between_rows(room + first % 2 * row, room + second % 2 * row, ay->w[2 * i + 1], row, y);
    }
}

/* The others: rows first, in `mid`, then columns. */
static void by_weights(const float *x, int64_t w, int64_t c, const tf_axis *ay, const tf_axis *ax,
                       int64_t oh, int64_t ow, const volatile int *stop, float *mid, float *y) {
    for (int64_t i = 0; i < oh && !stopped(stop); i++) {
        mix(x + ay->first[i] * w * c, w * c, ay->w + i * ay->width, ay->count[i], mid);
        columns(mid, w, c, ax, ow, y + i * ow * c);
    }
}

tide_status tide_resize_tf(const float *x, int64_t n, int64_t h, int64_t w, int64_t c, int64_t oh,
                           int64_t ow, tide_tf_method m, bool antialias, const volatile int *stop,
                           float *y) {
    tf_axis ay = {0}, ax = {0};
    const bool lerp = m == TIDE_TF_BILINEAR && !antialias;
    float *room = malloc((size_t)(lerp ? 2 * ow * c : w * c) * sizeof *room);
    tide_status st = TIDE_ENOMEM;
    if (!room || !tf_make(&ay, h, oh, m, antialias) || !tf_make(&ax, w, ow, m, antialias))
        goto done;
    for (int64_t k = 0; k < n; k++, x += h * w * c, y += oh * ow * c) {
        const rows_of r = {x, false, w * c, w, c};
        if (lerp) bilinear(&r, &ay, &ax, oh, ow, stop, room, y);
        else by_weights(x, w, c, &ay, &ax, oh, ow, stop, room, y);
    }
    st = stopped(stop) ? TIDE_EINTERRUPT : TIDE_OK;
done:
    tf_free(&ay), tf_free(&ax), free(room);
    return st;
}

/* Bilinear of a part of a picture, without floats of it first. */
static tide_status bilinear_u8(const rows_of *r, int64_t h, int64_t oh, int64_t ow, float *y) {
    tf_axis ay = {0}, ax = {0};
    float *room = malloc((size_t)(2 * ow * r->c) * sizeof *room);
    const bool ok = room && tf_linear(&ay, h, oh) && tf_linear(&ax, r->w, ow);
    if (ok) bilinear(r, &ay, &ax, oh, ow, NULL, room, y);
    tf_free(&ay), tf_free(&ax), free(room);
    return ok ? TIDE_OK : TIDE_ENOMEM;
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
    const bool padded = th != oh || tw != ow, direct = m == TIDE_TF_BILINEAR;
    const uint8_t *from = p->data + (top * p->width + left) * c;
    float *x = direct ? NULL : calloc((size_t)(h * w * c), sizeof *x);
    float *z = padded ? malloc((size_t)(th * tw * c) * sizeof *z) : y;
    tide_status st = (x || direct) && z ? TIDE_OK : TIDE_ENOMEM;
    if (st == TIDE_OK && direct) {
        st = bilinear_u8(&(rows_of){from, true, p->width * c, w, c}, h, th, tw, z);
    } else if (st == TIDE_OK) {
        for (int64_t i = 0; i < h; i++) {
            const uint8_t *s = from + i * p->width * c;
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
