/* Private structures of the core. Reference counts are plain: a context and its tensors belong to
 * one thread at a time. */
#ifndef TIDE_CORE_H
#define TIDE_CORE_H

#include "../kernels/attrs.h"
#include "tide.h"

#include <stdatomic.h>
#include <stdbool.h>

#define TIDE_MESSAGE 1024
enum { TIDE_NODE_SIZES = 16 };

struct tide_storage {
    int64_t refs;
    tide_device *dev; /* NULL: of a number, which is on every device */
    void *data;
    size_t bytes;         /* size of the block asked for */
    uint64_t id, version; /* id is never reused; version counts writes in place */
    uint64_t taken;       /* its version when a tensor on it last took over a recorded value */
    tide_tensor *wide;    /* a weight in half as float32, kept for ops that re-lay it; else NULL */
    uint64_t wide_of;     /* its version that `wide` was made of */
    void (*release)(void *owner); /* of memory that is somebody else's; NULL: the allocator's */
    void *owner;
    struct tide_lag *lag; /* rows that make steps before they are read (lag.c); NULL: none */
};

struct tide_ctx {
    int64_t refs; /* the owner's and one per live tensor */
    int grad_mode;
    uint64_t seq, walks; /* the next node's number, and how many walks there were */
    tide_rng rng;
    int seeded;             /* whether somebody said where `rng` starts */
    int determined, strict; /* draws are refused before that: everywhere, where this one runs */
    char message[TIDE_MESSAGE];
    struct tide_profile *profile;   /* counts per op while tide.profile runs, else NULL */
    struct tide_steps *steps;       /* what runs is kept here too while it is not NULL (launch.h) */
    struct tide_recorder *recorder; /* notes what runs while it is not NULL (plan.h) */
    struct tide_walk *walking;      /* the innermost walk under way, else NULL */
    tide_node *dead; /* nodes to release: a worklist, so that long chains need no recursion */
    int draining;
    int64_t live_nodes, leaf_hooks;                         /* leaf_hooks: how many there are */
    void *tensor_headers, *storage_headers, *header_blocks; /* free lists, and where they lie */
    tide_node *idle_nodes[TIDE_NODE_SIZES];                 /* by size: see autograd.c */
    int64_t idle_bytes;
    tide_device *device; /* where tensors without inputs are made; `home`: unless who runs says
                            otherwise */
    tide_device *home;
    tide_storage numbers; /* of all tensors that are a number: see tide_number */
    tide_tensor *scalar;  /* the last weak scalar: see tide_scalar */
    /* The binding's part; all optional. `where` names the line that is running; hooks and custom
     * ops call back. */
    int64_t pace_limit;           /* live bytes from which the collector is made to work */
    int64_t pace_live, pace_step; /* what lived after that, and by how much it may grow */
    int64_t pace_full;            /* what lived after the last full collection */
    double pace_ended;            /* when, in seconds of the thread */
    int generational, pacing;
    int64_t lazy_bytes, lazy_tensors; /* what lived after the last collection at a boundary */
    int64_t passing; /* bytes of texts since a young collection was made for them (tideL_passing) */
    int64_t old_lua, old_tensors; /* what lived after the last full collection at a boundary */
    void *lua, *running;          /* the main Lua state, and the one that runs a walk */
    void *thread, *modes; /* whose modes these are, and where they stand meanwhile (modes.c) */
    tide_device *placed;  /* where the one that runs makes tensors; NULL: at home */
    int calling;          /* whether a layer's call runs, and trains */
    int differentiating;  /* whether a function runs whose gradient is asked for */
    int64_t call, calls;  /* the number of the outermost one, and how many there were */
    int64_t functions,
        numbered;    /* Lua functions that the core knows, and the last number (hooks.c) */
    tide_tape *rule; /* of the custom op whose rule runs, else NULL */
    struct tide_search *search; /* under way, else NULL (hooks.c) */
    int64_t searched;           /* what lived behind the last one */
    int64_t refused; /* bytes that the last op to fail for memory asked for; 0: beyond all sizes */
    int error_slot,
        has_error; /* where on the stack of `running` a Lua error waits for its walk to end */
    void (*where)(tide_ctx *, tide_node *);
    tide_status (*call_hook)(tide_ctx *, void *hook, tide_tensor *grad, tide_tensor **out);
    tide_status (*call_ready)(tide_ctx *, void *hook, tide_tensor *leaf, tide_tensor *grad);
    tide_status (*call_custom)(tide_tape *, void *custom, int nout, int nin);
    void (*free_ref)(tide_ctx *, void *hook_or_custom);
};

typedef struct tide_lag tide_lag;
/* lag.c: brings every row up to date; the record may end with it. */
void tide_lag_flush(tide_lag *);
/* The last reference to one of its storages is gone: the record frees it (tide_storage_free). */
void tide_lag_leave(tide_lag *);

typedef struct tide_hook { /* a function of a gradient */
    struct tide_hook *next;
    uint8_t ready; /* called when a leaf's gradient is whole and in its place */
    int index;     /* output of the node; -1: it was taken away during a walk */
    void *ref;     /* the binding's */
} tide_hook;

/* A launch while a profile ran: when it began, counted from the profile's own beginning. */
typedef struct tide_span {
    double start, seconds, flops;
    int64_t bytes;
    int op, part;
} tide_span;

typedef struct tide_tally { /* of a profile: what an op, or a part of the program, took */
    int64_t calls, bytes;
    double seconds, flops;
} tide_tally;

/* Parts of the program, such as layers, have numbers that the binding gives: what is launched while
 * one is entered counts for it, and so do the gradients of what it recorded. Part 0 is the rest. */
struct tide_profile {
    tide_tally op[TIDE_OP_COUNT];
    tide_tally *parts; /* of each part, forward and backward */
    int nparts, part, backward;
    double began;
    tide_span *spans; /* in order, the first `most` of them */
    int64_t nspans, room, most;
};
/* Enters a part, which is left by entering the one that was entered before. Counts of one that
 * there is no memory for go to part 0. */
void tide_profile_enter(struct tide_profile *, int part, int backward);
/* `most`: how many launches it keeps one by one; NULL where there is no memory. */
struct tide_profile *tide_profile_new(int64_t most);
void tide_profile_free(struct tide_profile *);

struct tide_tensor {
    int64_t refs;
    tide_ctx *ctx;
    tide_storage *storage; /* NULL for a sparse gradient */
    int64_t offset;        /* elements */
    int64_t shape[TIDE_MAX_RANK], stride[TIDE_MAX_RANK];
    uint8_t rank, dtype, requires_grad, is_view;
    uint8_t shares; /* elements of it, or of what it is a view of, stand at one place: read only */
    uint8_t marked; /* the binding's: something hangs on its handle */
    int32_t out_index; /* which output of `node` this is */
    tide_node *node;   /* owned; NULL on leaves */
    tide_tensor *grad; /* owned; leaves only */
    tide_tensor *ids,
        *values;           /* sparse gradient of a table: ids (n) int64 0-based, values (n, d) */
    uint64_t number;       /* the element of a number and of its views, in their dtype */
    uint64_t view_version; /* storage version when the view was made, or TIDE_DETACHED */
    tide_hook *hooks;      /* on a leaf's gradient; those on results stand on the node */
    uint64_t walk;         /* number of the walk in which it is leaf number `entry` */
    int32_t entry;
};

typedef struct {
    uint8_t rank, dtype;
    int64_t shape[TIDE_MAX_RANK];
} tide_meta;

typedef struct {        /* where a node's input came from */
    tide_node *node;    /* owned */
    tide_tensor *leaf;  /* owned: a leaf that requires a gradient */
    int index;          /* output of `node` */
    uint8_t needs;      /* leads to something that requires a gradient */
    uint8_t wanted;     /* leads to something a running tide_grad asks for */
    tide_tensor *saved; /* owned, detached where it would make a cycle */
    uint64_t version;   /* of its storage when it was saved */
} tide_edge;

struct tide_node {
    int64_t refs;
    uint64_t seq;
    const tide_op *op;
    int nin, nout, nlist, part;    /* part: of the profile that ran when it was recorded */
    tide_edge *in;                 /* [nin] */
    tide_tensor **out_saved;       /* [nout] or NULL: views without node */
    tide_tensor **gout;            /* [nout]: gradients gathered during a walk */
    struct tide_node *work_next;   /* worklist of releases */
    tide_meta *in_meta, *out_meta; /* [nin], [nout] */
    void *custom;                  /* Lua-defined op: see tide_custom */
    tide_hook *hooks;
    uint8_t freed, mark, pruned;
    uint8_t units; /* size of its block; 0: too large for the free lists */
    /* numbers of walks: the one that holds the node, the last that collected it, and the last that
     * asked for one of its outputs; 0: none */
    uint64_t walk, seen, asked;
    struct tide_node *first, *sibling; /* of the walk's heap */
    uint64_t out_version;              /* of the outputs' storage when they were saved */
    char source[60]; /* where it was recorded: file, or empty, and line. A copy: the function and
                        its source may be collected before */
    int32_t line;
    /* attributes follow, aligned to 16 */
    _Alignas(16) unsigned char attrs[];
};

#define TIDE_TRY(expr)                    \
    do {                                  \
        tide_status try_ = (expr);        \
        if (try_ != TIDE_OK) return try_; \
    } while (0)

#define TIDE_MAX_NUMEL ((int64_t)1 << 40) /* elements of a tensor or view */

/* alloc.c */
#ifdef TIDE_HARD
int tide_hard_fail(int64_t k); /* the k-th allocation from now on fails (0: none); whether the last
                                  one told to did */
#endif
int64_t tide_system_free(void); /* bytes; -1: not known */
void *tide_mem_alloc(tide_device *, size_t bytes);
void tide_mem_free(tide_device *, void *, size_t bytes);
void *tide_mem_keep(tide_device *, size_t bytes); /* for kernels: counted as kept_bytes */
void tide_mem_drop(tide_device *, void *, size_t bytes);
/* Work space of the kernel under way on this thread: what was asked for since a mark goes together.
 */
void *tide_mem_scratch(tide_device *, size_t bytes);
int tide_scratch_mark(void);
void tide_scratch_release(int mark);

/* device.c. Ctrl-C: a signal handler sets tide_cancel; the op that runs then fails, and its kernel
 * may leave its results unfinished where its call's may_stop says so, which it does not for ops
 * that write in place. */
extern volatile int tide_cancel;
/* Set together with it where a file that is mapped was cut: what was read of its end are zeros. */
extern _Atomic int tide_file_lost;
/* Fails where Ctrl-C came: asked before anything is changed. */
static inline tide_status tide_go_on(tide_ctx *ctx) {
    return __atomic_load_n(&tide_cancel, __ATOMIC_RELAXED)
        ? tide_fail(ctx, TIDE_EINTERRUPT, "interrupted!")
        : TIDE_OK;
}

/* device_meta.c */
int tide_has_elements(const tide_tensor *);
tide_status tide_need_elements(tide_ctx *, const tide_tensor *, const char *what); /* or fails */

/* context.c */
void tide_ctx_unref(tide_ctx *);
/* Whether `what` may draw: in deterministic mode nothing does before a seed was given. */
tide_status tide_may_draw(tide_ctx *, const char *what);
/* Reserves counters for n elements; `what` draws. */
tide_status tide_draw(tide_ctx *, const char *what, int64_t n, tide_rng *out);

/* tensor.c: results share or own storage */
void tide_headers_free(tide_ctx *);
void tide_storage_free(tide_ctx *, tide_storage *); /* one without references */
void tide_storage_release(tide_ctx *, tide_storage *);
/* Sets n numbers of storages aside, which are never given again; the first. */
uint64_t tide_storage_ids(int n);
tide_status tide_new_on(tide_ctx *, tide_device *, const tide_meta *, tide_tensor **out);
tide_status tide_view(tide_ctx *, tide_tensor *base, int rank, const int64_t *shape,
                      const int64_t *stride, int64_t offset,
                      tide_tensor **out); /* new; offset counts elements of the storage */
tide_status tide_detach(tide_ctx *, tide_tensor *, tide_tensor **out); /* a new view without node */
/* Retains both; NULL: no memory. */
tide_tensor *tide_sparse_new(tide_ctx *, int rank, const int64_t *shape, tide_tensor *ids,
                             tide_tensor *values);
tide_status tide_densify(tide_ctx *, tide_tensor *,
                         tide_tensor **out); /* new; the same tensor if dense */
tide_meta tide_meta_of(const tide_tensor *);
/* A tensor without axes that is a number: it has no memory, kernels get the value with the call, on
 * every device. Nothing writes to it. */
tide_status tide_number(tide_ctx *, double value, int dtype, tide_tensor **out);          /* new */
tide_status tide_number_of(tide_ctx *, const tide_value *, int dtype, tide_tensor **out); /* new */
static inline int tide_is_number(const tide_tensor *t) { return t->storage && !t->storage->dev; }
/* Likewise; borrowed until the next call. */
tide_status tide_scalar(tide_ctx *, double value, int dtype, tide_tensor **out);
void tide_scalar_free(tide_ctx *);
/* A number with memory of its own in its place, for whoever may write to it. */
tide_status tide_settle(tide_ctx *, tide_tensor **);
static inline int tide_is_sparse(const tide_tensor *t) { return t->ids != NULL; }
static inline int tide_is_float(int dtype) {
    return dtype == TIDE_F32 || dtype == TIDE_F64 || dtype == TIDE_F16 || dtype == TIDE_BF16;
}
/* The dtype in which kernels see elements that are stored so. */
static inline int tide_wide(int dtype) { return tide_is_half(dtype) ? TIDE_F32 : dtype; }
static inline int tide_needs_grad(const tide_tensor *t) { return t->requires_grad || t->node; }
#define TIDE_DETACHED UINT64_MAX /* the view version of what carries no gradient on purpose */
/* A view without gradient of a tensor that has taken over a value with one since. */
static inline int tide_is_old_view(const tide_tensor *t) {
    return t->is_view && !tide_needs_grad(t) && t->view_version < t->storage->taken;
}

int64_t tide_live_bytes(void); /* on all devices together */
int64_t tide_live_tensors(void);
const char *tide_dtype_name(int dtype); /* Keras' name */

tide_status tide_cast_to(tide_ctx *, tide_tensor *, int dtype, tide_tensor **out); /* op.c; new */
/* launch.c */
/* Runs an op's kernel into an existing tensor of the right shape and dtype (pointwise ops and
 * copies), whose version it bumps. No recording. */
tide_status tide_run_into(tide_ctx *, const tide_op *, void *attrs, int nin, tide_tensor **in,
                          tide_tensor *out);

/* autograd.c and walk.c */
tide_status tide_record(tide_ctx *, const tide_op *, const void *attrs, int nin, int nlist,
                        tide_tensor **in, tide_tensor **out);
void tide_node_unref(tide_ctx *, tide_node *);
void tide_nodes_free(tide_ctx *); /* those that wait for use */
/* A result of a Lua-defined op: a new tensor on the memory of what the function returned, and a
 * view if that is one, or an input. */
tide_status tide_custom_result(tide_ctx *, tide_tensor *value, int nin, tide_tensor **in,
                               tide_tensor **out);
/* Results of a Lua-defined op: a node whose rule is the binding's `custom`; takes ownership of the
 * reference. */
tide_status tide_record_custom(tide_ctx *, void *custom, int nin, tide_tensor **in, int nout,
                               tide_tensor **out);
/* The leaves, but for some others, of which tensors were made by nodes from number `since` on: *n
 * of them, and new references in `out`, where that is not NULL. Fails where they were made of a
 * result of an older node. */
tide_status tide_leaves(tide_ctx *, int ny, tide_tensor **y, uint64_t since, int nother,
                        tide_tensor **other, int *n, tide_tensor **out);
/* In a custom op's rule: whether input i needs a gradient, and what has arrived for it so far,
 * which is the caller's now (NULL: nothing). What the rule gives then is all of it, so that sums
 * have the order that they would have without the op. */
int tide_t_take(tide_tape *, int i, tide_tensor **so_far);
/* As tide_grad, for a rule: `out` holds what the gradients are added to (NULL: nothing), and hooks
 * of leaves are not called. */
tide_status tide_grad_onto(tide_ctx *, tide_tensor *loss, tide_tensor *seed, int n,
                           tide_tensor **wrt, int create_graph, int retain_graph,
                           tide_tensor **out);
tide_status tide_add_hook(tide_ctx *, tide_tensor *, void *ref, int ready);
void tide_remove_hook(tide_ctx *, tide_tensor *, void *ref); /* within a walk too */
/* cycles.c: calls f with the function of every hook and custom op of which the node or leaf is held
 * by nobody but these references to tensors, n of them. */
tide_status tide_each_unheld(tide_ctx *, int64_t n, tide_tensor **given,
                             void (*f)(void *ref, void *arg), void *arg);

/* assign.c: writes where gradients are recorded; `what` is named in errors */
tide_status tide_may_write(tide_ctx *, const tide_tensor *, const char *what);
tide_status tide_old_view(tide_ctx *, const char *what); /* fails: tide_is_old_view */
/* All of t, or a part of it, takes over v, which is cast and broadcast, with its gradient. */
tide_status tide_assign(tide_ctx *, tide_tensor *t, tide_tensor *v, const char *what);
tide_status tide_assign_part(tide_ctx *, tide_tensor *t, const tide_index__attrs *, tide_tensor *v,
                             const char *what);
/* The part of t += v, in place and recorded. For a tensor that a composition makes and no view of
 * which exists; v has its dtype and the shape of the part. */
tide_status tide_add_part(tide_ctx *, tide_tensor *t, const tide_index__attrs *, tide_tensor *v);
tide_status tide_set_grad(tide_ctx *, tide_tensor *, tide_tensor *g);      /* .grad; NULL: none */
tide_status tide_dense_grad(tide_ctx *, tide_tensor *, tide_tensor **out); /* .grad; new */
tide_status tide_require_grad(tide_ctx *, tide_tensor *, int on, const char *what);

#endif
