/* Fusions of a recorded step, before it becomes a plan.
 *
 * Product and optimizer. Where a gradient is the product of a layer's input and the gradient of its
 * result, and nothing but the optimizer's op reads it, it is not made: the optimizer's op gets both
 * factors in its place, and each piece of the product moves its piece of the weight while it is in
 * the cache (kernels/cpu/optim.c). The sums of a product and the rule are the same, and so are the
 * bits; what is saved is the way of the gradient to memory and back. The factors live until the
 * optimizer's op then; where they take more room than the gradient does, or where norms of
 * gradients are limited, all stays as it was recorded.
 *
 * A linear layer whose activation's derivative stood inside its op gets that as a launch of its
 * own, for both readers.
 *
 * Invariant: launches stay in their order, and first, last and changed of all slots, draws and
 * dials count them as they are then. */
#include "../kernels/gemm.h"
#include "device.h"
#include "recorder.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEAST = 1 << 15, /* elements of a gradient: smaller ones stay in the cache */
    SIDE = 16        /* rows and columns of it, at least */
};

typedef struct {   /* a gradient that is not made */
    int made_at;   /* launch of linear_grad */
    int optimizer; /* launch */
    int gradient;  /* operand */
    int dz;        /* operand: the other factor beside the layer's input */
} fused;

typedef struct {
    int reads, writes; /* operands */
    int written;       /* the last launch that writes to it */
} uses;

/* Every step op's attributes begin with these (OPTIM_ARGS). */
typedef struct {
    double learning_rate, weight_decay, grad_scale, clipnorm, global_clipnorm, clipvalue;
} common;

static uses *count_uses(const tide_recorder *r) {
    uses *u = calloc((size_t)r->nslots + 1, sizeof *u);
    if (!u) return NULL;
    for (int s = 0; s < r->nslots; s++) u[s].written = NONE;
    for (int i = 0, k = 0; i < r->nlaunches; i++) {
        const launch *l = &r->launches[i];
        for (; k < l->first; k++) /* parts of sparse gradients */
            if (r->operands[k].slot >= 0) u[r->operands[k].slot].reads++;
        for (; k < l->first + l->nin + l->nout; k++) {
            const int s = r->operands[k].slot, in = k - l->first;
            if (s < 0) continue;
            if (in >= l->nin || tide_written(l->op, l->nlist, in)) u[s].writes++, u[s].written = i;
            if (in < l->nin) u[s].reads++;
        }
    }
    return u;
}

static int is_packed(const operand *o) {
    int64_t n = 1;
    for (int i = o->meta.rank - 1; i >= 0; i--) {
        if (o->meta.shape[i] != 1 && o->stride[i] != n) return 0;
        n *= o->meta.shape[i];
    }
    return o->meta.dtype == TIDE_F32 && !o->shares;
}

static int64_t numel(const operand *o) {
    int64_t n = 1;
    for (int i = 0; i < o->meta.rank; i++) n *= o->meta.shape[i];
    return n;
}

/* The launch that makes the gradient at operand `at`, if that one can be left to the optimizer. */
static int maker(const tide_recorder *r, const uses *u, int at, int optimizer) {
    const operand *g = &r->operands[at];
    if (g->slot < 0 || r->slots[g->slot].kind != TEMP || u[g->slot].writes != 1 ||
        u[g->slot].reads != 1 || g->meta.rank != 2 || !is_packed(g) || g->offset != 0 ||
        numel(g) < LEAST || g->meta.shape[0] < SIDE || g->meta.shape[1] < SIDE)
        return NONE;
    const int i = r->slots[g->slot].first;
    const launch *l = &r->launches[i];
    if (l->op != &tide_op_linear_grad || r->operands[l->first + l->nin + 1].slot != g->slot)
        return NONE;
    const operand *x = &r->operands[l->first], *dy = &r->operands[l->first + 3];
    int64_t more = numel(dy);
    for (int k = 0; k < 4; k++) {
        const operand *o = &r->operands[l->first + k];
        if (k != 2 && (o->slot < 0 || !is_packed(o))) return NONE;
        if (k % 3 == 0 && u[o->slot].written >= i) return NONE; /* another's then */
    }
    if (r->slots[x->slot].kind == TEMP && r->slots[x->slot].last < optimizer) more += numel(x);
    return more <= numel(g) ? i : NONE;
}

static int find(const tide_recorder *r, const uses *u, fused *out) {
    int n = 0;
    for (int i = 0; i < r->nlaunches; i++) {
        const launch *l = &r->launches[i];
        const common *at = (const void *)(r->attrs + l->attrs);
        if (!(l->op->flags & TIDE_PRODUCTS) || at->clipnorm > 0 || at->global_clipnorm > 0)
            continue;
        const operand *lists = &r->operands[l->first + l->op->nin];
        int wide = 1;
        for (int k = 0; k < 2 * l->nlist; k++)
            wide &= lists[k].slot == NONE || lists[k].meta.dtype == TIDE_F32;
        for (int k = l->nlist; k < 2 * l->nlist && wide; k++) {
            const int gradient = l->first + l->op->nin + k, made_at = maker(r, u, gradient, i);
            if (made_at != NONE)
                out[n++] = (fused){.made_at = made_at, .optimizer = i, .gradient = gradient};
        }
    }
    return n;
}

static int by_maker(const void *a, const void *b) {
    return ((const fused *)a)->made_at - ((const fused *)b)->made_at;
}

/* Room for what `n` fusions add. */
static int make_room(tide_recorder *r, int n) {
    const size_t more = (size_t)n;
#define GROW(list, count, each)                                                             \
    {                                                                                       \
        void *p = realloc(r->list, ((size_t)r->count + (each)*more + 1) * sizeof *r->list); \
        if (!p) return 0;                                                                   \
        r->list = p;                                                                        \
    }
    GROW(slots, nslots, 3)
    GROW(operands, noperands, 14)
    GROW(attrs, nattrs, (size_t)TIDE_MAX_ATTRS)
#undef GROW
    return 1;
}

static int add_slot(tide_recorder *r, size_t bytes, int first, int last) {
    r->slots[r->nslots] = (slot){
        .bytes = bytes, .kind = TEMP, .first = first, .last = last, .changed = NONE, .dead = 1};
    return r->nslots++;
}

static int add(tide_recorder *r, operand o) {
    r->operands[r->noperands] = o;
    return r->noperands++;
}

/* A result that is not asked for. */
static operand nothing(tide_recorder *r, int at) {
    const int s = add_slot(r, 0, at, at);
    return (operand){.slot = s, .meta = {.rank = 1, .dtype = TIDE_F32}, .stride = {1}};
}

/* The launch of a linear layer's gradients without the kernel's; `before` becomes that of the
 * activation's derivative, where there is one, and runs at `at`. Returns whether there is. */
static int split(tide_recorder *r, launch *l, fused *f, int at, launch *before) {
    tide_linear_grad_attrs *a = (void *)(r->attrs + l->attrs);
    const int activation = a->activation, old = l->first;
    const operand dy = r->operands[old + 3];
    operand dz = dy;
    if (activation != TIDE_ACTIVATION_linear) {
        dz = (operand){.slot = add_slot(r, (size_t)numel(&dy) * sizeof(float), at, at + 1),
                       .meta = dy.meta};
        memcpy(dz.stride, dy.stride, sizeof dz.stride);
        tide_activation_grad_attrs *own = (void *)(r->attrs + r->nattrs);
        memset(own, 0, sizeof *own);
        *own = *TIDE_ATTRS(activation_grad, .activation = activation);
        const operand none = nothing(r, at);
        *before = (launch){.op = &tide_op_activation_grad,
                           .nin = 2,
                           .nout = 2,
                           .may_stop = l->may_stop,
                           .first = add(r, dy),
                           .attrs = r->nattrs};
        add(r, r->operands[old + 2]), add(r, dz), add(r, none);
        r->nattrs += (sizeof *own + 15) & ~(size_t)15;
        at++;
    }
    const operand none = nothing(r, at);
    l->first = add(r, r->operands[old]);
    add(r, r->operands[old + 1]), add(r, (operand){.slot = NONE}), f->dz = add(r, dz);
    add(r, r->operands[old + 4]), add(r, none), add(r, r->operands[old + 6]);
    a->activation = TIDE_ACTIVATION_linear, a->needs &= ~(int64_t)2;
    return activation != TIDE_ACTIVATION_linear;
}

/* The optimizer's operand becomes the pair of factors: x turned (in, rows) and dz (rows, out). */
static void pair(tide_recorder *r, const fused *f, const launch *made, int optimizer) {
    operand *g = &r->operands[f->gradient], x = r->operands[made->first], z = r->operands[f->dz];
    const int64_t in = g->meta.shape[0], out = g->meta.shape[1], rows = numel(&z) / out;
    operand a = x, b = z;
    a.meta.rank = b.meta.rank = 2, a.is_view = b.is_view = 1;
    memset(a.meta.shape, 0, sizeof a.meta.shape), memset(b.meta.shape, 0, sizeof b.meta.shape);
    a.meta.shape[0] = in, a.meta.shape[1] = rows, a.stride[0] = 1, a.stride[1] = in;
    b.meta.shape[0] = rows, b.meta.shape[1] = out, b.stride[0] = out, b.stride[1] = 1;
    r->slots[g->slot].first = NONE; /* nobody needs it */
    r->slots[x.slot].last = TIDE_MAX(r->slots[x.slot].last, optimizer);
    r->slots[z.slot].last = TIDE_MAX(r->slots[z.slot].last, optimizer);
    g->slot = PRODUCT;
    const int ids = add(r, a), values = add(r, b);
    g = &r->operands[f->gradient];
    g->ids = ids, g->values = values;
}

int tide_recorder_fuse(tide_recorder *r) {
    if (r->dev != tide_cpu() || !tide_own_products()) return 0;
    uses *u = count_uses(r);
    fused *all = malloc(((size_t)r->noperands + 1) * sizeof *all);
    const int n = u && all ? find(r, u, all) : 0;
    launch *to = n ? malloc((size_t)(r->nlaunches + n + 1) * sizeof *to) : NULL;
    int *map = n ? malloc(((size_t)r->nlaunches + 1) * sizeof *map) : NULL;
    int count = 0, done = to && map && make_room(r, n);
    if (done) {
        qsort(all, (size_t)n, sizeof *all, by_maker);
        const int nslots = r->nslots;
        for (int i = 0, k = 0; i < r->nlaunches; i++) {
            launch l = r->launches[i];
            if (k < n && all[k].made_at == i && split(r, &l, &all[k], count, &to[count])) count++;
            if (k < n && all[k].made_at == i) all[k].made_at = count, k++;
            map[i] = count;
            to[count++] = l;
        }
        map[r->nlaunches] = count;
        for (int i = 0; i < nslots; i++) {
            slot *s = &r->slots[i];
            if (s->first != NONE) s->first = map[s->first], s->last = map[s->last];
            if (s->changed != NONE) s->changed = map[s->changed];
        }
        for (int i = 0; i < r->ndraws; i++) r->draws[i].launch = map[r->draws[i].launch];
        for (int i = 0; i < r->ndials; i++) r->dials[i].launch = map[r->dials[i].launch];
        free(r->launches);
        r->launches = to, r->nlaunches = count, r->cap_launches = count;
        for (int k = 0; k < n; k++) pair(r, &all[k], &to[all[k].made_at], map[all[k].optimizer]);
    } else free(to);
    free(map), free(u), free(all);
    return done ? n : 0;
}
