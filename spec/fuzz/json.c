/* corpus: spec/ref/json
 * Fuzzes the reader of JSON and, on it, that of safetensors headers: every token is read, every
 * string's escapes resolved, into a block of its own size. */
#include "../../src/io/io.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static tide_ctx *ctx;
    if (!ctx && !(ctx = tide_ctx_new())) return 0;
    char *text = malloc(n + 1);
    if (!text || n < 1) return free(text), 0;
    memcpy(text, data + 1, n - 1); /* the first byte chooses nothing here */
    text[n - 1] = '\0';
    tide_json j;
    if (tide_json_begin(&j, ctx, "fuzz", text, n - 1, 1 << 16) == TIDE_OK) {
        tide_json_kind k;
        while ((k = tide_json_next(&j)) != TIDE_JSON_ERROR && k != TIDE_JSON_DONE) {
            if (k != TIDE_JSON_KEY && k != TIDE_JSON_STRING) continue;
            char *to = malloc(j.length + 1);
            if (to && tide_json_text(&j, to) > j.length) abort();
            free(to);
        }
    }
    tide_st_file *f = NULL;
    if (tide_st_parse(ctx, "fuzz", text, n - 1, &f) == TIDE_OK) tide_st_close(f);
    free(text);
    return 0;
}
