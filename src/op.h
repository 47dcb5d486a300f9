/* The descriptor of an op, and what its rules may call. One const descriptor per op; from it come
 * the Lua function, the checks, the help, the specs (see kernels/ops.def). */
#ifndef TIDE_OP_H
#define TIDE_OP_H

#include "core.h"

typedef enum {
    TIDE_ARG_IN,
    TIDE_ARG_INS,
    TIDE_ARG_INT,
    TIDE_ARG_FLOAT,
    TIDE_ARG_VALUE,
    TIDE_ARG_BOOL,
    TIDE_ARG_ENUM,
    TIDE_ARG_DTYPE,
    TIDE_ARG_AXIS,
    TIDE_ARG_AXES,
    TIDE_ARG_INTS,
    TIDE_ARG_SHAPE,
    TIDE_ARG_PAIRS,
    TIDE_ARG_TEXT,
    TIDE_ARG_RNG,
    TIDE_ARG_NUMBERS
} tide_arg_kind;
enum {
    OPTIONAL,
    REQUIRED,
    INOUT
}; /* INOUT: required and written in place (its storage's version is bumped) */

typedef struct {
    const char *name;
    uint8_t kind, need;
    uint16_t offset; /* of the attribute in its struct; number of the input otherwise */
    const char *def; /* default as text; for inputs the shape */
    const char *doc;
    const char *also; /* the other name of an input, NULL: it has none */
} tide_arg;
/* For messages that name it: "%s%s%s%s" with its name gives "x", or "x (inputs)". */
#define TIDE_ALSO(a) (a)->also ? " (" : "", (a)->also ? (a)->also : "", (a)->also ? ")" : ""

struct tide_step; /* launch.h */

/* One call in flight. `infer` reads inputs and attributes (which it may normalise: negative axes)
 * and fills `meta`. */
typedef struct {
    tide_ctx *ctx;
    const tide_op *op;
    void *attrs;
    tide_tensor **in;
    int nin, nlist;
    tide_meta *meta;     /* [nout], to fill */
    int64_t view_offset; /* VIEW_OP: to fill, elements of the storage; starts as the input's */
    int64_t view_stride[TIDE_MAX_RANK];
    int view_copy; /* VIEW_OP: no strides show x so; the result is a view of a contiguous copy */
} tide_call;

enum tide_op_flags {
    TIDE_CONTIGUOUS = 1 << 0, /* inputs are made contiguous before the kernel sees them */
    TIDE_NOGRAD = 1 << 1,     /* results carry no gradient (argmax, comparisons, optimizer steps) */
    TIDE_INTERNAL = 1 << 2,   /* called by rules and compositions alone, whose arguments it trusts:
                                 never bound into Lua */
    TIDE_HALF = 1 << 3,       /* its rule takes float16 and bfloat16 as they are, and its kernels do
                                 or, with `rows`, are given some rows as float32 at a time; for
                                 others the launch widens and narrows all, and the rule sees
                                 float32 */
    TIDE_SPARSE = 1 << 4,     /* accepts sparse gradients as inputs */
    TIDE_INPLACE = 1 << 5,    /* writes into its lists (optimizer steps): bumps versions */
    TIDE_PROMOTE = 1 << 6,    /* inputs are cast to their common dtype first */
    TIDE_FIRST_ORDER = 1 << 7, /* `grad` cannot be differentiated: with create_graph `compose` is */
    TIDE_BITS = 1 << 8,        /* integers and bools alone: numbers written out stay whole */
    TIDE_CASTS = 1 << 9,       /* the attribute dtype: x is cast before, the result after */
    TIDE_LAGS = 1 << 10,       /* sees itself to rows that lag behind (lag.c) */
    TIDE_ELEMENTWISE = 1 << 11, /* maps element to element, and so has an in-place form */
    TIDE_PRODUCTS = 1 << 13,    /* takes gradients that nobody made (src/fuse.c) */
    TIDE_WIDE = 1 << 12, /* a composition that is made of halves in float32, as a whole; it saves
                            what it reads */
};
#define TIDE_SAVE_IN(i) (1u << (i))         /* `saves`: keep input i for the rule */
#define TIDE_SAVE_OUT(i) (1u << (16 + (i))) /* keep output i */

struct tide_op {
    const char *name, *doc;
    int id, kind;                  /* kind: TIDE_FLOAT_OP ... */
    const tide_arg *(*args)(void); /* [nargs] */
    int nargs, nin, nout, lists;   /* nin: single inputs, lists: number of INS */
    size_t attrs_size;
    unsigned flags, saves;
    unsigned
        relays; /* bit i: engines re-lay input i and keep the result by its storage and version */
    int (*keeps)(
        const tide_kcall *); /* optional: whether that pays for the float32 form of halves */
    unsigned rows; /* bit i: input i has rows along its first axis, which kernels that know no
                      halves treat one by one; so have all results but those of `sums` */
    unsigned sums; /* bit i: result i is a sum over these rows */
    /* Of a TIDE_WIDE composition, optional: an axis of its first input along which parts stand for
     * themselves, or -1; *out_axis: the results' axis that it becomes. */
    int (*apart)(const void *attrs, const tide_tensor *x, int *out_axis);
    unsigned whole; /* bit i: input i holds positions or ids; numbers written out there are int64 */
    unsigned masks; /* bit i: input i says where: its dtype is no other input's, and where a mask of
                       several elements is due no Lua boolean stands for it */
    tide_status (*infer)(tide_call *); /* reads shapes, dtypes and attributes, never elements */
    void (*grad)(tide_tape *, const tide_node *);
    /* COMPOSE_OP: the definition; fused ops: the same thing with smaller ops, oracle and source of
     * second derivatives. */
    void (*compose)(tide_tape *, const void *attrs, int nin, tide_tensor **in, tide_tensor **out);
    /* Optional: whether a call that is recorded is composed, since its rule would have to compute
     * again what the composition keeps. */
    int (*composed)(const void *attrs);
    /* Optional. Reads elements of its inputs to finish `meta`; such a step cannot be kept. */
    tide_status (*measure)(tide_call *);
    /* Optional: at each launch, before the kernel's buffers are made, and when it has run. */
    tide_status (*before)(tide_ctx *, const struct tide_step *);
    void (*after)(const struct tide_step *);
    /* Optional, of an op with counters: how many it takes, 0 where it draws nothing; those of its
     * first result's elements otherwise. */
    int64_t (*draws)(const void *attrs, tide_tensor *const *in);
    const tide_op *joins; /* of ops with the attribute initial: joins it with the result */
    const char *live;     /* optional: names of attributes that change from step to step */
    const char *refused; /* optional: what a refused matrix is; of elementwise ops the whole text */
    const char *for_bools; /* optional: the op that bools, which are refused, take instead */
    const char *zero;      /* optional: the remedy where a position is 0 */
    double (*flops)(const tide_kcall *); /* optional: multiplications and additions of matrix
                                            products, for the profile */
    double (*room)(const tide_kcall *);  /* optional: bytes of work space that grow with the batch,
                                            for steps on shapes alone */
};
/* Every op fits, which op.c lets the compiler see. */
enum { TIDE_MAX_ARGS = 24, TIDE_MAX_ATTRS = 1024, TIDE_MAX_IN = 8, TIDE_MAX_OUT = 8 };
enum { TIDE_FLOAT_OP, TIDE_NUM_OP, TIDE_ANY_OP, TIDE_VIEW_OP, TIDE_COMPOSE_OP, TIDE_COMPARE_OP };

extern const tide_op *const tide_ops[TIDE_OP_COUNT];

/* Facts of every op, counted from its entry: TIDE_NIN_conv, TIDE_LISTS_conv, TIDE_NARGS_conv,
 * TIDE_NOUT_conv, TIDE_KIND_conv. */
#include "facts.h"

#define EACH(name, ...)                     \
    extern const tide_op tide_op_##name;    \
    const tide_arg *tide_args_##name(void); \
    extern const char tide_doc_##name[];
#include "../kernels/each_op.h"

/* Begins a descriptor: TIDE_DESCRIBE(matmul, .infer = matmul_infer, .grad = matmul_grad, .saves =
 * TIDE_SAVE_IN(0) | ...); */
#define TIDE_DESCRIBE(NAME, ...)                                               \
    const tide_op tide_op_##NAME = {.name = #NAME,                             \
                                    .doc = tide_doc_##NAME,                    \
                                    .id = TIDE_OP_##NAME,                      \
                                    .kind = TIDE_KIND_##NAME,                  \
                                    .args = tide_args_##NAME,                  \
                                    .nargs = TIDE_NARGS_##NAME,                \
                                    .nin = TIDE_NIN_##NAME,                    \
                                    .nout = TIDE_NOUT_##NAME,                  \
                                    .lists = TIDE_LISTS_##NAME,                \
                                    .attrs_size = sizeof(tide_##NAME##_attrs), \
                                    __VA_ARGS__}

/* -- attributes (defaults.c) -- */
struct tide_defaults { /* of every op, as its entry declares them */
#define EACH(name, ...) tide_##name##_attrs name;
#include "../kernels/each_op.h"
};
extern const struct tide_defaults *const tide_defaults;
const void *tide_default_attrs(const tide_op *);
void tide_defaults_fill(void);            /* the first context does */
void tide_everyday_fill(const tide_op *); /* op.c: whether its calls may be the everyday ones */

/* The address of an op's attributes, which lives until the enclosing block ends: the declared
 * defaults but for what is set, TIDE_ATTRS(sum, .axis = TIDE_INTS(0, 1), .keepdims = 1). Lists in
 * braces hold commas, which the preprocessor takes for its own: they are written TIDE_INTS. */
#define TIDE_ATTRS(name, ...)                           \
    ((tide_##name##_attrs[1]){({                        \
        tide_##name##_attrs its_ = tide_defaults->name; \
        __VA_OPT__(TIDE_SET(__VA_ARGS__))               \
        its_;                                           \
    })})
#define TIDE_SET(...) TIDE_SET_N(__VA_ARGS__, 8, 7, 6, 5, 4, 3, 2, 1)(__VA_ARGS__)
#define TIDE_SET_N(a, b, c, d, e, f, g, h, n, ...) TIDE_SET_##n
/* clang-format off */
#define TIDE_SET_1(a) its_ a;
#define TIDE_SET_2(a, ...) its_ a; TIDE_SET_1(__VA_ARGS__)
#define TIDE_SET_3(a, ...) its_ a; TIDE_SET_2(__VA_ARGS__)
#define TIDE_SET_4(a, ...) its_ a; TIDE_SET_3(__VA_ARGS__)
#define TIDE_SET_5(a, ...) its_ a; TIDE_SET_4(__VA_ARGS__)
#define TIDE_SET_6(a, ...) its_ a; TIDE_SET_5(__VA_ARGS__)
#define TIDE_SET_7(a, ...) its_ a; TIDE_SET_6(__VA_ARGS__)
#define TIDE_SET_8(a, ...) its_ a; TIDE_SET_7(__VA_ARGS__)
/* clang-format on */
#define TIDE_REAL(v) ((tide_value){.is = TIDE_VALUE_REAL, .real = (v)})
#define TIDE_WHOLE(v) ((tide_value){.is = TIDE_VALUE_WHOLE, .whole = (v)})
#define TIDE_INTS(...) \
    ((tide_ints){.n = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), .v = {__VA_ARGS__}})

/* -- what entries declare for every caller (declared.c) -- */
void tide_declared_fill(const tide_op *);
int tide_declares(const tide_op *); /* whether some call may ask for one of them */
/* Is it asked of this call? Then tide_apply_asked calls tide_apply_bare (op.c), which does what is
 * left, and sees to the rest. Both trust that the inputs are all there. */
int tide_asks(const tide_op *, const void *attrs);
tide_status tide_apply_asked(tide_ctx *, const tide_op *, const void *attrs, int nlist, int nin,
                             tide_tensor **in, tide_tensor **out);
tide_status tide_apply_bare(tide_ctx *, const tide_op *, const void *attrs, int nlist, int nin,
                            tide_tensor **in, tide_tensor **out);

/* -- the tape inside rules and compositions: temporaries belong to the tape until the rule returns,
 * the status is sticky (once an op failed, every call returns NULL and accepts NULL), and whether
 * it records is the tape's affair -- */
#define OP(name, ...) TIDE_OP_##name, TIDE_ATTRS(name, __VA_ARGS__)
tide_tensor *tide_t(tide_tape *, int op, const void *attrs,
                    ...); /* inputs in order; first result */
void tide_tn(tide_tape *, int op, const void *attrs, int nin, tide_tensor **in,
             tide_tensor **out);                                  /* lists, many results */
tide_tensor *tide_t_number(tide_tape *, double value, int dtype); /* no memory: an immediate */
tide_tensor *tide_t_scalar(tide_tape *, double value,
                           tide_tensor *like); /* in the dtype of `like` */
tide_tensor *tide_t_sum_to(tide_tape *, tide_tensor *g,
                           tide_tensor *like); /* undoes broadcasting */
tide_tensor *tide_t_sum_to_meta(tide_tape *, tide_tensor *g, const tide_meta *,
                                const int64_t *shape);
tide_tensor *tide_t_in(tide_tape *, int i);           /* a saved input (borrowed) */
tide_tensor *tide_t_out(tide_tape *, int i);          /* a saved output */
tide_tensor *tide_t_dy(tide_tape *, int i);           /* gradient of output i; zeros if none came */
tide_tensor *tide_t_wide(tide_tape *, tide_tensor *); /* float32 of a half, else as it is */
int tide_t_has_dy(tide_tape *, int i);
int tide_t_needs(tide_tape *, int i); /* is input i's gradient asked for? */
/* The gradient of input i; float32 for a half, and float64 for either, is narrowed. */
void tide_t_give(tide_tape *, int i, tide_tensor *g);
/* Where the elements of a part lie in a contiguous tensor; no two in one place. */
typedef struct {
    int64_t offset, stride[TIDE_MAX_RANK];
} tide_place;
/* The gradient of a part of input i, where the others' is 0: added in place, so that it costs what
 * the part costs. For one input of a rule. `part` says the same as the place, lies in the node's
 * attributes, and may be NULL where the tape does not record. */
void tide_t_give_part(tide_tape *, int i, const tide_place *, const tide_index__attrs *part,
                      tide_tensor *g);
/* Gradient of output i for a rule that writes into it and gives it on; not while recording. */
tide_tensor *tide_t_own_dy(tide_tape *, int i);
tide_tensor *tide_t_part(tide_tape *, tide_tensor *whole, const tide_place *, int rank,
                         const int64_t *shape);      /* a view of a part of a contiguous tensor */
const tide_meta *tide_t_in_meta(tide_tape *, int i); /* shape and dtype of an input, saved or not */
tide_ctx *tide_t_ctx(tide_tape *);
int tide_t_failed(tide_tape *);
void tide_t_fail(tide_tape *, tide_status); /* the rule cannot go on; the message is set already */
int tide_t_recording(tide_tape *);          /* create_graph is on */
void tide_t_keep(tide_tape *, tide_tensor *); /* hands a reference to the tape */
tide_status tide_compose(tide_ctx *, const tide_op *, const void *attrs, int nin, tide_tensor **in,
                         tide_tensor **out);
tide_status tide_compose_grad(tide_tape *, tide_node *);
/* Parts along an axis of what is composed of halves (op.c): how many go together, -1 where the op
 * has no such axis or x is small; some of x as float32 (new); and the way back. */
int64_t tide_parts_of(const tide_op *, const void *attrs, const tide_tensor *x, int *axis,
                      int *out_axis);
tide_status tide_part_wide(tide_ctx *, tide_tensor *x, int axis, int64_t lo, int64_t n,
                           tide_tensor **out);
tide_status tide_part_put(tide_ctx *, tide_tensor *from, tide_tensor *x, int axis, int64_t lo);

/* -- shape rules shared by the families (shape.c) -- */
tide_status tide_axis(tide_call *, int64_t *axis,
                      int rank); /* normalises, or fails naming the op */
tide_status tide_axes(tide_call *, tide_ints *axes,
                      int rank); /* likewise, refuses repetitions; n<0 stays */
tide_status tide_broadcast(tide_call *, int n, tide_tensor **in, tide_meta *out);
/* Refuses more than TIDE_MAX_NUMEL, also in a view that repeats one element, and in the other axes
 * beside one of length 0: no product of extents overflows. */
tide_status tide_numel_of(tide_call *, int rank, const int64_t *shape, int64_t *out);
const char *tide_shape_str(int rank, const int64_t *shape, char *buf, size_t n); /* "[32, 784]" */
static inline int tide_has_shape(const tide_tensor *t, int rank, const int64_t *shape) {
    int same = t->rank == rank;
    for (int i = 0; i < rank && same; i++) same = t->shape[i] == shape[i];
    return same;
}
static inline int tide_same_shape(const tide_tensor *a, const tide_tensor *b) {
    return tide_has_shape(a, b->rank, b->shape);
}
/* The shape of a tensor as text, made where a message needs it; lives until the enclosing block
 * ends. */
#define TIDE_SHAPE_OF(t) tide_shape_str((t)->rank, (t)->shape, (char[160]){0}, 160)
/* What a tensor that a kernel writes into must be, for the message. */
static inline const char *tide_must_be(const tide_tensor *t) {
    return t->shares ? "not hold elements that share one place in memory; use its copy()"
                     : "be contiguous";
}
/* Fails with "<op>: <what> (expected <x>, got <y>)". */
tide_status tide_op_fail(tide_call *, tide_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int tide_promote(int a, int b); /* common dtype by Keras' rules, -1 for two different floats */
tide_status tide_infer_same(tide_call *); /* out = shape and dtype of the first input */
tide_status tide_infer_pointwise(tide_call *);

#endif
