/* TGA, PSD and HDR through stb_image, its other decoders left out; the only file that sees it. */
#include "image.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* it declares static functions of the decoders that are left out */
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_ONLY_TGA
#define STBI_ONLY_PSD
#define STBI_ONLY_HDR
#define STBI_MAX_DIMENSIONS TIDE_IMAGE_MAX_SIDE
#define STBI_ASSERT(x) ((void)0)
#include <stb/stb_image.h>

bool tide_stb_is_tga(const uint8_t *b, size_t n) {
    if (n < 18 || n > INT_MAX) return false;
    stbi__context s;
    stbi__start_mem(&s, b, (int)n);
    return stbi__tga_test(&s) != 0;
}

tide_status tide_stb_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, tide_image_error *e) {
    int w = 0, h = 0, c = 0;
    if (n > INT_MAX) return tide_image_fail(e, TIDE_EIO, "is too large");
    if (!stbi_info_from_memory(b, (int)n, &w, &h, &c)) {
        const char *why = stbi_failure_reason();
        return tide_image_fail(e, TIDE_EIO, "is not a valid picture: %.100s",
                               why ? why : "unknown header");
    }
    if (w < 0 || h < 0)
        return tide_image_fail(e, TIDE_EIO, "is not a valid picture: negative size");
    tide_status st = tide_image_check_size((uint64_t)h, (uint64_t)w, o, e);
    if (st != TIDE_OK) return st;
    uint8_t *data = stbi_load_from_memory(b, (int)n, &w, &h, &c, 0);
    if (!data) {
        const char *why = stbi_failure_reason();
        return tide_image_fail(e, TIDE_EIO, "is not a valid picture: %.100s",
                               why ? why : "damaged data");
    }
    *out = (tide_image){.data = data, .height = h, .width = w, .channels = c};
    return TIDE_OK;
}
