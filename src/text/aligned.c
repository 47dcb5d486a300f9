/* Owns text that knows where it came from, and Unicode's normal forms of it (Unicode 15, 3.11).
 * Invariant: where `aligned`, `at` has as many entries as `s` has bytes. */
#include "chars.h"

#include <stdlib.h>
#include <string.h>

static bool room_for(tide_aligned *t, size_t n) {
    if (t->failed || !tide_grow(&t->s, &t->room, t->n + n + 1, 1) ||
        (t->aligned && !tide_grow(&t->at, &t->at_room, t->n + n, sizeof *t->at)))
        t->failed = true;
    return !t->failed;
}

void tide_aligned_add(tide_aligned *t, const char *s, size_t n, tide_origin span) {
    if (!room_for(t, n)) return;
    memcpy(t->s + t->n, s, n);
    if (t->aligned)
        for (size_t i = 0; i < n; i++) t->at[t->n + i] = span;
    t->n += n;
}

void tide_aligned_char(tide_aligned *t, int32_t c, tide_origin span) {
    char at[4];
    tide_aligned_add(t, at, (size_t)tide_utf8_put(at, c), span);
}

void tide_aligned_copy(tide_aligned *t, const tide_aligned *from, size_t first, size_t end) {
    const size_t n = end - first;
    if (!room_for(t, n) || !n) return;
    memcpy(t->s + t->n, from->s + first, n);
    if (t->aligned) memcpy(t->at + t->n, from->at + first, n * sizeof *t->at);
    t->n += n;
}

void tide_aligned_start(tide_aligned *t) { t->n = 0, t->aligned = true; }

void tide_aligned_free(tide_aligned *t) {
    free(t->s);
    free(t->at);
    *t = (tide_aligned){0};
}

/* Whether all of it is ASCII. */
static bool is_ascii(const char *s, size_t n) {
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        if (w & 0x8080808080808080u) return false;
    }
    while (n--)
        if (*s++ & 0x80) return false;
    return true;
}

bool tide_aligned_set(tide_aligned *t, const char *s, size_t n, uint32_t base) {
    t->n = 0, t->base = base;
    t->aligned = !is_ascii(s, n) && !tide_utf8_valid(s, n);
    if (!room_for(t, n)) return false;
    if (!t->aligned) {
        memcpy(t->s, s, n);
        t->n = n;
        return true;
    }
    const char *begin = s, *end = s + n;
    while (s < end) {
        int32_t c;
        const int k = tide_utf8_get(s, end, &c);
        const uint32_t from = base + (uint32_t)(s - begin);
        tide_aligned_char(t, c, (tide_origin){from, from + (uint32_t)k});
        s += k;
    }
    return !t->failed;
}

bool tide_aligned_track(tide_aligned *t) {
    if (t->aligned || t->failed) return !t->failed;
    if (!tide_grow(&t->at, &t->at_room, t->n, sizeof *t->at)) return !(t->failed = true);
    for (size_t i = 0; i < t->n;) {
        const size_t k = (size_t)tide_utf8_length((unsigned char)t->s[i]);
        const tide_origin span = {t->base + (uint32_t)i, t->base + (uint32_t)(i + k)};
        for (size_t end = i + k; i < end; i++) t->at[i] = span;
    }
    return t->aligned = true;
}

tide_origin tide_span_of(const tide_aligned *t, size_t i) {
    if (i >= t->n) return (tide_origin){t->base, t->base};
    if (t->aligned) return t->at[i];
    while (i > 0 && ((unsigned char)t->s[i] & 0xc0) == 0x80) i--;
    const uint32_t from = t->base + (uint32_t)i;
    return (tide_origin){from, from + (uint32_t)tide_utf8_length((unsigned char)t->s[i])};
}

/* -- normal forms -- */

/* Characters that begin with one of class 0, then marks, in the order of their classes. Where they
 * come from goes by their places, as in Hugging Face's library: the first that was a character of
 * the text has the first such's place, whichever it was before they were put in order. */
typedef struct {
    int32_t c;
    int combining;
    int own; /* how many characters of the text it stands for; 0: what one of them became beside */
} mark;
typedef struct {
    mark *p;
    size_t n, room;
    tide_origin *span; /* [spans]: of the characters of the text */
    size_t spans, span_room;
} marks;

static bool add_mark(marks *m, int32_t c, bool own, tide_origin span) {
    if (!tide_grow(&m->p, &m->room, m->n + 1, sizeof *m->p) ||
        !tide_grow(&m->span, &m->span_room, m->spans + 1, sizeof *m->span))
        return false;
    m->p[m->n++] = (mark){c, tide_char_combining(c), own};
    if (own) m->span[m->spans++] = span;
    return true;
}

static int by_class(const void *a, const void *b) {
    const mark *x = a, *y = b;
    return x->combining - y->combining;
}

/* Stable, for the classes of marks are few and the marks of a letter too; many are sorted. */
static void order(mark *p, size_t n) {
    if (n > 64) { /* the place breaks ties */
        for (size_t i = 0; i < n; i++) p[i].combining = p[i].combining << 22 | (int)(i & 0x3fffff);
        qsort(p, n, sizeof *p, by_class);
        for (size_t i = 0; i < n; i++) p[i].combining >>= 22;
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const mark m = p[i];
        size_t k = i;
        for (; k > 0 && p[k - 1].combining > m.combining; k--) p[k] = p[k - 1];
        p[k] = m;
    }
}

/* The marks join the letter before them where Unicode has the two as one. */
static size_t compose(mark *p, size_t n) {
    size_t out = 0, starter = 0;
    bool have = false;
    for (size_t i = 0; i < n; i++) {
        const mark m = p[i];
        const int last = out > starter + 1 ? p[out - 1].combining : 0;
        const bool blocked = out > starter + 1 && (last == 0 || last >= m.combining);
        const int32_t one = have && !blocked ? tide_char_compose(p[starter].c, m.c) : -1;
        if (one >= 0) {
            p[starter].c = one, p[starter].own += m.own;
            continue;
        }
        if (m.combining == 0) starter = out, have = true;
        p[out++] = m;
    }
    return out;
}

static void flush(tide_aligned *to, marks *m, bool composed) {
    for (size_t i = 0; i < m->n;) {
        size_t k = i;
        if (m->p[i].combining == 0) {
            i++;
            continue;
        }
        while (k < m->n && m->p[k].combining) k++;
        order(m->p + i, k - i);
        i = k;
    }
    const size_t n = composed ? compose(m->p, m->n) : m->n;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t first = m->p[i].own ? at : at ? at - 1 : 0;
        tide_aligned_char(to, m->p[i].c, m->span[first < m->spans ? first : m->spans - 1]);
        at += (size_t)m->p[i].own;
    }
    m->n = m->spans = 0;
}

/* Whether a character never joins what stands before it: vowels and final consonants of Hangul do,
 * and signs of vowels, though their class is 0. */
static bool begins(int32_t c) {
    return !tide_char_combining(c) && !(tide_char_kind(c) & TIDE_MARK) &&
        (c < 0x1160 || c > 0x11ff);
}

bool tide_aligned_normal(tide_aligned *t, tide_aligned *work, tide_form form) {
    if (t->failed || is_ascii(t->s, t->n)) return !t->failed; /* nothing can change */
    if (!tide_aligned_track(t)) return false;
    const bool compatible = form == TIDE_NFKC || form == TIDE_NFKD;
    const bool composed = form == TIDE_NFC || form == TIDE_NFKC;
    marks m = {0};
    bool ok = true;
    tide_aligned_start(work);
    for (size_t i = 0; ok && i < t->n;) {
        int32_t c, to[TIDE_DECOMPOSED];
        const size_t first = i;
        i += (size_t)tide_utf8_get(t->s + i, t->s + t->n, &c);
        if (c < 0x80) { /* what stands before it is done, unless it takes the marks behind it */
            flush(work, &m, composed);
            if (i >= t->n || !(t->s[i] & 0x80)) {
                tide_aligned_copy(work, t, first, i);
                continue;
            }
        }
        const int n = tide_char_decompose(c, compatible, to);
        for (int k = 0; ok && k < n; k++) {
            if (k == 0 && m.n > 64 && begins(to[k])) flush(work, &m, composed);
            ok = add_mark(&m, to[k], k == 0, tide_span_of(t, first));
        }
    }
    if (ok) flush(work, &m, composed);
    free(m.p), free(m.span);
    tide_aligned_swap(t, work);
    return ok && !t->failed && !work->failed;
}
