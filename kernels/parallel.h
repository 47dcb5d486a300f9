/* The parallel loop of the kernels, and what its blocks see of the thread team (src/team.c).
 *
 * Invariant: work is cut by size, never by thread count, and what chunks compute is put together in
 * their order, so that results have equal bits for any number of threads. */
#ifndef TIDE_PARALLEL_H
#define TIDE_PARALLEL_H

#include "kernel.h"

/* One thread's way through the chunks of a region; all but `slot` is the team's. */
typedef struct tide_share {
    int slot;            /* of the thread: 0 .. tide_num_threads() - 1; for work space per thread */
    int threads, done;   /* shares there are, and how many of them this thread has found empty */
    int64_t first, many; /* the share in hand; many < 0: none */
    int64_t next;        /* where the thread is alone: the next chunk */
} tide_share;

/* Runs the following block for each chunk [lo, hi) of 0..n, `grain` long at most; `chunk` is its
 * number, `share_->slot` the thread's. TIDE_PARALLEL_FOR(n, 4096) { for (int64_t i = lo; i < hi;
 * i++) y[i] = f(x[i]); } Neither `return` nor `break` may leave the block. Within
 * another one, of several chunks, it runs on the thread that meets it.
 *
 * The pragma serves one purpose: gcc makes a function of the block and calls GOMP_parallel with it,
 * which is parallel.c's and hands it to the team. libgomp is not linked, so no other construct of
 * OpenMP that needs threads may be used (`omp simd` needs none). clang would call another
 * function: kernels are compiled by gcc. */
/* Chunks that are left when Ctrl-C comes are skipped in files that define TIDE_POLLED and in those
 * compiled per level: none of these takes positions in memory from what an earlier loop computed.
 */
#if defined REAL || defined TIDE_POLLED
#define TIDE_GO_ON (tide_left_out = left_out_, !tide_stopped())
#else
#define TIDE_GO_ON (tide_left_out = left_out_, 1)
#endif
/* clang-format off */
#define TIDE_REGION \
    _Pragma("omp parallel num_threads((int)(chunks_ < 1024 ? chunks_ : 1024)) if (chunks_ > 1)")
#define TIDE_PARALLEL_FOR(n, grain) \
    for (int64_t n_ = (n), grain_ = (grain), chunks_ = n_ > 0 ? (n_ - 1) / grain_ + 1 : 0; \
         chunks_ > 0;) \
    for (_Atomic int *left_out_ = tide_left_out; chunks_ > 0; chunks_ = 0) \
        TIDE_REGION \
        for (tide_share *share_ = tide_house->share(); share_; share_ = NULL) \
            for (int64_t chunk; (chunk = tide_house->next(share_, chunks_)) >= 0;) \
                for (int64_t lo = chunk * grain_, hi = lo + grain_ < n_ ? lo + grain_ : n_, \
                             once_ = TIDE_GO_ON; once_; once_ = 0)
/* clang-format on */

#endif
