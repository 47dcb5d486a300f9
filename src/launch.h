/* What runs a kernel, and the value that says what is run: see launch.c. */
#ifndef TIDE_LAUNCH_H
#define TIDE_LAUNCH_H

#include "op.h"

/* One launch: an op with its attributes and tensors. An eager call's lies on the stack and borrows;
 * a kept one owns its attributes and references to its tensors, and holds no address of their
 * memory: buffers and versions are made anew at every launch. */
typedef struct tide_step {
    const tide_op *op;
    void *attrs;          /* tide_<op>_attrs; `before` of the op may write to them */
    int nin, nout, nlist; /* nlist: length of each tensor list of a list op */
    int may_stop; /* Ctrl-C may leave it half done: it writes nothing that was there before */
    int existing; /* its outputs were there before: their versions are bumped */
    tide_tensor **in, **out;
} tide_step;

tide_status tide_launch(tide_ctx *, const tide_step *);
/* The same for one new result on a device of which kernels see the memory, from a few dense inputs
 * there, none of them in halves, of an op without `before` and `after`; nobody counts or records.
 */
tide_status tide_launch_everyday(tide_ctx *, const tide_step *);

/* Is it the product of two matrices that nobody made: a gradient of a plan's (fuse.c)? Its factors
 * stand where a sparse gradient has whole numbers and rows. */
static inline int tide_is_product(const tide_tensor *t) {
    return t->ids && t->ids->dtype == t->dtype;
}

/* Bit i: the op writes into its single input i. */
unsigned tide_inout(const tide_op *);
/* Does the op write into input i of its call? */
int tide_written(const tide_op *, int nlist, int i);

/* -- parts of a launch -- */
/* The engines in order, until one serves. */
tide_status tide_serve(tide_kcall *);
void tide_set_buf(tide_buf *, const tide_tensor *);
/* tide_serve of a call with halves whose kernels know none (half.c); `in` are the call's. */
tide_status tide_serve_halves(tide_ctx *, const tide_step *, tide_kcall *, tide_buf *in);

/* -- kept steps -- */
tide_status tide_step_keep(tide_ctx *, const tide_step *, tide_step **out); /* new */
void tide_step_free(tide_step *);
/* Runs it once more into the same outputs: random numbers are drawn anew, attributes are as
 * tide_step_set left them. */
tide_status tide_step_again(tide_ctx *, tide_step *);
/* Gives a new value to an attribute that changes from step to step (`live` of the op). 1: the op
 * has it. */
int tide_step_set(tide_step *, const char *name, double value);

/* While a context has one of these, what it runs is kept too, in order. */
typedef struct tide_steps {
    tide_step **step;
    int64_t n, cap;
} tide_steps;

void tide_steps_clear(tide_steps *);
tide_status tide_steps_add(tide_ctx *, const tide_step *); /* one that has run */

#endif
