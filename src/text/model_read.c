/* Owns the reading of models: vocabularies, merges, scores, which may be large and are read as they
 * stand in the file. Ids are checked here, so that nobody has to look later. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    tide_reading *r;
    tide_json j;
    char *end, kept; /* the byte behind the value, a NUL meanwhile */
    tide_bytes text;
} stream;

static bool open_stream(stream *s, tide_reading *r, const tide_tree *t, tide_json_kind kind) {
    *s = (stream){.r = r};
    s->end = (char *)t->raw + t->raw_n, s->kept = *s->end,
    *s->end = 0; /* of the source's own copy */
    return tide_json_begin(&s->j, r->src->ctx, r->src->what, t->raw, t->raw_n,
                           TIDE_TOKENIZER_BYTES) == TIDE_OK &&
        tide_json_next(&s->j) == kind;
}

static void close_stream(stream *s) {
    *s->end = s->kept;
    if (s->j.status != TIDE_OK && s->r->status == TIDE_OK) s->r->status = s->j.status;
    if (s->text.failed) tide_short(s->r);
    free(s->text.p);
}

static bool string(stream *s) {
    s->text.n = 0;
    if (!tide_grow(&s->text.p, &s->text.room, s->j.length + 1, 1)) return tide_short(s->r);
    s->text.n = tide_json_text(&s->j, s->text.p);
    s->text.p[s->text.n] = 0;
    return true;
}

static bool put_token(tide_reading *r, tide_tokenizer *t, const char *s, size_t n, int64_t id) {
    bool fresh;
    if (id < 0 || id >= TIDE_TOKENIZER_IDS)
        return tide_wrong(r, "model.vocab: the id of '%.40s' must be from 0 to %d (got %lld)", s,
                          TIDE_TOKENIZER_IDS - 1, (long long)id);
    tide_entry *e = tide_map_put(&t->vocab, s, n, (int32_t)id, &fresh);
    if (!e) return tide_short(r);
    e->value = (int32_t)id; /* of equal tokens the last counts */
    if (id >= t->nids) t->nids = (int32_t)id + 1;
    return true;
}

static bool index_ids(tide_reading *r, tide_tokenizer *t) {
    /* ids far beyond the number of tokens would cost memory that the file does not show */
    if (t->nids > 1000000 && (size_t)t->nids > 16 * t->vocab.n)
        return tide_wrong(r, "model.vocab: the id %d is too large for %zu tokens", t->nids - 1,
                          t->vocab.n);
    if (!(t->entry_of = malloc(((size_t)t->nids + 1) * sizeof *t->entry_of))) return tide_short(r);
    memset(t->entry_of, 0xff, ((size_t)t->nids + 1) * sizeof *t->entry_of);
    for (size_t i = 0; i < t->vocab.n; i++) {
        int32_t *at = &t->entry_of[t->vocab.entry[i].value];
        if (*at < 0) *at = (int32_t)i; /* of tokens with one id the first is its name */
    }
    return true;
}

static const tide_tree *part(tide_reading *r, const tide_tree *o, const char *key,
                             tide_json_kind kind) {
    const tide_tree *t = tide_at(o, key);
    if (!t) return tide_wrong(r, "model.%s is missing", key), NULL;
    if (t->kind != kind)
        return tide_wrong(r, "model.%s must be %s (got %s)", key,
                          kind == TIDE_JSON_OBJECT ? "an object of ids by token" : "a list",
                          tide_tree_what(t)),
               NULL;
    return t;
}

static bool read_vocab(tide_reading *r, tide_tokenizer *t, const tide_tree *o) {
    const tide_tree *list = part(r, o, "vocab", TIDE_JSON_OBJECT);
    stream s;
    if (!list) return false;
    if (open_stream(&s, r, list, TIDE_JSON_OBJECT))
        while (r->status == TIDE_OK && tide_json_next(&s.j) == TIDE_JSON_KEY && string(&s)) {
            const tide_json_kind k = tide_json_next(&s.j);
            if (k != TIDE_JSON_INTEGER)
                tide_wrong(r, "model.vocab: the id of '%.40s' must be a whole number", s.text.p);
            else put_token(r, t, s.text.p, s.text.n, s.j.integer);
        }
    close_stream(&s);
    return r->status == TIDE_OK && index_ids(r, t);
}

static int32_t id_of(const tide_tokenizer *t, const char *s, size_t n) {
    const tide_entry *e = tide_map_find(&t->vocab, s, n);
    return e ? e->value : -1;
}

/* A merge of two tokens that stand in b, the second from `mid` on. */
static bool put_merge(tide_reading *r, tide_tokenizer *t, const char *b, size_t mid, size_t second,
                      size_t n) {
    const size_t cut = t->prefix ? strlen(t->prefix) : 0;
    const int32_t left = id_of(t, b, mid), right = id_of(t, b + second, n - second);
    if (left < 0 || right < 0)
        return tide_wrong(
            r, "model.merges: entry %zu joins '%.*s', which is not in the vocabulary",
            t->nmerges + 1,
            (int)(left < 0 ? mid : n - second) > 40 ? 40 : (int)(left < 0 ? mid : n - second),
            left < 0 ? b : b + second);
    tide_bytes both = {0};
    tide_bytes_add(&both, b, mid);
    const size_t skip = n - second < cut ? n - second : cut;
    tide_bytes_add(&both, b + second + skip, n - second - skip);
    const int32_t merged = both.failed ? -1 : id_of(t, both.p, both.n);
    bool ok = !both.failed;
    if (ok && merged < 0)
        ok = tide_wrong(r, "model.merges: entry %zu makes '%.40s', which is not in the vocabulary",
                        t->nmerges + 1, both.p);
    free(both.p);
    if (both.failed) return tide_short(r);
    if (!ok) return false;
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    if (!tide_grow(&t->merge_at, &t->merges_room, t->nmerges + 1, sizeof *t->merge_at) ||
        !tide_keys_put(&t->merges, key, (uint64_t)t->nmerges << 32 | (uint32_t)merged))
        return tide_short(r);
    t->merge_at[t->nmerges++] = key;
    return true;
}

static bool read_merges(tide_reading *r, tide_tokenizer *t, const tide_tree *o) {
    const tide_tree *list = part(r, o, "merges", TIDE_JSON_ARRAY);
    stream s;
    tide_json_kind k;
    if (!list) return false;
    if (open_stream(&s, r, list, TIDE_JSON_ARRAY))
        while (r->status == TIDE_OK && (k = tide_json_next(&s.j)) > TIDE_JSON_END) {
            tide_bytes two = {0};
            size_t mid = 0, second = 0;
            bool ok = k == TIDE_JSON_STRING || k == TIDE_JSON_ARRAY;
            if (k == TIDE_JSON_STRING) {
                if (!string(&s)) break;
                const char *space = strchr(s.text.p, ' ');
                ok = space && !strchr(space + 1, ' ');
                mid = ok ? (size_t)(space - s.text.p) : 0, second = mid + 1;
                tide_bytes_add(&two, s.text.p, s.text.n);
            } else if (k == TIDE_JSON_ARRAY) {
                for (int i = 0; ok && i < 2; i++) {
                    ok = tide_json_next(&s.j) == TIDE_JSON_STRING && string(&s);
                    if (ok) tide_bytes_add(&two, s.text.p, s.text.n);
                    if (i == 0) mid = second = two.n;
                }
                ok = ok && tide_json_next(&s.j) == TIDE_JSON_END;
            }
            if (!ok && s.j.status == TIDE_OK)
                tide_wrong(r,
                           "model.merges: entry %zu must be two tokens, \"a b\" or [\"a\", \"b\"]",
                           t->nmerges + 1);
            else if (two.failed) tide_short(r);
            else if (ok) put_merge(r, t, two.p, mid, second, two.n);
            free(two.p);
        }
    close_stream(&s);
    return r->status == TIDE_OK;
}

static bool read_scores(tide_reading *r, tide_tokenizer *t, const tide_tree *o) {
    const tide_tree *list = part(r, o, "vocab", TIDE_JSON_ARRAY);
    stream s;
    tide_json_kind k;
    size_t n = 0, room = 0;
    double least = 0;
    if (!list) return false;
    if (open_stream(&s, r, list, TIDE_JSON_ARRAY))
        while (r->status == TIDE_OK && (k = tide_json_next(&s.j)) > TIDE_JSON_END) {
            bool ok =
                k == TIDE_JSON_ARRAY && tide_json_next(&s.j) == TIDE_JSON_STRING && string(&s);
            if (ok) {
                k = tide_json_next(&s.j);
                ok = k == TIDE_JSON_INTEGER || k == TIDE_JSON_REAL;
            }
            const double score = k == TIDE_JSON_INTEGER ? (double)s.j.integer : s.j.real;
            ok = ok && tide_json_next(&s.j) == TIDE_JSON_END;
            if (!ok) {
                if (s.j.status == TIDE_OK)
                    tide_wrong(r, "model.vocab: entry %zu must be a token and its score", n + 1);
                break;
            }
            if (!tide_grow(&t->score, &room, n + 1, sizeof *t->score)) tide_short(r);
            else t->score[n] = score;
            if (n == 0 || score < least) least = score;
            bool fresh;
            tide_entry *e = r->status == TIDE_OK
                ? tide_map_put(&t->vocab, s.text.p, s.text.n, (int32_t)n, &fresh)
                : NULL;
            if (!e) tide_short(r);
            else if (!fresh) tide_wrong(r, "model.vocab: '%.40s' is there twice", s.text.p);
            else if (s.text.n && !tide_trie_put(&t->head, s.text.p, s.text.n, (int32_t)n))
                tide_short(r);
            if (++n >= TIDE_TOKENIZER_IDS)
                tide_wrong(r, "model.vocab: more than the %d tokens allowed", TIDE_TOKENIZER_IDS);
        }
    close_stream(&s);
    t->nids = (int32_t)n, t->unk_score = least - 10;
    return r->status == TIDE_OK && index_ids(r, t);
}

/* The tokens <0x00> to <0xFF>. */
static void find_bytes(tide_tokenizer *t) {
    static const char digits[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; b++) {
        const char name[] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        t->byte_id[b] = id_of(t, name, sizeof name);
    }
}

static bool keep(tide_reading *r, tide_tokenizer *t, const tide_tree *o, const char *key,
                 const char *def, const char **out) {
    size_t n;
    const char *s = tide_at_string(r, o, "model", key, def, &n);
    *out = NULL;
    if (s && n && !(*out = tide_arena_copy(&t->arena, s, n))) return tide_short(r);
    return true;
}

bool tide_read_model(tide_reading *r, tide_tokenizer *t, const tide_tree *root) {
    const tide_tree *o = tide_at_object(r, root, "tokenizer", "model");
    if (!o) return tide_wrong(r, "model is missing");
    int kind = tide_at_enum(r, o, "model", "type", "BPE|WordPiece|WordLevel|Unigram", -1);
    if (kind < 0) { /* old files name no type */
        const tide_tree *v = tide_at(o, "vocab");
        kind = tide_at(o, "merges")                   ? TIDE_BPE
            : v && v->kind == TIDE_JSON_ARRAY         ? TIDE_UNIGRAM
            : tide_at(o, "continuing_subword_prefix") ? TIDE_WORDPIECE
                                                      : TIDE_WORDLEVEL;
    }
    if (r->status != TIDE_OK) return false;
    t->kind = (tide_model_kind)kind, t->unk_id = -1;
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    const bool words = kind == TIDE_WORDPIECE || kind == TIDE_WORDLEVEL;
    if (!keep(r, t, o, "unk_token",
              kind == TIDE_WORDPIECE       ? "[UNK]"
                  : kind == TIDE_WORDLEVEL ? "<unk>"
                                           : NULL,
              &t->unk) ||
        !keep(r, t, o, "continuing_subword_prefix", kind == TIDE_WORDPIECE ? "##" : NULL,
              &t->prefix) ||
        !keep(r, t, o, "end_of_word_suffix", NULL, &t->suffix))
        return false;
    t->fuse_unk = tide_at_bool(r, o, "model", "fuse_unk", false);
    t->byte_fallback = tide_at_bool(r, o, "model", "byte_fallback", false);
    t->ignore_merges = tide_at_bool(r, o, "model", "ignore_merges", false);
    t->most_chars = tide_at_int(r, o, "model", "max_input_chars_per_word", 0, INT32_MAX, 100);
    const tide_tree *drop = tide_at(o, "dropout");
    if (drop && (drop->kind != TIDE_JSON_REAL && drop->kind != TIDE_JSON_INTEGER))
        return tide_wrong(r, "model.dropout must be a number (got %s)", tide_tree_what(drop));
    t->dropout = drop ? drop->real : 0;
    if (t->dropout < 0 || t->dropout > 1)
        return tide_wrong(r, "model.dropout must be from 0 to 1 (got %g)", t->dropout);
    if (kind == TIDE_UNIGRAM) {
        if (!read_scores(r, t, o)) return false;
        t->unk_id = (int32_t)tide_at_int(r, o, "model", "unk_id", 0, t->nids ? t->nids - 1 : 0, -1);
    } else {
        if (!read_vocab(r, t, o) || (kind == TIDE_BPE && !read_merges(r, t, o))) return false;
        if (t->unk) t->unk_id = id_of(t, t->unk, strlen(t->unk));
        if (t->unk && t->unk_id < 0 && kind == TIDE_BPE)
            t->unk_id = -1; /* then what is unknown is left out */
    }
    if (t->byte_fallback) find_bytes(t);
    if (kind == TIDE_WORDPIECE && words) {
        const size_t cut = t->prefix ? strlen(t->prefix) : 0;
        for (size_t i = 0; i < t->vocab.n; i++) {
            const tide_entry *e = &t->vocab.entry[i];
            const char *s = tide_map_text(&t->vocab, e);
            if (e->n && !tide_trie_put(&t->head, s, e->n, e->value)) return tide_short(r);
            if (e->n > cut && (!cut || !memcmp(s, t->prefix, cut)) &&
                !tide_trie_put(&t->tail, s + cut, e->n - cut, e->value))
                return tide_short(r);
        }
    }
    return r->status == TIDE_OK;
}
