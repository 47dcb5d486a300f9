/* Recording a step: what it launches, on which storages; and comparing two recordings. plan.c opens
 * with the whole. */
#include "recorder.h"

#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list that grows: `item *x; int nx, cap_x`. */
static int room(void *list, int n, int *cap, size_t size) {
    if (n < *cap) return 1;
    const int more = *cap ? 2 * *cap : 64;
    void **at = list, *p = realloc(*at, (size_t)more * size);
    if (!p) return 0;
    *at = p, *cap = more;
    return 1;
}

/* -- recording -- */

void tide_recorder_no(tide_recorder *r, const char *fmt, ...) {
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

static void no_memory(tide_recorder *r) {
    tide_recorder_no(r, "there is not enough memory to note it");
}

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

static int add_operand(tide_recorder *r, const operand *o) {
    if (!room(&r->operands, r->noperands, &r->cap_operands, sizeof *r->operands)) {
        no_memory(r);
        return NONE;
    }
    r->operands[r->noperands] = *o;
    return r->noperands++;
}

/* Notes a sparse gradient, whose parts were noted. */
static int note_sparse(tide_recorder *r, const tide_tensor *t, int ids, int values) {
    const operand o = {.slot = SPARSE, .meta = tide_meta_of(t), .ids = ids, .values = values};
    return add_operand(r, &o);
}

/* Notes a tensor; NONE: no memory, or the recording is refused. */
static int note(tide_recorder *r, tide_tensor *t, int writes, const char *what) {
    operand o = {.slot = NONE};
    if (t && tide_is_sparse(t)) {
        const int ids = note(r, t->ids, 0, what), values = note(r, t->values, 0, what);
        return note_sparse(r, t, ids, values);
    } else if (t) {
        o.meta = tide_meta_of(t);
        memcpy(o.stride, t->stride, sizeof o.stride);
        o.offset = t->offset, o.is_view = t->is_view, o.shares = t->shares;
        if (tide_is_number(t)) o.slot = NUMBER, o.number = t->number;
        else if ((o.slot = slot_of(r, t->storage)) == NONE) no_memory(r);
    }
    if (t && t->storage && t->storage->dev) {
        if (!r->dev) r->dev = t->storage->dev;
        if (r->dev != t->storage->dev) tide_recorder_no(r, "%s works on several devices", what);
        if (t->storage->dev->no_elements) tide_recorder_no(r, "%s has shapes alone", what);
    }
    if (o.slot >= 0) {
        slot *s = &r->slots[o.slot];
        if (s->kind == TEMP && s->first == NONE && !writes)
            tide_recorder_no(r, "%s reads numbers that no op made", what);
        if (s->first == NONE) s->first = r->nlaunches;
        s->last = r->nlaunches;
        if (writes && s->kind != TEMP && s->changed == NONE) s->changed = r->nlaunches;
        if (s->kind == INPUT) o.offset -= r->in[s->input].distance, o.is_view = 1;
    }
    return add_operand(r, &o);
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

/* Attributes that change from step to step: for each launch of an op with some, a run is given a
 * number for each word of the op's list, whether the op has it or not. */
static void note_dials(tide_recorder *r, const tide_op *op) {
    const tide_arg *a = op->args();
    for (const char *word = op->live; word && *word; r->nnumbers++) {
        const size_t n = strcspn(word, " ");
        for (int i = 0; i < op->nargs; i++) {
            if (strlen(a[i].name) != n || memcmp(a[i].name, word, n) != 0) continue;
            if (!room(&r->dials, r->ndials, &r->cap_dials, sizeof *r->dials)) {
                no_memory(r);
                return;
            }
            r->dials[r->ndials++] = (dial){.launch = r->nlaunches,
                                           .at = a[i].offset,
                                           .whole = a[i].kind == TIDE_ARG_INT,
                                           .number = r->nnumbers};
        }
        word += n + (word[n] == ' ');
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
    if (op->measure)
        tide_recorder_no(r, "%s looks at values to know the shape of its result", op->name);
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
    int parts = r->noperands; /* of sparse gradients, which come before the launch's operands */
    for (int i = 0; i < s->nin && !r->why[0]; i++)
        if (s->in[i] && tide_is_sparse(s->in[i]))
            note(r, s->in[i]->ids, 0, op->name), note(r, s->in[i]->values, 0, op->name);
    const int first = r->noperands;
    for (int i = 0; i < s->nin && !r->why[0]; i++) {
        if (s->in[i] && tide_is_sparse(s->in[i])) {
            note_sparse(r, s->in[i], parts, parts + 1);
            parts += 2;
        } else note(r, s->in[i], 0, op->name);
        if (r->why[0]) return;
        const operand *o = &r->operands[r->noperands - 1];
        if (o->slot < 0) continue;
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
    note_dials(r, op);
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
    else if (r->slots[k].kind == INPUT)
        tide_recorder_no(r, "it asks whether what it is given has changed");
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
            else if (part->slot >= 0 && r->slots[part->slot].kind == INPUT && !together)
                tide_recorder_no(r, "it hands out what it is given"); /* noting gives copies */
            else if (part->slot == NUMBER) tide_recorder_no(r, "a result is a number");
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
    free(r->dials), free(r->attrs), free(r->table), free(r->out), free(r);
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

/* Attributes but for the counters that move and what a run is given; `drawn` and `dialled`
 * are the first ones that are not before launch i. */
static int same_attrs(const tide_recorder *a, const tide_recorder *b, int i, int *drawn,
                      int *dialled) {
    const launch *la = &a->launches[i], *lb = &b->launches[i];
    _Alignas(16) unsigned char x[TIDE_MAX_ATTRS], y[TIDE_MAX_ATTRS];
    memcpy(x, a->attrs + la->attrs, la->op->attrs_size);
    memcpy(y, b->attrs + lb->attrs, la->op->attrs_size);
    for (; *drawn < a->ndraws && a->draws[*drawn].launch == i; ++*drawn) {
        memset(x + a->draws[*drawn].at, 0, sizeof(tide_rng));
        memset(y + a->draws[*drawn].at, 0, sizeof(tide_rng));
    }
    for (; *dialled < a->ndials && a->dials[*dialled].launch == i; ++*dialled) {
        memset(x + a->dials[*dialled].at, 0, sizeof(double));
        memset(y + a->dials[*dialled].at, 0, sizeof(double));
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
    if (a->why[0]) tide_recorder_no(b, "%s", a->why);
    if (b->why[0]) return 0;
    int same = a->nin == b->nin && a->nout == b->nout && a->dev == b->dev && a->mode == b->mode;
    for (int i = 0; i < a->nin && same; i++) same = same_form(&a->in[i], &b->in[i]);
    if (!same) tide_recorder_no(b, "two steps took tensors of other forms");
    for (int i = 0, drawn = 0, dialled = 0; i < a->nlaunches && i < b->nlaunches && same; i++) {
        const launch *x = &a->launches[i], *y = &b->launches[i];
        same = x->op == y->op && x->nin == y->nin && x->nout == y->nout && x->nlist == y->nlist &&
            x->existing == y->existing && x->first == y->first && x->attrs == y->attrs;
        if (!same)
            tide_recorder_no(b, "two steps made other calls (%s, then %s)", x->op->name,
                             y->op->name);
        for (int k = 0; k < (same ? x->nin + x->nout : 0) && same; k++)
            same = same_operand(&a->operands[x->first + k], &b->operands[y->first + k]);
        if (same && !same_attrs(a, b, i, &drawn, &dialled)) same = 0;
        if (!same) tide_recorder_no(b, "two steps called %s with other arguments", x->op->name);
    }
    if (same && a->nlaunches != b->nlaunches)
        tide_recorder_no(b, "two steps made other numbers of calls (%d, then %d)", a->nlaunches,
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
    if (!same) tide_recorder_no(b, "two steps read, drew or gave other tensors");
    return same;
}
