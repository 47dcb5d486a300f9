/* Owns what is known of characters: UTF-8, kinds, lower case, and Unicode's normal forms of whole
 * strings. Facts come from utf8proc, of which nothing else in the house asks. */
#include "chars.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* -- UTF-8 -- */

int tide_utf8_length(unsigned char first) {
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

int tide_utf8_get(const char *at, const char *end, int32_t *c) {
    const unsigned char *p = (const unsigned char *)at;
    const size_t left = (size_t)(end - at);
    if (p[0] < 0x80) return *c = p[0], 1;
    *c = TIDE_BROKEN;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2) return 1;
    const unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 1;
    if (p[0] < 0xe0) return *c = (p[0] & 31) << 6 | (p[1] & 63), 2;
    if (left < 3 || (p[2] & 0xc0) != 0x80) return 2;
    if (p[0] < 0xf0) return *c = (p[0] & 15) << 12 | (p[1] & 63) << 6 | (p[2] & 63), 3;
    if (left < 4 || (p[3] & 0xc0) != 0x80) return 3;
    *c = (p[0] & 7) << 18 | (p[1] & 63) << 12 | (p[2] & 63) << 6 | (p[3] & 63);
    return 4;
}

int tide_utf8_put(char *p, int32_t c) {
    if (c < 0x80) return p[0] = (char)c, 1;
    if (c < 0x800) return p[0] = (char)(0xc0 | c >> 6), p[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        p[0] = (char)(0xe0 | c >> 12), p[1] = (char)(0x80 | (c >> 6 & 63));
        return p[2] = (char)(0x80 | (c & 63)), 3;
    }
    p[0] = (char)(0xf0 | c >> 18), p[1] = (char)(0x80 | (c >> 12 & 63));
    p[2] = (char)(0x80 | (c >> 6 & 63)), p[3] = (char)(0x80 | (c & 63));
    return 4;
}

bool tide_utf8_valid(const char *s, size_t n) {
    const char *end = s + n;
    while (s < end) {
        int32_t c;
        const int k = tide_utf8_get(s, end, &c);
        if (c == TIDE_BROKEN && (k != 3 || memcmp(s, "\xef\xbf\xbd", 3) != 0)) return false;
        s += k;
    }
    return true;
}

/* -- kinds -- */

static bool is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
        (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
        c == 0x3000;
}

static int kind_of(int32_t c) {
    int kind = is_space(c) ? TIDE_SPACE : c == 0x200c || c == 0x200d ? TIDE_JOINER : 0;
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f189)) /* letters in circles */
        kind |= c < 0x1f14a || (c >= 0x1f150 && c <= 0x1f169) || c >= 0x1f170 ? TIDE_WORD : 0;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return kind | TIDE_LETTER | TIDE_WORD;
    case UTF8PROC_CATEGORY_ND: return kind | TIDE_NUMBER | TIDE_WORD;
    case UTF8PROC_CATEGORY_NL: /* Roman numerals are alphabetic too */
        return kind | TIDE_NUMBER | TIDE_WORD;
    case UTF8PROC_CATEGORY_NO: return kind | TIDE_NUMBER;
    case UTF8PROC_CATEGORY_MN: return kind | TIDE_MARK | TIDE_NONSPACING | TIDE_WORD;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return kind | TIDE_MARK | TIDE_WORD;
    case UTF8PROC_CATEGORY_PC: return kind | TIDE_PUNCT | TIDE_WORD;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return kind | TIDE_PUNCT;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS: return kind | TIDE_CONTROL;
    default: return kind;
    }
}

#define L (TIDE_LETTER | TIDE_WORD)
#define N (TIDE_NUMBER | TIDE_WORD)
#define P TIDE_PUNCT
#define C TIDE_CONTROL
#define S (TIDE_CONTROL | TIDE_SPACE)
const uint8_t tide_ascii_kind[128] = {
    C,          C, C, C, C, C, C, C, C, S, S, S, S, S, C, C,
    C,          C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    TIDE_SPACE, P, P, P, 0, P, P, P, P, P, P, 0, P, P, P, P, /* 0x20: $ and + are symbols */
    N,          N, N, N, N, N, N, N, N, N, P, P, 0, 0, 0, P,
    P,          L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L,          L, L, L, L, L, L, L, L, L, L, P, P, P, 0, TIDE_PUNCT | TIDE_WORD,
    0,          L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L,          L, L, L, L, L, L, L, L, L, L, P, 0, P, 0, C,
};
#undef L
#undef N
#undef P
#undef C
#undef S

int tide_char_kind(int32_t c) { return (uint32_t)c < 128 ? tide_ascii_kind[c] : kind_of(c); }

int tide_char_lower(int32_t c, int32_t *to) {
    if (c < 128) return to[0] = c >= 'A' && c <= 'Z' ? c + 32 : c, 1;
    if (c == 0x130) return to[0] = 'i', to[1] = 0x307, 2; /* the only one that becomes two */
    return to[0] = utf8proc_tolower(c), 1;
}

int32_t tide_char_upper(int32_t c) { return utf8proc_toupper(c); }

int tide_char_combining(int32_t c) {
    return c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;
}

int tide_char_decompose(int32_t c, bool compatible, int32_t *to) {
    if (c < 0xa0) return to[0] = c, 1;
    int last = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(
        c, to, TIDE_DECOMPOSED,
        compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE, &last);
    return n < 1 || n > TIDE_DECOMPOSED ? (to[0] = c, 1) : (int)n;
}

int32_t tide_char_compose(int32_t a, int32_t b) {
    if (b < 0x300) return -1;
    int32_t pair[3] = {a, b, 0};
    return utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == 1 ? pair[0]
                                                                                      : -1;
}

bool tide_char_breaks(int32_t a, int32_t b, int *state) {
    return utf8proc_grapheme_break_stateful(a, b, state);
}

const char *tide_unicode_version(void) { return utf8proc_unicode_version(); }

bool tide_char_category(int32_t c, const char *name) {
    const char *is = utf8proc_category_string(c);
    return is[0] == name[0] && (!name[1] || is[1] == name[1]);
}

/* -- bytes that grow -- */

bool tide_grow(void *block, size_t *room, size_t n, size_t size) {
    if (n <= *room) return true;
    size_t more = *room + *room / 2;
    if (more < n) more = n;
    if (more < 16) more = 16;
    void *p;
    memcpy(&p, block, sizeof p);
    p = realloc(p, more * size);
    if (!p) return false;
    memcpy(block, &p, sizeof p);
    *room = more;
    return true;
}

void tide_bytes_add(tide_bytes *b, const char *s, size_t n) {
    if (b->failed || !tide_grow(&b->p, &b->room, b->n + n + 1, 1)) {
        b->failed = true;
        return;
    }
    if (n) memcpy(b->p + b->n, s, n);
    b->p[b->n += n] = '\0';
}

void tide_bytes_char(tide_bytes *b, int32_t c) {
    char at[4];
    tide_bytes_add(b, at, (size_t)tide_utf8_put(at, c));
}

static tide_status done(tide_ctx *ctx, const tide_bytes *b) {
    return b->failed ? tide_fail(ctx, TIDE_ENOMEM, "not enough memory for the text") : TIDE_OK;
}

/* -- whole strings -- */

tide_status tide_text_mend(tide_ctx *ctx, const char *s, size_t n, tide_bytes *out) {
    tide_bytes_add(out, "", 0);
    for (const char *end = s + n; s < end;) {
        int32_t c;
        s += tide_utf8_get(s, end, &c);
        tide_bytes_char(out, c);
    }
    return done(ctx, out);
}

static bool is_cased(int32_t c) {
    const int category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
        category == UTF8PROC_CATEGORY_LT || (c >= 0x2160 && c <= 0x217f) ||
        (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x2b0 && c <= 0x2b8) || (c >= 0x1d2c && c <= 0x1d6a);
}

/* What case looks through: marks, formats, modifiers and some punctuation within words. */
static bool is_ignored(int32_t c) {
    const int category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
        category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
        category == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xb7 ||
        c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
}

/* Whether a sigma at p ends a word: a letter before it, none behind. */
static bool ends_word(bool cased_before, const char *behind, const char *end) {
    if (!cased_before) return false;
    for (int32_t c; behind < end;) {
        behind += tide_utf8_get(behind, end, &c);
        if (!is_ignored(c)) return !is_cased(c);
    }
    return true;
}

tide_status tide_text_lower(tide_ctx *ctx, const char *s, size_t n, tide_bytes *out) {
    bool cased = false;
    tide_bytes_add(out, "", 0);
    for (const char *end = s + n; s < end;) {
        int32_t c, to[3];
        s += tide_utf8_get(s, end, &c);
        if (c == 0x3a3) {
            tide_bytes_char(out, ends_word(cased, s, end) ? 0x3c2 : 0x3c3);
        } else {
            const int k = tide_char_lower(c, to);
            for (int i = 0; i < k; i++) tide_bytes_char(out, to[i]);
        }
        if (!is_ignored(c)) cased = is_cased(c);
    }
    return done(ctx, out);
}

tide_status tide_text_normal(tide_ctx *ctx, const char *s, size_t n, tide_form form,
                             tide_bytes *out) {
    tide_aligned t = {0}, u = {0};
    bool ok = tide_aligned_set(&t, s, n, 0) && tide_aligned_normal(&t, &u, form);
    if (ok) tide_bytes_add(out, t.s, t.n);
    tide_aligned_free(&t), tide_aligned_free(&u);
    return ok ? done(ctx, out) : tide_fail(ctx, TIDE_ENOMEM, "not enough memory for the text");
}
