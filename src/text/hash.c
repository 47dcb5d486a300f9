/* Hashes of text: FarmHash's Fingerprint64, SipHash-2-4, and TensorFlow's fingerprint of two.
 *
 * Bytes are read as little-endian numbers on every machine, so that a hash is the same everywhere.
 */
#include "hash.h"

typedef uint64_t u64;

static u64 get64(const char *p) {
    u64 v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}
static u64 get32(const char *p) {
    u64 v = 0;
    for (int i = 3; i >= 0; i--) v = v << 8 | (unsigned char)p[i];
    return v;
}
static u64 right(u64 v, int n) { return v >> n | v << (64 - n); }
static u64 left(u64 v, int n) { return v << n | v >> (64 - n); }
static u64 fold(u64 v) { return v ^ v >> 47; }

/* -- Fingerprint64 -- */
static const u64 K0 = 0xc3a5c85c97cb3127, K1 = 0xb492b66fbe98f273, K2 = 0x9ae16a3b2f90404f;

static u64 mix(u64 a, u64 b, u64 by) {
    const u64 first = fold((a ^ b) * by);
    return fold((b ^ first) * by) * by;
}

static u64 up_to_16(const char *s, size_t n) {
    const u64 by = K2 + n * 2;
    if (n >= 8) {
        const u64 a = get64(s) + K2, b = get64(s + n - 8);
        return mix(right(b, 37) * by + a, (right(a, 25) + b) * by, by);
    }
    if (n >= 4) return mix(n + (get32(s) << 3), get32(s + n - 4), by);
    if (!n) return K2;
    const unsigned char *b = (const unsigned char *)s;
    const u64 y = b[0] + ((uint32_t)b[n >> 1] << 8), z = n + ((uint32_t)b[n - 1] << 2);
    return fold(y * K2 ^ z * K0) * K2;
}

static u64 up_to_64(const char *s, size_t n) {
    const u64 by = K2 + n * 2, first = n <= 32 ? K1 : K2;
    const u64 a = get64(s) * first, b = get64(s + 8);
    const u64 c = get64(s + n - 8) * by, d = get64(s + n - 16) * K2;
    const u64 y = right(a + b, 43) + right(c, 30) + d, z = mix(y, a + right(b + K2, 18) + c, by);
    if (n <= 32) return z;
    const u64 e = get64(s + 16) * by, f = get64(s + 24);
    const u64 g = (y + get64(s + n - 32)) * by, h = (z + get64(s + n - 24)) * by;
    return mix(right(e + f, 43) + right(g, 30) + h, e + right(f + a, 18) + g, by);
}

typedef struct {
    u64 x, y, z, v[2], w[2];
} state;

/* 32 bytes into a pair. */
static void weave(const char *s, u64 a, u64 b, u64 out[2]) {
    a += get64(s);
    b = right(b + a + get64(s + 24), 21);
    const u64 c = a;
    a += get64(s + 8) + get64(s + 16);
    b += right(a, 44);
    out[0] = a + get64(s + 24), out[1] = b + c;
}

/* 64 bytes into the state; the last ones are weighed otherwise. */
static void absorb(state *t, const char *s, u64 by, u64 weight) {
    t->x = right(t->x + t->y + t->v[0] + get64(s + 8), 37) * by;
    t->y = right(t->y + t->v[1] + get64(s + 48), 42) * by;
    t->x ^= t->w[1] * weight;
    t->y += t->v[0] * weight + get64(s + 40);
    t->z = right(t->z + t->w[0], 33) * by;
    weave(s, t->v[1] * by, t->x + t->w[0], t->v);
    weave(s + 32, t->z + t->w[1], t->y + get64(s + 16), t->w);
    const u64 x = t->x;
    t->x = t->z, t->z = x;
}

u64 tide_fingerprint64(const char *s, size_t n) {
    if (n <= 16) return up_to_16(s, n);
    if (n <= 64) return up_to_64(s, n);
    const u64 seed = 81, y = seed * K1 + 113;
    state t = {seed * K2 + get64(s), y, fold(y * K2 + 113) * K2, {0, 0}, {0, 0}};
    const char *last = s + n - 64;
    for (size_t i = (n - 1) / 64; i > 0; i--, s += 64) absorb(&t, s, K1, 1);
    const u64 by = K1 + ((t.z & 0xff) << 1);
    t.w[0] += (n - 1) & 63;
    t.v[0] += t.w[0];
    t.w[0] += t.v[0];
    absorb(&t, last, by, 9);
    return mix(mix(t.v[0], t.w[0], by) + fold(t.y) * K0 + t.z, mix(t.v[1], t.w[1], by) + t.x, by);
}

u64 tide_fingerprint_pair(u64 first, u64 second) {
    const u64 by = 0xc6a4a7935bd1e995;
    u64 r = (first ^ by ^ fold(second * by) * by) * by;
    r = fold(r) * by;
    return fold(r);
}

/* -- SipHash -- */
static void rounds(u64 v[4], int n) {
    while (n--) {
        v[0] += v[1], v[2] += v[3];
        v[1] = left(v[1], 13) ^ v[0], v[3] = left(v[3], 16) ^ v[2];
        v[0] = left(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = left(v[1], 17) ^ v[2], v[3] = left(v[3], 21) ^ v[0];
        v[2] = left(v[2], 32);
    }
}

u64 tide_siphash64(const char *s, size_t n, u64 k0, u64 k1) {
    u64 v[4] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                k1 ^ 0x7465646279746573};
    u64 last = (u64)n << 56;
    for (size_t left_over = n; left_over >= 8; left_over -= 8, s += 8) {
        const u64 m = get64(s);
        v[3] ^= m;
        rounds(v, 2);
        v[0] ^= m;
    }
    for (size_t i = 0; i < n % 8; i++) last |= (u64)(unsigned char)s[i] << 8 * i;
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
