/* Winograd's minimal filtering for 3x3 windows: see winograd.c. */
#ifndef TIDE_WINOGRAD_H
#define TIDE_WINOGRAD_H

#include "../geometry.h"
#include "cpu.h"

/* Does this compilation serve the convolution? float32, levels with AVX2 and wider, shapes of
 * tide_winograd_fits. */
int K(winograd_serves)(const tide_geometry *g);
/* y (N, h, w, F) from x (N, H, W, C) and w (3, 3, C, F), `bias` (F) or NULL, then relu if asked. */
tide_status K(winograd)(tide_device *dev, const tide_geometry *g, const REAL *x, const tide_buf *w,
                        const REAL *bias, int relu, REAL *y);
/* dx from dy: the convolution of dy with the turned kernel. */
tide_status K(winograd_grad_x)(tide_device *dev, const tide_geometry *g, const REAL *dy,
                               const REAL *w, REAL *dx);
/* dw from x and dy. */
tide_status K(winograd_grad_kernel)(tide_device *dev, const tide_geometry *g, const REAL *x,
                                    const REAL *dy, REAL *dw);

#endif
