/* What linear.c and conv.c take from gemm.c, act.c and product.c; all are K-named (one per level
 * and element type). */
#ifndef TIDE_CPU_GEMM_H
#define TIDE_CPU_GEMM_H

#include "../gemm.h"
#include "cpu.h"

/* One product of REAL; b alone may be stored in halves. */
void K(gemm)(const tide_gemm *g);
/* A product of float operands whose pieces go to no memory: each is handed on, on the thread that
 * made it, as rows i0..i1-1 and columns j0..j1-1, `ldc` apart in c. More than three rows and one
 * column. */
typedef void K(take_piece)(const void *arg, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                           const REAL *c, int64_t ldc);
void K(gemm_take)(const tide_gemm *g, K(take_piece) * take, const void *arg);
/* For products that read the same b again: it is packed once. REALs that it takes, and the packing
 * of a single b of REAL to `to`, which is then g's `packed`. */
int64_t K(packed_size)(int64_t k, int64_t n);
void K(pack_b)(const tide_gemm *g, REAL *to);
int K(pack_pays)(const tide_gemm *g); /* also for a single product */
/* c = act(a b + bias), bias or NULL, in one pass where the product is Tide's own. */
void K(gemm_act)(const tide_gemm *g, const REAL *bias, int act);
/* A product as it comes: operands of any float dtype, batches (product.c). bias and act as above,
 * of single products. TIDE_ENOMEM: no work space */
tide_status K(product)(tide_device *dev, const tide_gemm *g, const REAL *bias, int act);
/* Products of two operands in bfloat16 by instructions of the CPU (bf16.c), a batch of them too:
 * whether this level and CPU have them, whether one is served so, and the product; `one` gives the
 * i-th of the batch. TIDE_ENOMEM: no work space */
int K(bf16_units)(void);
int K(bf16_serves)(const tide_gemm *g);
tide_status K(bf16_product)(tide_device *dev, const tide_gemm *g, const REAL *bias, int act,
                            int64_t batch, tide_gemm (*one)(const tide_gemm *, int64_t));
/* c (rows, n; row stride ldc) = act(c + bias); bias may be NULL. The second: rows [lo, hi), on the
 * calling thread. */
void K(bias_act)(int64_t rows, int64_t n, REAL *c, int64_t ldc, const REAL *bias, int act);
void K(bias_act_rows)(int64_t lo, int64_t hi, int64_t n, REAL *c, int64_t ldc, const REAL *bias,
                      int act);
/* dz (rows, n) = dy act'; y is act's result, for gelu and silu its argument. */
void K(act_grad)(int64_t rows, int64_t n, const REAL *dy, const REAL *y, int act, REAL *dz);
/* The same, and sums (n) of dz's rows in one pass; TIDE_ENOMEM: no work space */
tide_status K(act_grad_sums)(tide_device *dev, int64_t rows, int64_t n, const REAL *dy,
                             const REAL *y, int act, REAL *dz, REAL *sums);
/* out (n) = sum of rows; TIDE_ENOMEM: no work space */
tide_status K(colsum)(tide_device *dev, int64_t rows, int64_t n, const REAL *x, REAL *out);
/* Rows that are summed in REAL; such sums are added in double. */
static inline int64_t tide_colsum_rows(int64_t n) {
    return TIDE_MIN(512, TIDE_MAX(16, 16384 / TIDE_MAX(n, 1)));
}

#endif
