/* GIF, still and animated. Invariant: codes and positions of the stream are checked before they
 * index anything; a canvas is allocated after its size and the number of frames passed the limits.
 * What lies outside of the frames, disposal and transparency are Pillow's. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

#define CODES 4096

typedef struct {
    const uint8_t *b;
    size_t n, at;
} reader;

typedef struct {
    int64_t x, y, w, h;
    size_t data;    /* where the minimal code size stands */
    size_t palette; /* of its own: where it stands; 0: none */
    int colors;     /* of that palette */
    int transparent, disposal;
    bool interlaced;
} frame;

typedef struct {
    int64_t w, h; /* of the screen, grown by frames that stick out */
    size_t palette;
    int colors, background;
} screen;

static int next(reader *r) { return r->at < r->n ? r->b[r->at++] : -1; }
static int next16(reader *r) {
    int lo = next(r), hi = next(r);
    return hi < 0 ? -1 : lo | hi << 8;
}

/* Over data blocks up to their end; false: the file ends first. */
static bool skip_blocks(reader *r) {
    for (int n = next(r); n != 0; n = next(r)) {
        if (n < 0 || (size_t)n > r->n - r->at) return false;
        r->at += (size_t)n;
    }
    return true;
}

/* 1: the next frame; 0: no more; -1: the file ends inside of it. A graphic control tells of the
 * frame after it. */
static int next_frame(reader *r, frame *f) {
    *f = (frame){.transparent = -1};
    for (;;) {
        int kind = next(r);
        if (kind < 0 || kind == ';') return 0;
        if (kind == '!') {
            if (next(r) == 0xf9 && r->n - r->at >= 5 && r->b[r->at] >= 4) {
                const uint8_t *p = r->b + r->at + 1;
                f->disposal = p[0] >> 2 & 7;
                f->transparent = p[0] & 1 ? p[3] : -1;
            }
            if (!skip_blocks(r)) return -1;
        } else if (kind == ',') {
            f->x = next16(r), f->y = next16(r), f->w = next16(r), f->h = next16(r);
            int flags = next(r);
            if (flags < 0) return -1;
            f->interlaced = flags & 64;
            if (flags & 128) {
                f->palette = r->at, f->colors = 2 << (flags & 7);
                if ((size_t)f->colors * 3 > r->n - r->at) return -1;
                r->at += (size_t)f->colors * 3;
            }
            f->data = r->at;
            next(r);
            return 1;
        }
    }
}

typedef struct {
    reader r;
    int left; /* bytes of this block */
    uint32_t bits;
    int count;
} codes;

/* -1: the data end. */
static int code(codes *c, int width) {
    while (c->count < width) {
        if (c->left == 0 && (c->left = next(&c->r)) <= 0) return -1;
        int v = next(&c->r);
        if (v < 0) return -1;
        c->bits |= (uint32_t)v << c->count, c->count += 8, c->left--;
    }
    int v = (int)(c->bits & ((1u << width) - 1));
    c->bits >>= width, c->count -= width;
    return v;
}

/* The frame's indices to y, which is (h, w). An end code may come early; a stream that breaks off
 * is an error. */
static tide_status indices(const uint8_t *b, size_t n, const frame *f, uint8_t *y,
                           tide_image_error *e) {
    uint16_t prefix[CODES];
    uint8_t suffix[CODES], stack[CODES];
    codes c = {.r = {b, n, f->data}};
    int least = next(&c.r);
    if (least < 1 || least > 8)
        return tide_image_fail(e, TIDE_EIO, "is not a valid GIF: codes of %d bits", least);
    int clear = 1 << least, width = least + 1, free_code = clear + 2, before = -1, first = 0;
    static const int start[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    int64_t row = 0, col = 0;
    for (int k = 0; k < clear; k++) suffix[k] = (uint8_t)k;
    for (int pass = 0; row < f->h;) {
        int v = code(&c, width), depth = 0;
        if (v < 0) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        if (v == clear + 1) return TIDE_OK;
        if (v == clear) {
            width = least + 1, free_code = clear + 2, before = -1;
            continue;
        }
        if (v > free_code || (before < 0 && v >= clear) || (v == free_code && free_code == CODES))
            return tide_image_fail(e, TIDE_EIO,
                                   "is not a valid GIF: a code that is not defined yet");
        int walk = v;
        if (v == free_code) stack[depth++] = (uint8_t)first, walk = before;
        for (; walk >= clear; walk = prefix[walk]) stack[depth++] = suffix[walk];
        first = suffix[walk];
        stack[depth++] = (uint8_t)first;
        if (before >= 0 && free_code < CODES) {
            prefix[free_code] = (uint16_t)before, suffix[free_code] = (uint8_t)first;
            if (++free_code == 1 << width && width < 12) width++;
        }
        before = v;
        while (depth > 0 && row < f->h) {
            y[row * f->w + col] = stack[--depth];
            if (++col < f->w) continue;
            col = 0, row += f->interlaced ? step[pass] : 1;
            while (f->interlaced && row >= f->h && pass < 3) row = start[++pass];
        }
    }
    return TIDE_OK;
}

typedef uint8_t color[4];

/* 256 colours; false: the indices are grey values themselves. Colours that the file leaves out are
 * grey. */
static bool colors_of(const uint8_t *b, const screen *s, const frame *f, color *out) {
    const uint8_t *p = f->palette ? b + f->palette : b + s->palette;
    int n = f->palette ? f->colors : s->colors;
    bool any = false;
    for (int k = 0; k < 256; k++) {
        for (int i = 0; i < 3; i++) {
            out[k][i] = k < n ? p[3 * k + i] : (uint8_t)k;
            any |= out[k][i] != k;
        }
        out[k][3] = k == f->transparent ? 0 : 255;
    }
    return any;
}

/* The first frame: 1 or 3 channels, one more if it has a transparent colour. */
static tide_status still(const uint8_t *b, size_t n, const screen *s, const frame *f,
                         tide_image *out, tide_image_error *e) {
    color colors[256];
    int c = (colors_of(b, s, f, colors) ? 3 : 1) + (f->transparent >= 0);
    int64_t pixels = s->w * s->h;
    uint8_t *y = malloc((size_t)(f->w * f->h) + 1), *d = malloc((size_t)(pixels * c));
    tide_status st = TIDE_OK;
    if (!y || !d) {
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld",
                             (long long)s->h, (long long)s->w);
    } else {
        int outside = f->transparent >= 0 ? f->transparent : 0;
        memset(y, outside, (size_t)(f->w * f->h));
        st = indices(b, n, f, y, e);
        for (int64_t i = 0; st == TIDE_OK && i < s->h; i++)
            for (int64_t j = 0; j < s->w; j++) {
                int64_t p = i - f->y, q = j - f->x;
                bool in = p >= 0 && p < f->h && q >= 0 && q < f->w;
                const uint8_t *v = colors[in ? y[p * f->w + q] : outside];
                uint8_t *to = d + (i * s->w + j) * c;
                memcpy(to, v, c < 3 ? 1 : 3);
                if (c == 2 || c == 4) to[c - 1] = v[3];
            }
    }
    free(y);
    if (st != TIDE_OK) free(d);
    else *out = (tide_image){.data = d, .height = s->h, .width = s->w, .channels = c};
    return st;
}

/* One frame onto the canvas, which shows the frame before. */
static void compose(const screen *s, const frame *f, const uint8_t *y, color *colors,
                    uint8_t *canvas) {
    for (int64_t i = 0; i < f->h; i++)
        for (int64_t j = 0; j < f->w; j++) {
            const uint8_t *v = colors[y[i * f->w + j]];
            if (v[3]) memcpy(canvas + ((f->y + i) * s->w + f->x + j) * 4, v, 4);
        }
}

/* All frames, RGBA, below one another. */
static tide_status animated(const uint8_t *b, size_t n, const screen *s, reader r, int64_t count,
                            tide_image *out, tide_image_error *e) {
    size_t bytes = (size_t)(s->w * s->h) * 4;
    uint8_t *d = malloc(bytes * (size_t)count), *y = malloc(bytes / 4), *shown = malloc(bytes);
    tide_status st = TIDE_OK;
    if (!d || !y || !shown)
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for %lld frames of %lld x %lld",
                             (long long)count, (long long)s->h, (long long)s->w);
    color colors[256];
    for (int64_t k = 0; st == TIDE_OK && k < count; k++) {
        frame f;
        if (next_frame(&r, &f) < 1) {
            st = tide_image_fail(e, TIDE_EIO, "the file is truncated");
            break;
        }
        if (!skip_blocks(&r)) r.at = r.n; /* an error only if this frame lacks pixels */
        uint8_t *to = d + bytes * (size_t)k;
        colors_of(b, s, &f, colors);
        memset(y, f.transparent >= 0 ? f.transparent : 0, (size_t)(f.w * f.h));
        st = indices(b, n, &f, y, e);
        int outside = f.transparent >= 0 ? f.transparent : 0;
        if (k == 0)
            for (size_t i = 0; i < bytes; i += 4) memcpy(shown + i, colors[outside], 4);
        memcpy(to, shown, bytes);
        if (k == 0)
            for (int64_t i = 0; i < f.h;
                 i++) /* the first frame covers what is there, transparent or not */
                for (int64_t j = 0; j < f.w; j++)
                    memcpy(to + ((f.y + i) * s->w + f.x + j) * 4, colors[y[i * f.w + j]], 4);
        else compose(s, &f, y, colors, to);
        if (f.disposal != 3) memcpy(shown, to, bytes);
        if (f.disposal != 2) continue;
        const uint8_t *v = colors[f.transparent >= 0 ? f.transparent : s->background];
        for (int64_t i = 0; i < f.h; i++)
            for (int64_t j = 0; j < f.w; j++)
                memcpy(shown + ((f.y + i) * s->w + f.x + j) * 4, v, 4);
    }
    free(y), free(shown);
    if (st != TIDE_OK) free(d);
    else *out = (tide_image){.data = d, .height = s->h * count, .width = s->w, .channels = 4};
    return st;
}

tide_status tide_gif_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, int64_t *frames, tide_image_error *e) {
    reader r = {b, n, 6};
    screen s = {.w = next16(&r), .h = next16(&r)};
    int flags = next(&r);
    s.background = next(&r);
    if (next(&r) < 0) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    if (flags & 128) {
        s.palette = r.at, s.colors = 2 << (flags & 7);
        if ((size_t)s.colors * 3 > n - r.at)
            return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        r.at += (size_t)s.colors * 3;
    }
    reader begin = r;
    frame first = {0}, f;
    int64_t count = 0;
    for (int got; (got = next_frame(&r, &f)) != 0; count++) {
        if (got < 0) {
            if (count > 0) break; /* whole frames before it are shown, as Pillow does */
            return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        }
        if (count == 0) first = f;
        if (f.x + f.w > s.w) s.w = f.x + f.w;
        if (f.y + f.h > s.h) s.h = f.y + f.h;
        tide_status st = tide_image_check_size((uint64_t)s.h, (uint64_t)s.w, o, e);
        if (st != TIDE_OK) return st;
        if (!frames) break;
        if (!skip_blocks(&r)) r.at = r.n;
    }
    if (count == 0 && first.data == 0)
        return tide_image_fail(e, TIDE_EIO, "is not a valid GIF: it holds no picture");
    if (!frames) return still(b, n, &s, &first, out, e);
    int64_t most = o->max_pixels > 0 ? o->max_pixels : TIDE_IMAGE_MAX_PIXELS;
    if (count > most / (s.w * s.h))
        return tide_image_fail(
            e, TIDE_EIO,
            "the animation is too large (%lld frames of %lld x %lld, at most %lld pixels; "
            "max_pixels allows more)",
            (long long)count, (long long)s.h, (long long)s.w, (long long)most);
    *frames = count;
    return animated(b, n, &s, begin, count, out, e);
}
