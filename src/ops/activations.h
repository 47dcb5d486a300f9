/* Activations that linear and conv fuse, as their rules see them. */
#ifndef TIDE_ACTIVATIONS_H
#define TIDE_ACTIVATIONS_H

#include "../op.h"

/* the ENUM `activation` in ops.def */
enum {
    TIDE_ACT_LINEAR,
    TIDE_ACT_RELU,
    TIDE_ACT_RELU6,
    TIDE_ACT_SIGMOID,
    TIDE_ACT_TANH,
    TIDE_ACT_ELU,
    TIDE_ACT_GELU,
    TIDE_ACT_SILU
};

/* Does the derivative need the activation's argument rather than its result? Rules compute it
 * again. */
static inline int tide_act_reads_argument(int act) {
    return act == TIDE_ACT_GELU || act == TIDE_ACT_SILU;
}

tide_tensor *tide_t_activate(tide_tape *, tide_tensor *z,
                             int act); /* as ops, differentiable to any order */
tide_status tide_check_bias(tide_call *, const tide_tensor *bias, int64_t n, int dtype);

#endif
