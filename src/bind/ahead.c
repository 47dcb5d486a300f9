/* What workers make ahead of the step for Lua: their handles, and batches gathered from rows of
 * tensors.
 *
 * Invariant: memory that a worker writes was allocated here, by the thread that runs Lua; what it
 * reads is retained until it was waited for. */
#include "bind.h"

#include "../io/image.h"
#include "../io/workers.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 64 }; /* threads */

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
    if (!(b->w = tide_workers_new(n < 1 ? 1 : n > MOST ? MOST : n)))
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

/* workers_alive() -> how many threads there are */
static int workers_alive(lua_State *L) {
    lua_pushinteger(L, tide_workers_alive());
    return 1;
}

/* -- batches -- */

/* How rows of ids become rows of one length. */
typedef struct {
    int64_t length;
    bool pad_first, cut_first, instead; /* instead: dropped ids are replaced */
    int64_t value, other;               /* what fills, what is put in place of dropped ones */
    double share;                       /* of those that are dropped */
    uint64_t seed, pass;
    int64_t *first; /* [n]: the number of a row's draws before its first */
} filling;

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
    int64_t n, grain, steps, *order, *step; /* order [n]: rows from 1; step [steps] */
    filling fill;
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
    free(b->order), free(b->step), free(b->fill.first), free(b);
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
                memcpy(y, p->x + (size_t)(b->order[at] - 1 + p->step[s]) * p->row, run);
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

/* Makes a batch, of which an entry has `bytes`, at once or by the workers at 1; pushes its handle.
 */
static int begin(lua_State *L, batch *b, int handle, int64_t bytes, tide_piece *run) {
    tideL_workers *w = tideL_toworkers(L, 1);
    b->grain = bytes > 0 ? PIECE / bytes + 1 : b->n + 1;
    const int64_t pieces = (b->n + b->grain - 1) / b->grain;
    lua_pushvalue(L, handle);
    if (!w || b->n * bytes < SMALL) { /* handing it over would take longer */
        for (int64_t i = 0; i < pieces; i++) run(b, i, 0);
        return 1;
    }
    if (!w->w || !tide_workers_ours(w->w)) return tideL_error(L, "batch", "the workers are closed");
    b->workers = tideL_workers_retain(w);
    if (!(b->task = tide_task_new(w->w, pieces, run, b)))
        return tideL_error(L, "batch", "not enough memory");
    return 1;
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
        if ((uint64_t)b->step[s] - (uint64_t)b->step[0] == (uint64_t)s && run == s) run++;
        if (b->step[s] < least) least = b->step[s];
        if (b->step[s] > most) most = b->step[s];
    }
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
        const int64_t low = k < with ? least : 0, high = k < with ? most : 0;
        for (int64_t i = 0; i < b->n; i++)
            if (b->order[i] < 1 || b->order[i] > t->shape[0] || low < 1 - b->order[i] ||
                high > t->shape[0] - b->order[i])
                return tideL_error(L, "batch", "there is no row %lld (of %lld)",
                                   (long long)b->order[i], (long long)t->shape[0]);
        tideL_try(L, ctx, tide_new_host(ctx, t->dtype, (int)rank, shape, &p->to));
        p->x = tide_host_view(t), p->y = tide_host_view(p->to);
        bytes += p->each * (int64_t)p->row;
    }
    return begin(L, b, handle, bytes, gather);
}

/* Rows of an order: the entries of int64 or int32 numbers, from 1. */
typedef struct {
    const int64_t *wide;
    const int32_t *narrow;
    int64_t count;
} picked;

static int64_t number_at(const picked *p, int64_t i) { return p->wide ? p->wide[i] : p->narrow[i]; }

static void copy_rows(char *to, const char *from, size_t row, const picked *p) {
    /* sizes that are known are copied by a register: most columns are single numbers */
#define COPY_ROWS(bytes)                                \
    for (int64_t i = 0; i < p->count; i++, to += bytes) \
    memcpy(to, from + (size_t)(number_at(p, i) - 1) * (bytes), bytes)
    if (row == 4) COPY_ROWS(4);
    else if (row == 8) COPY_ROWS(8);
    else COPY_ROWS(row);
#undef COPY_ROWS
}

/* The rows of the leaf on top, in its place; 0: they do not lie in the host's memory. */
static int take_leaf(lua_State *L, tide_ctx *ctx, const picked *p) {
    if (lua_istable(L, -1)) {
        lua_createtable(L, (int)p->count, 0);
        for (int64_t i = 0; i < p->count; i++) {
            lua_rawgeti(L, -2, number_at(p, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
    } else if (lua_isuserdata(L, -1)) {
        tideL_handle *h = tideL_new(L);
        const tide_tensor *t = tideL_checktensor(L, -2, "batch");
        if (t->rank < 1 || t->rank > 8 || !tide_host_view(t) || !tide_is_contiguous(t)) return 0;
        int64_t shape[8] = {p->count};
        size_t row = tide_dtype_size(t->dtype);
        for (int a = 1; a < t->rank; a++) shape[a] = t->shape[a], row *= (size_t)t->shape[a];
        for (int64_t i = 0; i < p->count; i++)
            if (number_at(p, i) < 1 || number_at(p, i) > t->shape[0])
                return tideL_error(L, "batch", "there is no row %lld (of %lld)",
                                   (long long)number_at(p, i), (long long)t->shape[0]);
        tideL_try(L, ctx, tide_new_host(ctx, t->dtype, t->rank, shape, &h->t));
        copy_rows(tide_host_view(h->t), tide_host_view(t), row, p);
        tideL_send(L, h);
    } else {
        return 1;
    }
    lua_remove(L, -2);
    return 1;
}

/* take(order, first, count, { group, ... }) -> of each group its leaves' rows order[first] ...
 * order[first + count - 1], all counted from 1: of tensors tensors, of lists lists, of false false.
 * A group has `leaves`, a list, and `plan`, how they are put together: "leaf" (there is one),
 * "list", a list of their names; nil: nothing is there. Without a result: a tensor is not in the
 * host's memory row by row. */
static int take(lua_State *L) {
    lua_settop(L, 4);
    luaL_checktype(L, 4, LUA_TTABLE);
    const int64_t first = luaL_checkinteger(L, 2), count = luaL_checkinteger(L, 3);
    const int groups = (int)lua_rawlen(L, 4);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    luaL_checkstack(L, groups + 8, "batch");
    const tide_tensor *order = tideL_pinhost(L, 1, "batch");
    if ((order->dtype != TIDE_I64 && order->dtype != TIDE_I32) || order->rank != 1 || first < 1 ||
        count < 0 || count > order->shape[0] - first + 1)
        return tideL_error(L, "batch", "the order has no entries %lld to %lld", (long long)first,
                           (long long)(first + count - 1));
    picked p = {.count = count};
    if (order->dtype == TIDE_I64) p.wide = (const int64_t *)tide_host_view(order) + first - 1;
    else p.narrow = (const int32_t *)tide_host_view(order) + first - 1;
    for (int g = 1; g <= groups; g++) {
        if (lua_rawgeti(L, 4, g) != LUA_TTABLE || tideL_field(L, -1, "leaves") != LUA_TTABLE)
            return tideL_error(L, "batch", "group %d has no leaves", g);
        const int plan = tideL_field(L, -2, "plan"), from = lua_gettop(L) - 1;
        const int n = plan == LUA_TNIL ? 0 : (int)lua_rawlen(L, from);
        const bool alone = plan == LUA_TSTRING && !strcmp(lua_tostring(L, from + 1), "leaf");
        if (n == 0) lua_pushnil(L);
        else if (!alone) lua_createtable(L, plan == LUA_TTABLE ? 0 : n, plan == LUA_TTABLE ? n : 0);
        for (int k = 1; k <= n; k++) {
            if (plan == LUA_TTABLE) lua_rawgeti(L, from + 1, k); /* the name */
            lua_rawgeti(L, from, k);
            if (!take_leaf(L, ctx, &p)) return 0;
            if (alone) break;
            if (plan == LUA_TTABLE) lua_rawset(L, from + 2);
            else lua_rawseti(L, from + 2, k);
        }
        lua_replace(L, from - 1); /* the group */
        lua_settop(L, from - 1);
    }
    return groups;
}

/* written({ leaf, ... }): how often what the leaves that are tensors show was written in place, all
 * together: the same number as long as nobody does. */
static int written(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    uint64_t sum = 0;
    for (lua_Integer k = 1; k <= n; k++, lua_pop(L, 1)) {
        if (lua_rawgeti(L, 1, k) != LUA_TUSERDATA) continue;
        const tide_tensor *t = tideL_checktensor(L, -1, "batch");
        sum += t->storage ? t->storage->version : 0;
    }
    lua_pushinteger(L, (lua_Integer)sum);
    return 1;
}

/* -- ids of texts -- */

static bool is_dropped(const filling *f, int64_t row, int64_t k) {
    if (f->share <= 0) return false;
    const uint64_t draw = (uint64_t)f->first[row] + (uint64_t)k + 1;
    return (double)(tide_sample_seed(f->seed, f->pass, draw) >> 11) * 0x1p-53 < f->share;
}

static void put(char *to, int dtype, int64_t at, int64_t v) {
    switch (dtype) {
    case TIDE_I32: ((int32_t *)to)[at] = (int32_t)v; break;
    case TIDE_I64: ((int64_t *)to)[at] = v; break;
    case TIDE_F32: ((float *)to)[at] = (float)v; break;
    default: ((double *)to)[at] = (double)v;
    }
}

/* Rows of a piece: ids [order, order + step) of the one part, dropped by chance, cut, and filled.
 */
static void fill_rows(void *user, int64_t i, int worker) {
    const batch *b = user;
    const filling *f = &b->fill;
    const part *p = &b->part[0];
    const int64_t *ids = (const void *)p->x;
    const int dtype = p->to->dtype;
    (void)worker;
    int64_t hi = (i + 1) * b->grain < b->n ? (i + 1) * b->grain : b->n;
    for (int64_t row = i * b->grain; row < hi; row++) {
        char *y = p->y + (size_t)row * p->row;
        int64_t n = b->step[row], m = n;
        const bool counts = (f->pad_first || f->cut_first) && !f->instead;
        for (int64_t k = 0; k < n && counts; k++) m -= is_dropped(f, row, k);
        const int64_t kept = m < f->length ? m : f->length, skip = f->cut_first ? m - kept : 0;
        int64_t at = f->pad_first ? f->length - kept : 0, seen = 0, end = at + kept;
        for (int64_t k = 0; k < at; k++) put(y, dtype, k, f->value);
        for (int64_t k = 0; k < n && at < end; k++) {
            const bool gone = is_dropped(f, row, k);
            if ((gone && !f->instead) || seen++ < skip) continue;
            put(y, dtype, at++, gone ? f->other : ids[b->order[row] - 1 + k]);
        }
        for (; at < f->length; at++) put(y, dtype, at, f->value);
    }
}

/* A list of n whole numbers, copied. */
static int64_t *listed(lua_State *L, int i, int64_t n) {
    luaL_checktype(L, i, LUA_TTABLE);
    int64_t *to = malloc((size_t)n * sizeof *to + 1);
    for (int64_t k = 0; to && k < n; k++) {
        lua_rawgeti(L, i, (lua_Integer)k + 1);
        to[k] = lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    return to;
}

/* The rows order[k] of a contiguous tensor as the batch's next part, at once. */
static void take_rows(lua_State *L, tide_ctx *ctx, batch *b, tide_tensor *t) {
    int64_t shape[TIDE_MAX_RANK];
    size_t row = tide_dtype_size(t->dtype);
    if (t->rank < 1 || !tide_is_contiguous(t))
        tideL_error(L, "batch", "targets must lie row by row (got %d axes)", t->rank);
    for (int a = 1; a < t->rank; a++) shape[a] = t->shape[a], row *= (size_t)t->shape[a];
    shape[0] = b->n;
    part *p = &b->part[b->parts++];
    p->from = tide_retain(t);
    tideL_try(L, ctx, tide_new_host(ctx, t->dtype, t->rank, shape, &p->to));
    const char *x = tide_host_view(t);
    char *y = tide_host_view(p->to);
    for (int64_t k = 0; k < b->n; k++, y += row) {
        const int64_t i = b->order[k];
        if (i < 1 || i > t->shape[0])
            tideL_error(L, "batch", "there is no row %lld (of %lld)", (long long)i,
                        (long long)t->shape[0]);
        memcpy(y, x + (size_t)(i - 1) * row, row);
    }
}

/* fill_rows(workers, ids, from, count, samples, length | nil, { pad_first, cut_first, value, dtype,
 * most, seed, share, other }, pass, draw, targets = nil) -> batch of one tensor (#samples, length),
 * or of that and of the samples' rows of `targets`; a row per
 * sample i: count[i] of the int64 ids from number from[i] on, filled with `value` and cut; without
 * length as long as the longest, `most` at most. With a share those ids are dropped of which the
 * draw (i << 20) + draw + position is below it. Taken and made at once as with `gather`. */
static int fill_begin(lua_State *L) {
    lua_settop(L, 10);
    luaL_checktype(L, 5, LUA_TTABLE), luaL_checktype(L, 7, LUA_TTABLE);
    const uint64_t draw = (uint64_t)luaL_optinteger(L, 9, 0);
    tide_ctx *ctx = tideL_ctx(L);
    tideL_pace(L, ctx);
    tideL_box *box = tideL_newbox(L, drop);
    const int handle = lua_gettop(L);
    batch *b = calloc(1, sizeof *b + 2 * sizeof *b->part);
    if (!b) return tideL_error(L, "batch", "not enough memory");
    box->p = b;
    b->n = (int64_t)lua_rawlen(L, 5);
    filling *f = &b->fill;
    f->pad_first = tideL_field(L, 7, "pad_first") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    f->cut_first = tideL_field(L, 7, "cut_first") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    f->instead = tideL_field(L, 7, "other") == LUA_TNUMBER, f->other = lua_tointeger(L, -1);
    f->value = tideL_field(L, 7, "value") == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
    f->share = tideL_field(L, 7, "share") == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    tideL_field(L, 7, "seed"), f->seed = (uint64_t)lua_tointeger(L, -1);
    int64_t most = tideL_field(L, 7, "most") == LUA_TNUMBER ? lua_tointeger(L, -1) : INT64_MAX;
    f->pass = (uint64_t)luaL_optinteger(L, 8, 0);
    tideL_field(L, 7, "dtype");
    const int dtype = tideL_todtype(L, -1, "batch");
    if (dtype != TIDE_I32 && dtype != TIDE_I64 && dtype != TIDE_F32 && dtype != TIDE_F64)
        return tideL_error(L, "batch", "ids cannot be %s", tide_dtype_name(dtype));
    b->order = listed(L, 5, b->n), b->step = malloc((size_t)b->n * sizeof *b->step + 1);
    if (f->share > 0) f->first = malloc((size_t)b->n * sizeof *f->first + 1);
    if (!b->order || !b->step || (f->share > 0 && !f->first))
        return tideL_error(L, "batch", "not enough memory");
    const tide_tensor *from = tideL_pinhost(L, 3, "batch"), *count = tideL_pinhost(L, 4, "batch");
    part *p = &b->part[b->parts++];
    p->from = tide_retain(tideL_pinhost(L, 2, "batch"));
    const int64_t texts = tide_numel(from), all = tide_numel(p->from);
    if (p->from->dtype != TIDE_I64 || from->dtype != TIDE_I64 || count->dtype != TIDE_I64 ||
        tide_numel(count) != texts)
        return tideL_error(L, "batch", "ids, from and count are int64");
    const int64_t *at = tide_host_view(from), *size = tide_host_view(count);
    if (!lua_isnil(L, 10)) take_rows(L, ctx, b, tideL_pinhost(L, 10, "batch"));
    int64_t longest = 1;
    for (int64_t k = 0; k < b->n; k++) {
        const int64_t i = b->order[k];
        if (i < 1 || i > texts || at[i - 1] < 1 || at[i - 1] > all + 1 || size[i - 1] < 0 ||
            size[i - 1] > all + 1 - at[i - 1])
            return tideL_error(L, "batch", "there is no text %lld (of %lld)", (long long)i,
                               (long long)texts);
        if (f->first) f->first[k] = (int64_t)(((uint64_t)i << 20) + draw);
        b->order[k] = at[i - 1], b->step[k] = size[i - 1];
        if (size[i - 1] > longest) longest = size[i - 1];
    }
    f->length = luaL_optinteger(L, 6, longest < most ? longest : most);
    if (f->length < 0) return tideL_error(L, "batch", "rows have a length of 0 or more");
    int64_t shape[2] = {b->n, f->length};
    tideL_try(L, ctx, tide_new_host(ctx, dtype, 2, shape, &p->to));
    p->row = (size_t)f->length * tide_dtype_size(dtype);
    p->x = tide_host_view(p->from), p->y = tide_host_view(p->to);
    return begin(L, b, handle, (int64_t)p->row, fill_rows);
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
    if (tide_file_lost) tideL_try(L, ctx, tide_go_on(ctx));
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
        {"workers_ours", workers_ours}, {"workers_alive", workers_alive},
        {"gather", gather_begin},       {"take", take},
        {"written", written},           {"fill_rows", fill_begin},
        {"gather_wait", gather_wait},   {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
