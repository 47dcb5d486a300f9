/* Owns the grammar of JSON: a reader that hands out one token after the other, takes no memory and
 * calls nothing recursive, and the little that headers need for writing. Strict: RFC 8259, valid
 * UTF-8, no NUL in strings, integers that fit 64 bits, numbers that fit a double. Invariant: `at`
 * never passes `end`, where a NUL stands, and after an error every call gives the error. */
#include "../point.h"
#include "io.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tide_json_kind wrong(tide_json *j, const char *at, const char *why) {
    if (j->status == TIDE_OK)
        j->status = tide_fail(j->ctx, TIDE_EIO, "%s: not valid JSON at byte %zu: %s", j->what,
                              (size_t)(at - j->text), at == j->end ? "it ends too early" : why);
    return TIDE_JSON_ERROR;
}

tide_status tide_json_duplicate(tide_json *j) {
    wrong(j, j->string, "a duplicate key");
    return j->status;
}

tide_status tide_json_begin(tide_json *j, tide_ctx *ctx, const char *what, const char *text,
                            size_t n, size_t most) {
    *j = (tide_json){.ctx = ctx, .what = what, .text = text, .at = text, .end = text + n};
    if (n > most)
        j->status = tide_fail(ctx, TIDE_EIO, "%s: JSON of %zu bytes is more than the %zu allowed",
                              what, n, most);
    return j->status;
}

static void skip_space(tide_json *j) {
    while (*j->at == ' ' || *j->at == '\n' || *j->at == '\t' || *j->at == '\r') j->at++;
}

/* -- strings -- */

/* The bytes of the character of UTF-8 at p, which is no ASCII; 0: none is there. The NUL at the
 * text's end is no continuation. */
static int utf8(const unsigned char *p) {
    int n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2
        : (p[0] & 0xf0) == 0xe0         ? 3
        : (p[0] & 0xf8) == 0xf0         ? 4
                                        : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))) return 0;
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || p[0] > 0xf4 || (p[0] == 0xf4 && p[1] >= 0x90)))
        return 0;
    return n;
}

/* The four hexadecimal digits at p; -1: there are none. */
static int hex(const char *p) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        if (c >= '0' && c <= '9') v = v << 4 | (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f') v = v << 4 | ((c | 32) - 'a' + 10);
        else return -1;
    }
    return v;
}

/* The code point of an escape at p, "\uXXXX" or two of them; `n` (out): its bytes. -1: wrong. */
static int code_point(const char *p, int *n) {
    int v = hex(p + 2), low;
    *n = 6;
    if (v < 0xd800 || v > 0xdfff) return v == 0 ? -1 : v;
    if (v > 0xdbff || p[6] != '\\' || p[7] != 'u') return -1;
    low = hex(p + 8);
    if (low < 0xdc00 || low > 0xdfff) return -1;
    *n = 12;
    return 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
}

/* Past a string, whose first quote is at `at`; notes where it is. */
static bool scan_string(tide_json *j) {
    const char *p = j->at + 1;
    j->string = p, j->escaped = false;
    for (;;) {
        unsigned char c = (unsigned char)*p;
        if (c == '"') break;
        if (c == '\\') {
            int n = 2;
            j->escaped = true;
            if (p[1] == 'u') {
                if (code_point(p, &n) < 0) return wrong(j, p, "no character of Unicode");
            } else if (p[1] == '\0' || !strchr("\"\\/bfnrt", p[1])) {
                return wrong(j, p, "an escape that JSON does not have");
            }
            p += n;
        } else if (c < 0x20) {
            return wrong(j, p, "a control character in a string");
        } else if (c < 0x80) {
            p++;
        } else {
            int n = utf8((const unsigned char *)p);
            if (n == 0) return wrong(j, p, "a string that is no UTF-8");
            p += n;
        }
    }
    j->length = (size_t)(p - j->string);
    j->at = p + 1;
    return true;
}

size_t tide_json_text(const tide_json *j, char *to) {
    if (!j->escaped) {
        memmove(to, j->string, j->length);
        return j->length;
    }
    char *d = to;
    for (const char *p = j->string, *end = p + j->length; p < end;) {
        if (*p != '\\') {
            *d++ = *p++;
        } else if (p[1] != 'u') {
            static const char names[] = "\"\\/bfnrt", are[] = "\"\\/\b\f\n\r\t";
            *d++ = are[strchr(names, p[1]) - names];
            p += 2;
        } else {
            int n, v = code_point(p, &n);
            p += n;
            if (v < 0x80) {
                *d++ = (char)v;
            } else if (v < 0x800) {
                *d++ = (char)(0xc0 | v >> 6), *d++ = (char)(0x80 | (v & 63));
            } else {
                if (v < 0x10000) *d++ = (char)(0xe0 | v >> 12);
                else *d++ = (char)(0xf0 | v >> 18), *d++ = (char)(0x80 | (v >> 12 & 63));
                *d++ = (char)(0x80 | (v >> 6 & 63)), *d++ = (char)(0x80 | (v & 63));
            }
        }
    }
    return (size_t)(d - to);
}

/* -- numbers -- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static tide_json_kind scan_number(tide_json *j) {
    const char *p = j->at;
    bool whole = true, fits = true;
    int64_t v = 0;
    if (*p == '-') p++;
    if (!is_digit(*p)) return wrong(j, p, "no value");
    if (*p == '0' && is_digit(p[1])) return wrong(j, p, "a number that begins with 0");
    for (; is_digit(*p); p++)
        fits &= !__builtin_mul_overflow(v, 10, &v) && !__builtin_sub_overflow(v, *p - '0', &v);
    if (*p == '.') {
        whole = false;
        if (!is_digit(*++p)) return wrong(j, p, "a number without digits behind its point");
        while (is_digit(*p)) p++;
    }
    if (*p == 'e' || *p == 'E') {
        whole = false;
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!is_digit(*p)) return wrong(j, p, "a number without digits in its exponent");
        while (is_digit(*p)) p++;
    }
    const char *begin = j->at;
    j->at = p;
    if (whole) {
        if (*begin != '-') fits &= !__builtin_sub_overflow(0, v, &v);
        if (!fits) return wrong(j, begin, "an integer of more than 64 bits");
        j->integer = v;
        return TIDE_JSON_INTEGER;
    }
    tide_point point = tide_point_begin();
    j->real = strtod(begin, NULL);
    tide_point_end(point);
    return isinf(j->real) ? wrong(j, begin, "a number too large for a double") : TIDE_JSON_REAL;
}

/* -- tokens -- */

static tide_json_kind literal(tide_json *j, const char *word, tide_json_kind kind) {
    size_t n = strlen(word);
    if (strncmp(j->at, word, n) != 0) return wrong(j, j->at, "no value");
    j->at += n;
    return kind;
}

static tide_json_kind open_level(tide_json *j, tide_json_kind kind) {
    if (j->depth == TIDE_JSON_DEPTH) {
        j->status = tide_fail(j->ctx, TIDE_EIO,
                              "%s: JSON is nested deeper than the %d levels allowed (at byte %zu)",
                              j->what, TIDE_JSON_DEPTH, (size_t)(j->at - j->text));
        return TIDE_JSON_ERROR;
    }
    j->at++;
    j->is_object[j->depth++] = kind == TIDE_JSON_OBJECT;
    j->fresh = true;
    return kind;
}

tide_json_kind tide_json_next(tide_json *j) {
    if (j->status != TIDE_OK) return TIDE_JSON_ERROR;
    skip_space(j);
    bool object = j->depth > 0 && j->is_object[j->depth - 1], keyed = j->keyed;
    j->keyed = false;
    if (j->depth == 0 && j->begun)
        return j->at == j->end ? TIDE_JSON_DONE : wrong(j, j->at, "more than one value");
    j->begun = true;
    if (j->depth > 0 && !keyed) {
        if (*j->at == (object ? '}' : ']')) {
            j->at++, j->depth--, j->fresh = false;
            return TIDE_JSON_END;
        }
        if (!j->fresh) {
            if (*j->at != ',') return wrong(j, j->at, "neither a comma nor the end of the list");
            j->at++;
            skip_space(j);
        }
        j->fresh = false;
        if (object) {
            if (*j->at != '"') return wrong(j, j->at, "no key");
            if (!scan_string(j)) return TIDE_JSON_ERROR;
            skip_space(j);
            if (*j->at != ':') return wrong(j, j->at, "no colon behind a key");
            j->at++, j->keyed = true;
            return TIDE_JSON_KEY;
        }
    }
    switch (*j->at) {
    case '{': return open_level(j, TIDE_JSON_OBJECT);
    case '[': return open_level(j, TIDE_JSON_ARRAY);
    case '"': return scan_string(j) ? TIDE_JSON_STRING : TIDE_JSON_ERROR;
    case 't': return literal(j, "true", TIDE_JSON_TRUE);
    case 'f': return literal(j, "false", TIDE_JSON_FALSE);
    case 'n': return literal(j, "null", TIDE_JSON_NULL);
    default: return scan_number(j);
    }
}

/* -- writing -- */

static void add(tide_string *t, const char *s, size_t n) {
    if (t->status != TIDE_OK) return;
    if (n >= t->room - t->n) {
        size_t room = 2 * (t->n + n) + 64;
        char *p = realloc(t->p, room);
        if (!p) {
            t->status = TIDE_ENOMEM;
            return;
        }
        t->p = p, t->room = room;
    }
    memcpy(t->p + t->n, s, n);
    t->p[t->n += n] = '\0';
}

void tide_text_add(tide_string *t, const char *s) { add(t, s, strlen(s)); }

void tide_text_string(tide_string *t, const char *s) {
    char escape[8];
    add(t, "\"", 1);
    for (const char *p = s; *p;) {
        size_t n = strcspn(p, "\"\\");
        for (size_t i = 0; i < n;) { /* up to a character that needs an escape, or is none */
            unsigned char c = (unsigned char)p[i];
            int bytes = c < 0x20 ? 0 : c < 0x80 ? 1 : utf8((const unsigned char *)p + i);
            if (bytes == 0 && c >= 0x80) t->status = t->status ? t->status : TIDE_EARG;
            if (bytes == 0) n = i;
            i += (size_t)bytes;
        }
        add(t, p, n);
        p += n;
        if (t->status != TIDE_OK) return;
        if (*p == '"' || *p == '\\') snprintf(escape, sizeof escape, "\\%c", *p);
        else if (*p) snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*p);
        if (*p++) add(t, escape, strlen(escape));
        else break;
    }
    add(t, "\"", 1);
}

void tide_text_entry(tide_string *t, const char *name, const char *dtype, int rank,
                     const int64_t *shape, uint64_t begin, uint64_t end) {
    char number[64];
    tide_text_string(t, name), tide_text_add(t, ":{\"dtype\":");
    tide_text_string(t, dtype), tide_text_add(t, ",\"shape\":[");
    for (int i = 0; i < rank; i++) {
        snprintf(number, sizeof number, "%s%" PRId64, i ? "," : "", shape[i]);
        tide_text_add(t, number);
    }
    snprintf(number, sizeof number, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
    tide_text_add(t, number);
}
