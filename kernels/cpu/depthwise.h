/* Convolutions of each channel by itself: see depthwise.c. */
#ifndef TIDE_DEPTHWISE_H
#define TIDE_DEPTHWISE_H

#include "../geometry.h"
#include "cpu.h"

static inline int tide_is_depthwise(const tide_geometry *g) {
    return g->groups == g->c && g->groups > 1;
}
/* y (N, ..., F) = act(x (N, ..., C) by w (k..., 1, F) + bias); bias (F) or NULL. */
void K(depthwise)(const tide_geometry *g, const REAL *x, const REAL *w, const REAL *bias, int act,
                  REAL *y);
/* dx from dy. */
void K(depthwise_grad_x)(const tide_geometry *g, const REAL *dy, const REAL *w, REAL *dx);
/* dw from x and dy. TIDE_ENOMEM: no work space */
tide_status K(depthwise_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                     const REAL *dy, REAL *dw);

#endif
