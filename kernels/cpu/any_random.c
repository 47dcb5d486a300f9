/* Whole numbers at random: integers of a range and permutations. */
#define TIDE_POLLED
#include "cpu.h"
#include "philox.h"

/* 64 bits times the range, upper half: a bias below range / 2^64. */
static uint64_t scaled(const uint32_t w[4], uint64_t range) {
    return (uint64_t)(((unsigned __int128)((uint64_t)w[0] << 32 | w[1]) * range) >> 64);
}

TIDE_ANY_KERNEL(random_randint) {
    const tide_random_randint_attrs *at = c->attrs;
    const tide_buf *o = &c->out[0];
    const uint64_t range = (uint64_t)at->maxval - (uint64_t)at->minval;
    if (o->dtype > TIDE_BOOL) return TIDE_DECLINE;
    TIDE_PARALLEL_FOR (tide_buf_numel(o), 8192) {
        for (int64_t i = lo; i < hi; i++) {
            uint32_t w[4];
            tide_philox_block(at->rng, (uint64_t)i, 0, w);
            const int64_t v = (int64_t)((uint64_t)at->minval + scaled(w, range));
            switch (o->dtype) {
            case TIDE_I64: ((int64_t *)o->p)[i] = v; break;
            case TIDE_I32: ((int32_t *)o->p)[i] = (int32_t)v; break;
            case TIDE_U8: ((uint8_t *)o->p)[i] = (uint8_t)v; break;
            case TIDE_I8: ((int8_t *)o->p)[i] = (int8_t)v; break;
            case TIDE_BOOL: ((uint8_t *)o->p)[i] = v != 0; break;
            case TIDE_F64: ((double *)o->p)[i] = (double)v; break;
            default: ((float *)o->p)[i] = (float)v; break;
            }
        }
    }
    return TIDE_OK;
}

/* Fisher and Yates, from the front: position i takes any of those not yet placed. */
TIDE_ANY_KERNEL(random_permutation_) {
    const tide_random_permutation__attrs *at = c->attrs;
    const int64_t n = at->n;
#define PERMUTE(T)                                                                    \
    do {                                                                              \
        T *y = c->out[0].p;                                                           \
        for (int64_t i = 0; i < n; i++) y[i] = (T)((uint64_t)at->base + (uint64_t)i); \
        for (int64_t i = 0; i + 1 < n; i++) {                                         \
            if ((i & 0xffff) == 0 && tide_stopped()) break;                           \
            uint32_t w[4];                                                            \
            tide_philox_block(at->rng, (uint64_t)i, 0, w);                            \
            const int64_t j = i + (int64_t)scaled(w, (uint64_t)(n - i));              \
            const T v = y[i];                                                         \
            y[i] = y[j], y[j] = v;                                                    \
        }                                                                             \
    } while (0)
    if (c->out[0].dtype == TIDE_I64) PERMUTE(int64_t);
    else PERMUTE(int32_t);
    return TIDE_OK;
}
