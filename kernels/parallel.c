/* Where gcc's `omp parallel` of the kernels goes: to the team of the house. See parallel.h. */
#include "parallel.h"

/* Hidden, so that libraries that bring libgomp with them keep their own. */
void GOMP_parallel(void (*fn)(void *), void *data, unsigned chunks, unsigned flags)
    __attribute__((visibility("hidden")));
void GOMP_parallel(void (*fn)(void *), void *data, unsigned chunks, unsigned flags) {
    (void)flags;
    tide_house->parallel(fn, data, (int)chunks);
}
