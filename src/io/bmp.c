/* BMP: palettes of 1, 4 and 8 bits, run lengths, 16, 24 and 32 bits with any masks. Invariant:
 * every offset is checked against the end of the file before it is read, with 64-bit sums. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

enum { RAW, RLE8, RLE4, MASKS };

static uint32_t get(const uint8_t *p, int bytes) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << 8 * i;
    return v;
}

typedef struct {
    int64_t w, h;
    bool down; /* the first row is the top one */
    int bits, compression;
    int colors;
    size_t palette, data; /* where they stand */
    int entry;            /* bytes of a colour of the palette */
    uint32_t mask[4];     /* red, green, blue, alpha */
} header;

static tide_status read_header(const uint8_t *b, size_t n, header *d, tide_image_error *e) {
    if (n < 26) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    uint32_t size = get(b + 14, 4);
    *d = (header){.data = get(b + 10, 4), .entry = size == 12 ? 3 : 4};
    if (size == 12) {
        d->w = get(b + 18, 2), d->h = get(b + 20, 2), d->bits = (int)get(b + 24, 2);
    } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
        if (n < 14 + size) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        d->w = get(b + 18, 4), d->h = (int32_t)get(b + 22, 4), d->bits = (int)get(b + 28, 2);
        uint32_t kind = get(b + 30, 4), colors = get(b + 46, 4);
        d->compression = kind > MASKS ? MASKS + 1 : (int)kind;
        d->colors = colors > 256 ? 256 : (int)colors;
        if (d->h < 0) d->h = -d->h, d->down = true;
    } else {
        return tide_image_fail(e, TIDE_EIO, "is not a valid BMP: a header of %u bytes", size);
    }
    int c = d->compression, k = d->bits;
    bool known = c == RAW ? k == 1 || k == 4 || k == 8 || k == 16 || k == 24 || k == 32
                          : (c == RLE8 && k == 8) || (c == RLE4 && k == 4) ||
            (c == MASKS && (k == 16 || k == 24 || k == 32));
    if (!known)
        return tide_image_fail(e, TIDE_EIO,
                               "is a BMP of %d bits with compression %d, which is not read", k, c);
    size_t after = 14 + (size_t)size;
    if (c == MASKS) { /* behind a header of 40 bytes, inside of the larger ones */
        bool alpha = size >= 56;
        if (n < (alpha ? 70 : 66)) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        for (int i = 0; i < 3 + alpha; i++) d->mask[i] = get(b + 54 + 4 * i, 4);
        if (size == 40) after += 12;
        c = !(d->mask[0] | d->mask[1] | d->mask[2]) ? RAW : MASKS;
    }
    if (c == RAW && k > 8) {
        d->mask[0] = k == 16 ? 0x7c00 : 0xff0000, d->mask[1] = k == 16 ? 0x3e0 : 0xff00;
        d->mask[2] = k == 16 ? 0x1f : 0xff;
    }
    if (k > 8) d->colors = 0;
    else if (d->colors == 0 || d->colors > 1 << k) d->colors = 1 << k;
    d->palette = after, after += (size_t)d->colors * (size_t)d->entry;
    if (after > n) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    if (d->data == 0 || (k <= 8 && d->data == d->palette)) d->data = after;
    return TIDE_OK;
}

/* Run lengths to y, which is (h, w) and zero; rows in the file's order. */
static tide_status runs(const uint8_t *b, size_t n, const header *d, uint8_t *y,
                        tide_image_error *e) {
    int64_t at = 0, x = 0, all = d->w * d->h;
    size_t i = d->data;
    bool four = d->compression == RLE4;
    while (at < all) {
        if (n - i < 2 || i > n) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        int count = b[i], v = b[i + 1];
        i += 2;
        if (count > 0) {
            int64_t room = d->w - x;
            if (count > room) count = (int)(room < 0 ? 0 : room);
            for (int k = 0; k < count && at < all; k++)
                y[at++] = (uint8_t)(!four ? v : k & 1 ? v & 15 : v >> 4);
            x += count;
        } else if (v == 0) {
            at = (at + d->w - 1) / d->w * d->w, x = 0;
        } else if (v == 1) {
            break;
        } else if (v == 2) {
            if (n - i < 2) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
            at += b[i] + b[i + 1] * d->w, i += 2;
            x = at % d->w;
        } else {
            size_t bytes = four ? (size_t)(v + 1) / 2 : (size_t)v;
            if (n - i < bytes) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
            for (int k = 0; k < v && at < all; k++)
                y[at++] = (uint8_t)(!four       ? b[i + (size_t)k]
                                        : k & 1 ? b[i + (size_t)k / 2] & 15
                                                : b[i + (size_t)k / 2] >> 4);
            x += v, i += bytes + (bytes & 1);
        }
    }
    return TIDE_OK;
}

/* Indices of raw rows. */
static void unpack(const uint8_t *row, const header *d, uint8_t *y) {
    int per = 8 / d->bits, top = (1 << d->bits) - 1;
    for (int64_t j = 0; j < d->w; j++)
        y[j] = (uint8_t)(row[j / per] >> d->bits * (per - 1 - j % per) & top);
}

static uint8_t sample(uint32_t v, uint32_t mask) {
    if (mask == 0) return 0;
    int shift = __builtin_ctz(mask);
    return (uint8_t)((uint64_t)((v & mask) >> shift) * 255 / (mask >> shift));
}

tide_status tide_bmp_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    header d = {0};
    tide_status st = read_header(b, n, &d, e);
    if (st == TIDE_OK) st = tide_image_check_size((uint64_t)d.h, (uint64_t)d.w, o, e);
    if (st != TIDE_OK) return st;
    bool runned = d.compression == RLE8 || d.compression == RLE4;
    size_t row = (size_t)(d.w * d.bits + 31) / 32 * 4, last = (size_t)(d.w * d.bits + 7) / 8;
    if (d.data > n || (!runned && row * (size_t)(d.h - 1) + last > n - d.data))
        return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    uint8_t color[256][3];
    int c = d.bits > 8 ? 3 + (d.mask[3] != 0) : 1;
    for (int k = 0; k < 256 && d.bits <= 8; k++) { /* colours that the palette lacks are grey */
        for (int i = 0; i < 3; i++)
            color[k][i] = k < d.colors ? b[d.palette + (size_t)(k * d.entry + 2 - i)] : (uint8_t)k;
        if (k < d.colors && (color[k][0] != color[k][1] || color[k][0] != color[k][2])) c = 3;
    }
    uint8_t *data = malloc((size_t)(d.w * d.h * c)),
            *index = calloc((size_t)d.w, runned ? (size_t)d.h : 1);
    if (!data || !index)
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld",
                             (long long)d.h, (long long)d.w);
    else if (runned) st = runs(b, n, &d, index, e);
    for (int64_t i = 0; st == TIDE_OK && i < d.h; i++) {
        const uint8_t *s = runned ? NULL : b + d.data + row * (size_t)i;
        uint8_t *to = data + (d.down ? i : d.h - 1 - i) * d.w * c,
                *q = index + (runned ? i * d.w : 0);
        if (d.bits <= 8) {
            if (!runned) unpack(s, &d, q);
            for (int64_t j = 0; j < d.w; j++) memcpy(to + j * c, color[q[j]], (size_t)c);
        } else if (d.mask[0] == 0xff0000 && d.mask[1] == 0xff00 && d.mask[2] == 0xff && c == 3) {
            for (int64_t j = 0, step = d.bits / 8; j < d.w; j++)
                for (int k = 0; k < 3; k++) to[j * 3 + k] = s[j * step + 2 - k];
        } else {
            for (int64_t j = 0, step = d.bits / 8; j < d.w; j++) {
                uint32_t v = get(s + j * step, (int)step);
                for (int k = 0; k < c; k++) to[j * c + k] = sample(v, d.mask[k]);
            }
        }
    }
    free(index);
    if (st != TIDE_OK) free(data);
    else *out = (tide_image){.data = data, .height = d.h, .width = d.w, .channels = c};
    return st;
}

static void put(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

/* 8 bits with a grey palette, 24 bits, or 32 bits with masks (else readers take alpha for padding);
 * rows from the bottom. */
tide_status tide_bmp_encode(const tide_image *p, uint8_t **bytes, size_t *n, tide_image_error *e) {
    int c = p->channels;
    if (c == 2) return tide_image_fail(e, TIDE_EARG, "BMP holds 1, 3 or 4 channels (got 2)");
    uint32_t info = c == 4 ? 108 : 40;
    size_t row = ((size_t)p->width * (size_t)c + 3) / 4 * 4, head = 14 + info + (c == 1 ? 1024 : 0),
           size = head + row * (size_t)p->height;
    uint8_t *b = calloc(1, size);
    if (!b)
        return tide_image_fail(e, TIDE_ENOMEM, "not enough memory to write a BMP of %zu bytes",
                               size);
    memcpy(b, "BM", 2);
    put(b + 2, (uint32_t)size), put(b + 10, (uint32_t)head), put(b + 14, info);
    put(b + 18, (uint32_t)p->width), put(b + 22, (uint32_t)p->height);
    b[26] = 1, b[28] = (uint8_t)(8 * c);
    put(b + 34, (uint32_t)(row * (size_t)p->height));
    if (c == 4) {
        b[30] = MASKS;
        put(b + 54, 0xff0000), put(b + 58, 0xff00), put(b + 62, 0xff), put(b + 66, 0xff000000u);
        memcpy(b + 70, "BGRs", 4); /* sRGB */
    }
    for (int i = 0; c == 1 && i < 256; i++) memset(b + 54 + 4 * i, i, 3);
    for (int64_t y = 0; y < p->height; y++) {
        const uint8_t *s = p->data + (p->height - 1 - y) * p->width * c;
        uint8_t *d = b + head + (size_t)y * row;
        if (c == 1) memcpy(d, s, (size_t)p->width);
        for (int64_t x = 0; c > 1 && x < p->width; x++, s += c, d += c) {
            d[0] = s[2], d[1] = s[1], d[2] = s[0];
            if (c == 4) d[3] = s[3];
        }
    }
    *bytes = b, *n = size;
    return TIDE_OK;
}
