/* The linear layer: y = act(x w + b);  dz = dy act', dx = dz w^T, dw = x^T dz, db = sum of dz's
 * rows. float16 and bfloat16 are multiplied and summed in float32, as product.c reads them. */
#include "gemm.h"
#include "half.h"
#include "pieces.h"

enum { RUN = 65536 }; /* elements of a thread */

typedef struct {
    int64_t rows, in, out;
} layer;
static layer layer_of(const tide_buf *x, const tide_buf *w) {
    layer l = {.rows = 1, .in = w->shape[0], .out = w->shape[1]};
    for (int d = 0; d < x->rank - 1; d++) l.rows *= x->shape[d];
    return l;
}
static int half_of(const tide_buf *b) { return tide_is_half(b->dtype) ? b->dtype : 0; }

TIDE_KERNEL(linear) { /* x, w, bias */
    const tide_buf *x = &c->in[0], *w = &c->in[1], *b = &c->in[2], *y = &c->out[0];
    const layer l = layer_of(x, w);
    const tide_gemm g = {.m = l.rows,
                         .n = l.out,
                         .k = l.in,
                         .a = x->p,
                         .ars = l.in,
                         .acs = 1,
                         .b = w->p,
                         .brs = l.out,
                         .bcs = 1,
                         .c = y->p,
                         .ldc = l.out,
                         .a_half = half_of(x),
                         .b_half = half_of(w),
                         .c_half = half_of(y)};
    const REAL *bias = b->p;
    if (b->p && half_of(b)) {
        REAL *room = tide_scratch(c->dev, (size_t)(l.out + 1) * sizeof *room);
        if (!room) return TIDE_ENOMEM;
        bias = piece_read(b, 0, l.out, room);
    }
    return K(product)(c->dev, &g, bias, ((const tide_linear_attrs *)c->attrs)->activation);
}

/* dz of halves: in halves where the derivative is 0 or 1, else in float32. */
static tide_status half_dz(tide_device *dev, const layer *l, int act, const tide_buf *y,
                           const tide_buf *dy, tide_buf *dz) {
    const int exact = act == TIDE_ACTIVATION_relu || act == TIDE_ACTIVATION_relu6;
    *dz = *dy;
    if (!exact) dz->dtype = TIDE_F32;
    dz->p = tide_scratch(dev, (size_t)(l->rows * l->out + 1) * tide_dtype_size(dz->dtype));
    if (!dz->p) return TIDE_ENOMEM;
    TIDE_PARALLEL_FOR (l->rows * l->out, RUN / 8) {
        enum { SOME = 1024 };
        REAL room[3][SOME];
        for (int64_t i = lo; i < hi; i += SOME) {
            const int64_t n = TIDE_MIN(SOME, hi - i);
            const REAL *d = piece_read(dy, i, n, room[0]), *v = piece_read(y, i, n, room[1]);
            REAL *to = piece_room(dz, i, room[2]);
            K(act_grad)(1, n, d, v, act, to);
            piece_write(dz, i, n, to);
        }
    }
    return TIDE_OK;
}

tide_status K(sum)(tide_kcall *);
TIDE_KERNEL(linear_grad) { /* x, w, y, dy -> dx, dw, db */
    const tide_linear_grad_attrs *at = c->attrs;
    const int act = at->activation, needs = at->needs;
    const tide_buf *x = &c->in[0], *w = &c->in[1], *y = &c->in[2];
    const layer l = layer_of(x, w);
    tide_buf dz = c->in[3];
    if (act != TIDE_ACTIVATION_linear && half_of(&dz)) {
        TIDE_DO(half_dz(c->dev, &l, act, y, &c->in[3], &dz));
    } else if (act != TIDE_ACTIVATION_linear) {
        dz.p = tide_scratch(c->dev, (size_t)(l.rows * l.out) * sizeof(REAL));
        if (!dz.p) return TIDE_ENOMEM;
        K(act_grad)(l.rows, l.out, c->in[3].p, y->p, act, dz.p);
    }
    if (needs & 1) {
        const tide_gemm g = {.m = l.rows,
                             .n = l.in,
                             .k = l.out,
                             .a = dz.p,
                             .ars = l.out,
                             .acs = 1,
                             .b = w->p,
                             .brs = 1,
                             .bcs = l.out,
                             .c = c->out[0].p,
                             .ldc = l.in,
                             .a_half = half_of(&dz),
                             .b_half = half_of(w),
                             .c_half = half_of(&c->out[0])};
        TIDE_DO(K(product)(c->dev, &g, NULL, TIDE_ACTIVATION_linear));
    }
    if (needs & 2) {
        const tide_gemm g = {.m = l.in,
                             .n = l.out,
                             .k = l.rows,
                             .a = x->p,
                             .ars = 1,
                             .acs = l.in,
                             .b = dz.p,
                             .brs = l.out,
                             .bcs = 1,
                             .c = c->out[1].p,
                             .ldc = l.out,
                             .a_half = half_of(x),
                             .b_half = half_of(&dz),
                             .c_half = half_of(&c->out[1])};
        TIDE_DO(K(product)(c->dev, &g, NULL, TIDE_ACTIVATION_linear));
    }
    if (!(needs & 4)) return TIDE_OK;
    if (!half_of(&c->out[2])) return K(colsum)(c->dev, l.rows, l.out, dz.p, c->out[2].p);
    dz.rank = 2, dz.shape[0] = l.rows, dz.shape[1] = dz.stride[0] = l.out, dz.stride[1] = 1;
    tide_kcall sum = {.attrs = &(tide_sum_attrs){.axis = {.n = 1}},
                      .in = &dz,
                      .out = &c->out[2],
                      .op = TIDE_OP_sum,
                      .nin = 1,
                      .nout = 1,
                      .dev = c->dev};
    return K(sum)(&sum);
}

/* -- what stands around a product that an engine made -- */

tide_status K(activation_grad)(tide_kcall *c);
tide_status K(activation_grad)(tide_kcall *c) {
    const tide_activation_grad_attrs *at = c->attrs;
    const tide_buf *dy = &c->in[0];
    int64_t n = dy->shape[dy->rank - 1], rows = n ? tide_buf_numel(dy) / n : 0;
    const REAL *y = c->in[1].p;
    REAL *dz = c->out[0].p;
    if (at->bias)
        return K(act_grad_sums)(c->dev, rows, n, dy->p, y, at->activation, dz, c->out[1].p);
    K(act_grad)(rows, n, dy->p, y, at->activation, dz);
    return TIDE_OK;
}

static void add_relu_loop(int64_t n, const void *const *in, void *out, const void *attrs) {
    const REAL *restrict a = in[0], *restrict b = in[1];
    REAL *restrict y = out;
    (void)attrs;
    for (int64_t i = 0; i < n; i++) {
        const REAL z = a[i] + b[i];
        y[i] = t_max(z, 0);
    }
}
tide_status K(add_relu_)(tide_kcall *c);
tide_status K(add_relu_)(tide_kcall *c) { return tide_elementwise(c, add_relu_loop, 32768); }

tide_status K(bias_activation)(tide_kcall *c);
tide_status K(bias_activation)(tide_kcall *c) {
    const tide_bias_activation_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0];
    int64_t n = x->shape[x->rank - 1], rows = n ? tide_buf_numel(x) / n : 0;
    if (c->out[0].p != x->p)
        memcpy(c->out[0].p, x->p, (size_t)(rows * n) * sizeof(REAL)); /* engines call it in place */
    K(bias_act)(rows, n, c->out[0].p, n, c->in[1].p, at->activation);
    return TIDE_OK;
}

/* -- matmul: batches of products, broadcast -- */
tide_status K(matmul)(tide_kcall *c);
tide_status K(matmul)(tide_kcall *c) {
    const tide_buf *a = &c->in[0], *b = &c->in[1], *o = &c->out[0];
    int va = a->rank == 1, vb = b->rank == 1, ra = va ? 0 : a->rank - 2, rb = vb ? 0 : b->rank - 2,
        r = TIDE_MAX(ra, rb);
    tide_gemm g = {.k = a->shape[a->rank - 1],
                   .acs = a->stride[a->rank - 1],
                   .a = a->p,
                   .b = b->p,
                   .c = o->p,
                   .a_half = half_of(a),
                   .b_half = half_of(b),
                   .c_half = half_of(o)};
    g.m = va ? 1 : a->shape[ra], g.ars = va ? g.k : a->stride[ra];
    g.n = vb ? 1 : b->shape[rb + 1], g.bcs = vb ? 1 : b->stride[rb + 1],
    g.brs = b->stride[vb ? 0 : rb];
    g.ldc = g.n;
    tide_batch t = {.rank = r};
    int64_t batch = 1;
    for (int d = 0; d < r; d++) {
        int da = d - (r - ra), db = d - (r - rb);
        t.extent[d] = o->shape[d];
        t.as[d] = da >= 0 && a->shape[da] != 1 ? a->stride[da] : 0;
        t.bs[d] = db >= 0 && b->shape[db] != 1 ? b->stride[db] : 0;
        batch *= t.extent[d];
    }
    /* One matrix on the right and rows that follow each other: a single, taller product. */
    int tall = r > 0 && g.m > 0 && batch > 0;
    for (int d = 0; d < r && tall; d++) tall = t.bs[d] == 0;
    for (int64_t d = r - 1, step = g.m * g.ars; d >= 0 && tall; step *= t.extent[d], d--)
        tall = t.extent[d] == 1 || t.as[d] == step;
    if (tall) g.m *= batch, batch = 1, t.rank = 0;
    if (t.rank > 0) g.batch = &t;
    return K(product)(c->dev, &g, NULL, TIDE_ACTIVATION_linear);
}
