/* Eigenvalues and eigenvectors of a symmetric matrix. */
#ifndef TIDE_EIGEN_H
#define TIDE_EIGEN_H

#include "../kernels/kernel.h"

/* `a` (k, k), symmetric, is overwritten. `values` (k) get the eigenvalues in no order, row i of
 * `vectors` (k, k) the unit eigenvector of values[i]. Householder's reduction and the implicit QL
 * method (Golub and Van Loan, 8.3). TIDE_EARG: no convergence, as with NaN in `a`; TIDE_ENOMEM. */
tide_status tide_eigen_symmetric(int64_t k, double *a, double *values, double *vectors);

#endif
