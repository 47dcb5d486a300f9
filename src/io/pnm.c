/* PBM, PGM and PPM (one picture), in bytes or as text: a header of two or three numbers, then bits,
 * or samples of one or two bytes, the high byte first. Invariant: `at` never passes the end of the
 * file. */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *b;
    size_t n, at;
} reader;

static bool space(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); }

/* Past comments and white space. */
static void skip(reader *r) {
    while (r->at < r->n && (r->b[r->at] == '#' || space(r->b[r->at]))) {
        if (r->b[r->at] == '#')
            while (r->at < r->n && r->b[r->at] != '\n') r->at++;
        else r->at++;
    }
}

/* The next number, at most `most`. -1: there is none. */
static int64_t number(reader *r, int64_t most) {
    skip(r);
    int64_t v = -1;
    for (; r->at < r->n && r->b[r->at] >= '0' && r->b[r->at] <= '9'; r->at++) {
        v = (v < 0 ? 0 : v) * 10 + r->b[r->at] - '0';
        if (v > most) return -1;
    }
    return v;
}

/* 0 or 1, which need no space between them in text; -1: neither. */
static int bit(reader *r) {
    skip(r);
    if (r->at == r->n || (r->b[r->at] & ~1) != '0') return -1;
    return r->b[r->at++] & 1;
}

tide_status tide_pnm_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    reader r = {b, n, 2};
    int kind = b[1] - '0';
    bool text = kind < 4, bits = kind == 1 || kind == 4;
    int64_t w = number(&r, UINT32_MAX), h = number(&r, UINT32_MAX),
            top = bits ? 1 : number(&r, 65535);
    if (w < 0 || h < 0 || top < 1)
        return tide_image_fail(
            e, TIDE_EIO, "is not a valid PNM: a number of its header is missing or out of range");
    tide_status st = tide_image_check_size((uint64_t)h, (uint64_t)w, o, e);
    if (st != TIDE_OK) return st;
    if (r.at < n) r.at++; /* one white space */
    int c = kind == 3 || kind == 6 ? 3 : 1, wide = top > 255 ? 2 : 1;
    int64_t count = h * w * c, row = (w + 7) / 8,
            least = kind == 4 ? row * h
        : text                ? count
                              : count * wide;
    if ((uint64_t)least > n - r.at) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    bool whole = o->wide && wide == 2 && c == 1;
    uint8_t *data = malloc((size_t)count * (whole ? 2 : 1));
    if (!data)
        return tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld",
                               (long long)h, (long long)w);
    const uint8_t *s = b + r.at;
    double full = wide == 2 ? 65535 : 255;
    for (int64_t i = 0; i < count; i++) {
        if (bits) { /* 1 is black */
            int v = text ? bit(&r) : s[i / w * row + i % w / 8] >> (7 - i % w % 8) & 1;
            if (v < 0) st = TIDE_EIO;
            data[i] = v ? 0 : 255;
        } else {
            int64_t v = text ? number(&r, top) : wide == 2 ? s[2 * i] << 8 | s[2 * i + 1] : s[i];
            if (v < 0) st = TIDE_EIO;
            if (v > top) v = top;
            v = (int64_t)rint((double)v / (double)top * full);
            if (whole) ((uint16_t *)(void *)data)[i] = (uint16_t)v;
            else data[i] = (uint8_t)(wide == 2 ? v >> 8 : v);
        }
        if (st == TIDE_OK) continue;
        free(data);
        return tide_image_fail(e, st,
                               r.at == n
                                   ? "the file is truncated"
                                   : "is not a valid PNM: a sample is no number or too large");
    }
    *out = (tide_image){.data = data, .height = h, .width = w, .channels = c, .wide = whole};
    return TIDE_OK;
}
