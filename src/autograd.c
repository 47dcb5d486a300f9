/* The tape: nodes, and what their rules may call. walk.c goes over it.
 *
 * Invariant: a node's inputs have smaller sequence numbers than the node. Nodes own their inputs
 * and what they saved; a saved output is a view without node, so there are no cycles. Releasing
 * goes through a worklist, never through recursion. */
#include "tape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- nodes -- */

static void edge_clear(tide_ctx *ctx, tide_edge *e) {
    tide_release(e->leaf);
    tide_release(e->saved);
    if (e->node) tide_node_unref(ctx, e->node);
    e->leaf = e->saved = NULL;
    e->node = NULL;
}

void tide_node_clear_saved(tide_node *n) {
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

/* Nodes come from free lists by size, of which a context keeps up to KEPT bytes. */
enum { UNIT = 128, KEPT = 1 << 20 };

static tide_node *block_new(tide_ctx *ctx, size_t size) {
    const size_t units = (size + UNIT - 1) / UNIT;
    if (units >= TIDE_NODE_SIZES) {
        tide_node *n = malloc(size);
        if (n) memset(n, 0, sizeof *n);
        return n;
    }
    tide_node *n = ctx->idle_nodes[units];
    if (n) {
        ctx->idle_nodes[units] = n->work_next;
        ctx->idle_bytes -= (int64_t)units * UNIT;
    } else {
        n = malloc(units * UNIT);
        if (!n) return NULL;
    }
    memset(n, 0, sizeof *n);
    n->units = (uint8_t)units;
    return n;
}

static void block_free(tide_ctx *ctx, tide_node *n) {
    const int64_t bytes = (int64_t)n->units * UNIT;
    if (n->units == 0 || ctx->idle_bytes + bytes > KEPT) {
        free(n);
        return;
    }
    n->work_next = ctx->idle_nodes[n->units];
    ctx->idle_nodes[n->units] = n;
    ctx->idle_bytes += bytes;
}

void tide_nodes_free(tide_ctx *ctx) {
    for (int i = 0; i < TIDE_NODE_SIZES; i++)
        while (ctx->idle_nodes[i]) {
            tide_node *n = ctx->idle_nodes[i];
            ctx->idle_nodes[i] = n->work_next;
            free(n);
        }
}

static void node_free(tide_ctx *ctx, tide_node *n) {
    tide_node_clear_saved(n);
    for (int i = 0; i < n->nin; i++) edge_clear(ctx, &n->in[i]);
    for (int i = 0; i < n->nout; i++) tide_release(n->gout[i]);
    while (n->hooks) {
        tide_hook *h = n->hooks;
        n->hooks = h->next;
        if (h->ref && ctx->free_ref) ctx->free_ref(ctx, h->ref);
        free(h);
    }
    if (n->custom && ctx->free_ref) ctx->free_ref(ctx, n->custom);
    block_free(ctx, n);
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

static void note_form(tide_meta *m, const tide_tensor *t) {
    m->rank = t->rank;
    m->dtype = t->dtype;
    memcpy(m->shape, t->shape, sizeof m->shape); /* whole: cheaper than a loop over the rank */
}

static tide_node *node_new(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin, int nlist,
                           tide_tensor **in, int nout) {
    /* one block: node, attributes, edges, metas, gradients, saved outputs */
    size_t attrs_size = (op->attrs_size + 15) & ~(size_t)15;
    size_t size = sizeof(tide_node) + attrs_size +
        (size_t)nin * (sizeof(tide_edge) + sizeof(tide_meta)) +
        (size_t)nout * (2 * sizeof(tide_tensor *) + sizeof(tide_meta));
    tide_node *n = block_new(ctx, size);
    if (!n) return NULL;
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
    n->part = ctx->profile ? ctx->profile->part : 0;
    ctx->live_nodes++;
    for (int i = 0; i < nin; i++) {
        tide_edge *e = &n->in[i];
        if (!in[i]) { /* an optional input that is not there has no axes */
            n->in_meta[i] = (tide_meta){0};
            continue;
        }
        note_form(&n->in_meta[i], in[i]);
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
    note_form(&n->out_meta[index], t);
    if (!tide_is_float(t->dtype)) return;
    t->node = n;
    t->out_index = index;
    n->refs++;
}

tide_status tide_record(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin, int nlist,
                        tide_tensor **in, tide_tensor **out) {
    for (int i = 0; i < nin; i++)
        if (in[i] && in[i]->is_view && in[i]->node &&
            in[i]->view_version != in[i]->storage->version)
            return tide_fail(ctx, TIDE_EGRAD,
                             "%s: input %d is a view of a tensor that was changed in place after "
                             "the view was made; make the view again",
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
    const int was = t->ctx->grad_mode;
    tide_status st = TIDE_OK;
    for (int i = 0; i < n->nout && st == TIDE_OK; i++) /* the rule may write to what it is given */
        if (n->gout[i]) st = tide_unshare(t->ctx, &n->gout[i]);
    if (st == TIDE_OK && !t->ctx->call_custom)
        st = tide_fail(t->ctx, TIDE_EGRAD, "custom_gradient: the Lua state of the rule is closed");
    if (st == TIDE_OK) st = t->ctx->call_custom(t, n->custom, n->nout, n->nin);
    t->ctx->grad_mode = was;
    if (st != TIDE_OK && t->status == TIDE_OK) t->status = st;
}
static const tide_op custom_op = {.name = "custom_gradient",
                                  .doc = "",
                                  .id = -1,
                                  .grad = custom_grad,
                                  .flags = TIDE_INTERNAL | TIDE_HALF};

tide_status tide_custom_result(tide_ctx *ctx, tide_tensor *value, int nin, tide_tensor **in,
                               tide_tensor **out) {
    TIDE_TRY(tide_detach(ctx, value, out));
    (*out)->view_version = value->storage->version;
    (*out)->is_view = value->is_view;
    for (int i = 0; i < nin; i++)
        if (in[i]->storage == value->storage) (*out)->is_view = 1;
    return TIDE_OK;
}

tide_status tide_record_custom(tide_ctx *ctx, void *custom, int nin, tide_tensor **in, int nout,
                               tide_tensor **out) {
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

/* A walk may stand at the hook: it only loses its mark then, and goes with the next one that comes
 * or is taken away. */
static void hooks_sweep(tide_ctx *ctx, tide_hook **list, int of_leaf) {
    while (*list && !ctx->walking) {
        tide_hook *h = *list;
        if (h->index >= 0) {
            list = &h->next;
            continue;
        }
        *list = h->next;
        ctx->leaf_hooks -= of_leaf;
        free(h);
    }
}

void tide_remove_hook(tide_ctx *ctx, tide_tensor *t, void *ref) {
    for (int of_leaf = 0; of_leaf < 2; of_leaf++) {
        if (!of_leaf && !t->node) continue;
        tide_hook **list = of_leaf ? &t->hooks : &t->node->hooks;
        for (tide_hook *h = *list; h; h = h->next) {
            if (h->ref != ref || h->index < 0) continue;
            h->index = -1, h->ready = 0;
            if (ctx->free_ref) ctx->free_ref(ctx, ref);
            h->ref = NULL;
        }
        hooks_sweep(ctx, list, of_leaf);
    }
}

tide_status tide_add_hook(tide_ctx *ctx, tide_tensor *t, void *ref, int ready) {
    tide_hook *h = malloc(sizeof *h);
    if (!h) {
        if (ctx->free_ref) ctx->free_ref(ctx, ref);
        return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a hook");
    }
    tide_hook **list = t->node ? &t->node->hooks : &t->hooks;
    hooks_sweep(ctx, list, !t->node);
    while (*list) list = &(*list)->next; /* in order of registration */
    *h = (tide_hook){.index = t->node ? t->out_index : 0, .ref = ref, .ready = ready != 0};
    ctx->leaf_hooks += !t->node;
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

void tide_tape_begin(tide_tape *t, tide_ctx *ctx, tide_node *n, int record) {
    t->ctx = ctx;
    t->node = n;
    t->status = TIDE_OK;
    t->record = record;
    t->temp = t->inline_temp;
    t->ntemp = 0;
    t->cap = TIDE_TAPE_FEW;
    t->given = NULL;
    t->walk = NULL;
    t->whole = 0;
    t->partial = -1;
}

void tide_tape_end(tide_tape *t) {
    for (int i = 0; i < t->ntemp; i++) tide_release(t->temp[i]);
    if (t->temp != t->inline_temp) free(t->temp);
}

void tide_tn(tide_tape *t, int op, const void *attrs, int nin, tide_tensor **in,
             tide_tensor **out) {
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

tide_tensor *tide_t_number(tide_tape *t, double value, int dtype) {
    if (t->status != TIDE_OK) return NULL;
    tide_tensor *x;
    t->status = tide_number(t->ctx, value, dtype, &x);
    if (x) keep(t, x);
    return t->status == TIDE_OK ? x : NULL;
}

tide_tensor *tide_t_scalar(tide_tape *t, double value, tide_tensor *like) {
    return t->status == TIDE_OK ? tide_t_number(t, value, like->dtype) : NULL;
}

tide_tensor *tide_t_sum_to(tide_tape *t, tide_tensor *g, tide_tensor *like) {
    if (t->status != TIDE_OK || !g || !like) return NULL;
    return tide_t_sum_to_meta(t, g, &(tide_meta){.rank = like->rank}, like->shape);
}

tide_tensor *tide_t_sum_to_meta(tide_tape *t, tide_tensor *g, const tide_meta *m,
                                const int64_t *shape) {
    if (t->status != TIDE_OK || !g) return NULL;
    int lead = g->rank - m->rank;
    tide_sum_attrs a = *TIDE_ATTRS(sum, .axis.n = 0, .keepdims = 1);
    for (int i = 0; i < g->rank; i++)
        if (i < lead || (shape[i - lead] == 1 && g->shape[i] != 1)) a.axis.v[a.axis.n++] = i;
    if (a.axis.n == 0) return g;
    tide_tensor *s = tide_t(t, TIDE_OP_sum, &a, g);
    if (lead == 0 || !s) return s;
    tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = m->rank);
    for (int i = 0; i < m->rank; i++) r.newshape.v[i] = shape[i];
    return tide_t(t, TIDE_OP_reshape, &r, s);
}

/* A value the rule reads must be the value the op saw. */
static int unchanged(tide_tape *t, const tide_tensor *x, uint64_t version, const char *what,
                     int i) {
    if (!x->storage || x->storage->version == version) return 1;
    const tide_node *n = t->node;
    char shape[160], at[100] = "";
    const char *name = what;
    if (*n->source) snprintf(at, sizeof at, " at %s:%d", n->source, n->line);
    if (i >= 0 && n->op->args && i < n->op->nargs) name = n->op->args()[i].name;
    t->status =
        tide_fail(t->ctx, TIDE_EGRAD,
                  "%s: %s %s was changed in place after the op ran%s, but its gradient needs the "
                  "value; use an op that "
                  "makes a new tensor, or copy first",
                  n->op->name, name, tide_shape_str(x->rank, x->shape, shape, sizeof shape), at);
    return 0;
}

int tide_tape_released(tide_tape *t) {
    if (!t->node->freed) return 0;
    t->status = tide_fail(t->ctx, TIDE_EGRAD,
                          "%s: the graph was already walked and its saved tensors were freed; pass "
                          "retain_graph = true to the first backward",
                          t->node->op->name);
    return 1;
}

/* A rule that knows no halves reads and computes float32. */
static tide_tensor *as_read(tide_tape *t, tide_tensor *x) {
    return t->node->op->flags & (TIDE_HALF | TIDE_WIDE) ? x : tide_t_wide(t, x);
}
tide_tensor *tide_t_wide(tide_tape *t, tide_tensor *x) {
    return x && tide_is_half(x->dtype) ? tide_t(t, OP(cast, .dtype = TIDE_F32), x) : x;
}

tide_tensor *tide_t_in(tide_tape *t, int i) {
    if (t->status != TIDE_OK || i >= t->node->nin) return NULL;
    tide_edge *e = &t->node->in[i];
    if (!e->saved) {
        if (t->node->in_meta[i].rank || e->needs || saves_input(t->node->op, i))
            tide_tape_released(t);
        return NULL;
    }
    return unchanged(t, e->saved, e->version, "an input", i) ? as_read(t, e->saved) : NULL;
}

tide_tensor *tide_t_out(tide_tape *t, int i) {
    if (t->status != TIDE_OK || tide_tape_released(t)) return NULL;
    tide_node *n = t->node;
    tide_tensor *y = n->out_saved[i];
    if (!y) return NULL;
    if (!unchanged(t, y, n->out_version, "its result", -1)) return NULL;
    if (!t->record) return as_read(t, y);
    tide_tensor *view = NULL; /* with the node, so that second derivatives pass through */
    t->status = tide_detach(t->ctx, y, &view);
    if (!view) return NULL;
    keep(t, view);
    if (t->status != TIDE_OK) return NULL;
    view->node = n;
    view->out_index = i;
    view->view_version = y->storage->version;
    n->refs++;
    return as_read(t, view);
}

int tide_t_has_dy(tide_tape *t, int i) { return t->node->gout[i] != NULL; }

tide_tensor *tide_t_dy(tide_tape *t, int i) {
    if (t->status != TIDE_OK) return NULL;
    tide_tensor *g = t->node->gout[i];
    if (g) return as_read(t, g);
    const tide_meta *m = &t->node->out_meta[i];
    tide_fill__attrs a = *TIDE_ATTRS(fill_, .shape.n = m->rank, .dtype = m->dtype);
    for (int k = 0; k < m->rank; k++) a.shape.v[k] = m->shape[k];
    if (!(t->node->op->flags & TIDE_HALF)) a.dtype = tide_wide(a.dtype);
    return tide_t(t, TIDE_OP_fill_, &a);
}

int tide_t_needs(tide_tape *t, int i) {
    return i < t->node->nin && t->node->in[i].needs && (!t->node->pruned || t->node->in[i].wanted);
}

void tide_t_give(tide_tape *t, int i, tide_tensor *g) {
    if (t->status != TIDE_OK || !g || !tide_t_needs(t, i)) return;
    const tide_meta *m = &t->node->in_meta[i];
    if ((tide_is_half(m->dtype) && g->dtype == TIDE_F32) ||
        (m->dtype != TIDE_F64 && tide_is_float(m->dtype) && g->dtype == TIDE_F64)) {
        g = tide_t(t, OP(cast, .dtype = m->dtype), g);
        if (!g) return;
    }
    if (m->dtype != g->dtype || !tide_has_shape(g, m->rank, m->shape)) {
        char a[160], b[160];
        t->status =
            tide_fail(t->ctx, TIDE_EGRAD,
                      "%s: the gradient of input %d has the wrong form (expected %s %s, got %s %s)",
                      t->node->op->name, i + 1, tide_dtype_name(m->dtype),
                      tide_shape_str(m->rank, m->shape, a, sizeof a), tide_dtype_name(g->dtype),
                      tide_shape_str(g->rank, g->shape, b, sizeof b));
        return;
    }
    if (t->partial == i) t->partial = -1;
    tide_release(t->given[i]);
    t->given[i] = tide_retain(g);
}

void tide_t_give_part(tide_tape *t, int i, const tide_place *at, const tide_index__attrs *part,
                      tide_tensor *g) {
    if (t->status != TIDE_OK || !g || !tide_t_needs(t, i)) return;
    tide_release(t->given[i]);
    t->given[i] = tide_retain(g);
    t->partial = i;
    t->at = *at;
    t->part = part;
}

tide_tensor *tide_t_own_dy(tide_tape *t, int i) {
    tide_tensor *g = tide_t_dy(t, i), **slot = &t->node->gout[i];
    if (!g || !*slot) return g;
    t->status = tide_unshare(t->ctx, slot);
    if (t->status != TIDE_OK) return NULL;
    g = *slot;
    *slot = NULL;
    keep(t, g);
    return t->status == TIDE_OK ? g : NULL;
}

tide_tensor *tide_t_part(tide_tape *t, tide_tensor *whole, const tide_place *at, int rank,
                         const int64_t *shape) {
    tide_tensor *view = NULL;
    if (t->status != TIDE_OK || !whole) return NULL;
    t->status =
        tide_view(t->ctx, whole, rank, shape, at->stride, whole->offset + at->offset, &view);
    if (!view) return NULL;
    keep(t, view);
    return t->status == TIDE_OK ? view : NULL;
}

const tide_meta *tide_t_in_meta(tide_tape *t, int i) { return &t->node->in_meta[i]; }
tide_ctx *tide_t_ctx(tide_tape *t) { return t->ctx; }
int tide_t_failed(tide_tape *t) { return t->status != TIDE_OK; }
void tide_t_fail(tide_tape *t, tide_status st) {
    if (t->status == TIDE_OK) t->status = st;
}
int tide_t_recording(tide_tape *t) { return t->record; }
void tide_t_keep(tide_tape *t, tide_tensor *x) { keep(t, x); }

tide_status tide_compose(tide_ctx *ctx, const tide_op *op, const void *attrs, int nin,
                         tide_tensor **in, tide_tensor **out) {
    tide_tape t;
    tide_tape_begin(&t, ctx, NULL, ctx->grad_mode);
    for (int i = 0; i < op->nout; i++) out[i] = NULL;
    op->compose(&t, attrs, nin, in, out);
    tide_status st = t.status;
    for (int i = 0; i < op->nout; i++) out[i] = st == TIDE_OK ? tide_retain(out[i]) : NULL;
    tide_tape_end(&t);
    /* a composition that returns its own input (a reshape that changes nothing) still makes a new
     * tensor */
    for (int i = 0; i < op->nout && st == TIDE_OK; i++)
        for (int k = 0; k < nin; k++)
            if (out[i] == in[k] && out[i]) {
                tide_tensor *v = NULL;
                tide_transpose_attrs a = *TIDE_ATTRS(transpose, .axes.n = out[i]->rank);
                for (int j = 0; j < out[i]->rank; j++) a.axes.v[j] = j;
                st = tide_apply(ctx, &tide_op_transpose, &a, 1, &out[i], &v);
                tide_release(out[i]);
                out[i] = v;
                break;
            }
    return st;
}
