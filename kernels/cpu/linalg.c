/* Factorizations of small and middling matrices: Cholesky, LU, QR, eigenvalues of symmetric
 * matrices, singular values.
 *
 * Inputs are contiguous, matrices in their last two axes, one after the other. Everything is
 * computed in double in the kernel's work space and stored in the dtype of the call: float32 keeps
 * its digits. */
#include "cpu.h"

#include <float.h>

typedef struct {
    int64_t count, m, n; /* how many matrices, rows, columns */
} batch;

static batch batch_of(const tide_kcall *c) {
    const tide_buf *x = &c->in[0];
    int64_t results = 0;
    for (int i = 0; i < c->nout; i++) results += tide_buf_numel(&c->out[i]);
    batch b = {1, x->shape[x->rank - 2], x->shape[x->rank - 1]};
    for (int i = 0; i < x->rank - 2; i++) b.count *= x->shape[i];
    if (results == 0) b.count = 0; /* of 2^39 matrices without elements, too */
    return b;
}

static void load(double *to, const REAL *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = (double)from[i];
}
static void store(REAL *to, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = (REAL)from[i];
}
static double dot(const double *x, const double *y, int64_t n) {
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}
/* y -= f x */
static void take_off(double *y, double f, const double *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] -= f * x[i];
}
static void transpose(double *to, const double *from, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) to[j * rows + i] = from[i * cols + j];
}
/* Where squares of the numbers would leave the range of doubles, all are multiplied by 2^-power, so
 * that the largest is near 1. Returns the power, or 0. */
static int scale_down(double *x, int64_t n) {
    int power = 0;
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fabs(x[i]) > most ? fabs(x[i]) : most;
    if (most == 0 || most > DBL_MAX || (most > 0x1p-256 && most < 0x1p256)) return 0;
    frexp(most, &power);
    for (int64_t i = 0; i < n; i++) x[i] = ldexp(x[i], -power);
    return power;
}
/* Exchanges n numbers, `step` apart. */
static void swap(double *x, double *y, int64_t n, int64_t step) {
    for (int64_t i = 0; i < n * step; i += step) {
        const double t = x[i];
        x[i] = y[i];
        y[i] = t;
    }
}
/* Matrix i of the first input is refused. */
static tide_status refuse(tide_kcall *c, int64_t i) {
    c->bad.pos = i;
    return TIDE_EARG;
}

/* -- Cholesky -- */

/* a = L L', L in place of the lower triangle, zeros above; 0: not positive definite. */
static int cholesky(double *a, int64_t n) {
    for (int64_t i = 0; i < n && !tide_stopped(); i++)
        for (int64_t j = 0; j <= i; j++) {
            const double s = a[i * n + j] - dot(a + i * n, a + j * n, j);
            if (j < i) {
                a[i * n + j] = s / a[j * n + j];
                continue;
            }
            if (!(s > 0)) return 0;
            a[i * n + i] = sqrt(s);
            for (int64_t k = i + 1; k < n; k++) a[i * n + k] = 0;
        }
    return 1;
}

static double *doubles(tide_kcall *c, int64_t n) {
    return tide_scratch(c->dev, (size_t)n * sizeof(double));
}
static int64_t *pivots(tide_kcall *c, int64_t n) {
    return tide_scratch(c->dev, (size_t)n * sizeof(int64_t));
}

/* The mean of a matrix and its transpose. */
static void symmetric(double *a, int64_t n) {
    for (int64_t i = 0; i < n && !tide_stopped(); i++)
        for (int64_t j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i] = (a[i * n + j] + a[j * n + i]) / 2;
}

TIDE_KERNEL(cholesky) {
    const tide_cholesky_attrs *at = c->attrs;
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = doubles(c, size), *turned = doubles(c, at->upper ? size : 0);
    if (!a || !turned) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(a, (const REAL *)c->in[0].p + i * size, size);
        symmetric(a, n);
        if (!cholesky(a, n)) return refuse(c, i);
        if (at->upper) transpose(turned, a, n, n);
        store((REAL *)c->out[0].p + i * size, at->upper ? turned : a, size);
    }
    return TIDE_OK;
}

/* -- LU with partial pivoting -- */

/* P a = L U in place; row i was exchanged with row pivot[i]. Returns the sign of the permutation,
 * or 0 where a pivot is 0 or Ctrl-C came: then pivots are not all written. */
static int lu(double *a, int64_t n, int64_t *pivot) {
    int sign = 1, regular = 1;
    for (int64_t k = 0; k < n && !tide_stopped(); k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        pivot[k] = best;
        if (best != k) {
            sign = -sign;
            swap(a + k * n, a + best * n, n, 1);
        }
        if (a[k * n + k] == 0) {
            regular = 0;
            continue;
        }
        for (int64_t i = k + 1; i < n; i++) {
            const double f = a[i * n + k] /= a[k * n + k];
            if (f != 0) take_off(a + i * n + k + 1, f, a + k * n + k + 1, n - k - 1);
        }
    }
    return regular && !tide_stopped() ? sign : 0;
}

/* b (n, k) becomes the solution of T x = b, T the lower or upper triangle of a, with ones on the
 * diagonal if `unit`. */
static void triangle(const double *a, int64_t n, double *b, int64_t k, int lower, int unit) {
    for (int64_t r = 0; r < n && !tide_stopped(); r++) {
        const int64_t i = lower ? r : n - 1 - r;
        for (int64_t j = lower ? 0 : i + 1, end = lower ? i : n; j < end; j++)
            if (a[i * n + j] != 0) take_off(b + i * k, a[i * n + j], b + j * k, k);
        for (int64_t j = 0; j < k && !unit; j++) b[i * k + j] /= a[i * n + i];
    }
}
static void solve(const double *a, int64_t n, const int64_t *pivot, double *b, int64_t k) {
    for (int64_t i = 0; i < n; i++)
        if (pivot[i] != i) swap(b + i * k, b + pivot[i] * k, k, 1);
    triangle(a, n, b, k, 1, 1);
    triangle(a, n, b, k, 0, 0);
}

TIDE_KERNEL(inv) {
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = doubles(c, size), *y = doubles(c, size);
    int64_t *pivot = pivots(c, n);
    if (!a || !y || !pivot) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(a, (const REAL *)c->in[0].p + i * size, size);
        if (!lu(a, n, pivot)) return refuse(c, i);
        for (int64_t j = 0; j < size; j++) y[j] = j % (n + 1) == 0;
        solve(a, n, pivot, y, n);
        store((REAL *)c->out[0].p + i * size, y, size);
    }
    return TIDE_OK;
}

TIDE_KERNEL(solve) { /* a (..., n, n), b (..., n, k) or (..., n) */
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n,
                  k = c->in[1].rank == c->in[0].rank ? c->in[1].shape[c->in[1].rank - 1] : 1;
    double *a = doubles(c, size), *y = doubles(c, n * k);
    int64_t *pivot = pivots(c, n);
    if (!a || !y || !pivot) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(a, (const REAL *)c->in[0].p + i * size, size);
        load(y, (const REAL *)c->in[1].p + i * n * k, n * k);
        if (!lu(a, n, pivot)) return refuse(c, i);
        solve(a, n, pivot, y, k);
        store((REAL *)c->out[0].p + i * n * k, y, n * k);
    }
    return TIDE_OK;
}

TIDE_KERNEL(solve_triangular) {
    const tide_solve_triangular_attrs *at = c->attrs;
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n,
                  k = c->in[1].rank == c->in[0].rank ? c->in[1].shape[c->in[1].rank - 1] : 1;
    double *a = doubles(c, size), *y = doubles(c, n * k);
    if (!a || !y) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(a, (const REAL *)c->in[0].p + i * size, size);
        load(y, (const REAL *)c->in[1].p + i * n * k, n * k);
        for (int64_t j = 0; j < n; j++)
            if (a[j * n + j] == 0) return refuse(c, i);
        triangle(a, n, y, k, at->lower, 0);
        store((REAL *)c->out[0].p + i * n * k, y, n * k);
    }
    return TIDE_OK;
}

static tide_status determinants(tide_kcall *c, int logarithm) {
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = doubles(c, size);
    int64_t *pivot = pivots(c, n);
    if (!a || !pivot) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(a, (const REAL *)c->in[0].p + i * size, size);
        double sign = lu(a, n, pivot), product = sign, sum = sign == 0 ? -INFINITY : 0;
        for (int64_t j = 0; j < n && sign != 0; j++) {
            const double d = a[j * (n + 1)];
            product *= d;
            sum += log(fabs(d));
            if (d < 0) sign = -sign;
            if (d != d) sign = d;
        }
        ((REAL *)c->out[0].p)[i] = (REAL)(logarithm ? sign : product);
        if (logarithm) ((REAL *)c->out[1].p)[i] = (REAL)sum;
    }
    return TIDE_OK;
}
TIDE_KERNEL(det) { return determinants(c, 0); }
TIDE_KERNEL(slogdet) { return determinants(c, 1); }

/* -- cofactors: det(a) inv(a)', where a is singular too -- */

/* Of a singular a, which is overwritten. Its rows and columns are exchanged for the largest pivots,
 * P a Q = L U with a last pivot of 0: then the cofactors are the product of the other pivots, of
 * the w with w' L = (0, ..., 0, 1) and of the z with U z = 0, z[n - 1] = 1; and 0 where another
 * pivot is 0. p, q: places of rows and columns (n), w, z: (n). */
static void singular_cofactors(double *a, int64_t n, double *y, double *w, double *z, int64_t *p,
                               int64_t *q) {
    double product = 1;
    for (int64_t i = 0; i < n; i++) p[i] = q[i] = i;
    for (int64_t k = 0; k + 1 < n && !tide_stopped(); k++) {
        int64_t row = k, column = k;
        for (int64_t i = k; i < n; i++)
            for (int64_t j = k; j < n; j++)
                if (fabs(a[i * n + j]) > fabs(a[row * n + column])) row = i, column = j;
        const int64_t pk = p[k], qk = q[k];
        p[k] = p[row], p[row] = pk, q[k] = q[column], q[column] = qk;
        if (row != k) swap(a + row * n, a + k * n, n, 1), product = -product;
        if (column != k) swap(a + column, a + k, n, n), product = -product;
        const double top = a[k * n + k];
        product *= top;
        if (top == 0) break;
        for (int64_t i = k + 1; i < n; i++) {
            const double f = a[i * n + k] /= top;
            if (f != 0) take_off(a + i * n + k + 1, f, a + k * n + k + 1, n - k - 1);
        }
    }
    if (product == 0) {
        for (int64_t i = 0; i < n * n; i++) y[i] = 0;
        return;
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        w[i] = z[i] = i == n - 1;
        for (int64_t j = i + 1; j < n; j++)
            w[i] -= a[j * n + i] * w[j], z[i] -= a[i * n + j] * z[j];
        if (i < n - 1) z[i] /= a[i * n + i];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) y[p[i] * n + q[j]] = product * w[i] * z[j];
}

TIDE_KERNEL(cofactors_) {
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = tide_scratch(c->dev, (size_t)(2 * size + 4 * n + 1) * sizeof *a);
    if (!a) return TIDE_ENOMEM;
    double *y = a + size, *w = y + size, *z = w + n;
    int64_t *p = (int64_t *)(void *)(z + n), *q = p + n;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        const REAL *x = (const REAL *)c->in[0].p + i * size;
        load(a, x, size);
        double product = lu(a, n, p);
        if (product == 0) {
            load(a, x, size);
            singular_cofactors(a, n, y, w, z, p, q);
        } else {
            for (int64_t j = 0; j < n; j++) product *= a[j * (n + 1)];
            for (int64_t j = 0; j < size; j++) y[j] = j % (n + 1) == 0 ? product : 0;
            solve(a, n, p, y, n);
            transpose(a, y, n, n);
            memcpy(y, a, (size_t)size * sizeof *y);
        }
        store((REAL *)c->out[0].p + i * size, y, size);
    }
    return TIDE_OK;
}

TIDE_KERNEL(lu_factor) {
    const tide_lu_factor_attrs *at = c->attrs;
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = doubles(c, size);
    if (!a) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        int64_t *pivot = (int64_t *)c->out[1].p + i * n;
        load(a, (const REAL *)c->in[0].p + i * size, size);
        lu(a, n, pivot);
        for (int64_t j = 0; j < n; j++) pivot[j] = tide_wrap_add(pivot[j], at->base);
        store((REAL *)c->out[0].p + i * size, a, size);
    }
    return TIDE_OK;
}

/* -- QR by reflections: x = Q R; Q has q columns -- */
TIDE_KERNEL(qr) {
    const batch b = batch_of(c);
    const int64_t m = b.m, n = b.n, k = TIDE_MIN(m, n), q = c->out[0].shape[c->out[0].rank - 1];
    /* columns of x and of Q lie in rows */
    double *a = doubles(c, m * n), *x = doubles(c, m * n), *y = doubles(c, m * q),
           *turned = doubles(c, m * q), *beta = doubles(c, k);
    if (!a || !x || !y || !turned || !beta) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(x, (const REAL *)c->in[0].p + i * m * n, m * n);
        const int power = scale_down(x, m * n);
        transpose(a, x, m, n);
        for (int64_t j = 0; j < k && !tide_stopped();
             j++) { /* v, scaled so that v[j] = 1, stays below the diagonal; R above */
            double *v = a + j * m, top = v[j], below = dot(v + j + 1, v + j + 1, m - j - 1);
            beta[j] = 0;
            if (below == 0) continue; /* triangular already: no reflection, as LAPACK's dlarfg */
            const double norm = sqrt(top * top + below), r = signbit(top) ? norm : -norm;
            beta[j] = (r - top) / r;
            for (int64_t l = j + 1; l < m; l++) v[l] /= top - r;
            v[j] = r;
            for (int64_t p = j + 1; p < n; p++) {
                double *w = a + p * m, f = beta[j] * (w[j] + dot(v + j + 1, w + j + 1, m - j - 1));
                w[j] -= f;
                take_off(w + j + 1, f, v + j + 1, m - j - 1);
            }
        }
        for (int64_t p = 0; p < q && !tide_stopped();
             p++) { /* Q = H0 H1 ... on the columns of the identity, last reflection first */
            double *w = y + p * m;
            for (int64_t l = 0; l < m; l++) w[l] = l == p;
            for (int64_t j = k - 1; j >= 0; j--) {
                const double *v = a + j * m,
                             f = beta[j] * (w[j] + dot(v + j + 1, w + j + 1, m - j - 1));
                w[j] -= f;
                take_off(w + j + 1, f, v + j + 1, m - j - 1);
            }
        }
        transpose(turned, y, q, m);
        store((REAL *)c->out[0].p + i * m * q, turned, m * q);
        REAL *r = (REAL *)c->out[1].p + i * q * n;
        for (int64_t row = 0; row < q; row++)
            for (int64_t j = 0; j < n; j++)
                r[row * n + j] = row <= j ? (REAL)ldexp(a[j * m + row], power) : 0;
    }
    return TIDE_OK;
}

/* -- eigenvalues of symmetric matrices: Householder's reduction A = Q T Q' with T tridiagonal, then
 * the implicit QL method, whose rotations act on the rows of Z = Q' (Golub and Van Loan, 8.3) -- */

enum { SWEEPS = 60 }; /* QL: per eigenvalue, two or three are usual; Hestenes: of all pairs */

/* Rows p and q of v turned by (c, s). */
static void turn(double *v, int64_t p, int64_t q, int64_t n, double cosine, double sine) {
    double *x = v + p * n, *y = v + q * n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const double a = x[i], b = y[i];
        x[i] = cosine * a - sine * b;
        y[i] = sine * a + cosine * b;
    }
}

/* Leaves the reflector of step j in row j of u (from j + 1) and its factor in beta[j]; d and e get
 * the diagonal of T and the one below it. */
static void tridiagonal(int64_t n, double *a, double *u, double *beta, double *w, double *d,
                        double *e) {
    for (int64_t j = 0; j < n && !tide_stopped(); j++) {
        double *v = u + j * n + j + 1;
        const int64_t m = n - j - 1;
        d[j] = a[j * n + j];
        e[j] = beta[j] = 0;
        if (m == 0) break;
        for (int64_t i = 0; i < m; i++) v[i] = a[(j + 1 + i) * n + j];
        const double norm = sqrt(dot(v, v, m));
        if (m == 1 || norm == 0) {
            e[j] = v[0];
            continue;
        }
        e[j] = v[0] > 0 ? -norm : norm;
        v[0] -= e[j];
        beta[j] = 2 / dot(v, v, m);
        /* A <- H A H = A - v w' - w v',  w = p - (beta p'v / 2) v,  p = beta A v */
        double *block = a + (j + 1) * n + j + 1;
        for (int64_t i = 0; i < m; i++) w[i] = beta[j] * dot(block + i * n, v, m);
        take_off(w, beta[j] * dot(w, v, m) / 2, v, m);
        for (int64_t i = 0; i < m; i++) {
            take_off(block + i * n, v[i], w, m);
            take_off(block + i * n, w[i], v, m);
        }
    }
}

/* Z = Q' = H_(n-2) ... H_0, from the identity: rows of Z are multiplied from the right, last
 * reflector first. */
static void reflect(int64_t n, const double *u, const double *beta, double *z) {
    for (int64_t i = 0; i < n * n; i++) z[i] = i % (n + 1) == 0;
    for (int64_t j = n - 1; j-- > 0 && !tide_stopped();) {
        const double *v = u + j * n + j + 1;
        const int64_t m = n - j - 1;
        if (beta[j] == 0) continue;
        for (int64_t i = j + 1; i < n; i++) { /* rows above have zeros here */
            double *row = z + i * n + j + 1;
            take_off(row, beta[j] * dot(row, v, m), v, m);
        }
    }
}

/* d becomes the eigenvalues, row i of z the eigenvector of d[i]; 0: no convergence. What is below
 * the rounding of the largest is nothing: among many eigenvalues of 0 it would never end. */
static int ql(int64_t n, double *d, double *e, double *z) {
    double least = 0;
    for (int64_t i = 0; i < n; i++) least = TIDE_MAX(least, fabs(d[i]) + fabs(e[i]));
    least *= DBL_EPSILON / 2;
    for (int64_t l = 0; l < n && !tide_stopped(); l++)
        for (int sweep = 0;; sweep++) {
            int64_t m = l;
            while (m < n - 1 && fabs(e[m]) > least &&
                   fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])))
                m++;
            if (m == l) break;
            if (sweep == SWEEPS) return 0;
            double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
            g = d[m] - d[l] + e[l] / (g + copysign(r, g));
            int64_t i = m - 1;
            for (; i >= l; i--) {
                const double f = s * e[i], b = c * e[i];
                e[i + 1] = r = hypot(f, g);
                if (r == 0) { /* the matrix falls apart here */
                    d[i + 1] -= p;
                    e[m] = 0;
                    break;
                }
                s = f / r, c = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                turn(z, i, i + 1, n, c, s);
            }
            if (r == 0 && i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    return 1;
}

static int all_finite(const double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(a[i])) return 0;
    return 1;
}

/* The eigenvalues of a, which is overwritten, and their unit vectors, one to a row of z; 0: an
 * element is not finite, or no convergence. */
static int symmetric_eigen(int64_t n, double *a, double *d, double *z, double *u, double *room) {
    if (!all_finite(a, n * n)) return 0;
    double *beta = room, *w = room + n, *e = room + 2 * n;
    tridiagonal(n, a, u, beta, w, d, e);
    reflect(n, u, beta, z);
    return ql(n, d, e, z);
}

TIDE_KERNEL(eigh) {
    const batch b = batch_of(c);
    const int64_t n = b.n, size = n * n;
    double *a = doubles(c, size), *z = doubles(c, size), *u = doubles(c, size);
    double *d = doubles(c, n), *room = doubles(c, 3 * n);
    if (!a || !z || !u || !d || !room) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        REAL *w = (REAL *)c->out[0].p + i * n, *vectors = (REAL *)c->out[1].p + i * size;
        load(a, (const REAL *)c->in[0].p + i * size, size);
        const int power = scale_down(a, size);
        symmetric(a, n);
        if (!symmetric_eigen(n, a, d, z, u, room)) return refuse(c, i);
        for (int64_t to = 0; to < n; to++) { /* rising; what was taken is infinite */
            int64_t least = 0;
            for (int64_t j = 1; j < n; j++)
                if (d[j] < d[least]) least = j;
            w[to] = (REAL)ldexp(d[least], power);
            d[least] = INFINITY;
            for (int64_t j = 0; j < n; j++) vectors[j * n + to] = (REAL)z[least * n + j];
        }
    }
    return TIDE_OK;
}

/* -- singular values by one-sided rotations (Hestenes 1958) -- */

/* Rows of w (n, m) become orthogonal, v (n, n) collects the rotations. */
static void one_sided(double *w, double *v, int64_t n, int64_t m) {
    for (int64_t i = 0; i < n * n; i++) v[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        int turned = 0;
        for (int64_t p = 0; p < n && !tide_stopped(); p++)
            for (int64_t q = p + 1; q < n; q++) {
                const double *x = w + p * m, *y = w + q * m;
                const double a = dot(x, x, m), b = dot(y, y, m), g = dot(x, y, m);
                if (fabs(g) <= 1e-15 * sqrt(a * b) || g == 0) continue;
                const double z = (b - a) / (2 * g),
                             t = (z < 0 ? -1 : 1) / (fabs(z) + sqrt(z * z + 1)),
                             cosine = 1 / sqrt(t * t + 1);
                turned = 1;
                turn(w, p, q, m, cosine, t * cosine);
                turn(v, p, q, n, cosine, t * cosine);
            }
        if (!turned || tide_stopped()) return;
    } /* what is left is rounding */
}

/* Rows from..to of u (to, m), orthonormal to those before them. */
static void complete(double *u, int64_t from, int64_t to, int64_t m) {
    for (int64_t r = from, axis = 0; r < to && axis < m && !tide_stopped(); axis++) {
        double *x = u + r * m;
        for (int64_t i = 0; i < m; i++) x[i] = i == axis;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < r; j++) take_off(x, dot(x, u + j * m, m), u + j * m, m);
        const double norm = sqrt(dot(x, x, m));
        if (norm < 1e-3 / sqrt((double)m)) continue;
        for (int64_t i = 0; i < m; i++) x[i] /= norm;
        r++;
    }
}

TIDE_KERNEL(svd_) { /* u (m, p), s (k), vh (q, n) with p = q = k or full */
    const batch b = batch_of(c);
    const int64_t tall = b.m >= b.n, m = tall ? b.m : b.n,
                  n = tall ? b.n : b.m; /* of x, or of its transpose */
    const int64_t pu = c->out[0].shape[c->out[0].rank - 1],
                  qv = c->out[2].shape[c->out[2].rank - 2];
    const int64_t lp = tall ? pu : qv; /* rows of the longer basis */
    double *w = doubles(c, m * n), *x = doubles(c, m * n), *v = doubles(c, n * n),
           *sorted = doubles(c, n * n), *u = doubles(c, lp * m), *s = doubles(c, n);
    if (!w || !x || !v || !sorted || !u || !s) return TIDE_ENOMEM;
    for (int64_t i = 0; i < b.count && !tide_stopped(); i++) {
        load(x, (const REAL *)c->in[0].p + i * m * n, m * n);
        if (!all_finite(x, m * n)) return refuse(c, i);
        const int power = scale_down(x, m * n);
        if (tall) transpose(w, x, m, n);
        else memcpy(w, x, (size_t)(m * n) * sizeof *w);
        one_sided(w, v, n, m);
        for (int64_t j = 0; j < n; j++) s[j] = sqrt(dot(w + j * m, w + j * m, m));
        int64_t rank = 0;
        for (int64_t to = 0; to < n; to++) { /* falling; what was taken is below 0 */
            int64_t most = 0;
            for (int64_t j = 1; j < n; j++)
                if (s[j] > s[most]) most = j;
            const double value = s[most];
            ((REAL *)c->out[1].p)[i * n + to] = (REAL)ldexp(value, power);
            memcpy(sorted + to * n, v + most * n, (size_t)n * sizeof *v);
            if (value > 0) {
                for (int64_t j = 0; j < m; j++) u[to * m + j] = w[most * m + j] / value;
                rank = to + 1;
            }
            s[most] = -1;
        }
        complete(u, rank, lp, m);
        /* rows of u and sorted are left and right singular vectors of the tall matrix */
        REAL *left = (REAL *)c->out[0].p + i * b.m * pu,
             *right = (REAL *)c->out[2].p + i * qv * b.n;
        const double *ul = tall ? u : sorted, *vl = tall ? sorted : u;
        for (int64_t r = 0; r < b.m; r++)
            for (int64_t j = 0; j < pu; j++) left[r * pu + j] = (REAL)ul[j * b.m + r];
        store(right, vl, qv * b.n);
    }
    return TIDE_OK;
}
