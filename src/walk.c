/* Walks over the tape: backward and grad.
 *
 * Invariant: nodes are taken by decreasing sequence number, so every consumer comes before its
 * producer, and a node's number `walk` says which walk holds it. Hooks and custom gradients run Lua
 * in the middle of a walk, which may start walks of its own: an inner walk refuses nodes that an
 * outer one holds, and what Lua releases meanwhile is held here. The heap lives in the nodes:
 * nothing fails between the first gradient and the last. */
#include "tape.h"

#include <stdlib.h>
#include <string.h>

typedef struct {           /* a leaf of a walk: one that is asked for, or has hooks */
    tide_tensor *leaf, *g; /* owned; g: what has arrived for a leaf with hooks */
    int64_t pending;       /* edges to a leaf with hooks that may still bring something */
    int first;             /* its first place in `wrt`, or -1 */
    uint64_t outer_walk;   /* what the leaf said before */
    int outer_entry;
} entry;

typedef struct tide_walk {
    int n;
    tide_tensor **wrt, **out; /* NULL: into the leaves' .grad */
    int *same;                /* [n]: the next place of the same leaf in `wrt`, or -1 */
    int record, retain;
    int within;     /* a rule's: hooks of leaves see what the walk outside makes of it */
    uint64_t floor; /* nodes older than this are left alone: an outer walk may be among them */
    int inner;      /* whether one of `wrt` is a result of an op */
    uint64_t id;
    tide_node **order,
        *top; /* with wrt or hooks: the nodes, newest first, each retained; the heap */
    int norder, order_cap, passed; /* passed: how many of `order` bring nothing more */
    entry *leaves;
    int nleaves, cap;
    struct tide_walk *outer;
} tide_walk;

/* -- the heap: a pairing heap by sequence number -- */

static tide_node *meld(tide_node *a, tide_node *b) {
    if (!a) return b;
    if (!b) return a;
    if (a->seq < b->seq) {
        tide_node *c = a;
        a = b;
        b = c;
    }
    b->sibling = a->first;
    a->first = b;
    return a;
}

static tide_status push(tide_ctx *ctx, tide_walk *w, tide_node *n) {
    if (n->walk == w->id) return TIDE_OK;
    if (n->walk)
        return tide_fail(ctx, TIDE_EGRAD,
                         "backward: a hook or a custom gradient cannot walk the graph that is "
                         "being walked (at %s)",
                         n->op->name);
    n->walk = w->id;
    n->refs++;
    n->first = n->sibling = NULL;
    w->top = meld(w->top, n);
    return TIDE_OK;
}

/* The newest node; it stays marked as held until it is dropped. */
static tide_node *pop(tide_walk *w) {
    tide_node *top = w->top, *pairs = NULL, *n = top->first;
    while (n) { /* pairs from left to right, then all from right to left */
        tide_node *a = n, *b = n->sibling;
        n = b ? b->sibling : NULL;
        a->sibling = NULL;
        if (b) b->sibling = NULL;
        a = meld(a, b);
        a->sibling = pairs;
        pairs = a;
    }
    w->top = NULL;
    while (pairs) {
        tide_node *next = pairs->sibling;
        pairs->sibling = NULL;
        w->top = meld(w->top, pairs);
        pairs = next;
    }
    return top;
}

/* -- gradients -- */

/* A gradient is where its tensor is; a number, which is everywhere, passes. */
static tide_status same_device(tide_ctx *ctx, const tide_tensor *want, const tide_tensor *got,
                               const char *what) {
    const tide_device *there = tide_device_of(want), *here = tide_device_of(got);
    if (!here || !there || here == there) return TIDE_OK;
    return tide_fail(ctx, TIDE_EDEVICE, "backward: %s (expected it on %s, got it on %s)", what,
                     tide_device_name(there), tide_device_name(here));
}

static tide_status same_form(tide_ctx *ctx, const tide_tensor *want, const tide_tensor *got,
                             tide_status st, const char *what) {
    char a[160], b[160];
    if (got->dtype == want->dtype && tide_same_shape(got, want))
        return same_device(ctx, want, got, what);
    return tide_fail(
        ctx, st, "backward: %s (expected %s %s, got %s %s)", what, tide_dtype_name(want->dtype),
        tide_shape_str(want->rank, want->shape, a, sizeof a), tide_dtype_name(got->dtype),
        tide_shape_str(got->rank, got->shape, b, sizeof b));
}

static tide_status run_hooks(tide_ctx *ctx, tide_hook *h, int index, tide_tensor **g) {
    for (; h; h = h->next) {
        if (h->index != index || h->ready) continue;
        tide_tensor *next = NULL;
        const int was = ctx->grad_mode;
        if (!ctx->call_hook)
            return tide_fail(ctx, TIDE_EGRAD, "backward: the Lua state of a hook is closed");
        tide_status st = TIDE_OK;
        if (tide_is_sparse(*g)) { /* a hook sees all of it */
            st = tide_densify(ctx, *g, &next);
            if (st != TIDE_OK) return st;
            tide_release(*g);
            *g = next;
            next = NULL;
        }
        st = tide_unshare(ctx, g);
        if (st == TIDE_OK) st = ctx->call_hook(ctx, h->ref, *g, &next);
        ctx->grad_mode = was;
        if (st == TIDE_OK && next)
            st = same_form(ctx, *g, next, TIDE_EGRAD, "a hook returned a gradient of another form");
        if (st != TIDE_OK) {
            tide_release(next);
            return st;
        }
        if (next) {
            tide_release(*g);
            *g = next;
        }
    }
    return TIDE_OK;
}

/* -- leaves -- */

static entry *entry_of(const tide_walk *w, const tide_tensor *leaf) {
    return leaf->walk == w->id ? &w->leaves[leaf->entry] : NULL;
}

static tide_status make_entry(tide_ctx *ctx, tide_walk *w, tide_tensor *leaf, entry **out) {
    *out = entry_of(w, leaf);
    if (*out) return TIDE_OK;
    if (w->nleaves == w->cap) {
        int cap = w->cap ? w->cap * 2 : 16;
        entry *more = realloc(w->leaves, (size_t)cap * sizeof *more);
        if (!more) return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
        w->leaves = more;
        w->cap = cap;
    }
    *out = &w->leaves[w->nleaves];
    **out = (entry){.leaf = tide_retain(leaf),
                    .first = -1,
                    .outer_walk = leaf->walk,
                    .outer_entry = leaf->entry};
    leaf->walk = w->id;
    leaf->entry = w->nleaves++;
    return TIDE_OK;
}

/* Takes the gradient's reference. */
static tide_status leaf_gradient(tide_ctx *ctx, const tide_walk *w, tide_tensor *leaf,
                                 tide_gift p) {
    tide_status st = TIDE_OK;
    if (!w->wrt) { /* what is added, or is a part, is not kept */
        st = same_device(ctx, leaf, p.g, "a gradient is on another device than its tensor");
        if (st != TIDE_OK) tide_release(p.g);
        else if (!leaf->grad && !p.at) st = tide_without_graph(ctx, &p.g);
        return st == TIDE_OK ? tide_add_gift(ctx, &leaf->grad, &p, 0) : st;
    }
    const entry *e = entry_of(w, leaf);
    for (int i = e ? e->first : -1; i >= 0 && st == TIDE_OK; i = w->same[i]) {
        tide_retain(p.g);
        st = tide_add_gift(ctx, &w->out[i], &p, w->record);
    }
    tide_release(p.g);
    return st;
}

/* The gradient of a leaf with hooks waits until it is whole. */
static tide_status give_leaf(tide_ctx *ctx, tide_walk *w, tide_tensor *leaf, tide_gift p) {
    entry *e = leaf->hooks ? entry_of(w, leaf) : NULL;
    return e && e->pending > 0 ? tide_add_gift(ctx, &e->g, &p, w->record)
                               : leaf_gradient(ctx, w, leaf, p);
}

/* Calls the hooks that wait for the whole gradient where it lies. */
static tide_status run_ready(tide_ctx *ctx, tide_walk *w, const entry *e) {
    tide_tensor **slot = w->wrt ? &w->out[e->first] : &e->leaf->grad, *dense = NULL;
    tide_status st = TIDE_OK;
    int any = 0;
    for (const tide_hook *h = e->leaf->hooks; h && st == TIDE_OK; h = h->next) {
        if (!h->ready) continue;
        any = 1;
        st = tide_densify(ctx, *slot, &dense);
        if (st == TIDE_OK) tide_release(*slot), *slot = dense;
        if (st == TIDE_OK && w->wrt) st = tide_unshare(ctx, slot);
        const int was = ctx->grad_mode;
        if (st == TIDE_OK && !ctx->call_ready)
            st = tide_fail(ctx, TIDE_EGRAD, "backward: the Lua state of a hook is closed");
        if (st == TIDE_OK) st = ctx->call_ready(ctx, h->ref, e->leaf, *slot);
        ctx->grad_mode = was;
        if (!*slot) break; /* a hook took .grad away */
    }
    for (int i = any && w->wrt ? w->same[e->first] : -1; i >= 0; i = w->same[i]) {
        tide_release(w->out[i]);
        w->out[i] = tide_retain(*slot);
    }
    return st;
}

/* The last edge to a leaf with hooks has brought what it had. */
static tide_status leaf_is_whole(tide_ctx *ctx, tide_walk *w, int at) {
    tide_tensor *leaf = w->leaves[at].leaf, *g = w->leaves[at].g;
    if (!g) return TIDE_OK;
    w->leaves[at].g = NULL;
    tide_status st = run_hooks(ctx, leaf->hooks, 0, &g);
    if (st != TIDE_OK) {
        tide_release(g);
        return st;
    }
    TIDE_TRY(leaf_gradient(ctx, w, leaf, (tide_gift){.g = g}));
    return w->wrt && w->leaves[at].first < 0 ? TIDE_OK : run_ready(ctx, w, &w->leaves[at]);
}

/* Nodes from number `seq` on bring nothing more, whether they were visited or not. */
static tide_status pass(tide_ctx *ctx, tide_walk *w, uint64_t seq, tide_status st) {
    while (w->passed < w->norder && w->order[w->passed]->seq >= seq) {
        const tide_node *n = w->order[w->passed++];
        for (int i = 0; i < n->nin; i++) {
            entry *e = n->in[i].leaf ? entry_of(w, n->in[i].leaf) : NULL;
            if (e && e->pending > 0 && --e->pending == 0 && st == TIDE_OK)
                st = leaf_is_whole(ctx, w, n->in[i].leaf->entry);
        }
    }
    return st;
}

static void drop_gradients(tide_node *n) {
    for (int i = 0; i < n->nout; i++) {
        tide_release(n->gout[i]);
        n->gout[i] = NULL;
    }
}

/* Where the gradient of an input stands until it is whole; NULL: nobody asks for it. */
static tide_tensor **slot_of(const tide_walk *w, const tide_edge *e) {
    if (e->node) return &e->node->gout[e->index];
    if (!e->leaf) return NULL;
    entry *of = entry_of(w, e->leaf);
    if (e->leaf->hooks && of && of->pending > 0) return &of->g;
    if (!w->wrt) return &e->leaf->grad;
    return of && of->first >= 0 ? &w->out[of->first] : NULL;
}

static void set_same(const tide_walk *w, const tide_edge *e, tide_tensor *g) {
    const entry *of = w->wrt && e->leaf ? entry_of(w, e->leaf) : NULL;
    for (int i = of && of->first >= 0 ? w->same[of->first] : -1; i >= 0; i = w->same[i]) {
        tide_release(w->out[i]);
        w->out[i] = tide_retain(g);
    }
}

int tide_t_take(tide_tape *t, int i, tide_tensor **so_far) {
    const tide_edge *e = &t->node->in[i];
    tide_tensor **slot = slot_of(t->walk, e);
    *so_far = NULL;
    t->whole = 1;
    if (!tide_t_needs(t, i) || !slot) return 0;
    set_same(t->walk, e, NULL);
    *so_far = *slot;
    *slot = NULL;
    return 1;
}

/* Takes g's reference. */
static tide_status give_whole(tide_ctx *ctx, const tide_walk *w, const tide_edge *e,
                              tide_tensor *g) {
    tide_tensor **slot = slot_of(w, e);
    if (slot == (e->leaf ? &e->leaf->grad : NULL)) TIDE_TRY(tide_without_graph(ctx, &g));
    if (!slot) {
        tide_release(g);
        return TIDE_OK;
    }
    TIDE_TRY(tide_accumulate(ctx, slot, g, w->record)); /* another input is the same tensor */
    set_same(w, e, *slot);
    return TIDE_OK;
}

/* Runs the node's rule and hands on what it gave. */
static tide_status run_rule(tide_ctx *ctx, tide_node *n, tide_walk *w) {
    tide_tape t;
    tide_tensor *few[16] = {0};
    tide_tape_begin(&t, ctx, n, w->record);
    t.walk = w;
    t.given = n->nin <= 16 ? few : calloc((size_t)n->nin, sizeof *t.given);
    if (!t.given)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for gradients", n->op->name);
    if (n->freed && n->op->saves) {
        tide_tape_released(&t);
    } else if (n->op->grad && !(w->record && n->op->flags & TIDE_FIRST_ORDER)) {
        n->op->grad(&t, n);
    } else if (n->op->compose) {
        t.status = tide_compose_grad(&t, n);
    } else {
        t.status = tide_fail(ctx, TIDE_EGRAD,
                             w->record ? "%s: has no second derivative" : "%s: has no gradient",
                             n->op->name);
    }
    tide_status st = t.status;
    tide_tape_end(&t); /* first: who else holds a gradient decides whether it is copied */
    drop_gradients(n);
    for (int i = 0; i < n->nin; i++) {
        tide_edge *e = &n->in[i];
        tide_gift p = {t.given[i], t.partial == i ? &t.at : NULL, &n->in_meta[i], t.part};
        if (!p.g) continue;
        if (st == TIDE_OK && e->node) st = push(ctx, w, e->node);
        if (st != TIDE_OK) tide_release(p.g);
        else if (t.whole) st = give_whole(ctx, w, e, p.g);
        else if (e->node) st = tide_add_gift(ctx, &e->node->gout[e->index], &p, w->record);
        else if (e->leaf) st = give_leaf(ctx, w, e->leaf, p);
        else tide_release(p.g);
    }
    if (t.given != few) free(t.given);
    return st;
}

/* -- what leads to the tensors that tide_grad was asked about -- */

static int newest_first(const void *a, const void *b) {
    const tide_node *x = *(tide_node *const *)a, *y = *(tide_node *const *)b;
    return x->seq < y->seq ? 1 : -1;
}

/* `id`: of all roots that are collected together. */
static tide_status collect(tide_ctx *ctx, tide_walk *w, tide_node *root, uint64_t id) {
    int sorted = 1;
    for (int k = w->norder - 1, first = k; k < w->norder; k++) {
        const tide_node *n = k == first ? NULL : w->order[k];
        for (int i = 0; i < (n ? n->nin : 1); i++) {
            tide_node *next = n ? n->in[i].node : root;
            if (!next || next->seen == id || next->seq < w->floor) continue;
            if (w->norder == w->order_cap) {
                const int cap = w->order_cap ? w->order_cap * 2 : 64;
                tide_node **more = realloc(w->order, (size_t)cap * sizeof *more);
                if (!more) return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
                w->order = more;
                w->order_cap = cap;
            }
            next->seen = id;
            next->refs++;
            sorted &= !w->norder || w->order[w->norder - 1]->seq > next->seq;
            w->order[w->norder++] = next;
        }
    }
    if (!sorted) qsort(w->order, (size_t)w->norder, sizeof *w->order, newest_first);
    return TIDE_OK;
}

/* Marks which edges lead to something asked for, so that rules compute nothing else. */
static void mark(tide_walk *w) {
    for (int i = 0; i < w->n && w->inner; i++)
        if (w->wrt[i]->node) w->wrt[i]->node->asked = w->id;
    for (int k = w->norder - 1; k >= 0 && w->wrt; k--) { /* producers first */
        tide_node *n = w->order[k];
        n->pruned = 1;
        n->mark = n->asked == w->id;
        for (int i = 0; i < n->nin; i++) {
            tide_edge *e = &n->in[i];
            const entry *of = e->leaf ? entry_of(w, e->leaf) : NULL;
            e->wanted = e->node && e->node->seq >= w->floor ? e->node->mark : of && of->first >= 0;
            n->mark |= e->wanted;
        }
    }
}

static void unmark(tide_walk *w) {
    for (int k = 0; k < w->norder; k++) w->order[k]->pruned = 0;
}

/* How many edges lead to each leaf with hooks. */
static tide_status count_edges(tide_ctx *ctx, tide_walk *w) {
    for (int k = 0; k < w->norder; k++)
        for (int i = 0; i < w->order[k]->nin; i++) {
            tide_tensor *leaf = w->order[k]->in[i].leaf;
            entry *e;
            if (!leaf || !leaf->hooks) continue;
            TIDE_TRY(make_entry(ctx, w, leaf, &e));
            e->pending++;
        }
    return TIDE_OK;
}

/* Walks above a floor meet nodes of their own only; others borrow the marks of the walk outside. */
static tide_status begin(tide_ctx *ctx, tide_walk *w) {
    w->id = ++ctx->walks;
    w->outer = ctx->walking;
    for (tide_walk *o = w->outer; o && !w->floor; o = o->outer) unmark(o);
    ctx->walking = w;
    if (!w->wrt) return TIDE_OK;
    w->same = malloc((size_t)(w->n + 1) * sizeof *w->same);
    if (!w->same) return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
    for (int i = w->n - 1; i >= 0; i--) {
        entry *e;
        w->same[i] = -1;
        if (w->wrt[i]->node) continue;
        TIDE_TRY(make_entry(ctx, w, w->wrt[i], &e));
        w->same[i] = e->first;
        e->first = i;
    }
    return TIDE_OK;
}

static void end(tide_ctx *ctx, tide_walk *w) {
    unmark(w);
    for (int k = 0; k < w->norder; k++) tide_node_unref(ctx, w->order[k]);
    for (int k = 0; k < w->nleaves; k++) {
        entry *e = &w->leaves[k];
        e->leaf->walk = e->outer_walk;
        e->leaf->entry = e->outer_entry;
        tide_release(e->g);
        tide_release(e->leaf);
    }
    free(w->order);
    free(w->leaves);
    free(w->same);
    ctx->walking = w->outer;
    if (!w->floor && w->outer) mark(w->outer);
}

tide_status tide_leaves(tide_ctx *ctx, int ny, tide_tensor **y, uint64_t since, int nother,
                        tide_tensor **other, int *n, tide_tensor **out) {
    tide_walk w = {.floor = since, .id = ++ctx->walks, .outer = ctx->walking};
    entry *e;
    int older = 0;
    tide_status st = TIDE_OK;
    for (int i = 0; i < nother && st == TIDE_OK; i++) st = make_entry(ctx, &w, other[i], &e);
    const int first = w.nleaves;
    const uint64_t id = ++ctx->walks;
    for (int i = 0; i < ny && st == TIDE_OK; i++) {
        if (y[i]->node) st = collect(ctx, &w, y[i]->node, id);
        else if (y[i]->requires_grad) st = make_entry(ctx, &w, y[i], &e);
        older |= y[i]->node && y[i]->node->seq < since;
    }
    for (int k = 0; k < w.norder; k++)
        for (int i = 0; i < w.order[k]->nin && st == TIDE_OK; i++) {
            const tide_edge *edge = &w.order[k]->in[i];
            if (edge->leaf) st = make_entry(ctx, &w, edge->leaf, &e);
            older |= edge->node && edge->node->seq < since;
        }
    *n = w.nleaves - first;
    if (st == TIDE_OK && older)
        st = tide_fail(ctx, TIDE_EGRAD,
                       "checkpoint: the function uses a tensor that was computed outside of it and "
                       "has a gradient; give it to the function as an argument");
    for (int k = 0; k < *n && out && st == TIDE_OK; k++)
        out[k] = tide_retain(w.leaves[first + k].leaf);
    ctx->walking = &w; /* for `end`, which goes back to what was */
    end(ctx, &w);
    return st;
}

static void visit(tide_ctx *ctx, tide_walk *w, tide_node *n, tide_status *status) {
    tide_status st = *status;
    const uint64_t seq = n->seq;
    for (int i = 0; i < n->nout && st == TIDE_OK; i++)
        if (n->gout[i] && n->hooks) st = run_hooks(ctx, n->hooks, i, &n->gout[i]);
    for (int i = 0; i < w->n && n->asked == w->id && st == TIDE_OK; i++)
        if (w->wrt[i]->node == n && n->gout[w->wrt[i]->out_index])
            st = tide_accumulate(ctx, &w->out[i], tide_retain(n->gout[w->wrt[i]->out_index]),
                                 w->record);
    int useful = !n->pruned;
    for (int i = 0; i < n->nin && !useful; i++) useful = n->in[i].wanted;
    if (st == TIDE_OK && useful) {
        const struct tide_profile *p = ctx->profile;
        const int part = p ? p->part : 0, backward = p ? p->backward : 0;
        if (p) tide_profile_enter(ctx->profile, n->part, 1);
        st = run_rule(ctx, n, w);
        if (ctx->profile) tide_profile_enter(ctx->profile, part, backward);
        if (!w->retain) tide_node_clear_saved(n);
    }
    drop_gradients(n);
    n->walk = 0;
    tide_node_unref(ctx, n);
    *status = pass(ctx, w, seq, st);
}

/* The gradient that a walk begins with: the one given, or 1; new. */
static tide_status first_gradient(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed,
                                  tide_tensor **out) {
    if (seed) {
        TIDE_TRY(
            same_form(ctx, loss, seed, TIDE_ESHAPE, "the incoming gradient has the wrong form"));
        *out = tide_retain(seed);
        return TIDE_OK;
    }
    tide_fill__attrs a =
        *TIDE_ATTRS(fill_, .shape.n = loss->rank, .value = TIDE_WHOLE(1), .dtype = loss->dtype);
    for (int i = 0; i < loss->rank; i++) a.shape.v[i] = loss->shape[i];
    return tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, out);
}

/* Takes g's reference. */
static tide_status from_leaf(tide_ctx *ctx, tide_walk *w, tide_tensor *loss, tide_tensor *g) {
    entry *e = NULL;
    tide_status st = loss->hooks ? make_entry(ctx, w, loss, &e) : TIDE_OK;
    if (st != TIDE_OK) {
        tide_release(g);
        return st;
    }
    if (e) e->pending = 1;
    st = give_leaf(ctx, w, loss, (tide_gift){.g = g});
    return e && st == TIDE_OK ? leaf_is_whole(ctx, w, loss->entry) : st;
}

/* Takes g's reference. */
static tide_status from_node(tide_ctx *ctx, tide_walk *w, tide_tensor *loss, tide_tensor *g) {
    const int hooks = ctx->leaf_hooks > 0 && !w->floor && !w->within;
    tide_status st = w->wrt || hooks ? collect(ctx, w, loss->node, ++ctx->walks) : TIDE_OK;
    if (st == TIDE_OK) mark(w);
    if (st == TIDE_OK && hooks) st = count_edges(ctx, w);
    if (st == TIDE_OK) st = push(ctx, w, loss->node);
    if (st == TIDE_OK) loss->node->gout[loss->out_index] = g;
    else tide_release(g);
    while (w->top) visit(ctx, w, pop(w), &st);
    return pass(ctx, w, 0, st);
}

static tide_status walk_from(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, tide_walk *w) {
    tide_tensor *g = NULL;
    tide_retain(loss);
    for (int i = 0; i < w->n; i++) {
        tide_retain(w->wrt[i]);
        w->inner |= w->wrt[i]->node != NULL;
    }
    tide_status st = begin(ctx, w);
    int was = tide_grad_mode(ctx, w->record);
    tide_device *dev = tide_default_device(ctx, tide_device_of(loss)); /* for rules' own tensors */
    if (st == TIDE_OK) st = first_gradient(ctx, loss, seed, &g);
    if (st == TIDE_OK) st = loss->node ? from_node(ctx, w, loss, g) : from_leaf(ctx, w, loss, g);
    for (int i = 0; i < w->n && !w->floor && st == TIDE_OK; i++)
        if (w->out[i]) st = tide_unshare(ctx, &w->out[i]);
    tide_default_device(ctx, dev);
    ctx->grad_mode = was;
    end(ctx, w);
    for (int i = 0; i < w->n; i++) tide_release(w->wrt[i]);
    tide_release(loss);
    return st;
}

tide_status tide_backward(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int retain_graph) {
    char shape[160];
    if (!tide_needs_grad(loss))
        return tide_fail(ctx, TIDE_EGRAD,
                         "backward: this tensor depends on nothing that requires a gradient; set "
                         "requires_grad = true on a leaf");
    if (!seed && tide_numel(loss) != 1)
        return tide_fail(ctx, TIDE_EGRAD,
                         "backward: needs one number to start from (expected a tensor of 1 "
                         "element, got %s); reduce it, or pass the gradient",
                         tide_shape_str(loss->rank, loss->shape, shape, sizeof shape));
    return walk_from(ctx, loss, seed, &(tide_walk){.retain = retain_graph});
}

tide_status tide_grad_above(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n,
                            tide_tensor **wrt, int create_graph, int retain_graph, uint64_t floor,
                            int within, tide_tensor **out) {
    char shape[160];
    if (!tide_needs_grad(loss))
        return tide_fail(ctx, TIDE_EGRAD,
                         "grad: the result depends on nothing that requires a gradient");
    if (!seed && tide_numel(loss) != 1)
        return tide_fail(
            ctx, TIDE_EGRAD,
            "grad: needs one number to start from (expected a tensor of 1 element, got %s)",
            tide_shape_str(loss->rank, loss->shape, shape, sizeof shape));
    tide_status st = walk_from(ctx, loss, seed,
                               &(tide_walk){.n = n,
                                            .wrt = wrt,
                                            .out = out,
                                            .record = create_graph,
                                            .retain = retain_graph || create_graph,
                                            .within = within,
                                            .floor = floor});
    if (st != TIDE_OK)
        for (int i = 0; i < n; i++) {
            tide_release(out[i]);
            out[i] = NULL;
        }
    return st;
}

tide_status tide_grad(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n, tide_tensor **wrt,
                      int create_graph, int retain_graph, tide_tensor **out) {
    for (int i = 0; i < n; i++) out[i] = NULL;
    return tide_grad_above(ctx, loss, seed, n, wrt, create_graph, retain_graph, 0, 0, out);
}

tide_status tide_grad_onto(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n,
                           tide_tensor **wrt, int create_graph, int retain_graph,
                           tide_tensor **out) {
    return tide_grad_above(ctx, loss, seed, n, wrt, create_graph, retain_graph, 0, 1, out);
}
