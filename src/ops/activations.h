/* Activations that linear and conv fuse, as their rules see them. */
#ifndef TIDE_ACTIVATIONS_H
#define TIDE_ACTIVATIONS_H

#include "../op.h"

/* Does the derivative need the activation's argument rather than its result? Then a call that is
 * recorded makes two nodes, and rules that know one compute the argument again. */
static inline int tide_act_reads_argument(int act) {
    return act == TIDE_ACTIVATION_gelu || act == TIDE_ACTIVATION_silu;
}

tide_tensor *tide_t_activate(tide_tape *, tide_tensor *z,
                             int act); /* as ops, differentiable to any order */
tide_status tide_check_bias(tide_call *, const tide_tensor *bias, int64_t n, int dtype);

#endif
