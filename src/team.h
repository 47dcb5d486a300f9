/* The thread team: what the device and its kernels' table take from team.c. */
#ifndef TIDE_TEAM_H
#define TIDE_TEAM_H

#include "../kernels/parallel.h"

/* For the table of kernels/host.h. */
int tide_team_threads(void);
void tide_team_parallel(void (*fn)(void *), void *data, int chunks);
tide_share *tide_team_share(void);
int64_t tide_team_next(tide_share *, int64_t chunks);

/* Threads that regions may take from now on, 1..1024; a forked child keeps its one. 0, with errno:
 * the system refuses so many, and all stays as it was. */
int tide_team_resize(int threads);
int tide_team_size(void);    /* the same number, inside of regions too */
void tide_team_forked(void); /* a forked child has one thread for ever */
/* For the length of a launch the calling thread has as many threads as there are at its beginning,
 * whatever another thread of the host sets meanwhile: work space is made by that number. Returns
 * what the end wants. */
int tide_team_fix(void);
void tide_team_unfix(int before);
int64_t tide_team_regions(void); /* that more than one thread was asked to, so far */

#endif
