/* The hook for matrix products.
 *
 * Invariant: the hook is set only while an engine's kernel runs on this thread. */
#include "../engines.h"
#include "../gemm.h"
#include "../signals.h"
#include "cpu.h"

TIDE_THREAD_LOCAL const tide_gemm_hook *tide_gemm_now;
_Thread_local int tide_signals_held;

tide_status tide_with_gemm(const tide_gemm_hook *hook, tide_kcall *c) {
    tide_gemm_now = hook;
    tide_status s = tide_plain_table[c->op](c);
    tide_gemm_now = NULL;
    return s;
}
