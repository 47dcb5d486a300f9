/* What all engines of the CPU share: the table of the house that runs them, and Tide's own kernels
 * and conversions at the level that was chosen.
 *
 * Invariant: all are set once, before the first kernel runs. */
#include "engines.h"

#include "gemm.h"

const tide_host *tide_house;
TIDE_THREAD_LOCAL _Atomic int *tide_left_out;
const tide_kernel *tide_plain_table;
const tide_half_loops *tide_half;
int tide_own_first = 1;

void tide_engines_start(const tide_host *house, const tide_kernel *plain,
                        const tide_half_loops *half) {
    tide_house = house;
    tide_plain_table = plain;
    tide_half = half;
}

int tide_bf16_units(void) { return tide_half->bf16_units(); }
