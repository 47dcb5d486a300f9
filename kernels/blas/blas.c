/* OpenBLAS (or another CBLAS), opened when the first product asks for it.
 *
 * Invariant: nothing is linked; without a library every entry declines. The search is $TIDE_BLAS,
 * the OpenMP build's own folder (Debian's alternatives prefer the pthread build under the common
 * name, and two thread teams fight), the system's. OpenBLAS before 0.3.25 falls back to SSE3 on
 * CPUs that it does not know: there the core type is chosen from CPUID. */
#include "blas.h"

#include "../engines.h"
#include "../gemm.h"
#include "../openmp.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

int tide_blas_allowed = 1;
static void *lib;
static void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int,
                     float, float *, int);
static void (*dgemm)(int, int, int, int, int, int, double, const double *, int, const double *, int,
                     double, double *, int);
static void (*sgemv)(int, int, int, int, float, const float *, int, const float *, int, float,
                     float *, int);
static void (*dgemv)(int, int, int, int, double, const double *, int, const double *, int, double,
                     double *, int);
static char info[256] = "not opened yet";

/* A core type that every OpenBLAS since 0.3.0 has and this CPU can run; NULL: leave the choice to
 * the library. */
static const char *core_type(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
#endif
    return NULL;
}

/* The version stands in openblas_get_config: "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...". */
static int older_than_0_3_25(const char *config) {
    int a = 0, b = 0, c = 0;
    const char *v = config ? strstr(config, "OpenBLAS ") : NULL;
    if (!v || sscanf(v + 9, "%d.%d.%d", &a, &b, &c) < 3) return 0;
    return a == 0 && (b < 3 || (b == 3 && c < 25));
}

static const char *try_open(const char *path) {
    if (!path || !*path) return NULL;
    const char *core = getenv("OPENBLAS_CORETYPE") ? NULL : core_type();
    const char *threads = getenv("OPENBLAS_NUM_THREADS");
    char *before = threads ? strdup(threads) : NULL;
    if (core) setenv("OPENBLAS_CORETYPE", core, 1);
    /* a build with threads of its own starts them here, and raises SIGINT where the system has none
     * left */
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (before) setenv("OPENBLAS_NUM_THREADS", before, 1);
    else unsetenv("OPENBLAS_NUM_THREADS");
    free(before);
    if (core) unsetenv("OPENBLAS_CORETYPE");
    return lib ? path : NULL;
}

static void *sym(const char *name) { return lib ? dlsym(lib, name) : NULL; }

static void open_blas(void) {
    static const char *const places[] = {
        "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0",
        "/usr/lib/aarch64-linux-gnu/openblas-openmp/libopenblas.so.0",
        "libopenblas.so.0",
        "libopenblas.so",
        "libcblas.so.3",
        "libblas.so.3",
    };
    const char *path = NULL, *want = getenv("TIDE_BLAS");
    if (want && !strcmp(want, "none")) {
        snprintf(info, sizeof info, "none (TIDE_BLAS)");
        return;
    }
    path = try_open(want);
    for (size_t i = 0; !path && i < sizeof places / sizeof *places; i++) path = try_open(places[i]);
    *(void **)&sgemm = sym("cblas_sgemm");
    *(void **)&dgemm = sym("cblas_dgemm");
    *(void **)&sgemv = sym("cblas_sgemv");
    *(void **)&dgemv = sym("cblas_dgemv");
    if (!sgemm || !dgemm || !sgemv || !dgemv) {
        snprintf(info, sizeof info, path ? "%s has no CBLAS" : "no library found%s",
                 path ? path : "");
        if (lib) dlclose(lib);
        lib = NULL, sgemm = NULL;
        return;
    }
    char *(*config)(void), *(*core)(void);
    void (*set_threads)(int);
    int (*parallel)(void);
    *(void **)&config = sym("openblas_get_config");
    *(void **)&core = sym("openblas_get_corename");
    *(void **)&parallel = sym("openblas_get_parallel");
    *(void **)&set_threads = sym("openblas_set_num_threads");
    const char *text = config ? config() : "BLAS", *name = core ? core() : "?";
    int words = (int)strcspn(text, " ");
    if (text[words]) words += 1 + (int)strcspn(text + words + 1, " ");
    snprintf(info, sizeof info, "%.*s, %s kernels%s, %s threads (%s)", words, text, name,
             older_than_0_3_25(text) && !strcmp(name, "Prescott")
                 ? " (slow: CPU not known to this version)"
                 : "",
             !parallel             ? "unknown"
                 : parallel() == 2 ? "OpenMP"
                 : parallel() == 1 ? "its own"
                                   : "no",
             path);
    if (set_threads) set_threads(1); /* its own threads; OpenMP's are asked for at each call */
    tide_openmp_of(lib);
}

int tide_blas_ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (tide_house->in_child) return 0;
    pthread_once(&once, open_blas);
    return lib != NULL;
}

const char *tide_blas_info(void) { return info; }
void *tide_blas_symbol(const char *name) { return sym(name); }

static int fits(const tide_gemm *g, int *ta, int *tb, int64_t *lda, int64_t *ldb) {
    return g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->ldc <= INT_MAX &&
        tide_gemm_layout(g->m, g->k, g->ars, g->acs, ta, lda) &&
        tide_gemm_layout(g->k, g->n, g->brs, g->bcs, tb, ldb) && *lda <= INT_MAX && *ldb <= INT_MAX;
}

/* A single row or column is a product with a vector: gemm kernels waste most of their registers on
 * it. */
#define SERVE(REAL_, name, gemm, gemv)                                                            \
    int name(const tide_gemm *g) {                                                                \
        int ta, tb;                                                                               \
        int64_t lda, ldb;                                                                         \
        if (!tide_blas_ready() || !fits(g, &ta, &tb, &lda, &ldb)) return 0;                       \
        REAL_ beta = g->accumulate ? 1 : 0;                                                       \
        const int threads = tide_openmp_single();                                                 \
        int m = (int)g->m, n = (int)g->n, k = (int)g->k;                                          \
        if (m == 1 && !tb && g->acs <= INT_MAX && g->acs > 0)                                     \
            gemv(ROW_MAJOR, TRANS, k, n, 1, g->b, (int)ldb, g->a, (int)g->acs, beta, g->c, 1);    \
        else if (m == 1 && g->acs <= INT_MAX && g->acs > 0)                                       \
            gemv(ROW_MAJOR, NO_TRANS, n, k, 1, g->b, (int)ldb, g->a, (int)g->acs, beta, g->c, 1); \
        else if (n == 1 && g->brs <= INT_MAX && g->brs > 0)                                       \
            gemv(ROW_MAJOR, ta ? TRANS : NO_TRANS, ta ? k : m, ta ? m : k, 1, g->a, (int)lda,     \
                 g->b, (int)g->brs, beta, g->c, (int)g->ldc);                                     \
        else                                                                                      \
            gemm(ROW_MAJOR, ta ? TRANS : NO_TRANS, tb ? TRANS : NO_TRANS, m, n, k, 1, g->a,       \
                 (int)lda, g->b, (int)ldb, beta, g->c, (int)g->ldc);                              \
        tide_openmp_restore(threads);                                                             \
        return 1;                                                                                 \
    }
SERVE(float, tide_blas_sgemm, sgemm, sgemv)
SERVE(double, tide_blas_dgemm, dgemm, dgemv)

static tide_status serve(tide_kcall *c) {
    static const tide_gemm_hook hook = {.f32 = tide_blas_sgemm, .f64 = tide_blas_dgemm};
    const int dtype = c->in[0].dtype;
    if (tide_house->in_child || (dtype > TIDE_F64 && !tide_is_half(dtype))) return TIDE_DECLINE;
    return tide_with_gemm(&hook, c); /* halves are multiplied as float32 */
}

static const tide_kernel table[TIDE_OP_COUNT] = {
    [TIDE_OP_matmul] = serve,
    [TIDE_OP_linear] = serve,
    [TIDE_OP_linear_grad] = serve,
    [TIDE_OP_conv] = serve,
    [TIDE_OP_conv_norm_] = serve,
    [TIDE_OP_conv_grad_x] = serve,
    [TIDE_OP_conv_grad_kernel] = serve,
    [TIDE_OP_cholesky] = tide_lapack_cholesky,
    [TIDE_OP_inv] = tide_lapack_inv,
    [TIDE_OP_solve] = tide_lapack_solve,
    [TIDE_OP_det] = tide_lapack_det,
    [TIDE_OP_slogdet] = tide_lapack_slogdet,
    [TIDE_OP_lu_factor] = tide_lapack_lu_factor,
    [TIDE_OP_qr] = tide_lapack_qr,
    [TIDE_OP_eigh] = tide_lapack_eigh,
    [TIDE_OP_svd_] = tide_lapack_svd,
};
const tide_engine tide_engine_blas = {.name = "blas", .table = table};
