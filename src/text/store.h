/* Within src/text: tables of strings and pairs. */
#ifndef TIDE_STORE_H
#define TIDE_STORE_H

#include "chars.h"

static inline uint64_t tide_hash(const char *s, size_t n) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ n * 0xff51afd7ed558ccdu;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t w;
        __builtin_memcpy(&w, s, 8);
        h = (h ^ w) * 0x9fb21c651e98df25u;
        h ^= h >> 32;
    }
    uint64_t w = 0;
    __builtin_memcpy(&w, s, n);
    h = (h ^ w) * 0x9fb21c651e98df25u;
    h ^= h >> 29, h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 32;
}

/* -- strings with a number each; equal strings once -- */
typedef struct {
    uint32_t at, n; /* in `text` */
    int32_t value;
    uint32_t hash;
} tide_entry;
typedef struct {
    tide_bytes text;
    tide_entry *entry; /* in the order in which they came */
    size_t n, room;
    uint32_t *slot; /* entry + 1, 0: free; a power of two of them, half of them free at least */
    size_t slots;
} tide_map;
/* The entry of a string, NULL: it is not there. */
tide_entry *tide_map_find(const tide_map *, const char *s, size_t n);
/* The same, made with this value where it is not there; NULL: no memory. */
tide_entry *tide_map_put(tide_map *, const char *s, size_t n, int32_t value,
                         bool *fresh /* optional */);
static inline const char *tide_map_text(const tide_map *m, const tide_entry *e) {
    return m->text.p + e->at;
}
void tide_map_clear(tide_map *); /* keeps the memory */
void tide_map_free(tide_map *);

/* -- 64-bit keys with a number each; key UINT64_MAX is none -- */
typedef struct {
    uint64_t *key;
    uint64_t *value;
    size_t n, slots;
} tide_keys;
bool tide_keys_put(tide_keys *, uint64_t key, uint64_t value);
static inline uint64_t tide_mix(uint64_t k) {
    k *= 0x9fb21c651e98df25u;
    return k ^ k >> 32;
}
/* UINT64_MAX: not there. */
static inline uint64_t tide_keys_get(const tide_keys *t, uint64_t key) {
    if (!t->slots) return UINT64_MAX;
    for (size_t i = tide_mix(key) & (t->slots - 1);; i = (i + 1) & (t->slots - 1)) {
        if (t->key[i] == key) return t->value[i];
        if (t->key[i] == UINT64_MAX) return UINT64_MAX;
    }
}
void tide_keys_free(tide_keys *);

/* -- prefixes: a tree of bytes; node 0 is the root -- */
typedef struct {
    tide_keys step; /* node << 8 | byte -> node */
    int32_t *value; /* [nodes]: -1: no string ends here */
    size_t nodes, room;
    uint32_t first[256]; /* the root's children */
} tide_trie;
bool tide_trie_put(tide_trie *, const char *s, size_t n, int32_t value); /* the last one stays */
/* The child of a node, 0: none. */
static inline uint32_t tide_trie_step(const tide_trie *t, uint32_t node, unsigned char byte) {
    if (node == 0) return t->first[byte];
    const uint64_t next = tide_keys_get(&t->step, (uint64_t)node << 8 | byte);
    return next == UINT64_MAX ? 0 : (uint32_t)next;
}
/* The longest string that s begins with: its length, 0: none, and its value. */
size_t tide_trie_longest(const tide_trie *, const char *s, size_t n, int32_t *value);
void tide_trie_free(tide_trie *);

#endif
