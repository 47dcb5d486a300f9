/* Places in an arena for blocks that are each needed for a while: no two that are needed at one
 * time lie in one place.
 *
 * Up to MANY blocks go largest first, each to the lowest place that no other needs meanwhile, which
 * leaves the fewest holes and looks at every pair. More go in the order in which they are needed,
 * to a hole about as large as they are, which is split; holes are joined as blocks go. What is
 * needed first and given back last lies lowest then, so that a deep model's steps, which take and
 * give as a stack does, leave few holes too; n blocks take the time of sorting them. */
#include "place.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 4096, SUBS = 8, CLASSES = 64, NONE = -1 };

/* -- largest first -- */

static int by_size(const void *a, const void *b) {
    const tide_placed *x = *(tide_placed *const *)a, *y = *(tide_placed *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x > y) - (x < y);
}

/* `order` holds those that have their place, by place. */
static size_t place_few(int n, tide_placed **all, tide_placed **order) {
    size_t arena = 0;
    qsort(all, (size_t)n, sizeof *all, by_size);
    for (int i = 0; i < n; i++) {
        tide_placed *t = all[i];
        int k = i;
        t->at = 0;
        for (int j = 0; j < i; j++) {
            const tide_placed *o = order[j];
            if (o->last < t->first || t->last < o->first) continue;
            if (t->at + t->size <= o->at) break;
            if (t->at < o->at + o->size) t->at = o->at + o->size;
        }
        if (arena < t->at + t->size) arena = t->at + t->size;
        for (; k > 0 && order[k - 1]->at > t->at; k--) order[k] = order[k - 1];
        order[k] = t;
    }
    return arena;
}

/* -- in the order of need -- */

typedef struct { /* a stretch of the arena, in a hole's list where it is free */
    size_t at, size;
    int before, behind; /* in the arena */
    int up, down;       /* in the list */
    int is_free;
} stretch;

typedef struct {
    stretch *all;
    int n, last;                        /* stretches; the one at the end of the arena */
    int spare;                          /* of those that were joined, by `down` */
    int head[CLASSES * SUBS];           /* holes by size, eight lists for each power of two */
    uint64_t some[CLASSES * SUBS / 64]; /* which lists have any */
} holes;

static int list_of(size_t size) {
    const int top = size < SUBS ? 3 : 63 - __builtin_clzll(size);
    return (top - 3) * SUBS + (int)(size >> (top - 3) & (SUBS - 1));
}

static void put_hole(holes *h, int i) {
    const int k = list_of(h->all[i].size);
    h->all[i].is_free = 1, h->all[i].up = NONE, h->all[i].down = h->head[k];
    if (h->head[k] != NONE) h->all[h->head[k]].up = i;
    h->head[k] = i;
    h->some[k / 64] |= UINT64_C(1) << k % 64;
}

static void take_hole(holes *h, int i) {
    stretch *s = &h->all[i];
    const int k = list_of(s->size);
    if (s->down != NONE) h->all[s->down].up = s->up;
    if (s->up != NONE) h->all[s->up].down = s->down;
    else if ((h->head[k] = s->down) == NONE) h->some[k / 64] &= ~(UINT64_C(1) << k % 64);
    s->is_free = 0;
}

/* A new stretch behind i. */
static int insert(holes *h, int i, size_t at, size_t size) {
    const int k = h->spare != NONE ? h->spare : h->n++;
    if (k == h->spare) h->spare = h->all[k].down;
    const int behind = i == NONE ? NONE : h->all[i].behind;
    h->all[k] = (stretch){.at = at, .size = size, .before = i, .behind = behind};
    if (i != NONE) h->all[i].behind = k;
    if (behind != NONE) h->all[behind].before = k;
    else h->last = k;
    return k;
}

/* Joins the stretch behind i, which is in no list, to it. */
static void join(holes *h, int i) {
    const int k = h->all[i].behind;
    h->all[i].size += h->all[k].size;
    h->all[i].behind = h->all[k].behind;
    if (h->all[k].behind != NONE) h->all[h->all[k].behind].before = i;
    else h->last = i;
    h->all[k].down = h->spare, h->spare = k;
}

/* A hole that is large enough, from the first list of which all are; NONE: there is none. */
static int find_hole(const holes *h, size_t size) {
    int k = list_of(size) + 1;
    for (int w = k / 64; w < CLASSES * SUBS / 64; w++) {
        const uint64_t bits = h->some[w] & (w == k / 64 ? ~UINT64_C(0) << k % 64 : ~UINT64_C(0));
        if (bits) return h->head[w * 64 + __builtin_ctzll(bits)];
    }
    k--; /* those of its own list may be too small */
    int i = h->head[k];
    return i != NONE && h->all[i].size >= size ? i : NONE;
}

static int take(holes *h, size_t size) {
    int i = find_hole(h, size);
    if (i == NONE && h->last != NONE && h->all[h->last].is_free) { /* the end grows */
        i = h->last;
        take_hole(h, i);
        h->all[i].size = size;
        return i;
    }
    if (i == NONE)
        return insert(h, h->last, h->last == NONE ? 0 : h->all[h->last].at + h->all[h->last].size,
                      size);
    take_hole(h, i);
    if (h->all[i].size > size) {
        put_hole(h, insert(h, i, h->all[i].at + size, h->all[i].size - size));
        h->all[i].size = size;
    }
    return i;
}

static void give(holes *h, int i) {
    if (h->all[i].behind != NONE && h->all[h->all[i].behind].is_free)
        take_hole(h, h->all[i].behind), join(h, i);
    const int before = h->all[i].before;
    if (before != NONE && h->all[before].is_free) take_hole(h, before), join(h, before), i = before;
    put_hole(h, i);
}

static int by_first(const void *a, const void *b) {
    const tide_placed *x = *(tide_placed *const *)a, *y = *(tide_placed *const *)b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->last != y->last ? (x->last < y->last ? 1 : -1) : by_size(a, b);
}
static int by_last(const void *a, const void *b) {
    const tide_placed *x = *(tide_placed *const *)a, *y = *(tide_placed *const *)b;
    return x->last != y->last ? (x->last < y->last ? -1 : 1) : (x > y) - (x < y);
}

static size_t place_many(int n, tide_placed **all, tide_placed **ends, stretch *room) {
    holes h = {.all = room, .last = NONE, .spare = NONE};
    size_t arena = 0;
    for (int k = 0; k < CLASSES * SUBS; k++) h.head[k] = NONE;
    memcpy(ends, all, (size_t)n * sizeof *ends);
    qsort(all, (size_t)n, sizeof *all, by_first);
    qsort(ends, (size_t)n, sizeof *ends, by_last);
    for (int i = 0, gone = 0; i < n; i++) {
        for (; ends[gone]->last < all[i]->first; gone++) give(&h, ends[gone]->in);
        const int k = take(&h, all[i]->size);
        all[i]->in = k, all[i]->at = h.all[k].at;
        if (arena < all[i]->at + all[i]->size) arena = all[i]->at + all[i]->size;
    }
    return arena;
}

int tide_place_all(int n, tide_placed *blocks, size_t *arena) {
    tide_placed **all = malloc(2 * ((size_t)n + 1) * sizeof *all);
    stretch *room = n > MANY ? malloc((2 * (size_t)n + 1) * sizeof *room) : NULL;
    const int enough = all && (room || n <= MANY);
    for (int i = 0; i < n && enough; i++) all[i] = &blocks[i];
    if (enough)
        *arena = n > MANY ? place_many(n, all, all + n + 1, room) : place_few(n, all, all + n + 1);
    free(all), free(room);
    return enough;
}
