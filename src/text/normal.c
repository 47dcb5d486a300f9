/* Owns normalizers: what happens to a text before it is cut. Each walks over the text once, and
 * notes for every byte that it writes which bytes of the original it stands for, as Hugging Face's
 * do: a character that becomes several hands its place on, several that become one keep the
 * first's. */
#define _GNU_SOURCE /* memmem */
#include "tokenizer.h"

#include <stdio.h>

#include <stdlib.h>
#include <string.h>

/* -- walks -- */

typedef enum { CLEAN, CHINESE, LOWER, ACCENTS, MARKS, NMT } walk_kind;

static bool is_chinese(int32_t c) {
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
        (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
        (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
        (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

/* A character as a walk leaves it: up to 3 into `to`, how many. */
static int changed(walk_kind kind, int32_t c, int32_t *to) {
    to[0] = c;
    switch (kind) {
    case CLEAN:
        if (c == '\t' || c == '\n' || c == '\r') return to[0] = ' ', 1;
        if (c == 0 || c == TIDE_BROKEN) return 0;
        {
            const int is = tide_char_kind(c);
            if (is & TIDE_CONTROL) return 0;
            if (is & TIDE_SPACE) to[0] = ' ';
        }
        return 1;
    case CHINESE: return is_chinese(c) ? (to[0] = ' ', to[1] = c, to[2] = ' ', 3) : 1;
    case LOWER: return tide_char_lower(c, to);
    case ACCENTS: return !(tide_char_kind(c) & TIDE_NONSPACING);
    case MARKS: return !(tide_char_kind(c) & TIDE_MARK);
    default:
        if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f ||
            c == 0x9f)
            return 0;
        if (c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 ||
            (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
            c == 0xfeff || c == TIDE_BROKEN)
            to[0] = ' ';
        return 1;
    }
}

static bool walk(tide_encoder *e, walk_kind kind) {
    tide_aligned *t = &e->text, *w = &e->work;
    tide_aligned_start(w);
    for (size_t i = 0; i < t->n;) {
        int32_t c, to[3];
        const size_t first = i;
        i += (size_t)tide_utf8_get(t->s + i, t->s + t->n, &c);
        const int n = changed(kind, c, to);
        for (int k = 0; k < n; k++) tide_aligned_char(w, to[k], tide_span_of(t, first));
    }
    tide_aligned_swap(t, w);
    return !t->failed;
}

/* Whether a walk would leave a text of ASCII as it is; most texts need the others' work only. */
static bool idle(const tide_aligned *t, walk_kind kind) {
    for (size_t i = 0; i < t->n; i++) {
        const unsigned char c = (unsigned char)t->s[i];
        if (c >= 0x80) return false;
        if (kind == LOWER                      ? c >= 'A' && c <= 'Z'
                : kind == CLEAN || kind == NMT ? c < 32 || c == 127
                                               : false)
            return false;
    }
    return true;
}

static bool walked(tide_encoder *e, walk_kind kind) {
    return idle(&e->text, kind) || walk(e, kind);
}

/* -- strip, replace, prepend -- */

static void strip(tide_encoder *e, bool left, bool right) {
    tide_aligned *t = &e->text, *w = &e->work;
    size_t first = 0, end = t->n;
    while (left && first < end) {
        int32_t c;
        const int k = tide_utf8_get(t->s + first, t->s + t->n, &c);
        if (!(tide_char_kind(c) & TIDE_SPACE)) break;
        first += (size_t)k;
    }
    while (right && end > first) {
        size_t at = end - 1;
        int32_t c;
        while (at > first && ((unsigned char)t->s[at] & 0xc0) == 0x80) at--;
        tide_utf8_get(t->s + at, t->s + end, &c);
        if (!(tide_char_kind(c) & TIDE_SPACE)) break;
        end = at;
    }
    tide_aligned_start(w);
    tide_aligned_copy(w, t, first, end);
    tide_aligned_swap(t, w);
}

static void *find(const char *s, size_t n, const char *what, size_t what_n) {
    return what_n ? memmem(s, n, what, what_n) : NULL;
}

bool tide_cut_pattern(const tide_part *p, tide_encoder *e, const char *s, size_t first,
                      size_t end) {
    size_t at = first;
    e->cuts = 0;
    while (at < end) {
        size_t from = end, to = end;
        if (p->regex) {
            size_t look = at;
            int found;
            do { /* a match of nothing cuts nothing */
                found = tide_regex_find(p->regex, &e->choices, s + first, end - first, look - first,
                                        &from, &to);
                if (found < 0)
                    return e->why = "a pattern takes too long on this text", e->failed = true,
                           false;
                from += first, to += first, look = to + 1;
            } while (found && from == to && look < end);
            if (!found || from == to) from = to = end;
        } else {
            const char *hit = find(s + at, end - at, p->s, p->sn);
            if (hit) from = (size_t)(hit - s), to = from + p->sn;
        }
        if (!tide_grow(&e->cut, &e->cut_room, e->cuts + 2, sizeof *e->cut))
            return e->failed = true, false;
        if (from > at) e->cut[e->cuts++] = (tide_cut){at, from, false};
        if (to > from) e->cut[e->cuts++] = (tide_cut){from, to, true};
        at = to;
    }
    return true;
}

static bool replace(const tide_part *p, tide_encoder *e) {
    tide_aligned *t = &e->text, *w = &e->work;
    if (!tide_cut_pattern(p, e, t->s, 0, t->n)) return false;
    if (e->cuts < 2 && (!e->cuts || !e->cut[0].match)) return true;
    tide_aligned_start(w);
    for (size_t i = 0; i < e->cuts; i++) {
        const tide_cut *c = &e->cut[i];
        if (c->match) tide_aligned_add(w, p->t, p->tn, tide_span_of(t, c->end - 1));
        else tide_aligned_copy(w, t, c->first, c->end);
    }
    tide_aligned_swap(t, w);
    return !t->failed;
}

/* -- SentencePiece's map: a double array of the strings that change, then what they become -- */

static uint32_t unit(const tide_part *p, size_t i) {
    uint32_t v = 0;
    if (i >= (size_t)p->n) return 0;
    memcpy(&v, p->s + 4 + i * 4, 4);
    return v;
}

/* What the shortest known beginning of s becomes, NULL: none is known. */
static const char *mapped(const tide_part *p, const char *s, size_t n) {
    uint32_t u = unit(p, 0);
    size_t node = (u >> 10) << ((u & 512) >> 6);
    for (size_t i = 0; i < n && s[i]; i++) {
        node ^= (unsigned char)s[i];
        if (node >= (size_t)p->n) return NULL;
        u = unit(p, node);
        if ((u & 0x800000ffu) != (unsigned char)s[i]) return NULL;
        node ^= (u >> 10) << ((u & 512) >> 6);
        if (u >> 8 & 1) {
            const size_t at = (unit(p, node) & 0x7fffffffu) + 4 + (size_t)p->n * 4;
            return node < (size_t)p->n && at < p->sn ? p->s + at : NULL;
        }
    }
    return NULL;
}

/* Puts `to` in the place of bytes first..end: character by character, what is left over with the
 * last one. */
static void put(tide_encoder *e, size_t first, size_t end, const char *to) {
    const tide_aligned *t = &e->text;
    const char *stop = to + strlen(to);
    size_t at = first;
    while (to < stop) {
        int32_t c;
        to += tide_utf8_get(to, stop, &c);
        tide_aligned_char(&e->work, c, tide_span_of(t, at));
        const size_t next = at + (size_t)tide_utf8_length((unsigned char)t->s[at]);
        if (next < end) at = next;
    }
}

static bool charsmap(const tide_part *p, tide_encoder *e) {
    tide_aligned *t = &e->text, *w = &e->work;
    tide_aligned_start(w);
    for (size_t i = 0; i < t->n;) {
        int32_t c, d;
        int state = 0;
        size_t end = i + (size_t)tide_utf8_get(t->s + i, t->s + t->n, &c), one = end;
        while (end < t->n) { /* the end of the cluster of characters */
            const int k = tide_utf8_get(t->s + end, t->s + t->n, &d);
            if (c < 0x80 && d < 0x80 ? !(c == '\r' && d == '\n') : tide_char_breaks(c, d, &state))
                break;
            end += (size_t)k, c = d;
        }
        const char *to = end - i < 6 ? mapped(p, t->s + i, end - i) : NULL;
        if (to) {
            put(e, i, end, to);
        } else {
            for (size_t at = i; at < end; at = one) {
                one = at + (size_t)tide_utf8_length((unsigned char)t->s[at]);
                if ((to = mapped(p, t->s + at, one - at))) put(e, at, one, to);
                else tide_aligned_copy(w, t, at, one);
            }
        }
        i = end;
    }
    tide_aligned_swap(t, w);
    return !t->failed;
}

static bool bytes(tide_encoder *e) {
    tide_aligned *t = &e->text, *w = &e->work;
    tide_aligned_start(w);
    for (size_t i = 0; i < t->n; i++)
        tide_aligned_char(w, tide_byte_char((unsigned char)t->s[i]), tide_span_of(t, i));
    tide_aligned_swap(t, w);
    return !t->failed;
}

/* -- all of them -- */

bool tide_normalize(const tide_part *p, tide_encoder *e) {
    tide_aligned *t = &e->text;
    if (!t->n) return true;
    if (!tide_aligned_track(t)) return e->failed = true, false;
    switch (p->kind) {
    case PART_SEQUENCE:
        for (size_t i = 0; i < p->children; i++)
            if (!tide_normalize(&p->child[i], e)) return false;
        break;
    case NORMAL_BERT:
        if (p->on[0]) walked(e, CLEAN);
        if (p->on[1]) walked(e, CHINESE);
        if (p->on[2] && tide_aligned_normal(t, &e->work, TIDE_NFD)) walked(e, ACCENTS);
        if (p->on[3]) walked(e, LOWER);
        break;
    case NORMAL_FORM: tide_aligned_normal(t, &e->work, (tide_form)p->mode); break;
    case NORMAL_LOWER: walked(e, LOWER); break;
    case NORMAL_STRIP: strip(e, p->on[0], p->on[1]); break;
    case NORMAL_ACCENTS: walked(e, MARKS); break;
    case NORMAL_REPLACE: replace(p, e); break;
    case NORMAL_PREPEND:
        tide_aligned_start(&e->work);
        tide_aligned_add(&e->work, p->s, p->sn, tide_span_of(t, 0));
        tide_aligned_copy(&e->work, t, 0, t->n);
        tide_aligned_swap(t, &e->work);
        break;
    case NORMAL_NMT: walked(e, NMT); break;
    case NORMAL_CHARSMAP: charsmap(p, e); break;
    default: bytes(e); break;
    }
    if (t->failed) e->failed = true;
    return !e->failed;
}

/* -- reading -- */

void tide_part_free(tide_part *p) {
    if (!p) return;
    tide_regex_free(p->regex);
    for (size_t i = 0; i < p->children; i++) tide_part_free(&p->child[i]);
}

bool tide_read_sequence(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                        const char *key, tide_part *p,
                        bool (*read)(tide_reading *, tide_arena *, const tide_tree *, const char *,
                                     tide_part *)) {
    const tide_tree *list = tide_at_list(r, o, path, key);
    size_t n = 0;
    if (!list) return tide_wrong(r, "%s.%s is missing", path, key);
    for (const tide_tree *c = list->child; c; c = c->next) n++;
    if (!(p->child = tide_arena_take(a, (n + 1) * sizeof *p->child))) return tide_short(r);
    p->kind = PART_SEQUENCE;
    for (const tide_tree *c = list->child; c; c = c->next) {
        p->children++;
        if (!read(r, a, c, path, &p->child[p->children - 1])) return false;
    }
    return true;
}

bool tide_read_pattern(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                       tide_part *p) {
    const tide_tree *pattern = tide_at_object(r, o, path, "pattern");
    size_t n;
    const char *s = tide_at_string(r, pattern, path, "Regex", NULL, &n);
    if (s) {
        char what[200];
        snprintf(what, sizeof what, "%.120s: %.60s", r->src->what, path);
        const tide_status st = tide_regex_new(r->src->ctx, what, s, n, &p->regex);
        if (st != TIDE_OK && r->status == TIDE_OK) r->status = st;
        return r->status == TIDE_OK;
    }
    s = tide_at_string(r, pattern, path, "String", NULL, &n);
    if (!s)
        return tide_wrong(r, "%s.pattern must be { \"String\" = … } or { \"Regex\" = … }", path);
    p->s = tide_arena_copy(a, s, n), p->sn = n;
    return p->s ? true : tide_short(r);
}

/* Base 64 into bytes. */
static bool base64(const char *s, size_t n, char *to, size_t *out) {
    uint32_t v = 0;
    int bits = 0;
    *out = 0;
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        const char c = s[i];
        const int d = c >= 'A' && c <= 'Z' ? c - 'A'
            : c >= 'a' && c <= 'z'         ? c - 'a' + 26
            : c >= '0' && c <= '9'         ? c - '0' + 52
            : c == '+'                     ? 62
            : c == '/'                     ? 63
                                           : -1;
        if (d < 0) return false;
        v = v << 6 | (uint32_t)d, bits += 6;
        if (bits >= 8) to[(*out)++] = (char)(v >> (bits -= 8));
    }
    return true;
}

static bool read_charsmap(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                          tide_part *p) {
    size_t n, out;
    uint32_t size = 0;
    const char *s = tide_at_string(r, o, path, "precompiled_charsmap", NULL, &n);
    if (!s) return tide_wrong(r, "%s.precompiled_charsmap is missing", path);
    char *to = tide_arena_take(a, n / 4 * 3 + 8);
    if (!to) return tide_short(r);
    if (!base64(s, n, to, &out))
        return tide_wrong(r, "%s.precompiled_charsmap is not base 64", path);
    if (out >= 4) memcpy(&size, to, 4);
    if (out < 8 || size > out - 4 || size % 4)
        return tide_wrong(r, "%s.precompiled_charsmap is damaged: a tree of %u bytes in %zu", path,
                          size, out);
    p->s = to, p->sn = out, p->n = size / 4;               /* a NUL follows */
    for (const char *at = to + 4 + size; at < to + out;) { /* what things become is text */
        const size_t k = strlen(at);
        if (!tide_utf8_valid(at, k))
            return tide_wrong(r, "%s.precompiled_charsmap is damaged: no UTF-8", path);
        at += k + 1;
    }
    return true;
}

bool tide_read_normalizer(tide_reading *r, tide_arena *a, const tide_tree *o, const char *path,
                          tide_part *p) {
    static const char names[] =
        "Sequence|BertNormalizer|NFC|NFD|NFKC|NFKD|Lowercase|Strip|StripAccents|Replace|"
        "Prepend|Nmt|Precompiled|ByteLevel";
    static const tide_part_kind kinds[] = {
        PART_SEQUENCE,  NORMAL_BERT,  NORMAL_FORM,     NORMAL_FORM,    NORMAL_FORM,
        NORMAL_FORM,    NORMAL_LOWER, NORMAL_STRIP,    NORMAL_ACCENTS, NORMAL_REPLACE,
        NORMAL_PREPEND, NORMAL_NMT,   NORMAL_CHARSMAP, NORMAL_BYTES};
    if (o->kind != TIDE_JSON_OBJECT)
        return tide_wrong(r, "%s must be an object (got %s)", path, tide_tree_what(o));
    const int type = tide_at_enum(r, o, path, "type", names, -1);
    if (type < 0) return tide_wrong(r, "%s.type is missing", path);
    p->kind = kinds[type];
    const char *s;
    switch (p->kind) {
    case PART_SEQUENCE:
        return tide_read_sequence(r, a, o, path, "normalizers", p, tide_read_normalizer);
    case NORMAL_BERT:
        p->on[0] = tide_at_bool(r, o, path, "clean_text", true);
        p->on[1] = tide_at_bool(r, o, path, "handle_chinese_chars", true);
        p->on[3] = tide_at_bool(r, o, path, "lowercase", true);
        p->on[2] = tide_at_bool(r, o, path, "strip_accents", p->on[3]);
        break;
    case NORMAL_FORM: p->mode = type - 2; break;
    case NORMAL_STRIP:
        p->on[0] = tide_at_bool(r, o, path, "strip_left", true);
        p->on[1] = tide_at_bool(r, o, path, "strip_right", true);
        break;
    case NORMAL_REPLACE:
        if (!tide_read_pattern(r, a, o, path, p)) return false;
        s = tide_at_string(r, o, path, "content", "", &p->tn);
        if (!(p->t = tide_arena_copy(a, s, p->tn))) return tide_short(r);
        break;
    case NORMAL_PREPEND:
        s = tide_at_string(r, o, path, "prepend", "", &p->sn);
        if (!(p->s = tide_arena_copy(a, s, p->sn))) return tide_short(r);
        break;
    case NORMAL_CHARSMAP: return read_charsmap(r, a, o, path, p);
    default: break;
    }
    return r->status == TIDE_OK;
}
