/* The door between Lua and the core: handles, arguments, errors, pacing. The only C that includes
 * lua.h.
 *
 * Invariant: Lua is raised into only while no C reference is held. A handle is created empty before
 * the resource it will own, so whatever is raised in between leaves a harmless, collectable object.
 */
#ifndef TIDE_BIND_H
#define TIDE_BIND_H

#include "../op.h"

#include <lauxlib.h>
#include <lua.h>

#define TIDEL_MAGIC \
    0x7469646574656E73u /* tells our handles from other libraries' without a metatable look-up */

typedef struct {
    uint64_t magic;
    tide_tensor *t; /* owned; NULL: not filled yet, or released */
} tideL_handle;

/* -- handles (bind.c) -- */
tide_ctx *tideL_ctx(lua_State *L); /* raises while the state is being closed */
/* The context has the modes of the coroutine that runs (modes.c): whoever did not come by tideL_ctx
 * sees to it, before an op (behind the last allocation of Lua's memory, since finalizers may run
 * other coroutines) and after Lua was called. */
void tideL_switch(lua_State *L, tide_ctx *ctx);
static inline tide_ctx *tideL_here(lua_State *L, tide_ctx *ctx) {
    if (ctx->thread != L) tideL_switch(L, ctx);
    return ctx;
}
void tideL_push_ctx(
    lua_State *L); /* pushes the userdata that holds its address, NULL when closed */
tideL_handle *tideL_new(lua_State *L);             /* pushes an empty handle */
void tideL_push_metatable(lua_State *L);           /* the tensors' */
tideL_handle *tideL_newof(lua_State *L, int meta); /* likewise; the metatable is at hand there */
void tideL_own_stack(void);       /* signals' handlers run on a stack of their own on this thread */
void tideL_released(lua_State *); /* raises: the tensor was released */
tide_tensor *tideL_totensor(lua_State *L,
                            int i); /* borrowed; NULL: not a tensor; raises if it was released */
tide_tensor *tideL_checktensor(
    lua_State *L, int i, const char *where); /* raises with `where: expected a tensor, got ...` */
tideL_handle *tideL_tohandle(lua_State *L, int i);
/* Pushes a handle of the function's own, that holds the tensor at i whatever finalizers and
 * callbacks release meanwhile. Every allocation of Lua's may run a finalizer: a borrowed tensor is
 * used up to the next one, read again behind it, or pinned. */
tide_tensor *tideL_pin(lua_State *L, int i, const char *where);
tide_tensor *tideL_pinvalue(lua_State *L, int i, int like,
                            const char *where); /* likewise, or literal data */
tideL_handle *tideL_newpin(lua_State *L);       /* an empty handle of the function's own */
/* Likewise, contiguous on the CPU: what the host reads. */
tide_tensor *tideL_pinhost(lua_State *L, int i, const char *where);
void tideL_send(lua_State *L, tideL_handle *h); /* to the device where new tensors are */
void tideL_send_to(lua_State *L, tideL_handle *h, tide_device *);
tide_device *tideL_todevice(lua_State *L, int i, const char *where); /* by its name */
void tideL_push_item(lua_State *L, const tide_tensor *t, int64_t flat, const char *where);

/* -- Lua functions that the core calls (hooks.c) -- */
/* A number for the function at f, which stays until the core frees the number. */
void *tideL_number(lua_State *L, tide_ctx *, int f);
int tideL_push_numbered(lua_State *L, const void *number); /* 0: it is gone, nothing is pushed */
void tideL_forget(tide_ctx *, void *number);
void tideL_push_remover(lua_State *L, int i, const void *number); /* i: the tensor's handle */
/* The collector gives a handle up that has a tensor: returns whether it has to come back, for a
 * search is under way. */
int tideL_comes_back(tideL_handle *);
/* Collects functions that nobody reaches but through what they hold themselves; behind a full
 * collection, which it is worth one or two of. */
void tideL_search(lua_State *L, tide_ctx *);
void tideL_open_hooks(lua_State *L);

/* -- errors -- */
int tideL_raise(lua_State *L, tide_ctx *ctx, tide_status st); /* raises the context's message */
int tideL_error(lua_State *L, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define tideL_try(L, ctx, expr)                         \
    do {                                                \
        tide_status try_ = (expr);                      \
        if (try_ != TIDE_OK) tideL_raise(L, ctx, try_); \
    } while (0)
/* Pushes `require` as it was when Tide was loaded: a host may take it away from its scripts. */
void tideL_pushrequire(lua_State *L);
const char *tideL_typename(lua_State *L, int i); /* "a tensor", "a table", "a string", ... */
/* Refuses a namespace as the first argument: tide:zeros { 2 }, which is called with a dot. */
void tideL_refuse_colon(lua_State *L, const char *where);
/* As tideL_try, for `name`: it stands first in the message, private ops inside do not show. */
#define tideL_try_named(L, ctx, name, expr)                         \
    do {                                                            \
        tide_status named_st = (expr);                              \
        if (named_st != TIDE_OK) {                                  \
            if (named_st != TIDE_EINTERRUPT) tideL_name(ctx, name); \
            tideL_raise(L, ctx, named_st);                          \
        }                                                           \
    } while (0)
void tideL_name(tide_ctx *, const char *name);

/* -- pacing of the collector -- */
void tideL_pace(lua_State *L, tide_ctx *);        /* before an op: collects if there is much new */
void tideL_pace_below(tide_ctx *, int64_t limit); /* a limit of memory was set */
/* Behind TIDE_ENOMEM, at a door that holds nothing borrowed and whose op wrote nothing: collects
 * all there is; returns whether it is worth trying again. */
int tideL_make_room(lua_State *L, tide_ctx *);
/* Texts of so many bytes are made now that are garbage soon. By Lua's measure they would live
 * through two young collections, count as old, and make every growth of a small heap a full
 * collection; so they do not count, and one young collection comes every some megabytes. */
void tideL_passing(lua_State *L, tide_ctx *, int64_t bytes);
int tideL_can_collect(lua_State *L); /* asked before each lua_gc that runs finalizers */

/* -- values (values.c): what Lua offers where an argument is due. All raise `where: name: ...`. --
 */
/* Fields of person's tables are read raw: a metamethod may release what is borrowed meanwhile. */
int tideL_field(lua_State *L, int i, const char *key); /* pushes it, returns its type */
/* Pushes a field of the value's metatable and returns 1, or returns 0; allocates nothing. */
typedef enum { TIDEL_NAME, TIDEL_LIST, TIDEL_OP, TIDEL_METAFIELDS } tideL_metafield;
int tideL_pushmeta(lua_State *L, int i, tideL_metafield);
void tideL_open_metafields(lua_State *L);
int tideL_isnone(lua_State *L, int i);  /* nil, false, tide.none */
int tideL_isplain(lua_State *L, int i); /* a table without metatable, or a list made by Tide */
int tideL_has_string_key(lua_State *L, int i);
int64_t tideL_toint(lua_State *L, int i, const char *where, const char *name);
double tideL_tofloat(lua_State *L, int i, const char *where, const char *name);
tide_value tideL_tovalue(lua_State *L, int i, const char *where,
                         const char *name); /* whole numbers keep all their digits */
int tideL_todtype(lua_State *L, int i, const char *where);
void tideL_toints(lua_State *L, int i, const char *where, const char *name, tide_ints *out);
void tideL_toshape(lua_State *L, int i, const char *where, tide_ints *out);
int64_t tideL_toaxis(lua_State *L, int i, const char *where,
                     const char *name); /* 1-based to 0-based */
/* Numbers, booleans, nested tables of them: a new tensor on top of the stack (a handle), returned
 * borrowed. dtype < 0: float32 for numbers, bool for booleans; TIDE_WHOLE_LITERAL: lists of numbers
 * have the integer dtype of their partner, else int32. `like` gives weak scalars the dtype of their
 * partner, -1: none. Device NULL: where new tensors are made. */
enum { TIDE_WHOLE_LITERAL = -2 };
tide_tensor *tideL_literal(lua_State *L, int i, int dtype, int like, tide_device *,
                           const char *where);
void tideL_pushshape(lua_State *L, const tide_tensor *t); /* a tide list of integers */

/* -- boxes (io.c): userdata that own one C object; made empty, filled by setting `p` -- */
typedef struct {
    void *p;
    void (*free)(void *);
} tideL_box;
tideL_box *tideL_newbox(lua_State *L, void (*release)(void *));
void *tideL_unbox(lua_State *L, int i,
                  void (*release)(void *)); /* NULL: no box of this kind, or a closed one */
const char *tideL_checkpath(lua_State *L,
                            int i); /* a path; raises where a zero byte would cut it */

/* -- bytes that grow (characters.c) -- */
struct tide_bytes;
struct tide_bytes *tideL_newbytes(lua_State *L);              /* empty, in a box on the stack */
int tideL_pushbytes(lua_State *L, const struct tide_bytes *); /* as a string; returns 1 */

/* -- worker threads (ahead.c) -- */
typedef struct tideL_workers tideL_workers;          /* counted; what uses them outlives a handle */
tideL_workers *tideL_toworkers(lua_State *L, int i); /* borrowed; NULL: none, or closed ones */
tideL_workers *tideL_workers_retain(tideL_workers *);
void tideL_workers_release(tideL_workers *);                  /* accepts NULL */
struct tide_workers *tideL_workers_of(const tideL_workers *); /* NULL: none, closed */

/* -- readers of records (records.c) -- */
struct tide_records;
/* The one at 1, of this path; `stopped`: what interrupted its last read. Raises for others. */
struct tide_records *tideL_records(lua_State *L, const char **path, tide_status *stopped);

/* -- parts of the module; each adds its functions to the table on top -- */
void tideL_open_ops(lua_State *L);
void tideL_open_tensor(lua_State *L);
void tideL_open_grad(lua_State *L);
void tideL_open_runtime(lua_State *L);
void tideL_open_modes(lua_State *L);
void tideL_open_steps(lua_State *L);
void tideL_open_plan(lua_State *L);
void tideL_open_data(lua_State *L);
void tideL_open_records(lua_State *L);
void tideL_open_ahead(lua_State *L);
void tideL_open_columns(lua_State *L);
void tideL_open_process(lua_State *L);
void tideL_open_image(lua_State *L);
void tideL_open_io(lua_State *L);
void tideL_open_names(lua_State *L);
void tideL_open_archives(lua_State *L);
void tideL_open_words(lua_State *L);
void tideL_open_text(lua_State *L);
void tideL_open_characters(lua_State *L);
void tideL_open_sequences(lua_State *L);
void tideL_open_sound(lua_State *L);
int tideL_index(lua_State *L); /* index.c: __index, __newindex */
int tideL_newindex(lua_State *L);
int tideL_inplace(lua_State *L);
int tideL_overwrite(lua_State *L);

#endif
