/* One matrix product, as kernels ask for it, and the hook by which an engine serves it.
 *
 * Invariant: linear, convolution (im2col) and matmul are written once, in kernels/cpu; an engine
 * runs the same kernel with its own product under it. A hook may refuse a product (strides, size);
 * Tide's own then serves. */
#ifndef TIDE_GEMM_H
#define TIDE_GEMM_H

#include "attrs.h"

/* Many products of one size: how far the operands of each lie apart, in elements, 0 where they are
 * broadcast. The results lie one behind the other. */
typedef struct {
    int rank;
    int64_t extent[TIDE_MAX_RANK], as[TIDE_MAX_RANK], bs[TIDE_MAX_RANK];
} tide_batch;

/* c (m, n) = a (m, k) b (k, n), or c += a b. Strides count elements; c's columns lie side by side.
 */
typedef struct {
    int64_t m, n, k;
    const void *a;
    int64_t ars, acs; /* strides of a's rows and columns */
    const void *b;
    int64_t brs, bcs;
    void *c;
    int64_t ldc;
    int accumulate;
    int a_half, b_half, c_half; /* TIDE_F16 or TIDE_BF16 where an operand is stored so, else 0 */
    const tide_batch *batch;    /* NULL: one product. Engines see neither halves nor batches */
    const void *packed; /* b as kernels/cpu/gemm.c packs it, made before; NULL: it was not */
} tide_gemm;

/* The rank of a gradient that nobody made, the product of two matrices with any strides: `p` is
 * then a tide_sparse that holds them as ids and values. */
enum { TIDE_PRODUCT_RANK = UINT8_MAX - 1 };

/* Whether products of bfloat16 use instructions of the CPU; else they are multiplied as float32. */
int tide_bf16_units(void);

/* Rows of a up to which a b of halves is read as it is stored. */
enum { TIDE_FEW_ROWS = 64 };

/* A product on the calling thread; several may run side by side. */
typedef struct {
    int (*f32)(const tide_gemm *); /* 0: refused */
    int (*f64)(const tide_gemm *);
} tide_gemm_hook;

extern TIDE_THREAD_LOCAL const tide_gemm_hook *tide_gemm_now; /* NULL: Tide's own */

/* Whether Tide's own products serve where they are as fast, whatever the hook: unless engines were
 * named (TIDE_ENGINE), which then serve what they can. */
extern int tide_own_first;

/* Runs the plain kernel of c->op with the products of `hook`. */
tide_status tide_with_gemm(const tide_gemm_hook *hook, tide_kcall *c);

/* How a BLAS sees a strided matrix: transposed or not, and its leading extent; 0 where it cannot.
 */
static inline int tide_gemm_layout(int64_t rows, int64_t cols, int64_t rs, int64_t cs, int *trans,
                                   int64_t *ld) {
    if ((cs == 1 || cols == 1) && (rs >= cols || rows == 1)) {
        *trans = 0;
        *ld = rows == 1 || rs < cols ? (cols > 1 ? cols : 1) : rs;
        return 1;
    }
    if ((rs == 1 || rows == 1) && (cs >= rows || cols == 1)) {
        *trans = 1;
        *ld = cols == 1 || cs < rows ? (rows > 1 ? rows : 1) : cs;
        return 1;
    }
    return 0;
}

#endif
