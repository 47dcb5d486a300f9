/* What the recording of a step (recorder.c) and its plan (plan.c) share. */
#ifndef TIDE_RECORDER_H
#define TIDE_RECORDER_H

#include "plan.h"

enum { INPUT, HELD, TEMP, OUTPUT };
enum { NONE = -1, NUMBER = -2, SPARSE = -3, PRODUCT = -4 }; /* operands without a slot */
#define TRIM_FROM ((size_t)1 << 20)                         /* bytes of an arena */

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
    int ids, values; /* SPARSE, and both factors of a PRODUCT (fuse.c): numbers of operands */
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

typedef struct { /* an attribute that changes from step to step (`live` of the op) */
    int launch;
    size_t at;
    int whole;  /* it is an integer */
    int number; /* which of the numbers that a run is given */
} dial;

typedef struct { /* what an input must be */
    tide_meta meta;
    int64_t stride[TIDE_MAX_RANK];
    size_t bytes;     /* of its storage, where that is written to; else 0 */
    int like;         /* the first input on the same storage, */
    int64_t distance; /* and how far behind that one it begins */
    uint8_t shares;
} form;

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
    dial *dials;
    char *attrs;
    int *table; /* open addressing: number of a slot + 1, by id */
    int *out;   /* operands */
    int nin, nout, nslots, noperands, nlaunches, ndraws, ndials, nnumbers, ntable;
    int cap_slots, cap_operands, cap_launches, cap_draws, cap_dials;
    size_t nattrs, cap_attrs;
};

/* Leaves gradients to the ops that alone read them (fuse.c); how many. */
int tide_recorder_fuse(tide_recorder *);

/* Notes why this step can be no plan; the first reason counts. */
void tide_recorder_no(tide_recorder *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
