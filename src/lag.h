/* Rows of embedding tables that make Adam's steps when they are read; see lag.c. */
#ifndef TIDE_LAG_H
#define TIDE_LAG_H

#include "launch.h"

/* After so many steps all rows are brought up to date: bounds the work that one read can cost. */
enum { TIDE_LAG_STEPS = TIDE_MAX_NUMBERS };

struct tide_lag {
    tide_ctx *ctx;
    tide_tensor of[4];          /* table, m, v, touched: headers on storages that are not owned */
    int left;                   /* how many of these storages nobody but the record needs */
    tide_adam_lag__attrs attrs; /* the steps written down */
};

void tide_lag_end(tide_lag *); /* brings up to date and forgets */
/* The `before` of embedding: brings the rows that it will read up to date. */
tide_status tide_lag_lookup(tide_ctx *, const tide_step *);
/* The `before` and `after` of adam_step_: decides which tables lag, and writes it into the
 * attributes; writes the step down. */
tide_status tide_lag_before(tide_ctx *, const tide_step *);
void tide_lag_after(const tide_step *);

#endif
