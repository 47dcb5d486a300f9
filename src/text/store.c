/* Owns the tables of the tokenizers: strings by number, pairs of numbers, trees of prefixes. All
 * use open addressing and grow by doubling; a table that could not grow is as it was. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

/* -- strings -- */

static bool more_slots(tide_map *m) {
    const size_t slots = m->slots ? m->slots * 2 : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot) return false;
    for (size_t e = 0; e < m->n; e++) {
        size_t i = m->entry[e].hash & (slots - 1);
        while (slot[i]) i = (i + 1) & (slots - 1);
        slot[i] = (uint32_t)e + 1;
    }
    free(m->slot);
    m->slot = slot, m->slots = slots;
    return true;
}

static size_t place(const tide_map *m, const char *s, size_t n, uint32_t hash) {
    size_t i = hash & (m->slots - 1);
    for (; m->slot[i]; i = (i + 1) & (m->slots - 1)) {
        const tide_entry *e = &m->entry[m->slot[i] - 1];
        if (e->hash == hash && e->n == n && memcmp(m->text.p + e->at, s, n) == 0) break;
    }
    return i;
}

tide_entry *tide_map_find(const tide_map *m, const char *s, size_t n) {
    if (!m->slots) return NULL;
    const size_t i = place(m, s, n, (uint32_t)tide_hash(s, n));
    return m->slot[i] ? &m->entry[m->slot[i] - 1] : NULL;
}

tide_entry *tide_map_put(tide_map *m, const char *s, size_t n, int32_t value, bool *fresh) {
    if (fresh) *fresh = false;
    if (m->n * 2 >= m->slots && !more_slots(m)) return NULL;
    const uint32_t hash = (uint32_t)tide_hash(s, n);
    const size_t i = place(m, s, n, hash);
    if (m->slot[i]) return &m->entry[m->slot[i] - 1];
    if (m->n >= UINT32_MAX - 1 || m->text.n + n >= UINT32_MAX ||
        !tide_grow(&m->entry, &m->room, m->n + 1, sizeof *m->entry))
        return NULL;
    const size_t at = m->text.n;
    tide_bytes_add(&m->text, s, n), tide_bytes_add(&m->text, "", 1); /* a NUL behind each */
    if (m->text.failed) return m->text.failed = false, NULL;
    m->entry[m->n] = (tide_entry){(uint32_t)at, (uint32_t)n, value, hash};
    m->slot[i] = (uint32_t)++m->n;
    if (fresh) *fresh = true;
    return &m->entry[m->n - 1];
}

void tide_map_clear(tide_map *m) {
    m->n = 0, m->text.n = 0;
    if (m->slots) memset(m->slot, 0, m->slots * sizeof *m->slot);
}

void tide_map_free(tide_map *m) {
    free(m->text.p), free(m->entry), free(m->slot);
    *m = (tide_map){0};
}

/* -- pairs -- */

static void keys_set(tide_keys *t, uint64_t key, uint64_t value) {
    size_t i = tide_mix(key) & (t->slots - 1);
    while (t->key[i] != UINT64_MAX && t->key[i] != key) i = (i + 1) & (t->slots - 1);
    t->n += t->key[i] != key;
    t->key[i] = key, t->value[i] = value;
}

bool tide_keys_put(tide_keys *t, uint64_t key, uint64_t value) {
    if (t->n * 2 >= t->slots) {
        tide_keys u = {.slots = t->slots ? t->slots * 2 : 64};
        u.key = malloc(u.slots * sizeof *u.key), u.value = malloc(u.slots * sizeof *u.value);
        if (!u.key || !u.value) return tide_keys_free(&u), false;
        memset(u.key, 0xff, u.slots * sizeof *u.key);
        for (size_t i = 0; i < t->slots; i++)
            if (t->key[i] != UINT64_MAX) keys_set(&u, t->key[i], t->value[i]);
        tide_keys_free(t);
        *t = u;
    }
    keys_set(t, key, value);
    return true;
}

void tide_keys_free(tide_keys *t) {
    free(t->key), free(t->value);
    *t = (tide_keys){0};
}

/* -- prefixes -- */

static uint32_t new_node(tide_trie *t) {
    if (t->nodes >= UINT32_MAX - 1 ||
        !tide_grow(&t->value, &t->room, t->nodes + 1, sizeof *t->value))
        return UINT32_MAX;
    t->value[t->nodes] = -1;
    return (uint32_t)t->nodes++;
}

bool tide_trie_put(tide_trie *t, const char *s, size_t n, int32_t value) {
    if (!t->nodes && new_node(t) == UINT32_MAX) return false;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)s[i];
        uint32_t next = tide_trie_step(t, node, byte);
        if (!next) {
            if ((next = new_node(t)) == UINT32_MAX) return false;
            if (node == 0) t->first[byte] = next;
            else if (!tide_keys_put(&t->step, (uint64_t)node << 8 | byte, next)) return false;
        }
        node = next;
    }
    t->value[node] = value;
    return true;
}

size_t tide_trie_longest(const tide_trie *t, const char *s, size_t n, int32_t *value) {
    size_t best = 0;
    uint32_t node = 0;
    if (!t->nodes) return 0;
    for (size_t i = 0; i < n; i++) {
        node = tide_trie_step(t, node, (unsigned char)s[i]);
        if (!node) break;
        if (t->value[node] >= 0) best = i + 1, *value = t->value[node];
    }
    return best;
}

void tide_trie_free(tide_trie *t) {
    tide_keys_free(&t->step);
    free(t->value);
    *t = (tide_trie){0};
}
