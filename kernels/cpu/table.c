/* The table of Tide's own CPU kernels at one instruction-set level, compiled once per level with
 * -DTIDE_LEVEL=c, v2, v3 or v4.
 *
 * Invariant: every op that has arithmetic has a slot here. The dtype is chosen by the first input
 * (by the output where an op has none); a dtype that the op's `infer` lets through but no kernel
 * serves is declined. */
#include "cpu.h"
#include "half.h"

#define TABLE TIDE_CAT(tide_plain_, TIDE_LEVEL)
#define KF32(name) TIDE_KNAME(name, f32, TIDE_LEVEL)
#define KF64(name) TIDE_KNAME(name, f64, TIDE_LEVEL)

/* -- the kernels of each kind of op -- */
#define HAS_FLOAT(name) tide_status KF32(name)(tide_kcall *), KF64(name)(tide_kcall *);
#define HAS_NUM(name) HAS_FLOAT(name) tide_status KINT(name)(tide_kcall *);
#define HAS_ANY(name) tide_status KANY(name)(tide_kcall *);
#define HAS_COMPARE(name) HAS_FLOAT(name) HAS_ANY(name)
#define HAS_VIEW(name)
#define HAS_COMPOSE(name)
#define EACH(name, kind, ...) HAS_##kind(name)
#include "../each_op.h"

tide_status tide_half_nextafter(tide_kcall *), tide_half_nan_to_num(tide_kcall *);
tide_status KF32(conv_halves)(tide_kcall *), KF32(conv_grad_x_halves)(tide_kcall *),
    KF32(conv_grad_kernel_halves)(tide_kcall *);

/* -- which of them serves a call -- */
static inline int dtype_of(const tide_kcall *c) {
    return c->nin > 0 ? c->in[0].dtype : c->out[0].dtype;
}
/* Comparisons take any two dtypes: two equal floats have a kernel of the level. */
static inline int seen_as(int dtype) { return tide_is_half(dtype) ? TIDE_F32 : dtype; }
static inline int dtype_of_both(const tide_kcall *c) {
    const int d = seen_as(c->in[0].dtype);
    return d == seen_as(c->in[1].dtype) ? d : TIDE_DTYPE_COUNT;
}

#define PICK(name, dtype, half, other)              \
    static tide_status pick_##name(tide_kcall *c) { \
        const int d = dtype;                        \
        if (d == TIDE_F32) return KF32(name)(c);    \
        if (d == TIDE_F64) return KF64(name)(c);    \
        if (tide_is_half(d)) return half;           \
        return other;                               \
    }
#define PICK_FLOAT(name, half) PICK(name, dtype_of(c), half, TIDE_DECLINE)
#define PICK_NUM(name, half) PICK(name, dtype_of(c), half, KINT(name)(c))
#define PICK_COMPARE(name, half) PICK(name, dtype_of_both(c), half, KANY(name)(c))
#define PICK_ANY(name, half)
#define PICK_VIEW(name, half)
#define PICK_COMPOSE(name, half)

/* float16 and bfloat16: the float32 kernel of an elementwise op, whose driver converts, or one of
 * their own; of the other ops some have one. */
#define OWN_nextafter ~, tide_half_nextafter
#define OWN_nan_to_num ~, tide_half_nan_to_num
#define OWN_sum ~, KF32(sum)
#define OWN_mean ~, KF32(mean)
#define OWN_sum_of_ ~, KF32(sum_of_)
#define OWN_sum_of_grad_ ~, KF32(sum_of_grad_)
#define OWN_prod ~, KF32(prod)
#define OWN_max ~, KF32(max)
#define OWN_min ~, KF32(min)
#define OWN_matmul ~, KF32(matmul)
#define OWN_linear ~, KF32(linear)
#define OWN_linear_grad ~, KF32(linear_grad)
#define OWN_conv ~, KF32(conv_halves)
#define OWN_conv_grad_x ~, KF32(conv_grad_x_halves)
#define OWN_conv_grad_kernel ~, KF32(conv_grad_kernel_halves)
#define OWN_random_uniform ~, drawn_random_uniform
#define OWN_random_normal ~, KF32(random_normal)
#define OWN_random_truncated_normal ~, KF32(random_truncated_normal)
#define OWN_add_relu_ ~, KF32(add_relu_)
#define OWN_cumsum ~, KF32(cumsum)
#define OWN_cumprod ~, KF32(cumprod)
#define OWN_dropout ~, KF32(dropout)
#define OWN_recurrent_ ~, KF32(recurrent_)
#define OWN_recurrent_grad_ ~, KF32(recurrent_grad_)
#define OWN_attention_ ~, KF32(attention_)
#define OWN_attention_grad_ ~, KF32(attention_grad_)
#define OWN_alpha_dropout ~, KF32(alpha_dropout)
static tide_status drawn_random_uniform(tide_kcall *c) {
    return tide_half_uniform(c, KF32(random_uniform));
}
/* Kernels that treat rows one by one. ALONG: rows end before the attribute axis. */
#define ROWS(name, lead, shared, axis_at)                                       \
    static tide_status rows_##name(tide_kcall *c) {                             \
        typedef tide_##name##_attrs attrs_t;                                    \
        const attrs_t *a = c->attrs;                                            \
        (void)a;                                                                \
        return tide_half_rows(c, KF32(name), lead, shared, sizeof *a, axis_at); \
    }
#define ALONG(name) ROWS(name, a->axis, 0, offsetof(attrs_t, axis))
#define NO_AXIS SIZE_MAX
ALONG(softmax_)
ALONG(softmax_grad_)
ALONG(log_softmax_)
ALONG(log_softmax_grad_)
ALONG(sparsemax)
ALONG(cross_entropy_)
ALONG(cross_entropy_grad_)
ALONG(sparse_cross_entropy_grad_)
ROWS(binary_crossentropy, c->in[0].rank, 0, NO_AXIS)
ROWS(binary_crossentropy_grad_, c->in[0].rank, 0, NO_AXIS)
ROWS(squared_error_, c->in[0].rank - 1, 0, NO_AXIS)
ROWS(squared_error_grad_, c->in[1].rank - 1, tide_buf_numel(&c->in[0]) == 1, NO_AXIS)
ROWS(layer_norm_, c->in[0].rank - a->axes, 6, NO_AXIS) /* gamma, beta */
ROWS(max_pool, 1, 0, NO_AXIS)
ROWS(max_pool_grad, 1, 0, NO_AXIS)
ROWS(max_pool_pick, 1, 0, NO_AXIS)
ROWS(average_pool, 1, 0, NO_AXIS)
ROWS(average_pool_grad, 1, 0, NO_AXIS)
#define OWN_softmax_ ~, rows_softmax_
#define OWN_softmax_grad_ ~, rows_softmax_grad_
#define OWN_log_softmax_ ~, rows_log_softmax_
#define OWN_log_softmax_grad_ ~, rows_log_softmax_grad_
#define OWN_sparsemax ~, rows_sparsemax
#define OWN_cross_entropy_ ~, rows_cross_entropy_
#define OWN_cross_entropy_grad_ ~, rows_cross_entropy_grad_
#define OWN_sparse_cross_entropy_grad_ ~, rows_sparse_cross_entropy_grad_
#define OWN_binary_crossentropy ~, rows_binary_crossentropy
#define OWN_binary_crossentropy_grad_ ~, rows_binary_crossentropy_grad_
#define OWN_squared_error_ ~, rows_squared_error_
#define OWN_squared_error_grad_ ~, rows_squared_error_grad_
#define OWN_layer_norm_ ~, rows_layer_norm_
#define OWN_batch_normalization ~, KF32(batch_normalization)
#define OWN_batch_norm_train_ ~, KF32(batch_norm_train_)
#define OWN_batch_norm_grad_ ~, KF32(batch_norm_grad_)
#define OWN_layer_norm_grad_ ~, KF32(layer_norm_grad_)
#define OWN_sparse_cross_entropy_ ~, KF32(sparse_cross_entropy_)
#define OWN_max_pool ~, rows_max_pool
#define OWN_max_pool_grad ~, rows_max_pool_grad
#define OWN_max_pool_pick ~, rows_max_pool_pick
#define OWN_average_pool ~, rows_average_pool
#define OWN_average_pool_grad ~, rows_average_pool_grad
static tide_status declined(tide_kcall *c) {
    (void)c;
    return TIDE_DECLINE;
}
#define OWN(a, b, ...) b
#define OWN_OR(...) OWN(__VA_ARGS__)
#define ELEMENT(name, kind, ...) PICK_##kind(name, OWN_OR(OWN_##name, KF32(name), ~)(c))
#define EACH(name, kind, ...) PICK_##kind(name, OWN_OR(OWN_##name, declined, ~)(c))
#include "../each_op.h"

/* -- the table -- */
#define SLOT_FLOAT(name) [TIDE_OP_##name] = pick_##name,
#define SLOT_NUM SLOT_FLOAT
#define SLOT_COMPARE SLOT_FLOAT
#define SLOT_ANY(name) [TIDE_OP_##name] = KANY(name),
#define SLOT_VIEW(name)
#define SLOT_COMPOSE(name)
#define EACH(name, kind, ...) SLOT_##kind(name)
extern const tide_kernel TABLE[TIDE_OP_COUNT];
const tide_kernel TABLE[TIDE_OP_COUNT] = {
#include "../each_op.h"
};
