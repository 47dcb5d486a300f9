/* Runs of a float buffer as REAL, whatever it is stored in: halves are widened into room of the
 * caller's as they are read, and narrowed from there as they are written. */
#ifndef TIDE_PIECES_H
#define TIDE_PIECES_H

#include "cpu.h"
#include "half.h"

/* n elements of `b` from `at` on: as they lie, or widened into `room`. */
static inline const REAL *piece_read(const tide_buf *b, int64_t at, int64_t n, REAL *room) {
#if REAL_IS_FLOAT
    if (tide_is_half(b->dtype)) {
        K(widen)(b->dtype, n, (const uint16_t *)b->p + at, room);
        return room;
    }
#endif
    (void)n, (void)room;
    return (const REAL *)b->p + at;
}

/* Where a result from element `at` of `b` on is written before piece_write: in place, or `room`. */
static inline REAL *piece_room(const tide_buf *b, int64_t at, REAL *room) {
    return tide_is_half(b->dtype) ? room : (REAL *)b->p + at;
}
/* Brings n elements at `from`, which piece_room gave, to their place. */
static inline void piece_write(const tide_buf *b, int64_t at, int64_t n, const REAL *from) {
#if REAL_IS_FLOAT
    if (tide_is_half(b->dtype)) K(narrow)(b->dtype, n, from, (uint16_t *)b->p + at);
#else
    (void)b, (void)at, (void)n, (void)from;
#endif
}

#endif
