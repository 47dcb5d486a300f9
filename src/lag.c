/* Rows that lag behind: Adam's steps on the rows of a table that had no gradient, made when
 * somebody reads them.
 *
 * A row outside of the batch still moves, by what its moments say, and moving every row at every
 * step is all memory traffic. So a step is written down, and a row makes the steps it missed in
 * registers when the embedding reads it, and all rows do after TIDE_LAG_STEPS of them or when
 * anything else touches the memory of the table, of its moments or of `touched`. Each makes the
 * same roundings as the dense rule. `touched` holds, per row, 0: never had a gradient, so never
 * moves; else 1 + how many of the written steps it has made.
 *
 * One of the four storages that nobody needs any more stays with the record until the others are up
 * to date; with the last of them all go, and nobody makes the steps.
 *
 * Invariant: of[k].storage->lag == this for the four storages; none of them is read, but here,
 * before it is brought up to date (transfer.c and tide_launch see to that). */
#include "lag.h"

#include <math.h>
#include <stdlib.h>

/* The rows of `ids`, or all of them, make the steps that they missed. */
static tide_status make_steps(tide_lag *lag, tide_tensor *ids, int64_t base) {
    if (!lag->attrs.alpha.n) return TIDE_OK;
    tide_tensor *in[5] = {&lag->of[0], &lag->of[1], &lag->of[2], &lag->of[3], ids};
    lag->attrs.base = base;
    const tide_step s = {.op = &tide_op_adam_lag_, .attrs = &lag->attrs, .nin = 5, .in = in};
    return tide_launch(lag->ctx, &s);
}

static void forget(tide_lag *lag) {
    for (int k = 0; k < 4; k++) {
        tide_storage *s = lag->of[k].storage;
        s->lag = NULL;
        if (s->refs == 0) tide_storage_free(lag->ctx, s);
    }
    free(lag);
}

void tide_lag_end(tide_lag *lag) {
    make_steps(lag, NULL, 0); /* without ids the kernel asks for no memory and cannot fail */
    forget(lag);
}

void tide_lag_flush(tide_lag *lag) {
    if (lag->left) {
        tide_lag_end(lag);
    } else {
        make_steps(lag, NULL, 0);
        lag->attrs.alpha.n = 0;
    }
}

void tide_lag_leave(tide_lag *lag) {
    if (++lag->left == 4) forget(lag);
}

tide_status tide_lag_lookup(tide_ctx *ctx, const tide_step *s) {
    tide_tensor *x = s->in[0], *ids = s->in[1];
    (void)ctx;
    if (ids->storage->lag) tide_lag_flush(ids->storage->lag);
    tide_lag *lag = x->storage->lag;
    if (!lag) return TIDE_OK;
    const tide_tensor *table = &lag->of[0];
    if (!lag->left && x->storage == table->storage && x->offset == 0 &&
        x->shape[0] == table->shape[0] && tide_numel(x) == tide_numel(table))
        return make_steps(lag, ids, ((const tide_embedding_attrs *)s->attrs)->base);
    tide_lag_flush(lag);
    return TIDE_OK;
}

/* The record of these four tensors, made if there is none; NULL: there can be none, and none of
 * them lags any more. */
static tide_lag *record_of(tide_ctx *ctx, tide_tensor *const t[4]) {
    tide_lag *lag = t[0]->storage->lag;
    int same = lag != NULL;
    for (int k = 0; k < 4 && same; k++)
        same = t[k]->storage->lag == lag && lag->of[k].storage == t[k]->storage;
    if (same) return lag;
    for (int k = 0; k < 4; k++)
        if (t[k]->storage->lag) tide_lag_end(t[k]->storage->lag);
    for (int k = 0; k < 4; k++) {
        const tide_storage *s = t[k]->storage;
        if ((size_t)tide_numel(t[k]) * tide_dtype_size(t[k]->dtype) != s->bytes)
            return NULL; /* part of something larger */
        for (int j = 0; j < k; j++)
            if (t[j]->storage == s) return NULL;
    }
    lag = malloc(sizeof *lag);
    if (!lag) return NULL;
    lag->ctx = ctx;
    lag->left = 0;
    lag->attrs = *TIDE_ATTRS(adam_lag_);
    for (int k = 0; k < 4; k++) {
        lag->of[k] = (tide_tensor){.refs = 1,
                                   .ctx = ctx,
                                   .storage = t[k]->storage,
                                   .rank = t[k]->rank,
                                   .dtype = t[k]->dtype};
        for (int i = 0; i < t[k]->rank; i++)
            lag->of[k].shape[i] = t[k]->shape[i], lag->of[k].stride[i] = t[k]->stride[i];
        t[k]->storage->lag = lag;
    }
    return lag;
}

/* -- the two sides of adam_step_: params, grads, m, v, vhat, touched -- */

static tide_tensor *const *lists(const tide_step *c) { return c->in + c->op->nin; }

static void entries(const tide_step *c, int i, tide_tensor *t[4]) {
    const int n = c->nlist;
    tide_tensor *const *in = lists(c);
    t[0] = in[i], t[1] = in[2 * n + i], t[2] = in[3 * n + i], t[3] = in[5 * n + i];
}

static int lags(const tide_step *c, int i) {
    const tide_adam_step__attrs *a = c->attrs;
    tide_tensor *const *in = lists(c);
    const tide_tensor *p = in[i], *g = in[c->nlist + i];
    return g && tide_is_sparse(g) && !tide_is_product(g) && in[5 * c->nlist + i] &&
        a->weight_decay == 0 && !a->amsgrad && tide_numel(p) >= TIDE_LAG_LEAST;
}

/* Are the steps written down of the kind that this call makes? */
static int alike(const tide_lag *lag, const tide_adam_step__attrs *a) {
    const tide_adam_lag__attrs *b = &lag->attrs;
    return b->beta_1 == a->beta_1 && b->beta_2 == a->beta_2 && b->epsilon == a->epsilon;
}

tide_status tide_lag_before(tide_ctx *ctx, const tide_step *c) {
    tide_adam_step__attrs *a = c->attrs;
    tide_tensor *const *in = lists(c);
    int64_t n = -1;
    int equal = 1;
    tide_tensor *t[4];
    a->lag_ = 0;
    for (int i = 0; i < c->nin - c->op->nin; i++) /* gradients, vhat: no record can be about them */
        if (in[i] && in[i]->storage && in[i]->storage->lag &&
            (i / c->nlist == 1 || i / c->nlist == 4))
            tide_lag_flush(in[i]->storage->lag);
    for (int i = 0; i < c->nlist; i++) {
        entries(c, i, t);
        tide_lag *lag = lags(c, i) ? record_of(ctx, t) : NULL;
        if (!lag) {
            for (int k = 0; k < 4; k++)
                if (t[k] && t[k]->storage->lag) tide_lag_end(t[k]->storage->lag);
            if (lags(c, i)) equal = 0; /* it could not have a record: this call goes without */
        } else {
            if (!alike(lag, a)) tide_lag_flush(lag);
            lag->attrs.beta_1 = a->beta_1, lag->attrs.beta_2 = a->beta_2;
            lag->attrs.epsilon = a->epsilon;
            equal &= n < 0 || n == lag->attrs.alpha.n;
            n = lag->attrs.alpha.n;
        }
    }
    for (int i = 0; i < c->nlist && n >= 0; i++) {
        tide_lag *lag = in[i]->storage->lag;
        if (!lag || !lags(c, i)) continue;
        if (!equal) tide_lag_flush(lag);
        if (make_steps(lag, in[c->nlist + i]->ids, 0) != TIDE_OK)
            return tide_fail(ctx, TIDE_ENOMEM, "adam_step_: not enough memory for work space");
    }
    if (n >= 0) a->lag_ = (equal ? n : 0) + 1;
    for (int i = 0; i < c->nlist && a->lag_;
         i++) /* a table without a record would take the others' mark */
        if (lags(c, i) && !in[i]->storage->lag) a->lag_ = 0;
    if (!a->lag_)
        for (int i = 0; i < c->nlist; i++)
            if (in[i]->storage->lag) tide_lag_end(in[i]->storage->lag);
    return TIDE_OK;
}

/* An element of the guard; 0 without one. Asking is part of the launch: a step that is recorded
 * may.
 */
static double asked(const tide_tensor *guard, int i) {
    if (!guard) return 0;
    struct tide_recorder *const recorder = guard->ctx->recorder;
    guard->ctx->recorder = NULL;
    const double x = tide_item(guard, i);
    guard->ctx->recorder = recorder;
    return x;
}

void tide_lag_after(const tide_step *c) {
    const tide_adam_step__attrs *a = c->attrs;
    const tide_tensor *guard = c->in[0];
    if (!a->lag_ || asked(guard, 1) != 0) return; /* that step was not made */
    const double t = (double)a->step - asked(guard, 0),
                 alpha = a->learning_rate * sqrt(1 - pow(a->beta_2, t)) / (1 - pow(a->beta_1, t));
    for (int i = 0; i < c->nlist; i++) {
        tide_lag *lag = lists(c)[i]->storage->lag;
        if (!lag || !lags(c, i)) continue;
        lag->attrs.alpha.v[lag->attrs.alpha.n++] = alpha;
        if (lag->attrs.alpha.n == TIDE_LAG_STEPS) tide_lag_flush(lag);
    }
}
