/* What the doors to files of tensors share: lists of entries out, lists of tensors in (io.c). */
#ifndef TIDE_BIND_FILES_H
#define TIDE_BIND_FILES_H

#include "bind.h"

#include "../io/io.h"

/* Pushes { name, dtype, shape }. */
void tideL_push_entry(lua_State *L, const tide_st_entry *e);

/* A list of { name, tensor } read into arrays of n. What it pushes keeps the arrays and contiguous
 * copies alive; the list keeps the names. Raises `where: ...`. */
typedef struct {
    int64_t n;
    const char **names;
    tide_tensor **tensors;
} tideL_named;
tideL_named tideL_tonamed(lua_State *L, int i, const char *where);

#endif
