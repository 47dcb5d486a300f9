/* What other engines and LAPACK's callers take from the opened BLAS. */
#ifndef TIDE_BLAS_H
#define TIDE_BLAS_H

#include "../gemm.h"

int tide_blas_ready(void); /* opens it on the first call; 0: there is none */
int tide_blas_sgemm(const tide_gemm *);
int tide_blas_dgemm(const tide_gemm *);

#endif
