/* What an arithmetic kernel sees: plain pointers, sizes, strides and attributes.
 *
 * Invariant: nothing below this header knows tensors, the tape or Lua. A kernel never allocates a
 * result, never keeps a pointer after it returns, and reports bad data by filling `bad` and
 * returning TIDE_EINDEX. */
#ifndef TIDE_KERNEL_H
#define TIDE_KERNEL_H

#include "host.h"

#include <stddef.h>
#include <stdint.h>

#define TIDE_MAX_RANK 8

#define TIDE_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TIDE_MAX(a, b) ((a) > (b) ? (a) : (b))
#define TIDE_CEIL_DIV(a, b) (((a) + (b)-1) / (b))

/* dtype: enum suffix, Keras' name, C type, bytes, class (F float, H half storage, I integer, B
 * bool) */
#define TIDE_DTYPES(X)                \
    X(F32, "float32", float, 4, F)    \
    X(F64, "float64", double, 8, F)   \
    X(I64, "int64", int64_t, 8, I)    \
    X(I32, "int32", int32_t, 4, I)    \
    X(U8, "uint8", uint8_t, 1, I)     \
    X(I8, "int8", int8_t, 1, I)       \
    X(BOOL, "bool", uint8_t, 1, B)    \
    X(F16, "float16", uint16_t, 2, H) \
    X(BF16, "bfloat16", uint16_t, 2, H)

typedef enum {
#define X(id, name, ctype, size, cls) TIDE_##id,
    TIDE_DTYPES(X)
#undef X
        TIDE_DTYPE_COUNT
} tide_dtype;

typedef enum {
    TIDE_OK = 0,
    TIDE_EARG,        /* wrong type or value of an argument */
    TIDE_ESHAPE,      /* shapes do not fit */
    TIDE_EDTYPE,      /* dtypes do not fit */
    TIDE_EINDEX,      /* a position, label or id out of range */
    TIDE_EDEVICE,     /* tensors on different devices, or no such device */
    TIDE_ENOMEM,      /* memory or the allocator's limit is exhausted */
    TIDE_ENOKERNEL,   /* no engine of the device serves this op */
    TIDE_EGRAD,       /* differentiation is impossible here */
    TIDE_EIO,         /* a file is missing, truncated or not what it claims */
    TIDE_ERELEASED,   /* the tensor was released */
    TIDE_EINTERRUPT,  /* Ctrl-C came while it ran */
    TIDE_DECLINE = -1 /* kernels only: let the next engine serve */
} tide_status;

/* A strided view of memory. Strides count elements. `p` is NULL for an optional input that was not
 * given. */
typedef struct {
    void *p;
    int64_t shape[TIDE_MAX_RANK], stride[TIDE_MAX_RANK];
    uint8_t rank, dtype;
    uint64_t storage_id,
        version;     /* identity of the contents, for caches of re-laid weights; 0: do not cache */
    uint64_t number; /* the element of an immediate: `p` is its address, all strides are 0 */
} tide_buf;

/* The rank of a sparse gradient in an op that takes one: `p` is then its tide_sparse. */
enum { TIDE_SPARSE_RANK = UINT8_MAX };
typedef struct {
    tide_buf ids;    /* (n) int64, rows from 0, in any order and with repetitions */
    tide_buf values; /* (n, ...), both contiguous */
} tide_sparse;

/* Elements of the smallest table whose rows may lag behind (src/lag.c): smaller ones stay in the
 * cache. */
enum { TIDE_LAG_LEAST = 65536 };

/* Attribute types; `n < 0` in lists means "not given". */
typedef struct {
    int64_t n, v[TIDE_MAX_RANK];
} tide_ints;
typedef struct {
    int64_t n, v[TIDE_MAX_RANK][2];
} tide_pairs;
enum { TIDE_MAX_NUMBERS = 64 };
typedef struct {
    int64_t n;
    double v[TIDE_MAX_NUMBERS];
} tide_numbers;
typedef struct {
    uint64_t seed, stream, offset;
} tide_rng;
typedef struct {
    char s[96];
} tide_text;
#define TIDE_NONE \
    INT64_MIN /* an INT or AXIS that was not given; a FLOAT that was not given is NaN */
/* A number for elements of any dtype: whole ones as they are, so that int64 keeps all its digits,
 * and NaN is one. All zeros: not given. */
enum { TIDE_VALUE_NONE, TIDE_VALUE_WHOLE, TIDE_VALUE_REAL };
typedef struct {
    int32_t is;
    union {
        int64_t whole;
        double real;
    };
} tide_value;

/* Where a kernel found a position out of range: generic words are made from it by tide_apply. */
typedef struct {
    int64_t in, pos, value, lo, hi;
} tide_bad;

typedef struct {
    const void *attrs;        /* tide_<op>_attrs */
    const tide_buf *in;       /* [nin] */
    tide_buf *out;            /* [nout] */
    int op, nin, nout, nlist; /* nlist: length of each tensor list of a list op */
    int may_stop;             /* whether Ctrl-C may leave the results unfinished */
    tide_device *dev;
    tide_bad bad;
} tide_kcall;

typedef tide_status (*tide_kernel)(tide_kcall *);

/* An engine serves any subset of the ops; a NULL slot or TIDE_DECLINE passes the call to the next
 * engine. */
typedef struct {
    const char *name;
    const tide_kernel *table; /* [TIDE_OP_COUNT] */
} tide_engine;

/* n elements from one dtype to another (cpu/any_copy.c, by way of once_half.c): floats go toward
 * zero; what is out of range saturates at 32 and 64 bits and wraps at 8, NaN gives 0. */
void tide_convert(int from, int to, int64_t n, const void *src, void *dst);
/* A value as one element; 0 where none was given. */
static inline void tide_value_as(const tide_value *v, int dtype, void *element) {
    tide_convert(v->is == TIDE_VALUE_REAL ? TIDE_F64 : TIDE_I64, dtype, 1, &v->whole, element);
}

static inline size_t tide_dtype_size(int d) {
    static const uint8_t size[] = {
#define X(id, name, ctype, size, cls) size,
        TIDE_DTYPES(X)
#undef X
    };
    return size[d];
}
static inline int tide_is_half(int d) { return d == TIDE_F16 || d == TIDE_BF16; }
static inline int64_t tide_buf_numel(const tide_buf *b) {
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= b->shape[i];
    return n;
}
static inline int tide_buf_contiguous(const tide_buf *b) {
    int64_t s = 1;
    for (int i = b->rank - 1; i >= 0; i--) {
        if (b->shape[i] != 1 && b->stride[i] != s) return 0;
        s *= b->shape[i];
    }
    return 1;
}

#endif
