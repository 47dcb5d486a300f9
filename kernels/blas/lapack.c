/* LU and Cholesky factorizations of larger matrices by LAPACK, which OpenBLAS brings, and what
 * follows from them; everything in double, as Tide's own kernels compute it, whose pivots and signs
 * these are too.
 *
 * Invariant: no call of the library lasts long: matrices of more than ONE_CALL rows are factorized
 * by panels, and between two of them Ctrl-C is heard. Matrices of less than LEAST rows (inverses:
 * LEAST_INVERSE), and all where the library lacks a function, are left to the plain engine. */
#include "blas.h"

#include "../engines.h"
#include "../openmp.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>

enum { LEAST = 64, LEAST_INVERSE = 320, ONE_CALL = 768, PANEL = 128, STRIP = 512 };

typedef const int *I;
static struct {
    int ready;
    void (*getrf)(I m, I n, double *a, I lda, int *pivot, int *info);
    void (*laswp)(I n, double *a, I lda, I first, I last, I pivot, I step);
    void (*getrs)(const char *, I n, I k, const double *a, I lda, I pivot, double *b, I ldb, int *,
                  size_t);
    void (*potrf)(const char *, I n, double *a, I lda, int *info, size_t);
    void (*trsm)(const char *, const char *, const char *, const char *, I m, I n, const double *,
                 const double *a, I lda, double *b, I ldb, size_t, size_t, size_t, size_t);
    void (*gemm)(const char *, const char *, I m, I n, I k, const double *, const double *a, I lda,
                 const double *b, I ldb, const double *, double *c, I ldc, size_t, size_t);
    void (*syrk)(const char *, const char *, I n, I k, const double *, const double *a, I lda,
                 const double *, double *c, I ldc, size_t, size_t);
} la;

static void find(void) {
    if (!tide_blas_ready()) return;
    *(void **)&la.getrf = tide_blas_symbol("dgetrf_");
    *(void **)&la.laswp = tide_blas_symbol("dlaswp_");
    *(void **)&la.getrs = tide_blas_symbol("dgetrs_");
    *(void **)&la.potrf = tide_blas_symbol("dpotrf_");
    *(void **)&la.trsm = tide_blas_symbol("dtrsm_");
    *(void **)&la.gemm = tide_blas_symbol("dgemm_");
    *(void **)&la.syrk = tide_blas_symbol("dsyrk_");
    la.ready = la.getrf && la.laswp && la.getrs && la.potrf && la.trsm && la.gemm && la.syrk;
}

/* The matrices of a call; 0: the plain engine serves. */
static int serves(const tide_kcall *c, int64_t *count, int64_t *n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const tide_buf *x = &c->in[0];
    *n = x->shape[x->rank - 1], *count = 1;
    if (tide_house->in_child || x->dtype > TIDE_F64 || *n < LEAST || *n > INT_MAX / 4) return 0;
    for (int i = 0; i < x->rank - 2; i++) *count *= x->shape[i];
    pthread_once(&once, find);
    return la.ready;
}

/* -- numbers of the call and of the work: columns of the one are rows of the other -- */

static double at(const tide_buf *b, int64_t i) {
    return b->dtype == TIDE_F64 ? ((const double *)b->p)[i] : (double)((const float *)b->p)[i];
}
static void put(const tide_buf *b, int64_t i, double v) {
    if (b->dtype == TIDE_F64) ((double *)b->p)[i] = v;
    else ((float *)b->p)[i] = (float)v;
}
/* rows x cols numbers of b from `first` on, in tiles. */
enum { TILE = 32 };
#define TURNED(rows, cols)                                         \
    for (int64_t r0 = 0; r0 < (rows); r0 += TILE)                  \
        for (int64_t c0 = 0; c0 < (cols); c0 += TILE)              \
            for (int64_t r = r0; r < r0 + TILE && r < (rows); r++) \
                for (int64_t k = c0; k < c0 + TILE && k < (cols); k++)
static void load(double *to, const tide_buf *b, int64_t first, int64_t rows, int64_t cols) {
    TURNED(rows, cols) to[k * rows + r] = at(b, first + r * cols + k);
}
static void store(const tide_buf *b, int64_t first, int64_t rows, int64_t cols,
                  const double *from) {
    TURNED(rows, cols) put(b, first + r * cols + k, from[k * rows + r]);
}

/* -- LU: a, columns one after the other, becomes L and U; 0: a pivot is 0, or Ctrl-C came -- */

static int lu(int n, double *a, int *pivot) {
    const int panel = n <= ONE_CALL ? n : PANEL, one = 1;
    const double plus = 1, minus = -1;
    int regular = 1;
#define A(i, j) (a + (int64_t)(j)*n + (i))
    for (int j = 0; j < n && !tide_stopped(); j += panel) {
        const int width = n - j < panel ? n - j : panel, m = n - j, below = m - width,
                  first = j + 1, last = j + width;
        int info = 0;
        la.getrf(&m, &width, A(j, j), &n, pivot + j, &info);
        if (info != 0) regular = 0;
        for (int i = j; i < j + width; i++) pivot[i] += j;
        if (j > 0) la.laswp(&j, a, &n, &first, &last, pivot, &one);
        for (int k = j + width; k < n && !tide_stopped(); k += STRIP) {
            const int strip = n - k < STRIP ? n - k : STRIP;
            la.laswp(&strip, A(0, k), &n, &first, &last, pivot, &one);
            la.trsm("L", "L", "N", "U", &width, &strip, &plus, A(j, j), &n, A(j, k), &n, 1, 1, 1,
                    1);
            la.gemm("N", "N", &below, &strip, &width, &minus, A(j + width, j), &n, A(j, k), &n,
                    &plus, A(j + width, k), &n, 1, 1);
        }
    }
    return regular && !tide_stopped();
}

/* b (n, k), columns one after the other, becomes the solution. */
static void solve(int n, const double *a, const int *pivot, double *b, int64_t k) {
    for (int64_t j = 0; j < k && !tide_stopped(); j += PANEL) {
        const int width = (int)(k - j < PANEL ? k - j : PANEL);
        int info = 0;
        la.getrs("N", &n, &width, a, &n, pivot, b + j * n, &n, &info, 1);
    }
}

typedef struct {
    double *a, *b;
    int *pivot;
} work;
static int room(tide_kcall *c, int64_t n, int64_t more, work *w) {
    w->a = tide_scratch(c->dev, (size_t)(n * n) * sizeof(double));
    w->b = tide_scratch(c->dev, (size_t)(more > 0 ? more : 1) * sizeof(double));
    w->pivot = tide_scratch(c->dev, (size_t)n * sizeof(int));
    return w->a && w->b && w->pivot;
}

enum { INVERSE, SOLUTION, DETERMINANT, LOGARITHM, FACTORS };

static tide_status by_lu(tide_kcall *c, int what) {
    int64_t count, n;
    if (!serves(c, &count, &n) || (what == INVERSE && n < LEAST_INVERSE)) return TIDE_DECLINE;
    const int64_t k = what == INVERSE    ? n
        : what != SOLUTION               ? 0
        : c->in[1].rank == c->in[0].rank ? c->in[1].shape[c->in[1].rank - 1]
                                         : 1;
    work w;
    if (k > INT_MAX) return TIDE_DECLINE;
    if (!room(c, n, n * k, &w)) return TIDE_ENOMEM;
    const int threads = tide_openmp_single();
    tide_status st = TIDE_OK;
    for (int64_t m = 0; m < count && st == TIDE_OK && !tide_stopped(); m++) {
        load(w.a, &c->in[0], m * n * n, n, n);
        const int regular = lu((int)n, w.a, w.pivot);
        if (tide_stopped()) break;
        if (what == INVERSE || what == SOLUTION) { /* of no columns too */
            if (!regular) {
                c->bad.pos = m, st = TIDE_EARG;
                break;
            }
            if (what == SOLUTION) load(w.b, &c->in[1], m * n * k, n, k);
            for (int64_t i = 0; i < n * n && what == INVERSE; i++) w.b[i] = i % (n + 1) == 0;
            solve((int)n, w.a, w.pivot, w.b, k);
            store(&c->out[0], m * n * k, n, k, w.b);
        } else if (what == FACTORS) {
            const int64_t base = ((const tide_lu_factor_attrs *)c->attrs)->base;
            store(&c->out[0], m * n * n, n, n, w.a);
            for (int64_t i = 0; i < n; i++)
                ((int64_t *)c->out[1].p)[m * n + i] =
                    (int64_t)((uint64_t)(w.pivot[i] - 1) + (uint64_t)base);
        } else {
            double sign = regular, product = 1, sum = regular ? 0 : -INFINITY;
            for (int64_t i = 0; i < n && regular; i++) {
                const double d = w.a[i * (n + 1)];
                if (w.pivot[i] != i + 1) sign = -sign;
                product *= d, sum += log(fabs(d));
                if (what == LOGARITHM) sign = d != d ? d : d < 0 ? -sign : sign;
            }
            put(&c->out[0], m, what == LOGARITHM ? sign : sign * product);
            if (what == LOGARITHM) put(&c->out[1], m, sum);
        }
    }
    tide_openmp_restore(threads);
    return st;
}
tide_status tide_lapack_inv(tide_kcall *c) { return by_lu(c, INVERSE); }
tide_status tide_lapack_solve(tide_kcall *c) { return by_lu(c, SOLUTION); }
tide_status tide_lapack_det(tide_kcall *c) { return by_lu(c, DETERMINANT); }
tide_status tide_lapack_slogdet(tide_kcall *c) { return by_lu(c, LOGARITHM); }
tide_status tide_lapack_lu_factor(tide_kcall *c) { return by_lu(c, FACTORS); }

/* -- Cholesky: the upper triangle of a, by columns, which are the rows of L -- */

static int cholesky(int n, double *a) {
    const int panel = n <= ONE_CALL ? n : PANEL;
    const double plus = 1, minus = -1;
    for (int j = 0; j < n && !tide_stopped(); j += panel) {
        const int width = n - j < panel ? n - j : panel, rest = n - j - width, k = j + width;
        int info = 0;
        la.potrf("U", &width, A(j, j), &n, &info, 1);
        if (info != 0) return 0;
        for (int i = j; i < k; i++) /* NaN passes the library */
            if (!(*A(i, i) > 0)) return 0;
        if (rest == 0) break;
        la.trsm("L", "U", "T", "N", &width, &rest, &plus, A(j, j), &n, A(j, k), &n, 1, 1, 1, 1);
        la.syrk("U", "T", &rest, &width, &minus, A(j, k), &n, &plus, A(k, k), &n, 1, 1);
    }
    return 1;
}
#undef A

tide_status tide_lapack_cholesky(tide_kcall *c) {
    const int upper = ((const tide_cholesky_attrs *)c->attrs)->upper;
    int64_t count, n;
    if (!serves(c, &count, &n)) return TIDE_DECLINE;
    double *a = tide_scratch(c->dev, (size_t)(n * n) * sizeof *a);
    if (!a) return TIDE_ENOMEM;
    const int threads = tide_openmp_single();
    tide_status st = TIDE_OK;
    for (int64_t m = 0; m < count && st == TIDE_OK && !tide_stopped(); m++) {
        const int64_t first = m * n * n;
        TURNED(n, n)
        if (k <= r)
            a[r * n + k] =
                (at(&c->in[0], first + r * n + k) + at(&c->in[0], first + k * n + r)) / 2;
        if (!cholesky((int)n, a)) c->bad.pos = m, st = TIDE_EARG;
        TURNED(n, n) {
            const double v = k <= r ? a[r * n + k] : 0;
            put(&c->out[0], first + (upper ? k * n + r : r * n + k), v);
        }
    }
    tide_openmp_restore(threads);
    return st;
}
