/* The driver of elementwise kernels: cuts a call into pieces, hands unit-stride memory to the op's
 * loop, and packs operands that are broadcast or strided through buffers that stay in the
 * first-level cache.
 *
 * Invariant: pieces start at multiples of BLOCK, or of the row, whatever the number of threads. */
#define TIDE_POLLED
#include "cpu.h"

#define BLOCK 1024 /* elements of one packed piece: four operands of 8 bytes fill a 32 KB cache */
#define MAX_IN 4
#define LONG_ROW                                                                                 \
    64 /* rows at least this long are served one by one, so that their unit-stride operands need \
          no packing */

typedef struct {
    char *p;
    int64_t stride[TIDE_MAX_RANK]; /* elements, 0 where broadcast */
    int size;                      /* bytes of an element */
    uint8_t flat, constant; /* contiguous over the whole call; one element for the whole call */
} operand;

typedef struct {
    int rank, nin;
    int64_t shape[TIDE_MAX_RANK], n;
    operand in[MAX_IN], out;
} plan;

static void operand_of(operand *o, const tide_buf *b, const tide_buf *out) {
    o->p = b->p;
    o->size = (int)tide_dtype_size(b->dtype);
    int lead = out->rank - b->rank;
    for (int i = 0; i < out->rank; i++)
        o->stride[i] = i < lead || b->shape[i - lead] == 1 ? 0 : b->stride[i - lead];
}

/* Joins neighbouring axes that every operand steps through evenly, and drops axes of length 1. */
static void collapse(plan *p) {
    operand *ops[MAX_IN + 1];
    for (int k = 0; k < p->nin; k++) ops[k] = &p->in[k];
    ops[p->nin] = &p->out;
    int r = 0;
    for (int i = 0; i < p->rank; i++) {
        if (p->shape[i] == 1) continue;
        int join = r > 0;
        for (int k = 0; k <= p->nin && join; k++)
            join = ops[k]->stride[r - 1] == ops[k]->stride[i] * p->shape[i];
        if (join) p->shape[r - 1] *= p->shape[i];
        else p->shape[r++] = p->shape[i];
        for (int k = 0; k <= p->nin; k++) ops[k]->stride[r - 1] = ops[k]->stride[i];
    }
    if (r == 0) {
        p->shape[r++] = 1;
        for (int k = 0; k <= p->nin; k++) ops[k]->stride[0] = 0;
    }
    p->rank = r;
    for (int k = 0; k <= p->nin; k++) {
        int64_t s = 1;
        ops[k]->flat = ops[k]->constant = 1;
        for (int i = r - 1; i >= 0; i--) {
            if (ops[k]->stride[i] != s && p->shape[i] != 1) ops[k]->flat = 0;
            if (ops[k]->stride[i] != 0) ops[k]->constant = 0;
            s *= p->shape[i];
        }
    }
}

static void copy_strided(char *restrict dst, int64_t ds, const char *restrict src, int64_t ss,
                         int64_t n, int size) {
#define COPY(T)                                                \
    do {                                                       \
        T *d = (T *)(void *)dst;                               \
        const T *s = (const T *)(const void *)src;             \
        for (int64_t i = 0; i < n; i++) d[i * ds] = s[i * ss]; \
    } while (0)
    if (ds == 1 && ss == 1) memcpy(dst, src, (size_t)(n * size));
    else if (size == 4 && ds == 1 && ss == 0) {
        uint32_t v = *(const uint32_t *)(const void *)src, *d = (uint32_t *)(void *)dst;
        for (int64_t i = 0; i < n; i++) d[i] = v;
    } else if (size == 4) COPY(uint32_t);
    else if (size == 8) COPY(uint64_t);
    else if (size == 2) COPY(uint16_t);
    else COPY(uint8_t);
#undef COPY
}

/* Moves elements [start, start + n) of the call between an operand and a packed buffer. */
static void transfer(const plan *p, const operand *o, int64_t start, int64_t n, char *buf,
                     int scatter) {
    int64_t idx[TIDE_MAX_RANK], off = 0, rest = start;
    int last = p->rank - 1;
    for (int i = last; i >= 0; i--) {
        idx[i] = rest % p->shape[i];
        rest /= p->shape[i];
        off += idx[i] * o->stride[i];
    }
    while (n > 0) {
        int64_t m = TIDE_MIN(n, p->shape[last] - idx[last]);
        char *q = o->p + off * o->size;
        if (scatter) copy_strided(q, o->stride[last], buf, 1, m, o->size);
        else copy_strided(buf, 1, q, o->stride[last], m, o->size);
        buf += m * o->size;
        n -= m;
        idx[last] += m;
        off += m * o->stride[last];
        for (int i = last; i > 0 && idx[i] == p->shape[i]; i--) {
            off += o->stride[i - 1] - idx[i] * o->stride[i];
            idx[i] = 0;
            idx[i - 1]++;
        }
    }
}

/* Elements [lo, hi) of the call; rows of length `row`, which a packed piece does not cross, or the
 * whole call. */
static void run(const plan *p, tide_loop loop, const void *ctx, int64_t lo, int64_t hi,
                int64_t row) {
    _Alignas(64) char pack[MAX_IN + 1][BLOCK * 8];
    const void *in[MAX_IN];
    int last = p->rank - 1;
    for (int k = 0; k < p->nin; k++)
        if (p->in[k].constant)
            copy_strided(pack[k], 1, p->in[k].p, 0, TIDE_MIN(BLOCK, hi - lo), p->in[k].size);
    for (int64_t at = lo; at < hi;) {
        int64_t m = TIDE_MIN(hi - at, BLOCK);
        if (row) m = TIDE_MIN(m, row - at % row);
        for (int k = 0; k < p->nin; k++) {
            const operand *o = &p->in[k];
            if (o->constant) in[k] = pack[k];
            else if (o->flat) in[k] = o->p + at * o->size;
            else if (row && o->stride[last] == 1) {
                int64_t off = at % row, rest = at / row;
                for (int i = last - 1; i >= 0; rest /= p->shape[i], i--)
                    off += rest % p->shape[i] * o->stride[i];
                in[k] = o->p + off * o->size;
            } else {
                transfer(p, o, at, m, pack[k], 0);
                in[k] = pack[k];
            }
        }
        if (p->out.flat) loop(m, in, p->out.p + at * p->out.size, ctx);
        else {
            loop(m, in, pack[MAX_IN], ctx);
            transfer(p, &p->out, at, m, pack[MAX_IN], 1);
        }
        at += m;
    }
}

/* Every operand contiguous and of the result's shape. */
static int alike(const tide_kcall *c) {
    const tide_buf *out = &c->out[0];
    if (!tide_buf_contiguous(out)) return 0;
    for (int k = 0; k < c->nin; k++) {
        const tide_buf *b = &c->in[k];
        if (b->rank != out->rank || !tide_buf_contiguous(b)) return 0;
        for (int i = 0; i < out->rank; i++)
            if (b->shape[i] != out->shape[i]) return 0;
    }
    return 1;
}

tide_status tide_elementwise_ctx(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx) {
    const tide_buf *out = &c->out[0];
    int64_t n = tide_buf_numel(out);
    if (n == 0) return TIDE_OK;
    if (c->nin > MAX_IN) return TIDE_DECLINE;
    if (n <= grain && alike(c)) { /* most calls: small, contiguous, of one shape */
        const void *in[MAX_IN];
        for (int k = 0; k < c->nin; k++) in[k] = c->in[k].p;
        loop(n, in, out->p, ctx);
        return TIDE_OK;
    }
    plan p;
    p.rank = out->rank;
    p.nin = c->nin;
    p.n = n;
    memcpy(p.shape, out->shape, sizeof p.shape);
    for (int k = 0; k < c->nin; k++) operand_of(&p.in[k], &c->in[k], out);
    operand_of(&p.out, out, out);
    collapse(&p);
    int direct = p.out.flat;
    for (int k = 0; k < p.nin; k++) direct &= p.in[k].flat;
    grain = TIDE_CEIL_DIV(grain, BLOCK) * BLOCK;
    if (direct) {
        if (p.n <= grain ||
            tide_num_threads() ==
                1) { /* the pieces below end at multiples of a vector, so bits are equal */
            const void *in[MAX_IN];
            for (int k = 0; k < p.nin; k++) in[k] = p.in[k].p;
            loop(p.n, in, p.out.p, ctx);
            return TIDE_OK;
        }
        TIDE_PARALLEL_FOR (p.n, grain) {
            const void *in[MAX_IN];
            for (int k = 0; k < p.nin; k++) in[k] = p.in[k].p + lo * p.in[k].size;
            loop(hi - lo, in, p.out.p + lo * p.out.size, ctx);
        }
        return TIDE_OK;
    }
    int64_t row = p.shape[p.rank - 1] >= LONG_ROW && p.rank > 1 ? p.shape[p.rank - 1] : 0;
    if (p.n <= grain) {
        run(&p, loop, ctx, 0, p.n, row);
        return TIDE_OK;
    }
    if (row) grain = TIDE_CEIL_DIV(grain, row) * row;
    TIDE_PARALLEL_FOR (p.n, grain) run(&p, loop, ctx, lo, hi, row);
    return TIDE_OK;
}

tide_status tide_elementwise(tide_kcall *c, tide_loop loop, int64_t grain) {
    return tide_elementwise_ctx(c, loop, grain, c->attrs);
}
