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
enum { RUN = 65536, SMALL = 4096 }; /* elements per thread; and that stay in the cache */
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
    TIDE_PARALLEL_FOR (n, RUN) { K(widen)(b->dtype, hi - lo, (uint16_t *)b->p + lo, to + lo); }
    *at += room(n);
    return to;
}
static void narrow_all(const REAL *from, int64_t n, const tide_buf *b) {
    TIDE_PARALLEL_FOR (n, RUN) { K(narrow)(b->dtype, hi - lo, from + lo, (uint16_t *)b->p + lo); }
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
typedef struct {
    tide_gemm one;
    int rank;
    int64_t extent[TIDE_MAX_RANK], as[TIDE_MAX_RANK], bs[TIDE_MAX_RANK];
} batches;

/* Elements from the start of a and of b to the i-th of their matrices. */
static void place_of(const batches *t, int64_t i, int64_t *ao, int64_t *bo) {
    *ao = *bo = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        *ao += i % t->extent[d] * t->as[d], *bo += i % t->extent[d] * t->bs[d];
        i /= t->extent[d];
    }
}

static void some_products(const batches *t, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; i++) {
        tide_gemm g = t->one;
        int64_t ao, bo;
        place_of(t, i, &ao, &bo);
        g.a = (const REAL *)g.a + ao;
        g.b = (const REAL *)g.b + bo;
        g.c = (REAL *)g.c + i * g.m * g.n;
        K(gemm)(&g);
    }
}

/* Large products are parallel inside, many small ones side by side: the grain, or 0. */
static int64_t side_by_side(const tide_gemm *g, int64_t batch) {
    const double work = (double)g->m * (double)g->n * ((double)g->k + 1) + 1;
    const int64_t grain = TIDE_MAX(1, (int64_t)((1 << 18) / work));
    const int inside = batch <= grain || (work > 1 << 22 && batch < 16) || tide_num_threads() == 1;
    return inside ? 0 : grain;
}

#if REAL_IS_FLOAT
/* A matrix of halves as float32, its rows or, where those lie side by side, its columns one after
 * the other; strides become those of the copy. */
static const REAL *widen_matrix(int dtype, int64_t rows, int64_t cols, const uint16_t *x,
                                int64_t *rs, int64_t *cs, REAL *to) {
    const int turned = *rs == 1 && *cs != 1;
    const int64_t n = turned ? rows : cols, lines = turned ? cols : rows, step = turned ? *cs : *rs,
                  apart = turned ? *rs : *cs;
    *rs = turned ? 1 : cols, *cs = turned ? rows : 1;
    if (apart == 1 && step == n) {
        if (lines * n <= RUN) K(widen)(dtype, lines * n, x, to);
        else
            TIDE_PARALLEL_FOR (lines *n, RUN) { K(widen)(dtype, hi - lo, x + lo, to + lo); }
        return to;
    }
    TIDE_PARALLEL_FOR (lines, TIDE_MAX(1, RUN / TIDE_MAX(n, 1))) {
        for (int64_t i = lo; i < hi; i++) {
            if (apart == 1) K(widen)(dtype, n, x + i * step, to + i * n);
            for (int64_t j = 0; j < n && apart != 1; j++)
                to[i * n + j] = tide_from_half(dtype, x[i * step + j * apart]);
        }
    }
    return to;
}

/* Products of halves. What all of them share is widened once (`a`, `b`, else NULL), the rest for
 * each product, in work space that a thread uses again and again. */
typedef struct {
    batches t;
    int dtype;
    uint16_t *out;
    const REAL *a, *b;
    int64_t own_a, own_b; /* elements that a product widens itself */
} half_batches;

static void some_half_products(const half_batches *h, int64_t first, int64_t end, REAL *at) {
    const tide_gemm *one = &h->t.one;
    REAL *own_b = at + h->own_a, *c = own_b + h->own_b;
    const int64_t size = one->m * one->n;
    for (int64_t i = first; i < end; i++) {
        tide_gemm g = *one;
        int64_t ao, bo;
        place_of(&h->t, i, &ao, &bo);
        const uint16_t *a = (const uint16_t *)g.a + ao, *b = (const uint16_t *)g.b + bo;
        uint16_t *y = h->out + i * size;
        g.a = h->a ? h->a : widen_matrix(h->dtype, g.m, g.k, a, &g.ars, &g.acs, at);
        if (h->b) g.b = h->b;
        else if (g.half) g.b = b;
        else g.b = widen_matrix(h->dtype, g.k, g.n, b, &g.brs, &g.bcs, own_b);
        g.c = c;
        K(gemm)(&g);
        if (size <= RUN) K(narrow)(h->dtype, size, c, y);
        else
            TIDE_PARALLEL_FOR (size, RUN) { K(narrow)(h->dtype, hi - lo, c + lo, y + lo); }
    }
}

static tide_status half_matmul(tide_kcall *c, const batches *t, int64_t batch) {
    half_batches h = {.t = *t, .dtype = c->out[0].dtype, .out = c->out[0].p};
    tide_gemm *g = &h.t.one;
    int shared_a = 1, shared_b = 1;
    for (int d = 0; d < t->rank; d++) shared_a &= t->as[d] == 0, shared_b &= t->bs[d] == 0;
    const int64_t na = room(g->m * g->k), nb = room(g->k * g->n), nc = room(g->m * g->n);
    if (g->m <= WIDE_ROWS && g->k * g->n > SMALL) g->half = h.dtype;
    if (shared_a) {
        REAL *at = tide_scratch(c->dev, (size_t)(na + 16) * sizeof *at);
        if (!at) return TIDE_ENOMEM;
        h.a = widen_matrix(h.dtype, g->m, g->k, g->a, &g->ars, &g->acs, at);
    } else h.own_a = na;
    if (shared_b && !g->half) {
        REAL *at = tide_scratch(c->dev, (size_t)(nb + 16) * sizeof *at);
        if (!at) return TIDE_ENOMEM;
        h.b = widen_matrix(h.dtype, g->k, g->n, g->b, &g->brs, &g->bcs, at);
    } else if (!g->half) h.own_b = nb;
    const int64_t grain = side_by_side(g, batch);
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, grain ? batch : 1, TIDE_MAX(grain, 1),
                           (size_t)(h.own_a + h.own_b + nc + 16) * sizeof(REAL), &lanes));
    if (!grain) {
        some_half_products(&h, 0, batch, tide_lane(&lanes, 0));
        return TIDE_OK;
    }
    const tide_gemm_hook *hook = tide_gemm_now;
    TIDE_PARALLEL_FOR (batch, grain) {
        const tide_gemm_hook *outer = tide_gemm_now;
        tide_gemm_now = hook;
        some_half_products(&h, lo, hi, tide_lane(&lanes, share_->slot));
        tide_gemm_now = outer;
    }
    return TIDE_OK;
}
#else
#define half_matmul(c, t, batch) TIDE_DECLINE
#endif

tide_status K(matmul)(tide_kcall *c);
tide_status K(matmul)(tide_kcall *c) {
    const tide_buf *a = &c->in[0], *b = &c->in[1], *o = &c->out[0];
    int va = a->rank == 1, vb = b->rank == 1, ra = va ? 0 : a->rank - 2, rb = vb ? 0 : b->rank - 2,
        r = TIDE_MAX(ra, rb);
    tide_gemm g = {
        .k = a->shape[a->rank - 1], .acs = a->stride[a->rank - 1], .a = a->p, .b = b->p, .c = o->p};
    g.m = va ? 1 : a->shape[ra], g.ars = va ? g.k : a->stride[ra];
    g.n = vb ? 1 : b->shape[rb + 1], g.bcs = vb ? 1 : b->stride[rb + 1],
    g.brs = b->stride[vb ? 0 : rb];
    g.ldc = g.n;
    batches t = {.rank = r};
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
    t.one = g;
    if (tide_is_half(o->dtype)) return half_matmul(c, &t, batch);
    const tide_gemm_hook *hook = tide_gemm_now;
    const int64_t grain = side_by_side(&g, batch);
    if (!grain) {
        some_products(&t, 0, batch);
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (batch, grain) {
        const tide_gemm_hook *outer = tide_gemm_now;
        tide_gemm_now = hook;
        some_products(&t, lo, hi);
        tide_gemm_now = outer;
    }
    return TIDE_OK;
}
