/* Recurrent cells over a whole sequence: SimpleRNN, LSTM (Hochreiter and Schmidhuber 1997), GRU
 * (Cho et al. 2014), from inputs that are projected already.
 *
 * The op keeps what its gradient reads in its last output; `compose` is the same thing step by
 * step, oracle and source of second derivatives. */
#include "helpers.h"

static const struct {
    int gates, planes; /* gates of the cell; planes of memory (kernels/cpu/recurrent.c) */
} cells[] = {[TIDE_CELL_simple] = {1, 2},
             [TIDE_CELL_lstm] = {4, 6},
             [TIDE_CELL_gru] = {3, 5},
             [TIDE_CELL_gru_before] = {3, 5}};

/* One more tensor of the call: its shape and dtype, and whether it must be there. */
static tide_status fits(tide_call *c, int i, int rank, const int64_t *shape, int given) {
    const tide_tensor *v = c->in[i];
    const char *name = c->op->args()[i].name;
    char want[160];
    if (!v && !given) return TIDE_OK;
    if (!v) return tide_op_fail(c, TIDE_EARG, "needs %s (expected a tensor, got none)", name);
    if (!tide_has_shape(v, rank, shape))
        return tide_op_fail(c, TIDE_ESHAPE, "%s has the wrong shape (expected %s, got %s)", name,
                            tide_shape_str(rank, shape, want, sizeof want), TIDE_SHAPE_OF(v));
    const int dtype = i == 5 ? TIDE_BOOL : c->in[0]->dtype;
    if (v->dtype != dtype)
        return tide_op_fail(c, TIDE_EDTYPE, "%s has another dtype (expected %s, got %s)", name,
                            tide_dtype_name(dtype), tide_dtype_name(v->dtype));
    return TIDE_OK;
}

static tide_status recurrent_infer(tide_call *c) { /* z, h, c, kernel, bias, mask */
    const tide_recurrent__attrs *a = c->attrs;
    const tide_tensor *z = c->in[0], *h = c->in[1];
    const int gates = cells[a->cell].gates, lstm = a->cell == TIDE_CELL_lstm;
    if (z->rank != 3 || h->rank != 2 || z->shape[2] != gates * h->shape[1])
        return tide_op_fail(c, TIDE_ESHAPE,
                            "inputs and states do not fit (expected (B, T, %d U) and (B, U), got "
                            "%s and %s)",
                            gates, TIDE_SHAPE_OF(z), TIDE_SHAPE_OF(h));
    const int64_t B = z->shape[0], T = z->shape[1], U = h->shape[1], W = gates * U;
    if (T < 1) return tide_op_fail(c, TIDE_ESHAPE, "needs at least one step (got 0)");
    TIDE_TRY(fits(c, 1, 2, (const int64_t[]){B, U}, 1));
    TIDE_TRY(fits(c, 2, 2, (const int64_t[]){B, U}, lstm));
    TIDE_TRY(fits(c, 3, 2, (const int64_t[]){U, W}, 1));
    TIDE_TRY(fits(c, 4, 1, (const int64_t[]){W}, 0));
    TIDE_TRY(fits(c, 5, 2, (const int64_t[]){B, T}, 0));
    if (c->in[4] && a->cell != TIDE_CELL_gru)
        return tide_op_fail(c, TIDE_EARG, "only the cell 'gru' has a bias of its states");
    const uint8_t dtype = z->dtype;
    c->meta[0] = (tide_meta){.rank = 3, .dtype = dtype, .shape = {B, T, U}};
    c->meta[1] = (tide_meta){.rank = 2, .dtype = dtype, .shape = {B, U}};
    c->meta[2] = (tide_meta){.rank = 2, .dtype = dtype, .shape = {B, lstm ? U : 0}};
    c->meta[3] = (tide_meta){.rank = 4, .dtype = dtype, .shape = {B, T, cells[a->cell].planes, U}};
    return TIDE_OK;
}

static void recurrent_grad(tide_tape *t, const tide_node *n) {
    const tide_recurrent__attrs *a = (const void *)n->attrs;
    const int lstm = a->cell == TIDE_CELL_lstm;
    tide_tensor *in[8] = {tide_t_in(t, 1),
                          tide_t_in(t, 3),
                          tide_t_out(t, 3),
                          lstm ? tide_t_in(t, 2) : NULL,
                          n->in[5].saved ? tide_t_in(t, 5) : NULL,
                          tide_t_has_dy(t, 0) ? tide_t_dy(t, 0) : NULL,
                          tide_t_has_dy(t, 1) ? tide_t_dy(t, 1) : NULL,
                          tide_t_has_dy(t, 2) ? tide_t_dy(t, 2) : NULL},
                *d[5];
    tide_tn(t,
            OP(recurrent_grad_, .cell = a->cell, .activation = a->activation, .gate = a->gate,
               .backwards = a->backwards, .zero = a->zero),
            8, in, d);
    if (tide_t_failed(t)) return;
    tide_t_give(t, 0, d[0]);
    tide_t_give(t, 1, d[1]);
    if (lstm) tide_t_give(t, 2, d[2]);
    tide_t_give(t, 3, d[3]);
    if (n->in[4].saved) tide_t_give(t, 4, d[4]);
}

/* -- step by step -- */

static tide_tensor *act(tide_tape *t, tide_tensor *x, int gate) {
    switch (gate) {
    case TIDE_GATE_relu: return tide_t(t, OP(relu), x);
    case TIDE_GATE_sigmoid: return tide_t(t, OP(sigmoid), x);
    case TIDE_GATE_tanh: return tide_t(t, OP(tanh), x);
    case TIDE_GATE_hard_sigmoid: return tide_t(t, OP(hard_sigmoid), x);
    default: return x;
    }
}

/* Columns [from, from + n) of (rows, columns). */
static tide_tensor *columns(tide_tape *t, tide_tensor *x, int64_t from, int64_t n) {
    if (tide_t_failed(t)) return NULL;
    return tide_t(t,
                  OP(slice, .start_indices = TIDE_INTS(0, from), .shape = TIDE_INTS(x->shape[0], n),
                     .base = 0),
                  x);
}

static tide_tensor *at_step(tide_tape *t, tide_tensor *x, int64_t k) {
    if (tide_t_failed(t)) return NULL;
    const int64_t width = x->rank == 3 ? x->shape[2] : 1, shape[] = {x->shape[0], width};
    tide_slice_attrs s = *TIDE_ATTRS(slice, .start_indices = TIDE_INTS(0, k, 0),
                                     .shape = TIDE_INTS(x->shape[0], 1, width), .base = 0);
    s.start_indices.n = s.shape.n = x->rank;
    return shaped(t, tide_t(t, TIDE_OP_slice, &s, x), 2, shape);
}

static tide_tensor *add(tide_tape *t, tide_tensor *a, tide_tensor *b) {
    return tide_t(t, OP(add), a, b);
}
static tide_tensor *mul(tide_tape *t, tide_tensor *a, tide_tensor *b) {
    return tide_t(t, OP(multiply), a, b);
}
static tide_tensor *product(tide_tape *t, tide_tensor *a, tide_tensor *b) {
    return tide_t(t, OP(matmul), a, b);
}

/* The states after a step: *h and *cell are replaced. */
static void step(tide_tape *t, const tide_recurrent__attrs *a, tide_tensor *z, tide_tensor *kernel,
                 tide_tensor *bias, tide_tensor **h, tide_tensor **cell) {
    const int64_t U = (*h)->shape[1];
    if (a->cell == TIDE_CELL_simple) {
        *h = act(t, add(t, z, product(t, *h, kernel)), a->activation);
    } else if (a->cell == TIDE_CELL_lstm) {
        tide_tensor *s = add(t, z, product(t, *h, kernel));
        tide_tensor *i = act(t, columns(t, s, 0, U), a->gate),
                    *f = act(t, columns(t, s, U, U), a->gate),
                    *g = act(t, columns(t, s, 2 * U, U), a->activation),
                    *o = act(t, columns(t, s, 3 * U, U), a->gate);
        *cell = add(t, mul(t, f, *cell), mul(t, i, g));
        *h = mul(t, o, act(t, *cell, a->activation));
    } else {
        const int after = a->cell == TIDE_CELL_gru;
        tide_tensor *s = product(t, *h, after ? kernel : columns(t, kernel, 0, 2 * U));
        if (bias) s = add(t, s, bias);
        tide_tensor *u = act(t, add(t, columns(t, z, 0, U), columns(t, s, 0, U)), a->gate),
                    *r = act(t, add(t, columns(t, z, U, U), columns(t, s, U, U)), a->gate);
        tide_tensor *inner = after ? mul(t, r, columns(t, s, 2 * U, U))
                                   : product(t, mul(t, r, *h), columns(t, kernel, 2 * U, U));
        tide_tensor *g = act(t, add(t, columns(t, z, 2 * U, U), inner), a->activation);
        *h = add(t, mul(t, u, tide_t(t, OP(subtract), *h, g)), g);
    }
}

static void recurrent_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                              tide_tensor **out) {
    const tide_recurrent__attrs *a = attrs;
    (void)nin;
    tide_tensor *h = in[1], *cell = in[2], *y = NULL, *all = NULL;
    const int64_t T = in[0]->shape[1], three[] = {h->shape[0], 1, h->shape[1]};
    for (int64_t k = 0; k < T && !tide_t_failed(t); k++) {
        const int64_t at = a->backwards ? T - 1 - k : k;
        tide_tensor *next = h, *after = cell;
        step(t, a, at_step(t, in[0], at), in[3], in[4], &next, &after);
        if (in[5] && !tide_t_failed(t)) {
            tide_tensor *kept = at_step(t, in[5], at);
            tide_tensor *other = a->zero || !y ? times(t, next, 0) : y;
            y = tide_t(t, OP(where), kept, next, other);
            h = tide_t(t, OP(where), kept, next, h);
            if (cell) cell = tide_t(t, OP(where), kept, after, cell);
        } else {
            y = h = next, cell = after;
        }
        tide_tensor *one = shaped(t, y, 3, three);
        if (!all) {
            all = one;
        } else {
            tide_tensor *both[] = {all, one};
            tide_tn(t, OP(concatenate, .axis = 1), 2, both, &all);
        }
    }
    out[0] = all, out[1] = h;
    if (a->cell == TIDE_CELL_lstm) out[2] = cell;
}

static double recurrent_flops(const tide_kcall *k) { /* z is (B, T, gates U) */
    return 2.0 * (double)tide_buf_numel(&k->in[0]) * (double)k->in[1].shape[1];
}

TIDE_DESCRIBE(recurrent_, .flags = TIDE_CONTIGUOUS | TIDE_FIRST_ORDER | TIDE_HALF,
              .infer = recurrent_infer, .flops = recurrent_flops, .grad = recurrent_grad,
              .compose = recurrent_compose,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2) | TIDE_SAVE_IN(3) |
                  TIDE_SAVE_IN(4) | TIDE_SAVE_IN(5) | TIDE_SAVE_OUT(3),
              .masks = 1u << 5);

static tide_status recurrent_grad_infer(tide_call *c) {
    const tide_recurrent_grad__attrs *a = c->attrs;
    const tide_tensor *h = c->in[0], *memory = c->in[2];
    const int lstm = a->cell == TIDE_CELL_lstm, gru = a->cell == TIDE_CELL_gru;
    const int64_t B = h->shape[0], U = h->shape[1], W = cells[a->cell].gates * U;
    const uint8_t dtype = h->dtype;
    c->meta[0] = (tide_meta){.rank = 3, .dtype = dtype, .shape = {B, memory->shape[1], W}};
    c->meta[1] = (tide_meta){.rank = 2, .dtype = dtype, .shape = {B, U}};
    c->meta[2] = (tide_meta){.rank = 2, .dtype = dtype, .shape = {B, lstm ? U : 0}};
    c->meta[3] = (tide_meta){.rank = 2, .dtype = dtype, .shape = {U, W}};
    c->meta[4] = (tide_meta){.rank = 1, .dtype = dtype, .shape = {gru ? W : 0}};
    return TIDE_OK;
}
static double recurrent_grad_flops(const tide_kcall *k) { /* of the states and of the kernel */
    return 4.0 * (double)tide_buf_numel(&k->out[0]) * (double)k->in[0].shape[1];
}
static double recurrent_grad_room(const tide_kcall *k) { /* gru's din */
    const tide_recurrent_grad__attrs *a = k->attrs;
    const int64_t *m = k->in[2].shape, din = a->cell == TIDE_CELL_gru ? 3 : 0; /* B, T, P, U */
    if (tide_is_half(k->in[2].dtype)) return 0; /* stretches of steps */
    return (double)(m[0] * m[1] * m[3] * din) * (double)tide_dtype_size(k->in[2].dtype);
}
TIDE_DESCRIBE(recurrent_grad_, .flags = TIDE_CONTIGUOUS | TIDE_INTERNAL | TIDE_NOGRAD | TIDE_HALF,
              .infer = recurrent_grad_infer, .flops = recurrent_grad_flops,
              .room = recurrent_grad_room);
