/* threshold_counts: weighted true positives, false positives, true negatives and false negatives
 * for every threshold. A prediction falls into the bucket after the last threshold that it exceeds;
 * suffix sums over buckets give the counts. A NaN does not count. */
#include "cpu.h"

#include <math.h>

tide_status K(threshold_counts)(tide_kcall *c);

/* How many of the ascending thresholds x exceeds. */
static int64_t exceeded(const REAL *t, int64_t n, REAL x) {
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (x > t[mid]) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

tide_status K(threshold_counts)(tide_kcall *c) {
    const REAL *y_true = c->in[0].p, *y_pred = c->in[1].p, *t = c->in[2].p,
               *weight = c->nin > 3 ? c->in[3].p : NULL;
    REAL *out = c->out[0].p; /* (4, T, L) */
    int64_t n = c->in[1].shape[0], labels = c->in[1].shape[1], nt = c->in[2].shape[0];
    double *bucket = tide_scratch(
        c->dev, (size_t)(2 * (nt + 1) * labels) * sizeof *bucket); /* (2, T + 1, L): true, false */
    if (!bucket) return TIDE_ENOMEM;
    memset(bucket, 0, (size_t)(2 * (nt + 1) * labels) * sizeof *bucket);
    for (int64_t i = 0; i < n && (i % 1024 || !tide_stopped()); i++)
        for (int64_t l = 0; l < labels; l++) {
            int64_t at = i * labels + l;
            if (isnan(y_pred[at])) continue;
            bucket[((y_true[at] != 0 ? 0 : nt + 1) + exceeded(t, nt, y_pred[at])) * labels + l] +=
                weight ? (double)weight[at] : 1.0;
        }
    for (int64_t l = 0; l < labels; l++) {
        double all[2] = {0, 0}, above[2] = {0, 0};
        for (int s = 0; s < 2; s++)
            for (int64_t b = 0; b <= nt; b++) all[s] += bucket[(s * (nt + 1) + b) * labels + l];
        for (int64_t j = nt - 1; j >= 0; j--) { /* positives at threshold j: buckets j + 1 and up */
            for (int s = 0; s < 2; s++) above[s] += bucket[(s * (nt + 1) + j + 1) * labels + l];
            out[(0 * nt + j) * labels + l] = (REAL)above[0];
            out[(1 * nt + j) * labels + l] = (REAL)above[1];
            out[(2 * nt + j) * labels + l] = (REAL)(all[1] - above[1]);
            out[(3 * nt + j) * labels + l] = (REAL)(all[0] - above[0]);
        }
    }
    return TIDE_OK;
}
