/* The engines of the CPU: tables of kernels, and what they found when they were opened. */
#ifndef TIDE_ENGINES_H
#define TIDE_ENGINES_H

#include "attrs.h"
#include "cpu/half.h"

extern const tide_engine tide_engine_onednn, tide_engine_blas;
extern const tide_kernel tide_plain_c[TIDE_OP_COUNT];
/* The other levels of the machine; a build may leave some out. */
extern const tide_kernel tide_plain_v2[TIDE_OP_COUNT] __attribute__((weak)),
    tide_plain_v3[TIDE_OP_COUNT] __attribute__((weak)),
    tide_plain_v4[TIDE_OP_COUNT] __attribute__((weak));
extern const tide_half_loops tide_half_c;
extern const tide_half_loops tide_half_v2 __attribute__((weak)), tide_half_v3 __attribute__((weak)),
    tide_half_v4 __attribute__((weak));

extern int tide_blas_allowed; /* may oneDNN's entries hand products over to the BLAS? */
extern const tide_kernel *tide_plain_table; /* Tide's own kernels at the chosen level */

/* Hands the table of the house to every engine, before the first kernel runs; both stay valid. */
void tide_engines_start(const tide_host *house, const tide_kernel *plain,
                        const tide_half_loops *half);
void tide_engines_open(void); /* opens the libraries that the first heavy ops would open */
/* For tide.config(): library, version, kernels, threads; "not opened yet" before the first heavy
 * op. */
const char *tide_blas_info(void);
const char *tide_onednn_info(void);

/* Counts since the process began; the specs pin them over a training step. */
typedef struct {
    int64_t primitives;        /* oneDNN primitives made */
    int64_t weight_reorders;   /* weights brought into oneDNN's layout */
    int64_t gemm_convolutions; /* primitives that oneDNN serves by im2col */
    int64_t refused_ref; /* shapes left to other engines, oneDNN having only its reference code */
} tide_engine_stats;
tide_engine_stats tide_engines_stats(void);

#endif
