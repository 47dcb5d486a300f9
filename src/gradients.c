/* Gradients on their way: added up, in parts where a rule gives parts, and made one's own where
 * somebody may write to them. */
#include "tape.h"

static tide_status add_sparse(tide_ctx *ctx, tide_tensor *a, tide_tensor *b, tide_tensor **out) {
    tide_tensor *ids = NULL, *values = NULL, *pair[2] = {a->ids, b->ids},
                *vals[2] = {a->values, b->values};
    tide_status st = tide_apply(ctx, &tide_op_concatenate, TIDE_ATTRS(concatenate), 2, pair, &ids);
    if (st == TIDE_OK)
        st = tide_apply(ctx, &tide_op_concatenate, TIDE_ATTRS(concatenate), 2, vals, &values);
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
    TIDE_TRY(tide_apply(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, &x, &copy));
    tide_release(x);
    *g = copy;
    return TIDE_OK;
}

/* to += g, in place. */
static tide_status add_into(tide_ctx *ctx, tide_tensor *to, tide_tensor *g) {
    tide_tensor *pair[2] = {to, g};
    return tide_run_into(ctx, &tide_op_add, TIDE_ATTRS(add), 2, pair, to);
}

/* *slot += g; takes g's reference, also on failure. The first to arrive is moved in; a slot nobody
 * else sees is added to in place. */
tide_status tide_accumulate(tide_ctx *ctx, tide_tensor **slot, tide_tensor *g, int record) {
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
        if (st == TIDE_OK) st = tide_apply(ctx, &tide_op_add, TIDE_ATTRS(add), 2, dense, &sum);
        tide_release(dense[0]);
        tide_release(dense[1]);
    } else if (!record && !seen_by_others(have) && tide_is_contiguous(have)) {
        st = add_into(ctx, have, g);
        tide_release(g);
        return st;
    } else {
        st = tide_apply(ctx, &tide_op_add, TIDE_ATTRS(add), 2, pair, &sum);
    }
    tide_release(g);
    if (st != TIDE_OK) return st;
    tide_release(have);
    *slot = sum;
    return TIDE_OK;
}

/* The part of *slot, which is made of zeros if it is not there, += g. */
static tide_status accumulate_part(tide_ctx *ctx, tide_tensor **slot, const tide_gift *p,
                                   int record) {
    tide_tensor *view = NULL, *dense = NULL;
    tide_status st = TIDE_OK;
    const int first = !*slot;
    if (first) {
        tide_fill__attrs a =
            *TIDE_ATTRS(fill_, .shape.n = p->whole->rank, .dtype = p->whole->dtype);
        for (int i = 0; i < p->whole->rank; i++) a.shape.v[i] = p->whole->shape[i];
        st = tide_apply(ctx, &tide_op_fill_, &a, 0, NULL, slot);
    } else if (tide_is_sparse(*slot)) {
        st = tide_densify(ctx, *slot, &dense);
        if (st == TIDE_OK) tide_release(*slot), *slot = dense;
    }
    if (st == TIDE_OK) st = tide_unshare(ctx, slot);
    if (st != TIDE_OK || record)
        return st == TIDE_OK ? tide_add_part(ctx, *slot, p->part, p->g) : st;
    if (st == TIDE_OK)
        st = tide_view(ctx, *slot, p->g->rank, p->g->shape, p->at->stride,
                       (*slot)->offset + p->at->offset, &view);
    if (st == TIDE_OK && first)
        st = tide_run_into(ctx, &tide_op_copy, TIDE_ATTRS(copy), 1, (tide_tensor **)&p->g, view);
    else if (st == TIDE_OK) st = add_into(ctx, view, p->g);
    tide_release(view);
    return st;
}

tide_status tide_add_gift(tide_ctx *ctx, tide_tensor **slot, const tide_gift *p, int record) {
    if (!p->at) return tide_accumulate(ctx, slot, p->g, record);
    tide_status st = accumulate_part(ctx, slot, p, record);
    tide_release(p->g);
    return st;
}

tide_status tide_without_graph(tide_ctx *ctx, tide_tensor **g) {
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
