/* Running kernels. Every kernel of a tensor's op runs here: eager calls, Adam's late steps, sums in
 * place, kept steps.
 *
 * Invariant: buffers and versions are made from the tensors at each launch, so that a step that was
 * kept sees the memory and the contents of today. A failed launch leaves a message in the context.
 */
#include "launch.h"

#include "device.h"
#include "../kernels/gemm.h"
#include "lag.h"
#include "plan.h"
#include "team.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_OUT = 8, FEW = 16 };

/* -- what an op writes -- */

unsigned tide_inout(const tide_op *op) {
    static _Atomic uint16_t known[TIDE_OP_COUNT]; /* bit 15: it is */
    unsigned bits = atomic_load_explicit(&known[op->id], memory_order_relaxed);
    if (bits) return bits & 0x7FFF;
    const tide_arg *a = op->args();
    for (int k = 0, at = 0; k < op->nargs; k++)
        if (a[k].kind == TIDE_ARG_IN) bits |= (unsigned)(a[k].need == INOUT) << at++;
    atomic_store_explicit(&known[op->id], (uint16_t)(bits | 0x8000), memory_order_relaxed);
    return bits;
}

/* Of lists all but the second, which holds what is read: gradients, or the parameters of a moving
 * average. */
int tide_written(const tide_op *op, int nlist, int i) {
    if (i >= op->nin) return op->flags & TIDE_INPLACE && (i - op->nin) / nlist != 1;
    return tide_inout(op) >> i & 1;
}

static void bump_versions(const tide_step *s) {
    const unsigned inout = tide_inout(s->op);
    for (int i = 0; inout >> i; i++)
        if (inout >> i & 1) s->in[i]->storage->version++;
    if (s->op->flags & TIDE_INPLACE)
        for (int i = s->op->nin; i < s->nin; i++)
            if (s->in[i] && s->in[i]->storage && tide_written(s->op, s->nlist, i))
                s->in[i]->storage->version++;
    for (int i = 0; s->existing && i < s->nout; i++) s->out[i]->storage->version++;
}

/* -- buffers -- */

void tide_set_buf(tide_buf *b, const tide_tensor *t) {
    const tide_storage *s = t->storage;
    if (s->dev)
        b->p = (char *)s->data + s->dev->seen + t->offset * (int64_t)tide_dtype_size(t->dtype);
    else b->number = t->number, b->p = &b->number;
    memcpy(b->shape, t->shape, sizeof b->shape); /* whole: cheaper than a loop over the rank */
    memcpy(b->stride, t->stride, sizeof b->stride);
    b->rank = t->rank;
    b->dtype = t->dtype;
    b->storage_id = s->id;
    b->version = s->version;
}

/* Results are where the inputs are: tide_apply sees to that. */
static tide_device *device_of(const tide_step *s) {
    tide_device *dev = s->nout ? s->out[0]->storage->dev : NULL;
    for (int i = 0; i < s->nin && !dev; i++)
        if (s->in[i]) dev = tide_device_of(s->in[i]);
    return dev ? dev : tide_cpu();
}

/* Whether some tensor has no elements: then nothing runs. */
static int shapes_alone(const tide_step *s) {
    int alone = 0;
    for (int i = 0; i < s->nin + s->nout; i++) {
        const tide_tensor *x = i < s->nin ? s->in[i] : s->out[i - s->nin];
        const tide_device *dev = x ? (x->storage ? x : x->values)->storage->dev : NULL;
        alone |= dev && dev->no_elements;
    }
    return alone;
}

/* An optimizer's step on parameters that have elements, by gradients that have none, would be lost.
 */
static tide_status refuse_lost(tide_ctx *ctx, const tide_step *s) {
    for (int i = s->op->nin; i < s->op->nin + s->nlist && s->op->flags & TIDE_INPLACE; i++)
        if (tide_has_elements(s->in[i]))
            return tide_fail(ctx, TIDE_EDEVICE,
                             "%s: a tensor on %s is to be changed by one on device meta, which has "
                             "no elements",
                             s->op->name, tide_device_name(tide_device_of(s->in[i])));
    return TIDE_OK;
}

/* -- failures in words -- */

static tide_status bad_position(tide_ctx *ctx, const tide_op *op, const tide_kcall *k) {
    const tide_arg *args = op->args();
    const char *name = k->bad.in >= 0 && k->bad.in < op->nargs ? args[k->bad.in].name : "input";
    const tide_buf *b = &k->in[k->bad.in];
    char where[160] = "[";
    int64_t flat = k->bad.pos, at[TIDE_MAX_RANK];
    for (int i = b->rank - 1; i >= 0; i--) at[i] = flat % b->shape[i] + 1, flat /= b->shape[i];
    for (int i = 0; i < b->rank; i++) {
        size_t n = strlen(where);
        snprintf(where + n, sizeof where - n, i ? ", %ld" : "%ld", (long)at[i]);
    }
    const int op_name = (int)strlen(op->name) -
        (op->name[strlen(op->name) - 1] == '_'); /* private names without their mark */
    if (k->bad.value == INT64_MIN)
        return tide_fail(ctx, TIDE_EINDEX, "%.*s: %s%s] is not a whole number (expected %ld..%ld)",
                         op_name, op->name, name, where, (long)k->bad.lo, (long)k->bad.hi);
    char range[48];
    if (k->bad.hi >= k->bad.lo &&
        (uint64_t)k->bad.hi - (uint64_t)k->bad.lo >= INT64_MAX - 1) /* as far as numbers go */
        snprintf(range, sizeof range, "%ld or more", (long)k->bad.lo);
    else snprintf(range, sizeof range, "%ld..%ld", (long)k->bad.lo, (long)k->bad.hi);
    const char *remedy =
        op->zero ? op->zero : "; positions count from 1: add 1 to labels or ids that count from 0";
    return tide_fail(ctx, TIDE_EINDEX, "%.*s: %s%s] is out of range (expected %s, got %ld)%s",
                     op_name, op->name, name, where, range, (long)k->bad.value,
                     k->bad.value != 0 || k->bad.lo != 1 ? "" : remedy);
}

static void explain(tide_ctx *ctx, const tide_step *s, const tide_kcall *k, tide_status st) {
    const tide_op *op = s->op;
    const tide_tensor *a = s->nin > 0 ? s->in[0] : NULL, *b = s->nin > 1 ? s->in[1] : NULL;
    if (st == TIDE_ENOKERNEL)
        tide_fail(ctx, st, "%s: no kernel of device %s serves %s%s%s", op->name,
                  tide_device_name(device_of(s)), a ? tide_dtype_name(a->dtype) : "",
                  b ? " and " : "", b ? tide_dtype_name(b->dtype) : "");
    else if (st == TIDE_EINTERRUPT) tide_fail(ctx, st, "interrupted!");
    else if (st == TIDE_EINDEX) bad_position(ctx, op, k);
    else if (st == TIDE_ENOMEM) {
        ctx->refused = 1;
        tide_fail(ctx, st, "%s: not enough memory for work space", op->name);
    } else if (st == TIDE_EARG && op->refused && op->flags & TIDE_ELEMENTWISE)
        tide_fail(ctx, st, "%s: %s", op->name, op->refused);
    else if (st == TIDE_EARG && op->refused)
        tide_fail(ctx, st, "%s: matrix %ld of %s %s", op->name, (long)k->bad.pos + 1,
                  op->args()[0].name, op->refused);
    else
        tide_fail(ctx, st, "%s: the kernel refuses its input (%s)", op->name, tide_status_name(st));
}

/* -- profile -- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct tide_profile *tide_profile_new(int64_t most) {
    struct tide_profile *p = calloc(1, sizeof *p);
    if (p) p->most = most, p->began = seconds();
    return p;
}

void tide_profile_free(struct tide_profile *p) {
    if (p) free(p->spans), free(p->parts);
    free(p);
}

void tide_profile_enter(struct tide_profile *p, int part, int backward) {
    if (part >= p->nparts) {
        const int n = TIDE_MAX(16, 2 * part);
        tide_tally *more = realloc(p->parts, 2 * (size_t)n * sizeof *more);
        if (more) {
            memset(more + 2 * p->nparts, 0, 2 * (size_t)(n - p->nparts) * sizeof *more);
            p->parts = more, p->nparts = n;
        }
    }
    p->part = part < p->nparts ? part : 0;
    p->backward = backward;
}

static void add_tally(tide_tally *s, double seconds, int64_t bytes, double flops) {
    s->calls++;
    s->seconds += seconds;
    s->bytes += bytes;
    s->flops += flops;
}

/* Where there is no room for more, the launches that follow are only counted. */
static void keep_span(struct tide_profile *p, const tide_span *s) {
    if (p->nspans == p->room) {
        const int64_t room = p->room ? 2 * p->room : 1024;
        tide_span *more = realloc(p->spans, (size_t)room * sizeof *more);
        if (!more) p->most = p->nspans;
        if (!more) return;
        p->spans = more, p->room = room;
    }
    p->spans[p->nspans++] = *s;
}

static void profile_add(tide_ctx *ctx, const tide_kcall *k, double t0, double t) {
    struct tide_profile *p = ctx->profile;
    const double work = tide_ops[k->op]->flops ? tide_ops[k->op]->flops(k) : 0;
    int64_t bytes = 0;
    for (int i = 0; i < k->nin; i++)
        if (k->in[i].p && k->in[i].rank != TIDE_SPARSE_RANK)
            bytes += tide_buf_numel(&k->in[i]) * (int64_t)tide_dtype_size(k->in[i].dtype);
    for (int i = 0; i < k->nout; i++)
        bytes += tide_buf_numel(&k->out[i]) * (int64_t)tide_dtype_size(k->out[i].dtype);
    add_tally(&p->op[k->op], t, bytes, work);
    const int part = 2 * p->part + p->backward;
    if (p->parts) add_tally(&p->parts[part], t, bytes, work);
    if (p->nspans < p->most) keep_span(p, &(tide_span){t0 - p->began, t, work, bytes, k->op, part});
}

/* -- the launch -- */

/* A step on shapes alone, while somebody counts: its work and its work space are noted as if it
 * ran. */
static void note_shapes(tide_ctx *ctx, const tide_step *s) {
    tide_buf bufs[FEW + MAX_OUT];
    if (!tide_meta_counting() || (!s->op->flops && !s->op->room)) return;
    for (int i = 0; i < s->nin + s->nout; i++) {
        const tide_tensor *x = i < s->nin ? s->in[i] : s->out[i - s->nin];
        if (i == FEW + MAX_OUT || (x && !x->storage)) return;
        bufs[i] = (tide_buf){0};
        if (x) tide_set_buf(&bufs[i], x);
    }
    const tide_kcall k = {.attrs = s->attrs,
                          .in = bufs,
                          .out = bufs + s->nin,
                          .op = s->op->id,
                          .nin = s->nin,
                          .nout = s->nout,
                          .nlist = s->nlist,
                          .dev = tide_meta_device()};
    if (s->op->room) {
        const size_t bytes = (size_t)s->op->room(&k);
        void *p = bytes ? tide_mem_alloc(k.dev, bytes) : NULL;
        tide_mem_free(k.dev, p, bytes);
    }
    if (ctx->profile) profile_add(ctx, &k, seconds(), 0);
}

/* The engines in order, until one serves. */
tide_status tide_serve(tide_kcall *k) {
    _Atomic int left_out = 0;
    /* a launch may stand inside another: rows that lag behind */
    _Atomic int *const outer = tide_left_out;
    tide_left_out = k->may_stop ? &left_out : NULL;
    const int threads = tide_team_fix();
    tide_status st = TIDE_DECLINE;
    const int mark = tide_scratch_mark();
    for (const tide_engine *const *e = k->dev->engines; *e && st == TIDE_DECLINE; e++) {
        tide_kernel f = (*e)->table[k->op];
        if (f) st = f(k);
        tide_scratch_release(mark);
    }
    if (tide_stopped()) st = TIDE_EINTERRUPT;
    tide_left_out = outer;
    tide_team_unfix(threads);
    return st == TIDE_DECLINE ? TIDE_ENOKERNEL : st;
}

/* New results without elements, which no kernel fills: one would walk what they are made of, which
 * may be 2^40 windows of no channels. Kernels that look at their inputs' values still do. */
static int nothing_to_fill(const tide_step *s) {
    const tide_op *op = s->op;
    if (s->existing || op->before || op->after || op->whole || op->refused || !s->nout) return 0;
    for (int i = 0; i < s->nout; i++)
        if (!s->out[i]->storage || tide_numel(s->out[i]) != 0) return 0;
    return 1;
}

tide_status tide_launch(tide_ctx *ctx, const tide_step *s) {
    const tide_op *op = s->op;
    if (shapes_alone(s)) {
        note_shapes(ctx, s);
        return refuse_lost(ctx, s);
    }
    if (nothing_to_fill(s)) return TIDE_OK;
    if (op->before) TIDE_TRY(op->before(ctx, s));
    tide_buf few[FEW + MAX_OUT], *bufs = few;
    int sparse = 0, halves = 0;
    for (int i = 0; i < s->nin; i++) {
        sparse += s->in[i] && !s->in[i]->storage;
        halves |= s->in[i] && tide_is_half(s->in[i]->dtype);
    }
    halves &= !(op->flags & TIDE_HALF) || op->rows || op->relays;
    if (s->nin > FEW || sparse) { /* each sparse gradient stands behind them as a pair */
        bufs = malloc((size_t)(s->nin + MAX_OUT) * sizeof *bufs +
                      (size_t)sparse * sizeof(tide_sparse));
        if (!bufs) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory", op->name);
    }
    tide_sparse *pair = (tide_sparse *)(bufs + s->nin + MAX_OUT);
    for (int i = 0; i < s->nin; i++) {
        const tide_tensor *x = s->in[i];
        if (x && x->storage) {
            if (x->storage->lag && !(op->flags & TIDE_LAGS)) tide_lag_flush(x->storage->lag);
            tide_set_buf(&bufs[i], x);
        } else if (x) {
            tide_set_buf(&pair->ids, x->ids);
            tide_set_buf(&pair->values, x->values);
            bufs[i] = (tide_buf){.p = pair++,
                                 .rank = tide_is_product(x) ? TIDE_PRODUCT_RANK : TIDE_SPARSE_RANK,
                                 .dtype = x->dtype};
        } else { /* the kernel of an op with lists is that of the dtype of the first one */
            const int lists = i < s->op->nin && s->nlist > 0;
            bufs[i] = (tide_buf){.dtype = lists ? s->in[s->op->nin]->dtype : 0};
        }
    }
    for (int i = 0; i < s->nout; i++) {
        if (s->out[i]->storage->lag) tide_lag_flush(s->out[i]->storage->lag);
        tide_set_buf(&bufs[s->nin + i], s->out[i]);
    }
    tide_kcall k = {.attrs = s->attrs,
                    .in = bufs,
                    .out = bufs + s->nin,
                    .op = op->id,
                    .nin = s->nin,
                    .nout = s->nout,
                    .nlist = s->nlist,
                    .may_stop = s->may_stop,
                    .dev = device_of(s)->runs};
    const double t0 = ctx->profile ? seconds() : 0;
    tide_status st = halves ? tide_serve_halves(ctx, s, &k, bufs) : tide_serve(&k);
    if (ctx->profile && st == TIDE_OK) profile_add(ctx, &k, t0, seconds() - t0);
    if (st != TIDE_OK) explain(ctx, s, &k, st);
    else if (op->after) op->after(s);
    if (st != TIDE_ENOKERNEL) bump_versions(s); /* one that failed may have written a part */
    if (bufs != few) free(bufs);
    return st;
}

tide_status tide_launch_everyday(tide_ctx *ctx, const tide_step *s) {
    tide_buf bufs[FEW];
    if (!s->out[0]->storage->bytes && nothing_to_fill(s)) return TIDE_OK;
    for (int i = 0; i < s->nin; i++) tide_set_buf(&bufs[i], s->in[i]);
    tide_set_buf(&bufs[s->nin], s->out[0]);
    tide_kcall k = {.attrs = s->attrs,
                    .in = bufs,
                    .out = bufs + s->nin,
                    .op = s->op->id,
                    .nin = s->nin,
                    .nout = 1,
                    .may_stop = s->may_stop,
                    .dev = s->out[0]->storage->dev->runs};
    const tide_status st = tide_serve(&k);
    if (st != TIDE_OK) explain(ctx, s, &k, st);
    return st;
}

tide_status tide_run_into(tide_ctx *ctx, const tide_op *op, void *attrs, int nin, tide_tensor **in,
                          tide_tensor *out) {
    const tide_step s = {
        .op = op, .attrs = attrs, .nin = nin, .nout = 1, .existing = 1, .in = in, .out = &out};
    TIDE_TRY(tide_launch(ctx, &s));
    if (ctx->recorder) tide_recorder_note(ctx, &s);
    return ctx->steps && !shapes_alone(&s) ? tide_steps_add(ctx, &s) : TIDE_OK;
}

/* -- kept steps -- */

tide_status tide_step_keep(tide_ctx *ctx, const tide_step *s, tide_step **out) {
    const size_t attrs = (s->op->attrs_size + 15) & ~(size_t)15;
    const int n = s->nin + s->nout;
    *out = NULL;
    if (s->op->measure)
        return tide_fail(ctx, TIDE_EARG,
                         "%s: the shape of its result depends on the elements of its input; such a "
                         "step cannot be kept",
                         s->op->name);
    char *block = malloc(sizeof **out + attrs + (size_t)n * sizeof(tide_tensor *));
    if (!block) return tide_fail(ctx, TIDE_ENOMEM, "%s: not enough memory to keep it", s->op->name);
    tide_step *k = (tide_step *)block;
    *k = *s;
    k->existing = 1;
    k->may_stop = 0;
    k->in = (tide_tensor **)(block + sizeof *k);
    k->out = k->in + s->nin;
    k->attrs = k->out + s->nout;
    for (int i = 0; i < s->nin; i++) k->in[i] = tide_retain(s->in[i]);
    for (int i = 0; i < s->nout; i++) k->out[i] = tide_retain(s->out[i]);
    if (s->op->attrs_size) memcpy(k->attrs, s->attrs, s->op->attrs_size);
    *out = k;
    return TIDE_OK;
}

void tide_step_free(tide_step *s) {
    for (int i = 0; i < s->nin; i++) tide_release(s->in[i]);
    for (int i = 0; i < s->nout; i++) tide_release(s->out[i]);
    free(s);
}

tide_status tide_step_again(tide_ctx *ctx, tide_step *s) {
    const tide_arg *a = s->op->args();
    TIDE_TRY(tide_go_on(ctx));
    for (int i = 0; i < s->op->nargs; i++) {
        if (a[i].kind != TIDE_ARG_RNG || !s->nout) continue;
        const int64_t n = s->op->draws ? s->op->draws(s->attrs, s->in) : tide_numel(s->out[0]);
        if (n || !s->op->draws)
            TIDE_TRY(tide_draw(ctx, s->op->name, n,
                               (tide_rng *)(void *)((char *)s->attrs + a[i].offset)));
    }
    return tide_launch(ctx, s);
}

/* Is the word among those of `list`, which blanks separate? */
static int among(const char *list, const char *word) {
    const size_t n = strlen(word);
    for (const char *p = list; p && (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return 1;
    return 0;
}

int tide_step_set(tide_step *s, const char *name, double value) {
    const tide_arg *a = s->op->args();
    for (int i = 0; i < s->op->nargs && among(s->op->live, name); i++) {
        void *at = (char *)s->attrs + a[i].offset;
        if (strcmp(a[i].name, name) != 0) continue;
        if (a[i].kind == TIDE_ARG_INT) *(int64_t *)at = (int64_t)value;
        else *(double *)at = value;
        return 1;
    }
    return 0;
}

void tide_steps_clear(tide_steps *steps) {
    for (int64_t i = 0; i < steps->n; i++) tide_step_free(steps->step[i]);
    free(steps->step);
    *steps = (tide_steps){0};
}

tide_status tide_steps_add(tide_ctx *ctx, const tide_step *s) {
    tide_steps *all = ctx->steps;
    if (all->n == all->cap) {
        const int64_t cap = all->cap ? all->cap * 2 : 64;
        tide_step **more = realloc(all->step, (size_t)cap * sizeof *more);
        if (!more) return tide_fail(ctx, TIDE_ENOMEM, "not enough memory to keep a step");
        all->step = more, all->cap = cap;
    }
    TIDE_TRY(tide_step_keep(ctx, s, &all->step[all->n]));
    all->n++;
    return TIDE_OK;
}
