/* Places in an arena: see place.c. */
#ifndef TIDE_PLACE_H
#define TIDE_PLACE_H

#include <stddef.h>

typedef struct {
    size_t size, at; /* bytes; `at` is filled in */
    int first, last; /* the times at which it is needed, both of them too */
    int in;          /* place.c's */
} tide_placed;

/* Fills in the places of n blocks and how large the arena is; 0: no memory. */
int tide_place_all(int n, tide_placed *blocks, size_t *arena);

#endif
