/* copy, cast, fill_, concatenate: elements moved and converted, every dtype.
 *
 * A strided copy first drops axes of length 1 and joins axes that follow each other in both
 * operands; what remains is memcpy by rows, or, where input and output run along different axes,
 * tiles that keep both in cache. */
#define TIDE_POLLED
#include "cpu.h"
#include "half.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

typedef struct {
    int rank;
    int64_t shape[TIDE_MAX_RANK], s[TIDE_MAX_RANK],
        d[TIDE_MAX_RANK]; /* strides of source and destination, elements */
} plan;

static plan plan_of(int rank, const int64_t *shape, const int64_t *src, const int64_t *dst) {
    plan p = {0};
    for (int i = 0; i < rank; i++) {
        if (shape[i] == 1) continue;
        if (p.rank > 0 && p.s[p.rank - 1] == src[i] * shape[i] &&
            p.d[p.rank - 1] == dst[i] * shape[i]) {
            p.shape[p.rank - 1] *= shape[i];
            p.s[p.rank - 1] = src[i];
            p.d[p.rank - 1] = dst[i];
        } else {
            p.shape[p.rank] = shape[i];
            p.s[p.rank] = src[i];
            p.d[p.rank++] = dst[i];
        }
    }
    if (p.rank == 0) p.rank = 1, p.shape[0] = 1, p.s[0] = p.d[0] = 1;
    return p;
}

/* A block of 4 x 4 elements, read along i and written along j. */
typedef uint32_t four __attribute__((vector_size(16)));
static inline void turn_4x4(const uint32_t *s, int64_t sc, uint32_t *d, int64_t dr) {
    four a, b, c, e;
    memcpy(&a, s, 16), memcpy(&b, s + sc, 16), memcpy(&c, s + 2 * sc, 16);
    memcpy(&e, s + 3 * sc, 16);
    const four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               cd = __builtin_shufflevector(c, e, 0, 4, 1, 5),
               AB = __builtin_shufflevector(a, b, 2, 6, 3, 7),
               CD = __builtin_shufflevector(c, e, 2, 6, 3, 7);
    const four y[4] = {
        __builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
        __builtin_shufflevector(AB, CD, 0, 1, 4, 5), __builtin_shufflevector(AB, CD, 2, 3, 6, 7)};
    for (int k = 0; k < 4; k++) memcpy(d + k * dr, &y[k], 16);
}
/* d[i * dr + j] = s[i + j * sc] for a plane of elements of 4 bytes, tile by tile. */
static void turn(const uint32_t *s, uint32_t *d, int64_t rows, int64_t cols, int64_t sc,
                 int64_t dr) {
    enum { TILE = 64 };
    for (int64_t i0 = 0; i0 < rows; i0 += TILE)
        for (int64_t j0 = 0; j0 < cols; j0 += TILE) {
            const int64_t i1 = TIDE_MIN(i0 + TILE, rows), j1 = TIDE_MIN(j0 + TILE, cols);
            int64_t i = i0;
            for (; i + 4 <= i1; i += 4) {
                int64_t j = j0;
                for (; j + 4 <= j1; j += 4) turn_4x4(s + i + j * sc, sc, d + i * dr + j, dr);
                for (; j < j1; j++)
                    for (int k = 0; k < 4; k++) d[(i + k) * dr + j] = s[i + k + j * sc];
            }
            for (; i < i1; i++)
                for (int64_t j = j0; j < j1; j++) d[i * dr + j] = s[i + j * sc];
        }
}

/* One row or one tile-able plane of a copy for an element type. */
#define COPY_2D(T)                                                                                 \
    static void plane_##T(const T *s, T *d, int64_t rows, int64_t cols, int64_t sr, int64_t sc,    \
                          int64_t dr, int64_t dc) {                                                \
        if (sc == 1 && dc == 1) {                                                                  \
            for (int64_t i = 0; i < rows; i++)                                                     \
                memcpy(d + i * dr, s + i * sr, (size_t)cols * sizeof(T));                          \
        } else if (sc == 0 && dc == 1) {                                                           \
            for (int64_t i = 0; i < rows; i++)                                                     \
                for (int64_t j = 0; j < cols; j++) d[i * dr + j] = s[i * sr];                      \
        } else if (sc == -1 && dc == 1) {                                                          \
            for (int64_t i = 0; i < rows; i++)                                                     \
                for (int64_t j = 0; j < cols; j++) d[i * dr + j] = s[i * sr - j];                  \
        } else {                                                                                   \
            enum { TILE = 32 };                                                                    \
            for (int64_t i0 = 0; i0 < rows; i0 += TILE)                                            \
                for (int64_t j0 = 0; j0 < cols; j0 += TILE) {                                      \
                    int64_t i1 = TIDE_MIN(i0 + TILE, rows), j1 = TIDE_MIN(j0 + TILE, cols);        \
                    for (int64_t i = i0; i < i1; i++)                                              \
                        for (int64_t j = j0; j < j1; j++) d[i * dr + j * dc] = s[i * sr + j * sc]; \
                }                                                                                  \
        }                                                                                          \
    }
COPY_2D(uint8_t)
COPY_2D(uint16_t)
COPY_2D(uint32_t)
COPY_2D(uint64_t)

static void plane(size_t item, const char *s, char *d, int64_t rows, int64_t cols, int64_t sr,
                  int64_t sc, int64_t dr, int64_t dc) {
    switch (item) {
    case 1: plane_uint8_t((const uint8_t *)s, (uint8_t *)d, rows, cols, sr, sc, dr, dc); break;
    case 2: plane_uint16_t((const void *)s, (void *)d, rows, cols, sr, sc, dr, dc); break;
    case 4:
        if (sr == 1 && dc == 1 && sc > 1 && rows > 3 && cols > 3) {
            turn((const void *)s, (void *)d, rows, cols, sc, dr);
            break;
        }
        plane_uint32_t((const void *)s, (void *)d, rows, cols, sr, sc, dr, dc);
        break;
    default: plane_uint64_t((const void *)s, (void *)d, rows, cols, sr, sc, dr, dc); break;
    }
}

static void copy_planned(const plan *p, size_t item, const char *src, char *dst) {
    /* The inner plane: the destination's fastest axis and the source's fastest axis, if another. */
    int in = p->rank - 1, fast = in;
    for (int i = 0; i < p->rank; i++)
        if (p->s[i] == 1 && i != in && p->s[in] != 1) fast = i;
    int row = fast != in ? fast : p->rank > 1 ? p->rank - 2 : -1;
    int64_t rows = row >= 0 ? p->shape[row] : 1, sr = row >= 0 ? p->s[row] : 0,
            dr = row >= 0 ? p->d[row] : 0;
    int64_t outer = 1;
    int axes[TIDE_MAX_RANK], n = 0;
    for (int i = 0; i < p->rank; i++)
        if (i != in && i != row) axes[n++] = i, outer *= p->shape[i];
    int64_t per = rows * p->shape[in];
    if (outer == 1) { /* one plane: cut it by rows */
        int64_t grain = TIDE_MAX(1, 65536 / TIDE_MAX(1, p->shape[in]));
        TIDE_PARALLEL_FOR (rows, grain) {
            plane(item, src + lo * sr * (int64_t)item, dst + lo * dr * (int64_t)item, hi - lo,
                  p->shape[in], sr, p->s[in], dr, p->d[in]);
        }
        return;
    }
    TIDE_PARALLEL_FOR (outer, TIDE_MAX(1, 65536 / TIDE_MAX(1, per))) {
        for (int64_t k = lo; k < hi; k++) {
            int64_t rest = k, so = 0, d_o = 0;
            for (int a = n - 1; a >= 0; a--) {
                int64_t i = rest % p->shape[axes[a]];
                rest /= p->shape[axes[a]];
                so += i * p->s[axes[a]];
                d_o += i * p->d[axes[a]];
            }
            plane(item, src + so * (int64_t)item, dst + d_o * (int64_t)item, rows, p->shape[in], sr,
                  p->s[in], dr, p->d[in]);
        }
    }
}

static void flat_copy(char *dst, const char *src, int64_t bytes) {
    TIDE_PARALLEL_FOR (bytes, 1 << 20) { memcpy(dst + lo, src + lo, (size_t)(hi - lo)); }
}

TIDE_ANY_KERNEL(copy) {
    const tide_buf *x = &c->in[0], *y = &c->out[0];
    size_t item = tide_dtype_size(x->dtype);
    int64_t n = tide_buf_numel(x);
    if (n == 0) return TIDE_OK;
    if (tide_buf_contiguous(x) && tide_buf_contiguous(y)) {
        flat_copy(y->p, x->p, n * (int64_t)item);
        return TIDE_OK;
    }
    plan p = plan_of(x->rank, x->shape, x->stride, y->stride);
    copy_planned(&p, item, x->p, y->p);
    return TIDE_OK;
}

/* -- cast -- */

/* Floats to integers: toward zero; out of range saturates and NaN gives 0, where C would be
 * undefined. */
static int64_t whole(double v, int64_t lo, int64_t hi) {
    return v != v ? 0 : v <= (double)lo ? lo : v >= (double)hi ? hi : (int64_t)v;
}

#define READ_F(v) (v)
#define FROM_F16(v) tide_from_f16(v)
#define FROM_BF16(v) tide_from_bf16(v)

/* CAST(source type, how it is read, target type, how it is written) over a run of n contiguous
 * elements */
#define LOOP(S, READ, D, WRITE)                                      \
    {                                                                \
        const S *s = sp;                                             \
        D *d = dp;                                                   \
        for (int64_t i = 0; i < n; i++) d[i] = (D)WRITE(READ(s[i])); \
        break;                                                       \
    }
#define SAT_I64(v) whole((double)(v), INT64_MIN, INT64_MAX)
#define SAT_I32(v) whole((double)(v), INT32_MIN, INT32_MAX)
/* The same of a float in 32 bits, which vectorises; a narrower integer is the low byte of that. */
static inline int32_t whole_f32(float v) {
    float inside = v != v ? 0 : v < -0x1p31f ? -0x1p31f : v > 0x1.fffffep30f ? 0x1.fffffep30f : v;
    return v >= 0x1p31f ? INT32_MAX : (int32_t)inside;
}
#define F32_I32(v) whole_f32(v)
#if defined(__AVX2__)
/* The instruction gives INT32_MIN for what does not fit. */
static void f32_to_i32(int64_t n, const float *s, int32_t *d) {
    const __m256 most = _mm256_set1_ps(0x1p31f);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_loadu_ps(s + i), above = _mm256_cmp_ps(v, most, _CMP_GE_OQ),
                     number = _mm256_cmp_ps(v, v, _CMP_ORD_Q);
        const __m256i w = _mm256_xor_si256(_mm256_cvttps_epi32(v), _mm256_castps_si256(above));
        _mm256_storeu_si256((__m256i *)(void *)(d + i),
                            _mm256_and_si256(w, _mm256_castps_si256(number)));
    }
    for (; i < n; i++) d[i] = whole_f32(s[i]);
}
#endif
#define WRAP_U8(v) (int64_t) whole((double)(v), INT64_MIN, INT64_MAX)
#define TRUTH(v) ((v) != 0)
#define SAME(v) (v)
/* A double as a float from which a half is rounded as from the double itself: what does not fit
 * ends in an odd bit, so that the second rounding sees no tie where there is none. */
static inline float to_odd(double v) {
    const float f = (float)v;
    const uint32_t u = tide_float_bits(f);
    if ((double)f == v || v != v || u & 1 || (u & 0x7fffffff) == 0x7f800000) return f;
    return tide_bits_float((f < 0 ? -(double)f : f) < (v < 0 ? -v : v) ? u + 1 : u - 1);
}
#define NEAR(v) _Generic((v), float : (v), default : to_odd((double)(v)))
#define TO_F16(v) tide_to_f16(NEAR(v))
#define TO_BF16(v) tide_to_bf16(NEAR(v))

#define FROM_FLOAT(S, READ, SAT32, WRAP8)          \
    switch (to) {                                  \
    case TIDE_F32: LOOP(S, READ, float, SAME)      \
    case TIDE_F64: LOOP(S, READ, double, SAME)     \
    case TIDE_I64: LOOP(S, READ, int64_t, SAT_I64) \
    case TIDE_I32: LOOP(S, READ, int32_t, SAT32)   \
    case TIDE_U8: LOOP(S, READ, uint8_t, WRAP8)    \
    case TIDE_I8: LOOP(S, READ, int8_t, WRAP8)     \
    case TIDE_BOOL: LOOP(S, READ, uint8_t, TRUTH)  \
    case TIDE_F16: LOOP(S, READ, uint16_t, TO_F16) \
    default: LOOP(S, READ, uint16_t, TO_BF16)      \
    }                                              \
    break;
#define FROM_INT(S)                                \
    switch (to) {                                  \
    case TIDE_F32: LOOP(S, SAME, float, SAME)      \
    case TIDE_F64: LOOP(S, SAME, double, SAME)     \
    case TIDE_I64: LOOP(S, SAME, int64_t, SAME)    \
    case TIDE_I32: LOOP(S, SAME, int32_t, SAME)    \
    case TIDE_U8: LOOP(S, SAME, uint8_t, SAME)     \
    case TIDE_I8: LOOP(S, SAME, int8_t, SAME)      \
    case TIDE_BOOL: LOOP(S, SAME, uint8_t, TRUTH)  \
    case TIDE_F16: LOOP(S, SAME, uint16_t, TO_F16) \
    default: LOOP(S, SAME, uint16_t, TO_BF16)      \
    }                                              \
    break;

void KANY(convert)(int from, int to, int64_t n, const void *sp, void *dp) {
    if (from == to) {
        memcpy(dp, sp, (size_t)n * tide_dtype_size(from));
        return;
    }
#if defined(__AVX2__)
    if (from == TIDE_F32 && to == TIDE_I32) {
        f32_to_i32(n, sp, dp);
        return;
    }
#endif
    if (to == TIDE_F32 && tide_is_half(from)) {
        tide_half->widen(from, n, sp, dp);
        return;
    }
    if (from == TIDE_F32 && tide_is_half(to)) {
        tide_half->narrow(to, n, sp, dp);
        return;
    }
    switch (from) {
    case TIDE_F32: FROM_FLOAT(float, SAME, F32_I32, F32_I32)
    case TIDE_F64: FROM_FLOAT(double, SAME, SAT_I32, WRAP_U8)
    case TIDE_F16: FROM_FLOAT(uint16_t, FROM_F16, F32_I32, F32_I32)
    case TIDE_BF16: FROM_FLOAT(uint16_t, FROM_BF16, F32_I32, F32_I32)
    case TIDE_I64: FROM_INT(int64_t)
    case TIDE_I32: FROM_INT(int32_t)
    case TIDE_U8: FROM_INT(uint8_t)
    case TIDE_I8: FROM_INT(int8_t)
    default: FROM_INT(uint8_t)
    }
}

TIDE_ANY_KERNEL(cast) {
    const tide_buf *x = &c->in[0], *y = &c->out[0];
    int64_t n = tide_buf_numel(x);
    size_t a = tide_dtype_size(x->dtype), b = tide_dtype_size(y->dtype);
    if (n == 0) return TIDE_OK;
    const char *src = x->p;
    if (!tide_buf_contiguous(x)) { /* packed first */
        char *packed = tide_scratch(c->dev, (size_t)n * a);
        if (!packed) return TIDE_ENOMEM;
        int64_t dense[TIDE_MAX_RANK], s = 1;
        for (int i = x->rank - 1; i >= 0; i--) dense[i] = s, s *= x->shape[i];
        plan p = plan_of(x->rank, x->shape, x->stride, dense);
        copy_planned(&p, a, src, packed);
        src = packed;
    }
    char *dst = y->p;
    TIDE_PARALLEL_FOR (n, 1 << 16) {
        KANY(convert)(x->dtype, y->dtype, hi - lo, src + lo * (int64_t)a, dst + lo * (int64_t)b);
    }
    return TIDE_OK;
}

/* -- fill_ -- */

TIDE_ANY_KERNEL(fill_) {
    const tide_fill__attrs *a = c->attrs;
    const tide_buf *y = &c->out[0];
    int64_t n = tide_buf_numel(y);
    size_t item = tide_dtype_size(y->dtype);
    if (n == 0) return TIDE_OK;
    uint64_t one = 0;
    tide_value_as(&a->value, y->dtype, &one);
    if (one == 0) {
        TIDE_PARALLEL_FOR (n *(int64_t)item, 1 << 20) {
            memset((char *)y->p + lo, 0, (size_t)(hi - lo));
        }
        return TIDE_OK;
    }
    TIDE_PARALLEL_FOR (n, 1 << 17) {
        switch (item) {
        case 1: memset((char *)y->p + lo, (int)(one & 255), (size_t)(hi - lo)); break;
        case 2:
            for (int64_t i = lo; i < hi; i++) ((uint16_t *)y->p)[i] = (uint16_t)one;
            break;
        case 4:
            for (int64_t i = lo; i < hi; i++) ((uint32_t *)y->p)[i] = (uint32_t)one;
            break;
        default:
            for (int64_t i = lo; i < hi; i++) ((uint64_t *)y->p)[i] = one;
            break;
        }
    }
    return TIDE_OK;
}

/* -- concatenate -- */

/* Single elements of k tensors in turn: elements [lo, hi) of each. */
#define WEAVE(T)                                                                                \
    static void weave_##T(const tide_buf *in, int k, T *restrict y, int64_t lo, int64_t hi) {   \
        const T *a = in[0].p, *b = in[1].p, *c = in[k > 2 ? 2 : 0].p, *d = in[k > 3 ? 3 : 0].p; \
        if (k == 2)                                                                             \
            for (int64_t i = lo; i < hi; i++) y[2 * i] = a[i], y[2 * i + 1] = b[i];             \
        else if (k == 3)                                                                        \
            for (int64_t i = lo; i < hi; i++)                                                   \
                y[3 * i] = a[i], y[3 * i + 1] = b[i], y[3 * i + 2] = c[i];                      \
        else                                                                                    \
            for (int64_t i = lo; i < hi; i++)                                                   \
                y[4 * i] = a[i], y[4 * i + 1] = b[i], y[4 * i + 2] = c[i], y[4 * i + 3] = d[i]; \
    }
WEAVE(uint8_t)
WEAVE(uint16_t)
WEAVE(uint32_t)
WEAVE(uint64_t)
static int weaves(const tide_kcall *c, int64_t axis) {
    int64_t each = 1;
    for (int i = (int)axis; i < c->in[0].rank; i++) each *= c->in[0].shape[i];
    if (each != 1 || c->nin < 2 || c->nin > 4 || !tide_buf_contiguous(&c->out[0])) return 0;
    for (int k = 0; k < c->nin; k++)
        if (!tide_buf_contiguous(&c->in[k]) || c->in[k].shape[axis] != 1) return 0;
    return 1;
}
TIDE_ANY_KERNEL(concatenate) {
    const tide_concatenate_attrs *a = c->attrs;
    const tide_buf *y = &c->out[0];
    size_t item = tide_dtype_size(y->dtype);
    char *at = y->p;
    if (weaves(c, a->axis)) {
        TIDE_PARALLEL_FOR (tide_buf_numel(&c->in[0]), 1 << 15) {
            switch (item) {
            case 1: weave_uint8_t(c->in, c->nin, y->p, lo, hi); break;
            case 2: weave_uint16_t(c->in, c->nin, y->p, lo, hi); break;
            case 4: weave_uint32_t(c->in, c->nin, y->p, lo, hi); break;
            default: weave_uint64_t(c->in, c->nin, y->p, lo, hi); break;
            }
        }
        return TIDE_OK;
    }
    for (int k = 0; k < c->nin; k++) {
        const tide_buf *x = &c->in[k];
        if (tide_buf_numel(x) > 0) {
            plan p = plan_of(x->rank, x->shape, x->stride, y->stride);
            copy_planned(&p, item, x->p, at);
        }
        at += x->shape[a->axis] * y->stride[a->axis] * (int64_t)item;
    }
    return TIDE_OK;
}
