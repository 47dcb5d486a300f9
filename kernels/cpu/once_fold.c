/* Normalizations folded into the kernels of convolutions (kernels/fold.h):
 *
 *   (x * w + b - mean) s + offset = x * (w s) + ((b - mean) s + offset),
 *   s = scale / sqrt(variance + epsilon), one per channel of the result. */
#include "../fold.h"

#include <math.h>
#include <string.h>

enum { KERNEL = 1, BIAS, MEAN, VARIANCE, OFFSET, SCALE, INPUTS };

/* To `to`: the kernel (rows, F), then the bias (F), then s (F). */
#define FOLD(name, real)                                                              \
    static void name(const tide_kcall *c, double epsilon, real *to) {                 \
        const tide_buf *w = &c->in[KERNEL];                                           \
        const int64_t F = w->shape[w->rank - 1], all = tide_buf_numel(w);             \
        const real *k = w->p, *b = c->in[BIAS].p, *mean = c->in[MEAN].p,              \
                   *variance = c->in[VARIANCE].p, *offset = c->in[OFFSET].p,          \
                   *scale = c->in[SCALE].p;                                           \
        real *bias = to + all, *s = bias + F;                                         \
        for (int64_t f = 0; f < F; f++) {                                             \
            const double slope =                                                      \
                (scale ? (double)scale[f] : 1) / sqrt((double)variance[f] + epsilon); \
            bias[f] = (real)(((b ? (double)b[f] : 0) - (double)mean[f]) * slope +     \
                             (offset ? (double)offset[f] : 0));                       \
            s[f] = (real)slope;                                                       \
        }                                                                             \
        for (int64_t i = 0; i < all; i += F)                                          \
            for (int64_t f = 0; f < F; f++) to[i + f] = k[i + f] * s[f];              \
    }
FOLD(fold_f32, float)
FOLD(fold_f64, double)

/* Tells states of the weights apart: another storage or version gives another number. */
static uint64_t state_of(const tide_kcall *c) {
    uint64_t h = 1469598103934665603u;
    for (int i = KERNEL; i < INPUTS; i++) {
        const uint64_t of[2] = {c->in[i].p ? c->in[i].storage_id : 0, c->in[i].version};
        for (int k = 0; k < 2; k++) h = (h ^ of[k]) * 1099511628211u, h ^= h >> 29;
    }
    return h;
}

tide_status tide_fold(const tide_kcall *c, tide_folded *f) {
    const tide_conv_norm__attrs *a = c->attrs;
    const tide_buf *w = &c->in[KERNEL];
    const int64_t F = w->shape[w->rank - 1], all = tide_buf_numel(w);
    const size_t size = tide_dtype_size(w->dtype), bytes = (size_t)(all + 2 * F) * size;
    struct {
        char name[8];
        double epsilon;
        const void *of[2]; /* two normalizations may stand behind one kernel */
    } form;
    memset(&form, 0, sizeof form);
    memcpy(form.name, "folded", 7);
    form.epsilon = a->epsilon, form.of[0] = c->in[MEAN].p, form.of[1] = c->in[VARIANCE].p;
    int known = 1;
    for (int i = KERNEL; i < INPUTS; i++) known &= !c->in[i].p || c->in[i].storage_id;
    const uint64_t state = state_of(c);
    f->kept = known ? tide_keep(c->dev, w, &form, sizeof form, bytes) : NULL;
    void *to = f->kept ? f->kept->data : tide_scratch(c->dev, bytes);
    if (!to) return TIDE_ENOMEM;
    if (!f->kept || f->kept->version != state) {
        if (w->dtype == TIDE_F32) fold_f32(c, a->epsilon, to);
        else fold_f64(c, a->epsilon, to);
        if (f->kept) f->kept->version = state;
    }
    f->attrs = (tide_conv_attrs){.strides = a->strides,
                                 .padding = a->padding,
                                 .dilation_rate = a->dilation_rate,
                                 .groups = a->groups,
                                 .activation = a->activation,
                                 .pads = a->pads};
    f->in[0] = c->in[0];
    f->in[1] = *w;
    f->in[1].p = to, f->in[1].storage_id = f->kept ? w->storage_id : 0, f->in[1].version = state;
    f->in[2] = (tide_buf){.p = (char *)to + (size_t)all * size,
                          .shape = {F},
                          .stride = {1},
                          .rank = 1,
                          .dtype = w->dtype};
    f->call = *c;
    f->call.attrs = &f->attrs, f->call.in = f->in, f->call.nin = 3, f->call.op = TIDE_OP_conv;
    return TIDE_OK;
}
