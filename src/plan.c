/* Plans: a step of training, testing or predicting that repeats, recorded once and replayed.
 *
 * What is recorded. While a context has a recorder, every launch is noted behind its run: op,
 * attributes, and for each tensor which storage it lies on and where. A storage is a slot, of one
 * of four kinds:
 *
 *   INPUT   of a tensor that the step is given: the batch, sums of metrics, the guard of losses;
 *   HELD    was there before and is no input: weights, running means;
 *   TEMP    made by the step, and gone with it;
 *   OUTPUT  made by the step, and handed out.
 *
 * Two recordings of the same forms are compared; where they made the same calls, the second becomes
 * a plan: its launches in order (steps as launch.c runs them), over one arena in which each TEMP
 * has its place for as long as some launch needs it. A run takes the arena from the allocator and
 * gives it back, so that between two steps a plan holds no memory that the eager step would not;
 * outputs are new tensors each time. What changes from run to run stands in slots: the storages of
 * inputs, the counters of random numbers, which move with the context's generator. There is no
 * Lua, no tape and no allocator between the launches; kernels, engines and their order are the
 * eager step's own, and so are the bits.
 *
 * Why the seam is the launch. Everything that touches elements passes tide_launch or the verbs of
 * transfer.c: the first is noted, the second refuse the recording (somebody looked at a value, so
 * the calls that follow may depend on it). Views, casts, compositions, rules of gradients and
 * halves need no word here. The one thing that launches do not show is what Lua did beside them:
 * whoever asks for a plan answers for that (bind/plan.c watches the fields that the calls hang on,
 * and training/replay.lua says which).
 *
 * What is refused: reading what no launch wrote; a tensor made by the step that outlives it without
 * being an output; writing to tensors from outside that nobody answers for (those that are only
 * read are constants of the model's code, or were made of tensors whose version the code asks for,
 * and such a version is pinned: when it has changed, the plan holds no more); shapes that depend on
 * elements; several devices. A run that fails is undone as far as it changed anything, so that the
 * eager step can say what is wrong. The optimizer's step is none of this: it runs between two
 * plans. */
#include "plan.h"

#include "../kernels/keep.h"
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT, HELD, TEMP, OUTPUT };
enum { NONE = -1, NUMBER = -2, SPARSE = -3 }; /* operands without a slot */
enum { ALIGN = 64 };
#define TRIM_FROM ((size_t)1 << 20) /* bytes of an arena */
#define UNDO_MOST ((size_t)1 << 20) /* bytes that a run may have to put back */

typedef struct {
    uint64_t id;
    tide_storage *storage; /* HELD: a reference of the plan's */
    size_t bytes;
    int kind, input; /* INPUT: its number */
    int first, last; /* launches */
    int changed;     /* INPUT, HELD: the first launch that writes to it, or NONE */
    uint8_t pinned;  /* the program looked at its version, which must stay as it is */
    uint64_t version;
    uint8_t dead;   /* was freed while recording */
    uint8_t relaid; /* kernels keep it in layouts of their own: it needs an identity */
} slot;

typedef struct { /* a tensor as a launch sees it; INPUT: offset from the input's own */
    int slot;
    int ids, values; /* SPARSE: numbers of operands */
    tide_meta meta;
    int64_t stride[TIDE_MAX_RANK], offset;
    uint64_t number;
    uint8_t is_view, shares;
} operand;

typedef struct {
    const tide_op *op;
    int nin, nout, nlist, may_stop, existing;
    int first;    /* operand; inputs, then outputs */
    size_t attrs; /* place among the attributes */
} launch;

typedef struct { /* counters of random numbers in a launch's attributes, from the step's first */
    int launch;
    size_t at;
    uint64_t from;
} draw;

typedef struct { /* what an input must be */
    tide_meta meta;
    int64_t stride[TIDE_MAX_RANK];
    size_t bytes;     /* of its storage, where that is written to; else 0 */
    int like;         /* the first input on the same storage, */
    int64_t distance; /* and how far behind that one it begins */
    uint8_t shares;
} form;

/* A list that grows: `item *x; int nx, cap_x`. */
static int room(void *list, int n, int *cap, size_t size) {
    if (n < *cap) return 1;
    const int more = *cap ? 2 * *cap : 64;
    void **at = list, *p = realloc(*at, (size_t)more * size);
    if (!p) return 0;
    *at = p, *cap = more;
    return 1;
}

struct tide_recorder {
    tide_ctx *ctx;
    tide_recorder *outer; /* another one, whose step is over */
    tide_device *dev;     /* of all; NULL: none seen */
    int mode;             /* whether gradients are recorded */
    uint64_t since;       /* storages from this number on were made by the step */
    tide_rng began, ended;
    int over; /* only deaths are noted */
    int together;
    char why[200];
    form *in;
    slot *slots;
    operand *operands;
    launch *launches;
    draw *draws;
    char *attrs;
    int *table; /* open addressing: number of a slot + 1, by id */
    int *out;   /* operands */
    int nin, nout, nslots, noperands, nlaunches, ndraws, ntable;
    int cap_slots, cap_operands, cap_launches, cap_draws;
    size_t nattrs, cap_attrs;
};

/* -- recording -- */

static void refuse(tide_recorder *r, const char *fmt, ...) {
    va_list ap;
    if (r->why[0]) return; /* the first reason counts */
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
}

void tide_recorder_refuse(tide_ctx *ctx, const char *fmt, ...) {
    tide_recorder *r = ctx->recorder;
    va_list ap;
    if (!r || r->over || r->why[0]) return;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
}

static void no_memory(tide_recorder *r) { refuse(r, "there is not enough memory to note it"); }

static int *place_of(const tide_recorder *r, uint64_t id) {
    const uint64_t mask = (uint64_t)r->ntable - 1;
    uint64_t k = (id * 0x9E3779B97F4A7C15u) >> 32 & mask;
    while (r->table[k] && r->slots[r->table[k] - 1].id != id) k = (k + 1) & mask;
    return &r->table[k];
}

static int grow_table(tide_recorder *r) {
    const int n = r->ntable ? 2 * r->ntable : 256;
    int *table = calloc((size_t)n, sizeof *table);
    if (!table) return 0;
    free(r->table);
    r->table = table, r->ntable = n;
    for (int i = 0; i < r->nslots; i++) *place_of(r, r->slots[i].id) = i + 1;
    return 1;
}

/* The slot of a storage, made where it is new; NONE: no memory. */
static int slot_of(tide_recorder *r, tide_storage *s) {
    if (2 * (r->nslots + 1) > r->ntable && !grow_table(r)) return NONE;
    int *at = place_of(r, s->id);
    if (*at) return *at - 1;
    if (!room(&r->slots, r->nslots, &r->cap_slots, sizeof *r->slots)) return NONE;
    r->slots[r->nslots] = (slot){.id = s->id,
                                 .storage = s,
                                 .bytes = s->bytes,
                                 .kind = s->id >= r->since ? TEMP : HELD,
                                 .first = NONE,
                                 .changed = NONE};
    return (*at = ++r->nslots) - 1;
}

/* Notes a tensor; NONE: no memory, or the recording is refused. */
static int note(tide_recorder *r, tide_tensor *t, int writes, const char *what) {
    operand o = {.slot = NONE};
    if (t && tide_is_sparse(t)) {
        o.slot = SPARSE, o.meta = tide_meta_of(t);
        o.ids = note(r, t->ids, 0, what), o.values = note(r, t->values, 0, what);
    } else if (t) {
        o.meta = tide_meta_of(t);
        memcpy(o.stride, t->stride, sizeof o.stride);
        o.offset = t->offset, o.is_view = t->is_view, o.shares = t->shares;
        if (tide_is_number(t)) o.slot = NUMBER, o.number = t->number;
        else if ((o.slot = slot_of(r, t->storage)) == NONE) no_memory(r);
    }
    if (t && t->storage && t->storage->dev) {
        if (!r->dev) r->dev = t->storage->dev;
        if (r->dev != t->storage->dev) refuse(r, "%s works on several devices", what);
        if (t->storage->dev->no_elements) refuse(r, "%s has shapes alone", what);
    }
    if (o.slot >= 0) {
        slot *s = &r->slots[o.slot];
        if (s->kind == TEMP && s->first == NONE && !writes)
            refuse(r, "%s reads numbers that no op made", what);
        if (s->first == NONE) s->first = r->nlaunches;
        s->last = r->nlaunches;
        if (writes && s->kind != TEMP && s->changed == NONE) s->changed = r->nlaunches;
        if (s->kind == INPUT) o.offset -= r->in[s->input].distance, o.is_view = 1;
    }
    if (!room(&r->operands, r->noperands, &r->cap_operands, sizeof *r->operands)) {
        no_memory(r);
        return NONE;
    }
    r->operands[r->noperands] = o;
    return r->noperands++;
}

/* Counters that the context's generator gave during the step, here or to the op whose numbers this
 * one draws again. */
static void note_draws(tide_recorder *r, const tide_op *op, char *attrs) {
    const tide_arg *a = op->args();
    for (int i = 0; i < op->nargs; i++) {
        if (a[i].kind != TIDE_ARG_RNG) continue;
        const tide_rng *g = (const tide_rng *)(const void *)(attrs + a[i].offset);
        if (g->seed != r->began.seed || g->stream != r->began.stream ||
            g->offset < r->began.offset || g->offset >= r->ctx->rng.offset)
            continue;
        if (!room(&r->draws, r->ndraws, &r->cap_draws, sizeof *r->draws)) {
            no_memory(r);
            return;
        }
        r->draws[r->ndraws++] =
            (draw){.launch = r->nlaunches, .at = a[i].offset, .from = g->offset - r->began.offset};
    }
}

/* Attributes as they are read: what lies between and behind them, in lists that are not full too,
 * is 0, so that equal ones have equal bytes. `to` is all zeros. */
static void copy_attrs(const tide_op *op, char *to, const char *from) {
    const tide_arg *a = op->args();
    for (int i = 0; i < op->nargs; i++) {
        const char *x = from + a[i].offset;
        int64_t n = 0; /* of lists, and what is as large */
        size_t size = sizeof n;
        if (a[i].kind >= TIDE_ARG_AXES && a[i].kind != TIDE_ARG_TEXT) memcpy(&n, x, sizeof n);
        switch (a[i].kind) {
        case TIDE_ARG_IN:
        case TIDE_ARG_INS: continue;
        case TIDE_ARG_BOOL:
        case TIDE_ARG_ENUM:
        case TIDE_ARG_DTYPE: size = sizeof(int32_t); break;
        case TIDE_ARG_AXES:
        case TIDE_ARG_INTS:
        case TIDE_ARG_SHAPE:
        case TIDE_ARG_NUMBERS: size += (size_t)TIDE_MAX(n, 0) * sizeof(int64_t); break;
        case TIDE_ARG_PAIRS: size += (size_t)TIDE_MAX(n, 0) * 2 * sizeof(int64_t); break;
        case TIDE_ARG_TEXT: size = strlen(x) + 1; break;
        case TIDE_ARG_RNG: size = sizeof(tide_rng); break;
        case TIDE_ARG_VALUE:
            memcpy(to + a[i].offset, x, sizeof(int32_t));
            memcpy(to + a[i].offset + offsetof(tide_value, whole), x + offsetof(tide_value, whole),
                   sizeof n);
            continue;
        default: break; /* INT, FLOAT, AXIS */
        }
        memcpy(to + a[i].offset, x, size);
    }
}

void tide_recorder_note(tide_ctx *ctx, const tide_step *s) {
    tide_recorder *r = ctx->recorder;
    const tide_op *op = s->op;
    const size_t size = (op->attrs_size + 15) & ~(size_t)15;
    if (r->over || r->why[0]) return;
    if (op->measure) refuse(r, "%s looks at values to know the shape of its result", op->name);
    while (r->nattrs + size > r->cap_attrs) {
        const size_t cap = r->cap_attrs ? 2 * r->cap_attrs : 4096;
        char *more = realloc(r->attrs, cap);
        if (!more) {
            no_memory(r);
            return;
        }
        r->attrs = more, r->cap_attrs = cap;
    }
    if (!room(&r->launches, r->nlaunches, &r->cap_launches, sizeof *r->launches)) no_memory(r);
    const int first = r->noperands;
    for (int i = 0; i < s->nin; i++)
        if (s->in[i] && tide_is_sparse(s->in[i])) refuse(r, "%s takes a sparse gradient", op->name);
    for (int i = 0; i < s->nin && !r->why[0]; i++) {
        note(r, s->in[i], 0, op->name);
        const operand *o = &r->operands[r->noperands - 1];
        if (r->why[0] || o->slot < 0) continue;
        slot *its = &r->slots[o->slot];
        if (i < 32 && op->relays >> i & 1) its->relaid = 1;
        if (tide_written(op, s->nlist, i) && its->kind != TEMP && its->changed == NONE)
            its->changed = r->nlaunches;
    }
    for (int i = 0; i < s->nout && !r->why[0]; i++) note(r, s->out[i], 1, op->name);
    if (r->why[0]) return;
    if (size) memset(r->attrs + r->nattrs, 0, size);
    if (op->attrs_size) copy_attrs(op, r->attrs + r->nattrs, s->attrs);
    note_draws(r, op, r->attrs + r->nattrs);
    r->launches[r->nlaunches++] = (launch){.op = op,
                                           .nin = s->nin,
                                           .nout = s->nout,
                                           .nlist = s->nlist,
                                           .may_stop = s->may_stop,
                                           .existing = s->existing,
                                           .first = first,
                                           .attrs = r->nattrs};
    r->nattrs += size;
}

void tide_recorder_freed(tide_ctx *ctx, const tide_storage *s) {
    for (const tide_recorder *r = ctx->recorder; r; r = r->outer) {
        const int at = r->ntable ? *place_of(r, s->id) : 0;
        if (at) r->slots[at - 1].dead = 1;
    }
}

void tide_recorder_pin(tide_ctx *ctx, tide_storage *s) {
    tide_recorder *r = ctx->recorder;
    if (!r || r->over || r->why[0] || !s || !s->dev) return;
    const int k = slot_of(r, s);
    if (k == NONE) no_memory(r);
    else if (r->slots[k].kind == INPUT) refuse(r, "it asks whether what it is given has changed");
    else r->slots[k].pinned = 1, r->slots[k].version = s->version;
}

tide_recorder *tide_recorder_new(tide_ctx *ctx, int nin, tide_tensor *const *in) {
    tide_recorder *r = calloc(1, sizeof *r);
    if (!r || !(r->in = calloc((size_t)nin + 1, sizeof *r->in))) {
        free(r);
        return NULL;
    }
    *r = (tide_recorder){.ctx = ctx, .in = r->in, .nin = nin, .mode = ctx->grad_mode};
    ctx->refs++;
    r->since = tide_storage_ids(0);
    r->began = ctx->rng;
    if (r->began.offset == 0) r->began.offset = 1; /* tide_draw begins there */
    for (int i = 0; i < nin; i++) {
        const tide_tensor *t = in[i];
        form *f = &r->in[i];
        const int k = slot_of(r, t->storage);
        if (k == NONE) no_memory(r);
        if (k == NONE) break;
        slot *s = &r->slots[k];
        if (s->kind != INPUT) s->kind = INPUT, s->input = i;
        f->meta = tide_meta_of(t);
        memcpy(f->stride, t->stride, sizeof f->stride);
        f->shares = t->shares;
        f->like = s->input;
        f->distance = t->offset; /* until the end of the recording: from the storage's beginning */
    }
    r->outer = ctx->recorder;
    ctx->recorder = r;
    return r;
}

void tide_recorder_end(tide_recorder *r, int nout, tide_tensor *const *out, int together) {
    r->together = together;
    r->out = calloc((size_t)nout + 1, sizeof *r->out);
    if (!r->out) no_memory(r);
    r->nout = r->out ? nout : 0;
    r->ended = r->ctx->rng;
    for (int i = 0; i < nout && !r->why[0]; i++) {
        r->out[i] = note(r, out[i], 0, "the result");
        if (r->why[0] || !out[i]) continue;
        const operand *o = &r->operands[r->out[i]];
        for (int k = 0; k < 2; k++) {
            const operand *part = o->slot != SPARSE ? o : &r->operands[k ? o->values : o->ids];
            if (part->slot >= 0 && r->slots[part->slot].kind == TEMP)
                r->slots[part->slot].kind = OUTPUT;
            else if (part->slot == NUMBER) refuse(r, "a result is a number");
        }
    }
    for (int i = 0; i < r->nin; i++) { /* for those that are no first of their storage */
        form *f = &r->in[i];
        if (f->like != i) f->distance -= r->in[f->like].distance;
    }
    r->over = 1;
}

void tide_recorder_close(tide_recorder *r) {
    tide_recorder **at = &r->ctx->recorder;
    while (*at && *at != r) at = &(*at)->outer;
    if (*at) *at = r->outer;
    r->over = 1;
}

int tide_recorder_busy(const tide_ctx *ctx) { return ctx->recorder && !ctx->recorder->over; }

void tide_recorder_free(tide_recorder *r) {
    tide_recorder_close(r);
    tide_ctx_unref(r->ctx);
    free(r->in), free(r->slots), free(r->operands), free(r->launches), free(r->draws);
    free(r->attrs), free(r->table), free(r->out), free(r);
}

const char *tide_recorder_why(const tide_recorder *r) { return r->why[0] ? r->why : NULL; }

/* -- comparing -- */

static int same_operand(const operand *a, const operand *b) {
    return a->slot == b->slot && a->ids == b->ids && a->values == b->values &&
        a->meta.rank == b->meta.rank && a->meta.dtype == b->meta.dtype &&
        !memcmp(a->meta.shape, b->meta.shape, sizeof a->meta.shape) &&
        !memcmp(a->stride, b->stride, sizeof a->stride) && a->offset == b->offset &&
        a->number == b->number && a->is_view == b->is_view && a->shares == b->shares;
}

/* Attributes but for the counters that move. */
static int same_attrs(const tide_recorder *a, const tide_recorder *b, int i) {
    const launch *la = &a->launches[i], *lb = &b->launches[i];
    _Alignas(16) unsigned char x[TIDE_MAX_ATTRS], y[TIDE_MAX_ATTRS];
    memcpy(x, a->attrs + la->attrs, la->op->attrs_size);
    memcpy(y, b->attrs + lb->attrs, la->op->attrs_size);
    for (int k = 0; k < a->ndraws; k++)
        if (a->draws[k].launch == i) {
            memset(x + a->draws[k].at, 0, sizeof(tide_rng));
            memset(y + a->draws[k].at, 0, sizeof(tide_rng));
        }
    return !memcmp(x, y, la->op->attrs_size);
}

static int same_form(const form *a, const form *b) {
    return a->meta.rank == b->meta.rank && a->meta.dtype == b->meta.dtype &&
        !memcmp(a->meta.shape, b->meta.shape, sizeof a->meta.shape) &&
        !memcmp(a->stride, b->stride, sizeof a->stride) && a->like == b->like &&
        a->shares == b->shares;
}

int tide_recorder_same(const tide_recorder *a, tide_recorder *b) {
    if (a->why[0]) refuse(b, "%s", a->why);
    if (b->why[0]) return 0;
    int same = a->nin == b->nin && a->nout == b->nout && a->dev == b->dev && a->mode == b->mode;
    for (int i = 0; i < a->nin && same; i++) same = same_form(&a->in[i], &b->in[i]);
    if (!same) refuse(b, "two steps took tensors of other forms");
    for (int i = 0; i < a->nlaunches && i < b->nlaunches && same; i++) {
        const launch *x = &a->launches[i], *y = &b->launches[i];
        same = x->op == y->op && x->nin == y->nin && x->nout == y->nout && x->nlist == y->nlist &&
            x->existing == y->existing && x->first == y->first && x->attrs == y->attrs;
        if (!same) refuse(b, "two steps made other calls (%s, then %s)", x->op->name, y->op->name);
        for (int k = 0; k < (same ? x->nin + x->nout : 0) && same; k++)
            same = same_operand(&a->operands[x->first + k], &b->operands[y->first + k]);
        if (same && !same_attrs(a, b, i)) same = 0;
        if (!same) refuse(b, "two steps called %s with other arguments", x->op->name);
    }
    if (same && a->nlaunches != b->nlaunches)
        refuse(b, "two steps made other numbers of calls (%d, then %d)", a->nlaunches,
               b->nlaunches);
    same &= a->nlaunches == b->nlaunches && a->noperands == b->noperands &&
        a->nslots == b->nslots && a->ndraws == b->ndraws;
    for (int i = 0; i < a->nslots && same; i++)
        same = a->slots[i].kind == b->slots[i].kind && a->slots[i].changed == b->slots[i].changed &&
            a->slots[i].pinned == b->slots[i].pinned &&
            (a->slots[i].bytes == b->slots[i].bytes ||
             (a->slots[i].kind == INPUT && a->slots[i].changed == NONE)) &&
            (a->slots[i].kind != HELD || a->slots[i].id == b->slots[i].id);
    for (int i = 0; i < a->ndraws && same; i++)
        same = a->draws[i].launch == b->draws[i].launch && a->draws[i].from == b->draws[i].from;
    for (int i = 0; i < a->nout && same; i++)
        same = same_operand(&a->operands[a->out[i]], &b->operands[b->out[i]]);
    if (!same) refuse(b, "two steps read, drew or gave other tensors");
    return same;
}

/* -- plans -- */

typedef struct {
    tide_storage storage; /* TEMP: its place in the arena */
    size_t at;
    int slot;
} temporary;

typedef struct { /* a tensor on an input or output, whose storage changes from run to run */
    tide_tensor *t;
    int of; /* number of the input, or of the output's storage */
    int64_t offset;
} moving;

typedef struct { /* what a run changes, with room for what it was before */
    int launch;
    tide_storage *storage; /* HELD */
    int input;             /* otherwise */
    size_t bytes, at;
} change;

typedef struct { /* a storage that is handed out */
    size_t bytes;
    int whole; /* the operand that is all of it, or NONE: it is made as bytes, and seen in views */
} result;

struct tide_plan {
    tide_ctx *ctx;
    tide_device *dev, *home; /* home: where tensors without inputs were made */
    int mode;
    form *in;
    operand *operands;     /* of outputs */
    int *out, *storage_of; /* storage_of: by slot, the number of the OUTPUT */
    int *pinned;           /* slots */
    tide_storage **held;
    tide_step *steps;
    tide_tensor *tensors, **pointers;
    char *attrs;
    temporary *temps;
    moving *inputs, *outputs;
    change *changes;
    result *results;
    tide_tensor **made; /* of results, during a run */
    draw *draws;
    slot *slots;
    int nin, nout, npinned, nheld, nsteps, ntemps, ninputs, noutputs, nchanges, nresults, ndraws,
        nslots;
    int undoes;         /* whether all changes can be put back */
    int together;       /* outputs lie in the arena, which lives as long as one of them */
    tide_tensor *block; /* the arena then, during a run */
    uint64_t drawn;
    size_t arena;
    int64_t temporaries;
    void *last; /* where the arena was */
};

static int by_size(const void *a, const void *b) {
    const temporary *x = a, *y = b;
    if (x->storage.bytes != y->storage.bytes) return x->storage.bytes < y->storage.bytes ? 1 : -1;
    return x->slot - y->slot;
}

static size_t rounded(size_t bytes) {
    return (TIDE_MAX(bytes, (size_t)1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Places in the arena, large ones first: each at the lowest place that no other needs meanwhile.
 * `order` holds those that have theirs, by place. */
static int place_temps(tide_plan *p) {
    int *order = malloc((size_t)(p->ntemps + 1) * sizeof *order);
    if (!order) return 0;
    qsort(p->temps, (size_t)p->ntemps, sizeof *p->temps, by_size);
    for (int i = 0; i < p->ntemps; i++) {
        temporary *t = &p->temps[i];
        const slot *s = &p->slots[t->slot];
        const size_t size = rounded(t->storage.bytes);
        size_t at = 0;
        for (int k = 0; k < i; k++) {
            const temporary *o = &p->temps[order[k]];
            const slot *other = &p->slots[o->slot];
            if (other->last < s->first || s->last < other->first) continue;
            if (at + size <= o->at) break;
            at = TIDE_MAX(at, o->at + rounded(o->storage.bytes));
        }
        t->at = at;
        p->arena = TIDE_MAX(p->arena, at + size);
        p->temporaries += (int64_t)size;
        int k = i;
        while (k > 0 && p->temps[order[k - 1]].at > at) order[k] = order[k - 1], k--;
        order[k] = i;
    }
    free(order);
    return 1;
}

void tide_plan_free(tide_plan *p) {
    if (!p) return;
    for (int i = 0; i < p->nheld; i++) tide_storage_release(p->ctx, p->held[i]);
    free(p->in), free(p->operands), free(p->out), free(p->storage_of), free(p->held);
    free(p->steps), free(p->tensors), free(p->pointers), free(p->attrs), free(p->temps);
    free(p->inputs), free(p->outputs), free(p->changes), free(p->results), free(p->made);
    free(p->draws), free(p->slots), free(p->pinned);
    tide_ctx_unref(p->ctx);
    free(p);
}

/* The tensor of an operand. */
static void fill(tide_plan *p, tide_tensor *t, const operand *o, tide_storage *const *temp_of) {
    *t = (tide_tensor){.refs = 1,
                       .ctx = p->ctx,
                       .rank = o->meta.rank,
                       .dtype = o->meta.dtype,
                       .is_view = o->is_view,
                       .shares = o->shares,
                       .offset = o->offset,
                       .number = o->number};
    memcpy(t->shape, o->meta.shape, sizeof t->shape);
    memcpy(t->stride, o->stride, sizeof t->stride);
    if (o->slot == NUMBER) {
        t->storage = &p->ctx->numbers;
        return;
    }
    const slot *s = &p->slots[o->slot];
    if (s->kind == HELD) t->storage = s->storage;
    else if (temp_of[o->slot]) t->storage = temp_of[o->slot];
    else if (s->kind == INPUT)
        p->inputs[p->ninputs++] = (moving){.t = t, .of = s->input, .offset = o->offset};
    else
        p->outputs[p->noutputs++] =
            (moving){.t = t, .of = p->storage_of[o->slot], .offset = o->offset};
}

static int is_whole(const operand *o, size_t bytes) {
    int64_t n = 1;
    for (int i = o->meta.rank - 1; i >= 0; i--) {
        if (o->meta.shape[i] != 1 && o->stride[i] != n) return 0;
        n *= o->meta.shape[i];
    }
    return !o->is_view && o->offset == 0 && (size_t)n * tide_dtype_size(o->meta.dtype) == bytes;
}

/* Storages that are handed out. */
static void list_results(tide_plan *p) {
    if (p->together) return;
    for (int i = 0; i < p->nslots; i++) {
        if (p->slots[i].kind != OUTPUT) continue;
        p->storage_of[i] = p->nresults;
        p->results[p->nresults++] = (result){.bytes = p->slots[i].bytes, .whole = NONE};
    }
    for (int i = 0; i < p->nout; i++) {
        const operand *o = &p->operands[p->out[i]];
        if (o->slot < 0 || p->slots[o->slot].kind != OUTPUT) continue;
        result *r = &p->results[p->storage_of[o->slot]];
        if (r->whole == NONE && is_whole(o, r->bytes)) r->whole = p->out[i];
    }
}

static int by_launch(const void *a, const void *b) {
    return ((const change *)a)->launch - ((const change *)b)->launch;
}

/* What a run may have to put back; what is larger than UNDO_MOST, or on a device, is not. */
static void list_changes(tide_plan *p) {
    size_t all = 0;
    p->undoes = p->dev == tide_cpu();
    for (int i = 0; i < p->nslots; i++) {
        const slot *s = &p->slots[i];
        if (s->changed == NONE) continue;
        p->changes[p->nchanges++] = (change){.launch = s->changed,
                                             .storage = s->kind == HELD ? s->storage : NULL,
                                             .input = s->input,
                                             .bytes = s->bytes,
                                             .at = all};
        if (s->kind == INPUT) p->in[s->input].bytes = s->bytes;
        all += rounded(s->bytes);
        if (all > UNDO_MOST) p->undoes = 0;
    }
    qsort(p->changes, (size_t)p->nchanges, sizeof *p->changes, by_launch);
    for (int i = 0; i < p->nchanges; i++) p->changes[i].at += p->arena;
    if (p->undoes) p->arena += all;
}

static int known_slots(tide_recorder *r, int nknown, tide_tensor *const *known) {
    for (int i = 0; i < r->nslots; i++) {
        slot *s = &r->slots[i];
        int is_known = s->kind != HELD;
        for (int k = 0; k < nknown; k++) {
            const int same = known[k]->storage && known[k]->storage->id == s->id;
            is_known |= same;
            if (same && s->kind == INPUT)
                refuse(r, "a tensor that it is given is one of the model's own");
        }
        if (s->kind == TEMP && !s->dead && s->first != NONE)
            refuse(r, "a tensor that %s made outlives the step", r->launches[s->first].op->name);
        else if (s->kind == HELD && s->dead)
            refuse(r, "a tensor that it reads is put in another's place");
        else if (!is_known && s->changed != NONE)
            refuse(r, "%s writes to a tensor that is neither weight nor state",
                   r->launches[s->changed].op->name);
    }
    const uint64_t drawn = r->ended.offset - r->began.offset;
    if (r->ended.seed != r->began.seed || r->ended.stream != r->began.stream ||
        (r->ended.offset && (int64_t)drawn < 0))
        refuse(r, "it sets the generator of random numbers");
    return !r->why[0];
}

tide_status tide_plan_new(tide_recorder *r, int nknown, tide_tensor *const *known,
                          tide_plan **out) {
    tide_ctx *ctx = r->ctx;
    *out = NULL;
    if (r->why[0] || !known_slots(r, nknown, known)) return TIDE_OK;
    if (r->nlaunches == 0) refuse(r, "it runs nothing");
    if (r->why[0]) return TIDE_OK;
    tide_plan *p = calloc(1, sizeof *p);
    if (!p) return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a plan");
    p->ctx = ctx, p->dev = r->dev, p->mode = r->mode, p->home = ctx->device;
    p->together = r->together;
    ctx->refs++;
    /* the recorder's lists are the plan's now */
#define TAKE(list) p->list = r->list, r->list = NULL
    TAKE(in), TAKE(operands), TAKE(out), TAKE(attrs), TAKE(draws), TAKE(slots);
    p->nin = r->nin, p->nout = r->nout, p->nslots = r->nslots, p->ndraws = r->ndraws;
    p->nsteps = r->nlaunches;
    r->ntable = r->nslots = r->nin = r->nout = r->ndraws = r->noperands = r->cap_slots = 0;
    r->cap_operands = r->cap_draws = 0, r->cap_attrs = r->nattrs = 0;
    refuse(r, "it has become a plan");
    p->drawn = r->ended.offset ? r->ended.offset - r->began.offset : 0;

    int ntensors = 0;
    for (int i = 0; i < p->nsteps; i++) ntensors += r->launches[i].nin + r->launches[i].nout;
    const size_t n = (size_t)p->nslots + 1, m = (size_t)ntensors + 1;
    tide_storage **temp_of = calloc(n, sizeof *temp_of);
    p->storage_of = calloc(n, sizeof *p->storage_of), p->held = calloc(n, sizeof *p->held);
    p->pinned = calloc(n, sizeof *p->pinned);
    p->temps = calloc(n, sizeof *p->temps), p->changes = calloc(n, sizeof *p->changes);
    p->results = calloc(n, sizeof *p->results), p->made = calloc(n, sizeof(void *));
    p->steps = calloc((size_t)p->nsteps, sizeof *p->steps);
    p->tensors = calloc(m, sizeof *p->tensors), p->pointers = calloc(m, sizeof(void *));
    p->inputs = calloc(m, sizeof *p->inputs), p->outputs = calloc(m, sizeof *p->outputs);
    int enough = temp_of && p->storage_of && p->held && p->pinned && p->temps && p->changes &&
        p->results && p->made && p->steps && p->tensors && p->pointers && p->inputs && p->outputs;
    for (int i = 0; i < p->nslots && enough; i++) {
        slot *s = &p->slots[i];
        if (s->kind == HELD) p->held[p->nheld++] = s->storage, s->storage->refs++;
        if (s->kind == HELD && s->pinned) p->pinned[p->npinned++] = i;
        if ((s->kind == TEMP && s->first != NONE) || (s->kind == OUTPUT && p->together))
            p->temps[p->ntemps++] = (temporary){
                .slot = i, .storage = {.refs = 1, .dev = p->dev, .bytes = s->bytes, .version = 1}};
    }
    enough = enough && place_temps(p);
    if (!enough) {
        free(temp_of);
        tide_plan_free(p);
        return tide_fail(ctx, TIDE_ENOMEM, "not enough memory for a plan");
    }
    for (int i = 0; i < p->ntemps; i++) {
        temp_of[p->temps[i].slot] = &p->temps[i].storage;
        p->storage_of[p->temps[i].slot] = i;
    }
    list_results(p);
    list_changes(p);
    tide_tensor *t = p->tensors, **at = p->pointers;
    for (int i = 0; i < p->nsteps; i++) {
        const launch *l = &r->launches[i];
        p->steps[i] = (tide_step){.op = l->op,
                                  .attrs = p->attrs + l->attrs,
                                  .nin = l->nin,
                                  .nout = l->nout,
                                  .nlist = l->nlist,
                                  .may_stop = l->may_stop,
                                  .existing = l->existing,
                                  .in = at,
                                  .out = at + l->nin};
        for (int k = 0; k < l->nin + l->nout; k++) {
            const operand *o = &p->operands[l->first + k];
            if (o->slot == NONE) *at++ = NULL;
            else fill(p, t, o, temp_of), *at++ = t++;
        }
    }
    free(temp_of);
    /* the blocks of the eager steps lie idle from now on */
    if (p->arena >= TRIM_FROM) tide_memory_trim(p->dev);
    *out = p;
    return TIDE_OK;
}

tide_plan_facts tide_plan_ask(const tide_plan *p) {
    return (tide_plan_facts){.nin = p->nin,
                             .nout = p->nout,
                             .launches = p->nsteps,
                             .slots = p->nslots,
                             .arena = (int64_t)p->arena,
                             .temporaries = p->temporaries};
}

/* -- running -- */

int tide_plan_fits(const tide_plan *p, int nin, tide_tensor *const *in) {
    if (nin != p->nin || p->ctx->grad_mode != p->mode || p->ctx->device != p->home) return 0;
    for (int i = 0; i < nin; i++) {
        const form *f = &p->in[i];
        const tide_tensor *t = in[i];
        if (t->rank != f->meta.rank || t->dtype != f->meta.dtype || t->shares != f->shares ||
            memcmp(t->shape, f->meta.shape, sizeof t->shape) != 0 ||
            memcmp(t->stride, f->stride, sizeof t->stride) != 0 || t->storage->dev != p->dev ||
            (f->bytes && t->storage->bytes != f->bytes))
            return 0;
        if (f->like != i &&
            (t->storage != in[f->like]->storage || t->offset - in[f->like]->offset != f->distance))
            return 0;
    }
    return 1;
}

int tide_plan_holds(const tide_plan *p) {
    for (int i = 0; i < p->npinned; i++) {
        const slot *s = &p->slots[p->pinned[i]];
        if (s->storage->version != s->version) return 0;
    }
    return 1;
}

/* New tensors for what is handed out. */
static tide_status make_results(tide_plan *p) {
    for (int i = 0; i < p->nresults; i++) {
        const result *r = &p->results[i];
        const tide_meta bytes = {.rank = 1, .dtype = TIDE_U8, .shape = {(int64_t)r->bytes}};
        TIDE_TRY(tide_new_on(p->ctx, p->dev,
                             r->whole == NONE ? &bytes : &p->operands[r->whole].meta, &p->made[i]));
    }
    return TIDE_OK;
}

static tide_status take_arena(tide_plan *p, char **arena) {
    const tide_meta bytes = {.rank = 1, .dtype = TIDE_U8, .shape = {(int64_t)p->arena}};
    *arena = NULL;
    if (!p->arena) return TIDE_OK;
    if (p->together) {
        TIDE_TRY(tide_new_on(p->ctx, p->dev, &bytes, &p->block));
        *arena = p->block->storage->data;
    } else if (!(*arena = tide_mem_alloc(p->dev, p->arena)))
        return tide_fail(p->ctx, TIDE_ENOMEM, "not enough memory for a step");
    return TIDE_OK;
}

static void give_arena_back(tide_plan *p, char *arena) {
    if (p->together) tide_release(p->block);
    else if (arena) tide_mem_free(p->dev, arena, p->arena);
    p->block = NULL;
}

/* A tensor of an operand that is handed out; new. */
static tide_status hand_out(tide_plan *p, int operand_at, tide_tensor *const *in,
                            tide_tensor **out) {
    const operand *o = &p->operands[operand_at];
    tide_tensor base = {.refs = 1, .ctx = p->ctx, .dtype = o->meta.dtype};
    if (o->slot == NONE) return TIDE_OK;
    if (o->slot == SPARSE) {
        tide_tensor *ids = NULL, *values = NULL;
        tide_status st = hand_out(p, o->ids, in, &ids);
        if (st == TIDE_OK) st = hand_out(p, o->values, in, &values);
        if (st == TIDE_OK &&
            !(*out = tide_sparse_new(p->ctx, o->meta.rank, o->meta.shape, ids, values)))
            st = tide_fail(p->ctx, TIDE_ENOMEM, "not enough memory for a gradient");
        tide_release(ids);
        tide_release(values);
        return st;
    }
    const slot *s = &p->slots[o->slot];
    int64_t offset = o->offset;
    if (s->kind == OUTPUT && p->together) {
        const size_t at = p->temps[p->storage_of[o->slot]].at;
        base.storage = p->block->storage;
        offset += (int64_t)(at / tide_dtype_size(o->meta.dtype));
    } else if (s->kind == OUTPUT) {
        tide_tensor *made = p->made[p->storage_of[o->slot]];
        if (p->results[p->storage_of[o->slot]].whole == operand_at) {
            *out = tide_retain(made);
            return TIDE_OK;
        }
        base.storage = made->storage;
    } else if (s->kind == HELD) base.storage = s->storage;
    else base.storage = in[s->input]->storage, offset += in[s->input]->offset;
    TIDE_TRY(tide_view(p->ctx, &base, o->meta.rank, o->meta.shape, o->stride, offset, out));
    (*out)->is_view = o->is_view;
    return TIDE_OK;
}

static tide_storage *storage_of(const change *c, tide_tensor *const *in) {
    return c->storage ? c->storage : in[c->input]->storage;
}

/* Keeps what launch i changes, the k-th change and some that follow; returns the next one. */
static int keep_changed(const tide_plan *p, int k, int i, tide_tensor *const *in, char *arena) {
    for (; k < p->nchanges && p->changes[k].launch == i; k++) {
        tide_storage *s = storage_of(&p->changes[k], in);
        if (s->lag) tide_lag_flush(s->lag);
        memcpy(arena + p->changes[k].at, s->data, p->changes[k].bytes);
    }
    return k;
}

/* Puts the first n changes back. */
static void undo(const tide_plan *p, int n, tide_tensor *const *in, const char *arena) {
    for (int k = 0; k < n; k++) {
        tide_storage *s = storage_of(&p->changes[k], in);
        memcpy(s->data, arena + p->changes[k].at, p->changes[k].bytes);
        s->version++;
    }
}

static void move(tide_plan *p, tide_tensor *const *in, char *arena) {
    for (int i = 0; i < p->ninputs; i++) {
        const moving *m = &p->inputs[i];
        m->t->storage = in[m->of]->storage;
        m->t->offset = m->offset + in[m->of]->offset;
    }
    for (int i = 0; i < p->noutputs; i++)
        p->outputs[i].t->storage = p->made[p->outputs[i].of]->storage;
    for (int i = 0; i < p->ntemps; i++) {
        temporary *t = &p->temps[i];
        if (p->last != arena) t->storage.data = arena + t->at;
        if (!p->slots[t->slot].relaid) continue;
        t->storage.id = tide_storage_ids(1);
        t->storage.version = 1;
    }
    p->last = arena;
}

static tide_status start_draws(tide_plan *p) {
    tide_rng *g = &p->ctx->rng;
    if (!p->drawn) return TIDE_OK;
    TIDE_TRY(tide_may_draw(p->ctx, "the step"));
    if (g->offset == 0) g->offset = 1;
    for (int i = 0; i < p->ndraws; i++) {
        tide_rng *at =
            (tide_rng *)(void *)((char *)p->steps[p->draws[i].launch].attrs + p->draws[i].at);
        *at = *g;
        at->offset += p->draws[i].from;
    }
    g->offset += p->drawn;
    return TIDE_OK;
}

/* What kernels keep of temporaries goes with the step, as it does with their storages. */
static void forget_temps(tide_plan *p) {
    for (int i = 0; i < p->ntemps; i++) {
        temporary *t = &p->temps[i];
        if (!p->slots[t->slot].relaid) continue;
        tide_release(t->storage.wide);
        t->storage.wide = NULL;
        if (tide_keep_entries) tide_keep_forget(t->storage.id);
    }
}

tide_status tide_plan_run(tide_plan *p, tide_tensor *const *in, tide_tensor **out, int *undone) {
    tide_ctx *ctx = p->ctx;
    const tide_rng rng = ctx->rng;
    int at = 0, changed = 0;
    *undone = 1;
    for (int i = 0; i < p->nout; i++) out[i] = NULL;
    TIDE_TRY(tide_go_on(ctx));
    char *arena;
    TIDE_TRY(take_arena(p, &arena));
    tide_status st = make_results(p);
    if (st == TIDE_OK) st = start_draws(p);
    if (st == TIDE_OK) {
        move(p, in, arena);
        for (; at < p->nsteps && st == TIDE_OK; at++) {
            if (p->undoes) changed = keep_changed(p, changed, at, in, arena);
            st = tide_go_on(ctx);
            if (st == TIDE_OK) st = tide_launch(ctx, &p->steps[at]);
        }
        forget_temps(p);
    }
    for (int i = 0; i < p->nout && st == TIDE_OK; i++) st = hand_out(p, p->out[i], in, &out[i]);
    if (st != TIDE_OK) {
        if (p->undoes) undo(p, changed, in, arena);
        else *undone = !p->nchanges || p->changes[0].launch >= at;
        ctx->rng = rng;
        for (int i = 0; i < p->nout; i++) tide_release(out[i]), out[i] = NULL;
    }
    for (int i = 0; i < p->nresults; i++) tide_release(p->made[i]), p->made[i] = NULL;
    give_arena_back(p, arena);
    return st;
}
