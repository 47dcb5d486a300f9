/* Labels from the outputs of a network that was trained with CTC: the best path, and beam search
 * over prefixes (Graves and Jaitly 2014; Hannun et al. 2014), in logarithms and in double.
 *
 * Labels count the channels that are not the blank, in order, from 1, as ctc_loss; 0 fills up. */
#include "cpu.h"
#include "labels.h"

static double log_add(double a, double b) {
    const double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static inline int32_t label_of(int64_t channel, int64_t blank) {
    return (int32_t)(channel < blank ? channel + 1 : channel);
}

/* -- the best path -- */

static void best_path(int64_t T, int64_t C, int64_t blank, int merge, const REAL *x, int32_t *label,
                      REAL *score) {
    double sum = 0;
    int64_t before = -1, n = 0;
    for (int64_t t = 0; t < T; t++, x += C) {
        int64_t best = 0;
        for (int64_t k = 1; k < C; k++)
            if (x[k] > x[best] || (x[k] != x[k] && x[best] == x[best])) best = k;
        sum -= (double)x[best];
        if (best != blank && !(merge && best == before)) label[n++] = label_of(best, blank);
        before = best;
    }
    *score = (REAL)sum;
}

/* -- beam search -- */

typedef struct { /* a prefix: that of the parent, then a channel; its children are a list */
    int64_t parent, child, sibling;
    int64_t beam; /* of this frame that it is; -1: none */
    int32_t channel, length;
} prefix;
typedef struct { /* log probabilities of a prefix whose last frame was a blank, or its channel */
    int64_t at;
    double blank, channel;
} beam;
typedef struct { /* beam `from` itself (channel -1), or it and one more channel */
    double total, blank, emitted;
    int64_t from, channel;
} candidate;

typedef struct {
    int64_t width, classes;
    prefix *tree;
    int64_t nodes;
    beam *beams, *next;
    candidate *heap;    /* width; the worst on top */
    double *log_p;      /* classes */
    uint8_t *taken;     /* width * classes: the prefix stands among the beams already */
    int32_t *one, *two; /* spelled-out prefixes, T + 1 each */
} search;

/* The channels of a candidate's prefix, from the first on. */
static int64_t spell(const search *s, const candidate *c, int32_t *to) {
    int64_t at = s->beams[c->from].at, n = s->tree[at].length;
    const int64_t length = n + (c->channel >= 0);
    if (c->channel >= 0) to[n] = (int32_t)c->channel;
    for (; n > 0; at = s->tree[at].parent) to[--n] = s->tree[at].channel;
    return length;
}

/* Of equal ones that comes first whose first channel that differs is lower; a longer one before its
 * own beginning. */
static int worse(const search *s, const candidate *a, const candidate *b) {
    if (a->total != b->total) return a->total < b->total;
    const int64_t m = spell(s, a, s->one), n = spell(s, b, s->two);
    for (int64_t i = 0; i < m && i < n; i++)
        if (s->one[i] != s->two[i]) return s->one[i] > s->two[i];
    return m < n;
}

static void sift(const search *s, candidate *heap, int64_t n, int64_t i) {
    for (;;) {
        int64_t low = i;
        for (int64_t k = 2 * i + 1; k <= 2 * i + 2 && k < n; k++)
            if (worse(s, heap + k, heap + low)) low = k;
        if (low == i) return;
        const candidate swap = heap[i];
        heap[i] = heap[low], heap[low] = swap;
        i = low;
    }
}

/* Keeps the best `width` of all that are offered; returns how many there are. */
static int64_t offer(const search *s, int64_t n, const candidate *c) {
    candidate *heap = s->heap;
    if (!(c->total > -INFINITY)) return n;
    if (n == s->width) {
        if (!worse(s, heap, c)) return n;
        heap[0] = *c;
        sift(s, heap, n, 0);
        return n;
    }
    int64_t i = n++;
    heap[i] = *c;
    while (i > 0 && worse(s, heap + i, heap + (i - 1) / 2)) {
        const candidate swap = heap[i];
        heap[i] = heap[(i - 1) / 2], heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
    return n;
}

static int64_t child_of(search *s, int64_t at, int64_t channel) {
    for (int64_t k = s->tree[at].child; k >= 0; k = s->tree[k].sibling)
        if (s->tree[k].channel == channel) return k;
    const int64_t k = s->nodes++;
    s->tree[k] = (prefix){.parent = at,
                          .child = -1,
                          .sibling = s->tree[at].child,
                          .beam = -1,
                          .channel = (int32_t)channel,
                          .length = s->tree[at].length + 1};
    return s->tree[at].child = k;
}

/* One frame: n beams become the best of what they may go on to. */
static int64_t step(search *s, int64_t n, int64_t blank) {
    const int64_t C = s->classes;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) s->tree[s->beams[i].at].beam = i;
    memset(s->taken, 0, (size_t)(n * C));
    for (int64_t j = 0; j < n; j++) { /* beams that go on as they are, or grow from another beam */
        const beam *b = s->beams + j;
        const prefix *p = s->tree + b->at;
        candidate c = {.from = j, .channel = -1, .emitted = -INFINITY};
        c.blank = log_add(b->blank, b->channel) + s->log_p[blank];
        if (p->length > 0) {
            c.emitted = b->channel + s->log_p[p->channel];
            const prefix *shorter = s->tree + p->parent;
            if (shorter->beam >= 0) {
                const beam *from = s->beams + shorter->beam;
                const int repeats = shorter->length > 0 && shorter->channel == p->channel;
                const double before = repeats ? from->blank : log_add(from->blank, from->channel);
                c.emitted = log_add(c.emitted, before + s->log_p[p->channel]);
                s->taken[shorter->beam * C + p->channel] = 1;
            }
        }
        c.total = log_add(c.blank, c.emitted);
        kept = offer(s, kept, &c);
    }
    for (int64_t j = 0; j < n && (j % 64 || !tide_stopped()); j++) {
        const beam *b = s->beams + j;
        const prefix *p = s->tree + b->at;
        const double all = log_add(b->blank, b->channel);
        for (int64_t k = 0; k < C; k++) {
            if (k == blank || s->taken[j * C + k]) continue;
            const int repeats = p->length > 0 && p->channel == k;
            candidate c = {.from = j, .channel = k, .blank = -INFINITY};
            c.total = c.emitted = (repeats ? b->blank : all) + s->log_p[k];
            kept = offer(s, kept, &c);
        }
    }
    for (int64_t i = 0; i < kept; i++) {
        const candidate *c = s->heap + i;
        const int64_t at = s->beams[c->from].at;
        s->next[i] = (beam){.at = c->channel < 0 ? at : child_of(s, at, c->channel),
                            .blank = c->blank,
                            .channel = c->emitted};
    }
    for (int64_t i = 0; i < n; i++) s->tree[s->beams[i].at].beam = -1;
    beam *swap = s->beams;
    s->beams = s->next, s->next = swap;
    return kept;
}

/* paths: `top` rows of labels, `stride` apart; score: top. */
static void beam_search(search *s, int64_t T, int64_t blank, int64_t top, const REAL *x,
                        int32_t *paths, int64_t stride, REAL *score) {
    int64_t n = 1;
    int unknown = 0;
    s->nodes = 1;
    s->tree[0] = (prefix){.parent = -1, .child = -1, .sibling = -1, .beam = -1, .channel = -1};
    s->beams[0] = (beam){.at = 0, .blank = 0, .channel = -INFINITY};
    for (int64_t t = 0; t < T && n > 0 && !tide_stopped(); t++, x += s->classes) {
        double most = -INFINITY, sum = 0;
        for (int64_t k = 0; k < s->classes; k++) {
            most = (double)x[k] > most ? (double)x[k] : most;
            unknown |= x[k] != x[k];
        }
        for (int64_t k = 0; k < s->classes; k++) sum += exp((double)x[k] - most);
        for (int64_t k = 0; k < s->classes; k++) s->log_p[k] = (double)x[k] - most - log(sum);
        n = step(s, n, blank);
    }
    int64_t kept = 0;
    for (int64_t j = 0; j < n; j++) {
        const candidate c = {
            .total = log_add(s->beams[j].blank, s->beams[j].channel), .from = j, .channel = -1};
        kept = offer(s, kept, &c);
    }
    for (int64_t i = kept; i-- > 0;) { /* the worst first; those beyond the top are left out */
        const candidate c = s->heap[0];
        s->heap[0] = s->heap[i];
        sift(s, s->heap, i, 0);
        if (i >= top) continue;
        const int64_t length = spell(s, &c, s->one);
        for (int64_t l = 0; l < length; l++) paths[i * stride + l] = label_of(s->one[l], blank);
        score[i] = (REAL)c.total;
    }
    for (int64_t i = kept; i < top; i++) score[i] = unknown ? (REAL)NAN : (REAL)-INFINITY;
}

TIDE_KERNEL(ctc_decode) { /* x (N, T, C), lengths (N) -> labels (paths, N, T), scores (N, paths) */
    const tide_ctc_decode_attrs *at = c->attrs;
    const int64_t N = c->in[0].shape[0], T = c->in[0].shape[1], C = c->in[0].shape[2],
                  top = c->out[0].shape[0], W = at->beam_width, blank = at->mask_index - 1;
    const REAL *x = c->in[0].p;
    int32_t *labels = c->out[0].p;
    REAL *score = c->out[1].p;
    if (N == 0) return TIDE_OK;
    memset(labels, 0, (size_t)(top * N * T) * sizeof *labels);
    for (int64_t n = 0; n < N; n++) {
        const int64_t t = tide_label_at(&c->in[1], n);
        if (t < 0 || t > T) return tide_bad_label(c, 1, n, 0, T + 1);
    }
    if (at->strategy == TIDE_DECODING_greedy) {
        TIDE_PARALLEL_FOR (N, tide_even_grain(N, T * C, 16384))
            for (int64_t n = lo; n < hi; n++)
                best_path(tide_label_at(&c->in[1], n), C, blank, at->merge_repeated, x + n * T * C,
                          labels + n * T, score + n);
        return TIDE_OK;
    }
    const size_t trees = (size_t)(1 + W * T) * sizeof(prefix), beams = (size_t)W * sizeof(beam),
                 heap = (size_t)W * sizeof(candidate), reals = (size_t)C * sizeof(double),
                 words = (size_t)(T + 2) / 2 * 2 * sizeof(int32_t), marks = (size_t)(W * C);
    tide_lanes lanes;
    TIDE_DO(
        tide_lanes_new(c->dev, N, 1, trees + 2 * beams + heap + reals + 2 * words + marks, &lanes));
    TIDE_PARALLEL_FOR (N, 1) {
        char *room = tide_lane(&lanes, share_->slot);
        search s = {.width = W, .classes = C, .tree = (prefix *)(void *)room};
        s.beams = (beam *)(void *)(room += trees);
        s.next = (beam *)(void *)(room += beams);
        s.heap = (candidate *)(void *)(room += beams);
        s.log_p = (double *)(void *)(room += heap);
        s.one = (int32_t *)(void *)(room += reals);
        s.two = (int32_t *)(void *)(room += words);
        s.taken = (uint8_t *)(room + words);
        for (int64_t n = lo; n < hi; n++)
            beam_search(&s, tide_label_at(&c->in[1], n), blank, top, x + n * T * C, labels + n * T,
                        N * T, score + n * top);
    }
    return TIDE_OK;
}
