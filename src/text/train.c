/* Owns training: words are counted as the tokenizer cuts them, and become a model. Here are the
 * counts, vocabularies of whole words, and byte-pair encoding (Sennrich, Haddow and Birch 2016), on
 * which WordPiece rests too: the pair that is most frequent becomes a token, of equals the one with
 * the smaller ids, until there are enough. What Hugging Face's trainers leave to the order of a
 * hash table goes by the order of the words. */
#define _GNU_SOURCE /* qsort_r */
#include "train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- counts -- */

tide_counts *tide_counts_new(void) { return calloc(1, sizeof(tide_counts)); }

void tide_counts_free(tide_counts *c) {
    if (!c) return;
    tide_map_free(&c->words);
    free(c->count), free(c->bytes.p), free(c);
}

static void count(void *to, const char *s, size_t n, uint32_t from, uint32_t end) {
    tide_counts *c = to;
    bool fresh;
    (void)from, (void)end;
    if (c->as_bytes) {
        c->bytes.n = 0;
        for (size_t i = 0; i < n; i++)
            tide_bytes_char(&c->bytes, tide_byte_char((unsigned char)s[i]));
        c->failed |= c->bytes.failed;
        s = c->bytes.p, n = c->bytes.n;
    }
    tide_entry *e = c->failed ? NULL : tide_map_put(&c->words, s, n, (int32_t)c->words.n, &fresh);
    if (!e || !tide_grow(&c->count, &c->room, c->words.n, sizeof *c->count)) {
        c->failed = true;
        return;
    }
    if (fresh) c->count[e->value] = 0;
    c->count[e->value]++;
}

tide_status tide_counts_add(tide_ctx *ctx, tide_counts *c, const tide_tokenizer *t, tide_encoder *e,
                            const char *text, size_t n) {
    c->as_bytes = t->bytes;
    TIDE_TRY(tide_tokenizer_pieces(ctx, t, e, text, n, count, c));
    return c->failed ? tide_fail(ctx, TIDE_ENOMEM, "train: not enough memory for the words")
                     : TIDE_OK;
}

static int by_text(const void *a, const void *b, void *map) {
    const tide_map *m = map;
    const tide_entry *x = &m->entry[*(const uint32_t *)a], *y = &m->entry[*(const uint32_t *)b];
    if (tide_train_stopped()) return 0;
    const int c = memcmp(tide_map_text(m, x), tide_map_text(m, y), x->n < y->n ? x->n : y->n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

uint32_t *tide_counts_order(const tide_counts *c) {
    uint32_t *order = malloc((c->words.n + 1) * sizeof *order);
    if (!order) return NULL;
    for (size_t i = 0; i < c->words.n; i++) order[i] = (uint32_t)i;
    qsort_r(order, c->words.n, sizeof *order, by_text, (void *)&c->words);
    return order;
}

/* -- writing -- */

static void add_number(tide_string *o, int64_t v) {
    char s[32];
    snprintf(s, sizeof s, "%lld", (long long)v);
    tide_text_add(o, s);
}

void tide_train_vocab(tide_string *o, const tide_map *m) {
    tide_text_add(o, "\"vocab\": {");
    for (size_t i = 0; i < m->n && !tide_train_stopped(); i++) {
        if (i) tide_text_add(o, ", ");
        tide_text_string(o, tide_map_text(m, &m->entry[i])), tide_text_add(o, ": ");
        add_number(o, (int64_t)i);
    }
    tide_text_add(o, "}");
}

static tide_status short_of_memory(tide_ctx *ctx) {
    return tide_fail(ctx, TIDE_ENOMEM, "train: not enough memory");
}

/* The number of a token, which is made where it is not there; -1: no memory. */
static int32_t token(tide_map *m, const char *s, size_t n) {
    tide_entry *e = tide_map_put(m, s, n, (int32_t)m->n, NULL);
    return e ? e->value : -1;
}

static bool put_specials(tide_map *m, const tide_training *o) {
    bool ok = true;
    for (size_t i = 0; ok && i < o->nspecial; i++)
        ok = token(m, o->special[i], strlen(o->special[i])) >= 0;
    return ok;
}

/* -- whole words -- */

typedef struct {
    const tide_counts *c;
    const uint32_t *rank; /* of a word by its text */
} by_what;

static int by_count(const void *a, const void *b, void *what) {
    const by_what *w = what;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (tide_train_stopped()) return 0;
    if (w->c->count[x] != w->c->count[y]) return w->c->count[x] > w->c->count[y] ? -1 : 1;
    return w->rank[x] < w->rank[y] ? -1 : w->rank[x] > w->rank[y];
}

tide_status tide_train_words(tide_ctx *ctx, const tide_counts *c, const tide_training *o,
                             tide_string *out) {
    tide_map m = {0};
    uint32_t *order = tide_counts_order(c), *rank = malloc((c->words.n + 1) * sizeof *rank);
    bool ok = order && rank && put_specials(&m, o);
    if (ok) {
        for (size_t i = 0; i < c->words.n; i++) rank[order[i]] = (uint32_t)i;
        qsort_r(order, c->words.n, sizeof *order, by_count, &(by_what){c, rank});
    }
    for (size_t i = 0; ok && i < c->words.n && (int64_t)m.n < o->vocab_size; i++) {
        if (tide_train_stopped()) break;
        const tide_entry *e = &c->words.entry[order[i]];
        if (c->count[order[i]] < o->min_frequency) break;
        ok = token(&m, tide_map_text(&c->words, e), e->n) >= 0;
    }
    if (ok) tide_train_vocab(out, &m);
    tide_map_free(&m);
    free(order), free(rank);
    return ok && out->status == TIDE_OK ? TIDE_OK : short_of_memory(ctx);
}

/* -- byte-pair encoding -- */

typedef struct {
    int32_t id;
    int32_t size; /* in characters */
} piece;
typedef struct {
    piece *p; /* borrowed from one block for all words */
    uint32_t n;
    int64_t count;
} word;
typedef struct {
    uint32_t *p; /* words where a pair has come up */
    size_t n, room;
    int64_t count;
} place;
typedef struct {
    uint64_t pair;
    int64_t count;
} candidate;
typedef struct {
    tide_map tokens;
    word *word;
    size_t words;
    piece *block;
    tide_keys pairs; /* pair -> place */
    place *place;
    size_t places, place_room;
    candidate *heap;
    size_t heap_n, heap_room;
    uint64_t *touched; /* pairs that a merge has made */
    size_t ntouched, touched_room;
    uint64_t *merge;
    size_t merges, merge_room;
    bool failed;
} bpe;

static uint64_t pair_of(int32_t a, int32_t b) { return (uint64_t)(uint32_t)a << 32 | (uint32_t)b; }

static bool before(const candidate *a, const candidate *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static bool push(bpe *b, candidate c) {
    if (!tide_grow(&b->heap, &b->heap_room, b->heap_n + 1, sizeof c)) return !(b->failed = true);
    size_t i = b->heap_n++;
    for (; i > 0 && before(&c, &b->heap[(i - 1) / 2]); i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = c;
    return true;
}

static candidate pop(bpe *b) {
    const candidate top = b->heap[0], last = b->heap[--b->heap_n];
    size_t i = 0;
    for (size_t k = 1; k < b->heap_n; i = k, k = 2 * i + 1) {
        if (k + 1 < b->heap_n && before(&b->heap[k + 1], &b->heap[k])) k++;
        if (!before(&b->heap[k], &last)) break;
        b->heap[i] = b->heap[k];
    }
    b->heap[i] = last;
    return top;
}

/* The place of a pair; NULL: no memory. */
static place *place_of(bpe *b, uint64_t pair) {
    const uint64_t at = tide_keys_get(&b->pairs, pair);
    if (at != UINT64_MAX) return &b->place[at];
    if (!tide_grow(&b->place, &b->place_room, b->places + 1, sizeof *b->place) ||
        !tide_keys_put(&b->pairs, pair, b->places))
        return b->failed = true, NULL;
    b->place[b->places] = (place){0};
    return &b->place[b->places++];
}

static void change(bpe *b, int32_t left, int32_t right, int64_t by, uint32_t where) {
    const uint64_t pair = pair_of(left, right);
    place *p = place_of(b, pair);
    if (!p) return;
    p->count += by;
    if (by <= 0 || (p->n && p->p[p->n - 1] == where)) return;
    if (!tide_grow(&p->p, &p->room, p->n + 1, sizeof *p->p) ||
        !tide_grow(&b->touched, &b->touched_room, b->ntouched + 1, sizeof pair)) {
        b->failed = true;
        return;
    }
    p->p[p->n++] = where;
    b->touched[b->ntouched++] = pair;
}

/* Every `pair` in a word becomes one token; pairs that would be longer than allowed are not
 * counted. */
static void merge_in(bpe *b, uint32_t where, int32_t left, int32_t right, int32_t made,
                     int64_t most) {
    word *w = &b->word[where];
    for (uint32_t i = 0; i + 1 < w->n && !b->failed; i++) {
        if (w->p[i].id != left || w->p[i + 1].id != right) continue;
        const int32_t size = w->p[i].size + w->p[i + 1].size;
        if (i > 0) {
            change(b, w->p[i - 1].id, left, -w->count, where);
            if (w->p[i - 1].size + size < most) change(b, w->p[i - 1].id, made, w->count, where);
        }
        w->p[i] = (piece){made, size};
        memmove(w->p + i + 1, w->p + i + 2, (w->n - i - 2) * sizeof *w->p);
        w->n--;
        if (i + 1 < w->n) {
            change(b, right, w->p[i + 1].id, -w->count, where);
            if (w->p[i + 1].size + size < most) change(b, made, w->p[i + 1].id, w->count, where);
        }
    }
}

typedef struct {
    int32_t c;
    int64_t n;
} letter;
static int rarest(const void *a, const void *b) {
    const letter *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? -1 : 1) : y->c - x->c;
}
static int by_code(const void *a, const void *b) {
    return ((const letter *)a)->c - ((const letter *)b)->c;
}

/* The characters of the words, the rarest left out where there are too many, become tokens. */
static bool alphabet(bpe *b, const tide_counts *c, const tide_training *o) {
    tide_keys at = {0};
    letter *l = NULL;
    size_t n = 0, room = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < c->words.n + o->nalphabet && !tide_train_stopped(); i++) {
        const bool given = i >= c->words.n;
        const char *s =
            given ? o->alphabet[i - c->words.n] : tide_map_text(&c->words, &c->words.entry[i]);
        const char *end = s + (given ? strlen(s) : c->words.entry[i].n);
        while (ok && s < end) {
            int32_t ch;
            s += tide_utf8_get(s, end, &ch);
            uint64_t k = tide_keys_get(&at, (uint64_t)ch);
            if (k == UINT64_MAX) {
                k = n;
                ok = tide_grow(&l, &room, n + 1, sizeof *l) && tide_keys_put(&at, (uint64_t)ch, n);
                if (ok) l[n++] = (letter){ch, 0};
            }
            if (ok && l[k].n < INT64_MAX / 2) l[k].n += given ? INT64_MAX / 2 : c->count[i];
        }
    }
    size_t first = 0;
    if (ok && o->limit_alphabet >= 0 && n > (size_t)o->limit_alphabet) {
        qsort(l, n, sizeof *l, rarest);
        first = n - (size_t)o->limit_alphabet;
    }
    if (ok && n) qsort(l + first, n - first, sizeof *l, by_code);
    for (size_t i = first; ok && i < n; i++) {
        char s[4];
        ok = token(&b->tokens, s, (size_t)tide_utf8_put(s, l[i].c)) >= 0;
    }
    tide_keys_free(&at);
    free(l);
    return ok;
}

/* Words as tokens of one character, with the marks of their places. */
static bool pieces_of(bpe *b, const tide_counts *c, const tide_training *o) {
    size_t all = 0;
    for (size_t i = 0; i < c->words.n; i++) all += c->words.entry[i].n;
    uint32_t *order = tide_counts_order(c);
    tide_bytes s = {0};
    b->block = malloc((all + 1) * sizeof *b->block);
    b->word = calloc(c->words.n + 1, sizeof *b->word);
    bool ok = order && b->block && b->word;
    piece *p = b->block;
    for (size_t i = 0; ok && i < c->words.n && !tide_train_stopped(); i++) {
        const tide_entry *e = &c->words.entry[order[i]];
        const char *begin = tide_map_text(&c->words, e), *end = begin + e->n;
        b->word[i] = (word){p, 0, c->count[order[i]]};
        for (const char *at = begin, *next; ok && at < end; at = next) {
            int32_t ch;
            next = at + tide_utf8_get(at, end, &ch);
            if (!tide_map_find(&b->tokens, at, (size_t)(next - at))) continue;
            s.n = 0;
            if (at > begin && o->prefix) tide_bytes_add(&s, o->prefix, strlen(o->prefix));
            tide_bytes_add(&s, at, (size_t)(next - at));
            if (next == end && o->suffix) tide_bytes_add(&s, o->suffix, strlen(o->suffix));
            const int32_t id = s.failed ? -1 : token(&b->tokens, s.p, s.n);
            ok = id >= 0;
            *p++ = (piece){id, 1};
            b->word[i].n++;
        }
    }
    b->words = c->words.n;
    free(order), free(s.p);
    return ok;
}

static bool add_merge(bpe *b, uint64_t pair) {
    if (!tide_grow(&b->merge, &b->merge_room, b->merges + 1, sizeof pair))
        return !(b->failed = true);
    b->merge[b->merges++] = pair;
    return true;
}

static size_t characters(const char *s, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += ((unsigned char)s[i] & 0xc0) != 0x80;
    return k;
}

static tide_status grow_tokens(tide_ctx *ctx, bpe *b, const tide_training *o) {
    const int64_t most = o->max_token_length > 0 ? o->max_token_length : INT64_MAX;
    tide_bytes s = {0};
    tide_status st = TIDE_OK;
    while (!b->failed && st == TIDE_OK && (int64_t)b->tokens.n < o->vocab_size && b->heap_n) {
        candidate top = pop(b);
        place *at = place_of(b, top.pair);
        if (!at) break;
        if (top.count != at->count) { /* it has changed since */
            top.count = at->count;
            if (top.count > 0) push(b, top);
            continue;
        }
        if (top.count < 1 || top.count < o->min_frequency) break;
        const int32_t left = (int32_t)(top.pair >> 32), right = (int32_t)(top.pair & 0xffffffffu);
        const tide_entry *x = &b->tokens.entry[left], *y = &b->tokens.entry[right];
        const size_t cut = o->prefix ? strlen(o->prefix) : 0;
        const char *second = tide_map_text(&b->tokens, y);
        const bool skip = cut && y->n >= cut && !memcmp(second, o->prefix, cut);
        s.n = 0;
        tide_bytes_add(&s, tide_map_text(&b->tokens, x), x->n);
        tide_bytes_add(&s, second + (skip ? cut : 0), y->n - (skip ? cut : 0));
        if (s.failed) break;
        if (o->max_token_length > 0 && (int64_t)characters(s.p, s.n) > most) continue;
        const int32_t made = token(&b->tokens, s.p, s.n);
        if (made < 0 || !add_merge(b, top.pair)) {
            b->failed = true;
            break;
        }
        b->ntouched = 0;
        for (size_t i = 0; i < b->place[tide_keys_get(&b->pairs, top.pair)].n; i++) {
            if (tide_train_stopped()) break;
            merge_in(b, b->place[tide_keys_get(&b->pairs, top.pair)].p[i], left, right, made, most);
        }
        at = &b->place[tide_keys_get(&b->pairs, top.pair)];
        free(at->p);
        at->p = NULL, at->n = at->room = 0, at->count = 0;
        for (size_t i = 0; i < b->ntouched; i++) {
            place *t = place_of(b, b->touched[i]);
            if (t && t->count > 0) push(b, (candidate){b->touched[i], t->count});
        }
        st = tide_go_on(ctx);
    }
    b->failed |= s.failed;
    free(s.p);
    return st;
}

static void write_bpe(tide_string *out, const bpe *b, bool wordpiece) {
    tide_train_vocab(out, &b->tokens);
    if (wordpiece) return;
    tide_text_add(out, ", \"merges\": [");
    for (size_t i = 0; i < b->merges; i++) {
        const tide_map *m = &b->tokens;
        tide_text_add(out, i ? ", [" : "[");
        tide_text_string(out, tide_map_text(m, &m->entry[b->merge[i] >> 32]));
        tide_text_add(out, ", ");
        tide_text_string(out, tide_map_text(m, &m->entry[b->merge[i] & 0xffffffffu]));
        tide_text_add(out, "]");
    }
    tide_text_add(out, "]");
}

tide_status tide_train_bpe(tide_ctx *ctx, bool wordpiece, const tide_counts *c,
                           const tide_training *o, tide_string *out) {
    bpe b = {0};
    tide_status st = TIDE_OK;
    if (!put_specials(&b.tokens, o) || !alphabet(&b, c, o) || !pieces_of(&b, c, o)) b.failed = true;
    for (size_t i = 0; !b.failed && i < b.words && !tide_train_stopped(); i++)
        for (uint32_t k = 0; k + 1 < b.word[i].n && !b.failed; k++)
            change(&b, b.word[i].p[k].id, b.word[i].p[k + 1].id, b.word[i].count, (uint32_t)i);
    for (uint64_t i = 0; !b.failed && i < b.pairs.slots && !tide_train_stopped(); i++)
        if (b.pairs.key[i] != UINT64_MAX)
            push(&b, (candidate){b.pairs.key[i], b.place[b.pairs.value[i]].count});
    if (!b.failed) st = grow_tokens(ctx, &b, o);
    if (!b.failed && st == TIDE_OK) write_bpe(out, &b, wordpiece);
    for (size_t i = 0; i < b.places; i++) free(b.place[i].p);
    tide_map_free(&b.tokens), tide_keys_free(&b.pairs);
    free(b.word), free(b.block), free(b.place), free(b.heap), free(b.touched);
    free(b.merge);
    if (st != TIDE_OK) return st;
    return b.failed || out->status != TIDE_OK ? short_of_memory(ctx) : TIDE_OK;
}

tide_status tide_train(tide_ctx *ctx, tide_model_kind kind, const tide_counts *c,
                       const tide_training *o, tide_string *out) {
    const tide_status st = kind == TIDE_BPE || kind == TIDE_WORDPIECE
        ? tide_train_bpe(ctx, kind == TIDE_WORDPIECE, c, o, out)
        : kind == TIDE_WORDLEVEL ? tide_train_words(ctx, c, o, out)
                                 : tide_train_unigram(ctx, c, o, out);
    const tide_status stopped = tide_go_on(ctx); /* before what a loop that ended early says */
    return stopped != TIDE_OK ? stopped : st;
}
