/* What the tape (autograd.c) and the walk over it (walk.c) share. */
#ifndef TIDE_TAPE_H
#define TIDE_TAPE_H

#include "op.h"

enum { TIDE_TAPE_FEW = 32 };

struct tide_tape {
    tide_ctx *ctx;
    tide_node *node; /* the node whose rule runs; NULL inside a composition */
    tide_status status;
    int record;
    tide_tensor **temp; /* owned until the rule returns */
    int ntemp, cap;
    tide_tensor **given; /* [nin], owned */
    struct tide_walk *walk;
    int whole;     /* given are the inputs' gradients with what had arrived before: tide_t_take */
    tide_place at; /* where given[partial] belongs; partial < 0: all are whole */
    const tide_index__attrs *part;
    int partial;
    tide_tensor *inline_temp[TIDE_TAPE_FEW];
};

void tide_tape_begin(tide_tape *, tide_ctx *, tide_node *, int record);
void tide_tape_end(tide_tape *);         /* releases the temporaries */
int tide_tape_released(tide_tape *);     /* fails if the node's saved tensors were freed */
void tide_node_clear_saved(tide_node *); /* frees them */

/* walk.c: gradients by `wrt`, from nodes of this number on; `within` a rule, hooks of leaves are
 * not called. `out` holds what is there already. */
tide_status tide_grad_above(tide_ctx *, tide_tensor *loss, tide_tensor *seed, int n,
                            tide_tensor **wrt, int create_graph, int retain_graph, uint64_t floor,
                            int within, tide_tensor **out);

/* gradients.c */
typedef struct { /* what a rule gave for an input */
    tide_tensor *g;
    const tide_place *at;          /* NULL: of the whole input */
    const tide_meta *whole;        /* the input's form */
    const tide_index__attrs *part; /* as `at`, for the record */
} tide_gift;
tide_status tide_unshare(tide_ctx *, tide_tensor **g); /* a copy if others see its memory */
/* *slot += g, or the gift, whose reference is taken, also on failure. */
tide_status tide_accumulate(tide_ctx *, tide_tensor **slot, tide_tensor *g, int record);
tide_status tide_add_gift(tide_ctx *, tide_tensor **slot, const tide_gift *, int record);
/* For .grad, which has no graph: a leaf would hold itself. Releases `g` where it fails. */
tide_status tide_without_graph(tide_ctx *, tide_tensor **g);

#endif
