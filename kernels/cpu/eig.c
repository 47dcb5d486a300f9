/* Eigenvalues and eigenvectors of matrices that are not symmetric: Hessenberg form, then Francis'
 * QR steps with two shifts to the real Schur form x = Z T Z' (Golub and Van Loan, 7.4 and 7.5),
 * then the eigenvectors of T by substitution, from below. All of a matrix that is multiplied by a
 * power of two, so that its largest element is near 1 and no square passes the range of numbers. */
#include "cpu.h"

#include <complex.h>
#include <float.h>

enum { STEPS = 60 }; /* per eigenvalue; two or three are usual */

/* The reflection 1 - f v v' with v = (1, ...) that takes x (n <= 3 numbers) to (-+|x|, 0, 0). */
static double reflector(int n, const double *x, double *v) {
    double rest = 0;
    for (int i = 1; i < n; i++) rest += x[i] * x[i];
    v[0] = 1;
    if (rest == 0) return 0;
    const double norm = sqrt(x[0] * x[0] + rest), top = x[0] > 0 ? x[0] + norm : x[0] - norm;
    for (int i = 1; i < n; i++) v[i] = x[i] / top;
    return 2 * top * top / (top * top + rest);
}

/* Applies it to rows r.. of a, columns from `from` on, and to columns r.. of a and z. */
static void both_sides(int64_t n, double *a, double *z, int64_t r, int m, const double *v, double f,
                       int64_t from, int64_t rows) {
    for (int64_t j = from; j < n; j++) {
        double s = 0;
        for (int i = 0; i < m; i++) s += v[i] * a[(r + i) * n + j];
        for (int i = 0; i < m; i++) a[(r + i) * n + j] -= f * s * v[i];
    }
    for (int64_t i = 0; i < n; i++) {
        double s = 0, t = 0, *x = a + i * n + r, *y = z + i * n + r;
        for (int k = 0; k < m; k++) s += x[k] * v[k], t += y[k] * v[k];
        for (int k = 0; k < m && i < rows; k++) x[k] -= f * s * v[k];
        for (int k = 0; k < m; k++) y[k] -= f * t * v[k];
    }
}

/* a becomes Hessenberg, z orthogonal; v: n numbers. */
static void hessenberg(int64_t n, double *a, double *z, double *v) {
    for (int64_t i = 0; i < n * n; i++) z[i] = i % (n + 1) == 0;
    for (int64_t k = 0; k + 2 < n && !tide_stopped(); k++) {
        const int64_t m = n - k - 1;
        double rest = 0;
        for (int64_t i = 0; i < m; i++) v[i] = a[(k + 1 + i) * n + k];
        for (int64_t i = 1; i < m; i++) rest += v[i] * v[i];
        if (rest == 0) continue;
        const double norm = sqrt(v[0] * v[0] + rest);
        v[0] += v[0] > 0 ? norm : -norm;
        const double f = 2 / (v[0] * v[0] + rest);
        for (int64_t j = k; j < n; j++) { /* from the left */
            double s = 0;
            for (int64_t i = 0; i < m; i++) s += v[i] * a[(k + 1 + i) * n + j];
            for (int64_t i = 0; i < m; i++) a[(k + 1 + i) * n + j] -= f * s * v[i];
        }
        for (int64_t i = 0; i < n; i++) { /* from the right */
            double s = 0, t = 0, *x = a + i * n + k + 1, *y = z + i * n + k + 1;
            for (int64_t l = 0; l < m; l++) s += x[l] * v[l], t += y[l] * v[l];
            for (int64_t l = 0; l < m; l++) x[l] -= f * s * v[l], y[l] -= f * t * v[l];
        }
        for (int64_t i = 1; i < m; i++) a[(k + 1 + i) * n + k] = 0;
    }
}

/* Rows and columns p, p + 1, whose block has real eigenvalues, turned so that it is triangular. */
static void part(int64_t n, double *a, double *z, int64_t p, double root) {
    const double x[2] = {a[p * n + p + 1], root - a[p * n + p]},
                 w[2] = {root - a[(p + 1) * n + p + 1], a[(p + 1) * n + p]};
    const int first = fabs(x[0]) + fabs(x[1]) > fabs(w[0]) + fabs(w[1]);
    double v[2];
    const double f = reflector(2, first ? x : w, v); /* the eigenvector to the first axis */
    both_sides(n, a, z, p, 2, v, f, p, p + 2);
    a[(p + 1) * n + p] = 0;
}

static int francis(int64_t n, double *a, double *z, int64_t lo, int64_t hi, int odd) {
#define A(i, j) a[(i)*n + (j)]
    double s = A(hi - 1, hi - 1) + A(hi, hi),
           t = A(hi - 1, hi - 1) * A(hi, hi) - A(hi - 1, hi) * A(hi, hi - 1);
    if (odd) { /* a shift of another kind, where the usual ones go in a circle */
        const double w = fabs(A(hi, hi - 1)) + fabs(A(hi - 1, hi - 2));
        s = 1.5 * w, t = w * w;
    }
    double x[3] = {A(lo, lo) * A(lo, lo) + A(lo, lo + 1) * A(lo + 1, lo) - s * A(lo, lo) + t,
                   A(lo + 1, lo) * (A(lo, lo) + A(lo + 1, lo + 1) - s),
                   A(lo + 1, lo) * A(lo + 2, lo + 1)};
    for (int64_t k = lo; k < hi; k++) {
        const int m = k < hi - 1 ? 3 : 2;
        double v[3];
        const double f = reflector(m, x, v);
        both_sides(n, a, z, k, m, v, f, k > lo ? k - 1 : lo, TIDE_MIN(k + 4, hi + 1));
        if (k > lo)
            for (int i = 1; i < m; i++) A(k + i, k - 1) = 0;
        if (k < hi - 1) x[0] = A(k + 1, k), x[1] = A(k + 2, k);
        if (k < hi - 2) x[2] = A(k + 3, k);
    }
    return 1;
}

/* a becomes T; 0: no convergence. */
static int schur(int64_t n, double *a, double *z) {
    int steps = 0;
    for (int64_t hi = n - 1; hi > 0 && !tide_stopped();) {
        int64_t lo = hi;
        for (; lo > 0; lo--) {
            const double near = fabs(A(lo - 1, lo - 1)) + fabs(A(lo, lo));
            if (fabs(A(lo, lo - 1)) <= DBL_EPSILON * near || fabs(A(lo, lo - 1)) < DBL_MIN) {
                A(lo, lo - 1) = 0;
                break;
            }
        }
        if (lo == hi) {
            hi--, steps = 0;
        } else if (lo == hi - 1) {
            const double half = (A(lo, lo) - A(hi, hi)) / 2,
                         gap = half * half + A(lo, hi) * A(hi, lo);
            if (gap >= 0) {
                const double root = sqrt(gap);
                part(n, a, z, lo, A(hi, hi) + half + (half > 0 ? root : -root));
            }
            hi -= 2, steps = 0;
        } else if (++steps > STEPS) {
            return 0;
        } else {
            francis(n, a, z, lo, hi, steps % 10 == 0);
        }
    }
    return 1;
}

/* y (n): the eigenvector of T for w, whose block ends at row k. */
static void substitute(int64_t n, const double *a, int64_t k, double complex w, double least,
                       double complex *y) {
    for (int64_t i = 0; i < n; i++) y[i] = 0;
    int64_t i = k - 1;
    y[k] = 1;
    if (cimag(w) != 0) y[k - 1] = (w - A(k, k)) / A(k, k - 1), i--;
    while (i >= 0) {
        double complex r = 0, q = 0;
        for (int64_t j = i + 1; j <= k; j++) r -= A(i, j) * y[j];
        if (i > 0 && A(i, i - 1) != 0) { /* two rows at once */
            for (int64_t j = i + 1; j <= k; j++) q -= A(i - 1, j) * y[j];
            const double complex top = A(i - 1, i - 1) - w, low = A(i, i) - w;
            double complex det = top * low - A(i - 1, i) * A(i, i - 1);
            if (cabs(det) < least * least) det = least * least;
            y[i - 1] = (q * low - A(i - 1, i) * r) / det;
            y[i] = (top * r - A(i, i - 1) * q) / det;
            i -= 2;
        } else {
            double complex d = A(i, i) - w;
            if (cabs(d) < least) d = least; /* equal eigenvalues: nearly the same vector again */
            y[i--] = r / d;
        }
        const double size = cabs(y[i + 1]);
        if (size > 1e100)
            for (int64_t j = i + 1; j <= k; j++) y[j] /= size;
    }
}
#undef A

/* Column k of the eigenvectors, of length 1, its largest element real, as LAPACK's dgeev; and its
 * conjugate beside it, where it has one. */
static void put_vector(int64_t n, const double *z, const double complex *y, int64_t k, int pair,
                       double complex *v, REAL *re, REAL *im) {
    double sum = 0, most = 0;
    double complex turn = 1;
    for (int64_t i = 0; i < n; i++) {
        v[i] = 0;
        for (int64_t j = 0; j <= k; j++) v[i] += z[i * n + j] * y[j];
        const double size = creal(v[i]) * creal(v[i]) + cimag(v[i]) * cimag(v[i]);
        sum += size;
        if (size > most) most = size, turn = pair ? conj(v[i]) / sqrt(size) : 1;
    }
    const double norm = sqrt(sum);
    for (int64_t i = 0; i < n; i++) {
        const double complex e = v[i] * turn / norm;
        const int largest = pair && fabs(cimag(e)) < DBL_EPSILON * 4 && cabs(v[i]) >= sqrt(most);
        const int64_t first = i * n + (pair ? k - 1 : k);
        re[first] = (REAL)creal(e), im[first] = largest ? 0 : (REAL)cimag(e);
        if (pair) re[first + 1] = re[first], im[first + 1] = -im[first];
    }
}

TIDE_KERNEL(eig) { /* x (..., n, n) -> real and imaginary parts of values (..., n) and vectors */
    const tide_buf *x = &c->in[0];
    const int64_t n = x->shape[x->rank - 1], size = n * n;
    int64_t count = 1;
    for (int i = 0; i < x->rank - 2; i++) count *= x->shape[i];
    if (size == 0 || count == 0) return TIDE_OK;
    double *a = tide_scratch(c->dev, (size_t)(2 * size + n) * sizeof *a);
    double complex *y = tide_scratch(c->dev, (size_t)(2 * n) * sizeof *y);
    if (!a || !y) return TIDE_ENOMEM;
    double *z = a + size, *v = z + size;
    for (int64_t m = 0; m < count && !tide_stopped(); m++) {
        const REAL *from = (const REAL *)x->p + m * size;
        REAL *wr = (REAL *)c->out[0].p + m * n, *wi = (REAL *)c->out[1].p + m * n,
             *re = (REAL *)c->out[2].p + m * size, *im = (REAL *)c->out[3].p + m * size;
        double most = 0, sum = 0;
        for (int64_t i = 0; i < size; i++) {
            a[i] = (double)from[i];
            sum += a[i] - a[i];
            most = fabs(a[i]) > most ? fabs(a[i]) : most;
        }
        c->bad.pos = m;
        if (sum != 0) return TIDE_EARG;
        int power;
        most = frexp(most, &power);
        for (int64_t i = 0; i < size; i++) a[i] = ldexp(a[i], -power);
        hessenberg(n, a, z, v);
        if (!schur(n, a, z)) return TIDE_EARG;
        const double least = most > 0 ? most * DBL_EPSILON : 1;
        for (int64_t k = n - 1; k >= 0 && !tide_stopped();) {
            const int pair = k > 0 && a[k * n + k - 1] != 0;
            double complex w = a[k * n + k];
            if (pair) {
                const double half = (a[(k - 1) * n + k - 1] - a[k * n + k]) / 2,
                             gap = half * half + a[(k - 1) * n + k] * a[k * n + k - 1];
                w = a[k * n + k] + half + I * sqrt(-gap);
                wr[k - 1] = (REAL)ldexp(creal(w), power);
                wi[k - 1] = (REAL)ldexp(cimag(w), power);
            }
            wr[k] = (REAL)ldexp(creal(w), power), wi[k] = (REAL)(0 - ldexp(cimag(w), power));
            substitute(n, a, k, w, least, y);
            put_vector(n, z, y, k, pair, y + n, re, im);
            k -= 1 + pair;
        }
    }
    return TIDE_OK;
}
