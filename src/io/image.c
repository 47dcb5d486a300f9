/* Owns what all formats share: telling them apart, limits, pixel conversion, orientation, PNM
 * writing. Invariant: nothing is allocated for a picture before its size passed
 * tide_image_check_size. */
#include "image.h"
#include "io.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

tide_status tide_image_fail(tide_image_error *e, tide_status status, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    e->status = status;
    return status;
}

void tide_image_free(tide_image *p) {
    free(p->data);
    *p = (tide_image){0};
}

tide_status tide_image_check_size(uint64_t height, uint64_t width, const tide_image_options *o,
                                  tide_image_error *e) {
    uint64_t most = o->max_pixels > 0 ? (uint64_t)o->max_pixels : TIDE_IMAGE_MAX_PIXELS;
    if (height == 0 || width == 0)
        return tide_image_fail(e, TIDE_EIO, "the picture is empty (%llu x %llu)",
                               (unsigned long long)height, (unsigned long long)width);
    if (height > TIDE_IMAGE_MAX_SIDE || width > TIDE_IMAGE_MAX_SIDE)
        return tide_image_fail(
            e, TIDE_EIO, "the picture is too large (%llu x %llu, at most %d per side)",
            (unsigned long long)height, (unsigned long long)width, TIDE_IMAGE_MAX_SIDE);
    if (height * width > most)
        return tide_image_fail(
            e, TIDE_EIO,
            "the picture is too large (%llu x %llu, at most %llu pixels; max_pixels allows more)",
            (unsigned long long)height, (unsigned long long)width, (unsigned long long)most);
    return TIDE_OK;
}

/* -- formats -- */

static bool starts(const uint8_t *b, size_t n, const char *sign, size_t len) {
    return n >= len && !memcmp(b, sign, len);
}

const char *tide_image_format(const uint8_t *b, size_t n) {
    if (starts(b, n, "\x89PNG\r\n\x1a\n", 8)) return "png";
    if (starts(b, n, "\xff\xd8\xff", 3)) return "jpeg";
    if (starts(b, n, "GIF8", 4)) return "gif";
    if (starts(b, n, "RIFF", 4) && n >= 12 && !memcmp(b + 8, "WEBP", 4)) return "webp";
    if (starts(b, n, "II*\0", 4) || starts(b, n, "MM\0*", 4)) return "tiff";
    if (starts(b, n, "BM", 2)) return "bmp";
    if (starts(b, n, "8BPS", 4)) return "psd";
    if (starts(b, n, "#?RADIANCE\n", 11) || starts(b, n, "#?RGBE\n", 7)) return "hdr";
    if (n >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' &&
        (b[2] == ' ' || (b[2] >= 9 && b[2] <= 13)))
        return "pnm";
    if (tide_tga_test(b, n)) return "tga";
    return NULL;
}

static unsigned get16(const uint8_t *p, bool big) {
    return big ? (unsigned)p[0] << 8 | p[1] : (unsigned)p[1] << 8 | p[0];
}
static uint32_t get32(const uint8_t *p, bool big) {
    return big ? (uint32_t)get16(p, true) << 16 | get16(p + 2, true)
               : (uint32_t)get16(p + 2, false) << 16 | get16(p, false);
}

int tide_exif_orientation(const uint8_t *t, size_t n) {
    if (n < 8 || (memcmp(t, "II*\0", 4) && memcmp(t, "MM\0*", 4))) return 0;
    bool big = t[0] == 'M';
    size_t at = get32(t + 4, big);
    if (at > n - 2) return 0;
    unsigned entries = get16(t + at, big);
    at += 2;
    for (unsigned i = 0; i < entries && n - at >= 12; i++, at += 12) {
        if (get16(t + at, big) != 0x0112) continue;
        unsigned v = get16(t + at + 8, big);
        return get16(t + at + 2, big) == 3 && v >= 1 && v <= 8 ? (int)v : 0; /* type 3: SHORT */
    }
    return 0;
}

/* Orientation k means: stored row 0 is the visual side ..., see EXIF 2.3, tag 0x0112. */
static tide_status turn(tide_image *p, int k, tide_image_error *e) {
    if (k < 2 || k > 8) return TIDE_OK;
    int64_t h = p->height, w = p->width, c = p->channels * (p->wide ? 2 : 1), oh = k >= 5 ? w : h,
            ow = k >= 5 ? h : w;
    uint8_t *y = malloc((size_t)(h * w * c));
    if (!y) return tide_image_fail(e, TIDE_ENOMEM, "not enough memory to turn the picture");
    for (int64_t i = 0; i < oh; i++)
        for (int64_t j = 0; j < ow; j++) {
            int64_t r = k >= 5 ? j : i, q = k >= 5 ? i : j; /* 5..8 exchange rows and columns */
            if (k == 3 || k == 4 || k == 7 || k == 8) {
                if (k < 5) r = h - 1 - r;
                else q = w - 1 - q;
            }
            if (k == 2 || k == 3 || k == 6 || k == 7) {
                if (k < 5) q = w - 1 - q;
                else r = h - 1 - r;
            }
            memcpy(y + (i * ow + j) * c, p->data + (r * w + q) * c, (size_t)c);
        }
    free(p->data);
    p->data = y, p->height = oh, p->width = ow;
    return TIDE_OK;
}

static uint8_t grey(const uint8_t *s, bool tf) {
    if (tf && s[0] == s[1] && s[0] == s[2]) return s[0];
    if (tf) return (uint8_t)((s[0] * 9797u + s[1] * 19234u + s[2] * 3737u) >> 15);
    return (uint8_t)((s[0] * 19595u + s[1] * 38470u + s[2] * 7471u + 0x8000u) >> 16);
}

tide_status tide_image_convert(tide_image *p, int to, bool tf, tide_image_error *e) {
    int from = p->channels;
    if (to == from || to == 0) return TIDE_OK;
    int64_t n = p->height * p->width;
    uint8_t *y = malloc((size_t)n * (size_t)to);
    if (!y)
        return tide_image_fail(e, TIDE_ENOMEM, "not enough memory for %lld pixels", (long long)n);
    const uint8_t *s = p->data;
    uint8_t *d = y;
    for (int64_t i = 0; i < n; i++, s += from, d += to) {
        if (to == 1) {
            d[0] = from <= 2 ? s[0] : grey(s, tf);
            continue;
        }
        d[0] = s[0], d[1] = from <= 2 ? s[0] : s[1], d[2] = from <= 2 ? s[0] : s[2];
        if (to == 4) d[3] = from == 2 ? s[1] : 255;
    }
    free(p->data);
    p->data = y, p->channels = to;
    return TIDE_OK;
}

tide_status tide_image_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                              tide_image *out, int64_t *frames, tide_image_error *e) {
    *out = (tide_image){0};
    if (frames) *frames = 1;
    const char *format = tide_image_format(b, n);
    if (n == 0) return tide_image_fail(e, TIDE_EIO, "is empty");
    if (!format)
        return tide_image_fail(
            e, TIDE_EIO,
            "is no picture of a known format (PNG, JPEG, GIF, BMP, TGA, PSD, HDR, PNM)");
    int orientation = 0;
    tide_status st;
    if (!strcmp(format, "png")) st = tide_png_decode(b, n, o, out, &orientation, e);
    else if (!strcmp(format, "jpeg")) st = tide_jpeg_decode(b, n, o, out, &orientation, e);
    else if (!strcmp(format, "gif")) st = tide_gif_decode(b, n, o, out, frames, e);
    else if (!strcmp(format, "webp") || !strcmp(format, "tiff"))
        return tide_image_fail(
            e, TIDE_EIO, "is a %s picture, which is not read; convert it to PNG or JPEG", format);
    else if (!strcmp(format, "bmp")) st = tide_bmp_decode(b, n, o, out, e);
    else if (!strcmp(format, "pnm")) st = tide_pnm_decode(b, n, o, out, e);
    else if (!strcmp(format, "psd")) st = tide_psd_decode(b, n, o, out, e);
    else if (!strcmp(format, "hdr")) st = tide_hdr_decode(b, n, o, out, e);
    else st = tide_tga_decode(b, n, o, out, e);
    if (st == TIDE_OK && o->upright) st = turn(out, orientation, e);
    if (st == TIDE_OK) st = tide_image_convert(out, o->channels, o->tf, e);
    if (st != TIDE_OK) tide_image_free(out);
    return st;
}

tide_status tide_image_load(const char *path, const tide_image_options *o, tide_image *out,
                            int64_t *frames, tide_image_error *e) {
    *out = (tide_image){0};
    const char *why;
    int64_t size;
    int fd = tide_open_regular(path, &size, &why);
    if (fd < 0) return tide_image_fail(e, TIDE_EIO, "cannot be opened: %s", why);
    uint8_t *b = NULL;
    tide_status st = TIDE_EIO;
    if (size > TIDE_IMAGE_MAX_BYTES) {
        tide_image_fail(e, TIDE_EIO, "is too large (%lld bytes, at most %lld)", (long long)size,
                        (long long)TIDE_IMAGE_MAX_BYTES);
    } else if (!(b = malloc((size_t)size + 1))) {
        st = tide_image_fail(e, TIDE_ENOMEM, "not enough memory to read it (%lld bytes)",
                             (long long)size);
    } else {
        size_t got = 0;
        ssize_t r = 0;
        while (got < (size_t)size &&
               ((r = read(fd, b + got, (size_t)size - got)) > 0 || (r < 0 && errno == EINTR)))
            if (r > 0) got += (size_t)r;
        st = r < 0 ? tide_image_fail(e, TIDE_EIO, "cannot be read: %s", strerror(errno))
                   : tide_image_decode(b, got, o, out, frames, e);
    }
    free(b);
    close(fd);
    return st;
}

/* -- encoding -- */

static tide_status pnm_encode(const tide_image *p, uint8_t **bytes, size_t *n,
                              tide_image_error *e) {
    if (p->channels != 1 && p->channels != 3)
        return tide_image_fail(e, TIDE_EARG, "PNM holds 1 or 3 channels (got %d)", p->channels);
    size_t size = (size_t)(p->height * p->width * p->channels);
    uint8_t *b = malloc(size + 64);
    if (!b)
        return tide_image_fail(e, TIDE_ENOMEM, "not enough memory to write a PNM of %zu bytes",
                               size);
    int head = snprintf((char *)b, 64, "P%d\n%lld %lld\n255\n", p->channels == 1 ? 5 : 6,
                        (long long)p->width, (long long)p->height);
    memcpy(b + head, p->data, size);
    *bytes = b, *n = size + (size_t)head;
    return TIDE_OK;
}

tide_status tide_image_encode(const char *format, const tide_image *p, int quality, uint8_t **bytes,
                              size_t *n, tide_image_error *e) {
    /* what the reader refuses, whatever its max_pixels, is not written */
    const tide_image_options any = {.max_pixels = INT64_MAX};
    tide_status st = tide_image_check_size((uint64_t)p->height, (uint64_t)p->width, &any, e);
    if (st != TIDE_OK) return st;
    if (!strcmp(format, "png")) return tide_png_encode(p, bytes, n, e);
    if (!strcmp(format, "jpeg") || !strcmp(format, "jpg"))
        return tide_jpeg_encode(p, quality, bytes, n, e);
    if (!strcmp(format, "bmp")) return tide_bmp_encode(p, bytes, n, e);
    if (!strcmp(format, "pnm") || !strcmp(format, "ppm") || !strcmp(format, "pgm"))
        return pnm_encode(p, bytes, n, e);
    return tide_image_fail(
        e, TIDE_EARG, "unknown picture format '%.20s' (expected png, jpeg, bmp or ppm)", format);
}
