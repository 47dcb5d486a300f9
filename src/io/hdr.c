/* Radiance HDR: RGBE pixels, plain or with run lengths per row, brought to 8 bits by 255 v^(1/2.2).
 * Invariant: what a picture needs at least was compared with the file's length before memory is
 * taken for it, and every byte of it is decoded or the file is refused. */
#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t of[256][256]; /* exponent, mantissa */
    bool known[256];
} curve;

static void convert(curve *k, const uint8_t *s, size_t step, uint8_t *d) {
    int x = s[3 * step];
    if (!k->known[x]) {
        float scale = x ? (float)ldexp(1, x - 136) : 0;
        for (int m = 0; m < 256; m++) {
            float z = (float)pow((float)m * scale, 1 / 2.2f) * 255 + 0.5f;
            k->of[x][m] = (uint8_t)(z > 255 ? 255 : z);
        }
        k->known[x] = true;
    }
    for (size_t i = 0; i < 3; i++) d[i] = k->of[x][s[i * step]];
}

/* The number at `at`, at most 9 digits; -1: none. */
static int64_t number(const uint8_t *b, size_t n, size_t *at) {
    int64_t v = -1;
    for (int digits = 0; *at < n && b[*at] >= '0' && b[*at] <= '9'; (*at)++) {
        if (++digits > 9) return -1;
        v = (v < 0 ? 0 : v) * 10 + b[*at] - '0';
    }
    return v;
}

static bool word(const uint8_t *b, size_t n, size_t *at, const char *text) {
    size_t len = strlen(text);
    if (n - *at < len || memcmp(b + *at, text, len)) return false;
    *at += len;
    return true;
}

/* Lines up to an empty one, then the size; `at` behind it. */
static bool read_header(const uint8_t *b, size_t n, size_t *at, int64_t *h, int64_t *w) {
    static const char format[] = "FORMAT=32-bit_rle_rgbe";
    bool known = false;
    for (;;) {
        const uint8_t *end = memchr(b + *at, '\n', n - *at);
        if (!end) return false;
        size_t len = (size_t)(end - b) - *at;
        if (len == sizeof format - 1 && !memcmp(b + *at, format, len)) known = true;
        *at += len + 1;
        if (len == 0) break;
    }
    if (!known || !word(b, n, at, "-Y ")) return false;
    *h = number(b, n, at);
    if (!word(b, n, at, " +X ")) return false;
    *w = number(b, n, at);
    return *h > 0 && *w > 0 && word(b, n, at, "\n");
}

/* One row with run lengths: four planes of w bytes at y. Returns the bytes read, 0: damaged. */
static size_t runs(const uint8_t *s, size_t n, size_t w, uint8_t *y) {
    size_t at = 4;
    if (n < 4 || s[0] != 2 || s[1] != 2 || ((size_t)s[2] << 8 | s[3]) != w) return 0;
    for (size_t plane = 0; plane < 4; plane++)
        for (size_t done = 0; done < w;) {
            if (n - at < 2) return 0;
            bool run = s[at] > 128;
            size_t count = run ? s[at] - (size_t)128 : s[at];
            at++;
            if (count == 0 || count > w - done || n - at < (run ? 1 : count)) return 0;
            if (run) memset(y + plane * w + done, s[at++], count);
            else memcpy(y + plane * w + done, s + at, count), at += count;
            done += count;
        }
    return at;
}

tide_status tide_hdr_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    size_t at = 0;
    int64_t h = 0, w = 0;
    if (!read_header(b, n, &at, &h, &w))
        return tide_image_fail(
            e, TIDE_EIO,
            "is an HDR picture with another header than 32-bit_rle_rgbe from the top left");
    tide_status st = tide_image_check_size((uint64_t)h, (uint64_t)w, o, e);
    if (st != TIDE_OK) return st;
    const size_t width = (size_t)w;
    bool flat =
        w < 8 || n - at < 3 || b[at] != 2 || b[at + 1] != 2 || b[at + 2] & 128; /* w < 32768 */
    size_t row = flat ? 4 * width : 4 + 4 * ((width + 126) / 127 * 2);
    if (n - at < row * (size_t)h) return tide_image_fail(e, TIDE_EIO, "the file is truncated");
    uint8_t *data = malloc((size_t)(3 * w * h)), *planes = flat ? NULL : malloc(4 * width);
    curve *k = calloc(1, sizeof *k);
    if (!data || !k || (!flat && !planes))
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %lld x %lld",
                             (long long)h, (long long)w);
    for (int64_t i = 0; st == TIDE_OK && i < h; i++) {
        uint8_t *to = data + 3 * w * i;
        if (!flat) {
            row = runs(b + at, n - at, width, planes);
            if (row == 0)
                st = tide_image_fail(e, TIDE_EIO, "is not a valid HDR: row %lld is damaged or cut",
                                     (long long)i + 1);
        }
        for (size_t j = 0; st == TIDE_OK && j < width; j++)
            convert(k, flat ? b + at + 4 * j : planes + j, flat ? 1 : width, to + 3 * j);
        at += row;
    }
    free(planes);
    free(k);
    if (st != TIDE_OK) free(data);
    else *out = (tide_image){.data = data, .height = h, .width = w, .channels = 3};
    return st;
}
