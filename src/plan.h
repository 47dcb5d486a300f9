/* A step that repeats, recorded once and replayed: see plan.c. */
#ifndef TIDE_PLAN_H
#define TIDE_PLAN_H

#include "launch.h"

typedef struct tide_recorder tide_recorder;
typedef struct tide_plan tide_plan;

/* -- recording -- */
/* Notes from now on what the context runs; `in` are the tensors that change from step to step.
 * NULL: no memory. */
tide_recorder *tide_recorder_new(tide_ctx *, int nin, tide_tensor *const *in);
/* The step is over, and gave these tensors (NULL: none). Deaths of tensors are noted still.
 * `together`: they die together soon, as gradients do, and may share the plan's memory. */
void tide_recorder_end(tide_recorder *, int nout, tide_tensor *const *out, int together);
void tide_recorder_close(tide_recorder *); /* nothing is noted any more */
void tide_recorder_free(tide_recorder *);
int tide_recorder_busy(const tide_ctx *); /* whether a step is being noted */
/* Why this step can be no plan; NULL: nothing speaks against it so far. */
const char *tide_recorder_why(const tide_recorder *);
/* Did both make the same calls? If not, b says why. */
int tide_recorder_same(const tide_recorder *a, tide_recorder *b);

/* Has all that the step made gone but its results, and did it read nothing but its inputs and the
 * `known` tensors? Where not, the collector may have to look at everything first. */
int tide_recorder_clear(const tide_recorder *, int nknown, tide_tensor *const *known);

/* What the house tells while `ctx->recorder` is not NULL. */
void tide_recorder_note(tide_ctx *, const tide_step *); /* one that has run */
void tide_recorder_refuse(tide_ctx *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tide_recorder_pin(tide_ctx *, tide_storage *); /* the program looks at its version */
void tide_recorder_freed(tide_ctx *, const tide_storage *);

/* -- plans -- */
/* Of a recorded step; `known` are the tensors from outside that whoever asks answers for. Not
 * where the step writes to others: *out is NULL then, and the recorder says why. */
tide_status tide_plan_new(tide_recorder *, int nknown, tide_tensor *const *known, tide_plan **out);
void tide_plan_free(tide_plan *);
/* Are these tensors of the forms that the recorded step had? */
int tide_plan_fits(const tide_plan *, int nin, tide_tensor *const *in);
/* Are the tensors at whose versions the program looked while it was recorded unchanged? */
int tide_plan_holds(const tide_plan *);
/* Runs it. `numbers`: the attributes that change from step to step, for each launch of an op that
 * has such, in the order of its `live`. `out` gets new tensors, NULL where the step gave none.
 * Where it fails, *undone says whether everything is as it was before, so that the step may run
 * eagerly.
 */
tide_status tide_plan_run(tide_plan *, tide_tensor *const *in, const double *numbers,
                          tide_tensor **out, int *undone);

typedef struct {
    int nin, nout, launches, slots, numbers, fused; /* fused: gradients that are not made */
    int64_t arena, temporaries; /* bytes; temporaries: what they would take one beside the other */
} tide_plan_facts;
tide_plan_facts tide_plan_ask(const tide_plan *);

#endif
