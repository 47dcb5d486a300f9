/* Owns the doors to libsndfile and libsamplerate, opened when the first sound asks for them, and
 * what all formats share.
 *
 * Invariants: nothing is linked and no header of theirs is needed: what is declared here is their
 * stable binary interface. A length in a file is a hint: memory grows with the samples that come.
 */
#include "sound.h"

#include "io.h"

#include "../core.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };       /* samples at a time: Ctrl-C is heard between */
#define MOST ((int64_t)1 << 29) /* samples of a packed file at once: 2 GiB */

/* -- libsndfile -- */

typedef struct {
    int64_t frames;
    int samplerate, channels, format, sections, seekable;
} sf_info;
typedef struct {
    int64_t (*filelen)(void *);
    int64_t (*seek)(int64_t, int, void *);
    int64_t (*read)(void *, int64_t, void *);
    int64_t (*write)(const void *, int64_t, void *);
    int64_t (*tell)(void *);
} sf_virtual;
enum { SF_READ = 0x10, SF_WRITE = 0x20, SF_FORMAT = 0x0FFF0000, SF_ENCODING = 0xFFFF };

#define SNDFILE_SYMBOLS(X)                                          \
    X(void *, open_virtual, (sf_virtual *, int, sf_info *, void *)) \
    X(int, close, (void *))                                         \
    X(const char *, strerror, (void *))                             \
    X(const char *, version_string, (void))                         \
    X(int, format_check, (const sf_info *))                         \
    X(int64_t, seek, (void *, int64_t, int))                        \
    X(int64_t, readf_float, (void *, float *, int64_t))             \
    X(int64_t, readf_double, (void *, double *, int64_t))           \
    X(int64_t, readf_int, (void *, int *, int64_t))                 \
    X(int64_t, writef_float, (void *, const float *, int64_t))      \
    X(int64_t, writef_double, (void *, const double *, int64_t))    \
    X(int64_t, writef_int, (void *, const int *, int64_t))
static struct {
#define X(type, name, args) type(*name) args;
    SNDFILE_SYMBOLS(X)
#undef X
} sf;

/* -- libsamplerate -- */

typedef struct {
    const float *in;
    float *out;
    long in_frames, out_frames, used, made;
    int last;
    double ratio;
} src_data;
#define SAMPLERATE_SYMBOLS(X)             \
    X(void *, new, (int, int, int *))     \
    X(void *, delete, (void *))           \
    X(int, process, (void *, src_data *)) \
    X(const char *, strerror, (int))      \
    X(const char *, get_version, (void))  \
    X(int, is_valid_ratio, (double))
static struct {
#define X(type, name, args) type(*name) args;
    SAMPLERATE_SYMBOLS(X)
#undef X
} src;

static char sf_says[128] = "not opened yet", src_says[128] = "not opened yet";
static int sf_runs, src_runs;

/* The library of a name, or the one that a variable of the environment names; NULL: `says` has the
 * reason. */
static void *open_library(const char *variable, const char *name, char *says, size_t room) {
    const char *want = getenv(variable);
    if (want && !strcmp(want, "none")) {
        snprintf(says, room, "none (%s)", variable);
        return NULL;
    }
    if (want && *want) name = want;
    void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!lib) snprintf(says, room, "no library found (%.60s)", name);
    return lib;
}

static void open_sndfile(void) {
    void *lib = open_library("TIDE_SNDFILE", "libsndfile.so.1", sf_says, sizeof sf_says);
    if (!lib) return;
    const char *missing = NULL;
#define X(type, name, args)                       \
    *(void **)&sf.name = dlsym(lib, "sf_" #name); \
    if (!sf.name) missing = "sf_" #name;
    SNDFILE_SYMBOLS(X)
#undef X
    if (missing) snprintf(sf_says, sizeof sf_says, "the library found has no %s", missing);
    else snprintf(sf_says, sizeof sf_says, "%.100s", sf.version_string()), sf_runs = 1;
}

static void open_samplerate(void) {
    void *lib = open_library("TIDE_SAMPLERATE", "libsamplerate.so.0", src_says, sizeof src_says);
    if (!lib) return;
    const char *missing = NULL;
#define X(type, name, args)                         \
    *(void **)&src.name = dlsym(lib, "src_" #name); \
    if (!src.name) missing = "src_" #name;
    SAMPLERATE_SYMBOLS(X)
#undef X
    if (missing) snprintf(src_says, sizeof src_says, "the library found has no %s", missing);
    else snprintf(src_says, sizeof src_says, "%.100s", src.get_version()), src_runs = 1;
}

const char *tide_sndfile_info(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_sndfile);
    return sf_says;
}
const char *tide_samplerate_info(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_samplerate);
    return src_says;
}

enum { SPARE = 16 << 20 }; /* bytes; a coder of some channels takes a tenth of it */

static tide_status need_sndfile(tide_ctx *ctx, const char *what, const char *for_what) {
    tide_sndfile_info();
    if (sf_runs) { /* its codecs end the process where they get no memory: see that there is some */
        void *spare = malloc(SPARE);
        free(spare);
        return spare ? TIDE_OK : tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    }
    return tide_fail(ctx, TIDE_EIO,
                     "%s: %s needs libsndfile, which does not run: %s; install it (Debian: apt-get "
                     "install libsndfile1), or use WAV files",
                     what, for_what, sf_says);
}

/* -- names -- */

static const struct {
    const char *name;
    int number;
} formats[] = {{"wav", 0x010000},  {"aiff", 0x020000}, {"au", 0x030000},  {"w64", 0x0B0000},
               {"wav", 0x130000},  {"flac", 0x170000}, {"caf", 0x180000}, {"ogg", 0x200000},
               {"rf64", 0x220000}, {"mp3", 0x230000}};

static const char *format_name(int number) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].number == (number & SF_FORMAT)) return formats[i].name;
    return "other";
}

/* -- bytes for libsndfile -- */

typedef struct {
    const tide_sound_source *from; /* NULL: `data` is written */
    int64_t at;
    char *data;
    int64_t size, room;
    int short_of_memory;
} stream;

static int64_t stream_size(void *p) {
    const stream *s = p;
    return s->from ? s->from->size : s->size;
}
static int64_t stream_tell(void *p) { return ((stream *)p)->at; }
static int64_t stream_seek(int64_t by, int whence, void *p) {
    stream *s = p;
    const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? s->at : stream_size(p);
    int64_t to;
    if (__builtin_add_overflow(base, by, &to) || to < 0) return -1;
    return s->at = to;
}
static int64_t stream_read(void *to, int64_t n, void *p) {
    stream *s = p;
    const int64_t got = s->from ? tide_sound_fetch(s->from, s->at, n, to) : 0;
    if (got > 0) s->at += got;
    return got < 0 ? 0 : got;
}
static int64_t stream_write(const void *from, int64_t n, void *p) {
    stream *s = p;
    int64_t end;
    if (s->from || n < 0 || __builtin_add_overflow(s->at, n, &end)) return 0;
    if (end > s->room) {
        const int64_t room = end > INT64_MAX / 2 ? end : 2 * end;
        char *data = realloc(s->data, (size_t)room);
        if (!data) {
            s->short_of_memory = 1;
            return 0;
        }
        s->data = data, s->room = room;
    }
    if (s->at > s->size) memset(s->data + s->size, 0, (size_t)(s->at - s->size));
    memcpy(s->data + s->at, from, (size_t)n);
    s->at = end;
    if (end > s->size) s->size = end;
    return n;
}
static sf_virtual calls = {stream_size, stream_seek, stream_read, stream_write, stream_tell};

typedef struct {
    void *file;
    stream bytes;
} library_file;

/* An error as a library words it, which tells lack of memory by words alone. */
static tide_status failed(tide_ctx *ctx, const char *what, tide_status st, const char *who,
                          const char *said) {
    if (strstr(said, "alloc")) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    return tide_fail(ctx, st, "%s: %s: %.200s", what, who, said);
}

static tide_status open_with_library(const tide_sound_source *source, tide_sound *out) {
    TIDE_TRY(need_sndfile(source->ctx, source->what, "what is no plain WAV file"));
    library_file *l = calloc(1, sizeof *l);
    if (!l) return tide_fail(source->ctx, TIDE_ENOMEM, "%s: not enough memory", source->what);
    sf_info info = {0};
    l->bytes.from = source;
    /* what it says of a file that it refuses is one text for all threads */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    l->file = sf.open_virtual(&calls, SF_READ, &info, &l->bytes);
    tide_status st = l->file
        ? TIDE_OK
        : failed(source->ctx, source->what, TIDE_EIO, "not read by libsndfile", sf.strerror(NULL));
    pthread_mutex_unlock(&lock);
    if (st != TIDE_OK) {
        free(l);
        return st;
    }
    out->library = l;
    snprintf(out->format, sizeof out->format, "%s", format_name(info.format));
    out->encoding = TIDE_SOUND_other;
    for (int e = 0; e < TIDE_SOUND_KINDS; e++)
        if (tide_encoding_of((tide_encoding)e)->number == (info.format & SF_ENCODING))
            out->encoding = (tide_encoding)e;
    out->channels = info.channels, out->rate = info.samplerate, out->frames = info.frames;
    if (info.channels < 1 || info.samplerate < 1 || info.frames < 0)
        return tide_fail(source->ctx, TIDE_EIO,
                         "%s: the header names %d channels, %d samples per second and %lld samples",
                         source->what, info.channels, info.samplerate, (long long)info.frames);
    return TIDE_OK;
}

tide_status tide_sound_open(tide_sound_source *s, tide_sound *out) {
    if (!tide_wav_is(s)) {
        if (s->size == 0) return tide_fail(s->ctx, TIDE_EIO, "%s: the file is empty", s->what);
        return open_with_library(s, out);
    }
    int other;
    tide_status st = tide_wav_open(s, out, &other);
    tide_sndfile_info();
    return st != TIDE_OK && other && sf_runs ? open_with_library(s, out) : st;
}

void tide_sound_close(tide_sound *s) {
    library_file *l = s->library;
    if (l) sf.close(l->file);
    free(l);
    s->library = NULL;
}

/* -- reading -- */

/* Frames as they come, into a block that grows; `n` is how many were wanted, and were there. */
static tide_status gather(const tide_sound_source *s, tide_sound *w, int64_t *n, tide_dtype dtype,
                          char **data) {
    const library_file *l = w->library;
    const int64_t frame = w->channels * (int64_t)tide_dtype_size(dtype), most = MOST / w->channels;
    const int64_t step = BLOCK / w->channels > 0 ? BLOCK / w->channels : 1;
    int64_t room = 0, got = 0;
    while (got < *n) {
        TIDE_TRY(tide_sound_go_on(s));
        if (got >= most)
            return tide_fail(s->ctx, TIDE_EIO,
                             "%s: over %lld samples are too many at once; read parts by offset and "
                             "duration",
                             s->what, (long long)most);
        if (got + step > room) {
            room = 2 * room + step;
            char *more = realloc(*data, (size_t)(room * frame));
            if (!more) return tide_fail(s->ctx, TIDE_ENOMEM, "%s: not enough memory", s->what);
            *data = more;
        }
        const int64_t k = *n - got < step ? *n - got : step;
        void *to = *data + got * frame;
        const int64_t r = dtype == TIDE_F32 ? sf.readf_float(l->file, to, k)
            : dtype == TIDE_F64             ? sf.readf_double(l->file, to, k)
                                            : sf.readf_int(l->file, to, k);
        if (r <= 0) break;
        got += r;
    }
    *n = got;
    return TIDE_OK;
}

static tide_status read_with_library(const tide_sound_source *s, tide_sound *w, int64_t first,
                                     int64_t n, tide_dtype dtype, tide_tensor **out) {
    library_file *l = w->library;
    const int bits = tide_encoding_of(w->encoding)->bits;
    const int is_float = w->encoding == TIDE_SOUND_float_32 || w->encoding == TIDE_SOUND_float_64;
    if (dtype == TIDE_I32 && (bits == 0 || is_float))
        return tide_fail(s->ctx, TIDE_EARG,
                         "%s: dtype int32 is for samples that are stored as whole numbers",
                         s->what);
    if (first > 0 && sf.seek(l->file, first, SEEK_SET) != first)
        return tide_fail(s->ctx, TIDE_EIO, "%s: sample %lld cannot be reached: %.200s", s->what,
                         (long long)first + 1, sf.strerror(l->file));
    char *data = NULL;
    if (n < 0) n = INT64_MAX;
    tide_status st = gather(s, w, &n, dtype, &data);
    const int64_t shape[2] = {n, w->channels};
    if (st == TIDE_OK) st = tide_new_host(s->ctx, dtype, 2, shape, out);
    if (st == TIDE_OK && n > 0) {
        char *to = tide_host_view(*out);
        memcpy(to, data, (size_t)(n * w->channels) * tide_dtype_size(dtype));
        for (int64_t i = 0; dtype == TIDE_I32 && i < n * w->channels; i++)
            ((int32_t *)(void *)to)[i] >>= 32 - bits;
    }
    free(data);
    return st;
}

tide_status tide_sound_read(const tide_sound_source *s, tide_sound *w, int64_t first, int64_t n,
                            tide_dtype dtype, tide_tensor **out) {
    if (first > w->frames)
        return tide_fail(s->ctx, TIDE_EARG, "%s: has %lld samples (expected to begin at %lld)",
                         s->what, (long long)w->frames, (long long)first);
    if (w->library) return read_with_library(s, w, first, n, dtype, out);
    if (n < 0 || n > w->frames - first) n = w->frames - first;
    const int64_t shape[2] = {n, w->channels};
    TIDE_TRY(tide_new_host(s->ctx, dtype, 2, shape, out));
    return tide_wav_read(s, w, first, n, dtype, tide_host_view(*out));
}

static tide_status at_rate(const tide_sound_source *, int64_t channels, int64_t from, int64_t to,
                           int quality, float **data, int64_t *frames);

tide_status tide_sound_floats(const tide_sound_source *s, tide_sound *w, int64_t length,
                              int64_t rate, int quality, float **data, int64_t *frames) {
    char *block = NULL;
    int64_t n = length < 0 ? INT64_MAX : length;
    tide_status st;
    if (w->library) st = gather(s, w, &n, TIDE_F32, &block);
    else {
        n = TIDE_MIN(n, w->frames);
        block = malloc((size_t)(n * w->channels) * sizeof **data + 1);
        st = block ? tide_wav_read(s, w, 0, n, TIDE_F32, block)
                   : tide_fail(s->ctx, TIDE_ENOMEM, "%s: not enough memory", s->what);
    }
    int64_t numbers;
    if (st == TIDE_OK && length > n) { /* zeros behind */
        char *longer = __builtin_mul_overflow(length, w->channels, &numbers) || numbers > MOST
            ? NULL
            : realloc(block, (size_t)numbers * sizeof **data);
        if (!longer) st = tide_fail(s->ctx, TIDE_ENOMEM, "%s: not enough memory", s->what);
        else {
            block = longer;
            memset(block + (size_t)(n * w->channels) * sizeof **data, 0,
                   (size_t)((length - n) * w->channels) * sizeof **data);
            n = length;
        }
    }
    *data = (float *)(void *)block, *frames = n;
    if (st == TIDE_OK && rate > 0 && rate != w->rate)
        st = at_rate(s, w->channels, w->rate, rate, quality, data, frames);
    if (st == TIDE_OK) return TIDE_OK;
    free(*data);
    *data = NULL;
    return st;
}

/* -- writing -- */

static tide_status write_samples(tide_ctx *ctx, const char *what, void *file, tide_encoding e,
                                 const tide_tensor *x) {
    const tide_encoding_facts *f = tide_encoding_of(e);
    const int64_t channels = x->shape[1], step = BLOCK / channels > 0 ? BLOCK / channels : 1;
    const int is_whole = f->bits > 0 && e != TIDE_SOUND_float_32 && e != TIDE_SOUND_float_64;
    const int bits = f->wav > 3 ? 16 : f->bits;
    if (!is_whole && x->dtype == TIDE_I32)
        return tide_fail(ctx, TIDE_EARG, "%s: x holds whole numbers, %s stores floats", what,
                         f->name);
    int32_t *piece = is_whole ? malloc((size_t)(step * channels) * sizeof *piece) : NULL;
    if (is_whole && !piece) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    const char *from = tide_host_view(x);
    tide_status st = TIDE_OK;
    for (int64_t i = 0; i < x->shape[0] && st == TIDE_OK; i += step) {
        const int64_t k = x->shape[0] - i < step ? x->shape[0] - i : step;
        const void *at = from + i * channels * (int64_t)tide_dtype_size(x->dtype);
        if ((st = tide_go_on(ctx)) != TIDE_OK) break;
        if (is_whole) st = tide_sound_whole(ctx, what, bits, x, i * channels, k * channels, piece);
        if (st != TIDE_OK) break;
        const int64_t r = is_whole ? sf.writef_int(file, piece, k)
            : x->dtype == TIDE_F64 ? sf.writef_double(file, at, k)
                                   : sf.writef_float(file, at, k);
        if (r != k) st = failed(ctx, what, TIDE_EIO, "libsndfile failed", sf.strerror(file));
    }
    free(piece);
    return st;
}

tide_status tide_sound_write(tide_ctx *ctx, const char *what, const char *format, tide_encoding e,
                             int64_t rate, const tide_tensor *x, char **data, size_t *n) {
    if (!strcmp(format, "wav")) return tide_wav_write(ctx, what, e, rate, x, data, n);
    char wanted[40];
    snprintf(wanted, sizeof wanted, "the format %.16s", format);
    TIDE_TRY(need_sndfile(ctx, what, wanted));
    sf_info info = {.samplerate = (int)rate,
                    .channels = (int)x->shape[1],
                    .format = tide_encoding_of(e)->number};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, format)) info.format |= formats[i].number;
    if (x->shape[1] < 1 || x->shape[1] > 1024 || !sf.format_check(&info))
        return tide_fail(ctx, TIDE_EARG,
                         "%s: libsndfile does not write %s with %s, %lld channels and %lld samples "
                         "per second",
                         what, format, tide_encoding_of(e)->name, (long long)x->shape[1],
                         (long long)rate);
    stream bytes = {0};
    void *file = sf.open_virtual(&calls, SF_WRITE, &info, &bytes);
    tide_status st = file ? write_samples(ctx, what, file, e, x)
                          : failed(ctx, what, TIDE_EIO, "libsndfile failed", sf.strerror(NULL));
    if (file) sf.close(file); /* writes what is left */
    if (st == TIDE_OK && bytes.short_of_memory)
        st = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    else if (st == TIDE_OK && !bytes.data)
        st =
            tide_fail(ctx, TIDE_EARG, "%s: libsndfile writes no %s without a sample", what, format);
    if (st != TIDE_OK) {
        free(bytes.data);
        return st;
    }
    *data = bytes.data, *n = (size_t)bytes.size;
    return TIDE_OK;
}

/* -- other rates -- */

/* How many frames there are at another rate. */
static tide_status count_at(const tide_sound_source *s, int64_t n, int64_t from, int64_t to,
                            int64_t *count) {
    tide_samplerate_info();
    if (!src_runs)
        return tide_fail(s->ctx, TIDE_EIO,
                         "%s: another sampling rate needs libsamplerate, which does not run: %s; "
                         "install it (Debian: apt-get install libsamplerate0)",
                         s->what, src_says);
    if (!src.is_valid_ratio((double)to / (double)from))
        return tide_fail(s->ctx, TIDE_EARG,
                         "%s: from %lld to %lld samples per second is more than a factor of 256",
                         s->what, (long long)from, (long long)to);
    int64_t most;
    if (__builtin_mul_overflow(n, to, &most) || most > INT64_MAX - from)
        return tide_fail(s->ctx, TIDE_EARG, "%s: too many samples", s->what);
    *count = (most + from - 1) / from;
    return TIDE_OK;
}

/* n frames of `in` as `count` frames of `result`. */
static tide_status convert_rate(const tide_sound_source *s, const float *in, int64_t n,
                                int64_t channels, double ratio, int quality, float *result,
                                int64_t count) {
    int error = 0;
    void *state = channels <= INT32_MAX ? src.new(quality, (int)channels, &error) : NULL;
    if (!state)
        return failed(s->ctx, s->what, TIDE_EARG, "libsamplerate failed",
                      error ? src.strerror(error) : "too many channels");
    tide_status st = TIDE_OK;
    int64_t used = 0, made = 0;
    const int64_t step = channels < 128 ? 2048 / channels : 16; /* frames at a time */
    while (made < count && st == TIDE_OK) {
        src_data d = {.in = in + used * channels,
                      .out = result + made * channels,
                      .in_frames = (long)(n - used < step ? n - used : step),
                      .out_frames = (long)(count - made < step ? count - made : step),
                      .last = n - used <= step,
                      .ratio = ratio};
        if ((st = tide_sound_go_on(s)) != TIDE_OK) break;
        if ((error = src.process(state, &d)))
            st = failed(s->ctx, s->what, TIDE_EARG, "libsamplerate failed", src.strerror(error));
        used += d.used, made += d.made;
        if (d.made == 0 && (d.last || d.used == 0)) break; /* no more comes */
    }
    src.delete(state);
    if (st == TIDE_OK && made < count)
        memset(result + made * channels, 0, (size_t)((count - made) * channels) * 4);
    return st;
}

static tide_status at_rate(const tide_sound_source *s, int64_t channels, int64_t from, int64_t to,
                           int quality, float **data, int64_t *frames) {
    int64_t count, numbers;
    TIDE_TRY(count_at(s, *frames, from, to, &count));
    float *made = __builtin_mul_overflow(count, channels, &numbers) ||
            numbers > INT64_MAX / (int64_t)sizeof *made - 1
        ? NULL
        : malloc((size_t)numbers * sizeof *made + 1);
    if (!made) return tide_fail(s->ctx, TIDE_ENOMEM, "%s: not enough memory", s->what);
    const tide_status st =
        convert_rate(s, *data, *frames, channels, (double)to / (double)from, quality, made, count);
    free(*data);
    *data = made, *frames = count;
    return st;
}

tide_status tide_sound_resample(tide_ctx *ctx, const char *what, const tide_tensor *x, int64_t from,
                                int64_t to, int quality, tide_tensor **out) {
    const tide_sound_source s = {.ctx = ctx, .what = what, .fd = -1};
    const int64_t n = x->shape[0], channels = x->shape[1];
    int64_t count;
    TIDE_TRY(count_at(&s, n, from, to, &count));
    const int64_t shape[2] = {count, channels};
    TIDE_TRY(tide_new_host(ctx, TIDE_F32, 2, shape, out));
    return convert_rate(&s, tide_host_view(x), n, channels, (double)to / (double)from, quality,
                        tide_host_view(*out), count);
}
