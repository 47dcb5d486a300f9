/* Tide's C interface: contexts, tensors, ops, gradients. No Lua.
 *
 * Every function returns a status or an object; on failure the context holds one message
 * (tide_message). "New" means that the caller owns a reference and must tide_release it; "borrows"
 * means it must not. Axes and positions are 0-based here. */
#ifndef TIDE_H
#define TIDE_H

#include "../kernels/kernel.h"

#define TIDE_VERSION "0.1.0"

typedef struct tide_ctx tide_ctx;
typedef struct tide_tensor tide_tensor;
typedef struct tide_storage tide_storage;
typedef struct tide_node tide_node;
typedef struct tide_tape tide_tape;
typedef struct tide_op tide_op;

/* -- context: one per Lua state (grad mode, sequence, generator, message) -- */
tide_ctx *tide_ctx_new(void); /* NULL: no memory */
void tide_ctx_free(
    tide_ctx *); /* refuses nothing: live tensors keep it until the last is released */
const char *tide_message(const tide_ctx *);
tide_status tide_fail(tide_ctx *, tide_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *tide_status_name(tide_status);
void tide_seed(tide_ctx *, uint64_t seed); /* restarts the context's generator */

/* -- devices -- */
tide_device *tide_cpu(void);
tide_device *tide_device_find(const char *name); /* NULL: there is none of this name */
const char *tide_device_name(const tide_device *);
typedef struct {
    int64_t free_bytes;                                 /* -1: not known */
    int64_t copies_in, copies_out, bytes_in, bytes_out; /* between it and the host, where counted */
} tide_device_info;
tide_device_info tide_device_ask(tide_device *);
tide_device *tide_device_of(const tide_tensor *);
/* Where tensors are made whose op has no inputs; the CPU at first. Returns the one before. */
tide_device *tide_default_device(tide_ctx *, tide_device *);
/* 1..1024. Returns how many it is: where the system refuses so many, no more than there were or
 * than there are cores, and errno says why. */
int tide_set_threads(int n);
int tide_get_threads(void);
int64_t tide_parallel_regions(void); /* regions that ran on more than one thread so far */
/* What an environment variable of Tide's holds that it cannot mean, as a message in `out`; 1: all
 * is well. */
int tide_environment_check(char *out, size_t size);
void tide_limit_engines(const char *only); /* names of those that may serve; NULL: all. The process'
                                              first value is $TIDE_ENGINE */
const char *tide_engine_name(int i);       /* the CPU's engines in order, NULL after the last */
const char *tide_cpu_level(void);          /* "c", "x86-64-v2", "x86-64-v3", "x86-64-v4" */
const char *tide_bf16_products(void);      /* by what bfloat16 is multiplied: "AVX-512 BF16", or
                                              "as float32" where the CPU cannot by itself */

/* -- memory statistics -- */
typedef struct {
    int64_t live_bytes, peak_bytes, cached_bytes, limit_bytes; /* limit 0: none */
    int64_t kept_bytes; /* weights in the layouts of kernels, kept from call to call */
    int64_t live_storages, live_tensors, live_nodes;
    int64_t system_allocs, cache_hits;
} tide_memstat;
tide_memstat tide_memory(tide_device *);
void tide_memory_limit(tide_device *, int64_t bytes);
void tide_memory_trim(tide_device *); /* gives cached blocks and kept weights back to the system */
void tide_memory_reset_peak(tide_device *);
/* Tensors on meta are counted from now on as if they had memory, until as many calls say that they
 * are not. */
void tide_meta_count(int on);

/* -- tensors -- */
tide_status tide_new(tide_ctx *, tide_dtype, int rank, const int64_t *shape,
                     tide_tensor **out); /* new, uninitialised */
tide_status tide_from(tide_ctx *, tide_dtype, int rank, const int64_t *shape, const void *data,
                      tide_tensor **out);
/* New on the CPU over memory that is somebody else's and aligned to the dtype: a mapped file,
 * memory shared with another process. `release(owner)` runs when no tensor needs it any more; not
 * where this fails. */
tide_status tide_new_over(tide_ctx *, tide_dtype, int rank, const int64_t *shape, void *data,
                          void (*release)(void *), void *owner, tide_tensor **out);
tide_tensor *tide_retain(tide_tensor *);
void tide_release(tide_tensor *); /* accepts NULL */
/* All elements in row-major order, from a tensor; into a contiguous one, whose version it bumps. */
tide_status tide_read(tide_ctx *, tide_tensor *, void *dst);
tide_status tide_write(tide_ctx *, tide_tensor *, const void *src);
/* The address of the first element of a tensor on the CPU; NULL elsewhere. */
void *tide_host_view(const tide_tensor *);
/* On a device: new; the same tensor if it is there. */
tide_status tide_to(tide_ctx *, tide_tensor *, tide_device *, tide_tensor **out);
/* On the CPU, contiguous and without history: new; the same tensor if it is so. */
tide_status tide_to_host(tide_ctx *, tide_tensor *, tide_tensor **out);
/* New on the CPU, uninitialised, for what the host computes. */
tide_status tide_new_host(tide_ctx *, tide_dtype, int rank, const int64_t *shape,
                          tide_tensor **out);
double tide_item(const tide_tensor *, int64_t flat); /* element by row-major number, as a double */
int64_t tide_item_int(const tide_tensor *, int64_t flat);
int64_t tide_numel(const tide_tensor *);
int tide_is_contiguous(const tide_tensor *);
tide_status tide_contiguous(tide_ctx *, tide_tensor *,
                            tide_tensor **out); /* new; the same tensor if contiguous */
tide_status tide_copy_into(tide_ctx *, tide_tensor *dst,
                           tide_tensor *src); /* broadcasts and casts; bumps the version */

/* -- ops -- */
const tide_op *tide_op_find(const char *name);
/* Runs an op: device, dtype and shape checks, outputs, the first engine that serves, and a node if
 * gradients are recorded. `in` borrows; absent optional inputs are NULL. `attrs` is the op's
 * tide_<op>_attrs. `out` gets `op->nout` new tensors. */
tide_status tide_apply(tide_ctx *, const tide_op *, const void *attrs, int nin, tide_tensor **in,
                       tide_tensor **out);

/* -- gradients -- */
int tide_grad_mode(tide_ctx *, int on); /* returns the previous mode */
tide_status tide_backward(tide_ctx *, tide_tensor *loss, tide_tensor *seed /* optional */,
                          int retain_graph);
/* Gradients of `loss` with respect to `wrt`; `out[i]` is new, or NULL where nothing depends on it.
 */
tide_status tide_grad(tide_ctx *, tide_tensor *loss, tide_tensor *seed, int n, tide_tensor **wrt,
                      int create_graph, int retain_graph, tide_tensor **out);

#endif
