/* Owns models: pieces of text into tokens. Byte-pair encoding (Sennrich, Haddow and Birch 2016),
 * WordPiece (Wu and others 2016), Unigram (Kudo 2018), whole words.
 *
 * BPE joins the pair of the lowest rank, the leftmost of equals, until none is left: each join
 * makes one symbol less, whatever the ranks say, so that it ends. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_WORDS 65536 /* pieces whose tokens are remembered, */
#define KEPT_TOKENS 1000000
#define KEPT_BYTES 256 /* and how long they may be */
#define SCANNED 48     /* symbols that are scanned for the best pair; more are kept in a heap */

static bool hit(tide_encoder *e, int32_t id, size_t first, size_t end) {
    if (!tide_grow(&e->out, &e->out_room, e->outs + 1, sizeof *e->out))
        return e->failed = true, false;
    e->out[e->outs++] = (tide_hit){id, (uint32_t)first, (uint32_t)end};
    return true;
}

static int32_t id_of(const tide_tokenizer *t, const char *s, size_t n) {
    const tide_entry *e = tide_map_find(&t->vocab, s, n);
    return e ? e->value : -1;
}

/* Whether Ctrl-C came, asked now and then in what may take long. */
static bool stopped(tide_encoder *e, size_t i) {
    if ((i & 0x3fff) == 0x3fff && __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED)) e->failed = true;
    return e->failed;
}

/* -- BPE -- */

static bool symbol(tide_encoder *e, size_t at, int32_t id, uint32_t n) {
    if (!tide_grow(&e->symbol, &e->symbol_room, at + 1, sizeof *e->symbol))
        return e->failed = true, false;
    e->symbol[at] = (tide_symbol){.id = id, .n = n};
    return true;
}

/* A character with what stands before it within a word and what ends a word: its token. */
static int32_t char_id(const tide_tokenizer *t, tide_bytes *b, const char *s, size_t n, bool first,
                       bool last) {
    if ((first || !t->prefix) && (!last || !t->suffix)) return id_of(t, s, n);
    b->n = 0;
    if (!first && t->prefix) tide_bytes_add(b, t->prefix, strlen(t->prefix));
    tide_bytes_add(b, s, n);
    if (last && t->suffix) tide_bytes_add(b, t->suffix, strlen(t->suffix));
    return b->failed ? -1 : id_of(t, b->p, b->n);
}

static size_t symbols_of(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    size_t k = 0;
    int32_t unk = -1;
    uint32_t unk_n = 0;
    if (t->bytes) {
        for (size_t i = 0; i < n; i++) {
            const int32_t id = t->byte_id[(unsigned char)s[i]];
            if (id < 0 && t->unk_id < 0) continue;
            if (id < 0 && unk >= 0 && t->fuse_unk) {
                e->symbol[k - 1].n++;
                continue;
            }
            unk = id < 0 ? t->unk_id : -1;
            if (!symbol(e, k++, id < 0 ? t->unk_id : id, 1)) return 0;
        }
        return k;
    }
    tide_bytes b = {0};
    for (size_t i = 0; i < n && !e->failed;) {
        int32_t c;
        const size_t first = i;
        i += (size_t)tide_utf8_get(s + i, s + n, &c);
        const int32_t id = char_id(t, &b, s + first, i - first, first == 0, i == n);
        if (id >= 0) {
            if (unk >= 0 && !symbol(e, k++, unk, unk_n)) break;
            unk = -1;
            symbol(e, k++, id, (uint32_t)(i - first));
            continue;
        }
        bool bytes = t->byte_fallback;
        for (size_t j = first; bytes && j < i; j++) bytes = t->byte_id[(unsigned char)s[j]] >= 0;
        if (bytes) {
            for (size_t j = first; j < i; j++) symbol(e, k++, t->byte_id[(unsigned char)s[j]], 1);
        } else if (t->unk_id >= 0) {
            if (unk >= 0 && t->fuse_unk) {
                unk_n += (uint32_t)(i - first);
                continue;
            }
            if (unk >= 0 && !symbol(e, k++, unk, unk_n)) break;
            unk = t->unk_id, unk_n = (uint32_t)(i - first);
        }
    }
    if (unk >= 0) symbol(e, k++, unk, unk_n);
    e->failed |= b.failed;
    free(b.p);
    return e->failed ? 0 : k;
}

/* A number from 0 to 1, for dropout. */
static double draw(tide_encoder *e) {
    uint64_t z = e->draws += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static void rank(const tide_tokenizer *t, tide_symbol *a, const tide_symbol *b) {
    const uint64_t v = tide_keys_get(&t->merges, (uint64_t)(uint32_t)a->id << 32 | (uint32_t)b->id);
    a->rank = v == UINT64_MAX ? -1 : (int64_t)(v >> 32), a->merged = (int32_t)(v & 0xffffffffu);
}

/* Few symbols: they stay in an array, out of which those that are joined go. */
static size_t join_few(const tide_tokenizer *t, tide_encoder *e, size_t n) {
    tide_symbol *s = e->symbol;
    for (size_t i = 0; i + 1 < n; i++) rank(t, &s[i], &s[i + 1]);
    s[n - 1].rank = -1;
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (s[i].rank >= 0 && (best == n || s[i].rank < s[best].rank) &&
                (t->dropout <= 0 || draw(e) >= t->dropout))
                best = i;
        if (best == n) return n;
        s[best].id = s[best].merged, s[best].n += s[best + 1].n;
        memmove(s + best + 1, s + best + 2, (n - best - 2) * sizeof *s);
        n--;
        if (best + 1 < n) rank(t, &s[best], &s[best + 1]);
        else s[best].rank = -1;
        if (best > 0) rank(t, &s[best - 1], &s[best]);
    }
}

/* Many: a heap of pairs by rank, then place; what has changed since it was put there is passed. */
static bool less(const tide_encoder *e, size_t a, size_t b) {
    return e->heap[a].rank != e->heap[b].rank ? e->heap[a].rank < e->heap[b].rank
                                              : e->heap[a].at < e->heap[b].at;
}
static void exchange(tide_encoder *e, size_t a, size_t b) {
    const tide_pair_at c = e->heap[a];
    e->heap[a] = e->heap[b], e->heap[b] = c;
}
static bool heap_put(const tide_tokenizer *t, tide_encoder *e, int32_t at) {
    tide_symbol *s = &e->symbol[at];
    if (s->next < 0) return true;
    rank(t, s, &e->symbol[s->next]);
    if (s->rank < 0) return true;
    if (!tide_grow(&e->heap, &e->heap_room, e->heap_n + 1, sizeof *e->heap))
        return e->failed = true, false;
    size_t i = e->heap_n++;
    e->heap[i] = (tide_pair_at){s->rank, at, s->id, e->symbol[s->next].id};
    for (; i > 0 && less(e, i, (i - 1) / 2); i = (i - 1) / 2) exchange(e, i, (i - 1) / 2);
    return true;
}
static void heap_pop(tide_encoder *e) {
    e->heap[0] = e->heap[--e->heap_n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < e->heap_n; k++)
            if (less(e, k, least)) least = k;
        if (least == i) return;
        exchange(e, i, least), i = least;
    }
}

static size_t join_many(const tide_tokenizer *t, tide_encoder *e, size_t n) {
    tide_symbol *s = e->symbol;
    e->heap_n = 0;
    for (size_t i = 0; i < n; i++)
        s[i].before = (int32_t)i - 1, s[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    for (size_t i = 0; i + 1 < n; i++)
        if (!heap_put(t, e, (int32_t)i)) return 0;
    for (size_t turn = 0; e->heap_n && !stopped(e, turn); turn++) {
        const tide_pair_at top = e->heap[0];
        heap_pop(e);
        tide_symbol *a = &s[top.at];
        if (a->id != top.left_id || a->next < 0 || a->n == 0 || s[a->next].id != top.right_id)
            continue;
        if (t->dropout > 0 && draw(e) < t->dropout) continue;
        tide_symbol *b = &s[a->next];
        rank(t, a, b);
        a->id = a->merged, a->n += b->n, a->next = b->next;
        b->n = 0, b->id = -1;
        if (a->next >= 0) s[a->next].before = top.at;
        heap_put(t, e, top.at);
        if (a->before >= 0) heap_put(t, e, a->before);
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].n) s[k++] = s[i];
    return k;
}

static bool bpe(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    if (t->ignore_merges) {
        int32_t id;
        if (t->bytes) {
            tide_bytes b = {0};
            for (size_t i = 0; i < n; i++) tide_bytes_char(&b, tide_byte_char((unsigned char)s[i]));
            id = b.failed ? -1 : id_of(t, b.p, b.n);
            free(b.p);
        } else {
            id = id_of(t, s, n);
        }
        if (id >= 0) return hit(e, id, 0, n);
    }
    size_t k = symbols_of(t, e, s, n), at = 0;
    if (k > 1) k = k <= SCANNED ? join_few(t, e, k) : join_many(t, e, k);
    for (size_t i = 0; i < k; i++) {
        if (!hit(e, e->symbol[i].id, at, at + e->symbol[i].n)) return false;
        at += e->symbol[i].n;
    }
    return !e->failed;
}

/* -- WordPiece: the longest beginning, again and again -- */

static bool wordpiece(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    size_t at = 0;
    while (chars <= t->most_chars && at < n) {
        int32_t id;
        const size_t k = tide_trie_longest(at ? &t->tail : &t->head, s + at, n - at, &id);
        if (!k) break;
        if (!hit(e, id, at, at + k)) return false;
        at += k;
    }
    if (at == n && n) return true;
    e->outs = 0;
    return n == 0 || t->unk_id < 0 ? n == 0 ||
            (e->why = "a word has no tokens, and there is no unk_token", e->failed = true, false)
                                   : hit(e, t->unk_id, 0, n);
}

/* -- Unigram: the most likely way to cut, by dynamic programming (Viterbi) -- */

static bool unigram(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    if (!tide_grow(&e->best, &e->best_room, n + 1, sizeof *e->best)) return e->failed = true, false;
    for (size_t i = 0; i <= n; i++) e->best[i] = (tide_best){0, -2, 0};
    for (size_t i = 0; i < n;) {
        const double here = e->best[i].score;
        if (stopped(e, i)) return false;
        const size_t k = (size_t)tide_utf8_length((unsigned char)s[i]);
        bool single = false;
        uint32_t node = 0;
        for (size_t j = i; j < n && t->head.nodes; j++) {
            node = tide_trie_step(&t->head, node, (unsigned char)s[j]);
            if (!node) break;
            const int32_t id = t->head.value[node];
            if (id < 0) continue;
            tide_best *to = &e->best[j + 1];
            const double score = t->score[id] + here;
            if (to->id == -2 || score > to->score) *to = (tide_best){score, id, (uint32_t)i};
            single |= j + 1 - i == k;
        }
        if (!single) {
            tide_best *to = &e->best[i + k];
            const double score = t->unk_score + here;
            if (to->id == -2 || score > to->score) *to = (tide_best){score, t->unk_id, (uint32_t)i};
        }
        i += k;
    }
    /* from the end: unknown characters that stand together are one */
    for (size_t end = n; end > 0;) {
        size_t from = e->best[end].from;
        const int32_t id = e->best[end].id;
        while (id == t->unk_id && from > 0 && e->best[from].id == t->unk_id)
            from = e->best[from].from;
        if (!hit(e, id, from, end)) return false;
        end = from;
    }
    for (size_t i = 0, k = e->outs; i + 1 < k; i++, k--) {
        const tide_hit h = e->out[i];
        e->out[i] = e->out[k - 1], e->out[k - 1] = h;
    }
    /* what is unknown may be a token by its text, or bytes */
    const size_t outs = e->outs;
    bool any = false;
    for (size_t i = 0; i < outs && !any; i++) any = e->out[i].id == t->unk_id;
    if (!any) return true;
    tide_hit *copy = malloc(outs * sizeof *copy);
    if (!copy) return e->failed = true, false;
    memcpy(copy, e->out, outs * sizeof *copy);
    e->outs = 0;
    for (size_t i = 0; i < outs && !e->failed; i++) {
        tide_hit h = copy[i];
        if (h.id == t->unk_id) {
            const int32_t id = id_of(t, s + h.first, h.end - h.first);
            bool bytes = id < 0 && t->byte_fallback;
            for (uint32_t j = h.first; bytes && j < h.end; j++)
                bytes = t->byte_id[(unsigned char)s[j]] >= 0;
            for (uint32_t j = h.first; bytes && j < h.end; j++)
                hit(e, t->byte_id[(unsigned char)s[j]], h.first, h.end);
            if (bytes) continue;
            if (id >= 0) h.id = id;
            else if (t->unk_id < 0)
                e->why = "a piece is unknown, and there is no unk_id", e->failed = true;
        }
        hit(e, h.id, h.first, h.end);
    }
    free(copy);
    return !e->failed;
}

static bool encode(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    e->outs = 0;
    switch (t->kind) {
    case TIDE_BPE: return bpe(t, e, s, n);
    case TIDE_WORDPIECE: return wordpiece(t, e, s, n);
    case TIDE_UNIGRAM: return unigram(t, e, s, n);
    default: {
        const int32_t id = id_of(t, s, n);
        if (id < 0 && t->unk_id < 0)
            return e->why = "a word is unknown, and there is no unk_token", e->failed = true, false;
        return hit(e, id < 0 ? t->unk_id : id, 0, n);
    }
    }
}

bool tide_model_encode(const tide_tokenizer *t, tide_encoder *e, const char *s, size_t n) {
    if (e->seen_for != t) tide_map_clear(&e->seen), e->nkept = 0, e->seen_for = t;
    if (n > KEPT_BYTES || t->dropout > 0 || t->kind == TIDE_WORDLEVEL) return encode(t, e, s, n);
    if (e->seen.n >= KEPT_WORDS || e->nkept >= KEPT_TOKENS) tide_map_clear(&e->seen), e->nkept = 0;
    bool fresh;
    tide_entry *w = tide_map_put(&e->seen, s, n, (int32_t)e->nkept, &fresh);
    if (!w) return e->failed = true, false;
    if (!fresh) {
        const size_t k = e->kept[w->value].first;
        if (!tide_grow(&e->out, &e->out_room, k, sizeof *e->out)) return e->failed = true, false;
        if (k) memcpy(e->out, e->kept + w->value + 1, k * sizeof *e->out);
        return e->outs = k, true;
    }
    if (!encode(t, e, s, n) ||
        !tide_grow(&e->kept, &e->kept_room, e->nkept + e->outs + 1, sizeof *e->kept)) {
        e->seen_for = NULL; /* the last entry has no tokens */
        return e->failed = true, false;
    }
    e->kept[e->nkept] = (tide_hit){0, (uint32_t)e->outs, 0};
    if (e->outs) memcpy(e->kept + e->nkept + 1, e->out, e->outs * sizeof *e->out);
    e->nkept += e->outs + 1;
    return true;
}
