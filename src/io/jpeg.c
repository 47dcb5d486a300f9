/* JPEG through libjpeg-turbo. Invariant: every libjpeg call stands between setjmp and the cleanup
 * label. Damaged data makes libjpeg warn and invent pixels: a file that ends early or warns more
 * than MAX_WARNINGS times is an error. */
#include "image.h"

#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WARNINGS 64
#define TOGETHER 16   /* rows that are asked for at once: those of a row of blocks at most */
#define MAX_SCANS 100 /* of a progressive file: each costs a pass over the whole picture */
#define MEMORY_BYTES ((long)512 << 20) /* coefficient arrays of a progressive file */

typedef struct {
    struct jpeg_error_mgr base;
    struct jpeg_progress_mgr progress;
    jmp_buf env;
    int warnings;
    tide_image_error *e;
} manager;

static void leave(j_common_ptr c, tide_status status, const char *text) {
    manager *m = (manager *)(void *)c->err;
    tide_image_fail(m->e, status, "is not a valid JPEG: %.160s", text);
    longjmp(m->env, 1);
}

static void on_error(j_common_ptr c) {
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    leave(c, c->err->msg_code == JERR_OUT_OF_MEMORY ? TIDE_ENOMEM : TIDE_EIO, text);
}

static void on_message(j_common_ptr c, int level) {
    manager *m = (manager *)(void *)c->err;
    if (level >= 0) return;
    if (c->err->msg_code == JWRN_JPEG_EOF) leave(c, TIDE_EIO, "the file is truncated");
    if (++m->warnings > MAX_WARNINGS) leave(c, TIDE_EIO, "the data are damaged in many places");
}

static void on_progress(j_common_ptr c) {
    if (((j_decompress_ptr)c)->input_scan_number > MAX_SCANS)
        leave(c, TIDE_EIO, "more than 100 scans");
}

static void set_manager(manager *m, tide_image_error *e) {
    jpeg_std_error(&m->base);
    m->base.error_exit = on_error;
    m->base.emit_message = on_message;
    m->progress.progress_monitor = on_progress;
    m->e = e;
    e->status = TIDE_OK;
}

/* Adobe's inverted CMYK, as Pillow turns it into RGB: 255 - k - c (255 - k) / 255 of each. */
static void cmyk_row(const uint8_t *s, uint8_t *d, int64_t n) {
    for (int64_t i = 0; i < n; i++, s += 4, d += 3) {
        int nk = s[3];
        for (int k = 0; k < 3; k++) {
            int t = (255 - s[k]) * nk + 128;
            d[k] = (uint8_t)(nk - (((t >> 8) + t) >> 8));
        }
    }
}

tide_status tide_jpeg_decode(const uint8_t *bytes, size_t n, const tide_image_options *o,
                             tide_image *out, int *orientation, tide_image_error *e) {
    struct jpeg_decompress_struct c = {0};
    manager m = {0};
    uint8_t *volatile data = NULL;
    uint8_t *volatile line = NULL;
    c.err = &m.base;
    set_manager(&m, e);
    if (setjmp(m.env)) goto done;
    jpeg_create_decompress(&c);
    c.progress = &m.progress;
    c.mem->max_memory_to_use = MEMORY_BYTES;
    jpeg_mem_src(&c, bytes, n);
    if (o->upright) jpeg_save_markers(&c, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&c, TRUE);
    if (tide_image_check_size(c.image_height, c.image_width, o, e) != TIDE_OK) goto done;
    for (jpeg_saved_marker_ptr k = c.marker_list; o->upright && k; k = k->next)
        if (k->data_length > 6 && !memcmp(k->data, "Exif\0\0", 6))
            *orientation = tide_exif_orientation(k->data + 6, k->data_length - 6);
    bool cmyk = c.jpeg_color_space == JCS_CMYK || c.jpeg_color_space == JCS_YCCK;
    bool grey = c.jpeg_color_space == JCS_GRAYSCALE || (o->tf && o->channels == 1 && !cmyk);
    int channels = grey ? 1 : 3;
    c.out_color_space = cmyk ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    if (o->tf) c.dct_method = JDCT_IFAST; /* TensorFlow's default */
    jpeg_start_decompress(&c);
    size_t row = (size_t)c.output_width * (size_t)channels;
    data = malloc(row * c.output_height);
    line = cmyk ? malloc((size_t)c.output_width * 4) : NULL;
    if (!data || (cmyk && !line)) {
        tide_image_fail(e, TIDE_ENOMEM, "not enough memory for a picture of %u x %u",
                        c.output_height, c.output_width);
        goto done;
    }
    while (c.output_scanline < c.output_height) {
        uint8_t *to = data + row * c.output_scanline;
        JSAMPROW rows[TOGETHER] = {line};
        for (JDIMENSION i = 0; !cmyk && i < TOGETHER; i++) rows[i] = to + row * i;
        const JDIMENSION left = c.output_height - c.output_scanline;
        if (jpeg_read_scanlines(&c, rows, cmyk ? 1 : left < TOGETHER ? left : TOGETHER) == 0) break;
        if (cmyk) cmyk_row(line, to, c.output_width);
    }
    *out = (tide_image){
        .data = data, .height = c.output_height, .width = c.output_width, .channels = channels};
    data = NULL;
done:
    jpeg_destroy_decompress(&c);
    free(line);
    free(data);
    return e->status;
}

tide_status tide_jpeg_encode(const tide_image *p, int quality, uint8_t **bytes, size_t *n,
                             tide_image_error *e) {
    if (p->channels != 1 && p->channels != 3)
        return tide_image_fail(e, TIDE_EARG, "JPEG holds 1 or 3 channels (got %d)", p->channels);
    struct jpeg_compress_struct c = {0};
    manager m = {0};
    unsigned char *to = NULL;
    unsigned long size = 0;
    c.err = &m.base;
    set_manager(&m, e);
    m.progress.progress_monitor = NULL;
    if (setjmp(m.env)) goto done;
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &to, &size);
    c.image_width = (JDIMENSION)p->width, c.image_height = (JDIMENSION)p->height;
    c.input_components = p->channels, c.in_color_space = p->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW rows[1] = {p->data + (int64_t)c.next_scanline * p->width * p->channels};
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
done:
    jpeg_destroy_compress(&c);
    if (e->status != TIDE_OK) {
        free(to);
        return e->status;
    }
    *bytes = to, *n = size;
    return TIDE_OK;
}
