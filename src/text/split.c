/* Owns pre-tokenizers: how a text is cut into the pieces that a model sees, one after the other.
 * Invariant: pieces are ranges of e->text in order; where the text changes, all of them move. */
#include "tokenizer.h"

#include <string.h>

static bool add_piece(tide_encoder *e, size_t first, size_t end) {
    if (first == end) return true;
    if (!tide_grow(&e->piece2, &e->piece2_room, e->cuts + 1, sizeof *e->piece2))
        return e->failed = true, false;
    e->piece2[e->cuts++] = (tide_range){first, end};
    return true;
}

/* -- cuts by a behaviour -- */

static bool behave(tide_encoder *e, const tide_cut *cut, size_t n, int how, size_t *out) {
#define ADD(f, g)                                                                     \
    do {                                                                              \
        if ((g) > (f)) {                                                              \
            if (!tide_grow(&e->piece2, &e->piece2_room, *out + 1, sizeof *e->piece2)) \
                return e->failed = true, false;                                       \
            e->piece2[(*out)++] = (tide_range){f, g};                                 \
        }                                                                             \
    } while (0)
    bool before = false;
    const size_t base = *out;
    switch (how) {
    case REMOVED:
        for (size_t i = 0; i < n; i++)
            if (!cut[i].match) ADD(cut[i].first, cut[i].end);
        break;
    case ISOLATED:
        for (size_t i = 0; i < n; i++) ADD(cut[i].first, cut[i].end);
        break;
    case CONTIGUOUS:
        for (size_t i = 0; i < n; i++) {
            if (*out > base && cut[i].match == before) e->piece2[*out - 1].end = cut[i].end;
            else ADD(cut[i].first, cut[i].end);
            before = cut[i].match;
        }
        break;
    case WITH_PREVIOUS:
        for (size_t i = 0; i < n; i++) {
            if (cut[i].match && !before && *out > base) e->piece2[*out - 1].end = cut[i].end;
            else ADD(cut[i].first, cut[i].end);
            before = cut[i].match;
        }
        break;
    default: /* with the next: a match that no match follows joins what does */
        for (size_t i = 0; i < n; i++) {
            size_t first = cut[i].first;
            const bool joins = cut[i].match && i + 1 < n && !cut[i + 1].match;
            if (joins) i++;
            ADD(first, cut[i].end);
        }
    }
    return true;
#undef ADD
}

/* -- cuts by a kind of characters: each of that kind is a match by itself -- */

typedef enum { BY_SPACE, BY_PUNCT, BY_NUMBER, BY_CHARACTER } by;

static bool is_of(by kind, int32_t c, int32_t which) {
    switch (kind) {
    case BY_SPACE: return tide_char_kind(c) & TIDE_SPACE;
    case BY_PUNCT: /* in ASCII all that are neither letters nor digits */
        return c < 128
            ? c > 32 && c < 127 && !((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9')
            : (tide_char_kind(c) & TIDE_PUNCT) != 0;
    case BY_NUMBER: return tide_char_kind(c) & TIDE_NUMBER;
    default: return c == which;
    }
}

static bool cut_by(tide_encoder *e, by kind, int32_t which, size_t first, size_t end) {
    const char *s = e->text.s;
    e->cuts = 0;
    for (size_t i = first, from = first; i < end || from < end;) {
        int32_t c = 0;
        const size_t k = i < end ? (size_t)tide_utf8_get(s + i, s + end, &c) : 0;
        const bool match = k && is_of(kind, c, which);
        if (k && !match) {
            i += k;
            continue;
        }
        if (!tide_grow(&e->cut, &e->cut_room, e->cuts + 2, sizeof *e->cut))
            return e->failed = true, false;
        if (i > from) e->cut[e->cuts++] = (tide_cut){from, i, false};
        if (match) e->cut[e->cuts++] = (tide_cut){i, i + k, true};
        from = i += k;
        if (!k) break;
    }
    return true;
}

static void take(tide_encoder *e, size_t n) {
    tide_range *p = e->piece;
    const size_t room = e->piece_room;
    e->piece = e->piece2, e->piece_room = e->piece2_room;
    e->piece2 = p, e->piece2_room = room;
    e->pieces = n;
}

static bool split_by(tide_encoder *e, by kind, int32_t which, int how) {
    size_t n = 0;
    for (size_t i = 0; i < e->pieces; i++)
        if (!cut_by(e, kind, which, e->piece[i].first, e->piece[i].end) ||
            !behave(e, e->cut, e->cuts, how, &n))
            return false;
    return take(e, n), true;
}

static bool split_pattern(const tide_part *p, tide_encoder *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->pieces; i++) {
        if (!tide_cut_pattern(p, e, e->text.s, e->piece[i].first, e->piece[i].end)) return false;
        for (size_t k = 0; p->on[0] && k < e->cuts; k++) e->cut[k].match = !e->cut[k].match;
        if (!behave(e, e->cut, e->cuts, p->mode, &n)) return false;
    }
    return take(e, n), true;
}

/* -- words and what is neither word nor space -- */

static int word_or_space(int32_t c) {
    const int kind = tide_char_kind(c);
    return kind & (TIDE_WORD | TIDE_JOINER) ? TIDE_WORD : kind & TIDE_SPACE;
}

static bool split_words(tide_encoder *e) {
    size_t n = 0;
    const char *s = e->text.s;
    for (size_t k = 0; k < e->pieces; k++) {
        const size_t end = e->piece[k].end;
        for (size_t i = e->piece[k].first; i < end;) {
            int32_t c;
            const size_t first = i;
            i += (size_t)tide_utf8_get(s + i, s + end, &c);
            const int kind = word_or_space(c);
            if (kind == TIDE_SPACE) continue;
            while (i < end) {
                const int size = tide_utf8_get(s + i, s + end, &c);
                if (word_or_space(c) != kind) break;
                i += (size_t)size;
            }
            e->cuts = n;
            if (!add_piece(e, first, i)) return false;
            n = e->cuts;
        }
    }
    return take(e, n), true;
}

/* -- GPT-2: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ -- */

enum { CLASS = TIDE_LETTER | TIDE_NUMBER | TIDE_SPACE };

static inline int class_at(const char *s, size_t i, size_t end, size_t *k) {
    const unsigned char c = (unsigned char)s[i];
    if (c < 128) return *k = 1, tide_ascii_kind[c] & CLASS;
    int32_t ch;
    *k = (size_t)tide_utf8_get(s + i, s + end, &ch);
    return tide_char_kind(ch) & CLASS;
}

static size_t gpt2_end(const char *s, size_t i, size_t end) {
    size_t k;
    if (s[i] == '\'' && i + 1 < end) {
        const char a = s[i + 1], b = i + 2 < end ? s[i + 2] : 0;
        if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
        if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
            return i + 3;
    }
    int kind = class_at(s, i, end, &k);
    size_t at = i + k;
    if (s[i] == ' ' && at < end) { /* a space goes with what is behind it */
        size_t more;
        const int next = class_at(s, at, end, &more);
        if (!(next & TIDE_SPACE)) kind = next, at += more;
    }
    if (!(kind & TIDE_SPACE)) {
        while (at < end && class_at(s, at, end, &k) == kind) at += k;
        return at;
    }
    size_t last = i; /* spaces, of which the last goes with a word behind it */
    while (at < end && (class_at(s, at, end, &k) & TIDE_SPACE)) last = at, at += k;
    return at < end && last > i ? last : at;
}

static bool split_gpt2(tide_encoder *e) {
    size_t n = 0;
    for (size_t k = 0; k < e->pieces; k++)
        for (size_t i = e->piece[k].first; i < e->piece[k].end;) {
            const size_t end = gpt2_end(e->text.s, i, e->piece[k].end);
            if (!tide_grow(&e->piece2, &e->piece2_room, n + 1, sizeof *e->piece2))
                return e->failed = true, false;
            e->piece2[n++] = (tide_range){i, end};
            i = end;
        }
    return take(e, n), true;
}

static bool bytes(const tide_part *p, tide_encoder *e) {
    tide_aligned *t = &e->text, *w = &e->work;
    bool prefix = false;
    for (size_t i = 0; p->on[0] && i < e->pieces; i++) prefix |= t->s[e->piece[i].first] != ' ';
    if (prefix) {
        if (!tide_aligned_track(t)) return e->failed = true, false;
        tide_aligned_start(w);
        for (size_t i = 0; i < e->pieces; i++) {
            tide_range *r = &e->piece[i];
            const size_t first = w->n;
            if (t->s[r->first] != ' ') tide_aligned_add(w, " ", 1, tide_span_of(t, r->first));
            tide_aligned_copy(w, t, r->first, r->end);
            *r = (tide_range){first, w->n};
        }
        tide_aligned_swap(t, w);
    }
    if (p->on[2] && !split_gpt2(e)) return false;
    if (p->on[3]) { /* others come after it: they see the bytes as characters */
        if (!tide_aligned_track(t)) return e->failed = true, false;
        tide_aligned_start(w);
        for (size_t i = 0; i < e->pieces; i++) {
            tide_range *r = &e->piece[i];
            const size_t first = w->n;
            for (size_t k = r->first; k < r->end; k++)
                tide_aligned_char(w, tide_byte_char((unsigned char)t->s[k]), tide_span_of(t, k));
            *r = (tide_range){first, w->n};
        }
        tide_aligned_swap(t, w);
    }
    return !(e->failed |= t->failed);
}

/* -- SentencePiece's way: a space is a letter of its own -- */

static bool meta(const tide_part *p, tide_encoder *e) {
    tide_aligned *t = &e->text, *w = &e->work;
    if (!tide_aligned_track(t)) return e->failed = true, false;
    /* a text that nobody has cut begins where it began, whatever was taken away there */
    const bool whole = e->pieces == 1 && e->piece[0].first == 0 && e->piece[0].end == t->n;
    tide_aligned_start(w);
    for (size_t i = 0; i < e->pieces; i++) {
        tide_range *r = &e->piece[i];
        const size_t first = w->n;
        const bool begins = t->s[r->first] == ' ' ||
            (r->end - r->first >= p->sn && !memcmp(t->s + r->first, p->s, p->sn));
        if (!begins &&
            (p->mode == PREPEND_ALWAYS ||
             (p->mode == PREPEND_FIRST && (whole ? e->base : tide_span_of(t, r->first).from) == 0)))
            tide_aligned_add(w, p->s, p->sn, tide_span_of(t, r->first));
        for (size_t k = r->first; k < r->end;) {
            size_t end = k;
            while (end < r->end && t->s[end] != ' ') end++;
            tide_aligned_copy(w, t, k, end);
            if (end < r->end) tide_aligned_add(w, p->s, p->sn, tide_span_of(t, end)), end++;
            k = end;
        }
        *r = (tide_range){first, w->n};
    }
    tide_aligned_swap(t, w);
    if (t->failed) return e->failed = true, false;
    if (!p->on[0]) return true;
    size_t n = 0;
    int32_t c;
    tide_utf8_get(p->s, p->s + p->sn, &c);
    for (size_t i = 0; i < e->pieces; i++)
        if (!cut_by(e, BY_CHARACTER, c, e->piece[i].first, e->piece[i].end) ||
            !behave(e, e->cut, e->cuts, WITH_NEXT, &n))
            return false;
    return take(e, n), true;
}

static bool split_length(tide_encoder *e, int64_t length) {
    size_t n = 0;
    for (size_t k = 0; k < e->pieces; k++) {
        const size_t end = e->piece[k].end;
        for (size_t i = e->piece[k].first; i < end;) {
            const size_t first = i;
            for (int64_t j = 0; j < length && i < end; j++)
                i += (size_t)tide_utf8_length((unsigned char)e->text.s[i]);
            e->cuts = n;
            if (!add_piece(e, first, i)) return false;
            n = e->cuts;
        }
    }
    return take(e, n), true;
}

bool tide_split(const tide_part *p, tide_encoder *e) {
    switch (p->kind) {
    case PART_SEQUENCE:
        for (size_t i = 0; i < p->children; i++)
            if (!tide_split(&p->child[i], e)) return false;
        return true;
    case SPLIT_BERT: return split_by(e, BY_SPACE, 0, REMOVED) && split_by(e, BY_PUNCT, 0, ISOLATED);
    case SPLIT_BYTES: return bytes(p, e);
    case SPLIT_WORDS: return split_words(e);
    case SPLIT_SPACES: return split_by(e, BY_SPACE, 0, REMOVED);
    case SPLIT_PUNCTUATION: return split_by(e, BY_PUNCT, 0, p->mode);
    case SPLIT_DIGITS: return split_by(e, BY_NUMBER, 0, p->on[0] ? ISOLATED : CONTIGUOUS);
    case SPLIT_META: return meta(p, e);
    case SPLIT_PATTERN: return split_pattern(p, e);
    case SPLIT_CHARACTER: return split_by(e, BY_CHARACTER, (int32_t)p->n, REMOVED);
    default: return split_length(e, p->n);
    }
}

/* -- reading -- */

#define BEHAVIORS "Removed|Isolated|MergedWithPrevious|MergedWithNext|Contiguous"

bool tide_read_splitter(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                        tide_part *p) {
    static const char names[] =
        "Sequence|BertPreTokenizer|ByteLevel|Whitespace|WhitespaceSplit|Punctuation|Digits|"
        "Metaspace|Split|CharDelimiterSplit|FixedLength";
    static const tide_part_kind kinds[] = {
        PART_SEQUENCE, SPLIT_BERT, SPLIT_BYTES,   SPLIT_WORDS,     SPLIT_SPACES, SPLIT_PUNCTUATION,
        SPLIT_DIGITS,  SPLIT_META, SPLIT_PATTERN, SPLIT_CHARACTER, SPLIT_LENGTH};
    if (o->kind != TIDE_JSON_OBJECT)
        return tide_wrong(r, "%s must be an object (got %s)", path, tide_tree_what(o));
    const int type = tide_at_enum(r, o, path, "type", names, -1);
    if (type < 0) return tide_wrong(r, "%s.type is missing", path);
    p->kind = kinds[type];
    const char *s;
    int32_t c = 0;
    switch (p->kind) {
    case PART_SEQUENCE:
        return tide_read_sequence(r, a, o, path, "pretokenizers", p, tide_read_splitter);
    case SPLIT_BYTES:
        p->on[0] = tide_at_bool(r, o, path, "add_prefix_space", true);
        p->on[1] = tide_at_bool(r, o, path, "trim_offsets", true);
        p->on[2] = tide_at_bool(r, o, path, "use_regex", true);
        break;
    case SPLIT_PUNCTUATION:
        p->mode = tide_at_enum(r, o, path, "behavior", BEHAVIORS, ISOLATED);
        break;
    case SPLIT_DIGITS: p->on[0] = tide_at_bool(r, o, path, "individual_digits", false); break;
    case SPLIT_META:
        s = tide_at_string(r, o, path, "replacement", "\xe2\x96\x81", &p->sn);
        if (p->sn == 0 || (size_t)tide_utf8_get(s, s + p->sn, &c) != p->sn)
            return tide_wrong(r, "%s.replacement must be one character (got '%.40s')", path, s);
        if (!(p->s = tide_arena_copy(a, s, p->sn))) return tide_short(r);
        p->mode =
            tide_at_bool(r, o, path, "add_prefix_space", true) ? PREPEND_ALWAYS : PREPEND_NEVER;
        p->mode = tide_at_enum(r, o, path, "prepend_scheme", "never|first|always", p->mode);
        p->on[0] = tide_at_bool(r, o, path, "split", true);
        break;
    case SPLIT_PATTERN:
        if (!tide_read_pattern(r, a, o, path, p)) return false;
        p->mode = tide_at_enum(r, o, path, "behavior", BEHAVIORS, ISOLATED);
        p->on[0] = tide_at_bool(r, o, path, "invert", false);
        break;
    case SPLIT_CHARACTER:
        s = tide_at_string(r, o, path, "delimiter", "", &p->sn);
        if (p->sn == 0 || (size_t)tide_utf8_get(s, s + p->sn, &c) != p->sn)
            return tide_wrong(r, "%s.delimiter must be one character (got '%.40s')", path, s);
        p->n = c;
        break;
    case SPLIT_LENGTH: p->n = tide_at_int(r, o, path, "length", 1, INT32_MAX, 5); break;
    default: break;
    }
    return r->status == TIDE_OK;
}
