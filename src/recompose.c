/* Gradients of ops that are a composition of others: the composition is recorded anew, and a walk
 * goes over that alone. */
#include "tape.h"

/* tide_compose_grad for some parts of the first input at a time; the gradients of the others are
 * summed in float32. Nothing is recorded. */
static tide_status compose_grad_parts(tide_tape *t, tide_node *n, int axis, int out_axis,
                                      int64_t some) {
    tide_ctx *ctx = t->ctx;
    tide_tensor *x = tide_t_in(t, 0), *in[16] = {0}, *sum[16] = {0}, *dx = NULL;
    if (!x) return t->status;
    const tide_meta m = tide_meta_of(x);
    tide_status st = tide_t_needs(t, 0) ? tide_new_on(ctx, tide_device_of(x), &m, &dx) : TIDE_OK;
    for (int i = 1; i < n->nin && st == TIDE_OK; i++) {
        tide_tensor *v = n->in[i].saved ? tide_t_wide(t, tide_t_in(t, i)) : NULL;
        if (v) st = tide_detach(ctx, v, &in[i]);
        else st = t->status;
        if (st == TIDE_OK && v && tide_t_needs(t, i)) in[i]->requires_grad = 1;
    }
    for (int64_t lo = 0; lo < x->shape[axis] && st == TIDE_OK; lo += some) {
        const int64_t count = TIDE_MIN(some, x->shape[axis] - lo);
        tide_tensor *out[8] = {0}, *wrt[16], *got[16] = {0};
        int index[16], nwrt = 0;
        st = tide_part_wide(ctx, x, axis, lo, count, &in[0]);
        if (st == TIDE_OK && dx) in[0]->requires_grad = 1;
        for (int i = 0; i < n->nin && st == TIDE_OK; i++)
            if (in[i] && in[i]->requires_grad) wrt[nwrt] = in[i], index[nwrt++] = i;
        const uint64_t floor = ctx->seq;
        tide_grad_mode(ctx, 1);
        if (st == TIDE_OK) st = tide_compose(ctx, n->op, n->attrs, n->nin, in, out);
        tide_grad_mode(ctx, 0);
        for (int k = 0; k < n->nout && st == TIDE_OK; k++) {
            if (!n->gout[k] || !out[k] || !tide_needs_grad(out[k])) continue;
            tide_tensor *g[16] = {0}, *dy = NULL;
            st = tide_part_wide(ctx, n->gout[k], out_axis, lo, count, &dy);
            if (st == TIDE_OK) st = tide_grad_above(ctx, out[k], dy, nwrt, wrt, 0, 1, floor, 0, g);
            tide_release(dy);
            for (int i = 0; i < nwrt; i++)
                if (st != TIDE_OK) tide_release(g[i]);
                else if (g[i])
                    st = tide_accumulate(ctx, index[i] ? &sum[index[i]] : &got[0], g[i], 0);
        }
        if (st == TIDE_OK && got[0]) st = tide_part_put(ctx, got[0], dx, axis, lo);
        tide_release(got[0]);
        for (int k = 0; k < n->nout; k++) tide_release(out[k]);
        tide_release(in[0]);
        in[0] = NULL;
    }
    for (int i = 0; i < n->nin; i++) {
        tide_tensor *g = i ? sum[i] : dx;
        if (st == TIDE_OK && g) tide_t_give(t, i, g);
        tide_release(g);
        if (i) tide_release(in[i]);
    }
    return st != TIDE_OK ? st : t->status;
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
    int axis = -1, out_axis = 0;
    if (n->op->flags & TIDE_WIDE && !t->record && n->in[0].saved) {
        const int64_t some = tide_parts_of(n->op, n->attrs, n->in[0].saved, &axis, &out_axis);
        if (axis >= 0) return compose_grad_parts(t, n, axis, out_axis, some);
    }
    int was = tide_grad_mode(ctx, 1);
    uint64_t floor = ctx->seq;
    for (int i = 0; i < n->nin && st == TIDE_OK; i++) {
        if (!n->in[i].saved) continue;
        in[i] = tide_t_wide(t, tide_t_in(t, i));
        if (!in[i]) {
            st = t->status;
        } else if (tide_t_needs(t, i)) {
            tide_transpose_attrs same = *TIDE_ATTRS(transpose, .axes.n = in[i]->rank);
            for (int k = 0; k < in[i]->rank; k++) same.axes.v[k] = k;
            in[i] = tide_t(t, TIDE_OP_transpose, &same, in[i]);
            st = t->status;
            wrt[nwrt] = in[i], index[nwrt++] = i;
        }
    }
    if (st == TIDE_OK) st = tide_compose(ctx, n->op, n->attrs, n->nin, in, out);
    for (int k = 0; k < n->nout && st == TIDE_OK; k++) {
        if (!n->gout[k] || !out[k] || !tide_needs_grad(out[k])) continue;
        tide_tensor *g[16] = {0}, *dy = n->gout[k];
        if (dy->dtype != out[k]->dtype) dy = tide_t(t, OP(cast, .dtype = out[k]->dtype), dy);
        st = !dy ? t->status
                 : tide_grad_above(ctx, out[k], dy, nwrt, wrt, t->record, 1, floor, 0, g);
        for (int i = 0; i < nwrt; i++)
            if (st != TIDE_OK) tide_release(g[i]);
            else if (g[i]) st = tide_accumulate(ctx, &got[i], g[i], t->record);
    }
    for (int i = 0; i < nwrt; i++) {
        if (st == TIDE_OK && got[i]) tide_t_give(t, index[i], got[i]);
        tide_release(got[i]);
    }
    for (int k = 0; k < n->nout; k++) tide_release(out[k]);
    tide_grad_mode(ctx, was);
    return st != TIDE_OK ? st : t->status;
}
