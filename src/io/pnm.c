/* PGM and PPM (binary, one picture): a header of three numbers, then samples of one or two bytes, the high byte first. */
#include "image.h"

#include <stdlib.h>

/* The next number of the header, at most `most`; comments and white space before it are skipped. -1: there is none. */
static int64_t number(const uint8_t *b, size_t n, size_t *at, int64_t most) {
    while (*at < n && (b[*at] == '#' || b[*at] == ' ' || (b[*at] >= 9 && b[*at] <= 13))) {
        if (b[*at] == '#')
            while (*at < n && b[*at] != '\n') ++*at;
        else ++*at;
    }
    int64_t v = -1;
    for (; *at < n && b[*at] >= '0' && b[*at] <= '9'; ++*at) {
        v = (v < 0 ? 0 : v) * 10 + b[*at] - '0';
        if (v > most) return -1;
    }
    return v;
}

tide_status tide_pnm_decode(const uint8_t *b, size_t n, const tide_image_options *o, tide_image *out, tide_image_error *e) {
    size_t at = 2;
    int64_t w = number(b, n, &at, UINT32_MAX), h = number(b, n, &at, UINT32_MAX), top = number(b, n, &at, 65535);
    if (w < 0 || h < 0 || top < 1)
        return tide_image_fail(e, TIDE_EIO, "is not a valid PNM: a number of its header is missing or out of range");
    tide_status st = tide_image_check_size((uint64_t)h, (uint64_t)w, o, e);
    if (st != TIDE_OK) return st;
    at++; /* one white space */
    int c = b[1] == '5' ? 1 : 3, wide = top > 255 ? 2 : 1;
    int64_t count = h * w * c;
    if (at > n || (uint64_t)(count * wide) > n - at) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    uint8_t *data = malloc((size_t)count);
    if (!data)
        return tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld", (long long)h, (long long)w);
    const uint8_t *s = b + at;
    for (int64_t i = 0; i < count; i++) {
        int64_t v = wide == 2 ? s[2 * i] << 8 | s[2 * i + 1] : s[i], full = wide == 2 ? 65535 : 255;
        if (top != full) v = v >= top ? full : (2 * v * full + top) / (2 * top); /* rounded */
        data[i] = (uint8_t)(wide == 2 ? v >> 8 : v);
    }
    *out = (tide_image){.data = data, .height = h, .width = w, .channels = c};
    return TIDE_OK;
}
