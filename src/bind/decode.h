/* What the door for ops knows of an op, and the arguments of one call as they are read (decode.c).
 */
#ifndef TIDE_BIND_DECODE_H
#define TIDE_BIND_DECODE_H

#include "bind.h"

/* Made once, lives as long as the process. */
typedef struct {
    const tide_op *op;
    const tide_arg *args;
    int nargs;
    int slot[TIDE_MAX_ARGS];       /* argument -> input number or list number */
    int positional[TIDE_MAX_ARGS]; /* arguments that may stand without a name, in order */
    int npositional;
    unsigned required; /* bits of attributes without a default */
    /* How many tensors make a whole call, of an op whose inputs are its first arguments, which has
     * one result and writes to nothing; most 0: of others. */
    int least, most;
} tideL_opbind;

const tideL_opbind *tideL_opbind_of(const tide_op *); /* NULL: no memory */
int tideL_private_name(const char *name);
int tideL_private_arg(const tide_arg *); /* an attribute that only C sets */

/* One call. */
typedef struct {
    lua_State *L;
    const tideL_opbind *b;
    unsigned char *attrs;          /* starts as the declared defaults */
    tide_tensor *in[TIDE_MAX_IN];  /* by tideL_read_inputs */
    tideL_handle *at[TIDE_MAX_IN]; /* of each input, on the stack; NULL: none */
    int pending[TIDE_MAX_IN];      /* stack index of a literal that waits for its dtype; 0: none */
    int literals;                  /* whether any waits */
    double number;                 /* a number from the context's cache is input `cached` - 1 */
    int cached, number_dtype;
    int list[TIDE_MAX_IN]; /* stack index of each list of tensors */
    const char *name_of[TIDE_MAX_IN];
    unsigned given;    /* bits of arguments */
    int nin;           /* single inputs and entries of lists */
    tide_tensor **all; /* [nin], borrowed from the stack, by tideL_read_inputs */
    int *all_at;       /* [nin]: stack index of a handle made for an entry of a list; 0: none */
} tideL_decoding;

/* Reads the `nargs` arguments at the bottom of the stack into attributes and inputs; raises. */
void tideL_decode(tideL_decoding *, int nargs);
/* The inputs, read again: finalizers may have released what was decoded, so this stands behind the
 * last allocation of Lua's memory, and makes none. */
void tideL_read_inputs(tideL_decoding *, tide_ctx *);
int tideL_is_symbolic(lua_State *L, int i);

/* Calls what records `op` in a graph with the arguments 1..nargs, the one at `symbol` being
 * symbolic; returns how many results stand on top of the stack. */
int tideL_call_symbolic(lua_State *L, const char *op, int symbol, int nargs);

#endif
