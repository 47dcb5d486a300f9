/* Within src/text: a tokenizer.json as a tree, and what a tokenizer is made of. */
#ifndef TIDE_TREE_H
#define TIDE_TREE_H

#include "regex.h"
#include "store.h"

/* -- memory that goes all at once -- */
typedef struct tide_chunk tide_chunk;
typedef struct {
    tide_chunk *last;
} tide_arena;
void *tide_arena_take(tide_arena *, size_t n);                /* zeros; NULL: no memory */
char *tide_arena_copy(tide_arena *, const char *s, size_t n); /* with a NUL behind it */
void tide_arena_free(tide_arena *);

/* -- JSON as a tree. Large lists are not taken apart: `vocab` and `merges` are read where they are
 * needed. -- */
typedef struct tide_tree tide_tree;
struct tide_tree {
    tide_json_kind kind;
    bool closed;         /* a list or object whose text alone is there */
    const char *key, *s; /* NUL behind them; s: of a string */
    size_t n;
    const char *raw; /* the value's own text */
    size_t raw_n;
    int64_t integer;
    double real;
    tide_tree *child, *next;
};
typedef struct {
    tide_ctx *ctx;
    const char *what; /* opens the messages */
    char *text;
    tide_arena arena;
    tide_tree *root;
} tide_source;
tide_status tide_source_open(tide_source *, tide_ctx *, const char *what, const char *text,
                             size_t n);
void tide_source_close(tide_source *);

/* Values by name; the default where it is absent or null. They fail naming the path, which is that
 * of the object and the key. */
typedef struct {
    tide_source *src;
    tide_status status;
} tide_reading;
const tide_tree *tide_at(const tide_tree *object, const char *key); /* NULL: absent or null */
bool tide_at_bool(tide_reading *, const tide_tree *, const char *path, const char *key, bool def);
int64_t tide_at_int(tide_reading *, const tide_tree *, const char *path, const char *key,
                    int64_t least, int64_t most, int64_t def);
const char *tide_at_string(tide_reading *, const tide_tree *, const char *path, const char *key,
                           const char *def, size_t *n /* optional */);
/* The number, from 0, of the string in a list "a|b|c". */
int tide_at_enum(tide_reading *, const tide_tree *, const char *path, const char *key,
                 const char *names, int def);
const tide_tree *tide_at_list(tide_reading *, const tide_tree *, const char *path, const char *key);
const tide_tree *tide_at_object(tide_reading *, const tide_tree *, const char *path,
                                const char *key);
/* Fails, unless something failed before; false. */
bool tide_wrong(tide_reading *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool tide_short(tide_reading *);               /* of memory */
const char *tide_tree_what(const tide_tree *); /* "a list", "a string", … */

#endif
