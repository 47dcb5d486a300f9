/* The linear layer: y = act(x w + b);  dz = dy act', dx = dz w^T, dw = x^T dz, db = sum of dz's
 * rows. float16 and bfloat16 are multiplied and summed in float32: a kernel is widened while the
 * product packs it, so that no copy of it is made for batches of up to 64 rows. */
#include "gemm.h"
#include "half.h"

typedef struct {
    int64_t rows, in, out;
    int half;                   /* dtype of the tensors, where it is one; else 0 */
    const void *x, *w, *y, *dy; /* y, dy: of the gradient */
    const REAL *bias;
    REAL *result[3]; /* y, or dx, dw, db */
} layer;

static layer layer_of(const tide_kcall *c) {
    const tide_buf *x = &c->in[0], *w = &c->in[1];
    layer l = {.rows = 1, .in = w->shape[0], .out = w->shape[1], .x = x->p, .w = w->p};
    for (int d = 0; d < x->rank - 1; d++) l.rows *= x->shape[d];
    if (tide_is_half(x->dtype)) l.half = x->dtype;
    for (int i = 0; i < c->nout; i++) l.result[i] = c->out[i].p;
    return l;
}

/* w is read as it is stored, widened while it is packed, or in one go where the product that
 * follows is large beside that and an engine's is faster. */
#define WIDE_ROWS 64
static int w_as_stored(const layer *l) { return !l->half || l->rows <= WIDE_ROWS; }

static void forward(const layer *l, int act) {
    tide_gemm g = {.m = l->rows,
                   .n = l->out,
                   .k = l->in,
                   .a = l->x,
                   .ars = l->in,
                   .acs = 1,
                   .b = l->w,
                   .brs = l->out,
                   .bcs = 1,
                   .c = l->result[0],
                   .ldc = l->out,
                   .half = w_as_stored(l) ? l->half : 0};
    K(gemm_act)(&g, l->bias, act);
}

static tide_status backward(tide_device *dev, const layer *l, int act, int needs) {
    const int64_t rows = l->rows, in = l->in, out = l->out;
    const REAL *dz = l->dy;
    if (act != TIDE_ACTIVATION_linear) {
        REAL *own = tide_scratch(dev, (size_t)(rows * out) * sizeof *own);
        if (!own) return TIDE_ENOMEM;
        K(act_grad)(rows, out, dz, l->y, act, own);
        dz = own;
    }
    if (needs & 1) {
        tide_gemm g = {.m = rows,
                       .n = in,
                       .k = out,
                       .a = dz,
                       .ars = out,
                       .acs = 1,
                       .b = l->w,
                       .brs = 1,
                       .bcs = out,
                       .c = l->result[0],
                       .ldc = in,
                       .half = w_as_stored(l) ? l->half : 0};
        K(gemm)(&g);
    }
    if (needs & 2) {
        tide_gemm g = {.m = in,
                       .n = out,
                       .k = rows,
                       .a = l->x,
                       .ars = 1,
                       .acs = in,
                       .b = dz,
                       .brs = out,
                       .bcs = 1,
                       .c = l->result[1],
                       .ldc = out};
        K(gemm)(&g);
    }
    return needs & 4 ? K(colsum)(dev, rows, out, dz, l->result[2]) : TIDE_OK;
}

#if REAL_IS_FLOAT
/* Where float32 stands for the halves of a call, one after the other in its work space. */
static int64_t room(int64_t n) { return (n + 15) & ~(int64_t)15; }
static const void *widen_all(const tide_buf *b, int64_t n, REAL **at) {
    REAL *to = *at;
    if (!b->p) return NULL;
    TIDE_PARALLEL_FOR (n, 65536) { K(widen)(b->dtype, hi - lo, (uint16_t *)b->p + lo, to + lo); }
    *at += room(n);
    return to;
}
static void narrow_all(const REAL *from, int64_t n, const tide_buf *b) {
    TIDE_PARALLEL_FOR (n, 65536) { K(narrow)(b->dtype, hi - lo, from + lo, (uint16_t *)b->p + lo); }
}

static tide_status halves_forward(tide_kcall *c, layer *l, int act) {
    const int64_t nx = l->rows * l->in, nw = w_as_stored(l) ? 0 : l->in * l->out,
                  ny = l->rows * l->out;
    REAL *at = tide_scratch(
        c->dev, (size_t)(room(nx) + room(nw) + room(ny) + room(l->out) + 16) * sizeof(REAL));
    if (!at) return TIDE_ENOMEM;
    l->x = widen_all(&c->in[0], nx, &at);
    if (nw) l->w = widen_all(&c->in[1], nw, &at);
    l->bias = widen_all(&c->in[2], l->out, &at);
    l->result[0] = at;
    forward(l, act);
    narrow_all(at, ny, &c->out[0]);
    return TIDE_OK;
}

static tide_status halves_backward(tide_kcall *c, layer *l, int act, int needs) {
    const int64_t nx = l->rows * l->in, nw = l->in * l->out, ny = l->rows * l->out;
    const int64_t result[3] = {nx, nw, l->out};
    REAL *at = tide_scratch(
        c->dev,
        (size_t)(2 * room(nx) + 2 * room(nw) + 2 * room(ny) + room(l->out) + 16) * sizeof(REAL));
    if (!at) return TIDE_ENOMEM;
    if (needs & 2) l->x = widen_all(&c->in[0], nx, &at);
    if (needs & 1 && !w_as_stored(l)) l->w = widen_all(&c->in[1], nw, &at);
    if (act != TIDE_ACTIVATION_linear) l->y = widen_all(&c->in[2], ny, &at);
    l->dy = widen_all(&c->in[3], ny, &at);
    for (int i = 0; i < 3; i++) l->result[i] = at, at += needs >> i & 1 ? room(result[i]) : 0;
    TIDE_DO(backward(c->dev, l, act, needs));
    for (int i = 0; i < 3; i++)
        if (needs >> i & 1) narrow_all(l->result[i], result[i], &c->out[i]);
    return TIDE_OK;
}
#else
#define halves_forward(c, l, act) TIDE_DECLINE
#define halves_backward(c, l, act, needs) TIDE_DECLINE
#endif

tide_status K(linear)(tide_kcall *c);
tide_status K(linear)(tide_kcall *c) {
    const int act = ((const tide_linear_attrs *)c->attrs)->activation;
    layer l = layer_of(c);
    if (l.half) return halves_forward(c, &l, act);
    l.bias = c->in[2].p;
    forward(&l, act);
    return TIDE_OK;
}

tide_status K(linear_grad)(tide_kcall *c);
tide_status K(linear_grad)(tide_kcall *c) {
    const tide_linear_grad_attrs *at = c->attrs;
    const int act = at->activation;
    layer l = layer_of(c);
    if (l.half) return halves_backward(c, &l, act, at->needs);
    l.y = c->in[2].p, l.dy = c->in[3].p;
    return backward(c->dev, &l, act, at->needs);
}
