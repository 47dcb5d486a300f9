/* Parameters in float16 or bfloat16 and their float32 masters. */
#include "cpu.h"
#include "half.h"

#define GRAIN 32768

TIDE_ANY_KERNEL(narrow_step_) { /* params, masters */
    for (int i = 0; i < c->nlist; i++) {
        const tide_buf *p = &c->in[i], *m = &c->in[c->nlist + i];
        TIDE_PARALLEL_FOR (tide_buf_numel(p), 4 * GRAIN) {
            tide_half->narrow(p->dtype, hi - lo, (const float *)m->p + lo, (uint16_t *)p->p + lo);
        }
    }
    return TIDE_OK;
}

TIDE_ANY_KERNEL(widen_step_) { /* masters, params */
    enum { PIECE = 1024 };
    for (int i = 0; i < c->nlist; i++) {
        const tide_buf *m = &c->in[i], *p = &c->in[c->nlist + i];
        TIDE_PARALLEL_FOR (tide_buf_numel(p), 4 * GRAIN) {
            float wide[PIECE];
            uint16_t near[PIECE];
            for (int64_t at = lo; at < hi; at += PIECE) {
                const int64_t n = TIDE_MIN(PIECE, hi - at);
                float *master = (float *)m->p + at;
                const uint16_t *param = (const uint16_t *)p->p + at;
                tide_half->narrow(p->dtype, n, master, near);
                tide_half->widen(p->dtype, n, param, wide);
                for (int64_t j = 0; j < n; j++)
                    master[j] = near[j] == param[j] ? master[j] : wide[j];
            }
        }
    }
    return TIDE_OK;
}
