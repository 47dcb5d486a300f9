/* oneDNN 2.6, opened when the first heavy op asks for it: symbols, the primitive cache, weights in
 * the library's layouts.
 *
 * Invariants: nothing is linked, without the library every entry declines; the cache of primitives
 * is bounded and evicts what was used longest ago; a re-laid weight is remade exactly when its
 * storage's version has changed. */
#include "onednn.h"

#include "../blas/blas.h"
#include "../engines.h"
#include "../gemm.h"
#include "../openmp.h"
#include "../signals.h"
#include "exceptions.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char info[192] = "not opened yet";
static struct { /* counted under the lock, read without */
    _Atomic int64_t primitives, weight_reorders, gemm_convolutions, refused_ref;
} stats;

const char *tide_onednn_info(void) { return info; }
tide_engine_stats tide_engines_stats(void) {
    return (tide_engine_stats){.primitives = stats.primitives,
                               .weight_reorders = stats.weight_reorders,
                               .gemm_convolutions = stats.gemm_convolutions,
                               .refused_ref = stats.refused_ref};
}

#ifndef TIDE_HAS_ONEDNN

void tide_engines_open(void) {
    snprintf(info, sizeof info, "built without oneDNN 2.x' headers");
    tide_blas_ready();
}

static const tide_kernel table[TIDE_OP_COUNT] = {0};

#else

tide_dnnl_lib tide_dnnl;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int ran_short;
static int opened, host_threads; /* what OpenMP gives back to the thread that holds the lock */

static void open_lib(void) {
    const char *want = getenv("TIDE_ONEDNN");
    if (want && !strcmp(want, "none")) {
        snprintf(info, sizeof info, "none (TIDE_ONEDNN)");
        return;
    }
    void *lib = dlopen(want && *want ? want : "libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        snprintf(info, sizeof info, "no library found (%.100s)",
                 want && *want ? want : "libdnnl.so.2");
        return;
    }
    const char *missing = NULL;
#define X(name)                                            \
    *(void **)&tide_dnnl.name = dlsym(lib, "dnnl_" #name); \
    if (!tide_dnnl.name) missing = "dnnl_" #name;
    TIDE_DNNL_SYMBOLS(X)
#undef X
    const dnnl_version_t *v = missing ? NULL : tide_dnnl.version();
    if (!missing && tide_exceptions_of(lib)) tide_dnnl_guard(&tide_dnnl);
    if (!v || v->major != 2 || v->cpu_runtime != DNNL_RUNTIME_OMP ||
        tide_dnnl.engine_create(&tide_dnnl.engine, dnnl_cpu, 0) != dnnl_success ||
        tide_dnnl.stream_create(&tide_dnnl.stream, tide_dnnl.engine, dnnl_stream_in_order) !=
            dnnl_success) {
        snprintf(info, sizeof info, "the library found does not serve (%s)",
                 missing ? missing : "version 2 with OpenMP expected");
        dlclose(lib);
        return;
    }
    /* Primitives are kept here already, and what the library has begun to make when memory runs out
     * would stay in its cache as failed. */
    tide_dnnl.set_primitive_cache_capacity(0);
    tide_openmp_of(lib);
    snprintf(info, sizeof info, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    opened = 1;
}

static int ready(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (tide_house->in_child) return 0;
    pthread_once(&once, open_lib);
    return opened;
}

void tide_engines_open(void) {
    ready();
    tide_blas_ready();
}

int tide_dnnl_enter(void) {
    if (!ready()) return 0;
    pthread_mutex_lock(&lock);
    host_threads = tide_openmp_single();
    ran_short = 0;
    return 1;
}
void tide_dnnl_leave(void) {
    tide_openmp_restore(host_threads);
    pthread_mutex_unlock(&lock);
}

void tide_dnnl_ran_short(void) { ran_short = 1; }
tide_status tide_dnnl_failure(void) { return ran_short ? TIDE_ENOMEM : TIDE_DECLINE; }

/* -- primitives -- */
enum { BUCKETS = 256, MAX_PRIMS = 512 };
static tide_dnnl_prim *buckets[BUCKETS];
static int nprims;
static uint64_t clock_;
uint64_t tide_dnnl_evictions;

uint64_t tide_dnnl_hash(const tide_dnnl_key *key) { /* FNV-1a over words */
    uint64_t h = 1469598103934665603u, w;
    for (size_t i = 0; i < sizeof *key; i += sizeof w) {
        memcpy(&w, (const char *)key + i, sizeof w);
        h = (h ^ w) * 1099511628211u;
    }
    return h ^ h >> 29;
}

static void operands_free(const tide_dnnl_prim *p, tide_dnnl_operands *at) {
    for (int i = 0; i < p->nargs; i++)
        if (at->mem[i]) tide_dnnl.memory_destroy(at->mem[i]);
    if (at->pad) tide_dnnl.memory_destroy(at->pad);
}

static void prim_free(tide_dnnl_prim *p) {
    if (p->prim) tide_dnnl.primitive_destroy(p->prim);
    if (p->relay) tide_dnnl.primitive_destroy(p->relay);
    for (int i = 0; i < p->places; i++) operands_free(p, &p->at[i]);
    free(p->at);
    if (p->relay_from) tide_dnnl.memory_destroy(p->relay_from);
    if (p->relay_to) tide_dnnl.memory_destroy(p->relay_to);
    free(p);
}

static void evict_prim(void) {
    tide_dnnl_prim **oldest = NULL;
    for (int b = 0; b < BUCKETS; b++)
        for (tide_dnnl_prim **p = &buckets[b]; *p; p = &(*p)->next)
            if (!oldest || (*p)->used < (*oldest)->used) oldest = p;
    tide_dnnl_prim *p = *oldest;
    *oldest = p->next;
    prim_free(p);
    nprims--;
    tide_dnnl_evictions++;
}

tide_dnnl_prim *tide_dnnl_get(const tide_dnnl_key *key, tide_dnnl_make make, const void *arg) {
    uint64_t h = tide_dnnl_hash(key);
    tide_dnnl_prim **head = &buckets[h % BUCKETS];
    for (tide_dnnl_prim *p = *head; p; p = p->next)
        if (p->hash == h && !memcmp(&p->key, key, sizeof *key)) {
            p->used = ++clock_;
            return p;
        }
    tide_dnnl_prim *p = calloc(1, sizeof *p);
    if (!p) {
        ran_short = 1;
        return NULL;
    }
    p->key = *key, p->hash = h, p->used = ++clock_;
    if (!make(p, arg)) {
        if (ran_short) {
            prim_free(p);
            return NULL;
        }
        p->refused = 1;
    }
    if (nprims >= MAX_PRIMS) evict_prim();
    head = &buckets[h % BUCKETS];
    p->next = *head, *head = p, nprims++;
    return p;
}

static int place(dnnl_memory_t *to, const dnnl_memory_desc_t *md) {
    const int ok =
        tide_dnnl.memory_create(to, md, tide_dnnl.engine, DNNL_MEMORY_NONE) == dnnl_success;
    if (!ok) *to = NULL;
    return ok;
}
static int place_like(dnnl_memory_t *to, dnnl_memory_t other) {
    const dnnl_memory_desc_t *md;
    return tide_dnnl.memory_get_memory_desc(other, &md) == dnnl_success && place(to, md);
}

int tide_dnnl_places(tide_dnnl_prim *p, int threads) {
    p->used = ++clock_;
    if (p->places >= threads) return 1;
    tide_dnnl_operands *at = realloc(p->at, (size_t)threads * sizeof *at);
    if (!at) return 0;
    p->at = at;
    for (; p->places < threads; p->places++) {
        tide_dnnl_operands *next = &at[p->places];
        memset(next, 0, sizeof *next);
        int ok = !at->pad || place_like(&next->pad, at->pad);
        for (int i = 0; i < p->nargs && ok; i++) ok = place_like(&next->mem[i], at->mem[i]);
        if (!ok) {
            operands_free(p, next);
            return 0;
        }
    }
    return 1;
}

int tide_dnnl_create(tide_dnnl_prim *p, const void *op_desc, dnnl_primitive_attr_t attr,
                     dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *pd) {
    const char *impl = "";
    const dnnl_memory_desc_t *pad;
    if (tide_dnnl.primitive_desc_create(pd, op_desc, attr, tide_dnnl.engine, hint) !=
        dnnl_success) {
        *pd = NULL;
        return 0;
    }
    tide_dnnl.primitive_desc_query(*pd, dnnl_query_impl_info_str, 0, &impl);
    if (!strncmp(impl, "ref", 3)) { /* far slower than im2col with our own product */
        stats.refused_ref++;
        return 0;
    }
    if (!strncmp(impl, "gemm", 4)) {
        p->product = 1;
        stats.gemm_convolutions++;
    }
    if (tide_dnnl.primitive_create(&p->prim, *pd) != dnnl_success) {
        p->prim = NULL;
        return 0;
    }
    stats.primitives++;
    pad = tide_dnnl.primitive_desc_query_md(*pd, dnnl_query_scratchpad_md, 0);
    p->pad_bytes = pad ? tide_dnnl.memory_desc_get_size(pad) : 0;
    p->at = calloc(1, sizeof *p->at);
    if (!p->at) {
        ran_short = 1;
        return 0;
    }
    p->places = 1;
    return !p->pad_bytes || place(&p->at->pad, pad);
}

int tide_dnnl_add(tide_dnnl_prim *p, int arg, const dnnl_memory_desc_t *md) {
    if (!place(&p->at->mem[p->nargs], md)) return 0;
    p->arg[p->nargs++] = arg;
    return 1;
}

int tide_dnnl_relay(tide_dnnl_prim *p, dnnl_primitive_desc_t pd, dnnl_query_t what,
                    const dnnl_memory_desc_t *plain, int from_plain) {
    p->wanted = *tide_dnnl.primitive_desc_query_md(pd, what, 0);
    if (tide_dnnl.memory_desc_equal(&p->wanted, plain)) return 1;
    p->wanted_bytes = tide_dnnl.memory_desc_get_size(&p->wanted);
    const dnnl_memory_desc_t *from = from_plain ? plain : &p->wanted,
                             *to = from_plain ? &p->wanted : plain;
    dnnl_primitive_desc_t rd;
    if (tide_dnnl.reorder_primitive_desc_create(&rd, from, tide_dnnl.engine, to, tide_dnnl.engine,
                                                NULL) != dnnl_success)
        return 0;
    int ok = tide_dnnl.primitive_create(&p->relay, rd) == dnnl_success;
    tide_dnnl.primitive_desc_destroy(rd);
    if (!ok) p->relay = NULL;
    ok = ok &&
        tide_dnnl.memory_create(&p->relay_from, from, tide_dnnl.engine, DNNL_MEMORY_NONE) ==
            dnnl_success;
    return ok &&
        tide_dnnl.memory_create(&p->relay_to, to, tide_dnnl.engine, DNNL_MEMORY_NONE) ==
        dnnl_success;
}

int tide_dnnl_run_relay(tide_dnnl_prim *p, void *from, void *to) {
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, p->relay_from}, {DNNL_ARG_TO, p->relay_to}};
    return tide_dnnl.memory_set_data_handle(p->relay_from, from) == dnnl_success &&
        tide_dnnl.memory_set_data_handle(p->relay_to, to) == dnnl_success &&
        tide_dnnl.primitive_execute(p->relay, tide_dnnl.stream, 2, args) == dnnl_success;
}

int tide_dnnl_run(tide_dnnl_prim *p, int slot, void *const *handles, void *pad) {
    const tide_dnnl_operands *at = &p->at[slot];
    dnnl_exec_arg_t args[TIDE_DNNL_ARGS + 1];
    int n = 0;
    for (; n < p->nargs; n++) {
        if (tide_dnnl.memory_set_data_handle(at->mem[n], handles[n]) != dnnl_success) return 0;
        args[n] = (dnnl_exec_arg_t){p->arg[n], at->mem[n]};
    }
    if (at->pad) {
        if (tide_dnnl.memory_set_data_handle(at->pad, pad) != dnnl_success) return 0;
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, at->pad};
    }
    sigset_t mask;
    const int held = p->product && tide_signals_hold(&mask);
    const int before = tide_openmp_single();
    const int ok = tide_dnnl.primitive_execute(p->prim, tide_dnnl.stream, n, args) == dnnl_success;
    tide_openmp_restore(before);
    if (held) tide_signals_release(&mask);
    return ok;
}

void *tide_dnnl_weights(tide_dnnl_prim *p, const tide_buf *w, tide_kept *kept, void *temp) {
    if (!p->relay) return w->p;
    void *to = kept ? kept->data : temp;
    if (kept && kept->version == w->version) return to;
    stats.weight_reorders++;
    if (!to || !tide_dnnl_run_relay(p, w->p, to)) return NULL;
    if (kept) kept->version = w->version;
    return to;
}

/* -- products -- */

#if defined(__x86_64__)
#define HAS(set) (__builtin_cpu_supports(set) != 0)
#else
#define HAS(set) 0
#endif

/* The longest k for which the library's compiled products work on the stack, where the stack
 * register points; with longer ones it points into the heap. */
static int64_t upright(void) { return HAS("avx512f") ? 84 : 252; }

/* Measured (microseconds per product by shape): with AVX-512 OpenBLAS has kernels for the smallest
 * products, and is faster up to a million multiplications by what the holding of signals costs;
 * with AVX2 oneDNN walks an untransposed, wide right-hand matrix without packing it and falls to
 * half of OpenBLAS' speed there. */
static int better_blas(const tide_gemm *g, int tb) {
    const double work = (double)g->m * (double)g->n * (double)g->k;
    if (HAS("avx512f")) return work <= (g->k > upright() ? 1e6 : 32 * 32 * 64) && g->m > 1;
    return !tb && g->n >= 512 && g->k >= 64 && g->m >= 32;
}

/* One to three rows over a matrix as it lies are bound by its reading: Tide's own loop does nothing
 * else (784 x 64: 2.5 microseconds for 3.2, and bias and activation in the same pass). */
static int better_own(const tide_gemm *g) {
    return HAS("avx2") && HAS("fma") && g->m <= 3 && g->bcs == 1 && g->n >= 8 && !g->accumulate;
}

static int sgemm_here(const tide_gemm *g) {
    int ta, tb;
    int64_t lda, ldb;
    if (better_own(g)) return 0;
    if (!ready()) return tide_blas_allowed && tide_blas_sgemm(g);
    if (!tide_gemm_layout(g->m, g->k, g->ars, g->acs, &ta, &lda) ||
        !tide_gemm_layout(g->k, g->n, g->brs, g->bcs, &tb, &ldb))
        return 0;
    if (tide_blas_allowed && better_blas(g, tb) && tide_blas_sgemm(g)) return 1;
    sigset_t mask;
    const int held = g->k > upright() && tide_signals_hold(&mask);
    const int threads = tide_openmp_single();
    int ok = tide_dnnl.sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', g->m, g->n, g->k, 1, g->a, lda, g->b,
                             ldb, g->accumulate ? 1 : 0, g->c, g->ldc) == dnnl_success;
    tide_openmp_restore(threads);
    if (held) tide_signals_release(&mask);
    return ok;
}
static tide_status products(tide_kcall *c) {
    static const tide_gemm_hook hook = {.f32 = sgemm_here};
    const int dtype = c->in[0].dtype;
    if ((dtype != TIDE_F32 && !tide_is_half(dtype)) || !ready()) return TIDE_DECLINE;
    return tide_with_gemm(&hook, c); /* halves are multiplied as float32 */
}

static const tide_kernel table[TIDE_OP_COUNT] = {
    [TIDE_OP_matmul] = products,
    [TIDE_OP_linear] = products,
    [TIDE_OP_linear_grad] = products,
    [TIDE_OP_conv] = tide_dnnl_conv,
    [TIDE_OP_conv_norm_] = tide_dnnl_conv_norm,
    [TIDE_OP_conv_grad_x] = tide_dnnl_conv_grad_x,
    [TIDE_OP_conv_grad_kernel] = tide_dnnl_conv_grad_kernel,
};

#endif

const tide_engine tide_engine_onednn = {.name = "onednn", .table = table};
