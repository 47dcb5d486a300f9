/* The engines of the CPU: tables of kernels, and what they found when they were opened. */
#ifndef TIDE_ENGINES_H
#define TIDE_ENGINES_H

#include "attrs.h"

extern const tide_engine tide_engine_onednn, tide_engine_blas;
extern const tide_kernel tide_plain_c[TIDE_OP_COUNT];
/* The other levels of the machine; a build may leave some out. */
extern const tide_kernel tide_plain_v2[TIDE_OP_COUNT] __attribute__((weak)), tide_plain_v3[TIDE_OP_COUNT] __attribute__((weak)),
    tide_plain_v4[TIDE_OP_COUNT] __attribute__((weak));

extern int tide_in_child;              /* set in a forked child: OpenMP and the libraries must not be used */
void tide_engines_set_threads(int n);  /* passes the thread count on to the libraries that are open */

#endif
