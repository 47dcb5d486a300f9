/* Convolutions by oneDNN: channels-last data as it lies, weights in the layout that the library
 * asks for.
 *
 * The library counts weights as (groups, F/groups, C/groups, spatial) whatever their layout; Tide's
 * (k..., C/groups, F) is one of the layouts it can be told about, by strides. */
#define TIDE_POLLED
#include "onednn.h"

#include "../cpu/cpu.h"
#include "../engines.h"
#include "../fold.h"
#include "../gemm.h"
#include "../geometry.h"
#include "../parallel.h"

#include <string.h>

#ifndef TIDE_HAS_ONEDNN

tide_status tide_dnnl_conv(tide_kcall *c) { return (void)c, TIDE_DECLINE; }
tide_status tide_dnnl_conv_norm(tide_kcall *c) { return (void)c, TIDE_DECLINE; }
tide_status tide_dnnl_conv_grad_x(tide_kcall *c) { return (void)c, TIDE_DECLINE; }
tide_status tide_dnnl_conv_grad_kernel(tide_kcall *c) { return (void)c, TIDE_DECLINE; }

#else

enum { FORWARD, GRAD_X, GRAD_KERNEL };
enum { BIAS = 1, BF16 = 2 }; /* flags of the key; the activation from bit 8 */

/* A key's numbers: x's shape, y's shape, kernel's extents, strides, dilations, zeros before,
 * groups. */
typedef struct {
    int nd;
    int64_t *x, *y, *k, *stride, *dil, *lo, *groups;
} fields;
static fields fields_of(tide_dnnl_key *key) {
    int64_t *v = key->v;
    return (fields){key->nd, v, v + 5, v + 10, v + 13, v + 16, v + 19, v + 22};
}

static tide_dnnl_key key_of(int kind, const tide_buf *x, const tide_buf *y, const int64_t *k,
                            const tide_ints *strides, const tide_ints *dil, const tide_pairs *pads,
                            int64_t groups, int flags) {
    tide_dnnl_key key;
    memset(&key, 0, sizeof key);
    key.kind = kind, key.nd = x->rank - 2, key.flags = flags;
    fields f = fields_of(&key);
    for (int i = 0; i < x->rank; i++) f.x[i] = x->shape[i], f.y[i] = y->shape[i];
    for (int i = 0; i < key.nd; i++)
        f.k[i] = k[i], f.stride[i] = strides->v[i], f.dil[i] = dil->v[i], f.lo[i] = pads->v[i][0];
    *f.groups = groups;
    return key;
}

static dnnl_data_type_t type_of(const tide_dnnl_key *key) {
    return key->flags & BF16 ? dnnl_bf16 : dnnl_f32;
}

/* (N, ..., C) as the library's (N, C, ...) */
static int data_desc(dnnl_memory_desc_t *md, int nd, const int64_t *shape, dnnl_data_type_t type) {
    dnnl_dims_t dims = {shape[0], shape[nd + 1]}, strides = {0, 1};
    int64_t step = shape[nd + 1];
    for (int i = nd; i >= 1; i--) dims[1 + i] = shape[i], strides[1 + i] = step, step *= shape[i];
    strides[0] = step;
    return tide_dnnl.memory_desc_init_by_strides(md, nd + 2, dims, type, strides) == dnnl_success;
}

/* (k..., C/groups, F) as the library's ([groups,] F/groups, C/groups, k...): as it lies, and free
 * to choose. */
static int weight_descs(const fields *f, dnnl_data_type_t type, dnnl_memory_desc_t *plain,
                        dnnl_memory_desc_t *any) {
    int64_t g = *f->groups, c = f->x[f->nd + 1] / g, out = f->y[f->nd + 1], step = c * out;
    int n = 0;
    dnnl_dims_t dims, strides;
    if (g > 1) dims[n] = g, strides[n++] = out / g;
    dims[n] = out / g, strides[n++] = 1;
    dims[n] = c, strides[n++] = out;
    for (int i = f->nd - 1; i >= 0; i--)
        dims[n + i] = f->k[i], strides[n + i] = step, step *= f->k[i];
    n += f->nd;
    return tide_dnnl.memory_desc_init_by_strides(plain, n, dims, type, strides) == dnnl_success &&
        tide_dnnl.memory_desc_init_by_tag(any, n, dims, type, dnnl_format_tag_any) == dnnl_success;
}

/* An activation in the library's words; 0 where there is none. */
static dnnl_alg_kind_t eltwise(int act, float *alpha, float *beta) {
    static const dnnl_alg_kind_t alg[] = {
        [TIDE_ACTIVATION_linear] = dnnl_alg_kind_undef,
        [TIDE_ACTIVATION_relu] = dnnl_eltwise_relu,
        [TIDE_ACTIVATION_relu6] = dnnl_eltwise_clip,
        [TIDE_ACTIVATION_sigmoid] = dnnl_eltwise_logistic,
        [TIDE_ACTIVATION_tanh] = dnnl_eltwise_tanh,
        [TIDE_ACTIVATION_elu] = dnnl_eltwise_elu,
        [TIDE_ACTIVATION_gelu] = dnnl_eltwise_gelu_erf,
        [TIDE_ACTIVATION_silu] = dnnl_eltwise_swish,
    };
    *alpha = act == TIDE_ACTIVATION_elu || act == TIDE_ACTIVATION_silu ? 1 : 0;
    *beta = act == TIDE_ACTIVATION_relu6 ? 6 : 0; /* clip to 0..6 */
    return alg[act];
}

static int make_conv(tide_dnnl_prim *p, const void *unused) {
    (void)unused;
    fields f = fields_of(&p->key);
    dnnl_memory_desc_t x, y, plain, w, bias;
    dnnl_dims_t strides, dil, lo, hi, nf = {f.y[f.nd + 1]}, one = {1};
    int has_bias = p->key.flags & BIAS, act = p->key.flags >> 8, kind = p->key.kind, ok = 0;
    const dnnl_data_type_t type = type_of(&p->key);
    if (!data_desc(&x, f.nd, f.x, type) || !data_desc(&y, f.nd, f.y, type) ||
        !weight_descs(&f, type, &plain, &w) ||
        tide_dnnl.memory_desc_init_by_strides(&bias, 1, nf, type, one) != dnnl_success)
        return 0;
    for (int i = 0; i < f.nd; i++) {
        strides[i] = f.stride[i], dil[i] = f.dil[i] - 1, lo[i] = f.lo[i];
        hi[i] = (f.y[1 + i] - 1) * f.stride[i] + (f.k[i] - 1) * f.dil[i] + 1 - f.x[1 + i] - lo[i];
    }
    dnnl_convolution_desc_t cd, fd;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL, hint = NULL;
    if (tide_dnnl.primitive_attr_create(&attr) != dnnl_success) return 0;
    if (tide_dnnl.primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) !=
        dnnl_success)
        goto out;
    if (tide_dnnl.dilated_convolution_forward_desc_init(
            &fd, dnnl_forward_training, dnnl_convolution_direct, &x, &w, has_bias ? &bias : NULL,
            &y, strides, dil, lo, hi) != dnnl_success)
        goto out;
    if (kind == FORWARD) {
        if (act) {
            float alpha, beta;
            dnnl_alg_kind_t alg = eltwise(act, &alpha, &beta);
            if (tide_dnnl.post_ops_create(&ops) != dnnl_success ||
                tide_dnnl.post_ops_append_eltwise(ops, 1, alg, alpha, beta) != dnnl_success ||
                tide_dnnl.primitive_attr_set_post_ops(attr, ops) != dnnl_success)
                goto out;
        }
        ok = tide_dnnl_create(p, &fd, attr, NULL, &pd) && tide_dnnl_add(p, DNNL_ARG_SRC, &x) &&
            tide_dnnl_add(p, DNNL_ARG_DST, &y) &&
            tide_dnnl_relay(p, pd, dnnl_query_weights_md, &plain, 1) &&
            tide_dnnl_add(p, DNNL_ARG_WEIGHTS, &p->wanted) &&
            (!has_bias || tide_dnnl_add(p, DNNL_ARG_BIAS, &bias));
        goto out;
    }
    if (tide_dnnl.primitive_desc_create(&hint, &fd, NULL, tide_dnnl.engine, NULL) != dnnl_success) {
        hint = NULL;
        goto out;
    }
    if (kind == GRAD_X)
        ok = tide_dnnl.dilated_convolution_backward_data_desc_init(
                 &cd, dnnl_convolution_direct, &x, &w, &y, strides, dil, lo, hi) == dnnl_success &&
            tide_dnnl_create(p, &cd, attr, hint, &pd) && tide_dnnl_add(p, DNNL_ARG_DIFF_DST, &y) &&
            tide_dnnl_add(p, DNNL_ARG_DIFF_SRC, &x) &&
            tide_dnnl_relay(p, pd, dnnl_query_weights_md, &plain, 1) &&
            tide_dnnl_add(p, DNNL_ARG_WEIGHTS, &p->wanted);
    else
        ok = tide_dnnl.dilated_convolution_backward_weights_desc_init(
                 &cd, dnnl_convolution_direct, &x, &w, has_bias ? &bias : NULL, &y, strides, dil,
                 lo, hi) == dnnl_success &&
            tide_dnnl_create(p, &cd, attr, hint, &pd) && tide_dnnl_add(p, DNNL_ARG_SRC, &x) &&
            tide_dnnl_add(p, DNNL_ARG_DIFF_DST, &y) &&
            tide_dnnl_relay(p, pd, dnnl_query_diff_weights_md, &plain, 0) &&
            tide_dnnl_add(p, DNNL_ARG_DIFF_WEIGHTS, &p->wanted) &&
            (!has_bias || tide_dnnl_add(p, DNNL_ARG_DIFF_BIAS, &bias));
out:
    if (pd) tide_dnnl.primitive_desc_destroy(pd);
    if (hint) tide_dnnl.primitive_desc_destroy(hint);
    if (ops) tide_dnnl.post_ops_destroy(ops);
    tide_dnnl.primitive_attr_destroy(attr);
    return ok;
}

static int empty(const tide_buf *b) { return tide_buf_numel(b) == 0; }
static size_t rounded(size_t n) { return (n + 63) & ~(size_t)63; }

/* Whether the chosen level's own kernels have Winograd's convolution. */
static int has_winograd(void) {
    return tide_plain_table &&
        (tide_plain_table == tide_plain_v3 || tide_plain_table == tide_plain_v4);
}

/* What Tide's own kernels, reached through the engines after this one, do faster: Winograd's
 * convolution, the gradient of an x of one channel (twice to three times), and with AVX2, unless
 * engines were named, all that they have good kernels for (spec/bench/convolutions.lua; with
 * AVX-512 they were not compared). */
static int leave_to_plain(const tide_dnnl_key *key) {
    fields f = fields_of((tide_dnnl_key *)key);
    tide_geometry g = {.nd = f.nd,
                       .n = f.x[0],
                       .c = f.x[f.nd + 1],
                       .f = f.y[f.nd + 1],
                       .groups = *f.groups,
                       .in = {1, 1, 1},
                       .k = {1, 1, 1},
                       .out = {1, 1, 1},
                       .stride = {1, 1, 1},
                       .dil = {1, 1, 1}};
    for (int i = 0, d = 3 - f.nd; i < f.nd; i++, d++)
        g.in[d] = f.x[1 + i], g.k[d] = f.k[i], g.out[d] = f.y[1 + i], g.stride[d] = f.stride[i],
        g.dil[d] = f.dil[i], g.lo[d] = f.lo[i];
    if (key->kind == GRAD_X && g.c == 1 && tide_thin_grad_x(&g)) return 1;
    if (has_winograd() && tide_winograd_fits(&g)) return 1;
    if (!tide_own_first || tide_plain_table != tide_plain_v3 || key->flags & BF16) return 0;
    if (g.groups > 1) return g.groups == g.c && g.f == g.c && g.c >= 8;
    return g.f >= 8 && tide_direct_fits(&g);
}

/* Would the library's 1x1 code for the kernel's gradient go wrong? With strides it gathers the
 * pixels that the windows meet into a buffer of (pixels, channels) per thread, by whole vectors of
 * channels. With fewer channels than a vector has elements (8 with AVX2, 16 with AVX-512) the end
 * of each lies in the next thread's buffer or behind the last one: wrong results, a broken heap,
 * threads that wait for ever. */
static int gather_overruns(const tide_geometry *g) {
    int strided = 0;
    for (int d = 0; d < 3; d++) {
        if (g->k[d] != 1) return 0;
        strided |= g->stride[d] != 1;
    }
    return strided && g->c / g->groups < 16;
}

/* The pixels of x that 1x1 windows meet, side by side; zeros for those that lie outside. */
static void gather(const tide_geometry *g, const float *x, float *to) {
    const int64_t c = g->c, width = g->out[2] * c;
    const size_t bytes = (size_t)c * sizeof *to;
    TIDE_PARALLEL_FOR (g->n * g->out[0] * g->out[1], 32768 / width + 1) {
        for (int64_t row = lo; row < hi; row++) {
            const int64_t n = row / g->out[1] / g->out[0];
            const int64_t i = row / g->out[1] % g->out[0] * g->stride[0] - g->lo[0];
            const int64_t j = row % g->out[1] * g->stride[1] - g->lo[1];
            const int inside = i >= 0 && i < g->in[0] && j >= 0 && j < g->in[1];
            const float *from = inside ? x + ((n * g->in[0] + i) * g->in[1] + j) * g->in[2] * c : x;
            for (int64_t l = 0; l < g->out[2]; l++) {
                const int64_t at = l * g->stride[2] - g->lo[2];
                float *pixel = to + row * width + l * c;
                if (inside && at >= 0 && at < g->in[2]) memcpy(pixel, from + at * c, bytes);
                else memset(pixel, 0, bytes);
            }
        }
    }
}

/* -- pieces of a call: some of the images, or some rows of the result of one of them -- */

enum { MOST_PIECES = 256, FEW_IMAGES = 3, LEAST_ROWS = 4 };
#define LONG_PIECE 1e9    /* and at most, for nobody hears Ctrl-C within one */
#define DEAF 4e9          /* or at the very most: a fifth of a second */
#define PIECE_WORK 1e6    /* multiplications of a piece at least, some 20 microseconds, */
#define SECOND_THREAD 4e5 /* unless there are two: from here on a second thread pays */

typedef struct {
    tide_dnnl_prim *prim;
    int64_t x, y; /* elements before the piece */
} piece;
typedef struct {
    int n, round; /* round: as many at once, where sums of each take work space */
    size_t pad;   /* bytes of work space that any of them needs */
    piece at[MOST_PIECES];
} pieces;

static int64_t product_of(int n, const int64_t *e) {
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= e[i];
    return p;
}

/* How many pieces: by size alone, so that results do not depend on threads. A gradient of the
 * kernel is summed over pieces, which must stay cheap beside what they compute. */
static int64_t count_of(const fields *f, int kind, double kernel) {
    const double work = (double)product_of(f->nd + 1, f->y) * kernel;
    double n = work / PIECE_WORK;
    n = n < 16 ? n : work / (16 * PIECE_WORK) < 16 ? 16 : work / (16 * PIECE_WORK);
    if (n < 2 && work >= SECOND_THREAD) n = 2;
    if (kind == GRAD_KERNEL) {
        if (n > work / (32 * kernel)) n = work / (32 * kernel);
        if (n > (1 << 24) / kernel) n = (1 << 24) / kernel;
    }
    if (n < work / LONG_PIECE) n = work / LONG_PIECE;
    return n < 2 ? 1 : n > MOST_PIECES ? MOST_PIECES : (int64_t)n / 2 * 2;
}

static int add_piece(pieces *all, const tide_dnnl_key *key, int64_t x, int64_t y) {
    tide_dnnl_prim *p = tide_dnnl_get(key, make_conv, NULL);
    if (!p || p->refused) return 0;
    all->at[all->n++] = (piece){p, x, y};
    all->pad = TIDE_MAX(all->pad, rounded(p->pad_bytes));
    return 1;
}

/* Rows r0..r1-1 of image i's result and the rows of x that they read. */
static int add_rows(pieces *all, const tide_dnnl_key *whole, int64_t i, int64_t r0, int64_t r1) {
    tide_dnnl_key key = *whole;
    fields f = fields_of(&key);
    const int64_t in = f.x[1], across = product_of(f.nd, f.x + 2), out = f.y[1],
                  top = r0 * *f.stride - *f.lo,
                  end = (r1 - 1) * *f.stride - *f.lo + (*f.k - 1) * *f.dil + 1;
    const int64_t first = top > 0 ? top : 0, last = end < in ? end : in;
    if (first >= last) return 0;
    f.x[0] = f.y[0] = 1, f.x[1] = last - first, f.y[1] = r1 - r0, *f.lo = first - top;
    return add_piece(all, &key, (i * in + first) * across,
                     (i * out + r0) * product_of(f.nd, f.y + 2));
}

/* Rows r0..r1-1 of the gradient of image i and the rows of dy that reach them. */
static int add_rows_of_x(pieces *all, const tide_dnnl_key *whole, int64_t i, int64_t r0,
                         int64_t r1) {
    tide_dnnl_key key = *whole;
    fields f = fields_of(&key);
    const int64_t in = f.x[1], out = f.y[1], s = *f.stride,
                  top = r0 + *f.lo - (*f.k - 1) * *f.dil; /* of the last tap, times s */
    const int64_t first = top > 0 ? TIDE_CEIL_DIV(top, s) : 0,
                  last = TIDE_MIN(out, (r1 - 1 + *f.lo) / s + 1), lo = *f.lo + r0 - first * s;
    if (first >= last || lo < 0) return 0;
    f.x[0] = f.y[0] = 1, f.x[1] = r1 - r0, f.y[1] = last - first, *f.lo = lo;
    return add_piece(all, &key, (i * in + r0) * product_of(f.nd, f.x + 2),
                     (i * out + first) * product_of(f.nd, f.y + 2));
}

/* Fills `all`; 0: the library has nothing for the call, or only pieces in which nobody would hear
 * Ctrl-C: other engines have shorter ones. */
static int cut(pieces *all, const tide_dnnl_key *whole, int64_t kernel) {
    tide_dnnl_key key = *whole;
    const fields f = fields_of(&key);
    const int64_t images = f.x[0], in = product_of(f.nd + 1, f.x + 1),
                  out = product_of(f.nd + 1, f.y + 1);
    const double work = (double)kernel / (double)*f.groups,
                 image = (double)product_of(f.nd, f.y + 1) * work;
    const int64_t n = count_of(&f, key.kind, work), rows = key.kind == GRAD_X ? f.x[1] : f.y[1],
                  bands = TIDE_MIN(n / images, rows / LEAST_ROWS);
    const int few = key.kind != GRAD_KERNEL && images <= FEW_IMAGES, large = image > LONG_PIECE;
    all->round = (int)TIDE_MAX(2, (1 << 24) / (kernel + 1));
    /* bands, of which the library may want the weights of the first otherwise; else images */
    for (int banded = (few || large) && bands > 1; banded >= 0; banded--) {
        int ok = banded || image <= DEAF;
        all->n = 0, all->pad = 0;
        for (int64_t i = 0; banded && i < images * bands && ok; i++) {
            const int64_t r0 = i % bands * rows / bands, r1 = (i % bands + 1) * rows / bands;
            ok = (key.kind == GRAD_X ? add_rows_of_x : add_rows)(all, whole, i / bands, r0, r1);
        }
        const int64_t some = banded ? 0 : TIDE_MIN(n, images);
        for (int64_t i = 0; i < some && ok; i++) {
            const int64_t first = i * images / some;
            f.x[0] = f.y[0] = (i + 1) * images / some - first;
            ok = add_piece(all, &key, first * in, first * out);
        }
        for (int i = 1; i < all->n && ok; i++) {
            const tide_dnnl_prim *p = all->at[0].prim, *q = all->at[i].prim;
            ok = !p->relay == !q->relay && tide_dnnl.memory_desc_equal(&p->wanted, &q->wanted);
        }
        if (ok) return 1;
    }
    /* a piece that does not go, or weights in two layouts: one thread does it all */
    all->n = 0, all->pad = 0;
    return image * (double)images <= DEAF && add_piece(all, whole, 0, 0);
}

/* The cuts of the last calls: in a network's next one each is a single look. */
enum { CUTS = 128 };
static const pieces *cut_of(const tide_dnnl_key *key, int64_t kernel) {
    static struct {
        tide_dnnl_key key;
        int64_t kernel;
        uint64_t evictions; /* when it was made; primitives may be gone since */
        pieces all;
    } cuts[CUTS], *c;
    c = &cuts[tide_dnnl_hash(key) % CUTS];
    if (c->all.n && c->evictions == tide_dnnl_evictions && c->kernel == kernel &&
        !memcmp(&c->key, key, sizeof *key))
        return &c->all;
    if (!cut(&c->all, key, kernel)) {
        c->all.n = 0;
        return NULL;
    }
    c->key = *key, c->kernel = kernel, c->evictions = tide_dnnl_evictions;
    return &c->all;
}

/* A piece's sums of a kernel's gradient, then of the bias'; `more`: to those that are there. */
static void add_up(const float *part, int64_t step, int n, int64_t size, float *to, int more) {
    TIDE_PARALLEL_FOR (size, 16384) {
        if (more)
            for (int64_t i = lo; i < hi; i++) to[i] += part[i];
        else
            for (int64_t i = lo; i < hi; i++) to[i] = part[i];
        for (int p = 1; p < n; p++)
            for (int64_t i = lo; i < hi; i++) to[i] += part[p * step + i];
    }
}

/* `n` pieces from `from` on. */
static int run_pieces(const pieces *all, int from, int n, const char *x, const char *y,
                      char *weights, char *bias, size_t step, char *pads, size_t pad) {
    _Atomic int failed = 0;
    const int turned = all->at->prim->key.kind == GRAD_X,
              size = all->at->prim->key.flags & BF16 ? 2 : 4;
    TIDE_PARALLEL_FOR (n, 1) {
        for (int64_t i = lo; i < hi; i++) {
            const piece *p = &all->at[from + i];
            void *first = (void *)(x + p->x * size), *second = (void *)(y + p->y * size);
            void *handles[] = {turned ? second : first, turned ? first : second,
                               weights + (size_t)i * step, bias ? bias + (size_t)i * step : NULL};
            if (!tide_dnnl_run(p->prim, share_->slot, handles, pads + (size_t)share_->slot * pad))
                failed = 1;
        }
    }
    return !failed;
}

/* `w` is read or, for the gradient of the kernel, written. `sparse` (or NULL): x is to be gathered
 * by these windows. Declines where the library refused the shape. */
static tide_status run(tide_kcall *c, const tide_dnnl_key *key, const void *x, const void *y,
                       const tide_buf *w, void *bias, const tide_geometry *sparse) {
    if (leave_to_plain(key) || !tide_dnnl_enter()) return TIDE_DECLINE;
    const int grad = key->kind == GRAD_KERNEL;
    const int64_t size = tide_buf_numel(w), outputs = w->shape[w->rank - 1];
    tide_status st;
    const pieces *all = cut_of(key, size);
    if (!all) {
        st = tide_dnnl_failure();
        goto out;
    }
    tide_dnnl_prim *p = all->at->prim;
    const int threads = TIDE_MIN(tide_num_threads(), all->n);
    const size_t pad = all->pad;
    st = TIDE_ENOMEM;
    for (int i = 0; i < all->n; i++)
        if (!tide_dnnl_places(all->at[i].prim, threads)) goto out;
    char *pads = pad ? tide_scratch(c->dev, (size_t)threads * pad) : NULL;
    if (pad && !pads) goto out;
    int ok;
    if (!grad) {
        tide_kept *kept = NULL;
        if (p->relay) kept = tide_keep(c->dev, w, &p->wanted, sizeof p->wanted, p->wanted_bytes);
        void *own = p->relay && !kept ? tide_scratch(c->dev, p->wanted_bytes) : NULL;
        if (p->relay && !kept && !own) goto out;
        void *weights = tide_dnnl_weights(p, w, kept, own);
        ok = weights && run_pieces(all, 0, all->n, x, y, weights, bias, 0, pads, pad);
        tide_keep_done(kept);
    } else {
        const size_t wanted = p->relay ? p->wanted_bytes : (size_t)size * sizeof(float);
        const int64_t after = (int64_t)(rounded(wanted) /
                                        sizeof(float)), /* of a piece's sums: dw, db */
            step = after + (int64_t)(rounded((size_t)outputs * sizeof(float)) / sizeof(float));
        float *to = p->relay ? tide_scratch(c->dev, wanted) : w->p, *parts = to;
        const int round = TIDE_MIN(all->n, all->round);
        if (all->n > 1) parts = tide_scratch(c->dev, (size_t)(round * step) * sizeof(float));
        float *db = bias;
        if (!to || !parts) goto out;
        if (sparse) {
            float *dense = tide_scratch(
                c->dev,
                (size_t)(sparse->n * product_of(3, sparse->out) * sparse->c) * sizeof(float));
            if (!dense) goto out;
            gather(sparse, x, dense);
            x = dense;
        }
        const int sums = parts != to;
        ok = 1;
        for (int i = 0; i < all->n && ok && !tide_stopped(); i += round) {
            const int n = TIDE_MIN(round, all->n - i);
            ok = run_pieces(all, i, n, x, y, (char *)parts,
                            (char *)(bias && sums ? parts + after : db),
                            sums ? (size_t)step * sizeof(float) : 0, pads, pad);
            if (sums) add_up(parts, step, n, (int64_t)(wanted / sizeof(float)), to, i > 0);
            if (sums && bias) add_up(parts + after, step, n, outputs, db, i > 0);
        }
        if (ok && p->relay) ok = tide_dnnl_run_relay(p, to, w->p);
    }
    st = ok ? TIDE_OK : tide_dnnl_failure();
out:
    tide_dnnl_leave();
    return st;
}

/* The flag of a dtype that the library computes with: bfloat16 where the CPU multiplies it, and
 * where the kernel is larger than 1x1 (the library's 1x1 code for the gradient of x gives wrong
 * numbers where the channels of y are no multiple of a vector's). -1: none */
static int dtype_flag(const tide_buf *x, const tide_buf *w) {
    if (x->dtype == TIDE_F32) return 0;
    int64_t taps = 1;
    for (int i = 0; i < w->rank - 2; i++) taps *= w->shape[i];
    return x->dtype == TIDE_BF16 && taps > 1 && tide_bf16_units() ? BF16 : -1;
}

tide_status tide_dnnl_conv(tide_kcall *c) {
    const tide_conv_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0], *w = &c->in[1], *b = &c->in[2], *y = &c->out[0];
    const int dtype = dtype_flag(x, w);
    if (dtype < 0 || empty(x) || empty(w) || empty(y)) return TIDE_DECLINE;
    tide_dnnl_key key = key_of(FORWARD, x, y, w->shape, &at->strides, &at->dilation_rate, &at->pads,
                               at->groups, dtype | (b->p ? BIAS : 0) | at->activation << 8);
    return run(c, &key, x->p, y->p, w, b->p, NULL);
}

tide_status tide_dnnl_conv_norm(tide_kcall *c) {
    tide_folded f;
    if (c->in[0].dtype != TIDE_F32) return TIDE_DECLINE;
    TIDE_DO(tide_fold(c, &f));
    const tide_status s = tide_dnnl_conv(&f.call);
    tide_keep_done(f.kept);
    return s;
}

tide_status tide_dnnl_conv_grad_x(tide_kcall *c) {
    const tide_conv_grad_x_attrs *at = c->attrs;
    const tide_buf *dy = &c->in[0], *w = &c->in[1], *b = &c->in[2], *dx = &c->out[0];
    const int dtype = dtype_flag(dy, w);
    if (dtype < 0 || empty(dx) || empty(w) || empty(dy)) return TIDE_DECLINE;
    if (dtype && (b->p || at->activation)) return TIDE_DECLINE; /* they come before the rounding */
    tide_dnnl_key key = key_of(GRAD_X, dx, dy, w->shape, &at->strides, &at->dilation_rate,
                               &at->pads, at->groups, dtype);
    tide_status st = run(c, &key, dx->p, dy->p, w, NULL, NULL);
    if (st != TIDE_OK || (!b->p && !at->activation)) return st;
    tide_buf in[2] = {*dx, *b}; /* a transposed convolution's bias and activation, in place */
    tide_kcall rest = {.attrs = &(tide_bias_activation_attrs){.activation = at->activation},
                       .in = in,
                       .out = c->out,
                       .op = TIDE_OP_bias_activation,
                       .nin = 2,
                       .nout = 1,
                       .dev = c->dev};
    return tide_plain_table[TIDE_OP_bias_activation](&rest);
}

tide_status tide_dnnl_conv_grad_kernel(tide_kcall *c) {
    const tide_conv_grad_kernel_attrs *at = c->attrs;
    const tide_buf *x = &c->in[0], *dy = &c->in[1], *dw = &c->out[0];
    if (x->dtype != TIDE_F32 || empty(x) || empty(dw) || empty(dy)) return TIDE_DECLINE;
    tide_dnnl_key key = key_of(GRAD_KERNEL, x, dy, dw->shape, &at->strides, &at->dilation_rate,
                               &at->pads, at->groups, at->bias ? BIAS : 0);
    const tide_geometry g =
        tide_conv_geometry(x->rank, x->shape, dy->shape, dw->shape, &at->strides,
                           &at->dilation_rate, &at->pads, at->groups);
    const int sparse = gather_overruns(&g);
    if (sparse) { /* the same convolution of the gathered pixels has no strides */
        fields f = fields_of(&key);
        for (int i = 0; i < f.nd; i++) f.x[1 + i] = f.y[1 + i], f.stride[i] = 1, f.lo[i] = 0;
    }
    return run(c, &key, x->p, dy->p, dw, at->bias ? c->out[1].p : NULL, sparse ? &g : NULL);
}

#endif
