/* Which axes of a reduction stay and which vanish. */
#include "reduce.h"

void tide_reduce_plan(const tide_buf *in, const tide_ints *axis, reduce_plan *p) {
    unsigned gone = axis->n < 0 ? ~0u : 0;
    for (int64_t i = 0; i < axis->n; i++) gone |= 1u << axis->v[i];
    *p = (reduce_plan){.kn = 1, .rn = 1};
    int last = -1; /* which list the previous axis went to: neighbours of one list join where
                      strides allow */
    for (int i = 0; i < in->rank; i++) {
        int r = gone >> i & 1, *n = r ? &p->nr : &p->nk;
        int64_t *shape = r ? p->rshape : p->kshape, *stride = r ? p->rstride : p->kstride;
        *(r ? &p->rn : &p->kn) *= in->shape[i];
        if (in->shape[i] == 1) continue;
        if (last == r && stride[*n - 1] == in->stride[i] * in->shape[i]) {
            shape[*n - 1] *= in->shape[i];
            stride[*n - 1] = in->stride[i];
        } else {
            shape[*n] = in->shape[i];
            stride[(*n)++] = in->stride[i];
        }
        last = r;
    }
    if (p->nk == 0) p->nk = 1, p->kshape[0] = 1, p->kstride[0] = 0;
    if (p->nr == 0)
        p->nr = 1, p->rshape[0] = 1, p->rstride[0] = 0; /* nothing vanishes: as rows of a column */
}
