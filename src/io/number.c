/* Owns the reading of numbers in text, correctly rounded and without regard to the locale. */
#define _GNU_SOURCE /* strtod_l */
#include "csv.h"

#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static inline int is_blank(char c) { return c == ' ' || c == '\t'; }

static inline void trim(const char **p, size_t *n) {
    if (*n > 0 && !is_blank(**p) && !is_blank((*p)[*n - 1])) return;
    while (*n > 0 && is_blank(**p)) ++*p, --*n;
    while (*n > 0 && is_blank((*p)[*n - 1])) --*n;
}

enum { SAFE = 18 }; /* digits that always fit int64 */

/* With blanks around it, or of so many digits that it may overflow. */
static int careful_integer(const char *p, size_t n, int64_t *out) {
    trim(&p, &n);
    int negative = n > 0 && *p == '-';
    size_t i = n > 0 && (*p == '-' || *p == '+');
    uint64_t v = 0, most = (uint64_t)INT64_MAX + (uint64_t)negative;
    if (i == n) return 0;
    for (; i < n; i++) {
        unsigned d = (unsigned char)p[i] - '0';
        if (d > 9 || v > most / 10 || v * 10 > most - d) return 0;
        v = v * 10 + d;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 1;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* The number of eight digits, the first of them lowest in v, else -1. Neighbours are added up, in
 * pairs, then pairs of pairs. */
static inline int64_t number_of(uint64_t v) {
    if (((v & 0xF0F0F0F0F0F0F0F0u) | ((v + 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) >> 4) !=
        0x3333333333333333u)
        return -1;
    v -= 0x3030303030303030u;
    v = v * 10 + (v >> 8);
    v = (v & 0x000000FF000000FFu) * 0x000F424000000064u +
        (v >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u;
    return (int64_t)(v >> 32);
}
#endif

/* Eight digits at once, where there are eight: 0 to 99999999, else -1. */
static inline int64_t eight(const char *p) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t v;
    memcpy(&v, p, 8);
    return number_of(v);
#else
    (void)p;
    return -1;
#endif
}

/* The same of 1 to 7 digits, behind zeros: read in parts that overlap, so that nothing behind them
 * is. */
static inline int64_t few(const char *p, size_t n) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t v;
    if (n >= 4) {
        uint32_t lo, hi;
        memcpy(&lo, p, 4), memcpy(&hi, p + n - 4, 4);
        v = lo | (uint64_t)hi << 8 * (n - 4);
    } else {
        const unsigned char *u = (const unsigned char *)p;
        v = u[0] | (uint64_t)u[n / 2] << 8 * (n / 2) | (uint64_t)u[n - 1] << 8 * (n - 1);
    }
    return number_of(v << (64 - 8 * n) | 0x3030303030303030u >> 8 * n);
#else
    (void)p, (void)n;
    return -1;
#endif
}

int tide_csv_integer(const char *p, size_t n, int64_t *out) {
    if (n == 0 || n > SAFE) return careful_integer(p, n, out);
    const char *end = p + n;
    int sign = *p == '-' ? -1 : *p == '+';
    p += sign != 0;
    const size_t left = (size_t)(end - p);
    int64_t v = left == 0 || left > 7 ? -1 : few(p, left);
    if (v < 0) {
        unsigned d = 10;
        for (v = 0; p < end && (d = (unsigned char)*p - '0') <= 9; p++) v = v * 10 + d;
        if (d > 9) return careful_integer(end - n, n, out);
    }
    *out = sign < 0 ? -v : v;
    return 1;
}

/* -- powers of ten -- */

static locale_t c_locale;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int ready; /* cheaper to ask than pthread_once */

typedef unsigned __int128 wide;
enum { LEAST = -54, MOST = 55, EXACT = 22 }; /* 5^55 fits 128 bits, twice 5^54 too */
static wide fives[MOST - LEAST + 1]; /* the upper 128 bits of 5^q, the highest of them set */
static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static void prepare(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    wide power = 1;
    for (int q = 0; q <= MOST; q++, power *= 5) {
        wide v = power;
        while (!(v >> 127)) v <<= 1;
        fives[q - LEAST] = v;
        if (q == 0 || -q < LEAST) continue;
        /* 2^(z + 127) / 5^q by long division, where 2^(z - 1) < 5^q < 2^z; rounded up as long as
         * one more is nearer than the error that the method allows, as its authors have it */
        wide rest = 1, quotient = 0;
        while (rest << 1 < power) rest <<= 1;
        for (int i = 0; i < 128; i++) {
            rest <<= 1;
            int bit = rest >= power;
            if (bit) rest -= power;
            quotient = quotient << 1 | (unsigned)bit;
        }
        fives[-q - LEAST] = quotient + (q <= 27);
    }
    atomic_store_explicit(&ready, 1, memory_order_release);
}

/* m * 10^q by one or two products of 64 bits (Lemire 2021, "Number parsing at a gigabyte per
 * second"). 0: the bits do not decide, or the value is not a normal number. */
static int by_product(uint64_t m, int q, double *out) {
    if (q < LEAST || q > MOST) return 0;
    int zeros = __builtin_clzll(m);
    m <<= zeros;
    wide five = fives[q - LEAST], first = (wide)m * (uint64_t)(five >> 64);
    uint64_t hi = (uint64_t)(first >> 64), lo = (uint64_t)first;
    if ((hi & 0x1FF) == 0x1FF) {
        uint64_t more = (uint64_t)((wide)m * (uint64_t)five >> 64);
        lo += more;
        hi += lo < more;
    }
    if (lo == UINT64_MAX) return 0;
    int upper = (int)(hi >> 63), shift = upper + 64 - 52 - 3;
    uint64_t bits = hi >> shift;
    int power = (int)((217706 * (int64_t)q) >> 16) + 63 + upper - zeros + 1023;
    if (power <= 1 || power >= 2045) return 0;
    if (lo <= 1 && q >= -4 && q <= 23 && (bits & 3) == 1 && bits << shift == hi) bits &= ~1ull;
    bits = (bits + (bits & 1)) >> 1;
    if (bits >> 53) bits >>= 1, power++;
    bits = (bits & ((1ull << 52) - 1)) | (uint64_t)power << 52;
    memcpy(out, &bits, sizeof *out);
    return 1;
}

/* Reads digits on from p[i] behind those in *m; they overflow where there are more than 19. */
static inline size_t digits(const char *p, size_t i, size_t n, uint64_t *m) {
    for (int64_t v; n - i >= 8 && (v = eight(p + i)) >= 0; i += 8)
        *m = *m * 100000000 + (uint64_t)v;
    for (; i < n && (unsigned char)(p[i] - '0') < 10; i++) *m = *m * 10 + (uint64_t)(p[i] - '0');
    return i;
}

/* Without a library where at most 19 digits count: exact where digits and power of ten are exact
 * (Clinger 1990), else by products; 0: the library is asked. */
static int quick(const char *p, size_t n, double *out) {
    size_t sign_n = *p == '-' || *p == '+', i = sign_n, point = 0;
    int power = 0;
    uint64_t m = 0;
    i = digits(p, i, n, &m);
    if (i < n && p[i] == '.') {
        point = i + 1;
        i = digits(p, point, n, &m);
        power = -(int)(i - point);
    }
    size_t count = i - sign_n - (point > 0);
    if (count == 0 || count > 19) return 0;
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        int sign = 1, e = 0, some = 0;
        i++;
        if (i < n && (p[i] == '-' || p[i] == '+')) sign = p[i++] == '-' ? -1 : 1;
        for (; i < n && (unsigned char)(p[i] - '0') < 10 && e < 1000; i++)
            e = e * 10 + (p[i] - '0'), some = 1;
        if (!some) return 0;
        power += sign * e;
    }
    if (i != n) return 0;
    double v;
    if (m == 0) v = 0;
    else if (m <= (uint64_t)1 << 53 && power >= -EXACT && power <= EXACT)
        v = power < 0 ? (double)m / tens[-power] : (double)m * tens[power];
    else if (!by_product(m, power, &v)) return 0;
    *out = *p == '-' ? -v : v;
    return 1;
}

int tide_csv_number(const char *p, size_t n, double *out) {
    char text[512], *end;
    if (!atomic_load_explicit(&ready, memory_order_acquire)) pthread_once(&once, prepare);
    trim(&p, &n);
    if (n == 0) return 0;
    if (quick(p, n, out)) return 1;
    if (n >= sizeof text || memchr(p, 0, n) || memchr(p, 'x', n) || memchr(p, 'X', n) ||
        memchr(p, '(', n))
        return 0;
    memcpy(text, p, n);
    text[n] = '\0';
    double v = c_locale ? strtod_l(text, &end, c_locale) : strtod(text, &end);
    if (end != text + n || *text == ' ') return 0;
    *out = v;
    return 1;
}
