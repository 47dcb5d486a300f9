/* The tape: nodes, the walk, rules' helpers.
 *
 * Invariant: a node's inputs have smaller sequence numbers than the node, so walking by decreasing number visits every
 * consumer before its producer. Nodes own their inputs and what they saved; a saved output is a view without node, so there
 * are no cycles. Releasing goes through a worklist, never through recursion. */
#include "op.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tide_tape {
    tide_ctx *ctx;
    tide_node *node; /* the node whose rule runs; NULL inside a composition */
    tide_status status;
    int record;
    tide_tensor **temp; /* owned until the rule returns */
    int ntemp, cap;
    tide_tensor **given; /* [nin], owned */
    tide_tensor *inline_temp[32];
};

/* -- nodes -- */

static void edge_clear(tide_ctx *ctx, tide_edge *e) {
    tide_release(e->leaf);
    tide_release(e->saved);
    if (e->node) tide_node_unref(ctx, e->node);
    e->leaf = e->saved = NULL;
    e->node = NULL;
}

static void node_clear_saved(tide_node *n) {
    for (int i = 0; i < n->nin; i++) {
        tide_release(n->in[i].saved);
        n->in[i].saved = NULL;
    }
    if (n->out_saved)
        for (int i = 0; i < n->nout; i++) {
            tide_release(n->out_saved[i]);
            n->out_saved[i] = NULL;
        }
    n->freed = 1;
}

static void node_free(tide_ctx *ctx, tide_node *n) {
    node_clear_saved(n);
    for (int i = 0; i < n->nin; i++) edge_clear(ctx, &n->in[i]);
    for (int i = 0; i < n->nout; i++) tide_release(n->gout[i]);
    while (n->hooks) {
        tide_hook *h = n->hooks;
        n->hooks = h->next;
        if (ctx->free_ref) ctx->free_ref(ctx, h->ref);
        free(h);
    }
    if (n->custom && ctx->free_ref) ctx->free_ref(ctx, n->custom);
    free(n);
    ctx->live_nodes--;
}

void tide_node_unref(tide_ctx *ctx, tide_node *n) {
    if (--n->refs > 0) return;
    n->work_next = ctx->dead;
    ctx->dead = n;
    if (ctx->draining) return;
    ctx->draining = 1;
    ctx->refs++; /* the last tensor of a node may be the context's last */
    while (ctx->dead) {
        tide_node *d = ctx->dead;
        ctx->dead = d->work_next;
        node_free(ctx, d);
    }
    ctx->draining = 0;
    tide_ctx_unref(ctx);
}

static int saves_input(const tide_op *op, int i) {
    int slot = i < op->nin ? i : op->nin; /* all of a list with its first */
    return slot < 16 && op->saves >> slot & 1;
}

static tide_node *node_new(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin, int nlist, tide_tensor **in, int nout) {
    /* one block: node, attributes, edges, metas, gradients, saved outputs */
    size_t attrs_size = (op->attrs_size + 15) & ~(size_t)15;
    size_t size = sizeof(tide_node) + attrs_size + (size_t)nin * (sizeof(tide_edge) + sizeof(tide_meta)) +
        (size_t)nout * (2 * sizeof(tide_tensor *) + sizeof(tide_meta));
    tide_node *n = malloc(size);
    if (!n) return NULL;
    memset(n, 0, sizeof *n);
    char *p = (char *)n->attrs + attrs_size;
    n->in = (tide_edge *)p;
    p += (size_t)nin * sizeof(tide_edge);
    n->gout = (tide_tensor **)p;
    p += (size_t)nout * sizeof(tide_tensor *);
    n->out_saved = (tide_tensor **)p;
    p += (size_t)nout * sizeof(tide_tensor *);
    n->in_meta = (tide_meta *)p;
    n->out_meta = n->in_meta + nin;
    memset(n->in, 0, (size_t)((char *)n->in_meta - (char *)n->in));
    if (op->attrs_size) memcpy(n->attrs, attrs, op->attrs_size);
    n->refs = 1;
    n->seq = ctx->seq++;
    n->op = op;
    n->nin = nin;
    n->nout = nout;
    n->nlist = nlist;
    ctx->live_nodes++;
    for (int i = 0; i < nin; i++) {
        tide_edge *e = &n->in[i];
        if (!in[i]) continue;
        n->in_meta[i] = tide_meta_of(in[i]);
        if (in[i]->node) {
            e->node = in[i]->node;
            e->node->refs++;
            e->index = in[i]->out_index;
            e->needs = 1;
        } else if (in[i]->requires_grad) {
            e->leaf = tide_retain(in[i]);
            e->needs = 1;
        }
        if (saves_input(op, i)) {
            e->saved = tide_retain(in[i]);
            e->version = in[i]->storage ? in[i]->storage->version : 0;
        }
    }
    if (ctx->where) ctx->where(ctx, n);
    return n;
}

static void node_adopt(tide_node *n, tide_tensor *t, int index) {
    n->out_meta[index] = tide_meta_of(t);
    if (!tide_is_float(t->dtype)) return;
    t->node = n;
    t->out_index = index;
    n->refs++;
}

tide_status tide_record(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin, int nlist, tide_tensor **in, tide_tensor **out) {
    for (int i = 0; i < nin; i++)
        if (in[i] && in[i]->is_view && in[i]->node && in[i]->view_version != in[i]->storage->version)
            return tide_fail(ctx, TIDE_EGRAD,
                             "%s: input %d is a view of a tensor that was changed in place after the view was made; make the view again",
                             op->name, i + 1);
    tide_node *n = node_new(ctx, op, attrs, nin, nlist, in, op->nout);
    if (!n) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to record", op->name);
    tide_status st = TIDE_OK;
    if (op->nout) n->out_version = out[0]->storage->version;
    for (int i = 0; i < op->nout && st == TIDE_OK; i++) {
        if (op->saves >> (16 + i) & 1) st = tide_detach(ctx, out[i], &n->out_saved[i]);
        if (st == TIDE_OK) {
            out[i]->view_version = out[i]->storage->version;
            node_adopt(n, out[i], i);
        }
    }
    tide_node_unref(ctx, n);
    return st;
}

/* The op of nodes that Lua defines; its rule calls back. */
static void custom_grad(tide_tape *t, const tide_node *n) {
    tide_status st = t->ctx->call_custom(t, n->custom, n->nout, n->nin);
    if (st != TIDE_OK && t->status == TIDE_OK) t->status = st;
}
static const tide_op custom_op = {.name = "custom_gradient", .doc = "", .id = -1, .grad = custom_grad, .flags = TIDE_PRIVATE};

tide_status tide_record_custom(tide_ctx *ctx, void *custom, int nin, tide_tensor **in, int nout, tide_tensor **out) {
    tide_node *n = node_new(ctx, &custom_op, NULL, nin, 0, in, nout);
    if (!n) {
        if (ctx->free_ref) ctx->free_ref(ctx, custom);
        return tide_fail(ctx, TIDE_ENOMEM, "custom_gradient: not enough memory to record");
    }
    n->custom = custom;
    for (int i = 0; i < nout; i++) node_adopt(n, out[i], i);
    tide_node_unref(ctx, n);
    return TIDE_OK;
}

tide_status tide_add_hook(tide_ctx *ctx, tide_tensor *t, void *ref) {
    tide_hook *h = malloc(sizeof *h);
    if (!h) {
        if (ctx->free_ref) ctx->free_ref(ctx, ref);
        return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a hook");
    }
    tide_hook **list = t->node ? &t->node->hooks : &t->hooks;
    while (*list) list = &(*list)->next; /* in order of registration */
    *h = (tide_hook){.index = t->out_index, .ref = ref};
    *list = h;
    return TIDE_OK;
}

/* -- the tape's helpers for rules -- */

static void keep(tide_tape *t, tide_tensor *x) {
    if (t->ntemp == t->cap) {
        int cap = t->cap * 2;
        tide_tensor **more = malloc((size_t)cap * sizeof *more);
        if (!more) {
            t->status = tide_fail(t->ctx, TIDE_ENOMEM, "not enough memory in a gradient rule");
            tide_release(x);
            return;
        }
        memcpy(more, t->temp, (size_t)t->ntemp * sizeof *more);
        if (t->temp != t->inline_temp) free(t->temp);
        t->temp = more;
        t->cap = cap;
    }
    t->temp[t->ntemp++] = x;
}

static void tape_begin(tide_tape *t, tide_ctx *ctx, tide_node *n, int record) {
    *t = (tide_tape){.ctx = ctx, .node = n, .record = record, .cap = 32};
    t->temp = t->inline_temp;
}

static void tape_end(tide_tape *t) {
    for (int i = 0; i < t->ntemp; i++) tide_release(t->temp[i]);
    if (t->temp != t->inline_temp) free(t->temp);
}

void tide_tn(tide_tape *t, int op, const void *attrs, int nin, tide_tensor **in, tide_tensor **out) {
    const tide_op *o = tide_ops[op];
    for (int i = 0; i < o->nout; i++) out[i] = NULL;
    if (t->status != TIDE_OK) return;
    t->status = tide_apply(t->ctx, o, attrs, nin, in, out);
    for (int i = 0; i < o->nout; i++) {
        if (out[i]) keep(t, out[i]);
        if (t->status != TIDE_OK) out[i] = NULL;
    }
}

tide_tensor *tide_t(tide_tape *t, int op, const void *attrs, ...) {
    tide_tensor *in[8], *out[8] = {0};
    va_list ap;
    va_start(ap, attrs);
    for (int i = 0; i < tide_ops[op]->nin; i++) in[i] = va_arg(ap, tide_tensor *);
    va_end(ap);
    tide_tn(t, op, attrs, tide_ops[op]->nin, in, out);
    return out[0];
}

tide_tensor *tide_t_scalar(tide_tape *t, double value, tide_tensor *like) {
    if (t->status != TIDE_OK) return NULL;
    return tide_t(t, OP(fill_, .shape = {.n = 0}, .value = value, .dtype = like->dtype));
}

tide_tensor *tide_t_sum_to(tide_tape *t, tide_tensor *g, tide_tensor *like) {
    if (t->status != TIDE_OK || !g || !like) return NULL;
    return tide_t_sum_to_meta(t, g, &(tide_meta){.rank = like->rank}, like->shape);
}

tide_tensor *tide_t_sum_to_meta(tide_tape *t, tide_tensor *g, const tide_meta *m, const int64_t *shape) {
    if (t->status != TIDE_OK || !g) return NULL;
    int lead = g->rank - m->rank;
    tide_sum_attrs a = {.axis = {.n = 0}, .keepdims = 1};
    for (int i = 0; i < g->rank; i++)
        if (i < lead || (shape[i - lead] == 1 && g->shape[i] != 1)) a.axis.v[a.axis.n++] = i;
    if (a.axis.n == 0) return g;
    tide_tensor *s = tide_t(t, TIDE_OP_sum, &a, g);
    if (lead == 0 || !s) return s;
    tide_reshape_attrs r = {.newshape = {.n = m->rank}};
    for (int i = 0; i < m->rank; i++) r.newshape.v[i] = shape[i];
    return tide_t(t, TIDE_OP_reshape, &r, s);
}

/* A value the rule reads must be the value the op saw. */
static int unchanged(tide_tape *t, const tide_tensor *x, uint64_t version, const char *what, int i) {
    if (!x->storage || x->storage->version == version) return 1;
    const tide_node *n = t->node;
    char shape[160], at[100] = "";
    const char *name = what;
    if (*n->source) snprintf(at, sizeof at, " at %s:%d", n->source, n->line);
    if (i >= 0 && n->op->kind != TIDE_POINTWISE_OP && n->op->args && i < n->op->nargs) name = n->op->args()[i].name;
    t->status = tide_fail(t->ctx, TIDE_EGRAD,
                          "%s: %s %s was changed in place after the op ran%s, but its gradient needs the value; use an op that "
                          "makes a new tensor, or copy first",
                          n->op->name, name, tide_shape_str(x->rank, x->shape, shape, sizeof shape), at);
    return 0;
}

static int released(tide_tape *t) {
    if (!t->node->freed) return 0;
    t->status = tide_fail(t->ctx, TIDE_EGRAD,
                          "%s: the graph was already walked and its saved tensors were freed; pass retain_graph = true to the first backward",
                          t->node->op->name);
    return 1;
}

tide_tensor *tide_t_in(tide_tape *t, int i) {
    if (t->status != TIDE_OK || i >= t->node->nin) return NULL;
    tide_edge *e = &t->node->in[i];
    if (!e->saved) {
        if (t->node->in_meta[i].rank || e->needs || saves_input(t->node->op, i)) released(t);
        return NULL;
    }
    return unchanged(t, e->saved, e->version, "an input", i) ? e->saved : NULL;
}

tide_tensor *tide_t_out(tide_tape *t, int i) {
    if (t->status != TIDE_OK || released(t)) return NULL;
    tide_node *n = t->node;
    tide_tensor *y = n->out_saved[i];
    if (!y) return NULL;
    if (!unchanged(t, y, n->out_version, "its result", -1)) return NULL;
    if (!t->record) return y;
    tide_tensor *view = NULL; /* with the node, so that second derivatives pass through */
    t->status = tide_detach(t->ctx, y, &view);
    if (!view) return NULL;
    keep(t, view);
    if (t->status != TIDE_OK) return NULL;
    view->node = n;
    view->out_index = i;
    view->view_version = y->storage->version;
    n->refs++;
    return view;
}

int tide_t_has_dy(tide_tape *t, int i) { return t->node->gout[i] != NULL; }

tide_tensor *tide_t_dy(tide_tape *t, int i) {
    if (t->status != TIDE_OK) return NULL;
    tide_tensor *g = t->node->gout[i];
    if (g) return g;
    const tide_meta *m = &t->node->out_meta[i];
    tide_fill__attrs a = {.shape = {.n = m->rank}, .value = 0, .dtype = m->dtype};
    for (int k = 0; k < m->rank; k++) a.shape.v[k] = m->shape[k];
    return tide_t(t, TIDE_OP_fill_, &a);
}

int tide_t_needs(tide_tape *t, int i) { return i < t->node->nin && t->node->in[i].needs && (!t->node->pruned || t->node->in[i].wanted); }

void tide_t_give(tide_tape *t, int i, tide_tensor *g) {
    if (t->status != TIDE_OK || !g || !tide_t_needs(t, i)) return;
    const tide_meta *m = &t->node->in_meta[i];
    int same = m->rank == g->rank && m->dtype == g->dtype;
    for (int k = 0; k < m->rank && same; k++) same = m->shape[k] == g->shape[k];
    if (!same) {
        char a[160], b[160];
        t->status = tide_fail(t->ctx, TIDE_EGRAD, "%s: the gradient of input %d has the wrong form (expected %s %s, got %s %s)", t->node->op->name,
                              i + 1, tide_dtype_name(m->dtype), tide_shape_str(m->rank, m->shape, a, sizeof a), tide_dtype_name(g->dtype),
                              tide_shape_str(g->rank, g->shape, b, sizeof b));
        return;
    }
    tide_release(t->given[i]);
    t->given[i] = tide_retain(g);
}

const tide_meta *tide_t_in_meta(tide_tape *t, int i) { return &t->node->in_meta[i]; }
tide_ctx *tide_t_ctx(tide_tape *t) { return t->ctx; }
int tide_t_failed(tide_tape *t) { return t->status != TIDE_OK; }
int tide_t_recording(tide_tape *t) { return t->record; }
void tide_t_keep(tide_tape *t, tide_tensor *x) { keep(t, x); }

tide_status tide_compose(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin, tide_tensor **in, tide_tensor **out) {
    tide_tape t;
    tape_begin(&t, ctx, NULL, ctx->grad_mode);
    for (int i = 0; i < op->nout; i++) out[i] = NULL;
    op->compose(&t, attrs, nin, in, out);
    tide_status st = t.status;
    for (int i = 0; i < op->nout; i++) out[i] = st == TIDE_OK ? tide_retain(out[i]) : NULL;
    tape_end(&t);
    /* a composition that returns its own input (a reshape that changes nothing) still makes a new tensor */
    for (int i = 0; i < op->nout && st == TIDE_OK; i++)
        for (int k = 0; k < nin; k++)
            if (out[i] == in[k] && out[i]) {
                tide_tensor *v = NULL;
                tide_transpose_attrs a = {.axes = {.n = out[i]->rank}};
                for (int j = 0; j < out[i]->rank; j++) a.axes.v[j] = j;
                st = tide_apply(ctx, &tide_op_transpose, &a, 1, &out[i], &v);
                tide_release(out[i]);
                out[i] = v;
                break;
            }
    return st;
}

/* -- the walk -- */

typedef struct {
    tide_node **v;
    int n, cap;
} heap; /* by decreasing sequence number */

static int heap_push(heap *h, tide_node *n) {
    if (n->queued) return 1;
    if (h->n == h->cap) {
        int cap = h->cap ? h->cap * 2 : 64;
        tide_node **more = realloc(h->v, (size_t)cap * sizeof *more);
        if (!more) return 0;
        h->v = more;
        h->cap = cap;
    }
    n->queued = 1;
    n->refs++;
    int i = h->n++;
    while (i > 0 && h->v[(i - 1) / 2]->seq < n->seq) {
        h->v[i] = h->v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->v[i] = n;
    return 1;
}

static tide_node *heap_pop(heap *h) {
    tide_node *top = h->v[0], *last = h->v[--h->n];
    int i = 0;
    for (;;) {
        int c = 2 * i + 1;
        if (c >= h->n) break;
        if (c + 1 < h->n && h->v[c + 1]->seq > h->v[c]->seq) c++;
        if (h->v[c]->seq <= last->seq) break;
        h->v[i] = h->v[c];
        i = c;
    }
    if (h->n > 0) h->v[i] = last;
    top->queued = 0;
    return top;
}

static tide_status add_sparse(tide_ctx *ctx, tide_tensor *a, tide_tensor *b, tide_tensor **out) {
    tide_tensor *ids = NULL, *values = NULL, *pair[2] = {a->ids, b->ids}, *vals[2] = {a->values, b->values};
    tide_status st = tide_apply(ctx, &tide_op_concatenate, &(tide_concatenate_attrs){.axis = 0}, 2, pair, &ids);
    if (st == TIDE_OK) st = tide_apply(ctx, &tide_op_concatenate, &(tide_concatenate_attrs){.axis = 0}, 2, vals, &values);
    *out = st == TIDE_OK ? tide_sparse_new(ctx, a->rank, a->shape, ids, values) : NULL;
    if (st == TIDE_OK && !*out) st = tide_fail(ctx, TIDE_ENOMEM, "not enough memory to add gradients");
    tide_release(ids);
    tide_release(values);
    return st;
}

/* *slot += g; takes g's reference. The first to arrive is moved in; a slot nobody else sees is added to in place. */
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
    } else if (!record && have->refs == 1 && have->storage->refs == 1 && tide_is_contiguous(have)) {
        st = tide_run_into(ctx, &tide_op_add, &(tide_add_attrs){0}, 2, pair, have);
        if (st == TIDE_OK) have->storage->version++;
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

static tide_status run_hooks(tide_ctx *ctx, tide_hook *h, int index, tide_tensor **g) {
    for (; h; h = h->next) {
        if (h->index != index) continue;
        tide_tensor *next = NULL;
        TIDE_TRY(ctx->call_hook(ctx, h->ref, *g, &next));
        if (next) {
            const tide_tensor *old = *g;
            int same = next->rank == old->rank && next->dtype == old->dtype;
            for (int i = 0; i < old->rank && same; i++) same = next->shape[i] == old->shape[i];
            if (!same) {
                char a[160], b[160];
                tide_status st = tide_fail(ctx, TIDE_EGRAD, "backward: a hook returned a gradient of another form (expected %s %s, got %s %s)",
                                           tide_dtype_name(old->dtype), tide_shape_str(old->rank, old->shape, a, sizeof a),
                                           tide_dtype_name(next->dtype), tide_shape_str(next->rank, next->shape, b, sizeof b));
                tide_release(next);
                return st;
            }
            tide_release(*g);
            *g = next;
        }
    }
    return TIDE_OK;
}

typedef struct {
    int n;
    tide_tensor **wrt, **out; /* NULL: into the leaves' .grad */
    int record, retain;
    uint64_t floor; /* nodes older than this are left alone: an outer walk may be among them */
} sink;

static tide_status leaf_gradient(tide_ctx *ctx, const sink *s, tide_tensor *leaf, tide_tensor *g) {
    tide_status st = run_hooks(ctx, leaf->hooks, 0, &g);
    if (st != TIDE_OK) {
        tide_release(g);
        return st;
    }
    if (!s->wrt) {
        if (g->node) { /* a gradient in .grad never holds a graph */
            tide_tensor *plain = NULL;
            st = tide_detach(ctx, g, &plain);
            tide_release(g);
            if (st != TIDE_OK) return st;
            g = plain;
        }
        return accumulate(ctx, &leaf->grad, g, 0);
    }
    for (int i = 0; i < s->n; i++)
        if (s->wrt[i] == leaf) return accumulate(ctx, &s->out[i], g, s->record);
    tide_release(g);
    return TIDE_OK;
}

static tide_status run_rule(tide_ctx *ctx, tide_node *n, const sink *s) {
    tide_tape t;
    tide_tensor *few[16] = {0};
    tape_begin(&t, ctx, n, s->record);
    t.given = n->nin <= 16 ? few : calloc((size_t)n->nin, sizeof *t.given);
    if (!t.given) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory for gradients", n->op->name);
    if (n->freed && n->op->saves) {
        released(&t);
    } else if (n->op->grad && !(s->record && n->op->flags & TIDE_FIRST_ORDER)) {
        n->op->grad(&t, n);
    } else if (n->op->compose) {
        t.status = tide_compose_grad(&t, n);
    } else {
        t.status = tide_fail(ctx, TIDE_EGRAD, s->record ? "%s: has no second derivative" : "%s: has no gradient", n->op->name);
    }
    tide_status st = t.status;
    for (int i = 0; i < n->nin; i++) {
        tide_tensor *g = t.given[i];
        tide_edge *e = &n->in[i];
        if (!g) continue;
        if (st != TIDE_OK) tide_release(g);
        else if (e->node) st = accumulate(ctx, &e->node->gout[e->index], g, s->record);
        else if (e->leaf) st = leaf_gradient(ctx, s, e->leaf, g);
        else tide_release(g);
    }
    tape_end(&t);
    if (t.given != few) free(t.given);
    return st;
}

/* Marks which edges lead to something asked for, so that rules compute nothing else. */
static tide_status prune(tide_ctx *ctx, tide_node *root, const sink *s, heap *order) {
    heap h = {0};
    if (!heap_push(&h, root)) return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
    while (h.n) {
        tide_node *n = heap_pop(&h);
        if (order->n == order->cap) {
            order->cap = order->cap ? order->cap * 2 : 64;
            tide_node **more = realloc(order->v, (size_t)order->cap * sizeof *more);
            if (!more) {
                tide_node_unref(ctx, n);
                free(h.v);
                return tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
            }
            order->v = more;
        }
        order->v[order->n++] = n; /* keeps the reference */
        for (int i = 0; i < n->nin; i++)
            if (n->in[i].node && n->in[i].node->seq >= s->floor) heap_push(&h, n->in[i].node);
    }
    free(h.v);
    for (int k = order->n - 1; k >= 0; k--) { /* producers first */
        tide_node *n = order->v[k];
        n->pruned = 1;
        n->mark = 0;
        for (int i = 0; i < s->n; i++)
            if (s->wrt[i]->node == n) n->mark = 1;
        for (int i = 0; i < n->nin; i++) {
            tide_edge *e = &n->in[i];
            e->wanted = e->node && e->node->seq >= s->floor ? e->node->mark : 0;
            for (int j = 0; j < s->n && e->leaf && !e->wanted; j++) e->wanted = s->wrt[j] == e->leaf;
            n->mark |= e->wanted;
        }
    }
    return TIDE_OK;
}

static void unprune(tide_ctx *ctx, heap *order) {
    for (int k = 0; k < order->n; k++) {
        order->v[k]->pruned = 0;
        tide_node_unref(ctx, order->v[k]);
    }
    free(order->v);
}

static tide_status walk(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, const sink *s) {
    tide_status st = TIDE_OK;
    tide_tensor *g = NULL;
    heap h = {0}, order = {0};
    int was = tide_grad_mode(ctx, s->record);
    if (seed) {
        int same = seed->rank == loss->rank && seed->dtype == loss->dtype;
        for (int i = 0; i < loss->rank && same; i++) same = seed->shape[i] == loss->shape[i];
        char a[160], b[160];
        if (!same)
            st = tide_fail(ctx, TIDE_ESHAPE, "backward: the incoming gradient has the wrong form (expected %s %s, got %s %s)",
                           tide_dtype_name(loss->dtype), tide_shape_str(loss->rank, loss->shape, a, sizeof a),
                           tide_dtype_name(seed->dtype), tide_shape_str(seed->rank, seed->shape, b, sizeof b));
        else g = tide_retain(seed);
    } else {
        tide_fill__attrs a = {.shape = {.n = loss->rank}, .value = 1, .dtype = loss->dtype};
        for (int i = 0; i < loss->rank; i++) a.shape.v[i] = loss->shape[i];
        st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, &g);
    }
    if (st == TIDE_OK && !loss->node) {
        st = leaf_gradient(ctx, s, loss, g);
        tide_grad_mode(ctx, was);
        return st;
    }
    if (st == TIDE_OK && s->wrt) st = prune(ctx, loss->node, s, &order);
    if (st == TIDE_OK) {
        st = accumulate(ctx, &loss->node->gout[loss->out_index], g, s->record);
        g = NULL;
    }
    if (st == TIDE_OK && !heap_push(&h, loss->node)) st = tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
    while (h.n) {
        tide_node *n = heap_pop(&h);
        for (int i = 0; i < n->nout && st == TIDE_OK; i++)
            if (n->gout[i] && n->hooks) st = run_hooks(ctx, n->hooks, i, &n->gout[i]);
        for (int i = 0; i < s->n && st == TIDE_OK; i++)
            if (s->wrt[i]->node == n && n->gout[s->wrt[i]->out_index])
                st = accumulate(ctx, &s->out[i], tide_retain(n->gout[s->wrt[i]->out_index]), s->record);
        int any = 0;
        for (int i = 0; i < n->nout; i++) any |= n->gout[i] != NULL;
        int useful = !n->pruned;
        for (int i = 0; i < n->nin && !useful; i++) useful = n->in[i].wanted;
        if (st == TIDE_OK && any && useful) {
            st = run_rule(ctx, n, s);
            if (!s->retain) node_clear_saved(n);
        }
        for (int i = 0; i < n->nout; i++) {
            tide_release(n->gout[i]);
            n->gout[i] = NULL;
        }
        for (int i = 0; i < n->nin; i++)
            if (n->in[i].node && (!n->pruned || n->in[i].wanted) && (st == TIDE_OK || n->in[i].node->gout[n->in[i].index])) {
                int has = 0;
                for (int k = 0; k < n->in[i].node->nout; k++) has |= n->in[i].node->gout[k] != NULL;
                if (has && !heap_push(&h, n->in[i].node)) st = tide_fail(ctx, TIDE_ENOMEM, "backward: not enough memory");
            }
        tide_node_unref(ctx, n);
    }
    free(h.v);
    unprune(ctx, &order);
    tide_release(g);
    tide_grad_mode(ctx, was);
    return st;
}

tide_status tide_backward(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int retain_graph) {
    char shape[160];
    if (!tide_needs_grad(loss))
        return tide_fail(ctx, TIDE_EGRAD, "backward: this tensor depends on nothing that requires a gradient; set requires_grad = true on a leaf");
    if (!seed && tide_numel(loss) != 1)
        return tide_fail(ctx, TIDE_EGRAD, "backward: needs one number to start from (expected a tensor of 1 element, got %s); reduce it, or pass the gradient",
                         tide_shape_str(loss->rank, loss->shape, shape, sizeof shape));
    return walk(ctx, loss, seed, &(sink){.retain = retain_graph});
}

static tide_status grad_above(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n, tide_tensor **wrt, int create_graph, int retain_graph,
                              uint64_t floor, tide_tensor **out) {
    char shape[160];
    for (int i = 0; i < n; i++) out[i] = NULL;
    if (!tide_needs_grad(loss))
        return tide_fail(ctx, TIDE_EGRAD, "grad: the result depends on nothing that requires a gradient");
    if (!seed && tide_numel(loss) != 1)
        return tide_fail(ctx, TIDE_EGRAD, "grad: needs one number to start from (expected a tensor of 1 element, got %s)",
                         tide_shape_str(loss->rank, loss->shape, shape, sizeof shape));
    tide_status st = walk(ctx, loss, seed, &(sink){.n = n, .wrt = wrt, .out = out, .record = create_graph, .retain = retain_graph || create_graph, .floor = floor});
    if (st != TIDE_OK)
        for (int i = 0; i < n; i++) {
            tide_release(out[i]);
            out[i] = NULL;
        }
    return st;
}

tide_status tide_grad(tide_ctx *ctx, tide_tensor *loss, tide_tensor *seed, int n, tide_tensor **wrt, int create_graph, int retain_graph,
                      tide_tensor **out) {
    return grad_above(ctx, loss, seed, n, wrt, create_graph, retain_graph, 0, out);
}

/* Second derivatives of a fused op whose gradient op has no rule: run `compose` on views of the saved inputs while recording,
 * and differentiate that, down to the views: what lies below them belongs to the walk that called. */
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
            if (g[i] && st == TIDE_OK) st = accumulate(ctx, &got[i], g[i], t->record);
    }
    for (int i = 0; i < nwrt; i++) {
        if (st == TIDE_OK && got[i]) tide_t_give(t, index[i], got[i]);
        tide_release(got[i]);
    }
    for (int k = 0; k < n->nout; k++) tide_release(out[k]);
    tide_grad_mode(ctx, was);
    return st != TIDE_OK ? st : t->status;
}
