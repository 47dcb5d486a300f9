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
 * inputs; the counters of random numbers, which move with the context's generator; and dials, the
 * attributes that an op names as `live` (number of the step, rate), for which a run is given
 * numbers. There is no Lua, no tape and no allocator between the launches; kernels, engines and
 * their order are the eager step's own, and so are the bits.
 *
 * The optimizer's step is the tail of a plan of training. Whatever fails before it is undone, as
 * far as it changed anything, so that the eager step can say what is wrong; from its first launch
 * on nothing is looked at and nothing undone: Ctrl-C is heard before it or behind the step.
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
 * elements; several devices. */
#include "recorder.h"

#include "../kernels/keep.h"
#include "device.h"
#include "place.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };
#define NO_ROOM "not enough memory for a plan"
#define UNDO_MOST ((size_t)1 << 20) /* bytes that a run may have to put back */

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
    dial *dials;
    slot *slots;
    int nin, nout, npinned, nheld, nsteps, ntemps, ninputs, noutputs, nchanges, nresults, ndraws,
        ndials, nnumbers, nslots;
    int fused;          /* gradients that are not made */
    int tail;           /* the first launch of an optimizer; nsteps: there is none */
    int undoes;         /* whether all changes before it can be put back */
    int together;       /* outputs lie in the arena, which lives as long as one of them */
    tide_tensor *block; /* the arena then, during a run */
    uint64_t drawn;
    size_t arena;
    int64_t temporaries;
    void *last; /* where the arena was */
};

static size_t rounded(size_t bytes) {
    return (TIDE_MAX(bytes, (size_t)1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Places in the arena for as long as each is needed. */
static int place_temps(tide_plan *p) {
    tide_placed *all = malloc(((size_t)p->ntemps + 1) * sizeof *all);
    if (!all) return 0;
    for (int i = 0; i < p->ntemps; i++) {
        const slot *s = &p->slots[p->temps[i].slot];
        all[i] = (tide_placed){
            .size = rounded(p->temps[i].storage.bytes), .first = s->first, .last = s->last};
        p->temporaries += (int64_t)all[i].size;
    }
    const int placed = tide_place_all(p->ntemps, all, &p->arena);
    for (int i = 0; i < p->ntemps && placed; i++) p->temps[i].at = all[i].at;
    free(all);
    return placed;
}

void tide_plan_free(tide_plan *p) {
    if (!p) return;
    for (int i = 0; i < p->nheld; i++) tide_storage_release(p->ctx, p->held[i]);
    free(p->in), free(p->operands), free(p->out), free(p->storage_of), free(p->held);
    free(p->steps), free(p->tensors), free(p->pointers), free(p->attrs), free(p->temps);
    free(p->inputs), free(p->outputs), free(p->changes), free(p->results), free(p->made);
    free(p->draws), free(p->dials), free(p->slots), free(p->pinned);
    tide_ctx_unref(p->ctx);
    free(p);
}

/* The tensor of an operand; returns the next one that is free. */
static tide_tensor *fill(tide_plan *p, tide_tensor *t, const operand *o,
                         tide_storage *const *temp_of) {
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
    if (o->slot == SPARSE || o->slot == PRODUCT) {
        t->ids = t + 1;
        t->values = fill(p, t->ids, &p->operands[o->ids], temp_of);
        return fill(p, t->values, &p->operands[o->values], temp_of);
    }
    if (o->slot == NUMBER) {
        t->storage = &p->ctx->numbers;
        return t + 1;
    }
    const slot *s = &p->slots[o->slot];
    if (s->kind == HELD) t->storage = s->storage;
    else if (temp_of[o->slot]) t->storage = temp_of[o->slot];
    else if (s->kind == INPUT)
        p->inputs[p->ninputs++] = (moving){.t = t, .of = s->input, .offset = o->offset};
    else
        p->outputs[p->noutputs++] =
            (moving){.t = t, .of = p->storage_of[o->slot], .offset = o->offset};
    return t + 1;
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

/* What a run may have to put back; what is larger than UNDO_MOST, or on a device, is not. Nor is
 * what the optimizer changes: once it has begun, a run goes on to its end. */
static void list_changes(tide_plan *p) {
    size_t all = 0;
    p->undoes = p->dev == tide_cpu();
    for (p->tail = 0; p->tail < p->nsteps; p->tail++)
        if (p->steps[p->tail].op->flags & TIDE_INPLACE) break;
    for (int i = p->tail; i < p->nsteps; i++) p->steps[i].may_stop = 0;
    for (int i = 0; i < p->nslots; i++) {
        const slot *s = &p->slots[i];
        if (s->changed != NONE && s->kind == INPUT) p->in[s->input].bytes = s->bytes;
        if (s->changed == NONE || s->changed >= p->tail) continue;
        p->changes[p->nchanges++] = (change){.launch = s->changed,
                                             .storage = s->kind == HELD ? s->storage : NULL,
                                             .input = s->input,
                                             .bytes = s->bytes,
                                             .at = all};
        all += rounded(s->bytes);
        if (all > UNDO_MOST) p->undoes = 0;
    }
    qsort(p->changes, (size_t)p->nchanges, sizeof *p->changes, by_launch);
    for (int i = 0; i < p->nchanges; i++) p->changes[i].at += p->arena;
    if (p->undoes) p->arena += all;
}

/* The storages of the model's own tensors, by their ids in order: slots and tensors are many. */
typedef struct {
    int n;
    uint64_t *ids;
} own;

static int by_id(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int own_new(int nknown, tide_tensor *const *known, own *o) {
    *o = (own){.ids = malloc((size_t)(nknown + 1) * sizeof *o->ids)};
    if (!o->ids) return 0;
    for (int k = 0; k < nknown; k++)
        if (known[k]->storage) o->ids[o->n++] = known[k]->storage->id;
    qsort(o->ids, (size_t)o->n, sizeof *o->ids, by_id);
    return 1;
}

static int knows(const own *o, const slot *s) {
    return bsearch(&s->id, o->ids, (size_t)o->n, sizeof *o->ids, by_id) != NULL;
}

static int outlives(const slot *s) { return s->kind == TEMP && !s->dead && s->first != NONE; }

int tide_recorder_clear(const tide_recorder *r, int nknown, tide_tensor *const *known) {
    own o;
    int clear = own_new(nknown, known, &o);
    for (int i = 0; i < r->nslots && clear; i++) {
        const slot *s = &r->slots[i];
        clear = !outlives(s) && (s->kind != HELD || knows(&o, s));
    }
    free(o.ids);
    return clear;
}

static int known_slots(tide_recorder *r, const own *o) {
    for (int i = 0; i < r->nslots; i++) {
        slot *s = &r->slots[i];
        const int same = knows(o, s), is_known = same || s->kind != HELD;
        if (same && s->kind == INPUT)
            tide_recorder_no(r, "a tensor that it is given is one of the model's own");
        if (outlives(s))
            tide_recorder_no(r, "a tensor that %s made outlives the step",
                             r->launches[s->first].op->name);
        else if (s->kind == HELD && s->dead)
            tide_recorder_no(r, "a tensor that it reads is put in another's place");
        else if (!is_known && s->changed != NONE)
            tide_recorder_no(r, "%s writes to a tensor that is neither weight nor state",
                             r->launches[s->changed].op->name);
    }
    const uint64_t drawn = r->ended.offset - r->began.offset;
    if (r->ended.seed != r->began.seed || r->ended.stream != r->began.stream ||
        (r->ended.offset && (int64_t)drawn < 0))
        tide_recorder_no(r, "it sets the generator of random numbers");
    return !r->why[0];
}

tide_status tide_plan_new(tide_recorder *r, int nknown, tide_tensor *const *known,
                          tide_plan **out) {
    tide_ctx *ctx = r->ctx;
    *out = NULL;
    if (r->why[0]) return TIDE_OK;
    own all;
    if (!own_new(nknown, known, &all)) return tide_fail(ctx, TIDE_ENOMEM, NO_ROOM);
    const int known_all = known_slots(r, &all);
    free(all.ids);
    if (!known_all) return TIDE_OK;
    if (r->nlaunches == 0) tide_recorder_no(r, "it runs nothing");
    if (r->why[0]) return TIDE_OK;
    tide_plan *p = calloc(1, sizeof *p);
    if (!p) return tide_fail(ctx, TIDE_ENOMEM, NO_ROOM);
    p->fused = tide_recorder_fuse(r);
    p->ctx = ctx, p->dev = r->dev, p->mode = r->mode, p->home = ctx->device;
    p->together = r->together;
    ctx->refs++;
    /* the recorder's lists are the plan's now */
#define TAKE(list) p->list = r->list, r->list = NULL
    TAKE(in), TAKE(operands), TAKE(out), TAKE(attrs), TAKE(draws), TAKE(dials), TAKE(slots);
    p->nin = r->nin, p->nout = r->nout, p->nslots = r->nslots, p->ndraws = r->ndraws;
    p->ndials = r->ndials, p->nnumbers = r->nnumbers;
    p->nsteps = r->nlaunches;
    r->ntable = r->nslots = r->nin = r->nout = r->ndraws = r->noperands = r->cap_slots = 0;
    r->cap_operands = r->cap_draws = r->ndials = r->cap_dials = 0, r->cap_attrs = r->nattrs = 0;
    tide_recorder_no(r, "it has become a plan");
    p->drawn = r->ended.offset ? r->ended.offset - r->began.offset : 0;

    int ntensors = 0;
    for (int i = 0; i < p->nsteps; i++) {
        const launch *l = &r->launches[i];
        for (int k = 0; k < l->nin + l->nout; k++) /* what is sparse or a product has two parts */
            ntensors += p->operands[l->first + k].slot <= SPARSE ? 3 : 1;
    }
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
        return tide_fail(ctx, TIDE_ENOMEM, NO_ROOM);
    }
    for (int i = 0; i < p->ntemps; i++) {
        temp_of[p->temps[i].slot] = &p->temps[i].storage;
        p->storage_of[p->temps[i].slot] = i;
    }
    list_results(p);
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
            else *at++ = t, t = fill(p, t, o, temp_of);
        }
    }
    list_changes(p);
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
                             .numbers = p->nnumbers,
                             .fused = p->fused,
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

static void turn_dials(tide_plan *p, const double *numbers) {
    for (int i = 0; i < p->ndials; i++) {
        const dial *d = &p->dials[i];
        void *at = (char *)p->steps[d->launch].attrs + d->at;
        if (d->whole) *(int64_t *)at = (int64_t)numbers[d->number];
        else *(double *)at = numbers[d->number];
    }
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

tide_status tide_plan_run(tide_plan *p, tide_tensor *const *in, const double *numbers,
                          tide_tensor **out, int *undone) {
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
        turn_dials(p, numbers);
        for (; at < p->nsteps; at++) {
            if (p->undoes) changed = keep_changed(p, changed, at, in, arena);
            if (at <= p->tail && (st = tide_go_on(ctx)) != TIDE_OK) break;
            if ((st = tide_launch(ctx, &p->steps[at])) != TIDE_OK) break;
        }
        forget_temps(p);
    }
    for (int i = 0; i < p->nout && st == TIDE_OK; i++) st = hand_out(p, p->out[i], in, &out[i]);
    if (st != TIDE_OK) {
        if (at > p->tail) *undone = 0;
        else if (p->undoes) undo(p, changed, in, arena);
        else *undone = !p->nchanges || p->changes[0].launch > at;
        ctx->rng = rng;
        for (int i = 0; i < p->nout; i++) tide_release(out[i]), out[i] = NULL;
    }
    for (int i = 0; i < p->nresults; i++) tide_release(p->made[i]), p->made[i] = NULL;
    give_arena_back(p, arena);
    return st;
}
