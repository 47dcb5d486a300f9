/* corpus: spec/ref/tokenizer_json
 * Fuzzes tokenizers: the input is a tokenizer.json, behind a NUL a text. What reads as a tokenizer
 * encodes, decodes and is written, and what it writes reads as the same; small models are trained.
 */
#include "../../src/text/text.h"

#include <stdlib.h>
#include <string.h>

static const char sample[] = "  Ab\xc3\xa9 \xe6\x96\x87 don't 12,345\n\n<s>Word e\xcc\x81\xcc\xa3 "
                             "\xf0\x9f\x91\xa8\xe2\x80\x8d "
                             "\xff\xe2\x82 ab_abab \xe2\x96\x81 \xc4\xb0";

static void encode(tide_ctx *ctx, const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n,
                   bool pair) {
    tide_encoding out = {0};
    for (int flags = 0; flags < 4; flags++) {
        if (tide_tokenizer_encode(ctx, t, e, s, n, pair ? sample : NULL, sizeof sample - 1, flags,
                                  &out) != TIDE_OK)
            continue;
        int32_t *ids = malloc((out.n + 1) * sizeof *ids);
        for (size_t i = 0; ids && i < out.n; i++) {
            const tide_token *k = &out.p[i];
            const size_t most = k->sequence == 1 ? sizeof sample - 1 : n;
            if (k->sequence >= 0 && (k->from > k->to || k->to > most)) abort();
            ids[i] = k->id;
        }
        tide_bytes b = {0};
        if (ids && tide_tokenizer_decode(ctx, t, ids, out.n, flags & 1, &b) == TIDE_OK && b.n &&
            !tide_utf8_valid(b.p, b.n))
            abort();
        tide_encoding_pad(ctx, &out, (out.parts ? out.ends[0] : 0) + 2, 0, 0, flags & 1);
        free(b.p), free(ids);
    }
    tide_encoding_free(&out);
}

static void train(tide_ctx *ctx, const tide_tokenizer *t, tide_encoder *e) {
    tide_counts *c = tide_counts_new();
    tide_string s = {0};
    const tide_training o = {.vocab_size = 60,
                             .limit_alphabet = 40,
                             .max_piece_length = 6,
                             .n_sub_iterations = 1,
                             .shrinking_factor = 0.5};
    if (c && tide_counts_add(ctx, c, t, e, sample, sizeof sample - 1) == TIDE_OK)
        tide_train(ctx, tide_tokenizer_kind(t), c, &o, &s);
    tide_counts_free(c);
    free(s.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static tide_ctx *ctx;
    if (!ctx && !(ctx = tide_ctx_new())) return 0;
    const uint8_t *zero = memchr(data, 0, n);
    const size_t json_n = zero ? (size_t)(zero - data) : n;
    tide_tokenizer *t = NULL;
    tide_encoder *e = tide_encoder_new();
    if (e && tide_tokenizer_parse(ctx, "fuzz", (const char *)data, json_n, &t) == TIDE_OK) {
        encode(ctx, t, e, sample, sizeof sample - 1, false);
        encode(ctx, t, e, sample, sizeof sample - 1, true);
        if (zero) encode(ctx, t, e, (const char *)zero + 1, n - json_n - 1, false);
        train(ctx, t, e);
        tide_string s = {0};
        tide_tokenizer *again = NULL;
        if (tide_tokenizer_write(ctx, t, &s) == TIDE_OK &&
            tide_tokenizer_parse(ctx, "again", s.p, s.n, &again) != TIDE_OK)
            abort();
        tide_tokenizer_free(again);
        free(s.p);
    }
    tide_encoder_free(e), tide_tokenizer_free(t);
    return 0;
}
