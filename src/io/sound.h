/* Sound: WAV files in the core, others through libsndfile, other sampling rates through
 * libsamplerate; both libraries are opened at run time and never linked. No Lua.
 *
 * Samples are (frames, channels), full scale is -1 to 1. No header is believed: what memory is
 * taken for is there in the file. */
#ifndef TIDE_SOUND_H
#define TIDE_SOUND_H

#include "../tide.h"

/* How samples are stored: the name that people see, bits of a sample, bytes that it takes,
 * libsndfile's number of it, and WAV's number of its kind (0: not in WAV files that Tide reads by
 * itself). */
#define TIDE_ENCODINGS(X)       \
    X(pcm_u8, 8, 1, 0x05, 1)    \
    X(pcm_16, 16, 2, 0x02, 1)   \
    X(pcm_24, 24, 3, 0x03, 1)   \
    X(pcm_32, 32, 4, 0x04, 1)   \
    X(float_32, 32, 4, 0x06, 3) \
    X(float_64, 64, 8, 0x07, 3) \
    X(a_law, 8, 1, 0x11, 6)     \
    X(mu_law, 8, 1, 0x10, 7)    \
    X(pcm_s8, 8, 0, 0x01, 0)    \
    X(vorbis, 0, 0, 0x60, 0)    \
    X(opus, 0, 0, 0x64, 0)      \
    X(mpeg_3, 0, 0, 0x82, 0)    \
    X(ima_adpcm, 0, 0, 0x12, 0) \
    X(ms_adpcm, 0, 0, 0x13, 0)  \
    X(gsm_610, 0, 0, 0x20, 0)   \
    X(alac_16, 16, 0, 0x70, 0)  \
    X(alac_24, 24, 0, 0x72, 0)
typedef enum {
#define X(name, bits, bytes, number, wav) TIDE_SOUND_##name,
    TIDE_ENCODINGS(X)
#undef X
        TIDE_SOUND_KINDS,
    TIDE_SOUND_other = TIDE_SOUND_KINDS
} tide_encoding;
typedef struct {
    const char *name;
    int bits, bytes, number, wav;
} tide_encoding_facts;
const tide_encoding_facts *tide_encoding_of(tide_encoding); /* of `other`: named "other" */
/* The one of this name; `other`: there is none. */
tide_encoding tide_encoding_named(const char *name);

/* The bytes of a sound: a file, or memory where `fd` is -1. `what` opens the messages. */
typedef struct {
    tide_ctx *ctx;
    const char *what;
    int fd;
    const uint8_t *memory;
    int64_t size;
    const volatile int *quit; /* set: whoever reads shall stop; NULL: nobody says so */
} tide_sound_source;
/* Fails where whoever reads shall stop, or Ctrl-C came. */
tide_status tide_sound_go_on(const tide_sound_source *);
/* Up to n bytes from `at`: how many there were, -1 where reading failed. */
int64_t tide_sound_fetch(const tide_sound_source *, int64_t at, int64_t n, void *to);

typedef struct {
    char format[16]; /* "wav", "flac", ... */
    tide_encoding encoding;
    int64_t rate, channels;
    int64_t frames; /* of libsndfile's formats: as the header says */
    int64_t at;     /* WAV: where the samples begin */
    int shift;      /* WAV: unused low bits of a whole number */
    void *library;  /* libsndfile's handle; NULL: the core reads it */
} tide_sound;

/* -- WAV (RIFF, RF64, BW64): whole numbers of 8 to 32 bits, floats, A-law, mu-law -- */
/* Whether the first bytes say WAV. */
int tide_wav_is(const tide_sound_source *);
/* Reads the chunks up to the samples. `other` is set where it is a WAV file whose encoding is not
 * read here (the context has a message). */
tide_status tide_wav_open(const tide_sound_source *, tide_sound *out, int *other);
/* Frames first..first + n - 1, which are there, as `dtype`: f32, f64, or i32 for the whole numbers
 * as they are stored. */
tide_status tide_wav_read(const tide_sound_source *, const tide_sound *, int64_t first, int64_t n,
                          tide_dtype dtype, void *to);
/* The whole file in a block that the caller frees. Samples are rounded and clipped to full scale;
 * whole numbers (i32) are stored as they are and refused where they do not fit. */
tide_status tide_wav_write(tide_ctx *, const char *what, tide_encoding, int64_t rate,
                           const tide_tensor *x, char **data, size_t *n);
/* Whole numbers of 32 bits, full scale, of samples as an encoding of `bits` bits holds them. */
tide_status tide_sound_whole(tide_ctx *, const char *what, int bits, const tide_tensor *x,
                             int64_t first, int64_t n, int32_t *to);

/* -- any format -- */
/* Fills an empty sound; free with tide_sound_close, which accepts what failed to open too. */
tide_status tide_sound_open(tide_sound_source *, tide_sound *out);
void tide_sound_close(tide_sound *);
/* A new tensor (frames, channels) of up to n frames (-1: all) from `first`. */
tide_status tide_sound_read(const tide_sound_source *, tide_sound *, int64_t first, int64_t n,
                            tide_dtype, tide_tensor **out);
/* The same from the first on as f32, in a block that the caller frees, at `rate` samples per second
 * (0: as stored) and in `length` frames as stored, with zeros behind (-1: as many as there are).
 * For any thread, with a context of its own. */
tide_status tide_sound_floats(const tide_sound_source *, tide_sound *, int64_t length, int64_t rate,
                              int quality, float **data, int64_t *frames);
/* As tide_wav_write, for "wav", "flac", "ogg", "aiff", "au", "caf". `x`: (frames, channels), f32,
 * f64 or i32, contiguous on the CPU. */
tide_status tide_sound_write(tide_ctx *, const char *what, const char *format, tide_encoding,
                             int64_t rate, const tide_tensor *x, char **data, size_t *n);
/* x: f32 (frames, channels) at one rate; new: the same at another, ceil(frames * to / from) frames.
 * quality: 0 best, 1 medium, 2 fastest (band-limited), 3 the last sample, 4 linear. */
tide_status tide_sound_resample(tide_ctx *, const char *what, const tide_tensor *x, int64_t from,
                                int64_t to, int quality, tide_tensor **out);
/* Versions, or why they do not run; in static memory. */
const char *tide_sndfile_info(void);
const char *tide_samplerate_info(void);

#endif
