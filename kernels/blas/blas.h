/* What other engines and LAPACK's callers take from the opened BLAS. */
#ifndef TIDE_BLAS_H
#define TIDE_BLAS_H

#include "../gemm.h"
#include "../kernel.h"

int tide_blas_ready(void); /* opens it on the first call; 0: there is none */
int tide_blas_sgemm(const tide_gemm *);
int tide_blas_dgemm(const tide_gemm *);
void *tide_blas_symbol(const char *name); /* of the opened library, NULL: it has none */

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
