/* Owns the limits on JSON from outside; jansson does the grammar. Invariant: the depth is known to
 * be bounded before any recursive code sees the text. */
#include "io.h"

tide_status tide_json_parse(tide_ctx *ctx, const char *what, const char *text, size_t n,
                            json_t **out) {
    if (n > TIDE_JSON_BYTES)
        return tide_fail(ctx, TIDE_EIO, "%s: JSON of %zu bytes is more than the %d allowed", what,
                         n, TIDE_JSON_BYTES);
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '[' || c == '{') {
            if (++depth > TIDE_JSON_DEPTH)
                return tide_fail(
                    ctx, TIDE_EIO,
                    "%s: JSON is nested deeper than the %d levels allowed (at byte %zu)", what,
                    TIDE_JSON_DEPTH, i);
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    json_error_t error;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root)
        return tide_fail(ctx, TIDE_EIO, "%s: not valid JSON at byte %d: %s", what, error.position,
                         error.text);
    *out = root;
    return TIDE_OK;
}
