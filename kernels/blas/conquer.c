/* Eigenvalues of symmetric matrices of three diagonals, and singular values of matrices of two, by
 * divide and conquer (Cuppen 1981; Gu and Eisenstat 1995): both halves are solved, then joined by a
 * secular equation, one root per column. Halves that are small enough, what deflates and the roots
 * are LAPACK's (stedc, lasd0, laed2, lasd2, laed4, lasd4); the products that make the vectors are
 * made here, in strips of columns.
 *
 * Invariant: no call of the library lasts long, and between two of them Ctrl-C is heard; then what
 * the matrices hold is of no use. Matrices lie by columns. */
#include "blas.h"

#include "../host.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ONE_CALL = 768, ONE_CALL_SINGULAR = 512, LEAF = 25, STRIP = TIDE_CONQUER_STRIP };

typedef const int *I;
static struct {
    int ready;
    void (*gemm)(const char *, const char *, I m, I n, I k, const double *, const double *a, I lda,
                 const double *b, I ldb, const double *, double *c, I ldc, size_t, size_t);
    void (*stedc)(const char *, I n, double *d, double *e, double *z, I ldz, double *work, I lwork,
                  int *iwork, I liwork, int *info, size_t);
    void (*laed2)(int *k, I n, I n1, double *d, double *q, I ldq, int *order, double *rho,
                  double *z, double *poles, double *w, double *q2, int *, int *grouped, int *,
                  int *groups, int *info);
    void (*laed4)(I n, I i, const double *poles, const double *z, double *delta, const double *rho,
                  double *root, int *info);
    void (*bdsdc)(const char *, const char *, I n, double *d, double *e, double *u, I ldu,
                  double *vt, I ldvt, double *, int *, double *work, int *iwork, int *info, size_t,
                  size_t);
    void (*lasd0)(I n, I more, double *d, double *e, double *u, I ldu, double *vt, I ldvt, I leaf,
                  int *iwork, double *work, int *info);
    void (*lasd2)(I nl, I nr, I more, int *k, double *d, double *z, const double *alpha,
                  const double *beta, double *u, I ldu, double *vt, I ldvt, double *poles,
                  double *u2, I ldu2, double *vt2, I ldvt2, int *, int *, int *grouped, int *order,
                  int *groups, int *info);
    void (*lasd4)(I n, I i, const double *poles, const double *z, double *delta, const double *rho,
                  double *root, double *sum, int *info);
} la;

static void find(void) {
    if (!tide_blas_ready()) return;
    *(void **)&la.gemm = tide_blas_symbol("dgemm_");
    *(void **)&la.stedc = tide_blas_symbol("dstedc_");
    *(void **)&la.laed2 = tide_blas_symbol("dlaed2_");
    *(void **)&la.laed4 = tide_blas_symbol("dlaed4_");
    *(void **)&la.bdsdc = tide_blas_symbol("dbdsdc_");
    *(void **)&la.lasd0 = tide_blas_symbol("dlasd0_");
    *(void **)&la.lasd2 = tide_blas_symbol("dlasd2_");
    *(void **)&la.lasd4 = tide_blas_symbol("dlasd4_");
    la.ready =
        la.gemm && la.stedc && la.laed2 && la.laed4 && la.bdsdc && la.lasd0 && la.lasd2 && la.lasd4;
}
int tide_conquer_ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find);
    return la.ready;
}

/* c (m, n) = a (m, k), or its transpose's, times b (k, n), added to c if `more`. */
static void product(const char *turn, int m, int n, int k, const double *a, int lda,
                    const double *b, int ldb, int more, double *c, int ldc) {
    const double one = 1, before = more;
    if (m > 0 && n > 0)
        la.gemm(turn, "N", &m, &n, &k, &one, a, &lda, b, &ldb, &before, c, &ldc, 1, 1);
}

/* How many columns of a product of n x n numbers are a strip. */
static int strip_of(int n) {
    const int64_t most = 400000000 / ((int64_t)n * n + 1);
    return (int)(most < 8 ? 8 : most < STRIP ? most : STRIP);
}

typedef struct {
    double v;
    int at;
} entry;
static int ascending(const void *a, const void *b) {
    const double x = ((const entry *)a)->v, y = ((const entry *)b)->v;
    return x < y ? -1 : x > y;
}
/* Where the numbers of d stand in ascending order, from 1 on; room: 2 n numbers. */
static void order(int n, const double *d, int *at, double *room) {
    entry *all = (entry *)room;
    for (int i = 0; i < n; i++) all[i] = (entry){d[i], i + 1};
    qsort(all, (size_t)n, sizeof *all, ascending);
    for (int i = 0; i < n; i++) at[i] = all[i].at;
}

/* Numbers to one norm: below 1, above the least that is normal. */
static double scale(int n, double *d, double *e) {
    double most = 0;
    for (int i = 0; i < n; i++) {
        most = fmax(most, fabs(d[i]));
        if (i + 1 < n) most = fmax(most, fabs(e[i]));
    }
    for (int i = 0; i < n && most > 0; i++) {
        d[i] /= most;
        if (i + 1 < n) e[i] /= most;
    }
    return most;
}

/* -- eigenvalues -- */

/* Joins two halves, n1 rows and the rest, whose vectors stand on q's diagonal, across the element
 * rho between them. Column j of q first takes poles - root j, of which Loewner's formula makes the
 * vector for which these roots are exact. */
static int join(int n, int n1, double *d, double *q, int ldq, int *at, double rho, double *work,
                int *iwork) {
    const int n2 = n - n1, step = strip_of(n);
    double *z = work, *poles = z + n, *w = poles + n, *q2 = w + n,
           *s = q2 + (int64_t)n1 * n1 + (int64_t)n2 * n2;
    int *grouped = iwork + n, *groups = iwork + 3 * n, k, info = 0;
#define Q(i, j) q[(int64_t)(j)*ldq + (i)]
    for (int j = 0; j < n; j++) z[j] = Q(j < n1 ? n1 - 1 : n1, j);
    la.laed2(&k, &n, &n1, d, q, &ldq, at, &rho, z, poles, w, q2, iwork, grouped, iwork + 2 * n,
             groups, &info);
    for (int j = 1; j <= k && info == 0; j++) {
        if (tide_stopped()) return 1;
        la.laed4(&k, &j, poles, w, &Q(0, j - 1), &rho, &d[j - 1], &info);
    }
    if (info != 0) return info;
    if (k > 2) { /* of one and two, the roots come with their vectors */
        for (int i = 0; i < k; i++) z[i] = Q(i, i);
        for (int j = 0; j < k && !tide_stopped(); j++)
            for (int i = 0; i < k; i++)
                if (i != j) z[i] *= Q(i, j) / (poles[i] - poles[j]);
        for (int i = 0; i < k; i++) w[i] = copysign(sqrt(-z[i]), w[i]);
    }
    const int upper = groups[0] + groups[1], lower = groups[1] + groups[2];
    for (int from = 0; from < k && !tide_stopped(); from += step) {
        const int some = k - from < step ? k - from : step;
        for (int j = 0; j < some; j++) {
            double *v = s + (int64_t)j * k, *delta = &Q(0, from + j), sum = 0;
            for (int i = 0; i < k && k > 2; i++) delta[i] = w[i] / delta[i];
            for (int i = 0; i < k; i++) sum += delta[i] * delta[i];
            for (int i = 0; i < k; i++) v[i] = delta[grouped[i] - 1] / sqrt(sum);
        }
        product("N", n1, some, upper, q2, n1, s, k, 0, &Q(0, from), ldq);
        product("N", n2, some, lower, q2 + (int64_t)n1 * upper, n2, s + groups[0], k, 0,
                &Q(n1, from), ldq);
    }
    return 0;
}

static int eigen(int n, double *d, double *e, double *q, int ldq, int *at, double *work,
                 int *iwork) {
    int info = 0;
    if (tide_stopped()) return 1;
    if (n <= ONE_CALL) {
        const int lwork = 1 + 4 * n + n * n, liwork = 3 + 5 * n;
        la.stedc("I", &n, d, e, q, &ldq, work, &lwork, iwork, &liwork, &info, 1);
    } else {
        const int n1 = n / 2;
        const double rho = e[n1 - 1];
        d[n1 - 1] -= fabs(rho), d[n1] -= fabs(rho);
        info = eigen(n1, d, e, q, ldq, at, work, iwork);
        if (info == 0) info = eigen(n - n1, d + n1, e + n1, &Q(n1, n1), ldq, at + n1, work, iwork);
        if (info == 0) info = join(n, n1, d, q, ldq, at, rho, work, iwork);
    }
    order(n, d, at, work);
    return info;
}

/* d, e (n) become the eigenvalues, ascending; q (n, n) the vectors. work: 1 + 4 n + n * n numbers,
 * iwork 3 + 5 n. 0: done, or Ctrl-C came. */
int tide_conquer_eigen(int n, double *d, double *e, double *q, double *work, int *iwork) {
    int *at = iwork;
    if (n <= ONE_CALL) return eigen(n, d, e, q, n, at, work, iwork);
    const double norm = scale(n, d, e);
    memset(q, 0, (size_t)n * (size_t)n * sizeof *q);
    const int info = eigen(n, d, e, q, n, at, work, iwork + n);
    if (tide_stopped()) return 0;
    for (int j = 0; j < n; j++)
        memcpy(work + (int64_t)j * n, q + (int64_t)(at[j] - 1) * n, (size_t)n * sizeof *q);
    memcpy(q, work, (size_t)n * (size_t)n * sizeof *q);
    for (int j = 0; j < n; j++) work[j] = d[at[j] - 1] * norm;
    memcpy(d, work, (size_t)n * sizeof *d);
    return info;
}
#undef Q

/* -- singular values: of n rows and n + more columns, more 0 or 1 -- */

#define U(i, j) u[(int64_t)(j)*ldu + (i)]
#define VT(i, j) vt[(int64_t)(j)*ldvt + (i)]

/* Joins nl rows, the row (alpha, beta) below them and nr rows. Column j of u first takes poles -
 * root j, that of vt poles + root j. The columns of u2, the rows of vt2 and of what multiplies them
 * stand in groups: the first, those of the left half, of the right one, and of both. */
static int join_singular(int nl, int nr, int more, double *d, double alpha, double beta, double *u,
                         int ldu, double *vt, int ldvt, int *at, double *work, int *iwork) {
    const int n = nl + nr + 1, m = n + more, step = strip_of(n);
    double *z = work, *poles = z + m, *u2 = poles + n, *vt2 = u2 + (int64_t)n * n,
           *right = vt2 + (int64_t)m * m, *s = right + (int64_t)n * n;
    int *grouped = iwork + 2 * n, *groups = iwork + 3 * n, k, info = 0;
    double norm = fmax(fabs(alpha), fabs(beta));
    d[nl] = 0;
    for (int i = 0; i < n; i++) norm = fmax(norm, fabs(d[i]));
    for (int i = 0; i < n; i++) d[i] /= norm;
    alpha /= norm, beta /= norm;
    la.lasd2(&nl, &nr, &more, &k, d, z, &alpha, &beta, u, &ldu, vt, &ldvt, poles, u2, &n, vt2, &m,
             iwork, iwork + n, grouped, at, groups, &info);
    if (info != 0) return info;
    if (k == 1) {
        d[0] = fabs(z[0]);
        for (int j = 0; j < m; j++) VT(0, j) = vt2[(int64_t)j * m];
        for (int i = 0; i < n; i++) U(i, 0) = z[0] > 0 ? u2[i] : -u2[i];
    } else {
        double rho = 0;
        for (int i = 0; i < k; i++) rho += z[i] * z[i];
        const double length = sqrt(rho);
        for (int i = 0; i < k; i++) z[i] /= length;
        for (int j = 1; j <= k && info == 0; j++) {
            if (tide_stopped()) return 1;
            la.lasd4(&k, &j, poles, z, &U(0, j - 1), &rho, &d[j - 1], &VT(0, j - 1), &info);
        }
        if (info != 0) return info;
        for (int i = 0; i < k; i++) s[i] = U(i, k - 1) * VT(i, k - 1);
        for (int j = 0; j + 1 < k && !tide_stopped(); j++)
            for (int i = 0; i < k; i++) {
                const double other = poles[i > j ? j : j + 1];
                s[i] *= U(i, j) * VT(i, j) / (poles[i] - other) / (poles[i] + other);
            }
        for (int i = 0; i < k; i++) z[i] = copysign(sqrt(fabs(s[i])), z[i]);
        const int lefts = groups[0], rights = groups[1], both = groups[2], b = 1 + lefts + rights;
        for (int from = 0; from < k && !tide_stopped(); from += step) {
            const int some = k - from < step ? k - from : step;
            for (int j = from; j < from + some; j++) {
                double *x = &U(0, j), *y = &VT(0, j), *left = s + (int64_t)(j - from) * k,
                       *to = right + (int64_t)j * k, sx = 0, sy = 0;
                for (int i = 0; i < k; i++) {
                    y[i] = z[i] / x[i] / y[i], x[i] = i == 0 ? -1 : poles[i] * y[i];
                    sx += x[i] * x[i], sy += y[i] * y[i];
                }
                for (int i = 0; i < k; i++) {
                    const int of = i == 0 ? 0 : grouped[i] - 1;
                    left[i] = x[of] / sqrt(sx), to[i] = y[of] / sqrt(sy);
                }
            }
            if (k == 2) {
                product("N", n, some, k, u2, n, s, k, 0, &U(0, from), ldu);
                continue;
            }
            product("N", nl, some, lefts, u2 + n, n, s + 1, k, 0, &U(0, from), ldu);
            product("N", nl, some, both, u2 + (int64_t)b * n, n, s + b, k, 1, &U(0, from), ldu);
            for (int j = 0; j < some; j++) U(nl, from + j) = s[(int64_t)j * k];
            product("N", nr, some, rights + both, u2 + (int64_t)(1 + lefts) * n + nl + 1, n,
                    s + 1 + lefts, k, 0, &U(nl + 1, from), ldu);
        }
        for (int from = 0; from < k && !tide_stopped(); from += step) {
            const int some = k - from < step ? k - from : step, wide = m - nl - 1;
            const double *r = right + (int64_t)from * k, *v = vt2 + (int64_t)(nl + 1) * m;
            if (k == 2) {
                product("T", some, m, k, r, k, vt2, m, 0, &VT(from, 0), ldvt);
                continue;
            }
            product("T", some, nl + 1, 1 + lefts, r, k, vt2, m, 0, &VT(from, 0), ldvt);
            product("T", some, nl + 1, both, r + b, k, vt2 + b, m, 1, &VT(from, 0), ldvt);
            product("T", some, wide, 1, r, k, v, m, 0, &VT(from, nl + 1), ldvt);
            product("T", some, wide, rights + both, r + 1 + lefts, k, v + 1 + lefts, m, 1,
                    &VT(from, nl + 1), ldvt);
        }
    }
    for (int i = 0; i < n; i++) d[i] *= norm;
    return 0;
}

static int singular(int n, int more, double *d, double *e, double *u, int ldu, double *vt, int ldvt,
                    int *at, double *work, int *iwork) {
    const int leaf = LEAF;
    int info = 0;
    if (tide_stopped()) return 1;
    if (n <= ONE_CALL_SINGULAR) {
        la.lasd0(&n, &more, d, e, u, &ldu, vt, &ldvt, &leaf, iwork, work, &info);
    } else {
        const int nl = n / 2, nr = n - nl - 1, r = nl + 1;
        const double alpha = d[nl], beta = e[nl];
        info = singular(nl, 1, d, e, u, ldu, vt, ldvt, at, work, iwork);
        if (info == 0)
            info = singular(nr, more, d + r, e + r, &U(r, r), ldu, &VT(r, r), ldvt, at + r, work,
                            iwork);
        if (info == 0)
            info = join_singular(nl, nr, more, d, alpha, beta, u, ldu, vt, ldvt, at, work, iwork);
    }
    order(n, d, at, work);
    return info;
}

/* d, e (n): the diagonal and what is right of it become the singular values, descending; u, vt
 * (n, n) the vectors. work: TIDE_CONQUER_SINGULAR(n) numbers, iwork 8 n. 0: done, or Ctrl-C. */
int tide_conquer_singular(int n, double *d, double *e, double *u, double *vt, double *work,
                          int *iwork) {
    int info = 0, *at = iwork;
    if (n <= ONE_CALL_SINGULAR) {
        la.bdsdc("U", "I", &n, d, e, u, &n, vt, &n, NULL, NULL, work, iwork, &info, 1, 1);
        return info;
    }
    const double norm = scale(n, d, e);
    const size_t bytes = (size_t)n * (size_t)n * sizeof *u;
    memset(u, 0, bytes), memset(vt, 0, bytes);
    for (int i = 0; i < n; i++) {
        u[(int64_t)i * n + i] = vt[(int64_t)i * n + i] = 1;
        if (fabs(d[i]) < DBL_EPSILON) d[i] = copysign(DBL_EPSILON, d[i]);
    }
    info = singular(n, 0, d, e, u, n, vt, n, at, work, iwork + n);
    if (tide_stopped()) return 0;
    for (int j = 0; j < n; j++) /* ascending they stand in `at` */
        memcpy(work + (int64_t)j * n, u + (int64_t)(at[n - 1 - j] - 1) * n, (size_t)n * sizeof *u);
    memcpy(u, work, bytes);
    for (int64_t j = 0; j < n; j++)
        for (int i = 0; i < n; i++) work[j * n + i] = vt[j * n + at[n - 1 - i] - 1];
    memcpy(vt, work, bytes);
    for (int j = 0; j < n; j++) work[j] = d[at[n - 1 - j] - 1] * norm;
    memcpy(d, work, (size_t)n * sizeof *d);
    return info;
}
