/* corpus: spec/ref/sound_files
 * Fuzzes the WAV reader: what opens is read whole, in part and in each dtype, the parts must be
 * those of the whole, and what is written of it must read back the same. An input that does not
 * begin as WAV gets such a beginning. */
#include "../../src/core.h"
#include "../../src/io/sound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Frames first..first + n - 1 in a new tensor; NULL: refused, with a sentence. */
static tide_tensor *read_some(tide_sound_source *s, tide_sound *w, int64_t first, int64_t n,
                              tide_dtype dtype) {
    tide_tensor *t = NULL;
    if (tide_sound_read(s, w, first, n, dtype, &t) == TIDE_OK) return t;
    if (!*tide_message(s->ctx)) abort();
    tide_release(t);
    return NULL;
}

static void again(tide_ctx *ctx, const tide_tensor *x, tide_encoding e, int64_t rate) {
    char *bytes = NULL;
    size_t n = 0;
    if (tide_wav_write(ctx, "fuzz", e, rate, x, &bytes, &n) != TIDE_OK) return;
    tide_sound_source s = {
        .ctx = ctx, .what = "fuzz", .fd = -1, .memory = (uint8_t *)bytes, .size = (int64_t)n};
    tide_sound w = {0};
    int other;
    if (tide_wav_open(&s, &w, &other) != TIDE_OK || w.encoding != e || w.rate != rate ||
        w.frames != x->shape[0] || w.channels != x->shape[1])
        abort();
    tide_tensor *y = read_some(&s, &w, 0, -1, TIDE_F64);
    const double *from = tide_host_view(x), *to = tide_host_view(y);
    for (int64_t i = 0; i < tide_numel(x); i++) {
        const double most = tide_encoding_of(e)->wav == 3 ? 0 : 1;
        if (from[i] != to[i] && fabs(from[i]) <= most && e != TIDE_SOUND_a_law) abort();
    }
    tide_release(y);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static tide_ctx *ctx;
    if (!ctx && !(ctx = tide_ctx_new())) return 0;
    uint8_t *own = malloc(n + 12); /* an own block: what lies behind it is known to the sanitizer */
    if (!own) return 0;
    size_t size = n;
    if (n >= 12 && !memcmp(data + 8, "WAVE", 4)) {
        memcpy(own, data, n);
    } else {
        memcpy(own, n & 1 ? "RF64\xff\xff\xff\xffWAVE" : "RIFF\xff\xff\xff\xffWAVE", 12);
        memcpy(own + 12, data, n);
        size = n + 12;
    }
    tide_sound_source s = {
        .ctx = ctx, .what = "fuzz", .fd = -1, .memory = own, .size = (int64_t)size};
    tide_sound w = {0};
    int other;
    if (!tide_wav_is(&s) || tide_wav_open(&s, &w, &other) != TIDE_OK) {
        free(own);
        return 0;
    }
    const int64_t bytes = tide_encoding_of(w.encoding)->bytes * w.channels;
    if (w.frames < 0 || w.frames * bytes > (int64_t)size) abort(); /* memory follows the file */
    tide_tensor *whole = read_some(&s, &w, 0, -1, TIDE_F64);
    tide_tensor *narrow = read_some(&s, &w, 0, -1, TIDE_F32);
    tide_tensor *ints = read_some(&s, &w, 0, -1, TIDE_I32);
    if (!whole || !narrow) abort();
    const int64_t first = w.frames / 2;
    tide_tensor *part = read_some(&s, &w, first, 3, TIDE_F64);
    if (!part ||
        memcmp(tide_host_view(part), (double *)tide_host_view(whole) + first * w.channels,
               (size_t)tide_numel(part) * sizeof(double)))
        abort();
    if (read_some(&s, &w, w.frames + 1, 1, TIDE_F64)) abort();
    again(ctx, whole, w.encoding, w.rate);
    tide_release(whole), tide_release(narrow), tide_release(ints), tide_release(part);
    free(own);
    return 0;
}
