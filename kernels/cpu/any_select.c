/* Choosing between two tensors by a mask, of any strides. */
#define TIDE_POLLED
#include "cpu.h"

/* -- select_(cond, x1, x2) -- */
#define SELECT(T)                                                                          \
    static void select_##T(int64_t n, const void *const *in, void *out, const void *ctx) { \
        const uint8_t *cond = in[0];                                                       \
        const T *a = in[1], *b = in[2];                                                    \
        T *y = out;                                                                        \
        (void)ctx;                                                                         \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                              \
            T va = a[i], vb = b[i];                                                        \
            y[i] = cond[i] ? va : vb;                                                      \
        }                                                                                  \
    }
SELECT(uint8_t)
SELECT(uint16_t)
SELECT(uint32_t)
SELECT(uint64_t)
TIDE_ANY_KERNEL(select_) {
    size_t size = tide_dtype_size(c->out[0].dtype);
    return tide_elementwise_bits(c,
                                 size == 4       ? select_uint32_t
                                     : size == 8 ? select_uint64_t
                                     : size == 2 ? select_uint16_t
                                                 : select_uint8_t,
                                 32768, NULL);
}
