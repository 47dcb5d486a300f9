/* Libraries that bring OpenMP with them are called on one thread: Tide's own team cuts the work and
 * calls them from its threads, side by side.
 *
 * Invariant: the number of threads is OpenMP's own variable of the calling thread; it stands at 1
 * while a library runs, and is the host's again afterwards. */
#ifndef TIDE_OPENMP_H
#define TIDE_OPENMP_H

void tide_openmp_of(void *lib); /* finds OpenMP among what an opened library brought */
int tide_openmp_single(void);   /* before a call; returns what tide_openmp_restore wants */
void tide_openmp_restore(int before);

#endif
