/* corpus: spec/ref/images spec/ref/pictures spec/ref/formats
 * Fuzzes every picture decoder, colour conversion, orientation and a resize of what was decoded.
 * The first byte chooses the options, the rest is the file. Area is limited, so that memory and
 * time stay small. With MemorySanitizer, which must see all code that writes, PNG and JPEG are left
 * out: their libraries are not built with it. */
#include "../../src/io/image.h"
#include "../../src/io/io.h"

#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
int tide_open_regular(const char *path, int64_t *size, const char **why) {
    (void)path, (void)size;
    *why = "left out";
    return -1;
}
tide_status tide_png_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                            tide_image *out, int *orientation, tide_image_error *e) {
    (void)b, (void)n, (void)o, (void)out, (void)orientation;
    return tide_image_fail(e, TIDE_EIO, "left out");
}
tide_status tide_jpeg_decode(const uint8_t *b, size_t n, const tide_image_options *o,
                             tide_image *out, int *orientation, tide_image_error *e) {
    return tide_png_decode(b, n, o, out, orientation, e);
}
tide_status tide_png_encode(const tide_image *p, uint8_t **bytes, size_t *n, tide_image_error *e) {
    (void)p, (void)bytes, (void)n;
    return tide_image_fail(e, TIDE_EIO, "left out");
}
tide_status tide_jpeg_encode(const tide_image *p, int quality, uint8_t **bytes, size_t *n,
                             tide_image_error *e) {
    (void)quality;
    return tide_png_encode(p, bytes, n, e);
}
#endif
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const int channels[] = {0, 1, 3, 4};
    if (n < 1) return 0;
    tide_image_options o = {.channels = channels[data[0] & 3],
                            .upright = data[0] & 4,
                            .max_pixels = 1 << 18,
                            .wide = (data[0] & 67) == 65,
                            .tf = data[0] & 128};
    tide_image p, q;
    tide_image_error e = {0};
    int64_t frames;
    if (tide_image_decode(data + 1, n - 1, &o, &p, data[0] & 32 ? &frames : NULL, &e) != TIDE_OK)
        return 0;
    unsigned sum = 0; /* every pixel is read, so that unset memory shows under MSan and a short
                         buffer under ASan */
    for (int64_t i = 0; i < p.height * p.width * p.channels * (p.wide ? 2 : 1); i++)
        sum += p.data[i];
    if (sum == 12345) tide_image_fail(&e, TIDE_OK, "%u", sum);
    if (tide_image_fit(&p, 1 + (data[0] >> 3), 7, (tide_pil_filter)(data[0] % 6), data[0] & 8, &q,
                       &e) == TIDE_OK)
        tide_image_free(&q);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!p.wide && p.channels != 2 && p.channels != 4 &&
        tide_image_encode(data[0] & 16 ? "png" : "jpeg", &p, 75, &bytes, &size, &e) == TIDE_OK)
        free(bytes);
    tide_image_free(&p);
    return 0;
}
