/* oneDNN as its kernels here see it: the symbols of the opened library, cached primitives, re-laid
 * weights. Every primitive is made for one thread, and threads of the team run it side by side.
 *
 * Invariant: everything below is used between tide_dnnl_enter and tide_dnnl_leave, which hold the
 * library's one lock: primitives, their memory objects and the caches are shared by every context
 * of the process. */
#ifndef TIDE_ONEDNN_H
#define TIDE_ONEDNN_H

#include "../attrs.h"
#include "../keep.h"
#include "library.h"

tide_status tide_dnnl_conv(tide_kcall *);
tide_status tide_dnnl_conv_norm(tide_kcall *);
tide_status tide_dnnl_conv_grad_x(tide_kcall *);
tide_status tide_dnnl_conv_grad_kernel(tide_kcall *);

#ifdef TIDE_HAS_ONEDNN

extern tide_dnnl_lib tide_dnnl; /* no exception leaves its functions */

/* What a primitive is determined by; unused fields are zero. */
typedef struct {
    int32_t kind, nd, flags, unused;
    int64_t v[28];
} tide_dnnl_key;

enum { TIDE_DNNL_ARGS = 5 };
typedef struct { /* the operands of one thread; pad: the scratchpad, or NULL */
    dnnl_memory_t mem[TIDE_DNNL_ARGS], pad;
} tide_dnnl_operands;
typedef struct tide_dnnl_prim {
    tide_dnnl_key key;
    uint64_t hash, used;
    struct tide_dnnl_prim *next;
    int refused; /* the library has nothing fast here: let another engine serve */
    int product; /* it multiplies by the library's compiled products */
    dnnl_primitive_t prim;
    int nargs, arg[TIDE_DNNL_ARGS]; /* DNNL_ARG_SRC ... */
    int places;
    tide_dnnl_operands *at; /* [places], by the thread's slot */
    size_t pad_bytes;
    /* Weights: as the caller holds them (plain) and as the primitive wants them. NULL where both
     * agree. */
    dnnl_primitive_t relay;
    dnnl_memory_t relay_from, relay_to;
    dnnl_memory_desc_t wanted;
    size_t wanted_bytes;
} tide_dnnl_prim;

int tide_dnnl_enter(void); /* opens the library on the first call, takes the lock; 0: there is none,
                              nothing is held */
void tide_dnnl_leave(void);
/* What a failure since tide_dnnl_enter means: TIDE_ENOMEM, or TIDE_DECLINE where the library has
 * nothing for the call. */
tide_status tide_dnnl_failure(void);
/* The cached primitive of a key. Where there is none yet, `make` fills a zeroed one from `arg`; its
 * failure is cached too, unless memory was short. */
typedef int (*tide_dnnl_make)(tide_dnnl_prim *, const void *arg);
tide_dnnl_prim *tide_dnnl_get(const tide_dnnl_key *key, tide_dnnl_make make, const void *arg);
/* Helpers of `make`: 0 on failure. `from_plain`: the weights are an input, otherwise a result. */
int tide_dnnl_create(tide_dnnl_prim *, const void *op_desc, dnnl_primitive_attr_t attr,
                     dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *pd);
int tide_dnnl_add(tide_dnnl_prim *, int arg, const dnnl_memory_desc_t *md);
int tide_dnnl_relay(tide_dnnl_prim *, dnnl_primitive_desc_t pd, dnnl_query_t what,
                    const dnnl_memory_desc_t *plain, int from_plain);
/* The weights in the wanted layout: the caller's, those kept (or NULL), or `temp`. NULL: failed. */
void *tide_dnnl_weights(tide_dnnl_prim *, const tide_buf *w, tide_kept *kept, void *temp);
/* For whoever keeps primitives: how often one was evicted so far. */
extern uint64_t tide_dnnl_evictions;
uint64_t tide_dnnl_hash(const tide_dnnl_key *);
/* Operands for so many threads, before each use; 0: failed */
int tide_dnnl_places(tide_dnnl_prim *, int threads);
/* On the thread of that slot, from within a parallel loop too. */
int tide_dnnl_run(tide_dnnl_prim *, int slot, void *const *handles, void *pad);
int tide_dnnl_run_relay(tide_dnnl_prim *, void *from, void *to);

#endif
#endif
