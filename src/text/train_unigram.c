/* Owns the training of Unigram models (Kudo 2018): many substrings to begin with, whose
 * probabilities are estimated by expectation and maximization; those whose loss costs the least go,
 * until few enough are left. As in SentencePiece and in Hugging Face's trainer. */
#define _GNU_SOURCE /* qsort_r */
#include "../point.h"
#include "train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 1000000
#define RARE 0.5 /* expected occurrences below which a piece goes */

typedef struct {
    tide_map text; /* of the pieces; value: their place */
    double *score; /* [n] */
    size_t n, room;
    tide_trie trie;
    double least;
} pieces;

typedef struct {
    tide_ctx *ctx;
    const tide_counts *c;
    uint32_t *order;
    const tide_training *o;
    pieces p;
    double *alpha, *beta; /* of the lattice: by byte */
    tide_best *best;
    size_t alpha_room, beta_room, best_room;
    bool failed;
} work;

static void free_pieces(pieces *p) {
    tide_map_free(&p->text), tide_trie_free(&p->trie);
    free(p->score);
    *p = (pieces){0};
}

static bool add_piece(pieces *p, const char *s, size_t n, double score) {
    bool fresh;
    if (!tide_grow(&p->score, &p->room, p->n + 1, sizeof *p->score) ||
        !tide_map_put(&p->text, s, n, (int32_t)p->n, &fresh))
        return false;
    if (fresh) p->score[p->n++] = score;
    return true;
}

static const char *text_of(const pieces *p, size_t i, size_t *n) {
    *n = p->text.entry[i].n;
    return tide_map_text(&p->text, &p->text.entry[i]);
}

/* The tree of the pieces, and the lowest of their scores. */
static bool ready(pieces *p) {
    tide_trie_free(&p->trie);
    p->least = 0;
    for (size_t i = 0; i < p->n && !tide_train_stopped(); i++) {
        size_t n;
        const char *s = text_of(p, i, &n);
        if (!tide_trie_put(&p->trie, s, n, (int32_t)i)) return false;
        if (i == 0 || p->score[i] < p->least) p->least = p->score[i];
    }
    return true;
}

/* -- the first pieces: all characters, and what comes up more than once -- */

typedef struct {
    const char *s;
    size_t n;
    int64_t longest; /* characters that are compared */
} flat;

static size_t bytes_of(const flat *f, size_t at, int64_t chars) {
    size_t i = at;
    while (chars-- > 0 && i < f->n && f->s[i])
        i += (size_t)tide_utf8_length((unsigned char)f->s[i]);
    return i - at;
}

/* Suffixes by their beginnings; a NUL ends a word. */
static int by_suffix(const void *a, const void *b, void *what) {
    const flat *f = what;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const char *p = f->s + x, *q = f->s + y;
    if (tide_train_stopped()) return 0;
    for (int64_t bytes = 4 * f->longest; bytes > 0 && *p == *q && *p; bytes--) p++, q++;
    if (*p != *q) return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Characters that two suffixes share, `longest` + 1 at most. The end of a word is one, too: what
 * nowhere goes on within a word is no piece to begin with, as in SentencePiece. */
static int64_t shared(const flat *f, size_t x, size_t y) {
    int64_t n = 0;
    while (n <= f->longest && f->s[x] && f->s[y]) {
        const size_t k = (size_t)tide_utf8_length((unsigned char)f->s[x]);
        if (memcmp(f->s + x, f->s + y, k) != 0) break;
        x += k, y += k, n++;
    }
    return n + (n <= f->longest && !f->s[x] && !f->s[y]);
}

/* Whether a suffix has so many characters before the end of its word. */
static bool has_chars(const flat *f, size_t at, int64_t chars) {
    for (; chars > 0 && f->s[at]; chars--) at += (size_t)tide_utf8_length((unsigned char)f->s[at]);
    return chars == 0;
}

typedef struct {
    uint32_t at;
    int64_t chars, score;
} seed;
typedef struct {
    seed *p;
    size_t n, room;
} seeds;

static int by_score(const void *a, const void *b, void *what) {
    const flat *f = what;
    const seed *x = a, *y = b;
    if (tide_train_stopped()) return 0;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    const size_t n = bytes_of(f, x->at, x->chars), m = bytes_of(f, y->at, y->chars);
    const int c = memcmp(f->s + x->at, f->s + y->at, n < m ? n : m);
    return c ? -c : n > m ? -1 : n < m; /* of equals the last by text */
}

/* Substrings that can go on in more than one way: the inner nodes of the tree of suffixes. */
static bool find_seeds(const flat *f, seeds *out) {
    size_t n = 0;
    uint32_t *at = malloc((f->n + 1) * sizeof *at);
    struct {
        int64_t chars;
        size_t first;
    } *open = malloc(((size_t)f->longest + 3) * sizeof *open);
    bool ok = at && open;
    if (ok) {
        for (size_t i = 0; i < f->n; i++)
            if (f->s[i] && ((unsigned char)f->s[i] & 0xc0) != 0x80) at[n++] = (uint32_t)i;
        qsort_r(at, n, sizeof *at, by_suffix, (void *)f);
        size_t depth = 0;
        open[depth].chars = 0, open[depth].first = 0;
        for (size_t i = 1; i <= n && ok && !tide_train_stopped(); i++) {
            const int64_t l = i < n ? shared(f, at[i - 1], at[i]) : 0;
            size_t first = i - 1;
            while (ok && open[depth].chars > l) {
                first = open[depth].first;
                const int64_t chars = open[depth].chars;
                if (chars > 1 && chars <= f->longest && has_chars(f, at[first], chars)) {
                    ok = tide_grow(&out->p, &out->room, out->n + 1, sizeof *out->p);
                    if (ok)
                        out->p[out->n++] = (seed){at[first], chars, (int64_t)(i - first) * chars};
                }
                depth--;
            }
            if (open[depth].chars < l) {
                depth++;
                open[depth].chars = l, open[depth].first = first;
            }
        }
    }
    free(at), free(open);
    return ok;
}

typedef struct {
    int32_t c;
    int64_t n;
} letter;
static int most_letter(const void *a, const void *b) {
    const letter *x = a, *y = b;
    return x->n != y->n ? (x->n > y->n ? -1 : 1) : y->c - x->c;
}

static letter *letters_of(const work *w, size_t *n) {
    tide_keys at = {0};
    letter *l = NULL;
    size_t room = 0;
    bool ok = true;
    *n = 0;
    for (size_t i = 0; ok && i < w->c->words.n + w->o->nalphabet && !tide_train_stopped(); i++) {
        const bool given = i >= w->c->words.n;
        const char *s = given ? w->o->alphabet[i - w->c->words.n]
                              : tide_map_text(&w->c->words, &w->c->words.entry[i]);
        const char *end = s + (given ? strlen(s) : w->c->words.entry[i].n);
        while (ok && s < end) {
            int32_t c;
            s += tide_utf8_get(s, end, &c);
            uint64_t k = tide_keys_get(&at, (uint64_t)c);
            if (k == UINT64_MAX) {
                k = *n;
                ok = tide_grow(&l, &room, *n + 1, sizeof *l) && tide_keys_put(&at, (uint64_t)c, *n);
                if (ok) l[(*n)++] = (letter){c, 0};
            }
            if (ok && !given) l[k].n += w->c->count[i];
        }
    }
    tide_keys_free(&at);
    if (!ok) return free(l), NULL;
    if (*n) qsort(l, *n, sizeof *l, most_letter);
    return l;
}

static bool first_pieces(work *w, const letter *l, size_t nletters) {
    flat f = {.longest = w->o->max_piece_length};
    tide_bytes all = {0};
    seeds s = {0};
    for (size_t i = 0; i < w->c->words.n && !tide_train_stopped(); i++) {
        const tide_entry *e = &w->c->words.entry[w->order[i]];
        tide_bytes_add(&all, tide_map_text(&w->c->words, e), e->n), tide_bytes_add(&all, "", 1);
    }
    tide_bytes_add(&all, "", 1);
    f.s = all.p, f.n = all.n;
    bool ok = !all.failed && all.n < UINT32_MAX && find_seeds(&f, &s);
    if (ok && s.n) qsort_r(s.p, s.n, sizeof *s.p, by_score, &f);
    double sum = 0;
    for (size_t i = 0; ok && i < nletters; i++) {
        char c[4];
        if (l[i].n == 0) continue; /* asked for, but not in the text */
        ok = add_piece(&w->p, c, (size_t)tide_utf8_put(c, l[i].c), (double)l[i].n);
        sum += (double)l[i].n;
    }
    for (size_t i = 0; ok && i < s.n && w->p.n < SEEDS && !tide_train_stopped(); i++) {
        ok = add_piece(&w->p, f.s + s.p[i].at, bytes_of(&f, s.p[i].at, s.p[i].chars),
                       (double)s.p[i].score);
        sum += (double)s.p[i].score;
    }
    for (size_t i = 0; ok && i < w->p.n; i++) w->p.score[i] = log(w->p.score[i]) - log(sum);
    free(all.p), free(s.p);
    return ok && ready(&w->p);
}

/* -- expectation and maximization -- */

static double log_sum(double a, double b) {
    if (a == -INFINITY) return b;
    if (b == -INFINITY) return a;
    const double high = a > b ? a : b, low = a > b ? b : a;
    return high + log1p(exp(low - high));
}

/* Calls for every piece of the lattice of a text: id -1 is an unknown character. */
typedef void arc(work *, void *to, size_t from, size_t end, int32_t id, double score);
static void arcs(work *w, const char *s, size_t n, arc *f, void *to) {
    for (size_t i = 0, k; i < n; i += k) {
        bool single = false;
        uint32_t node = 0;
        k = (size_t)tide_utf8_length((unsigned char)s[i]);
        for (size_t j = i; j < n && w->p.trie.nodes; j++) {
            node = tide_trie_step(&w->p.trie, node, (unsigned char)s[j]);
            if (!node) break;
            const int32_t id = w->p.trie.value[node];
            if (id < 0) continue;
            f(w, to, i, j + 1, id, w->p.score[id]);
            single |= j + 1 - i == k;
        }
        if (!single) f(w, to, i, i + k, -1, w->p.least - 10);
    }
}

static void forward(work *w, void *to, size_t from, size_t end, int32_t id, double score) {
    (void)to, (void)id;
    w->alpha[end] = log_sum(w->alpha[end], w->alpha[from] + score);
}

typedef struct {
    double *expected, z, freq;
} marginal;
static void add_marginal(work *w, void *to, size_t from, size_t end, int32_t id, double score) {
    marginal *m = to;
    if (id >= 0) m->expected[id] += m->freq * exp(w->alpha[from] + score + w->beta[end] - m->z);
}

static void backward(work *w, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) w->beta[i] = -INFINITY;
    w->beta[n] = 0;
    for (size_t i = n; i-- > 0;) {
        if (((unsigned char)s[i] & 0xc0) == 0x80) continue;
        bool single = false;
        uint32_t node = 0;
        const size_t k = (size_t)tide_utf8_length((unsigned char)s[i]);
        for (size_t j = i; j < n && w->p.trie.nodes; j++) {
            node = tide_trie_step(&w->p.trie, node, (unsigned char)s[j]);
            if (!node) break;
            const int32_t id = w->p.trie.value[node];
            if (id < 0) continue;
            w->beta[i] = log_sum(w->beta[i], w->p.score[id] + w->beta[j + 1]);
            single |= j + 1 - i == k;
        }
        if (!single) w->beta[i] = log_sum(w->beta[i], w->p.least - 10 + w->beta[i + k]);
    }
}

static const char *word_of(const work *w, size_t i, size_t *n, double *freq) {
    const tide_entry *e = &w->c->words.entry[w->order[i]];
    *n = e->n, *freq = (double)w->c->count[w->order[i]];
    return tide_map_text(&w->c->words, e);
}

static bool expect(work *w, double *expected) {
    for (size_t i = 0; i < w->p.n; i++) expected[i] = 0;
    for (size_t i = 0; i < w->c->words.n; i++) {
        marginal m = {.expected = expected};
        if (tide_train_stopped()) return true;
        size_t n;
        const char *s = word_of(w, i, &n, &m.freq);
        if (!tide_grow(&w->alpha, &w->alpha_room, n + 1, sizeof *w->alpha) ||
            !tide_grow(&w->beta, &w->beta_room, n + 1, sizeof *w->beta))
            return false;
        for (size_t k = 0; k <= n; k++) w->alpha[k] = k ? -INFINITY : 0;
        arcs(w, s, n, forward, NULL);
        backward(w, s, n);
        m.z = w->alpha[n];
        arcs(w, s, n, add_marginal, &m);
    }
    return true;
}

/* The logarithm's derivative of the gamma function, for x > 0 (asymptotic series). */
static double digamma(double x) {
    double result = 0;
    for (; x < 7; x++) result -= 1 / x;
    x -= 0.5;
    const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
    return result + log(x) + 1.0 / 24 * xx2 - 7.0 / 960 * xx4 + 31.0 / 8064 * xx4 * xx2 -
        127.0 / 30720 * xx4 * xx4;
}

static bool maximize(work *w, const double *expected) {
    pieces to = {0};
    double sum = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < w->p.n && !tide_train_stopped(); i++) {
        size_t n;
        const char *s = text_of(&w->p, i, &n);
        if (expected[i] < RARE) continue;
        ok = add_piece(&to, s, n, expected[i]);
        sum += expected[i];
    }
    const double log_of = digamma(sum);
    for (size_t i = 0; ok && i < to.n; i++) to.score[i] = digamma(to.score[i]) - log_of;
    free_pieces(&w->p);
    w->p = to;
    return ok && ready(&w->p);
}

/* -- pruning -- */

static void better(work *w, void *to, size_t from, size_t end, int32_t id, double score) {
    const int32_t but = to ? *(const int32_t *)to : -1;
    if (to && id == but) return;
    tide_best *b = &w->best[end];
    if (w->best[from].id == -2) return;
    const double s = w->best[from].score + score;
    if (b->id == -2 || s > b->score) *b = (tide_best){s, id, (uint32_t)from};
}

/* The best way through a text, without one piece if `but` is given; false: no memory. */
static bool viterbi(work *w, const char *s, size_t n, const int32_t *but) {
    if (!tide_grow(&w->best, &w->best_room, n + 1, sizeof *w->best)) return false;
    for (size_t i = 0; i <= n; i++) w->best[i] = (tide_best){0, i ? -2 : -1, 0};
    arcs(w, s, n, better, (void *)but);
    return true;
}

typedef struct {
    size_t id;
    double loss;
} costing;
static int by_loss(const void *a, const void *b) {
    const costing *x = a, *y = b;
    if (x->loss != y->loss) return x->loss > y->loss ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool prune(work *w, size_t wanted) {
    pieces *p = &w->p, to = {0};
    double *freq = calloc(p->n + 1, sizeof *freq);
    costing *costs = malloc((p->n + 1) * sizeof *costs);
    bool ok = freq && costs;
    double all = 0, unknown = 0;
    size_t ncosts = 0;
    for (size_t i = 0; ok && i < w->c->words.n && !tide_train_stopped(); i++) {
        size_t n;
        double f;
        const char *s = word_of(w, i, &n, &f);
        all += f;
        ok = viterbi(w, s, n, NULL);
        for (size_t end = n; ok && end > 0; end = w->best[end].from) {
            const int32_t id = w->best[end].id;
            if (id < 0) unknown += f;
            else freq[id] += f;
        }
    }
    double sum = unknown;
    for (size_t i = 0; ok && i < p->n; i++) sum += freq[i];
    for (size_t i = 0; ok && i < p->n && !tide_train_stopped(); i++) {
        size_t n;
        const char *s = text_of(p, i, &n);
        int32_t self = (int32_t)i;
        /* how its text would be cut if it was not there */
        ok = viterbi(w, s, n, NULL);
        const bool whole = ok && w->best[n].from == 0;
        ok = ok && viterbi(w, s, n, &self);
        if (!ok) break;
        const bool cut = w->best[n].id != -2;
        const bool keep = !cut || (whole && (size_t)tide_utf8_length((unsigned char)s[0]) == n);
        if (freq[i] == 0 && !keep && !whole) continue;
        if (!whole && !keep) {
            ok = add_piece(&to, s, n, p->score[i]);
            continue;
        }
        if (keep) {
            ok = add_piece(&to, s, n, p->score[i]);
            continue;
        }
        if (freq[i] == 0) continue;
        size_t parts = 0;
        for (size_t end = n; end > 0; end = w->best[end].from) parts++;
        const double log_alt = log(sum + freq[i] * (double)(parts - 1));
        ok = tide_grow(&w->alpha, &w->alpha_room, parts, sizeof *w->alpha);
        if (!ok) break;
        size_t at = parts;
        for (size_t end = n; end > 0; end = w->best[end].from) {
            const int32_t id = w->best[end].id;
            w->alpha[--at] = log((id < 0 ? unknown : freq[id]) + freq[i]) - log_alt;
        }
        double alt = 0; /* from the first to the last: losses that are equal stay so, to the bit */
        for (; at < parts; at++) alt += w->alpha[at];
        costs[ncosts++] = (costing){i, freq[i] / all * (log(freq[i]) - log(sum) - alt)};
    }
    if (ok && ncosts) qsort(costs, ncosts, sizeof *costs, by_loss);
    size_t left =
        (size_t)((double)(p->n + 1) * w->o->shrinking_factor); /* the unknown one counts */
    if (left < wanted + 1) left = wanted + 1;
    left--;
    for (size_t i = 0; ok && i < ncosts && to.n < left && !tide_train_stopped(); i++) {
        size_t n;
        const char *s = text_of(p, costs[i].id, &n);
        ok = add_piece(&to, s, n, p->score[costs[i].id]);
    }
    free(freq), free(costs);
    free_pieces(p);
    *p = to;
    return ok && ready(p);
}

/* -- the end: all characters, then the likeliest, as many as were asked for -- */

typedef struct {
    size_t at;
    double score;
} ranked;
static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void add_entry(tide_string *out, const char *s, double score, bool first) {
    char number[40];
    const tide_point point = tide_point_begin();
    snprintf(number, sizeof number, "%.17g", score);
    tide_point_end(point);
    tide_text_add(out, first ? "[" : ", ["), tide_text_string(out, s);
    tide_text_add(out, ", "), tide_text_add(out, number);
    tide_text_add(out, strpbrk(number, ".e") ? "]" : ".0]");
}

static bool write(work *w, const letter *l, size_t nletters, tide_string *out) {
    pieces to = {0};
    const tide_training *o = w->o;
    double penalty = 0;
    bool ok = true;
    int64_t unk = -1;
    for (size_t i = 0; o->unk && i < o->nspecial; i++)
        if (unk < 0 && !strcmp(o->special[i], o->unk)) unk = (int64_t)i;
    const bool need = o->unk && unk < 0;
    const int64_t room = o->vocab_size - (int64_t)o->nspecial - need;
    for (size_t i = 0; ok && i < nletters; i++) {
        char c[5];
        const size_t n = (size_t)tide_utf8_put(c, l[i].c);
        const tide_entry *e = tide_map_find(&w->p.text, c, n);
        ok = add_piece(&to, c, n, e ? w->p.score[e->value] : w->p.least + penalty);
        if (!e) penalty += 0.0001;
    }
    for (size_t i = 0; ok && i < w->p.n && (int64_t)to.n < room && !tide_train_stopped(); i++) {
        size_t n;
        const char *s = text_of(&w->p, i, &n);
        ok = add_piece(&to, s, n, w->p.score[i]);
    }
    ranked *r = malloc((to.n + 1) * sizeof *r);
    ok = ok && r;
    if (ok) {
        for (size_t i = 0; i < to.n; i++) r[i] = (ranked){i, to.score[i]};
        qsort(r, to.n, sizeof *r, by_rank);
        char number[48];
        tide_text_add(out, "\"unk_id\": ");
        snprintf(number, sizeof number, "%lld", (long long)(need ? 0 : unk));
        tide_text_add(out, o->unk ? number : "null"), tide_text_add(out, ", \"vocab\": [");
        bool first = true;
        if (need) add_entry(out, o->unk, 0, true), first = false;
        for (size_t i = 0; i < o->nspecial; i++, first = false)
            add_entry(out, o->special[i], 0, first);
        for (size_t i = 0; i < to.n && !tide_train_stopped(); i++, first = false) {
            size_t n;
            const char *s = text_of(&to, r[i].at, &n);
            if (!tide_map_find(&to.text, s, n)) continue;
            bool special = need && !strcmp(s, o->unk);
            for (size_t k = 0; k < o->nspecial; k++) special |= !strcmp(s, o->special[k]);
            if (!special) add_entry(out, s, r[i].score, first);
        }
        tide_text_add(out, "]");
    }
    free(r);
    free_pieces(&to);
    return ok;
}

tide_status tide_train_unigram(tide_ctx *ctx, const tide_counts *c, const tide_training *o,
                               tide_string *out) {
    work w = {.ctx = ctx, .c = c, .o = o, .order = tide_counts_order(c)};
    size_t nletters = 0;
    letter *l = w.order ? letters_of(&w, &nletters) : NULL;
    tide_status st = TIDE_OK;
    bool ok = w.order && (l || nletters == 0);
    if (ok && (int64_t)nletters > o->vocab_size)
        st = tide_fail(ctx, TIDE_EARG,
                       "train: vocab_size must hold the %zu characters of the texts (got %lld)",
                       nletters, (long long)o->vocab_size);
    ok = ok && st == TIDE_OK && first_pieces(&w, l, nletters);
    const size_t wanted = (size_t)o->vocab_size * 11 / 10;
    while (ok && st == TIDE_OK && w.p.n) {
        for (int64_t k = 0; ok && st == TIDE_OK && k < o->n_sub_iterations; k++) {
            double *expected = malloc((w.p.n + 1) * sizeof *expected);
            ok = expected && expect(&w, expected) && maximize(&w, expected);
            free(expected);
            st = tide_go_on(ctx);
        }
        if (w.p.n + 1 <= wanted) break; /* the unknown one counts */
        const size_t before = w.p.n;
        ok = ok && prune(&w, wanted - 1);
        if (w.p.n >= before) break;
    }
    if (ok && st == TIDE_OK) ok = write(&w, l, nletters, out);
    free_pieces(&w.p);
    free(w.order), free(w.alpha), free(w.beta), free(w.best), free(l);
    if (st != TIDE_OK) return st;
    return ok && out->status == TIDE_OK ? TIDE_OK
                                        : tide_fail(ctx, TIDE_ENOMEM, "train: not enough memory");
}
