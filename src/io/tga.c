/* TGA: grey, with alpha, palettes, 15 to 32 bits, plain or with run lengths, any corner first; the
 * pixels are Pillow's. The format has no signature. Invariant: what a picture needs at least was
 * compared with the file's length before memory is taken for it, and every byte of it is decoded or
 * the file is refused. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 18, PALETTED = 1, COLOR = 2, GREY = 3 };

static int get16(const uint8_t *p) { return p[0] | p[1] << 8; }

typedef struct {
    int kind, bits, entry_bits; /* `bits` of a pixel or an index */
    bool runs, from_left, from_top;
    int64_t w, h;
    int first, colors;    /* of the palette */
    size_t palette, data; /* where they stand */
} header;

/* Nonzero where this can be the beginning of a TGA that is read. */
static bool read_header(const uint8_t *b, size_t n, header *d) {
    if (n < HEAD || b[1] > 1) return false;
    *d = (header){.kind = b[2] & 7,
                  .runs = b[2] & 8,
                  .bits = b[16],
                  .w = get16(b + 12),
                  .h = get16(b + 14),
                  .from_left = !(b[17] & 0x10),
                  .from_top = b[17] & 0x20,
                  .palette = HEAD + (size_t)b[0]};
    if (b[2] & ~11 || d->w == 0 || d->h == 0) return false;
    int k = d->bits;
    if (b[1]) d->first = get16(b + 3), d->colors = get16(b + 5), d->entry_bits = b[7];
    d->data = d->palette + (size_t)d->colors * (size_t)((d->entry_bits + 7) / 8);
    int e = d->entry_bits;
    if (d->kind == PALETTED)
        return b[1] && (k == 8 || k == 16) && (e == 15 || e == 16 || e == 24 || e == 32);
    if (d->kind == COLOR) return k == 15 || k == 16 || k == 24 || k == 32;
    return d->kind == GREY && (k == 8 || k == 16);
}

bool tide_tga_test(const uint8_t *b, size_t n) {
    header d;
    return read_header(b, n, &d);
}

/* A colour of 15, 16, 24 or 32 bits; of 16, the highest one says that it is transparent. */
static void color(const uint8_t *s, int bits, uint8_t *d) {
    if (bits >= 24) {
        d[0] = s[2], d[1] = s[1], d[2] = s[0];
        if (bits == 32) d[3] = s[3];
        return;
    }
    int v = get16(s);
    d[0] = (uint8_t)((v >> 10 & 31) * 255 / 31), d[1] = (uint8_t)((v >> 5 & 31) * 255 / 31);
    d[2] = (uint8_t)((v & 31) * 255 / 31);
    if (bits == 16) d[3] = v >> 15 ? 0 : 255;
}

/* Whether the extension behind the picture says that the fourth sample is no alpha. */
static bool alpha_is_unused(const uint8_t *b, size_t n) {
    if (n < HEAD + 26 || memcmp(b + n - 18, "TRUEVISION-XFILE.", 18)) return false;
    size_t at = (size_t)get16(b + n - 26) | (size_t)get16(b + n - 24) << 16;
    return at > 0 && at < n && n - at > 494 && b[at + 494] == 0;
}

typedef struct {
    const uint8_t *s; /* what comes next, and how much there is */
    size_t n;
    size_t count; /* pixels left of the packet, which may go on in the next row */
    bool run;
    uint8_t pixel[4];
} packets;

/* The next `pixels` of `size` bytes, packets laid out. */
static bool lay_out(packets *p, uint8_t *y, size_t pixels, size_t size) {
    for (size_t done = 0; done < pixels;) {
        if (p->count == 0) {
            if (p->n < 1 + size) return false;
            p->run = *p->s & 128, p->count = (*p->s & 127) + (size_t)1;
            p->s++, p->n--;
            if (p->run) memcpy(p->pixel, p->s, size), p->s += size, p->n -= size;
        }
        size_t k = p->count < pixels - done ? p->count : pixels - done;
        if (p->run) {
            for (size_t i = 0; i < k; i++) memcpy(y + (done + i) * size, p->pixel, size);
        } else {
            if (p->n < k * size) return false;
            memcpy(y + done * size, p->s, k * size);
            p->s += k * size, p->n -= k * size;
        }
        p->count -= k, done += k;
    }
    return true;
}

tide_status tide_tga_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    header d;
    if (!read_header(b, n, &d)) return tide_image_fail(e, TIDE_EIO, "is not a valid TGA");
    tide_status st = tide_image_check_size((uint64_t)d.h, (uint64_t)d.w, o, e);
    if (st != TIDE_OK) return st;
    size_t pixels = (size_t)(d.w * d.h), size = (size_t)(d.bits + 7) / 8,
           least = d.runs ? (pixels + 127) / 128 * (1 + size) : pixels * size;
    if (d.data > n || n - d.data < least)
        return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    int bits = d.kind == PALETTED ? d.entry_bits : d.bits,
        c = d.kind == GREY         ? bits / 8
        : bits == 15 || bits == 24 ? 3
                                   : 4;
    bool opaque = c == 4 && bits > 16 && alpha_is_unused(b, n);
    uint8_t *data = malloc(pixels * (size_t)c), *line = malloc((size_t)d.w * size);
    if (!data || !line)
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld",
                             (long long)d.h, (long long)d.w);
    packets p = {.s = b + d.data, .n = n - d.data};
    for (int64_t i = 0; st == TIDE_OK && i < d.h; i++) {
        const uint8_t *s = d.runs ? line : b + d.data + (size_t)(i * d.w) * size;
        if (d.runs && !lay_out(&p, line, (size_t)d.w, size)) {
            st = tide_image_fail(e, TIDE_EIO, "the file is truncated");
            break;
        }
        uint8_t *row = data + (d.from_top ? i : d.h - 1 - i) * d.w * c;
        for (int64_t j = 0; j < d.w; j++, s += size) {
            uint8_t *to = row + (d.from_left ? j : d.w - 1 - j) * c;
            if (d.kind == GREY) {
                memcpy(to, s, (size_t)c);
                continue;
            }
            const uint8_t *from = s;
            if (d.kind == PALETTED) {
                int k = (size == 1 ? s[0] : get16(s)) - d.first;
                if (k < 0 || k >= d.colors) {
                    st = tide_image_fail(e, TIDE_EIO, "has a colour that its palette lacks");
                    break;
                }
                from = b + d.palette + (size_t)k * (size_t)((bits + 7) / 8);
            }
            color(from, bits, to);
            if (opaque) to[3] = 255;
        }
    }
    free(line);
    if (st != TIDE_OK) free(data);
    else *out = (tide_image){.data = data, .height = d.h, .width = d.w, .channels = c};
    return st;
}
