/* Owns the cutting of texts into words, and the search for their numbers by the team's threads.
 *
 * Invariant: texts are shared out by their bytes, in order, so that what threads find is the same
 * for any number of them; a piece's numbers are its own until they are put into rows. */
#include "words.h"

#include "../team.h"

#include <stdlib.h>
#include <string.h>

/* -- words -- */

enum { KEPT, LEFT_OUT, SPACE };

static bool is_punctuation(int c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
        (c >= '{' && c <= '~');
}

void tide_cutter_init(tide_cutter *c, bool lower, bool strip, tide_cut cut) {
    *c = (tide_cutter){.cut = cut};
    for (int b = 0; b < 256; b++) {
        c->to[b] = (unsigned char)(lower && b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
        if (strip && is_punctuation(b)) c->kind[b] = LEFT_OUT;
        else if (cut == TIDE_CUT_SPACES && (b == ' ' || (b >= '\t' && b <= '\r')))
            c->kind[b] = SPACE;
    }
}

/* Makes the bytes up to the next space alike, behind those that there are. */
static void make_alike(tide_cutter *c) {
    const char *p = c->from, *end = c->end;
    char *to = c->text + c->n;
    for (; p < end; p++) {
        const unsigned char b = (unsigned char)*p, kind = c->kind[b];
        if (kind == SPACE) break;
        *to = (char)c->to[b], to += kind == KEPT;
    }
    c->n = (size_t)(to - c->text), c->from = p;
}

bool tide_cutter_begin(tide_cutter *c, const char *s, size_t n) {
    if (!tide_grow(&c->text, &c->room, n + 1, 1)) return false;
    c->from = s, c->end = s + n, c->n = c->at = 0;
    if (c->cut != TIDE_CUT_SPACES) make_alike(c);
    return true;
}

bool tide_cutter_next(tide_cutter *c, const char **word, size_t *n) {
    if (c->cut == TIDE_CUT_SPACES) {
        for (c->n = 0; c->n == 0;) {
            while (c->from < c->end && c->kind[(unsigned char)*c->from] == SPACE) c->from++;
            if (c->from == c->end) return false;
            make_alike(c); /* leaves nothing of punctuation alone */
        }
        *word = c->text, *n = c->n;
        return true;
    }
    if (c->cut == TIDE_CUT_NOWHERE) {
        *word = c->text, *n = c->n;
        return c->at++ == 0;
    }
    if (c->at >= c->n) return false;
    int32_t code;
    *word = c->text + c->at;
    const size_t length = (size_t)tide_utf8_get(*word, c->text + c->n, &code);
    *n = length, c->at += length;
    if (code == TIDE_BROKEN) *word = "\xef\xbf\xbd", *n = 3;
    return true;
}

void tide_cutter_free(tide_cutter *c) {
    free(c->text);
    c->text = NULL, c->room = 0;
}

/* -- numbers -- */

enum {
    PIECE = 1 << 14, /* bytes that a thread takes at a time */
    LOOK = 1024,     /* words between two looks at Ctrl-C */
};

struct tide_piece_ids {
    int64_t first, texts; /* of them all */
    int64_t longest;
    int64_t *id; /* for each text how many there are, then they */
    size_t n, room;
    bool failed;
};

typedef struct {
    const tide_lookup *look;
    const tide_passage *text;
    tide_ids *out;
    int64_t width, *to; /* of tide_ids_put */
} search;

/* What a thread has of its own. */
typedef struct {
    tide_cutter cutter;
    tide_bytes line; /* the words of a text, a space behind each, */
    size_t *end;     /* and where each ends */
    size_t room;
} desk;

static bool add(tide_piece_ids *p, int64_t v) {
    if (p->n == p->room && !tide_grow(&p->id, &p->room, p->n + 1, sizeof *p->id)) return false;
    p->id[p->n++] = v;
    return true;
}

static bool is_cancelled(void) { return __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED); }

static bool look_up(const tide_lookup *l, tide_piece_ids *p, const char *s, size_t n) {
    const tide_entry *e = tide_map_find(l->known, s, n);
    return add(p, e ? e->value : l->other);
}

/* Adds the numbers of a text's words; of `most` words. false: no memory. */
static bool find_words(const tide_lookup *l, desk *d, tide_piece_ids *p, int64_t *count) {
    const char *word;
    size_t n;
    while ((l->most < 0 || *count < l->most) && tide_cutter_next(&d->cutter, &word, &n)) {
        if (!look_up(l, p, word, n)) return false;
        if (++*count % LOOK == 0 && is_cancelled()) break;
    }
    return true;
}

/* Likewise of words in a row: as they stand in a line of them. */
static bool find_rows(const tide_lookup *l, desk *d, tide_piece_ids *p, int64_t *count) {
    const char *word;
    size_t n;
    int64_t words = 0;
    /* the first length alone may give all */
    const int64_t enough =
        l->most < 0 || l->most > INT32_MAX ? INT64_MAX : l->most - 1 + l->length[0];
    d->line.n = 0;
    while (words < enough && tide_cutter_next(&d->cutter, &word, &n)) {
        if (!tide_grow(&d->end, &d->room, (size_t)words + 1, sizeof *d->end)) return false;
        tide_bytes_add(&d->line, word, n);
        d->end[words++] = d->line.n;
        tide_bytes_add(&d->line, " ", 1);
        if (d->line.failed) return false;
        if (words % LOOK == 0 && is_cancelled()) return true;
    }
    for (int64_t k = 0; k < l->lengths; k++)
        for (int64_t i = 0; l->length[k] <= words - i; i++) {
            if (l->most >= 0 && *count == l->most) return true;
            const size_t from = i ? d->end[i - 1] + 1 : 0;
            if (!look_up(l, p, d->line.p + from, d->end[i + l->length[k] - 1] - from)) return false;
            if (++*count % LOOK == 0 && is_cancelled()) return true;
        }
    return true;
}

static bool find_in(const tide_lookup *l, desk *d, tide_piece_ids *p, const tide_passage *text) {
    int64_t count = 0;
    const size_t row = p->n;
    if (!add(p, 0) || !tide_cutter_begin(&d->cutter, text->s, text->n)) return false;
    if (!(l->lengths ? find_rows : find_words)(l, d, p, &count)) return false;
    p->id[row] = count;
    if (count > p->longest) p->longest = count;
    return true;
}

static void find(void *data) {
    const search *s = data;
    desk d = {.cutter = *s->look->how};
    tide_share *share = tide_team_share();
    for (int64_t i; (i = tide_team_next(share, s->out->pieces)) >= 0;) {
        tide_piece_ids *p = &s->out->piece[i];
        for (int64_t k = 0; k < p->texts && !p->failed && !is_cancelled(); k++)
            p->failed = !find_in(s->look, &d, p, &s->text[p->first + k]);
    }
    tide_cutter_free(&d.cutter);
    free(d.line.p), free(d.end);
}

tide_status tide_ids_find(tide_ctx *ctx, const tide_lookup *look, const tide_passage *text,
                          int64_t n, tide_ids *out) {
    search s = {.look = look, .text = text, .out = out};
    size_t bytes = 0, at = 0;
    for (int64_t i = 0; i < n; i++) bytes += text[i].n + 1;
    *out = (tide_ids){0};
    if (!(out->piece = calloc(bytes / PIECE + 1, sizeof *out->piece)))
        return tide_fail(ctx, TIDE_ENOMEM, "text_ids: not enough memory");
    for (int64_t i = 0; i < n; i++) {
        tide_piece_ids *p = &out->piece[out->pieces];
        p->texts++, at += text[i].n + 1;
        if (at < PIECE && i < n - 1) continue;
        out->pieces++, at = 0;
        if (i < n - 1) p[1].first = i + 1;
    }
    tide_team_parallel(find, &s, (int)out->pieces);
    TIDE_TRY(tide_go_on(ctx));
    for (int64_t i = 0; i < out->pieces; i++) {
        if (out->piece[i].failed)
            return tide_fail(ctx, TIDE_ENOMEM, "text_ids: not enough memory for %lld texts",
                             (long long)n);
        if (out->piece[i].longest > out->longest) out->longest = out->piece[i].longest;
    }
    return TIDE_OK;
}

static void put(void *data) {
    const search *s = data;
    tide_share *share = tide_team_share();
    for (int64_t i; (i = tide_team_next(share, s->out->pieces)) >= 0;) {
        const tide_piece_ids *p = &s->out->piece[i];
        const int64_t *from = p->id;
        int64_t *to = s->to + p->first * s->width;
        for (int64_t k = 0; k < p->texts; k++, to += s->width) {
            const int64_t count = *from++;
            memcpy(to, from, (size_t)count * sizeof *to);
            memset(to + count, 0, (size_t)(s->width - count) * sizeof *to);
            from += count;
        }
    }
}

void tide_ids_put(const tide_ids *ids, int64_t width, int64_t *to) {
    tide_ids all = *ids;
    search s = {.out = &all, .width = width, .to = to};
    if (width > 0) tide_team_parallel(put, &s, (int)ids->pieces);
}

void tide_ids_free(tide_ids *ids) {
    for (int64_t i = 0; i < ids->pieces; i++) free(ids->piece[i].id);
    free(ids->piece);
    *ids = (tide_ids){0};
}
