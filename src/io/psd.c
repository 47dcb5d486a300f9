/* PSD: the whole picture that stands behind the layers, grey or RGB with or without alpha, of 8 or
 * 16 bits (the high byte is kept), plain or packed; the pixels are Pillow's. Invariant: what a
 * picture needs was compared with the file's length before memory is taken for it, and every byte
 * of it is decoded or the file is refused. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 26, GREY = 1, RGB = 3, DUOTONE = 8 };

static uint32_t get(const uint8_t *p, int bytes) {
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[i];
    return v;
}

/* One row of PackBits: `n` bytes at s make exactly `size` at y. */
static bool unpack(const uint8_t *s, size_t n, uint8_t *y, size_t size) {
    size_t at = 0, done = 0;
    while (done < size) {
        if (at == n) return false;
        int k = (int8_t)s[at++];
        size_t count = (size_t)(k < 0 ? 1 - k : 1 + k);
        if (k == -128) continue;
        if (count > size - done || n - at < (k < 0 ? 1 : count)) return false;
        if (k < 0) memset(y + done, s[at++], count);
        else memcpy(y + done, s + at, count), at += count;
        done += count;
    }
    return true;
}

tide_status tide_psd_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    if (n < HEAD + 14) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    size_t all = get(b + 12, 2), h = get(b + 14, 4), w = get(b + 18, 4), depth = get(b + 22, 2) / 8,
           at = HEAD;
    int mode = (int)get(b + 24, 2);
    size_t c = mode == RGB ? (all == 4 ? 4 : 3) : 1;
    if (get(b + 4, 2) != 1 || all < c || (get(b + 22, 2) != 8 && get(b + 22, 2) != 16) ||
        (mode != RGB && mode != GREY && mode != DUOTONE))
        return tide_image_fail(
            e, TIDE_EIO,
            "is a PSD that is not read (mode %d, %u channels of %u bits; grey and "
            "RGB of 8 and 16 bits are)",
            mode, get(b + 12, 2), get(b + 22, 2));
    tide_status st = tide_image_check_size(h, w, o, e);
    if (st != TIDE_OK) return st;
    for (int section = 0; section < 3; section++) { /* palette, resources, layers */
        if (n - at < 4 || n - at - 4 < get(b + at, 4))
            return tide_image_fail(e, TIDE_EIO, "the file is truncated");
        at += 4 + (size_t)get(b + at, 4);
    }
    if (n - at < 2) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    uint32_t packed = get(b + at, 2);
    at += 2;
    if (packed > 1)
        return tide_image_fail(e, TIDE_EIO, "is a PSD of compression %u, which is not read",
                               packed);
    size_t row = w * depth, lengths = at; /* of the packed rows, all channels' */
    if (packed) {
        at += 2 * h * all;
        size_t need = at;
        for (size_t i = 0; need <= n && i < h * c; i++) {
            size_t bytes = get(b + lengths + 2 * i, 2); /* two make 128 at most */
            need += bytes * 64 < row ? n : bytes;
        }
        if (need > n) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    } else if (n - at < h * c * row) {
        return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    }
    uint8_t *data = malloc(h * w * c), *line = malloc(row);
    if (!data || !line)
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %zu x %zu", h, w);
    for (size_t i = 0; st == TIDE_OK && i < h * c; i++) {
        size_t bytes = packed ? get(b + lengths + 2 * i, 2) : row;
        const uint8_t *s = b + at;
        if (packed) {
            if (!unpack(s, bytes, line, row))
                st = tide_image_fail(e, TIDE_EIO, "is not a valid PSD: a packed row is damaged");
            s = line;
        }
        uint8_t *to = data + i % h * w * c + i / h;
        for (size_t j = 0; st == TIDE_OK && j < w; j++) to[j * c] = s[j * depth];
        at += bytes;
    }
    free(line);
    if (st != TIDE_OK) free(data);
    else
        *out = (tide_image){
            .data = data, .height = (int64_t)h, .width = (int64_t)w, .channels = (int)c};
    return st;
}
