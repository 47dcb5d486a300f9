/* What workers make ahead of the step for Lua: their handles, and batches gathered from rows of
 * tensors.
 *
 * Invariant: memory that a worker writes was allocated here, by the thread that runs Lua; what it
 * reads is retained until it was waited for. */
#include "bind.h"

#include "../io/workers.h"

#include <stdlib.h>
#include <string.h>

struct tideL_workers {
    int refs;
    tide_workers *w; /* NULL: closed */
};

tideL_workers *tideL_workers_retain(tideL_workers *b) { return b->refs++, b; }
tide_workers *tideL_workers_of(const tideL_workers *b) { return b ? b->w : NULL; }

void tideL_workers_release(tideL_workers *b) {
    if (!b || --b->refs > 0) return;
    tide_workers_free(b->w);
    free(b);
}

static void close_workers(void *p) {
    tideL_workers *b = p;
    tide_workers_free(b->w);
    b->w = NULL;
    tideL_workers_release(b);
}

tideL_workers *tideL_toworkers(lua_State *L, int i) { return tideL_unbox(L, i, close_workers); }

/* workers_open(n) -> handle; they go when it is closed or collected */
static int workers_open(lua_State *L) {
    int n = (int)luaL_checkinteger(L, 1);
    tideL_box *box = tideL_newbox(L, close_workers);
    tideL_workers *b = calloc(1, sizeof *b);
    if (!b) return tideL_error(L, "workers", "not enough memory");
    b->refs = 1, box->p = b;
    if (!(b->w = tide_workers_new(n < 1 ? 1 : n)))
        return tideL_error(L, "workers", "not enough memory or threads for the workers");
    return 1;
}

/* workers_close(handle): pieces in hand are finished, the others never begun */
static int workers_close(lua_State *L) {
    tideL_box *box = luaL_checkudata(L, 1, "tide.box");
    if (!tideL_toworkers(L, 1)) return 0;
    close_workers(box->p);
    box->p = NULL;
    return 0;
}

/* workers_ours(handle) -> whether they are there, and of this process */
static int workers_ours(lua_State *L) {
    tideL_workers *b = tideL_toworkers(L, 1);
    lua_pushboolean(L, b && b->w && tide_workers_ours(b->w));
    return 1;
}

/* -- gathering -- */

typedef struct {
    tide_tensor *from, *to; /* retained */
    const int64_t *step;    /* [each], what is added to an entry */
    int64_t each, run;      /* rows of `to` for an entry of the order; of them, those in a row */
    size_t row;             /* bytes */
    const char *x;
    char *y;
} part;

typedef struct {
    tideL_workers *workers;
    tide_task *task;
    int64_t n, grain, steps, *order, *step; /* order [n]: rows from 0; step [steps] */
    int parts;
    bool taken;
    part part[];
} batch;

enum { PIECE = 1 << 18, SMALL = 1 << 16, PARTS = 64 }; /* bytes, bytes; parts of a batch */

static void drop(void *p) {
    batch *b = p;
    tide_task_free(tideL_workers_of(b->workers), b->task);
    tideL_workers_release(b->workers);
    for (int k = 0; k < b->parts; k++) tide_release(b->part[k].from), tide_release(b->part[k].to);
    free(b->order), free(b->step), free(b);
}

static void gather(void *user, int64_t i, int worker) {
    batch *b = user;
    (void)worker;
    int64_t lo = i * b->grain, hi = lo + b->grain < b->n ? lo + b->grain : b->n;
    for (int k = 0; k < b->parts; k++) {
        const part *p = &b->part[k];
        char *y = p->y + (size_t)(lo * p->each) * p->row;
        const size_t run = (size_t)p->run * p->row; /* bytes that stand together */
        for (int64_t at = lo; at < hi; at++)
            for (int64_t s = 0; s < p->each; s += p->run, y += run)
                memcpy(y, p->x + (size_t)(b->order[at] + p->step[s]) * p->row, run);
    }
}

/* The entries of an int64 tensor, copied. */
static int64_t *numbers(lua_State *L, int i, int64_t *n) {
    tide_tensor *t = tideL_pinhost(L, i, "batch");
    if (t->dtype != TIDE_I64 || t->rank != 1) tideL_error(L, "batch", "an order is int64 numbers");
    *n = t->shape[0];
    int64_t *to = malloc((size_t)*n * sizeof *to + 1);
    if (to) memcpy(to, tide_host_view(t), (size_t)*n * sizeof *to);
    return to;
}

/* gather(workers, order, { tensor, ... }, steps = nil, with = 0) -> batch, whose rows are the
 * tensors' rows order[i] (from 1), or, of the first `with` tensors, rows order[i] + step for each
 * step: their shape has an axis more. Small ones, and all without workers, are made at once. nil: a
 * tensor is not in the host's memory row by row. */
static int gather_begin(lua_State *L) {
    lua_settop(L, 5);
    luaL_checktype(L, 3, LUA_TTABLE);
    int parts = (int)lua_rawlen(L, 3), with = (int)luaL_optinteger(L, 5, 0);
    static const int64_t here[1] = {0};
    tide_ctx *ctx = tideL_ctx(L);
    if (parts > PARTS) return 0;
    tideL_pace(L, ctx);
    tideL_box *box = tideL_newbox(L, drop);
    batch *b = calloc(1, sizeof *b + (size_t)parts * sizeof *b->part);
    if (!b) return tideL_error(L, "batch", "not enough memory");
    box->p = b;
    const int handle = lua_gettop(L);
    int64_t least = 0, most = 0, bytes = 0, run = 0;
    if (!(b->order = numbers(L, 2, &b->n)) || (with > 0 && !(b->step = numbers(L, 4, &b->steps))))
        return tideL_error(L, "batch", "not enough memory");
    for (int64_t s = 0; s < b->steps; s++) {
        if (b->step[s] == b->step[0] + s && run == s) run++;
        if (b->step[s] < least) least = b->step[s];
        if (b->step[s] > most) most = b->step[s];
    }
    for (int64_t i = 0; i < b->n; i++) b->order[i]--;
    for (int k = 0; k < parts; k++) {
        lua_rawgeti(L, 3, k + 1);
        tide_tensor *t = tideL_checktensor(L, -1, "batch");
        if (!tide_host_view(t) || !tide_is_contiguous(t) || t->rank < 1 || t->rank > 7) return 0;
        part *p = &b->part[b->parts++];
        p->from = tide_retain(t);
        lua_pop(L, 1);
        t = p->from;
        int64_t shape[9] = {b->n}, rank = 1;
        p->each = p->run = 1, p->step = here, p->row = tide_dtype_size(t->dtype);
        if (k < with)
            p->each = shape[rank++] = b->steps, p->step = b->step,
            p->run = run == b->steps ? run : 1;
        for (int a = 1; a < t->rank; a++)
            shape[rank++] = t->shape[a], p->row *= (size_t)t->shape[a];
        for (int64_t i = 0; i < b->n; i++)
            if (b->order[i] + (k < with ? least : 0) < 0 ||
                b->order[i] + (k < with ? most : 0) >= t->shape[0])
                return tideL_error(L, "batch", "there is no row %lld (of %lld)",
                                   (long long)b->order[i] + 1, (long long)t->shape[0]);
        tideL_try(L, ctx, tide_new_host(ctx, t->dtype, (int)rank, shape, &p->to));
        p->x = tide_host_view(t), p->y = tide_host_view(p->to);
        bytes += p->each * (int64_t)p->row;
    }
    tideL_workers *w = tideL_toworkers(L, 1);
    b->grain = bytes > 0 ? PIECE / bytes + 1 : b->n + 1;
    const int64_t pieces = (b->n + b->grain - 1) / b->grain;
    if (!w || b->n * bytes < SMALL) { /* handing it over would take longer */
        for (int64_t i = 0; i < pieces; i++) gather(b, i, 0);
        lua_pushvalue(L, handle);
        return 1;
    }
    if (!w->w || !tide_workers_ours(w->w)) return tideL_error(L, "batch", "the workers are closed");
    b->workers = tideL_workers_retain(w);
    if (!(b->task = tide_task_new(w->w, pieces, gather, b)))
        return tideL_error(L, "batch", "not enough memory");
    lua_pushvalue(L, handle);
    return 1;
}

/* gather_wait(batch) -> its tensors */
static int gather_wait(lua_State *L) {
    batch *b = tideL_unbox(L, 1, drop);
    if (!b || b->taken) return tideL_error(L, "batch", "was taken already");
    tide_ctx *ctx = tideL_ctx(L);
    tide_workers *w = tideL_workers_of(b->workers);
    if (b->task && (!w || !tide_workers_ours(w)))
        return tideL_error(L, "batch",
                           "its workers belong to the process that this one was forked from; begin "
                           "a new pass here");
    if (b->task && !tide_task_wait(w, b->task, &tide_cancel))
        return tideL_raise(L, ctx, tide_go_on(ctx));
    int n = b->parts;
    luaL_checkstack(L, n + 4, "batch");
    for (int k = 0; k < n; k++) {
        tideL_handle *h = tideL_new(L);
        h->t = b->part[k].to, b->part[k].to = NULL;
        tideL_send(L, h);
    }
    b->taken = true;
    return n;
}

void tideL_open_ahead(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"workers_open", workers_open}, {"workers_close", workers_close},
        {"workers_ours", workers_ours}, {"gather", gather_begin},
        {"gather_wait", gather_wait},   {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
