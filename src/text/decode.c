/* Owns decoders: tokens back into text, step by step over the list of them. */
#define _GNU_SOURCE /* memmem */
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list of strings, one behind the other in `b`; each step makes a new one. */
typedef struct {
    tide_bytes b;
    size_t *end;
    size_t n, room;
    bool failed;
} strings;

static void close_string(strings *s) {
    if (s->b.failed || !tide_grow(&s->end, &s->room, s->n + 1, sizeof *s->end)) {
        s->failed = true;
        return;
    }
    s->end[s->n++] = s->b.n;
}
static void free_strings(strings *s) { free(s->b.p), free(s->end); }
static size_t first_of(const strings *s, size_t i) { return i ? s->end[i - 1] : 0; }

/* A string with every `what` as `with` from byte `from` on, at most `most` of them. */
static void replaced(tide_bytes *to, const char *s, size_t n, const char *what, size_t k,
                     const char *with, size_t with_n, size_t most) {
    for (const char *end = s + n; s < end;) {
        const char *hit = k && most ? memmem(s, (size_t)(end - s), what, k) : NULL;
        tide_bytes_add(to, s, (size_t)((hit ? hit : end) - s));
        if (!hit) break;
        tide_bytes_add(to, with, with_n);
        s = hit + k, most--;
    }
}

/* Spaces before punctuation and within short forms of English go, as Hugging Face's clean_up. */
static void clean(tide_bytes *b) {
    static const char *const pairs[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                           {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                           {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                           {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !b->failed; i++) {
        tide_bytes c = {0};
        replaced(&c, b->p, b->n, pairs[i][0], strlen(pairs[i][0]), pairs[i][1], strlen(pairs[i][1]),
                 SIZE_MAX);
        tide_bytes_add(&c, "", 0);
        free(b->p);
        *b = c;
    }
}

/* The byte of a token <0xE2>, -1: it is another. */
static int byte_token(const char *s, size_t n) {
    int v = 0;
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    for (int i = 3; i < 5; i++) {
        const char c = s[i];
        if (c >= '0' && c <= '9') v = v << 4 | (c - '0');
        else if (c >= 'A' && c <= 'F') v = v << 4 | (c - 'A' + 10);
        else if (c >= 'a' && c <= 'f') v = v << 4 | (c - 'a' + 10);
        else return -1;
    }
    return v;
}

static void mended(tide_bytes *to, const char *s, size_t n) {
    for (const char *end = s + n; s < end;) {
        int32_t c;
        s += tide_utf8_get(s, end, &c);
        tide_bytes_char(to, c);
    }
}

static void byte_level(const strings *in, strings *out) {
    tide_bytes raw = {0};
    for (size_t i = 0; i < in->n; i++) {
        const char *s = in->b.p + first_of(in, i), *end = in->b.p + in->end[i];
        const size_t mark = raw.n;
        for (const char *p = s; p < end;) {
            int32_t c;
            p += tide_utf8_get(p, end, &c);
            const int byte = tide_byte_of(c);
            if (byte < 0) { /* a token that is no bytes stands for itself */
                raw.n = mark;
                tide_bytes_add(&raw, s, (size_t)(end - s));
                break;
            }
            const char one = (char)byte;
            tide_bytes_add(&raw, &one, 1);
        }
    }
    mended(&out->b, raw.p, raw.n);
    out->failed |= raw.failed;
    free(raw.p);
    close_string(out);
}

static void fallback(const strings *in, strings *out) {
    tide_bytes raw = {0};
    for (size_t i = 0; i <= in->n; i++) {
        const char *s = i < in->n ? in->b.p + first_of(in, i) : "";
        const size_t n = i < in->n ? in->end[i] - first_of(in, i) : 0;
        const int byte = byte_token(s, n);
        if (byte >= 0) {
            const char one = (char)byte;
            tide_bytes_add(&raw, &one, 1);
            continue;
        }
        if (raw.n && tide_utf8_valid(raw.p, raw.n)) {
            tide_bytes_add(&out->b, raw.p, raw.n);
            close_string(out);
        } else {
            for (size_t k = 0; k < raw.n; k++)
                tide_bytes_char(&out->b, TIDE_BROKEN), close_string(out);
        }
        raw.n = 0;
        if (i < in->n) tide_bytes_add(&out->b, s, n), close_string(out);
    }
    out->failed |= raw.failed;
    free(raw.p);
}

static void each(const tide_part *p, const strings *in, strings *out, size_t i) {
    const char *s = in->b.p + first_of(in, i);
    size_t n = in->end[i] - first_of(in, i);
    tide_bytes *to = &out->b;
    switch (p->kind) {
    case DECODE_WORDPIECE: {
        tide_bytes b = {0};
        if (i && n >= p->sn && !memcmp(s, p->s, p->sn)) tide_bytes_add(&b, s + p->sn, n - p->sn);
        else tide_bytes_add(&b, " ", i > 0), tide_bytes_add(&b, s, n);
        if (p->on[0]) clean(&b);
        tide_bytes_add(to, b.p, b.n);
        out->failed |= b.failed;
        free(b.p);
        break;
    }
    case SPLIT_META:
        for (const char *end = s + n; s < end;) {
            int32_t c;
            const size_t k = (size_t)tide_utf8_get(s, end, &c);
            if (k == p->sn && !memcmp(s, p->s, k))
                tide_bytes_add(to, " ", i > 0 || p->mode == PREPEND_NEVER);
            else tide_bytes_add(to, s, k);
            s += k;
        }
        break;
    case DECODE_BPE: replaced(to, s, n, p->s, p->sn, " ", i + 1 < in->n, SIZE_MAX); break;
    case DECODE_STRIP: {
        size_t first = 0, end = n;
        for (int64_t k = 0; k < p->n && end - first >= p->sn && !memcmp(s + first, p->s, p->sn);
             k++)
            first += p->sn;
        for (int64_t k = 0;
             k < p->m && end - first >= p->sn && !memcmp(s + end - p->sn, p->s, p->sn); k++)
            end -= p->sn;
        tide_bytes_add(to, s + first, end - first);
        break;
    }
    case NORMAL_REPLACE:
        if (p->regex) {
            tide_encoder e = {0};
            if (tide_cut_pattern(p, &e, s, 0, n))
                for (size_t k = 0; k < e.cuts; k++)
                    if (e.cut[k].match) tide_bytes_add(to, p->t, p->tn);
                    else tide_bytes_add(to, s + e.cut[k].first, e.cut[k].end - e.cut[k].first);
            else out->failed = true;
            free(e.cut), free(e.choices.p);
        } else {
            replaced(to, s, n, p->s, p->sn, p->t, p->tn, SIZE_MAX);
        }
        break;
    case DECODE_CTC: {
        if (n == p->sn && !memcmp(s, p->s, n)) return; /* no token */
        if (i && n == in->end[i - 1] - first_of(in, i - 1) &&
            !memcmp(s, in->b.p + first_of(in, i - 1), n))
            return;
        tide_bytes b = {0};
        replaced(&b, s, n, p->s, p->sn, "", 0, SIZE_MAX);
        tide_bytes_add(&b, "", 0);
        if (p->on[0]) {
            clean(&b);
            replaced(to, b.p, b.n, p->t, p->tn, " ", 1, SIZE_MAX);
        } else {
            tide_bytes_add(to, b.p, b.n);
        }
        out->failed |= b.failed;
        free(b.p);
        break;
    }
    default: tide_bytes_add(to, s, n); break;
    }
    close_string(out);
}

static bool step(const tide_part *p, strings *s) {
    strings out = {0};
    switch (p->kind) {
    case PART_SEQUENCE:
        for (size_t i = 0; i < p->children; i++)
            if (!step(&p->child[i], s)) return false;
        return true;
    case SPLIT_BYTES: byte_level(s, &out); break;
    case DECODE_BYTES: fallback(s, &out); break;
    case DECODE_FUSE:
        tide_bytes_add(&out.b, s->b.p ? s->b.p : "", s->b.n);
        close_string(&out);
        break;
    default:
        for (size_t i = 0; i < s->n; i++) each(p, s, &out, i);
    }
    free_strings(s);
    *s = out;
    return !(s->failed |= s->b.failed);
}

tide_status tide_tokenizer_decode(tide_ctx *ctx, const tide_tokenizer *t, const int32_t *ids,
                                  size_t n, bool skip_special, tide_bytes *out) {
    strings s = {0};
    for (size_t i = 0; i < n; i++) {
        size_t k;
        const char *token = tide_tokenizer_token(t, ids[i], &k);
        if (!token || (skip_special && tide_tokenizer_is_special(t, ids[i]))) continue;
        if (!t->decoder && s.n) tide_bytes_add(&s.b, " ", 1);
        tide_bytes_add(&s.b, token, k);
        close_string(&s);
    }
    if (t->decoder && s.n) step(t->decoder, &s);
    tide_bytes_add(out, s.b.p ? s.b.p : "", s.b.n);
    const bool failed = s.failed || s.b.failed || out->failed;
    free_strings(&s);
    return failed ? tide_fail(ctx, TIDE_ENOMEM, "not enough memory to decode %zu ids", n) : TIDE_OK;
}

bool tide_read_decoder(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                       tide_part *p) {
    static const char names[] =
        "Sequence|ByteLevel|WordPiece|Metaspace|BPEDecoder|ByteFallback|Fuse|Strip|Replace|CTC";
    static const tide_part_kind kinds[] = {
        PART_SEQUENCE, SPLIT_BYTES, DECODE_WORDPIECE, SPLIT_META,     DECODE_BPE,
        DECODE_BYTES,  DECODE_FUSE, DECODE_STRIP,     NORMAL_REPLACE, DECODE_CTC};
    if (o->kind != TIDE_JSON_OBJECT)
        return tide_wrong(r, "%s must be an object (got %s)", path, tide_tree_what(o));
    const int type = tide_at_enum(r, o, path, "type", names, -1);
    if (type < 0) return tide_wrong(r, "%s.type is missing", path);
    p->kind = kinds[type];
    const char *s = NULL;
    switch (p->kind) {
    case PART_SEQUENCE: return tide_read_sequence(r, a, o, path, "decoders", p, tide_read_decoder);
    case SPLIT_META: return tide_read_splitter(r, a, o, path, p);
    case NORMAL_REPLACE: return tide_read_normalizer(r, a, o, path, p);
    case DECODE_WORDPIECE:
        s = tide_at_string(r, o, path, "prefix", "##", &p->sn);
        p->on[0] = tide_at_bool(r, o, path, "cleanup", true);
        break;
    case DECODE_BPE: s = tide_at_string(r, o, path, "suffix", "</w>", &p->sn); break;
    case DECODE_STRIP:
        s = tide_at_string(r, o, path, "content", " ", &p->sn);
        if (!p->sn) return tide_wrong(r, "%s.content must be a character (got '')", path);
        p->n = tide_at_int(r, o, path, "start", 0, INT32_MAX, 0);
        p->m = tide_at_int(r, o, path, "stop", 0, INT32_MAX, 0);
        break;
    case DECODE_CTC:
        s = tide_at_string(r, o, path, "word_delimiter_token", "|", &p->tn);
        if (!(p->t = tide_arena_copy(a, s, p->tn))) return tide_short(r);
        s = tide_at_string(r, o, path, "pad_token", "<pad>", &p->sn);
        p->on[0] = tide_at_bool(r, o, path, "cleanup", true);
        break;
    default: break;
    }
    if (s && !(p->s = tide_arena_copy(a, s, p->sn))) return tide_short(r);
    return r->status == TIDE_OK;
}
