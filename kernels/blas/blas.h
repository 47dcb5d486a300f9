/* What other engines and LAPACK's callers take from the opened BLAS. */
#ifndef TIDE_BLAS_H
#define TIDE_BLAS_H

#include "../gemm.h"
#include "../kernel.h"

int tide_blas_ready(void); /* opens it on the first call; 0: there is none */
int tide_blas_sgemm(const tide_gemm *);
int tide_blas_dgemm(const tide_gemm *);
void *tide_blas_symbol(const char *name); /* of the opened library, NULL: it has none */

/* conquer.c: the last steps of eigenvalues and singular values */
enum { TIDE_CONQUER_STRIP = 128 };
#define TIDE_CONQUER_SINGULAR(n) (3 * (n) * (n) + (4 + TIDE_CONQUER_STRIP) * (n)) /* numbers */
int tide_conquer_ready(void); /* 0: the library lacks something */
int tide_conquer_eigen(int n, double *d, double *e, double *q, double *work, int *iwork);
int tide_conquer_singular(int n, double *d, double *e, double *u, double *vt, double *work,
                          int *iwork);

/* lapack.c; they decline what the plain engine serves faster */
tide_status tide_lapack_cholesky(tide_kcall *);
tide_status tide_lapack_inv(tide_kcall *);
tide_status tide_lapack_solve(tide_kcall *);
tide_status tide_lapack_det(tide_kcall *);
tide_status tide_lapack_slogdet(tide_kcall *);
tide_status tide_lapack_lu_factor(tide_kcall *);
tide_status tide_lapack_qr(tide_kcall *);
tide_status tide_lapack_eigh(tide_kcall *);
tide_status tide_lapack_svd(tide_kcall *);

#endif
