/* The driver of elementwise kernels: cuts a call into pieces, hands unit-stride memory to the op's
 * loop, and packs operands that are broadcast or strided through buffers that stay in the
 * first-level cache. float16 and bfloat16 become float32 on their way into these buffers and are
 * rounded on the way out, so that every loop of floats serves them.
 *
 * Invariant: pieces start at multiples of BLOCK, or of the row, whatever the number of threads. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"

#define BLOCK 1024 /* elements of one packed piece: four operands of 8 bytes fill a 32 KB cache */
#define MAX_IN 4
#define SHORT 256 /* elements of calls that cost less than to look at how operands step */
#define LONG_ROW                                                                                 \
    64 /* rows at least this long are served one by one, so that their unit-stride operands need \
          no packing */

typedef struct {
    char *p;
    int64_t stride[TIDE_MAX_RANK]; /* elements, 0 where broadcast */
    int size;                      /* bytes of an element */
    uint8_t flat, constant; /* contiguous over the whole call; one element for the whole call */
    uint8_t half;           /* the dtype, where the loop takes float32 for it; else 0 */
} operand;

typedef struct {
    int rank, nin;
    int64_t shape[TIDE_MAX_RANK], n;
    operand in[MAX_IN], out;
} plan;

static void operand_of(operand *o, const tide_buf *b, const tide_buf *out, int widens) {
    o->p = b->p;
    o->size = (int)tide_dtype_size(b->dtype);
    o->half = widens && tide_is_half(b->dtype) ? b->dtype : 0;
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
    _Alignas(64) uint16_t halves[BLOCK];
    const void *in[MAX_IN];
    int last = p->rank - 1;
    for (int k = 0; k < p->nin; k++) {
        const operand *o = &p->in[k];
        const int64_t m = TIDE_MIN(BLOCK, hi - lo);
        if (!o->constant) continue;
        copy_strided(o->half ? (char *)halves : pack[k], 1, o->p, 0, m, o->size);
        if (o->half) tide_half->widen(o->half, m, halves, (float *)(void *)pack[k]);
    }
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
                transfer(p, o, at, m, o->half ? (char *)halves : pack[k], 0);
                in[k] = o->half ? (char *)halves : pack[k];
            }
            if (o->half && !o->constant) {
                tide_half->widen(o->half, m, in[k], (float *)(void *)pack[k]);
                in[k] = pack[k];
            }
        }
        char *to = p->out.flat ? p->out.p + at * p->out.size : pack[MAX_IN];
        if (p->out.half) {
            float *wide = (float *)(void *)pack[MAX_IN];
            loop(m, in, wide, ctx);
            if (!p->out.flat) to = (char *)halves;
            tide_half->narrow(p->out.half, m, wide, (uint16_t *)(void *)to);
        } else loop(m, in, to, ctx);
        if (!p->out.flat) transfer(p, &p->out, at, m, to, 1);
        at += m;
    }
}

/* Whether rows are short, and every operand is flat or the same in each row or along each: then
 * several rows go together. */
static int by_rows(const plan *p) {
    if (p->rank != 2 || !p->out.flat || p->out.half || 2 * p->shape[1] > BLOCK) return 0;
    for (int k = 0; k < p->nin; k++) {
        const operand *o = &p->in[k];
        const int64_t *s = o->stride;
        if (o->half || !(o->flat || s[1] == 0 || (s[0] == 0 && s[1] == 1))) return 0;
    }
    return 1;
}
/* Rows [lo, hi) of such a plan. */
static void run_rows(const plan *p, tide_loop loop, const void *ctx, int64_t lo, int64_t hi) {
    _Alignas(64) char pack[MAX_IN][BLOCK * 8];
    const void *in[MAX_IN];
    const int64_t row = p->shape[1], many = TIDE_MIN(BLOCK / row, hi - lo);
    for (int k = 0; k < p->nin; k++) { /* what each row repeats is packed once */
        const operand *o = &p->in[k];
        for (int64_t r = 0; r < many && !o->flat && o->stride[0] == 0; r++)
            copy_strided(pack[k] + r * row * o->size, 1, o->p, o->stride[1], row, o->size);
        in[k] = pack[k];
    }
    for (int64_t at = lo, m; at < hi; at += m) {
        m = TIDE_MIN(many, hi - at);
        for (int k = 0; k < p->nin; k++) {
            const operand *o = &p->in[k];
            if (o->flat) in[k] = o->p + at * row * o->size;
            for (int64_t r = 0; r < m && !o->flat && o->stride[0] != 0; r++)
                copy_strided(pack[k] + r * row * o->size, 1,
                             o->p + (at + r) * o->stride[0] * o->size, 0, row, o->size);
        }
        loop(m * row, in, p->out.p + at * row * p->out.size, ctx);
    }
}

/* The same where every operand is contiguous and some are halves: the whole plan is the memory. */
static void run_halves(const tide_kcall *c, tide_loop loop, const void *ctx, int64_t lo,
                       int64_t hi) {
    _Alignas(64) float pack[MAX_IN + 1][BLOCK];
    const void *in[MAX_IN];
    const tide_buf *out = &c->out[0];
    for (int64_t at = lo; at < hi; at += BLOCK) {
        const int64_t m = TIDE_MIN(hi - at, BLOCK);
        for (int k = 0; k < c->nin; k++) {
            const tide_buf *b = &c->in[k];
            in[k] = (const char *)b->p + at * (int64_t)tide_dtype_size(b->dtype);
            if (!tide_is_half(b->dtype)) continue;
            tide_half->widen(b->dtype, m, in[k], pack[k]);
            in[k] = pack[k];
        }
        char *to = (char *)out->p + at * (int64_t)tide_dtype_size(out->dtype);
        if (tide_is_half(out->dtype)) {
            loop(m, in, pack[MAX_IN], ctx);
            tide_half->narrow(out->dtype, m, pack[MAX_IN], (uint16_t *)(void *)to);
        } else loop(m, in, to, ctx);
    }
}

/* Every operand contiguous and of the result's shape; but for numbers without axes, where the bits
 * of those that are come back: they stand at no axis of the result. */
static int alike(const tide_kcall *c, unsigned *numbers) {
    const tide_buf *out = &c->out[0];
    if (!tide_buf_contiguous(out)) return 0;
    for (int k = 0; k < c->nin; k++) {
        const tide_buf *b = &c->in[k];
        if (b->rank == 0 && out->rank > 0 && numbers) {
            *numbers |= 1u << k;
            continue;
        }
        if (b->rank != out->rank || !tide_buf_contiguous(b)) return 0;
        for (int i = 0; i < out->rank; i++)
            if (b->shape[i] != out->shape[i]) return 0;
    }
    return 1;
}

/* A short call on operands that are alike but for `numbers`, each of which is packed. */
static void run_short(const tide_kcall *c, tide_loop loop, const void *ctx, int64_t n,
                      unsigned numbers) {
    _Alignas(64) char pack[MAX_IN][SHORT * 8];
    const void *in[MAX_IN];
    for (int k = 0; k < c->nin; k++) {
        in[k] = c->in[k].p;
        if (!(numbers >> k & 1)) continue;
        copy_strided(pack[k], 1, c->in[k].p, 0, n, (int)tide_dtype_size(c->in[k].dtype));
        in[k] = pack[k];
    }
    loop(n, in, c->out[0].p, ctx);
}

static tide_status serve(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx,
                         int widens) {
    const tide_buf *out = &c->out[0];
    int64_t n = tide_buf_numel(out);
    if (n == 0) return TIDE_OK;
    if (c->nin > MAX_IN) return TIDE_DECLINE;
    int halves = widens && tide_is_half(out->dtype);
    for (int k = 0; k < c->nin && widens; k++) halves |= tide_is_half(c->in[k].dtype);
    if (halves && alike(c, NULL)) {
        grain = TIDE_CEIL_DIV(grain, BLOCK) * BLOCK;
        if (n <= grain) run_halves(c, loop, ctx, 0, n);
        else
            TIDE_PARALLEL_FOR (n, grain) run_halves(c, loop, ctx, lo, hi);
        return TIDE_OK;
    }
    unsigned numbers = 0;
    if (n <= grain && !halves && alike(c, n <= SHORT ? &numbers : NULL)) { /* most calls */
        run_short(c, loop, ctx, n, numbers);
        return TIDE_OK;
    }
    plan p;
    p.rank = out->rank;
    p.nin = c->nin;
    p.n = n;
    memcpy(p.shape, out->shape, sizeof p.shape);
    for (int k = 0; k < c->nin; k++) operand_of(&p.in[k], &c->in[k], out, widens);
    operand_of(&p.out, out, out, widens);
    collapse(&p);
    int direct = p.out.flat && !halves;
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
    if (by_rows(&p)) {
        TIDE_PARALLEL_FOR (p.shape[0], TIDE_CEIL_DIV(grain, p.shape[1]))
            run_rows(&p, loop, ctx, lo, hi);
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
    return serve(c, loop, grain, c->attrs, 1);
}
tide_status tide_elementwise_ctx(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx) {
    return serve(c, loop, grain, ctx, 1);
}
tide_status tide_elementwise_bits(tide_kcall *c, tide_loop loop, int64_t grain, const void *ctx) {
    return serve(c, loop, grain, ctx, 0);
}
