/* PNG through libpng. Invariant: every libpng call stands between setjmp and the cleanup label; its
 * longjmp ends there. */
#include "image.h"

#include <png.h>

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 8000000 /* memory of one ancillary chunk */
#define CHUNK_COUNT 128

typedef struct {
    jmp_buf env;
    const uint8_t *in;
    size_t left;
    uint8_t *out;
    size_t n, room;
    tide_image_error *e;
} stream;

static void on_error(png_structp png, png_const_charp text) {
    stream *s = png_get_error_ptr(png);
    if (s->e->status == TIDE_OK)
        tide_image_fail(s->e, TIDE_EIO, "is not a valid PNG: %.160s", text);
    longjmp(s->env, 1);
}

static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void on_read(png_structp png, png_bytep to, size_t n) {
    stream *s = png_get_io_ptr(png);
    if (n > s->left) png_error(png, "the file is truncated");
    memcpy(to, s->in, n);
    s->in += n, s->left -= n;
}

tide_status tide_png_decode(const uint8_t *bytes, size_t n, const tide_image_options *o,
                            tide_image *out, int *orientation, tide_image_error *e) {
    stream s = {.in = bytes, .left = n, .e = e};
    uint8_t *volatile data = NULL;
    png_bytep *volatile rows = NULL;
    png_infop info = NULL;
    e->status = TIDE_OK;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning);
    if (!png) return tide_image_fail(e, TIDE_ENOMEM, "not enough memory for the PNG reader");
    if (setjmp(s.env)) goto done;
    info = png_create_info_struct(png);
    if (!info) png_error(png, "not enough memory");
    png_set_read_fn(png, &s, on_read);
    png_set_user_limits(png, TIDE_IMAGE_MAX_SIDE, TIDE_IMAGE_MAX_SIDE);
    png_set_chunk_malloc_max(png, CHUNK_BYTES);
    png_set_chunk_cache_max(png, CHUNK_COUNT);
    png_read_info(png, info);
    png_uint_32 w = png_get_image_width(png, info), h = png_get_image_height(png, info);
    if (tide_image_check_size(h, w, o, e) != TIDE_OK) goto done;
    int color = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    int transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    bool wide = o->wide && depth == 16 && color == PNG_COLOR_TYPE_GRAY;
    const uint16_t one = 1;
    if (wide && *(const uint8_t *)&one) png_set_swap(png); /* the file's high byte comes first */
    else if (depth == 16 && !wide) png_set_strip_16(png);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (transparent && !wide) png_set_tRNS_to_alpha(png);
    png_set_interlace_handling(png);
    png_bytep exif;
    png_uint_32 exif_n;
    if (o->upright && png_get_eXIf_1(png, info, &exif_n, &exif))
        *orientation = tide_exif_orientation(exif, exif_n);
    png_read_update_info(png, info);
    int c = png_get_channels(png, info);
    size_t row = png_get_rowbytes(png, info);
    if (row != (size_t)w * (size_t)c * (wide ? 2 : 1) || c < 1 || c > 4)
        png_error(png, "unexpected layout of rows");
    data = malloc(row * h);
    rows = malloc(h * sizeof *rows);
    if (!data || !rows) {
        tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %u x %u", h, w);
        goto done;
    }
    for (png_uint_32 y = 0; y < h; y++) rows[y] = data + y * row;
    png_read_image(png, rows);
    *out = (tide_image){.data = data, .height = h, .width = w, .channels = c, .wide = wide};
    data = NULL;
done:
    png_destroy_read_struct(&png, &info, NULL);
    free(rows);
    free(data);
    return e->status;
}

static void on_write(png_structp png, png_bytep from, size_t n) {
    stream *s = png_get_io_ptr(png);
    if (n > s->room - s->n) {
        size_t room = s->room * 2 + n + 4096;
        uint8_t *p = realloc(s->out, room);
        if (!p) {
            tide_image_fail(s->e, TIDE_ENOMEM, "not enough memory to write a PNG");
            longjmp(s->env, 1);
        }
        s->out = p, s->room = room;
    }
    memcpy(s->out + s->n, from, n);
    s->n += n;
}

static void on_flush(png_structp png) { (void)png; }

tide_status tide_png_encode(const tide_image *p, uint8_t **bytes, size_t *n, tide_image_error *e) {
    static const int color[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA};
    stream s = {.e = e};
    png_infop info = NULL;
    e->status = TIDE_OK;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s, on_error, on_warning);
    if (!png) return tide_image_fail(e, TIDE_ENOMEM, "not enough memory for the PNG writer");
    if (setjmp(s.env)) goto done;
    info = png_create_info_struct(png);
    if (!info) png_error(png, "not enough memory");
    png_set_write_fn(png, &s, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8, color[p->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < p->height; y++)
        png_write_row(png, p->data + y * p->width * p->channels);
    png_write_end(png, info);
done:
    png_destroy_write_struct(&png, &info);
    if (e->status != TIDE_OK) {
        free(s.out);
        return e->status;
    }
    *bytes = s.out, *n = s.n;
    return TIDE_OK;
}
