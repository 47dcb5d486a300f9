/* One thread for libraries that use OpenMP: see openmp.h. */
#include "openmp.h"

#include <dlfcn.h>

static void (*set_threads)(int);
static int (*max_threads)(void);

void tide_openmp_of(void *lib) {
    if (set_threads && max_threads) return;
    *(void **)&set_threads = dlsym(lib, "omp_set_num_threads");
    *(void **)&max_threads = dlsym(lib, "omp_get_max_threads");
}

int tide_openmp_single(void) {
    if (!set_threads || !max_threads) return 1;
    const int before = max_threads();
    if (before != 1) set_threads(1);
    return before;
}

void tide_openmp_restore(int before) {
    if (before != 1) set_threads(before);
}
