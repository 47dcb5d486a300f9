/* What only some references hold: for a collector that cannot see through the core.
 *
 * Counts as collectors of cycles do (Bacon and Rajan 2001): of everything that the given references
 * lead to, how many of its references are among them or come from there. What has more is held by
 * somebody else, with all that it leads to. Changes nothing. */
#include "core.h"

#include <stdlib.h>

typedef struct {
    void *p;        /* a tensor, or a node */
    int64_t others; /* its references that were not met yet */
    int is_node, held;
} object;

typedef struct {
    object *list;
    int64_t n, cap;
    int64_t *place; /* [2 cap]: where in the list, plus 1, by address */
    int64_t *todo;  /* [n]: held, what they hold not yet */
    int64_t ntodo;
    int failed; /* memory is short */
} objects;

static int64_t *place_of(const objects *o, const void *p) {
    const uint64_t mask = 2 * (uint64_t)o->cap - 1;
    uint64_t at = (uint64_t)(uintptr_t)p * 0x9E3779B97F4A7C15u >> 24 & mask;
    while (o->place[at] && o->list[o->place[at] - 1].p != p) at = (at + 1) & mask;
    return &o->place[at];
}

static int grow(objects *o) {
    const int64_t cap = o->cap ? o->cap * 2 : 256;
    object *list = realloc(o->list, (size_t)cap * sizeof *list);
    if (list) o->list = list;
    int64_t *place = list ? calloc(2 * (size_t)cap, sizeof *place) : NULL;
    if (!place) return 0;
    free(o->place);
    o->place = place;
    o->cap = cap;
    for (int64_t i = 0; i < o->n; i++) *place_of(o, o->list[i].p) = i + 1;
    return 1;
}

/* One of the references to p is met. */
static void meet(objects *o, void *p, int is_node) {
    if (!p || o->failed) return;
    if (o->n == o->cap && !grow(o)) {
        o->failed = 1;
        return;
    }
    int64_t *place = place_of(o, p);
    if (!*place) {
        const int64_t refs = is_node ? ((tide_node *)p)->refs : ((tide_tensor *)p)->refs;
        o->list[o->n] = (object){.p = p, .others = refs, .is_node = is_node};
        *place = ++o->n;
    }
    o->list[*place - 1].others--;
}

static void hold(objects *o, void *p, int is_node) {
    (void)is_node;
    const int64_t at = p ? *place_of(o, p) - 1 : -1;
    if (at < 0 || o->list[at].held) return;
    o->list[at].held = 1;
    o->todo[o->ntodo++] = at;
}

static void each_reference(objects *o, object of, void (*f)(objects *, void *p, int is_node)) {
    if (!of.is_node) {
        const tide_tensor *t = of.p;
        f(o, t->node, 1), f(o, t->grad, 0), f(o, t->ids, 0), f(o, t->values, 0);
        return;
    }
    const tide_node *n = of.p;
    for (int i = 0; i < n->nin; i++)
        f(o, n->in[i].node, 1), f(o, n->in[i].leaf, 0), f(o, n->in[i].saved, 0);
    for (int i = 0; i < n->nout; i++) f(o, n->out_saved[i], 0), f(o, n->gout[i], 0);
}

static void each_function(const object *of, void (*f)(void *ref, void *arg), void *arg) {
    const tide_node *n = of->is_node ? of->p : NULL;
    if (n && n->custom) f(n->custom, arg);
    for (const tide_hook *h = n ? n->hooks : ((tide_tensor *)of->p)->hooks; h; h = h->next)
        if (h->ref) f(h->ref, arg);
}

tide_status tide_each_unheld(tide_ctx *ctx, int64_t n, tide_tensor **given,
                             void (*f)(void *ref, void *arg), void *arg) {
    objects o = {0};
    for (int64_t i = 0; i < n; i++) meet(&o, given[i], 0);
    for (int64_t k = 0; k < o.n; k++) each_reference(&o, o.list[k], meet);
    o.todo = malloc((size_t)(o.n + 1) * sizeof *o.todo);
    o.failed |= !o.todo;
    for (int64_t k = 0; k < o.n && !o.failed; k++)
        if (o.list[k].others > 0) hold(&o, o.list[k].p, 0);
    while (o.ntodo && !o.failed) each_reference(&o, o.list[o.todo[--o.ntodo]], hold);
    for (int64_t k = 0; k < o.n && !o.failed; k++)
        if (!o.list[k].held) each_function(&o.list[k], f, arg);
    free(o.list);
    free(o.place);
    free(o.todo);
    return o.failed ? tide_fail(ctx, TIDE_ENOMEM, "not enough memory to look for cycles") : TIDE_OK;
}
