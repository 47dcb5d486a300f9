/* Owns tokenizers as a whole: a tokenizer.json made ready, and the way of a text through it: added
 * tokens, normalizer, pre-tokenizer, model, truncation, post-processor. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* -- making and freeing -- */

void tide_tokenizer_free(tide_tokenizer *t) {
    if (!t) return;
    tide_part_free(t->normalizer), tide_part_free(t->pre), tide_part_free(t->post),
        tide_part_free(t->decoder);
    tide_map_free(&t->vocab), tide_map_free(&t->added_ids);
    tide_keys_free(&t->merges), tide_keys_free(&t->added_of);
    tide_trie_free(&t->head), tide_trie_free(&t->tail), tide_trie_free(&t->raw),
        tide_trie_free(&t->normal);
    free(t->entry_of), free(t->merge_at), free(t->score), free(t->added), free(t->padding.token);
    tide_arena_free(&t->arena);
    free(t);
}

tide_encoder *tide_encoder_new(void) { return calloc(1, sizeof(tide_encoder)); }

void tide_encoder_free(tide_encoder *e) {
    if (!e) return;
    tide_aligned_free(&e->segment), tide_aligned_free(&e->text), tide_aligned_free(&e->work);
    free(e->piece), free(e->piece2), free(e->cut), free(e->choices.p), free(e->out),
        free(e->symbol), free(e->heap);
    tide_map_free(&e->seen);
    free(e->kept), free(e->best), free(e->token[0]), free(e->token[1]);
    for (int i = 0; i < 2; i++) free(e->range[i]);
    free(e);
}

void tide_encoding_free(tide_encoding *e) {
    free(e->p), free(e->ends);
    *e = (tide_encoding){0};
}

typedef bool reader(tide_reading *, tide_arena *, const tide_tree *, const char *, tide_part *);

static bool part(tide_reading *r, tide_tokenizer *t, const char *key, tide_part **out,
                 reader *read) {
    const tide_tree *o = tide_at(r->src->root, key);
    if (!o) return true;
    tide_part *p = tide_arena_take(&t->arena, sizeof *p);
    if (!p || !(p->raw = tide_arena_copy(&t->arena, o->raw, o->raw_n))) return tide_short(r);
    p->raw_n = o->raw_n, *out = p;
    if (o->kind != TIDE_JSON_OBJECT)
        return tide_wrong(r, "%s must be an object (got %s)", key, tide_tree_what(o));
    return !read || read(r, &t->arena, o, key, p);
}

/* Bytes come to the model as bytes where nobody looks at them in between, as GPT-2's characters
 * elsewhere. */
static tide_part *last_of(tide_part *p) {
    while (p && p->kind == PART_SEQUENCE) p = p->children ? &p->child[p->children - 1] : NULL;
    return p;
}
static void as_characters(tide_part *p, const tide_part *but) {
    if (p->kind == SPLIT_BYTES && p != but) p->on[3] = true;
    for (size_t i = 0; i < p->children; i++) as_characters(&p->child[i], but);
}
static bool any_bytes(const tide_part *p) {
    bool any = p->kind == SPLIT_BYTES;
    for (size_t i = 0; i < p->children; i++) any |= any_bytes(&p->child[i]);
    return any;
}

static void settle_bytes(tide_tokenizer *t) {
    if (!t->pre) return;
    tide_part *last = last_of(t->pre);
    t->bytes = last && last->kind == SPLIT_BYTES && t->kind == TIDE_BPE && !t->prefix &&
        !t->suffix && !t->byte_fallback;
    /* two of them write bytes of bytes: the first is no longer the text */
    as_characters(t->pre, t->bytes ? last : NULL);
    if (!t->bytes) return;
    for (int b = 0; b < 256; b++) {
        char s[4];
        const tide_entry *e =
            tide_map_find(&t->vocab, s, (size_t)tide_utf8_put(s, tide_byte_char((unsigned char)b)));
        t->byte_id[b] = e ? e->value : -1;
    }
}

static bool settings(tide_reading *r, tide_tokenizer *t) {
    const tide_tree *o = tide_at_object(r, r->src->root, "tokenizer", "truncation");
    if (o) {
        t->truncation.on = true;
        t->truncation.length =
            (size_t)tide_at_int(r, o, "truncation", "max_length", 0, INT32_MAX, 512);
        t->truncation.stride = (size_t)tide_at_int(r, o, "truncation", "stride", 0, INT32_MAX, 0);
        t->truncation.left = tide_at_enum(r, o, "truncation", "direction", "Right|Left", 0);
        t->truncation.strategy =
            tide_at_enum(r, o, "truncation", "strategy", "LongestFirst|OnlyFirst|OnlySecond", 0);
    }
    o = tide_at_object(r, r->src->root, "tokenizer", "padding");
    if (!o) return r->status == TIDE_OK;
    const tide_tree *strategy = tide_at(o, "strategy"), *fixed = tide_at(strategy, "Fixed");
    tide_padding *p = &t->padding;
    p->on = true, p->fixed = fixed != NULL;
    if (fixed)
        p->length = (size_t)tide_at_int(r, strategy, "padding.strategy", "Fixed", 0, 1 << 24, 0);
    p->multiple = (size_t)tide_at_int(r, o, "padding", "pad_to_multiple_of", 0, 1 << 20, 0);
    p->left = tide_at_enum(r, o, "padding", "direction", "Right|Left", 0);
    p->id = (int32_t)tide_at_int(r, o, "padding", "pad_id", 0, TIDE_TOKENIZER_IDS - 1, 0);
    p->type = (int32_t)tide_at_int(r, o, "padding", "pad_type_id", 0, 255, 0);
    p->token = strdup(tide_at_string(r, o, "padding", "pad_token", "[PAD]", NULL));
    return p->token ? r->status == TIDE_OK : tide_short(r);
}

static bool compile(tide_reading *r, tide_tokenizer *t) {
    if (!part(r, t, "normalizer", &t->normalizer, tide_read_normalizer) ||
        !part(r, t, "pre_tokenizer", &t->pre, tide_read_splitter) ||
        !part(r, t, "post_processor", &t->post, NULL) ||
        !part(r, t, "decoder", &t->decoder, tide_read_decoder) ||
        !tide_read_model(r, t, r->src->root))
        return false;
    if (t->post && !tide_read_post(r, t, tide_at(r->src->root, "post_processor"), "post_processor"))
        return false;
    t->largest = t->nids;
    settle_bytes(t);
    const tide_tree *added = tide_at_list(r, r->src->root, "tokenizer", "added_tokens");
    return r->status == TIDE_OK && tide_read_added(r, t, added) && settings(r, t);
}

tide_status tide_tokenizer_parse(tide_ctx *ctx, const char *what, const char *json, size_t n,
                                 tide_tokenizer **out) {
    tide_source src;
    tide_tokenizer *t = NULL;
    tide_status st = tide_source_open(&src, ctx, what, json, n);
    *out = NULL;
    if (st == TIDE_OK && !(t = calloc(1, sizeof *t)))
        st = tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", what);
    if (st == TIDE_OK) {
        tide_reading r = {.src = &src};
        if (!compile(&r, t) && r.status == TIDE_OK) tide_short(&r);
        st = r.status;
    }
    tide_source_close(&src);
    if (st != TIDE_OK) tide_tokenizer_free(t);
    else *out = t;
    return st;
}

/* -- asking -- */

const char *tide_tokenizer_token(const tide_tokenizer *t, int32_t id, size_t *n) {
    const uint64_t a = id < 0 ? UINT64_MAX : tide_keys_get(&t->added_of, (uint64_t)id);
    if (a != UINT64_MAX) return *n = t->added[a].shown_n, t->added[a].shown;
    if (id < 0 || id >= t->nids || t->entry_of[id] < 0) return NULL;
    const tide_entry *e = &t->vocab.entry[t->entry_of[id]];
    return *n = e->n, tide_map_text(&t->vocab, e);
}

int32_t tide_tokenizer_id(const tide_tokenizer *t, const char *token, size_t n) {
    const tide_entry *e = tide_map_find(&t->added_ids, token, n);
    if (e) return t->added[e->value].id;
    e = tide_map_find(&t->vocab, token, n);
    return e ? e->value : -1;
}

int32_t tide_tokenizer_ids(const tide_tokenizer *t, bool added) {
    return added ? t->largest : t->nids;
}

bool tide_tokenizer_is_special(const tide_tokenizer *t, int32_t id) {
    const uint64_t a = id < 0 ? UINT64_MAX : tide_keys_get(&t->added_of, (uint64_t)id);
    return a != UINT64_MAX && t->added[a].special;
}

bool tide_tokenizer_merge(const tide_tokenizer *t, int64_t i, int32_t *a, int32_t *b) {
    if (i < 0 || (size_t)i >= t->nmerges) return false;
    *a = (int32_t)(t->merge_at[i] >> 32), *b = (int32_t)(t->merge_at[i] & 0xffffffffu);
    return true;
}

tide_truncation *tide_tokenizer_truncation(tide_tokenizer *t) { return &t->truncation; }
tide_padding *tide_tokenizer_padding(tide_tokenizer *t) { return &t->padding; }
void tide_tokenizer_marks(const tide_tokenizer *t, const char **unk, const char **prefix,
                          const char **suffix, bool *bytes) {
    *unk = t->unk, *prefix = t->prefix, *suffix = t->suffix;
    *bytes = t->pre && any_bytes(t->pre);
}

tide_model_kind tide_tokenizer_kind(const tide_tokenizer *t) { return t->kind; }

/* -- encoding -- */

typedef struct {
    const tide_tokenizer *t;
    tide_encoder *e;
    int flags, sequence;
    int32_t word;
    tide_piece_fn *piece; /* in place of tokens */
    void *to;
} way;

static bool add(way *w, tide_token token) {
    tide_encoder *e = w->e;
    const int q = w->sequence;
    if (!tide_grow(&e->token[q], &e->token_room[q], e->tokens[q] + 1, sizeof token))
        return e->failed = true, false;
    e->token[q][e->tokens[q]++] = token;
    return true;
}

static bool add_added(way *w, const tide_added *a, uint32_t from, uint32_t to) {
    return w->piece ||
        add(w,
            (tide_token){.id = a->id,
                         .word = w->word++,
                         .from = from,
                         .to = to,
                         .type = (uint8_t)w->sequence,
                         .sequence = (int8_t)w->sequence});
}

/* e->text is cut, and its pieces become tokens. */
static bool pieces(way *w) {
    tide_encoder *e = w->e;
    if (!e->text.n) return true;
    if (!tide_grow(&e->piece, &e->piece_room, 1, sizeof *e->piece)) return e->failed = true, false;
    e->piece[0] = (tide_range){0, e->text.n}, e->pieces = 1;
    if (w->t->pre && !tide_split(w->t->pre, e)) return false;
    for (size_t i = 0; i < e->pieces; i++) {
        const size_t first = e->piece[i].first, end = e->piece[i].end;
        if ((i & 1023) == 1023 && __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED))
            return e->failed = true, false;
        if (w->piece) {
            w->piece(w->to, e->text.s + first, end - first, tide_span_of(&e->text, first).from,
                     tide_span_of(&e->text, end - 1).to);
            continue;
        }
        if (!tide_model_encode(w->t, e, e->text.s + first, end - first)) return false;
        for (size_t k = 0; k < e->outs; k++) {
            const tide_hit h = e->out[k];
            const tide_origin a = tide_span_of(&e->text, first + h.first),
                              b = tide_span_of(&e->text, first + h.end - 1);
            if (!add(w,
                     (tide_token){.id = h.id,
                                  .word = w->word,
                                  .from = a.from,
                                  .to = b.to,
                                  .type = (uint8_t)w->sequence,
                                  .sequence = (int8_t)w->sequence}))
                return false;
        }
        w->word++;
    }
    return true;
}

/* Text between added tokens: it is normalized, in which more of them may show. */
static bool segment(way *w, const char *s, size_t n, uint32_t base) {
    tide_encoder *e = w->e;
    const tide_tokenizer *t = w->t;
    if (!n) return true;
    if (!tide_aligned_set(&e->text, s, n, base)) return e->failed = true, false;
    e->base = base;
    if (t->normalizer && !tide_normalize(t->normalizer, e)) return false;
    size_t scan = 0, start = 0, from, to;
    const tide_added *a;
    if (!tide_find_added(t, &t->normal, w->flags, e->text.s, e->text.n, &scan, 0, &from, &to, &a))
        return pieces(w);
    if (!tide_aligned_track(&e->text)) return e->failed = true, false;
    tide_aligned_swap(&e->text, &e->segment);
    const tide_aligned *g = &e->segment;
    do {
        tide_aligned_start(&e->text);
        tide_aligned_copy(&e->text, g, start, from);
        if (e->text.failed) return e->failed = true, false;
        if (!pieces(w) || !add_added(w, a, tide_span_of(g, from).from, tide_span_of(g, to - 1).to))
            return false;
        start = to, e->base = tide_span_of(g, to - 1).to;
    } while (tide_find_added(t, &t->normal, w->flags, g->s, g->n, &scan, start, &from, &to, &a));
    tide_aligned_start(&e->text);
    tide_aligned_copy(&e->text, g, start, g->n);
    return pieces(w);
}

static bool sequence(way *w, const char *s, size_t n) {
    const tide_tokenizer *t = w->t;
    size_t scan = 0, start = 0, from, to;
    const tide_added *a;
    w->e->tokens[w->sequence] = 0, w->word = 0;
    while (tide_find_added(t, &t->raw, w->flags, s, n, &scan, start, &from, &to, &a)) {
        if (!segment(w, s + start, from - start, (uint32_t)start) ||
            !add_added(w, a, (uint32_t)from, (uint32_t)to))
            return false;
        start = to;
    }
    return segment(w, s + start, n - start, (uint32_t)start);
}

static tide_status outcome(tide_ctx *ctx, tide_encoder *e, bool ok) {
    if (ok && !e->failed) return TIDE_OK;
    e->seen_for = NULL;
    TIDE_TRY(tide_go_on(ctx));
    return e->why ? tide_fail(ctx, TIDE_EARG, "encode: %s", e->why)
                  : tide_fail(ctx, TIDE_ENOMEM, "encode: not enough memory");
}

static tide_status may_encode(tide_ctx *ctx, tide_encoder *e, size_t n) {
    e->failed = e->text.failed = e->work.failed = e->segment.failed = false, e->why = NULL;
    return n < ((size_t)1 << 30)
        ? tide_go_on(ctx)
        : tide_fail(ctx, TIDE_EARG, "encode: a text of %zu bytes is more than the 1 GiB allowed",
                    n);
}

tide_status tide_tokenizer_pieces(tide_ctx *ctx, const tide_tokenizer *t, tide_encoder *e,
                                  const char *text, size_t n, tide_piece_fn *piece, void *to) {
    way w = {.t = t, .e = e, .piece = piece, .to = to};
    TIDE_TRY(may_encode(ctx, e, n));
    return outcome(ctx, e, sequence(&w, text, n));
}

/* -- truncation: a sequence becomes ranges of it, the first of which is what is meant -- */

static bool ranges(tide_encoder *e, int q, size_t most, const tide_truncation *u) {
    const size_t n = e->tokens[q];
    e->ranges[q] = 0;
#define RANGE(f, g)                                                                            \
    do {                                                                                       \
        if (!tide_grow(&e->range[q], &e->range_room[q], e->ranges[q] + 1, sizeof(tide_range))) \
            return e->failed = true, false;                                                    \
        e->range[q][e->ranges[q]++] = (tide_range){f, g};                                      \
    } while (0)
    if (most >= n) {
        RANGE(0, n);
    } else if (most == 0) {
        RANGE(0, 0);
        RANGE(0, n);
    } else {
        const size_t step = most - u->stride;
        bool end = false;
        if (!u->left)
            for (size_t first = 0; first < n && !end; first += step) {
                const size_t stop = first + most < n ? first + most : n;
                RANGE(first, stop);
                end = stop == n;
            }
        else
            for (size_t stop = n; stop > 0 && !end; stop = stop > step ? stop - step : 0) {
                const size_t first = stop < most ? 0 : stop - most;
                RANGE(first, stop);
                end = first == 0;
            }
    }
    return true;
#undef RANGE
}

static tide_status shorten(tide_ctx *ctx, const tide_tokenizer *t, tide_encoder *e, bool pair,
                           size_t added) {
    const tide_truncation *u = &t->truncation;
    size_t n[2] = {e->tokens[0], pair ? e->tokens[1] : 0};
    if (u->on) {
        const size_t most = u->length > added ? u->length - added : 0;
        const size_t over = n[0] + n[1] > most ? n[0] + n[1] - most : 0;
        if (u->length < added && over)
            return tide_fail(ctx, TIDE_EARG,
                             "encode: max_length must hold the %zu tokens that are added (got %zu)",
                             added, u->length);
        if (over && most == 0) {
            n[0] = n[1] = 0;
        } else if (over && u->strategy == 0 && pair) {
            const bool swap = n[0] > n[1];
            size_t a = swap ? n[1] : n[0], b;
            b = a > most ? a : a > most - a ? a : most - a;
            if (a + b > most) a = most / 2, b = a + most % 2;
            n[0] = swap ? b : a, n[1] = swap ? a : b;
        } else if (over) {
            const int which = u->strategy == 2 && pair;
            if (n[which] <= over)
                return tide_fail(ctx, TIDE_EARG,
                                 "encode: the %s text is too short to be cut to %zu tokens in all",
                                 which ? "second" : "first", u->length);
            n[which] -= over;
        }
        for (int q = 0; q < 1 + pair; q++)
            if (n[q] && n[q] < e->tokens[q] && u->stride >= n[q])
                return tide_fail(ctx, TIDE_EARG,
                                 "encode: stride must be less than the length that is left "
                                 "(expected below %zu, got %zu)",
                                 n[q], u->stride);
    }
    for (int q = 0; q < 1 + pair; q++)
        if (!ranges(e, q, n[q], u)) return outcome(ctx, e, false);
    return TIDE_OK;
}

/* -- putting together -- */

/* Spaces at the ends of a token do not belong to it, but for one that was put before the text. What
 * a space stands for in the text may be any character. */
static void trim(const tide_tokenizer *t, tide_token *k, bool first, const char *text) {
    size_t n;
    const char *s = tide_tokenizer_token(t, k->id, &n);
    uint32_t lead = 0, trail = 0;
    int32_t c;
    if (!s) return;
    /* an added token may have taken spaces along */
    if (tide_keys_get(&t->added_of, (uint64_t)k->id) != UINT64_MAX)
        s = text + k->from, n = k->to - k->from;
    const char *end = s + n;
    for (const char *p = s; p < end; lead++) {
        p += tide_utf8_get(p, end, &c);
        if (c != 0x120 && !(tide_char_kind(c) & TIDE_SPACE)) break;
    }
    for (const char *p = end; p > s; trail++) {
        const char *q = p - 1;
        while (q > s && ((unsigned char)*q & 0xc0) == 0x80) q--;
        tide_utf8_get(q, end, &c);
        if (c != 0x120 && !(tide_char_kind(c) & TIDE_SPACE)) break;
        p = q;
    }
    if (lead && t->trim_prefix && (first || k->from == 0)) lead--;
    for (; lead && k->from < k->to; lead--)
        k->from += (uint32_t)tide_utf8_get(text + k->from, text + k->to, &c);
    for (; trail && k->to > k->from; trail--) do
            k->to--;
        while (k->to > k->from && ((unsigned char)text[k->to] & 0xc0) == 0x80);
}

static bool take(tide_encoding *out, const tide_token *p, size_t n) {
    if (!tide_grow(&out->p, &out->room, out->n + n, sizeof *p)) return false;
    if (n) memcpy(out->p + out->n, p, n * sizeof *p);
    out->n += n;
    return true;
}

static bool assemble(const tide_tokenizer *t, tide_encoder *e, const tide_range *r[2],
                     const char *const text[2], int flags, tide_encoding *out) {
    static tide_slot plain[2] = {{.sequence = 0, .type = 0}, {.sequence = 1, .type = 1}};
    const tide_template as_is = {plain, r[1] ? 2 : 1, 0};
    const bool whole = t->templates && (flags & TIDE_ADD_SPECIAL);
    const tide_template *m = !whole ? &as_is : r[1] ? &t->pair : &t->single;
    for (size_t i = 0; i < m->n; i++) {
        const tide_slot *s = &m->slot[i];
        if (s->sequence < 0) {
            for (size_t k = 0; k < s->n; k++)
                if (!take(out,
                          &(tide_token){.id = s->ids[k],
                                        .word = -1,
                                        .type = (uint8_t)s->type,
                                        .special = 1,
                                        .sequence = -1},
                          1))
                    return false;
            continue;
        }
        const tide_range *q = r[s->sequence];
        if (!q) continue;
        const size_t first = out->n;
        if (!take(out, e->token[s->sequence] + q->first, q->end - q->first)) return false;
        for (size_t k = first; k < out->n; k++) {
            out->p[k].type = (uint8_t)(t->one_type ? 0 : s->type);
            if (t->trim) trim(t, &out->p[k], k == first, text[s->sequence]);
        }
    }
    if (!tide_grow(&out->ends, &out->parts_room, out->parts + 1, sizeof *out->ends)) return false;
    out->ends[out->parts++] = out->n;
    return true;
}

tide_status tide_tokenizer_encode(tide_ctx *ctx, const tide_tokenizer *t, tide_encoder *e,
                                  const char *text, size_t n, const char *pair, size_t pair_n,
                                  int flags, tide_encoding *out) {
    out->n = out->parts = 0;
    for (int q = 0; q < 1 + (pair != NULL); q++) {
        way w = {.t = t, .e = e, .flags = flags, .sequence = q};
        TIDE_TRY(may_encode(ctx, e, q ? pair_n : n));
        TIDE_TRY(outcome(ctx, e, sequence(&w, q ? pair : text, q ? pair_n : n)));
    }
    const tide_template *m = pair ? &t->pair : &t->single;
    TIDE_TRY(shorten(ctx, t, e, pair != NULL,
                     t->templates && (flags & TIDE_ADD_SPECIAL) ? m->added : 0));
    /* what is meant, then what was left of the first with the second's beginning, and so on */
    bool ok = true;
    const char *const both[2] = {text, pair};
    const size_t seconds = pair ? e->ranges[1] : 1;
    for (size_t b = 0; ok && b < seconds; b++)
        for (size_t a = 0; ok && a < e->ranges[0]; a++) {
            TIDE_TRY(tide_go_on(ctx)); /* of two long texts there may be millions */
            const tide_range *r[2] = {&e->range[0][a], pair ? &e->range[1][b] : NULL};
            ok = assemble(t, e, r, both, flags, out);
        }
    return outcome(ctx, e, ok);
}

tide_status tide_encoding_pad(tide_ctx *ctx, tide_encoding *e, size_t length, int32_t id, int type,
                              bool left) {
    tide_encoding out = {0};
    const tide_token pad = {
        .id = id, .word = -1, .type = (uint8_t)type, .special = 1, .pad = 1, .sequence = -1};
    bool ok = true, due = false;
    for (size_t k = 0; k < e->parts; k++) due |= e->ends[k] - (k ? e->ends[k - 1] : 0) < length;
    if (!due) return TIDE_OK;
    tide_status st = TIDE_OK;
    for (size_t k = 0; ok && k < e->parts && (st = tide_go_on(ctx)) == TIDE_OK; k++) {
        const size_t first = k ? e->ends[k - 1] : 0, n = e->ends[k] - first;
        if (!left) ok = take(&out, e->p + first, n);
        for (size_t i = n; ok && i < length; i++) ok = take(&out, &pad, 1);
        if (ok && left) ok = take(&out, e->p + first, n);
        if (ok && (ok = tide_grow(&out.ends, &out.parts_room, out.parts + 1, sizeof *out.ends)))
            out.ends[out.parts++] = out.n;
    }
    if (!ok) st = tide_fail(ctx, TIDE_ENOMEM, "encode: not enough memory to pad to %zu", length);
    if (st != TIDE_OK) return tide_encoding_free(&out), st;
    tide_encoding_free(e);
    *e = out;
    return TIDE_OK;
}
