/* Owns the tokens that stand beside a model: they are found in the text before it is cut, some
 * before it is normalized and some behind that; where several begin at one place the longest is
 * meant. */
#include "tokenizer.h"

#include <string.h>

static size_t before(const char *s, size_t at) {
    do at--;
    while (at > 0 && ((unsigned char)s[at] & 0xc0) == 0x80);
    return at;
}

static int kind_before(const char *s, size_t at) {
    int32_t c;
    if (at == 0) return 0;
    tide_utf8_get(s + before(s, at), s + at, &c);
    return tide_char_kind(c);
}

static int kind_behind(const char *s, size_t at, size_t n, size_t *k) {
    int32_t c;
    if (at >= n) return *k = 0, 0;
    *k = (size_t)tide_utf8_get(s + at, s + n, &c);
    return tide_char_kind(c);
}

/* The next token at or behind *scan: its bytes with the spaces that it takes along, from `start`
 * on, and where to go on; false: there is none. */
bool tide_find_added(const tide_tokenizer *t, const tide_trie *trie, int flags, const char *s,
                     size_t n, size_t *scan, size_t start, size_t *from, size_t *to,
                     const tide_added **out) {
    if (!trie->nodes) return false;
    while (*scan < n) {
        const size_t at = *scan;
        int32_t place;
        const size_t size =
            trie->first[(unsigned char)s[at]] ? tide_trie_longest(trie, s + at, n - at, &place) : 0;
        if (!size) {
            ++*scan;
            continue;
        }
        const tide_added *a = &t->added[place];
        size_t k;
        *scan = at + size;
        if ((flags & TIDE_PLAIN_SPECIAL) && a->special) continue;
        *from = at, *to = at + size;
        if (a->single_word &&
            ((kind_before(s, at) | kind_behind(s, *to, n, &k)) & (TIDE_WORD | TIDE_JOINER)))
            continue;
        while (a->lstrip && *from > start && (kind_before(s, *from) & TIDE_SPACE))
            *from = before(s, *from);
        while (a->rstrip && (kind_behind(s, *to, n, &k) & TIDE_SPACE)) *to += k;
        if (*from < start) *from = start; /* the one before has taken the spaces */
        if (*to > *scan) *scan = *to;
        *out = a;
        return true;
    }
    return false;
}

/* The content as it looks in normalized text. */
static bool normal_form(tide_tokenizer *t, tide_added *a, size_t place) {
    tide_encoder *e = tide_encoder_new();
    bool ok = e && tide_aligned_set(&e->text, a->content, a->n, 0);
    if (ok && t->normalizer) ok = tide_normalize(t->normalizer, e);
    if (ok && e->text.n) {
        a->shown = tide_arena_copy(&t->arena, e->text.s, e->text.n), a->shown_n = e->text.n;
        ok = a->shown != NULL;
    }
    if (ok && e->text.n) ok = tide_trie_put(&t->normal, e->text.s, e->text.n, (int32_t)place);
    tide_encoder_free(e);
    return ok;
}

bool tide_read_added(tide_reading *r, tide_tokenizer *t, const tide_tree *list) {
    for (const tide_tree *o = list ? list->child : NULL; o; o = o->next) {
        if (o->kind != TIDE_JSON_OBJECT)
            return tide_wrong(r, "added_tokens must hold objects (got %s)", tide_tree_what(o));
        tide_added a = {0};
        const char *s = tide_at_string(r, o, "added_tokens", "content", "", &a.n);
        a.id = (int32_t)tide_at_int(r, o, "added_tokens", "id", 0, TIDE_TOKENIZER_IDS - 1, -1);
        a.special = tide_at_bool(r, o, "added_tokens", "special", false);
        a.single_word = tide_at_bool(r, o, "added_tokens", "single_word", false);
        a.lstrip = tide_at_bool(r, o, "added_tokens", "lstrip", false);
        a.rstrip = tide_at_bool(r, o, "added_tokens", "rstrip", false);
        a.normalized = tide_at_bool(r, o, "added_tokens", "normalized", !a.special);
        if (r->status != TIDE_OK) return false;
        if (a.id < 0) return tide_wrong(r, "added_tokens: '%.40s' has no id", s);
        if (!a.n) continue;
        if (!(a.content = tide_arena_copy(&t->arena, s, a.n)) ||
            !tide_grow(&t->added, &t->added_room, t->nadded + 1, sizeof a))
            return tide_short(r);
        const size_t place = t->nadded;
        a.shown = a.content, a.shown_n = a.n;
        t->added[t->nadded++] = a;
        tide_entry *e = tide_map_put(&t->added_ids, a.content, a.n, (int32_t)place, NULL);
        if (!e || !tide_keys_put(&t->added_of, (uint64_t)a.id, place)) return tide_short(r);
        e->value = (int32_t)place;
        if (a.id >= t->largest) t->largest = a.id + 1;
        if (a.normalized ? !normal_form(t, &t->added[place], place)
                         : !tide_trie_put(&t->raw, a.content, a.n, (int32_t)place))
            return tide_short(r);
    }
    return true;
}
