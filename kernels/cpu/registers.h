/* What keeps the register tiles of products in registers. */
#ifndef TIDE_REGISTERS_H
#define TIDE_REGISTERS_H

/* sum += x y for vectors of REAL, in place. Left to choose, gcc moves some sums of a tile through
 * the stack, and each step then waits for that: half of the speed, and whether it does so depends
 * on what stands around. */
#if defined(__x86_64__) && defined(__FMA__)
#if REAL_IS_FLOAT
#define TIDE_ADD_PRODUCT(sum, x, y) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y))
#else
#define TIDE_ADD_PRODUCT(sum, x, y) __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y))
#endif
#else
#define TIDE_ADD_PRODUCT(sum, x, y) ((sum) += (x) * (y))
#endif

#endif
