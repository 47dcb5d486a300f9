/* A convolution and the normalization behind it as one convolution. */
#ifndef TIDE_FOLD_H
#define TIDE_FOLD_H

#include "attrs.h"
#include "keep.h"

typedef struct {
    tide_kcall call; /* of conv, with what follows */
    tide_conv_attrs attrs;
    tide_buf in[3];
    tide_kept *kept;
} tide_folded;

/* What conv_norm_'s call `c` is as a call of conv: its kernel and bias are scaled and moved, which
 * is done again only when one of the weights has changed. `f` stays where it is until
 * tide_keep_done(f->kept). TIDE_ENOMEM: no room */
tide_status tide_fold(const tide_kcall *c, tide_folded *f);

#endif
