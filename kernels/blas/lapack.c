/* LU, Cholesky and QR factorizations, eigenvalues of symmetric matrices and singular values of
 * larger matrices by LAPACK, which OpenBLAS brings, and what follows from them; everything in
 * double, as Tide's own kernels compute it, whose pivots and signs these are too (but signs of
 * eigenvectors and singular vectors, which nothing determines).
 *
 * Invariant: no call of the library lasts long: matrices of more than ONE_CALL rows are factorized
 * by panels, and between two of them Ctrl-C is heard; what is left of an eigenvalue or singular
 * value problem, a matrix of three diagonals or two, is solved by conquer.c. Matrices of less than
 * LEAST rows (inverses: LEAST_INVERSE), and all where the library lacks a function, are left to the
 * plain engine. */
#include "blas.h"

#include "../engines.h"
#include "../openmp.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

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
    /* reflections: a factorization, and a product with what it left */
    int reflects;
    void (*geqrf)(I m, I n, double *a, I lda, double *tau, double *work, I lwork, int *info);
    void (*ormqr)(const char *, const char *, I m, I n, I k, const double *a, I lda,
                  const double *tau, double *c, I ldc, double *work, I lwork, int *info, size_t,
                  size_t);
    void (*ormlq)(const char *, const char *, I m, I n, I k, const double *a, I lda,
                  const double *tau, double *c, I ldc, double *work, I lwork, int *info, size_t,
                  size_t);
    /* to three diagonals, or two: some columns, and the rest */
    void (*latrd)(const char *, I n, I nb, double *a, I lda, double *e, double *tau, double *w,
                  I ldw, size_t);
    void (*syr2k)(const char *, const char *, I n, I k, const double *, const double *a, I lda,
                  const double *b, I ldb, const double *, double *c, I ldc, size_t, size_t);
    void (*sytd2)(const char *, I n, double *a, I lda, double *d, double *e, double *tau, int *info,
                  size_t);
    void (*labrd)(I m, I n, I nb, double *a, I lda, double *d, double *e, double *tauq,
                  double *taup, double *x, I ldx, double *y, I ldy);
    void (*gebd2)(I m, I n, double *a, I lda, double *d, double *e, double *tauq, double *taup,
                  double *work, int *info);
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
    *(void **)&la.geqrf = tide_blas_symbol("dgeqrf_");
    *(void **)&la.ormqr = tide_blas_symbol("dormqr_");
    *(void **)&la.ormlq = tide_blas_symbol("dormlq_");
    *(void **)&la.latrd = tide_blas_symbol("dlatrd_");
    *(void **)&la.syr2k = tide_blas_symbol("dsyr2k_");
    *(void **)&la.sytd2 = tide_blas_symbol("dsytd2_");
    *(void **)&la.labrd = tide_blas_symbol("dlabrd_");
    *(void **)&la.gebd2 = tide_blas_symbol("dgebd2_");
    la.reflects = la.ready && la.geqrf && la.ormqr && la.ormlq && la.latrd && la.syr2k &&
        la.sytd2 && la.labrd && la.gebd2 && tide_conquer_ready();
}

/* Whether the library has what it takes, and how many matrices there are; 0: the plain engine
 * serves. */
static int serves_one(const tide_kcall *c, int64_t *count, int64_t least, int64_t most) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const tide_buf *x = &c->in[0];
    *count = 1;
    if (tide_house->in_child || x->dtype > TIDE_F64 || least < LEAST || most > INT_MAX / 4)
        return 0;
    for (int i = 0; i < x->rank - 2; i++) *count *= x->shape[i];
    pthread_once(&once, find);
    return la.ready;
}
static int serves(const tide_kcall *c, int64_t *count, int64_t *n) {
    *n = c->in[0].shape[c->in[0].rank - 1];
    return serves_one(c, count, *n, *n);
}

/* -- numbers of the call and of the work: columns of the one are rows of the other -- */

static double at(const tide_buf *b, int64_t i) {
    return b->dtype == TIDE_F64 ? ((const double *)b->p)[i] : (double)((const float *)b->p)[i];
}
static void put(const tide_buf *b, int64_t i, double v) {
    if (b->dtype == TIDE_F64) ((double *)b->p)[i] = v;
    else ((float *)b->p)[i] = (float)v;
}
/* rows x cols numbers of b from `first` on, in tiles, until Ctrl-C. */
enum { TILE = 32 };
#define TURNED(rows, cols)                                           \
    for (int64_t r0 = 0; r0 < (rows) && !tide_stopped(); r0 += TILE) \
        for (int64_t c0 = 0; c0 < (cols); c0 += TILE)                \
            for (int64_t r = r0; r < r0 + TILE && r < (rows); r++)   \
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

/* x (n, width) becomes the solution: panels of L from above, then those of U from below. */
static void by_panels(int n, const double *a, const int *pivot, double *x, int width) {
    const double plus = 1, minus = -1;
    const int one = 1;
    la.laswp(&width, x, &n, &one, &n, pivot, &one);
    for (int p = 0; p < n && !tide_stopped(); p += PANEL) {
        const int rows = n - p < PANEL ? n - p : PANEL, below = n - p - rows;
        la.trsm("L", "L", "N", "U", &rows, &width, &plus, A(p, p), &n, x + p, &n, 1, 1, 1, 1);
        la.gemm("N", "N", &below, &width, &rows, &minus, A(p + rows, p), &n, x + p, &n, &plus,
                x + p + rows, &n, 1, 1);
    }
    for (int p = (n - 1) / PANEL * PANEL; p >= 0 && !tide_stopped(); p -= PANEL) {
        const int rows = n - p < PANEL ? n - p : PANEL;
        la.trsm("L", "U", "N", "N", &rows, &width, &plus, A(p, p), &n, x + p, &n, 1, 1, 1, 1);
        la.gemm("N", "N", &p, &width, &rows, &minus, A(0, p), &n, x + p, &n, &plus, x, &n, 1, 1);
    }
}

/* b (n, k), columns one after the other, becomes the solution. */
static void solve(int n, const double *a, const int *pivot, double *b, int64_t k) {
    for (int64_t j = 0; j < k && !tide_stopped(); j += PANEL) {
        const int width = (int)(k - j < PANEL ? k - j : PANEL);
        int info = 0;
        if (n <= ONE_CALL) la.getrs("N", &n, &width, a, &n, pivot, b + j * n, &n, &info, 1);
        else by_panels(n, a, pivot, b + j * n, width);
    }
}

typedef struct {
    double *a, *b;
    int *pivot;
} lu_room;
static int room(tide_kcall *c, int64_t n, int64_t more, lu_room *w) {
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
    lu_room w;
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
        for (int s = k; s < n && !tide_stopped(); s += STRIP) { /* columns of the rest */
            const int strip = n - s < STRIP ? n - s : STRIP, above = s - k;
            la.gemm("T", "N", &above, &strip, &width, &minus, A(j, k), &n, A(j, s), &n, &plus,
                    A(k, s), &n, 1, 1);
            la.syrk("U", "T", &strip, &width, &minus, A(j, s), &n, &plus, A(s, s), &n, 1, 1);
        }
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

/* -- reflections: Q = H1 H2 ... Hk, each 1 - tau v v', the v below the diagonal of a's columns (or
 * right of it, in its rows: H1 H2 ... Hk is then Q') -- */

#define A(i, j) (a + (int64_t)(j)*lda + (i))
#define C(i, j) (c + (int64_t)(j)*ldc + (i))
enum {
    REFLECTED = 400000000, /* multiplications of one call */
    WORK = 1 << 16,        /* numbers that the library may work in: for blocks of 64 reflections, */
    ACROSS = 900           /* of at most so many columns at once; of more than WORK it refuses */
};

/* How many of `all` columns, of m rows and `deep` multiplications for each element, make a call. */
static int share(int64_t all, int64_t m, int64_t deep) {
    int64_t n = REFLECTED / (m > 0 ? m : 1) / (deep > 0 ? deep : 1);
    n = n < 8 ? 8 : n > ACROSS ? ACROSS : n;
    return (int)(n < all ? n : all);
}
static int panel_of(int64_t m, int64_t k) {
    int64_t n = (int64_t)sqrt((double)REFLECTED / (double)(m > 0 ? m : 1));
    n = n < 8 ? 8 : m <= ONE_CALL || n < PANEL ? n : PANEL;
    return (int)(n < k ? n : k);
}

/* c (m, n) becomes Q c, or Q' c if `turned`; a (m, k). */
static void reflect(int turned, int m, int n, int k, const double *a, int lda, const double *tau,
                    double *c, int ldc, double *work) {
    const int panel = panel_of(m, k), lwork = WORK;
    const int last = k > 0 ? (k - 1) / panel * panel : 0;
    for (int p = 0; p < k && !tide_stopped(); p += panel) {
        const int j = turned ? p : last - p, width = k - j < panel ? k - j : panel, rows = m - j;
        const int each = share(n, rows, width);
        for (int at = 0; at < n && !tide_stopped(); at += each) {
            const int some = n - at < each ? n - at : each;
            int info = 0;
            la.ormqr("L", turned ? "T" : "N", &rows, &some, &width, A(j, j), &lda, tau + j,
                     C(j, at), &ldc, work, &lwork, &info, 1, 1);
        }
    }
}

/* c (m, n) becomes c Q', whose v stand in the rows of a (k, n). */
static void reflect_right(int m, int n, int k, const double *a, int lda, const double *tau,
                          double *c, int ldc, double *work) {
    const int panel = panel_of(n, k), lwork = WORK;
    for (int j = k > 0 ? (k - 1) / panel * panel : -1; j >= 0 && !tide_stopped(); j -= panel) {
        const int width = k - j < panel ? k - j : panel, columns = n - j;
        const int each = share(m, columns, width);
        for (int at = 0; at < m && !tide_stopped(); at += each) {
            const int some = m - at < each ? m - at : each;
            int info = 0;
            la.ormlq("R", "N", &some, &columns, &width, A(j, j), &lda, tau + j, C(at, j), &ldc,
                     work, &lwork, &info, 1, 1);
        }
    }
}

/* a (m, n) becomes R above the diagonal and the reflections below. */
static void triangular(int m, int n, double *a, double *tau, double *work) {
    const int k = m < n ? m : n, panel = panel_of(m, k), lwork = WORK, lda = m;
    for (int j = 0; j < k && !tide_stopped(); j += panel) {
        const int width = k - j < panel ? k - j : panel, rows = m - j, rest = n - j - width;
        int info = 0;
        la.geqrf(&rows, &width, A(j, j), &lda, tau + j, work, &lwork, &info);
        reflect(1, rows, rest, width, A(j, j), lda, tau + j, A(j, j + width), lda, work);
    }
}

static void identity(int64_t rows, int64_t columns, double *c) {
    memset(c, 0, (size_t)(rows * columns) * sizeof *c);
    for (int64_t i = 0; i < rows && i < columns; i++) c[i * (rows + 1)] = 1;
}

static double *doubles(tide_kcall *c, int64_t n) {
    return tide_scratch(c->dev, (size_t)(n > 0 ? n : 1) * sizeof(double));
}

/* Numbers whose squares would overflow, or vanish, become as many near one; the power of two by
 * which they were too large. The library squares them, in as many bits as its build happens to. */
static int near_one(double *a, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fabs(a[i]) > most ? fabs(a[i]) : most;
    if (!(most > 0 && most <= DBL_MAX) || (most > 0x1p-400 && most < 0x1p400)) return 0;
    const int by = ilogb(most);
    for (int64_t i = 0; i < n; i++) a[i] = ldexp(a[i], -by);
    return by;
}

tide_status tide_lapack_qr(tide_kcall *call) {
    const tide_buf *x = &call->in[0];
    const int64_t m = x->shape[x->rank - 2], n = x->shape[x->rank - 1], least = m < n ? m : n,
                  q = call->out[0].shape[x->rank - 1];
    int64_t count;
    if (!serves_one(call, &count, least, m > n ? m : n) || !la.reflects) return TIDE_DECLINE;
    double *a = doubles(call, m * n), *c = doubles(call, m * q), *tau = doubles(call, least),
           *work = doubles(call, WORK);
    if (!a || !c || !tau || !work) return TIDE_ENOMEM;
    const int threads = tide_openmp_single();
    for (int64_t i = 0; i < count && !tide_stopped(); i++) {
        load(a, x, i * m * n, m, n);
        const int by = near_one(a, m * n);
        triangular((int)m, (int)n, a, tau, work);
        identity(m, q, c);
        reflect(0, (int)m, (int)q, (int)least, a, (int)m, tau, c, (int)m, work);
        store(&call->out[0], i * m * q, m, q, c);
        TURNED(q, n)
        put(&call->out[1], i * q * n + r * n + k, r <= k ? ldexp(a[k * m + r], by) : 0);
    }
    tide_openmp_restore(threads);
    return TIDE_OK;
}

static int all_finite(const double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(a[i])) return 0;
    return 1;
}

/* Columns whose reduction reads the whole of m x m numbers once each. */
static int columns_of(int64_t m) {
    const int64_t n = 16000000 / (m * m);
    return (int)(n < 4 ? 4 : n < 32 ? n : 32);
}
enum { REST = 64 }; /* rows of the last piece, which is reduced at once */

/* -- eigenvalues of symmetric matrices: a = Q T Q', T of three diagonals, then T's -- */

static void tridiagonal(int n, double *a, double *d, double *e, double *tau, double *w) {
    const double plus = 1, minus = -1;
    const int lda = n;
    int j = 0, info = 0;
    while (n - j > REST && !tide_stopped()) {
        const int m = n - j, width = columns_of(m) < m ? columns_of(m) : m, rest = m - width;
        la.latrd("L", &m, &width, A(j, j), &lda, e + j, tau + j, w, &m, 1);
        la.syr2k("L", "N", &rest, &width, &minus, A(j + width, j), &lda, w + width, &m, &plus,
                 A(j + width, j + width), &lda, 1, 1);
        for (int i = j; i < j + width; i++) d[i] = *A(i, i), *A(i + 1, i) = e[i];
        j += width;
    }
    const int m = n - j;
    if (!tide_stopped()) la.sytd2("L", &m, A(j, j), &lda, d + j, e + j, tau + j, &info, 1);
}

tide_status tide_lapack_eigh(tide_kcall *call) {
    const tide_buf *x = &call->in[0];
    int64_t count, n;
    if (!serves(call, &count, &n) || !la.reflects || n > 20000) return TIDE_DECLINE;
    const int64_t lwork = 1 + 4 * n + n * n, liwork = 3 + 5 * n;
    double *a = doubles(call, n * n), *z = doubles(call, n * n), *d = doubles(call, n),
           *e = doubles(call, n), *tau = doubles(call, n),
           *work = doubles(call, lwork > WORK ? lwork : WORK);
    int *iwork = tide_scratch(call->dev, (size_t)liwork * sizeof *iwork);
    if (!a || !z || !d || !e || !tau || !work || !iwork) return TIDE_ENOMEM;
    const int threads = tide_openmp_single();
    tide_status st = TIDE_OK;
    for (int64_t i = 0; i < count && st == TIDE_OK && !tide_stopped(); i++) {
        load(a, x, i * n * n, n, n);
        if (!all_finite(a, n * n)) {
            call->bad.pos = i, st = TIDE_EARG;
            break;
        }
        TURNED(n, n)
        if (k < r) a[k * n + r] = a[k * n + r] / 2 + a[r * n + k] / 2;
        const int by = near_one(a, n * n);
        tridiagonal((int)n, a, d, e, tau, work);
        if (tide_stopped()) break;
        const int info = tide_conquer_eigen((int)n, d, e, z, work, iwork);
        if (tide_stopped()) break;
        if (info != 0) st = TIDE_DECLINE; /* no convergence: Tide's own tries */
        reflect(0, (int)n - 1, (int)n, (int)n - 1, a + 1, (int)n, tau, z + 1, (int)n, work);
        for (int64_t k = 0; k < n; k++) put(&call->out[0], i * n + k, ldexp(d[k], by));
        store(&call->out[1], i * n * n, n, n, z);
    }
    tide_openmp_restore(threads);
    return st;
}

/* -- singular values: of a matrix as tall as it is wide, or of the R of one that is taller; a = Q B
 * P', B of two diagonals, then B's -- */

static void bidiagonal(int n, double *a, int lda, double *d, double *e, double *tauq, double *taup,
                       double *w) {
    const double plus = 1, minus = -1;
    int j = 0, info = 0;
    while (n - j > REST && !tide_stopped()) {
        const int m = n - j, width = columns_of(m) < m ? columns_of(m) : m, rest = m - width;
        double *y = w + (int64_t)m * width;
        la.labrd(&m, &m, &width, A(j, j), &lda, d + j, e + j, tauq + j, taup + j, w, &m, y, &m);
        la.gemm("N", "T", &rest, &rest, &width, &minus, A(j + width, j), &lda, y + width, &m, &plus,
                A(j + width, j + width), &lda, 1, 1);
        la.gemm("N", "N", &rest, &rest, &width, &minus, w + width, &m, A(j, j + width), &lda, &plus,
                A(j + width, j + width), &lda, 1, 1);
        for (int i = j; i < j + width; i++) *A(i, i) = d[i], *A(i, i + 1) = e[i];
        j += width;
    }
    const int m = n - j;
    if (!tide_stopped())
        la.gebd2(&m, &m, A(j, j), &lda, d + j, e + j, tauq + j, taup + j, w, &info);
}

tide_status tide_lapack_svd(tide_kcall *call) { /* u (m, p), s (k), vh (q, n), p = q = k or full */
    const tide_buf *x = &call->in[0];
    const int64_t rows = x->shape[x->rank - 2], columns = x->shape[x->rank - 1];
    const int tall = rows >= columns;
    const int64_t m = tall ? rows : columns, n = tall ? columns : rows; /* of x, or of x' */
    const int64_t p = call->out[0].shape[x->rank - 1], q = call->out[2].shape[x->rank - 2];
    const int64_t longer = tall ? p : q; /* columns of the basis of m rows */
    int64_t count;
    if (!serves_one(call, &count, n, m) || !la.reflects || n > 20000) return TIDE_DECLINE;
    const int64_t room = TIDE_CONQUER_SINGULAR(n);
    double *a = doubles(call, m * n), *b = doubles(call, n * n), *u = doubles(call, m * longer),
           *un = doubles(call, n * n), *vt = doubles(call, n * n), *d = doubles(call, n),
           *e = doubles(call, n), *tau = doubles(call, n), *tauq = doubles(call, n),
           *taup = doubles(call, n), *work = doubles(call, room > WORK ? room : WORK);
    int *iwork = tide_scratch(call->dev, (size_t)(8 * n) * sizeof *iwork);
    if (!a || !b || !u || !un || !vt || !d || !e || !tau || !tauq || !taup || !work || !iwork)
        return TIDE_ENOMEM;
    const int threads = tide_openmp_single();
    tide_status st = TIDE_OK;
    for (int64_t i = 0; i < count && st == TIDE_OK && !tide_stopped(); i++) {
        if (tall) load(a, x, i * m * n, m, n);
        else
            for (int64_t k = 0; k < m * n; k++) a[k] = at(x, i * m * n + k); /* x' by columns */
        if (!all_finite(a, m * n)) {
            call->bad.pos = i, st = TIDE_EARG;
            break;
        }
        const int by = near_one(a, m * n);
        if (m > n) triangular((int)m, (int)n, a, tau, work);
        for (int64_t k = 0; k < n; k++)
            for (int64_t r = 0; r < n; r++) b[k * n + r] = m > n && r > k ? 0 : a[k * m + r];
        bidiagonal((int)n, b, (int)n, d, e, tauq, taup, work);
        if (tide_stopped()) break;
        const int info = tide_conquer_singular((int)n, d, e, un, vt, work, iwork);
        if (tide_stopped()) break;
        if (info != 0) st = TIDE_DECLINE; /* no convergence: Tide's own tries */
        reflect(0, (int)n, (int)n, (int)n, b, (int)n, tauq, un, (int)n, work);
        reflect_right((int)n, (int)n - 1, (int)n - 1, b + n, (int)n, taup, vt + n, (int)n, work);
        identity(m, longer, u);
        for (int64_t k = 0; k < n; k++) memcpy(u + k * m, un + k * n, (size_t)n * sizeof *u);
        if (m > n) reflect(0, (int)m, (int)longer, (int)n, a, (int)m, tau, u, (int)m, work);
        /* x = u s vt, or x' is: then vt' stands left and u' right */
        for (int64_t k = 0; k < n; k++) put(&call->out[1], i * n + k, ldexp(d[k], by));
        const tide_buf *left = &call->out[0], *right = &call->out[2];
        if (tall) {
            store(left, i * rows * p, m, longer, u);
            store(right, i * q * columns, n, n, vt);
        } else {
            for (int64_t k = 0; k < n * n; k++) put(left, i * rows * p + k, vt[k]);
            for (int64_t k = 0; k < m * longer; k++) put(right, i * q * columns + k, u[k]);
        }
    }
    tide_openmp_restore(threads);
    return st;
}
