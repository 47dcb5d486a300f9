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

typedef struct tide_walk {
    int n;
    tide_tensor **wrt, **out; /* NULL: into the leaves' .grad */
    int record, retain;
    uint64_t floor; /* nodes older than this are left alone: an outer walk may be among them */
    int inner;      /* whether one of `wrt` is a result of an op */
    uint64_t id;
    tide_node **order, *top; /* with wrt: the nodes, newest first, each retained; the heap */
    int norder;
    struct later *later; /* leaves with hooks: these see the whole gradient, at the end */
    struct tide_walk *outer;
} sink;

struct later {
    tide_tensor *leaf, *g; /* owned */
    struct later *next;
};

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

static tide_status push(tide_ctx *ctx, sink *s, tide_node *n) {
    if (n->walk == s->id) return TIDE_OK;
    if (n->walk)
        return tide_fail(ctx, TIDE_EGRAD,
                         "backward: a hook or a custom gradient cannot walk the graph that is "
                         "being walked (at %s)",
                         n->op->name);
    n->walk = s->id;
    n->refs++;
    n->first = n->sibling = NULL;
    s->top = meld(s->top, n);
    return TIDE_OK;
}

/* The newest node; it stays marked as held until it is dropped. */
static tide_node *pop(sink *s) {
    tide_node *top = s->top, *pairs = NULL, *n = top->first;
    while (n) { /* pairs from left to right, then all from right to left */
        tide_node *a = n, *b = n->sibling;
        n = b ? b->sibling : NULL;
        a->sibling = NULL;
        if (b) b->sibling = NULL;
        a = meld(a, b);
        a->sibling = pairs;
        pairs = a;
    }
    s->top = NULL;
    while (pairs) {
        tide_node *next = pairs->sibling;
        pairs->sibling = NULL;
        s->top = meld(s->top, pairs);
        pairs = next;
    }
    return top;
}

/* -- gradients -- */

static tide_status add_sparse(tide_ctx *ctx, tide_tensor *a, tide_tensor *b, tide_tensor **out) {
    tide_tensor *ids = NULL, *values = NULL, *pair[2] = {a->ids, b->ids},
                *vals[2] = {a->values, b->values};
    tide_status st =
        tide_apply(ctx, &tide_op_concatenate, &(tide_concatenate_attrs){.axis = 0}, 2, pair, &ids);
    if (st == TIDE_OK)
        st = tide_apply(ctx, &tide_op_concatenate, &(tide_concatenate_attrs){.axis = 0}, 2, vals,
                        &values);
    *out = st == TIDE_OK ? tide_sparse_new(ctx, a->rank, a->shape, ids, values) : NULL;
    if (st == TIDE_OK && !*out)
        st = tide_fail(ctx, TIDE_ENOMEM, "not enough memory to add gradients");
    tide_release(ids);
    tide_release(values);
    return st;
}

static int seen_by_others(const tide_tensor *x) { return x->refs > 1 || x->storage->refs > 1; }

/* A gradient that is handed out, or shown to somebody who may write to it, shares its memory with
 * nobody: writing to one must not change another. Under grad mode the copy is recorded. */
tide_status tide_unshare(tide_ctx *ctx, tide_tensor **g) {
    tide_tensor *x = *g, *copy = NULL;
    if (tide_is_sparse(x) || (!seen_by_others(x) && tide_is_contiguous(x) && !x->shares))
        return TIDE_OK;
    TIDE_TRY(tide_apply(ctx, &tide_op_copy, &(tide_copy_attrs){0}, 1, &x, &copy));
    tide_release(x);
    *g = copy;
    return TIDE_OK;
}

/* to += g, in place. */
static tide_status add_into(tide_ctx *ctx, tide_tensor *to, tide_tensor *g) {
    tide_tensor *pair[2] = {to, g}, *sum = NULL;
    tide_status st;
    if (to->dtype == TIDE_F32 || to->dtype == TIDE_F64) {
        st = tide_run_into(ctx, &tide_op_add, &(tide_add_attrs){0}, 2, pair, to);
    } else {
        st = tide_apply(ctx, &tide_op_add, &(tide_add_attrs){0}, 2, pair, &sum);
        if (st == TIDE_OK)
            st = tide_run_into(ctx, &tide_op_copy, &(tide_copy_attrs){0}, 1, &sum, to);
        tide_release(sum);
    }
    return st;
}

/* *slot += g; takes g's reference, also on failure. The first to arrive is moved in; a slot nobody
 * else sees is added to in place. */
static tide_status accumulate(tide_ctx *ctx, tide_tensor **slot, tide_tensor *g, int record) {
    if (!*slot) {
        *slot = g;
        return TIDE_OK;
    }
    tide_tensor *have = *slot, *sum = NULL, *pair[2] = {have, g};
    tide_status st;
    if (tide_is_sparse(have) && tide_is_sparse(g)) {
        st = add_sparse(ctx, have, g, &sum);
    } else if (tide_is_sparse(have) || tide_is_sparse(g)) {
        tide_tensor *dense[2] = {0};
        st = tide_densify(ctx, have, &dense[0]);
        if (st == TIDE_OK) st = tide_densify(ctx, g, &dense[1]);
        if (st == TIDE_OK) st = tide_apply(ctx, &tide_op_add, &(tide_add_attrs){0}, 2, dense, &sum);
        tide_release(dense[0]);
        tide_release(dense[1]);
    } else if (!record && !seen_by_others(have) && tide_is_contiguous(have)) {
        st = add_into(ctx, have, g);
        tide_release(g);
        return st;
    } else {
        st = tide_apply(ctx, &tide_op_add, &(tide_add_attrs){0}, 2, pair, &sum);
    }
    tide_release(g);
    if (st != TIDE_OK) return st;
    tide_release(have);
    *slot = sum;
    return TIDE_OK;
}

typedef struct { /* what a rule gave for an input */
    tide_tensor *g;
    const tide_place *at;   /* NULL: of the whole input */
    const tide_meta *whole; /* the input's form */
} gift;

/* The part of *slot, which is made of zeros if it is not there, += g. Nothing is recorded. */
static tide_status accumulate_part(tide_ctx *ctx, tide_tensor **slot, const gift *p) {
    tide_tensor *view = NULL, *dense = NULL;
    tide_status st = TIDE_OK;
    const int first = !*slot;
    if (first) {
        tide_fill__attrs a = {.shape = {.n = p->whole->rank}, .dtype = p->whole->dtype};
        for (int i = 0; i < p->whole->rank; i++) a.shape.v[i] = p->whole->shape[i];
        st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, slot);
    } else if (tide_is_sparse(*slot)) {
        st = tide_densify(ctx, *slot, &dense);
        if (st == TIDE_OK) tide_release(*slot), *slot = dense;
    }
    if (st == TIDE_OK) st = tide_unshare(ctx, slot);
    if (st == TIDE_OK)
        st = tide_view(ctx, *slot, p->g->rank, p->g->shape, p->at->stride,
                       (*slot)->offset + p->at->offset, &view);
    if (st == TIDE_OK && first)
        st = tide_run_into(ctx, &tide_op_copy, &(tide_copy_attrs){0}, 1, (tide_tensor **)&p->g,
                           view);
    else if (st == TIDE_OK) st = add_into(ctx, view, p->g);
    tide_release(view);
    return st;
}

/* Takes the reference to the gradient, also on failure. */
static tide_status add_gift(tide_ctx *ctx, tide_tensor **slot, const gift *p, int record) {
    if (!p->at) return accumulate(ctx, slot, p->g, record);
    tide_status st = accumulate_part(ctx, slot, p);
    tide_release(p->g);
    return st;
}

static tide_status same_form(tide_ctx *ctx, const tide_tensor *want, const tide_tensor *got,
                             tide_status st, const char *what) {
    int same = got->rank == want->rank && got->dtype == want->dtype;
    for (int i = 0; i < want->rank && same; i++) same = got->shape[i] == want->shape[i];
    char a[160], b[160];
    if (same) return TIDE_OK;
    return tide_fail(
        ctx, st, "backward: %s (expected %s %s, got %s %s)", what, tide_dtype_name(want->dtype),
        tide_shape_str(want->rank, want->shape, a, sizeof a), tide_dtype_name(got->dtype),
        tide_shape_str(got->rank, got->shape, b, sizeof b));
}

/* What goes into .grad has no graph: a leaf would hold itself. Releases `g` where it fails. */
static tide_status without_graph(tide_ctx *ctx, tide_tensor **g) {
    tide_tensor *x = *g;
    tide_status st = TIDE_OK;
    if (x->node) {
        st = tide_detach(ctx, x, g);
        tide_release(x);
    }
    if (st != TIDE_OK) return st;
    const int was = tide_grad_mode(ctx, 0);
    st = tide_unshare(ctx, g);
    ctx->grad_mode = was;
    if (st != TIDE_OK) tide_release(*g);
    return st;
}

static tide_status run_hooks(tide_ctx *ctx, tide_hook *h, int index, tide_tensor **g) {
    for (; h; h = h->next) {
        if (h->index != index) continue;
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

/* Takes the gradient's reference. */
static tide_status leaf_gradient(tide_ctx *ctx, const sink *s, tide_tensor *leaf, gift p) {
    tide_status st = TIDE_OK;
    if (!s->wrt) { /* what is added, or is a part, is not kept */
        if (!leaf->grad && !p.at) st = without_graph(ctx, &p.g);
        return st == TIDE_OK ? add_gift(ctx, &leaf->grad, &p, 0) : st;
    }
    for (int i = 0; i < s->n && st == TIDE_OK; i++)
        if (s->wrt[i] == leaf) {
            tide_retain(p.g);
            st = add_gift(ctx, &s->out[i], &p, s->record);
        }
    tide_release(p.g);
    return st;
}

static tide_status leaf_with_hooks(tide_ctx *ctx, sink *s, tide_tensor *leaf, gift p) {
    struct later **l = &s->later;
    while (*l && (*l)->leaf != leaf) l = &(*l)->next;
    if (!*l) {
        *l = malloc(sizeof **l);
        if (!*l) {
            tide_release(p.g);
            return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
        }
        **l = (struct later){.leaf = tide_retain(leaf)};
    }
    return add_gift(ctx, &(*l)->g, &p, s->record);
}

static tide_status give_leaf(tide_ctx *ctx, sink *s, tide_tensor *leaf, gift p) {
    return leaf->hooks ? leaf_with_hooks(ctx, s, leaf, p) : leaf_gradient(ctx, s, leaf, p);
}

static tide_status end_leaves(tide_ctx *ctx, sink *s, tide_status st) {
    while (s->later) {
        struct later *l = s->later;
        s->later = l->next;
        if (st == TIDE_OK) st = run_hooks(ctx, l->leaf->hooks, 0, &l->g);
        if (st == TIDE_OK) st = leaf_gradient(ctx, s, l->leaf, (gift){.g = l->g});
        else tide_release(l->g);
        tide_release(l->leaf);
        free(l);
    }
    return st;
}

static void drop_gradients(tide_node *n) {
    for (int i = 0; i < n->nout; i++) {
        tide_release(n->gout[i]);
        n->gout[i] = NULL;
    }
}

/* Runs the node's rule and hands on what it gave. */
static tide_status run_rule(tide_ctx *ctx, tide_node *n, sink *s) {
    tide_tape t;
    tide_tensor *few[16] = {0};
    tide_tape_begin(&t, ctx, n, s->record);
    t.given = n->nin <= 16 ? few : calloc((size_t)n->nin, sizeof *t.given);
    if (!t.given)
        return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for gradients", n->op->name);
    if (n->freed && n->op->saves) {
        tide_tape_released(&t);
    } else if (n->op->grad && !(s->record && n->op->flags & TIDE_FIRST_ORDER)) {
        n->op->grad(&t, n);
    } else if (n->op->compose) {
        t.status = tide_compose_grad(&t, n);
    } else {
        t.status = tide_fail(ctx, TIDE_EGRAD,
                             s->record ? "%s: has no second derivative" : "%s: has no gradient",
                             n->op->name);
    }
    tide_status st = t.status;
    tide_tape_end(&t); /* first: who else holds a gradient decides whether it is copied */
    drop_gradients(n);
    for (int i = 0; i < n->nin; i++) {
        tide_edge *e = &n->in[i];
        gift p = {t.given[i], t.partial == i ? &t.part : NULL, &n->in_meta[i]};
        if (!p.g) continue;
        if (st == TIDE_OK && e->node) st = push(ctx, s, e->node);
        if (st != TIDE_OK) tide_release(p.g);
        else if (e->node) st = add_gift(ctx, &e->node->gout[e->index], &p, s->record);
        else if (e->leaf) st = give_leaf(ctx, s, e->leaf, p);
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

static tide_status look(tide_ctx *ctx, sink *s, tide_node *root) {
    const uint64_t id = ++ctx->walks;
    int cap = 0, sorted = 1;
    for (int k = -1; k < s->norder; k++) {
        const tide_node *n = k < 0 ? NULL : s->order[k];
        for (int i = 0; i < (n ? n->nin : 1); i++) {
            tide_node *next = n ? n->in[i].node : root;
            if (!next || next->seen == id || next->seq < s->floor) continue;
            if (s->norder == cap) {
                cap = cap ? cap * 2 : 64;
                tide_node **more = realloc(s->order, (size_t)cap * sizeof *more);
                if (!more) return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
                s->order = more;
            }
            next->seen = id;
            next->refs++;
            sorted &= !s->norder || s->order[s->norder - 1]->seq > next->seq;
            s->order[s->norder++] = next;
        }
    }
    if (!sorted) qsort(s->order, (size_t)s->norder, sizeof *s->order, newest_first);
    return TIDE_OK;
}

/* Marks which edges lead to something asked for, so that rules compute nothing else. */
static void mark(sink *s) {
    for (int k = s->norder - 1; k >= 0; k--) { /* producers first */
        tide_node *n = s->order[k];
        n->pruned = 1;
        n->mark = 0;
        for (int i = 0; i < s->n && s->inner; i++)
            if (s->wrt[i]->node == n) n->mark = 1;
        for (int i = 0; i < n->nin; i++) {
            tide_edge *e = &n->in[i];
            e->wanted = e->node && e->node->seq >= s->floor ? e->node->mark : 0;
            for (int j = 0; j < s->n && e->leaf && !e->wanted; j++)
                e->wanted = s->wrt[j] == e->leaf;
            n->mark |= e->wanted;
        }
    }
}

static void unmark(sink *s) {
    for (int k = 0; k < s->norder; k++) s->order[k]->pruned = 0;
}

/* Walks above a floor meet nodes of their own only; others borrow the marks of the walk outside. */
static void enter(tide_ctx *ctx, sink *s) {
    s->id = ++ctx->walks;
    s->outer = ctx->walking;
    for (sink *o = s->outer; o && !s->floor; o = o->outer) unmark(o);
    ctx->walking = s;
}

static void leave(tide_ctx *ctx, sink *s) {
    unmark(s);
    for (int k = 0; k < s->norder; k++) tide_node_unref(ctx, s->order[k]);
    free(s->order);
    ctx->walking = s->outer;
    if (!s->floor && s->outer) mark(s->outer);
}

static void visit(tide_ctx *ctx, sink *s, tide_node *n, tide_status *status) {
    tide_status st = *status;
    for (int i = 0; i < n->nout && st == TIDE_OK; i++)
        if (n->gout[i] && n->hooks) st = run_hooks(ctx, n->hooks, i, &n->gout[i]);
    for (int i = 0; i < s->n && s->inner && st == TIDE_OK; i++)
        if (s->wrt[i]->node == n && n->gout[s->wrt[i]->out_index])
            st = accumulate(ctx, &s->out[i], tide_retain(n->gout[s->wrt[i]->out_index]), s->record);
    int useful = !n->pruned;
    for (int i = 0; i < n->nin && !useful; i++) useful = n->in[i].wanted;
    if (st == TIDE_OK && useful) {
        st = run_rule(ctx, n, s);
        if (!s->retain) tide_node_clear_saved(n);
    }
    drop_gradients(n);
    n->walk = 0;
    tide_node_unref(ctx, n);
    *status = st;
}

static tide_status walk(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, sink *s) {
    tide_status st = TIDE_OK;
    tide_tensor *g = NULL;
    tide_retain(loss);
    for (int i = 0; i < s->n; i++) {
        tide_retain(s->wrt[i]);
        s->inner |= s->wrt[i]->node != NULL;
    }
    enter(ctx, s);
    int was = tide_grad_mode(ctx, s->record);
    if (seed) {
        st = same_form(ctx, loss, seed, TIDE_ESHAPE, "the incoming gradient has the wrong form");
        if (st == TIDE_OK) g = tide_retain(seed);
    } else {
        tide_fill__attrs a = {.shape = {.n = loss->rank}, .value = 1, .dtype = loss->dtype};
        for (int i = 0; i < loss->rank; i++) a.shape.v[i] = loss->shape[i];
        st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, &g);
    }
    if (st == TIDE_OK && !loss->node) {
        st = give_leaf(ctx, s, loss, (gift){.g = g});
    } else {
        if (st == TIDE_OK && s->wrt) {
            st = look(ctx, s, loss->node);
            if (st == TIDE_OK) mark(s);
        }
        if (st == TIDE_OK) st = push(ctx, s, loss->node);
        if (st == TIDE_OK) loss->node->gout[loss->out_index] = g;
        else tide_release(g);
        while (s->top) visit(ctx, s, pop(s), &st);
    }
    st = end_leaves(ctx, s, st);
    for (int i = 0; i < s->n && !s->floor && st == TIDE_OK; i++)
        if (s->out[i]) st = tide_unshare(ctx, &s->out[i]);
    ctx->grad_mode = was;
    leave(ctx, s);
    for (int i = 0; i < s->n; i++) tide_release(s->wrt[i]);
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
    return walk(ctx, loss, seed, &(sink){.retain = retain_graph});
}

static tide_status grad_above(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n,
                              tide_tensor **wrt, int create_graph, int retain_graph, uint64_t floor,
                              tide_tensor **out) {
    char shape[160];
    for (int i = 0; i < n; i++) out[i] = NULL;
    if (!tide_needs_grad(loss))
        return tide_fail(ctx, TIDE_EGRAD,
                         "grad: the result depends on nothing that requires a gradient");
    if (!seed && tide_numel(loss) != 1)
        return tide_fail(
            ctx, TIDE_EGRAD,
            "grad: needs one number to start from (expected a tensor of 1 element, got %s)",
            tide_shape_str(loss->rank, loss->shape, shape, sizeof shape));
    tide_status st = walk(ctx, loss, seed,
                          &(sink){.n = n,
                                  .wrt = wrt,
                                  .out = out,
                                  .record = create_graph,
                                  .retain = retain_graph || create_graph,
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
    return grad_above(ctx, loss, seed, n, wrt, create_graph, retain_graph, 0, out);
}

/* Second derivatives of a fused op whose gradient op has no rule: run `compose` on views of the
 * saved inputs while recording, and differentiate that, down to the views: what lies below them
 * belongs to the walk that called. */
tide_status tide_compose_grad(tide_tape *t, tide_node *n) {
    tide_ctx *ctx = t->ctx;
    tide_tensor *in[16] = {0}, *out[8] = {0}, *wrt[16], *got[16] = {0};
    int index[16], nwrt = 0;
    if (n->nin > 16) return tide_fail(ctx, TIDE_EGRAD, "%s: has no second derivative", n->op->name);
    tide_status st = TIDE_OK;
    int was = tide_grad_mode(ctx, 1);
    uint64_t floor = ctx->seq;
    for (int i = 0; i < n->nin && st == TIDE_OK; i++) {
        if (!n->in[i].saved) continue;
        in[i] = tide_t_in(t, i);
        if (!in[i]) {
            st = t->status;
        } else if (tide_t_needs(t, i)) {
            tide_transpose_attrs same = {.axes = {.n = in[i]->rank}};
            for (int k = 0; k < in[i]->rank; k++) same.axes.v[k] = k;
            in[i] = tide_t(t, TIDE_OP_transpose, &same, in[i]);
            st = t->status;
            wrt[nwrt] = in[i], index[nwrt++] = i;
        }
    }
    if (st == TIDE_OK) st = tide_compose(ctx, n->op, n->attrs, n->nin, in, out);
    for (int k = 0; k < n->nout && st == TIDE_OK; k++) {
        if (!n->gout[k] || !out[k] || !tide_needs_grad(out[k])) continue;
        tide_tensor *g[16] = {0};
        st = grad_above(ctx, out[k], n->gout[k], nwrt, wrt, t->record, 1, floor, g);
        for (int i = 0; i < nwrt; i++)
            if (st != TIDE_OK) tide_release(g[i]);
            else if (g[i]) st = accumulate(ctx, &got[i], g[i], t->record);
    }
    for (int i = 0; i < nwrt; i++) {
        if (st == TIDE_OK && got[i]) tide_t_give(t, index[i], got[i]);
        tide_release(got[i]);
    }
    for (int k = 0; k < n->nout; k++) tide_release(out[k]);
    tide_grad_mode(ctx, was);
    return st != TIDE_OK ? st : t->status;
}
