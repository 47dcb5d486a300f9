/* Pictures: decoding, encoding, resizing, augmenting, and loading ahead in threads. No Lua, no
 * context: what is here may run on any thread, so failures are told through a tide_image_error
 * instead of a context's message.
 *
 * A picture is u8, (height, width, channels), rows without gaps, channels 1 (grey), 2 (grey,
 * alpha), 3 (RGB) or 4 (RGBA); grey ones may be wide: u16. */
#ifndef TIDE_IMAGE_H
#define TIDE_IMAGE_H

#include "../../kernels/kernel.h"

#include <stdbool.h>

typedef struct {
    uint8_t *data; /* owned, from malloc; NULL: none */
    int64_t height, width;
    int channels;
    bool wide; /* `data` holds u16, of one channel */
} tide_image;

typedef struct {
    tide_status status;
    char text[256]; /* "what is wrong (expected, got)", without the file's name */
} tide_image_error;

/* Fills `e` and returns `status`. */
tide_status tide_image_fail(tide_image_error *e, tide_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tide_image_free(tide_image *); /* accepts an empty one; empties it */

/* -- decoding -- */
#define TIDE_IMAGE_MAX_SIDE 16384
#define TIDE_IMAGE_MAX_PIXELS 100000000
#define TIDE_IMAGE_MAX_BYTES ((int64_t)1 << 30) /* of a file */

typedef struct {
    int channels;       /* 1, 3 or 4: converted as Pillow does; 0: as the file has them */
    bool upright;       /* turn and mirror as the EXIF orientation says */
    int64_t max_pixels; /* 0: TIDE_IMAGE_MAX_PIXELS */
    bool wide;          /* grey of 16 bits keeps them; `channels` is 1 */
    bool tf;            /* as tf.image.decode_image: grey from colour, the DCT of JPEG */
} tide_image_options;

/* What the first bytes say: "png", "jpeg", "bmp", "psd", "hdr", "pnm", "tga", "gif", or a format
 * that is known but not read ("webp", "tiff"); NULL: none of these. TGA has no signature and is
 * told by a plausible header. */
const char *tide_image_format(const uint8_t *bytes, size_t n);

/* 16-bit PNG and PNM keep the high byte of each sample, unless `wide` asks for the whole. A
 * truncated file is an error, as is one over a limit. With `frames` (optional, out: their number)
 * all frames of an animation are read, below one another; else the first. */
tide_status tide_image_decode(const uint8_t *bytes, size_t n, const tide_image_options *,
                              tide_image *out, int64_t *frames, tide_image_error *);
tide_status tide_image_load(const char *path, const tide_image_options *, tide_image *out,
                            int64_t *frames, tide_image_error *);

/* Refuses sides and areas over the limits; decoders call it before they allocate. */
tide_status tide_image_check_size(uint64_t height, uint64_t width, const tide_image_options *,
                                  tide_image_error *);
/* Grey, alpha and colour as Pillow: L = (19595 R + 38470 G + 7471 B + 2^15) >> 16; alpha is dropped
 * or 255. `tf`: L = (9797 R + 19234 G + 3737 B) >> 15, but R where all three are equal: libpng's,
 * by which TensorFlow goes. */
tide_status tide_image_convert(tide_image *, int channels, bool tf, tide_image_error *);

/* -- the formats behind decode; `orientation` gets 1..8 if the file names one -- */
tide_status tide_png_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            int *orientation, tide_image_error *);
tide_status tide_jpeg_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                             int *orientation, tide_image_error *);
tide_status tide_tga_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            tide_image_error *);
tide_status tide_psd_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            tide_image_error *);
tide_status tide_hdr_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            tide_image_error *);
tide_status tide_bmp_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            tide_image_error *);
tide_status tide_pnm_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            tide_image_error *);
tide_status tide_gif_decode(const uint8_t *, size_t, const tide_image_options *, tide_image *out,
                            int64_t *frames, tide_image_error *);
bool tide_tga_test(const uint8_t *, size_t);
int tide_exif_orientation(const uint8_t *tiff, size_t n); /* of a TIFF block; 0: none */

/* -- encoding: `bytes` is from malloc -- */
tide_status tide_image_encode(const char *format /* png, jpeg, bmp, pnm */, const tide_image *,
                              int quality /* JPEG, 1..100 */, uint8_t **bytes, size_t *n,
                              tide_image_error *);
tide_status tide_bmp_encode(const tide_image *, uint8_t **bytes, size_t *n, tide_image_error *);
tide_status tide_png_encode(const tide_image *, uint8_t **bytes, size_t *n, tide_image_error *);
tide_status tide_jpeg_encode(const tide_image *, int quality, uint8_t **bytes, size_t *n,
                             tide_image_error *);

/* -- resizing -- */
/* Pillow's Image.resize of u8 pictures: nearest bilinear bicubic box hamming lanczos. `box` is
 * {left, top, right, bottom}. */
typedef enum {
    TIDE_PIL_NEAREST,
    TIDE_PIL_BILINEAR,
    TIDE_PIL_BICUBIC,
    TIDE_PIL_BOX,
    TIDE_PIL_HAMMING,
    TIDE_PIL_LANCZOS
} tide_pil_filter;
int tide_pil_filter_of(const char *name); /* -1: unknown */
tide_status tide_image_resize(const tide_image *, const int64_t box[4], int64_t height,
                              int64_t width, tide_pil_filter, tide_image *out, tide_image_error *);
/* Keras' load_img: the whole picture, or the largest centred part of the target's aspect ratio,
 * brought to (height, width). */
tide_status tide_image_fit(const tide_image *, int64_t height, int64_t width, tide_pil_filter,
                           bool keep_aspect_ratio, tide_image *out, tide_image_error *);

/* TensorFlow's tf.image.resize of float pictures (n, h, w, c) -> (n, oh, ow, c). */
typedef enum {
    TIDE_TF_NEAREST,
    TIDE_TF_BILINEAR,
    TIDE_TF_BICUBIC,
    TIDE_TF_AREA,
    TIDE_TF_LANCZOS3,
    TIDE_TF_LANCZOS5,
    TIDE_TF_GAUSSIAN,
    TIDE_TF_MITCHELL
} tide_tf_method;
int tide_tf_method_of(const char *name); /* -1: unknown */
/* Fails with TIDE_EINTERRUPT once *stop is not 0 (NULL: never). */
tide_status tide_resize_tf(const float *x, int64_t n, int64_t h, int64_t w, int64_t c, int64_t oh,
                           int64_t ow, tide_tf_method, bool antialias, const volatile int *stop,
                           float *y);

/* A picture to floats (height, width, channels) by TensorFlow's resizing, as Keras'
 * image_dataset_from_directory brings it to size: stretched, its largest centred part of the
 * target's aspect ratio, or the whole with zeros around. */
typedef enum { TIDE_ASPECT_STRETCH, TIDE_ASPECT_CROP, TIDE_ASPECT_PAD } tide_aspect;
tide_status tide_image_fit_tf(const tide_image *, int64_t height, int64_t width, tide_tf_method,
                              tide_aspect, float *y);

/* -- augmentation (Keras' ImageDataGenerator) -- */
typedef struct {                         /* a drawn transformation; Keras' names */
    double theta, tx, ty, shear, zx, zy; /* degrees, pixels, pixels, degrees, factors */
    double channel_shift, brightness;
    bool flip_horizontal, flip_vertical, has_channel_shift, has_brightness;
} tide_transform;

typedef struct { /* range of a shift */
    int n;       /* 0: uniform in +-v[0]; > 0: one of v[0..n-1] with a random sign */
    double v[64];
    bool on, relative; /* relative: a fraction of the size */
} tide_shift;

typedef enum {
    TIDE_FILL_NEAREST,
    TIDE_FILL_CONSTANT,
    TIDE_FILL_REFLECT,
    TIDE_FILL_WRAP
} tide_fill_mode;

typedef struct {
    double rotation, shear, zoom[2], channel_shift, brightness[2];
    tide_shift width_shift, height_shift;
    bool horizontal_flip, vertical_flip, has_brightness;
    tide_fill_mode fill;
    double cval;
    int order; /* of the spline: 0 (nearest) to 5 */
    /* standardization, in Keras' order after the transformation */
    bool standardize; /* false: the caller does it */
    double rescale;   /* 0: none */
    bool samplewise_center, samplewise_std;
    const float *mean, *std; /* per channel, borrowed; NULL: none */
} tide_augment;

uint64_t tide_sample_seed(uint64_t seed, uint64_t epoch,
                          uint64_t index);  /* what the draws of one sample start from */
uint64_t tide_sample_next(uint64_t *state); /* 64 random bits */
void tide_transform_draw(const tide_augment *, int64_t h, int64_t w, uint64_t seed,
                         tide_transform *out);
/* x -> y, both (h, w, c), apart: one resample by the composed matrix (as SciPy's affine_transform),
 * then channel shift, flips, brightness. Brightness needs 1, 3 or 4 channels. */
tide_status tide_transform_apply(const tide_augment *, const tide_transform *, const float *x,
                                 int64_t h, int64_t w, int64_t c, float *y);
typedef struct { /* output pixel (i, j) shows the input at m (i, j) + o */
    double m[2][2], o[2];
} tide_affine;
/* x -> y, both (h, w, c), apart, by the augmentation's order, fill and cval; the flips are of the
 * result. */
tide_status tide_resample(const tide_augment *, const tide_affine *, bool flip_horizontal,
                          bool flip_vertical, const float *x, int64_t h, int64_t w, int64_t c,
                          float *y);
void tide_standardize(const tide_augment *, float *x, int64_t pixels, int64_t c);

#endif
