/* Philox4x32-10 (Salmon et al. 2011): random words as a pure function of (seed, stream, block number).
 *
 * Invariant: the word of an element depends on its position only, never on threads or on the instruction set. Element i of
 * a call takes word (i / 16) % 4 of block offset + (i / 64) * 16 + i % 16, so that sixteen blocks side by side fill 64
 * neighbours. A 64-bit draw joins words 0, 1 (elements 0-15 of a group of 32) or 2, 3 (16-31) of its block. Rejection
 * methods take block offset + i with the attempt's number in the upper half of the stream. */
#ifndef TIDE_PHILOX_H
#define TIDE_PHILOX_H

#include "../kernel.h"

#define TIDE_PHILOX_M0 0xD2511F53u
#define TIDE_PHILOX_M1 0xCD9E8D57u
#define TIDE_PHILOX_W0 0x9E3779B9u
#define TIDE_PHILOX_W1 0xBB67AE85u
enum { TIDE_PHILOX_LANES = 16, TIDE_PHILOX_GROUP = 64 };

/* One block: out gets four words. */
static inline void tide_philox_block(tide_rng r, uint64_t block, uint32_t attempt, uint32_t out[4]) {
    uint64_t b = r.offset + block;
    uint32_t c0 = (uint32_t)b, c1 = (uint32_t)(b >> 32), c2 = (uint32_t)r.stream, c3 = (uint32_t)(r.stream >> 32) + attempt;
    uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)TIDE_PHILOX_M0 * c0, p1 = (uint64_t)TIDE_PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1, c3 = (uint32_t)p0;
        k0 += TIDE_PHILOX_W0, k1 += TIDE_PHILOX_W1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Sixteen blocks: w[64 words], word k of block l at w[16 k + l]. */
static inline void tide_philox_group(tide_rng r, uint64_t group, uint32_t *restrict w) {
    uint32_t c0[TIDE_PHILOX_LANES], c1[TIDE_PHILOX_LANES], c2[TIDE_PHILOX_LANES], c3[TIDE_PHILOX_LANES];
    uint64_t first = r.offset + group * TIDE_PHILOX_LANES;
    uint32_t k0 = (uint32_t)r.seed, k1 = (uint32_t)(r.seed >> 32);
    for (int l = 0; l < TIDE_PHILOX_LANES; l++) {
        uint64_t b = first + (uint64_t)l;
        c0[l] = (uint32_t)b, c1[l] = (uint32_t)(b >> 32), c2[l] = (uint32_t)r.stream, c3[l] = (uint32_t)(r.stream >> 32);
    }
    for (int round = 0; round < 10; round++) {
#pragma omp simd
        for (int l = 0; l < TIDE_PHILOX_LANES; l++) {
            uint64_t p0 = (uint64_t)TIDE_PHILOX_M0 * c0[l], p1 = (uint64_t)TIDE_PHILOX_M1 * c2[l];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)p1, c3[l] = (uint32_t)p0;
            c0[l] = n0, c2[l] = n2;
        }
        k0 += TIDE_PHILOX_W0, k1 += TIDE_PHILOX_W1;
    }
    for (int l = 0; l < TIDE_PHILOX_LANES; l++) {
        w[l] = c0[l], w[16 + l] = c1[l], w[32 + l] = c2[l], w[48 + l] = c3[l];
    }
}

static inline double tide_unit53(uint32_t hi, uint32_t lo) { /* [0, 1) */
    return (double)(((uint64_t)hi << 21) ^ (lo >> 11)) * 0x1p-53;
}

#endif
