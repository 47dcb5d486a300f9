/* Owns the digests of files. Both work on blocks of 64 bytes, behind the last of which stand a one,
 * zeros and the length in bits. */
#include "digest.h"

#include "../core.h"
#include "io.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 64, PIECE = 1 << 16 };

static uint32_t left(uint32_t v, int n) { return v << n | v >> (32 - n); }
static uint32_t right(uint32_t v, int n) { return v >> n | v << (32 - n); }

/* The first 32 bits behind the point of a positive number. */
static uint32_t fraction(double v) { return (uint32_t)((v - floor(v)) * 4294967296.0); }

static void md5_block(uint32_t h[8], const uint32_t k[64], const unsigned char *p) {
    static const int turn[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t w[16], a = h[0], b = h[1], c = h[2], d = h[3];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    for (int i = 0; i < 64; i++) {
        int round = i / 16, from = i;
        uint32_t f = (b & c) | (~b & d);
        if (round == 1) f = (d & b) | (~d & c), from = 5 * i + 1;
        if (round == 2) f = b ^ c ^ d, from = 3 * i + 5;
        if (round == 3) f = c ^ (b | ~d), from = 7 * i;
        uint32_t sum = a + f + k[i] + w[from % 16];
        a = d, d = c, c = b, b += left(sum, turn[round][i % 4]);
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

/* The roots of the first 64 primes make the constants: square roots for the state, cube roots for
 * the rounds. */
static void sha_constants(uint32_t state[8], uint32_t round[64]) {
    int n = 0;
    for (int v = 2; n < 64; v++) {
        int prime = 1;
        for (int d = 2; d * d <= v; d++) prime &= v % d != 0;
        if (!prime) continue;
        if (n < 8) state[n] = fraction(sqrt(v));
        round[n++] = fraction(cbrt(v));
    }
}

static void sha_block(uint32_t h[8], const uint32_t k[64], const unsigned char *p) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (right(a, 7) ^ right(a, 18) ^ a >> 3) +
            (right(b, 17) ^ right(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t t = s[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) +
            ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t u =
            (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[0] = t + u, s[4] += t;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

tide_status tide_file_digest(tide_ctx *ctx, const char *path, tide_digest kind, char hex[65]) {
    uint32_t h[8] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, k[64];
    unsigned char buf[PIECE + 2 * BLOCK];
    uint64_t total = 0;
    size_t have = 0;
    int fd, last = 0;
    int64_t size;
    for (int i = 0; i < 64; i++) k[i] = fraction(fabs(sin(i + 1)));
    if (kind == TIDE_SHA256) sha_constants(h, k);
    TIDE_TRY(tide_file_open(ctx, path, &fd, &size));
    while (!last) {
        ssize_t got;
        do got = read(fd, buf + have, PIECE);
        while (got < 0 && errno == EINTR);
        tide_status st = got < 0
            ? tide_fail(ctx, TIDE_EARG, "%s cannot be read: %s", path, strerror(errno))
            : tide_go_on(ctx);
        if (st != TIDE_OK) {
            close(fd);
            return st;
        }
        have += (size_t)got, total += (uint64_t)got, last = got == 0;
        if (last) {
            size_t whole = (have + 9 + BLOCK - 1) / BLOCK * BLOCK;
            memset(buf + have, 0, whole - have);
            buf[have] = 0x80;
            for (int i = 0; i < 8; i++)
                buf[whole - 8 + (size_t)i] =
                    (unsigned char)(total * 8 >> 8 * (kind == TIDE_MD5 ? i : 7 - i));
            have = whole;
        }
        size_t at = 0;
        for (; at + BLOCK <= have; at += BLOCK)
            if (kind == TIDE_MD5) md5_block(h, k, buf + at);
            else sha_block(h, k, buf + at);
        memmove(buf, buf + at, have - at);
        have -= at;
    }
    close(fd);
    for (int i = 0; i < (kind == TIDE_MD5 ? 16 : 32); i++) {
        int shift = 8 * (kind == TIDE_MD5 ? i % 4 : 3 - i % 4);
        unsigned v = h[i / 4] >> shift & 0xff;
        *hex++ = "0123456789abcdef"[v >> 4], *hex++ = "0123456789abcdef"[v & 15];
    }
    *hex = '\0';
    return TIDE_OK;
}
