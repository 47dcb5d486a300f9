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
/* The CPU's own instruction takes eight bytes. It needs three cycles for them, but begins with the
 * next eight in each: so of long data three lanes are read at once, and what the checksum of a lane
 * becomes behind the next one is looked up. */
enum { LANE = 512 };
static uint32_t behind[4][256]; /* what a checksum becomes over LANE zero bytes, by its bytes */
static pthread_once_t lanes = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static uint64_t over(uint64_t c, const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_ia32_crc32di(c, v);
}

__attribute__((target("sse4.2"))) static void fill_lanes(void) {
    for (int bit = 0; bit < 32; bit++) {
        uint64_t c = (uint64_t)1 << bit;
        for (int i = 0; i < LANE; i += 8) c = __builtin_ia32_crc32di(c, 0);
        behind[bit / 8][1 << bit % 8] = (uint32_t)c;
    }
    for (int k = 0; k < 4; k++) /* the others are sums of these */
        for (int v = 1; v < 256; v++) behind[k][v] = behind[k][v & (v - 1)] ^ behind[k][v & -v];
}

static uint64_t skip_lane(uint64_t c) {
    return behind[0][c & 255] ^ behind[1][c >> 8 & 255] ^ behind[2][c >> 16 & 255] ^
        behind[3][c >> 24 & 255];
}

__attribute__((target("sse4.2"))) static uint32_t by_cpu(const unsigned char *p, size_t n) {
    uint64_t c = ~0u;
    if (n >= 3 * LANE) pthread_once(&lanes, fill_lanes);
    for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
        uint64_t second = 0, third = 0;
        for (int i = 0; i < LANE; i += 8) {
            c = over(c, p + i);
            second = over(second, p + LANE + i);
            third = over(third, p + 2 * LANE + i);
        }
        c = skip_lane(skip_lane(c) ^ second) ^ third;
    }
    for (; n >= 8; n -= 8, p += 8) c = over(c, p);
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
