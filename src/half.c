/* float16 and bfloat16 for kernels that know neither: what they read is widened in work space, and
 * what they wrote is narrowed.
 *
 * Invariant: where an op says which of its operands have rows that stand for themselves (`rows`),
 * some of them are widened at a time, so that no whole float32 copy of such an operand is made; one
 * row, an image, is the least. Blocks depend on sizes alone. */
#include "../kernels/gemm.h"
#include "device.h"
#include "launch.h"

/* Float32 of a block; or, where more, four times what all blocks share, which engines read anew for
 * each. */
enum { BLOCK_BYTES = 4 << 20 };

static tide_status cast(tide_device *dev, const tide_buf *from, tide_buf *to) {
    tide_cast_attrs a = *TIDE_ATTRS(cast, .dtype = to->dtype);
    tide_kcall k = {
        .attrs = &a, .in = from, .out = to, .op = TIDE_OP_cast, .nin = 1, .nout = 1, .dev = dev};
    return tide_serve(&k);
}

/* `b` as float32 in work space, contiguous, which no engine keeps anything for; of `rows` rows
 * where that is not negative. */
static tide_status room_for(tide_device *dev, const tide_buf *b, int64_t rows, tide_buf *out) {
    int64_t n = 1;
    *out = *b;
    if (rows >= 0) out->shape[0] = rows;
    for (int i = b->rank - 1; i >= 0; i--) out->stride[i] = n, n *= out->shape[i];
    out->dtype = TIDE_F32, out->storage_id = 0, out->version = 0;
    out->p = tide_mem_scratch(dev, (size_t)TIDE_MAX(n, 1) * sizeof(float));
    return out->p ? TIDE_OK : TIDE_ENOMEM;
}
static tide_status widen(tide_device *dev, tide_buf *b) {
    tide_buf wide;
    TIDE_TRY(room_for(dev, b, -1, &wide));
    TIDE_TRY(cast(dev, b, &wide));
    *b = wide;
    return TIDE_OK;
}

/* The float32 form of a weight that engines re-lay. Where no gradient passes it is kept with the
 * weight until that changes: engines then find what they have re-laid, call after call. While
 * gradients pass, the weight is about to change, and nothing is kept. NULL: it is not kept. */
static tide_tensor *wide_weight(tide_ctx *ctx, const tide_tensor *x) {
    tide_storage *s = x->storage;
    if (tide_is_number(x) || (ctx->grad_mode && tide_needs_grad(x)) || x->offset ||
        !tide_is_contiguous(x))
        return NULL;
    if (s->wide && s->wide_of == s->version && tide_same_shape(s->wide, x)) return s->wide;
    tide_meta m = tide_meta_of(x);
    tide_buf from, to;
    tide_release(s->wide);
    s->wide = NULL;
    m.dtype = TIDE_F32;
    if (tide_new_on(ctx, s->dev, &m, &s->wide) != TIDE_OK) return NULL;
    tide_set_buf(&from, x), tide_set_buf(&to, s->wide);
    if (cast(s->dev->runs, &from, &to) != TIDE_OK) tide_release(s->wide), s->wide = NULL;
    s->wide_of = s->version;
    return s->wide;
}

/* Some rows of an operand; halves of them stand in `room` as float32. */
typedef struct {
    tide_buf all, room;
    int is, sums, half; /* has rows; is the sum of what the blocks give; is stored in halves */
} operand;

static tide_buf rows_of(const tide_buf *b, int64_t lo, int64_t n) {
    tide_buf part = *b;
    part.p = (char *)b->p + lo * b->stride[0] * (int64_t)tide_dtype_size(b->dtype);
    part.shape[0] = n;
    part.storage_id = 0, part.version = 0;
    return part;
}

/* total += part */
static tide_status add(tide_device *dev, const tide_buf *total, const tide_buf *part) {
    tide_buf in[2] = {*total, *part}, out = *total;
    tide_kcall k = {.attrs = TIDE_ATTRS(add),
                    .in = in,
                    .out = &out,
                    .op = TIDE_OP_add,
                    .nin = 2,
                    .nout = 1,
                    .dev = dev};
    return tide_serve(&k);
}

/* The call on rows lo..lo+n-1 of every operand that has them. */
static tide_status some_rows(tide_kcall *k, operand *o, int64_t lo, int64_t n, tide_buf *in,
                             tide_buf *out) {
    for (int i = 0; i < k->nin + k->nout; i++) {
        tide_buf *b = i < k->nin ? &in[i] : &out[i - k->nin];
        *b = o[i].half || o[i].sums ? o[i].room : o[i].all;
        if (!o[i].is) continue;
        const tide_buf from = rows_of(&o[i].all, lo, n);
        if (!o[i].half) *b = from;
        b->shape[0] = n;
        if (o[i].half && i < k->nin) TIDE_TRY(cast(k->dev, &from, b));
    }
    tide_kcall part = *k;
    part.in = in, part.out = out;
    const tide_status st = tide_serve(&part);
    k->bad = part.bad;
    TIDE_TRY(st);
    for (int i = k->nin; i < k->nin + k->nout; i++) {
        if (!o[i].is || !o[i].half) continue;
        tide_buf to = rows_of(&o[i].all, lo, n);
        TIDE_TRY(cast(k->dev, &out[i - k->nin], &to));
    }
    return TIDE_OK;
}

/* A call by blocks of rows. What has none is float32 already, but for the sums over all rows. */
static tide_status by_rows(const tide_step *s, tide_kcall *k) {
    operand o[TIDE_MAX_IN + TIDE_MAX_OUT];
    tide_buf in[TIDE_MAX_IN], out[TIDE_MAX_OUT];
    tide_buf total[TIDE_MAX_OUT];
    int64_t each = 0, apart = 0;
    int first = 0;
    while (!(s->op->rows >> first & 1)) first++;
    const int64_t rows = k->in[first].shape[0];
    for (int i = 0; i < k->nin + k->nout; i++) {
        const int is_out = i >= k->nin;
        const tide_buf *b = is_out ? &k->out[i - k->nin] : &k->in[i];
        o[i] = (operand){.all = *b, .half = b->p && tide_is_half(b->dtype)};
        o[i].sums = is_out && s->op->sums >> (i - k->nin) & 1;
        o[i].is = b->p && (is_out ? !o[i].sums : s->op->rows >> i & 1);
        const int64_t bytes = b->p ? tide_buf_numel(b) * (int64_t)sizeof(float) : 0;
        if (!o[i].is) apart += bytes;
        else if (o[i].half) each += bytes / TIDE_MAX(rows, 1);
    }
    const int64_t most = TIDE_MAX(1, TIDE_MAX(BLOCK_BYTES, 4 * apart) / TIDE_MAX(each, 1));
    const int64_t blocks = TIDE_MAX(1, TIDE_CEIL_DIV(rows, most)),
                  some = TIDE_CEIL_DIV(rows, blocks);
    for (int i = 0; i < k->nin + k->nout; i++) {
        if (o[i].half || (o[i].sums && blocks > 1))
            TIDE_TRY(room_for(k->dev, &o[i].all, o[i].is ? some : -1, &o[i].room));
        else o[i].room = o[i].all;
        if (!o[i].sums) continue;
        total[i - k->nin] = o[i].half || blocks == 1 ? o[i].room : o[i].all;
        if (o[i].half && blocks > 1) TIDE_TRY(room_for(k->dev, &o[i].all, -1, &total[i - k->nin]));
    }
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t lo = block * rows / blocks, n = (block + 1) * rows / blocks - lo;
        TIDE_TRY(some_rows(k, o, lo, n, in, out));
        for (int i = 0; i < k->nout && blocks > 1; i++) {
            if (!o[k->nin + i].sums || !tide_buf_numel(&total[i])) continue;
            TIDE_TRY(block ? add(k->dev, &total[i], &out[i]) : cast(k->dev, &out[i], &total[i]));
        }
    }
    for (int i = 0; i < k->nout; i++) {
        tide_buf to = o[k->nin + i].all;
        if (o[k->nin + i].sums && o[k->nin + i].half && tide_buf_numel(&to))
            TIDE_TRY(cast(k->dev, &total[i], &to));
    }
    return TIDE_OK;
}

static tide_status whole(const tide_step *s, tide_kcall *k) {
    tide_buf back[TIDE_MAX_OUT];
    for (int i = 0; i < s->nout; i++) {
        back[i] = k->out[i];
        if (tide_is_half(back[i].dtype)) TIDE_TRY(room_for(k->dev, &back[i], -1, &k->out[i]));
    }
    TIDE_TRY(tide_serve(k));
    for (int i = 0; i < s->nout; i++)
        if (tide_is_half(back[i].dtype)) TIDE_TRY(cast(k->dev, &k->out[i], &back[i]));
    return TIDE_OK;
}

/* Inputs that have no rows, in float32. */
static tide_status widen_others(tide_ctx *ctx, const tide_step *s, tide_kcall *k, tide_buf *in) {
    const tide_op *op = s->op;
    const int reads = op->flags & TIDE_HALF && !op->rows; /* only what is kept is float32 */
    for (int i = 0; i < s->nin; i++) {
        tide_buf *b = &in[i];
        if (!b->p || !tide_is_half(b->dtype) || op->rows >> i & 1) continue;
        if (b->rank == TIDE_SPARSE_RANK) {
            TIDE_TRY(widen(k->dev, &((tide_sparse *)b->p)->values));
            b->dtype = TIDE_F32;
            continue;
        }
        const int kept = op->relays >> i & 1 && (!op->keeps || op->keeps(k));
        const tide_tensor *w = kept ? wide_weight(ctx, s->in[i]) : NULL;
        if (w) tide_set_buf(b, w);
        else if (!reads) TIDE_TRY(widen(k->dev, b));
    }
    return TIDE_OK;
}

/* Whether some engine may compute with the operands as they are. */
static int as_they_are(const tide_step *s, const tide_kcall *k) {
    int all = s->op->rows && tide_bf16_units();
    for (int i = 0; i < s->nin && all; i++) all = !k->in[i].p || k->in[i].dtype == TIDE_BF16;
    return all;
}

tide_status tide_serve_halves(tide_ctx *ctx, const tide_step *s, tide_kcall *k, tide_buf *in) {
    tide_status st = as_they_are(s, k) ? tide_serve(k) : TIDE_ENOKERNEL;
    if (st != TIDE_ENOKERNEL) return st;
    const int mark = tide_scratch_mark();
    st = widen_others(ctx, s, k, in);
    if (st == TIDE_OK)
        st = s->op->rows ? by_rows(s, k) : s->op->flags & TIDE_HALF ? tide_serve(k) : whole(s, k);
    tide_scratch_release(mark);
    return st;
}
