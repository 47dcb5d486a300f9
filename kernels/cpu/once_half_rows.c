/* Halves for float32 kernels that treat each row by itself: the rows are widened in work space some
 * at a time, the kernel runs on them there, and what it wrote is narrowed.
 *
 * Invariant: a kernel that runs here takes no work space and names no positions. */
#include "cpu.h"
#include "half.h"

enum { PIECE = 32768, MOST = 8, MAX_ATTRS = 1024 }; /* elements widened at once; operands */

typedef struct {
    tide_buf buf;    /* as the kernel sees it, of the rows in hand */
    int64_t row;     /* elements of a row, which may be none */
    int shared;      /* by all rows; also an operand that is not there */
    const void *all; /* its first row */
    int half;        /* dtype, where the kernel sees its float32 form; else 0 */
    int64_t room;    /* where that stands: elements into the thread's work space */
} operand;

/* Leading axes 0..lead-1 become one. */
static void as_rows(tide_buf *b, int64_t lead) {
    b->rank = (uint8_t)(1 + b->rank - lead);
    memmove(b->shape + 1, b->shape + lead, (size_t)(b->rank - 1) * sizeof *b->shape);
    int64_t n = 1;
    for (int i = b->rank - 1; i >= 0; i--) b->stride[i] = n, n *= i ? b->shape[i] : 1;
}

/* `at`: how many elements of the threads' work space are taken so far. */
static operand operand_of(const tide_buf *b, int64_t lead, int64_t rows, int shared, int64_t *at) {
    operand o = {.buf = *b, .all = b->p, .half = tide_is_half(b->dtype) ? b->dtype : 0};
    o.shared = shared || !b->p;
    if (!b->p) return o;
    const int64_t n = tide_buf_numel(b);
    o.row = shared || !rows ? 0 : n / rows;
    if (!shared && lead) as_rows(&o.buf, lead);
    if (!o.half) return o;
    o.buf.dtype = TIDE_F32, o.room = *at;
    return o;
}

static tide_status widen_shared(tide_kcall *c, operand *o) {
    const int64_t n = tide_buf_numel(&o->buf);
    float *wide = tide_scratch(c->dev, (size_t)(n + 1) * sizeof *wide);
    if (!wide) return TIDE_ENOMEM;
    tide_half->widen(o->half, n, o->all, wide);
    o->buf.p = wide, o->half = 0;
    return TIDE_OK;
}

typedef struct {
    operand in[MOST], out[MOST];
    const void *attrs;
    int64_t lead;
} plan;

/* The kernel on rows lo..hi-1. */
static tide_status some_rows(const tide_kcall *c, tide_kernel kernel, const plan *p, int64_t lo,
                             int64_t hi, float *room) {
    tide_buf in[MOST], out[MOST];
    tide_kcall part = *c;
    for (int k = 0; k < c->nin + c->nout; k++) {
        const operand *o = k < c->nin ? &p->in[k] : &p->out[k - c->nin];
        tide_buf *b = k < c->nin ? &in[k] : &out[k - c->nin];
        *b = o->buf;
        if (o->shared) continue;
        const size_t size = tide_dtype_size(o->half ? o->half : o->buf.dtype);
        const char *rows = (const char *)o->all + (size_t)(lo * o->row) * size;
        if (p->lead) b->shape[0] = hi - lo;
        b->p = o->half ? (void *)(room + o->room) : (void *)(uintptr_t)rows;
        if (o->half && k < c->nin)
            tide_half->widen(o->half, (hi - lo) * o->row, (const void *)rows, b->p);
    }
    part.in = in, part.out = out, part.attrs = p->attrs;
    const tide_status st = kernel(&part);
    for (int k = 0; k < c->nout && st == TIDE_OK; k++) {
        const operand *o = &p->out[k];
        if (o->half)
            tide_half->narrow(o->half, (hi - lo) * o->row, out[k].p,
                              (uint16_t *)(uintptr_t)o->all + lo * o->row);
    }
    return st;
}

tide_status tide_half_rows(tide_kcall *c, tide_kernel kernel, int64_t lead, unsigned shared,
                           size_t attrs_size, size_t axis_at) {
    _Alignas(16) char attrs[MAX_ATTRS];
    plan p = {.attrs = attrs, .lead = lead};
    int64_t rows = 1, each = 0;
    int first = 0;
    memcpy(attrs, c->attrs, attrs_size);
    if (lead && axis_at < attrs_size) memcpy(attrs + axis_at, &(int64_t){1}, sizeof(int64_t));
    while (shared >> first & 1) first++;
    for (int64_t i = 0; i < lead; i++) rows *= c->in[first].shape[i];
    for (int k = 0; k < c->nin + c->nout; k++) { /* elements per row that are widened */
        const tide_buf *b = k < c->nin ? &c->in[k] : &c->out[k - c->nin];
        const int is_shared = k < c->nin && shared >> k & 1;
        if (b->p && tide_is_half(b->dtype) && !is_shared && rows)
            each += (tide_buf_numel(b) / rows + 15) & ~(int64_t)15;
    }
    const int64_t grain = TIDE_MIN(TIDE_MAX(1, PIECE / TIDE_MAX(each, 1)), TIDE_MAX(rows, 1));
    int64_t at = 0;
    for (int k = 0; k < c->nin + c->nout; k++) {
        const tide_buf *b = k < c->nin ? &c->in[k] : &c->out[k - c->nin];
        operand *o = k < c->nin ? &p.in[k] : &p.out[k - c->nin];
        *o = operand_of(b, lead, rows, k < c->nin && shared >> k & 1, &at);
        if (o->half && !o->shared) at += (o->row * grain + 15) & ~(int64_t)15;
        else if (o->half && k < c->nin && b->p) TIDE_DO(widen_shared(c, o));
    }
    tide_lanes lanes;
    TIDE_DO(tide_lanes_new(c->dev, rows, grain, (size_t)(at + 16) * sizeof(float), &lanes));
    if (rows <= grain) return some_rows(c, kernel, &p, 0, rows, tide_lane(&lanes, 0));
    _Atomic int failed = TIDE_OK;
    TIDE_PARALLEL_FOR (rows, grain) {
        const tide_status st = some_rows(c, kernel, &p, lo, hi, tide_lane(&lanes, share_->slot));
        if (st != TIDE_OK) atomic_store_explicit(&failed, st, memory_order_relaxed);
    }
    return (tide_status)failed;
}
