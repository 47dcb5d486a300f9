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
 * Invariant: of[k]->lag == this for the four storages; none of them is freed or read, but here,
 * before it is brought up to date (tide_data and the kernels' runner see to that). */
#include "lag.h"

#include <stdlib.h>

static void bring(tide_lag *lag, const tide_buf *ids, int64_t base, tide_status *status) {
    tide_buf in[6];
    for (int k = 0; k < 4; k++) in[k] = lag->buf[k];
    in[4] = (tide_buf){
        .p = lag->step, .rank = 2, .dtype = TIDE_F64, .shape = {lag->n, 4}, .stride = {4, 1}};
    in[5] = ids ? *ids : (tide_buf){.p = NULL};
    tide_adam_lag__attrs attrs = {.base = base};
    tide_kcall k = {
        .attrs = &attrs, .in = in, .op = TIDE_OP_adam_lag_, .nin = 6, .dev = tide_cpu()};
    tide_status st = TIDE_DECLINE;
    for (const tide_engine *const *e = k.dev->engines; *e && st == TIDE_DECLINE; e++) {
        tide_kernel f = (*e)->table[TIDE_OP_adam_lag_];
        if (f) st = f(&k);
    }
    *status = st;
}

void tide_lag_flush(tide_lag *lag) {
    tide_status st; /* without ids the kernel asks for no memory and cannot fail */
    if (lag->n) bring(lag, NULL, 0, &st);
    lag->n = 0;
}

void tide_lag_end(tide_lag *lag) {
    tide_lag_flush(lag);
    for (int k = 0; k < 4; k++) lag->of[k]->lag = NULL;
    free(lag);
}

tide_status tide_lag_rows(tide_lag *lag, const tide_buf *ids, int64_t base) {
    tide_status st = TIDE_OK;
    if (lag->n) bring(lag, ids, base, &st);
    return st;
}

/* The record of these four tensors, made if there is none; NULL: there can be none, and none of
 * them lags any more. */
static tide_lag *record_of(tide_tensor *const t[4]) {
    tide_lag *lag = t[0]->storage->lag;
    int same = lag != NULL;
    for (int k = 0; k < 4 && same; k++)
        same = t[k]->storage->lag == lag && lag->of[k] == t[k]->storage;
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
    lag->n = 0;
    for (int k = 0; k < 4; k++) {
        lag->of[k] = t[k]->storage;
        lag->buf[k] = (tide_buf){.p = tide_data(t[k]), .rank = t[k]->rank, .dtype = t[k]->dtype};
        for (int i = 0; i < t[k]->rank; i++)
            lag->buf[k].shape[i] = t[k]->shape[i], lag->buf[k].stride[i] = t[k]->stride[i];
    }
    for (int k = 0; k < 4; k++) lag->of[k]->lag = lag;
    return lag;
}

/* -- the two sides of adam_step_: params, grads, m, v, vhat, touched -- */

static void entries(const tide_call *c, int i, tide_tensor *t[4]) {
    const int n = c->nlist;
    t[0] = c->in[i], t[1] = c->in[2 * n + i], t[2] = c->in[3 * n + i], t[3] = c->in[5 * n + i];
}

static int lags(const tide_call *c, int i) {
    const tide_adam_step__attrs *a = c->attrs;
    const tide_tensor *p = c->in[i], *g = c->in[c->nlist + i];
    return g && tide_is_sparse(g) && c->in[5 * c->nlist + i] && a->weight_decay == 0 &&
        !a->amsgrad && tide_numel(p) >= TIDE_LAG_LEAST;
}

tide_status tide_lag_before(tide_call *c) {
    tide_adam_step__attrs *a = c->attrs;
    int n = -1, equal = 1;
    tide_tensor *t[4];
    a->lag_ = 0;
    for (int i = 0; i < c->nlist; i++) {
        entries(c, i, t);
        tide_lag *lag = lags(c, i) ? record_of(t) : NULL;
        if (!lag) {
            for (int k = 0; k < 4; k++)
                if (t[k] && t[k]->storage->lag) tide_lag_end(t[k]->storage->lag);
            if (lags(c, i)) equal = 0; /* it could not have a record: this call goes without */
        } else {
            equal &= n < 0 || n == lag->n;
            n = lag->n;
        }
    }
    for (int i = 0; i < c->nlist && n >= 0; i++) {
        tide_lag *lag = c->in[i]->storage->lag;
        if (!lag || !lags(c, i)) continue;
        if (!equal) tide_lag_flush(lag);
        const tide_tensor *ids = c->in[c->nlist + i]->ids;
        const tide_buf b = {.p = tide_data(ids),
                            .rank = 1,
                            .dtype = TIDE_I64,
                            .shape = {ids->shape[0]},
                            .stride = {1}};
        if (tide_lag_rows(lag, &b, 0) != TIDE_OK)
            return tide_fail(c->ctx, TIDE_ENOMEM, "adam_step_: not enough memory for work space");
    }
    if (n >= 0) a->lag_ = (equal ? n : 0) + 1;
    for (int i = 0; i < c->nlist && a->lag_;
         i++) /* a table without a record would take the others' mark */
        if (lags(c, i) && !c->in[i]->storage->lag) a->lag_ = 0;
    if (!a->lag_)
        for (int i = 0; i < c->nlist; i++)
            if (c->in[i]->storage->lag) tide_lag_end(c->in[i]->storage->lag);
    return TIDE_OK;
}

void tide_lag_after(const tide_call *c) {
    const tide_adam_step__attrs *a = c->attrs;
    if (!a->lag_) return;
    const double t = (double)a->step,
                 alpha = a->learning_rate * sqrt(1 - pow(a->beta_2, t)) / (1 - pow(a->beta_1, t));
    for (int i = 0; i < c->nlist; i++) {
        tide_lag *lag = c->in[i]->storage->lag;
        if (!lag || !lags(c, i)) continue;
        double *s = lag->step[lag->n++];
        s[0] = alpha, s[1] = 1 - a->beta_1, s[2] = 1 - a->beta_2, s[3] = a->epsilon;
        if (lag->n == TIDE_LAG_STEPS) tide_lag_flush(lag);
    }
}
