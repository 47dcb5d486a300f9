/* What keeps the register tiles of products in registers. */
#ifndef TIDE_REGISTERS_H
#define TIDE_REGISTERS_H

/* A sum that stays in its register: left alone, gcc moves some of those of a tile through the
 * stack, and each step then waits for that (half of the speed). */
#if defined(__x86_64__)
#define TIDE_STAY(sum) __asm__("" : "+v"(sum))
#else
#define TIDE_STAY(sum) (void)0
#endif

#endif
