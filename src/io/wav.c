/* Owns the WAV reader and writer: chunks of RIFF, RF64 and BW64 files, samples of every encoding
 * that is stored plainly.
 *
 * Invariant: sizes in the file are compared with the bytes that are there before they are used. */
#include "sound.h"

#include "io.h"

#include "../core.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE = 1 << 18,    /* bytes at a time: Ctrl-C is heard between */
    CHUNKS = 1000000,   /* in front of the samples */
    EXTENSIBLE = 0xFFFE /* the kind stands in the first bytes of a GUID */
};
#define STREAMED 0xFFFFFFFFu /* a size that the writer did not know, or that ds64 holds */

const tide_encoding_facts *tide_encoding_of(tide_encoding e) {
    static const tide_encoding_facts facts[] = {
#define X(name, bits, bytes, number, wav) {#name, bits, bytes, number, wav},
        TIDE_ENCODINGS(X)
#undef X
            {"other", 0, 0, 0, 0}};
    return &facts[e];
}

tide_encoding tide_encoding_named(const char *name) {
    int e = 0;
    while (e < TIDE_SOUND_KINDS && strcmp(tide_encoding_of((tide_encoding)e)->name, name)) e++;
    return (tide_encoding)e;
}

int64_t tide_sound_fetch(const tide_sound_source *s, int64_t at, int64_t n, void *to) {
    if (at >= s->size || n <= 0) return 0;
    if (n > s->size - at) n = s->size - at;
    if (s->fd < 0) {
        memcpy(to, s->memory + at, (size_t)n);
        return n;
    }
    int64_t got = 0;
    while (got < n) {
        ssize_t r = pread(s->fd, (char *)to + got, (size_t)(n - got), at + got);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        if (r == 0) break; /* it shrank while it was read */
        got += r;
    }
    return got;
}

tide_status tide_sound_go_on(const tide_sound_source *s) {
    if (s->quit && __atomic_load_n(s->quit, __ATOMIC_RELAXED))
        return tide_fail(s->ctx, TIDE_EINTERRUPT, "stopped");
    return tide_go_on(s->ctx);
}

/* -- little-endian numbers -- */

static unsigned get16(const uint8_t *p) { return p[0] | (unsigned)p[1] << 8; }
static uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }
static uint8_t *put(uint8_t *p, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> 8 * i);
    return p + bytes;
}
static uint8_t *put_name(uint8_t *p, const char *name) {
    memcpy(p, name, 4);
    return p + 4;
}

/* -- G.711 (ITU-T, 1988): a sign, three bits of exponent, four of mantissa -- */

static int a_law(uint8_t b) {
    const int v = b ^ 0x55, exponent = v >> 4 & 7, mantissa = (v & 15) << 4;
    const int size = exponent ? (mantissa + 0x108) << (exponent - 1) : mantissa + 8;
    return v & 0x80 ? size : -size;
}
static int mu_law(uint8_t b) {
    const int v = ~b & 0xFF, size = ((((v & 15) << 3) + 0x84) << (v >> 4 & 7)) - 0x84;
    return v & 0x80 ? -size : size;
}

/* The byte of the level that lies nearest to v. */
static uint8_t law_of(int (*law)(uint8_t), int v) {
    const uint8_t flip = law == mu_law ? 0x7F : 0x55; /* in front of it sizes follow their bytes */
    int sign = v < 0 ? 0 : 0x80, low = 0, high = 127;
    if (v < 0) v = -v;
    while (low < high) { /* the first level at or above v */
        int mid = (low + high) / 2;
        if (abs(law((uint8_t)((mid | sign) ^ flip))) < v) low = mid + 1;
        else high = mid;
    }
    if (low > 0) {
        int above = abs(law((uint8_t)((low | sign) ^ flip))),
            below = abs(law((uint8_t)(((low - 1) | sign) ^ flip)));
        if (v - below <= above - v) low--;
    }
    return (uint8_t)((low | sign) ^ flip);
}

/* -- chunks -- */

static tide_status cut(const tide_sound_source *s, const char *where) {
    return tide_fail(s->ctx, TIDE_EIO, "%s: the file ends inside %s (at byte %lld)", s->what, where,
                     (long long)s->size);
}

int tide_wav_is(const tide_sound_source *s) {
    uint8_t b[12];
    return tide_sound_fetch(s, 0, 12, b) == 12 && !memcmp(b + 8, "WAVE", 4) &&
        (!memcmp(b, "RIFF", 4) || !memcmp(b, "RF64", 4) || !memcmp(b, "BW64", 4));
}

static tide_status read_format(const tide_sound_source *s, int64_t at, uint32_t size,
                               tide_sound *out, int *other) {
    static const uint8_t guid[14] = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};
    uint8_t b[40] = {0};
    const int64_t want = size < sizeof b ? size : (int64_t)sizeof b;
    if (size < 16)
        return tide_fail(s->ctx, TIDE_EIO,
                         "%s: the chunk 'fmt ' is too short (expected 16 bytes or more, got %u)",
                         s->what, size);
    if (tide_sound_fetch(s, at, want, b) != want) return cut(s, "the chunk 'fmt '");
    unsigned kind = get16(b), bits = get16(b + 14);
    const unsigned channels = get16(b + 2), block = get16(b + 12);
    out->channels = channels, out->rate = get32(b + 4);
    if (kind == EXTENSIBLE && want == 40 && !memcmp(b + 26, guid, sizeof guid))
        kind = get16(b + 24);
    if (channels == 0 || out->rate == 0 || out->rate > INT32_MAX)
        return tide_fail(s->ctx, TIDE_EIO,
                         "%s: the chunk 'fmt ' names %u channels and %lld samples per second "
                         "(expected at least 1 of both)",
                         s->what, channels, (long long)out->rate);
    out->encoding = TIDE_SOUND_other;
    const unsigned bytes = block / channels;
    for (int e = 0; e < TIDE_SOUND_KINDS; e++) {
        const tide_encoding_facts *f = tide_encoding_of((tide_encoding)e);
        if (f->wav && f->wav == (int)kind && f->bytes == (int)bytes)
            out->encoding = (tide_encoding)e;
    }
    if (out->encoding == TIDE_SOUND_other && (kind != 1 && kind != 3 && kind != 6 && kind != 7)) {
        *other = 1;
        return tide_fail(s->ctx, TIDE_EIO,
                         "%s: samples are stored in a way that is not read (number 0x%04X)",
                         s->what, kind);
    }
    if (out->encoding == TIDE_SOUND_other || block != bytes * channels || bits == 0 ||
        bits > 8 * bytes || (kind != 1 && bits != 8 * bytes))
        return tide_fail(s->ctx, TIDE_EIO,
                         "%s: the chunk 'fmt ' contradicts itself (%u channels of %u bits in "
                         "frames of %u bytes, kind %u)",
                         s->what, channels, bits, block, kind);
    /* 20 bits lie high in their 24, 5 in their 8 */
    out->shift = (int)(8 * bytes - bits);
    return TIDE_OK;
}

tide_status tide_wav_open(const tide_sound_source *s, tide_sound *out, int *other) {
    uint8_t b[28];
    int64_t at = 12, found = -1;
    uint64_t wide = 0, size = 0;
    int known = 0, has_wide = 0;
    *other = 0;
    if (tide_sound_fetch(s, 0, 12, b) != 12) return cut(s, "its first 12 bytes");
    const int rf64 = memcmp(b, "RIFF", 4) != 0;
    for (int n = 0; !known || found < 0; n++) {
        TIDE_TRY(tide_sound_go_on(s));
        if (n == CHUNKS)
            return tide_fail(s->ctx, TIDE_EIO, "%s: over %d chunks come before the samples",
                             s->what, CHUNKS);
        if (tide_sound_fetch(s, at, 8, b) != 8) {
            if (at <= s->size - 8) return cut(s, "a chunk"); /* it cannot be read */
            return tide_fail(s->ctx, TIDE_EIO, "%s: the chunk '%s' is missing", s->what,
                             known ? "data" : "fmt ");
        }
        uint64_t length = get32(b + 4);
        if (!memcmp(b, "ds64", 4) && rf64) {
            uint8_t sizes[16];
            if (tide_sound_fetch(s, at + 8, 16, sizes) != 16 || length < 16)
                return cut(s, "the chunk 'ds64'");
            wide = get64(sizes + 8), has_wide = 1;
        } else if (!memcmp(b, "fmt ", 4)) {
            if (known)
                return tide_fail(s->ctx, TIDE_EIO, "%s: the chunk 'fmt ' comes twice", s->what);
            TIDE_TRY(read_format(s, at + 8, (uint32_t)length, out, other));
            known = 1;
        } else if (!memcmp(b, "data", 4) && found < 0) {
            const uint64_t there = (uint64_t)(s->size - at - 8);
            found = at + 8, size = length;
            if (length == STREAMED) size = rf64 && has_wide ? wide : there;
            if (size > there)
                return tide_fail(s->ctx, TIDE_EIO,
                                 "%s: the file ends inside its samples (expected %llu bytes, got "
                                 "%llu)",
                                 s->what, (unsigned long long)size, (unsigned long long)there);
            length = size;
        }
        const uint64_t step = 8 + length + (length & 1);
        at = step > (uint64_t)(s->size - at) ? s->size : at + (int64_t)step;
    }
    snprintf(out->format, sizeof out->format, "wav");
    out->at = found;
    out->frames = (int64_t)size / (tide_encoding_of(out->encoding)->bytes * out->channels);
    return TIDE_OK;
}

/* -- samples -- */

/* The whole number as it is stored, and what full scale is. */
static inline int32_t whole(tide_encoding e, const uint8_t *p) {
    switch (e) {
    case TIDE_SOUND_pcm_u8: return *p;
    case TIDE_SOUND_pcm_16: return (int16_t)get16(p);
    case TIDE_SOUND_pcm_24: return (int32_t)((uint32_t)get16(p) << 8 | (uint32_t)p[2] << 24) >> 8;
    case TIDE_SOUND_a_law: return a_law(*p);
    case TIDE_SOUND_mu_law: return mu_law(*p);
    default: return (int32_t)get32(p);
    }
}

static inline double real(tide_encoding e, const uint8_t *p) {
    if (e == TIDE_SOUND_float_64) {
        const uint64_t u = get64(p);
        double d;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    const uint32_t u = get32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

#define EACH(expr)                                                                                 \
    switch (dtype) {                                                                               \
    case TIDE_F32:                                                                                 \
        for (int64_t i = 0; i < n; i++, p += bytes) ((float *)to)[i] = (float)((expr)*scale);      \
        break;                                                                                     \
    case TIDE_F64:                                                                                 \
        for (int64_t i = 0; i < n; i++, p += bytes) ((double *)to)[i] = (expr)*scale;              \
        break;                                                                                     \
    default: /* i32 */                                                                             \
        for (int64_t i = 0; i < n; i++, p += bytes) ((int32_t *)to)[i] = (int32_t)(expr) >> shift; \
    }
/* One encoding at a time, so that each loop is plain. */
static void convert(const tide_sound *w, const uint8_t *p, int64_t n, tide_dtype dtype, void *to) {
    const int bytes = tide_encoding_of(w->encoding)->bytes, shift = w->shift;
    const int middle = dtype == TIDE_I32 ? 0 : 128; /* 8 bits are stored from 0 */
    double scale = ldexp(1, 1 - 8 * bytes);
    switch (w->encoding) {
    case TIDE_SOUND_pcm_u8: EACH(whole(TIDE_SOUND_pcm_u8, p) - middle) break;
    case TIDE_SOUND_pcm_16: EACH(whole(TIDE_SOUND_pcm_16, p)) break;
    case TIDE_SOUND_pcm_24: EACH(whole(TIDE_SOUND_pcm_24, p)) break;
    case TIDE_SOUND_pcm_32: EACH(whole(TIDE_SOUND_pcm_32, p)) break;
    case TIDE_SOUND_float_32: scale = 1; EACH(real(TIDE_SOUND_float_32, p)) break;
    case TIDE_SOUND_float_64: scale = 1; EACH(real(TIDE_SOUND_float_64, p)) break;
    case TIDE_SOUND_a_law: scale = 0x1p-15; EACH(whole(TIDE_SOUND_a_law, p)) break;
    default: scale = 0x1p-15; EACH(whole(TIDE_SOUND_mu_law, p))
    }
}
#undef EACH

tide_status tide_wav_read(const tide_sound_source *s, const tide_sound *w, int64_t first, int64_t n,
                          tide_dtype dtype, void *to) {
    const int64_t bytes = tide_encoding_of(w->encoding)->bytes, frame = bytes * w->channels;
    const int64_t room = PIECE / bytes, size = (int64_t)tide_dtype_size(dtype);
    if (dtype == TIDE_I32 && tide_encoding_of(w->encoding)->wav == 3)
        return tide_fail(s->ctx, TIDE_EARG,
                         "%s: dtype int32 is for whole numbers, and these are floats", s->what);
    uint8_t *piece = malloc(PIECE);
    if (!piece) return tide_fail(s->ctx, TIDE_ENOMEM, "%s: not enough memory", s->what);
    tide_status st = TIDE_OK;
    const int64_t from = w->at + first * frame, all = n * w->channels;
    for (int64_t i = 0; i < all && st == TIDE_OK; i += room) {
        const int64_t k = all - i < room ? all - i : room;
        st = tide_sound_go_on(s);
        if (st != TIDE_OK) break;
        if (tide_sound_fetch(s, from + i * bytes, k * bytes, piece) != k * bytes)
            st = tide_fail(s->ctx, TIDE_EIO, "%s: cannot read its samples: %s", s->what,
                           errno ? strerror(errno) : "the file has become shorter");
        else convert(w, piece, k, dtype, (char *)to + i * size);
    }
    free(piece);
    return st;
}

/* -- writing -- */

tide_status tide_sound_whole(tide_ctx *ctx, const char *what, int bits, const tide_tensor *x,
                             int64_t first, int64_t n, int32_t *to) {
    const double full = ldexp(1, bits - 1);
    const void *p = tide_host_view(x);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = first + i;
        double v = x->dtype == TIDE_I32 ? ((const int32_t *)p)[at]
            : x->dtype == TIDE_F64      ? ((const double *)p)[at]
                                        : ((const float *)p)[at];
        if (isnan(v))
            return tide_fail(ctx, TIDE_EARG, "%s: sample %lld is not a number", what,
                             (long long)(at / x->shape[1] + 1));
        if (x->dtype == TIDE_I32 && (v < -full || v > full - 1))
            return tide_fail(ctx, TIDE_EARG, "%s: sample %lld does not fit %d bits (got %lld)",
                             what, (long long)(at / x->shape[1] + 1), bits, (long long)v);
        if (x->dtype != TIDE_I32) {
            v = round(v * full); /* halves away from zero, as TensorFlow's encode_wav */
            v = v < -full ? -full : v > full - 1 ? full - 1 : v;
        }
        to[i] = (int32_t)((int64_t)v * ((int64_t)1 << (32 - bits)));
    }
    return TIDE_OK;
}

/* n samples of 32 bits, full scale, as their encoding stores them */
static void store(tide_encoding e, const int32_t *v, int64_t n, uint8_t *p) {
    const int bytes = tide_encoding_of(e)->bytes;
    for (int64_t i = 0; i < n; i++, p += bytes) switch (e) {
        case TIDE_SOUND_pcm_u8: *p = (uint8_t)((v[i] >> 24) + 128); break;
        case TIDE_SOUND_a_law: *p = law_of(a_law, v[i] >> 16); break;
        case TIDE_SOUND_mu_law: *p = law_of(mu_law, v[i] >> 16); break;
        default: put(p, (uint32_t)v[i] >> (32 - 8 * bytes), bytes);
        }
}

static void store_reals(tide_encoding e, const tide_tensor *x, int64_t first, int64_t n,
                        uint8_t *p) {
    const void *from = tide_host_view(x);
    for (int64_t i = first; i < first + n; i++) {
        const double d =
            x->dtype == TIDE_F64 ? ((const double *)from)[i] : ((const float *)from)[i];
        const float f = (float)d;
        uint64_t wide;
        uint32_t narrow;
        memcpy(&wide, &d, sizeof wide), memcpy(&narrow, &f, sizeof narrow);
        p = e == TIDE_SOUND_float_64 ? put(p, wide, 8) : put(p, narrow, 4);
    }
}

tide_status tide_wav_write(tide_ctx *ctx, const char *what, tide_encoding e, int64_t rate,
                           const tide_tensor *x, char **data, size_t *n) {
    const tide_encoding_facts *f = tide_encoding_of(e);
    const int64_t channels = x->shape[1], count = x->shape[0] * channels;
    const int law_or_float = f->wav != 1, head = law_or_float ? 58 : 44;
    if (!f->wav) return tide_fail(ctx, TIDE_EARG, "%s: WAV files do not hold %s", what, f->name);
    if (channels < 1 || channels * f->bytes > 65535)
        return tide_fail(ctx, TIDE_EARG, "%s: x has %lld channels (expected 1 to %d)", what,
                         (long long)channels, 65535 / f->bytes);
    const uint64_t bytes = (uint64_t)count * (uint64_t)f->bytes, padded = bytes + (bytes & 1);
    if (padded + (uint64_t)head > UINT32_MAX)
        return tide_fail(ctx, TIDE_EARG,
                         "%s: %llu bytes of samples are more than a WAV file holds (4 GiB); save "
                         "parts",
                         what, (unsigned long long)bytes);
    if (f->wav == 3 && x->dtype == TIDE_I32)
        return tide_fail(ctx, TIDE_EARG, "%s: x holds whole numbers, %s stores floats", what,
                         f->name);
    uint8_t *block = malloc((size_t)head + (size_t)padded), *p = block;
    int32_t *piece = malloc(PIECE);
    if (!block || !piece) {
        free(block), free(piece);
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for %llu bytes", what,
                         (unsigned long long)padded);
    }
    p = put(put_name(p, "RIFF"), (uint64_t)head - 8 + padded, 4);
    p = put(put_name(put_name(p, "WAVE"), "fmt "), law_or_float ? 18 : 16, 4);
    p = put(put(put(p, (uint64_t)f->wav, 2), (uint64_t)channels, 2), (uint64_t)rate, 4);
    p = put(p, (uint64_t)(rate * channels * f->bytes), 4);
    p = put(put(p, (uint64_t)(channels * f->bytes), 2), (uint64_t)f->bits, 2);
    if (law_or_float) { /* the count of frames, which only plain PCM goes without */
        p = put(p, 0, 2);
        p = put(put(put_name(p, "fact"), 4, 4), (uint64_t)x->shape[0], 4);
    }
    p = put(put_name(p, "data"), bytes, 4);
    tide_status st = TIDE_OK;
    const int64_t room = PIECE / (int64_t)sizeof *piece;
    for (int64_t i = 0; i < count && st == TIDE_OK; i += room) {
        const int64_t k = count - i < room ? count - i : room;
        st = tide_go_on(ctx);
        if (st == TIDE_OK && f->wav == 3) store_reals(e, x, i, k, p);
        else if (st == TIDE_OK) {
            const int bits = f->bytes == 1 && e != TIDE_SOUND_pcm_u8 ? 16 : f->bits;
            st = tide_sound_whole(ctx, what, bits, x, i, k, piece);
            if (st == TIDE_OK) store(e, piece, k, p);
        }
        p += k * f->bytes;
    }
    free(piece);
    if (st != TIDE_OK) {
        free(block);
        return st;
    }
    if (bytes & 1) *p = 0;
    *data = (char *)block, *n = (size_t)head + (size_t)padded;
    return TIDE_OK;
}
