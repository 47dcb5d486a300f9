/* Symmetric eigenvalues: A = Q T Q' with T tridiagonal, then T = S D S' by rotations, which act on
 * the rows of Z = Q'. */
#include "eigen.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SWEEPS 60 /* per eigenvalue; two or three are usual */

static double dot(const double *x, const double *y, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}

/* Leaves the reflector v of step j in row j of `v` (from j + 1) and its factor in beta[j]; d and e:
 * diagonal and the one below. */
static void tridiagonal(int64_t k, double *a, double *v, double *beta, double *w, double *d,
                        double *e) {
    for (int64_t j = 0; j < k; j++) {
        double *u = v + j * k;
        int64_t n = k - j - 1;
        d[j] = a[j * k + j];
        e[j] = beta[j] = 0;
        if (n == 0) break;
        u += j + 1;
        for (int64_t i = 0; i < n; i++) u[i] = a[(j + 1 + i) * k + j];
        double norm = sqrt(dot(u, u, n));
        if (n == 1 || norm == 0) {
            e[j] = u[0];
            continue;
        }
        e[j] = u[0] > 0 ? -norm : norm;
        u[0] -= e[j];
        beta[j] = 2 / dot(u, u, n);
        /* A <- H A H = A - u w' - w u',  w = p - (beta p'u / 2) u,  p = beta A u */
        double *block = a + (j + 1) * k + j + 1;
        for (int64_t i = 0; i < n; i++) w[i] = beta[j] * dot(block + i * k, u, n);
        double half = beta[j] * dot(w, u, n) / 2;
        for (int64_t i = 0; i < n; i++) w[i] -= half * u[i];
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < n; c++) block[i * k + c] -= u[i] * w[c] + w[i] * u[c];
    }
}

/* Z = Q' = H_(k-2) ... H_0, from the identity: rows of Z are multiplied from the right, last
 * reflector first. */
static void transform(int64_t k, const double *v, const double *beta, double *z) {
    memset(z, 0, (size_t)(k * k) * sizeof *z);
    for (int64_t i = 0; i < k; i++) z[i * k + i] = 1;
    for (int64_t j = k - 1; j-- > 0;) {
        const double *u = v + j * k + j + 1;
        int64_t n = k - j - 1;
        if (beta[j] == 0) continue;
        for (int64_t i = j + 1; i < k; i++) { /* rows above have zeros here */
            double *row = z + i * k + j + 1, s = beta[j] * dot(row, u, n);
            for (int64_t c = 0; c < n; c++) row[c] -= s * u[c];
        }
    }
}

static bool ql(int64_t k, double *d, double *e, double *z) {
    for (int64_t l = 0; l < k; l++) {
        for (int sweep = 0;; sweep++) {
            int64_t m = l;
            while (m < k - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1]))) m++;
            if (m == l) break;
            if (sweep == MAX_SWEEPS) return false;
            double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
            g = d[m] - d[l] + e[l] / (g + copysign(r, g));
            int64_t i = m - 1;
            for (; i >= l; i--) {
                double f = s * e[i], b = c * e[i];
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
                double *x = z + i * k, *y = x + k;
                for (int64_t q = 0; q < k; q++) {
                    double t = y[q];
                    y[q] = s * x[q] + c * t;
                    x[q] = c * x[q] - s * t;
                }
            }
            if (r == 0 && i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    return true;
}

tide_status tide_eigen_symmetric(int64_t k, double *a, double *values, double *vectors) {
    if (k == 0) return TIDE_OK;
    for (int64_t i = 0; i < k * k; i++)
        if (!isfinite(a[i])) return TIDE_EARG;
    double *v = calloc((size_t)(k * k), sizeof *v), *room = malloc((size_t)(3 * k) * sizeof *room);
    tide_status st = TIDE_ENOMEM;
    if (v && room) {
        double *beta = room, *w = room + k, *e = room + 2 * k;
        tridiagonal(k, a, v, beta, w, values, e);
        transform(k, v, beta, vectors);
        st = ql(k, values, e, vectors) ? TIDE_OK : TIDE_EARG;
    }
    free(v);
    free(room);
    return st;
}
