/* Owns the writing of tokenizers: a tokenizer.json that reads as the same tokenizer, here and by
 * Hugging Face's library. Normalizer and its like go out as they came in. */
#include "tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../point.h"

static void raw(tide_string *o, const char *key, const tide_part *p) {
    tide_text_string(o, key), tide_text_add(o, ": ");
    tide_text_add(o, p ? p->raw : "null"), tide_text_add(o, ",\n  ");
}

static void number(tide_string *o, int64_t v) {
    char s[32];
    snprintf(s, sizeof s, "%lld", (long long)v);
    tide_text_add(o, s);
}

static void real(tide_string *o, double v) {
    char s[40];
    const tide_point point = tide_point_begin();
    snprintf(s, sizeof s, "%.17g", v);
    tide_point_end(point);
    tide_text_add(o, s);
    if (!strpbrk(s, ".e")) tide_text_add(o, ".0");
}

static void flag(tide_string *o, const char *key, bool on) {
    tide_text_string(o, key), tide_text_add(o, on ? ": true" : ": false");
}

static void name(tide_string *o, const char *key, const char *s) {
    tide_text_string(o, key), tide_text_add(o, ": ");
    if (s) tide_text_string(o, s);
    else tide_text_add(o, "null");
    tide_text_add(o, ", ");
}

static void added(tide_string *o, const tide_tokenizer *t) {
    tide_text_add(o, "\"added_tokens\": [");
    for (size_t i = 0; i < t->nadded; i++) {
        const tide_added *a = &t->added[i];
        tide_text_add(o, i ? ",\n    {\"id\": " : "\n    {\"id\": "), number(o, a->id),
            tide_text_add(o, ", ");
        name(o, "content", a->content);
        flag(o, "single_word", a->single_word), tide_text_add(o, ", ");
        flag(o, "lstrip", a->lstrip), tide_text_add(o, ", ");
        flag(o, "rstrip", a->rstrip), tide_text_add(o, ", ");
        flag(o, "normalized", a->normalized), tide_text_add(o, ", ");
        flag(o, "special", a->special), tide_text_add(o, "}");
    }
    tide_text_add(o, "],\n  ");
}

static void token(tide_string *o, const tide_tokenizer *t, int32_t id) {
    if (t->entry_of[id] >= 0)
        tide_text_string(o, tide_map_text(&t->vocab, &t->vocab.entry[t->entry_of[id]]));
    else tide_text_add(o, "\"\"");
}

/* Entries by id, so that equal tokenizers make equal files. */
static void vocab(tide_string *o, const tide_tokenizer *t) {
    const bool scores = t->kind == TIDE_UNIGRAM;
    bool first = true;
    tide_text_add(o, scores ? "\"vocab\": [" : "\"vocab\": {");
    for (int32_t id = 0; id < t->nids; id++) {
        if (t->entry_of[id] < 0) continue;
        tide_text_add(o, first ? "\n      " : ",\n      "), first = false;
        if (scores) tide_text_add(o, "[");
        token(o, t, id);
        tide_text_add(o, scores ? ", " : ": ");
        if (scores) real(o, t->score[id]), tide_text_add(o, "]");
        else number(o, id);
    }
    tide_text_add(o, scores ? "]" : "}");
}

/* Up to the vocabulary, and a comma. */
static void options(tide_string *o, const tide_tokenizer *t) {
    static const char *const kinds[] = {"BPE", "WordPiece", "WordLevel", "Unigram"};
    tide_text_add(o, "{");
    name(o, "type", kinds[t->kind]);
    if (t->kind == TIDE_UNIGRAM) {
        flag(o, "byte_fallback", t->byte_fallback), tide_text_add(o, ", ");
        return;
    }
    if (t->kind == TIDE_BPE) {
        tide_text_add(o, "\"dropout\": ");
        if (t->dropout > 0) real(o, t->dropout);
        else tide_text_add(o, "null");
        tide_text_add(o, ", ");
    }
    name(o, "unk_token", t->unk);
    if (t->kind != TIDE_WORDLEVEL) name(o, "continuing_subword_prefix", t->prefix);
    if (t->kind == TIDE_WORDPIECE) {
        tide_text_add(o, "\"max_input_chars_per_word\": "), number(o, t->most_chars);
        tide_text_add(o, ", ");
    } else if (t->kind == TIDE_BPE) {
        name(o, "end_of_word_suffix", t->suffix);
        flag(o, "fuse_unk", t->fuse_unk), tide_text_add(o, ", ");
        flag(o, "byte_fallback", t->byte_fallback), tide_text_add(o, ", ");
        flag(o, "ignore_merges", t->ignore_merges), tide_text_add(o, ", ");
    }
}

static void model(tide_string *o, const tide_tokenizer *t) {
    tide_text_add(o, "\"model\": "), options(o, t);
    if (t->kind == TIDE_UNIGRAM) {
        tide_text_add(o, "\"unk_id\": ");
        if (t->unk_id >= 0) number(o, t->unk_id);
        else tide_text_add(o, "null");
        tide_text_add(o, ", ");
    }
    vocab(o, t);
    if (t->kind == TIDE_BPE) {
        tide_text_add(o, ", \"merges\": [");
        for (size_t i = 0; i < t->nmerges; i++) {
            tide_text_add(o, i ? ",\n      [" : "\n      [");
            token(o, t, (int32_t)(t->merge_at[i] >> 32)), tide_text_add(o, ", ");
            token(o, t, (int32_t)(t->merge_at[i] & 0xffffffffu)), tide_text_add(o, "]");
        }
        tide_text_add(o, "]");
    }
    tide_text_add(o, "}");
}

static tide_status written(tide_ctx *ctx, const tide_string *o) {
    return o->status == TIDE_ENOMEM ? tide_fail(ctx, TIDE_ENOMEM, "to_json: not enough memory")
                                    : o->status;
}

tide_status tide_tokenizer_options(tide_ctx *ctx, const tide_tokenizer *t, tide_string *o) {
    options(o, t);
    return written(ctx, o);
}

static void settings(tide_string *o, const tide_tokenizer *t) {
    static const char *const strategies[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
    const tide_truncation *u = &t->truncation;
    const tide_padding *p = &t->padding;
    tide_text_add(o, "\"truncation\": ");
    if (u->on) {
        tide_text_add(o, "{"), name(o, "direction", u->left ? "Left" : "Right");
        tide_text_add(o, "\"max_length\": "), number(o, (int64_t)u->length), tide_text_add(o, ", ");
        name(o, "strategy", strategies[u->strategy]);
        tide_text_add(o, "\"stride\": "), number(o, (int64_t)u->stride), tide_text_add(o, "}");
    }
    tide_text_add(o, u->on ? ",\n  \"padding\": " : "null,\n  \"padding\": ");
    if (!p->on) {
        tide_text_add(o, "null,\n  ");
        return;
    }
    tide_text_add(o, "{\"strategy\": ");
    if (p->fixed)
        tide_text_add(o, "{\"Fixed\": "), number(o, (int64_t)p->length), tide_text_add(o, "}, ");
    else tide_text_add(o, "\"BatchLongest\", ");
    name(o, "direction", p->left ? "Left" : "Right");
    tide_text_add(o, "\"pad_to_multiple_of\": ");
    if (p->multiple) number(o, (int64_t)p->multiple);
    else tide_text_add(o, "null");
    tide_text_add(o, ", \"pad_id\": "), number(o, p->id);
    tide_text_add(o, ", \"pad_type_id\": "), number(o, p->type),
        tide_text_add(o, ", \"pad_token\": ");
    tide_text_string(o, p->token), tide_text_add(o, "},\n  ");
}

tide_status tide_tokenizer_write(tide_ctx *ctx, const tide_tokenizer *t, tide_string *o) {
    tide_text_add(o, "{\"version\": \"1.0\",\n  ");
    settings(o, t), added(o, t);
    raw(o, "normalizer", t->normalizer), raw(o, "pre_tokenizer", t->pre);
    raw(o, "post_processor", t->post), raw(o, "decoder", t->decoder);
    model(o, t);
    tide_text_add(o, "}\n");
    return written(ctx, o);
}
