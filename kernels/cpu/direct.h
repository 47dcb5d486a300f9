/* Convolutions whose windows are multiplied as they lie: see direct.c. */
#ifndef TIDE_DIRECT_H
#define TIDE_DIRECT_H

#include "../geometry.h"
#include "cpu.h"

/* Whether these serve: one or two spatial axes, kernels that stay in the cache. */
int K(direct_serves)(const tide_geometry *g);
/* Whether tiles of a product with so many columns would be half empty; these have narrow ones. */
int K(direct_fills)(int64_t columns);
/* y = act(x by w + bias); bias may be NULL. */
tide_status K(direct)(tide_device *dev, const tide_geometry *g, const REAL *x, const tide_buf *w,
                      const REAL *bias, int act, REAL *y);
/* dx from dy and w. */
tide_status K(direct_grad_x)(tide_device *dev, const tide_geometry *g, const REAL *dy,
                             const tide_buf *w, REAL *dx);
/* dw from x and dy. */
tide_status K(direct_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                  const REAL *dy, REAL *dw);

#endif
