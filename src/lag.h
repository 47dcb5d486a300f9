/* Rows of embedding tables that make Adam's steps when they are read; see lag.c. */
#ifndef TIDE_LAG_H
#define TIDE_LAG_H

#include "device.h"
#include "op.h"

#include <math.h>

enum {
    TIDE_LAG_STEPS = 64
}; /* after so many all rows are brought up to date: bounds the work that one read can cost */

struct tide_lag {
    tide_storage *of[4]; /* table, m, v, touched: not owned */
    tide_buf buf[4];
    int n;                          /* steps written down */
    double step[TIDE_LAG_STEPS][4]; /* alpha, 1 - beta_1, 1 - beta_2, epsilon */
};

void tide_lag_end(tide_lag *); /* brings up to date and forgets */
tide_status tide_lag_rows(tide_lag *, const tide_buf *ids,
                          int64_t base); /* these rows only; TIDE_ENOMEM */
tide_status tide_lag_before(
    tide_call *); /* adam_step_ decides which tables lag, and writes it into its attributes */
void tide_lag_after(const tide_call *); /* the step was made: it is written down */

#endif
