/* Owns CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), the checksum of TFRecord files. */
#include "io.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void fill(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
        table[0][i] = c;
    }
    for (int i = 0; i < 256; i++)
        for (int k = 1; k < 4; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

#if defined(__x86_64__)
/* The CPU's own instruction, eight bytes at a time. */
__attribute__((target("sse4.2"))) static uint32_t by_cpu(const unsigned char *p, size_t n) {
    uint64_t c = ~0u, v;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&v, p, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    uint32_t d = (uint32_t)c;
    for (; n > 0; n--, p++) d = __builtin_ia32_crc32qi(d, *p);
    return ~d;
}
#endif

uint32_t tide_crc32c(const void *data, size_t n) {
    const unsigned char *p = data;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return by_cpu(p, n);
#endif
    pthread_once(&once, fill);
    uint32_t c = ~0u;
    for (; n >= 4; n -= 4, p += 4) { /* four bytes at a time: one table per place */
        c ^= p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        c = table[3][c & 255] ^ table[2][c >> 8 & 255] ^ table[1][c >> 16 & 255] ^
            table[0][c >> 24];
    }
    for (; n > 0; n--, p++) c = c >> 8 ^ table[0][(c ^ *p) & 255];
    return ~c;
}
