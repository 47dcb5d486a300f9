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

#if defined(__has_include) && !defined(TIDE_NO_ONEDNN)
#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#if DNNL_VERSION_MAJOR == 2
#define TIDE_HAS_ONEDNN 1
#endif
#endif
#endif

tide_status tide_dnnl_conv(tide_kcall *);
tide_status tide_dnnl_conv_grad_x(tide_kcall *);
tide_status tide_dnnl_conv_grad_kernel(tide_kcall *);

#ifdef TIDE_HAS_ONEDNN

/* clang-format off */
#define TIDE_DNNL_SYMBOLS(X) \
    X(version) X(engine_create) X(stream_create) X(sgemm) X(primitive_desc_create) \
    X(primitive_desc_destroy) X(primitive_desc_query) X(primitive_desc_query_md) \
    X(primitive_create) X(primitive_destroy) X(primitive_execute) X(memory_create) \
    X(memory_destroy) X(memory_get_memory_desc) X(memory_set_data_handle) \
    X(memory_desc_init_by_strides) X(memory_desc_init_by_tag) X(memory_desc_equal) \
    X(memory_desc_get_size) \
    X(reorder_primitive_desc_create) X(primitive_attr_create) X(primitive_attr_destroy) \
    X(primitive_attr_set_scratchpad_mode) X(primitive_attr_set_post_ops) X(post_ops_create) \
    X(post_ops_destroy) X(post_ops_append_eltwise) X(dilated_convolution_forward_desc_init) \
    X(dilated_convolution_backward_data_desc_init) \
    X(dilated_convolution_backward_weights_desc_init)
/* clang-format on */

typedef struct {
#define X(name) __typeof__(dnnl_##name) *name;
    TIDE_DNNL_SYMBOLS(X)
#undef X
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} tide_dnnl_lib;
extern tide_dnnl_lib tide_dnnl;

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
/* The cached primitive of a key. Where there is none yet, `make` fills a zeroed one from `arg`; its
 * failure is cached too. */
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
int tide_dnnl_places(tide_dnnl_prim *, int threads); /* operands for so many threads; 0: failed */
/* On the thread of that slot, from within a parallel loop too. */
int tide_dnnl_run(tide_dnnl_prim *, int slot, void *const *handles, void *pad);
int tide_dnnl_run_relay(tide_dnnl_prim *, void *from, void *to);

#endif
#endif
